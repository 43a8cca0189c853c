//! Group commit: a block that waits a little for the writes that are about to come.
//!
//! Clients that were just acknowledged send their next write at once. A sync that begins without those
//! serves half of the clients each time, so it waits for them: as long as they keep coming, no longer than
//! a sync takes, and not where that was in vain lately.
//!
//! With a sync that takes S, and clients that take R until all of them have come back, all are served once
//! in S + R if it waits for all. If one half comes back while the other is synced, all are served once in 2 S
//! and a little, or R where that is more. So it waits for all unless R is clearly more than S. R is known
//! from the blocks that waited so; where that does not pay, some do now and then to find out, and others wait
//! for half of the clients: a sync that is short beside R would otherwise serve the few whom one turn of the
//! server brings, and each sync costs processor time. Knows neither files nor positions.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::codec::aof::block::Pending;

/// The longest wait.
const WAIT_AT_MOST: Duration = Duration::from_millis(1);
/// Where nothing comes for so long, nothing will: clients and server take less for a round.
const LEAST_GAP: Duration = Duration::from_micros(100);
/// The same as a part of what a sync takes.
const GAPS_IN_SYNC: u32 = 4;
/// Whoever was acknowledged longer ago is not about to write.
const RECENT: Duration = Duration::from_millis(5);
/// After waits in vain so many blocks at most do not wait, in powers of two.
const MOST_SKIPPED: u32 = 6;

/// A block on its way to the thread that writes it, which may still be added to.
#[derive(Debug)]
pub(super) struct Open {
    state: Mutex<OpenState>,
    is_full: Condvar,
}

#[derive(Debug)]
struct OpenState {
    /// Gone once it is being written.
    block: Option<Pending>,
    units: u64,
    wanted: u64,
}

impl Open {
    fn lock(&self) -> MutexGuard<'_, OpenState> {
        // Nothing is left half done while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds to the block. False if it is too late for that.
    pub(super) fn add(&self, records: &[u8], units: u64) -> bool {
        let mut state = self.lock();
        let Some(block) = &mut state.block else { return false };
        block.body_mut().extend_from_slice(records);
        state.units += units;
        if state.units >= state.wanted {
            self.is_full.notify_one();
        }
        true
    }

    /// Waits for the units that are wanted, as long as some come, and takes the block and their number.
    pub(super) fn take(&self, wait: Wait) -> (Pending, u64) {
        let mut state = self.lock();
        let began = Instant::now();
        loop {
            let units = state.units;
            let gap = wait.gap.min(wait.at_most.saturating_sub(began.elapsed()));
            if units >= state.wanted || gap.is_zero() {
                break;
            }
            let lacks = |state: &mut OpenState| state.units < state.wanted;
            (state, _) =
                self.is_full.wait_timeout_while(state, gap, lacks).unwrap_or_else(PoisonError::into_inner);
            if state.units == units {
                break;
            }
        }
        (state.block.take().unwrap_or_default(), state.units)
    }
}

/// How long a block waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Wait {
    /// Until nothing has come for so long.
    gap: Duration,
    /// In all.
    at_most: Duration,
}

/// Where waiting does not pay, so many blocks wait nevertheless,
const TRIES: u32 = 8;
/// of so many.
const BETWEEN_TRIES: u32 = 256;

/// What is known of blocks and syncs so far.
#[derive(Debug, Default)]
pub(super) struct Gather {
    /// How long appending and syncing takes.
    sync_time: Duration,
    /// How long it takes from the end of a sync until all who were served have come back.
    round_time: Duration,
    /// Blocks since it was begun to wait, or not to wait.
    blocks: u32,
    /// Units that are about to come, and when that was seen.
    expected: u64,
    since: Option<Instant>,
    misses: u32,
    skips: u32,
    /// Units that the block under way waits for; 0 if it does not wait.
    wanted: u64,
    /// Those are all that are expected.
    is_for_all: bool,
    /// Units that it had at first.
    had: u64,
}

impl Gather {
    /// A block of so many units goes. How it goes, and how long it waits for more.
    pub(super) fn begin(&mut self, block: Pending, units: u64, now: Instant) -> (Arc<Open>, Wait) {
        let is_recent = self.since.is_some_and(|at| now.saturating_duration_since(at) <= RECENT);
        let mut wait = Wait::default();
        (self.wanted, self.had) = (0, units);
        if is_recent && self.expected > units {
            let is_try = self.round_time * 3 <= self.sync_time * 4 || self.blocks % BETWEEN_TRIES < TRIES;
            self.blocks = self.blocks.wrapping_add(1);
            self.is_for_all = is_try;
            let (wanted, syncs) = if is_try { (self.expected, 1) } else { (self.expected / 2, 2) };
            if self.skips > 0 {
                self.skips -= 1;
            } else if wanted > units {
                self.wanted = wanted;
                wait.at_most = (self.sync_time * syncs).min(WAIT_AT_MOST);
                wait.gap = (self.sync_time / GAPS_IN_SYNC).max(LEAST_GAP).min(wait.at_most);
            }
        }
        let state = OpenState { block: Some(block), units, wanted: self.wanted };
        (Arc::new(Open { state: Mutex::new(state), is_full: Condvar::new() }), wait)
    }

