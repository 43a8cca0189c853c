//! Where the readable records go: a new RDB file of their own version, JSON lines, or nowhere.
//!
//! Records are copied as they are, with all that stands before them; sizes that a file declares ahead are left
//! out, because they would be wrong.

use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;

use cairn_engine::codec::rdb::{
    Decoder, Drain, Failure, Options as DecoderOptions, Place, State, Templates, Version, Writer,
    WriterOptions, opcode,
};

use super::bytes::Bytes;
use crate::jsonl::{self, Jsonl};

/// What is copied at a time.
const PIECE_BYTES: usize = 1 << 20;

/// The form of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// An RDB file.
    Rdb,
    /// A JSON object a line for each key.
    Jsonl,
}

struct IntoWrite<'w>(&'w mut (dyn Write + 'w));

impl Drain for IntoWrite<'_> {
    type Error = io::Error;
    fn drain(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }
}

/// An output being written.
pub(super) struct Out<'w> {
    version: Version,
    db: Option<u64>,
    inner: Inner<'w>,
}

enum Inner<'w> {
    Nothing,
    Rdb(Box<Writer<IntoWrite<'w>>>),
    Jsonl(Box<Jsonl<&'w mut (dyn Write + 'w)>>),
}

impl<'w> Out<'w> {
    pub(super) fn nothing(version: Version) -> Self {
        Self { version, db: None, inner: Inner::Nothing }
    }

    pub(super) fn new(version: Version, form: Form, to: &'w mut (dyn Write + 'w)) -> io::Result<Self> {
        let inner = match form {
            Form::Rdb => {
                let mut writer = Writer::new(IntoWrite(to), WriterOptions::default());
                writer.raw(&version.magic())?;
                Inner::Rdb(Box::new(writer))
            }
            Form::Jsonl => Inner::Jsonl(Box::new(Jsonl::new(to, jsonl::Options::default()))),
        };
        Ok(Self { version, db: None, inner })
    }

    /// Writes the unit that lies in a range: a record of `db`, or what belongs to no database.
    pub(super) fn unit(
        &mut self,
        bytes: &Bytes<'_>,
        range: Range<usize>,
        db: Option<u64>,
        templates: &Arc<Templates>,
    ) -> io::Result<()> {
        self.select(db)?;
        match &mut self.inner {
            Inner::Nothing => Ok(()),
            Inner::Rdb(writer) => {
                let mut at = range.start;
                while at < range.end {
                    let until = (at + PIECE_BYTES).min(range.end);
                    writer.raw(&bytes.get(at..until))?;
                    at = until;
                }
                Ok(())
            }
            Inner::Jsonl(sink) => {
                let place = Place {
                    version: self.version,
                    offset: range.start as u64,
                    db: db.unwrap_or(0),
                    templates: Arc::clone(templates),
                };
                decode(bytes, range, &place, &mut **sink)
            }
        }
    }

    /// Writes a record that is not in the file as it is.
    pub(super) fn made(&mut self, record: &[u8], db: u64, templates: &Arc<Templates>) -> io::Result<()> {
        self.unit(&Bytes::of_slice(record), 0..record.len(), Some(db), templates)
    }

    fn select(&mut self, db: Option<u64>) -> io::Result<()> {
        if let (Some(db), Inner::Rdb(writer)) = (db, &mut self.inner)
            && self.db != Some(db)
        {
            self.db = Some(db);
            writer.select_db(db)?;
        }
        Ok(())
    }

    /// Ends the output.
    pub(super) fn finish(self) -> io::Result<()> {
        match self.inner {
            Inner::Nothing => Ok(()),
            Inner::Rdb(writer) if self.version.has_checksum() => {
                let (drain, _) = writer.finish()?;
                drain.0.flush()
            }
            Inner::Rdb(mut writer) => {
                writer.byte(opcode::EOF)?;
                writer.into_drain()?.0.flush()
            }
            Inner::Jsonl(mut sink) => sink.finish(),
        }
    }
}

/// Decodes what was decoded before.
fn decode<W: Write>(
    bytes: &Bytes<'_>,
    range: Range<usize>,
    place: &Place,
    sink: &mut Jsonl<W>,
) -> io::Result<()> {
    let mut decoder = Decoder::resume(DecoderOptions::default(), place);
    let (mut at, mut window) = (range.start, PIECE_BYTES);
    while at < range.end {
        let until = at.saturating_add(window).min(range.end);
        match decoder.advance(&bytes.get(at..until), false, sink) {
            Err(Failure::Sink(error)) => return Err(error),
            Err(Failure::Format(error)) => return Err(io::Error::other(error)),
            Ok(step) => {
                at += step.consumed;
                match step.state {
                    State::Done => break,
                    State::More { .. } if until == range.end => break,
                    State::More { at_least } => {
                        window = usize::try_from(at_least).unwrap_or(usize::MAX).max(PIECE_BYTES);
                    }
                }
            }
        }
    }
    Ok(())
}
