//! Whole records in a run of bytes, for those who look at bytes as they are stored and need no events.
//!
//! The decoder takes input in pieces of any size and shows values at any depth. Here all bytes of a record are at
//! hand, and who reads takes the value apart by itself, or steps over it. Nothing is reported: a record that
//! is not whole, not plain, or wrong ends the run in front of it, and the decoder is to go on there and say what
//! it is. Plain are keys with their prefixes, and what names a database. Nothing passes that the decoder would refuse,
//! as far as whoever reads the value has looked.

use std::convert::Infallible;

use crate::base::lzf::Unpacker;
use crate::base::time::UnixMs;

use super::decode::{Place, decode_value};
use super::error::Stop;
use super::event::{Depth, KeyHead, Sink, StringForm, ValueEvent};
use super::read::{Cursor, Str};
use super::{ObjectType, Version, opcode};

/// What is told of each record.
pub trait Passing {
    /// A key and its value, which is to be read to its end. False if it is not to be passed.
    fn record(&mut self, head: &KeyHead<'_>, value: &mut Stored<'_>) -> bool;

    /// An auxiliary field of this name. False if it is not to be passed.
    fn aux(&mut self, key: &[u8]) -> bool {
        let _ = key;
        false
    }
}

/// A string as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredString<'a> {
    /// As it is.
    Raw(&'a [u8]),
    /// The text of an integer.
    Int {
        /// The integer.
        value: i32,
        /// How it is stored.
        form: StringForm,
    },
    /// Compressed by LZF, which has not been looked at.
    Lzf {
        /// The stream.
        packed: &'a [u8],
        /// Length of what comes out of it, which is possible for a stream of this length.
        raw_len: usize,
    },
}

impl StoredString<'_> {
    /// The length of the string.
    #[must_use]
    pub fn len(&self) -> usize {
        match *self {
            Self::Raw(bytes) => bytes.len(),
            Self::Int { value, .. } => crate::base::num::i64_chars(value.into()),
            Self::Lzf { raw_len, .. } => raw_len,
        }
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Bytes from the start of a value on. What is not there, or is wrong, is `None`.
#[derive(Clone)]
pub struct Stored<'a> {
    cursor: Cursor<'a>,
}

impl std::fmt::Debug for Stored<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stored").field("offset", &self.cursor.offset()).finish_non_exhaustive()
    }
}

impl<'a> Stored<'a> {
    /// A length or count.
    #[inline(always)]
    pub fn length(&mut self) -> Option<u64> {
        self.cursor.len().ok()
    }

    /// A string.
    #[inline(always)]
    pub fn string(&mut self) -> Option<StoredString<'a>> {
        Some(match self.cursor.str().ok()? {
            Str::Raw(bytes) => StoredString::Raw(bytes),
            Str::Int { value, form } => StoredString::Int { value, form },
            Str::Lzf { packed, raw_len, .. } => StoredString::Lzf { packed, raw_len },
        })
    }

    /// Steps over a string.
    #[inline(always)]
    pub fn skip_string(&mut self) -> Option<()> {
        self.cursor.skip_str().ok()
    }

    /// The next `len` bytes.
    #[inline(always)]
    pub fn bytes(&mut self, len: u64) -> Option<&'a [u8]> {
        self.cursor.take(len).ok()
    }

    /// Steps over the value of a key by its lengths, as depth `Skip` does.
    #[inline]
    pub fn skip(&mut self, head: &KeyHead<'_>, version: Version) -> Option<()> {
        use ObjectType as T;
        match head.object {
            T::String
            | T::HashListpack
            | T::ZsetListpack
            | T::SetListpack
            | T::SetIntset
            | T::ListZiplist
            | T::HashZiplist
            | T::ZsetZiplist => self.skip_string(),
            T::Set | T::List | T::ListQuicklist => self.skip_each(Self::skip_string),
            T::Hash => self.skip_each(|own| own.skip_string().and_then(|()| own.skip_string())),
            T::Zset => self.skip_each(|own| {
                own.skip_string()?;
                own.bytes(8).map(|_| ())
            }),
            T::ListQuicklist2 => self.skip_each(|own| own.length().and_then(|_| own.skip_string())),
            _ => {
                let len = decode_value(version, head.type_byte, self.rest(), Depth::Skip, &mut Nobody);
                self.bytes(len.ok()? as u64).map(|_| ())
            }
        }
    }

    #[inline(always)]
    fn skip_each(&mut self, one: impl Fn(&mut Self) -> Option<()>) -> Option<()> {
        let count = self.length()?;
        (0..count).try_for_each(|_| one(self))
    }

    /// Offset in the file of the next byte.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.cursor.offset()
    }

    /// All bytes from here on, those of later records included.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.cursor.rest()
    }
}

