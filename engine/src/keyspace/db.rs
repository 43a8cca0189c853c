//! One database: keys to entries, and the counts that follow every change.
//!
//! Every function that finds a key looks it up once. Nothing here decides whether a key has expired
//! unless it is told the time; lookups answer expired keys like any other. Knows no commands, no
//! watchers and no clients.

mod access;
mod load;
mod string;
pub use string::AddError;

use std::fmt;

use crate::base::rng::Rng;
use crate::base::time::UnixMs;
use crate::structure::hash::HashSeed;
use crate::structure::table::{Iter, Place, SampleWalk, Sweep, Table, TableEntry, Vacant};
use crate::value::list::End;
use crate::value::{Limits, Value, ValueRef};

use super::clocks::Clocks;
use super::entry::{Entry, EntryRef, INLINE_PACKED_MAX_BYTES, Marks};
use super::lazy::{Garbage, Laziness, SMALL_ELEMENTS};
use access::Keeping;
pub use access::{Lookup, Used};

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
    keeping: Keeping,
    has_policy: bool,
    laziness: Laziness,
    bin: Vec<Garbage>,
    avg_ttl_ms: i64,
    expected: Expected,
    /// Where a packed collection lies while it is edited.
    room: Vec<u8>,
}

/// Room to begin with: for the longest packed collection in a record, and another as long.
const EDIT_ROOM: usize = 2 * INLINE_PACKED_MAX_BYTES;
/// More room than that is not kept when an edit has left it.
const MOST_ROOM: usize = 4096;

/// A key whose hash is known, by the place where its bytes lie.
#[derive(Clone, Copy, Default)]
struct Expected {
    address: usize,
    len: usize,
    hash: u64,
}

