//! Records: a round trip, every way of cutting the input, every kind of error at its offset.

use super::*;
use proptest::prelude::*;

/// Everything that can be read from `log` when it comes in pieces of `chunk` bytes, as text.
fn read(log: &[u8], chunk: usize, end: Option<u64>) -> (Vec<String>, Option<Error>) {
    let mut parser = Parser::new(0, end);
    let mut records = Vec::new();
    let mut have = 0;
    for _ in 0..=2 * log.len() + 2 {
        let from = parser.at() as usize;
        match parser.next(&log[from..have.max(from)], have == log.len()) {
            Ok(Step::Record(record)) => records.push(show(&record)),
            Ok(Step::More { at_least }) => {
                assert!(from as u64 + at_least > have as u64, "asks for what it has");
                have = (have + chunk).min(log.len());
            }
            Ok(Step::Done) => return (records, None),
            Err(error) => return (records, Some(error)),
        }
    }
    panic!("no end for {}", log.escape_ascii());
}

fn show(record: &Record<'_>) -> String {
    let body = match record.content {
        Content::Command(argv) => {
            argv.iter().map(|a| a.escape_ascii().to_string()).collect::<Vec<_>>().join(" ")
        }
        Content::Annotation(text) => format!("#{}", text.escape_ascii()),
    };
    format!("{}..{} {body}", record.at, record.end)
}

#[track_caller]
fn check(log: &[u8], records: &[&str], error: Option<(u64, u64, Kind)>) {
    for chunk in [1, 2, 7, log.len().max(1)] {
        let (found, failed) = read(log, chunk, None);
        assert_eq!(found, records, "in pieces of {chunk}");
        assert_eq!(failed.map(|e| (e.at, e.record_at, e.kind)), error, "in pieces of {chunk}");
    }
}

#[test]
fn commands_and_annotations_are_read() {
    check(b"", &[], None);
    check(
        b"#TS:1628217470\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n# any thing\n*1\r\n$0\r\n\r\n",
        &["0..16 #TS:1628217470", "16..39 SELECT 0", "39..51 # any thing", "51..61 "],
        None,
    );
}

#[test]
fn timestamps_are_numbers() {
    assert_eq!(timestamp(b"TS:1628217470"), Some(1_628_217_470));
    assert_eq!(timestamp(b"TS:12x"), None);
    assert_eq!(timestamp(b"T:12"), None);
}

#[test]
fn wrong_bytes_are_told_with_their_offset() {
    let ok = "0..14 PING";
    let ping = b"*1\r\n$4\r\nPING\r\n";
    let cases: &[(&[u8], u64, Kind)] = &[
        (b"PING", 14, Kind::NotARecord { got: b'P' }),
        (b"\0\0\0", 14, Kind::NotARecord { got: 0 }),
        (b"*0\r\n", 15, Kind::BadLength { prefix: b'*', value: Some(0) }),
        (b"*-3\r\n", 15, Kind::BadLength { prefix: b'*', value: Some(-3) }),
        (b"*x\r\n", 15, Kind::BadLength { prefix: b'*', value: None }),
        (b"*1x\r\n", 16, Kind::MissingCrlf { got: *b"x\r" }),
        (b"*1\r\n+4\r\n", 18, Kind::Prefix { expected: b'$', got: b'+' }),
        (b"*1\r\n$-1\r\n", 19, Kind::BadLength { prefix: b'$', value: Some(-1) }),
        (b"*1\r\n$01\r\nx\r\n", 19, Kind::BadLength { prefix: b'$', value: None }),
        (b"*1\r\n$1\r\nxyz\r\n", 23, Kind::MissingCrlf { got: *b"yz" }),
        (b"*2147483648\r\n", 15, Kind::BadLength { prefix: b'*', value: Some(2_147_483_648) }),
        (b"*1\r\n$99999999999999\r\n", 19, Kind::BadLength { prefix: b'$', value: Some(99_999_999_999_999) }),
        (b"*123456789012345678901234\r\n", 15, Kind::BadLength { prefix: b'*', value: None }),
        (b"*1\r\n", 18, Kind::Truncated { needed: 1, got: 0 }),
        (b"*1\r\n$7\r\nwor", 18, Kind::Truncated { needed: 13, got: 7 }),
        (b"*1", 14, Kind::Truncated { needed: 3, got: 2 }),
        (b"#TS:12", 14, Kind::Truncated { needed: 7, got: 6 }),
    ];
    for (tail, at, kind) in cases {
        check(&[&ping[..], tail].concat(), &[ok], Some((*at, 14, *kind)));
    }
    let long = [b"#".as_slice(), &[b'x'; MAX_ANNOTATION_BYTES]].concat();
    check(&long, &[], Some((0, 0, Kind::LongAnnotation)));
}

