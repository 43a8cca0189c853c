//! `sort`, `split` and `merge`: the same keys in order, in parts, together again.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::support::{files_with, fixtures, rdb_tools, testdata};

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs the binary, which must succeed; answers what it printed.
fn run(args: &[&OsStr]) -> String {
    let output = rdb_tools(args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output));
    text(&output)
}

macro_rules! run {
    ($($arg:expr),* $(,)?) => { run(&[$($arg.as_ref()),*]) };
}

fn digest(file: &Path) -> String {
    run!("digest", file).split_whitespace().next().expect("a digest").to_owned()
}

fn keys(file: &Path) -> Vec<String> {
    let keys = run!("dump", "--format", "keys", file);
    keys.lines().map(str::to_owned).collect()
}

fn rdb(name: &str) -> PathBuf {
    testdata().join("rdb").join(name)
}

/// A file of version 11 without checksum; no database is selected but by the records.
fn file(records: &[&[u8]]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    let bytes = [&b"REDIS0011"[..], &records.concat(), b"\xff\0\0\0\0\0\0\0\0"].concat();
    file.write_all(&bytes).expect("write");
    file
}

#[test]
fn sorting_puts_keys_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out.rdb");
    let input = file(&[
        b"\xfe\x01\x00\x01z\x05aaaaa",
        b"\xfe\x00\x00\x01b\x01x",
        b"\xfc\x05\0\0\0\0\0\0\0\x00\x02a\0\x0412AB",
        b"\x00\x01a\x03abc",
        b"\xfc\x04\0\0\0\0\0\0\0\x02\x01c\x01\x011",
        b"\xfe\x01\x00\x01y\x01x",
    ]);
    let sorted = |options: &[&str]| {
        let mut args: Vec<&OsStr> = vec!["sort".as_ref()];
        args.extend(options.iter().map(OsStr::new));
        args.extend([input.path().as_os_str(), "--force".as_ref(), "-o".as_ref(), out.as_os_str()]);
        run(&args);
        assert_eq!(digest(&out), digest(input.path()));
        let json = run!("dump", &out);
        let key = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).expect("is JSON");
            let key = if line["key"].is_string() { line["key"].to_string() } else { "a0".to_owned() };
            format!("{}{}", line["db"], key.replace('"', ""))
        };
        json.lines().map(key).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(sorted(&[]), "0a 0a0 0b 0c 1y 1z");
    assert_eq!(sorted(&["--reverse"]), "0c 0b 0a0 0a 1z 1y");
    assert_eq!(sorted(&["--by", "ttl"]), "0c 0a0 0a 0b 1y 1z");
    assert_eq!(sorted(&["--by", "size"]), "0b 0c 0a 0a0 1y 1z");
    assert_eq!(sorted(&["--by", "size", "--reverse"]), "0a0 0a 0c 0b 1z 1y");
    assert_eq!(sorted(&["--by", "type"]), "0a 0a0 0b 0c 1y 1z");
    run!("check", &out);
    // What is there stays there without --force, and an input is no output.
    assert_eq!(
        rdb_tools(["sort".as_ref(), input.path().as_os_str(), "-o".as_ref(), out.as_os_str()]).status.code(),
        Some(2)
    );
    let itself = ["sort".as_ref(), out.as_os_str(), "--force".as_ref(), "-o".as_ref(), out.as_os_str()];
    assert_eq!(rdb_tools(itself).status.code(), Some(2));
}

#[test]
fn sorting_needs_no_memory_for_values() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, two) = (folder.path().join("one.rdb"), folder.path().join("two.rdb"));
    // Three values of 3 MiB in a MiB.
    let value = |c: u8| [&[0x80, 0, 0x30, 0, 0][..], &vec![c; 3 << 20]].concat();
    let (a, b, c) = (value(b'a'), value(b'b'), value(b'c'));
    let input = file(&[b"\xfe\x00", b"\x00\x01c", &c, b"\x00\x01a", &a, b"\x00\x01b", &b]);
    run!("sort", "--memory", "1M", input.path(), "-o", &one);
    assert_eq!(digest(&one), digest(input.path()));
    assert_eq!(keys(&one), ["a", "b", "c"]);
    run!("sort", "--memory", "1G", &one, "-o", &two);
    assert!(fs::read(one).expect("read") == fs::read(two).expect("read"));
}

