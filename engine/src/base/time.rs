//! Wall-clock instants in milliseconds, as expiries are written in RDB files and commands.
//!
//! Only a number with a name: nothing here reads a clock. Whoever owns a clock passes `now` down.

/// An instant in milliseconds since the Unix epoch; negative before 1970.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct UnixMs(pub i64);

impl UnixMs {
    /// The latest instant that fits.
    pub const MAX: Self = Self(i64::MAX);
    /// The earliest instant that fits.
    pub const MIN: Self = Self(i64::MIN);

    /// From whole seconds; `None` when the milliseconds do not fit.
    #[must_use]
    pub const fn from_secs(secs: i64) -> Option<Self> {
        match secs.checked_mul(1000) {
            Some(ms) => Some(Self(ms)),
            None => None,
        }
    }

    /// Whether a deadline at `self` has been reached at `now`.
    ///
    /// Valkey's `keyIsExpired` calls a key expired only when `now > when`: at the very
    /// millisecond of the deadline the key still lives.
    #[must_use]
    pub const fn is_past(self, now: Self) -> bool {
        now.0 > self.0
    }

    /// This instant moved by `ms`; `None` when it does not fit.
    #[must_use]
    pub const fn checked_add_ms(self, ms: i64) -> Option<Self> {
        match self.0.checked_add(ms) {
            Some(ms) => Some(Self(ms)),
            None => None,
        }
    }

    /// This instant moved by `ms`, held at the ends of the range.
    #[must_use]
    pub const fn saturating_add_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `now` until `self`: negative once it has passed, held at the ends.
    #[must_use]
    pub const fn ms_after(self, now: Self) -> i64 {
        self.0.saturating_sub(now.0)
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

#[cfg(test)]
mod tests {
    use super::UnixMs;

    #[test]
    fn a_deadline_is_past_only_after_its_millisecond() {
        let deadline = UnixMs(1000);
        assert!(!deadline.is_past(UnixMs(999)));
        assert!(!deadline.is_past(UnixMs(1000)));
        assert!(deadline.is_past(UnixMs(1001)));
    }

    #[test]
    fn arithmetic_stays_in_range() {
        assert_eq!(UnixMs::from_secs(i64::MAX), None);
        assert_eq!(UnixMs::from_secs(2), Some(UnixMs(2000)));
        assert_eq!(UnixMs::MAX.checked_add_ms(1), None);
        assert_eq!(UnixMs::MAX.saturating_add_ms(1), UnixMs::MAX);
        assert_eq!(UnixMs::MIN.ms_after(UnixMs::MAX), i64::MIN);
        assert_eq!(UnixMs(-1).secs(), -1);
    }
}
