//! Hash commands. Those about the expiry of fields are in `hash_expire.rs`.
//!
//! Behaviour: valkey src/t_hash.c.

use crate::base::long_double::LongDouble;
use crate::base::num;
use crate::base::time::UnixMs;
use crate::codec::resp::{Protocol, Reply};
use crate::value::hash::{Field, FieldTtl, Hash, HashRef};

use super::scan::{ScanOptions, cursor_argument, write_cursor};
use super::spec::{
    DELETES, DENYOOM, FAST, Group, INSERTS, KeySpec, LOOKS, READONLY, READS, READS_AND_UPDATES, Spec,
    UPDATES, WRITE,
};
use super::{Args, CommandError, Context, DataCommand, Outcome, reply_element};

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
    Spec::new("hset", Group::Hash, "2.0.0", -4, "key < field value >...")
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
    Spec::new("hmset", Group::Hash, "2.0.0", -4, "key < field value >...")
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
    let now = ctx.data.now;
    let added = ctx.data.upsert_hash(
        args.at(1),
        |_| Hash::new(),
        |hash, limits| {
            hash.expect_fields(pairs.len() / 2, limits);
            pairs.chunks_exact(2).filter(|pair| hash.set(pair[0], pair[1], now, limits)).count()
        },
    )?;
    ctx.data.dirty += (pairs.len() / 2) as u64;
    Ok(added)
}

const HSETNX: DataCommand = DataCommand::new(
    Spec::new("hsetnx", Group::Hash, "2.0.0", 4, "key field value")
        .flags(WRITE.or(DENYOOM).or(FAST))
        .keys(&[KeySpec::one(1, INSERTS)])
        .summary("Sets a field of a hash if the field is not there."),
    |ctx, args| {
        let now = ctx.data.now;
        let (field, value) = (args.at(2), args.at(3));
        let added = ctx.data.upsert_hash(
            args.at(1),
            |_| Hash::new(),
            |hash, limits| !hash.view().contains(field, now) && hash.set(field, value, now, limits),
        )?;
        ctx.data.dirty += u64::from(added);
        ctx.reply.int(i64::from(added));
        Ok(())
    },
);

const HGET: DataCommand = DataCommand::new(
    Spec::new("hget", Group::Hash, "2.0.0", 3, "key field")
        .flags(READONLY.or(FAST))
        .keys(&[KeySpec::one(1, READS)])
        .summary("Gives the value of a field."),
    |ctx, args| {
        let now = ctx.data.now;
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
        let now = ctx.data.now;
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
    let now = ctx.data.now;
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
        let now = ctx.data.now;
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
        let now = ctx.data.now;
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
        let now = ctx.data.now;
        let fields = args.from(2);
        let removed = ctx
            .data
            .edit_hash(args.at(1), |hash, _| fields.iter().filter(|field| hash.remove(field, now)).count())?;
        let removed = removed.unwrap_or(0);
        ctx.data.dirty += removed as u64;
        ctx.reply.int(removed as i64);
        Ok(())
    },
);

const HINCRBY: DataCommand = DataCommand::new(
    Spec::new("hincrby", Group::Hash, "2.0.0", 4, "key field increment:int")
        .flags(WRITE.or(DENYOOM).or(FAST))
        .keys(&[KeySpec::one(1, READS_AND_UPDATES)])
        .summary("Adds to the integer in a field, 0 if the field is not there."),
    hincrby,
);

fn hincrby(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let by = args.int(3)?;
    let (now, field) = (ctx.data.now, args.at(2));
    let sum = ctx.data.upsert_hash(
        args.at(1),
        |_| Hash::new(),
        |hash, limits| {
            let old = match hash.view().get(field, now) {
                Some(value) => value.as_i64().ok_or(CommandError::HashNotInteger)?,
                None => 0,
            };
            let sum = old.checked_add(by).ok_or(CommandError::Overflow)?;
            let mut text = Vec::new();
            num::push_i64(&mut text, sum);
            hash.set_with(field, &text, FieldTtl::Keep, now, limits);
            Ok(sum)
        },
    )??;
    ctx.data.dirty += 1;
    ctx.reply.int(sum);
    Ok(())
}

const HINCRBYFLOAT: DataCommand = DataCommand::new(
    Spec::new("hincrbyfloat", Group::Hash, "2.6.0", 4, "key field increment:double")
        .flags(WRITE.or(DENYOOM).or(FAST))
        .keys(&[KeySpec::one(1, READS_AND_UPDATES)])
        .summary("Adds to the number in a field, 0 if the field is not there."),
    hincrbyfloat,
);

fn hincrbyfloat(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (now, field, by) = (ctx.data.now, args.at(2), args.at(3));
    let increment = LongDouble::parse(by).ok_or(CommandError::NotFloat)?;
    if !increment.is_finite() {
        return Err(CommandError::text("ERR value is NaN or Infinity"));
    }
    let sum = ctx.data.upsert_hash(
        args.at(1),
        |_| Hash::new(),
        |hash, limits| {
            let old = hash.view().get(field, now).map(|value| value.to_vec());
            let sum = super::string::add_float(old.as_deref(), by, CommandError::HashNotFloat)?;
            hash.set_with(field, &sum, FieldTtl::Keep, now, limits);
            Ok::<_, CommandError>(sum)
        },
    )??;
    ctx.data.dirty += 1;
    ctx.reply.bulk(&sum);
    Ok(())
}

const HRANDFIELD: DataCommand = DataCommand::new(
    Spec::new("hrandfield", Group::Hash, "6.2.0", -2, "key [ count:int [ WITHVALUES ] ]")
        .flags(READONLY)
        .keys(&[KeySpec::one(1, READS)])
        .complexity("O(N) in the fields given")
        .summary("Gives random fields of a hash."),
    hrandfield,
);

fn hrandfield(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let Context { data, reply, rng, .. } = ctx;
    let now = data.now;
    if args.len() == 2 {
        match data.hash(args.at(1))?.and_then(|hash| hash.random(rng, now)) {
            Some(field) => reply_element(reply, field.field),
            None => reply.null(),
        }
        return Ok(());
    }
    let count = args.draws(2)?;
    let with_values = match args.len() {
        3 => false,
        4 if args.is(3, "WITHVALUES") => true,
        _ => return Err(CommandError::Syntax),
    };
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
        let draws = count.unsigned_abs() as usize;
        reply.array(draws * width);
        for _ in 0..draws {
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
    let now: UnixMs = ctx.data.now;
    // Options are not looked at when there is no such key.
    let Some(hash) = ctx.data.hash(args.at(1))? else {
        ctx.reply.array(2);
        write_cursor(ctx.reply, 0);
        ctx.reply.array(0);
        return Ok(());
    };
    let options = ScanOptions::parse(args, 3, &["NOVALUES"])?;
    let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let next = hash.scan(cursor, options.count, now, |field| {
        field.field.with_bytes(|name| {
            if options.matches(name) {
                let value = if options.names_only { Vec::new() } else { field.value.to_vec() };
                found.push((name.to_vec(), value));
            }
        });
    });
    ctx.reply.array(2);
    write_cursor(ctx.reply, next);
    ctx.reply.array(found.len() * if options.names_only { 1 } else { 2 });
    for (name, value) in &found {
        ctx.reply.bulk(name);
        if !options.names_only {
            ctx.reply.bulk(value);
        }
    }
    Ok(())
}
