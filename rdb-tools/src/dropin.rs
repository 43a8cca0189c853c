//! The servers' own check tools, under their names: the same lines, offsets and exit codes.
//!
//! Scripts call `redis-check-rdb` and read what it prints, so these modes follow its habits, not our
//! taste: they stop at the first fault, count offsets in bytes consumed by whole reads, and call an
//! empty collection an unexpected end of file. So they read a file in the order in which the servers
//! do, apart from our decoder; `rdb-tools check` is the tool that says what is wrong.
//! Witness: the output of redis-check-rdb 7.0.15 for good, cut and damaged files.

pub mod check_rdb;
mod reader;
mod stats;
mod value;

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// The part of a path that decides which tool a binary is.
#[must_use]
pub fn basename(argv0: &str) -> &str {
    argv0.rsplit('/').next().unwrap_or(argv0)
}

/// Appends a line as the servers' log has it: `pid:C day month year time # text`, in UTC.
///
/// # Errors
/// Whatever writing says.
pub fn log_line(out: &mut dyn Write, text: &[u8]) -> io::Result<()> {
    write!(out, "{}:C {} # ", std::process::id(), log_time(now_ms()))?;
    out.write_all(text)?;
    out.write_all(b"\n")
}

/// Milliseconds since the epoch by this machine's clock; 0 if that stands before it.
#[must_use]
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// `20 Nov 2026 09:25:05.809`
fn log_time(unix_ms: i64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, ms) = (unix_ms.div_euclid(86_400_000), unix_ms.rem_euclid(86_400_000));
    // Years are counted from March, so that a leap day ends one: 400 of them have 146,097 days.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let year = year + 400 * era + i64::from(month >= 10);
    let month = MONTHS[((month + 2) % 12) as usize];
    let (seconds, ms) = (ms / 1000, ms % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{day:02} {month} {year} {hour:02}:{minute:02}:{second:02}.{ms:03}")
}

#[cfg(test)]
mod tests {
    use super::{basename, log_time};

    #[test]
    fn log_times_are_civil() {
        assert_eq!(log_time(0), "01 Jan 1970 00:00:00.000");
        assert_eq!(log_time(951_782_400_000), "29 Feb 2000 00:00:00.000");
        assert_eq!(log_time(1_795_166_705_809), "20 Nov 2026 09:25:05.809");
        assert_eq!(log_time(4_102_444_799_999), "31 Dec 2099 23:59:59.999");
    }

    #[test]
    fn names_are_cut_from_paths() {
        assert_eq!(basename("/usr/bin/redis-check-rdb"), "redis-check-rdb");
        assert_eq!(basename("valkey-check-rdb"), "valkey-check-rdb");
    }
}
