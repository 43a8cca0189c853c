//! JSON lines as `dump --format jsonl` writes them, back into the keys that they were.
//!
//! Strict: an unknown member, a member twice, a value that is not of its type is an error that says the
//! line. What a person leaves out has a default: database 0, no expiry, the plain record type; a
//! hash may be a plain object. A line is looked at twice, once for where its members are and once for
//! their contents, so members may come in any order and nothing is built of them. The form is
//! written down in this crate's README.

mod value;

use std::borrow::Cow;
use std::collections::HashMap;

use cairn_engine::base::num;
use cairn_engine::base::slot::key_slot;
use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::{
    Decoder, Depth, Dialect, FIRST_REDIS_ONLY, FIRST_VALKEY, Family, KeyHead, NEWEST_REDIS, NEWEST_VALKEY,
    ObjectType, Options, Sink, StringForm, ValueEvent, Version, decode_value, opcode,
};

use super::Emitter;
use super::encode::Encoder;
use super::text::{Bad, Text};
use crate::drive::{Fault, Place, Stop};
use crate::input::Input;
use crate::jsonl::MODULE_AUX;
use crate::output::Shown;
use crate::progress::Progress;

use ObjectType as T;

/// What ends the reading of a line early.
enum Halt<E> {
    Bad(Bad),
    Stop(Stop<E>),
}

impl<E> From<Bad> for Halt<E> {
    fn from(bad: Bad) -> Self {
        Self::Bad(bad)
    }
}

/// What takes the events of a value.
type Give<'g, E> = &'g mut dyn FnMut(ValueEvent<'_>) -> Result<(), Halt<E>>;

/// Reads every line of `input`.
///
/// # Errors
/// [`Stop::Other`] with the line for what is wrong in one; what reading and the sink say.
pub(super) fn read<S: Sink>(
    input: &mut Input,
    progress: &Progress,
    sink: &mut S,
) -> Result<(), Stop<S::Error>> {
    input.fill(1).map_err(Stop::Read)?;
    let version = version_of(input.bytes(), input.is_last());
    let mut lines =
        Lines { emitter: Emitter::new(sink, version)?, templates: HashMap::new(), importing: Vec::new() };
    let mut number = 0;
    loop {
        let Some(len) = next_line(input).map_err(Stop::Read)? else { return lines.emitter.end() };
        number += 1;
        let line = &input.bytes()[..len];
        let line = if number == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        lines.line(line).map_err(|halt| match halt {
            Halt::Stop(stop) => stop,
            Halt::Bad(Bad { at, what }) => {
                let what = format!("byte {}: {what}", at + 1);
                Stop::Other(Fault::of_input(Place::Line(number), what))
            }
        })?;
        input.consume(len);
        progress.at(input.position());
    }
}

/// Makes a whole line be at hand; answers its length with the line end, `None` at the end.
fn next_line(input: &mut Input) -> std::io::Result<Option<usize>> {
    let mut seen = 0;
    loop {
        input.fill(seen as u64 + 1)?;
        let bytes = input.bytes();
        if let Some(at) = memchr::memchr(b'\n', &bytes[seen..]) {
            return Ok(Some(seen + at + 1));
        }
        seen = bytes.len();
        if input.is_last() {
            return Ok(Some(seen).filter(|&len| len > 0));
        }
    }
}

/// The version that the keys are told in: if all lines are at hand, the oldest current one that has
/// everything that is in them; else the newest of the family whose types are among the first lines.
fn version_of(head: &[u8], is_all: bool) -> Version {
    let mut newest = 0;
    let mut is_valkey = false;
    for at in memchr::memmem::find_iter(head, b"\"rdb_type\":") {
        let rest = head[at + 11..].trim_ascii_start();
        let digits = rest.iter().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
        let byte = num::parse_u64(&rest[..digits]).unwrap_or(0);
        is_valkey |= byte == u64::from(T::HashExpiry.byte());
        newest = newest.max(byte);
    }
    let has_paths = memchr::memmem::find(head, b"\"radix\"").is_some();
    is_valkey |= has_paths || memchr::memmem::find(head, b"\"importing\":").is_some();
    let redis = |number| Version { dialect: Dialect::Redis, number };
    match (is_valkey, is_all) {
        (true, true) if !has_paths => Version { dialect: Dialect::Valkey, number: FIRST_VALKEY },
        (true, _) => Version { dialect: Dialect::Valkey, number: NEWEST_VALKEY },
        // What has no type of its own byte (expiries of fields, metadata) may need a newer one.
        (false, true) if newest < 22 && !needs_newer(head) => redis(FIRST_REDIS_ONLY - 1),
        (false, true) if newest < 26 && !needs_newer(head) => redis(FIRST_REDIS_ONLY),
        (false, _) => redis(NEWEST_REDIS),
    }
}

fn needs_newer(head: &[u8]) -> bool {
    let has = |word: &[u8]| memchr::memmem::find(head, word).is_some();
    // Lines by hand have no record types.
    !has(b"\"rdb_type\"") || has(b"\"key_meta\"") || has(b"\"no_evict\"")
}

/// The members of a line: where the value of each stands.
#[derive(Default)]
struct Members<'a> {
    db: Option<Text<'a>>,
    key: Option<Text<'a>>,
    kind: Option<Text<'a>>,
    rdb_type: Option<Text<'a>>,
    string_form: Option<Text<'a>>,
    pexpireat: Option<Text<'a>>,
    idle: Option<Text<'a>>,
    freq: Option<Text<'a>>,
    no_evict: Option<Text<'a>>,
    key_meta: Option<Text<'a>>,
    field_pexpireat: Option<Text<'a>>,
    importing: Option<Text<'a>>,
    engine: Option<Text<'a>>,
    encoding: Option<Text<'a>>,
    value: Option<Text<'a>>,
    /// Elements or members of `value`.
    elements: u64,
}

