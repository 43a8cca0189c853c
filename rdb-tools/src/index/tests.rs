//! An index finds what is there, nothing else, and is not believed when it is damaged or stale.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use cairn_engine::codec::rdb::{Depth, KeyHead, Sink, ValueEvent};

use super::{BLOCK_ENTRIES, Lookup, Refusal, build};
use crate::cmd::Reading;
use crate::jsonl::{Jsonl, Options};
use crate::parallel::Worker;
use crate::source::Source;
use crate::spill::Spill;

/// Keys, and the bytes of their values.
#[derive(Default)]
struct Seen(Vec<(u64, Vec<u8>, Vec<u8>)>);

impl Sink for Seen {
    type Error = io::Error;

    fn key(&mut self, head: &KeyHead<'_>) -> io::Result<Depth> {
        self.0.push((head.db, head.key.to_vec(), Vec::new()));
        Ok(Depth::Raw)
    }

    fn value(&mut self, event: ValueEvent<'_>) -> io::Result<()> {
        if let (ValueEvent::Raw(piece), Some(last)) = (event, self.0.last_mut()) {
            last.2.extend_from_slice(piece);
        }
        Ok(())
    }
}

impl Worker for Seen {
    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn source(path: &Path) -> Source {
    let reading = Reading { no_mmap: false, no_progress: true };
    Source::open(path.as_os_str(), reading).expect("opens")
}

fn index_of(path: &Path) -> Vec<u8> {
    let mut out = Vec::new();
    let file = File::open(path).expect("opens");
    let built = build(&mut source(path), &file, &Spill::default(), &mut out).expect("is good");
    assert_eq!(built.bytes, out.len() as u64);
    out
}

fn open(path: &Path, index: &[u8]) -> Result<Lookup, Refusal> {
    let temp = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(temp.path(), index).expect("write");
    Lookup::open(temp.path(), File::open(path).expect("opens")).expect("the file can be read")
}

fn get(lookup: &Lookup, key: &[u8]) -> Result<Seen, Refusal> {
    let mut seen = Seen::default();
    for found in lookup.find(key)? {
        lookup.read(found, key, &mut seen).expect("the file is good");
    }
    Ok(seen)
}

/// A file of so many strings; every hundredth is there in two databases, every thousandth once more.
fn many(keys: usize) -> tempfile::NamedTempFile {
    let mut bytes = b"REDIS0011\xfe\x00".to_vec();
    let record = |i: usize, value: u8| [&[0, 8][..], format!("{i:08}").as_bytes(), &[1, value]].concat();
    for i in 0..keys {
        bytes.extend(record(i, b'a'));
        if i % 1000 == 0 {
            bytes.extend(record(i, b'c'));
        }
    }
    bytes.extend_from_slice(b"\xfe\x07");
    (0..keys).step_by(100).for_each(|i| bytes.extend(record(i, b'b')));
    bytes.extend_from_slice(b"\xff\0\0\0\0\0\0\0\0");
    let temp = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(temp.path(), bytes).expect("write");
    temp
}

fn testdata() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/rdb");
    let entries = fs::read_dir(folder).expect("testdata");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.extension().is_some_and(|e| e == "rdb")).collect()
}

#[test]
fn every_key_of_the_testdata_is_found() {
    for path in testdata() {
        let mut all = Seen::default();
        source(&path).read(&mut all).expect("is good");
        let lookup = open(&path, &index_of(&path)).expect("is fresh");
        assert_eq!(lookup.keys(), all.0.len() as u64);
        let line_of = |key: &[u8]| {
            let mut text = Vec::new();
            let mut sink = Jsonl::new(&mut text, Options::default());
            for found in lookup.find(key).expect("is whole") {
                lookup.read(found, key, &mut sink).expect("is good");
            }
            sink.finish().expect("memory");
            drop(sink);
            text
        };
        let mut whole = Vec::new();
        source(&path).read(&mut Jsonl::new(&mut whole, Options::default())).expect("is good");
        for (_, key, _) in &all.0 {
            let expected: Vec<_> = all.0.iter().filter(|seen| seen.1 == *key).cloned().collect();
            assert_eq!(get(&lookup, key).expect("is whole").0, expected, "{}", path.display());
            for line in line_of(key).split_inclusive(|b| *b == b'\n') {
                assert!(memchr::memmem::find(&whole, line).is_some(), "{}", path.display());
            }
        }
        assert!(get(&lookup, b"no such key").expect("is whole").0.is_empty());
    }
}

#[test]
fn keys_in_many_blocks_are_found_as_often_as_they_are_there() {
    const KEYS: usize = 4321;
    let file = many(KEYS);
    let index = index_of(file.path());
    assert!(index.len() / 4096 > KEYS / BLOCK_ENTRIES);
    let lookup = open(file.path(), &index).expect("is fresh");
    for i in 0..KEYS {
        let key = format!("{i:08}").into_bytes();
        let values: Vec<_> =
            get(&lookup, &key).expect("is whole").0.into_iter().map(|(db, _, v)| (db, v[1])).collect();
        let mut expected = vec![(0, b'a')];
        expected.extend((i % 1000 == 0).then_some((0, b'c')));
        expected.extend((i % 100 == 0).then_some((7, b'b')));
        assert_eq!(values, expected, "{i}");
    }
    assert!(get(&lookup, b"00004321").expect("is whole").0.is_empty());
}

#[test]
fn a_damaged_index_is_refused_or_right() {
    let file = many(400);
    let index = index_of(file.path());
    for at in (0..index.len()).step_by(7) {
        let mut damaged = index.clone();
        damaged[at] ^= 0x20;
        let Ok(lookup) = open(file.path(), &damaged) else { continue };
        let mut refused = 0;
        for i in (0..400).step_by(37) {
            match get(&lookup, format!("{i:08}").as_bytes()) {
                Ok(seen) => assert!(!seen.0.is_empty(), "byte {at}, key {i}"),
                Err(Refusal::Damaged(_)) => refused += 1,
                Err(other) => panic!("{other:?}"),
            }
        }
        assert!(refused > 0 || at % 4096 > 0, "byte {at}");
    }
    for len in [0, 7, 15, 16, 60, index.len() - 4096, index.len() - 1] {
        assert!(matches!(open(file.path(), &index[..len]), Err(Refusal::Damaged(_))), "{len}");
    }
    let garbage: Vec<u8> = [&b"cairnidx\x01\0\0\0\xff\xff\xff\x7f"[..], &[0xff; 500]].concat();
    assert!(matches!(open(file.path(), &garbage), Err(Refusal::Damaged(_))));
}

#[test]
fn a_stale_index_is_refused() {
    let file = many(100);
    let index = index_of(file.path());
    let mut bytes = fs::read(file.path()).expect("read");
    let refused = |what: &str| match open(file.path(), &index) {
        Err(Refusal::Stale(why)) => assert!(why.contains(what), "{why}"),
        other => panic!("{other:?}"),
    };
    bytes.push(0);
    fs::write(file.path(), &bytes).expect("write");
    refused("when it had");
    bytes.pop();
    bytes[30] ^= 1;
    fs::write(file.path(), &bytes).expect("write");
    refused("with other contents");
    bytes[30] ^= 1;
    fs::write(file.path(), &bytes).expect("write");
    refused("before it was written to");
    assert_eq!(open(file.path(), b"").err(), open(file.path(), b"short").err());
    let none = Lookup::open(Path::new("/no/such/index"), File::open(file.path()).expect("opens"));
    assert!(matches!(none, Ok(Err(Refusal::Absent))));
}
