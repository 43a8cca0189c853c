//! One command: the checks in their order, then the engine or the session command, then what follows
//! from it. Nothing else.
//!
//! Behaviour: valkey src/server.c `processCommand`.

use std::time::Instant;

use cairn_engine::codec::resp::{Protocol, Reply};
use cairn_engine::command::spec::{
    ALLOW_BUSY, DENYOOM, Flags, LOADING, MAY_REPLICATE, NO_AUTH, NO_MULTI, PROTECTED, READONLY, WRITE,
};
use cairn_engine::command::{Args, CommandError, OnExpired, shown};
use cairn_engine::engine::Caller;

use crate::clients::{Client, Closing, Hold, Replies, Session};
use crate::command::Call;
use crate::command::table::{Entry, Run};
use crate::config::Enable;
use crate::memory::OOM;
use crate::observe::Cost;
use crate::pause::Paused;
use crate::server::Server;

/// Most bytes of arguments that the error for an unknown command repeats.
const ECHO_BYTES: usize = 128;

const NOAUTH: &str = "NOAUTH Authentication required.";
/// While the data set loads.
pub(crate) const LOADING_ERROR: &str = "LOADING Redis is loading the dataset in memory";
/// With `min-replicas-to-write`.
pub(crate) const NOREPLICAS: &str = "NOREPLICAS Not enough good replicas to write.";
/// When snapshots fail.
pub(crate) const MISCONF: &str = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. \
Commands that may modify the data set are disabled, because this instance is configured to report errors during \
writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about \
the RDB error.";
const DEBUG_DISABLED: &str = "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", \
you can run it from a local connection, otherwise you need to set this option in the configuration file, and then \
restart the server.";

/// What has become of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Called {
    /// It ran: its number in the table.
    Ran(u16),
    /// It was refused, or kept for EXEC.
    Answered,
    /// It has to wait with all that its client sends: to be called again.
    Held,
}

/// Commands that run at once in a transaction; all others wait for EXEC.
const RUN_AT_ONCE: [&str; 4] = ["exec", "discard", "quit", "reset"];

/// Runs one command of the client in slot `client` and writes its reply. `found` is the number of its
/// name in the table; `key_hash` tells the hash of the argument at a position, if it is known.
pub(crate) fn call(
    server: &mut Server,
    client: u32,
    found: Option<u16>,
    key_hash: Option<(usize, u64)>,
    argv: &[&[u8]],
    reply: &mut Reply,
) -> Called {
    let start = reply.len();
    let replies = server.clients.get(client).map_or(Replies::Off, |c| c.session.replies);
    if server.tracking.clients > 0 {
        server.limit_tracking();
    }
    let called = match admit(server, client, found, argv) {
        Ok(Admitted::Run(number)) => {
            run(server, client, number, argv, (true, key_hash), reply);
            if reply.bytes().get(start) == Some(&b'-') {
                server.count_failed(number, &reply.bytes()[start..]);
            }
            Called::Ran(number)
        }
        Ok(Admitted::Queue(number)) => {
            queue(server, client, number, argv);
            reply.simple("QUEUED");
            Called::Answered
        }
        Ok(Admitted::Hold) => {
            server.hold(client);
            return Called::Held;
        }
        Err(refusal) => {
            refuse(server, client, refusal, reply);
            Called::Answered
        }
    };
    if replies != Replies::On {
        let is_confirmed =
            matches!(called, Called::Ran(number) if server.commands.entry(number).spec.is_subscription());
        // RESET ends CLIENT REPLY OFF, and is one that CLIENT REPLY SKIP passes over.
        let is_reset =
            matches!(called, Called::Ran(number) if server.commands.entry(number).full_name == "reset");
        if is_reset && replies == Replies::SkipNext {
            reply.truncate(start);
        }
        hush(server, client, replies, if is_confirmed { reply.len() } else { start }, reply);
    }
    if server.tracking.clients > 0 {
        after_tracked(server, client, called);
    }
    called
}

