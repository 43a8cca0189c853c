//! Scripts run again that a log has as they were sent. Servers before Redis 7.0 logged scripts so, by
//! default those before 5.0; what scripts do has been logged since then.
//!
//! A script is to have the effect that it had there. So its random numbers begin where they began there,
//! sets and fields come to it in order, and it may not write after a command whose answer hangs on chance:
//! there it was refused, too, and the script ended there. It runs as long as it likes, and that is told.
//! Behaviour: redis 2.6 to 6.2 src/scripting.c, valkey src/script.c. Knows no clients and no files.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::base::num;
use crate::base::time::UnixMs;
use crate::codec::resp::{Protocol, Reply};
use crate::command::spec::{NOSCRIPT, WRITE};
use crate::command::{self, Args, CommandError, DataCommand, help};

use super::{Flags, Host, Loaded, May, Origin, Replicate, Scripts, Sha};

/// A script that runs for so long lets others be answered meanwhile.
const PATIENCE: Duration = Duration::from_millis(100);

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

/// Whether a command runs a script, or is about scripts that are known.
#[must_use]
pub fn is_of_scripts(argv: &[&[u8]]) -> bool {
    let name = argv.first().copied().unwrap_or_default();
    [&b"eval"[..], b"evalsha", b"eval_ro", b"evalsha_ro", b"script"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

/// What scripts of a log run on.
pub trait Ground {
    /// The time of loading.
    fn now(&self) -> UnixMs;

    /// Whether there is a database of this number.
    fn has_db(&mut self, db: usize) -> bool;

    /// Runs a data command in a database, for a script, and writes its reply.
    ///
    /// # Errors
    /// The error that it answers with.
    fn apply(
        &mut self,
        db: usize,
        command: &'static DataCommand,
        argv: &[&[u8]],
        reply: &mut Reply,
    ) -> Result<(), CommandError>;

    /// A line of a script for the text log; levels go from 0 (debug) to 3 (warning).
    fn log(&mut self, level: u8, text: String);

    /// A script has run for a while, and goes on: called about each millisecond.
    fn meanwhile(&mut self);
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failed {
    /// It answers with this error, without its `-`. What it did before stays done.
    Answers(Vec<u8>),
    /// It cannot be repeated.
    Never(String),
}

impl Failed {
    fn error(why: &[u8]) -> Failed {
        Failed::Answers([b"ERR ", why].concat())
    }
}

/// What scripts of a log need.
#[derive(Debug)]
pub struct Again {
    commands: HashMap<&'static str, &'static DataCommand>,
    /// Scripts that came with EVAL: the server that has logged them has kept them all, and here they make
    /// way for others.
    texts: HashMap<Sha, Box<[u8]>>,
    /// Whether Redis 5.0 or newer has begun the log.
    is_since_five: bool,
}

impl Default for Again {
    fn default() -> Again {
        let commands = command::all().map(|command| (command.spec.name, command)).collect();
        Again { commands, texts: HashMap::new(), is_since_five: false }
    }
}

impl Again {
    /// Takes notice of the version of the server that has begun the log, as an RDB file in front tells it.
    pub fn note_version(&mut self, redis_version: &[u8]) {
        let major = redis_version.split(|byte| *byte == b'.').next().and_then(num::parse_i64);
        self.is_since_five |= major.is_some_and(|major| major >= 5);
    }

    /// EVAL, EVALSHA or SCRIPT, at the offset `at` of a log, in a database.
    ///
    /// # Errors
    /// `Failed`.
    pub fn run(
        &mut self,
        scripts: &mut Scripts,
        ground: &mut dyn Ground,
        (db, at): (usize, u64),
        argv: &[&[u8]],
    ) -> Result<(), Failed> {
        let args = Args(argv);
        if args.is(0, "script") {
            return self.about_scripts(scripts, args);
        }
        let is_named =
            argv.first().is_some_and(|name| name.len() >= b"evalsha".len() && !args.is(0, "eval_ro"));
        let is_read_only = argv.first().is_some_and(|name| name.to_ascii_lowercase().ends_with(b"_ro"));
        let [_, script, count, words @ ..] = argv else {
            return Err(Failed::Never("wrong number of arguments".to_owned()));
        };
        let keys = num::parse_i64(count).and_then(|keys| usize::try_from(keys).ok());
        let keys = keys.filter(|keys| *keys <= words.len());
        let keys =
            keys.ok_or_else(|| Failed::error(b"Number of keys can't be greater than number of args"))?;
        let loaded = match is_named {
            true => self.named(scripts, script)?,
            false => {
                let loaded = scripts.load(script, Origin::Eval).map_err(|why| Failed::error(&why))?;
                self.texts.entry(loaded.sha).or_insert_with(|| (*script).into());
                loaded
            }
        };
        let mut runner = Runner {
            again: self,
            ground,
            db,
            at,
            sha: loaded.sha,
            began: Instant::now(),
            told_after: scripts.slow_after(),
            is_read_only: is_read_only || loaded.flags.has(Flags::NO_WRITES),
            // Those that say what they do are younger than the habit of logging scripts.
            is_verbatim: loaded.flags.has(Flags::UNDECLARED),
            has_chance: false,
        };
        let (keys, args) = words.split_at(keys);
        let mut reply = Reply::new(Protocol::Resp2);
        // An error that is the reply is told, wherever it was counted.
        let _ = scripts.vm().run(loaded.program, keys, args, &mut runner, &mut reply);
        scripts.used(loaded.sha);
        match reply.bytes().split_first() {
            Some((b'-', text)) => Err(Failed::Answers(text.trim_ascii_end().to_vec())),
            _ => Ok(()),
        }
    }

    /// SCRIPT. What only asks has nothing to do.
    fn about_scripts(&mut self, scripts: &mut Scripts, args: Args<'_>) -> Result<(), Failed> {
        let is = |word: &str| args.get(1).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
        if is("flush") {
            scripts.flush();
            self.texts.clear();
        } else if is("load")
            && let Some(text) = args.get(2)
        {
            scripts.load(text, Origin::Load).map_err(|why| Failed::error(&why))?;
        }
        Ok(())
    }

    /// The script of this name.
    fn named(&mut self, scripts: &mut Scripts, word: &[u8]) -> Result<Loaded, Failed> {
        let nobody = || {
            Failed::Never(format!(
                "no script '{}' before this call of it, so what it did is lost. Put a SCRIPT LOAD of its text in \
                 front, or rewrite the AOF on the server that made it",
                word.escape_ascii()
            ))
        };
        let sha = Sha::read(word).ok_or_else(nobody)?;
        match scripts.find(sha) {
            Some(loaded) => Ok(loaded),
            None => {
                let text = self.texts.get(&sha).ok_or_else(nobody)?;
                scripts.load(text, Origin::Eval).map_err(|why| Failed::error(&why))
            }
        }
    }
}

/// Runs the commands of a script of a log.
struct Runner<'r> {
    again: &'r Again,
    ground: &'r mut dyn Ground,
    /// Its database; SELECT changes it for the rest of the script.
    db: usize,
    /// Offset of the command that runs the script.
    at: u64,
    sha: Sha,
    began: Instant,
    /// It is told how long it runs once that is so long, and again each time when that is twice as long.
    told_after: Option<Duration>,
    is_read_only: bool,
    is_verbatim: bool,
    /// A command has answered by chance.
    has_chance: bool,
}

impl Runner<'_> {
    fn find(&self, argv: &[&[u8]]) -> Option<&'static DataCommand> {
        let name = String::from_utf8_lossy(argv.first()?).to_ascii_lowercase();
        self.again.commands.get(name.as_str()).copied()
    }

    fn run(&mut self, argv: &[&[u8]], reply: &mut Reply) -> Result<(), CommandError> {
        let args = Args(argv);
        let Some(top) = self.find(argv) else { return self.of_session(args, reply) };
        let command = match (top.subcommands.is_empty(), argv.get(1)) {
            (true, _) => top,
            (false, None) => return Err(CommandError::text(WRONG_ARITY)),
            (false, Some(word)) => top.subcommand(word).ok_or_else(|| help::unknown_subcommand(args))?,
        };
        let (spec, name) = (&command.spec, top.spec.name);
        if !spec.accepts(argv.len()) {
            return Err(CommandError::text(WRONG_ARITY));
        }
        if spec.flags.has(NOSCRIPT) || (self.is_verbatim && NOT_THEN.contains(&name)) {
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
        self.note_chance(name);
        let start = reply.len();
        self.ground.apply(self.db, command, argv, reply)?;
        if self.is_verbatim && SORTED.contains(&name) {
            sort(reply, start);
        }
        Ok(())
    }

    fn note_chance(&mut self, name: &str) {
        let is_since_five = self.again.is_since_five;
        self.has_chance |=
            BY_CHANCE.contains(&name) || (is_since_five && BY_CHANCE_SINCE_FIVE.contains(&name));
    }

    /// What scripts may ask that is not about keys. Nobody is connected while a log is loaded.
    fn of_session(&mut self, args: Args<'_>, reply: &mut Reply) -> Result<(), CommandError> {
        let name = String::from_utf8_lossy(args.0.first().copied().unwrap_or_default()).to_ascii_lowercase();
        let now = self.ground.now();
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
                let db = usize::try_from(args.int(1)?).ok();
                let db = db.filter(|db| self.ground.has_db(*db));
                self.db = db.ok_or(CommandError::DbIndexOutOfRange)?;
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

impl Host for Runner<'_> {
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
        self.ground.log(level, String::from_utf8_lossy(text).into_owned());
    }

    fn may(&mut self, argv: &[&[u8]]) -> May {
        if self.find(argv).is_some() { May::Yes } else { May::Unknown }
    }

    /// Others are answered meanwhile. It goes on: what it has done so far is a half of what it did.
    fn interrupt(&mut self) -> bool {
        const WARNING: u8 = 3;
        let elapsed = self.began.elapsed();
        if self.told_after.is_some_and(|time| elapsed >= time) {
            self.told_after = Some(elapsed.saturating_mul(2));
            let text = format!(
                "Slow script detected: still in execution after {} milliseconds. The AOF has it at offset {}, and \
                 what follows waits for its end; its name is: {:?}.",
                elapsed.as_millis(),
                self.at,
                self.sha
            );
            self.ground.log(WARNING, text);
        }
        self.ground.meanwhile();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Versions;

    /// A ground on which a script goes on until it was told of, or was interrupted often enough.
    #[derive(Default)]
    struct Slow {
        told: Vec<String>,
        interrupts: u32,
    }

    impl Ground for Slow {
        fn now(&self) -> UnixMs {
            UnixMs(0)
        }

        fn has_db(&mut self, _: usize) -> bool {
            true
        }

        fn apply(
            &mut self,
            _: usize,
            _: &'static DataCommand,
            _: &[&[u8]],
            reply: &mut Reply,
        ) -> Result<(), CommandError> {
            let is_over = self.told.len() == 2 || self.interrupts > 20;
            reply.bulk(if is_over { b"over" } else { b"" });
            Ok(())
        }

        fn log(&mut self, level: u8, text: String) {
            self.told.push(format!("{level} {text}"));
        }

        fn meanwhile(&mut self) {
            self.interrupts += 1;
        }
    }

    #[test]
    fn a_script_in_a_log_is_told_of_after_the_time_that_is_set() {
        let run = |slow_after| {
            let mut scripts = Scripts::new(Versions { server_name: "", redis: "", valkey: "" });
            assert_eq!(scripts.slow_after(), Some(Duration::from_secs(5)));
            scripts.set_slow_after(slow_after);
            scripts.flush();
            let mut slow = Slow::default();
            let code = b"repeat local said = redis.call('get', KEYS[1]) until said == 'over'";
            Again::default()
                .run(&mut scripts, &mut slow, (0, 77), &[b"EVAL", code, b"1", b"k"])
                .expect("it ends");
            slow
        };
        let slow = run(Some(Duration::from_millis(1)));
        assert!(slow.told[0].starts_with("3 Slow script detected: "), "{:?}", slow.told);
        assert!(slow.told[0].contains("at offset 77"), "{:?}", slow.told);
        let slow = run(None);
        assert!(slow.interrupts > 20 && slow.told.is_empty(), "{:?}", slow.told);
    }
}
