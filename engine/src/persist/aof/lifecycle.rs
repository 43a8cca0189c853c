//! Turning the log on and off, going on with what was loaded, and closing it.

use std::time::Instant;

use super::due::{Leave, rewrite_is_due};
use super::event::AofEvent;
use super::log::{Aof, AofState, CommitError, LogHealth};
use super::rewrite::{Rewrite, Surroundings, name_of};
use super::settings::AofSettings;
use super::store::{self, Naming, StepError};
use super::sweep::temp_base_name;
use super::tail::Tail;
use super::write::error_text;
use crate::base::time::UnixMs;
use crate::codec::aof::manifest::{Manifest, temp_incr_name};
use crate::persist::base;
use crate::persist::recover::LastIncr;

/// What a start has found and loaded: the log goes on behind it.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// What the folder's manifest says. Without a base or an increment the data came from elsewhere; what
    /// it has for history goes.
    pub manifest: Manifest,
    /// The last increment, if there is one to go on with.
    pub last: Option<LastFile>,
    /// Bytes of all live files.
    pub bytes: u64,
    /// Bytes of the base, from which growth counts.
    pub base_bytes: u64,
}

/// An increment that is whole.
#[derive(Debug, Clone)]
pub struct LastFile {
    /// Its name.
    pub name: Vec<u8>,
    /// Bytes of the log in it.
    pub bytes: u64,
    /// Its size: behind the log there may be a reserve.
    pub file_bytes: u64,
    /// CRC-64 of the log's bytes.
    pub sum: u64,
    /// Whether another file is to follow it: another server has written behind its reserve.
    pub is_closed: bool,
}

/// Why a log could not be closed with everything in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CloseError(pub String);

impl From<LastIncr> for LastFile {
    fn from(last: LastIncr) -> LastFile {
        let LastIncr { name, bytes, file_bytes, crc64, is_closed } = last;
        LastFile { name, bytes, file_bytes, sum: crc64, is_closed }
    }
}

impl Aof {
    /// Is on, behind what was loaded: opens the last increment or begins the next one, with a base of
    /// what is in memory if there is none. When it returns all of that is durable.
    ///
    /// # Errors
    /// What the disk said; the log is off.
    pub fn begin(&mut self, found: Found, around: &Surroundings<'_>) -> Result<Vec<AofEvent>, CloseError> {
        let begun = self.open_or_create(found, around);
        if begun.is_ok() {
            (self.state, self.is_named) = (AofState::On, true);
            self.begin_file();
            self.tidy_at = Some(around.now);
        }
        begun.map(|()| std::mem::take(&mut self.events)).map_err(|error| CloseError(error.to_string()))
    }

    fn open_or_create(&mut self, found: Found, around: &Surroundings<'_>) -> Result<(), StepError> {
        let Found { manifest, last, bytes, base_bytes } = found;
        self.manifest = manifest;
        self.make_dir()?;
        let was_off = self.clear_off();
        let blocks = self.manifest.incr.last().is_some_and(|entry| entry.marks.blocks.is_some());
        match last {
            // What is appended must be as checked as the settings want it.
            Some(last) if blocks == self.settings.checksum && !last.is_closed => {
                self.open_last(&last)?;
                let is_later = self.note_whole_to(last.bytes);
                let text = self.settings.manifest_form().text(&self.manifest);
                if was_off || !store::has_manifest(&*self.storage, &self.place())? {
                    store::write_manifest(&*self.storage, &self.place(), &text)?;
                } else if is_later {
                    // What it says already is right. A start goes on where nothing can be written.
                    let _ = store::write_manifest(&*self.storage, &self.place(), &text);
                }
                self.closed_bytes = bytes.saturating_sub(last.bytes);
                self.base_bytes = base_bytes;
            }
            last => {
                if let (Some(last), Some(entry)) = (&last, self.manifest.incr.last_mut()) {
                    entry.marks.size = Some(last.bytes);
                    entry.marks.crc64 = Some(last.sum);
                    entry.marks.end = None;
                    let path = self.place().of(&last.name);
                    let (storage, checksum) = (&*self.storage, self.settings.checksum);
                    Tail::open(storage, &path, last, checksum)
                        .and_then(|mut file| file.sync())
                        .map_err(|error| StepError::new("sync", &path, error))?;
                }
                (self.closed_bytes, self.base_bytes) = (bytes, base_bytes);
                self.create_files(around)?;
            }
        }
        Ok(())
    }

    /// Notes that the last increment is whole, and durable, up to here. True if less was known.
    fn note_whole_to(&mut self, bytes: u64) -> bool {
        let is_checked = self.settings.checksum;
        let Some(last) = self.manifest.incr.last_mut().filter(|_| is_checked) else { return false };
        let is_later = bytes > last.marks.end.unwrap_or(0);
        if is_later {
            last.marks.end = Some(bytes);
        }
        is_later
    }

    /// Forgets that the log was off. True if it was.
    fn clear_off(&mut self) -> bool {
        let Manifest { base, history, incr, .. } = &mut self.manifest;
        let files = base.iter_mut().chain(history).chain(incr);
        files.filter_map(|entry| entry.marks.off_since.take()).count() > 0
    }

