//! `rdb-tools diff`: what is the same, what is named, exit codes; patches, applied by real servers.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::support::{fixtures, rdb_tools, testdata};

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn diff(a: &Path, b: &Path, options: &[&str]) -> Output {
    rdb_tools(["diff"].iter().chain(options).map(OsStr::new).chain([a.as_os_str(), b.as_os_str()]))
}

fn rdb(name: &str) -> PathBuf {
    testdata().join("rdb").join(name)
}

/// A file of version 12 without checksum, in database 0 unless the records say otherwise.
fn file(records: &[&[u8]]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    let bytes = [&b"REDIS0012\xfe\x00"[..], &records.concat(), b"\xff\0\0\0\0\0\0\0\0"].concat();
    file.write_all(&bytes).expect("write");
    file
}

#[test]
fn a_file_is_the_same_as_itself() {
    for name in ["redis-7.0.15-all-types.rdb", "valkey-9.1.2-all-types.rdb", "redis-8.0.6-all-types.rdb"] {
        let file = rdb(name);
        let output = diff(&file, &file, &[]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        assert!(text(&output).contains(" 0 removed, 0 added, 0 changed, 0 with another expiry"));
        for options in [&["--quiet"][..], &["--resp"], &["--commands"], &["--keys-only"]] {
            let output = diff(&file, &file, options);
            assert_eq!(output.status.code(), Some(0), "{}", text(&output));
            assert!(options == ["--keys-only"] || text(&output).is_empty(), "{}", text(&output));
        }
    }
}

#[test]
fn what_differs_is_named() {
    // s: other bytes; gone; h: a field another, one gone, one new; l; z; same; type.
    let a = file(&[
        b"\x00\x01s\x03old",
        b"\x00\x04gone\x01x",
        b"\x04\x01h\x03\x01a\x011\x01b\x012\x01c\x013",
        b"\x01\x01l\x03\x01x\x01y\x01z",
        b"\x03\x01z\x01\x01m\x011",
        b"\x00\x04same\x01v",
        b"\x00\x04type\x01v",
        b"\xfc\xe8\x03\0\0\0\0\0\0\x00\x03ttl\x01v",
    ]);
    let b = file(&[
        b"\x00\x04same\x01v",
        b"\x00\x03ttl\x01v",
        b"\x03\x01z\x01\x01m\x012",
        b"\x02\x04type\x01\x01v",
        b"\x01\x01l\x04\x01w\x01x\x01z\x01q",
        b"\x04\x01h\x03\x01d\x014\x01b\x019\x01a\x011",
        b"\x00\x01s\x03new",
        b"\xfe\x03\x00\x03new\x01\x1b",
    ]);
    let output = diff(a.path(), b.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    let expected = "\
- db 0 string \"gone\" (1 bytes)
~ db 0 hash \"h\"
    ~ field \"b\": \"2\" -> \"9\"
    - field \"c\": \"3\"
    + field \"d\": \"4\"
~ db 0 list \"l\"
    + element 0: \"w\"
    - element 1: \"y\"
    + element 3: \"q\"
~ db 0 string \"s\"
    ~ \"old\" -> \"new\"
~ db 0 string \"ttl\"
    ~ expires: 1970-01-01T00:00:01.000Z -> never
~ db 0 string -> set \"type\"
    - \"v\"
    + member \"v\"
~ db 0 zset \"z\"
    ~ member \"m\": 1 -> 2
+ db 3 string \"new\" (1 bytes)
8 keys and 8 keys: 1 same, 1 removed, 1 added, 5 changed, 1 with another expiry
";
    assert_eq!(text(&output), expected);
    let output = diff(a.path(), b.path(), &["--commands"]);
    let expected = "\
SELECT 0
DEL gone
HSET h b 9
HDEL h c
HSET h d 4
DEL l
RPUSH l w x z q
SET s new
PERSIST ttl
DEL type
SADD type v
ZADD z 2 m
SELECT 3
SET new \"\\x1b\"
";
    assert_eq!(text(&output), expected);
    let resp = diff(a.path(), b.path(), &["--resp"]);
    assert!(resp.stdout.starts_with(b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*2\r\n$3\r\nDEL\r\n$4\r\ngone\r\n"));
    let json = diff(a.path(), b.path(), &["--json"]);
    let lines: Vec<serde_json::Value> =
        text(&json).lines().map(|line| serde_json::from_str(line).expect("is JSON")).collect();
    assert_eq!(lines.len(), 9);
    assert_eq!((&lines[0]["change"], &lines[0]["key"]), (&"removed".into(), &"gone".into()));
    let part = &lines[1]["parts"][0];
    assert_eq!((&part["part"], &part["of"][0]), (&"field".into(), &"b".into()));
    assert_eq!((&part["a"]["value"], &part["b"]["value"]), (&"2".into(), &"9".into()));
    assert_eq!((&lines[7]["change"], &lines[7]["db"]), (&"added".into(), &3.into()));
    assert_eq!((&lines[8]["same"], &lines[8]["changed"]), (&1.into(), &5.into()));
    // The other way around, and what does not count.
    assert_eq!(diff(b.path(), a.path(), &["-q"]).status.code(), Some(1));
    let output = diff(a.path(), b.path(), &["--ignore-ttl", "--keys-only"]);
    assert!(text(&output).ends_with("2 same, 1 removed, 1 added, 5 changed, 0 with another expiry\n"));
    assert!(!text(&output).contains("\"old\""));
}

#[test]
fn how_far_apart_expiries_may_be() {
    let at = |ms: u64| [&b"\xfc"[..], &ms.to_le_bytes(), b"\x00\x01k\x01v"].concat();
    let fields = |ms: u64| [&b"\x18\x01h"[..], &ms.to_le_bytes(), b"\x01\x01\x01f\x01v"].concat();
    let a = file(&[&at(5000), &fields(7000)]);
    let b = file(&[&at(5400), &fields(6600)]);
    for (tolerance, code) in [("0", 1), ("399", 1), ("400", 0)] {
        let output = diff(a.path(), b.path(), &["--ttl-tolerance", tolerance]);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output));
        let quiet = diff(a.path(), b.path(), &["--ttl-tolerance", tolerance, "-q"]);
        assert_eq!(quiet.status.code(), Some(code), "{}", text(&quiet));
        let patch = diff(a.path(), b.path(), &["--ttl-tolerance", tolerance, "--commands"]);
        assert_eq!(patch.status.code(), Some(code), "{}", text(&patch));
        let set = ["PEXPIREAT k 5400", "HPEXPIREAT h 6600 FIELDS 1 f"];
        assert!(set.iter().all(|line| text(&patch).contains(line) == (code == 1)), "{}", text(&patch));
    }
    assert_eq!(diff(a.path(), b.path(), &["--ignore-ttl"]).status.code(), Some(0));
    let output = diff(a.path(), b.path(), &["--ignore-field-ttl"]);
    assert!(text(&output).ends_with("1 same, 0 removed, 0 added, 0 changed, 1 with another expiry\n"));
}

#[test]
fn a_damaged_side_is_trouble_and_no_difference() {
    let good = rdb("redis-7.0.15-all-types.rdb");
    let bytes = fs::read(&good).expect("testdata");
    let mut cut = tempfile::NamedTempFile::new().expect("a temporary file");
    cut.write_all(&bytes[..bytes.len() / 2]).expect("write");
    for (a, b) in [(cut.path(), good.as_path()), (&good, cut.path()), (&good, Path::new("/no/such"))] {
        let output = diff(a, b, &[]);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
    assert_eq!(diff(Path::new("-"), Path::new("-"), &[]).status.code(), Some(2));
}

#[test]
fn servers_of_all_versions_wrote_the_same_data() {
    let Some(fixtures) = fixtures("servers_of_all_versions_wrote_the_same_data") else { return };
    let made = |server: &str| fixtures.join("made").join(server).join("all-types.rdb");
    // Later servers have more keys. What both have is the same but for when the makers ran.
    let servers =
        ["redis-7.0.15", "valkey-8.1dev", "redis-7.4.1", "valkey-9.1.2", "redis-8.0.6", "redis-8.8dev"];
    for (i, a) in servers.iter().enumerate() {
        for b in &servers[i + 1..] {
            let output = diff(&made(a), &made(b), &["--ignore-delivery-times"]);
            assert!(text(&output).contains(" 0 changed, 0 with another expiry"), "{a} {b} {}", text(&output));
        }
    }
}

#[test]
fn a_patch_tells_what_an_older_server_refuses() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let line = r#"{"key":"h","type":"hash","value":{"a":"1"},"field_pexpireat":[["a",4102444800000]]}"#;
    fs::write(at("b.jsonl"), line).expect("write");
    fs::write(at("none.jsonl"), "").expect("write");
    for (target, told) in [("redis-7.0", "1 commands say when fields of hashes expire"), ("redis-7.4", "")] {
        let made =
            rdb_tools(["convert", &at("none.jsonl"), "-o", &at("a.rdb"), "--force", "--target", target]);
        assert!(made.status.success(), "{made:?}");
        let patch = rdb_tools(["diff", &at("a.rdb"), &at("b.jsonl"), "--commands"]);
        let (out, err) = (String::from_utf8_lossy(&patch.stdout), String::from_utf8_lossy(&patch.stderr));
        assert!(out.contains("HPEXPIREAT h 4102444800000 FIELDS 1 a"), "{target} {out}");
        assert_eq!((err.contains(told), err.is_empty()), (true, told.is_empty()), "{target} {err}");
    }
}
