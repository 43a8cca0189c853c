//! A map of byte strings to byte strings, each with an expiry or none: a table of records.
//!
//! What big hashes are made of. Time is a number that it keeps and never reads: whether a field has
//! expired is the caller's to say. Knows no encodings and no thresholds.

use std::fmt;

use super::hash::HashSeed;
use super::record::{Record, RecordRef};
use super::table::{Iter, Place, Sweep, Table, TableEntry};
use crate::base::rng::Rng;

/// How much of an item is asked for ahead: most are no longer.
const PREFETCH_BYTES: usize = 64;

/// A map from fields to values, with expiries in milliseconds.
pub struct FieldTable {
    table: Table<Record, HashSeed>,
    record_bytes: usize,
    expiring: usize,
    /// At most the earliest expiry; exactly it unless a field was removed or changed since.
    earliest: i64,
}

impl FieldTable {
    /// An empty map; allocates nothing.
    #[must_use]
    pub fn new(seed: HashSeed) -> Self {
        Self { table: Table::new(seed), record_bytes: 0, expiring: 0, earliest: i64::MAX }
    }

    fn find(&self, field: &[u8]) -> Option<RecordRef<'_>> {
        self.table.find(self.table.hasher().hash(field), |record| record.is_key(field))
    }

    /// The value of `field`.
    #[must_use]
    pub fn get(&self, field: &[u8]) -> Option<&[u8]> {
        self.find(field).map(RecordRef::payload)
    }

    /// The value of `field` and its expiry.
    #[must_use]
    pub fn get_with_expiry(&self, field: &[u8]) -> Option<(&[u8], Option<i64>)> {
        self.find(field).map(|record| (record.payload(), record.expiry()))
    }

    /// Whether `field` is there.
    #[must_use]
    pub fn contains(&self, field: &[u8]) -> bool {
        self.find(field).is_some()
    }

    /// Sets value and expiry of `field`, whatever they were; answers whether it was there.
    pub fn set(&mut self, field: &[u8], value: &[u8], expiry: Option<i64>) -> bool {
        let hash = self.table.hasher().hash(field);
        if let Some(expiry) = expiry {
            self.earliest = self.earliest.min(expiry);
        }
        match self.table.entry(hash, |record| record.is_key(field)) {
            TableEntry::Occupied(mut occupied) => {
                // Nothing that is counted changes, most of the time.
                if occupied.with(|record| record.overwrite(0, value, expiry)) {
                    return true;
                }
                let (bytes, had) = (occupied.view().alloc_bytes(), occupied.view().has_expiry());
                occupied.with(|record| record.replace(0, value, expiry));
                self.record_bytes = self.record_bytes - bytes + occupied.view().alloc_bytes();
                self.expiring = self.expiring - usize::from(had) + usize::from(expiry.is_some());
                true
            }
            TableEntry::Vacant(vacant) => {
                let record = Record::new(0, field, expiry, value);
                self.record_bytes += record.alloc_bytes();
                self.expiring += usize::from(expiry.is_some());
                vacant.insert(record);
                false
            }
        }
    }

    /// Sets the value of `field` and leaves its expiry; answers whether it was there.
    pub fn set_value(&mut self, field: &[u8], value: &[u8]) -> bool {
        let expiry = self.expiry(field).flatten();
        self.set(field, value, expiry)
    }

    /// The expiry of `field`, if it is there and has one.
    #[must_use]
    pub fn expiry(&self, field: &[u8]) -> Option<Option<i64>> {
        self.find(field).map(RecordRef::expiry)
    }

    /// Sets or (with `None`) removes the expiry of `field`; answers whether it is there.
    pub fn set_expiry(&mut self, field: &[u8], expiry: Option<i64>) -> bool {
        let hash = self.table.hasher().hash(field);
        let TableEntry::Occupied(mut occupied) = self.table.entry(hash, |record| record.is_key(field)) else {
            return false;
        };
        let (bytes, had) = (occupied.view().alloc_bytes(), occupied.view().has_expiry());
        occupied.with(|record| record.set_expiry(expiry));
        self.record_bytes = self.record_bytes - bytes + occupied.view().alloc_bytes();
        self.expiring = self.expiring - usize::from(had) + usize::from(expiry.is_some());
        self.earliest = self.earliest.min(expiry.unwrap_or(i64::MAX));
        true
    }

    /// Takes `field` out; answers whether it was there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        let hash = self.table.hasher().hash(field);
        let removed = self.table.remove(hash, |record| record.is_key(field));
        if let Some(record) = &removed {
            self.record_bytes -= record.alloc_bytes();
            self.expiring -= usize::from(record.view().has_expiry());
        }
        removed.is_some()
    }

    /// Fields in the map, those that have expired too.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Field, value and expiry of each, in no order that means anything.
    #[must_use]
    pub fn iter(&self) -> Fields<'_> {
        Fields(self.table.iter())
    }

    /// Visits some fields (field, value, expiry) from `cursor` on and answers the next cursor, 0 at
    /// the end; the guarantee is `Table::scan`'s.
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(&[u8], &[u8], Option<i64>)) -> u64 {
        self.table.scan(cursor, |record| visit(record.key(), record.payload(), record.expiry()))
    }

    /// A field, each as likely as any other: field, value, expiry.
    #[must_use]
    pub fn random(&self, rng: &mut Rng) -> Option<(&[u8], &[u8], Option<i64>)> {
        self.table.random(rng).map(|record| (record.key(), record.payload(), record.expiry()))
    }

    /// Fields that have an expiry.
    #[must_use]
    pub fn expiring(&self) -> usize {
        self.expiring
    }

    /// A lower bound of the expiries; `None` when there are none. O(1).
    #[must_use]
    pub fn earliest_bound(&self) -> Option<i64> {
        (self.expiring > 0).then_some(self.earliest)
    }

    /// The earliest expiry; `None` when there are none. O(n) when there are some.
    #[must_use]
    pub fn min_expiry(&self) -> Option<i64> {
        if self.expiring == 0 {
            return None;
        }
        self.iter().filter_map(|(_, _, expiry)| expiry).min()
    }

    /// Removes the fields whose expiry is earlier than `now`, `limit` of them at most, each shown to
    /// `removed` first (field, value). Answers how many. O(1) when nothing can have expired.
    pub fn remove_expired(&mut self, now: i64, limit: usize, mut removed: impl FnMut(&[u8], &[u8])) -> usize {
        if self.expiring == 0 || self.earliest >= now {
            return 0;
        }
        let (mut count, mut bytes, mut earliest, mut cursor) = (0, 0, i64::MAX, 0);
        loop {
            let visit = |record: &mut Record| {
                let expiry = record.expiry().unwrap_or(i64::MAX);
                if expiry < now && count < limit {
                    count += 1;
                    return Sweep::Remove;
                }
                earliest = earliest.min(expiry);
                Sweep::Keep
            };
            let take = |record: Record| {
                bytes += record.alloc_bytes();
                removed(record.key(), record.payload());
            };
            (cursor, _) = self.table.sweep(cursor, usize::MAX, visit, take);
            if cursor == 0 {
                break;
            }
        }
        self.record_bytes -= bytes;
        self.expiring -= count;
        self.earliest = earliest;
        count
    }

    /// Makes room for `fields` in an empty map; the caller bounds a number from outside.
    pub fn reserve(&mut self, fields: usize) {
        self.table.reserve(fields);
    }

    /// The hash of `field`, for the functions that take one.
    #[must_use]
    pub fn hash(&self, field: &[u8]) -> u64 {
        self.table.hasher().hash(field)
    }

    /// Asks the CPU for the place of a hash.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        self.table.prefetch(hash);
    }

    /// Asks the CPU for what is at the place of a hash, once the place is there.
    #[inline]
    pub fn prefetch_item(&self, hash: u64) {
        self.table.prefetch_item(hash, Place::Home, PREFETCH_BYTES);
    }

    /// The seed that the map was made with.
    #[must_use]
    pub fn seed(&self) -> HashSeed {
        *self.table.hasher()
    }

    /// The heap bytes of the map: table, fields and values.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.table.memory_bytes() + self.record_bytes
    }
}

impl Clone for FieldTable {
    fn clone(&self) -> Self {
        let mut copy = Self::new(self.seed());
        copy.reserve(self.len());
        for (field, value, expiry) in self {
            copy.set(field, value, expiry);
        }
        copy
    }
}

impl fmt::Debug for FieldTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |bytes: &[u8]| bytes.escape_ascii().to_string();
        f.debug_map().entries(self.iter().map(|(field, value, at)| (show(field), (show(value), at)))).finish()
    }
}

impl<'a> IntoIterator for &'a FieldTable {
    type Item = (&'a [u8], &'a [u8], Option<i64>);
    type IntoIter = Fields<'a>;

    fn into_iter(self) -> Fields<'a> {
        self.iter()
    }
}

/// The fields of a map: field, value, expiry.
pub struct Fields<'a>(Iter<'a, Record, HashSeed>);

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8], Option<i64>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(record, _)| (record.key(), record.payload(), record.expiry()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

#[cfg(test)]
mod tests;
