//! One file of a log, from front to back: an RDB file if it starts with one, commands, checked blocks.
//!
//! A block is looked at before a command of it runs. Where something is wrong it is told what that means:
//! the end of a write that a power cut has torn, or damage. Nothing is changed here. Memory is bounded by
//! the longest block, command or transaction that the file really has.

use std::io;
use std::path::PathBuf;

use crate::base::crc64::Crc64;
use crate::codec::aof::block::{self, Search, Verdict};
use crate::codec::aof::manifest::Marks;
use crate::codec::aof::record::{self, Content, Parser};
use crate::codec::aof::{MAGIC_BYTES, starts_with_rdb};
use crate::codec::rdb::Options;
use crate::persist::load::{self, LoadError, LoadProgress, Loaded};
use crate::persist::storage::{InputFile, Storage};

use super::replay::{Replayer, Stopped};

/// Bytes asked of the disk at a time; also how often progress is told. They stay in the second-level cache
/// until they have been run.
const READ_BYTES: usize = 256 << 10;

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
}

/// What was found in a file.
#[derive(Debug)]
pub(super) struct Found {
    /// Everything before it was right and has been run.
    pub(super) valid_to: u64,
    /// CRC-64 of the bytes before `valid_to`, of a file that has no RDB file in front.
    pub(super) crc64: Option<u64>,
    /// The RDB file in front.
    pub(super) rdb: Option<Loaded>,
    /// What is wrong at `valid_to`, if that is not the end.
    pub(super) bad: Option<Bad>,
    /// Whether others have appended to it after blocks of ours.
    pub(super) has_foreign: bool,
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

impl From<Stopped> for Failure {
    fn from(stopped: Stopped) -> Failure {
        Failure::Command(stopped)
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
) -> Result<Found, Failure> {
    let mut feed = Feed::new(storage.open(&source.path)?);
    feed.fill(MAGIC_BYTES)?;
    replayer.begin_file();
    let mut rdb = None;
    if starts_with_rdb(feed.bytes()) {
        let (loaded, behind) = read_rdb(storage, source, span, options, replayer)?;
        rdb = Some(loaded);
        feed = behind;
    }
    let mut reading = Reading {
        parser: Parser::new(feed.offset, Some(feed.end)),
        inner: Parser::new(0, None),
        blocks: block::Reader::new(feed.offset, Some(feed.end)),
        is_in_blocks: source.marks.blocks == Some(feed.offset) && rdb.is_none(),
        has_blocks: source.marks.blocks.is_some(),
        has_foreign: false,
        at: 0,
        feed,
        replayer,
    };
    let wrong = reading.run(span)?;
    let (valid_to, sum) = reading.close();
    let bad = match wrong {
        Some(wrong) => Some(reading.judge(&wrong, valid_to, source.marks.whole_to())?),
        None if valid_to < reading.feed.end => Some(Bad {
            what: format!("offset {valid_to}: the transaction that starts here has no EXEC"),
            is_torn: source.marks.whole_to().is_none_or(|end| end <= valid_to),
            is_open: true,
        }),
        None => None,
    };
    let (has_foreign, crc64) = (reading.has_foreign, rdb.is_none().then_some(sum));
    if let (None, Some(found), Some(expected)) = (&bad, crc64, source.marks.crc64)
        && found != expected
    {
        return Err(Failure::Sum { found, expected });
    }
    Ok(Found { valid_to, crc64, rdb, bad, has_foreign })
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
    let feed = Feed { offset: loaded.bytes, bytes: behind, ..Feed::new(input.input) };
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

/// Bytes on their way from a file.
struct Feed {
    input: Box<dyn InputFile>,
    /// What has been read and is still needed.
    bytes: Vec<u8>,
    /// Where `bytes` starts in the file.
    offset: u64,
    /// Size of the file.
    end: u64,
    is_at_end: bool,
    /// Of everything before `offset`.
    sum: Crc64,
}

impl Feed {
    fn new(input: Box<dyn InputFile>) -> Feed {
        let end = input.bytes();
        Feed { input, bytes: Vec::new(), offset: 0, end, is_at_end: false, sum: Crc64::new() }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Drops bytes from the front.
    fn consume(&mut self, len: usize) {
        self.sum.update(&self.bytes[..len]);
        self.bytes.drain(..len);
        self.offset += len as u64;
    }

    /// Reads until there are so many bytes at hand, or the file is at its end. What is reserved is no more
    /// than what has come, and a piece.
    fn fill(&mut self, least: usize) -> io::Result<()> {
        while self.bytes.len() < least && !self.is_at_end {
            let have = self.bytes.len();
            self.bytes.resize(have + READ_BYTES, 0);
            let read = self.input.read(&mut self.bytes[have..]);
            let n = read.as_ref().map_or(0, |n| *n);
            self.bytes.truncate(have + n);
            self.is_at_end = read? == 0;
        }
        if self.is_at_end {
            // It may have shrunk or grown since it was opened.
            self.end = self.offset + self.bytes.len() as u64;
        }
        Ok(())
    }
}

/// What comes next in the bytes at hand.
enum Next {
    /// Something was taken.
    Taken,
    /// So many bytes are needed from here.
    More(u64),
    /// The file is at its end.
    Done,
    /// Something is wrong.
    Bad(Wrong),
}

#[derive(Debug)]
enum Wrong {
    Record(record::Error),
    Block(block::Fault),
    /// The block at this offset is whole, and its commands cannot be what was meant.
    Inside(u64, String),
}

struct Reading<'a, 'r> {
    feed: Feed,
    /// What has been taken of the bytes at hand.
    at: usize,
    /// Reads commands outside of blocks.
    parser: Parser,
    /// Reads commands in a block.
    inner: Parser,
    blocks: block::Reader,
    is_in_blocks: bool,
    /// Whether some of the file is in blocks.
    has_blocks: bool,
    /// Whether commands follow blocks.
    has_foreign: bool,
    replayer: &'a mut Replayer<'r>,
}

impl Reading<'_, '_> {
    /// Reads and runs to the end, or to what is wrong.
    fn run(&mut self, span: Span) -> Result<Option<Wrong>, Failure> {
        loop {
            let next = match self.is_in_blocks {
                true => self.block()?,
                false => self.command()?,
            };
            match next {
                Next::Taken if !self.replayer.is_full() => {}
                Next::Taken => self.replayer.run(self.feed.bytes()),
                Next::More(least) => {
                    self.more(least)?;
                    self.tell(span);
                }
                Next::Done => {
                    self.replayer.run(self.feed.bytes());
                    self.tell(span);
                    return Ok(None);
                }
                Next::Bad(wrong) => {
                    self.replayer.run(self.feed.bytes());
                    return Ok(Some(wrong));
                }
            }
        }
    }

    fn tell(&mut self, span: Span) {
        let bytes = span.before + self.feed.offset + self.at as u64;
        let progress = LoadProgress { bytes, total_bytes: span.total, keys: self.replayer.commands };
        self.replayer.listener.progress(progress);
    }

    /// Gets so many bytes from here on, if the file has them.
    fn more(&mut self, least: u64) -> io::Result<()> {
        self.replayer.run(self.feed.bytes());
        let released = self.replayer.release(self.at);
        self.feed.consume(released);
        self.at -= released;
        // What a length claims is no more than the file has: the readers have been told its end.
        let least = usize::try_from(least).unwrap_or(usize::MAX);
        self.feed.fill(self.at.saturating_add(least))
    }

    /// Takes the command or annotation that stands here outside of blocks.
    #[inline]
    fn command(&mut self) -> Result<Next, Failure> {
        let input = &self.feed.bytes[self.at..];
        let is_last = self.feed.is_at_end;
        if input.first() == Some(&b'#') {
            if input.len() < block::PREFIX.len() && !is_last {
                return Ok(Next::More(block::PREFIX.len() as u64));
            }
            if block::is_line(input) {
                return Ok(self.enter_blocks());
            }
        }
        let record = match self.parser.next(input, is_last) {
            Ok(record::Step::Record(record)) => record,
            Ok(record::Step::More { at_least }) => return Ok(Next::More(at_least)),
            Ok(record::Step::Done) => return Ok(Next::Done),
            Err(error) => return Ok(Next::Bad(Wrong::Record(error))),
        };
        if let Content::Command(argv) = record.content {
            self.replayer.take(&self.feed.bytes, self.at, argv.ranges(), record.at)?;
        }
        self.at += (record.end - record.at) as usize;
        Ok(Next::Taken)
    }

    #[cold]
    fn enter_blocks(&mut self) -> Next {
        let at = self.parser.at();
        if self.replayer.open_at().is_some() {
            return Next::Bad(Wrong::Inside(at, "a block starts inside a transaction".to_owned()));
        }
        self.blocks.skip_to(at);
        self.is_in_blocks = true;
        self.has_blocks = true;
        Next::Taken
    }

    /// Takes the block that stands here.
    #[inline]
    fn block(&mut self) -> Result<Next, Failure> {
        let input = &self.feed.bytes[self.at..];
        let block = match self.blocks.next(input, self.feed.is_at_end) {
            Ok(block::Step::Block(block)) => block,
            Ok(block::Step::More { at_least }) => return Ok(Next::More(at_least)),
            Ok(block::Step::Done) => return Ok(Next::Done),
            Ok(block::Step::Foreign) => {
                self.is_in_blocks = false;
                self.has_foreign = true;
                self.parser.restart(self.blocks.at(), Some(self.feed.end));
                return Ok(Next::Taken);
            }
            Err(fault) => return Ok(Next::Bad(Wrong::Block(fault))),
        };
        let (start, body) = (block.at, block.body);
        let mut place = self.at + (block.body_at - block.at) as usize;
        let mut left = body;
        self.inner.restart(block.body_at, Some(block.end));
        loop {
            let record = match self.inner.next(left, true) {
                Ok(record::Step::Record(record)) => record,
                Ok(_) => break,
                Err(error) => return Ok(Next::Bad(Wrong::Inside(start, error.to_string()))),
            };
            if let Content::Command(argv) = record.content {
                self.replayer.take(&self.feed.bytes, place, argv.ranges(), record.at)?;
            }
            let bytes = (record.end - record.at) as usize;
            place += bytes;
            left = &left[bytes..];
        }
        if self.replayer.open_at().is_some() {
            let what = "the block ends inside a transaction".to_owned();
            return Ok(Next::Bad(Wrong::Inside(start, what)));
        }
        self.at = place;
        Ok(Next::Taken)
    }

    /// Where what has been run ends, and the sum up to there. What follows is still to be read.
    fn close(&mut self) -> (u64, u64) {
        let taken = match self.replayer.open_at() {
            Some(at) => (at - self.feed.offset) as usize,
            None => self.at,
        };
        self.replayer.drop_open();
        self.feed.consume(taken);
        self.at -= taken;
        (self.feed.offset, self.feed.sum.value())
    }

    /// Tells what it means that something is wrong here. Reads the rest of the file for it.
    fn judge(&mut self, wrong: &Wrong, valid_to: u64, whole_to: Option<u64>) -> io::Result<Bad> {
        self.feed.consume(self.at);
        let start = self.feed.offset;
        let (at, what) = match wrong {
            Wrong::Record(error) => (error.at, error.to_string()),
            Wrong::Block(fault) => (fault.at, fault.to_string()),
            Wrong::Inside(at, what) => {
                let what = format!("the block at offset {at}: {what}");
                return Ok(Bad { what, is_torn: false, is_open: false });
            }
        };
        let mut search = match wrong {
            Wrong::Block(fault) => Search::new(*fault, Some(self.feed.end)),
            _ => Search::behind(start),
        };
        let may_be_zero = matches!(wrong, Wrong::Record(error) if !error.is_truncation());
        let mut is_zero = may_be_zero;
        let mut skip = usize::try_from(at - start).unwrap_or(usize::MAX);
        while self.has_blocks || is_zero {
            let bytes = self.feed.bytes();
            let from = skip.min(bytes.len());
            is_zero = is_zero && bytes[from..].iter().all(|byte| *byte == 0);
            skip -= from;
            if self.has_blocks && search.push(bytes) {
                break;
            }
            let len = bytes.len();
            self.feed.consume(len);
            self.feed.fill(1)?;
            if self.feed.bytes().is_empty() {
                break;
            }
        }
        let verdict = match self.has_blocks {
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
}
