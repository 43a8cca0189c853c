//! The bytes of a damaged file, with the correction that its checksum has told.
//!
//! The file itself is mapped and never written to; a slice that has a corrected byte in it is a copy.

use std::borrow::Cow;
use std::ops::Range;

use memmap2::Mmap;

use crate::input::release;

/// Bytes from `origin` on in a mapping, or of a slice.
#[derive(Debug, Clone)]
pub(crate) struct Bytes<'m> {
    whole: &'m [u8],
    map: Option<&'m Mmap>,
    origin: usize,
    /// Bytes to be changed, and by which bits.
    patch: Option<(usize, [u8; 2])>,
}

impl<'m> Bytes<'m> {
    /// The bytes of a slice.
    pub(crate) fn of_slice(whole: &'m [u8]) -> Self {
        Self { whole, map: None, origin: 0, patch: None }
    }

    /// The bytes of a range of a mapping.
    pub(crate) fn of_map(map: &'m Mmap, range: Range<usize>) -> Self {
        Self { origin: range.start, whole: &map[range], map: Some(map), patch: None }
    }

    /// The same up to an offset.
    pub(crate) fn until(&self, end: usize) -> Self {
        Self { whole: &self.whole[..end.min(self.len())], ..self.clone() }
    }

    /// The same with these bits changed at `at`.
    pub(crate) fn patched(mut self, at: usize, flip: [u8; 2]) -> Self {
        self.patch = Some((at, flip));
        self
    }

    pub(crate) fn len(&self) -> usize {
        self.whole.len()
    }

    /// The bytes of a range inside of it.
    pub(crate) fn get(&self, range: Range<usize>) -> Cow<'m, [u8]> {
        let slice = &self.whole[range.clone()];
        match self.patch {
            Some((at, flip)) if at < range.end && at + flip.len() > range.start => {
                let mut copy = slice.to_vec();
                for (at, bits) in (at..).zip(flip) {
                    if range.contains(&at) {
                        copy[at - range.start] ^= bits;
                    }
                }
                Cow::Owned(copy)
            }
            _ => Cow::Borrowed(slice),
        }
    }

    /// The byte at `at`, if there is one.
    pub(crate) fn at(&self, at: usize) -> Option<u8> {
        (at < self.len()).then(|| self.get(at..at + 1)[0])
    }

    /// A range is done with for now: its pages need not be kept.
    pub(crate) fn release(&self, range: Range<usize>) {
        if let Some(map) = self.map {
            release(map, self.origin + range.start..self.origin + range.end);
        }
    }
}
