//! A server that is read key by key, played by the test: what it answers, real ones need not.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Output};

use crate::support::rdb_tools;

/// Answers one connection. Replies stand under the words that ask for them; AUTH must come first if there is a
/// password.
fn play(stream: UnixStream, password: Option<&str>, replies: &HashMap<Vec<Vec<u8>>, Vec<u8>>) {
    let mut input = BufReader::new(stream.try_clone().expect("clone"));
    let mut output = stream;
    let mut is_known = password.is_none();
    while let Some(words) = request(&mut input) {
        let reply = match &words[..] {
            [name, secret] if name == b"AUTH" => {
                is_known = password.is_some_and(|password| password.as_bytes() == secret);
                if is_known { b"+OK\r\n".to_vec() } else { b"-WRONGPASS no\r\n".to_vec() }
            }
            _ if !is_known => b"-NOAUTH Authentication required.\r\n".to_vec(),
            words => replies.get(words).cloned().unwrap_or_else(|| b"-ERR unknown command\r\n".to_vec()),
        };
        if output.write_all(&reply).is_err() {
            return;
        }
    }
}

fn request(input: &mut impl BufRead) -> Option<Vec<Vec<u8>>> {
    let number = |input: &mut dyn BufRead| {
        let mut line = String::new();
        input.read_line(&mut line).ok()?;
        line.get(1..)?.trim().parse::<usize>().ok()
    };
    let count = number(input)?;
    (0..count)
        .map(|_| {
            let mut word = vec![0; number(input)? + 2];
            input.read_exact(&mut word).ok()?;
            word.truncate(word.len() - 2);
            Some(word)
        })
        .collect()
}

fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

fn bulk(bytes: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// What RESTORE would take for a hash with a field that expires.
fn payload(folder: &Path) -> Vec<u8> {
    let (lines, resp) = (folder.join("h.jsonl"), folder.join("h.resp"));
    let line = r#"{"key":"h","type":"hash","value":{"a":"1"},"field_pexpireat":[["a",4102444800000]]}"#;
    std::fs::write(&lines, line).expect("write");
    let args = ["convert", "--restore", "--target", "redis-8.0", "-o"].map(std::ffi::OsStr::new);
    let done = rdb_tools(args.into_iter().chain([resp.as_os_str(), lines.as_os_str()]));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let bytes = std::fs::read(&resp).expect("read");
    let mut input = &bytes[..];
    let mut commands = std::iter::from_fn(|| request(&mut input));
    let restore = commands.find(|words| words[0] == b"RESTORE").expect("a RESTORE");
    restore[3].clone()
}

/// A server that writes each payload in the lowest version that holds it.
fn replies(folder: &Path) -> HashMap<Vec<Vec<u8>>, Vec<u8>> {
    let library_version = [&[11, 0][..], &[0; 8]].concat();
    [
        ("PING", b"+PONG\r\n".to_vec()),
        ("INFO", bulk(b"redis_version:7.2.4\r\ndb0:keys=1,expires=0\r\n")),
        ("FUNCTION DUMP", bulk(&library_version)),
        ("COMMAND INFO HPEXPIREAT", b"*1\r\n*1\r\n$10\r\nhpexpireat\r\n".to_vec()),
        ("SELECT 0", b"+OK\r\n".to_vec()),
        ("SCAN 0 COUNT 256", [b"*2\r\n$1\r\n0\r\n*1\r\n".to_vec(), bulk(b"h")].concat()),
        ("PEXPIRETIME h", b":-1\r\n".to_vec()),
        ("DUMP h", bulk(&payload(folder))),
    ]
    .map(|(line, reply)| (words(line), reply))
    .into()
}

/// What the tool says of such a server.
fn read(
    password: Option<&'static str>,
    run: impl Fn(&str) -> Vec<Output>,
    connections: usize,
) -> Vec<Output> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("s");
    let replies = replies(folder.path());
    let listener = UnixListener::bind(&path).expect("a socket");
    let server = std::thread::spawn(move || {
        for _ in 0..connections {
            play(listener.accept().expect("a connection").0, password, &replies);
        }
    });
    let outputs = run(&path.display().to_string());
    server.join().expect("does not panic");
    outputs
}

#[test]
fn payloads_may_be_newer_than_what_the_server_calls_its_version() {
    let run = |path: &str| {
        let address = format!("unix://{path}?scan");
        // A copy of it is read twice.
        vec![rdb_tools(["diff", &address, &address]), rdb_tools(["dump", &address])]
    };
    let outputs = read(None, run, 3);
    for output in &outputs {
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let dump = String::from_utf8_lossy(&outputs[1].stdout).into_owned();
    assert!(dump.contains(r#""field_pexpireat":[["a",4102444800000]]"#), "{dump}");
}

#[test]
fn a_password_is_shown_nowhere_and_may_come_from_the_environment() {
    let tool = |secret: Option<&str>, args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rdb-tools"));
        command.args(args).env_remove("REDISCLI_AUTH");
        if let Some(secret) = secret {
            command.env("REDISCLI_AUTH", secret);
        }
        command.output().expect("the binary runs")
    };
    let run = |path: &str| {
        let (full, bare) = (format!("unix://:s%40cret@{path}?scan"), format!("unix://{path}?scan"));
        vec![
            tool(None, &["digest", "--per-db", &full]),
            tool(None, &["digest", "--json", &full]),
            tool(None, &["stats", &full]),
            tool(None, &["get", &full, "no such key"]),
            tool(Some("s@cret"), &["digest", &bare]),
            tool(None, &["digest", &bare]),
            tool(Some("wr@ng"), &["digest", &bare]),
        ]
    };
    let outputs = read(Some("s@cret"), run, 7);
    let codes: Vec<_> = outputs.iter().map(|output| output.status.code()).collect();
    assert_eq!(codes, [Some(0), Some(0), Some(0), Some(1), Some(0), Some(2), Some(2)]);
    for output in &outputs {
        let all = [&output.stdout[..], &output.stderr].concat();
        let all = String::from_utf8_lossy(&all);
        assert!(!all.contains("cret") && !all.contains("wr@ng") && all.contains("unix://"), "{all}");
    }
}
