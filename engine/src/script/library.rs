//! The libraries that scripts find besides Lua's own, and what their functions share: arguments read as
//! Lua's C functions read them.

use mlua::{Function, IntoLuaMulti, Lua, LuaString, Table, Value, Variadic};

use super::api::{Word, bad_argument, text_error};
use super::to_reply::truncated;
use super::{bit, cjson, cmsgpack, structs};

/// All of them, by name.
pub(super) fn all(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("bit", bit::library(lua)?)?;
    table.raw_set("struct", structs::library(lua)?)?;
    table.raw_set("cjson", cjson::library(lua)?)?;
    table.raw_set("cmsgpack", cmsgpack::library(lua)?)?;
    Ok(table)
}

/// The arguments of one call of a library's function.
pub(super) struct Arguments<'a> {
    pub(super) lua: &'a Lua,
    name: &'static str,
    values: &'a [Value],
}

impl<'a> Arguments<'a> {
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn get(&self, at: usize) -> Option<&'a Value> {
        self.values.get(at)
    }

    /// Raises `bad argument #1 to 'name' (text)`; arguments count from 0 here, and from 1 there.
    pub(super) fn wrong(&self, at: usize, text: &str) -> mlua::Error {
        text_error(self.lua, &format!("bad argument #{} to '{}' ({text})", at + 1, self.name))
    }

    /// Raises a text with the place of the call.
    pub(super) fn error(&self, text: &str) -> mlua::Error {
        text_error(self.lua, text)
    }

    fn unexpected(&self, at: usize, expected: &str) -> mlua::Error {
        let word = self.get(at).map(|value| <Word as mlua::FromLua>::from_lua(value.clone(), self.lua));
        let word = word.and_then(Result::ok);
        bad_argument(self.lua, word.as_ref(), at, self.name, expected)
    }

    /// An argument that has to be a number, or a text of one.
    pub(super) fn number(&self, at: usize) -> mlua::Result<f64> {
        self.get(at).and_then(number_of).ok_or_else(|| self.unexpected(at, "number"))
    }

    /// The same as an integer; `default` if it is not there.
    pub(super) fn integer_or(&self, at: usize, default: i64) -> mlua::Result<i64> {
        match self.get(at) {
            None | Some(Value::Nil) => Ok(default),
            Some(_) => self.number(at).map(truncated),
        }
    }

    /// An argument that has to be a string or a number.
    pub(super) fn string(&self, at: usize) -> mlua::Result<LuaString> {
        let text = match self.get(at) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(value @ (Value::Integer(_) | Value::Number(_))) => self.lua.coerce_string(value.clone())?,
            _ => None,
        };
        text.ok_or_else(|| self.unexpected(at, "string"))
    }
}

/// A value as Lua makes a number of it.
pub(super) fn number_of(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(n) => Some(*n as f64),
        Value::Number(n) => Some(*n),
        Value::String(text) => super::api::text_number(&text.as_bytes()),
        _ => None,
    }
}

/// A function of a library.
pub(super) fn function<R: IntoLuaMulti>(
    lua: &Lua,
    name: &'static str,
    run: impl Fn(&Arguments<'_>) -> mlua::Result<R> + 'static,
) -> mlua::Result<Function> {
    lua.create_function(move |lua, values: Variadic<Value>| run(&Arguments { lua, name, values: &values }))
}