impl<'a> Members<'a> {
    fn of(line: &'a [u8]) -> Result<Self, Bad> {
        let mut members = Self::default();
        let mut at = Text::new(line);
        at.object(|at: &mut Text<'a>, name: &[u8]| -> Result<(), Bad> {
            let place = match name {
                b"db" => &mut members.db,
                b"key" => &mut members.key,
                b"type" => &mut members.kind,
                b"rdb_type" => &mut members.rdb_type,
                b"string_form" => &mut members.string_form,
                b"pexpireat" => &mut members.pexpireat,
                b"idle" => &mut members.idle,
                b"freq" => &mut members.freq,
                b"no_evict" => &mut members.no_evict,
                b"key_meta" => &mut members.key_meta,
                b"field_pexpireat" => &mut members.field_pexpireat,
                b"importing" => &mut members.importing,
                b"engine" => &mut members.engine,
                b"value" => &mut members.value,
                // What a server would call it follows from the record, or from the server that loads it.
                b"encoding" => &mut members.encoding,
                _ => return at.bad(format!("there is no member \"{}\"", Shown(name))),
            };
            if place.is_some() {
                return at.bad(format!("member \"{}\" is there twice", Shown(name)));
            }
            let (start, elements) = at.skip()?;
            *place = Some(start);
            if name == b"value" {
                members.elements = elements;
            }
            Ok(())
        })?;
        at.end()?;
        Ok(members)
    }
}

impl Members<'_> {
    /// Refuses what only keys have.
    fn refuse_those_of_keys(&self) -> Result<(), Bad> {
        let of_keys = [
            self.rdb_type,
            self.string_form,
            self.pexpireat,
            self.idle,
            self.freq,
            self.no_evict,
            self.key_meta,
            self.field_pexpireat,
            self.importing,
        ];
        if let Some(at) = of_keys.into_iter().flatten().next() {
            return at.bad("only keys have such a member");
        }
        match self.db {
            Some(at) if at.clone().signed()? != -1 => at.bad("what is no key has database -1"),
            _ => Ok(()),
        }
    }
}

/// Takes what a module keeps beside its keys.
#[derive(Default)]
struct Aux {
    id: u64,
    count: u64,
}

