//! What keys can be read from: packed files, JSON lines, servers; each against the RDB file it came from.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::{files_with, fixtures, rdb_tools, testdata};

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A dump of `bytes` in a file of that name.
fn dump_of(name: &str, bytes: &[u8]) -> Output {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("write");
    dump(&path)
}

fn dump(path: &Path) -> Output {
    rdb_tools(["dump".as_ref(), "--no-progress".as_ref(), path.as_os_str()])
}

fn dump_of_stdin(bytes: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rdb-tools"))
        .args(["dump", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut stdin = child.stdin.take().expect("is piped");
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&bytes)));
    let output = child.wait_with_output().expect("the binary ends");
    writer.join().expect("does not panic");
    output
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("into memory")
}

fn lz4(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(bytes).expect("into memory");
    encoder.finish().expect("into memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("into memory")
}

#[test]
fn packed_files_read_as_what_they_hold() {
    for file in files_with(&testdata().join("rdb"), "rdb") {
        let bytes = fs::read(&file).expect("testdata");
        let plain = dump(&file);
        assert_eq!(plain.status.code(), Some(0), "{}: {}", file.display(), stderr(&plain));
        let packed = [
            gzip(&bytes),
            zstd(&bytes),
            lz4(&bytes),
            [b"VCS\x01\x01\x00\x01", &lz4(&bytes)[..]].concat(),
            [b"VCS\x01\x02\x00\x01", &zstd(&bytes)[..]].concat(),
        ];
        for (i, packed) in packed.iter().enumerate() {
            // The name says nothing.
            let output = dump_of("dump.rdb", packed);
            assert!(output.stdout == plain.stdout, "form {i} of {}: {}", file.display(), stderr(&output));
            assert_eq!(output.status.code(), Some(0));
        }
        let output = dump_of_stdin(&packed[i32::from(bytes.len() % 2 == 0) as usize]);
        assert!(output.stdout == plain.stdout, "{}: {}", file.display(), stderr(&output));
    }
}

#[test]
fn a_cut_packed_file_is_a_finding_and_keeps_its_keys() {
    let bytes = fs::read(testdata().join("rdb/redis-7.0.15-all-types.rdb")).expect("testdata");
    let packed = gzip(&bytes);
    // Only its checksum is missing: everything is there, and it is told all the same.
    let almost = dump_of("dump.rdb.gz", &packed[..packed.len() - 4]);
    assert!(almost.status.code() == Some(1) && stderr(&almost).contains("gzip: ends early"));
    let cut = dump_of("dump.rdb.gz", &packed[..packed.len() / 2]);
    assert_eq!(cut.status.code(), Some(1), "{}", stderr(&cut));
    assert!(stderr(&cut).contains("gzip: ends early: the rest is missing"), "{}", stderr(&cut));
    let whole = dump_of("dump.rdb", &bytes);
    assert!(almost.stdout == whole.stdout);
    assert!(cut.stdout.len() > whole.stdout.len() / 10 && whole.stdout.starts_with(&cut.stdout));
    // What is inside can be cut too, and an unknown envelope is no RDB file.
    let inner = dump_of("dump.rdb.gz", &gzip(&bytes[..bytes.len() - 20]));
    assert!(
        inner.status.code() == Some(1) && stderr(&inner).contains("Unexpected EOF"),
        "{}",
        stderr(&inner)
    );
    let unknown = dump_of("dump.rdb", b"VCS\x01\x09\x00\x01");
    assert!(unknown.status.code() == Some(1) && stderr(&unknown).contains("codec 9"), "{}", stderr(&unknown));
}

/// Dumps a file, reads the dump back and dumps that; answers both.
fn there_and_back(file: &Path) -> (Output, Output) {
    let args = ["dump", "--no-progress", "--raw-modules"];
    let there = rdb_tools(args.iter().map(|a| (*a).into()).chain([file.as_os_str().to_owned()]));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("dump.jsonl");
    fs::write(&path, &there.stdout).expect("write");
    let back = rdb_tools(args.iter().map(|a| (*a).into()).chain([path.into_os_string()]));
    (there, back)
}

/// The first lines that differ, for a person.
fn difference(one: &[u8], other: &[u8]) -> String {
    let mut pairs = one.split(|b| *b == b'\n').zip(other.split(|b| *b == b'\n'));
    let show = |line: &[u8]| String::from_utf8_lossy(&line[..line.len().min(600)]).into_owned();
    match pairs.find(|(a, b)| a != b) {
        Some((a, b)) => format!("\n  {}\n  {}", show(a), show(b)),
        None => format!(" {} and {} bytes", one.len(), other.len()),
    }
}

/// Checks every file of a folder; answers how many.
fn check_there_and_back(folder: &Path) -> usize {
    let mut count = 0;
    for file in files_with(folder, "rdb") {
        let (there, back) = there_and_back(&file);
        // Damaged files are no business of this test, but what can be dumped can be read back.
        assert_eq!(back.status.code(), Some(0), "{}: {}", file.display(), stderr(&back));
        let is_same = there.stdout == back.stdout;
        assert!(is_same, "{}:{}", file.display(), difference(&there.stdout, &back.stdout));
        count += usize::from(there.status.code() == Some(0) && !there.stdout.is_empty());
    }
    count
}

#[test]
fn a_dump_reads_back_as_what_it_was_dumped_from() {
    assert!(check_there_and_back(&testdata().join("rdb")) > 20);
}

#[test]
fn dumps_of_every_producer_read_back() {
    let Some(fixtures) = fixtures("dumps_of_every_producer_read_back") else { return };
    let mut folders = vec![fixtures];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        count += check_there_and_back(&folder);
        let entries = fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        folders.extend(entries.filter(|path| path.is_dir()));
    }
    assert!(count > 100, "{count} files");
}

#[test]
fn a_dump_can_be_made_a_file_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (lines, made) = (folder.path().join("dump.jsonl"), folder.path().join("made.rdb"));
    let dump = |file: &Path| {
        rdb_tools(["dump".as_ref(), "--no-progress".as_ref(), "--raw-modules".as_ref(), file.as_os_str()])
    };
    for file in files_with(&testdata().join("rdb"), "rdb") {
        let there = dump(&file);
        fs::write(&lines, &there.stdout).expect("write");
        let convert =
            ["convert".as_ref(), lines.as_os_str(), "-o".as_ref(), made.as_os_str(), "--force".as_ref()];
        let converted = rdb_tools(convert);
        assert_eq!(converted.status.code(), Some(0), "{}: {}", file.display(), stderr(&converted));
        let back = dump(&made);
        // Expiries that KeyDB tells beside its keys, and compression, are the writer's affair.
        if there.stdout != back.stdout {
            let d = difference(&there.stdout, &back.stdout);
            panic!("{}:{d}", file.display());
        }
        let check = rdb_tools(["check".as_ref(), made.as_os_str()]);
        assert_eq!(
            check.status.code(),
            rdb_tools(["check".as_ref(), file.as_os_str()]).status.code(),
            "{}",
            file.display()
        );
    }
}
