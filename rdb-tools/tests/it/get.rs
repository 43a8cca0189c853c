//! `index` and `get`: a key is found with an index, without one, and with one that is of no use.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Output;

use crate::support::{rdb_tools, testdata};

fn copy() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("dump.rdb");
    fs::copy(testdata().join("rdb/redis-8.0.6-all-types.rdb"), &file).expect("copy");
    (folder, file.display().to_string())
}

fn run(args: &[&str], code: i32, told: &str) -> Output {
    let output = rdb_tools(args);
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {err}");
    assert!(if told.is_empty() { err.is_empty() } else { err.contains(told) }, "{args:?}: {err}");
    output
}

#[test]
fn a_key_is_the_same_with_and_without_an_index() {
    let (folder, file) = copy();
    let all = run(&["dump", &file], 0, "").stdout;
    let lines: Vec<&[u8]> = all.split_inclusive(|b| *b == b'\n').collect();
    let names = run(&["dump", &file, "--format", "keys"], 0, "").stdout;
    let names: Vec<String> = String::from_utf8(names).expect("is text").lines().map(str::to_owned).collect();
    let libraries = lines.len() - names.len();
    let scanned: Vec<_> =
        names.iter().step_by(9).map(|name| run(&["get", "-e", &file, name], 0, "").stdout).collect();
    run(&["index", &file], 0, "dump.rdb.idx: ");
    for (name, scanned) in names.iter().step_by(9).zip(scanned) {
        let found = run(&["get", "-e", &file, name], 0, "");
        assert_eq!(found.stdout, scanned, "{name}");
        assert!(lines[libraries..].iter().any(|line| found.stdout.starts_with(line)), "{name}");
    }
    run(&["get", &file, "nobody"], 1, "there is no key \"nobody\"");
    run(&["get", &file, "nobody", "--no-index", "--db", "1"], 1, "there is no key \"nobody\" in database 1");
    let csv = run(&["get", &file, "12345", "--format", "csv"], 0, "").stdout;
    assert_eq!(String::from_utf8_lossy(&csv).lines().count(), 2);
    run(&["index", &file], 2, "--force replaces it");
    run(&["index", &file, "--force"], 0, "dump.rdb.idx: ");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2);
}

#[test]
fn an_index_of_no_use_is_told_and_done_without() {
    let (_folder, file) = copy();
    run(&["index", &file], 0, "103 keys");
    let expected = run(&["get", &file, "12345"], 0, "").stdout;
    let mut bytes = fs::read(&file).expect("read");
    let end = bytes.len();
    // A checksum of zero is none at all.
    bytes[end - 8..].fill(0);
    fs::write(&file, &bytes).expect("write");
    assert_eq!(run(&["get", &file, "12345"], 0, "reading all of the file").stdout, expected);
    let index = format!("{file}.idx");
    run(&["get", &file, "12345", "--index", &index], 2, "is of the file with other contents");
    fs::write(&index, b"nonsense").expect("write");
    assert_eq!(run(&["get", &file, "12345"], 0, "is no index that can be used").stdout, expected);
    run(&["get", &file, "12345", "--no-index"], 0, "");
    run(&["get", &file, "12345", "--index", "/no/such/index"], 2, "is not there");
}

#[test]
fn pipes_are_read_and_have_no_index() {
    let (folder, file) = copy();
    let bytes = fs::read(&file).expect("read");
    let piped = |args: &[&str]| {
        use std::io::Write;
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_rdb-tools"))
            .args(args)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("runs");
        let _ = child.stdin.take().expect("is piped").write_all(&bytes);
        child.wait_with_output().expect("ends")
    };
    assert_eq!(piped(&["get", "-", "12345"]).stdout, run(&["get", &file, "12345"], 0, "").stdout);
    assert_eq!(piped(&["index", "-"]).status.code(), Some(2));
    // A damaged file has no index, and the key before the damage is found.
    let cut = folder.path().join("cut.rdb");
    fs::write(&cut, &bytes[..bytes.len() - 100]).expect("write");
    let cut_path: &OsStr = cut.as_os_str();
    let output = rdb_tools([OsStr::new("index"), cut_path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!Path::new(&format!("{}.idx", cut.display())).exists());
    let output = rdb_tools([OsStr::new("get"), cut_path, OsStr::new("12345")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!output.stdout.is_empty());
}
