//! The manifest of an append only file in parts: which files, in which order, of which kind.
//!
//! ```text
//! file appendonly.aof.2.base.rdb seq 2 type b
//! file appendonly.aof.1.incr.aof seq 1 type h
//! file appendonly.aof.2.incr.aof seq 2 type i startoffset 78
//! ```
//! A manifest of ours says more in further pairs, which stock servers step over; see [`Marks`] and
//! [`Manifest::format_checked`].
//!
//! One line a file: words in pairs, names quoted where they need it, further pairs kept as they are
//! (Redis 8 writes replication offsets there). Lines that start with `#` are comments. The base comes
//! first when it is written, then history (files a rewrite has replaced), then the increments.
//! Behaviour and error texts: valkey src/aof.c, `aofLoadManifestFromFile`. Opens no file.

use std::fmt;
use std::ops::Range;

use crate::base::crc64::Crc64;
use crate::base::time::UnixMs;
use crate::base::{num, words};

use super::block::{SUM_DIGITS, parse_hex, push_hex};

/// The longest line, line end counted.
pub const MAX_LINE_BYTES: usize = 1024;
/// What the manifest's name adds to the configured file name.
pub const SUFFIX: &str = ".manifest";
/// What the names of unfinished files start with.
pub const TEMP_PREFIX: &str = "temp-";

/// What a file of the log is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A snapshot: everything up to the first increment.
    Base,
    /// Commands since then.
    Incr,
    /// Replaced by a rewrite and waiting to be removed.
    History,
}

impl FileKind {
    /// The letter in the manifest.
    #[must_use]
    pub fn letter(self) -> u8 {
        match self {
            Self::Base => b'b',
            Self::Incr => b'i',
            Self::History => b'h',
        }
    }
}

/// What a base is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BaseFormat {
    /// An RDB file.
    Rdb,
    /// Commands.
    Aof,
}

/// A file that the manifest names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name in the manifest's folder.
    pub name: Vec<u8>,
    /// Its number; never 0.
    pub seq: i64,
    /// Pairs that this version gives no meaning to, in order.
    pub extra: Vec<(Vec<u8>, Vec<u8>)>,
    /// What a checked manifest says besides.
    pub marks: Marks,
}

/// What a checked manifest says of a file. All of it is optional: who does not know, says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    /// `blocks`: from this offset on the file consists of checked blocks, and of what other servers append.
    pub blocks: Option<u64>,
    /// `size`: the file is closed and has this many bytes.
    pub size: Option<u64>,
    /// `crc64`: CRC-64/REDIS of these bytes.
    pub crc64: Option<u64>,
    /// `end`: a clean shutdown left the file with this many bytes, or a start found it whole up to here. More
    /// of them have been appended since.
    pub end: Option<u64>,
    /// `state off:<ms>`: since then the log is switched off, and what it holds may be old.
    pub off_since: Option<UnixMs>,
}

impl Marks {
    /// Bytes that the file has at least, if it is known.
    #[must_use]
    pub fn whole_to(&self) -> Option<u64> {
        self.size.or(self.end)
    }

    fn push(&self, out: &mut Vec<u8>) {
        let mut number = |key: &str, value: Option<u64>| {
            if let Some(value) = value {
                out.extend_from_slice(key.as_bytes());
                num::push_u64(out, value);
            }
        };
        number(" blocks ", self.blocks);
        number(" size ", self.size);
        number(" end ", self.end);
        if let Some(sum) = self.crc64 {
            out.extend_from_slice(b" crc64 ");
            push_hex(out, sum);
        }
        if let Some(UnixMs(ms)) = self.off_since {
            out.extend_from_slice(b" state off:");
            num::push_i64(out, ms);
        }
    }

