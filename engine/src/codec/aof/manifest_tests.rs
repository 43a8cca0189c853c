//! Manifests: what they say, each error with its line, names of new files, the round trip.

use super::*;
use proptest::prelude::*;

#[track_caller]
fn parse(text: &str) -> Manifest {
    Manifest::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text:?}: {e}"))
}

#[track_caller]
fn refused(text: &[u8], kind: Kind, line: Option<(u32, &str)>) {
    let error = Manifest::parse(text).expect_err("must be refused");
    let line = line.map(|(number, line)| (number, line.as_bytes().to_vec()));
    assert_eq!(error, Error { kind, line }, "{}", text.escape_ascii());
}

#[test]
fn a_manifest_of_redis_8_keeps_what_it_does_not_know() {
    let text = "file a.aof.4.base.rdb seq 4 type b\n\
                file a.aof.3.incr.aof seq 3 type h startoffset 6 endoffset 8\n\
                file a.aof.5.incr.aof seq 5 type i startoffset 8\n";
    let manifest = parse(text);
    assert_eq!(manifest.base.as_ref().map(|e| e.name.as_slice()), Some(&b"a.aof.4.base.rdb"[..]));
    assert_eq!((manifest.base_seq, manifest.incr_seq), (4, 5));
    assert_eq!(manifest.history[0].extra_number("endoffset"), Some(8));
    assert_eq!(manifest.format(), text.as_bytes());
}

#[test]
fn lines_are_read_as_redis_reads_them() {
    let manifest = parse(
        "# a comment\r\n  FILE 'my log.aof' SEQ 7x TYPE incr later \"on\"  \r\n#another\nfile \"a\\x20b\" seq +3 type history\n",
    );
    assert_eq!(manifest.incr[0].name, b"my log.aof");
    assert_eq!((manifest.incr[0].seq, manifest.history[0].seq), (7, 3));
    assert_eq!(manifest.history[0].name, b"a b");
    assert_eq!(manifest.format(), b"file \"a b\" seq 3 type h\nfile \"my log.aof\" seq 7 type i later on\n");
    assert_eq!(parse("# only a comment\n"), Manifest::default());
}

#[test]
fn errors_have_the_words_and_lines_of_redis() {
    let good = "file a seq 1 type b";
    refused(b"", Kind::Empty, None);
    refused(format!("{good}\n!!!\n").as_bytes(), Kind::Format, Some((2, "!!!")));
    refused(format!("{good}\n \r\n").as_bytes(), Kind::Format, Some((2, "")));
    refused(b"file a seq 0 type h\n", Kind::Format, Some((1, "file a seq 0 type h")));
    refused(b"file a seq x type h\n", Kind::Format, Some((1, "file a seq x type h")));
    refused(b"file a seq 1 type \"\"\n", Kind::Format, Some((1, "file a seq 1 type \"\"")));
    refused(b"file a seq 1 type i more\n", Kind::Format, Some((1, "file a seq 1 type i more")));
    refused(b"file \"a seq 1 type i\n", Kind::Format, Some((1, "file \"a seq 1 type i")));
    refused(b"name a seq 1 type i\n", Kind::Format, Some((1, "name a seq 1 type i")));
    refused(b"file ../a seq 1 type i\n", Kind::Path, Some((1, "file ../a seq 1 type i")));
    refused(b"file a seq 1 type x\n", Kind::UnknownType, Some((1, "file a seq 1 type x")));
    refused(format!("{good}\n{good}\n").as_bytes(), Kind::DuplicateBase, Some((2, good)));
    refused(b"file a seq -1 type i\n", Kind::NotMonotonic, Some((1, "file a seq -1 type i")));
    refused(
        b"file a seq 2 type i\nfile b seq 2 type i\n",
        Kind::NotMonotonic,
        Some((2, "file b seq 2 type i")),
    );
    refused(good.as_bytes(), Kind::LongLine, None);
    refused(b"file a seq 1 type b\0\n", Kind::LongLine, None);
    refused(format!("file {} seq 1 type b\n", "a".repeat(MAX_LINE_BYTES)).as_bytes(), Kind::LongLine, None);
    let texts = [
        (Kind::Format, "Invalid AOF manifest file format"),
        (Kind::LongLine, "The AOF manifest file contains too long line"),
        (Kind::Read, "Read AOF manifest failed"),
    ];
    for (kind, text) in texts {
        assert_eq!(kind.to_string(), text);
    }
}

