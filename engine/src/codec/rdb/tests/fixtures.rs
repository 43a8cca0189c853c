//! Files that real servers wrote, from the folder that `CAIRN_FIXTURES` names.

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};

use super::support::feed;
use crate::codec::rdb::{Depth, KeyHead, Options, Sink, ValueEvent};

const DEPTHS: [Depth; 4] = [Depth::Skip, Depth::Raw, Depth::Packed, Depth::Item];

fn fixtures(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("CAIRN_FIXTURES").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("{test}: skipped, CAIRN_FIXTURES is not set");
    }
    folder
}

fn files_below(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("its entries can be read").path();
        if path.is_dir() {
            files_below(&path, extension, found);
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
}

struct Counter {
    depth: Depth,
    keys: u64,
    events: u64,
}

impl Sink for Counter {
    type Error = Infallible;
    fn key(&mut self, _: &KeyHead<'_>) -> Result<Depth, Infallible> {
        self.keys += 1;
        Ok(self.depth)
    }
    fn value(&mut self, _: ValueEvent<'_>) -> Result<(), Infallible> {
        self.events += 1;
        Ok(())
    }
}

#[test]
fn files_of_all_servers_decode_at_every_depth() {
    let Some(folder) = fixtures("files_of_all_servers_decode_at_every_depth") else { return };
    let mut files = Vec::new();
    files_below(&folder.join("made"), "rdb", &mut files);
    assert!(!files.is_empty());
    for path in files {
        let name = path.strip_prefix(&folder).unwrap().display().to_string();
        let bytes = fs::read(&path).unwrap();
        let refusal = match name.as_str() {
            n if n.contains("functions-prega") => Some("function data of a 7.0"),
            n if n.contains("keydb-cron") => Some("KeyDB's cron job"),
            "made/redis-4.0-rc1/modules.rdb" => Some("module value of a 4.0"),
            _ => None,
        };
        for depth in DEPTHS {
            let mut sink = Counter { depth, keys: 0, events: 0 };
            let end = feed(&bytes, &mut sink, Options::default(), bytes.len());
            match (end, refusal) {
                (Ok(end), None) => assert_eq!(end, bytes.len(), "{name} at {depth:?}"),
                (Err(error), Some(text)) => {
                    assert!(error.to_string().contains(text), "{name}: {error}");
                }
                (end, _) => panic!("{name} at {depth:?}: {end:?}"),
            }
        }
    }
}
