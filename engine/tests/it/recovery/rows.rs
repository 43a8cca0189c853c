//! The rows of the scenario table that are about the log, by their numbers; each test is one of them.

use std::fs;
use std::time::{Duration, SystemTime};

use cairn_engine::base::rng::Rng;
use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::aof::manifest::Manifest;
use cairn_engine::codec::aof::reserve;
use cairn_engine::codec::rdb::{ObjectType, Target, Writer, WriterOptions};
use cairn_engine::engine::Engine;
use cairn_engine::persist::apart::Apart;
use cairn_engine::persist::recover::Source;

use super::support::{Home, NOW, Started, blocks, closed, commands};
use crate::fresh;

const INCR: &str = "appendonly.aof.1.incr.aof";
const INCR_PATH: &str = "appendonlydir/appendonly.aof.1.incr.aof";
const BASE: &str = "appendonly.aof.1.base.aof";
const MANIFEST: &str = "appendonlydir/appendonly.aof.manifest";
/// The name of the file that a cut end is in.
const TORN: &str = "appendonlydir/appendonly.aof.1.incr.aof.torn-1800000000000";

fn synced(_at: u64) -> Option<u64> {
    Some(0)
}

/// A log with `text` that is cut to every length; what is left of it must be a prefix of its commands.
fn every_cut(whole: &[u8], prefixes: &[(usize, &str)]) {
    for cut in 0..whole.len() {
        let home = Home::with_log(&[(INCR, &whole[..cut])]);
        let (valid_to, keys) = prefixes.iter().rev().find(|(end, _)| *end <= cut).unwrap();
        let started = home.loads(keys);
        assert_eq!(home.read(INCR_PATH), &whole[..*valid_to], "cut at {cut}");
        let is_torn = *valid_to < cut;
        assert_eq!(started.recovered.torn.is_some(), is_torn, "cut at {cut}");
        assert_eq!(home.path(TORN).exists(), is_torn, "cut at {cut}");
        if is_torn {
            assert_eq!(home.read(TORN), &whole[*valid_to..cut], "cut at {cut}");
            started.says("short read while loading the AOF file");
        }
        // The next start finds nothing to do.
        home.loads(keys).is_calm();
    }
}

#[test]
fn row_1_a_torn_last_command_is_cut_off_and_kept_aside() {
    let whole = commands("SET a 1|SET b 22");
    let first = commands("SET a 1").len();
    every_cut(&whole, &[(0, ""), (first, "a=1")]);
    let home = Home::with_log(&[(INCR, &whole[..whole.len() - 1])]);
    let mut options = home.options.clone();
    options.load_truncated = false;
    let home = Home { options, ..home };
    let part = format!("offset {}", first + "*3\r\n$3\r\nSET\r\n$1\r\nb\r\n".len());
    home.refuses(&["Unexpected end of file reading the append only file", &part, "aof-tools repair"]);
}

#[test]
fn row_1_blocks_are_cut_where_they_start() {
    let first = blocks(&["SET a 1|SET b 2"], synced);
    let whole = blocks(&["SET a 1|SET b 2", "SET a 3|SET c 4"], synced);
    every_cut(&whole, &[(0, ""), (first.len(), "a=1 b=2")]);
}

#[test]
fn row_2_a_cut_in_a_length_is_a_torn_end() {
    for tail in ["*", "*3", "*3\r", "*3\r\n$", "*3\r\n$3\r\nSET\r\n$1"] {
        let home = Home::with_log(&[(INCR, &[commands("SET a 1"), tail.into()].concat())]);
        home.loads("a=1").says("!!! Truncating the AOF");
        assert_eq!(home.read(INCR_PATH), commands("SET a 1"));
    }
}

#[test]
fn row_3_an_unfinished_transaction_is_not_run() {
    let log = commands("SET a 1|MULTI|SET a 2|SET b 2");
    let home = Home::with_log(&[(INCR, &log)]);
    let started = home.loads("a=1");
    started.says("Revert incomplete MULTI/EXEC transaction in AOF file appendonly.aof.1.incr.aof");
    assert_eq!(home.read(INCR_PATH), commands("SET a 1"));
    let whole = commands("SET a 1|MULTI|SET a 2|SET b 2|EXEC|SET c 3");
    let before = commands("SET a 1").len();
    let after = commands("SET a 1|MULTI|SET a 2|SET b 2|EXEC").len();
    every_cut(&whole, &[(0, ""), (before, "a=1"), (after, "a=2 b=2")]);
    let mut home = Home::with_log(&[(INCR, &log)]);
    home.options.load_truncated = false;
    home.refuses(&["Unexpected end of file reading the append only file", "has no EXEC"]);
}

#[test]
fn row_4_zeros_at_the_end_are_a_torn_end() {
    for zeros in [1, 511, 5000, 1 << 20] {
        for log in [commands("SET a 1"), blocks(&["SET a 1"], synced)] {
            let home = Home::with_log(&[(INCR, &[log.clone(), vec![0; zeros]].concat())]);
            home.loads("a=1");
            assert_eq!(home.read(INCR_PATH), log);
            assert_eq!(home.read(TORN).len(), zeros);
        }
    }
    let mut home = Home::with_log(&[(INCR, &[commands("SET a 1"), vec![0; 9]].concat())]);
    home.options.load_truncated = false;
    home.refuses(&["Unexpected end of file", "only zero bytes follow"]);
}

