//! Several threads tell what one tells: the same events, offsets and faults, in the same order.

use std::io::Write as _;

use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::{
    Decoder, Depth, KeyHead, ObjectType, Options, Sink, Target, Trailer, ValueEvent, Version, Writer,
    WriterOptions, opcode,
};

use super::{BATCH_BYTES, Closed, Jobs, Outlet, Start, Worker, run};
use crate::drive::{Stop, drive};
use crate::input::{Access, Input};
use crate::progress::{Progress, Wanted};

/// Writes down every event as a line.
struct Recorder {
    depth: Depth,
    lines: Vec<String>,
    importing: Vec<(u64, u64)>,
    outlet: Option<Outlet<Vec<String>>>,
}

impl Recorder {
    fn new(depth: Depth, outlet: Option<Outlet<Vec<String>>>) -> Self {
        Self { depth, lines: Vec::new(), importing: Vec::new(), outlet }
    }

    fn line(&mut self, line: String) -> Result<(), Closed> {
        self.lines.push(line);
        match &self.outlet {
            Some(outlet) if self.lines.len() > 50 => outlet.send(std::mem::take(&mut self.lines)),
            _ => Ok(()),
        }
    }
}

impl Sink for Recorder {
    type Error = Closed;

    fn start(&mut self, version: Version) -> Result<(), Closed> {
        self.line(format!("{version:?}"))
    }
    fn aux(&mut self, key: &[u8], value: &[u8], end: u64) -> Result<(), Closed> {
        self.line(format!("aux {} {} {end}", key.escape_ascii(), value.escape_ascii()))
    }
    fn select_db(&mut self, db: u64, end: u64) -> Result<(), Closed> {
        self.line(format!("db {db} {end}"))
    }
    fn slot_import(&mut self, _job: &[u8], ranges: &[(u64, u64)]) -> Result<(), Closed> {
        self.importing.extend_from_slice(ranges);
        self.line(format!("import {ranges:?}"))
    }
    fn template(&mut self, id: u64, fields: &[Vec<u8>]) -> Result<(), Closed> {
        self.line(format!("template {id} {fields:?}"))
    }
    fn key(&mut self, head: &KeyHead<'_>) -> Result<Depth, Closed> {
        let importing = self.importing.len();
        self.line(format!("{head:?} {importing}"))?;
        Ok(self.depth)
    }
    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), Closed> {
        let text = format!("{event:?}");
        self.line(text.chars().take(300).collect())
    }
    fn end_key(&mut self, end: u64) -> Result<(), Closed> {
        self.line(format!("end {end}"))
    }
    fn end(&mut self, trailer: Trailer) -> Result<(), Closed> {
        self.line(format!("{trailer:?}"))
    }
}

impl Worker for Recorder {
    fn begin(&mut self, start: &Start) -> Result<(), Closed> {
        self.importing.clone_from(&start.importing);
        Ok(())
    }
    fn finish(&mut self) -> Result<(), Closed> {
        let lines = std::mem::take(&mut self.lines);
        self.outlet.as_ref().expect("workers have one").send(lines)
    }
}

