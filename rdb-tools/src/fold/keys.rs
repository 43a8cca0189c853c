//! The keys that a log makes: the engine's keyspace, run by the engine's own commands as a start does.
//!
//! Keys whose time has passed stay: what came of them is in the log as well. Nobody waits, listens, or is
//! limited. Knows no files.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use cairn_engine::base::rng::Rng;
use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::{Depth, KeyHead, Sink, Trailer, ValueEvent, Version};
use cairn_engine::codec::resp::{Protocol, Reply};
use cairn_engine::command::effects::Effects;
use cairn_engine::command::{Args, CommandError, Context, Data, DataCommand, KeyStats, OnExpired};
use cairn_engine::keyspace::{Entry, Keyspace};
use cairn_engine::script::again::Ground;
use cairn_engine::transcode::build::{BuildError, Builder};
use cairn_engine::value::{Limits, Value};

use super::commands::{MOST_DATABASES, databases_in};
use crate::output::Shown;

/// An expiry that servers have always read as none.
const NO_EXPIRY: UnixMs = UnixMs(-1);
/// Room for replies that is kept.
const KEPT_REPLY: usize = 64 << 10;

/// Keys, and what commands need besides.
pub(super) struct Keys {
    pub(super) keyspace: Keyspace,
    seed: [u64; 2],
    limits: Limits,
    rng: Rng,
    now: UnixMs,
    effects: Effects,
    stats: KeyStats,
    reply: Reply,
}

impl Keys {
    /// None yet. What is relative in a log counts from `now`.
    pub(super) fn new(now: UnixMs) -> Keys {
        // Names of keys come from outside: whoever chose them must not know where they go in a table.
        let random = RandomState::new();
        let seed = [random.hash_one(1), random.hash_one(2)];
        let mut keyspace = Keyspace::new(1, seed);
        keyspace.tick(now);
        Keys {
            keyspace,
            seed,
            limits: Limits { seed: seed.into(), ..Limits::DEFAULT },
            rng: Rng::new(seed[0]),
            now,
            effects: Effects::new(),
            stats: KeyStats::default(),
            reply: Reply::new(Protocol::Resp2),
        }
    }

    /// Makes sure that there is a database of this number, which is below [`MOST_DATABASES`].
    pub(super) fn reach(&mut self, db: usize) {
        let present = self.keyspace.len();
        if db < present {
            return;
        }
        let mut larger = Keyspace::new((db + 1).next_power_of_two(), self.seed);
        for at in 0..present {
            std::mem::swap(larger.db_mut(at), self.keyspace.db_mut(at));
        }
        larger.tick(self.now);
        self.keyspace = larger;
    }

    /// Runs a command in a database.
    ///
    /// # Errors
    /// The error that it answers with.
    pub(super) fn apply(
        &mut self,
        db: usize,
        command: &'static DataCommand,
        argv: &[&[u8]],
    ) -> Result<(), CommandError> {
        let mut reply = std::mem::take(&mut self.reply);
        let outcome = self.apply_for(false, db, command, argv, &mut reply);
        reply.clear(KEPT_REPLY);
        self.reply = reply;
        outcome
    }

    fn apply_for(
        &mut self,
        for_script: bool,
        db: usize,
        command: &'static DataCommand,
        argv: &[&[u8]],
        reply: &mut Reply,
    ) -> Result<(), CommandError> {
        self.reach(db);
        for (_, other) in databases_in(command, argv) {
            self.reach(other.min(MOST_DATABASES - 1));
        }
        self.effects.begin();
        let data = Data {
            keyspace: &mut self.keyspace,
            db,
            now: self.now,
            limits: &self.limits,
            stats: &mut self.stats,
            counts_reads: false,
            is_no_touch: true,
            on_expired: OnExpired::Ignore,
            hides_expired: false,
            must_obey: true,
            for_script,
            dirty: 0,
            effects: &mut self.effects,
        };
        let mut context = Context { data, reply, rng: &mut self.rng, may_wait: false, wait: None };
        let outcome = (command.run)(&mut context, Args(argv));
        if self.keyspace.has_garbage(db) {
            self.keyspace.take_garbage().for_each(drop);
        }
        outcome
    }

    /// Gives a field of a hash an expiry, told as text, as KeyDB's files do. Members of sets have none here.
    pub(super) fn expire_member(&mut self, db: u64, key: &[u8], member: &[u8], when: &[u8]) {
        let Some(db) = usize::try_from(db).ok().filter(|db| *db < self.keyspace.len()) else { return };
        let when = cairn_engine::base::num::parse_i64(when).map(UnixMs);
        self.keyspace.db_mut(db).modify(key, |value| {
            if let Value::Hash(hash) = value {
                hash.set_expiry(member, when, UnixMs::MIN);
            }
        });
    }

    /// Bytes that the keys take.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.keyspace.memory_bytes() as u64
    }

    /// A sink that puts the keys of an RDB file here.
    pub(super) fn loader(&mut self) -> Loader<'_> {
        let builder = Builder::new(self.limits.clone());
        Loader { keys: self, builder, db: 0, current: Current::default(), subkey: None }
    }
}

