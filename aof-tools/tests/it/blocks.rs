//! Logs with checksums: every flipped bit and every cut is found, and what is cut off right stays right.

use std::fs;
use std::path::{Path, PathBuf};

use cairn_engine::base::crc64::crc64;
use cairn_engine::codec::aof::block::Pending;
use cairn_engine::codec::aof::manifest::{BaseFormat, Manifest};
use cairn_engine::codec::aof::record;

use crate::support::{aof_tools, check_aof};

pub(crate) const MANIFEST: &str = "a.aof.manifest";
pub(crate) const INCR: &str = "a.aof.2.incr.aof";

pub(crate) fn command(words: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    record::push_command(&mut out, words.iter().map(|word| word.as_bytes()));
    out
}

pub(crate) fn blocks(bodies: &[Vec<u8>]) -> Vec<u8> {
    let mut log = Vec::new();
    for body in bodies {
        let mut pending = Pending::new();
        pending.body_mut().extend_from_slice(body);
        let at = log.len() as u64;
        log.extend_from_slice(pending.seal(at, Some(at)));
    }
    log
}

/// A log as a clean shutdown leaves it: a base of commands, a closed increment, and the last one.
pub(crate) fn folder() -> (tempfile::TempDir, Vec<u8>) {
    let folder = tempfile::tempdir().expect("a folder");
    let base = blocks(&[command(&["SET", "base", "1"])]);
    let first = blocks(&[command(&["SET", "a", "1"])]);
    let mut stamped = b"#TS:100\r\n".to_vec();
    stamped.extend(command(&["SET", "b", "1"]));
    stamped.extend_from_slice(b"#TS:200\r\n");
    stamped.extend(command(&["SET", "b", "2"]));
    let last = blocks(&[command(&["SET", "c", "1"]), stamped]);
    let mut manifest = Manifest::default();
    let file = |name: &[u8], content: &[u8]| {
        fs::write(folder.path().join(std::str::from_utf8(name).expect("ASCII")), content).expect("a file");
        (Some(content.len() as u64), Some(crc64(content)))
    };
    let entry = manifest.add_base("a.aof", BaseFormat::Aof);
    (entry.marks.size, entry.marks.crc64) = file(&entry.name, &base);
    entry.marks.blocks = Some(0);
    let entry = manifest.add_incr("a.aof");
    (entry.marks.size, entry.marks.crc64) = file(&entry.name, &first);
    entry.marks.blocks = Some(0);
    let entry = manifest.add_incr("a.aof");
    (entry.marks.end, _) = file(&entry.name, &last);
    entry.marks.blocks = Some(0);
    fs::write(folder.path().join(MANIFEST), manifest.format_checked()).expect("a manifest");
    (folder, last)
}

/// The exit codes of both tools.
fn codes(folder: &Path) -> (Option<i32>, Option<i32>) {
    let ours = aof_tools(folder, &["check", MANIFEST]);
    let theirs = check_aof(folder, &[MANIFEST], "");
    (ours.status.code(), theirs.status.code())
}

#[test]
fn a_log_with_checksums_is_clean() {
    let (folder, _) = folder();
    assert_eq!(codes(folder.path()), (Some(0), Some(0)));
}

#[test]
fn every_flipped_bit_and_every_cut_of_a_log_with_checksums_is_found() {
    let (folder, _) = folder();
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder.path()).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert_eq!(files.len(), 4);
    for path in files {
        let good = fs::read(&path).expect("a file");
        // Each run is a process: one bit of each third byte, and each third cut.
        for at in (0..good.len()).step_by(3) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            for content in [&bad[..], &good[..at]] {
                fs::write(&path, content).expect("a file");
                if content.is_empty() && path.ends_with(MANIFEST) {
                    // The servers' tool takes it for an empty log of one file.
                    continue;
                }
                assert_eq!(codes(folder.path()), (Some(1), Some(1)), "{}: byte {at}", path.display());
            }
        }
        fs::write(&path, &good).expect("a file");
    }
}

#[test]
fn what_fix_leaves_is_a_log_again() {
    let (folder, last) = folder();
    let path = folder.path().join(INCR);
    for cut in (0..last.len()).rev().step_by(9) {
        fs::write(&path, &last[..cut]).expect("a file");
        let fixed = check_aof(folder.path(), &["--fix", MANIFEST], "y\n");
        assert_eq!(fixed.status.code(), Some(0), "cut at {cut}: {}", String::from_utf8_lossy(&fixed.stdout));
        assert_eq!(codes(folder.path()), (Some(0), Some(0)), "cut at {cut}");
    }
}

#[test]
fn a_cut_at_a_timestamp_leaves_a_block_of_what_was_before() {
    let (folder, last) = folder();
    let cut = check_aof(folder.path(), &["--truncate-to-timestamp", "150", MANIFEST], "");
    assert_eq!(cut.status.code(), Some(0), "{}", String::from_utf8_lossy(&cut.stdout));
    let left = fs::read(folder.path().join(INCR)).expect("a file");
    assert!(left.len() < last.len() && left.ends_with(&command(&["SET", "b", "1"])));
    assert_eq!(codes(folder.path()), (Some(0), Some(0)));
}
