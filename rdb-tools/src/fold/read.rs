//! Commands of one file, one after another, with their offsets: plain, or in checked blocks.
//!
//! A block is looked at before a command of it is given out. Where something is wrong it is told what that
//! means: the end of a write that was torn off, or damage; the verdicts are those of a server's start.
//! Knows no commands.

use std::io;
use std::ops::Range;

use cairn_engine::codec::aof::block::{self, Search, Verdict};
use cairn_engine::codec::aof::manifest::Marks;
use cairn_engine::codec::aof::record::{self, Content, Parser};

use crate::input::Input;

/// A longer end of a file is not looked at as a whole.
const LONGEST_TAIL: u64 = 16 << 20;
/// Places in the end of a file that are tried as the start of a command.
const MOST_STARTS: usize = 16;

/// A record of a file.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Offset of its first byte.
    pub at: u64,
    /// Offset after its last byte.
    pub end: u64,
    /// What it is.
    pub content: Kind<'a>,
}

/// What a record is.
#[derive(Debug, Clone, Copy)]
pub enum Kind<'a> {
    /// A command.
    Command(Words<'a>),
    /// An annotation: the line without `#` and line end.
    Annotation(&'a [u8]),
}

/// The words of a command.
#[derive(Debug, Clone, Copy)]
pub struct Words<'a> {
    bytes: &'a [u8],
    places: &'a [Range<usize>],
}

impl<'a> Words<'a> {
    /// All of them, the name first.
    pub fn iter(self) -> impl ExactSizeIterator<Item = &'a [u8]> {
        self.places.iter().map(move |place| &self.bytes[place.clone()])
    }

    /// The name.
    #[must_use]
    pub fn name(self) -> &'a [u8] {
        self.places.first().map_or(&[], |place| &self.bytes[place.clone()])
    }

    /// Puts them into `argv`.
    pub fn put(self, argv: &mut Vec<&'a [u8]>) {
        argv.clear();
        argv.extend(self.iter());
    }
}

/// A place from which on a file cannot be read.
#[derive(Debug)]
pub struct Broken {
    /// Offset of the record or block.
    pub at: u64,
    /// What is wrong, with the offset where it shows.
    pub what: String,
    /// Whether it may be the end of a write that was torn off.
    pub is_torn: bool,
}

/// Why there is no next record.
#[derive(Debug)]
pub enum Failed {
    /// The system.
    Io(io::Error),
    /// The bytes.
    Broken(Broken),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        Failed::Io(error)
    }
}

/// A block whose commands are being given out.
#[derive(Debug, Clone, Copy)]
struct Open {
    at: u64,
    end: u64,
}

/// Reads the records of a file from the input's position on.
#[derive(Debug)]
pub struct Records<'i> {
    input: &'i mut Input,
    parser: Parser,
    blocks: block::Reader,
    in_blocks: bool,
    has_blocks: bool,
    block: Option<Open>,
    gap: Option<Range<u64>>,
    marks: Marks,
    until: u64,
    /// Bytes of the record that was given out last.
    given: usize,
    places: Vec<Range<usize>>,
}

/// What stands at the input's position.
enum Found {
    Command(u64),
    Annotation(u64),
    End,
    Again,
}

impl<'i> Records<'i> {
    /// Of a file of which the manifest says `marks`. Records that start at `until` or behind it are left.
    pub fn new(input: &'i mut Input, marks: Marks, until: Option<u64>) -> Records<'i> {
        let at = input.position();
        let in_blocks = marks.blocks == Some(at);
        Records {
            parser: Parser::new(at, input.len()),
            blocks: block::Reader::new(at, input.len()),
            in_blocks,
            has_blocks: marks.blocks.is_some(),
            block: None,
            gap: None,
            marks,
            until: until.unwrap_or(u64::MAX),
            given: 0,
            places: Vec::new(),
            input,
        }
    }

    /// Offset after the record that was given out last; at the end, where the log ends: what follows is a
    /// reserve.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.blocks.reserve().unwrap_or(self.input.position() + self.given as u64)
    }

    /// The block that the record which was given out last stands in, or the one behind it, if its line has
    /// been read: where it starts and where it ends.
    #[must_use]
    pub fn block(&self) -> Option<(u64, u64)> {
        self.block.map(|block| (block.at, block.end))
    }

