//! Records of an append only file: commands as RESP arrays of bulk strings, and `#` lines.
//!
//! ```text
//! *3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n      a command
//! #TS:1628217470\r\n                            an annotation; only TS (Unix seconds) is known
//! ```
//! Bytes are pushed in and records come out; a length is a claim, so nothing is allocated by it.
//! Lengths are read as strictly as every writer writes them. Behaviour: valkey src/aof.c,
//! `loadSingleAppendOnlyFile`, but a string must be followed by CR LF, which the server there steps over
//! unread. Knows no commands but MULTI and EXEC.

use std::ops::Range;

use crate::base::num;

pub use super::record_error::{Error, Kind};

/// The longest annotation line, CR LF counted (valkey src/server.h).
pub const MAX_ANNOTATION_BYTES: usize = 1024;

/// The most arguments of a command: servers count them in 31 bits.
pub const MAX_ARGUMENTS: u64 = i32::MAX as u64;
/// The longest argument. No server ever held one like it, so a greater length is a wrong one, and not
/// the start of a string whose rest was torn off.
pub const MAX_ARGUMENT_BYTES: u64 = 1 << 40;

/// The longest line with a length: `*` or `$`, the digits, CR LF.
const MAX_LENGTH_LINE: usize = 1 + num::MAX_INT_CHARS + 2;

/// One record and where it lies.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Offset of its first byte.
    pub at: u64,
    /// Offset after its last byte.
    pub end: u64,
    /// What it is.
    pub content: Content<'a>,
}

/// What a record is.
#[derive(Debug, Clone, Copy)]
pub enum Content<'a> {
    /// A command with at least one argument, its name.
    Command(Argv<'a>),
    /// An annotation: the line without `#` and line end.
    Annotation(&'a [u8]),
}

/// The arguments of a command, borrowed from the input.
#[derive(Debug, Clone, Copy)]
pub struct Argv<'a> {
    input: &'a [u8],
    ranges: &'a [Range<usize>],
}

impl<'a> Argv<'a> {
    /// Number of arguments, the name counted; at least 1.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "there is always a name")]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Argument `i`; `None` past the last.
    #[must_use]
    pub fn get(&self, i: usize) -> Option<&'a [u8]> {
        Some(&self.input[self.ranges.get(i)?.clone()])
    }

    /// The command's name as it was written.
    #[must_use]
    pub fn name(&self) -> &'a [u8] {
        self.get(0).unwrap_or_default()
    }

    /// Where the arguments stand in the input that was given.
    #[must_use]
    pub fn ranges(&self) -> &'a [Range<usize>] {
        self.ranges
    }

    /// All arguments, the name first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let input = self.input;
        self.ranges.iter().map(move |range| &input[range.clone()])
    }
}

/// What [`Parser::next`] found.
#[derive(Debug)]
pub enum Step<'a> {
    /// A whole record. Its bytes are consumed: the next input starts at `end`.
    Record(Record<'a>),
    /// The input ends inside a record. The next input must start at the same byte and be longer.
    More {
        /// Bytes that the input must have at least for the parser to get on: a claim of the file,
        /// so cap it by what the file has.
        at_least: u64,
    },
    /// The content ended where a record ends.
    Done,
}

/// Reads records one after another. Keeps its place in a record that is not whole yet, so that
/// waiting for more bytes costs nothing twice.
#[derive(Debug)]
pub struct Parser {
    /// Offset of the next record's first byte.
    at: u64,
    /// Where the content ends, when that is known: lengths beyond it are told at once.
    end: Option<u64>,
    /// Arguments of the record at `at` that have been read, as ranges of the input.
    ranges: Vec<Range<usize>>,
    /// How many more there are; `None` before `*N` was read.
    left: Option<u64>,
    /// Bytes of the record that have been read.
    cursor: usize,
}

/// Why a piece could not be read.
enum Stop {
    /// The input must have this many bytes, counted from the record's start.
    Needs(u64),
    /// It is wrong at this offset from the record's start.
    Wrong(usize, Kind),
}

impl Parser {
    /// A parser whose first input starts at offset `at`; `end` is where the content ends, if known.
    #[must_use]
    pub fn new(at: u64, end: Option<u64>) -> Self {
        Self { at, end, ranges: Vec::new(), left: None, cursor: 0 }
    }

    /// Starts anew at offset `at`, as a new parser would; its room is kept.
    pub fn restart(&mut self, at: u64, end: Option<u64>) {
        self.at = at;
        self.end = end;
        self.left = None;
        self.cursor = 0;
    }

