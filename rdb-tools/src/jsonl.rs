//! An RDB file as JSON lines: one object a key, nothing lost.
//!
//! The form is written down in this crate's README. Sets, hashes and sorted sets are put in order, so
//! a file has one form whatever encodings its writer chose; that takes the memory of one value. Lines
//! come in file order. Knows no clock: keys that have expired are lines like others.

mod lines;
mod module;
mod stream;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cairn_engine::base::slot::key_slot;
use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::{Depth, Family, KeyHead, ObjectType, Sink, StringForm, Trailer, ValueEvent};

use crate::arena::{Arena, Span};
use crate::json;
use crate::parallel::{Start, Worker};

pub use lines::{Handover, Lines, in_parallel, write_in_parallel};
pub use module::module_name;
use module::{Module, push_key_meta};
use stream::Stream;

/// What of the form can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Everything of modules, so that it can be read back: of each value what it is, vector sets as the values
    /// that their module wrote, and a line for what a module keeps beside its keys.
    pub raw_modules: bool,
    /// Lines sorted by database and key: all of them are kept in memory until the end.
    pub sorted: bool,
}

/// What lines without [`Options::raw_modules`] do not hold, counted on all threads that write them.
#[derive(Debug, Default)]
pub struct LeftOut {
    /// Keys with values or metadata of modules, which do not say which of these are numbers.
    pub of_modules: AtomicU64,
    /// What modules keep beside their keys.
    pub aux: AtomicU64,
}

/// A sink that writes a line a key.
#[derive(Debug)]
pub struct Jsonl<W> {
    out: W,
    options: Options,
    left_out: Option<Arc<LeftOut>>,
    arena: Arena,
    /// Whole lines that have not been handed on, and behind them the open one.
    line: Vec<u8>,
    /// Where the open line begins; the end if none is open.
    line_start: usize,
    value: Value,
    /// Fields with their own expiry, of the key of `line`.
    field_expiry: Vec<(Span, i64)>,
    /// What KeyDB said about the next member expiry.
    subexpire_key: Option<Span>,
    is_importing: bool,
    /// Whether the end of a key's value has yet to come.
    is_awaited: bool,
    importing: Vec<(u64, u64)>,
    object: ObjectType,
    /// Database and key of each line, when they are to be sorted.
    lines: Vec<(i64, Vec<u8>, Vec<u8>)>,
    line_key: (i64, Vec<u8>),
}

/// The value being collected.
#[derive(Debug, Default)]
enum Value {
    /// No key is open, or its value is already in the line.
    #[default]
    Written,
    List {
        len: u64,
    },
    Set(Vec<Span>),
    Hash(Vec<(Span, Span)>),
    Zset(Vec<(Span, f64)>),
    Stream(Box<Stream>),
    Array(Array),
    Module(Module),
    Paths(Vec<(Span, Vec<(Span, Span)>)>),
}

#[derive(Debug, Default)]
struct Array {
    insert_index: Option<u64>,
    elements: Vec<(u64, Span)>,
}

/// The type of a line that holds what a module keeps beside its keys.
pub const MODULE_AUX: &str = "module_aux";
/// Lines are handed on when there is that much of them, and a line of a list that has grown beyond
/// this in pieces.
const HANDED_ON_BYTES: usize = 256 << 10;

impl<W: Lines> Jsonl<W> {
    /// A sink that writes to `out`.
    pub fn new(out: W, options: Options) -> Self {
        Self {
            out,
            options,
            left_out: None,
            arena: Arena::default(),
            line: Vec::new(),
            line_start: 0,
            value: Value::Written,
            field_expiry: Vec::new(),
            subexpire_key: None,
            is_importing: false,
            is_awaited: false,
            importing: Vec::new(),
            object: ObjectType::String,
            lines: Vec::new(),
            line_key: (0, Vec::new()),
        }
    }

    /// The same sink, which counts what its lines do not hold.
    #[must_use]
    pub fn counting(self, left_out: &Arc<LeftOut>) -> Self {
        Self { left_out: Some(Arc::clone(left_out)), ..self }
    }

