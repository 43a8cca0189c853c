//! Access clocks: when a key was used last (LRU) or how often it is used (LFU).
//!
//! A clock is a `u32` beside the table, there only once somebody asked for it. LRU: the second of
//! the last access since the epoch. LFU: 16 bits of minutes and 8 bits of a counter that grows
//! logarithmically and decays with time, as Redis has it, so that OBJECT FREQ and the FREQ opcode of
//! a file mean the same. Behaviour: valkey src/lrulfu.c, src/evict.c. Knows no victims.

use crate::base::rng::Rng;
use crate::base::time::UnixMs;

/// The counter of a key that is new.
const LFU_INIT: u8 = 5;
const LFU_COUNTER: u32 = 0xff;
const LFU_MINUTES: u32 = 0xffff;
const LFU_MINUTES_SHIFT: u32 = 8;

/// Which clock is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClockKind {
    /// None; nothing is allocated.
    #[default]
    Off,
    /// The time of the last access.
    Lru,
    /// A frequency.
    Lfu,
}

/// How LFU's counter moves (`lfu-log-factor`, `lfu-decay-time`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LfuTuning {
    /// The larger, the more accesses it takes to grow.
    pub log_factor: u32,
    /// Minutes after which the counter falls by one; 0 is never.
    pub decay_minutes: u32,
}

impl Default for LfuTuning {
    fn default() -> Self {
        Self { log_factor: 10, decay_minutes: 1 }
    }
}

/// The kind, the time as it was last told, and what the counters need.
#[derive(Debug, Clone)]
pub(super) struct Clocks {
    pub(super) kind: ClockKind,
    pub(super) tuning: LfuTuning,
    now: UnixMs,
    rng: Rng,
}

impl Clocks {
    pub(super) fn new(seed: u64) -> Self {
        Self { kind: ClockKind::Off, tuning: LfuTuning::default(), now: UnixMs(0), rng: Rng::new(seed) }
    }

    pub(super) fn tick(&mut self, now: UnixMs) {
        self.now = now;
    }

    fn seconds(&self) -> u32 {
        u32::try_from(self.now.secs().max(0)).unwrap_or(u32::MAX)
    }

    fn minutes(now: UnixMs) -> u32 {
        (now.secs().max(0) / 60) as u32 & LFU_MINUTES
    }

    /// The clock of a key that is new.
    pub(super) fn fresh(&self) -> u32 {
        match self.kind {
            ClockKind::Off => 0,
            ClockKind::Lru => self.seconds(),
            ClockKind::Lfu => lfu(Self::minutes(self.now), LFU_INIT),
        }
    }

    /// The clock after an access.
    pub(super) fn accessed(&mut self, clock: u32) -> u32 {
        match self.kind {
            ClockKind::Off => clock,
            ClockKind::Lru => self.seconds(),
            ClockKind::Lfu => {
                let mut counter = self.freq(clock, self.now);
                let above = f64::from(counter.saturating_sub(LFU_INIT));
                if self.rng.unit_f64() < 1.0 / (above * f64::from(self.tuning.log_factor) + 1.0) {
                    counter = counter.saturating_add(1);
                }
                lfu(Self::minutes(self.now), counter)
            }
        }
    }

    /// Whole seconds since the access that an LRU clock tells.
    pub(super) fn idle_s(&self, clock: u32) -> u64 {
        u64::from(self.seconds().saturating_sub(clock))
    }

    /// The counter that an LFU clock has at `now`.
    pub(super) fn freq(&self, clock: u32, now: UnixMs) -> u8 {
        let passed = Self::minutes(now).wrapping_sub(clock >> LFU_MINUTES_SHIFT) & LFU_MINUTES;
        let periods = passed.checked_div(self.tuning.decay_minutes).unwrap_or(0);
        (clock & LFU_COUNTER).saturating_sub(periods) as u8
    }

    /// The clock of a key that a file or RESTORE brings with these; `None` if they are of the other
    /// kind.
    pub(super) fn restored(&self, idle_s: Option<u64>, freq: Option<u8>) -> Option<u32> {
        match self.kind {
            ClockKind::Off => None,
            ClockKind::Lru => {
                idle_s.map(|idle| self.seconds().saturating_sub(u32::try_from(idle).unwrap_or(u32::MAX)))
            }
            ClockKind::Lfu => freq.map(|freq| lfu(Self::minutes(self.now), freq)),
        }
    }
}

fn lfu(minutes: u32, counter: u8) -> u32 {
    minutes << LFU_MINUTES_SHIFT | u32::from(counter)
}

#[cfg(test)]
mod tests {
    use super::{ClockKind, Clocks};
    use crate::base::time::UnixMs;

    fn clocks(kind: ClockKind, secs: i64) -> Clocks {
        let mut clocks = Clocks::new(1);
        clocks.kind = kind;
        clocks.tick(UnixMs(secs * 1000));
        clocks
    }

    #[test]
    fn idle_time_is_seconds_since_the_access() {
        let mut lru = clocks(ClockKind::Lru, 1_000_000);
        let clock = lru.accessed(0);
        lru.tick(UnixMs(1_000_090_500));
        assert_eq!(lru.idle_s(clock), 90);
        assert_eq!(lru.idle_s(lru.restored(Some(77), None).expect("idle is LRU's")), 77);
        assert_eq!(lru.restored(None, Some(3)), None);
        assert_eq!(lru.idle_s(u32::MAX), 0);
    }

    #[test]
    fn frequency_grows_slower_and_slower_and_decays() {
        let mut lfu = clocks(ClockKind::Lfu, 6000);
        let mut clock = lfu.fresh();
        assert_eq!(lfu.freq(clock, UnixMs(6_000_000)), 5);
        (0..1000).for_each(|_| clock = lfu.accessed(clock));
        let after = lfu.freq(clock, UnixMs(6_000_000));
        // valkey.conf: about 18 after 1000 hits with a factor of 10.
        assert!((12..25).contains(&after), "{after}");
        assert_eq!(lfu.freq(clock, UnixMs(6_000_000 + 4 * 60_000)), after - 4);
        assert_eq!(lfu.freq(clock, UnixMs(6_000_000 + 60_000 * 300)), 0);
        lfu.tuning.decay_minutes = 0;
        assert_eq!(lfu.freq(clock, UnixMs(6_000_000 + 60_000 * 300)), after);
    }
}
