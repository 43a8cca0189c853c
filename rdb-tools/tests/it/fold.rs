//! Logs of real servers, folded, against what those servers said is in them.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use rdb_tools::cmd::Reading;
use rdb_tools::drive::Stop;
use rdb_tools::fold::{Log, OnBad, Options, Summary, fold};
use rdb_tools::jsonl::{self, Jsonl};
use serde_json::Value;

use crate::support::{fixtures, testdata};

/// Commands that this version does not have: a log with one of them is refused by its name.
const REFUSED: [&str; 4] = ["\"VADD\"", "\"ARMSET\"", "\"XCFGSET\"", "xadd answers: ERR Invalid stream ID"];
/// Sets that their own server read otherwise: up to 5.0 it ran a transaction whose EXEC was cut off, which no
/// server does since.
const OTHERWISE: [&str; 1] = ["redis-3.0.7/aof-truncated-tx"];

const READING: Reading = Reading { no_mmap: false, no_progress: true };

/// The keys of a log as JSON lines.
fn folded(path: &Path) -> Result<(String, Summary), String> {
    let log = Log::open(path).map_err(|error| format!("{error:#}"))?;
    let mut out = Vec::new();
    let options = jsonl::Options { raw_modules: false, sorted: true };
    let mut sink = Jsonl::new(&mut out, options);
    let mut options = Options::new(READING);
    // Scripts of these end with errors, as they did where they were logged.
    if path.to_string_lossy().ends_with("-scripts") {
        options.on_bad = OnBad::Skip;
    }
    let summary = fold(&log, &options, &mut sink).map_err(|stop| match stop {
        Stop::Other(fault) => fault.to_string(),
        other => format!("{other:?}"),
    })?;
    drop(sink);
    Ok((String::from_utf8(out).expect("a dump is ASCII"), summary))
}

fn lines(text: &str) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    text.lines().map(parse).collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.clone().into_bytes(),
        other => {
            let text = other["b64"].as_str().expect("base64 is a string");
            base64::engine::general_purpose::STANDARD.decode(text).expect("is base64")
        }
    }
}

/// The keys that are not as they should be.
fn differences(ours: &str, theirs: &str) -> Vec<String> {
    let key = |line: &Value| (line["db"].as_u64().unwrap_or(0), bytes(&line["key"]));
    let ours: std::collections::BTreeMap<_, _> = lines(ours).into_iter().map(|l| (key(&l), l)).collect();
    let mut found = Vec::new();
    for expected in lines(theirs).iter().filter(|line| line["db"].is_u64() && line["expired"].is_null()) {
        let Some(got) = ours.get(&key(expected)) else {
            found.push(format!("missing: {expected}"));
            continue;
        };
        let is_short = expected["value"].get("sha1").is_some();
        let is_same = expected["type"] == got["type"]
            // Null is a time that counts from the moment of loading.
            && (expected["pexpireat"].is_null() || expected["pexpireat"] == got["pexpireat"])
            && (expected["type"] != "string"
                || is_short
                || bytes(&expected["value"]) == bytes(&got["value"]));
        if !is_same {
            found.push(format!("{got}\n  instead of {expected}"));
        }
    }
    let alive =
        |line: &&Value| line["pexpireat"].as_i64().is_none_or(|at| !(0..4_000_000_000_000).contains(&at));
    let known: std::collections::BTreeSet<_> = lines(theirs).iter().map(key).collect();
    let more = ours.iter().filter(|(key, line)| alive(line) && !known.contains(*key));
    found.extend(more.map(|(_, line)| format!("too many: {line}")));
    found
}

fn check(set: &Path) -> Vec<String> {
    let expected = PathBuf::from(format!("{}.expected.jsonl", set.display()));
    let told = match folded(set) {
        Ok((ours, _)) => differences(&ours, &fs::read_to_string(&expected).expect("expected contents")),
        Err(refusal) if REFUSED.iter().any(|name| refusal.contains(name)) => Vec::new(),
        Err(refusal) => vec![refusal],
    };
    told.into_iter().map(|what| format!("{}: {what}", set.display())).collect()
}

fn sets_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut sets: Vec<_> = entries
        .filter(|path| path.is_dir() && Path::new(&format!("{}.expected.jsonl", path.display())).exists())
        .collect();
    sets.sort();
    sets
}

#[test]
fn logs_of_the_testdata_fold_to_what_the_servers_hold() {
    let sets = sets_in(&testdata().join("aof"));
    assert!(sets.len() > 15, "{} sets", sets.len());
    let found: Vec<_> = sets.iter().flat_map(|set| check(set)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn logs_of_every_producer_fold_to_what_it_holds() {
    let Some(fixtures) = fixtures("logs_of_every_producer_fold_to_what_it_holds") else { return };
    let mut found = Vec::new();
    let mut sets = 0;
    for producer in fs::read_dir(fixtures.join("made")).expect("the folder of producers") {
        let folder = producer.expect("an entry").path();
        for set in folder.is_dir().then(|| sets_in(&folder)).into_iter().flatten() {
            if !OTHERWISE.iter().any(|name| set.ends_with(name)) {
                sets += 1;
                found.extend(check(&set));
            }
        }
    }
    assert!(sets > 80, "{sets} sets");
    assert!(found.is_empty(), "{}", found.join("\n"));
}
