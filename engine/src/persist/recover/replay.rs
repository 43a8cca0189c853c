//! Commands of a log, run on the keys again.
//!
//! Commands are taken in groups, so that the memory of all their keys is asked for before the first of
//! them runs. A transaction is run when its EXEC has come, and not at all if that never comes. Keys whose
//! time has passed stay: what came of them is in the log. Behaviour: valkey src/aof.c
//! `loadSingleAppendOnlyFile`. Knows no files: whoever reads them keeps the bytes of a group where they
//! are until it has run.

use std::ops::Range;

use crate::base::rng::Rng;
use crate::base::time::UnixMs;
use crate::codec::resp::{Protocol, Reply};
use crate::command::effects::Effects;
use crate::command::spec::READONLY;
use crate::command::{Args, CommandError, Context, Data, DataCommand, KeyStats, OnExpired};
use crate::keyspace::Keyspace;
use crate::persist::carried::Carried;
use crate::value::Limits;

use super::functions;
use super::table::{Known, Table};
use super::{Level, Listener, Note, Outside};

/// So many commands wait for memory together.
const GROUP: usize = 32;
/// A smaller database is in the processor's cache anyhow.
const PREFETCH_FROM_KEYS: usize = 10_000;
/// Errors of commands that are told one by one; more are only counted.
const TOLD_ERRORS: u64 = 16;

/// What a log is run on.
#[derive(Debug)]
pub struct Destination<'a> {
    /// The keys.
    pub keyspace: &'a mut Keyspace,
    /// What belongs to no database.
    pub carried: &'a mut Carried,
    /// Thresholds and sizes.
    pub limits: &'a Limits,
    /// Randomness, for commands that logs of old servers have as they were sent.
    pub rng: &'a mut Rng,
    /// The time: what is relative in a log counts from here.
    pub now: UnixMs,
}

/// A command that cannot be repeated. The text is one for Redis's "error: ".
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stopped {
    /// Offset of the command.
    pub(super) at: u64,
    pub(super) text: String,
}

#[derive(Debug, Clone, Copy)]
enum Call {
    Data { command: &'static DataCommand, key_at: usize },
    Select(usize),
    Function,
}

/// A command that waits for its group.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    call: Call,
    /// Its first word and the number of its words, in `Replayer::words`.
    first: usize,
    len: usize,
}

/// A MULTI whose EXEC has not come.
#[derive(Debug, Clone, Copy)]
struct Open {
    /// Its offset in the file.
    at: u64,
    /// Its place in the bytes at hand.
    place: usize,
    /// Commands that waited before it.
    waiting: usize,
}

/// Runs commands.
pub(super) struct Replayer<'a> {
    pub(super) into: Destination<'a>,
    pub(super) listener: &'a mut dyn Listener,
    table: Table,
    db: usize,
    effects: Effects,
    stats: KeyStats,
    reply: Reply,
    words: Vec<Range<usize>>,
    waiting: Vec<Waiting>,
    open: Option<Open>,
    /// Commands run.
    pub(super) commands: u64,
    /// Those that answered with an error.
    pub(super) errors: u64,
}