/// Answers a command that did not run. A transaction that it belongs to will not run either.
#[cold]
fn refuse(server: &mut Server, index: u32, refusal: Refusal, reply: &mut Reply) {
    let start = reply.len();
    let Refusal { error, number } = refusal;
    if let Some(number) = number {
        server.stats.by_command[usize::from(number)].rejected += 1;
    }
    let is_exec = number.is_some() && number == server.exec;
    let session = server.clients.get_mut(index).map(|client| &mut client.session);
    let transaction = session.and_then(|session| {
        session.last_command = number;
        session.transaction.as_mut()
    });
    if let Some(transaction) = transaction {
        transaction.fail();
    }
    let Some(error) = error else { return };
    if is_exec {
        // Be there a MULTI before it or not, as in Valkey.
        if let Some(client) = server.clients.get_mut(index) {
            client.session.transaction = None;
        }
        server.unwatch(index);
        if let Some(number) = number {
            // Its MULTI was shown.
            server.feed_monitors(index, number, Args(&[b"exec"]));
        }
        let why = error.strip_prefix(b"ERR ").unwrap_or(&error);
        let text = [b"EXECABORT Transaction discarded because of: ", why].concat();
        reply.error_bytes(&text);
    } else {
        reply.error_bytes(&error);
    }
    server.stats.count_error(&reply.bytes()[start..]);
}

/// Keeps a command for EXEC.
fn queue(server: &mut Server, client: u32, number: u16, argv: &[&[u8]]) {
    let flags = server.commands.entry(number).spec.flags;
    let Some(client) = server.clients.get_mut(client) else { return };
    let session = &mut client.session;
    session.last_command = Some(number);
    let is_broken = session.is_watch_broken;
    if let Some(transaction) = session.transaction.as_mut().filter(|_| !is_broken) {
        transaction.push(number, flags, argv);
    }
}

/// Runs a command of a transaction or of a script: its checks were made. `has_request` if a
/// client has sent it.
pub(crate) fn run_inside(
    server: &mut Server,
    client: u32,
    number: u16,
    argv: &[&[u8]],
    has_request: bool,
    reply: &mut Reply,
) {
    let (start, began) = (reply.len(), Instant::now());
    run(server, client, number, argv, (false, None), reply);
    let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
    server.count_run(client);
    server.charge(number, nanos, 1);
    let cost = Cost { nanos: Some(nanos), reply_bytes: reply.len() - start, has_request };
    server.observe(client, number, argv, cost);
    if reply.bytes().get(start) == Some(&b'-') {
        server.count_failed(number, &reply.bytes()[start..]);
    }
    server.tell_effects();
}

/// What follows from a command while some client tracks keys.
#[cold]
fn after_tracked(server: &mut Server, client: u32, called: Called) {
    // Whatever else a connection says about itself in between leaves an announcement as it is.
    let is_about_client =
        matches!(called, Called::Ran(number) if server.commands.entry(number).spec.parent == Some("client"));
    let is_over = server.clients.get(client).is_some_and(|client| client.session.hold != Hold::Blocked);
    if is_over && !is_about_client {
        server.end_announcement(client);
    }
}

/// Takes back the reply to a client that wants none.
fn hush(server: &mut Server, client: u32, before: Replies, start: usize, reply: &mut Reply) {
    let Some(client) = server.clients.get_mut(client) else { return };
    let now = client.session.replies;
    match (before, now) {
        // CLIENT REPLY ON itself answers.
        (_, Replies::On) => {}
        (Replies::SkipNext, _) => {
            reply.truncate(start);
            // Who waits is not answered later, either: that ends with the waiting.
            if client.session.hold != Hold::Blocked {
                client.session.replies = Replies::On;
            }
        }
        _ => reply.truncate(start),
    }
}

/// Why a command did not run.
struct Refusal {
    /// The error reply; none for a client that is disconnected without a word.
    error: Option<Vec<u8>>,
    /// The command, if there is such a one.
    number: Option<u16>,
}

