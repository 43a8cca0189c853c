//! The log: one line a message in the form that Redis writes and its tools read.
//!
//! `PID:M 21 Nov 2026 12:00:00.123 * message`, local time, to standard output or to a file that is
//! opened anew for each line, so that it can be moved away; to syslog as well, if it is asked for. Not
//! to be used in a fork child.

use std::cell::Cell;
use std::ffi::OsStr;
use std::fmt::Arguments;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::time::{SystemTime, UNIX_EPOCH};

use cairn_engine::os::clock;

use crate::config::{Config, LogFormat, LogLevel, LogTime};

/// Longest message; what is longer is cut.
const MAX_MESSAGE_BYTES: usize = 1024;

/// The log of the process.
#[derive(Debug)]
pub(crate) struct Log {
    level: Cell<LogLevel>,
    format: Cell<LogFormat>,
    time: Cell<LogTime>,
    path: Vec<u8>,
    syslog: Option<Syslog>,
    pid: u32,
}

/// Where syslog's messages go.
#[derive(Debug)]
struct Syslog {
    socket: UnixDatagram,
    /// `ident[pid]: `, what stands before a message.
    head: String,
    facility: u8,
}

impl Syslog {
    const PATH: &str = "/dev/log";

    fn connect(config: &Config) -> Option<Syslog> {
        let socket = UnixDatagram::unbound().ok()?;
        socket.connect(Syslog::PATH).ok()?;
        // A message that nobody takes is no reason to wait.
        socket.set_nonblocking(true).ok()?;
        let ident = String::from_utf8_lossy(&config.syslog_ident);
        let head = format!("{ident}[{}]: ", std::process::id());
        Some(Syslog { socket, head, facility: config.syslog_facility })
    }

    fn send(&self, level: LogLevel, message: &str) {
        // The numbers that syslog(3) gives to debug, info, notice and warning.
        let severity = match level {
            LogLevel::Debug => 7,
            LogLevel::Verbose => 6,
            LogLevel::Notice => 5,
            LogLevel::Warning | LogLevel::Nothing => 4,
        };
        let priority = (u32::from(self.facility) << 3) | severity;
        let _ = self.socket.send(format!("<{priority}>{}{message}", self.head).as_bytes());
    }
}

impl Log {
    /// The log that a configuration asks for.
    pub(crate) fn new(config: &Config) -> Log {
        Log {
            level: Cell::new(config.loglevel),
            format: Cell::new(config.log_format),
            time: Cell::new(config.log_time),
            path: config.logfile.clone(),
            syslog: config.syslog_enabled.then(|| Syslog::connect(config)).flatten(),
            pid: std::process::id(),
        }
    }

    /// Follows what may change of the configuration.
    pub(crate) fn configure(&self, config: &Config) {
        self.level.set(config.loglevel);
        self.format.set(config.log_format);
        self.time.set(config.log_time);
    }

    /// What only developers want to know.
    pub(crate) fn debug(&self, message: Arguments<'_>) {
        self.line(LogLevel::Debug, message);
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
        let mut message = message.to_string();
        if message.len() > MAX_MESSAGE_BYTES {
            let cut = (0..=MAX_MESSAGE_BYTES).rev().find(|i| message.is_char_boundary(*i)).unwrap_or(0);
            message.truncate(cut);
        }
        let time = time_text(self.time.get());
        self.write(&line_text(self.format.get(), self.pid, &time, level, &message));
        if let Some(syslog) = &self.syslog {
            syslog.send(level, &message);
        }
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

/// One line.
fn line_text(format: LogFormat, pid: u32, time: &str, level: LogLevel, message: &str) -> String {
    let (mark, word) = match level {
        LogLevel::Debug => ('.', "debug"),
        LogLevel::Verbose => ('-', "info"),
        LogLevel::Notice => ('*', "notice"),
        LogLevel::Warning | LogLevel::Nothing => ('#', "warning"),
    };
    match format {
        LogFormat::Legacy => format!("{pid}:M {time} {mark} {message}\n"),
        LogFormat::Logfmt => {
            let message = message.replace('"', "'").replace(['\n', '\r'], " ");
            format!("pid={pid} role=primary timestamp=\"{time}\" level={word} message=\"{message}\"\n")
        }
        LogFormat::Json => {
            let message = json_text(message);
            format!(
                "{{\"pid\":{pid},\"role\":\"primary\",\"timestamp\":\"{time}\",\"level\":\"{word}\",\
                 \"message\":{message}}}\n"
            )
        }
    }
}

/// A JSON string.
fn json_text(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '\\' | '"' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn time_text(how: LogTime) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(now.as_secs()).unwrap_or(0);
    let offset = clock::local_offset_seconds(seconds);
    match how {
        LogTime::Legacy => date_text(seconds + offset, now.subsec_millis()),
        LogTime::Iso8601 => iso_text(seconds, offset, now.subsec_millis()),
        LogTime::Millis => now.as_millis().to_string(),
    }
}

/// `2026-11-21T12:00:00.123+01:00` for seconds since 1970 and those that local time is ahead.
fn iso_text(seconds: i64, offset: i64, millis: u32) -> String {
    const DAY: i64 = 86_400;
    let local = seconds + offset;
    let (year, month, day) = civil_from_days(local.div_euclid(DAY));
    let rest = local.rem_euclid(DAY);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    let sign = if offset < 0 { '-' } else { '+' };
    let (zone_hours, zone_minutes) = (offset.abs() / 3600, offset.abs() / 60 % 60);
    format!(
        "{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}{sign}{zone_hours:02}:{zone_minutes:02}"
    )
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
    use super::{LogFormat, LogLevel, date_text, iso_text, line_text};

    #[test]
    fn lines_in_every_format() {
        let line = |format| line_text(format, 7, "now", LogLevel::Notice, "a \"b\"\nc");
        assert_eq!(line(LogFormat::Legacy), "7:M now * a \"b\"\nc\n");
        assert_eq!(
            line(LogFormat::Logfmt),
            "pid=7 role=primary timestamp=\"now\" level=notice message=\"a 'b' c\"\n"
        );
        assert_eq!(
            line(LogFormat::Json),
            "{\"pid\":7,\"role\":\"primary\",\"timestamp\":\"now\",\"level\":\"notice\",\"message\":\"a \\\"b\\\"\\nc\"}\n"
        );
        assert_eq!(iso_text(0, 0, 7), "1970-01-01T00:00:00.007+00:00");
        assert_eq!(iso_text(0, -12_600, 7), "1969-12-31T20:30:00.007-03:30");
    }

    #[test]
    fn dates_as_redis_writes_them() {
        assert_eq!(date_text(0, 7), "01 Jan 1970 00:00:00.007");
        assert_eq!(date_text(951_782_400, 0), "29 Feb 2000 00:00:00.000");
        assert_eq!(date_text(1_795_263_850, 570), "21 Nov 2026 12:24:10.570");
        assert_eq!(date_text(-1, 999), "31 Dec 1969 23:59:59.999");
    }
}
