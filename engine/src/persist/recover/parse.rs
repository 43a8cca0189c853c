//! Bytes of a log's file on their way to commands: records, blocks, transactions.
//!
//! A block is looked at before a command of it is given out, and a transaction is given out when its EXEC
//! has come: what is not finished at the end never is. Knows no keys: it may run on another thread than
//! the one that owns them. Memory is bounded by the longest block, command or transaction that the file
//! really has, and a piece.

use std::io;
use std::ops::Range;

use crate::base::crc64::Crc64;
use crate::codec::aof::block;
use crate::codec::aof::record::{self, Content, Parser};
use crate::command::Args;
use crate::persist::storage::InputFile;
use crate::script::again;

use super::batch::{Batch, Call, Item};
use super::table::{Known, Table};

/// Bytes asked of the disk at a time: what becomes a batch. They stay in the second-level cache until they
/// have been run.
const READ_BYTES: usize = 256 << 10;
/// Places in the end of a file that are tried as the start of a command.
const MOST_STARTS: usize = 16;
/// The longest text of an argument in a message.
const MOST_SHOWN: usize = 128;

/// A command that cannot be repeated. The text is one for Redis's "error: ".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stopped {
    /// Offset of the command.
    pub(super) at: u64,
    pub(super) text: String,
}

/// Why a file ends before its end.
#[derive(Debug)]
pub(super) enum Wrong {
    Record(record::Error),
    Block(block::Fault),
    /// The block at this offset is whole, and its commands cannot be what was meant.
    Inside(u64, String),
}

/// Why nothing more can be read.
#[derive(Debug)]
pub(super) enum Failed {
    Io(io::Error),
    Command(Stopped),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        Failed::Io(error)
    }
}

/// Bytes on their way from a file.
pub(super) struct Feed {
    input: Box<dyn InputFile>,
    /// What has been read and is still needed.
    pub(super) bytes: Vec<u8>,
    /// Where `bytes` starts in the file.
    pub(super) offset: u64,
    /// Size of the file.
    pub(super) end: u64,
    is_at_end: bool,
    /// Of everything before `offset`.
    pub(super) sum: Crc64,
}

impl Feed {
    pub(super) fn new(input: Box<dyn InputFile>) -> Feed {
        let end = input.bytes();
        Feed { input, bytes: Vec::new(), offset: 0, end, is_at_end: false, sum: Crc64::new() }
    }

    /// One that goes on where others have read: `bytes` from `offset` on are at hand.
    pub(super) fn behind(input: Box<dyn InputFile>, offset: u64, bytes: Vec<u8>) -> Feed {
        Feed { offset, bytes, ..Feed::new(input) }
    }

    /// Drops bytes from the front.
    pub(super) fn consume(&mut self, len: usize) {
        self.sum.update(&self.bytes[..len]);
        self.bytes.drain(..len);
        self.offset += len as u64;
    }

    /// Gives bytes from the front away. The rest goes to `room`.
    fn split(&mut self, len: usize, mut room: Vec<u8>) -> Vec<u8> {
        self.sum.update(&self.bytes[..len]);
        self.offset += len as u64;
        room.clear();
        room.reserve(self.bytes.len() - len + READ_BYTES);
        room.extend_from_slice(&self.bytes[len..]);
        self.bytes.truncate(len);
        std::mem::replace(&mut self.bytes, room)
    }

