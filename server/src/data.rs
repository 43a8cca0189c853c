//! The engine's place in the server: running data commands, saving.
//!
//! While the data set loads there is no engine here: what needs one cannot run by mistake.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cairn_engine::codec::rdb::Dialect;
use cairn_engine::codec::resp::Reply;
use cairn_engine::command::wait::Wait;
use cairn_engine::command::{Args, DataCommand};
use cairn_engine::engine::{Caller, Engine};
use cairn_engine::keyspace::HashSeed;
use cairn_engine::os::huge_pages;
use cairn_engine::persist::rules::SaveRule;
use cairn_engine::persist::snapshot::{LOWEST, SaveError, Saved, Settings, TargetChoice};
use cairn_engine::value::Limits;

use crate::aof_switch::aof_settings;
use crate::config::Config;
use crate::config::kind::ShutdownHow;
use crate::dispatch::{LOADING_ERROR, MISCONF};
use crate::log::Log;
use crate::memory::tune;
use crate::server::Server;

/// A running child is looked after at this interval.
pub(crate) const CHILD_POLL: Duration = Duration::from_millis(10);

/// What DEBUG RELOAD keeps of the data that are in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeps {
    /// Nothing: the file takes their place.
    Nothing,
    /// Those that are not in the file.
    WhatIsNotInTheFile,
    /// All of them: what is in the file, too, is an error.
    All,
}

/// What DEBUG RELOAD does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reload {
    /// It saves first.
    pub(crate) saves: bool,
    pub(crate) keeps: Keeps,
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

    /// Why writes are refused, if they are: snapshots fail and the configuration wants it so, the folder of
    /// the data is lost, or the log cannot be written.
    #[inline]
    pub(crate) fn disk_error(&self) -> Option<&str> {
        let failed = self.engine.as_ref().is_some_and(|engine| engine.snapshot_stats().failed);
        if failed && self.config.stop_writes_on_bgsave_error && !self.config.save.is_empty() {
            return Some(MISCONF);
        }
        if let Some(error) = self.folder.error() {
            let stops = self.config.stop_writes_on_bgsave_error && !self.config.save.is_empty();
            if stops || self.config.appendonly {
                return Some(error);
            }
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
        let ttl = u64::try_from(self.config.backup_sealed_ttl_s).unwrap_or(0);
        engine.keep_sealed_backup_for(Duration::from_secs(ttl));
        tune(engine, &self.config);
    }

    /// Sets the engine's counters to zero.
    pub(crate) fn reset_engine_stats(&mut self) {
        if let Some(engine) = &mut self.engine {
            engine.reset_key_stats();
        }
    }

    /// Removes what processes that are gone have left beside the snapshot's file.
    pub(crate) fn sweep_temp_files(&mut self) {
        if let Some(engine) = &self.engine {
            self.tell_swept(&engine.sweep_temp_files());
        }
    }

    pub(crate) fn tell_swept(&self, paths: &[PathBuf]) {
        for path in paths {
            self.log
                .notice(format_args!("Removed {}, which a process that is gone has left", path.display()));
        }
    }

    /// DEBUG RELOAD: saves unless told not to, empties the engine unless told not to, and loads the file.
    ///
    /// # Errors
    /// The save failed, or the file that is there cannot be loaded; nothing has changed.
    pub(crate) fn reload(&mut self, how: Reload) -> Result<(), String> {
        const FAILED: &str = "Error trying to load the RDB dump, check server logs.";
        if how.saves {
            self.save_now().map_err(|error| error.to_string())?;
        }
        // What nobody knows to be in the file stays until that has been read.
        let clears = how.saves && how.keeps == Keeps::Nothing;
        let loaded = self.load_dump_beside(clears).ok_or(LOADING_ERROR)?;
        let other = match loaded {
            Ok((other, Some(loaded))) => {
                self.tell_loaded(&loaded);
                other
            }
            failed => {
                let fault = failed.map_or_else(|error| error.to_string(), |_| "there is no file".to_owned());
                if clears {
                    self.log.warning(format_args!("Fatal error reloading the DB: {fault}. Exiting."));
                    std::process::exit(1);
                }
                self.log.warning(format_args!("Error reloading the DB, which stays as it is: {fault}"));
                return Err(FAILED.into());
            }
        };
        let Some(engine) = &mut self.engine else { return Err(LOADING_ERROR.into()) };
        let merged = match how.keeps {
            Keeps::Nothing => {
                self.take_data_of(other);
                Ok(())
            }
            Keeps::WhatIsNotInTheFile => engine.merge_data_of(other, true),
            Keeps::All => engine.merge_data_of(other, false),
        };
        if let Err(fault) = merged {
            self.log.warning(format_args!("Error reloading the DB, which stays as it is: {fault}"));
            return Err(FAILED.into());
        }
        self.end_backup_without_seal("the data set was loaded anew");
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
                        huge_pages::make_again(saved.cow_bytes);
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
        if engine.is_rewriting() || engine.has_child() {
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

/// A file that is not of the lowest version says so: not every server reads it.
fn tell_saved(log: &Log, saved: &Saved) {
    log.notice(format_args!("DB saved on disk"));
    if saved.target != LOWEST {
        let version = saved.target.version().number;
        log.notice(format_args!("The file has RDB version {version}, for {} and later", saved.target.name()));
    }
}

/// The snapshot's file. The process is in the folder of `dir`.
pub(crate) fn rdb_path(config: &Config) -> &Path {
    Path::new(OsStr::from_bytes(&config.dbfilename))
}

pub(crate) fn settings(config: &Config, family: Dialect) -> Settings {
    let target = config.rdb_target.map_or(TargetChoice::Auto(family), TargetChoice::Named);
    Settings {
        target,
        compress: config.rdbcompression,
        checksum: config.rdbchecksum,
        incremental_sync: config.rdb_incremental_fsync,
        key_delay_us: config.rdb_key_save_delay_us,
    }
}

pub(crate) fn limits(config: &Config, seed: HashSeed) -> Limits {
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
        takes_future_dumps: config.rdb_relaxed_version,
        list_compress_depth: u32::try_from(config.list_compress_depth).unwrap_or(u32::MAX),
        stream_node_max_bytes: bytes(config.stream_node_max_bytes),
        stream_node_max_entries: count(config.stream_node_max_entries),
        hll_sparse_max_bytes: bytes(config.hll_sparse_max_bytes),
        max_string_bytes: bytes(config.proto_max_bulk_len),
        seed,
    }
}
