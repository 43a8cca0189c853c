//! What follows from a directive that CONFIG SET has changed.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use cairn_engine::os::{jemalloc, process_title};

use crate::config::rewrite::rewrite;
use crate::config::title;
use crate::config::{Config, SetError};
use crate::server::Server;

impl Server {
    /// Makes the server follow its configuration, in which the directives `names` are new; `before` is
    /// what it followed until now.
    ///
    /// # Errors
    /// The directive that cannot be followed; the caller puts the old configuration back.
    pub(crate) fn apply_config(&mut self, names: &[&'static str], before: &Config) -> Result<(), SetError> {
        let ignored: Vec<&str> = self.config.not_acted_on().filter(|name| names.contains(name)).collect();
        for name in ignored {
            self.log
                .warning(format_args!("WARNING: '{name}' is known, but this version does not act on it."));
        }
        for name in names {
            match *name {
                "dir" => self.enter_dir()?,
                "port" | "bind" => self.change_listeners(name, before)?,
                "maxclients" => self.raise_descriptor_limit(),
                "loglevel" | "log-format" | "log-timestamp-format" => self.log.configure(&self.config),
                "proc-title-template" => self.set_title(),
                "oom-score-adj" | "oom-score-adj-values" => self.set_oom_score(name)?,
                "maxmemory-clients" => self.count_clients(),
                "maxmemory" => self.maxmemory_has_changed(),
                "appendonly" => self.switch_aof()?,
                "requirepass" => self.has_password = !self.config.requirepass.is_empty(),
                _ => {}
            }
        }
        self.configure_engine();
        if names.contains(&"aof-disable-auto-gc") {
            self.tidy_aof();
        }
        self.update_wants();
        self.observer.configure(&self.config, self.commands.entries().len());
        Ok(())
    }

    /// Writes the configuration to the file it came from, whole or not at all; `force` writes
    /// defaults, too.
    ///
    /// # Errors
    /// What to tell the one who asked. The file is as it was, unless only its folder would not be synced.
    pub(crate) fn rewrite_config(&mut self, force: bool) -> Result<(), String> {
        let path = self.config_file.clone().ok_or("The server is running without a config file")?;
        let written = rewrite_file(&path, |old| rewrite(old, &self.config, force));
        match written {
            Ok(()) => {
                self.log.notice(format_args!("CONFIG REWRITE executed with success."));
                Ok(())
            }
            Err(e) => {
                let why = errno_text(&e);
                self.log.warning(format_args!("CONFIG REWRITE failed: {why}"));
                Err(format!("Rewriting config file: {why}"))
            }
        }
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

    fn set_oom_score(&mut self, name: &str) -> Result<(), SetError> {
        self.oom_score.apply(&self.config).map_err(|e| {
            self.log.warning(format_args!("Unable to write oom_score_adj: {}", errno_text(&e)));
            let why = "Failed to apply new oom_score_adj configuration, check server logs.";
            SetError::Refused(name.to_owned(), why.to_owned())
        })
    }

    /// Sets the title of the process as its template says.
    pub(crate) fn set_title(&self) {
        if !self.config.set_proc_title {
            return;
        }
        let config = &self.config;
        let value = |name: &[u8]| match name {
            b"title" => std::env::args_os().next().map(OsStringExt::into_vec).unwrap_or_default(),
            b"listen-addr" if config.port != 0 => {
                let address = config.bind.first().map_or("*", String::as_str);
                format!("{address}:{}", config.port).into_bytes()
            }
            b"listen-addr" => [b"unixsocket:", config.unixsocket.as_slice()].concat(),
            b"port" => config.port.to_string().into_bytes(),
            b"tls-port" => b"0".to_vec(),
            b"unixsocket" => config.unixsocket.clone(),
            b"config-file" => match &self.config_file {
                Some(path) => path.as_os_str().as_bytes().to_vec(),
                None => b"-".to_vec(),
            },
            _ => Vec::new(),
        };
        // Whether the system lets us or not, it is only a title.
        let _ = title::expand(&config.proc_title_template, &value).map(|title| process_title::set(&title));
    }

    /// CONFIG RESETSTAT.
    pub(crate) fn reset_stats(&mut self) {
        self.stats.reset();
        self.observer.reset_histograms();
        self.memory.reset();
        self.scripting.scripts.reset_evicted();
        (self.expiry.stale_percent, self.expire_time_caps) = (0.0, 0);
        self.reset_engine_stats();
    }

    /// Notes how much memory is in use.
    pub(crate) fn measure_memory(&mut self) {
        self.used_memory = jemalloc::used_bytes();
        self.stats.peak_memory = self.stats.peak_memory.max(self.used_memory);
    }
}

/// Puts what `change` makes of a file's text in its place: a new file beside it, synced, renamed, and
/// the folder synced. A file that is not there counts as empty.
fn rewrite_file(path: &Path, change: impl FnOnce(&[u8]) -> Vec<u8>) -> io::Result<()> {
    const NEW_FILE_MODE: u32 = 0o644;
    let (old, mode) = match fs::read(path) {
        Ok(old) => (old, Some(fs::metadata(path)?.permissions())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => (Vec::new(), None),
        Err(e) => return Err(e),
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temp = folder.join(name);
    let write = || {
        // Nobody else may read it meanwhile: there may be a password in it.
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temp)?;
        file.write_all(&change(&old))?;
        match mode {
            Some(mode) => file.set_permissions(mode)?,
            None => {
                let umask = umask();
                file.set_permissions(Permissions::from_mode(NEW_FILE_MODE & !umask))?;
            }
        }
        file.sync_all()?;
        fs::rename(&temp, path)
    };
    if let Err(e) = write() {
        // Whether it can be removed or not, the error that matters is the first.
        let _ = fs::remove_file(&temp);
        return Err(e);
    }
    fs::File::open(folder)?.sync_all()
}

/// The permissions that new files of this process do not get.
fn umask() -> u32 {
    use nix::sys::stat::{Mode, umask};
    let mask = umask(Mode::empty());
    umask(mask);
    mask.bits()
}

/// What the system said, without the number that Rust puts behind it.
pub(crate) fn errno_text(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}
