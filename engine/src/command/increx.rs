//! INCREX: an addition within bounds that also says when the key expires.
//!
//! Behaviour: the documentation and tests of Redis 8.8. Whatever it does is logged as the SET that it
//! comes to.

use std::cmp::Ordering;

use crate::base::long_double::LongDouble;
use crate::base::num;
use crate::base::time::UnixMs;
use crate::codec::resp::Reply;
use crate::keyspace::lazy::removal;
use crate::value::{IntText, StrRef, StringValue, Value};

use super::effects::Classes;
use super::expire::Unit;
use super::spec::{DENYOOM, FAST, Group, KeySpec, READS_AND_UPDATES, Spec, WRITE};
use super::string::expiry_argument;
use super::{Args, CommandError, Context, DataCommand, Outcome};

/// Every command of this file.
pub(super) const COMMANDS: &[DataCommand] = &[INCREX];

const INCREX: DataCommand = DataCommand::new(
    Spec::new(
        "increx",
        Group::String,
        "8.8.0",
        -2,
        "key [ BYFLOAT increment:double | BYINT increment:int ] [ LBOUND lowerbound ] [ UBOUND upperbound ] \
         [ SATURATE ] [ EX seconds:int | PX milliseconds:int | EXAT unix-time-seconds:unix-time | \
         PXAT unix-time-milliseconds:unix-time | PERSIST ] [ ENX ]",
    )
    .flags(WRITE.or(DENYOOM).or(FAST))
    .keys(&[KeySpec::one(1, READS_AND_UPDATES)])
    .summary("Adds to the number at a key within bounds, and changes when the key expires."),
    increx,
);

/// What becomes of the key's expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expiry {
    Keep,
    Remove,
    At(UnixMs),
}

/// The arguments as they were sent.
#[derive(Default)]
struct Words<'a> {
    by_int: Option<&'a [u8]>,
    by_float: Option<&'a [u8]>,
    lower: Option<&'a [u8]>,
    upper: Option<&'a [u8]>,
    saturates: bool,
    expiry: Option<(Unit, usize)>,
    persists: bool,
    if_none: bool,
}

impl<'a> Words<'a> {
    /// Each word may come once.
    fn parse(args: Args<'a>) -> Result<Words<'a>, CommandError> {
        let mut words = Words::default();
        let mut i = 2;
        while i < args.len() {
            let flag = if args.is(i, "SATURATE") {
                Some(&mut words.saturates)
            } else if args.is(i, "PERSIST") {
                Some(&mut words.persists)
            } else if args.is(i, "ENX") {
                Some(&mut words.if_none)
            } else {
                None
            };
            if let Some(flag) = flag {
                if std::mem::replace(flag, true) {
                    return Err(CommandError::Syntax);
                }
                i += 1;
                continue;
            }
            let value = args.get(i + 1).ok_or(CommandError::Syntax)?;
            if let Some(unit) = Unit::from_option(args, i) {
                if words.expiry.replace((unit, i + 1)).is_some() {
                    return Err(CommandError::Syntax);
                }
                i += 2;
                continue;
            }
            let place = if args.is(i, "BYINT") {
                &mut words.by_int
            } else if args.is(i, "BYFLOAT") {
                &mut words.by_float
            } else if args.is(i, "LBOUND") {
                &mut words.lower
            } else if args.is(i, "UBOUND") {
                &mut words.upper
            } else {
                return Err(CommandError::Syntax);
            };
            if place.replace(value).is_some() {
                return Err(CommandError::Syntax);
            }
            i += 2;
        }
        let contradicts = words.by_int.is_some() && words.by_float.is_some()
            || words.persists && (words.expiry.is_some() || words.if_none);
        if contradicts {
            return Err(CommandError::Syntax);
        }
        if words.if_none && words.expiry.is_none() {
            return Err(CommandError::text("ERR ENX flag requires an expiration"));
        }
        Ok(words)
    }
}

/// A number of the kind that is counted in.
trait Number: Copy {
    const LEAST: Self;
    const MOST: Self;
    const ZERO: Self;
    const EVENT: &'static str;
    const DELTA_TOO_LARGE: CommandError;

