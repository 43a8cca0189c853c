//! Every record type by hand: its bytes, and what comes of them at every depth and in pieces.

use super::support::{Outcome, decode, decode_in_pieces, file};
use crate::codec::rdb::encode::push_len;
use crate::codec::rdb::{Depth, Options};
use crate::packed::intset::IntsetBuf;
use crate::packed::listpack::ListpackBuf;

/// A type of some dialect, the bytes of one value, and its lines at depth `Item`.
pub(super) struct Vector {
    pub(super) magic: &'static [u8; 9],
    pub(super) object: u8,
    pub(super) value: Vec<u8>,
    pub(super) lines: Vec<&'static str>,
}

fn vector(magic: &'static [u8; 9], object: u8, value: impl Into<Vec<u8>>, lines: &[&'static str]) -> Vector {
    Vector { magic, object, value: value.into(), lines: lines.to_vec() }
}

impl Vector {
    /// What stands in a file before the key: the template that types 30 and 32 refer to.
    fn prelude(&self) -> &'static [u8] {
        match self.object {
            30 | 32 => b"\xf2\x07\x02\x01a\x02bc",
            _ => b"",
        }
    }

    /// A file of this one key, `k`.
    pub(super) fn file(&self) -> Vec<u8> {
        file(self.magic, &[self.prelude(), &[self.object, 1, b'k'], &self.value].concat())
    }
}

/// A string that holds a listpack of `items`.
fn listpack(items: &[&str]) -> Vec<u8> {
    let mut packed = ListpackBuf::new();
    for item in items {
        packed.push_back(item.as_bytes());
    }
    string(packed.as_bytes())
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    push_len(&mut out, bytes.len() as u64);
    out.extend_from_slice(bytes);
    out
}

/// A string that holds a ziplist of short strings and integers below 13.
fn ziplist(items: &[&str]) -> Vec<u8> {
    let (mut body, mut previous, mut tail) = (Vec::new(), 0, 10);
    for item in items {
        let mut entry = vec![previous];
        match item.parse::<u8>() {
            Ok(value @ 0..=12) => entry.push(0xf1 + value),
            _ => entry.extend(string(item.as_bytes())),
        }
        tail = 10 + body.len() as u32;
        previous = entry.len() as u8;
        body.extend(entry);
    }
    let mut out = (10 + body.len() as u32 + 1).to_le_bytes().to_vec();
    out.extend(tail.to_le_bytes());
    out.extend((items.len() as u16).to_le_bytes());
    out.extend(body);
    out.push(255);
    string(&out)
}

fn ms(at: i64) -> [u8; 8] {
    at.to_le_bytes()
}

fn raw_id(ms: u64, seq: u64) -> Vec<u8> {
    [ms.to_be_bytes(), seq.to_be_bytes()].concat()
}

/// A stream of one node, type by type: three entries of which one is deleted.
fn stream(object: u8) -> Vec<u8> {
    let node = listpack(&[
        "2", "1", "2", "f", "7", "0", // two live, one deleted; fields f and 7
        "2", "0", "0", "v", "8", "5", // master id, the node's fields
        "1", "1", "0", "1", "x", "y", "6", // deleted, a field of its own
        "0", "2", "-4", "1", "9", "z", "6", // ms + 2, seq - 4
    ]);
    let mut out = [vec![1, 16], raw_id(100, 5), node, vec![2, 102, 1]].concat();
    // Numbers above 63 take two bytes.
    out.truncate(out.len() - 2);
    out.extend([0x40, 102, 1]);
    if object != 15 {
        out.extend([0x40, 100, 5, 0x40, 101, 5, 3]);
    }
    out.extend([1, 1, b'g', 0x40, 102, 1]);
    if object != 15 {
        out.extend([0x81, 255, 255, 255, 255, 255, 255, 255, 255]);
    }
    out.push(2);
    out.extend([raw_id(100, 5), ms(1000).to_vec(), vec![1]].concat());
    out.extend([raw_id(102, 1), ms(2000).to_vec(), vec![7]].concat());
    out.extend([1, 1, b'c']);
    out.extend(ms(3000));
    if !matches!(object, 15 | 19) {
        out.extend(ms(-1));
    }
    out.push(1);
    out.extend(raw_id(100, 5));
    if object == 27 {
        out.push(1);
        out.extend(raw_id(102, 1));
    }
    if matches!(object, 26 | 27) {
        out.extend([0x40, 200, 50, 1, 1, b'p', 1, 3, b'i', b'i', b'd', 0x40, 100, 5, 9, 1]);
    }
    out
}

