//! The facade of the append only file: what is logged, how far it is safe, rewrites, on and off.
//!
//! The caller has each turn end with `log_settled` and `flush_log`, sends replies up to
//! `acked_position`, and polls now and then and when it is woken.

use std::path::PathBuf;
use std::time::Instant;

use super::Engine;
use crate::base::time::UnixMs;
use crate::codec::aof::manifest::Manifest;
use crate::persist::aof::{
    self, Aof, AofEvent, AofSettings, AofState, AofStats, CloseError, Found, LogHealth, RewriteRefused,
    Surroundings, Unit, Wake,
};
use crate::persist::backup::Backup;
use crate::persist::snapshot::Progress;
use crate::persist::storage::LogState;

impl Engine {
    /// Settings of the append only file.
    pub fn aof_settings(&self) -> &AofSettings {
        self.aof.settings()
    }

    /// Changes the settings; while the log is on, the names stay what they are, and its file has
    /// checksums or not as it had before.
    pub fn configure_aof(&mut self, settings: AofSettings) {
        self.aof.configure(settings);
    }

    /// Has `wake` called, on another thread, whenever `poll_aof` would find something new. To be called
    /// before the log is used.
    pub fn set_wake(&mut self, wake: Wake) {
        self.backup.set_wake(wake.clone());
        self.aof.set_wake(self.apart, wake);
    }

    /// Whether the log is on.
    pub fn aof_state(&self) -> AofState {
        self.aof.state()
    }

    /// Whether damage to what is written now would show: the file at the log's end consists of checked
    /// blocks. While there is none, whether the next one will.
    pub fn aof_is_checked(&self) -> bool {
        self.aof.is_checked()
    }

    /// The manifest that the log's folder has, as far as this engine has read or written it.
    pub fn aof_manifest(&self) -> &Manifest {
        self.aof.manifest()
    }

    /// Logs what calls have done since the last time, and forgets it. `unit` says whether it belongs
    /// together. Nothing is logged while the log is off.
    pub fn log_settled(&mut self, unit: Unit, unix: UnixMs) {
        self.aof.log(self.effects.log(), unit, unix);
        self.backup.log(self.effects.log(), unit, unix);
        self.effects.clear_log();
    }

    /// Logs so many commands of database `db` that are not in `effects`, one behind the other in the form in
    /// which logs have them.
    pub fn log_requests(&mut self, db: usize, requests: &[u8], count: u64, unix: UnixMs) {
        self.aof.log_as_sent(db, requests, count, unix);
        if self.backup.is_logging() {
            self.backup.log(std::iter::once((db, requests)), Unit::Transaction, unix);
        }
    }

    /// End of everything logged: bytes since the process began.
    pub fn log_position(&self) -> u64 {
        self.aof.logged()
    }

    /// Has written what was logged, or under `always` hands it to the thread that writes and syncs. To be
    /// called before replies are sent.
    pub fn flush_log(&mut self, now: Instant) {
        self.aof.flush(now);
    }

    /// Replies to what was logged up to here may go out.
    pub fn acked_position(&self, now: Instant) -> u64 {
        self.aof.acked(now)
    }

    /// Everything logged up to here survives a power cut.
    pub fn synced_position(&self) -> u64 {
        self.aof.synced()
    }

    /// Whether writes can be acknowledged. If not, they are to be refused, and those that wait for
    /// `acked_position` have failed.
    pub fn log_health(&self) -> &LogHealth {
        self.aof.health()
    }

    /// Takes results of other threads and of the child, syncs, retries, goes on with a rewrite. Returns
    /// what has happened.
    pub fn poll_aof(&mut self, now: Instant, unix: UnixMs, used_memory: u64) -> Vec<AofEvent> {
        // A child must not see what is logged after it was forked.
        if self.effects.log().next().is_some() {
            self.log_settled(Unit::Transaction, unix);
        }
        let (had_child, forks) = (self.writes_base(), self.aof.stats(now).forks);
        self.keyspace.tick(unix);
        let (aof, around) = self.aof_and_surroundings(now, unix, used_memory);
        let events = aof.poll(&around);
        let stats = self.aof.stats(now);
        if stats.forks > forks {
            self.snapshot_stats.forks += stats.forks - forks;
            self.snapshot_stats.last_fork_us = stats.last_fork_us;
        }
        self.poll_backup(now, unix, used_memory);
        self.follow_child(had_child);
        events
    }

