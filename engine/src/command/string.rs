//! String commands. The bytes' layout is the value's business; what a SET option means is here.
//!
//! Behaviour: valkey src/t_string.c.

use crate::base::long_double::LongDouble;
use crate::base::time::UnixMs;
use crate::value::{IntText, StrRef, StringValue, Value, ValueRef};

use super::compare::Comparison;
use super::effects::Classes;
use super::expire::{self, Unit, absolute};
use super::spec::{
    BeginSearch, DENYOOM, FAST, FILLS, FindKeys, Group, INSERTS, KeySpec, LOOKS, OVERWRITES, READONLY, READS,
    READS_AND_DELETES, READS_AND_MAY_UPDATE, READS_AND_UPDATES, Spec, UPDATES, WRITE,
};
use super::{Args, CommandError, Context, DataCommand, Outcome, PREFETCH_KEYS, finders};

/// Every command of this file.
pub(super) const COMMANDS: &[DataCommand] = &[
    GET,
    SET,
    SETNX,
    SETEX,
    PSETEX,
    GETSET,
    GETDEL,
    GETEX,
    MGET,
    MSET,
    MSETNX,
    MSETEX,
    STRLEN,
    APPEND,
    GETRANGE,
    SUBSTR,
    SETRANGE,
    INCR,
    DECR,
    INCRBY,
    DECRBY,
    INCRBYFLOAT,
];

const GET: DataCommand = DataCommand::new(
    Spec::new("get", Group::String, "1.0.0", 2, "key")
        .flags(READONLY.or(FAST))
        .keys(&[KeySpec::one(1, READS)])
        .summary("Gives the string at a key."),
    get,
);

fn get(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    match ctx.data.string(args.at(1))? {
        Some(text) => reply_string(ctx.reply, text),
        None => ctx.reply.null(),
    }
    Ok(())
}

fn reply_string(reply: &mut crate::codec::resp::Reply, text: StrRef<'_>) {
    match text {
        StrRef::Int(n) => reply.bulk_int(n),
        StrRef::Text(bytes) | StrRef::Edited(bytes) => reply.bulk(bytes),
    }
}

const SET: DataCommand = DataCommand::new(
    Spec::new(
        "set",
        Group::String,
        "1.0.0",
        -3,
        "key value condition=[ NX@2.6.12 | XX@2.6.12 | IFEQ comparison-value@8.1.0 \
         | IFNE comparison-value@8.4.0 | IFDEQ comparison-digest@8.4.0 \
         | IFDNE comparison-digest@8.4.0 ] [ GET@6.2.0 ] expiration=[ EX seconds:int@2.6.12 \
         | PX milliseconds:int@2.6.12 | EXAT unix-time-seconds:unix-time@6.2.0 \
         | PXAT unix-time-milliseconds:unix-time@6.2.0 | KEEPTTL@6.0.0 ]",
    )
    .flags(WRITE.or(DENYOOM))
    .keys(&[KeySpec::one(1, READS_AND_MAY_UPDATE)])
    .finder(finders::set)
    .summary("Sets a key to a string, in place of any value."),
    set,
);

/// When SET may write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition<'a> {
    Always,
    IfAbsent,
    IfPresent,
    /// With the argument at this place.
    If(Comparison<'a>, usize),
}

impl Condition<'_> {
    /// Where the argument is that the value is compared with.
    fn operand(self) -> Option<usize> {
        match self {
            Condition::If(_, i) => Some(i),
            _ => None,
        }
    }
}

/// What becomes of the key's expiry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expiry {
    /// What the command does when no word says otherwise.
    Unsaid,
    /// KEEPTTL.
    Keep,
    /// PERSIST.
    Remove,
    /// A time in this unit, at this place among the arguments.
    At(Unit, usize),
}

impl Expiry {
    /// Reads a word about expiries at `i`, which may be said again but not contradicted; `bare` is the
    /// one that takes no time. Answers how many arguments that were, `None` if it is no such word.
    fn read(&mut self, args: Args<'_>, i: usize, bare: (&str, Expiry)) -> Option<usize> {
        if args.is(i, bare.0) && (*self == Expiry::Unsaid || *self == bare.1) {
            *self = bare.1;
            return Some(1);
        }
        let unit = Unit::from_option(args, i).filter(|_| i + 1 < args.len())?;
        let agrees = matches!(self, Expiry::Unsaid) || matches!(self, Expiry::At(said, _) if *said == unit);
        agrees.then(|| {
            *self = Expiry::At(unit, i + 1);
            2
        })
    }
}

