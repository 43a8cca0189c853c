//! Sorted sets: a listpack of (member, score) pairs while they are small, a tree beyond that.
//!
//! Both keep the order of (score, member bytes). Positions are ranks counted from the lowest score;
//! score and lex ranges are first turned into ranks, then read or removed. Behaviour: valkey
//! src/t_zset.c. OBJECT ENCODING calls the tree `skiplist`, as clients expect.

mod bounds;
mod build;
mod loading;
mod pack;

use std::ops::Range;

use crate::base::rng::Rng;
use crate::packed::Element;
use crate::packed::listpack::{Listpack, ListpackBuf};
use crate::structure::btree::{self, ScoreTree};

use super::Limits;
use super::malformed::distinct_groups;
pub use bounds::{LexBound, LexRange, ScoreBound, ScoreRange};
pub use build::ZsetBuilder;
pub use loading::{LoadedZset, ZsetLoader};

/// The large form.
pub type ZsetTree = ScoreTree;

/// Beyond this no listpack is grown, whatever the limits say.
const MAX_PACK_BYTES: usize = 1 << 30;

/// An owned sorted set.
#[derive(Debug, Clone)]
pub enum Zset {
    /// Pairs of member and score in order.
    Listpack(ListpackBuf),
    /// The large form.
    Tree(Box<ZsetTree>),
}

/// A sorted set to look at.
#[derive(Debug, Clone, Copy)]
pub enum ZsetRef<'a> {
    /// Pairs of member and score in order.
    Listpack(Listpack<'a>),
    /// The large form.
    Tree(&'a ZsetTree),
}

/// Which members ZADD may touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Presence {
    /// Any.
    #[default]
    Any,
    /// Only those that are not there yet (NX).
    New,
    /// Only those that are there (XX).
    Existing,
}

/// Which changes ZADD may make to a member that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Change {
    /// Any.
    #[default]
    Any,
    /// Only to a greater score (GT).
    Up,
    /// Only to a smaller score (LT).
    Down,
}

/// The score that a member is given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NewScore {
    /// This one.
    Set(f64),
    /// The old one, or 0, plus this (INCR).
    Add(f64),
}

/// What [`Zset::add`] did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AddOutcome {
    /// The member is new and has this score.
    Added(f64),
    /// The member has this score now, and had another one.
    Updated(f64),
    /// The member has this score and had it before.
    Same(f64),
    /// The rules forbade it.
    Refused,
    /// The sum is not a number: nothing was done.
    NotANumber,
}

impl Default for Zset {
    fn default() -> Self {
        Self::new()
    }
}

impl Zset {
    /// An empty sorted set.
    #[must_use]
    pub fn new() -> Self {
        Self::Listpack(ListpackBuf::new())
    }

    /// An empty one in the form that suits `members` members of at most `longest` bytes.
    #[must_use]
    pub fn with_hint(members: usize, longest: usize, limits: &Limits) -> Self {
        let mut zset = Self::new();
        zset.expect_members(members, longest, limits);
        zset
    }

    /// Changes to the large form if so many members, or so long ones, are about to come.
    pub fn expect_members(&mut self, members: usize, longest: usize, limits: &Limits) {
        if members > limits.zset_max_listpack_entries || longest > limits.zset_max_listpack_value {
            self.grow(limits);
        }
    }

