//! A sink that writes down all it is told, and ways to feed a decoder.

use crate::base::crc64::crc64;
use crate::codec::rdb::{
    Decoder, Depth, Failure, KeyHead, Options, Progress, Sink, State, Trailer, ValueEvent, Version,
};

/// Writes down every event as text; pieces of a raw value are joined.
#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) depth: Depth,
    pub(super) log: Vec<String>,
    raw: Vec<u8>,
}

impl Recorder {
    pub(super) fn new(depth: Depth) -> Self {
        Self { depth, log: Vec::new(), raw: Vec::new() }
    }

    fn note(&mut self, text: String) -> Result<(), std::convert::Infallible> {
        self.log.push(text);
        Ok(())
    }
}

impl Sink for Recorder {
    type Error = std::convert::Infallible;

    fn start(&mut self, version: Version) -> Result<(), Self::Error> {
        self.note(format!("{version:?}"))
    }
    fn aux(&mut self, key: &[u8], value: &[u8], end: u64) -> Result<(), Self::Error> {
        self.note(format!("aux {} {} {end}", key.escape_ascii(), value.escape_ascii()))
    }
    fn select_db(&mut self, db: u64, end: u64) -> Result<(), Self::Error> {
        self.note(format!("db {db} {end}"))
    }
    fn resize_db(&mut self, keys: u64, expires: u64) -> Result<(), Self::Error> {
        self.note(format!("resize {keys} {expires}"))
    }
    fn slot_info(&mut self, slot: u64, keys: u64, expires: u64) -> Result<(), Self::Error> {
        self.note(format!("slot {slot} {keys} {expires}"))
    }
    fn slot_import(&mut self, job: &[u8], ranges: &[(u64, u64)]) -> Result<(), Self::Error> {
        self.note(format!("import {} {ranges:?}", job.escape_ascii()))
    }
    fn function(&mut self, at: u64, code: &[u8]) -> Result<(), Self::Error> {
        self.note(format!("function {at} {}", code.escape_ascii()))
    }
    fn module_aux(&mut self, at: u64, id: u64, payload: &[u8]) -> Result<(), Self::Error> {
        self.note(format!("module aux {at} {id} {payload:?}"))
    }
    fn template(&mut self, id: u64, fields: &[Vec<u8>]) -> Result<(), Self::Error> {
        self.note(format!("template {id} {fields:?}"))
    }
    fn update(&mut self, at: u64, argv: &[&[u8]]) -> Result<(), Self::Error> {
        self.note(format!("update {at} {argv:?}"))
    }
    fn key(&mut self, head: &KeyHead<'_>) -> Result<Depth, Self::Error> {
        self.note(format!("{head:?}"))?;
        Ok(self.depth)
    }
    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), Self::Error> {
        if let ValueEvent::Raw(piece) = event {
            self.raw.extend_from_slice(piece);
            return Ok(());
        }
        self.note(show(&event))
    }
    fn end_key(&mut self, end: u64) -> Result<(), Self::Error> {
        if self.depth == Depth::Raw {
            let raw = std::mem::take(&mut self.raw);
            self.note(format!("raw {}", raw.escape_ascii()))?;
        }
        self.note(format!("end of key {end}"))
    }
    fn end(&mut self, trailer: Trailer) -> Result<(), Self::Error> {
        self.note(format!("{trailer:?}"))
    }
}

/// The event in short; byte strings as text.
pub(super) fn show(event: &ValueEvent<'_>) -> String {
    match event {
        ValueEvent::Element(element) => format!("- {}", element.escape_ascii()),
        ValueEvent::String { bytes, form } => format!("{form:?} {}", bytes.escape_ascii()),
        ValueEvent::Field { field, value, expire_at } => {
            let expiry = expire_at.map(|at| format!(" until {}", at.0)).unwrap_or_default();
            format!("{} = {}{expiry}", field.escape_ascii(), value.escape_ascii())
        }
        ValueEvent::Member { member, score } => format!("{} @ {score}", member.escape_ascii()),
        ValueEvent::ArrayElement { index, value } => format!("[{index}] {}", value.escape_ascii()),
        other => format!("{other:?}"),
    }
}

/// What came of decoding: the events, and how it ended.
pub(super) struct Outcome {
    pub(super) log: Vec<String>,
    pub(super) end: Result<usize, super::super::Error>,
}

/// Decodes `file`, given in pieces of `piece` bytes, but always as much as was asked for.
pub(super) fn decode_in_pieces(file: &[u8], depth: Depth, options: Options, piece: usize) -> Outcome {
    let mut sink = Recorder::new(depth);
    let end = feed(file, &mut sink, options, piece);
    Outcome { log: sink.log, end }
}

/// As [`decode_in_pieces`], into any sink that does not fail.
pub(super) fn feed<S: Sink<Error = std::convert::Infallible>>(
    file: &[u8],
    sink: &mut S,
    options: Options,
    piece: usize,
) -> Result<usize, super::super::Error> {
    let mut decoder = Decoder::new(options);
    let (mut from, mut to) = (0, piece.min(file.len()));
    loop {
        let window = &file[from..to];
        let is_last = to == file.len();
        match decoder.advance(window, is_last, sink) {
            Ok(Progress { consumed, state: State::Done }) => return Ok(from + consumed),
            Ok(Progress { consumed, state: State::More { at_least } }) => {
                assert!(!is_last, "wants more where there is none");
                assert!(at_least > (window.len() - consumed) as u64, "wants what it has");
                from += consumed;
                to = (to + piece).min(file.len());
            }
            Err(Failure::Format(error)) => return Err(error),
        }
    }
}

/// Lets a decoder that is at byte `from` of `file` have what comes before byte `to`. Answers where it is then, and
/// whether the file has ended.
pub(super) fn feed_from<S: Sink<Error = std::convert::Infallible>>(
    decoder: &mut Decoder,
    file: &[u8],
    (from, to): (usize, usize),
    sink: &mut S,
) -> Result<(usize, bool), super::super::Error> {
    match decoder.advance(&file[from..to], to == file.len(), sink) {
        Ok(Progress { consumed, state }) => Ok((from + consumed, state == State::Done)),
        Err(Failure::Format(error)) => Err(error),
    }
}

/// Decodes `file` as a whole.
pub(super) fn decode(file: &[u8], depth: Depth) -> Outcome {
    decode_in_pieces(file, depth, Options::default(), file.len().max(1))
}

/// A file of one database: magic, then `records`, then the end with the right checksum.
pub(super) fn file(magic: &[u8; 9], records: &[u8]) -> Vec<u8> {
    let mut bytes = magic.to_vec();
    bytes.extend_from_slice(records);
    bytes.push(255);
    let checksum = crc64(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}
