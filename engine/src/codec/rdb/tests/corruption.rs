//! Damaged files: an error or a value, the same however the bytes come, never a panic.

use super::support::{decode_in_pieces, feed};
use super::vectors::vectors;
use crate::codec::rdb::{Depth, KeyHead, Options, Sink, ValueEvent};

const DEPTHS: [Depth; 4] = [Depth::Skip, Depth::Raw, Depth::Packed, Depth::Item];
const UNCHECKED: Options =
    Options { verify_checksum: false, require_checksum: false, deep: false, relaxed_version: false };

fn check(file: &[u8], what: &str) {
    for depth in DEPTHS {
        let whole = decode_in_pieces(file, depth, UNCHECKED, file.len().max(1));
        for piece in [1, 7] {
            let other = decode_in_pieces(file, depth, UNCHECKED, piece);
            assert_eq!(other.end, whole.end, "{what} at {depth:?} in {piece}");
            assert_eq!(other.log, whole.log, "{what} at {depth:?} in {piece}");
        }
        if let Err(error) = &whole.end {
            assert!(error.at <= file.len() as u64, "{what}: {error}");
        }
    }
}

#[test]
fn every_truncation_of_every_type_is_an_error() {
    for vector in vectors() {
        let file = vector.file();
        for len in 0..file.len() {
            let what = format!("type {} cut at {len}", vector.object);
            check(&file[..len], &what);
            for depth in DEPTHS {
                let end = decode_in_pieces(&file[..len], depth, UNCHECKED, 100).end;
                let error = end.expect_err(&what);
                assert_eq!(error.at, len as u64, "{what}: {error}");
            }
        }
    }
}

#[test]
fn every_changed_byte_of_every_type_is_an_error_or_a_value() {
    for vector in vectors() {
        let file = vector.file();
        for at in 0..file.len() - 8 {
            for byte in [0, 0x7f, 0x81, 0xc3, 0xff] {
                let mut damaged = file.clone();
                damaged[at] = byte;
                check(&damaged, &format!("type {} byte {at} as {byte:#x}", vector.object));
            }
        }
    }
}

#[test]
fn every_other_byte_at_every_place_never_panics() {
    for vector in vectors() {
        let file = vector.file();
        for at in 0..file.len() - 8 {
            for byte in 0..=255 {
                let mut damaged = file.clone();
                damaged[at] = byte;
                for depth in [Depth::Packed, Depth::Item] {
                    let end = feed(&damaged, &mut Light { depth }, UNCHECKED, damaged.len());
                    assert!(end.is_ok() || byte != file[at]);
                }
            }
        }
    }
}

#[test]
fn with_its_checksum_no_changed_byte_goes_unnoticed() {
    for vector in vectors() {
        let file = vector.file();
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 0x10;
            let end = decode_in_pieces(&damaged, Depth::Item, Options::default(), 1000).end;
            assert!(end.is_err(), "type {} byte {at}", vector.object);
        }
    }
}

/// Refuses to go on after some events.
struct Tired {
    events: usize,
}

impl Sink for Tired {
    type Error = usize;
    fn key(&mut self, _: &KeyHead<'_>) -> Result<Depth, usize> {
        Ok(Depth::Item)
    }
    fn value(&mut self, _: ValueEvent<'_>) -> Result<(), usize> {
        self.events = self.events.checked_sub(1).ok_or(7usize)?;
        Ok(())
    }
}

#[test]
fn what_the_sink_refuses_is_handed_through() {
    use crate::codec::rdb::{Decoder, Failure};
    for vector in vectors() {
        let mut decoder = Decoder::new(Options::default());
        let mut sink = Tired { events: vector.lines.len() - 1 };
        let end = decoder.advance(&vector.file(), true, &mut sink);
        assert_eq!(end, Err(Failure::Sink(7)), "type {}", vector.object);
    }
}

/// Takes everything and keeps nothing.
struct Light {
    depth: Depth,
}

impl Sink for Light {
    type Error = std::convert::Infallible;
    fn key(&mut self, _: &KeyHead<'_>) -> Result<Depth, Self::Error> {
        Ok(self.depth)
    }
    fn value(&mut self, _: ValueEvent<'_>) -> Result<(), Self::Error> {
        Ok(())
    }
}

#[test]
fn counts_that_nothing_backs_are_not_allocated_for() {
    // Each would need petabytes if it were believed.
    let huge = b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff";
    for object in [1, 2, 3, 4, 5, 14, 15, 18, 22, 24, 28, 31] {
        let mut file = b"REDIS0016".to_vec();
        file.extend([object, 1, b'k']);
        match object {
            24 => file.extend([0; 8]),
            31 => file.push(1),
            _ => {}
        }
        file.extend(huge);
        let error = feed(&file, &mut Light { depth: Depth::Item }, UNCHECKED, 3).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("offset {}, key \"k\": Unexpected EOF reading RDB file", file.len())
        );
    }
    for (magic, opcode) in [(b"REDIS0016", 0xf2), (b"REDIS0016", 0xf3), (b"VALKEY080", 0xf3)] {
        let mut file = magic.to_vec();
        file.push(opcode);
        if opcode == 0xf2 || magic == b"VALKEY080" {
            file.push(0);
        }
        file.extend(huge);
        let error = feed(&file, &mut Light { depth: Depth::Item }, UNCHECKED, 3).unwrap_err();
        assert_eq!(error.at, file.len() as u64);
    }
}
