//! `redis-check-rdb` by name: transcripts of the servers' tool, and the tool itself where it is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::{files_with, fixtures, testdata};

/// Runs the binary under a server tool's name, in `folder`.
fn check_rdb(folder: &Path, args: &[&str]) -> Output {
    let names = tempfile::tempdir().expect("a temporary folder");
    let link = names.path().join("redis-check-rdb");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_rdb-tools"), &link).expect("a link");
    let mut command = Command::new(&link);
    // What the tool calls itself is what it was called by; the transcripts have no path there.
    std::os::unix::process::CommandExt::arg0(&mut command, "redis-check-rdb");
    command.args(args).current_dir(folder).output().expect("the binary runs")
}

/// Output as a transcript has it: what was printed, then the exit code and standard error.
fn transcript(output: &Output) -> Vec<u8> {
    let stderr = String::from_utf8_lossy(&output.stderr).replace('\n', "|");
    let code = output.status.code().expect("an exit code");
    [&output.stdout[..], format!("[exit={code}] [stderr: {stderr}]\n").as_bytes()].concat()
}

#[test]
fn handmade_cases_give_the_lines_of_the_original() {
    let Some(fixtures) = fixtures("handmade_cases_give_the_lines_of_the_original") else { return };
    let cases = fs::read(fixtures.join("handmade/check-rdb-cases.txt")).expect("the transcript");
    let folder = fixtures.join("handmade/cases");
    let mut compared = 0;
    for case in cases.split(|b| *b == b'$').skip(1) {
        let end = case.iter().position(|b| *b == b'\n').expect("a command line");
        let (command, expected) =
            (std::str::from_utf8(&case[..end]).expect("ASCII"), case[end + 1..].trim_ascii_end());
        let args: Vec<&str> = command.split_whitespace().skip(1).collect();
        let found = transcript(&check_rdb(&folder, &args));
        assert_eq!(
            String::from_utf8_lossy(found.trim_ascii_end()),
            String::from_utf8_lossy(expected),
            "{command}"
        );
        compared += 1;
    }
    assert_eq!(compared, 14);
}

#[test]
fn good_and_bad_files_end_as_they_should() {
    let folder = testdata().join("rdb");
    let output = check_rdb(&folder, &["redis-7.0.15-all-types.rdb"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.starts_with("[offset 0] Checking RDB file redis-7.0.15-all-types.rdb\n[offset "), "{text}");
    assert!(text.contains("AUX FIELD redis-ver = '7.0.15'\n"), "{text}");
    assert!(text.contains("] Checksum OK\n") && text.contains("] \\o/ RDB looks OK! \\o/\n"), "{text}");
    for file in files_with(&folder, "rdb") {
        let name = file.file_name().and_then(|n| n.to_str()).expect("an ASCII name");
        assert_eq!(check_rdb(&folder, &[name]).status.code(), Some(0), "{name}");
    }
    assert_eq!(check_rdb(&folder, &["no-such-file"]).stdout, b"[offset 0] Checking RDB file no-such-file\n");
    assert_eq!(check_rdb(&folder, &["no-such-file"]).status.code(), Some(1));
    let usage = check_rdb(&folder, &["a", "b"]);
    assert_eq!(usage.stderr, b"Usage: redis-check-rdb <rdb-file-name>\n");
    assert!(check_rdb(&folder, &["--version"]).stdout.starts_with(b"redis-check-rdb "));
}

#[test]
fn damaged_files_end_with_the_code_and_complaint_of_the_original() {
    let folder = testdata().join("corrupt");
    let index = fs::read_to_string(folder.join("index.tsv")).expect("the index");
    let (mut checked, mut same_complaint) = (0, 0);
    for row in index.lines().filter(|row| row.starts_with("rdb/")) {
        let columns: Vec<&str> = row.split('\t').collect();
        let output = check_rdb(&folder, &[columns[0]]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), columns[5].parse().ok(), "{row}\n{text}");
        // Another version's source has other line numbers.
        let complaint = columns[6]
            .split("rdb.c:")
            .last()
            .unwrap_or_default()
            .trim_start_matches(|c: char| c.is_ascii_digit());
        same_complaint += u32::from(text.contains(complaint));
        checked += 1;
    }
    assert!(checked > 90 && same_complaint * 10 >= checked * 8, "{same_complaint} of {checked}");
}

