//! Doubles as DEBUG DIGEST of Redis 7.2, Valkey 8.1 and later sees them: Grisu2's digits, which are
//! the shortest ones but for about one double in a thousand, laid out as fpconv does.
//!
//! Only the digest needs this: everything a client sees is printed by `base::num`. Source: Florian
//! Loitsch, "Printing Floating-Point Numbers Quickly and Accurately with Integers" (2010), with the
//! choices that Valkey's digests show: the power nearest to a first guess that brings the exponent
//! into -60..=-32. The powers below are 10^(-348 + 8i), rounded to 64 bits, computed exactly.

/// A number `mantissa * 2^exponent`.
#[derive(Clone, Copy)]
struct Scaled {
    mantissa: u64,
    exponent: i32,
}

impl Scaled {
    fn normalized(self) -> Self {
        let shift = self.mantissa.leading_zeros();
        Self { mantissa: self.mantissa << shift, exponent: self.exponent - shift as i32 }
    }

    /// The product, its lower half rounded away.
    fn times(self, by: Self) -> Self {
        let product = u128::from(self.mantissa) * u128::from(by.mantissa) + (1 << 63);
        Self { mantissa: (product >> 64) as u64, exponent: self.exponent + by.exponent + 64 }
    }
}

const FIRST_POWER: i32 = -348;
const POWER_STEP: i32 = 8;
/// Where the exponent of a product has to be, so that its integer part fits 32 bits.
const EXPONENT_MIN: i32 = -60;
const EXPONENT_MAX: i32 = -32;

/// The digits of a positive finite double, and the power of ten that the last of them counts.
struct Digits {
    bytes: [u8; 18],
    len: usize,
    power: i32,
}

impl Digits {
    fn push(&mut self, digit: u64) {
        if digit != 0 || self.len > 0 {
            self.bytes[self.len] = b'0' + digit as u8;
            self.len += 1;
        }
    }

    /// Brings the last digit down while that comes closer to the number.
    fn round(&mut self, room: u64, mut rest: u64, unit: u64, distance: u64) {
        let closer = |rest: u64| {
            let next = rest.wrapping_add(unit);
            next < distance || distance - rest > next.wrapping_sub(distance)
        };
        while rest < distance && room - rest >= unit && closer(rest) {
            self.bytes[self.len - 1] -= 1;
            rest += unit;
        }
    }
}

/// The power of ten that brings a number of this exponent into reach, and which one it is.
fn power_for(exponent: i32) -> (Scaled, i32) {
    const LOG10_OF_2: f64 = 0.301_029_995_663_981_14;
    let guess = -f64::from(exponent + POWERS.len() as i32) * LOG10_OF_2;
    let mut index = ((guess - f64::from(FIRST_POWER)) / f64::from(POWER_STEP)) as i32;
    loop {
        let power = FIRST_POWER + index * POWER_STEP;
        // log2(10) as a fraction of 2^16, exact enough for these powers.
        let scaled = Scaled { mantissa: POWERS[index as usize], exponent: ((power * 217_706) >> 16) - 63 };
        match exponent + scaled.exponent + 64 {
            ..EXPONENT_MIN => index += 1,
            EXPONENT_MIN..=EXPONENT_MAX => return (scaled, power),
            _ => index -= 1,
        }
    }
}

fn digits(v: f64) -> Digits {
    const FRACTION_BITS: u32 = 52;
    const HIDDEN_BIT: u64 = 1 << FRACTION_BITS;
    const BIAS: i32 = 1023 + 52;
    let bits = v.to_bits();
    let (fraction, biased) = (bits & (HIDDEN_BIT - 1), (bits >> FRACTION_BITS & 0x7ff) as i32);
    let number = match biased {
        0 => Scaled { mantissa: fraction, exponent: 1 - BIAS },
        _ => Scaled { mantissa: fraction | HIDDEN_BIT, exponent: biased - BIAS },
    };
    // Halfway to the neighbours: what lies between reads back as the same double.
    let upper = Scaled { mantissa: number.mantissa * 2 + 1, exponent: number.exponent - 1 }.normalized();
    let closer_below = number.mantissa == HIDDEN_BIT;
    let shift = if closer_below { 2 } else { 1 };
    let lower = Scaled { mantissa: (number.mantissa << shift) - 1, exponent: number.exponent - shift };
    let lower_mantissa = lower.mantissa << (lower.exponent - upper.exponent);
    let (power, power_of_ten) = power_for(upper.exponent);
    let number = number.normalized().times(power);
    let lower = Scaled { mantissa: lower_mantissa, exponent: upper.exponent }.times(power);
    let upper = upper.times(power);
    // One less on each side makes up for the roundings.
    generate(number, lower.mantissa + 1, upper.mantissa - 1, upper.exponent, -power_of_ten)
}

