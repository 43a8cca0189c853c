//! Rewrites: a child writes a new base, and the log goes on in a new increment.
//!
//! Of a log that is on (`Kind::Next`): the thread of the log syncs the increment and makes the next one
//! while writing goes on; then comes the cut, the one instant at which the child is forked. What is logged
//! after it stays in memory until a durable manifest names the next increment, and nothing of it is
//! acknowledged before. Of a log that is turned on, or whose file was given up (`Kind::Fresh`): what is
//! logged after the fork goes to a temporary increment, which gets its name together with the base. Of a
//! log that is off (`Kind::Base`): there is no increment.
//!
//! Names are not used twice, and files that a manifest may name which nobody is sure of stay until a later
//! manifest is durable. Behaviour: valkey src/aof.c.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::event::AofEvent;
use super::log::{Aof, AofState, LogDone, PrepareError, SwitchError, Switched};
use super::store::{self, Naming, StepError, Tidied};
use super::sweep::temp_base_name;
use super::tail::Tail;
use super::write::append_and_sync;
use crate::base::time::UnixMs;
use crate::codec::aof::manifest::{BaseFormat, Entry, Manifest, temp_incr_name};
use crate::persist::apart::Apart;
use crate::persist::base::{self, BaseSettings};
use crate::persist::snapshot::{self, Background, Contents, Producer, Progress, SaveError};
use crate::persist::storage::{DirLock, dir_of};

/// After failed attempts at fresh files the next one waits, twice as long each time, up to this.
const FRESH_AT_MOST: Duration = Duration::from_secs(60);

/// Where the data folder is another one than it was, whoever follows it gets so long to go there before fresh files
/// are made there: they would be taken for somebody else's.
const MOVE_PATIENCE: Duration = Duration::from_secs(2);

/// What a rewrite needs of the engine.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// What is to be written.
    pub contents: Contents<'a>,
    /// Facts for the base.
    pub producer: Producer,
    /// How RDB files are written.
    pub settings: snapshot::Settings,
    /// Where children run.
    pub apart: Apart,
    /// A descriptor that children keep.
    pub kept: Option<i32>,
    /// The lock of the data folder.
    pub lock: Option<&'a dyn DirLock>,
    /// Whether a child may be made: no other one runs.
    pub may_fork: bool,
    /// The monotonic time.
    pub now: Instant,
    /// The time.
    pub unix: UnixMs,
}

/// Why a rewrite was not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Background append only file rewriting already in progress")]
pub struct RewriteRefused;

/// What a rewrite is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Next,
    Fresh,
    Base,
}

/// A child that writes a base.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) child: Background,
    pub(super) temp: PathBuf,
    pub(super) format: BaseFormat,
    pub(super) is_checked: bool,
    pub(super) kind: Kind,
    /// The time of the fork.
    pub(super) unix: UnixMs,
}

/// How far a rewrite is.
#[derive(Debug)]
pub(super) enum Rewrite {
    None,
    /// It begins when it can.
    Wanted,
    /// The lane syncs the increment and makes the next one.
    Preparing(Entry),
    /// The next increment is there: the cut comes when nothing is under way.
    Prepared(Entry, Tail),
    /// The child runs; the lane goes over to the next increment, in which everything from `cut` on goes.
    Switching {
        writer: Box<Writer>,
        entry: Entry,
        next: Tail,
        cut: u64,
    },
    /// The child runs.
    Writing(Box<Writer>),
    /// The other lane gives the base its name.
    Publishing(Box<Publishing>),
}

#[derive(Debug)]
pub(super) struct Publishing {
    pub(super) manifest: Manifest,
    pub(super) kind: Kind,
    pub(super) names: Vec<Naming>,
    /// Positions and bytes of the file that are durable when it is done.
    pub(super) upto: u64,
    pub(super) bytes: u64,
    pub(super) base_bytes: u64,
}

impl Rewrite {
    /// Whether what is logged now belongs to a file that is not named yet.
    pub(super) fn is_switching(&self) -> bool {
        matches!(self, Rewrite::Switching { .. })
    }
}

/// What came of a job on the lane of the folder.
#[derive(Debug)]
pub(super) enum FileDone {
    /// How long it took to name each file.
    Published(Result<Vec<Duration>, StepError>),
    Tidied(Tidied, Vec<Entry>),
}

