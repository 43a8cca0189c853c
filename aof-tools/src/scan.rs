//! Commands of a file looked at as fast as they can be: layout, names, numbers of arguments, MULTI and
//! EXEC, timestamps, checked blocks.
//!
//! What a quick look does not recognise goes to `codec::aof`, which decides and has the words for it. A
//! record longer than a piece is stepped over, so memory stays flat; only a checked block is held whole.
//! `ahead.rs` looks at several places of a file at once. Prints nothing.

mod ahead;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;

use cairn_engine::codec::aof::block::{self, Reader};
use cairn_engine::codec::aof::record::{self, Content, MAX_ARGUMENT_BYTES, MAX_ARGUMENTS, Parser, Step};

use crate::blocks;
use crate::feed::Feed;
use crate::vocabulary::{Known, Role, Vocabulary, Wrong, is_of_module};

pub(crate) use ahead::{Job, PIECE_BYTES, scan_file};

/// A record that is longer than this is stepped over instead of being held.
const LONG_RECORD: usize = 4 << 20;
/// Wrong commands of a piece that are listed; more are counted.
pub(crate) const MOST_LISTED: usize = 1000;
/// Names of commands that only some servers know, of a piece.
const MOST_NAMES: usize = 1000;
/// So many bytes are looked at between two reports of progress.
const REPORT_BYTES: u64 = 8 << 20;

/// What begins or ends a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Multi,
    Exec,
    Discard,
}

/// Something wrong that does not keep one from reading on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Note {
    /// A command that no server can run.
    Command(Wrong),
    /// A `#TS:` without a number.
    Timestamp(Vec<u8>),
    /// A SELECT of something that is no database.
    Database(Vec<u8>),
    /// The block's sum fits, and its content cannot be what was meant.
    InBlock(String),
}

/// Commands that only some servers know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Special {
    pub(crate) count: u64,
    pub(crate) first_at: u64,
}

/// What was found in a piece of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) commands: u64,
    /// Line ends of their own: behind each length and each argument.
    pub(crate) lines: u64,
    pub(crate) blocks: u64,
    /// Bytes of reserves: behind the log, or in front of what another server has appended.
    pub(crate) reserve: u64,
    /// Those behind the log.
    pub(crate) reserve_at_end: u64,
    pub(crate) first_time: Option<i64>,
    pub(crate) last_time: Option<i64>,
    /// The highest database selected.
    pub(crate) most_db: u64,
    pub(crate) marks: Vec<(u64, Mark)>,
    pub(crate) notes: Vec<(u64, Note)>,
    /// All of them, also those that are not listed.
    pub(crate) noted: u64,
    /// By name, in upper case.
    pub(crate) special: BTreeMap<Vec<u8>, Special>,
}

impl Tally {
    fn note(&mut self, at: u64, note: Note) {
        self.noted += 1;
        if self.notes.len() < MOST_LISTED {
            self.notes.push((at, note));
        }
    }

    fn special(&mut self, at: u64, name: &[u8]) {
        let name = name.to_ascii_uppercase();
        if self.special.len() < MOST_NAMES || self.special.contains_key(&name) {
            self.special.entry(name).or_insert(Special { count: 0, first_at: at }).count += 1;
        }
    }

    /// Adds what was found in the piece behind.
    pub(crate) fn add(&mut self, other: Tally) {
        self.commands += other.commands;
        self.lines += other.lines;
        self.blocks += other.blocks;
        self.reserve += other.reserve;
        self.reserve_at_end += other.reserve_at_end;
        self.first_time = self.first_time.or(other.first_time);
        self.last_time = other.last_time.or(self.last_time);
        self.most_db = self.most_db.max(other.most_db);
        self.marks.extend(other.marks);
        self.noted += other.noted;
        let room = MOST_LISTED.saturating_sub(self.notes.len());
        self.notes.extend(other.notes.into_iter().take(room));
        for (name, more) in other.special {
            if self.special.len() < MOST_NAMES || self.special.contains_key(&name) {
                let entry = self.special.entry(name).or_insert(Special { count: 0, ..more });
                entry.count += more.count;
            }
        }
    }
}

