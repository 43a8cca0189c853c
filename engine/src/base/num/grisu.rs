//! Grisu2 (Florian Loitsch, "Printing Floating-Point Numbers Quickly and Accurately with Integers",
//! 2010): the digits of a double as Valkey's fpconv finds them.
//!
//! The digits always read back as the same double and are nearly always the shortest that do; about
//! once in a thousand there is one too many, or the last is not the nearest. Those exceptions are
//! why this is here: with them, the text of every double is the one Valkey writes. The choice of the
//! power and the rounding of the products are therefore fpconv's. Knows no layout.

use super::Digits;

/// Significands of 10^-348, 10^-340, ..., 10^340, rounded to the nearest 64 bits.
const POWERS: [u64; 87] = [
    0xfa8f_d5a0_081c_0288,
    0xbaae_e17f_a23e_bf76,
    0x8b16_fb20_3055_ac76,
    0xcf42_894a_5dce_35ea,
    0x9a6b_b0aa_5565_3b2d,
    0xe61a_cf03_3d1a_45df,
    0xab70_fe17_c79a_c6ca,
    0xff77_b1fc_bebc_dc4f,
    0xbe56_91ef_416b_d60c,
    0x8dd0_1fad_907f_fc3c,
    0xd351_5c28_3155_9a83,
    0x9d71_ac8f_ada6_c9b5,
    0xea9c_2277_23ee_8bcb,
    0xaecc_4991_4078_536d,
    0x823c_1279_5db6_ce57,
    0xc210_9436_4dfb_5637,
    0x9096_ea6f_3848_984f,
    0xd774_85cb_2582_3ac7,
    0xa086_cfcd_97bf_97f4,
    0xef34_0a98_172a_ace5,
    0xb238_67fb_2a35_b28e,
    0x84c8_d4df_d2c6_3f3b,
    0xc5dd_4427_1ad3_cdba,
    0x936b_9fce_bb25_c996,
    0xdbac_6c24_7d62_a584,
    0xa3ab_6658_0d5f_daf6,
    0xf3e2_f893_dec3_f126,
    0xb5b5_ada8_aaff_80b8,
    0x8762_5f05_6c7c_4a8b,
    0xc9bc_ff60_34c1_3053,
    0x964e_858c_91ba_2655,
    0xdff9_7724_7029_7ebd,
    0xa6df_bd9f_b8e5_b88f,
    0xf8a9_5fcf_8874_7d94,
    0xb944_7093_8fa8_9bcf,
    0x8a08_f0f8_bf0f_156b,
    0xcdb0_2555_6531_31b6,
    0x993f_e2c6_d07b_7fac,
    0xe45c_10c4_2a2b_3b06,
    0xaa24_2499_6973_92d3,
    0xfd87_b5f2_8300_ca0e,
    0xbce5_0864_9211_1aeb,
    0x8cbc_cc09_6f50_88cc,
    0xd1b7_1758_e219_652c,
    0x9c40_0000_0000_0000,
    0xe8d4_a510_0000_0000,
    0xad78_ebc5_ac62_0000,
    0x813f_3978_f894_0984,
    0xc097_ce7b_c907_15b3,
    0x8f7e_32ce_7bea_5c70,
    0xd5d2_38a4_abe9_8068,
    0x9f4f_2726_179a_2245,
    0xed63_a231_d4c4_fb27,
    0xb0de_6538_8cc8_ada8,
    0x83c7_088e_1aab_65db,
    0xc45d_1df9_4271_1d9a,
    0x924d_692c_a61b_e758,
    0xda01_ee64_1a70_8dea,
    0xa26d_a399_9aef_774a,
    0xf209_787b_b47d_6b85,
    0xb454_e4a1_79dd_1877,
    0x865b_8692_5b9b_c5c2,
    0xc835_53c5_c896_5d3d,
    0x952a_b45c_fa97_a0b3,
    0xde46_9fbd_99a0_5fe3,
    0xa59b_c234_db39_8c25,
    0xf6c6_9a72_a398_9f5c,
    0xb7dc_bf53_54e9_bece,
    0x88fc_f317_f222_41e2,
    0xcc20_ce9b_d35c_78a5,
    0x9816_5af3_7b21_53df,
    0xe2a0_b5dc_971f_303a,
    0xa8d9_d153_5ce3_b396,
    0xfb9b_7cd9_a4a7_443c,
    0xbb76_4c4c_a7a4_4410,
    0x8bab_8eef_b640_9c1a,
    0xd01f_ef10_a657_842c,
    0x9b10_a4e5_e991_3129,
    0xe710_9bfb_a19c_0c9d,
    0xac28_20d9_623b_f429,
    0x8044_4b5e_7aa7_cf85,
    0xbf21_e440_03ac_dd2d,
    0x8e67_9c2f_5e44_ff8f,
    0xd433_179d_9c8c_b841,
    0x9e19_db92_b4e3_1ba9,
    0xeb96_bf6e_badf_77d9,
    0xaf87_023b_9bf0_ee6b,
];
const FIRST_POWER: i32 = -348;
const POWER_STEP: i32 = 8;
/// A product's exponent is brought into this range, so that its integer part has 4 to 32 bits.
const MIN_EXPONENT: i32 = -60;
const MAX_EXPONENT: i32 = -32;

const HIDDEN_BIT: u64 = 1 << 52;

