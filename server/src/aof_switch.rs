//! Turning the log on and off while the server runs, and its end.
//!
//! Behaviour and words: valkey src/aof.c `startAppendOnly`, `stopAppendOnly`, src/server.c
//! `finishShutdown`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use cairn_engine::engine::Engine;
use cairn_engine::persist::aof::{AofSettings, AofState, Reserve};

use crate::config::kind::ShutdownHow;
use crate::config::{Config, SetError};
use crate::server::Server;

/// What the configuration says about the log.
pub(crate) fn aof_settings(config: &Config) -> AofSettings {
    AofSettings {
        // Absolute: `dir` may become another one.
        dir: Path::new(OsStr::from_bytes(&config.dir)).join(OsStr::from_bytes(&config.appenddirname)),
        filename: String::from_utf8_lossy(&config.appendfilename).into_owned(),
        policy: config.appendfsync,
        checksum: config.aof_checksum,
        reserve: config.aof_preallocate.then(Reserve::default),
        rdb_base: config.aof_use_preamble,
        incremental_sync: config.aof_incremental_fsync,
        timestamps: config.aof_timestamps,
        no_sync_on_rewrite: config.no_fsync_on_rewrite,
        removes_history: !config.aof_disable_auto_gc,
        load_truncated: config.aof_load_truncated,
        corrupt_tail_max_bytes: config.aof_corrupt_tail_max_bytes,
        rewrite_percentage: u64::try_from(config.aof_rewrite_percentage).unwrap_or(0),
        rewrite_min_bytes: config.aof_rewrite_min_bytes,
        comment: None,
    }
}

impl Server {
    /// Turns the log on or off, as `appendonly` says now.
    ///
    /// # Errors
    /// It cannot be turned on.
    pub(crate) fn switch_aof(&mut self) -> Result<(), SetError> {
        let Some(engine) = &self.engine else { return Ok(()) };
        match (self.config.appendonly, engine.aof_state()) {
            (true, AofState::Off) => self.turn_aof_on(),
            (false, AofState::Starting | AofState::On) => {
                self.turn_aof_off();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Turns the log on; its first base is written by a child.
    ///
    /// # Errors
    /// It cannot be turned on, and is off.
    pub(crate) fn turn_aof_on(&mut self) -> Result<(), SetError> {
        let has_other_child =
            self.is_saving() || self.engine.as_ref().is_some_and(|engine| engine.backup().has_child());
        let (is_saving, is_in_exec) = (has_other_child, self.aof.is_in_exec);
        if is_saving {
            self.log.notice(format_args!(
                "AOF was enabled but there is already another background operation. An AOF background was scheduled to \
                 start when possible."
            ));
        } else if is_in_exec {
            self.log.notice(format_args!(
                "AOF was enabled during a transaction. An AOF background was scheduled to start when possible."
            ));
        } else if self.is_rewriting() {
            self.log.notice(format_args!(
                "AOF was enabled but there is already an AOF rewriting in background. Stopping background AOF and \
                 starting a rewrite now."
            ));
        }
        let Some(engine) = &mut self.engine else { return Ok(()) };
        engine.configure_aof(aof_settings(&self.config));
        engine.cancel_rewrite();
        engine.start_aof(self.now_instant);
        self.aof.is_on = true;
        self.update_wants();
        if is_saving || is_in_exec {
            return Ok(());
        }
        self.tend_log();
        if self.is_rewriting() {
            return Ok(());
        }
        self.log.warning(format_args!(
            "The server needs to enable the AOF but can't trigger a background AOF rewrite operation. Check the above \
             logs for more info about the error."
        ));
        self.turn_aof_off();
        Err(SetError::Refused("appendonly".into(), "Unable to turn on AOF. Check server logs.".into()))
    }

    /// Turns the log off, with everything in it, if that can be.
    pub(crate) fn turn_aof_off(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        let stopped = engine.stop_aof(self.now_instant, self.now);
        if self.unschedule_rewrite() {
            self.log
                .notice(format_args!("AOF was disabled but there is a scheduled AOF background, cancel it."));
        }
        // Who still waits for the log is told what became of it.
        if let Err(why) = stopped {
            self.log.warning(format_args!("Fail to fsync the AOF file: {why}"));
            self.fail_held(&why.to_string());
        } else {
            self.release_all_held();
        }
        self.aof.is_on = false;
        self.update_wants();
        self.tend_log();
    }

    /// Removes files of the log that were replaced, if the configuration lets us, before anybody is told
    /// that it does.
    pub(crate) fn tidy_aof(&mut self) {
        const NAP: Duration = Duration::from_millis(1);
        const NAPS: u32 = 100;
        for _ in 0..NAPS {
            self.tend_log();
            let is_tidy = |engine: &Engine| engine.aof_manifest().history.is_empty();
            if self.config.aof_disable_auto_gc || self.engine.as_ref().is_none_or(is_tidy) {
                return;
            }
            std::thread::sleep(NAP);
        }
    }

    /// Ends a rewrite because the process is to end. False if it must not: it writes the first base, and
    /// without it what is in memory would be lost.
    pub(crate) fn stop_rewrite_for_shutdown(&mut self, how: ShutdownHow) -> bool {
        if !self.is_rewriting() {
            return true;
        }
        let is_first = self.engine.as_ref().is_some_and(|engine| engine.aof_state() == AofState::Starting);
        if is_first {
            if !how.force {
                self.log.warning(format_args!("Writing initial AOF, can't exit."));
                self.supervisor.tell("STATUS=Writing initial AOF, can't exit.\n", &self.log);
                return false;
            }
            self.log.warning(format_args!("Writing initial AOF. Exit anyway."));
        }
        self.log.warning(format_args!("There is a child rewriting the AOF. Killing it!"));
        if let Some(engine) = &mut self.engine {
            engine.cancel_rewrite();
        }
        true
    }

    /// Writes, syncs and closes the log. False if what was acknowledged may not be in it.
    pub(crate) fn close_log_for_shutdown(&mut self) -> bool {
        if !self.aof.is_on {
            return true;
        }
        self.log.notice(format_args!("Calling fsync() on the AOF file."));
        let Some(engine) = &mut self.engine else { return true };
        let closed = engine.close_aof(self.now_instant, self.now);
        match closed {
            Ok(()) => {
                self.release_all_held();
                true
            }
            Err(why) => {
                self.log.warning(format_args!("Fail to fsync the AOF file: {why}."));
                self.fail_held(&why.to_string());
                false
            }
        }
    }
}
