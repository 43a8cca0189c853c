//! Access clocks: when a key was used last (LRU) or how often it is used (LFU).
//!
//! A clock is a `u32` beside the table. LRU: the moment of the last access, in sixteenths of a
//! second, so that keys used within one second still differ. LFU: 16 bits of minutes and 8 bits of a counter that grows
//! logarithmically and decays with time, as Redis has it, so that OBJECT FREQ and the FREQ opcode of
//! a file mean the same. Both wrap, LRU after eight years and LFU after 45 days.
//! Behaviour: valkey src/lrulfu.c, src/evict.c. Knows no victims.

use crate::base::rng::Rng;
use crate::base::time::UnixMs;

/// The counter of a key that is new.
const LFU_INIT: u8 = 5;
const LFU_COUNTER: u32 = 0xff;
const LFU_MINUTES: u32 = 0xffff;
const LFU_MINUTES_SHIFT: u32 = 8;
/// Ticks of LRU's clock in a second.
const TICKS_PER_S: u64 = 16;

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
    /// Whether accesses leave the clocks alone.
    pub(super) is_held: bool,
    now: UnixMs,
    /// The same in ticks since the epoch.
    ticks: u64,
    rng: Rng,
}

impl Clocks {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            kind: ClockKind::Off,
            tuning: LfuTuning::default(),
            is_held: false,
            now: UnixMs(0),
            ticks: 0,
            rng: Rng::new(seed),
        }
    }

    #[inline]
    pub(super) fn tick(&mut self, now: UnixMs) {
        if self.now != now {
            self.now = now;
            self.ticks = (now.0.max(0) as u64).saturating_mul(TICKS_PER_S) / 1000;
        }
    }

    fn minutes(now: UnixMs) -> u32 {
        (now.secs().max(0) / 60) as u32 & LFU_MINUTES
    }

    /// The clock of a key that is new.
    pub(super) fn fresh(&self) -> u32 {
        match self.kind {
            ClockKind::Off => 0,
            ClockKind::Lru => self.ticks as u32,
            ClockKind::Lfu => lfu(Self::minutes(self.now), LFU_INIT),
        }
    }

    /// The clock after an access.
    #[inline]
    pub(super) fn accessed(&mut self, clock: u32) -> u32 {
        match self.kind {
            _ if self.is_held => clock,
            ClockKind::Off => clock,
            ClockKind::Lru => self.ticks as u32,
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

    /// Ticks since the access that an LRU clock tells. The clock's low bits are enough for that; one
    /// that is ahead of the time, as after a step of the wall clock, counts as just set.
    fn idle_ticks(&self, clock: u32) -> u64 {
        let idle = (self.ticks as u32).wrapping_sub(clock);
        if idle > u32::MAX / 2 { 0 } else { u64::from(idle) }
    }

    /// Whole seconds since the access that an LRU clock tells.
    pub(super) fn idle_s(&self, clock: u32) -> u64 {
        self.idle_ticks(clock) / TICKS_PER_S
    }

    /// The second since the epoch of the access that an LRU clock tells. Time alone does not change it.
    pub(super) fn accessed_s(&self, clock: u32) -> u64 {
        self.ticks.saturating_sub(self.idle_ticks(clock)) / TICKS_PER_S
    }

    /// How long ago or how seldom an item was used, as a number that only another access makes less:
    /// the higher, the sooner it may go. 0 without clocks.
    pub(super) fn staleness(&self, clock: u32) -> u64 {
        match self.kind {
            ClockKind::Off => 0,
            ClockKind::Lru => u64::MAX - self.ticks.saturating_sub(self.idle_ticks(clock)),
            // Of those used equally seldom the one that was used longest ago.
            ClockKind::Lfu => {
                let idle = Self::minutes(self.now).wrapping_sub(clock >> LFU_MINUTES_SHIFT) & LFU_MINUTES;
                u64::from(!self.freq(clock, self.now)) << 16 | u64::from(idle)
            }
        }
    }

    /// The counter that an LFU clock has at `now`.
    pub(super) fn freq(&self, clock: u32, now: UnixMs) -> u8 {
        let passed = Self::minutes(now).wrapping_sub(clock >> LFU_MINUTES_SHIFT) & LFU_MINUTES;
        let periods = passed.checked_div(self.tuning.decay_minutes).unwrap_or(0);
        (clock & LFU_COUNTER).saturating_sub(periods) as u8
    }

    /// The counter that an LFU clock has at the time that was last told.
    pub(super) fn freq_now(&self, clock: u32) -> u8 {
        self.freq(clock, self.now)
    }

    /// The clock of a key that a file or RESTORE brings with these; `None` if they are of the other
    /// kind.
    pub(super) fn restored(&self, idle_s: Option<u64>, freq: Option<u8>) -> Option<u32> {
        match self.kind {
            ClockKind::Off => None,
            ClockKind::Lru => {
                let ticks = |idle: u64| idle.saturating_mul(TICKS_PER_S).min(u64::from(u32::MAX / 2));
                idle_s.map(|idle| (self.ticks as u32).wrapping_sub(ticks(idle) as u32))
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
        assert_eq!(lru.idle_s(lru.fresh().wrapping_add(9)), 0, "ahead of the time");
        let longest = lru.restored(Some(u64::MAX), None).expect("idle is LRU's");
        assert!(lru.idle_s(longest) > 4 * 360 * 24 * 3600);
        let (older, newer) = (lru.restored(Some(5), None), lru.restored(Some(4), None));
        let (older, newer) = (older.expect("idle is LRU's"), newer.expect("idle is LRU's"));
        assert!(lru.staleness(older) > lru.staleness(newer));
        let before = lru.staleness(older);
        lru.tick(UnixMs(1_000_190_500));
        assert_eq!(lru.staleness(older), before, "time alone changes no order");
        for ms in 0..3000 {
            lru.tick(UnixMs(1_000_190_500 + ms));
            assert_eq!(lru.accessed_s(clock), 1_000_000, "nor the second of the access");
        }
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
