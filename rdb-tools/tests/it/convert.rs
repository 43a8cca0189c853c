//! `convert` from the outside: forms, losses, edits, and what it leaves behind.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::{rdb_tools, testdata};

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).expect("it is there");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// Runs `convert`: exit code, standard output, standard error.
    fn convert(&self, input: &Path, output: &str, more: &[&str]) -> (i32, String, String) {
        let output = self.at(output);
        let mut args: Vec<&OsStr> = ["convert".as_ref(), input.as_os_str(), "-o".as_ref()].to_vec();
        args.push(output.as_os_str());
        args.extend(more.iter().map(OsStr::new));
        let done = rdb_tools(args);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (done.status.code().expect("no signal"), text(done.stdout), text(done.stderr))
    }
}

fn sample(name: &str) -> PathBuf {
    testdata().join("rdb").join(name)
}

/// The keys as lines, without how they are stored.
fn contents(path: &Path) -> String {
    let done = rdb_tools([OsStr::new("dump"), "--sort".as_ref(), "--raw-modules".as_ref(), path.as_os_str()]);
    let text = String::from_utf8(done.stdout).expect("JSON is ASCII");
    assert!(done.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&done.stderr));
    let form = regex::Regex::new(r#""rdb_type":\d+,|"string_form":"\w+","#).expect("a pattern");
    form.replace_all(&text, "").into_owned()
}

#[test]
fn losses_are_told_and_nothing_is_left() {
    let place = Place::new();
    let input = sample("redis-7.0.15-functions.rdb");
    let (code, out, err) = place.convert(&input, "out.rdb", &["--target", "redis-6.2"]);
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.starts_with("rdb-tools: redis-6.2 cannot hold all of the input:\n  function: "), "{err}");
    assert_eq!(place.names(), [""; 0]);
    let report = place.at("losses.jsonl");
    let report = report.to_str().expect("text");
    let more = ["--target", "redis-6.2", "--lossy", "drop", "--losses", report];
    let (code, out, err) = place.convert(&input, "out.rdb", &more);
    assert_eq!(code, 0, "{err}");
    assert!(out.ends_with(" keys\n") && !err.contains("    \""), "{err}");
    assert_eq!(place.names(), ["losses.jsonl", "out.rdb"]);
    let report = fs::read_to_string(report).expect("it is there");
    assert!(report.starts_with("{\"feature\":\"function\",\"key\":\""), "{report}");
    let (code, _, err) = place.convert(&input, "out.rdb", &["--target", "redis-7.0"]);
    assert!(code == 2 && err.ends_with("is there already; --force replaces it\n"), "{err}");
}

#[test]
fn every_form_has_the_same_keys() {
    for name in ["redis-7.0.15-all-types.rdb", "valkey-9.1.2-all-types.rdb", "redis-8.0.6-all-types.rdb"] {
        let place = Place::new();
        let input = sample(name);
        let expected = contents(&input);
        for (output, more) in [
            ("copy.rdb", &[][..]),
            ("pressed.rdb", &["--compress", "off", "--checksum", "off"]),
            ("log.aof", &["--lossy", "drop"]),
            ("keys.jsonl", &["--lossy", "drop"]),
        ] {
            let (code, _, err) = place.convert(&input, output, more);
            assert_eq!(code, 0, "{name} {output}: {err}");
        }
        for copy in ["copy.rdb", "pressed.rdb", "log.aof"] {
            assert_eq!(contents(&place.at(copy)), expected, "{name} {copy}");
        }
        let (code, _, err) = place.convert(&input, "appendonlydir/", &[]);
        assert_eq!(code, 0, "{name}: {err}");
        assert_eq!(contents(&place.at("appendonlydir/appendonly.aof.1.base.rdb")), expected, "{name}");
        let manifest =
            fs::read_to_string(place.at("appendonlydir/appendonly.aof.manifest")).expect("it is there");
        assert!(manifest.starts_with("file appendonly.aof.1.base.rdb seq 1 type b\n"), "{manifest}");
        assert_eq!(fs::read(place.at("appendonlydir/appendonly.aof.1.incr.aof")).expect("it is there"), b"");
    }
}

#[test]
fn edits_and_filters_work_together() {
    let place = Place::new();
    let input = sample("redis-7.0.15-lru.rdb");
    let (code, out, err) = place.convert(
        &input,
        "out.rdb",
        &["--type", "string", "--rename", "^(.*)$=app:$1", "--map-db", "0:3"],
    );
    assert_eq!(code, 0, "{err}");
    assert!(out.ends_with("out.rdb: 4 keys\n"), "{out}");
    let keys = contents(&place.at("out.rdb"));
    assert!(keys.lines().all(|line| line.starts_with("{\"db\":3,\"key\":\"app:")), "{keys}");
    let (code, _, err) = place.convert(&input, "other.rdb", &["--rename", ".*=same"]);
    assert_eq!(code, 1, "{err}");
    assert!(err.starts_with("rdb-tools: 1 names would be those of two keys or more:\n"), "{err}");
    let (code, out, err) =
        place.convert(&input, "other.rdb", &["--rename", ".*=same", "--on-collision", "last"]);
    assert!(code == 0 && out.ends_with("other.rdb: 1 keys\n"), "{out}{err}");
}

