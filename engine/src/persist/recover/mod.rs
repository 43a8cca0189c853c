//! The start: which of the files in the data folder are the data, and what is in them.
//!
//! First it is looked what there is (`look.rs`) and decided what of it counts (`decide.rs`); then that is
//! loaded; and only when all of it could be used something on the disk is changed (`change.rs`): a torn end
//! is copied aside and cut off, a log of one file is moved to where logs are kept now. Who refuses has
//! changed nothing, so a second start says the same as the first. A file of ours is loaded or refused; it is
//! never passed over in silence. Behaviour, where it is no harm: valkey src/aof.c `loadAppendOnlyFiles`,
//! with its words.

mod batch;
mod build;
mod change;
mod decide;
mod file;
mod functions;
mod look;
mod parse;
mod pipe;
mod plain;
mod preload;
mod refusal;
mod replay;
mod scripts;
mod table;

use std::path::PathBuf;
use std::time::Instant;

use crate::base::time::UnixMs;
use crate::codec::aof::manifest::Manifest;
use crate::codec::rdb::Options;
use crate::persist::apart::Apart;
use crate::persist::load::{self, LoadError, LoadProgress, Loaded};
use crate::persist::storage::Storage;

use decide::Plan;
use file::{Bad, Found, Span};
use look::Part;

pub use preload::{Preload, preload};
pub use refusal::Refusal;
pub use replay::Destination;

/// What the configuration says about the start.
#[derive(Debug, Clone)]
pub struct RecoverOptions {
    /// `appendonly`: the data are in the log.
    pub enabled: bool,
    /// The snapshot's file.
    pub rdb_path: PathBuf,
    /// The folder of the log's files: `appenddirname` in the data folder.
    pub aof_dir: PathBuf,
    /// What the names of the log's files start with: `appendfilename`. Logs of one file have this name.
    pub filename: String,
    /// `aof-load-truncated`: a torn end is cut off.
    pub load_truncated: bool,
    /// `aof-load-corrupt-tail-max-size`: a damaged end of no more than so many bytes is cut off, too.
    pub corrupt_tail_max_bytes: u64,
    /// `aof-checksum`: manifests that are written here have sums.
    pub checksum: bool,
    /// Whether commands that answer with an error are a reason to refuse.
    pub strict: bool,
    /// How RDB files are checked.
    pub rdb: Options,
}

/// How much somebody should care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// It is good to know.
    Notice,
    /// Somebody should look.
    Warning,
}

/// A line for the server's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// How much somebody should care.
    pub level: Level,
    /// What has happened.
    pub text: String,
}

/// What is to be done with a command of a log that is no data command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outside {
    /// Nothing: it has no effect on the data.
    Skip,
    /// The log is refused for this reason.
    Refuse(String),
    /// There is no such command: the log is refused.
    Unknown,
}

/// Who hears what happens during a start.
pub trait Listener {
    /// So much is done. Called between pieces, so that clients can be answered meanwhile.
    fn progress(&mut self, progress: LoadProgress);
    /// Something for the server's log.
    fn note(&mut self, note: Note);
    /// A log has a command that is no data command: what is to be done with it?
    fn outside(&mut self, argv: &[&[u8]]) -> Outside;
}

/// Where the data came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// There was nothing.
    Nothing,
    /// The snapshot's file.
    Dump(Box<Loaded>),
    /// The log.
    Log,
}

/// The increment that a log goes on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastIncr {
    /// Its name.
    pub name: Vec<u8>,
    /// Bytes of the log in it, a torn end being cut off.
    pub bytes: u64,
    /// Its size: behind the log there may be a reserve.
    pub file_bytes: u64,
    /// CRC-64 of the log in it.
    pub crc64: u64,
    /// Whether the log must go on in another: another server has written behind the reserve of this one.
    pub is_closed: bool,
}

/// An end that was cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// The file.
    pub path: PathBuf,
    /// Its size now.
    pub at: u64,
    /// Bytes of the log that were cut off.
    pub bytes: u64,
    /// The file's size before. Behind those bytes there was a reserve.
    pub file_bytes: u64,
    /// Where they are now; `None` if nothing was cut, because the log is not in use.
    pub saved_as: Option<PathBuf>,
}

