//! Checked blocks of a log: each write is one line with a checksum, and whole commands behind it.
//!
//! ```text
//! #CK:<len>:<synced>:<sum>\r\n      then exactly `len` bytes of records (see `record`)
//! ```
//! `len` and `synced` are decimal, `sum` is sixteen hexadecimal digits. `synced` says how many bytes of
//! the file were known to be durable when the block was written, `-` if nobody knew. The sum is
//! CRC-64/REDIS over the line's offset in the file, `len`, `synced` ([`UNKNOWN`] for `-`), each as eight
//! bytes with the lowest first, and the body; so a block that has moved does not fit. To servers that do
//! not know it the line is an annotation, which they skip.
//!
//! What a file cannot show by itself: that whole blocks are missing at its end. The manifest's `end`
//! shows that. Opens no file, and decides nothing about one: it tells what is there.

use std::fmt;

use super::reserve;
use crate::base::crc64::{Behind, Crc64, crc64};
use crate::base::num;

/// What a block's line starts with.
pub const PREFIX: &[u8] = b"#CK:";
/// What stands for a number of synced bytes that nobody knows, in the sum.
pub const UNKNOWN: u64 = u64::MAX;
/// The longest line: the prefix, two numbers of twenty digits, the sum, two colons, CR LF.
pub const MAX_LINE_BYTES: usize = PREFIX.len() + 20 + 1 + 20 + 1 + SUM_DIGITS + 2;
/// What a line with a time starts with.
const TIMESTAMP: &[u8] = b"#TS:";
/// From here on it takes longer to go through a body twice than to reckon with its sum.
const LONG_BODY_BYTES: usize = 24 * 1024;
/// Digits of a sum.
pub(super) const SUM_DIGITS: usize = 16;

/// The sum of a block: `at` is the offset of its line in the file.
#[must_use]
pub fn sum(at: u64, synced: Option<u64>, body: &[u8]) -> u64 {
    let mut crc = start_sum(at, body.len() as u64, synced);
    crc.update(body);
    crc.value()
}

fn start_sum(at: u64, len: u64, synced: Option<u64>) -> Crc64 {
    let mut head = [0; 24];
    head[..8].copy_from_slice(&at.to_le_bytes());
    head[8..16].copy_from_slice(&len.to_le_bytes());
    head[16..].copy_from_slice(&synced.unwrap_or(UNKNOWN).to_le_bytes());
    let mut crc = Crc64::new();
    crc.update(&head);
    crc
}

/// Appends the line that stands in front of `body` at offset `at`. `synced` bytes of the file, at most
/// `at`, are known to be durable.
pub fn push_line(out: &mut Vec<u8>, at: u64, synced: Option<u64>, body: &[u8]) {
    push_line_of(out, at, synced, &[body]);
}

/// The same for a body in pieces that follow one another.
pub fn push_line_of(out: &mut Vec<u8>, at: u64, synced: Option<u64>, pieces: &[&[u8]]) {
    let len: usize = pieces.iter().map(|piece| piece.len()).sum();
    let mut crc = start_sum(at, len as u64, synced);
    pieces.iter().for_each(|piece| crc.update(piece));
    push_fields(out, len, synced, crc.value());
}

fn push_fields(out: &mut Vec<u8>, len: usize, synced: Option<u64>, sum: u64) {
    out.extend_from_slice(PREFIX);
    num::push_u64(out, len as u64);
    out.push(b':');
    match synced {
        Some(bytes) => num::push_u64(out, bytes),
        None => out.push(b'-'),
    }
    out.push(b':');
    push_hex(out, sum);
    out.extend_from_slice(b"\r\n");
}

/// Appends sixteen lower-case digits.
pub(super) fn push_hex(out: &mut Vec<u8>, value: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend((0..SUM_DIGITS).rev().map(|i| DIGITS[(value >> (4 * i)) as usize & 15]));
}

