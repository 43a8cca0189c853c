//! What a start changes on the disk, when everything has been loaded: a torn end is copied aside and cut
//! off, and a log of one file moves to where logs are kept since Redis 7.0. Each step is durable before
//! the next, and a start that is interrupted between two of them is gone on with by the next one.

use std::io;
use std::path::{Path, PathBuf};

use crate::base::time::UnixMs;
use crate::codec::aof::manifest::Manifest;
use crate::persist::aof::store::{Place, write_manifest};
use crate::persist::storage::{Storage, dir_of, must_have};

use super::file::read_from;
use super::look::{Look, Part, path_in, read_manifest};
use super::refusal::{Refusal, words};
use super::{Level, Listener, Log, Note, RecoverOptions, Recovered, Torn};

/// Sees to it that nobody has changed the log while it was read: a stock server does not know our lock.
///
/// # Errors
/// Somebody has. Nothing was changed here.
pub(super) fn must_be_as_found(storage: &dyn Storage, look: &Look, log: &Log) -> Result<(), Refusal> {
    const CANNOT: &str = "Error going on with the AOF file";
    for Part { source, .. } in &log.parts {
        must_have(storage, &source.path, source.bytes)
            .map_err(|error| Refusal::io(CANNOT, &source.path, &error))?;
    }
    let path = &look.manifest_path;
    let found = storage.meta(path).map_err(|error| Refusal::io(CANNOT, path, &error))?;
    let found = found.map(|_| read_manifest(storage, path)).transpose()?;
    let is_same = match (&look.manifest, &found) {
        // What is history goes at any time.
        (Some(Ok(before)), Some(now)) => {
            let names = |manifest: &Manifest| -> Vec<Vec<u8>> {
                manifest.live().map(|(_, entry)| entry.name.clone()).collect()
            };
            names(before) == names(now)
        }
        (None, None) => true,
        _ => false,
    };
    if is_same {
        return Ok(());
    }
    let error = io::Error::other("it names other files than when it was read: another process writes to it");
    Err(Refusal::io(CANNOT, path, &error))
}

/// Does it.
///
/// # Errors
/// A step failed. Those before it were done; none of them loses anything.
pub(super) fn apply(
    storage: &dyn Storage,
    options: &RecoverOptions,
    log: &Log,
    recovered: &mut Recovered,
    now: UnixMs,
    listener: &mut dyn Listener,
) -> Result<(), Refusal> {
    if let Some(torn) = &mut recovered.torn {
        cut(storage, torn, now, listener)?;
    }
    if log.is_single {
        migrate(storage, options, recovered, listener)?;
    }
    Ok(())
}

/// Copies a torn end to a file beside, and cuts it off.
fn cut(
    storage: &dyn Storage,
    torn: &mut Torn,
    now: UnixMs,
    listener: &mut dyn Listener,
) -> Result<(), Refusal> {
    let mut name = torn.path.clone().into_os_string();
    name.push(format!(".torn-{}", now.0));
    let saved = PathBuf::from(name);
    let copied = copy_tail(storage, torn, &saved)
        .map_err(|error| Refusal::io("Error saving the torn tail of the AOF to", &saved, &error));
    let is_as_read = || {
        must_have(storage, &torn.path, torn.file_bytes)
            .map_err(|error| Refusal::io("Error truncating the AOF file", &torn.path, &error))
    };
    copied.and_then(|()| is_as_read()).inspect_err(|_| {
        // What was copied is of no use without the rest; the file itself is as it was.
        let _ = storage.remove(&saved);
    })?;
    storage
        .truncate(&torn.path, torn.at)
        .map_err(|error| Refusal::io("Error truncating the AOF file", &torn.path, &error))?;
    let text = format!(
        "The {} bytes that were cut off {} are in {}",
        torn.bytes,
        torn.path.display(),
        saved.display()
    );
    listener.note(Note { level: Level::Warning, text });
    torn.saved_as = Some(saved);
    Ok(())
}

fn copy_tail(storage: &dyn Storage, torn: &Torn, saved: &Path) -> io::Result<()> {
    let mut output = storage.create(saved)?;
    let mut left = torn.bytes;
    read_from(storage, &torn.path, torn.at, |bytes| {
        let n = left.min(bytes.len() as u64);
        left -= n;
        output.write_all(&bytes[..n as usize])
    })?;
    output.sync()?;
    storage.sync_dir(dir_of(saved))
}

/// Moves a log of one file into the log's folder, as its base.
fn migrate(
    storage: &dyn Storage,
    options: &RecoverOptions,
    recovered: &Recovered,
    listener: &mut dyn Listener,
) -> Result<(), Refusal> {
    let dir = &options.aof_dir;
    let home = dir_of(dir);
    let from = home.join(&options.filename);
    let Some(base) = &recovered.manifest.base else { return Ok(()) };
    let to = path_in(dir, &base.name);
    let refuse = |what: &str, path: &Path, error: &io::Error| Refusal::io(what, path, error);
    storage
        .create_dir(dir)
        .and_then(|()| storage.sync_dir(home))
        .map_err(|error| refuse("Can't open or create append-only dir", dir, &error))?;
    let text = match options.checksum {
        true => recovered.manifest.format_checked(),
        false => recovered.manifest.format(),
    };
    // The manifest comes first: it tells the next start that the file is about to come.
    let place = Place { dir: dir.clone(), filename: options.filename.clone() };
    write_manifest(storage, &place, &text)
        .map_err(|error| Refusal::new(format!("Error writing the AOF manifest: {error}"), String::new()))?;
    storage
        .rename(&from, &to)
        .and_then(|()| storage.sync_dir(dir))
        .and_then(|()| storage.sync_dir(home))
        .map_err(|error| {
            let why = words(&error);
            let line = format!(
                "Error trying to move the old AOF file {} into dir {}: {why}",
                from.display(),
                dir.display()
            );
            Refusal::new(line, String::new())
        })?;
    let text = format!(
        "Successfully migrated an old-style AOF file ({}) into the AOF directory ({}).",
        options.filename,
        dir.display()
    );
    listener.note(Note { level: Level::Notice, text });
    Ok(())
}
