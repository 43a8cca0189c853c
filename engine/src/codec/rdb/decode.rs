//! The decoder: bytes pushed in, events out, one unit at a time.
//!
//! A unit is an opcode with its fields, a key with its type, or one element, field or node of a
//! value. What has been read of a unit that is not whole yet is forgotten and read again when more
//! has come, so the only state is where in a value the next unit stands. `decode/` has the values;
//! this file has the frame around them, and the doors for one value and for DUMP payloads.

mod array;
mod collection;
mod dump;
mod file;
mod module;
mod packed;
mod piecewise;
mod stream;
mod template;
mod value;

use std::collections::HashMap;
use std::sync::Arc;

use crate::base::crc64::Crc64;
use crate::base::time::UnixMs;

use super::error::{Doing, Error, Failure, Halt, Kind};
use super::event::Sink;
use super::read::Cursor;
use super::records::{Passing, Records};
use super::{Dialect, ObjectType, Version};

pub use dump::{DumpPayload, decode_value, split_dump, split_libraries};
use file::Phase;
pub use piecewise::ValueDecoder;
use value::Value;

/// Consumed bytes are added to the checksum in pieces of at least this size, while still cached.
const CHECKSUM_PIECE: usize = 64 << 10;

/// What a decoder verifies beyond the layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Whether the checksum at the end is computed and compared.
    pub verify_checksum: bool,
    /// Whether a file that should end in a checksum and has none is refused.
    pub require_checksum: bool,
    /// Whether values are validated inside even where the sink asked for `Skip` or `Raw`.
    pub deep: bool,
    /// Whether a file of a version that nobody had defined yet is read as if it were of the newest one of
    /// its family. What that one does not have is an error all the same.
    pub relaxed_version: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { verify_checksum: true, require_checksum: false, deep: false, relaxed_version: false }
    }
}

/// How far a call of [`Decoder::advance`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input that are done with.
    pub consumed: usize,
    /// Whether the file is at its end.
    pub state: State,
}

/// Whether a decoder wants more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The next unit is not whole: call again with the unconsumed rest and more behind it.
    More {
        /// The bytes, counted from the first unconsumed one, that the unit takes at the least. The
        /// file says so: a reader may read that far before it calls again, and must not allocate it
        /// ahead of the bytes.
        at_least: u64,
    },
    /// The file ended; what follows in the input does not belong to it.
    Done,
}

/// What came before a key's type byte and belongs to the key.
#[derive(Debug, Default)]
struct Prefix {
    expire_at: Option<UnixMs>,
    idle_s: Option<u64>,
    freq: Option<u8>,
    meta: Option<Vec<u8>>,
    no_evict: bool,
}

impl Prefix {
    fn is_empty(&self) -> bool {
        matches!(self, Self { expire_at: None, idle_s: None, freq: None, meta: None, no_evict: false })
    }
}

/// Field names of the hash templates that a file has defined.
pub type Templates = HashMap<u64, Arc<Vec<Vec<u8>>>>;

/// What a decoder has to know to start between two records of a file.
///
/// Whoever reads a file with several decoders at once finds such places with a first one, at depth
/// `Skip`: the offset that `end_key` tells is one, unless aux fields that belong to the key follow.
#[derive(Debug, Clone)]
pub struct Place {
    /// The file's version.
    pub version: Version,
    /// Offset in the unwrapped file.
    pub offset: u64,
    /// The database that the last SELECTDB named.
    pub db: u64,
    /// The hash templates defined before, as `Sink::template` told them.
    pub templates: Arc<Templates>,
}

/// What scratch space is kept from one value to the next.
const KEPT_SCRATCH: usize = 1 << 20;

/// Room for two strings that do not stand in the input as they are.
#[derive(Debug, Default)]
struct Scratch {
    first: Vec<u8>,
    second: Vec<u8>,
}

impl Scratch {
    /// Gives back what an unusually large string took.
    #[inline(always)]
    fn trim(&mut self) {
        for buffer in [&mut self.first, &mut self.second] {
            if buffer.capacity() > KEPT_SCRATCH {
                *buffer = Vec::new();
            }
        }
    }
}

/// Reads one RDB file or transfer.
///
/// Memory is bounded by the largest unit of the file, plus hash templates if it defines any.
#[derive(Debug)]
pub struct Decoder {
    options: Options,
    phase: Phase,
    version: Option<Version>,
    /// Offset of the next unconsumed byte in the unwrapped file.
    offset: u64,
    crc: Crc64,
    eof_mark: Option<[u8; 40]>,
    doing: Doing,
    db: u64,
    prefix: Prefix,
    /// The key of the record being read, if `object` is there.
    key: Vec<u8>,
    object: Option<u8>,
    templates: Arc<Templates>,
    scratch: Scratch,
}

