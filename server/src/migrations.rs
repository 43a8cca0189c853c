//! Connections to the servers that keys were moved to, kept for a while: who moves one key moves more.
//!
//! Blocking sockets with a deadline for each step. Knows no commands. Behaviour: valkey src/cluster.c,
//! the functions `migrateGetSocket` and `migrateCloseTimedoutSockets`.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use cairn_engine::base::num;

/// Most connections that are kept.
const MOST_PEERS: usize = 64;

/// How long one that nobody uses is kept.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// Longest line of a reply.
const MOST_LINE_BYTES: usize = 1024;

/// Longest that any step may take, whatever the caller says: the clock cannot count all milliseconds.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Connections that are kept, by `host:port`.
#[derive(Debug, Default)]
pub(crate) struct Migrations {
    kept: HashMap<Vec<u8>, (Peer, Instant)>,
}

/// A server that keys are moved to.
#[derive(Debug)]
pub(crate) struct Peer {
    stream: TcpStream,
    /// The database it is known to be in.
    pub(crate) db: Option<i64>,
    /// Bytes that came with the last line.
    ahead: Vec<u8>,
}

/// Why nothing more comes from a peer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failure {
    /// It took too long.
    pub(crate) is_timeout: bool,
    /// It was its turn to take something.
    pub(crate) while_writing: bool,
}

impl Migrations {
    /// How many are kept.
    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    /// A connection, for its only user; a kept one if there is one.
    pub(crate) fn take(
        &mut self,
        address: &[u8],
        host: &[u8],
        port: &[u8],
        timeout: Duration,
    ) -> Option<Peer> {
        if let Some((peer, _)) = self.kept.remove(address) {
            return Some(peer);
        }
        Peer::connect(host, port, timeout).ok()
    }

    /// Keeps a connection that is fine.
    pub(crate) fn give_back(&mut self, address: Vec<u8>, peer: Peer, now: Instant) {
        if self.kept.len() < MOST_PEERS {
            self.kept.insert(address, (peer, now));
        }
    }

    /// Closes those that nobody has used for a while.
    pub(crate) fn close_unused(&mut self, now: Instant) {
        self.kept.retain(|_, (_, used)| now.saturating_duration_since(*used) <= KEPT_FOR);
    }
}

impl Peer {
    fn connect(host: &[u8], port: &[u8], timeout: Duration) -> io::Result<Peer> {
        let invalid = || io::Error::from(ErrorKind::InvalidInput);
        let host = std::str::from_utf8(host).map_err(|_| invalid())?;
        let port = num::parse_i64(port).and_then(|port| u16::try_from(port).ok()).ok_or_else(invalid)?;
        let mut last = invalid();
        for address in (host, port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, timeout.min(LONGEST)) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(Peer { stream, db: None, ahead: Vec::new() });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Sends all of `bytes`.
    pub(crate) fn write(&mut self, bytes: &[u8], timeout: Duration) -> Result<(), Failure> {
        let set = self.stream.set_write_timeout(Some(timeout.min(LONGEST)));
        set.and_then(|()| self.stream.write_all(bytes)).map_err(|error| failure(&error, true))
    }

    /// One line without its end.
    pub(crate) fn read_line(&mut self, timeout: Duration) -> Result<Vec<u8>, Failure> {
        self.line(timeout.min(LONGEST)).map_err(|error| failure(&error, false))
    }

    fn line(&mut self, timeout: Duration) -> io::Result<Vec<u8>> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(end) = self.ahead.iter().position(|b| *b == b'\n') {
                let mut line: Vec<u8> = self.ahead.drain(..=end).collect();
                while line.last().is_some_and(|b| matches!(b, b'\r' | b'\n')) {
                    line.pop();
                }
                return Ok(line);
            }
            if self.ahead.len() > MOST_LINE_BYTES {
                return Err(ErrorKind::InvalidData.into());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                n => self.ahead.extend_from_slice(&bytes[..n]),
            }
        }
    }
}

fn failure(error: &io::Error, while_writing: bool) -> Failure {
    Failure { is_timeout: matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock), while_writing }
}
