//! What keys can be read from: packed files, JSON lines, servers; each against the RDB file it came from.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::{files_with, rdb_tools, testdata};

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
