use super::Zipmap;
use proptest::prelude::*;

/// Writes a zipmap; every value gets `free` bytes of garbage behind it.
fn pack(pairs: &[(&[u8], &[u8])], free: u8) -> Vec<u8> {
    fn push_len(out: &mut Vec<u8>, len: usize) {
        if len < 254 {
            out.push(len as u8);
        } else {
            out.push(254);
            out.extend_from_slice(&(len as u32).to_le_bytes());
        }
    }
    let mut out = vec![pairs.len().min(254) as u8];
    for (field, value) in pairs {
        push_len(&mut out, field.len());
        out.extend_from_slice(field);
        push_len(&mut out, value.len());
        out.push(free);
        out.extend_from_slice(value);
        out.resize(out.len() + usize::from(free), 0xff);
    }
    out.push(0xff);
    out
}

#[track_caller]
fn check_same(bytes: &[u8], pairs: &[(&[u8], &[u8])]) {
    let view = Zipmap::new(bytes).unwrap();
    assert_eq!(view.len(), pairs.len());
    assert_eq!(view.iter().len(), pairs.len());
    assert!(view.iter().eq(pairs.iter().copied()));
    let flat: Vec<Vec<u8>> = pairs.iter().flat_map(|(f, v)| [f.to_vec(), v.to_vec()]).collect();
    assert!(view.to_listpack().view().iter().map(|e| e.to_vec()).eq(flat));
}

#[test]
fn the_example_that_the_format_is_told_with() {
    let pairs: [(&[u8], &[u8]); 2] = [(b"foo", b"bar"), (b"hello", b"world")];
    let bytes = b"\x02\x03foo\x03\x00bar\x05hello\x05\x00world\xff";
    check_same(bytes, &pairs);
    assert_eq!(pack(&pairs, 0), bytes);
    check_same(b"\x00\xff", &[]);
}

#[test]
fn lengths_at_the_edge_and_free_bytes() {
    for len in [0, 1, 252, 253, 254, 255, 256, 70_000] {
        let long = vec![b'x'; len];
        for free in [0, 1, 3, 255] {
            let pairs: [(&[u8], &[u8]); 3] = [(&long, b"1"), (b"2", &long), (b"", b"")];
            check_same(&pack(&pairs, free), &pairs);
        }
    }
}

#[test]
fn more_pairs_than_the_header_counts() {
    for count in [252, 253, 254, 255, 1000] {
        let pairs: Vec<(&[u8], &[u8])> = vec![(b"f", b"v"); count];
        let mut bytes = pack(&pairs, 0);
        check_same(&bytes, &pairs);
        bytes[0] = bytes[0].wrapping_sub(1);
        assert!(Zipmap::new(&bytes).is_err(), "{count}");
    }
}

#[test]
fn what_is_wrong_is_said_exactly() {
    #[track_caller]
    fn check(bytes: &[u8], at: usize, text: &str) {
        let e = Zipmap::new(bytes).expect_err(text);
        assert_eq!((e.at, e.to_string().as_str()), (at, text));
    }
    check(b"\x00", 0, "1 bytes are too few, the header and the end alone take 2");
    check(b"\x00\x00", 1, "the last byte is 0x00, not the end mark 0xff");
    check(b"\x00\xff\xff", 1, "the end mark comes 1 bytes early");
    check(b"\x01\x03fo\xff", 1, "entry 0 runs past its 3-byte body");
    check(b"\x01\x01f\xff", 3, "field 0 has no value");
    check(b"\x01\x01f\x01\x00\xff", 3, "entry 0 runs past its 4-byte body");
    check(b"\x01\x01f\x01\x02v\x00\xff", 3, "entry 0 runs past its 6-byte body");
    check(b"\x02\x01f\x01\x00v\xff", 0, "the header counts 2 entries, there are 1");
    check(b"\xff\x01f\x01\x00v\xff", 0, "the header counts 255 entries, there are 1");
    check(b"\x01\xfe\xff\xff\xff\xff\xff", 1, "entry 0 runs past its 5-byte body");
}

fn walk(bytes: &[u8]) {
    if let Ok(view) = Zipmap::new(bytes) {
        assert_eq!(view.iter().count(), view.len());
        assert_eq!(view.to_listpack().len(), 2 * view.len());
    }
}

#[test]
fn every_damaged_byte_is_refused_or_walks_fine() {
    let long = [b'x'; 300];
    for good in [pack(&[], 0), pack(&[(b"foo", b"bar"), (b"hello", b"1")], 2), pack(&[(&long, &long)], 0)] {
        for at in 0..good.len() {
            for byte in 0..=255 {
                let mut bytes = good.clone();
                bytes[at] = byte;
                walk(&bytes);
            }
        }
        for len in 0..good.len() {
            assert!(Zipmap::new(&good[..len]).is_err());
        }
    }
}

#[test]
fn every_zipmap_of_up_to_five_small_bytes() {
    const ALPHABET: [u8; 8] = [0, 1, 2, 3, 253, 254, 255, b'a'];
    for len in 0..=5u32 {
        for n in 0..8usize.pow(len) {
            let mut bytes: Vec<u8> = (0..len).map(|i| ALPHABET[n / 8usize.pow(i) % 8]).collect();
            bytes.push(0xff);
            walk(&bytes);
        }
    }
}

proptest! {
    #[test]
    fn any_pairs_come_back(
        pairs in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..20), proptest::collection::vec(any::<u8>(), 0..300)), 0..20),
        free in any::<u8>(),
    ) {
        let pairs: Vec<(&[u8], &[u8])> = pairs.iter().map(|(f, v)| (f.as_slice(), v.as_slice())).collect();
        check_same(&pack(&pairs, free), &pairs);
    }

    #[test]
    fn any_bytes_are_safe(bytes in proptest::collection::vec(prop_oneof![any::<u8>(), 0xf0u8..=0xff, 0u8..4], 0..40)) {
        walk(&bytes);
    }
}
