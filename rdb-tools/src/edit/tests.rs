//! Names, databases and instants after edits.

use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::{Decoder, Options};
use clap::Parser;

use super::{Collisions, Edited, Edits, Named};
use crate::jsonl::{self, Jsonl};
use crate::spill::Spill;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    edits: Edits,
}

fn edits(words: &[&str]) -> Edits {
    Line::try_parse_from([&["x"], words].concat()).unwrap_or_else(|error| panic!("{error}")).edits
}

/// Strings `a:1`, `a:2` (expires at 5000) and `b:1` in database 0, `a:1` in database 1.
fn file() -> Vec<u8> {
    let string = |key: &[u8], value: u8| [&[0, 3], key, &[1, value]].concat();
    let parts: [&[u8]; 8] = [
        b"REDIS0011\xfe\0",
        &string(b"a:1", b'w'),
        b"\xfc\x88\x13\0\0\0\0\0\0",
        &string(b"a:2", b'x'),
        &string(b"b:1", b'y'),
        b"\xfe\x01",
        &string(b"a:1", b'z'),
        b"\xff\0\0\0\0\0\0\0\0",
    ];
    parts.concat()
}

/// Each key as `db key value expiry`.
fn edited(words: &[&str], now: i64) -> Vec<String> {
    let (edits, bytes) = (edits(words), file());
    let read =
        |sink: &mut Collisions<'_>| Decoder::new(Options::default()).advance(&bytes, true, sink).map(|_| ());
    let mut collisions = Collisions::new(&edits, &Spill::default());
    read(&mut collisions).expect("a sound file");
    let resolver = collisions.resolve().expect("memory");
    let mut out = Vec::new();
    let options = jsonl::Options { sorted: true, ..Default::default() };
    let mut sink = Edited::new(&edits, UnixMs(now), Some(resolver), Jsonl::new(&mut out, options));
    Decoder::new(Options::default()).advance(&bytes, true, &mut sink).expect("a sound file");
    let text = String::from_utf8(out).expect("JSON is ASCII");
    let line = regex::Regex::new(r#""db":(\d+),"key":"(.*?)".*"pexpireat":(-?\d+).*"value":"(.)""#)
        .expect("a pattern");
    line.captures_iter(&text)
        .map(|found| format!("{} {} {} {}", &found[1], &found[2], &found[4], &found[3]))
        .collect()
}

#[test]
fn names_and_databases_change() {
    assert_eq!(edited(&[], 0), ["0 a:1 w -1", "0 a:2 x 5000", "0 b:1 y -1", "1 a:1 z -1"]);
    let found = edited(&["--rename", "^([ab]):(.)$=$2:${1}", "--map-db", "0:7"], 0);
    assert_eq!(found, ["1 1:a z -1", "7 1:a w -1", "7 1:b y -1", "7 2:a x 5000"]);
    let found = edited(&["--rename-prefix", "a:=", "--add-prefix", "new:", "--rename", "^b=c"], 0);
    assert_eq!(found, ["0 new:1 w -1", "0 new:2 x 5000", "0 new:c:1 y -1", "1 new:1 z -1"]);
    assert!(Line::try_parse_from(["x", "--rename", "(=y"]).is_err());
    assert!(Line::try_parse_from(["x", "--map-db", "1"]).is_err());
}

#[test]
fn keys_that_get_one_name_are_told_apart() {
    let bytes = file();
    let own = edits(&["--rename-prefix", "b:=a:", "--map-db", "1:0"]);
    assert!(own.may_collide() && !edits(&["--add-prefix", "x"]).may_collide());
    let mut collisions = Collisions::new(&own, &Spill::default());
    Decoder::new(Options::default()).advance(&bytes, true, &mut collisions).expect("a sound file");
    let resolver = collisions.resolve().expect("memory");
    assert_eq!(resolver.names(), 1);
    let mut named = Named::new(&own, &resolver);
    Decoder::new(Options::default()).advance(&bytes, true, &mut named).expect("a sound file");
    let listed: Vec<_> = named.listed().iter().map(|one| (one.db, &one.key[..], &one.name[..])).collect();
    assert_eq!(listed, [(0, &b"a:1"[..], &b"a:1"[..]), (0, b"b:1", b"a:1"), (1, b"a:1", b"a:1")]);
    let rules = ["--rename-prefix", "b:=a:", "--map-db", "1:0", "--on-collision"];
    assert_eq!(edited(&[&rules[..], &["first"]].concat(), 0), ["0 a:1 w -1", "0 a:2 x 5000"]);
    assert_eq!(edited(&[&rules[..], &["last"]].concat(), 0), ["0 a:1 z -1", "0 a:2 x 5000"]);
}

#[test]
fn expiries_change() {
    let ttls = |words: &[&str], now| -> Vec<String> {
        edited(words, now).iter().map(|line| line.rsplit(' ').next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(ttls(&["--no-ttl"], 0), ["-1"; 4]);
    assert_eq!(ttls(&["--ttl-add", "10"], 0), ["-1", "15000", "-1", "-1"]);
    assert_eq!(ttls(&["--ttl-add", "-1h"], 0), ["-1", "0", "-1", "-1"]);
    assert_eq!(ttls(&["--expire-at", "@9"], 0), ["9000"; 4]);
    assert_eq!(ttls(&["--set-ttl", "1m"], 500), ["60500"; 4]);
    assert_eq!(ttls(&["--drop-expired"], 5000), ["-1"; 3]);
    assert_eq!(ttls(&["--drop-expired"], 4999).len(), 4);
    assert!(Line::try_parse_from(["x", "--no-ttl", "--ttl-add", "1"]).is_err());
}
