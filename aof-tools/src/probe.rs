//! What fuzzers call: any bytes as a file of a log, looked at and repaired.
//!
//! The promises that are kept here are the tools' own: nothing panics, and what a repair leaves can be read to
//! its end. No tool uses this.

use std::io::{self, Write};
use std::path::PathBuf;

use cairn_engine::codec::aof::manifest::Marks;
use rdb_tools::cmd::Reading;

use crate::feed::InPlace;
use crate::log::choice::Choice;
use crate::log::ledger::{Form, Ledger};
use crate::log::stats::Stats;
use crate::repair::plan::{Rules, plan};
use crate::repair::write::write;
use crate::scan::{Ended, Scan};
use crate::set::{Member, Role};
use crate::transaction::Open;
use crate::vocabulary::Vocabulary;
use crate::walk::Walk;

/// A temporary file that has these bytes and the name of a log.
///
/// # Errors
/// What the system says.
pub fn file(bytes: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new().suffix(".aof").tempfile()?;
    file.write_all(bytes)?;
    Ok(file)
}

/// Checks `bytes` as a log in one file, on one thread and on two.
///
/// # Panics
/// If they do not find the same, which is what a fuzzer looks for.
///
/// # Errors
/// What the system says about temporary files.
pub fn check(bytes: &[u8]) -> anyhow::Result<()> {
    let file = file(bytes)?;
    let one = crate::check::shown(file.path(), 1, true)?;
    let two = crate::check::shown(file.path(), 2, false)?;
    // The second has not run the commands.
    assert!(one.1 || !two.1, "what is wrong on two threads is wrong on one");
    Ok(())
}

/// Looks at `bytes` as at a log in one file, repairs it, and looks at what is left.
///
/// # Panics
/// If what is left of a repair is not right, which is what a fuzzer looks for.
///
/// # Errors
/// What the system says about temporary files, and a file with too much wrong in it.
pub fn repair(bytes: &[u8], keep_unsure: bool) -> anyhow::Result<()> {
    let vocabulary = Vocabulary::new();
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(bytes)?;
    let member = Member {
        name: b"a.aof".to_vec(),
        path: PathBuf::from(file.path()),
        // A base that starts with an RDB file is for others.
        role: Role::Incr,
        seq: 1,
        is_last: true,
        marks: Marks::default(),
    };
    let reading = Reading { no_mmap: true, no_progress: true };
    let rules = Rules { keep_unknown: false, keep_unsure, salvage: false };
    let found = plan(&member, reading, &vocabulary, rules)?;
    if found.start > 0 || found.obstacle.is_some() {
        return Ok(());
    }
    let mut left = tempfile::tempfile()?;
    let written = write(&found, &mut left)?;
    let mut feed = InPlace::new(&left, 0, written.bytes);
    let mut scan = Scan::new(&vocabulary, false);
    let ended = scan.run(&mut feed, u64::MAX, &mut |_| {})?;
    assert_eq!(ended, Ended::Reached, "what is left can be read");
    let mut open = Open::default();
    for (at, mark) in scan.tally.marks {
        assert_eq!(open.step(at, mark), Ok(()), "transactions pair");
    }
    assert_eq!(open.at(), None, "no transaction is open");
    assert!(scan.tally.notes.is_empty(), "servers can run all commands");
    Ok(())
}

