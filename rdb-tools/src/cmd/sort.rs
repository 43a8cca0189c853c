//! `rdb-tools sort`: the same keys in order.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use cairn_engine::base::slot::key_slot;
use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::{Depth, KeyHead, ObjectType, Sink, ValueEvent, Version};
use clap::{Args, ValueEnum};

use super::Reading;
use crate::canon::{SubExpiry, expiry};
use crate::diff::digest::Scope;
use crate::diff::spool::{Copier, KeptAux, Twice};
use crate::drive::Stop;
use crate::output::exit;
use crate::select::{Chosen, Selected, Selection, through};
use crate::source::Source;
use crate::spill::{Sorted, Sorter, Spill};
use crate::write::{Output, refuse_same};

/// Write the keys of a data set in order
///
/// Databases stay in order; within each, keys are put in the order of --by, and in that of their names where this
/// is the same. The output has the version of the input, and values keep their bytes.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 if the output is there, 1 if the input is damaged, 2 for other trouble."
)]
pub struct Sort {
    /// What to read: an RDB file, or what else keys can be read from; - for standard input
    pub input: OsString,

    /// The RDB file to write; - for standard output
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,

    /// What decides the order
    #[arg(long, value_enum, default_value_t = By::Key)]
    pub by: By,

    /// The other way around
    #[arg(long)]
    pub reverse: bool,

    /// Replace the output if it is there
    #[arg(long)]
    pub force: bool,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub selection: Selection,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub spill: Spill,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: Reading,
}

/// What decides the order of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// The bytes of their names
    Key,
    /// How much they take in the file, smallest first; reads the input twice
    Size,
    /// When they expire, soonest first; keys that never do come last
    Ttl,
    /// Their types
    Type,
    /// Their hash slots
    Slot,
}

/// Runs the subcommand.
///
/// # Errors
/// What keeps it from reading or writing.
pub fn run(args: &Sort) -> anyhow::Result<u8> {
    refuse_same(Path::new(&args.input), &args.output)?;
    let chosen = args.selection.compile()?;
    let source = Source::open(&args.input, args.reading)?;
    let output = Output::create(&args.output, args.force)?;
    match sort(args, &chosen, source, output) {
        Ok(output) => {
            output.commit()?;
            Ok(exit::CLEAN)
        }
        Err(stop) => stop.report("rdb-tools", &args.input),
    }
}

fn sort(
    args: &Sort,
    chosen: &Chosen,
    mut source: Source,
    output: Output,
) -> Result<Output, Stop<anyhow::Error>> {
    let trouble = |error: io::Error| Stop::Sink(anyhow::Error::new(error).context("sorting"));
    let mut sizes = None;
    if args.by == By::Size {
        let mut twice = Twice::new(source, args.reading, &args.spill)?;
        let mut measured = Sizes { sorter: Sorter::new(&args.spill.part(8)), at: 0, bytes: 0 };
        let mut first = twice.open().map_err(Stop::Sink)?;
        let read = first.read(&mut Selected::new(chosen, &mut measured)).map_err(through);
        read.map_err(|stop| stop.map_sink(Into::into))?;
        sizes = Some(measured.sorter.finish().map_err(trouble)?);
        source = twice.open().map_err(Stop::Sink)?;
        let sorted = read_keys(args, chosen, &mut source, output, sizes)?;
        return sorted.write().map_err(|error| Stop::Sink(anyhow::Error::new(error).context("writing")));
    }
    let sorted = read_keys(args, chosen, &mut source, output, sizes)?;
    sorted.write().map_err(|error| Stop::Sink(anyhow::Error::new(error).context("writing")))
}

fn read_keys(
    args: &Sort,
    chosen: &Chosen,
    source: &mut Source,
    output: Output,
    sizes: Option<Sorted>,
) -> Result<Keys, Stop<anyhow::Error>> {
    let mut keys = Keys {
        out: Copier::new(output, KeptAux::All),
        by: args.by,
        reverse: args.reverse,
        sizes,
        sorter: Sorter::new(&args.spill.part(2)),
        place: Vec::new(),
        ordinal: 0,
        pieces: 0,
        buffer: Vec::new(),
        is_open: false,
    };
    let read = source.read(&mut Selected::new(chosen, &mut keys)).map_err(through);
    read.map_err(|stop| stop.map_sink(Into::into))?;
    Ok(keys)
}

/// How many bytes the values of keys have, by where they are.
struct Sizes {
    sorter: Sorter,
    at: u64,
    bytes: u64,
}

impl Sink for Sizes {
    type Error = io::Error;

    fn key(&mut self, head: &KeyHead<'_>) -> io::Result<Depth> {
        (self.at, self.bytes) = (head.at, 0);
        Ok(Depth::Raw)
    }

    fn value(&mut self, event: ValueEvent<'_>) -> io::Result<()> {
        if let ValueEvent::Raw(piece) = event {
            self.bytes += piece.len() as u64;
        }
        Ok(())
    }

