//! `redis-check-aof` by name: transcripts of the servers' tool, and the tool itself where it is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::support::{check_aof, copy_folder, fixtures, run, testdata};

/// Text without what differs from run to run: process and time in front of log lines.
fn comparable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines = text.lines().map(|line| {
        match line.split_once(":C ").map(|(pid, rest)| (pid, rest.split_once(" # "))) {
            Some((pid, Some((_, text)))) if pid.bytes().all(|b| b.is_ascii_digit()) => text,
            _ => line,
        }
    });
    lines.collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

/// One command of the transcript, and what came of it.
struct Case {
    args: Vec<String>,
    stdin: &'static str,
    output: Vec<u8>,
    code: i32,
    /// Size of the file afterwards, where it is told.
    size: Option<u64>,
}

fn cases(transcript: &[u8]) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut after_exit = false;
    for line in transcript.split_inclusive(|b| *b == b'\n') {
        let text = String::from_utf8_lossy(line).trim_end().to_owned();
        if let Some(command) = text.strip_prefix("$ ") {
            let stdin = if command.contains("echo y") {
                "y\n"
            } else if command.contains("echo n") {
                "n\n"
            } else {
                ""
            };
            let command = command
                .split_once(" | ")
                .map_or(command, |(_, c)| c)
                .replace("--fix multi_open", "--fix m1.aof")
                .replace("m1.aof.aof", "multi_open.aof");
            let args = command
                .split_whitespace()
                .filter(|word| *word != "redis-check-aof")
                .map(str::to_owned)
                .collect();
            cases.push(Case { args, stdin, output: Vec::new(), code: 0, size: None });
            after_exit = false;
            continue;
        }
        let Some(case) = cases.last_mut() else { continue };
        if let Some(exit) = text.strip_prefix("[exit=") {
            let (code, rest) = exit.split_once(']').expect("an exit code");
            case.code = code.parse().expect("a number");
            case.size = rest.trim().strip_prefix("size ").and_then(|n| n.parse().ok());
            after_exit = true;
        } else if after_exit {
            case.size = text.parse().ok().or(case.size);
        } else {
            case.output.extend_from_slice(line);
        }
    }
    cases
}

/// The files as they were before the transcript: those that it cuts are copies of others.
fn fresh_cases(folder: &Path, fixtures: &Path) {
    copy_folder(&fixtures.join("handmade/cases"), folder);
    let copies = [
        ("trunc.aof", "t1.aof"),
        ("trunc.aof", "t2.aof"),
        ("multi_open.aof", "m1.aof"),
        ("ts.aof", "ts_1628217469.aof"),
        ("ts.aof", "ts_1628217471.aof"),
        ("ts.aof", "ts_1628217473.aof"),
        ("ts.aof", "ts_1628217474.aof"),
        ("ts.aof", "mp2/appendonly.aof.2.incr.aof"),
    ];
    for (from, to) in copies {
        fs::copy(folder.join(from), folder.join(to)).expect("a copy");
    }
}

#[test]
fn handmade_cases_give_the_lines_of_the_original() {
    let Some(fixtures) = fixtures("handmade_cases_give_the_lines_of_the_original") else { return };
    let transcript = fs::read(fixtures.join("handmade/check-aof-cases.txt")).expect("the transcript");
    let folder = tempfile::tempdir().expect("a temporary folder");
    fresh_cases(folder.path(), &fixtures);
    let cases = cases(&transcript);
    assert_eq!(cases.len(), 48);
    for case in cases {
        let args: Vec<&str> = case.args.iter().map(String::as_str).collect();
        let output = check_aof(folder.path(), &args, case.stdin);
        assert_eq!(comparable(&output.stdout), comparable(&case.output), "{args:?}");
        assert_eq!(output.status.code(), Some(case.code), "{args:?}");
        assert_eq!(output.stderr, b"", "{args:?}");
        if let Some(size) = case.size {
            let file = folder.path().join(args.last().expect("a file"));
            assert_eq!(fs::metadata(file).expect("a file").len(), size, "{args:?}");
        }
    }
}

