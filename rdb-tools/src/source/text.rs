//! JSON as it is read: one line, strictly, in place.
//!
//! Values are walked, not built: who reads a line asks for what must stand there. Depth is bounded and
//! nothing recurses. Strings of the data are JSON strings (their UTF-8) or `{"b64":"..."}`. Knows no members.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cairn_engine::base::num;

use crate::output::Shown;

/// Nothing that a dump writes is nested as deep as this.
const MAX_DEPTH: usize = 32;

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bad {
    /// Bytes before it in the line.
    pub(super) at: usize,
    /// What it is.
    pub(super) what: String,
}

/// A place in a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Text<'a> {
    pub(super) fn new(line: &'a [u8]) -> Self {
        Self { line, at: 0 }
    }

    #[cold]
    pub(super) fn bad<T>(&self, what: impl Into<String>) -> Result<T, Bad> {
        Err(Bad { at: self.at, what: what.into() })
    }

    fn blank(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.line.get(self.at) {
            self.at += 1;
        }
    }

    /// The first byte of what comes next.
    pub(super) fn peek(&mut self) -> Option<u8> {
        self.blank();
        self.line.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Result<(), Bad> {
        match self.peek() {
            Some(found) if found == byte => {
                self.at += 1;
                Ok(())
            }
            Some(_) => self.bad(format!("'{}' should stand here", byte as char)),
            None => self.bad("the line ends inside an object"),
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_it = self.peek() == Some(byte);
        self.at += usize::from(is_it);
        is_it
    }

    /// Nothing may follow.
    pub(super) fn end(&mut self) -> Result<(), Bad> {
        match self.peek() {
            None => Ok(()),
            Some(_) => self.bad("something follows the end of the object"),
        }
    }

    /// A JSON string, without its quotes and with its escapes; whether it has any.
    fn raw_string(&mut self) -> Result<(&'a [u8], bool), Bad> {
        if self.peek() != Some(b'"') {
            return self.bad("a string should stand here");
        }
        let start = self.at + 1;
        let mut has_escapes = false;
        let mut at = start;
        loop {
            match self.line.get(at) {
                None => return self.bad("a string does not end"),
                Some(b'"') => break,
                Some(b'\\') => {
                    has_escapes = true;
                    at += 2;
                }
                Some(0..b' ') => {
                    self.at = at;
                    return self.bad("a control character in a string must be escaped");
                }
                Some(_) => at += 1,
            }
        }
        let raw = &self.line[start..at];
        if !raw.is_ascii() && std::str::from_utf8(raw).is_err() {
            return self.bad("a string is not UTF-8; bytes that are no text are written {\"b64\":\"...\"}");
        }
        self.at = at + 1;
        Ok((raw, has_escapes))
    }

    /// A JSON string as the bytes that it stands for.
    pub(super) fn string(&mut self) -> Result<Cow<'a, [u8]>, Bad> {
        let start = *self;
        let (raw, has_escapes) = self.raw_string()?;
        if !has_escapes {
            return Ok(Cow::Borrowed(raw));
        }
        unescape(raw).map(Cow::Owned).or_else(|what| start.bad(what))
    }

    /// A string of the data.
    pub(super) fn data(&mut self) -> Result<Cow<'a, [u8]>, Bad> {
        if self.peek() != Some(b'{') {
            return self.string();
        }
        let start = *self;
        self.at += 1;
        if self.raw_string()?.0 != b"b64" {
            return start.bad("an object should have \"b64\" here, and nothing else");
        }
        self.expect(b':')?;
        let text = self.string()?;
        self.expect(b'}')?;
        STANDARD.decode(&text).map(Cow::Owned).or_else(|error| start.bad(format!("base64: {error}")))
    }

    /// A number's text.
    fn number(&mut self) -> Result<&'a [u8], Bad> {
        self.blank();
        let rest = &self.line[self.at..];
        let is_of_number = |b: &u8| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let len = rest.iter().position(|b| !is_of_number(b)).unwrap_or(rest.len());
        if len == 0 {
            return self.bad("a number should stand here");
        }
        self.at += len;
        Ok(&rest[..len])
    }

    pub(super) fn unsigned(&mut self) -> Result<u64, Bad> {
        let start = *self;
        let text = self.number()?;
        num::parse_u64(text)
            .map_or_else(|| start.bad(format!("\"{}\" is no unsigned 64-bit number", Shown(text))), Ok)
    }

    pub(super) fn signed(&mut self) -> Result<i64, Bad> {
        let start = *self;
        let text = self.number()?;
        num::parse_i64(text).map_or_else(|| start.bad(format!("\"{}\" is no 64-bit number", Shown(text))), Ok)
    }

    /// A double in a string, or, as people write it, a number.
    pub(super) fn double(&mut self) -> Result<f64, Bad> {
        let start = *self;
        let text = match self.peek() {
            Some(b'"') => self.string()?,
            _ => Cow::Borrowed(self.number()?),
        };
        num::parse_f64(&text)
            .filter(|value| !value.is_nan())
            .map_or_else(|| start.bad(format!("\"{}\" is no double", Shown(&text))), Ok)
    }

    pub(super) fn boolean(&mut self) -> Result<bool, Bad> {
        match self.peek() {
            Some(b't') => self.word(b"true").map(|()| true),
            _ => self.word(b"false").map(|()| false),
        }
    }

    /// Whether `null` stood here.
    pub(super) fn null(&mut self) -> Result<bool, Bad> {
        if self.peek() != Some(b'n') {
            return Ok(false);
        }
        self.word(b"null").map(|()| true)
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Bad> {
        self.blank();
        if !self.line[self.at..].starts_with(word) {
            return self.bad("this is no JSON value");
        }
        self.at += word.len();
        Ok(())
    }

    /// An array: `each` reads one element.
    pub(super) fn array<E: From<Bad>>(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.peek() != Some(b'[') {
            return Err(self.bad::<()>("an array should stand here").expect_err("it is one").into());
        }
        self.at += 1;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            each(self)?;
            if !self.take(b',') {
                return Ok(self.expect(b']')?);
            }
        }
    }

    /// An object: `each` reads the value of the member that it is told.
    pub(super) fn object<E: From<Bad>>(
        &mut self,
        mut each: impl FnMut(&mut Self, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.peek() != Some(b'{') {
            return Err(self.bad::<()>("an object should stand here").expect_err("it is one").into());
        }
        self.at += 1;
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            let name = self.string()?;
            self.expect(b':')?;
            each(self, &name)?;
            if !self.take(b',') {
                return Ok(self.expect(b'}')?);
            }
        }
    }

    /// An array of as many elements as there are readers of them.
    pub(super) fn open(&mut self) -> Result<(), Bad> {
        self.expect(b'[')
    }

    /// Between two elements of an array that was opened.
    pub(super) fn comma(&mut self) -> Result<(), Bad> {
        self.expect(b',')
    }

    /// Whether another element follows in an array that was opened.
    pub(super) fn has_more(&mut self) -> bool {
        self.take(b',')
    }

    /// The end of an array that was opened.
    pub(super) fn close(&mut self) -> Result<(), Bad> {
        self.expect(b']')
    }

    /// Steps over a value of any kind; answers where it stands, and how many elements or members it has.
    pub(super) fn skip(&mut self) -> Result<(Self, u64), Bad> {
        self.blank();
        let start = *self;
        let mut open = [0_u8; MAX_DEPTH];
        let mut depth = 0;
        let mut elements = 0;
        loop {
            let closing = match self.peek() {
                Some(b'"') => self.raw_string().map(|_| None)?,
                Some(b'[') => Some(b']'),
                Some(b'{') => Some(b'}'),
                Some(b't') => self.word(b"true").map(|()| None)?,
                Some(b'f') => self.word(b"false").map(|()| None)?,
                Some(b'n') => self.word(b"null").map(|()| None)?,
                Some(_) => self.number().map(|_| None)?,
                None => return self.bad("the line ends inside an object"),
            };
            if let Some(closing) = closing {
                self.at += 1;
                if !self.take(closing) {
                    let Some(place) = open.get_mut(depth) else {
                        return self.bad(format!("nested deeper than {MAX_DEPTH}"));
                    };
                    *place = closing;
                    depth += 1;
                    self.name_in(closing)?;
                    continue;
                }
            }
            // A value has ended: it is all, or another follows, or what it is in ends too.
            loop {
                if depth == 0 {
                    return Ok((start, elements));
                }
                elements += u64::from(depth == 1);
                let closing = open[depth - 1];
                if self.take(b',') {
                    self.name_in(closing)?;
                    break;
                }
                self.expect(closing)?;
                depth -= 1;
            }
        }
    }

    fn name_in(&mut self, closing: u8) -> Result<(), Bad> {
        if closing == b'}' {
            self.raw_string()?;
            self.expect(b':')?;
        }
        Ok(())
    }
}