/// Reads sixteen lower-case digits; `None` for anything else.
pub(super) fn parse_hex(digits: &[u8]) -> Option<u64> {
    if digits.len() != SUM_DIGITS {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| match digit {
        b'0'..=b'9' => Some(value << 4 | u64::from(digit - b'0')),
        b'a'..=b'f' => Some(value << 4 | u64::from(digit - b'a' + 10)),
        _ => None,
    })
}

/// Commands on their way into a file, with room in front for the line.
#[derive(Debug, Clone)]
pub struct Pending {
    /// [`MAX_LINE_BYTES`] of room, then the body.
    bytes: Vec<u8>,
}

impl Pending {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { bytes: vec![0; MAX_LINE_BYTES] }
    }

    /// Where records are appended; never make it shorter.
    pub fn body_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The records so far.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.bytes[MAX_LINE_BYTES..]
    }

    /// Whether nothing was appended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.body().is_empty()
    }

    /// The whole block as it goes to offset `at` of the file. May be asked for again with another place.
    pub fn seal(&mut self, at: u64, synced: Option<u64>) -> &[u8] {
        self.seal_summed(at, synced).bytes
    }

    /// The same, with what it adds to the checksum of the file.
    pub fn seal_summed(&mut self, at: u64, synced: Option<u64>) -> Sealed<'_> {
        let body = self.body();
        let len = body.len() as u64;
        let mut crc = start_sum(at, len, synced);
        let mut body_sum = None;
        if body.len() < LONG_BODY_BYTES {
            crc.update(body);
        } else {
            let (behind, own) = (Behind::of(len), crc64(body));
            crc = Crc64::resume(behind.join(crc.value(), own));
            body_sum = Some((behind, own));
        }
        let mut line = Vec::with_capacity(MAX_LINE_BYTES);
        push_fields(&mut line, body.len(), synced, crc.value());
        let start = MAX_LINE_BYTES - line.len();
        self.bytes[start..MAX_LINE_BYTES].copy_from_slice(&line);
        Sealed { bytes: &self.bytes[start..], line_bytes: line.len(), body_sum }
    }

    /// The records alone, as they go to a file that is not checked.
    pub fn unsealed(&self) -> Sealed<'_> {
        Sealed { bytes: self.body(), line_bytes: 0, body_sum: None }
    }

    /// The same over a reserve: what is left of that starts with a `#`, so there may be a byte behind the
    /// block. Gives what to write, and how much of it is the block.
    pub fn seal_over(&mut self, at: u64, synced: Option<u64>) -> (Vec<u8>, usize) {
        let mut bytes = self.seal(at, synced).to_vec();
        let len = bytes.len();
        if reserve::ends_line(at + len as u64) {
            bytes.push(b'#');
        }
        (bytes, len)
    }

    /// At most so many bytes are what [`seal`](Pending::seal) gives.
    #[must_use]
    pub fn most_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Forgets the records; room is kept up to `keep_bytes`.
    pub fn clear(&mut self, keep_bytes: usize) {
        self.bytes.truncate(MAX_LINE_BYTES);
        self.bytes.shrink_to(keep_bytes.max(MAX_LINE_BYTES));
    }
}

impl Default for Pending {
    fn default() -> Self {
        Self::new()
    }
}

/// A block as it goes to a file.
#[derive(Debug)]
pub struct Sealed<'a> {
    bytes: &'a [u8],
    line_bytes: usize,
    /// The checksum of a long body.
    body_sum: Option<(Behind, u64)>,
}

impl Sealed<'_> {
    /// What is to be written.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes
    }

    /// Adds it to the checksum of a file, as its bytes would.
    pub fn add_to(&self, file: &mut Crc64) {
        match self.body_sum {
            None => file.update(self.bytes),
            Some((behind, own)) => {
                file.update(&self.bytes[..self.line_bytes]);
                *file = Crc64::resume(behind.join(file.value(), own));
            }
        }
    }
}

/// A block's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// Bytes of the line, its end counted.
    pub bytes: usize,
    /// Bytes of the body.
    pub len: u64,
    /// Bytes of the file that were durable when it was written.
    pub synced: Option<u64>,
    /// What the sum has to be.
    pub sum: u64,
}