/// How a scan ended; everything before the feed's place was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// At the first record at or behind the limit, or at the end of the file.
    Reached,
    /// In front of a record that cannot be read.
    Record(record::Error),
    /// In front of a block that is not right.
    Block(block::Fault),
}

/// Looks at commands.
pub(crate) struct Scan<'v> {
    vocabulary: &'v Vocabulary,
    /// Whether a block is expected, and not a command.
    pub(crate) in_blocks: bool,
    pub(crate) tally: Tally,
    /// The command before, as it was written.
    last: [u8; 32],
    last_len: usize,
    last_known: Option<Known>,
}

/// What stands at a place, as far as a quick look can tell.
enum Quick {
    /// A command up to this place, with the place of its name and of its first argument.
    Command { end: usize, argc: u64, name: (usize, usize), first: (usize, usize) },
    /// Something else, or not all of it is at hand.
    Other,
}

impl<'v> Scan<'v> {
    pub(crate) fn new(vocabulary: &'v Vocabulary, in_blocks: bool) -> Self {
        Self { vocabulary, in_blocks, tally: Tally::default(), last: [0; 32], last_len: 0, last_known: None }
    }

    /// Reads up to the first record that starts at or behind `limit`. `report` is told places now and then.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn run(
        &mut self,
        feed: &mut impl Feed,
        limit: u64,
        report: &mut dyn FnMut(u64),
    ) -> io::Result<Ended> {
        let mut parser = Parser::new(feed.at(), feed.end());
        let mut next_report = feed.at() + REPORT_BYTES;
        loop {
            if feed.at() >= limit {
                return Ok(Ended::Reached);
            }
            if feed.at() >= next_report {
                report(feed.at());
                next_report = feed.at() + REPORT_BYTES;
            }
            feed.fill(1)?;
            if feed.bytes().is_empty() {
                return Ok(Ended::Reached);
            }
            if !self.in_blocks {
                let n = self.quick_records(feed.bytes(), feed.at(), limit);
                feed.consume(n);
                if n > 0 {
                    continue;
                }
                if feed.bytes().first() == Some(&b'#') {
                    feed.fill(block::PREFIX.len() as u64)?;
                    self.in_blocks = block::is_line(feed.bytes());
                }
            }
            let ended = match self.in_blocks {
                true => self.block(feed)?,
                false => self.record(feed, &mut parser)?,
            };
            if let Some(ended) = ended {
                return Ok(ended);
            }
        }
    }

    /// Takes as many commands as a quick look recognises. How many bytes those are.
    fn quick_records(&mut self, bytes: &[u8], base: u64, limit: u64) -> usize {
        let mut at = 0;
        let limit = usize::try_from(limit - base).unwrap_or(usize::MAX);
        while at < limit {
            let Quick::Command { end, argc, name, first } = quick(bytes, at) else { break };
            self.command(base + at as u64, &bytes[name.0..name.1], argc, Some(&bytes[first.0..first.1]));
            at = end;
        }
        at
    }

    /// Takes the record that stands here, which may be any.
    fn record(&mut self, feed: &mut impl Feed, parser: &mut Parser) -> io::Result<Option<Ended>> {
        parser.restart(feed.at(), feed.end());
        loop {
            let (bytes, is_last) = (feed.bytes(), feed.is_last());
            match parser.next(bytes, is_last) {
                Ok(Step::Record(record)) => {
                    let len = (record.end - record.at) as usize;
                    self.take(&record);
                    feed.consume(len);
                    return Ok(None);
                }
                Ok(Step::More { .. }) if bytes.len() > LONG_RECORD => return self.long_record(feed),
                Ok(Step::More { at_least }) => feed.fill(at_least.min(LONG_RECORD as u64 + 1))?,
                Ok(Step::Done) => return Ok(Some(Ended::Reached)),
                Err(error) => return Ok(Some(Ended::Record(of_file(error, feed.end())))),
            }
        }
    }

    fn take(&mut self, record: &record::Record<'_>) {
        match record.content {
            Content::Command(argv) => self.command(record.at, argv.name(), argv.len() as u64, argv.get(1)),
            Content::Annotation(text) => self.annotation(record.at, text),
        }
    }

    /// Takes a command that is too long to be held: only its name and first argument are looked at.
    fn long_record(&mut self, feed: &mut impl Feed) -> io::Result<Option<Ended>> {
        /// More of a name or of a subcommand's than this is none.
        const KEPT_BYTES: u64 = 64;
        let record_at = feed.at();
        let mut words = [Vec::new(), Vec::new()];
        let mut keep = |i: u64, _: u64, head: &[u8]| {
            if let Some(word) = words.get_mut(i as usize) {
                word.extend_from_slice(head);
            }
        };
        match read_long(feed, &mut keep, KEPT_BYTES)? {
            Ok(argc) => {
                let [name, first] = words;
                self.command(record_at, &name, argc, (argc > 1).then_some(&first));
                Ok(None)
            }
            Err(error) => {
                feed.back(record_at);
                Ok(Some(Ended::Record(error)))
            }
        }
    }

    /// Takes the block that stands here.
    fn block(&mut self, feed: &mut impl Feed) -> io::Result<Option<Ended>> {
        let start = feed.at();
        let mut reader = Reader::new(feed.at(), feed.end());
        loop {
            let (bytes, is_last) = (feed.bytes(), feed.is_last());
            match reader.next(bytes, is_last) {
                Ok(block::Step::Block(block)) => {
                    let (at, end) = (block.at, block.end);
                    self.body(at, block.body_at, block.body);
                    feed.consume((end - at) as usize);
                    return Ok(None);
                }
                Ok(block::Step::More { at_least }) => feed.fill(at_least)?,
                Ok(block::Step::Reserve(len)) => {
                    feed.consume(len);
                    feed.fill(1)?;
                }
                Ok(block::Step::Foreign) => {
                    self.tally.reserve += feed.at() - start;
                    self.in_blocks = false;
                    return Ok(None);
                }
                Ok(block::Step::Done) => {
                    self.tally.reserve += feed.at() - start;
                    self.tally.reserve_at_end = feed.at() - start;
                    return Ok(Some(Ended::Reached));
                }
                Err(fault) => {
                    self.tally.reserve += blocks::wrong_from(&fault) - start;
                    feed.back(start);
                    return Ok(Some(Ended::Block(fault)));
                }
            }
        }
    }

    /// Takes the commands of a block whose sum fits.
    fn body(&mut self, block_at: u64, body_at: u64, body: &[u8]) {
        self.tally.blocks += 1;
        let marks_before = self.tally.marks.len();
        let mut at = self.quick_records(body, body_at, u64::MAX);
        let mut parser = Parser::new(body_at + at as u64, Some(body_at + body.len() as u64));
        loop {
            match parser.next(&body[at..], true) {
                Ok(Step::Record(record)) => {
                    self.take(&record);
                    at += (record.end - record.at) as usize;
                    let n = self.quick_records(&body[at..], body_at + at as u64, u64::MAX);
                    if n > 0 {
                        at += n;
                        parser.restart(body_at + at as u64, Some(body_at + body.len() as u64));
                    }
                }
                Ok(_) => break,
                Err(error) => {
                    self.tally.note(block_at, Note::InBlock(error.to_string()));
                    break;
                }
            }
        }
        let is_open = self.tally.marks[marks_before..].last().is_some_and(|(_, mark)| *mark == Mark::Multi);
        if is_open {
            self.tally.note(block_at, Note::InBlock("the block ends inside a transaction".to_owned()));
        }
    }

    #[inline]
    fn command(&mut self, at: u64, name: &[u8], argc: u64, first: Option<&[u8]>) {
        self.tally.commands += 1;
        self.tally.lines = self.tally.lines.wrapping_add(argc.wrapping_mul(2).wrapping_add(1));
        let is_last = self.last_len == name.len() && self.last[..self.last_len] == *name;
        if !is_last {
            self.look_up(name);
        }
        if let Some(known) = &self.last_known
            && known.role == Role::Data
            && !known.is_container()
            && known.accepts(argc)
        {
            return;
        }
        self.rare(at, name, argc, first);
    }

    fn look_up(&mut self, name: &[u8]) {
        self.last_known = self.vocabulary.find(name).copied();
        self.last_len = usize::MAX;
        if let Some(kept) = self.last.get_mut(..name.len()) {
            kept.copy_from_slice(name);
            self.last_len = name.len();
        }
    }

    #[cold]
    fn rare(&mut self, at: u64, name: &[u8], argc: u64, first: Option<&[u8]>) {
        let Some(known) = self.last_known else {
            match is_of_module(name) {
                true => self.tally.special(at, name),
                false => {
                    let name = name[..name.len().min(256)].to_vec();
                    self.tally.note(at, Note::Command(Wrong::Unknown { name }));
                }
            }
            return;
        };
        if let Some(wrong) = known.fault(argc, first) {
            self.tally.note(at, Note::Command(wrong));
            return;
        }
        match known.role {
            Role::Multi => self.tally.marks.push((at, Mark::Multi)),
            Role::Exec => self.tally.marks.push((at, Mark::Exec)),
            Role::Discard => self.tally.marks.push((at, Mark::Discard)),
            Role::Newer => self.tally.special(at, name),
            Role::Select => {
                let word = first.unwrap_or_default();
                let db = cairn_engine::base::num::parse_i64(word).and_then(|db| u64::try_from(db).ok());
                match db {
                    Some(db) => self.tally.most_db = self.tally.most_db.max(db),
                    None => self.tally.note(at, Note::Database(word[..word.len().min(256)].to_vec())),
                }
            }
            Role::Data | Role::Script | Role::Keyed | Role::Other => {}
        }
    }

    fn annotation(&mut self, at: u64, text: &[u8]) {
        if !text.starts_with(b"TS:") {
            return;
        }
        match record::timestamp(text) {
            Some(time) => {
                self.tally.first_time = self.tally.first_time.or(Some(time));
                self.tally.last_time = Some(time);
            }
            None => self.tally.note(at, Note::Timestamp(text[3..].to_vec())),
        }
    }
}

