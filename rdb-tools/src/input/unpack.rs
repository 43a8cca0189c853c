//! Packed input: gzip, zstd, LZ4 frames, and the envelope that Valkey 9.2 wraps whole RDB files in.
//!
//! Told by the first bytes, never by a name. Members and frames one behind the other are one input, as
//! the tools that write them have it. The envelope (`VCS`, version 1, codec, 0, kind of contents, then one
//! frame) ends with its frame: what follows is given as it is, because commands may follow an RDB
//! file. What comes out is handed on as it is asked for, so no length that the input declares
//! makes room for anything: buffers are those of the decoders, at most `MAX_WINDOW_LOG` bits of window.
//! Facts: RFC 1952, RFC 8878, the LZ4 frame format, valkey `docs` on compressed streams (PR 3531, 3798).

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use lz4_flex::frame::FrameDecoder;

use super::Damage;

/// Bytes that tell every form from the others.
const HEAD_BYTES: usize = 8;
/// Packed inputs in packed inputs: a file that Valkey wrote may lie in an archive.
const MAX_LAYERS: usize = 4;
/// What is read of a packed input at once.
const READ_BYTES: usize = 128 << 10;
/// What `zstd` itself accepts without being asked for more: 128 MiB, touched only as far as a frame fills
/// it; its levels up to 19 need 8 MiB.
const MAX_WINDOW_LOG: u32 = 27;

/// Where bytes come from.
type Bytes = Box<dyn Read + Send>;

/// How an input is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// RFC 1952.
    Gzip,
    /// RFC 8878, also where a skippable frame comes first.
    Zstd,
    /// LZ4 frames, current or legacy.
    Lz4,
    /// Valkey's envelope.
    Envelope,
}

/// The envelope's first bytes, and what stands in the four behind them.
const ENVELOPE: &[u8] = b"VCS";
const ENVELOPE_BYTES: usize = 7;
const ENVELOPE_VERSION: u8 = 1;
const ENVELOPE_LZ4: u8 = 1;
const ENVELOPE_ZSTD: u8 = 2;
const ENVELOPE_HOLDS_RDB: u8 = 1;

const LZ4_MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
const LZ4_LEGACY_MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

fn is_skippable(head: &[u8]) -> bool {
    matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

impl Form {
    /// How an input that starts with `head` is packed; `None` if it is not.
    #[must_use]
    pub fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            _ if head.starts_with(ENVELOPE) => Some(Self::Envelope),
            _ if head.starts_with(&LZ4_MAGIC) || head.starts_with(&LZ4_LEGACY_MAGIC) => Some(Self::Lz4),
            // LZ4 has skippable frames too, but nobody starts a file with them.
            _ if head.starts_with(&ZSTD_MAGIC) || is_skippable(head) => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Envelope => "Valkey's envelope (VCS)",
        }
    }
}

/// A reader whose first bytes can be looked at.
struct Front {
    head: Vec<u8>,
    at: usize,
    rest: BufReader<Bytes>,
    /// What came instead of more bytes when they were looked at.
    error: Option<io::Error>,
}

impl Front {
    fn new(bytes: Bytes) -> Self {
        let rest = BufReader::with_capacity(READ_BYTES, bytes);
        Self { head: Vec::new(), at: 0, rest, error: None }
    }

    /// The next bytes: as many as wanted, less only before the end or an error, which reading will tell.
    fn peek(&mut self, wanted: usize) -> &[u8] {
        self.head.drain(..self.at);
        self.at = 0;
        let missing = wanted.saturating_sub(self.head.len());
        if self.error.is_none() {
            self.error = (&mut self.rest).take(missing as u64).read_to_end(&mut self.head).err();
        }
        &self.head[..wanted.min(self.head.len())]
    }

    /// Steps over `n` bytes; answers whether there were as many.
    fn skip(&mut self, n: u64) -> io::Result<bool> {
        Ok(io::copy(&mut self.take(n), &mut io::sink())? == n)
    }
}

