//! Keys as commands: what folds back from them is what there was.

use std::io::{self, Write};
use std::path::Path;

use cairn_engine::codec::rdb::{Decoder, Options as Decoding, Target};
use cairn_engine::transcode::commands::Word;

use super::{Commands, Options};
use crate::cmd::Reading;
use crate::fold::{self, Log};
use crate::jsonl::{self, Jsonl};
use crate::lossy::Feature;
use crate::write::rdb::Choice;
use crate::write::resp::Resp;

fn lines(out: &[u8]) -> Vec<String> {
    let text = String::from_utf8(out.to_vec()).expect("JSON is ASCII");
    // How values are stored, and what no command says.
    let form = regex::Regex::new(concat!(
        r#""rdb_type":\d+,|"string_form":"\w+",|"(idle|freq)":\d+,|"active_time":-?\d+,|"#,
        r#","idmp":\{"duration":\d+,"maxsize":\d+,"added":0,"duplicates":0,"producers":\[\]\}|"#,
        r#","nacked_count":0|"entries_read":(\d+|null),|"(first_id|max_deleted_id)":"[-0-9]+",|"entries_added":\d+,|"seen_time":\d+,"#,
    ));
    let form = form.expect("a pattern");
    form.replace_all(&text, "").lines().map(str::to_owned).collect()
}

fn sorted<W: Write>(out: W) -> Jsonl<W> {
    Jsonl::new(out, jsonl::Options { sorted: true, ..Default::default() })
}

/// The commands of a file, folded.
fn folded(bytes: &[u8], options: Options) -> (Vec<String>, Vec<Feature>) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file.aof");
    let mut sink = Commands::new(Resp::new(Vec::new()), options);
    Decoder::new(Decoding::default()).advance(bytes, true, &mut sink).expect("a sound file");
    let (resp, losses) = sink.finish().expect("memory");
    std::fs::write(&path, resp.into_inner()).expect("write");
    let mut out = Vec::new();
    let log = Log::open(&path).expect("a log");
    let reading = Reading { no_mmap: false, no_progress: true };
    let told = fold::fold(&log, &fold::Options::new(reading), &mut sorted(&mut out));
    told.unwrap_or_else(|stop| panic!("{stop:?}"));
    (lines(&out), losses.totals().map(|(feature, _)| feature).collect())
}

#[test]
fn commands_make_the_keys_again() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/rdb");
    let mut checked = 0;
    for entry in std::fs::read_dir(folder).expect("testdata is there") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "rdb") {
            continue;
        }
        let bytes = std::fs::read(&path).expect("a file");
        let mut out = Vec::new();
        Decoder::new(Decoding::default()).advance(&bytes, true, &mut sorted(&mut out)).expect("a sound file");
        let expected = lines(&out);
        for restore in [false, true] {
            let (found, lost) = folded(&bytes, Options { restore, ..Options::default() });
            let only_told = |feature: &Feature| {
                matches!(
                    feature,
                    Feature::IdleTime | Feature::AccessCounter | Feature::ModuleAux | Feature::SlotImport
                )
            };
            if lost.iter().all(only_told) {
                assert_eq!(found, expected, "{}, restore {restore}", path.display());
                checked += 1;
            } else {
                println!("{}, restore {restore}: {lost:?}", path.display());
            }
        }
    }
    assert!(checked > 60, "{checked}");
}

#[test]
fn large_collections_go_in_pieces() {
    let mut bytes = b"REDIS0011\xfc\x10\x27\0\0\0\0\0\0\x04\x01h\x40\x64".to_vec();
    for i in 0..100_u8 {
        bytes.extend_from_slice(&[0xc0, i, 0xc0, i]);
    }
    bytes.extend_from_slice(b"\xff\0\0\0\0\0\0\0\0");
    let mut commands = Vec::new();
    let take = |words: &[Word<'_>]| -> io::Result<()> {
        commands.push(
            words.iter().map(|word| String::from_utf8_lossy(&word.to_vec()).into_owned()).collect::<Vec<_>>(),
        );
        Ok(())
    };
    let target = Choice::Target(Target::Redis32);
    let mut sink = Commands::new(take, Options { target, ..Options::default() });
    Decoder::new(Decoding::default()).advance(&bytes, true, &mut sink).expect("a sound file");
    let shapes: Vec<_> = commands.iter().map(|words| (words[0].as_str(), words.len())).collect();
    assert_eq!(shapes, [("SELECT", 2), ("HMSET", 130), ("HMSET", 74), ("PEXPIREAT", 3)]);
    assert_eq!(commands[3], ["PEXPIREAT", "h", "10000"]);
}
