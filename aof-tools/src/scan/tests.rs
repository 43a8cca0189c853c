//! The quick look against the strict reader, and pieces against the whole.

use std::io::Write;

use cairn_engine::base::crc64::crc64;
use cairn_engine::codec::aof::block::Pending;
use cairn_engine::codec::aof::record::{Content, Parser, Step, push_command, push_timestamp};
use cairn_engine::codec::aof::reserve;

use super::*;
use crate::feed::InPlace;

fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    push_command(&mut out, words.iter().copied());
    out
}

fn temp(bytes: &[u8]) -> std::fs::File {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("write");
    file
}

fn one(bytes: &[u8], in_blocks: bool) -> (Tally, Ended, u64) {
    thread_local!(static VOCABULARY: Vocabulary = Vocabulary::new());
    VOCABULARY.with(|vocabulary| one_with(vocabulary, bytes, in_blocks))
}

fn one_with(vocabulary: &Vocabulary, bytes: &[u8], in_blocks: bool) -> (Tally, Ended, u64) {
    let file = temp(bytes);
    let mut feed = InPlace::new(&file, 0, bytes.len() as u64);
    let mut scan = Scan::new(vocabulary, in_blocks);
    let ended = scan.run(&mut feed, u64::MAX, &mut |_| {}).expect("read");
    (scan.tally, ended, feed.at())
}

/// A small generator, so that a failing log can be made again.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// A log with a bit of everything, values that hold the text of logs among them.
fn log(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut out = Vec::new();
    let mut time = 1000;
    while out.len() < bytes {
        let text = format!("{}", next(&mut state) % 1_000_000);
        match next(&mut state) % 16 {
            0 => push_timestamp(&mut out, {
                time += 1;
                time
            }),
            1 => {
                for words in [&[&b"MULTI"[..]][..], &[b"incr", text.as_bytes()], &[b"EXEC"]] {
                    out.extend(command(words));
                }
            }
            2 => {
                let inner = log(200, next(&mut state));
                out.extend(command(&[b"set", text.as_bytes(), &inner]));
            }
            3 => out.extend(command(&[b"SET", b"big", &vec![b'x'; (next(&mut state) % 70_000) as usize]])),
            4 => out.extend(command(&[b"SELECT", b"3"])),
            5 => out.extend(command(&[b"JSON.SET", text.as_bytes(), b".", b"1"])),
            6 => out.extend(command(&[b"xgroup", b"create", text.as_bytes(), b"g", b"0"])),
            7 => out.extend(command(&[b"GET", text.as_bytes(), b"too many"])),
            8 => out.extend(command(&[b"NOSUCH", text.as_bytes()])),
            _ => out.extend(command(&[b"HSET", text.as_bytes(), b"f", text.as_bytes()])),
        }
    }
    out
}

#[test]
fn the_quick_look_counts_what_the_strict_reader_reads() {
    for seed in 0..5 {
        let bytes = log(300_000, seed);
        let mut parser = Parser::new(0, Some(bytes.len() as u64));
        let (mut at, mut commands) = (0, 0);
        while let Step::Record(record) = parser.next(&bytes[at..], true).expect("is right") {
            commands += u64::from(matches!(record.content, Content::Command(_)));
            at = record.end as usize;
        }
        let (tally, ended, end) = one(&bytes, false);
        assert_eq!((tally.commands, ended, end), (commands, Ended::Reached, bytes.len() as u64));
        assert!(tally.noted > 0 && tally.most_db == 3 && tally.special.contains_key(&b"JSON.SET"[..]));
    }
}

#[test]
fn every_cut_and_many_flips_are_judged_as_the_strict_reader_judges_them() {
    let bytes: Vec<u8> = (0..8).flat_map(|seed| log(150, seed)).collect();
    let bytes = &bytes[..bytes.len().min(4_000)];
    let check = |bytes: &[u8]| {
        let mut parser = Parser::new(0, Some(bytes.len() as u64));
        let mut at = 0;
        let expected = loop {
            match parser.next(&bytes[at..], true) {
                Ok(Step::Record(record)) => at = record.end as usize,
                Ok(_) => break Ended::Reached,
                Err(error) => break Ended::Record(error),
            }
        };
        let (_, ended, end) = one(bytes, false);
        // A line that became one of a block is no record any more.
        if !matches!(ended, Ended::Block(_)) {
            assert_eq!((ended, end), (expected, at as u64), "{:?}", bytes.escape_ascii().to_string());
        }
    };
    for at in 0..bytes.len() {
        check(&bytes[..at]);
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 1 << (at % 8);
        check(&flipped);
    }
}

