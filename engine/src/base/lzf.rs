//! LZF: the light compression of strings in RDB files. Token format of liblzf.
//!
//! A token's first byte `c` says what follows. `c < 32`: a run of `c + 1` literal bytes. Else a
//! copy from earlier output: the length is the top three bits plus 2, or, when they are all set,
//! the next byte plus 9; the distance is the low five bits and one byte more, plus 1. So copies are
//! 3 to 264 bytes long and reach back at most 8192.
//!
//! The encoder's bytes are not liblzf's, nor need they be: only the decoder's side is a format.
//! Ours looks for four equal bytes where liblzf takes three, for a copy of three saves next to
//! nothing and costs both sides a token; it steps faster through what does not repeat; and it never
//! clears its table for an input. On texts of 100 B to 8 KiB that gave 1 to 2.5 times liblzf's speed
//! in both directions, for an output at most 7 % larger (and a fifth smaller on few symbols).
//! Knows no files and no policy but Redis's "at least four bytes saved".

/// The shortest copy we look for; the format has copies of three, too.
const MIN_MATCH: usize = 4;
/// Copies from this length on have it in a byte of its own.
const LONG_COPY: usize = 9;
/// Copies longer than this cannot be written.
const MAX_MATCH: usize = 264;
/// How far back a copy can reach.
const MAX_DISTANCE: usize = 1 << 13;
/// Literals one token can carry.
const MAX_LITERALS: usize = 32;
/// The most output bytes one input byte can stand for: three bytes make a copy of 264.
const MAX_EXPANSION: usize = MAX_MATCH / 3;
/// What compression must save to be worth it, as valkey src/rdb.c, `rdbSaveLzfStringObject`, has it.
const MIN_SAVED: usize = 4;
/// Inputs this large are not tried: positions are kept in 32 bits.
const MAX_INPUT: usize = 1 << 30;

/// One entry for every position that a copy can reach.
const HASH_BITS: u32 = 13;
/// Inputs of up to so many bytes use half of the table: that much stays in a first-level cache.
const SHORT: usize = 1 << 11;
const SHORT_HASH_BITS: u32 = HASH_BITS - 1;
/// After so many misses in a row (as a power of two) the search begins to step by two, three, ...
const SKIP_SHIFT: u32 = 5;

/// For a hash of four bytes, these (the upper half) and the position where they stood last.
type Table = Box<[u64; 1 << HASH_BITS]>;

/// A compressor; keep it, for its table is not cleared between calls.
///
/// The output depends on the input alone: entries of earlier calls lie too far back to be used.
pub struct Encoder {
    table: Table,
    /// Position of the next input's first byte in the numbering of the table.
    base: u32,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// An encoder with an empty table of 64 KiB.
    #[must_use]
    pub fn new() -> Self {
        Self { table: Box::new([0; 1 << HASH_BITS]), base: MAX_DISTANCE as u32 + 1 }
    }

    /// Appends the compressed form of `input` to `out` and answers its length, which is at least
    /// four bytes below the input's; else answers `None` and leaves `out` as it was.
    pub fn compress(&mut self, input: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        if input.len() <= MIN_SAVED || input.len() >= MAX_INPUT {
            return None;
        }
        let limit = input.len() - MIN_SAVED;
        let gap = input.len() as u32 + MAX_DISTANCE as u32 + 1;
        let base = match self.base.checked_add(gap) {
            Some(next) => std::mem::replace(&mut self.base, next),
            None => {
                self.table.fill(0);
                self.base = gap + MAX_DISTANCE as u32 + 1;
                MAX_DISTANCE as u32 + 1
            }
        };
        let start = out.len();
        let written = compress_into(Search::new(&mut self.table, base, input), limit, out);
        out.truncate(start + written.unwrap_or(0));
        written
    }
}

/// Appends the tokens of an input, if they take `limit` bytes at most; answers how many.
fn compress_into(mut search: Search<'_>, limit: usize, out: &mut Vec<u8>) -> Option<usize> {
    let input = search.input;
    // Most of what does not shrink has no repeat at all, and is done with here.
    let mut repeat = search.next()?;
    let start = out.len();
    out.resize(start + limit, 0);
    let out = &mut out[start..];
    let (mut written, mut literals) = (0, 0);
    loop {
        let Repeat { at, distance } = repeat;
        let len = match_len(input, at, distance);
        written = put_literals(out, written, &input[literals..], at - literals)?;
        written = put_copy(out, written, distance, len)?;
        literals = at + len;
        search.go_on(literals);
        match search.next() {
            Some(next) => repeat = next,
            None => break,
        }
    }
    put_literals(out, written, &input[literals..], input.len() - literals)
}

