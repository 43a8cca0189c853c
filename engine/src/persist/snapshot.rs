//! Snapshots: the keyspace into an RDB file, in place or in a fork child.
//!
//! The file is written beside its final name, synced, renamed, and its folder synced; until then the
//! old file is untouched. Decides nothing about when (`rules.rs`), and knows no logger: what happened
//! is returned, or reported through the child's pipe.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use byteorder::{ByteOrder, LittleEndian};

use crate::base::time::UnixMs;
use crate::codec::rdb::{Drain, Target, Writer, WriterOptions};
use crate::keyspace::Keyspace;
use crate::keyspace::db::Used;
use crate::os::fork::{self, Ended, Parent, Reporter};
use crate::os::memory;
use crate::transcode::save;

use super::apart::Apart;
use super::carried::Carried;
use super::storage::{OutputFile, Storage, dir_of};
use fit::{Fit, Stop};

pub use fit::{LOWEST, TargetChoice};

mod fit;

/// How to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Version.
    pub target: TargetChoice,
    /// LZF for strings that it makes smaller.
    pub compress: bool,
    /// Compute the checksum.
    pub checksum: bool,
    /// Have the system begin with the writing before the sync at the end.
    pub incremental_sync: bool,
    /// For tests that need a slow save: microseconds to sleep after each key, or, below zero, keys
    /// after which to sleep for one. 0 for no sleep.
    pub key_delay_us: i64,
}

/// Facts for the file's auxiliary fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producer {
    /// The Redis version that this server claims to be compatible with.
    pub redis_version: &'static str,
    /// When the snapshot was taken.
    pub created_at: UnixMs,
    /// Memory in use then.
    pub used_memory: u64,
    /// True for the base of an append only file.
    pub is_aof_base: bool,
    /// Whether it is newer than a log that was switched off: later than any time that a manifest of this
    /// folder says, also within a millisecond and with a clock that was set back.
    pub stamp: Option<UnixMs>,
}

/// What is to be saved.
#[derive(Debug, Clone, Copy)]
pub struct Contents<'a> {
    /// Every key.
    pub keyspace: &'a Keyspace,
    /// What belongs to no database.
    pub carried: &'a Carried,
}

/// A snapshot that is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Saved {
    /// Size of the file.
    pub bytes: u64,
    /// Keys in it.
    pub keys: u64,
    /// The version it was written in.
    pub target: Target,
    /// What copy-on-write has cost the child; 0 for a save in place.
    pub cow_bytes: u64,
    /// CRC-64 of the file, of one that carries none itself.
    pub sum: Option<u64>,
}

/// Why there is no snapshot. The old file, if there was one, is as it was, except after
/// `SyncFolder`, when either may be there after a power cut.
#[derive(Debug)]
pub enum SaveError {
    /// A call on the file failed.
    Io {
        /// `create`, `write`, `sync`, `rename` or `sync folder`.
        step: &'static str,
        /// The file.
        path: PathBuf,
        /// What the disk said.
        error: io::Error,
    },
    /// The named target cannot hold a value.
    Inexpressible(String),
    /// The child ended without a word.
    Child(Ended),
    /// The child said this.
    Reported(String),
    /// Fork failed.
    Fork(io::Error),
    /// The server that wanted it is gone. Another one may have begun on the same files.
    Orphaned,
}

impl fmt::Display for SaveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SaveError::Io { step, path, error } => write!(f, "{step} {}: {error}", path.display()),
            SaveError::Inexpressible(what) | SaveError::Reported(what) => f.write_str(what),
            SaveError::Child(Ended::Signaled(signal)) => write!(f, "terminated by signal {signal}"),
            SaveError::Child(Ended::Exited(status)) => write!(f, "exited with status {status}"),
            SaveError::Orphaned => f.write_str("the server is gone"),
            SaveError::Fork(error) => write!(f, "Can't save in background: fork: {error}"),
        }
    }
}

impl std::error::Error for SaveError {}

/// The auxiliary field that `Producer::stamp` stands in. Other servers pass over it.
pub(super) const STAMP_AUX: &[u8] = b"ctime-ms";

