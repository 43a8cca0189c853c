//! A sink that says every key as the commands that make it again: those of an append only file, or one
//! RESTORE each.
//!
//! Collections go in pieces of at most [`PIECE`] elements, so that no key takes much memory. Streams up to
//! [`STREAM_BYTES`] are built and said in commands as the engine says them; larger ones, and what no
//! command can say (modules, arrays, path hashes), are a RESTORE, whose payload may wait in a temporary
//! file. Who takes the commands decides what they look like ([`Taker`]).

mod payload;

use std::io;

use cairn_engine::base::num;
use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::{
    Depth, Family, KeyHead, ObjectType, Sink, Target, ValueEvent, Version, decode_value,
};
use cairn_engine::transcode::build::{BuildError, Builder};
use cairn_engine::transcode::commands::{self, PIECE, Word};
use cairn_engine::value::{Limits, Value};

use super::rdb::Choice;
use super::transcode::{Plan, Transcoder, module_is_read, plan};
use crate::arena::{Arena, Span};
use crate::jsonl::function_name;
use crate::lossy::{Feature, Loss, Losses, Lossy};
pub use payload::Payload;

/// Bytes of a stream, in its record, up to which it is said in commands.
pub const STREAM_BYTES: u64 = 16 << 20;
/// Bytes of elements after which a command ends, however few they are.
const PIECE_BYTES: usize = 256 << 10;

