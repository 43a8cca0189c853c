//! Active expiry: how long, and how often, keys and fields whose time has passed are looked for.
//!
//! A slow cycle with each periodic step takes a share of the time at most. If that was not enough, each
//! turn of a busy server adds a fast one, so that what has expired does not pile up between two steps.
//! What goes and where the walk is are the engine's matters. Behaviour: valkey src/expire.c
//! `activeExpireCycle`; shares and thresholds are those of its `active-expire-effort`.

use std::time::{Duration, Instant};

use crate::server::Server;

/// Keys that may expire are looked at so many at a time.
const STEP_KEYS: usize = 256;

/// What the last cycle weighs in the running part of what is looked at and has expired.
const CYCLE_WEIGHT: f64 = 0.05;

/// What is remembered from one cycle to the next.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    /// The part of the keys looked at whose time had passed, in percent; a running mean.
    pub(crate) stale_percent: f64,
    /// True if the last slow cycle ended for having taken long enough.
    is_behind: bool,
    /// When the last fast cycle began.
    last_fast: Option<Instant>,
}

/// How much a cycle may do.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Budget {
    /// It always takes about this long, unless it comes round.
    at_least: Duration,
    /// It goes on as long as much of what it finds has expired, up to this.
    at_most: Duration,
    /// Much: a greater part than so many percent.
    stale_percent: u64,
}

impl Budget {
    /// Of the cycle that each periodic step has, `hz` times a second.
    fn slow(effort: u32, hz: u32) -> Budget {
        const LEAST: Duration = Duration::from_micros(500);
        const PERCENT: u32 = 25;
        const PERCENT_MORE: u32 = 2;
        let percent = PERCENT + PERCENT_MORE * (effort - 1);
        let at_most = Duration::from_secs(1) * percent / 100 / hz.max(1);
        Budget { at_least: (LEAST * effort).min(at_most), at_most, stale_percent: stale_percent(effort) }
    }

    /// Of the cycle that a turn may have.
    fn fast(effort: u32) -> Budget {
        const MOST: Duration = Duration::from_micros(1000);
        let at_most = MOST + MOST / 4 * (effort - 1);
        Budget { at_least: Duration::ZERO, at_most, stale_percent: stale_percent(effort) }
    }
}

/// How much may stay that has expired.
fn stale_percent(effort: u32) -> u64 {
    const ACCEPTABLE: u64 = 10;
    ACCEPTABLE.saturating_sub(u64::from(effort) - 1)
}

impl Server {
    fn expire_effort(&self) -> u32 {
        u32::try_from(self.config.active_expire_effort).unwrap_or(1).max(1)
    }

    /// The cycle of a periodic step.
    pub(crate) fn expire_keys(&mut self) {
        let hz = u32::try_from(self.config.hz).unwrap_or(1);
        self.expiry.is_behind = self.expire_cycle(Budget::slow(self.expire_effort(), hz));
    }

    /// The cycle of a turn, if periodic steps are not enough; never more than half of the time.
    #[inline]
    pub(crate) fn expire_more_keys(&mut self) {
        if self.expiry.is_behind {
            let budget = Budget::fast(self.expire_effort());
            let now = self.now_instant;
            if self.expiry.last_fast.is_none_or(|last| now.duration_since(last) >= budget.at_most * 2) {
                self.expiry.last_fast = Some(now);
                self.expire_cycle(budget);
            }
        }
    }

    /// One cycle. True if it ended for having taken long enough.
    fn expire_cycle(&mut self, budget: Budget) -> bool {
        if !self.is_expiring || self.config.import_mode || self.paused().is_some() {
            return false;
        }
        let Some(engine) = &mut self.engine else { return false };
        let begun = Instant::now();
        let (mut visited, mut gone) = (0u64, 0u64);
        let (mut stepped, mut longest) = (Duration::ZERO, Duration::ZERO);
        let (elapsed, is_capped) = loop {
            let step = engine.expire_step(self.now, STEP_KEYS);
            let (step_visited, step_gone) = (step.visited as u64, step.expired + step.expired_fields);
            visited += step_visited;
            gone += step_gone;
            let elapsed = begun.elapsed();
            if step.expired > 0 {
                longest = longest.max(elapsed - stepped);
            }
            stepped = elapsed;
            let is_round = (step.wrapped && !step.is_unfinished) || step.visited == 0;
            let is_stale = step.is_unfinished || step_gone * 100 > step_visited * budget.stale_percent;
            if is_round || (elapsed >= budget.at_least && !is_stale) {
                break (elapsed, false);
            }
            if elapsed >= budget.at_most {
                break (elapsed, true);
            }
        };
        self.log_each();
        let part = if visited == 0 { 0.0 } else { gone as f64 * 100.0 / visited as f64 };
        let stale = &mut self.expiry.stale_percent;
        *stale = part.min(100.0) * CYCLE_WEIGHT + *stale * (1.0 - CYCLE_WEIGHT);
        self.expire_time_caps += u64::from(is_capped);
        self.expire_time += elapsed;
        self.observe_event("expire-del", longest);
        self.observe_event("expire-cycle", elapsed);
        is_capped
    }
}

#[cfg(test)]
mod tests {
    use super::Budget;
    use std::time::Duration;

    #[test]
    fn effort_buys_time_and_lowers_what_may_stay() {
        let (least, most) = (Budget::slow(1, 10), Budget::slow(10, 10));
        assert_eq!((least.at_most, least.stale_percent), (Duration::from_millis(25), 10));
        assert_eq!((most.at_most, most.stale_percent), (Duration::from_millis(43), 1));
        assert!(Budget::slow(10, 500).at_least <= Budget::slow(10, 500).at_most);
        assert_eq!(Budget::fast(1).at_most, Duration::from_millis(1));
        assert_eq!(Budget::fast(10).at_most, Duration::from_micros(3250));
    }
}