    /// The sorted set to look at.
    #[inline]
    #[must_use]
    pub fn view(&self) -> ZsetRef<'_> {
        match self {
            Self::Listpack(pack) => ZsetRef::Listpack(pack.view()),
            Self::Tree(tree) => ZsetRef::Tree(tree),
        }
    }

    /// How many members it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.view().len()
    }

    /// Whether it has no members: its key must go.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.view().is_empty()
    }

    /// Puts many members into an empty small set at once, if they fit and none comes twice; answers whether
    /// it did. They come in any order and are sorted; no score is NaN. O(n log n), O(n) if they come in order.
    pub fn fill(&mut self, pairs: &mut [(&[u8], f64)], limits: &Limits) -> bool {
        let Self::Listpack(pack) = self else { return false };
        let fits = |member: &[u8]| member.len() <= limits.zset_max_listpack_value;
        let bytes: usize = pairs.iter().map(|(member, _)| member.len()).sum();
        if !pack.is_empty()
            || pairs.len() > limits.zset_max_listpack_entries
            || bytes > MAX_PACK_BYTES
            || !pairs.iter().all(|(member, _)| fits(member))
        {
            return false;
        }
        build::sort(pairs);
        let room: usize = pairs.iter().map(|(member, _)| pack::most_pair_bytes(member)).sum();
        let (mut appender, mut text) = (pack.appender(room), Vec::new());
        pairs.iter().for_each(|(member, score)| pack::append(&mut appender, member, *score, &mut text));
        drop(appender);
        let is_filled = distinct_groups(pack.view(), 2).is_ok();
        if !is_filled {
            pack.clear();
        }
        is_filled
    }

    /// Gives a member a score, if the rules allow it.
    ///
    /// # Panics
    /// If the number in `score` is NaN; callers refuse it as an argument.
    pub fn add(
        &mut self,
        member: &[u8],
        score: NewScore,
        presence: Presence,
        change: Change,
        limits: &Limits,
    ) -> AddOutcome {
        let outcome = |old: Option<f64>| {
            let target = match (score, old) {
                (NewScore::Set(score), _) | (NewScore::Add(score), None) => score,
                (NewScore::Add(delta), Some(old)) => old + delta,
            };
            match (presence, old) {
                (Presence::Existing, None) | (Presence::New, Some(_)) => AddOutcome::Refused,
                (_, None) => AddOutcome::Added(target),
                (_, Some(_)) if target.is_nan() => AddOutcome::NotANumber,
                (_, Some(old)) if change == Change::Up && target <= old => AddOutcome::Refused,
                (_, Some(old)) if change == Change::Down && target >= old => AddOutcome::Refused,
                // 0 and -0 are the same score, so one does not replace the other.
                (_, Some(old)) if target == old => AddOutcome::Same(target),
                (_, Some(_)) => AddOutcome::Updated(target),
            }
        };
        let tree = match self {
            Self::Listpack(pack) => {
                let done = outcome(pack::find(pack.view(), member).map(|(_, score)| score));
                match done {
                    AddOutcome::Added(score) => self.insert_new(member, score, limits),
                    AddOutcome::Updated(score) => pack::update(pack, member, score),
                    _ => {}
                }
                return done;
            }
            Self::Tree(tree) => tree,
        };
        let mut done = AddOutcome::Refused;
        tree.insert_with(member, |old| {
            done = outcome(old);
            match done {
                AddOutcome::Added(score) | AddOutcome::Updated(score) => Some(score),
                _ => None,
            }
        });
        done
    }

    /// Puts a member in or gives it another score; answers the score it had.
    ///
    /// # Panics
    /// If `score` is NaN.
    pub fn insert(&mut self, member: &[u8], score: f64, limits: &Limits) -> Option<f64> {
        if let Self::Tree(tree) = self {
            return tree.insert(member, score);
        }
        let old = self.view().score(member);
        self.add(member, NewScore::Set(score), Presence::Any, Change::Any, limits);
        old
    }

    fn insert_new(&mut self, member: &[u8], score: f64, limits: &Limits) {
        if let Self::Listpack(pack) = self {
            let fits = pack.len() / 2 < limits.zset_max_listpack_entries
                && member.len() <= limits.zset_max_listpack_value
                && pack.byte_len() + member.len() <= MAX_PACK_BYTES;
            if fits {
                pack::insert(pack, member, score);
                return;
            }
            self.grow(limits);
        }
        if let Self::Tree(tree) = self {
            tree.insert(member, score);
        }
    }

    /// Takes a member out; answers its score. The form stays.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match self {
            Self::Listpack(pack) => pack::remove(pack, member),
            Self::Tree(tree) => tree.remove(member),
        }
    }

    /// Takes the member with the lowest score out.
    pub fn pop_min(&mut self) -> Option<(Vec<u8>, f64)> {
        match self {
            Self::Listpack(_) => self.pop_at(0),
            Self::Tree(tree) => tree.pop_first(),
        }
    }

    /// Takes the member with the highest score out.
    pub fn pop_max(&mut self) -> Option<(Vec<u8>, f64)> {
        match self {
            Self::Listpack(_) => self.pop_at((self.len() as u64).checked_sub(1)?),
            Self::Tree(tree) => tree.pop_last(),
        }
    }

    fn pop_at(&mut self, rank: u64) -> Option<(Vec<u8>, f64)> {
        let (member, score) = self.view().at(rank)?;
        let entry = (member.to_vec(), score);
        self.remove_ranks(rank..rank + 1);
        Some(entry)
    }

    /// Takes the members of these ranks out; answers how many there were.
    pub fn remove_ranks(&mut self, ranks: Range<u64>) -> u64 {
        match self {
            Self::Listpack(pack) => {
                let len = pack.len() as u64 / 2;
                let end = ranks.end.min(len);
                let count = end.saturating_sub(ranks.start);
                if count > 0 {
                    pack.remove_range(ranks.start as usize * 2, count as usize * 2);
                }
                count
            }
            Self::Tree(tree) => tree.remove_range(ranks.start, ranks.end),
        }
    }

    /// Changes to the large form.
    pub fn grow(&mut self, limits: &Limits) {
        if let Self::Listpack(pack) = self {
            *self = Self::Tree(Box::new(build::tree_of(pack.view(), limits.seed)));
        }
    }

    /// Changes to the small form if the limits allow it: for results that are complete.
    pub fn settle(&mut self, limits: &Limits) {
        if let Self::Tree(tree) = self
            && tree.len() <= limits.zset_max_listpack_entries as u64
            && tree.iter().all(|(member, _)| member.len() <= limits.zset_max_listpack_value)
        {
            *self = Self::Listpack(build::pack_of(tree));
        }
    }

    /// Heap bytes it owns.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Listpack(pack) => pack.byte_len(),
            Self::Tree(tree) => size_of::<ZsetTree>() + tree.memory_bytes(),
        }
    }
}

