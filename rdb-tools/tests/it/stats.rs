//! `stats`: the same numbers in every form of its output, whatever the keys are called.

use std::fs;
use std::io::Write;
use std::process::Output;

use serde_json::Value;

use crate::support::{files_with, fixtures, rdb_tools, testdata};

fn file(name: &str) -> String {
    testdata().join(name).display().to_string()
}

fn text(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("is UTF-8")
}

fn json(args: &[&str]) -> Value {
    let args = ["stats", "--json"].iter().chain(args);
    serde_json::from_str(&text(&rdb_tools(args))).expect("is JSON")
}

fn sum(rows: &Value, name: &str) -> u64 {
    rows.as_array().expect("is a list").iter().map(|row| row[name].as_u64().expect("is a number")).sum()
}

/// A file with string keys of these names, without checksum.
fn file_with_keys(keys: &[&[u8]]) -> tempfile::NamedTempFile {
    let mut bytes = b"REDIS0011\xfa\x08used-mem\x05hello\xfe\x00".to_vec();
    for key in keys {
        assert!(key.len() < 64);
        bytes.extend_from_slice(&[0, key.len() as u8]);
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(b"\x01v");
    }
    bytes.extend_from_slice(b"\xff\0\0\0\0\0\0\0\0");
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(&bytes).expect("write");
    file
}

#[test]
fn parts_add_up_to_the_whole() {
    for path in files_with(&testdata().join("rdb"), "rdb") {
        let name = path.display().to_string();
        let found = json(&[&name]);
        let total = &found["total"];
        for measure in ["keys", "memory", "file_bytes", "elements", "expiring"] {
            for group in ["types", "encodings", "records", "dbs"] {
                assert_eq!(sum(&found[group], measure), total[measure], "{name} {group} {measure}");
            }
        }
        for spans in ["count", "memory"] {
            let of = if spans == "count" { "keys" } else { spans };
            assert_eq!(sum(&found["ttl"], spans), total[of], "{name} ttl");
        }
        for measure in ["keys", "memory"] {
            assert_eq!(sum(&found["slots"]["nodes"], measure), total[measure], "{name} slots");
        }
        let first =
            found["prefixes"]["rows"].as_array().expect("rows").iter().filter(|row| row["level"] == 1);
        let below: u64 = first.map(|row| row["memory"].as_u64().expect("a number")).sum();
        assert_eq!(
            below + found["prefixes"]["without"]["memory"].as_u64().expect("a number"),
            total["memory"]
        );
        // A key takes at least a dict entry's or a record's header, and what it says it takes is not absurd.
        let (keys, memory) = (total["keys"].as_u64().expect("n"), total["memory"].as_u64().expect("n"));
        assert!(
            memory >= keys * 16 && memory < keys * 200 + 20 * fs::metadata(&path).expect("is there").len()
        );
        assert_eq!(found["complete"], true);
        assert_eq!(json(&["--no-mmap", &name])["total"], *total);
        assert_eq!(json(&["--jobs", "1", &name])["types"], found["types"]);
    }
}

#[test]
fn several_threads_find_what_one_finds() {
    let mut keys = Vec::new();
    for i in 0..200_000u32 {
        keys.push(format!("app:{}:user:{i}", i % 700));
    }
    let keys: Vec<&[u8]> = keys.iter().map(String::as_bytes).collect();
    let file = file_with_keys(&keys);
    let name = file.path().display().to_string();
    let [one, many] = ["1", "3"].map(|jobs| {
        let mut found = json(&["--at", "2026-01-01", "--jobs", jobs, "--prefix-depth", "2", &name]);
        assert_eq!(found["prefixes"]["exact"], true);
        found.as_object_mut().expect("is one").remove("file");
        found
    });
    assert_eq!(one["total"]["keys"], 200_000);
    assert!(one == many, "{one}\n{many}");
    let rows = |jobs: &str| rdb_tools(["stats", "--csv=keys", "--jobs", jobs, &name]).stdout;
    assert!(rows("1") == rows("3"), "rows are in the order of the file");
}

