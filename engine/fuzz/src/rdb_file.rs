//! Any bytes as an RDB file: no panic, no unbounded memory, and the same events and the same end
//! whether the bytes come at once or in pieces.
//!
//! The last three bytes choose depth and piece sizes, so that files of `testdata` are seeds as they are.

use std::convert::Infallible;
use std::fmt::Write;
use std::hash::{DefaultHasher, Hasher};

use cairn_engine::codec::rdb::{
    Decoder, Depth, Failure, KeyHead, Options, Sink, State, Trailer, ValueEvent, Version,
};

/// Hashes every event by its `Debug` form; raw pieces by their bytes, for they may be cut anywhere.
struct Digest {
    hasher: DefaultHasher,
    depth: Depth,
}

impl Write for Digest {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.hasher.write(text.as_bytes());
        Ok(())
    }
}

impl Digest {
    fn add(&mut self, event: std::fmt::Arguments<'_>) -> Result<(), Infallible> {
        self.write_fmt(event).expect("hashing cannot fail");
        Ok(())
    }
}

impl Sink for Digest {
    type Error = Infallible;

    fn start(&mut self, version: Version) -> Result<(), Infallible> {
        self.add(format_args!("{version:?}"))
    }
    fn aux(&mut self, key: &[u8], value: &[u8], end: u64) -> Result<(), Infallible> {
        self.add(format_args!("{key:?}{value:?}{end}"))
    }
    fn select_db(&mut self, db: u64, end: u64) -> Result<(), Infallible> {
        self.add(format_args!("{db}{end}"))
    }
    fn function(&mut self, at: u64, code: &[u8]) -> Result<(), Infallible> {
        self.add(format_args!("{at}{code:?}"))
    }
    fn module_aux(&mut self, at: u64, id: u64, payload: &[u8]) -> Result<(), Infallible> {
        self.add(format_args!("{at}{id}{payload:?}"))
    }
    fn template(&mut self, id: u64, fields: &[Vec<u8>]) -> Result<(), Infallible> {
        self.add(format_args!("{id}{fields:?}"))
    }
    fn update(&mut self, at: u64, argv: &[&[u8]]) -> Result<(), Infallible> {
        self.add(format_args!("{at}{argv:?}"))
    }
    fn key(&mut self, head: &KeyHead<'_>) -> Result<Depth, Infallible> {
        self.add(format_args!("{head:?}"))?;
        Ok(self.depth)
    }
    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), Infallible> {
        if let ValueEvent::Raw(piece) = event {
            self.hasher.write(piece);
            return Ok(());
        }
        self.add(format_args!("{event:?}"))
    }
    fn end_key(&mut self, end: u64) -> Result<(), Infallible> {
        self.add(format_args!("{end}"))
    }
    fn end(&mut self, trailer: Trailer) -> Result<(), Infallible> {
        self.add(format_args!("{trailer:?}"))
    }
}

/// Decodes `data`, given in pieces of `first` bytes and then `next`; the digest of the events, and how
/// it ended.
fn decode(data: &[u8], options: Options, depth: Depth, first: usize, next: usize) -> (u64, String) {
    let mut decoder = Decoder::new(options);
    let mut sink = Digest { hasher: DefaultHasher::new(), depth };
    let (mut from, mut to) = (0, first.min(data.len()));
    let end = loop {
        match decoder.advance(&data[from..to], to == data.len(), &mut sink) {
            Ok(progress) => {
                from += progress.consumed;
                assert!(from <= to, "consumed more than was given");
                match progress.state {
                    State::Done => break format!("done at {}", decoder.offset()),
                    State::More { at_least } => {
                        assert!(to < data.len(), "wants more after the end");
                        assert!(at_least > (to - from) as u64, "wants what it has");
                    }
                }
            }
            Err(Failure::Format(error)) => break format!("{error:?}"),
            Err(Failure::Sink(never)) => match never {},
        }
        to = (to + next).min(data.len());
    };
    (sink.hasher.finish(), end)
}

/// Runs the target.
pub fn run(data: &[u8]) {
    let Some((file, [depth, first, next])) = data.split_last_chunk::<3>() else { return };
    let options = Options {
        verify_checksum: depth & 0x10 != 0,
        require_checksum: depth & 0x20 != 0,
        deep: depth & 0x40 != 0,
        relaxed_version: depth & 0x80 != 0,
    };
    let depth = [Depth::Item, Depth::Packed, Depth::Raw, Depth::Skip][usize::from(depth & 3)];
    let whole = decode(file, options, depth, file.len(), 1);
    // Small pieces of a long file would only be slow: a unit is looked at again from its start.
    let next = usize::from(*next).max(1) + file.len() / 64;
    let pieces = decode(file, options, depth, usize::from(*first), next);
    assert_eq!(whole, pieces);
}