    /// Counts something of a module that is not in the lines as it is.
    fn leave_out(&self, of: impl FnOnce(&LeftOut) -> &AtomicU64) {
        if let Some(left_out) = self.left_out.as_deref().filter(|_| !self.options.raw_modules) {
            of(left_out).fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Ends the line of the last key and writes what is left, also when the file was not read to its
    /// end: every key that was whole has a line. A key that was being read has none.
    ///
    /// # Errors
    /// Whatever writing says.
    pub fn finish(&mut self) -> io::Result<()> {
        if matches!(self.value, Value::Written) && !self.is_awaited {
            self.end_line()?;
        }
        self.is_awaited = false;
        self.line.truncate(self.line_start);
        self.value = Value::Written;
        self.lines.sort_unstable();
        for (_, _, line) in self.lines.drain(..) {
            self.line.extend_from_slice(&line);
            if self.line.len() >= HANDED_ON_BYTES {
                self.out.take(&mut self.line)?;
            }
        }
        self.out.take(&mut self.line)?;
        self.line_start = 0;
        self.out.flush()
    }

    fn is_open(&self) -> bool {
        self.line.len() > self.line_start
    }

    /// Closes and writes the line of a key whose value has ended.
    fn end_line(&mut self) -> io::Result<()> {
        if !self.is_open() {
            return Ok(());
        }
        let out = &mut self.line;
        if !self.field_expiry.is_empty() {
            let arena = &self.arena;
            self.field_expiry.sort_unstable_by(|a, b| arena.at(a.0).cmp(arena.at(b.0)));
            json::push_name(out, "field_pexpireat");
            json::push_array(out, &self.field_expiry, |out, (field, at)| {
                out.push(b'[');
                json::push_bytes(out, arena.at(*field));
                out.push(b',');
                json::push_i64(out, *at);
                out.push(b']');
            });
            self.field_expiry.clear();
        }
        if std::mem::take(&mut self.is_importing) {
            json::push_name(out, "importing");
            out.extend_from_slice(b"true");
        }
        out.extend_from_slice(b"}\n");
        self.arena.clear();
        self.subexpire_key = None;
        if self.options.sorted {
            let (db, key) = std::mem::take(&mut self.line_key);
            self.lines.push((db, key, std::mem::take(&mut self.line)));
            return Ok(());
        }
        self.line_start = self.line.len();
        if self.line.len() >= HANDED_ON_BYTES {
            self.out.take(&mut self.line)?;
            self.line_start = 0;
        }
        Ok(())
    }

    fn begin_line(&mut self, db: i64, key: &[u8]) {
        if self.options.sorted {
            self.line_key = (db, key.to_vec());
        }
        let out = &mut self.line;
        out.push(b'{');
        json::push_name(out, "db");
        json::push_i64(out, db);
        json::push_name(out, "key");
        json::push_bytes(out, key);
    }

    /// The fields between type and value; the type of a module value is known only from its id.
    fn push_attributes(&mut self, head: &KeyHead<'_>) {
        let out = &mut self.line;
        json::push_name(out, "rdb_type");
        json::push_u64(out, u64::from(head.type_byte));
        json::push_name(out, "pexpireat");
        json::push_i64(out, head.expire_at.map_or(-1, |at| at.0));
        if let Some(idle_s) = head.idle_s {
            json::push_name(out, "idle");
            json::push_u64(out, idle_s);
        }
        if let Some(freq) = head.freq {
            json::push_name(out, "freq");
            json::push_u64(out, u64::from(freq));
        }
        if head.no_evict {
            json::push_name(out, "no_evict");
            out.extend_from_slice(b"true");
        }
        if let Some(meta) = head.meta {
            json::push_name(out, "key_meta");
            push_key_meta(out, meta, self.options.raw_modules);
        }
    }

    fn spill(&mut self) -> io::Result<()> {
        if self.line.len() >= HANDED_ON_BYTES && !self.options.sorted {
            self.out.take(&mut self.line)?;
            // Never empty, so that a line is known to be open.
            self.line_start = 0;
        }
        Ok(())
    }

    /// The value is whole: put it into the line.
    fn push_value(&mut self) {
        let (arena, out) = (&self.arena, &mut self.line);
        match std::mem::take(&mut self.value) {
            Value::Written => {}
            Value::List { .. } => out.push(b']'),
            Value::Set(mut members) => {
                members.sort_unstable_by(|a, b| arena.at(*a).cmp(arena.at(*b)));
                json::push_name(out, "value");
                json::push_array(out, members, |out, member| json::push_bytes(out, arena.at(member)));
            }
            Value::Hash(mut pairs) => {
                json::push_name(out, "value");
                push_pairs(out, arena, &mut pairs);
            }
            Value::Zset(mut members) => {
                // Scores are never NaN, and the two zeros are one score.
                members.sort_unstable_by(|(a, x), (b, y)| {
                    let by_score = x.partial_cmp(y).expect("the decoder refuses NaN");
                    by_score.then_with(|| arena.at(*a).cmp(arena.at(*b)))
                });
                json::push_name(out, "value");
                json::push_array(out, members, |out, (member, score)| {
                    out.push(b'[');
                    json::push_bytes(out, arena.at(member));
                    out.push(b',');
                    json::push_f64(out, score);
                    out.push(b']');
                });
            }
            Value::Stream(stream) => {
                json::push_name(out, "value");
                stream.push_json(out, arena, self.object);
            }
            Value::Array(array) => {
                json::push_name(out, "value");
                array.push_json(out, arena);
            }
            Value::Module(module) => {
                json::push_name(out, "value");
                module.push_json(out, arena, self.options.raw_modules);
            }
            Value::Paths(paths) => {
                json::push_name(out, "value");
                json::push_array(out, paths, |out, (path, mut pairs)| {
                    out.push(b'[');
                    json::push_bytes(out, arena.at(path));
                    out.push(b',');
                    push_pairs(out, arena, &mut pairs);
                    out.push(b']');
                });
            }
        }
    }
}

fn push_pairs(out: &mut Vec<u8>, arena: &Arena, pairs: &mut [(Span, Span)]) {
    pairs.sort_by(|a, b| arena.at(a.0).cmp(arena.at(b.0)));
    json::push_array(out, pairs.iter(), |out, (field, value)| {
        out.push(b'[');
        json::push_bytes(out, arena.at(*field));
        out.push(b',');
        json::push_bytes(out, arena.at(*value));
        out.push(b']');
    });
}

impl Array {
    fn push_json(&self, out: &mut Vec<u8>, arena: &Arena) {
        out.push(b'{');
        json::push_name(out, "count");
        json::push_u64(out, self.elements.len() as u64);
        json::push_name(out, "len");
        let len = self.elements.iter().map(|(index, _)| index.saturating_add(1)).max();
        json::push_u64(out, len.unwrap_or(0));
        json::push_name(out, "next_insert_index");
        json::push_u64(out, self.insert_index.map_or(0, |last| last.wrapping_add(1)));
        json::push_name(out, "elements");
        json::push_array(out, &self.elements, |out, (index, value)| {
            out.push(b'[');
            json::push_u64(out, *index);
            out.push(b',');
            json::push_bytes(out, arena.at(*value));
            out.push(b']');
        });
        out.push(b'}');
    }
}

/// The words of a function library's first line.
fn shebang_words(code: &[u8]) -> impl Iterator<Item = &[u8]> {
    let shebang = code.split(|b| *b == b'\n').next().unwrap_or_default();
    shebang.strip_prefix(b"#!").unwrap_or_default().split(u8::is_ascii_whitespace)
}

/// The name that a function library gives itself in its first line.
#[must_use]
pub fn function_name(code: &[u8]) -> &[u8] {
    shebang_words(code).skip(1).find_map(|word| word.strip_prefix(b"name=")).unwrap_or_default()
}

fn form_name(form: StringForm) -> &'static str {
    match form {
        StringForm::Raw => "raw",
        StringForm::Int8 => "int8",
        StringForm::Int16 => "int16",
        StringForm::Int32 => "int32",
        StringForm::Lzf => "lzf",
    }
}

fn empty_value(object: ObjectType) -> Value {
    match object.family() {
        Family::String => Value::Written,
        Family::List => Value::List { len: 0 },
        Family::Set => Value::Set(Vec::new()),
        Family::Hash => Value::Hash(Vec::new()),
        Family::Zset => Value::Zset(Vec::new()),
        Family::Stream => Value::Stream(Box::default()),
        Family::Array => Value::Array(Array::default()),
        Family::Module => Value::Module(Module::default()),
        Family::PathHash => Value::Paths(Vec::new()),
    }
}

impl<W: Lines> Worker for Jsonl<W> {
    fn begin(&mut self, start: &Start) -> io::Result<()> {
        self.importing.clone_from(&start.importing);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Self::finish(self)
    }
}

impl<W: Lines> Sink for Jsonl<W> {
    type Error = io::Error;

