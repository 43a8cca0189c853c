//! The log itself: what was given to it, what of that is in files, and what is durable.
//!
//! Behaviour of SELECT, MULTI and timestamps: valkey src/aof.c `feedAppendOnlyFile`, src/server.c
//! `propagatePendingCommands`.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::due::Backoff;
use super::event::AofEvent;
use super::gather::{Gather, Open};
use super::lane::{Lane, Wake};
use super::rewrite::{FileDone, Rewrite};
use super::settings::{AofSettings, SyncPolicy};
use super::store::{Place, StepError};
use super::tail::Tail;
use crate::base::num;
use crate::base::time::UnixMs;
use crate::codec::aof::block::Pending;
use crate::codec::aof::manifest::{Entry, Manifest};
use crate::persist::apart::Apart;
use crate::persist::storage::{LogState, Storage};

/// Name of the thread that syncs.
const LOG_LANE: &str = "cairn-aof";
/// Name of the thread that works on the folder.
const FILE_LANE: &str = "cairn-aof-dir";
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
    Committed(Box<Committed>),
    /// What was in the file was to be synced.
    Synced(io::Result<()>),
    /// The old file was to be synced, and the next one to be made.
    Prepared(Box<Result<Tail, PrepareError>>),
    /// The old file was to be closed and the next one to be named by the manifest.
    Switched(Box<Switched>),
}

/// What came of a block.
#[derive(Debug)]
pub(super) struct Committed {
    pub(super) tail: Tail,
    pub(super) block: Pending,
    pub(super) units: u64,
    pub(super) took: Duration,
    pub(super) result: Result<(), CommitError>,
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
    Append(io::Error),
    Sync(io::Error),
    /// Somebody else has changed the file. Nothing was done to it.
    Foreign(String),
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
    /// Whether the folder's manifest, if there is one, says that the log is off.
    pub(super) is_known_off: bool,
    /// Files that a manifest which may be there names, or that failed attempts have left.
    pub(super) strays: Vec<Entry>,
    /// The file at the end; not here while a job has it, and while there is none.
    pub(super) tail: Option<Tail>,
    /// What is logged and in no file.
    pub(super) block: Pending,
    /// How many times was logged what is in there.
    pub(super) units: u64,
    /// The block under way, as long as it may be added to.
    pub(super) open: Option<Arc<Open>>,
    pub(super) gather: Gather,
    /// The database of the last command in the file.
    pub(super) selected: Option<usize>,
    /// Second of the last timestamp.
    pub(super) stamped: i64,
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
    pub(super) syncing_bytes: u64,
    /// Whether a job has the file.
    pub(super) is_lent: bool,
    /// Bytes that it had then.
    pub(super) lent_bytes: u64,
    /// Whether it consists of checked blocks.
    pub(super) lent_is_checked: bool,
    /// Whether the file is dropped when it comes back.
    pub(super) drops_lent: bool,
    /// An empty block with room.
    pub(super) spare: Pending,
    /// When the oldest byte was written that the sync under way covers.
    pub(super) syncing_since: Option<Instant>,
    /// When the oldest byte was written that no sync under way covers.
    pub(super) unsynced_since: Option<Instant>,
    pub(super) last_sync: Option<Instant>,
    /// False if the manifest that is there has yet to say how long the last file was which is missed.
    pub(super) is_missing_noted: bool,
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
    pub(super) is_slow: bool,
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
            is_known_off: true,
            strays: Vec::new(),
            tail: None,
            block: Pending::new(),
            units: 0,
            open: None,
            gather: Gather::default(),
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
            lent_is_checked: false,
            lent_bytes: 0,
            drops_lent: false,
            spare: Pending::new(),
            syncing_since: None,
            unsynced_since: None,
            last_sync: None,
            is_missing_noted: true,
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

    /// Whether the file at the end consists of checked blocks; while there is none, whether the next one
    /// will.
    #[must_use]
    pub fn is_checked(&self) -> bool {
        match &self.tail {
            Some(tail) => tail.is_checked(),
            None if self.is_lent && !self.drops_lent => self.lent_is_checked,
            None => self.settings.checksum,
        }
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

    /// Where the manifest lies and then the files that hold the data, in order. Nothing while there are none that
    /// can be believed.
    #[must_use]
    pub fn live_files(&self) -> Vec<PathBuf> {
        if self.state != AofState::On || !self.is_named || self.is_given_up() {
            return Vec::new();
        }
        let place = self.place();
        let live = self.manifest.live().map(|(_, entry)| place.of(&entry.name));
        std::iter::once(place.manifest()).chain(live).collect()
    }

    /// What has become of the file that is open at the end; `None` while a job has it.
    #[must_use]
    pub fn open_file(&self) -> Option<LogState> {
        self.tail.as_ref()?.file().look().ok()
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
        let lent = if self.is_lent && !self.drops_lent { self.lent_bytes } else { 0 };
        self.closed_bytes + self.tail.as_ref().map_or(lent, Tail::bytes)
    }

    pub(super) fn place(&self) -> Place {
        Place { dir: self.settings.dir.clone(), filename: self.settings.filename.clone() }
    }

    /// The policy of this moment: nobody syncs while a child writes, if that is wanted so.
    pub(super) fn policy(&self) -> SyncPolicy {
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

    /// Logs so many commands of one database, which lie one behind the other.
    pub fn log_as_sent(&mut self, db: usize, commands: &[u8], count: u64, unix: UnixMs) {
        if self.state == AofState::Off {
            return;
        }
        let before = self.block.body().len();
        self.stamp(unix);
        let out = self.block.body_mut();
        if self.selected != Some(db) {
            self.selected = Some(db);
            push_select(out, db);
        }
        out.extend_from_slice(commands);
        self.logged += (self.block.body().len() - before) as u64;
        self.units += count;
        if !self.has_file() {
            // The base that comes will have it.
            self.forget_block();
        }
    }

    /// Notes the time in the log, if that is wanted and another second has begun.
    #[inline]
    fn stamp(&mut self, unix: UnixMs) {
        let second = unix.0.div_euclid(1000);
        if self.settings.timestamps && self.stamped < second {
            self.stamped = second;
            let out = self.block.body_mut();
            out.extend_from_slice(b"#TS:");
            num::push_i64(out, second);
            out.extend_from_slice(b"\r\n");
        }
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
        self.stamp(unix);
        let out = self.block.body_mut();
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
        self.units += 1;
        if !self.has_file() {
            // The base that comes will have it.
            self.forget_block();
        }
    }

    /// Whether there is a file, be it lent to a job, or will be one for what is logged now.
    pub(super) fn has_file(&self) -> bool {
        self.tail.is_some() || (self.is_lent && !self.drops_lent)
    }

    /// What is logged from now on goes into a file that begins with it.
    pub(super) fn begin_file(&mut self) {
        self.selected = None;
        self.stamped = 0;
    }
}

fn push_select(out: &mut Vec<u8>, db: usize) {
    let digits = db.to_string();
    out.extend_from_slice(format!("*2\r\n$6\r\nSELECT\r\n${}\r\n{digits}\r\n", digits.len()).as_bytes());
}
