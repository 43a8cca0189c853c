//! Steps on the folder of a log: manifests, new bases, removal of what was replaced.
//!
//! Each runs on the thread of a lane, or in place, and knows no more than it is given. The order of calls
//! is the guarantee: what a manifest names is durable, names included, before the manifest gets its name.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::codec::aof::manifest::{self, Entry, Manifest};
use crate::persist::storage::Storage;

/// Where a manifest lies.
#[derive(Debug, Clone)]
pub(in crate::persist) struct Place {
    pub(in crate::persist) dir: PathBuf,
    pub(in crate::persist) filename: String,
}

impl Place {
    /// The path of a file in the folder.
    pub(super) fn of(&self, name: &[u8]) -> PathBuf {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        self.dir.join(OsStr::from_bytes(name))
    }

    /// The path of the manifest.
    pub(super) fn manifest(&self) -> PathBuf {
        self.dir.join(format!("{}{}", self.filename, manifest::SUFFIX))
    }

    fn temp_manifest(&self) -> PathBuf {
        self.dir.join(format!("{}{}{}", manifest::TEMP_PREFIX, self.filename, manifest::SUFFIX))
    }
}

/// Why a step was not done.
#[derive(Debug)]
pub(in crate::persist) struct StepError {
    /// The call and its file.
    what: String,
    error: io::Error,
    /// True if nobody knows which manifest is there after a power cut: the old one or the new one.
    pub(super) is_unknown: bool,
}

impl StepError {
    pub(super) fn new(call: &str, path: &Path, error: io::Error) -> StepError {
        StepError { what: format!("{call} {}", path.display()), error, is_unknown: false }
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.error)
    }
}

fn failed<'a>(call: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> StepError + 'a {
    move |error| StepError::new(call, path, error)
}

/// Puts a manifest in the place of the one that is there, and makes it durable.
///
/// # Errors
/// `StepError`: the old one is there, unless `is_unknown`.
pub(in crate::persist) fn write_manifest(
    storage: &dyn Storage,
    place: &Place,
    text: &[u8],
) -> Result<(), StepError> {
    publish(storage, place, &[], text).map(drop)
}

/// Whether a manifest is there.
///
/// # Errors
/// What the disk said.
pub(super) fn has_manifest(storage: &dyn Storage, place: &Place) -> Result<bool, StepError> {
    let path = place.manifest();
    storage.meta(&path).map(|meta| meta.is_some()).map_err(failed("look at", &path))
}