/// A file of several batches with all the state that can stand among keys.
fn file(version: Version) -> Vec<u8> {
    let mut out = Writer::new(Vec::new(), WriterOptions { compress: false, checksum: true });
    let Ok(()) = out.raw(&version.magic());
    let is_redis = version.is_redis_only();
    let noise: Vec<u8> = (0..997u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for i in 0..4_000u64 {
        let Ok(()) = match i % 1000 {
            0 => out.select_db(i / 1000),
            500 if is_redis => {
                let Ok(()) = out.byte(opcode::HASH_TEMPLATE);
                let Ok(()) = out.len(i / 500);
                let Ok(()) = out.len(2);
                let Ok(()) = out.string(b"one");
                out.string(b"two")
            }
            500 => {
                let Ok(()) = out.byte(opcode::SLOT_IMPORT);
                let Ok(()) = out.string(b"job");
                let Ok(()) = out.len(1);
                let Ok(()) = out.len(i);
                out.len(i + 1)
            }
            _ => Ok(()),
        };
        if i % 3 == 0 {
            let Ok(()) = out.expire_ms(UnixMs(i as i64));
        }
        let key = format!("key:{i}");
        let Ok(()) = match i % 5 {
            0 if is_redis && i > 600 => {
                let Ok(()) = out.key(ObjectType::HashTemplateArrayRef, key.as_bytes());
                let Ok(()) = out.len(1);
                let Ok(()) = out.string(b"first");
                out.string(&noise)
            }
            1 => {
                let Ok(()) = out.key(ObjectType::List, key.as_bytes());
                let Ok(()) = out.len(3);
                let Ok(()) = out.string(&noise);
                let Ok(()) = out.string(b"12");
                out.string(key.as_bytes())
            }
            _ => {
                let Ok(()) = out.key(ObjectType::String, key.as_bytes());
                out.string(&noise[i as usize % 700..])
            }
        };
        if i % 2 == 0 {
            let Ok(()) = out.aux(b"keydb-subexpire-key", b"12");
            let Ok(()) = out.aux(b"keydb-subexpire-when", b"1700000000000");
        }
    }
    // One value of several windows, so that a worker is in the middle of it when its window ends.
    let Ok(()) = out.key(ObjectType::Set, b"large");
    let Ok(()) = out.len(6_000);
    for i in 0..6_000u64 {
        let Ok(()) = out.string(&[&i.to_be_bytes()[..], &noise[..900]].concat());
    }
    let Ok(()) = out.key(ObjectType::String, b"last");
    let Ok(()) = out.string(b"x");
    let Ok((bytes, _)) = out.finish();
    assert!(bytes.len() as u64 > 6 * BATCH_BYTES);
    bytes
}

fn open(bytes: &[u8]) -> Input {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("write");
    Input::open(file.path(), Access::Map).expect("open")
}

fn quiet() -> Progress {
    Progress::new(Wanted::Never, String::new(), None)
}

/// Lines, and how the file ended.
fn alone(bytes: &[u8], depth: Depth) -> (Vec<String>, String, u64) {
    let mut input = open(bytes);
    let mut sink = Recorder::new(depth, None);
    let result = drive(&mut input, &mut Decoder::new(Options::default()), &quiet(), &mut sink);
    (sink.lines, ending(result), input.position())
}

fn together(bytes: &[u8], depth: Depth, jobs: u16) -> (Vec<String>, String, u64) {
    let mut input = open(bytes);
    let mut lines = Vec::new();
    let outcome = run(
        &mut input,
        Jobs { jobs: Some(jobs) },
        &quiet(),
        |outlet| Recorder::new(depth, Some(outlet)),
        |mut some: Vec<String>| {
            lines.append(&mut some);
            Ok(())
        },
    );
    (lines, ending(outcome.result), input.position())
}

fn ending(result: Result<(), Stop<Closed>>) -> String {
    match result {
        Ok(()) => "ended".to_owned(),
        Err(Stop::Format(error)) => format!("{error:?}"),
        Err(other) => panic!("{other:?}"),
    }
}

/// Of raw values the pieces depend on the windows.
fn compare(bytes: &[u8], depth: Depth, jobs: u16) -> String {
    let (lines, end, position) = alone(bytes, depth);
    let (found, found_end, found_position) = together(bytes, depth, jobs);
    assert_eq!(found_end, end);
    assert!(end != "ended" || found_position == position, "{found_position} {position}");
    for (i, (found, expected)) in found.iter().zip(&lines).enumerate() {
        assert_eq!(found, expected, "line {i}");
    }
    assert_eq!(found.len(), lines.len());
    end
}

fn redis() -> Version {
    Target::Redis810.version()
}

#[test]
fn threads_tell_what_one_tells() {
    for version in [redis(), Target::Valkey9.version()] {
        let bytes = file(version);
        for jobs in [1, 3] {
            for depth in [Depth::Packed, Depth::Item] {
                assert_eq!(compare(&bytes, depth, jobs), "ended", "{version:?}, {depth:?}, {jobs} jobs");
            }
        }
    }
}

#[test]
fn a_transfer_is_unwrapped() {
    let mark = [b'm'; 40];
    let wrapped = [&b"$EOF:"[..], &mark, b"\r\n", &file(redis()), &mark, b"more"].concat();
    assert_eq!(compare(&wrapped, Depth::Item, 2), "ended");
}

#[test]
fn damage_is_told_as_by_one_thread() {
    let bytes = file(redis());
    let middle = bytes.len() / 2;
    let mut endings = std::collections::HashSet::new();
    for cut in [bytes.len() - 3, middle, 9, 4, BATCH_BYTES as usize + 5000] {
        endings.insert(compare(&bytes[..cut], Depth::Item, 2));
    }
    // The checksum alone is wrong; a type, the checksum's own bytes, the magic.
    for at in [middle, bytes.len() - 1, bytes.len() - 12, 2] {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x55;
        endings.insert(compare(&bytes, Depth::Item, 2));
    }
    let mut state = 7u64;
    for _ in 0..6 {
        let mut bytes = bytes.clone();
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = (state >> 33) as usize % bytes.len();
        bytes[at] = state as u8;
        endings.insert(compare(&bytes, Depth::Item, 2));
    }
    assert!(endings.len() > 6 && !endings.contains("ended"), "{endings:?}");
}

#[test]
fn whoever_takes_may_stop() {
    let bytes = file(redis());
    for jobs in [1, 4] {
        let mut input = open(&bytes);
        let mut taken = 0;
        let outcome = run(
            &mut input,
            Jobs { jobs: Some(jobs) },
            &quiet(),
            |outlet| Recorder::new(Depth::Item, Some(outlet)),
            |_| {
                taken += 1;
                if taken == 3 { Err(Closed) } else { Ok(()) }
            },
        );
        assert!(matches!(outcome.result, Err(Stop::Sink(Closed))));
        assert_eq!(taken, 3);
        assert_eq!(outcome.workers.len(), usize::from(jobs));
    }
}
