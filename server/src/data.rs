//! The engine's place in the server: running data commands, loading, saving.
//!
//! While the data set loads there is no engine here: what needs one cannot run by mistake.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cairn_engine::codec::rdb::{Dialect, Options, Target};
use cairn_engine::codec::resp::Reply;
use cairn_engine::command::wait::Wait;
use cairn_engine::command::{Args, DataCommand};
use cairn_engine::engine::{Caller, Engine, EngineConfig};
use cairn_engine::keyspace::HashSeed;
use cairn_engine::persist::apart::Apart;
use cairn_engine::persist::load::{LoadFault, LoadProgress, Loaded};
use cairn_engine::persist::rules::SaveRule;
use cairn_engine::persist::snapshot::{SaveError, Saved, Settings, TargetChoice};
use cairn_engine::value::Limits;

use crate::aof_switch::aof_settings;
use crate::batch::Batch;
use crate::config::Config;
use crate::config::kind::ShutdownHow;
use crate::dispatch::{LOADING_ERROR, MISCONF};
use crate::log::Log;
use crate::memory::tune;
use crate::server::Server;
use crate::version::REDIS_VERSION;

/// A running child is looked after at this interval.
pub(crate) const CHILD_POLL: Duration = Duration::from_millis(10);

/// How far loading is, for INFO.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Loading {
    /// When it began, in seconds since 1970.
    pub(crate) start_seconds: i64,
    /// When it began.
    pub(crate) since: Instant,
    /// How far it is.
    pub(crate) progress: LoadProgress,
}

/// What the last load has brought, for INFO.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LastLoad {
    /// Keys that are there.
    pub(crate) keys: u64,
    /// Keys that were left out because their time had passed.
    pub(crate) expired: u64,
}

impl Server {
    /// Runs a data command. Answers what it waits for, if it does; there is no reply then.
    #[inline]
    pub(crate) fn apply(
        &mut self,
        command: &'static DataCommand,
        args: Args<'_>,
        caller: Caller,
        reply: &mut Reply,
    ) -> Option<Box<Wait>> {
        match &mut self.engine {
            Some(engine) => engine.apply(command, args, caller, reply).wait,
            None => {
                reply.error(LOADING_ERROR);
                None
            }
        }
    }

    /// True while there is no data set to work on.
    pub(crate) fn is_loading(&self) -> bool {
        self.engine.is_none()
    }

    /// Why writes are refused, if they are: snapshots fail and the configuration wants it so, or the log
    /// cannot be written.
    #[inline]
    pub(crate) fn disk_error(&self) -> Option<&str> {
        let failed = self.engine.as_ref().is_some_and(|engine| engine.snapshot_stats().failed);
        if failed && self.config.stop_writes_on_bgsave_error && !self.config.save.is_empty() {
            return Some(MISCONF);
        }
        self.aof.error()
    }

    /// Makes the engine follow the configuration.
    pub(crate) fn configure_engine(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        let Limits { list_large_bytes, trusts_dumps, .. } = engine.limits;
        engine.limits = Limits { list_large_bytes, trusts_dumps, ..limits(&self.config, engine.limits.seed) };
        engine.rdb_path = rdb_path(&self.config).into();
        let family = match engine.settings.target {
            TargetChoice::Auto(family) => family,
            TargetChoice::Named(_) => Dialect::Redis,
        };
        engine.settings = settings(&self.config, family);
        engine.configure_aof(aof_settings(&self.config));
        tune(engine, &self.config);
    }

    /// Sets the engine's counters to zero.
    pub(crate) fn reset_engine_stats(&mut self) {
        if let Some(engine) = &mut self.engine {
            engine.reset_key_stats();
        }
    }

