//! Checks on files made by hand: each kind of fault once, mapped and buffered, and good files behind bad values.

use std::io::Write;

use super::{Depths, Fate, Jobs, Report, check, check_with};
use crate::input::{Access, Input};
use crate::progress::{Progress, Wanted};

fn len(n: usize) -> Vec<u8> {
    assert!(n < 1 << 14, "short lengths are enough here");
    if n < 64 { vec![n as u8] } else { (0x4000 | n as u16).to_be_bytes().to_vec() }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [len(bytes.len()), bytes.to_vec()].concat()
}

/// A listpack of short strings.
fn listpack(items: &[&[u8]]) -> Vec<u8> {
    let mut body = Vec::new();
    for item in items {
        body.push(0x80 | item.len() as u8);
        body.extend_from_slice(item);
        body.push(item.len() as u8 + 1);
    }
    let size = (body.len() + 7) as u32;
    [&size.to_le_bytes()[..], &(items.len() as u16).to_le_bytes(), &body, &[0xff]].concat()
}

fn record(byte: u8, key: &str, value: &[&[u8]]) -> Vec<u8> {
    [&[byte][..], &string(key.as_bytes()), &value.concat()].concat()
}

/// A file without checksum around these records, each with its key.
fn file(records: &[Vec<u8>]) -> Vec<u8> {
    [&b"REDIS0011\xfe\x00"[..], &records.concat(), b"\xff\0\0\0\0\0\0\0\0"].concat()
}

fn report(bytes: &[u8], access: Access, depths: Depths) -> Report {
    let mut temp = tempfile::NamedTempFile::new().expect("a temporary file");
    temp.write_all(bytes).expect("write");
    let mut input = Input::open(temp.path(), access).expect("open");
    let progress = Progress::new(Wanted::Never, String::new(), None);
    check(&mut input, depths, &progress).expect("reading")
}

/// The findings of a file, as `kind, fate, what`, which must be the same read either way.
fn findings(bytes: &[u8]) -> Vec<(&'static str, Fate, String)> {
    let mapped = report(bytes, Access::Map, Depths::Deep);
    let buffered = report(bytes, Access::Buffer, Depths::Deep);
    assert_eq!(mapped.found, buffered.found);
    assert_eq!(mapped.is_complete(), buffered.is_complete());
    mapped.findings.into_iter().map(|f| (f.kind, f.fate, f.what)).collect()
}

#[track_caller]
fn one(byte: u8, value: &[&[u8]], kind: &str, fate: Fate, what: &str) {
    let good = record(0, "good", &[&string(b"v")]);
    let found = findings(&file(&[record(byte, "bad", value), good]));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].0, found[0].1), (kind, fate), "{found:?}");
    assert!(found[0].2.contains(what), "{found:?}");
}

#[test]
fn good_values_have_no_findings() {
    let records = [
        record(0, "string", &[&string(b"v")]),
        record(2, "set", &[&len(2), &string(b"a"), &string(b"b")]),
        record(4, "hash", &[&len(2), &string(b"a"), &string(b"1"), &string(b"b"), &string(b"1")]),
        record(17, "zset", &[&string(&listpack(&[b"a", b"1", b"b", b"1", b"c", b"1.5"]))]),
        record(20, "packed", &[&string(&listpack(&[b"a", b"b"]))]),
    ];
    assert_eq!(findings(&file(&records)), []);
    let report = report(&file(&records), Access::Map, Depths::Deep);
    assert_eq!((report.keys, report.dbs, report.expires), (5, 1, 0));
}

#[test]
fn parts_that_are_there_twice_are_named() {
    let twice = "\"b\" is there twice";
    let (a, b) = (string(b"a"), string(b"b"));
    one(2, &[&len(3), &a, &b, &b], "duplicate", Fate::Refuses, twice);
    one(4, &[&len(2), &b, &a, &b, &a], "duplicate", Fate::Refuses, twice);
    one(20, &[&string(&listpack(&[b"b", b"a", b"b"]))], "duplicate", Fate::Crashes, twice);
    one(16, &[&string(&listpack(&[b"b", b"1", b"b", b"2"]))], "duplicate", Fate::Crashes, twice);
    let score = 1.0f64.to_le_bytes();
    one(5, &[&len(2), &b, &score, &b, &score], "duplicate", Fate::Refuses, twice);
}

