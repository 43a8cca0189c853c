//! String values: an integer, or bytes.
//!
//! A string that is the canonical text of an `i64` is kept as the number, as Valkey does with values
//! that come in whole (SET, RESTORE, a loaded file). Bytes that an edit made (APPEND, SETRANGE,
//! SETBIT) stay bytes, and OBJECT ENCODING says `raw` of them whatever their length. Behaviour:
//! valkey src/object.c, `tryObjectEncoding`; src/t_string.c.

use std::fmt;
use std::ops::Range;

use crate::base::num;
use crate::packed::IntText;

use super::InlineBytes;
use super::inline::{InlineTag, int_bytes};

/// Whether a string of so many bytes, under a key of so many that may expire, is one that OBJECT ENCODING calls
/// `embstr`: Valkey 9 embeds what fits into two cache lines together with its key and expiry: an object's head, a
/// byte, the key and its head and NUL, the expiry, the value with a head of three bytes and NUL.
/// Behaviour: valkey src/object.c, `shouldEmbedStringObject`.
#[must_use]
pub fn is_embedded(bytes: usize, key_bytes: usize, expires: bool) -> bool {
    const ROOM_BYTES: usize = 128;
    let key_head = match key_bytes {
        0..32 => 1,
        32..256 => 3,
        256..0x1_0000 => 5,
        _ => 9,
    };
    let key = 1 + key_head + key_bytes + 1;
    let expiry = if expires { 8 } else { 0 };
    let value = 3 + bytes + 1;
    bytes < 256 && 8 + key + expiry + value <= ROOM_BYTES
}

/// Up to here an edit that grows a string leaves as much room again; above it, this much.
const MAX_SPARE_BYTES: usize = 1024 * 1024;

/// Why a string cannot be incremented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IncrError {
    /// It is not the canonical text of an `i64`.
    #[error("value is not an integer or out of range")]
    NotInteger,
    /// The sum does not fit.
    #[error("increment or decrement would overflow")]
    Overflow,
}

/// An owned string value.
#[derive(Clone)]
pub struct StringValue(Repr);

#[derive(Clone)]
enum Repr {
    Int(i64),
    Text(Vec<u8>),
    /// Bytes that an edit made.
    Edited(Vec<u8>),
}

