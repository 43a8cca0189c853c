//! Telling what parts of a value are there twice, in bounded memory.
//!
//! It goes by hashes under a seed of this run, so that nobody can prepare collisions; equal hashes are a
//! suspicion, and whoever has one looks at the bytes. Up to [`MOST_IN_TABLE`] parts of a value are kept in a
//! table; those of a larger one are sorted, on disk if need be. Keys of a file go through a filter
//! (`filter.rs`).

use std::hash::{BuildHasher, RandomState};
use std::io;

use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

use crate::spill::{Sorter, Spill};

/// A hash of this run: quick for the short strings that most keys and parts are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hasher {
    seeds: [u64; 4],
}

impl Hasher {
    pub(crate) fn random() -> Self {
        let state = RandomState::new();
        Self { seeds: std::array::from_fn(|i| state.hash_one(i)) }
    }

    /// Of a part of a value; never zero.
    #[inline]
    pub(crate) fn part(self, bytes: &[u8]) -> u64 {
        self.hash(bytes, 0).max(1)
    }

    /// Of a part that is the text of an integer; it is not that of the text.
    #[inline]
    pub(crate) fn number(self, value: i64) -> u64 {
        let [s0, s1, s2, s3] = self.seeds;
        fold(value.cast_unsigned() ^ s2 ^ s1, s3 ^ s0)
    }

    /// Of a key and its database.
    #[inline]
    pub(crate) fn key(self, db: u64, key: &[u8]) -> u64 {
        self.hash(key, spread(db))
    }

    /// Of a key and its database, so wide that two keys do not share one.
    pub(crate) fn wide_key(self, db: u64, key: &[u8]) -> u128 {
        xxh3_128_with_seed(key, self.seeds[0].wrapping_add(spread(db)))
    }

    /// Up to 32 bytes are taken as two or four words, which may lie over each other; of strings of one length
    /// they are the same only if the strings are.
    #[inline]
    fn hash(self, bytes: &[u8], extra: u64) -> u64 {
        let [s0, s1, ..] = self.seeds;
        let (a, b) = match bytes.len() {
            17.. => return self.hash_long(bytes, extra),
            8..=16 => (word(bytes.first_chunk()), word(bytes.last_chunk())),
            4..=7 => (half_word(bytes.first_chunk()), half_word(bytes.last_chunk())),
            1..=3 => {
                let (first, last) = (u64::from(bytes[0]), u64::from(bytes[bytes.len() - 1]));
                (first << 8 | last, u64::from(bytes[bytes.len() / 2]))
            }
            0 => (0, 0),
        };
        fold(a ^ s0 ^ extra, b ^ s1 ^ spread(bytes.len() as u64))
    }

    #[inline]
    fn hash_long(self, bytes: &[u8], extra: u64) -> u64 {
        let [s0, s1, s2, s3] = self.seeds;
        match (bytes.first_chunk::<16>(), bytes.last_chunk::<16>()) {
            (Some(first), Some(last)) if bytes.len() <= 32 => {
                let first = fold(
                    word(first.first_chunk()) ^ s0 ^ extra,
                    word(first.last_chunk()) ^ s1 ^ spread(bytes.len() as u64),
                );
                first ^ fold(word(last.first_chunk()) ^ s2, word(last.last_chunk()) ^ s3)
            }
            _ => xxh3_64_with_seed(bytes, s0 ^ extra),
        }
    }
}

#[inline(always)]
fn word(bytes: Option<&[u8; 8]>) -> u64 {
    bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[inline(always)]
fn half_word(bytes: Option<&[u8; 4]>) -> u64 {
    bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes).into())
}

