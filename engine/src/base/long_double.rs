//! The x87 long double, as far as INCRBYFLOAT and HINCRBYFLOAT need it: read, add, print.
//!
//! 64 bits of mantissa, exponents to 2^16383, round to nearest, ties to even, in integers only, so
//! every host answers what Redis answers on x86-64. Text is valkey src/util.c, `string2ld` and
//! `ld2string` in its human form: `%.17Lf`, trailing zeros cut. What is left out cannot be seen in
//! 17 places: numbers below 2^-16382 keep all 64 bits instead of losing some.

use std::cmp::Ordering;

use super::num::{self, Hex};

/// Texts of this length and more are refused.
pub const MAX_CHARS: usize = 5 * 1024;

/// Places that are printed behind the point.
const PLACES: u32 = 17;
/// The binary exponent of the largest numbers.
const MAX_TOP: i64 = 16_383;
/// Numbers whose top bit is below this round to zero.
const MIN_TOP: i64 = -16_446;

/// A number; never a NaN unless `plus` made it of two infinities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongDouble {
    negative: bool,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Zero,
    /// `mantissa * 2^exponent`, the top bit of the mantissa set.
    Finite {
        mantissa: u64,
        exponent: i64,
    },
    Infinite,
    NotANumber,
}

impl LongDouble {
    /// Zero.
    pub const ZERO: Self = Self { negative: false, form: Form::Zero };

    /// Reads the whole of `s`, by the grammar of [`num::parse_f64`] with the range of a long double.
    ///
    /// `None` for what is no number, is a NaN, is [`MAX_CHARS`] long or longer, or is too large or
    /// too close to zero. O(n^2) in the digits and the exponent, both of which are bounded.
    #[must_use]
    pub fn parse(s: &[u8]) -> Option<Self> {
        if s.len() >= MAX_CHARS {
            return None;
        }
        let (negative, unsigned) = match s {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, s),
        };
        let form = match unsigned {
            [b'0', b'x' | b'X', hex @ ..] => match Hex::parse(hex)?.normalized() {
                None => Form::Zero,
                Some(hex) => in_range(round(hex.mantissa, hex.exponent, hex.sticky))?,
            },
            [b'0'..=b'9' | b'.', ..] => parse_decimal(unsigned)?,
            _ if unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity") => {
                Form::Infinite
            }
            _ => return None,
        };
        Some(Self { negative, form })
    }

    /// The largest finite number.
    pub const MAX: Self =
        Self { negative: false, form: Form::Finite { mantissa: u64::MAX, exponent: MAX_TOP - 63 } };

    /// The least finite number.
    pub const MIN: Self = Self { negative: true, ..Self::MAX };

    /// The number with the other sign.
    #[must_use]
    pub const fn negated(self) -> Self {
        Self { negative: !self.negative, form: self.form }
    }

    /// How it compares with another; both zeros are equal, and a NaN is beyond infinity.
    #[must_use]
    pub fn total_cmp(self, other: Self) -> Ordering {
        let magnitude = |form| match form {
            Form::Zero => (0, 0, 0),
            Form::Finite { mantissa, exponent } => (1, exponent, mantissa),
            Form::Infinite => (2, 0, 0),
            Form::NotANumber => (3, 0, 0),
        };
        let (a, b) = (magnitude(self.form), magnitude(other.form));
        match (self.negative && self.form != Form::Zero, other.negative && other.form != Form::Zero) {
            (false, false) => a.cmp(&b),
            (true, true) => b.cmp(&a),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }

    /// Whether it is neither infinite nor a NaN.
    #[must_use]
    pub const fn is_finite(self) -> bool {
        matches!(self.form, Form::Zero | Form::Finite { .. })
    }

    /// The sum, rounded once.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        match (self.form, other.form) {
            (Form::NotANumber, _) | (_, Form::NotANumber) => Self { negative: false, form: Form::NotANumber },
            (Form::Infinite, Form::Infinite) if self.negative != other.negative => {
                Self { negative: false, form: Form::NotANumber }
            }
            (Form::Zero, Form::Zero) => Self { negative: self.negative && other.negative, form: Form::Zero },
            (Form::Infinite, _) | (_, Form::Zero) => self,
            (_, Form::Infinite) | (Form::Zero, _) => other,
            (Form::Finite { mantissa: a, exponent: x }, Form::Finite { mantissa: b, exponent: y }) => {
                if (x, a) >= (y, b) {
                    add_smaller(self.negative, a, x, self.negative != other.negative, b, y)
                } else {
                    add_smaller(other.negative, b, y, self.negative != other.negative, a, x)
                }
            }
        }
    }

    /// Appends the text: 17 places behind the point, then no trailing zeros, no point if nothing is
    /// behind it, and no minus before a plain zero.
    pub fn push_to(self, out: &mut Vec<u8>) {
        let (mantissa, exponent) = match self.form {
            Form::Zero => return out.push(b'0'),
            Form::Infinite => return out.extend_from_slice(if self.negative { b"-inf" } else { b"inf" }),
            Form::NotANumber => return out.extend_from_slice(b"nan"),
            Form::Finite { mantissa, exponent } => (mantissa, exponent),
        };
        let start = out.len();
        if self.negative {
            out.push(b'-');
        }
        if exponent >= 0 {
            Big::from_u64(mantissa).shifted(exponent as usize).push_decimal(out);
        } else {
            push_fixed(out, mantissa, exponent.unsigned_abs());
        }
        if &out[start..] == b"-0" {
            out.remove(start);
        }
    }
}

