//! `cmsgpack`: values as MessagePack. Behaviour: lua-cmsgpack 0.4.0 as Valkey has it: no binary type and no
//! extensions; tables in tables beyond sixteen are nil.

use mlua::{Lua, Table, Value, Variadic};

use super::library::{Arguments, function};
use super::to_reply::truncated;

/// Tables nested deeper are written as nil.
const MAX_WRITTEN_DEPTH: usize = 16;
/// Collections nested deeper are not read.
const MAX_READ_DEPTH: usize = 1000;
/// More values at once do not fit the interpreter's stack.
const MAX_RESULTS: usize = 7900;

const TOO_MANY: &str =
    "stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)";

/// The library.
pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("pack", function(lua, "pack", pack)?)?;
    table.raw_set("unpack", function(lua, "unpack", |args| unpack(args, 0, 0))?)?;
    table.raw_set(
        "unpack_one",
        function(lua, "unpack_one", |args| unpack(args, 1, args.integer_or(1, 0)?))?,
    )?;
    table.raw_set(
        "unpack_limit",
        function(lua, "unpack_limit", |args| {
            let limit = truncated(args.number(1)?);
            unpack(args, limit, args.integer_or(2, 0)?)
        })?,
    )?;
    table.raw_set("_NAME", "cmsgpack")?;
    table.raw_set("_VERSION", "lua-cmsgpack 0.4.0")?;
    table.raw_set("_COPYRIGHT", "Copyright (C) 2012, Redis Ltd.")?;
    table.raw_set("_DESCRIPTION", "MessagePack C implementation for Lua")?;
    Ok(table)
}

fn pack(args: &Arguments<'_>) -> mlua::Result<mlua::BString> {
    if args.len() == 0 {
        return Err(args.error("bad argument #0 to 'pack' (MessagePack pack needs input.)"));
    }
    let mut out = Vec::new();
    for at in 0..args.len() {
        write(args.get(at).unwrap_or(&Value::Nil), 0, &mut out)?;
    }
    Ok(out.into())
}

fn write(value: &Value, depth: usize, out: &mut Vec<u8>) -> mlua::Result<()> {
    match value {
        Value::String(text) => write_string(&text.as_bytes(), out),
        Value::Boolean(value) => out.push(if *value { 0xc3 } else { 0xc2 }),
        Value::Integer(n) => write_integer(*n, out),
        Value::Number(n) if truncated(*n) as f64 == *n && !n.is_infinite() && *n < 9.2e18 => {
            write_integer(truncated(*n), out);
        }
        Value::Number(n) => write_double(*n, out),
        Value::Table(table) if depth < MAX_WRITTEN_DEPTH => write_table(table, depth, out)?,
        _ => out.push(0xc0),
    }
    Ok(())
}

/// A head with a length: one byte if it is short, else the smallest of the marks that there are.
fn write_head(len: usize, (short, most_short): (u8, usize), marks: [Option<u8>; 3], out: &mut Vec<u8>) {
    let [mark_8, mark_16, mark_32] = marks;
    match (len, mark_8, mark_16, mark_32) {
        (len, ..) if len <= most_short => out.push(short | len as u8),
        (..=0xff, Some(mark), ..) => out.extend_from_slice(&[mark, len as u8]),
        (..=0xffff, _, Some(mark), _) => {
            out.push(mark);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        (_, _, _, mark) => {
            out.push(mark.unwrap_or(0xc0));
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
    }
}

fn write_string(text: &[u8], out: &mut Vec<u8>) {
    write_head(text.len(), (0xa0, 31), [Some(0xd9), Some(0xda), Some(0xdb)], out);
    out.extend_from_slice(text);
}

fn write_integer(n: i64, out: &mut Vec<u8>) {
    match n {
        0..=0x7f => out.push(n as u8),
        0x80..=0xff => out.extend_from_slice(&[0xcc, n as u8]),
        0x100..=0xffff => {
            out.push(0xcd);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xce);
            out.extend_from_slice(&(n as u32).to_be_bytes());
        }
        0x1_0000_0000.. => {
            out.push(0xcf);
            out.extend_from_slice(&n.to_be_bytes());
        }
        -32..=-1 => out.push(n as u8),
        -128..=-33 => out.extend_from_slice(&[0xd0, n as u8]),
        -0x8000..=-129 => {
            out.push(0xd1);
            out.extend_from_slice(&(n as i16).to_be_bytes());
        }
        -0x8000_0000..=-0x8001 => {
            out.push(0xd2);
            out.extend_from_slice(&(n as i32).to_be_bytes());
        }
        _ => {
            out.push(0xd3);
            out.extend_from_slice(&n.to_be_bytes());
        }
    }
}

fn write_double(n: f64, out: &mut Vec<u8>) {
    if f64::from(n as f32) == n {
        out.push(0xca);
        out.extend_from_slice(&(n as f32).to_be_bytes());
    } else {
        out.push(0xcb);
        out.extend_from_slice(&n.to_be_bytes());
    }
}

fn write_table(table: &Table, depth: usize, out: &mut Vec<u8>) -> mlua::Result<()> {
    let mut count = 0usize;
    let mut is_array = true;
    let mut most = 0.0f64;
    for pair in table.pairs::<Value, Value>() {
        let (key, _) = pair?;
        count += 1;
        let n = match key {
            Value::Integer(n) => n as f64,
            Value::Number(n) => n,
            _ => f64::NAN,
        };
        is_array &= n > 0.0 && n <= f64::from(i32::MAX) && n.fract() == 0.0;
        most = most.max(n);
    }
    if is_array && most == count as f64 {
        write_head(count, (0x90, 15), [None, Some(0xdc), Some(0xdd)], out);
        for i in 1..=count {
            write(&table.raw_get(i)?, depth + 1, out)?;
        }
        return Ok(());
    }
    write_head(count, (0x80, 15), [None, Some(0xde), Some(0xdf)], out);
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        write(&key, depth + 1, out)?;
        write(&value, depth + 1, out)?;
    }
    Ok(())
}

