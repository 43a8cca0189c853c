//! Many small byte strings in one allocation, kept by their place in it.

use std::ops::Range;

/// Byte strings one behind the other.
#[derive(Debug, Default)]
pub struct Arena {
    bytes: Vec<u8>,
}

/// Where a string of an [`Arena`] lies.
#[derive(Debug, Clone, Copy, Default)]
pub struct Span {
    start: usize,
    end: usize,
}

impl Arena {
    /// Keeps a copy of `bytes`.
    pub fn push(&mut self, bytes: &[u8]) -> Span {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        Span { start, end: self.bytes.len() }
    }

    /// The string at `span`, which this arena gave since it was last cleared.
    #[inline]
    #[must_use]
    pub fn at(&self, span: Span) -> &[u8] {
        &self.bytes[Range { start: span.start, end: span.end }]
    }

    /// Forgets everything. Keeps the room unless it is out of proportion.
    pub fn clear(&mut self) {
        const KEPT_BYTES: usize = 16 << 20;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
    }
}
