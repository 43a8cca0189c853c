//! `dump` in its forms: exact on a small file, well-formed on all others, the same however it is read.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{files_with, fixtures, rdb_tools, testdata};

/// A file with a value of most kinds, and names that every form has to escape.
pub(crate) fn small() -> tempfile::NamedTempFile {
    let string = |bytes: &[u8]| [&[bytes.len() as u8][..], bytes].concat();
    let file = [
        b"REDIS0011".to_vec(),
        [&b"\xf5"[..], &string(b"#!lua name=mylib\nreturn 1")].concat(),
        b"\xfe\x00".to_vec(),
        [&b"\x00"[..], &string(b"a,\"b\" c"), &string(b"plain")].concat(),
        [&b"\xfc\x00\xd4\xa8\xf0\x84\x03\x00\x00\x00"[..], &string(b"\xff\x00\n"), &string(b"\x00\\")]
            .concat(),
        [&b"\xf9\x07\x01"[..], &string(b"list"), b"\x02", &string(b"one"), &string(b"")].concat(),
        b"\xfe\x03".to_vec(),
        [&b"\x05"[..], &string(b"z"), b"\x01", &string(b"m"), &0.1f64.to_le_bytes()].concat(),
        [&b"\x04"[..], &string("ż".as_bytes()), b"\x01", &string(b"f"), &string(b"17")].concat(),
        b"\xff\0\0\0\0\0\0\0\0".to_vec(),
    ];
    let temp = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(temp.path(), file.concat()).expect("write");
    temp
}

fn dump(file: &Path, args: &[&str]) -> String {
    let args =
        ["dump".into(), file.as_os_str().to_owned()].into_iter().chain(args.iter().map(|a| (*a).into()));
    let output = rdb_tools(args);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    // Of values of modules it is told what the readable form does not hold.
    let told: String =
        told.lines().filter(|line| !line.contains("modules") && !line.contains("--raw-modules")).collect();
    assert_eq!((output.status.code(), &*told), (Some(0), ""), "{}", file.display());
    String::from_utf8(output.stdout).expect("is text")
}

#[test]
fn every_form_of_a_small_file() {
    let file = small();
    let dump = |args: &[&str]| dump(file.path(), args);
    assert_eq!(dump(&["--format", "keys"]), "a,\"b\" c\n\\xff\\x00\\n\nlist\nz\nż\n");
    assert_eq!(
        dump(&["--format", "csv"]),
        "db,key,type,encoding,record,elements,bytes,pexpireat,idle,freq,slot,field_ttl\r\n\
         -1,mylib,function,,function,1,25,,,,,false\r\n\
         0,\"a,\"\"b\"\" c\",string,embstr,string,1,6,,,,16280,false\r\n\
         0,\\xff\\x00\\n,string,embstr,string,1,3,3869508162560,,,11817,false\r\n\
         0,list,list,linkedlist,list-linked,2,6,,,7,12291,false\r\n\
         3,z,zset,skiplist,zset-v2,1,11,,,,8157,false\r\n\
         3,ż,hash,hashtable,hash-hashtable,1,6,,,,4086,false\r\n"
    );
    assert_eq!(
        dump(&["--format", "csv", "--rows", "elements"]),
        "db,key,type,index,id,path,field,value,score,pexpireat\r\n\
         -1,mylib,function,0,,,,#!lua name=mylib\\nreturn 1,,\r\n\
         0,\"a,\"\"b\"\" c\",string,0,,,,plain,,\r\n\
         0,\\xff\\x00\\n,string,0,,,,\\x00\\\\,,\r\n\
         0,list,list,0,,,,one,,\r\n\
         0,list,list,1,,,,\"\",,\r\n\
         3,z,zset,0,,,m,,0.10000000000000001,\r\n\
         3,ż,hash,0,,,f,17,,\r\n"
    );
    assert_eq!(
        dump(&["--format", "table", "--now", "2026-11-21"]),
        " DB TYPE       ENCODING      ELEMENTS     BYTES        TTL  KEY\n\
         \x20-1 function   -                    1        25          -  mylib\n\
         \x20 0 string     embstr               1         6          -  a,\\\"b\\\" c\n\
         \x20 0 string     embstr               1         3     24007d  \\xff\\x00\\n\n\
         \x20 0 list       linkedlist           2         6          -  list\n\
         \x20 3 zset       skiplist             1        11          -  z\n\
         \x20 3 hash       hashtable            1         6          -  ż\n"
    );
    let lines = dump(&[]);
    assert_eq!(dump(&["--format", "json"]), format!("[\n{}\n]\n", lines.trim_end().replace('\n', ",\n")));
    assert_eq!(dump(&["--format", "json", "--key", "nobody"]), "[]\n");
    let nul = rdb_tools(["dump", &file.path().display().to_string(), "--format", "keys", "-0"]);
    assert_eq!(nul.stdout, b"a,\"b\" c\0\xff\x00\n\0list\0z\0\xc5\xbc\0");
}

