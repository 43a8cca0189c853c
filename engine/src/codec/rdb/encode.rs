//! The encoder: primitives of the format into a buffer, the buffer into a drain, with the checksum
//! of all that went by.
//!
//! Which record type a value becomes is not decided here; `target.rs` says what each format holds.
//! The encoder never fails but where its drain does.

use crate::base::crc64::{Crc64, combine, crc64};
use crate::base::lzf;
use crate::base::num;
use crate::base::time::UnixMs;

use super::chances::Chances;
use super::event::StreamId;
use super::{ObjectType, Target, opcode, string_form, text_score};

/// Bytes gathered before they are drained, and summed, at once.
const BUFFER_BYTES: usize = 256 << 10;
/// Strings from this size on are drained from where they are instead of being copied.
const DIRECT_BYTES: usize = 64 << 10;
/// Strings up to this size are never compressed.
const MIN_LZF_BYTES: usize = 20;
/// The longest text of an integer that has a special form: `-2147483648`.
const MAX_INT_FORM_CHARS: usize = 11;

/// Where encoded bytes go.
pub trait Drain {
    /// What can go wrong there.
    type Error;
    /// Takes the next bytes, all of them.
    ///
    /// # Errors
    /// Whatever keeps it from that.
    fn drain(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;
}

impl Drain for Vec<u8> {
    type Error = std::convert::Infallible;
    fn drain(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

impl<D: Drain> Drain for &mut D {
    type Error = D::Error;
    fn drain(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
        (**self).drain(bytes)
    }
}

/// What a writer does beyond the layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterOptions {
    /// Whether strings are compressed where that makes them smaller, as far as `chances` has them tried.
    pub compress: bool,
    /// Whether the checksum is computed; else it is written as zero.
    pub checksum: bool,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self { compress: true, checksum: true }
    }
}

/// Writes RDB primitives. Every method appends; errors are the drain's.
pub struct Writer<D: Drain> {
    drain: D,
    buffer: Vec<u8>,
    crc: Crc64,
    options: WriterOptions,
    /// Made for the first string that is to be compressed: a DUMP often has none.
    lzf: Option<lzf::Encoder>,
    chances: Chances,
    /// Bytes that have left the buffer.
    drained: u64,
}

impl<D: Drain> Writer<D> {
    /// A writer that has written nothing, and holds no memory yet.
    #[must_use]
    pub fn new(drain: D, options: WriterOptions) -> Self {
        let (buffer, crc, chances) = (Vec::new(), Crc64::new(), Chances::default());
        Self { drain, buffer, crc, options, lzf: None, chances, drained: 0 }
    }

    /// Bytes written so far, drained or not.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.drained + self.buffer.len() as u64
    }

    /// The drain.
    pub fn drain_mut(&mut self) -> &mut D {
        &mut self.drain
    }

