//! Scripts that a log has as they were sent. Servers before Redis 7.0 logged scripts so, by default those
//! before 5.0; what scripts do has been logged since then.
//!
//! A script is to have the effect that it had there. So its random numbers begin where they began there,
//! sets and fields come to it in order, and it may not write after a command whose answer hangs on chance:
//! there it was refused, too, and the script ended there. It runs as long as it likes, and that is told.
//! Behaviour: redis 2.6 to 6.2 src/scripting.c, valkey src/script.c. Knows no clients.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::base::num;
use crate::codec::resp::{Protocol, Reply};
use crate::command::spec::{NOSCRIPT, WRITE};
use crate::command::{Args, CommandError, help};
use crate::persist::load::Loaded;
use crate::script::{self, Flags, Host, May, Origin, Replicate, Sha};

use super::parse::{Stopped, wrong_arity};
use super::replay::{Destination, Replayer};
use super::table::Table;
use super::{Level, Note};

/// A script that runs for so long lets others be answered meanwhile.
const PATIENCE: Duration = Duration::from_millis(100);
/// One that runs for so long is told of, and again each time when it has run for twice as long.
const SLOW: Duration = Duration::from_secs(5);

/// Commands whose array is in order for scripts.
const SORTED: &[&str] = &["hkeys", "hvals", "keys", "sdiff", "sinter", "smembers", "sunion"];

/// Commands whose answers hang on chance or the time, in every version that has logged scripts.
const BY_CHANCE: &[&str] = &[
    "hrandfield",
    "hscan",
    "lastsave",
    "pubsub",
    "randomkey",
    "scan",
    "spop",
    "srandmember",
    "sscan",
    "time",
    "xadd",
    "xautoclaim",
    "xclaim",
    "xinfo",
    "xpending",
    "xtrim",
    "zrandmember",
    "zscan",
];

/// The same since Redis 5.0, which logs scripts only if it is told to.
const BY_CHANCE_SINCE_FIVE: &[&str] =
    &["dump", "hgetall", "info", "memory", "migrate", "object", "pttl", "ttl"];

/// Commands that scripts could not call then, and can now.
const NOT_THEN: &[&str] =
    &["blmove", "blpop", "brpop", "brpoplpush", "bzpopmax", "bzpopmin", "xread", "xreadgroup"];

const UNKNOWN: &str = "ERR Unknown command called from script";
const WRONG_ARITY: &str = "ERR Wrong number of args calling command from script";
const NOT_ALLOWED: &str = "ERR This Redis command is not allowed from scripts";
const READ_ONLY: &str = "ERR Write commands are not allowed from read-only scripts.";
const AFTER_CHANCE: &str = "ERR Write commands not allowed after non deterministic commands. Call \
redis.replicate_commands() at the start of your script in order to switch to single commands replication mode.";

