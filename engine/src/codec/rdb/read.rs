//! The primitives of the format over a window of bytes: lengths, strings, fixed-width numbers.
//!
//! A read either yields its value, or says up to where the window would have to reach (the unit is
//! then tried again, so nothing may have been reported yet), or names a fault. Nothing is allocated
//! here but for a string that is compressed or an integer, whose size was bounded by its bytes.

use byteorder::{BigEndian, ByteOrder, LittleEndian};

use crate::base::lzf;

use super::error::{Kind, Stop};
use super::event::{StreamId, StringForm};
use super::run::ShortRun;
use super::string_form;

/// Bytes of LZF that a copy of the greatest length takes, and that length: no string expands more.
const LZF_MAX_EXPANSION: u64 = 264;
/// No length above this is believed: offsets in a file must stay far from overflowing.
const MAX_LENGTH: u64 = 1 << 62;

/// Reads a window that starts at `base` in the file. `unit` is where the unit being read began.
#[derive(Clone)]
pub(super) struct Cursor<'a> {
    input: &'a [u8],
    pub(super) pos: usize,
    pub(super) unit: usize,
    base: u64,
}

/// A string as it stands in the window.
#[derive(Clone, Copy)]
pub(super) enum Str<'a> {
    Raw(&'a [u8]),
    Int { value: i32, form: StringForm },
    Lzf { packed: &'a [u8], raw_len: usize, at: u64 },
}

impl<'a> Cursor<'a> {
    pub(super) fn new(input: &'a [u8], base: u64) -> Self {
        Self { input, pos: 0, unit: 0, base }
    }

    /// Offset in the file of the next byte.
    pub(super) fn offset(&self) -> u64 {
        self.base + self.pos as u64
    }

    /// The unit is read and reported: it will not be read again.
    #[inline(always)]
    pub(super) fn commit(&mut self) {
        self.unit = self.pos;
    }

    /// Bytes of the window between two positions.
    pub(super) fn between(&self, from: usize, to: usize) -> &'a [u8] {
        self.input.get(from..to).unwrap_or_default()
    }

    /// All that follows.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.input.get(self.pos..).unwrap_or_default()
    }

    #[cold]
    fn short(&self, len: u64) -> Stop {
        Stop::Short(self.pos as u64 + len)
    }

    /// A fault of the byte that was read last.
    #[cold]
    pub(super) fn bad<T>(&self, back: u64, kind: Kind) -> Result<T, Stop> {
        Err(Stop::Bad(self.offset().saturating_sub(back), kind))
    }

    #[inline(always)]
    pub(super) fn byte(&mut self) -> Result<u8, Stop> {
        match self.input.get(self.pos) {
            Some(&byte) => {
                self.pos += 1;
                Ok(byte)
            }
            None => Err(self.short(1)),
        }
    }

    /// The next `len` bytes.
    #[inline(always)]
    pub(super) fn take(&mut self, len: u64) -> Result<&'a [u8], Stop> {
        let left = (self.input.len() - self.pos) as u64;
        if len > left {
            return Err(self.short(len));
        }
        let bytes = &self.input[self.pos..self.pos + len as usize];
        self.pos += len as usize;
        Ok(bytes)
    }

    #[inline]
    pub(super) fn u32_le(&mut self) -> Result<u32, Stop> {
        self.take(4).map(LittleEndian::read_u32)
    }

    #[inline]
    pub(super) fn u64_le(&mut self) -> Result<u64, Stop> {
        self.take(8).map(LittleEndian::read_u64)
    }

    #[inline]
    pub(super) fn i64_le(&mut self) -> Result<i64, Stop> {
        self.take(8).map(LittleEndian::read_i64)
    }

    #[inline]
    pub(super) fn f64_le(&mut self) -> Result<f64, Stop> {
        self.take(8).map(LittleEndian::read_f64)
    }

    /// A stream id of 16 bytes, as keys of radix trees have it.
    #[inline]
    pub(super) fn raw_stream_id(&mut self) -> Result<StreamId, Stop> {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(self.take(16)?);
        Ok(StreamId::from_bytes(bytes))
    }

    /// A stream id of two lengths.
    pub(super) fn stream_id(&mut self) -> Result<StreamId, Stop> {
        Ok(StreamId { ms: self.len()?, seq: self.len()? })
    }

    /// A length, count or other number in the format of lengths.
    #[inline(always)]
    pub(super) fn len(&mut self) -> Result<u64, Stop> {
        let first = self.byte()?;
        if first < 0x40 {
            return Ok(u64::from(first));
        }
        self.long_len(first)
    }

    fn long_len(&mut self, first: u8) -> Result<u64, Stop> {
        match first {
            0x40..=0x7f => Ok(u64::from(first & 0x3f) << 8 | u64::from(self.byte()?)),
            0x80 => self.take(4).map(|b| u64::from(BigEndian::read_u32(b))),
            0x81 => self.take(8).map(BigEndian::read_u64),
            _ => self.bad(1, Kind::LengthEncoding(first)),
        }
    }

    /// A length of bytes that follow.
    #[inline(always)]
    fn byte_count(&mut self, first: u8) -> Result<u64, Stop> {
        if first < 0x40 {
            return Ok(u64::from(first));
        }
        let at = self.offset() - 1;
        let len = self.long_len(first)?;
        if len > MAX_LENGTH {
            return Err(Stop::Bad(at, Kind::Length(len)));
        }
        Ok(len)
    }

    /// A string, not yet decompressed.
    #[inline(always)]
    pub(super) fn str(&mut self) -> Result<Str<'a>, Stop> {
        let first = self.byte()?;
        if first >= 0xc0 {
            return self.special_str(first);
        }
        let len = self.byte_count(first)?;
        self.take(len).map(Str::Raw)
    }

    fn special_str(&mut self, first: u8) -> Result<Str<'a>, Stop> {
        match first & 0x3f {
            string_form::INT8 => {
                Ok(Str::Int { value: i32::from(self.byte()? as i8), form: StringForm::Int8 })
            }
            string_form::INT16 => {
                let value = LittleEndian::read_i16(self.take(2)?);
                Ok(Str::Int { value: i32::from(value), form: StringForm::Int16 })
            }
            string_form::INT32 => {
                let value = LittleEndian::read_i32(self.take(4)?);
                Ok(Str::Int { value, form: StringForm::Int32 })
            }
            string_form::LZF => self.lzf_str(),
            other => self.bad(1, Kind::StringEncoding(other)),
        }
    }

    fn lzf_str(&mut self) -> Result<Str<'a>, Stop> {
        let at = self.offset() - 1;
        let first = self.byte()?;
        let packed_bytes = self.byte_count(first)?;
        let first = self.byte()?;
        let raw_bytes = self.byte_count(first)?;
        // Refused before the data is asked for, and long before it is allocated for.
        if raw_bytes > packed_bytes.saturating_mul(LZF_MAX_EXPANSION) {
            return Err(Stop::Bad(at, Kind::LzfRatio { packed_bytes, raw_bytes }));
        }
        let packed = self.take(packed_bytes)?;
        match usize::try_from(raw_bytes) {
            Ok(raw_len) => Ok(Str::Lzf { packed, raw_len, at }),
            Err(_) => Err(Stop::Bad(at, Kind::Length(raw_bytes))),
        }
    }

    /// Reads short strings, as many as there are of at most `most` groups of `group` each.
    #[inline]
    pub(super) fn run(&mut self, most: u64, group: usize) -> ShortRun<'a> {
        let run = ShortRun::of(self.rest(), most, group);
        self.pos += run.byte_len();
        run
    }

    /// Steps over a string.
    #[inline(always)]
    pub(super) fn skip_str(&mut self) -> Result<(), Stop> {
        // The common case by hand: a length below 64 whose bytes are all there.
        if let Some(&first) = self.input.get(self.pos)
            && first < 0x40
            && usize::from(first) < self.input.len() - self.pos
        {
            self.pos += 1 + usize::from(first);
            return Ok(());
        }
        self.str().map(|_| ())
    }
}

impl<'a> Str<'a> {
    /// The bytes that the string stands for, in the window or in `scratch`.
    #[inline(always)]
    pub(super) fn bytes<'s>(self, scratch: &'s mut Vec<u8>) -> Result<&'s [u8], Stop>
    where
        'a: 's,
    {
        match self {
            Self::Raw(bytes) => Ok(bytes),
            Self::Int { value, .. } => {
                scratch.clear();
                scratch.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
                Ok(scratch)
            }
            Self::Lzf { packed, raw_len, at } => unpack(packed, raw_len, at, scratch),
        }
    }

    /// How it was stored.
    pub(super) fn form(self) -> StringForm {
        match self {
            Self::Raw(_) => StringForm::Raw,
            Self::Int { form, .. } => form,
            Self::Lzf { .. } => StringForm::Lzf,
        }
    }
}

fn unpack<'s>(packed: &[u8], raw_len: usize, at: u64, scratch: &'s mut Vec<u8>) -> Result<&'s [u8], Stop> {
    scratch.clear();
    match lzf::decompress(packed, raw_len, scratch) {
        Ok(()) => Ok(scratch),
        Err(why) => Err(Stop::Bad(at, Kind::Lzf(why))),
    }
}
