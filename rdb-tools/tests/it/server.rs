//! A real server on a socket of its own, where `CAIRN_REFERENCE_SERVER` names one.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running server and a connection to it; killed when dropped.
pub(crate) struct Server {
    child: Child,
    folder: tempfile::TempDir,
    stream: BufReader<UnixStream>,
}

/// A reply; what the tests look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Text(Vec<u8>),
    Error(String),
    Int(i64),
    Nil,
    Array(Vec<Reply>),
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Text(text) => String::from_utf8_lossy(text).into_owned(),
            other => panic!("no text: {other:?}"),
        }
    }
}

/// The server that the environment names; says when a test is skipped.
pub(crate) fn binary(test: &str) -> Option<PathBuf> {
    let binary = std::env::var_os("CAIRN_REFERENCE_SERVER").map(PathBuf::from);
    if binary.is_none() {
        println!("{test}: skipped, CAIRN_REFERENCE_SERVER does not name a redis-server or valkey-server");
    }
    binary
}

impl Server {
    /// Starts a server with these contents and nothing that changes them by itself.
    pub(crate) fn start(binary: &Path, rdb: Option<&Path>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        if let Some(rdb) = rdb {
            fs::copy(rdb, folder.path().join("dump.rdb")).expect("copy");
        }
        let socket = folder.path().join("socket");
        let child = Command::new(binary)
            .args(["--port", "0", "--save", "", "--enable-debug-command", "yes", "--dir"])
            .arg(folder.path())
            .arg("--unixsocket")
            .arg(&socket)
            .stdout(Stdio::null())
            .spawn()
            .expect("CAIRN_REFERENCE_SERVER can be run");
        let until = Instant::now() + Duration::from_secs(20);
        let stream = loop {
            match UnixStream::connect(&socket) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < until, "the server does not answer: {error}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let mut server = Self { child, folder, stream: BufReader::new(stream) };
        while matches!(server.call(&["PING"]), Reply::Error(text) if text.starts_with("LOADING")) {
            assert!(Instant::now() < until, "the server does not load");
            std::thread::sleep(Duration::from_millis(10));
        }
        server.call(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
        server
    }

    /// Sends a command and reads its reply.
    pub(crate) fn call<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Reply {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend_from_slice(format!("${}\r\n", word.as_ref().len()).as_bytes());
            bytes.extend_from_slice(word.as_ref());
            bytes.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&bytes).expect("write to the server");
        self.reply()
    }

    /// Sends commands that are RESP already, `n` of them. Answers the replies.
    pub(crate) fn pipe(&mut self, resp: &[u8]) -> Vec<Reply> {
        let mut socket = self.stream.get_ref().try_clone().expect("a second handle");
        let bytes = [resp, b"*2\r\n$4\r\nECHO\r\n$15\r\nthe end of this\r\n"].concat();
        let writer = std::thread::spawn(move || socket.write_all(&bytes).expect("write to the server"));
        let mut replies = Vec::new();
        loop {
            let reply = self.reply();
            if reply == Reply::Text(b"the end of this".to_vec()) {
                break;
            }
            replies.push(reply);
        }
        writer.join().expect("the writer ends");
        replies
    }

    fn reply(&mut self) -> Reply {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a reply");
        let (kind, rest) = line.trim_end().split_at(1);
        let number = || rest.parse::<i64>().expect("a number");
        match kind {
            "+" => Reply::Text(rest.as_bytes().to_vec()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Int(number()),
            "$" if number() < 0 => Reply::Nil,
            "$" => {
                let mut bytes = vec![0; number() as usize + 2];
                self.stream.read_exact(&mut bytes).expect("a bulk");
                bytes.truncate(bytes.len() - 2);
                Reply::Text(bytes)
            }
            "*" if number() < 0 => Reply::Nil,
            "*" => Reply::Array((0..number()).map(|_| self.reply()).collect()),
            other => panic!("a reply of kind {other:?}: {line}"),
        }
    }

    /// What the server says of its data.
    pub(crate) fn digest(&mut self) -> String {
        self.call(&["DEBUG", "DIGEST"]).text()
    }

    /// Saves, and answers the file.
    pub(crate) fn save(&mut self) -> PathBuf {
        assert_eq!(self.call(&["SAVE"]).text(), "OK");
        self.folder.path().join("dump.rdb")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
