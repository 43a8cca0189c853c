//! `cjson`: values as JSON. Behaviour: lua-cjson 2.1.0 as Valkey has it, its settings and texts of errors
//! included. Nested values have a limit that no setting raises beyond what the process's stack bears.

use std::cell::RefCell;
use std::rc::Rc;

use mlua::{LightUserData, Lua, Table, Value};

use crate::base::num;

use super::library::{Arguments, function};
use super::to_reply::truncated;

/// Nested values, whatever the setting says.
const MAX_DEPTH: usize = 2500;

/// What becomes of numbers that JSON has no form for, when values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Invalid {
    Refused,
    Written,
    Null,
}

#[derive(Debug)]
struct Settings {
    sparse_is_object: bool,
    sparse_ratio: i32,
    sparse_safe: i32,
    encode_depth: i32,
    decode_depth: i32,
    precision: i32,
    keeps_buffer: bool,
    encode_invalid: Invalid,
    decode_invalid: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            sparse_is_object: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_depth: 1000,
            decode_depth: 1000,
            precision: 14,
            keeps_buffer: true,
            encode_invalid: Invalid::Refused,
            decode_invalid: true,
        }
    }
}

type Shared = Rc<RefCell<Settings>>;

/// The value that stands for `null`.
fn null() -> Value {
    Value::LightUserData(LightUserData(std::ptr::null_mut()))
}

/// The library.
pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = new(lua)?;
    table.raw_set("new", lua.create_function(|lua, ()| new(lua))?)?;
    Ok(table)
}

/// The library, with settings of its own.
fn new(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let settings = Shared::default();
    let add = |name: &'static str, run: fn(&Arguments<'_>, &mut Settings) -> mlua::Result<Value>| {
        let settings = Rc::clone(&settings);
        table.raw_set(name, function(lua, name, move |args| run(args, &mut settings.borrow_mut()))?)
    };
    add("encode", |args, settings| {
        if args.len() != 1 {
            return Err(args.wrong(0, "expected 1 argument"));
        }
        let mut writer = Writer { args, settings, out: Vec::new() };
        writer.value(args.get(0).unwrap_or(&Value::Nil), 0)?;
        Ok(Value::String(args.lua.create_string(&writer.out)?))
    })?;
    add("decode", |args, settings| {
        if args.len() != 1 {
            return Err(args.wrong(0, "expected 1 argument"));
        }
        decode(args, settings)
    })?;
    add("encode_max_depth", |args, settings| {
        at_most(args, 1)?;
        integer(args, 0, &mut settings.encode_depth, 1, i32::MAX)
    })?;
    add("decode_max_depth", |args, settings| {
        at_most(args, 1)?;
        integer(args, 0, &mut settings.decode_depth, 1, i32::MAX)
    })?;
    add("encode_number_precision", |args, settings| {
        at_most(args, 1)?;
        integer(args, 0, &mut settings.precision, 1, 14)
    })?;
    add("encode_keep_buffer", |args, settings| {
        at_most(args, 1)?;
        choice(args, 0, &mut settings.keeps_buffer)
    })?;
    add("decode_invalid_numbers", |args, settings| {
        at_most(args, 1)?;
        choice(args, 0, &mut settings.decode_invalid)
    })?;
    add("encode_invalid_numbers", |args, settings| {
        at_most(args, 1)?;
        settings.encode_invalid = match args.get(0) {
            None | Some(Value::Nil) => settings.encode_invalid,
            Some(Value::Boolean(true)) => Invalid::Written,
            Some(Value::Boolean(false)) => Invalid::Refused,
            Some(_) => match &*args.string(0)?.as_bytes() {
                b"off" => Invalid::Refused,
                b"on" => Invalid::Written,
                b"null" => Invalid::Null,
                other => return Err(invalid_option(args, other)),
            },
        };
        Ok(match settings.encode_invalid {
            Invalid::Refused => Value::Boolean(false),
            Invalid::Written => Value::Boolean(true),
            Invalid::Null => Value::String(args.lua.create_string("null")?),
        })
    })?;
    let shared = Rc::clone(&settings);
    table.raw_set(
        "encode_sparse_array",
        function(lua, "encode_sparse_array", move |args| {
            at_most(args, 3)?;
            let settings = &mut *shared.borrow_mut();
            Ok((
                choice(args, 0, &mut settings.sparse_is_object)?,
                integer(args, 1, &mut settings.sparse_ratio, 0, i32::MAX)?,
                integer(args, 2, &mut settings.sparse_safe, 0, i32::MAX)?,
            ))
        })?,
    )?;
    table.raw_set("null", null())?;
    table.raw_set("_NAME", "cjson")?;
    table.raw_set("_VERSION", "2.1.0")?;
    Ok(table)
}