impl Read for Front {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.at == self.head.len() {
            return self.error.take().map_or_else(|| self.rest.read(buf), Err);
        }
        let n = self.fill_buf()?.read(buf)?;
        self.consume(n);
        Ok(n)
    }
}

impl BufRead for Front {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at < self.head.len() {
            return Ok(&self.head[self.at..]);
        }
        match self.error.take() {
            Some(error) => Err(error),
            None => self.rest.fill_buf(),
        }
    }

    fn consume(&mut self, n: usize) {
        if self.at == self.head.len() {
            self.rest.consume(n);
        } else {
            self.at += n;
        }
    }
}

/// Takes every layer of packing off. Answers the outermost form, `None` if there was none, and what is
/// inside.
///
/// # Errors
/// What reading says; [`Damage`] for an envelope that this build does not know, or for layers without end.
pub fn unpack(bytes: Bytes) -> io::Result<(Option<Form>, Bytes)> {
    let mut outermost = None;
    let mut front = Front::new(bytes);
    for _ in 0..=MAX_LAYERS {
        let Some(form) = Form::of(front.peek(HEAD_BYTES)) else {
            return Ok((outermost, Box::new(front)));
        };
        outermost = outermost.or(Some(form));
        front = Front::new(Box::new(Unpacked::new(form, front)?));
    }
    let what = format!("packed more than {MAX_LAYERS} times over");
    Err(io::Error::new(io::ErrorKind::InvalidData, Damage { form: "packed input", at: 0, what }))
}

/// What comes out of one layer.
struct Unpacked {
    form: Form,
    inner: Layer,
    /// Bytes that have come out.
    at: u64,
}

enum Layer {
    Gzip(Box<MultiGzDecoder<Front>>),
    Zstd(zstd::Decoder<'static, Front>),
    Lz4(Lz4),
    /// One frame and then the rest as it is.
    ZstdThenRest(zstd::Decoder<'static, Front>),
    Lz4ThenRest(Lz4),
    Rest(Front),
    Ended,
}

impl Unpacked {
    fn new(form: Form, mut front: Front) -> io::Result<Self> {
        let inner = match form {
            Form::Gzip => Layer::Gzip(Box::new(MultiGzDecoder::new(front))),
            Form::Zstd => Layer::Zstd(zstd_decoder(front)?),
            Form::Lz4 => Layer::Lz4(Lz4::new(front)),
            Form::Envelope => {
                let envelope = front.peek(ENVELOPE_BYTES).to_vec();
                let codec = match codec_of(&envelope) {
                    Ok(codec) => codec,
                    Err(what) => return Err(damaged(form, 0, what)),
                };
                front.consume(ENVELOPE_BYTES);
                match codec {
                    Form::Lz4 => Layer::Lz4ThenRest(Lz4::new(front)),
                    _ => Layer::ZstdThenRest(zstd_decoder(front)?.single_frame()),
                }
            }
        };
        Ok(Self { form, inner, at: 0 })
    }

    fn read_layer(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let n = match &mut self.inner {
                Layer::Gzip(gzip) => gzip.read(buf)?,
                Layer::Zstd(zstd) | Layer::ZstdThenRest(zstd) => zstd.read(buf)?,
                Layer::Lz4(lz4) => lz4.read(buf)?,
                Layer::Lz4ThenRest(lz4) => lz4.read_frame(buf)?,
                Layer::Rest(rest) => rest.read(buf)?,
                Layer::Ended => 0,
            };
            if n > 0 {
                return Ok(n);
            }
            self.inner = match std::mem::replace(&mut self.inner, Layer::Ended) {
                Layer::ZstdThenRest(zstd) => Layer::Rest(zstd.finish()),
                Layer::Lz4ThenRest(lz4) => Layer::Rest(lz4.finish()),
                _ => return Ok(0),
            };
        }
    }
}

/// The codec of an envelope.
fn codec_of(envelope: &[u8]) -> Result<Form, String> {
    let &[_, _, _, version, codec, reserved, holds] = envelope else {
        return Err("ends early: the rest is missing".to_owned());
    };
    if version != ENVELOPE_VERSION || reserved != 0 {
        return Err(format!("version {version} (flags {reserved}) is newer than this tool"));
    }
    if holds != ENVELOPE_HOLDS_RDB {
        return Err(format!("holds stream kind {holds}, not an RDB file"));
    }
    match codec {
        ENVELOPE_LZ4 => Ok(Form::Lz4),
        ENVELOPE_ZSTD => Ok(Form::Zstd),
        other => Err(format!("codec {other} is unknown")),
    }
}

fn zstd_decoder(front: Front) -> io::Result<zstd::Decoder<'static, Front>> {
    let mut decoder = zstd::Decoder::with_buffer(front)?;
    decoder.window_log_max(MAX_WINDOW_LOG)?;
    Ok(decoder)
}