    /// Takes the marks out of `pairs`. `None` if one of them is there twice or has no such value.
    fn take(pairs: &mut Vec<(Vec<u8>, Vec<u8>)>) -> Option<Self> {
        let mut take = |key: &str| {
            let at = pairs.iter().position(|(name, _)| name == key.as_bytes())?;
            Some(pairs.remove(at).1)
        };
        let number = |value: Vec<u8>| num::parse_i64(&value).and_then(|v| u64::try_from(v).ok());
        let off = |value: Vec<u8>| num::parse_i64(value.strip_prefix(b"off:")?).map(UnixMs);
        fn read<T>(value: Option<Vec<u8>>, as_what: impl Fn(Vec<u8>) -> Option<T>) -> Option<Option<T>> {
            value.map_or(Some(None), |value| as_what(value).map(Some))
        }
        let marks = Self {
            blocks: read(take("blocks"), number)?,
            size: read(take("size"), number)?,
            end: read(take("end"), number)?,
            crc64: read(take("crc64"), |value| parse_hex(&value))?,
            off_since: read(take("state"), off)?,
        };
        let is_mark = |key: &[u8]| {
            [&b"blocks"[..], b"size", b"end", b"crc64", b"state", OURS.as_bytes(), SUM.as_bytes()]
                .contains(&key)
        };
        (!pairs.iter().any(|(key, _)| is_mark(key))).then_some(marks)
    }
}

/// The pair that says whose further pairs these are, and of which version they are.
const OURS: &str = "cairn";
/// The version that this code writes and reads.
const OUR_VERSION: &str = "1";
/// The pair with the sum of the whole manifest.
const SUM: &str = "sum";

impl Entry {
    /// Whether one of our pairs is there; a single flipped bit leaves the other.
    fn has_our_pairs(&self) -> bool {
        self.extra.iter().any(|(key, _)| *key == OURS.as_bytes() || *key == SUM.as_bytes())
    }

    /// The number that an extra pair gives, `startoffset` for one.
    #[must_use]
    pub fn extra_number(&self, key: &str) -> Option<i64> {
        let (_, value) = self.extra.iter().find(|(name, _)| name.eq_ignore_ascii_case(key.as_bytes()))?;
        num::parse_i64(value)
    }
}

/// What a manifest without marks says, in a comment, of a log that is switched off: `#off <ms> <end>;`. It is
/// the last, and no line end follows: other servers step over it, and who reads the manifest line by line
/// finds the lines that they would have written.
#[derive(Debug, Clone, Copy)]
struct Off {
    since: UnixMs,
    /// Where the last increment ended then, if that is known.
    end: Option<u64>,
}

/// How the comment begins, behind its `#`.
const OFF: &[u8] = b"off ";

impl Off {
    fn parse(comment: &[u8]) -> Option<Self> {
        let words = comment.strip_prefix(OFF)?.trim_ascii_end();
        let mut words = words.strip_suffix(b";").unwrap_or(words).split(|byte| *byte == b' ');
        let since = UnixMs(num::parse_i64(words.next()?)?);
        let end = words.next().and_then(num::parse_i64).and_then(|end| u64::try_from(end).ok());
        Some(Self { since, end })
    }

    fn of(manifest: &Manifest) -> Option<Self> {
        let since = manifest.live().find_map(|(_, entry)| entry.marks.off_since)?;
        Some(Self { since, end: manifest.incr.last().and_then(|entry| entry.marks.end) })
    }

    fn mark(self, manifest: &mut Manifest) {
        for entry in manifest.base.iter_mut().chain(&mut manifest.incr) {
            entry.marks.off_since = Some(self.since);
        }
        if let Some(last) = manifest.incr.last_mut() {
            last.marks.end = self.end;
        }
    }
}

impl fmt::Display for Off {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#off {}", self.since.0)?;
        if let Some(end) = self.end {
            write!(f, " {end}")?;
        }
        f.write_str(";")
    }
}

/// A whole manifest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    /// The base, if there is one.
    pub base: Option<Entry>,
    /// Replaced files, the newest first.
    pub history: Vec<Entry>,
    /// The increments, oldest first; their numbers rise.
    pub incr: Vec<Entry>,
    /// The number of the newest base; the next one gets the number after it.
    pub base_seq: i64,
    /// The number of the newest increment.
    pub incr_seq: i64,
    /// Whether its text had a sum that fitted. Without one nobody can tell whether a line is missing.
    pub is_checked: bool,
}

