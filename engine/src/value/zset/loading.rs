//! A sorted set from its pairs, as they stand one by one in files.
//!
//! Few and short members are gathered, sorted and put into a listpack; a tree is made of others only.

use super::super::malformed::distinct_groups;
use super::build::ZsetBuilder;
use super::{Limits, MAX_PACK_BYTES, Zset, build, pack};
use crate::packed::listpack::{Listpack, ListpackBuf, Room};
use crate::structure::btree::Duplicate;

/// Room of so many bytes is kept from one sorted set to the next.
const MOST_KEPT_BYTES: usize = 64 << 10;

/// Makes one sorted set after the other, each in the encoding that its pairs call for. They come in any
/// order; ascending or descending order costs least.
#[derive(Debug, Default)]
pub struct ZsetLoader {
    /// The members so far, one behind the other, unless there is a tree.
    members: Vec<u8>,
    pairs: Vec<Gathered>,
    packed: Room,
    /// Room for a score's text.
    text: Vec<u8>,
    tree: Option<Box<ZsetBuilder>>,
}

/// A pair, whose member is elsewhere.
#[derive(Debug, Clone, Copy)]
struct Gathered {
    score: f64,
    at: usize,
    len: usize,
}

/// A sorted set from its pairs.
#[derive(Debug)]
pub enum LoadedZset<'a> {
    /// A listpack of pairs that it consists of, to be copied.
    Listpack(Listpack<'a>),
    /// Any other.
    Own(Zset),
}

impl LoadedZset<'_> {
    /// The sorted set.
    #[must_use]
    pub fn into_zset(self) -> Zset {
        match self {
            LoadedZset::Listpack(pack) => Zset::Listpack(ListpackBuf::from_trusted(pack.as_bytes().to_vec())),
            LoadedZset::Own(zset) => zset,
        }
    }
}

impl ZsetLoader {
    /// Begins a sorted set of `declared` pairs.
    pub fn begin(&mut self, declared: usize, limits: &Limits) {
        if self.members.capacity() > MOST_KEPT_BYTES {
            (self.members, self.pairs) = (Vec::new(), Vec::new());
        }
        self.members.clear();
        self.pairs.clear();
        let is_large = declared > limits.zset_max_listpack_entries;
        self.tree = is_large.then(|| Box::new(ZsetBuilder::new(limits)));
    }

    /// Takes a pair.
    ///
    /// # Errors
    /// [`Duplicate`] if it is already clear that a member came twice.
    ///
    /// # Panics
    /// If `score` is NaN.
    pub fn push(&mut self, member: &[u8], score: f64, limits: &Limits) -> Result<(), Duplicate> {
        let is_small = self.tree.is_none()
            && self.pairs.len() < limits.zset_max_listpack_entries
            && member.len() <= limits.zset_max_listpack_value
            && self.members.len() + member.len() <= MAX_PACK_BYTES;
        if !is_small {
            return self.tree(limits)?.push(member, score);
        }
        assert!(!score.is_nan(), "the score is a number, by contract");
        self.pairs.push(Gathered { score, at: self.members.len(), len: member.len() });
        self.members.extend_from_slice(member);
        Ok(())
    }

    /// The tree, which has all pairs so far.
    fn tree(&mut self, limits: &Limits) -> Result<&mut ZsetBuilder, Duplicate> {
        let tree = self.tree.get_or_insert_with(|| Box::new(ZsetBuilder::new(limits)));
        for Gathered { score, at, len } in self.pairs.drain(..) {
            tree.push(&self.members[at..at + len], score)?;
        }
        Ok(tree)
    }

    /// The sorted set.
    ///
    /// # Errors
    /// [`Duplicate`] if a member came twice.
    pub fn finish(&mut self, limits: &Limits) -> Result<LoadedZset<'_>, Duplicate> {
        if let Some(tree) = self.tree.take() {
            return Ok(LoadedZset::Own(tree.finish(limits)?));
        }
        let members = &self.members;
        let text_of = |pair: &Gathered| &members[pair.at..pair.at + pair.len];
        // Servers write the highest first.
        if let [first, .., last] = &self.pairs[..]
            && first.score > last.score
        {
            self.pairs.reverse();
        }
        build::sort_by(&mut self.pairs, |pair| (text_of(pair), pair.score));
        self.packed.clear();
        for pair in &self.pairs {
            self.packed.push(text_of(pair));
            pack::push_score(&mut self.packed, pair.score, &mut self.text);
        }
        let packed = self.packed.view();
        distinct_groups(packed, 2).map_err(|_| Duplicate)?;
        Ok(LoadedZset::Listpack(packed))
    }
}