struct SetOptions<'a> {
    condition: Condition<'a>,
    expiry: Expiry,
    give_old: bool,
}

impl<'a> SetOptions<'a> {
    fn parse(args: Args<'a>) -> Result<SetOptions<'a>, CommandError> {
        let mut options =
            SetOptions { condition: Condition::Always, expiry: Expiry::Unsaid, give_old: false };
        let mut i = 3;
        while i < args.len() {
            let agrees = |condition| [Condition::Always, condition].contains(&options.condition);
            if args.is(i, "NX") && agrees(Condition::IfAbsent) {
                options.condition = Condition::IfAbsent;
            } else if args.is(i, "XX") && agrees(Condition::IfPresent) {
                options.condition = Condition::IfPresent;
            } else if let Some(comparison) = Comparison::parse(args, i)?
                && agrees(Condition::Always)
            {
                options.condition = Condition::If(comparison, i + 1);
                i += 1;
            } else if args.is(i, "GET") {
                options.give_old = true;
            } else {
                let read = options.expiry.read(args, i, ("KEEPTTL", Expiry::Keep));
                i += read.ok_or(CommandError::Syntax)? - 1;
            }
            i += 1;
        }
        Ok(options)
    }
}

/// An expiry given to a command that writes a value: it must be above zero.
pub(super) fn expiry_argument(
    args: Args<'_>,
    i: usize,
    unit: Unit,
    now: UnixMs,
    name: &str,
) -> Result<UnixMs, CommandError> {
    let amount = args.int(i)?;
    if amount <= 0 {
        return Err(CommandError::InvalidExpire(name.to_owned()));
    }
    absolute(amount, unit, now, name)
}

fn set(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, value) = (args.at(1), args.at(2));
    if args.len() == 3 {
        ctx.data.set_str(key, value, None);
        ctx.data.wrote(Classes::STRING, "set", key);
        ctx.reply.ok();
        return Ok(());
    }
    let options = SetOptions::parse(args)?;
    let new_expiry = match options.expiry {
        Expiry::At(unit, i) => Some(expiry_argument(args, i, unit, ctx.data.now, "set")?),
        _ => None,
    };
    if options.give_old {
        ctx.data.counts_reads = true;
        match ctx.data.string(key)? {
            Some(old) => reply_string(ctx.reply, old),
            None => ctx.reply.null(),
        }
        ctx.data.counts_reads = false;
    }
    let may_write = match options.condition {
        Condition::Always => true,
        Condition::IfAbsent => !ctx.data.is_in_the_way(key),
        Condition::IfPresent => ctx.data.peek(key).is_some(),
        Condition::If(comparison, _) => comparison.holds(ctx.data.string(key)?),
    };
    if may_write {
        match new_expiry {
            Some(at) => set_until(ctx, key, value, at),
            None => {
                let kept = (options.expiry == Expiry::Keep).then(|| ctx.data.db_ref().expire_at(key));
                ctx.data.set_str(key, value, kept.flatten());
                ctx.data.wrote(Classes::STRING, "set", key);
            }
        }
        log_set(ctx, args, &options, new_expiry);
    }
    if !options.give_old {
        if may_write { ctx.reply.ok() } else { ctx.reply.null() }
    }
    Ok(())
}

/// Sets a key to a string that expires. One whose time has passed is not even stored: what was there
/// goes, by that time.
fn set_until(ctx: &mut Context<'_>, key: &[u8], value: &[u8], at: UnixMs) {
    if ctx.data.has_passed(at) {
        if ctx.data.peek(key).is_some() {
            ctx.data.expire_at_once(key);
        }
        return;
    }
    ctx.data.set_str(key, value, Some(at));
    ctx.data.wrote(Classes::STRING, "set", key);
    ctx.data.event(Classes::GENERIC, "expire", key);
}