#[test]
fn tables_have_a_row_a_line() {
    let name = file("rdb/redis-7.0.15-all-types.rdb");
    let found = json(&[&name]);
    let keys = found["total"]["keys"].as_u64().expect("a number") as usize;
    for (table, least) in
        [("groups", 10), ("keys", keys), ("top", 3), ("sizes", 3), ("spans", 8), ("slots", 3)]
    {
        let csv = text(&rdb_tools(["stats", &format!("--csv={table}"), &name]));
        let columns = |line: &str| {
            let mut quoted = false;
            line.chars()
                .filter(|c| {
                    quoted ^= *c == '"';
                    !quoted && *c == ','
                })
                .count()
        };
        let head = columns(csv.lines().next().expect("a head"));
        assert!(csv.lines().all(|line| columns(line) == head), "{csv}");
        assert!(csv.lines().count() > least, "{csv}");
    }
    let rows = text(&rdb_tools(["stats", "--csv=keys", &name]));
    assert_eq!(rows.lines().count(), keys + 1);
    let bare = text(&rdb_tools(["stats", "--csv", &name]));
    assert!(bare.starts_with("group,name,keys,memory_bytes,"));
    assert_eq!(rdb_tools(["stats", "--csv=nothing", &name]).status.code(), Some(2));
}

#[test]
fn text_tells_the_same_as_json() {
    let name = file("rdb/redis-7.0.15-all-types.rdb");
    let found = json(&[&name]);
    let shown = text(&rdb_tools(["stats", &name]));
    let total = &found["total"];
    assert!(
        shown.contains(&format!("{} keys, {} of them expiring", total["keys"], total["expiring"])),
        "{shown}"
    );
    for part in [
        "memory, as redis-7.0 would hold it",
        "used-mem of the writer",
        "types",
        "zset skiplist",
        "time to live",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    let other = text(&rdb_tools(["stats", "--for", "valkey-9", &name]));
    assert!(other.contains("memory, as valkey-9 would hold it"));
    assert!(other.contains("not compared with used-mem: the file's writer holds data in another way"));
    let chosen = json(&["--type", "zset", &name]);
    assert_eq!(chosen["types"].as_array().expect("a list").len(), 1);
    assert_eq!((&chosen["everything"], &chosen["memory"]["unexplained"]), (&false.into(), &Value::Null));
}

#[test]
fn times_are_compared_with_the_instant_asked_for() {
    let name = file("memory/valkey-8.1.1.rdb");
    let expired = |at: &str| json(&["--at", at, &name])["total"]["expired"].clone();
    assert_eq!(expired("written"), 0);
    assert_eq!(expired("now"), 0);
    let later = json(&["--at", "2100-01-01", &name]);
    assert_eq!(later["total"]["expired"], later["total"]["expiring"]);
    assert!(later["total"]["expired"].as_u64() > Some(20));
    let fields = json(&[&file("memory/redis-8.0.6-field-ttl.rdb")]);
    assert!(sum(&fields["field_ttl"], "count") > 1000);
    assert_eq!(rdb_tools(["stats", "--at", "soon", &name]).status.code(), Some(2));
}

#[test]
fn a_damaged_file_gives_what_is_before_the_damage() {
    let whole = fs::read(file("rdb/redis-7.0.15-all-types.rdb")).expect("testdata");
    let mut half = tempfile::NamedTempFile::new().expect("a temporary file");
    half.write_all(&whole[..whole.len() / 2]).expect("write");
    let name = half.path().display().to_string();
    let output = rdb_tools(["stats", "--json", &name]);
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&output.stdout).expect("is JSON all the same");
    assert_eq!((&found["complete"], &found["memory"]["unexplained"]), (&false.into(), &Value::Null));
    assert!(found["total"]["keys"].as_u64() > Some(0));
    let shown = rdb_tools(["stats", &name]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("INCOMPLETE"));
    assert!(String::from_utf8_lossy(&shown.stderr).contains("offset"));
    assert_eq!(rdb_tools(["stats", "/no/such/file"]).status.code(), Some(2));
}