fn at_most(args: &Arguments<'_>, count: usize) -> mlua::Result<()> {
    if args.len() > count { Err(args.wrong(count, "found too many arguments")) } else { Ok(()) }
}

fn invalid_option(args: &Arguments<'_>, option: &[u8]) -> mlua::Error {
    args.wrong(0, &format!("invalid option '{}'", String::from_utf8_lossy(option)))
}

/// Sets a number if it is given. The number as it is then.
fn integer(args: &Arguments<'_>, at: usize, setting: &mut i32, least: i32, most: i32) -> mlua::Result<Value> {
    if !matches!(args.get(at), None | Some(Value::Nil)) {
        let value = truncated(args.number(at)?) as i32;
        if !(least..=most).contains(&value) {
            return Err(args.wrong(0, &format!("expected integer between {least} and {most}")));
        }
        *setting = value;
    }
    Ok(Value::Number(f64::from(*setting)))
}

/// Sets a choice if it is given, as a truth value or a word. The choice as it is then.
fn choice(args: &Arguments<'_>, at: usize, setting: &mut bool) -> mlua::Result<Value> {
    match args.get(at) {
        None | Some(Value::Nil) => {}
        Some(Value::Boolean(value)) => *setting = *value,
        Some(_) => match &*args.string(at)?.as_bytes() {
            b"off" => *setting = false,
            b"on" => *setting = true,
            other => return Err(invalid_option(args, other)),
        },
    }
    Ok(Value::Boolean(*setting))
}

struct Writer<'a> {
    args: &'a Arguments<'a>,
    settings: &'a Settings,
    out: Vec<u8>,
}

impl Writer<'_> {
    fn refuse(&self, what: &str, why: &str) -> mlua::Error {
        self.args.error(&format!("Cannot serialise {what}: {why}"))
    }

    fn value(&mut self, value: &Value, depth: usize) -> mlua::Result<()> {
        match value {
            Value::Nil => self.out.extend_from_slice(b"null"),
            Value::LightUserData(data) if data.0.is_null() => self.out.extend_from_slice(b"null"),
            Value::Boolean(value) => self.out.extend_from_slice(if *value { b"true" } else { b"false" }),
            Value::String(text) => self.string(&text.as_bytes()),
            Value::Integer(n) => self.number(*n as f64)?,
            Value::Number(n) => self.number(*n)?,
            Value::Table(table) => self.table(table, depth + 1)?,
            Value::Error(_) => return Err(self.refuse("userdata", "type not supported")),
            other => return Err(self.refuse(other.type_name(), "type not supported")),
        }
        Ok(())
    }

    fn string(&mut self, text: &[u8]) {
        self.out.push(b'"');
        for byte in text {
            match byte {
                b'"' => self.out.extend_from_slice(b"\\\""),
                b'\\' => self.out.extend_from_slice(b"\\\\"),
                b'/' => self.out.extend_from_slice(b"\\/"),
                8 => self.out.extend_from_slice(b"\\b"),
                b'\t' => self.out.extend_from_slice(b"\\t"),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                12 => self.out.extend_from_slice(b"\\f"),
                b'\r' => self.out.extend_from_slice(b"\\r"),
                0..=31 | 127 => self.out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
                byte => self.out.push(*byte),
            }
        }
        self.out.push(b'"');
    }

    fn number(&mut self, n: f64) -> mlua::Result<()> {
        if !n.is_finite() {
            match self.settings.encode_invalid {
                Invalid::Refused => return Err(self.refuse("number", "must not be NaN or Inf")),
                Invalid::Null => {
                    self.out.extend_from_slice(b"null");
                    return Ok(());
                }
                Invalid::Written if n.is_nan() => {
                    self.out.extend_from_slice(b"nan");
                    return Ok(());
                }
                Invalid::Written => {}
            }
        }
        num::push_f64_g(&mut self.out, n, self.settings.precision.unsigned_abs() as usize);
        Ok(())
    }

    /// Elements if the table is a list that is not too sparse.
    fn list_len(&self, table: &Table) -> mlua::Result<Option<i64>> {
        let (mut most, mut items) = (0i64, 0i64);
        for pair in table.pairs::<Value, Value>() {
            let key = match pair?.0 {
                Value::Integer(n) => n as f64,
                Value::Number(n) => n,
                _ => return Ok(None),
            };
            if key.fract() != 0.0 || key < 1.0 {
                return Ok(None);
            }
            most = most.max(i64::from(truncated(key) as i32));
            items += 1;
        }
        let settings = self.settings;
        let is_sparse = settings.sparse_ratio > 0
            && most > items.saturating_mul(i64::from(settings.sparse_ratio))
            && most > i64::from(settings.sparse_safe);
        if is_sparse {
            if !settings.sparse_is_object {
                return Err(self.refuse("table", "excessively sparse array"));
            }
            return Ok(None);
        }
        Ok(Some(most).filter(|len| *len > 0))
    }

    fn table(&mut self, table: &Table, depth: usize) -> mlua::Result<()> {
        if depth > MAX_DEPTH.min(self.settings.encode_depth.unsigned_abs() as usize) {
            return Err(self.args.error(&format!("Cannot serialise, excessive nesting ({depth})")));
        }
        if let Some(len) = self.list_len(table)? {
            self.out.push(b'[');
            for i in 1..=len {
                if i > 1 {
                    self.out.push(b',');
                }
                self.value(&table.raw_get(i)?, depth)?;
            }
            self.out.push(b']');
            return Ok(());
        }
        self.out.push(b'{');
        let mut is_first = true;
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair?;
            if !std::mem::replace(&mut is_first, false) {
                self.out.push(b',');
            }
            match key {
                Value::Integer(n) => self.number_key(n as f64)?,
                Value::Number(n) => self.number_key(n)?,
                Value::String(text) => self.string(&text.as_bytes()),
                other => return Err(self.refuse(other.type_name(), "table key must be a number or string")),
            }
            self.out.push(b':');
            self.value(&value, depth)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn number_key(&mut self, n: f64) -> mlua::Result<()> {
        self.out.push(b'"');
        self.number(n)?;
        self.out.push(b'"');
        Ok(())
    }
}

