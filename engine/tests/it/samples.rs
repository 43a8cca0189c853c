//! The files of `testdata/` through the codecs: good ones decode at every depth and hold what they
//! should, damaged ones end as `corrupt/index.tsv` says, and no single damaged byte does harm.
//!
//! Knows no values: what an RDB's keys become is tested where they become something.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::aof::manifest::Manifest;
use cairn_engine::codec::aof::record::{Parser, Step};
use cairn_engine::codec::rdb::{
    Decoder, Depth, Error, Failure, KeyHead, Kind, Options, Sink, State, ValueEvent,
};
use cairn_engine::engine::Engine;
use cairn_engine::packed::intset::Intset;
use cairn_engine::packed::listpack::Listpack;
use cairn_engine::packed::ziplist::Ziplist;
use cairn_engine::packed::zipmap::Zipmap;
use serde_json::Value;

use crate::fresh;

const DEPTHS: [Depth; 4] = [Depth::Skip, Depth::Raw, Depth::Packed, Depth::Item];
const DEEP: Options =
    Options { verify_checksum: true, require_checksum: false, deep: true, relaxed_version: false };
const DEEP_UNSUMMED: Options =
    Options { verify_checksum: false, require_checksum: false, deep: true, relaxed_version: false };

/// After the files were made, before the times to live that are to last.
const NOW: UnixMs = UnixMs(1_900_000_000_000);

/// Files up to this size are damaged byte by byte.
const SMALL_BYTES: usize = 600;

/// Remembers the keys, counts the rest.
struct Keys {
    depth: Depth,
    keys: Vec<(u64, Vec<u8>)>,
    functions: usize,
    events: usize,
}

impl Sink for Keys {
    type Error = Infallible;

    fn function(&mut self, _: u64, _: &[u8]) -> Result<(), Infallible> {
        self.functions += 1;
        Ok(())
    }
    fn key(&mut self, head: &KeyHead<'_>) -> Result<Depth, Infallible> {
        self.keys.push((head.db, head.key.to_vec()));
        Ok(self.depth)
    }
    fn value(&mut self, _: ValueEvent<'_>) -> Result<(), Infallible> {
        self.events += 1;
        Ok(())
    }
}

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata")
}

/// The files below a folder of `testdata` that end so, sorted.
fn files(folder: &str, end: &str) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut folders = vec![testdata().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("testdata can be read") {
            let path = entry.expect("its entries can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(end) {
                out.push(path);
            }
        }
    }
    out.sort();
    assert!(!out.is_empty(), "no {end} below {folder}");
    out
}

fn decode(file: &[u8], depth: Depth, options: Options) -> Result<Keys, Error> {
    let mut sink = Keys { depth, keys: Vec::new(), functions: 0, events: 0 };
    match Decoder::new(options).advance(file, true, &mut sink) {
        Ok(progress) => {
            assert_eq!(progress.state, State::Done);
            Ok(sink)
        }
        Err(Failure::Format(error)) => {
            assert!(error.at <= file.len() as u64, "{error}: beyond the file");
            Err(error)
        }
        Err(Failure::Sink(never)) => match never {},
    }
}

/// A string of an expected file; `None` if only its hash stands there.
fn bytes_of(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.clone().into_bytes()),
        other => Some(STANDARD.decode(other.get("b64")?.as_str()?).expect("base64")),
    }
}

#[test]
fn files_of_real_servers_hold_the_keys_they_should() {
    for path in files("rdb", ".rdb") {
        let file = fs::read(&path).unwrap();
        let expected = fs::read_to_string(path.with_extension("expected.jsonl")).unwrap();
        let (mut keys, mut functions) = (Vec::new(), 0);
        for line in expected.lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            match record["db"].as_u64() {
                Some(db) => keys.push((db, bytes_of(&record["key"]).expect("keys are never shortened"))),
                None => functions += 1,
            }
        }
        for depth in DEPTHS {
            let found =
                decode(&file, depth, DEEP).unwrap_or_else(|e| panic!("{}: {depth:?}: {e}", path.display()));
            let mut found_keys = found.keys;
            found_keys.sort();
            assert_eq!(found_keys, keys, "{}: {depth:?}", path.display());
            assert_eq!(found.functions, functions, "{}", path.display());
            assert!(depth == Depth::Skip || found.events >= keys.len(), "{}: {depth:?}", path.display());
        }
    }
}

