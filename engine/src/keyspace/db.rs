//! One database: keys to entries, and the counts that follow every change.
//!
//! Every function that finds a key looks it up once. Nothing here decides whether a key has expired
//! unless it is told the time; lookups answer expired keys like any other. Knows no commands, no
//! watchers and no clients.

mod load;
mod string;
pub use string::AddError;

use std::fmt;

use crate::base::rng::Rng;
use crate::base::time::UnixMs;
use crate::structure::hash::HashSeed;
use crate::structure::table::{Iter, Sweep, Table, TableEntry};
use crate::value::{Value, ValueRef};

use super::clocks::{ClockKind, Clocks, LfuTuning};
use super::entry::{Entry, EntryRef, Marks};

/// Home buckets that a scan may visit for each element it was asked for, as Redis bounds empty ones.
const BUCKETS_PER_COUNT: usize = 10;

/// The fewest and the most bytes of an entry that are fetched ahead: header and a usual key, and what
/// does not crowd out the entries of other lookups.
const PREFETCH_BYTES: (usize, usize) = (25, 256);

/// A database.
pub struct Db {
    table: Table<Entry, HashSeed>,
    counts: Counts,
    clocks: Clocks,
}

/// Sums over the entries.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Counts {
    expires: usize,
    field_ttls: usize,
    record_bytes: usize,
}

impl Counts {
    #[inline]
    fn add(&mut self, marks: Marks) {
        self.expires += usize::from(marks.has_expiry);
        self.field_ttls += usize::from(marks.has_field_ttl);
        self.record_bytes += marks.record_bytes;
    }

    #[inline]
    fn subtract(&mut self, marks: Marks) {
        self.expires -= usize::from(marks.has_expiry);
        self.field_ttls -= usize::from(marks.has_field_ttl);
        self.record_bytes -= marks.record_bytes;
    }
}

/// The keys of a database that was emptied, to be dropped when it suits, on any thread.
pub struct Discarded(Table<Entry, HashSeed>);

impl Discarded {
    /// How many keys it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Discarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Discarded({} keys)", self.len())
    }
}

const _: fn() = || {
    fn may_go_to_another_thread<T: Send>() {}
    may_go_to_another_thread::<Discarded>();
};

impl Db {
    /// An empty database; allocates nothing.
    #[must_use]
    pub fn new(seed: HashSeed) -> Self {
        Self { table: Table::new(seed), counts: Counts::default(), clocks: Clocks::new(seed.0 ^ seed.1) }
    }

    /// Keys, those that have expired too.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Keys that have an expiry.
    #[must_use]
    pub fn expires_len(&self) -> usize {
        self.counts.expires
    }

    /// Hashes with fields that have an expiry.
    #[must_use]
    pub fn field_ttl_len(&self) -> usize {
        self.counts.field_ttls
    }