    fn parse(text: &[u8]) -> Option<Self>;
    /// The text about something that is no such number.
    fn not_a_number(what: &str) -> CommandError;
    fn stored(text: StrRef<'_>) -> Result<Self, CommandError>;
    fn compare(self, other: Self) -> Ordering;
    /// The sum, or which end of the numbers it lies beyond.
    fn plus(self, other: Self) -> Result<Self, Ordering>;
    fn minus(self, other: Self) -> Option<Self>;
    fn value(self) -> StringValue;
    fn write(self, reply: &mut Reply);
}

impl Number for i64 {
    const LEAST: i64 = i64::MIN;
    const MOST: i64 = i64::MAX;
    const ZERO: i64 = 0;
    const EVENT: &'static str = "incrby";
    const DELTA_TOO_LARGE: CommandError = CommandError::text("ERR applied increment would overflow");

    fn parse(text: &[u8]) -> Option<i64> {
        num::parse_i64(text)
    }

    fn not_a_number(what: &str) -> CommandError {
        CommandError::Text(format!("ERR {what} is not an integer or out of range").into())
    }

    fn stored(text: StrRef<'_>) -> Result<i64, CommandError> {
        text.as_i64().ok_or(CommandError::NotInteger)
    }

    fn compare(self, other: i64) -> Ordering {
        self.cmp(&other)
    }

    fn plus(self, other: i64) -> Result<i64, Ordering> {
        self.checked_add(other).ok_or(other.cmp(&0))
    }

    fn minus(self, other: i64) -> Option<i64> {
        self.checked_sub(other)
    }

    fn value(self) -> StringValue {
        StringValue::from_i64(self)
    }

    fn write(self, reply: &mut Reply) {
        reply.int(self);
    }
}

impl Number for LongDouble {
    const LEAST: LongDouble = LongDouble::MIN;
    const MOST: LongDouble = LongDouble::MAX;
    const ZERO: LongDouble = LongDouble::ZERO;
    const EVENT: &'static str = "incrbyfloat";
    const DELTA_TOO_LARGE: CommandError = CommandError::text("ERR applied increment would be Infinity");

    fn parse(text: &[u8]) -> Option<LongDouble> {
        LongDouble::parse(text)
    }

    fn not_a_number(what: &str) -> CommandError {
        CommandError::Text(format!("ERR {what} is not a valid float").into())
    }

    fn stored(text: StrRef<'_>) -> Result<LongDouble, CommandError> {
        let number = LongDouble::parse(text.bytes(&mut IntText::new())).ok_or(CommandError::NotFloat)?;
        if number.is_finite() { Ok(number) } else { Err(CommandError::text("ERR value cannot be Infinity")) }
    }

    fn compare(self, other: LongDouble) -> Ordering {
        self.total_cmp(other)
    }

    fn plus(self, other: LongDouble) -> Result<LongDouble, Ordering> {
        let sum = LongDouble::plus(self, other);
        if sum.is_finite() { Ok(sum) } else { Err(other.total_cmp(LongDouble::ZERO)) }
    }

    fn minus(self, other: LongDouble) -> Option<LongDouble> {
        Some(LongDouble::plus(self, other.negated())).filter(|difference| difference.is_finite())
    }

    fn value(self) -> StringValue {
        StringValue::plain(text_of(self))
    }

