use super::{Encoder, LzfError, MAX_DISTANCE, Unpacker, decompress, is_sound};
use crate::base::rng::Rng;
use proptest::prelude::*;

/// Unpacks in every way there is, which must agree.
fn unpack(stream: &[u8], raw_len: usize) -> Result<Vec<u8>, LzfError> {
    let mut out = b"before".to_vec();
    let result = decompress(stream, raw_len, &mut out);
    assert_eq!(is_sound(stream, raw_len), result.is_ok(), "{stream:x?} {raw_len}");
    let mut unpacker = Unpacker { room: vec![0xaa; stream.len() % 100] };
    let other = unpacker.unpack(stream, raw_len).map(<[u8]>::to_vec);
    assert_eq!(other, result.map(|()| out[6..].to_vec()));
    match result {
        Ok(()) => {
            assert_eq!(&out[..6], b"before");
            Ok(out.split_off(6))
        }
        Err(e) => {
            assert_eq!(out, b"before");
            Err(e)
        }
    }
}

/// Packs with ours, unpacks with ours and with the crate, packs with the crate, unpacks with ours.
#[track_caller]
fn check(encoder: &mut Encoder, raw: &[u8]) -> Option<usize> {
    let mut out = b"before".to_vec();
    let packed = encoder.compress(raw, &mut out);
    assert_eq!(&out[..6], b"before");
    assert_eq!(out.len() - 6, packed.unwrap_or(0));
    if let Some(len) = packed {
        assert!(len + 4 <= raw.len());
        assert!(unpack(&out[6..], raw.len()).unwrap() == raw, "ours does not read ours");
        assert!(lzf::decompress(&out[6..], raw.len()).unwrap() == raw, "theirs does not read ours");
    }
    if let Ok(theirs) = lzf::compress(raw) {
        assert!(unpack(&theirs, raw.len()).unwrap() == raw, "ours does not read theirs");
    }
    packed
}

fn json(rng: &mut Rng, len: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while out.len() < len {
        let id = rng.below(1_000_000);
        let age = rng.below(90);
        out.extend_from_slice(
            format!("{{\"id\":{id},\"name\":\"user{}\",\"age\":{age},\"active\":true}},", id % 977)
                .as_bytes(),
        );
    }
    out.truncate(len);
    out
}

#[test]
fn tokens_as_liblzf_defines_them() {
    assert_eq!(unpack(b"\x02abc", 3).unwrap(), b"abc");
    assert_eq!(unpack(b"\x00a\x20\x00", 4).unwrap(), b"aaaa");
    assert_eq!(unpack(b"\x01ab\xe0\x00\x01", 11).unwrap(), b"abababababa");
    assert_eq!(unpack(b"\x00a\xe0\xff\x00", 265).unwrap(), vec![b'a'; 265]);
    assert_eq!(unpack(b"", 0).unwrap(), b"");
}

#[test]
fn broken_streams_are_named() {
    assert_eq!(unpack(b"\x02ab", 3), Err(LzfError::Truncated { at: 0 }));
    assert_eq!(unpack(b"\x00a\x20", 4), Err(LzfError::Truncated { at: 2 }));
    assert_eq!(unpack(b"\x00a\xe0", 4), Err(LzfError::Truncated { at: 2 }));
    assert_eq!(unpack(b"\x00a\xe0\x01", 4), Err(LzfError::Truncated { at: 2 }));
    assert_eq!(unpack(b"\x00a\x20\x01", 4), Err(LzfError::DistanceTooFar { at: 2 }));
    assert_eq!(unpack(b"\x20\x00", 3), Err(LzfError::DistanceTooFar { at: 0 }));
    assert_eq!(unpack(b"\x00a\x20\x00", 3), Err(LzfError::TooLong { at: 2 }));
    assert_eq!(unpack(b"\x02abc", 2), Err(LzfError::TooLong { at: 0 }));
    assert_eq!(unpack(b"\x02abc", 4), Err(LzfError::TooShort { made: 3, declared: 4 }));
    assert_eq!(unpack(b"", 1), Err(LzfError::ImpossibleLength { declared: 1, compressed: 0 }));
}

