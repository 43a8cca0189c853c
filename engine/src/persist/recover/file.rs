//! One file of a log, from front to back: an RDB file if it starts with one, commands, checked blocks.
//!
//! A block is looked at before a command of it runs. Where something is wrong it is told what that means:
//! the end of a write that a power cut has torn, or damage. Nothing is changed here. Memory is bounded by
//! the longest block, command or transaction that the file really has.

use std::io;
use std::path::{Path, PathBuf};

use crate::base::crc64::Crc64;
use crate::codec::aof::block::{Search, Verdict};
use crate::codec::aof::manifest::Marks;
use crate::codec::aof::{MAGIC_BYTES, reserve, starts_with_rdb};
use crate::codec::rdb::Options;
use crate::persist::load::{self, LoadError, LoadProgress, Loaded};
use crate::persist::storage::{InputFile, Storage};

use super::parse::{Failed, Feed, Parsing, Stopped, Wrong};
use super::pipe;
use super::replay::Replayer;

/// Bytes read at a time of what is not run.
const PIECE: usize = 256 << 10;
/// A longer end of a file is not looked at as a whole.
const LONGEST_TAIL: u64 = 64 << 20;

/// A file to read.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    /// What the manifest says of it.
    pub(super) marks: Marks,
    /// Its size.
    pub(super) bytes: u64,
}

/// How far all files are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    /// Bytes of the files before this one.
    pub(super) before: u64,
    /// Bytes of all of them.
    pub(super) total: u64,
    /// Whether this one is a base.
    pub(super) is_base: bool,
}

/// What was found in a file.
#[derive(Debug)]
pub(super) struct Found {
    /// Everything before it was right and has been run. Behind it there is nothing but a reserve, or what is
    /// `bad`.
    pub(super) valid_to: u64,
    /// Where reading ended, and the CRC-64 of everything before.
    pub(super) read_to: u64,
    pub(super) read_crc64: u64,
    /// CRC-64 of the bytes before `valid_to`, of a file that has no RDB file in front.
    pub(super) crc64: Option<u64>,
    /// The RDB file in front.
    pub(super) rdb: Option<Loaded>,
    /// What is wrong at `valid_to`, if that is not the end.
    pub(super) bad: Option<Bad>,
    /// Whether some of it is in blocks.
    pub(super) has_blocks: bool,
    /// Whether others have appended to it after blocks of ours.
    pub(super) has_foreign: bool,
    /// Whether those stand behind a reserve.
    pub(super) has_gap: bool,
}

/// Something that is wrong in a file.
#[derive(Debug)]
pub(super) struct Bad {
    /// What it is, and where it shows.
    pub(super) what: String,
    /// Whether it may be the end of something that was being written.
    pub(super) is_torn: bool,
    /// Whether it is the end of a transaction that is missing.
    pub(super) is_open: bool,
}

/// Why a file cannot be used at all.
#[derive(Debug)]
pub(super) enum Failure {
    Io(io::Error),
    Rdb(LoadError),
    /// An RDB file is not the whole file, though it is closed.
    Behind(u64),
    Command(Stopped),
    /// It is right in itself and not what the manifest names.
    Sum {
        found: u64,
        expected: u64,
    },
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Io(error)
    }
}

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Failure {
        match failed {
            Failed::Io(error) => Failure::Io(error),
            Failed::Command(stopped) => Failure::Command(stopped),
        }
    }
}

