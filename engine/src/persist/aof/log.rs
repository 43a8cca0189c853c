//! The log itself: what was given to it, what of that is in files, and what is durable.
//!
//! Behaviour of SELECT, MULTI and timestamps: valkey src/aof.c `feedAppendOnlyFile`, src/server.c
//! `propagatePendingCommands`.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::due::Backoff;
use super::event::AofEvent;
use super::lane::{Lane, Wake};
use super::rewrite::{FileDone, Rewrite};
use super::settings::{AofSettings, SyncPolicy};
use super::store::{Place, StepError};
use super::tail::{AppendError, Tail};
use crate::base::num;
use crate::base::time::UnixMs;
use crate::codec::aof::block::Pending;
use crate::codec::aof::manifest::{Entry, Manifest};
use crate::persist::apart::Apart;
use crate::persist::storage::Storage;

/// A failed write, and the first rewrite after a failed sync, is tried again after this.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Under `everysec` a sync begins this long after the one before it began.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Under `everysec` nothing more is acknowledged while there are bytes that wait longer than this for a
/// sync.
const SYNC_AT_MOST: Duration = Duration::from_secs(2);
/// Name of the thread that syncs.
const LOG_LANE: &str = "cairn-aof";
/// Name of the thread that works on the folder.
const FILE_LANE: &str = "cairn-aof-dir";
/// Room that an empty block keeps.
const KEEP_BYTES: usize = 1 << 20;

/// Whether the log is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AofState {
    /// Nothing is logged.
    Off,
    /// It was turned on, and its first base is not there yet.
    Starting,
    /// Everything is logged.
    On,
}

/// Whether writes can be acknowledged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum LogHealth {
    /// They can.
    #[default]
    Fine,
    /// The last write failed, for this reason. It is tried again.
    WriteFailed(String),
    /// A sync failed, for this reason. A rewrite to fresh files is tried until it succeeds.
    SyncFailed(String),
}

impl LogHealth {
    /// True if writes are to be refused.
    #[must_use]
    pub fn is_failed(&self) -> bool {
        *self != LogHealth::Fine
    }
}

impl fmt::Display for LogHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogHealth::Fine => f.write_str("ok"),
            LogHealth::WriteFailed(why) | LogHealth::SyncFailed(why) => f.write_str(why),
        }
    }
}

/// How the commands that are logged together belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// All or none: more than one go between MULTI and EXEC.
    Transaction,
    /// Each by itself, as keys that expire.
    Each,
}

/// Numbers for INFO.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AofStats {
    /// Bytes of all live files.
    pub bytes: u64,
    /// Bytes that they had after the last rewrite, or at the start.
    pub base_bytes: u64,
    /// Bytes that are logged and in no file.
    pub pending_bytes: u64,
    /// Syncs that are under way on the other thread.
    pub pending_syncs: u64,
    /// Syncs that took so long that replies had to wait.
    pub delayed_syncs: u64,
    /// Rewrites begun.
    pub rewrites: u64,
    /// Rewrites that failed, in a row.
    pub failures: u64,
    /// False if the last rewrite failed.
    pub last_rewrite_ok: bool,
    /// How long the last rewrite took.
    pub last_rewrite: Option<Duration>,
    /// When the present rewrite began.
    pub rewrite_since: Option<Instant>,
    /// Copy-on-write bytes of the last rewrite.
    pub last_cow_bytes: u64,
    /// The pause after repeated failures, if there is one.
    pub retry_in: Option<Duration>,
    /// Microseconds of the last fork.
    pub last_fork_us: u64,
    /// Forks ever.
    pub forks: u64,
}

/// What came of a job on the log's own lane.
#[derive(Debug)]
pub(super) enum LogDone {
    /// A block was to be appended and synced.
    Committed { tail: Tail, block: Pending, result: Result<(), CommitError> },
    /// What was in the file was to be synced.
    Synced(io::Result<()>),
    /// The old file was to be synced, and the next one to be made.
    Prepared(Result<Tail, PrepareError>),
    /// The old file was to be closed and the next one to be named by the manifest.
    Switched(Box<Switched>),
}

/// What came of going over to the next file.
#[derive(Debug)]
pub(super) struct Switched {
    pub(super) old: Tail,
    pub(super) block: Pending,
    pub(super) manifest: Manifest,
    pub(super) result: Result<(), SwitchError>,
}