    fn open_last(&mut self, last: &LastFile) -> Result<(), StepError> {
        let path = self.place().of(&last.name);
        let mut tail = Tail::open(&*self.storage, &path, last, self.settings.checksum)
            .map_err(|error| StepError::new("open", &path, error))?;
        // It was read, which does not say that it is durable.
        tail.sync().map_err(|error| StepError::new("sync", &path, error))?;
        let dir = self.settings.dir.as_path();
        self.storage.sync_dir(dir).map_err(|error| StepError::new("sync", dir, error))?;
        self.tail = Some(tail);
        self.events.push(AofEvent::Opened { name: String::from_utf8_lossy(&last.name).into_owned() });
        Ok(())
    }

    /// The next increment, and a base if the log has no file at all.
    fn create_files(&mut self, around: &Surroundings<'_>) -> Result<(), StepError> {
        let place = self.place();
        let mut names = Vec::new();
        let mut manifest = self.manifest.clone();
        if manifest.live().next().is_none() {
            let settings = self.base_settings(around);
            let mut entry = self.next_base(settings.format_for(around.contents));
            let temp = place.dir.join(temp_base_name(std::process::id()));
            let saved =
                base::write(&*self.storage, &temp, settings, &around.producer, around.contents, &mut |_| {})
                    .map_err(|error| {
                        StepError::new("write", &temp, std::io::Error::other(error.to_string()))
                    })?;
            entry.marks.size = Some(saved.bytes);
            entry.marks.crc64 = saved.sum;
            entry.marks.blocks = saved.sum.and(settings.is_checked.then_some(0));
            names.push(Naming { from: temp, to: place.of(&entry.name) });
            self.events.push(AofEvent::Created { what: "base", name: name_of(&entry) });
            (self.closed_bytes, self.base_bytes) = (saved.bytes, saved.bytes);
            manifest.base = Some(entry);
        }
        let entry = self.next_incr(self.settings.checksum);
        let temp = place.dir.join(temp_incr_name(&place.filename));
        let mut tail = Tail::create(&*self.storage, &temp, self.settings.checksum)
            .map_err(|error| StepError::new("create", &temp, error))?;
        tail.sync().map_err(|error| StepError::new("sync", &temp, error))?;
        names.push(Naming { from: temp, to: place.of(&entry.name) });
        self.events.push(AofEvent::Created { what: "incr", name: name_of(&entry) });
        manifest.incr.push(entry);
        let text = self.settings.manifest_form().text(&manifest);
        store::publish(&*self.storage, &place, &names, &text)?;
        self.adopt(manifest);
        self.tail = Some(tail);
        Ok(())
    }

    /// Knows the files of a log that stays off from `unix` on: they are replaced when it is turned on.
    pub fn know(&mut self, mut manifest: Manifest, unix: UnixMs) {
        self.is_known_off = manifest.entries().next().is_none();
        for entry in manifest.base.iter_mut().chain(&mut manifest.incr) {
            entry.marks.off_since.get_or_insert(unix);
        }
        self.manifest = manifest;
    }

    /// Has the manifest say that its files may be old, unless it does: until there is a new base, a start
    /// must not take them for newer than a snapshot.
    pub(super) fn note_off(&mut self) -> Result<(), StepError> {
        if self.is_known_off {
            return Ok(());
        }
        let text = self.settings.manifest_form().text(&self.manifest);
        store::write_manifest(&*self.storage, &self.place(), &text)?;
        self.is_known_off = true;
        Ok(())
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
        // It is tried again with the first base.
        let _ = self.make_dir().and_then(|()| self.note_off());
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
            // A file that is longer than this has been used by another server. Nobody can tell that of one
            // whose end is not sure.
            let whole = self.tail.as_ref().filter(|_| finished.is_ok() && self.is_named);
            if let Some(last) = manifest.incr.last_mut() {
                last.marks.end = whole.map(Tail::bytes);
            }
            marked = self.replace_manifest(manifest);
        }
        self.is_known_off = marked.is_ok();
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
        let is_foreign = match tail.check() {
            // What another process has written stays, so what is not in the file yet has to go to another one, as
            // does all of a file that nobody finds.
            Err(CommitError::Foreign(why)) if !self.block.is_empty() || tail.is_missed() => {
                self.leave_file(&why, now);
                return failed(&self.health);
            }
            looked => looked.is_err(),
        };
        if !self.block.is_empty() {
            match tail.append(&mut self.block, is_synced) {
                Ok(()) => {
                    self.block.clear(0);
                    self.written = self.logged;
                }
                Err(CommitError::Append(error)) => return Err(CloseError(error_text(&error))),
                Err(CommitError::Foreign(why)) => return Err(CloseError(why)),
                Err(CommitError::Sync(error)) => {
                    self.give_up(&error_text(&error), now);
                    return failed(&self.health);
                }
            }
        }
        let trimmed = if is_foreign { Ok(()) } else { tail.trim() };
        let synced = match trimmed {
            Ok(()) => tail.sync(),
            Err(CommitError::Sync(error)) => Err(error),
            Err(CommitError::Foreign(why)) => return Err(CloseError(why)),
            Err(CommitError::Append(error)) => return Err(CloseError(error_text(&error))),
        };
        match synced {
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
        let text = self.settings.manifest_form().text(&manifest);
        store::write_manifest(&*self.storage, &self.place(), &text)
            .map_err(|error| CloseError(error.to_string()))?;
        self.adopt(manifest);
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

    /// Whether an attempt at fresh files after a failed sync is due, for which it needs a child.
    #[must_use]
    pub fn wants_fresh_files(&self, now: Instant) -> bool {
        self.is_given_up() && !self.is_rewriting() && self.fresh_at.is_none_or(|at| now >= at)
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