/// Bytes that stand in the input a second time.
struct Repeat {
    at: usize,
    distance: usize,
}

/// The search for repeats, from front to back.
struct Search<'a> {
    table: &'a mut Table,
    /// What makes a position in the input one in the table.
    base: u32,
    input: &'a [u8],
    at: usize,
    /// Misses since the last copy, and `1 << SKIP_SHIFT` more.
    misses: u32,
    /// Bits of a product that are no part of a hash.
    shift: u32,
}

impl<'a> Search<'a> {
    fn new(table: &'a mut Table, base: u32, input: &'a [u8]) -> Search<'a> {
        let shift = 32 - if input.len() <= SHORT { SHORT_HASH_BITS } else { HASH_BITS };
        Search { table, base, input, at: 0, misses: 1 << SKIP_SHIFT, shift }
    }

    /// Goes on at `at`, behind a copy.
    #[inline(always)]
    fn go_on(&mut self, at: usize) {
        // Two positions inside the copy are remembered too, or repeats of its tail would be missed.
        for back in [2, 1] {
            if let Some(word) = word_at(self.input, at - back) {
                self.swap(word, at - back);
            }
        }
        (self.at, self.misses) = (at, 1 << SKIP_SHIFT);
    }

    /// The next repeat.
    #[inline(always)]
    fn next(&mut self) -> Option<Repeat> {
        const REACH: u64 = MAX_DISTANCE as u64;
        loop {
            let at = self.at;
            let distance = self.swap(word_at(self.input, at)?, at);
            if distance <= REACH {
                return Some(Repeat { at, distance: distance as usize });
            }
            self.at += (self.misses >> SKIP_SHIFT) as usize;
            self.misses = self.misses.wrapping_add(1);
        }
    }

    /// Remembers a position, and tells how far back the same four bytes stand that were remembered in its
    /// place; out of reach if they were others.
    #[inline(always)]
    fn swap(&mut self, word: u32, at: usize) -> u64 {
        let position = self.base.wrapping_add(at as u32);
        let entry = u64::from(word) << 32 | u64::from(position);
        let slot = (word.wrapping_mul(0x9e37_79b1) >> self.shift) as usize & ((1 << HASH_BITS) - 1);
        let before = std::mem::replace(&mut self.table[slot], entry);
        // Positions only grow, so with other bytes the difference is 2^32 or more.
        entry.wrapping_sub(before)
    }
}

#[inline(always)]
fn word_at(input: &[u8], at: usize) -> Option<u32> {
    let bytes = input.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*bytes))
}

/// How many bytes at `at` equal those `distance` before, at least the four known to.
#[inline(always)]
fn match_len(input: &[u8], at: usize, distance: usize) -> usize {
    let end = input.len().min(at + MAX_MATCH);
    let here = &input[at..end];
    let there = &input[at - distance..end - distance];
    let mut len = MIN_MATCH;
    while let (Some(a), Some(b)) = (chunk8(here, len), chunk8(there, len)) {
        let differ = a ^ b;
        if differ != 0 {
            return len + (differ.trailing_zeros() / 8) as usize;
        }
        len += 8;
    }
    while len < here.len() && here[len] == there[len] {
        len += 1;
    }
    len
}

#[inline(always)]
fn chunk8(s: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*s.get(at..)?.first_chunk::<8>()?))
}

/// Writes the first `len` of `bytes` as literal tokens from `at` on; answers where they end, `None`
/// when out of room.
#[inline(always)]
fn put_literals(out: &mut [u8], mut at: usize, bytes: &[u8], len: usize) -> Option<usize> {
    let mut done = 0;
    while done < len {
        let run = (len - done).min(MAX_LITERALS);
        // A whole window is moved when there is room, for that is two loads and two stores.
        let room = out.get_mut(at..at + 1 + MAX_LITERALS);
        if let (Some(window), Some(room)) = (bytes.get(done..done + MAX_LITERALS), room) {
            room[1..].copy_from_slice(window);
        } else {
            out.get_mut(at + 1..at + 1 + run)?.copy_from_slice(&bytes[done..done + run]);
        }
        out[at] = (run - 1) as u8;
        at += 1 + run;
        done += run;
    }
    Some(at)
}

