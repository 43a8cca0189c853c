//! Commands on single bits of strings and on whole bitmaps.
//!
//! Behaviour: valkey src/bitops.c; DIFF, DIFF1, ANDOR and ONE of BITOP are those of Redis 8.2. The bits
//! themselves are `value/bitmap.rs`.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use crate::base::num;
use crate::value::bitmap::{self, Combine};
use crate::value::{IntText, StrRef, StringValue, Value, ValueRef};

use super::effects::Classes;
use super::spec::{
    BeginSearch, DENYOOM, FAST, FindKeys, Group, KeySpec, OVERWRITES, READONLY, READS, READS_AND_UPDATES,
    Spec, WRITE,
};
use super::{Args, CommandError, Context, DataCommand, Outcome};

/// Every command of this file.
pub(super) const COMMANDS: &[DataCommand] = &[SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP];

/// The text about a place in a bitmap.
pub(super) const BAD_OFFSET: CommandError =
    CommandError::text("ERR bit offset is not an integer or out of range");

/// A place in a bitmap: not below zero, and in a byte that a string may have.
pub(super) fn bit_offset(text: &[u8], scale: i64, max_string_bytes: usize) -> Result<u64, CommandError> {
    let offset = num::parse_i64(text).and_then(|n| n.checked_mul(scale)).ok_or(BAD_OFFSET)?;
    let offset = u64::try_from(offset).map_err(|_| BAD_OFFSET)?;
    if offset / 8 >= max_string_bytes as u64 { Err(BAD_OFFSET) } else { Ok(offset) }
}

const SETBIT: DataCommand = DataCommand::new(
    Spec::new("setbit", Group::Bitmap, "2.2.0", 4, "key offset:int value:int")
        .flags(WRITE.or(DENYOOM))
        .keys(&[KeySpec::one(1, READS_AND_UPDATES)])
        .summary("Sets or clears a bit of the string at a key, and tells what it was."),
    setbit,
);

fn setbit(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    let offset = bit_offset(args.at(2), 1, ctx.data.max_string_bytes())?;
    let on = match num::parse_i64(args.at(3)) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(CommandError::text("ERR bit is not an integer or out of range")),
    };
    let len = (offset / 8) as usize + 1;
    let (was, has_grown) = ctx.data.edit_bytes(
        key,
        |old| old.max(len),
        |bytes, old| (bitmap::set_bit(bytes, offset, on), old < len),
    )?;
    if was != on || has_grown {
        ctx.data.wrote(Classes::STRING, "setbit", key);
    }
    ctx.reply.int(i64::from(was));
    Ok(())
}

const GETBIT: DataCommand = DataCommand::new(
    Spec::new("getbit", Group::Bitmap, "2.2.0", 3, "key offset:int")
        .flags(READONLY.or(FAST))
        .keys(&[KeySpec::one(1, READS)])
        .summary("Gives a bit of the string at a key."),
    getbit,
);

fn getbit(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let offset = bit_offset(args.at(2), 1, ctx.data.max_string_bytes())?;
    let text = ctx.data.string(args.at(1))?;
    let bit = text.is_some_and(|text| bitmap::bit(text.bytes(&mut IntText::new()), offset));
    ctx.reply.int(i64::from(bit));
    Ok(())
}

/// A range as BITCOUNT and BITPOS take it: start, end, and whether they count bits.
#[derive(Clone, Copy)]
struct RangeArgs {
    start: i64,
    end: Option<i64>,
    in_bits: bool,
}

impl RangeArgs {
    /// Reads the range that begins at argument `i`; `None` if there is none.
    fn parse(args: Args<'_>, i: usize) -> Result<Option<RangeArgs>, CommandError> {
        if args.len() <= i {
            return Ok(None);
        }
        if args.len() > i + 3 {
            return Err(CommandError::Syntax);
        }
        let start = args.int(i)?;
        let in_bits = args.is(i + 2, "BIT");
        if args.len() == i + 3 && !in_bits && !args.is(i + 2, "BYTE") {
            return Err(CommandError::Syntax);
        }
        let end = if args.len() > i + 1 { Some(args.int(i + 1)?) } else { None };
        Ok(Some(RangeArgs { start, end, in_bits }))
    }

    /// The bits of a string of so many bytes that are meant; `None` if it is none of them.
    fn bits(self, bytes: usize) -> Option<RangeInclusive<u64>> {
        let unit = if self.in_bits { 1 } else { 8 };
        let total = bytes as i64 * 8 / unit;
        let from_end = |i: i64| if i < 0 { i.saturating_add(total).max(0) } else { i };
        let start = from_end(self.start);
        let end = from_end(self.end.unwrap_or(total - 1)).min(total - 1);
        (start <= end).then(|| (start * unit) as u64..=(end * unit + unit - 1) as u64)
    }
}

const BITCOUNT: DataCommand = DataCommand::new(
    Spec::new(
        "bitcount",
        Group::Bitmap,
        "2.6.0",
        -2,
        "key range=[ start:int end-unit-block=[ end:int unit@7.0.0=[ BYTE | BIT ] ] ]",
    )
    .flags(READONLY)
    .keys(&[KeySpec::one(1, READS)])
    .complexity("O(N) in the bytes counted")
    .summary("Counts the bits that are set in the string at a key."),
    bitcount,
);