/// A SET with a time is logged with an absolute one and without its conditions; GET is left out.
fn log_set(ctx: &mut Context<'_>, args: Args<'_>, options: &SetOptions<'_>, expire_at: Option<UnixMs>) {
    if !ctx.data.is_logging() {
        return;
    }
    match (expire_at, options.expiry) {
        (Some(_), Expiry::At(Unit::UnixMilliseconds, _)) => {}
        (Some(at), _) => log_set_until(ctx, args.at(1), args.at(2), at),
        (None, _) if options.give_old => {
            let compared = options.condition.operand();
            let words: Vec<&[u8]> = (0..args.len())
                .filter(|&i| i < 3 || !args.is(i, "GET") || compared == Some(i))
                .map(|i| args.at(i))
                .collect();
            ctx.data.log_as(&words);
        }
        (None, _) => {}
    }
}

fn log_set_until(ctx: &mut Context<'_>, key: &[u8], value: &[u8], at: UnixMs) {
    // What has removed a key instead has said so itself.
    if ctx.data.is_logging() && !ctx.data.has_passed(at) {
        ctx.data.log_as(&[b"SET", key, value, b"PXAT", IntText::new().format(at.0)]);
    }
}

const SETNX: DataCommand = DataCommand::new(
    Spec::new("setnx", Group::String, "1.0.0", 3, "key value")
        .flags(WRITE.or(DENYOOM).or(FAST))
        .keys(&[KeySpec::one(1, FILLS)])
        .summary("Sets a key to a string if the key is not there."),
    setnx,
);

fn setnx(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let absent = !ctx.data.is_in_the_way(args.at(1));
    if absent {
        ctx.data.set_str(args.at(1), args.at(2), None);
        ctx.data.wrote(Classes::STRING, "set", args.at(1));
    }
    ctx.reply.int(i64::from(absent));
    Ok(())
}

const SETEX: DataCommand = DataCommand::new(
    Spec::new("setex", Group::String, "2.0.0", 4, "key seconds:int value")
        .flags(WRITE.or(DENYOOM))
        .keys(&[KeySpec::one(1, OVERWRITES)])
        .summary("Sets a key to a string that expires after some seconds."),
    |ctx, args| set_expiring(ctx, args, Unit::Seconds, "setex"),
);

const PSETEX: DataCommand = DataCommand::new(
    Spec::new("psetex", Group::String, "2.6.0", 4, "key milliseconds:int value")
        .flags(WRITE.or(DENYOOM))
        .keys(&[KeySpec::one(1, OVERWRITES)])
        .summary("Sets a key to a string that expires after some milliseconds."),
    |ctx, args| set_expiring(ctx, args, Unit::Milliseconds, "psetex"),
);

fn set_expiring(ctx: &mut Context<'_>, args: Args<'_>, unit: Unit, name: &str) -> Outcome {
    let at = expiry_argument(args, 2, unit, ctx.data.now, name)?;
    set_until(ctx, args.at(1), args.at(3), at);
    log_set_until(ctx, args.at(1), args.at(3), at);
    ctx.reply.ok();
    Ok(())
}

const GETSET: DataCommand = DataCommand::new(
    Spec::new("getset", Group::String, "1.0.0", 3, "key value")
        .flags(WRITE.or(DENYOOM).or(FAST))
        .keys(&[KeySpec::one(1, READS_AND_UPDATES)])
        .summary("Sets a key to a string and gives the one it had."),
    getset,
);

fn getset(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    ctx.data.counts_reads = true;
    get(ctx, args)?;
    ctx.data.set_str(args.at(1), args.at(2), None);
    ctx.data.wrote(Classes::STRING, "set", args.at(1));
    ctx.data.log_as(&[b"SET", args.at(1), args.at(2)]);
    Ok(())
}

const GETDEL: DataCommand = DataCommand::new(
    Spec::new("getdel", Group::String, "6.2.0", 2, "key")
        .flags(WRITE.or(FAST))
        .keys(&[KeySpec::one(1, READS_AND_DELETES)])
        .summary("Gives the string at a key and removes the key."),
    getdel,
);

