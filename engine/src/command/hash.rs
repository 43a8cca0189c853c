//! Hash commands. Those about the expiry of fields are in `hash_expire.rs`.
//!
//! Behaviour: valkey src/t_hash.c.

use crate::base::long_double::LongDouble;
use crate::base::time::UnixMs;
use crate::codec::resp::{Protocol, Reply};
use crate::value::IntText;
use crate::value::hash::{Field, FieldTtl, Hash, HashRef, Written};

use super::context::MANY_AT_ONCE;
use super::effects::Classes;
use super::scan::{ScanOptions, cursor_argument, write_cursor};
use super::set::{Draws, draws};
use super::spec::{
    DELETES, DENYOOM, FAST, Group, INSERTS, KeySpec, LOOKS, READONLY, READS, READS_AND_UPDATES, Spec,
    UPDATES, WRITE,
};
use super::{Args, CommandError, Context, Data, DataCommand, Outcome, reply_element};

/// Every command of this file.
pub(super) const COMMANDS: &[DataCommand] = &[
    HSET,
    HMSET,
    HSETNX,
    HGET,
    HMGET,
    HGETALL,
    HKEYS,
    HVALS,
    HLEN,
    HEXISTS,
    HSTRLEN,
    HDEL,
    HINCRBY,
    HINCRBYFLOAT,
    HRANDFIELD,
    HSCAN,
];

const HSET: DataCommand = DataCommand::new(
    Spec::new("hset", Group::Hash, "2.0.0", -4, "key data=< field value >...")
        .flags(WRITE.or(DENYOOM).or(FAST))
        .keys(&[KeySpec::one(1, UPDATES)])
        .complexity("O(N) in the fields set")
        .summary("Sets fields of a hash."),
    |ctx, args| {
        let added = set_fields(ctx, args, "hset")?;
        ctx.reply.int(added as i64);
        Ok(())
    },
);

const HMSET: DataCommand = DataCommand::new(
    Spec::new("hmset", Group::Hash, "2.0.0", -4, "key data=< field value >...")
        .flags(WRITE.or(DENYOOM).or(FAST))
        .keys(&[KeySpec::one(1, UPDATES)])
        .complexity("O(N) in the fields set")
        .summary("Sets fields of a hash."),
    |ctx, args| {
        set_fields(ctx, args, "hmset")?;
        ctx.reply.ok();
        Ok(())
    },
);

fn set_fields(ctx: &mut Context<'_>, args: Args<'_>, name: &str) -> Result<usize, CommandError> {
    let pairs = args.from(2);
    if !pairs.len().is_multiple_of(2) {
        return Err(CommandError::Arity(name.to_owned()));
    }
    let now = ctx.data.expiry_time();
    let (mut added, mut revived) = (0, 0);
    ctx.data.upsert_hash(
        args.at(1),
        |_| Hash::new(),
        |hash, limits| {
            hash.expect_fields(pairs.len() / 2, limits);
            if pairs.len() / 2 >= MANY_AT_ONCE && hash.fill(pairs, limits) {
                added = pairs.len() / 2;
                return;
            }
            for pair in pairs.chunks_exact(2) {
                let written = hash.set_with(pair[0], pair[1], FieldTtl::Clear, now, limits);
                added += usize::from(written.is_new());
                revived += u64::from(written == Written::Revived);
            }
        },
    )?;
    tell_revived(&mut ctx.data, args.at(1), revived);
    ctx.data.wrote_many(Classes::HASH, "hset", args.at(1), (pairs.len() / 2) as u64);
    Ok(added)
}

/// Fields that were past their expiry have been set anew: what was there counts as expired.
#[inline]
pub(super) fn tell_revived(data: &mut Data<'_>, key: &[u8], fields: u64) {
    if fields > 0 {
        data.stats.expired_fields += fields;
        data.event(Classes::HASH, "hexpired", key);
    }
}

const HSETNX: DataCommand = DataCommand::new(
    Spec::new("hsetnx", Group::Hash, "2.0.0", 4, "key field value")
        .flags(WRITE.or(DENYOOM).or(FAST))
        .keys(&[KeySpec::one(1, INSERTS)])
        .summary("Sets a field of a hash if the field is not there."),
    |ctx, args| {
        let now = ctx.data.expiry_time();
        let (key, field, value) = (args.at(1), args.at(2), args.at(3));
        let mut had_expiries = false;
        let written = ctx.data.upsert_hash(
            key,
            |_| Hash::new(),
            |hash, limits| {
                had_expiries = hash.view().has_expiries();
                let is_there = hash.view().contains(field, now);
                (!is_there).then(|| hash.set_with(field, value, FieldTtl::Clear, now, limits))
            },
        )?;
        if let Some(written) = written {
            tell_revived(&mut ctx.data, key, u64::from(written == Written::Revived));
            ctx.data.wrote(Classes::HASH, "hset", key);
            // A copy may still see a field that has expired here.
            if had_expiries {
                ctx.data.log_as(&[b"HSET", key, field, value]);
            }
        }
        ctx.reply.int(i64::from(written.is_some()));
        Ok(())
    },
);

