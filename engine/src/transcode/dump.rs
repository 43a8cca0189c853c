//! DUMP and RESTORE: one value with the version and checksum that belong to it.

use crate::base::crc64::crc64;
use crate::codec::rdb::{
    Depth, DumpError, Failure, KeyHead, Options, ShortRun, Sink, Target, ValueEvent, Version, Writer,
    WriterOptions, decode_value, dump_footer, opcode, split_dump,
};
use crate::value::{Limits, Value, ValueRef};

use super::build::{BuildError, Builder};
use super::save::{self, Fault};

/// Why a payload was refused.
#[derive(Debug)]
pub enum RestoreError {
    /// Version or checksum are wrong.
    Footer,
    /// What is between is no value.
    Content(String),
}

/// The payload that RESTORE takes, in the lowest version that holds the value and is 11 at least.
pub fn dump(value: ValueRef<'_>) -> Vec<u8> {
    if let ValueRef::Opaque(opaque) = value {
        return carried(
            opaque.meta.as_deref(),
            opaque.type_byte,
            &opaque.payload,
            save::opaque_version(opaque),
        );
    }
    for target in Target::all().filter(|t| *t >= Target::default()) {
        let options = WriterOptions { compress: true, checksum: false };
        let mut w = Writer::new(Vec::new(), options);
        match save::record(&mut w, target, None, value) {
            Ok(()) => {
                let Ok(mut payload) = w.into_drain();
                dump_footer(target, &mut payload);
                return payload;
            }
            Err(Fault::Inexpressible(_)) => {}
            Err(Fault::Drain(never)) => match never {},
        }
    }
    unreachable!("the newest target of Redis holds every value that has commands")
}

fn carried(meta: Option<&[u8]>, type_byte: u8, payload: &[u8], version: Version) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 16);
    if let Some(meta) = meta {
        out.push(opcode::KEY_META);
        out.extend_from_slice(meta);
    }
    out.push(type_byte);
    out.extend_from_slice(payload);
    out.extend_from_slice(&version.number.to_le_bytes());
    let checksum = crc64(&out);
    out.extend_from_slice(&checksum.to_le_bytes());
    out
}

/// Whether every server of the version that the payload names, or a later one, takes it with its usual
/// settings.
pub fn has_plain_footer(bytes: &[u8]) -> bool {
    split_dump(bytes, Options::default()).is_ok()
}

/// The value that a payload holds. Bytes behind the value are not looked at, as in valkey src/cluster.c
/// `restoreCommand`.
///
/// # Errors
/// `RestoreError`; what is wrong inside is said with an offset from the value's first byte.
pub fn restore(bytes: &[u8], limits: &Limits) -> Result<Value, RestoreError> {
    let options = Options {
        verify_checksum: !limits.trusts_dumps,
        relaxed_version: limits.takes_future_dumps,
        ..Options::default()
    };
    let payload = split_dump(bytes, options).map_err(|_: DumpError| RestoreError::Footer)?;
    let content = |text: String| RestoreError::Content(text);
    let mut sink = One(Builder::new(limits.clone()));
    sink.0.start(payload.version);
    let depth = sink.0.begin(payload.object, payload.type_byte, payload.meta);
    let decoded = decode_value(payload.version, payload.type_byte, payload.payload, depth, &mut sink);
    decoded.map_err(|failure| match failure {
        Failure::Format(error) => content(error.to_string()),
        Failure::Sink(error) => content(error.to_string()),
    })?;
    match sink.0.finish().map_err(|error| content(error.to_string()))? {
        Some(value) if !value.is_empty() => Ok(value),
        _ => Err(content("a collection without elements".to_owned())),
    }
}

/// Takes the events of one value.
struct One(Builder);

impl Sink for One {
    type Error = BuildError;

    fn key(&mut self, head: &KeyHead<'_>) -> Result<Depth, BuildError> {
        Ok(self.0.begin(head.object, head.type_byte, head.meta))
    }

    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), BuildError> {
        self.0.event(event)
    }

    fn elements(&mut self, run: ShortRun<'_>) -> Result<(), BuildError> {
        self.0.elements(run)
    }

    fn fields(&mut self, run: ShortRun<'_>) -> Result<(), BuildError> {
        self.0.fields(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::rdb::Dialect;

    const VERSION: Version = Version { dialect: Dialect::Redis, number: 11 };

    #[test]
    fn a_plain_node_has_bytes() {
        let list = |node: &[u8]| carried(None, 18, &[b"\x01\x01", node].concat(), VERSION);
        assert!(restore(&list(b"\x01a"), &Limits::DEFAULT).is_ok());
        let refused = restore(&list(b"\x00"), &Limits::DEFAULT).expect_err("there are none");
        let text = format!("{refused:?}");
        assert!(text.contains("a plain list node without bytes"), "{text}");
    }

    #[test]
    fn a_zipmap_with_long_values_is_a_large_hash() {
        // f1 -> v1, f2 -> v2
        let zipmap = b"\x02\x02f1\x02\x00v1\x02f2\x02\x00v2\xff";
        let dump = carried(None, 9, &[&[zipmap.len() as u8][..], zipmap].concat(), VERSION);
        for (longest, name) in [(2, "listpack"), (1, "hashtable")] {
            let limits = Limits { hash_max_listpack_value: longest, ..Limits::DEFAULT };
            let value = restore(&dump, &limits).expect("a hash");
            assert_eq!(value.view().encoding_name(1, false), name);
        }
    }

    #[test]
    fn what_is_behind_a_value_is_not_looked_at() {
        let dump = carried(None, 0, b"\x03abcjunk", VERSION);
        let value = restore(&dump, &Limits::DEFAULT).expect("a string");
        assert!(super::dump(value.view()).starts_with(b"\x00\x03abc\x0b\x00"));
        assert!(restore(&carried(None, 0, b"\x09abcjunk", VERSION), &Limits::DEFAULT).is_err());
    }
}