    fn poll_backup(&mut self, now: Instant, unix: UnixMs, used_memory: u64) {
        if self.backup.is_at_rest() {
            return;
        }
        let was_logging = self.backup.is_logging();
        let (forks, _) = self.backup.forks(now);
        let ttl = self.backup_ttl;
        let may_fork = self.running.is_none() && !self.aof.has_child();
        // It is out of the engine for as long as it looks at the engine.
        let idle = Backup::new(self.storage.clone(), self.apart);
        let mut backup = std::mem::replace(&mut self.backup, idle);
        let (_, around) = self.aof_and_surroundings(now, unix, used_memory);
        backup.poll(&Surroundings { may_fork, ..around }, ttl);
        self.backup = backup;
        let (forks_now, last_us) = self.backup.forks(now);
        if forks_now > forks {
            self.snapshot_stats.forks += forks_now - forks;
            self.snapshot_stats.last_fork_us = last_us;
        }
        if was_logging && !self.backup.is_logging() {
            self.set_wants(self.wants);
        }
    }

    /// Whether a child writes a base.
    pub(super) fn writes_base(&self) -> bool {
        self.aof.has_child() || self.backup.has_child()
    }

    fn aof_and_surroundings(
        &mut self,
        now: Instant,
        unix: UnixMs,
        used_memory: u64,
    ) -> (&mut Aof, Surroundings<'_>) {
        let unix = self.not_before_stamps(unix);
        let around = Surroundings {
            contents: super::Contents { keyspace: &self.keyspace, carried: &self.carried },
            producer: super::Producer {
                redis_version: self.redis_version,
                created_at: unix,
                used_memory,
                is_aof_base: true,
                stamp: None,
            },
            settings: self.settings,
            apart: self.apart,
            kept: self.lock.as_ref().and_then(|lock| lock.descriptor()),
            lock: self.lock.as_deref(),
            may_fork: self.running.is_none() && !self.backup.has_child(),
            now,
            unix,
        };
        (&mut self.aof, around)
    }

    /// The time for a manifest: no snapshot of this folder says a later one, and the next one will.
    fn not_before_stamps(&mut self, unix: UnixMs) -> UnixMs {
        self.last_stamp = self.last_stamp.max(unix);
        self.last_stamp
    }

    /// Takes note of a child that came or went.
    pub(super) fn follow_child(&mut self, had_child: bool) {
        match (had_child, self.writes_base()) {
            (false, true) => self.child_started(),
            (true, false) => self.child_ended(),
            _ => {}
        }
    }

    /// When `poll_aof` has something to do, if nothing happens before.
    pub fn next_aof_poll(&self) -> Option<Instant> {
        self.aof.next_poll().into_iter().chain(self.backup.next_poll(self.backup_ttl)).min()
    }

    /// Begins a rewrite: of the log, or, while it is off, of a base that a later start may load. The
    /// caller has made sure that no snapshot is being written.
    ///
    /// # Errors
    /// `RewriteRefused` if one is under way.
    pub fn start_rewrite(&mut self, now: Instant) -> Result<(), RewriteRefused> {
        self.aof.start_rewrite(now)
    }

    /// True from the beginning of a rewrite to its end.
    pub fn is_rewriting(&self) -> bool {
        self.aof.is_rewriting()
    }

    /// True while a child writes a snapshot or a base.
    pub fn has_child(&self) -> bool {
        self.running.is_some() || self.writes_base()
    }

    /// What the rewriting child told last.
    pub fn rewrite_progress(&self) -> Option<Progress> {
        self.aof.progress()
    }

    /// The rewriting child.
    pub fn rewrite_pid(&self) -> Option<i32> {
        self.aof.child_pid()
    }

    /// Calls off the rewrite under way. Returns the child that was ended.
    pub fn cancel_rewrite(&mut self) -> Option<i32> {
        let had_child = self.writes_base();
        let pid = self.aof.cancel_rewrite();
        self.follow_child(had_child);
        pid
    }

    /// Whether the log must be begun anew because a sync has failed, and now is the time for it: no other
    /// child may keep it waiting.
    pub fn wants_fresh_log(&self, now: Instant) -> bool {
        self.aof.wants_fresh_files(now)
    }

