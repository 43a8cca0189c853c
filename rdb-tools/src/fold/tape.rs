//! What a partition gets, as bytes: commands with their places, keys of a base with their payloads.
//!
//! The bytes never leave the process that made them, so they have no version and no sums. Numbers are
//! LEB128. Each function makes one item in the place of what was in the buffer.

use std::io::{self, BufRead, ErrorKind, Read};
use std::ops::Range;

use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::{Dialect, KeyHead, Version};

const COMMAND: u8 = 0;
const KEY: u8 = 1;
const PIECE: u8 = 2;
const END: u8 = 3;
const VERSION: u8 = 4;
const MEMBER: u8 = 5;

/// A key of a base without its value.
#[derive(Debug, Clone, Default)]
pub(super) struct Key {
    pub(super) at: u64,
    pub(super) db: u64,
    pub(super) type_byte: u8,
    pub(super) expire_at: Option<UnixMs>,
    pub(super) meta: Option<Vec<u8>>,
    pub(super) key: Vec<u8>,
}

impl Key {
    pub(super) fn of(head: &KeyHead<'_>) -> Key {
        Key {
            at: head.at,
            db: head.db,
            type_byte: head.type_byte,
            expire_at: head.expire_at,
            meta: head.meta.map(<[u8]>::to_vec),
            key: head.key.to_vec(),
        }
    }
}

/// A command that stands at `place` (number of the file, offset).
pub(super) fn command<'a>(
    line: &mut Vec<u8>,
    place: (u64, u64),
    db: usize,
    words: impl ExactSizeIterator<Item = &'a [u8]>,
) {
    begin(line, COMMAND);
    for number in [place.0, place.1, db as u64, words.len() as u64] {
        push(line, number);
    }
    words.for_each(|word| push_bytes(line, word));
}

/// A key whose value follows in pieces, up to the end.
pub(super) fn key(line: &mut Vec<u8>, key: &Key) {
    begin(line, KEY);
    push(line, key.at);
    push(line, key.db);
    line.push(key.type_byte);
    line.push(u8::from(key.expire_at.is_some()));
    push(line, key.expire_at.map_or(0, |at| at.0 as u64));
    line.push(u8::from(key.meta.is_some()));
    push_bytes(line, key.meta.as_deref().unwrap_or_default());
    push_bytes(line, &key.key);
}

/// A piece of a key's value.
pub(super) fn piece(line: &mut Vec<u8>, piece: &[u8]) {
    begin(line, PIECE);
    push_bytes(line, piece);
}

/// The value has ended.
pub(super) fn end(line: &mut Vec<u8>) {
    begin(line, END);
}

/// The keys that follow are of this version.
pub(super) fn version(line: &mut Vec<u8>, version: Version) {
    begin(line, VERSION);
    line.push(u8::from(version.dialect == Dialect::Valkey));
    push(line, u64::from(version.number));
}

/// A member of the last key expires (KeyDB): its name, and when as text.
pub(super) fn member(line: &mut Vec<u8>, member: &[u8], when: &[u8]) {
    begin(line, MEMBER);
    push_bytes(line, member);
    push_bytes(line, when);
}

fn begin(line: &mut Vec<u8>, item: u8) {
    line.clear();
    line.push(item);
}

fn push(line: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        line.push(number as u8 | 0x80);
        number >>= 7;
    }
    line.push(number as u8);
}

fn push_bytes(line: &mut Vec<u8>, bytes: &[u8]) {
    push(line, bytes.len() as u64);
    line.extend_from_slice(bytes);
}

/// An item that was read. Words and pieces are in the reader.
#[derive(Debug)]
pub(super) enum Item {
    Command { part: u64, at: u64, db: u64 },
    Key(Key),
    Piece,
    End,
    Version(Version),
    Member { member: Vec<u8>, when: Vec<u8> },
}

/// Reads items.
pub(super) struct Reader<R> {
    input: R,
    /// Words of a command, one behind another, or a piece.
    pub(super) bytes: Vec<u8>,
    /// Where the words are.
    pub(super) words: Vec<Range<usize>>,
}