impl Refusal {
    fn new(number: u16, error: &str) -> Refusal {
        Refusal { error: Some(error.as_bytes().to_vec()), number: Some(number) }
    }
}

/// What is to be done with a command that passed the checks.
enum Admitted {
    /// Run it: its number, a container's subcommand if one is meant.
    Run(u16),
    /// Keep it for EXEC.
    Queue(u16),
    /// Keep it, and its client, until a pause ends.
    Hold,
}

/// The checks, in their order.
#[inline]
fn admit(server: &mut Server, client: u32, found: Option<u16>, argv: &[&[u8]]) -> Result<Admitted, Refusal> {
    if server.has_password {
        let is_authenticated = server.clients.get(client).is_some_and(|c| c.session.is_authenticated);
        let is_open = found.is_some_and(|number| server.commands.entry(number).spec.flags.has(NO_AUTH));
        if !is_authenticated && !is_open && !is_browser(argv) {
            return Err(Refusal { error: Some(NOAUTH.as_bytes().to_vec()), number: found });
        }
    }
    let Some(mut number) = found else { return Err(unknown(server, client, argv)) };
    let mut entry = server.commands.entry(number);
    if !entry.subcommands.is_empty() && argv.len() > 1 {
        let Some(sub) = server.commands.subcommand(number, argv[1]) else {
            return Err(unknown_subcommand(entry.spec.name, argv[1]));
        };
        number = sub;
        entry = server.commands.entry(number);
    }
    let spec = entry.spec;
    if !spec.accepts(argv.len()) {
        let error = CommandError::Arity(entry.full_name.clone());
        return Err(Refusal::new(number, &error.message()));
    }
    if spec.flags.has(PROTECTED) && !server.is_allowed(server.config.enable_debug_command, client) {
        return Err(Refusal::new(number, DEBUG_DISABLED));
    }
    let transaction = server.clients.get(client).and_then(|client| client.session.transaction.as_ref());
    let is_queued = transaction.is_some() && !RUN_AT_ONCE.contains(&entry.full_name.as_str());
    let mut flags = spec.flags;
    let mut runs_while_loading = flags.has(LOADING);
    if let Some(transaction) = transaction {
        if flags.has(NO_MULTI) {
            let name = &entry.full_name;
            let error = format!("ERR Command '{name}' not allowed inside a transaction");
            return Err(Refusal::new(number, &error));
        }
        if Some(number) == server.exec {
            flags = flags.or(transaction.flags);
            runs_while_loading &= !transaction.needs_data;
        }
    }
    if entry.runs_scripts {
        flags = server.script_call_flags(entry, argv);
    }
    let is_out_of_memory = server.is_out_of_memory();
    server.scripting.was_out_of_memory = is_out_of_memory;
    if is_out_of_memory && flags.has(DENYOOM) {
        return Err(Refusal::new(number, OOM));
    }
    let entry = server.commands.entry(number);
    if (flags.has(WRITE) || spec.name == "ping")
        && let Some(error) = server.disk_error()
    {
        return Err(Refusal::new(number, error));
    }
    if flags.has(WRITE) && server.lacks_replicas() {
        return Err(Refusal::new(number, NOREPLICAS));
    }
    let session = server.clients.get(client).map(|client| &client.session);
    let is_special = session.is_some_and(|session| session.is_subscriber || session.is_monitor);
    if is_special && let Some(error) = session.and_then(|session| may_listener_run(session, entry, flags)) {
        return Err(Refusal::new(number, &error));
    }
    if server.is_loading() && !runs_while_loading {
        return Err(Refusal::new(number, LOADING_ERROR));
    }
    if server.scripting.is_busy()
        && !spec.flags.has(ALLOW_BUSY)
        && let Some(error) = server.scripting.busy_error()
    {
        return Err(Refusal::new(number, error));
    }
    match server.paused() {
        Some(Paused::All) => return Ok(Admitted::Hold),
        Some(Paused::Writes) if flags.has(WRITE) || flags.has(MAY_REPLICATE) => return Ok(Admitted::Hold),
        _ => {}
    }
    Ok(if is_queued { Admitted::Queue(number) } else { Admitted::Run(number) })
}

