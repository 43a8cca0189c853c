//! What a command of a log is: one on data, one that chooses a database, one that a log may have and that
//! does nothing to data, or one that cannot be repeated.
//!
//! Behaviour: valkey src/aof.c `loadSingleAppendOnlyFile`, and `persist/recover` of the engine, whose
//! answers these are. Runs nothing.

use cairn_engine::base::num;
use cairn_engine::command::spec::{MAY_REPLICATE, READONLY};
use cairn_engine::command::{self, Args, DataCommand};
use cairn_engine::script::again;

use crate::output::Shown;

/// Slots: a power of two, some times the number of commands.
const SLOTS: usize = 1024;
/// A command's name is never longer.
const LONGEST_NAME: usize = 32;
/// So many databases a log may have: servers allow any number, and nobody was seen to use more.
pub(super) const MOST_DATABASES: usize = 1 << 16;

/// What is to be done for a command.
#[derive(Debug, Clone, Copy)]
pub(super) enum Call {
    /// Run it.
    Data(&'static DataCommand),
    /// Go on in this database.
    Select(usize),
    Multi,
    Exec,
    Discard,
    /// Function libraries change.
    Function,
    /// A script runs, or is made known.
    Script,
    /// Nothing: it is about connections, not data.
    Nothing,
}

/// Commands of servers that change no data and may stand in a stream of commands.
const HARMLESS: &[&str] = &[
    "asking",
    "auth",
    "bgrewriteaof",
    "bgsave",
    "client",
    "cluster",
    "command",
    "config",
    "debug",
    "echo",
    "hello",
    "info",
    "lastsave",
    "latency",
    "lolwut",
    "memory",
    "monitor",
    "ping",
    "psubscribe",
    "publish",
    "pubsub",
    "punsubscribe",
    "quit",
    "readonly",
    "readwrite",
    "replconf",
    "reset",
    "role",
    "save",
    "slowlog",
    "spublish",
    "ssubscribe",
    "subscribe",
    "sunsubscribe",
    "time",
    "unsubscribe",
    "unwatch",
    "wait",
    "waitaof",
    "watch",
    "acl",
    "module",
];

/// Commands that call functions. No server has logged them: what functions did is in logs.
const NEEDS_FUNCTIONS: &[&str] = &["fcall", "fcall_ro"];

/// All data commands, by their names in any case.
pub(super) struct Commands(Box<[Option<&'static DataCommand>; SLOTS]>);

impl Commands {
    pub(super) fn new() -> Commands {
        let mut slots: Box<[Option<&'static DataCommand>; SLOTS]> = Box::new([None; SLOTS]);
        for command in command::all() {
            let mut at = slot(command.spec.name.as_bytes());
            while slots[at].is_some() {
                at = (at + 1) % SLOTS;
            }
            slots[at] = Some(command);
        }
        Commands(slots)
    }

    fn find(&self, name: &[u8]) -> Option<&'static DataCommand> {
        if name.len() > LONGEST_NAME {
            return None;
        }
        let mut at = slot(name);
        while let Some(command) = self.0[at] {
            if command.spec.name.as_bytes().eq_ignore_ascii_case(name) {
                return Some(command);
            }
            at = (at + 1) % SLOTS;
        }
        None
    }

    /// What is to be done for a command.
    ///
    /// # Errors
    /// It cannot be repeated; what is said of it follows its place.
    pub(super) fn call(&self, argv: &[&[u8]]) -> Result<Call, String> {
        let name = argv.first().copied().unwrap_or_default();
        if let Some(command) = self.find(name) {
            let command = data(command, argv)?;
            // What only reads leaves the data as they are, but for PFCOUNT, which keeps its result.
            let flags = command.spec.flags;
            return Ok(match flags.has(READONLY) && !flags.has(MAY_REPLICATE) {
                true => Call::Nothing,
                false => Call::Data(command),
            });
        }
        other(argv)
    }
}

fn data(command: &'static DataCommand, argv: &[&[u8]]) -> Result<&'static DataCommand, String> {
    let meant = match (command.subcommands.is_empty(), argv.get(1)) {
        (true, _) => command,
        (false, None) => return Err(wrong_arity(command.spec.name)),
        (false, Some(word)) => command
            .subcommand(word)
            .ok_or_else(|| format!("'{}' has no subcommand \"{}\"", command.spec.name, Shown(word)))?,
    };
    match meant.spec.accepts(argv.len()) {
        true => Ok(meant),
        false => Err(wrong_arity(&meant.spec.full_name())),
    }
}

#[cold]
fn wrong_arity(name: &str) -> String {
    format!("wrong number of arguments for '{name}'")
}

fn other(argv: &[&[u8]]) -> Result<Call, String> {
    let name = argv.first().copied().unwrap_or_default();
    let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
    let alone = |call| match argv.len() {
        1 => Ok(call),
        _ => Err(wrong_arity(&String::from_utf8_lossy(name).to_ascii_lowercase())),
    };
    match () {
        () if is("select") => select(argv),
        () if is("multi") => alone(Call::Multi),
        () if is("exec") => alone(Call::Exec),
        () if is("discard") => alone(Call::Discard),
        () if is("function") => Ok(Call::Function),
        () if again::is_of_scripts(argv) => Ok(Call::Script),
        () if NEEDS_FUNCTIONS.iter().any(|word| is(word)) => Err(format!(
            "'{}' needs a server that runs functions; have the one that made the log rewrite it (BGREWRITEAOF) \
             and take its files then",
            Shown(name)
        )),
        () if HARMLESS.iter().any(|word| is(word)) => Ok(Call::Nothing),
        () => Err(format!("unknown command \"{}\"", Shown(name))),
    }
}

fn select(argv: &[&[u8]]) -> Result<Call, String> {
    let [_, number] = argv else { return Err(wrong_arity("select")) };
    match num::parse_i64(number).and_then(|db| usize::try_from(db).ok()) {
        Some(db) if db < MOST_DATABASES => Ok(Call::Select(db)),
        _ => Err(format!("there is no database \"{}\"", Shown(number))),
    }
}

/// Databases that a command names among its arguments: where, and which.
pub(super) fn databases_in(command: &DataCommand, argv: &[&[u8]]) -> Vec<(usize, usize)> {
    let args = Args(argv);
    let places = match command.spec.name {
        "swapdb" => vec![1, 2],
        "move" => vec![2],
        "copy" => (3..argv.len()).filter(|at| args.is(*at, "db")).map(|at| at + 1).collect(),
        _ => return Vec::new(),
    };
    let number = |at: usize| usize::try_from(num::parse_i64(args.get(at)?)?).ok();
    places.into_iter().filter_map(|at| Some((at, number(at)?))).collect()
}

/// Where a name is looked for first. Letters of both cases count as the same.
fn slot(name: &[u8]) -> usize {
    let hash = name.iter().fold(name.len() as u32, |hash, byte| {
        (hash ^ u32::from(byte | 0x20)).wrapping_mul(0x9e37_79b1).rotate_left(5)
    });
    (hash >> 16) as usize % SLOTS
}
