use super::Ziplist;
use crate::base::num;
use crate::packed::Element;
use proptest::prelude::*;

/// Writes a ziplist as ziplistPush would, every previous length short where it can be.
fn pack(items: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![0; 10];
    let mut prev = 0;
    let mut tail = 10;
    for item in items {
        tail = out.len();
        push_entry(&mut out, prev, item, false);
        prev = out.len() - tail;
    }
    frame(out, tail, items.len())
}

fn push_entry(out: &mut Vec<u8>, prev: usize, item: &[u8], wide_prev: bool) {
    if prev < 254 && !wide_prev {
        out.push(prev as u8);
    } else {
        out.push(254);
        out.extend_from_slice(&(prev as u32).to_le_bytes());
    }
    match num::parse_i64(item).filter(|_| item.len() < 32) {
        Some(v @ 0..=12) => out.push(0xf1 + v as u8),
        Some(v) if v as i8 as i64 == v => out.extend_from_slice(&[0xfe, v as u8]),
        Some(v) if v as i16 as i64 == v => tagged(out, 0xc0, v, 2),
        Some(v) if (v << 40) >> 40 == v => tagged(out, 0xf0, v, 3),
        Some(v) if v as i32 as i64 == v => tagged(out, 0xd0, v, 4),
        Some(v) => tagged(out, 0xe0, v, 8),
        None => {
            let len = item.len() as u32;
            match item.len() {
                0..=0x3f => out.push(len as u8),
                0x40..=0x3fff => out.extend_from_slice(&(len as u16 | 0x4000).to_be_bytes()),
                _ => {
                    out.push(0x80);
                    out.extend_from_slice(&len.to_be_bytes());
                }
            }
            out.extend_from_slice(item);
        }
    }
}

fn tagged(out: &mut Vec<u8>, tag: u8, v: i64, width: usize) {
    out.push(tag);
    out.extend_from_slice(&v.to_le_bytes()[..width]);
}

fn frame(mut out: Vec<u8>, tail: usize, count: usize) -> Vec<u8> {
    out.push(0xff);
    let size = out.len() as u32;
    out[..4].copy_from_slice(&size.to_le_bytes());
    out[4..8].copy_from_slice(&(tail as u32).to_le_bytes());
    out[8..10].copy_from_slice(&(count.min(0xffff) as u16).to_le_bytes());
    out
}

#[track_caller]
fn check_same(bytes: &[u8], model: &[&[u8]]) {
    let view = Ziplist::new(bytes).unwrap();
    assert_eq!(view.len(), model.len());
    assert_eq!(view.iter().len(), model.len());
    assert!(view.iter().map(|e| e.to_vec()).eq(model.iter().map(|m| m.to_vec())));
    let listpack = view.to_listpack();
    assert!(listpack.view().iter().map(|e| e.to_vec()).eq(model.iter().map(|m| m.to_vec())));
}

#[test]
fn the_example_that_the_format_is_told_with() {
    let bytes = b"\x0f\0\0\0\x0c\0\0\0\x02\0\x00\xf3\x02\xf6\xff";
    check_same(bytes, &[b"2", b"5"]);
    assert_eq!(pack(&[b"2", b"5"]), bytes);
    check_same(b"\x0b\0\0\0\x0a\0\0\0\0\0\xff", &[]);
}

#[test]
fn every_encoding_at_its_edges() {
    let integers: Vec<String> = [
        0i64,
        12,
        13,
        -1,
        127,
        -128,
        128,
        32767,
        -32768,
        32768,
        8_388_607,
        -8_388_608,
        8_388_608,
        i32::MAX.into(),
        i32::MIN.into(),
        1 << 31,
        i64::MAX,
        i64::MIN,
    ]
    .iter()
    .map(i64::to_string)
    .collect();
    let strings: Vec<Vec<u8>> =
        [0, 1, 63, 64, 250, 251, 252, 253, 254, 300, 16383, 16384, 70_000].map(|n| vec![b'x'; n]).to_vec();
    let mut items: Vec<&[u8]> = integers.iter().map(String::as_bytes).collect();
    items.extend(strings.iter().map(Vec::as_slice));
    items.push(b"tail");
    check_same(&pack(&items), &items);
    assert_eq!(Ziplist::new(&pack(&[b"-8388608"])).unwrap().iter().next(), Some(Element::Int(-8_388_608)));
}

