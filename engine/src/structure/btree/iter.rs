//! Entries in order, between two ranks, from either end.

use super::leaf::{Leaf, NONE};
use super::{Place, ScoreTree};

/// The entries between two ranks: members and scores in ascending order, or backwards by `rev`.
#[derive(Debug, Clone)]
pub struct Range<'a> {
    leaves: &'a [Leaf],
    front: Cursor,
    /// Stands behind the entry it will give.
    back: Cursor,
    left: u64,
}

#[derive(Debug, Clone, Copy)]
struct Cursor {
    leaf: u32,
    slot: usize,
    /// Where the slot's member starts, or where the one before it ends.
    start: usize,
}

impl<const LEAF: usize, const FANOUT: usize> ScoreTree<LEAF, FANOUT> {
    /// The entries of ranks `start..end`, as many as there are. O(log n), then O(1) each.
    #[must_use]
    pub fn range(&self, start: u64, end: u64) -> Range<'_> {
        let end = end.min(self.len);
        let left = end.saturating_sub(start);
        let cursor = |rank: u64, behind: usize| {
            let place = self.place_at(rank).unwrap_or(Place { leaf: NONE, slot: 0 });
            if place.leaf == NONE {
                return Cursor { leaf: NONE, slot: 0, start: 0 };
            }
            let slot = place.slot + behind;
            Cursor { leaf: place.leaf, slot, start: self.leaf(place.leaf).member_start(slot) }
        };
        if left == 0 {
            let nowhere = Cursor { leaf: NONE, slot: 0, start: 0 };
            return Range { leaves: &self.leaves, front: nowhere, back: nowhere, left };
        }
        Range { leaves: &self.leaves, front: cursor(start, 0), back: cursor(end - 1, 1), left }
    }

    /// All entries.
    #[must_use]
    pub fn iter(&self) -> Range<'_> {
        self.range(0, self.len)
    }
}

impl<'a, const LEAF: usize, const FANOUT: usize> IntoIterator for &'a ScoreTree<LEAF, FANOUT> {
    type Item = (&'a [u8], f64);
    type IntoIter = Range<'a>;

    fn into_iter(self) -> Range<'a> {
        self.iter()
    }
}

impl<'a> Iterator for Range<'a> {
    type Item = (&'a [u8], f64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let at = &mut self.front;
        let mut leaf = &self.leaves[at.leaf as usize];
        if at.slot == leaf.len() {
            *at = Cursor { leaf: leaf.next, slot: 0, start: 0 };
            leaf = &self.leaves[at.leaf as usize];
        }
        let member = leaf.member_at(at.slot, at.start);
        let score = leaf.score(at.slot);
        at.slot += 1;
        at.start += member.len();
        Some((member, score))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        (left, Some(left))
    }
}

impl DoubleEndedIterator for Range<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let at = &mut self.back;
        let mut leaf = &self.leaves[at.leaf as usize];
        if at.slot == 0 {
            at.leaf = leaf.prev;
            leaf = &self.leaves[at.leaf as usize];
            at.slot = leaf.len();
            at.start = leaf.member_total();
        }
        at.slot -= 1;
        at.start -= leaf.member_len(at.slot);
        Some((leaf.member_at(at.slot, at.start), leaf.score(at.slot)))
    }
}

impl ExactSizeIterator for Range<'_> {}
impl std::iter::FusedIterator for Range<'_> {}