    /// Makes the engine and loads the snapshot's file, answering clients meanwhile. False if the file
    /// is there and cannot be used; it is as it was then.
    pub(crate) fn load_data(&mut self, batch: &mut Batch, seed: [u64; 2]) -> bool {
        let config = EngineConfig {
            databases: usize::try_from(self.config.databases).unwrap_or(1),
            seed,
            limits: limits(&self.config, HashSeed(seed[0], seed[1])),
            rdb_path: rdb_path(&self.config).into(),
            settings: settings(&self.config, Dialect::Redis),
            redis_version: REDIS_VERSION,
            apart: Apart::ForkAndThreads,
        };
        let mut engine = Engine::new(config, self.now);
        engine.hold_dir(self.dir_lock.take());
        tune(&mut engine, &self.config);
        engine.set_wake(self.aof.waker());
        engine.configure_aof(aof_settings(&self.config));
        engine.keyspace_mut().tick(self.now);
        self.tell_swept(&engine.sweep_temp_files());
        let since = Instant::now();
        let start_seconds = self.now.secs();
        self.loading = Some(Loading { start_seconds, since, progress: LoadProgress::default() });
        let (now, options) = (self.now, self.load_options());
        let loaded = engine.load(now, options, &mut |progress| {
            let Some(loading) = &mut self.loading else { return };
            let keys = progress.keys - loading.progress.keys;
            loading.progress = progress;
            let delay = load_delay(keys, self.config.key_load_delay_us);
            self.serve_while_loading(batch, delay);
        });
        self.loading = None;
        self.read_clock();
        let is_loaded = match loaded {
            Ok(loaded) => {
                if let Some(loaded) = loaded {
                    self.tell_loaded(&loaded, since.elapsed());
                }
                true
            }
            Err(error) => {
                let path = engine.rdb_path.display();
                self.log.warning(format_args!("Fatal error loading the DB: {error}. Exiting."));
                if !matches!(*error.fault, LoadFault::Io(_)) {
                    self.log.warning(format_args!(
                        "The file was not changed. Look at it with 'rdb-tools check {path}' before anything else."
                    ));
                }
                false
            }
        };
        self.engine = Some(engine);
        self.update_wants();
        is_loaded && self.begin_log()
    }

    /// What is checked of a snapshot besides its layout.
    fn load_options(&self) -> Options {
        Options { require_checksum: self.config.rdb_require_checksum, ..Options::default() }
    }

    /// Removes what processes that are gone have left beside the snapshot's file.
    pub(crate) fn sweep_temp_files(&mut self) {
        if let Some(engine) = &self.engine {
            self.tell_swept(&engine.sweep_temp_files());
        }
    }

    fn tell_swept(&self, paths: &[PathBuf]) {
        for path in paths {
            self.log
                .notice(format_args!("Removed {}, which a process that is gone has left", path.display()));
        }
    }