/// Reads a file and runs what is in it.
///
/// # Errors
/// `Failure`: whatever the settings are, the file cannot be used.
pub(super) fn read(
    storage: &dyn Storage,
    source: &Source,
    span: Span,
    options: Options,
    replayer: &mut Replayer<'_>,
    may_spawn: bool,
) -> Result<Found, Failure> {
    let mut feed = Feed::new(storage.open(&source.path)?);
    feed.fill(MAGIC_BYTES)?;
    replayer.begin_file();
    let progress = LoadProgress { bytes: span.before, total_bytes: span.total, ..replayer.progress };
    replayer.listener.progress(progress);
    let mut rdb = None;
    if starts_with_rdb(&feed.bytes) {
        let (loaded, behind) = read_rdb(storage, source, span, options, replayer)?;
        replayer.note_origin(&loaded);
        rdb = Some(loaded);
        feed = behind;
    }
    let in_blocks = source.marks.blocks == Some(feed.offset) && rdb.is_none();
    let mut parsing = Parsing::new(feed, replayer.into.keyspace.len(), in_blocks);
    parsing.has_blocks |= source.marks.blocks.is_some();
    let (mut parsing, wrong) = pipe::run(parsing, replayer, span, may_spawn)?;
    let (read_to, read_crc64) = (parsing.feed.offset, parsing.feed.sum.value());
    let (valid_to, sum) = parsing.content_end.unwrap_or((read_to, read_crc64));
    let is_open = parsing.is_open();
    let whole_to = source.marks.whole_to();
    let bad = match wrong {
        Some(wrong) => Some(judge(&mut parsing, &wrong, valid_to, whole_to)?),
        None if is_open => Some(Bad {
            what: format!("offset {valid_to}: the transaction that starts here has no EXEC"),
            is_torn: whole_to.is_none_or(|end| end <= valid_to),
            is_open,
        }),
        None => parsing.content_end.and_then(|(at, _)| missing(at, &source.marks)),
    };
    let Parsing { has_blocks, has_foreign, has_gap, .. } = parsing;
    let crc64 = rdb.is_none().then_some(sum);
    if let (None, true, Some(expected)) = (&bad, crc64.is_some(), source.marks.crc64)
        && read_crc64 != expected
    {
        return Err(Failure::Sum { found: read_crc64, expected });
    }
    Ok(Found { valid_to, read_to, read_crc64, crc64, rdb, bad, has_blocks, has_foreign, has_gap })
}

/// Where the reserve starts that a file ends with; where the file ends, if it has none. Nothing before `from` is
/// looked at.
pub(super) fn reserve_start(storage: &dyn Storage, source: &Source, from: u64) -> io::Result<u64> {
    let mut ending = reserve::Ending::new(from);
    read_from(storage, &source.path, from, |bytes| {
        ending.push(bytes);
        Ok(())
    })?;
    Ok(ending.start())
}

/// Gives what stands in a file from `from` on to `to`, piece by piece.
pub(super) fn read_from(
    storage: &dyn Storage,
    path: &Path,
    from: u64,
    mut to: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut input = storage.open(path)?;
    let mut room = vec![0; PIECE];
    let mut skip = from;
    loop {
        let n = input.read(&mut room)?;
        if n == 0 {
            return Ok(());
        }
        let skipped = skip.min(n as u64);
        skip -= skipped;
        to(&room[skipped as usize..n])?;
    }
}

/// What it means that the log ends at `at`, with a reserve behind it: blocks may be missing. Of a closed file
/// that another server has left so the reserve is a part, and its sum tells.
fn missing(at: u64, marks: &Marks) -> Option<Bad> {
    let end = marks.end.filter(|end| *end > at && marks.size.is_none())?;
    let what = format!(
        "offset {at}: the log ends here, and the manifest says that the file was whole up to offset {end}"
    );
    Some(Bad { what, is_torn: false, is_open: false })
}

