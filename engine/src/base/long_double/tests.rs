use super::{LongDouble, MAX_CHARS, add_long_double};
use proptest::prelude::*;

#[track_caller]
fn check(a: &str, b: &str, want: Option<&str>) {
    let got = add_long_double(a.as_bytes(), b.as_bytes()).map(|s| String::from_utf8(s).unwrap());
    assert_eq!(got.as_deref(), want, "{a} + {b}");
}

#[test]
fn sums_are_those_of_redis() {
    // Answers of SET k A, INCRBYFLOAT k B on redis-server 7.0.15.
    check("3.0", "1.1", Some("4.1"));
    check("10.50", "0.1", Some("10.6"));
    check("10.6", "-5", Some("5.6"));
    check("5.0e3", "2.0e2", Some("5200"));
    check("1", "0.1", Some("1.1"));
    check("0.1", "0.2", Some("0.3"));
    check("1", "-1", Some("0"));
    check("-0", "0", Some("0"));
    check("0", "-0.00000000000000000001", Some("0"));
    check("3", "3.14159265358979323846", Some("6.14159265358979324"));
    check("17179869184", "1.5", Some("17179869185.5"));
    check("1e20", "1", Some("100000000000000000000"));
    check("30.45", "37.65", Some("68.10000000000000001"));
    check("5306872.61", "-3", Some("5306869.61000000000012733"));
    check("12345678901234567890", "1", Some("12345678901234567891"));
    check("1e-17", "0", Some("0.00000000000000001"));
    let big = add_long_double(b"1e300", b"1").unwrap();
    assert_eq!(big.len(), 301);
    assert!(big.starts_with(b"1000000000000000000008997324079559193870523944273290747938260082321265646596"));
    assert!(big.ends_with(b"772781889620606179267611627097410650567187386105690089424915104006144"));
}

#[test]
fn what_cannot_be_added() {
    for bad in [
        "",
        " 1",
        "1 ",
        "abc",
        "nan",
        "1e",
        "0x",
        ".",
        "1..2",
        "1e5000",
        "1e-5000",
        "0x1p20000",
        "0x1p-20000",
        "1e99999999999",
    ] {
        check(bad, "1", None);
    }
    check("inf", "1", None);
    check("inf", "-inf", None);
    check("1e4932", "9e4932", None);
    let long = "0".repeat(MAX_CHARS);
    check(&long, "1", None);
    check(&long[1..], "1", Some("1"));
    assert!(LongDouble::parse(b"-Infinity").is_some_and(|v| !v.is_finite()));
}

#[test]
fn the_ends_of_the_range() {
    let mut out = Vec::new();
    LongDouble::parse(b"1.189731495357231765e4932").unwrap().push_to(&mut out);
    assert_eq!(out.len(), 4933);
    assert!(out.starts_with(b"118973149535723176"));
    check("1.19e4932", "0", None);
    check("4e-4951", "0", Some("0"));
    check("1e-4951", "0", None);
    check("0e99999", "0", Some("0"));
    check("0x1p10", "0x.8", Some("1024.5"));
    check("18446744073709551615", "0", Some("18446744073709551615"));
    check("18446744073709551616", "1", Some("18446744073709551616"));
    check("18446744073709551616", "3", Some("18446744073709551620"));
}

#[test]
fn specials_have_their_names() {
    let text = |a: &[u8], b: &[u8]| {
        let mut out = Vec::new();
        LongDouble::parse(a).unwrap().plus(LongDouble::parse(b).unwrap()).push_to(&mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(text(b"inf", b"1"), "inf");
    assert_eq!(text(b"1", b"-inf"), "-inf");
    assert_eq!(text(b"inf", b"-inf"), "nan");
    assert_eq!(text(b"inf", b"inf"), "inf");
}

proptest! {
    #[test]
    fn integers_add_exactly(a in any::<i64>(), b in any::<i64>()) {
        let sum = i128::from(a) + i128::from(b);
        prop_assume!(sum.unsigned_abs() <= u128::from(u64::MAX));
        prop_assert_eq!(add_long_double(a.to_string().as_bytes(), b.to_string().as_bytes()), Some(sum.to_string().into_bytes()));
    }

    #[test]
    // Two roundings of numbers below 16 and one of a sum below 32 make at most 2^-59: less than half
    // of the last of 17 places. Larger amounts show the difference, 30.45 and 37.65 do.
    fn money_adds_as_on_paper(a in -1500i64..=1500, b in -1500i64..=1500) {
        let text = |cents: i64| format!("{}{}.{:02}", if cents < 0 { "-" } else { "" }, cents.abs() / 100, cents.abs() % 100);
        let sum = text(a + b);
        let want = sum.trim_end_matches('0').trim_end_matches('.');
        let got = add_long_double(text(a).as_bytes(), text(b).as_bytes()).unwrap();
        prop_assert_eq!(String::from_utf8(got).unwrap(), want);
    }

    #[test]
    fn any_text_is_safe(a in "[0-9.eE+x-]{0,12}", b in "[0-9]{1,40}(\\.[0-9]{0,40})?(e-?[0-9]{1,4})?") {
        let _ = add_long_double(a.as_bytes(), b.as_bytes());
        let _ = add_long_double(b.as_bytes(), b.as_bytes());
    }
}