    /// Answers clients between two pieces of the file, for `delay` at the least.
    fn serve_while_loading(&mut self, batch: &mut Batch, delay: Duration) {
        let until = Instant::now() + delay;
        let mut broken = self.turn(batch, Duration::ZERO).is_err();
        while !broken && !self.is_ending() && Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            broken = self.turn(batch, left).is_err();
        }
        if let Some(status) = self.shutdown.status().or(broken.then_some(1)) {
            // There is nothing to save: what is loaded so far is a part of what the file has.
            self.finish();
            std::process::exit(status);
        }
    }

    fn tell_loaded(&mut self, loaded: &Loaded, took: Duration) {
        self.last_load = LastLoad { keys: loaded.keys, expired: loaded.expired };
        let aux = |name: &[u8]| {
            let found = loaded.aux.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        };
        if let Some(version) = aux(b"valkey-ver").or_else(|| aux(b"redis-ver")) {
            self.log.notice(format_args!("Loading RDB produced by version {version}"));
        }
        if let Some(created) = aux(b"ctime").and_then(|text| text.parse::<i64>().ok()) {
            let age = self.now.secs().saturating_sub(created).max(0);
            self.log.notice(format_args!("RDB age {age} seconds"));
        }
        for key in &loaded.empty_keys {
            self.log.notice(format_args!(
                "rdbLoadObject failed loading key \"{}\": skipping empty key",
                key.escape_ascii()
            ));
        }
        if loaded.unchecked {
            self.log.warning(format_args!("RDB file was saved with checksum disabled: no check performed."));
        }
        if loaded.trailing_bytes > 0 {
            self.log.warning(format_args!(
                "{} bytes behind the end of the RDB file were not read",
                loaded.trailing_bytes
            ));
        }
        self.log.notice(format_args!(
            "Done loading RDB, keys loaded: {}, keys expired: {}.",
            loaded.keys, loaded.expired
        ));
        self.log.notice(format_args!("DB loaded from disk: {:.3} seconds", took.as_secs_f64()));
    }

    /// DEBUG RELOAD: saves unless told not to, empties the engine, and loads the file again.
    ///
    /// # Errors
    /// The save failed, and nothing has changed.
    pub(crate) fn reload(&mut self, saves: bool) -> Result<(), String> {
        if saves {
            self.save_now().map_err(|error| error.to_string())?;
        }
        let (now, options) = (self.now, self.load_options());
        let Some(engine) = &mut self.engine else { return Err(LOADING_ERROR.into()) };
        engine.clear();
        if let Err(error) = engine.load(now, options, &mut |_| {}) {
            // What is in memory is a part of the data set: going on would end in saving it over the whole.
            self.log.warning(format_args!("Fatal error reloading the DB: {error}. Exiting."));
            std::process::exit(1);
        }
        self.log.warning(format_args!("DB reloaded by DEBUG RELOAD"));
        Ok(())
    }

    /// Saves in place.
    ///
    /// # Errors
    /// The old file is as it was.
    pub(crate) fn save_now(&mut self) -> Result<Saved, SaveError> {
        let Some(engine) = &mut self.engine else {
            return Err(SaveError::Reported(LOADING_ERROR.into()));
        };
        let saved = engine.save(self.now, self.used_memory);
        match &saved {
            Ok(saved) => tell_saved(&self.log, saved),
            Err(error) => self.log.warning(format_args!("Failed saving the DB: {error}")),
        }
        saved
    }

    /// Starts a child that saves.
    ///
    /// # Errors
    /// It could not be started.
    pub(crate) fn start_save(&mut self) -> Result<(), SaveError> {
        let Some(engine) = &mut self.engine else {
            return Err(SaveError::Reported(LOADING_ERROR.into()));
        };
        match engine.start_background_save(self.now, self.used_memory) {
            Ok(pid) => {
                let fork = Duration::from_micros(engine.snapshot_stats().last_fork_us);
                self.observe_event("fork", fork);
                if let Err(e) = self.oom_score.apply_to_child(&self.config, pid) {
                    self.log.warning(format_args!("Unable to write the child's oom_score_adj: {e}"));
                }
                self.log.notice(format_args!("Background saving started by pid {pid}"));
                self.next_cron = self.next_cron.min(self.now_instant + CHILD_POLL);
                Ok(())
            }
            Err(error) => {
                self.log.warning(format_args!("{error}"));
                Err(error)
            }
        }
    }

    /// What follows FLUSHALL: a child that saves what is gone is ended, and with save rules the empty
    /// data set is saved at once, as a crash would bring the old one back.
    pub(crate) fn after_flushall(&mut self) {
        if self.cancel_save() {
            self.log.notice(format_args!("FLUSHALL has ended the background save"));
        }
        if !self.config.save.is_empty() {
            // A failure is logged there; the rules will try again.
            let _ = self.save_now();
        }
    }

    /// True while a child saves.
    pub(crate) fn is_saving(&self) -> bool {
        self.engine.as_ref().is_some_and(Engine::is_saving)
    }

    /// Ends a saving child. False if there was none.
    pub(crate) fn cancel_save(&mut self) -> bool {
        self.engine.as_mut().and_then(Engine::cancel_background_save).is_some()
    }

    /// Looks after a saving child, and starts one if a rule says so.
    pub(crate) fn tend_snapshots(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        engine.note_saves(self.now_instant);
        if engine.is_saving() {
            if let Some(end) = engine.poll_background_save(self.now) {
                match end.result {
                    Ok(saved) => {
                        let mib = saved.cow_bytes >> 20;
                        tell_saved(&self.log, &saved);
                        self.log.notice(format_args!(
                            "Fork CoW for RDB: {mib} MB of memory used by copy-on-write"
                        ));
                        self.log.notice(format_args!("Background saving terminated with success"));
                    }
                    Err(SaveError::Child(ended)) => {
                        let error = SaveError::Child(ended);
                        self.log.warning(format_args!("Background saving {error}"));
                    }
                    Err(error) => self.log.warning(format_args!("Background saving error: {error}")),
                }
            }
            return;
        }
        if engine.is_rewriting() {
            return;
        }
        let rules: Vec<SaveRule> = self
            .config
            .save
            .iter()
            .map(|rule| {
                let unsigned = |n: i64| u64::try_from(n).unwrap_or(0);
                SaveRule { seconds: unsigned(rule.seconds), changes: unsigned(rule.changes) }
            })
            .collect();
        if let Some(rule) = engine.due_save(&rules, self.now_instant) {
            self.log.notice(format_args!("{} changes in {} seconds. Saving...", rule.changes, rule.seconds));
            // A failure is logged there, remembered by the engine, and tried again after a while.
            let _ = self.start_save();
        }
    }

    /// Saves as ending the process asks for it. False if that failed.
    pub(crate) fn save_for_shutdown(&mut self, how: ShutdownHow) -> bool {
        if self.is_saving() {
            self.log.warning(format_args!("There is a child saving an .rdb. Killing it!"));
            self.cancel_save();
        }
        let wanted = how.save || (!self.config.save.is_empty() && !how.nosave);
        if !wanted || self.is_loading() {
            return true;
        }
        self.log.notice(format_args!("Saving the final RDB snapshot before exiting."));
        self.save_now().is_ok()
    }
}