/// The entries of a packed value of this kind (the folder's name); `None` if it is refused.
fn entries(kind: &str, bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    match kind {
        "listpack" => Some(Listpack::new(bytes).ok()?.iter().map(|e| e.to_vec()).collect()),
        "ziplist" => Some(Ziplist::new(bytes).ok()?.iter().map(|e| e.to_vec()).collect()),
        "intset" => Some(Intset::new(bytes).ok()?.iter().map(|v| v.to_string().into_bytes()).collect()),
        "zipmap" => {
            Some(Zipmap::new(bytes).ok()?.iter().flat_map(|(k, v)| [k.to_vec(), v.to_vec()]).collect())
        }
        other => panic!("testdata/packed has the kind {other}"),
    }
}

fn kind_of(path: &Path) -> String {
    path.parent().and_then(Path::file_name).expect("in a folder").to_string_lossy().into_owned()
}

#[test]
fn packed_samples_hold_the_entries_they_should() {
    for path in files("packed", ".bin") {
        let found = entries(&kind_of(&path), &fs::read(&path).unwrap());
        let text = fs::read_to_string(path.with_extension("expected.json")).unwrap();
        let expected: Vec<Value> = serde_json::from_str(&text).unwrap();
        let expected: Vec<Vec<u8>> = expected.iter().map(|e| bytes_of(e).expect("not shortened")).collect();
        assert_eq!(found.as_ref(), Some(&expected), "{}", path.display());
    }
}

#[test]
fn a_damaged_byte_in_a_packed_sample_is_refused_or_read() {
    for path in files("packed", ".bin") {
        let kind = kind_of(&path);
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let _ = entries(&kind, &good[..at]);
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                let _ = entries(&kind, &bad);
            }
        }
    }
}

#[test]
fn every_cut_and_every_flipped_bit_of_a_small_file_is_refused() {
    let mut seen = 0;
    for path in files("rdb", ".rdb") {
        let good = fs::read(&path).unwrap();
        if good.len() > SMALL_BYTES {
            continue;
        }
        seen += 1;
        let has_checksum = good[good.len() - 8..] != [0; 8];
        for at in 0..good.len() {
            let cut = decode(&good[..at], Depth::Item, DEEP);
            assert!(cut.is_err(), "{}: cut at {at} reads", path.display());
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                let summed = decode(&bad, Depth::Item, DEEP);
                let told = summed.is_err() || !has_checksum;
                assert!(told, "{}: bit {bit} at {at} goes unseen", path.display());
                for depth in DEPTHS {
                    let _ = decode(&bad, depth, DEEP_UNSUMMED);
                }
            }
        }
    }
    assert!(seen > 10, "only {seen} small files");
}

/// The rows of `corrupt/index.tsv`: file, and what a reader must make of it.
fn damaged(start: &str) -> BTreeMap<String, String> {
    let index = fs::read_to_string(testdata().join("corrupt/index.tsv")).unwrap();
    let rows: BTreeMap<String, String> = index
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>())
        .filter(|cells| cells[0].starts_with(start))
        .map(|cells| (cells[0].to_owned(), cells[2].to_owned()))
        .collect();
    assert!(rows.len() > 10, "index.tsv has {} rows of {start}", rows.len());
    rows
}

/// What goes against the index: (file, what should be, what was).
fn report(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n  {}\n", wrong.join("\n  "));
}

#[test]
fn damaged_files_are_refused_and_good_ones_are_not() {
    let mut wrong = Vec::new();
    for (name, expect) in damaged("rdb/") {
        let file = fs::read(testdata().join("corrupt").join(&name)).unwrap();
        for depth in DEPTHS {
            let outcome = decode(&file, depth, DEEP).map(|found| found.keys.len());
            let as_expected = match expect.as_str() {
                "refuse" => outcome.is_err(),
                "good" => outcome.is_ok(),
                "checksum" => {
                    matches!(&outcome, Err(e) if matches!(e.kind, Kind::Checksum { .. }))
                        && decode(&file, depth, DEEP_UNSUMMED).is_ok()
                }
                // Not a streaming decoder's business.
                "value" | "empty" | "server" => true,
                other => panic!("index.tsv says {other}"),
            };
            if !as_expected {
                wrong.push(format!("{name}: {expect}, at {depth:?}: {outcome:?}"));
            }
        }
    }
    report(&wrong);
}

