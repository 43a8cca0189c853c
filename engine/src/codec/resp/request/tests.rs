use proptest::prelude::*;

use super::{Opening, Parsed, Parser, ProtocolError, RequestLimits};
use crate::codec::aof::record::push_command;

const LIMITS: RequestLimits =
    RequestLimits { bulk_bytes: 512 << 20, args: 1024 * 1024, is_authenticated: true };

/// Parses everything, given in pieces that end at each of `cuts`.
fn commands(
    bytes: &[u8],
    cuts: &[usize],
    limits: &RequestLimits,
) -> (Vec<Vec<Vec<u8>>>, Option<ProtocolError>) {
    let (mut parser, mut opening) = (Parser::default(), Opening::default());
    let mut found: Vec<Vec<Vec<u8>>> = Vec::new();
    let mut buf: Vec<u8> = Vec::new();
    let mut fed = 0;
    for &cut in cuts.iter().chain([&bytes.len()]) {
        let cut = cut.clamp(fed, bytes.len());
        buf.extend_from_slice(&bytes[fed..cut]);
        fed = cut;
        let mut start = 0;
        loop {
            let mut args = Vec::new();
            match parser.next_like(&mut buf, start, &limits.clone(), &mut args, &mut opening) {
                Parsed::Command { end } => {
                    let command: Vec<Vec<u8>> = args.iter().map(|arg| arg.of(&buf).to_vec()).collect();
                    if opening.is_repeated() {
                        let before = found.last().expect("there is one that begins like this");
                        assert_eq!((before.len(), &before[0]), (command.len(), &command[0]));
                    }
                    if opening.is_usual() {
                        assert_eq!(buf[start..end], written(&command));
                    }
                    found.push(command);
                    start = end;
                }
                Parsed::NeedMore { missing } => {
                    assert!(missing > 0);
                    assert!(args.is_empty(), "a part of a command stays with the parser");
                    break;
                }
                Parsed::Error(error) => return (found, Some(error)),
            }
        }
        buf.drain(..start);
    }
    (found, None)
}

/// As servers and logs write a command.
fn written(argv: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    push_command(&mut bytes, argv.iter().map(Vec::as_slice));
    bytes
}

fn check(bytes: &[u8], expected: &[&[&[u8]]], error: Option<&str>) {
    let expected: Vec<Vec<Vec<u8>>> =
        expected.iter().map(|command| command.iter().map(|arg| arg.to_vec()).collect()).collect();
    for cut in 0..=bytes.len() {
        let (found, failed) = commands(bytes, &[cut], &LIMITS);
        assert_eq!(found, expected, "cut at {cut}");
        assert_eq!(failed.map(|e| e.to_string()).as_deref(), error, "cut at {cut}");
    }
    let every: Vec<usize> = (0..bytes.len()).collect();
    assert_eq!(commands(bytes, &every, &LIMITS).0, expected, "byte by byte");
}

#[test]
fn multibulk_commands() {
    check(b"*1\r\n$4\r\nPING\r\n", &[&[b"PING"]], None);
    check(
        b"*2\r\n$3\r\nGET\r\n$12\r\n0123456789ab\r\n*0\r\n*-1\r\n*1\r\n$0\r\n\r\n",
        &[&[b"GET", b"0123456789ab"], &[], &[], &[b""]],
        None,
    );
    check(b"*1\r\n$6\r\na\r\nb\r\n\r\n", &[&[b"a\r\nb\r\n"]], None);
}

#[test]
fn inline_commands() {
    check(b"PING\r\nPING\n\r\n", &[&[b"PING"], &[b"PING"], &[]], None);
    check(
        b" set  'a b' \"x\\x41\\n\\\"\"\r\n*1\r\n$1\r\nx\r\n",
        &[&[b"set", b"a b", b"xA\n\""], &[b"x"]],
        None,
    );
}

