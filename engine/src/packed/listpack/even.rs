//! Listpacks whose elements are all strings of one length: told apart, taken out row by row, put back.
//!
//! The first byte of such an entry is the same in all of them, and so is the last: what differs lies in
//! between. Only strings whose length fits into the first byte are looked at.

use super::encoding::{STRING_6, STRING_6_LIMIT};
use super::{END, HEADER, Listpack, ListpackBuf};

/// Bytes of an entry that are not the string's.
const AROUND: usize = 2;

impl Listpack<'_> {
    /// The length of all elements, if they are strings of the same length, neither empty nor of 64 bytes
    /// and more. O(1) if the first two differ, else O(n).
    #[must_use]
    pub fn even_len(&self) -> Option<usize> {
        let body = self.bytes.get(HEADER..self.end_offset())?;
        let &first = body.first()?;
        let len = usize::from(first.checked_sub(STRING_6)?);
        if !(1..STRING_6_LIMIT).contains(&len) || !body.len().is_multiple_of(len + AROUND) {
            return None;
        }
        // The first byte tells how long an entry is, so each of these is at the start of one.
        body.chunks_exact(len + AROUND).all(|entry| entry[0] == first).then_some(len)
    }

    /// Writes the strings one after the other; `len` is the answer of [`even_len`](Self::even_len).
    ///
    /// # Panics
    /// If `out` is not as long as all of them.
    pub fn copy_even(&self, len: usize, out: &mut [u8]) {
        let body = &self.bytes[HEADER..self.end_offset()];
        assert_eq!(body.len() / (len + AROUND) * len, out.len(), "there is room for what is copied");
        let rows =
            body.chunks_exact(len + AROUND).map(|entry| &entry[1..=len]).zip(out.chunks_exact_mut(len));
        copy_rows(len, rows);
    }
}

impl ListpackBuf {
    /// The listpack of the strings of `len` bytes that lie in `texts` one after the other.
    ///
    /// # Panics
    /// If `len` is none that [`Listpack::even_len`] answers, or there are 65,535 strings or more.
    #[must_use]
    pub fn of_even(len: usize, texts: &[u8]) -> Self {
        assert!((1..STRING_6_LIMIT).contains(&len), "the length fits into the first byte of an entry");
        let count = u16::try_from(texts.len() / len).ok().filter(|&count| count != u16::MAX);
        let count = count.expect("the count is told in two bytes");
        let size = HEADER + usize::from(count) * (len + AROUND) + 1;
        let mut bytes = vec![0; size];
        bytes[..4].copy_from_slice(&(size as u32).to_le_bytes());
        bytes[4..HEADER].copy_from_slice(&count.to_le_bytes());
        bytes[size - 1] = END;
        let entries = bytes[HEADER..size - 1].chunks_exact_mut(len + AROUND).map(|entry| {
            entry[0] = STRING_6 | len as u8;
            entry[len + 1] = len as u8 + 1;
            &mut entry[1..=len]
        });
        copy_rows(len, texts.chunks_exact(len).zip(entries));
        Self::from_trusted(bytes)
    }
}

/// Copies rows of `len` bytes. As each is short, a call for each would cost more than the copying: two
/// words that overlap do.
fn copy_rows<'a>(len: usize, rows: impl Iterator<Item = (&'a [u8], &'a mut [u8])>) {
    match len {
        1 => rows.for_each(|(from, to)| copy_ends::<1>(from, to)),
        2..4 => rows.for_each(|(from, to)| copy_ends::<2>(from, to)),
        4..8 => rows.for_each(|(from, to)| copy_ends::<4>(from, to)),
        8..16 => rows.for_each(|(from, to)| copy_ends::<8>(from, to)),
        16..32 => rows.for_each(|(from, to)| copy_ends::<16>(from, to)),
        _ => rows.for_each(|(from, to)| to.copy_from_slice(from)),
    }
}

/// Copies a row that has at least `N` bytes, and at most twice as many.
#[inline(always)]
fn copy_ends<const N: usize>(from: &[u8], to: &mut [u8]) {
    if let (Some(from), Some(to)) = (from.first_chunk::<N>(), to.first_chunk_mut::<N>()) {
        *to = *from;
    }
    if let (Some(from), Some(to)) = (from.last_chunk::<N>(), to.last_chunk_mut::<N>()) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(items: &[&str]) -> ListpackBuf {
        let mut pack = ListpackBuf::new();
        items.iter().for_each(|item| pack.push_back(item.as_bytes()));
        pack
    }

    #[test]
    fn only_strings_of_one_length_are_even() {
        let cases: [(&[&str], Option<usize>); 8] = [
            (&["a", "b", "c"], Some(1)),
            (&["abc", "abc"], Some(3)),
            (&["abc", "abcd"], None),
            (&["abc", "100"], None),
            (&["1", "2"], None),
            (&["", ""], None),
            (&[], None),
            (&["ab", "c", "abcd"], None),
        ];
        for (items, len) in cases {
            assert_eq!(pack(items).view().even_len(), len, "{items:?}");
        }
        let long = "x".repeat(STRING_6_LIMIT);
        assert_eq!(pack(&[&long]).view().even_len(), None);
        assert_eq!(pack(&[&long[1..]]).view().even_len(), Some(63));
    }

    #[test]
    fn all_lengths_come_back_byte_for_byte() {
        for len in 1..STRING_6_LIMIT {
            for count in [1, 2, 9] {
                let items: Vec<String> = (0..count)
                    .map(|i| (0..len).map(|j| (b'a' + ((i * 7 + j) % 26) as u8) as char).collect())
                    .collect();
                let refs: Vec<&str> = items.iter().map(String::as_str).collect();
                let own = pack(&refs);
                assert_eq!(own.view().even_len(), Some(len));
                let mut texts = vec![0; len * count];
                own.view().copy_even(len, &mut texts);
                assert_eq!(texts, refs.concat().as_bytes());
                assert_eq!(ListpackBuf::of_even(len, &texts), own);
            }
        }
    }
}