/// The manifest that is there; `None` if none is.
///
/// # Errors
/// What the disk said.
pub(super) fn read_manifest(
    storage: &dyn Storage,
    place: &Place,
) -> io::Result<Option<Result<Manifest, manifest::Error>>> {
    match read(storage, &place.manifest()) {
        Ok(text) => Ok(Some(Manifest::parse(&text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Ends what a crash has interrupted: where there is no manifest, but an unfinished one, that is all which
/// tells what the files are, and the next manifest would be written over it. It is put in place if the
/// log `is_used`; otherwise the files that it names go.
///
/// # Errors
/// What the disk said.
pub(super) fn settle_unfinished(
    storage: &dyn Storage,
    place: &Place,
    is_used: bool,
) -> Result<(), StepError> {
    let temp = place.temp_manifest();
    if has_manifest(storage, place)? || storage.meta(&temp).map_err(failed("look at", &temp))?.is_none() {
        return Ok(());
    }
    if is_used {
        storage.rename(&temp, &place.manifest()).map_err(failed("rename", &temp))?;
    } else {
        let Ok(unfinished) = Manifest::parse(&read(storage, &temp).map_err(failed("read", &temp))?) else {
            // It did not come so far that a file had its name.
            return Ok(());
        };
        if unfinished.incr.len() > 1 || !unfinished.history.is_empty() {
            // No first manifest is like that: somebody has taken another one away.
            return Ok(());
        }
        for (_, entry) in unfinished.entries() {
            let path = place.of(&entry.name);
            match storage.remove(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StepError::new("remove", &path, error));
                }
                _ => {}
            }
        }
    }
    storage.sync_dir(&place.dir).map_err(failed("sync", &place.dir))
}

fn read(storage: &dyn Storage, path: &Path) -> io::Result<Vec<u8>> {
    const PIECE: usize = 4096;
    let mut file = storage.open(path)?;
    let mut bytes = Vec::new();
    loop {
        let len = bytes.len();
        bytes.resize(len + PIECE, 0);
        let n = file.read(&mut bytes[len..])?;
        bytes.truncate(len + n);
        if n == 0 {
            return Ok(bytes);
        }
    }
}

/// A file that gets its name together with a manifest.
#[derive(Debug, Clone)]
pub(super) struct Naming {
    pub(super) from: PathBuf,
    pub(super) to: PathBuf,
}

/// Gives new files their names and puts the manifest that names them in place.
///
/// The unfinished manifest is durable before any file gets its name: where there was no manifest before, a
/// start knows by it that files without one are those of a log that was about to begin.
///
/// Returns how long it took to name each file.
///
/// # Errors
/// `StepError`. Unless `is_unknown`, the old manifest is there and the new files are gone.
pub(super) fn publish(
    storage: &dyn Storage,
    place: &Place,
    names: &[Naming],
    text: &[u8],
) -> Result<Vec<Duration>, StepError> {
    let mut took = Vec::new();
    let (temp, dir) = (place.temp_manifest(), place.dir.as_path());
    let sync_dir = || storage.sync_dir(dir).map_err(failed("sync", dir));
    let published = write_temp(storage, &temp, text)
        .and_then(|()| sync_dir())
        .and_then(|()| {
            names.iter().try_for_each(|name| {
                let began = Instant::now();
                storage.rename(&name.from, &name.to).map_err(failed("rename", &name.from))?;
                took.push(began.elapsed());
                Ok(())
            })
        })
        // What it names must not be less durable than the manifest itself.
        .and_then(|()| if names.is_empty() { Ok(()) } else { sync_dir() })
        .and_then(|()| put_in_place(storage, place, text))
        .and_then(|()| sync_dir().map_err(|error| StepError { is_unknown: true, ..error }));
    if published.as_ref().is_err_and(|error| !error.is_unknown) {
        for name in names {
            // Best effort: a file that no manifest names is never loaded.
            let _ = storage.remove(&name.to);
            let _ = storage.remove(&name.from);
        }
        // It tells what those files were for as long as they may be there.
        if names.is_empty() || storage.sync_dir(dir).is_ok() {
            let _ = storage.remove(&temp);
        }
    }
    published.map(|()| took)
}

/// Gives the new manifest its name.
fn put_in_place(storage: &dyn Storage, place: &Place, text: &[u8]) -> Result<(), StepError> {
    let (path, temp) = (place.manifest(), place.temp_manifest());
    match storage.rename(&temp, &path) {
        Ok(()) => Ok(()),
        // A call that failed may have been done nevertheless.
        Err(error) => match has_content(storage, &path, text) {
            Ok(true) => Ok(()),
            read => Err(StepError { is_unknown: read.is_err(), ..StepError::new("rename", &temp, error) }),
        },
    }
}

fn write_temp(storage: &dyn Storage, temp: &Path, text: &[u8]) -> Result<(), StepError> {
    let mut file = storage.create(temp).map_err(failed("create", temp))?;
    file.write_all(text).map_err(failed("write", temp))?;
    file.sync().map_err(failed("sync", temp))
}

/// Whether a file says just this.
fn has_content(storage: &dyn Storage, path: &Path, text: &[u8]) -> io::Result<bool> {
    match read(storage, path) {
        Ok(found) => Ok(found == text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// What came of removing files.
#[derive(Debug)]
pub(super) struct Tidied {
    /// Files that could not be removed.
    pub(super) left: Vec<Entry>,
    /// Whether the manifest without the others is there.
    pub(super) result: Result<(), StepError>,
}

/// Removes files that were replaced, then puts a manifest in place that does not name them any more:
/// `text` makes it, given those that could not be removed.
pub(super) fn tidy(
    storage: &dyn Storage,
    place: &Place,
    history: Vec<Entry>,
    text: impl FnOnce(&[Entry]) -> Vec<u8>,
) -> Tidied {
    let is_left = |entry: &Entry| match storage.remove(&place.of(&entry.name)) {
        Ok(()) => false,
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    };
    let left: Vec<Entry> = history.into_iter().filter(is_left).collect();
    let result = write_manifest(storage, place, &text(&left));
    Tidied { left, result }
}