#[test]
fn protocol_errors_have_redis_texts() {
    let error = |bytes: &[u8], text: &str| check(bytes, &[], Some(&format!("Protocol error: {text}")));
    error(b"*x\r\n", "invalid multibulk length");
    error(b"*1048577\r\n", "invalid multibulk length");
    error(b"*3000000000\r\n", "invalid multibulk length");
    error(b"*1\r\nfoo\r\n", "expected '$', got 'f'");
    error(b"*1\r\n$-1\r\n", "invalid bulk length");
    error(b"*1\r\n$x\r\n", "invalid bulk length");
    error(b"*1\r\n$2000000000\r\n", "invalid bulk length");
    error(b"set \"a\r\n", "unbalanced quotes in request");
    error(b"*1\rx$4\r\nPING\r\n", "invalid CRLF in request");
    error(b"*1\r\n$4\r.PING\r\n", "invalid CRLF in request");
    error(b"*1\r\n$3\r\nPING\r\n", "invalid CRLF in request");
    check(b"*1\r\n$4\r\nPING\r\n*x\r\n", &[&[b"PING"]], Some("Protocol error: invalid multibulk length"));
}

#[test]
fn lines_that_do_not_end_are_cut_off() {
    let long = |head: &[u8]| [head, &vec![b'1'; 70_000]].concat();
    let text = |bytes: &[u8]| {
        let (_, error) = commands(bytes, &[1000, 40_000], &LIMITS);
        error.map(|e| e.to_string()).unwrap_or_default()
    };
    assert_eq!(text(&long(b"*")), "Protocol error: too big mbulk count string");
    assert_eq!(text(&long(b"*1\r\n$")), "Protocol error: too big bulk count string");
    assert_eq!(text(&long(b"a")), "Protocol error: too big inline request");
}

#[test]
fn strangers_get_narrow_limits() {
    let stranger = RequestLimits { is_authenticated: false, ..LIMITS };
    let text = |bytes: &[u8]| commands(bytes, &[], &stranger).1.map(|e| e.to_string()).unwrap_or_default();
    assert_eq!(text(b"*10\r\n"), "");
    assert_eq!(text(b"*11\r\n"), "Protocol error: unauthenticated multibulk length");
    assert_eq!(text(b"*1\r\n$16384\r\n"), "");
    assert_eq!(text(b"*1\r\n$16385\r\n"), "Protocol error: unauthenticated bulk length");
}

#[test]
fn few_arguments_are_allowed_whole_and_in_pieces() {
    let limits = RequestLimits { args: 2, ..LIMITS };
    let bytes = b"*2\r\n$1\r\na\r\n$1\r\nb\r\n*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n";
    for cut in 0..=bytes.len() {
        let (found, failed) = commands(bytes, &[cut], &limits);
        assert_eq!((found.len(), failed), (1, Some(ProtocolError::MultibulkLength)), "cut at {cut}");
    }
}

#[test]
fn a_big_argument_says_what_is_missing() {
    let mut parser = Parser::default();
    let mut buf = b"*2\r\n$3\r\nSET\r\n$100000\r\nabc".to_vec();
    let mut args = Vec::new();
    let missing = 100_000 - 3 + 2;
    assert_eq!(parser.next(&mut buf, 0, &LIMITS, &mut args), Parsed::NeedMore { missing });
    assert_eq!(parser.bulk_missing(buf.len()), missing);
    buf.resize(buf.len() + missing - 2, b'x');
    buf.extend_from_slice(b"\r\n");
    let end = buf.len();
    assert_eq!(parser.next(&mut buf, 0, &LIMITS, &mut args), Parsed::Command { end });
    assert_eq!(args.iter().map(|a| a.len).collect::<Vec<_>>(), [3, 100_000]);
    assert!(!parser.is_inside_command());
}

