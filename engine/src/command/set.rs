//! Set commands.
//!
//! Behaviour: valkey src/t_set.c.

use std::collections::HashSet;

use crate::value::set::{Set, SetRef};
use crate::value::{Element, IntText, Value};

use super::scan::{ScanOptions, cursor_argument, write_cursor};
use super::spec::{
    DELETES, DENYOOM, FAST, Group, INSERTS, KeySpec, LOOKS, OVERWRITES, READONLY, READS, READS_AND_DELETES,
    Spec, WRITE,
};
use super::{Args, CommandError, Context, Data, DataCommand, Outcome, reply_element};

/// Every command of this file.
pub(super) const COMMANDS: &[DataCommand] = &[
    SADD,
    SREM,
    SISMEMBER,
    SMISMEMBER,
    SCARD,
    SMEMBERS,
    SPOP,
    SRANDMEMBER,
    SMOVE,
    SINTER,
    SUNION,
    SDIFF,
    SINTERSTORE,
    SUNIONSTORE,
    SDIFFSTORE,
    SINTERCARD,
    SSCAN,
];

const SADD: DataCommand = DataCommand::new(
    Spec::new("sadd", Group::Set, "1.0.0", -3, "key member...")
        .flags(WRITE.or(DENYOOM).or(FAST))
        .keys(&[KeySpec::one(1, INSERTS)])
        .complexity("O(N) in the members added")
        .summary("Adds members to a set."),
    sadd,
);

fn sadd(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let members = args.from(2);
    let added = ctx.data.upsert_set(
        args.at(1),
        |limits| Set::with_hint(members[0], members.len(), limits),
        |set, limits| {
            set.expect_members(members.len(), limits);
            members.iter().filter(|member| set.add(member, limits)).count()
        },
    )?;
    ctx.data.dirty += added as u64;
    ctx.reply.int(added as i64);
    Ok(())
}

const SREM: DataCommand = DataCommand::new(
    Spec::new("srem", Group::Set, "1.0.0", -3, "key member...")
        .flags(WRITE.or(FAST))
        .keys(&[KeySpec::one(1, DELETES)])
        .complexity("O(N) in the members removed")
        .summary("Removes members from a set."),
    srem,
);

fn srem(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let members = args.from(2);
    let removed =
        ctx.data.edit_set(args.at(1), |set, _| members.iter().filter(|member| set.remove(member)).count())?;
    let removed = removed.unwrap_or(0);
    ctx.data.dirty += removed as u64;
    ctx.reply.int(removed as i64);
    Ok(())
}

const SISMEMBER: DataCommand = DataCommand::new(
    Spec::new("sismember", Group::Set, "1.0.0", 3, "key member")
        .flags(READONLY.or(FAST))
        .keys(&[KeySpec::one(1, LOOKS)])
        .summary("Tells if a set has a member."),
    |ctx, args| {
        let set = ctx.data.set_value(args.at(1))?;
        ctx.reply.int(i64::from(set.is_some_and(|set| set.contains(args.at(2)))));
        Ok(())
    },
);

const SMISMEMBER: DataCommand = DataCommand::new(
    Spec::new("smismember", Group::Set, "6.2.0", -3, "key member...")
        .flags(READONLY.or(FAST))
        .keys(&[KeySpec::one(1, READS)])
        .complexity("O(N) in the members asked for")
        .summary("Tells for each of several members if a set has it."),
    |ctx, args| {
        let set = ctx.data.set_value(args.at(1))?;
        let members = args.from(2);
        ctx.reply.array(members.len());
        for member in members {
            ctx.reply.int(i64::from(set.is_some_and(|set| set.contains(member))));
        }
        Ok(())
    },
);

const SCARD: DataCommand = DataCommand::new(
    Spec::new("scard", Group::Set, "1.0.0", 2, "key")
        .flags(READONLY.or(FAST))
        .keys(&[KeySpec::one(1, LOOKS)])
        .summary("Counts the members of a set."),
    |ctx, args| {
        let len = ctx.data.set_value(args.at(1))?.map_or(0, SetRef::len);
        ctx.reply.int(len as i64);
        Ok(())
    },
);