/// An error with the bytes that are missing counted up to the end of the file, and not of those at hand.
pub(crate) fn of_file(mut error: record::Error, end: Option<u64>) -> record::Error {
    if let (record::Kind::Truncated { got, .. }, Some(end)) = (&mut error.kind, end) {
        *got = end.saturating_sub(error.at);
    }
    error
}

/// Looks at the command at `at` if it is all there and written as commands are.
#[inline]
fn quick(bytes: &[u8], at: usize) -> Quick {
    let Some((argc, mut next)) = number(bytes, at, b'*') else { return Quick::Other };
    if argc == 0 {
        return Quick::Other;
    }
    let (mut name, mut first) = ((0, 0), (0, 0));
    for i in 0..argc {
        let Some((len, start)) = number(bytes, next, b'$') else { return Quick::Other };
        let end = start.saturating_add(len as usize);
        match bytes.get(end..end.saturating_add(2)) {
            Some([b'\r', b'\n']) => {}
            _ => return Quick::Other,
        }
        match i {
            0 => name = (start, end),
            1 => first = (start, end),
            _ => {}
        }
        next = end + 2;
    }
    Quick::Command { end: next, argc, name, first }
}

/// The number behind `prefix` at `at`, and where its line ends. `None` for anything unusual: no digit,
/// zeros in front, more digits than usual, no CR LF, not enough bytes to be sure.
#[inline]
fn number(bytes: &[u8], at: usize, prefix: u8) -> Option<(u64, usize)> {
    let head: &[u8; 8] = bytes.get(at..at.checked_add(8)?)?.try_into().ok()?;
    let digit = |i: usize| {
        let digit = head[i].wrapping_sub(b'0');
        (digit <= 9).then_some(u64::from(digit))
    };
    let ends = |i: usize| head[i] == b'\r' && head[i + 1] == b'\n';
    if head[0] != prefix {
        return None;
    }
    let mut value = digit(1)?;
    if ends(2) {
        return Some((value, at + 4));
    }
    if value == 0 {
        return None;
    }
    for i in 2..6 {
        value = value * 10 + digit(i)?;
        if ends(i + 1) {
            return Some((value, at + i + 3));
        }
    }
    None
}