/// What [`Line::parse`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parsed {
    Line(Line),
    /// It may become one with more bytes.
    Cut,
    /// It is none. True if it starts as one does.
    Not(bool),
}

impl Line {
    /// Reads the line at offset `at`, with which `input` starts.
    fn parse(input: &[u8], at: u64) -> Parsed {
        let shared = input.len().min(PREFIX.len());
        if input[..shared] != PREFIX[..shared] {
            return Parsed::Not(false);
        }
        let window = &input[..input.len().min(MAX_LINE_BYTES)];
        let Some(newline) = memchr::memchr(b'\n', window) else {
            return if window.len() == MAX_LINE_BYTES { Parsed::Not(true) } else { Parsed::Cut };
        };
        let fields = window[PREFIX.len()..newline].strip_suffix(b"\r");
        fields
            .and_then(|fields| Self::of_fields(fields, at, newline + 1))
            .map_or(Parsed::Not(true), Parsed::Line)
    }

    fn of_fields(fields: &[u8], at: u64, bytes: usize) -> Option<Self> {
        let mut fields = fields.split(|b| *b == b':');
        let (len, synced, sum) = (fields.next()?, fields.next()?, fields.next()?);
        let len = number(len)?;
        let synced = match synced {
            b"-" => None,
            digits => Some(number(digits)?),
        };
        let is_possible = fields.next().is_none() && synced.is_none_or(|synced| synced <= at) && len > 0;
        is_possible.then_some(Self { bytes, len, synced, sum: parse_hex(sum)? })
    }
}

/// A number as it is written: no sign, no zero in front.
fn number(digits: &[u8]) -> Option<u64> {
    num::parse_i64(digits).and_then(|value| u64::try_from(value).ok())
}

/// A block whose sum fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block<'a> {
    /// Offset of its line.
    pub at: u64,
    /// Offset of its body.
    pub body_at: u64,
    /// Offset after it.
    pub end: u64,
    /// Bytes of the file that were durable when it was written.
    pub synced: Option<u64>,
    /// Whole records.
    pub body: &'a [u8],
}

/// What [`Reader::next`] found.
#[derive(Debug)]
pub enum Step<'a> {
    /// A block. Its bytes are consumed: the next input starts at `end`.
    Block(Block<'a>),
    /// A command or a timestamp outside of any block: another server has written here. Read it with
    /// [`record`](super::record), up to the next line that [`is_line`], and go on with [`Reader::skip_to`].
    Foreign,
    /// The input ends inside a block. The next input must start at the same byte and be longer.
    More {
        /// Bytes that the input must have at least: a claim of the file, so cap it by what the file has.
        at_least: u64,
    },
    /// So many bytes of a reserve, which are consumed. What comes next tells whether it is the end.
    Reserve(usize),
    /// The content ended where a block ends, or with a reserve: [`Reader::reserve`].
    Done,
}

/// What is wrong with a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Neither a block nor a command starts here.
    NotABlock {
        /// The byte that stands here.
        got: u8,
    },
    /// The line starts as a block's does and goes on otherwise.
    BadLine,
    /// The sum is another one.
    Sum {
        /// Of what is there.
        found: u64,
        /// In the line.
        expected: u64,
    },
    /// Something follows the reserve that starts here, and it is not what another server has appended.
    BehindReserve {
        /// Where it starts.
        at: u64,
    },
    /// The file ends inside the block.
    Cut {
        /// Bytes that the block needs at least.
        needed: u64,
        /// Bytes of it that are there.
        got: u64,
    },
}

/// A block that cannot be used: what is wrong, and the offset of its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Offset of the block's first byte: everything before it was right.
    pub at: u64,
    /// What is wrong.
    pub kind: Kind,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "offset {}: {}", self.at, self.kind)
    }
}