impl Sink for Aux {
    type Error = std::convert::Infallible;

    fn module_aux(&mut self, _at: u64, id: u64, _payload: &[u8]) -> Result<(), Self::Error> {
        (self.id, self.count) = (id, self.count + 1);
        Ok(())
    }

    fn key(&mut self, _head: &KeyHead<'_>) -> Result<Depth, Self::Error> {
        self.count += 1;
        Ok(Depth::Skip)
    }

    fn value(&mut self, _event: ValueEvent<'_>) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// What a line's value is walked with.
struct Line<'a> {
    object: T,
    value: Text<'a>,
    elements: u64,
    form: Option<StringForm>,
    field_expiries: Expiries<'a>,
    /// Whether they go with the fields; else they are told behind the key, as KeyDB does.
    expiries_are_of_fields: bool,
}

/// Expiries of fields, by field, and in the order of the line.
#[derive(Default)]
struct Expiries<'a> {
    in_order: Vec<(Cow<'a, [u8]>, i64)>,
    by_field: HashMap<Vec<u8>, i64>,
}

struct Lines<'s, S> {
    emitter: Emitter<'s, S>,
    /// Ids of the hash templates that have been told, by their fields.
    templates: HashMap<Vec<Vec<u8>>, u64>,
    /// Slots whose import has been told.
    importing: Vec<u16>,
}

