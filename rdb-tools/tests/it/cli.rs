//! The command line: exit codes, pipes, standard input, what a terminal gets to see.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::{files_with, fixtures, rdb_tools, testdata};

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn good() -> String {
    testdata().join("rdb/redis-7.0.15-all-types.rdb").display().to_string()
}

/// A file with one string key, without checksum.
fn file_with_key(key: &[u8], value: &[u8]) -> tempfile::NamedTempFile {
    let (key_len, value_len) = ([key.len() as u8], [value.len() as u8]);
    let record = [&b"\x00"[..], &key_len, key, &value_len, value].concat();
    let bytes = [&b"REDIS0011\xfe\x00"[..], &record, b"\xff\0\0\0\0\0\0\0\0"].concat();
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(&bytes).expect("write");
    file
}

fn with_stdin(args: &[&str], stdin: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rdb-tools"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    // A tool that reads only the head closes the pipe early.
    let _ = child.stdin.take().expect("is piped").write_all(stdin);
    child.wait_with_output().expect("the binary ends")
}

#[test]
fn a_dash_is_standard_input() {
    let bytes = fs::read(good()).expect("testdata");
    let from_file = rdb_tools(["dump", &good()]);
    assert_eq!(with_stdin(&["dump", "-"], &bytes).stdout, from_file.stdout);
    let report = with_stdin(&["check", "-"], &bytes);
    assert_eq!(report.status.code(), Some(0), "{}", text(&report));
    assert!(text(&report).starts_with("-: ok: REDIS0010, redis 7.0.15, "), "{}", text(&report));
    let info = with_stdin(&["info", "-"], &bytes);
    assert!(text(&info).contains("producer: redis 7.0.15\n"), "{}", text(&info));
    let garbage = with_stdin(&["dump", "-"], b"not an RDB file");
    assert_eq!(garbage.status.code(), Some(1));
    assert!(text(&garbage).contains("rdb-tools: -: offset 9: Wrong signature"), "{}", text(&garbage));
}

