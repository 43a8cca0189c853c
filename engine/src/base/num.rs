//! Numbers as text: Redis's strict grammars for reading, C's and Valkey's layouts for writing.
//!
//! Reading integers: valkey src/util.c, `string2ll`. Reading doubles: `string2d`, which is the whole
//! string as C99 `strtod` takes it, less leading space, NaN, overflow and underflow to zero.
//! Hexadecimal subnormals are rounded to nearest, as C99 asks; glibc 2.36 is one off on some.
//! Writing doubles: `%.17g` (Redis up to 7.0) and `%.9g` as C prints them, and the short form of
//! Valkey's `d2string` with deps/fpconv. What INCRBYFLOAT adds with is in [`super::long_double`].

mod decimal;
mod grisu;

pub use decimal::{Near, parse_near};

/// The longest text [`push_i64`] and [`push_u64`] write.
pub const MAX_INT_CHARS: usize = 20;

/// The longest text any `push_f64_*` writes: sign, 17 digits, point, `e-308` and room to spare.
pub const MAX_F64_CHARS: usize = 32;

/// Reads a decimal integer, the whole of `s`.
///
/// No space, no `+`, no leading zero but in `"0"` itself, no `-0`: exactly the strings that
/// [`push_i64`] writes, so text and number can stand for one another without loss.
#[inline]
#[must_use]
pub fn parse_i64(s: &[u8]) -> Option<i64> {
    match s {
        // Most strings that are not numbers are told by their first byte.
        [b'1'..=b'9', ..] => i64::try_from(digits_u64(s)?).ok(),
        [b'-', rest @ ..] => {
            if !matches!(rest, [b'1'..=b'9', ..]) {
                return None;
            }
            let magnitude = digits_u64(rest)?;
            (magnitude <= i64::MIN.unsigned_abs()).then(|| (magnitude as i64).wrapping_neg())
        }
        [b'0'] => Some(0),
        _ => None,
    }
}

/// Reads an unsigned decimal integer, as strictly as [`parse_i64`].
#[inline]
#[must_use]
pub fn parse_u64(s: &[u8]) -> Option<u64> {
    match s {
        [b'1'..=b'9', ..] => digits_u64(s),
        [b'0'] => Some(0),
        _ => None,
    }
}

/// Digits only; `None` on anything else and past 2^64.
#[inline]
fn digits_u64(s: &[u8]) -> Option<u64> {
    // Nineteen digits always fit, so the common case needs no overflow checks.
    const SAFE_DIGITS: usize = 19;
    if s.len() > MAX_INT_CHARS {
        return None;
    }
    let (safe, last) = s.split_at(s.len().min(SAFE_DIGITS));
    let mut value = 0u64;
    for &b in safe {
        let digit = b.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
    }
    for &b in last {
        let digit = b.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(value)
}

/// Reads a double as [`parse_f64`] does, or a hexadecimal one, which C's `strtold` takes: that is what
/// reads the times of blocking commands.
#[must_use]
pub fn parse_f64_or_hex(s: &[u8]) -> Option<f64> {
    let unsigned = match s {
        [b'+' | b'-', rest @ ..] => rest,
        _ => s,
    };
    let [b'0', b'x' | b'X', hex @ ..] = unsigned else { return parse_f64(s) };
    let magnitude = assemble_f64(Hex::parse(hex)?)?;
    Some(if s[0] == b'-' { -magnitude } else { magnitude })
}

/// Reads a double, the whole of `s`: decimal, `inf` and `infinity` in any case. Hexadecimal ones are
/// none, as in Valkey 9.
///
/// `None` for an empty string, leading space, NaN, a number too large for a double, and one that
/// is not zero but rounds to zero.
#[must_use]
#[inline]
pub fn parse_f64(s: &[u8]) -> Option<f64> {
    decimal::parse_short(s).or_else(|| parse_any_f64(s))
}

fn parse_any_f64(s: &[u8]) -> Option<f64> {
    let unsigned = match s {
        [b'+' | b'-', rest @ ..] => rest,
        _ => s,
    };
    match unsigned {
        [b'0'..=b'9' | b'.', ..] => {
            // From here on Rust's grammar and strtod's are the same.
            let value: f64 = std::str::from_utf8(s).ok()?.parse().ok()?;
            let underflow = || {
                let mantissa = unsigned.iter().take_while(|b| !matches!(b, b'e' | b'E'));
                value == 0.0 && mantissa.into_iter().any(|b| matches!(b, b'1'..=b'9'))
            };
            (value.is_finite() && !underflow()).then_some(value)
        }
        _ if unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity") => {
            Some(if s[0] == b'-' { f64::NEG_INFINITY } else { f64::INFINITY })
        }
        _ => None,
    }
}