#[test]
fn row_5_zeros_from_inside_a_string_on_are_a_torn_end() {
    let first = blocks(&["SET a 1"], synced);
    let mut log = blocks(&["SET a 1", "SET b 0123456789"], synced);
    let len = log.len();
    log[len - 8..].fill(0);
    log.resize(len + 4000, 0);
    let home = Home::with_log(&[(INCR, &log)]);
    home.loads("a=1");
    assert_eq!(home.read(INCR_PATH), first);
    // Without blocks the line end behind the string tells.
    let mut log = commands("SET a 1|SET b 0123456789");
    let len = log.len();
    log[len - 8..].fill(0);
    log.resize(len + 4000, 0);
    let home = Home::with_log(&[(INCR, &log)]);
    home.loads("a=1");
    assert_eq!(home.read(INCR_PATH), commands("SET a 1"));
}

#[test]
fn row_6_garbage_at_the_end_is_refused_or_cut_within_the_limit() {
    for log in [commands("SET a 1"), blocks(&["SET a 1"], synced)] {
        let mut home = Home::with_log(&[(INCR, &[log.clone(), b"!!!garbage".to_vec()].concat())]);
        let offset = format!("offset {}", log.len());
        home.refuses(&["Bad file format reading the append only file", &offset, "aof-tools check"]);
        home.options.corrupt_tail_max_bytes = 9;
        home.refuses(&["10 bytes are more than aof-load-corrupt-tail-max-size allows"]);
        home.options.corrupt_tail_max_bytes = 10;
        home.loads("a=1").says("aof-load-corrupt-tail-max-size");
        assert_eq!((home.read(INCR_PATH), home.read(TORN)), (log, b"!!!garbage".to_vec()));
    }
}

#[test]
fn row_7_every_flipped_bit_of_a_checked_log_is_found() {
    let starts = [0, blocks(&["SET a 1"], synced).len()];
    let log = blocks(&["SET a 1", "SET b 2|MULTI|SET c 3|EXEC"], synced);
    // One bit of each byte: all of them are flipped where the codec is tested.
    for at in 0..log.len() {
        let mut bad = log.clone();
        bad[at] ^= 1 << (at % 8);
        let home = Home::with_log(&[(INCR, &bad)]);
        home.mark(|manifest| manifest.incr[0].marks.blocks = Some(0));
        let start = starts.iter().rev().find(|start| **start <= at).unwrap();
        if bad[at] == 0 {
            // A zero byte where there was none may as well be a hole that a power cut has left: an end
            // that is cut off is told, and kept aside.
            match home.start() {
                Ok(started) => assert!(started.recovered.torn.is_some(), "byte {at}"),
                Err(refusal) => assert!(refusal.to_string().contains("offset")),
            }
            continue;
        }
        home.refuses(&[&format!("offset {start}"), "aof-tools check"]);
    }
}

#[test]
fn row_8_a_string_must_end_in_a_line_end() {
    let log = commands("SET a 1|SET b 2");
    let at = "*3\r\n$3\r\nSET".len();
    let mut bad = log.clone();
    bad[at..at + 2].copy_from_slice(b"xy");
    let home = Home::with_log(&[(INCR, &bad)]);
    home.refuses(&["Bad file format", &format!("offset {at}"), "expected \\r\\n, found 'xy'"]);
}

#[test]
fn row_9_lengths_that_cannot_be_are_format_errors() {
    for length in ["99999999999999", "-1", "-99999999999999", "1x", ""] {
        let log = format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n${length}\r\nx\r\n");
        let home = Home::with_log(&[(INCR, &[log.into_bytes(), commands("SET b 2")].concat())]);
        home.refuses(&["Bad file format", "offset"]);
    }
}

#[test]
fn row_9_a_length_that_swallows_what_follows_is_no_torn_end() {
    let mut log = commands("SET a 1|SET b 2|SET c 3");
    let at = commands("SET a 1").len() + "*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$".len();
    log[at] = b'9';
    log.splice(at..at, *b"99");
    let home = Home::with_log(&[(INCR, &log)]);
    home.refuses(&["Bad file format", "so the length is wrong"]);
    // With the file cut as well nobody can tell.
    let home = Home::with_log(&[(INCR, &log[..log.len() - 1])]);
    home.loads("a=1");
}

#[test]
fn row_10_a_wrong_number_of_arguments_is_a_format_error_unless_the_file_ends_there() {
    for count in ["2000000000", "-3", "0", "9999999999"] {
        let log = format!("*{count}\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nx\r\n");
        let home = Home::with_log(&[(INCR, &[log.into_bytes(), commands("SET b 2")].concat())]);
        home.refuses(&["Bad file format", "offset"]);
    }
    let home = Home::with_log(&[(INCR, &[commands("SET a 1"), b"*2000000000\r\n".to_vec()].concat())]);
    home.loads("a=1");
}

#[test]
fn row_11_unknown_commands_are_refused_by_name() {
    let at = commands("SET a 1").len();
    let home = Home::with_log(&[(INCR, &commands("SET a 1|bla foo hello|SET a 2"))]);
    let part = format!("offset {at}");
    home.refuses(&["unknown command 'bla', with args beginning with: 'foo' 'hello'", &part]);
    let home = Home::with_log(&[(INCR, &commands("SET a 1|XGROUP bla k"))]);
    home.refuses(&["unknown subcommand 'bla'. Try XGROUP HELP."]);
    let home = Home::with_log(&[(INCR, &commands("FCALL f 0"))]);
    home.refuses(&["'fcall' calls a function, which no server has logged", "aof-use-rdb-preamble yes"]);
    let home = Home::with_log(&[(INCR, &commands("SET a 1|FUNCTION RESTORE x"))]);
    home.refuses(&[
        &part,
        "libraries of FUNCTION RESTORE cannot be loaded: DUMP payload version or checksum are",
    ]);
    let home = Home::with_log(&[(INCR, &commands("SET a 1|FUNCTION LOAD x"))]);
    home.refuses(&[&part, "the function library \"x\" cannot be loaded: Missing library metadata"]);
}