/// Writes a copy token; answers where it ends, `None` when out of room.
#[inline(always)]
fn put_copy(out: &mut [u8], at: usize, distance: usize, len: usize) -> Option<usize> {
    let [low, high, ..] = (distance - 1).to_le_bytes();
    let is_long = len >= LONG_COPY;
    // Room for three bytes is asked for even when two are used: no branch then on the length.
    let Some([token, second, third]) = out.get_mut(at..at + 3) else {
        return put_last_copy(out.get_mut(at..)?, [low, high], len).map(|bytes| at + bytes);
    };
    *token = ((len - 2).min(7) as u8) << 5 | high;
    *second = if is_long { (len - LONG_COPY) as u8 } else { low };
    *third = low;
    Some(at + 2 + usize::from(is_long))
}

#[cold]
fn put_last_copy(out: &mut [u8], [low, high]: [u8; 2], len: usize) -> Option<usize> {
    let [token, second] = out.first_chunk_mut::<2>().filter(|_| len < LONG_COPY)?;
    *token = ((len - 2) as u8) << 5 | high;
    *second = low;
    Some(2)
}

/// Why a stream could not be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LzfError {
    /// So many bytes cannot come out of so few, whatever they are.
    #[error("{declared} bytes cannot come out of {compressed} compressed ones")]
    ImpossibleLength {
        /// The length the caller was told.
        declared: usize,
        /// The length of the stream.
        compressed: usize,
    },
    /// The stream ends inside the token at `at`.
    #[error("the compressed stream ends inside the token at byte {at}")]
    Truncated {
        /// Offset of the token in the stream.
        at: usize,
    },
    /// The token at `at` copies from before the first byte.
    #[error("the token at byte {at} copies from before the start of the data")]
    DistanceTooFar {
        /// Offset of the token in the stream.
        at: usize,
    },
    /// The token at `at` makes more bytes than were declared.
    #[error("the token at byte {at} runs past the declared length")]
    TooLong {
        /// Offset of the token in the stream.
        at: usize,
    },
    /// The stream ended before the declared length was reached.
    #[error("the compressed stream makes {made} bytes, {declared} were declared")]
    TooShort {
        /// Bytes that came out.
        made: usize,
        /// Bytes that should have.
        declared: usize,
    },
}

/// Appends to `out` exactly the `raw_len` bytes that `input` stands for.
///
/// # Errors
/// [`LzfError`]; `out` is then as it was. Memory is asked for only once `raw_len` is known to be
/// possible for a stream of this length.
pub fn decompress(input: &[u8], raw_len: usize, out: &mut Vec<u8>) -> Result<(), LzfError> {
    if raw_len > input.len().saturating_mul(MAX_EXPANSION) {
        return Err(LzfError::ImpossibleLength { declared: raw_len, compressed: input.len() });
    }
    let start = out.len();
    out.resize(start + raw_len + SLACK, 0);
    let result = decompress_into(input, &mut out[start..], raw_len);
    out.truncate(start + if result.is_ok() { raw_len } else { 0 });
    result
}

/// Room behind the output. Bytes are moved by whole chunks, and what is moved beyond a token's length is
/// overwritten by the next token or cut off in the end.
const SLACK: usize = MAX_LITERALS;

fn decompress_into(input: &[u8], out: &mut [u8], raw_len: usize) -> Result<(), LzfError> {
    match decompress_sound(input, out, raw_len) {
        Some(()) => Ok(()),
        None => decompress_carefully(input, out, raw_len),
    }
}