/// A sink of values that nobody looks at.
struct Nobody;

impl Sink for Nobody {
    type Error = Infallible;

    fn key(&mut self, _head: &KeyHead<'_>) -> Result<Depth, Infallible> {
        Ok(Depth::Skip)
    }

    fn value(&mut self, _event: ValueEvent<'_>) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Records one behind the other.
#[derive(Debug)]
pub struct Records<'a> {
    bytes: &'a [u8],
    version: Version,
    base: u64,
    db: u64,
    at: usize,
    unpacker: Unpacker,
}

impl<'a> Records<'a> {
    /// The records that begin at `place`, which is where `bytes` begin in the file.
    #[must_use]
    pub fn new(bytes: &'a [u8], place: &Place) -> Self {
        Self::at(bytes, place.version, place.offset, place.db)
    }

    /// The records that begin at that offset of a file.
    pub(super) fn at(bytes: &'a [u8], version: Version, offset: u64, db: u64) -> Self {
        Self { bytes, version, base: offset, db, at: 0, unpacker: Unpacker::default() }
    }

    /// How many bytes have been passed.
    #[must_use]
    pub fn passed(&self) -> usize {
        self.at
    }

    /// The database in which the next record is.
    #[must_use]
    pub fn db(&self) -> u64 {
        self.db
    }

    /// Passes as many records as it can.
    #[inline]
    pub fn pass(&mut self, passing: &mut impl Passing) {
        // Records of older files must be of older types, too, which is left to the decoder.
        if !self.version.has_checksum() {
            return;
        }
        while let Ok(Some((end, db))) = self.one(passing) {
            (self.at, self.db) = (end, db);
        }
    }

    /// Where the next record ends, and in which database what follows it is. `None` if it is not passed.
    #[inline(always)]
    fn one(&mut self, passing: &mut impl Passing) -> Result<Option<(usize, u64)>, Stop> {
        let mut cursor = Cursor::new(self.bytes, self.base);
        cursor.pos = self.at;
        let (mut expire_at, mut idle_s, mut freq) = (None, None, None);
        loop {
            let at = cursor.offset();
            let byte = cursor.byte()?;
            let is_first = cursor.pos == self.at + 1;
            match byte {
                opcode::EXPIRE_MS => expire_at = Some(UnixMs(cursor.i64_le()?)),
                opcode::EXPIRE_S => {
                    expire_at = Some(UnixMs(i64::from(cursor.u32_le()?.cast_signed()) * 1000));
                }
                opcode::FREQ => freq = Some(cursor.byte()?),
                opcode::IDLE => idle_s = Some(cursor.len()?),
                opcode::SELECT_DB if is_first => {
                    let db = cursor.len()?;
                    return Ok(Some((cursor.pos, db)));
                }
                opcode::RESIZE_DB if is_first => {
                    cursor.len()?;
                    cursor.len()?;
                    return Ok(Some((cursor.pos, self.db)));
                }
                opcode::AUX if is_first => {
                    let (key, value) = (cursor.str()?, cursor.str()?);
                    let is_passed = match (key, value) {
                        (Str::Raw(key), Str::Raw(_) | Str::Int { .. }) => passing.aux(key),
                        _ => false,
                    };
                    return Ok(is_passed.then_some((cursor.pos, self.db)));
                }
                opcode::ENTERPRISE_RAM_LRU | opcode::KEY_NOEVICT.. => return Ok(None),
                _ => {
                    let Some(object) = ObjectType::from_byte(byte, self.version) else { return Ok(None) };
                    let mut text = itoa::Buffer::new();
                    let key = match cursor.str()? {
                        Str::Raw(key) => key,
                        Str::Int { value, .. } => text.format(value).as_bytes(),
                        Str::Lzf { packed, raw_len, .. } => match self.unpacker.unpack(packed, raw_len) {
                            Ok(key) => key,
                            Err(_) => return Ok(None),
                        },
                    };
                    let head = KeyHead {
                        at,
                        db: self.db,
                        key,
                        object,
                        type_byte: byte,
                        expire_at,
                        idle_s,
                        freq,
                        meta: None,
                        no_evict: false,
                    };
                    let mut value = Stored { cursor };
                    return Ok(passing.record(&head, &mut value).then_some((value.cursor.pos, self.db)));
                }
            }
        }
    }
}
