//! Records copied and written anew.

use std::path::Path;

use cairn_engine::codec::rdb::{Decoder, Options as Deep, State, Target};

use super::{Choice, Compress, Options, RdbWriter};
use crate::jsonl::{self, Jsonl};
use crate::lossy::{Feature, Losses};

fn read<S: cairn_engine::codec::rdb::Sink>(bytes: &[u8], sink: &mut S)
where
    S::Error: std::fmt::Debug,
{
    let mut decoder = Decoder::new(Deep { deep: true, ..Deep::default() });
    let progress = decoder.advance(bytes, true, sink).unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!((progress.state, progress.consumed), (State::Done, bytes.len()));
}

/// The file as lines, without what says how a value was stored.
fn contents(bytes: &[u8]) -> String {
    let mut lines = Vec::new();
    read(bytes, &mut Jsonl::new(&mut lines, jsonl::Options { sorted: true, ..Default::default() }));
    let lines = String::from_utf8(lines).expect("JSON is ASCII");
    let form = regex::Regex::new(r#""rdb_type":\d+,|"string_form":"\w+","#).expect("a pattern");
    form.replace_all(&lines, "").into_owned()
}

/// The same without the numbers of streams that older formats have no place for, and that come out the
/// same where nothing is told as lost.
fn without_derived(contents: &str) -> String {
    let numbers = r#""active_time":-?\d+,|"entries_read":(\d+|null),|"(first_id|max_deleted_id)":"[-0-9]+","#;
    let added = r#""entries_added":\d+,"#;
    let numbers = regex::Regex::new(&format!("{numbers}|{added}")).expect("a pattern");
    numbers.replace_all(contents, "").into_owned()
}

fn convert(bytes: &[u8], options: Options) -> (Vec<u8>, Losses) {
    let mut out = Vec::new();
    let mut writer = RdbWriter::new(&mut out, options);
    read(bytes, &mut writer);
    let (_, losses) = writer.finish().expect("memory");
    (out, losses)
}

fn to(target: Target) -> Options {
    Options { target: Choice::Target(target), ..Options::default() }
}

/// Every RDB file of the repository, by name.
fn files() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/rdb");
    let paths =
        std::fs::read_dir(folder).expect("testdata is there").map(|entry| entry.expect("entry").path());
    let files = paths.filter(|path| path.extension().is_some_and(|e| e == "rdb"));
    files.map(|path| (path.display().to_string(), std::fs::read(path).expect("a file"))).collect()
}

#[test]
fn a_file_in_its_own_format_stays_byte_for_byte() {
    for (name, bytes) in files() {
        let no_checksum = name.contains("nochecksum");
        let (copy, losses) = convert(&bytes, Options { no_checksum, ..Options::default() });
        assert!(losses.is_empty(), "{name}: {losses:?}");
        // Long keys, libraries and auxiliary fields are compressed anew, each server in its own way.
        let has_long = ["all-types", "functions", "nocompress"].iter().any(|part| name.contains(part));
        assert!(copy == bytes || has_long, "{name}");
        assert_eq!(contents(&copy), contents(&bytes), "{name}");
    }
}

#[test]
fn what_a_target_holds_comes_back_from_it() {
    let (mut held, mut pairs) = (0, 0);
    for (name, bytes) in files() {
        let expected = contents(&bytes);
        for target in Target::all() {
            pairs += 1;
            let (there, losses) = convert(&bytes, to(target));
            if !losses.is_empty() {
                continue;
            }
            held += 1;
            let version = target.version();
            assert_eq!(there[..9], version.magic(), "{name}");
            assert_eq!(
                without_derived(&contents(&there)),
                without_derived(&expected),
                "{name} as {}",
                target.name()
            );
            for compress in [Compress::On, Compress::Off] {
                let (anew, losses) = convert(&there, Options { compress, ..to(target) });
                assert!(losses.is_empty(), "{name} as {} {compress:?}: {losses:?}", target.name());
                assert_eq!(contents(&anew), contents(&there), "{name} as {} {compress:?}", target.name());
            }
            let newest = if name.contains("valkey-9") { Target::Valkey92 } else { Target::Redis812 };
            let (back, losses) = convert(&there, to(newest));
            assert!(losses.is_empty(), "{name} from {} to {}: {losses:?}", target.name(), newest.name());
            assert_eq!(contents(&back), contents(&there), "{name} from {}", target.name());
        }
    }
    println!("{held} of {pairs} pairs of a file and a target lose nothing");
    assert!(held * 2 > pairs, "{held} of {pairs}");
}

#[test]
fn a_file_that_lost_something_has_no_end_unless_that_may_be() {
    let functions = files().into_iter().find(|(name, _)| name.contains("7.0.15-functions"));
    let (_, bytes) = functions.expect("it is there");
    let (half, losses) = convert(&bytes, to(Target::Redis62));
    let lost: Vec<_> = losses.totals().map(|(feature, total)| (feature, total.keys)).collect();
    assert!(lost.iter().any(|(feature, _)| *feature == Feature::Functions), "{lost:?}");
    let mut decoder = Decoder::new(Deep::default());
    assert!(decoder.advance(&half, true, &mut Jsonl::new(Vec::new(), jsonl::Options::default())).is_err());
    let lossy = crate::lossy::Lossy::Warn;
    let (whole, again) = convert(&bytes, Options { lossy, ..to(Target::Redis62) });
    assert_eq!(again.totals().count(), lost.len());
    assert!(!contents(&whole).contains("\"type\":\"function\""));
}
