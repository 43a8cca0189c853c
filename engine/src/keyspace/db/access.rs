//! Access clocks of a database: which are kept, what moves them, and the lookup that does both.
//!
//! An eviction policy that goes by a clock needs one for every key. Without such a policy, OBJECT
//! IDLETIME is all that asks, which Valkey answers from 24 bits in every key. Four bytes a slot in a
//! table of millions would be paid by everybody for a question that few ask, so: a small database keeps
//! the clock of the last access anyway; a large one drops it, and keeps it from the first question on.
//! The answers are true either way, except that keys of a large database that nobody had asked about
//! count as just used when the first question comes.

use super::{Counts, Db};
use crate::base::time::UnixMs;
use crate::keyspace::clocks::{ClockKind, LfuTuning};
use crate::keyspace::entry::EntryRef;
use crate::structure::table::Access;

/// A database of at most so many keys is a small one: its clocks take 85 KiB and stay in the processor's
/// cache. With 60,000 keys, keeping them made a GET or SET of a pipeline a quarter dearer.
const SMALL_KEYS: usize = 16_384;

/// How long clocks are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeping {
    /// Until there are many keys.
    WhileSmall,
    /// Until there were many keys; they are gone now.
    Outgrown,
    /// As long as there is a database: a policy needs them, or somebody has asked.
    Always,
}

/// How an entry is used, as a file says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Used {
    /// Whole seconds since the last access.
    Idle(u64),
    /// How often it is used, from 0 to 255.
    Freq(u8),
}

/// The outcome of a lookup.
#[derive(Debug, Clone, Copy)]
pub enum Lookup<'a> {
    /// There is no such key.
    Missing,
    /// There was, but its time had passed: it has just been removed.
    Expired,
    /// The key is there.
    There(EntryRef<'a>),
}