const SMEMBERS: DataCommand = DataCommand::new(
    Spec::new("smembers", Group::Set, "1.0.0", 2, "key")
        .flags(READONLY)
        .keys(&[KeySpec::one(1, READS)])
        .complexity("O(N) in the members of the set")
        .summary("Gives all members of a set."),
    |ctx, args| {
        let Some(set) = ctx.data.set_value(args.at(1))? else {
            ctx.reply.set(0);
            return Ok(());
        };
        ctx.reply.set(set.len());
        for member in set.iter() {
            reply_element(ctx.reply, member);
        }
        Ok(())
    },
);

/// A count that must not be negative.
fn positive_count(args: Args<'_>, i: usize) -> Result<usize, CommandError> {
    let count = args.int(i).map_err(|_| CommandError::MustBePositive)?;
    usize::try_from(count).map_err(|_| CommandError::MustBePositive)
}

const SPOP: DataCommand = DataCommand::new(
    Spec::new("spop", Group::Set, "1.0.0", -2, "key [ count:int ]")
        .flags(WRITE.or(FAST))
        .keys(&[KeySpec::one(1, READS_AND_DELETES)])
        .complexity("O(N) in the members taken")
        .summary("Takes random members of a set."),
    spop,
);

fn spop(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    let count = match args.len() {
        2 => None,
        3 => Some(positive_count(args, 2)?),
        _ => return Err(CommandError::Syntax),
    };
    let Some(len) = ctx.data.set_value(key)?.map(SetRef::len) else {
        match count {
            Some(_) => ctx.reply.set(0),
            None => ctx.reply.null(),
        }
        return Ok(());
    };
    let taken = count.unwrap_or(1).min(len);
    if count.is_some() {
        ctx.reply.set(taken);
    }
    if taken == len {
        // All of it: no draws, and the key goes with them.
        if let Some(set) = ctx.data.set_value(key)? {
            for member in set.iter() {
                reply_element(ctx.reply, member);
            }
        }
        ctx.data.remove(key);
    } else {
        let (rng, reply) = (&mut *ctx.rng, &mut *ctx.reply);
        ctx.data
            .edit_set(key, |set, limits| set.pop_many(taken, rng, limits, |member| reply.bulk(member)))?;
    }
    ctx.data.dirty += taken as u64;
    Ok(())
}

const SRANDMEMBER: DataCommand = DataCommand::new(
    Spec::new("srandmember", Group::Set, "1.0.0", -2, "key [ count:int ]")
        .flags(READONLY)
        .keys(&[KeySpec::one(1, READS)])
        .complexity("O(N) in the members given")
        .summary("Gives random members of a set."),
    srandmember,
);

fn srandmember(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    let Context { data, reply, rng, .. } = ctx;
    match args.len() {
        2 => match data.set_value(key)?.and_then(|set| set.random(rng)) {
            Some(member) => reply_element(reply, member),
            None => reply.null(),
        },
        3 => {
            let count = args.draws(2)?;
            let Some(set) = data.set_value(key)? else {
                reply.array(0);
                return Ok(());
            };
            if count < 0 {
                let draws = count.unsigned_abs() as usize;
                reply.array(draws);
                for _ in 0..draws {
                    if let Some(member) = set.random(rng) {
                        reply_element(reply, member);
                    }
                }
            } else {
                let count = (count as usize).min(set.len());
                reply.array(count);
                set.sample(count, rng, |member| reply_element(reply, member));
            }
        }
        _ => return Err(CommandError::Syntax),
    }
    Ok(())
}

const SMOVE: DataCommand = DataCommand::new(
    Spec::new("smove", Group::Set, "1.0.0", 4, "source:key destination:key member")
        .flags(WRITE.or(FAST))
        .keys(&[KeySpec::one(1, READS_AND_DELETES), KeySpec::one(2, INSERTS)])
        .summary("Moves a member from a set to another."),
    smove,
);

