//! Telling what is there twice, in bounded memory: parts of one value, and keys of a file.
//!
//! Both go by hashes under a seed of this run, so that nobody can prepare collisions; equal hashes are a
//! suspicion, and whoever has one looks at the bytes. Up to [`MOST_IN_TABLE`] parts of a value are kept in a
//! table; those of a larger one are sorted, on disk if need be. Keys go through a filter of fixed size,
//! which tells those that may have been there before; they are looked for in a second pass.

use std::hash::{BuildHasher, RandomState};
use std::io;

use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

use crate::spill::{Sorter, Spill};

/// A hash of this run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hasher {
    seed: u64,
}

impl Hasher {
    pub(crate) fn random() -> Self {
        Self { seed: RandomState::new().hash_one(0) }
    }

    /// Never zero.
    #[inline]
    pub(crate) fn part(self, bytes: &[u8]) -> u64 {
        xxh3_64_with_seed(bytes, self.seed).max(1)
    }

    /// Of a key and its database.
    #[inline]
    pub(crate) fn key(self, db: u64, key: &[u8]) -> u128 {
        xxh3_128_with_seed(key, self.seed.wrapping_add(db.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }
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

/// Lanes of a block of the filter; a key has a bit in each.
const LANES: usize = 8;
type Block = [u32; LANES];
/// The filter's size in blocks, at most: 16 MiB.
const MOST_BLOCKS: u64 = 1 << 19;
/// A small file has few keys, and needs a small filter.
const BYTES_A_BLOCK: u64 = 64;

/// Keys that may have been there before. A key that was is always told.
#[derive(Debug)]
pub(crate) struct Filter {
    blocks: Vec<Block>,
}

impl Filter {
    /// A filter for a file of that length.
    pub(crate) fn new(file_bytes: u64) -> Self {
        let blocks = (file_bytes / BYTES_A_BLOCK).clamp(1, MOST_BLOCKS).next_power_of_two();
        Self { blocks: vec![[0; LANES]; blocks as usize] }
    }

    /// Adds a key's hash; true if all of its bits were there. All lanes at once, and without a branch, so that
    /// the next keys' blocks are on their way while this one's is.
    #[inline]
    pub(crate) fn add(&mut self, hash: u128) -> bool {
        // Odd numbers that spread 32 bits of the hash differently for each lane.
        const SPREAD: [u32; LANES] = [
            0x47b6_137b,
            0x4497_4d91,
            0x8824_ad5b,
            0xa2b7_289d,
            0x7054_95c7,
            0x2df1_424b,
            0x9efc_4947,
            0x5c6b_fb31,
        ];
        let at = (hash >> 64) as usize & (self.blocks.len() - 1);
        let block = &mut self.blocks[at];
        let bits = hash as u32;
        let mut missing = 0;
        for (lane, spread) in block.iter_mut().zip(SPREAD) {
            let bit = 1u32 << (bits.wrapping_mul(spread) >> 27);
            missing |= bit & !*lane;
            *lane |= bit;
        }
        missing == 0
    }
}

#[cfg(test)]
mod tests {
    use super::{Distinct, Filter, Hasher, MOST_IN_TABLE};

    #[test]
    fn what_is_there_twice_is_found_however_much_there_is() {
        let hasher = Hasher { seed: 1 };
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
    fn the_filter_tells_all_that_were_there_and_few_others() {
        let hasher = Hasher { seed: 1 };
        let keys = 20_000u64;
        let mut filter = Filter::new(keys * 300);
        let told = (0..keys).filter(|i| filter.add(hasher.key(0, &i.to_le_bytes()))).count();
        assert!(told < 10, "{told}");
        assert!((0..keys).all(|i| filter.add(hasher.key(0, &i.to_le_bytes()))));
        assert!((0..keys).filter(|i| filter.add(hasher.key(1, &i.to_le_bytes()))).count() < 100);
    }
}