impl Ground for Keys {
    fn now(&self) -> UnixMs {
        self.now
    }

    fn has_db(&mut self, db: usize) -> bool {
        db < MOST_DATABASES
    }

    fn apply(
        &mut self,
        db: usize,
        command: &'static DataCommand,
        argv: &[&[u8]],
        reply: &mut Reply,
    ) -> Result<(), CommandError> {
        self.apply_for(true, db, command, argv, reply)
    }

    /// There is no log that a line could go to.
    fn log(&mut self, _level: u8, _text: String) {}

    /// Whoever waits can end the tool.
    fn meanwhile(&mut self) {}
}

/// A key of a base that cannot be loaded: where, which, why.
#[derive(Debug)]
pub(super) struct BadKey {
    pub(super) at: u64,
    pub(super) what: String,
}

/// The key whose value comes now.
#[derive(Default)]
struct Current {
    at: u64,
    key: Vec<u8>,
    expire_at: Option<UnixMs>,
    is_inserted: bool,
}

/// Loads keys as a start does. Collections without elements are left out, as by every server.
pub(super) struct Loader<'a> {
    keys: &'a mut Keys,
    builder: Builder,
    db: usize,
    current: Current,
    /// KeyDB names a member in one auxiliary field and gives its expiry in the next.
    subkey: Option<Vec<u8>>,
}

impl Loader<'_> {
    /// Bytes that the keys take so far.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.keys.memory_bytes()
    }

    fn bad(&self, what: &str) -> BadKey {
        BadKey { at: self.current.at, what: format!("key \"{}\": {what}", Shown(&self.current.key)) }
    }

    fn wrong(&self, error: &BuildError) -> BadKey {
        self.bad(&crate::output::clean(&error.to_string()))
    }

    fn insert(&mut self, entry: Entry) -> Result<(), BadKey> {
        let db = self.keys.keyspace.db_mut(self.db);
        let hash = db.hash_key(&self.current.key);
        match db.insert_hashed(hash, entry) {
            Ok(()) => Ok(()),
            Err(_) => Err(self.bad("the key is there twice")),
        }
    }

    /// KeyDB writes a member's expiry behind its key as two auxiliary fields.
    fn keydb_subkey(&mut self, key: &[u8], value: &[u8]) {
        if key == b"keydb-subexpire-key" {
            self.subkey = Some(value.to_vec());
            return;
        }
        let Some(member) = self.subkey.take() else { return };
        self.keys.expire_member(self.db as u64, &self.current.key, &member, value);
    }
}

impl Sink for Loader<'_> {
    type Error = BadKey;

    fn start(&mut self, version: Version) -> Result<(), BadKey> {
        self.builder.start(version);
        Ok(())
    }

    fn aux(&mut self, key: &[u8], value: &[u8], _end: u64) -> Result<(), BadKey> {
        if key == b"keydb-subexpire-key" || key == b"keydb-subexpire-when" {
            self.keydb_subkey(key, value);
        }
        Ok(())
    }

    fn select_db(&mut self, db: u64, end: u64) -> Result<(), BadKey> {
        self.db = usize::try_from(db)
            .ok()
            .filter(|db| *db < MOST_DATABASES)
            .ok_or_else(|| BadKey { at: end, what: format!("there is no database {db}") })?;
        self.keys.reach(self.db);
        Ok(())
    }

    fn update(&mut self, at: u64, _argv: &[&[u8]]) -> Result<(), BadKey> {
        Err(BadKey { at, what: "a command inside the file, which only a replica may load".to_owned() })
    }

    fn key(&mut self, head: &KeyHead<'_>) -> Result<Depth, BadKey> {
        let current = &mut self.current;
        current.at = head.at;
        current.key.clear();
        current.key.extend_from_slice(head.key);
        current.expire_at = head.expire_at.filter(|at| *at != NO_EXPIRY);
        current.is_inserted = false;
        Ok(self.builder.begin(head.object, head.type_byte, head.meta))
    }

    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), BadKey> {
        if let ValueEvent::String { bytes, .. } = event {
            // Without a builder: most keys are strings.
            self.current.is_inserted = true;
            return self.insert(Entry::string(&self.current.key, bytes, self.current.expire_at));
        }
        self.builder.event(event).map_err(|error| self.wrong(&error))
    }

    fn end_key(&mut self, _end: u64) -> Result<(), BadKey> {
        if self.current.is_inserted {
            return Ok(());
        }
        match self.builder.finish().map_err(|error| self.wrong(&error))? {
            Some(value) if !value.is_empty() => {
                self.insert(Entry::new(&self.current.key, value, self.current.expire_at))
            }
            _ => Ok(()),
        }
    }

    fn end(&mut self, _trailer: Trailer) -> Result<(), BadKey> {
        Ok(())
    }
}