/// What a start has found and done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// Where the data came from.
    pub source: Source,
    /// What the manifest says, if the data are in the log. Otherwise the log's files are all history: they
    /// go when a new base is durable, and names go on after theirs.
    pub manifest: Manifest,
    /// The increment to go on with.
    pub last: Option<LastIncr>,
    /// Bytes of the log's live files.
    pub log_bytes: u64,
    /// Bytes of its base.
    pub base_bytes: u64,
    /// The RDB file that the log starts with.
    pub base: Option<Box<Loaded>>,
    /// Commands run.
    pub commands: u64,
    /// Commands that answered with an error.
    pub errors: u64,
    /// The end that was torn.
    pub torn: Option<Torn>,
    /// The place of the snapshot's file among the times in manifests, whether it was loaded or not.
    pub stamp: Option<UnixMs>,
}

/// Finds the data, loads them into `into`, which must be empty, and puts the files in order.
///
/// # Errors
/// `Refusal`: the files are as they were, and `into` is not to be used.
pub fn recover(
    storage: &dyn Storage,
    into: Destination<'_>,
    options: &RecoverOptions,
    listener: &mut dyn Listener,
) -> Result<Recovered, Refusal> {
    let look = look::look(storage, options)?;
    let decision = decide::decide(&look, options)?;
    for note in decision.notes {
        listener.note(note);
    }
    let stamp = look.dump.and_then(|dump| dump.stamp);
    let recovered = match decision.plan {
        Plan::Nothing => Ok(Recovered::without_log(Source::Nothing, look.retired())),
        Plan::Dump => {
            let loaded = load_dump(storage, into, options, listener)?;
            Ok(Recovered::without_log(Source::Dump(Box::new(loaded)), look.retired()))
        }
        Plan::Log(log) => {
            let now = into.now;
            let mut recovered = load_log(storage, into, options, &log, listener)?;
            if options.enabled {
                change::must_be_as_found(storage, &look, &log)?;
                change::apply(storage, options, &log, &mut recovered, now, listener)?;
            }
            Ok(recovered)
        }
    }?;
    Ok(Recovered { stamp, ..recovered })
}

impl Recovered {
    fn without_log(source: Source, manifest: Manifest) -> Recovered {
        Recovered {
            source,
            manifest,
            last: None,
            log_bytes: 0,
            base_bytes: 0,
            base: None,
            commands: 0,
            errors: 0,
            torn: None,
            stamp: None,
        }
    }
}

fn load_dump(
    storage: &dyn Storage,
    Destination { keyspace, carried, limits, now, .. }: Destination<'_>,
    options: &RecoverOptions,
    listener: &mut dyn Listener,
) -> Result<Loaded, Refusal> {
    let path = &options.rdb_path;
    let mut input = storage.open(path).map_err(|error| Refusal::dump(&LoadError::io(path, error)))?;
    let destination = load::Destination { keyspace, carried, limits, now: Some(now) };
    load::load(destination, input.as_mut(), options.rdb, &mut |progress| listener.progress(progress))
        .map_err(|fault| Refusal::dump(&LoadError { path: path.clone(), fault: Box::new(fault) }))
}

/// The log that was decided for.
#[derive(Debug)]
pub(super) struct Log {
    /// Its manifest, or one that says what there is instead of it.
    manifest: Manifest,
    /// Its live files in order.
    parts: Vec<Part>,
    /// Whether it is one file in the data folder, which has to be moved.
    is_single: bool,
}