impl Expected {
    #[inline]
    fn is(self, key: &[u8]) -> bool {
        self.address == key.as_ptr().addr() && self.len == key.len()
    }
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
        let mut db = Self {
            table: Table::new(seed),
            counts: Counts::default(),
            clocks: Clocks::new(seed.0 ^ seed.1),
            keeping: Keeping::WhileSmall,
            has_policy: false,
            laziness: Laziness::NONE,
            bin: Vec::new(),
            avg_ttl_ms: 0,
            expected: Expected::default(),
            room: Vec::new(),
        };
        db.begin_clocks();
        db
    }

    /// An empty database that hashes as this one does.
    #[must_use]
    pub(super) fn apart(&self) -> Self {
        Self::new(*self.table.hasher())
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

    /// Heap bytes of the table alone.
    #[must_use]
    pub fn table_bytes(&self) -> usize {
        self.table.memory_bytes()
    }

    /// The hash of a key, for the functions that take one.
    #[must_use]
    #[inline]
    pub fn hash_key(&self, key: &[u8]) -> u64 {
        if self.expected.is(key) { self.expected.hash } else { self.table.hasher().hash(key) }
    }

    /// Tells the hash of the key that a command is about to look up, however often it does: whoever
    /// fetched it ahead knows it. Holds for this very slice, which must not change until
    /// [`Db::expect_nothing`].
    #[inline]
    pub fn expect_key(&mut self, key: &[u8], hash: u64) {
        self.expected = Expected { address: key.as_ptr().addr(), len: key.len(), hash };
    }

    /// Forgets what [`Db::expect_key`] was told.
    #[inline]
    pub fn expect_nothing(&mut self) {
        self.expected = Expected::default();
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
        self.prefetch_entry_at(hash, Place::Home, self.fetched_bytes());
    }

    /// As `prefetch_entry`, with the answer of `fetched_bytes`: for many entries. If the entry can only lie
    /// at another place than this, asks for that one, and answers where to look once that has come.
    #[inline]
    pub fn prefetch_entry_at(&self, hash: u64, place: Place, bytes: usize) -> Option<Place> {
        self.table.prefetch_item(hash, place, bytes)
    }

    /// How much of an entry is worth fetching ahead.
    #[must_use]
    pub fn fetched_bytes(&self) -> usize {
        let mean = self.counts.record_bytes / self.table.len().max(1);
        mean.clamp(PREFETCH_BYTES.0, PREFETCH_BYTES.1)
    }

    /// The entry of a key whose hash is known.
    #[must_use]
    #[inline]
    pub fn entry_hashed(&self, hash: u64, key: &[u8]) -> Option<EntryRef<'_>> {
        self.table.find(hash, |entry| entry.is_key(key))
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

    /// Fills a vacancy, and counts the entry.
    #[inline]
    fn add(vacant: Vacant<'_, Entry, HashSeed>, entry: Entry, counts: &mut Counts, clocks: &Clocks) {
        counts.add(entry.view().marks());
        vacant.insert_with_clock(entry, clocks.fresh());
    }

    /// Changes an entry; `None` if the key isn't there.
    fn edit<R>(&mut self, key: &[u8], change: impl FnOnce(&mut Entry) -> R) -> Option<R> {
        let hash = self.hash_key(key);
        match self.table.entry(hash, |entry| entry.is_key(key)) {
            TableEntry::Vacant(_) => None,
            TableEntry::Occupied(mut occupied) => {
                self.counts.subtract(occupied.view().marks());
                let answer = occupied.with(change);
                self.counts.add(occupied.view().marks());
                occupied.tick(|clock| self.clocks.accessed(clock));
                Some(answer)
            }
        }
    }

    /// Changes the entry of a key with `change`, or adds the one that `fresh` makes.
    #[inline]
    fn upsert(&mut self, key: &[u8], change: impl FnOnce(&mut Entry), fresh: impl FnOnce() -> Entry) {
        let hash = self.hash_key(key);
        match self.table.entry(hash, |entry| entry.is_key(key)) {
            TableEntry::Occupied(mut occupied) => {
                self.counts.subtract(occupied.view().marks());
                spare(&mut occupied, self.laziness, &mut self.bin);
                occupied.with(change);
                self.counts.add(occupied.view().marks());
                occupied.tick(|clock| self.clocks.accessed(clock));
            }
            TableEntry::Vacant(vacant) => {
                Self::add(vacant, fresh(), &mut self.counts, &self.clocks);
                self.outgrow();
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
        match self.table.entry(hash, |entry| entry.is_key(key)) {
            TableEntry::Occupied(_) => false,
            TableEntry::Vacant(vacant) => {
                Self::add(vacant, Entry::new(key, value, expire_at), &mut self.counts, &self.clocks);
                self.outgrow();
                true
            }
        }
    }

    /// Changes the value of a key; a collection that is left empty takes its key along. `None` if the
    /// key isn't there.
    pub fn modify<R>(&mut self, key: &[u8], change: impl FnOnce(&mut Value) -> R) -> Option<R> {
        let hash = self.hash_key(key);
        let TableEntry::Occupied(mut occupied) = self.table.entry(hash, |entry| entry.is_key(key)) else {
            return None;
        };
        // A value that stays in its box under the same tag leaves the record and its marks as they are.
        let boxed = occupied.view().boxed_as();
        let before = boxed.is_none().then(|| occupied.view().marks());
        let room = &mut self.room;
        let (answer, is_empty) = occupied.with(|entry| {
            if boxed.is_none() {
                room.clear();
                room.reserve(EDIT_ROOM);
            }
            entry.modify_or_empty(room, change)
        });
        if room.capacity() > MOST_ROOM {
            *room = Vec::new();
        }
        if is_empty || boxed.is_none() || boxed != occupied.view().boxed_as() {
            let before = before.or_else(|| boxed.map(|tag| occupied.view().marks_boxed_as(tag)));
            self.counts.subtract(before.expect("a value is in a box or is not"));
            if is_empty {
                drop(occupied.remove());
                return Some(answer);
            }
            self.counts.add(occupied.view().marks());
        }
        occupied.tick(|clock| self.clocks.accessed(clock));
        Some(answer)
    }

    /// Adds elements at an end of the list at a key if that is one of many nodes: it stays one, so nothing
    /// else of its entry changes. Its length then; `None` if there is no such list.
    #[inline]
    pub fn push_to_nodes(&mut self, key: &[u8], end: End, items: &[&[u8]], limits: &Limits) -> Option<usize> {
        let hash = self.hash_key(key);
        let TableEntry::Occupied(mut occupied) = self.table.entry(hash, |entry| entry.is_key(key)) else {
            return None;
        };
        let len = occupied.with(|entry| entry.push_to_nodes(end, items, limits))?;
        occupied.tick(|clock| self.clocks.accessed(clock));
        Some(len)
    }

    /// Sets or (with `None`) removes the expiry of a key; answers whether the key is there.
    pub fn set_expire_at(&mut self, key: &[u8], expire_at: Option<UnixMs>) -> bool {
        self.edit(key, |entry| entry.set_expire_at(expire_at)).is_some()
    }

    /// Takes a key out; the entry may be dropped when it suits, on any thread.
    pub fn remove_entry(&mut self, key: &[u8]) -> Option<Entry> {
        let entry = self.table.remove(self.hash_key(key), |entry| entry.is_key(key))?;
        self.counts.subtract(entry.view().marks());
        Some(entry)
    }

    /// Takes a key out and answers its value.
    pub fn take(&mut self, key: &[u8]) -> Option<Value> {
        self.remove_entry(key).map(Entry::into_value)
    }

    /// Removes a key, its value lazily if what commands remove by the way is dropped so; answers whether
    /// it was there.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        self.delete(key, self.laziness.server_del)
    }

    /// Removes a key; a big value goes to the bin if that is to be done `lazily`. Answers whether it was
    /// there.
    pub fn delete(&mut self, key: &[u8], lazily: bool) -> bool {
        let Some(entry) = self.remove_entry(key) else { return false };
        self.discard(entry, lazily);
        true
    }

    /// Drops an entry, or puts it in the bin if it is big.
    fn discard(&mut self, entry: Entry, lazily: bool) {
        if lazily && entry.view().effort() > SMALL_ELEMENTS {
            self.bin.push(Garbage::Entry(entry));
        }
    }

    /// Whether something big was removed and waits to be dropped.
    #[must_use]
    #[inline]
    pub(super) fn has_garbage(&self) -> bool {
        !self.bin.is_empty()
    }

    /// Empties the bin.
    pub(super) fn take_garbage(&mut self) -> Vec<Garbage> {
        std::mem::take(&mut self.bin)
    }

    /// Which removals are lazy.
    #[must_use]
    pub fn laziness(&self) -> Laziness {
        self.laziness
    }

    pub(super) fn set_laziness(&mut self, laziness: Laziness) {
        self.laziness = laziness;
    }

    /// Removes a key if its time has passed at `now`; answers whether it did. Costs nothing while no
    /// key has an expiry.
    #[inline]
    pub fn remove_expired(&mut self, key: &[u8], now: UnixMs) -> bool {
        self.counts.expires > 0
            && self.entry(key).is_some_and(|entry| entry.is_expired(now))
            && self.delete(key, self.laziness.expire)
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
                spare(&mut occupied, self.laziness, &mut self.bin);
                occupied.with(|present| *present = entry);
                occupied.set_clock(self.clocks.fresh());
            }
            TableEntry::Vacant(vacant) => vacant.insert_with_clock(entry, self.clocks.fresh()),
        }
        self.counts.add(marks);
        self.outgrow();
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
        self.avg_ttl_ms = 0;
        let all = Discarded(self.table.take_all());
        self.begin_clocks();
        all
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

    /// Shows entries with their access clocks from about position `from` on, as `Table::sample` does.
    pub(super) fn sample(
        &self,
        from: u64,
        volatile_only: bool,
        visit: impl FnMut(EntryRef<'_>, u32) -> bool,
    ) -> SampleWalk {
        self.table.sample(from, volatile_only, visit)
    }

    /// The entry whose key has this hash, and its access clock.
    pub(super) fn entry_of_hash(&self, hash: u64) -> Option<(EntryRef<'_>, u32)> {
        self.table.find_hash(hash)
    }

    /// The mean time in milliseconds that keys with an expiry have left, as sweeps estimate it; 0 if that
    /// is not known.
    #[must_use]
    pub fn avg_ttl_ms(&self) -> i64 {
        self.avg_ttl_ms
    }

    /// Notes the mean that a sweep has found. A running mean, in which it weighs `weight`.
    pub(super) fn note_ttl(&mut self, mean_ms: i64, weight: f64) {
        self.avg_ttl_ms = match self.avg_ttl_ms {
            0 => mean_ms,
            known => mean_ms + ((known - mean_ms) as f64 * (1.0 - weight)) as i64,
        };
    }

    /// Visits entries that may expire, as `Table::sweep` does, and keeps the counts.
    pub(super) fn sweep(
        &mut self,
        cursor: u64,
        budget: usize,
        mut visit: impl FnMut(&mut Entry) -> Sweep,
    ) -> (u64, usize) {
        let (lazily, bin) = (self.laziness.expire, &mut self.bin);
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
                if lazily && entry.view().effort() > SMALL_ELEMENTS {
                    bin.push(Garbage::Entry(entry));
                }
            },
        );
        self.counts = counts.get();
        answer
    }
}

/// Leaves a big value that is about to be replaced to another thread.
#[inline]
fn spare(
    occupied: &mut crate::structure::table::Occupied<'_, Entry, HashSeed>,
    laziness: Laziness,
    bin: &mut Vec<Garbage>,
) {
    if laziness.server_del && occupied.view().effort() > SMALL_ELEMENTS {
        bin.extend(occupied.with(|entry| entry.take_big(SMALL_ELEMENTS)).map(Garbage::Value));
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