/// Adds `a` and `b` as INCRBYFLOAT does and answers the text of the sum.
///
/// `None` when one of them is no number or the sum is not finite; callers that must tell these
/// apart use [`LongDouble`]. `3.0` and `1.1` make `4.1`, `5.0e3` and `200` make `5200`.
#[must_use]
pub fn add_long_double(a: &[u8], b: &[u8]) -> Option<Vec<u8>> {
    let sum = LongDouble::parse(a)?.plus(LongDouble::parse(b)?);
    if !sum.is_finite() {
        return None;
    }
    let mut out = Vec::new();
    sum.push_to(&mut out);
    Some(out)
}

/// `|a| >= |b|`; the sign is a's, and `opposite` says that b's is the other one.
fn add_smaller(negative: bool, a: u64, x: i64, opposite: bool, b: u64, y: i64) -> LongDouble {
    // Room below for what b has further down, and one bit above for the carry.
    const GUARD: i64 = 62;
    let distance = x - y;
    let large = u128::from(a) << GUARD;
    let whole = u128::from(b) << GUARD;
    let (small, sticky) = match distance {
        0..128 => (whole >> distance, whole & ((1u128 << distance) - 1) != 0),
        _ => (0, true),
    };
    let sum = if opposite { large - small - u128::from(sticky) } else { large + small };
    if sum == 0 {
        return LongDouble::ZERO;
    }
    let shift = sum.leading_zeros();
    let form = match round(sum << shift, x - GUARD - i64::from(shift), sticky) {
        (_, exponent) if exponent + 63 > MAX_TOP => Form::Infinite,
        (mantissa, exponent) => Form::Finite { mantissa, exponent },
    };
    LongDouble { negative, form }
}

/// Rounds `mantissa * 2^exponent`, whose top bit is set, to 64 bits; `sticky` says that there is a
/// little more.
fn round(mantissa: u128, exponent: i64, sticky: bool) -> (u64, i64) {
    const HALF: u64 = 1 << 63;
    let kept = (mantissa >> 64) as u64;
    let rest = mantissa as u64;
    let up = rest > HALF || (rest == HALF && (sticky || kept & 1 == 1));
    match kept.checked_add(u64::from(up)) {
        Some(kept) => (kept, exponent + 64),
        None => (HALF, exponent + 65),
    }
}

/// `None` where strtold would report a range error with infinity or zero.
fn in_range((mantissa, exponent): (u64, i64)) -> Option<Form> {
    (MIN_TOP..=MAX_TOP).contains(&(exponent + 63)).then_some(Form::Finite { mantissa, exponent })
}

