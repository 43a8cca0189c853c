//! What follows from a directive that CONFIG SET has changed.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use cairn_engine::os::jemalloc;

use crate::clients::Client;
use crate::config::{Config, SetError};
use crate::server::Server;

impl Server {
    /// Makes the server follow its configuration, in which the directives `names` are new; `before` is
    /// what it followed until now.
    ///
    /// # Errors
    /// The directive that cannot be followed; the caller puts the old configuration back.
    pub(crate) fn apply_config(&mut self, names: &[&'static str], before: &Config) -> Result<(), SetError> {
        for name in names {
            match *name {
                "dir" => self.enter_dir()?,
                "port" | "bind" => self.change_listeners(name, before)?,
                "maxclients" => self.raise_descriptor_limit(),
                "loglevel" => self.log.set_level(self.config.loglevel),
                "requirepass" => self.has_password = !self.config.requirepass.is_empty(),
                _ => {}
            }
        }
        self.configure_engine();
        Ok(())
    }

    fn change_listeners(&mut self, name: &str, before: &Config) -> Result<(), SetError> {
        if self.listen_anew(before) {
            return Ok(());
        }
        let why = match name {
            "port" => "Unable to listen on this port. Check server logs.",
            _ => "Failed to bind to specified addresses.",
        };
        Err(SetError::Refused(name.to_owned(), why.to_owned()))
    }

    fn enter_dir(&mut self) -> Result<(), SetError> {
        let refused = |e: std::io::Error| SetError::Refused("dir".into(), errno_text(&e));
        std::env::set_current_dir(OsStr::from_bytes(&self.config.dir)).map_err(refused)?;
        let dir = std::env::current_dir().map_err(refused)?;
        self.config.dir = dir.into_os_string().into_encoded_bytes();
        Ok(())
    }

    /// Asks the system for a descriptor for each client; takes fewer clients if it gives fewer.
    pub(crate) fn raise_descriptor_limit(&mut self) {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        /// Descriptors that are not clients: listening sockets, files, pipes.
        const RESERVED: u64 = 32;
        let wanted = u64::try_from(self.config.maxclients).unwrap_or(0) + RESERVED;
        let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
        if soft >= wanted {
            return;
        }
        // Raising the hard limit is for root only; up to it anybody may go.
        let raised = setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted.max(hard)).is_ok()
            || setrlimit(Resource::RLIMIT_NOFILE, hard.min(wanted), hard).is_ok();
        let limit =
            if raised { getrlimit(Resource::RLIMIT_NOFILE).map_or(soft, |(soft, _)| soft) } else { soft };
        if limit < wanted {
            let clients = limit.saturating_sub(RESERVED).max(1);
            self.log.warning(format_args!(
                "The system allows {limit} open files: maxclients has been reduced from {} to {clients}.",
                self.config.maxclients
            ));
            self.config.maxclients = i64::try_from(clients).unwrap_or(i64::MAX);
        }
    }

    /// CONFIG RESETSTAT.
    pub(crate) fn reset_stats(&mut self) {
        self.stats.reset();
        self.reset_engine_stats();
    }

    /// Bytes of memory that clients take, as far as we know them.
    pub(crate) fn client_memory(&self) -> u64 {
        let of = |client: &Client| {
            size_of::<Client>() + client.connection.input.capacity() + client.connection.output_bytes()
        };
        self.clients.iter().map(|(_, client)| of(client) as u64).sum()
    }

    /// Notes how much memory is in use.
    pub(crate) fn measure_memory(&mut self) {
        self.used_memory = jemalloc::stats().allocated;
        self.stats.peak_memory = self.stats.peak_memory.max(self.used_memory);
    }
}

/// What the system said, without the number that Rust puts behind it.
pub(crate) fn errno_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}