impl<S: Sink> Lines<'_, S> {
    fn line(&mut self, line: &[u8]) -> Result<(), Halt<S::Error>> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let members = Members::of(line)?;
        let whole = Text::new(line);
        let missing = |name| whole.bad(format!("member \"{name}\" is missing"));
        let Some(mut kind) = members.kind else { return Ok(missing("type")?) };
        let Some(mut key) = members.key else { return Ok(missing("key")?) };
        let Some(value) = members.value else { return Ok(missing("value")?) };
        let kind_at = kind;
        let (kind, key) = (kind.data()?, key.data()?);
        if &*kind == b"function" {
            return self.function(&members, value);
        }
        if let Some(at) = members.engine {
            return Ok(at.bad("only functions have an engine")?);
        }
        if *kind == *MODULE_AUX.as_bytes() {
            return self.module_aux(&members, value);
        }
        let object = object_of(&members, kind_at, &kind, self.emitter.version())?;
        let db = members.db.map_or(Ok(0), |mut at| at.unsigned())?;
        let expire_at = match members.pexpireat.map(|mut at| at.signed()).transpose()? {
            None | Some(-1) => None,
            Some(at) => Some(UnixMs(at)),
        };
        let idle_s = members.idle.map(|mut at| at.unsigned()).transpose()?;
        let freq = members.freq.map(|mut at| {
            let value = at.unsigned()?;
            u8::try_from(value).or_else(|_| at.bad("a counter has one byte"))
        });
        let no_evict = members.no_evict.map_or(Ok(false), |mut at| at.boolean())?;
        let meta = members.key_meta.map(value::key_meta).transpose()?;
        let form = members.string_form.map(form_of).transpose()?;
        if let (Some(at), false) = (members.string_form, object == T::String) {
            return Ok(at.bad("only strings have a form")?);
        }
        if members.importing.map_or(Ok(false), |mut at| at.boolean())? {
            self.import(&key)?;
        }
        let has_field_expiries = matches!(
            object,
            T::HashMetadata
                | T::HashListpackEx
                | T::HashMetadataPreGa
                | T::HashListpackExPreGa
                | T::HashExpiry
        );
        let field_expiries = members
            .field_pexpireat
            .map_or(Ok(Expiries::default()), |at| Expiries::of(at, has_field_expiries))?;
        let line = Line {
            object,
            value,
            elements: members.elements,
            form,
            field_expiries,
            expiries_are_of_fields: has_field_expiries,
        };
        let head = KeyHead {
            at: 0,
            db,
            key: &key,
            object,
            type_byte: object.byte(),
            expire_at,
            idle_s,
            freq: freq.transpose()?,
            meta: meta.as_deref(),
            no_evict,
        };
        self.key(&head, &line)
    }

    /// What a module keeps beside its keys.
    fn module_aux(&mut self, members: &Members<'_>, mut value: Text<'_>) -> Result<(), Halt<S::Error>> {
        members.refuse_those_of_keys()?;
        let at = value;
        let bytes = value.data()?;
        let version = Version { dialect: Dialect::Redis, number: NEWEST_REDIS };
        let file = [&version.magic()[..], &[opcode::MODULE_AUX], &bytes, &[opcode::EOF], &[0; 8]].concat();
        let options = Options { verify_checksum: false, ..Options::default() };
        let mut found = Aux::default();
        let is_one = match Decoder::new(options).advance(&file, true, &mut found) {
            Ok(step) => step.consumed == file.len() && found.count == 1,
            Err(_) => false,
        };
        if !is_one {
            return Ok(at.bad("this is not what a module keeps beside its keys")?);
        }
        let told = self.emitter.sink().module_aux(0, found.id, &bytes);
        told.map_err(|error| Halt::Stop(Stop::Sink(error)))
    }

    fn function(&mut self, members: &Members<'_>, mut value: Text<'_>) -> Result<(), Halt<S::Error>> {
        members.refuse_those_of_keys()?;
        let code = value.data()?;
        self.emitter.function(&code).map_err(Halt::Stop)
    }

    /// Tells that the slot of `key` was on its way in.
    fn import(&mut self, key: &[u8]) -> Result<(), Halt<S::Error>> {
        let slot = key_slot(key);
        if let Err(place) = self.importing.binary_search(&slot) {
            self.importing.insert(place, slot);
            let range = (u64::from(slot), u64::from(slot));
            self.emitter.sink().slot_import(b"", &[range]).map_err(|e| Halt::Stop(Stop::Sink(e)))?;
        }
        Ok(())
    }

    fn key(&mut self, head: &KeyHead<'_>, line: &Line<'_>) -> Result<(), Halt<S::Error>> {
        let sink_error = |error| Halt::Stop(Stop::Sink(error));
        // A record that refers to a template needs one with its fields, in their order.
        let mut template = 0;
        if matches!(line.object, T::HashTemplateListpackRef | T::HashTemplateArrayRef) {
            let fields = line.fields()?;
            let next = self.templates.len() as u64 + 1;
            template = *self.templates.entry(fields.clone()).or_insert(next);
            if template == next {
                self.emitter.sink().template(next, &fields).map_err(sink_error)?;
            }
        }
        let head = self.emitter.next(head, line.value_bytes()).map_err(Halt::Stop)?;
        let sink = self.emitter.sink();
        let depth = sink.key(&head).map_err(sink_error)?;
        let is_only_item = matches!(
            line.object,
            T::HashTemplateListpackRef
                | T::HashTemplateArrayRef
                | T::HashTemplateListpack
                | T::HashTemplateArray
        );
        match depth {
            Depth::Skip => line.walk::<S::Error>(&mut |_| Ok(()))?,
            Depth::Packed if is_only_item => line.walk(&mut |event| sink.value(event).map_err(sink_error))?,
            Depth::Item => line.walk(&mut |event| sink.value(event).map_err(sink_error))?,
            Depth::Raw | Depth::Packed => {
                let mut encoder = Encoder::new(line.object, line.elements, line.form, template);
                line.walk::<S::Error>(&mut |event| {
                    encoder.event(&event).or_else(|what| Ok(line.value.bad(what)?))
                })?;
                let payload = encoder.finish().or_else(|what| line.value.bad(what))?;
                if depth == Depth::Raw {
                    sink.value(ValueEvent::Raw(&payload)).map_err(sink_error)?;
                } else {
                    let decoded =
                        decode_value(version_of_object(line.object), head.type_byte, &payload, depth, sink);
                    decoded.map_err(|failure| Halt::Stop(super::stop_at(failure, &head)))?;
                }
            }
        }
        sink.end_key(head.at.saturating_add(line.value_bytes())).map_err(sink_error)?;
        if !line.expiries_are_of_fields {
            for (field, at) in &line.field_expiries.in_order {
                sink.aux(b"keydb-subexpire-key", field, head.at).map_err(sink_error)?;
                sink.aux(b"keydb-subexpire-when", at.to_string().as_bytes(), head.at).map_err(sink_error)?;
            }
        }
        Ok(())
    }
}