fn getdel(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    ctx.data.counts_reads = true;
    get(ctx, args)?;
    if ctx.data.remove(args.at(1)) {
        ctx.data.wrote(Classes::GENERIC, "del", args.at(1));
        ctx.data.log_as(&[b"DEL", args.at(1)]);
    }
    Ok(())
}

const GETEX: DataCommand = DataCommand::new(
    Spec::new(
        "getex",
        Group::String,
        "6.2.0",
        -2,
        "key expiration=[ EX seconds:int | PX milliseconds:int | EXAT unix-time-seconds:unix-time \
         | PXAT unix-time-milliseconds:unix-time | PERSIST ]",
    )
    .flags(WRITE.or(FAST))
    .keys(&[KeySpec::one(1, READS_AND_UPDATES)])
    .summary("Gives the string at a key and changes when it expires."),
    getex,
);

fn getex(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, now) = (args.at(1), ctx.data.now);
    let mut expiry = Expiry::Unsaid;
    let mut i = 2;
    while i < args.len() {
        i += expiry.read(args, i, ("PERSIST", Expiry::Remove)).ok_or(CommandError::Syntax)?;
    }
    let expire_at = match expiry {
        Expiry::At(unit, i) => Some(expiry_argument(args, i, unit, now, "getex")?),
        _ => None,
    };
    ctx.data.counts_reads = true;
    get(ctx, args)?;
    if expiry == Expiry::Unsaid || ctx.data.peek(key).is_none() {
        return Ok(());
    }
    match expire_at {
        Some(at) if ctx.data.has_passed(at) => ctx.data.expire_at_once(key),
        Some(at) => expire::set_expiry(ctx, key, at, &[]),
        None => {
            if expire::remove_expiry(ctx, key) {
                ctx.data.log_as(&[b"PERSIST", key]);
            }
        }
    }
    Ok(())
}

const MGET: DataCommand = DataCommand::new(
    Spec::new("mget", Group::String, "1.0.0", -2, "key...")
        .flags(READONLY.or(FAST))
        .keys(&[KeySpec::rest(1, 1, READS)])
        .complexity("O(N) in the number of keys")
        .summary("Gives the strings at several keys."),
    mget,
);

fn mget(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let keys = args.from(1);
    ctx.reply.array(keys.len());
    for keys in keys.chunks(PREFETCH_KEYS) {
        let hashes = ctx.data.prefetch(keys.iter().copied());
        for (i, key) in keys.iter().enumerate() {
            ctx.data.expect(key, hashes.get(i));
            match ctx.data.view(key) {
                Some(ValueRef::String(text)) => reply_string(ctx.reply, text),
                _ => ctx.reply.null(),
            }
        }
    }
    Ok(())
}

const MSET: DataCommand = DataCommand::new(
    Spec::new("mset", Group::String, "1.0.1", -3, "data=< key value >...")
        .flags(WRITE.or(DENYOOM))
        .keys(&[KeySpec::rest(1, 2, OVERWRITES)])
        .complexity("O(N) in the number of keys")
        .summary("Sets several keys to strings, all at once."),
    mset,
);

fn mset(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    set_pairs(ctx, args, "mset")?;
    ctx.reply.ok();
    Ok(())
}

fn set_pairs(ctx: &mut Context<'_>, args: Args<'_>, name: &str) -> Outcome {
    let pairs = args.from(1);
    if !pairs.len().is_multiple_of(2) {
        return Err(CommandError::Arity(name.to_owned()));
    }
    for pairs in pairs.chunks(2 * PREFETCH_KEYS) {
        let hashes = ctx.data.prefetch(pairs.iter().step_by(2).copied());
        for (i, pair) in pairs.chunks_exact(2).enumerate() {
            ctx.data.expect(pair[0], hashes.get(i));
            ctx.data.set_str(pair[0], pair[1], None);
            ctx.data.wrote(Classes::STRING, "set", pair[0]);
        }
    }
    Ok(())
}

const MSETNX: DataCommand = DataCommand::new(
    Spec::new("msetnx", Group::String, "1.0.1", -3, "data=< key value >...")
        .flags(WRITE.or(DENYOOM))
        .keys(&[KeySpec::rest(1, 2, FILLS)])
        .complexity("O(N) in the number of keys")
        .summary("Sets several keys to strings if none of them is there."),
    msetnx,
);

