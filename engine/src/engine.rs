//! The facade: one engine holds the keys, runs commands on them, saves and loads them.
//!
//! The caller brings the time, the connection's database and a reply to write; the engine knows no
//! clients and reads no configuration file.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::rng::Rng;
use crate::base::time::UnixMs;
use crate::codec::rdb::{Dialect, Options};
use crate::codec::resp::Reply;
use crate::command::effects::Classes;
use crate::command::effects::{Effects, Wants};
use crate::command::spec::READONLY;
use crate::command::told::Told;
use crate::command::wait::Wait;
use crate::command::{Args, CommandError, Context, Data, DataCommand, KeyStats, OnExpired};
use crate::keyspace::evict::{Evictor, Policy};
use crate::keyspace::lazy::removal;
use crate::keyspace::{Garbage, Keyspace, Laziness, LfuTuning, digest, expire};
use crate::os::background::Dropper;
use crate::persist::aof::{Aof, AofSettings, AofState, Wake};
use crate::persist::apart::Apart;
use crate::persist::backup::Backup;
use crate::persist::carried::Carried;
use crate::persist::load::{self, LoadError, LoadProgress, Loaded};
use crate::persist::rules::{self, Cadence, SaveRule, Situation};
use crate::persist::snapshot::{
    self, Background, Contents, Producer, Progress, SaveError, Saved, Settings, TargetChoice,
};
use crate::persist::storage::{DirLock, Disk, Storage, dir_of};
use crate::script::{Functions, Versions};
use crate::structure::hash::HashSeed;
use crate::value::Limits;

mod aof;
mod backup;

mod recovery;

/// What an engine is made with.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Number of databases.
    pub databases: usize,
    /// Seed of the hash function and of all randomness: must not be guessable from outside.
    pub seed: [u64; 2],
    /// Thresholds and sizes.
    pub limits: Limits,
    /// The snapshot's file.
    pub rdb_path: PathBuf,
    /// How snapshots are written.
    pub settings: Settings,
    /// The Redis version in snapshots.
    pub redis_version: &'static str,
    /// Where work runs that nobody waits for.
    pub apart: Apart,
}

/// What is known of snapshots, for INFO, LASTSAVE and the rules.
#[derive(Debug, Clone, Default)]
pub struct SnapshotStats {
    /// Changes since the last good save.
    pub dirty: u64,
    /// When the last good save ended (or the engine was made).
    pub last_save: UnixMs,
    /// Background saves that were tried.
    pub attempts: u64,
    /// False after a failed save, until one succeeds.
    pub failed: bool,
    /// What the last failure was.
    pub last_error: String,
    /// How long the last background save took; `None` if there was none.
    pub last_duration: Option<Duration>,
    /// Good saves.
    pub saves: u64,
    /// Copy-on-write bytes of the last background save.
    pub last_cow_bytes: u64,
    /// Microseconds of the last fork.
    pub last_fork_us: u64,
    /// Forks ever.
    pub forks: u64,
}

/// A background save under way.
#[derive(Debug)]
struct Running {
    background: Background,
    started: UnixMs,
    dirty_at_start: u64,
}

/// How a background save ended.
#[derive(Debug)]
pub struct BackgroundEnd {
    /// The file, or why there is none.
    pub result: Result<Saved, SaveError>,
    /// The child.
    pub pid: i32,
}

/// What trying to take a folder has given.
#[derive(Debug)]
pub enum Claim {
    /// It was held already.
    Ours,
    /// Now it can be held, and is as long as this lives.
    New(Box<dyn DirLock>),
    /// Another process has it.
    Theirs,
}

