//! `aof-tools log` and `info` on logs of real servers, damaged ones, and one that is being written.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::support::{aof_tools, fixtures, testdata};

#[track_caller]
fn log(folder: &Path, args: &[&str], code: i32) -> String {
    let output = aof_tools(folder, &[&["log"], args].concat());
    let text = String::from_utf8(output.stdout).expect("is ASCII");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}{told}");
    if code == 0 { text } else { text + &told }
}

fn command(words: &[&str]) -> String {
    let words: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect::<String>();
    format!("*{}\r\n{words}", words.matches('$').count())
}

fn small_log() -> String {
    let mut log = String::new();
    log += "#TS:100\r\n";
    log += &command(&["SELECT", "0"]);
    log += &command(&["SET", "user:1", "Ann\n"]);
    log += &command(&["MULTI"]);
    log += &command(&["INCR", "n"]);
    log += &command(&["DEL", "user:1"]);
    log += &command(&["EXEC"]);
    log += "#TS:200\r\n";
    log += &command(&["SELECT", "3"]);
    log += &command(&["MSET", "a", "1", "user:2", "x"]);
    log += &command(&["FLUSHALL"]);
    log
}

fn folder(content: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("a.aof"), content).expect("write");
    folder
}

#[test]
fn a_ledger_has_a_line_a_command() {
    let folder = folder(&small_log());
    let text = log(folder.path(), &["a.aof"], 0);
    let expected = "a.aof:9 1970-01-01T00:01:40Z db0 SELECT 0\n\
                    a.aof:32 1970-01-01T00:01:40Z db0 SET user:1 \"Ann\\n\"\n\
                    a.aof:67 1970-01-01T00:01:40Z db0 MULTI\n\
                    a.aof:82 1970-01-01T00:01:40Z db0 | INCR n\n\
                    a.aof:103 1970-01-01T00:01:40Z db0 | DEL user:1\n\
                    a.aof:128 1970-01-01T00:01:40Z db0 EXEC\n\
                    a.aof:151 1970-01-01T00:03:20Z db3 SELECT 3\n\
                    a.aof:174 1970-01-01T00:03:20Z db3 MSET a 1 user:2 x\n\
                    a.aof:221 1970-01-01T00:03:20Z db3 FLUSHALL\n";
    assert_eq!(text, expected);
}

#[track_caller]
fn offsets(folder: &Path, args: &[&str], expected: &[u64]) {
    let text = log(folder, &[&["--json", "a.aof"], args].concat(), 0);
    let offset = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).expect("is JSON");
        line["offset"].as_u64().expect("a number")
    };
    assert_eq!(text.lines().map(offset).collect::<Vec<_>>(), expected, "{args:?}");
}