/// Whether a log may have this command: it runs a script, or is about scripts that are known.
pub(super) fn is_known(argv: &[&[u8]]) -> bool {
    let name = argv.first().copied().unwrap_or_default();
    [&b"eval"[..], b"evalsha", b"eval_ro", b"evalsha_ro", b"script"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

/// What scripts of a log need.
#[derive(Default)]
pub(super) struct Scripting {
    table: Option<Rc<Table>>,
    /// Scripts that came with EVAL: the server that has logged them has kept them all, and here they make
    /// way for others.
    texts: HashMap<Sha, Box<[u8]>>,
    /// Whether Redis 5.0 or newer has begun the log.
    is_since_five: bool,
}

impl Replayer<'_> {
    fn scripting(&mut self) -> &mut Scripting {
        self.scripting.get_or_insert_default()
    }

    /// Takes notice of who has written the RDB file that a log begins with.
    pub(super) fn note_origin(&mut self, loaded: &Loaded) {
        let version = loaded.aux.iter().find(|(name, _)| name == b"redis-ver").map(|(_, value)| value);
        let major = version.and_then(|version| version.split(|byte| *byte == b'.').next());
        if major.and_then(num::parse_i64).is_some_and(|major| major >= 5) {
            self.scripting().is_since_five = true;
        }
    }

    /// EVAL, EVALSHA and SCRIPT, at this offset.
    ///
    /// # Errors
    /// It cannot be repeated: it is none, or names a script that nobody has.
    pub(super) fn script(&mut self, at: u64, argv: &[&[u8]]) -> Result<(), Stopped> {
        let args = Args(argv);
        let stop = |text| Err(Stopped { at, text });
        if args.is(0, "script") {
            self.about_scripts(args);
            return Ok(());
        }
        let name = String::from_utf8_lossy(argv[0]).to_ascii_lowercase();
        if argv.len() < 3 {
            return stop(wrong_arity(&name));
        }
        self.commands += 1;
        let keys = match args.int(2).map(usize::try_from) {
            Ok(Ok(keys)) if keys <= argv.len() - 3 => keys,
            _ => {
                self.tell_error(b"ERR Number of keys can't be greater than number of args", &name);
                return Ok(());
            }
        };
        let loaded = match name.starts_with("evalsha") {
            true => match self.named(argv[1]) {
                Some(loaded) => loaded,
                None => {
                    return stop(format!(
                        "no script '{}' before this call of it, so what it did is lost. Put a SCRIPT LOAD of its text \
                         in front, or rewrite the AOF on the server that made it",
                        argv[1].escape_ascii()
                    ));
                }
            },
            false => self.brought(argv[1]),
        };
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(why) => {
                self.tell_error(&[b"ERR ", why.as_slice()].concat(), &name);
                return Ok(());
            }
        };
        let (keys, args) = argv[3..].split_at(keys);
        let mut reply = Reply::new(Protocol::Resp2);
        self.run_script(loaded, (keys, args), name.ends_with("_ro"), at, &mut reply);
        if let Some((b'-', text)) = reply.bytes().split_first() {
            self.tell_error(text.trim_ascii_end(), &name);
        }
        Ok(())
    }

    /// SCRIPT. What only asks has nothing to do.
    fn about_scripts(&mut self, args: Args<'_>) {
        let is = |word: &str| args.get(1).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
        if is("flush") {
            self.into.scripts.flush();
            self.scripting().texts.clear();
        } else if is("load")
            && let Some(text) = args.get(2)
            && let Err(why) = self.into.scripts.load(text, Origin::Load)
        {
            self.tell_error(&[b"ERR ", why.as_slice()].concat(), "script|load");
        }
    }

    /// The script that EVAL has brought along.
    fn brought(&mut self, text: &[u8]) -> Result<script::Loaded, Vec<u8>> {
        let loaded = self.into.scripts.load(text, Origin::Eval)?;
        self.scripting().texts.entry(loaded.sha).or_insert_with(|| text.into());
        Ok(loaded)
    }

    /// The script of this name; `None` if nobody has it.
    fn named(&mut self, word: &[u8]) -> Option<Result<script::Loaded, Vec<u8>>> {
        let sha = Sha::read(word)?;
        let known = self.into.scripts.find(sha).map(Ok);
        known.or_else(|| {
            let text = self.scripting.as_ref()?.texts.get(&sha)?;
            Some(self.into.scripts.load(text, Origin::Eval))
        })
    }

    fn run_script(
        &mut self,
        loaded: script::Loaded,
        (keys, args): (&[&[u8]], &[&[u8]]),
        is_read_only: bool,
        at: u64,
        reply: &mut Reply,
    ) {
        let db = self.db;
        let table = Rc::clone(self.scripting().table.get_or_insert_with(|| Rc::new(Table::new())));
        let mut host = LogHost {
            table,
            at,
            sha: loaded.sha,
            began: Instant::now(),
            told_after: SLOW,
            is_read_only: is_read_only || loaded.flags.has(Flags::NO_WRITES),
            // Those that say what they do are younger than the habit of logging scripts.
            is_verbatim: loaded.flags.has(Flags::UNDECLARED),
            has_chance: false,
            replayer: self,
        };
        let vm = host.replayer.into.scripts.vm();
        // An error that is the reply is told, wherever it was counted.
        let _ = vm.run(loaded.program, keys, args, &mut host, reply);
        self.into.scripts.used(loaded.sha);
        self.db = db;
    }
}

/// Runs the commands of a script of a log.
struct LogHost<'r, 'a> {
    replayer: &'r mut Replayer<'a>,
    table: Rc<Table>,
    /// Offset of the command that runs the script.
    at: u64,
    sha: Sha,
    began: Instant,
    /// It is told how long it runs once that is so long.
    told_after: Duration,
    is_read_only: bool,
    is_verbatim: bool,
    /// A command has answered by chance.
    has_chance: bool,
}

impl LogHost<'_, '_> {
    fn run(&mut self, argv: &[&[u8]], reply: &mut Reply) -> Result<(), CommandError> {
        let args = Args(argv);
        let name = argv.first().copied().unwrap_or_default();
        let Some(container) = self.table.find(name) else { return self.of_session(args, reply) };
        let known = container.meant(args).ok_or_else(|| match argv.len() {
            1 => CommandError::text(WRONG_ARITY),
            _ => help::unknown_subcommand(args),
        })?;
        let (spec, top) = (&known.command.spec, container.command.spec.name);
        if !spec.accepts(argv.len()) {
            return Err(CommandError::text(WRONG_ARITY));
        }
        if spec.flags.has(NOSCRIPT) || (self.is_verbatim && NOT_THEN.contains(&top)) {
            return Err(CommandError::text(NOT_ALLOWED));
        }
        if spec.flags.has(WRITE) {
            if self.is_read_only {
                return Err(CommandError::text(READ_ONLY));
            }
            if self.has_chance && self.is_verbatim {
                return Err(CommandError::text(AFTER_CHANCE));
            }
        }
        self.note_chance(top);
        let replayer = &mut *self.replayer;
        let Destination { keyspace, limits, rng, now, .. } = &mut replayer.into;
        let around = (*limits, *now, &mut **rng);
        let start = reply.len();
        let caller = &mut replayer.caller;
        let outcome = caller.call_for_script(keyspace, replayer.db, around, known.command, argv, reply);
        if keyspace.has_garbage(replayer.db) {
            keyspace.take_garbage().for_each(drop);
        }
        outcome?;
        if self.is_verbatim && SORTED.contains(&top) {
            sort(reply, start);
        }
        Ok(())
    }

