//! Bare elements: those of a listpack without their back lengths, one byte less for nearly all of them.
//!
//! For bytes that are kept in memory only and walked forwards; who wants to go back writes a back length
//! now and then. A [`Packer`] makes the listpack again, byte for byte.

use super::encoding::{MAX_BACK_LEN, MAX_INT_ENTRY, write_int, write_string_body};
use super::encoding::{back_len, body_len, decode_body, prev_entry, string_header_len, write_back_len};
use super::{COUNT_UNKNOWN, END, Element, HEADER, Listpack, ListpackBuf};
use crate::base::num;

/// The most bytes a bare element takes besides its text.
pub const MOST_AROUND: usize = 9;

/// Appends `s`, as an integer if it is the exact decimal text of one; answers what it takes in a listpack.
#[inline]
pub fn push(out: &mut Vec<u8>, s: &[u8]) -> usize {
    if let Some(v) = num::parse_i64(s) {
        return push_int(out, v);
    }
    let at = out.len();
    let body = string_header_len(s.len()) + s.len();
    out.resize(at + body, 0);
    write_string_body(&mut out[at..], s);
    packed_len(body)
}

/// Appends `v`; answers what it takes in a listpack.
#[inline]
pub fn push_int(out: &mut Vec<u8>, v: i64) -> usize {
    let mut entry = [0; MAX_INT_ENTRY];
    let len = write_int(&mut entry, v);
    // The back length of an integer is one byte.
    out.extend_from_slice(&entry[..len - 1]);
    len
}

/// What a bare element of `body` bytes takes in a listpack.
#[inline]
#[must_use]
pub const fn packed_len(body: usize) -> usize {
    body + back_len(body)
}

/// Appends the length of the `len` bytes before, to be read backwards.
#[inline]
pub fn push_back_len(out: &mut Vec<u8>, len: usize) {
    let mut bytes = [0; MAX_BACK_LEN];
    let width = write_back_len(&mut bytes, len);
    out.extend_from_slice(&bytes[..width]);
}

/// Bytes of the back length of `len` bytes.
#[must_use]
pub const fn back_len_of(len: usize) -> usize {
    back_len(len)
}

/// Where the bytes begin whose back length ends at `end`; `None` if that would be within the first six
/// bytes, or there is no back length.
#[must_use]
pub fn start_before(bytes: &[u8], end: usize) -> Option<usize> {
    prev_entry(bytes, end)
}

/// Bare elements, read forwards.
#[derive(Debug, Clone)]
pub struct Bare<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bare<'a> {
    /// The elements of `bytes` from `at` on, up to the end of the bytes or what is no element.
    #[inline]
    #[must_use]
    pub const fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// Where the next element begins.
    #[inline]
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.at
    }

    /// The bytes of the next element.
    #[inline]
    pub fn next_body(&mut self) -> Option<&'a [u8]> {
        let len = body_len(self.bytes, self.at)?;
        let body = self.bytes.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        Some(body)
    }
}

impl<'a> Iterator for Bare<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        let (element, end) = decode_body(self.bytes, self.at)?;
        self.at = end;
        Some(element)
    }
}

impl<'a> Listpack<'a> {
    /// The bytes of all elements, each without its back length.
    pub fn bodies(&self) -> impl Iterator<Item = &'a [u8]> {
        let bytes = self.bytes.get(..self.end_offset()).unwrap_or_default();
        let mut at = HEADER;
        std::iter::from_fn(move || {
            let body = body_len(bytes, at)?;
            let from = at;
            at = at.checked_add(body)? + back_len(body);
            bytes.get(from..from + body)
        })
    }
}

/// Puts a listpack together.
#[derive(Debug)]
pub struct Packer {
    bytes: Vec<u8>,
    count: usize,
}

impl Packer {
    /// For a listpack that takes `bytes` bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        let mut own = Vec::with_capacity(bytes);
        own.resize(HEADER, 0);
        Self { bytes: own, count: 0 }
    }

    /// Appends an integer.
    pub fn int(&mut self, v: i64) {
        let mut entry = [0; MAX_INT_ENTRY];
        let len = write_int(&mut entry, v);
        self.bytes.extend_from_slice(&entry[..len]);
        self.count += 1;
    }

    /// Appends a bare element.
    pub fn body(&mut self, body: &[u8]) {
        self.bytes.extend_from_slice(body);
        push_back_len(&mut self.bytes, body.len());
        self.count += 1;
    }

    /// The listpack.
    ///
    /// # Panics
    /// If it takes 4 GiB or more.
    #[must_use]
    pub fn finish(mut self) -> ListpackBuf {
        self.bytes.push(END);
        let size = u32::try_from(self.bytes.len()).expect("a listpack stays below 4 GiB, by contract");
        self.bytes[..4].copy_from_slice(&size.to_le_bytes());
        let count = self.count.min(COUNT_UNKNOWN) as u16;
        self.bytes[4..HEADER].copy_from_slice(&count.to_le_bytes());
        ListpackBuf::from_trusted(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_listpack_comes_back(items in prop::collection::vec(
            prop_oneof![
                4 => "[a-c]{0,70}".prop_map(String::into_bytes),
                4 => any::<i64>().prop_map(|v| (v >> (v & 63)).to_string().into_bytes()),
                1 => (4090usize..4100).prop_map(|n| vec![b'x'; n]),
                1 => (16_370usize..16_390).prop_map(|n| vec![b'x'; n]),
            ], 0..40)) {
            let mut pack = ListpackBuf::new();
            let mut bare = Vec::new();
            let mut size = HEADER + 1;
            for item in &items {
                pack.push_back(item);
                size += push(&mut bare, item);
            }
            prop_assert_eq!(size, pack.byte_len());
            prop_assert!(Bare::new(&bare, 0).eq(pack.view().iter()));
            prop_assert_eq!(pack.view().bodies().flatten().copied().collect::<Vec<_>>(), bare.clone());
            let mut packer = Packer::with_capacity(size);
            let mut left = Bare::new(&bare, 0);
            while let Some(body) = left.next_body() {
                packer.body(body);
            }
            prop_assert_eq!(left.offset(), bare.len());
            prop_assert_eq!(packer.finish(), pack);
        }

        #[test]
        fn any_bytes_end_somewhere(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let (mut one, mut other) = (Bare::new(&bytes, 0), Bare::new(&bytes, 0));
            while one.next().is_some() {
                other.next_body().expect("what is an element has bytes");
                prop_assert_eq!(one.offset(), other.offset());
            }
            prop_assert!(one.offset() <= bytes.len());
            prop_assert!(Listpack::trusted(&bytes).bodies().count() <= bytes.len());
        }

        #[test]
        fn a_back_length_leads_to_the_start(len in 0usize..40_000) {
            let mut bytes = vec![0; HEADER + len];
            push_back_len(&mut bytes, len);
            prop_assert_eq!(bytes.len(), HEADER + len + back_len_of(len));
            prop_assert_eq!(start_before(&bytes, bytes.len()), Some(HEADER));
        }
    }
}
