//! From what a script returns to its reply.
//!
//! Tables may be nested, and hold themselves: what is open is kept on a list of our own, not on the
//! process's stack, and has a limit. Behaviour: valkey src/modules/lua/script_lua.c
//! `luaReplyToServerReply`.

use mlua::{Function, Table, Value};

use crate::codec::resp::{Deferred, Reply};

use super::api::c_string;

/// Tables in tables beyond this are an error in their place.
const MAX_DEPTH: usize = 7990;

/// A table whose items are being written.
enum Open {
    /// The items from `next` on are still to come.
    Array {
        table: Table,
        next: usize,
        begun: Deferred,
    },
    /// The pairs behind `key` are still to come, and `value` before them.
    Map {
        table: Table,
        key: Value,
        value: Option<Value>,
        pairs: usize,
        begun: Deferred,
    },
    Set {
        table: Table,
        key: Value,
        len: usize,
        begun: Deferred,
    },
}

/// Writes a value as a reply. `resp` is the protocol that the script has chosen, which tells what becomes
/// of truth values; `next` is the function of that name.
pub(super) fn write(next: &Function, value: Value, resp: u8, reply: &mut Reply) {
    let start = reply.len();
    if write_checked(next, value, resp, reply).is_err() {
        reply.truncate(start);
        reply.error("ERR reached lua stack limit");
    }
}

fn write_checked(pair_after: &Function, value: Value, resp: u8, reply: &mut Reply) -> mlua::Result<()> {
    let mut open: Vec<Open> = Vec::new();
    let mut next = Some(value);
    loop {
        if let Some(value) = next.take()
            && let Some(table) = scalar(value, resp, reply)?
        {
            if open.len() >= MAX_DEPTH {
                reply.error("ERR reached lua stack limit");
            } else {
                open.push(begin(table, reply)?);
            }
        }
        let Some(last) = open.last_mut() else { return Ok(()) };
        next = match last {
            Open::Array { table, next, .. } => {
                let value: Value = table.raw_get(*next)?;
                *next += 1;
                Some(value).filter(|value| !value.is_nil())
            }
            Open::Map { table, key, value, pairs, .. } => match value.take() {
                Some(value) => Some(value),
                None => match pair_after.call::<(Value, Value)>((&*table, &*key))? {
                    (Value::Nil, _) => None,
                    (found, of_it) => {
                        (*key, *value) = (found.clone(), Some(of_it));
                        *pairs += 1;
                        Some(found)
                    }
                },
            },
            Open::Set { table, key, len, .. } => {
                *key = pair_after.call((&*table, &*key))?;
                *len += usize::from(!key.is_nil());
                Some(key.clone()).filter(|key| !key.is_nil())
            }
        };
        if next.is_none() {
            match open.pop() {
                Some(Open::Array { next, begun, .. }) => reply.end_array(begun, next - 2),
                Some(Open::Map { pairs, begun, .. }) => reply.end_map(begun, pairs),
                Some(Open::Set { len, begun, .. }) => reply.end_set(begun, len),
                None => {}
            }
        }
    }
}

fn begin(table: Table, reply: &mut Reply) -> mlua::Result<Open> {
    if let Value::Table(table) = table.raw_get("map")? {
        return Ok(Open::Map { table, key: Value::Nil, value: None, pairs: 0, begun: reply.begin_array() });
    }
    if let Value::Table(table) = table.raw_get("set")? {
        return Ok(Open::Set { table, key: Value::Nil, len: 0, begun: reply.begin_array() });
    }
    Ok(Open::Array { table, next: 1, begun: reply.begin_array() })
}

/// Writes what is no collection; the table if it is one.
fn scalar(value: Value, resp: u8, reply: &mut Reply) -> mlua::Result<Option<Table>> {
    match value {
        Value::String(text) => reply.bulk(&text.as_bytes()),
        Value::Boolean(value) if resp == 3 => reply.bool(value),
        Value::Boolean(true) => reply.int(1),
        Value::Integer(n) => reply.int(n),
        Value::Number(n) => reply.int(truncated(n)),
        Value::Table(table) => return table_as_scalar(table, reply),
        _ => reply.null(),
    }
    Ok(None)
}

fn table_as_scalar(table: Table, reply: &mut Reply) -> mlua::Result<Option<Table>> {
    if let Value::String(text) = table.raw_get("err")? {
        reply.error_bytes(&error_text(c_string(&text.as_bytes())));
        return Ok(None);
    }
    if let Value::String(text) = table.raw_get("ok")? {
        simple(c_string(&text.as_bytes()), reply);
        return Ok(None);
    }
    match table.raw_get("double")? {
        Value::Number(n) => {
            reply.double(n);
            return Ok(None);
        }
        Value::Integer(n) => {
            reply.double(n as f64);
            return Ok(None);
        }
        _ => {}
    }
    if let Value::String(digits) = table.raw_get("big_number")? {
        let digits = String::from_utf8_lossy(c_string(&digits.as_bytes())).replace(['\r', '\n'], " ");
        reply.big_number(&digits);
        return Ok(None);
    }
    if let Value::Table(verbatim) = table.raw_get("verbatim_string")?
        && let Value::String(format) = verbatim.raw_get("format")?
        && let Value::String(text) = verbatim.raw_get("string")?
    {
        reply.verbatim_as(c_string(&format.as_bytes()), &text.as_bytes());
        return Ok(None);
    }
    Ok(Some(table))
}

/// An error's text as it is sent: without line ends at its end.
pub(super) fn error_text(text: &[u8]) -> Vec<u8> {
    let end = text.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |at| at + 1);
    text[..end].to_vec()
}

fn simple(text: &[u8], reply: &mut Reply) {
    let mut line = vec![b'+'];
    line.extend(text.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }));
    line.extend_from_slice(b"\r\n");
    reply.raw(&line);
}

/// A number as C makes an integer of it: what does not fit is the least one.
pub(super) fn truncated(n: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&n) { n as i64 } else { i64::MIN }
}
