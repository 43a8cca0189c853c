//! Ranges as the filters take them: `A..B`, `A..`, `..B`, both ends included, or one value alone.

use std::str::FromStr;

use cairn_engine::base::time::UnixMs;

use crate::when;

/// From one value to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range<T> {
    /// The least.
    pub from: T,
    /// The greatest.
    pub to: T,
}

impl<T: Ord> Range<T> {
    /// Whether it is in there.
    pub fn contains(&self, value: &T) -> bool {
        self.from <= *value && *value <= self.to
    }
}

/// Splits a range and reads its ends with `read`; an end that is not there is `least` or `most`.
fn parse<T: Ord + Copy>(
    text: &str,
    (least, most): (T, T),
    read: impl Fn(&str) -> Result<T, when::Why>,
) -> Result<Range<T>, String> {
    let read = |end: &str| read(end).map_err(|why| format!("\"{end}\" {why}"));
    let range = match text.split_once("..") {
        None => {
            let only = read(text)?;
            Range { from: only, to: only }
        }
        Some(("", "")) => return Err("a range has one end at least".to_owned()),
        Some((from, to)) => Range {
            from: if from.is_empty() { least } else { read(from)? },
            to: if to.is_empty() { most } else { read(to)? },
        },
    };
    if range.from > range.to {
        return Err(format!("\"{text}\" ends before it begins"));
    }
    Ok(range)
}

fn whole(text: &str) -> Result<u64, when::Why> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten().ok_or("is no number")
}

/// A range of counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts(pub Range<u64>);

impl FromStr for Counts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text, (0, u64::MAX), whole).map(Self)
    }
}

/// A range of numbers that is also written `A-B`, as slots are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers(pub Range<u64>);

impl FromStr for Numbers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('-') {
            Some((from, to)) if !from.is_empty() && !to.is_empty() => {
                parse(&format!("{from}..{to}"), (0, u64::MAX), whole).map(Self)
            }
            _ => parse(text, (0, u64::MAX), whole).map(Self),
        }
    }
}

/// A range of sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes(pub Range<u64>);

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text, (0, u64::MAX), size).map(Self)
    }
}

/// Reads a size in bytes: `K`, `M`, `G`, `T` and `KiB`... are powers of 1024, `KB`... of 1000.
///
/// # Errors
/// What a size looks like.
pub fn size(text: &str) -> Result<u64, when::Why> {
    const WHY: when::Why = "is no size, like 512, 64KiB, 10MB or 1G";
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let unit = text[digits..].to_ascii_lowercase();
    let (letter, base) = match unit.as_bytes() {
        [] | [b'b'] => (b'b', 1u64),
        [letter] | [letter, b'i', b'b'] => (*letter, 1024),
        [letter, b'b'] => (*letter, 1000),
        _ => return Err(WHY),
    };
    let power = match letter {
        b'b' => 0,
        b'k' => 1,
        b'm' => 2,
        b'g' => 3,
        b't' => 4,
        _ => return Err(WHY),
    };
    text[..digits].parse::<u64>().ok().and_then(|n| n.checked_mul(base.pow(power))).ok_or(WHY)
}

/// A range of durations, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds(pub Range<u64>);

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = |end: &str| when::duration(end).map(|ms| ms.unsigned_abs() / 1000);
        parse(text, (0, u64::MAX), read).map(Self)
    }
}

/// What may be asked of a key's expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    /// It has none.
    Persistent,
    /// It has one.
    Volatile,
    /// It has passed.
    Expired,
    /// Some field of the hash has one of its own.
    Field,
    /// It comes within so many milliseconds from now.
    Left(Range<i64>),
    /// It is between two instants.
    At(Range<UnixMs>),
}

impl FromStr for Ttl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "persistent" => Self::Persistent,
            "volatile" => Self::Volatile,
            "expired" => Self::Expired,
            "field-ttl" => Self::Field,
            _ if text.contains(['-', '@']) => {
                Self::At(parse(text, (UnixMs(i64::MIN), UnixMs(i64::MAX)), when::instant)?)
            }
            _ if text.contains("..") => Self::Left(parse(text, (0, i64::MAX), when::duration)?),
            _ => {
                return Err(format!(
                    "\"{text}\" is not persistent, volatile, expired, field-ttl, nor a range like ..10m, 2h..7d \
                     or 2026-01-01..2026-02-01"
                ));
            }
        })
    }
}
