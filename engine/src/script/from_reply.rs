//! From a command's reply to what a script sees of it.
//!
//! Strings and integers are themselves, a status is `{ok=}`, an error `{err=}`, nothing is `false`; RESP3 has
//! tables with one field for what Lua has no type for. Replies are our own, so one that is broken is a fault
//! of ours. Behaviour: valkey src/modules/lua/script_lua.c, the callbacks of replies.

use mlua::{Lua, Table, Value};

use crate::base::num;

use super::api;

/// A reader of one reply.
struct Reader<'a> {
    lua: &'a Lua,
    rest: &'a [u8],
}

/// Reads a reply that is no error.
pub(super) fn read(lua: &Lua, reply: &[u8]) -> mlua::Result<Value> {
    Reader { lua, rest: reply }.value()
}

impl<'a> Reader<'a> {
    fn line(&mut self) -> &'a [u8] {
        let end = memchr::memchr(b'\r', self.rest).unwrap_or(self.rest.len());
        let line = &self.rest[..end];
        self.rest = self.rest.get(end + 2..).unwrap_or_default();
        line
    }

    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let len = len.min(self.rest.len());
        let bytes = &self.rest[..len];
        self.rest = self.rest.get(len + 2..).unwrap_or_default();
        bytes
    }

    fn field(&self, name: &str, value: Value) -> mlua::Result<Value> {
        let table = self.lua.create_table_with_capacity(0, 1)?;
        table.raw_set(name, value)?;
        Ok(Value::Table(table))
    }

    fn string(&self, bytes: &[u8]) -> mlua::Result<Value> {
        Ok(Value::String(self.lua.create_string(bytes)?))
    }

    fn value(&mut self) -> mlua::Result<Value> {
        let line = self.line();
        let Some((kind, text)) = line.split_first() else { return Ok(Value::Nil) };
        let len = || num::parse_i64(text).and_then(|n| usize::try_from(n).ok());
        match kind {
            b':' => Ok(number(num::parse_i64(text).unwrap_or(0))),
            b'$' => match len() {
                Some(len) => {
                    let bytes = self.bytes(len);
                    self.string(bytes)
                }
                None => Ok(Value::Boolean(false)),
            },
            b'+' => self.string(text).and_then(|text| self.field("ok", text)),
            b'-' => Ok(Value::Table(api::error_table(self.lua, text, true)?)),
            b'*' | b'>' => match len() {
                Some(len) => self.array(len),
                None => Ok(Value::Boolean(false)),
            },
            b'%' => {
                let table = self.lua.create_table()?;
                for _ in 0..len().unwrap_or(0) {
                    let (key, value) = (self.value()?, self.value()?);
                    table.raw_set(key, value)?;
                }
                self.field("map", Value::Table(table))
            }
            b'~' => {
                let table = self.lua.create_table()?;
                for _ in 0..len().unwrap_or(0) {
                    table.raw_set(self.value()?, true)?;
                }
                self.field("set", Value::Table(table))
            }
            b'#' => Ok(Value::Boolean(text == b"t")),
            b',' => {
                let value = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(0.0);
                self.field("double", Value::Number(value))
            }
            b'(' => self.string(text).and_then(|digits| self.field("big_number", digits)),
            b'=' => {
                let bytes = self.bytes(len().unwrap_or(0));
                let (format, text) = bytes.split_at(bytes.len().min(3));
                let table = self.lua.create_table_with_capacity(0, 2)?;
                table.raw_set("format", self.lua.create_string(format)?)?;
                table.raw_set("string", self.lua.create_string(text.get(1..).unwrap_or_default())?)?;
                self.field("verbatim_string", Value::Table(table))
            }
            b'|' => {
                for _ in 0..len().unwrap_or(0) * 2 {
                    self.value()?;
                }
                self.value()
            }
            _ => Ok(Value::Nil),
        }
    }

    fn array(&mut self, len: usize) -> mlua::Result<Value> {
        let table = self.lua.create_table_with_capacity(len, 0)?;
        for i in 1..=len {
            self.item(&table, i)?;
        }
        Ok(Value::Table(table))
    }

    fn item(&mut self, table: &Table, i: usize) -> mlua::Result<()> {
        let value = self.value()?;
        table.raw_set(i, value)
    }
}

/// Numbers of Lua are doubles.
fn number(value: i64) -> Value {
    Value::Number(value as f64)
}
