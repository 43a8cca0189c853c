//! An online backup: a base and an increment in a folder of their own, frozen at the moment of the seal.
//!
//! It is a second log beside the append only file, and shares nothing with it, so that it works without
//! one, that rewrites go on meanwhile, and that whatever happens to the backup leaves the server's own
//! files alone. Its first base begins it; sealing closes it. What fails ends the backup, and nothing else.
//! Whether the files stay is for whoever copies them to say. Words and states: Redis 8.10's BACKUP.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::aof::store::{Place, write_manifest};
use super::aof::{Aof, AofEvent, AofSettings, AofState, Surroundings, Unit, Wake};
use super::apart::Apart;
use super::storage::{InputFile, Storage};
use crate::base::num;
use crate::base::time::UnixMs;
use crate::codec::aof::manifest::{self, Manifest};

/// What waits to be written to the increment is written when it is so much, be it between two polls.
const FLUSH_BYTES: usize = 1 << 20;

/// What a comment starts with that says where a backup without checksums was sealed.
const SEALED: &str = "#sealed ";

/// The comment of one that is not sealed yet.
const UNSEALED: &str = "#unsealed";

/// Why a backup of a process that is gone has failed.
const NEVER_SEALED: &str = "the server ended before the backup was sealed";

/// A longer manifest is none of a backup.
const MOST_MANIFEST_BYTES: u64 = 64 << 10;

/// How far a backup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackupState {
    /// There is none.
    Idle,
    /// It waits until a child can be made.
    Pending,
    /// A child writes the base.
    Snapshotting,
    /// The base is whole; what is done is added to the increment.
    Incrementing,
    /// It is whole, and nothing is added any more.
    Sealed,
    /// It failed, or was called off.
    Failed,
}

impl BackupState {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Pending => "pending",
            Self::Snapshotting => "snapshotting",
            Self::Incrementing => "incrementing",
            Self::Sealed => "sealed",
            Self::Failed => "failed",
        }
    }

    /// True from its start until it is sealed or has failed.
    #[must_use]
    pub const fn is_in_progress(self) -> bool {
        matches!(self, Self::Pending | Self::Snapshotting | Self::Incrementing)
    }
}

/// Why a call was refused.
#[derive(Debug, thiserror::Error)]
pub enum BackupRefused {
    /// One is under way.
    #[error("A backup is already in progress, ABORT it first")]
    InProgress,
    /// One is sealed, and its files are there.
    #[error("A sealed backup exists, CLEANUP it first")]
    Sealed,
    /// The folder has files, which may be anybody's.
    #[error("The backup directory {0} is not empty")]
    NotEmpty(String),
    /// The folder cannot be looked into.
    #[error("The backup directory {0} cannot be read: {1}")]
    Unreadable(String, io::Error),
    /// There is nothing that can be sealed.
    #[error("No backup ready to seal (must be in the incrementing state)")]
    NotReady,
    /// There is nothing to call off.
    #[error("No backup in progress")]
    NotInProgress,
    /// What is under way cannot be removed.
    #[error("Backup is in progress")]
    StillInProgress,
    /// It could not be sealed, and has failed.
    #[error("The backup failed: {0}")]
    Failed(String),
}

/// What has happened to a backup, for the server's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupEvent {
    /// A child writes the base.
    Snapshotting {
        /// The child.
        pid: i32,
    },
    /// The base is whole.
    Incrementing {
        /// The base.
        base: PathBuf,
    },
    /// It was sealed.
    Sealed {
        /// Its manifest.
        manifest: PathBuf,
    },
    /// It has failed.
    Failed(String),
    /// Its files were removed.
    Removed,
}

impl BackupEvent {
    /// Whether it should worry somebody.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        matches!(self, BackupEvent::Failed(_))
    }
}

