//! The greatest few of any number of keys, in a room that is fixed by how many are wanted.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use cairn_engine::codec::rdb::Family;

use crate::memory::Encoding;

/// Of a longer key only so much is kept.
const KEPT_KEY_BYTES: usize = 1024;

/// A key among the greatest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BigKey {
    /// Its first bytes, at most `KEPT_KEY_BYTES`.
    pub key: Vec<u8>,
    /// How long it really is.
    pub key_bytes: u64,
    /// Its database.
    pub db: u64,
    /// What it is.
    pub family: Family,
    /// How the server would hold it.
    pub encoding: Encoding,
    /// Bytes in memory.
    pub memory: u64,
    /// Bytes of its record in the file.
    pub file_bytes: u64,
    /// Elements.
    pub elements: u64,
    /// Bytes of the longest element.
    pub longest: u64,
    /// When it expires.
    pub expire_at: Option<i64>,
    /// Access counter, where the file has it.
    pub freq: Option<u8>,
    /// Idle seconds, where the file has them.
    pub idle_s: Option<u64>,
    /// Offset of its record.
    pub at: u64,
}

#[derive(Debug, Clone)]
struct Ranked {
    by: u64,
    big: BigKey,
}

impl Ranked {
    /// Greater first, then what comes first in the file: so the order in which keys are offered does
    /// not matter.
    fn rank(&self) -> (u64, Reverse<(u64, u64)>) {
        (self.by, Reverse((self.big.at, self.big.db)))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Ranked {}
impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

/// The greatest keys by some number.
#[derive(Debug, Clone)]
pub struct Top {
    most: usize,
    /// The least of them on top.
    heap: BinaryHeap<Reverse<Ranked>>,
}

impl Top {
    /// The `most` greatest.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, heap: BinaryHeap::new() }
    }

    /// Whether a key with this number, whose record is at `at`, would be among them.
    #[inline]
    #[must_use]
    pub fn wants(&self, by: u64, at: u64) -> bool {
        self.heap.len() < self.most
            || self
                .heap
                .peek()
                .is_some_and(|Reverse(least)| by > least.by || (by == least.by && at < least.big.at))
    }

    /// Offers a key.
    pub fn offer(&mut self, by: u64, key: &[u8], mut big: BigKey) {
        if !self.wants(by, big.at) {
            return;
        }
        big.key = key[..key.len().min(KEPT_KEY_BYTES)].to_vec();
        big.key_bytes = key.len() as u64;
        self.put(Ranked { by, big });
    }

    fn put(&mut self, ranked: Ranked) {
        self.heap.push(Reverse(ranked));
        if self.heap.len() > self.most {
            self.heap.pop();
        }
    }

    /// Adds those of another one.
    pub fn merge(&mut self, other: Self) {
        other.heap.into_iter().for_each(|Reverse(ranked)| self.put(ranked));
    }

    /// The keys, greatest first.
    #[must_use]
    pub fn into_keys(self) -> Vec<BigKey> {
        // In the order of `Reverse`, which is from the greatest down.
        self.heap.into_sorted_vec().into_iter().map(|Reverse(ranked)| ranked.big).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{BigKey, Top};
    use crate::memory::Encoding;
    use cairn_engine::codec::rdb::Family;

    fn big(at: u64) -> BigKey {
        BigKey {
            key: Vec::new(),
            key_bytes: 0,
            db: 0,
            family: Family::String,
            encoding: Encoding::Raw,
            memory: 0,
            file_bytes: 0,
            elements: 0,
            longest: 0,
            expire_at: None,
            freq: None,
            idle_s: None,
            at,
        }
    }

    #[test]
    fn the_order_of_offers_does_not_matter() {
        let numbers: Vec<u64> = (0..1000).map(|i| i * 7919 % 100).collect();
        let find = |order: &[usize], parts: usize| {
            let mut tops = vec![Top::new(5); parts];
            for (turn, &i) in order.iter().enumerate() {
                tops[turn % parts].offer(numbers[i], format!("k{i}").as_bytes(), big(i as u64));
            }
            let mut all = tops.pop().expect("there is a part");
            tops.into_iter().for_each(|top| all.merge(top));
            all.into_keys().into_iter().map(|big| (big.key, big.at)).collect::<Vec<_>>()
        };
        let forward: Vec<usize> = (0..1000).collect();
        let backward: Vec<usize> = (0..1000).rev().collect();
        let found = find(&forward, 1);
        assert_eq!(found.len(), 5);
        assert!(found.iter().all(|(_, at)| numbers[*at as usize] == 99));
        assert!(found.is_sorted_by_key(|(_, at)| *at));
        assert_eq!(found, find(&backward, 1));
        assert_eq!(found, find(&backward, 3));
        let mut none = Top::new(0);
        none.offer(1, b"k", big(0));
        assert!(none.into_keys().is_empty());
    }

    #[test]
    fn long_keys_are_cut() {
        let mut top = Top::new(1);
        top.offer(1, &[b'x'; 5000], big(0));
        let found = top.into_keys();
        assert_eq!((found[0].key.len(), found[0].key_bytes), (1024, 5000));
    }
}