/// A hexadecimal float: `mantissa * 2^exponent`, and a little more when `sticky`.
pub(super) struct Hex {
    pub(super) mantissa: u128,
    pub(super) exponent: i64,
    pub(super) sticky: bool,
}

impl Hex {
    /// Reads what is behind `0x`: digits, a point among them, `p` and an exponent.
    pub(super) fn parse(s: &[u8]) -> Option<Self> {
        let mut hex = Self { mantissa: 0, exponent: 0, sticky: false };
        let mut has_digits = false;
        let mut after_point = false;
        let mut rest = s;
        while let [b, tail @ ..] = rest {
            if *b == b'.' && !after_point {
                after_point = true;
            } else if let Some(digit) = char::from(*b).to_digit(16) {
                has_digits = true;
                if hex.mantissa >> 124 == 0 {
                    hex.mantissa = hex.mantissa << 4 | u128::from(digit);
                    hex.exponent -= if after_point { 4 } else { 0 };
                } else {
                    hex.sticky |= digit != 0;
                    hex.exponent += if after_point { 0 } else { 4 };
                }
            } else {
                break;
            }
            rest = tail;
        }
        if !has_digits {
            return None;
        }
        match rest {
            [] => {}
            [b'p' | b'P', power @ ..] => hex.exponent += parse_power(power)?,
            _ => return None,
        }
        Some(hex)
    }

    /// The same with the mantissa's top bit set; `None` when it is 0.
    pub(super) fn normalized(mut self) -> Option<Self> {
        if self.mantissa == 0 {
            return None;
        }
        let shift = self.mantissa.leading_zeros();
        self.mantissa <<= shift;
        self.exponent -= i64::from(shift);
        Some(self)
    }
}

/// An exponent with an optional sign, held at the ends of a range no double reaches.
pub(super) fn parse_power(s: &[u8]) -> Option<i64> {
    const FAR: i64 = 1 << 40;
    let (negative, digits) = match s {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, s),
    };
    if digits.is_empty() {
        return None;
    }
    let mut power = 0i64;
    for b in digits {
        if !b.is_ascii_digit() {
            return None;
        }
        power = (power * 10 + i64::from(b - b'0')).min(FAR);
    }
    Some(if negative { -power } else { power })
}

/// The double nearest to `hex`, ties to even; `None` when that overflows, or is zero while the
/// number is not.
fn assemble_f64(hex: Hex) -> Option<f64> {
    const MANTISSA_BITS: i64 = 53;
    const MIN_EXPONENT: i64 = -1074;
    const MAX_TOP: i64 = 1023;
    let Some(Hex { mantissa, exponent, sticky }) = hex.normalized() else { return Some(0.0) };
    // Bits below the last one that the result keeps; more of them for subnormals.
    let drop = (128 - MANTISSA_BITS).max(MIN_EXPONENT.saturating_sub(exponent));
    if drop > 128 {
        return None;
    }
    let kept = if drop == 128 { 0 } else { (mantissa >> drop) as u64 };
    let half = 1u128 << (drop - 1);
    let below = mantissa & (half - 1) != 0 || sticky;
    let round_up = mantissa & half != 0 && (below || kept & 1 == 1);
    // A carry into a new top bit makes the exponent field grow by itself.
    let rounded = kept + u64::from(round_up);
    if rounded == 0 {
        return None;
    }
    let bits = if rounded >> (MANTISSA_BITS - 1) == 0 {
        rounded
    } else {
        let top = exponent + drop + MANTISSA_BITS - 1;
        if top > MAX_TOP {
            return None;
        }
        (((top + 1022) as u64) << (MANTISSA_BITS - 1)) + rounded
    };
    let value = f64::from_bits(bits);
    value.is_finite().then_some(value)
}

/// Appends `v` in decimal.
#[inline]
pub fn push_i64(out: &mut Vec<u8>, v: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(v).as_bytes());
}

/// Appends `v` in decimal.
#[inline]
pub fn push_u64(out: &mut Vec<u8>, v: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(v).as_bytes());
}

