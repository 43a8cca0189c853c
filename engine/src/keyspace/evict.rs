//! Eviction: which key goes when memory is full.
//!
//! The choice is a pure function of the keyspace, its clocks and a generator: nothing here measures
//! memory or removes anything. A few entries are drawn from each database and the best of them kept in
//! a small pool from one choice to the next, so that with each draw the pool comes closer to the worst
//! keys of all. Behaviour: valkey src/evict.c and its documentation of the policies. Where ours is
//! better on purpose: the pool holds moments of access and not idle times, so old candidates do not
//! look younger than they are, and a candidate that was used since it was drawn is passed over.

use super::Keyspace;
use super::clocks::ClockKind;
use super::entry::EntryRef;
use crate::base::rng::Rng;

/// Candidates that are remembered.
const POOL: usize = 16;

/// Draws for one choice before a candidate is taken whatever has become of it.
const ROUNDS: usize = 8;

/// Who goes when memory is full (`maxmemory-policy`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Policy {
    /// Nobody: commands that need memory are refused.
    #[default]
    NoEviction,
    /// What was not used for longest.
    AllkeysLru,
    /// The same, of the keys that have an expiry.
    VolatileLru,
    /// What is used least.
    AllkeysLfu,
    /// The same, of the keys that have an expiry.
    VolatileLfu,
    /// Anything.
    AllkeysRandom,
    /// Anything that has an expiry.
    VolatileRandom,
    /// What expires next.
    VolatileTtl,
}

impl Policy {
    /// The access clock that the policy goes by.
    #[must_use]
    pub fn clock(self) -> ClockKind {
        match self {
            Policy::AllkeysLru | Policy::VolatileLru => ClockKind::Lru,
            Policy::AllkeysLfu | Policy::VolatileLfu => ClockKind::Lfu,
            _ => ClockKind::Off,
        }
    }

    /// Whether only keys with an expiry may go.
    #[must_use]
    pub fn spares_persistent(self) -> bool {
        match self {
            Policy::VolatileLru | Policy::VolatileLfu | Policy::VolatileRandom | Policy::VolatileTtl => true,
            Policy::NoEviction | Policy::AllkeysLru | Policy::AllkeysLfu | Policy::AllkeysRandom => false,
        }
    }

    fn is_random(self) -> bool {
        matches!(self, Policy::AllkeysRandom | Policy::VolatileRandom)
    }
}

/// A key that may go: the higher its score, the sooner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Candidate {
    score: u64,
    db: usize,
    /// The key's hash stands for the key, which may be long; two keys of one hash are one candidate.
    hash: u64,
}

/// The key that is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Victim {
    /// Its database.
    pub db: usize,
    /// Its name.
    pub key: Vec<u8>,
}

/// What is remembered from one choice to the next.
#[derive(Debug, Clone, Default)]
pub struct Evictor {
    /// In ascending order of score.
    pool: Vec<Candidate>,
    policy: Policy,
    /// The database that a random choice tried last.
    last_db: usize,
    /// Where looking for keys with an expiry goes on, in databases where they are rare.
    resume: Vec<Option<u64>>,
}

impl Evictor {
    /// Chooses the key that goes next under `policy`, drawing `samples` entries from each database.
    /// `None` if no key may go.
    pub fn choose(
        &mut self,
        keyspace: &Keyspace,
        policy: Policy,
        samples: usize,
        rng: &mut Rng,
    ) -> Option<Victim> {
        if policy != self.policy {
            // Scores of different policies do not compare.
            self.pool.clear();
            self.policy = policy;
        }
        self.resume.resize(keyspace.len(), None);
        match policy {
            Policy::NoEviction => None,
            _ if policy.is_random() => self.any(keyspace, rng),
            _ => self.worst(keyspace, samples.max(1), rng),
        }
    }

    /// An entry of the next database that has one.
    fn any(&mut self, keyspace: &Keyspace, rng: &mut Rng) -> Option<Victim> {
        for _ in 0..keyspace.len() {
            self.last_db = (self.last_db + 1) % keyspace.len();
            let (db, mut victim) = (self.last_db, None);
            if self.policy.spares_persistent() {
                self.draw(keyspace, db, 1, rng, |entry, _| victim = Some(entry.key().to_vec()));
            } else {
                victim = keyspace.db(db).random(rng).map(|entry| entry.key().to_vec());
            }
            if let Some(key) = victim {
                return Some(Victim { db, key });
            }
        }
        None
    }

    /// The candidate of the highest score, after a draw from every database.
    fn worst(&mut self, keyspace: &Keyspace, samples: usize, rng: &mut Rng) -> Option<Victim> {
        for round in 1..=ROUNDS {
            let mut drawn = false;
            for db in 0..keyspace.len() {
                let mut pool = std::mem::take(&mut self.pool);
                self.draw(keyspace, db, samples, rng, |entry, score| {
                    drawn = true;
                    if pool.len() < POOL || pool.first().is_some_and(|least| least.score < score) {
                        keep(&mut pool, Candidate { score, db, hash: keyspace.db(db).hash_key(entry.key()) });
                    }
                });
                self.pool = pool;
            }
            if !drawn {
                return None;
            }
            while let Some(Candidate { score, db, hash }) = self.pool.pop() {
                let found = keyspace.db(db).entry_of_hash(hash);
                let Some((entry, clock)) = found else { continue };
                let now = self.score(keyspace, db, entry, clock);
                if now.is_some_and(|now| now >= score || round == ROUNDS) {
                    return Some(Victim { db, key: entry.key().to_vec() });
                }
            }
        }
        None
    }

    /// Gives about `samples` entries that may go to `take`, each with its score.
    fn draw(
        &mut self,
        keyspace: &Keyspace,
        db: usize,
        samples: usize,
        rng: &mut Rng,
        mut take: impl FnMut(EntryRef<'_>, u64),
    ) {
        let volatile = self.policy.spares_persistent();
        let source = keyspace.db(db);
        let there = if volatile { source.expires_len() } else { source.len() };
        if there == 0 {
            return;
        }
        let from = self.resume[db].take().unwrap_or_else(|| rng.next_u64());
        let mut left = samples.min(there);
        let walk = source.sample(from, volatile, |entry, clock| {
            if let Some(score) = self.score(keyspace, db, entry, clock) {
                take(entry, score);
                left -= 1;
            }
            left > 0
        });
        self.resume[db] = walk.is_long.then_some(walk.end);
    }

    /// How much an entry deserves to go; `None` if it may not.
    fn score(&self, keyspace: &Keyspace, db: usize, entry: EntryRef<'_>, clock: u32) -> Option<u64> {
        if !self.policy.spares_persistent() {
            return Some(keyspace.db(db).staleness(clock));
        }
        let expire_at = entry.expire_at()?;
        Some(match self.policy {
            // In order, of all instants: those before 1970 first.
            Policy::VolatileTtl => !((expire_at.0 as u64) ^ (1 << 63)),
            _ => keyspace.db(db).staleness(clock),
        })
    }
}

/// Puts a candidate in its place; the one of the lowest score goes if there are too many.
fn keep(pool: &mut Vec<Candidate>, new: Candidate) {
    if let Some(at) = pool.iter().position(|known| known.hash == new.hash && known.db == new.db) {
        pool.remove(at);
    }
    let at = pool.partition_point(|known| known.score < new.score);
    pool.insert(at, new);
    if pool.len() > POOL {
        pool.remove(0);
    }
}

#[cfg(test)]
mod tests;
