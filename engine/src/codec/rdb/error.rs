//! What can be wrong with RDB bytes: where, what, in which key, and what was being read.
//!
//! The texts that operators grep for (`Wrong signature trying to load DB from file`, `Can't handle
//! RDB format version 99`, ...) are those of the servers; witness: their check tools' output.

use std::fmt;

use crate::base::lzf::LzfError;
use crate::base::slot::SLOTS;
use crate::packed::{Corrupt, CorruptKind};

use super::Version;

/// What the decoder was reading, in the words of the servers' check tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each name is the phrase it prints")]
pub enum Doing {
    Start,
    ReadType,
    ReadExpire,
    ReadKey,
    ReadObjectValue,
    CheckSum,
    ReadLen,
    ReadAux,
    ReadModuleAux,
    ReadFunctions,
}

impl Doing {
    /// The phrase after `While doing: `.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::ReadType => "read-type",
            Self::ReadExpire => "read-expire",
            Self::ReadKey => "read-key",
            Self::ReadObjectValue => "read-object-value",
            Self::CheckSum => "check-sum",
            Self::ReadLen => "read-len",
            Self::ReadAux => "read-aux",
            Self::ReadModuleAux => "read-module-aux",
            Self::ReadFunctions => "read-functions",
        }
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each field is named in the text of its kind")]
pub enum Kind {
    #[error("Unexpected EOF reading RDB file")]
    UnexpectedEof,
    #[error("Wrong signature trying to load DB from file")]
    Signature,
    #[error("Can't handle RDB format version {0}")]
    Version(u32),
    #[error(
        "record type {byte} is newer than the file's version {version}, which has no checksum: its version \
         bytes are damaged"
    )]
    NewerThanVersion { byte: u8, version: u16 },
    #[error("the file is in Valkey's compressed stream envelope (VCS), which must be unwrapped first")]
    CompressedEnvelope,
    #[error("the mark at the end of the transfer is not the one at its start")]
    EofMark,
    #[error("RDB CRC error: the file says {stored:016x}, its bytes give {computed:016x}")]
    Checksum { stored: u64, computed: u64 },
    #[error("the file has no checksum, and one is required")]
    NoChecksum,
    #[error("Invalid object type: {0}")]
    ObjectType(u8),
    #[error("{what} (byte {byte}) cannot be read")]
    Refused { byte: u8, what: &'static str },
    #[error("Unknown length encoding {0:#04x}")]
    LengthEncoding(u8),
    #[error("Unknown RDB string encoding type {0}")]
    StringEncoding(u8),
    #[error("length {0} is too large for any file")]
    Length(u64),
    #[error("{raw_bytes} bytes cannot come out of {packed_bytes} bytes of LZF")]
    LzfRatio { packed_bytes: u64, raw_bytes: u64 },
    #[error("compressed string: {0}")]
    Lzf(LzfError),
    #[error("{what}{}{why}", joint(why))]
    Packed { what: &'static str, why: Corrupt },
    #[error("{what} has {entries} entries, not a multiple of {unit}")]
    EntryCount { what: &'static str, entries: usize, unit: usize },
    #[error("score {0} is not a number")]
    Score(String),
    #[error("the expiry of a field, {0}, is out of range")]
    FieldExpiry(i128),
    #[error("list node container {0} is neither plain (1) nor packed (2)")]
    Container(u64),
    #[error("a plain list node without bytes")]
    EmptyPlainNode,
    #[error("stream node id of {0} bytes, not 16")]
    StreamNodeId(usize),
    #[error("stream listpack entry {entry}: {what}")]
    StreamNode { entry: usize, what: &'static str },
    #[error("stream of {0} entries without nodes")]
    StreamLength(u64),
    #[error("module value opcode {0}")]
    ModuleOpcode(u64),
    #[error("module auxiliary data does not start with its time")]
    ModuleWhen,
    #[error("array element tag {0}")]
    ArrayTag(u64),
    #[error("array insert index flag {0}")]
    ArrayInsertFlag(u64),
    #[error("hash template field format {0}")]
    TemplateFormat(u64),
    #[error("hash template {0} was not defined before its use")]
    UnknownTemplate(u64),
    #[error("hash template {0} is defined twice")]
    TemplateTwice(u64),
    #[error("hash template without fields")]
    EmptyTemplate,
    #[error("hash of {values} values for a template of {fields} fields")]
    TemplateValues { fields: usize, values: usize },
    #[error("path {path} of a path hash has no fields")]
    EmptyPath { path: u64 },
    #[error("slot {0}, of {SLOTS}")]
    Slot(u64),
    #[error("command in the file: {0}")]
    Update(&'static str),
}

/// What stands between the name of a packed encoding and what is wrong with it: `listpack entry 17
/// runs past ...`, but `listpack: the header declares ...`.
fn joint(why: &Corrupt) -> &'static str {
    match why.kind {
        CorruptKind::EntryOverruns { .. }
        | CorruptKind::UnknownEncoding { .. }
        | CorruptKind::BackLength { .. }
        | CorruptKind::NotAscending { .. }
        | CorruptKind::NoValue { .. } => " ",
        _ => ": ",
    }
}

/// A fault in RDB bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Offset of the faulty thing in the unwrapped file; at a truncated end, the file's length.
    pub at: u64,
    /// What is wrong.
    pub kind: Kind,
    /// What was being read.
    pub doing: Doing,
    /// The version, if it had been read.
    pub version: Option<Version>,
    /// The database that the last SELECTDB named.
    pub db: u64,
    /// The key whose record it is, if its name had been read.
    pub key: Option<Vec<u8>>,
    /// The type byte of that record.
    pub object: Option<u8>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "offset {}", self.at)?;
        if let Some(key) = &self.key {
            write!(f, ", key \"{}\"", key.escape_ascii())?;
        }
        write!(f, ": {}", self.kind)
    }
}