/// Reads `ddd.ddde+dd`, the first byte being a digit or the point.
fn parse_decimal(s: &[u8]) -> Option<Form> {
    let mantissa_len = s.iter().position(|b| matches!(b, b'e' | b'E')).unwrap_or(s.len());
    let power = match &s[mantissa_len..] {
        [_, power @ ..] => num::parse_power(power)?,
        [] => 0,
    };
    let mut digits = Vec::with_capacity(mantissa_len);
    let mut places = 0;
    let mut after_point = false;
    for &b in &s[..mantissa_len] {
        match b {
            b'0'..=b'9' => {
                digits.push(b - b'0');
                places += i64::from(after_point);
            }
            b'.' if !after_point => after_point = true,
            _ => return None,
        }
    }
    if digits.is_empty() {
        return None;
    }
    let power = power - places;
    let Some(first) = digits.iter().position(|&d| d != 0) else { return Some(Form::Zero) };
    let digits = &digits[first..];
    // Far beyond both ends of the range; between them the integers below stay small.
    let magnitude = digits.len() as i64 + power;
    if !(-5_000..=5_000).contains(&magnitude) {
        return None;
    }
    let (top, exponent, sticky) = short_decimal(digits, power).unwrap_or_else(|| long_decimal(digits, power));
    in_range(round(top, exponent, sticky))
}

/// `digits * 10^power` as 128 bits with the top one set, their exponent, and whether there is more;
/// for the numbers that people write. `None` for others.
fn short_decimal(digits: &[u8], power: i64) -> Option<(u128, i64, bool)> {
    /// The largest power of five that fits 63 bits, so that a quotient keeps 65.
    const MAX_POWER: u64 = 27;
    if digits.len() > 19 || power.unsigned_abs() > MAX_POWER {
        return None;
    }
    let number = u128::from(digits.iter().fold(0u64, |v, &d| v * 10 + u64::from(d)));
    let five = 5u128.pow(power.unsigned_abs() as u32);
    let (value, exponent, sticky) = if power >= 0 {
        (number * five, power, false)
    } else {
        let shift = number.leading_zeros();
        let number = number << shift;
        (number / five, power - i64::from(shift), !number.is_multiple_of(five))
    };
    let shift = value.leading_zeros();
    Some((value << shift, exponent - i64::from(shift), sticky))
}

/// The same for numbers of any size.
fn long_decimal(digits: &[u8], power: i64) -> (u128, i64, bool) {
    let number = Big::from_digits(digits);
    let five = power.unsigned_abs() as usize;
    let (top, exponent, sticky) = if power >= 0 {
        number.times_power_of_five(five).top()
    } else {
        // Dividing by 10^n is dividing by 5^n and moving the point.
        number.divided_by(&Big::from_u64(1).times_power_of_five(five))
    };
    (top, exponent + power, sticky)
}

/// `mantissa / 2^down` with [`PLACES`] places, rounded to nearest, ties to even, zeros cut.
fn push_fixed(out: &mut Vec<u8>, mantissa: u64, down: u64) {
    const SCALE: u128 = 10u128.pow(PLACES);
    // 64 bits and 57 bits.
    let scaled = u128::from(mantissa) * SCALE;
    let rounded = match down {
        0..128 => {
            let kept = scaled >> down;
            let rest = scaled & ((1u128 << down) - 1);
            let half = 1u128 << down >> 1;
            kept + u128::from(rest > half || (rest == half && kept & 1 == 1))
        }
        _ => 0,
    };
    num::push_u64(out, (rounded / SCALE) as u64);
    let mut places = rounded % SCALE;
    if places == 0 {
        return;
    }
    let mut width = PLACES as usize;
    while places.is_multiple_of(10) {
        places /= 10;
        width -= 1;
    }
    out.push(b'.');
    let missing = width - num::u64_chars(places as u64);
    out.resize(out.len() + missing, b'0');
    num::push_u64(out, places as u64);
}

/// A natural number of any size: 32-bit limbs, lowest first, the last one not 0.
struct Big(Vec<u32>);

impl Big {
    fn from_u64(v: u64) -> Self {
        let mut big = Self(vec![v as u32, (v >> 32) as u32]);
        big.trim();
        big
    }