    /// Reads until there are so many bytes at hand, or the file is at its end. What is reserved is no more
    /// than what has come, and a piece.
    pub(super) fn fill(&mut self, least: usize) -> io::Result<()> {
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

/// A MULTI whose EXEC has not come.
#[derive(Debug, Clone, Copy)]
struct Open {
    /// Its place in the bytes at hand.
    place: usize,
    /// Commands that were there before it.
    items: usize,
}

/// What comes next.
pub(super) enum Part {
    /// Commands to run.
    Batch(Batch),
    /// The end of the file, or of what is right in it.
    End(Option<Wrong>),
}

/// What comes next in the bytes at hand.
enum Next {
    Taken,
    /// So many bytes are needed from here.
    More(u64),
    /// So many bytes are a reserve.
    Reserve(usize),
    Done,
    Bad(Wrong),
}

/// Reads commands.
pub(super) struct Parsing {
    pub(super) feed: Feed,
    /// What has been taken of the bytes at hand.
    pub(super) at: usize,
    /// Reads commands outside of blocks.
    parser: Parser,
    /// Reads commands in a block.
    inner: Parser,
    blocks: block::Reader,
    is_in_blocks: bool,
    /// Whether some of the file is in blocks.
    pub(super) has_blocks: bool,
    /// Whether commands follow blocks.
    pub(super) has_foreign: bool,
    /// Whether they follow a reserve.
    pub(super) has_gap: bool,
    /// Where the reserve starts with which the file ends, and the CRC-64 of everything before.
    pub(super) content_end: Option<(u64, u64)>,
    commands: Commands,
    end: Option<Option<Wrong>>,
    /// Batches that were run: their room is used again.
    spare: Vec<Batch>,
}

/// The commands of the bytes at hand.
struct Commands {
    table: Table,
    databases: usize,
    words: Vec<Range<usize>>,
    items: Vec<Item>,
    open: Option<Open>,
}

impl Parsing {
    /// Begins behind what `feed` has given, with a block if `in_blocks`.
    pub(super) fn new(feed: Feed, databases: usize, in_blocks: bool) -> Parsing {
        let commands =
            Commands { table: Table::new(), databases, words: Vec::new(), items: Vec::new(), open: None };
        Parsing {
            parser: Parser::new(feed.offset, Some(feed.end)),
            inner: Parser::new(0, None),
            blocks: block::Reader::new(feed.offset, Some(feed.end)),
            is_in_blocks: in_blocks,
            has_blocks: in_blocks,
            has_foreign: false,
            has_gap: false,
            content_end: None,
            commands,
            end: None,
            spare: Vec::new(),
            at: 0,
            feed,
        }
    }

    /// Takes a batch back, for its room.
    pub(super) fn recycle(&mut self, mut batch: Batch) {
        batch.items.clear();
        batch.words.clear();
        batch.runs.clear();
        self.spare.push(batch);
    }

    /// Whether a transaction has been begun and not ended.
    pub(super) fn is_open(&self) -> bool {
        self.commands.open.is_some()
    }

    /// Whether `rest`, the end of the file, has commands in it that go on right up to its end: then it is
    /// no command that was cut, but one with a wrong length.
    pub(super) fn ends_in_commands(&self, rest: &[u8]) -> bool {
        let starts = memchr::memmem::find_iter(rest, b"\r\n*").map(|at| at + 2);
        starts.take(MOST_STARTS).any(|start| self.commands.are_all(&rest[start..]))
    }

    /// The next commands; the end, when all have been given out. What has not been given out then starts at
    /// `feed.offset`.
    ///
    /// # Errors
    /// The disk, or a command that nobody can run.
    pub(super) fn next(&mut self) -> Result<Part, Failed> {
        loop {
            if let Some(end) = self.end.take() {
                return Ok(Part::End(end));
            }
            let next = match self.is_in_blocks {
                true => self.block()?,
                false => self.command()?,
            };
            let given = match next {
                Next::Taken => continue,
                Next::More(least) => {
                    let given = self.give();
                    // What a length claims is no more than the file has: the readers have been told its end.
                    let least = usize::try_from(least).unwrap_or(usize::MAX);
                    self.feed.fill(self.at.saturating_add(least))?;
                    given
                }
                Next::Reserve(len) => {
                    let given = self.give();
                    self.content_end.get_or_insert((self.feed.offset, self.feed.sum.value()));
                    self.feed.consume(len);
                    given
                }
                Next::Done => {
                    self.end = Some(None);
                    self.give()
                }
                Next::Bad(wrong) => {
                    self.end = Some(Some(wrong));
                    self.give()
                }
            };
            if let Some(batch) = given {
                return Ok(Part::Batch(batch));
            }
        }
    }

    /// Gives out what may be run.
    fn give(&mut self) -> Option<Batch> {
        let Commands { words, items, open, .. } = &mut self.commands;
        let (count, taken) = match open {
            Some(open) => (std::mem::take(&mut open.items), std::mem::take(&mut open.place)),
            None => (items.len(), self.at),
        };
        if taken == 0 {
            return None;
        }
        let mut batch = self.spare.pop().unwrap_or_default();
        batch.bytes = self.feed.split(taken, std::mem::take(&mut batch.bytes));
        batch.end = self.feed.offset;
        self.at -= taken;
        let first = items.get(count).map_or(words.len(), |next| next.first);
        std::mem::swap(&mut batch.items, items);
        std::mem::swap(&mut batch.words, words);
        // What is left belongs to a transaction that is not finished: it is moved to the front.
        items.extend(batch.items.drain(count..).map(|item| Item { first: item.first - first, ..item }));
        words.extend(batch.words.drain(first..).map(|word| word.start - taken..word.end - taken));
        Some(batch)
    }

    /// Takes the command or annotation that stands here outside of blocks.
    #[inline]
    fn command(&mut self) -> Result<Next, Failed> {
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
            self.commands.take(&self.feed.bytes, self.at, argv.ranges(), record.at)?;
        }
        self.at += (record.end - record.at) as usize;
        Ok(Next::Taken)
    }

    #[cold]
    fn enter_blocks(&mut self) -> Next {
        let at = self.parser.at();
        if self.is_open() {
            return Next::Bad(Wrong::Inside(at, "a block starts inside a transaction".to_owned()));
        }
        self.blocks.skip_to(at);
        self.is_in_blocks = true;
        self.has_blocks = true;
        Next::Taken
    }

    /// Takes the block that stands here.
    #[inline]
    fn block(&mut self) -> Result<Next, Failed> {
        let input = &self.feed.bytes[self.at..];
        let block = match self.blocks.next(input, self.feed.is_at_end) {
            Ok(block::Step::Block(block)) => block,
            Ok(block::Step::More { at_least }) => return Ok(Next::More(at_least)),
            Ok(block::Step::Reserve(len)) => return Ok(Next::Reserve(len)),
            Ok(block::Step::Done) => return Ok(Next::Done),
            Ok(block::Step::Foreign) => {
                self.is_in_blocks = false;
                self.has_foreign = true;
                self.has_gap |= self.content_end.take().is_some();
                self.parser.restart(self.blocks.at(), Some(self.feed.end));
                return Ok(Next::Taken);
            }
            Err(fault) => return Ok(Next::Bad(Wrong::Block(fault))),
        };
        let start = block.at;
        let mut place = self.at + (block.body_at - block.at) as usize;
        let mut left = block.body;
        self.inner.restart(block.body_at, Some(block.end));
        loop {
            let record = match self.inner.next(left, true) {
                Ok(record::Step::Record(record)) => record,
                Ok(_) => break,
                Err(error) => return Ok(Next::Bad(Wrong::Inside(start, error.to_string()))),
            };
            if let Content::Command(argv) = record.content {
                self.commands.take(&self.feed.bytes, place, argv.ranges(), record.at)?;
            }
            let bytes = (record.end - record.at) as usize;
            place += bytes;
            left = &left[bytes..];
        }
        if self.is_open() {
            return Ok(Next::Bad(Wrong::Inside(start, "the block ends inside a transaction".to_owned())));
        }
        self.at = place;
        Ok(Next::Taken)
    }
}

impl Commands {
    /// Whether these bytes are commands that there are, and nothing else.
    fn are_all(&self, bytes: &[u8]) -> bool {
        let mut parser = Parser::new(0, Some(bytes.len() as u64));
        let mut at = 0;
        loop {
            let Ok(record::Step::Record(record)) = parser.next(&bytes[at..], true) else {
                return at == bytes.len();
            };
            if let Content::Command(argv) = record.content {
                let is_known = match self.table.find(argv.name()) {
                    Some(known) => !known.is_plain || known.command.spec.accepts(argv.len()),
                    None => [&b"select"[..], b"multi", b"exec"]
                        .iter()
                        .any(|n| argv.name().eq_ignore_ascii_case(n)),
                };
                if !is_known {
                    return false;
                }
            }
            at = record.end as usize;
        }
    }

