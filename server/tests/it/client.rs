//! A server process in a folder of its own, and a small client for it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use cairn_engine::codec::resp::replies::{Decoded, Node, decode};
use nix::sys::signal::Signal;
use tempfile::TempDir;

/// Ports of the tests, below those that systems give to clients. A process that runs tests has so many for
/// itself: its neighbours may be other checkouts.
const PORTS: u16 = 200;
const FIRST_PORT: u16 = 20_000;
const LAST_PORT: u16 = 29_999;
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// The first port of this process, bound for UDP so that no other process takes it for its own.
static OWN_PORTS: LazyLock<(u16, UdpSocket)> = LazyLock::new(|| {
    let firsts = (FIRST_PORT..=LAST_PORT).step_by(usize::from(PORTS));
    let bound = |port| Some((port, UdpSocket::bind(("127.0.0.1", port)).ok()?));
    firsts.filter_map(bound).next().expect("no free ports: too many tests run at once")
});

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that runs until it is dropped.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) dir: TempDir,
    pub(crate) port: u16,
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    for _ in 0..PORTS {
        let port = OWN_PORTS.0 + NEXT_PORT.fetch_add(1, Ordering::Relaxed) % PORTS;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}

/// The server's program, about to be started in `dir` with its output in files there.
pub(crate) fn program(dir: &Path) -> Command {
    let file = |name: &str| std::fs::File::create(dir.join(name)).expect("a file for output");
    let mut command = Command::new(env!("CARGO_BIN_EXE_cairn-server"));
    command.current_dir(dir).stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr"));
    command
}

impl Server {
    /// A server with these options, and no save rules unless they say so.
    pub(crate) fn start(options: &[&str]) -> Server {
        Server::start_in(tempfile::tempdir().expect("a folder"), options)
    }

    /// As `start`, in a folder that may hold files.
    pub(crate) fn start_in(dir: TempDir, options: &[&str]) -> Server {
        let port = free_port();
        let mut command = program(dir.path());
        command.args(["--port", &port.to_string(), "--save", ""]).args(options);
        let child = command.spawn().expect("the program starts");
        let mut server = Server { child, dir, port };
        server.wait_for_log("Ready to accept connections");
        server
    }

    /// A file in the server's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What the server has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("stdout")).expect("the log")
    }

    /// Waits until the log holds `text`.
    pub(crate) fn wait_for_log(&mut self, text: &str) {
        let begun = Instant::now();
        while !self.log().contains(text) {
            let ended = self.child.try_wait().expect("its state");
            assert!(ended.is_none(), "the server has ended: {}", self.log());
            assert!(begun.elapsed() < PATIENCE, "no '{text}' in the log: {}", self.log());
            sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the process has ended.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait_for(&mut self.child)
    }

    /// Ends it the hard way; answers its folder.
    pub(crate) fn killed(mut self) -> TempDir {
        self.signal(Signal::SIGKILL);
        let _ = self.wait();
        std::mem::replace(&mut self.dir, tempfile::tempdir().expect("a folder"))
    }

    /// Sends a signal to the process.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        nix::sys::signal::kill(pid, signal).expect("it is there");
    }

    /// A client over TCP.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.port)
    }

    /// A client over a Unix socket in the server's folder.
    pub(crate) fn unix_client(&self, name: &str) -> Client {
        let stream = UnixStream::connect(self.path(name)).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        Client { stream: Box::new(stream), buf: Vec::new() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until a process has ended.
pub(crate) fn wait_for(child: &mut Child) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("its state") {
            return status;
        }
        assert!(begun.elapsed() < PATIENCE, "the process does not end");
        sleep(Duration::from_millis(5));
    }
}

trait Stream: Read + Write {
    /// Has reads fail after so long.
    fn limit_reads(&self, after: Duration);
}

impl Stream for TcpStream {
    fn limit_reads(&self, after: Duration) {
        self.set_read_timeout(Some(after)).expect("an option");
    }
}

impl Stream for UnixStream {
    fn limit_reads(&self, after: Duration) {
        self.set_read_timeout(Some(after)).expect("an option");
    }
}

/// A connection.
pub(crate) struct Client {
    stream: Box<dyn Stream>,
    buf: Vec<u8>,
}