const ENTRIES: [&str; 3] = [
    "Begin { declared: 1 }",
    "StreamEntry { id: StreamId { ms: 100, seq: 5 }, fields: [[102], [118], [55], [56]] }",
    "StreamEntry { id: StreamId { ms: 102, seq: 1 }, fields: [[57], [122]] }",
];
const TOTALS_15: &str = "StreamTotals(StreamTotals { length: 2, last_id: StreamId { ms: 102, seq: 1 \
     }, first_id: None, max_deleted_id: None, entries_added: None })";
const TOTALS_19: &str = "StreamTotals(StreamTotals { length: 2, last_id: StreamId { ms: 102, seq: 1 \
     }, first_id: Some(StreamId { ms: 100, seq: 5 }), max_deleted_id: Some(StreamId { ms: 101, seq: \
     5 }), entries_added: Some(3) })";
const GROUP: [&str; 5] = [
    "StreamGroup { name: [103], last_id: StreamId { ms: 102, seq: 1 }, entries_read: None }",
    "StreamPending { id: StreamId { ms: 100, seq: 5 }, delivered_at: UnixMs(1000), deliveries: 1 }",
    "StreamPending { id: StreamId { ms: 102, seq: 1 }, delivered_at: UnixMs(2000), deliveries: 7 }",
    "StreamConsumer { name: [99], seen_at: UnixMs(3000), active_at: None }",
    "StreamConsumerPending(StreamId { ms: 100, seq: 5 })",
];
const NACKED: &str = "StreamNacked(StreamId { ms: 102, seq: 1 })";
const IDMP: [&str; 2] = [
    "StreamIdmpEntry { producer: [112], iid: [105, 105, 100], id: StreamId { ms: 100, seq: 5 } }",
    "StreamIdmp { duration_s: 200, max_entries: 50, added: 9, duplicates: 1 }",
];

fn stream_vector(magic: &'static [u8; 9], object: u8) -> Vector {
    let mut lines = ENTRIES.to_vec();
    lines.push(if object == 15 { TOTALS_15 } else { TOTALS_19 });
    lines.extend(GROUP);
    if object == 27 {
        lines.push(NACKED);
    }
    if matches!(object, 26 | 27) {
        lines.extend(IDMP);
    }
    vector(magic, object, stream(object), &lines)
}

