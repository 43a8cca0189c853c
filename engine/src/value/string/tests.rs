//! Stories of string values; the model is a `Vec<u8>`.

use proptest::prelude::*;

use super::{IncrError, StrRef, StringValue, byte_range};
use crate::packed::IntText;

fn encoding(bytes: &[u8]) -> &'static str {
    StringValue::new(bytes).view().encoding_name(1, false)
}

#[test]
fn canonical_integers_become_numbers() {
    let ints = ["0", "-1", "7", "9223372036854775807", "-9223372036854775808"];
    let texts = ["", "+1", "01", "-0", " 1", "1 ", "9223372036854775808", "1.0", "1e3", "-"];
    assert!(ints.iter().all(|s| encoding(s.as_bytes()) == "int"));
    assert!(texts.iter().all(|s| encoding(s.as_bytes()) == "embstr"));
}

#[test]
fn strings_are_embedded_that_fit_beside_their_key() {
    // What Valkey 9.1.2 answers: bytes of the key, and of the longest such value, without and with an expiry.
    for (key, longest, expiring) in [(1, 112, 104), (31, 82, 74), (32, 79, 71), (64, 47, 39), (80, 31, 23)] {
        for (expires, most) in [(false, longest), (true, expiring)] {
            let value = |bytes| StringValue::new(&vec![b'x'; bytes]);
            assert_eq!(value(most).view().encoding_name(key, expires), "embstr");
            assert_eq!(value(most + 1).view().encoding_name(key, expires), "raw");
        }
    }
}

#[test]
fn an_edit_makes_a_string_raw() {
    let mut s = StringValue::new(b"12");
    assert_eq!(s.append(b"3"), 3);
    assert_eq!(s.view().encoding_name(1, false), "raw");
    assert_eq!(s.view().as_i64(), Some(123));
    assert_eq!(s.incr(1), Ok(124));
    assert_eq!(s.view().encoding_name(1, false), "int");
}

#[test]
fn set_range_pads_with_zeros() {
    let mut s = StringValue::new(b"ab");
    assert_eq!(s.set_range(4, b"xy"), 6);
    assert_eq!(s.view().to_vec(), b"ab\0\0xy");
    assert_eq!(s.set_range(1, b"ZZ"), 6);
    assert_eq!(s.view().to_vec(), b"aZZ\0xy");
    let mut n = StringValue::from_i64(5);
    assert_eq!(n.set_range(100, b""), 1);
    assert_eq!(n.view().encoding_name(1, false), "int");
}

#[test]
fn growth_keeps_bytes_and_adds_zeros() {
    for (old, new) in [(1, 2), (100, 10_000), (9000, 13_600), (9000, 20_000), (4096, 8192)] {
        // Pages of zeros before, between and behind others.
        let mut bytes = vec![0; old];
        for at in [0, 4095, 8999] {
            bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = 7);
        }
        let mut text = StringValue::edited(bytes.clone());
        bytes.resize(new, 0);
        assert_eq!(text.edit_to(new), bytes, "{old} to {new}");
    }
}

#[test]
fn incr_says_what_is_wrong_and_changes_nothing() {
    let mut s = StringValue::new(b"abc");
    assert_eq!(s.incr(1), Err(IncrError::NotInteger));
    let mut big = StringValue::from_i64(i64::MAX);
    assert_eq!(big.incr(1), Err(IncrError::Overflow));
    assert_eq!(big.view().as_i64(), Some(i64::MAX));
    assert_eq!(big.incr(i64::MIN), Ok(-1));
}

#[test]
fn get_range_counts_as_redis_does() {
    let cases = [
        (0, 3, "This"),
        (-3, -1, "ing"),
        (0, -1, "This is a string"),
        (10, 100, "string"),
        (-100, 3, "This"),
        (5, 3, ""),
        (-1, -5, ""),
        (100, 200, ""),
        (i64::MIN, i64::MAX, "This is a string"),
        (i64::MIN, i64::MIN, "T"),
        (i64::MAX, i64::MIN, ""),
    ];
    let text = StringValue::new(b"This is a string");
    for (start, end, want) in cases {
        assert_eq!(text.view().range(start, end, &mut IntText::new()), want.as_bytes(), "{start} {end}");
    }
    assert_eq!(StrRef::Int(-1234).range(1, 2, &mut IntText::new()), b"12");
    assert_eq!(byte_range(0, 0, -1), 0..0);
}

#[test]
fn spare_room_is_bounded() {
    let mut s = StringValue::new(&[b'x'; 100]);
    s.append(b"y");
    assert_eq!(s.memory_bytes(), 202);
    let mut big = StringValue::new(&vec![b'x'; 3 << 20]);
    big.append(b"y");
    assert!(big.memory_bytes() <= (4 << 20) + 1);
    big.shrink();
    assert_eq!(big.memory_bytes(), (3 << 20) + 1);
}

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<u8>),
    SetRange(usize, Vec<u8>),
    Incr(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        prop::collection::vec(b'0'..=b'9', 0..4).prop_map(Step::Append),
        (0usize..12, prop::collection::vec(any::<u8>(), 0..4)).prop_map(|(at, b)| Step::SetRange(at, b)),
        any::<i8>().prop_map(|by| Step::Incr(i64::from(by))),
    ]
}

proptest! {
    #[test]
    fn a_string_is_its_bytes(start in "[0-9]{0,6}", steps in prop::collection::vec(step(), 0..20)) {
        let mut value = StringValue::new(start.as_bytes());
        let mut model = start.into_bytes();
        for step in steps {
            match step {
                Step::Append(more) => {
                    model.extend_from_slice(&more);
                    prop_assert_eq!(value.append(&more), model.len());
                }
                Step::SetRange(at, with) => {
                    if !with.is_empty() {
                        model.resize(model.len().max(at + with.len()), 0);
                        model[at..at + with.len()].copy_from_slice(&with);
                    }
                    prop_assert_eq!(value.set_range(at, &with), model.len());
                }
                Step::Incr(by) => {
                    let number = crate::base::num::parse_i64(&model).and_then(|n| n.checked_add(by));
                    prop_assert_eq!(value.incr(by).ok(), number);
                    if let Some(n) = number {
                        model = n.to_string().into_bytes();
                    }
                }
            }
            prop_assert_eq!(value.view().to_vec(), model.clone());
            prop_assert_eq!(value.view().len(), model.len());
            let mut text = IntText::new();
            prop_assert_eq!(value.view().bytes(&mut text), &model[..]);
        }
    }
}