impl Aof {
    /// Begins a rewrite; it goes on with each poll.
    ///
    /// # Errors
    /// `RewriteRefused` if one is under way.
    pub fn start_rewrite(&mut self, now: Instant) -> Result<(), RewriteRefused> {
        if !matches!(self.rewrite, Rewrite::None) {
            return Err(RewriteRefused);
        }
        if self.state == AofState::On && !self.is_given_up() || self.state == AofState::Off {
            self.rewrite = Rewrite::Wanted;
            self.stats.rewrite_since = Some(now);
            self.stats.rewrites += 1;
        } else {
            self.fresh_at = Some(now);
        }
        Ok(())
    }

    /// Whether a rewrite is under way.
    #[must_use]
    pub fn is_rewriting(&self) -> bool {
        !matches!(self.rewrite, Rewrite::None)
    }

    /// Whether a child writes a base.
    #[must_use]
    pub fn has_child(&self) -> bool {
        matches!(self.rewrite, Rewrite::Switching { .. } | Rewrite::Writing(_))
    }

    /// What the child told last.
    #[must_use]
    pub fn progress(&self) -> Option<Progress> {
        match &self.rewrite {
            Rewrite::Switching { writer, .. } | Rewrite::Writing(writer) => Some(writer.child.progress()),
            _ => None,
        }
    }

    /// The child that writes a base.
    #[must_use]
    pub fn child_pid(&self) -> Option<i32> {
        match &self.rewrite {
            Rewrite::Switching { writer, .. } | Rewrite::Writing(writer) => Some(writer.child.pid()),
            _ => None,
        }
    }

    /// Does what is due: results, retries, syncs, the next step of a rewrite. Returns what has happened.
    pub fn poll(&mut self, around: &Surroundings<'_>) -> Vec<AofEvent> {
        let now = around.now;
        self.take_log_results(now);
        while let Some(done) = self.file_lane.poll() {
            self.take_file_done(done, now);
        }
        // A rewrite goes first: on a busy log the next block would always keep it from the file.
        self.advance(around);
        self.tend(now);
        self.tidy_if_due(now);
        std::mem::take(&mut self.events)
    }

    fn advance(&mut self, around: &Surroundings<'_>) {
        let now = around.now;
        match std::mem::replace(&mut self.rewrite, Rewrite::None) {
            Rewrite::None => {
                let is_wanted = self.state == AofState::Starting || self.is_given_up();
                let is_due = self.fresh_at.is_none_or(|at| {
                    now >= at && (now >= at + MOVE_PATIENCE || !self.is_home_elsewhere(around.lock))
                });
                if is_wanted && is_due && self.is_quiet() && around.may_fork {
                    self.fresh_at = None;
                    self.stats.rewrite_since = Some(now);
                    self.stats.rewrites += 1;
                    self.start_fresh(around);
                }
            }
            Rewrite::Wanted => self.begin_rewrite(around),
            Rewrite::Prepared(_, next) if self.health.is_failed() => {
                let _ = self.storage.remove(next.path());
                self.fail("the log cannot be written", Kind::Next, now);
            }
            Rewrite::Prepared(entry, next) => {
                if self.is_quiet() && self.tail.is_some() && around.may_fork {
                    self.cut(entry, next, around);
                } else {
                    self.rewrite = Rewrite::Prepared(entry, next);
                }
            }
            // A new increment must be here to be named with the base.
            Rewrite::Writing(writer)
                if self.file_lane.is_busy() || (writer.kind == Kind::Fresh && self.is_lent) =>
            {
                self.rewrite = Rewrite::Writing(writer);
            }
            Rewrite::Writing(mut writer) => match writer.child.poll() {
                None => self.rewrite = Rewrite::Writing(writer),
                Some(Ok(saved)) => self.publish(&writer, saved),
                Some(Err(error)) => {
                    // The child removes it by itself unless it was killed.
                    let _ = self.storage.remove(&writer.temp);
                    let is_called_off = matches!(error, SaveError::Child(ended) if ended.is_called_off());
                    match is_called_off {
                        true => self.end(&error.to_string(), writer.kind, now),
                        false => self.fail(&error.to_string(), writer.kind, now),
                    }
                }
            },
            other => self.rewrite = other,
        }
    }