/// What is wrong with a manifest. `Display` gives Redis's words, exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Kind {
    /// Not pairs of words, or file, seq and type are not all there.
    #[error("Invalid AOF manifest file format")]
    Format,
    /// More than one base.
    #[error("Found duplicate base file information")]
    DuplicateBase,
    /// Increments whose numbers do not rise.
    #[error("Found a non-monotonic sequence number")]
    NotMonotonic,
    /// A name with a slash or a backslash.
    #[error("File can't be a path, just a filename")]
    Path,
    /// A type that is none of b, i, h.
    #[error("Unknown AOF file type")]
    UnknownType,
    /// A line above [`MAX_LINE_BYTES`], or a last line without its end.
    #[error("The AOF manifest file contains too long line")]
    LongLine,
    /// Nothing in it.
    #[error("Found an empty AOF manifest")]
    Empty,
    /// It is one of ours, and its sum is missing somewhere or does not fit: something has changed in it.
    #[error("The AOF manifest's checksum does not match")]
    Sum,
    /// It is one of ours and says what this version does not understand.
    #[error("The AOF manifest was written by a later version of Cairn")]
    Later,
    /// The file could not be read; whoever reads it says so with this.
    #[error("Read AOF manifest failed")]
    Read,
}

/// A manifest that cannot be used: what, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What is wrong.
    pub kind: Kind,
    /// The line's number, from 1, and the line without blanks around it; `None` where Redis names no line.
    pub line: Option<(u32, Vec<u8>)>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.line {
            Some((number, line)) => write!(f, "line {number}, '{}': {}", line.escape_ascii(), self.kind),
            None => self.kind.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        if text.is_empty() {
            return Err(Error { kind: Kind::Empty, line: None });
        }
        let mut manifest = Self::default();
        let mut off = None;
        let mut sums = Sums::default();
        let mut rest = text;
        let mut number = 0u32;
        while !rest.is_empty() {
            let window = &rest[..rest.len().min(MAX_LINE_BYTES)];
            let newline = memchr::memchr(b'\n', window);
            let (chunk, tail) = rest.split_at(newline.map_or(window.len(), |at| at + 1));
            rest = tail;
            number = number.saturating_add(1);
            if let Some(comment) = chunk.strip_prefix(b"#") {
                if comment.starts_with(OFF) && newline.is_none() && !comment.ends_with(b";") {
                    // Cut off: a number that lost digits is another one.
                    return Err(Error { kind: Kind::LongLine, line: None });
                }
                sums.crc.update(chunk);
                off = off.or(Off::parse(comment));
                continue;
            }
            // A NUL hides the rest of the line, its end included, from Redis.
            if newline.is_none() || chunk.contains(&0) {
                return Err(Error { kind: Kind::LongLine, line: None });
            }
            let place = trim(chunk);
            let line = &chunk[place.clone()];
            manifest.add_line(line).map_err(|kind| Error { kind, line: Some((number, line.to_vec())) })?;
            sums.add_line(chunk, place);
        }
        let is_ours = manifest.entries().any(|(_, entry)| entry.has_our_pairs());
        manifest.is_checked = is_ours;
        if manifest.is_checked {
            manifest.check(&sums).map_err(|kind| Error { kind, line: None })?;
        } else if let Some(off) = off {
            off.mark(&mut manifest);
        }
        Ok(manifest)
    }

    /// Compares the sums, and reads the marks of a manifest that is right.
    fn check(&mut self, sums: &Sums) -> Result<(), Kind> {
        let found = sums.crc.value();
        if !sums.is_everywhere || sums.told.iter().any(|told| *told != found) {
            return Err(Kind::Sum);
        }
        let files = self.base.iter_mut().chain(&mut self.history).chain(&mut self.incr);
        for entry in files {
            let mut take = |key: &str| {
                let at = entry.extra.iter().position(|(name, _)| name == key.as_bytes()).ok_or(Kind::Sum)?;
                Ok(entry.extra.remove(at).1)
            };
            take(SUM)?;
            if take(OURS)? != OUR_VERSION.as_bytes() {
                return Err(Kind::Later);
            }
            entry.marks = Marks::take(&mut entry.extra).ok_or(Kind::Later)?;
        }
        Ok(())
    }

    fn add_line(&mut self, line: &[u8]) -> Result<(), Kind> {
        let (kind, entry) = parse_line(line)?;
        match kind {
            b'b' if self.base.is_some() => return Err(Kind::DuplicateBase),
            b'b' => {
                self.base_seq = entry.seq;
                self.base = Some(entry);
            }
            b'h' => self.history.push(entry),
            // Redis compares with 0 before the first increment, so negative numbers fail here.
            b'i' if entry.seq <= self.incr_seq => return Err(Kind::NotMonotonic),
            b'i' => {
                self.incr_seq = entry.seq;
                self.incr.push(entry);
            }
            _ => return Err(Kind::UnknownType),
        }
        Ok(())
    }

    /// The manifest as a stock server writes it: the base, history, increments. Comments and marks are not
    /// kept.
    #[must_use]
    pub fn format(&self) -> Vec<u8> {
        let mut out = self.lines();
        self.push_off(&mut out);
        out
    }

    fn lines(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (kind, entry) in self.entries() {
            push_line(&mut out, kind, entry);
            out.push(b'\n');
        }
        out
    }

    fn push_off(&self, out: &mut Vec<u8>) {
        if let Some(off) = Off::of(self) {
            out.extend_from_slice(off.to_string().as_bytes());
        }
    }

    /// The same with a line of comment behind it, which starts with `#`.
    #[must_use]
    pub fn format_with(&self, comment: &str) -> Vec<u8> {
        let mut out = self.lines();
        out.extend_from_slice(comment.as_bytes());
        out.push(b'\n');
        self.push_off(&mut out);
        out
    }

    /// The manifest with its marks, and with a sum over all of it at the end of each line:
    ///
    /// ```text
    /// file appendonly.aof.2.incr.aof seq 2 type i cairn 1 blocks 0 size 78 crc64 <hex> sum <hex>
    /// ```
    /// The sum is CRC-64/REDIS over the text with zeros for the digits of every sum. Two keys name it on
    /// each line, so no flipped bit turns a line into a stock server's.
    #[must_use]
    pub fn format_checked(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut places = Vec::new();
        for (kind, entry) in self.entries() {
            push_line(&mut out, kind, entry);
            out.extend_from_slice(format!(" {OURS} {OUR_VERSION}").as_bytes());
            entry.marks.push(&mut out);
            out.extend_from_slice(format!(" {SUM} ").as_bytes());
            places.push(out.len());
            out.extend_from_slice(&[b'0'; SUM_DIGITS]);
            out.push(b'\n');
        }
        let mut crc = Crc64::new();
        crc.update(&out);
        let mut digits = Vec::with_capacity(SUM_DIGITS);
        push_hex(&mut digits, crc.value());
        for place in places {
            out[place..place + SUM_DIGITS].copy_from_slice(&digits);
        }
        out
    }

    /// All files in the order of the manifest.
    pub fn entries(&self) -> impl Iterator<Item = (FileKind, &Entry)> {
        let base = self.base.iter().map(|e| (FileKind::Base, e));
        let history = self.history.iter().map(|e| (FileKind::History, e));
        base.chain(history).chain(self.incr.iter().map(|e| (FileKind::Incr, e)))
    }

    /// The files that make up the data, in the order they are read: the base, then the increments.
    pub fn live(&self) -> impl DoubleEndedIterator<Item = (FileKind, &Entry)> {
        let base = self.base.iter().map(|e| (FileKind::Base, e));
        base.chain(self.incr.iter().map(|e| (FileKind::Incr, e)))
    }

    /// Adds the next base, named after `filename`, and moves the present one to history.
    ///
    /// `base_seq` is kept over the life of a `Manifest`, so a number is not used twice in a process.
    pub fn add_base(&mut self, filename: &str, format: BaseFormat) -> &mut Entry {
        if let Some(old) = self.base.take() {
            self.history.insert(0, old);
        }
        self.base_seq = self.base_seq.saturating_add(1);
        let suffix = match format {
            BaseFormat::Rdb => "rdb",
            BaseFormat::Aof => "aof",
        };
        let name = format!("{filename}.{}.base.{suffix}", self.base_seq).into_bytes();
        self.base.insert(Entry { name, seq: self.base_seq, extra: Vec::new(), marks: Marks::default() })
    }

    /// Adds the next increment, named after `filename`.
    pub fn add_incr(&mut self, filename: &str) -> &mut Entry {
        self.incr_seq = self.incr_seq.saturating_add(1);
        let name = format!("{filename}.{}.incr.aof", self.incr_seq).into_bytes();
        self.incr.push(Entry { name, seq: self.incr_seq, extra: Vec::new(), marks: Marks::default() });
        self.incr.last_mut().expect("pushed the line before")
    }

    /// Moves all increments but the newest `keep` to history, the newest of them first in line, as the
    /// rewrite that replaced them does.
    pub fn retire_incrs(&mut self, keep: usize) {
        let retired = self.incr.len().saturating_sub(keep);
        self.history.splice(0..0, self.incr.drain(..retired));
    }
}