#[test]
fn order_and_emptiness_are_checked() {
    one(
        17,
        &[&string(&listpack(&[b"a", b"2", b"b", b"1"]))],
        "order",
        Fate::Accepts,
        "member 1 is out of order",
    );
    one(
        17,
        &[&string(&listpack(&[b"b", b"1", b"a", b"1"]))],
        "order",
        Fate::Accepts,
        "member 1 is out of order",
    );
    one(17, &[&string(&listpack(&[b"a", b"x"]))], "score", Fate::Accepts, "score x is not a number");
    one(2, &[&len(0)], "empty", Fate::Skips, "set without elements");
    one(16, &[&string(&listpack(&[]))], "empty", Fate::Skips, "hash without elements");
    one(18, &[&len(1), &len(2), &string(&listpack(&[]))], "empty", Fate::Skips, "list without elements");
}

#[test]
fn a_bad_inside_does_not_end_the_check() {
    let mut broken = listpack(&[b"a", b"1"]);
    broken[6] = 0x8f;
    one(16, &[&string(&broken)], "packed", Fate::Crashes, "listpack");
    let mut wrong_size = listpack(&[b"a", b"1"]);
    wrong_size[0] += 1;
    one(16, &[&string(&wrong_size)], "packed", Fate::Refuses, "listpack");
    one(16, &[&string(&listpack(&[b"a"]))], "packed", Fate::Crashes, "not a multiple of 2");
}

#[test]
fn a_bad_frame_ends_it() {
    let bytes = file(&[record(0, "a", &[&string(b"v")]), record(0, "b", &[b"\xc9"])]);
    for access in [Access::Map, Access::Buffer] {
        let report = report(&bytes, access, Depths::Deep);
        assert!(!report.is_complete());
        assert_eq!((report.keys, report.found), (1, 1));
        assert_eq!(report.findings[0].key, Some((0, b"b".to_vec())));
        assert_eq!(report.findings[0].fate, Fate::Refuses);
    }
    let cut = &bytes[..14];
    assert_eq!(findings(cut)[0].0, "truncated");
}

#[test]
fn keys_are_unique_in_their_database() {
    let again = [record(0, "a", &[&string(b"1")]), b"\xfe\x01".to_vec(), record(0, "a", &[&string(b"2")])];
    assert_eq!(findings(&file(&again)), []);
    let twice = [record(0, "a", &[&string(b"1")]), record(1, "a", &[&len(1), &string(b"2")])];
    let found = findings(&file(&twice));
    assert_eq!((found[0].0, found[0].1), ("duplicate-key", Fate::Crashes));
    assert!(found[0].2.contains("offset 11"), "{found:?}");
}

#[test]
fn quick_checks_step_over_values() {
    let bytes = file(&[record(2, "a", &[&len(2), &string(b"b"), &string(b"b")])]);
    let report = report(&bytes, Access::Map, Depths::Quick);
    assert_eq!((report.found, report.keys), (0, 1));
}

#[test]
fn streams_must_agree_with_themselves() {
    // One node with the entries 1-0 and 1-0: the second does not rise.
    let int = |n: u8| vec![n, 1];
    let text = |s: &[u8]| [&[0x80 | s.len() as u8], s, &[s.len() as u8 + 1]].concat();
    let entry = [int(2), int(0), int(0), text(b"v"), int(4)].concat();
    let body = [int(2), int(0), int(1), text(b"f"), int(0), entry.clone(), entry].concat();
    let size = (body.len() + 7) as u32;
    let node = [&size.to_le_bytes()[..], &15u16.to_le_bytes(), &body, &[0xff]].concat();
    let master = [1u64.to_be_bytes(), 0u64.to_be_bytes()].concat();
    let head = [len(1), string(&master), string(&node)].concat();
    one(15, &[&head, &[2, 1, 0, 0]], "order", Fate::Accepts, "entry 1-0 is not above");
    let found = findings(&file(&[record(15, "s", &[&head, &[3, 0, 5, 0]])]));
    assert_eq!(found.iter().map(|f| f.0).collect::<Vec<_>>(), ["order", "stream", "stream"]);
    // An empty stream with a group: an entry pending for nobody, another only for its consumer.
    let id = |ms: u64| [ms.to_be_bytes(), 0u64.to_be_bytes()].concat();
    let pending = [id(1), vec![0; 8], len(1)].concat();
    let consumer = [string(b"c"), vec![0; 8], len(1), id(2)].concat();
    let group = [string(b"g"), vec![0, 0], len(1), pending, len(1), consumer].concat();
    let found = findings(&file(&[record(15, "s", &[&[0, 0, 0, 0, 1], &group])]));
    let whats: Vec<_> = found.iter().map(|f| f.2.as_str()).collect();
    assert_eq!(whats.len(), 2, "{found:?}");
    assert!(whats[0].contains("entry 2-0 is pending for a consumer and not for its group"));
    assert!(whats[1].contains("entry 1-0 is pending for no consumer"));
}