/// `frac * 2^exp`.
#[derive(Clone, Copy)]
struct Scaled {
    frac: u64,
    exp: i32,
}

impl Scaled {
    /// The same number with the top bit set; `frac` is not 0.
    fn normalized(self) -> Self {
        let shift = self.frac.leading_zeros();
        Self { frac: self.frac << shift, exp: self.exp - shift as i32 }
    }

    /// The upper half of the product, rounded to nearest, halves up.
    fn times(self, other: Self) -> Self {
        let product = u128::from(self.frac) * u128::from(other.frac);
        Self { frac: ((product + (1 << 63)) >> 64) as u64, exp: self.exp + other.exp + 64 }
    }
}

/// A power of ten that takes a number with the exponent `exp` into the range, and its decimal
/// exponent. Two powers may do; which of them is taken is seen in the last digit.
fn cached_power(exp: i32) -> (Scaled, i32) {
    const LOG10_2: f64 = 0.301_029_995_663_981_14;
    let guess = (f64::from(-(exp + POWERS.len() as i32)) * LOG10_2) as i32;
    let mut index = (guess - FIRST_POWER) / POWER_STEP;
    loop {
        let decimal = FIRST_POWER + index * POWER_STEP;
        // floor(decimal * log2(10)) for all the powers there are.
        let binary = ((decimal * 217_706) >> 16) - 63;
        match exp + binary + 64 {
            ..MIN_EXPONENT => index += 1,
            MIN_EXPONENT..=MAX_EXPONENT => {
                return (Scaled { frac: POWERS[index as usize], exp: binary }, decimal);
            }
            _ => index -= 1,
        }
    }
}

/// The digits of `v`, which is finite and above zero, and where the point stands, counted from the
/// first of them.
pub(super) fn digits(v: f64) -> (Digits, i32) {
    let bits = v.to_bits();
    let fraction = bits & (HIDDEN_BIT - 1);
    let exponent = (bits >> 52) as i32;
    let w = match exponent {
        0 => Scaled { frac: fraction, exp: -1074 },
        _ => Scaled { frac: fraction | HIDDEN_BIT, exp: exponent - 1075 },
    };
    // Half way to the neighbours on both sides. Below a power of two the neighbour is half as far;
    // fpconv takes the smallest normal number for one of those, too.
    let upper = Scaled { frac: (w.frac << 1) + 1, exp: w.exp - 1 }.normalized();
    let closer = if w.frac == HIDDEN_BIT { 2 } else { 1 };
    let lower_exp = w.exp - closer;
    let lower = Scaled { frac: ((w.frac << closer) - 1) << (lower_exp - upper.exp), exp: upper.exp };

    let (power, decimal) = cached_power(upper.exp);
    let w = w.normalized().times(power);
    // One unit off on the safe side, for the products are not exact.
    let upper = upper.times(power).frac - 1;
    let lower = lower.times(power).frac + 1;
    let mut generator = Generator { digits: Digits::new(), to_upper: upper - w.frac, delta: upper - lower };
    let power = generator.run(upper, -w.exp) - decimal;
    let point = power + generator.digits.len as i32;
    (generator.digits, point)
}

struct Generator {
    digits: Digits,
    /// From the number up to the upper bound.
    to_upper: u64,
    /// From the lower bound to the upper one.
    delta: u64,
}

impl Generator {
    /// Digits of `upper * 2^-shift` until what is left is within `delta`; answers the power of ten
    /// that the last of them stands at.
    fn run(&mut self, upper: u64, shift: i32) -> i32 {
        let one = 1u64 << shift;
        // The cached powers leave at most 32 bits above the point.
        let mut whole = (upper >> shift) as u32;
        let mut part = upper & (one - 1);
        let mut ten = 1_000_000_000u32;
        for power in (0..10).rev() {
            self.push(u64::from(whole / ten));
            whole %= ten;
            let rest = (u64::from(whole) << shift).wrapping_add(part);
            if rest <= self.delta {
                self.round(rest, u64::from(ten) << shift, self.to_upper);
                return power;
            }
            ten /= 10;
        }
        let mut unit = 1u64;
        for power in 1.. {
            part = part.wrapping_mul(10);
            self.delta = self.delta.wrapping_mul(10);
            unit = unit.wrapping_mul(10);
            self.push(part >> shift);
            part &= one - 1;
            if part < self.delta {
                self.round(part, one, self.to_upper.wrapping_mul(unit));
                return -power;
            }
        }
        unreachable!("delta grows tenfold with every digit and part stays below one")
    }

    fn push(&mut self, digit: u64) {
        if (digit != 0 || self.digits.len > 0) && self.digits.len < self.digits.bytes.len() {
            self.digits.bytes[self.digits.len] = b'0' + digit as u8;
            self.digits.len += 1;
        }
    }

    /// Lowers the last digit while that comes nearer to the number: `rest` is what the digits fall
    /// short of the upper bound, `unit` what the last one is worth.
    fn round(&mut self, mut rest: u64, unit: u64, to_upper: u64) {
        let Some(last) = self.digits.bytes[..self.digits.len].last_mut() else { return };
        while rest < to_upper && self.delta.wrapping_sub(rest) >= unit {
            let lowered = rest.wrapping_add(unit);
            if lowered >= to_upper && to_upper - rest <= lowered - to_upper {
                break;
            }
            *last -= 1;
            rest = lowered;
        }
    }
}