/// A word of JSON.
#[derive(Debug)]
enum Token {
    ObjectBegins,
    ObjectEnds,
    ArrayBegins,
    ArrayEnds,
    String(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Wrong(&'static str),
}

impl Token {
    /// As errors call it.
    fn name(&self) -> &'static str {
        match self {
            Token::ObjectBegins => "T_OBJ_BEGIN",
            Token::ObjectEnds => "T_OBJ_END",
            Token::ArrayBegins => "T_ARR_BEGIN",
            Token::ArrayEnds => "T_ARR_END",
            Token::String(_) => "T_STRING",
            Token::Number(_) => "T_NUMBER",
            Token::Boolean(_) => "T_BOOLEAN",
            Token::Null => "T_NULL",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::End => "T_END",
            Token::Wrong(what) => what,
        }
    }
}

struct Parser<'a> {
    args: &'a Arguments<'a>,
    settings: &'a Settings,
    text: &'a [u8],
    at: usize,
    /// Where the last token begins, or is wrong.
    token_at: usize,
}

fn decode(args: &Arguments<'_>, settings: &Settings) -> mlua::Result<Value> {
    let text = args.string(0)?;
    let text = text.as_bytes();
    if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
        return Err(args.error("JSON parser does not support UTF-16 or UTF-32"));
    }
    let mut parser = Parser { args, settings, text: &text, at: 0, token_at: 0 };
    let token = parser.next();
    let value = parser.value(token, 0)?;
    match parser.next() {
        Token::End => Ok(value),
        token => Err(parser.unexpected("the end", &token)),
    }
}