fn msetnx(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if args.len().is_multiple_of(2) {
        return Err(CommandError::Arity("msetnx".to_owned()));
    }
    let any = args.from(1).chunks_exact(2).any(|pair| ctx.data.is_in_the_way(pair[0]));
    if !any {
        set_pairs(ctx, args, "msetnx")?;
    }
    ctx.reply.int(i64::from(!any));
    Ok(())
}

const MSETEX: DataCommand = DataCommand::new(
    Spec::new(
        "msetex",
        Group::String,
        "8.4.0",
        -4,
        "numkeys:int data=< key value >... condition=[ NX | XX ] expiration=[ EX seconds:int \
         | PX milliseconds:int | EXAT unix-time-seconds:unix-time \
         | PXAT unix-time-milliseconds:unix-time | KEEPTTL ]",
    )
    .flags(WRITE.or(DENYOOM))
    .keys(&[KeySpec {
        uses: OVERWRITES,
        begin: BeginSearch::Index(1),
        find: FindKeys::KeyNum { count_at: 0, first: 1, step: 2 },
    }])
    .complexity("O(N) in the number of keys")
    .summary("Sets several keys to strings, all at once, with one condition and one time for all."),
    msetex,
);

fn msetex(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    const BAD_COUNT: CommandError = CommandError::text("ERR invalid numkeys value or out of range");
    const MOST_KEYS: i64 = i32::MAX as i64;
    let keys = args.int(1).ok().filter(|keys| (1..=MOST_KEYS).contains(keys)).ok_or(BAD_COUNT)?;
    let options_at = 2 + 2 * keys as usize;
    let pairs = args.0.get(2..options_at).ok_or(CommandError::Syntax)?;
    let (mut condition, mut expiry) = (Condition::Always, Expiry::Unsaid);
    let mut i = options_at;
    while i < args.len() {
        let agrees = |other| [Condition::Always, other].contains(&condition);
        if args.is(i, "NX") && agrees(Condition::IfAbsent) {
            condition = Condition::IfAbsent;
            i += 1;
        } else if args.is(i, "XX") && agrees(Condition::IfPresent) {
            condition = Condition::IfPresent;
            i += 1;
        } else {
            i += expiry.read(args, i, ("KEEPTTL", Expiry::Keep)).ok_or(CommandError::Syntax)?;
        }
    }
    let expire_at = match expiry {
        Expiry::At(unit, i) => Some(expiry_argument(args, i, unit, ctx.data.now, "msetex")?),
        _ => None,
    };
    let may_write = pairs.chunks_exact(2).all(|pair| match condition {
        Condition::IfAbsent => !ctx.data.is_in_the_way(pair[0]),
        Condition::IfPresent => ctx.data.peek(pair[0]).is_some(),
        _ => true,
    });
    if !may_write {
        ctx.reply.int(0);
        return Ok(());
    }
    // Before anything is set: a key that comes twice must not go by the time that it gets here, which the
    // log would tell before the call itself.
    for pair in pairs.chunks_exact(2) {
        ctx.data.drop_if_expired(pair[0]);
    }
    for pair in pairs.chunks_exact(2) {
        let (key, value) = (pair[0], pair[1]);
        let kept = (expiry == Expiry::Keep).then(|| ctx.data.db_ref().expire_at(key));
        // Unlike SET, a time that has passed is stored, too: the keys go when somebody looks.
        let expire_at_or_kept = expire_at.or(kept.flatten());
        if ctx.data.db_ref().contains(key) {
            ctx.data.db_mut().set_str(key, value, expire_at_or_kept);
        } else {
            ctx.data.set_str(key, value, expire_at_or_kept);
        }
        ctx.data.wrote(Classes::STRING, "set", key);
        if expire_at.is_some() {
            ctx.data.event(Classes::GENERIC, "expire", key);
        }
    }
    if let (Some(at), Expiry::At(unit, last)) = (expire_at, expiry)
        && unit != Unit::UnixMilliseconds
        && ctx.data.is_logging()
    {
        let mut text = IntText::new();
        let time = text.format(at.0);
        let mut words = args.0[..options_at].to_vec();
        let mut i = options_at;
        while i < args.len() {
            if Unit::from_option(args, i).is_none() {
                words.push(args.at(i));
                i += 1;
                continue;
            }
            // A time may have been said twice; the last one counts.
            if i + 1 == last {
                words.extend([&b"PXAT"[..], time]);
            }
            i += 2;
        }
        ctx.data.log_as(&words);
    }
    ctx.reply.int(1);
    Ok(())
}