fn bitcount(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let range = RangeArgs::parse(args, 2)?;
    let mut text = IntText::new();
    let bytes = ctx.data.string(args.at(1))?.map_or(&b""[..], |old| old.bytes(&mut text));
    let count = match range {
        None => bitmap::count(bytes),
        // Unlike BITPOS: two negative ends in the wrong order count nothing, whatever they come to.
        Some(RangeArgs { start, end: Some(end), .. }) if start < 0 && end < 0 && start > end => 0,
        Some(range) => range.bits(bytes.len()).map_or(0, |bits| bitmap::count_within(bytes, bits)),
    };
    ctx.reply.int(count as i64);
    Ok(())
}

const BITPOS: DataCommand = DataCommand::new(
    Spec::new(
        "bitpos",
        Group::Bitmap,
        "2.8.7",
        -3,
        "key bit:int range=[ start:int end-unit-block=[ end:int unit@7.0.0=[ BYTE | BIT ] ] ]",
    )
    .flags(READONLY)
    .keys(&[KeySpec::one(1, READS)])
    .complexity("O(N) in the bytes looked at")
    .summary("Finds the first bit in the string at a key that is set, or clear."),
    bitpos,
);

fn bitpos(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let wanted = match args.int(2)? {
        0 => false,
        1 => true,
        _ => return Err(CommandError::text("ERR The bit argument must be 1 or 0.")),
    };
    let range = RangeArgs::parse(args, 3)?;
    let Some(text) = ctx.data.string(args.at(1))? else {
        // Nothing is as good as zero bits without end.
        ctx.reply.int(if wanted { -1 } else { 0 });
        return Ok(());
    };
    let mut int_text = IntText::new();
    let bytes = text.bytes(&mut int_text);
    let is_open = range.is_none_or(|range| range.end.is_none());
    let range = range.unwrap_or(RangeArgs { start: 0, end: None, in_bits: false });
    let found = range.bits(bytes.len()).and_then(|bits| {
        let beyond = *bits.end() + 1;
        bitmap::first(bytes, wanted, bits).or_else(|| (!wanted && is_open).then_some(beyond))
    });
    ctx.reply.int(found.map_or(-1, |at| at as i64));
    Ok(())
}

const BITOP: DataCommand = DataCommand::new(
    Spec::new(
        "bitop",
        Group::Bitmap,
        "2.6.0",
        -4,
        "operation=< AND | OR | XOR | NOT | DIFF@8.2.0 | DIFF1@8.2.0 | ANDOR@8.2.0 | ONE@8.2.0 > \
         destkey key...",
    )
    .flags(WRITE.or(DENYOOM))
    .keys(&[
        KeySpec::one(2, OVERWRITES),
        KeySpec {
            uses: READS,
            begin: BeginSearch::Index(3),
            find: FindKeys::Range { last: -1, step: 1, limit: 0 },
        },
    ])
    .complexity("O(N) in the bytes of all strings")
    .summary("Combines strings bit by bit and stores the result."),
    bitop,
);

fn bitop(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    const OPERATIONS: [(&str, Combine); 8] = [
        ("AND", Combine::And),
        ("OR", Combine::Or),
        ("XOR", Combine::Xor),
        ("NOT", Combine::Not),
        ("DIFF", Combine::Diff),
        ("DIFF1", Combine::Diff1),
        ("ANDOR", Combine::AndOr),
        ("ONE", Combine::One),
    ];
    let named = OPERATIONS.into_iter().find(|(word, _)| args.is(1, word));
    let (name, how) = named.ok_or(CommandError::Syntax)?;
    let (target, keys) = (args.at(2), args.from(3));
    if how == Combine::Not && keys.len() != 1 {
        return Err(CommandError::text("ERR BITOP NOT must be called with a single source key."));
    }
    if matches!(how, Combine::Diff | Combine::Diff1 | Combine::AndOr) && keys.len() < 2 {
        let text = format!("ERR BITOP {name} must be called with at least two source keys.");
        return Err(CommandError::Text(text.into()));
    }
    ctx.data.counts_reads = true;
    for key in keys {
        ctx.data.string(key)?;
    }
    let db = ctx.data.db_ref();
    let sources: Vec<Cow<'_, [u8]>> = keys
        .iter()
        .map(|key| match db.get(key) {
            Some(ValueRef::String(StrRef::Text(bytes) | StrRef::Edited(bytes))) => Cow::Borrowed(bytes),
            Some(ValueRef::String(int)) => Cow::Owned(int.to_vec()),
            _ => Cow::Borrowed(&b""[..]),
        })
        .collect();
    let slices: Vec<&[u8]> = sources.iter().map(Cow::as_ref).collect();
    let result = bitmap::combine(how, &slices);
    let len = result.len();
    if len > 0 {
        ctx.data.set(target, Value::String(StringValue::edited(result)), None);
        ctx.data.wrote(Classes::STRING, "set", target);
    } else if ctx.data.remove(target) {
        ctx.data.wrote(Classes::GENERIC, "del", target);
    }
    ctx.reply.int(len as i64);
    Ok(())
}