/// Steps over the command at the feed's place without holding it. `each` gets the number, the length and the
/// beginning of each argument, at most `kept` bytes.
pub(crate) fn read_long(feed: &mut impl Feed, each: &mut dyn FnMut(u64, u64, &[u8]), kept: u64) -> Long {
    let record_at = feed.at();
    let error = |at, argument, kind| Ok(Err(record::Error { at, record_at, argument, kind }));
    let argc = match length_line(feed, b'*')? {
        Ok(argc) => argc,
        Err((at, kind)) => return error(at, None, kind),
    };
    for i in 0..argc {
        let len = match length_line(feed, b'$')? {
            Ok(len) => len,
            Err((at, kind)) => return error(at, Some(i), kind),
        };
        let start = feed.at();
        feed.fill(len.min(kept))?;
        let head = len.min(kept).min(feed.bytes().len() as u64) as usize;
        each(i, len, &feed.bytes()[..head]);
        let skipped = feed.skip(len)?;
        feed.fill(2)?;
        let got = skipped + feed.bytes().len().min(2) as u64;
        match feed.bytes() {
            [b'\r', b'\n', ..] if skipped == len => feed.consume(2),
            [a, b, ..] if skipped == len => {
                return error(feed.at(), Some(i), record::Kind::MissingCrlf { got: [*a, *b] });
            }
            _ => return error(start, Some(i), record::Kind::Truncated { needed: len + 2, got }),
        }
    }
    Ok(Ok(argc))
}