impl fmt::Display for BackupEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snapshotting { pid } => write!(f, "Backup: the base is being written by pid {pid}"),
            Self::Incrementing { base } => write!(f, "Backup: the base is whole: {}", base.display()),
            Self::Sealed { manifest } => write!(f, "Backup: sealed: {}", manifest.display()),
            Self::Failed(why) => write!(f, "Backup: failed: {why}"),
            Self::Removed => f.write_str("Backup: its files were removed"),
        }
    }
}

/// The backup of a server.
#[derive(Debug)]
pub struct Backup {
    storage: Arc<dyn Storage>,
    apart: Apart,
    wake: Wake,
    /// The log that becomes the backup, while it does.
    log: Option<Box<Aof>>,
    /// What it is when there is no such log.
    rest: BackupState,
    dir: PathBuf,
    filename: String,
    error: String,
    started: UnixMs,
    ended: UnixMs,
    sealed_at: Option<Instant>,
    /// The files that do not change any more: base, increment, manifest.
    files: Vec<PathBuf>,
    /// What was told last.
    told: BackupState,
    polled: Option<Instant>,
    forks: u64,
    events: Vec<BackupEvent>,
}

impl Backup {
    /// None yet. Its child runs where `apart` says.
    pub fn new(storage: Arc<dyn Storage>, apart: Apart) -> Backup {
        Backup {
            storage,
            apart,
            wake: Wake::default(),
            log: None,
            rest: BackupState::Idle,
            dir: PathBuf::new(),
            filename: String::new(),
            error: String::new(),
            started: UnixMs(0),
            ended: UnixMs(0),
            sealed_at: None,
            files: Vec::new(),
            told: BackupState::Idle,
            polled: None,
            forks: 0,
            events: Vec::new(),
        }
    }

    /// Looks whether the folder has a backup of a process before this one, whose names start with
    /// `filename`. One whose manifest says that it was ended is sealed, and stays for as long as if that had
    /// been now; one that was not has failed, and its files wait to be cleaned up. What is no backup, or
    /// has a manifest that says nothing of us, is passed over. Changes nothing.
    pub fn find(&mut self, dir: &Path, filename: &str, now: Instant) {
        if self.state() != BackupState::Idle {
            return;
        }
        (self.dir, self.filename) = (dir.to_owned(), filename.to_owned());
        let path = self.manifest_path();
        let Ok(Some(meta)) = self.storage.meta(&path) else { return self.find_unfinished() };
        let read = |path: &Path| self.storage.open(path).and_then(|mut file| read_all(file.as_mut()));
        let manifest = if meta.bytes <= MOST_MANIFEST_BYTES { read(&path).ok() } else { None };
        let Some(text) = manifest else { return };
        let (parsed, sealed_bytes) = (Manifest::parse(&text), sealed_bytes(&text));
        let Ok(manifest) = parsed else { return };
        let has_mark = sealed_bytes.is_some() || lines_of(&text).any(|line| line == UNSEALED.as_bytes());
        if !manifest.is_checked && !has_mark {
            return;
        }
        let (Some(base), Some(incr)) = (&manifest.base, manifest.incr.last()) else { return };
        let mut files = vec![self.path_of(&base.name)];
        let begun = self.storage.meta(&files[0]).ok().flatten().map(|meta| meta.modified);
        files.extend(manifest.incr.iter().map(|entry| self.path_of(&entry.name)));
        let bytes =
            files.last().and_then(|path| self.storage.meta(path).ok().flatten()).map(|meta| meta.bytes);
        let is_sealed = bytes.is_some() && (incr.marks.end == bytes || sealed_bytes == bytes);
        self.started = begun.unwrap_or(UnixMs(0));
        if !is_sealed {
            self.rest = BackupState::Failed;
            NEVER_SEALED.clone_into(&mut self.error);
            return;
        }
        files.push(path);
        (self.rest, self.files) = (BackupState::Sealed, files);
        (self.ended, self.sealed_at) = (meta.modified, Some(now));
    }

