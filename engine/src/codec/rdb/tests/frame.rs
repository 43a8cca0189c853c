//! The frame of a file: magic, versions, opcodes of both dialects, the end.

use super::support::{decode, decode_in_pieces, file};
use crate::codec::rdb::{Depth, Doing, Kind, Options};

const NO_CHECKSUM: Options =
    Options { verify_checksum: false, require_checksum: false, deep: false, relaxed_version: false };

fn log_of(file: &[u8]) -> Vec<String> {
    let whole = decode(file, Depth::Item);
    assert_eq!(whole.end, Ok(file.len()));
    for piece in [1, 7] {
        let other = decode_in_pieces(file, Depth::Item, Options::default(), piece);
        assert_eq!(other.end, Ok(file.len()), "pieces of {piece}");
        assert_eq!(other.log, whole.log, "pieces of {piece}");
    }
    whole.log
}

fn refusal(file: &[u8]) -> (String, Doing) {
    let whole = decode_in_pieces(file, Depth::Item, NO_CHECKSUM, file.len().max(1));
    let error = whole.end.expect_err("a refusal");
    for piece in [1, 7] {
        let other = decode_in_pieces(file, Depth::Item, NO_CHECKSUM, piece);
        assert_eq!(other.end, Err(error.clone()), "pieces of {piece}");
        assert_eq!(other.log, whole.log, "pieces of {piece}");
    }
    (error.to_string(), error.doing)
}

#[test]
fn what_is_no_rdb_is_refused_as_the_check_tool_does() {
    let cases: [(&[u8], &str); 9] = [
        (b"REDIX0011\xff", "offset 9: Wrong signature trying to load DB from file"),
        (b"REDIS0099\xff", "offset 9: Can't handle RDB format version 99"),
        (b"REDIS0017\xff", "offset 9: Can't handle RDB format version 17"),
        (b"REDIS0080\xff", "offset 9: Can't handle RDB format version 80"),
        (b"REDIS0000\xff", "offset 9: Can't handle RDB format version 0"),
        (b"REDISabcd\xff", "offset 9: Can't handle RDB format version 0"),
        (b"VALKEY011\xff", "offset 9: Can't handle RDB format version 11"),
        (b"VALKEY082\xff", "offset 9: Can't handle RDB format version 82"),
        (
            b"VCS\x01\x01\x00\x00 and so on",
            "offset 0: the file is in Valkey's compressed stream envelope (VCS), which must be \
             unwrapped first",
        ),
    ];
    for (file, expected) in cases {
        assert_eq!(refusal(file), (expected.to_owned(), Doing::Start));
    }
    for short in [&b""[..], b"REDIS001"] {
        let expected = format!("offset {}: Unexpected EOF reading RDB file", short.len());
        assert_eq!(refusal(short).0, expected);
    }
}

#[test]
fn versions_to_come_are_read_on_request() {
    let relaxed = Options { relaxed_version: true, ..NO_CHECKSUM };
    let read = |bytes: &[u8], options| decode_in_pieces(bytes, Depth::Item, options, bytes.len());
    let sum = [0; 8];
    for head in [b"REDIS0017", b"REDIS0079", b"VALKEY082", b"VALKEY999"] {
        let file = [&head[..], b"\x00\x01k\x01v\xff", &sum].concat();
        assert!(read(&file, NO_CHECKSUM).end.is_err());
        assert_eq!(read(&file, relaxed).end, Ok(file.len()));
        let file = [&head[..], b"\x96\x01k\x01v\xff", &sum].concat();
        let error = read(&file, relaxed).end.expect_err("nobody knows that type");
        assert_eq!((error.at, error.kind), (9, Kind::ObjectType(150)));
    }
    for head in [b"REDIS0080", b"REDIS0000", b"REDIS001x", b"VALKEY079"] {
        let error = read(&[&head[..], b"\xff", &sum].concat(), relaxed).end.expect_err("no version");
        assert!(matches!(error.kind, Kind::Version(_)), "{error}");
    }
}

#[test]
fn versions_below_five_have_no_checksum() {
    let bytes = b"REDIS0004\xfe\x00\x00\x01k\x01v\xff";
    assert_eq!(log_of(bytes).last().unwrap(), "Absent");
    let more = decode(b"REDIS0004\xff and trailing bytes", Depth::Item);
    assert_eq!(more.end, Ok(10));
    let required = Options { require_checksum: true, ..Options::default() };
    let error = decode_in_pieces(bytes, Depth::Item, required, 100).end.unwrap_err();
    assert_eq!((error.kind, error.at), (Kind::NoChecksum, bytes.len() as u64));
}