/// What reading a long command gives: its number of arguments, or what is wrong with it.
pub(crate) type Long = io::Result<Result<u64, record::Error>>;

/// Reads a line with a length and steps over it; what is wrong with it, and where.
type Length = Result<u64, (u64, record::Kind)>;

fn length_line(feed: &mut impl Feed, prefix: u8) -> io::Result<Length> {
    const LONGEST: u64 = 24;
    feed.fill(LONGEST)?;
    let at = feed.at();
    let window = &feed.bytes()[..feed.bytes().len().min(LONGEST as usize)];
    let got = window.len() as u64;
    let Some(newline) = memchr::memchr(b'\n', window) else {
        let is_cut = got < LONGEST && window.first().is_none_or(|first| *first == prefix);
        return Ok(Err(match is_cut {
            true => (at, record::Kind::Truncated { needed: got + 1, got }),
            false => wrong_length(at, prefix, window),
        }));
    };
    let digits = window[..newline].strip_prefix(&[prefix]).and_then(|rest| rest.strip_suffix(b"\r"));
    let value =
        digits.and_then(cairn_engine::base::num::parse_i64).and_then(|value| u64::try_from(value).ok());
    let range = if prefix == b'*' { 1..=MAX_ARGUMENTS } else { 0..=MAX_ARGUMENT_BYTES };
    let answer = match value.filter(|value| range.contains(value)) {
        Some(value) => Ok(value),
        None => Err(wrong_length(at, prefix, window)),
    };
    if answer.is_ok() {
        feed.consume(newline + 1);
    }
    Ok(answer)
}

fn wrong_length(at: u64, prefix: u8, window: &[u8]) -> (u64, record::Kind) {
    match window.first() {
        Some(&got) if got != prefix => (at, record::Kind::Prefix { expected: prefix, got }),
        _ => (at + 1, record::Kind::BadLength { prefix, value: None }),
    }
}