const STRLEN: DataCommand = DataCommand::new(
    Spec::new("strlen", Group::String, "2.2.0", 2, "key")
        .flags(READONLY.or(FAST))
        .keys(&[KeySpec::one(1, LOOKS)])
        .summary("Gives the length of the string at a key in bytes."),
    strlen,
);

fn strlen(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let len = ctx.data.string(args.at(1))?.map_or(0, StrRef::len);
    ctx.reply.int(len as i64);
    Ok(())
}

const APPEND: DataCommand = DataCommand::new(
    Spec::new("append", Group::String, "2.0.0", 3, "key value")
        .flags(WRITE.or(DENYOOM).or(FAST))
        .keys(&[KeySpec::one(1, INSERTS)])
        .complexity("O(1), amortised")
        .summary("Adds bytes to the end of the string at a key."),
    append,
);

fn append(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, more) = (args.at(1), args.at(2));
    let old_len = ctx.data.string(key)?.map(StrRef::len);
    let len = old_len.unwrap_or(0).saturating_add(more.len());
    if old_len.is_some() && len > ctx.data.max_string_bytes() {
        return Err(CommandError::StringTooLong);
    }
    match old_len {
        None => ctx.data.set_str(key, more, None),
        Some(_) => ctx.data.edit_bytes(
            key,
            |old| old + more.len(),
            |bytes, old| bytes[old..].copy_from_slice(more),
        )?,
    }
    ctx.data.wrote(Classes::STRING, "append", key);
    ctx.reply.int(len as i64);
    Ok(())
}

const GETRANGE: DataCommand = DataCommand::new(
    Spec::new("getrange", Group::String, "2.4.0", 4, "key start:int end:int")
        .flags(READONLY)
        .keys(&[KeySpec::one(1, READS)])
        .complexity("O(N) in the bytes given")
        .summary("Gives a part of the string at a key."),
    getrange,
);

const SUBSTR: DataCommand = DataCommand::new(
    Spec::new("substr", Group::String, "1.0.0", 4, "key start:int end:int")
        .flags(READONLY)
        .keys(&[KeySpec::one(1, READS)])
        .complexity("O(N) in the bytes given")
        .summary("Gives a part of the string at a key."),
    getrange,
);

fn getrange(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (start, end) = (args.int(2)?, args.int(3)?);
    let Some(text) = ctx.data.string(args.at(1))? else {
        ctx.reply.bulk(b"");
        return Ok(());
    };
    ctx.reply.bulk(text.range(start, end, &mut IntText::new()));
    Ok(())
}

const SETRANGE: DataCommand = DataCommand::new(
    Spec::new("setrange", Group::String, "2.2.0", 4, "key offset:int value")
        .flags(WRITE.or(DENYOOM))
        .keys(&[KeySpec::one(1, UPDATES)])
        .complexity("O(N) in the bytes written")
        .summary("Overwrites a part of the string at a key, filling a gap with zero bytes."),
    setrange,
);

fn setrange(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, offset, piece) = (args.at(1), args.int(2)?, args.at(3));
    let offset = usize::try_from(offset).map_err(|_| CommandError::text("ERR offset is out of range"))?;
    let old = ctx.data.string(key)?.map(StrRef::len);
    if piece.is_empty() {
        ctx.reply.int(old.unwrap_or(0) as i64);
        return Ok(());
    }
    if offset.saturating_add(piece.len()) > ctx.data.max_string_bytes() {
        return Err(CommandError::StringTooLong);
    }
    let end = offset + piece.len();
    let len = ctx.data.edit_bytes(
        key,
        |old| old.max(end),
        |bytes, _| {
            bytes[offset..end].copy_from_slice(piece);
            bytes.len()
        },
    )?;
    ctx.data.wrote(Classes::STRING, "setrange", key);
    ctx.reply.int(len as i64);
    Ok(())
}