/// Loads the RDB file that a file starts with. Gives what follows it.
fn read_rdb(
    storage: &dyn Storage,
    source: &Source,
    span: Span,
    options: Options,
    replayer: &mut Replayer<'_>,
) -> Result<(Loaded, Feed), Failure> {
    let mut input = Summed { input: storage.open(&source.path)?, sum: Crc64::new() };
    let into = load::Destination {
        keyspace: &mut *replayer.into.keyspace,
        carried: &mut *replayer.into.carried,
        limits: replayer.into.limits,
        now: None,
    };
    let listener = &mut *replayer.listener;
    let progress = &mut |progress: LoadProgress| {
        let bytes = span.before + progress.bytes;
        listener.progress(LoadProgress { bytes, total_bytes: span.total, ..progress });
    };
    let (loaded, behind) = load::load_front(into, &mut input, options, progress)
        .map_err(|fault| Failure::Rdb(LoadError { path: source.path.clone(), fault: Box::new(fault) }))?;
    let end = input.bytes();
    // Only old logs of one file, which may be a base now, have commands behind an RDB file.
    let is_rdb = source.path.extension().is_some_and(|extension| extension == "rdb");
    if is_rdb && loaded.bytes < end {
        return Err(Failure::Behind(end - loaded.bytes));
    }
    let found = input.sum.value();
    if let Some(expected) = source.marks.crc64.filter(|expected| *expected != found) {
        return Err(Failure::Sum { found, expected });
    }
    let feed = Feed::behind(input.input, loaded.bytes, behind);
    Ok((loaded, feed))
}

/// A file whose bytes are summed up as they are read.
#[derive(Debug)]
struct Summed {
    input: Box<dyn InputFile>,
    sum: Crc64,
}

impl InputFile for Summed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(into)?;
        self.sum.update(&into[..n]);
        Ok(n)
    }

    fn bytes(&self) -> u64 {
        self.input.bytes()
    }
}

/// Tells what it means that something is wrong where `parsing` has ended. Reads the rest of the file for it.
fn judge(parsing: &mut Parsing, wrong: &Wrong, valid_to: u64, whole_to: Option<u64>) -> io::Result<Bad> {
    let feed = &mut parsing.feed;
    feed.consume(parsing.at);
    let start = feed.offset;
    let (at, what) = match wrong {
        Wrong::Record(error) => (error.at, error.to_string()),
        Wrong::Block(fault) => (fault.at, fault.to_string()),
        Wrong::Inside(at, what) => {
            let what = format!("the block at offset {at}: {what}");
            return Ok(Bad { what, is_torn: false, is_open: false });
        }
    };
    let mut search = match wrong {
        Wrong::Block(fault) => Search::new(*fault, Some(feed.end)),
        _ => Search::behind(start),
    };
    let mut is_zero = matches!(wrong, Wrong::Record(error) if !error.is_truncation());
    let mut skip = usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX);
    while parsing.has_blocks || is_zero {
        let from = skip.min(feed.bytes.len());
        is_zero = is_zero && feed.bytes[from..].iter().all(|byte| *byte == 0);
        skip -= from;
        if parsing.has_blocks && search.push(&feed.bytes) {
            break;
        }
        let len = feed.bytes.len();
        feed.consume(len);
        feed.fill(1)?;
        if feed.bytes.is_empty() {
            break;
        }
    }
    // Of a file without checksums only this tells a wrong length from a torn end.
    if let (Wrong::Record(error), false) = (wrong, parsing.has_blocks)
        && error.is_truncation()
        && parsing.feed.end.saturating_sub(start) <= LONGEST_TAIL
    {
        parsing.feed.fill(usize::MAX)?;
        if parsing.ends_in_commands(&parsing.feed.bytes) {
            let what = format!("{what}; commands follow up to the end of the file, so the length is wrong");
            return Ok(Bad { what, is_torn: false, is_open: false });
        }
    }
    let verdict = match parsing.has_blocks {
        true => search.finish(whole_to),
        false => Verdict::Torn { is_zero },
    };
    let is_open = matches!(wrong, Wrong::Record(error) if error.is_truncation()) && valid_to < start;
    Ok(match verdict {
        Verdict::Corrupt(proof) => Bad { what: format!("{what}; {proof}"), is_torn: false, is_open },
        Verdict::Torn { .. } => {
            let is_torn = match wrong {
                Wrong::Record(error) => error.is_truncation() || is_zero,
                _ => true,
            };
            let is_past_end = whole_to.is_none_or(|end| end <= valid_to);
            let what = if is_zero { format!("{what}; only zero bytes follow") } else { what };
            Bad { what, is_torn: is_torn && is_past_end, is_open }
        }
    })
}
