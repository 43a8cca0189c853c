//! Entries on their way into the table: each waits while the bucket it goes to is fetched.
//!
//! A key's bucket is in no cache when a large file is loaded, and a load knows no key before it has
//! read it. So an entry asks for its bucket when it is made, and goes in when some more have been made.

use std::collections::VecDeque;

use crate::keyspace::{Db, Entry};

/// Entries that wait: enough work for a fetch to end behind, few enough for the buckets to be there
/// still.
const AHEAD: usize = 16;

/// An entry with what its insertion needs.
struct Waiting {
    entry: Entry,
    hash: u64,
    /// Offset of its record.
    at: u64,
    idle_s: Option<u64>,
    freq: Option<u8>,
}

/// A key that is there already.
pub(super) struct Twice {
    /// Offset of the second record.
    pub(super) at: u64,
    pub(super) entry: Entry,
}

/// The entries that wait, all of one database.
pub(super) struct Window(VecDeque<Waiting>);

impl Window {
    pub(super) fn new() -> Window {
        Window(VecDeque::with_capacity(AHEAD + 1))
    }

    /// Takes an entry in, and puts the one into `db` that has waited longest, if there are enough.
    #[inline]
    pub(super) fn push(
        &mut self,
        db: &mut Db,
        at: u64,
        entry: Entry,
        (idle_s, freq): (Option<u64>, Option<u8>),
    ) -> Result<(), Twice> {
        let hash = db.hash_key(entry.view().key());
        db.prefetch_insertion(hash);
        self.0.push_back(Waiting { entry, hash, at, idle_s, freq });
        if self.0.len() > AHEAD { self.insert_first(db) } else { Ok(()) }
    }

    /// Puts all that wait into `db`.
    pub(super) fn drain(&mut self, db: &mut Db) -> Result<(), Twice> {
        while !self.0.is_empty() {
            self.insert_first(db)?;
        }
        Ok(())
    }

    #[inline]
    fn insert_first(&mut self, db: &mut Db) -> Result<(), Twice> {
        let Some(Waiting { entry, hash, at, idle_s, freq }) = self.0.pop_front() else { return Ok(()) };
        let clock = (idle_s.is_some() || freq.is_some()).then(|| entry.view().key().to_vec());
        db.insert_hashed(hash, entry).map_err(|entry| Twice { at, entry })?;
        if let Some(key) = clock {
            db.restore_clock(&key, idle_s, freq);
        }
        Ok(())
    }
}