    /// Offset of the first byte that is not part of a record already given: what the next input starts with.
    #[must_use]
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Reads the next record from `input`, which starts at [`Parser::at`]; with `is_last` nothing follows it.
    ///
    /// O(bytes of the record), also over several calls. An empty input is `Done` with `is_last`.
    ///
    /// # Errors
    /// The record is wrong, or the last input ends inside it. The parser stays in front of it.
    pub fn next<'a>(&'a mut self, input: &'a [u8], is_last: bool) -> Result<Step<'a>, Error> {
        match input.first() {
            None if is_last => return Ok(Step::Done),
            None => return Ok(Step::More { at_least: 1 }),
            Some(b'#') => return self.annotation(input, is_last),
            Some(_) => {}
        }
        match self.command(input) {
            Ok(()) => {}
            Err(Stop::Wrong(at, kind)) => return Err(self.error(at, kind)),
            Err(Stop::Needs(needed)) => {
                let beyond_end = self.end.is_some_and(|end| needed > end.saturating_sub(self.at));
                if is_last || beyond_end {
                    return Err(self.truncated(input, needed));
                }
                return Ok(Step::More { at_least: needed });
            }
        }
        let at = self.at;
        self.at += self.cursor as u64;
        self.cursor = 0;
        self.left = None;
        let content = Content::Command(Argv { input, ranges: &self.ranges });
        Ok(Step::Record(Record { at, end: self.at, content }))
    }

    /// Reads as much of a command as is there, and remembers how far it got.
    fn command(&mut self, input: &[u8]) -> Result<(), Stop> {
        let mut left = match self.left {
            Some(left) => left,
            None => {
                self.ranges.clear();
                let (argc, next) = length(input, 0, b'*')?;
                self.cursor = next;
                argc
            }
        };
        while left > 0 {
            self.left = Some(left);
            let (bytes, start) = length(input, self.cursor, b'$')?;
            let needed = (start as u64).saturating_add(bytes).saturating_add(2);
            if needed > input.len() as u64 {
                return Err(Stop::Needs(needed));
            }
            let end = start + bytes as usize;
            if input[end..end + 2] != *b"\r\n" {
                return Err(Stop::Wrong(end, Kind::MissingCrlf { got: [input[end], input[end + 1]] }));
            }
            self.ranges.push(start..end);
            self.cursor = end + 2;
            left -= 1;
        }
        Ok(())
    }

    fn annotation<'a>(&mut self, input: &'a [u8], is_last: bool) -> Result<Step<'a>, Error> {
        let window = &input[..input.len().min(MAX_ANNOTATION_BYTES)];
        let Some(newline) = memchr::memchr(b'\n', window) else {
            if window.len() == MAX_ANNOTATION_BYTES {
                return Err(self.error(0, Kind::LongAnnotation));
            }
            let needed = input.len() as u64 + 1;
            if is_last {
                return Err(self.truncated(input, needed));
            }
            return Ok(Step::More { at_least: needed });
        };
        let line = &input[1..newline];
        let at = self.at;
        self.at += newline as u64 + 1;
        let content = Content::Annotation(line.strip_suffix(b"\r").unwrap_or(line));
        Ok(Step::Record(Record { at, end: self.at, content }))
    }

    fn error(&self, at: usize, kind: Kind) -> Error {
        Error { at: self.at + at as u64, record_at: self.at, argument: self.argument(), kind }
    }

    fn truncated(&self, input: &[u8], needed: u64) -> Error {
        let from = self.cursor as u64;
        let kind = Kind::Truncated {
            needed: needed.saturating_sub(from),
            got: (input.len() as u64).saturating_sub(from),
        };
        self.error(self.cursor, kind)
    }

    fn argument(&self) -> Option<u64> {
        self.left.map(|_| self.ranges.len() as u64)
    }
}