/// The engine.
#[derive(Debug)]
pub struct Engine {
    keyspace: Keyspace,
    carried: Carried,
    rng: Rng,
    key_stats: KeyStats,
    snapshot_stats: SnapshotStats,
    /// The latest time that a snapshot or a manifest of this folder says.
    last_stamp: UnixMs,
    cadence: Cadence,
    running: Option<Running>,
    sweep: expire::Sweep,
    evictor: Evictor,
    dropper: Dropper<Garbage>,
    /// Where tables are being tidied: database and position.
    tidying: Option<(usize, u64)>,
    effects: Effects,
    storage: Arc<dyn Storage>,
    /// Thresholds and sizes; the caller may change them at any time.
    pub limits: Limits,
    /// How snapshots are written; the caller may change it at any time.
    pub settings: Settings,
    /// The snapshot's file; the caller may change it at any time.
    pub rdb_path: PathBuf,
    redis_version: &'static str,
    apart: Apart,
    aof: Aof,
    backup: Backup,
    /// How long the files of a sealed backup stay; zero for ever.
    backup_ttl: Duration,
    /// What the caller wants to hear; the log may want more.
    wants: Wants,
    /// The folder that this process has for itself.
    lock: Option<Box<dyn DirLock>>,
}

/// Who calls, as far as that matters to a data command.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// The database.
    pub db: usize,
    /// The time: every expiry is compared with it.
    pub now: UnixMs,
    /// Whether it can wait for a key.
    pub may_wait: bool,
    /// Whether its reads leave the access clocks alone.
    pub is_no_touch: bool,
    /// What becomes of keys that the caller finds expired.
    pub on_expired: OnExpired,
    /// Whether it repeats what was allowed once (a log, a primary): see [`Data::must_obey`].
    pub must_obey: bool,
    /// Whether it is a script: see [`Data::for_script`].
    pub for_script: bool,
    /// Position of a key among the arguments, and its hash in the keyspace, if that is known.
    pub key_hash: Option<(usize, u64)>,
    /// Whether it has the command as it was sent, and logs it by itself where that is all there is to
    /// log: see [`Ran::is_logged_as_sent`].
    pub has_request: bool,
}

impl Caller {
    /// One that neither waits nor hides.
    pub const fn new(db: usize, now: UnixMs) -> Caller {
        Caller {
            db,
            now,
            may_wait: false,
            is_no_touch: false,
            on_expired: OnExpired::Remove,
            must_obey: false,
            for_script: false,
            key_hash: None,
            has_request: false,
        }
    }

    /// One that repeats what was allowed once.
    pub const fn repeating(db: usize, now: UnixMs) -> Caller {
        Caller { must_obey: true, ..Caller::new(db, now) }
    }
}

/// How a call has ended.
#[derive(Debug, Default)]
pub struct Ran {
    /// Changes to the data set.
    pub dirty: u64,
    /// What it waits for; there is no reply then.
    pub wait: Option<Box<Wait>>,
    /// The command is to be logged as it was sent, by its caller, with [`Engine::log_requests`].
    pub is_logged_as_sent: bool,
}

impl Engine {
    /// An engine without keys, on the machine's own files.
    pub fn new(config: EngineConfig, now: UnixMs) -> Engine {
        Engine::with_storage(config, now, Arc::new(Disk))
    }

    /// An engine without keys, on other files.
    pub fn with_storage(config: EngineConfig, now: UnixMs, storage: Arc<dyn Storage>) -> Engine {
        let EngineConfig { databases, seed, limits, rdb_path, settings, redis_version, apart } = config;
        Engine {
            keyspace: Keyspace::new(databases, HashSeed(seed[0], seed[1])),
            carried: Carried::new(Versions::ours(redis_version)),
            rng: Rng::new(seed[0] ^ seed[1].rotate_left(32)),
            key_stats: KeyStats::default(),
            snapshot_stats: SnapshotStats { last_save: now, ..SnapshotStats::default() },
            last_stamp: UnixMs(0),
            cadence: Cadence::default(),
            running: None,
            sweep: expire::Sweep::default(),
            evictor: Evictor::default(),
            dropper: Dropper::default(),
            tidying: None,
            effects: Effects::new(),
            aof: Aof::new(Arc::clone(&storage), AofSettings::default(), apart, Wake::default()),
            backup: Backup::new(Arc::clone(&storage), apart),
            backup_ttl: Duration::ZERO,
            wants: Wants::default(),
            storage,
            limits,
            settings,
            rdb_path,
            redis_version,
            apart,
            lock: None,
        }
    }

    /// The keys.
    pub fn keyspace(&self) -> &Keyspace {
        &self.keyspace
    }

    /// The keys, to change without a command.
    pub fn keyspace_mut(&mut self) -> &mut Keyspace {
        &mut self.keyspace
    }