/// A small number all over a word: where it stays in its low bits it would undo a difference of a byte.
#[inline(always)]
fn spread(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Both halves of the product.
#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// Slots that a table starts with: enough for what servers keep packed, and quick to clear.
const LEAST_SLOTS: usize = 256;
/// Hashes that are kept in a table: it has twice as many slots.
const MOST_IN_TABLE: usize = 1 << 19;

/// Hashes of the parts of one value.
#[derive(Debug)]
pub(crate) struct Distinct {
    /// Open addressing; 0 is a free slot.
    slots: Vec<u64>,
    len: usize,
    twice: Option<u64>,
    sorter: Option<Sorter>,
    /// What kept the sorter from sorting.
    failed: Option<io::Error>,
}

impl Distinct {
    pub(crate) fn new() -> Self {
        Self { slots: vec![0; LEAST_SLOTS], len: 0, twice: None, sorter: None, failed: None }
    }

    /// Another value follows.
    pub(crate) fn clear(&mut self) {
        if self.slots.len() > 16 * LEAST_SLOTS {
            self.slots = vec![0; LEAST_SLOTS];
        } else if self.len > 0 {
            self.slots.fill(0);
        }
        self.len = 0;
        self.twice = None;
        self.sorter = None;
    }

    /// Adds a hash, which is not 0.
    #[inline]
    pub(crate) fn add(&mut self, hash: u64) {
        if self.len * 2 >= self.slots.len() {
            self.grow();
        }
        if self.sorter.is_some() {
            return self.sort(hash);
        }
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while self.slots[at] != 0 {
            if self.slots[at] == hash {
                self.twice.get_or_insert(hash);
                return;
            }
            at = (at + 1) & mask;
        }
        self.slots[at] = hash;
        self.len += 1;
    }

    #[cold]
    fn grow(&mut self) {
        let len = self.slots.len();
        if len >= 2 * MOST_IN_TABLE {
            self.sorter = Some(Sorter::new(&Spill::default().part(4)));
            for hash in std::mem::replace(&mut self.slots, vec![0; LEAST_SLOTS]) {
                if hash != 0 {
                    self.sort(hash);
                }
            }
            self.len = 0;
            return;
        }
        self.len = 0;
        for hash in std::mem::replace(&mut self.slots, vec![0; 2 * len]) {
            if hash != 0 {
                self.add(hash);
            }
        }
    }

    #[cold]
    fn sort(&mut self, hash: u64) {
        if let Some(sorter) = &mut self.sorter
            && let Err(error) = sorter.push(&hash.to_be_bytes(), &[])
        {
            self.failed.get_or_insert(error);
        }
    }

    /// A hash that was added twice.
    pub(crate) fn twice(&mut self) -> Option<u64> {
        if let Some(sorter) = self.sorter.take() {
            match first_twice(sorter) {
                Ok(twice) => self.twice = self.twice.or(twice),
                Err(error) => drop(self.failed.get_or_insert(error)),
            }
        }
        self.twice
    }

    /// What kept it from looking at all that was added.
    pub(crate) fn failed(&mut self) -> Option<io::Error> {
        self.failed.take()
    }
}

fn first_twice(sorter: Sorter) -> io::Result<Option<u64>> {
    let mut sorted = sorter.finish()?;
    let mut last = None;
    while let Some(record) = sorted.current() {
        let hash = record.key.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
        if hash.is_some() && hash == last {
            return Ok(hash);
        }
        last = hash;
        sorted.advance()?;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Distinct, Hasher, MOST_IN_TABLE};

    #[test]
    fn what_is_there_twice_is_found_however_much_there_is() {
        let hasher = Hasher::random();
        let mut distinct = Distinct::new();
        for count in [0u64, 1, 100, 1000, 2 * MOST_IN_TABLE as u64] {
            for twice in [None, Some(0), Some(count / 2)] {
                distinct.clear();
                for i in 0..count {
                    distinct.add(hasher.part(&i.to_le_bytes()));
                }
                let twice = twice.filter(|i| *i < count).map(|i| hasher.part(&i.to_le_bytes()));
                if let Some(hash) = twice {
                    distinct.add(hash);
                }
                assert_eq!(distinct.twice(), twice, "{count}");
            }
        }
    }

    #[test]
    fn strings_that_differ_in_one_byte_or_in_length_have_other_hashes() {
        let hasher = Hasher::random();
        let mut seen = HashSet::new();
        let mut expected = 0;
        for len in 0..70usize {
            let mut text = vec![b'x'; len];
            let mut add = |text: &[u8]| {
                expected += 4;
                seen.extend([hasher.part(text), hasher.key(1, text), hasher.key(2, text)]);
                seen.insert(hasher.wide_key(0, text) as u64);
            };
            add(&text);
            for at in 0..len {
                text[at] = b'y';
                add(&text);
                text[at] = b'x';
            }
        }
        assert_eq!(seen.len(), expected);
    }
}
