//! Ziplist: what listpacks were before Redis 7. A view only; nobody writes one any more.
//!
//! Layout: `size u32 | offset of the last entry u32 | count u16 | entries | 0xff`, little-endian.
//! The count 65535 means "walk and see". An entry is the length of the one before it (one byte
//! below 254, else 254 and four bytes), an encoding byte with its data:
//!
//! | first byte   | data                                              |
//! |--------------|---------------------------------------------------|
//! | `00xxxxxx`   | string, length in 6 bits                          |
//! | `01xxxxxx`   | string, length in 14 bits, big-endian             |
//! | `10......`   | string, length in the next 4 bytes, big-endian    |
//! | `0xc0 d0 e0` | integer of 2, 4, 8 bytes, little-endian           |
//! | `0xf0 fe`    | integer of 3, 1 bytes, little-endian              |
//! | `0xf1..=fd`  | integer 0 to 12                                   |
//!
//! A previous length may take five bytes where one would do: servers left it so after a deletion.
//! Behaviour: valkey src/ziplist.c, `ziplistValidateIntegrity`.

use super::listpack::ListpackBuf;
use super::{Corrupt, CorruptKind, Element};

/// Bytes before the first entry.
const HEADER: usize = 10;
const EMPTY: usize = HEADER + 1;
const END: u8 = 0xff;
/// Marks a previous length of four bytes behind it.
const BIG_PREV: u8 = 0xfe;
const COUNT_UNKNOWN: usize = 0xffff;

/// A validated view of a ziplist.
#[derive(Clone, Copy, Debug)]
pub struct Ziplist<'a> {
    bytes: &'a [u8],
    len: usize,
}

impl<'a> Ziplist<'a> {
    /// A view of `bytes`, all of which must be one ziplist. O(n).
    ///
    /// # Errors
    /// [`Corrupt`] when header, entries, previous lengths, count, tail and end do not all agree.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Corrupt> {
        let len = validate(bytes)?;
        Ok(Self { bytes, len })
    }

    /// The bytes behind the view.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many elements there are. O(1).
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bytes it takes.
    #[must_use]
    pub const fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// The elements, first to last.
    #[must_use]
    pub fn iter(&self) -> Iter<'a> {
        Iter { rest: &self.bytes[HEADER..self.bytes.len() - 1], left: self.len }
    }

    /// The listpack of the same elements. O(n).
    #[must_use]
    pub fn to_listpack(&self) -> ListpackBuf {
        let mut out = ListpackBuf::with_capacity(self.bytes.len());
        for element in self {
            match element {
                Element::Bytes(s) => out.push_back(s),
                Element::Int(v) => out.push_back_int(v),
            }
        }
        out
    }
}

