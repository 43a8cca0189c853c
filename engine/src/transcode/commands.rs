//! A key as the commands that make it again, as an append only file without an RDB in front has it.
//!
//! Collections go in pieces of [`PIECE`] elements, whatever their encoding; what no command can say is
//! a RESTORE with the bytes of DUMP. Only commands and options that Redis 7.0, Valkey 8 and whatever came
//! after them know, so that a file serves every family. Knows neither databases nor files: commands
//! go to the caller one by one, as words that borrow from the value. Behaviour: valkey src/aof.c,
//! `rewriteObjectRio`.

mod resp;
mod stream;
mod word;

use smallvec::SmallVec;

use crate::base::crc64::Crc64;
use crate::base::time::UnixMs;
use crate::codec::rdb::opcode;
use crate::packed::Element;
use crate::packed::listpack::Listpack;
use crate::value::hash::HashRef;
use crate::value::list::{ListRef, NodeRef};
use crate::value::set::SetRef;
use crate::value::zset::ZsetRef;
use crate::value::{Opaque, StrRef, ValueRef};

use super::{dump, save};

pub use resp::{BatchOut, Batches};
pub use word::Word;

/// Most elements (members, fields with their values) of a command.
pub const PIECE: usize = 64;

/// Words of a piece of the command with most of them: name, key, and pairs.
const WORDS: usize = 2 + 2 * PIECE;
/// Words behind the elements, of the command with most of them.
const TAIL: usize = 6;

/// Takes a command: its name first, then its arguments.
pub type Out<'o, E> = dyn FnMut(&[Word<'_>]) -> Result<(), E> + 'o;

/// Writes a key with all that belongs to it. O(size), and no memory that grows with the value, but for
/// the payload of a stream that only RESTORE can say.
///
/// # Errors
/// Those of `out`.
pub fn entry<E>(
    out: &mut Out<'_, E>,
    key: &[u8],
    expire_at: Option<UnixMs>,
    value: ValueRef<'_>,
) -> Result<(), E> {
    match value {
        ValueRef::String(text) => string(out, key, text)?,
        ValueRef::List(list) => self::list(out, key, list)?,
        ValueRef::Set(set) => self::set(out, key, set)?,
        ValueRef::Hash(hash) => self::hash(out, key, hash)?,
        ValueRef::Zset(zset) => self::zset(out, key, zset)?,
        ValueRef::Stream(stream) => {
            let is_said = match stream::Plan::of(stream) {
                Some(plan) => stream::write(out, key, stream, plan)?,
                None => false,
            };
            if !is_said {
                out(&[word(b"DEL"), Word::Bytes(key)])?;
                return restore(out, key, expire_at, &[&dump::dump(value)]);
            }
        }
        ValueRef::Opaque(opaque) => return carried(out, key, expire_at, opaque),
    }
    match expire_at {
        Some(at) => out(&[word(b"PEXPIREAT"), Word::Bytes(key), Word::Int(at.0)]),
        None => Ok(()),
    }
}

/// Writes the function libraries of a server.
///
/// # Errors
/// Those of `out`.
pub fn functions<'a, E>(
    out: &mut Out<'_, E>,
    mut libraries: impl Iterator<Item = &'a [u8]>,
) -> Result<(), E> {
    libraries.try_for_each(|code| out(&[word(b"FUNCTION"), word(b"LOAD"), Word::Bytes(code)]))
}

/// Writes that what follows belongs to this database.
///
/// # Errors
/// Those of `out`.
pub fn select<E>(out: &mut Out<'_, E>, db: usize) -> Result<(), E> {
    out(&[word(b"SELECT"), Word::Int(db as i64)])
}

const fn word(text: &[u8]) -> Word<'_> {
    Word::Bytes(text)
}