    /// The first reserve that has been seen with something behind it.
    #[must_use]
    pub fn gap(&self) -> Option<Range<u64>> {
        self.gap.clone()
    }

    /// Whether commands in checked blocks have been seen.
    #[must_use]
    pub fn has_blocks(&self) -> bool {
        self.has_blocks
    }

    /// The next record; `None` at the end.
    ///
    /// # Errors
    /// `Failed`; nothing more can be had then.
    pub fn advance(&mut self) -> Result<Option<Record<'_>>, Failed> {
        self.input.consume(std::mem::take(&mut self.given));
        let found = loop {
            if self.input.position() >= self.until {
                return Ok(None);
            }
            match self.step()? {
                Found::Again => {}
                found => break found,
            }
        };
        let at = self.input.position();
        let (end, is_command) = match found {
            Found::Command(end) => (end, true),
            Found::Annotation(end) => (end, false),
            Found::End | Found::Again => return Ok(None),
        };
        self.given = (end - at) as usize;
        let bytes = self.input.bytes();
        let content = match is_command {
            true => Kind::Command(Words { bytes, places: &self.places }),
            false => {
                let line = &bytes[1..self.given - 1];
                Kind::Annotation(line.strip_suffix(b"\r").unwrap_or(line))
            }
        };
        Ok(Some(Record { at, end, content }))
    }

    fn step(&mut self) -> Result<Found, Failed> {
        if let Some(open) = self.block {
            return self.inside(open);
        }
        if self.in_blocks {
            return self.enter();
        }
        let (bytes, is_last) = (self.input.bytes(), self.input.is_last());
        if bytes.first() == Some(&b'#') {
            if bytes.len() < block::PREFIX.len() && !is_last {
                self.input.fill(block::PREFIX.len() as u64)?;
                return Ok(Found::Again);
            }
            if block::is_line(bytes) {
                self.blocks.skip_to(self.input.position());
                self.in_blocks = true;
                self.has_blocks = true;
                return Ok(Found::Again);
            }
        }
        let at_least = match self.parser.next(bytes, is_last) {
            Ok(record::Step::Record(record)) => return Ok(note(&record, &mut self.places)),
            Ok(record::Step::Done) => return Ok(Found::End),
            Ok(record::Step::More { at_least }) => at_least,
            Err(error) => return Err(self.judge_record(error)?),
        };
        self.input.fill(at_least)?;
        Ok(Found::Again)
    }

    /// Looks at the block that starts here.
    fn enter(&mut self) -> Result<Found, Failed> {
        let at = self.input.position();
        self.blocks.skip_to(at);
        let reserve = self.blocks.reserve();
        let at_least = match self.blocks.next(self.input.bytes(), self.input.is_last()) {
            Ok(block::Step::Block(block)) => {
                let (body_at, end) = (block.body_at, block.end);
                self.block = Some(Open { at, end });
                self.parser.restart(body_at, Some(end));
                self.input.consume((body_at - at) as usize);
                return Ok(Found::Again);
            }
            Ok(block::Step::More { at_least }) => at_least,
            Ok(block::Step::Reserve(len)) => {
                self.input.consume(len);
                return Ok(Found::Again);
            }
            Ok(block::Step::Done) => return self.end(),
            Ok(block::Step::Foreign) => {
                self.gap = self.gap.take().or(reserve.map(|from| from..at));
                self.in_blocks = false;
                self.parser.restart(at, self.input.len());
                return Ok(Found::Again);
            }
            Err(fault) => return Err(self.judge_block(fault)?),
        };
        self.input.fill(at_least)?;
        Ok(Found::Again)
    }

    /// The file ends, maybe with a reserve. Whole blocks are missing if the manifest says so.
    fn end(&self) -> Result<Found, Failed> {
        let at = self.blocks.reserve();
        match (at, self.marks.end) {
            (Some(at), Some(end)) if self.marks.size.is_none() && end > at => {
                let what = format!(
                    "the log ends here, and the manifest says that the file was whole up to offset {end}"
                );
                Err(Failed::Broken(Broken { at, what, is_torn: false }))
            }
            _ => Ok(Found::End),
        }
    }

    /// Reads a record of a block, which is at hand as a whole.
    fn inside(&mut self, open: Open) -> Result<Found, Failed> {
        let left = (open.end - self.input.position()) as usize;
        if left == 0 {
            self.block = None;
            return Ok(Found::Again);
        }
        match self.parser.next(&self.input.bytes()[..left], true) {
            Ok(record::Step::Record(record)) => Ok(note(&record, &mut self.places)),
            Ok(_) => Ok(Found::End),
            Err(error) => Err(Failed::Broken(Broken {
                at: open.at,
                what: format!("its checksum fits, and what is in it are no commands: {error}"),
                is_torn: false,
            })),
        }
    }

    fn judge_block(&mut self, fault: block::Fault) -> io::Result<Failed> {
        let mut search = Search::new(fault, self.input.len());
        self.rest(|bytes| search.push(bytes))?;
        let (what, is_torn) = match search.finish(self.marks.whole_to()) {
            Verdict::Corrupt(proof) => (format!("{}; {proof}", fault.kind), false),
            Verdict::Torn { .. } => (fault.kind.to_string(), true),
        };
        Ok(Failed::Broken(Broken { at: fault.at, what, is_torn }))
    }

    fn judge_record(&mut self, error: record::Error) -> io::Result<Failed> {
        let at = self.input.position();
        let is_cut = error.is_truncation();
        let mut what = match error.argument {
            Some(argument) if error.at > at => {
                format!("{} (at offset {}, argument {argument})", error.kind, error.at)
            }
            _ => error.kind.to_string(),
        };
        let left = self.input.len().map_or(u64::MAX, |len| len.saturating_sub(at));
        if is_cut && !self.has_blocks && left <= LONGEST_TAIL {
            self.input.fill(left)?;
            if ends_in_commands(self.input.bytes()) {
                what.push_str("; commands follow up to the end of the file, so the length is wrong");
                return Ok(Failed::Broken(Broken { at, what, is_torn: false }));
            }
        }
        let mut search = self.has_blocks.then(|| Search::behind(at));
        let mut skip = usize::try_from(error.at - at).unwrap_or(usize::MAX);
        let mut is_zero = !is_cut;
        self.rest(|bytes| {
            let from = skip.min(bytes.len());
            skip -= from;
            is_zero = is_zero && bytes[from..].iter().all(|byte| *byte == 0);
            let is_told = search.as_mut().is_none_or(|search| search.push(bytes));
            is_told && !is_zero
        })?;
        if is_zero {
            what.push_str("; only zero bytes follow");
        }
        let mut is_torn = is_cut || is_zero;
        if let Some(Verdict::Corrupt(proof)) = search.map(|search| search.finish(self.marks.whole_to())) {
            what.push_str(&format!("; {proof}"));
            is_torn = false;
        }
        is_torn = is_torn && self.marks.whole_to().is_none_or(|end| end <= at);
        Ok(Failed::Broken(Broken { at, what, is_torn }))
    }

    /// Shows what is left, until `look` has seen enough.
    fn rest(&mut self, mut look: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
        loop {
            self.input.fill(1)?;
            let bytes = self.input.bytes();
            let n = bytes.len();
            if n == 0 || look(bytes) {
                return Ok(());
            }
            self.input.consume(n);
        }
    }
}

fn note(record: &record::Record<'_>, places: &mut Vec<Range<usize>>) -> Found {
    match record.content {
        Content::Command(argv) => {
            places.clear();
            places.extend_from_slice(argv.ranges());
            Found::Command(record.end)
        }
        Content::Annotation(_) => Found::Annotation(record.end),
    }
}

/// Whether `rest`, the end of a file, has commands in it that go on right up to its end: then it is no
/// command that was cut, but one with a wrong length.
fn ends_in_commands(rest: &[u8]) -> bool {
    let starts = memchr::memmem::find_iter(rest, b"\r\n*").map(|at| at + 2);
    starts.take(MOST_STARTS).any(|start| {
        let tail = &rest[start..];
        let mut parser = Parser::new(0, Some(tail.len() as u64));
        let mut at = 0;
        while let Ok(record::Step::Record(record)) = parser.next(&tail[at..], true) {
            at = record.end as usize;
        }
        at == tail.len()
    })
}
