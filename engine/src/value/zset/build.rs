//! Whole sorted sets from files: from pairs that come one by one, and from a listpack.

use std::cmp::Ordering;

use crate::base::num::Near;
use crate::packed::Element;
use crate::packed::listpack::{Listpack, ListpackBuf};
use crate::structure::btree::{Builder, Duplicate};
use crate::structure::hash::HashSeed;

use super::super::malformed::{Malformed, distinct_groups};
use super::{Limits, Zset, ZsetTree, pack};

/// Takes members and scores in any order; ascending or descending order costs least.
#[derive(Debug)]
pub struct ZsetBuilder {
    tree: Builder,
    longest: usize,
}

impl ZsetBuilder {
    /// A builder under these limits.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self { tree: Builder::new(limits.seed), longest: 0 }
    }

    /// Takes a member.
    ///
    /// # Errors
    /// [`Duplicate`] if it is already clear that the member came before.
    ///
    /// # Panics
    /// If `score` is NaN.
    pub fn push(&mut self, member: &[u8], score: f64) -> Result<(), Duplicate> {
        self.longest = self.longest.max(member.len());
        self.tree.push(member, score)
    }

    /// The sorted set, in the form that the limits ask for.
    ///
    /// # Errors
    /// [`Duplicate`] if a member came twice.
    pub fn finish(self, limits: &Limits) -> Result<Zset, Duplicate> {
        let tree = self.tree.finish()?;
        let small = tree.len() <= limits.zset_max_listpack_entries as u64
            && self.longest <= limits.zset_max_listpack_value;
        Ok(if small { Zset::Listpack(pack_of(&tree)) } else { Zset::Tree(Box::new(tree)) })
    }
}

/// Puts pairs in the order of a sorted set. No score is NaN.
pub(super) fn sort(pairs: &mut [(&[u8], f64)]) {
    sort_by(pairs, |pair| *pair);
}

/// Puts pairs in the order of a sorted set; `of` gives the member and score of one. No score is NaN.
pub(super) fn sort_by<'m, T>(pairs: &mut [T], of: impl Fn(&T) -> (&'m [u8], f64)) {
    let order = |a: &T, b: &T| {
        let (a, b) = (of(a), of(b));
        a.1.partial_cmp(&b.1).map(|order| order.then_with(|| a.0.cmp(b.0)))
    };
    if !pairs.is_sorted_by(|a, b| order(a, b) == Some(Ordering::Less)) {
        pairs.sort_unstable_by(|a, b| order(a, b).unwrap_or(Ordering::Equal));
    }
}

impl Zset {
    /// A sorted set of these pairs, which come in any order and are sorted; `None` if a member comes twice.
    /// No score is NaN. O(n log n), O(n) if they come in order.
    #[must_use]
    pub fn from_pairs(pairs: &mut [(&[u8], f64)], limits: &Limits) -> Option<Self> {
        let mut small = Self::new();
        if small.fill(pairs, limits) {
            return Some(small);
        }
        sort(pairs);
        let mut builder = ZsetBuilder::new(limits);
        pairs.iter().try_for_each(|(member, score)| builder.push(member, *score)).ok()?;
        builder.finish(limits).ok()
    }

    /// Whether a listpack of pairs of a file is a sorted set as it is, under these limits.
    ///
    /// # Errors
    /// As [`Zset::from_pack`].
    pub fn keeps(pairs: Listpack<'_>, limits: &Limits) -> Result<bool, Malformed> {
        let len = distinct_groups(pairs, 2)?;
        let is_in_order = check_scores(pairs)?;
        Ok(is_in_order && len <= limits.zset_max_listpack_entries)
    }

    /// Takes a listpack of pairs from a file: as it is if it is in order, else put in order, or as a
    /// tree if it has more members than the limits allow. Long members alone do not convert it.
    ///
    /// # Errors
    /// `Incomplete` without a score for each member, `Duplicate`, `BadScore`.
    pub fn from_pack(pairs: ListpackBuf, limits: &Limits) -> Result<Self, Malformed> {
        let len = distinct_groups(pairs.view(), 2)?;
        let in_order = check_scores(pairs.view())?;
        if in_order && len <= limits.zset_max_listpack_entries {
            return Ok(Self::Listpack(pairs));
        }
        let tree = tree_of(pairs.view(), limits.seed);
        let small = len <= limits.zset_max_listpack_entries;
        Ok(if small { Self::Listpack(pack_of(&tree)) } else { Self::Tree(Box::new(tree)) })
    }
}

/// Checks that scores are numbers; answers whether the pairs are in order.
fn check_scores(pairs: Listpack<'_>) -> Result<bool, Malformed> {
    let mut elements = pairs.iter();
    let mut last: Option<Scored<'_>> = None;
    let mut in_order = true;
    let mut index = 0;
    while let Some(member) = elements.next() {
        let pair = elements.next().and_then(|score| Scored::new(member, score));
        let pair = pair.ok_or(Malformed::BadScore { index })?;
        in_order &= last.is_none_or(|last| last.is_before(pair));
        last = Some(pair);
        index += 1;
    }
    Ok(in_order)
}

/// A member with its score, which is read only as exactly as it takes.
#[derive(Clone, Copy)]
struct Scored<'a> {
    member: Element<'a>,
    score: Element<'a>,
    near: Near,
}

impl<'a> Scored<'a> {
    /// `None` if the score is not a number.
    #[inline]
    fn new(member: Element<'a>, score: Element<'a>) -> Option<Self> {
        let exact = || Some(Near { value: score.as_f64()?, is_exact: true });
        let near = score.near_f64().or_else(exact).filter(|near| !near.value.is_nan())?;
        Some(Self { member, score, near })
    }

    #[inline]
    fn is_before(self, next: Self) -> bool {
        let exact = || self.score.as_f64().partial_cmp(&next.score.as_f64());
        match self.near.order(next.near).or_else(exact) {
            Some(Ordering::Equal) => self.member.with_bytes(|own| next.member.with_bytes(|next| own < next)),
            order => order == Some(Ordering::Less),
        }
    }
}

/// The tree of a listpack that is a sorted set.
pub(super) fn tree_of(pairs: Listpack<'_>, seed: HashSeed) -> ZsetTree {
    let all = || super::ZsetRef::Listpack(pairs).iter();
    let mut builder = Builder::new(seed);
    let pushed = all().try_for_each(|(member, score)| member.with_bytes(|bytes| builder.push(bytes, score)));
    if let Ok(tree) = pushed.and_then(|()| builder.finish()) {
        return tree;
    }
    // Bytes that were trusted wrongly may name a member twice. The last one wins.
    let mut tree = ZsetTree::new(seed);
    for (member, score) in all() {
        member.with_bytes(|bytes| tree.insert(bytes, score));
    }
    tree
}

/// The listpack of a tree.
pub(super) fn pack_of(tree: &ZsetTree) -> ListpackBuf {
    let mut pairs = ListpackBuf::new();
    for (member, score) in tree {
        pack::push(&mut pairs, member, score);
    }
    pairs.shrink_to_fit();
    pairs
}
