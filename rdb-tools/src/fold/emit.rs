//! Keys of the engine as the events of an RDB file.
//!
//! A sink gets each key at the depth that it asks for: the payload as a file has it, or that payload
//! decoded. Decides in which version a log's keys are told: the lowest that holds what the log can have
//! made, and at least that of its base, so that whoever loads the log can load the file.

use cairn_engine::codec::rdb::{
    Depth, Dialect, FIRST_REDIS_ONLY, FIRST_VALKEY, Failure, KeyHead, ObjectType, Sink, Target, Trailer,
    ValueEvent, Version, Writer, WriterOptions, decode_value,
};
use cairn_engine::command::DataCommand;
use cairn_engine::keyspace::{EntryRef, Keyspace};
use cairn_engine::transcode::save::{self, Fault as Unsaid};
use cairn_engine::value::ValueRef;

use super::libraries::Libraries;
use crate::drive::{Fault, Place, Stop};
use crate::output::Shown;

/// The version for logs that do not tell theirs: logs in parts came with it.
const USUAL: u16 = 10;
/// Room for a key's payload that is kept.
const KEPT_PAYLOAD: usize = 256 << 10;

/// What a log needs of a file's version.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Needs {
    redis: u16,
    valkey: u16,
    is_based: bool,
}

impl Needs {
    /// The log has a base of this version.
    pub(super) fn base(&mut self, version: Version) {
        self.is_based = true;
        self.version(version);
    }

    fn version(&mut self, version: Version) {
        match version.dialect {
            Dialect::Redis => self.redis = self.redis.max(version.number),
            Dialect::Valkey => self.valkey = self.valkey.max(version.number),
        }
    }

    /// The log has this command.
    pub(super) fn command(&mut self, command: &DataCommand, argv: &[&[u8]]) {
        const FOOTER_BYTES: usize = 10;
        match command.spec.name {
            "hexpire" | "hpexpire" | "hexpireat" | "hpexpireat" | "hsetex" | "hgetex" => {
                self.redis = self.redis.max(FIRST_REDIS_ONLY);
            }
            // What it brings may be only carried, and then needs the version it comes with.
            "restore" => {
                let footer = argv.get(3).and_then(|payload| payload.last_chunk::<FOOTER_BYTES>());
                let number = footer.map_or(0, |footer| u16::from_le_bytes([footer[0], footer[1]]));
                if let Some(version) = Version::of_dump(number).filter(|v| v.number >= FIRST_REDIS_ONLY) {
                    self.version(version);
                }
            }
            _ => {}
        }
    }

    /// The version that the keys are told in, and how values are written for it.
    pub(super) fn resolve(self) -> (Version, Target) {
        if self.valkey > 0 {
            let number = self.valkey.max(FIRST_VALKEY);
            return (Version { dialect: Dialect::Valkey, number }, Target::Valkey9);
        }
        let needed = if self.is_based { self.redis } else { self.redis.max(USUAL) };
        let redis = || Target::all().filter(|target| target.version().dialect == Dialect::Redis);
        let target = redis()
            .find(|target| target.version().number >= needed)
            .or_else(|| redis().last())
            .unwrap_or_default();
        let number = needed.max(target.version().number);
        (Version { dialect: Dialect::Redis, number }, target)
    }
}

/// Tells keys to a sink.
pub(super) struct Teller<'s, S: Sink> {
    sink: &'s mut S,
    version: Version,
    target: Target,
    db: Option<u64>,
    payload: Vec<u8>,
    /// Whether the sink took the last payload as it was: only then it is worth being made small.
    takes_raw: bool,
    at: u64,
    /// Keys told.
    pub(super) keys: u64,
}

