//! A tree of byte strings ordered by score, then by bytes, each string at most once.
//!
//! A B+tree whose leaves are packed byte blocks (`leaf.rs`) and whose inner nodes count what is
//! below them (`inner.rs`), so that rank and position are found on the way down; and a table from
//! member to leaf (`index.rs`). A million short members take about 18 to 27 bytes each, their own
//! bytes included; a skip list and a hash table take over 80. Leaves are about `LEAF` bytes long,
//! a longer member has one for itself. Knows no Redis types, clocks or limits. Scores are never
//! NaN; 0 and -0 are equal in order, and both are kept as they came.

mod build;
mod edit;
mod index;
mod inner;
mod iter;
mod leaf;

use index::{LeafHashes, LeafIndex, tag_of};
use inner::{Child, Inner, prefix_of};
use leaf::{Leaf, NONE};

use super::hash::HashSeed;
use super::record::prefetch_bytes;

pub use build::{Builder, Duplicate};
pub use iter::Range;

/// The tree. `LEAF` is the size of a leaf in bytes, `FANOUT` the most children of an inner node.
#[derive(Debug, Clone)]
pub struct ScoreTree<const LEAF: usize = 1024, const FANOUT: usize = 32> {
    leaves: Vec<Leaf>,
    inners: Vec<Inner>,
    /// Heads of the lists of unused nodes, chained through `next` and `parent`.
    free_leaf: u32,
    free_inner: u32,
    root: u32,
    /// Levels of inner nodes; 0 when the root is a leaf.
    height: u32,
    first: u32,
    last: u32,
    len: u64,
    index: LeafIndex,
    seed: HashSeed,
}

/// Where an entry is. Good until the next edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    leaf: u32,
    slot: usize,
}

struct Hashed<'a> {
    leaves: &'a [Leaf],
    seed: HashSeed,
}

impl LeafHashes for Hashed<'_> {
    fn hashes_with_tag(&self, leaf: u32, tag: u16, out: &mut Vec<u64>) {
        let leaf = &self.leaves[leaf as usize];
        for slot in leaf.slots_with_tag(tag as u8) {
            let hash = self.seed.hash(leaf.member(slot));
            if tag_of(hash) == tag {
                out.push(hash);
            }
        }
    }
}