    /// Takes the command at offset `at`, whose words stand in `bytes` at `words`, counted from `place`.
    #[inline]
    fn take(&mut self, bytes: &[u8], place: usize, words: &[Range<usize>], at: u64) -> Result<(), Failed> {
        let word = |i: usize| &bytes[place + words[i].start..place + words[i].end];
        let known = self.table.find(word(0));
        let call = match known {
            Some(known) if known.is_plain && known.command.spec.accepts(words.len()) => known.call(),
            _ => {
                let argv: Vec<&[u8]> = (0..words.len()).map(word).collect();
                match self.other(known, &argv, place) {
                    Ok(Some(call)) => call,
                    Ok(None) => return Ok(()),
                    Err(text) => return Err(Failed::Command(Stopped { at, text })),
                }
            }
        };
        let first = self.words.len();
        self.words.extend(words.iter().map(|word| place + word.start..place + word.end));
        self.items.push(Item { call, first, len: words.len(), at });
        Ok(())
    }

    /// A command that is not simply a data command; `None` if there is nothing to run for it. The error is
    /// the text for the log.
    #[cold]
    fn other(&mut self, known: Option<Known>, argv: &[&[u8]], place: usize) -> Result<Option<Call>, String> {
        let name = argv[0];
        let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
        if let Some(known) = known {
            return data_command(known, argv).map(Some);
        }
        if is("select") {
            return self.select(argv).map(Some);
        }
        if (is("multi") || is("exec") || is("discard")) && argv.len() != 1 {
            return Err(wrong_arity(&lower(name)));
        }
        let open = Open { place, items: self.items.len() };
        Ok(match self.open {
            None if is("multi") => {
                self.open = Some(open);
                None
            }
            Some(_) if is("multi") => {
                Some(Call::Wrong { command: "multi", error: "ERR MULTI calls can not be nested" })
            }
            None if is("exec") => Some(Call::Wrong { command: "exec", error: "ERR EXEC without MULTI" }),
            Some(_) if is("exec") => {
                self.open = None;
                None
            }
            Some(open) if is("discard") => {
                if let Some(first) = self.items.get(open.items) {
                    self.words.truncate(first.first);
                }
                self.items.truncate(open.items);
                self.open = None;
                None
            }
            _ if again::is_of_scripts(argv) => {
                if argv.len() < 3 && !is("script") {
                    return Err(wrong_arity(&lower(name)));
                }
                Some(Call::Script)
            }
            _ if is("function") => Some(Call::Function),
            _ if CALLS_FUNCTIONS.iter().any(|word| is(word)) => {
                return Err(format!(
                    "'{}' calls a function, which no server has logged, as what functions do is. Rewrite the AOF on the \
                     server that made it, with aof-use-rdb-preamble yes, and take its files then",
                    lower(name)
                ));
            }
            _ => Some(Call::Outside),
        })
    }

