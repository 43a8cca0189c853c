//! The facade of the online backup.

use std::path::Path;
use std::time::{Duration, Instant};

use super::Engine;
use crate::base::time::UnixMs;
use crate::persist::aof::{AofSettings, Unit};
use crate::persist::backup::{Backup, BackupEvent, BackupRefused};

impl Engine {
    /// The backup, to look at.
    pub fn backup(&self) -> &Backup {
        &self.backup
    }

    /// Removes a sealed backup's files after so long; zero: never.
    pub fn keep_sealed_backup_for(&mut self, ttl: Duration) {
        self.backup_ttl = ttl;
    }

    /// Looks whether a process before this one has left a backup in `dir`; the names of its files start with
    /// `filename`. Changes no file.
    pub fn find_backup(&mut self, dir: &Path, filename: &str, now: Instant) {
        self.backup.find(dir, filename, now);
    }

    /// Starts a backup; its base is begun by the next poll that may fork. `settings` say the folder, the
    /// names, and what the files are like.
    ///
    /// # Errors
    /// `BackupRefused`.
    pub fn start_backup(
        &mut self,
        settings: AofSettings,
        now: Instant,
        unix: UnixMs,
    ) -> Result<(), BackupRefused> {
        self.backup.start(settings, now, unix)?;
        self.set_wants(self.wants);
        Ok(())
    }

    /// Freezes the backup with all that commands have done. Inside a transaction, whose commands belong
    /// together, that is without what it has done so far.
    ///
    /// # Errors
    /// `BackupRefused`.
    pub fn seal_backup(
        &mut self,
        is_in_transaction: bool,
        now: Instant,
        unix: UnixMs,
    ) -> Result<(), BackupRefused> {
        if !is_in_transaction {
            self.log_settled(Unit::Transaction, unix);
        }
        let sealed = self.backup.seal(now, unix);
        self.set_wants(self.wants);
        sealed
    }

    /// Calls a backup off and removes its files.
    ///
    /// # Errors
    /// `BackupRefused`: there is none.
    pub fn abort_backup(&mut self, why: &str, now: Instant) -> Result<(), BackupRefused> {
        let had_child = self.writes_base();
        let aborted = self.backup.abort(why, now);
        self.follow_child(had_child);
        self.set_wants(self.wants);
        aborted
    }

    /// Removes the files of a backup that is sealed or has failed.
    ///
    /// # Errors
    /// `BackupRefused`: it is under way.
    pub fn clean_up_backup(&mut self) -> Result<(), BackupRefused> {
        self.backup.clean_up()
    }

    /// What has happened to the backup since the last time.
    pub fn take_backup_events(&mut self) -> Vec<BackupEvent> {
        self.backup.take_events()
    }
}