/// The name of the temporary increment that is written while the first base is being made.
#[must_use]
pub fn temp_incr_name(filename: &str) -> String {
    format!("{TEMP_PREFIX}{filename}.incr")
}

/// Where the line is without the blanks at both ends, as it is shown in errors.
fn trim(line: &[u8]) -> Range<usize> {
    let blank = |b: &u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n');
    let start = line.iter().take_while(|b| blank(b)).count();
    let end = line.len() - line[start..].iter().rev().take_while(|b| blank(b)).count();
    start..end
}

/// One line as its type letter and what it says.
fn parse_line(line: &[u8]) -> Result<(u8, Entry), Kind> {
    const LEAST_WORDS: usize = 6;
    let words = words::split(line).ok_or(Kind::Format)?;
    if words.len() < LEAST_WORDS || words.len() % 2 != 0 {
        return Err(Kind::Format);
    }
    let (mut name, mut seq, mut letter, mut extra) = (None, 0, None, Vec::new());
    let mut words = words.into_iter();
    while let (Some(key), Some(value)) = (words.next(), words.next()) {
        match () {
            () if key.eq_ignore_ascii_case(b"file") => {
                if value.iter().any(|b| matches!(b, b'/' | b'\\')) {
                    return Err(Kind::Path);
                }
                name = Some(value);
            }
            () if key.eq_ignore_ascii_case(b"seq") => seq = leading_number(&value),
            () if key.eq_ignore_ascii_case(b"type") => letter = value.first().copied(),
            () => extra.push((key, value)),
        }
    }
    match (name, letter) {
        (Some(name), Some(letter)) if seq != 0 => {
            Ok((letter, Entry { name, seq, extra, marks: Marks::default() }))
        }
        _ => Err(Kind::Format),
    }
}