/// One value of every type that is read.
pub(super) fn vectors() -> Vec<Vector> {
    const OLD: &[u8; 9] = b"REDIS0011";
    const REDIS: &[u8; 9] = b"REDIS0016";
    const VALKEY: &[u8; 9] = b"VALKEY081";
    let intset: IntsetBuf = [-70_000, 3, 5].into_iter().collect();
    let hash = ["Begin { declared: 2 }", "a = b", "7 = x"];
    let ttl_hash = ["Begin { declared: 2 }", "a = b until 1000", "7 = x"];
    let list = ["Begin { declared: 3 }", "- a", "- 7", "- cc"];
    let nodes = ["Begin { declared: 2 }", "- a", "- 7", "- cc"];
    let zset = ["Begin { declared: 2 }", "a @ 1.5", "b @ 7"];
    let infinite = ["Begin { declared: 2 }", "a @ inf", "b @ -inf"];
    let template = ["Begin { declared: 2 }", "a = x", "bc = 12"];
    let mut all = vec![
        vector(OLD, 0, b"\x03abc".as_slice(), &["Raw abc"]),
        vector(OLD, 0, b"\xc0\x80".as_slice(), &["Int8 -128"]),
        vector(OLD, 0, b"\xc1\x00\x80".as_slice(), &["Int16 -32768"]),
        vector(OLD, 0, b"\xc2\xff\xff\xff\x7f".as_slice(), &["Int32 2147483647"]),
        vector(OLD, 0, b"\xc3\x06\x0c\x01ab\xe0\x01\x01".as_slice(), &["Lzf abababababab"]),
        vector(OLD, 0, b"\x80\x00\x00\x00\x01x".as_slice(), &["Raw x"]),
        vector(OLD, 0, b"\x81\x00\x00\x00\x00\x00\x00\x00\x01x".as_slice(), &["Raw x"]),
        vector(OLD, 1, b"\x03\x01a\xc0\x07\x02cc".as_slice(), &list),
        vector(OLD, 1, b"\x00".as_slice(), &["Begin { declared: 0 }"]),
        vector(OLD, 2, b"\x03\x01a\xc0\x07\x02cc".as_slice(), &list),
        vector(OLD, 3, b"\x02\x01a\x031.5\x01b\x017".as_slice(), &zset),
        vector(OLD, 3, b"\x02\x01a\xfe\x01b\xff".as_slice(), &infinite),
        vector(OLD, 4, b"\x02\x01a\x01b\xc0\x07\x01x".as_slice(), &hash),
        vector(
            OLD,
            5,
            [&b"\x02\x01a"[..], &1.5f64.to_le_bytes(), b"\x01b", &7f64.to_le_bytes()].concat(),
            &zset,
        ),
        vector(
            OLD,
            7,
            [&b"\x05\x01\x81"[..], &[255; 8], b"\x02\x07\x03\x00\x00\xc0\x3f\x04"]
                .into_iter()
                .chain([&2.5f64.to_le_bytes()[..], b"\x05\x02hi\x00"])
                .collect::<Vec<_>>()
                .concat(),
            &[
                "BeginModule { id: 5 }",
                "ModuleSigned(-1)",
                "ModuleUnsigned(7)",
                "ModuleFloat(1.5)",
                "ModuleDouble(2.5)",
                "ModuleString([104, 105])",
            ],
        ),
        vector(OLD, 9, string(b"\x02\x01a\x01\x00b\x017\x01\x00x\xff"), &hash),
        vector(OLD, 10, ziplist(&["a", "7", "cc"]), &list),
        vector(OLD, 11, string(intset.as_bytes()), &["Begin { declared: 3 }", "- -70000", "- 3", "- 5"]),
        vector(OLD, 12, ziplist(&["a", "1.5", "b", "7"]), &zset),
        vector(OLD, 13, ziplist(&["a", "b", "7", "x"]), &hash),
        vector(OLD, 14, [vec![2], ziplist(&["a", "7"]), ziplist(&["cc"])].concat(), &nodes),
        vector(OLD, 16, listpack(&["a", "b", "7", "x"]), &hash),
        vector(OLD, 17, listpack(&["a", "1.5", "b", "7"]), &zset),
        vector(OLD, 18, [&[2, 2][..], &listpack(&["a", "7"]), &[1], &string(b"cc")].concat(), &nodes),
        vector(OLD, 20, listpack(&["a", "7", "cc"]), &list),
        vector(REDIS, 22, b"\x02\x43\xe8\x01a\x01b\x00\xc0\x07\x01x".as_slice(), &ttl_hash),
        vector(REDIS, 23, listpack(&["a", "b", "1000", "7", "x", "0"]), &ttl_hash),
        vector(REDIS, 24, [&ms(990)[..], b"\x02\x0b\x01a\x01b\x00\xc0\x07\x01x"].concat(), &ttl_hash),
        vector(
            REDIS,
            25,
            [ms(1000).to_vec(), listpack(&["a", "b", "1000", "7", "x", "0"])].concat(),
            &ttl_hash,
        ),
        vector(
            REDIS,
            28,
            [
                &b"\x05\x01\x09\x00\x00\x0aa string..\x01\x01"[..],
                &(-7i64).to_le_bytes(),
                b"\x02\x02",
                &(-0.0f64).to_le_bytes(),
                b"\x03\x02",
                &0.25f64.to_le_bytes(),
                b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\x03\x01s",
            ]
            .concat(),
            &[
                "BeginArray { declared: 5, insert_index: Some(9) }",
                "[0] a string..",
                "[1] -7",
                "[2] -0.0",
                "[3] 0.25",
                "[18446744073709551615] s",
            ],
        ),
        vector(REDIS, 29, [vec![0], listpack(&["a", "bc"]), listpack(&["3", "x", "12"])].concat(), &template),
        vector(REDIS, 29, [&b"\x01\x02\x01a\x02bc"[..], &listpack(&["3", "x", "12"])].concat(), &template),
        vector(REDIS, 30, listpack(&["7", "x", "12"]), &template),
        vector(REDIS, 31, b"\x01\x02\x01a\x02bc\x01x\xc0\x0c".as_slice(), &template),
        vector(REDIS, 31, [vec![0], listpack(&["a", "bc"]), b"\x01x\xc0\x0c".to_vec()].concat(), &template),
        vector(REDIS, 32, b"\x07\x01x\xc0\x0c".as_slice(), &template),
        vector(
            VALKEY,
            22,
            [&b"\x02\x01a\x01b"[..], &ms(1000), b"\xc0\x07\x01x", &ms(-1)].concat(),
            &ttl_hash,
        ),
        vector(
            VALKEY,
            23,
            b"\x02\x00\x01\x01a\x01b\x02/x\x02\xc0\x07\x01x\x01c\x01d".as_slice(),
            &[
                "Begin { declared: 2 }",
                "Path { path: [], declared: 1 }",
                "a = b",
                "Path { path: [47, 120], declared: 2 }",
                "7 = x",
                "c = d",
            ],
        ),
    ];
    all.extend([15, 19, 21].map(|object| stream_vector(OLD, object)));
    all.extend([26, 27].map(|object| stream_vector(REDIS, object)));
    all
}