/// Takes commands, one after the other.
pub trait Taker {
    /// A command: its name, then its arguments.
    ///
    /// # Errors
    /// Whatever keeps it from that.
    fn command(&mut self, words: &[Word<'_>]) -> io::Result<()>;

    /// A command with a payload that need not be in memory.
    ///
    /// # Errors
    /// As [`Taker::command`], and of the payload.
    fn with_payload(
        &mut self,
        before: &[Word<'_>],
        payload: &mut Payload,
        after: &[Word<'_>],
    ) -> io::Result<()> {
        let bytes = payload.to_vec()?;
        let words: Vec<_> = [before, &[Word::Bytes(&bytes)], after].concat();
        self.command(&words)
    }
}

impl<F: FnMut(&[Word<'_>]) -> io::Result<()>> Taker for F {
    fn command(&mut self, words: &[Word<'_>]) -> io::Result<()> {
        self(words)
    }
}

/// How keys are said.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// The server that is to take the commands.
    pub target: Choice,
    /// Whether every key is a RESTORE with its payload.
    pub restore: bool,
    /// What may not be lost: then the first such loss is an error.
    pub stops_at_loss: Option<Lossy>,
}

/// Says keys as commands.
pub struct Commands<T> {
    taker: T,
    options: Options,
    target: Option<Target>,
    version: Option<Version>,
    db: Option<u64>,
    head: Head,
    now: Now,
    piece: Piece,
    transcoder: Transcoder,
    payload: Payload,
    losses: Losses,
    /// What KeyDB has named of the last key.
    member: Vec<u8>,
    keys: u64,
}

impl<T> std::fmt::Debug for Commands<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Commands")
            .field("target", &self.target)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Head {
    db: u64,
    key: Vec<u8>,
    expire_at: Option<UnixMs>,
    idle_s: Option<u64>,
    freq: Option<u8>,
    meta: Option<Vec<u8>>,
}

/// What becomes of the key whose events come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Now {
    /// Its elements go into commands as they come.
    Elements,
    /// Its bytes are gathered, as a record of this type.
    Copy(ObjectType),
    /// It is a module's: its first bytes tell whether it is carried.
    Module,
    /// It is written anew, and then gathered.
    Encode,
    /// It is left out; also between keys.
    Skip,
}

/// The elements of the command that is being gathered.
#[derive(Debug, Default)]
struct Piece {
    name: &'static [u8],
    arena: Arena,
    words: Vec<Part>,
    elements: usize,
    bytes: usize,
    /// Fields that expire, and when.
    expiries: Vec<(Span, i64)>,
}

#[derive(Debug, Clone, Copy)]
enum Part {
    Bytes(Span),
    Score(f64),
}

impl Part {
    fn word(self, arena: &Arena) -> Word<'_> {
        match self {
            Self::Bytes(span) => Word::Bytes(arena.at(span)),
            Self::Score(score) => Word::Score(score),
        }
    }
}

impl Piece {
    fn push(&mut self, bytes: &[u8]) -> Span {
        let span = self.arena.push(bytes);
        self.bytes += bytes.len();
        self.words.push(Part::Bytes(span));
        span
    }

    fn clear(&mut self) {
        self.arena.clear();
        self.words.clear();
        self.expiries.clear();
        (self.elements, self.bytes) = (0, 0);
    }

    fn is_full(&self) -> bool {
        self.elements >= PIECE || self.bytes >= PIECE_BYTES
    }
}

const fn word(text: &[u8]) -> Word<'_> {
    Word::Bytes(text)
}

impl<T: Taker> Commands<T> {
    /// A sink whose commands go to `taker`.
    pub fn new(taker: T, options: Options) -> Self {
        let target = match options.target {
            Choice::Same => None,
            Choice::Target(target) => Some(target),
        };
        Self {
            taker,
            options,
            target,
            version: None,
            db: None,
            head: Head::default(),
            now: Now::Skip,
            piece: Piece::default(),
            transcoder: Transcoder::new(true),
            payload: Payload::default(),
            losses: Losses::default(),
            member: Vec::new(),
            keys: 0,
        }
    }

    /// What commands could not say, or the target could not hold.
    #[must_use]
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// The same, to have them reported as they come.
    pub fn losses_mut(&mut self) -> &mut Losses {
        &mut self.losses
    }

    /// Keys said so far.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// The server that the commands are for, once it is known.
    #[must_use]
    pub fn target(&self) -> Option<Target> {
        self.target
    }

    /// Who takes the commands.
    pub fn taker_mut(&mut self) -> &mut T {
        &mut self.taker
    }

    /// The taker, and what was lost.
    ///
    /// # Errors
    /// Those of the report.
    pub fn finish(mut self) -> io::Result<(T, Losses)> {
        self.losses.finish()?;
        Ok((self.taker, self.losses))
    }

    fn format(&self) -> Target {
        self.target.unwrap_or_default()
    }

    fn lose(&mut self, feature: Feature, name: &[u8]) -> io::Result<()> {
        self.losses.add(Loss { feature, db: None, key: name.to_vec(), count: 1 })?;
        self.go_on(feature)
    }

    fn lose_of_key(&mut self, feature: Feature, count: u64) -> io::Result<()> {
        self.losses.add(Loss { feature, db: Some(self.head.db), key: self.head.key.clone(), count })?;
        self.go_on(feature)
    }

    fn go_on(&self, lost: Feature) -> io::Result<()> {
        match self.options.stops_at_loss.is_some_and(|lossy| lossy.refuses(lost)) {
            true => Err(io::Error::other("something cannot be said in commands")),
            false => Ok(()),
        }
    }

    fn enter_db(&mut self) -> io::Result<()> {
        if self.db == Some(self.head.db) {
            return Ok(());
        }
        self.db = Some(self.head.db);
        let mut text = Vec::new();
        num::push_u64(&mut text, self.head.db);
        self.taker.command(&[word(b"SELECT"), Word::Bytes(&text)])
    }

    /// Whether values of that type are said element by element.
    fn by_elements(&self, object: ObjectType) -> bool {
        !self.options.restore
            && matches!(
                object.family(),
                Family::String | Family::List | Family::Set | Family::Zset | Family::Hash
            )
    }

    fn keep_head(&mut self, head: &KeyHead<'_>) -> io::Result<()> {
        let kept = &mut self.head;
        kept.key.clear();
        kept.key.extend_from_slice(head.key);
        (kept.db, kept.expire_at) = (head.db, head.expire_at);
        (kept.idle_s, kept.freq) = (head.idle_s, head.freq);
        kept.meta = head.meta.map(<[u8]>::to_vec);
        if head.no_evict {
            self.lose_of_key(Feature::NoEvict, 1)?;
        }
        Ok(())
    }

    /// What no command but RESTORE says of a key.
    fn lose_of_head(&mut self, restores: bool) -> io::Result<()> {
        let target = self.format();
        if !(restores && target.has_idle_and_freq()) {
            if self.head.idle_s.take().is_some() {
                self.lose_of_key(Feature::IdleTime, 1)?;
            }
            if self.head.freq.take().is_some() {
                self.lose_of_key(Feature::AccessCounter, 1)?;
            }
        }
        if !(restores && target.has_key_meta()) && self.head.meta.take().is_some() {
            self.lose_of_key(Feature::KeyMeta, 1)?;
        }
        Ok(())
    }

    fn element(&mut self, event: &ValueEvent<'_>) -> io::Result<()> {
        let piece = &mut self.piece;
        match *event {
            ValueEvent::String { bytes, .. } => {
                let key = Word::Bytes(&self.head.key);
                return self.taker.command(&[word(b"SET"), key, Word::Bytes(bytes)]);
            }
            ValueEvent::Element(bytes) => {
                piece.push(bytes);
            }
            ValueEvent::Member { member, score } => {
                piece.words.push(Part::Score(score));
                piece.push(member);
            }
            ValueEvent::Field { field, value, expire_at } => {
                let field = piece.push(field);
                piece.push(value);
                if let Some(at) = expire_at {
                    piece.expiries.push((field, at.0));
                }
            }
            _ => return Ok(()),
        }
        piece.elements += 1;
        if piece.is_full() { self.end_piece() } else { Ok(()) }
    }

    fn end_piece(&mut self) -> io::Result<()> {
        let (piece, key) = (&mut self.piece, Word::Bytes(&self.head.key));
        if piece.elements == 0 {
            return Ok(());
        }
        let mut words = vec![word(piece.name), key];
        words.extend(piece.words.iter().map(|part| part.word(&piece.arena)));
        self.taker.command(&words)?;
        let expiring = piece.expiries.len() as u64;
        if self.target.unwrap_or_default().hash_with_field_ttl().is_some() {
            // Fields that expire together in one command.
            for same in piece.expiries.chunk_by(|a, b| a.1 == b.1) {
                words.clear();
                words.extend([word(b"HPEXPIREAT"), key, Word::Int(same[0].1), word(b"FIELDS")]);
                words.push(Word::Int(same.len() as i64));
                words.extend(same.iter().map(|(field, _)| Word::Bytes(piece.arena.at(*field))));
                self.taker.command(&words)?;
            }
            piece.clear();
            return Ok(());
        }
        piece.clear();
        if expiring > 0 { self.lose_of_key(Feature::FieldTtl, expiring) } else { Ok(()) }
    }

    fn expire(&mut self) -> io::Result<()> {
        match self.head.expire_at {
            Some(at) => {
                let key = Word::Bytes(&self.head.key);
                self.taker.command(&[word(b"PEXPIREAT"), key, Word::Int(at.0)])
            }
            None => Ok(()),
        }
    }

    /// The value is whole in the payload, as a record of type `object`.
    fn say_payload(&mut self, object: ObjectType) -> io::Result<()> {
        if object.family() == Family::Stream && !self.options.restore {
            self.lose_of_head(false)?;
            self.payload_header(object)?;
            if self.payload.len() <= STREAM_BYTES && self.stream(object)? {
                return self.expire();
            }
        } else {
            self.lose_of_head(true)?;
            self.payload_header(object)?;
        }
        self.restore()
    }

    /// What stands before the value in a payload.
    fn payload_header(&mut self, object: ObjectType) -> io::Result<()> {
        self.payload.set_header(self.head.meta.as_deref(), object);
        self.payload.end(self.format())
    }

    fn restore(&mut self) -> io::Result<()> {
        let (target, key) = (self.target.unwrap_or_default(), Word::Bytes(&self.head.key));
        let says_instant = target.has_idle_and_freq();
        let at = self.head.expire_at.filter(|_| says_instant).map_or(0, |at| at.0);
        let mut after = Vec::new();
        if says_instant {
            after.push(word(b"ABSTTL"));
        }
        if let Some(seconds) = self.head.idle_s {
            after.extend([word(b"IDLETIME"), Word::Int(i64::try_from(seconds).unwrap_or(i64::MAX))]);
        }
        if let Some(counter) = self.head.freq {
            after.extend([word(b"FREQ"), Word::Int(i64::from(counter))]);
        }
        self.taker.with_payload(&[word(b"RESTORE"), key, Word::Int(at)], &mut self.payload, &after)?;
        if says_instant { Ok(()) } else { self.expire() }
    }

    /// Says a stream in commands; `false` if they cannot say it.
    fn stream(&mut self, object: ObjectType) -> io::Result<bool> {
        let target = self.format();
        let bytes = self.payload.value_to_vec()?;
        let mut one = One(Builder::new(Limits::DEFAULT));
        one.0.start(target.version());
        let depth = one.0.begin(object, object.byte(), None);
        if decode_value(target.version(), object.byte(), &bytes, depth, &mut one).is_err() {
            return Ok(false);
        }
        let Ok(Some(Value::Stream(stream))) = one.0.finish() else { return Ok(false) };
        let value = Value::Stream(stream);
        let (mut is_said, taker) = (true, &mut self.taker);
        let has_counters = target.can_hold(ObjectType::StreamListpacks2);
        commands::entry(
            &mut |words: &[Word<'_>]| {
                match words.first() {
                    // In a version that may be too new.
                    Some(Word::Bytes(b"RESTORE")) => is_said = false,
                    Some(Word::Bytes(b"XSETID")) if !has_counters => taker.command(&words[..3])?,
                    Some(Word::Bytes(b"XGROUP")) if !has_counters => {
                        taker.command(&words[..words.len().min(5)])?;
                    }
                    _ => taker.command(words)?,
                }
                Ok::<_, io::Error>(())
            },
            &self.head.key,
            None,
            value.view(),
        )?;
        Ok(is_said)
    }
}

/// Takes the events of one stream.
struct One(Builder);

impl Sink for One {
    type Error = BuildError;

    fn key(&mut self, head: &KeyHead<'_>) -> Result<Depth, BuildError> {
        Ok(self.0.begin(head.object, head.type_byte, head.meta))
    }

    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), BuildError> {
        self.0.event(event)
    }
}

impl<T: Taker> Sink for Commands<T> {
    type Error = io::Error;