#[test]
fn files_of_every_producer_give_the_lines_of_its_own_tool() {
    let Some(fixtures) = fixtures("files_of_every_producer_give_the_lines_of_its_own_tool") else { return };
    // Older tools printed otherwise, and Valkey 9's prints log lines in between.
    let producers =
        ["4.0.14", "5.0.14", "6.2.16", "7.0.15", "7.4.1", "8.0.6", "8.8dev"].map(|v| format!("redis-{v}"));
    // What depends on the day, and counts that later versions added.
    let is_fixed = |line: &&str| {
        !["already expired", "subexpires"].iter().any(|end| line.starts_with("[info]") && line.ends_with(end))
    };
    let lines = |text: &str| text.lines().filter(is_fixed).collect::<Vec<_>>().join("\n");
    let mut compared = 0;
    for producer in producers.iter().map(String::as_str).chain(["valkey-8.1dev"]) {
        let folder = fixtures.join("made").join(producer);
        for file in files_with(&folder, "rdb") {
            let record = fs::read(file.with_extension("check.txt")).expect("what the tool said");
            let record = String::from_utf8_lossy(&record).into_owned();
            let (_, record) = record.split_once('\n').expect("a command line");
            let (expected, status) = record.rsplit_once("exit status ").expect("an exit status");
            let output =
                check_rdb(&folder, &[file.file_name().and_then(|n| n.to_str()).expect("an ASCII name")]);
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(lines(&text), lines(expected), "{}", file.display());
            assert_eq!(output.status.code(), status.trim().parse().ok(), "{}", file.display());
            compared += 1;
        }
    }
    assert!(compared > 80, "{compared}");
}

/// The real tool, next to the reference server that the environment names.
fn reference() -> Option<PathBuf> {
    let server = std::env::var_os("CAIRN_REFERENCE_SERVER").map(PathBuf::from);
    let tool = server.and_then(|s| Some(s.parent()?.join("redis-check-rdb"))).filter(|tool| tool.exists());
    if tool.is_none() {
        println!("skipped: CAIRN_REFERENCE_SERVER is not set, or has no redis-check-rdb beside it");
    }
    tool
}

/// Where two runs may differ: process and time of log lines, and names that 7.0.15 has for types
/// 6, 7 and 19 and that were put right later.
fn comparable(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let text = [
        "6 (module-pre-release)",
        "6 (module-value)",
        "7 (module-value)",
        "7 ()",
        "19 (stream-v2)",
        "19 (unknown)",
    ]
    .iter()
    .fold(text, |text, name| text.replace(&format!("type {name}"), "type"));
    let lines = text
        .lines()
        .map(|line| line.split_once(":C ").and_then(|(_, l)| l.split_once(" # ")).map_or(line, |l| l.1));
    lines.collect::<Vec<_>>().join("\n")
}

/// A small generator, so that a failing file can be made again.
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize
}