/// Why a block is not durable.
#[derive(Debug)]
pub(super) enum CommitError {
    Append(AppendError),
    Sync(io::Error),
}

/// Why there is no next file.
#[derive(Debug)]
pub(super) enum PrepareError {
    Sync(io::Error),
    Step(StepError),
}

/// Why the log did not go on in the next file.
#[derive(Debug)]
pub(super) enum SwitchError {
    Commit(CommitError),
    Step(StepError),
}

/// The log. See the module's top.
#[derive(Debug)]
pub struct Aof {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) settings: AofSettings,
    pub(super) log_lane: Lane<LogDone>,
    pub(super) file_lane: Lane<FileDone>,
    pub(super) state: AofState,
    pub(super) health: LogHealth,
    /// What the folder has for sure.
    pub(super) manifest: Manifest,
    /// Files that a manifest which may be there names, or that failed attempts have left.
    pub(super) strays: Vec<Entry>,
    /// The file at the end; not here while a job has it, and while there is none.
    pub(super) tail: Option<Tail>,
    /// What is logged and in no file.
    pub(super) block: Pending,
    /// The database of the last command in the file.
    selected: Option<usize>,
    /// Second of the last timestamp.
    stamped: i64,
    /// End of everything logged.
    pub(super) logged: u64,
    /// Everything up to here is in files.
    pub(super) written: u64,
    /// Everything up to here is durable, if the file is named by a durable manifest.
    pub(super) file_synced: u64,
    /// Everything up to here is durable.
    pub(super) synced: u64,
    /// Whether a durable manifest names the file.
    pub(super) is_named: bool,
    /// Where the sync or the block that is under way ends.
    pub(super) under_way: u64,
    /// Bytes of the file that the sync under way covers.
    syncing_bytes: u64,
    /// Whether a job has the file.
    pub(super) is_lent: bool,
    /// Whether the file is dropped when it comes back.
    drops_lent: bool,
    /// An empty block with room.
    spare: Pending,
    /// When the oldest byte was written that the sync under way covers.
    syncing_since: Option<Instant>,
    /// When the oldest byte was written that no sync under way covers.
    pub(super) unsynced_since: Option<Instant>,
    pub(super) last_sync: Option<Instant>,
    /// When a failed write is tried again.
    pub(super) retry_at: Option<Instant>,
    /// When the next attempt at fresh files may begin.
    pub(super) fresh_at: Option<Instant>,
    /// Attempts at fresh files that failed, in a row.
    pub(super) fresh_failures: u32,
    /// Whether a child writes, be it a snapshot.
    pub(super) is_child_running: bool,
    pub(super) rewrite: Rewrite,
    pub(super) backoff: Backoff,
    pub(super) base_bytes: u64,
    /// Bytes of the base and the closed increments.
    pub(super) closed_bytes: u64,
    pub(super) stats: AofStats,
    pub(super) events: Vec<AofEvent>,
    pub(super) tidy_at: Option<Instant>,
    is_slow: bool,
}