    /// A block of so many units is durable after `took`; so many wait already.
    pub(super) fn end(&mut self, units: u64, waiting: u64, took: Duration, now: Instant) {
        self.sync_time = (self.sync_time * 7 + took) / 8;
        if let (Some(since), 1.., true) = (self.since, self.wanted, self.is_for_all) {
            let came = now.saturating_duration_since(since).saturating_sub(took);
            // Those who have not come are taken to come as fast as those who have.
            let all = came.mul_f64(self.wanted.max(units) as f64 / units.max(1) as f64);
            // One that was late must not be believed for long.
            self.round_time = (self.round_time * 7 + all.min(self.sync_time * 2)) / 8;
        }
        let missing = self.wanted.saturating_sub(units);
        if missing > self.wanted.saturating_sub(self.had) / 2 {
            self.misses = (self.misses + 1).min(MOST_SKIPPED);
            self.skips = 1 << self.misses;
        } else if self.wanted > 0 {
            self.misses = 0;
        }
        self.expected = units + waiting;
        self.since = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(records: &[u8]) -> Pending {
        let mut block = Pending::new();
        block.body_mut().extend_from_slice(records);
        block
    }

    fn forever() -> Wait {
        Wait { gap: Duration::from_secs(60), at_most: Duration::from_secs(60) }
    }

    #[test]
    fn a_block_waits_for_those_who_were_just_served() {
        let now = Instant::now();
        let mut gather = Gather { sync_time: Duration::from_secs(60), ..Gather::default() };
        let (open, wait) = gather.begin(block(b"a"), 1, now);
        assert_eq!(wait, Wait::default(), "nobody is expected");
        assert_eq!(open.take(wait).1, 1);
        gather.end(1, 2, Duration::from_secs(60), now);
        let (open, wait) = gather.begin(block(b"bc"), 2, now);
        assert_eq!(wait, Wait { gap: WAIT_AT_MOST, at_most: WAIT_AT_MOST });
        let taker = Arc::clone(&open);
        let taking = std::thread::spawn(move || taker.take(forever()));
        assert!(open.add(b"d", 1));
        let (taken, units) = taking.join().expect("it is full");
        assert_eq!((taken.body(), units), (&b"bcd"[..], 3));
        assert!(!open.add(b"e", 1), "it is being written");
    }

    #[test]
    fn a_block_goes_when_nobody_comes_any_more() {
        let now = Instant::now();
        let mut gather = Gather::default();
        gather.end(1, 9, Duration::from_millis(8), now);
        let (open, _) = gather.begin(block(b"a"), 1, now);
        let wait = Wait { gap: Duration::from_millis(1), ..forever() };
        assert_eq!(open.take(wait).1, 1, "it would take a minute");
    }

    const CLIENTS: u64 = 50;

    /// Blocks of 1000 that wait for all, and for half, of clients that come back after `round` to syncs that
    /// take `sync`, once that is known.
    fn waits(sync: Duration, round: Duration) -> (usize, usize) {
        let mut now = Instant::now();
        let mut gather = Gather::default();
        let (mut for_all, mut for_half) = (0, 0);
        for nth in 0..4000 {
            let (_, wait) = gather.begin(block(b"a"), 5, now);
            // What has come when the wait is over.
            let wanted_in = round.mul_f64(gather.wanted as f64 / CLIENTS as f64).min(wait.at_most);
            let units = (CLIENTS * wanted_in.as_nanos() as u64 / round.as_nanos() as u64).max(5);
            assert_eq!(wait == Wait::default(), gather.wanted == 0);
            for_all += usize::from(nth >= 2000 && gather.wanted > CLIENTS / 2);
            for_half += usize::from(nth >= 2000 && (1..=CLIENTS / 2).contains(&gather.wanted));
            now += wanted_in + sync;
            gather.end(units, CLIENTS - units, sync, now);
        }
        (for_all / 2, for_half / 2)
    }

    #[test]
    fn it_waits_for_all_where_a_sync_takes_longer_than_a_round_and_for_half_elsewhere() {
        let us = Duration::from_micros;
        for (sync, round) in [(us(900), us(400)), (us(500), us(500))] {
            let (for_all, for_half) = waits(sync, round);
            assert!(for_all >= 990 && for_half == 0, "sync {sync:?}, round {round:?}: {for_all}, {for_half}");
        }
        let (for_all, for_half) = waits(us(200), us(500));
        assert!((1..=100).contains(&for_all) && for_half >= 700, "{for_all}, {for_half}");
        // Half of them take longer than they are waited for: that is in vain, and seldom tried.
        let (for_all, for_half) = waits(us(50), us(5000));
        assert!((1..=100).contains(&(for_all + for_half)), "{for_all}, {for_half}");
    }

    #[test]
    fn waits_in_vain_become_rare() {
        let now = Instant::now();
        let mut gather = Gather::default();
        let mut waits = 0;
        for _ in 0..100 {
            let (open, wait) = gather.begin(block(b"a"), 1, now);
            waits += usize::from(wait != Wait::default());
            let units = open.take(Wait::default()).1;
            // Ten others are served now, and none of them ever writes again.
            gather.end(units, 10, Duration::from_millis(1), now);
        }
        assert!((3..10).contains(&waits), "{waits}");
        let later = now + RECENT * 2;
        (0..100).for_each(|_| assert!(gather.begin(block(b"a"), 1, later).1 == Wait::default()));
    }
}