impl Client {
    /// A client of a server on this machine.
    pub(crate) fn connect(port: u16) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        stream.set_nodelay(true).expect("an option");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        Client { stream: Box::new(stream), buf: Vec::new() }
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("sent");
    }

    /// Sends bytes, as many as the server takes before it closes.
    pub(crate) fn send_some(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Reads one reply and gives it as text, see `show`.
    pub(crate) fn read(&mut self) -> String {
        self.read_both().0
    }

    /// Reads one reply and gives it as text and as its bytes, escaped.
    fn read_both(&mut self) -> (String, String) {
        let (text, bytes) = self.read_bytes();
        (text, bytes.escape_ascii().to_string())
    }

    /// Reads one reply and gives it as text and as its bytes.
    fn read_bytes(&mut self) -> (String, Vec<u8>) {
        loop {
            match decode(&self.buf) {
                Decoded::Reply(nodes, len) => {
                    let text = show(&mut nodes.iter());
                    let bytes = self.buf.drain(..len).collect::<Vec<u8>>();
                    return (text, bytes);
                }
                Decoded::Bad(at) => panic!("no RESP at {at}: {}", self.buf.escape_ascii()),
                Decoded::NeedMore => {
                    let mut piece = [0; 65_536];
                    let read = self.stream.read(&mut piece).expect("something to read");
                    assert!(read > 0, "the server has closed: {}", self.buf.escape_ascii());
                    self.buf.extend_from_slice(&piece[..read]);
                }
            }
        }
    }

    /// Sends a command, blanks between its words, and gives the reply.
    pub(crate) fn call(&mut self, command: &str) -> String {
        let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        self.call_words(&words)
    }

    /// Sends a command and gives the reply.
    pub(crate) fn call_words(&mut self, words: &[&[u8]]) -> String {
        self.send(&request(words));
        self.read()
    }

    /// Sends a command whose reply is a string, and gives its bytes.
    pub(crate) fn call_bulk(&mut self, words: &[&[u8]]) -> Vec<u8> {
        self.send(&request(words));
        let bytes = self.read_bytes().1;
        let start = bytes.iter().position(|byte| *byte == b'\n').expect("a length") + 1;
        bytes[start..bytes.len() - 2].to_vec()
    }

    /// Sends a command and gives the reply as text and as its bytes, escaped.
    pub(crate) fn call_both(&mut self, words: &[&[u8]]) -> (String, String) {
        self.send(&request(words));
        self.read_both()
    }

    /// Sends a command and gives the reply as a tree.
    pub(crate) fn call_tree(&mut self, words: &[&[u8]]) -> Tree {
        self.send(&request(words));
        loop {
            if let Decoded::Reply(nodes, len) = decode(&self.buf) {
                let tree = Tree::of(&mut nodes.iter());
                self.buf.drain(..len);
                return tree;
            }
            let mut piece = [0; 65_536];
            let read = self.stream.read(&mut piece).expect("something to read");
            assert!(read > 0, "the server has closed");
            self.buf.extend_from_slice(&piece[..read]);
        }
    }

    /// Sends a command with a PING behind it, and reads everything up to the answer to that. False if it
    /// does not come soon, as with a command that waits, or if the server has closed.
    pub(crate) fn answers(&mut self, words: &[&[u8]]) -> bool {
        const SOON: Duration = Duration::from_millis(100);
        const END: &[u8] = b"the end of it";
        self.stream.limit_reads(SOON);
        self.send_some(&[request(words), request(&[b"PING", END])].concat());
        let mut tail = std::mem::take(&mut self.buf);
        let mut piece = [0; 65_536];
        let is_there = loop {
            if tail.windows(END.len()).any(|window| window == END) {
                break true;
            }
            tail.drain(..tail.len().saturating_sub(END.len()));
            match self.stream.read(&mut piece) {
                Ok(read) if read > 0 => tail.extend_from_slice(&piece[..read]),
                _ => break false,
            }
        };
        self.stream.limit_reads(PATIENCE);
        is_there
    }

    /// Sends PING; the reply, or nothing if the server has closed.
    pub(crate) fn read_or_ping(&mut self) -> String {
        if self.stream.write_all(b"PING\r\n").is_err() {
            return String::new();
        }
        let mut piece = [0; 64];
        let read = self.stream.read(&mut piece).unwrap_or(0);
        String::from_utf8_lossy(&piece[..read]).trim_start_matches('+').trim_end().to_owned()
    }

    /// What comes until the server closes the connection.
    pub(crate) fn read_to_end(&mut self) -> String {
        let mut rest = std::mem::take(&mut self.buf);
        if let Err(e) = self.stream.read_to_end(&mut rest) {
            // A reset is as good an end as any.
            assert_eq!(e.kind(), std::io::ErrorKind::ConnectionReset, "the server does not close");
        }
        rest.escape_ascii().to_string()
    }
}

/// A reply with what it consists of; what is no list is text.
#[derive(Clone)]
pub(crate) enum Tree {
    Text(String),
    List(Vec<Tree>),
}

impl Tree {
    fn of(nodes: &mut std::slice::Iter<'_, Node<'_>>) -> Tree {
        let inner = match nodes.as_slice().first() {
            Some(Node::Array(n) | Node::Set(n) | Node::Push(n)) => *n,
            Some(Node::Map(n)) => n * 2,
            _ => return Tree::Text(show(nodes)),
        };
        nodes.next();
        Tree::List((0..inner).map(|_| Tree::of(nodes)).collect())
    }

    /// Its text; empty for a list.
    pub(crate) fn text(&self) -> &str {
        if let Tree::Text(text) = self { text } else { "" }
    }

    /// What a list consists of.
    pub(crate) fn list(&self) -> &[Tree] {
        if let Tree::List(list) = self { list } else { &[] }
    }

    /// Names and values of a map.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&Tree, &Tree)> {
        self.list().chunks_exact(2).map(|pair| (&pair[0], &pair[1]))
    }

    /// The value that a map has for `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&Tree> {
        self.pairs().find(|(key, _)| key.text() == name).map(|(_, value)| value)
    }

    /// Whether a list has this text.
    pub(crate) fn has(&self, text: &str) -> bool {
        self.list().iter().any(|one| one.text() == text)
    }
}

/// A command as clients send it.
pub(crate) fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// A reply as text: strings plain, errors with `-`, nulls as `nil`, lists in brackets, maps in braces.
/// The tests' replies nest no deeper than COMMAND's.
fn show(nodes: &mut std::slice::Iter<'_, Node<'_>>) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let node = nodes.next().expect("a decoded reply is whole");
    let mut list = |n: usize| (0..n).map(|_| show(nodes)).collect::<Vec<_>>().join(" ");
    match node {
        Node::Simple(s) | Node::Bulk(s) | Node::Verbatim(s) | Node::Double(s) | Node::BigNumber(s) => text(s),
        Node::Error(s) => format!("-{}", text(s)),
        Node::Int(n) => n.to_string(),
        Node::Null => "nil".into(),
        Node::Bool(b) => b.to_string(),
        Node::Array(n) | Node::Set(n) | Node::Push(n) => format!("[{}]", list(*n)),
        Node::Map(n) => format!("{{{}}}", list(n * 2)),
    }
}
