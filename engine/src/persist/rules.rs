//! When a snapshot is due: a pure function of rules, changes and time.
//!
//! Behaviour: valkey src/server.c, `serverCron`; but there the times are those of the wall clock, and
//! after that has been set back no snapshot is due for as long.

use std::time::{Duration, Instant};

/// After a failed snapshot the next by rule waits this long.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Save after `seconds` if at least `changes` were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaveRule {
    /// Seconds since the last good save.
    pub seconds: u64,
    /// Changes since then.
    pub changes: u64,
}

/// What the rules look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Situation {
    /// Changes since the last good save.
    pub changes: u64,
    /// Time since the last good save (or since the start).
    pub since_save: Duration,
    /// Time since the last attempt; `None` if there was none.
    pub since_attempt: Option<Duration>,
    /// True if the last attempt failed.
    pub last_failed: bool,
}

/// How long ago snapshots were made and tried, by a clock that is never set.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cadence {
    saves: u64,
    saved: Option<Instant>,
    attempts: u64,
    tried: Option<Instant>,
}

impl Cadence {
    /// Notes that so many snapshots have been made and tried by now. To be called often: what has changed
    /// since the last call counts as of now. The first call counts as a snapshot.
    pub fn note(&mut self, saves: u64, attempts: u64, now: Instant) {
        if self.saved.is_none() || self.saves != saves {
            (self.saves, self.saved) = (saves, Some(now));
        }
        if self.attempts != attempts {
            (self.attempts, self.tried) = (attempts, Some(now));
        }
    }

    /// Time since the last snapshot.
    pub fn since_save(&self, now: Instant) -> Duration {
        self.saved.map_or(Duration::ZERO, |then| now.saturating_duration_since(then))
    }

    /// Time since one was tried last, if one was.
    pub fn since_attempt(&self, now: Instant) -> Option<Duration> {
        self.tried.map(|then| now.saturating_duration_since(then))
    }
}

/// Whether the next attempt must wait, given how the last one ended and how long ago it began.
pub fn is_too_soon(last_failed: bool, since_attempt: Option<Duration>) -> bool {
    last_failed && since_attempt.is_some_and(|since| since <= RETRY_AFTER)
}

/// The first rule that wants a snapshot now.
pub fn due(rules: &[SaveRule], now: Situation) -> Option<SaveRule> {
    if is_too_soon(now.last_failed, now.since_attempt) {
        return None;
    }
    rules
        .iter()
        .copied()
        .find(|rule| now.changes >= rule.changes && now.since_save > Duration::from_secs(rule.seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &[SaveRule] =
        &[SaveRule { seconds: 3600, changes: 1 }, SaveRule { seconds: 60, changes: 10_000 }];

    fn after(seconds: u64, changes: u64) -> Situation {
        Situation {
            changes,
            since_save: Duration::from_secs(seconds),
            since_attempt: None,
            last_failed: false,
        }
    }

    #[test]
    fn a_rule_needs_both_its_time_and_its_changes() {
        assert_eq!(due(RULES, after(61, 9_999)), None);
        assert_eq!(due(RULES, after(60, 10_000)), None);
        assert_eq!(due(RULES, after(61, 10_000)), Some(RULES[1]));
        assert_eq!(due(RULES, after(3601, 1)), Some(RULES[0]));
        assert_eq!(due(RULES, after(3601, 0)), None);
        assert_eq!(due(&[], after(1 << 40, 1 << 40)), None);
    }

    #[test]
    fn a_failed_snapshot_waits_before_the_next() {
        let failed = |since| Situation {
            since_attempt: Some(Duration::from_secs(since)),
            last_failed: true,
            ..after(3601, 1)
        };
        assert_eq!(due(RULES, failed(5)), None);
        assert_eq!(due(RULES, failed(6)), Some(RULES[0]));
    }

    #[test]
    fn times_count_from_when_a_change_was_seen() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut cadence = Cadence::default();
        assert_eq!((cadence.since_save(at(5)), cadence.since_attempt(at(5))), (Duration::ZERO, None));
        cadence.note(0, 0, at(0));
        cadence.note(0, 1, at(10));
        cadence.note(0, 1, at(12));
        let since = |cadence: &Cadence, seconds| {
            let attempt = cadence.since_attempt(at(seconds)).map(|since| since.as_secs());
            (cadence.since_save(at(seconds)).as_secs(), attempt)
        };
        assert_eq!(since(&cadence, 12), (12, Some(2)));
        cadence.note(1, 1, at(13));
        assert_eq!(since(&cadence, 15), (2, Some(5)));
        assert_eq!(since(&cadence, 1), (0, Some(0)), "never less than nothing");
    }
}
