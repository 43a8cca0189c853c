//! Converted files are what they were: through every target and back, and in a real server.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cairn_engine::codec::rdb::{Decoder, Dialect, Options as Decoding, Sink, Target};
use rdb_tools::jsonl::{self, Jsonl};
use rdb_tools::lossy::Lossy;
use rdb_tools::write::rdb::{Choice, Options, RdbWriter};

use crate::server::{self, Reply, Server};
use crate::support::{fixtures, testdata};

fn read<S: Sink>(bytes: &[u8], sink: &mut S) -> bool {
    let decoding = Decoding { deep: true, ..Decoding::default() };
    Decoder::new(decoding).advance(bytes, true, sink).is_ok()
}

/// The file for a target, and whether nothing was lost; `None` if the file is damaged.
fn convert(bytes: &[u8], target: Target) -> Option<(Vec<u8>, bool)> {
    let options = Options { target: Choice::Target(target), lossy: Lossy::Warn, ..Options::default() };
    let mut writer = RdbWriter::new(Vec::new(), options);
    if !read(bytes, &mut writer) {
        return None;
    }
    let (out, losses) = writer.finish().expect("memory");
    Some((out, losses.is_empty()))
}

/// The keys as lines, without how they are stored, and without numbers of streams that older formats have no
/// place for and that come out the same where nothing is told as lost.
fn contents(bytes: &[u8]) -> String {
    let mut lines = Vec::new();
    let options = jsonl::Options { sorted: true, raw_modules: true };
    assert!(read(bytes, &mut Jsonl::new(&mut lines, options)), "a sound file");
    let form = regex::Regex::new(concat!(
        r#""rdb_type":\d+,|"string_form":"\w+",|"active_time":-?\d+,|"entries_read":(\d+|null),|"#,
        r#""(first_id|max_deleted_id)":"[-0-9]+",|"entries_added":\d+,|,"nacked_count":0|"#,
        r#","idmp":\{"duration":100,"maxsize":100,"added":0,"duplicates":0,"producers":\[\]\}"#,
    ));
    let lines = String::from_utf8(lines).expect("JSON is ASCII");
    form.expect("a pattern").replace_all(&lines, "").into_owned()
}

fn rdb_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rdb_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rdb") {
            found.push(path);
        }
    }
    found.sort();
}

/// Files up to this size are converted.
const MOST_BYTES: usize = 4 << 10;

/// Members of KeyDB's sets expire in its own files only.
const OF_KEYDB_ONLY: &str = "all-types";

#[test]
fn fixtures_go_to_every_target_and_back() {
    let Some(folder) = fixtures("fixtures_go_to_every_target_and_back") else { return };
    let mut files = Vec::new();
    rdb_files(&folder, &mut files);
    let (mut readable, mut pairs, mut lossless) = (0, 0, 0);
    for path in files {
        let bytes = fs::read(&path).expect("a file");
        // The large ones have nothing that the small ones have not, and patterns over them take their time.
        if bytes.len() > MOST_BYTES || convert(&bytes, Target::default()).is_none() {
            continue;
        }
        readable += 1;
        let expected = contents(&bytes);
        let newest = if bytes.starts_with(b"VALKEY") { Target::Valkey92 } else { Target::Redis812 };
        let of_keydb = path.display().to_string().contains("keydb")
            && path.display().to_string().contains(OF_KEYDB_ONLY);
        for target in [Target::Redis26, Target::Redis62, Target::Redis70, Target::Redis810, Target::Valkey92]
        {
            pairs += 1;
            let (there, is_whole) = convert(&bytes, target).expect("it was read before");
            let (back, is_back) = convert(&there, newest).expect("what was written is sound");
            if !is_whole || of_keydb {
                continue;
            }
            lossless += 1;
            assert!(is_back, "{} by {}", path.display(), target.name());
            assert!(contents(&there) == expected, "{} as {}", path.display(), target.name());
            assert!(contents(&back) == expected, "{} by {}", path.display(), target.name());
        }
    }
    println!("{readable} files, {pairs} pairs with a target, {lossless} without loss");
    assert!(readable > 100 && lossless > pairs / 2);
}

/// The targets that a server reads, by what it says of itself.
fn read_by(binary: &Path) -> Vec<Target> {
    let said = Command::new(binary).arg("--version").output().expect("CAIRN_REFERENCE_SERVER can be run");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let number = said.split_once("v=").map(|(_, rest)| rest).unwrap_or_default();
    let mut numbers = number.split(['.', ' ']).map_while(|part| part.parse::<u16>().ok());
    let version = (numbers.next().expect("a version"), numbers.next().unwrap_or(0));
    let is_valkey = said.to_lowercase().contains("valkey");
    let newest = match version {
        _ if is_valkey => 11,
        (..=4, _) => 8,
        (..=6, _) => 9,
        (7, ..=1) => 10,
        (7, ..=3) => 11,
        (7, _) | (8, ..=5) => 12,
        (8, ..=7) => 13,
        (8, ..=9) => 14,
        (8, ..=11) => 15,
        _ => 16,
    };
    let valkey = [(9, 0, 80), (9, 2, 81)];
    let reads = |target: &Target| {
        let own = target.version();
        match own.dialect {
            Dialect::Redis => own.number <= newest,
            Dialect::Valkey => {
                is_valkey
                    && valkey
                        .iter()
                        .any(|(major, minor, number)| version >= (*major, *minor) && *number == own.number)
            }
        }
    };
    Target::all().filter(reads).collect()
}

#[test]
fn a_server_sees_the_same_in_converted_files() {
    let Some(binary) = server::binary("a_server_sees_the_same_in_converted_files") else { return };
    let targets = read_by(&binary);
    let mut server = Server::start(&binary, None);
    let Reply::Array(config) = server.call(&["CONFIG", "GET", "dir"]) else { panic!("a folder") };
    let dump = PathBuf::from(config[1].text()).join("dump.rdb");
    let mut digest = |bytes: &[u8]| -> Option<String> {
        fs::write(&dump, bytes).expect("write");
        match server.call(&["DEBUG", "RELOAD", "NOSAVE"]) {
            Reply::Error(_) => None,
            _ => Some(server.call(&["DEBUG", "DIGEST"]).text()),
        }
    };
    let mut files = Vec::new();
    rdb_files(&testdata().join("rdb"), &mut files);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for path in files {
        let bytes = fs::read(&path).expect("a file");
        let by_name = path.display().to_string();
        if by_name.contains("modules") {
            // A server refuses what it has no module for.
            continue;
        }
        // Of what the server itself cannot read it is only known that it loads.
        let version = Target::all().find(|target| bytes.starts_with(&target.version().magic()));
        let own = version.filter(|version| targets.contains(version)).and_then(|_| digest(&bytes));
        for target in &targets {
            let (there, is_whole) = convert(&bytes, *target).expect("testdata is sound");
            let found = digest(&there);
            assert!(found.is_some(), "{by_name} as {} does not load", target.name());
            if is_whole && own.is_some() {
                assert_eq!(found, own, "{by_name} as {}", target.name());
                *counts.entry("the same digest").or_default() += 1;
            } else {
                *counts.entry("loads").or_default() += 1;
            }
        }
    }
    println!("{}: {counts:?}", binary.display());
}