#[test]
fn commands_are_chosen_by_key_time_place_database_and_name() {
    let folder = folder(&small_log());
    let check = |args: &[&str], expected: &[u64]| offsets(folder.path(), args, expected);
    // Of a transaction what is wanted stands between its ends; FLUSHALL touches every key.
    check(&["--key", "user:*"], &[32, 67, 103, 128, 174, 221]);
    check(&["--key-regex", "^n$"], &[67, 82, 128, 221]);
    check(&["-c", "del,flushall"], &[67, 103, 128, 221]);
    check(&["--not-command", "select,flushall", "--db", "3"], &[174]);
    check(&["--from", "101"], &[151, 174, 221]);
    check(&["--to", "1970-01-01 00:03:19"], &[9, 32, 67, 82, 103, 128]);
    check(&["--from-offset", "33", "--to-offset", "128", "--key", "n"], &[67, 82, 128]);
    check(&["--limit", "1", "--db", "3"], &[151]);
    check(&["--file", "b.aof"], &[]);
    let output = aof_tools(folder.path(), &["log", "a.aof", "--from", "yesterday"]);
    assert_eq!(output.status.code(), Some(2));
    let plain = small_log().replace("#TS:100\r\n", "");
    fs::write(folder.path().join("a.aof"), plain).expect("write");
    let output = aof_tools(folder.path(), &["log", "a.aof", "--from", "1"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("6 commands have no time"));
}

#[test]
fn json_has_every_byte_when_all_is_wanted() {
    let long = "x".repeat(5000);
    let folder = folder(&command(&["SET", "k\u{e9}", &long]));
    let short: serde_json::Value =
        serde_json::from_str(&log(folder.path(), &["--json", "a.aof"], 0)).expect("is JSON");
    assert_eq!((&short["shortened"], short["bytes"].as_u64()), (&serde_json::json!(true), Some(5031)));
    let full: serde_json::Value =
        serde_json::from_str(&log(folder.path(), &["--json", "--full", "a.aof"], 0)).expect("is JSON");
    assert_eq!(full["args"], serde_json::json!([{"b64": "a8Op"}, long]));
    assert!(full.get("shortened").is_none());
    assert!(log(folder.path(), &["a.aof"], 0).contains("xxx..(5000 bytes)\n"));
}

#[test]
fn damage_is_told_and_stepped_over() {
    let whole = small_log();
    let at = whole.find("INCR").expect("it is there");
    let folder = folder(&(whole[..at - 4].to_owned() + "$9" + &whole[at - 2..]));
    let text = log(folder.path(), &["a.aof"], 1);
    assert!(text.contains(":103 ") && text.contains("21 bytes from offset 82 on are left out"), "{text}");
}

#[test]
fn counts_are_by_time_command_and_prefix() {
    let folder = folder(&small_log());
    let text = log(folder.path(), &["--stats", "a.aof"], 0);
    for line in
        ["9 commands, 221 bytes, 1 transactions", "1970-01-01T00:01:40Z             6         6.0", "user:"]
    {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
    let stats: serde_json::Value =
        serde_json::from_str(&log(folder.path(), &["--stats", "--json", "a.aof"], 0)).expect("is JSON");
    assert_eq!(stats["times"][1], serde_json::json!({"time": 200, "commands": 3, "bytes": 88}));
    assert_eq!(stats["by_command"][0], serde_json::json!({"command": "SELECT", "commands": 2, "bytes": 46}));
    assert_eq!(stats["by_prefix"][0]["prefix"], "");
}

#[test]
fn logs_of_every_producer_can_be_read() {
    let Some(fixtures) = fixtures("logs_of_every_producer_can_be_read") else { return };
    let mut read = 0;
    for producer in fs::read_dir(fixtures.join("made")).expect("the folder of producers") {
        let producer = producer.expect("an entry").path();
        for entry in fs::read_dir(&producer).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                let name = path.file_name().and_then(|n| n.to_str()).expect("an ASCII name");
                // Only a cut command is damage; an open transaction is shown as it stands.
                let code = i32::from(name.contains("truncated") && !name.contains("tx"));
                log(&producer, &["--full", name], code);
                let info = aof_tools(&producer, &["info", "--json", name]);
                assert_eq!(info.status.code(), Some(0), "{}", path.display());
                read += 1;
            }
        }
    }
    assert!(read > 80, "{read}");
}