fn write(folder: &Path, name: &str, content: &str) {
    fs::write(folder.join(name), content).expect("write");
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_torn_tail_is_cut_after_a_yes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let whole = "*1\r\n$4\r\nPING\r\n";
    write(folder.path(), "a.aof", &format!("{whole}*2\r\n$3\r\nGET\r\n$3\r\nab"));
    let output = check_aof(folder.path(), &["a.aof"], "");
    let analyzed = "0x              1f: Expected to read 5 bytes, got 2 bytes\n\
                    AOF analyzed: filename=a.aof, size=33, ok_up_to=14, ok_up_to_line=8, diff=19\n";
    assert_eq!(
        stdout(&output),
        format!(
            "Start checking Old-Style AOF\n{analyzed}AOF a.aof is not valid. Use the --fix option to try fixing it.\n"
        )
    );
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(check_aof(folder.path(), &["--fix", "a.aof"], "n\n").status.code(), Some(1));
    assert_eq!(fs::metadata(folder.path().join("a.aof")).expect("a file").len(), 33);
    let output = check_aof(folder.path(), &["--fix", "a.aof"], "y\n");
    assert!(stdout(&output).ends_with("to 14 bytes\nContinue? [y/N]: Successfully truncated AOF a.aof\n"));
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    assert_eq!(fs::read(folder.path().join("a.aof")).expect("a file"), whole.as_bytes());
}

#[test]
fn a_question_can_be_answered_in_advance() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let whole = "*1\r\n$4\r\nPING\r\n";
    for args in [["--fix", "--yes", "a.aof"], ["-y", "--fix", "a.aof"], ["--fix", "a.aof", "-y"]] {
        write(folder.path(), "a.aof", &format!("{whole}*2\r\n"));
        let output = check_aof(folder.path(), &args, "");
        assert!(stdout(&output).ends_with("Continue? [y/N]: y\nSuccessfully truncated AOF a.aof\n"));
        assert_eq!(fs::read(folder.path().join("a.aof")).expect("a file"), whole.as_bytes());
    }
    write(folder.path(), "-y", whole);
    assert_eq!(check_aof(folder.path(), &["-y"], "").status.code(), Some(0));
}

#[test]
fn a_read_only_file_can_be_checked() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write(folder.path(), "a.aof", "*1\r\n$4\r\nPING\r\n");
    let mut permissions = fs::metadata(folder.path().join("a.aof")).expect("a file").permissions();
    permissions.set_readonly(true);
    fs::set_permissions(folder.path().join("a.aof"), permissions).expect("permissions");
    assert_eq!(check_aof(folder.path(), &["a.aof"], "").status.code(), Some(0));
}

#[test]
fn bytes_that_no_writer_writes_are_told_as_the_original_tells_them() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cases = [
        ("*1\r\n\0", "0x               4: Expected prefix '$', got: '\n"),
        ("*1\r\n$\u{7f}4\r\n", "0x               4: Expected \\r\\n, got: 7f34\n"),
        ("* +1\r\n$ 0\r\n\r\n", "ok_up_to=13, ok_up_to_line=4, diff=0\n"),
        ("*-7\r\n", "ok_up_to=5, ok_up_to_line=2, diff=0\n"),
        (
            "*1\r\n$99999999999999999999\r\n",
            "0x               4: Expected to read string of 9223372036854775807 bytes",
        ),
        (
            "*1\r\n$99999999999999\r\nab",
            "0x              15: Expected to read 100000000000001 bytes, got 2 bytes\n",
        ),
        ("*1\r\n$4", "0x               4: Expected \\r\\n, got: 0000\n"),
        ("*1\r\n$4\r", "0x               4: Expected \\r\\n, got: 0d00\n"),
        ("*1\r\n", "\nAOF analyzed: filename=a.aof, size=4, ok_up_to=0, ok_up_to_line=2, diff=4\n"),
        ("# any thing\n*1\r\n$4\r\nPING\r\nPING\r\n", "AOF a.aof format error\n"),
    ];
    for (content, line) in cases {
        write(folder.path(), "a.aof", content);
        let text = stdout(&check_aof(folder.path(), &["a.aof"], ""));
        assert!(text.contains(line), "{content:?}\n{text}");
    }
}

