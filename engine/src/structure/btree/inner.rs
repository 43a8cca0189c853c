//! Inner nodes: for each child how many entries are below it, and what its first entry is.

use super::leaf::{NONE, count_below};

/// What an inner node knows of a child.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Child {
    /// Entries below it.
    pub(super) count: u64,
    /// Score of its first entry.
    pub(super) score: f64,
    /// [`prefix_of`] its first entry's member.
    pub(super) prefix: u64,
    /// A leaf's number, or an inner node's.
    pub(super) node: u32,
}

/// The children of an inner node. What is told of them lies apart, so that a look for one thing, which
/// is all that a way down or up needs, touches few cache lines.
#[derive(Debug, Clone, Default)]
pub(super) struct Children {
    nodes: Vec<u32>,
    counts: Vec<u64>,
    scores: Vec<f64>,
    prefixes: Vec<u64>,
}

/// An inner node; its children are all leaves or all inner nodes.
#[derive(Debug, Clone)]
pub(super) struct Inner {
    pub(super) parent: u32,
    pub(super) children: Children,
}

impl Inner {
    pub(super) fn new(children: Children) -> Self {
        Self { parent: NONE, children }
    }

    /// Where a child stands.
    #[inline]
    pub(super) fn position(&self, node: u32) -> usize {
        self.children.position(node)
    }
}

impl FromIterator<Child> for Children {
    fn from_iter<I: IntoIterator<Item = Child>>(all: I) -> Self {
        let mut children = Self::default();
        all.into_iter().for_each(|child| children.insert(children.len(), child));
        children
    }
}

impl Children {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Heap bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<u32>()
            + (self.counts.capacity() + self.scores.capacity() + self.prefixes.capacity()) * size_of::<u64>()
    }

    /// The children's numbers.
    #[inline]
    pub(super) fn nodes(&self) -> &[u32] {
        &self.nodes
    }

    /// Entries below each.
    #[inline]
    pub(super) fn counts(&self) -> &[u64] {
        &self.counts
    }

    pub(super) fn at(&self, i: usize) -> Child {
        Child { count: self.counts[i], score: self.scores[i], prefix: self.prefixes[i], node: self.nodes[i] }
    }

    pub(super) fn set(&mut self, i: usize, child: Child) {
        let Child { count, score, prefix, node } = child;
        (self.counts[i], self.scores[i], self.prefixes[i], self.nodes[i]) = (count, score, prefix, node);
    }

    /// Another first entry below a child.
    pub(super) fn set_first(&mut self, i: usize, score: f64, prefix: u64) {
        (self.scores[i], self.prefixes[i]) = (score, prefix);
    }

    /// Entries below a child, to change.
    #[inline]
    pub(super) fn count_mut(&mut self, i: usize) -> &mut u64 {
        &mut self.counts[i]
    }

    pub(super) fn insert(&mut self, i: usize, child: Child) {
        let Child { count, score, prefix, node } = child;
        self.counts.insert(i, count);
        self.scores.insert(i, score);
        self.prefixes.insert(i, prefix);
        self.nodes.insert(i, node);
    }

    pub(super) fn remove(&mut self, i: usize) {
        self.counts.remove(i);
        self.scores.remove(i);
        self.prefixes.remove(i);
        self.nodes.remove(i);
    }

    pub(super) fn split_off(&mut self, at: usize) -> Self {
        Self {
            nodes: self.nodes.split_off(at),
            counts: self.counts.split_off(at),
            scores: self.scores.split_off(at),
            prefixes: self.prefixes.split_off(at),
        }
    }

    pub(super) fn append(&mut self, other: &mut Self) {
        self.nodes.append(&mut other.nodes);
        self.counts.append(&mut other.counts);
        self.scores.append(&mut other.scores);
        self.prefixes.append(&mut other.prefixes);
    }

    /// Where a child stands.
    #[inline]
    fn position(&self, node: u32) -> usize {
        self.nodes.iter().position(|&n| n == node).expect("a node is among its parent's children")
    }

    /// The last child, or the first one, whose first entry is not above (score, prefix and what
    /// `is_above` says of the child at an index whose prefix is the same).
    #[inline]
    pub(super) fn last_not_above(&self, score: f64, prefix: u64, is_above: impl Fn(usize) -> bool) -> usize {
        let (below, same) = count_below(&self.scores, score);
        let tied = &self.prefixes[below..below + same];
        let tied = tied.partition_point(|&p| p < prefix)..tied.partition_point(|&p| p <= prefix);
        let (mut low, mut high) = (below + tied.start, below + tied.end);
        while low < high {
            let middle = (low + high) / 2;
            if is_above(middle) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low.saturating_sub(1)
    }

    /// The last child, or the first one, for which `before` holds; it must hold for all before it.
    pub(super) fn last_before(&self, mut before: impl FnMut(&Child) -> bool) -> usize {
        let (mut low, mut high) = (1, self.len());
        while low < high {
            let middle = (low + high) / 2;
            if before(&self.at(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low - 1
    }
}

/// The first eight bytes of a member, as a number that orders as they do; zeros stand in for
/// missing ones, so equal prefixes say nothing.
#[inline]
pub(super) fn prefix_of(member: &[u8]) -> u64 {
    let mut first = [0; 8];
    let len = member.len().min(8);
    first[..len].copy_from_slice(&member[..len]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::*;

    #[test]
    fn ways_down_agree_with_a_scan() {
        let firsts: Vec<(f64, u64)> =
            [(1.0, 5), (1.0, 7), (1.0, 7), (2.0, 0), (2.0, 9), (f64::INFINITY, 1)].to_vec();
        let children: Children = firsts
            .iter()
            .enumerate()
            .map(|(i, &(score, prefix))| Child { count: 1, score, prefix, node: i as u32 })
            .collect();
        for score in [f64::NEG_INFINITY, 0.5, 1.0, 1.5, 2.0, 3.0, f64::INFINITY] {
            for prefix in 0..10 {
                for tie in 0..3 {
                    // The first `tie` of those with the same prefix are not above.
                    let is_above = |i: usize| {
                        let first = firsts.iter().position(|f| *f == firsts[i]).expect("it is there");
                        i - first >= tie
                    };
                    let above = |i: &usize| {
                        let (s, p) = firsts[*i];
                        match s.partial_cmp(&score).expect("no NaN").then(p.cmp(&prefix)) {
                            Ordering::Less => false,
                            Ordering::Greater => true,
                            Ordering::Equal => is_above(*i),
                        }
                    };
                    let want = (0..firsts.len()).find(above).unwrap_or(firsts.len()).saturating_sub(1);
                    assert_eq!(children.last_not_above(score, prefix, is_above), want);
                }
            }
        }
    }
}
