//! Listpack: a sequence of strings and integers in one run of bytes, walked from either end.
//!
//! Layout, little-endian: `size u32 | count u16 | entries | 0xff`. The count 65535 means "walk and
//! see". An entry is an encoding byte with its data, then the length of those backwards: base 128,
//! the lowest seven bits last, every byte but the first marked with the top bit.
//!
//! | first byte  | data                               |
//! |-------------|------------------------------------|
//! | `0xxxxxxx`  | integer 0 to 127                   |
//! | `10xxxxxx`  | string, length in 6 bits           |
//! | `110xxxxx`  | integer of 13 bits, high part here |
//! | `1110xxxx`  | string, length in 12 bits          |
//! | `0xf0`      | string, length in 4 bytes          |
//! | `0xf1..f4`  | integer of 2, 3, 4, 8 bytes        |
//!
//! Knows no hashes, sets, scores or streams. Behaviour: valkey src/listpack.c, whose
//! `lpValidateIntegrity` lets a back length pass that is written in more bytes than it needs, when the
//! entry happens to end in a zero; nobody writes that, and we refuse it.

pub mod bare;
mod edit;
mod encoding;
mod even;
mod front;
mod room;
mod sound;

pub use edit::{Appender, ListpackBuf};
pub use encoding::{MAX_AROUND, encoded_int_len, encoded_len};
pub use front::FrontBuf;
pub use room::{Room, Short};
pub use sound::Sound;

use super::{Corrupt, CorruptKind, Element};
use crate::base::num;
use encoding::{back_len, body_len, decode, prev_entry, short_body, write_back_len};

/// Bytes before the first entry.
const HEADER: usize = 6;
/// The smallest listpack: a header and the end mark.
const EMPTY: usize = HEADER + 1;
const END: u8 = 0xff;
/// The count that says nothing.
const COUNT_UNKNOWN: usize = 0xffff;

/// A view of a listpack.
#[derive(Clone, Copy, Debug)]
pub struct Listpack<'a> {
    bytes: &'a [u8],
}

impl<'a> Listpack<'a> {
    /// A view of `bytes`, all of which must be one listpack. O(n).
    ///
    /// # Errors
    /// [`Corrupt`] when header, entries, back lengths, count and end mark do not all agree.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Corrupt> {
        validate(bytes)?;
        Ok(Self { bytes })
    }

    /// A view of bytes that we made, or have validated before. O(1).
    #[must_use]
    pub const fn trusted(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The bytes behind the view.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many elements there are. O(1), or O(n) from 65535 on.
    #[must_use]
    pub fn len(&self) -> usize {
        match self.counted() {
            Some(count) => count,
            None => self.walk_len(),
        }
    }

    /// The count in the header, unless it is the one that says nothing.
    fn counted(&self) -> Option<usize> {
        let header = self.bytes.get(4..HEADER)?;
        let count = usize::from(u16::from_le_bytes([header[0], header[1]]));
        (count != COUNT_UNKNOWN).then_some(count)
    }

    fn walk_len(&self) -> usize {
        let mut at = HEADER;
        let mut count = 0;
        while let Some(next) = self.next(at) {
            at = next;
            count += 1;
        }
        count
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.get(HEADER).is_none_or(|&b| b == END)
    }

    /// Offset of the first element, or of the end mark when there is none.
    #[must_use]
    pub const fn first_offset(&self) -> usize {
        HEADER
    }

    /// Offset of the end mark, where an insertion appends.
    #[must_use]
    pub const fn end_offset(&self) -> usize {
        self.bytes.len().saturating_sub(1)
    }

    /// Offset of the last element.
    #[must_use]
    pub fn last_offset(&self) -> Option<usize> {
        self.prev(self.end_offset())
    }

    /// The element at `offset`, `None` at the end mark.
    #[inline]
    #[must_use]
    pub fn at(&self, offset: usize) -> Option<Element<'a>> {
        decode(self.bytes, offset).map(|(element, _)| element)
    }

    /// The element at `offset` and the offset behind it; `None` at the end mark.
    #[inline]
    #[must_use]
    pub fn read(&self, offset: usize) -> Option<(Element<'a>, usize)> {
        decode(self.bytes, offset)
    }

    /// The offset behind the element at `offset`: the next one's, or the end mark's. `None` when
    /// `offset` is the end mark's.
    #[inline]
    #[must_use]
    pub fn next(&self, offset: usize) -> Option<usize> {
        let body = body_len(self.bytes, offset)?;
        let next = offset.checked_add(body)? + back_len(body);
        (next < self.bytes.len()).then_some(next)
    }

    /// The offset of the element before the one, or before the end mark, at `offset`.
    #[inline]
    #[must_use]
    pub fn prev(&self, offset: usize) -> Option<usize> {
        prev_entry(self.bytes, offset)
    }

    /// The first element.
    #[must_use]
    pub fn first(&self) -> Option<Element<'a>> {
        self.at(HEADER)
    }

    /// The last element. O(1).
    #[must_use]
    pub fn last(&self) -> Option<Element<'a>> {
        self.at(self.last_offset()?)
    }

    /// The offset of element `index`; negative indexes count from the end, -1 is the last.
    ///
    /// O(n): walks from the nearer end.
    #[must_use]
    pub fn seek(&self, index: isize) -> Option<usize> {
        let forward = match self.counted() {
            Some(count) => {
                let index = if index < 0 { count.checked_sub(index.unsigned_abs())? } else { index as usize };
                if index >= count {
                    return None;
                }
                if index > count / 2 {
                    return self.walk_back(count - index);
                }
                index
            }
            None if index < 0 => return self.walk_back(index.unsigned_abs()),
            None => index as usize,
        };
        let mut at = HEADER;
        for _ in 0..forward {
            at = self.next(at)?;
        }
        (self.bytes.get(at).copied()? != END).then_some(at)
    }

    /// The offset `steps` elements before the end mark.
    fn walk_back(&self, steps: usize) -> Option<usize> {
        let mut at = self.end_offset();
        for _ in 0..steps {
            at = self.prev(at)?;
        }
        Some(at)
    }

    /// Element `index`, counted from 0. O(n): walks from the nearer end.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Element<'a>> {
        self.at(self.seek(isize::try_from(index).ok()?)?)
    }

    /// The elements, from either end.
    #[must_use]
    pub fn iter(&self) -> Iter<'a> {
        self.iter_from(HEADER)
    }

    /// The elements from the one at `offset` on.
    #[must_use]
    pub fn iter_from(&self, offset: usize) -> Iter<'a> {
        Iter { bytes: self.bytes, front: offset, back: self.end_offset() }
    }

    /// The elements with their offsets, from either end.
    #[must_use]
    pub fn entries(&self) -> Entries<'a> {
        Entries(self.iter())
    }

    /// Looks for `needle` from the element at `from` on, at every `stride`-th element only: 1 looks
    /// at all, 2 at the fields of field-value pairs when `from` is a field.
    ///
    /// Answers the offset, and how many elements lie between `from` and there. O(n).
    #[must_use]
    pub fn find(&self, from: usize, needle: &[u8], stride: usize) -> Option<(usize, usize)> {
        let number = num::parse_i64(needle);
        let stride = stride.max(1);
        let mut at = from;
        let mut index = 0;
        loop {
            let (element, mut next) = decode(self.bytes, at)?;
            let found = match element {
                Element::Bytes(s) => s == needle,
                Element::Int(v) => number == Some(v),
            };
            if found {
                return Some((at, index));
            }
            for _ in 1..stride {
                next = self.next(next)?;
            }
            at = next;
            index += stride;
        }
    }
}

