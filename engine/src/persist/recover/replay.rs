//! Commands of a log, run on the keys again.
//!
//! Commands are run in groups, so that the memory of all their keys is asked for before the first of them
//! runs. What was made ahead on another thread (`build.rs`) is only put in. Keys whose time has passed
//! stay: what came of them is in the log. Behaviour: valkey src/aof.c `loadSingleAppendOnlyFile`. Knows no
//! files.

use crate::base::rng::Rng;
use crate::base::time::UnixMs;
use crate::command::{CommandError, DataCommand};
use crate::keyspace::{Entry, Keyspace};
use crate::persist::apart::Apart;
use crate::persist::carried::Carried;
use crate::persist::load::LoadProgress;
use crate::script::Scripts;
use crate::script::again::Again;
use crate::value::Limits;

use super::batch::{Batch, Call, Item, Words};
use super::build::Caller;
use super::functions::{self, Failed};
use super::parse::{Stopped, unknown};
use super::{Level, Listener, Note, Outside};

/// So many commands wait for memory together.
const GROUP: usize = 32;
/// So many entries that were made ahead wait for memory together.
const AHEAD: usize = 16;
/// A smaller database is in the processor's cache anyhow.
const PREFETCH_FROM_KEYS: usize = 10_000;
/// Errors of commands that are told one by one; more are only counted.
const TOLD_ERRORS: u64 = 16;

/// Of the keys that the beginning of a base makes one expect, so many are made room for: too little is
/// grown, too much is lost.
const EXPECTED_PERCENT: u64 = 85;
/// A key and its value, as a command, take no fewer bytes.
const FEWEST_KEY_BYTES: u64 = 27;

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
    /// Scripts: those that are known, and those that the log makes known.
    pub scripts: &'a mut Scripts,
    /// The time: what is relative in a log counts from here.
    pub now: UnixMs,
    /// Whether another thread may help.
    pub apart: Apart,
}