#[test]
fn a_previous_length_may_be_wider_than_needed() {
    let mut out = vec![0; 10];
    push_entry(&mut out, 0, b"a", true);
    let tail = out.len();
    push_entry(&mut out, tail - 10, b"b", true);
    check_same(&frame(out, tail, 2), &[b"a", b"b"]);
}

#[test]
fn more_entries_than_the_header_counts() {
    let items: Vec<&[u8]> = vec![b"1"; 70_000];
    check_same(&pack(&items), &items);
}

#[test]
fn what_is_wrong_is_said_exactly() {
    #[track_caller]
    fn check(bytes: &[u8], at: usize, text: &str) {
        let e = Ziplist::new(bytes).expect_err(text);
        assert_eq!((e.at, e.to_string().as_str()), (at, text));
    }
    check(b"\x0a\0\0\0\x0a\0\0\0\0\0", 0, "10 bytes are too few, the header and the end alone take 11");
    check(b"\x0c\0\0\0\x0a\0\0\0\0\0\xff", 0, "the header declares 12 bytes, there are 11");
    check(b"\x0b\0\0\0\x0a\0\0\0\0\0\x01", 10, "the last byte is 0x01, not the end mark 0xff");
    check(b"\x0b\0\0\0\x0b\0\0\0\0\0\xff", 4, "the header puts the last entry at byte 11, it is at byte 10");
    check(b"\x0d\0\0\0\x0a\0\0\0\x02\0\0\xf1\xff", 8, "the header counts 2 entries, there are 1");
    check(b"\x0d\0\0\0\x0a\0\0\0\x01\0\x01\xf1\xff", 10, "entry 0 does not agree with its back length");
    check(b"\x0d\0\0\0\x0a\0\0\0\x01\0\0\x02\xff", 10, "entry 0 runs past its 2-byte body");
    check(b"\x0d\0\0\0\x0a\0\0\0\x01\0\0\xc1\xff", 11, "entry 0 has the unknown encoding 0xc1");
    check(b"\x0d\0\0\0\x0a\0\0\0\x01\0\xff\xf1\xff", 10, "the end mark comes 2 bytes early");
    check(
        b"\x0f\0\0\0\x0c\0\0\0\x02\0\x00\xf3\x03\xf6\xff",
        12,
        "entry 1 does not agree with its back length",
    );
    check(
        b"\x0f\0\0\0\x0a\0\0\0\x02\0\x00\xf3\x02\xf6\xff",
        4,
        "the header puts the last entry at byte 10, it is at byte 12",
    );
}

fn walk(bytes: &[u8]) {
    if let Ok(view) = Ziplist::new(bytes) {
        assert_eq!(view.iter().count(), view.len());
        assert_eq!(view.to_listpack().len(), view.len());
    }
}

#[test]
fn every_damaged_byte_is_refused_or_walks_fine() {
    for good in [
        pack(&[]),
        pack(&[b"a", b"12", b"-5", b"40000", b"-9999999999"]),
        pack(&[&[b'x'; 300], b"8000000", &[b'y'; 70], b"z"]),
    ] {
        for at in 0..good.len() {
            for byte in 0..=255 {
                let mut bytes = good.clone();
                bytes[at] = byte;
                walk(&bytes);
            }
        }
        for len in 0..good.len() {
            assert!(Ziplist::new(&good[..len]).is_err());
            let mut bytes = good[..len].to_vec();
            if let Some(size) = bytes.get_mut(..4) {
                size.copy_from_slice(&(len as u32).to_le_bytes());
            }
            walk(&bytes);
        }
    }
}

proptest! {
    #[test]
    fn any_items_come_back(items in proptest::collection::vec(prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..20),
        (any::<i64>(), 0u32..64).prop_map(|(v, shift)| (v >> shift).to_string().into_bytes()),
        (240usize..270).prop_map(|n| vec![b'x'; n]),
    ], 0..30)) {
        let items: Vec<&[u8]> = items.iter().map(Vec::as_slice).collect();
        check_same(&pack(&items), &items);
    }

    #[test]
    fn any_bytes_are_safe(bytes in proptest::collection::vec(prop_oneof![any::<u8>(), 0xf0u8..=0xff, 0u8..4], 0..40)) {
        walk(&bytes);
        let mut framed = vec![0; 10];
        framed.extend_from_slice(&bytes);
        walk(&frame(framed, 10, 0xffff));
    }
}
