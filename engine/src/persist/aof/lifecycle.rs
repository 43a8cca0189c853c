//! Turning the log on and off, going on with what was loaded, and closing it.

use std::time::Instant;

use super::due::{Leave, rewrite_is_due};
use super::event::AofEvent;
use super::log::{Aof, AofState, LogHealth, error_text};
use super::rewrite::{Rewrite, text};
use super::settings::AofSettings;
use super::store;
use super::tail::{AppendError, Tail};
use crate::base::time::UnixMs;
use crate::codec::aof::manifest::{Manifest, temp_incr_name};

/// What a start has found and loaded: the log goes on at its end.
#[derive(Debug)]
pub struct Chain {
    /// What the folder's manifest says, durably.
    pub manifest: Manifest,
    /// The last increment, whole and durable.
    pub tail: Tail,
    /// Bytes of all other live files.
    pub closed_bytes: u64,
    /// Bytes from which growth counts.
    pub base_bytes: u64,
}

/// Why a log could not be closed with everything in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CloseError(pub String);

impl Aof {
    /// Is on, behind what was loaded.
    pub fn resume(&mut self, chain: Chain, now: Instant) {
        let Chain { manifest, tail, closed_bytes, base_bytes } = chain;
        self.manifest = manifest;
        (self.closed_bytes, self.base_bytes) = (closed_bytes, base_bytes);
        self.tail = Some(tail);
        (self.state, self.is_named) = (AofState::On, true);
        self.begin_file();
        self.tidy_at = Some(now);
    }

    /// Knows the files of a log that stays off: they are replaced when it is turned on.
    pub fn know(&mut self, manifest: Manifest) {
        self.manifest = manifest;
    }

    /// Turns the log on: its first base is begun with the next poll, and until that is durable nothing is
    /// promised. Nothing if it is on.
    pub fn start(&mut self, now: Instant) {
        if self.state != AofState::Off {
            return;
        }
        self.state = AofState::Starting;
        self.health = LogHealth::Fine;
        (self.fresh_at, self.fresh_failures) = (Some(now), 0);
        self.last_sync = Some(now);
    }

    /// Turns the log off: everything in it is made durable, and the manifest says since when it is off.
    ///
    /// # Errors
    /// It is off all the same; what was logged last may be missing in it, or the manifest does not say that
    /// it is off.
    pub fn stop(&mut self, now: Instant, unix: UnixMs) -> Result<(), CloseError> {
        if self.state == AofState::Off {
            return Ok(());
        }
        let finished = self.finish(now);
        let mut marked = Ok(());
        let mut manifest = self.with_strays();
        if manifest.live().next().is_some() {
            let files = manifest.base.iter_mut().chain(&mut manifest.history).chain(&mut manifest.incr);
            files.for_each(|entry| entry.marks.off_since = Some(unix));
            marked = self.replace_manifest(manifest);
        }
        self.close_file();
        self.state = AofState::Off;
        self.health = LogHealth::Fine;
        (self.retry_at, self.fresh_at) = (None, None);
        if finished.is_ok() {
            self.synced = self.logged;
        }
        finished.and(marked)
    }

    /// Closes the log for good: everything in it is made durable, and the manifest says where it ends.
    ///
    /// # Errors
    /// What was logged last may be missing after a power cut.
    pub fn close(&mut self, now: Instant) -> Result<(), CloseError> {
        if self.state == AofState::Off {
            self.drop_rewrite();
            return Ok(());
        }
        let is_whole = self.state == AofState::On && self.finish(now).map(|()| true)?;
        if !is_whole {
            self.drop_rewrite();
            return Ok(());
        }
        let mut manifest = self.manifest.clone();
        if let (Some(last), Some(tail)) = (manifest.incr.last_mut(), &self.tail)
            && self.settings.checksum
        {
            last.marks.end = Some(tail.bytes());
            self.replace_manifest(manifest)?;
        }
        Ok(())
    }

    /// Waits for jobs, ends the child, and makes everything durable that was logged.
    fn finish(&mut self, now: Instant) -> Result<(), CloseError> {
        self.wait(now);
        self.drop_rewrite();
        self.wait(now);
        if self.state == AofState::Starting {
            let temp = self.settings.dir.join(temp_incr_name(&self.settings.filename));
            let _ = self.storage.remove(&temp);
            return Ok(());
        }
        let failed = |health: &LogHealth| Err(CloseError(health.to_string()));
        if self.is_given_up() {
            return failed(&self.health);
        }
        let is_synced = self.is_synced();
        let Some(tail) = &mut self.tail else { return Err(CloseError("the log has no file".to_owned())) };
        if !self.block.is_empty() {
            match tail.append(&mut self.block, is_synced) {
                Ok(()) => {
                    self.block.clear(0);
                    self.written = self.logged;
                }
                Err(AppendError::Undone(error) | AppendError::Stuck(error)) => {
                    return Err(CloseError(error_text(&error)));
                }
            }
        }
        match tail.sync() {
            Ok(()) => {
                self.note_synced(self.written);
                self.unsynced_since = None;
                Ok(())
            }
            Err(error) => {
                self.give_up(&error_text(&error), now);
                failed(&self.health)
            }
        }
    }

    /// Waits for what is under way on both lanes.
    pub fn wait(&mut self, now: Instant) {
        while let Some(done) = self.log_lane.wait() {
            self.take_log_done(done, now);
        }
        while let Some(done) = self.file_lane.wait() {
            self.take_file_done(done, now);
        }
    }

    fn replace_manifest(&mut self, manifest: Manifest) -> Result<(), CloseError> {
        let text = text(&manifest, self.settings.checksum);
        store::write_manifest(&*self.storage, &self.place(), &text)
            .map_err(|error| CloseError(error.to_string()))?;
        self.manifest = manifest;
        self.strays.clear();
        Ok(())
    }

    /// Calls off the rewrite under way, but for one whose base is written. Returns the child that was ended.
    pub fn cancel_rewrite(&mut self) -> Option<i32> {
        let is_fresh = self.state == AofState::Starting || self.is_given_up();
        let pid = self.drop_rewrite();
        if matches!(self.rewrite, Rewrite::None) {
            self.stats.rewrite_since = None;
            if is_fresh && pid.is_some() {
                self.close_file();
            }
        }
        pid
    }

    /// Whether the log has grown enough for a rewrite, and failures allow one. Events tell of pauses.
    pub fn wants_rewrite(&mut self, now: Instant) -> bool {
        let AofSettings { rewrite_percentage, rewrite_min_bytes, .. } = self.settings;
        self.state == AofState::On
            && !self.is_rewriting()
            && !self.is_given_up()
            && rewrite_is_due(self.bytes(), self.base_bytes, rewrite_percentage, rewrite_min_bytes)
            && self.may_retry(now)
    }

    /// Whether a rewrite that was put off may begin, or has failed too often for that.
    pub fn may_retry(&mut self, now: Instant) -> bool {
        match self.backoff.ask(now) {
            Leave::Go => true,
            Leave::Wait => false,
            Leave::WaitFrom(minutes) => {
                self.events.push(AofEvent::Limited { minutes });
                false
            }
        }
    }

    /// Somebody has asked for a rewrite: former failures do not count.
    pub fn forget_failures(&mut self) {
        self.backoff.reset();
    }
}
