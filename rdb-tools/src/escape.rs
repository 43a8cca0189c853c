//! Bytes as text that is safe to look at and gives the same bytes back.
//!
//! Valid UTF-8 without control characters stays as it is; `\n`, `\r`, `\t` and `\\` are written so, every other
//! byte as `\xHH`. Used where a form of output has no form of its own for any bytes: keys, csv, table.

use std::fmt::Write;

/// Whether such text is the bytes themselves.
#[must_use]
pub fn is_plain(bytes: &[u8]) -> bool {
    // Most of what is in a file: no need to look at characters.
    bytes.iter().all(|b| matches!(b, b' '..=b'~') && *b != b'\\')
}

/// Appends the text of `bytes`.
pub fn push(out: &mut Vec<u8>, bytes: &[u8]) {
    if is_plain(bytes) {
        out.extend_from_slice(bytes);
        return;
    }
    let mut text = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                ' '..='~' => text.push(c),
                // Letters and digits of any script; not marks that turn or hide text.
                c if c.is_alphanumeric() => text.push(c),
                c => push_hex(&mut text, c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        push_hex(&mut text, chunk.invalid());
    }
    out.extend_from_slice(text.as_bytes());
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        write!(text, "\\x{byte:02x}").expect("a string takes everything");
    }
}

/// The bytes that such text stands for; `None` if it is no such text.
#[must_use]
pub fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'\\' {
            bytes.push(first);
            continue;
        }
        let (&kind, after) = rest.split_first()?;
        rest = after;
        bytes.push(match kind {
            b'\\' => b'\\',
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => {
                let (hex, after) = rest.split_first_chunk::<2>()?;
                rest = after;
                let digits = std::str::from_utf8(hex).ok()?;
                u8::from_str_radix(digits, 16).ok().filter(|_| hex.iter().all(u8::is_ascii_hexdigit))?
            }
            _ => return None,
        });
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{push, unescape};

    fn escaped(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        push(&mut out, bytes);
        String::from_utf8(out).expect("is text")
    }

    #[test]
    fn bytes_come_back() {
        assert_eq!(escaped(b"user:1 \"x\""), "user:1 \"x\"");
        assert_eq!(escaped(b"a\\b\n\x00\xff"), r"a\\b\n\x00\xff");
        assert_eq!(escaped("zażółć\u{202e}".as_bytes()), r"zażółć\xe2\x80\xae");
        for first in 0..=255 {
            for second in [0, b'x', b'\\', 0x80, 0xc3, 0xff] {
                let bytes = [first, second, b'4', b'1'];
                assert_eq!(unescape(escaped(&bytes).as_bytes()).as_deref(), Some(&bytes[..]));
            }
        }
        for text in ["\\", "\\x1", "\\x+1", "\\q"] {
            assert_eq!(unescape(text.as_bytes()), None, "{text}");
        }
    }
}
