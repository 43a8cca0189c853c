//! Blocks: the round trip, every flipped bit, every cut, and what stands behind a bad place.

use super::*;
use crate::codec::aof::record;

/// A log of blocks; the offsets at which they start, and its end.
fn log(synced: &[Option<u64>]) -> (Vec<u8>, Vec<usize>) {
    let mut log = Vec::new();
    let mut starts = Vec::new();
    for (i, synced) in synced.iter().enumerate() {
        starts.push(log.len());
        let mut pending = Pending::new();
        for word in 0..=i {
            let value = format!("value {word} of {i}");
            record::push_command(pending.body_mut(), [&b"SET"[..], b"k", value.as_bytes()]);
        }
        let block = pending.seal(log.len() as u64, *synced).to_vec();
        log.extend_from_slice(&block);
    }
    starts.push(log.len());
    (log, starts)
}

/// Offsets after each right block, and the fault that ends them; the same in pieces and at once.
fn read(log: &[u8]) -> (Vec<u64>, Option<Fault>) {
    let at_once = read_in_pieces(log, log.len().max(1));
    assert_eq!(read_in_pieces(log, 7), at_once);
    at_once
}

fn read_in_pieces(log: &[u8], piece: usize) -> (Vec<u64>, Option<Fault>) {
    let mut reader = Reader::new(0, Some(log.len() as u64));
    let mut ends = Vec::new();
    let mut have = 0;
    loop {
        let from = reader.at() as usize;
        match reader.next(&log[from..have.max(from)], have == log.len()) {
            Ok(Step::Block(block)) => {
                assert_eq!(block.body, &log[block.body_at as usize..block.end as usize]);
                ends.push(block.end);
            }
            Ok(Step::More { at_least }) => {
                assert!(from as u64 + at_least > have as u64, "asks for what it has");
                have = (have + piece).min(log.len());
            }
            Ok(Step::Foreign) => panic!("no foreign bytes here"),
            Ok(Step::Reserve(len)) => assert_eq!(reader.at(), (from + len) as u64),
            Ok(Step::Done) => return (ends, None),
            Err(fault) => return (ends, Some(fault)),
        }
    }
}

/// The verdict on `log` from the fault on, in pieces of several sizes.
fn verdict(log: &[u8], fault: Fault, whole_to: Option<u64>) -> Verdict {
    let behind = match fault.kind {
        Kind::BehindReserve { at } => &log[at as usize..],
        _ => &log[fault.at as usize..],
    };
    let mut verdicts = [1, 5, 64, behind.len().max(1)].map(|piece| {
        let mut search = Search::new(fault, Some(log.len() as u64));
        for bytes in behind.chunks(piece) {
            if search.push(bytes) {
                break;
            }
        }
        search.finish(whole_to)
    });
    // How far the zeros go is not told when the verdict came before their end.
    verdicts.sort_by_key(|v| format!("{v:?}"));
    assert_eq!(verdicts[0], verdicts[3]);
    verdicts[0]
}

#[test]
fn blocks_are_read_as_they_were_written() {
    let (log, starts) = log(&[Some(0), Some(0), None, Some(90)]);
    let ends: Vec<u64> = starts[1..].iter().map(|end| *end as u64).collect();
    assert_eq!(read(&log), (ends, None));
    assert!(log.starts_with(b"#CK:39:0:"), "{}", log.escape_ascii());
    assert_eq!(read(b""), (Vec::new(), None));
}

#[test]
fn a_sealed_block_can_be_sealed_again_elsewhere() {
    let mut pending = Pending::new();
    assert!(pending.is_empty());
    record::push_command(pending.body_mut(), [b"PING".as_slice()]);
    pending.seal(1_000_000, Some(999_999));
    let block = pending.seal(0, None).to_vec();
    assert_eq!(read(&block), (vec![block.len() as u64], None));
    pending.clear(100);
    assert!(pending.is_empty());
}

#[test]
fn the_sums_of_a_long_block_are_those_of_its_bytes() {
    let in_front = b"what the file has";
    for len in [1, 1000, LONG_BODY_BYTES - 1, LONG_BODY_BYTES, 100_003] {
        let body: Vec<u8> = (0..len).map(|i| (i * 7 % 251) as u8).collect();
        let mut pending = Pending::new();
        pending.body_mut().extend_from_slice(&body);
        let mut line = Vec::new();
        push_line(&mut line, 17, Some(3), &body);
        let sealed = pending.seal_summed(17, Some(3));
        assert_eq!(sealed.bytes(), [&line[..], &body].concat(), "{len}");
        let mut file = Crc64::new();
        file.update(in_front);
        sealed.add_to(&mut file);
        assert_eq!(file.value(), crc64(&[&in_front[..], sealed.bytes()].concat()), "{len}");
        let mut file = Crc64::new();
        pending.unsealed().add_to(&mut file);
        assert_eq!(file.value(), crc64(&body), "{len}");
    }
}