/// The decimal text of a number below [`SHORT_LIMIT`], at the front of eight bytes, and its length; the
/// bytes behind it mean nothing. Without a branch, as most numbers in replies are of no certain length.
#[inline]
#[must_use]
pub fn short_digits(v: u32) -> ([u8; 8], usize) {
    debug_assert!(u64::from(v) < SHORT_LIMIT);
    /// A digit of zero in each byte.
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    // Two numbers of four digits side by side, then four of two, then eight of one: the quotients by 100
    // and by 10 are products with the inverse, exact for as many digits.
    let fours = u64::from(v / 10_000) | u64::from(v % 10_000) << 32;
    let hundreds = fours.wrapping_mul(10_486) >> 20 & 0x0000_007f_0000_007f;
    let twos = fours.wrapping_sub(hundreds.wrapping_mul(100)) << 16 | hundreds;
    let tens = twos.wrapping_mul(103) >> 10 & 0x000f_000f_000f_000f;
    let ones = twos.wrapping_sub(tens.wrapping_mul(10)) << 8 | tens;
    // The first digit is in the lowest byte; the last one stays though it be zero.
    let leading = (ones | 1 << 56).trailing_zeros() & !7;
    (((ones | ZEROS) >> leading).to_le_bytes(), 8 - leading as usize / 8)
}

/// Numbers from here on are too long for [`short_digits`].
pub const SHORT_LIMIT: u64 = 100_000_000;

/// How many bytes [`push_i64`] writes for `v`.
#[inline]
#[must_use]
pub fn i64_chars(v: i64) -> usize {
    usize::from(v < 0) + u64_chars(v.unsigned_abs())
}

