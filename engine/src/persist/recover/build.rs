//! Keys made ahead: commands of a log that are about one key are run where there is no key, on another
//! thread than the one that owns the keys. It takes the finished entry if the key is not there when the
//! commands' turn comes, and runs them as they stand if it is. Commands of the kinds that rewritten logs
//! consist of are not even run (`plain.rs`).

use crate::base::rng::Rng;
use crate::base::time::UnixMs;
use crate::codec::resp::{Protocol, Reply};
use crate::command::effects::Effects;
use crate::command::spec::READONLY;
use crate::command::{Args, CommandError, Context, Data, DataCommand, KeyStats, OnExpired};
use crate::keyspace::{Entry, Keyspace};
use crate::value::Limits;

use super::batch::{Ahead, Batch, Call, Item, Plain, Run, Words};
use super::plain;
use super::replay::Destination;

/// Commands whose effect on a key that is not there depends on nothing but their words and the time.
pub(super) const BUILDERS: &[&str] = &[
    "append",
    "hmset",
    "hpexpireat",
    "hset",
    "incr",
    "incrby",
    "lpush",
    "pexpireat",
    "rpush",
    "sadd",
    "set",
    "setrange",
    "xadd",
    "xclaim",
    "xsetid",
    "zadd",
];

/// How the effect of the command of this name is had ahead.
pub(super) fn ahead(name: &str) -> Ahead {
    match name {
        "set" => Ahead::Plain(Plain::String),
        "rpush" => Ahead::Plain(Plain::List),
        "sadd" => Ahead::Plain(Plain::Set),
        "hset" => Ahead::Plain(Plain::Hash),
        "zadd" => Ahead::Plain(Plain::Zset),
        "pexpireat" => Ahead::Plain(Plain::Expiry),
        _ if BUILDERS.contains(&name) => Ahead::Run,
        _ => Ahead::Never,
    }
}

/// What a command needs besides the keys.
pub(super) struct Caller {
    effects: Effects,
    stats: KeyStats,
    reply: Reply,
}

impl Caller {
    pub(super) fn new() -> Caller {
        Caller { effects: Effects::new(), stats: KeyStats::default(), reply: Reply::new(Protocol::Resp2) }
    }

    /// Runs a command as a log has it: nothing limits it, nobody hears of it, and keys whose time has
    /// passed stay.
    #[inline]
    pub(super) fn call(
        &mut self,
        keyspace: &mut Keyspace,
        db: usize,
        around: (&Limits, UnixMs, &mut Rng),
        command: &'static DataCommand,
        argv: &[&[u8]],
    ) -> Result<(), CommandError> {
        let Caller { effects, stats, reply } = self;
        let outcome = call((effects, stats, reply), keyspace, (db, false), around, command, argv);
        self.reply.truncate(0);
        outcome
    }

    /// The same for a command of a script, which wants the reply.
    pub(super) fn call_for_script(
        &mut self,
        keyspace: &mut Keyspace,
        db: usize,
        around: (&Limits, UnixMs, &mut Rng),
        command: &'static DataCommand,
        argv: &[&[u8]],
        reply: &mut Reply,
    ) -> Result<(), CommandError> {
        let Caller { effects, stats, .. } = self;
        call((effects, stats, reply), keyspace, (db, true), around, command, argv)
    }
}

#[inline]
fn call(
    (effects, stats, reply): (&mut Effects, &mut KeyStats, &mut Reply),
    keyspace: &mut Keyspace,
    (db, for_script): (usize, bool),
    (limits, now, rng): (&Limits, UnixMs, &mut Rng),
    command: &'static DataCommand,
    argv: &[&[u8]],
) -> Result<(), CommandError> {
    effects.begin();
    let data = Data {
        keyspace,
        db,
        now,
        limits,
        stats,
        counts_reads: command.spec.flags.has(READONLY),
        is_no_touch: false,
        on_expired: OnExpired::Ignore,
        hides_expired: false,
        must_obey: true,
        for_script,
        dirty: 0,
        effects,
    };
    let mut context = Context { data, reply, rng, may_wait: false, wait: None };
    (command.run)(&mut context, Args(argv))
}

/// Makes entries.
pub(super) struct Builder<'a> {
    /// One database, which has at most one key.
    keyspace: Keyspace,
    limits: &'a Limits,
    now: UnixMs,
    rng: Rng,
    caller: Caller,
}

impl<'a> Builder<'a> {
    /// One whose keys go there.
    pub(super) fn of(into: &Destination<'a>) -> Builder<'a> {
        let mut keyspace = into.keyspace.apart();
        keyspace.tick(into.now);
        Builder { keyspace, limits: into.limits, now: into.now, rng: Rng::new(1), caller: Caller::new() }
    }

    /// Makes what can be made ahead of a batch.
    pub(super) fn build(&mut self, batch: &mut Batch) {
        let mut runs = std::mem::take(&mut batch.runs);
        let words = Words::new(&batch.bytes, &batch.words);
        let key_of = |i: usize| match batch.items.get(i).map(|item| (item.call, item)) {
            Some((Call::Data { ahead: Ahead::Run | Ahead::Plain(_), .. }, item)) => {
                Some(words.get(item.first + 1))
            }
            _ => None,
        };
        let mut start = 0;
        while start < batch.items.len() {
            let Some(key) = key_of(start) else {
                start += 1;
                continue;
            };
            let mut end = start + 1;
            while key_of(end) == Some(key) {
                end += 1;
            }
            let items = &batch.items[start..end];
            let made = plain::make(items, words, self.limits).or_else(|| self.run(items, words, key));
            if let Some(entry) = made {
                let first = &items[0];
                let is_set = matches!(first.call, Call::Data { ahead: Ahead::Plain(Plain::String), .. });
                let hash = self.keyspace.db(0).hash_key(key);
                runs.push(Run { items: start..end, hash, entry, replaces: is_set && first.len == 3 });
            }
            start = end;
        }
        batch.runs = runs;
    }

    /// Runs commands where their key is not there. `None` if one of them answers with an error, or nothing
    /// comes of them.
    pub(super) fn run(&mut self, items: &[Item], words: Words<'_>, key: &[u8]) -> Option<Entry> {
        let mut is_right = true;
        for item in items {
            let Call::Data { command, .. } = item.call else { continue };
            let argv = words.of(item);
            let around = (self.limits, self.now, &mut self.rng);
            is_right = is_right && self.caller.call(&mut self.keyspace, 0, around, command, &argv).is_ok();
        }
        self.keyspace.db_mut(0).remove_entry(key).filter(|_| is_right)
    }
}