    fn end_key(&mut self, _end: u64) -> io::Result<()> {
        self.sorter.push(&self.at.to_be_bytes(), &self.bytes.to_be_bytes())
    }
}

/// Values are sorted in pieces of this size, so that none has to be in memory as a whole.
const PIECE_BYTES: usize = 64 << 10;

/// What a piece is: its first byte.
const HEAD: u8 = 0;
const VALUE: u8 = 1;
const AUX: u8 = 2;

/// Takes keys in any order; all else goes to the output at once.
struct Keys {
    out: Copier<Output>,
    by: By,
    reverse: bool,
    sizes: Option<Sorted>,
    sorter: Sorter,
    /// Where the key that is open belongs, then the number of a piece.
    place: Vec<u8>,
    ordinal: u64,
    pieces: u64,
    buffer: Vec<u8>,
    is_open: bool,
}

/// Bytes that sort as `bytes` do, and none of which is the start of another's.
fn push_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        out.push(*byte);
        if *byte == 0 {
            out.push(u8::MAX);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

impl Keys {
    fn set_place(&mut self, head: &KeyHead<'_>) -> io::Result<()> {
        self.place.clear();
        Scope::Db(head.db).push(&mut self.place);
        let from = self.place.len();
        match self.by {
            By::Key => {}
            By::Size => {
                let size = self.size_at(head.at)?;
                self.place.extend_from_slice(&size.to_be_bytes());
            }
            By::Ttl => {
                let at = expiry(head).map_or(i64::MAX, |at| at.0);
                self.place.extend_from_slice(&(at.cast_unsigned() ^ 1 << 63).to_be_bytes());
            }
            By::Type => self.place.push(head.object.family() as u8),
            By::Slot => self.place.extend_from_slice(&key_slot(head.key).to_be_bytes()),
        }
        push_escaped(&mut self.place, head.key);
        if self.reverse {
            self.place[from..].iter_mut().for_each(|byte| *byte = !*byte);
        }
        // The same key twice, which is damage, stays two keys.
        self.place.extend_from_slice(&self.ordinal.to_be_bytes());
        self.ordinal += 1;
        self.pieces = 0;
        Ok(())
    }

    /// The size that the first pass has found.
    fn size_at(&mut self, at: u64) -> io::Result<u64> {
        let Some(sizes) = &mut self.sizes else { return Ok(0) };
        let at = at.to_be_bytes();
        while sizes.current().is_some_and(|record| record.key < &at[..]) {
            sizes.advance()?;
        }
        let size = sizes.current_of(&at).and_then(|record| record.payload.first_chunk().copied());
        Ok(size.map_or(0, u64::from_be_bytes))
    }

    fn push_piece(&mut self, kind: u8, payload: &[u8]) -> io::Result<()> {
        let len = self.place.len();
        self.place.extend_from_slice(&self.pieces.to_be_bytes());
        self.pieces += 1;
        let tagged = [&[kind], payload].concat();
        let result = self.sorter.push(&self.place, &tagged);
        self.place.truncate(len);
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let buffer = std::mem::take(&mut self.buffer);
        let result = self.push_piece(VALUE, &buffer);
        self.buffer = buffer;
        self.buffer.clear();
        result
    }

    /// Writes the keys behind all that has been written.
    fn write(self) -> io::Result<Output> {
        let mut out = self.out;
        let mut sorted = self.sorter.finish()?;
        while let Some(record) = sorted.current() {
            let (kind, payload) = record.payload.split_first().unwrap_or((&VALUE, &[]));
            match *kind {
                HEAD => {
                    let damaged =
                        || io::Error::new(io::ErrorKind::InvalidData, "a record of a temporary file");
                    let head = Head::read(payload).ok_or_else(damaged)?;
                    out.key(&head.as_key())?;
                }
                AUX => {
                    let mut rest = payload;
                    if let Some(key) = crate::canon::take_framed(&mut rest) {
                        out.aux(key, rest, 0)?;
                    }
                }
                _ => out.value(ValueEvent::Raw(payload))?,
            }
            sorted.advance()?;
        }
        out.finish()
    }
}

/// What a record has before its value.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    db: u64,
    type_byte: u8,
    expire_at: Option<UnixMs>,
    idle_s: Option<u64>,
    freq: Option<u8>,
    no_evict: bool,
    meta: Option<Vec<u8>>,
    key: Vec<u8>,
}

