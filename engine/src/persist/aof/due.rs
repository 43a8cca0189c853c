//! When a rewrite is due by itself, and how long a failed one is left alone: pure functions of sizes,
//! failures and time. Behaviour: valkey src/server.c `serverCron`, src/aof.c `aofRewriteLimited`.

use std::time::{Duration, Instant};

/// True if a log that had `base_bytes` after the last rewrite (or at the start) has grown by so many per
/// cent and is above the least size. 0 per cent: never.
#[must_use]
pub fn rewrite_is_due(bytes: u64, base_bytes: u64, percentage: u64, min_bytes: u64) -> bool {
    if percentage == 0 || bytes <= min_bytes {
        return false;
    }
    let of_base = u128::from(bytes) * 100 / u128::from(base_bytes.max(1));
    of_base >= 100 + u128::from(percentage)
}

/// Failures in a row after which attempts are spaced out.
const PATIENCE: u64 = 3;
/// The longest pause, in minutes.
const MOST_MINUTES: u64 = 60;

/// Keeps rewrites that go by themselves from failing all the time.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    failures: u64,
    minutes: u64,
    next: Option<Instant>,
}

/// Whether a rewrite may begin by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// It may.
    Go,
    /// Not now.
    Wait,
    /// Not now, and a pause of so many minutes has just begun.
    WaitFrom(u64),
}

impl Backoff {
    /// Failures in a row.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures
    }

    /// Minutes of the present pause, if there is one.
    #[must_use]
    pub fn pause(&self, now: Instant) -> Option<Duration> {
        self.next.map(|next| next.saturating_duration_since(now))
    }

    /// A rewrite has failed.
    pub fn failed(&mut self) {
        self.failures += 1;
    }

    /// A rewrite has succeeded, or somebody has asked for one.
    pub fn reset(&mut self) {
        *self = Backoff::default();
    }

    /// Asks to begin one.
    pub fn ask(&mut self, now: Instant) -> Leave {
        if self.failures < PATIENCE {
            (self.minutes, self.next) = (0, None);
            return Leave::Go;
        }
        match self.next {
            Some(next) if now < next => Leave::Wait,
            Some(_) => {
                self.next = None;
                Leave::Go
            }
            None => {
                self.minutes = (self.minutes * 2).clamp(1, MOST_MINUTES);
                self.next = Some(now + Duration::from_secs(self.minutes * 60));
                Leave::WaitFrom(self.minutes)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_rewritten_when_it_has_grown_enough() {
        const MIN: u64 = 64;
        assert!(!rewrite_is_due(1000, 10, 0, MIN), "0 is never");
        assert!(!rewrite_is_due(64, 1, 100, MIN) && rewrite_is_due(65, 1, 100, MIN));
        assert!(!rewrite_is_due(199, 100, 100, MIN) && rewrite_is_due(200, 100, 100, MIN));
        assert!(rewrite_is_due(65, 0, 100, MIN), "nothing counts as one byte");
        assert!(rewrite_is_due(u64::MAX, 1, u64::MAX, 0));
        assert!(!rewrite_is_due(u64::MAX, u64::MAX, u64::MAX, 0));
    }

    #[test]
    fn after_three_failures_the_pauses_double_up_to_an_hour() {
        let start = Instant::now();
        let at = |minutes: u64| start + Duration::from_secs(minutes * 60);
        let mut backoff = Backoff::default();
        for _ in 0..3 {
            assert_eq!(backoff.ask(start), Leave::Go);
            backoff.failed();
        }
        let mut minute = 0;
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(backoff.ask(at(minute)), Leave::WaitFrom(expected));
            assert_eq!(backoff.ask(at(minute)), Leave::Wait);
            minute += expected;
            assert_eq!(backoff.pause(at(minute)), Some(Duration::ZERO));
            assert_eq!(backoff.ask(at(minute)), Leave::Go);
            backoff.failed();
        }
        backoff.reset();
        assert_eq!((backoff.ask(at(minute)), backoff.failures()), (Leave::Go, 0));
    }
}