    /// Whether no job is under way.
    fn is_quiet(&self) -> bool {
        !self.log_lane.is_busy() && !self.file_lane.is_busy()
    }

    fn begin_rewrite(&mut self, around: &Surroundings<'_>) {
        let now = around.now;
        self.rewrite = Rewrite::Wanted;
        match self.state {
            AofState::Off if self.is_quiet() && around.may_fork => {
                let forked = match self.make_dir() {
                    Ok(()) => self.fork(Kind::Base, around).ok_or("fork".to_owned()),
                    Err(error) => Err(error.to_string()),
                };
                match forked {
                    Ok(writer) => self.rewrite = Rewrite::Writing(writer),
                    Err(why) => self.fail(&why, Kind::Base, now),
                }
            }
            AofState::On if self.health.is_failed() => {
                self.fail("the log cannot be written", Kind::Next, now);
            }
            AofState::On if !self.log_lane.is_busy() => self.prepare(now),
            _ => {}
        }
    }

    /// Makes the folder, durably, and ends what a crash has interrupted there.
    pub(super) fn make_dir(&self) -> Result<(), StepError> {
        let dir = self.settings.dir.as_path();
        let home = dir_of(dir);
        self.storage.create_dir(dir).map_err(|error| StepError::new("create", dir, error))?;
        self.storage.sync_dir(home).map_err(|error| StepError::new("sync", home, error))?;
        store::settle_unfinished(&*self.storage, &self.place(), self.manifest.live().next().is_some())
    }

    /// Has the increment synced and the next one made, while writing goes on.
    fn prepare(&mut self, now: Instant) {
        let Some(tail) = &self.tail else { return };
        let file = tail.file();
        let is_checked = self.settings.checksum;
        let entry = self.next_incr(is_checked);
        let path = self.place().of(&entry.name);
        let (storage, dir) = (self.storage.clone(), self.settings.dir.clone());
        self.begin_sync(now);
        self.rewrite = Rewrite::Preparing(entry);
        self.log_lane.give(Box::new(move || {
            let made = || {
                let mut next = Tail::create(&*storage, &path, is_checked)
                    .map_err(|error| StepError::new("create", &path, error))?;
                next.sync()
                    .map_err(|error| StepError::new("sync", &path, error))
                    .and_then(|()| {
                        storage.sync_dir(&dir).map_err(|error| StepError::new("sync", &dir, error))
                    })
                    .inspect_err(|_| drop(storage.remove(&path)))?;
                Ok(next)
            };
            let synced = file.sync().map_err(PrepareError::Sync);
            LogDone::Prepared(Box::new(synced.and_then(|()| made().map_err(PrepareError::Step))))
        }));
    }

    pub(super) fn take_prepared(&mut self, result: Result<Tail, PrepareError>, now: Instant) {
        let rewrite = std::mem::replace(&mut self.rewrite, Rewrite::None);
        let is_synced = !matches!(result, Err(PrepareError::Sync(_)));
        if is_synced {
            self.take_synced(Ok(()), now);
        }
        match (result, rewrite) {
            (Ok(next), Rewrite::Preparing(entry)) => self.rewrite = Rewrite::Prepared(entry, next),
            // It was called off.
            (Ok(next), other) => {
                let _ = self.storage.remove(next.path());
                self.rewrite = other;
            }
            (Err(PrepareError::Step(error)), Rewrite::Preparing(_)) => {
                self.fail(&error.to_string(), Kind::Next, now);
            }
            (Err(PrepareError::Step(_)), other) => self.rewrite = other,
            (Err(PrepareError::Sync(error)), other) => {
                self.rewrite = other;
                self.take_synced(Err(error), now);
            }
        }
    }

