//! Reading as the servers read: whole pieces, and the count of bytes consumed by them.

use std::borrow::Cow;

use cairn_engine::base::{lzf, num};
use cairn_engine::codec::rdb::string_form;

/// Why a check ends early.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A read came short, or a value is refused without a word: both are called an unexpected end.
    Eof,
    /// A complaint from inside the loader, by the source line of 7.0.15 that makes it.
    Internal(u32, String),
    /// A complaint of the checker itself.
    Checker(String),
}

/// Lengths of at least this many bytes are refused by every allocator.
const MAX_ALLOCATION: u64 = 1 << 47;
/// What the loader takes for a read that failed.
const BAD_LENGTH: u64 = u64::MAX;

/// A file in memory and how much of it has been consumed.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes consumed by whole reads.
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// All bytes that have been consumed.
    pub(super) fn consumed(&self) -> &'a [u8] {
        &self.bytes[..self.at]
    }

    pub(super) fn take(&mut self, n: u64) -> Result<&'a [u8], Fault> {
        let n = usize::try_from(n).map_err(|_| Fault::Eof)?;
        let piece = self.rest().get(..n).ok_or(Fault::Eof)?;
        self.at += n;
        Ok(piece)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let piece = self.take(N as u64)?;
        Ok(piece.try_into().expect("take gives what it was asked for"))
    }

    pub(super) fn byte(&mut self) -> Result<u8, Fault> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn i64_le(&mut self) -> Result<i64, Fault> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// A length, and whether it is one: the codes of special strings read as small numbers.
    fn length_or_code(&mut self) -> Result<(u64, bool), Fault> {
        let first = self.byte()?;
        Ok(match first {
            0x00..=0x3f => (u64::from(first), false),
            0x40..=0x7f => (u64::from(first & 0x3f) << 8 | u64::from(self.byte()?), false),
            0x80 => (u64::from(u32::from_be_bytes(self.array()?)), false),
            0x81 => (u64::from_be_bytes(self.array()?), false),
            0x82..=0xbf => {
                return Err(Fault::Internal(236, "Unknown length encoding 2 in rdbLoadLen()".to_owned()));
            }
            0xc0..=0xff => (u64::from(first & 0x3f), true),
        })
    }

    /// A number, where the loader tests for read errors and nothing else.
    pub(super) fn number(&mut self) -> Result<u64, Fault> {
        Ok(self.length_or_code()?.0)
    }

    /// A length, where the loader takes the largest number for an error.
    pub(super) fn len(&mut self) -> Result<u64, Fault> {
        Some(self.number()?).filter(|len| *len != BAD_LENGTH).ok_or(Fault::Eof)
    }

    /// A string in any of its forms.
    pub(super) fn string(&mut self) -> Result<Cow<'a, [u8]>, Fault> {
        let (len, is_code) = self.length_or_code()?;
        if !is_code {
            if len >= MAX_ALLOCATION {
                return Err(Fault::Eof);
            }
            return self.take(len).map(Cow::Borrowed);
        }
        let integer = match u8::try_from(len).unwrap_or(u8::MAX) {
            string_form::INT8 => i64::from(i8::from_le_bytes(self.array()?)),
            string_form::INT16 => i64::from(i16::from_le_bytes(self.array()?)),
            string_form::INT32 => i64::from(i32::from_le_bytes(self.array()?)),
            string_form::LZF => return self.compressed().map(Cow::Owned),
            other => return Err(Fault::Internal(529, format!("Unknown RDB string encoding type {other}"))),
        };
        let mut text = Vec::new();
        num::push_i64(&mut text, integer);
        Ok(Cow::Owned(text))
    }

    fn compressed(&mut self) -> Result<Vec<u8>, Fault> {
        let (packed_len, len) = (self.len()?, self.len()?);
        if packed_len >= MAX_ALLOCATION || len >= MAX_ALLOCATION {
            return Err(Fault::Eof);
        }
        let packed = self.take(packed_len)?;
        let mut out = Vec::new();
        let len = usize::try_from(len).map_err(|_| Fault::Eof)?;
        match lzf::decompress(packed, len, &mut out) {
            Ok(()) => Ok(out),
            Err(_) => Err(Fault::Internal(413, "Invalid LZF compressed string".to_owned())),
        }
    }
}

/// Bytes as C prints them: up to the first NUL.
pub(super) fn c_string(bytes: &[u8]) -> &[u8] {
    &bytes[..memchr::memchr(0, bytes).unwrap_or(bytes.len())]
}
