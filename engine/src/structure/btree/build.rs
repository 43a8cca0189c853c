//! Builds a tree in one pass from entries that come in order, up or down: full leaves, inner nodes
//! from the bottom, an index that is as large as it must be. Entries out of order are welcome too,
//! but then cost what insertions cost. O(n) for ordered input.

use std::cmp::Ordering;

use super::index::{LeafIndex, tag_of};
use super::inner::Inner;
use super::leaf::{Leaf, NONE, Parts, cmp_scores};
use super::{HashSeed, ScoreTree};

/// A member came twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a member comes twice")]
pub struct Duplicate;

/// Takes entries one by one.
#[derive(Debug)]
pub struct Builder<const LEAF: usize = 1024, const FANOUT: usize = 32> {
    tree: ScoreTree<LEAF, FANOUT>,
    /// Leaves that are full, in the order in which they came.
    done: Vec<u32>,
    pending: Parts,
    /// The hashes of all members, in the order in which they came, while they are few enough to be kept.
    hashes: Vec<u64>,
    last: Option<(f64, Vec<u8>)>,
    direction: Direction,
}

/// Hashes of so many members are kept to the end; those of more are computed again, as they would take more
/// memory than is worth it.
const KEPT_HASHES: usize = if cfg!(test) { 100 } else { 1 << 16 };

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Unknown,
    Up,
    Down,
    /// Neither: the tree is in use.
    Mixed,
}

impl<const LEAF: usize, const FANOUT: usize> Builder<LEAF, FANOUT> {
    /// A builder of a tree with this seed.
    #[must_use]
    pub fn new(seed: HashSeed) -> Self {
        let mut tree = ScoreTree::new(seed);
        tree.leaves.clear();
        Self {
            tree,
            done: Vec::new(),
            pending: Parts::default(),
            hashes: Vec::new(),
            last: None,
            direction: Direction::Unknown,
        }
    }

    /// Entries so far.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.tree.len
    }

    /// Whether there are none so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tree.len == 0
    }

    /// Takes an entry.
    ///
    /// # Errors
    /// [`Duplicate`] if it is already clear that the member came before; else `finish` finds out.
    ///
    /// # Panics
    /// If `score` is NaN.
    pub fn push(&mut self, member: &[u8], score: f64) -> Result<(), Duplicate> {
        assert!(!score.is_nan(), "NaN has no place in an order");
        if self.direction != Direction::Mixed {
            let order =
                self.last.as_ref().map(|(s, m)| cmp_scores(*s, score).then_with(|| m[..].cmp(member)));
            match (self.direction, order) {
                (_, None)
                | (Direction::Up, Some(Ordering::Less))
                | (Direction::Down, Some(Ordering::Greater)) => {}
                (_, Some(Ordering::Equal)) => return Err(Duplicate),
                (Direction::Unknown, Some(Ordering::Less)) => self.direction = Direction::Up,
                (Direction::Unknown, Some(Ordering::Greater)) => self.direction = Direction::Down,
                _ => {
                    self.assemble()?;
                    self.direction = Direction::Mixed;
                }
            }
        }
        if self.direction == Direction::Mixed {
            return if self.tree.insert(member, score).is_some() { Err(Duplicate) } else { Ok(()) };
        }
        if self.pending.len() > 0 && self.pending.bytes_with(score, member) > LEAF {
            self.flush();
        }
        let hash = self.tree.seed.hash(member);
        if self.hashes.len() < KEPT_HASHES {
            self.hashes.push(hash);
        }
        self.pending.push(tag_of(hash) as u8, score, member);
        self.tree.len += 1;
        let last = self.last.get_or_insert_default();
        last.0 = score;
        last.1.clear();
        last.1.extend_from_slice(member);
        Ok(())
    }

    /// The tree of all entries.
    ///
    /// # Errors
    /// [`Duplicate`] if a member came twice.
    pub fn finish(mut self) -> Result<ScoreTree<LEAF, FANOUT>, Duplicate> {
        if self.direction != Direction::Mixed {
            self.assemble()?;
        }
        self.tree.leaves.shrink_to_fit();
        self.tree.inners.shrink_to_fit();
        Ok(self.tree)
    }

    fn flush(&mut self) {
        if self.direction == Direction::Down {
            self.pending.reverse();
        }
        let leaf = self.tree.store_leaf(Leaf::from_parts(&self.pending));
        self.pending.clear();
        self.done.push(leaf);
    }

    /// Makes a whole tree of the leaves.
    fn assemble(&mut self) -> Result<(), Duplicate> {
        if self.pending.len() > 0 || self.done.is_empty() {
            self.flush();
        }
        if self.direction == Direction::Down {
            self.done.reverse();
        }
        let tree = &mut self.tree;
        for pair in self.done.windows(2) {
            tree.leaves[pair[0] as usize].next = pair[1];
            tree.leaves[pair[1] as usize].prev = pair[0];
        }
        tree.first = *self.done.first().unwrap_or(&NONE);
        tree.last = *self.done.last().unwrap_or(&NONE);
        let mut nodes = std::mem::take(&mut self.done);
        tree.height = 0;
        while nodes.len() > 1 {
            let level = tree.height;
            let mut parents = Vec::with_capacity(nodes.len().div_ceil(FANOUT));
            for group in nodes.chunks(FANOUT) {
                let children = group.iter().map(|&node| tree.summary(level, node)).collect();
                let parent = tree.store_inner(Inner::new(children));
                for &node in group {
                    tree.set_parent(level, node, parent);
                }
                parents.push(parent);
            }
            nodes = parents;
            tree.height += 1;
        }
        tree.root = nodes[0];
        self.index_all()
    }

    fn index_all(&mut self) -> Result<(), Duplicate> {
        let hashes = std::mem::take(&mut self.hashes);
        let tree = &mut self.tree;
        let leaves = || tree.leaves.iter().zip(0u32..);
        let mut twice = false;
        let same_tag = |tag, a, b| twice |= share_a_member(&tree.leaves, tag, a, b);
        let index = if hashes.len() as u64 == tree.len {
            // Leaves are numbered as they came, and so are the hashes.
            let of_leaves = leaves().flat_map(|(leaf, id)| (0..leaf.len()).map(move |_| id));
            LeafIndex::build(tree.len, hashes.into_iter().zip(of_leaves), same_tag)
        } else {
            let seed = tree.seed;
            let members =
                leaves().flat_map(|(leaf, id)| (0..leaf.len()).map(move |slot| (leaf.member(slot), id)));
            LeafIndex::build(tree.len, members.map(|(member, id)| (seed.hash(member), id)), same_tag)
        };
        if twice {
            return Err(Duplicate);
        }
        tree.index = index;
        Ok(())
    }
}

/// Whether two leaves, or two slots of one leaf, hold the same member under this tag.
fn share_a_member(leaves: &[Leaf], tag: u16, a: u32, b: u32) -> bool {
    let (left, right) = (&leaves[a as usize], &leaves[b as usize]);
    left.slots_with_tag(tag as u8).any(|i| {
        right.slots_with_tag(tag as u8).any(|j| (a != b || i != j) && left.member(i) == right.member(j))
    })
}