fn smove(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (source, destination, member) = (args.at(1), args.at(2), args.at(3));
    let Some(set) = ctx.data.set_value(source)? else {
        ctx.reply.int(0);
        return Ok(());
    };
    let has = set.contains(member);
    ctx.data.set_value(destination)?;
    if source == destination || !has {
        ctx.reply.int(i64::from(has));
        return Ok(());
    }
    ctx.data.edit_set(source, |set, _| set.remove(member))?;
    ctx.data.dirty += 1;
    let added = ctx.data.upsert_set(
        destination,
        |limits| Set::with_hint(member, 1, limits),
        |set, limits| set.add(member, limits),
    )?;
    ctx.data.dirty += u64::from(added);
    ctx.reply.int(1);
    Ok(())
}

/// How sets are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Intersection,
    Union,
    Difference,
}

macro_rules! combine_command {
    ($const:ident, $name:literal, $operation:expr, $summary:literal) => {
        const $const: DataCommand = DataCommand::new(
            Spec::new($name, Group::Set, "1.0.0", -2, "key...")
                .flags(READONLY)
                .keys(&[KeySpec::rest(1, 1, READS)])
                .complexity(
                    "O(N * M), N sets and M members in the smallest; union and difference O(all members)",
                )
                .summary($summary),
            |ctx, args| {
                let members = combine(&mut ctx.data, args.from(1), $operation, usize::MAX)?;
                ctx.reply.set(members.len());
                for member in &members {
                    ctx.reply.bulk(member);
                }
                Ok(())
            },
        );
    };
}

macro_rules! store_command {
    ($const:ident, $name:literal, $operation:expr, $summary:literal) => {
        const $const: DataCommand = DataCommand::new(
            Spec::new($name, Group::Set, "1.0.0", -3, "destination:key key...")
                .flags(WRITE.or(DENYOOM))
                .keys(&[KeySpec::one(1, OVERWRITES), KeySpec::rest(2, 1, READS)])
                .complexity(
                    "O(N * M), N sets and M members in the smallest; union and difference O(all members)",
                )
                .summary($summary),
            |ctx, args| store(ctx, args, $operation),
        );
    };
}

combine_command!(
    SINTER,
    "sinter",
    Operation::Intersection,
    "Gives the members that all of several sets have."
);
combine_command!(SUNION, "sunion", Operation::Union, "Gives the members that any of several sets has.");
combine_command!(
    SDIFF,
    "sdiff",
    Operation::Difference,
    "Gives the members of a set that no other of several sets has."
);
store_command!(
    SINTERSTORE,
    "sinterstore",
    Operation::Intersection,
    "Makes a set of the members that all of several sets have."
);
store_command!(
    SUNIONSTORE,
    "sunionstore",
    Operation::Union,
    "Makes a set of the members that any of several sets has."
);
store_command!(
    SDIFFSTORE,
    "sdiffstore",
    Operation::Difference,
    "Makes a set of the members of a set that no other of several sets has."
);

/// The members of the combination, `most` at most (an intersection stops there).
fn combine(
    data: &mut Data<'_>,
    keys: &[&[u8]],
    operation: Operation,
    most: usize,
) -> Result<Vec<Vec<u8>>, CommandError> {
    for key in keys {
        // Types are checked, and expired keys removed, before anything is read.
        data.set_value(key)?;
    }
    let db = data.db_ref();
    let sets: Vec<Option<SetRef<'_>>> = keys.iter().map(|key| db.get(key).and_then(as_set)).collect();
    Ok(match operation {
        Operation::Intersection => intersection(sets, most),
        Operation::Union => {
            let mut seen: HashSet<Vec<u8>> = HashSet::new();
            let all = sets.into_iter().flatten().flat_map(SetRef::iter).map(|member| member.to_vec());
            all.filter(|member| seen.insert(member.clone())).collect()
        }
        Operation::Difference => {
            let mut sets = sets.into_iter();
            let Some(Some(first)) = sets.next() else { return Ok(Vec::new()) };
            let others: Vec<SetRef<'_>> = sets.flatten().collect();
            let mut text = IntText::new();
            let mut is_left =
                |member: &Element<'_>| !others.iter().any(|set| set.contains(member.text(&mut text)));
            first.iter().filter(|member| is_left(member)).map(|member| member.to_vec()).collect()
        }
    })
}