impl<R: BufRead> Reader<R> {
    pub(super) fn new(input: R) -> Reader<R> {
        Reader { input, bytes: Vec::new(), words: Vec::new() }
    }

    /// The next item; `None` at the end.
    pub(super) fn advance(&mut self) -> io::Result<Option<Item>> {
        if self.input.fill_buf()?.is_empty() {
            return Ok(None);
        }
        self.bytes.clear();
        self.words.clear();
        let item = self.byte()?;
        Ok(Some(match item {
            COMMAND => {
                let (part, at, db, count) = (self.number()?, self.number()?, self.number()?, self.number()?);
                for _ in 0..count {
                    let start = self.bytes.len();
                    self.take()?;
                    self.words.push(start..self.bytes.len());
                }
                Item::Command { part, at, db }
            }
            KEY => {
                let (at, db, type_byte) = (self.number()?, self.number()?, self.byte()?);
                let (expires, expire_at) = (self.byte()? == 1, self.number()?);
                let has_meta = self.byte()? == 1;
                let meta = self.owned()?;
                let key = self.owned()?;
                Item::Key(Key {
                    at,
                    db,
                    type_byte,
                    expire_at: expires.then_some(UnixMs(expire_at as i64)),
                    meta: has_meta.then_some(meta),
                    key,
                })
            }
            PIECE => {
                self.take()?;
                Item::Piece
            }
            END => Item::End,
            VERSION => {
                let dialect = if self.byte()? == 1 { Dialect::Valkey } else { Dialect::Redis };
                Item::Version(Version { dialect, number: self.number()? as u16 })
            }
            MEMBER => Item::Member { member: self.owned()?, when: self.owned()? },
            _ => return Err(ErrorKind::InvalidData.into()),
        }))
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.input.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    fn number(&mut self) -> io::Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(ErrorKind::InvalidData.into())
    }

    /// Appends bytes with their length in front to those that are at hand.
    fn take(&mut self) -> io::Result<()> {
        let len = self.number()?;
        let read = (&mut self.input).take(len).read_to_end(&mut self.bytes)?;
        if read as u64 == len { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
    }

    fn owned(&mut self) -> io::Result<Vec<u8>> {
        let start = self.bytes.len();
        self.take()?;
        let owned = self.bytes[start..].to_vec();
        self.bytes.truncate(start);
        Ok(owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let (mut line, mut tape) = (Vec::new(), Vec::new());
        let version = Version { dialect: Dialect::Valkey, number: 80 };
        let long = vec![7; 70_000];
        let head =
            Key { at: 1 << 40, db: 300, type_byte: 9, expire_at: Some(UnixMs(-5)), meta: None, key: long };
        super::version(&mut line, version);
        tape.extend_from_slice(&line);
        key(&mut line, &head);
        tape.extend_from_slice(&line);
        piece(&mut line, b"payload");
        tape.extend_from_slice(&line);
        end(&mut line);
        tape.extend_from_slice(&line);
        member(&mut line, b"m", b"-1");
        tape.extend_from_slice(&line);
        command(&mut line, (3, u64::MAX), 2, [&b"SET"[..], b"", b"v"].into_iter());
        tape.extend_from_slice(&line);
        let mut reader = Reader::new(&tape[..]);
        let mut shown = String::new();
        while let Some(item) = reader.advance().expect("whole") {
            let item = match item {
                Item::Key(got) => format!("key {}", got.key == head.key && got.expire_at == head.expire_at),
                item => format!("{item:?}"),
            };
            let text = String::from_utf8_lossy(&reader.bytes);
            shown.push_str(&format!("{item} {text} {}\n", reader.words.len()));
        }
        let expected = "Version(Version { dialect: Valkey, number: 80 })  0\nkey true  0\nPiece payload 0\nEnd  0\n\
                        Member { member: [109], when: [45, 49] }  0\n\
                        Command { part: 3, at: 18446744073709551615, db: 2 } SETv 3\n";
        assert_eq!(shown, expected);
        assert!(Reader::new(&tape[..tape.len() - 1]).advance().is_ok());
    }
}