/// Bytes that are read.
struct Cursor<'a> {
    args: &'a Arguments<'a>,
    rest: &'a [u8],
}

fn unpack(args: &Arguments<'_>, limit: i64, offset: i64) -> mlua::Result<Variadic<Value>> {
    let text = args.string(0)?;
    let text = text.as_bytes();
    let is_all = limit == 0 && offset == 0;
    if offset < 0 || limit < 0 {
        let (offset, len) = (offset as i32, text.len() as i32);
        return Err(
            args.error(&format!("Invalid request to unpack with offset of {offset} and limit of {len}."))
        );
    }
    let rest = usize::try_from(offset).ok().and_then(|offset| text.get(offset..));
    let rest = rest.ok_or_else(|| {
        let (offset, len) = (offset as i32, text.len());
        args.error(&format!("Start offset {offset} greater than input length {len}."))
    })?;
    let mut cursor = Cursor { args, rest };
    let limit = if is_all { usize::MAX } else { limit as usize };
    let mut results: Variadic<Value> = Variadic::new();
    if !is_all {
        results.push(Value::Nil);
    }
    let mut count = 0;
    while !cursor.rest.is_empty() && count < limit {
        if results.len() >= MAX_RESULTS {
            return Err(args.error(TOO_MANY));
        }
        let value = cursor.value(0)?;
        results.push(value);
        count += 1;
    }
    if !is_all {
        let next = if cursor.rest.is_empty() { -1.0 } else { (text.len() - cursor.rest.len()) as f64 };
        results[0] = Value::Number(next);
    }
    Ok(results)
}

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> mlua::Result<&'a [u8]> {
        let (taken, rest) =
            self.rest.split_at_checked(len).ok_or_else(|| self.args.error("Missing bytes in input."))?;
        self.rest = rest;
        Ok(taken)
    }

    /// A big-endian integer of so many bytes.
    fn unsigned(&mut self, len: usize) -> mlua::Result<u64> {
        Ok(self.take(len)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn string(&mut self, len: u64) -> mlua::Result<Value> {
        let bytes = self.take(usize::try_from(len).unwrap_or(usize::MAX))?;
        Ok(Value::String(self.args.lua.create_string(bytes)?))
    }

    fn value(&mut self, depth: usize) -> mlua::Result<Value> {
        if depth > MAX_READ_DEPTH {
            return Err(self.args.error(TOO_MANY));
        }
        let first = self.take(1)?[0];
        let number = |n: f64| Ok(Value::Number(n));
        match first {
            0x00..=0x7f => number(f64::from(first)),
            0xe0..=0xff => number(f64::from(first as i8)),
            0xa0..=0xbf => self.string(u64::from(first & 0x1f)),
            0x90..=0x9f => self.array(u64::from(first & 0xf), depth),
            0x80..=0x8f => self.map(u64::from(first & 0xf), depth),
            0xc0 => Ok(Value::Nil),
            0xc2 => Ok(Value::Boolean(false)),
            0xc3 => Ok(Value::Boolean(true)),
            0xca => number(f64::from(f32::from_bits(self.unsigned(4)? as u32))),
            0xcb => number(f64::from_bits(self.unsigned(8)?)),
            0xcc => number(self.unsigned(1)? as f64),
            0xcd => number(self.unsigned(2)? as f64),
            0xce => number(self.unsigned(4)? as f64),
            0xcf => number(self.unsigned(8)? as f64),
            0xd0 => number(f64::from(self.unsigned(1)? as i8)),
            0xd1 => number(f64::from(self.unsigned(2)? as i16)),
            0xd2 => number(f64::from(self.unsigned(4)? as i32)),
            0xd3 => number(self.unsigned(8)? as i64 as f64),
            0xd9 => {
                let len = self.unsigned(1)?;
                self.string(len)
            }
            0xda => {
                let len = self.unsigned(2)?;
                self.string(len)
            }
            0xdb => {
                let len = self.unsigned(4)?;
                self.string(len)
            }
            0xdc => {
                let len = self.unsigned(2)?;
                self.array(len, depth)
            }
            0xdd => {
                let len = self.unsigned(4)?;
                self.array(len, depth)
            }
            0xde => {
                let len = self.unsigned(2)?;
                self.map(len, depth)
            }
            0xdf => {
                let len = self.unsigned(4)?;
                self.map(len, depth)
            }
            _ => Err(self.args.error("Bad data format in input.")),
        }
    }

    fn array(&mut self, len: u64, depth: usize) -> mlua::Result<Value> {
        let table = self.args.lua.create_table()?;
        for i in 1..=len {
            table.raw_set(i, self.value(depth + 1)?)?;
        }
        Ok(Value::Table(table))
    }

    fn map(&mut self, len: u64, depth: usize) -> mlua::Result<Value> {
        let table = self.args.lua.create_table()?;
        for _ in 0..len {
            let (key, value) = (self.value(depth + 1)?, self.value(depth + 1)?);
            match key {
                Value::Nil => return Err(self.args.error("table index is nil")),
                Value::Number(n) if n.is_nan() => return Err(self.args.error("table index is NaN")),
                key => table.raw_set(key, value)?,
            }
        }
        Ok(Value::Table(table))
    }
}