fn generate(number: Scaled, lower: u64, upper: u64, exponent: i32, power: i32) -> Digits {
    let shift = -exponent as u32;
    let one = 1u64 << shift;
    let (mut room, distance) = (upper - lower, upper - number.mantissa);
    let (mut whole, mut part) = (upper >> shift, upper & (one - 1));
    let mut out = Digits { bytes: [0; 18], len: 0, power };
    for place in (0..10).rev() {
        let unit = 10u64.pow(place);
        out.push(whole / unit);
        whole %= unit;
        let rest = (whole << shift) + part;
        if rest <= room {
            out.power += place as i32;
            out.round(room, rest, unit << shift, distance);
            return out;
        }
    }
    let mut scale = 1u64;
    loop {
        part *= 10;
        room = room.wrapping_mul(10);
        scale = scale.wrapping_mul(10);
        out.power -= 1;
        out.push(part >> shift);
        part &= one - 1;
        if part < room {
            out.round(room, part, one, distance.wrapping_mul(scale));
            return out;
        }
    }
}

/// Appends `v` as fpconv prints it.
pub(super) fn push(out: &mut Vec<u8>, v: f64) {
    // Zeros are written out while they are fewer than these many.
    const MAX_PADDING: i32 = 7;
    const MAX_DIGITS: usize = 18;
    if v.is_nan() {
        return out.extend_from_slice(b"nan");
    }
    let is_negative = v.is_sign_negative();
    if is_negative {
        out.push(b'-');
    }
    if v == 0.0 {
        return out.push(b'0');
    }
    if v.is_infinite() {
        return out.extend_from_slice(b"inf");
    }
    let digits = digits(v.abs());
    let (power, count) = (digits.power, digits.len as i32);
    let exponent = power + count - 1;
    let zeros = |out: &mut Vec<u8>, count: i32| out.resize(out.len() + count as usize, b'0');
    let digits = &digits.bytes[..digits.len];
    if power >= 0 && exponent.abs() < count + MAX_PADDING {
        out.extend_from_slice(digits);
        zeros(out, power);
    } else if power < 0 && (power > -MAX_PADDING || exponent.abs() < 4) {
        let point = count + power;
        if point <= 0 {
            out.extend_from_slice(b"0.");
            zeros(out, -point);
            out.extend_from_slice(digits);
        } else {
            out.extend_from_slice(&digits[..point as usize]);
            out.push(b'.');
            out.extend_from_slice(&digits[point as usize..]);
        }
    } else {
        let digits = &digits[..digits.len().min(MAX_DIGITS - usize::from(is_negative))];
        out.push(digits[0]);
        if digits.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        out.extend_from_slice(exponent.abs().to_string().as_bytes());
    }
}