fn unescape(raw: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        // A quote ends the string, so that a byte follows every backslash in it.
        let escape = rest.get(at + 1).copied().unwrap_or_default();
        rest = rest.get(at + 2..).unwrap_or_default();
        out.push(match escape {
            b'"' | b'\\' | b'/' => escape,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let mut unit = take_unit(&mut rest)?;
                if (0xd800..0xdc00).contains(&unit) {
                    let Some(behind) = rest.strip_prefix(b"\\u") else { return Err("half a surrogate pair") };
                    rest = behind;
                    let low = take_unit(&mut rest)?;
                    if !(0xdc00..0xe000).contains(&low) {
                        return Err("half a surrogate pair");
                    }
                    unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                }
                let Some(c) = char::from_u32(unit) else { return Err("half a surrogate pair") };
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            _ => return Err("an escape that JSON has not"),
        });
    }
    out.extend_from_slice(rest);
    Ok(out)
}

fn take_unit(rest: &mut &[u8]) -> Result<u32, &'static str> {
    let Some((digits, behind)) = rest.split_at_checked(4) else { return Err("\\u needs four digits") };
    let mut unit = 0;
    for digit in digits {
        let Some(digit) = (*digit as char).to_digit(16) else { return Err("\\u needs four digits") };
        unit = unit * 16 + digit;
    }
    *rest = behind;
    Ok(unit)
}