#[test]
fn an_input_is_never_changed_and_a_damaged_one_makes_nothing() {
    let place = Place::new();
    let input = place.at("in.rdb");
    let bytes = fs::read(sample("redis-7.0.15-all-types.rdb")).expect("a file");
    fs::write(&input, &bytes).expect("write");
    let (code, _, err) = place.convert(&input, "in.rdb", &["--force"]);
    assert!(code == 2 && err.contains("an input is never changed"), "{err}");
    assert!(fs::read(&input).expect("it is there") == bytes);
    fs::write(&input, &bytes[..bytes.len() - 20]).expect("write");
    for output in ["out.rdb", "out.aof", "out.resp", "out.jsonl", "folder/"] {
        let (code, _, err) = place.convert(&input, output, &[]);
        assert_eq!(code, 1, "{output}: {err}");
        assert_eq!(place.names(), ["in.rdb"], "{output}");
    }
}

#[test]
fn access_clocks_are_told_and_do_not_keep_the_output_from_being_written() {
    let place = Place::new();
    for (name, word) in [("lru", "idle-time"), ("lfu", "access-counter")] {
        let input = sample(&format!("redis-7.0.15-{name}.rdb"));
        let (code, _, err) = place.convert(&input, "strict.resp", &["--lossy", "strict"]);
        assert!(code == 1 && err.contains("nothing was written"), "{code} {err}");
        assert!(!place.at("strict.resp").exists());
        let (code, _, err) = place.convert(&input, &format!("{name}.resp"), &[]);
        assert!(code == 0 && err.contains("left out") && err.contains(word), "{code} {err}");
        assert!(place.at(&format!("{name}.resp")).exists());
    }
}

/// KeyDB tells behind a hash when its fields expire, and JSON lines keep how that was told.
#[test]
fn expiries_of_fields_that_keydb_told_get_through_json_lines() {
    let place = Place::new();
    let line = concat!(
        r#"{"db":0,"key":"h","type":"hash","rdb_type":4,"pexpireat":-1,"value":[["a","1"],["b","2"]],"#,
        r#""field_pexpireat":[["a",4102444800000]]}"#,
        "\n"
    );
    fs::write(place.at("k.jsonl"), line).expect("write");
    for target in ["redis-8.0", "valkey-9"] {
        let out = format!("{target}.rdb");
        let (code, _, err) = place.convert(&place.at("k.jsonl"), &out, &["--target", target]);
        assert_eq!(code, 0, "{err}");
        let line = contents(&place.at(&out));
        assert!(line.contains(r#""field_pexpireat":[["a",4102444800000]]"#), "{line}");
    }
    let set = r#"{"key":"s","type":"set","value":["a"],"field_pexpireat":[["a",4102444800000]]}"#;
    fs::write(place.at("s.jsonl"), set).expect("write");
    let (code, _, err) = place.convert(&place.at("s.jsonl"), "s.rdb", &["--target", "redis-8.0"]);
    assert!(code == 1 && err.contains("member-ttl"), "{code} {err}");
}

#[test]
fn json_lines_hold_what_modules_keep_beside_their_keys() {
    use base64::Engine as _;
    let place = Place::new();
    // The type's id, when it is read, a string, the end.
    let record = [&[0x81][..], &0x1234_5678_9abc_def0_u64.to_be_bytes(), &[2, 1, 5, 2], b"hi", &[0]].concat();
    let line_of = |bytes: &[u8]| {
        let text = base64::engine::general_purpose::STANDARD.encode(bytes);
        format!(r#"{{"db":-1,"key":"EjRWeJq83","type":"module_aux","value":{{"b64":"{text}"}}}}"#) + "\n"
    };
    fs::write(place.at("aux.jsonl"), line_of(&record)).expect("write");
    let (code, _, err) = place.convert(&place.at("aux.jsonl"), "aux.rdb", &["--target", "redis-7.2"]);
    assert_eq!(code, 0, "{err}");
    let (code, _, err) = place.convert(&place.at("aux.rdb"), "back.jsonl", &[]);
    assert_eq!(code, 0, "{err}");
    let back = fs::read_to_string(place.at("back.jsonl")).expect("read");
    let value = |line: &str| line.split_once("\"value\":").map(|(_, value)| value.to_owned());
    assert_eq!(value(&back), value(&line_of(&record)));
    assert_eq!(contents(&place.at("aux.rdb")), back);
    let plain = rdb_tools(["dump".as_ref(), place.at("aux.rdb").as_os_str()]);
    assert!(plain.status.success() && plain.stdout.is_empty(), "{plain:?}");
    let told = String::from_utf8_lossy(&plain.stderr).into_owned();
    assert!(told.contains("1 pieces of what modules keep") && told.contains("--raw-modules"), "{told}");
    for at in 0..record.len() {
        for bad in [&record[..at], &[&record[..], b"\x05\x01x\0"].concat()] {
            fs::write(place.at("bad.jsonl"), line_of(bad)).expect("write");
            let (code, _, err) = place.convert(&place.at("bad.jsonl"), "bad.rdb", &[]);
            assert!(
                code == 1 && err.contains("line 1") && !place.at("bad.rdb").exists(),
                "{at} {code} {err}"
            );
        }
    }
}