#[test]
fn a_declared_length_that_cannot_be_allocates_nothing() {
    let mut out = Vec::new();
    let claim = 64usize << 30;
    let err = decompress(b"\x00a\x20\x00", claim, &mut out).unwrap_err();
    assert_eq!(err, LzfError::ImpossibleLength { declared: claim, compressed: 4 });
    assert_eq!(out.capacity(), 0);
    assert!(decompress(&[0xff; 9], usize::MAX, &mut out).is_err());
}

#[test]
fn small_and_flat_inputs() {
    let mut encoder = Encoder::new();
    for len in 0..600 {
        let packed = check(&mut encoder, &vec![b'x'; len]);
        assert_eq!(packed.is_some(), len >= 8, "{len} equal bytes: {packed:?}");
    }
    for len in 0..200 {
        check(&mut encoder, &b"abcabcabd".repeat(30)[..len]);
        check(&mut encoder, &(0..len as u8).collect::<Vec<_>>());
    }
}

#[test]
fn text_shrinks_and_noise_is_left_alone() {
    let mut rng = Rng::new(1);
    let mut encoder = Encoder::new();
    for len in [64, 100, 512, 4000, 8192, 8200, 70_000, 300_000] {
        let raw = json(&mut rng, len);
        let packed = check(&mut encoder, &raw);
        if len >= 512 {
            assert!(packed.is_some_and(|packed| packed * 3 < len * 2), "{len} to {packed:?}");
        }
        let mut noise = vec![0; len];
        rng.fill(&mut noise);
        assert_eq!(check(&mut encoder, &noise), None);
    }
}

#[test]
fn repeats_at_the_edge_of_the_window() {
    let mut rng = Rng::new(2);
    let mut encoder = Encoder::new();
    for gap in MAX_DISTANCE - 70..MAX_DISTANCE + 6 {
        let mut raw = vec![0; gap];
        rng.fill(&mut raw[..64]);
        raw.extend_from_within(..64);
        check(&mut encoder, &raw);
    }
}

#[test]
fn output_does_not_depend_on_what_came_before() {
    let mut rng = Rng::new(3);
    let mut used = Encoder::new();
    for _ in 0..300 {
        let len = rng.below(3000) as usize;
        let raw = json(&mut rng, len);
        let (mut a, mut b) = (Vec::new(), Vec::new());
        assert_eq!(used.compress(&raw, &mut a), Encoder::new().compress(&raw, &mut b));
        assert!(a == b);
    }
}

#[test]
fn positions_wrap_around_cleanly() {
    let mut rng = Rng::new(4);
    let mut encoder = Encoder::new();
    let raw = json(&mut rng, 5000);
    let mut fresh = Vec::new();
    encoder.compress(&raw, &mut fresh);
    for base in (0..40_000).step_by(997) {
        encoder.base = u32::MAX - base;
        for _ in 0..3 {
            let mut out = Vec::new();
            encoder.compress(&raw, &mut out);
            assert!(out == fresh, "base {base} below the top");
        }
    }
}

#[test]
fn corrupt_streams_never_panic_and_agree_with_the_crate() {
    let mut rng = Rng::new(5);
    let mut encoder = Encoder::new();
    for round in 0..3000 {
        let len = 30 + rng.below(400) as usize;
        let raw = json(&mut rng, len);
        let mut stream = Vec::new();
        if encoder.compress(&raw, &mut stream).is_none() {
            continue;
        }
        let mut raw_len = raw.len();
        match round % 4 {
            0 => stream.truncate(rng.index(stream.len())),
            1 => raw_len = rng.index(raw_len * 2),
            2 => rng.fill(&mut stream),
            _ => {
                let i = rng.index(stream.len());
                stream[i] ^= 1 << rng.below(8);
            }
        }
        let ours = unpack(&stream, raw_len).ok();
        let theirs = if stream.is_empty() || raw_len == 0 {
            ours.clone()
        } else {
            lzf::decompress(&stream, raw_len).ok().filter(|v| v.len() == raw_len)
        };
        assert!(ours == theirs, "round {round}: ours {ours:?}, theirs {theirs:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_come_back(raw in proptest::collection::vec(prop_oneof![3 => Just(b'a'), 2 => 0u8..4, 1 => any::<u8>()], 0..3000)) {
        check(&mut Encoder::new(), &raw);
    }

    #[test]
    fn any_stream_is_taken_or_refused(stream in proptest::collection::vec(any::<u8>(), 0..200), raw_len in 0usize..2000) {
        let _ = unpack(&stream, raw_len);
    }
}
