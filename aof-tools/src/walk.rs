//! A file of a log from front to back, command by command, with database, time and transaction of each.
//!
//! Damage is told and stepped over. A checked block is looked at before a command of it is given out.
//! Memory is bounded by a piece, a block, or [`LONG_RECORD`]: of longer commands only the beginnings of
//! the arguments are kept. Knows no output.

use anyhow::Context;
use cairn_engine::base::num;
use cairn_engine::codec::aof::block::{self, Reader, Search, Verdict};
use cairn_engine::codec::aof::record::{self, Content, Parser, Step, timestamp};
use cairn_engine::codec::aof::{MAGIC_BYTES, starts_with_rdb};
use cairn_engine::codec::rdb::{Decoder, Depth, KeyHead, Options, Sink, Trailer, ValueEvent, Version};
use rdb_tools::cmd::Reading;
use rdb_tools::drive::{Stop, drive};
use rdb_tools::fold::reserve::log_end;
use rdb_tools::input::Input;
use rdb_tools::progress::{Progress, Wanted};

use crate::blocks;
use crate::feed::{Feed, InPlace, plain_file};
use crate::resync::resync;
use crate::scan::{Mark, of_file};
use crate::set::{Member, Role};
use crate::transaction::{Open, Unpaired};
use crate::vocabulary::{self, Vocabulary};

/// A longer command is given out with the beginnings of its arguments.
pub(crate) const LONG_RECORD: usize = 4 << 20;
/// What is kept of each of them.
const KEPT_BYTES: u64 = 1024;
/// Arguments of a long command that are kept.
const KEPT_ARGS: u64 = 4096;

/// A command of a log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    /// Offset of its first byte.
    pub(crate) at: u64,
    /// Offset after its last byte.
    pub(crate) end: u64,
    /// The timestamp before it, in Unix seconds.
    pub(crate) time: Option<i64>,
    /// The database it is run in.
    pub(crate) db: u64,
    /// Offset of the MULTI of the transaction that it is in; MULTI and EXEC are in it, too.
    pub(crate) transaction: Option<u64>,
    /// Name and arguments; of a long command their beginnings.
    pub(crate) argv: &'a [&'a [u8]],
    /// Number of arguments, the name counted, of a long command: those kept may be fewer.
    pub(crate) argc: u64,
    /// The arguments' real lengths, of a long command.
    pub(crate) lens: Option<&'a [u64]>,
    /// Whether it is a transaction's begin or end, and one that pairs with the other.
    pub(crate) mark: Option<Result<Mark, Unpaired>>,
}

/// Bytes that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Damage {
    /// From here on.
    pub(crate) from: u64,
    /// Up to here.
    pub(crate) to: u64,
    /// Where it shows.
    pub(crate) at: u64,
    /// What is wrong.
    pub(crate) what: String,
    /// Whether something follows that can be read.
    pub(crate) goes_on: bool,
    /// Whether it may be the end of something that was being written: bytes are missing, not wrong.
    pub(crate) is_cut: bool,
    /// The transaction that was open, and that cannot be trusted now.
    pub(crate) transaction: Option<u64>,
    /// Whether it is a checked block, or bytes between two.
    pub(crate) is_block: bool,
}

/// Who hears what a file holds.
pub(crate) trait Visit {
    /// A command. False to stop here.
    ///
    /// # Errors
    /// What keeps the visitor from going on.
    fn command(&mut self, entry: &Entry<'_>) -> anyhow::Result<bool>;

    /// Bytes that cannot be read. The database that they choose, if that can be told.
    ///
    /// # Errors
    /// As above.
    fn damage(&mut self, damage: &Damage) -> anyhow::Result<Option<u64>>;

    /// A line that is no command.
    ///
    /// # Errors
    /// As above.
    fn annotation(&mut self, _at: u64, _end: u64, _text: &[u8]) -> anyhow::Result<()> {
        Ok(())
    }

    /// A reserve: these bytes mean nothing.
    fn reserve(&mut self, _from: u64, _to: u64) {}

    /// So far everything has been read.
    fn progress(&mut self, _at: u64) {}
}

/// How a walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// At the end of the file.
    AtEnd,
    /// In front of something that is not all there yet.
    Waiting,
    /// The visitor has seen enough.
    Enough,
}

