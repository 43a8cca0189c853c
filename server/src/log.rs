//! The log: one line a message in the form that Redis writes and its tools read.
//!
//! `PID:M 21 Nov 2026 12:00:00.123 * message`, local time, to standard output or to a file that is
//! opened anew for each line, so that it can be moved away. Not to be used in a fork child.

use std::cell::Cell;
use std::ffi::OsStr;
use std::fmt::Arguments;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::time::{SystemTime, UNIX_EPOCH};

use cairn_engine::os::clock;

use crate::config::LogLevel;

/// Longest message; what is longer is cut.
const MAX_MESSAGE_BYTES: usize = 1024;

/// The log of the process.
#[derive(Debug)]
pub(crate) struct Log {
    level: Cell<LogLevel>,
    path: Vec<u8>,
    pid: u32,
}

impl Log {
    /// A log of messages from `level` on, to the file at `path`, or to standard output if it is empty.
    pub(crate) fn new(level: LogLevel, path: Vec<u8>) -> Log {
        Log { level: Cell::new(level), path, pid: std::process::id() }
    }

    /// Changes the least level that is written.
    pub(crate) fn set_level(&self, level: LogLevel) {
        self.level.set(level);
    }

    /// Rare enough to be written, too common for most operators.
    pub(crate) fn verbose(&self, message: Arguments<'_>) {
        self.line(LogLevel::Verbose, message);
    }

    /// What an operator wants to know.
    pub(crate) fn notice(&self, message: Arguments<'_>) {
        self.line(LogLevel::Notice, message);
    }

    /// What an operator must know.
    pub(crate) fn warning(&self, message: Arguments<'_>) {
        self.line(LogLevel::Warning, message);
    }

    fn line(&self, level: LogLevel, message: Arguments<'_>) {
        if level < self.level.get() {
            return;
        }
        let mark = match level {
            LogLevel::Debug => '.',
            LogLevel::Verbose => '-',
            LogLevel::Notice => '*',
            LogLevel::Warning | LogLevel::Nothing => '#',
        };
        let mut message = message.to_string();
        if message.len() > MAX_MESSAGE_BYTES {
            let cut = (0..=MAX_MESSAGE_BYTES).rev().find(|i| message.is_char_boundary(*i)).unwrap_or(0);
            message.truncate(cut);
        }
        self.write(&format!("{}:M {} {mark} {message}\n", self.pid, now_text()));
    }

    /// Writes a line without time and level, for what starting scripts wait for.
    pub(crate) fn raw(&self, line: &str) {
        self.write(&format!("{line}\n"));
    }

    fn write(&self, line: &str) {
        // A log that cannot be written is no reason to stop serving.
        let _ = if self.path.is_empty() {
            let mut out = std::io::stdout().lock();
            out.write_all(line.as_bytes()).and_then(|()| out.flush())
        } else {
            let path = OsStr::from_bytes(&self.path);
            let file = OpenOptions::new().append(true).create(true).open(path);
            file.and_then(|mut file| file.write_all(line.as_bytes()))
        };
    }
}

fn now_text() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(now.as_secs()).unwrap_or(0);
    date_text(seconds + clock::local_offset_seconds(seconds), now.subsec_millis())
}

/// `21 Nov 2026 12:00:00.123` for seconds since 1970 of the local calendar.
fn date_text(seconds: i64, millis: u32) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const DAY: i64 = 86_400;
    let (days, rest) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    let month = MONTHS[month - 1];
    format!("{day:02} {month} {year} {hour:02}:{minute:02}:{second:02}.{millis:03}")
}

/// Year, month from 1, day from 1 of a day counted from 1970-01-01, in the Gregorian calendar.
fn civil_from_days(days: i64) -> (i64, usize, i64) {
    // Years are counted from March, so that the leap day is a year's last; eras are 400 years.
    const DAYS_TO_EPOCH: i64 = 719_468;
    const ERA_DAYS: i64 = 146_097;
    let shifted = days + DAYS_TO_EPOCH;
    let (era, of_era) = (shifted.div_euclid(ERA_DAYS), shifted.rem_euclid(ERA_DAYS));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, usize::try_from(month).unwrap_or(1), day)
}

#[cfg(test)]
mod tests {
    use super::date_text;

    #[test]
    fn dates_as_redis_writes_them() {
        assert_eq!(date_text(0, 7), "01 Jan 1970 00:00:00.007");
        assert_eq!(date_text(951_782_400, 0), "29 Feb 2000 00:00:00.000");
        assert_eq!(date_text(1_795_263_850, 570), "21 Nov 2026 12:24:10.570");
        assert_eq!(date_text(-1, 999), "31 Dec 1969 23:59:59.999");
    }
}