    fn select(&mut self, argv: &[&[u8]]) -> Result<Call, String> {
        if argv.len() != 2 {
            return Err(wrong_arity("select"));
        }
        let databases = self.databases;
        match Args(argv).int(1).ok().and_then(|db| usize::try_from(db).ok()) {
            Some(db) if db < databases => Ok(Call::Select(db)),
            // Servers go on in the database before it then, and put the keys there.
            _ => Err(format!(
                "SELECT {}, but there are {databases} databases. Set 'databases' to as many as the log needs",
                printable(argv[1], MOST_SHOWN)
            )),
        }
    }
}

fn data_command(known: Known, argv: &[&[u8]]) -> Result<Call, String> {
    let name = known.command.spec.name;
    let Some(meant) = known.meant(Args(argv)) else {
        return Err(match argv.get(1) {
            None => wrong_arity(name),
            Some(word) => format!(
                "unknown subcommand '{}'. Try {} HELP.",
                printable(word, MOST_SHOWN),
                name.to_ascii_uppercase()
            ),
        });
    };
    let spec = &meant.command.spec;
    if !spec.accepts(argv.len()) {
        return Err(wrong_arity(&spec.full_name()));
    }
    Ok(meant.call())
}

/// Commands that call functions. No server has logged them: what functions did is in logs.
const CALLS_FUNCTIONS: &[&str] = &["fcall", "fcall_ro"];

fn lower(name: &[u8]) -> String {
    printable(&name.to_ascii_lowercase(), MOST_SHOWN)
}

fn printable(bytes: &[u8], most: usize) -> String {
    bytes[..bytes.len().min(most)].escape_ascii().to_string()
}

fn wrong_arity(name: &str) -> String {
    format!("wrong number of arguments for '{name}' command")
}

/// The words of Redis for a command that it does not know.
pub(super) fn unknown(argv: &[&[u8]]) -> String {
    let mut args = String::new();
    for arg in argv.iter().skip(1) {
        if args.len() >= MOST_SHOWN {
            break;
        }
        args.push_str(&format!("'{}' ", printable(arg, MOST_SHOWN - args.len())));
    }
    let name = argv.first().map_or(String::new(), |name| printable(name, MOST_SHOWN));
    format!("unknown command '{name}', with args beginning with: {args}")
}