/// Every truncation and every changed bit of a small file with a value of most types.
fn damaged() -> impl Iterator<Item = Vec<u8>> {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/rdb/redis-7.0.15-nochecksum.rdb");
    let bytes = std::fs::read(path).expect("testdata");
    let flips = (0..bytes.len() * 8).map({
        let bytes = bytes.clone();
        move |bit| {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        }
    });
    (0..bytes.len()).map(move |len| bytes[..len].to_vec()).chain(flips)
}

#[test]
fn damage_is_a_finding_or_a_value_and_never_a_panic() {
    let mut temp = tempfile::NamedTempFile::new().expect("a temporary file");
    let progress = Progress::new(Wanted::Never, String::new(), None);
    // One in five is enough for the mapped way, which needs a file each time.
    for bytes in damaged().step_by(5) {
        temp.as_file_mut().set_len(0).expect("truncate");
        std::io::Seek::rewind(&mut temp).expect("seek");
        temp.write_all(&bytes).expect("write");
        for access in [Access::Map, Access::Buffer] {
            let mut input = Input::open(temp.path(), access).expect("open");
            let report = check(&mut input, Depths::Deep, &progress).expect("reading");
            assert!(report.is_complete() || report.found > 0);
        }
    }
}

#[test]
fn the_drop_in_checker_takes_any_bytes() {
    let mut out = Vec::new();
    for bytes in damaged() {
        out.clear();
        crate::dropin::check_rdb::check(&bytes, b"f", &mut out).expect("writing to memory");
        assert!(out.ends_with(b"\n"));
    }
}

#[test]
fn scores_are_compared_as_numbers() {
    let in_order: [&[&[u8]]; 5] = [
        &[b"9", b"10"],
        &[b"0.5", b"0.50000000000000011", b"1", b"1.5", b"10", b"99.25", b"1e3"],
        &[b"-2", b"-1.5", b"0", b"0.001", b"0.01"],
        &[b"123456789012345.5", b"1234567890123456", b"1e300", b"inf"],
        &[b"3", b"3", b"3.0"],
    ];
    for scores in in_order {
        for is_reversed in [false, true] {
            let mut scores = scores.to_vec();
            if is_reversed {
                scores.reverse();
            }
            let names: Vec<_> = (0..scores.len()).map(|i| format!("m{i}")).collect();
            let items: Vec<&[u8]> =
                names.iter().zip(&scores).flat_map(|(name, score)| [name.as_bytes(), score]).collect();
            let found = findings(&file(&[record(17, "z", &[&string(&listpack(&items))])]));
            let is_equal = scores.iter().all(|score| score.starts_with(b"3"));
            assert_eq!(found.is_empty(), !is_reversed || is_equal, "{items:?}: {found:?}");
        }
    }
}

#[test]
fn behind_a_bad_frame_the_check_goes_on() {
    let good = |i: usize| record(0, &format!("key:{i}"), &[&string(b"value")]);
    let mut records: Vec<_> = (0..20).map(good).collect();
    records[5] = record(0, "bad", &[b"\xc9"]);
    records[15] = record(2, "twice", &[&len(2), &string(b"b"), &string(b"b")]);
    let report = report(&file(&records), Access::Map, Depths::Deep);
    let kinds: Vec<_> = report.findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, ["string", "duplicate"], "{:?}", report.findings);
    assert!(report.findings[0].what.contains("the check goes on at offset"), "{:?}", report.findings);
    assert_eq!((report.keys, report.is_complete()), (19, false));
}

