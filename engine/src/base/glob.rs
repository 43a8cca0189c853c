//! Glob patterns as KEYS, SCAN MATCH, PSUBSCRIBE, CONFIG GET and ACL rules take them.
//!
//! `*` any run, `?` any byte, `[abc]`, `[^a-z]`, `\x` the byte x itself. Bytes, not characters.
//! Behaviour: valkey src/util.c, `stringmatchlen`, corners included; the corners are told in the
//! tests. One of them: a text that is matched only beyond the thousandth star is not matched.
//!
//! Every token but `*` takes exactly one byte of text, so only the latest star ever has to be
//! tried again: no recursion. Time at worst would be pattern times text, or text times a class; a match that
//! takes unreasonably long is given up as none, so that nobody waits for a megabyte against a megabyte.

/// Most runs of stars with something behind them that a match goes through: Valkey recurses for each,
/// and gives up here.
const MOST_STARS: usize = 1000;

/// Tokens that a match may try: so many, and so many for each byte of the text.
const MOST_WORK: usize = 1 << 20;
const MOST_PASSES: usize = 4;

/// Bytes of classes that a match may read: so many, and so many for each byte of the text. A class of more
/// than 256 says something twice.
const MOST_CLASS_WORK: usize = 1 << 16;
const MOST_CLASS_PASSES: usize = 16;

/// Whether the whole of `text` matches the whole of `pattern`.
///
/// `nocase` folds ASCII letters, except behind a backslash inside a class, as Valkey has it.
/// An empty text matches only an empty pattern, not even `*`: that too is Valkey's rule, whose
/// callers treat the lone `*` before they come here.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let mut p = 0;
    let mut t = 0;
    // Where to go on after the latest star, and the text position it was last tried at.
    let mut retry: Option<(usize, usize)> = None;
    let mut stars = 0;
    let mut work_left = MOST_PASSES.saturating_mul(text.len()).saturating_add(MOST_WORK);
    let mut class_left = MOST_CLASS_PASSES.saturating_mul(text.len()).saturating_add(MOST_CLASS_WORK);
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            if pattern.get(p) == Some(&b'*') {
                p += run_of_stars(&pattern[p..]);
            }
            if p == pattern.len() {
                return true;
            }
            stars += 1;
            if stars > MOST_STARS {
                return false;
            }
            retry = Some((p, t));
            continue;
        }
        if work_left == 0 {
            return false;
        }
        work_left -= 1;
        if let Some(next) = step(pattern, p, text[t], nocase, &mut class_left) {
            p = next;
            t += 1;
            continue;
        }
        if class_left == 0 {
            return false;
        }
        let Some((star, from)) = retry else { return false };
        let Some(from) = next_candidate(&pattern[star..], text, from + 1, nocase) else { return false };
        retry = Some((star, from));
        p = star;
        t = from;
    }
    p == pattern.len() || run_of_stars(&pattern[p..]) == pattern.len() - p
}

/// How many stars `pattern` begins with. Many are counted at once: KEYS asks for each key, and there may be
/// a megabyte of them.
#[inline(never)]
fn run_of_stars(pattern: &[u8]) -> usize {
    const CHUNK: usize = 64;
    let whole = pattern.chunks_exact(CHUNK).take_while(|chunk| **chunk == [b'*'; CHUNK]).count() * CHUNK;
    whole + pattern[whole..].iter().take_while(|&&b| b == b'*').count()
}

/// The first position at or after `from` where a match of `rest` could start: when `rest` begins
/// with a plain byte it is looked for with memchr instead of being tried everywhere.
fn next_candidate(rest: &[u8], text: &[u8], from: usize, nocase: bool) -> Option<usize> {
    let first = match rest[0] {
        b'*' | b'?' | b'[' | b'\\' => return Some(from),
        b if nocase && b.is_ascii_alphabetic() => {
            let tail = &text[from.min(text.len())..];
            return memchr::memchr2(b.to_ascii_lowercase(), b.to_ascii_uppercase(), tail).map(|i| from + i);
        }
        b => b,
    };
    memchr::memchr(first, &text[from.min(text.len())..]).map(|i| from + i)
}

/// Matches the one-byte token at `p` against `byte`; answers where the next token starts if it does.
/// `class_left` is how many more bytes of classes may be read; with none left nothing matches.
#[inline]
fn step(pattern: &[u8], p: usize, byte: u8, nocase: bool, class_left: &mut usize) -> Option<usize> {
    match *pattern.get(p)? {
        b'?' => Some(p + 1),
        b'[' => {
            let most = pattern.len().min(p.saturating_add(*class_left));
            let (matched, next) = class(&pattern[..most], p + 1, byte, nocase);
            *class_left -= (next - p).min(*class_left);
            (matched && *class_left > 0).then_some(next)
        }
        // A backslash at the very end stands for itself.
        b'\\' if p + 1 < pattern.len() => same(pattern[p + 1], byte, nocase).then_some(p + 2),
        literal => same(literal, byte, nocase).then_some(p + 1),
    }
}

fn same(a: u8, b: u8, nocase: bool) -> bool {
    a == b || (nocase && a.eq_ignore_ascii_case(&b))
}

/// Reads a class from `p`, just past its `[`; answers whether `byte` is in it and where it ends.
/// A class that is never closed ends with the pattern.
fn class(pattern: &[u8], mut p: usize, byte: u8, nocase: bool) -> (bool, usize) {
    let negated = pattern.get(p) == Some(&b'^');
    if negated {
        p += 1;
    }
    let mut matched = false;
    loop {
        match &pattern[p.min(pattern.len())..] {
            [] => return (matched != negated, pattern.len()),
            [b'\\', literal, ..] => {
                matched |= *literal == byte;
                p += 2;
            }
            [b']', ..] => return (matched != negated, p + 1),
            [low, b'-', high, ..] => {
                matched |= in_range(*low, *high, byte, nocase);
                p += 3;
            }
            [literal, ..] => {
                matched |= same(*literal, byte, nocase);
                p += 1;
            }
        }
    }
}

/// Valkey compares the ends of a range as C's `char`, signed on the hosts it is used on, swaps
/// them before it folds case, and does not look again afterwards: `[Z-a]` without case is empty.
fn in_range(low: u8, high: u8, byte: u8, nocase: bool) -> bool {
    let (low, high) = if low as i8 > high as i8 { (high, low) } else { (low, high) };
    let fold = |b: u8| if nocase { b.to_ascii_lowercase() as i8 } else { b as i8 };
    (fold(low)..=fold(high)).contains(&fold(byte))
}

#[cfg(test)]
mod tests;
