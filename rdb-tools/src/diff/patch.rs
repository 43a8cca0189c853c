//! The commands that turn A into B.
//!
//! Small where that is simple: fields, members and elements that came or went, expiries. Streams and values of
//! another type are deleted and made anew. What no command can make (values of modules, arrays, path
//! hashes, streams of Redis 8.6 on) is restored from its bytes, which a server of B's kind takes.
//! What cannot be said at all is told on standard error: data of modules that belong to no key, metadata.
//!
//! A pending entry can only be claimed while it is in the stream, and it may be gone from there. So entries that
//! stand in for them come first, then groups and claims; then the stream is emptied by trimming, which leaves
//! no trace in its numbers, and gets its entries.

use std::io::{self, Write};

use cairn_engine::base::crc64::crc64;
use cairn_engine::base::num;
use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::{Family, StreamId};

use super::details::{Pair, Pairs, RAW_HEAD};
use super::digest::Scope;
use super::join::{Change, Class, Counts};
use super::lists::{Step, steps};
use super::report::{Differing, Report, both_lists, is_small_list};
use super::show;
use crate::canon::{Section, take_framed};
use crate::output::{Shown, program};

/// How commands are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As servers take them.
    Resp,
    /// A line each, for people and for the prompt of redis-cli.
    Readable,
}

/// A command of many elements has no more than this many.
const BATCH_WORDS: usize = 256;
/// And is ended when it has this many bytes.
const BATCH_BYTES: usize = 256 << 10;

/// Writes commands.
#[derive(Debug)]
struct Commands<W> {
    out: W,
    form: Form,
    db: Option<u64>,
    /// A command that more elements may be added to: its words, how many of them are no elements.
    batch: Vec<Vec<u8>>,
    fixed: usize,
    batch_bytes: usize,
}

impl<W: Write> Commands<W> {
    fn send(&mut self, words: &[&[u8]]) -> io::Result<()> {
        match self.form {
            Form::Resp => {
                write!(self.out, "*{}\r\n", words.len())?;
                for word in words {
                    write!(self.out, "${}\r\n", word.len())?;
                    self.out.write_all(word)?;
                    self.out.write_all(b"\r\n")?;
                }
            }
            Form::Readable => {
                for (i, word) in words.iter().enumerate() {
                    if i > 0 {
                        self.out.write_all(b" ")?;
                    }
                    push_word(&mut self.out, word)?;
                }
                self.out.write_all(b"\n")?;
            }
        }
        Ok(())
    }

    fn select(&mut self, db: u64) -> io::Result<()> {
        if self.db.replace(db) == Some(db) {
            return Ok(());
        }
        self.send(&[b"SELECT", db.to_string().as_bytes()])
    }

    /// Adds elements to a command that starts with `head`; it is sent when it is large, or another one comes.
    fn add(&mut self, head: &[&[u8]], elements: &[&[u8]]) -> io::Result<()> {
        let is_it = self.fixed == head.len() && self.batch[..self.fixed].iter().eq(head.iter());
        if !is_it || self.batch.len() + elements.len() > BATCH_WORDS || self.batch_bytes > BATCH_BYTES {
            self.flush()?;
            self.batch.extend(head.iter().map(|word| word.to_vec()));
            self.fixed = head.len();
        }
        self.batch_bytes += elements.iter().map(|word| word.len()).sum::<usize>();
        self.batch.extend(elements.iter().map(|word| word.to_vec()));
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.fixed > 0 {
            let words = std::mem::take(&mut self.batch);
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            self.send(&words)?;
        }
        (self.fixed, self.batch_bytes) = (0, 0);
        Ok(())
    }
}