    /// The instant that divides what the base will hold from what the next increment will.
    fn cut(&mut self, entry: Entry, next: Tail, around: &Surroundings<'_>) {
        let Some(writer) = self.fork(Kind::Next, around) else {
            let _ = self.storage.remove(next.path());
            return self.fail("fork", Kind::Next, around.now);
        };
        let Some(mut old) = self.lend_tail() else { return };
        let mut block = self.take_block();
        let (storage, place) = (self.storage.clone(), self.place());
        let (is_synced, form) = (self.is_synced(), self.settings.manifest_form());
        let mut manifest = self.with_strays();
        let new_entry = entry.clone();
        self.begin_file();
        self.rewrite = Rewrite::Switching { writer, entry, next, cut: self.logged };
        self.log_lane.give(Box::new(move || {
            let committed = old
                .check()
                .and_then(|()| old.trim())
                .and_then(|()| append_and_sync(&mut old, &mut block, is_synced, None));
            let result = committed.map_err(SwitchError::Commit).and_then(|()| {
                if let Some(closed) = manifest.incr.last_mut() {
                    closed.marks.size = Some(old.bytes());
                    closed.marks.crc64 = Some(old.sum());
                    closed.marks.end = None;
                }
                manifest.incr.push(new_entry);
                store::write_manifest(&*storage, &place, &form.text(&manifest)).map_err(SwitchError::Step)
            });
            LogDone::Switched(Box::new(Switched { old, block, manifest, result }))
        }));
    }

    pub(super) fn take_switched(&mut self, switched: Switched, now: Instant) {
        let Switched { old, block, manifest, result } = switched;
        let (writer, entry, next, cut) = match std::mem::replace(&mut self.rewrite, Rewrite::None) {
            Rewrite::Switching { writer, entry, next, cut } => (writer, entry, next, cut),
            other => {
                // The log was closed meanwhile.
                self.rewrite = other;
                self.take_back(old);
                return;
            }
        };
        let is_in_old = !matches!(result, Err(SwitchError::Commit(_)));
        let block = match is_in_old {
            true => {
                self.recycle(block);
                self.note_written(cut, now);
                self.unsynced_since = None;
                self.note_synced(cut);
                None
            }
            false => Some(block),
        };
        match result {
            Ok(()) => {
                self.closed_bytes += old.bytes();
                self.take_back(next);
                self.adopt(manifest);
                self.events.push(AofEvent::IncrCreated { name: name_of(&entry) });
                self.rewrite = Rewrite::Writing(writer);
            }
            Err(SwitchError::Commit(error)) => {
                self.take_back(old);
                self.kill(*writer);
                let _ = self.storage.remove(next.path());
                self.fail("the log could not be written", Kind::Next, now);
                self.take_uncommitted(block, error, now);
            }
            Err(SwitchError::Step(error)) => {
                self.take_back(old);
                self.kill(*writer);
                self.fail(&error.to_string(), Kind::Next, now);
                if error.is_unknown {
                    // Either manifest may be there: what goes to the old file is lost under the new one,
                    // and the other way round.
                    self.strays.push(entry);
                    self.give_up(&error.to_string(), now);
                } else {
                    let _ = self.storage.remove(next.path());
                }
            }
        }
    }

    /// Begins an attempt at fresh files: a temporary increment and a child.
    fn start_fresh(&mut self, around: &Surroundings<'_>) {
        let now = around.now;
        let path = self.settings.dir.join(temp_incr_name(&self.settings.filename));
        let is_ready = self.make_dir().and_then(|()| match self.state {
            AofState::Starting => self.note_off(),
            AofState::On => self.note_missing(),
            AofState::Off => Ok(()),
        });
        let made = is_ready.and_then(|()| {
            Tail::create(&*self.storage, &path, self.settings.checksum)
                .map_err(|error| StepError::new("create", &path, error))
        });
        let tail = match made {
            Ok(tail) => tail,
            Err(error) => return self.fail(&error.to_string(), Kind::Fresh, now),
        };
        self.forget_block();
        self.begin_file();
        match self.fork(Kind::Fresh, around) {
            Some(writer) => {
                self.closed_bytes = 0;
                self.tail = Some(tail);
                self.is_named = false;
                // The base has all that was logged before the fork.
                (self.written, self.file_synced) = (self.logged, self.logged);
                (self.unsynced_since, self.retry_at) = (None, None);
                self.rewrite = Rewrite::Writing(writer);
            }
            None => {
                let _ = self.storage.remove(&path);
                self.fail("fork", Kind::Fresh, now);
            }
        }
    }

    /// Ends an attempt at fresh files.
    pub(super) fn abandon(&mut self, why: &str, now: Instant) {
        self.end_rewrite(why, now);
        self.close_file();
    }

