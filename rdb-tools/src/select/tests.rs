//! Selecting gives what filtering the whole dump afterwards gives, however the file comes in.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use cairn_engine::base::glob;
use cairn_engine::base::slot::key_slot;
use cairn_engine::codec::rdb::{
    Decoder, Depth, Failure, KeyHead, Options as DecoderOptions, Sink, State, ValueEvent,
};
use clap::Parser;
use serde_json::Value;

use super::{Halted, Selected, Selection};
use crate::jsonl::{Jsonl, Options};

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    selection: Selection,
}

fn selection(args: &str) -> Result<Selection, String> {
    let args = ["x"].into_iter().chain(args.split(' ').filter(|word| !word.is_empty()));
    Cli::try_parse_from(args).map(|cli| cli.selection).map_err(|error| error.to_string())
}

/// Pushes a file through a sink, `step` bytes more at a time than are needed.
fn push<S: Sink>(bytes: &[u8], step: usize, sink: &mut S) -> Result<(), Failure<S::Error>> {
    let mut decoder = Decoder::new(DecoderOptions::default());
    let (mut at, mut to) = (0, step);
    loop {
        to = to.min(bytes.len());
        let progress = decoder.advance(&bytes[at..to], to == bytes.len(), sink)?;
        at += progress.consumed;
        match progress.state {
            State::Done => return Ok(()),
            State::More { at_least } => to = at + usize::try_from(at_least).expect("is at hand").max(step),
        }
    }
}

fn lines(bytes: &[u8], step: usize, args: &str) -> Vec<Value> {
    let chosen = selection(args).expect("are arguments").compile().expect("is a selection");
    let mut out = Vec::new();
    let mut sink = Jsonl::new(&mut out, Options::default());
    push(bytes, step, &mut Selected::new(&chosen, &mut sink)).expect("is a good file");
    drop(sink);
    let text = String::from_utf8(out).expect("is ASCII");
    text.lines().map(|line| serde_json::from_str(line).expect("is JSON")).collect()
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/rdb");
    let entries = std::fs::read_dir(folder).expect("the testdata");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "rdb"));
    files.sort();
    files
}

fn key_bytes(line: &Value) -> Vec<u8> {
    bytes_of(&line["key"])
}

fn bytes_of(value: &Value) -> Vec<u8> {
    use base64::Engine as _;
    match value {
        Value::String(text) => text.as_bytes().to_vec(),
        other => {
            let text = other["b64"].as_str().expect("is base64");
            base64::engine::general_purpose::STANDARD.decode(text).expect("is base64")
        }
    }
}

fn elements(line: &Value) -> Option<u64> {
    let value = &line["value"];
    Some(match line["type"].as_str().expect("a type") {
        "string" | "function" => 1,
        "stream" => value["length"].as_u64().expect("a length"),
        "array" => value["count"].as_u64().expect("a count"),
        "vectorset" => value["size"].as_u64().expect("a size"),
        "list" | "set" | "hash" | "zset" | "radix" => value.as_array().expect("an array").len() as u64,
        _ => return None,
    })
}

/// How many bytes each value has in the file.
#[derive(Default)]
struct SizesOf {
    current: (u64, Vec<u8>),
    sizes: HashMap<(u64, Vec<u8>), u64>,
}

impl Sink for SizesOf {
    type Error = std::convert::Infallible;

    fn key(&mut self, head: &KeyHead<'_>) -> Result<Depth, Self::Error> {
        self.current = (head.db, head.key.to_vec());
        self.sizes.insert(self.current.clone(), 0);
        Ok(Depth::Raw)
    }

    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), Self::Error> {
        if let ValueEvent::Raw(piece) = event {
            *self.sizes.get_mut(&self.current).expect("is there") += piece.len() as u64;
        }
        Ok(())
    }
}

/// What OBJECT ENCODING said on the server that wrote the file.
fn encodings(file: &Path) -> HashMap<(i64, String), String> {
    let text = std::fs::read_to_string(file.with_extension("expected.jsonl")).unwrap_or_default();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("is JSON"));
    let told = lines.filter_map(|line| {
        let encoding = line["encoding"].as_str()?.to_owned();
        Some(((line["db"].as_i64()?, line["key"].to_string()), encoding))
    });
    told.collect()
}

