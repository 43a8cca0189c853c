//! Decimal doubles that can be read exactly with one multiplication or division.
//!
//! A number of up to 2^53 and a power of ten of up to 10^22 are both doubles without error, so their
//! product or quotient is rounded once, which is what reading must do (Clinger 1990). That is every
//! integer and every short decimal that people use as a score; the rest is left to the standard library.
//! With more digits the same gives a number that is near: enough to see that it is one, and mostly enough
//! to compare it.

/// 10^22 is the last power of ten that is a double.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// Up to here every integer is a double.
const MAX_EXACT: u64 = 1 << 53;

/// Digits that cannot overflow 64 bits.
const MAX_DIGITS: usize = 19;

/// A text in scientific notation has at most so many digits in its exponent, or is left to others.
const MAX_EXPONENT_DIGITS: usize = 2;

/// A double that a text stands for, or one near it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Near {
    /// The double, or one that differs from it by less than [`Near::ERROR`] of itself.
    pub value: f64,
    /// Whether it is the double itself.
    pub is_exact: bool,
}

impl Near {
    /// More than what two roundings, of the digits and of their product with a power of ten, can do.
    pub const ERROR: f64 = 1.0 / (1u64 << 51) as f64;

    /// How the doubles of two texts compare; `None` if both are too near each other to be told from this.
    #[inline]
    #[must_use]
    pub fn order(self, other: Near) -> Option<std::cmp::Ordering> {
        let (a, b) = (self.value, other.value);
        let is_clear = (self.is_exact && other.is_exact) || (a - b).abs() > (a.abs() + b.abs()) * Self::ERROR;
        if is_clear { a.partial_cmp(&b) } else { None }
    }
}

/// Reads what `parse_near` reads, if that gives the double itself.
#[inline]
pub(super) fn parse_short(s: &[u8]) -> Option<f64> {
    parse_near(s).filter(|near| near.is_exact).map(|near| near.value)
}

/// Reads `digits`, `digits.digits`, `.digits`, with a sign or not, and an exponent of up to two digits behind
/// them or not; `None` for all else, which may still be a number. What is read is finite, and zero only if all
/// its digits are.
#[inline]
pub fn parse_near(s: &[u8]) -> Option<Near> {
    let (is_negative, unsigned) = match s {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, s),
    };
    let mut mantissa = 0u64;
    let mut rest = take_digits(unsigned, &mut mantissa);
    let mut digits = unsigned.len() - rest.len();
    let mut places = 0;
    if let [b'.', fraction @ ..] = rest {
        rest = take_digits(fraction, &mut mantissa);
        places = fraction.len() - rest.len();
        digits += places;
    }
    // More may have overflowed.
    if digits == 0 || digits > MAX_DIGITS {
        return None;
    }
    let exponent = match rest {
        [] => 0,
        [b'e' | b'E', exponent @ ..] => parse_exponent(exponent)?,
        _ => return None,
    };
    let power = exponent - places as i32;
    let by = *POWERS.get(power.unsigned_abs() as usize)?;
    let value = if power < 0 { mantissa as f64 / by } else { mantissa as f64 * by };
    let value = if is_negative { -value } else { value };
    Some(Near { value, is_exact: mantissa <= MAX_EXACT })
}

/// Reads the digits that `s` starts with into `number`, which wraps if there are too many; answers the rest.
#[inline(always)]
fn take_digits<'a>(mut s: &'a [u8], number: &mut u64) -> &'a [u8] {
    while let Some((eight, rest)) = s.split_first_chunk::<8>()
        && let Some(value) = eight_digits(u64::from_le_bytes(*eight))
    {
        *number = number.wrapping_mul(100_000_000).wrapping_add(value);
        s = rest;
    }
    while let [byte @ b'0'..=b'9', rest @ ..] = s {
        *number = number.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
        s = rest;
    }
    s
}

/// The number that eight digits make, the first of them in the lowest byte; `None` if one is no digit.
#[inline(always)]
fn eight_digits(text: u64) -> Option<u64> {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let values = text ^ (EACH * b'0' as u64);
    // A byte above 9 carries into its top half when 6 is added, or has it set already. No byte that is a digit
    // carries into the next one; one that is none may, and is told by its own half all the same.
    if (values.wrapping_add(EACH * 6) | values) & (EACH * 0xf0) != 0 {
        return None;
    }
    // Neighbours are joined: to numbers of two digits, of four, of eight.
    let pairs = (values.wrapping_mul(10) + (values >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100) + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours.wrapping_mul(10_000) + (fours >> 32)) & 0xffff_ffff)
}