/// Reads `prefix`, digits, CR LF at `at`, and gives the number and where it ends.
#[inline]
fn length(input: &[u8], at: usize, prefix: u8) -> Result<(u64, usize), Stop> {
    // Nearly every length of a log has one digit or two, and most of the rest three.
    let digit = |byte: u8| u64::from(byte - b'0');
    match input.get(at..) {
        Some([first, a @ b'1'..=b'9', b'\r', b'\n', ..]) if *first == prefix => Ok((digit(*a), at + 4)),
        Some([first, a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', b'\n', ..]) if *first == prefix => {
            Ok((digit(*a) * 10 + digit(*b), at + 5))
        }
        Some([first, a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b'\r', b'\n', ..])
            if *first == prefix =>
        {
            Ok((digit(*a) * 100 + digit(*b) * 10 + digit(*c), at + 6))
        }
        _ => any_length(input, at, prefix),
    }
}

/// [`length`] for all that a file may have there.
fn any_length(input: &[u8], at: usize, prefix: u8) -> Result<(u64, usize), Stop> {
    let rest = &input[at..];
    let Some(&first) = rest.first() else { return Err(Stop::Needs(at as u64 + 1)) };
    if first != prefix {
        let kind = match prefix {
            b'*' => Kind::NotARecord { got: first },
            _ => Kind::Prefix { expected: prefix, got: first },
        };
        return Err(Stop::Wrong(at, kind));
    }
    let window = &rest[..rest.len().min(MAX_LENGTH_LINE)];
    let digits_end = 1 + window[1..].iter().take_while(|b| b.is_ascii_digit() || **b == b'-').count();
    match &window[digits_end..] {
        [b'\r', b'\n', ..] => {}
        [] | [b'\r'] if rest.len() < MAX_LENGTH_LINE => {
            return Err(Stop::Needs((at + rest.len()) as u64 + 1));
        }
        [first, second, ..] if digits_end > 1 => {
            return Err(Stop::Wrong(at + digits_end, Kind::MissingCrlf { got: [*first, *second] }));
        }
        [_] if digits_end > 1 && rest.len() < MAX_LENGTH_LINE => {
            return Err(Stop::Needs((at + rest.len()) as u64 + 1));
        }
        _ => return Err(Stop::Wrong(at + 1, Kind::BadLength { prefix, value: None })),
    }
    let Some(value) = num::parse_i64(&window[1..digits_end]) else {
        return Err(Stop::Wrong(at + 1, Kind::BadLength { prefix, value: None }));
    };
    let range = match prefix {
        b'*' => 1..=MAX_ARGUMENTS,
        _ => 0..=MAX_ARGUMENT_BYTES,
    };
    match u64::try_from(value) {
        Ok(len) if range.contains(&len) => Ok((len, at + digits_end + 2)),
        _ => Err(Stop::Wrong(at + 1, Kind::BadLength { prefix, value: Some(value) })),
    }
}

/// The Unix time in seconds of a `TS:` annotation; `None` for any other annotation, or one without a number.
#[must_use]
pub fn timestamp(annotation: &[u8]) -> Option<i64> {
    num::parse_i64(annotation.strip_prefix(b"TS:")?)
}

/// Appends a command as its record.
pub fn push_command<'a, I>(out: &mut Vec<u8>, argv: I)
where
    I: IntoIterator<Item = &'a [u8]>,
    I::IntoIter: ExactSizeIterator,
{
    let argv = argv.into_iter();
    push_length(out, b'*', argv.len());
    for arg in argv {
        push_length(out, b'$', arg.len());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

fn push_length(out: &mut Vec<u8>, prefix: u8, len: usize) {
    out.push(prefix);
    num::push_u64(out, len as u64);
    out.extend_from_slice(b"\r\n");
}

/// Appends the annotation that says when the following commands were run, in Unix seconds.
pub fn push_timestamp(out: &mut Vec<u8>, unix_s: i64) {
    out.extend_from_slice(b"#TS:");
    num::push_i64(out, unix_s);
    out.extend_from_slice(b"\r\n");
}

/// Follows MULTI and EXEC over the records of one file.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Transactions {
    open_at: Option<u64>,
}

/// MULTI and EXEC that do not pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unpaired {
    /// A MULTI inside the transaction that started at this offset.
    Multi {
        /// Offset of the MULTI that is still open.
        open_at: u64,
    },
    /// An EXEC outside any transaction.
    Exec,
}

impl Transactions {
    /// Takes a record into account.
    ///
    /// # Errors
    /// It is a MULTI or an EXEC where none can be.
    pub fn step(&mut self, record: &Record<'_>) -> Result<(), Unpaired> {
        let Content::Command(argv) = record.content else { return Ok(()) };
        let name = argv.name();
        if name.eq_ignore_ascii_case(b"multi") {
            if let Some(open_at) = self.open_at {
                return Err(Unpaired::Multi { open_at });
            }
            self.open_at = Some(record.at);
        } else if name.eq_ignore_ascii_case(b"exec") {
            self.open_at.take().ok_or(Unpaired::Exec)?;
        }
        Ok(())
    }

    /// Offset of the MULTI whose EXEC has not come yet: the log is whole up to there.
    #[must_use]
    pub fn open_at(&self) -> Option<u64> {
        self.open_at
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