/// A walk's place and what is known there.
#[derive(Debug)]
pub(crate) struct Walk<'v> {
    vocabulary: &'v Vocabulary,
    /// Whether what is cut may still come: it is no damage then.
    pub(crate) waits: bool,
    /// Whether lines of blocks are passed over.
    ignores_blocks: bool,
    in_blocks: bool,
    /// Whether the file has had blocks so far.
    pub(crate) has_blocks: bool,
    /// The first block of the file that ends inside a transaction, as none may.
    pub(crate) cut_transaction: Option<u64>,
    /// Where the reserve at the end of the file starts, if that is known.
    log_end: Option<u64>,
    db: u64,
    /// The last timestamp; lasts from file to file.
    pub(crate) time: Option<i64>,
    open: Open,
}

impl std::fmt::Debug for Vocabulary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vocabulary")
    }
}

impl<'v> Walk<'v> {
    pub(crate) fn new(vocabulary: &'v Vocabulary) -> Self {
        Self {
            vocabulary,
            waits: false,
            ignores_blocks: false,
            in_blocks: false,
            has_blocks: false,
            cut_transaction: None,
            log_end: None,
            db: 0,
            time: None,
            open: Open::default(),
        }
    }

    /// A new file begins: servers read each with a new client, in the first database.
    pub(crate) fn begin_file(&mut self, in_blocks: bool) {
        self.in_blocks = in_blocks;
        self.has_blocks = in_blocks;
        self.cut_transaction = None;
        self.log_end = None;
        self.db = 0;
        self.open = Open::default();
    }

    /// Goes on in another database.
    pub(crate) fn choose(&mut self, db: u64) {
        self.db = db;
    }

    /// Reads on from the feed's place; lines of blocks are passed over, and their sums do not matter.
    ///
    /// # Errors
    /// What the system says, and the visitor.
    pub(crate) fn run_outside_blocks(
        &mut self,
        feed: &mut impl Feed,
        visit: &mut dyn Visit,
    ) -> anyhow::Result<Ended> {
        self.ignores_blocks = true;
        let ended = self.run(feed, visit);
        self.ignores_blocks = false;
        ended
    }

    /// Reads on from the feed's place.
    ///
    /// # Errors
    /// What the system says, and the visitor.
    pub(crate) fn run(&mut self, feed: &mut impl Feed, visit: &mut dyn Visit) -> anyhow::Result<Ended> {
        let mut parser = Parser::new(feed.at(), feed.end());
        loop {
            feed.fill(1)?;
            if feed.bytes().is_empty() {
                return Ok(Ended::AtEnd);
            }
            visit.progress(feed.at());
            if !self.in_blocks && !self.ignores_blocks && feed.bytes().first() == Some(&b'#') {
                feed.fill(block::PREFIX.len() as u64)?;
                // A file that has just been begun has a reserve before it has a block.
                let is_begun = self.waits && feed.at() == 0 && feed.bytes().starts_with(b"##");
                self.in_blocks = block::is_line(feed.bytes()) || is_begun;
                self.has_blocks |= self.in_blocks;
            }
            let step = match self.in_blocks {
                true => self.block(feed, visit)?,
                false => self.records(feed, &mut parser, visit)?,
            };
            match step {
                Stepped::On => {}
                Stepped::Ended(ended) => return Ok(ended),
                Stepped::Bad(bad) if self.waits && bad.is_cut => return Ok(Ended::Waiting),
                Stepped::Bad(bad) => {
                    let from = feed.at().min(bad.from);
                    let goes_on = resync(self.vocabulary, feed, self.in_blocks)?;
                    let to = match self.log_end {
                        Some(end) if self.has_blocks && !goes_on => feed.at().min(end.max(from)),
                        _ => feed.at(),
                    };
                    if to < feed.at() {
                        visit.reserve(to, feed.at());
                    }
                    let damage = Damage {
                        from,
                        to,
                        at: bad.at,
                        what: bad.what,
                        goes_on,
                        is_cut: bad.is_cut && !goes_on,
                        transaction: self.open.take(),
                        is_block: self.in_blocks,
                    };
                    self.db = visit.damage(&damage)?.unwrap_or(self.db);
                }
            }
        }
    }