#[test]
fn a_closed_pipe_is_success() {
    // Larger than any buffer of pipe and tool together, so that writing must fail.
    let mut bytes = b"REDIS0011\xfe\x00".to_vec();
    for i in 0..200_000u32 {
        bytes.extend_from_slice(b"\x00\x08");
        bytes.extend_from_slice(format!("{i:08}").as_bytes());
        bytes.extend_from_slice(b"\x0230");
    }
    bytes.extend_from_slice(b"\xff\0\0\0\0\0\0\0\0");
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(&bytes).expect("write");
    let mut child = Command::new(env!("CARGO_BIN_EXE_rdb-tools"))
        .arg("dump")
        .arg(file.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut first = [0; 10];
    child.stdout.take().expect("is piped").read_exact(&mut first).expect("some output");
    let output = child.wait_with_output().expect("the binary ends");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn nothing_of_a_file_reaches_a_terminal_raw() {
    let file = file_with_key(b"\x1b]0;evil\x07\xff", b"\x1b[2J");
    let path = file.path().display().to_string();
    let dump = rdb_tools(["dump", &path]);
    assert!(dump.stdout.is_ascii() && !dump.stdout.contains(&0x1b));
    // An empty set under such a key is a finding.
    let bytes = fs::read(file.path()).expect("read");
    let mut broken = bytes.clone();
    broken[11] = 2;
    broken[9 + 2 + 2 + 10] = 0;
    fs::write(file.path(), &broken).expect("write");
    let check = rdb_tools(["check", &path]);
    assert_eq!(check.status.code(), Some(1), "{}", text(&check));
    let all = [check.stdout, check.stderr].concat();
    assert!(!all.iter().any(|b| *b < b' ' && *b != b'\n') && all.is_ascii(), "{}", all.escape_ascii());
}

#[test]
fn check_lists_faults_and_goes_on() {
    let good = good();
    let bad = testdata().join("corrupt/rdb/hash-duplicate.rdb").display().to_string();
    let output = rdb_tools(["check", &bad, &good]);
    assert_eq!(output.status.code(), Some(1));
    let text_of_bad =
        format!("{bad}: offset 14, db 0, key \"k\": field \"f\" is there twice [servers crash on it");
    assert!(text(&output).contains(&text_of_bad), "{}", text(&output));
    assert!(text(&output).contains(&format!("{good}: ok: ")), "{}", text(&output));
    assert_eq!(rdb_tools(["check", &good, "/no/such/file"]).status.code(), Some(2));
    assert_eq!(rdb_tools(["check"]).status.code(), Some(2));
    let output = rdb_tools(["check", "--json", &bad, &good]);
    let lines: Vec<serde_json::Value> =
        text(&output).lines().map(|line| serde_json::from_str(line).expect("is JSON")).collect();
    assert_eq!((&lines[0]["ok"], &lines[1]["ok"]), (&false.into(), &true.into()));
    let finding = &lines[0]["findings"][0];
    assert_eq!((&finding["kind"], &finding["key"]), (&"duplicate".into(), &"k".into()));
    assert_eq!((&finding["server"], &finding["offset"]), (&"crashes".into(), &14.into()));
    assert_eq!(lines[1]["checksum"], "ok");
}

#[test]
fn a_version_that_turns_the_checksum_off_is_told() {
    // One bit of the version: what was 0011 has no checksum now.
    let mut bytes = fs::read(good()).expect("testdata");
    bytes[5..9].copy_from_slice(b"0002");
    let report = with_stdin(&["check", "-"], &bytes);
    assert_eq!(report.status.code(), Some(1));
    assert!(text(&report).contains("is newer than the file's version 2"), "{}", text(&report));
    let old = b"REDIS0002\xfe\x00\x00\x01k\x01v\xff\x01\x02\x03\x04\x05\x06\x07\x08";
    let report = with_stdin(&["check", "-"], old);
    assert_eq!(report.status.code(), Some(1));
    assert!(text(&report).contains("room for a checksum, which its version has not"), "{}", text(&report));
    assert_eq!(with_stdin(&["check", "-"], &old[..old.len() - 8]).status.code(), Some(0));
}

#[test]
fn damaged_files_are_told_and_good_ones_are_not() {
    let folder = testdata().join("corrupt");
    let index = fs::read_to_string(folder.join("index.tsv")).expect("the index");
    let mut checked = 0;
    for row in index.lines().filter(|row| row.starts_with("rdb/")) {
        let columns: Vec<&str> = row.split('\t').collect();
        let path = folder.join(columns[0]);
        for option in ["--json", "--no-mmap"] {
            let output = rdb_tools(["check".as_ref(), option.as_ref(), path.as_os_str()]);
            let expected = match columns[2] {
                "refuse" | "checksum" | "empty" | "value" => 1,
                _ => continue,
            };
            assert_eq!(output.status.code(), Some(expected), "{row}\n{}", text(&output));
        }
        checked += 1;
    }
    assert!(checked > 80, "{checked}");
    for file in files_with(&testdata().join("rdb"), "rdb") {
        for option in ["--no-progress", "--no-mmap", "--quick"] {
            let output = rdb_tools(["check".as_ref(), option.as_ref(), file.as_os_str()]);
            assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        }
    }
}

fn all_rdb_files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all_rdb_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rdb") {
            found.push(path);
        }
    }
}

#[test]
fn public_files_are_read_or_refused_with_an_offset() {
    let Some(fixtures) = fixtures("public_files_are_read_or_refused_with_an_offset") else { return };
    let mut files = Vec::new();
    all_rdb_files(&fixtures.join("public"), &mut files);
    assert!(files.len() > 100, "{}", files.len());
    for file in files {
        let dump = rdb_tools(["dump".as_ref(), file.as_os_str()]);
        let message = String::from_utf8_lossy(&dump.stderr).into_owned();
        match dump.status.code() {
            // What is told of a file that was read is what of it cannot be made a file again.
            Some(0) => assert!(
                message.is_empty() || message.contains("--raw-modules prints all of it"),
                "{}: {message}",
                file.display()
            ),
            Some(1) => assert!(message.contains(": offset "), "{}: {message}", file.display()),
            other => panic!("{}: {other:?} {message}", file.display()),
        }
        let check = rdb_tools(["check".as_ref(), file.as_os_str()]);
        let code = check.status.code().expect("an exit code");
        assert!(
            code <= 1 && (code == 1 || dump.status.code() == Some(0)),
            "{}\n{}",
            file.display(),
            text(&check)
        );
    }
}