#[test]
fn a_long_comment_goes_on_as_a_line() {
    let text = format!("#{}\nfile a seq 1 type b\n", "x".repeat(MAX_LINE_BYTES));
    refused(text.as_bytes(), Kind::Format, Some((2, "x")));
}

#[test]
fn rewrites_name_files_as_redis_does() {
    let mut manifest = Manifest::default();
    assert_eq!(manifest.add_base("a.aof", BaseFormat::Rdb).name, b"a.aof.1.base.rdb");
    assert_eq!(manifest.add_incr("a.aof").name, b"a.aof.1.incr.aof");
    manifest.add_incr("a.aof");
    manifest.add_base("a.aof", BaseFormat::Aof);
    manifest.retire_incrs(1);
    manifest.add_incr("a.aof");
    assert_eq!(
        manifest.format(),
        b"file a.aof.2.base.aof seq 2 type b\nfile a.aof.1.incr.aof seq 1 type h\n\
          file a.aof.1.base.rdb seq 1 type h\nfile a.aof.2.incr.aof seq 2 type i\n\
          file a.aof.3.incr.aof seq 3 type i\n"
    );
    assert_eq!(temp_incr_name("a.aof"), "temp-a.aof.incr");
}

/// Two manifests of ours: a usual one, and one with a single line.
fn checked() -> [Vec<u8>; 2] {
    let mut manifest = Manifest::default();
    manifest.add_base("a.aof", BaseFormat::Rdb).marks.size = Some(4711);
    let incr = manifest.add_incr("a.aof");
    incr.marks = Marks { blocks: Some(0), size: Some(99), crc64: Some(0xfeed), ..Marks::default() };
    let incr = manifest.add_incr("a.aof");
    incr.marks = Marks { blocks: Some(0), end: Some(77), off_since: Some(UnixMs(5)), ..Marks::default() };
    incr.extra.push((b"startoffset".to_vec(), b"12".to_vec()));
    let usual = manifest.format_checked();
    let mut single = Manifest::default();
    single.add_incr("a.aof").marks.blocks = Some(0);
    [usual, single.format_checked()]
}

#[test]
fn marks_are_further_pairs() {
    let [usual, _] = checked();
    let text = String::from_utf8(usual.clone()).expect("text");
    let lines: Vec<_> = text.lines().map(|line| line.split(" sum ").next().expect("a line")).collect();
    assert_eq!(
        lines,
        [
            "file a.aof.1.base.rdb seq 1 type b cairn 1 size 4711",
            "file a.aof.1.incr.aof seq 1 type i cairn 1 blocks 0 size 99 crc64 000000000000feed",
            "file a.aof.2.incr.aof seq 2 type i startoffset 12 cairn 1 blocks 0 end 77 state off:5",
        ]
    );
    let manifest = Manifest::parse(&usual).expect("ours");
    assert!(manifest.is_checked);
    assert_eq!(manifest.incr[1].marks.off_since, Some(UnixMs(5)));
    assert_eq!(manifest.incr[1].extra_number("startoffset"), Some(12));
    assert_eq!(manifest.format_checked(), usual);
}

#[test]
fn every_flipped_bit_of_a_manifest_of_ours_is_found() {
    for text in checked() {
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut bad = text.clone();
                bad[at] ^= 1 << bit;
                assert!(Manifest::parse(&bad).is_err(), "byte {at} bit {bit}: {}", bad.escape_ascii());
            }
        }
    }
}

#[test]
fn every_cut_and_every_lost_line_of_a_manifest_of_ours_is_found() {
    let [usual, single] = checked();
    for text in [&usual, &single] {
        for cut in 0..text.len() {
            assert!(Manifest::parse(&text[..cut]).is_err(), "cut at {cut}");
        }
    }
    let lines: Vec<&[u8]> = usual.split_inclusive(|b| *b == b'\n').collect();
    for lost in 0..lines.len() {
        let rest: Vec<u8> =
            lines.iter().enumerate().filter(|(i, _)| *i != lost).flat_map(|(_, l)| *l).copied().collect();
        refused(&rest, Kind::Sum, None);
    }
    refused(&[&usual[..], b"file b seq 9 type i\n"].concat(), Kind::Sum, None);
    refused(&[&usual[..], b"# a comment\n"].concat(), Kind::Sum, None);
    refused(
        &[&usual[..], &single].concat(),
        Kind::NotMonotonic,
        Some((4, single.trim_ascii_end().escape_ascii().to_string().as_str())),
    );
}