/// Progress is looked at after this many keys.
const KEYS_PER_STEP: u64 = 1 << 10;
/// A child reports no more often than this: finding its private pages costs milliseconds a GiB.
const REPORT_EVERY: Duration = Duration::from_millis(500);

struct FileDrain(Box<dyn OutputFile>);

impl Drain for FileDrain {
    type Error = io::Error;

    fn drain(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }
}

/// The name that a snapshot has while process `pid` writes it.
pub fn temp_path(path: &Path, pid: u32) -> PathBuf {
    path.with_file_name(format!("temp-{pid}.rdb"))
}

/// Writes a snapshot to `path`. `progress` hears the number of keys written, now and then.
///
/// # Errors
/// See `SaveError`. The temporary file is removed.
pub fn save(
    storage: &dyn Storage,
    path: &Path,
    settings: Settings,
    producer: &Producer,
    contents: Contents<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<Saved, SaveError> {
    save_for(storage, path, settings, producer, contents, progress, None)
}

/// The same, in a child of `parent`: without the parent nothing gets the final name.
fn save_for(
    storage: &dyn Storage,
    path: &Path,
    settings: Settings,
    producer: &Producer,
    contents: Contents<'_>,
    progress: &mut dyn FnMut(u64),
    parent: Option<Parent>,
) -> Result<Saved, SaveError> {
    let temp = temp_path(path, std::process::id());
    let saved = write_temp(storage, &temp, settings, producer, contents, progress).and_then(|saved| {
        if parent.is_some_and(|parent| !parent.is_alive()) {
            return Err(SaveError::Orphaned);
        }
        publish(storage, &temp, path).map(|()| saved)
    });
    if matches!(&saved, Err(e) if !matches!(e, SaveError::Io { step: "sync folder", .. })) {
        // Best effort: the start-up sweep takes what is left.
        let _ = storage.remove(&temp);
    }
    saved
}

pub(super) fn failed<'a>(step: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> SaveError + 'a {
    move |error| SaveError::Io { step, path: path.to_owned(), error }
}

fn publish(storage: &dyn Storage, temp: &Path, path: &Path) -> Result<(), SaveError> {
    storage.rename(temp, path).map_err(failed("rename", path))?;
    let dir = dir_of(path);
    storage.sync_dir(dir).map_err(failed("sync folder", dir))
}

/// Has a file stand at `path`, where a first snapshot is about to come, unless there is one: with a head and no end,
/// so that no server starts on it, where without it one would start empty. It says `why` to people.
///
/// # Errors
/// See `SaveError`.
pub fn announce(storage: &dyn Storage, path: &Path, why: &str) -> Result<(), SaveError> {
    if storage.meta(path).map_err(failed("look at", path))?.is_some() {
        return Ok(());
    }
    let mut head = Writer::new(Vec::new(), WriterOptions { compress: false, checksum: false });
    let Ok(()) = head.start(LOWEST).and_then(|()| head.aux(b"note", why.as_bytes()));
    let Ok(head) = head.into_drain();
    let temp = temp_path(path, std::process::id());
    let mut file = storage.create(&temp).map_err(failed("create", &temp))?;
    file.write_all(&head).map_err(failed("write", &temp))?;
    file.sync().map_err(failed("sync", &temp))?;
    publish(storage, &temp, path)
}

pub(super) fn write_temp(
    storage: &dyn Storage,
    temp: &Path,
    settings: Settings,
    producer: &Producer,
    contents: Contents<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<Saved, SaveError> {
    let mut fit = Fit::new(settings.target);
    loop {
        let mut file = storage.create(temp).map_err(failed("create", temp))?;
        if !settings.incremental_sync {
            file.write_at_once();
        }
        match write_all(file, &mut fit, settings, producer, contents, progress) {
            Ok((mut file, bytes, keys)) => {
                file.sync().map_err(failed("sync", temp))?;
                return Ok(Saved { bytes, keys, target: fit.target(), cow_bytes: 0, sum: None });
            }
            Err(Stop::Disk(error)) => return Err(failed("write", temp)(error)),
            Err(Stop::Refused(what)) => return Err(SaveError::Inexpressible(what)),
            // The next target holds all that was met so far, so this ends.
            Err(Stop::Again) => {}
        }
    }
}

type Written = (Box<dyn OutputFile>, u64, u64);

fn write_all(
    file: Box<dyn OutputFile>,
    fit: &mut Fit,
    settings: Settings,
    producer: &Producer,
    contents: Contents<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<Written, Stop> {
    let options = WriterOptions { compress: settings.compress, checksum: settings.checksum };
    let mut w = Writer::new(FileDrain(file), options);
    let begun = fit.target();
    w.start(begun)?;
    write_aux(&mut w, producer)?;
    for aux in &contents.carried.module_aux_before {
        w.module_aux(aux)?;
    }
    fit.admit_functions(!contents.carried.functions.is_empty())?;
    save::functions(&mut w, fit.target(), contents.carried.functions.sources()).map_err(Stop::unforeseen)?;
    let mut keys = 0;
    for (index, db) in contents.keyspace.iter().enumerate().filter(|(_, db)| !db.is_empty()) {
        w.select_db(index as u64)?;
        w.resize_db(db.len() as u64, db.expires_len() as u64)?;
        for (entry, used) in db.iter_used() {
            fit.admit(index, entry.key(), entry.view())?;
            match used {
                Some(Used::Idle(seconds)) => w.idle(seconds)?,
                Some(Used::Freq(counter)) => w.freq(counter)?,
                None => {}
            }
            save::entry(&mut w, fit.target(), entry.key(), entry.expire_at(), entry.view())
                .map_err(Stop::unforeseen)?;
            keys += 1;
            if keys % KEYS_PER_STEP == 0 || settings.key_delay_us > 0 {
                progress(keys);
            }
            if settings.key_delay_us != 0 {
                sleep_after(keys, settings.key_delay_us);
            }
        }
    }
    for aux in &contents.carried.module_aux_after {
        w.module_aux(aux)?;
    }
    progress(keys);
    Ok(finish(w, begun, fit.target(), keys)?)
}

/// Sleeps as `Settings::key_delay_us` says, given that `keys` are written.
pub(super) fn sleep_after(keys: u64, key_delay_us: i64) {
    let (every, us) =
        if key_delay_us > 0 { (1, key_delay_us.unsigned_abs()) } else { (key_delay_us.unsigned_abs(), 1) };
    if keys.is_multiple_of(every) {
        std::thread::sleep(Duration::from_micros(us));
    }
}

fn finish(w: Writer<FileDrain>, begun: Target, target: Target, keys: u64) -> io::Result<Written> {
    const TRAILER_BYTES: u64 = 9;
    let bytes = w.offset() + TRAILER_BYTES;
    let FileDrain(mut file) = w.finish_as(begun, target)?;
    if target != begun {
        file.replace_start(&target.version().magic())?;
    }
    Ok((file, bytes, keys))
}

fn write_aux(w: &mut Writer<FileDrain>, producer: &Producer) -> io::Result<()> {
    w.aux(b"redis-ver", producer.redis_version.as_bytes())?;
    w.aux(b"redis-bits", b"64")?;
    w.aux(b"ctime", (producer.created_at.0 / 1000).to_string().as_bytes())?;
    w.aux(b"used-mem", producer.used_memory.to_string().as_bytes())?;
    if let Some(stamp) = producer.stamp {
        w.aux(STAMP_AUX, stamp.0.to_string().as_bytes())?;
    }
    w.aux(b"aof-base", if producer.is_aof_base { b"1" } else { b"0" })
}

/// A snapshot that is written while the engine goes on.
#[derive(Debug)]
pub struct Background {
    runner: Runner,
    progress: Progress,
    outcome: Option<Result<Saved, SaveError>>,
}

#[derive(Debug)]
enum Runner {
    Child {
        child: fork::Child,
        unread: Vec<u8>,
    },
    /// It is done, and waits to be asked for.
    Here,
}

/// What a running child has told last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Keys written.
    pub keys: u64,
    /// Keys to write.
    pub keys_total: u64,
    /// What copy-on-write has cost the child so far.
    pub cow_bytes: u64,
    /// The most it has been.
    pub cow_peak_bytes: u64,
}

/// A report is a kind and four numbers; a failure's text follows its report, as long as the first says.
const REPORT_BYTES: usize = 1 + 4 * 8;
const REPORT_PROGRESS: u8 = 0;
const REPORT_SAVED: u8 = 1;
const REPORT_FAILED: u8 = 2;
/// As `REPORT_SAVED`, with a sum in the place of a version.
const REPORT_SUMMED: u8 = 3;
/// A failure's text is cut to this, so that it fits the pipe at once.
const MOST_FAILURE_BYTES: usize = 2048;

fn report(kind: u8, numbers: [u64; 4]) -> [u8; REPORT_BYTES] {
    let mut bytes = [kind; REPORT_BYTES];
    LittleEndian::write_u64_into(&numbers, &mut bytes[1..]);
    bytes
}

/// Starts to write a snapshot to `path`, where `apart` says. A child keeps the descriptor `kept` open.
///
/// The caller keeps the table from moving entries while a child runs, so that pages stay shared.
///
/// # Errors
/// `Fork`.
pub fn start(
    apart: Apart,
    kept: Option<i32>,
    storage: &dyn Storage,
    path: &Path,
    settings: Settings,
    producer: &Producer,
    contents: Contents<'_>,
) -> Result<Background, SaveError> {
    begin(apart, kept, contents, |told, parent| {
        save_for(storage, path, settings, producer, contents, told, parent)
    })
}

/// Starts `write`, where `apart` says. It hears whose child it is, if it is one, and tells the number of
/// keys written.
///
/// # Errors
/// `Fork`.
pub(super) fn begin(
    apart: Apart,
    kept: Option<i32>,
    contents: Contents<'_>,
    write: impl FnOnce(&mut dyn FnMut(u64), Option<Parent>) -> Result<Saved, SaveError>,
) -> Result<Background, SaveError> {
    crate::base::crc64::warm_up();
    let keys_total = contents.keyspace.iter().map(|db| db.len() as u64).sum();
    let progress = Progress { keys_total, ..Progress::default() };
    if apart == Apart::Here {
        let saved = write(&mut |_| {}, None);
        let outcome = Some(saved.map_err(|error| SaveError::Reported(error.to_string())));
        return Ok(Background { runner: Runner::Here, progress, outcome });
    }
    let child = fork::spawn(kept, |reporter| {
        let parent = reporter.parent();
        let mut last = Instant::now();
        let mut told = |keys| {
            if last.elapsed() < REPORT_EVERY {
                return;
            }
            last = Instant::now();
            // A parent that is gone has taken the child along; one that is slow blocks nobody else.
            let _ = reporter.send(&report(REPORT_PROGRESS, [keys, memory::private_dirty_bytes(), 0, 0]));
        };
        let saved = write(&mut told, Some(parent));
        tell_end(reporter, &saved)
    })
    .map_err(SaveError::Fork)?;
    Ok(Background { runner: Runner::Child { child, unread: Vec::new() }, progress, outcome: None })
}

/// Tells the parent how it ended, and answers the child's exit status.
fn tell_end(reporter: &mut Reporter, saved: &Result<Saved, SaveError>) -> i32 {
    let (bytes, status) = match saved {
        Ok(saved) => {
            let target = Target::all().position(|t| t == saved.target).unwrap_or_default() as u64;
            let cow = memory::private_dirty_bytes();
            let (kind, third) = saved.sum.map_or((REPORT_SAVED, target), |sum| (REPORT_SUMMED, sum));
            (report(kind, [saved.bytes, saved.keys, third, cow]).to_vec(), 0)
        }
        Err(error) => {
            let text = error.to_string();
            let text = &text.as_bytes()[..text.len().min(MOST_FAILURE_BYTES)];
            let mut bytes = report(REPORT_FAILED, [text.len() as u64, 0, 0, 0]).to_vec();
            bytes.extend_from_slice(text);
            (bytes, 1)
        }
    };
    // Without a parent there is nobody to tell.
    let _ = reporter.send(&bytes);
    status
}

impl Background {
    /// What was told last.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// The process that writes.
    pub fn pid(&self) -> i32 {
        match &self.runner {
            Runner::Child { child, .. } => child.pid(),
            Runner::Here => std::process::id().cast_signed(),
        }
    }

    /// Microseconds that the fork took.
    pub fn fork_us(&self) -> u64 {
        match &self.runner {
            Runner::Child { child, .. } => child.fork_time().as_micros() as u64,
            Runner::Here => 0,
        }
    }

    /// Reads reports and, if it has ended, says how. A child that gets no processor is lent this one: a
    /// millisecond in ten.
    pub fn poll(&mut self) -> Option<Result<Saved, SaveError>> {
        let Runner::Child { child, unread } = &mut self.runner else { return self.outcome.take() };
        // The end is asked for first: what the child wrote before it is then all in the pipe.
        let ended = child.try_wait();
        if child.read_reports(unread).is_ok() {
            take_reports(unread, &mut self.progress, &mut self.outcome);
        }
        let ended = match ended {
            Ok(None) => {
                child.lend_processor();
                return None;
            }
            Ok(Some(ended)) => ended,
            Err(error) => return Some(Err(SaveError::Fork(error))),
        };
        Some(match (self.outcome.take(), ended) {
            (Some(outcome), Ended::Exited(_)) => outcome,
            (_, ended) => Err(SaveError::Child(ended)),
        })
    }

    /// Ends the child at once and removes its temporary file.
    pub fn kill(self, storage: &dyn Storage, path: &Path) {
        let pid = self.pid();
        if self.end() {
            let _ = storage.remove(&temp_path(path, pid.unsigned_abs()));
        }
    }

    /// Ends the child at once. False if there is none: the work was done in this process.
    pub fn end(self) -> bool {
        let Runner::Child { mut child, .. } = self.runner else { return false };
        child.kill();
        true
    }
}

/// Takes whole reports from the front of `unread`.
fn take_reports(
    unread: &mut Vec<u8>,
    progress: &mut Progress,
    outcome: &mut Option<Result<Saved, SaveError>>,
) {
    let mut rest = &unread[..];
    while let Some((head, tail)) = rest.split_at_checked(REPORT_BYTES) {
        let mut numbers = [0; 4];
        LittleEndian::read_u64_into(&head[1..], &mut numbers);
        let [first, second, third, fourth] = numbers;
        match head[0] {
            REPORT_PROGRESS => {
                progress.keys = first;
                progress.cow_bytes = second;
                rest = tail;
            }
            REPORT_SAVED | REPORT_SUMMED => {
                let sum = (head[0] == REPORT_SUMMED).then_some(third);
                let target = sum.map_or(third as usize, |_| 0);
                let target = Target::all().nth(target).unwrap_or_default();
                progress.cow_bytes = fourth;
                *outcome = Some(Ok(Saved { bytes: first, keys: second, target, cow_bytes: fourth, sum }));
                rest = tail;
            }
            _ => {
                let len = (first as usize).min(MOST_FAILURE_BYTES);
                // The text may not have come yet: then its head is kept for the next call.
                let Some((text, after)) = tail.split_at_checked(len) else { break };
                *outcome = Some(Err(SaveError::Reported(String::from_utf8_lossy(text).into_owned())));
                rest = after;
            }
        }
        progress.cow_peak_bytes = progress.cow_peak_bytes.max(progress.cow_bytes);
    }
    let read = unread.len() - rest.len();
    unread.drain(..read);
}

/// Removes the temporary files of processes that are gone, and of this one if it has the folder for
/// itself and so knows that it writes none: its number may be that of a process before it, as in a
/// container it always is. Returns those removed.
pub fn sweep(storage: &dyn Storage, path: &Path, is_alone: bool) -> Vec<PathBuf> {
    let Ok(entries) = storage.list(dir_of(path)) else { return Vec::new() };
    let own = std::process::id().cast_signed();
    let is_dead = |pid| if pid == own { is_alone } else { !fork::is_alive(pid) };
    let is_left = |path: &PathBuf| temp_pid(path).is_some_and(is_dead);
    entries.into_iter().filter(is_left).filter(|path| storage.remove(path).is_ok()).collect()
}

/// The process in the name of a temporary file.
fn temp_pid(path: &Path) -> Option<i32> {
    path.file_name()?.to_str()?.strip_prefix("temp-")?.strip_suffix(".rdb")?.parse().ok()
}

#[cfg(test)]
mod tests;
