//! The record against a twin of plain vectors, over the edges of every width and class.

use proptest::prelude::*;

use super::Record;
use crate::base::size_class::size_class;

/// What a record stands for.
#[derive(Debug, Clone, PartialEq)]
struct Twin {
    tag: u8,
    key: Vec<u8>,
    expiry: Option<i64>,
    payload: Vec<u8>,
}

fn check(record: &Record, twin: &Twin) {
    assert_eq!(record.tag(), twin.tag);
    assert_eq!(record.key(), twin.key);
    assert_eq!(record.expiry(), twin.expiry);
    assert_eq!(record.view().has_expiry(), twin.expiry.is_some());
    assert_eq!(record.payload(), twin.payload);
    let raw = twin.key.len() + twin.payload.len();
    assert!(record.alloc_bytes() >= raw + 3);
    assert_eq!(record.alloc_bytes(), size_class(record.alloc_bytes()));
}

#[test]
fn classes_are_those_of_jemalloc() {
    let classes =
        [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640];
    for bytes in 1..=640 {
        let expected = classes.iter().copied().find(|&class| class >= bytes).unwrap_or(0);
        assert_eq!(size_class(bytes), expected, "{bytes}");
    }
    assert_eq!(size_class(16385), 20480);
}

#[test]
fn a_pointer_is_all_that_it_costs() {
    assert_eq!(size_of::<Record>(), 8);
    assert_eq!(size_of::<Option<Record>>(), 8);
    let small = Record::new(1, &[b'k'; 16], None, &[b'v'; 32]);
    assert_eq!(small.alloc_bytes(), 56);
    assert_eq!(Record::new(1, &[b'k'; 16], Some(1), &[b'v'; 32]).alloc_bytes(), 64);
    assert_eq!(Record::new(1, &[b'k'; 16], None, &[b'v'; 100]).alloc_bytes(), 128);
}

#[test]
fn widths_change_at_their_edges() {
    let lens: &[usize] =
        if cfg!(miri) { &[0, 1, 255, 256] } else { &[0, 1, 255, 256, 257, 65535, 65536, 70000] };
    for &key_len in lens {
        for &payload_len in lens {
            for expiry in [None, Some(i64::MIN), Some(-1), Some(i64::MAX)] {
                let twin =
                    Twin { tag: 15, key: vec![b'k'; key_len], expiry, payload: vec![b'p'; payload_len] };
                check(&Record::new(15, &twin.key, expiry, &twin.payload), &twin);
            }
        }
    }
}

#[test]
fn keys_are_told_apart_at_every_byte() {
    for len in 0..70 {
        let key: Vec<u8> = (0..len).collect();
        let record = Record::new(0, &key, None, b"payload");
        assert!(record.view().is_key(&key), "{len}");
        assert!(!record.view().is_key(&[&key[..], b"x"].concat()), "{len}");
        for i in 0..key.len() {
            let mut other = key.clone();
            other[i] ^= 0x80;
            assert!(!record.view().is_key(&other), "{len} {i}");
            assert!(!record.view().is_key(&key[..i]), "{len} {i}");
        }
    }
}

#[test]
fn an_owned_pointer_comes_back() {
    let boxed = Box::into_raw(Box::new(77u32));
    let mut record = Record::with_pointer(15, b"key", Some(5), boxed.cast());
    record.set_expiry(None);
    record.set_expiry(Some(9));
    assert_eq!(record.view().pointer(), boxed.cast());
    record.set_payload(1, b"now a plain payload");
    record.set_pointer(15, boxed.cast());
    // Clippy's rule for tests is the rule for code: the pointer is followed where it was made.
    assert_eq!(record.view().pointer().cast::<u32>(), boxed);
    // SAFETY: the record never follows or frees the pointer, so it is still ours.
    let back = unsafe { Box::from_raw(record.view().pointer().cast::<u32>()) };
    assert_eq!(*back, 77);
}

#[derive(Debug, Clone)]
enum Step {
    Tag(u8),
    Expiry(Option<i64>),
    Payload(u8, usize),
    Replace(u8, usize, Option<i64>),
    Overwrite(u8, usize, Option<i64>),
    Resize(usize),
    Flip,
    Clone,
}

fn lens() -> impl Strategy<Value = usize> {
    let top = if cfg!(miri) { 300 } else { 66_000usize };
    prop_oneof![8 => 0..140usize, 2 => 240..270usize, 1 => 0..top]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..16u8).prop_map(Step::Tag),
        any::<Option<i64>>().prop_map(Step::Expiry),
        (0..16u8, lens()).prop_map(|(tag, len)| Step::Payload(tag, len)),
        (0..16u8, lens(), any::<Option<i64>>()).prop_map(|(t, len, e)| Step::Replace(t, len, e)),
        (0..16u8, 0..3usize, any::<Option<i64>>()).prop_map(|(t, off, e)| Step::Overwrite(t, off, e)),
        lens().prop_map(Step::Resize),
        Just(Step::Flip),
        Just(Step::Clone),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 6 } else { 200 }, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn edits_follow_the_twin(key_len in lens(), steps in prop::collection::vec(steps(), 1..30)) {
        let key: Vec<u8> = (0..key_len).map(|i| i as u8).collect();
        let mut twin = Twin { tag: 0, key, expiry: None, payload: Vec::new() };
        let mut record = Record::new(0, &twin.key, None, b"");
        for (round, step) in steps.into_iter().enumerate() {
            let fill = |len: usize| (0..len).map(|i| (i + round) as u8).collect::<Vec<u8>>();
            match step {
                Step::Tag(tag) => {
                    record.set_tag(tag);
                    twin.tag = tag;
                }
                Step::Expiry(expiry) => {
                    record.set_expiry(expiry);
                    twin.expiry = expiry;
                }
                Step::Payload(tag, len) => {
                    record.set_payload(tag, &fill(len));
                    (twin.tag, twin.payload) = (tag, fill(len));
                }
                Step::Replace(tag, len, expiry) => {
                    record.replace(tag, &fill(len), expiry);
                    (twin.tag, twin.payload, twin.expiry) = (tag, fill(len), expiry);
                }
                Step::Overwrite(tag, off, expiry) => {
                    let len = twin.payload.len() + off;
                    let fits = off == 0 && expiry.is_some() == twin.expiry.is_some();
                    prop_assert_eq!(record.overwrite(tag, &fill(len), expiry), fits);
                    if fits {
                        (twin.tag, twin.payload, twin.expiry) = (tag, fill(len), expiry);
                    }
                }
                Step::Resize(len) => {
                    record.resize_payload(len);
                    twin.payload.resize(len, 0);
                }
                Step::Flip => {
                    record.payload_mut().iter_mut().for_each(|b| *b ^= 0xff);
                    twin.payload.iter_mut().for_each(|b| *b ^= 0xff);
                }
                Step::Clone => record = record.clone(),
            }
            check(&record, &twin);
        }
    }
}
