//! One command: the checks in their order, then the engine or the session command, then what follows
//! from it. Nothing else.
//!
//! Behaviour: valkey src/server.c `processCommand`.

use cairn_engine::codec::resp::Reply;
use cairn_engine::command::spec::{LOADING, NO_AUTH, PROTECTED, WRITE};
use cairn_engine::command::{Args, CommandError};

use crate::clients::{Closing, Replies};
use crate::command::Call;
use crate::command::table::Run;
use crate::config::Enable;
use crate::server::Server;

/// Most bytes of arguments that the error for an unknown command repeats.
const ECHO_BYTES: usize = 128;

const NOAUTH: &str = "NOAUTH Authentication required.";
/// While the data set loads.
pub(crate) const LOADING_ERROR: &str = "LOADING Redis is loading the dataset in memory";
const MISCONF: &str = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. \
Commands that may modify the data set are disabled, because this instance is configured to report errors during \
writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about \
the RDB error.";
const DEBUG_DISABLED: &str = "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", \
you can run it from a local connection, otherwise you need to set this option in the configuration file, and then \
restart the server.";

/// Runs one command of the client in slot `client` and writes its reply. `found` is the number of its
/// name in the table; the number of the command that ran is returned, if one did.
pub(crate) fn call(
    server: &mut Server,
    client: u32,
    found: Option<u16>,
    argv: &[&[u8]],
    reply: &mut Reply,
) -> Option<u16> {
    let start = reply.len();
    let replies = server.clients.get(client).map_or(Replies::Off, |c| c.session.replies);
    let ran = match admit(server, client, found, argv) {
        Ok(number) => {
            run(server, client, number, argv, reply);
            if reply.bytes().get(start) == Some(&b'-') {
                server.stats.by_command[usize::from(number)].failed += 1;
                server.stats.count_error(&reply.bytes()[start..]);
            }
            Some(number)
        }
        Err(Refusal { error, number }) => {
            if let Some(number) = number {
                server.stats.by_command[usize::from(number)].rejected += 1;
            }
            if let Some(error) = error {
                reply.error_bytes(&error);
                server.stats.count_error(&reply.bytes()[start..]);
            }
            None
        }
    };
    if replies != Replies::On {
        hush(server, client, replies, start, reply);
    }
    ran
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
            client.session.replies = Replies::On;
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

/// The checks. The number of the command to run: a container's subcommand if one is meant.
#[inline]
fn admit(server: &mut Server, client: u32, found: Option<u16>, argv: &[&[u8]]) -> Result<u16, Refusal> {
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
            return Err(unknown_subcommand(number, entry.spec.name, argv[1]));
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
    if (spec.flags.has(WRITE) || spec.name == "ping") && server.is_refusing_writes() {
        return Err(Refusal::new(number, MISCONF));
    }
    if server.is_loading() && !spec.flags.has(LOADING) {
        return Err(Refusal::new(number, LOADING_ERROR));
    }
    Ok(number)
}

#[inline]
fn run(server: &mut Server, client: u32, number: u16, argv: &[&[u8]], reply: &mut Reply) {
    let args = Args(argv);
    let db = match server.clients.get_mut(client) {
        Some(client) => {
            client.session.last_command = Some(number);
            client.session.db
        }
        None => return,
    };
    match server.commands.entry(number).run {
        Run::Data(command) => {
            server.apply(command, args, db, reply);
            if Some(number) == server.flushall {
                server.after_flushall();
            }
        }
        Run::Session(command) => {
            let start = reply.len();
            let outcome = (command.run)(&mut Call { server, client, reply }, args);
            if let Err(error) = outcome {
                reply.truncate(start);
                reply.error(&error.message());
            }
        }
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
    error.extend_from_slice(&name[..name.len().min(ECHO_BYTES)]);
    error.extend_from_slice(b"', with args beginning with: ");
    let head = error.len();
    for arg in argv.iter().skip(1) {
        let used = error.len() - head;
        if used >= ECHO_BYTES {
            break;
        }
        error.push(b'\'');
        error.extend_from_slice(&arg[..arg.len().min(ECHO_BYTES - used)]);
        error.extend_from_slice(b"' ");
    }
    Refusal { error: Some(error), number: None }
}

fn unknown_subcommand(container: u16, name: &str, word: &[u8]) -> Refusal {
    let mut error = b"ERR unknown subcommand '".to_vec();
    error.extend_from_slice(&word[..word.len().min(ECHO_BYTES)]);
    error.extend_from_slice(format!("'. Try {} HELP.", name.to_ascii_uppercase()).as_bytes());
    Refusal { error: Some(error), number: Some(container) }
}

impl Server {
    /// True if a client may use what a directive enables for all, for some or for none.
    pub(crate) fn is_allowed(&self, who: Enable, client: u32) -> bool {
        match who {
            Enable::No => false,
            Enable::Yes => true,
            Enable::Local => self.clients.get(client).is_some_and(|c| c.stream.is_local()),
        }
    }
}