    fn aux(&mut self, key: &[u8], value: &[u8], _end: u64) -> io::Result<()> {
        // KeyDB tells the expiry of members behind the key they belong to, in two fields each.
        match key {
            b"keydb-subexpire-key" if self.is_open() => {
                self.subexpire_key = Some(self.arena.push(value));
            }
            b"keydb-subexpire-when" => {
                let when = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                if let (Some(field), Some(when)) = (self.subexpire_key.take(), when) {
                    self.field_expiry.push((field, when));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn slot_import(&mut self, _job: &[u8], ranges: &[(u64, u64)]) -> io::Result<()> {
        self.importing.extend_from_slice(ranges);
        Ok(())
    }

    fn function(&mut self, _at: u64, code: &[u8]) -> io::Result<()> {
        self.end_line()?;
        let engine = shebang_words(code).next().unwrap_or_default().to_ascii_uppercase();
        self.begin_line(-1, function_name(code));
        let out = &mut self.line;
        json::push_name(out, "type");
        json::push_text(out, "function");
        json::push_name(out, "engine");
        json::push_bytes(out, &engine);
        json::push_name(out, "value");
        json::push_bytes(out, code);
        self.end_line()
    }

    fn module_aux(&mut self, _at: u64, id: u64, payload: &[u8]) -> io::Result<()> {
        if !self.options.raw_modules {
            self.leave_out(|left_out| &left_out.aux);
            return Ok(());
        }
        self.end_line()?;
        self.begin_line(-1, &module_name(id));
        let out = &mut self.line;
        json::push_name(out, "type");
        json::push_text(out, MODULE_AUX);
        json::push_name(out, "value");
        json::push_bytes(out, payload);
        self.end_line()
    }

    fn key(&mut self, head: &KeyHead<'_>) -> io::Result<Depth> {
        self.end_line()?;
        if head.meta.is_some() || head.object.family() == Family::Module {
            self.leave_out(|left_out| &left_out.of_modules);
        }
        self.begin_line(i64::try_from(head.db).unwrap_or(i64::MAX), head.key);
        self.object = head.object;
        self.value = empty_value(head.object);
        self.is_awaited = true;
        self.is_importing = !self.importing.is_empty() && {
            let slot = u64::from(key_slot(head.key));
            self.importing.iter().any(|(first, last)| (*first..=*last).contains(&slot))
        };
        // Of a module value the type comes when its id is known.
        if !matches!(self.value, Value::Module(_)) {
            json::push_name(&mut self.line, "type");
            json::push_text(&mut self.line, head.object.family().name());
        }
        self.push_attributes(head);
        if matches!(self.value, Value::List { .. }) {
            json::push_name(&mut self.line, "value");
            self.line.push(b'[');
        }
        Ok(Depth::Item)
    }

    fn value(&mut self, event: ValueEvent<'_>) -> io::Result<()> {
        match (&mut self.value, event) {
            (_, ValueEvent::String { bytes, form }) => {
                json::push_name(&mut self.line, "string_form");
                json::push_text(&mut self.line, form_name(form));
                json::push_name(&mut self.line, "value");
                json::push_bytes(&mut self.line, bytes);
            }
            (Value::List { len }, ValueEvent::Element(element)) => {
                if *len > 0 {
                    self.line.push(b',');
                }
                *len += 1;
                json::push_bytes(&mut self.line, element);
                self.spill()?;
            }
            (Value::Set(members), ValueEvent::Element(member)) => members.push(self.arena.push(member)),
            (Value::Hash(pairs), ValueEvent::Field { field, value, expire_at }) => {
                let field = self.arena.push(field);
                pairs.push((field, self.arena.push(value)));
                if let Some(UnixMs(at)) = expire_at {
                    self.field_expiry.push((field, at));
                }
            }
            (Value::Paths(paths), ValueEvent::Path { path, .. }) => {
                paths.push((self.arena.push(path), Vec::new()));
            }
            (Value::Paths(paths), ValueEvent::Field { field, value, .. }) => {
                if let Some((_, pairs)) = paths.last_mut() {
                    let field = self.arena.push(field);
                    pairs.push((field, self.arena.push(value)));
                }
            }
            (Value::Zset(members), ValueEvent::Member { member, score }) => {
                members.push((self.arena.push(member), score));
            }
            (Value::Array(array), ValueEvent::BeginArray { insert_index, .. }) => {
                array.insert_index = insert_index;
            }
            (Value::Array(array), ValueEvent::ArrayElement { index, value }) => {
                array.elements.push((index, self.arena.push(value)));
            }
            (Value::Module(module), event) => module.add(&event, &mut self.arena),
            (Value::Stream(stream), event) => stream.add(&event, &mut self.arena),
            _ => {}
        }
        Ok(())
    }

    fn end_key(&mut self, _end: u64) -> io::Result<()> {
        self.is_awaited = false;
        if let Value::Module(module) = &self.value {
            json::push_name(&mut self.line, "type");
            json::push_bytes(&mut self.line, &module.name());
        }
        self.push_value();
        Ok(())
    }

    fn end(&mut self, _trailer: Trailer) -> io::Result<()> {
        self.finish()
    }
}

#[cfg(test)]
mod tests;
