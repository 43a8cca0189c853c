//! `rdb-tools digest`: one line a data set, whatever it is stored in; DEBUG DIGEST as servers answered it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::support::{files_with, fixtures, rdb_tools, testdata};

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn digest_of(file: &Path, options: &[&str]) -> String {
    let output = on_file(file, &[&["digest"], options].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    text(&output).split_whitespace().next().expect("a digest").to_owned()
}

/// Runs the binary with these arguments and a file as the last.
fn on_file(file: &Path, args: &[&str]) -> Output {
    rdb_tools(args.iter().map(OsStr::new).chain([file.as_os_str()]))
}

fn rdb(name: &str) -> PathBuf {
    testdata().join("rdb").join(name)
}

#[test]
fn how_a_file_is_read_and_written_does_not_matter() {
    let whole = rdb("redis-7.0.15-all-types.rdb");
    let digest = digest_of(&whole, &[]);
    assert_eq!(digest.len(), 64);
    assert_eq!(digest_of(&whole, &["--no-mmap", "--jobs", "1"]), digest);
    let Some(fixtures) = fixtures("how_a_file_is_read_and_written_does_not_matter") else { return };
    for entry in fs::read_dir(fixtures.join("made")).expect("a folder") {
        let folder = entry.expect("an entry").path();
        let other = folder.join("all-types-nocompress.rdb");
        if other.exists() {
            let digest = digest_of(&folder.join("all-types.rdb"), &[]);
            assert_eq!(digest_of(&other, &[]), digest, "{}", folder.display());
        }
    }
}

/// Compares `--debug` with what the servers answered, for all files of a folder.
fn check_debug(folder: &Path) -> (usize, usize) {
    let (mut same, mut unknown) = (0, 0);
    for file in files_with(folder, "rdb") {
        let Ok(expected) = fs::read_to_string(file.with_extension("digest.txt")) else { continue };
        let output = rdb_tools(["digest".as_ref(), "--debug".as_ref(), file.as_os_str()]);
        let all = text(&output);
        let line = all.lines().find(|line| line.contains("(DEBUG DIGEST of "));
        match line {
            None => assert_eq!(output.status.code(), Some(1), "{}: {all}", file.display()),
            Some(line) if line.starts_with("unknown ") => unknown += 1,
            Some(line) => {
                assert!(line.starts_with(expected.trim()), "{}: {line}, {expected}", file.display());
                same += 1;
            }
        }
    }
    (same, unknown)
}

#[test]
fn debug_digests_are_those_of_the_servers() {
    let (same, unknown) = check_debug(&testdata().join("rdb"));
    assert!(same >= 40 && unknown <= 4, "{same} {unknown}");
    let Some(fixtures) = fixtures("debug_digests_are_those_of_the_servers") else { return };
    let (mut same, mut unknown) = (0, 0);
    for entry in fs::read_dir(fixtures.join("made")).expect("a folder") {
        let folder = entry.expect("an entry").path();
        if folder.is_dir() {
            let (s, u) = check_debug(&folder);
            (same, unknown) = (same + s, unknown + u);
        }
    }
    assert!(same > 110 && unknown < same / 8, "{same} {unknown}");
}

#[test]
fn databases_keys_and_files_have_digests_of_their_own() {
    let file = rdb("redis-7.0.15-all-types.rdb");
    let output = rdb_tools(
        ["digest", "--per-db", "--file", "--keys"].map(AsRef::as_ref).into_iter().chain([file.as_os_str()]),
    );
    let all = text(&output);
    assert_eq!(output.status.code(), Some(0), "{all}");
    let name = file.display();
    for part in [format!("{name}\n"), format!("{name} (db 0, "), format!("{name} (CRC64)\n")] {
        assert!(all.contains(&part), "no {part:?} in {all}");
    }
    let mut sum = crc64fast::Digest::new();
    sum.write(&fs::read(&file).expect("testdata"));
    assert!(all.contains(&format!("{:016X}  ", sum.sum64())));
    let json = rdb_tools(
        ["digest", "--json", "--per-db", "--debug"].map(AsRef::as_ref).into_iter().chain([file.as_os_str()]),
    );
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("is JSON");
    assert_eq!(json["digest"], digest_of(&file, &[]));
    let expected = fs::read_to_string(file.with_extension("digest.txt")).expect("testdata");
    assert_eq!(json["debug_digest"], expected.trim());
    let keys = json["parts"].as_array().expect("parts").iter().filter(|part| part["db"].is_u64());
    assert_eq!(keys.map(|part| part["keys"].as_u64().expect("a number")).sum::<u64>(), json["keys"]);
}

#[test]
fn a_damaged_input_has_no_digest_and_a_missing_one_is_trouble() {
    let good = rdb("redis-7.0.15-all-types.rdb");
    let bytes = fs::read(&good).expect("testdata");
    let mut cut = tempfile::NamedTempFile::new().expect("a temporary file");
    std::io::Write::write_all(&mut cut, &bytes[..bytes.len() - 9]).expect("write");
    let output = rdb_tools(["digest".as_ref(), cut.path().as_os_str(), good.as_os_str()]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let lines: Vec<_> = output.stdout.split(|b| *b == b'\n').filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), 1, "only the good one: {}", text(&output));
    assert!(text(&output).contains("the end is missing"), "{}", text(&output));
    assert_eq!(rdb_tools(["digest", "/no/such/file"]).status.code(), Some(2));
    let output = on_file(&good, &["digest", "--tmp-dir", "/no/such/folder"]);
    assert_eq!(output.status.code(), Some(0), "nothing was spilled: {}", text(&output));
}