    pub(super) fn base_settings(&self, around: &Surroundings<'_>) -> BaseSettings {
        BaseSettings {
            format: if self.settings.rdb_base { BaseFormat::Rdb } else { BaseFormat::Aof },
            is_checked: self.settings.checksum,
            has_timestamp: self.settings.timestamps,
            rdb: snapshot::Settings { incremental_sync: self.settings.incremental_sync, ..around.settings },
        }
    }

    /// Makes a child that writes the base; `None`, and an event, if there can be none.
    fn fork(&mut self, kind: Kind, around: &Surroundings<'_>) -> Option<Box<Writer>> {
        let base = self.base_settings(around);
        let format = base.format_for(around.contents);
        let dir = self.settings.dir.clone();
        let temp = |pid: u32| dir.join(temp_base_name(pid));
        let Surroundings { apart, kept, ref producer, contents, .. } = *around;
        let started = base::start(apart, kept, &*self.storage, &temp, base, producer, contents);
        match started {
            Ok(child) => {
                self.stats.forks += 1;
                self.stats.last_fork_us = child.fork_us();
                self.events.push(AofEvent::RewriteStarted { pid: child.pid() });
                let temp = temp(child.pid().unsigned_abs());
                let is_checked = self.settings.checksum;
                Some(Box::new(Writer { child, temp, format, is_checked, kind, unix: around.unix }))
            }
            Err(error) => {
                self.events.push(AofEvent::ForkFailed(error.to_string()));
                None
            }
        }
    }

    pub(super) fn note_end(&mut self, now: Instant) {
        if let Some(since) = self.stats.rewrite_since.take() {
            self.stats.last_rewrite = Some(now.saturating_duration_since(since));
        }
    }

    /// A rewrite that is not going on any more has failed.
    pub(super) fn fail(&mut self, why: &str, kind: Kind, now: Instant) {
        self.backoff.failed();
        self.stats.last_rewrite_ok = false;
        self.end(why, kind, now);
    }

    /// A rewrite is not going on any more.
    fn end(&mut self, why: &str, kind: Kind, now: Instant) {
        self.rewrite = Rewrite::None;
        self.note_end(now);
        self.events.push(AofEvent::RewriteFailed(why.to_owned()));
        if kind == Kind::Fresh {
            self.close_file();
            let temp = self.settings.dir.join(temp_incr_name(&self.settings.filename));
            // Best effort: the next attempt removes it first.
            let _ = self.storage.remove(&temp);
            let pause = Duration::from_secs(1 << self.fresh_failures.min(6)).min(FRESH_AT_MOST);
            self.fresh_failures = self.fresh_failures.saturating_add(1);
            self.fresh_at = Some(now + pause);
        }
    }

    /// Ends the rewrite under way because the log's file failed. One that is being published goes on: its
    /// base is whole.
    pub(super) fn end_rewrite(&mut self, why: &str, now: Instant) {
        let kind = match &self.rewrite {
            Rewrite::None | Rewrite::Publishing(_) | Rewrite::Switching { .. } => return,
            Rewrite::Writing(writer) => writer.kind,
            Rewrite::Wanted | Rewrite::Preparing(_) | Rewrite::Prepared(..) => Kind::Next,
        };
        self.drop_rewrite();
        self.fail(why, kind, now);
    }

    /// Calls off what can be called off. Returns the child that was ended.
    pub(super) fn drop_rewrite(&mut self) -> Option<i32> {
        match std::mem::replace(&mut self.rewrite, Rewrite::None) {
            Rewrite::Writing(writer) => Some(self.kill(*writer)),
            Rewrite::Prepared(_, next) => {
                let _ = self.storage.remove(next.path());
                None
            }
            // The result of the job finds that it is not wanted.
            Rewrite::None | Rewrite::Wanted | Rewrite::Preparing(_) => None,
            other @ (Rewrite::Publishing(_) | Rewrite::Switching { .. }) => {
                self.rewrite = other;
                None
            }
        }
    }

    fn kill(&mut self, writer: Writer) -> i32 {
        let pid = writer.child.pid();
        writer.child.end();
        let _ = self.storage.remove(&writer.temp);
        self.events.push(AofEvent::RewriteCancelled { pid });
        pid
    }
}

pub(super) fn name_of(entry: &Entry) -> String {
    String::from_utf8_lossy(&entry.name).into_owned()
}