    /// Function libraries, and module data that the file brought.
    pub fn carried(&self) -> &Carried {
        &self.carried
    }

    /// Function libraries.
    pub fn functions(&self) -> &Functions {
        &self.carried.functions
    }

    /// Function libraries, to change them. A change is told with [`Engine::changed_functions`].
    pub fn functions_mut(&mut self) -> &mut Functions {
        &mut self.carried.functions
    }

    /// A command has changed the function libraries: that is a change of the data set, and is logged.
    pub fn changed_functions(&mut self, db: usize, words: &[&[u8]]) {
        self.snapshot_stats.dirty += 1;
        self.effects.push_log(db, words);
    }

    /// Hits, misses, expired keys.
    pub fn key_stats(&self) -> &KeyStats {
        &self.key_stats
    }

    /// Sets the counters of hits, misses and expired keys to zero.
    pub fn reset_key_stats(&mut self) {
        self.key_stats = KeyStats::default();
        self.dropper.reset_dropped();
    }

    /// Snapshots so far.
    pub fn snapshot_stats(&self) -> &SnapshotStats {
        &self.snapshot_stats
    }

    /// Randomness of the engine.
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// Runs a data command whose number of arguments has been checked. The reply is complete, also if
    /// it is an error. What happened besides is in `effects`, behind what was there.
    #[inline]
    pub fn apply(&mut self, command: &DataCommand, args: Args<'_>, caller: Caller, reply: &mut Reply) -> Ran {
        let start = reply.len();
        self.effects.begin();
        let db = self.keyspace.db_mut(caller.db);
        db.tick(caller.now);
        if let Some((at, hash)) = caller.key_hash
            && let Some(key) = args.get(at)
        {
            db.expect_key(key, hash);
        }
        let data = Data {
            keyspace: &mut self.keyspace,
            db: caller.db,
            now: caller.now,
            limits: &self.limits,
            stats: &mut self.key_stats,
            counts_reads: command.spec.flags.has(READONLY),
            is_no_touch: caller.is_no_touch,
            on_expired: caller.on_expired,
            hides_expired: caller.on_expired.hides() && command.spec.flags.has(READONLY),
            must_obey: caller.must_obey,
            for_script: caller.for_script,
            dirty: 0,
            effects: &mut self.effects,
        };
        let mut context = Context { data, reply, rng: &mut self.rng, may_wait: caller.may_wait, wait: None };
        let outcome = (command.run)(&mut context, args);
        let Context { data: Data { dirty, .. }, wait, .. } = context;
        if let Err(error) = outcome {
            reply.truncate(start);
            write_error(&error, reply);
        }
        self.keyspace.db_mut(caller.db).expect_nothing();
        self.snapshot_stats.dirty += dirty;
        let mut is_logged_as_sent = false;
        if dirty > 0 && !self.effects.is_log_said() {
            is_logged_as_sent = caller.has_request && self.effects.wants_only_this_logged();
            if !is_logged_as_sent {
                self.effects.push_log(caller.db, args.0);
            }
        }
        if self.keyspace.has_garbage(caller.db) {
            self.take_out_garbage();
        }
        Ran { dirty, wait, is_logged_as_sent }
    }

    /// Gives what is to be dropped lazily to the thread that does it.
    #[cold]
    fn take_out_garbage(&mut self) {
        for garbage in self.keyspace.take_garbage() {
            let objects = garbage.objects() as u64;
            self.dropper.give(garbage, objects);
        }
    }

    /// Makes up for what tables could not do while a child saved: they grow, shrink and give memory back.
    /// Looks at about so many segments of some hundred keys each. False if there is nothing left to do.
    pub fn tidy_step(&mut self, segments: usize) -> bool {
        let Some((mut db, mut cursor)) = self.tidying.filter(|_| !self.has_child()) else { return false };
        for _ in 0..segments {
            if db >= self.keyspace.len() {
                self.tidying = None;
                return false;
            }
            cursor = self.keyspace.db_mut(db).tidy(cursor);
            db += usize::from(cursor == 0);
        }
        self.tidying = Some((db, cursor));
        true
    }

    /// Chooses what is dropped lazily, and how LFU's counters move.
    pub fn tune(&mut self, laziness: Laziness, lfu: LfuTuning) {
        self.keyspace.set_laziness(laziness);
        self.keyspace.set_lfu_tuning(lfu);
    }

