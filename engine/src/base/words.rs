//! Words of a line with shell-like quotes, as inline commands, redis.conf and AOF manifests have them.
//!
//! Double quotes understand `\xHH \n \r \t \b \a` and a backslash before any other byte; single quotes
//! understand `\'` only. Quotes may open and close anywhere in a word.
//! Behaviour: valkey src/sds.c `sdssplitargs`, `sdscatrepr`. Knows no files and no commands.

/// Splits a line into its words, quotes resolved.
///
/// The line ends at its first NUL, as the C string it is for Redis. `None` if a quote is not closed.
/// Redis, and Valkey before 9, also refuse what follows a closing quote without a blank. O(n).
#[must_use]
pub fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let end = memchr::memchr(0, line).unwrap_or(line.len());
    let mut rest = &line[..end];
    let mut words = Vec::new();
    loop {
        let skip = rest.iter().take_while(|b| is_blank(**b)).count();
        rest = &rest[skip..];
        if rest.is_empty() {
            return Some(words);
        }
        let mut word = Vec::new();
        rest = take_word(rest, &mut word)?;
        words.push(word);
    }
}

/// Blanks between words: C's `isspace` in the C locale.
fn is_blank(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// Reads one word into `word` and gives what follows it.
fn take_word<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            // Vertical tab and form feed do not end a bare word, though they part words.
            [] | [b' ' | b'\n' | b'\r' | b'\t', ..] => return Some(rest),
            [b'"', tail @ ..] => rest = double_quoted(tail, word)?,
            [b'\'', tail @ ..] => rest = single_quoted(tail, word)?,
            [b, tail @ ..] => {
                word.push(*b);
                rest = tail;
            }
        }
    }
}

/// Reads up to the closing `"`. What follows it.
fn double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] => return None,
            [b'"', tail @ ..] => return Some(tail),
            [b'\\', b'x', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                word.push(hex(*high) << 4 | hex(*low));
                rest = tail;
            }
            [b'\\', b, tail @ ..] => {
                word.push(match b {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                rest = tail;
            }
            [b, tail @ ..] => {
                word.push(*b);
                rest = tail;
            }
        }
    }
}

/// Reads up to the closing `'`. What follows it.
fn single_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] => return None,
            [b'\'', tail @ ..] => return Some(tail),
            [b'\\', b'\'', tail @ ..] => {
                word.push(b'\'');
                rest = tail;
            }
            [b, tail @ ..] => {
                word.push(*b);
                rest = tail;
            }
        }
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

/// Whether `split` would not give these bytes back as one bare word.
#[must_use]
pub fn needs_quotes(word: &[u8]) -> bool {
    word.is_empty() || word.iter().any(|b| matches!(b, b'\\' | b'"' | b'\'') || !b.is_ascii_graphic())
}

/// Appends `word` in double quotes, every byte that is not printable ASCII escaped, so that `split`
/// gives the same bytes back.
pub fn push_quoted(out: &mut Vec<u8>, word: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for &b in word {
        match b {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', b]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(b),
            _ => out.extend_from_slice(&[
                b'\\',
                b'x',
                DIGITS[usize::from(b >> 4)],
                DIGITS[usize::from(b & 15)],
            ]),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests;