/// Runs commands.
pub(super) struct Replayer<'a> {
    pub(super) into: Destination<'a>,
    pub(super) listener: &'a mut dyn Listener,
    pub(super) db: usize,
    pub(super) caller: Caller,
    /// What scripts of the log need, if there are any.
    pub(super) again: Option<Box<Again>>,
    /// How far all files are, as it was last told.
    pub(super) progress: LoadProgress,
    /// Entries that were made ahead and put in, less those made in vain.
    pub(super) useful: i64,
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
            db: 0,
            caller: Caller::new(),
            again: None,
            progress: LoadProgress::default(),
            useful: 0,
            commands: 0,
            errors: 0,
        }
    }

    /// A new file begins: as with a new client, its commands go to the first database.
    pub(super) fn begin_file(&mut self) {
        self.db = 0;
    }

    /// Makes room for the keys of a base of `bytes`, of which this batch is the beginning: it has each key
    /// once, and its keys stand in no order, so a part of it tells of the rest.
    pub(super) fn expect(&mut self, batch: &Batch, bytes: u64) {
        let word = |item: &Item| match item.call {
            Call::Data { key_at: 1, .. } => {
                batch.words.get(item.first + 1).map(|word| &batch.bytes[word.clone()])
            }
            _ => None,
        };
        let mut keys = 0u64;
        let mut last = None;
        for key in batch.items.iter().filter_map(word) {
            keys += u64::from(last != Some(key));
            last = Some(key);
        }
        let first_db = batch.items.iter().find_map(|item| match item.call {
            Call::Select(db) => Some(db),
            _ => None,
        });
        let sample = (batch.bytes.len() as u64).max(1);
        let expected = keys.saturating_mul(bytes) / sample * EXPECTED_PERCENT / 100;
        let most = bytes / FEWEST_KEY_BYTES;
        let db = self.into.keyspace.db_mut(first_db.unwrap_or(0));
        db.reserve(usize::try_from(expected.min(most)).unwrap_or(0));
    }

    /// Runs a batch.
    ///
    /// # Errors
    /// One of its commands is none.
    pub(super) fn run(&mut self, batch: &mut Batch) -> Result<(), Stopped> {
        let runs = std::mem::take(&mut batch.runs);
        let words = Words::new(&batch.bytes, &batch.words);
        let hashes: Vec<u64> = runs.iter().map(|run| run.hash).collect();
        hashes.iter().take(AHEAD).for_each(|hash| self.into.keyspace.db(self.db).prefetch_insertion(*hash));
        let mut done = 0;
        for (i, run) in runs.into_iter().enumerate() {
            if done < run.items.start {
                self.run_items(&batch.items[done..run.items.start], words)?;
            }
            if let Some(hash) = hashes.get(i + AHEAD) {
                self.into.keyspace.db(self.db).prefetch_insertion(*hash);
            }
            done = run.items.end;
            if self.put(run.hash, run.entry, run.replaces) {
                self.commands += run.items.len() as u64;
                self.useful += 1;
            } else {
                self.useful -= 1;
                self.run_items(&batch.items[run.items], words)?;
            }
        }
        self.run_items(&batch.items[done..], words)
    }

    /// Puts an entry in that was made ahead. False if its key is there and matters.
    #[inline]
    fn put(&mut self, hash: u64, entry: Entry, replaces: bool) -> bool {
        let db = self.into.keyspace.db_mut(self.db);
        match db.insert_hashed(hash, entry) {
            Ok(()) => true,
            Err(entry) if replaces => {
                db.put(entry);
                true
            }
            Err(_) => false,
        }
    }

    fn run_items(&mut self, items: &[Item], words: Words<'_>) -> Result<(), Stopped> {
        let mut hashes = [0; GROUP];
        for group in items.chunks(GROUP) {
            let has_hashes = group.len() > 1 && self.prefetch(group, words, &mut hashes);
            for (i, item) in group.iter().enumerate() {
                let argv = words.of(item);
                match item.call {
                    Call::Data { command, key_at, .. } => {
                        let hash = (has_hashes && hashes[i] != 0).then_some((key_at, hashes[i]));
                        self.call(command, &argv, hash);
                    }
                    Call::Select(db) => self.db = db,
                    _ => self.rare(item, &argv)?,
                }
            }
        }
        Ok(())
    }

    #[cold]
    fn rare(&mut self, item: &Item, argv: &[&[u8]]) -> Result<(), Stopped> {
        let stop = |text| Err(Stopped { at: item.at, text });
        match item.call {
            Call::Data { .. } | Call::Select(_) => {}
            Call::Function => {
                self.commands += 1;
                match functions::run(&mut self.into.carried.functions, argv) {
                    Ok(()) => {}
                    Err(Failed::Told(error)) => self.tell_error(error.as_bytes(), "function"),
                    Err(Failed::Lost(text)) => return stop(text),
                }
            }
            Call::Script => self.script(item.at, argv)?,
            Call::Wrong { command, error } => self.tell_error(error.as_bytes(), command),
            Call::Outside => match self.listener.outside(argv) {
                Outside::Skip => {}
                Outside::Refuse(text) => return stop(text),
                Outside::Unknown => return stop(unknown(argv)),
            },
        }
        Ok(())
    }

    /// Asks for the memory that the first keys of these commands are in. False if that is not worth it.
    #[inline]
    fn prefetch(&self, group: &[Item], words: Words<'_>, hashes: &mut [u64; GROUP]) -> bool {
        let keyspace = &*self.into.keyspace;
        if keyspace.db(self.db).len() < PREFETCH_FROM_KEYS {
            return false;
        }
        hashes.fill(0);
        let mut db = keyspace.db(self.db);
        for (hash, item) in hashes.iter_mut().zip(group) {
            match item.call {
                Call::Data { key_at, .. } if key_at > 0 && key_at < item.len => {
                    *hash = db.hash_key(words.get(item.first + key_at));
                    db.prefetch(*hash);
                }
                Call::Select(other) => db = keyspace.db(other),
                _ => {}
            }
        }
        // The second round reads what the first has asked for.
        let db = keyspace.db(self.db);
        hashes.iter().filter(|hash| **hash != 0).for_each(|hash| db.prefetch_entry(*hash));
        true
    }

    fn call(&mut self, command: &'static DataCommand, argv: &[&[u8]], hash: Option<(usize, u64)>) {
        let Destination { keyspace, limits, rng, now, .. } = &mut self.into;
        if let Some((at, hash)) = hash {
            keyspace.db_mut(self.db).expect_key(argv[at], hash);
        }
        let outcome = self.caller.call(keyspace, self.db, (limits, *now, rng), command, argv);
        keyspace.db_mut(self.db).expect_nothing();
        self.commands += 1;
        if let Err(error) = outcome {
            self.failed(command, &error);
        }
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
    pub(super) fn tell_error(&mut self, error: &[u8], command: &str) {
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