#[test]
fn row_12_a_wrong_arity_is_refused() {
    for (command, name) in
        [("SET a", "set"), ("GET", "get"), ("EXEC now", "exec"), ("XGROUP CREATE", "xgroup|create")]
    {
        let home = Home::with_log(&[(INCR, &commands(&format!("SET a 1|{command}")))]);
        home.refuses(&[&format!("wrong number of arguments for '{name}' command"), "offset 27"]);
    }
    let home = Home::with_log(&[(INCR, &commands("cluster"))]);
    home.refuses(&["wrong number of arguments for 'cluster' command"]);
}

#[test]
fn row_13_errors_of_commands_are_counted_and_told() {
    let mut home = Home::with_log(&[(INCR, &commands("SET a 1|LPUSH a x|INCR l|LPUSH l x|SET b 2"))]);
    let started = home.loads("a=1 b=2 l=1");
    assert_eq!((started.recovered.commands, started.recovered.errors), (5, 2));
    started.says("== CRITICAL == This server is sending an error to its AOF-loading-client: 'WRONGTYPE");
    started.says("after processing the command 'lpush'");
    home.options.strict = true;
    home.refuses(&["2 of its commands answer with an error"]);
}

#[test]
fn row_14_a_database_that_is_not_there_is_refused() {
    let home = Home::with_log(&[(INCR, &commands("SET a 1|SELECT 99|SET b 2"))]);
    home.refuses(&["SELECT 99, but there are 16 databases", "offset 27"]);
    let home = Home::with_log(&[(INCR, &commands("SELECT 3|SET a 1|MULTI|SELECT 4|SET b 2|EXEC|SET c 3"))]);
    let started = home.loads("");
    assert_eq!((started.keys(3), started.keys(4)), ("a=1".to_owned(), "b=2 c=3".to_owned()));
}

#[test]
fn row_15_files_without_a_manifest_are_refused() {
    for enabled in [true, false] {
        let mut home = Home::with_log(&[(BASE, &commands("SET a 1")), (INCR, &commands("SET b 2"))]);
        home.options.enabled = enabled;
        fs::remove_file(home.path(MANIFEST)).unwrap();
        home.refuses(&["2 AOF files but no manifest", BASE, INCR, "aof-tools repair"]);
    }
    // A base with nothing after it is all there is.
    let home = Home::with_log(&[(BASE, &commands("SET a 1")), (INCR, b"")]);
    fs::remove_file(home.path(MANIFEST)).unwrap();
    home.loads("a=1").says("There is no manifest");
    // Nothing is lost when there is nothing in them.
    let home = Home::with_log(&[(INCR, b"")]);
    fs::remove_file(home.path(MANIFEST)).unwrap();
    assert_eq!(home.loads("").recovered.source, Source::Nothing);
}

#[test]
fn row_15_a_log_whose_making_was_interrupted_is_finished_or_left() {
    let home = Home::with_log(&[(BASE, &commands("SET a 1")), (INCR, &commands("SET b 2"))]);
    fs::rename(home.path(MANIFEST), home.path("appendonlydir/temp-appendonly.aof.manifest")).unwrap();
    let started = home.loads("a=1 b=2");
    started.says("it is finished");
    assert_eq!(started.recovered.last.unwrap().name, INCR.as_bytes());
    fs::remove_file(home.path(INCR_PATH)).unwrap();
    home.loads("").says("what there is of it is not used");
}

#[test]
fn row_16_a_damaged_manifest_is_refused() {
    let good = format!("file {INCR} seq 1 type i\n");
    for (text, says) in [
        ("", "Found an empty AOF manifest"),
        ("!!!\n", "Invalid AOF manifest file format"),
        (&good[..good.len() - 1], "The AOF manifest file contains too long line"),
        (&good[..20], "The AOF manifest file contains too long line"),
        ("\0\0\0\0", "The AOF manifest file contains too long line"),
    ] {
        let home = Home::with_log(&[(INCR, &commands("SET a 1"))]);
        home.write(MANIFEST, text.as_bytes());
        home.refuses(&["FATAL AOF MANIFEST FILE ERROR", says, "aof-tools repair"]);
    }
}

#[test]
fn row_16_every_flipped_bit_and_every_cut_of_a_checked_manifest_is_refused() {
    let home = Home::with_log(&[(BASE, &commands("SET a 1")), (INCR, &blocks(&["SET b 2"], synced))]);
    home.mark(|manifest| manifest.incr[0].marks.blocks = Some(0));
    let text = home.read(MANIFEST);
    home.loads("a=1 b=2").is_calm();
    for at in 0..text.len() {
        let mut bad = text.clone();
        bad[at] ^= 1 << (at % 8);
        home.write(MANIFEST, &bad);
        home.refuses(&["FATAL AOF MANIFEST FILE ERROR"]);
        home.write(MANIFEST, &text[..at]);
        home.refuses(&["FATAL AOF MANIFEST FILE ERROR"]);
    }
}

#[test]
fn row_17_all_missing_files_are_named_at_once() {
    let home = Home::with_log(&[(BASE, b""), (INCR, b""), ("appendonly.aof.2.incr.aof", b"x")]);
    fs::remove_file(home.path("appendonlydir/appendonly.aof.1.base.aof")).unwrap();
    fs::remove_file(home.path(INCR_PATH)).unwrap();
    let text = home.refuses(&[
        "appendonly.aof.1.base.aof length. stat: No such file or directory",
        "appendonly.aof.1.incr.aof length. stat: No such file or directory",
        "aof-tools repair",
    ]);
    assert_eq!(text.matches("No such file").count(), 2);
}