    /// Reads records outside of blocks as long as they are at hand.
    fn records(
        &mut self,
        feed: &mut impl Feed,
        parser: &mut Parser,
        visit: &mut dyn Visit,
    ) -> anyhow::Result<Stepped> {
        let start = feed.at();
        parser.restart(start, feed.end());
        let mut taken = 0;
        let stepped = loop {
            let (bytes, is_last) = (&feed.bytes()[taken..], feed.is_last());
            if taken > 0
                && !self.ignores_blocks
                && bytes.first() == Some(&b'#')
                && (bytes.len() < block::PREFIX.len() || block::is_line(bytes))
            {
                break Stepped::On;
            }
            match parser.next(bytes, is_last) {
                Ok(Step::Record(record)) => {
                    taken += (record.end - record.at) as usize;
                    if !self.record(&record, visit)? {
                        break Stepped::Ended(Ended::Enough);
                    }
                }
                // What was taken is given back first, so that no more is held than a piece.
                Ok(Step::More { .. } | Step::Done) if taken > 0 => break Stepped::On,
                Ok(Step::More { .. }) if bytes.len() > LONG_RECORD => {
                    return self.long_record(feed, visit);
                }
                Ok(Step::More { at_least }) => feed.fill(at_least.min(LONG_RECORD as u64 + 1))?,
                Ok(Step::Done) => break Stepped::Ended(Ended::AtEnd),
                Err(_) if taken > 0 => break Stepped::On,
                Err(error) => break Stepped::Bad(Bad::of(&of_file(error, feed.end()))),
            }
        };
        feed.consume(taken);
        Ok(stepped)
    }

    fn record(&mut self, record: &record::Record<'_>, visit: &mut dyn Visit) -> anyhow::Result<bool> {
        match record.content {
            Content::Annotation(text) => {
                self.time = timestamp(text).or(self.time);
                visit.annotation(record.at, record.end, text)?;
                Ok(true)
            }
            Content::Command(argv) => {
                let words: Vec<&[u8]> = argv.iter().collect();
                self.command(record.at, record.end, &words, words.len() as u64, None, visit)
            }
        }
    }

    fn command(
        &mut self,
        at: u64,
        end: u64,
        argv: &[&[u8]],
        argc: u64,
        lens: Option<&[u64]>,
        visit: &mut dyn Visit,
    ) -> anyhow::Result<bool> {
        let name = argv.first().copied().unwrap_or_default();
        let known = self.vocabulary.find(name);
        let mut mark = None;
        let mut transaction = self.open.at();
        let mut db = self.db;
        if let Some(known) = known {
            let of_role = match known.role {
                vocabulary::Role::Multi => Some(Mark::Multi),
                vocabulary::Role::Exec => Some(Mark::Exec),
                vocabulary::Role::Discard => Some(Mark::Discard),
                _ => None,
            };
            mark = of_role.map(|mark| self.open.step(at, mark).map(|()| mark));
            transaction = transaction.or(self.open.at());
            if known.role == vocabulary::Role::Select && argc == 2 {
                let chosen = argv.get(1).and_then(|word| num::parse_i64(word));
                if let Some(chosen) = chosen.and_then(|chosen| u64::try_from(chosen).ok()) {
                    self.db = chosen;
                    db = chosen;
                }
            }
        }
        let entry = Entry { at, end, time: self.time, db, transaction, argv, argc, lens, mark };
        visit.command(&entry)
    }

