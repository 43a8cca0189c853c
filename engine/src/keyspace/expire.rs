//! Active expiry: a walk over the keys and fields that may expire, in steps of a bounded size.
//!
//! The table says which of its buckets may hold such keys, so the others cost a glance at their first
//! byte. The time and the budget are arguments, and what goes is told to the caller, who propagates
//! and counts it. Behaviour: Redis's documentation of EXPIRE; nothing of its sampling is copied.

use super::{Entry, Keyspace};
use crate::base::time::UnixMs;
use crate::structure::table::Sweep as Verdict;
use crate::value::{IntText, Value, ValueRef};

/// Fields that one step takes out of hashes at most; the rest waits for the next round.
const FIELDS_PER_STEP: u64 = 8192;

/// So many fields that go take as long as one key that is looked at.
const FIELDS_PER_KEY: u64 = 4;

/// What one step weighs in the running mean of the time that keys have left, as in Valkey.
const STEP_WEIGHT: f64 = 0.02;

/// Where the walk is. Databases may come, go and be swapped: the place is only where to look next.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sweep {
    db: usize,
    cursor: u64,
}

/// What a step did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Step {
    /// Entries that could expire and were looked at.
    pub visited: usize,
    /// Keys removed because their time had passed.
    pub expired: u64,
    /// Hash fields removed because their time had passed.
    pub expired_fields: u64,
    /// Keys removed because their last field had gone.
    pub emptied: u64,
    /// Whether a hash still has fields whose time has passed: there were too many for one step.
    pub is_unfinished: bool,
    /// Milliseconds that keys with an expiry have left, summed over those looked at, and how many those are.
    pub left_ms: (i64, usize),
    /// Whether the walk has come to the end of the last database and starts anew.
    pub wrapped: bool,
}

/// Something that goes, told just before it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone<'a> {
    /// A key whose time has passed.
    Key {
        /// Its database.
        db: usize,
        /// Its name.
        key: &'a [u8],
    },
    /// A field whose time has passed.
    Field {
        /// The hash's database.
        db: usize,
        /// The hash's name.
        key: &'a [u8],
        /// The field.
        field: &'a [u8],
    },
    /// A hash that has lost its last field.
    Emptied {
        /// Its database.
        db: usize,
        /// Its name.
        key: &'a [u8],
    },
}

impl Sweep {
    /// Goes on with the walk until about `budget` entries were looked at, or the last database ends.
    pub fn step(&mut self, keyspace: &mut Keyspace, now: UnixMs, budget: usize) -> Step {
        self.step_with(keyspace, now, budget, |_| {})
    }

    /// As `step`, and tells what goes.
    pub fn step_with(
        &mut self,
        keyspace: &mut Keyspace,
        now: UnixMs,
        budget: usize,
        mut tell: impl FnMut(Gone<'_>),
    ) -> Step {
        let mut step = Step::default();
        for _ in 0..keyspace.len() {
            if step.visited >= budget || step.wrapped {
                break;
            }
            self.walk(keyspace, now, budget, &mut step, &mut tell);
        }
        step
    }

    fn walk(
        &mut self,
        keyspace: &mut Keyspace,
        now: UnixMs,
        budget: usize,
        step: &mut Step,
        tell: &mut impl FnMut(Gone<'_>),
    ) {
        let index = if self.db < keyspace.len() { self.db } else { 0 };
        let Some(db) = keyspace.dbs.get_mut(index) else { return };
        if db.expires_len() > 0 || db.field_ttl_len() > 0 {
            let mut done = Step::default();
            let before = step.expired_fields;
            let visit = |entry: &mut Entry| visit(entry, index, now, before, &mut done, tell);
            let (cursor, visited) = db.sweep(self.cursor, budget - step.visited, visit);
            self.cursor = cursor;
            step.visited +=
                visited + usize::try_from(done.expired_fields / FIELDS_PER_KEY).unwrap_or(usize::MAX);
            step.is_unfinished |= done.is_unfinished;
            step.expired += done.expired;
            step.expired_fields += done.expired_fields;
            step.emptied += done.emptied;
            let (sum, count) = done.left_ms;
            if let Some(mean) = i64::try_from(count).ok().and_then(|count| sum.checked_div(count)) {
                db.note_ttl(mean, STEP_WEIGHT);
            }
        } else {
            self.cursor = 0;
        }
        if self.cursor == 0 {
            self.db = index + 1;
            if self.db >= keyspace.len() {
                self.db = 0;
                step.wrapped = true;
            }
        } else {
            self.db = index;
        }
    }
}

fn visit(
    entry: &mut Entry,
    db: usize,
    now: UnixMs,
    fields_before: u64,
    step: &mut Step,
    tell: &mut impl FnMut(Gone<'_>),
) -> Verdict {
    if entry.view().is_expired(now) {
        step.expired += 1;
        tell(Gone::Key { db, key: entry.view().key() });
        return Verdict::Remove;
    }
    if let Some(at) = entry.view().expire_at() {
        step.left_ms = (step.left_ms.0.saturating_add(at.ms_after(now)), step.left_ms.1 + 1);
    }
    let ValueRef::Hash(hash) = entry.view().view() else { return Verdict::Keep };
    if hash.next_expiry_bound().is_none_or(|at| !at.is_past(now)) {
        return Verdict::Keep;
    }
    let most = FIELDS_PER_STEP.saturating_sub(fields_before + step.expired_fields);
    if most == 0 {
        step.is_unfinished = true;
        return Verdict::Keep;
    }
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let key = entry.view().key().to_vec();
    let gone = entry.modify(|value| match value {
        Value::Hash(hash) => hash.remove_expired(now, most, |field| {
            tell(Gone::Field { db, key: &key, field: field.text(&mut IntText::new()) });
        }),
        _ => 0,
    });
    step.expired_fields += gone as u64;
    step.is_unfinished |= gone == most;
    if entry.view().view().is_empty() {
        step.emptied += 1;
        tell(Gone::Emptied { db, key: &key });
        return Verdict::Remove;
    }
    Verdict::Keep
}

#[cfg(test)]
mod tests;
