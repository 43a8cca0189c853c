//! Telling which keys of a file may have been there before, in memory of a fixed size.
//!
//! Keys go by hashes. A [`Filter`] remembers all that were added and, in a file of more keys than it is
//! made for, takes others for them too; whoever is told looks for the keys in a second pass. A filter for a large
//! file is larger than the caches, so [`Sorted`] lets hashes wait until many of them lie near to each other.

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
    /// The number of blocks is two to the power of this.
    bits: u32,
}

impl Filter {
    /// A filter for a file of that length.
    pub(crate) fn new(file_bytes: u64) -> Self {
        let blocks = (file_bytes / BYTES_A_BLOCK).clamp(1, MOST_BLOCKS).next_power_of_two();
        Self { blocks: vec![[0; LANES]; blocks as usize], bits: blocks.trailing_zeros() }
    }

    /// Adds a key's hash; true if all of its bits were there. The top bits of the hash tell the block. All lanes
    /// at once, and without a branch, so that the next keys' blocks are on their way while this one's is.
    #[inline]
    pub(crate) fn add(&mut self, hash: u64) -> bool {
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
        let at = (hash >> 32) >> (32 - self.bits);
        let block = &mut self.blocks[at as usize];
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

/// Parts that a filter is thought to consist of, by the top bits of hashes: none is larger than 64 KiB.
const PARTS: usize = 256;
/// Hashes that wait for a part: so many that it is brought into the cache for several in each of its lines. No power
/// of two, or the places where the next ones go would share the same few lines of the cache.
const ROOM: usize = 4096 + 8;
/// A filter of so many blocks stays in the cache as it is.
const FEW_BLOCKS: usize = 1 << 13;

/// A filter, and hashes that wait until there are enough for one of its parts.
#[derive(Debug)]
pub(crate) struct Sorted {
    filter: Filter,
    /// `ROOM` places for each part, and how many of them are taken.
    waiting: Vec<u64>,
    taken: [u16; PARTS],
}

impl Sorted {
    pub(crate) fn new(filter: Filter) -> Self {
        let waiting = if filter.blocks.len() > FEW_BLOCKS { PARTS * ROOM } else { 0 };
        Self { filter, waiting: vec![0; waiting], taken: [0; PARTS] }
    }

    /// Adds a hash, now or later; `suspects` gets those that may have been there before.
    #[inline]
    pub(crate) fn add(&mut self, hash: u64, suspects: &mut Vec<u64>) {
        let part = (hash >> (64 - PARTS.ilog2())) as usize;
        let taken = usize::from(self.taken[part]);
        let Some(place) = self.waiting.get_mut(part * ROOM + taken) else {
            if self.filter.add(hash) {
                suspects.push(hash);
            }
            return;
        };
        *place = hash;
        self.taken[part] += 1;
        if taken + 1 == ROOM {
            self.settle(part, suspects);
        }
    }

    fn settle(&mut self, part: usize, suspects: &mut Vec<u64>) {
        let taken = usize::from(std::mem::take(&mut self.taken[part]));
        for hash in &self.waiting[part * ROOM..part * ROOM + taken] {
            if self.filter.add(*hash) {
                suspects.push(*hash);
            }
        }
    }

    /// Adds all that wait.
    pub(crate) fn finish(&mut self, suspects: &mut Vec<u64>) {
        if !self.waiting.is_empty() {
            (0..PARTS).for_each(|part| self.settle(part, suspects));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::distinct::Hasher;
    use super::{Filter, Sorted};

    #[test]
    fn the_filter_tells_all_that_were_there_and_few_others() {
        let hasher = Hasher::random();
        let keys = 20_000u64;
        let mut filter = Filter::new(keys * 300);
        let told = (0..keys).filter(|i| filter.add(hasher.key(0, &i.to_le_bytes()))).count();
        assert!(told < 10, "{told}");
        assert!((0..keys).all(|i| filter.add(hasher.key(0, &i.to_le_bytes()))));
        assert!((0..keys).filter(|i| filter.add(hasher.key(1, &i.to_le_bytes()))).count() < 100);
    }

    #[test]
    fn what_waits_is_told_like_what_does_not() {
        let hasher = Hasher::random();
        let keys = 200_000;
        for file_bytes in [0, 1 << 20, keys * 64] {
            let mut plain = Filter::new(file_bytes);
            let mut sorted = Sorted::new(Filter::new(file_bytes));
            let mut told = Vec::new();
            let mut expected = HashSet::new();
            // Every tenth key comes again.
            for i in (0..keys).chain((0..keys).step_by(10)) {
                let hash = hasher.key(0, &i.to_le_bytes());
                sorted.add(hash, &mut told);
                if plain.add(hash) {
                    expected.insert(hash);
                }
            }
            sorted.finish(&mut told);
            let told: HashSet<u64> = told.into_iter().collect();
            assert!((0..keys).step_by(10).all(|i| told.contains(&hasher.key(0, &i.to_le_bytes()))));
            // Which of those that share bits is the later one hangs on the order.
            let others = told.symmetric_difference(&expected).count();
            assert!(others * 100 <= expected.len() + 100, "{others} of {}", expected.len());
        }
    }
}