impl<'a> IntoIterator for Ziplist<'a> {
    type Item = Element<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &Ziplist<'a> {
    type Item = Element<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The elements of a [`Ziplist`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        let entry = Entry::read(self.rest).ok()?;
        self.rest = &self.rest[entry.len..];
        self.left -= 1;
        Some(entry.element)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

/// One entry, read from the start of some bytes.
struct Entry<'a> {
    prev_len: usize,
    element: Element<'a>,
    /// Bytes of the whole entry.
    len: usize,
}

/// Why no entry could be read.
enum Unreadable {
    Overrun,
    /// How far in the byte stands, and the byte.
    Unknown(usize, u8),
}

impl<'a> Entry<'a> {
    #[inline]
    fn read(bytes: &'a [u8]) -> Result<Self, Unreadable> {
        let (prev_len, header) = match bytes {
            [BIG_PREV, a, b, c, d, ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, 5),
            [short, ..] if *short < BIG_PREV => (usize::from(*short), 1),
            _ => return Err(Unreadable::Overrun),
        };
        let body = &bytes[header..];
        let (element, body_len) = match body {
            [first @ 0x00..=0x3f, ..] => string(body, 1, usize::from(first & 0x3f)),
            [first @ 0x40..=0x7f, low, ..] => {
                string(body, 2, usize::from(first & 0x3f) << 8 | usize::from(*low))
            }
            [0x80..=0xbf, a, b, c, d, ..] => string(body, 5, u32::from_be_bytes([*a, *b, *c, *d]) as usize),
            [0xc0, a, b, ..] => Some((Element::Int(i16::from_le_bytes([*a, *b]).into()), 3)),
            [0xd0, a, b, c, d, ..] => Some((Element::Int(i32::from_le_bytes([*a, *b, *c, *d]).into()), 5)),
            [0xe0, rest @ ..] => rest.first_chunk().map(|b| (Element::Int(i64::from_le_bytes(*b)), 9)),
            [0xf0, a, b, c, ..] => Some((Element::Int((i32::from_le_bytes([0, *a, *b, *c]) >> 8).into()), 4)),
            [0xfe, a, ..] => Some((Element::Int((*a as i8).into()), 2)),
            [first @ 0xf1..=0xfd, ..] => Some((Element::Int(i64::from(first & 0x0f) - 1), 1)),
            [0x40..=0xc0 | 0xd0 | 0xf0 | 0xfe, ..] | [] => None,
            [first, ..] => return Err(Unreadable::Unknown(header, *first)),
        }
        .ok_or(Unreadable::Overrun)?;
        Ok(Self { prev_len, element, len: header + body_len })
    }
}

/// The string of `len` bytes behind a header of `header` bytes.
#[inline]
fn string(body: &[u8], header: usize, len: usize) -> Option<(Element<'_>, usize)> {
    let s = body[header..].get(..len)?;
    Some((Element::Bytes(s), header + len))
}

/// Checks everything and counts the entries.
fn validate(bytes: &[u8]) -> Result<usize, Corrupt> {
    if bytes.len() < EMPTY {
        return Err(Corrupt::new(0, CorruptKind::TooShort { len: bytes.len(), needed: EMPTY }));
    }
    let declared = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    if declared as usize != bytes.len() {
        return Err(Corrupt::new(
            0,
            CorruptKind::SizeMismatch { declared: declared.into(), len: bytes.len() },
        ));
    }
    let end = bytes.len() - 1;
    if bytes[end] != END {
        return Err(Corrupt::new(end, CorruptKind::NoEndMark { byte: bytes[end] }));
    }
    let (entries, last) = validate_entries(&bytes[..end])?;
    let tail = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
    // An empty ziplist has no last entry to point to; servers only want the offset inside.
    let tail_is_right = if entries == 0 { tail as usize <= end } else { tail as usize == last };
    if !tail_is_right {
        return Err(Corrupt::new(4, CorruptKind::TailMismatch { declared: tail.into(), actual: last }));
    }
    let declared = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    if declared != COUNT_UNKNOWN && declared != entries {
        let kind = CorruptKind::CountMismatch { declared: declared as u64, counted: entries };
        return Err(Corrupt::new(8, kind));
    }
    Ok(entries)
}

/// Walks the entries of `bytes`, a ziplist less its end mark; answers how many there are and where
/// the last one starts.
fn validate_entries(bytes: &[u8]) -> Result<(usize, usize), Corrupt> {
    let mut at = HEADER;
    let mut last = HEADER;
    let mut prev_len = 0;
    let mut count = 0;
    while at < bytes.len() {
        if bytes[at] == END {
            return Err(Corrupt::new(at, CorruptKind::EarlyEnd { left: bytes.len() - at }));
        }
        let entry = Entry::read(&bytes[at..]).map_err(|why| match why {
            Unreadable::Overrun => {
                let body_bytes = bytes.len() - HEADER;
                Corrupt::new(at, CorruptKind::EntryOverruns { entry: count, body_bytes })
            }
            Unreadable::Unknown(header, byte) => {
                Corrupt::new(at + header, CorruptKind::UnknownEncoding { entry: count, byte })
            }
        })?;
        if entry.prev_len != prev_len {
            return Err(Corrupt::new(at, CorruptKind::BackLength { entry: count }));
        }
        prev_len = entry.len;
        last = at;
        at += entry.len;
        count += 1;
    }
    Ok((count, last))
}

#[cfg(test)]
mod tests;
