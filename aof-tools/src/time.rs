//! Points in time as people write and read them: Unix seconds, RFC 3339, `YYYY-MM-DD HH:MM:SS` in UTC.

/// Days from the first of March of the year 0 to the epoch.
const EPOCH_DAYS: i64 = 719_468;
const DAY_SECONDS: i64 = 86_400;

/// A time in Unix seconds as `YYYY-MM-DDTHH:MM:SSZ`; seconds far from our days stay a number.
pub(crate) fn shown(unix_s: i64) -> String {
    /// The year 9999 ends here.
    const MOST: i64 = 253_402_300_799;
    if !(-MOST..=MOST).contains(&unix_s) {
        return unix_s.to_string();
    }
    let (days, second) = (unix_s.div_euclid(DAY_SECONDS), unix_s.rem_euclid(DAY_SECONDS));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of a number of days since the epoch.
fn civil(days: i64) -> (i64, i64, i64) {
    // Years are counted from March, so that a leap day ends one: 400 of them have 146,097 days.
    let days = days + EPOCH_DAYS;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let year = year + 400 * era + i64::from(month >= 10);
    (year, (month + 2) % 12 + 1, day)
}

/// Days since the epoch of a day that there is.
fn days_of(year: i64, month: i64, day: i64) -> Option<i64> {
    let years = year - i64::from(month <= 2);
    let (era, of_era) = (years.div_euclid(400), years.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - EPOCH_DAYS;
    (civil(days) == (year, month, day)).then_some(days)
}

/// Reads a time; the seconds since the epoch, parts of a second left out.
///
/// # Errors
/// What forms there are.
pub(crate) fn parse(text: &str) -> Result<i64, String> {
    let text = text.trim();
    let is_number = text.strip_prefix('-').unwrap_or(text).bytes().all(|b| b.is_ascii_digit());
    let seconds = match is_number {
        true => text.parse().ok(),
        false => of_calendar(text.as_bytes()),
    };
    seconds.ok_or_else(|| {
        format!(
            "'{text}' is no time: give Unix seconds, 2026-11-21T12:00:00Z, or '2026-11-21 12:00:00' (UTC)"
        )
    })
}

/// `YYYY-MM-DD`, and perhaps a blank or `T` and `HH:MM[:SS[.parts]]`, and perhaps `Z` or `+HH:MM`.
fn of_calendar(text: &[u8]) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = date else { return None };
    let days = days_of(digits(&[*y1, *y2, *y3, *y4])?, digits(&[*m1, *m2])?, digits(&[*d1, *d2])?)?;
    let Some((separator, rest)) = rest.split_first() else { return Some(days * DAY_SECONDS) };
    if !matches!(separator, b' ' | b'T' | b't') {
        return None;
    }
    let (clock, mut rest) = rest.split_at_checked(5)?;
    let [h1, h2, b':', n1, n2] = clock else { return None };
    let (hour, minute) = (digits(&[*h1, *h2])?, digits(&[*n1, *n2])?);
    let mut second = 0;
    if let [b':', s1, s2, tail @ ..] = rest {
        second = digits(&[*s1, *s2])?;
        rest = tail;
        if let [b'.', tail @ ..] = rest {
            let parts = tail.iter().take_while(|b| b.is_ascii_digit()).count();
            if parts == 0 {
                return None;
            }
            rest = &tail[parts..];
        }
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let offset = match rest {
        [] | [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 3600 + minutes * 60) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    Some(days * DAY_SECONDS + hour * 3600 + minute * 60 + second - offset)
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |value, b| b.is_ascii_digit().then(|| value * 10 + i64::from(b - b'0')))
}

#[cfg(test)]
mod tests {
    use super::{parse, shown};

    #[test]
    fn times_are_read_and_shown() {
        for (text, seconds) in [
            ("0", 0),
            ("-1", -1),
            ("1628217470", 1_628_217_470),
            ("1970-01-01", 0),
            ("2000-02-29 00:00:00", 951_782_400),
            ("2000-02-29T00:00", 951_782_400),
            ("2026-11-20T09:25:05.809Z", 1_795_166_705),
            ("2026-11-20t10:25:05+01:00", 1_795_166_705),
            ("2026-11-20 08:55:05-00:30", 1_795_166_705),
        ] {
            assert_eq!(parse(text), Ok(seconds), "{text}");
        }
        for text in
            ["", "x", "2026-13-01", "2026-02-30", "2026-1-1", "2026-11-20 25:00:00", "2026-11-20 10:00:00 "]
        {
            assert_eq!(parse(text).is_err(), text != "2026-11-20 10:00:00 ", "{text}");
        }
        assert_eq!(shown(1_795_166_705), "2026-11-20T09:25:05Z");
        assert_eq!(shown(-1), "1969-12-31T23:59:59Z");
        assert_eq!(shown(i64::MAX), i64::MAX.to_string());
        for seconds in (-5_000_000_000..5_000_000_000i64).step_by(86_399 * 17) {
            assert_eq!(parse(&shown(seconds)), Ok(seconds));
        }
    }
}