impl std::error::Error for Fault {}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotABlock { got } => {
                write!(f, "a block or a command must start here, not '{}'", got.escape_ascii())
            }
            Self::BadLine => f.write_str("the line of this block is damaged"),
            Self::Sum { found, expected } => {
                write!(f, "the block's checksum is {found:016x} and should be {expected:016x}")
            }
            Self::BehindReserve { at } => {
                write!(f, "the log ends here, and other bytes follow at offset {at}")
            }
            Self::Cut { needed, got } => {
                write!(f, "the file ends inside a block: {needed} bytes expected, {got} found")
            }
        }
    }
}

/// Whether a block's line starts here, whole or not.
#[must_use]
pub fn is_line(input: &[u8]) -> bool {
    input.starts_with(PREFIX)
}

/// Reads blocks one after another.
#[derive(Debug, Clone)]
pub struct Reader {
    at: u64,
    end: Option<u64>,
    /// Where the reserve starts that is being read, and the last bytes of it.
    reserve: Option<(u64, [u8; 2])>,
}

impl Reader {
    /// A reader whose first input starts at offset `at`; `end` is where the content ends, if known.
    #[must_use]
    pub fn new(at: u64, end: Option<u64>) -> Self {
        Self { at, end, reserve: None }
    }

    /// Where the reserve starts at which the content ends, if it does.
    #[must_use]
    pub fn reserve(&self) -> Option<u64> {
        self.reserve.map(|(start, _)| start)
    }

    /// Offset of the first byte that is not part of a block already given.
    #[must_use]
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Goes on at `at`: what lies before was no block and has been read otherwise.
    pub fn skip_to(&mut self, at: u64) {
        self.at = at;
    }

    /// Reads the next block from `input`, which starts at [`Reader::at`]; with `is_last` nothing follows it.
    ///
    /// # Errors
    /// There is no whole and right block here. [`Search`] tells what that means.
    pub fn next<'a>(&mut self, input: &'a [u8], is_last: bool) -> Result<Step<'a>, Fault> {
        if let Some((start, end)) = self.reserve {
            return self.next_of_reserve(input, is_last, start, end);
        }
        let at = self.at;
        let fault = |kind| Err(Fault { at, kind });
        let got = input.len() as u64;
        let Some(&first) = input.first() else {
            return Ok(if is_last { Step::Done } else { Step::More { at_least: 1 } });
        };
        if first == b'*' || input.starts_with(TIMESTAMP) {
            return Ok(Step::Foreign);
        }
        if reserve::starts(input, at) {
            self.at += 1;
            self.reserve = Some((at, [0, first]));
            return Ok(Step::Reserve(1));
        }
        let line = match Line::parse(input, at) {
            Parsed::Line(line) => line,
            Parsed::Not(_) if TIMESTAMP.starts_with(input) && !is_last => {
                return Ok(Step::More { at_least: TIMESTAMP.len() as u64 });
            }
            Parsed::Not(_) if TIMESTAMP.starts_with(input) => {
                return fault(Kind::Cut { needed: TIMESTAMP.len() as u64, got });
            }
            Parsed::Not(starts_so) => {
                return fault(if starts_so { Kind::BadLine } else { Kind::NotABlock { got: first } });
            }
            Parsed::Cut if is_last => return fault(Kind::Cut { needed: got + 1, got }),
            Parsed::Cut => return Ok(Step::More { at_least: got + 1 }),
        };
        let needed = line.len.saturating_add(line.bytes as u64);
        let beyond_end = self.end.is_some_and(|end| needed > end.saturating_sub(at));
        if needed > got {
            return match is_last || beyond_end {
                true => fault(Kind::Cut { needed, got: self.end.map_or(got, |end| end.saturating_sub(at)) }),
                false => Ok(Step::More { at_least: needed }),
            };
        }
        let body = &input[line.bytes..needed as usize];
        let found = sum(at, line.synced, body);
        if found != line.sum {
            return fault(Kind::Sum { found, expected: line.sum });
        }
        self.at = at + needed;
        Ok(Step::Block(Block {
            at,
            body_at: at + line.bytes as u64,
            end: self.at,
            synced: line.synced,
            body,
        }))
    }

    fn next_of_reserve<'a>(
        &mut self,
        input: &'a [u8],
        is_last: bool,
        start: u64,
        end: [u8; 2],
    ) -> Result<Step<'a>, Fault> {
        let n = reserve::matching(input, self.at, is_last);
        if n > 0 {
            self.at += n as u64;
            let end = if n > 1 { [input[n - 2], input[n - 1]] } else { [end[1], input[0]] };
            self.reserve = Some((start, end));
            return Ok(Step::Reserve(n));
        }
        let got = input.len() as u64;
        let is_foreign = input.starts_with(b"*") || input.starts_with(TIMESTAMP);
        match input {
            [] if is_last => Ok(Step::Done),
            _ if (input == b"#" || TIMESTAMP.starts_with(input)) && !is_last => {
                Ok(Step::More { at_least: got + 1 })
            }
            _ if is_foreign && reserve::is_last_line(end) => {
                self.reserve = None;
                Ok(Step::Foreign)
            }
            _ => Err(Fault { at: start, kind: Kind::BehindReserve { at: self.at } }),
        }
    }
}

