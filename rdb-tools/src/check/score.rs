//! Scores of packed sorted sets as far as their order needs them.
//!
//! Most scores are texts of up to 17 digits. Parsing them is dear, and most neighbours differ in their first
//! digits: so of a text 15 digits are taken, all at once, and give bounds; only scores whose bounds meet are parsed.

use cairn_engine::base::num;
use cairn_engine::packed::Element;

/// A score, and numbers that it lies between.
#[derive(Debug, Clone, Copy)]
pub(super) struct Score<'a> {
    /// Both are the score itself, or the one is below it and the other above.
    low: f64,
    high: f64,
    stored: Element<'a>,
}

impl<'a> Score<'a> {
    /// `None` for what is no score.
    #[inline]
    pub(super) fn of(stored: Element<'a>) -> Option<Self> {
        let (low, high) = match stored {
            Element::Int(value) => (value as f64, value as f64),
            Element::Bytes(text) => match bounds(text) {
                Some(bounds) => bounds,
                None => {
                    let value = num::parse_f64(text)?;
                    (value, value)
                }
            },
        };
        Some(Self { low, high, stored })
    }

    /// How it compares to another one; `None` if either is no score.
    #[inline]
    pub(super) fn compare(&self, other: &Self) -> Option<std::cmp::Ordering> {
        if self.high < other.low {
            return Some(std::cmp::Ordering::Less);
        }
        self.compare_exactly(other)
    }

    #[inline(never)]
    fn compare_exactly(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.stored.as_f64()?.partial_cmp(&other.stored.as_f64()?)
    }
}

/// Each byte of a word.
const ONES: u64 = 0x0101_0101_0101_0101;
const ZERO_DIGITS: u64 = ONES * b'0' as u64;
const POINTS: u64 = ONES * b'.' as u64;
/// The longest text that is taken apart here.
const LONGEST: usize = 24;

/// Bounds of a number that is written with digits and perhaps a point; `None` for all others, and for those that are too
/// short or too long.
#[inline(always)]
fn bounds(text: &[u8]) -> Option<(f64, f64)> {
    /// What the first digit of sixteen is worth, by the number of digits in front of the point.
    const SCALE: [f64; 16] = [
        1e-16, 1e-15, 1e-14, 1e-13, 1e-12, 1e-11, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1,
    ];
    /// Fifteen of the sixteen digits are known, and numbers of sixteen are rounded.
    const BELOW: i64 = 10;
    const ABOVE: i64 = 20;
    let len = text.len();
    let (first, second, rest) = words(text)?;
    let mut point = first_byte(first, POINTS);
    if point == 8 {
        point += first_byte(second, POINTS);
    }
    let digits = u128::from(first) | u128::from(second) << 64;
    let digits = if point < 16 {
        let whole = digits & ((1 << (8 * point)) - 1);
        // The last byte is shifted out, and a zero comes in.
        whole | (digits >> 8 >> (8 * point) << (8 * point)) | u128::from(b'0') << 120
    } else {
        digits
    };
    let whole_digits = if point < 16 { point } else { len };
    let (head, tail) = (digits as u64, (digits >> 64) as u64);
    let is_plain = are_digits(head) & are_digits(tail) & are_digits(rest);
    // Sixteen digits and no point: all would have to be known. A point is neither first nor last.
    if !is_plain || whole_digits == 0 || whole_digits > 15 || point + 1 == len {
        return None;
    }
    let number = (eight_digits(head) * 100_000_000 + eight_digits(tail)).cast_signed();
    let scale = SCALE[whole_digits];
    Some(((number - BELOW) as f64 * scale, (number + ABOVE) as f64 * scale))
}

/// The text's bytes from the first on, as if zeros followed it.
#[inline(always)]
fn words(text: &[u8]) -> Option<(u64, u64, u64)> {
    let len = text.len();
    let first = text.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let last = text.last_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    // The last `left` bytes of the text, and zeros behind them.
    let end = |last: u64, left: usize| match left {
        0 => ZERO_DIGITS,
        8 => last,
        _ => last >> (64 - 8 * left) | ZERO_DIGITS << (8 * left),
    };
    match (first, last) {
        (Some(first), Some(last)) if len <= 16 => Some((first, end(last, len - 8), ZERO_DIGITS)),
        (Some(first), Some(last)) if len <= LONGEST => {
            let second = u64::from_le_bytes(*text[8..].first_chunk()?);
            Some((first, second, end(last, len - 16)))
        }
        _ => None,
    }
}

