//! Databases, and what acts on them: expiry, access clocks, the digest.
//!
//! Time, randomness and thresholds are arguments, or were told before (`Keyspace::tick`).

pub mod clocks;
pub mod db;
pub mod digest;
pub mod entry;
pub mod evict;
pub mod expire;
pub mod lazy;

use std::fmt;

use crate::base::time::UnixMs;
pub use crate::structure::hash::HashSeed;
pub use crate::structure::table::Place;

pub use clocks::{ClockKind, LfuTuning};
pub use db::{Db, Discarded, Entries};
pub use entry::{Entry, EntryRef};
pub use lazy::{Garbage, Laziness};

/// Databases of a server whose configuration doesn't say.
pub const DEFAULT_DATABASES: usize = 16;

/// All databases.
pub struct Keyspace {
    dbs: Vec<Db>,
    /// What was in databases that were emptied.
    bin: Vec<Garbage>,
}

impl Keyspace {
    /// So many empty databases, whose tables hash under `seed`.
    #[must_use]
    pub fn new(databases: usize, seed: impl Into<HashSeed>) -> Self {
        let seed = seed.into();
        Self { dbs: (0..databases).map(|_| Db::new(seed)).collect(), bin: Vec::new() }
    }

    /// Another keyspace, with one empty database that hashes as these do: entries that are made there
    /// can be put in here.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self { dbs: self.dbs.first().map(Db::apart).into_iter().collect(), bin: Vec::new() }
    }

    /// How many databases there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.dbs.len()
    }

    /// Whether there are no databases at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.dbs.is_empty()
    }

    /// The database `index`.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    #[inline]
    pub fn db(&self, index: usize) -> &Db {
        &self.dbs[index]
    }

    /// The database `index`, to change.
    ///
    /// # Panics
    /// If there is none.
    #[inline]
    pub fn db_mut(&mut self, index: usize) -> &mut Db {
        &mut self.dbs[index]
    }

    /// Two databases, to change.
    ///
    /// # Panics
    /// If one of them isn't there, or they are the same.
    pub fn two_mut(&mut self, a: usize, b: usize) -> (&mut Db, &mut Db) {
        let [a, b] = self.dbs.get_disjoint_mut([a, b]).expect("two databases that are there");
        (a, b)
    }

    /// The databases in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Db> {
        self.dbs.iter()
    }

    /// Exchanges two databases.
    ///
    /// # Panics
    /// If one of them isn't there.
    pub fn swap(&mut self, a: usize, b: usize) {
        self.dbs.swap(a, b);
        [a, b].iter().for_each(|db| self.dbs[*db].expect_nothing());
    }

    /// Removes all keys of all databases; answers how many.
    pub fn clear(&mut self) -> usize {
        self.dbs.iter_mut().map(Db::clear).sum()
    }

    /// Removes all keys of the database `index`, which go to the bin if that is to be done `lazily`;
    /// answers how many.
    ///
    /// # Panics
    /// If there is no such database.
    pub fn empty(&mut self, index: usize, lazily: bool) -> usize {
        let gone = self.dbs[index].take_all();
        let keys = gone.len();
        if lazily && keys > 0 {
            self.bin.push(Garbage::Keys(Box::new(gone)));
        }
        keys
    }

    /// Whether something big was removed from the database `index`, or a whole database, and waits to be
    /// dropped.
    #[must_use]
    #[inline]
    pub fn has_garbage(&self, index: usize) -> bool {
        !self.bin.is_empty() || self.dbs.get(index).is_some_and(Db::has_garbage)
    }

    /// Empties the bins.
    pub fn take_garbage(&mut self) -> impl Iterator<Item = Garbage> {
        let whole = std::mem::take(&mut self.bin);
        whole.into_iter().chain(self.dbs.iter_mut().flat_map(Db::take_garbage))
    }

    /// Chooses what is dropped lazily.
    pub fn set_laziness(&mut self, laziness: Laziness) {
        self.dbs.iter_mut().for_each(|db| db.set_laziness(laziness));
    }

    /// Sets how LFU's counters move.
    pub fn set_lfu_tuning(&mut self, tuning: LfuTuning) {
        self.dbs.iter_mut().for_each(|db| db.set_lfu_tuning(tuning));
    }

    /// Stops the access clocks, or lets them go on: while a child saves, reads should dirty no page.
    pub fn hold_clocks(&mut self, held: bool) {
        self.dbs.iter_mut().for_each(|db| db.hold_clocks(held));
    }

    /// Empties all databases and answers what was in them, to be dropped when it suits.
    #[must_use]
    pub fn take_all(&mut self) -> Vec<Discarded> {
        self.dbs.iter_mut().map(Db::take_all).collect()
    }

    /// Keys of all databases.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.dbs.iter().map(Db::len).sum()
    }

    /// Heap bytes of tables and records; values outside their records are not in it.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.dbs.iter().map(Db::memory_bytes).sum()
    }

    /// Whether tables may move entries to grow and shrink; off while a child saves.
    pub fn allow_resize(&mut self, allowed: bool) {
        self.dbs.iter_mut().for_each(|db| db.allow_resize(allowed));
    }

    /// Tells the time to the access clocks, once a turn.
    pub fn tick(&mut self, now: UnixMs) {
        self.dbs.iter_mut().for_each(|db| db.tick(now));
    }

    /// Chooses the access clock of all databases.
    pub fn set_clock_kind(&mut self, kind: ClockKind) {
        self.dbs.iter_mut().for_each(|db| db.set_clock_kind(kind));
    }
}

impl fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.dbs.iter().filter(|db| !db.is_empty())).finish()
    }
}

impl<'a> IntoIterator for &'a Keyspace {
    type Item = &'a Db;
    type IntoIter = std::slice::Iter<'a, Db>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
