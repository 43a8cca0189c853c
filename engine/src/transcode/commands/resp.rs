//! Commands as RESP, gathered into batches that hold whole commands only.
//!
//! A batch is handed on as pieces that follow one another: mostly one, the buffer. Long words are not
//! copied into it, so that a string of gigabytes takes no memory here. Knows no files and no checksums.

use super::Word;
use crate::base::num;

/// Bytes gathered before they are handed on: a buffer that stays in the CPU's cache.
const BATCH_BYTES: usize = 128 << 10;
/// Words from this size on are handed on from where they are.
const DIRECT_BYTES: usize = 16 << 10;
/// The longest `$n\r\n`, and the room that is written to at once for a short one.
const LENGTH_BYTES: usize = 1 + num::MAX_INT_CHARS + 2;

/// Takes a batch: whole commands, in pieces that follow one another.
pub type BatchOut<'o, E> = dyn FnMut(&[&[u8]]) -> Result<(), E> + 'o;

/// Gathers commands.
pub struct Batches<'o, E> {
    /// Always full length: what is before `at` is written.
    buf: Vec<u8>,
    at: usize,
    /// Room for the text of a double.
    text: Vec<u8>,
    out: &'o mut BatchOut<'o, E>,
}

impl<E> std::fmt::Debug for Batches<'_, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batches").field("bytes", &self.at).finish_non_exhaustive()
    }
}

impl<'o, E> Batches<'o, E> {
    /// Hands batches to `out`.
    pub fn new(out: &'o mut BatchOut<'o, E>) -> Self {
        Batches { buf: vec![0; BATCH_BYTES], at: 0, text: Vec::new(), out }
    }

    /// Adds a command, and hands a batch on when enough has been gathered.
    ///
    /// # Errors
    /// Those of the taker.
    pub fn command(&mut self, words: &[Word<'_>]) -> Result<(), E> {
        let mut most = LENGTH_BYTES;
        let mut is_long = false;
        for word in words {
            let bytes = word.most_bytes();
            is_long |= bytes >= DIRECT_BYTES;
            most += bytes + LENGTH_BYTES + 2;
        }
        if is_long {
            self.end()?;
            return self.long(words);
        }
        self.reserve(most);
        self.length(b'*', words.len());
        words.iter().for_each(|word| self.word(word));
        if self.at < BATCH_BYTES { Ok(()) } else { self.end() }
    }

    /// Hands on what has been gathered, if anything.
    ///
    /// # Errors
    /// Those of the taker.
    pub fn end(&mut self) -> Result<(), E> {
        if self.at == 0 {
            return Ok(());
        }
        let gathered = std::mem::take(&mut self.at);
        (self.out)(&[&self.buf[..gathered]])
    }

    /// Makes room for `most` bytes.
    fn reserve(&mut self, most: usize) {
        let needed = self.at + most;
        if needed > self.buf.len() {
            self.buf.resize(needed.next_multiple_of(BATCH_BYTES), 0);
        }
    }

    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        copy_short(&mut self.buf[self.at..self.at + bytes.len()], bytes);
        self.at += bytes.len();
    }

    #[inline(always)]
    fn length(&mut self, prefix: u8, n: usize) {
        match LENGTHS.get(n) {
            Some(line) => {
                let room = &mut self.buf[self.at..self.at + line.text.len()];
                room.copy_from_slice(&line.text);
                room[0] = prefix;
                self.at += usize::from(line.len);
            }
            None => {
                self.put(&[prefix]);
                self.put(itoa::Buffer::new().format(n).as_bytes());
                self.put(b"\r\n");
            }
        }
    }

    #[inline(always)]
    fn bytes(&mut self, bytes: &[u8]) {
        self.length(b'$', bytes.len());
        self.put(bytes);
        self.buf[self.at..self.at + 2].copy_from_slice(b"\r\n");
        self.at += 2;
    }

