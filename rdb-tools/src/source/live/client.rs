//! A small client: commands out, RESP2 replies in, and time runs out.
//!
//! What a server declares makes room for nothing: replies grow with the bytes that come.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use cairn_engine::base::num;
use cairn_engine::codec::aof::record::push_command;

use super::address::{Address, Place};

/// How long it may take until somebody answers at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const READ_BYTES: usize = 128 << 10;
/// No line of a reply is longer, and no reply nested deeper.
const MAX_LINE_BYTES: u64 = 64 << 10;
const MAX_DEPTH: u32 = 8;

/// What a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Int(i64),
    Bulk(Vec<u8>),
    Null,
    Array(Vec<Reply>),
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buf),
            Self::Unix(stream) => stream.read(buf),
        }
    }
}

/// A connection.
pub(super) struct Client {
    reader: Option<BufReader<Stream>>,
    writer: Box<dyn Write + Send>,
    pending: Vec<u8>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("this is no RESP server: {what}"))
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection")
}

impl Client {
    pub(super) fn connect(address: &Address) -> io::Result<Self> {
        let timeout = Some(address.timeout);
        let (stream, writer): (Stream, Box<dyn Write + Send>) = match &address.place {
            Place::Tcp { host, port } => {
                let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
                let connected = (host.as_str(), *port).to_socket_addrs()?.find_map(|to| {
                    TcpStream::connect_timeout(&to, CONNECT_TIMEOUT).map_err(|error| last = error).ok()
                });
                let Some(stream) = connected else { return Err(last) };
                stream.set_nodelay(true)?;
                stream.set_read_timeout(timeout)?;
                stream.set_write_timeout(timeout)?;
                let writer = stream.try_clone()?;
                (Stream::Tcp(stream), Box::new(writer))
            }
            Place::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(timeout)?;
                stream.set_write_timeout(timeout)?;
                let writer = stream.try_clone()?;
                (Stream::Unix(stream), Box::new(writer))
            }
        };
        let reader = Some(BufReader::with_capacity(READ_BYTES, stream));
        Ok(Self { reader, writer, pending: Vec::new() })
    }

    /// Puts a command behind those that have not been sent.
    pub(super) fn push(&mut self, words: &[&[u8]]) {
        push_command(&mut self.pending, words.iter().copied());
    }

    /// Sends what was put there.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let sent = self.writer.write_all(&self.pending).and_then(|()| self.writer.flush());
        self.pending.clear();
        // A broken pipe is one of our output everywhere else, and then no error.
        sent.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => closed(),
            _ => error,
        })
    }

    /// Sends a command.
    pub(super) fn send(&mut self, words: &[&[u8]]) -> io::Result<()> {
        self.push(words);
        self.flush()
    }

    /// Sends a command and waits for its reply.
    pub(super) fn ask(&mut self, words: &[&[u8]]) -> io::Result<Reply> {
        self.send(words)?;
        self.reply()
    }

    fn reading(&mut self) -> io::Result<&mut BufReader<Stream>> {
        self.reader.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// What comes from now on, as it is.
    pub(super) fn reader(&mut self) -> io::Result<impl Read + Send + use<>> {
        self.reader.take().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// The next line, without its end.
    pub(super) fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        self.reading()?.take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Err(match line.len() as u64 + 1 >= MAX_LINE_BYTES {
                true => wrong("a line without an end"),
                false => closed(),
            });
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(line)
    }

    /// The next reply.
    pub(super) fn reply(&mut self) -> io::Result<Reply> {
        self.reply_at(0)
    }

    fn reply_at(&mut self, depth: u32) -> io::Result<Reply> {
        let line = self.line()?;
        let Some((&kind, rest)) = line.split_first() else { return Err(wrong("an empty line")) };
        let count = || num::parse_i64(rest).ok_or_else(|| wrong("a length that is no number"));
        Ok(match kind {
            b'+' => Reply::Simple(rest.to_vec()),
            b'-' => Reply::Error(rest.to_vec()),
            b':' => Reply::Int(count()?),
            b'$' => match u64::try_from(count()?) {
                Ok(len) => Reply::Bulk(self.bulk(len)?),
                Err(_) => Reply::Null,
            },
            b'*' => match u64::try_from(count()?) {
                Ok(_) if depth == MAX_DEPTH => return Err(wrong("a reply nested too deeply")),
                Ok(len) => {
                    let mut items = Vec::new();
                    for _ in 0..len {
                        items.push(self.reply_at(depth + 1)?);
                    }
                    Reply::Array(items)
                }
                Err(_) => Reply::Null,
            },
            other => return Err(wrong(&format!("a reply that begins with byte {other}"))),
        })
    }

    fn bulk(&mut self, len: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let reader = self.reading()?;
        reader.take(len).read_to_end(&mut bytes)?;
        let mut end = [0; 2];
        reader.read_exact(&mut end)?;
        if bytes.len() as u64 != len || end != *b"\r\n" {
            return Err(wrong("a string does not end where it says"));
        }
        Ok(bytes)
    }
}
