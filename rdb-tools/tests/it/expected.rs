//! `dump --format jsonl` against what real servers said is in their files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use base64::Engine as _;
use serde_json::{Map, Value};
use sha1::{Digest, Sha1};

use crate::support::{files_with, fixtures, rdb_tools, testdata};

type Lines = BTreeMap<(i64, String), Map<String, Value>>;

fn lines(text: &str) -> Lines {
    let mut lines = Lines::new();
    for line in text.lines() {
        let object: Map<String, Value> = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let db = object["db"].as_i64().expect("a number");
        let twice = lines.insert((db, object["key"].to_string()), object);
        assert!(twice.is_none(), "two lines for a key: {line}");
    }
    lines
}

/// The fixtures shorten strings above 4096 bytes; a dump never does.
fn shorten(value: &mut Value) {
    let bytes = match value {
        Value::String(text) if text.len() > 4096 => text.as_bytes().to_vec(),
        Value::Object(object) if object.len() == 1 && object.contains_key("b64") => {
            let text = object["b64"].as_str().expect("base64 is a string");
            base64::engine::general_purpose::STANDARD.decode(text).expect("is base64")
        }
        Value::Array(items) => return items.iter_mut().for_each(shorten),
        Value::Object(object) => {
            return object.iter_mut().filter(|(name, _)| *name != "key").for_each(|(_, v)| shorten(v));
        }
        _ => return,
    };
    if bytes.len() > 4096 {
        let sha1: String = Sha1::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        *value = serde_json::json!({"len": bytes.len(), "sha1": sha1});
    }
}

/// Scores are compared as numbers: minus zero gets lost on some ways through a server.
fn zset_numbers(value: &mut Value) {
    for pair in value.as_array_mut().expect("a list of pairs") {
        let score = pair[1].as_str().expect("scores are strings");
        let score: f64 = score.parse().expect("scores are numbers");
        pair[1] = Value::String((score + 0.0).to_string());
    }
}

/// A server drops fields whose time has come; an offline tool has no clock and shows them.
fn drop_expired_fields(ours: &mut Map<String, Value>) {
    /// All fixtures were loaded before it, and what shall stay in them expires after it.
    const LOADED_BEFORE_MS: i64 = 4_000_000_000_000;
    let Some(expiries) = ours.get_mut("field_pexpireat").and_then(Value::as_array_mut) else { return };
    let is_past = |pair: &mut Value| pair[1].as_i64().is_some_and(|at| at < LOADED_BEFORE_MS);
    let gone: Vec<Value> = expiries.extract_if(.., is_past).map(|pair| pair[0].clone()).collect();
    if expiries.is_empty() {
        ours.remove("field_pexpireat");
    }
    if let Some(Value::Array(pairs)) = ours.get_mut("value") {
        pairs.retain(|pair| !gone.contains(&pair[0]));
    }
}

fn make_comparable(ours: &mut Map<String, Value>, theirs: &mut Map<String, Value>, same_bytes: bool) {
    theirs.remove("encoding");
    theirs.remove("functions");
    if !same_bytes {
        for object in [&mut *ours, &mut *theirs] {
            object.remove("rdb_type");
            object.remove("string_form");
        }
    }
    // The same with whole keys.
    if theirs.remove("expired").is_some() {
        for name in ["type", "value", "string_form", "field_pexpireat"] {
            ours.remove(name);
            theirs.remove(name);
        }
    }
    drop_expired_fields(ours);
    for (name, value) in &mut *ours {
        if name != "key" {
            shorten(value);
        }
    }
    match theirs.get("type").and_then(Value::as_str) {
        Some("zset") => {
            for object in [ours, theirs] {
                object.get_mut("value").into_iter().for_each(zset_numbers);
            }
        }
        Some("vectorset") if theirs["value"].get("attributes_count").is_none() => {
            ours["value"].as_object_mut().expect("an object").remove("attributes_count");
        }
        _ => {}
    }
}