    #[inline(always)]
    fn word(&mut self, word: &Word<'_>) {
        match *word {
            Word::Bytes(bytes) => self.bytes(bytes),
            Word::Int(n) => self.bytes(itoa::Buffer::new().format(n).as_bytes()),
            Word::Score(_) | Word::Id(_) | Word::Joined(_) => {
                let mut text = std::mem::take(&mut self.text);
                text.clear();
                word.push_to(&mut text);
                self.bytes(&text);
                self.text = text;
            }
        }
    }

    /// Hands on a command with long words: all else of it goes into the buffer, and the pieces are cut
    /// from there.
    fn long(&mut self, words: &[Word<'_>]) -> Result<(), E> {
        /// Bytes of the buffer up to here, then this.
        type Cut<'w> = (usize, &'w [u8]);
        let mut cuts: Vec<Cut<'_>> = Vec::new();
        self.reserve(LENGTH_BYTES);
        self.length(b'*', words.len());
        for word in words {
            if word.most_bytes() < DIRECT_BYTES {
                self.reserve(word.most_bytes() + LENGTH_BYTES + 2);
                self.word(word);
                continue;
            }
            self.reserve(LENGTH_BYTES + 2);
            self.length(b'$', word.most_bytes());
            let one: [&[u8]; 1];
            let pieces: &[&[u8]] = match word {
                Word::Joined(pieces) => pieces,
                Word::Bytes(bytes) => {
                    one = [bytes];
                    &one
                }
                Word::Int(_) | Word::Score(_) | Word::Id(_) => unreachable!("no number is so long"),
            };
            cuts.extend(pieces.iter().map(|piece| (self.at, *piece)));
            self.put(b"\r\n");
        }
        let end = std::mem::take(&mut self.at);
        let mut from = 0;
        let mut all: Vec<&[u8]> = Vec::with_capacity(2 * cuts.len() + 1);
        for (to, piece) in cuts {
            all.extend([&self.buf[from..to], piece]);
            from = to;
        }
        all.push(&self.buf[from..end]);
        (self.out)(&all)
    }
}

/// Copies between slices of the same length. Most words are short, and for those a call costs more than
/// the bytes: two overlapping pieces of a fixed length cover each.
#[inline(always)]
fn copy_short(to: &mut [u8], from: &[u8]) {
    match from.len() {
        16..=32 => copy_ends::<16>(to, from),
        8..=15 => copy_ends::<8>(to, from),
        4..=7 => copy_ends::<4>(to, from),
        2..=3 => copy_ends::<2>(to, from),
        _ => to.copy_from_slice(from),
    }
}

#[inline(always)]
fn copy_ends<const N: usize>(to: &mut [u8], from: &[u8]) {
    if let (Some(a), Some(b)) = (from.first_chunk::<N>(), from.last_chunk::<N>())
        && let Some(first) = to.first_chunk_mut::<N>()
    {
        *first = *a;
        if let Some(last) = to.last_chunk_mut::<N>() {
            *last = *b;
        }
    }
}

/// `?n\r\n` of a short length.
#[derive(Clone, Copy)]
struct Line {
    text: [u8; 7],
    len: u8,
}

/// The lines of all lengths below a thousand, so that they cost a load and a store.
static LENGTHS: [Line; 1000] = lines();

const fn lines() -> [Line; 1000] {
    let mut all = [Line { text: [0; 7], len: 0 }; 1000];
    let mut n = 0;
    while n < all.len() {
        let digits = if n >= 100 {
            3
        } else if n >= 10 {
            2
        } else {
            1
        };
        let mut text = [0; 7];
        let mut rest = n;
        let mut at = digits;
        while at > 0 {
            text[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            at -= 1;
        }
        text[digits + 1] = b'\r';
        text[digits + 2] = b'\n';
        all[n] = Line { text, len: digits as u8 + 3 };
        n += 1;
    }
    all
}