fn damaged(form: Form, at: u64, what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, Damage { form: form.name(), at, what })
}

impl Read for Unpacked {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        match self.read_layer(buf) {
            Ok(n) => {
                self.at += n as u64;
                Ok(n)
            }
            // The system's own errors have a number, and an outer layer has told its own.
            Err(error) if error.raw_os_error().is_some() || super::damage(&error).is_some() => Err(error),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let what = match error.kind() {
                    io::ErrorKind::UnexpectedEof => "ends early: the rest is missing".to_owned(),
                    _ => error.to_string(),
                };
                self.inner = Layer::Ended;
                Err(damaged(self.form, self.at, what))
            }
        }
    }
}

/// LZ4 frames, one behind the other, with skippable ones among them.
struct Lz4 {
    frame: Option<Frame>,
    /// Between frames.
    front: Option<Front>,
}

struct Frame {
    decoder: FrameDecoder<Watched>,
    /// Its end is the end of the input.
    is_legacy: bool,
}

/// Notices when a decoder has run into the end. `lz4_flex` takes a missing block for the end of a frame.
struct Watched {
    front: Front,
    read: u64,
    has_ended: bool,
}

impl Read for Watched {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.front.read(buf)?;
        self.read += n as u64;
        self.has_ended |= n == 0 && !buf.is_empty();
        Ok(n)
    }
}

impl Lz4 {
    fn new(front: Front) -> Self {
        Self { frame: None, front: Some(front) }
    }

    /// Reads from the frame at hand, or from the first one; `Ok(0)` at its end.
    fn read_frame(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.begin_frame();
        let Some(frame) = &mut self.frame else { return Ok(0) };
        let before = frame.decoder.get_ref().read;
        let n = frame.decoder.read(buf)?;
        let watched = frame.decoder.get_ref();
        let is_cut = watched.has_ended && !(frame.is_legacy && watched.read == before);
        if n == 0 && is_cut {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(n)
    }

    fn begin_frame(&mut self) {
        if let Some(mut front) = self.front.take() {
            let is_legacy = front.peek(4) == LZ4_LEGACY_MAGIC;
            let watched = Watched { front, read: 0, has_ended: false };
            self.frame = Some(Frame { decoder: FrameDecoder::new(watched), is_legacy });
        }
    }

    /// Reads from all frames.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.frame.is_some() {
                let n = self.read_frame(buf)?;
                if n > 0 {
                    return Ok(n);
                }
                self.front = self.frame.take().map(|frame| frame.decoder.into_inner().front);
            }
            let Some(front) = &mut self.front else { return Ok(0) };
            if front.peek(HEAD_BYTES).is_empty() && front.error.is_none() {
                return Ok(0);
            }
            let head = front.peek(HEAD_BYTES);
            if !is_skippable(head) {
                self.begin_frame();
                continue;
            }
            let Some(len) = head.get(4..8) else { return Err(io::ErrorKind::UnexpectedEof.into()) };
            let len = u32::from_le_bytes([len[0], len[1], len[2], len[3]]);
            if !front.skip(HEAD_BYTES as u64 + u64::from(len))? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// What follows the frame.
    fn finish(self) -> Front {
        match (self.frame, self.front) {
            (Some(frame), _) => frame.decoder.into_inner().front,
            (None, Some(front)) => front,
            (None, None) => Front::new(Box::new(io::empty())),
        }
    }
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;