/// Index of the first byte that is the one in all bytes of `what`; 8 if there is none.
#[inline(always)]
fn first_byte(word: u64, what: u64) -> usize {
    let differ = word ^ what;
    let zeros = differ.wrapping_sub(ONES) & !differ & (ONES << 7);
    zeros.trailing_zeros() as usize / 8
}

#[inline(always)]
fn are_digits(word: u64) -> bool {
    let high = 0xf0 * ONES;
    let is_below_ten = word.wrapping_add(6 * ONES) & high;
    (word & high) == ZERO_DIGITS && is_below_ten == ZERO_DIGITS
}

/// The number that eight digits are, the first in the lowest byte: by twos, by fours, all.
#[inline(always)]
fn eight_digits(word: u64) -> u64 {
    let word = (word & (0x0f * ONES)).wrapping_mul(10 << 8 | 1) >> 8;
    let word = (word & 0x00ff_00ff_00ff_00ff).wrapping_mul(100 << 16 | 1) >> 16;
    (word & 0x0000_ffff_0000_ffff).wrapping_mul(10_000 << 32 | 1) >> 32
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::{Score, bounds};
    use cairn_engine::base::num;
    use cairn_engine::packed::Element;

    /// The naive twin: parse, then compare.
    #[track_caller]
    fn check(a: &[u8], b: &[u8]) {
        for text in [a, b] {
            let parsed = num::parse_f64(text);
            let score = Score::of(Element::Bytes(text));
            assert_eq!(score.is_some(), parsed.is_some(), "{}", text.escape_ascii());
            if let (Some((low, high)), Some(value)) = (bounds(text), parsed) {
                assert!(low < value && value < high, "{}: {low} {high}", text.escape_ascii());
            }
        }
        let scores = (Score::of(Element::Bytes(a)), Score::of(Element::Bytes(b)));
        if let (Some(first), Some(second)) = scores {
            let expected = num::parse_f64(a).partial_cmp(&num::parse_f64(b));
            assert_eq!(first.compare(&second), expected, "{} {}", a.escape_ascii(), b.escape_ascii());
        }
    }

    #[test]
    fn texts_of_all_kinds() {
        let texts = [
            "0",
            "1",
            "12345678",
            "1234567",
            "12345678.",
            ".12345678",
            "1.2345678",
            "1234567.8",
            "0.00000001",
            "00000000.1",
            "123456789012345",
            "1234567890123456",
            "123456789012345.6",
            "1234567890123456.5",
            "50263.520098049245",
            "50263.520098049246",
            "50263.52009804925",
            "9007199254740993",
            "9999999.99999999",
            "99999999999999.99",
            "99999999999999.98",
            "0.1000000000000000055511151",
            "1e300",
            "-1.50000000",
            "-inf",
            "inf",
            "nan",
            "12345678x",
            "1234567.x",
            "1.2.345678",
            "12345678901234567890.5",
            "",
            "/2345678",
            ":2345678",
            "12345678/",
            "12345678:9",
            "1234567890123456.7:",
            "123456789.12345678901",
            "0000000000000000.1",
        ];
        for a in texts {
            for b in texts {
                check(a.as_bytes(), b.as_bytes());
            }
        }
    }

    #[test]
    fn integers_and_texts() {
        let text = Score::of(Element::Bytes(b"12345678.5")).expect("a score");
        let int = Score::of(Element::Int(12_345_678)).expect("a score");
        assert_eq!(int.compare(&text), Some(Ordering::Less));
        assert_eq!(text.compare(&int), Some(Ordering::Greater));
        assert_eq!(int.compare(&int), Some(Ordering::Equal));
    }

    proptest! {
        #[test]
        fn any_two_numbers(a in "[0-9]{1,12}(\\.[0-9]{1,14})?", digit in 0usize..26, by in 0u8..10) {
            check(a.as_bytes(), a.as_bytes());
            let mut b = a.clone().into_bytes();
            let at = digit % b.len();
            if b[at] != b'.' {
                b[at] = b'0' + by;
            }
            check(a.as_bytes(), &b);
            check(&b, a.as_bytes());
            b[at] = by;
            check(a.as_bytes(), &b);
        }

        #[test]
        fn doubles_as_servers_write_them(a in any::<f64>(), b in 0.0f64..1e12) {
            let mut texts = (Vec::new(), Vec::new());
            num::push_f64_17g(&mut texts.0, a);
            num::push_f64_17g(&mut texts.1, b);
            check(&texts.0, &texts.1);
            let mut next = Vec::new();
            num::push_f64_17g(&mut next, b.next_up());
            check(&texts.1, &next);
            check(&next, &texts.1);
        }
    }
}