impl Parser<'_> {
    /// The byte at a place; 0 past the end, as there a C string ends.
    fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }

    fn unexpected(&self, expected: &str, token: &Token) -> mlua::Error {
        let (found, at) = (token.name(), self.token_at + 1);
        self.args.error(&format!("Expected {expected} but found {found} at character {at}"))
    }

    fn wrong(&mut self, what: &'static str) -> Token {
        self.token_at = self.at;
        Token::Wrong(what)
    }

    fn single(&mut self, token: Token) -> Token {
        self.at += 1;
        token
    }

    fn word(&mut self, len: usize, token: Token) -> Token {
        self.at += len;
        token
    }

    fn next(&mut self) -> Token {
        while matches!(self.byte(self.at), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        self.token_at = self.at;
        let rest = self.text.get(self.at..).unwrap_or_default();
        match self.byte(self.at) {
            b'{' => self.single(Token::ObjectBegins),
            b'}' => self.single(Token::ObjectEnds),
            b'[' => self.single(Token::ArrayBegins),
            b']' => self.single(Token::ArrayEnds),
            b',' => self.single(Token::Comma),
            b':' => self.single(Token::Colon),
            0 => Token::End,
            b'"' => self.string(),
            b'-' | b'0'..=b'9' => {
                if !self.settings.decode_invalid && is_invalid_number(rest) {
                    return self.wrong("invalid number");
                }
                self.number()
            }
            _ if rest.starts_with(b"true") => self.word(4, Token::Boolean(true)),
            _ if rest.starts_with(b"false") => self.word(5, Token::Boolean(false)),
            _ if rest.starts_with(b"null") => self.word(4, Token::Null),
            b'i' | b'I' | b'n' | b'N' | b'+' if self.settings.decode_invalid && is_invalid_number(rest) => {
                self.number()
            }
            _ => self.wrong("invalid token"),
        }
    }

    fn number(&mut self) -> Token {
        match c_number(self.text.get(self.at..).unwrap_or_default()) {
            Some((value, len)) => self.word(len, Token::Number(value)),
            None => self.wrong("invalid number"),
        }
    }

    fn string(&mut self) -> Token {
        self.at += 1;
        let mut out = Vec::new();
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let plain = memchr::memchr3(b'"', b'\\', 0, rest).unwrap_or(rest.len());
            out.extend_from_slice(&rest[..plain]);
            self.at += plain;
            match self.byte(self.at) {
                b'"' => return self.word(1, Token::String(out)),
                b'\\' => {
                    let escaped = match self.byte(self.at + 1) {
                        byte @ (b'"' | b'\\' | b'/') => byte,
                        b'b' => 8,
                        b't' => b'\t',
                        b'n' => b'\n',
                        b'f' => 12,
                        b'r' => b'\r',
                        b'u' => match self.unicode() {
                            Some((c, len)) => {
                                push_utf8(c, &mut out);
                                self.at += len;
                                continue;
                            }
                            None => return self.wrong("invalid unicode escape code"),
                        },
                        _ => return self.wrong("invalid escape code"),
                    };
                    out.push(escaped);
                    self.at += 2;
                }
                _ => return self.wrong("unexpected end of string"),
            }
        }
    }

    fn hex4(&self, at: usize) -> Option<u32> {
        let digits = self.text.get(at..at + 4)?;
        digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
    }

    /// The character that `\uXXXX` stands for, or two of them, and their length.
    fn unicode(&self) -> Option<(u32, usize)> {
        let code = self.hex4(self.at + 2)?;
        if code & 0xf800 != 0xd800 {
            return Some((code, 6));
        }
        let is_pair = code & 0x400 == 0 && self.byte(self.at + 6) == b'\\' && self.byte(self.at + 7) == b'u';
        let low = self.hex4(self.at + 8).filter(|low| is_pair && low & 0xfc00 == 0xdc00)?;
        Some((((code & 0x3ff) << 10 | (low & 0x3ff)) + 0x1_0000, 12))
    }

    fn descend(&self, depth: usize) -> mlua::Result<()> {
        if depth > MAX_DEPTH.min(self.settings.decode_depth.unsigned_abs() as usize) {
            let at = self.at;
            let text = format!("Found too many nested data structures ({depth}) at character {at}");
            return Err(self.args.error(&text));
        }
        Ok(())
    }

    fn value(&mut self, token: Token, depth: usize) -> mlua::Result<Value> {
        match token {
            Token::String(text) => Ok(Value::String(self.args.lua.create_string(text)?)),
            Token::Number(n) => Ok(Value::Number(n)),
            Token::Boolean(value) => Ok(Value::Boolean(value)),
            Token::Null => Ok(null()),
            Token::ObjectBegins => self.object(depth + 1),
            Token::ArrayBegins => self.array(depth + 1),
            token => Err(self.unexpected("value", &token)),
        }
    }

    fn object(&mut self, depth: usize) -> mlua::Result<Value> {
        self.descend(depth)?;
        let table = self.args.lua.create_table()?;
        let mut token = self.next();
        if matches!(token, Token::ObjectEnds) {
            return Ok(Value::Table(table));
        }
        loop {
            let Token::String(key) = token else { return Err(self.unexpected("object key string", &token)) };
            token = self.next();
            if !matches!(token, Token::Colon) {
                return Err(self.unexpected("colon", &token));
            }
            token = self.next();
            let value = self.value(token, depth)?;
            table.raw_set(self.args.lua.create_string(key)?, value)?;
            match self.next() {
                Token::ObjectEnds => return Ok(Value::Table(table)),
                Token::Comma => token = self.next(),
                token => return Err(self.unexpected("comma or object end", &token)),
            }
        }
    }

    fn array(&mut self, depth: usize) -> mlua::Result<Value> {
        self.descend(depth)?;
        let table = self.args.lua.create_table()?;
        let mut token = self.next();
        if matches!(token, Token::ArrayEnds) {
            return Ok(Value::Table(table));
        }
        for i in 1i64.. {
            let value = self.value(token, depth)?;
            table.raw_set(i, value)?;
            match self.next() {
                Token::ArrayEnds => break,
                Token::Comma => token = self.next(),
                token => return Err(self.unexpected("comma or array end", &token)),
            }
        }
        Ok(Value::Table(table))
    }
}

