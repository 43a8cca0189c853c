//! From a configuration to a running server.
//!
//! Nothing is written before everything that could refuse to start has been tried. The lines that
//! scripts wait for (`PID:`, `Server initialized`, `Ready to accept connections`) are part of the
//! interface.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cairn_engine::base::crc64;
use cairn_engine::keyspace::Db;
use cairn_engine::os::file;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::batch::Batch;
use crate::command::info::machine_memory;
use crate::command::table::CommandTable;
use crate::config::file::{ConfigError, Reading};
use crate::config::{Config, Supervised};
use crate::folder;
use crate::log::Log;
use crate::net::listener::{self, Listener};
use crate::server::Server;
use crate::settings::errno_text;
use crate::supervise::Supervisor;
use crate::version::{CAIRN_VERSION, REDIS_VERSION};

/// A run is named by twice as many hexadecimal digits.
const RUN_ID_BYTES: usize = 20;

/// Why the process ends before it serves. What there is to say has been said.
struct Refused;

/// Runs the server until it is told to end.
pub(crate) fn serve(file: Option<OsString>, from_stdin: bool, options: &[u8]) -> ExitCode {
    match try_serve(file, from_stdin, options) {
        Ok(status) => ExitCode::from(u8::try_from(status).unwrap_or(1)),
        Err(Refused) => ExitCode::FAILURE,
    }
}

fn try_serve(file: Option<OsString>, from_stdin: bool, options: &[u8]) -> Result<i32, Refused> {
    let has_arguments = file.is_some() || from_stdin || !options.is_empty();
    let config = read_config(file.as_deref(), from_stdin, options).map_err(|e| report(&e))?;
    let commands = CommandTable::new(&config.renames);
    let commands = commands.map_err(|text| report(&ConfigError { line: None, text }))?;
    let config_file = file.map(|file| absolute(Path::new(&file)));
    check_databases(&config).map_err(|e| report(&e))?;
    let config = enter_dir(config).map_err(|e| report(&e))?;
    let is_supervised = is_supervised(config.supervised);
    if config.daemonize
        && !is_supervised
        && let Err(e) = nix::unistd::daemon(true, false)
    {
        eprintln!("Cannot go to the background: {e}");
        return Err(Refused);
    }
    let log = Log::new(&config);
    let pid = std::process::id();
    log.notice(format_args!("oO0OoO0OoO0Oo Cairn is starting oO0OoO0OoO0Oo"));
    log.notice(format_args!(
        "Cairn version={CAIRN_VERSION}, redis={REDIS_VERSION}, bits={}, pid={pid}, just started",
        usize::BITS
    ));
    if has_arguments {
        log.notice(format_args!("Configuration loaded"));
    } else {
        log.warning(format_args!(
            "Warning: No config file specified, using the default config. In order to specify a config file use \
             cairn-server /path/to/redis.conf"
        ));
    }
    for name in config.not_acted_on() {
        log.warning(format_args!("WARNING: '{name}' is known, but this version does not act on it."));
    }
    let supervisor = Supervisor::find(config.supervised, &log);
    supervisor.tell("STATUS=Loading the data set\n", &log);
    let seed = random_bytes::<36>().map_err(|e| {
        log.warning(format_args!("Cannot read random numbers from the system: {e}"));
        Refused
    })?;
    let (id, seed) = seed.split_at(RUN_ID_BYTES);
    let word = |at: usize| seed[at..].iter().take(8).fold(0u64, |word, byte| (word << 8) | u64::from(*byte));
    let seed = [word(0), word(8)];
    let signals = catch_signals().map_err(|e| {
        log.warning(format_args!("Cannot watch for signals: {e}"));
        Refused
    })?;
    // Whatever finds out about the processor by itself does so before the first fork.
    crc64::warm_up();
    let lock = folder::take(&config, &log).map_err(|()| Refused)?;
    let listeners = listen(&config, &log)?;
    let mut server =
        Server::new(config, config_file, log, commands, listeners, signals, hex(id)).map_err(|e| {
            eprintln!("Cannot make an event loop: {e}");
            Refused
        })?;
    server.supervisor = supervisor;
    server.dir_lock = lock;
    server.raise_descriptor_limit();
    server.write_pid_file();
    server.set_title();
    if let Err(e) = server.oom_score.apply(&server.config) {
        server.log.warning(format_args!("Unable to write oom_score_adj: {}", errno_text(&e)));
    }
    server.measure_memory();
    server.startup_memory = server.used_memory;
    server.log.raw(&format!(" PID: {pid}"));
    let port = server.config.port;
    server.log.notice(format_args!("Running mode=standalone, port={port}."));
    server.log.notice(format_args!("Server initialized"));
    let mut batch = Batch::new();
    if !server.load_data(&mut batch, seed) {
        return Ok(1);
    }
    server.folder.begin(&server.config);
    if port != 0 {
        server.log.notice(format_args!("Ready to accept connections tcp"));
    }
    if !server.config.unixsocket.is_empty() {
        server.log.notice(format_args!("Ready to accept connections unix"));
    }
    server.supervisor.tell("STATUS=Ready to accept connections\nREADY=1\n", &server.log);
    Ok(server.run(&mut batch))
}

/// Databases take memory though they are empty, so there may be too many.
fn check_databases(config: &Config) -> Result<(), ConfigError> {
    /// They may have this part of the machine's memory.
    const PART: u64 = 8;
    let bytes = u64::try_from(config.databases).unwrap_or(0).saturating_mul(size_of::<Db>() as u64);
    if bytes <= machine_memory() / PART {
        return Ok(());
    }
    let text = format!("this machine has no memory for {} databases", config.databases);
    Err(ConfigError { line: None, text })
}