/// A string value to look at.
#[derive(Debug, Clone, Copy)]
pub enum StrRef<'a> {
    /// An integer.
    Int(i64),
    /// Bytes that came in whole.
    Text(&'a [u8]),
    /// Bytes that an edit made.
    Edited(&'a [u8]),
}

impl StringValue {
    /// The value that SET stores for these bytes: an integer if they are one's canonical text.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        match num::parse_i64(bytes) {
            Some(v) => Self(Repr::Int(v)),
            None => Self(Repr::Text(bytes.to_vec())),
        }
    }

    /// As [`StringValue::new`], taking the bytes over when they stay bytes.
    #[must_use]
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        match num::parse_i64(&bytes) {
            Some(v) => Self(Repr::Int(v)),
            None => Self(Repr::Text(bytes)),
        }
    }

    /// An integer.
    #[must_use]
    pub const fn from_i64(v: i64) -> Self {
        Self(Repr::Int(v))
    }

    /// Bytes that stay bytes even if they read as an integer: what INCRBYFLOAT stores.
    #[must_use]
    pub const fn plain(bytes: Vec<u8>) -> Self {
        Self(Repr::Text(bytes))
    }

    /// Bytes that an edit made: what BITOP, SETBIT and PFADD store. `raw` to OBJECT ENCODING.
    #[must_use]
    pub const fn edited(bytes: Vec<u8>) -> Self {
        Self(Repr::Edited(bytes))
    }

    /// The value to look at.
    #[inline]
    #[must_use]
    pub fn view(&self) -> StrRef<'_> {
        match &self.0 {
            Repr::Int(v) => StrRef::Int(*v),
            Repr::Text(bytes) => StrRef::Text(bytes),
            Repr::Edited(bytes) => StrRef::Edited(bytes),
        }
    }

    /// The bytes to edit in place; an integer becomes its text. The string is `raw` from now on.
    pub fn edit(&mut self) -> &mut Vec<u8> {
        let bytes = match &mut self.0 {
            Repr::Int(v) => {
                let mut text = Vec::with_capacity(num::MAX_INT_CHARS);
                num::push_i64(&mut text, *v);
                text
            }
            Repr::Text(bytes) | Repr::Edited(bytes) => std::mem::take(bytes),
        };
        self.0 = Repr::Edited(bytes);
        match &mut self.0 {
            Repr::Edited(bytes) => bytes,
            Repr::Int(_) | Repr::Text(_) => unreachable!("set to edited bytes just above"),
        }
    }

    /// As [`StringValue::edit`], with zero bytes added until there are `len` bytes at least.
    ///
    /// The caller has checked `len` against its limit for strings.
    pub fn edit_to(&mut self, len: usize) -> &mut [u8] {
        let bytes = self.edit();
        if len > bytes.capacity() && len - bytes.len() > bytes.len() / 2 {
            // Fresh zero pages cost nothing until they are written to.
            let mut longer = vec![0; len];
            copy_to_zeros(bytes, &mut longer);
            *bytes = longer;
        } else if len > bytes.len() {
            reserve(bytes, len - bytes.len());
            bytes.resize(len, 0);
        }
        bytes
    }

    /// Appends and answers the new length in bytes. Amortised O(length of `more`).
    pub fn append(&mut self, more: &[u8]) -> usize {
        let bytes = self.edit();
        reserve(bytes, more.len());
        bytes.extend_from_slice(more);
        bytes.len()
    }

    /// Overwrites from `offset` on, first filling up with zero bytes if the string is shorter, and
    /// answers the new length. Empty `with` changes nothing, not even the encoding.
    ///
    /// The caller has checked `offset + with.len()` against its limit for strings.
    pub fn set_range(&mut self, offset: usize, with: &[u8]) -> usize {
        if with.is_empty() {
            return self.view().len();
        }
        let end = offset + with.len();
        let bytes = self.edit_to(end);
        bytes[offset..end].copy_from_slice(with);
        bytes.len()
    }

    /// Adds to the integer that the string is, and answers the sum.
    ///
    /// # Errors
    /// `NotInteger` if it is none, `Overflow` if the sum does not fit; the string is unchanged then.
    pub fn incr(&mut self, by: i64) -> Result<i64, IncrError> {
        let old = self.view().as_i64().ok_or(IncrError::NotInteger)?;
        let sum = old.checked_add(by).ok_or(IncrError::Overflow)?;
        self.0 = Repr::Int(sum);
        Ok(sum)
    }

    /// Gives spare room back.
    pub fn shrink(&mut self) {
        match &mut self.0 {
            Repr::Int(_) => {}
            Repr::Text(bytes) | Repr::Edited(bytes) => bytes.shrink_to_fit(),
        }
    }

    /// Heap bytes it owns, spare room included.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        match &self.0 {
            Repr::Int(_) => 0,
            Repr::Text(bytes) | Repr::Edited(bytes) => bytes.capacity(),
        }
    }

    pub(super) fn inline_form(&self) -> (InlineTag, InlineBytes<'_>) {
        match &self.0 {
            Repr::Int(v) => (InlineTag::Int, int_bytes(*v)),
            Repr::Text(bytes) => (InlineTag::Str, InlineBytes::Borrowed(bytes)),
            Repr::Edited(bytes) => (InlineTag::StrRaw, InlineBytes::Borrowed(bytes)),
        }
    }
}

impl<'a> StrRef<'a> {
    /// Length in bytes; of an integer, of its text.
    #[inline]
    #[must_use]
    pub fn len(self) -> usize {
        match self {
            Self::Int(v) => num::i64_chars(v),
            Self::Text(bytes) | Self::Edited(bytes) => bytes.len(),
        }
    }