#[test]
fn pieces_give_what_the_whole_gives() {
    let vocabulary = Vocabulary::new();
    let mut bytes = log(2 << 20, 9);
    let huge = vec![b'y'; 5 << 20];
    bytes.extend(command(&[b"SET", b"huge", &huge]));
    bytes.extend(log(1 << 20, 10));
    for damaged_at in [None, Some(bytes.len() / 2), Some(bytes.len() - 10)] {
        let mut bytes = bytes.clone();
        if let Some(at) = damaged_at {
            bytes.truncate(at);
        }
        let file = temp(&bytes);
        let end = bytes.len() as u64;
        let job = Job {
            file: &file,
            from: 0,
            end,
            in_blocks: false,
            wants_sum: true,
            threads: 1,
            piece_bytes: 128 << 10,
        };
        let whole = scan_file(&vocabulary, job, &mut |_, _| {}).expect("read");
        for threads in [2, 3] {
            let mut marks = Vec::new();
            let job = Job { threads, ..job };
            let parts =
                scan_file(&vocabulary, job, &mut |tally, _| marks.append(&mut tally.marks)).expect("read");
            assert_eq!(parts.ended, whole.ended);
            assert_eq!((parts.at, parts.sum), (whole.at, Some(crc64(&bytes[..whole.at as usize]))));
            assert_eq!(marks, whole.tally.marks);
            let expected = Tally { marks: Vec::new(), ..whole.tally.clone() };
            assert!(parts.tally == expected);
        }
        assert_eq!(whole.ended == Ended::Reached, damaged_at.is_none());
    }
}

#[test]
fn pieces_of_blocks_give_what_the_whole_gives() {
    let vocabulary = Vocabulary::new();
    let mut bytes = Vec::new();
    for seed in 0..60 {
        let mut pending = Pending::new();
        pending.body_mut().extend(log(20_000, seed));
        let at = bytes.len() as u64;
        bytes.extend_from_slice(pending.seal(at, None));
    }
    let reserved = (1 << 20) - bytes.len() % 64;
    let at = bytes.len() as u64;
    reserve::push(&mut bytes, at..at + reserved as u64, true);
    bytes.extend(log(100_000, 1));
    let file = temp(&bytes);
    let end = bytes.len() as u64;
    let job = Job {
        file: &file,
        from: 0,
        end,
        in_blocks: true,
        wants_sum: true,
        threads: 1,
        piece_bytes: 128 << 10,
    };
    let whole = scan_file(&vocabulary, job, &mut |_, _| {}).expect("read");
    let parts = scan_file(&vocabulary, Job { threads: 2, ..job }, &mut |_, _| {}).expect("read");
    assert!(whole.tally.blocks == 60 && whole.at == end && !whole.in_blocks);
    assert!(parts.tally == whole.tally && parts.at == end && parts.sum == whole.sum);
    assert_eq!(whole.sum, Some(crc64(&bytes)));
    assert_eq!((whole.tally.reserve, whole.tally.reserve_at_end), (reserved as u64, 0));
    // Nothing follows the reserve.
    let end = at + reserved as u64;
    for threads in [1, 2] {
        let ended = scan_file(&vocabulary, Job { threads, end, ..job }, &mut |_, _| {}).expect("read");
        assert!(ended.at == end && ended.ended == Ended::Reached && ended.tally.blocks == 60);
        assert_eq!((ended.tally.reserve, ended.tally.reserve_at_end), (reserved as u64, reserved as u64));
        assert_eq!(ended.sum, Some(crc64(&bytes[..end as usize])));
    }
}

#[test]
fn a_command_longer_than_memory_wants_is_stepped_over() {
    let mut bytes = command(&[b"SET", b"k", &vec![b'\n'; 6 << 20], b"EX", b"10"]);
    bytes.extend(command(&[b"GETSET", b"k", &vec![b'x'; 5 << 20], b"too many"]));
    let (tally, ended, _) = one(&bytes, false);
    assert_eq!((tally.commands, ended), (2, Ended::Reached));
    assert_eq!(tally.noted, 1);
    let cut = bytes.len() - 5;
    assert!(matches!(one(&bytes[..cut], false).1, Ended::Record(error) if error.is_truncation()));
    let at = bytes.len() - 10;
    bytes[at - 6] = b'x';
    assert!(matches!(one(&bytes, false).1, Ended::Record(_)));
}