impl<'a> IntoIterator for Listpack<'a> {
    type Item = Element<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &Listpack<'a> {
    type Item = Element<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The elements of a [`Listpack`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    bytes: &'a [u8],
    front: usize,
    back: usize,
}

impl Iter<'_> {
    /// Offset of the element that `next` is about to give; of the end mark when there is none.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.front
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        if self.front >= self.back {
            return None;
        }
        let (element, next) = decode(self.bytes, self.front)?;
        self.front = next;
        Some(element)
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        let at = prev_entry(self.bytes, self.back)?;
        let (element, _) = decode(self.bytes, at)?;
        self.back = at;
        Some(element)
    }
}

impl std::iter::FusedIterator for Iter<'_> {}

/// The elements of a [`Listpack`] with their offsets.
#[derive(Clone, Debug)]
pub struct Entries<'a>(Iter<'a>);

impl<'a> Iterator for Entries<'a> {
    type Item = (usize, Element<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let at = self.0.front;
        Some((at, self.0.next()?))
    }
}

impl DoubleEndedIterator for Entries<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        let element = self.0.next_back()?;
        Some((self.0.back, element))
    }
}

fn validate(bytes: &[u8]) -> Result<(), Corrupt> {
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
    let entries = validate_entries(&bytes[..end])?;
    let declared = usize::from(u16::from_le_bytes([bytes[4], bytes[5]]));
    if declared != COUNT_UNKNOWN && declared != entries {
        let kind = CorruptKind::CountMismatch { declared: declared as u64, counted: entries };
        return Err(Corrupt::new(4, kind));
    }
    Ok(())
}

/// Walks the entries of `bytes`, which is a listpack less its end mark, and counts them.
fn validate_entries(bytes: &[u8]) -> Result<usize, Corrupt> {
    let mut at = HEADER;
    let mut entry = 0;
    while let Some(&first) = bytes.get(at) {
        let short = short_body(first);
        if short == 0 {
            at = validate_long_entry(bytes, at, entry)?;
            entry += 1;
            continue;
        }
        if bytes.get(at + short).copied() != Some(short as u8) {
            return Err(entry_error(bytes, at, short, entry));
        }
        at += short + 1;
        entry += 1;
    }
    Ok(entry)
}

/// Checks the entry at `at` in full; answers where the next one starts.
#[inline(never)]
fn validate_long_entry(bytes: &[u8], at: usize, entry: usize) -> Result<usize, Corrupt> {
    let Some(body) = body_len(bytes, at) else {
        return Err(match bytes[at] {
            END => Corrupt::new(at, CorruptKind::EarlyEnd { left: bytes.len() - at }),
            byte @ 0xf5.. => Corrupt::new(at, CorruptKind::UnknownEncoding { entry, byte }),
            _ => overrun(bytes, at, entry),
        });
    };
    let back = back_len(body);
    // Compared by what is left, as the declared length may be near the top of the range.
    if body > bytes.len() - at || back > bytes.len() - at - body {
        return Err(overrun(bytes, at, entry));
    }
    let mut expected = [0; encoding::MAX_BACK_LEN];
    write_back_len(&mut expected, body);
    if bytes[at + body..at + body + back] != expected[..back] {
        return Err(entry_error(bytes, at, body, entry));
    }
    Ok(at + body + back)
}

#[cold]
fn entry_error(bytes: &[u8], at: usize, body: usize, entry: usize) -> Corrupt {
    if at + body >= bytes.len() {
        return overrun(bytes, at, entry);
    }
    Corrupt::new(at + body, CorruptKind::BackLength { entry })
}

#[cold]
fn overrun(bytes: &[u8], at: usize, entry: usize) -> Corrupt {
    Corrupt::new(at, CorruptKind::EntryOverruns { entry, body_bytes: bytes.len() - HEADER })
}

#[cfg(test)]
mod tests;