/// What a bad place in the last file of a log means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// An end that was being written when the power went: it may be cut off at the bad place.
    Torn {
        /// Whether all of it is zero bytes.
        is_zero: bool,
    },
    /// Bytes that had been written whole have changed or are gone.
    Corrupt(Proof),
}

/// How it is known that bytes had been there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The manifest says that the file was whole up to this offset.
    Manifest {
        /// The offset.
        end: u64,
    },
    /// A later block says so.
    Synced {
        /// Offset of its line.
        by: u64,
        /// Bytes that were durable when it was written.
        synced: u64,
    },
    /// A later block is whole, and nobody knows what had been synced before it.
    Later {
        /// Offset of its line.
        by: u64,
    },
    /// The block is as long as it was and has no hole of zero bytes: it has changed since it was written.
    Whole,
    /// The block's sum fits if its line told the length that it has: the length has changed.
    Length,
    /// So much of what follows looks like blocks that it was not all looked at.
    Crowded {
        /// Offset of the first line that was not followed.
        by: u64,
    },
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest { end } => {
                write!(f, "the manifest says that the file was whole up to offset {end}")
            }
            Self::Synced { by, synced } => {
                write!(f, "the block at offset {by} says that {synced} bytes were on disk before it")
            }
            Self::Whole => f.write_str("nothing of it is missing, so it has changed since it was written"),
            Self::Length => f.write_str("only its length is wrong, so it has changed since it was written"),
            Self::Later { by } => write!(f, "a whole block follows at offset {by}"),
            Self::Crowded { by } => write!(f, "what looks like blocks follows at offset {by} and before"),
        }
    }
}

/// Blocks that may be under way at once in a [`Search`]. Whole blocks follow one another, so one is the
/// rule; values that hold text of logs make it some more.
const MOST_CANDIDATES: usize = 64;
/// Bytes that a search may add to sums for each byte that it is given, and at the least.
const MOST_SUMMED: (u64, u64) = (32, 1 << 20);

/// A block over a reserve and that reserve are not longer.
const MOST_KEPT: usize = 16 << 20;

/// A block that a search has seen the line of.
#[derive(Debug)]
struct Candidate {
    at: u64,
    line: Line,
    left: u64,
    crc: Crc64,
}

/// Looks behind a bad place of a log's last file for blocks that show what had been there.
///
/// Bytes are pushed in from the bad place on; bounded memory and time go into each of them.
#[derive(Debug)]
pub struct Search {
    bad_at: u64,
    /// What is wrong there; `None` if it is not a block.
    kind: Option<Kind>,
    /// Where the file ends, if known.
    end: Option<u64>,
    /// Offset of the next input.
    at: u64,
    is_zero: bool,
    has_zero: bool,
    /// What the bad block starts with, until it is known where it ends.
    head: Vec<u8>,
    holes: Option<reserve::Holes>,
    /// The bad block and what follows, if that is not too much.
    all: Vec<u8>,
    /// The end of the last input: lines that start in it may be cut, so they are looked at later.
    kept: Vec<u8>,
    candidates: Vec<Candidate>,
    summed: u64,
    later: Option<Proof>,
}

