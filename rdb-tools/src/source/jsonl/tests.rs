//! Lines that somebody has changed: whatever is wrong with them is told, at every depth, and nothing panics.

use std::convert::Infallible;
use std::io::Cursor;
use std::path::Path;

use cairn_engine::codec::rdb::{Depth, KeyHead, Sink, ValueEvent};

use super::read;
use crate::drive::{Blame, Stop};
use crate::input::Input;
use crate::progress::{Progress, Wanted};

/// One of each kind, and of each record type that is packed.
const LINES: &[&str] = &[
    r#"{"db":0,"key":"s","type":"string","rdb_type":0,"pexpireat":-1,"string_form":"int16","value":"300"}"#,
    r#"{"db":1,"key":"l","type":"list","rdb_type":18,"pexpireat":99,"idle":7,"value":["a",{"b64":"AP8="},""]}"#,
    r#"{"db":1,"key":"l1","type":"list","rdb_type":1,"pexpireat":-1,"freq":7,"value":["a"]}"#,
    r#"{"db":1,"key":"l2","type":"list","rdb_type":10,"pexpireat":-1,"value":["a","b"]}"#,
    r#"{"db":1,"key":"l3","type":"list","rdb_type":14,"pexpireat":-1,"value":["a","b"]}"#,
    r#"{"db":0,"key":"i","type":"set","rdb_type":11,"pexpireat":-1,"value":["1","70000","-5"]}"#,
    r#"{"db":0,"key":"t","type":"set","rdb_type":20,"pexpireat":-1,"value":["1","x"]}"#,
    r#"{"db":0,"key":"h","type":"hash","rdb_type":16,"pexpireat":-1,"value":[["f","v"],["g","7"]]}"#,
    r#"{"db":0,"key":"h1","type":"hash","rdb_type":9,"pexpireat":-1,"value":[["f","v"]]}"#,
    r#"{"db":0,"key":"h2","type":"hash","rdb_type":13,"pexpireat":-1,"value":{"f":"v"}}"#,
    r#"{"db":0,"key":"h3","type":"hash","rdb_type":24,"pexpireat":-1,"value":[["f","v"],["g","w"]],"field_pexpireat":[["f",5]]}"#,
    r#"{"db":0,"key":"h4","type":"hash","rdb_type":25,"pexpireat":-1,"value":[["f","v"]],"field_pexpireat":[["f",5]]}"#,
    r#"{"db":0,"key":"h5","type":"hash","rdb_type":22,"pexpireat":-1,"value":[["f","v"]],"field_pexpireat":[["f",5]],"importing":true}"#,
    r#"{"db":0,"key":"h6","type":"hash","rdb_type":29,"pexpireat":-1,"value":[["f","v"]]}"#,
    r#"{"db":0,"key":"h7","type":"hash","rdb_type":30,"pexpireat":-1,"value":[["f","v"]]}"#,
    r#"{"db":0,"key":"h8","type":"hash","rdb_type":32,"pexpireat":-1,"value":[["f","v"]]}"#,
    r#"{"db":0,"key":"z","type":"zset","rdb_type":17,"pexpireat":-1,"value":[["m","-inf"],["n","1.5"]]}"#,
    r#"{"db":0,"key":"z1","type":"zset","rdb_type":3,"pexpireat":-1,"value":[["m","inf"],["n",2e300]]}"#,
    r#"{"db":0,"key":"z2","type":"zset","rdb_type":12,"pexpireat":-1,"no_evict":true,"value":{"m":1}}"#,
    r#"{"db":0,"key":"x","type":"stream","rdb_type":21,"pexpireat":-1,"value":{"entries":[["1-1",["f","v"]],["1-2",["f","w"]],["2-0",["a","b","c","d"]]],"length":3,"last_id":"2-0","first_id":"1-1","max_deleted_id":"0-0","entries_added":3,"groups":[{"name":"g","last_id":"1-1","entries_read":null,"pel":[["1-1","c",5,1]],"consumers":[{"name":"c","seen_time":5,"active_time":-1,"pel":["1-1"]}]}]}}"#,
    r#"{"db":0,"key":"x5","type":"stream","rdb_type":27,"pexpireat":-1,"value":{"entries":[],"length":0,"last_id":"2-0","groups":[{"name":"g","last_id":"1-1","entries_read":1,"pel":[["1-1","",5,1]],"consumers":[],"nacked_count":1,"nacked":["1-1"]}],"idmp":{"duration":1,"maxsize":2,"added":3,"duplicates":0,"producers":[["p",[["i","2-0"]]]]}}}"#,
    r#"{"db":0,"key":"a","type":"array","rdb_type":28,"pexpireat":-1,"value":{"count":2,"len":8,"next_insert_index":3,"elements":[[2,"7"],[7,"x"]]}}"#,
    r#"{"db":0,"key":"r","type":"radix","rdb_type":23,"pexpireat":-1,"value":[["p",[["f","v"]]],["",[["g","w"]]]]}"#,
    r#"{"db":0,"key":"m","rdb_type":7,"pexpireat":-1,"type":"test___dt","value":{"module_id":13108621717924590593,"values":[1,18446744073709551615,"1.5","0.1","x"],"kinds":"usfdb"},"key_meta":[["09f5c428",["x",1],"bu"]]}"#,
    r##"{"db":-1,"key":"lib","type":"function","engine":"LUA","value":"#!lua name=lib\n"}"##,
];