impl<'a> Replayer<'a> {
    pub(super) fn new(into: Destination<'a>, listener: &'a mut dyn Listener) -> Replayer<'a> {
        Replayer {
            into,
            listener,
            table: Table::new(),
            db: 0,
            effects: Effects::new(),
            stats: KeyStats::default(),
            reply: Reply::new(Protocol::Resp2),
            words: Vec::new(),
            waiting: Vec::new(),
            open: None,
            commands: 0,
            errors: 0,
        }
    }

    /// A new file begins: as with a new client, its commands go to the first database.
    pub(super) fn begin_file(&mut self) {
        self.db = 0;
        self.drop_open();
    }

    /// Offset of the MULTI whose EXEC has not come.
    pub(super) fn open_at(&self) -> Option<u64> {
        self.open.map(|open| open.at)
    }

    /// Takes the command at offset `at`, whose words stand in `bytes` at `words`, counted from `place`.
    ///
    /// # Errors
    /// It cannot be run, whatever the keys are.
    #[inline]
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        place: usize,
        words: &[Range<usize>],
        at: u64,
    ) -> Result<(), Stopped> {
        let word = |i: usize| &bytes[place + words[i].start..place + words[i].end];
        let known = self.table.find(word(0));
        let call = match known {
            Some(known)
                if known.command.subcommands.is_empty() && known.command.spec.accepts(words.len()) =>
            {
                Call::Data { command: known.command, key_at: known.key_at }
            }
            _ => {
                let argv: Vec<&[u8]> = (0..words.len()).map(word).collect();
                match self.other(known, &argv, place, at).map_err(|text| Stopped { at, text })? {
                    Some(call) => call,
                    None => return Ok(()),
                }
            }
        };
        let first = self.words.len();
        self.words.extend(words.iter().map(|word| place + word.start..place + word.end));
        self.waiting.push(Waiting { call, first, len: words.len() });
        Ok(())
    }

    /// A command that is not simply a data command; `None` if there is nothing to run for it. The error is
    /// the text for the log.
    #[cold]
    fn other(
        &mut self,
        known: Option<Known>,
        argv: &[&[u8]],
        place: usize,
        at: u64,
    ) -> Result<Option<Call>, String> {
        let name = argv[0];
        let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
        if let Some(known) = known {
            return self.data_command(known, argv).map(Some);
        }
        if is("select") {
            return self.select(argv).map(Some);
        }
        let words = argv.len();
        if (is("multi") || is("exec") || is("discard")) && words != 1 {
            return Err(wrong_arity(&lower(name)));
        }
        if is("multi") {
            match self.open {
                Some(_) => self.tell_error(b"ERR MULTI calls can not be nested", "multi"),
                None => self.open = Some(Open { at, place, waiting: self.waiting.len() }),
            }
        } else if is("exec") {
            match self.open {
                Some(_) => self.open = None,
                None => self.tell_error(b"ERR EXEC without MULTI", "exec"),
            }
        } else if is("discard") {
            self.drop_open();
        } else if is("function") && functions::is_known(argv) {
            return Ok(Some(Call::Function));
        } else if is("script") {
            // Scripts that are only loaded and forgotten do nothing to the data.
        } else if NEEDS_SCRIPTING.iter().any(|word| is(word)) {
            return Err(format!(
                "'{}' needs scripting, which this version does not have. Rewrite the AOF on the server that made it, \
                 with aof-use-rdb-preamble yes, and take its files then",
                lower(name)
            ));
        } else {
            match self.listener.outside(argv) {
                Outside::Skip => {}
                Outside::Refuse(text) => return Err(text),
                Outside::Unknown => return Err(unknown(argv)),
            }
        }
        Ok(None)
    }

    fn data_command(&mut self, known: Known, argv: &[&[u8]]) -> Result<Call, String> {
        let name = known.command.spec.name;
        let Some(meant) = known.meant(Args(argv)) else {
            return Err(match argv.get(1) {
                None => wrong_arity(name),
                Some(word) => format!(
                    "unknown subcommand '{}'. Try {} HELP.",
                    printable(word, MOST_SHOWN),
                    name.to_ascii_uppercase()
                ),
            });
        };
        let spec = &meant.command.spec;
        if !spec.accepts(argv.len()) {
            return Err(wrong_arity(&spec.full_name()));
        }
        Ok(Call::Data { command: meant.command, key_at: meant.key_at })
    }

    fn select(&mut self, argv: &[&[u8]]) -> Result<Call, String> {
        if argv.len() != 2 {
            return Err(wrong_arity("select"));
        }
        let databases = self.into.keyspace.len();
        match Args(argv).int(1).ok().and_then(|db| usize::try_from(db).ok()) {
            Some(db) if db < databases => Ok(Call::Select(db)),
            // Servers go on in the database before it then, and put the keys there.
            _ => Err(format!(
                "SELECT {}, but there are {databases} databases. Set 'databases' to as many as the log needs",
                printable(argv[1], MOST_SHOWN)
            )),
        }
    }

    /// Whether enough commands wait for them to be run.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= GROUP && self.open.is_none()
    }

    /// Runs what may be run.
    pub(super) fn run(&mut self, bytes: &[u8]) {
        match &mut self.open {
            None => {
                let all = self.waiting.len();
                self.run_first(bytes, all);
                self.waiting.clear();
                self.words.clear();
            }
            Some(open) => {
                let count = std::mem::take(&mut open.waiting);
                self.run_first(bytes, count);
                let first = self.waiting.get(count).map_or(self.words.len(), |next| next.first);
                self.waiting.drain(..count);
                self.words.drain(..first);
                for waiting in &mut self.waiting {
                    waiting.first -= first;
                }
            }
        }
    }

    /// How many of the first `end` bytes nobody needs any more, all that may be run having been run: they
    /// are dropped by the caller now.
    pub(super) fn release(&mut self, end: usize) -> usize {
        let Some(open) = &mut self.open else { return end };
        let released = std::mem::take(&mut open.place);
        for word in &mut self.words {
            *word = word.start - released..word.end - released;
        }
        released
    }

    /// Forgets the transaction that is not finished, with its commands.
    pub(super) fn drop_open(&mut self) {
        if let Some(open) = self.open.take() {
            if let Some(first) = self.waiting.get(open.waiting) {
                self.words.truncate(first.first);
            }
            self.waiting.truncate(open.waiting);
        }
    }

    fn run_first(&mut self, bytes: &[u8], count: usize) {
        let waiting = std::mem::take(&mut self.waiting);
        let words: Vec<&[u8]> = self.words.iter().map(|word| &bytes[word.clone()]).collect();
        let mut hashes = [0; GROUP];
        for group in waiting[..count].chunks(GROUP) {
            let has_hashes = self.prefetch(group, &words, &mut hashes);
            for (i, item) in group.iter().enumerate() {
                let argv = &words[item.first..item.first + item.len];
                match item.call {
                    Call::Data { command, key_at } => {
                        let hash = (has_hashes && hashes[i] != 0).then_some((key_at, hashes[i]));
                        self.call(command, argv, hash);
                    }
                    Call::Select(db) => self.db = db,
                    Call::Function => {
                        self.commands += 1;
                        if let Err(error) = functions::run(self.into.carried, argv) {
                            self.tell_error(error.as_bytes(), "function");
                        }
                    }
                }
            }
        }
        self.waiting = waiting;
    }

    /// Asks for the memory that the first keys of these commands are in. False if that is not worth it.
    #[inline]
    fn prefetch(&self, group: &[Waiting], words: &[&[u8]], hashes: &mut [u64; GROUP]) -> bool {
        let keyspace = &*self.into.keyspace;
        if keyspace.db(self.db).len() < PREFETCH_FROM_KEYS {
            return false;
        }
        hashes.fill(0);
        let mut db = keyspace.db(self.db);
        for (hash, item) in hashes.iter_mut().zip(group) {
            match item.call {
                Call::Data { key_at, .. } if key_at > 0 && key_at < item.len => {
                    *hash = db.hash_key(words[item.first + key_at]);
                    db.prefetch(*hash);
                }
                Call::Data { .. } | Call::Function => {}
                Call::Select(other) => db = keyspace.db(other),
            }
        }
        // The second round reads what the first has asked for.
        let db = keyspace.db(self.db);
        hashes.iter().filter(|hash| **hash != 0).for_each(|hash| db.prefetch_entry(*hash));
        true
    }

    fn call(&mut self, command: &'static DataCommand, argv: &[&[u8]], hash: Option<(usize, u64)>) {
        let into = &mut self.into;
        if let Some((at, hash)) = hash {
            into.keyspace.db_mut(self.db).expect_key(argv[at], hash);
        }
        self.effects.begin();
        let data = Data {
            keyspace: into.keyspace,
            db: self.db,
            now: into.now,
            limits: into.limits,
            stats: &mut self.stats,
            counts_reads: command.spec.flags.has(READONLY),
            is_no_touch: false,
            on_expired: OnExpired::Ignore,
            hides_expired: false,
            must_obey: true,
            dirty: 0,
            effects: &mut self.effects,
        };
        let mut context =
            Context { data, reply: &mut self.reply, rng: into.rng, may_wait: false, wait: None };
        let outcome = (command.run)(&mut context, Args(argv));
        into.keyspace.db_mut(self.db).expect_nothing();
        self.commands += 1;
        if let Err(error) = outcome {
            self.failed(command, &error);
        }
        self.reply.truncate(0);
        if self.into.keyspace.has_garbage(self.db) {
            self.into.keyspace.take_garbage().for_each(drop);
        }
    }

    #[cold]
    fn failed(&mut self, command: &DataCommand, error: &CommandError) {
        let text = match error {
            CommandError::Bytes(text) => text.to_vec(),
            error => error.message().into_owned().into_bytes(),
        };
        self.tell_error(&text, &command.spec.full_name());
    }

    /// A command has answered with an error, as no command of a log should.
    #[cold]
    fn tell_error(&mut self, error: &[u8], command: &str) {
        self.errors += 1;
        let text = match self.errors {
            1..TOLD_ERRORS => format!(
                "== CRITICAL == This server is sending an error to its AOF-loading-client: '{}' after processing the \
                 command '{command}'",
                error.escape_ascii()
            ),
            TOLD_ERRORS => {
                "== CRITICAL == More commands of the AOF answer with errors; they are only counted".into()
            }
            _ => return,
        };
        self.listener.note(Note { level: Level::Warning, text });
    }
}

/// Commands that run scripts, or are scripts.
const NEEDS_SCRIPTING: &[&str] =
    &["eval", "evalsha", "eval_ro", "evalsha_ro", "fcall", "fcall_ro", "function"];

/// The longest text of an argument in a message.
const MOST_SHOWN: usize = 128;

fn lower(name: &[u8]) -> String {
    printable(&name.to_ascii_lowercase(), MOST_SHOWN)
}

fn printable(bytes: &[u8], most: usize) -> String {
    bytes[..bytes.len().min(most)].escape_ascii().to_string()
}

fn wrong_arity(name: &str) -> String {
    format!("wrong number of arguments for '{name}' command")
}

/// The words of Redis for a command that it does not know.
fn unknown(argv: &[&[u8]]) -> String {
    let mut args = String::new();
    for arg in &argv[1..] {
        if args.len() >= MOST_SHOWN {
            break;
        }
        args.push_str(&format!("'{}' ", printable(arg, MOST_SHOWN - args.len())));
    }
    format!("unknown command '{}', with args beginning with: {args}", printable(argv[0], MOST_SHOWN))
}
