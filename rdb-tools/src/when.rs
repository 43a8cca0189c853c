//! Instants and durations as people write them: `2026-11-21T20:46:00Z`, `@1763758000`, `1h30m`.
//!
//! Instants are UTC unless they say otherwise. Knows no clock.

use cairn_engine::base::time::UnixMs;

const MS_PER_SECOND: i64 = 1000;
const MS_PER_DAY: i64 = 86_400 * MS_PER_SECOND;

/// Why a text is no instant or duration: a phrase that goes behind the text.
pub type Why = &'static str;

/// Reads an instant: `YYYY-MM-DD`, that with `THH:MM`, `THH:MM:SS` or `THH:MM:SS.mmm` (a blank will do for
/// the T) and `Z` or `+HH:MM`; or Unix time, `@seconds`, `@seconds.mmm` or `@millisecondsms`.
///
/// # Errors
/// What an instant looks like.
pub fn instant(text: &str) -> Result<UnixMs, Why> {
    const WHY: Why = "is no instant, like 2026-11-21T20:46:00Z or @1763758000";
    if let Some(unix) = text.strip_prefix('@') {
        return unix_time(unix).map(UnixMs).ok_or(WHY);
    }
    civil(text).map(UnixMs).ok_or(WHY)
}

fn unix_time(text: &str) -> Option<i64> {
    if let Some(before) = text.strip_prefix('-') {
        // What lies before 1970, for what `show` tells of it.
        return before.strip_suffix("ms").and_then(number).map(|ms| -ms);
    }
    if let Some(ms) = text.strip_suffix("ms") {
        return number(ms);
    }
    let (seconds, ms) = match text.split_once('.') {
        Some((seconds, fraction)) => (seconds, thousandths(fraction)?),
        None => (text, 0),
    };
    number(seconds)?.checked_mul(MS_PER_SECOND)?.checked_add(ms)
}

/// Digits only: `i64::from_str` would take a plus.
fn number(text: &str) -> Option<i64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

fn thousandths(fraction: &str) -> Option<i64> {
    let digits = number(fraction).filter(|_| (1..=3).contains(&fraction.len()))?;
    Some(digits * 10i64.pow(3 - fraction.len() as u32))
}

fn civil(text: &str) -> Option<i64> {
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let [year, month, day] = parts(date, '-', [4, 2, 2])?;
    let days = days_from_civil(year, month, day)?;
    let ms = match time {
        None => 0,
        Some(time) => time_of_day(time)?,
    };
    days.checked_mul(MS_PER_DAY)?.checked_add(ms)
}

fn parts<const N: usize>(text: &str, separator: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut numbers = [0; N];
    let mut words = text.split(separator);
    for (room, digits) in numbers.iter_mut().zip(digits) {
        *room = number(words.next().filter(|word| word.len() == digits)?)?;
    }
    words.next().is_none().then_some(numbers)
}

/// Milliseconds since midnight UTC, which a zone can make negative.
fn time_of_day(text: &str) -> Option<i64> {
    let (clock, east_minutes) = match text.strip_suffix(['Z', 'z']) {
        Some(clock) => (clock, 0),
        None => match text.rfind(['+', '-']) {
            Some(at) => {
                let [hours, minutes] = parts(&text[at + 1..], ':', [2, 2])?;
                let east = hours * 60 + minutes;
                (&text[..at], if text.as_bytes()[at] == b'+' { east } else { -east })
            }
            None => (text, 0),
        },
    };
    let (clock, ms) = match clock.split_once('.') {
        Some((clock, fraction)) => (clock, thousandths(fraction)?),
        None => (clock, 0),
    };
    let [hours, minutes, seconds] = match parts(clock, ':', [2, 2, 2]) {
        Some(all) => all,
        None => parts(clock, ':', [2, 2]).map(|[hours, minutes]| [hours, minutes, 0])?,
    };
    let is_clock = hours < 24 && minutes < 60 && seconds < 61;
    is_clock.then(|| ((hours * 60 + minutes - east_minutes) * 60 + seconds) * MS_PER_SECOND + ms)
}

/// Days since 1970-01-01 of a date of the Gregorian calendar; `None` if there is no such day.
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let in_month = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => return None,
    };
    if !(1..=in_month).contains(&day) {
        return None;
    }
    // Years begin in March, so that the leap day is the last of its year.
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    /// Days of year 0 of that calendar before 1970-01-01.
    const EPOCH: i64 = 719_468;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    Some(year * 365 + leap_days + day_of_year - EPOCH)
}

