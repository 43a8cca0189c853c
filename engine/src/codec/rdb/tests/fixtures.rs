//! Files that real servers wrote, from the folder that `CAIRN_FIXTURES` names.

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};

use super::support::feed;
use crate::codec::rdb::{Depth, KeyHead, Options, Sink, ValueEvent, Version, decode_value};

const DEPTHS: [Depth; 4] = [Depth::Skip, Depth::Raw, Depth::Packed, Depth::Item];

pub(super) fn fixtures(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("CAIRN_FIXTURES").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("{test}: skipped, CAIRN_FIXTURES is not set");
    }
    folder
}

pub(super) fn files_below(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("its entries can be read").path();
        if path.is_dir() {
            files_below(&path, extension, found);
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
}

struct Counter {
    depth: Depth,
    keys: u64,
    events: u64,
}

impl Sink for Counter {
    type Error = Infallible;
    fn key(&mut self, _: &KeyHead<'_>) -> Result<Depth, Infallible> {
        self.keys += 1;
        Ok(self.depth)
    }
    fn value(&mut self, _: ValueEvent<'_>) -> Result<(), Infallible> {
        self.events += 1;
        Ok(())
    }
}

#[test]
fn files_of_all_servers_decode_at_every_depth() {
    let Some(folder) = fixtures("files_of_all_servers_decode_at_every_depth") else { return };
    let mut files = Vec::new();
    files_below(&folder.join("made"), "rdb", &mut files);
    assert!(!files.is_empty());
    for path in files {
        let name = path.strip_prefix(&folder).unwrap().display().to_string();
        let bytes = fs::read(&path).unwrap();
        let refusal = match name.as_str() {
            n if n.contains("functions-prega") => Some("function data of a 7.0"),
            n if n.contains("keydb-cron") => Some("KeyDB's cron job"),
            "made/redis-4.0-rc1/modules.rdb" => Some("module value of a 4.0"),
            _ => None,
        };
        for depth in DEPTHS {
            let mut sink = Counter { depth, keys: 0, events: 0 };
            let end = feed(&bytes, &mut sink, Options::default(), bytes.len());
            match (end, refusal) {
                (Ok(end), None) => assert_eq!(end, bytes.len(), "{name} at {depth:?}"),
                (Err(error), Some(text)) => {
                    assert!(error.to_string().contains(text), "{name}: {error}");
                }
                (end, _) => panic!("{name} at {depth:?}: {end:?}"),
            }
        }
    }
}

#[test]
fn public_files_decode_at_every_depth() {
    let Some(folder) = fixtures("public_files_decode_at_every_depth") else { return };
    let mut files = Vec::new();
    files_below(&folder.join("public"), "rdb", &mut files);
    assert!(!files.is_empty());
    for path in files {
        let name = path.file_name().unwrap().display().to_string();
        let bytes = fs::read(&path).unwrap();
        let refusal = match name.as_str() {
            "encodings-rdb75-unknown-types.rdb" => Some("offset 9: Can't handle RDB format version 75"),
            "encodings-rdb987-unknown-types.rdb" | "encodings-rdb987.rdb" => {
                Some("offset 9: Can't handle RDB format version 987")
            }
            "future_v19.rdb" => Some("offset 9: Can't handle RDB format version 99"),
            "invalid_chksum_v8.rdb" => Some("offset 201: RDB CRC error"),
            _ => None,
        };
        for depth in DEPTHS {
            let mut sink = Counter { depth, keys: 0, events: 0 };
            let end = feed(&bytes, &mut sink, Options::default(), bytes.len());
            let is_looked_into = matches!(depth, Depth::Packed | Depth::Item);
            match (end, refusal) {
                (Err(error), _) if name == "corrupt_ziplist.rdb" && is_looked_into => {
                    assert_eq!(error.at, 488);
                }
                // A count of 255, which valkey's check tool refuses too.
                (Err(error), _) if name == "zipmap_big_len.rdb" && is_looked_into => {
                    assert_eq!(error.at, 34);
                }
                // Text of the library's own follows its checksum.
                (Ok(end), None) if name == "redis_40_with_module.rdb" => assert_eq!(end, 248),
                (Ok(end), None) => assert_eq!(end, bytes.len(), "{name} at {depth:?}"),
                (Err(error), Some(text)) => {
                    assert!(error.to_string().starts_with(text), "{name}: {error}");
                }
                (end, _) => panic!("{name} at {depth:?}: {end:?}"),
            }
        }
    }
}

/// The payloads that valkey's own tests found to crash a server once. What is left for whoever
/// builds the value is what the layout alone cannot tell: duplicates and emptiness. Valkey 9.1.2 with `sanitize-dump-payload yes` accepts only 029.
#[test]
fn corrupt_dump_payloads_are_refused_or_harmless() {
    let Some(folder) = fixtures("corrupt_dump_payloads_are_refused_or_harmless") else { return };
    let mut files = Vec::new();
    files_below(&folder.join("public/valkey-io+valkey/tests/integration"), "dump", &mut files);
    assert_eq!(files.len(), 72);
    let mut passed = Vec::new();
    for path in files {
        let bytes = fs::read(&path).unwrap();
        let (body, footer) = bytes.split_at(bytes.len() - 10);
        let version = Version::of_dump(u16::from_le_bytes([footer[0], footer[1]])).unwrap();
        for depth in DEPTHS {
            let mut sink = Counter { depth, keys: 0, events: 0 };
            let used = decode_value(version, body[0], &body[1..], depth, &mut sink);
            if depth == Depth::Item && used.is_ok_and(|used| used == body.len() - 1) {
                passed.push(path.file_stem().unwrap().display().to_string());
            }
        }
    }
    let duplicates = ["004", "017", "019", "020", "021", "022", "032", "049", "063", "071", "072"];
    let empty = ["009", "023"];
    let accepted_by_valkey = ["029"];
    let mut expected = [&duplicates[..], &empty, &accepted_by_valkey].concat();
    expected.sort_unstable();
    assert_eq!(passed, expected);
}

/// What each damaged file must lead to, `tests/it/samples.rs` checks; here, that depths agree.
#[test]
fn a_deep_check_finds_what_taking_apart_finds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/corrupt/rdb");
    let mut files = Vec::new();
    files_below(&folder, "rdb", &mut files);
    assert!(files.len() > 90);
    for path in files {
        let bytes = fs::read(&path).unwrap();
        let end = |depth, deep| {
            let mut sink = Counter { depth, keys: 0, events: 0 };
            let options = Options { deep, ..Options::default() };
            feed(&bytes, &mut sink, options, bytes.len())
        };
        let item = end(Depth::Item, false);
        assert_eq!(item, end(Depth::Packed, false), "{}", path.display());
        assert_eq!(item, end(Depth::Skip, true), "{}", path.display());
        assert_eq!(item, end(Depth::Raw, true), "{}", path.display());
    }
}
