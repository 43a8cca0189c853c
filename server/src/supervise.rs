//! Those who started the process and want to know how it is: systemd, upstart.
//!
//! Systemd is told through the socket that it names in the environment, upstart by a stop of the
//! process, which it ends. Behaviour: systemd's sd_notify(3), valkey src/server.c `serverIsSupervised`.

use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use nix::sys::signal::{Signal, raise};

use crate::config::Supervised;
use crate::log::Log;

/// Who is told.
#[derive(Debug)]
pub(crate) enum Supervisor {
    /// Nobody.
    Nobody,
    /// Upstart; it knows already.
    Upstart,
    /// Systemd, through this socket, with the address.
    Systemd(UnixDatagram, SocketAddr),
}

impl Supervisor {
    /// Finds whom the configuration means. A warning if they are not there.
    pub(crate) fn find(asked: Supervised, log: &Log) -> Supervisor {
        let socket = std::env::var_os("NOTIFY_SOCKET");
        let has_job = std::env::var_os("UPSTART_JOB").is_some();
        match asked {
            Supervised::No => Supervisor::Nobody,
            Supervised::Auto if has_job => Supervisor::upstart(log),
            Supervised::Upstart if has_job => Supervisor::upstart(log),
            Supervised::Auto if socket.is_none() => Supervisor::Nobody,
            Supervised::Auto | Supervised::Systemd => Supervisor::systemd(socket, log),
            Supervised::Upstart => {
                log.warning(format_args!("upstart supervision requested, but UPSTART_JOB not found!"));
                Supervisor::Nobody
            }
        }
    }

    fn upstart(log: &Log) -> Supervisor {
        log.notice(format_args!("supervised by upstart, will stop to signal readiness."));
        match raise(Signal::SIGSTOP) {
            Ok(()) => Supervisor::Upstart,
            Err(e) => {
                log.warning(format_args!("Cannot stop for upstart: {e}"));
                Supervisor::Nobody
            }
        }
    }

    fn systemd(socket: Option<OsString>, log: &Log) -> Supervisor {
        let Some(name) = socket else {
            log.warning(format_args!(
                "systemd supervision requested or auto-detected, but NOTIFY_SOCKET not found!"
            ));
            return Supervisor::Nobody;
        };
        let name = name.as_bytes();
        let addr = match name.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name)),
        };
        match addr.and_then(|addr| Ok(Supervisor::Systemd(UnixDatagram::unbound()?, addr))) {
            Ok(supervisor) => {
                log.notice(format_args!("Supervised by systemd. Please make sure you set appropriate values for TimeoutStartSec and TimeoutStopSec in your service unit."));
                supervisor
            }
            Err(e) => {
                log.warning(format_args!("systemd supervision error: {e}"));
                Supervisor::Nobody
            }
        }
    }

    /// Tells how things are, in lines of `NAME=value`.
    pub(crate) fn tell(&self, state: &str, log: &Log) {
        if let Supervisor::Systemd(socket, addr) = self
            && let Err(e) = socket.send_to_addr(state.as_bytes(), addr)
        {
            log.warning(format_args!("systemd supervision error: {e}"));
        }
    }

    /// The name for INFO.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Supervisor::Nobody => "no",
            Supervisor::Upstart => "upstart",
            Supervisor::Systemd(..) => "systemd",
        }
    }
}
