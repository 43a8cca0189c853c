//! What can be wrong with a record, and how it is said.

use std::fmt;

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A record must start with `*` or `#`.
    NotARecord {
        /// The byte that stands there.
        got: u8,
    },
    /// A length must start with another byte.
    Prefix {
        /// What had to stand there.
        expected: u8,
        /// What stands there.
        got: u8,
    },
    /// The text after `*` or `$` is not a number, or is no sensible one (below 1 argument, below 0
    /// bytes, above what a server could ever have held).
    BadLength {
        /// `*` or `$`.
        prefix: u8,
        /// The number, if it is one.
        value: Option<i64>,
    },
    /// The two bytes after a length or a string are not CR LF.
    MissingCrlf {
        /// What stands there.
        got: [u8; 2],
    },
    /// An annotation is longer than [`super::record::MAX_ANNOTATION_BYTES`].
    LongAnnotation,
    /// The input ends inside the record.
    Truncated {
        /// Bytes that the piece being read needs at least.
        needed: u64,
        /// Bytes of it that are there.
        got: u64,
    },
}

/// A record that cannot be read: where, what, and in what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error {
    /// Offset of the first wrong byte; of the piece that is cut, for [`Kind::Truncated`].
    pub at: u64,
    /// Offset of the record's first byte: everything before it could be read.
    pub record_at: u64,
    /// The argument that was being read, from 0; `None` in front of the first and in annotations.
    pub argument: Option<u64>,
    /// What is wrong.
    pub kind: Kind,
}

impl Error {
    /// Whether the input merely stops too early. A server takes such a tail off (`aof-load-truncated`).
    #[must_use]
    pub fn is_truncation(&self) -> bool {
        matches!(self.kind, Kind::Truncated { .. })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotARecord { got } => {
                write!(f, "a command must start with '*', not with '{}'", got.escape_ascii())
            }
            Self::Prefix { expected, got } => {
                write!(f, "expected '{}', found '{}'", expected.escape_ascii(), got.escape_ascii())
            }
            Self::BadLength { prefix: b'*', value: Some(value) } => {
                write!(f, "a command cannot have {value} arguments")
            }
            Self::BadLength { value: Some(value), .. } => write!(f, "an argument cannot have {value} bytes"),
            Self::BadLength { prefix, value: None } => {
                write!(f, "the length after '{}' is not a number", prefix.escape_ascii())
            }
            Self::MissingCrlf { got } => write!(f, "expected \\r\\n, found '{}'", got.escape_ascii()),
            Self::LongAnnotation => {
                write!(f, "annotation longer than {} bytes", super::record::MAX_ANNOTATION_BYTES)
            }
            Self::Truncated { needed, got } => {
                write!(f, "the file ends: {needed} bytes expected, {got} found")
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "offset {}: {}", self.at, self.kind)?;
        if let Some(argument) = self.argument {
            write!(f, " (argument {argument} of the command at {})", self.record_at)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
