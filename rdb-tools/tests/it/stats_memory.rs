//! The memory that `stats` tells, beside what real servers say: MEMORY USAGE of every key, SAMPLES 0.
//!
//! `testdata/memory/usage.tsv` has what was measured; with CAIRN_REFERENCE_SERVER a Redis 7.0 is asked anew.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{rdb_tools, testdata};

/// A row of `stats --csv=keys`.
struct Row {
    encoding: String,
    bytes: u64,
}

/// What `stats` says of every key. The keys of these files need no quotes.
fn estimated(file: &Path, server: &str, allocator: &str) -> HashMap<String, Row> {
    let file = file.display().to_string();
    let output = rdb_tools(["stats", "--csv=keys", "--for", server, "--allocator", allocator, &file]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("is ASCII");
    let rows = text.lines().skip(1).map(|line| {
        let cells: Vec<&str> = line.split(',').collect();
        let bytes = cells[3].parse().expect("is a number");
        (cells[2].to_owned(), Row { encoding: cells[4].to_owned(), bytes })
    });
    rows.collect()
}

/// How far the estimate of a key may be from what the server says, in percent: chance decides how tall the
/// nodes of a skip list are, and which buckets of Valkey's tables overflow; Cairn's trees and groups are
/// only known roughly.
fn tolerance(server: &str, key: &str, encoding: &str) -> f64 {
    match (server, encoding) {
        ("cairn", "skiplist" | "stream" | "quicklist") => 25.0,
        ("cairn", "hashtable") => 10.0,
        (_, "skiplist") => 6.0,
        ("valkey-8" | "valkey-9", "hashtable") if key.starts_with("hfe") => 12.0,
        ("valkey-8" | "valkey-9", "hashtable") => 7.0,
        (_, "hashtable") if key.starts_with("hfe") => 5.0,
        // Servers add up means in doubles.
        _ => 0.1,
    }
}

/// What MEMORY USAGE of Valkey 8.1 leaves out: the object with the key in it, where the value is not in it, too,
/// but for the 16 bytes that an object without a key takes.
fn uncounted(server: &str, key: &str, encoding: &str, expires: bool) -> u64 {
    if server != "valkey-8" || encoding == "embstr" {
        return 0;
    }
    let len = key.len() as u64;
    let key = 1 + if len < 32 { 1 } else { 3 } + len + 1;
    let object = 16 + key + if expires || len >= 128 { 8 } else { 0 };
    let step = if object <= 64 { 8 } else { 16 };
    object.next_multiple_of(if object > 128 { 32 } else { step }) - 16
}

#[derive(Default)]
struct Errors {
    keys: u64,
    measured: u64,
    estimated: u64,
    greatest: f64,
}

#[test]
fn estimates_are_near_what_servers_say() {
    let folder = testdata().join("memory");
    let table = fs::read_to_string(folder.join("usage.tsv")).expect("testdata");
    let mut estimates: HashMap<(String, String), HashMap<String, Row>> = HashMap::new();
    let mut errors: HashMap<(String, String), Errors> = HashMap::new();
    let mut wrong = Vec::new();
    for line in table.lines().skip(1) {
        let cells: Vec<&str> = line.split('\t').collect();
        let [file, server, key, encoding, bytes] = cells[..] else { panic!("{line}") };
        // The Redis 7.0 that was asked is a distribution's.
        let allocator = if server == "redis-7.0" { "system" } else { "bundled" };
        let rows = estimates
            .entry((file.to_owned(), server.to_owned()))
            .or_insert_with(|| estimated(&folder.join(file), server, allocator));
        let row = &rows[key];
        let measured: u64 = bytes.parse().expect("is a number");
        let expires = expiring(&folder.join(file)).contains(key);
        let estimate = row.bytes - uncounted(server, key, encoding, expires);
        let error = (estimate as f64 / measured as f64 - 1.0) * 100.0;
        if encoding != row.encoding || error.abs() > tolerance(server, key, encoding) {
            wrong.push(format!(
                "{file} {server} {key}: {encoding} {measured}, estimated {} {estimate}",
                row.encoding
            ));
        }
        let of = errors.entry((server.to_owned(), encoding.to_owned())).or_default();
        of.keys += 1;
        of.measured += measured;
        of.estimated += estimate;
        of.greatest = of.greatest.max(error.abs());
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), table.lines().count(), wrong.join("\n"));
    for ((server, encoding), of) in errors {
        let sum = of.estimated as f64 / of.measured as f64;
        println!("{server} {encoding}: {} keys, sum {sum:.4}, greatest error {:.1}%", of.keys, of.greatest);
        let most = if server == "cairn" { 0.08 } else { 0.02 };
        assert!((sum - 1.0).abs() < most, "{server} {encoding}: {sum}");
    }
}

