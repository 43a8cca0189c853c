//! Which keys must be together: those that one command has named, and those that are tied to them so.
//!
//! Keys are known by 64-bit hashes. Two keys of one hash are taken for one, which only keeps more together
//! than need be. Memory is bounded: where there are more keys than fit, all that were ever named beside
//! another one count as tied together.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Bytes that a key takes: hash, number, parent, and what a table leaves free.
const KEY_BYTES: u64 = 40;

/// Hashes are not hashed again.
#[derive(Debug, Default)]
pub(super) struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Only numbers of eight bytes are keys here.
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// Keys and what ties them.
#[derive(Debug)]
pub(super) struct Links {
    numbers: HashMap<u64, u32, BuildHasherDefault<Same>>,
    /// By number: the number of a key that is nearer to the one that stands for all.
    parents: Vec<u32>,
    /// By number: the hash, and, of keys that stand for all, how many there are.
    nodes: Vec<(u64, u32)>,
    most: usize,
    /// Keys that are tied to any other, once there are too many of them to tell more.
    tied: Option<Filter>,
}

impl Links {
    /// None yet; so many bytes may be taken.
    pub(super) fn new(memory: u64) -> Links {
        let most = (memory / KEY_BYTES).clamp(16, u64::from(u32::MAX)) as usize;
        let numbers = HashMap::default();
        Links { numbers, parents: Vec::new(), nodes: Vec::new(), most, tied: None }
    }

    /// Forgets all ties.
    pub(super) fn clear(&mut self) {
        let memory = self.most as u64 * KEY_BYTES;
        *self = Links::new(memory);
    }

    /// Ties keys together.
    pub(super) fn tie(&mut self, keys: &[u64]) {
        let [first, rest @ ..] = keys else { return };
        if rest.iter().all(|key| key == first) {
            return;
        }
        if self.tied.is_none() && self.numbers.len() + keys.len() > self.most {
            let mut filter = Filter::new();
            self.numbers.keys().for_each(|key| filter.add(*key));
            self.numbers = HashMap::default();
            self.parents = Vec::new();
            self.nodes = Vec::new();
            self.tied = Some(filter);
        }
        if let Some(tied) = &mut self.tied {
            keys.iter().for_each(|key| tied.add(*key));
            return;
        }
        let mut one = self.number(*first);
        for key in rest {
            let other = self.number(*key);
            one = self.join(one, other);
        }
    }

    fn number(&mut self, key: u64) -> u32 {
        let next = self.parents.len() as u32;
        let number = *self.numbers.entry(key).or_insert(next);
        if number == next {
            self.parents.push(next);
            self.nodes.push((key, 1));
        }
        number
    }

    fn join(&mut self, one: u32, other: u32) -> u32 {
        let (one, other) = (self.find(one), self.find(other));
        if one == other {
            return one;
        }
        let is_larger = self.nodes[one as usize].1 >= self.nodes[other as usize].1;
        let (root, child) = if is_larger { (one, other) } else { (other, one) };
        self.parents[child as usize] = root;
        let count = self.nodes[child as usize].1;
        self.nodes[root as usize].1 += count;
        root
    }

    fn find(&mut self, mut at: u32) -> u32 {
        loop {
            let parent = self.parents[at as usize];
            if parent == at {
                return at;
            }
            let above = self.parents[parent as usize];
            self.parents[at as usize] = above;
            at = above;
        }
    }

    /// What stands for a key and all that are tied to it.
    pub(super) fn root(&self, key: u64) -> u64 {
        if let Some(tied) = &self.tied {
            return if tied.has(key) { 0 } else { key };
        }
        let Some(&number) = self.numbers.get(&key) else { return key };
        let mut at = number;
        while self.parents[at as usize] != at {
            at = self.parents[at as usize];
        }
        self.nodes[at as usize].0
    }
}

/// A set of hashes that has all that were added and some others.
#[derive(Debug)]
pub(super) struct Filter(Vec<u64>);

/// Bits of a filter: 2 MiB.
const FILTER_BITS: u32 = 24;

impl Filter {
    /// The empty set.
    pub(super) fn new() -> Filter {
        Filter(vec![0; 1 << (FILTER_BITS - 6)])
    }

    /// Adds a hash.
    pub(super) fn add(&mut self, hash: u64) {
        for bit in bits(hash) {
            self.0[bit >> 6] |= 1 << (bit & 63);
        }
    }

    /// Whether a hash may have been added.
    pub(super) fn has(&self, hash: u64) -> bool {
        bits(hash).iter().all(|bit| self.0[bit >> 6] >> (bit & 63) & 1 == 1)
    }
}

fn bits(hash: u64) -> [usize; 2] {
    let mask = (1 << FILTER_BITS) - 1;
    [(hash >> 40) as usize & mask, (hash >> 12) as usize & mask]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes that differ in all their bits.
    fn hash(i: u64) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&i.to_le_bytes())
    }

    #[test]
    fn ties_are_transitive_and_others_stay_apart() {
        let mut links = Links::new(1 << 20);
        links.tie(&[hash(1), hash(2)]);
        links.tie(&[hash(3), hash(4), hash(5)]);
        links.tie(&[hash(9), hash(9)]);
        assert_eq!(links.root(hash(1)), links.root(hash(2)));
        assert_ne!(links.root(hash(1)), links.root(hash(3)));
        assert_eq!(links.root(hash(9)), hash(9));
        links.tie(&[hash(2), hash(5)]);
        let root = links.root(hash(1));
        assert!((1..=5).all(|i| links.root(hash(i)) == root));
    }

    #[test]
    fn what_is_too_much_is_all_tied_together() {
        let mut links = Links::new(0);
        for i in 0..1000 {
            links.tie(&[hash(2 * i), hash(2 * i + 1)]);
        }
        assert!((0..2000).all(|i| links.root(hash(i)) == 0));
        assert!((2000..3000).filter(|i| links.root(hash(*i)) == hash(*i)).count() > 990);
    }
}