#[rustfmt::skip]
const POWERS: [u64; 87] = [
    0xfa8f_d5a0_081c_0288, 0xbaae_e17f_a23e_bf76, 0x8b16_fb20_3055_ac76, 0xcf42_894a_5dce_35ea,
    0x9a6b_b0aa_5565_3b2d, 0xe61a_cf03_3d1a_45df, 0xab70_fe17_c79a_c6ca, 0xff77_b1fc_bebc_dc4f,
    0xbe56_91ef_416b_d60c, 0x8dd0_1fad_907f_fc3c, 0xd351_5c28_3155_9a83, 0x9d71_ac8f_ada6_c9b5,
    0xea9c_2277_23ee_8bcb, 0xaecc_4991_4078_536d, 0x823c_1279_5db6_ce57, 0xc210_9436_4dfb_5637,
    0x9096_ea6f_3848_984f, 0xd774_85cb_2582_3ac7, 0xa086_cfcd_97bf_97f4, 0xef34_0a98_172a_ace5,
    0xb238_67fb_2a35_b28e, 0x84c8_d4df_d2c6_3f3b, 0xc5dd_4427_1ad3_cdba, 0x936b_9fce_bb25_c996,
    0xdbac_6c24_7d62_a584, 0xa3ab_6658_0d5f_daf6, 0xf3e2_f893_dec3_f126, 0xb5b5_ada8_aaff_80b8,
    0x8762_5f05_6c7c_4a8b, 0xc9bc_ff60_34c1_3053, 0x964e_858c_91ba_2655, 0xdff9_7724_7029_7ebd,
    0xa6df_bd9f_b8e5_b88f, 0xf8a9_5fcf_8874_7d94, 0xb944_7093_8fa8_9bcf, 0x8a08_f0f8_bf0f_156b,
    0xcdb0_2555_6531_31b6, 0x993f_e2c6_d07b_7fac, 0xe45c_10c4_2a2b_3b06, 0xaa24_2499_6973_92d3,
    0xfd87_b5f2_8300_ca0e, 0xbce5_0864_9211_1aeb, 0x8cbc_cc09_6f50_88cc, 0xd1b7_1758_e219_652c,
    0x9c40_0000_0000_0000, 0xe8d4_a510_0000_0000, 0xad78_ebc5_ac62_0000, 0x813f_3978_f894_0984,
    0xc097_ce7b_c907_15b3, 0x8f7e_32ce_7bea_5c70, 0xd5d2_38a4_abe9_8068, 0x9f4f_2726_179a_2245,
    0xed63_a231_d4c4_fb27, 0xb0de_6538_8cc8_ada8, 0x83c7_088e_1aab_65db, 0xc45d_1df9_4271_1d9a,
    0x924d_692c_a61b_e758, 0xda01_ee64_1a70_8dea, 0xa26d_a399_9aef_774a, 0xf209_787b_b47d_6b85,
    0xb454_e4a1_79dd_1877, 0x865b_8692_5b9b_c5c2, 0xc835_53c5_c896_5d3d, 0x952a_b45c_fa97_a0b3,
    0xde46_9fbd_99a0_5fe3, 0xa59b_c234_db39_8c25, 0xf6c6_9a72_a398_9f5c, 0xb7dc_bf53_54e9_bece,
    0x88fc_f317_f222_41e2, 0xcc20_ce9b_d35c_78a5, 0x9816_5af3_7b21_53df, 0xe2a0_b5dc_971f_303a,
    0xa8d9_d153_5ce3_b396, 0xfb9b_7cd9_a4a7_443c, 0xbb76_4c4c_a7a4_4410, 0x8bab_8eef_b640_9c1a,
    0xd01f_ef10_a657_842c, 0x9b10_a4e5_e991_3129, 0xe710_9bfb_a19c_0c9d, 0xac28_20d9_623b_f429,
    0x8044_4b5e_7aa7_cf85, 0xbf21_e440_03ac_dd2d, 0x8e67_9c2f_5e44_ff8f, 0xd433_179d_9c8c_b841,
    0x9e19_db92_b4e3_1ba9, 0xeb96_bf6e_badf_77d9, 0xaf87_023b_9bf0_ee6b,
];

#[cfg(test)]
mod tests {
    use super::push;

    fn text(v: f64) -> String {
        let mut out = Vec::new();
        push(&mut out, v);
        String::from_utf8(out).expect("digits are ASCII")
    }

    #[test]
    fn doubles_look_as_in_valkey() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (-3.5, "-3.5"),
            (1e7, "10000000"),
            (1e8, "1e+8"),
            (123_456_789_012.0, "123456789012"),
            (0.001, "0.001"),
            (1e-7, "1e-7"),
            (1.5e23, "1.5e+23"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (std::f64::consts::PI, "3.141592653589793"),
            (9_007_199_254_740_993.0, "9007199254740992"),
        ];
        for (v, expected) in cases {
            assert_eq!(text(v), expected);
        }
    }

    #[test]
    fn every_text_reads_back_as_its_double() {
        let mut rng = crate::base::rng::Rng::new(1);
        let mut longer = 0;
        for _ in 0..if cfg!(miri) { 100 } else { 100_000 } {
            let v = f64::from_bits(rng.next_u64());
            if v.is_finite() {
                let printed = text(v);
                assert_eq!(printed.parse::<f64>().expect("a number"), v, "{printed}");
                let shortest = format!("{v:e}").chars().filter(char::is_ascii_digit).count();
                let exponent = printed.find('e').map_or(0, |at| printed.len() - at - 2);
                let ours = printed.chars().filter(char::is_ascii_digit).count() - exponent;
                let theirs = shortest - v.abs().log10().floor().abs().to_string().len();
                longer += usize::from(printed.contains('e') && ours > theirs);
            }
        }
        assert!(cfg!(miri) || (1..500).contains(&longer), "Grisu2 is a little longer now and then: {longer}");
    }
}
