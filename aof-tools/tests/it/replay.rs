//! `aof-tools replay`, `compact` and `convert`: what comes out, what is refused, and that nothing that is read
//! is changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cairn_engine::codec::aof::{block, record};
use rdb_tools::cmd::Reading;
use rdb_tools::fold::{Log, Options, fold};
use rdb_tools::jsonl::{self, Jsonl};

use crate::support::{aof_tools, copy_folder, run as run_tool, testdata};

/// The keys of a log or an RDB file, `db/key` to value.
fn data(path: &Path) -> BTreeMap<String, String> {
    let log = Log::open(path).unwrap_or_else(|e| panic!("{e:#}"));
    let mut out = Vec::new();
    let mut sink = Jsonl::new(&mut out, jsonl::Options { raw_modules: false, sorted: true });
    let options = Options::new(Reading { no_mmap: false, no_progress: true });
    fold(&log, &options, &mut sink).unwrap_or_else(|stop| panic!("{stop:?}"));
    drop(sink);
    let text = String::from_utf8(out).expect("a dump is ASCII");
    let keys = text.lines().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let name = format!("{}/{}", line["db"], line["key"].as_str().expect("text"));
        // A log without them makes consumers that were seen when it was run; old versions do not count entries.
        let mut value = line["value"].clone();
        if let Some(stream) = value.as_object_mut().filter(|value| value.contains_key("entries")) {
            stream
                .retain(|name, _| !["entries_added", "first_id", "max_deleted_id"].contains(&name.as_str()));
        }
        for group in value.get_mut("groups").and_then(|v| v.as_array_mut()).into_iter().flatten() {
            group.as_object_mut().expect("an object").remove("entries_read");
            for consumer in group["consumers"].as_array_mut().into_iter().flatten() {
                consumer["seen_time"] = 0.into();
                consumer.as_object_mut().expect("an object").remove("active_time");
            }
        }
        (name, format!("{value}{}", line["pexpireat"]))
    });
    keys.filter(|(name, _)| !name.starts_with("null/")).collect()
}

fn names(data: &BTreeMap<String, String>) -> String {
    data.keys().map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// Commands in lines of words; a line that starts with `#` is an annotation.
fn commands(lines: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.strip_prefix("#TS:") {
            Some(time) => record::push_timestamp(&mut out, time.parse().expect("a number")),
            None => record::push_command(&mut out, line.split(' ').map(str::as_bytes).collect::<Vec<_>>()),
        }
    }
    out
}

/// A log with a base of commands and these increments, in a folder of its own.
fn log_of(incrs: &[&str]) -> tempfile::TempDir {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join("log");
    fs::create_dir(&folder).expect("a folder");
    fs::write(folder.join("a.aof.1.base.aof"), commands("SELECT 0\nSET base 1\nSELECT 3\nSET base3 1"))
        .expect("written");
    let mut manifest = "file a.aof.1.base.aof seq 1 type b\n".to_owned();
    for (number, lines) in (1..).zip(incrs) {
        fs::write(folder.join(format!("a.aof.{number}.incr.aof")), commands(lines)).expect("written");
        manifest += &format!("file a.aof.{number}.incr.aof seq {number} type i startoffset 5\n");
    }
    fs::write(folder.join("a.aof.manifest"), manifest).expect("written");
    home
}

fn three() -> tempfile::TempDir {
    log_of(&[
        "#TS:100\nSELECT 0\nSET a 1\n#TS:200\nMULTI\nSET b 1\nSET c 1\nEXEC",
        "#TS:300\nSELECT 0\nSET d 1\nFLUSHALL\n#TS:400\nSET e 1",
        "SELECT 3\nSET f 1\n#TS:500\nDEL e user:1\nSET g 1",
    ])
}

/// Runs a subcommand; answers what it says.
#[track_caller]
fn run(home: &Path, args: &[&str], code: i32) -> String {
    let before = contents(&home.join("log"));
    let output = aof_tools(home, args);
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
    assert_eq!(before, contents(&home.join("log")), "what is read is never changed");
    let left = fs::read_dir(home).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let hidden: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with('.')).collect();
    assert!(hidden.is_empty(), "left behind: {hidden:?}");
    told
}

fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let Ok(entries) = fs::read_dir(folder) else { return BTreeMap::new() };
    let files = entries.map(|entry| entry.expect("an entry").path());
    files.map(|path| (path.clone(), fs::read(&path).unwrap_or_default())).collect()
}

#[track_caller]
fn replayed(home: &Path, args: &[&str]) -> String {
    let _ = fs::remove_dir_all(home.join("new"));
    run(home, &[&["replay", "log", "-o", "new"], args].concat(), 0);
    names(&data(&home.join("new")))
}