impl Server {
    /// True if `admit` and what follows from a command have nothing to ask of any client but those things
    /// that `Client::is_plain` asks, so that a run of commands can be asked once. Memory may be short.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        !self.is_loading()
            && self.is_settled()
            && self.outbox.is_empty()
            && self.tracking.clients == 0
            && self.monitors.is_empty()
            && self.pause.is_none()
            && !self.config.import_mode
            && !(self.config.maxmemory > 0 && self.memory.is_noted_short())
            && self.disk_error().is_none()
            && !self.lacks_replicas()
            && !self.scripting.is_running()
            && !self.observer.logs_small_requests
    }
}

impl Client {
    /// True if commands of this client are run as they come.
    #[inline]
    pub(crate) fn is_plain(&self, has_password: bool) -> bool {
        let session = &self.session;
        self.closing == Closing::No
            && session.hold == Hold::No
            && (session.is_authenticated || !has_password)
            && session.transaction.is_none()
            && session.replies == Replies::On
            && !session.is_subscriber
            && !session.is_monitor
    }
}

/// Why a client that listens to channels, or monitors, may not run a command; none if it may.
#[cold]
fn may_listener_run(session: &Session, entry: &Entry, flags: Flags) -> Option<String> {
    const ALSO_ALLOWED: [&str; 3] = ["ping", "quit", "reset"];
    let name = &entry.full_name;
    if session.is_subscriber
        && session.protocol == Protocol::Resp2
        && !entry.spec.is_subscription()
        && !ALSO_ALLOWED.contains(&name.as_str())
    {
        return Some(format!(
            "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
             this context"
        ));
    }
    let touches_keys = [WRITE, READONLY, MAY_REPLICATE].iter().any(|flag| flags.has(*flag));
    (session.is_monitor && touches_keys).then(|| "ERR Replica can't interact with the keyspace".to_owned())
}

#[inline]
fn run(
    server: &mut Server,
    client: u32,
    number: u16,
    argv: &[&[u8]],
    (may_wait, key_hash): (bool, Option<(usize, u64)>),
    reply: &mut Reply,
) {
    let args = Args(argv);
    let importing = server.config.import_mode;
    let is_paused = server.pause.is_some() && server.paused().is_some();
    let caller = match server.clients.get_mut(client) {
        Some(client) => {
            let session = &mut client.session;
            // Inside a transaction the client's command is EXEC.
            if may_wait {
                session.last_command = Some(number);
            }
            Caller {
                may_wait,
                is_no_touch: session.no_touch,
                on_expired: match () {
                    () if importing && session.is_import_source => OnExpired::Ignore,
                    () if importing => OnExpired::HideImported,
                    () if is_paused => OnExpired::HidePaused,
                    () => OnExpired::Remove,
                },
                key_hash,
                for_script: server.scripting.is_calling(),
                ..Caller::new(session.db, server.now)
            }
        }
        None => return,
    };
    server.caller = Some(client);
    match server.commands.entry(number).run {
        Run::Data(command) => {
            let start = reply.len();
            if let Some(wait) = server.apply(command, args, caller, reply) {
                server.wait_for_keys(client, number, args, caller.db, *wait);
            }
            if Some(number) == server.flushall {
                server.after_flushall();
            }
            if Some(number) == server.restore && reply.bytes()[start..].starts_with(b"-ERR Bad data") {
                server.tell_refused_payload(args);
            }
            if server.tracking.clients > 0 && command.spec.flags.has(READONLY) {
                server.remember_reads(client, number, args);
            }
        }
        Run::Session(command) => {
            let start = reply.len();
            let outcome = (command.run)(&mut Call { server, client, reply, may_wait }, args);
            if let Err(error) = outcome {
                reply.truncate(start);
                reply.error(&error.message());
            }
        }
    }
    if !server.monitors.is_empty() {
        server.feed_monitors(client, number, args);
    }
}

