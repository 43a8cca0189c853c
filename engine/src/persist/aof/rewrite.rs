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

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::event::AofEvent;
use super::log::{Aof, AofState, LogDone, LogHealth, PrepareError, SwitchError, Switched, append_and_sync};
use super::store::{self, Naming, StepError, Tidied};
use super::sweep::temp_base_name;
use super::tail::Tail;
use crate::base::time::UnixMs;
use crate::codec::aof::manifest::{BaseFormat, Entry, Manifest, Marks, temp_incr_name};
use crate::persist::apart::Apart;
use crate::persist::base::{self, BaseSettings};
use crate::persist::snapshot::{self, Background, Contents, Producer, Progress, Saved};

/// After failed attempts at fresh files the next one waits, twice as long each time, up to this.
const FRESH_AT_MOST: Duration = Duration::from_secs(60);
/// Replaced files that could not be removed are tried again after this.
const TIDY_AGAIN_AFTER: Duration = Duration::from_secs(60);

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
    child: Background,
    temp: PathBuf,
    format: BaseFormat,
    is_checked: bool,
    kind: Kind,
    /// The time of the fork.
    unix: UnixMs,
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
    manifest: Manifest,
    kind: Kind,
    names: Vec<Naming>,
    /// Positions and bytes of the file that are durable when it is done.
    upto: u64,
    bytes: u64,
    base_bytes: u64,
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
    Published(Result<(), StepError>),
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
        self.tend(now);
        while let Some(done) = self.file_lane.poll() {
            self.take_file_done(done, now);
        }
        self.advance(around);
        self.tidy_if_due(now);
        std::mem::take(&mut self.events)
    }

    fn advance(&mut self, around: &Surroundings<'_>) {
        let now = around.now;
        match std::mem::replace(&mut self.rewrite, Rewrite::None) {
            Rewrite::None => {
                let is_wanted = self.state == AofState::Starting || self.is_given_up();
                if is_wanted && self.fresh_at.is_none_or(|at| now >= at) && self.is_quiet() && around.may_fork
                {
                    self.fresh_at = None;
                    self.stats.rewrite_since = Some(now);
                    self.stats.rewrites += 1;
                    self.start_fresh(around);
                }
            }
            Rewrite::Wanted => self.begin(around),
            Rewrite::Prepared(entry, next) => {
                if self.is_quiet() && self.tail.is_some() && around.may_fork && !self.health.is_failed() {
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
                    self.fail(&error.to_string(), writer.kind, now);
                }
            },
            other => self.rewrite = other,
        }
    }

    /// Whether no job is under way.
    fn is_quiet(&self) -> bool {
        !self.log_lane.is_busy() && !self.file_lane.is_busy()
    }

    fn begin(&mut self, around: &Surroundings<'_>) {
        self.rewrite = Rewrite::Wanted;
        match self.state {
            AofState::Off if self.is_quiet() && around.may_fork => {
                self.rewrite = match self.fork(Kind::Base, around) {
                    Some(writer) => Rewrite::Writing(writer),
                    None => return self.fail("fork", Kind::Base, around.now),
                };
            }
            AofState::On if !self.log_lane.is_busy() => self.prepare(around.now),
            _ => {}
        }
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
            LogDone::Prepared(synced.and_then(|()| made().map_err(PrepareError::Step)))
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
        let Some(mut old) = self.tail.take() else { return };
        let mut block = self.take_block();
        let (storage, place) = (self.storage.clone(), self.place());
        let (is_synced, is_checked) = (self.is_synced(), self.settings.checksum);
        let mut manifest = self.with_strays();
        let new_entry = entry.clone();
        self.begin_file();
        self.is_lent = true;
        self.rewrite = Rewrite::Switching { writer, entry, next, cut: self.logged };
        self.log_lane.give(Box::new(move || {
            let committed = append_and_sync(&mut old, &mut block, is_synced).map_err(SwitchError::Commit);
            let result = committed.and_then(|()| {
                if let Some(closed) = manifest.incr.last_mut() {
                    closed.marks.size = Some(old.bytes());
                    closed.marks.crc64 = Some(old.sum());
                    closed.marks.end = None;
                }
                manifest.incr.push(new_entry);
                store::write_manifest(&*storage, &place, &text(&manifest, is_checked))
                    .map_err(SwitchError::Step)
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
                self.manifest = manifest;
                self.strays.clear();
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
        let made = self
            .storage
            .create_dir(&self.settings.dir)
            .map_err(|error| StepError::new("create", &self.settings.dir, error))
            .and_then(|()| {
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

    /// Makes a child that writes the base; `None`, and an event, if there can be none.
    fn fork(&mut self, kind: Kind, around: &Surroundings<'_>) -> Option<Box<Writer>> {
        let base = BaseSettings {
            format: if self.settings.rdb_base { BaseFormat::Rdb } else { BaseFormat::Aof },
            is_checked: self.settings.checksum,
            has_timestamp: self.settings.timestamps,
            rdb: around.settings,
        };
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

    /// The next increment's entry.
    fn next_incr(&mut self, is_checked: bool) -> Entry {
        let name = |seq: i64| format!("{}.{seq}.incr.aof", self.settings.filename).into_bytes();
        let mut seq = self.manifest.incr_seq.saturating_add(1);
        while self.is_taken(&name(seq)) {
            seq = seq.saturating_add(1);
        }
        let name = name(seq);
        self.manifest.incr_seq = seq;
        let blocks = is_checked.then_some(0);
        Entry { name, seq, extra: Vec::new(), marks: Marks { blocks, ..Marks::default() } }
    }

    /// The next base's entry.
    fn next_base(&mut self, format: BaseFormat) -> Entry {
        let suffix = match format {
            BaseFormat::Rdb => "rdb",
            BaseFormat::Aof => "aof",
        };
        let name = |seq: i64| format!("{}.{seq}.base.{suffix}", self.settings.filename).into_bytes();
        let mut seq = self.manifest.base_seq.saturating_add(1);
        while self.is_taken(&name(seq)) {
            seq = seq.saturating_add(1);
        }
        let name = name(seq);
        self.manifest.base_seq = seq;
        Entry { name, seq, extra: Vec::new(), marks: Marks::default() }
    }

    /// Whether a file that may still be needed, or is to be removed, has this name.
    fn is_taken(&self, name: &[u8]) -> bool {
        self.manifest.entries().map(|(_, entry)| entry).chain(&self.strays).any(|entry| entry.name == name)
    }

    /// The manifest, with the files that nobody is sure of among those to be removed.
    pub(super) fn with_strays(&self) -> Manifest {
        let mut manifest = self.manifest.clone();
        manifest.history.extend(self.strays.iter().cloned());
        manifest
    }

    /// Has the base named, and a manifest with it.
    fn publish(&mut self, writer: &Writer, saved: Saved) {
        self.stats.last_cow_bytes = saved.cow_bytes;
        self.events.push(AofEvent::ChildDone { cow_bytes: saved.cow_bytes });
        let kind = writer.kind;
        let mut base = self.next_base(writer.format);
        base.marks.size = Some(saved.bytes);
        base.marks.crc64 = saved.sum;
        base.marks.blocks = (writer.format == BaseFormat::Aof && writer.is_checked).then_some(0);
        base.marks.off_since = (kind == Kind::Base).then_some(writer.unix);
        let place = self.place();
        let mut names = vec![Naming { from: writer.temp.clone(), to: place.of(&base.name) }];
        let tail = self.tail.as_ref().filter(|_| kind == Kind::Fresh);
        let temp_incr = tail.map(|tail| (tail.file(), tail.path().to_owned(), tail.is_checked()));
        let incr = temp_incr.as_ref().map(|(_, from, is_checked)| {
            let entry = self.next_incr(*is_checked);
            names.push(Naming { from: from.clone(), to: place.of(&entry.name) });
            entry
        });
        let mut manifest = self.with_strays();
        manifest.history.splice(0..0, manifest.base.take());
        manifest.base = Some(base);
        manifest.retire_incrs(usize::from(kind == Kind::Next));
        manifest.incr.extend(incr);
        let text = text(&manifest, self.settings.checksum);
        let (upto, bytes) = (self.written, self.tail.as_ref().map_or(0, Tail::bytes));
        let publishing =
            Publishing { manifest, kind, names: names.clone(), upto, bytes, base_bytes: saved.bytes };
        self.rewrite = Rewrite::Publishing(Box::new(publishing));
        let storage = self.storage.clone();
        self.file_lane.give(Box::new(move || {
            let synced = temp_incr.map_or(Ok(()), |(file, path, _)| {
                file.sync().map_err(|error| StepError::new("sync", &path, error))
            });
            FileDone::Published(synced.and_then(|()| store::publish(&*storage, &place, &names, &text)))
        }));
    }

    pub(super) fn take_file_done(&mut self, done: FileDone, now: Instant) {
        match done {
            FileDone::Published(result) => match std::mem::replace(&mut self.rewrite, Rewrite::None) {
                Rewrite::Publishing(publishing) => self.take_published(*publishing, result, now),
                other => self.rewrite = other,
            },
            FileDone::Tidied(tidied, history) => self.take_tidied(tidied, &history, now),
        }
    }

    fn take_published(&mut self, publishing: Publishing, result: Result<(), StepError>, now: Instant) {
        let Publishing { manifest, kind, names, upto, bytes, base_bytes } = publishing;
        if let Err(error) = result {
            if error.is_unknown {
                let new = |entry: &Entry| !self.manifest.entries().any(|(_, old)| old.name == entry.name);
                let strays: Vec<Entry> =
                    manifest.live().map(|(_, entry)| entry).filter(|entry| new(entry)).cloned().collect();
                self.strays.extend(strays);
            }
            return self.fail(&error.to_string(), kind, now);
        }
        self.manifest = manifest;
        self.strays.clear();
        self.tidy_at = Some(now);
        for (what, Naming { from, to }) in ["base", "incr"].into_iter().zip(&names) {
            let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.events.push(AofEvent::Renamed { what, from: name(from), to: name(to) });
        }
        if kind == Kind::Fresh && !self.has_file() {
            return self.fail("the new increment could not be written", kind, now);
        }
        self.closed_bytes = base_bytes;
        if kind == Kind::Fresh {
            if let Some(tail) = &mut self.tail {
                tail.synced(bytes);
            }
            self.is_named = true;
            self.fresh_failures = 0;
            match self.state {
                AofState::On => self.events.push(AofEvent::Recovered),
                AofState::Starting | AofState::Off => self.events.push(AofEvent::TurnedOn),
            }
            (self.state, self.health) = (AofState::On, LogHealth::Fine);
            self.note_synced(upto);
        }
        self.base_bytes = self.bytes();
        self.backoff.reset();
        self.stats.last_rewrite_ok = true;
        self.note_end(now);
        self.events.push(AofEvent::RewriteDone);
    }

    fn note_end(&mut self, now: Instant) {
        if let Some(since) = self.stats.rewrite_since.take() {
            self.stats.last_rewrite = Some(now.saturating_duration_since(since));
        }
    }

    /// A rewrite that is not going on any more has failed.
    fn fail(&mut self, why: &str, kind: Kind, now: Instant) {
        self.rewrite = Rewrite::None;
        self.backoff.failed();
        self.stats.last_rewrite_ok = false;
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

    /// Removes files that were replaced.
    fn tidy_if_due(&mut self, now: Instant) {
        let is_due = self.tidy_at.is_some_and(|at| now >= at) && self.settings.removes_history;
        if !is_due || self.file_lane.is_busy() || self.rewrite.is_switching() {
            return;
        }
        self.tidy_at = None;
        if self.manifest.history.is_empty() {
            return;
        }
        let (storage, place, is_checked) = (self.storage.clone(), self.place(), self.settings.checksum);
        let mut manifest = self.manifest.clone();
        let history = std::mem::take(&mut manifest.history);
        self.file_lane.give(Box::new(move || {
            let tidied = store::tidy(&*storage, &place, history.clone(), |left| {
                manifest.history = left.to_vec();
                text(&manifest, is_checked)
            });
            FileDone::Tidied(tidied, history)
        }));
    }

    fn take_tidied(&mut self, tidied: Tidied, history: &[Entry], now: Instant) {
        let Tidied { left, result } = tidied;
        for entry in history.iter().filter(|entry| !left.contains(entry)) {
            self.events.push(AofEvent::HistoryRemoved { name: name_of(entry) });
        }
        let is_done = result.is_ok() && left.is_empty();
        if result.is_ok() {
            self.manifest.history = left;
        }
        self.tidy_at = (!is_done).then(|| now + TIDY_AGAIN_AFTER);
    }
}

/// A manifest as its file.
pub(super) fn text(manifest: &Manifest, is_checked: bool) -> Vec<u8> {
    if is_checked { manifest.format_checked() } else { manifest.format() }
}

fn name_of(entry: &Entry) -> String {
    String::from_utf8_lossy(&entry.name).into_owned()
}
