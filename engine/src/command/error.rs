//! The error replies that commands share: each text is written down once, here.
//!
//! Texts are those that Redis clients and tests compare. A command's own texts stand beside it.

use std::borrow::Cow;

/// Why a command was refused. `text` gives the reply without its leading `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandError {
    /// The key holds another type.
    WrongType,
    /// Arguments do not fit the grammar.
    Syntax,
    /// An argument is not a 64-bit integer.
    NotInteger,
    /// An argument is not a double.
    NotFloat,
    /// A stored or resulting value is not a number.
    ResultNotFloat,
    /// An index is outside of the value.
    IndexOutOfRange,
    /// A number is outside of what the command takes.
    OutOfRange,
    /// The number must not be negative.
    MustBePositive,
    /// The key must exist.
    NoSuchKey,
    /// An increment would pass the limits of 64 bits.
    Overflow,
    /// A stored hash value is not an integer.
    HashNotInteger,
    /// A stored hash value is not a double.
    HashNotFloat,
    /// The result would be NaN or infinite.
    NanOrInfinity,
    /// A score is not a double.
    ScoreNotFloat,
    /// A limit of a score range is not a double.
    MinMaxNotFloat,
    /// A limit of a lexical range has no `(` or `[`.
    MinMaxNotLex,
    /// A cursor is not a number.
    InvalidCursor,
    /// A timeout is not a number.
    TimeoutNotFloat,
    /// A timeout is below zero.
    TimeoutNegative,
    /// A database index is not a number or not there.
    DbIndexOutOfRange,
    /// A string would pass proto-max-bulk-len.
    StringTooLong,
    /// Wrong number of arguments for the named command.
    Arity(String),
    /// An expire time that cannot be: the command's name is part of the text.
    InvalidExpire(String),
    /// A text of the command's own, code included.
    Text(Cow<'static, str>),
    /// As `Text`, with words of a client in it that may be no UTF-8.
    Bytes(Vec<u8>),
}

impl CommandError {
    /// A text of the command's own, for example `ERR no`.
    pub const fn text(text: &'static str) -> CommandError {
        CommandError::Text(Cow::Borrowed(text))
    }

    /// A text with a word of a client in it, which is shown as `shown` shows it.
    pub fn naming(before: &str, word: &[u8], behind: &str) -> CommandError {
        CommandError::Bytes([before.as_bytes(), shown(word), behind.as_bytes()].concat())
    }

    /// The least integer, where its opposite is needed.
    pub const LEAST_INTEGER: CommandError = CommandError::text(
        "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
    );

    /// The reply's text, code included.
    pub fn message(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            CommandError::WrongType => "WRONGTYPE Operation against a key holding the wrong kind of value",
            CommandError::Syntax => "ERR syntax error",
            CommandError::NotInteger => "ERR value is not an integer or out of range",
            CommandError::NotFloat => "ERR value is not a valid float",
            CommandError::ResultNotFloat => "ERR value is not a valid float",
            CommandError::IndexOutOfRange => "ERR index out of range",
            CommandError::OutOfRange => "ERR value is out of range",
            CommandError::MustBePositive => "ERR value is out of range, must be positive",
            CommandError::NoSuchKey => "ERR no such key",
            CommandError::Overflow => "ERR increment or decrement would overflow",
            CommandError::HashNotInteger => "ERR hash value is not an integer",
            CommandError::HashNotFloat => "ERR hash value is not a float",
            CommandError::NanOrInfinity => "ERR increment would produce NaN or Infinity",
            CommandError::ScoreNotFloat => "ERR value is not a valid float",
            CommandError::MinMaxNotFloat => "ERR min or max is not a float",
            CommandError::MinMaxNotLex => "ERR min or max not valid string range item",
            CommandError::InvalidCursor => "ERR invalid cursor",
            CommandError::TimeoutNotFloat => "ERR timeout is not a float or out of range",
            CommandError::TimeoutNegative => "ERR timeout is negative",
            CommandError::DbIndexOutOfRange => "ERR DB index is out of range",
            CommandError::StringTooLong => "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            CommandError::Arity(name) => {
                return Cow::Owned(format!("ERR wrong number of arguments for '{name}' command"));
            }
            CommandError::InvalidExpire(name) => {
                return Cow::Owned(format!("ERR invalid expire time in '{name}' command"));
            }
            CommandError::Text(text) => return text.clone(),
            CommandError::Bytes(text) => return Cow::Owned(String::from_utf8_lossy(text).into_owned()),
        })
    }
}

/// A word of a client as errors show it: up to its first NUL, where Redis' texts end.
pub fn shown(word: &[u8]) -> &[u8] {
    &word[..memchr::memchr(0, word).unwrap_or(word.len())]
}
