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

fn entry() -> impl Strategy<Value = Entry> {
    let name =
        proptest::collection::vec(any::<u8>().prop_filter("part of a path", |b| !b"/\\".contains(b)), 1..20);
    let pair =
        (proptest::collection::vec(any::<u8>(), 0..6), Just(b"v".to_vec())).prop_map(|(mut key, value)| {
            key.insert(0, b'z');
            (key, value)
        });
    (name, 1i64..1000, proptest::collection::vec(pair, 0..3)).prop_map(|(name, seq, extra)| Entry {
        name,
        seq,
        extra,
    })
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
        let manifest = Manifest { base, history, incr, base_seq, incr_seq };
        prop_assert_eq!(Manifest::parse(&manifest.format()), Ok(manifest));
    }

    #[test]
    fn any_bytes_end_in_an_answer(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Manifest::parse(&text);
    }
}
