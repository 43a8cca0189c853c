//! JSON as the tools write it: ASCII only, no spaces, bytes that are not printable in base64.
//!
//! A string of the data is a JSON string if all of it is printable ASCII, else `{"b64":"..."}`, so
//! that nothing is lost and nothing has two forms. Appends to a `Vec`; knows no types of keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cairn_engine::base::num;

/// What bytes need in a JSON string: nothing, a backslash, or that all of the string is in base64.
const PLAIN: u8 = 0;
const ESCAPED: u8 = 1;
const BINARY: u8 = 2;

/// Need of each byte.
const NEEDS: [u8; 256] = {
    let mut needs = [BINARY; 256];
    let mut byte = b' ';
    while byte <= b'~' {
        needs[byte as usize] = PLAIN;
        byte += 1;
    }
    needs[b'"' as usize] = ESCAPED;
    needs[b'\\' as usize] = ESCAPED;
    needs
};

/// The needs of all bytes together. Without a branch a byte, so that they are looked at side by side.
fn needs(bytes: &[u8]) -> u8 {
    const SIDE_BY_SIDE: usize = 32;
    let one = |needs: u8, &byte: &u8| {
        let is_binary = u8::from(byte.wrapping_sub(b' ') > b'~' - b' ');
        let is_escaped = u8::from(byte == b'"') | u8::from(byte == b'\\');
        needs | is_binary << 1 | is_escaped
    };
    let (chunks, rest) = bytes.as_chunks::<SIDE_BY_SIDE>();
    let needs = chunks.iter().fold(PLAIN, |needs, chunk| needs | chunk.iter().fold(PLAIN, one));
    rest.iter().fold(needs, |needs, byte| needs | NEEDS[usize::from(*byte)])
}

/// Appends a string of the data.
pub fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    match needs(bytes) {
        PLAIN => {
            out.reserve(bytes.len() + 2);
            out.push(b'"');
            out.extend_from_slice(bytes);
            out.push(b'"');
        }
        ESCAPED => push_escaped(out, bytes),
        _ => push_base64(out, bytes),
    }
}

fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(b"{\"b64\":\"");
    let start = out.len();
    // Four characters for every three bytes begun.
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).expect("there is room for all of it");
    out.truncate(start + written);
    out.extend_from_slice(b"\"}");
}

/// Appends printable ASCII as a JSON string.
fn push_escaped(out: &mut Vec<u8>, mut bytes: &[u8]) {
    out.push(b'"');
    while let Some(at) = memchr::memchr2(b'"', b'\\', bytes) {
        out.extend_from_slice(&bytes[..at]);
        out.extend_from_slice(&[b'\\', bytes[at]]);
        bytes = &bytes[at + 1..];
    }
    out.extend_from_slice(bytes);
    out.push(b'"');
}

/// Appends text of our own, or of the system: any Unicode, escaped to ASCII.
pub fn push_text(out: &mut Vec<u8>, text: &str) {
    let json = serde_json::Value::String(text.to_owned()).to_string();
    for c in json.chars() {
        if c.is_ascii() {
            out.push(c as u8);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
            }
        }
    }
}

/// Appends `"name":`, with a comma before it unless it is the first of its object.
pub fn push_name(out: &mut Vec<u8>, name: &str) {
    if !out.ends_with(b"{") {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends an unsigned number.
pub fn push_u64(out: &mut Vec<u8>, value: u64) {
    num::push_u64(out, value);
}

/// Appends a signed number.
pub fn push_i64(out: &mut Vec<u8>, value: i64) {
    num::push_i64(out, value);
}

/// Appends a double as a string in C's `%.17g`, which gives the same double back.
pub fn push_f64(out: &mut Vec<u8>, value: f64) {
    /// Integers below have at most 16 digits, and `%.17g` prints them as integers.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    out.push(b'"');
    if value.fract() == 0.0 && value.abs() < EXACT && !(value == 0.0 && value.is_sign_negative()) {
        num::push_i64(out, value as i64);
    } else {
        num::push_f64_17g(out, value);
    }
    out.push(b'"');
}

/// Appends a float as a string in C's `%.9g`, which gives the same float back.
pub fn push_f32(out: &mut Vec<u8>, value: f32) {
    out.push(b'"');
    num::push_f64_9g(out, f64::from(value));
    out.push(b'"');
}

/// Appends `[`, the items with commas, `]`.
pub fn push_array<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut each: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        each(out, item);
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::{push_array, push_bytes, push_f64, push_name, push_text};

    #[test]
    fn bytes_have_one_form_each() {
        let show = |bytes: &[u8]| {
            let mut out = Vec::new();
            push_bytes(&mut out, bytes);
            String::from_utf8(out).expect("is ASCII")
        };
        assert_eq!(show(b""), r#""""#);
        assert_eq!(show(br#"a"b\c~ "#), r#""a\"b\\c~ ""#);
        assert_eq!(show(b"\x7f"), r#"{"b64":"fw=="}"#);
        assert_eq!(show(b"a\nb"), r#"{"b64":"YQpi"}"#);
        assert_eq!(show(&[0, 255, 1, 2]), r#"{"b64":"AP8BAg=="}"#);
        // Wherever in a long string a byte stands, it is seen.
        for (byte, starts) in [(b'x', "\"x"), (b'"', "\"x"), (b'\\', "\"x"), (b'\n', "{"), (0x80, "{")] {
            for at in 0..100 {
                let mut long = [b'x'; 101];
                long[at + 1] = byte;
                let json = show(&long);
                assert!(json.starts_with(starts), "{byte} at {at}");
                let escapes = usize::from(matches!(byte, b'"' | b'\\'));
                assert!(starts == "{" || json.len() == 103 + escapes, "{byte} at {at}");
            }
        }
    }

    #[test]
    fn doubles_are_printed_as_c_prints_them() {
        let show = |value: f64| {
            let mut out = Vec::new();
            push_f64(&mut out, value);
            String::from_utf8(out).expect("is ASCII")
        };
        let values = [
            (0.0, "0"),
            (-0.0, "-0"),
            (-17.0, "-17"),
            (9_007_199_254_740_991.0, "9007199254740991"),
            (9_007_199_254_740_992.0, "9007199254740992"),
            (1e17, "1e+17"),
            (0.1, "0.10000000000000001"),
            (f64::INFINITY, "inf"),
        ];
        for (value, text) in values {
            assert_eq!(show(value), format!("\"{text}\""));
        }
    }

    #[test]
    fn objects_are_built_of_pieces() {
        let mut out = b"{".to_vec();
        push_name(&mut out, "a");
        push_array(&mut out, [1.5, f64::NEG_INFINITY], push_f64);
        push_name(&mut out, "b");
        push_text(&mut out, "\u{17c}\n\u{1f980}");
        out.push(b'}');
        let text = String::from_utf8(out).expect("is ASCII");
        assert_eq!(text, "{\"a\":[\"1.5\",\"-inf\"],\"b\":\"\\u017c\\n\\ud83e\\udd80\"}");
        serde_json::from_str::<serde_json::Value>(&text).expect("is JSON");
    }
}
