//! `struct`: numbers and strings packed into bytes by a format, and out of them. Behaviour: Lua struct 0.2
//! as Valkey has it, its checks of lengths included. Little-endian where the format says nothing.

use mlua::{Lua, Table, Value, Variadic};

use super::library::{Arguments, function, number_of};
use super::to_reply::truncated;

/// Integers have at most so many bytes.
const MAX_INTEGER: usize = 32;
/// Alignment by `!` alone.
const NATIVE_ALIGNMENT: usize = 8;
/// No result is longer.
const MAX_BYTES: usize = 512 << 20;
/// No more results of one call: each takes a place on the stack.
const MAX_RESULTS: usize = 7900;

/// The library.
pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("pack", function(lua, "pack", pack)?)?;
    table.raw_set("unpack", function(lua, "unpack", unpack)?)?;
    table.raw_set("size", function(lua, "size", size)?)?;
    Ok(table)
}

/// A format, read from its beginning.
struct Format<'a> {
    args: &'a Arguments<'a>,
    rest: &'a [u8],
    is_big: bool,
    align: usize,
}

impl<'a> Format<'a> {
    fn new(args: &'a Arguments<'a>, text: &'a [u8]) -> Format<'a> {
        Format { args, rest: super::api::c_string(text), is_big: false, align: 1 }
    }

    /// The next option and its size.
    fn next(&mut self) -> mlua::Result<Option<(u8, usize)>> {
        let Some((option, rest)) = self.rest.split_first() else { return Ok(None) };
        self.rest = rest;
        let size = match option {
            b'B' | b'b' | b'x' => 1,
            b'H' | b'h' => 2,
            b'L' | b'l' | b'T' | b'd' => 8,
            b'f' => 4,
            b'c' => self.number(1)?,
            b'i' | b'I' => {
                let size = self.number(4)?;
                if size > MAX_INTEGER {
                    let text = format!("integral size {size} is larger than limit of {MAX_INTEGER}");
                    return Err(self.args.error(&text));
                }
                size
            }
            _ => 0,
        };
        Ok(Some((*option, size)))
    }

    fn number(&mut self, default: usize) -> mlua::Result<usize> {
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (text, rest) = self.rest.split_at(digits);
        self.rest = rest;
        let mut value = 0i32;
        for digit in text {
            let next = value.checked_mul(10).and_then(|value| value.checked_add(i32::from(digit - b'0')));
            value = next.ok_or_else(|| self.args.error("integral size overflow"))?;
        }
        Ok(if digits == 0 { default } else { value as usize })
    }

    /// Bytes to skip before something of `size` at `at`.
    fn padding(&self, at: usize, option: u8, size: usize) -> usize {
        if size == 0 || option == b'c' {
            return 0;
        }
        let size = size.min(self.align);
        size.wrapping_sub(at & size.wrapping_sub(1)) & size.wrapping_sub(1)
    }

    /// An option that packs nothing.
    fn control(&mut self, option: u8) -> mlua::Result<()> {
        match option {
            b' ' => {}
            b'>' => self.is_big = true,
            b'<' => self.is_big = false,
            b'!' => {
                let align = self.number(NATIVE_ALIGNMENT)?;
                if !align.is_power_of_two() {
                    return Err(self.args.error(&format!("alignment {align} is not a power of 2")));
                }
                self.align = align;
            }
            _ => {
                let text = format!("invalid format option '{}'", char::from(option));
                return Err(self.args.wrong(0, &text));
            }
        }
        Ok(())
    }
}

const fn is_integer(option: u8) -> bool {
    matches!(option, b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I')
}

/// Puts little-endian bytes in the format's order.
fn ordered<const N: usize>(mut bytes: [u8; N], is_big: bool) -> [u8; N] {
    if is_big {
        bytes.reverse();
    }
    bytes
}

fn pack(args: &Arguments<'_>) -> mlua::Result<mlua::BString> {
    let text = args.string(0)?;
    let text = text.as_bytes();
    let mut format = Format::new(args, &text);
    let mut out = Vec::new();
    let mut at = 1;
    while let Some((option, size)) = format.next()? {
        out.resize(out.len() + format.padding(out.len(), option, size), 0);
        match option {
            option if is_integer(option) => {
                let n = args.number(at)?;
                at += 1;
                let value = if n < 0.0 { truncated(n) as u64 } else { unsigned(n) };
                let mut bytes = [0; MAX_INTEGER];
                bytes[..8].copy_from_slice(&value.to_le_bytes());
                let bytes = &mut bytes[..size];
                if format.is_big {
                    bytes.reverse();
                }
                out.extend_from_slice(bytes);
            }
            b'x' => out.push(0),
            b'f' => {
                out.extend_from_slice(&ordered((args.number(at)? as f32).to_le_bytes(), format.is_big));
                at += 1;
            }
            b'd' => {
                out.extend_from_slice(&ordered(args.number(at)?.to_le_bytes(), format.is_big));
                at += 1;
            }
            b'c' | b's' => {
                let bytes = args.string(at)?;
                let bytes = bytes.as_bytes();
                at += 1;
                let size = if size == 0 { bytes.len() } else { size };
                let taken = bytes.get(..size).ok_or_else(|| args.wrong(at, "string too short"))?;
                out.extend_from_slice(taken);
                if option == b's' {
                    out.push(0);
                }
            }
            option => format.control(option)?,
        }
        if out.len() > MAX_BYTES {
            return Err(args.error("result is too long"));
        }
    }
    Ok(out.into())
}

/// A number as C makes an unsigned integer of it.
fn unsigned(n: f64) -> u64 {
    const SIGN: f64 = 9_223_372_036_854_775_808.0;
    if n < SIGN { truncated(n) as u64 } else { (truncated(n - SIGN) as u64) ^ (1 << 63) }
}

fn unpack(args: &Arguments<'_>) -> mlua::Result<Variadic<Value>> {
    let (text, data) = (args.string(0)?, args.string(1)?);
    let (text, data) = (text.as_bytes(), data.as_bytes());
    let mut format = Format::new(args, &text);
    let first = args.integer_or(2, 1)?;
    let mut pos = usize::try_from(first).ok().and_then(|pos| pos.checked_sub(1));
    if first == 0 {
        return Err(args.wrong(2, "offset must be 1 or greater"));
    }
    let short = || args.wrong(1, "data string too short");
    let mut results: Variadic<Value> = Variadic::new();
    while let Some((option, mut size)) = format.next()? {
        let at = pos.ok_or_else(short)?;
        let at = at + format.padding(at, option, size);
        let field = at.checked_add(size).and_then(|end| data.get(at..end)).ok_or_else(short)?;
        if results.len() >= MAX_RESULTS {
            return Err(args.error("stack overflow (too many results)"));
        }
        match option {
            option if is_integer(option) => {
                results.push(Value::Number(integer(field, format.is_big, option.is_ascii_lowercase())));
            }
            b'x' => {}
            b'f' => {
                let bytes = ordered(field.try_into().unwrap_or_default(), format.is_big);
                results.push(Value::Number(f64::from(f32::from_le_bytes(bytes))));
            }
            b'd' => {
                let bytes = ordered(field.try_into().unwrap_or_default(), format.is_big);
                results.push(Value::Number(f64::from_le_bytes(bytes)));
            }
            b'c' => {
                if size == 0 {
                    let last = results.pop().as_ref().and_then(number_of);
                    let last = last.ok_or_else(|| args.error("format 'c0' needs a previous size"))?;
                    size = usize::try_from(truncated(last)).unwrap_or(usize::MAX);
                }
                let field = at.checked_add(size).and_then(|end| data.get(at..end)).ok_or_else(short)?;
                results.push(Value::String(args.lua.create_string(field)?));
            }
            b's' => {
                let rest = data.get(at..).unwrap_or_default();
                let len = memchr::memchr(0, rest).ok_or_else(|| args.error("unfinished string in data"))?;
                results.push(Value::String(args.lua.create_string(&rest[..len])?));
                size = len + 1;
            }
            option => format.control(option)?,
        }
        pos = at.checked_add(size);
    }
    let next = pos.and_then(|pos| pos.checked_add(1)).map_or(first as f64, |next| next as f64);
    results.push(Value::Number(next));
    Ok(results)
}

/// Bytes as an integer: the low 64 bits of it.
fn integer(bytes: &[u8], is_big: bool, is_signed: bool) -> f64 {
    let step = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    let value = if is_big { bytes.iter().fold(0, step) } else { bytes.iter().rev().fold(0, step) };
    if !is_signed {
        return value as f64;
    }
    // As on the machines that Redis runs on, a shift by 64 or more is one by its rest.
    let shift = (bytes.len() as u32).wrapping_mul(8).wrapping_sub(1) % 64;
    let mask = u64::MAX << shift;
    if value & mask != 0 { (value | mask) as i64 as f64 } else { value as f64 }
}

fn size(args: &Arguments<'_>) -> mlua::Result<f64> {
    let text = args.string(0)?;
    let text = text.as_bytes();
    let mut format = Format::new(args, &text);
    let mut pos = 0usize;
    while let Some((option, size)) = format.next()? {
        pos = pos.wrapping_add(format.padding(pos, option, size));
        if option == b's' {
            return Err(args.wrong(0, "option 's' has no fixed size"));
        }
        if option == b'c' && size == 0 {
            return Err(args.wrong(0, "option 'c0' has no fixed size"));
        }
        if !option.is_ascii_alphanumeric() {
            format.control(option)?;
        }
        pos = pos.wrapping_add(size);
    }
    Ok(pos as f64)
}
