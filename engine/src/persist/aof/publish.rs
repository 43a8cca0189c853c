//! Names of new files, the manifest that names them, and the removal of those that they replace.

use std::path::Path;
use std::time::{Duration, Instant};

use super::event::AofEvent;
use super::log::{Aof, AofState, LogHealth};
use super::rewrite::{FileDone, Kind, Publishing, Rewrite, Writer, name_of};
use super::store::{self, Naming, StepError, Tidied};
use super::tail::Tail;
use crate::codec::aof::manifest::{BaseFormat, Entry, Manifest, Marks};
use crate::persist::snapshot::Saved;

/// Replaced files that could not be removed are tried again after this.
const TIDY_AGAIN_AFTER: Duration = Duration::from_secs(60);

impl Aof {
    /// The next increment's entry.
    pub(super) fn next_incr(&mut self, is_checked: bool) -> Entry {
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
    pub(super) fn next_base(&mut self, format: BaseFormat) -> Entry {
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
    pub(super) fn publish(&mut self, writer: &Writer, saved: Saved) {
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
        let text = self.settings.manifest_form().text(&manifest);
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

    /// This manifest is there, durably.
    pub(super) fn adopt(&mut self, manifest: Manifest) {
        let Manifest { base_seq, incr_seq, .. } = self.manifest;
        self.manifest = Manifest { base_seq, incr_seq, ..manifest };
        self.strays.clear();
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

    fn take_unpublished(&mut self, manifest: &Manifest, error: &StepError, kind: Kind, now: Instant) {
        if error.is_unknown {
            let new = |entry: &Entry| !self.manifest.entries().any(|(_, old)| old.name == entry.name);
            let strays: Vec<Entry> =
                manifest.live().map(|(_, entry)| entry).filter(|entry| new(entry)).cloned().collect();
            self.strays.extend(strays);
        }
        self.fail(&error.to_string(), kind, now);
    }

    fn take_published(
        &mut self,
        publishing: Publishing,
        result: Result<Vec<Duration>, StepError>,
        now: Instant,
    ) {
        let Publishing { manifest, kind, names, upto, bytes, base_bytes } = publishing;
        let took = match result {
            Ok(took) => took,
            Err(error) => return self.take_unpublished(&manifest, &error, kind, now),
        };
        self.adopt(manifest);
        self.tidy_at = Some(now);
        for ((what, Naming { from, to }), took) in ["base", "incr"].into_iter().zip(&names).zip(took) {
            let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.events.push(AofEvent::Renamed { what, from: name(from), to: name(to), took });
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

    /// Removes files that were replaced.
    pub(super) fn tidy_if_due(&mut self, now: Instant) {
        let is_due = self.tidy_at.is_some_and(|at| now >= at) && self.settings.removes_history;
        if !is_due || self.file_lane.is_busy() || self.rewrite.is_switching() {
            return;
        }
        self.tidy_at = None;
        if self.manifest.history.is_empty() {
            return;
        }
        let (storage, place, form) = (self.storage.clone(), self.place(), self.settings.manifest_form());
        let mut manifest = self.manifest.clone();
        let history = std::mem::take(&mut manifest.history);
        self.file_lane.give(Box::new(move || {
            let tidied = store::tidy(&*storage, &place, history.clone(), |left| {
                manifest.history = left.to_vec();
                form.text(&manifest)
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