#[test]
fn row_18_a_manifest_that_cannot_be_is_refused_with_the_words_of_redis() {
    let line = |name: &str, seq: i64, kind: char| format!("file {name} seq {seq} type {kind}\n");
    for (text, says) in [
        (line("a", 1, 'b') + &line("b", 2, 'b'), "Found duplicate base file information"),
        (line("a", 2, 'i') + &line("b", 1, 'i'), "Found a non-monotonic sequence number"),
        (line("../a", 1, 'i'), "File can't be a path, just a filename"),
        (line("a", 1, 'x'), "Unknown AOF file type"),
    ] {
        let home = Home::new();
        home.write(MANIFEST, text.as_bytes());
        home.refuses(&[says, "Reading the manifest file, at line", "aof-tools repair"]);
    }
}

#[test]
fn row_19_orphans_are_told_and_left() {
    let home = Home::with_log(&[(INCR, &commands("SET a 1"))]);
    home.write("appendonlydir/appendonly.aof.7.base.rdb", b"junk");
    home.write("appendonlydir/appendonly.aof.9.incr.aof", b"junk");
    let before = home.files();
    let started = home.loads("a=1");
    started.says("appendonly.aof.7.base.rdb is not in the manifest");
    started.says("appendonly.aof.9.incr.aof is not in the manifest");
    assert_eq!(home.files(), before);
}

#[test]
fn row_20_a_torn_file_that_is_not_the_last_is_refused_each_time() {
    let torn = &commands("SET a 1|SET b 2")[..40];
    for (first, second) in [(BASE, INCR), (INCR, "appendonly.aof.2.incr.aof")] {
        for last in [&commands("SET c 3")[..], b""] {
            let mut home = Home::with_log(&[(first, torn), (second, last)]);
            home.refuses(&["the truncated file is not the last file", first]);
            home.options.corrupt_tail_max_bytes = 1 << 20;
            home.refuses(&["the truncated file is not the last file", first]);
        }
        let zeros = [commands("SET a 1"), vec![0; 100]].concat();
        Home::with_log(&[(first, &zeros), (second, b"")]).refuses(&["not the last file", first]);
        let open = commands("SET a 1|MULTI|SET b 2");
        Home::with_log(&[(first, &open), (second, b"")]).refuses(&["not the last file", first]);
    }
}

#[test]
fn row_21_empty_increments_are_fine() {
    let third = "appendonly.aof.3.incr.aof";
    let home = Home::with_log(&[(BASE, &commands("SET a 1")), (INCR, b""), (third, &commands("SET b 2"))]);
    home.loads("a=1 b=2").is_calm();
    let home = Home::with_log(&[(INCR, &commands("SET b 2")), (third, b"")]);
    let started = home.loads("b=2");
    assert_eq!(started.recovered.last.as_ref().map(|last| last.bytes), Some(0));
    started.is_calm();
}

/// Writes a dump with one key, made at `at`, as other servers do.
fn dump(home: &Home, key: &str, at: UnixMs) {
    let mut w = Writer::new(Vec::new(), WriterOptions::default());
    let Ok(()) = w.start(Target::Redis70);
    let Ok(()) = w.aux(b"ctime", (at.0 / 1000).to_string().as_bytes());
    let Ok(()) = w.select_db(0);
    let Ok(()) = w.key(ObjectType::String, key.as_bytes());
    let Ok(()) = w.string(b"dump");
    let Ok((bytes, _)) = w.finish();
    home.write("dump.rdb", &bytes);
    set_time(home, "dump.rdb", at);
}

fn set_time(home: &Home, name: &str, at: UnixMs) {
    let file = fs::File::options().write(true).open(home.path(name)).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(at.0 as u64);
    file.set_modified(time).unwrap();
}

fn unix(time: SystemTime) -> UnixMs {
    UnixMs(time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64)
}

/// Writes a dump of this second. When it was begun, not near the end of the second; `None` if the file system
/// does not tell that.
fn dump_now(home: &Home) -> Option<UnixMs> {
    loop {
        let _ = fs::remove_file(home.path("dump.rdb"));
        let now = unix(SystemTime::now());
        dump(home, "d", now);
        let Ok(made) = fs::metadata(home.path("dump.rdb")).unwrap().created() else {
            println!("skipped: the file system does not tell when files were made");
            return None;
        };
        let begun = unix(made);
        if begun.0 % 1000 < 900 && begun.0 / 1000 == now.0 / 1000 {
            return Some(begun);
        }
    }
}

fn seconds(n: i64) -> UnixMs {
    UnixMs(NOW.0 - 1_000_000 + n * 1000)
}

#[test]
fn row_22_a_dump_alone_is_loaded_though_the_log_is_on() {
    let home = Home::new();
    dump(&home, "k", seconds(0));
    let before = home.files();
    let started = home.loads("k=dump");
    assert!(matches!(started.recovered.source, Source::Dump(_)));
    started.says("the first base is made from it");
    assert_eq!(home.files(), before, "the dump is not changed");
}