impl Db {
    /// Looks a key up for use: counts the access, unless it is not to be `touched`, and removes the key
    /// if its time has passed at `now`. One lookup.
    #[inline]
    pub fn look_up(&mut self, key: &[u8], now: UnixMs, touched: bool) -> Lookup<'_> {
        let hash = self.hash_key(key);
        let may_expire = self.counts.expires > 0;
        let clocks = &mut self.clocks;
        let access = self.table.access_unless(
            hash,
            |entry| entry.is_key(key),
            |entry| may_expire && entry.is_expired(now),
            |clock| if touched { clocks.accessed(clock) } else { clock },
        );
        match access {
            Access::Missing => Lookup::Missing,
            Access::There(entry) => Lookup::There(entry),
            Access::Removed(entry) => {
                Counts::subtract(&mut self.counts, entry.view().marks());
                let lazily = self.laziness.expire;
                if lazily && entry.view().effort() > super::SMALL_ELEMENTS {
                    self.bin.push(super::Garbage::Entry(entry));
                }
                Lookup::Expired
            }
        }
    }

    /// Tells the time to the access clocks.
    #[inline]
    pub fn tick(&mut self, now: UnixMs) {
        self.clocks.tick(now);
    }

    /// Stops the access clocks, or lets them go on.
    pub(in crate::keyspace) fn hold_clocks(&mut self, held: bool) {
        self.clocks.is_held = held;
    }

    /// Chooses the access clock that a policy needs. Switching between LRU and LFU forgets what the
    /// other kind had counted; `Off` leaves what answers questions.
    pub fn set_clock_kind(&mut self, kind: ClockKind) {
        self.has_policy = kind != ClockKind::Off;
        let wanted = match (kind, self.clocks.kind) {
            (ClockKind::Off, ClockKind::Lfu) => ClockKind::Lru,
            (ClockKind::Off, _) => return,
            (kind, _) => kind,
        };
        self.keeping = if kind == ClockKind::Off { Keeping::WhileSmall } else { Keeping::Always };
        if self.clocks.kind != wanted {
            self.table.disable_clocks();
            self.clocks.kind = wanted;
            self.table.enable_clocks_at(self.clocks.fresh());
        }
        self.outgrow();
    }

    /// All entries, and how each is used if an eviction policy goes by that.
    pub fn iter_used(&self) -> impl Iterator<Item = (EntryRef<'_>, Option<Used>)> {
        let kind = if self.has_policy { self.clocks.kind } else { ClockKind::Off };
        self.table.iter().map(move |(entry, clock)| {
            let used = match kind {
                ClockKind::Off => None,
                ClockKind::Lru => Some(Used::Idle(self.clocks.idle_s(clock))),
                ClockKind::Lfu => Some(Used::Freq(self.clocks.freq_now(clock))),
            };
            (entry, used)
        })
    }

    /// The access clock that is kept.
    #[must_use]
    pub fn clock_kind(&self) -> ClockKind {
        self.clocks.kind
    }

    /// Begins to keep clocks in a database that is empty.
    pub(super) fn begin_clocks(&mut self) {
        if self.keeping != Keeping::Always {
            self.keeping = Keeping::WhileSmall;
            self.clocks.kind = ClockKind::Lru;
        }
        if self.clocks.kind != ClockKind::Off {
            self.table.enable_clocks();
        }
    }

    /// Drops clocks that nobody needs once there are many keys.
    #[inline]
    pub(super) fn outgrow(&mut self) {
        if self.keeping == Keeping::WhileSmall && self.table.len() > SMALL_KEYS {
            self.drop_clocks();
        }
    }

    #[cold]
    fn drop_clocks(&mut self) {
        self.keeping = Keeping::Outgrown;
        self.clocks.kind = ClockKind::Off;
        self.table.disable_clocks();
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
            let _ = self.table.access(hash, |entry| entry.is_key(key), |clock, _| clocks.accessed(clock));
        }
    }

    fn clock(&self, key: &[u8]) -> Option<u32> {
        self.table.clock(self.hash_key(key), |entry| entry.is_key(key))
    }

    /// Whole seconds since the last access to a key: `None` if it isn't there, or frequencies are
    /// kept. Without clocks they are enabled, so that the next question has an answer.
    pub fn idle_s(&mut self, key: &[u8]) -> Option<u64> {
        if self.clocks.kind != ClockKind::Lfu {
            self.keeping = Keeping::Always;
        }
        if self.clocks.kind == ClockKind::Off {
            self.clocks.kind = ClockKind::Lru;
            self.table.enable_clocks_at(self.clocks.fresh());
        }
        (self.clocks.kind == ClockKind::Lru)
            .then(|| self.clock(key).map(|clock| self.clocks.idle_s(clock)))?
    }

    /// The second since the epoch of the last access to a key; `None` as with [`Db::idle_s`].
    pub fn accessed_s(&mut self, key: &[u8]) -> Option<u64> {
        self.idle_s(key)?;
        self.clock(key).map(|clock| self.clocks.accessed_s(clock))
    }

    /// How often a key is used, from 0 to 255; `None` if it isn't there, or no frequencies are kept.
    #[must_use]
    pub fn freq(&self, key: &[u8], now: UnixMs) -> Option<u8> {
        (self.clocks.kind == ClockKind::Lfu)
            .then(|| self.clock(key).map(|clock| self.clocks.freq(clock, now)))?
    }

    /// How much a clock of this database speaks for eviction, as `Clocks` has it.
    #[inline]
    pub(in crate::keyspace) fn staleness(&self, clock: u32) -> u64 {
        self.clocks.staleness(clock)
    }

    /// Gives a key the idle time or the frequency that a file brought, if that kind is kept.
    pub fn restore_clock(&mut self, key: &[u8], idle_s: Option<u64>, freq: Option<u8>) {
        if let Some(clock) = self.clocks.restored(idle_s, freq) {
            let _ = self.table.access(self.hash_key(key), |entry| entry.is_key(key), |_, _| clock);
        }
    }
}