#[test]
fn parts_are_the_whole_again() {
    for name in ["redis-7.0.15-all-types.rdb", "valkey-9.1.2-all-types.rdb", "redis-8.0.6-all-types.rdb"] {
        let input = rdb(name);
        for (i, cut) in [
            &["--by-db"][..],
            &["--by-prefix", ":"],
            &["--count", "7"],
            &["--count", "40"],
            &["--by-slots", "0-8191,16000", "--by-slots", "8192-9000"],
        ]
        .iter()
        .enumerate()
        {
            let folder = tempfile::tempdir().expect("a folder");
            let parts = folder.path().join(format!("parts{i}"));
            let mut args: Vec<&OsStr> = vec!["split".as_ref()];
            args.extend(cut.iter().map(OsStr::new));
            args.extend([input.as_os_str(), "-o".as_ref(), parts.as_os_str()]);
            run(&args);
            let manifest = fs::read_to_string(parts.join("manifest.json")).expect("a manifest");
            let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("is JSON");
            let listed = manifest["parts"].as_array().expect("parts");
            let files = files_with(&parts, "rdb");
            assert_eq!(listed.len(), files.len(), "{cut:?}");
            for part in listed {
                let file = Path::new(part["file"].as_str().expect("a path"));
                let info = run!("check", "--json", file);
                let info: serde_json::Value = serde_json::from_str(&info).expect("is JSON");
                assert_eq!((&info["keys"], &info["ok"]), (&part["keys"], &true.into()), "{part}");
                assert_eq!(fs::metadata(file).expect("is there").len(), part["bytes"]);
            }
            let whole = folder.path().join("whole.rdb");
            // Every part has the libraries.
            let mut args: Vec<&OsStr> = vec!["merge".as_ref(), "--on-duplicate".as_ref(), "first".as_ref()];
            args.extend(files.iter().map(|file| file.as_os_str()));
            args.extend(["-o".as_ref(), whole.as_os_str()]);
            run(&args);
            run!("check", &whole);
            assert_eq!(digest(&whole), digest(&input), "{name} {cut:?}");
        }
    }
}

#[test]
fn nodes_get_their_slots() {
    let folder = tempfile::tempdir().expect("a folder");
    let conf = folder.path().join("nodes.conf");
    let line = |id: &str, slots: &str| format!("{id} 127.0.0.1:1@2 master - 0 0 1 connected {slots}\n");
    fs::write(&conf, line("aa", "0-8000") + &line("bb", "8001-16383")).expect("write");
    let pattern = folder.path().join("of-{}.rdb");
    let input = rdb("redis-7.0.15-all-types.rdb");
    run!("split", "--nodes-conf", &conf, &input, "-o", &pattern);
    let (a, b) = (folder.path().join("of-node-aa.rdb"), folder.path().join("of-node-bb.rdb"));
    assert_eq!(run!("dump", "--format", "keys", "--slot", "8001-16383", &a), "");
    assert_eq!(run!("dump", "--format", "keys", "--slot", "0-8000", &b), "");
    assert!(keys(&a).len() > 20 && keys(&b).len() > 20);
    let twice = ["split", "--by-slots", "0-5", "--by-slots", "5", "-o", "x"].map(OsStr::new);
    let output = rdb_tools(twice.into_iter().chain([input.as_os_str()]));
    assert!(output.status.code() == Some(2) && text(&output).contains("slot 5 is in two parts"));
}

#[test]
fn duplicates_go_by_the_rule() {
    let at =
        |ms: u8, value: u8| [&b"\xfc"[..], &[ms, 0, 0, 0, 0, 0, 0, 0], b"\x00\x01k\x01", &[value]].concat();
    let (first, second, third) = (
        file(&[b"\xfe\x00", &at(5, b'1')]),
        file(&[b"\xfe\x00", &at(9, b'2')]),
        file(&[b"\xfe\x00", &at(7, b'3'), b"\x00\x01n\x01n", b"\xfe\x02", &at(1, b'4')]),
    );
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out.rdb");
    for (rule, value) in [("first", "1"), ("last", "3"), ("newest-ttl", "2")] {
        run!(
            "merge",
            "--on-duplicate",
            rule,
            first.path(),
            second.path(),
            third.path(),
            "--force",
            "-o",
            &out
        );
        let json = run!("dump", &out);
        assert!(json.contains(&format!("\"value\":\"{value}\"")), "{rule}: {json}");
        assert_eq!(json.lines().count(), 3, "{json}");
    }
    fs::remove_file(&out).expect("is there");
    let args = [Path::new("merge"), first.path(), second.path(), Path::new("-o"), &out];
    let output = rdb_tools(args);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("db 0, \"k\" is in ") && !out.exists());
    // Other databases and other names are no duplicates.
    let other = file(&[b"\xfe\x01", &at(5, b'1')]);
    run!("merge", first.path(), other.path(), "-o", &out);
    assert_eq!(keys(&out), ["k", "k"]);
}

#[test]
fn servers_files_stay_what_they_are() {
    let Some(fixtures) = fixtures("servers_files_stay_what_they_are") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out.rdb");
    let mut files = 0;
    for entry in fs::read_dir(fixtures.join("made")).expect("a folder") {
        let folder = entry.expect("an entry").path();
        if !folder.is_dir() {
            continue;
        }
        for file in files_with(&folder, "rdb") {
            if rdb_tools(["check".as_ref(), file.as_os_str()]).status.code() != Some(0) {
                continue;
            }
            run!("sort", "--force", "--memory", "1M", &file, "-o", &out);
            assert_eq!(digest(&out), digest(&file), "{}", file.display());
            files += 1;
        }
    }
    assert!(files > 100, "{files}");
}