/// The number at the start of a word as C's `atoll` reads it: 0 if there is none.
fn leading_number(word: &[u8]) -> i64 {
    let (sign, digits) = match word {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        _ => (1, word),
    };
    digits
        .iter()
        .take_while(|b| b.is_ascii_digit())
        .fold(0i64, |value, digit| value.saturating_mul(10).saturating_add(sign * i64::from(digit - b'0')))
}

fn push_line(out: &mut Vec<u8>, kind: FileKind, entry: &Entry) {
    out.extend_from_slice(b"file ");
    push_word(out, &entry.name);
    out.extend_from_slice(b" seq ");
    num::push_i64(out, entry.seq);
    out.extend_from_slice(b" type ");
    out.push(kind.letter());
    for (key, value) in &entry.extra {
        out.push(b' ');
        push_word(out, key);
        out.push(b' ');
        push_word(out, value);
    }
}

/// The sums that the lines tell, and the one that they come to.
#[derive(Debug)]
struct Sums {
    crc: Crc64,
    told: Vec<u64>,
    is_everywhere: bool,
}

impl Default for Sums {
    fn default() -> Self {
        Self { crc: Crc64::new(), told: Vec::new(), is_everywhere: true }
    }
}

impl Sums {
    /// Takes a line, which stands at `place` in its text with all blanks.
    fn add_line(&mut self, chunk: &[u8], place: Range<usize>) {
        let digits_at = place.end.saturating_sub(SUM_DIGITS).max(place.start);
        let (before, rest) = chunk.split_at(digits_at);
        let (digits, blanks) = rest.split_at(place.end - digits_at);
        match parse_hex(digits) {
            Some(sum) if before.ends_with(format!(" {SUM} ").as_bytes()) => {
                self.told.push(sum);
                self.crc.update(before);
                self.crc.update(&[b'0'; SUM_DIGITS]);
                self.crc.update(blanks);
            }
            _ => self.is_everywhere = false,
        }
    }
}

fn push_word(out: &mut Vec<u8>, word: &[u8]) {
    if words::needs_quotes(word) {
        words::push_quoted(out, word);
    } else {
        out.extend_from_slice(word);
    }
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