#[test]
fn a_selection_is_what_filtering_afterwards_gives() {
    const NOW: i64 = 4_000_000_000_000;
    let mut chosen_in_all: HashMap<&str, usize> = HashMap::new();
    let mut differing_encodings = 0;
    for file in files() {
        let bytes = std::fs::read(&file).expect("testdata");
        let all = lines(&bytes, 1 << 20, "");
        let mut sizes = SizesOf::default();
        push(&bytes, 1 << 20, &mut sizes).expect("is a good file");
        let size = |line: &Value| match line["db"].as_u64() {
            Some(db) => sizes.sizes[&(db, key_bytes(line))],
            None => bytes_of(&line["value"]).len() as u64,
        };
        let expiry = |line: &Value| line["pexpireat"].as_i64().filter(|at| *at != -1);
        let kind = |line: &Value| line["type"].as_str().expect("a type").to_owned();
        let is_key = |line: &Value| line["db"] != -1;
        type Test<'t> = (&'static str, Box<dyn Fn(&Value) -> bool + 't>);
        let tests: Vec<Test<'_>> = vec![
            ("", Box::new(|_| true)),
            (
                "--key *a* --key *:*",
                Box::new(|l| glob::matches(b"*a*", &key_bytes(l), false) || key_bytes(l).contains(&b':')),
            ),
            (
                "--key * --not-key [a-h]*",
                Box::new(|l| !key_bytes(l).first().is_some_and(|b| (b'a'..=b'h').contains(b))),
            ),
            (
                "--regex ^.{3,8}$",
                Box::new(|l| (3..=8).contains(&key_bytes(l).len()) && !key_bytes(l).contains(&b'\n')),
            ),
            ("--not-regex [\\x80-\\xff]", Box::new(|l| key_bytes(l).is_ascii())),
            ("--db 0,2..", Box::new(|l| l["db"] == 0 || l["db"].as_i64() >= Some(2))),
            ("--not-db 0", Box::new(|l| l["db"] != 0)),
            (
                "--type hash,function,module",
                Box::new(|l| {
                    matches!(&*kind(l), "hash" | "function")
                        || l["value"].get("module_id").is_some()
                        || kind(l) == "vectorset"
                }),
            ),
            ("--type vectorset,test___dt", Box::new(|l| matches!(&*kind(l), "vectorset" | "test___dt"))),
            ("--not-type vectorset,zset", Box::new(|l| !matches!(&*kind(l), "vectorset" | "zset"))),
            ("--ttl persistent", Box::new(|l| expiry(l).is_none())),
            ("--ttl volatile --type string", Box::new(|l| expiry(l).is_some() && kind(l) == "string")),
            ("--ttl expired", Box::new(|l| expiry(l).is_some_and(|at| at <= NOW))),
            ("--ttl ..900000000d", Box::new(|l| expiry(l).is_some_and(|at| at >= NOW))),
            ("--ttl @0..@4000000000", Box::new(|l| expiry(l).is_some_and(|at| (0..=NOW).contains(&at)))),
            ("--ttl field-ttl", Box::new(|l| l.get("field_pexpireat").is_some())),
            ("--size 100..10K", Box::new(|l| (100..=10_240).contains(&size(l)))),
            ("--size 1KiB..", Box::new(|l| size(l) >= 1024)),
            ("--size ..20 --size 2KB..", Box::new(|l| size(l) <= 20 || size(l) >= 2000)),
            ("--elements 3..200", Box::new(|l| elements(l).is_some_and(|n| (3..=200).contains(&n)))),
            ("--elements 20..", Box::new(|l| elements(l).is_some_and(|n| n >= 20))),
            ("--elements 1 --not-type string", Box::new(|l| elements(l) == Some(1) && kind(l) != "string")),
            ("--slot 0-8191", Box::new(|l| is_key(l) && key_slot(&key_bytes(l)) <= 8191)),
            ("--idle 0..", Box::new(|l| l.get("idle").is_some())),
            ("--freq 1..255", Box::new(|l| l["freq"].as_u64() >= Some(1))),
            (
                "--encoding hash-listpack,quicklist-v2,string",
                Box::new(|l| is_key(l) && matches!(l["rdb_type"].as_u64(), Some(16 | 18 | 0))),
            ),
        ];
        for (args, holds) in &tests {
            let expected: Vec<&Value> = all.iter().filter(|line| holds(line)).collect();
            *chosen_in_all.entry(args).or_default() += expected.len();
            for step in [1 << 20, 64, 1] {
                let found = lines(&bytes, step, &format!("{args} --now 2096-10-02T07:06:40Z"));
                assert_eq!(
                    found.iter().collect::<Vec<_>>(),
                    expected,
                    "{}, {args}, step {step}",
                    file.display()
                );
            }
        }
        let told = encodings(&file);
        for name in crate::encoding::NAMES {
            for line in lines(&bytes, 64, &format!("--encoding {name}")) {
                let key = (line["db"].as_i64().expect("a database"), line["key"].to_string());
                if let Some(said) = told.get(&key).filter(|said| *said != name) {
                    println!("{}: {key:?} is {said}, not {name}", file.display());
                    differing_encodings += 1;
                }
            }
        }
    }
    for (args, count) in chosen_in_all {
        assert!(count > 0, "nothing was ever chosen by {args}");
    }
    // Two strings of Valkey 8.1, which counts the key, and two hashes that had lost their expiries.
    assert!(differing_encodings < 5, "{differing_encodings}");
}