    /// The number with the decimal `digits`.
    fn from_digits(digits: &[u8]) -> Self {
        let mut big = Self(Vec::with_capacity(digits.len() / 9 + 1));
        for chunk in digits.chunks(9) {
            let value = chunk.iter().fold(0, |v, &d| v * 10 + u32::from(d));
            big.times_plus(10u32.pow(chunk.len() as u32), value);
        }
        big
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    fn times_plus(&mut self, factor: u32, plus: u32) {
        let mut carry = u64::from(plus);
        for limb in &mut self.0 {
            carry += u64::from(*limb) * u64::from(factor);
            *limb = carry as u32;
            carry >>= 32;
        }
        if carry != 0 {
            self.0.push(carry as u32);
        }
    }

    fn times_power_of_five(mut self, mut power: usize) -> Self {
        /// The largest power of five that fits a limb.
        const STEP: usize = 13;
        while power > 0 {
            let step = power.min(STEP);
            self.times_plus(5u32.pow(step as u32), 0);
            power -= step;
        }
        self
    }

    /// Divides by `divisor`, not 0, in place; answers the remainder.
    fn divide_small(&mut self, divisor: u32) -> u32 {
        let mut rest = 0u64;
        for limb in self.0.iter_mut().rev() {
            let value = rest << 32 | u64::from(*limb);
            *limb = (value / u64::from(divisor)) as u32;
            rest = value % u64::from(divisor);
        }
        self.trim();
        rest as u32
    }

    fn bits(&self) -> usize {
        self.0.last().map_or(0, |top| self.0.len() * 32 - top.leading_zeros() as usize)
    }

    fn shifted(&self, up: usize) -> Self {
        let mut limbs = vec![0; up / 32];
        let mut carry = 0u64;
        for &limb in &self.0 {
            carry |= u64::from(limb) << (up % 32);
            limbs.push(carry as u32);
            carry >>= 32;
        }
        limbs.push(carry as u32);
        let mut big = Self(limbs);
        big.trim();
        big
    }

    /// The 128 top bits, the highest of them set, the power of two they stand at, and whether
    /// anything is below. The number is not 0.
    fn top(&self) -> (u128, i64, bool) {
        let bits = self.bits();
        let mut top = 0u128;
        for i in 1..=5 {
            let limb = self.0.len().checked_sub(i).map_or(0, |at| self.0[at]);
            let place = 128 - 32 * i as i64 + (self.0.len() * 32 - bits) as i64;
            top |= if place >= 0 { u128::from(limb) << place } else { u128::from(limb) >> -place };
        }
        let dropped = bits as i64 - 128;
        let sticky = dropped > 0 && self.has_bits_below(dropped as usize);
        (top, dropped, sticky)
    }

    fn has_bits_below(&self, bits: usize) -> bool {
        let (whole, part) = (bits / 32, bits % 32);
        self.0[..whole].iter().any(|&limb| limb != 0) || self.0[whole] & ((1 << part) - 1) != 0
    }

    /// The quotient to 128 bits, as [`Big::top`] gives a number. Neither is 0.
    fn divided_by(self, divisor: &Self) -> (u128, i64, bool) {
        // Both are brought to the same length, then one bit is gained by every step.
        let (a, b) = (self.bits(), divisor.bits());
        let mut rest = self.shifted(b.saturating_sub(a));
        let divisor = divisor.shifted(a.saturating_sub(b));
        let mut exponent = a as i64 - b as i64;
        if !rest.at_least(&divisor) {
            rest.double();
            exponent -= 1;
        }
        let mut quotient = 0u128;
        for _ in 0..128 {
            quotient <<= 1;
            if rest.at_least(&divisor) {
                rest.subtract(&divisor);
                quotient |= 1;
            }
            rest.double();
        }
        (quotient, exponent - 127, !rest.0.is_empty())
    }

    fn at_least(&self, other: &Self) -> bool {
        let by_length = self.0.len().cmp(&other.0.len());
        by_length.then_with(|| self.0.iter().rev().cmp(other.0.iter().rev())).is_ge()
    }

    fn double(&mut self) {
        self.times_plus(2, 0);
    }

    /// Subtracts `other`, which is not greater.
    fn subtract(&mut self, other: &Self) {
        let mut borrow = false;
        for (i, limb) in self.0.iter_mut().enumerate() {
            let (v, first) = limb.overflowing_sub(other.0.get(i).copied().unwrap_or(0));
            let (v, second) = v.overflowing_sub(u32::from(borrow));
            *limb = v;
            borrow = first || second;
        }
        self.trim();
    }

    fn push_decimal(mut self, out: &mut Vec<u8>) {
        const CHUNK: u32 = 1_000_000_000;
        let mut chunks = Vec::new();
        while !self.0.is_empty() {
            chunks.push(self.divide_small(CHUNK));
        }
        for (i, &chunk) in chunks.iter().rev().enumerate() {
            if i > 0 {
                let missing = 9 - num::u64_chars(chunk.into());
                out.resize(out.len() + missing, b'0');
            }
            num::push_u64(out, chunk.into());
        }
    }
}

#[cfg(test)]
mod tests;