/// Reads the digits behind an `e`, with a sign or not.
#[inline(always)]
fn parse_exponent(s: &[u8]) -> Option<i32> {
    let (is_negative, digits) = match s {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, s),
    };
    if digits.is_empty() || digits.len() > MAX_EXPONENT_DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |number, digit| number * 10 + i32::from(digit - b'0'));
    Some(if is_negative { -number } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn agrees(text: &str) {
        if let Some(value) = parse_short(text.as_bytes()) {
            let oracle: f64 = text.parse().expect("whatever is read here is a number");
            assert_eq!(value.to_bits(), oracle.to_bits(), "{text}");
        }
    }

    #[test]
    fn what_is_short_is_read() {
        for (text, want) in [
            ("0", 0.0f64),
            ("-0", -0.0),
            ("+7", 7.0),
            ("000000123456", 123_456.0),
            ("9007199254740992", 9_007_199_254_740_992.0),
            ("0.1", 0.1),
            (".5", 0.5),
            ("5.", 5.0),
            ("-17.25", -17.25),
            ("0.0000000000000001", 1e-16),
            ("1e5", 1e5),
            ("6.567592172369784e+4", 65_675.921_723_697_84),
            ("-25E-1", -2.5),
            ("123456789.012345", 123_456_789.012_345),
        ] {
            assert_eq!(parse_short(text.as_bytes()).map(f64::to_bits), Some(want.to_bits()), "{text}");
        }
        for text in [
            "",
            "-",
            ".",
            "-.",
            "1e",
            "1e+",
            "1e5 ",
            "1e99",
            "1e005",
            "e5",
            ".e5",
            "1.2.3",
            "1234567/",
            "12345678:",
            "1234567\u{e9}",
            "9007199254740993",
            "inf",
            " 1",
            "1 ",
            "0x1",
            "12345678901234567890123",
        ] {
            assert_eq!(parse_short(text.as_bytes()), None, "{text}");
        }
    }

    fn is_near(text: &str) {
        if let Some(near) = parse_near(text.as_bytes()) {
            let oracle: f64 = text.parse().expect("whatever is read here is a number");
            assert!(oracle.is_finite() && (oracle == 0.0) == (near.value == 0.0), "{text}");
            assert!((near.value - oracle).abs() <= oracle.abs() * Near::ERROR, "{text}");
            assert!(!near.is_exact || near.value.to_bits() == oracle.to_bits(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn digits_agree_with_the_standard_library(text in "[+-]?[0-9]{0,20}(\\.[0-9]{0,20})?") {
            agrees(&text);
        }

        #[test]
        fn shortest_texts_agree_with_the_standard_library(bits in any::<u64>(), short in -1e6..1e6f64) {
            agrees(&format!("{}", f64::from_bits(bits)));
            agrees(&format!("{short}"));
            agrees(&format!("{short:.3}"));
            for text in [format!("{:e}", f64::from_bits(bits)), format!("{short:e}"), format!("{short:.16e}")] {
                agrees(&text);
                is_near(&text);
            }
        }

        #[test]
        fn what_is_read_is_near(text in "[+-]?[0-9]{0,19}(\\.[0-9]{0,19})?([eE][+-]?[0-9]{1,2})?") {
            agrees(&text);
            is_near(&text);
        }

        #[test]
        fn eight_digits_are_what_they_say(bytes: [u8; 8], digits in "[0-9]{8}") {
            let read = |text: [u8; 8]| eight_digits(u64::from_le_bytes(text));
            let plain = |text: [u8; 8]| {
                text.iter().try_fold(0, |number, byte| {
                    byte.is_ascii_digit().then(|| number * 10 + u64::from(byte - b'0'))
                })
            };
            prop_assert_eq!(read(bytes), plain(bytes));
            let mut text: [u8; 8] = digits.as_bytes().try_into().expect("eight digits");
            prop_assert_eq!(read(text), plain(text));
            for at in 0..8 {
                for byte in [b'/', b':', b'.', 0, 0x80, 0xff] {
                    let digit = std::mem::replace(&mut text[at], byte);
                    prop_assert_eq!(read(text), None);
                    text[at] = digit;
                }
            }
        }

        #[test]
        fn the_order_is_that_of_the_doubles(a in -1e6..1e6f64, steps in -40i64..40) {
            let b = f64::from_bits((a.to_bits() as i64 + steps) as u64);
            for text in [|x: f64| format!("{x}"), |x: f64| format!("{x:e}"), |x: f64| format!("{x:.16e}")] {
                let near = |x: f64| parse_near(text(x).as_bytes());
                if let (Some(near_a), Some(near_b)) = (near(a), near(b)) {
                    let order = near_a.order(near_b);
                    prop_assert!(order.is_none() || order == a.partial_cmp(&b), "{a} {b}");
                }
            }
        }
    }
}
