//! What can be wrong with packed bytes, and where.

/// A defect in packed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct Corrupt {
    /// Offset of the defect from the start of the packed bytes.
    pub at: usize,
    /// What is wrong there.
    pub kind: CorruptKind,
}

/// The defects that the validators tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CorruptKind {
    /// Too few bytes for a header and an end.
    #[error("{len} bytes are too few, the header and the end alone take {needed}")]
    TooShort {
        /// Bytes at hand.
        len: usize,
        /// Bytes of the smallest valid form.
        needed: usize,
    },
    /// The size in the header is not the size of the bytes.
    #[error("the header declares {declared} bytes, there are {len}")]
    SizeMismatch {
        /// What the header says.
        declared: u64,
        /// Bytes at hand.
        len: usize,
    },
    /// The last byte is not the end mark.
    #[error("the last byte is {byte:#04x}, not the end mark 0xff")]
    NoEndMark {
        /// The last byte.
        byte: u8,
    },
    /// An end mark stands before the last byte.
    #[error("the end mark comes {left} bytes early")]
    EarlyEnd {
        /// Bytes behind it.
        left: usize,
    },
    /// An entry reaches past the end of the body.
    #[error("entry {entry} runs past its {body_bytes}-byte body")]
    EntryOverruns {
        /// Index of the entry.
        entry: usize,
        /// Bytes between header and end mark.
        body_bytes: usize,
    },
    /// An entry's first byte has no meaning.
    #[error("entry {entry} has the unknown encoding {byte:#04x}")]
    UnknownEncoding {
        /// Index of the entry.
        entry: usize,
        /// Its first byte.
        byte: u8,
    },
    /// An entry's length as written behind it, or before its successor, is not its length.
    #[error("entry {entry} does not agree with its back length")]
    BackLength {
        /// Index of the entry.
        entry: usize,
    },
    /// The header counts other entries than there are.
    #[error("the header counts {declared} entries, there are {counted}")]
    CountMismatch {
        /// What the header says.
        declared: u64,
        /// Entries found.
        counted: usize,
    },
    /// The header's offset of the last entry is not where the last entry is.
    #[error("the header puts the last entry at byte {declared}, it is at byte {actual}")]
    TailMismatch {
        /// What the header says.
        declared: u64,
        /// Where it is.
        actual: usize,
    },
    /// Integers of a width that does not exist.
    #[error("integers cannot be {width} bytes wide")]
    UnknownWidth {
        /// What the header says.
        width: u32,
    },
    /// A set's members are not in strictly ascending order.
    #[error("member {index} is not greater than the one before it")]
    NotAscending {
        /// Index of the member.
        index: usize,
    },
    /// A key has no value behind it.
    #[error("field {entry} has no value")]
    NoValue {
        /// Index of the pair.
        entry: usize,
    },
}

impl Corrupt {
    pub(super) const fn new(at: usize, kind: CorruptKind) -> Self {
        Self { at, kind }
    }
}