impl Head {
    fn push(head: &KeyHead<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(&head.db.to_be_bytes());
        out.push(head.type_byte);
        let flags = [head.expire_at.is_some(), head.idle_s.is_some(), head.freq.is_some(), head.no_evict];
        let flags = flags.iter().enumerate().fold(0, |all, (i, flag)| all | u8::from(*flag) << i);
        out.push(flags | u8::from(head.meta.is_some()) << 4);
        out.extend_from_slice(&head.expire_at.unwrap_or(UnixMs(0)).0.to_be_bytes());
        out.extend_from_slice(&head.idle_s.unwrap_or(0).to_be_bytes());
        out.push(head.freq.unwrap_or(0));
        crate::canon::push_framed(out, head.meta.unwrap_or_default());
        out.extend_from_slice(head.key);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (db, bytes) = bytes.split_first_chunk()?;
        let ([type_byte, flags], bytes) = bytes.split_first_chunk()?;
        let (expire_at, bytes) = bytes.split_first_chunk()?;
        let (idle_s, bytes) = bytes.split_first_chunk()?;
        let (freq, mut bytes) = bytes.split_first()?;
        let meta = crate::canon::take_framed(&mut bytes)?;
        let has = |i: u8| flags & 1 << i != 0;
        Some(Self {
            db: u64::from_be_bytes(*db),
            type_byte: *type_byte,
            expire_at: has(0).then(|| UnixMs(i64::from_be_bytes(*expire_at))),
            idle_s: has(1).then(|| u64::from_be_bytes(*idle_s)),
            freq: has(2).then_some(*freq),
            no_evict: has(3),
            meta: has(4).then(|| meta.to_vec()),
            key: bytes.to_vec(),
        })
    }

    fn as_key(&self) -> KeyHead<'_> {
        KeyHead {
            at: 0,
            db: self.db,
            key: &self.key,
            // Copying goes by the byte.
            object: ObjectType::String,
            type_byte: self.type_byte,
            expire_at: self.expire_at,
            idle_s: self.idle_s,
            freq: self.freq,
            meta: self.meta.as_deref(),
            no_evict: self.no_evict,
        }
    }
}

impl Sink for Keys {
    type Error = io::Error;

    fn start(&mut self, version: Version) -> io::Result<()> {
        self.out.start(version)
    }

    fn aux(&mut self, key: &[u8], value: &[u8], end: u64) -> io::Result<()> {
        if !SubExpiry::is_one(key) {
            return self.out.aux(key, value, end);
        }
        if !self.is_open {
            return Ok(());
        }
        let mut framed = Vec::new();
        crate::canon::push_framed(&mut framed, key);
        framed.extend_from_slice(value);
        self.push_piece(AUX, &framed)
    }

    fn function(&mut self, at: u64, code: &[u8]) -> io::Result<()> {
        self.out.function(at, code)
    }

    fn module_aux(&mut self, at: u64, id: u64, payload: &[u8]) -> io::Result<()> {
        self.out.module_aux(at, id, payload)
    }

    fn slot_import(&mut self, job: &[u8], ranges: &[(u64, u64)]) -> io::Result<()> {
        self.out.slot_import(job, ranges)
    }

    fn template(&mut self, id: u64, fields: &[Vec<u8>]) -> io::Result<()> {
        self.out.template(id, fields)
    }

    fn update(&mut self, at: u64, argv: &[&[u8]]) -> io::Result<()> {
        self.out.update(at, argv)
    }

    fn key(&mut self, head: &KeyHead<'_>) -> io::Result<Depth> {
        self.is_open = true;
        self.set_place(head)?;
        let mut bytes = Vec::new();
        Head::push(head, &mut bytes);
        self.push_piece(HEAD, &bytes)?;
        Ok(Depth::Raw)
    }

    fn value(&mut self, event: ValueEvent<'_>) -> io::Result<()> {
        if let ValueEvent::Raw(mut piece) = event {
            while !piece.is_empty() {
                let room = PIECE_BYTES - self.buffer.len();
                let (now, later) = piece.split_at(room.min(piece.len()));
                self.buffer.extend_from_slice(now);
                piece = later;
                if self.buffer.len() == PIECE_BYTES {
                    self.flush()?;
                }
            }
        }
        Ok(())
    }

    fn end_key(&mut self, _end: u64) -> io::Result<()> {
        self.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::{Head, push_escaped};
    use cairn_engine::base::time::UnixMs;

    #[test]
    fn escaped_names_sort_as_they_do_and_stay_apart() {
        let names: [&[u8]; 7] = [b"", b"\0", b"\0\0", b"\0a", b"a", b"a\0", b"ab"];
        let escaped = names.map(|name| {
            let mut out = Vec::new();
            push_escaped(&mut out, name);
            out
        });
        assert!(escaped.is_sorted());
        for (i, one) in escaped.iter().enumerate() {
            assert!(escaped.iter().enumerate().all(|(j, other)| i == j || !other.starts_with(one)));
        }
    }

    #[test]
    fn heads_come_back() {
        for (expire_at, idle_s, freq, meta) in [
            (None, None, None, None),
            (Some(UnixMs(-5)), Some(7), None, Some(b"meta".to_vec())),
            (Some(UnixMs(i64::MAX)), None, Some(255), None),
        ] {
            let head = Head {
                db: 3,
                type_byte: 21,
                expire_at,
                idle_s,
                freq,
                no_evict: freq.is_some(),
                meta,
                key: b"k\0y".to_vec(),
            };
            let mut bytes = Vec::new();
            Head::push(&head.as_key(), &mut bytes);
            assert_eq!(Head::read(&bytes), Some(head));
        }
    }
}