    fn write(self, reply: &mut Reply) {
        let text = text_of(self);
        if reply.is_resp3() {
            // As many digits as a long double has: more than a double would print.
            reply.raw(&[b",", &text[..], b"\r\n"].concat());
        } else {
            reply.bulk(&text);
        }
    }
}

fn text_of(number: LongDouble) -> Vec<u8> {
    let mut text = Vec::new();
    number.push_to(&mut text);
    text
}

fn increx(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let words = Words::parse(args)?;
    match words.by_float {
        None => {
            let by = match words.by_int {
                None => 1,
                Some(text) => i64::parse(text).ok_or_else(|| i64::not_a_number("Increment"))?,
            };
            add(ctx, args, &words, by)
        }
        Some(text) => {
            let by = LongDouble::parse(text).ok_or_else(|| LongDouble::not_a_number("Increment"))?;
            if !by.is_finite() {
                return Err(CommandError::text("ERR BYFLOAT increment cannot be Infinity"));
            }
            add(ctx, args, &words, by)
        }
    }
}

fn add<N: Number>(ctx: &mut Context<'_>, args: Args<'_>, words: &Words<'_>, by: N) -> Outcome {
    let key = args.at(1);
    let bound = |text: Option<&[u8]>, name, otherwise| match text {
        None => Ok(otherwise),
        Some(text) => N::parse(text).ok_or_else(|| N::not_a_number(name)),
    };
    let lower = bound(words.lower, "LBOUND", N::LEAST)?;
    let upper = bound(words.upper, "UBOUND", N::MOST)?;
    if lower.compare(upper).is_gt() {
        return Err(CommandError::text("ERR LBOUND can't be greater than UBOUND"));
    }
    let mut expiry = match words.expiry {
        Some((unit, i)) => Expiry::At(expiry_argument(args, i, unit, ctx.data.now, "increx")?),
        None if words.persists => Expiry::Remove,
        None => Expiry::Keep,
    };
    let old = ctx.data.string(key)?.map(N::stored).transpose()?;
    let before = old.unwrap_or(N::ZERO);
    // Beyond the numbers is beyond any bound.
    let (sum, is_within) = match before.plus(by) {
        Ok(sum) => (sum, sum.compare(lower).is_ge() && sum.compare(upper).is_le()),
        Err(Ordering::Less) => (lower, false),
        Err(_) => (upper, false),
    };
    ctx.reply.array(2);
    if !is_within && !words.saturates {
        before.write(ctx.reply);
        N::ZERO.write(ctx.reply);
        return Ok(());
    }
    let after = if sum.compare(lower).is_lt() {
        lower
    } else if sum.compare(upper).is_gt() {
        upper
    } else {
        sum
    };
    let delta = after.minus(before).ok_or(N::DELTA_TOO_LARGE)?;
    after.write(ctx.reply);
    delta.write(ctx.reply);
    let old_expiry = ctx.data.db_ref().expire_at(key);
    if words.if_none && old_expiry.is_some() || expiry == Expiry::Remove && old_expiry.is_none() {
        expiry = Expiry::Keep;
    }
    store(ctx, key, after, old.is_some(), expiry, old_expiry);
    Ok(())
}

fn store<N: Number>(
    ctx: &mut Context<'_>,
    key: &[u8],
    number: N,
    was_there: bool,
    expiry: Expiry,
    old_expiry: Option<UnixMs>,
) {
    let data = &mut ctx.data;
    if matches!(expiry, Expiry::At(at) if data.has_passed(at)) {
        if was_there {
            data.remove(key);
            data.wrote(Classes::GENERIC, "del", key);
            let is_lazy = data.db_ref().laziness().server_del;
            data.log_as(&[removal(is_lazy), key]);
        }
        return;
    }
    let expire_at = match expiry {
        Expiry::Keep => old_expiry,
        Expiry::Remove => None,
        Expiry::At(at) => Some(at),
    };
    let value = number.value();
    if data.is_logging() {
        let (mut text, mut time) = (IntText::new(), IntText::new());
        let mut words: Vec<&[u8]> = vec![b"SET", key, value.view().bytes(&mut text)];
        match expiry {
            Expiry::Keep => words.push(b"KEEPTTL"),
            Expiry::Remove => {}
            Expiry::At(at) => words.extend([&b"PXAT"[..], time.format(at.0)]),
        }
        data.log_as(&words);
    }
    data.set(key, Value::String(value), expire_at);
    data.wrote(Classes::STRING, N::EVENT, key);
    match expiry {
        Expiry::Keep => {}
        Expiry::Remove => data.event(Classes::GENERIC, "persist", key),
        Expiry::At(_) => data.event(Classes::GENERIC, "expire", key),
    }
}
