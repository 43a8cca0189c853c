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

#[test]
fn commands_make_the_keys_that_they_made_on_a_server() {
    let expected = dump_of(
        "keys.jsonl",
        br#"{"db":0,"key":"a","type":"string","value":"1"}
{"db":0,"key":"b","type":"list","value":["x","y z"]}
{"db":2,"key":"c","type":"set","rdb_type":11,"value":["7"]}
"#,
    );
    let resp =
        b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n*4\r\n$5\r\nRPUSH\r\n$1\r\nb\r\n$1\r\nx\r\n$3\r\ny z\r\n\
        *2\r\n$6\r\nSELECT\r\n$1\r\n2\r\n*3\r\n$4\r\nSADD\r\n$1\r\nc\r\n$1\r\n7\r\n";
    let typed = b"SET a 1\r\n\r\nRPUSH b x \"y z\"\nselect 2\nSADD c 7";
    let keys = |output: &Output| {
        assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
        let mut lines: Vec<serde_json::Value> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(|line| serde_json::from_str(line).expect("is JSON"))
            .collect();
        lines.iter_mut().for_each(|line| drop(line.as_object_mut().expect("an object").remove("rdb_type")));
        lines
    };
    let expected = keys(&expected);
    assert_eq!(expected.len(), 3);
    assert_eq!(keys(&dump_of("any name", resp)), expected);
    assert_eq!(keys(&dump_of("old.aof", resp)), expected);
    assert_eq!(keys(&dump_of("old.aof.gz", &gzip(resp))), expected);
    assert_eq!(keys(&dump_of_stdin(resp)), expected);
    assert_eq!(keys(&dump_of_stdin(&zstd(resp))), expected);
    assert_eq!(keys(&dump_of("typed.resp", typed)), expected);
    assert_eq!(keys(&dump_of("typed.redis", &lz4(typed))), expected);
    assert_eq!(keys(&dump_of("one line without an end.resp", b"SET a 1")).len(), 1);
    // A set of files, by its folder, the folder around it, and its manifest.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let set = folder.path().join("appendonlydir");
    fs::create_dir(&set).expect("a folder");
    let (base, incr) = resp.split_at(27);
    fs::write(set.join("a.aof.1.base.aof"), base).expect("write");
    fs::write(set.join("a.aof.1.incr.aof"), incr).expect("write");
    let manifest = set.join("a.aof.manifest");
    fs::write(&manifest, "file a.aof.1.base.aof seq 1 type b\nfile a.aof.1.incr.aof seq 1 type i\n")
        .expect("write");
    for path in [folder.path(), &set, &manifest] {
        assert_eq!(keys(&dump(path)), expected, "{}", path.display());
    }
    // Before commands an RDB file, packed as Valkey packs it, and both packed again.
    let rdb = b"REDIS0011\xfa\x08aof-base\xc0\x01\xfe\x00\x00\x01a\x03old\xff\0\0\0\0\0\0\0\0";
    let preamble = [&b"VCS\x01\x01\x00\x01"[..], &lz4(rdb), resp].concat();
    for bytes in [&[rdb, &resp[..]].concat(), &preamble, &gzip(&preamble)] {
        assert_eq!(keys(&dump_of("appendonly.aof", bytes)), expected);
        assert_eq!(keys(&dump_of_stdin(bytes)), expected);
    }
    // One that calls itself something else has commands where nothing should be.
    let other = dump_of("dump.rdb", &[rdb, &resp[..]].concat());
    assert!(
        other.status.code() == Some(1) && stderr(&other).contains("commands follow"),
        "{}",
        stderr(&other)
    );
    // Torn in the middle of the last command: the keys before it, and a word about it.
    let torn = dump_of("torn.aof", &resp[..resp.len() - 3]);
    assert_eq!(keys(&torn), expected[..2]);
    assert!(stderr(&torn).contains("torn off"), "{}", stderr(&torn));
    let typed = dump_of("typed.resp", b"SET a 1\nSET b \"2\n");
    assert!(typed.status.code() == Some(1) && stderr(&typed).contains("unbalanced"), "{}", stderr(&typed));
}