    fn start(&mut self, version: Version) -> io::Result<()> {
        self.version = Some(version);
        let target = self.target.or_else(|| Target::of_version(version)).unwrap_or_default();
        self.target = Some(target);
        Ok(())
    }

    fn aux(&mut self, key: &[u8], value: &[u8], _end: u64) -> io::Result<()> {
        // KeyDB tells behind a key when fields and members of it expire, in two fields each.
        match key {
            b"keydb-subexpire-key" => {
                self.member.clear();
                self.member.extend_from_slice(value);
                Ok(())
            }
            b"keydb-subexpire-when" => match num::parse_i64(value) {
                Some(at) if self.piece.name == b"HSET" && self.format().hash_with_field_ttl().is_some() => {
                    let (key, field) = (Word::Bytes(&self.head.key), Word::Bytes(&self.member));
                    let fields = [word(b"FIELDS"), Word::Int(1), field];
                    let [fields, one, field] = fields;
                    self.taker.command(&[word(b"HPEXPIREAT"), key, Word::Int(at), fields, one, field])
                }
                _ => self.lose_of_key(Feature::MemberTtl, 1),
            },
            _ => Ok(()),
        }
    }

    fn slot_import(&mut self, job: &[u8], _ranges: &[(u64, u64)]) -> io::Result<()> {
        self.lose(Feature::SlotImport, job)
    }

