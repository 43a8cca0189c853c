//! Any bytes as a file that keys are read from (an RDB file, JSON lines, commands, a log, packed or not): printed,
//! counted, digested, converted. An error or an end, and no panic; and what is written for a server is
//! a file without faults.
//!
//! The last two bytes choose what is done and for whom, so that files of `testdata` are seeds as they are.

use std::io::{self, Write};

use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::Target;
use rdb_tools::canon::{DebugStyle, Rules};
use rdb_tools::check::{Depths, check};
use rdb_tools::cmd::Reading;
use rdb_tools::diff::digest::Keys as Digests;
use rdb_tools::dump::commands::CommandLines;
use rdb_tools::dump::elements::{ElementRow, ElementRows};
use rdb_tools::dump::rows::{KeyRow, KeyRows};
use rdb_tools::dump::text::RowText;
use rdb_tools::dump::{csv, sorted, table};
use rdb_tools::index::{self, Lookup};
use rdb_tools::input::{Access, Input};
use rdb_tools::jsonl::{self, Jsonl};
use rdb_tools::lossy::Lossy;
use rdb_tools::memory::{Allocator, Server};
use rdb_tools::progress::{Progress, Wanted};
use rdb_tools::select::Chosen;
use rdb_tools::source::Source;
use rdb_tools::spill::Spill;
use rdb_tools::stats::prefix::Cutting;
use rdb_tools::stats::summary::Summary;
use rdb_tools::stats::{self, Collector, Moment, csv as stats_csv};
use rdb_tools::write::commands::{self, Commands};
use rdb_tools::write::rdb::{Choice, Options, RdbWriter};
use rdb_tools::write::resp::Resp;

/// When the keys are looked at.
const NOW: UnixMs = UnixMs(1_700_000_000_000);
/// No sorter needs more for what a fuzzer makes up, and with less there is a second run to merge.
const SPILL_BYTES: u64 = 64 << 10;

/// Runs the target.
pub fn run(data: &[u8]) {
    let Some((bytes, [what, whom])) = data.split_last_chunk::<2>() else { return };
    // Names tell what contents do not.
    let suffix = [".rdb", ".jsonl", ".aof", ".resp"][usize::from(what >> 4 & 3)];
    let mut file = tempfile::Builder::new().suffix(suffix).tempfile().expect("a temporary file");
    file.write_all(bytes).expect("written");
    let reading = Reading { no_mmap: what & 0x80 != 0, no_progress: true };
    let Ok(mut source) = Source::open(file.path().as_os_str(), reading) else { return };
    let targets: Vec<Target> = Target::all().collect();
    let target = targets[usize::from(*whom) % targets.len()];
    let spill = Spill { memory: SPILL_BYTES, tmp_dir: None };
    match what & 7 {
        0 => {
            let options = jsonl::Options { raw_modules: whom & 1 == 0, sorted: whom & 2 == 0 };
            let _ = source.read(&mut Jsonl::new(io::sink(), options));
        }
        1 => convert(&mut source, target),
        2 => {
            let options = commands::Options {
                target: Choice::Target(target),
                restore: what & 8 != 0,
                stops_at_loss: None,
            };
            if whom & 0x80 == 0 {
                let _ = source.read(&mut Commands::new(Resp::new(io::sink()), options));
            } else {
                let _ = source.read(&mut Commands::new(CommandLines::new(io::sink()), options));
            }
        }
        3 => rows(&mut source, *whom),
        4 => statistics(&mut source, *whom),
        5 => digest(&mut source, *whom, &spill),
        6 => {
            let mut sink = Jsonl::new(io::sink(), jsonl::Options::default());
            let _ = sorted::read(&mut source, &Chosen::everything(), None, &spill, &mut sink);
        }
        _ => look_up(&mut source, file.as_file(), &spill),
    }
}

/// What is written for a target is read without a fault.
fn convert(source: &mut Source, target: Target) {
    let options = Options { target: Choice::Target(target), lossy: Lossy::Drop, ..Options::default() };
    let mut writer = RdbWriter::new(Vec::new(), options);
    if source.read(&mut writer).is_err() {
        return;
    }
    let keys = writer.keys();
    let (out, _) = writer.finish().expect("it is in memory");
    let mut written = tempfile::NamedTempFile::new().expect("a temporary file");
    written.write_all(&out).expect("written");
    let mut input = Input::open(written.path(), Access::Map).expect("it is there");
    let progress = Progress::new(Wanted::Never, String::new(), None);
    let checked = check(&mut input, Depths::Deep, &progress).expect("it can be read");
    assert!(checked.is_complete(), "{target:?}: {:?}", checked.findings);
    assert_eq!(checked.keys, keys);
    // What was wrong inside of the input's values may be so still.
    assert!(checked.findings.iter().all(|found| found.kind != "checksum"), "{:?}", checked.findings);
}

fn rows(source: &mut Source, form: u8) {
    let out = io::sink();
    let line = |line: &mut Vec<u8>, row: &KeyRow<'_>| table::line(line, row, NOW);
    let element = |line: &mut Vec<u8>, row: &ElementRow<'_>| csv::element_line(line, row);
    let key = |line: &mut Vec<u8>, row: &KeyRow<'_>| csv::key_line(line, row);
    let _ = match form % 3 {
        0 => source.read(&mut KeyRows::new(RowText::new(out, key))).is_ok(),
        1 => source.read(&mut ElementRows::new(RowText::new(out, element))).is_ok(),
        _ => source.read(&mut KeyRows::new(RowText::new(out, line))).is_ok(),
    };
}

fn statistics(source: &mut Source, server: u8) {
    let servers =
        [Server::Redis70, Server::Redis72, Server::Redis8, Server::Valkey8, Server::Valkey9, Server::Cairn];
    let options = stats::Options {
        server: servers.get(usize::from(server) % 8).copied(),
        allocator: Allocator::default(),
        moment: Moment::WrittenOr(NOW.0),
        top: 3,
        cutting: Cutting { separator: b":".to_vec(), depth: 3 },
    };
    let mut collector = Collector::new(options, None::<stats_csv::Rows<fn(Vec<u8>) -> io::Result<()>>>);
    let _ = source.read(&mut collector);
    let (stats, origin) = collector.into_stats();
    let summary = Summary::new("a".to_owned(), stats, origin, 3, 3);
    drop((stats::text::write(&summary), rdb_tools::report::html(&summary)));
    stats::push_json(&mut Vec::new(), &summary);
}

fn digest(source: &mut Source, style: u8, spill: &Spill) {
    let style = [DebugStyle::Old, DebugStyle::Redis, DebugStyle::Valkey][usize::from(style) % 3];
    let keys = Digests::new(Rules::default(), false, spill).with_debug(Box::new(move |_| style), NOW);
    let mut walker = rdb_tools::walk::Walker::new(keys, |_| Ok(()));
    let _ = source.read(&mut walker);
    let _ = rdb_tools::parallel::Worker::finish(&mut walker);
}

/// What an index says of a key is where it is.
fn look_up(source: &mut Source, file: &std::fs::File, spill: &Spill) {
    let mut index = tempfile::NamedTempFile::new().expect("a temporary file");
    if index::build(source, file, spill, &mut index).is_err() {
        return;
    }
    let Ok(again) = file.try_clone() else { return };
    let Ok(Ok(lookup)) = Lookup::open(index.path(), again) else { return };
    for key in [&b"k"[..], b"a", b""] {
        for found in lookup.find(key).unwrap_or_default() {
            let mut sink = Jsonl::new(io::sink(), jsonl::Options::default());
            let _ = lookup.read(found, key, &mut sink);
        }
    }
}