#[test]
fn a_log_is_restored_to_a_time_over_several_files() {
    let home = three();
    let home = home.path();
    assert_eq!(replayed(home, &["--until", "50"]), "0/base 3/base3");
    assert_eq!(replayed(home, &["--until", "100"]), "0/a 0/base 3/base3");
    assert_eq!(replayed(home, &["--until", "1970-01-01T00:03:20Z"]), "0/a 0/b 0/base 0/c 3/base3");
    assert_eq!(replayed(home, &["--until", "399"]), "");
    let manifest = fs::read_to_string(home.join("new/a.aof.manifest")).expect("a manifest");
    let expected = "file a.aof.1.base.aof seq 1 type b\nfile a.aof.1.incr.aof seq 1 type i\n\
                    file a.aof.2.incr.aof seq 2 type i\n";
    assert_eq!(manifest, expected);
    assert_eq!(replayed(home, &["--until", "1970-01-01 00:07:00"]), "0/e 3/f");
    assert_eq!(replayed(home, &["--until", "500"]), "0/e 3/f 3/g");
    assert_eq!(replayed(home, &[]), "0/e 3/f 3/g");
}

#[test]
fn what_is_cut_is_told_and_a_dry_run_writes_nothing() {
    let home = three();
    let told = run(home.path(), &["replay", "log", "--dry-run", "--until", "before FLUSHALL"], 0);
    let expected = "cut at a.aof.2.incr.aof:59\n\
                    \x20 a.aof.1.base.aof: kept, 107 bytes, 4 commands\n\
                    \x20 a.aof.1.incr.aof: kept, 151 bytes, 6 commands\n\
                    \x20 a.aof.2.incr.aof: kept 59 of 113 bytes, 2 of 4 commands\n\
                    \x20 a.aof.3.incr.aof: dropped, 118 bytes, 4 commands\n\
                    dropped: 6 commands, 172 bytes, from 1970-01-01T00:06:40Z to 1970-01-01T00:08:20Z: SET 3, DEL 1, \
                    FLUSHALL 1, SELECT 1\n\
                    the last second that is kept: 1970-01-01T00:05:00Z\n";
    assert_eq!(told, expected);
    let told = run(home.path(), &["replay", "log", "--dry-run", "--json", "--until", "before FLUSHALL"], 0);
    let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(told["file"], "a.aof.2.incr.aof");
    assert_eq!(told["offset"], 59);
    assert_eq!(told["files"][2]["kept_commands"], 2);
    assert_eq!(told["dropped"]["FLUSHALL"], 1);
    assert_eq!(told["dropped_from"], 400);
    assert_eq!(fs::read_dir(home.path()).expect("a folder").count(), 1);
}

#[test]
fn logs_come_through_pipes() {
    let home = log_of(&[]);
    let input = String::from_utf8(commands("SET a 1\nFLUSHALL\nSET b 2")).expect("is text");
    let tool = Path::new(env!("CARGO_BIN_EXE_aof-tools"));
    let pipe = |args: &[&str]| run_tool(tool, "aof-tools", home.path(), args, &input);
    let output = pipe(&["replay", "-", "--until", "before FLUSHALL", "-o", "-"]);
    assert!(output.status.success() && output.stdout.starts_with(b"REDIS"), "{output:?}");
    fs::write(home.path().join("out.rdb"), output.stdout).expect("written");
    assert_eq!(names(&data(&home.path().join("out.rdb"))), "0/a");
    assert!(pipe(&["compact", "-", "-o", "new"]).status.success());
    assert_eq!(names(&data(&home.path().join("new"))), "0/b");
}

#[test]
fn a_log_is_restored_to_a_command_or_a_place() {
    let home = three();
    let home = home.path();
    let first = "0/a 0/b 0/base 0/c 0/d 3/base3";
    assert_eq!(replayed(home, &["--until", "before FLUSHALL"]), first);
    assert_eq!(replayed(home, &["--until", "before set d"]), "0/a 0/b 0/base 0/c 3/base3");
    assert_eq!(replayed(home, &["--until", "before DEL user:*"]), "0/e 3/f");
    assert_eq!(replayed(home, &["--until", "before SET #last"]), "0/e 3/f");
    assert_eq!(replayed(home, &["--until", "before SET #5"]), "");
    assert_eq!(replayed(home, &["--until", "a.aof.2.incr.aof:59"]), first);
    assert_eq!(
        replayed(home, &["--until", "a.aof.2.incr.aof:65"]),
        first,
        "inside a command: in front of it"
    );
    let offset = format!("offset:{}", 107 + 151 + 59);
    assert_eq!(replayed(home, &["--until", &offset]), first);
    assert_eq!(replayed(home, &["--until", "a.aof.3.incr.aof:0"]), "0/e");
    assert_eq!(replayed(home, &["--until", "a.aof.2.incr.aof:113"]), "0/e");
    let refused = |until: &str, part: &str| {
        let told = run(home, &["replay", "log", "-o", "none", "--until", until], 2);
        assert!(told.contains(part), "{told}");
        assert!(!home.join("none").exists());
    };
    refused("before SET", "there are 7 such commands; add #1, #2");
    refused("before SET #8", "there are only 7 such commands");
    refused("before HSET", "there is no such command");
    refused("a.aof.1.base.aof:30", "a base cannot be cut");
    refused("b.aof:30", "no file \"b.aof\"");
    refused("a.aof.2.incr.aof:114", "has only 113 bytes");
    refused("offset:9999", "all files together have only");
}