    /// Keeps the access clock that an eviction policy needs.
    pub fn keep_clocks_for(&mut self, policy: Policy) {
        self.keyspace.set_clock_kind(policy.clock());
    }

    /// Objects that wait to be dropped on another thread, and those that were, as INFO counts them.
    pub fn lazy_free(&self) -> (u64, u64) {
        (self.dropper.pending(), self.dropper.dropped())
    }

    /// Removes the key that goes first under `policy`, looking at `samples` keys of each database, and
    /// records it in `effects`. False if there is none that may go.
    pub fn evict_one(&mut self, policy: Policy, samples: usize, now: UnixMs) -> bool {
        self.keyspace.tick(now);
        let Some(victim) = self.evictor.choose(&self.keyspace, policy, samples, &mut self.rng) else {
            return false;
        };
        let (db, key) = (victim.db, victim.key.as_slice());
        let lazily = self.keyspace.db(db).laziness().eviction;
        if self.keyspace.db_mut(db).delete(key, lazily) {
            self.key_stats.evicted += 1;
            self.effects.changed(db, key);
            self.effects.event(db, Classes::EVICTED, "evicted", key);
            self.effects.push_log(db, &[removal(lazily), key]);
            if self.keyspace.has_garbage(db) {
                self.take_out_garbage();
            }
        }
        true
    }

    /// What calls have done; the caller takes it away.
    pub fn effects(&self) -> &Effects {
        &self.effects
    }

    /// The same, to take it away.
    pub fn effects_mut(&mut self) -> &mut Effects {
        &mut self.effects
    }

    /// Chooses what is recorded in `effects`. What the append only file needs is recorded anyway.
    pub fn set_wants(&mut self, wants: Wants) {
        self.wants = wants;
        let log = wants.log || self.aof.state() != AofState::Off || self.backup.is_logging();
        self.effects.set_wants(Wants { log, ..wants });
    }

    /// Counts changes that were made without a command.
    pub fn add_dirty(&mut self, changes: u64) {
        self.snapshot_stats.dirty += changes;
    }

    /// The family of servers that the data came from, or that snapshots are written for.
    pub fn family(&self) -> Dialect {
        match self.settings.target {
            TargetChoice::Auto(family) => family,
            TargetChoice::Named(target) => target.version().dialect,
        }
    }

    fn digest_style(&self) -> digest::Style {
        match self.family() {
            Dialect::Redis => digest::Style::Redis,
            Dialect::Valkey => digest::Style::Valkey,
        }
    }

    /// The digest of the whole data set, as DEBUG DIGEST of the data's family prints it.
    pub fn digest(&self) -> [u8; digest::DIGEST_BYTES] {
        digest::digest_in(&self.keyspace, self.digest_style())
    }

    /// The digest of one key's value, as DEBUG DIGEST-VALUE prints it; zeros if there is no such key.
    pub fn digest_value(&self, db: usize, key: &[u8]) -> [u8; digest::DIGEST_BYTES] {
        digest::digest_value_in(self.keyspace.db(db).entry(key), self.digest_style())
    }

    /// Removes expired keys and fields, looking at about `budget` entries that may expire.
    pub fn expire_step(&mut self, now: UnixMs, budget: usize) -> expire::Step {
        self.keyspace.tick(now);
        let is_lazy = self.keyspace.db(0).laziness().expire;
        let mut told = Told::new(&mut self.effects, is_lazy);
        let step = self.sweep.step_with(&mut self.keyspace, now, budget, |gone| told.tell(gone));
        drop(told);
        self.key_stats.expired += step.expired;
        self.key_stats.expired_fields += step.expired_fields;
        self.snapshot_stats.dirty += step.expired;
        if step.expired + step.emptied > 0 {
            self.take_out_garbage();
        }
        step
    }

    fn producer(&mut self, now: UnixMs, used_memory: u64) -> Producer {
        self.last_stamp = UnixMs(now.0.max(self.last_stamp.0.saturating_add(1)));
        Producer {
            redis_version: self.redis_version,
            created_at: now,
            used_memory,
            is_aof_base: false,
            stamp: Some(self.last_stamp),
        }
    }