#[test]
fn lines_that_are_wrong_are_told_by_number() {
    let good = r#"{"key":"a","type":"string","value":"1"}"#;
    let deep = format!(r#"{{"key":"a","type":"list","value":{}"x"{}}}"#, "[".repeat(5000), "]".repeat(5000));
    let cases: &[(&[u8], &str)] = &[
        (b"{\"key\":\"a\"", "ends inside"),
        (b"{}", "\"type\" is missing"),
        (br#"{"key":"a","type":"string"}"#, "\"value\" is missing"),
        (br#"{"key":"a","type":"string","value":"1","x":2}"#, "no member \"x\""),
        (br#"{"key":"a","key":"b","type":"string","value":"1"}"#, "there twice"),
        (br#"{"key":"a","type":"string","value":"1"} x"#, "follows the end"),
        (br#"{"key":"a","type":"strung","value":"1"}"#, "no type \"strung\""),
        (br#"{"key":"a","type":"string","rdb_type":16,"value":"1"}"#, "not of a string"),
        (br#"{"key":"a","type":"string","rdb_type":300,"value":"1"}"#, "one byte"),
        (br#"{"key":"a","type":"string","string_form":"int8","value":"128"}"#, "does not fit"),
        (br#"{"key":"a","type":"string","value":1}"#, "a string should"),
        (b"{\"key\":\"a\",\"type\":\"string\",\"value\":\"\0\"}", "control character"),
        (b"{\"key\":\"\xff\",\"type\":\"string\",\"value\":\"1\"}", "not UTF-8"),
        (br#"{"db":99999999999999999999,"key":"a","type":"string","value":"1"}"#, "no unsigned 64-bit"),
        (br#"{"pexpireat":1e9,"key":"a","type":"string","value":"1"}"#, "no 64-bit"),
        (br#"{"freq":256,"key":"a","type":"string","value":"1"}"#, "one byte"),
        (br#"{"key":"a","type":"zset","value":[["m","nan"]]}"#, "no double"),
        (br#"{"key":"a","type":"hash","value":[["f"]]}"#, "','"),
        (br#"{"key":"a","type":"stream","value":{"entries":[["1-1",["f"]]]}}"#, "a value for every field"),
        (br#"{"key":"a","type":"stream","value":{"entries":[["2-1",[]],["1-1",[]]]}}"#, "in the order"),
        (br#"{"key":"a","type":"vectorset","value":{"quant_type":"f32"}}"#, "--raw-modules"),
        (deep.as_bytes(), "nested deeper"),
    ];
    for (bad, what) in cases {
        // A blank line counts as one, and the lines before are told.
        let output = dump_of("x.jsonl", &[good.as_bytes(), b"\n\n", bad, b"\n"].concat());
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{} {told}", bad.escape_ascii());
        assert!(told.contains(": line 3: byte ") && told.contains(what), "{}: {told}", bad.escape_ascii());
        assert_eq!(output.stdout.iter().filter(|b| **b == b'\n').count(), 1);
        assert!(told.is_ascii() && !told.contains('\0'));
    }
}

#[test]
fn lines_by_hand_need_little() {
    let lines = br#"
{"type":"hash","key":"h","value":{"f":"v","g":{"b64":"AA=="}}}
 { "value" : { "m" : 1.5, "n" : "-inf" } , "type" : "zset" , "key" : "z" , "db" : 3 }
{"key":"s","type":"stream","value":{"entries":[["1-1",["f","v"]]],"groups":[{"name":"g","last_id":"0-0"}]}}
{"key":"e","type":"hash","value":{"f":"v"},"field_pexpireat":[["f",4000000000000]]}
{"key":"n","type":"string","value":"12"}"#;
    let output = dump_of("x.jsonl", lines);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for expected in [
        r#""value":[["f","v"],["g",{"b64":"AA=="}]]"#,
        r#"{"db":3,"key":"z","type":"zset","rdb_type":5,"pexpireat":-1,"value":[["n","-inf"],["m","1.5"]]}"#,
        r#""length":1,"last_id":"1-1","first_id":"1-1","max_deleted_id":"0-0","entries_added":1"#,
        r#""rdb_type":24,"pexpireat":-1,"value":[["f","v"]],"field_pexpireat":[["f",4000000000000]]"#,
        r#""string_form":"int8","value":"12""#,
    ] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
    // What comes through a pipe, with a mark of Windows in front and its line ends, is the same.
    let windows = [b"\xef\xbb\xbf", &lines[1..]].concat();
    let windows = String::from_utf8(windows).expect("is UTF-8").replace('\n', "\r\n");
    assert_eq!(dump_of_stdin(windows.as_bytes()).stdout, output.stdout);
}

/// A server of the environment with a data set, on a socket of its own; ended with the value.
struct Server {
    child: std::process::Child,
    folder: tempfile::TempDir,
}

impl Server {
    fn start(test: &str, rdb: &Path) -> Option<Self> {
        let Some(binary) = std::env::var_os("CAIRN_REFERENCE_SERVER") else {
            println!("{test}: skipped, CAIRN_REFERENCE_SERVER is not set");
            return None;
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::copy(rdb, folder.path().join("dump.rdb")).expect("a copy");
        let child = Command::new(binary)
            .args([
                "--port",
                "0",
                "--unixsocket",
                "s",
                "--save",
                "",
                "--appendonly",
                "no",
                "--requirepass",
                "p@ss",
            ])
            .args(["--repl-diskless-sync-delay", "0", "--maxmemory-policy", "allkeys-lfu"])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("the server starts");
        let server = Self { child, folder };
        for _ in 0..200 {
            if std::os::unix::net::UnixStream::connect(server.folder.path().join("s")).is_ok() {
                return Some(server);
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("the server does not answer");
    }

    fn dump(&self, password: &str, options: &str) -> Output {
        let address = format!("unix://:{password}@{}?{options}", self.folder.path().join("s").display());
        rdb_tools(["dump", "--no-progress", "--sort", &address])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_server_is_read_by_transfer_and_key_by_key() {
    let rdb = testdata().join("rdb/redis-7.0.15-all-types.rdb");
    let Some(server) = Server::start("a_server_is_read_by_transfer_and_key_by_key", &rdb) else { return };
    let keys = |output: &Output| {
        assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
        // Counters of accesses decay, encodings are the server's, and of a DUMP nothing is compressed.
        let mut lines: Vec<serde_json::Value> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(|line| serde_json::from_str(line).expect("is JSON"))
            .collect();
        for line in &mut lines {
            let line = line.as_object_mut().expect("an object");
            line.remove("freq");
            line.remove("rdb_type");
            line.remove("string_form");
        }
        lines
    };
    let file = keys(&rdb_tools(["dump".as_ref(), "--sort".as_ref(), rdb.as_os_str()]));
    let (transfer, scanned) = (server.dump("p%40ss", ""), server.dump("p%40ss", "scan"));
    let counters = |output: &Output| String::from_utf8_lossy(&output.stdout).matches("\"freq\":").count();
    assert!(counters(&transfer) > 20 && counters(&transfer) == counters(&scanned));
    let (transfer, scanned) = (keys(&transfer), keys(&scanned));
    assert!(transfer.len() > 20 && transfer == scanned, "{} and {}", transfer.len(), scanned.len());
    // What has expired, the server does not have.
    assert!(transfer.iter().all(|line| file.contains(line)));
    let of_db = |lines: &[serde_json::Value], db: i64| {
        lines.iter().filter(|line| line["db"] == db || line["db"] == -1).cloned().collect::<Vec<_>>()
    };
    for db in [0, 3, 9] {
        for options in [format!("db={db}"), format!("db={db}&scan")] {
            assert_eq!(keys(&server.dump("p%40ss", &options)), of_db(&transfer, db), "{options}");
        }
    }
    let wrong = server.dump("secret", "");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("WRONGPASS") && !stderr(&wrong).contains("secret"), "{}", stderr(&wrong));
}

#[test]
fn what_is_no_server_is_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("s");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
    // One that speaks no RESP, one that hangs up, one that never answers, one with a reply without end.
    let answers: [&[u8]; 3] = [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"*1000000000\r\n"];
    let server = std::thread::spawn(move || {
        let mut held = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().expect("a connection");
            stream.write_all(answer).expect("write");
            if !answer.is_empty() {
                held.push(stream);
            }
        }
        // Until the last one has run out of time.
        let (stream, _) = listener.accept().expect("a connection");
        std::thread::sleep(std::time::Duration::from_millis(1500));
        drop((stream, held));
    });
    let address = format!("unix://{}?timeout=1", path.display());
    for what in ["no resp server", "connection", "", ""] {
        let output = rdb_tools(["dump", &address]);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        // One that hangs up may close the connection or, with our request unread, reset it.
        let told = stderr(&output);
        assert!(told.to_lowercase().contains(what) && told.starts_with("rdb-tools: unix://"), "{told}");
    }
    server.join().expect("does not panic");
    let gone = rdb_tools(["dump", "unix:///no/such/socket"]);
    assert_eq!(gone.status.code(), Some(2));
    let tls = rdb_tools(["dump", "rediss://:secret@localhost"]);
    assert!(tls.status.code() == Some(2) && stderr(&tls).contains("TLS") && !stderr(&tls).contains("secret"));
}

#[test]
fn dumps_of_every_producer_can_be_made_files_again() {
    let Some(fixtures) = fixtures("dumps_of_every_producer_can_be_made_files_again") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (lines, made) = (folder.path().join("dump.jsonl"), folder.path().join("made.rdb"));
    let digest = |file: &Path| rdb_tools(["digest".as_ref(), file.as_os_str()]).stdout;
    let name_of =
        |out: Vec<u8>| String::from_utf8_lossy(&out).split(' ').next().unwrap_or_default().to_owned();
    let mut compared = 0;
    for producer in fs::read_dir(fixtures.join("made")).expect("the folder of producers") {
        let producer = producer.expect("an entry").path();
        for file in producer.is_dir().then(|| files_with(&producer, "rdb")).into_iter().flatten() {
            let there = rdb_tools(["dump".as_ref(), "--raw-modules".as_ref(), file.as_os_str()]);
            if there.status.code() != Some(0) || there.stdout.is_empty() {
                continue;
            }
            fs::write(&lines, &there.stdout).expect("write");
            let args =
                ["convert".as_ref(), lines.as_os_str(), "-o".as_ref(), made.as_os_str(), "--force".as_ref()];
            let converted = rdb_tools(args);
            // Text does not say that it was KeyDB's, and members that expire are only KeyDB's.
            if stderr(&converted).contains("(KeyDB)") {
                continue;
            }
            assert_eq!(converted.status.code(), Some(0), "{}: {}", file.display(), stderr(&converted));
            // What modules keep beside their keys has no line.
            let info = rdb_tools(["info".as_ref(), "--json".as_ref(), file.as_os_str()]);
            let info: serde_json::Value = serde_json::from_slice(&info.stdout).expect("is JSON");
            if info["modules"].as_array().is_some_and(|modules| !modules.is_empty()) {
                continue;
            }
            assert_eq!(name_of(digest(&made)), name_of(digest(&file)), "{}", file.display());
            compared += 1;
        }
    }
    assert!(compared > 100, "{compared} files");
}