#[test]
fn info_reads_the_head_alone() {
    let output = rdb_tools(["info", &good()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    for line in [
        "  magic: REDIS0010\n",
        "  dialect: common to redis and valkey\n",
        "  first database: 0\n",
        "  aux redis-bits: 64\n",
    ] {
        assert!(text(&output).contains(line), "no {line:?} in\n{}", text(&output));
    }
    let output = rdb_tools(["info", "--json", &good()]);
    let info: serde_json::Value = serde_json::from_slice(&output.stdout).expect("is JSON");
    assert_eq!((&info["magic"], &info["producer"]), (&"REDIS0010".into(), &"redis 7.0.15".into()));
    assert!(info["declared_keys"].as_u64().expect("a number") > 10);
    // What comes behind the first key does not matter.
    let bytes = fs::read(good()).expect("testdata");
    let cut = with_stdin(&["info", "-"], &bytes[..bytes.len() / 2]);
    assert_eq!(cut.status.code(), Some(0), "{}", text(&cut));
    assert_eq!(rdb_tools(["info", "/no/such/file"]).status.code(), Some(2));
}

#[test]
fn a_damaged_file_gives_the_keys_before_the_damage() {
    let bytes = fs::read(good()).expect("testdata");
    let whole = rdb_tools(["dump", &good()]);
    let cut = with_stdin(&["dump", "-"], &bytes[..bytes.len() - 300]);
    assert_eq!(cut.status.code(), Some(1));
    assert!(!cut.stdout.is_empty() && whole.stdout.starts_with(&cut.stdout));
    assert!(cut.stdout.ends_with(b"}\n"), "no line is cut");
}

#[test]
fn help_names_the_subcommands_and_exit_codes() {
    let help = text(&rdb_tools(["--help"]));
    for word in ["info", "check", "dump"] {
        assert!(help.contains(word), "{help}");
    }
    for command in ["info", "check", "dump"] {
        assert!(text(&rdb_tools([command, "--help"])).contains("Exit status: 0 if"), "{command}");
    }
}

#[test]
fn outputs_that_cannot_be_written_are_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    for command in ["convert", "sort", "dump"] {
        let output = rdb_tools([command, &good(), "-o", &at("none/out.rdb")]);
        let told = format!("rdb-tools: {}: there is no folder {}\n", at("none/out.rdb"), at("none"));
        assert_eq!((output.status.code(), text(&output)), (Some(2), told), "{command}");
    }
    if !Path::new("/dev/full").exists() {
        return;
    }
    // Whatever the way that the bytes take, the error says where they were to go.
    let full = [
        vec!["convert", "--to", "rdb"],
        vec!["convert", "--to", "jsonl"],
        vec!["convert", "--to", "resp"],
        vec!["convert", "--to", "aof-file"],
        vec!["sort"],
        vec!["merge"],
        vec!["dump"],
        vec!["dump", "--format", "resp"],
        vec!["dump", "--format", "parquet"],
        vec!["salvage"],
    ];
    for args in full {
        let output = rdb_tools([&args[..], &[&good(), "-o", "/dev/full", "--force"]].concat());
        let told = text(&output);
        assert_eq!(
            (output.status.code(), told.matches("/dev/full").count()),
            (Some(2), 1),
            "{args:?} {told}"
        );
        assert!(told.contains("No space left on device"), "{args:?} {told}");
    }
}

#[test]
fn names_of_files_cannot_steer_a_terminal() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cut = folder.path().join("a\x1b[31m\nb.rdb");
    let whole = fs::read(good()).expect("testdata");
    fs::write(&cut, &whole[..100]).expect("write");
    let gone = folder.path().join("gone\x1b[31m");
    for (command, path) in
        [("dump", &cut), ("sort", &cut), ("digest", &cut), ("dump", &gone), ("info", &gone)]
    {
        let args = [command.as_ref(), path.as_os_str()];
        let more: &[&std::ffi::OsStr] = if command == "sort" { &["-o".as_ref(), "-".as_ref()] } else { &[] };
        let output = rdb_tools([&args, more].concat());
        assert!(!output.stderr.contains(&0x1b) && !output.stderr.is_empty(), "{command} {output:?}");
    }
}

#[test]
fn packed_files_that_are_cut_are_findings_everywhere() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("cut.rdb.zst");
    let packed = zstd::encode_all(&fs::read(good()).expect("testdata")[..], 3).expect("memory");
    fs::write(&path, &packed[..packed.len() / 2]).expect("write");
    for command in ["info", "check", "dump", "stats", "digest"] {
        let output = rdb_tools([command.as_ref(), path.as_os_str()]);
        assert_eq!(output.status.code(), Some(1), "{command} {}", text(&output));
        assert!(text(&output).contains("ends early: the rest is missing"), "{command} {}", text(&output));
    }
}
