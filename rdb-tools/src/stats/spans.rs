//! Spans of time: how long until keys and fields expire, how long keys have been idle.

/// Names of the spans until an expiry, shortest first.
pub const TTL_NAMES: [&str; 8] =
    ["no TTL", "expired", "< 1 minute", "< 1 hour", "< 1 day", "< 7 days", "< 30 days", "longer"];

/// Names of the spans of idleness.
pub const IDLE_NAMES: [&str; 6] = ["< 1 minute", "< 1 hour", "< 1 day", "< 7 days", "< 30 days", "longer"];

const SECOND: i64 = 1000;
const DAY: i64 = 86_400 * SECOND;
/// Where one span ends and the next begins.
const BOUNDS: [i64; 5] = [60 * SECOND, 3600 * SECOND, DAY, 7 * DAY, 30 * DAY];

/// Which of [`TTL_NAMES`] an expiry belongs to at `now`, both Unix times in ms.
#[inline]
#[must_use]
pub fn ttl_span(expire_at: Option<i64>, now: i64) -> usize {
    match expire_at {
        None => 0,
        Some(at) if at <= now => 1,
        Some(at) => 2 + span(at.saturating_sub(now)),
    }
}

/// Which of [`IDLE_NAMES`] so many seconds belong to.
#[must_use]
pub fn idle_span(idle_s: u64) -> usize {
    span(i64::try_from(idle_s).unwrap_or(i64::MAX).saturating_mul(SECOND))
}

fn span(ms: i64) -> usize {
    BOUNDS.iter().position(|bound| ms < *bound).unwrap_or(BOUNDS.len())
}

/// Keys, or fields, and memory of a span.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// How many.
    pub count: u64,
    /// Bytes in memory; 0 for fields, whose bytes are not told apart.
    pub memory: u64,
}

impl Share {
    /// Adds one of so many bytes.
    #[inline]
    pub fn add(&mut self, memory: u64) {
        self.count += 1;
        self.memory += memory;
    }

    /// Adds those of another one.
    pub fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.memory += other.memory;
    }
}

#[cfg(test)]
mod tests {
    use super::{IDLE_NAMES, TTL_NAMES, idle_span, ttl_span};

    #[test]
    fn spans_have_their_bounds() {
        let now = 1_700_000_000_000;
        let name = |at: Option<i64>| TTL_NAMES[ttl_span(at, now)];
        assert_eq!(name(None), "no TTL");
        assert_eq!(
            (name(Some(now)), name(Some(i64::MIN)), name(Some(now + 1))),
            ("expired", "expired", "< 1 minute")
        );
        assert_eq!((name(Some(now + 59_999)), name(Some(now + 60_000))), ("< 1 minute", "< 1 hour"));
        assert_eq!(name(Some(now + 30 * 86_400_000 - 1)), "< 30 days");
        assert_eq!((name(Some(now + 30 * 86_400_000)), name(Some(i64::MAX))), ("longer", "longer"));
        assert_eq!(ttl_span(Some(i64::MAX), i64::MIN), 7);
        assert_eq!((IDLE_NAMES[idle_span(0)], IDLE_NAMES[idle_span(u64::MAX)]), ("< 1 minute", "longer"));
    }
}