/// True if somebody else keeps the process in the background.
fn is_supervised(asked: Supervised) -> bool {
    let has = |name: &str| std::env::var_os(name).is_some();
    match asked {
        Supervised::No => false,
        Supervised::Upstart => has("UPSTART_JOB"),
        Supervised::Systemd => has("NOTIFY_SOCKET"),
        Supervised::Auto => has("UPSTART_JOB") || has("NOTIFY_SOCKET"),
    }
}

/// True if the program was started under the name of another server, in whose place it was put: what it
/// writes is then by default what that server would have written, byte for byte, for whoever reads it.
fn is_called_otherwise() -> bool {
    let program = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&program).file_name().unwrap_or_default().as_bytes();
    [&b"redis-server"[..], b"valkey-server"].contains(&name)
}

/// The configuration of file, standard input and options, in this order.
fn read_config(file: Option<&OsStr>, from_stdin: bool, options: &[u8]) -> Result<Config, ConfigError> {
    let mut text = Vec::new();
    if let Some(file) = file {
        text = fs::read(file).map_err(|e| {
            let text = format!("can't open config file '{}': {}", file.to_string_lossy(), errno_text(&e));
            ConfigError { line: None, text }
        })?;
        text.push(b'\n');
    }
    if from_stdin {
        let read = io::stdin().lock().read_to_end(&mut text);
        read.map_err(|e| ConfigError { line: None, text: format!("can't read standard input: {e}") })?;
        text.push(b'\n');
    }
    text.extend_from_slice(options);
    let mut config = Config { aof_checksum: !is_called_otherwise(), ..Config::default() };
    let mut reading = Reading::default();
    reading.read(&mut config, &text)?;
    if !config.logfile.is_empty() {
        let path = OsStr::from_bytes(&config.logfile);
        fs::OpenOptions::new().append(true).create(true).open(path).map_err(|e| ConfigError {
            line: None,
            text: format!("Can't open the log file: {}", errno_text(&e)),
        })?;
    }
    Ok(config)
}

fn report(error: &ConfigError) -> Refused {
    eprintln!("\n*** FATAL CONFIG FILE ERROR (Redis {REDIS_VERSION}) ***");
    if let Some((number, line)) = &error.line {
        eprintln!("Reading the configuration file, at line {number}");
        eprintln!(">>> '{line}'");
    }
    eprintln!("{}", error.text);
    Refused
}

/// Goes to the folder of `dir`, and keeps its absolute path.
fn enter_dir(mut config: Config) -> Result<Config, ConfigError> {
    let dir = String::from_utf8_lossy(&config.dir).into_owned();
    let refused = |e: io::Error| {
        let text = format!("Can't chdir to '{dir}': {}", errno_text(&e));
        ConfigError { line: None, text }
    };
    std::env::set_current_dir(OsStr::from_bytes(&config.dir)).map_err(refused)?;
    let dir = std::env::current_dir().map_err(refused)?;
    config.dir = dir.into_os_string().into_encoded_bytes();
    Ok(config)
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Listening sockets for everything that the configuration names.
fn listen(config: &Config, log: &Log) -> Result<Vec<Listener>, Refused> {
    let mut listeners = listen_tcp(config, log).ok_or(Refused)?;
    if !config.unixsocket.is_empty() {
        let backlog = i32::try_from(config.tcp_backlog).unwrap_or(i32::MAX);
        match listener::unix(&config.unixsocket, config.unixsocketperm, &config.unixsocketgroup, backlog) {
            Ok(listener) => listeners.push(listener),
            Err(e) => {
                log.warning(format_args!("Failed opening Unix socket: bind: {}", errno_text(&e)));
                return Err(Refused);
            }
        }
    }
    if listeners.is_empty() {
        log.warning(format_args!("Configured to not listen anywhere, exiting."));
        return Err(Refused);
    }
    Ok(listeners)
}

/// Listening sockets for `bind` and `port`; none for port 0. `None`, and a word in the log, if they
/// cannot be had.
pub(crate) fn listen_tcp(config: &Config, log: &Log) -> Option<Vec<Listener>> {
    let backlog = i32::try_from(config.tcp_backlog).unwrap_or(i32::MAX);
    let port = u16::try_from(config.port).unwrap_or(0);
    if port == 0 {
        return Some(Vec::new());
    }
    let mut listeners = Vec::new();
    for entry in &config.bind {
        match listener::tcp(entry, port, backlog) {
            Ok(listener) => listeners.extend(listener),
            Err((address, e)) => {
                let text = errno_text(&e);
                log.warning(format_args!(
                    "Warning: Could not create server TCP listening socket {address}: bind: {text}"
                ));
                listeners.clear();
                break;
            }
        }
    }
    if listeners.is_empty() {
        log.warning(format_args!("Failed listening on port {port} (tcp), aborting."));
        return None;
    }
    Some(listeners)
}

/// Has the signals that end the process come through a descriptor, and a file that grows too large be an
/// error like others.
fn catch_signals() -> io::Result<SignalFd> {
    file::ignore_size_signal()?;
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
    signals.thread_block()?;
    Ok(SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}

/// Random bytes that nobody can guess.
fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Server {
    fn write_pid_file(&mut self) {
        if self.config.pidfile.is_empty() && self.config.daemonize {
            self.config.pidfile = b"/var/run/redis.pid".to_vec();
        }
        if self.config.pidfile.is_empty() {
            return;
        }
        let path = OsStr::from_bytes(&self.config.pidfile);
        if let Err(e) = fs::write(path, format!("{}\n", std::process::id())) {
            self.log.warning(format_args!("Failed to write PID file: {}", errno_text(&e)));
        }
    }
}