#[cfg(test)]
mod tests {
    use super::{MAX_DEPTH, Text};

    #[test]
    fn strings_are_what_they_stand_for() {
        let data = |text: &str| Text::new(text.as_bytes()).data().map(std::borrow::Cow::into_owned);
        assert_eq!(data(r#""plain""#), Ok(b"plain".to_vec()));
        assert_eq!(
            data(r#" "a\"\\\/\b\f\n\r\t\u0000\u00e9" "#),
            Ok(b"a\"\\/\x08\x0c\n\r\t\x00\xc3\xa9".to_vec())
        );
        assert_eq!(data(r#""\ud83e\udd80""#), Ok("\u{1f980}".as_bytes().to_vec()));
        assert_eq!(data("\"\u{1f980}\""), Ok("\u{1f980}".as_bytes().to_vec()));
        assert_eq!(data(r#"{"b64":"AP8="}"#), Ok(vec![0, 255]));
        assert_eq!(data(r#"{ "b64" : "" }"#), Ok(vec![]));
        for bad in [
            r#""abc"#,
            r#""\"#,
            r#""\x""#,
            r#""\u12""#,
            r#""\u12g4""#,
            r#""\ud83e""#,
            r#""\ud83e\u0041""#,
            r#""\udd80""#,
            "\"a\nb\"",
            r#"{"b64":"A"}"#,
            r#"{"b64":"AP8=","x":1}"#,
            r#"{"b65":"AP8="}"#,
            "12",
            "null",
            "",
            "{",
        ] {
            assert!(data(bad).is_err(), "{bad}");
        }
        assert!(Text::new(b"\"\xff\"").data().is_err());
        assert!(Text::new(b"\"a\0b\"").data().is_err());
    }

    #[test]
    fn numbers_are_whole_or_errors() {
        assert_eq!(Text::new(b"18446744073709551615").unsigned(), Ok(u64::MAX));
        assert_eq!(Text::new(b"-9223372036854775808").signed(), Ok(i64::MIN));
        for bad in
            ["18446744073709551616", "-1", "1.0", "1e3", "01", "+1", "", "x", "9999999999999999999999999999"]
        {
            assert!(Text::new(bad.as_bytes()).unsigned().is_err(), "{bad}");
        }
        assert_eq!(Text::new(b"\"-inf\"").double(), Ok(f64::NEG_INFINITY));
        assert_eq!(Text::new(b"1.5").double(), Ok(1.5));
        assert!(Text::new(b"\"nan\"").double().is_err() && Text::new(b"\"1,5\"").double().is_err());
    }

    #[test]
    fn values_are_stepped_over_without_recursing() {
        let skip = |text: &str| {
            let mut at = Text::new(text.as_bytes());
            let skipped = at.skip();
            skipped.and_then(|(_, elements)| at.end().map(|()| elements))
        };
        assert_eq!(skip(r#" {"a":[1,2,[]],"b":{},"c":null , "d":"x\"y"} "#), Ok(4));
        assert_eq!((skip("[]"), skip("[[],[]]"), skip("7"), skip("true")), (Ok(0), Ok(2), Ok(0), Ok(0)));
        for bad in [
            "[", "]", "[1,]", "{\"a\"}", "{\"a\":}", "{a:1}", "[1 2]", "tru", "[}", "{]", "1 2", "", "\"\\\"",
        ] {
            assert!(skip(bad).is_err(), "{bad}");
        }
        let deep = "[".repeat(1_000_000);
        assert!(skip(&deep).is_err_and(|bad| bad.what.contains("nested") && bad.at <= MAX_DEPTH + 1));
    }
}