    /// Whether the log has grown so much that it is to be rewritten by itself.
    pub fn wants_rewrite(&mut self, now: Instant) -> bool {
        self.aof.wants_rewrite(now)
    }

    /// Whether a rewrite that was put off may begin: not so soon after repeated failures.
    pub fn may_retry_rewrite(&mut self, now: Instant) -> bool {
        self.aof.may_retry(now)
    }

    /// Somebody has asked for a rewrite: former failures put it off no longer.
    pub fn forget_rewrite_failures(&mut self) {
        self.aof.forget_failures();
    }

    /// Has the log on behind what a start has loaded: opens the last increment, or makes a new one, with
    /// a base of what is in memory if there is none. Nothing else has happened yet. Returns what was done.
    ///
    /// # Errors
    /// What the disk said; the log is off.
    pub fn begin_aof(
        &mut self,
        found: Found,
        now: Instant,
        unix: UnixMs,
    ) -> Result<Vec<AofEvent>, CloseError> {
        self.effects.clear_log();
        let (aof, around) = self.aof_and_surroundings(now, unix, 0);
        let begun = aof.begin(found, &around);
        self.set_wants(self.wants);
        begun
    }

    /// Knows the files of a log that stays off. A snapshot that was made since this engine began counts as
    /// newer.
    pub fn know_aof(&mut self, manifest: Manifest) {
        let off = manifest.entries().filter_map(|(_, entry)| entry.marks.off_since).max();
        self.last_stamp = self.last_stamp.max(self.snapshot_stats.last_save).max(off.unwrap_or(UnixMs(0)));
        self.aof.know(manifest, self.snapshot_stats.last_save);
    }

    /// Where the log's manifest lies and the files that hold the data, the one at the end last. Nothing while
    /// there are none that can be believed.
    pub fn aof_files(&self) -> Vec<PathBuf> {
        self.aof.live_files()
    }

    /// What has become of the file at the log's end, whatever its name leads to; `None` while it is being written
    /// to.
    pub fn open_aof_file(&self) -> Option<LogState> {
        self.aof.open_file()
    }

    /// Whether another log has come to where this one is.
    pub fn has_other_aof(&self) -> bool {
        self.aof.has_other_log()
    }

    /// Somebody has changed the log's files: they are not believed any more, and writes are not acknowledged
    /// until everything has been rewritten to fresh ones.
    pub fn distrust_aof(&mut self, why: &str, now: Instant) {
        let had_child = self.writes_base();
        self.aof.distrust(why, now);
        self.follow_child(had_child);
    }

    /// The same where another file has come in the place of the last one: that is kept under a second name.
    pub fn leave_aof(&mut self, why: &str, now: Instant) {
        let had_child = self.writes_base();
        self.aof.leave_file(why, now);
        self.follow_child(had_child);
    }

    /// Turns the log on. Its first base is begun by the next poll that may fork.
    pub fn start_aof(&mut self, now: Instant) {
        self.aof.start(now);
        self.set_wants(self.wants);
    }

    /// Turns the log off, with everything in it.
    ///
    /// # Errors
    /// `CloseError`; the log is off all the same.
    pub fn stop_aof(&mut self, now: Instant, unix: UnixMs) -> Result<(), CloseError> {
        self.log_settled(Unit::Transaction, unix);
        let had_child = self.writes_base();
        let unix = self.not_before_stamps(unix);
        let stopped = self.aof.stop(now, unix);
        self.follow_child(had_child);
        self.set_wants(self.wants);
        stopped
    }

    /// Closes the log before the process ends.
    ///
    /// # Errors
    /// `CloseError`: not everything in it is durable.
    pub fn close_aof(&mut self, now: Instant, unix: UnixMs) -> Result<(), CloseError> {
        self.log_settled(Unit::Transaction, unix);
        let had_child = self.writes_base();
        let closed = self.aof.close(now);
        self.follow_child(had_child);
        closed
    }

    /// Numbers for INFO.
    pub fn aof_stats(&self, now: Instant) -> AofStats {
        self.aof.stats(now)
    }

    /// Bytes of memory that wait to be written.
    pub fn aof_memory_bytes(&self) -> usize {
        self.aof.memory_bytes()
    }

    /// Removes what dead processes have left in the log's folder. Returns what was removed.
    pub fn sweep_aof(&self) -> Vec<PathBuf> {
        aof::sweep(self.storage.as_ref(), self.aof.settings())
    }
}