/// How long `key-load-delay` makes the loading of so many keys take: so many microseconds each, or,
/// below zero, one for so many keys.
fn load_delay(keys: u64, delay_us: i64) -> Duration {
    let us = delay_us.unsigned_abs();
    Duration::from_micros(if delay_us >= 0 { keys.saturating_mul(us) } else { keys / us })
}

/// A file that needs more than the default version says so: not every server reads it.
fn tell_saved(log: &Log, saved: &Saved) {
    log.notice(format_args!("DB saved on disk"));
    if saved.target != Target::default() {
        let version = saved.target.version().number;
        log.notice(format_args!("The file has RDB version {version}, for {} and later", saved.target.name()));
    }
}

/// The snapshot's file. The process is in the folder of `dir`.
fn rdb_path(config: &Config) -> &Path {
    Path::new(OsStr::from_bytes(&config.dbfilename))
}

fn settings(config: &Config, family: Dialect) -> Settings {
    let target = config.rdb_target.map_or(TargetChoice::Auto(family), TargetChoice::Named);
    Settings {
        target,
        compress: config.rdbcompression,
        checksum: config.rdbchecksum,
        incremental_sync: config.rdb_incremental_fsync,
        key_delay_us: config.rdb_key_save_delay_us,
    }
}

fn limits(config: &Config, seed: HashSeed) -> Limits {
    let count = |n: i64| usize::try_from(n).unwrap_or(usize::MAX);
    let bytes = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    Limits {
        hash_max_listpack_entries: count(config.hash_max_listpack_entries),
        hash_max_listpack_value: bytes(config.hash_max_listpack_value),
        set_max_intset_entries: count(config.set_max_intset_entries),
        set_max_listpack_entries: count(config.set_max_listpack_entries),
        set_max_listpack_value: count(config.set_max_listpack_value),
        zset_max_listpack_entries: count(config.zset_max_listpack_entries),
        zset_max_listpack_value: bytes(config.zset_max_listpack_value),
        list_max_listpack_size: i32::try_from(config.list_max_listpack_size).unwrap_or(i32::MAX),
        list_large_bytes: 0,
        trusts_dumps: false,
        list_compress_depth: u32::try_from(config.list_compress_depth).unwrap_or(u32::MAX),
        stream_node_max_bytes: bytes(config.stream_node_max_bytes),
        stream_node_max_entries: count(config.stream_node_max_entries),
        hll_sparse_max_bytes: bytes(config.hll_sparse_max_bytes),
        max_string_bytes: bytes(config.proto_max_bulk_len),
        seed,
    }
}
