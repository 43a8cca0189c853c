//! The facts of a key's value, its size included, from its undecoded bytes as they come.
//!
//! A value is read at depth `Raw`, which tells how many bytes it has in the file, and decoded here at depth
//! `Packed`, from the same bytes, which tells the rest.

use std::convert::Infallible;

use cairn_engine::codec::rdb::{
    Depth, Error, Failure, KeyHead, Sink, State, Templates, ValueDecoder, ValueEvent, Version,
};

use crate::erased;
use crate::facts::Facts;

/// A decoder of one value after another with what it has not consumed yet.
#[derive(Debug)]
pub(crate) struct Feed {
    decoder: ValueDecoder,
    rest: Vec<u8>,
    is_done: bool,
    is_raw: bool,
}

impl Feed {
    pub(crate) fn new(version: Version) -> Self {
        Self { decoder: ValueDecoder::new(version), rest: Vec::new(), is_done: true, is_raw: false }
    }

    pub(crate) fn set_templates(&mut self, templates: &Templates) {
        self.decoder.set_templates(templates);
    }

    pub(crate) fn add_template(&mut self, id: u64, fields: &[Vec<u8>]) {
        self.decoder.add_template(id, fields);
    }

    /// A value follows. Offsets in errors count from its first byte.
    pub(crate) fn begin(&mut self, type_byte: u8, depth: Depth) -> Result<(), Error> {
        self.rest.clear();
        self.is_raw = depth == Depth::Raw;
        self.is_done = self.is_raw || depth == Depth::Skip;
        self.decoder.begin(type_byte, depth, 0)
    }

    /// Whether the value has come to its end.
    pub(crate) fn is_done(&self) -> bool {
        self.is_done
    }

    pub(crate) fn push<S: Sink>(&mut self, piece: &[u8], sink: &mut S) -> Result<(), Failure<S::Error>> {
        if self.is_raw && !piece.is_empty() {
            return sink.value(ValueEvent::Raw(piece)).map_err(Failure::Sink);
        }
        if self.is_done {
            return Ok(());
        }
        let from_rest = !self.rest.is_empty();
        if from_rest {
            self.rest.extend_from_slice(piece);
        }
        let input = if from_rest { &self.rest[..] } else { piece };
        let progress = erased::advance_value(&mut self.decoder, input, sink)?;
        match from_rest {
            true => drop(self.rest.drain(..progress.consumed)),
            false => self.rest.extend_from_slice(&piece[progress.consumed..]),
        }
        self.is_done = progress.state == State::Done;
        Ok(())
    }
}

/// Takes the facts out of the events of a value.
struct Looker<'f>(&'f mut Facts);

impl Sink for Looker<'_> {
    type Error = Infallible;

    fn key(&mut self, _head: &KeyHead<'_>) -> Result<Depth, Infallible> {
        Ok(Depth::Packed)
    }

    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), Infallible> {
        self.0.see(&event);
        Ok(())
    }
}

/// Gathers the facts of one key after another.
#[derive(Debug)]
pub(crate) struct Gauge {
    version: Version,
    feed: Feed,
    facts: Option<Facts>,
    bytes: u64,
    fault: Option<Error>,
}

impl Gauge {
    pub(crate) fn new(version: Version) -> Self {
        Self { version, feed: Feed::new(version), facts: None, bytes: 0, fault: None }
    }

    pub(crate) fn set_templates(&mut self, templates: &Templates) {
        self.feed.set_templates(templates);
    }

    pub(crate) fn add_template(&mut self, id: u64, fields: &[Vec<u8>]) {
        self.feed.add_template(id, fields);
    }

    pub(crate) fn begin(&mut self, head: &KeyHead<'_>) {
        self.bytes = 0;
        self.facts = Some(Facts::of(head, self.version));
        self.fault = self.feed.begin(head.type_byte, Depth::Packed).err();
    }

    /// Takes a piece of the value; its insides are looked at if `looks_inside`.
    pub(crate) fn push(&mut self, piece: &[u8], looks_inside: bool) {
        self.bytes += piece.len() as u64;
        if let (Some(facts), None, true) = (&mut self.facts, &self.fault, looks_inside) {
            match self.feed.push(piece, &mut Looker(facts)) {
                Ok(()) => {}
                Err(Failure::Format(error)) => self.fault = Some(error),
                Err(Failure::Sink(never)) => match never {},
            }
        }
    }

    /// The value has ended.
    pub(crate) fn end(&mut self) {
        if let Some(facts) = &mut self.facts {
            facts.end();
        }
    }

    /// What is known of the value; `None` before the first.
    pub(crate) fn facts(&self) -> Option<&Facts> {
        self.facts.as_ref()
    }

    /// Bytes of the value that have come.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the insides of the value are wrong.
    pub(crate) fn is_faulty(&self) -> bool {
        self.fault.is_some()
    }

    /// What is wrong inside the value, which ended before the offset `end` of the file.
    pub(crate) fn take_fault(&mut self, db: u64, key: &[u8], end: u64) -> Option<Error> {
        let fault = self.fault.take()?;
        Some(placed(fault, end.saturating_sub(self.bytes), db, key))
    }
}

/// An error of a value that begins at `start`, with its place in the file.
pub(crate) fn placed(error: Error, start: u64, db: u64, key: &[u8]) -> Error {
    Error { at: start.saturating_add(error.at), db, key: Some(key.to_vec()), ..error }
}