struct At(Depth, u32);

impl Sink for At {
    type Error = Infallible;

    fn key(&mut self, _head: &KeyHead<'_>) -> Result<Depth, Infallible> {
        self.1 += 1;
        Ok(self.0)
    }

    fn value(&mut self, _event: ValueEvent<'_>) -> Result<(), Infallible> {
        Ok(())
    }
}

const DEPTHS: [Depth; 4] = [Depth::Item, Depth::Packed, Depth::Raw, Depth::Skip];

fn read_all(lines: &[u8], depth: Depth) -> (u32, Result<(), Stop<Infallible>>) {
    let reader = Box::new(Cursor::new(lines.to_vec()));
    let mut input = Input::from_reader(Path::new("lines"), reader).expect("is in memory");
    let mut sink = At(depth, 0);
    let result = read(&mut input, &Progress::new(Wanted::Never, String::new(), None), &mut sink);
    (sink.1, result)
}

#[test]
fn every_kind_of_line_is_read_at_every_depth() {
    let all = LINES.join("\n");
    for depth in DEPTHS {
        let (keys, result) = read_all(all.as_bytes(), depth);
        assert!(result.is_ok(), "{depth:?}: {result:?}");
        assert_eq!(keys as usize, LINES.len() - 1, "{depth:?}");
    }
}

#[test]
fn changed_lines_are_read_or_told() {
    let mut state = 7_u64;
    let mut next = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    const PIECES: &[&[u8]] = &[
        b"\"",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\\",
        b"-1",
        b"0",
        b"18446744073709551616",
        b"null",
        b"\0",
        b"\xff",
        b"9",
    ];
    let (mut read, mut told) = (0, 0);
    for round in 0..1_000 {
        let mut line = LINES[next(LINES.len())].as_bytes().to_vec();
        for _ in 0..=next(3) {
            let at = next(line.len());
            match next(5) {
                0 => line.truncate(at.max(1)),
                1 => drop(line.remove(at)),
                2 => line[at] ^= 1 << next(7),
                3 => drop(line.splice(at..at, PIECES[next(PIECES.len())].iter().copied())),
                // A piece of another line.
                _ => {
                    let other = LINES[next(LINES.len())].as_bytes();
                    let from = next(other.len());
                    let len = next(other.len() - from).min(20);
                    drop(line.splice(at..at, other[from..from + len].iter().copied()));
                }
            }
            if line.is_empty() {
                line.push(b' ');
            }
        }
        match read_all(&line, DEPTHS[round % DEPTHS.len()]).1 {
            Ok(()) => read += 1,
            Err(Stop::Other(fault)) => {
                assert_eq!(fault.blame, Blame::Input);
                told += 1;
            }
            // A record can be one that servers refuse: then it is the decoder that says so.
            Err(Stop::Format(_)) => told += 1,
            Err(other) => panic!("{other:?}: {}", line.escape_ascii()),
        }
    }
    assert!(read > 0 && told > 300, "{read} read, {told} told");
}