const HGET: DataCommand = DataCommand::new(
    Spec::new("hget", Group::Hash, "2.0.0", 3, "key field")
        .flags(READONLY.or(FAST))
        .keys(&[KeySpec::one(1, READS)])
        .summary("Gives the value of a field."),
    |ctx, args| {
        let now = ctx.data.expiry_time();
        match ctx.data.hash(args.at(1))?.and_then(|hash| hash.get(args.at(2), now)) {
            Some(value) => reply_element(ctx.reply, value),
            None => ctx.reply.null(),
        }
        Ok(())
    },
);

const HMGET: DataCommand = DataCommand::new(
    Spec::new("hmget", Group::Hash, "2.0.0", -3, "key field...")
        .flags(READONLY.or(FAST))
        .keys(&[KeySpec::one(1, READS)])
        .complexity("O(N) in the fields asked for")
        .summary("Gives the values of several fields."),
    |ctx, args| {
        let now = ctx.data.expiry_time();
        let hash = ctx.data.hash(args.at(1))?;
        let fields = args.from(2);
        ctx.reply.array(fields.len());
        for field in fields {
            match hash.and_then(|hash| hash.get(field, now)) {
                Some(value) => reply_element(ctx.reply, value),
                None => ctx.reply.null(),
            }
        }
        Ok(())
    },
);

/// Which parts of each field are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parts {
    Both,
    Names,
    Values,
}

macro_rules! all_command {
    ($const:ident, $name:literal, $parts:expr, $summary:literal) => {
        const $const: DataCommand = DataCommand::new(
            Spec::new($name, Group::Hash, "2.0.0", 2, "key")
                .flags(READONLY)
                .keys(&[KeySpec::one(1, READS)])
                .complexity("O(N) in the fields of the hash")
                .summary($summary),
            |ctx, args| all_fields(ctx, args, $parts),
        );
    };
}

all_command!(HGETALL, "hgetall", Parts::Both, "Gives all fields of a hash with their values.");
all_command!(HKEYS, "hkeys", Parts::Names, "Gives the names of all fields of a hash.");
all_command!(HVALS, "hvals", Parts::Values, "Gives the values of all fields of a hash.");

fn all_fields(ctx: &mut Context<'_>, args: Args<'_>, parts: Parts) -> Outcome {
    let now = ctx.data.expiry_time();
    let hash = ctx.data.hash(args.at(1))?;
    let count = hash.map_or(0, |hash| hash.live_len(now));
    match parts {
        Parts::Both => ctx.reply.map(count),
        Parts::Names | Parts::Values => ctx.reply.array(count),
    }
    let Some(hash) = hash else { return Ok(()) };
    for Field { field, value, .. } in hash.live(now) {
        if parts != Parts::Values {
            reply_element(ctx.reply, field);
        }
        if parts != Parts::Names {
            reply_element(ctx.reply, value);
        }
    }
    Ok(())
}

const HLEN: DataCommand = DataCommand::new(
    Spec::new("hlen", Group::Hash, "2.0.0", 2, "key")
        .flags(READONLY.or(FAST))
        .keys(&[KeySpec::one(1, LOOKS)])
        .summary("Counts the fields of a hash."),
    |ctx, args| {
        let len = ctx.data.hash(args.at(1))?.map_or(0, HashRef::len);
        ctx.reply.int(len as i64);
        Ok(())
    },
);

const HEXISTS: DataCommand = DataCommand::new(
    Spec::new("hexists", Group::Hash, "2.0.0", 3, "key field")
        .flags(READONLY.or(FAST))
        .keys(&[KeySpec::one(1, LOOKS)])
        .summary("Tells if a hash has a field."),
    |ctx, args| {
        let now = ctx.data.expiry_time();
        let there = ctx.data.hash(args.at(1))?.is_some_and(|hash| hash.contains(args.at(2), now));
        ctx.reply.int(i64::from(there));
        Ok(())
    },
);