    fn contents(&self) -> Contents<'_> {
        Contents { keyspace: &self.keyspace, carried: &self.carried }
    }

    /// Saves now, in place; nothing else runs meanwhile.
    ///
    /// # Errors
    /// `SaveError`; the old file is as it was.
    pub fn save(&mut self, now: UnixMs, used_memory: u64) -> Result<Saved, SaveError> {
        self.keyspace.tick(now);
        let producer = self.producer(now, used_memory);
        let saved = snapshot::save(
            self.storage.as_ref(),
            &self.rdb_path,
            self.settings,
            &producer,
            self.contents(),
            &mut |_| {},
        );
        let stats = &mut self.snapshot_stats;
        match &saved {
            Ok(_) => {
                stats.dirty = 0;
                stats.last_save = now;
                stats.saves += 1;
                stats.failed = false;
            }
            // The caller is told; writes stop for background saves only, which nobody waits for.
            Err(error) => stats.last_error = error.to_string(),
        }
        saved
    }

    /// Until there is a snapshot where one is to come, has no server start empty there.
    ///
    /// # Errors
    /// `SaveError`; nothing is there then, or no one knows.
    pub fn announce_save(&self, why: &str) -> Result<(), SaveError> {
        snapshot::announce(self.storage.as_ref(), &self.rdb_path, why)
    }

    /// True while a child saves.
    pub fn is_saving(&self) -> bool {
        self.running.is_some()
    }

    /// When the running background save began, and what its child told last.
    pub fn running(&self) -> Option<(UnixMs, Progress)> {
        self.running.as_ref().map(|r| (r.started, r.background.progress()))
    }

    /// Starts a background save. The caller has made sure that none is running. Returns the child's
    /// process id.
    ///
    /// # Errors
    /// `Fork`.
    pub fn start_background_save(&mut self, now: UnixMs, used_memory: u64) -> Result<i32, SaveError> {
        self.keyspace.tick(now);
        let producer = self.producer(now, used_memory);
        self.snapshot_stats.attempts += 1;
        let started = snapshot::start(
            self.apart,
            // A child that outlives this process for a moment keeps others out of the folder.
            self.lock.as_ref().and_then(|lock| lock.descriptor()),
            self.storage.as_ref(),
            &self.rdb_path,
            self.settings,
            &producer,
            self.contents(),
        );
        let stats = &mut self.snapshot_stats;
        match started {
            Ok(background) => {
                stats.forks += 1;
                stats.last_fork_us = background.fork_us();
                let pid = background.pid();
                self.running = Some(Running { background, started: now, dirty_at_start: stats.dirty });
                self.child_started();
                Ok(pid)
            }
            Err(error) => {
                stats.failed = true;
                stats.last_error = error.to_string();
                Err(error)
            }
        }
    }

    /// Looks after the running background save. `Some` once, when it has ended.
    pub fn poll_background_save(&mut self, now: UnixMs) -> Option<BackgroundEnd> {
        let running = self.running.as_mut()?;
        let result = running.background.poll()?;
        let running = self.running.take()?;
        self.child_ended();
        let pid = running.background.pid();
        let stats = &mut self.snapshot_stats;
        stats.last_duration =
            Some(Duration::from_millis(now.0.saturating_sub(running.started.0).max(0) as u64));
        match &result {
            Ok(saved) => {
                stats.dirty = stats.dirty.saturating_sub(running.dirty_at_start);
                stats.last_save = now;
                stats.saves += 1;
                stats.failed = false;
                stats.last_cow_bytes = saved.cow_bytes;
            }
            Err(error) => {
                if !matches!(error, SaveError::Child(ended) if ended.is_called_off()) {
                    stats.failed = true;
                    stats.last_error = error.to_string();
                }
                let temp = snapshot::temp_path(&self.rdb_path, pid.unsigned_abs());
                // The child removes it by itself unless it was killed.
                let _ = self.storage.remove(&temp);
            }
        }
        Some(BackgroundEnd { result, pid })
    }

    /// Ends the running background save, if there is one, and removes its temporary file.
    pub fn cancel_background_save(&mut self) -> Option<i32> {
        let running = self.running.take()?;
        let pid = running.background.pid();
        running.background.kill(self.storage.as_ref(), &self.rdb_path);
        self.child_ended();
        Some(pid)
    }

    /// A child shares this process's pages from now on.
    fn child_started(&mut self) {
        // Moving entries between buckets would copy pages that the child shares.
        self.keyspace.allow_resize(false);
        self.keyspace.hold_clocks(true);
        self.aof.set_child_running(true);
    }

    fn child_ended(&mut self) {
        self.keyspace.allow_resize(true);
        self.keyspace.hold_clocks(false);
        self.tidying = Some((0, 0));
        self.aof.set_child_running(false);
    }

    /// Notes when saves are made and tried; to be called often, also while a child saves.
    pub fn note_saves(&mut self, now: Instant) {
        self.cadence.note(self.snapshot_stats.saves, self.snapshot_stats.attempts, now);
    }

    /// The rule by which a background save is due.
    pub fn due_save(&self, rules: &[SaveRule], now: Instant) -> Option<SaveRule> {
        rules::due(
            rules,
            Situation {
                changes: self.snapshot_stats.dirty,
                since_save: self.cadence.since_save(now),
                since_attempt: self.cadence.since_attempt(now),
                last_failed: self.snapshot_stats.failed,
            },
        )
    }

    /// Whether a save that nobody waits for may be tried: soon after one that failed it may not.
    pub fn may_retry_save(&self, now: Instant) -> bool {
        !rules::is_too_soon(self.snapshot_stats.failed, self.cadence.since_attempt(now))
    }

    /// Loads the snapshot's file into the engine, which must be empty. `progress` hears how far it is.
    /// `Ok(None)` if there is no file.
    ///
    /// # Errors
    /// `LoadError`; the engine then holds a part of the file and must not be used. The file is never
    /// changed.
    pub fn load(
        &mut self,
        now: UnixMs,
        options: Options,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<Option<Loaded>, LoadError> {
        let mut input = match self.storage.open(&self.rdb_path) {
            Ok(input) => input,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(LoadError::io(&self.rdb_path, e)),
        };
        let into = load::Destination {
            keyspace: &mut self.keyspace,
            carried: &mut self.carried,
            limits: &self.limits,
            now: Some(now),
        };
        let loaded = load::load(into, input.as_mut(), options, progress)
            .map_err(|fault| LoadError { path: self.rdb_path.clone(), fault: Box::new(fault) })?;
        if let (TargetChoice::Auto(family), Some(version)) = (&mut self.settings.target, loaded.version) {
            // A file that not everybody reads goes back to the family of servers it came from.
            *family = version.dialect;
        }
        Ok(Some(loaded))
    }

    /// Removes temporary snapshot files that dead processes left beside the snapshot's file. Returns
    /// those removed.
    pub fn sweep_temp_files(&self) -> Vec<PathBuf> {
        snapshot::sweep(self.storage.as_ref(), &self.rdb_path, self.lock.is_some())
    }

    /// Empties every database and forgets what was carried, for a reload.
    pub fn clear(&mut self) {
        for db in 0..self.keyspace.len() {
            self.keyspace.db_mut(db).clear();
        }
        self.carried.clear();
    }

    /// Tries to take a folder for this process alone. What was held before is held still.
    ///
    /// # Errors
    /// What the disk said: some file systems have no locks.
    pub fn claim_dir(&self, dir: &Path) -> io::Result<Claim> {
        if let Some(lock) = &self.lock
            && lock.covers(dir)?
        {
            return Ok(Claim::Ours);
        }
        Ok(self.storage.lock_dir(dir)?.map_or(Claim::Theirs, Claim::New))
    }

    /// Holds this folder from here on, in place of the one that was held.
    pub fn hold_dir(&mut self, lock: Option<Box<dyn DirLock>>) {
        self.lock = lock;
    }

    /// The folder of the snapshot's file.
    pub fn dir(&self) -> &Path {
        dir_of(&self.rdb_path)
    }
}
/// The reply that an error of a command stands for.
#[cold]
fn write_error(error: &CommandError, reply: &mut Reply) {
    match error {
        CommandError::Bytes(text) => reply.error_bytes(text),
        error => reply.error(&error.message()),
    }
}