/// Names that would do harm where they are taken for markup, script, a terminal's sequence or a formula.
const HOSTILE: [&[u8]; 9] = [
    b"</script><script>alert(1)</script>",
    b"<img src=x onerror=alert(1)>:a",
    b"\"><svg onload=alert(1)>:b",
    b"\x1b]0;evil\x07:c",
    b"=cmd|'/c calc'!A1",
    b"a\r\nInjected: yes:d",
    b"\xff\xfe\x00:e",
    b"{{7*7}}${7*7}@DATA@:f",
    "\u{202e}txt.exe:\u{1f4a5}".as_bytes(),
];

#[test]
fn hostile_names_are_only_names() {
    let input = file_with_keys(&HOSTILE);
    let name = input.path().display().to_string();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let html = folder.path().join("report.html");
    let html_name = html.display().to_string();
    let shown = rdb_tools(["stats", "--html", &html_name, &name]);
    assert!(shown.stdout.iter().all(|b| *b == b'\n' || (b' '..0x7f).contains(b) || *b >= 0x80));
    assert!(!String::from_utf8_lossy(&shown.stdout).contains('\u{202e}'));
    let page = fs::read_to_string(&html).expect("is UTF-8");
    let data = page.split_once("<script type=\"application/json\" id=\"data\">").expect("has data").1;
    let (data, behind) = data.split_once('<').expect("ends");
    assert!(behind.starts_with("/script>\n<script nonce="), "nothing ends the data but its own end");
    let data: Value = serde_json::from_str(data).expect("is JSON");
    assert_eq!(data["biggest_by_memory"].as_array().expect("a list").len(), HOSTILE.len());
    assert_eq!(page.matches("<script").count(), 2);
    for harm in ["alert(1)<", "<img", "<svg", "onerror=alert(1)>"] {
        assert!(!page.contains(harm), "{harm}");
    }
    let csv = rdb_tools(["stats", "--csv=keys", &name]).stdout;
    assert!(csv.is_ascii() && !csv.contains(&0x1b) && !csv.contains(&b'\r'));
    assert_eq!(csv.iter().filter(|b| **b == b'\n').count(), HOSTILE.len() + 1);
    assert!(!String::from_utf8_lossy(&csv).contains(",=cmd"));
    // The report is there: without --force it stays.
    let again = rdb_tools(["stats", "--html", &html_name, &name]);
    assert_eq!(again.status.code(), Some(2));
    assert_eq!(rdb_tools(["stats", "--force", "--html", &html_name, &name]).status.code(), Some(0));
    assert_eq!(rdb_tools(["stats", "--force", "--html", &name, &name]).status.code(), Some(2));
    assert!(fs::read(input.path()).expect("read").starts_with(b"REDIS0011"));
}

#[test]
fn reports_are_complete_in_themselves() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["rdb/redis-7.0.15-all-types.rdb", "memory/valkey-9.1.2-field-ttl.rdb"] {
        let html = folder.path().join("report.html");
        let output = rdb_tools(["stats", "--force", "--html", &html.display().to_string(), &file(name)]);
        assert_eq!(output.status.code(), Some(0));
        let page = fs::read_to_string(&html).expect("is UTF-8");
        assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
        assert!(!page.contains("@NONCE@") && !page.contains("@STYLE@") && !page.contains("@SCRIPT@"));
        for outside in ["https://", "src=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}

#[test]
fn every_fixture_has_statistics_or_a_fault() {
    let Some(folder) = fixtures("every_fixture_has_statistics_or_a_fault") else { return };
    let mut folders = vec![folder];
    let mut read = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rdb") {
                let output = rdb_tools(["stats".as_ref(), "--json".as_ref(), path.as_os_str()]);
                let code = output.status.code();
                assert!(code == Some(0) || code == Some(1), "{}: {code:?}", path.display());
                let found: Value = serde_json::from_slice(&output.stdout).expect("is JSON");
                assert_eq!(found["complete"], code == Some(0), "{}", path.display());
                read += 1;
            }
        }
    }
    assert!(read > 50, "{read}");
}
