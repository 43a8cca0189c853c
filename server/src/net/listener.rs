//! Listening sockets: TCP on each address of `bind`, and a Unix socket.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;

use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Group};
use socket2::{Domain, Protocol, Socket, Type};

use super::stream::Stream;

/// A listening socket.
#[derive(Debug)]
pub(crate) enum Listener {
    /// For TCP.
    Tcp(TcpListener),
    /// For a Unix socket.
    Unix(UnixListener),
}

impl Listener {
    /// Takes a connection that waits. `WouldBlock` if none does.
    pub(crate) fn accept(&self) -> io::Result<Stream> {
        Ok(match self {
            Listener::Tcp(listener) => Stream::Tcp(listener.accept()?.0),
            Listener::Unix(listener) => Stream::Unix(listener.accept()?.0),
        })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(listener) => listener.as_fd(),
        }
    }
}

/// Listens on one entry of `bind`: an address or a name, `*` and `::*` for every address, `-` in front
/// for one that may be missing. `None` if such a one is missing.
///
/// # Errors
/// The address and what the system said.
pub(crate) fn tcp(entry: &str, port: u16, backlog: i32) -> Result<Option<Listener>, (String, io::Error)> {
    let (name, is_optional) = entry.strip_prefix('-').map_or((entry, false), |name| (name, true));
    let host = match name {
        "*" => "0.0.0.0",
        "::*" => "::",
        host => host,
    };
    let listen = || {
        let addr = (host, port).to_socket_addrs()?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
        listen_on(addr, backlog)
    };
    match listen() {
        Ok(listener) => Ok(Some(Listener::Tcp(listener))),
        Err(e) if is_optional && is_missing(&e) => Ok(None),
        Err(e) => Err((format!("{name}:{port}"), e)),
    }
}

/// The errors of an address that this machine does not have.
fn is_missing(error: &io::Error) -> bool {
    let missing = [libc::EADDRNOTAVAIL, libc::EAFNOSUPPORT, libc::EPROTONOSUPPORT, libc::ENOPROTOOPT];
    error.raw_os_error().is_some_and(|code| missing.contains(&code))
}

fn listen_on(addr: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Listens on a Unix socket, in place of one left behind. It is born with its final permissions, so
/// that there is no moment at which others could connect. An empty group leaves it that of the process.
///
/// # Errors
/// What the system said.
pub(crate) fn unix(path: &[u8], permissions: u32, group: &[u8], backlog: i32) -> io::Result<Listener> {
    let path = OsStr::from_bytes(path);
    let gid = group_id(group)?;
    let _ = fs::remove_file(path);
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let addr = socket2::SockAddr::unix(path)?;
    let bound = if permissions == 0 {
        socket.bind(&addr)
    } else {
        let before = umask(Mode::from_bits_truncate(!permissions & 0o777));
        let bound = socket.bind(&addr);
        umask(before);
        bound
    };
    bound?;
    if gid.is_some() {
        nix::unistd::chown(path, None, gid)?;
    }
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok(Listener::Unix(socket.into()))
}

/// The number of a group, given by name or number; none for an empty name.
fn group_id(name: &[u8]) -> io::Result<Option<Gid>> {
    if name.is_empty() {
        return Ok(None);
    }
    let name = String::from_utf8_lossy(name);
    if let Some(group) = Group::from_name(&name)? {
        return Ok(Some(group.gid));
    }
    let number = name.parse().map_err(|_| io::Error::other(format!("there is no group '{name}'")))?;
    Ok(Some(Gid::from_raw(number)))
}
