//! A listpack that is validated while it is read, in one walk instead of two.
//!
//! [`Sound`] shows the elements of bytes that nobody has looked at yet. Each is shown only when its entry and
//! its back length agree, but whether the whole is a listpack is known at the end, so whoever reads
//! this way must be able to take back what it made of the elements. The twin that says what is wrong, and where, is
//! `Listpack::new`.

use super::encoding::{decode, decode_short};
use super::{COUNT_UNKNOWN, EMPTY, END, Element, HEADER, validate_long_entry};

/// The elements of bytes that may be a listpack.
#[derive(Clone, Debug)]
pub struct Sound<'a> {
    /// All but the end mark.
    bytes: &'a [u8],
    at: usize,
    count: usize,
    declared: usize,
    is_sound: bool,
}

impl<'a> Sound<'a> {
    /// A walk over `bytes`; `None` if their size or their end is not a listpack's.
    #[inline]
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let (end, body) = bytes.split_last()?;
        let [a, b, c, d, e, f] = *body.first_chunk::<HEADER>()?;
        let size = u32::from_le_bytes([a, b, c, d]);
        if *end != END || size as usize != bytes.len() || bytes.len() < EMPTY {
            return None;
        }
        let declared = usize::from(u16::from_le_bytes([e, f]));
        Some(Self { bytes: body, at: HEADER, count: 0, declared, is_sound: true })
    }

    /// How many elements the header counts; `None` if it says that there are too many to tell.
    #[must_use]
    pub fn declared(&self) -> Option<usize> {
        (self.declared != COUNT_UNKNOWN).then_some(self.declared)
    }

    /// How many elements have been shown.
    #[must_use]
    pub fn shown(&self) -> usize {
        self.count
    }

    /// After the last element: whether all of the bytes are one listpack.
    #[inline]
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.is_sound
            && self.at == self.bytes.len()
            && (self.declared == COUNT_UNKNOWN || self.declared == self.count)
    }

    /// An entry that is long, or none at all.
    #[inline(never)]
    fn long(&mut self) -> Option<Element<'a>> {
        let at = self.at;
        match validate_long_entry(self.bytes, at, self.count) {
            Ok(next) => {
                self.at = next;
                self.count += 1;
                decode(self.bytes, at).map(|(element, _)| element)
            }
            Err(_) => self.stop(),
        }
    }

    #[cold]
    fn stop(&mut self) -> Option<Element<'a>> {
        self.is_sound = false;
        self.at = self.bytes.len();
        None
    }
}

impl<'a> Iterator for Sound<'a> {
    type Item = Element<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Element<'a>> {
        let first = *self.bytes.get(self.at)?;
        let Some((element, end)) = decode_short(self.bytes, self.at, first) else { return self.long() };
        if self.bytes.get(end).copied() != Some((end - self.at) as u8) {
            return self.stop();
        }
        self.at = end + 1;
        self.count += 1;
        Some(element)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Listpack, ListpackBuf};
    use super::*;

    /// The naive twin: first validate, then read.
    #[track_caller]
    fn check(bytes: &[u8]) {
        let expected = Listpack::new(bytes).ok();
        let mut elements = Vec::new();
        let is_sound = Sound::new(bytes).is_some_and(|mut sound| {
            sound.by_ref().for_each(|element| elements.push(element));
            assert_eq!(sound.shown(), elements.len());
            sound.is_sound()
        });
        assert_eq!(is_sound, expected.is_some(), "{}", bytes.escape_ascii());
        if let Some(view) = expected {
            assert!(view.iter().eq(elements), "{}", bytes.escape_ascii());
            let declared = Sound::new(bytes).and_then(|sound| sound.declared());
            assert_eq!(declared.is_none(), view.len() >= COUNT_UNKNOWN);
        }
    }

    fn item() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            3 => "[a-z]{0,70}".prop_map(String::into_bytes),
            3 => any::<i64>().prop_map(|v| v.to_string().into_bytes()),
            2 => any::<i16>().prop_map(|v| v.to_string().into_bytes()),
            1 => (60usize..140).prop_map(|len| vec![b'x'; len]),
            1 => (4090usize..4100).prop_map(|len| vec![b'y'; len]),
            1 => (16_375usize..16_390).prop_map(|len| vec![b'z'; len]),
        ]
    }

    fn pack(items: &[Vec<u8>]) -> Vec<u8> {
        let mut pack = ListpackBuf::new();
        items.iter().for_each(|item| pack.push_back(item));
        pack.into_bytes()
    }

    proptest! {
        #[test]
        fn it_takes_what_the_twin_takes(items in prop::collection::vec(item(), 0..12), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in 0usize..20) {
            let mut bytes = pack(&items);
            check(&bytes);
            check(&bytes[..bytes.len().saturating_sub(cut)]);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            check(&bytes);
            bytes[at] = 0xff;
            check(&bytes);
        }
    }

    #[test]
    fn every_byte_of_a_small_one_is_looked_at() {
        let items = ["", "a", "0", "127", "128", "-1", "5000", "100000", "3000000000", "abc"];
        let bytes = pack(&items.map(|item| item.as_bytes().to_vec()));
        check(&bytes);
        for at in 0..bytes.len() {
            for byte in 0..=255 {
                let mut bytes = bytes.clone();
                bytes[at] = byte;
                check(&bytes);
            }
        }
        check(b"");
        check(b"\x07\0\0\0\0\0\xff");
        check(b"\x06\0\0\0\0\xff");
    }

    #[test]
    fn a_count_that_says_nothing_is_right() {
        let mut pack = ListpackBuf::new();
        (0..=COUNT_UNKNOWN).for_each(|_| pack.push_back(b"1"));
        check(pack.as_bytes());
    }
}
