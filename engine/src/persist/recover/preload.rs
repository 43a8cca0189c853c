//! A start from files elsewhere: a backup, or another server's.
//!
//! They are loaded and left as they are. The log of the data folder, whatever is in it, is history then: it
//! goes when a base of what was loaded is durable.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use super::decide::{self, Plan};
use super::look::look;
use super::refusal::Refusal;
use super::{Destination, Listener, RecoverOptions, Recovered, Source, load_dump, load_log};
use crate::codec::aof::manifest::SUFFIX;
use crate::persist::storage::{Storage, dir_of};

/// What a start loads in the place of what its folder has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preload {
    /// An RDB file.
    Dump(PathBuf),
    /// A log: its manifest, or the file of a log that is one file.
    Log(PathBuf),
}

/// Loads it into `into`, which must be empty. Nothing is changed on the disk.
///
/// # Errors
/// `Refusal`: it is not there, or cannot be used, or the data folder's own log cannot be looked at.
pub fn preload(
    storage: &dyn Storage,
    what: &Preload,
    into: Destination<'_>,
    options: &RecoverOptions,
    listener: &mut dyn Listener,
) -> Result<Recovered, Refusal> {
    let retired = look(storage, options)?.retired();
    match what {
        Preload::Dump(path) => {
            let options = RecoverOptions { rdb_path: path.clone(), ..options.clone() };
            let loaded = load_dump(storage, into, &options, listener)?;
            Ok(Recovered::without_log(Source::Dump(Box::new(loaded)), retired))
        }
        Preload::Log(path) => {
            let options = elsewhere(path, options);
            let look = look(storage, &options)?;
            if let Err(error) = storage.open(path) {
                return Err(Refusal::io("Can't open", path, &error));
            }
            let decision = decide::decide(&look, &options)?;
            decision.notes.into_iter().for_each(|note| listener.note(note));
            let Plan::Log(log) = decision.plan else {
                return Err(Refusal::io("Can't load", path, &io::Error::from(io::ErrorKind::InvalidData)));
            };
            let loaded = load_log(storage, into, &options, &log, listener)?;
            Ok(Recovered { manifest: retired, last: None, torn: None, log_bytes: 0, base_bytes: 0, ..loaded })
        }
    }
}

/// The options of a start in whose folder this log were.
fn elsewhere(path: &Path, options: &RecoverOptions) -> RecoverOptions {
    let dir = dir_of(path).to_owned();
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let nothing = |name: &str| dir.join(format!("{name}.none"));
    let (aof_dir, filename) = match name.strip_suffix(SUFFIX) {
        Some(filename) => (dir.clone(), filename.to_owned()),
        None => (nothing(name), name.to_owned()),
    };
    RecoverOptions { enabled: true, rdb_path: nothing(name), aof_dir, filename, ..options.clone() }
}