#[test]
fn limits_samples_and_orders() {
    let file = testdata().join("rdb/redis-8.0.6-all-types.rdb");
    let keys = |args: &[&str]| {
        let args = [&["--format", "keys"], args].concat();
        dump(&file, &args).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let all = keys(&[]);
    assert_eq!(keys(&["--limit", "3"]), all[..3]);
    assert!(keys(&["--limit", "0"]).is_empty());
    assert_eq!(keys(&["--limit", "100000"]), all);
    let ten = keys(&["--sample", "10", "--type", "string,list,set,hash,zset,stream"]);
    assert_eq!(ten.len(), 10);
    let in_order: Vec<_> = all.iter().filter(|key| ten.contains(key)).cloned().collect();
    assert_eq!(ten, in_order, "a sample keeps the order");
    assert_ne!(keys(&["--sample", "10", "--seed", "1"]), keys(&["--sample", "10", "--seed", "2"]));
    let part = keys(&["--sample", "30%"]);
    assert!(part.len() > all.len() / 8 && part.len() < all.len() / 2, "{}", part.len());
    assert_eq!(part, keys(&["--sample", "30%", "--no-mmap", "-j1"]));
    let smaller = keys(&["--sample", "10%"]);
    assert!(smaller.iter().all(|key| part.contains(key)), "a smaller sample is a part of a larger one");
    let piped = rdb_tools(["dump", "-", "--sample", "3"]);
    assert_eq!(piped.status.code(), Some(2));

    let order = |line: &str| {
        let value: Value = serde_json::from_str(line).expect("is JSON");
        (value["db"].as_i64().expect("a number"), value["key"].to_string())
    };
    // Names that JSON has as base64 have another order there.
    let plain = ["--not-regex", "[^ -~]|[\"\\\\]"];
    let sorted = dump(&file, &[&["--sort"][..], &plain].concat());
    assert!(sorted.lines().map(order).is_sorted());
    let mut lines: Vec<String> = dump(&file, &plain).lines().map(str::to_owned).collect();
    let mut again: Vec<String> = sorted.lines().map(str::to_owned).collect();
    lines.sort();
    again.sort();
    assert_eq!(again, lines);
}

#[test]
fn an_output_file_is_whole_or_not_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = small();
    let goal = folder.path().join("out.json");
    let args = |force: bool| {
        let mut args: Vec<std::ffi::OsString> = vec![
            "dump".into(),
            file.path().into(),
            "--format".into(),
            "json".into(),
            "-o".into(),
            (&goal).into(),
        ];
        args.extend(force.then(|| "--force".into()));
        args
    };
    assert_eq!(rdb_tools(args(false)).status.code(), Some(0));
    let first = fs::read(&goal).expect("is there");
    assert!(serde_json::from_slice::<Value>(&first).is_ok());
    let again = rdb_tools(args(false));
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("--force replaces it"));
    assert_eq!(rdb_tools(args(true)).status.code(), Some(0));
    let over = rdb_tools([
        "dump".as_ref(),
        file.path().as_os_str(),
        "-o".as_ref(),
        file.path().as_os_str(),
        "--force".as_ref(),
    ]);
    assert_eq!(over.status.code(), Some(2));
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
}

