//! A command that found nothing and whose caller may wait: what it waits for, and how long.
//!
//! The command names keys, a time and the reply for when the time has passed; who waits, in which
//! order and where, is the caller's business. When one of the keys has changed, the caller runs the
//! same command again. Behaviour: valkey src/blocked.c.

use crate::base::long_double::LongDouble;
use crate::base::num;
use crate::base::time::UnixMs;
use crate::codec::resp::Reply;
use crate::value::ValueRef;

use super::{Args, CommandError};

/// What a key must become for the command to be worth another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitFor {
    /// A list.
    List,
    /// A sorted set.
    Zset,
    /// A stream.
    Stream,
    /// A stream, and also anything else, or nothing: the group that is read from is gone then.
    StreamGroup,
    /// As `StreamGroup`, and at this time also if nothing has changed: entries that others got may be
    /// claimed then.
    StreamClaim(UnixMs),
}

impl WaitFor {
    /// True if a command that waits so is to be run again on a key that is now so.
    #[must_use]
    pub fn is_met_by(self, value: Option<ValueRef<'_>>) -> bool {
        match self {
            WaitFor::List => matches!(value, Some(ValueRef::List(_))),
            WaitFor::Zset => matches!(value, Some(ValueRef::Zset(_))),
            WaitFor::Stream => matches!(value, Some(ValueRef::Stream(_))),
            WaitFor::StreamGroup | WaitFor::StreamClaim(_) => true,
        }
    }
}

/// The reply when the time has passed, or when the caller may not wait at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnTimeout {
    /// Null.
    Null,
    /// The null array of RESP2.
    NullArray,
}

impl OnTimeout {
    /// Writes it.
    pub fn write(self, reply: &mut Reply) {
        match self {
            OnTimeout::Null => reply.null(),
            OnTimeout::NullArray => reply.null_array(),
        }
    }
}

/// A wish to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// Positions of the keys among the arguments; a key may come twice.
    pub keys: Vec<usize>,
    /// What is waited for.
    pub wanted: WaitFor,
    /// When the waiting ends; `None` for never.
    pub deadline: Option<UnixMs>,
    /// The reply then.
    pub on_timeout: OnTimeout,
    /// The arguments to run again with, if not the same: `$` of XREAD has become an ID.
    pub args: Option<Vec<Vec<u8>>>,
}

impl Args<'_> {
    /// Argument `i` as a time to wait in seconds, fractions allowed: when it ends, `None` for 0.
    ///
    /// # Errors
    /// `TimeoutNotFloat`, `TimeoutNegative`, or a text about a time that is too far.
    pub fn deadline(&self, i: usize, now: UnixMs) -> Result<Option<UnixMs>, CommandError> {
        let arg = self.get(i).ok_or(CommandError::Syntax)?;
        let seconds =
            num::parse_f64_or_hex(arg).or_else(|| rounded(arg)).ok_or(CommandError::TimeoutNotFloat)?;
        let ms = (seconds * 1000.0).ceil();
        // 2^63 is a double, so this comparison is exact.
        if ms >= i64::MAX as f64 {
            return Err(TOO_FAR);
        }
        if ms < 0.0 {
            return Err(CommandError::TimeoutNegative);
        }
        end_of_wait(ms as i64, now)
    }

    /// Argument `i` as a time to wait in whole milliseconds: when it ends, `None` for 0.
    ///
    /// # Errors
    /// A text about what is no integer or too far, `TimeoutNegative`.
    pub fn deadline_ms(&self, i: usize, now: UnixMs) -> Result<Option<UnixMs>, CommandError> {
        let not_integer = CommandError::text("ERR timeout is not an integer or out of range");
        let arg = self.get(i).ok_or(CommandError::Syntax)?;
        match num::parse_i64(arg).ok_or(not_integer)? {
            ..0 => Err(CommandError::TimeoutNegative),
            ms => end_of_wait(ms, now),
        }
    }
}

const TOO_FAR: CommandError = CommandError::text("ERR timeout is out of range");

fn end_of_wait(ms: i64, now: UnixMs) -> Result<Option<UnixMs>, CommandError> {
    match ms {
        0 => Ok(None),
        ms => now.checked_add_ms(ms).map(Some).ok_or(TOO_FAR),
    }
}

/// A number that only a long double holds, as the nearest double or infinity: Valkey reads times so.
fn rounded(arg: &[u8]) -> Option<f64> {
    LongDouble::parse(arg)?;
    let nearest: f64 = std::str::from_utf8(arg).ok()?.parse().ok()?;
    Some(if nearest == 0.0 { f64::MIN_POSITIVE.copysign(nearest) } else { nearest })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deadline(text: &str) -> Result<Option<UnixMs>, CommandError> {
        Args(&[text.as_bytes()]).deadline(0, UnixMs(1000))
    }

    #[test]
    fn times_are_in_seconds_and_round_up() {
        assert_eq!(deadline("0"), Ok(None));
        assert_eq!(deadline("0.0001"), Ok(Some(UnixMs(1001))));
        assert_eq!(deadline("1.5"), Ok(Some(UnixMs(2500))));
        assert_eq!(deadline("-1"), Err(CommandError::TimeoutNegative));
        assert_eq!(deadline("x"), Err(CommandError::TimeoutNotFloat));
        assert_eq!(deadline("1e400"), Err(CommandError::text("ERR timeout is out of range")));
        assert_eq!(deadline("-1e400"), Err(CommandError::TimeoutNegative));
        assert_eq!(deadline("1e-400"), Ok(Some(UnixMs(1001))));
        assert_eq!(deadline("9223372036854775807"), Err(CommandError::text("ERR timeout is out of range")));
    }

    #[test]
    fn times_in_milliseconds_have_no_fractions() {
        let deadline = |text: &str| Args(&[text.as_bytes()]).deadline_ms(0, UnixMs(1000));
        assert_eq!(deadline("0"), Ok(None));
        assert_eq!(deadline("7"), Ok(Some(UnixMs(1007))));
        assert_eq!(deadline("-1"), Err(CommandError::TimeoutNegative));
        assert_eq!(deadline("9223372036854775807"), Err(TOO_FAR));
        assert_eq!(deadline("9223372036854774807"), Ok(Some(UnixMs(i64::MAX))));
        let not_integer = CommandError::text("ERR timeout is not an integer or out of range");
        assert_eq!(deadline("1.5"), Err(not_integer));
    }
}