fn as_set(value: crate::value::ValueRef<'_>) -> Option<SetRef<'_>> {
    match value {
        crate::value::ValueRef::Set(set) => Some(set),
        _ => None,
    }
}

fn intersection(sets: Vec<Option<SetRef<'_>>>, most: usize) -> Vec<Vec<u8>> {
    let Some(mut sets) = sets.into_iter().collect::<Option<Vec<_>>>() else { return Vec::new() };
    sets.sort_by_key(|set| set.len());
    let Some((smallest, others)) = sets.split_first() else { return Vec::new() };
    let mut text = IntText::new();
    let mut in_all = |member: &Element<'_>| others.iter().all(|set| set.contains(member.text(&mut text)));
    smallest.iter().filter(|member| in_all(member)).take(most).map(|member| member.to_vec()).collect()
}

fn store(ctx: &mut Context<'_>, args: Args<'_>, operation: Operation) -> Outcome {
    let destination = args.at(1);
    ctx.data.counts_reads = true;
    let members = combine(&mut ctx.data, args.from(2), operation, usize::MAX)?;
    let was_there = ctx.data.remove(destination);
    ctx.data.dirty += u64::from(was_there || !members.is_empty());
    if !members.is_empty() {
        let limits = ctx.data.limits;
        let mut set = Set::new();
        for member in &members {
            set.add(member, limits);
        }
        ctx.data.set(destination, Value::Set(set), None);
    }
    ctx.reply.int(members.len() as i64);
    Ok(())
}

const SINTERCARD: DataCommand = DataCommand::new(
    Spec::new("sintercard", Group::Set, "7.0.0", -3, "numkeys:int key... [ LIMIT limit:int ]")
        .flags(READONLY)
        .keys(&[KeySpec::counted(1, READS)])
        .complexity("O(N * M), N sets and M members in the smallest")
        .summary("Counts the members that all of several sets have."),
    sintercard,
);

fn sintercard(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let bad_numkeys = || CommandError::text("ERR numkeys should be greater than 0");
    let numkeys = args.int(1).map_err(|_| bad_numkeys())?;
    let numkeys = usize::try_from(numkeys).ok().filter(|n| *n > 0).ok_or_else(bad_numkeys)?;
    let options_at = numkeys
        .checked_add(2)
        .filter(|at| *at <= args.len())
        .ok_or(CommandError::text("ERR Number of keys can't be greater than number of args"))?;
    let mut most = usize::MAX;
    let mut i = options_at;
    while i < args.len() {
        if !args.is(i, "LIMIT") || i + 1 >= args.len() {
            return Err(CommandError::Syntax);
        }
        let bad_limit = || CommandError::text("ERR LIMIT can't be negative");
        let limit = args.int(i + 1).map_err(|_| bad_limit())?;
        most = match usize::try_from(limit).map_err(|_| bad_limit())? {
            0 => usize::MAX,
            limit => limit,
        };
        i += 2;
    }
    let members = combine(&mut ctx.data, &args.0[2..options_at], Operation::Intersection, most)?;
    ctx.reply.int(members.len() as i64);
    Ok(())
}

const SSCAN: DataCommand = DataCommand::new(
    Spec::new(
        "sscan",
        Group::Set,
        "2.8.0",
        -3,
        "key cursor:int [ MATCH pattern:pattern ] [ COUNT count:int ]",
    )
    .flags(READONLY)
    .keys(&[KeySpec::one(1, READS)])
    .complexity("O(1) a call, O(N) for all members")
    .summary("Lists members of a set, some at each call."),
    sscan,
);

fn sscan(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let cursor = cursor_argument(args, 2)?;
    // Options are not looked at when there is no such key.
    let Some(set) = ctx.data.set_value(args.at(1))? else {
        ctx.reply.array(2);
        write_cursor(ctx.reply, 0);
        ctx.reply.array(0);
        return Ok(());
    };
    let options = ScanOptions::parse(args, 3, &[])?;
    let mut found: Vec<Vec<u8>> = Vec::new();
    let next = set.scan(cursor, options.count, |member| {
        member.with_bytes(|bytes| {
            if options.matches(bytes) {
                found.push(bytes.to_vec());
            }
        });
    });
    ctx.reply.array(2);
    write_cursor(ctx.reply, next);
    ctx.reply.array(found.len());
    for member in &found {
        ctx.reply.bulk(member);
    }
    Ok(())
}