/// The keys of a file that expire.
fn expiring(file: &Path) -> std::collections::HashSet<String> {
    use std::sync::{LazyLock, Mutex};
    type Known = HashMap<String, std::collections::HashSet<String>>;
    static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
    let name = file.display().to_string();
    let mut known = KNOWN.lock().expect("no test panics with it");
    let found = known.entry(name.clone()).or_insert_with(|| {
        let output = rdb_tools(["stats", "--csv=keys", &name]);
        let text = String::from_utf8(output.stdout).expect("is ASCII");
        let rows = text.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
        rows.filter(|cells| !cells[8].is_empty()).map(|cells| cells[2].to_owned()).collect()
    });
    found.clone()
}

/// A server that has loaded a file, on a port that was free.
struct Server {
    child: Child,
    stream: BufReader<TcpStream>,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start(binary: &str, file: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::copy(file, folder.path().join("dump.rdb")).expect("copy");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let child = Command::new(binary)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server runs");
        let until = Instant::now() + Duration::from_secs(20);
        let stream = loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let mut server = Self { child, stream: BufReader::new(stream), _folder: folder };
        while server.ask(&["PING"]) != "PONG" {
            assert!(Instant::now() < until, "the server does not finish loading");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// A simple, bulk or integer reply as text.
    fn ask(&mut self, words: &[&str]) -> String {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.stream.get_mut().write_all(request.as_bytes()).expect("write");
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("read");
        let line = line.trim_end();
        match line.strip_prefix('$') {
            Some(len) => {
                let mut bytes = vec![0; len.parse::<usize>().expect("is there") + 2];
                self.stream.read_exact(&mut bytes).expect("read");
                bytes.truncate(bytes.len() - 2);
                String::from_utf8(bytes).expect("is text")
            }
            None => line.trim_start_matches(['+', ':']).to_owned(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_reference_server_agrees() {
    let Ok(binary) = std::env::var("CAIRN_REFERENCE_SERVER") else {
        println!("a_reference_server_agrees: skipped, CAIRN_REFERENCE_SERVER is not set");
        return;
    };
    let file = testdata().join("memory/redis-6.0.16.rdb");
    let mut server = Server::start(&binary, &file);
    let info = server.ask(&["INFO", "server"]);
    if !info.contains("redis_version:7.0.") {
        println!("a_reference_server_agrees: skipped, the models are compared with Redis 7.0");
        return;
    }
    // A distribution's binary has the distribution's jemalloc, others their own: a raw string tells.
    let both = ["system", "bundled"].map(|allocator| estimated(&file, "redis-7.0", allocator));
    let mut sums = [0.0f64; 2];
    let mut wrong = [Vec::new(), Vec::new()];
    let mut measured_sum = 0.0;
    for key in both[0].keys() {
        let measured: u64 = server.ask(&["MEMORY", "USAGE", key, "SAMPLES", "0"]).parse().expect("a number");
        let encoding = server.ask(&["OBJECT", "ENCODING", key]);
        measured_sum += measured as f64;
        for (of, rows) in both.iter().enumerate() {
            let row = &rows[key];
            sums[of] += row.bytes as f64;
            let error = (row.bytes as f64 / measured as f64 - 1.0) * 100.0;
            if row.encoding != encoding || error.abs() > tolerance("redis-7.0", key, &encoding) {
                wrong[of]
                    .push(format!("{key}: {encoding} {measured}, estimated {} {}", row.encoding, row.bytes));
            }
        }
    }
    let best = if wrong[0].len() <= wrong[1].len() { 0 } else { 1 };
    assert!(wrong[best].is_empty(), "{}", wrong[best].join("\n"));
    assert!((sums[best] / measured_sum - 1.0).abs() < 0.01, "{} {measured_sum}", sums[best]);
}