    /// Heap bytes of table and records; values that live outside their records are not in it.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.table.memory_bytes() + self.counts.record_bytes
    }

    /// The hash of a key, for the functions that take one.
    #[must_use]
    #[inline]
    pub fn hash_key(&self, key: &[u8]) -> u64 {
        self.table.hasher().hash(key)
    }

    /// Asks the CPU for the bucket of a hash: the first step of a batched lookup.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        self.table.prefetch(hash);
    }

    /// Asks the CPU for the entry of a hash: the second step, once the buckets have come. As much of it
    /// as entries have on average, so that values are there for the reader, too.
    #[inline]
    pub fn prefetch_entry(&self, hash: u64) {
        let mean = self.counts.record_bytes / self.table.len().max(1);
        self.table.prefetch_item(hash, mean.clamp(PREFETCH_BYTES.0, PREFETCH_BYTES.1));
    }

    /// The entry of a key whose hash is known.
    #[must_use]
    #[inline]
    pub fn entry_hashed(&self, hash: u64, key: &[u8]) -> Option<EntryRef<'_>> {
        self.table.find(hash, |entry| entry.key() == key)
    }

    /// The entry of a key.
    #[must_use]
    #[inline]
    pub fn entry(&self, key: &[u8]) -> Option<EntryRef<'_>> {
        self.entry_hashed(self.hash_key(key), key)
    }

    /// The value of a key.
    #[must_use]
    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<ValueRef<'_>> {
        self.entry(key).map(EntryRef::view)
    }

    /// Whether a key is there.
    #[must_use]
    #[inline]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.entry(key).is_some()
    }

    /// When a key expires; `None` if it doesn't or isn't there.
    #[must_use]
    pub fn expire_at(&self, key: &[u8]) -> Option<UnixMs> {
        self.entry(key)?.expire_at()
    }

    /// Changes an entry; `None` if the key isn't there.
    fn edit<R>(&mut self, key: &[u8], change: impl FnOnce(&mut Entry) -> R) -> Option<R> {
        let hash = self.hash_key(key);
        match self.table.entry(hash, |entry| entry.key() == key) {
            TableEntry::Vacant(_) => None,
            TableEntry::Occupied(mut occupied) => {
                self.counts.subtract(occupied.view().marks());
                let answer = occupied.with(change);
                self.counts.add(occupied.view().marks());
                Some(answer)
            }
        }
    }

    /// Changes the entry of a key with `change`, or adds the one that `fresh` makes.
    #[inline]
    fn upsert(&mut self, key: &[u8], change: impl FnOnce(&mut Entry), fresh: impl FnOnce() -> Entry) {
        let hash = self.hash_key(key);
        match self.table.entry(hash, |entry| entry.key() == key) {
            TableEntry::Occupied(mut occupied) => {
                self.counts.subtract(occupied.view().marks());
                occupied.with(change);
                self.counts.add(occupied.view().marks());
            }
            TableEntry::Vacant(vacant) => {
                let entry = fresh();
                self.counts.add(entry.view().marks());
                vacant.insert_with_clock(entry, self.clocks.fresh());
            }
        }
    }

    /// Sets a key to a value, in place of what was there. An empty collection is the caller's error:
    /// Redis has none.
    pub fn set(&mut self, key: &[u8], value: Value, expire_at: Option<UnixMs>) {
        // One of the two closures runs, and takes the value.
        let value = std::cell::Cell::new(Some(value));
        let take = || value.take().expect("only one of the closures runs");
        self.upsert(key, |entry| entry.replace(take(), expire_at), || Entry::new(key, take(), expire_at));
    }

    /// Adds a key that should not be there; answers whether it wasn't. If it was, nothing changes.
    pub fn insert_new(&mut self, key: &[u8], value: Value, expire_at: Option<UnixMs>) -> bool {
        let hash = self.hash_key(key);
        match self.table.entry(hash, |entry| entry.key() == key) {
            TableEntry::Occupied(_) => false,
            TableEntry::Vacant(vacant) => {
                let entry = Entry::new(key, value, expire_at);
                self.counts.add(entry.view().marks());
                vacant.insert_with_clock(entry, self.clocks.fresh());
                true
            }
        }
    }

    /// Changes the value of a key; a collection that is left empty takes its key along. `None` if the
    /// key isn't there.
    pub fn modify<R>(&mut self, key: &[u8], change: impl FnOnce(&mut Value) -> R) -> Option<R> {
        let hash = self.hash_key(key);
        let TableEntry::Occupied(mut occupied) = self.table.entry(hash, |entry| entry.key() == key) else {
            return None;
        };
        self.counts.subtract(occupied.view().marks());
        let answer = occupied.with(|entry| entry.modify(change));
        if occupied.view().view().is_empty() {
            drop(occupied.remove());
        } else {
            self.counts.add(occupied.view().marks());
        }
        Some(answer)
    }

    /// Sets or (with `None`) removes the expiry of a key; answers whether the key is there.
    pub fn set_expire_at(&mut self, key: &[u8], expire_at: Option<UnixMs>) -> bool {
        self.edit(key, |entry| entry.set_expire_at(expire_at)).is_some()
    }

    /// Takes a key out; the entry may be dropped when it suits, on any thread.
    pub fn remove_entry(&mut self, key: &[u8]) -> Option<Entry> {
        let entry = self.table.remove(self.hash_key(key), |entry| entry.key() == key)?;
        self.counts.subtract(entry.view().marks());
        Some(entry)
    }

    /// Takes a key out and answers its value.
    pub fn take(&mut self, key: &[u8]) -> Option<Value> {
        self.remove_entry(key).map(Entry::into_value)
    }

    /// Removes a key; answers whether it was there.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        self.remove_entry(key).is_some()
    }

    /// Removes a key if its time has passed at `now`; answers whether it did. Costs nothing while no
    /// key has an expiry.
    #[inline]
    pub fn remove_expired(&mut self, key: &[u8], now: UnixMs) -> bool {
        self.counts.expires > 0
            && self.entry(key).is_some_and(|entry| entry.is_expired(now))
            && self.remove(key)
    }

    /// Gives the value and expiry of `from` to `to`, in place of what was there. Answers whether `from`
    /// is there; renaming a key to itself changes nothing.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> bool {
        if from == to {
            return self.contains(from);
        }
        let Some(entry) = self.remove_entry(from) else { return false };
        self.put(entry.renamed(to));
        true
    }

    /// Moves a key with its expiry to another database, in place of what is there under that name.
    /// Answers whether it is there.
    pub fn move_to(&mut self, key: &[u8], other: &mut Db) -> bool {
        let Some(entry) = self.remove_entry(key) else { return false };
        other.put(entry);
        true
    }

    /// Copies value and expiry of a key to `to` in this database, in place of what was there. Answers
    /// whether `from` is there.
    pub fn copy(&mut self, from: &[u8], to: &[u8]) -> bool {
        let Some(entry) = self.entry(from) else { return false };
        let (value, expire_at) = (entry.to_value(), entry.expire_at());
        self.set(to, value, expire_at);
        true
    }

    /// Adds an entry, in place of the one with its key.
    pub fn put(&mut self, entry: Entry) {
        let hash = self.hash_key(entry.view().key());
        let marks = entry.view().marks();
        match self.table.entry(hash, |present| present.key() == entry.view().key()) {
            TableEntry::Occupied(mut occupied) => {
                self.counts.subtract(occupied.view().marks());
                occupied.with(|present| *present = entry);
                occupied.set_clock(self.clocks.fresh());
            }
            TableEntry::Vacant(vacant) => vacant.insert_with_clock(entry, self.clocks.fresh()),
        }
        self.counts.add(marks);
    }

    /// Visits about `count` entries from `cursor` on, and answers the cursor to go on with, 0 at the
    /// end. A key that is there from the first call to the last is visited at least once.
    pub fn scan(&self, mut cursor: u64, count: usize, mut visit: impl FnMut(EntryRef<'_>)) -> u64 {
        let mut visited = 0;
        for _ in 0..count.saturating_mul(BUCKETS_PER_COUNT) {
            cursor = self.table.scan(cursor, |entry| {
                visited += 1;
                visit(entry);
            });
            if cursor == 0 || visited >= count {
                break;
            }
        }
        cursor
    }

    /// All entries, in no order that means anything.
    #[must_use]
    pub fn iter(&self) -> Entries<'_> {
        Entries(self.table.iter())
    }

    /// An entry, each as likely as any other.
    #[must_use]
    pub fn random(&self, rng: &mut Rng) -> Option<EntryRef<'_>> {
        self.table.random(rng)
    }

    /// Makes room for `keys` in an empty database; the caller bounds a number from outside.
    pub fn reserve(&mut self, keys: usize) {
        self.table.reserve(keys);
    }

    /// Empties the database and answers what was in it, to be dropped when it suits.
    #[must_use]
    pub fn take_all(&mut self) -> Discarded {
        self.counts = Counts::default();
        Discarded(self.table.take_all())
    }

    /// Removes all keys; answers how many.
    pub fn clear(&mut self) -> usize {
        self.take_all().len()
    }

    /// Whether the table may move entries to grow and shrink; off while a child saves.
    pub fn allow_resize(&mut self, allowed: bool) {
        self.table.resize_allowed(allowed);
    }

    /// Makes up for growth and shrinking that wasn't allowed: one segment's work from `cursor` on.
    /// Answers the cursor to go on with, 0 at the end.
    pub fn tidy(&mut self, cursor: u64) -> u64 {
        self.table.tidy(cursor)
    }

    /// Visits entries that may expire, as `Table::sweep` does, and keeps the counts.
    pub(super) fn sweep(
        &mut self,
        cursor: u64,
        budget: usize,
        mut visit: impl FnMut(&mut Entry) -> Sweep,
        mut removed: impl FnMut(Entry),
    ) -> (u64, usize) {
        let counts = std::cell::Cell::new(self.counts);
        let change = |by: &dyn Fn(&mut Counts)| {
            let mut now = counts.get();
            by(&mut now);
            counts.set(now);
        };
        let answer = self.table.sweep(
            cursor,
            budget,
            |entry| {
                let before = entry.view().marks();
                let verdict = visit(entry);
                let after = entry.view().marks();
                if before != after {
                    change(&|counts| {
                        counts.subtract(before);
                        counts.add(after);
                    });
                }
                verdict
            },
            |entry| {
                change(&|counts| counts.subtract(entry.view().marks()));
                removed(entry);
            },
        );
        self.counts = counts.get();
        answer
    }

    /// Tells the time to the access clocks.
    pub fn tick(&mut self, now: UnixMs) {
        self.clocks.tick(now);
    }

    /// Chooses the access clock; switching forgets what the other kind had counted.
    pub fn set_clock_kind(&mut self, kind: ClockKind) {
        if kind != self.clocks.kind {
            self.table.disable_clocks();
            self.clocks.kind = kind;
            if kind != ClockKind::Off {
                self.table.enable_clocks_at(self.clocks.fresh());
            }
        }
    }

    /// The access clock that is kept.
    #[must_use]
    pub fn clock_kind(&self) -> ClockKind {
        self.clocks.kind
    }

    /// Sets how LFU's counters move.
    pub fn set_lfu_tuning(&mut self, tuning: LfuTuning) {
        self.clocks.tuning = tuning;
    }

    /// Counts an access to a key. Costs nothing without access clocks.
    #[inline]
    pub fn touch(&mut self, key: &[u8]) {
        if self.clocks.kind != ClockKind::Off {
            let (hash, clocks) = (self.hash_key(key), &mut self.clocks);
            let _ = self.table.access(hash, |entry| entry.key() == key, |clock, _| clocks.accessed(clock));
        }
    }

    fn clock(&self, key: &[u8]) -> Option<u32> {
        self.table.clock(self.hash_key(key), |entry| entry.key() == key)
    }

    /// Whole seconds since the last access to a key: `None` if it isn't there, or frequencies are
    /// kept. Without clocks they are enabled, so that the next question has an answer.
    pub fn idle_s(&mut self, key: &[u8]) -> Option<u64> {
        if self.clocks.kind == ClockKind::Off {
            self.set_clock_kind(ClockKind::Lru);
        }
        (self.clocks.kind == ClockKind::Lru)
            .then(|| self.clock(key).map(|clock| self.clocks.idle_s(clock)))?
    }

    /// How often a key is used, from 0 to 255; `None` if it isn't there, or no frequencies are kept.
    #[must_use]
    pub fn freq(&self, key: &[u8], now: UnixMs) -> Option<u8> {
        (self.clocks.kind == ClockKind::Lfu)
            .then(|| self.clock(key).map(|clock| self.clocks.freq(clock, now)))?
    }

    /// Gives a key the idle time or the frequency that a file brought, if that kind is kept.
    pub fn restore_clock(&mut self, key: &[u8], idle_s: Option<u64>, freq: Option<u8>) {
        if let Some(clock) = self.clocks.restored(idle_s, freq) {
            let _ = self.table.access(self.hash_key(key), |entry| entry.key() == key, |_, _| clock);
        }
    }
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db")
            .field("len", &self.len())
            .field("expires_len", &self.expires_len())
            .field("field_ttl_len", &self.field_ttl_len())
            .finish_non_exhaustive()
    }
}

impl<'a> IntoIterator for &'a Db {
    type Item = EntryRef<'a>;
    type IntoIter = Entries<'a>;

    fn into_iter(self) -> Entries<'a> {
        self.iter()
    }
}

/// The entries of a database.
pub struct Entries<'a>(Iter<'a, Entry, HashSeed>);

impl<'a> Iterator for Entries<'a> {
    type Item = EntryRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<EntryRef<'a>> {
        self.0.next().map(|(entry, _)| entry)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

#[cfg(test)]
mod tests;