/// As [`decompress_carefully`] for a stream with nothing wrong in it. Literals and copies mostly take turns, so a turn
/// of this loop is for one of each, with one look at what is left of the stream.
fn decompress_sound(input: &[u8], out: &mut [u8], raw_len: usize) -> Option<()> {
    /// A token of literals, a copy behind it, and what fits above both.
    const WINDOW: usize = MAX_LITERALS + 8;
    /// Bytes that are moved at once for most copies.
    const CHUNK: usize = 8;
    let (mut from, mut made) = (0usize, 0usize);
    while let Some(window) = chunk_at::<WINDOW>(input, from) {
        let mut token = usize::from(window[0]);
        let mut behind = 1;
        if token < MAX_LITERALS {
            *out.get_mut(made..)?.first_chunk_mut()? = *chunk_at::<MAX_LITERALS>(window, 1)?;
            made += token + 1;
            from += token + 2;
            behind = token + 3;
            token = usize::from(window[token + 2]);
            if token < MAX_LITERALS {
                continue;
            }
        }
        let (short, low) = (token >> 5, usize::from(window[behind]));
        if short < 7 {
            let (len, distance) = (short + 2, ((token & 31) << 8 | low) + 1);
            let before = made.checked_sub(distance)?;
            if distance >= len {
                let chunk = *chunk_at::<CHUNK>(out, before)?;
                *out.get_mut(made..)?.first_chunk_mut()? = chunk;
            } else {
                out.get(made + len..)?;
                copy_back_near(out, made, distance, len);
            }
            from += 2;
            made += len;
        } else {
            let (len, distance) =
                (low + LONG_COPY, ((token & 31) << 8 | usize::from(window[behind + 1])) + 1);
            if distance > made || made + len > raw_len {
                return None;
            }
            copy_back(out, made, distance, len);
            from += 3;
            made += len;
        }
    }
    // The last tokens, with all their bounds; there is room for more than was declared.
    if made > raw_len {
        return None;
    }
    go_on(input, out, raw_len, (from, made)).ok()
}

#[inline(always)]
fn chunk_at<const N: usize>(bytes: &[u8], at: usize) -> Option<&[u8; N]> {
    bytes.get(at..)?.first_chunk()
}

fn decompress_carefully(input: &[u8], out: &mut [u8], raw_len: usize) -> Result<(), LzfError> {
    go_on(input, out, raw_len, (0, 0))
}

/// Unpacks the rest of a stream, of which some bytes have been read and made others.
fn go_on(
    input: &[u8],
    out: &mut [u8],
    raw_len: usize,
    (mut from, mut made): (usize, usize),
) -> Result<(), LzfError> {
    while let Some(&token) = input.get(from) {
        let at = from;
        let token = usize::from(token);
        if token < MAX_LITERALS {
            let len = token + 1;
            let rest = &input[at + 1..];
            let window = rest.first_chunk::<MAX_LITERALS>();
            if len > rest.len() {
                return Err(LzfError::Truncated { at });
            }
            if len > raw_len - made {
                return Err(LzfError::TooLong { at });
            }
            match (window, out[made..].first_chunk_mut::<MAX_LITERALS>()) {
                (Some(window), Some(room)) => *room = *window,
                _ => out[made..made + len].copy_from_slice(&rest[..len]),
            }
            from = at + 1 + len;
            made += len;
            continue;
        }
        let short = token >> 5;
        let (len, low) = if short < 7 {
            (short + 2, at + 1)
        } else {
            (usize::from(*input.get(at + 1).ok_or(LzfError::Truncated { at })?) + LONG_COPY, at + 2)
        };
        let low_bits = *input.get(low).ok_or(LzfError::Truncated { at })?;
        let distance = ((token & 31) << 8 | usize::from(low_bits)) + 1;
        if distance > made {
            return Err(LzfError::DistanceTooFar { at });
        }
        if len > raw_len - made {
            return Err(LzfError::TooLong { at });
        }
        copy_back(out, made, distance, len);
        from = low + 1;
        made += len;
    }
    if made == raw_len { Ok(()) } else { Err(LzfError::TooShort { made, declared: raw_len }) }
}

/// Repeats at `made` the `len` bytes that begin `distance` before it, those just written included.
/// `out` has `SLACK` bytes behind them.
#[inline(always)]
fn copy_back(out: &mut [u8], made: usize, distance: usize, len: usize) {
    /// Bytes moved at a time, no more than the slack.
    const CHUNK: usize = 16;
    if distance < CHUNK {
        return copy_back_near(out, made, distance, len);
    }
    let (before, room) = out.split_at_mut(made);
    let from = &before[made - distance..];
    // Most copies are shorter than a chunk.
    if let (Some(from), Some(room)) = (from.first_chunk::<CHUNK>(), room.first_chunk_mut::<CHUNK>()) {
        *room = *from;
    }
    let mut done = CHUNK;
    while done < len {
        let to = made + done;
        let chunk = *out[to - distance..].first_chunk::<CHUNK>().expect("it lies before the room");
        *out[to..].first_chunk_mut::<CHUNK>().expect("the slack is as long as a chunk") = chunk;
        done += CHUNK;
    }
}