    /// Hands everything written so far to the drain.
    ///
    /// # Errors
    /// The drain's.
    pub fn flush(&mut self) -> Result<(), D::Error> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        if self.options.checksum {
            self.crc.update(&self.buffer);
        }
        self.drained += self.buffer.len() as u64;
        let result = self.drain.drain(&self.buffer);
        self.buffer.clear();
        result
    }

    /// Makes room for `len` bytes more.
    #[inline(always)]
    fn room(&mut self, len: usize) -> Result<(), D::Error> {
        if self.buffer.len() + len > BUFFER_BYTES {
            return self.flush();
        }
        Ok(())
    }

    /// Appends bytes as they are.
    ///
    /// # Errors
    /// The drain's.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), D::Error> {
        if bytes.len() >= DIRECT_BYTES {
            return self.raw_directly(bytes);
        }
        self.room(bytes.len())?;
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn raw_directly(&mut self, bytes: &[u8]) -> Result<(), D::Error> {
        self.flush()?;
        if self.options.checksum {
            self.crc.update(bytes);
        }
        self.drained += bytes.len() as u64;
        self.drain.drain(bytes)
    }

    /// Magic and version.
    ///
    /// # Errors
    /// The drain's.
    pub fn start(&mut self, target: Target) -> Result<(), D::Error> {
        self.raw(&target.version().magic())
    }

    /// One byte: an opcode, a type, a tag.
    ///
    /// # Errors
    /// The drain's.
    #[inline]
    pub fn byte(&mut self, byte: u8) -> Result<(), D::Error> {
        self.room(1)?;
        self.buffer.push(byte);
        Ok(())
    }

    /// The type byte of a record.
    ///
    /// # Errors
    /// The drain's.
    #[inline]
    pub fn object_type(&mut self, object: ObjectType) -> Result<(), D::Error> {
        self.byte(object.byte())
    }

    /// A length or count.
    ///
    /// # Errors
    /// The drain's.
    #[inline]
    pub fn len(&mut self, len: u64) -> Result<(), D::Error> {
        self.room(9)?;
        push_len(&mut self.buffer, len);
        Ok(())
    }

    /// A string: as an integer if it is the text of a small one, compressed if that helps, or as it
    /// is.
    ///
    /// # Errors
    /// The drain's.
    #[inline]
    pub fn string(&mut self, bytes: &[u8]) -> Result<(), D::Error> {
        if bytes.len() <= MAX_INT_FORM_CHARS {
            self.room(1 + MAX_INT_FORM_CHARS)?;
            if let Some(value) = small_int(bytes) {
                push_int_form(&mut self.buffer, value);
            } else {
                // Shorter than 64: the length is one byte.
                self.buffer.push(bytes.len() as u8);
                self.buffer.extend_from_slice(bytes);
            }
            return Ok(());
        }
        self.blob(bytes)
    }

    /// A string that is the decimal text of `value`.
    ///
    /// # Errors
    /// The drain's.
    pub fn int_string(&mut self, value: i64) -> Result<(), D::Error> {
        self.room(1 + num::MAX_INT_CHARS)?;
        match i32::try_from(value) {
            Ok(value) => push_int_form(&mut self.buffer, value),
            Err(_) => {
                self.buffer.push(num::i64_chars(value) as u8);
                num::push_i64(&mut self.buffer, value);
            }
        }
        Ok(())
    }

    /// A string that is no text of an integer, as packed encodings are.
    ///
    /// # Errors
    /// The drain's.
    #[inline]
    pub fn blob(&mut self, bytes: &[u8]) -> Result<(), D::Error> {
        let is_tried =
            bytes.len() > MIN_LZF_BYTES && self.options.compress && self.chances.is_worth(bytes.len());
        if is_tried && self.compressed(bytes)? {
            return Ok(());
        }
        self.len(bytes.len() as u64)?;
        self.raw(bytes)
    }

    /// Writes the string compressed, if that makes it smaller.
    fn compressed(&mut self, bytes: &[u8]) -> Result<bool, D::Error> {
        // Into the buffer behind room for the header, which is then written in front of it: what
        // is compressed is not copied again. Large strings make the buffer grow for a while.
        const HEADER: usize = 1 + 9 + 9;
        self.room(HEADER + bytes.len())?;
        let start = self.buffer.len();
        self.buffer.resize(start + HEADER, 0);
        let encoder = self.lzf.get_or_insert_default();
        let packed = encoder.compress(bytes, &mut self.buffer);
        self.chances.note(bytes.len(), packed.is_some());
        let Some(packed) = packed else {
            self.buffer.truncate(start);
            return Ok(false);
        };
        let mut header = Header::default();
        header.push(0xc0 | string_form::LZF);
        header.push_len(packed as u64);
        header.push_len(bytes.len() as u64);
        let header = header.bytes();
        self.buffer[start..start + header.len()].copy_from_slice(header);
        let from = start + HEADER;
        self.buffer.copy_within(from..from + packed, start + header.len());
        self.buffer.truncate(start + header.len() + packed);
        if self.buffer.len() > BUFFER_BYTES {
            self.flush()?;
            self.buffer.shrink_to(BUFFER_BYTES);
        }
        Ok(true)
    }

    /// A double, as scores are.
    ///
    /// # Errors
    /// The drain's.
    pub fn double(&mut self, value: f64) -> Result<(), D::Error> {
        self.raw(&value.to_le_bytes())
    }

    /// A score as text: of no more than 17 digits, which give the same double back.
    ///
    /// # Errors
    /// The drain's.
    pub fn text_score(&mut self, score: f64) -> Result<(), D::Error> {
        if score.is_infinite() {
            return self.byte(if score > 0.0 { text_score::PLUS_INF } else { text_score::MINUS_INF });
        }
        let mut text = Vec::with_capacity(32);
        num::push_f64_17g(&mut text, score);
        // A sign, 17 digits, a point and an exponent at most.
        self.byte(text.len() as u8)?;
        self.raw(&text)
    }

    /// A float, as inside module values.
    ///
    /// # Errors
    /// The drain's.
    pub fn float(&mut self, value: f32) -> Result<(), D::Error> {
        self.raw(&value.to_le_bytes())
    }

    /// An instant of 8 bytes.
    ///
    /// # Errors
    /// The drain's.
    pub fn ms(&mut self, at: UnixMs) -> Result<(), D::Error> {
        self.raw(&at.0.to_le_bytes())
    }

    /// A stream id of 16 bytes, as in pending lists.
    ///
    /// # Errors
    /// The drain's.
    pub fn raw_stream_id(&mut self, id: StreamId) -> Result<(), D::Error> {
        self.raw(&id.to_bytes())
    }

    /// A stream id of two lengths.
    ///
    /// # Errors
    /// The drain's.
    pub fn stream_id(&mut self, id: StreamId) -> Result<(), D::Error> {
        self.len(id.ms)?;
        self.len(id.seq)
    }

    /// An auxiliary field.
    ///
    /// # Errors
    /// The drain's.
    pub fn aux(&mut self, key: &[u8], value: &[u8]) -> Result<(), D::Error> {
        self.byte(opcode::AUX)?;
        self.string(key)?;
        self.string(value)
    }

    /// A function library.
    ///
    /// # Errors
    /// The drain's.
    pub fn function(&mut self, code: &[u8]) -> Result<(), D::Error> {
        self.byte(opcode::FUNCTION2)?;
        self.string(code)
    }

    /// Module auxiliary data, as `Sink::module_aux` gave it.
    ///
    /// # Errors
    /// The drain's.
    pub fn module_aux(&mut self, payload: &[u8]) -> Result<(), D::Error> {
        self.byte(opcode::MODULE_AUX)?;
        self.raw(payload)
    }

    /// The database of the keys that follow.
    ///
    /// # Errors
    /// The drain's.
    pub fn select_db(&mut self, db: u64) -> Result<(), D::Error> {
        self.byte(opcode::SELECT_DB)?;
        self.len(db)
    }

    /// How many keys that database has, and how many of them expire.
    ///
    /// # Errors
    /// The drain's.
    pub fn resize_db(&mut self, keys: u64, expires: u64) -> Result<(), D::Error> {
        self.byte(opcode::RESIZE_DB)?;
        self.len(keys)?;
        self.len(expires)
    }

    /// How many keys a slot has, and how many of them expire.
    ///
    /// # Errors
    /// The drain's.
    pub fn slot_info(&mut self, slot: u64, keys: u64, expires: u64) -> Result<(), D::Error> {
        self.byte(opcode::SLOT_INFO)?;
        self.len(slot)?;
        self.len(keys)?;
        self.len(expires)
    }

    /// Expiry of the key that follows.
    ///
    /// # Errors
    /// The drain's.
    #[inline]
    pub fn expire_ms(&mut self, at: UnixMs) -> Result<(), D::Error> {
        self.room(9)?;
        self.buffer.push(opcode::EXPIRE_MS);
        self.buffer.extend_from_slice(&at.0.to_le_bytes());
        Ok(())
    }

    /// Idle seconds of the key that follows.
    ///
    /// # Errors
    /// The drain's.
    pub fn idle(&mut self, seconds: u64) -> Result<(), D::Error> {
        self.byte(opcode::IDLE)?;
        self.len(seconds)
    }

    /// LFU counter of the key that follows.
    ///
    /// # Errors
    /// The drain's.
    pub fn freq(&mut self, counter: u8) -> Result<(), D::Error> {
        self.raw(&[opcode::FREQ, counter])
    }

    /// Metadata of the key that follows, as `KeyHead::meta` gave it.
    ///
    /// # Errors
    /// The drain's.
    pub fn key_meta(&mut self, meta: &[u8]) -> Result<(), D::Error> {
        self.byte(opcode::KEY_META)?;
        self.raw(meta)
    }

    /// Type and key of a record; the value follows.
    ///
    /// # Errors
    /// The drain's.
    #[inline]
    pub fn key(&mut self, object: ObjectType, key: &[u8]) -> Result<(), D::Error> {
        self.object_type(object)?;
        self.string(key)
    }

    /// The end of the file: opcode, and the checksum, zero if it was not computed. Everything is
    /// drained. Answers the drain and the checksum.
    ///
    /// # Errors
    /// The drain's.
    pub fn finish(mut self) -> Result<(D, u64), D::Error> {
        self.byte(opcode::EOF)?;
        self.flush()?;
        let checksum = if self.options.checksum { self.crc.value() } else { 0 };
        self.drain.drain(&checksum.to_le_bytes())?;
        Ok((self.drain, checksum))
    }

    /// The end of a file that was started as `begun`, and whose magic the caller then replaces by that of
    /// `target`: the checksum is already that of the file with it. Answers the drain.
    ///
    /// # Errors
    /// The drain's.
    pub fn finish_as(mut self, begun: Target, target: Target) -> Result<D, D::Error> {
        self.byte(opcode::EOF)?;
        self.flush()?;
        let [before, after] = [begun, target].map(|target| target.version().magic());
        let behind = self.drained - after.len() as u64;
        // The checksum is linear: what differs at the front changes it by the difference's own checksum.
        let change = combine(crc64(&before) ^ crc64(&after), 0, behind);
        let checksum = if self.options.checksum { self.crc.value() ^ change } else { 0 };
        self.drain.drain(&checksum.to_le_bytes())?;
        Ok(self.drain)
    }

    /// Drains everything and gives the drain back, without an end of file.
    ///
    /// # Errors
    /// The drain's.
    pub fn into_drain(mut self) -> Result<D, D::Error> {
        self.flush()?;
        Ok(self.drain)
    }
}