/// The differences between a dump of `rdb` and `expected`, for a person to read.
fn differences(rdb: &Path, expected: &Path, same_bytes: bool, args: &[&str]) -> Vec<String> {
    let output = rdb_tools(
        [&["dump", "--no-progress"], args]
            .concat()
            .iter()
            .map(|a| (*a).into())
            .chain([rdb.as_os_str().to_owned()]),
    );
    let mut found = Vec::new();
    if output.status.code() != Some(0) {
        found.push(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    let mut ours = lines(std::str::from_utf8(&output.stdout).expect("a dump is ASCII"));
    let theirs = lines(&fs::read_to_string(expected).expect("expected contents"));
    for (key, mut theirs) in theirs {
        let Some(mut ours) = ours.remove(&key) else {
            found.push(format!("{key:?} is missing"));
            continue;
        };
        make_comparable(&mut ours, &mut theirs, same_bytes);
        if ours != theirs {
            let show = |o| serde_json::to_string(o).expect("is JSON").chars().take(1500).collect::<String>();
            found.push(format!("{key:?}\n  dump: {}\n  file: {}", show(&ours), show(&theirs)));
        }
    }
    found.extend(ours.keys().map(|key| format!("{key:?} is not in the server")));
    found.iter_mut().for_each(|line| *line = format!("{}: {line}", rdb.display()));
    found
}

/// Compares every file of a folder that has expected contents. `refused` are not readable, by name.
fn check_folder(folder: &Path, refused: &[&str], args: &[&str]) -> usize {
    let mut found = Vec::new();
    let mut compared = 0;
    for rdb in files_with(folder, "rdb") {
        let stem = rdb.file_stem().expect("has a name").to_str().expect("names are ASCII");
        if refused.iter().any(|name| folder.join(format!("{name}.rdb")) == rdb) {
            let output = rdb_tools(["dump".as_ref(), rdb.as_os_str()]);
            let message = String::from_utf8_lossy(&output.stderr).into_owned();
            let is_refusal = output.status.code() == Some(1) && message.contains("offset ");
            if !is_refusal {
                found.push(format!("{}: not refused: {message}", rdb.display()));
            }
            continue;
        }
        let own = rdb.with_extension("expected.jsonl");
        let (expected, same_bytes) = match own.exists() {
            true => (own, true),
            false => (folder.join(format!("{}.expected.jsonl", stem.trim_end_matches("-nocompress"))), false),
        };
        assert!(expected.exists(), "{} has no expected contents", rdb.display());
        found.extend(differences(&rdb, &expected, same_bytes, args));
        compared += 1;
    }
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found[..found.len().min(12)].join("\n"));
    compared
}

#[test]
fn dumps_of_the_testdata_are_what_the_servers_hold() {
    let folder = testdata().join("rdb");
    assert!(check_folder(&folder, &[], &[]) > 20);
}

#[test]
fn a_buffered_and_sorted_dump_is_the_same() {
    let folder = testdata().join("rdb");
    check_folder(&folder, &[], &["--no-mmap", "--sort"]);
}

#[test]
fn dumps_of_every_producer_are_what_it_holds() {
    let Some(fixtures) = fixtures("dumps_of_every_producer_are_what_it_holds") else { return };
    let mut compared = 0;
    for producer in fs::read_dir(fixtures.join("made")).expect("the folder of producers") {
        let folder = producer.expect("an entry").path();
        let refused: &[&str] = match folder.file_name().and_then(|n| n.to_str()) {
            Some("redis-4.0-rc1") => &["modules"],
            Some("redis-7.0-rc2") => &["functions-prega"],
            Some("keydb-6.3.4") => &["keydb-cron"],
            _ => &[],
        };
        if folder.is_dir() {
            compared += check_folder(&folder, refused, &[]);
        }
    }
    assert!(compared > 100, "{compared} files");
}
