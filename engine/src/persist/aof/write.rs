//! From the block to the file: writes, syncs and their cadence, retries, and the file that is given up.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::event::AofEvent;
use super::log::{Aof, AofState, CommitError, Committed, LogDone, LogHealth};
use super::settings::{Reserve, SyncPolicy};
use super::tail::Tail;
use crate::codec::aof::block::Pending;

/// A failed write is tried again after this.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Under `everysec` a sync begins this long after the one before it began.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Under `everysec` nothing more is acknowledged while there are bytes that wait longer than this for a
/// sync.
const SYNC_AT_MOST: Duration = Duration::from_secs(2);
/// What is added to the name of a file that another process writes to.
const FOREIGN_SUFFIX: &[u8] = b".foreign";
/// Room that an empty block keeps.
const KEEP_BYTES: usize = 1 << 20;

impl Aof {
    /// Whether bytes wait for a sync longer than may be.
    pub(super) fn waits_too_long(&self, now: Instant) -> bool {
        let oldest = self.syncing_since.or(self.unsynced_since);
        oldest.is_some_and(|since| now.saturating_duration_since(since) > SYNC_AT_MOST)
    }

    /// Before replies are sent: has written what was logged, or has handed it over to be.
    pub fn flush(&mut self, now: Instant) {
        self.write_block(now);
        self.sync_if_due(now);
    }

    /// Results of jobs on the log's lane.
    pub(super) fn take_log_results(&mut self, now: Instant) {
        while let Some(done) = self.log_lane.poll() {
            self.take_log_done(done, now);
        }
    }

    /// Retries and the cadence of syncs.
    pub(super) fn tend(&mut self, now: Instant) {
        self.flush(now);
        let is_slow =
            self.state == AofState::On && self.policy() == SyncPolicy::EverySec && self.waits_too_long(now);
        if is_slow && !self.is_slow {
            self.stats.delayed_syncs += 1;
            self.events.push(AofEvent::SlowSync);
        }
        self.is_slow = is_slow;
    }

    /// When it has something to do by itself, if nothing happens before.
    #[must_use]
    pub fn next_poll(&self) -> Option<Instant> {
        let syncs = self.policy() == SyncPolicy::EverySec && !self.log_lane.is_busy() && self.tail.is_some();
        let sync = self.unsynced_since.filter(|_| syncs).and(self.last_sync).map(|last| last + SYNC_EVERY);
        let retry = self.retry_at.filter(|_| !self.block.is_empty());
        [sync, retry].into_iter().flatten().min()
    }

    /// Whether blocks say what is durable.
    pub(super) fn is_synced(&self) -> bool {
        self.settings.policy != SyncPolicy::No
    }

    fn write_block(&mut self, now: Instant) {
        let waits = self.retry_at.is_some_and(|at| now < at);
        if self.block.is_empty() || self.rewrite.is_switching() || waits {
            return;
        }
        if self.policy() == SyncPolicy::Always {
            return self.commit_block(now);
        }
        let is_synced = self.is_synced();
        let Some(tail) = &mut self.tail else { return };
        match tail.check_sometimes(now).and_then(|()| tail.append(&mut self.block, is_synced)) {
            Ok(()) => {
                self.block.clear(KEEP_BYTES);
                self.units = 0;
                self.note_written(self.logged, now);
            }
            Err(error) => self.take_uncommitted(None, error, now),
        }
    }

    /// Forgets what was to be written.
    pub(super) fn forget_block(&mut self) {
        self.block.clear(KEEP_BYTES);
        (self.selected, self.units) = (None, 0);
    }

    /// Gives the block to the lane, if that is free, or adds it to the one that waits there.
    fn commit_block(&mut self, now: Instant) {
        if self.log_lane.is_busy() {
            let is_added = self.open.as_ref().is_some_and(|open| open.add(self.block.body(), self.units));
            if is_added {
                self.under_way = self.logged;
                (self.block, self.units) = (self.emptied(), 0);
            } else {
                self.open = None;
            }
            return;
        }
        let Some(mut tail) = self.lend_tail() else { return };
        let units = self.units;
        let block = self.take_block();
        let (open, wait) = self.gather.begin(block, units, now);
        let (is_synced, reserve) = (self.is_synced(), self.settings.reserve);
        self.under_way = self.logged;
        self.open = Some(Arc::clone(&open));
        self.log_lane.give(Box::new(move || {
            let (mut block, units) = open.take(wait);
            let began = Instant::now();
            let result = append_and_sync(&mut tail, &mut block, is_synced, reserve);
            let took = began.elapsed();
            LogDone::Committed(Box::new(Committed { tail, block, units, took, result }))
        }));
    }

