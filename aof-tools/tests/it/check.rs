//! `aof-tools check` on logs of real servers, damaged files, and folders in disorder.

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::support::{aof_tools, copy_folder, fixtures, testdata};

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn good_log() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    copy_folder(&testdata().join("aof/redis-7.0.15-preamble"), folder.path());
    folder
}

#[track_caller]
fn check(folder: &Path, args: &[&str], code: i32, lines: &[&str]) -> String {
    let output = aof_tools(folder, &[&["check"], args].concat());
    let text = stdout(&output) + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for line in lines {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
    text
}

#[test]
fn logs_of_real_servers_are_clean() {
    let folder = testdata().join("aof");
    for entry in fs::read_dir(&folder).expect("testdata") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            let name = path.file_name().and_then(|n| n.to_str()).expect("an ASCII name");
            let code = i32::from(name.contains("truncated"));
            let verdict = if code == 0 { ": ok\n" } else { ": 1 fault\n" };
            check(&folder, &[name], code, &[verdict]);
            check(&folder, &["--no-mmap", "--quick", name], code, &[verdict]);
        }
    }
}

#[test]
fn logs_of_every_producer_are_clean() {
    let Some(fixtures) = fixtures("logs_of_every_producer_are_clean") else { return };
    let mut checked = 0;
    for producer in fs::read_dir(fixtures.join("made")).expect("the folder of producers") {
        let producer = producer.expect("an entry").path();
        if !producer.is_dir() {
            continue;
        }
        for log in fs::read_dir(&producer).expect("a producer") {
            let log = log.expect("an entry").path();
            if log.is_dir() {
                let name = log.file_name().and_then(|n| n.to_str()).expect("an ASCII name");
                check(&producer, &[name], i32::from(name.contains("truncated")), &[]);
                checked += 1;
            }
        }
    }
    assert!(checked > 80, "{checked}");
}

#[test]
fn damaged_logs_are_told() {
    let folder = testdata().join("corrupt");
    let index = fs::read_to_string(folder.join("index.tsv")).expect("the index");
    let mut checked = 0;
    for row in index.lines().filter(|row| row.starts_with("aof/")) {
        let columns: Vec<&str> = row.split('\t').collect();
        let output = aof_tools(&folder, &["check", columns[0]]);
        match columns[2] {
            "good" => assert_eq!(output.status.code(), Some(0), "{row}\n{}", stdout(&output)),
            "either" | "server" => {}
            _ => assert_eq!(output.status.code(), Some(1), "{row}\n{}", stdout(&output)),
        }
        if columns[2] == "refuse" {
            assert!(stdout(&output).contains("servers refuse to start"), "{row}\n{}", stdout(&output));
        }
        checked += 1;
    }
    assert!(checked > 30, "{checked}");
}

#[test]
fn a_folder_in_disorder_is_told_at_once() {
    let log = good_log();
    let inner = log.path().join("appendonlydir");
    fs::write(inner.join("appendonly.aof.1.incr.aof"), "").expect("write");
    fs::write(inner.join("temp-appendonly.aof.manifest"), "").expect("write");
    fs::write(inner.join("notes.txt"), "").expect("write");
    fs::remove_file(inner.join("appendonly.aof.2.base.rdb")).expect("remove");
    let text = check(
        log.path(),
        &["appendonlydir"],
        1,
        &[
            "appendonly.aof.2.base.rdb: the manifest names it, and it is not there [servers refuse to start]\n",
            "appendonly.aof.1.incr.aof: looks like a part of the log",
            "temp-appendonly.aof.manifest: left over",
            "appendonly.aof.manifest: 3 faults\n",
        ],
    );
    assert!(!text.contains("notes.txt"), "{text}");
    fs::remove_file(inner.join("appendonly.aof.manifest")).expect("remove");
    check(
        log.path(),
        &["."],
        1,
        &[
            "2 files of a log and no manifest; 'aof-tools repair ./appendonlydir' can make one",
            "[servers start empty and write over it]",
        ],
    );
}

#[test]
fn only_the_last_file_may_be_torn() {
    let log = good_log();
    let inner = log.path().join("appendonlydir");
    let incr = inner.join("appendonly.aof.2.incr.aof");
    let mut bytes = fs::read(&incr).expect("read");
    bytes.truncate(bytes.len() - 3);
    fs::write(&incr, &bytes).expect("write");
    check(log.path(), &["."], 1, &["servers cut it off and start"]);
    let manifest = inner.join("appendonly.aof.manifest");
    let mut text = fs::read_to_string(&manifest).expect("read");
    text.push_str("file appendonly.aof.3.incr.aof seq 3 type i\n");
    fs::write(&manifest, text).expect("write");
    fs::write(inner.join("appendonly.aof.3.incr.aof"), "").expect("write");
    check(log.path(), &["."], 1, &["bytes expected", "servers refuse to start"]);
}