const HSTRLEN: DataCommand = DataCommand::new(
    Spec::new("hstrlen", Group::Hash, "3.2.0", 3, "key field")
        .flags(READONLY.or(FAST))
        .keys(&[KeySpec::one(1, LOOKS)])
        .summary("Gives the length of a field's value in bytes."),
    |ctx, args| {
        let now = ctx.data.expiry_time();
        let value = ctx.data.hash(args.at(1))?.and_then(|hash| hash.get(args.at(2), now));
        ctx.reply.int(value.map_or(0, |value| value.len()) as i64);
        Ok(())
    },
);

const HDEL: DataCommand = DataCommand::new(
    Spec::new("hdel", Group::Hash, "2.0.0", -3, "key field...")
        .flags(WRITE.or(FAST))
        .keys(&[KeySpec::one(1, DELETES)])
        .complexity("O(N) in the fields removed")
        .summary("Removes fields from a hash."),
    |ctx, args| {
        let now = ctx.data.expiry_time();
        let (key, fields) = (args.at(1), args.from(2));
        let removed = ctx
            .data
            .edit_hash(key, |hash, _| fields.iter().filter(|field| hash.remove(field, now)).count())?;
        let removed = removed.unwrap_or(0);
        tell_removed(&mut ctx.data, key, removed as u64);
        ctx.reply.int(removed as i64);
        Ok(())
    },
);

/// Fields have been taken out of a hash.
pub(super) fn tell_removed(data: &mut Data<'_>, key: &[u8], fields: u64) {
    if fields > 0 {
        data.wrote_many(Classes::HASH, "hdel", key, fields);
        data.tell_if_gone(key);
    }
}

const HINCRBY: DataCommand = DataCommand::new(
    Spec::new("hincrby", Group::Hash, "2.0.0", 4, "key field increment:int")
        .flags(WRITE.or(DENYOOM).or(FAST))
        .keys(&[KeySpec::one(1, READS_AND_UPDATES)])
        .summary("Adds to the integer in a field, 0 if the field is not there."),
    hincrby,
);

/// What adding to a field has done.
struct Added<T> {
    sum: T,
    written: Written,
    /// The field's expiry, which stays.
    expire_at: Option<UnixMs>,
    /// Whether the hash had fields that expire.
    had_expiries: bool,
}

fn hincrby(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let by = args.int(3)?;
    let (now, key, field) = (ctx.data.expiry_time(), args.at(1), args.at(2));
    let added = ctx.data.upsert_hash(
        key,
        |_| Hash::new(),
        |hash, limits| {
            let old = match hash.view().get(field, now) {
                Some(value) => value.as_i64().ok_or(CommandError::HashNotInteger)?,
                None => 0,
            };
            let sum = old.checked_add(by).ok_or(CommandError::Overflow)?;
            let had_expiries = hash.view().has_expiries();
            let expire_at = if had_expiries { hash.view().expiry(field, now).flatten() } else { None };
            let mut text = IntText::new();
            let written = hash.set_with(field, text.format(sum), FieldTtl::Keep, now, limits);
            Ok(Added { sum, written, expire_at, had_expiries })
        },
    )??;
    tell_revived(&mut ctx.data, key, u64::from(added.written == Written::Revived));
    ctx.data.wrote(Classes::HASH, "hincrby", key);
    // A copy may see the field otherwise: past its expiry, or not yet.
    if added.had_expiries {
        log_value(&mut ctx.data, key, field, IntText::new().format(added.sum), added.expire_at);
    }
    ctx.reply.int(added.sum);
    Ok(())
}

/// Logs that a field has this value and expiry.
fn log_value(data: &mut Data<'_>, key: &[u8], field: &[u8], value: &[u8], expire_at: Option<UnixMs>) {
    match expire_at {
        None => data.log_as(&[b"HSET", key, field, value]),
        Some(at) => {
            let mut text = IntText::new();
            data.log_as(&[b"HSETEX", key, b"PXAT", text.format(at.0), b"FIELDS", b"1", field, value]);
        }
    }
}

const HINCRBYFLOAT: DataCommand = DataCommand::new(
    Spec::new("hincrbyfloat", Group::Hash, "2.6.0", 4, "key field increment:double")
        .flags(WRITE.or(DENYOOM).or(FAST))
        .keys(&[KeySpec::one(1, READS_AND_UPDATES)])
        .summary("Adds to the number in a field, 0 if the field is not there."),
    hincrbyfloat,
);