impl Search {
    /// A search whose first input starts with the bad block, or with what follows the reserve.
    #[must_use]
    pub fn new(fault: Fault, end: Option<u64>) -> Self {
        let search = Self::behind(fault.at);
        let at = match fault.kind {
            Kind::BehindReserve { at } => at,
            _ => fault.at,
        };
        Self { kind: Some(fault.kind), end, at, ..search }
    }

    /// A search whose first input starts at `bad_at`, where something is wrong that is no block: only
    /// what later blocks and the manifest say counts.
    #[must_use]
    pub fn behind(bad_at: u64) -> Self {
        Self {
            bad_at,
            kind: None,
            end: None,
            at: bad_at,
            is_zero: true,
            has_zero: false,
            head: Vec::new(),
            holes: None,
            all: Vec::new(),
            kept: Vec::new(),
            candidates: Vec::new(),
            summed: 0,
            later: None,
        }
    }

    /// Takes the next bytes. True if more of them cannot change the verdict.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        self.is_zero = self.is_zero && bytes.iter().all(|b| *b == 0);
        self.has_zero = self.has_zero || memchr::memchr(0, bytes).is_some();
        self.look_for_holes(bytes);
        if self.all.len() < MOST_KEPT && matches!(self.kind, Some(Kind::Sum { .. })) {
            self.all.extend_from_slice(&bytes[..bytes.len().min(MOST_KEPT - self.all.len())]);
        }
        let mut running = std::mem::take(&mut self.candidates);
        running.retain_mut(|candidate| self.feed(candidate, bytes));
        self.candidates = running;
        let mut joined = std::mem::take(&mut self.kept);
        joined.extend_from_slice(bytes);
        self.at += bytes.len() as u64;
        let looked_at = joined.len().saturating_sub(MAX_LINE_BYTES - 1);
        self.look(&joined, looked_at);
        joined.drain(..looked_at);
        self.kept = joined;
        matches!(self.later, Some(Proof::Synced { .. } | Proof::Crowded { .. }))
    }

    /// Looks whether a reserve shows where the bad block should be.
    fn look_for_holes(&mut self, bytes: &[u8]) {
        if let Some(holes) = &mut self.holes {
            holes.push(bytes);
        } else {
            const ENOUGH: usize = MAX_LINE_BYTES + reserve::LINE_BYTES as usize;
            let (head, rest) = bytes.split_at(bytes.len().min(ENOUGH - self.head.len()));
            self.head.extend_from_slice(head);
            if self.head.len() == ENOUGH {
                self.begin_holes();
                self.look_for_holes(rest);
            }
        }
    }

    /// The head of the bad block is at hand, or all that there is of it.
    fn begin_holes(&mut self) {
        let (head, at) = (std::mem::take(&mut self.head), self.bad_at);
        let mut holes = reserve::Holes::new(at..at);
        match (self.kind, Line::parse(&head, at)) {
            (Some(Kind::Sum { .. }), Parsed::Line(line)) => {
                let end = line.len.saturating_add(at + line.bytes as u64);
                holes = reserve::Holes::new(at..end);
                holes.push(&head);
            }
            (Some(Kind::BadLine | Kind::NotABlock { .. }), _) => {
                holes.found = reserve::cuts_line(&head, at, MAX_LINE_BYTES);
            }
            _ => {}
        }
        self.holes = Some(holes);
    }

    /// Whether the bad block is whole up to a reserve, and only its length is wrong: then that reaches into the
    /// reserve.
    fn has_wrong_length(&self) -> bool {
        let Parsed::Line(line) = Line::parse(&self.all, self.bad_at) else { return false };
        let end = reserve::before(&self.all, self.bad_at);
        (end..self.all.len().min(end + 2)).any(|end| {
            let Some(body) = self.all.get(line.bytes..end) else { return false };
            sum(self.bad_at, line.synced, body) == line.sum
        })
    }

    /// Whether some of the bad block was never written, or need not have been.
    fn has_hole(&self) -> bool {
        let may_be_cut = matches!(self.kind, None | Some(Kind::Cut { .. } | Kind::BehindReserve { .. }));
        may_be_cut || self.has_zero || self.holes.as_ref().is_some_and(|holes| holes.found)
    }

    /// Looks for lines that start in the first `until` bytes of `joined`, which ends at `self.at`.
    fn look(&mut self, joined: &[u8], until: usize) {
        let base = self.at - joined.len() as u64;
        let most = (until + PREFIX.len() - 1).min(joined.len());
        for start in memchr::memmem::find_iter(&joined[..most], PREFIX) {
            let at = base + start as u64;
            let Parsed::Line(mut line) = Line::parse(&joined[start..], at) else { continue };
            if at == self.bad_at {
                // The bad block itself, with the length that it would have if only that was wrong.
                let (Some(Kind::Cut { .. }), Some(end)) = (self.kind, self.end) else { continue };
                line.len = end.saturating_sub(at).saturating_sub(line.bytes as u64);
            }
            let crc = start_sum(at, line.len, line.synced);
            let mut candidate = Candidate { at, line, left: line.len, crc };
            if !self.feed(&mut candidate, &joined[start + line.bytes..]) {
                continue;
            }
            self.candidates.push(candidate);
            let (a_byte, least) = MOST_SUMMED;
            let most_summed = (self.at - self.bad_at).saturating_mul(a_byte).saturating_add(least);
            if self.candidates.len() > MOST_CANDIDATES || self.summed > most_summed {
                self.candidates.clear();
                self.tell(Proof::Crowded { by: at });
                return;
            }
        }
    }

    /// Adds bytes to a candidate. False if it is at its end, and so has told what it is.
    fn feed(&mut self, candidate: &mut Candidate, bytes: &[u8]) -> bool {
        let n = usize::try_from(candidate.left).map_or(bytes.len(), |left| left.min(bytes.len()));
        candidate.crc.update(&bytes[..n]);
        candidate.left -= n as u64;
        self.summed = self.summed.saturating_add(n as u64);
        if candidate.left > 0 {
            return true;
        }
        if candidate.crc.value() == candidate.line.sum {
            match candidate.line.synced {
                _ if candidate.at == self.bad_at => self.tell(Proof::Length),
                Some(synced) if synced > self.bad_at => self.tell(Proof::Synced { by: candidate.at, synced }),
                Some(_) => {}
                None => self.tell(Proof::Later { by: candidate.at }),
            }
        }
        false
    }

    /// Keeps the first proof, but a synced byte rather than a block that is merely there.
    fn tell(&mut self, proof: Proof) {
        let is_stronger = !matches!(proof, Proof::Later { .. });
        match self.later {
            None => self.later = Some(proof),
            Some(Proof::Later { .. }) if is_stronger => self.later = Some(proof),
            Some(_) => {}
        }
    }

    /// What it comes to. `whole_to` is what the manifest says of the file: its size, or where it ended
    /// when it was closed.
    #[must_use]
    pub fn finish(mut self, whole_to: Option<u64>) -> Verdict {
        let joined = std::mem::take(&mut self.kept);
        self.look(&joined, joined.len());
        if self.holes.is_none() {
            self.begin_holes();
        }
        match (whole_to, self.later) {
            (Some(end), _) if end > self.bad_at => Verdict::Corrupt(Proof::Manifest { end }),
            (_, Some(proof)) => Verdict::Corrupt(proof),
            _ if self.has_wrong_length() => Verdict::Corrupt(Proof::Length),
            // Space that a power cut left unwritten is missing, reads as zeros, or is the reserve that was there.
            _ if !self.has_hole() => Verdict::Corrupt(Proof::Whole),
            (_, None) => Verdict::Torn { is_zero: self.is_zero },
        }
    }
}

#[cfg(test)]
#[path = "block_tests.rs"]
mod tests;