#[test]
fn every_flipped_bit_is_found_in_its_block() {
    let (log, starts) = log(&[Some(0), None, Some(60)]);
    for at in 0..log.len() {
        let block = starts.iter().rposition(|start| *start <= at).expect("the first starts at 0");
        for bit in 0..8 {
            let mut bad = log.clone();
            bad[at] ^= 1 << bit;
            let (ends, fault) = read(&bad);
            assert_eq!(ends.len(), block, "byte {at} bit {bit}");
            assert_eq!(fault.map(|f| f.at), Some(starts[block] as u64), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn every_cut_but_one_between_blocks_is_found() {
    let (log, starts) = log(&[Some(0), None, Some(60)]);
    for cut in 0..log.len() {
        let (ends, fault) = read(&log[..cut]);
        if starts.contains(&cut) {
            // Nothing in the file shows it: the manifest's `end` and `size` do.
            assert_eq!((ends.last().map_or(0, |end| *end as usize), fault), (cut, None));
            continue;
        }
        let fault = fault.expect("a cut block");
        assert!(matches!(fault.kind, Kind::Cut { .. }), "cut at {cut}: {fault}");
        assert!(starts.contains(&(fault.at as usize)));
        assert_eq!(verdict(&log[..cut], fault, None), Verdict::Torn { is_zero: false });
        let end = log.len() as u64;
        assert_eq!(
            verdict(&log[..cut], fault, Some(end)),
            Verdict::Corrupt(Proof::Manifest { end }),
            "cut at {cut}"
        );
    }
}

#[test]
fn moved_doubled_and_missing_blocks_are_found() {
    let (log, starts) = log(&[None, None, None]);
    let block = |i: usize| &log[starts[i]..starts[i + 1]];
    for wrong in [
        [block(0), block(0), block(1)].concat(),
        [block(0), block(2)].concat(),
        [block(1), block(0), block(2)].concat(),
    ] {
        assert!(matches!(read(&wrong).1, Some(Fault { kind: Kind::Sum { .. }, .. })));
    }
}

#[test]
fn a_later_block_tells_whether_the_bad_one_was_on_disk() {
    let flip = |synced: &[Option<u64>], block: usize| {
        let (mut log, starts) = log(synced);
        log[starts[block] + 30] ^= 1;
        let fault = read(&log).1.expect("a flipped bit");
        assert_eq!(fault.at as usize, starts[block]);
        (verdict(&log, fault, None), starts)
    };
    let (found, starts) = flip(&[Some(0), Some(0), Some(60), Some(150)], 1);
    assert_eq!(found, Verdict::Corrupt(Proof::Synced { by: starts[3] as u64, synced: 150 }));
    // What was written behind the bad block was on its way to the disk as the bad one was.
    let (found, _) = flip(&[Some(0), Some(0), Some(60), Some(60)], 1);
    assert_eq!(found, Verdict::Corrupt(Proof::Whole));
    let (found, starts) = flip(&[None, None, None, None], 1);
    assert_eq!(found, Verdict::Corrupt(Proof::Later { by: starts[2] as u64 }));
    let (found, _) = flip(&[None, None, None, None], 3);
    assert_eq!(found, Verdict::Corrupt(Proof::Whole));
}

#[test]
fn a_hole_of_zeros_is_torn_unless_it_had_been_on_disk() {
    let hole = |synced: &[Option<u64>], block: usize, from: usize| {
        let (mut log, starts) = log(synced);
        log[starts[block] + from..starts[block] + from + 20].fill(0);
        let fault = read(&log).1.expect("a hole");
        assert_eq!(fault.at as usize, starts[block]);
        verdict(&log, fault, None)
    };
    for from in [0, 3, 12, 40] {
        let synced = [Some(0), Some(60), Some(60), Some(60)];
        assert_eq!(hole(&synced, 1, from), Verdict::Torn { is_zero: false });
        assert_eq!(hole(&synced, 3, from), Verdict::Torn { is_zero: false });
        let synced = [Some(0), Some(0), Some(60), Some(150)];
        assert!(matches!(hole(&synced, 1, from), Verdict::Corrupt(Proof::Synced { .. })));
        assert!(matches!(hole(&[None, None, None], 1, from), Verdict::Corrupt(Proof::Later { .. })));
    }
}

#[test]
fn every_flipped_bit_of_the_last_block_is_no_torn_end() {
    let (log, starts) = log(&[Some(0), Some(0)]);
    for at in starts[1]..log.len() {
        for bit in 0..8 {
            let mut bad = log.clone();
            bad[at] ^= 1 << bit;
            let fault = read(&bad).1.expect("a flipped bit");
            // What makes a zero byte looks as if it had never been written.
            let expected_torn = bad[at] == 0;
            let is_torn = matches!(verdict(&bad, fault, None), Verdict::Torn { .. });
            assert_eq!(is_torn, expected_torn, "byte {at} bit {bit}: {fault}");
        }
    }
}

/// A log and the reserve behind it, up to this offset.
fn with_reserve(mut log: Vec<u8>, to: u64) -> Vec<u8> {
    let end = log.len() as u64;
    reserve::push(&mut log, end..to, true);
    log
}

#[test]
fn a_log_ends_where_its_reserve_starts() {
    let (log, starts) = log(&[Some(0), Some(0)]);
    for end in [starts[1], log.len()] {
        for size in [4096, 8192] {
            let file = with_reserve(log[..end].to_vec(), size);
            // An unfinished reserve is one, too.
            for cut in [file.len(), file.len() - 1, file.len() - 100, end + 2, end] {
                let mut reader = Reader::new(0, Some(cut as u64));
                let mut last = Step::Done;
                while reader.at() < cut as u64 {
                    last = reader.next(&file[reader.at() as usize..cut], true).expect("it is right");
                }
                assert_eq!(matches!(last, Step::Reserve(_)), cut > end);
                assert_eq!(reader.reserve(), (cut > end).then_some(end as u64));
                assert!(matches!(reader.next(b"", true), Ok(Step::Done)));
            }
        }
    }
}

#[test]
fn a_block_that_is_not_all_over_the_reserve_is_a_torn_end() {
    let (log, starts) = log(&[Some(0), Some(0)]);
    let start = starts[1];
    let old = with_reserve(log[..start].to_vec(), 4096);
    let mut new = old.clone();
    new[..log.len()].copy_from_slice(&log);
    if reserve::ends_line(log.len() as u64) {
        new[log.len()] = b'#';
    }
    let is_torn = |file: &[u8]| match read(file).1 {
        None => true,
        Some(fault) => matches!(verdict(file, fault, None), Verdict::Torn { .. }),
    };
    for cut in start..log.len() {
        let file = [&new[..cut], &old[cut..]].concat();
        assert!(is_torn(&file), "up to byte {cut}");
        assert_eq!(read(&file).0.len(), 1 + usize::from(file == new));
    }
    for at in start..log.len() {
        for bit in 0..8 {
            let mut bad = new.clone();
            bad[at] ^= 1 << bit;
            assert_eq!(is_torn(&bad), bad[at] == 0, "byte {at} bit {bit} of a block that is there");
        }
    }
    for at in log.len() + 1..new.len() {
        let mut bad = new.clone();
        bad[at] ^= 1;
        let fault = read(&bad).1.expect("a flipped bit");
        assert_eq!((fault.at, read(&bad).0.len()), (log.len() as u64, 2));
        assert!(is_torn(&bad), "nothing is lost");
    }
}

#[test]
fn sectors_of_a_block_are_over_the_reserve_or_not() {
    let mut blocks = Vec::new();
    let body = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n".repeat(60);
    push_line(&mut blocks, 0, Some(0), b"*1\r\n$4\r\nPING\r\n");
    blocks.extend_from_slice(b"*1\r\n$4\r\nPING\r\n");
    let start = blocks.len();
    let old = with_reserve(blocks.clone(), 8192);
    push_line(&mut blocks, start as u64, Some(start as u64), &body);
    blocks.extend_from_slice(&body);
    let mut new = old.clone();
    new[..blocks.len()].copy_from_slice(&blocks);
    let sectors = blocks.len().div_ceil(512);
    for mask in 0..(1 << sectors) - 1 {
        let mut file = old.clone();
        for sector in (0..sectors).filter(|sector| mask >> sector & 1 == 1) {
            let range = sector * 512..(sector + 1) * 512;
            file[range.clone()].copy_from_slice(&new[range]);
        }
        let (ends, fault) = read(&file);
        assert_eq!(ends.len(), 1, "{mask:b}");
        if let Some(fault) = fault {
            assert!(matches!(verdict(&file, fault, None), Verdict::Torn { .. }), "{mask:b}: {fault}");
        }
    }
}

#[test]
fn what_others_appended_behind_a_reserve_is_told_as_foreign() {
    let (log, _) = log(&[Some(0)]);
    let end = log.len() as u64;
    for tail in [&b"*1\r\n$4\r\nPING\r\n"[..], b"#TS:12\r\n"] {
        let step = |mark: bool| {
            let mut file = with_reserve(log.clone(), 4096);
            if !mark {
                file[4096 - 62..4095].fill(b'#');
            }
            file.extend_from_slice(tail);
            let mut reader = Reader::new(0, None);
            loop {
                let from = reader.at() as usize;
                match reader.next(&file[from..(from + 100).min(file.len())], from + 100 >= file.len()) {
                    Ok(Step::Block(_) | Step::Reserve(_) | Step::More { .. }) => {}
                    Ok(Step::Foreign) => return Ok(reader.at()),
                    Ok(Step::Done) => panic!("something follows"),
                    Err(fault) => return Err(fault),
                }
            }
        };
        assert_eq!(step(true), Ok(4096));
        assert_eq!(step(false), Err(Fault { at: end, kind: Kind::BehindReserve { at: 4096 } }));
    }
}

#[test]
fn a_wrong_length_does_not_hide_what_follows() {
    let (log, starts) = log(&[Some(0), Some(0), Some(150), Some(150)]);
    // The first digit of the second block's length: now it runs past the end of the file.
    let mut bad = log.clone();
    bad[starts[1] + PREFIX.len()] = b'9';
    bad[starts[1] + PREFIX.len() + 1] = b'9';
    bad.splice(starts[1] + PREFIX.len()..starts[1] + PREFIX.len(), *b"99");
    bad.splice(starts[1] + 40..starts[1] + 42, []);
    let fault = read(&bad).1.expect("too long");
    assert!(matches!(fault.kind, Kind::Cut { .. }));
    assert!(matches!(verdict(&bad, fault, None), Verdict::Corrupt(Proof::Synced { .. })));
}

#[test]
fn zeros_up_to_the_end_are_a_torn_end() {
    let (mut log, _) = log(&[Some(0), Some(0)]);
    let end = log.len() as u64;
    log.resize(log.len() + 4096, 0);
    let fault = read(&log).1.expect("zeros");
    assert_eq!(fault, Fault { at: end, kind: Kind::NotABlock { got: 0 } });
    assert_eq!(verdict(&log, fault, Some(end)), Verdict::Torn { is_zero: true });
}

#[test]
fn what_others_appended_is_told_as_foreign() {
    let (log, _) = log(&[Some(0)]);
    for tail in [&b"*1\r\n$4\r\nPING\r\n"[..], b"#TS:12\r\n"] {
        let mut reader = Reader::new(0, None);
        assert!(matches!(reader.next(&log, false), Ok(Step::Block(_))));
        assert!(matches!(reader.next(tail, true), Ok(Step::Foreign)));
    }
    for wrong in [&b"# a comment\r\n"[..], b"#CK\r\n", b"PING\r\n", b"#TX:1\r\n"] {
        let mut reader = Reader::new(0, None);
        assert!(reader.next(wrong, true).is_err(), "{}", wrong.escape_ascii());
    }
    for (line, at) in [("#CK:0:-:0000000000000000\r\n", 0), ("#CK:5:9:0000000000000000\r\n", 8)] {
        let fault = Reader::new(at, None).next(line.as_bytes(), false).expect_err("impossible");
        assert_eq!(fault.kind, Kind::BadLine, "{line}");
    }
}

#[test]
fn a_length_of_any_size_asks_for_no_more_than_the_file_has() {
    let line = b"#CK:9223372036854775807:-:0000000000000000\r\nabc";
    let mut reader = Reader::new(0, Some(line.len() as u64));
    let fault = reader.next(line, false).expect_err("cannot fit");
    assert!(matches!(fault.kind, Kind::Cut { got, .. } if got == line.len() as u64));
    assert!(matches!(Reader::new(0, None).next(line, false), Ok(Step::More { .. })));
}

#[test]
fn a_crowd_of_lines_ends_the_search() {
    let crowd = b"#CK:99999999:-:0000000000000000\r\n".repeat(40_000);
    let mut search = Search::behind(0);
    assert!(search.push(&crowd), "no more of it is wanted");
    assert!(matches!(search.finish(None), Verdict::Corrupt(Proof::Crowded { .. })));
}

proptest::proptest! {
    #[test]
    fn any_bytes_end_in_an_answer(
        bytes in proptest::collection::vec(
            proptest::prop_oneof![
                proptest::sample::select(b"#CK:0123-\r\n".as_slice()),
                proptest::prelude::any::<u8>(),
            ], 0..200),
    ) {
        let mut input = b"#CK:".to_vec();
        input.extend_from_slice(&bytes);
        if let Err(fault) = Reader::new(0, Some(input.len() as u64)).next(&input, true) {
            let _ = fault.to_string();
            verdict(&input, fault, None);
        }
    }
}