#[test]
fn logs_of_real_servers_are_valid() {
    let folder = testdata().join("aof");
    let mut checked = 0;
    for entry in fs::read_dir(&folder).expect("testdata") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|n| n.to_str()).expect("an ASCII name").to_owned();
        if !path.is_dir() {
            continue;
        }
        for file in manifests_and_single_files(&path) {
            let file_name = file.file_name().and_then(|n| n.to_str()).expect("an ASCII name");
            let output = check_aof(file.parent().expect("a folder"), &[file_name], "");
            let expected = i32::from(name.contains("truncated"));
            assert_eq!(output.status.code(), Some(expected), "{}\n{}", file.display(), stdout(&output));
            checked += 1;
        }
    }
    assert!(checked > 15, "{checked}");
}

#[test]
fn damaged_logs_end_with_the_code_and_complaint_of_the_original() {
    let folder = testdata().join("corrupt/aof");
    let index = fs::read_to_string(testdata().join("corrupt/index.tsv")).expect("the index");
    let mut checked = 0;
    for row in index.lines().filter_map(|row| row.strip_prefix("aof/")) {
        let columns: Vec<&str> = row.split('\t').collect();
        let (inner, file) = match columns[0].starts_with("manifest-") {
            true => (folder.join(columns[0]), "a.manifest"),
            false => (folder.clone(), columns[0]),
        };
        let output = check_aof(&inner, &[file], "");
        let text = stdout(&output);
        // The original crashes on a length that no memory could hold; we do not.
        if columns[6] == "crashes" {
            assert_eq!(output.status.code(), Some(1), "{row}\n{text}");
            continue;
        }
        assert_eq!(output.status.code(), columns[5].parse().ok(), "{row}\n{text}");
        assert!(text.contains(&columns[6].replace("DIR/", "./")), "{row}\n{text}");
        checked += 1;
    }
    assert!(checked > 30, "{checked}");
}

fn manifests_and_single_files(folder: &Path) -> Vec<PathBuf> {
    let single = folder.join("appendonly.aof");
    if single.is_file() {
        return vec![single];
    }
    let inner =
        fs::read_dir(folder).expect("a folder").next().expect("an inner folder").expect("an entry").path();
    let entries = fs::read_dir(inner).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.extension().is_some_and(|e| e == "manifest")).collect()
}

/// A small generator, so that a failing file can be made again.
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize
}

#[test]
fn damaged_files_are_judged_as_the_original_judges_them() {
    let server = std::env::var_os("CAIRN_REFERENCE_SERVER").map(PathBuf::from);
    let tool = server.and_then(|s| Some(s.parent()?.join("redis-check-aof"))).filter(|tool| tool.exists());
    let Some(tool) = tool else {
        println!("skipped: CAIRN_REFERENCE_SERVER is not set, or has no redis-check-aof beside it");
        return;
    };
    let rounds = std::env::var("CAIRN_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(150);
    let sources: Vec<Vec<u8>> = ["redis-6.0.16-single", "redis-6.0.16-single-preamble"]
        .iter()
        .map(|name| fs::read(testdata().join("aof").join(name).join("appendonly.aof")).expect("testdata"))
        .collect();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut state = 7;
    let mut same_text = 0;
    for round in 0..rounds {
        let mut bytes = sources[next(&mut state) % sources.len()].clone();
        let at = next(&mut state) % bytes.len();
        match next(&mut state) % 5 {
            0 => bytes.truncate(at),
            1 => drop(bytes.remove(at)),
            2 => bytes[at] = next(&mut state) as u8,
            _ => bytes[at] ^= 1 << (next(&mut state) % 8),
        }
        fs::write(folder.path().join("f.aof"), &bytes).expect("write");
        let theirs = run(&tool, "redis-check-aof", folder.path(), &["f.aof"], "");
        let ours = check_aof(folder.path(), &["f.aof"], "");
        let (our_text, their_text) = (comparable(&ours.stdout), comparable(&theirs.stdout));
        assert_eq!(ours.status.code(), theirs.status.code(), "round {round}\n{our_text}\n{their_text}");
        if our_text == their_text {
            same_text += 1;
        } else if std::env::var_os("CAIRN_SHOW").is_some() {
            println!("--- round {round}, ours:\n{our_text}\n--- theirs:\n{their_text}");
        }
    }
    println!("{same_text} of {rounds} damaged files gave the same lines");
    assert!(same_text * 100 >= rounds * 90, "only {same_text} of {rounds} gave the same lines");
}