    /// The block without what was in it.
    fn emptied(&mut self) -> Pending {
        let mut block = std::mem::take(&mut self.block);
        block.clear(KEEP_BYTES);
        block
    }

    /// The file, for a job.
    pub(super) fn lend_tail(&mut self) -> Option<Tail> {
        let tail = self.tail.take()?;
        (self.is_lent, self.lent_bytes, self.lent_is_checked) = (true, tail.bytes(), tail.is_checked());
        Some(tail)
    }

    /// The block, for a job; another takes its place.
    pub(super) fn take_block(&mut self) -> Pending {
        self.units = 0;
        std::mem::replace(&mut self.block, std::mem::take(&mut self.spare))
    }

    /// Takes back the block of a job that has written it.
    pub(super) fn recycle(&mut self, mut block: Pending) {
        block.clear(KEEP_BYTES);
        self.spare = block;
    }

    /// Puts the block of a job that has not written it in front of what was logged since.
    pub(super) fn put_back(&mut self, mut block: Pending) {
        block.body_mut().extend_from_slice(self.block.body());
        self.block = block;
    }

    /// Everything up to `upto` is in the file.
    pub(super) fn note_written(&mut self, upto: u64, now: Instant) {
        self.written = self.written.max(upto);
        self.unsynced_since.get_or_insert(now);
        self.retry_at = None;
        if matches!(self.health, LogHealth::WriteFailed(_)) {
            self.health = LogHealth::Fine;
            self.events.push(AofEvent::WriteFixed);
        }
    }

    /// The block is not in the file, and has been put back.
    pub(super) fn note_unwritten(&mut self, error: &io::Error, now: Instant) {
        let why = error_text(error);
        if !self.is_named {
            return self.abandon(&why, now);
        }
        let health = LogHealth::WriteFailed(why.clone());
        if self.health != health {
            self.events.push(AofEvent::WriteFailed(why));
        }
        self.health = health;
        self.retry_at = Some(now + RETRY_AFTER);
    }

    /// Everything up to `upto` is durable in the file.
    pub(super) fn note_synced(&mut self, upto: u64) {
        self.file_synced = self.file_synced.max(upto);
        if self.is_named && !self.is_given_up() {
            self.synced = self.synced.max(self.file_synced);
        }
    }

    pub(super) fn take_log_done(&mut self, done: LogDone, now: Instant) {
        match done {
            LogDone::Committed(committed) => self.take_committed(*committed, now),
            LogDone::Synced(result) => self.take_synced(result, now),
            LogDone::Prepared(result) => self.take_prepared(*result, now),
            LogDone::Switched(switched) => self.take_switched(*switched, now),
        }
    }

    /// Takes the file back from a job. False if it is not wanted any more.
    pub(super) fn take_back(&mut self, tail: Tail) -> bool {
        self.is_lent = false;
        let is_wanted = !std::mem::take(&mut self.drops_lent);
        if is_wanted {
            self.tail = Some(tail);
        }
        is_wanted
    }

    fn take_committed(&mut self, committed: Committed, now: Instant) {
        let Committed { tail, block, units, took, result } = committed;
        self.open = None;
        self.gather.end(units, self.units, took, now);
        if !self.take_back(tail) {
            return;
        }
        let upto = self.under_way;
        match result {
            Ok(()) => {
                self.recycle(block);
                self.note_written(upto, now);
                (self.unsynced_since, self.last_sync) = (None, Some(now));
                self.note_synced(upto);
            }
            Err(error) => self.take_uncommitted(Some(block), error, now),
        }
    }

    /// A job could not append a block, or could not sync it.
    pub(super) fn take_uncommitted(&mut self, block: Option<Pending>, error: CommitError, now: Instant) {
        // Of what a job has written, and found missing, nothing was acknowledged.
        let before = block.as_ref().map(|_| self.lent_bytes);
        match error {
            CommitError::Append(error) => {
                if let Some(block) = block {
                    self.put_back(block);
                }
                self.note_unwritten(&error, now);
            }
            CommitError::Sync(error) => self.give_up(&error_text(&error), now),
            CommitError::Foreign(why) => self.leave_file_of(before, &why, now),
        }
    }

    /// Leaves the file to another process that writes to it, or has put another one in its place.
    pub fn leave_file(&mut self, why: &str, now: Instant) {
        self.leave_file_of(None, why, now);
    }

    /// The same for a file of which so many bytes count, if not all that were written do.
    fn leave_file_of(&mut self, bytes: Option<u64>, why: &str, now: Instant) {
        self.keep_foreign_file();
        self.note_missed(bytes);
        self.give_up_for(AofEvent::Distrusted(why.to_owned()), why, now);
    }