impl<const LEAF: usize, const FANOUT: usize> ScoreTree<LEAF, FANOUT> {
    /// An empty tree that hashes its members with `seed`.
    #[must_use]
    pub fn new(seed: HashSeed) -> Self {
        Self {
            leaves: vec![Leaf::from_parts(&leaf::Parts::default())],
            inners: Vec::new(),
            free_leaf: NONE,
            free_inner: NONE,
            root: 0,
            height: 0,
            first: 0,
            last: 0,
            len: 0,
            index: LeafIndex::new(),
            seed,
        }
    }

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The score of a member. O(1).
    #[must_use]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        let place = self.find(self.seed.hash(member), member)?;
        Some(self.leaf(place.leaf).score(place.slot))
    }

    /// The hash of a member, for the prefetches.
    #[inline]
    #[must_use]
    pub fn hash(&self, member: &[u8]) -> u64 {
        self.seed.hash(member)
    }

    /// Asks the CPU for the place of a hash in the index: the first step.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// Asks the CPU for the leaf that the index names: the second step.
    #[inline]
    pub fn prefetch_leaf(&self, hash: u64) {
        if let Some(id) = self.index.candidates(hash).next() {
            let leaf: *const Leaf = self.leaf(id);
            prefetch_bytes(leaf.cast(), size_of::<Leaf>());
        }
    }

    /// Asks the CPU for what is in that leaf: the third step.
    #[inline]
    pub fn prefetch_members(&self, hash: u64) {
        if let Some(id) = self.index.candidates(hash).next() {
            self.leaf(id).prefetch(LEAF);
        }
    }

    /// How many members come before this one, and its score. O(log n).
    #[must_use]
    pub fn rank(&self, member: &[u8]) -> Option<(u64, f64)> {
        let place = self.find(self.seed.hash(member), member)?;
        let mut rank = place.slot as u64;
        let leaf = self.leaf(place.leaf);
        let (mut node, mut parent) = (place.leaf, leaf.parent);
        while parent != NONE {
            let inner = self.inner(parent);
            rank += inner.children.counts()[..inner.position(node)].iter().sum::<u64>();
            (node, parent) = (parent, inner.parent);
        }
        Some((rank, leaf.score(place.slot)))
    }

    /// The member and score that `rank` others come before. O(log n).
    #[must_use]
    pub fn at(&self, rank: u64) -> Option<(&[u8], f64)> {
        let place = self.place_at(rank)?;
        let leaf = self.leaf(place.leaf);
        Some((leaf.member(place.slot), leaf.score(place.slot)))
    }

    /// How many entries come first for which `before` holds; it must hold for no later one. O(log n).
    #[must_use]
    pub fn count_scores(&self, mut before: impl FnMut(f64) -> bool) -> u64 {
        let (leaf, rank) = self.descend(|_, child| before(child.score));
        rank + leaf.partition(|slot| before(leaf.score(slot))) as u64
    }

    /// As [`ScoreTree::count_scores`], asking for members: of use when all scores are the same.
    #[must_use]
    pub fn count_members(&self, mut before: impl FnMut(&[u8]) -> bool) -> u64 {
        let (leaf, rank) = self.descend(|level, child| before(self.first_member(level, child.node)));
        rank + leaf.partition(|slot| before(leaf.member(slot))) as u64
    }

    /// Visits members in an order that no edit disturbs, `count` of them or a few more; answers
    /// where to go on, 0 at the end. Starts at cursor 0.
    ///
    /// A member that is there from the first call to the last is visited at least once.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(&[u8], f64)) -> u64 {
        self.index.scan(cursor, count, |leaf, tag, group| {
            let leaf = self.leaf(leaf);
            for slot in leaf.slots_with_tag(tag as u8) {
                let member = leaf.member(slot);
                let hash = self.seed.hash(member);
                if tag_of(hash) == tag && group.has(hash) {
                    visit(member, leaf.score(slot));
                }
            }
        })
    }

    /// Heap bytes. O(n / entries of a leaf).
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let blocks: usize = self.leaves.iter().map(Leaf::memory_bytes).sum();
        let children: usize = self.inners.iter().map(|i| i.children.memory_bytes()).sum();
        blocks
            + children
            + self.leaves.capacity() * size_of::<Leaf>()
            + self.inners.capacity() * size_of::<Inner>()
            + self.index.memory_bytes()
    }

    #[inline]
    fn leaf(&self, id: u32) -> &Leaf {
        &self.leaves[id as usize]
    }

    #[inline]
    fn inner(&self, id: u32) -> &Inner {
        &self.inners[id as usize]
    }

    #[cfg(test)]
    fn hashed(&self) -> Hashed<'_> {
        Hashed { leaves: &self.leaves, seed: self.seed }
    }

    #[inline]
    fn find(&self, hash: u64, member: &[u8]) -> Option<Place> {
        let tag = tag_of(hash) as u8;
        self.index.candidates(hash).find_map(|id| {
            let slot = self.leaf(id).find(tag, member)?;
            Some(Place { leaf: id, slot })
        })
    }

    /// Goes down to the last leaf whose first entry is `before`, or to the first leaf; answers it
    /// and how many entries come before it.
    fn descend(&self, mut before: impl FnMut(u32, &Child) -> bool) -> (&Leaf, u64) {
        let (mut node, mut rank) = (self.root, 0);
        for level in (0..self.height).rev() {
            let children = &self.inner(node).children;
            let at = children.last_before(|child| before(level, child));
            rank += children.counts()[..at].iter().sum::<u64>();
            node = children.nodes()[at];
        }
        (self.leaf(node), rank)
    }

    /// Where (score, member) is, or would be put.
    fn locate(&self, score: f64, member: &[u8]) -> Place {
        let prefix = prefix_of(member);
        let mut node = self.root;
        for level in (0..self.height).rev() {
            let children = &self.inner(node).children;
            let is_above = |i: usize| self.first_member(level, children.nodes()[i]) > member;
            node = children.nodes()[children.last_not_above(score, prefix, is_above)];
        }
        Place { leaf: node, slot: self.leaf(node).lower_bound(score, member) }
    }

    fn place_at(&self, mut rank: u64) -> Option<Place> {
        if rank >= self.len {
            return None;
        }
        let mut node = self.root;
        for _ in 0..self.height {
            let children = &self.inner(node).children;
            let below = children.counts().iter().position(|&count| {
                let here = rank < count;
                if !here {
                    rank -= count;
                }
                here
            });
            node = children.nodes()[below.expect("counts of children add up")];
        }
        Some(Place { leaf: node, slot: rank as usize })
    }

    /// The first member below a node, `level` levels above the leaves.
    fn first_member(&self, level: u32, mut node: u32) -> &[u8] {
        for _ in 0..level {
            node = self.inner(node).children.nodes()[0];
        }
        self.leaf(node).member_at(0, 0)
    }
}

#[cfg(test)]
mod tests;
