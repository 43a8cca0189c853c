//! A client's socket, of either kind. Never waits.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use super::unsent::Unsent;

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

impl Stream {
    /// Reads into `into`. 0 when the other side has closed.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(into),
            Stream::Unix(stream) => stream.read(into),
        }
    }

    /// Appends up to `max` bytes to `into`, without clearing the room first as `read` makes its caller
    /// do. True if the other side has closed.
    pub(crate) fn read_append(&mut self, max: usize, into: &mut Vec<u8>) -> io::Result<bool> {
        let before = into.len();
        let max = max as u64;
        let result = match self {
            Stream::Tcp(stream) => stream.take(max).read_to_end(into),
            Stream::Unix(stream) => stream.take(max).read_to_end(into),
        };
        match result {
            Ok(read) => Ok((read as u64) < max),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && into.len() > before => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Writes what goes without waiting.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    /// Writes what goes without waiting of what waits.
    pub(crate) fn write_unsent(&mut self, unsent: &Unsent) -> io::Result<usize> {
        let (slices, count) = unsent.slices();
        match self {
            Stream::Tcp(stream) => stream.write_vectored(&slices[..count]),
            Stream::Unix(stream) => stream.write_vectored(&slices[..count]),
        }
    }

    /// Ends the connection for both sides, also if a fork child holds a copy of the descriptor.
    pub(crate) fn shutdown(&self) {
        let _ = match self {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }

    /// Makes it a client's socket: never waiting, small packets at once, probed after silence.
    pub(crate) fn prepare(&self, keepalive_seconds: i64) -> io::Result<()> {
        match self {
            Stream::Unix(stream) => stream.set_nonblocking(true),
            Stream::Tcp(stream) => {
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                if let Some(seconds) = u64::try_from(keepalive_seconds).ok().filter(|s| *s > 0) {
                    // Probes three times in the given time, as Redis does.
                    let idle = Duration::from_secs(seconds);
                    let between = Duration::from_secs((seconds / 3).max(1));
                    let keepalive =
                        TcpKeepalive::new().with_time(idle).with_interval(between).with_retries(3);
                    SockRef::from(stream).set_tcp_keepalive(&keepalive)?;
                }
                Ok(())
            }
        }
    }

    /// True for a Unix socket.
    pub(crate) fn is_unix(&self) -> bool {
        matches!(self, Stream::Unix(_))
    }

    /// True if the other side is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Stream::Unix(_) => true,
            Stream::Tcp(stream) => {
                stream.peer_addr().is_ok_and(|addr| addr.ip().to_canonical().is_loopback())
            }
        }
    }

    /// The other side's address and our own, as CLIENT LIST shows them.
    pub(crate) fn addresses(&self, unix_path: &str) -> (String, String) {
        match self {
            Stream::Unix(_) => (format!("{unix_path}:0"), format!("{unix_path}:0")),
            Stream::Tcp(stream) => {
                let text =
                    |addr: io::Result<std::net::SocketAddr>| addr.map_or("?:0".into(), |a| a.to_string());
                (text(stream.peer_addr()), text(stream.local_addr()))
            }
        }
    }

    /// The descriptor's number, for CLIENT LIST.
    pub(crate) fn number(&self) -> RawFd {
        match self {
            Stream::Tcp(stream) => stream.as_raw_fd(),
            Stream::Unix(stream) => stream.as_raw_fd(),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}