#[test]
fn row_58_a_log_loads_whatever_the_clock_says() {
    // Keys whose time has passed stay while a log is loaded: what became of them is in the log.
    let log = commands(
        "SET a 1|PEXPIREAT a 1000|APPEND a x|PERSIST a|SET b 2 PXAT 1000|SET c 3|PEXPIREAT c 1000|INCR c",
    );
    let home = Home::with_log(&[(INCR, &log)]);
    let mut started = home.loads("a=1x b=2 c=4");
    while started.engine.expire_step(NOW, 1000).expired > 0 {}
    assert_eq!(started.keys(0), "a=1x");
    let home = Home::with_log(&[(INCR, &commands("SET a 1|EXPIRE a 100|SET b 2 EX 50"))]);
    let started = home.loads("a=1 b=2");
    let db = started.engine.keyspace().db(0);
    assert_eq!(db.expire_at(b"a"), Some(UnixMs(NOW.0 + 100_000)));
    assert_eq!(db.expire_at(b"b"), Some(UnixMs(NOW.0 + 50_000)));
}

#[test]
fn row_59_a_log_of_one_file_moves_to_its_folder() {
    let content = commands("SET a 1|SET b 2");
    let manifest = "file appendonly.aof seq 1 type b";
    let moved = |home: &Home| {
        assert_eq!(home.read("appendonlydir/appendonly.aof"), content);
        assert!(!home.path("appendonly.aof").exists());
        assert!(String::from_utf8(home.read(MANIFEST)).unwrap().starts_with(manifest));
        home.loads("a=1 b=2").is_calm();
    };
    // No folder; a folder and no manifest; a manifest written, and the file not moved yet.
    for state in 0..3 {
        let home = Home::new();
        home.write("appendonly.aof", &content);
        if state > 0 {
            fs::create_dir(home.path("appendonlydir")).unwrap();
        }
        if state > 1 {
            home.write(MANIFEST, format!("{manifest}\n").as_bytes());
        }
        home.loads("a=1 b=2").says("Successfully migrated an old-style AOF file");
        moved(&home);
    }
    // Moved already: the file in the folder counts, and the other stays where it is.
    let home = Home::new();
    home.write("appendonly.aof", &commands("SET c 3"));
    home.write("appendonlydir/appendonly.aof", &content);
    home.write(MANIFEST, format!("{manifest}\n").as_bytes());
    home.loads("a=1 b=2");
    assert_eq!(home.read("appendonly.aof"), commands("SET c 3"));
    // A torn end is cut off before.
    let home = Home::new();
    home.write("appendonly.aof", &[&content[..], b"*1\r\n"].concat());
    home.loads("a=1 b=2");
    assert_eq!(home.read("appendonly.aof.torn-1800000000000"), b"*1\r\n");
    moved(&home);
    // Nobody names the file any more, and it is nowhere.
    let home = Home::new();
    home.write(MANIFEST, format!("{manifest}\n").as_bytes());
    home.refuses(&["appendonly.aof length. stat: No such file or directory"]);
}

#[test]
fn row_60_the_newer_of_a_log_that_was_switched_off_and_a_dump_is_loaded() {
    let marked = |off: UnixMs, appended: &[u8]| {
        let home = Home::with_log(&[(INCR, &commands("SET a 1"))]);
        home.mark(|manifest| {
            manifest.incr[0].marks.off_since = Some(off);
            manifest.incr[0].marks.end = Some(commands("SET a 1").len() as u64);
        });
        home.write(INCR_PATH, &[&commands("SET a 1"), appended].concat());
        set_time(&home, INCR_PATH, off);
        home
    };
    let plain = |off: UnixMs, appended: &[u8]| {
        // The same of a log without checksums: a comment says it.
        let home = marked(off, appended);
        let text = Manifest::parse(&home.read(MANIFEST)).unwrap().format();
        assert!(text.ends_with(format!("#off {} {};", off.0, commands("SET a 1").len()).as_bytes()));
        home.write(MANIFEST, &text);
        home
    };
    for (enabled, has_sums) in [(true, true), (false, true), (true, false), (false, false)] {
        let mut home = if has_sums { marked(seconds(10), b"") } else { plain(seconds(10), b"") };
        home.options.enabled = enabled;
        // No dump: the log, also when it is off.
        home.loads("a=1");
        dump(&home, "d", seconds(9));
        home.loads("a=1");
        dump(&home, "d", seconds(11));
        let started = home.loads("d=dump");
        assert!(matches!(started.recovered.source, Source::Dump(_)));
        assert!(started.recovered.manifest.live().next().is_none());
        // Its files stay until the next base is there, and its numbers are not used again.
        assert_eq!((started.recovered.manifest.history.len(), started.recovered.manifest.incr_seq), (1, 1));
    }
    // Within a second it decides when the file was begun: not when it was whole, and not by the second alone.
    let home = Home::new();
    let Some(begun) = dump_now(&home) else { return };
    let saved = fs::read(home.path("dump.rdb")).unwrap();
    for (off, keys) in [(begun.0 + 1, "a=1"), (begun.0, "d=dump"), (begun.0 - begun.0 % 1000, "d=dump")] {
        let log = marked(UnixMs(off), b"");
        fs::rename(home.path("dump.rdb"), log.path("dump.rdb")).unwrap();
        // It was whole after the log was switched off.
        set_time(&log, "dump.rdb", UnixMs(begun.0 + 50));
        assert_eq!(log.read("dump.rdb"), saved);
        log.loads(keys);
        fs::rename(log.path("dump.rdb"), home.path("dump.rdb")).unwrap();
    }
    // Another server has gone on with the log: the mark is old.
    for home in [marked(seconds(10), &commands("SET b 2")), plain(seconds(10), &commands("SET b 2"))] {
        dump(&home, "d", seconds(11));
        home.loads("a=1 b=2");
    }
}

