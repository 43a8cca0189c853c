//! Rows of keys for people: columns that stand below one another, sizes and times as one says them.

use std::fmt::Write;

use cairn_engine::base::time::UnixMs;

use super::rows::KeyRow;
use crate::output::Shown;

/// The first line.
pub const HEADING: &str = " DB TYPE       ENCODING      ELEMENTS     BYTES        TTL  KEY\n";

/// Appends the line of a key, as of `now`.
pub fn line(out: &mut Vec<u8>, row: &KeyRow<'_>, now: UnixMs) {
    let mut text = String::with_capacity(96 + row.key.len());
    let elements = row.elements.map_or_else(|| "-".to_owned(), |n| n.to_string());
    writeln!(
        text,
        "{:>3} {:<10} {:<12} {:>9} {:>9} {:>10}  {}",
        row.db,
        row.type_name,
        row.encoding.unwrap_or("-"),
        elements,
        size(row.bytes),
        row.expire_at.map_or_else(|| "-".to_owned(), |at| left(at, now)),
        Shown(row.key)
    )
    .expect("a string takes everything");
    out.extend_from_slice(text.as_bytes());
}

/// A size in three or four digits: `999`, `1.2K`, `17M`, powers of 1024.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];
    let mut scaled = bytes as f64;
    let mut unit = 0;
    while scaled >= 999.5 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => bytes.to_string(),
        _ if scaled < 9.95 => format!("{scaled:.1}{}", UNITS[unit]),
        _ => format!("{scaled:.0}{}", UNITS[unit]),
    }
}

/// The time that is left, in its two largest units.
fn left(at: UnixMs, now: UnixMs) -> String {
    let ms = at.0.saturating_sub(now.0);
    if ms <= 0 {
        return "expired".to_owned();
    }
    let seconds = ms / 1000;
    const UNITS: [(i64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let Some(first) = UNITS.iter().position(|(unit, _)| seconds >= *unit) else { return format!("{ms}ms") };
    let (unit, name) = UNITS[first];
    match UNITS.get(first + 1) {
        // After years, hours do not matter.
        Some((next, next_name)) if seconds / unit < 1000 && seconds % unit / next > 0 => {
            format!("{}{name}{}{next_name}", seconds / unit, seconds % unit / next)
        }
        _ => format!("{}{name}", seconds / unit),
    }
}

#[cfg(test)]
mod tests {
    use super::{UnixMs, left, size};

    #[test]
    fn sizes_and_times_are_short() {
        for (bytes, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1.0K"),
            (10 << 10, "10K"),
            (1_048_576, "1.0M"),
            (u64::MAX, "16E"),
        ] {
            assert_eq!(size(bytes), text);
        }
        for (ms, text) in [
            (0, "expired"),
            (7, "7ms"),
            (90_000, "1m30s"),
            (3_600_000, "1h"),
            (90_061_000, "1d1h"),
            (i64::MAX, "106751991167d"),
        ] {
            assert_eq!(left(UnixMs(ms), UnixMs(0)), text);
        }
    }
}