    /// Looks whether the folder has what a process before this one has left of a backup that had no manifest
    /// yet: files of its names, of which one at least is unfinished.
    fn find_unfinished(&mut self) {
        let entries = self.storage.list(&self.dir).unwrap_or_default();
        let is_temp = |path: &Path| name_of(path).starts_with(manifest::TEMP_PREFIX);
        if entries.iter().any(|path| is_temp(path)) && entries.iter().all(|path| self.is_own(path)) {
            self.rest = BackupState::Failed;
            NEVER_SEALED.clone_into(&mut self.error);
        }
    }

    /// Has `wake` called, on another thread, whenever a poll would find something new.
    pub fn set_wake(&mut self, wake: Wake) {
        self.wake = wake;
    }

    /// How far it is.
    #[must_use]
    pub fn state(&self) -> BackupState {
        match &self.log {
            None => self.rest,
            Some(log) if log.state() == AofState::On && !log.is_rewriting() => BackupState::Incrementing,
            Some(log) if log.is_rewriting() => BackupState::Snapshotting,
            Some(_) => BackupState::Pending,
        }
    }

    /// Why it has failed; empty if it has not.
    #[must_use]
    pub fn error(&self) -> &str {
        &self.error
    }

    /// When it was started, and when it was sealed; 0 if it was not.
    #[must_use]
    pub fn times(&self) -> (UnixMs, UnixMs) {
        (self.started, self.ended)
    }