/// The lines between the head of the only key and its end.
fn value_lines(log: &[String]) -> &[String] {
    let head = log.iter().position(|line| line.starts_with("KeyHead")).expect("a key");
    let end = log.iter().position(|line| line.starts_with("end of key")).expect("its end");
    &log[head + 1..end]
}

#[test]
fn every_type_gives_its_elements() {
    for vector in vectors() {
        let file = vector.file();
        let Outcome { log, end } = decode(&file, Depth::Item);
        assert_eq!(end, Ok(file.len()), "type {}", vector.object);
        assert_eq!(value_lines(&log), vector.lines, "type {}", vector.object);
        let end_of_key = format!("end of key {}", file.len() - 9);
        assert!(log.contains(&end_of_key), "type {}: {log:?}", vector.object);
    }
}

#[test]
fn every_type_is_the_same_in_pieces() {
    for vector in vectors() {
        let file = vector.file();
        for depth in [Depth::Skip, Depth::Raw, Depth::Packed, Depth::Item] {
            for deep in [false, true] {
                let options = Options { deep, ..Options::default() };
                let whole = decode_in_pieces(&file, depth, options, file.len());
                assert_eq!(whole.end, Ok(file.len()));
                for piece in [1, 7] {
                    let other = decode_in_pieces(&file, depth, options, piece);
                    assert_eq!(other.end, whole.end, "type {} in {piece}", vector.object);
                    assert_eq!(other.log, whole.log, "type {} in {piece}", vector.object);
                }
            }
        }
    }
}