    /// Whether it has no bytes. A string key may be empty and still exist.
    #[inline]
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The bytes; an integer's text is written into `text`.
    #[inline]
    pub fn bytes<'b>(self, text: &'b mut IntText) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            Self::Int(v) => text.format(v),
            Self::Text(bytes) | Self::Edited(bytes) => bytes,
        }
    }

    /// Appends the bytes to `out`.
    #[inline]
    pub fn push_to(self, out: &mut Vec<u8>) {
        match self {
            Self::Int(v) => num::push_i64(out, v),
            Self::Text(bytes) | Self::Edited(bytes) => out.extend_from_slice(bytes),
        }
    }

    /// The bytes in an allocation of their own.
    #[must_use]
    pub fn to_vec(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len());
        self.push_to(&mut out);
        out
    }

    /// The integer it is the canonical text of.
    #[inline]
    #[must_use]
    pub fn as_i64(self) -> Option<i64> {
        match self {
            Self::Int(v) => Some(v),
            Self::Text(bytes) | Self::Edited(bytes) => num::parse_i64(bytes),
        }
    }

    /// The double it reads as, in the grammar of [`num::parse_f64`].
    #[must_use]
    pub fn as_f64(self) -> Option<f64> {
        match self {
            Self::Int(v) => Some(v as f64),
            Self::Text(bytes) | Self::Edited(bytes) => num::parse_f64(bytes),
        }
    }

    /// The bytes that GETRANGE answers for these bounds; negative ones count from the end.
    pub fn range<'b>(self, start: i64, end: i64, text: &'b mut IntText) -> &'b [u8]
    where
        'a: 'b,
    {
        let bytes = self.bytes(text);
        &bytes[byte_range(bytes.len(), start, end)]
    }

    /// An owned copy that keeps the encoding.
    #[must_use]
    pub fn to_owned(self) -> StringValue {
        StringValue(match self {
            Self::Int(v) => Repr::Int(v),
            Self::Text(bytes) => Repr::Text(bytes.to_vec()),
            Self::Edited(bytes) => Repr::Edited(bytes.to_vec()),
        })
    }

    /// What OBJECT ENCODING answers under a key of so many bytes.
    #[must_use]
    pub fn encoding_name(self, key_bytes: usize, expires: bool) -> &'static str {
        match self {
            Self::Int(_) => "int",
            Self::Text(bytes) if is_embedded(bytes.len(), key_bytes, expires) => "embstr",
            Self::Text(_) | Self::Edited(_) => "raw",
        }
    }
}

impl fmt::Debug for StringValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.view() {
            StrRef::Int(v) => write!(f, "Int({v})"),
            StrRef::Text(bytes) => write!(f, "Text({})", bytes.escape_ascii()),
            StrRef::Edited(bytes) => write!(f, "Edited({})", bytes.escape_ascii()),
        }
    }
}

/// The bytes from `start` to `end`, both included, of something `len` long, as GETRANGE counts:
/// negative numbers from the end, both held at the ends.
#[must_use]
pub fn byte_range(len: usize, start: i64, end: i64) -> Range<usize> {
    let signed = i64::try_from(len).unwrap_or(i64::MAX);
    let from_end = |i: i64| if i < 0 { i.saturating_add(signed).max(0) } else { i };
    if len == 0 || (start < 0 && end < 0 && start > end) {
        return 0..0;
    }
    let (first, last) = (from_end(start), from_end(end).min(signed - 1));
    if first > last { 0..0 } else { first as usize..last as usize + 1 }
}

/// Makes room for `more` bytes and some to spare, so that appending is amortised and a huge string
/// is not doubled.
fn reserve(bytes: &mut Vec<u8>, more: usize) {
    let needed = bytes.len() + more;
    if needed > bytes.capacity() {
        let spare = needed.min(MAX_SPARE_BYTES);
        bytes.reserve_exact(more + spare);
    }
}

/// Copies `bytes` to the beginning of zeros, but not its zeros: a bitmap is often a page here and there in
/// much that was never written to, and would have all its memory after a plain copy.
fn copy_to_zeros(bytes: &[u8], zeros: &mut [u8]) {
    const PAGE: usize = 4096;
    static NOTHING: [u8; PAGE] = [0; PAGE];
    for (from, to) in bytes.chunks(PAGE).zip(zeros.chunks_mut(PAGE)) {
        if *from != NOTHING[..from.len()] {
            to[..from.len()].copy_from_slice(from);
        }
    }
}

#[cfg(test)]
mod tests;