    /// Reads a command that is too long to be held.
    fn long_record(&mut self, feed: &mut impl Feed, visit: &mut dyn Visit) -> anyhow::Result<Stepped> {
        let at = feed.at();
        let (mut words, mut lens) = (Vec::new(), Vec::new());
        let read = crate::scan::read_long(
            feed,
            &mut |i, len, head| {
                if i < KEPT_ARGS {
                    words.push(head.to_vec());
                    lens.push(len);
                }
            },
            KEPT_BYTES,
        )?;
        let argc = match read {
            Ok(argc) => argc,
            Err(error) => {
                feed.back(at);
                return Ok(Stepped::Bad(Bad::of(&error)));
            }
        };
        let argv: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let is_more_wanted = self.command(at, feed.at(), &argv, argc, Some(&lens), visit)?;
        Ok(if is_more_wanted { Stepped::On } else { Stepped::Ended(Ended::Enough) })
    }

    /// Reads the block that stands here.
    fn block(&mut self, feed: &mut impl Feed, visit: &mut dyn Visit) -> anyhow::Result<Stepped> {
        let start = feed.at();
        let mut reader = Reader::new(start, feed.end());
        loop {
            match reader.next(feed.bytes(), feed.is_last()) {
                Ok(block::Step::Block(block)) => {
                    let bytes = (block.end - block.at) as usize;
                    let stepped = self.body(&block, visit)?;
                    if !matches!(stepped, Stepped::Bad(_)) {
                        feed.consume(bytes);
                    }
                    return Ok(stepped);
                }
                Ok(block::Step::More { at_least }) => feed.fill(at_least)?,
                Ok(block::Step::Reserve(len)) => {
                    feed.consume(len);
                    feed.fill(1)?;
                }
                Ok(block::Step::Foreign) => {
                    self.in_blocks = false;
                    if feed.at() > start {
                        visit.reserve(start, feed.at());
                    }
                    return Ok(Stepped::On);
                }
                // The next block is written over it.
                Ok(block::Step::Done) if self.waits && feed.at() > start => {
                    feed.back(start);
                    return Ok(Stepped::Ended(Ended::Waiting));
                }
                Ok(block::Step::Done) => {
                    if feed.at() > start {
                        visit.reserve(start, feed.at());
                    }
                    return Ok(Stepped::Ended(Ended::AtEnd));
                }
                Err(fault) => {
                    let (from, what) = (blocks::wrong_from(&fault), fault.kind.to_string());
                    let is_cut = match self.waits {
                        true => may_be_under_way(feed, fault, start)?,
                        false => matches!(fault.kind, block::Kind::Cut { .. }),
                    };
                    if from > start && !(self.waits && is_cut) {
                        visit.reserve(start, from);
                    }
                    return Ok(Stepped::Bad(Bad { from, at: from, what, is_cut }));
                }
            }
        }
    }

    fn body(&mut self, block: &block::Block<'_>, visit: &mut dyn Visit) -> anyhow::Result<Stepped> {
        let mut parser = Parser::new(block.body_at, Some(block.end));
        let mut left = block.body;
        loop {
            match parser.next(left, true) {
                Ok(Step::Record(record)) => {
                    left = &left[(record.end - record.at) as usize..];
                    if !self.record(&record, visit)? {
                        return Ok(Stepped::Ended(Ended::Enough));
                    }
                }
                Ok(_) => {
                    if self.open.at().is_some() {
                        self.cut_transaction.get_or_insert(block.at);
                    }
                    return Ok(Stepped::On);
                }
                Err(error) => {
                    let what =
                        format!("the checksum of this block is right, and its commands are not: {error}");
                    return Ok(Stepped::Bad(Bad { from: block.at, at: block.at, what, is_cut: false }));
                }
            }
        }
    }
}

/// Whether a bad block may be one that is being written over the reserve that was there. The feed is at
/// `start` again then.
fn may_be_under_way(feed: &mut impl Feed, fault: block::Fault, start: u64) -> anyhow::Result<bool> {
    let mut search = Search::new(fault, feed.end());
    loop {
        feed.fill(1)?;
        let n = feed.bytes().len();
        if n == 0 || search.push(feed.bytes()) {
            break;
        }
        feed.consume(n);
    }
    feed.back(start);
    Ok(matches!(search.finish(None), Verdict::Torn { .. }))
}

/// What a step came to.
enum Stepped {
    On,
    Ended(Ended),
    Bad(Bad),
}

