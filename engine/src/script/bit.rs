//! `bit`: operations on 32 bits of a number. Behaviour: Lua BitOp 1.0.2.

use mlua::{Lua, Table};

use super::library::{Arguments, function};

/// The library.
pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let add = |name: &'static str, run: fn(&Arguments<'_>) -> mlua::Result<u32>| {
        table.raw_set(name, function(lua, name, move |args| run(args).map(|bits| f64::from(bits as i32)))?)
    };
    add("tobit", |args| bits(args, 0))?;
    add("bnot", |args| Ok(!bits(args, 0)?))?;
    add("band", |args| fold(args, |a, b| a & b))?;
    add("bor", |args| fold(args, |a, b| a | b))?;
    add("bxor", |args| fold(args, |a, b| a ^ b))?;
    add("lshift", |args| shift(args, |bits, n| bits << n))?;
    add("rshift", |args| shift(args, |bits, n| bits >> n))?;
    add("arshift", |args| shift(args, |bits, n| ((bits as i32) >> n) as u32))?;
    add("rol", |args| shift(args, u32::rotate_left))?;
    add("ror", |args| shift(args, u32::rotate_right))?;
    add("bswap", |args| Ok(bits(args, 0)?.swap_bytes()))?;
    table.raw_set("tohex", function(lua, "tohex", hex)?)?;
    Ok(table)
}

/// The low 32 bits of a number, rounded to the nearest even one.
fn bits(args: &Arguments<'_>, at: usize) -> mlua::Result<u32> {
    /// Added to a number, it moves its integer bits to the end.
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    Ok((args.number(at)? + MAGIC).to_bits() as u32)
}

fn fold(args: &Arguments<'_>, merge: fn(u32, u32) -> u32) -> mlua::Result<u32> {
    let mut all = bits(args, 0)?;
    for at in (1..args.len()).rev() {
        all = merge(all, bits(args, at)?);
    }
    Ok(all)
}

fn shift(args: &Arguments<'_>, shift: fn(u32, u32) -> u32) -> mlua::Result<u32> {
    Ok(shift(bits(args, 0)?, bits(args, 1)? & 31))
}

fn hex(args: &Arguments<'_>) -> mlua::Result<String> {
    const MOST: u32 = 8;
    let value = bits(args, 0)?;
    let digits = if args.len() < 2 { MOST as i32 } else { bits(args, 1)? as i32 };
    let text = if digits < 0 { format!("{value:08X}") } else { format!("{value:08x}") };
    Ok(text[(MOST - digits.unsigned_abs().min(MOST)) as usize..].to_owned())
}