#[test]
fn row_60_our_own_snapshots_have_an_order_within_a_millisecond() {
    let off = seconds(10);
    let home = Home::with_log(&[(INCR, &commands("SET a 1"))]);
    home.mark(|manifest| {
        manifest.incr[0].marks.off_since = Some(off);
        manifest.incr[0].marks.end = Some(commands("SET a 1").len() as u64);
    });
    let mut engine = Engine::new(fresh::config(&home.options.rdb_path), off);
    engine.keyspace_mut().db_mut(0).set_str(b"d", b"dump", None);
    // What the disk says of its times says nothing here.
    engine.save(off, 0).unwrap();
    home.loads("a=1");
    engine.save(off, 0).unwrap();
    set_time(&home, "dump.rdb", seconds(1));
    home.loads("d=dump");
    // Nor does a clock that was set back.
    engine.save(seconds(3), 0).unwrap();
    home.loads("d=dump");
}

#[test]
fn row_60_with_the_log_off_the_newer_data_are_loaded() {
    let mut home = Home::with_log(&[(INCR, &commands("SET a 1"))]);
    home.options.enabled = false;
    let before = home.files();
    let started = home.loads("a=1");
    started.says("IT IS LOADED");
    assert_eq!(home.files(), before, "a log that is off is not changed");
    dump(&home, "d", seconds(10));
    set_time(&home, INCR_PATH, seconds(9));
    home.loads("d=dump");
    set_time(&home, INCR_PATH, seconds(11));
    home.loads("a=1").says("it has newer data");
    // A torn end is only told then.
    home.write(INCR_PATH, &commands("SET a 1|SET b 2")[..30]);
    set_time(&home, INCR_PATH, seconds(11));
    let before = home.files();
    assert_eq!(home.loads("a=1").recovered.torn.unwrap().saved_as, None);
    assert_eq!(home.files(), before);
    // Within a second it decides when the dump was begun, not when it was whole.
    home.write(INCR_PATH, &commands("SET a 1"));
    if let Some(begun) = dump_now(&home) {
        set_time(&home, "dump.rdb", UnixMs(begun.0 + 50));
        set_time(&home, INCR_PATH, UnixMs(begun.0 - 1));
        home.loads("d=dump");
        set_time(&home, INCR_PATH, UnixMs(begun.0 + 1));
        home.loads("a=1");
        fs::remove_file(home.path("dump.rdb")).unwrap();
    }
    dump(&home, "d", seconds(10));
    // Damage is no reason to take what is older, and no matter when it is older itself.
    home.write(INCR_PATH, b"!!!");
    set_time(&home, INCR_PATH, seconds(11));
    home.refuses(&["Bad file format"]);
    home.write(MANIFEST, b"!!!\n");
    home.refuses(&["FATAL AOF MANIFEST FILE ERROR"]);
    set_time(&home, INCR_PATH, seconds(9));
    home.loads("d=dump").says("cannot be used");
}

#[test]
fn row_61_a_folder_that_is_none_is_refused() {
    let home = Home::new();
    home.write("appendonlydir", b"a file");
    home.refuses(&["Can't open append-only dir", "not a directory"]);
    // A link to a folder elsewhere is a folder.
    let elsewhere = Home::with_log(&[(INCR, &commands("SET a 1"))]);
    let home = Home::new();
    std::os::unix::fs::symlink(elsewhere.path("appendonlydir"), home.path("appendonlydir")).unwrap();
    home.loads("a=1").is_calm();
}

#[test]
fn row_62_manifests_with_comments_and_further_pairs_are_read() {
    let home = Home::with_log(&[(INCR, &commands("SET a 1"))]);
    let text = format!("# a comment\r\n  file {INCR} seq 1 type i startoffset 7 key \"a b\"\r\n");
    home.write(MANIFEST, text.as_bytes());
    let started = home.loads("a=1");
    started.is_calm();
    assert_eq!(started.recovered.manifest.incr[0].extra_number("startoffset"), Some(7));
}

#[test]
fn beyond_whole_blocks_that_are_missing_at_the_end_show_in_the_manifest() {
    let first = blocks(&["SET a 1"], synced);
    let log = blocks(&["SET a 1", "SET b 2"], synced);
    let home = Home::with_log(&[(INCR, &first)]);
    home.loads("a=1").is_calm();
    home.mark(|manifest| manifest.incr[0].marks.end = Some(log.len() as u64));
    home.refuses(&[&format!("{} bytes, and the manifest says at least {}", first.len(), log.len())]);
    // What a clean shutdown left is whole: nothing of it is a torn end.
    for cut in first.len()..log.len() {
        home.write(INCR_PATH, &[&log[..cut], &vec![0; log.len() - cut]].concat());
        home.refuses(&[&format!("offset {}", first.len()), "the manifest says"]);
    }
}

#[test]
fn beyond_what_is_kept_of_a_torn_end_is_not_its_reserve() {
    let log = blocks(&["SET a 1", "SET b 22"], synced);
    let (first, end) = (blocks(&["SET a 1"], synced).len(), log.len() - 4);
    let mut file = log[..end].to_vec();
    reserve::push(&mut file, end as u64..512 << 10, false);
    let home = Home::with_log(&[(INCR, &file)]);
    let started = home.loads("a=1");
    let torn = started.recovered.torn.as_ref().unwrap();
    assert_eq!((torn.at, torn.bytes), (first as u64, (end - first) as u64));
    assert_eq!(home.read(TORN), &log[first..end]);
    assert_eq!(home.read(INCR_PATH), &log[..first]);
    // The reserve is no part of a damaged end either.
    let mut damaged = log.clone();
    damaged[first + 40] ^= 1;
    reserve::push(&mut damaged, log.len() as u64..512 << 10, true);
    let mut home = Home::with_log(&[(INCR, &damaged)]);
    home.options.corrupt_tail_max_bytes = (log.len() - first) as u64 - 1;
    home.refuses(&["bytes are more than aof-load-corrupt-tail-max-size allows"]);
    home.options.corrupt_tail_max_bytes += 1;
    home.loads("a=1");
    assert_eq!(home.read(TORN), &damaged[first..log.len()]);
}