impl Decoder {
    /// A decoder at the first byte of a file.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            phase: Phase::Start,
            version: None,
            offset: 0,
            crc: Crc64::new(),
            eof_mark: None,
            doing: Doing::Start,
            db: 0,
            prefix: Prefix::default(),
            key: Vec::new(),
            object: None,
            templates: Arc::default(),
            scratch: Scratch::default(),
        }
    }

    /// A decoder in the middle of a file, between two records.
    ///
    /// It does not know the bytes before `place`, so it compares no checksum. The end of a diskless
    /// transfer, which is wrapped, is not looked for either.
    #[must_use]
    pub fn resume(options: Options, place: &Place) -> Self {
        Self {
            phase: Phase::Record,
            doing: Doing::ReadType,
            version: Some(place.version),
            offset: place.offset,
            db: place.db,
            templates: Arc::clone(&place.templates),
            ..Self::new(Options { verify_checksum: false, ..options })
        }
    }

    /// Offset of the next unconsumed byte, counted without the wrapping of a diskless transfer.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The version, once the magic has been read.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// The key whose value is being read.
    #[must_use]
    pub fn current_key(&self) -> Option<&[u8]> {
        self.object.map(|_| self.key.as_slice())
    }

    /// Decodes every whole unit in `input`, which continues where `consumed` of the last call ended.
    ///
    /// `is_last` says that nothing will follow `input`: what is missing then is an error. After an
    /// error the decoder is of no more use.
    ///
    /// # Errors
    /// [`Failure::Format`] with the offset and kind of a fault, or what the sink answered.
    pub fn advance<S: Sink>(
        &mut self,
        input: &[u8],
        is_last: bool,
        sink: &mut S,
    ) -> Result<Progress, Failure<S::Error>> {
        let wrapping = match self.unwrap_start(input) {
            Ok(wrapping) => wrapping,
            Err(missing) if !is_last => {
                return Ok(Progress { consumed: 0, state: State::More { at_least: missing } });
            }
            Err(_) => 0,
        };
        let mut cursor = Cursor::new(&input[wrapping..], self.offset);
        let mut summed = 0;
        let halt = loop {
            let whole_piece = cursor.unit - summed >= CHECKSUM_PIECE;
            if whole_piece || matches!(self.phase, Phase::Checksum) {
                self.sum(cursor.between(summed, cursor.unit));
                summed = cursor.unit;
            }
            if matches!(self.phase, Phase::Done) {
                break None;
            }
            if let Err(halt) = self.step(&mut cursor, sink) {
                break Some(halt);
            }
        };
        let consumed = wrapping + cursor.unit;
        self.sum(cursor.between(summed, cursor.unit));
        let start = self.offset;
        self.offset += cursor.unit as u64;
        match halt {
            None => Ok(Progress { consumed, state: State::Done }),
            Some(Halt::Short(end)) if !is_last => {
                let at_least = end - cursor.unit as u64;
                Ok(Progress { consumed, state: State::More { at_least } })
            }
            Some(Halt::Short(_)) => {
                let end = start + (input.len() - wrapping) as u64;
                Err(Failure::Format(self.error(end, Kind::UnexpectedEof)))
            }
            Some(Halt::Bad(at, kind)) => Err(Failure::Format(self.error(at, kind))),
            Some(Halt::Sink(error)) => Err(Failure::Sink(error)),
        }
    }

    /// Passes the records at the start of `input` that are whole and plain, and answers how many bytes that were:
    /// none if it is in the middle of a record. `input` is as for [`Decoder::advance`], which is to be called for the
    /// rest. No sink is told of them.
    pub fn pass(&mut self, input: &[u8], passing: &mut impl Passing) -> usize {
        let (Phase::Record, Some(version)) = (&self.phase, self.version) else { return 0 };
        if !self.prefix.is_empty() {
            return 0;
        }
        let mut records = Records::at(input, version, self.offset, self.db);
        records.pass(passing);
        let passed = records.passed();
        self.db = records.db();
        self.sum(&input[..passed]);
        self.offset += passed as u64;
        passed
    }

    fn sum(&mut self, bytes: &[u8]) {
        let is_behind_trailer = matches!(self.phase, Phase::Done | Phase::EofMark);
        if self.options.verify_checksum && !is_behind_trailer && !bytes.is_empty() {
            self.crc.update(bytes);
        }
    }

    #[cold]
    fn error(&self, at: u64, kind: Kind) -> Error {
        Error {
            at,
            kind,
            doing: self.doing,
            version: self.version,
            db: self.db,
            key: self.object.map(|_| self.key.clone()),
            object: self.object,
        }
    }
}