/// True for the lines of a browser that was made to talk to us: those behind it would be commands.
fn is_browser(argv: &[&[u8]]) -> bool {
    let name = argv.first().copied().unwrap_or_default();
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}

fn unknown(server: &mut Server, client: u32, argv: &[&[u8]]) -> Refusal {
    let name = argv.first().copied().unwrap_or_default();
    if is_browser(argv) {
        server.log.warning(format_args!(
            "Possible SECURITY ATTACK detected. It looks like somebody is sending POST or Host: commands to this \
             server: a web browser may be used to reach it. Connection from {} aborted.",
            server.clients.get(client).map_or("?", |c| c.addr.as_str()),
        ));
        if let Some(client) = server.clients.get_mut(client) {
            client.close(Closing::Now);
        }
        return Refusal { error: None, number: None };
    }
    let mut error = b"ERR unknown command '".to_vec();
    error.extend_from_slice(echoed(name, ECHO_BYTES));
    error.extend_from_slice(b"', with args beginning with: ");
    let head = error.len();
    for arg in argv.iter().skip(1) {
        let used = error.len() - head;
        if used >= ECHO_BYTES {
            break;
        }
        error.push(b'\'');
        error.extend_from_slice(echoed(arg, ECHO_BYTES - used));
        error.extend_from_slice(b"' ");
    }
    Refusal { error: Some(error), number: None }
}

/// The beginning of a word of a client, as errors show it.
fn echoed(word: &[u8], most: usize) -> &[u8] {
    shown(&word[..word.len().min(most)])
}

/// The error for a word that no subcommand of a container has.
pub(crate) fn unknown_subcommand_text(name: &str, word: &[u8]) -> String {
    let word = String::from_utf8_lossy(echoed(word, ECHO_BYTES));
    format!("ERR unknown subcommand '{word}'. Try {} HELP.", name.to_ascii_uppercase())
}

fn unknown_subcommand(name: &str, word: &[u8]) -> Refusal {
    let mut error = b"ERR unknown subcommand '".to_vec();
    error.extend_from_slice(echoed(word, ECHO_BYTES));
    error.extend_from_slice(format!("'. Try {} HELP.", name.to_ascii_uppercase()).as_bytes());
    // No command was meant, so none counts as refused.
    Refusal { error: Some(error), number: None }
}

impl Server {
    /// Counts a command that has answered with an error, and the error, unless it was counted where it
    /// comes from.
    fn count_failed(&mut self, number: u16, error: &[u8]) {
        self.stats.by_command[usize::from(number)].failed += 1;
        let is_counted = std::mem::take(&mut self.scripting.is_error_counted);
        match self.commands.entry(number).runs_scripts {
            _ if is_counted => {}
            true => self.stats.count_custom_error(error),
            false => self.stats.count_error(error),
        }
    }

    /// Counts a command that has run to its end.
    pub(crate) fn count_run(&mut self, client: u32) {
        self.stats.commands += 1;
        if let Some(client) = self.clients.get_mut(client) {
            client.commands += 1;
        }
    }

    /// Takes back what was counted for a command that did not run, or has not yet.
    pub(crate) fn uncount_run(&mut self, client: u32) {
        if let Some(client) = self.clients.get_mut(client) {
            client.commands -= 1;
        }
    }

    /// True if a client may use what a directive enables for all, for some or for none.
    pub(crate) fn is_allowed(&self, who: Enable, client: u32) -> bool {
        match who {
            Enable::No => false,
            Enable::Yes => true,
            Enable::Local => self.clients.get(client).is_some_and(|c| c.stream.is_local()),
        }
    }
}