    /// What is at the log's end gets a second name, as fresh files replace it.
    fn keep_foreign_file(&self) {
        if let (Some(last), true) = (self.manifest.incr.last(), self.is_named) {
            let place = self.place();
            let aside = [&last.name, FOREIGN_SUFFIX].concat();
            // Best effort: the data are in memory.
            let _ = self.storage.link(&place.of(&last.name), &place.of(&aside));
        }
    }

    /// If what was written to the last file is not under its name any more, a start must not take what is there for
    /// all of it: the manifest is to say so before fresh files are made.
    fn note_missed(&mut self, bytes: Option<u64>) {
        let Some(tail) = self.tail.as_ref().filter(|tail| self.is_named && tail.is_missed()) else { return };
        let bytes = bytes.unwrap_or(tail.bytes());
        if let Some(last) = self.manifest.incr.last_mut() {
            last.marks.end = Some(bytes);
            self.is_missing_noted = false;
        }
    }

    /// Believes the files of the log no longer, for another reason than a failed sync.
    pub fn distrust(&mut self, why: &str, now: Instant) {
        self.note_missed(None);
        self.give_up_for(AofEvent::Distrusted(why.to_owned()), why, now);
    }

    pub(super) fn take_synced(&mut self, result: io::Result<()>, now: Instant) {
        self.syncing_since = None;
        // The file may have been given up meanwhile, for another reason.
        let Some(tail) = &mut self.tail else { return };
        match result {
            Ok(()) => {
                tail.synced(self.syncing_bytes);
                self.note_synced(self.under_way);
            }
            Err(error) => self.give_up(&error_text(&error), now),
        }
    }

    /// Believes the file no longer. If it is a log's, nothing is acknowledged from here until a rewrite to
    /// fresh files is durable; if it was to become one, the attempt is over.
    pub(super) fn give_up(&mut self, why: &str, now: Instant) {
        self.give_up_for(AofEvent::SyncFailed(why.to_owned()), why, now);
    }

    fn give_up_for(&mut self, event: AofEvent, why: &str, now: Instant) {
        if !self.is_named {
            return self.abandon(why, now);
        }
        if !self.is_given_up() {
            self.events.push(event);
            self.health = LogHealth::SyncFailed(why.to_owned());
        }
        self.end_rewrite(why, now);
        self.close_file();
        self.retry_at = None;
        self.fresh_at = Some(now);
    }

    /// Forgets the file and what was to be written to it.
    pub(super) fn close_file(&mut self) {
        self.closed_bytes = self.bytes();
        self.drops_lent = self.is_lent;
        self.tail = None;
        self.is_named = false;
        self.forget_block();
        (self.unsynced_since, self.syncing_since) = (None, None);
    }

    fn sync_if_due(&mut self, now: Instant) {
        let is_due = match self.policy() {
            SyncPolicy::No => false,
            SyncPolicy::Always => true,
            SyncPolicy::EverySec => {
                self.last_sync.is_none_or(|last| now.saturating_duration_since(last) >= SYNC_EVERY)
            }
        };
        if !is_due || self.unsynced_since.is_none() || self.log_lane.is_busy() || self.rewrite.is_switching()
        {
            return;
        }
        let Some(tail) = &self.tail else { return };
        let file = tail.file();
        self.begin_sync(now);
        self.log_lane.give(Box::new(move || LogDone::Synced(file.sync())));
    }

    /// Notes that what is in the file now is being synced.
    pub(super) fn begin_sync(&mut self, now: Instant) {
        self.last_sync = Some(now);
        self.under_way = self.written;
        self.syncing_since = self.unsynced_since.take();
        self.syncing_bytes = self.tail.as_ref().map_or(0, Tail::bytes);
    }
}

/// Appends a block and makes it durable, over a reserve if there is to be one.
pub(super) fn append_and_sync(
    tail: &mut Tail,
    block: &mut Pending,
    is_synced: bool,
    reserve: Option<Reserve>,
) -> Result<(), CommitError> {
    if let (false, Some(reserve)) = (block.is_empty(), reserve) {
        tail.make_reserve(block.most_bytes(), reserve)?;
        tail.append_durably(block, is_synced)?;
    } else {
        if !block.is_empty() {
            tail.check()?;
            tail.append(block, is_synced)?;
        }
        tail.sync().map_err(CommitError::Sync)?;
    }
    // What is in a file that nobody finds is not durable.
    tail.check_sometimes(Instant::now())
}

/// An error of the system in its own words, without the number that Rust adds.
pub(super) fn error_text(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}