    fn function(&mut self, _at: u64, code: &[u8]) -> io::Result<()> {
        if !self.format().has_functions() {
            return self.lose(Feature::Functions, function_name(code));
        }
        self.taker.command(&[word(b"FUNCTION"), word(b"LOAD"), Word::Bytes(code)])
    }

    fn module_aux(&mut self, _at: u64, id: u64, _payload: &[u8]) -> io::Result<()> {
        self.lose(Feature::ModuleAux, &cairn_engine::codec::rdb::module_name(id).0)
    }

    fn update(&mut self, _at: u64, argv: &[&[u8]]) -> io::Result<()> {
        let words: Vec<_> = argv.iter().map(|arg| Word::Bytes(arg)).collect();
        self.taker.command(&words)
    }

    fn key(&mut self, head: &KeyHead<'_>) -> io::Result<Depth> {
        self.keep_head(head)?;
        self.payload.clear();
        self.piece.clear();
        self.piece.name = b"";
        if self.by_elements(head.object) {
            self.piece.name = match head.object.family() {
                Family::List => b"RPUSH",
                Family::Set => b"SADD",
                Family::Zset => b"ZADD",
                // HSET of many fields came with Redis 4.0.
                Family::Hash if self.format() < Target::Redis40 => b"HMSET",
                _ => b"HSET",
            };
            self.lose_of_head(false)?;
            self.keys += 1;
            self.enter_db()?;
            self.now = Now::Elements;
            return Ok(Depth::Item);
        }
        let planned = plan(head.object, self.format());
        let (now, depth) = match planned {
            // What refers to templates says nothing without its file.
            Plan::Copy
                if matches!(
                    head.object,
                    ObjectType::HashTemplateListpackRef | ObjectType::HashTemplateArrayRef
                ) =>
            {
                match plan(head.object, Target::Redis72) {
                    Plan::Encode(encoding) => {
                        self.transcoder.begin(encoding)?;
                        (Now::Encode, encoding.depth)
                    }
                    _ => (Now::Skip, Depth::Skip),
                }
            }
            Plan::Copy if head.object == ObjectType::Module => (Now::Module, Depth::Raw),
            Plan::Copy => (Now::Copy(head.object), Depth::Raw),
            Plan::Encode(encoding) => {
                self.transcoder.begin(encoding)?;
                (Now::Encode, encoding.depth)
            }
            Plan::LeaveOut(feature) => {
                self.lose_of_key(feature, 1)?;
                (Now::Skip, Depth::Skip)
            }
        };
        self.now = now;
        Ok(depth)
    }