#[test]
fn a_log_is_followed_over_a_rotation() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    let line = |seq: u32| format!("file a.aof.{seq}.incr.aof seq {seq} type i\n");
    fs::write(path("a.aof.1.incr.aof"), command(&["SET", "a", "1"])).expect("write");
    fs::write(path("a.aof.manifest"), line(1)).expect("write");
    let mut child = Command::new(env!("CARGO_BIN_EXE_aof-tools"))
        .args(["log", "--follow", "--limit", "5"])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let (sender, lines) = mpsc::channel();
    let out = BufReader::new(child.stdout.take().expect("is piped"));
    std::thread::spawn(move || {
        for line in out.lines() {
            let _ = sender.send(line.expect("text"));
        }
    });
    let next = || lines.recv_timeout(Duration::from_secs(30)).expect("a line comes");
    assert_eq!(next(), "a.aof.1.incr.aof:0 - db0 SET a 1");
    let mut first = fs::OpenOptions::new().append(true).open(path("a.aof.1.incr.aof")).expect("open");
    let second = command(&["SET", "a", "2"]);
    // In two pieces: what is cut is not damage, it is on its way.
    first.write_all(&second.as_bytes()[..10]).expect("write");
    std::thread::sleep(Duration::from_millis(250));
    assert!(lines.try_recv().is_err());
    first.write_all(&second.as_bytes()[10..]).expect("write");
    assert_eq!(next(), "a.aof.1.incr.aof:27 - db0 SET a 2");
    fs::write(path("a.aof.2.incr.aof"), "").expect("write");
    first.write_all(command(&["SET", "a", "3"]).as_bytes()).expect("write");
    fs::write(path("temp"), line(1) + &line(2)).expect("write");
    fs::rename(path("temp"), path("a.aof.manifest")).expect("rename");
    assert_eq!(next(), "a.aof.1.incr.aof:54 - db0 SET a 3");
    fs::write(path("a.aof.2.incr.aof"), command(&["SELECT", "1"]) + &command(&["SET", "a", "4"]))
        .expect("write");
    assert_eq!(next(), "a.aof.2.incr.aof:0 - db1 SELECT 1");
    assert_eq!(next(), "a.aof.2.incr.aof:23 - db1 SET a 4");
    assert!(child.wait().expect("it ends after five").success());
}

#[test]
fn following_goes_on_when_an_increment_is_gone_before_it_was_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    let line = |seq: u32| format!("file a.aof.{seq}.incr.aof seq {seq} type i\n");
    let set = |value: &str| command(&["SET", "a", value]);
    fs::write(path("a.aof.1.incr.aof"), set("1")).expect("write");
    fs::write(path("a.aof.manifest"), line(1)).expect("write");
    let mut child = Command::new(env!("CARGO_BIN_EXE_aof-tools"))
        .args(["log", "--follow", "--limit", "2"])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut out = BufReader::new(child.stdout.take().expect("is piped"));
    let mut first = String::new();
    out.read_line(&mut first).expect("text");
    // The third is named and not there, and nobody has ever seen the second.
    fs::write(path("a.aof.4.incr.aof"), set("4")).expect("write");
    fs::write(path("temp"), line(3) + &line(4)).expect("write");
    fs::rename(path("temp"), path("a.aof.manifest")).expect("rename");
    std::thread::sleep(Duration::from_millis(20));
    fs::write(path("temp"), line(4)).expect("write");
    fs::rename(path("temp"), path("a.aof.manifest")).expect("rename");
    let (output, mut second) = (child.wait_with_output().expect("it ends after two"), String::new());
    out.read_line(&mut second).expect("text");
    assert_eq!(second, "a.aof.4.incr.aof:0 - db0 SET a 4\n");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("increment 2: the server has removed it before it was read"), "{told}");
    assert_eq!(output.status.code(), Some(1), "{told}");
}

#[test]
fn info_tells_what_there_is_without_reading_it() {
    let output = aof_tools(&testdata().join("aof"), &["info", "redis-8.0.6-preamble"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    for line in ["in parts, by a manifest", "role: base, number 2", "content: rdb\n", "producer: redis 8.0.6"]
    {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
    let folder = folder(&small_log());
    let output = aof_tools(folder.path(), &["info", "--json", "a.aof"]);
    let info: serde_json::Value = serde_json::from_slice(&output.stdout).expect("is JSON");
    let file = &info["files"][0];
    assert_eq!((&file["first_time"], &file["last_time"]), (&serde_json::json!(100), &serde_json::json!(200)));
    fs::write(folder.path().join("b.manifest"), "file b.1.incr.aof seq 1 type i\n").expect("write");
    let output = aof_tools(folder.path(), &["info", "b.manifest"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("problem: it is not there"));
}