const INCR: DataCommand = DataCommand::new(
    Spec::new("incr", Group::String, "1.0.0", 2, "key")
        .flags(WRITE.or(DENYOOM).or(FAST))
        .keys(&[KeySpec::one(1, READS_AND_UPDATES)])
        .summary("Adds one to the integer at a key, 0 if the key is not there."),
    |ctx, args| add(ctx, args.at(1), 1),
);

const DECR: DataCommand = DataCommand::new(
    Spec::new("decr", Group::String, "1.0.0", 2, "key")
        .flags(WRITE.or(DENYOOM).or(FAST))
        .keys(&[KeySpec::one(1, READS_AND_UPDATES)])
        .summary("Takes one from the integer at a key, 0 if the key is not there."),
    |ctx, args| add(ctx, args.at(1), -1),
);

const INCRBY: DataCommand = DataCommand::new(
    Spec::new("incrby", Group::String, "1.0.0", 3, "key increment:int")
        .flags(WRITE.or(DENYOOM).or(FAST))
        .keys(&[KeySpec::one(1, READS_AND_UPDATES)])
        .summary("Adds to the integer at a key, 0 if the key is not there."),
    |ctx, args| {
        let by = args.int(2)?;
        add(ctx, args.at(1), by)
    },
);

const DECRBY: DataCommand = DataCommand::new(
    Spec::new("decrby", Group::String, "1.0.0", 3, "key decrement:int")
        .flags(WRITE.or(DENYOOM).or(FAST))
        .keys(&[KeySpec::one(1, READS_AND_UPDATES)])
        .summary("Takes from the integer at a key, 0 if the key is not there."),
    decrby,
);

fn decrby(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let by = args.int(2)?.checked_neg().ok_or(CommandError::text("ERR decrement would overflow"))?;
    add(ctx, args.at(1), by)
}

fn add(ctx: &mut Context<'_>, key: &[u8], by: i64) -> Outcome {
    let sum = ctx.data.incr(key, by)?;
    ctx.data.wrote(Classes::STRING, "incrby", key);
    ctx.reply.int(sum);
    Ok(())
}

const INCRBYFLOAT: DataCommand = DataCommand::new(
    Spec::new("incrbyfloat", Group::String, "2.6.0", 3, "key increment:double")
        .flags(WRITE.or(DENYOOM).or(FAST))
        .keys(&[KeySpec::one(1, READS_AND_UPDATES)])
        .summary("Adds to the number at a key, 0 if the key is not there."),
    incrbyfloat,
);

fn incrbyfloat(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, by) = (args.at(1), args.at(2));
    let old = ctx.data.string(key)?.map(StrRef::to_vec);
    let sum = add_float(old.as_deref(), by, CommandError::NotFloat)?;
    let expire_at = ctx.data.db_ref().expire_at(key);
    ctx.reply.bulk(&sum);
    // The result, not the sum to do: another machine's long double may round otherwise.
    ctx.data.log_as(&[b"SET", key, &sum, b"KEEPTTL"]);
    // Stays bytes even if it reads as an integer.
    ctx.data.set(key, Value::String(StringValue::plain(sum)), expire_at);
    ctx.data.wrote(Classes::STRING, "incrbyfloat", key);
    Ok(())
}

/// The sum of a stored number (0 if there is none) and an increment, as text.
///
/// # Errors
/// `bad_old` if what is stored is no number; `NotFloat` for the increment; `NanOrInfinity`.
pub(super) fn add_float(
    old: Option<&[u8]>,
    by: &[u8],
    bad_old: CommandError,
) -> Result<Vec<u8>, CommandError> {
    let old = LongDouble::parse(old.unwrap_or(b"0")).ok_or(bad_old)?;
    let by = LongDouble::parse(by).ok_or(CommandError::NotFloat)?;
    let sum = old.plus(by);
    if !sum.is_finite() {
        return Err(CommandError::NanOrInfinity);
    }
    let mut text = Vec::new();
    sum.push_to(&mut text);
    Ok(text)
}
