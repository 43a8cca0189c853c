//! A damaged snapshot is refused and left as it is: every bit of every byte, the version's too.

use std::path::{Path, PathBuf};

use cairn_engine::base::crc64;
use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::Options;
use cairn_engine::engine::{Engine, EngineConfig};
use cairn_engine::persist::apart::Apart;
use cairn_engine::persist::load::Loaded;
use cairn_engine::value::{StringValue, Value};

use crate::fresh;
use crate::simulated::{DIR, Simulated};

const NOW: UnixMs = UnixMs(1_800_000_000_000);

fn path() -> PathBuf {
    Path::new(DIR).join("dump.rdb")
}

fn engine(disk: &Simulated) -> Engine {
    let config = EngineConfig { apart: Apart::Here, ..fresh::config(&path()) };
    Engine::with_storage(config, NOW, disk.storage())
}

fn load(bytes: &[u8]) -> Result<Loaded, String> {
    let disk = Simulated::new();
    disk.put(path(), bytes);
    let loaded = engine(&disk).load(NOW, Options::default(), &mut |_| {});
    assert_eq!((disk.get(path()).as_deref(), disk.names(DIR).len()), (Some(bytes), 1), "it is untouched");
    loaded.map(|loaded| loaded.expect("it is there")).map_err(|error| error.to_string())
}

/// A file as Redis before 3.2 wrote them: no auxiliary fields that could betray the version.
fn old_file(version: u16) -> Vec<u8> {
    let mut bytes = format!("REDIS{version:04}").into_bytes();
    bytes.extend_from_slice(b"\xfe\x00\x00\x03key\x05value\x01\x04list\x01\x01a\xff");
    let sum = crc64::crc64(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

fn saved() -> Vec<u8> {
    let disk = Simulated::new();
    let mut engine = engine(&disk);
    let value = Value::String(StringValue::new(b"value"));
    engine.keyspace_mut().db_mut(0).set(b"key", value, Some(UnixMs(NOW.0 + 1000)));
    engine.save(NOW, 0).unwrap();
    disk.get(path()).unwrap()
}

#[test]
fn no_flipped_bit_goes_unseen() {
    for good in [saved(), old_file(5), old_file(6), old_file(9)] {
        assert!(!load(&good).unwrap().unchecked);
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                let error = load(&bad).expect_err(&format!("bit {bit} of byte {at} of {good:?}"));
                assert!(error.contains("dump.rdb: offset"), "{error}");
            }
        }
    }
}

#[test]
fn no_cut_goes_unseen() {
    for good in [saved(), old_file(6)] {
        for end in 0..good.len() {
            let error = load(&good[..end]).expect_err("cut");
            assert!(error.contains("Unexpected EOF reading RDB file"), "{error}");
        }
    }
}

#[test]
fn a_version_without_checksum_has_nothing_behind_its_end() {
    let mut bytes = old_file(4);
    let error = load(&bytes).unwrap_err();
    assert!(error.contains("8 bytes behind the end of a file of version 4"), "{error}");
    bytes.truncate(bytes.len() - 8);
    assert_eq!(load(&bytes).unwrap().keys, 2);
    // Less than a checksum is what it is elsewhere: said, and not held against the file.
    bytes.extend_from_slice(b"1234567");
    assert_eq!(load(&bytes).unwrap().trailing_bytes, 7);
}

#[test]
fn a_file_of_zeros_and_an_empty_one_are_refused() {
    for bytes in [vec![], vec![0; 9], vec![0; 4096]] {
        assert!(load(&bytes).is_err(), "{} bytes", bytes.len());
    }
}

#[test]
fn times_before_1970_have_passed_and_minus_one_is_none() {
    let with = |expiry: i64| {
        let mut bytes = b"REDIS0004\xfe\x00\xfc".to_vec();
        bytes.extend_from_slice(&expiry.to_le_bytes());
        bytes.extend_from_slice(b"\x00\x01k\x01v\xff");
        let loaded = load(&bytes).unwrap();
        (loaded.keys, loaded.expired)
    };
    assert_eq!(with(-5), (0, 1));
    assert_eq!(with(0), (0, 1));
    assert_eq!(with(i64::MIN), (0, 1));
    assert_eq!(with(-1), (1, 0));
    assert_eq!(with(NOW.0 + 1), (1, 0));
}

#[test]
fn a_packed_sorted_set_needs_numbers_for_scores() {
    // Two members with scores, which are one digit and a text of three bytes.
    let file = |object: u8, score: &[u8; 3]| {
        let [a, b, c] = *score;
        let pack = match object {
            17 => vec![20, 0, 0, 0, 4, 0, 0x81, b'a', 2, 1, 1, 0x81, b'b', 2, 0x83, a, b, c, 4, 0xff],
            // A ziplist: an entry begins with the length of the one before it.
            _ => vec![24, 0, 0, 0, 18, 0, 0, 0, 4, 0, 0, 1, b'a', 3, 0xf2, 2, 1, b'b', 3, 3, a, b, c, 0xff],
        };
        let mut bytes = b"REDIS0010\xfe\x00".to_vec();
        bytes.extend_from_slice(&[object, 1, b'k', pack.len() as u8]);
        bytes.extend_from_slice(&pack);
        bytes.extend_from_slice(b"\xff\0\0\0\0\0\0\0\0");
        load(&bytes).map(|loaded| loaded.keys)
    };
    for object in [12, 17] {
        for score in [b"2.5", b"-7.", b"3e1", b"inf", b"+.5", b"0e0"] {
            assert_eq!(file(object, score), Ok(1), "{object} {}", score.escape_ascii());
        }
        for score in [b"nan", b"2.x", b"1e+", b"...", b" 25", b"e12", b"0x1"] {
            let error = file(object, score).expect_err(&score.escape_ascii().to_string());
            assert!(error.contains("dump.rdb: offset 11, key \"k\": the score of member 1"), "{error}");
        }
    }
}

#[test]
fn any_bytes_are_a_key_and_a_value() {
    let all: Vec<u8> = (0..=255).collect();
    let names: [&[u8]; 6] = [b"", b"\0", b"\r\n*1\r\n", b"\xff\xfe", "\u{e9}".as_bytes(), &all];
    let disk = Simulated::new();
    let mut before = engine(&disk);
    for name in names {
        let value = Value::String(StringValue::new(name));
        before.keyspace_mut().db_mut(0).set(name, value, None);
    }
    before.save(NOW, 0).unwrap();
    let mut after = engine(&disk);
    after.load(NOW, Options::default(), &mut |_| {}).unwrap();
    assert_eq!((after.keyspace().keys(), after.digest()), (names.len(), before.digest()));
    for name in names {
        let Value::String(value) = after.keyspace().db(0).entry(name).unwrap().to_value() else { panic!() };
        assert_eq!(value.view().to_vec(), name);
    }
}