impl Aof {
    /// A log that is off. `wake` is called on another thread when it wants to be polled.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>, settings: AofSettings, apart: Apart, wake: Wake) -> Aof {
        crate::base::crc64::warm_up();
        Aof {
            storage,
            settings,
            log_lane: Lane::new(LOG_LANE, apart, wake.clone()),
            file_lane: Lane::new(FILE_LANE, apart, wake),
            state: AofState::Off,
            health: LogHealth::Fine,
            manifest: Manifest::default(),
            strays: Vec::new(),
            tail: None,
            block: Pending::new(),
            selected: None,
            stamped: 0,
            logged: 0,
            written: 0,
            file_synced: 0,
            synced: 0,
            is_named: false,
            under_way: 0,
            syncing_bytes: 0,
            is_lent: false,
            drops_lent: false,
            spare: Pending::new(),
            syncing_since: None,
            unsynced_since: None,
            last_sync: None,
            retry_at: None,
            fresh_at: None,
            fresh_failures: 0,
            is_child_running: false,
            rewrite: Rewrite::None,
            backoff: Backoff::default(),
            base_bytes: 0,
            closed_bytes: 0,
            stats: AofStats { last_rewrite_ok: true, ..AofStats::default() },
            events: Vec::new(),
            tidy_at: None,
            is_slow: false,
        }
    }

    /// Has `wake` called from now on; before the log is used.
    pub fn set_wake(&mut self, apart: Apart, wake: Wake) {
        self.log_lane = Lane::new(LOG_LANE, apart, wake.clone());
        self.file_lane = Lane::new(FILE_LANE, apart, wake);
    }

    /// Notes whether a child writes, be it a snapshot.
    pub fn set_child_running(&mut self, is_running: bool) {
        self.is_child_running = is_running;
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &AofSettings {
        &self.settings
    }

    /// Changes the settings; while the log is on, the names stay what they are.
    pub fn configure(&mut self, mut settings: AofSettings) {
        if self.state != AofState::Off {
            settings.dir.clone_from(&self.settings.dir);
            settings.filename.clone_from(&self.settings.filename);
        }
        self.settings = settings;
    }

    /// Whether it is on.
    #[must_use]
    pub fn state(&self) -> AofState {
        self.state
    }

    /// Whether writes can be acknowledged.
    #[must_use]
    pub fn health(&self) -> &LogHealth {
        &self.health
    }

    /// The manifest that the folder has.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// End of everything logged.
    #[must_use]
    pub fn logged(&self) -> u64 {
        self.logged
    }

    /// Everything up to here is durable.
    #[must_use]
    pub fn synced(&self) -> u64 {
        self.synced
    }

    /// Replies to what was logged up to here may go out.
    #[must_use]
    pub fn acked(&self, now: Instant) -> u64 {
        match self.state {
            // What was there before the log still holds; it promises nothing yet.
            AofState::Off | AofState::Starting => self.logged,
            AofState::On if self.is_given_up() || !self.is_named => self.synced,
            AofState::On => match self.policy() {
                SyncPolicy::Always => self.synced,
                SyncPolicy::EverySec if self.waits_too_long(now) => self.synced,
                SyncPolicy::EverySec | SyncPolicy::No => self.written,
            },
        }
    }

    /// Numbers for INFO.
    #[must_use]
    pub fn stats(&self, now: Instant) -> AofStats {
        AofStats {
            bytes: self.bytes(),
            base_bytes: self.base_bytes,
            pending_bytes: self.block.body().len() as u64,
            pending_syncs: u64::from(self.log_lane.is_busy()),
            failures: self.backoff.failures(),
            retry_in: self.backoff.pause(now),
            ..self.stats.clone()
        }
    }

    /// Heap bytes of what waits to be written.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.block.body().len()
    }

    /// Bytes of all live files.
    pub(super) fn bytes(&self) -> u64 {
        self.closed_bytes + self.tail.as_ref().map_or(0, Tail::bytes)
    }

    pub(super) fn place(&self) -> Place {
        Place { dir: self.settings.dir.clone(), filename: self.settings.filename.clone() }
    }

    /// The policy of this moment.
    fn policy(&self) -> SyncPolicy {
        if self.is_child_running && self.settings.no_sync_on_rewrite {
            SyncPolicy::No
        } else {
            self.settings.policy
        }
    }

    /// Whether there is no file that can be believed.
    pub(super) fn is_given_up(&self) -> bool {
        matches!(self.health, LogHealth::SyncFailed(_))
    }

    fn waits_too_long(&self, now: Instant) -> bool {
        let oldest = self.syncing_since.or(self.unsynced_since);
        oldest.is_some_and(|since| now.saturating_duration_since(since) > SYNC_AT_MOST)
    }

    /// Logs commands, each with its database.
    pub fn log<'a>(
        &mut self,
        commands: impl Iterator<Item = (usize, &'a [u8])> + Clone,
        unit: Unit,
        unix: UnixMs,
    ) {
        if self.state == AofState::Off || commands.clone().next().is_none() {
            return;
        }
        let is_wrapped = unit == Unit::Transaction && commands.clone().nth(1).is_some();
        let before = self.block.body().len();
        let out = self.block.body_mut();
        let second = unix.0.div_euclid(1000);
        if self.settings.timestamps && self.stamped < second {
            self.stamped = second;
            out.extend_from_slice(b"#TS:");
            num::push_i64(out, second);
            out.extend_from_slice(b"\r\n");
        }
        if is_wrapped {
            out.extend_from_slice(b"*1\r\n$5\r\nMULTI\r\n");
        }
        for (db, command) in commands {
            if self.selected != Some(db) {
                self.selected = Some(db);
                push_select(out, db);
            }
            out.extend_from_slice(command);
        }
        if is_wrapped {
            out.extend_from_slice(b"*1\r\n$4\r\nEXEC\r\n");
        }
        self.logged += (self.block.body().len() - before) as u64;
        if !self.has_file() {
            // The base that comes will have it.
            self.forget_block();
        }
    }

    /// Whether there is a file, be it lent to a job, or will be one for what is logged now.
    pub(super) fn has_file(&self) -> bool {
        self.tail.is_some() || (self.is_lent && !self.drops_lent)
    }

    pub(super) fn forget_block(&mut self) {
        self.block.clear(KEEP_BYTES);
        self.selected = None;
    }

    /// What is logged from now on goes into a file that begins with it.
    pub(super) fn begin_file(&mut self) {
        self.selected = None;
        self.stamped = 0;
    }

    /// Before replies are sent: has written what was logged, or has handed it over to be.
    pub fn flush(&mut self, now: Instant) {
        self.write_block(now);
        self.sync_if_due(now);
    }

    /// Results of jobs, retries, the cadence of syncs.
    pub(super) fn tend(&mut self, now: Instant) {
        while let Some(done) = self.log_lane.poll() {
            self.take_log_done(done, now);
        }
        self.write_block(now);
        self.sync_if_due(now);
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
        let sync = self.unsynced_since.and(self.last_sync).map(|last| last + SYNC_EVERY);
        [sync, self.retry_at, self.fresh_at, self.tidy_at].into_iter().flatten().min()
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
            self.commit_block();
            return;
        }
        let is_synced = self.is_synced();
        let Some(tail) = &mut self.tail else { return };
        match tail.append(&mut self.block, is_synced) {
            Ok(()) => {
                self.block.clear(KEEP_BYTES);
                self.note_written(self.logged, now);
            }
            Err(error) => self.note_unwritten(error, now),
        }
    }

    /// Gives the block to the lane, if that is free.
    fn commit_block(&mut self) {
        if self.log_lane.is_busy() {
            return;
        }
        let Some(mut tail) = self.tail.take() else { return };
        let mut block = self.take_block();
        let is_synced = self.is_synced();
        (self.is_lent, self.under_way) = (true, self.logged);
        self.log_lane.give(Box::new(move || {
            let result = append_and_sync(&mut tail, &mut block, is_synced);
            LogDone::Committed { tail, block, result }
        }));
    }

    /// The block, for a job; another takes its place.
    pub(super) fn take_block(&mut self) -> Pending {
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
    pub(super) fn note_unwritten(&mut self, error: AppendError, now: Instant) {
        let error = match error {
            AppendError::Undone(error) if self.is_named => error,
            AppendError::Undone(error) | AppendError::Stuck(error) => {
                return self.give_up(&error_text(&error), now);
            }
        };
        let why = error_text(&error);
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
            LogDone::Committed { tail, block, result } => self.take_committed(tail, block, result, now),
            LogDone::Synced(result) => self.take_synced(result, now),
            LogDone::Prepared(result) => self.take_prepared(result, now),
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

    fn take_committed(&mut self, tail: Tail, block: Pending, result: Result<(), CommitError>, now: Instant) {
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
        match error {
            CommitError::Append(error) => {
                if let Some(block) = block {
                    self.put_back(block);
                }
                self.note_unwritten(error, now);
            }
            CommitError::Sync(error) => self.give_up(&error_text(&error), now),
        }
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
        if !self.is_named {
            return self.abandon(why, now);
        }
        if !self.is_given_up() {
            self.events.push(AofEvent::SyncFailed(why.to_owned()));
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

/// Appends a block and makes it durable.
pub(super) fn append_and_sync(
    tail: &mut Tail,
    block: &mut Pending,
    is_synced: bool,
) -> Result<(), CommitError> {
    if !block.is_empty() {
        tail.append(block, is_synced).map_err(CommitError::Append)?;
    }
    tail.sync().map_err(CommitError::Sync)
}

/// An error of the system in its own words, without the number that Rust adds.
pub(super) fn error_text(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

fn push_select(out: &mut Vec<u8>, db: usize) {
    let digits = db.to_string();
    out.extend_from_slice(format!("*2\r\n$6\r\nSELECT\r\n${}\r\n{digits}\r\n", digits.len()).as_bytes());
}