#[test]
fn huge_lengths_are_told_at_once_when_the_end_is_known() {
    let log = b"*1\r\n$999999999999\r\nabc";
    let mut parser = Parser::new(0, Some(log.len() as u64));
    let error = parser.next(&log[..21], false).expect_err("cannot fit");
    assert_eq!(error.kind, Kind::Truncated { needed: 1_000_000_000_016, got: 17 });
    assert_eq!(error.argument, Some(0));
    let mut parser = Parser::new(0, None);
    let step = parser.next(&log[..21], false);
    assert!(matches!(step, Ok(Step::More { at_least: 1_000_000_000_020 })), "{step:?}");
    // Two billion arguments announced, none there: nothing is reserved for them.
    let (records, error) = read(b"*2000000000\r\n$1\r\na\r\n", 1, None);
    assert!(records.is_empty() && error.is_some_and(|e| e.is_truncation()));
}

#[test]
fn transactions_are_followed() {
    let run = |words: &[&str]| {
        let mut log = Vec::new();
        for word in words {
            push_command(&mut log, [word.as_bytes()]);
        }
        let mut parser = Parser::new(0, None);
        let mut transactions = Transactions::default();
        while let Ok(Step::Record(record)) = parser.next(&log[parser.at() as usize..], true) {
            transactions.step(&record)?;
        }
        Ok(transactions.open_at())
    };
    assert_eq!(run(&["PING", "multi", "SET", "eXec", "PING"]), Ok(None));
    assert_eq!(run(&["PING", "MULTI", "SET"]), Ok(Some(14)));
    assert_eq!(run(&["MULTI", "MULTI"]), Err(Unpaired::Multi { open_at: 0 }));
    assert_eq!(run(&["EXEC"]), Err(Unpaired::Exec));
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        commands in proptest::collection::vec(
            proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..5), 0..8),
        chunk in 1usize..64,
        stamp in any::<i64>(),
    ) {
        let mut log = Vec::new();
        push_timestamp(&mut log, stamp);
        for argv in &commands {
            push_command(&mut log, argv.iter().map(Vec::as_slice));
        }
        let (records, error) = read(&log, chunk, Some(log.len() as u64));
        prop_assert_eq!(error, None);
        prop_assert_eq!(records.len(), commands.len() + 1);
        for (record, argv) in records[1..].iter().zip(&commands) {
            let words: Vec<_> = argv.iter().map(|a| a.escape_ascii().to_string()).collect();
            let expected = words.join(" ");
            prop_assert_eq!(record.split_once(' ').map(|r| r.1), Some(expected.as_str()));
        }
    }

    #[test]
    fn any_bytes_end_in_an_answer(log in proptest::collection::vec(
        prop_oneof![Just(b'*'), Just(b'$'), Just(b'1'), Just(b'2'), Just(b'\r'), Just(b'\n'), Just(b'#'), any::<u8>()],
        0..60), chunk in 1usize..9)
    {
        let whole = read(&log, log.len().max(1), None);
        prop_assert_eq!(read(&log, chunk, None), whole);
    }

    #[test]
    fn cut_logs_are_truncations(argv in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..12), 1..5)) {
        let mut log = Vec::new();
        push_command(&mut log, argv.iter().map(Vec::as_slice));
        for cut in 1..log.len() {
            let (records, error) = read(&log[..cut], cut, None);
            prop_assert!(records.is_empty());
            prop_assert!(error.is_some_and(|e| e.is_truncation() && e.record_at == 0), "{:?}", error);
        }
    }
}