struct Bad {
    /// Where the record or block starts.
    from: u64,
    at: u64,
    what: String,
    is_cut: bool,
}

impl Bad {
    fn of(error: &record::Error) -> Self {
        Self { from: error.record_at, at: error.at, what: error.to_string(), is_cut: error.is_truncation() }
    }
}

/// A file of a log, opened where its commands start.
pub(crate) struct Opened {
    input: Option<Input>,
    file: Option<(std::fs::File, u64)>,
    /// Where the commands start.
    pub(crate) start: u64,
    /// Whether a block is expected there.
    pub(crate) in_blocks: bool,
}

/// What [`Opened::open`] found.
pub(crate) enum Opening {
    /// Commands, from some place on.
    Commands(Opened),
    /// An RDB file and nothing else.
    Rdb,
    /// An RDB file that cannot be read, and so nobody knows what follows.
    BadRdb(String),
}

impl Opened {
    /// Opens a file, and steps over an RDB file in front of its commands.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn open(member: &Member, reading: Reading) -> anyhow::Result<Opening> {
        let shown = || member.path.display().to_string();
        let mut input = reading.open(&member.path)?;
        let file = plain_file(&member.path, &mut input).with_context(shown)?;
        input.fill(MAGIC_BYTES as u64).with_context(shown)?;
        if starts_with_rdb(input.bytes()) {
            if member.role == Role::Base && member.name.ends_with(b".rdb") {
                return Ok(Opening::Rdb);
            }
            let progress = Progress::new(Wanted::Never, String::new(), None);
            let options = Options { verify_checksum: false, ..Options::default() };
            match drive(&mut input, &mut Decoder::new(options), &progress, &mut StepOver) {
                Ok(()) => {}
                Err(Stop::Read(error)) => return Err(error).with_context(shown),
                Err(Stop::Format(error)) => {
                    return Ok(Opening::BadRdb(rdb_tools::output::clean(&error.to_string())));
                }
                Err(Stop::Sink(never)) => match never {},
                Err(Stop::Other(fault)) => return Err(fault).with_context(shown),
            }
        }
        let start = input.position();
        let in_blocks = member.marks.blocks == Some(start);
        let input = file.is_none().then_some(input);
        Ok(Opening::Commands(Self { input, file, start, in_blocks }))
    }

    /// The plain file and its size, if it is one.
    pub(crate) fn plain(&self) -> Option<(&std::fs::File, u64)> {
        self.file.as_ref().map(|(file, end)| (file, *end))
    }

    /// Walks through it. Gives how that ended, and where.
    ///
    /// # Errors
    /// What the system says, and the visitor.
    pub(crate) fn walk(
        &mut self,
        walk: &mut Walk<'_>,
        visit: &mut dyn Visit,
    ) -> anyhow::Result<(Ended, u64)> {
        walk.begin_file(self.in_blocks);
        match (&self.file, &mut self.input) {
            (Some((file, end)), _) => {
                walk.log_end = Some(log_end(file, *end, self.in_blocks)?);
                let mut feed = InPlace::new(file, self.start, *end);
                let ended = walk.run(&mut feed, visit)?;
                Ok((ended, Feed::at(&feed)))
            }
            (None, Some(input)) => {
                let ended = walk.run(input, visit)?;
                Ok((ended, Feed::at(input)))
            }
            (None, None) => Ok((Ended::AtEnd, self.start)),
        }
    }
}

/// Steps over an RDB file.
pub(crate) struct StepOver;

impl Sink for StepOver {
    type Error = std::convert::Infallible;

    fn start(&mut self, _version: Version) -> Result<(), Self::Error> {
        Ok(())
    }

    fn key(&mut self, _head: &KeyHead<'_>) -> Result<Depth, Self::Error> {
        Ok(Depth::Skip)
    }

    fn value(&mut self, _event: ValueEvent<'_>) -> Result<(), Self::Error> {
        Ok(())
    }

    fn end(&mut self, _trailer: Trailer) -> Result<(), Self::Error> {
        Ok(())
    }
}