#[test]
fn a_cut_inside_a_transaction_drops_all_of_it() {
    let home = three();
    let home = home.path();
    assert_eq!(replayed(home, &["--until", "before SET c"]), "0/a 0/base 3/base3");
    assert_eq!(replayed(home, &["--until", "a.aof.1.incr.aof:130"]), "0/a 0/base 3/base3");
    let told = run(home, &["replay", "log", "--dry-run", "--until", "before SET c"], 0);
    assert!(told.contains("in front of the transaction that was not ended at offset"), "{told}");
    // A transaction without an end at the end of the log goes as well.
    let home = log_of(&["SELECT 0\nSET a 1\nMULTI\nSET b 1"]);
    assert_eq!(replayed(home.path(), &[]), "0/a 0/base 3/base3");
    let incr = fs::read(home.path().join("new/a.aof.1.incr.aof")).expect("an increment");
    assert_eq!(incr, commands("SELECT 0\nSET a 1"));
}

#[test]
fn a_log_without_times_says_so() {
    let home = log_of(&["SELECT 0\nSET a 1"]);
    let told = run(home.path(), &["replay", "log", "--dry-run", "--until", "2026-01-01"], 2);
    assert!(told.contains("the log has no timestamps"), "{told}");
}

#[test]
fn commands_are_left_out() {
    let home = three();
    let home = home.path();
    let all = "0/a 0/b 0/base 0/c 0/d 0/e 3/base3 3/f 3/g";
    assert_eq!(replayed(home, &["--exclude", "flushall"]), all);
    assert_eq!(
        replayed(home, &["--exclude", "FLUSHALL", "--exclude", "set [cd]", "--exclude", "del user:*"]),
        "0/a 0/b 0/base 0/e 3/base3 3/f 3/g"
    );
    let told = run(home, &["replay", "log", "--dry-run", "--exclude", "FLUSHALL"], 0);
    assert!(told.contains("left out: FLUSHALL 1"), "{told}");
    run(home, &["replay", "log", "--exclude", "FLUSHALL", "-o", "all.rdb"], 0);
    assert_eq!(names(&data(&home.join("all.rdb"))), all);
    run(home, &["replay", "log", "--exclude", "EXEC", "-o", "x"], 2);
}

#[test]
fn databases_count_as_others() {
    let home = log_of(&["SELECT 3\nSET a 1\nSELECT 0\nMOVE base 5"]);
    let home = home.path();
    assert_eq!(replayed(home, &["--rewrite-db", "3:0"]), "0/a 0/base3 5/base");
    assert_eq!(replayed(home, &["--rewrite-db", "3:0", "--rewrite-db", "0:3"]), "0/a 0/base3 5/base");
    let told = run(home, &["replay", "log", "-o", "x", "--rewrite-db", "5:0"], 1);
    assert!(told.contains("a.aof.1.incr.aof: offset") && told.contains("same"), "{told}");
    assert!(!home.join("x").exists());
}

#[test]
fn outputs_in_the_way_stay() {
    let home = three();
    let home = home.path();
    fs::create_dir(home.join("there")).expect("a folder");
    run(home, &["replay", "log", "-o", "there"], 0);
    let told = run(home, &["compact", "log", "-o", "there"], 2);
    assert!(told.contains("--force replaces it"), "{told}");
    run(home, &["compact", "log", "-o", "there", "--force"], 0);
    assert_eq!(names(&data(&home.join("there"))), "0/e 3/f 3/g");
    fs::write(home.join("there/notes.txt"), "mine").expect("written");
    let told = run(home, &["compact", "log", "-o", "there", "--force"], 2);
    assert!(told.contains("has more in it than a log (\"notes.txt\")"), "{told}");
    let told = run(home, &["compact", "log", "-o", "log", "--force"], 2);
    assert!(told.contains("an input is never changed"), "{told}");
    let told = run(home, &["convert", "log", "-o", "log/a.aof.1.base.aof", "--force", "--to", "rdb"], 2);
    assert!(told.contains("an input is never changed"), "{told}");
}

