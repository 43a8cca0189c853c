//! Zipmap: how hashes of Redis 2.0 to 2.4 were packed. A view only.
//!
//! Layout: `count u8 | entries | 0xff`; the count 254 means "walk and see". An entry is
//! `length | field | length | free u8 | value | free bytes`. A length is one byte below 254, else
//! 254 and four bytes little-endian. The free bytes are room that shrinking left behind.
//! (Before March 2010 the mark was 253, but no release wrote zipmaps into files then.)
//! Behaviour: valkey src/zipmap.c, `zipmapValidateIntegrity`, which takes garbage behind an early end
//! mark; we don't.

use super::listpack::ListpackBuf;
use super::{Corrupt, CorruptKind};

const EMPTY: usize = 2;
const END: u8 = 0xff;
/// Marks a length of four bytes behind it.
const BIG_LEN: u8 = 0xfe;

/// A validated view of a zipmap.
#[derive(Clone, Copy, Debug)]
pub struct Zipmap<'a> {
    bytes: &'a [u8],
    len: usize,
}

impl<'a> Zipmap<'a> {
    /// A view of `bytes`, all of which must be one zipmap. O(n).
    ///
    /// # Errors
    /// [`Corrupt`] when entries, count and end mark do not all agree. An empty one passes, and so
    /// does one that has a field twice: what a key may hold is not known here.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Corrupt> {
        let len = validate(bytes)?;
        Ok(Self { bytes, len })
    }

    /// The bytes behind the view.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many pairs there are. O(1).
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no pairs.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pairs of field and value, first to last.
    #[must_use]
    pub fn iter(&self) -> Iter<'a> {
        Iter { rest: &self.bytes[1..self.bytes.len() - 1], left: self.len }
    }

    /// The listpack of fields and values in turn. O(n).
    #[must_use]
    pub fn to_listpack(&self) -> ListpackBuf {
        let mut out = ListpackBuf::with_capacity(self.bytes.len());
        for (field, value) in self {
            out.push_back(field);
            out.push_back(value);
        }
        out
    }
}

impl<'a> IntoIterator for Zipmap<'a> {
    type Item = (&'a [u8], &'a [u8]);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &Zipmap<'a> {
    type Item = (&'a [u8], &'a [u8]);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The pairs of a [`Zipmap`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (field, rest) = read_field(self.rest)?;
        let (value, rest) = read_value(rest)?;
        self.rest = rest;
        self.left -= 1;
        Some((field, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

/// A length and what is behind it.
fn read_len(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [BIG_LEN, a, b, c, d, rest @ ..] => {
            let len = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
            // A short length in the long form is nothing that a server has written.
            (len >= usize::from(BIG_LEN)).then_some((len, rest))
        }
        [short, rest @ ..] if *short < BIG_LEN => Some((usize::from(*short), rest)),
        _ => None,
    }
}

/// A field and what is behind it.
fn read_field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = read_len(bytes)?;
    rest.split_at_checked(len)
}

/// A value and what is behind it and its free bytes.
fn read_value(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = read_len(bytes)?;
    let (&free, rest) = rest.split_first()?;
    let (value, rest) = rest.split_at_checked(len)?;
    Some((value, rest.get(usize::from(free)..)?))
}

/// Checks everything and counts the pairs.
fn validate(bytes: &[u8]) -> Result<usize, Corrupt> {
    if bytes.len() < EMPTY {
        return Err(Corrupt::new(0, CorruptKind::TooShort { len: bytes.len(), needed: EMPTY }));
    }
    let end = bytes.len() - 1;
    if bytes[end] != END {
        return Err(Corrupt::new(end, CorruptKind::NoEndMark { byte: bytes[end] }));
    }
    let body = &bytes[1..end];
    let mut rest = body;
    let mut count = 0;
    while let Some(&first) = rest.first() {
        let at = end - rest.len();
        if first == END {
            return Err(Corrupt::new(at, CorruptKind::EarlyEnd { left: rest.len() }));
        }
        let overrun = CorruptKind::EntryOverruns { entry: count, body_bytes: body.len() };
        let (_, value) = read_field(rest).ok_or(Corrupt::new(at, overrun))?;
        if value.is_empty() || value[0] == END {
            return Err(Corrupt::new(end - value.len(), CorruptKind::NoValue { entry: count }));
        }
        (_, rest) = read_value(value).ok_or(Corrupt::new(end - value.len(), overrun))?;
        count += 1;
    }
    let declared = bytes[0];
    if declared != BIG_LEN && usize::from(declared) != count {
        let kind = CorruptKind::CountMismatch { declared: declared.into(), counted: count };
        return Err(Corrupt::new(0, kind));
    }
    Ok(count)
}

#[cfg(test)]
mod tests;