#[test]
fn beyond_a_reserve_may_lie_in_front_of_another_file() {
    // Another server has begun the next file, and knows of no reserve to cut off.
    let second = "appendonly.aof.2.incr.aof";
    let mut first = blocks(&["SET a 1"], synced);
    let end = first.len() as u64;
    reserve::push(&mut first, end..4096, true);
    let home = Home::with_log(&[(INCR, &first), (second, &commands("SET b 2"))]);
    let manifest = home.loads("a=1 b=2").recovered.manifest;
    assert_eq!((manifest.incr[0].marks.size, manifest.incr[0].marks.crc64), closed(&first));
    home.mark(|marked| *marked = manifest);
    home.loads("a=1 b=2").is_calm();
    home.write(INCR_PATH, &blocks(&["SET a 1"], synced));
    home.refuses(&["and the manifest says 4096"]);
    first[4000] = b'=';
    home.write(INCR_PATH, &first);
    home.refuses(&["checksum"]);
}

#[test]
fn beyond_closed_files_have_their_size_and_sum() {
    let second = "appendonly.aof.2.incr.aof";
    let log = commands("SET a 1|SET b 2");
    let home = Home::with_log(&[(BASE, &commands("SET c 3")), (INCR, &log), (second, b"")]);
    home.mark(|manifest| {
        (manifest.incr[0].marks.size, manifest.incr[0].marks.crc64) = closed(&log);
        let base = manifest.base.as_mut().unwrap();
        (base.marks.size, base.marks.crc64) = closed(&commands("SET c 3"));
    });
    home.loads("a=1 b=2 c=3").is_calm();
    for (path, content) in
        [(INCR_PATH, log), ("appendonlydir/appendonly.aof.1.base.aof", commands("SET c 3"))]
    {
        for at in 0..content.len() {
            let mut bad = content.clone();
            bad[at] ^= 1;
            home.write(path, &bad);
            home.refuses(&[]);
            home.write(path, &content[..at]);
            home.refuses(&["and the manifest says"]);
        }
        home.write(path, &[&content[..], b"*"].concat());
        home.refuses(&["and the manifest says"]);
        home.write(path, &content);
    }
}

#[test]
fn beyond_a_power_cut_may_leave_later_blocks_and_not_earlier_ones() {
    // What was not synced yet may be there in any part: the first hole is the end.
    let log = blocks(&["SET a 1", "SET b 22222222", "SET c 3"], |at| Some(at.min(48)));
    let second = blocks(&["SET a 1"], synced).len();
    let mut hole = log.clone();
    hole[second..second + 40].fill(0);
    let home = Home::with_log(&[(INCR, &hole)]);
    home.loads("a=1");
    assert_eq!(home.read(INCR_PATH), &log[..second]);
    assert_eq!(home.read(TORN), &hole[second..]);
    // What had been synced cannot be a hole.
    let log = blocks(&["SET a 1", "SET b 22222222", "SET c 3"], Some);
    let mut hole = log;
    hole[second..second + 40].fill(0);
    let home = Home::with_log(&[(INCR, &hole)]);
    home.refuses(&[&format!("offset {second}"), "bytes were on disk before it"]);
    // Nobody knows, when nobody syncs.
    let mut hole = blocks(&["SET a 1", "SET b 22222222", "SET c 3"], |_| None);
    hole[second..second + 30].fill(0);
    let home = Home::with_log(&[(INCR, &hole)]);
    home.refuses(&[&format!("offset {second}"), "a whole block follows"]);
}

#[test]
fn beyond_another_server_may_go_on_with_a_checked_log() {
    let ours = blocks(&["SET a 1"], synced);
    let home = Home::with_log(&[(INCR, &[&ours[..], &commands("SELECT 0|SET b 2")].concat())]);
    home.mark(|manifest| manifest.incr[0].marks.end = Some(ours.len() as u64));
    home.loads("a=1 b=2").says("goes on with commands of another server");
    // And we after it.
    let mut log = home.read(INCR_PATH);
    let mut pending = cairn_engine::codec::aof::block::Pending::new();
    pending.body_mut().extend_from_slice(&commands("SET c 3"));
    let at = log.len() as u64;
    log.extend_from_slice(pending.seal(at, Some(at)));
    home.write(INCR_PATH, &log);
    home.loads("a=1 b=2 c=3");
    // Theirs are torn by their rules, unless a block of ours shows that they were whole.
    home.write(INCR_PATH, &log[..ours.len() + 30]);
    home.loads("a=1");
    log.drain(ours.len() + 30..ours.len() + 31);
    home.write(INCR_PATH, &log);
    home.refuses(&["Bad file format"]);
}

#[test]
fn beyond_what_sessions_do_is_no_part_of_the_data() {
    let home = Home::with_log(&[(
        INCR,
        &commands("publish c m|SET a 1|MULTI|publish c m|SET b 2|EXEC|SCRIPT FLUSH"),
    )]);
    let started = home.loads("a=1 b=2");
    assert_eq!((started.recovered.commands, started.recovered.errors), (2, 0));
}

#[test]
fn beyond_transactions_in_a_transaction_are_errors_as_in_a_session() {
    let home =
        Home::with_log(&[(INCR, &commands("MULTI|SET a 1|MULTI|SET b 2|EXEC|EXEC|MULTI|SET c 3|DISCARD"))]);
    let started = home.loads("a=1 b=2");
    assert_eq!(started.recovered.errors, 2);
}