/// A character as UTF-8, halves of pairs too.
fn push_utf8(c: u32, out: &mut Vec<u8>) {
    let tail = |shift: u32| (c >> shift) as u8 & 0x3f | 0x80;
    match c {
        0..=0x7f => out.push(c as u8),
        0x80..=0x7ff => out.extend_from_slice(&[(c >> 6) as u8 | 0xc0, tail(0)]),
        0x800..=0xffff => out.extend_from_slice(&[(c >> 12) as u8 | 0xe0, tail(6), tail(0)]),
        _ => out.extend_from_slice(&[(c >> 18) as u8 | 0xf0, tail(12), tail(6), tail(0)]),
    }
}

/// True for what C reads as a number and JSON does not.
fn is_invalid_number(text: &[u8]) -> bool {
    let first = |text: &[u8]| text.first().copied().unwrap_or(0);
    if first(text) == b'+' {
        return true;
    }
    let text = text.strip_prefix(b"-").unwrap_or(text);
    match first(text) {
        b'0' => matches!(text.get(1), Some(b'x' | b'X' | b'0'..=b'9')),
        ..=b'9' => false,
        _ => {
            let head = text.get(..3).unwrap_or_default();
            head.eq_ignore_ascii_case(b"inf") || head.eq_ignore_ascii_case(b"nan")
        }
    }
}

/// The number that a text begins with, as C's `strtod` reads it, and its length.
fn c_number(text: &[u8]) -> Option<(f64, usize)> {
    let sign = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let body = &text[sign..];
    let is_negative = text.first() == Some(&b'-');
    let signed = |value: f64, len: usize| Some((if is_negative { -value } else { value }, sign + len));
    let is_word = |word: &[u8]| body.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
    if is_word(b"infinity") {
        return signed(f64::INFINITY, 8);
    }
    if is_word(b"inf") {
        return signed(f64::INFINITY, 3);
    }
    if is_word(b"nan") {
        return signed(f64::NAN, 3);
    }
    if is_word(b"0x") {
        let is_part = |byte: &u8| byte.is_ascii_hexdigit() || *byte == b'.';
        let digits = body[2..].iter().take_while(|byte| is_part(byte)).count();
        let value = num::parse_f64_or_hex(&body[..2 + digits]);
        return value.map_or_else(|| signed(0.0, 1), |value| signed(value, 2 + digits));
    }
    let digits =
        |at: usize| body.get(at..).unwrap_or_default().iter().take_while(|b| b.is_ascii_digit()).count();
    let whole = digits(0);
    let mut len = whole;
    let mut fraction = 0;
    if body.get(len) == Some(&b'.') {
        fraction = digits(len + 1);
        len += 1 + fraction;
    }
    if whole + fraction == 0 {
        return None;
    }
    if matches!(body.get(len), Some(b'e' | b'E')) {
        let exponent_sign = usize::from(matches!(body.get(len + 1), Some(b'-' | b'+')));
        let exponent = digits(len + 1 + exponent_sign);
        if exponent > 0 {
            len += 1 + exponent_sign + exponent;
        }
    }
    let value = std::str::from_utf8(&body[..len]).ok()?.parse().ok()?;
    signed(value, len)
}