/// Cells of RFC 4180, line by line.
pub(crate) fn cells(text: &str) -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    let mut line: Vec<String> = vec![String::new()];
    let mut chars = text.chars().peekable();
    let mut is_quoted = false;
    while let Some(c) = chars.next() {
        let cell = line.last_mut().expect("has one");
        match c {
            '"' if is_quoted && chars.peek() == Some(&'"') => cell.push(chars.next().expect("was seen")),
            '"' => is_quoted = !is_quoted,
            c if is_quoted => cell.push(c),
            ',' => line.push(String::new()),
            '\r' => {
                assert_eq!(chars.next(), Some('\n'));
                lines.push(std::mem::replace(&mut line, vec![String::new()]));
            }
            '\n' => panic!("a bare line end"),
            c => cell.push(c),
        }
    }
    assert!(!is_quoted && line == [String::new()], "the last line ends");
    lines
}

/// Every form of a file is well-formed and has as many rows as there are keys or elements.
fn check_forms(file: &Path, keys: usize) {
    let run = |args: &[&str]| {
        let args =
            ["dump".into(), file.as_os_str().to_owned()].into_iter().chain(args.iter().map(|a| (*a).into()));
        let output = rdb_tools(args);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{}: {:?}", file.display(), output.status);
        String::from_utf8(output.stdout).expect("is text")
    };
    let array: Value = serde_json::from_str(&run(&["--format", "json"])).expect("is JSON");
    let array = array.as_array().expect("is an array");
    assert_eq!(array.len(), keys, "{}", file.display());
    let rows = cells(&run(&["--format", "csv"]));
    assert!(rows.iter().all(|row| row.len() == 12), "{}", file.display());
    assert_eq!(rows.len() - 1, keys, "{}", file.display());
    let elements = cells(&run(&["--format", "csv", "--rows", "elements"]));
    assert!(elements.iter().all(|row| row.len() == 10), "{}", file.display());
    for row in &rows[1..] {
        let of_key = elements.iter().filter(|element| element[..2] == row[..2]);
        let declared: Option<usize> = row[5].parse().ok();
        match (&*row[2], declared) {
            ("stream" | "radix" | "vectorset", _) | (_, None) => {}
            (_, Some(declared)) => assert_eq!(of_key.count(), declared, "{}: {row:?}", file.display()),
        }
    }
    let table = run(&["--format", "table"]);
    assert_eq!(table.lines().count() - 1, keys, "{}", file.display());
    let functions = array.iter().filter(|line| line["db"] == -1).count();
    assert_eq!(run(&["--format", "keys"]).lines().count(), keys - functions, "{}", file.display());
}

#[test]
fn every_form_of_the_testdata_is_well_formed() {
    for file in files_with(&testdata().join("rdb"), "rdb") {
        check_forms(&file, dump(&file, &[]).lines().count());
    }
}

fn all_rdb_files(folder: &Path, found: &mut Vec<PathBuf>) {
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
fn every_form_of_every_fixture_is_well_formed() {
    let Some(fixtures) = fixtures("every_form_of_every_fixture_is_well_formed") else { return };
    let mut files = Vec::new();
    all_rdb_files(&fixtures, &mut files);
    assert!(files.len() > 300, "{}", files.len());
    for file in files {
        let output = rdb_tools(["dump".as_ref(), file.as_os_str()]);
        match output.status.code() {
            Some(0) => check_forms(&file, output.stdout.iter().filter(|b| **b == b'\n').count()),
            Some(1) => {}
            other => panic!("{}: {other:?}", file.display()),
        }
    }
}