/// Whose bytes a record of that type is.
fn version_of_object(object: T) -> Version {
    match object {
        T::HashExpiry | T::PathHash => Version { dialect: Dialect::Valkey, number: NEWEST_VALKEY },
        _ => Version { dialect: Dialect::Redis, number: NEWEST_REDIS },
    }
}

impl<'a> Expiries<'a> {
    fn of(mut at: Text<'a>, are_of_fields: bool) -> Result<Self, Bad> {
        let mut expiries = Self::default();
        at.array(|at: &mut Text<'a>| -> Result<(), Bad> {
            at.open()?;
            let start = *at;
            let field = at.data()?;
            at.comma()?;
            let when = at.signed()?;
            at.close()?;
            if are_of_fields {
                if expiries.by_field.insert(field.into_owned(), when).is_some() {
                    return start.bad("a field expires twice");
                }
            } else {
                expiries.in_order.push((field, when));
            }
            Ok(())
        })?;
        Ok(expiries)
    }
}

/// The record type of a line.
fn object_of(members: &Members<'_>, kind_at: Text<'_>, kind: &[u8], file: Version) -> Result<T, Bad> {
    let family = match kind {
        b"string" => Family::String,
        b"list" => Family::List,
        b"set" => Family::Set,
        b"hash" => Family::Hash,
        b"zset" => Family::Zset,
        b"stream" => Family::Stream,
        b"array" => Family::Array,
        b"radix" => Family::PathHash,
        _ if kind.len() == 9 => Family::Module,
        _ => return kind_at.bad(format!("there is no type \"{}\"", Shown(kind))),
    };
    let Some(mut at) = members.rdb_type else {
        return Ok(match family {
            Family::String => T::String,
            Family::List => T::List,
            Family::Set => T::Set,
            Family::Zset => T::Zset,
            Family::Hash if members.field_pexpireat.is_none() => T::Hash,
            Family::Hash if file.is_valkey_only() => T::HashExpiry,
            Family::Hash => T::HashMetadata,
            Family::Stream => members.value.map_or(Ok(T::StreamListpacks3), value::stream_type)?,
            Family::Module => T::Module,
            Family::Array => T::Array,
            Family::PathHash => T::PathHash,
        });
    };
    let start = at;
    let byte = u8::try_from(at.unsigned()?).or_else(|_| start.bad("a record type has one byte"))?;
    let newest = |dialect, number| ObjectType::from_byte(byte, Version { dialect, number });
    // Where the families differ, the type says which it is; hashes of 22 are Valkey's, as only release
    // candidates of Redis 7.4 wrote the others.
    let of_redis = newest(Dialect::Redis, NEWEST_REDIS);
    let of_valkey = newest(Dialect::Valkey, NEWEST_VALKEY);
    let fits = |object: &T| object.family() == family;
    let found = match byte {
        22 | 23 => of_valkey.filter(fits).or(of_redis.filter(fits)),
        _ => of_redis.filter(fits),
    };
    match found {
        Some(T::ModulePreGa) => start.bad("module values of 4.0 release candidates cannot be read back"),
        Some(object) => Ok(object),
        None => start.bad(format!("record type {byte} is not of a {}", family.name())),
    }
}

fn form_of(mut at: Text<'_>) -> Result<StringForm, Bad> {
    let start = at;
    Ok(match &*at.string()? {
        b"raw" => StringForm::Raw,
        b"int8" => StringForm::Int8,
        b"int16" => StringForm::Int16,
        b"int32" => StringForm::Int32,
        b"lzf" => StringForm::Lzf,
        _ => return start.bad("a form is raw, int8, int16, int32 or lzf"),
    })
}

#[cfg(test)]
mod tests;
