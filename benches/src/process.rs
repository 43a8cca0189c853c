//! Servers as processes: started on a port and in a folder of their own, asked whether they are up,
//! read in /proc. A server that runs already is taken by its address.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::resp::Client;

/// Between two questions whether a server is up.
const ASK_EVERY: Duration = Duration::from_millis(2);
/// A server that is not up after this has failed to start.
const PATIENCE: Duration = Duration::from_secs(900);
/// The kernel counts a process's time in these unless it tells nanoseconds.
const TICK_NS: u64 = 10_000_000;
/// Of a server's output so much is shown when it does not start.
const SHOWN_OUTPUT_BYTES: usize = 2000;

/// A server to be measured: `NAME=COMMAND` with `{port}` and `{dir}` in the command, or `NAME=HOST:PORT`.
#[derive(Debug, Clone)]
pub struct Spec {
    /// What tables call it.
    pub name: String,
    /// How to reach or start it.
    pub source: Source,
}

/// Where a server comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// It runs at this address.
    Address(String),
    /// It is started by these words.
    Command(Vec<String>),
}

impl std::str::FromStr for Spec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, source) = text.split_once('=').ok_or("write NAME=COMMAND or NAME=HOST:PORT")?;
        let words: Vec<String> = split_words(source)?;
        let is_address =
            words.len() == 1 && source.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let source = match words.as_slice() {
            [] => return Err(format!("{name}: nothing to start")),
            [address] if is_address => Source::Address(address.clone()),
            _ => Source::Command(words),
        };
        Ok(Spec { name: name.to_owned(), source })
    }
}

/// Splits at blanks; quotes of both kinds keep them.
fn split_words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    if quote.is_some() { Err(format!("a quote is open in: {text}")) } else { Ok(words) }
}

/// A server that is up.
#[derive(Debug)]
pub struct Server {
    /// `host:port`.
    pub address: String,
    /// From the start of the process until it answered PING with PONG.
    pub started_in: Duration,
    pid: Option<u32>,
    own: Option<Child>,
}

/// What a process has used.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// CPU time of all its threads, in nanoseconds.
    pub cpu_ns: u64,
    /// Resident bytes.
    pub rss_bytes: u64,
}

impl Server {
    /// Starts a server in `dir`, on CPU `core` only if one is given; or connects to one that runs.
    /// Waits until it answers PING, so until it has loaded what it loads.
    ///
    /// # Errors
    /// What start or socket said; `Other` with its output if it ends or does not come up.
    pub fn start(spec: &Spec, dir: &Path, core: Option<usize>) -> io::Result<Server> {
        let words = match &spec.source {
            Source::Address(address) => {
                let mut client = Client::connect(address)?;
                let pid = info_field(&mut client, "process_id")?.and_then(|pid| pid.parse().ok());
                let started_in = Duration::ZERO;
                return Ok(Server { address: address.clone(), started_in, pid, own: None });
            }
            Source::Command(words) => words,
        };
        let port = free_port()?.to_string();
        let fill = |word: &String| word.replace("{port}", &port).replace("{dir}", &dir.to_string_lossy());
        let mut words: Vec<String> = words.iter().map(fill).collect();
        if let Some(core) = core {
            words.splice(0..0, ["taskset".to_owned(), "-c".to_owned(), core.to_string()]);
        }
        let log = dir.join("cairn-load.out");
        let out = fs::OpenOptions::new().create(true).append(true).open(&log)?;
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(dir).stdin(Stdio::null());
        command.stdout(out.try_clone()?).stderr(out);
        let begun = Instant::now();
        let mut child = command.spawn()?;
        let address = format!("127.0.0.1:{port}");
        loop {
            if is_up(&address) {
                let (started_in, pid) = (begun.elapsed(), Some(child.id()));
                return Ok(Server { address, started_in, pid, own: Some(child) });
            }
            let ended = child.try_wait()?;
            if ended.is_some() || begun.elapsed() > PATIENCE {
                let _ = child.kill();
                let _ = child.wait();
                let said = fs::read(&log).unwrap_or_default();
                let said = String::from_utf8_lossy(&said[said.len().saturating_sub(SHOWN_OUTPUT_BYTES)..])
                    .into_owned();
                return Err(io::Error::other(format!("{} did not start:\n{said}", spec.name)));
            }
            std::thread::sleep(ASK_EVERY);
        }
    }

    /// A new connection.
    ///
    /// # Errors
    /// What the socket said.
    pub fn connect(&self) -> io::Result<Client> {
        Client::connect(&self.address)
    }

    /// What the process has used up to now; zeros if it runs elsewhere.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.pid.map(usage).unwrap_or_default()
    }

    /// Ends a server of ours at once, as kill -9 does. One that was only connected to is left alone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.own.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// True if it can be killed and started again.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.own.is_some()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn is_up(address: &str) -> bool {
    Client::connect(address).and_then(|mut client| client.call(&["PING"])).is_ok_and(|reply| reply == "PONG")
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A field of INFO.
///
/// # Errors
/// What the socket or the server said.
pub fn info_field(client: &mut Client, field: &str) -> io::Result<Option<String>> {
    let info = client.call(&["INFO"])?;
    let value = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    Ok(value.map(|text| text.trim().to_owned()))
}

fn usage(pid: u32) -> Usage {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let status = fs::read_to_string(proc.join("status")).unwrap_or_default();
    let kib = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let cpu_ns = thread_ns(&proc).or_else(|| stat_ns(&proc)).unwrap_or_default();
    Usage { cpu_ns, rss_bytes: kib("VmRSS:").unwrap_or_default() * 1024 }
}

/// Nanoseconds on a CPU, summed over the threads there are.
fn thread_ns(proc: &Path) -> Option<u64> {
    let mut sum = 0;
    for task in fs::read_dir(proc.join("task")).ok()? {
        let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        sum += text.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    (sum > 0).then_some(sum)
}

fn stat_ns(proc: &Path) -> Option<u64> {
    let stat = fs::read_to_string(proc.join("stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some((ticks(11)? + ticks(12)?) * TICK_NS)
}

#[cfg(test)]
mod tests {
    use super::{Source, Spec, usage};

    #[test]
    fn specs_are_commands_or_addresses() {
        let spec: Spec = "v=valkey-server --port {port} --save ''".parse().expect("a command");
        assert_eq!(spec.name, "v");
        let Source::Command(words) = spec.source else { panic!("taken for an address") };
        assert_eq!(words, ["valkey-server", "--port", "{port}", "--save", ""]);
        let spec: Spec = "here=127.0.0.1:6379".parse().expect("an address");
        assert!(matches!(spec.source, Source::Address(address) if address == "127.0.0.1:6379"));
        assert!("nameless".parse::<Spec>().is_err());
        assert!("x=a 'b".parse::<Spec>().is_err());
    }

    #[test]
    fn a_process_uses_something() {
        let own = usage(std::process::id());
        assert!(own.rss_bytes > 0);
    }
}