proptest! {
    #[test]
    fn any_command_in_any_pieces(
        argv in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..120), 1..12),
        cuts in prop::collection::vec(0usize..600, 0..6),
    ) {
        let bytes = written(&argv);
        let mut cuts = cuts;
        cuts.sort_unstable();
        let twice = [bytes.clone(), bytes].concat();
        let (found, error) = commands(&twice, &cuts, &LIMITS);
        prop_assert_eq!(error, None);
        prop_assert_eq!(found, vec![argv.clone(), argv]);
    }

    #[test]
    fn commands_of_few_names_in_any_pieces(
        all in prop::collection::vec(
            prop::collection::vec(prop::sample::select(vec!["GET", "GETX", "get", "S", "", "PUBLISH"]), 0..4),
            1..20,
        ),
        cuts in prop::collection::vec(0usize..600, 0..3),
    ) {
        let mut bytes = Vec::new();
        for argv in &all {
            bytes.extend_from_slice(format!("*{}\r\n", argv.len()).as_bytes());
            argv.iter().for_each(|arg| bytes.extend_from_slice(format!("${}\r\n{arg}\r\n", arg.len()).as_bytes()));
        }
        let mut cuts = cuts;
        cuts.sort_unstable();
        let (found, error) = commands(&bytes, &cuts, &LIMITS);
        prop_assert_eq!(error, None);
        let texts = found.iter().map(|argv| argv.iter().map(|arg| std::str::from_utf8(arg)).collect());
        prop_assert_eq!(texts.collect::<Result<Vec<Vec<_>>, _>>(), Ok(all));
    }

    #[test]
    fn any_bytes_give_an_answer(
        bytes in prop::collection::vec(prop::sample::select(b"*$\r\n0123-9 \"'\\xPING".to_vec()), 0..200),
        cut in 0usize..200,
    ) {
        let whole = commands(&bytes, &[], &LIMITS);
        let pieces = commands(&bytes, &[cut], &LIMITS);
        prop_assert_eq!(whole, pieces);
    }
}

#[test]
fn a_command_that_begins_as_the_one_before_is_told() {
    let (mut parser, mut opening) = (Parser::default(), Opening::default());
    let get = b"*2\r\n$3\r\nGET\r\n$2\r\nk1\r\n";
    let mut buf = [&get[..], get, b"*2\r\n$3\r\nSET\r\n$2\r\nk1\r\n", get, b"ping\r\n", get, get].concat();
    let (mut start, mut told) = (0, Vec::new());
    while start < buf.len() {
        let mut args = Vec::new();
        match parser.next_like(&mut buf, start, &LIMITS, &mut args, &mut opening) {
            Parsed::Command { end } => start = end,
            other => panic!("{other:?}"),
        }
        told.push(opening.is_repeated());
    }
    assert_eq!(told, [false, true, false, false, false, false, true]);
}

#[test]
fn only_what_a_log_would_have_is_said_to_be_usual() {
    let is_usual = |bytes: &[u8]| {
        let (mut buf, mut args, mut opening) = (bytes.to_vec(), Vec::new(), Opening::default());
        let parsed = Parser::default().next_like(&mut buf, 0, &LIMITS, &mut args, &mut opening);
        assert_eq!(parsed, Parsed::Command { end: bytes.len() });
        opening.is_usual()
    };
    assert!(is_usual(b"*2\r\n$3\r\nGET\r\n$10\r\n0123456789\r\n"));
    assert!(is_usual(b"*2\r\n$22\r\nANAMEOFMANYMANYLETTERS\r\n$1\r\nk\r\n"), "longer than an opening");
    // Counts with zeros in front are none.
    for other in ["*2\r\n$03\r\nGET\r\n$1\r\nk\r\n", "*1\r\n$04\r\nPING\r\n"] {
        let mut args = Vec::new();
        let parsed = Parser::default().next(&mut other.as_bytes().to_vec(), 0, &LIMITS, &mut args);
        assert!(matches!(parsed, Parsed::Error(_)), "{other}: {parsed:?}");
    }
    assert!(!is_usual(b"GET                k\r\n"));
    for (bytes, usual) in [(999, true), (1000, false)] {
        let value = "x".repeat(bytes);
        assert_eq!(
            is_usual(format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${bytes}\r\n{value}\r\n").as_bytes()),
            usual
        );
    }
}