#[test]
fn a_checked_block_is_cut() {
    let home = log_of(&[]);
    let folder = home.path().join("log");
    let (mut file, mut ends) = (Vec::new(), Vec::new());
    for lines in ["SELECT 0\nSET a 1", "SET b 1\nSET c 1\nMULTI\nSET d 1\nEXEC", "SET e 1"] {
        let body = commands(lines);
        let at = file.len() as u64;
        block::push_line(&mut file, at, Some(at), &body);
        file.extend_from_slice(&body);
        ends.push(file.len());
    }
    fs::write(folder.join("a.aof.1.incr.aof"), &file).expect("written");
    let manifest = "file a.aof.1.base.aof seq 1 type b\nfile a.aof.1.incr.aof seq 1 type i\n";
    fs::write(folder.join("a.aof.manifest"), manifest).expect("written");
    for (until, keys, len) in [
        ("before SET b", "0/a 0/base 3/base3", Some(ends[0])),
        ("before SET c", "0/a 0/b 0/base 3/base3", None),
        ("before SET d", "0/a 0/b 0/base 0/c 3/base3", None),
        ("before SET e", "0/a 0/b 0/base 0/c 0/d 3/base3", Some(ends[1])),
    ] {
        // Reading it again verifies the sums of its blocks.
        assert_eq!(replayed(home.path(), &["--until", until]), keys);
        let new = fs::read(home.path().join("new/a.aof.1.incr.aof")).expect("an increment");
        assert!(len.is_none_or(|len| new == file[..len]), "{until}");
        assert!(new.ends_with(b"\r\n") && new.starts_with(b"#CK:"));
    }
    assert_eq!(replayed(home.path(), &["--exclude", "SET b"]), "0/a 0/base 0/c 0/d 0/e 3/base3");
    let at = ends[1] - 3;
    file[at] ^= 1;
    fs::write(folder.join("a.aof.1.incr.aof"), &file).expect("written");
    let told = run(home.path(), &["compact", "log", "-o", "bad"], 1);
    assert!(told.contains("a.aof.1.incr.aof: offset") && !home.path().join("bad").exists(), "{told}");
}

#[test]
fn every_form_holds_the_same() {
    for set in [
        "redis-7.0.15-preamble",
        "valkey-9.1.2-nopreamble",
        "redis-6.0.16-single-preamble",
        "redis-6.0.16-single",
    ] {
        let home = tempfile::tempdir().expect("a folder");
        let home = home.path();
        copy_folder(&testdata().join("aof").join(set), &home.join("log"));
        let expected = data(&home.join("log"));
        assert!(expected.len() > 5, "{set}");
        for args in [
            &["compact", "log", "-o", "set"][..],
            &["replay", "log", "-o", "copy"],
            &["replay", "log", "-o", "copy.aof"],
            &["convert", "log", "-o", "one.rdb"],
            &["convert", "one.rdb", "-o", "again"],
            &["convert", "again", "-o", "one.aof"],
            &["compact", "one.aof", "-o", "last.rdb"],
            &["compact", "log", "-o", "said", "--base-format", "commands"],
            &["convert", "one.rdb", "-o", "said.aof", "--base-format", "commands"],
        ] {
            run(home, args, 0);
            let got = data(&home.join(args[3]));
            let differing = expected.iter().find(|(key, value)| got.get(*key) != Some(*value));
            assert!(got.len() == expected.len(), "{set}: {args:?}");
            let shown = differing.map(|(key, value)| format!("{key}\n{value}\n{:?}", got.get(key)));
            assert!(shown.is_none(), "{set}: {args:?}: {}", shown.unwrap_or_default());
        }
    }
}

#[test]
fn bad_commands_are_named_and_skipped_on_demand() {
    let home = log_of(&["SELECT 0\nSET a 1\nFCALL x 0\nLPUSH a 1\nSET b 1\nNOSUCH 1"]);
    let home = home.path();
    let told = run(home, &["compact", "log", "-o", "new"], 1);
    assert!(told.contains("a.aof.1.incr.aof: offset 50: 'FCALL' needs"), "{told}");
    let told = run(home, &["compact", "log", "-o", "new", "--skip-bad"], 1);
    assert!(
        told.contains("lpush answers: WRONGTYPE") && told.contains("unknown command \"NOSUCH\""),
        "{told}"
    );
    assert_eq!(names(&data(&home.join("new"))), "0/a 0/b 0/base 3/base3");
}
