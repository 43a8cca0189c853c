//! When a snapshot is due: a pure function of rules, changes and time.
//!
//! Behaviour: valkey src/server.c, `serverCron`.

use std::time::Duration;

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

/// The first rule that wants a snapshot now.
pub fn due(rules: &[SaveRule], now: Situation) -> Option<SaveRule> {
    if now.last_failed && now.since_attempt.is_some_and(|since| since <= RETRY_AFTER) {
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
}
