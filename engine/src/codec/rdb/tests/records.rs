//! Records that are passed are those that the decoder would have told of, and behind them it goes on as if it had.

use super::support::{Recorder, decode_in_pieces, feed_from};
use super::vectors::vectors;
use crate::base::time::UnixMs;
use crate::codec::rdb::records::{Passing, Stored};
use crate::codec::rdb::{
    Decoder, Depth, Error, KeyHead, ObjectType, Options, Version, Writer, WriterOptions,
};

/// Steps over values, and writes down what a decoder at depth `Skip` tells of their keys.
struct Skipper {
    version: Version,
    log: Vec<String>,
}

impl Passing for Skipper {
    fn record(&mut self, head: &KeyHead<'_>, value: &mut Stored<'_>) -> bool {
        if value.skip(head, self.version).is_none() {
            return false;
        }
        self.log.push(format!("{head:?}"));
        self.log.push(format!("end of key {}", value.offset()));
        true
    }

    fn aux(&mut self, key: &[u8]) -> bool {
        !key.is_empty()
    }
}

const UNCHECKED: Options =
    Options { verify_checksum: false, require_checksum: false, deep: false, relaxed_version: false };

/// Only what passing tells, too.
fn of_keys(log: Vec<String>) -> Vec<String> {
    log.into_iter().filter(|line| line.starts_with("KeyHead") || line.starts_with("end of key")).collect()
}

/// Passes what it can of each piece, and decodes the rest. Answers how many bytes were passed, too.
fn pass(file: &[u8], options: Options, piece: usize) -> (Vec<String>, Result<usize, Error>, usize) {
    const MAGIC: usize = 9;
    let mut decoder = Decoder::new(options);
    let mut log = Vec::new();
    let (mut from, mut to, mut passed) = (0, MAGIC.min(file.len()), 0);
    loop {
        if let Some(version) = decoder.version() {
            let mut skipper = Skipper { version, log };
            let bytes = decoder.pass(&file[from..to], &mut skipper);
            (log, from, passed) = (skipper.log, from + bytes, passed + bytes);
            assert_eq!(decoder.offset(), from as u64);
        }
        let mut sink = Recorder::new(Depth::Skip);
        let step = feed_from(&mut decoder, file, (from, to), &mut sink);
        log.extend(of_keys(sink.log));
        match step {
            Ok((end, true)) => return (log, Ok(end), passed),
            Ok((end, false)) => (from, to) = (end, (to + piece).min(file.len())),
            Err(error) => return (log, Err(error), passed),
        }
    }
}

/// Both ways must tell the same. Answers how many bytes were passed in one piece.
fn check(file: &[u8], options: Options, what: &str) -> usize {
    let decoded = decode_in_pieces(file, Depth::Skip, options, file.len().max(1));
    let expected = (of_keys(decoded.log), decoded.end);
    let mut most = 0;
    for piece in [file.len().max(1), 1, 7, 40] {
        let (log, end, passed) = pass(file, options, piece);
        assert_eq!((&log, &end), (&expected.0, &expected.1), "{what} in {piece}");
        most = most.max(passed);
    }
    most
}

/// All that can stand in front of a key, and keys in each form.
fn plain_file() -> Vec<u8> {
    let mut out = Writer::new(Vec::new(), WriterOptions::default());
    let Ok(()) = out.raw(b"REDIS0011");
    let Ok(()) = out.raw(b"\xfa\x04name\x05value\xfa\x04name\xc0\x05");
    for db in [0, 3, 70_000] {
        let Ok(()) = out.select_db(db);
        let Ok(()) = out.raw(b"\xfb\x03\x01");
        for key in ["key", "123", "-70000", "", "longlonglonglonglonglonglonglonglong"] {
            let Ok(()) = out.expire_ms(UnixMs(1 << 40));
            let Ok(()) = out.raw(b"\xf8\x40\x50\xf9\x07");
            let Ok(()) = out.key(ObjectType::String, key.as_bytes());
            let Ok(()) = out.string(key.repeat(db as usize % 50).as_bytes());
            let Ok(()) = out.raw(b"\xfd\x01\x02\x03\x84");
            let Ok(()) = out.key(ObjectType::Set, key.as_bytes());
            let Ok(()) = out.len(1);
            let Ok(()) = out.string(key.as_bytes());
        }
    }
    let Ok((bytes, _)) = out.finish();
    bytes
}

#[test]
fn every_type_is_passed_or_left() {
    let mut passed = 0;
    for vector in vectors() {
        let file = vector.file();
        for options in [UNCHECKED, Options::default()] {
            passed += usize::from(check(&file, options, &format!("type {}", vector.object)) > 10);
        }
    }
    assert!(passed > 40, "{passed}");
}

#[test]
fn what_stands_in_front_of_keys_is_passed_with_them() {
    let file = plain_file();
    let passed = check(&file, Options::default(), "plain");
    // Magic, end and checksum are not.
    assert_eq!(passed, file.len() - 18);
}

#[test]
fn damage_is_told_as_if_nothing_had_been_passed() {
    let files = vectors().into_iter().map(|vector| vector.file());
    for file in files.chain([plain_file()]) {
        for at in 0..file.len() - 8 {
            for byte in [0, 0x7f, 0x81, 0xc3, 0xfa, 0xfc, 0xff] {
                let mut damaged = file.clone();
                damaged[at] = byte;
                check(&damaged, UNCHECKED, &format!("byte {at} as {byte:#x}"));
            }
            check(&file[..at], UNCHECKED, &format!("cut at {at}"));
        }
        let mut damaged = file.clone();
        damaged[file.len() - 1] ^= 1;
        check(&damaged, Options::default(), "checksum");
    }
}