fn copy_back_near(out: &mut [u8], made: usize, distance: usize, len: usize) {
    let from = made - distance;
    if distance == 1 {
        let byte = out[from];
        out[made..made + len].fill(byte);
        return;
    }
    // What has been repeated can be repeated at once: the stretch doubles with every step.
    let mut done = 0;
    while done < len {
        let step = (distance + done).min(len - done);
        out.copy_within(from..from + step, made + done);
        done += step;
    }
}

/// What a token does, by its first byte.
#[derive(Clone, Copy)]
struct Token {
    /// Bytes that it makes; of a long copy, what its second byte is added to.
    makes: u8,
    /// Bytes of the stream that it takes, those of a literal run included.
    takes: u8,
}

const TOKENS: [Token; 256] = {
    let mut tokens = [Token { makes: 0, takes: 0 }; 256];
    let mut first = 0;
    while first < 256 {
        tokens[first] = match (first, first >> 5) {
            (literals, 0) => Token { makes: literals as u8 + 1, takes: literals as u8 + 2 },
            (_, 7) => Token { makes: LONG_COPY as u8, takes: 3 },
            (_, short) => Token { makes: short as u8 + 2, takes: 2 },
        };
        first += 1;
    }
    tokens
};

/// Whether [`decompress`] would unpack `input` to `raw_len` bytes. Nothing is unpacked: it goes from token to token.
#[must_use]
pub fn is_sound(input: &[u8], raw_len: usize) -> bool {
    let (mut from, mut made, mut is_bad) = (0, 0, false);
    // Which kind a token is of cannot be guessed, so there is no branch on it.
    while let Some([first, second, third]) = input.get(from..).and_then(<[u8]>::first_chunk) {
        let token = TOKENS[usize::from(*first)];
        let is_long = *first >= 7 << 5;
        let low = if is_long { *third } else { *second };
        let distance = (usize::from(*first & 31) << 8 | usize::from(low)) + 1;
        is_bad |= (*first >= 1 << 5) & (distance > made);
        // Each step makes 264 bytes at the most, out of two bytes of input at the least.
        made += usize::from(token.makes) + if is_long { usize::from(*second) } else { 0 };
        from += usize::from(token.takes);
    }
    if is_bad || from > input.len() {
        return false;
    }
    match input[from..] {
        [] => {}
        [first, low] if (1 << 5..7 << 5).contains(&first) => {
            if (usize::from(first & 31) << 8 | usize::from(low)) + 1 > made {
                return false;
            }
            made += usize::from(TOKENS[usize::from(first)].makes);
        }
        [0, _] => made += 1,
        _ => return false,
    }
    made == raw_len
}

/// Unpacks one stream after another into the same room.
#[derive(Debug, Default)]
pub struct Unpacker {
    room: Vec<u8>,
}

impl Unpacker {
    /// Of a room that has grown beyond this only so much is kept.
    const KEPT_BYTES: usize = 1 << 20;

    /// The `raw_len` bytes that `input` stands for.
    ///
    /// # Errors
    /// As [`decompress`] has them.
    pub fn unpack(&mut self, input: &[u8], raw_len: usize) -> Result<&[u8], LzfError> {
        if raw_len > input.len().saturating_mul(MAX_EXPANSION) {
            return Err(LzfError::ImpossibleLength { declared: raw_len, compressed: input.len() });
        }
        let needed = raw_len + SLACK;
        if self.room.len() < needed {
            self.room.resize(needed, 0);
        } else if self.room.len() > needed.max(Self::KEPT_BYTES) {
            self.room.truncate(needed.max(Self::KEPT_BYTES));
            self.room.shrink_to_fit();
        }
        decompress_into(input, &mut self.room[..needed], raw_len)?;
        Ok(&self.room[..raw_len])
    }
}

#[cfg(test)]
mod tests;