impl std::error::Error for Error {}

/// Why a decoder stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure<E> {
    /// The bytes are wrong.
    Format(Error),
    /// The sink did not want to go on.
    Sink(E),
}

impl<E: fmt::Display> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(error) => error.fmt(f),
            Self::Sink(error) => error.fmt(f),
        }
    }
}

impl<E: std::error::Error> std::error::Error for Failure<E> {}

/// Why a DUMP payload cannot be taken apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DumpError {
    /// It ends before a type byte, a version and a checksum could.
    #[error("{0} bytes are too few for a DUMP payload")]
    TooShort(usize),
    /// Nobody defined its version, or this build does not read it.
    #[error("DUMP payload version {0}")]
    Version(u16),
    /// Its checksum is another.
    #[error("DUMP payload checksum")]
    Checksum,
    /// What comes before the type byte is faulty.
    #[error("DUMP payload: {0}")]
    Prefix(Kind),
    /// It has no such type.
    #[error("Invalid object type: {0}")]
    ObjectType(u8),
}

/// Why a payload of FUNCTION DUMP was refused, in the words of the servers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LibrariesError {
    /// Its version or its checksum is wrong.
    #[error("DUMP payload version or checksum are wrong")]
    Footer(DumpError),
    /// It has libraries as the release candidates of 7.0 wrote them.
    #[error("Pre-GA function format not supported")]
    PreGa,
    /// It has something else than libraries.
    #[error("given type is not a function")]
    NoLibrary,
    /// A library in it is not whole.
    #[error("Failed loading library payload")]
    Broken,
}

/// What ends the reading of a unit early: private to the decoder.
#[derive(Debug)]
pub(super) enum Halt<E> {
    /// The unit is not whole: the window must reach to this position.
    Short(u64),
    /// The bytes at this offset of the file are wrong.
    Bad(u64, Kind),
    /// The sink refused.
    Sink(E),
}

/// As [`Halt`], where no sink is involved.
#[derive(Debug)]
pub(super) enum Stop {
    Short(u64),
    Bad(u64, Kind),
}

impl<E> From<Stop> for Halt<E> {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Short(end) => Self::Short(end),
            Stop::Bad(at, kind) => Self::Bad(at, kind),
        }
    }
}