    fn note_chance(&mut self, name: &str) {
        let is_since_five = self.replayer.scripting.as_ref().is_some_and(|scripting| scripting.is_since_five);
        self.has_chance |=
            BY_CHANCE.contains(&name) || (is_since_five && BY_CHANCE_SINCE_FIVE.contains(&name));
    }

    /// What scripts may ask that is not about keys. Nobody is connected while a log is loaded.
    fn of_session(&mut self, args: Args<'_>, reply: &mut Reply) -> Result<(), CommandError> {
        let name = String::from_utf8_lossy(args.0.first().copied().unwrap_or_default()).to_ascii_lowercase();
        let now = self.replayer.into.now;
        self.note_chance(&name);
        match (name.as_str(), args.len()) {
            ("ping", 1) => reply.simple("PONG"),
            ("ping" | "echo", 2) => reply.bulk(args.at(1)),
            ("publish" | "spublish", 3) => reply.int(0),
            ("lastsave", 1) => reply.int(now.secs()),
            ("time", 1) => {
                reply.array(2);
                reply.bulk_int(now.secs());
                reply.bulk_int(now.0.rem_euclid(1000) * 1000);
            }
            ("select", 2) => {
                let databases = self.replayer.into.keyspace.len();
                let db = args.int(1)?;
                let db = usize::try_from(db).ok().filter(|db| *db < databases);
                self.replayer.db = db.ok_or(CommandError::DbIndexOutOfRange)?;
                reply.ok();
            }
            ("ping" | "echo" | "publish" | "spublish" | "lastsave" | "time" | "select", _) => {
                return Err(CommandError::text(WRONG_ARITY));
            }
            _ => return Err(CommandError::text(UNKNOWN)),
        }
        Ok(())
    }
}

impl Host for LogHost<'_, '_> {
    fn call(&mut self, argv: &[&[u8]], _: Replicate, reply: &mut Reply) {
        let start = reply.len();
        if let Err(error) = self.run(argv, reply) {
            reply.truncate(start);
            match error {
                CommandError::Bytes(text) => reply.error_bytes(&text),
                error => reply.error(&error.message()),
            }
        }
    }

    fn log(&mut self, level: u8, text: &[u8]) {
        let level = match level {
            0 | 1 => return,
            2 => Level::Notice,
            _ => Level::Warning,
        };
        self.replayer.listener.note(Note { level, text: String::from_utf8_lossy(text).into_owned() });
    }

    fn may(&mut self, argv: &[&[u8]]) -> May {
        match self.table.find(argv.first().copied().unwrap_or_default()) {
            Some(known) if known.meant(Args(argv)).is_some() => May::Yes,
            _ => May::Unknown,
        }
    }

    /// Others are answered meanwhile. It goes on: what it has done so far is a half of what it did.
    fn interrupt(&mut self) -> bool {
        let elapsed = self.began.elapsed();
        if elapsed >= self.told_after {
            self.told_after = elapsed.saturating_mul(2);
            let text = format!(
                "Slow script detected: still in execution after {} milliseconds. The AOF has it at offset {}, and \
                 loading goes on when it ends; its name is: {:?}.",
                elapsed.as_millis(),
                self.at,
                self.sha
            );
            self.replayer.listener.note(Note { level: Level::Warning, text });
        }
        let progress = self.replayer.progress;
        self.replayer.listener.progress(progress);
        false
    }

    fn patience(&self) -> Option<Duration> {
        Some(PATIENCE)
    }

    fn is_verbatim(&self) -> bool {
        self.is_verbatim
    }
}

/// Puts the array of texts that the reply is from `start` on in order. Anything else stays as it is.
fn sort(reply: &mut Reply, start: usize) {
    let Some(mut items) = texts(&reply.bytes()[start..]) else { return };
    items.sort_unstable();
    let mut sorted = Reply::new(Protocol::Resp2);
    sorted.array(items.len());
    items.iter().for_each(|item| sorted.bulk(item));
    reply.truncate(start);
    reply.raw(sorted.bytes());
}

/// The texts of an array of texts.
fn texts(reply: &[u8]) -> Option<Vec<&[u8]>> {
    let (len, mut rest) = header(reply, b'*')?;
    let mut items = Vec::new();
    for _ in 0..len {
        let (len, text) = header(rest, b'$')?;
        let (item, behind) = text.split_at_checked(len)?;
        items.push(item);
        rest = behind.get(2..)?;
    }
    Some(items)
}

/// The number behind a mark, and what follows its line.
fn header(reply: &[u8], mark: u8) -> Option<(usize, &[u8])> {
    let rest = reply.strip_prefix(&[mark])?;
    let end = memchr::memchr(b'\r', rest)?;
    let len = usize::try_from(num::parse_i64(&rest[..end])?).ok()?;
    Some((len, rest.get(end + 2..)?))
}