    /// Paths of the files that are whole: of the base, then of the increment and the manifest as well.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Whether a poll has nothing to do until the next start.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.log.is_none() && self.sealed_at.is_none()
    }

    /// Whether what is logged goes to it.
    #[must_use]
    pub fn is_logging(&self) -> bool {
        self.log.is_some()
    }

    /// Whether a child writes its base.
    #[must_use]
    pub fn has_child(&self) -> bool {
        self.log.as_ref().is_some_and(|log| log.has_child())
    }

    /// The child that writes its base.
    #[must_use]
    pub fn child_pid(&self) -> Option<i32> {
        self.log.as_ref().and_then(|log| log.child_pid())
    }

    /// Children ever made, and microseconds of the last fork.
    #[must_use]
    pub fn forks(&self, now: Instant) -> (u64, u64) {
        let stats = self.log.as_ref().map(|log| log.stats(now));
        let (forks, last_us) = stats.map_or((0, 0), |stats| (stats.forks, stats.last_fork_us));
        (self.forks + forks, last_us)
    }

    /// Starts one, in the folder and with the names that `settings` say. The base is begun by the next poll
    /// that may fork.
    ///
    /// # Errors
    /// `BackupRefused`.
    pub fn start(&mut self, settings: AofSettings, now: Instant, unix: UnixMs) -> Result<(), BackupRefused> {
        match self.state() {
            BackupState::Sealed => return Err(BackupRefused::Sealed),
            state if state.is_in_progress() => return Err(BackupRefused::InProgress),
            _ => {}
        }
        let dir = || settings.dir.display().to_string();
        match self.storage.list(&settings.dir) {
            Ok(entries) if !entries.is_empty() => return Err(BackupRefused::NotEmpty(dir())),
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(BackupRefused::Unreadable(dir(), e)),
            _ => {}
        }
        (self.dir, self.filename) = (settings.dir.clone(), settings.filename.clone());
        // Its first manifest says already whose it is.
        let settings = AofSettings { comment: Some(UNSEALED), reserve: None, ..settings };
        let mut log = Aof::new(Arc::clone(&self.storage), settings, self.apart, self.wake.clone());
        log.start(now);
        self.log = Some(Box::new(log));
        self.rest = BackupState::Idle;
        self.told = BackupState::Pending;
        (self.started, self.ended) = (unix, UnixMs(0));
        self.error.clear();
        self.files.clear();
        self.polled = Some(now);
        Ok(())
    }

    /// Takes commands, each with its database.
    pub fn log<'a>(
        &mut self,
        commands: impl Iterator<Item = (usize, &'a [u8])> + Clone,
        unit: Unit,
        unix: UnixMs,
    ) {
        let Some(log) = &mut self.log else { return };
        log.log(commands, unit, unix);
        if log.memory_bytes() >= FLUSH_BYTES
            && let Some(now) = self.polled
        {
            log.flush(now);
        }
    }

    /// Does what is due. Files of a sealed one are removed after `ttl`, if that is not zero.
    pub fn poll(&mut self, around: &Surroundings<'_>, ttl: Duration) {
        self.polled = Some(around.now);
        let is_over = self
            .sealed_at
            .is_some_and(|at| !ttl.is_zero() && around.now.saturating_duration_since(at) >= ttl);
        if is_over {
            self.remove();
        }
        let Some(log) = &mut self.log else { return };
        let mut failure = None;
        for event in log.poll(around) {
            match event {
                AofEvent::RewriteStarted { pid } => self.events.push(BackupEvent::Snapshotting { pid }),
                AofEvent::RewriteFailed(why) | AofEvent::ForkFailed(why) => {
                    failure.get_or_insert(why);
                }
                _ => {}
            }
        }
        if log.health().is_failed() {
            failure.get_or_insert(log.health().to_string());
        }
        if let Some(why) = failure {
            return self.fail(&why, around.now);
        }
        self.note_base();
    }

    /// Tells, once, that the base is whole.
    fn note_base(&mut self) {
        if self.state() != BackupState::Incrementing || self.told == BackupState::Incrementing {
            return;
        }
        self.told = BackupState::Incrementing;
        let Some(log) = &self.log else { return };
        let Some(base) = log.manifest().base.as_ref().map(|entry| self.path_of(&entry.name)) else {
            return;
        };
        self.files = vec![base.clone()];
        self.events.push(BackupEvent::Incrementing { base });
    }

    fn path_of(&self, name: &[u8]) -> PathBuf {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        self.dir.join(OsStr::from_bytes(name))
    }

    fn manifest_path(&self) -> PathBuf {
        self.dir.join(format!("{}{}", self.filename, manifest::SUFFIX))
    }

    /// When a poll has something to do, if nothing happens before.
    #[must_use]
    pub fn next_poll(&self, ttl: Duration) -> Option<Instant> {
        match &self.log {
            Some(log) => log.next_poll(),
            None => self.sealed_at.filter(|_| !ttl.is_zero()).and_then(|at| at.checked_add(ttl)),
        }
    }

    /// Freezes it with everything that was logged: all of it is durable when this answers. Waits for the
    /// disk.
    ///
    /// # Errors
    /// `NotReady`; `Failed` if the disk said no, and then it has failed.
    pub fn seal(&mut self, now: Instant, unix: UnixMs) -> Result<(), BackupRefused> {
        if self.state() != BackupState::Incrementing {
            return Err(BackupRefused::NotReady);
        }
        self.note_base();
        let Some(log) = &mut self.log else { return Err(BackupRefused::NotReady) };
        let closed = log.close(now).map_err(|error| error.to_string());
        let manifest = log.manifest().clone();
        let has_marks = log.settings().checksum;
        let marked = closed.and_then(|()| if has_marks { Ok(()) } else { self.mark_sealed(&manifest) });
        if let Err(why) = marked {
            self.fail(&why, now);
            return Err(BackupRefused::Failed(why));
        }
        let incr = manifest.incr.last().map(|entry| entry.name.clone());
        self.forget_log(now);
        let manifest = self.manifest_path();
        self.files.extend(incr.map(|name| self.path_of(&name)));
        self.files.push(manifest.clone());
        self.rest = BackupState::Sealed;
        self.ended = unix;
        self.sealed_at = Some(now);
        self.events.push(BackupEvent::Sealed { manifest });
        Ok(())
    }

    /// Has a manifest without marks say in a comment that this is all.
    fn mark_sealed(&self, manifest: &Manifest) -> Result<(), String> {
        let Some(last) = manifest.incr.last() else { return Err("the backup has no increment".to_owned()) };
        let meta = self.storage.meta(&self.path_of(&last.name)).map_err(|error| error.to_string())?;
        let bytes = meta.map_or(0, |meta| meta.bytes);
        self.mark(manifest, &format!("{SEALED}{bytes}"))
    }

    /// Writes the manifest with a comment: whoever finds it knows whose it is.
    fn mark(&self, manifest: &Manifest, comment: &str) -> Result<(), String> {
        let text = manifest.format_with(comment);
        let place = Place { dir: self.dir.clone(), filename: self.filename.clone() };
        write_manifest(&*self.storage, &place, &text).map_err(|error| error.to_string())
    }

    /// Calls off what is under way, and removes its files.
    ///
    /// # Errors
    /// `NotInProgress`.
    pub fn abort(&mut self, why: &str, now: Instant) -> Result<(), BackupRefused> {
        if !self.state().is_in_progress() {
            return Err(BackupRefused::NotInProgress);
        }
        self.fail(why, now);
        Ok(())
    }

    /// Removes the files of one that is sealed or has failed; fine if there is none.
    ///
    /// # Errors
    /// `StillInProgress`.
    pub fn clean_up(&mut self) -> Result<(), BackupRefused> {
        if self.state().is_in_progress() {
            return Err(BackupRefused::StillInProgress);
        }
        if self.rest != BackupState::Idle {
            self.remove();
        }
        Ok(())
    }

    /// What has happened since the last time.
    pub fn take_events(&mut self) -> Vec<BackupEvent> {
        std::mem::take(&mut self.events)
    }

    fn fail(&mut self, why: &str, now: Instant) {
        self.forget_log(now);
        self.remove_files();
        self.rest = BackupState::Failed;
        why.clone_into(&mut self.error);
        self.events.push(BackupEvent::Failed(why.to_owned()));
    }

    /// Ends the log, with its child; its files stay.
    fn forget_log(&mut self, now: Instant) {
        let Some(mut log) = self.log.take() else { return };
        log.wait(now);
        log.cancel_rewrite();
        log.wait(now);
        self.forks += log.stats(now).forks;
        // Its events were about files that are of no concern any more.
    }

    fn remove(&mut self) {
        self.remove_files();
        self.rest = BackupState::Idle;
        self.error.clear();
        (self.started, self.ended, self.sealed_at) = (UnixMs(0), UnixMs(0), None);
        self.events.push(BackupEvent::Removed);
    }

    /// Removes what a backup may have made. The folder was empty when it was started.
    fn remove_files(&mut self) {
        self.files.clear();
        self.sealed_at = None;
        // The manifest goes first: without it the other files are no set. Best effort: what is left makes
        // the next start say that the folder is not empty.
        let _ = self.storage.remove(&self.manifest_path());
        let entries = self.storage.list(&self.dir).unwrap_or_default();
        for path in entries.iter().filter(|path| self.is_own(path)) {
            let _ = self.storage.remove(path);
        }
    }

    /// Whether a file in the folder has a name that a backup gives.
    fn is_own(&self, path: &Path) -> bool {
        let name = name_of(path);
        let rest = name.strip_prefix(&self.filename);
        rest.is_some_and(|rest| rest.starts_with('.')) || name.starts_with(manifest::TEMP_PREFIX)
    }
}

/// At how many bytes of its increment a backup was sealed, if the manifest has a comment that says so.
fn sealed_bytes(manifest: &[u8]) -> Option<u64> {
    let told = lines_of(manifest).find_map(|line| line.strip_prefix(SEALED.as_bytes()))?;
    num::parse_i64(told).and_then(|bytes| u64::try_from(bytes).ok())
}

fn lines_of(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
}

/// A file's name, as far as it is one of ours.
fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// All of a short file.
fn read_all(file: &mut dyn InputFile) -> io::Result<Vec<u8>> {
    const PIECE: usize = 4 << 10;
    let mut text = Vec::new();
    while text.len() as u64 <= MOST_MANIFEST_BYTES {
        let have = text.len();
        text.resize(have + PIECE, 0);
        let n = file.read(&mut text[have..])?;
        text.truncate(have + n);
        if n == 0 {
            break;
        }
    }
    Ok(text)
}