fn load_log(
    storage: &dyn Storage,
    into: Destination<'_>,
    options: &RecoverOptions,
    log: &Log,
    listener: &mut dyn Listener,
) -> Result<Recovered, Refusal> {
    let may_spawn = into.apart == Apart::ForkAndThreads;
    let total = log.parts.iter().map(|part| part.source.bytes).sum();
    let mut recovered =
        Recovered { log_bytes: total, ..Recovered::without_log(Source::Log, log.manifest.clone()) };
    let mut replayer = replay::Replayer::new(into, listener);
    let mut before = 0;
    for (i, part) in log.parts.iter().enumerate() {
        let is_last = i + 1 == log.parts.len();
        let since = Instant::now();
        let span = Span { before, total, is_base: part.is_base && !part.is_single };
        before += part.source.bytes;
        let found = file::read(storage, &part.source, span, options.rdb, &mut replayer, may_spawn)
            .map_err(|failure| Refusal::file(part, &failure))?;
        if options.strict && replayer.errors > 0 {
            return Err(Refusal::strict(part, replayer.errors));
        }
        if found.has_foreign {
            let text =
                format!("{} goes on with commands of another server, which have no checksums", part.shown());
            replayer.listener.note(Note { level: Level::Notice, text });
        }
        if let Some(bad) = &found.bad {
            let end = match found.has_blocks {
                true => file::reserve_start(storage, &part.source, found.valid_to)
                    .map_err(|error| Refusal::file(part, &file::Failure::Io(error)))?,
                false => part.source.bytes,
            };
            let bad = (bad, end - found.valid_to);
            let torn = cut(part, bad, found.valid_to, is_last, options, replayer.listener)?;
            recovered.log_bytes -= torn.file_bytes - torn.at;
            recovered.torn = Some(torn);
        } else if is_last {
            recovered.log_bytes -= found.read_to - found.valid_to;
        }
        let text = format!(
            "DB loaded from {} file {}: {:.3} seconds",
            if part.is_base { "base" } else { "incr" },
            part.shown(),
            since.elapsed().as_secs_f64()
        );
        if part.source.bytes > 0 {
            replayer.listener.note(Note { level: Level::Notice, text });
        }
        recovered.note_part(part, found, is_last, i);
    }
    recovered.commands = replayer.commands;
    recovered.errors = replayer.errors;
    Ok(recovered)
}

impl Recovered {
    /// Notes what was found in a file, also in the manifest, so that it is known when it is next read.
    fn note_part(&mut self, part: &Part, found: Found, is_last: bool, index: usize) {
        if part.is_base {
            self.base_bytes = found.valid_to;
            if let Some(base) = &mut self.manifest.base {
                base.marks.size = Some(found.valid_to);
                base.marks.crc64 = found.crc64;
                base.marks.end = None;
            }
            self.base = found.rdb.map(Box::new);
            return;
        }
        let before = usize::from(self.manifest.base.is_some());
        let Some(entry) = self.manifest.incr.get_mut(index - before) else { return };
        let crc64 = found.crc64.unwrap_or_default();
        if is_last {
            let (name, bytes) = (entry.name.clone(), found.valid_to);
            let file_bytes = if found.bad.is_some() { bytes } else { found.read_to };
            self.last = Some(LastIncr { name, bytes, file_bytes, crc64, is_closed: found.has_gap });
        } else {
            entry.marks.size = Some(found.read_to);
            entry.marks.crc64 = Some(found.read_crc64);
            entry.marks.end = None;
        }
    }
}

/// Whether the end of a file may be cut off, which begins at `at` and has so many bytes and a reserve.
fn cut(
    part: &Part,
    (bad, bytes): (&Bad, u64),
    at: u64,
    is_last: bool,
    options: &RecoverOptions,
    listener: &mut dyn Listener,
) -> Result<Torn, Refusal> {
    // Where nothing is to be cut off, something is missing.
    let is_small = bytes > 0 && bytes <= options.corrupt_tail_max_bytes;
    let is_cut = is_last && ((bad.is_torn && options.load_truncated) || (!bad.is_torn && is_small));
    if !is_cut {
        return Err(Refusal::bad(part, bad, bytes, is_last, options));
    }
    let mut warn = |text: String| listener.note(Note { level: Level::Warning, text });
    let name = part.shown();
    if bad.is_open {
        warn(format!("Revert incomplete MULTI/EXEC transaction in AOF file {name}"));
    }
    if bad.is_torn {
        warn(format!("!!! Warning: short read while loading the AOF file {name}!!!"));
    } else {
        warn(format!("!!! Warning: corrupt AOF file tail: {name} !!!"));
    }
    warn(format!("{name}: {}", bad.what));
    warn(format!("!!! Truncating the AOF {name} at offset {at} !!!"));
    warn(match bad.is_torn {
        true => format!("AOF {name} loaded anyway because aof-load-truncated is enabled"),
        false => {
            format!("AOF {name} loaded anyway because its tail is within aof-load-corrupt-tail-max-size")
        }
    });
    let file_bytes = part.source.bytes;
    Ok(Torn { path: part.source.path.clone(), at, bytes, file_bytes, saved_as: None })
}
