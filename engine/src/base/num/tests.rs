use super::*;
use proptest::prelude::*;

fn text(push: impl Fn(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    push(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn integers_are_read_strictly() {
    for (s, want) in [
        ("0", Some(0)),
        ("7", Some(7)),
        ("-1", Some(-1)),
        ("9223372036854775807", Some(i64::MAX)),
        ("-9223372036854775808", Some(i64::MIN)),
        ("9223372036854775808", None),
        ("-9223372036854775809", None),
        ("18446744073709551616", None),
        ("99999999999999999999", None),
        ("123456789012345678901", None),
        ("", None),
        ("-", None),
        ("-0", None),
        ("+1", None),
        ("01", None),
        ("00", None),
        ("-01", None),
        (" 1", None),
        ("1 ", None),
        ("1a", None),
        ("1\0", None),
        ("--1", None),
        ("0x1", None),
        ("1.0", None),
    ] {
        assert_eq!(parse_i64(s.as_bytes()), want, "{s:?}");
    }
    assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
    assert_eq!(parse_u64(b"18446744073709551616"), None);
    assert_eq!(parse_u64(b"-1"), None);
    assert_eq!(parse_u64(b"0"), Some(0));
    assert_eq!(parse_u64(b"00"), None);
}

#[test]
fn lengths_of_integers() {
    for v in [0, 1, 9, 10, 99, 100, u64::MAX, 9_999_999_999, 10_000_000_000] {
        assert_eq!(u64_chars(v), v.to_string().len(), "{v}");
    }
    for v in [0, -1, -9, -10, i64::MIN, i64::MAX] {
        assert_eq!(i64_chars(v), v.to_string().len(), "{v}");
    }
}

#[test]
fn short_digits_are_the_number_s() {
    let powers = (0..8).map(|n| 10u32.pow(n));
    let edges = powers.flat_map(|p| [p - 1, p, p + 1, p * 9, p * 10 - 1]);
    let spread = (0..200_000u32).map(|i| i.wrapping_mul(2_654_435_761) % SHORT_LIMIT as u32);
    for v in edges.chain(0..20_000).chain(spread) {
        let (digits, len) = short_digits(v);
        assert_eq!(&digits[..len], v.to_string().as_bytes());
    }
}

#[test]
fn doubles_are_read_as_strtod_reads_them() {
    for (s, want) in [
        ("0", 0.0),
        ("-0", -0.0),
        ("3.0", 3.0),
        ("+3", 3.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e3", 1000.0),
        ("1E+3", 1000.0),
        ("1e-3", 0.001),
        ("0e999999999999999999999", 0.0),
        ("inf", f64::INFINITY),
        ("+INF", f64::INFINITY),
        ("-Infinity", f64::NEG_INFINITY),
        ("0x1p3", 8.0),
        ("0X.8", 0.5),
        ("0x8.", 8.0),
        ("-0x1.8P+1", -3.0),
        ("0x0", 0.0),
        ("0x1.fffffffffffffp1023", f64::MAX),
        ("0x1p-1074", 5e-324),
        ("0x1.8p-1075", 5e-324),
        ("0x0.0000000000001p-1022", 5e-324),
        ("0x1.00000000000008p0", 1.0),
        ("0x1.000000000000080000000001p0", 1.000_000_000_000_000_2),
        ("0x1.00000000000018p0", 1.000_000_000_000_000_4),
        ("4.9e-324", 5e-324),
        ("0x1p-1022", f64::MIN_POSITIVE),
        ("0x1.fffffffffffff8p-1023", f64::MIN_POSITIVE),
    ] {
        let got = parse_f64_or_hex(s.as_bytes());
        assert_eq!(got.map(f64::to_bits), Some(f64::to_bits(want)), "{s:?} gave {got:?}");
    }
}

#[test]
fn what_is_no_double() {
    for s in [
        "",
        " ",
        " 1",
        "1 ",
        "\t1",
        "nan",
        "-nan",
        "NaN",
        "nan(1)",
        "1e",
        "1e+",
        "e1",
        ".",
        "+",
        "-",
        "+-1",
        "--1",
        "1.2.3",
        "1e400",
        "-1e400",
        "1e-400",
        "0x",
        "0x.",
        "0xg",
        "0x1p",
        "0x1p+",
        "0x1p99999",
        "0x1p-1075",
        "0x1p-99999999999999999999",
        "in",
        "infi",
        "infinit",
        "infinityx",
        "1_000",
        "1f",
        "0b1",
        "1\0",
        "é",
    ] {
        assert_eq!(parse_f64_or_hex(s.as_bytes()), None, "{s:?}");
    }
}

#[test]
fn seventeen_digits_as_printf_gives_them() {
    // Witness: printf("%.17g") of glibc 2.41.
    for (v, want) in [
        (3.0, "3"),
        (0.1, "0.10000000000000001"),
        (-0.0, "-0"),
        (1e17, "1e+17"),
        (1e16, "10000000000000000"),
        (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
        (0.0001, "0.0001"),
        (0.00001, "1.0000000000000001e-05"),
        (1.0 + 2f64.powi(-17), "1.0000076293945312"),
        (1.5, "1.5"),
        (f64::MAX, "1.7976931348623157e+308"),
        (5e-324, "4.9406564584124654e-324"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
        (f64::NAN.copysign(1.0), "nan"),
        (f64::NAN.copysign(-1.0), "-nan"),
        (100.0, "100"),
        (1e100, "1e+100"),
        (1e23, "9.9999999999999992e+22"),
    ] {
        assert_eq!(text(|o| push_f64_17g(o, v)), want);
    }
}

#[test]
fn nine_digits_as_printf_gives_them() {
    for (v, want) in [
        (1.0 / 3.0, "0.333333333"),
        (999_999_999.9, "1e+09"),
        (999_999_999.0, "999999999"),
        (0.000_099_999_999_99, "0.0001"),
        (1e-5, "1e-05"),
        (2.5, "2.5"),
    ] {
        assert_eq!(text(|o| push_f64_9g(o, v)), want);
    }
}

#[test]
fn shortest_as_valkey_lays_it_out() {
    for (v, want) in [
        (3.0, "3"),
        (3.5, "3.5"),
        (-3.5, "-3.5"),
        (0.1, "0.1"),
        (0.000_001, "0.000001"),
        (0.000_000_1, "1e-7"),
        (0.000_000_15, "1.5e-7"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (1e-100, "1e-100"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
        (-f64::NAN, "nan"),
        (-0.0, "-0"),
        (0.0, "0"),
        (4_611_686_018_427_387_904.0, "4611686018427387904"),
        (9_223_372_036_854_775_808.0, "9223372036854776000"),
        (123_456_789_012_345_680_000.0, "123456789012345680000"),
        (1.234_567_89e-5, "1.23456789e-5"),
        (1.5e-5, "0.000015"),
        (1.234_567e-4, "1.234567e-4"),
        (1.234_567e-3, "0.001234567"),
        (1.234_567_890_123e-5, "1.234567890123e-5"),
        (f64::MAX, "1.7976931348623157e+308"),
        (5e-324, "5e-324"),
        (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
        // Where Grisu2 is not the shortest, or not the nearest.
        (1e23, "99999999999999990000000"),
        (-564_607_431_751_156.2, "-564607431751156.3"),
        (5.465_990_038_293_692e-3, "0.0054659900382936916"),
        (7.458_204_315_314_848_4e25, "7.4582043153148485e+25"),
    ] {
        assert_eq!(text(|o| push_f64_shortest(o, v)), want);
    }
}

#[test]
fn digits_are_nearly_always_the_shortest() {
    let mut rng = crate::base::rng::Rng::new(1);
    let mut others = 0;
    for _ in 0..20_000 {
        let v = f64::from_bits(rng.next_u64() >> 1);
        if !v.is_finite() || v == 0.0 {
            continue;
        }
        let (digits, point) = grisu::digits(v);
        let (shortest, shortest_point) = Digits::from_text(zmij::Buffer::new().format_finite(v).as_bytes());
        assert!(digits.len <= 17, "{v:e}");
        others += u32::from(digits.as_slice() != shortest.as_slice() || point != shortest_point);
    }
    assert!((1..200).contains(&others), "{others} of 20000");
}

proptest! {
    #[test]
    fn integers_come_back(v in any::<i64>(), u in any::<u64>()) {
        prop_assert_eq!(parse_i64(text(|o| push_i64(o, v)).as_bytes()), Some(v));
        prop_assert_eq!(parse_u64(text(|o| push_u64(o, u)).as_bytes()), Some(u));
        prop_assert_eq!(i64_chars(v), text(|o| push_i64(o, v)).len());
    }

    #[test]
    fn reading_integers_agrees_with_the_standard_library(s in "-?[0-9]{0,21}") {
        let std = s.parse::<i64>().ok().filter(|v| v.to_string() == s);
        prop_assert_eq!(parse_i64(s.as_bytes()), std);
        let std = s.parse::<u64>().ok().filter(|v| v.to_string() == s);
        prop_assert_eq!(parse_u64(s.as_bytes()), std);
    }

    #[test]
    fn doubles_come_back_from_every_exact_form(bits in any::<u64>()) {
        let v = f64::from_bits(bits);
        prop_assume!(!v.is_nan());
        for push in [push_f64_17g, push_f64_shortest] {
            let s = text(|o| push(o, v));
            prop_assert!(s.len() <= MAX_F64_CHARS);
            prop_assert_eq!(parse_f64(s.as_bytes()).map(f64::to_bits), Some(bits), "{}", s);
        }
    }

    #[test]
    fn hexadecimal_agrees_with_the_value_it_was_made_of(mantissa in any::<u64>(), exponent in -1200i32..1100) {
        // u64 to f64 rounds once, and so does a scaling by a power of two that stays normal.
        let s = format!("0x{mantissa:x}p{exponent}");
        let want = (mantissa as f64) * 2f64.powi(exponent.max(-1000)) * 2f64.powi(exponent.min(-1000) + 1000);
        prop_assume!(want == 0.0 || want.abs() >= f64::MIN_POSITIVE);
        let want = (want.is_finite() && (want != 0.0 || mantissa == 0)).then_some(want);
        prop_assume!(want.is_some() || exponent > 0);
        prop_assert_eq!(parse_f64(s.as_bytes()), None);
        prop_assert_eq!(parse_f64_or_hex(s.as_bytes()), want, "{}", s);
    }
}
