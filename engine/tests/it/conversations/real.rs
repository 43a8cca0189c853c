//! A real server, started for the test in a folder and on a port of its own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::resp::Protocol;
use cairn_engine::codec::resp::replies::{Decoded, decode};

use super::Driver;
use super::expect::Tree;
use super::script::{Only, Version, parse_version};

/// How long a server may take to start or to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server and a connection to it.
pub(crate) struct Server {
    child: Child,
    _dir: tempfile::TempDir,
    stream: TcpStream,
    protocol: Protocol,
    is_valkey: bool,
    version: Version,
}

impl Server {
    /// Starts it in an empty folder and speaks this protocol with it.
    pub(crate) fn start(binary: &Path, protocol: Protocol) -> Server {
        Server::start_in(tempfile::tempdir().unwrap(), binary, protocol, &[])
    }

    /// Starts it in this folder, with these arguments besides; answers when it has loaded what is there.
    pub(crate) fn start_in(
        dir: tempfile::TempDir,
        binary: &Path,
        protocol: Protocol,
        more: &[&str],
    ) -> Server {
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let mut child = Command::new(binary)
            .args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string()])
            .args(more)
            .arg("--dir")
            .arg(dir.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("CAIRN_REFERENCE_SERVER can be run");
        let stream = connect(port, &mut child);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut server = Server { child, _dir: dir, stream, protocol, is_valkey: false, version: (0, 0) };
        server.greet();
        let started = Instant::now();
        while server.call(&[b"PING".to_vec()]).starts_with(b"-LOADING") {
            assert!(started.elapsed() < PATIENCE, "the server is loading for too long");
            sleep(Duration::from_millis(20));
        }
        server
    }

    /// Whether it is a Valkey.
    pub(crate) fn is_valkey(&self) -> bool {
        self.is_valkey
    }

    /// Major and minor version.
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// Answers a request.
    pub(crate) fn ask(&mut self, words: &[&str]) -> String {
        let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        String::from_utf8_lossy(&self.call(&words)).trim_end().to_owned()
    }

    /// Asks who it is, and selects the protocol.
    fn greet(&mut self) {
        let hello = |server: &mut Server, version: &[u8]| {
            Tree::decode(&server.call(&[b"HELLO".to_vec(), version.to_vec()])).expect("a reply to HELLO")
        };
        let Tree::Map(facts) = hello(self, b"3") else { panic!("HELLO answers a map") };
        let fact = |name: &[u8]| {
            let found = facts.chunks(2).find(|pair| pair[0] == Tree::Bulk(name.to_vec()));
            match found.map(|pair| &pair[1]) {
                Some(Tree::Bulk(text)) => String::from_utf8_lossy(text).into_owned(),
                _ => panic!("HELLO tells server and version"),
            }
        };
        self.is_valkey = fact(b"server") == "valkey";
        self.version = parse_version(&fact(b"version")).expect("a version");
        if self.protocol == Protocol::Resp2 {
            hello(self, b"2");
        }
    }
}

fn connect(port: u16, child: &mut Child) -> TcpStream {
    let started = Instant::now();
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => return stream,
            Err(e) => {
                let is_over = child.try_wait().is_ok_and(|ended| ended.is_some());
                assert!(!is_over && started.elapsed() < PATIENCE, "the server does not listen: {e}");
            }
        }
        sleep(Duration::from_millis(20));
    }
}

impl Driver for Server {
    fn begin(&mut self) {
        self.call(&[b"FLUSHALL".to_vec()]);
        self.call(&[b"SELECT".to_vec(), b"0".to_vec()]);
    }

    fn call(&mut self, words: &[Vec<u8>]) -> Vec<u8> {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.stream.write_all(&request).unwrap();
        let mut reply = Vec::new();
        let mut chunk = vec![0; 64 * 1024];
        while decode(&reply) == Decoded::NeedMore {
            let len = self.stream.read(&mut chunk).expect("a reply in time");
            assert!(len > 0, "the server closed the connection");
            reply.extend_from_slice(&chunk[..len]);
        }
        reply
    }

    fn wait(&mut self, ms: u64) {
        sleep(Duration::from_millis(ms));
    }

    fn now(&self) -> UnixMs {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        UnixMs(i64::try_from(since.as_millis()).expect("fits for long"))
    }

    fn protocol(&self) -> Protocol {
        self.protocol
    }

    fn runs(&self, only: Only) -> bool {
        match only {
            Only::Everyone => true,
            Only::Live(version) | Only::Small(version) => self.version >= version,
            Only::Ours => false,
            Only::From(redis, valkey) => self.version >= if self.is_valkey { valkey } else { redis },
            Only::Redis(version) => !self.is_valkey && self.version >= version,
            Only::Valkey(version) => self.is_valkey && self.version >= version,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