#[test]
fn an_engine_loads_no_damaged_file() {
    let mut wrong = Vec::new();
    for (name, expect) in damaged("rdb/") {
        let path = testdata().join("corrupt").join(&name);
        let before = fs::read(&path).unwrap();
        let mut engine = Engine::new(fresh::config(&path), NOW);
        let outcome =
            engine.load(NOW, DEEP, &mut |_| {}).map(|loaded| loaded.expect("the file is there").keys);
        let as_expected = match expect.as_str() {
            "refuse" | "checksum" | "value" => outcome.is_err(),
            "good" => outcome.is_ok(),
            "empty" => matches!(outcome, Ok(0)),
            // Whether it is loaded is the server's choice; it only must not come to harm.
            "server" => true,
            other => panic!("index.tsv says {other}"),
        };
        if !as_expected {
            wrong.push(format!("{name}: {expect}: {outcome:?}"));
        }
        assert_eq!(fs::read(&path).unwrap(), before, "{name} was changed");
    }
    report(&wrong);
}

#[test]
fn an_engine_loads_what_real_servers_wrote() {
    for path in files("rdb", ".rdb") {
        let expected = fs::read_to_string(path.with_extension("expected.jsonl")).unwrap();
        let records: Vec<Value> = expected.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        // What the file holds and the server does not has expired.
        let (there, gone): (Vec<&Value>, Vec<&Value>) =
            records.iter().filter(|r| r["db"].as_u64().is_some()).partition(|r| r["expired"].is_null());
        let mut engine = Engine::new(fresh::config(&path), NOW);
        let loaded = engine
            .load(NOW, DEEP, &mut |_| {})
            .unwrap_or_else(|e| panic!("{e}"))
            .unwrap_or_else(|| panic!("{} is there", path.display()));
        assert_eq!(loaded.keys, there.len() as u64, "{}", path.display());
        assert_eq!(loaded.expired + loaded.empty, gone.len() as u64, "{}", path.display());
        assert_eq!(loaded.trailing_bytes, 0, "{}", path.display());
    }
}

#[test]
fn damaged_logs_are_refused_and_good_ones_are_not() {
    let mut wrong = Vec::new();
    for (name, expect) in damaged("aof/").iter().filter(|(name, _)| name.ends_with(".aof")) {
        let file = fs::read(testdata().join("corrupt").join(name)).unwrap();
        let mut parser = Parser::new(0, Some(file.len() as u64));
        let outcome = loop {
            let at = usize::try_from(parser.at()).unwrap();
            match parser.next(&file[at..], true) {
                Ok(Step::Record(_)) => {}
                Ok(Step::Done) => break Ok(()),
                Ok(Step::More { .. }) => panic!("{name}: wants more after the end"),
                Err(error) => break Err(error),
            }
        };
        let as_expected = match expect.as_str() {
            // A length beyond the file is a cut file as much as a wrong one.
            "refuse" => outcome.is_err(),
            "good" | "server" => outcome.is_ok(),
            // An open transaction is cut as well, and only who counts MULTI and EXEC sees it.
            "truncated" => outcome.map_or_else(|e| e.is_truncation(), |()| name.contains("multi")),
            "either" => true,
            other => panic!("index.tsv says {other}"),
        };
        if !as_expected {
            wrong.push(format!("{name}: {expect}: {outcome:?}"));
        }
    }
    report(&wrong);
}

#[test]
fn damaged_manifests_are_refused_and_good_ones_are_not() {
    let mut wrong = Vec::new();
    for (name, expect) in damaged("aof/manifest-") {
        let text = fs::read(testdata().join("corrupt").join(&name).join("a.manifest")).unwrap();
        let outcome = Manifest::parse(&text).map(|_| ());
        // That a file is missing shows only to who opens it.
        if outcome.is_ok() != (expect == "good" || name.contains("missing")) {
            wrong.push(format!("{name}: {expect}: {outcome:?}"));
        }
    }
    report(&wrong);
}