#[test]
fn damaged_files_are_judged_as_the_original_judges_them() {
    let Some(tool) = reference() else { return };
    let rounds = std::env::var("CAIRN_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(150);
    // Types and opcodes that came later are judged by newer tools only.
    let sources: Vec<Vec<u8>> = files_with(&testdata().join("rdb"), "rdb")
        .iter()
        .filter(|f| {
            let name = f.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            name.starts_with("redis-7.0") || name.starts_with("redis-6")
        })
        .map(|f| fs::read(f).expect("testdata"))
        .collect();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut state = 42;
    let mut same_text = 0;
    for round in 0..rounds {
        let mut bytes = sources[next(&mut state) % sources.len()].clone();
        let at = 9 + next(&mut state) % (bytes.len() - 9);
        match next(&mut state) % 5 {
            0 => bytes.truncate(at),
            1 => drop(bytes.remove(at)),
            2 => bytes[at] = next(&mut state) as u8,
            _ => bytes[at] ^= 1 << (next(&mut state) % 8),
        }
        fs::write(folder.path().join("f.rdb"), &bytes).expect("write");
        let theirs =
            Command::new(&tool).arg("f.rdb").current_dir(folder.path()).output().expect("the tool runs");
        let ours = check_rdb(folder.path(), &["f.rdb"]);
        assert_eq!(
            ours.status.code(),
            theirs.status.code(),
            "round {round}\n{}\n{}",
            comparable(&ours),
            comparable(&theirs)
        );
        if comparable(&ours) == comparable(&theirs) {
            same_text += 1;
        } else if std::env::var_os("CAIRN_SHOW").is_some() {
            println!("--- round {round}, ours:\n{}\n--- theirs:\n{}", comparable(&ours), comparable(&theirs));
        }
    }
    println!("{same_text} of {rounds} damaged files gave the same lines");
    assert!(same_text * 100 >= rounds * 97, "only {same_text} of {rounds} gave the same lines");
}

/// Runs the binary as Valkey's tool.
fn valkey_check_rdb(folder: &Path, args: &[&str]) -> Output {
    let names = tempfile::tempdir().expect("a temporary folder");
    let link = names.path().join("valkey-check-rdb");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_rdb-tools"), &link).expect("a link");
    Command::new(&link).args(args).current_dir(folder).output().expect("the binary runs")
}

#[test]
fn valkeys_tool_has_figures_and_takes_foreign_versions() {
    let folder = testdata().join("rdb");
    let output = valkey_check_rdb(&folder, &["redis-7.0.15-all-types.rdb", "--stats", "--format", "info"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for line in [
        "] Check RDB returned error code 0 (0 means success)\n",
        "] \\o/ RDB looks OK! \\o/\n",
        " functions\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert!(text.contains("[info] db.0.type.string.keys.total:"), "{text}");
    // One of a version that is Redis's own, without any type of that version; and with one.
    let temp = tempfile::tempdir().expect("a folder");
    fs::write(temp.path().join("12.rdb"), b"REDIS0012\x00\x01k\x01v\xff\0\0\0\0\0\0\0\0").expect("write");
    let output = valkey_check_rdb(temp.path(), &["12.rdb"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("[offset 9] Foreign RDB version 12 detected\n"), "{text}");
    assert!(text.contains("RDB looks OK, but loading requires config 'rdb-version-check relaxed'"), "{text}");
    fs::write(temp.path().join("987.rdb"), b"VALKEY987\x96\x01k\x01v\xff\0\0\0\0\0\0\0\0").expect("write");
    let output = valkey_check_rdb(temp.path(), &["987.rdb"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("[offset 9] Future RDB version 987 detected\n"), "{text}");
    assert!(
        text.contains("[offset 10] Unknown object type 150 in RDB file with future version 987\n"),
        "{text}"
    );
    // The figures go where they are wanted.
    let output =
        valkey_check_rdb(temp.path(), &["12.rdb", "--stats", "--format", "csv", "--output", "out.csv"]);
    assert!(!String::from_utf8_lossy(&output.stdout).contains("keys.total"));
    let figures = fs::read_to_string(temp.path().join("out.csv")).expect("it is there");
    assert!(figures.starts_with("db.0.type.name,string,list,set,zset,hash,module,stream\n"), "{figures}");
    assert!(figures.contains("\ndb.0.keys.total,1,0,0,0,0,0,0\n"), "{figures}");
    assert_eq!(valkey_check_rdb(temp.path(), &["12.rdb", "--format", "xml"]).status.code(), Some(1));
}