#[test]
fn a_manifest_without_marks_has_no_line_more_when_it_is_off() {
    let mut manifest = Manifest::default();
    manifest.add_base("a.aof", BaseFormat::Rdb);
    let incr = manifest.add_incr("a.aof");
    incr.marks = Marks { end: Some(77), off_since: Some(UnixMs(1234)), ..Marks::default() };
    let lines = "file a.aof.1.base.rdb seq 1 type b\nfile a.aof.1.incr.aof seq 1 type i\n";
    let text = manifest.format();
    assert_eq!(text, format!("{lines}#off 1234 77;").as_bytes());
    let said = Manifest::parse(&text).expect("ours");
    assert_eq!((said.incr[0].marks.off_since, said.incr[0].marks.end), (Some(UnixMs(1234)), Some(77)));
    for cut in lines.len() + "#off ".len()..text.len() {
        refused(&text[..cut], Kind::LongLine, None);
    }
    // Behind another comment it is the last as well, and with a line end it says the same.
    let text = manifest.format_with("#whose");
    assert_eq!(text, format!("{lines}#whose\n#off 1234 77;").as_bytes());
    for old in ["#off 1234 77\n", "#off 1234 77;\n"] {
        assert_eq!(Manifest::parse(format!("{lines}{old}").as_bytes()), Ok(said.clone()));
    }
}

#[test]
fn a_manifest_of_a_later_version_is_refused_as_such() {
    let text = "file a seq 1 type b cairn 2 sum 0000000000000000\n";
    let sum = crate::base::crc64::crc64(text.as_bytes());
    let text = text.replace("0000000000000000", &format!("{sum:016x}"));
    refused(text.as_bytes(), Kind::Later, None);
}

fn marks() -> impl Strategy<Value = Marks> {
    use proptest::option::of;
    let number = || of(0..=i64::MAX as u64);
    (number(), number(), of(any::<u64>()), number(), of(any::<i64>())).prop_map(
        |(blocks, size, crc64, end, off)| Marks { blocks, size, crc64, end, off_since: off.map(UnixMs) },
    )
}

fn entry() -> impl Strategy<Value = Entry> {
    let name =
        proptest::collection::vec(any::<u8>().prop_filter("part of a path", |b| !b"/\\".contains(b)), 1..20);
    let pair =
        (proptest::collection::vec(any::<u8>(), 0..6), Just(b"v".to_vec())).prop_map(|(mut key, value)| {
            key.insert(0, b'z');
            (key, value)
        });
    (name, 1i64..1000, proptest::collection::vec(pair, 0..3), marks())
        .prop_map(|(name, seq, extra, marks)| Entry { name, seq, extra, marks })
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        base in proptest::option::of(entry()),
        history in proptest::collection::vec(entry(), 0..4),
        mut incr in proptest::collection::vec(entry(), 0..4),
    ) {
        prop_assume!(base.is_some() || !history.is_empty() || !incr.is_empty());
        for (i, entry) in incr.iter_mut().enumerate() {
            entry.seq = i as i64 + 1;
        }
        let base_seq = base.as_ref().map_or(0, |e| e.seq);
        let incr_seq = incr.len() as i64;
        let mut manifest = Manifest { base, history, incr, base_seq, incr_seq, is_checked: true };
        prop_assert_eq!(Manifest::parse(&manifest.format_checked()), Ok(manifest.clone()));
        let stock = manifest.format();
        manifest.is_checked = false;
        // What stands in a comment: since when it is off, and where it ended then.
        let off_since = manifest.live().find_map(|(_, entry)| entry.marks.off_since);
        let end = manifest.incr.last().and_then(|last| last.marks.end).filter(|_| off_since.is_some());
        for entry in manifest.base.iter_mut().chain(&mut manifest.history).chain(&mut manifest.incr) {
            entry.marks = Marks::default();
        }
        for entry in manifest.base.iter_mut().chain(&mut manifest.incr) {
            entry.marks.off_since = off_since;
        }
        if let Some(last) = manifest.incr.last_mut() {
            last.marks.end = end;
        }
        prop_assert_eq!(Manifest::parse(&stock), Ok(manifest));
    }

    #[test]
    fn any_bytes_end_in_an_answer(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Manifest::parse(&text);
    }
}
