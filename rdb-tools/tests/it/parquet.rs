//! `dump --format parquet`, read back with another reader: the same rows as csv has.

use std::fs::File;
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use rdb_tools::escape::unescape;

use crate::dump::{cells, small};
use crate::support::{files_with, rdb_tools, testdata};

/// A cell as csv would have it: nothing, or text.
fn cell(field: &Field) -> Option<Vec<u8>> {
    Some(match field {
        Field::Null => return None,
        Field::Bool(value) => value.to_string().into_bytes(),
        Field::Int(value) => value.to_string().into_bytes(),
        Field::Long(value) | Field::TimestampMillis(value) => value.to_string().into_bytes(),
        Field::ULong(value) => value.to_string().into_bytes(),
        Field::Double(value) => value.to_bits().to_string().into_bytes(),
        Field::Str(text) => text.as_bytes().to_vec(),
        Field::Bytes(bytes) => bytes.data().to_vec(),
        other => panic!("{other:?}"),
    })
}

/// A row, where a cell may be null.
type Row = Vec<Option<Vec<u8>>>;

fn rows(file: &Path) -> (Vec<String>, Vec<Row>, usize) {
    let reader = SerializedFileReader::new(File::open(file).expect("opens")).expect("is Parquet");
    let groups = reader.metadata().num_row_groups();
    let mut names = Vec::new();
    let mut rows = Vec::new();
    for row in reader.get_row_iter(None).expect("has rows") {
        let row = row.expect("can be read");
        names = row.get_column_iter().map(|(name, _)| name.clone()).collect();
        rows.push(row.get_column_iter().map(|(_, field)| cell(field)).collect());
    }
    (names, rows, groups)
}

/// The rows of csv, as bytes. Scores are compared as the bits of doubles. An empty cell is nothing, but
/// for the names and values that cannot be nothing.
fn csv_rows(file: &Path, which: &str) -> (Vec<String>, Vec<Vec<Vec<u8>>>) {
    let output = rdb_tools([
        "dump".as_ref(),
        file.as_os_str(),
        "--format=csv".as_ref(),
        "--rows".as_ref(),
        which.as_ref(),
    ]);
    assert_eq!(output.status.code(), Some(0));
    let mut lines = cells(std::str::from_utf8(&output.stdout).expect("is text"));
    let names = lines.remove(0);
    let score = names.iter().position(|name| name == "score");
    let rows = lines.into_iter().map(|line| {
        let bytes =
            line.into_iter().enumerate().map(|(at, text)| match Some(at) == score && !text.is_empty() {
                true => text.parse::<f64>().expect("a number").to_bits().to_string().into_bytes(),
                false => unescape(text.as_bytes()).expect("is escaped"),
            });
        bytes.collect()
    });
    (names, rows.collect())
}

fn compare(file: &Path, args: &[&str]) {
    for which in ["keys", "elements"] {
        let out = tempfile::NamedTempFile::new().expect("a temporary file");
        let goal = out.path().to_owned();
        let output = rdb_tools(
            [
                "dump".as_ref(),
                file.as_os_str(),
                "--format=parquet".as_ref(),
                "--rows".as_ref(),
                which.as_ref(),
            ]
            .into_iter()
            .chain(["--force".as_ref(), "-o".as_ref(), goal.as_os_str()])
            .chain(args.iter().map(std::ffi::OsStr::new)),
        );
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let (names, rows, _) = rows(&goal);
        let (csv_names, csv_rows) = csv_rows(file, which);
        if !rows.is_empty() {
            let names: Vec<_> =
                names.iter().map(|name| if name == "expire_at" { "pexpireat" } else { name }).collect();
            assert_eq!(names, csv_names);
        }
        assert_eq!(rows.len(), csv_rows.len(), "{}", file.display());
        for (row, csv) in rows.into_iter().zip(csv_rows) {
            let row: Vec<Vec<u8>> = row.into_iter().map(Option::unwrap_or_default).collect();
            assert_eq!(row, csv, "{}", file.display());
        }
    }
}

#[test]
fn rows_are_those_of_csv() {
    compare(small().path(), &[]);
    for file in files_with(&testdata().join("rdb"), "rdb") {
        compare(&file, &["--no-mmap"]);
    }
}

#[test]
fn nothing_and_empty_are_two_things() {
    let file = small();
    let out = tempfile::NamedTempFile::new().expect("a temporary file");
    let goal = out.path().to_owned();
    let args =
        ["dump".as_ref(), file.path().as_os_str(), "--format=parquet".as_ref(), "--rows=elements".as_ref()];
    let more = ["--key=list".as_ref(), "--force".as_ref(), "-o".as_ref(), goal.as_os_str()];
    assert_eq!(rdb_tools(args.into_iter().chain(more)).status.code(), Some(0));
    let (_, rows, _) = rows(&goal);
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[1][6], &rows[1][7]), (&None, &Some(Vec::new())));
}

#[test]
fn large_files_have_many_row_groups() {
    // Twenty-five megabytes of strings.
    let mut bytes = b"REDIS0011\xfe\x00".to_vec();
    let value = [b'v'; 250];
    for i in 0..100_000 {
        bytes.extend_from_slice(b"\x00\x08");
        bytes.extend_from_slice(format!("{i:08}").as_bytes());
        bytes.extend_from_slice(&[0x40, 250]);
        bytes.extend_from_slice(&value);
    }
    bytes.extend_from_slice(b"\xff\0\0\0\0\0\0\0\0");
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), bytes).expect("write");
    let output = rdb_tools([
        "dump".as_ref(),
        file.path().as_os_str(),
        "--format=parquet".as_ref(),
        "--rows=elements".as_ref(),
    ]);
    assert_eq!(output.status.code(), Some(0));
    // Through a pipe, too.
    let goal = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(goal.path(), &output.stdout).expect("write");
    assert!(output.stdout.len() < 4_000_000, "{}", output.stdout.len());
    let (_, rows, groups) = rows(goal.path());
    assert!((2..10).contains(&groups), "{groups}");
    assert_eq!(rows.len(), 100_000);
    for (i, row) in rows.iter().enumerate() {
        assert_eq!(row[1].as_deref(), Some(format!("{i:08}").as_bytes()));
        assert_eq!(row[7].as_deref(), Some(&value[..]));
    }
}
