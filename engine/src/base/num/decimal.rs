//! Decimal doubles that can be read exactly with one multiplication or division.
//!
//! A number of up to 2^53 and a power of ten of up to 10^22 are both doubles without error, so their
//! product or quotient is rounded once, which is what reading must do (Clinger 1990). That is every
//! integer and every short decimal that people use as a score; the rest is left to the standard library.

/// 10^22 is the last power of ten that is a double.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// Up to here every integer is a double.
const MAX_EXACT: u64 = 1 << 53;

/// Digits that cannot overflow 64 bits.
const MAX_DIGITS: usize = 19;

/// Reads `digits`, `digits.digits`, `.digits`, with a sign or not; `None` for all else, which may still
/// be a number.
#[inline]
pub(super) fn parse_short(s: &[u8]) -> Option<f64> {
    let (is_negative, unsigned) = match s {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, s),
    };
    if unsigned.len() > MAX_DIGITS + 1 {
        return None;
    }
    let mut mantissa = 0u64;
    let mut places = None;
    let mut digits = 0;
    for &b in unsigned {
        let digit = b.wrapping_sub(b'0');
        if digit <= 9 {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
            digits += 1;
        } else if b == b'.' && places.is_none() {
            places = Some(digits);
        } else {
            return None;
        }
    }
    if digits == 0 || digits > MAX_DIGITS || mantissa > MAX_EXACT {
        return None;
    }
    let places = places.map_or(0, |before| digits - before);
    let value = mantissa as f64 / POWERS.get(places)?;
    Some(if is_negative { -value } else { value })
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
        ] {
            assert_eq!(parse_short(text.as_bytes()).map(f64::to_bits), Some(want.to_bits()), "{text}");
        }
        for text in [
            "",
            "-",
            ".",
            "-.",
            "1e5",
            "1.2.3",
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
        }
    }
}