/// An instant as `YYYY-MM-DDTHH:MM:SS.mmmZ`; what no such text can say as `@millisecondsms`.
#[must_use]
pub fn show(at: UnixMs) -> String {
    let days = at.0.div_euclid(MS_PER_DAY);
    let ms = at.0.rem_euclid(MS_PER_DAY);
    // 400 years have the same number of days, wherever they begin.
    const CYCLE_DAYS: i64 = 146_097;
    let from_march_0 = days + 719_468;
    let cycle = from_march_0.div_euclid(CYCLE_DAYS);
    let day = from_march_0.rem_euclid(CYCLE_DAYS);
    let year_of_cycle = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = cycle * 400 + year_of_cycle + i64::from(month <= 2);
    if !(0..=9999).contains(&year) {
        return format!("@{}ms", at.0);
    }
    let seconds = ms / 1000;
    let (hours, minutes, seconds, ms) = (seconds / 3600, seconds / 60 % 60, seconds % 60, ms % 1000);
    format!("{year:04}-{month:02}-{day_of_month:02}T{hours:02}:{minutes:02}:{seconds:02}.{ms:03}Z")
}

/// Reads a duration in milliseconds: numbers with units `ms`, `s`, `m`, `h`, `d` and `w` one behind the
/// other, or one number of seconds.
///
/// # Errors
/// What a duration looks like.
pub fn duration(text: &str) -> Result<i64, Why> {
    const WHY: Why = "is no duration, like 90s, 10m, 1h30m or 7d";
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return number(text).and_then(|seconds| seconds.checked_mul(MS_PER_SECOND)).ok_or(WHY);
    }
    let mut rest = text;
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let units = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = match &rest[digits..digits + units] {
            "ms" => 1,
            "s" => MS_PER_SECOND,
            "m" => 60 * MS_PER_SECOND,
            "h" => 3600 * MS_PER_SECOND,
            "d" => MS_PER_DAY,
            "w" => 7 * MS_PER_DAY,
            _ => return Err(WHY),
        };
        let count = number(&rest[..digits]).filter(|_| digits > 0).ok_or(WHY)?;
        total = count.checked_mul(unit).and_then(|ms| total.checked_add(ms)).ok_or(WHY)?;
        rest = &rest[digits + units..];
    }
    if text.is_empty() { Err(WHY) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::{UnixMs, duration, instant, show};

    #[test]
    fn instants_are_read() {
        for (text, ms) in [
            ("1970-01-01", 0),
            ("2000-02-29", 951_782_400_000),
            ("2026-11-21T20:46:00Z", 1_795_293_960_000),
            ("2026-11-21 20:46:00.5", 1_795_293_960_500),
            ("2026-11-21T22:46+02:00", 1_795_293_960_000),
            ("1969-12-31T23:59:59.999", -1),
            ("@1795293960", 1_795_293_960_000),
            ("@1795293960.25", 1_795_293_960_250),
            ("@17ms", 17),
        ] {
            assert_eq!(instant(text), Ok(UnixMs(ms)), "{text}");
        }
        for text in [
            "",
            "@",
            "@-1",
            "@--1ms",
            "@1.1234",
            "2026",
            "2026-2-3",
            "2026-02-29",
            "2026-13-01",
            "2026-01-01T25:00",
            "é",
        ] {
            assert!(instant(text).is_err(), "{text}");
        }
    }

    #[test]
    fn instants_are_shown_as_they_are_read() {
        for ms in (-70_000_000_000_000..250_000_000_000_000).step_by(3_333_333_333) {
            assert_eq!(instant(&show(UnixMs(ms))), Ok(UnixMs(ms)), "{}", show(UnixMs(ms)));
        }
        assert_eq!(show(UnixMs(1_795_293_960_007)), "2026-11-21T20:46:00.007Z");
        assert_eq!(show(UnixMs(i64::MAX)), "@9223372036854775807ms");
        assert_eq!(show(UnixMs(i64::MIN)), "@-9223372036854775808ms");
    }

    #[test]
    fn durations_are_read() {
        for (text, ms) in [
            ("0", 0),
            ("90", 90_000),
            ("250ms", 250),
            ("1h30m", 5_400_000),
            ("7d", 604_800_000),
            ("2w", 1_209_600_000),
        ] {
            assert_eq!(duration(text), Ok(ms), "{text}");
        }
        for text in ["", "m", "-1s", "1.5h", "1h30", "3y", "99999999999999999w", "1é"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