fn hincrbyfloat(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (now, key, field, by) = (ctx.data.expiry_time(), args.at(1), args.at(2), args.at(3));
    let increment = LongDouble::parse(by).ok_or(CommandError::NotFloat)?;
    if !increment.is_finite() {
        return Err(CommandError::text("ERR value is NaN or Infinity"));
    }
    let added = ctx.data.upsert_hash(
        key,
        |_| Hash::new(),
        |hash, limits| {
            let old = hash.view().get(field, now).map(|value| value.to_vec());
            let sum = super::string::add_float(old.as_deref(), by, CommandError::HashNotFloat)?;
            let had_expiries = hash.view().has_expiries();
            let expire_at = hash.view().expiry(field, now).flatten();
            let written = hash.set_with(field, &sum, FieldTtl::Keep, now, limits);
            Ok::<_, CommandError>(Added { sum, written, expire_at, had_expiries })
        },
    )??;
    tell_revived(&mut ctx.data, key, u64::from(added.written == Written::Revived));
    ctx.data.wrote(Classes::HASH, "hincrbyfloat", key);
    log_value(&mut ctx.data, key, field, &added.sum, added.expire_at);
    ctx.reply.bulk(&added.sum);
    Ok(())
}

const HRANDFIELD: DataCommand = DataCommand::new(
    Spec::new("hrandfield", Group::Hash, "6.2.0", -2, "key options=[ count:int [ WITHVALUES ] ]")
        .flags(READONLY)
        .keys(&[KeySpec::one(1, READS)])
        .complexity("O(N) in the fields given")
        .summary("Gives random fields of a hash."),
    hrandfield,
);

fn hrandfield(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let Context { data, reply, rng, .. } = ctx;
    let now = data.expiry_time();
    if args.len() == 2 {
        match data.hash(args.at(1))?.and_then(|hash| hash.random(rng, now)) {
            Some(field) => reply_element(reply, field.field),
            None => reply.null(),
        }
        return Ok(());
    }
    const MOST_PAIRS: u64 = i64::MAX as u64 / 2;
    let count = draws(args, 2)?;
    let with_values = match args.len() {
        3 => false,
        4 if args.is(3, "WITHVALUES") => true,
        _ => return Err(CommandError::Syntax),
    };
    if with_values && count.unsigned_abs() > MOST_PAIRS {
        return Err(CommandError::OutOfRange);
    }
    let Some(hash) = data.hash(args.at(1))? else {
        reply.array(0);
        return Ok(());
    };
    let nested = with_values && reply.protocol() == Protocol::Resp3;
    let width = if with_values && !nested { 2 } else { 1 };
    let write = |reply: &mut Reply, field: Field<'_>| {
        if nested {
            reply.array(2);
        }
        reply_element(reply, field.field);
        if with_values {
            reply_element(reply, field.value);
        }
    };
    if count >= 0 {
        let given = (count as usize).min(hash.live_len(now));
        reply.array(given * width);
        hash.sample(given, rng, now, |field| write(reply, field));
    } else if hash.live_len(now) == 0 {
        reply.array(0);
    } else {
        let mut draws = Draws::new(reply, count, width)?;
        while draws.is_next(reply)? {
            if let Some(field) = hash.random(rng, now) {
                write(reply, field);
            }
        }
    }
    Ok(())
}

const HSCAN: DataCommand = DataCommand::new(
    Spec::new(
        "hscan",
        Group::Hash,
        "2.8.0",
        -3,
        "key cursor:int [ MATCH pattern:pattern ] [ COUNT count:int ] [ NOVALUES ]",
    )
    .flags(READONLY)
    .keys(&[KeySpec::one(1, READS)])
    .complexity("O(1) a call, O(N) for all fields")
    .summary("Lists fields of a hash, some at each call."),
    hscan,
);

fn hscan(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let cursor = cursor_argument(args, 2)?;
    let now: UnixMs = ctx.data.expiry_time();
    // Options are not looked at when there is no such key.
    let Some(hash) = ctx.data.hash(args.at(1))? else {
        ctx.reply.array(2);
        write_cursor(ctx.reply, 0);
        ctx.reply.array(0);
        return Ok(());
    };
    let options = ScanOptions::parse(args, 3, &["NOVALUES"])?;
    let reply = &mut *ctx.reply;
    let mut found = Reply::new(reply.protocol());
    let mut count = 0;
    let mut text = IntText::new();
    let next = hash.scan(cursor, options.count, now, |field| {
        let name = field.field.text(&mut text);
        if options.matches(name) {
            found.bulk(name);
            count += 1;
            if !options.names_only {
                reply_element(&mut found, field.value);
                count += 1;
            }
        }
    });
    reply.array(2);
    write_cursor(reply, next);
    reply.array(count);
    reply.raw(found.bytes());
    Ok(())
}