    fn value(&mut self, event: ValueEvent<'_>) -> io::Result<()> {
        match (self.now, &event) {
            (Now::Elements, _) => self.element(&event),
            (Now::Encode, _) => self.transcoder.event(&event),
            (Now::Copy(_), ValueEvent::Raw(bytes)) => self.payload.push(bytes),
            (Now::Module, ValueEvent::Raw(bytes)) => {
                if super::rdb::module_id(bytes).is_none_or(|id| module_is_read(self.format(), id)) {
                    self.now = Now::Copy(ObjectType::Module);
                    return self.payload.push(bytes);
                }
                self.now = Now::Skip;
                self.lose_of_key(Feature::ModuleVersion, 1)
            }
            _ => Ok(()),
        }
    }

    fn end_key(&mut self, _end: u64) -> io::Result<()> {
        match std::mem::replace(&mut self.now, Now::Skip) {
            Now::Elements => {
                self.end_piece()?;
                self.expire()
            }
            Now::Copy(object) => {
                self.keys += 1;
                self.enter_db()?;
                self.say_payload(object)
            }
            Now::Encode => {
                let object = self.transcoder.end()?;
                for (feature, count) in self.transcoder.lost().to_vec() {
                    self.lose_of_key(feature, count)?;
                }
                self.payload.take_from(&mut self.transcoder)?;
                self.keys += 1;
                self.enter_db()?;
                self.say_payload(object)
            }
            Now::Module | Now::Skip => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
