//! Keys of the engine as the events of an RDB file.
//!
//! A sink gets each key at the depth that it asks for: the payload as a file has it, or that payload
//! decoded. Decides in which version a log's keys are told: the lowest that holds what the log can have
//! made, and at least that of its base, so that whoever loads the log can load the file.

use cairn_engine::codec::rdb::{
    Depth, Dialect, FIRST_REDIS_ONLY, FIRST_VALKEY, Failure, KeyHead, ObjectType, Sink, StringForm, Target,
    ValueEvent, Version, Writer, WriterOptions, decode_value,
};
use cairn_engine::command::DataCommand;
use cairn_engine::keyspace::EntryRef;
use cairn_engine::transcode::save::{self, Fault as Unsaid};
use cairn_engine::value::{StrRef, ValueRef};

use super::fault::Stop;
use super::libraries::Libraries;
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

/// A key that the version of the output cannot hold.
#[derive(Debug)]
pub(super) struct Inexpressible(pub(super) String);

/// Why a key was not told.
pub(super) enum Untold<E> {
    Key(Inexpressible),
    Sink(E),
}

impl<E> From<E> for Untold<E> {
    fn from(error: E) -> Self {
        Untold::Sink(error)
    }
}

/// Tells keys to a sink.
pub(super) struct Teller<'s, S: Sink> {
    pub(super) sink: &'s mut S,
    pub(super) version: Version,
    target: Target,
    db: Option<u64>,
    payload: Vec<u8>,
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
    ) -> Result<Teller<'s, S>, S::Error> {
        let (version, target) = needs.resolve();
        sink.start(version)?;
        for (key, value) in aux {
            sink.aux(key, value, 0)?;
        }
        for code in &libraries.functions {
            sink.function(0, code)?;
        }
        for (id, payload) in &libraries.aux_before {
            sink.module_aux(0, *id, payload)?;
        }
        Ok(Teller { sink, version, target, db: None, payload: Vec::new(), keys: 0 })
    }

    /// The keys that follow are in this database.
    pub(super) fn select(&mut self, db: u64) -> Result<(), S::Error> {
        if self.db == Some(db) {
            return Ok(());
        }
        self.db = Some(db);
        self.sink.select_db(db, 0)
    }

    /// Tells a key.
    pub(super) fn key(&mut self, db: u64, entry: EntryRef<'_>) -> Result<(), Untold<S::Error>> {
        self.select(db)?;
        self.keys += 1;
        if let ValueRef::String(text) = entry.view() {
            return self.string(db, entry, text);
        }
        let payload = std::mem::take(&mut self.payload);
        let told = self.value(db, entry, payload);
        self.payload.shrink_to(KEPT_PAYLOAD);
        told
    }

    fn head<'k>(&self, db: u64, entry: EntryRef<'k>, object: ObjectType) -> KeyHead<'k> {
        KeyHead {
            at: 0,
            db,
            key: entry.key(),
            object,
            type_byte: object.byte(),
            expire_at: entry.expire_at(),
            idle_s: None,
            freq: None,
            meta: None,
            no_evict: false,
        }
    }

    /// Most keys are strings: their text is all that a sink wants.
    fn string(&mut self, db: u64, entry: EntryRef<'_>, text: StrRef<'_>) -> Result<(), Untold<S::Error>> {
        let head = self.head(db, entry, ObjectType::String);
        match self.sink.key(&head)? {
            Depth::Skip => {}
            Depth::Raw => {
                let options = WriterOptions { compress: true, checksum: false };
                let mut w = Writer::new(std::mem::take(&mut self.payload), options);
                let written = match text {
                    StrRef::Int(n) => w.int_string(n),
                    StrRef::Text(bytes) | StrRef::Edited(bytes) => w.string(bytes),
                };
                let Ok(()) = written;
                let Ok(mut payload) = w.into_drain();
                self.sink.value(ValueEvent::Raw(&payload))?;
                payload.clear();
                payload.shrink_to(KEPT_PAYLOAD);
                self.payload = payload;
            }
            Depth::Packed | Depth::Item => {
                let mut digits = Vec::new();
                let bytes = match text {
                    StrRef::Int(n) => {
                        cairn_engine::base::num::push_i64(&mut digits, n);
                        &digits
                    }
                    StrRef::Text(bytes) | StrRef::Edited(bytes) => bytes,
                };
                self.sink.value(ValueEvent::String { bytes, form: form_of(bytes) })?;
            }
        }
        self.sink.end_key(0).map_err(Untold::Sink)
    }

    fn value(
        &mut self,
        db: u64,
        entry: EntryRef<'_>,
        mut payload: Vec<u8>,
    ) -> Result<(), Untold<S::Error>> {
        payload.clear();
        // What is small is found small again by whoever compresses; what is decoded should not have been.
        let mut w = Writer::new(payload, WriterOptions { compress: true, checksum: false });
        let written = save::record(&mut w, self.target, None, entry.view());
        let Ok(payload) = w.into_drain();
        if let Err(Unsaid::Inexpressible(feature)) = written {
            let key = Shown(entry.key());
            let name = self.target.name();
            let what = format!("key \"{key}\": {feature}, which a file for {name} cannot hold");
            return Err(Untold::Key(Inexpressible(what)));
        }
        let Some((&type_byte, body)) = payload.split_first() else {
            return Err(Untold::Key(Inexpressible("a value without bytes".to_owned())));
        };
        let Some(object) = ObjectType::from_byte(type_byte, self.version) else {
            return Err(Untold::Key(Inexpressible(format!("records of type {type_byte}"))));
        };
        let meta = match entry.view() {
            ValueRef::Opaque(opaque) => opaque.meta.as_deref(),
            _ => None,
        };
        let head = KeyHead { type_byte, meta, ..self.head(db, entry, object) };
        tell(self.sink, self.version, &head, body)?;
        self.payload = payload;
        Ok(())
    }

    /// Ends the file.
    pub(super) fn end(self, libraries: &Libraries) -> Result<u64, S::Error> {
        for (id, payload) in &libraries.aux_after {
            self.sink.module_aux(0, *id, payload)?;
        }
        self.sink.end(cairn_engine::codec::rdb::Trailer::Absent)?;
        Ok(self.keys)
    }
}

/// How a writer would store a text.
fn form_of(bytes: &[u8]) -> StringForm {
    match cairn_engine::base::num::parse_i64(bytes) {
        Some(n) if i8::try_from(n).is_ok() => StringForm::Int8,
        Some(n) if i16::try_from(n).is_ok() => StringForm::Int16,
        Some(n) if i32::try_from(n).is_ok() => StringForm::Int32,
        _ => StringForm::Raw,
    }
}

/// Tells a key whose payload is at hand, at the depth that the sink asks for.
pub(super) fn tell<S: Sink>(
    sink: &mut S,
    version: Version,
    head: &KeyHead<'_>,
    payload: &[u8],
) -> Result<(), Untold<S::Error>> {
    match sink.key(head)? {
        Depth::Skip => {}
        Depth::Raw => sink.value(ValueEvent::Raw(payload))?,
        depth => {
            let decoded = decode_value(version, head.type_byte, payload, depth, sink);
            decoded.map_err(|failure| match failure {
                Failure::Sink(error) => Untold::Sink(error),
                Failure::Format(error) => {
                    Untold::Key(Inexpressible(format!("key \"{}\": {error}", Shown(head.key))))
                }
            })?;
        }
    }
    sink.end_key(0).map_err(Untold::Sink)
}