#[test]
fn records_newer_than_a_version_without_checksum_show_that_its_digits_are_damaged() {
    for newer in [&b"\xfa\x01k\x01v"[..], b"\xfb\x00\x00", b"\xf9\x05", b"\x05\x01k\x00", b"\x0e\x01k\x00"] {
        for version in 1..5 {
            let mut bytes = format!("REDIS{version:04}").into_bytes();
            bytes.extend_from_slice(b"\xfe\x00");
            bytes.extend_from_slice(newer);
            let error = decode(&bytes, Depth::Item).end.unwrap_err();
            let kind = Kind::NewerThanVersion { byte: newer[0], version };
            assert_eq!((error.kind, error.at), (kind, 11), "{newer:?}");
        }
    }
    // A digit may become a letter, at which atoi would stop.
    let error = decode(b"REDIS001q\xfe\x00\xff", Depth::Item).end.unwrap_err();
    assert_eq!(error.kind, Kind::Version(1));
}

#[test]
fn a_wrong_checksum_is_told_apart_from_none() {
    let mut bytes = file(b"REDIS0011", b"\xfe\x00");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let error = decode(&bytes, Depth::Skip).end.unwrap_err();
    assert!(matches!(error.kind, Kind::Checksum { .. }));
    assert_eq!((error.at, error.doing), (12, Doing::CheckSum));
    assert_eq!(decode_in_pieces(&bytes, Depth::Skip, NO_CHECKSUM, 100).end, Ok(bytes.len()));
    bytes[last - 7..].fill(0);
    assert_eq!(decode(&bytes, Depth::Skip).log.last().unwrap(), "Disabled");
}

#[test]
fn a_diskless_transfer_is_unwrapped() {
    let inner = file(b"REDIS0011", b"\x00\x01k\x01v");
    let mark = b"0123456789abcdef0123456789abcdef01234567";
    let mut wrapped = b"$EOF:".to_vec();
    wrapped.extend_from_slice(mark);
    wrapped.extend_from_slice(b"\r\n");
    wrapped.extend_from_slice(&inner);
    wrapped.extend_from_slice(mark);
    assert_eq!(log_of(&wrapped), log_of(&inner), "offsets are those of the file inside");
    let last = wrapped.len() - 1;
    wrapped[last] = b'!';
    let (text, _) = refusal(&wrapped);
    assert!(text.ends_with("the mark at the end of the transfer is not the one at its start"));
    assert!(refusal(&wrapped[..last]).0.ends_with("Unexpected EOF reading RDB file"));
}

#[test]
fn opcodes_of_redis_alone() {
    let records = b"\xf2\x07\x02\x01a\x02bc\xf3\x01abcd\x02\x05\x05\x01x\x00\xf1\x00\x01k\x01v";
    let log = log_of(&file(b"REDIS0016", records));
    assert_eq!(log[1], "template 7 [[97], [98, 99]]");
    assert!(
        log[2].ends_with("meta: Some([1, 97, 98, 99, 100, 2, 5, 5, 1, 120, 0]), no_evict: true }"),
        "{}",
        log[2]
    );
    for byte in [0xf1, 0xf2, 0xf3] {
        let (text, doing) = refusal(&file(b"REDIS0011", &[byte, 0, 0]));
        assert_eq!((text, doing), (format!("offset 9: Invalid object type: {byte}"), Doing::ReadType));
    }
    let twice = file(b"REDIS0015", b"\xf2\x07\x01\x01a\xf2\x07\x01\x01a");
    assert_eq!(refusal(&twice).0, "offset 14: hash template 7 is defined twice");
    let empty = file(b"REDIS0015", b"\xf2\x07\x00");
    assert_eq!(refusal(&empty).0, "offset 9: hash template without fields");
}

#[test]
fn opcodes_of_valkey_alone() {
    let mut records = b"\xf3\x28".to_vec();
    records.extend_from_slice(&[b'j'; 40]);
    records.extend_from_slice(b"\x02\x01\x42\x00\x05\x05");
    let log = log_of(&file(b"VALKEY080", &records));
    assert_eq!(log[1], format!("import {} [(1, 512), (5, 5)]", "j".repeat(40)));
    let update = b"\xf2*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n";
    let log = log_of(&file(b"VALKEY081", update));
    assert_eq!(log[1], "update 9 [[68, 69, 76], [107]]");
    assert_eq!(refusal(&file(b"VALKEY080", update)).0, "offset 9: Invalid object type: 242");
    for (update, what) in [
        (&b"\xf2*0\r\n"[..], "offset 9: command in the file: argument count out of range"),
        (b"\xf2*-1\r\n", "offset 9: command in the file: no argument count"),
        (b"\xf2+1\r\n", "offset 9: command in the file: no argument count"),
        (b"\xf2*1\r\n$2\r\nabc\r\n", "offset 14: command in the file: argument does not end where it says"),
        (b"\xf2*1\r\n:2\r\nabc\r\n", "offset 14: command in the file: no argument length"),
    ] {
        assert_eq!(refusal(&file(b"VALKEY081", update)).0, what);
    }
}