#[test]
fn beyond_long_values_and_many_commands_cross_the_pieces_that_are_read() {
    let mut log = Vec::new();
    let mut expected = Vec::new();
    for i in 0..3000 {
        let value = "v".repeat(if i % 700 == 0 { 300_000 } else { i % 40 });
        let text = if value.is_empty() { format!("SET k{i:04} -") } else { format!("SET k{i:04} {value}") };
        let transaction = format!("MULTI|{text}|SET last {i}|EXEC");
        log.extend_from_slice(&commands(if i % 3 == 0 { &transaction } else { &text }));
        expected.push(format!("k{i:04}={}", text.split(' ').nth(2).unwrap()));
    }
    expected.push("last=2997".to_owned());
    let home = Home::with_log(&[(INCR, &log)]);
    let started = home.loads(&expected.join(" "));
    assert_eq!(started.recovered.commands, 4000);
    let last = started.progress.last().unwrap();
    assert_eq!((last.bytes, last.total_bytes), (log.len() as u64, log.len() as u64));
    let last = started.recovered.last.unwrap();
    assert_eq!((Some(last.bytes), Some(last.crc64)), closed(&log));
}

#[test]
fn beyond_two_threads_load_the_same_as_one() {
    const BYTES: usize = 3 << 19;
    let mut rng = Rng::new(77);
    let mut log = Vec::new();
    let mut pick = |choices: &[&str]| choices[rng.index(choices.len())].to_owned();
    let mut i = 0;
    let mut blocks = Vec::new();
    while log.len() < BYTES {
        let key = format!(
            "{}{}",
            pick(&["a", "b", "c", "k"]),
            pick(&["", "1", "22", "333"]) + &(i % 700).to_string()
        );
        let value = pick(&["x", "17", "a longer-value-than-the-others", "0.25"]).replace(' ', "-");
        let command = match i % 13 {
            0 => format!("SET {key} {value}"),
            1 => format!("SET {key} {value}|APPEND {key} {i}|PEXPIREAT {key} {}", 4_102_444_800_000i64 + i),
            2 => format!("HSET h{key} f{i} {value} g 1|HSET h{key} f 2"),
            3 => format!("ZADD z{key} {i} {value} {}.5 m{i}", i % 9),
            4 => format!("RPUSH l{key} {value} {i}|LPUSH l{key} front"),
            5 => format!("SADD s{key} {i} {value}"),
            6 => format!("DEL {key} h{key}"),
            7 => format!("MULTI|INCR n{}|SET {key} tx|EXEC", i % 50),
            8 => format!("XADD x{key} {i}-1 f {value}"),
            9 => format!("SELECT {}", i % 3),
            10 => format!("SET l{key} now-a-string|LPUSH l{key} fails"),
            11 => format!("INCRBY n{} 5|SETRANGE r{key} 3 {value}", i % 50),
            _ => format!("SREM s{key} {i}|HPEXPIREAT h{key} 4102444800000 FIELDS 1 g"),
        };
        i += 1;
        log.extend_from_slice(&commands(&command));
        blocks.push(command);
    }
    let texts: Vec<&str> = blocks.iter().map(String::as_str).collect();
    for log in [log, super::support::blocks(&texts, synced)] {
        let home = Home::with_log(&[(INCR, &log)]);
        let run = |apart| {
            let mut config = fresh::config(&home.options.rdb_path);
            config.apart = apart;
            let started = home.start_with(config).unwrap();
            let Started { engine, recovered, notes, .. } = started;
            let told: Vec<String> =
                notes.into_iter().map(|note| note.text).filter(|text| !text.contains("seconds")).collect();
            (engine.digest(), engine.keyspace().keys(), recovered, told)
        };
        let alone = run(Apart::Here);
        assert!(alone.1 > 1000 && alone.2.errors > 100, "{} keys, {} errors", alone.1, alone.2.errors);
        assert!(alone == run(Apart::ForkAndThreads));
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(96))]
    #[test]
    fn beyond_any_bytes_are_loaded_or_refused_and_a_refusal_changes_nothing(
        edits in proptest::collection::vec((0usize..2000, proptest::prelude::any::<u8>(), 0u8..4), 0..6),
        in_blocks in proptest::prelude::any::<bool>(),
        last in proptest::prelude::any::<bool>(),
    ) {
        let text = "SET a 1|MULTI|HSET h f v|EXEC|ZADD z 1 m|SELECT 1|XADD x 1-1 f v|RPUSH l a b";
        let mut log = match in_blocks {
            true => blocks(&[text, "SET b 2", text], Some),
            false => commands(text),
        };
        for (at, byte, kind) in edits {
            let at = at % log.len().max(1);
            match kind {
                0 if !log.is_empty() => log[at] = byte,
                1 => log.truncate(at),
                2 => log.insert(at.min(log.len()), byte),
                _ => log.extend_from_slice(&[byte; 5]),
            }
        }
        let home = match last {
            true => Home::with_log(&[(INCR, &log)]),
            false => Home::with_log(&[(INCR, &log), ("appendonly.aof.2.incr.aof", b"")]),
        };
        let before = home.files();
        match home.start() {
            Ok(started) => {
                // What is left is all right.
                let again = home.start().unwrap_or_else(|refusal| panic!("loaded, and then: {refusal}"));
                assert_eq!(again.engine.digest(), started.engine.digest());
                assert!(again.recovered.torn.is_none());
            }
            Err(refusal) => {
                assert_eq!(home.files(), before, "a refusal changes no file");
                assert_eq!(home.start().err(), Some(refusal));
            }
        }
    }
}