/// A file with a hash of so many fields, then a string.
fn file_with_hash(fields: u32) -> Vec<u8> {
    let mut bytes = b"REDIS0011\xfe\x00\x04\x03big\x80".to_vec();
    bytes.extend_from_slice(&fields.to_be_bytes());
    for i in 0..fields {
        bytes.push(8);
        bytes.extend_from_slice(format!("{i:08}").as_bytes());
        bytes.push(40);
        bytes.extend_from_slice(format!("{i:040}").as_bytes());
    }
    bytes.extend_from_slice(b"\x00\x01s\x01v\xff\0\0\0\0\0\0\0\0");
    bytes
}

/// Counts fields at one depth.
struct Fields(Depth, Vec<(Vec<u8>, usize, usize)>);

impl Sink for Fields {
    type Error = std::convert::Infallible;

    fn key(&mut self, head: &KeyHead<'_>) -> Result<Depth, Self::Error> {
        self.1.push((head.key.to_vec(), 0, 0));
        Ok(self.0)
    }

    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), Self::Error> {
        let (_, fields, raw) = self.1.last_mut().expect("a key is open");
        match event {
            ValueEvent::Field { .. } => *fields += 1,
            ValueEvent::Raw(piece) => *raw += piece.len(),
            _ => {}
        }
        Ok(())
    }
}

#[test]
fn values_larger_than_memory_is_given_are_kept_in_a_file() {
    const FIELDS: u32 = 200_000;
    let bytes = file_with_hash(FIELDS);
    let value_bytes = 5 + FIELDS as usize * 50;
    assert!(value_bytes > 2 * super::MEMORY_BYTES);
    for depth in [Depth::Item, Depth::Raw, Depth::Skip] {
        for (args, big, small) in [
            ("--size ..100M", true, true),
            ("--size ..9M", false, true),
            ("--size 9M..100M", true, false),
            ("--size 1M..", true, false),
            ("--elements 200000..200001", true, false),
            ("--elements 200001..200002", false, false),
            ("--elements 1", false, true),
        ] {
            let chosen = selection(args).expect("are arguments").compile().expect("is a selection");
            let mut sink = Fields(depth, Vec::new());
            push(&bytes, 100_000, &mut Selected::new(&chosen, &mut sink)).expect("is a good file");
            let mut expected = Vec::new();
            let fields = if depth == Depth::Item { FIELDS as usize } else { 0 };
            let raw = |bytes| if depth == Depth::Raw { bytes } else { 0 };
            if big {
                expected.push((b"big".to_vec(), fields, raw(value_bytes)));
            }
            if small {
                expected.push((b"s".to_vec(), 0, raw(2)));
            }
            assert_eq!(sink.1, expected, "{args} {depth:?}");
        }
    }
}

#[test]
fn damage_inside_a_value_is_told_with_its_place() {
    // A hash as a listpack whose header says more than there is.
    let pack = b"\x0e\x00\x00\x00\x02\x00\x81a\x02\x81b\x02\xff";
    let mut bytes = b"REDIS0011\xfe\x00\x10\x01h".to_vec();
    bytes.push(pack.len() as u8);
    bytes.extend_from_slice(pack);
    bytes.extend_from_slice(b"\xff\0\0\0\0\0\0\0\0");
    for args in ["--elements 1..", "--size 1..2000"] {
        let chosen = selection(args).expect("are arguments").compile().expect("is a selection");
        let mut sink = Jsonl::new(Vec::new(), Options::default());
        match push(&bytes, 1, &mut Selected::new(&chosen, &mut sink)) {
            Err(Failure::Sink(Halted::Format(error))) => {
                assert_eq!(error.key.as_deref(), Some(&b"h"[..]));
                assert!((14..28).contains(&error.at), "{error}");
            }
            other => panic!("{args}: {other:?}"),
        }
    }
}

#[test]
fn what_is_no_filter_is_refused() {
    for args in [
        "--db x",
        "--db 3-1",
        "--size 1Q..",
        "--size ..",
        "--elements -1",
        "--ttl soon",
        "--ttl ..2026-01-01x",
        "--idle 1y..",
        "--now yesterday",
        "--slot a-b",
        "--freq 1..x",
    ] {
        assert!(selection(args).is_err(), "{args}");
    }
    for args in ["--type strng", "--not-type x", "--encoding listpak", "--regex (", "--not-regex [z-a]"] {
        assert!(selection(args).expect("is parsed").compile().is_err(), "{args}");
    }
    assert!(selection("").expect("is one").compile().expect("is one").is_everything());
    assert!(!selection("--db 0").expect("is one").compile().expect("is one").is_everything());
}