#[test]
fn a_raw_value_is_the_bytes_of_the_file() {
    for vector in vectors() {
        let log = decode(&vector.file(), Depth::Raw).log;
        let expected = format!("raw {}", vector.value.escape_ascii());
        assert!(log.contains(&expected), "type {}", vector.object);
        let log = decode(&vector.file(), Depth::Skip).log;
        assert_eq!(value_lines(&log), [""; 0], "type {}", vector.object);
    }
}

#[test]
fn packed_values_are_given_whole() {
    for vector in vectors() {
        let log = decode(&vector.file(), Depth::Packed).log;
        let lines = value_lines(&log);
        let first = lines[0].as_str();
        let expected = match vector.object {
            9 => "Zipmap(",
            11 => "Intset(",
            10 | 12 | 13 => "Ziplist(",
            16 | 17 | 20 | 25 => "Listpack(",
            23 if vector.magic.starts_with(b"REDIS") => "Listpack(",
            14 | 18 => {
                assert_eq!(lines.len(), 3);
                "BeginNodes { declared: 2 }"
            }
            15 | 19 | 21 | 26 | 27 => {
                assert!(lines[1].starts_with("StreamNode { master: StreamId { ms: 100, seq: 5 }"));
                assert_eq!(lines[2..], vector.lines[3..]);
                "BeginNodes { declared: 1 }"
            }
            _ => {
                assert_eq!(lines, vector.lines);
                continue;
            }
        };
        assert!(first.starts_with(expected), "type {}: {first}", vector.object);
    }
}