impl<D: Drain> std::fmt::Debug for Writer<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("offset", &self.offset()).finish_non_exhaustive()
    }
}

/// Makes a DUMP payload of a type byte and a value: appends version and checksum.
///
/// `payload` must hold only that.
pub fn dump_footer(target: Target, payload: &mut Vec<u8>) {
    payload.extend_from_slice(&target.version().number.to_le_bytes());
    let checksum = crc64(payload);
    payload.extend_from_slice(&checksum.to_le_bytes());
}

/// Appends a length.
#[inline]
pub fn push_len(out: &mut Vec<u8>, len: u64) {
    if len < 1 << 6 {
        out.push(len as u8);
        return;
    }
    let mut header = Header::default();
    header.push_len(len);
    out.extend_from_slice(header.bytes());
}

/// A few bytes before a string.
#[derive(Default)]
struct Header {
    bytes: [u8; 19],
    len: usize,
}

impl Header {
    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    fn extend(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn push_len(&mut self, len: u64) {
        if len < 1 << 6 {
            self.push(len as u8);
        } else if len < 1 << 14 {
            self.extend(&(0x4000 | len as u16).to_be_bytes());
        } else if let Ok(len) = u32::try_from(len) {
            self.push(0x80);
            self.extend(&len.to_be_bytes());
        } else {
            self.push(0x81);
            self.extend(&len.to_be_bytes());
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The integer that `text` is the exact text of, if it has a special form.
#[inline]
fn small_int(text: &[u8]) -> Option<i32> {
    // Most short strings are told apart by their first byte.
    if !matches!(text.first(), Some(b'-' | b'0'..=b'9')) {
        return None;
    }
    num::parse_i64(text).and_then(|value| i32::try_from(value).ok())
}

fn push_int_form(out: &mut Vec<u8>, value: i32) {
    if let Ok(value) = i8::try_from(value) {
        out.push(0xc0 | string_form::INT8);
        out.push(value.cast_unsigned());
    } else if let Ok(value) = i16::try_from(value) {
        out.push(0xc0 | string_form::INT16);
        out.extend_from_slice(&value.to_le_bytes());
    } else {
        out.push(0xc0 | string_form::INT32);
        out.extend_from_slice(&value.to_le_bytes());
    }
}