/// A command in pieces: words that each begins with, and room for the elements of one.
struct Pieces<'a, 'o, 'e, E> {
    words: SmallVec<[Word<'a>; WORDS]>,
    /// Words that every piece begins with.
    head: usize,
    /// Where the number of elements stands, of commands that say it.
    count_at: Option<usize>,
    /// Words that every piece ends with.
    tail: SmallVec<[Word<'a>; TAIL]>,
    elements: usize,
    out: &'e mut Out<'o, E>,
}

impl<'a, 'o, 'e, E> Pieces<'a, 'o, 'e, E> {
    fn new(out: &'e mut Out<'o, E>, name: &'static [u8], key: &'a [u8]) -> Self {
        let mut words = SmallVec::new();
        words.push(word(name));
        words.push(Word::Bytes(key));
        Pieces { words, head: 2, count_at: None, tail: SmallVec::new(), elements: 0, out }
    }

    /// Adds words to those that each piece begins with. Nothing else has been added yet.
    fn begin_with(&mut self, more: &[Word<'a>]) {
        self.words.extend_from_slice(more);
        self.head = self.words.len();
    }

    fn add(&mut self, element: Word<'a>) -> Result<(), E> {
        self.words.push(element);
        self.added()
    }

    fn add_pair(&mut self, first: Word<'a>, second: Word<'a>) -> Result<(), E> {
        self.words.push(first);
        self.words.push(second);
        self.added()
    }

    fn added(&mut self) -> Result<(), E> {
        self.elements += 1;
        if self.elements == PIECE { self.end() } else { Ok(()) }
    }

    /// Writes what is there, if anything.
    fn end(&mut self) -> Result<(), E> {
        if self.elements == 0 {
            return Ok(());
        }
        if let Some(at) = self.count_at {
            self.words[at] = Word::Int(self.elements as i64);
        }
        self.words.extend_from_slice(&self.tail);
        (self.out)(&self.words)?;
        self.words.truncate(self.head);
        self.elements = 0;
        Ok(())
    }
}

fn string<E>(out: &mut Out<'_, E>, key: &[u8], text: StrRef<'_>) -> Result<(), E> {
    let value = match text {
        StrRef::Int(n) => Word::Int(n),
        StrRef::Text(bytes) | StrRef::Edited(bytes) => Word::Bytes(bytes),
    };
    out(&[word(b"SET"), Word::Bytes(key), value])
}

fn list<E>(out: &mut Out<'_, E>, key: &[u8], list: ListRef<'_>) -> Result<(), E> {
    let mut pieces = Pieces::new(out, b"RPUSH", key);
    for node in list.nodes() {
        match node {
            NodeRef::Packed(pack) => pack.iter().try_for_each(|element| pieces.add(element.into()))?,
            NodeRef::Sealed(sealed) => sealed.iter().try_for_each(|element| pieces.add(element.into()))?,
            NodeRef::Plain(bytes) => pieces.add(Word::Bytes(bytes))?,
        }
    }
    pieces.end()
}

fn set<E>(out: &mut Out<'_, E>, key: &[u8], set: SetRef<'_>) -> Result<(), E> {
    let mut pieces = Pieces::new(out, b"SADD", key);
    match set {
        SetRef::Listpack(pack) => pack.iter().try_for_each(|member| pieces.add(member.into()))?,
        SetRef::Intset(_) | SetRef::Table(_) => {
            set.iter().try_for_each(|member| pieces.add(member.into()))?;
        }
    }
    pieces.end()
}

fn zset<E>(out: &mut Out<'_, E>, key: &[u8], zset: ZsetRef<'_>) -> Result<(), E> {
    let mut pieces = Pieces::new(out, b"ZADD", key);
    match zset {
        // A score has its text already.
        ZsetRef::Listpack(pack) => pairs(pack, |member, score| pieces.add_pair(score.into(), member.into()))?,
        ZsetRef::Tree(_) => {
            zset.iter().try_for_each(|(member, score)| pieces.add_pair(Word::Score(score), member.into()))?;
        }
    }
    pieces.end()
}

/// All fields with their values, then the expiries: HSETEX would say both at once, but Redis 7.4 has it not.
fn hash<E>(out: &mut Out<'_, E>, key: &[u8], hash: HashRef<'_>) -> Result<(), E> {
    let mut pieces = Pieces::new(&mut *out, b"HSET", key);
    match hash {
        HashRef::Listpack(pack) => pairs(pack, |field, value| pieces.add_pair(field.into(), value.into()))?,
        HashRef::ListpackEx(_) | HashRef::Table(_) => {
            hash.iter().try_for_each(|field| pieces.add_pair(field.field.into(), field.value.into()))?;
        }
    }
    pieces.end()?;
    if !hash.has_expiries() {
        return Ok(());
    }
    let mut pieces = Pieces::new(out, b"HPEXPIREAT", key);
    pieces.begin_with(&[Word::Int(0), word(b"FIELDS"), Word::Int(0)]);
    pieces.count_at = Some(EXPIRY_AT + 2);
    let mut last = None;
    for (field, at) in hash.iter().filter_map(|field| Some((field.field, field.expire_at?))) {
        if last != Some(at) {
            pieces.end()?;
            pieces.words[EXPIRY_AT] = Word::Int(at.0);
            last = Some(at);
        }
        pieces.add(field.into())?;
    }
    pieces.end()
}

/// Visits the elements of a listpack two by two.
fn pairs<'a, E>(
    pack: Listpack<'a>,
    mut visit: impl FnMut(Element<'a>, Element<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let mut elements = pack.iter();
    while let (Some(first), Some(second)) = (elements.next(), elements.next()) {
        visit(first, second)?;
    }
    Ok(())
}

/// Where the time stands in HPEXPIREAT.
const EXPIRY_AT: usize = 2;

/// The payload in pieces, as RESTORE takes it, without a copy of it.
fn carried<E>(out: &mut Out<'_, E>, key: &[u8], expire_at: Option<UnixMs>, opaque: &Opaque) -> Result<(), E> {
    let version = save::opaque_version(opaque).number.to_le_bytes();
    let meta: [&[u8]; 2] = match &opaque.meta {
        Some(meta) => [&[opcode::KEY_META], meta],
        None => [&[], &[]],
    };
    let type_byte = [opaque.type_byte];
    let body = [meta[0], meta[1], &type_byte, &opaque.payload, &version];
    let mut crc = Crc64::new();
    body.iter().for_each(|piece| crc.update(piece));
    let sum = crc.value().to_le_bytes();
    restore(out, key, expire_at, &[body[0], body[1], body[2], body[3], body[4], &sum])
}

fn restore<E>(
    out: &mut Out<'_, E>,
    key: &[u8],
    expire_at: Option<UnixMs>,
    payload: &[&[u8]],
) -> Result<(), E> {
    let at = Word::Int(expire_at.map_or(0, |at| at.0));
    out(&[word(b"RESTORE"), Word::Bytes(key), at, Word::Joined(payload), word(b"ABSTTL")])
}

#[cfg(test)]
mod tests;