impl<'a> ZsetRef<'a> {
    /// How many members it has.
    #[must_use]
    pub fn len(self) -> usize {
        match self {
            Self::Listpack(pack) => pack.len() / 2,
            Self::Tree(tree) => tree.len() as usize,
        }
    }

    /// Whether it has no members: its key must go.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether it is in the small form, for the few replies that tell.
    #[must_use]
    pub fn is_packed(self) -> bool {
        matches!(self, Self::Listpack(_))
    }

    /// What OBJECT ENCODING answers.
    #[must_use]
    pub fn encoding_name(self) -> &'static str {
        match self {
            Self::Listpack(_) => "listpack",
            Self::Tree(_) => "skiplist",
        }
    }

    /// The score of a member.
    #[must_use]
    pub fn score(self, member: &[u8]) -> Option<f64> {
        match self {
            Self::Listpack(pack) => pack::find(pack, member).map(|(_, score)| score),
            Self::Tree(tree) => tree.score(member),
        }
    }

    /// How many members have lower positions, and the member's score. O(log n), or O(n) if small.
    #[must_use]
    pub fn rank(self, member: &[u8]) -> Option<(u64, f64)> {
        match self {
            Self::Listpack(pack) => {
                let (_, steps) = pack.find(pack.first_offset(), member, 2)?;
                let (_, score) = pack::find(pack, member)?;
                Some((steps as u64 / 2, score))
            }
            Self::Tree(tree) => tree.rank(member),
        }
    }

    /// [`ZsetRef::rank`] counted from the highest score.
    #[must_use]
    pub fn rev_rank(self, member: &[u8]) -> Option<(u64, f64)> {
        let (rank, score) = self.rank(member)?;
        Some((self.len() as u64 - 1 - rank, score))
    }

    /// The member and score at a rank.
    #[must_use]
    pub fn at(self, rank: u64) -> Option<(Element<'a>, f64)> {
        match self {
            Self::Listpack(_) => self.range(rank..rank.checked_add(1)?).next(),
            Self::Tree(tree) => tree.at(rank).map(|(member, score)| (Element::Bytes(member), score)),
        }
    }

    /// The ranks of the members with scores in a range.
    #[must_use]
    pub fn score_ranks(self, range: &ScoreRange) -> Range<u64> {
        if range.is_empty() {
            return 0..0;
        }
        let count = |before: &dyn Fn(f64) -> bool| match self {
            Self::Listpack(_) => self.iter().take_while(|&(_, score)| before(score)).count() as u64,
            Self::Tree(tree) => tree.count_scores(before),
        };
        let start = count(&|score| range.is_below(score));
        let end = count(&|score| !range.is_above(score));
        start..end.max(start)
    }

    /// The ranks of the members in a range of bytes; all scores must be the same for it to make
    /// sense.
    #[must_use]
    pub fn lex_ranks(self, range: &LexRange<'_>) -> Range<u64> {
        if range.is_empty() {
            return 0..0;
        }
        let count = |before: &dyn Fn(&[u8]) -> bool| match self {
            Self::Listpack(_) => {
                self.iter().take_while(|(member, _)| member.with_bytes(before)).count() as u64
            }
            Self::Tree(tree) => tree.count_members(before),
        };
        let start = count(&|member| range.is_below(member));
        let end = count(&|member| !range.is_above(member));
        start..end.max(start)
    }

    /// Members and scores of these ranks, as many as there are, from either end.
    #[must_use]
    pub fn range(self, ranks: Range<u64>) -> Iter<'a> {
        Iter(match self {
            Self::Listpack(pack) => Inner::Pack(pack::Pairs::new(pack, ranks)),
            Self::Tree(tree) => Inner::Tree(tree.range(ranks.start, ranks.end)),
        })
    }

    /// All members and scores from the lowest score up.
    #[must_use]
    pub fn iter(self) -> Iter<'a> {
        self.range(0..u64::MAX)
    }

    /// A member, each as likely as the others.
    #[must_use]
    pub fn random(self, rng: &mut Rng) -> Option<(Element<'a>, f64)> {
        self.at(rng.below(self.len() as u64))
    }

    /// Visits `count` different members, or all if there are fewer, each as likely as the others.
    pub fn sample(self, count: usize, rng: &mut Rng, mut visit: impl FnMut(Element<'a>, f64)) {
        /// A walk over so many members costs as much as finding one by its rank.
        const WALK_FACTOR: usize = 8;
        let len = self.len();
        if !self.is_packed() && count.saturating_mul(WALK_FACTOR) < len {
            // Floyd's way to draw distinct numbers: each draw is from one more, and if it was drawn
            // before, the new one stands for it.
            let mut drawn = std::collections::BTreeSet::new();
            for most in (len - count) as u64..len as u64 {
                let rank = rng.below(most + 1);
                let rank = if drawn.insert(rank) { rank } else { most };
                drawn.insert(rank);
                if let Some((member, score)) = self.at(rank) {
                    visit(member, score);
                }
            }
            return;
        }
        let mut left = count.min(len);
        // One pass: each member is taken with the chance that fills the rest exactly.
        for (i, (member, score)) in self.iter().enumerate() {
            if left > 0 && rng.index(len - i) < left {
                left -= 1;
                visit(member, score);
            }
        }
    }

    /// Visits about `count` members from `cursor` on and answers the next cursor, 0 at the end; all
    /// of them at once if small. Members that stay are visited at least once between 0 and 0.
    pub fn scan(self, cursor: u64, count: usize, mut visit: impl FnMut(Element<'_>, f64)) -> u64 {
        match self {
            Self::Listpack(_) => {
                self.iter().for_each(|(member, score)| visit(member, score));
                0
            }
            Self::Tree(tree) => {
                tree.scan(cursor, count, |member, score| visit(Element::Bytes(member), score))
            }
        }
    }

    /// An owned copy in the same form.
    #[must_use]
    pub fn to_owned(self) -> Zset {
        match self {
            Self::Listpack(pack) => Zset::Listpack(ListpackBuf::from_trusted(pack.as_bytes().to_vec())),
            Self::Tree(tree) => Zset::Tree(Box::new(tree.clone())),
        }
    }
}

/// Members and scores in order, or backwards by `rev`.
#[derive(Debug, Clone)]
pub struct Iter<'a>(Inner<'a>);

#[derive(Debug, Clone)]
enum Inner<'a> {
    Pack(pack::Pairs<'a>),
    Tree(btree::Range<'a>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = (Element<'a>, f64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Inner::Pack(pairs) => pairs.next(),
            Inner::Tree(range) => range.next().map(|(member, score)| (Element::Bytes(member), score)),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Inner::Pack(pairs) => (pairs.len(), Some(pairs.len())),
            Inner::Tree(range) => range.size_hint(),
        }
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Inner::Pack(pairs) => pairs.next_back(),
            Inner::Tree(range) => range.next_back().map(|(member, score)| (Element::Bytes(member), score)),
        }
    }
}

impl ExactSizeIterator for Iter<'_> {}
impl std::iter::FusedIterator for Iter<'_> {}

#[cfg(test)]
mod tests;
