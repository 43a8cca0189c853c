//! What a server makes of a fault: the part of a finding that decides how urgent it is.
//!
//! Servers from 7.0 on, with their default settings (`sanitize-dump-payload no`): headers of packed
//! values are checked on loading, their insides only where old forms are converted.

use std::fmt;

use cairn_engine::codec::rdb::{Error, Kind};
use cairn_engine::packed::CorruptKind;

/// What a server does with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It loads it without a word.
    Accepts,
    /// It leaves the key out and loads the rest.
    Skips,
    /// It does not start.
    Refuses,
    /// It crashes, while loading or when the value is used.
    Crashes,
}

impl Fate {
    /// One word, for scripts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepts => "accepts",
            Self::Skips => "skips",
            Self::Refuses => "refuses",
            Self::Crashes => "crashes",
        }
    }

    /// What is to be expected of what the decoder refuses.
    pub(super) fn of(error: &Error) -> Self {
        /// Types whose packed values are converted, and so checked through and through.
        const CONVERTED: std::ops::RangeInclusive<u8> = 9..=14;
        let is_unchecked = !error.object.is_some_and(|byte| CONVERTED.contains(&byte));
        match &error.kind {
            Kind::Packed { why, .. } if is_unchecked => match why.kind {
                CorruptKind::TooShort { .. }
                | CorruptKind::SizeMismatch { .. }
                | CorruptKind::NoEndMark { .. } => Self::Refuses,
                _ => Self::Crashes,
            },
            Kind::EntryCount { .. } if is_unchecked => Self::Crashes,
            Kind::StreamNode { .. } => Self::Crashes,
            // A packed sorted set keeps its scores as text, which nobody looks at while loading.
            Kind::Score(_) if matches!(error.object, Some(12 | 17)) => Self::Accepts,
            _ => Self::Refuses,
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accepts => "servers load it as it is",
            Self::Skips => "servers leave the key out",
            Self::Refuses => "servers refuse the file",
            Self::Crashes => "servers crash on it, or when the value is used",
        })
    }
}

/// One word for a kind of fault, for scripts.
#[must_use]
pub fn kind_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::UnexpectedEof => "truncated",
        Kind::Signature => "signature",
        Kind::Version(_) | Kind::NewerThanVersion { .. } | Kind::CompressedEnvelope => "version",
        Kind::Checksum { .. } | Kind::NoChecksum => "checksum",
        Kind::ObjectType(_) | Kind::Refused { .. } => "type",
        Kind::LengthEncoding(_) | Kind::Length(_) => "length",
        Kind::StringEncoding(_) => "string",
        Kind::LzfRatio { .. } | Kind::Lzf(_) => "compression",
        Kind::Packed { .. } | Kind::EntryCount { .. } => "packed",
        Kind::Score(_) => "score",
        Kind::FieldExpiry(_) => "expiry",
        Kind::StreamNodeId(_) | Kind::StreamNode { .. } | Kind::StreamLength(_) => "stream",
        _ => "layout",
    }
}