impl<'s, S: Sink> Teller<'s, S> {
    /// Begins a file, up to its first key.
    pub(super) fn begin(
        sink: &'s mut S,
        needs: Needs,
        aux: &[(Vec<u8>, Vec<u8>)],
        libraries: &Libraries,
    ) -> Result<Teller<'s, S>, Stop<S::Error>> {
        let (version, target) = needs.resolve();
        let at = version.magic().len() as u64;
        let mut begin = || {
            sink.start(version)?;
            aux.iter().try_for_each(|(key, value)| sink.aux(key, value, at))?;
            libraries.functions.iter().try_for_each(|code| sink.function(at, code))?;
            libraries.aux_before.iter().try_for_each(|(id, payload)| sink.module_aux(at, *id, payload))
        };
        begin().map_err(Stop::Sink)?;
        Ok(Teller { sink, version, target, db: None, payload: Vec::new(), takes_raw: false, at, keys: 0 })
    }

    /// The keys that follow are in this database.
    pub(super) fn select(&mut self, db: u64) -> Result<(), Stop<S::Error>> {
        if self.db == Some(db) {
            return Ok(());
        }
        self.db = Some(db);
        self.sink.select_db(db, self.at).map_err(Stop::Sink)
    }

    /// Tells all keys.
    pub(super) fn all(&mut self, keyspace: &Keyspace) -> Result<(), Stop<S::Error>> {
        for (number, db) in keyspace.iter().enumerate() {
            for entry in db {
                self.key(number as u64, entry)?;
            }
        }
        Ok(())
    }

    /// Tells a key.
    pub(super) fn key(&mut self, db: u64, entry: EntryRef<'_>) -> Result<(), Stop<S::Error>> {
        self.payload.clear();
        let options = WriterOptions { compress: self.takes_raw, checksum: false };
        let mut w = Writer::new(std::mem::take(&mut self.payload), options);
        let written = save::record(&mut w, self.target, None, entry.view());
        let Ok(record) = w.into_drain();
        let bad = |what: String| {
            let what = format!("db {db}, key \"{}\": {what}", Shown(entry.key()));
            Stop::Other(Fault::of_input(Place::Nowhere, what))
        };
        if let Err(Unsaid::Inexpressible(feature)) = written {
            return Err(bad(format!("{feature}, which a file for {} cannot hold", self.target.name())));
        }
        let head = record.split_first().and_then(|(&type_byte, payload)| {
            let object = ObjectType::from_byte(type_byte, self.version)?;
            let meta = match entry.view() {
                ValueRef::Opaque(opaque) => opaque.meta.as_deref(),
                _ => None,
            };
            let head = KeyHead {
                at: self.at,
                db,
                key: entry.key(),
                object,
                type_byte,
                expire_at: entry.expire_at(),
                idle_s: None,
                freq: None,
                meta,
                no_evict: false,
            };
            Some((head, payload))
        });
        let Some((head, payload)) = head else {
            return Err(bad(format!("a record that {} does not know", self.target.name())));
        };
        self.tell(&head, payload)?;
        self.payload = record;
        self.payload.clear();
        self.payload.shrink_to(KEPT_PAYLOAD);
        Ok(())
    }

    /// Tells a key whose payload, as a record of the output's version has it, is at hand.
    pub(super) fn tell(&mut self, head: &KeyHead<'_>, payload: &[u8]) -> Result<(), Stop<S::Error>> {
        self.select(head.db)?;
        self.keys += 1;
        self.at += (1 + head.key.len() + payload.len()) as u64;
        let depth = self.sink.key(head).map_err(Stop::Sink)?;
        self.takes_raw = depth == Depth::Raw;
        match depth {
            Depth::Skip => {}
            Depth::Raw => self.sink.value(ValueEvent::Raw(payload)).map_err(Stop::Sink)?,
            depth => {
                let decoded = decode_value(self.version, head.type_byte, payload, depth, self.sink);
                decoded.map_err(|failure| match failure {
                    Failure::Sink(error) => Stop::Sink(error),
                    Failure::Format(mut error) => {
                        error.db = head.db;
                        error.key = Some(head.key.to_vec());
                        Stop::Format(error)
                    }
                })?;
            }
        }
        self.sink.end_key(self.at).map_err(Stop::Sink)
    }

    /// How values are written.
    pub(super) fn target(&self) -> Target {
        self.target
    }

    /// What is said of a key that the version cannot hold.
    pub(super) fn cannot_hold(&self, key: &[u8]) -> Stop<S::Error> {
        let what = format!("key \"{}\": a file for {} cannot hold it", Shown(key), self.target.name());
        Stop::Other(Fault::of_input(Place::Nowhere, what))
    }

    /// Hands on a key of a file of no higher version; its value and its end follow.
    pub(super) fn pass(&mut self, head: &KeyHead<'_>) -> Result<Depth, Stop<S::Error>> {
        self.select(head.db)?;
        self.keys += 1;
        self.sink.key(head).map_err(Stop::Sink)
    }

    /// Hands on a step of its value.
    pub(super) fn pass_value(&mut self, event: ValueEvent<'_>) -> Result<(), Stop<S::Error>> {
        self.sink.value(event).map_err(Stop::Sink)
    }

    /// Hands on its end.
    pub(super) fn pass_end(&mut self, end: u64) -> Result<(), Stop<S::Error>> {
        self.sink.end_key(end).map_err(Stop::Sink)
    }

    /// Hands on an auxiliary field between keys.
    pub(super) fn aux(&mut self, key: &[u8], value: &[u8]) -> Result<(), Stop<S::Error>> {
        self.sink.aux(key, value, self.at).map_err(Stop::Sink)
    }

    /// Hands on a template of hashes.
    pub(super) fn template(&mut self, id: u64, fields: &[Vec<u8>]) -> Result<(), Stop<S::Error>> {
        self.sink.template(id, fields).map_err(Stop::Sink)
    }

    /// Ends the file; answers the number of keys.
    pub(super) fn end(self, libraries: &Libraries) -> Result<u64, Stop<S::Error>> {
        let mut end = || {
            let after = &libraries.aux_after;
            after.iter().try_for_each(|(id, payload)| self.sink.module_aux(self.at, *id, payload))?;
            self.sink.end(Trailer::Disabled)
        };
        end().map_err(Stop::Sink)?;
        Ok(self.keys)
    }
}