/// As many records of all kinds as make several batches.
fn many_records() -> Vec<Vec<u8>> {
    let text = "abcdefgh".repeat(400);
    let mut records = Vec::new();
    for i in 0..2_500u32 {
        let key = |name: &str| format!("{name}:{i}");
        let (a, b) = (string(i.to_string().as_bytes()), string(b"b"));
        records.push(record(0, &key("string"), &[&string(&text.as_bytes()[..i as usize % 3200])]));
        records
            .push([b"\xfc\0\0\0\0\0\x01\0\0", &record(0, &key("expires"), &[&b"\xc0\x07"[..]])[..]].concat());
        records.push(record(2, &key("set"), &[&len(2), &a, &b]));
        records.push(record(4, &key("hash"), &[&len(2), &a, &b, &b, &a]));
        records.push(record(16, &key("small hash"), &[&string(&listpack(&[b"a", b"1", b"b", b"1"]))]));
        records.push(record(17, &key("small zset"), &[&string(&listpack(&[b"a", b"1", b"b", b"1.5"]))]));
        records.push(record(
            18,
            &key("list"),
            &[&len(1), &len(2), &string(&listpack(&[b"a", &text.as_bytes()[..60]]))],
        ));
        if i % 100 == 0 {
            // Neither is passed: a library, and an old list.
            records.push([&b"\xf5"[..], &string(b"#!lua name=x")].concat());
            records.push(record(1, &key("old list"), &[&len(1), &a]));
        }
    }
    records
}

#[test]
fn threads_find_what_one_finds() {
    let good = many_records();
    let damage: [(&str, Vec<u8>); 6] = [
        ("nothing", Vec::new()),
        ("twice", record(2, "bad", &[&len(2), &string(b"b"), &string(b"b")])),
        ("order", record(17, "bad", &[&string(&listpack(&[b"a", b"2", b"b", b"1"]))])),
        ("packed", record(16, "bad", &[&string(&listpack(&[b"a", b"1", b"b"]))])),
        ("compressed", record(0, "bad", &[&b"\xc3\x04\x05\x00a\x20\x07"[..]])),
        ("key", record(0, "set:0", &[&string(b"v")])),
    ];
    for (what, bad) in damage {
        let mut records = good.clone();
        let places = if bad.is_empty() { 0 } else { 2 };
        for place in 0..places {
            records.insert(records.len() * (place + 1) / 3, bad.clone());
        }
        let bytes = file(&records);
        assert!(bytes.len() > 3 << 20, "several batches");
        let mut temp = tempfile::NamedTempFile::new().expect("a temporary file");
        temp.write_all(&bytes).expect("write");
        let [one, more, buffered] =
            [(1, Access::Map), (3, Access::Map), (1, Access::Buffer)].map(|(jobs, access)| {
                let mut input = Input::open(temp.path(), access).expect("open");
                let progress = Progress::new(Wanted::Never, String::new(), None);
                check_with(&mut input, Depths::Deep, Jobs { jobs: Some(jobs) }, &progress).expect("reading")
            });
        assert_eq!(one.findings, more.findings, "{what}");
        let told = |report: &Report| {
            (
                report.keys,
                report.expires,
                report.functions,
                report.dbs,
                report.found,
                report.trailer,
                report.bytes,
            )
        };
        assert_eq!(told(&one), told(&more), "{what}");
        assert_eq!(told(&one), told(&buffered), "{what}");
        // A key that is there twice is told each time it comes again.
        let expected = if what == "nothing" {
            0
        } else if what == "key" {
            2
        } else {
            3
        };
        assert_eq!(more.found, expected, "{what}: {:?}", more.findings);
    }
}

#[test]
fn behind_a_bad_frame_hashes_refer_to_the_templates_before_it() {
    const TEMPLATE: u8 = 242;
    const REFERRING_HASH: u8 = 32;
    let hash = |i| record(REFERRING_HASH, &format!("key:{i}"), &[&len(7), &string(b"v"), &string(b"w")]);
    let mut records: Vec<_> = (0..20).map(hash).collect();
    records[0] = [&[TEMPLATE][..], &len(7), &len(2), &string(b"f"), &string(b"g")].concat();
    records[5] = record(0, "bad", &[b"\xc9"]);
    let mut file = file(&records);
    file[..9].copy_from_slice(b"REDIS0015");
    let report = report(&file, Access::Map, Depths::Deep);
    let kinds: Vec<_> = report.findings.iter().map(|finding| finding.kind).collect();
    assert_eq!((kinds, report.keys), (vec!["string"], 18), "{:?}", report.findings);
}