#[test]
fn what_no_type_may_hold_is_refused() {
    let nan = f64::NAN.to_le_bytes();
    let cases: [(&'static [u8; 9], u8, Vec<u8>, &str); 20] = [
        (b"REDIS0011", 3, b"\x01\x01a\xfd".to_vec(), "score nan is not a number"),
        (b"REDIS0011", 3, b"\x01\x01a\x03x\ny".to_vec(), "score x\\ny is not a number"),
        (b"REDIS0011", 5, [&b"\x01\x01a"[..], &nan].concat(), "score nan is not a number"),
        (b"REDIS0011", 12, ziplist(&["a", "nan"]), "score nan is not a number"),
        (b"REDIS0011", 17, listpack(&["a", "b"]), "score b is not a number"),
        (b"REDIS0011", 17, listpack(&["a", "1", "b"]), "sorted set has 3 entries, not a multiple of 2"),
        (b"REDIS0011", 16, listpack(&["a"]), "hash has 1 entries, not a multiple of 2"),
        (b"REDIS0011", 13, ziplist(&["a"]), "hash has 1 entries, not a multiple of 2"),
        (
            b"REDIS0012",
            25,
            [&ms(1)[..], &listpack(&["a", "b", "-1"])].concat(),
            "the expiry of a field, -1, is out of range",
        ),
        (
            b"REDIS0012",
            25,
            [&ms(1)[..], &listpack(&["a", "b"])].concat(),
            "hash with field expiries has 2 entries, not a multiple of 3",
        ),
        (
            b"REDIS0012",
            24,
            [&ms(-1)[..], b"\x01\x00\x01a\x01b"].concat(),
            "the expiry of a field, -1, is out of range",
        ),
        (
            b"REDIS0012",
            24,
            [&ms(1 << 47)[..], b"\x01\x81\x00\x00\x80\x00\x00\x00\x00\x01\x01a\x01b"].concat(),
            "the expiry of a field, 281474976710656, is out of range",
        ),
        (
            b"VALKEY080",
            22,
            [&b"\x01\x01a\x01b"[..], &ms(-2)].concat(),
            "the expiry of a field, -2, is out of range",
        ),
        (b"VALKEY081", 23, b"\x01\x00\x00".to_vec(), "path 0 of a path hash has no fields"),
        (b"REDIS0011", 7, b"\x05\x06\x00".to_vec(), "module value opcode 6"),
        (b"REDIS0014", 28, b"\x01\x02".to_vec(), "array insert index flag 2"),
        (b"REDIS0014", 28, b"\x01\x00\x00\x04".to_vec(), "array element tag 4"),
        (b"REDIS0015", 29, b"\x02".to_vec(), "hash template field format 2"),
        (b"REDIS0015", 32, b"\x08\x01x".to_vec(), "hash template 8 was not defined before its use"),
        (b"REDIS0015", 31, b"\x01\x00".to_vec(), "hash template without fields"),
    ];
    for (magic, object, value, expected) in cases {
        let file = file(magic, &[&[object, 1, b'k'], &value[..]].concat());
        for depth in [Depth::Packed, Depth::Item] {
            let error = decode(&file, depth).end.expect_err(expected);
            assert_eq!(error.kind.to_string(), expected);
        }
        let deep = Options { deep: true, ..Options::default() };
        let error = decode_in_pieces(&file, Depth::Skip, deep, 5).end.expect_err(expected);
        assert_eq!(error.kind.to_string(), expected);
    }
}

#[test]
fn a_stream_node_must_be_laid_out_as_one() {
    let node = |items: &[&str]| {
        let value = [vec![1, 16], raw_id(1, 1), listpack(items), vec![1, 1, 1, 0]].concat();
        file(b"REDIS0011", &[&[15, 1, b'k'], &value[..]].concat())
    };
    let good = ["1", "0", "1", "f", "0", "2", "0", "0", "v", "4"];
    assert!(decode(&node(&good), Depth::Item).end.is_ok());
    for (index, wrong, what) in [
        (0, "x", "entry 1: count of live entries"),
        (0, "2", "entry 10: entry flags"),
        (0, "0", "entry 5: more than the entries it counts"),
        (1, "-1", "entry 2: count of deleted entries"),
        (2, "9", "entry 10: field name"),
        (2, "9223372036854775807", "entry 10: field name"),
        (4, "1", "entry 5: end of the field names"),
        (5, "x", "entry 6: entry flags"),
        (6, "x", "entry 7: entry time"),
        (7, "x", "entry 8: entry sequence"),
        (5, "0", "entry 9: count of fields"),
        (9, "5", "entry 10: count of the entry's elements"),
    ] {
        let mut items = good;
        items[index] = wrong;
        let error = decode(&node(&items), Depth::Item).end.expect_err(what);
        assert_eq!(error.kind.to_string(), format!("stream listpack {what}"), "item {index}");
        assert_eq!(decode(&node(&items), Depth::Packed).end, Err(error));
        assert!(decode(&node(&items), Depth::Skip).end.is_ok());
    }
    let short_id = file(b"REDIS0011", b"\x0f\x01k\x01\x01x\x01y\x01\x01\x01\x00");
    let error = decode(&short_id, Depth::Item).end.unwrap_err();
    assert_eq!(error.to_string(), "offset 13, key \"k\": stream node id of 1 bytes, not 16");
    let no_nodes = file(b"REDIS0011", b"\x0f\x01k\x00\x05\x01\x01\x00");
    let error = decode(&no_nodes, Depth::Item).end.unwrap_err();
    assert_eq!(error.to_string(), "offset 13, key \"k\": stream of 5 entries without nodes");
}

#[test]
fn ids_of_stream_entries_wrap_instead_of_overflowing() {
    let node = listpack(&["1", "0", "0", "0", "2", "9223372036854775807", "-1", "3"]);
    let value = [vec![1, 16], raw_id(u64::MAX, 0), node, vec![1, 1, 1, 0]].concat();
    let bytes = file(b"REDIS0011", &[&[15, 1, b'k'], &value[..]].concat());
    let log = decode(&bytes, Depth::Item).log;
    let id = "StreamEntry { id: StreamId { ms: 9223372036854775806, seq: 18446744073709551615 }";
    assert!(log.iter().any(|line| line.starts_with(id)), "{log:?}");
}