#[test]
fn slots_are_those_there_are() {
    let last = file(b"REDIS0012", b"\xf4\x7f\xff\x01\x00");
    assert!(decode(&last, Depth::Item).end.is_ok());
    // A reader that keeps a table by slot would write beyond it.
    let beyond = file(b"REDIS0012", b"\xf4\x80\x00\x00\x40\x00\x01\x00");
    assert_eq!(refusal(&beyond).0, "offset 10: slot 16384, of 16384");
    let mut import = b"\xf3\x28".to_vec();
    import.extend_from_slice(&[b'j'; 40]);
    import.extend_from_slice(b"\x01\x00\x80\xff\xff\xff\xff");
    assert_eq!(refusal(&file(b"VALKEY080", &import)).0, "offset 53: slot 4294967295, of 16384");
}

#[test]
fn what_others_invented_is_refused_by_name() {
    for (byte, text) in [
        (6, "module value of a 4.0 release candidate (byte 6) cannot be read"),
        (8, "Invalid object type: 8"),
        (33, "Redis's rate limiter type (GCRA) (byte 33) cannot be read"),
        (64, "KeyDB's cron job type (byte 64) cannot be read"),
        (121, "Redis Enterprise opcode (byte 121) cannot be read"),
        (200, "Invalid object type: 200"),
        (246, "function data of a 7.0 release candidate (byte 246) cannot be read"),
    ] {
        let (refusal, _) = refusal(&file(b"REDIS0014", &[byte, 1, b'k', 0]));
        assert!(refusal.starts_with("offset 9") && refusal.ends_with(text), "{refusal}");
    }
}

#[test]
fn an_error_names_the_key_it_is_in() {
    let bytes = file(b"REDIS0011", b"\x12\x06cart:7\x01\x03\x00");
    let error = decode(&bytes, Depth::Packed).end.unwrap_err();
    assert_eq!(
        error.to_string(),
        "offset 18, key \"cart:7\": list node container 3 is neither plain (1) nor packed (2)"
    );
    assert_eq!((error.object, error.doing), (Some(18), Doing::ReadObjectValue));
}

#[test]
fn a_promised_length_is_asked_for_and_not_allocated() {
    // A string of 2^62 - 1 bytes, a list of 2^64 - 1 elements, 4 GiB out of 3 bytes of LZF.
    let string = b"REDIS0011\x00\x01k\x81\x3f\xff\xff\xff\xff\xff\xff\xff";
    assert_eq!(refusal(string).0, "offset 21, key \"k\": Unexpected EOF reading RDB file");
    let list = b"REDIS0011\x01\x01k\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01a";
    assert_eq!(refusal(list).0, "offset 23, key \"k\": Unexpected EOF reading RDB file");
    let lzf = b"REDIS0011\x00\x01k\xc3\x03\x80\xff\xff\xff\xff\x00\x00\x00";
    let expected = "offset 12, key \"k\": 4294967295 bytes cannot come out of 3 bytes of LZF";
    assert_eq!(refusal(lzf).0, expected);
    let string = b"REDIS0011\x00\x01k\x81\xff\xff\xff\xff\xff\xff\xff\xff";
    let expected = "offset 12, key \"k\": length 18446744073709551615 is too large for any file";
    assert_eq!(refusal(string).0, expected);
    assert_eq!(
        refusal(b"REDIS0011\x01\x01k\x82\x00").0,
        "offset 12, key \"k\": Unknown length encoding 0x82"
    );
    assert_eq!(
        refusal(b"REDIS0011\x00\x01k\xc4\x00").0,
        "offset 12, key \"k\": Unknown RDB string encoding type 4"
    );
}

#[test]
fn expiry_in_seconds_is_signed_and_prefixes_belong_to_one_key() {
    let records = b"\xfd\xff\xff\xff\xff\x00\x01k\x01v\x00\x01l\x01v";
    let log = log_of(&file(b"REDIS0006", records));
    assert!(log[1].contains("expire_at: Some(UnixMs(-1000))"));
    assert!(log[4].contains("expire_at: None"));
}

#[test]
fn more_is_asked_for_no_further_than_is_known() {
    use super::support::Recorder;
    use crate::codec::rdb::{Decoder, Progress, State};
    let at_least = |input: &[u8]| {
        let mut decoder = Decoder::new(Options::default());
        match decoder.advance(input, false, &mut Recorder::new(Depth::Item)) {
            Ok(Progress { consumed, state: State::More { at_least } }) => (consumed, at_least),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(at_least(b""), (0, 1));
    assert_eq!(at_least(b"$EO"), (0, 4));
    assert_eq!(at_least(b"$EOF:01"), (0, 47));
    assert_eq!(at_least(b"REDIS"), (0, 9));
    assert_eq!(at_least(b"REDIS0011"), (9, 1));
    assert_eq!(at_least(b"REDIS0011\xfa"), (9, 2));
    // Type and key are read; the value is 5 bytes of length and a million more.
    assert_eq!(at_least(b"REDIS0011\x00\x01k\x80\x00\x0f\x42\x40ab"), (12, 1_000_005));
}