/// A word as redis-cli reads it: quoted unless it is plain.
fn push_word(out: &mut impl Write, word: &[u8]) -> io::Result<()> {
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:/*+=@{}[]!,;|$#%^&()<>?~".contains(b);
    if !word.is_empty() && word.iter().all(is_plain) {
        return out.write_all(word);
    }
    out.write_all(b"\"")?;
    for byte in word {
        match byte {
            b'"' | b'\\' => out.write_all(&[b'\\', *byte])?,
            b'\n' => out.write_all(b"\\n")?,
            b'\r' => out.write_all(b"\\r")?,
            b'\t' => out.write_all(b"\\t")?,
            b' '..=b'~' => out.write_all(&[*byte])?,
            _ => write!(out, "\\x{byte:02x}")?,
        }
    }
    out.write_all(b"\"")
}

/// Writes the commands.
#[derive(Debug)]
pub struct Patch<W> {
    commands: Commands<W>,
    differing: Differing,
    /// Whether the server that A is of may not know how fields of hashes expire.
    is_for_old: bool,
    /// Commands that say when fields of hashes expire.
    field_ttls: u64,
    unsaid: u64,
}

/// A stream being made.
#[derive(Debug, Default)]
struct MadeStream {
    /// The key is there: with entries that stand in, with groups, or with entries.
    has_key: bool,
    has_stand_ins: bool,
    totals: Option<Vec<u8>>,
}

impl<W: Write> Patch<W> {
    /// Commands to `out`.
    pub fn new(out: W, form: Form, differing: Differing) -> Self {
        let commands = Commands { out, form, db: None, batch: Vec::new(), fixed: 0, batch_bytes: 0 };
        Self { commands, differing, is_for_old: false, field_ttls: 0, unsaid: 0 }
    }

    /// Has it told that some commands are not known to older servers, if A is of one.
    #[must_use]
    pub fn for_old(self, is_for_old: bool) -> Self {
        Self { is_for_old, ..self }
    }

    /// What commands cannot say.
    fn cannot_say(&mut self, change: &Change, what: &str) -> io::Result<()> {
        self.unsaid += 1;
        let (scope, name) = (change.scope.shown(), Shown(&change.name));
        writeln!(io::stderr(), "{}: {scope}, \"{name}\": no command changes {what}", program())
    }

    fn library(&mut self, change: &Change, rank: u64, pairs: &mut Pairs) -> io::Result<()> {
        if change.class == Class::Removed {
            return self.commands.send(&[b"FUNCTION", b"DELETE", &change.name]);
        }
        let mut pair = Pair::default();
        while pairs.next(rank, &mut pair)? {
            if let (Section::Text, Some(code)) = (pair.section(), pair.b.first()) {
                self.commands.send(&[b"FUNCTION", b"LOAD", b"REPLACE", code])?;
            }
        }
        Ok(())
    }

    fn expire(&mut self, change: &Change) -> io::Result<()> {
        self.commands.flush()?;
        match change.b.as_ref().and_then(|b| b.expires) {
            Some(at) => self.commands.send(&[b"PEXPIREAT", &change.name, at.0.to_string().as_bytes()]),
            None => self.commands.send(&[b"PERSIST", &change.name]),
        }
    }

    /// Gives a key that was made anew the expiry of B.
    fn expire_new(&mut self, change: &Change) -> io::Result<()> {
        match change.b.as_ref().and_then(|b| b.expires) {
            Some(_) => self.expire(change),
            None => self.commands.flush(),
        }
    }

    /// Makes the key of what B has; nothing is there.
    fn create(&mut self, change: &Change, rank: u64, pairs: &mut Pairs) -> io::Result<()> {
        let key = &change.name[..];
        let mut pair = Pair::default();
        let mut stream =
            change.b.as_ref().filter(|b| b.family == Family::Stream).map(|_| MadeStream::default());
        let mut raw: Option<([u8; 3], Vec<u8>)> = None;
        let mut has_unsaid = false;
        while pairs.next(rank, &mut pair)? {
            let commands = &mut self.commands;
            let identity = pair.identity();
            let Some(content) = pair.b.first() else { continue };
            match pair.section() {
                Section::Text => commands.send(&[b"SET", key, content])?,
                Section::Element => commands.add(&[b"RPUSH", key], &[content])?,
                Section::BagElement => {
                    pair.b.iter().try_for_each(|_| commands.add(&[b"RPUSH", key], &[identity]))?;
                }
                Section::Member => commands.add(&[b"SADD", key], &[identity])?,
                Section::Field => commands.add(&[b"HSET", key], &[identity, content])?,
                Section::FieldTtl => {
                    self.field_ttls += 1;
                    member_expires(commands, change, identity, content)?;
                }
                Section::Scored => commands.add(&[b"ZADD", key], &[&score(content), identity])?,
                Section::Raw if identity == RAW_HEAD => {
                    let head = content.first_chunk().copied().unwrap_or_default();
                    raw = Some((head, Vec::new()));
                    stream = None;
                }
                Section::Raw => {
                    if let Some((_, payload)) = &mut raw {
                        payload.extend_from_slice(content);
                    }
                }
                Section::Meta => has_unsaid = true,
                _ => {
                    if let Some(stream) = &mut stream {
                        make_stream(commands, key, stream, &pair)?;
                    }
                }
            }
        }
        if let Some(stream) = stream {
            end_stream(&mut self.commands, key, &stream)?;
        }
        if has_unsaid {
            self.cannot_say(change, "the metadata of a key")?;
        }
        match raw {
            Some((head, payload)) => self.restore(change, head, &payload),
            None => self.expire_new(change),
        }
    }

    fn restore(&mut self, change: &Change, head: [u8; 3], value: &[u8]) -> io::Result<()> {
        let mut payload = Vec::with_capacity(value.len() + 11);
        payload.push(head[2]);
        payload.extend_from_slice(value);
        payload.extend_from_slice(&head[..2]);
        let sum = crc64(&payload);
        payload.extend_from_slice(&sum.to_le_bytes());
        let expires = change.b.as_ref().and_then(|b| b.expires).unwrap_or(UnixMs(0)).0.to_string();
        self.commands.flush()?;
        self.commands.send(&[b"RESTORE", &change.name, expires.as_bytes(), &payload, b"ABSTTL"])
    }

    /// Changes members or fields one by one. Answers whether any was different.
    fn edit(&mut self, change: &Change, rank: u64, pairs: &mut Pairs) -> io::Result<bool> {
        let key = &change.name[..];
        let mut pair = Pair::default();
        let mut removed = 0;
        let mut sets_fields = false;
        let mut has_unsaid = false;
        let mut is_edited = false;
        while pairs.next(rank, &mut pair)? {
            let commands = &mut self.commands;
            let identity = pair.identity();
            let is_different = self.differing.is_different(&pair);
            is_edited |= is_different;
            if pair.section() == Section::FieldTtl {
                // Setting a field takes its expiry away, so those of all fields are set again then.
                match pair.b.first() {
                    Some(at) if is_different || sets_fields => {
                        self.field_ttls += 1;
                        member_expires(commands, change, identity, at)?;
                    }
                    None if is_different => member_persists(commands, change, identity)?,
                    _ => {}
                }
                continue;
            }
            if !is_different {
                continue;
            }
            match (pair.section(), pair.b.first()) {
                (Section::Meta, _) => has_unsaid = true,
                (Section::Member, Some(_)) => commands.add(&[b"SADD", key], &[identity])?,
                (Section::Field, Some(value)) => {
                    sets_fields = true;
                    commands.add(&[b"HSET", key], &[identity, value])?;
                }
                (Section::Scored, Some(bits)) => commands.add(&[b"ZADD", key], &[&score(bits), identity])?,
                (section, None) => {
                    let name: &[u8] = match section {
                        Section::Member => b"SREM",
                        Section::Field => b"HDEL",
                        _ => b"ZREM",
                    };
                    removed += 1;
                    commands.add(&[name, key], &[identity])?;
                }
                _ => {}
            }
        }
        if has_unsaid {
            self.cannot_say(change, "the metadata of a key")?;
        }
        // A key without members is gone for a moment, and its expiry with it.
        let may_be_new = change.a.as_ref().is_none_or(|a| removed >= a.content.elements);
        match change.moves_expiry(&self.differing.expiry) {
            true => self.expire(change)?,
            false if may_be_new => self.expire_new(change)?,
            false => self.commands.flush()?,
        }
        Ok(is_edited)
    }

    /// Changes a list that is small enough to be looked at as a whole.
    fn edit_list(&mut self, change: &Change, rank: u64, pairs: &mut Pairs) -> io::Result<()> {
        let key = &change.name[..];
        let mut has_unsaid = false;
        let (a, b) = both_lists(rank, pairs, |pair| {
            has_unsaid |= !pair.is_same();
            Ok(())
        })?;
        if has_unsaid {
            self.cannot_say(change, "the metadata of a key")?;
        }
        let commands = &mut self.commands;
        let steps = if self.differing.ignore_order { Vec::new() } else { steps(&a, &b) };
        let kept_is = |from: usize, to: usize| from <= to && to <= a.len();
        let removed: Vec<usize> = steps
            .iter()
            .filter_map(|s| match s {
                Step::Remove(at) => Some(*at),
                Step::Insert(_) => None,
            })
            .collect();
        let inserted: Vec<usize> = steps
            .iter()
            .filter_map(|s| match s {
                Step::Insert(at) => Some(*at),
                Step::Remove(_) => None,
            })
            .collect();
        // What stays is one piece of A and one of B: cut the ends off, and push what comes at the ends.
        let front_cut = removed.iter().enumerate().take_while(|(i, at)| i == *at).count();
        let back_cut = removed.len() - front_cut;
        let front_new = inserted.iter().enumerate().take_while(|(i, at)| i == *at).count();
        let back_new = inserted.len() - front_new;
        let is_one_piece =
            removed[front_cut..].iter().enumerate().all(|(i, at)| *at == a.len() - back_cut + i)
                && inserted[front_new..].iter().enumerate().all(|(i, at)| *at == b.len() - back_new + i)
                && kept_is(front_cut + back_cut, a.len().saturating_sub(1))
                && !steps.is_empty();
        let is_in_place = a.len() == b.len() && steps.len() <= a.len() && !self.differing.ignore_order;
        if is_one_piece {
            if !removed.is_empty() {
                let (from, to) = (front_cut.to_string(), format!("-{}", back_cut + 1));
                commands.send(&[b"LTRIM", key, from.as_bytes(), to.as_bytes()])?;
            }
            push_all(commands, b"LPUSH", key, b[..front_new].iter().rev())?;
            push_all(commands, b"RPUSH", key, b[b.len() - back_new..].iter())?;
        } else if is_in_place {
            for (at, (_, new)) in a.iter().zip(&b).enumerate().filter(|(_, (a, b))| a != b) {
                commands.send(&[b"LSET", key, at.to_string().as_bytes(), new])?;
            }
        } else {
            commands.send(&[b"DEL", key])?;
            push_all(commands, b"RPUSH", key, b.iter())?;
            return self.expire_new(change);
        }
        match change.moves_expiry(&self.differing.expiry) {
            true => self.expire(change),
            false => self.commands.flush(),
        }
    }

    fn text(&mut self, change: &Change, rank: u64, pairs: &mut Pairs) -> io::Result<()> {
        let mut pair = Pair::default();
        let mut has_unsaid = false;
        while pairs.next(rank, &mut pair)? {
            match (pair.section(), pair.b.first()) {
                (Section::Text, Some(value)) if self.differing.expiry.ignore => {
                    self.commands.send(&[b"SET", &change.name, value, b"KEEPTTL"])?;
                }
                (Section::Text, Some(value)) => self.commands.send(&[b"SET", &change.name, value])?,
                _ => has_unsaid |= !pair.is_same(),
            }
        }
        if has_unsaid {
            self.cannot_say(change, "the metadata of a key")?;
        }
        if self.differing.expiry.ignore { Ok(()) } else { self.expire_new(change) }
    }
}

impl<W: Write> Report for Patch<W> {
    fn change(&mut self, change: &Change, rank: u64, pairs: &mut Pairs) -> io::Result<Option<Class>> {
        let db = match change.scope {
            Scope::Functions => {
                self.library(change, rank, pairs)?;
                return Ok(Some(change.class));
            }
            Scope::ModuleAux => {
                self.cannot_say(change, "the data of a module that belong to no key")?;
                return Ok(Some(change.class));
            }
            Scope::Db(db) => db,
        };
        self.commands.select(db)?;
        let family = match (&change.a, &change.b) {
            (Some(a), Some(b)) if a.family == b.family => Some(a.family),
            _ => None,
        };
        match (change.class, family) {
            (Class::Removed, _) => self.commands.send(&[b"DEL", &change.name])?,
            (Class::Added, _) => self.create(change, rank, pairs)?,
            (Class::Expiry, _) => self.expire(change)?,
            (_, Some(Family::String)) => self.text(change, rank, pairs)?,
            (class, Some(Family::Set | Family::Hash | Family::Zset)) => {
                let is_edited = self.edit(change, rank, pairs)?;
                if class == Class::Unsure && !is_edited {
                    let moves = change.moves_expiry(&self.differing.expiry);
                    return Ok(moves.then_some(Class::Expiry));
                }
            }
            (_, Some(Family::List)) if is_small_list(change) && !self.differing.ignore_order => {
                self.edit_list(change, rank, pairs)?;
            }
            _ => {
                self.commands.send(&[b"DEL", &change.name])?;
                self.create(change, rank, pairs)?;
            }
        }
        Ok(Some(if change.class == Class::Unsure { Class::Changed } else { change.class }))
    }

    fn end(&mut self, _counts: &Counts) -> io::Result<()> {
        self.commands.out.flush()?;
        match (self.is_for_old, self.field_ttls) {
            (false, _) | (_, 0) => Ok(()),
            (true, n) => writeln!(
                io::stderr(),
                "{}: {n} commands say when fields of hashes expire: servers before Redis 7.4 and Valkey 9 refuse them",
                program()
            ),
        }
    }
}

fn push_all<'e, W: Write>(
    commands: &mut Commands<W>,
    name: &[u8],
    key: &[u8],
    mut elements: impl Iterator<Item = &'e Vec<u8>>,
) -> io::Result<()> {
    elements.try_for_each(|element| commands.add(&[name, key], &[element]))
}

fn score(bits: &[u8]) -> Vec<u8> {
    let bits = bits.first_chunk().map_or(0, |bits| u64::from_be_bytes(*bits));
    let mut text = Vec::new();
    num::push_f64_17g(&mut text, f64::from_bits(bits));
    text
}

/// A field expires; of other types, members do in KeyDB, which has commands of its own.
fn member_expires<W: Write>(
    commands: &mut Commands<W>,
    change: &Change,
    member: &[u8],
    at: &[u8],
) -> io::Result<()> {
    let at = at.first_chunk().map_or(0, |at| i64::from_be_bytes(*at)).to_string();
    let (key, at) = (&change.name[..], at.as_bytes());
    commands.flush()?;
    match change.b.as_ref().is_some_and(|b| b.family == Family::Hash) {
        true => commands.send(&[b"HPEXPIREAT", key, at, b"FIELDS", b"1", member]),
        false => commands.send(&[b"PEXPIREMEMBERAT", key, member, at]),
    }
}

fn member_persists<W: Write>(commands: &mut Commands<W>, change: &Change, member: &[u8]) -> io::Result<()> {
    commands.flush()?;
    match change.b.as_ref().is_some_and(|b| b.family == Family::Hash) {
        true => commands.send(&[b"HPERSIST", &change.name, b"FIELDS", b"1", member]),
        false => commands.send(&[b"PERSIST", &change.name, member]),
    }
}

fn id_text(id: StreamId) -> Vec<u8> {
    let mut text = Vec::new();
    id.push_text(&mut text);
    text
}

fn make_stream<W: Write>(
    commands: &mut Commands<W>,
    key: &[u8],
    stream: &mut MadeStream,
    pair: &Pair,
) -> io::Result<()> {
    let (section, identity) = (pair.section(), pair.identity());
    let facts: Vec<_> = pair.b.iter().flat_map(|content| show::content(section, identity, content)).collect();
    let of = show::identity(section, identity);
    let fact = |name: &str| {
        facts.iter().find(|(its, _)| *its == name).map(|(_, fact)| {
            let mut text = String::new();
            match fact {
                show::Fact::At(ms) => text = ms.to_string(),
                fact => fact.push_text(&mut text),
            }
            text.into_bytes()
        })
    };
    match (section, &of[..]) {
        (Section::StandIn, [show::Fact::Id(id)]) => {
            (stream.has_key, stream.has_stand_ins) = (true, true);
            commands.send(&[b"XADD", key, &id_text(*id), b"x", b"y"])
        }
        (Section::Entry, [show::Fact::Id(id)]) => {
            stream.trim(commands, key)?;
            stream.has_key = true;
            let text = id_text(*id);
            let mut words: Vec<&[u8]> = vec![b"XADD", key, &text];
            let mut rest = pair.b.first().map(Vec::as_slice).unwrap_or_default();
            while let Some(field) = take_framed(&mut rest) {
                words.push(field);
            }
            commands.send(&words)
        }
        (Section::Totals, _) => {
            stream.trim(commands, key)?;
            if !stream.has_key {
                let last = fact("last_id").filter(|id| id != b"0-0").unwrap_or_else(|| b"0-1".to_vec());
                commands.send(&[b"XADD", key, b"MAXLEN", b"0", &last, b"x", b"y"])?;
            }
            stream.totals = pair.b.first().cloned();
            Ok(())
        }
        (Section::Group, _) => {
            let last_id = fact("last_id").unwrap_or_default();
            stream.has_key = true;
            let mut words: Vec<&[u8]> = vec![b"XGROUP", b"CREATE", key, identity, &last_id, b"MKSTREAM"];
            let read = fact("entries_read").filter(|read| read != b"unknown");
            if let Some(read) = &read {
                words.extend([&b"ENTRIESREAD"[..], read]);
            }
            commands.send(&words)
        }
        (Section::Consumer, [show::Fact::Bytes(group), show::Fact::Bytes(consumer)]) => {
            commands.send(&[b"XGROUP", b"CREATECONSUMER", key, group, consumer])
        }
        (Section::Pending, [show::Fact::Bytes(group), show::Fact::Id(id)]) => {
            let owner = pair.b.iter().find_map(|content| content.strip_prefix(&[1]));
            let (Some(owner), Some(at), Some(times)) = (owner, fact("delivered"), fact("deliveries")) else {
                return Ok(());
            };
            let id = id_text(*id);
            let words: [&[u8]; 12] = [
                b"XCLAIM",
                key,
                group,
                owner,
                b"0",
                &id,
                b"TIME",
                &at,
                b"RETRYCOUNT",
                &times,
                b"JUSTID",
                b"FORCE",
            ];
            commands.send(&words)
        }
        _ => Ok(()),
    }
}

impl MadeStream {
    /// Takes out what stood in for entries.
    fn trim<W: Write>(&mut self, commands: &mut Commands<W>, key: &[u8]) -> io::Result<()> {
        if !std::mem::take(&mut self.has_stand_ins) {
            return Ok(());
        }
        commands.send(&[b"XTRIM", key, b"MAXLEN", b"0"])?;
        commands.send(&[b"XSETID", key, b"0-0"])
    }
}

fn end_stream<W: Write>(commands: &mut Commands<W>, key: &[u8], stream: &MadeStream) -> io::Result<()> {
    let Some(totals) = &stream.totals else { return Ok(()) };
    let facts = show::content(Section::Totals, b"", totals);
    let text = |i: usize| {
        let mut text = String::new();
        if let Some((_, fact)) = facts.get(i) {
            fact.push_text(&mut text);
        }
        text.into_bytes()
    };
    let words: [&[u8]; 7] = [b"XSETID", key, &text(0), b"ENTRIESADDED", &text(3), b"MAXDELETEDID", &text(1)];
    commands.send(&words)
}