#[test]
fn zeros_and_wrong_lengths_are_told_from_torn_tails() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ping = "*1\r\n$4\r\nPING\r\n";
    fs::write(folder.path().join("zeros.aof"), format!("{ping}{}", "\0".repeat(4096))).expect("write");
    check(
        folder.path(),
        &["zeros.aof"],
        1,
        &["offset 14: 4096 zero bytes up to the end", "good up to offset 14"],
    );
    fs::write(folder.path().join("length.aof"), format!("{ping}*1\r\n$4000\r\nPING\r\n{ping}"))
        .expect("write");
    check(folder.path(), &["length.aof"], 1, &["further commands are among them"]);
}

#[test]
fn json_is_one_object_a_log() {
    let log = good_log();
    let output = aof_tools(log.path(), &["check", "--json", "."]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("is JSON");
    assert_eq!(report["ok"], true);
    assert_eq!(report["files"][0]["role"], "base");
    assert_eq!(report["files"][0]["rdb"]["checksum"], "ok");
    assert!(report["files"][1]["commands"].as_u64().expect("a number") > 10);
    let incr = log.path().join("appendonlydir/appendonly.aof.2.incr.aof");
    let bytes = fs::read(&incr).expect("read");
    fs::write(&incr, &bytes[..bytes.len() - 1]).expect("write");
    let output = aof_tools(log.path(), &["check", "--json", "."]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("is JSON");
    assert_eq!((output.status.code(), &report["ok"]), (Some(1), &serde_json::json!(false)));
    assert_eq!(report["findings"][0]["server"], "truncates");
    assert_eq!(report["findings"][0]["file"], "appendonly.aof.2.incr.aof");
}

#[test]
fn trouble_is_not_a_finding() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    check(folder.path(), &["no-such-file"], 2, &["aof-tools: no-such-file: "]);
    check(folder.path(), &["."], 2, &["no append only file in this folder"]);
    check(folder.path(), &[], 2, &["Usage: aof-tools check"]);
}

#[test]
fn all_faults_of_a_file_are_told_and_reading_goes_on() {
    let command = |line: &str| crate::blocks::command(&line.split(' ').collect::<Vec<_>>());
    let mut log: Vec<u8> =
        ["SET a 1", "NOSUCH x", "GET a b", "XGROUP NO g", "SELECT x", "JSON.SET k . 1", "EXEC"]
            .iter()
            .flat_map(|line| command(line))
            .collect();
    let first = log.len();
    log.extend_from_slice(b"*3\r\n$3\r\nSET\r\n$x\r\na\r\n$1\r\n1\r\n");
    log.extend([command("SET b 2"), command("SET b 3")].concat());
    let second = log.len();
    log.extend_from_slice(b"garbage\r\n#TS:today\r\n");
    log.extend([command("MULTI"), command("SELECT 20"), command("SET c 3")].concat());
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("a.aof"), &log).expect("write");
    check(
        folder.path(),
        &["a.aof"],
        1,
        &[
            "no server knows the command \"NOSUCH\" [servers refuse to start]",
            "GET cannot have 3 arguments, its name counted",
            "XGROUP has no subcommand \"NO\"",
            "SELECT of \"x\", which is no database",
            "note: JSON.SET, first at offset",
            "EXEC without MULTI",
            &format!("offset {}: the length after '$' is not a number", first + 14),
            &format!("offset {second}: a command must start with '*', not with 'g'"),
            "the transaction that starts here has no EXEC",
            "note: needs 'databases 21'",
            &format!("good up to offset {first}"),
            "a.aof: 8 faults\n",
        ],
    );
    let output = aof_tools(folder.path(), &["check", "--json", "a.aof"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("is JSON");
    assert_eq!((&report["files"][0]["faults"], &report["files"][0]["databases"]), (&8.into(), &21.into()));
    let resumed: Vec<_> =
        report["findings"].as_array().expect("a list").iter().map(|f| &f["resumed_at"]).collect();
    assert!(resumed.contains(&&serde_json::json!(first + 27)), "{resumed:?}");
    // The same from a pipe.
    let piped = std::process::Command::new("sh")
        .args(["-c", "cat a.aof | \"$0\" check -", env!("CARGO_BIN_EXE_aof-tools")])
        .current_dir(folder.path())
        .output()
        .expect("sh runs");
    assert!(stdout(&piped).contains("-: 8 faults\n"), "{}", stdout(&piped));
}

#[test]
fn commands_that_fail_when_they_are_run_are_told() {
    let command = |line: &str| crate::blocks::command(&line.split(' ').collect::<Vec<_>>());
    let log = [command("SET a 1"), command("LPUSH a x"), command("INCR a"), command("HSET a f v")].concat();
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("a.aof"), &log).expect("write");
    check(folder.path(), &["a.aof"], 0, &["a.aof: ok\n"]);
    check(folder.path(), &["--replay", "a.aof"], 1, &["offset 27: ", "WRONGTYPE", "a.aof: 2 faults\n"]);
    fs::write(folder.path().join("a.aof"), [&log[..30], b"\0\0", &log[30..]].concat()).expect("write");
    check(folder.path(), &["--replay", "a.aof"], 1, &["its commands were not run"]);
}