/// Shows `bytes` as a ledger in all its forms, and counts what is in them.
///
/// # Errors
/// What the system says about temporary files.
pub fn show(bytes: &[u8]) -> anyhow::Result<()> {
    let vocabulary = Vocabulary::new();
    let mut file = tempfile::tempfile()?;
    file.write_all(bytes)?;
    let everything = || Choice {
        times: (None, None),
        offsets: (0, u64::MAX),
        keys: Some(Box::new(|key: &[u8]| key.len().is_multiple_of(2))),
        dbs: Vec::new(),
        commands: Vec::new(),
        not_commands: Vec::new(),
        left: u64::MAX,
        without_time: 0,
    };
    let end = bytes.len() as u64;
    for form in [Form::Text { full: false }, Form::Json { full: true }] {
        let (mut choice, mut out) = (everything(), io::sink());
        let mut ledger = Ledger::new(&vocabulary, &mut choice, &mut out, form);
        ledger.keep_quiet();
        Walk::new(&vocabulary).run(&mut InPlace::new(&file, 0, end), &mut ledger)?;
    }
    let mut choice = everything();
    let mut stats = Stats::new(&vocabulary, &mut choice, b":", 2);
    stats.keep_quiet();
    Walk::new(&vocabulary).run(&mut InPlace::new(&file, 0, end), &mut stats)?;
    drop((stats.as_text(5), stats.as_json()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{repair, show};
    use cairn_engine::codec::aof::block::Pending;
    use cairn_engine::codec::aof::record::push_command;
    use cairn_engine::codec::aof::reserve;

    /// A small generator, so that a failing log can be made again.
    fn next(state: &mut u64) -> usize {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) as usize
    }

    /// A few commands, plain or in blocks.
    fn log(state: &mut u64, in_blocks: bool) -> Vec<u8> {
        const LINES: [&str; 11] = [
            "SET a 1",
            "MULTI",
            "EXEC",
            "SELECT 2",
            "SELECT x",
            "HSET h f v g w",
            "DISCARD",
            "NOSUCH x",
            "GET a b",
            "JSON.SET k . 1",
            "XGROUP CREATE s g 0",
        ];
        let mut out = Vec::new();
        for _ in 0..next(state) % 6 + 1 {
            let mut pending = Pending::new();
            for _ in 0..next(state) % 4 + 1 {
                let line = LINES[next(state) % LINES.len()];
                push_command(pending.body_mut(), line.split(' ').map(str::as_bytes).collect::<Vec<_>>());
            }
            let at = out.len() as u64;
            match in_blocks {
                true => out.extend_from_slice(pending.seal(at, Some(at))),
                false => out.extend_from_slice(pending.body()),
            }
        }
        if in_blocks && next(state).is_multiple_of(3) {
            // As a server leaves it, and maybe another one has gone on behind it.
            let end = out.len() as u64;
            let to = (end + next(state) as u64 % 500 + 1).next_multiple_of(reserve::LINE_BYTES);
            reserve::push(&mut out, end..to, true);
            if next(state).is_multiple_of(3) {
                out.extend(log(state, false));
            }
        }
        out
    }

    /// Damages bytes in some way.
    fn damage(state: &mut u64, bytes: &mut Vec<u8>) {
        let at = next(state) % bytes.len().max(1);
        let to = (at + next(state) % 40).min(bytes.len());
        match next(state) % 6 {
            0 if at < bytes.len() => bytes[at] ^= 1 << (next(state) % 8),
            1 => bytes.truncate(at),
            2 => drop(bytes.drain(at..to)),
            3 => bytes[at..to].fill(0),
            4 => {
                let copy = bytes[at..to].to_vec();
                let into = next(state) % (bytes.len() + 1);
                bytes.splice(into..into, copy);
            }
            _ => bytes.extend_from_slice(&[0; 9]),
        }
    }

    #[test]
    fn whatever_is_repaired_can_be_read() {
        let rounds = std::env::var("CAIRN_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(400);
        let mut state = 11;
        for round in 0..rounds {
            let before = state;
            let mut bytes = log(&mut state, round % 2 == 1);
            for _ in 0..next(&mut state) % 4 {
                damage(&mut state, &mut bytes);
            }
            for keep_unsure in [false, true] {
                let result = std::panic::catch_unwind(|| repair(&bytes, keep_unsure));
                let shown = bytes.escape_ascii().to_string();
                assert!(matches!(result, Ok(Ok(()))), "round {round}, state {before}: {shown}");
            }
            show(&bytes).expect("it can be shown");
        }
    }
}