/// How many bytes [`push_u64`] writes for `v`.
#[inline]
#[must_use]
pub fn u64_chars(v: u64) -> usize {
    v.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Appends `v` as C's `%.17g` prints it: 17 significant digits, trailing zeros cut.
pub fn push_f64_17g(out: &mut Vec<u8>, v: f64) {
    push_general(out, v, 17);
}

/// Appends `v` as C's `%.9g` prints it.
pub fn push_f64_9g(out: &mut Vec<u8>, v: f64) {
    push_general(out, v, 9);
}

/// Appends `v` as C's `%.14g` prints it, which is how Lua prints numbers.
pub fn push_f64_14g(out: &mut Vec<u8>, v: f64) {
    push_general(out, v, 14);
}

/// Appends `v` as C's `%.{precision}g` prints it; `precision` is taken as 1 or 17 if it is beyond those.
pub fn push_f64_g(out: &mut Vec<u8>, v: f64, precision: usize) {
    push_general(out, v, precision.clamp(1, 17));
}

/// Appends `v` as C's `%.{precision}g` prints it, `precision` from 1 to 17.
fn push_general(out: &mut Vec<u8>, v: f64, precision: usize) {
    if push_special(out, v) {
        return;
    }
    if v.is_sign_negative() {
        out.push(b'-');
    }
    if v == 0.0 {
        out.push(b'0');
        return;
    }
    let (digits, point) = exact_digits(v.abs(), precision);
    let exponent = point - 1;
    if exponent < -4 || exponent >= precision as i32 {
        push_scientific(out, digits.as_slice(), exponent, 2);
    } else {
        push_plain(out, digits.as_slice(), point);
    }
}

/// Appends `nan`, `-nan`, `inf` or `-inf` when `v` is one of them, as glibc's printf does.
fn push_special(out: &mut Vec<u8>, v: f64) -> bool {
    if v.is_finite() {
        return false;
    }
    if v.is_sign_negative() {
        out.push(b'-');
    }
    out.extend_from_slice(if v.is_nan() { b"nan" } else { b"inf" });
    true
}

/// Appends `v` as Valkey and Redis since 7.2 print doubles: as few digits as read back as `v`,
/// integers below 2^62 without exponent.
///
/// `3`, `3.5`, `0.001`, `1e-7`, `1.5e+23`, `inf`, `-inf`, `nan`, `-0`. Byte for byte what Valkey
/// writes, its rare digit too many included.
pub fn push_f64_shortest(out: &mut Vec<u8>, v: f64) {
    // Valkey asks C whether the value lies within half the range of a long long.
    const INTEGER_LIMIT: f64 = (1u64 << 62) as f64;
    // fpconv writes zeros out while they are fewer than these many.
    const MAX_PADDING: i32 = 7;
    if v.is_nan() {
        out.extend_from_slice(b"nan");
        return;
    }
    if push_special(out, v) {
        return;
    }
    if v == 0.0 {
        out.extend_from_slice(if v.is_sign_negative() { b"-0" } else { b"0" });
        return;
    }
    if v.abs() <= INTEGER_LIMIT && v.trunc() == v {
        push_i64(out, v as i64);
        return;
    }
    if v < 0.0 {
        out.push(b'-');
    }
    let (digits, point) = grisu::digits(v.abs());
    let digits = digits.as_slice();
    let count = digits.len() as i32;
    // value = digits * 10^power, digits taken as an integer.
    let power = point - count;
    let exponent = point - 1;
    let is_plain = if power >= 0 {
        exponent.abs() < count + MAX_PADDING
    } else {
        power > -MAX_PADDING || exponent.abs() < 4
    };
    if is_plain {
        push_plain(out, digits, point);
    } else {
        push_scientific(out, digits, exponent, 1);
    }
}

/// Decimal digits, at most 17 that matter, the first of them not zero.
struct Digits {
    bytes: [u8; 18],
    len: usize,
}

impl Digits {
    const fn new() -> Self {
        Self { bytes: [0; 18], len: 0 }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Reads `d.ddde-7`, `0.00ddd` or `ddd.0`; answers the digits and where the point stands,
    /// counted from the first of them: 0.5 is (5, 0), 50 is (5, 2).
    fn from_text(text: &[u8]) -> (Self, i32) {
        let (mantissa, exponent) = match text.iter().position(|&b| b == b'e') {
            Some(e) => {
                let (negative, digits) = match &text[e + 1..] {
                    [b'-', rest @ ..] => (true, rest),
                    [b'+', rest @ ..] => (false, rest),
                    rest => (false, rest),
                };
                let value = digits.iter().fold(0i32, |v, b| v * 10 + i32::from(b - b'0'));
                (&text[..e], if negative { -value } else { value })
            }
            None => (text, 0),
        };
        let mut digits = Self::new();
        let mut point = 0;
        let mut after_point = false;
        for &b in mantissa {
            if b == b'.' {
                after_point = true;
                continue;
            }
            if digits.len == 0 && b == b'0' {
                point -= i32::from(after_point);
                continue;
            }
            point += i32::from(!after_point);
            if digits.len < digits.bytes.len() {
                digits.bytes[digits.len] = b;
                digits.len += 1;
            }
        }
        while digits.len > 1 && digits.bytes[digits.len - 1] == b'0' {
            digits.len -= 1;
        }
        (digits, point + exponent)
    }
}

/// `precision` significant digits of `v`, exactly rounded, ties to even.
fn exact_digits(v: f64, precision: usize) -> (Digits, i32) {
    use std::io::Write as _;
    let mut text = [0u8; MAX_F64_CHARS];
    let mut rest = &mut text[..];
    write!(rest, "{:.*e}", precision - 1, v).expect("17 digits and an exponent fit");
    let left = rest.len();
    Digits::from_text(&text[..MAX_F64_CHARS - left])
}

/// Digits with the point at `point`, zeros filled in where they are missing.
fn push_plain(out: &mut Vec<u8>, digits: &[u8], point: i32) {
    if point <= 0 {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + point.unsigned_abs() as usize, b'0');
        out.extend_from_slice(digits);
        return;
    }
    let point = point as usize;
    if point >= digits.len() {
        out.extend_from_slice(digits);
        out.resize(out.len() + point - digits.len(), b'0');
    } else {
        out.extend_from_slice(&digits[..point]);
        out.push(b'.');
        out.extend_from_slice(&digits[point..]);
    }
}

/// `d.ddde+XX`, the exponent with `min_exponent_digits` at least.
fn push_scientific(out: &mut Vec<u8>, digits: &[u8], exponent: i32, min_exponent_digits: usize) {
    out.push(digits[0]);
    if digits.len() > 1 {
        out.push(b'.');
        out.extend_from_slice(&digits[1..]);
    }
    out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
    let exponent = u64::from(exponent.unsigned_abs());
    if min_exponent_digits == 2 && exponent < 10 {
        out.push(b'0');
    }
    push_u64(out, exponent);
}

#[cfg(test)]
mod tests;
