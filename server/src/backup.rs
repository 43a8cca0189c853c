//! Online backups in the server: where they go, and what the text log says of them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use cairn_engine::persist::aof::{AofSettings, SyncPolicy};
use cairn_engine::persist::backup::{BackupEvent, BackupRefused, BackupState};

use crate::aof_switch::aof_settings;
use crate::config::Config;
use crate::data::CHILD_POLL;
use crate::server::Server;

/// What the configuration says about a backup's files: those of the log, in a folder of their own. Nobody
/// waits for them to be durable before the seal.
fn backup_settings(config: &Config) -> AofSettings {
    AofSettings {
        dir: Path::new(OsStr::from_bytes(&config.dir)).join(OsStr::from_bytes(&config.backupdirname)),
        policy: SyncPolicy::EverySec,
        no_sync_on_rewrite: false,
        removes_history: true,
        ..aof_settings(config)
    }
}

impl Server {
    /// Looks for a backup that was made before this start.
    pub(crate) fn find_backup(&mut self) {
        let settings = backup_settings(&self.config);
        let Some(engine) = &mut self.engine else { return };
        engine.find_backup(&settings.dir, &settings.filename, self.now_instant);
        match engine.backup().state() {
            BackupState::Sealed => {
                self.log.notice(format_args!("Backup: a sealed one is in {}", settings.dir.display()));
            }
            BackupState::Failed => self.log.warning(format_args!(
                "Backup: one that was never sealed is in {}. BACKUP CLEANUP removes it",
                settings.dir.display()
            )),
            _ => {}
        }
    }

    /// Starts a backup. Inside a transaction the base waits for its end.
    ///
    /// # Errors
    /// `BackupRefused`.
    pub(crate) fn start_backup(&mut self, is_in_transaction: bool) -> Result<(), BackupRefused> {
        let settings = backup_settings(&self.config);
        let Some(engine) = &mut self.engine else { return Err(BackupRefused::NotReady) };
        engine.start_backup(settings, self.now_instant, self.now)?;
        self.log.notice(format_args!("Backup: requested by a client"));
        if !is_in_transaction {
            self.tend_log();
        }
        self.next_cron = self.next_cron.min(self.now_instant + CHILD_POLL);
        Ok(())
    }

    /// Freezes the backup under way.
    ///
    /// # Errors
    /// `BackupRefused`.
    pub(crate) fn seal_backup(&mut self, is_in_transaction: bool) -> Result<(), BackupRefused> {
        let Some(engine) = &mut self.engine else { return Err(BackupRefused::NotReady) };
        let sealed = engine.seal_backup(is_in_transaction, self.now_instant, self.now);
        self.tell_backup_events();
        sealed
    }

    /// Calls the backup under way off.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn abort_backup(&mut self, why: &str) -> Result<(), BackupRefused> {
        let Some(engine) = &mut self.engine else { return Err(BackupRefused::NotInProgress) };
        let aborted = engine.abort_backup(why, self.now_instant);
        self.tell_backup_events();
        aborted
    }

    /// The data become others without a command that says so: a backup cannot follow.
    pub(crate) fn end_backup_without_seal(&mut self, why: &str) {
        // Fine if there is none.
        let _ = self.abort_backup(why);
    }

    /// How far the backup is.
    pub(crate) fn backup_state(&self) -> BackupState {
        self.engine.as_ref().map_or(BackupState::Idle, |engine| engine.backup().state())
    }

    /// Says in the text log what has happened to the backup.
    pub(crate) fn tell_backup_events(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        for event in engine.take_backup_events() {
            if event.is_warning() {
                self.log.warning(format_args!("{event}"));
            } else {
                self.log.notice(format_args!("{event}"));
            }
            if let BackupEvent::Snapshotting { pid } = event {
                self.note_backup_child(pid);
            }
        }
    }

    fn note_backup_child(&mut self, pid: i32) {
        let Some(engine) = &self.engine else { return };
        let fork = Duration::from_micros(engine.snapshot_stats().last_fork_us);
        self.observe_event("fork", fork);
        if let Err(e) = self.oom_score.apply_to_child(&self.config, pid) {
            self.log.warning(format_args!("Unable to write the child's oom_score_adj: {e}"));
        }
        self.next_cron = self.next_cron.min(self.now_instant + CHILD_POLL);
    }
}
