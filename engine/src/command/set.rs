//! Set commands. Those that put several sets together are in `set_combine.rs`.
//!
//! Behaviour: valkey src/t_set.c.

use crate::codec::resp::Reply;
use crate::keyspace::lazy::removal;
use crate::value::IntText;
use crate::value::set::{Set, SetRef};

use super::context::MANY_AT_ONCE;
use super::effects::Classes;
use super::scan::{ScanOptions, cursor_argument, write_cursor};
use super::spec::{
    DELETES, DENYOOM, FAST, Group, INSERTS, KeySpec, LOOKS, READONLY, READS, READS_AND_DELETES, Spec, WRITE,
};
use super::{Args, CommandError, Context, Data, DataCommand, Outcome, reply_element};

/// Every command of this file.
pub(super) const COMMANDS: &[DataCommand] =
    &[SADD, SREM, SISMEMBER, SMISMEMBER, SCARD, SMEMBERS, SPOP, SRANDMEMBER, SMOVE, SSCAN];

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
            if members.len() >= MANY_AT_ONCE && set.fill(members, limits) {
                return members.len();
            }
            members.iter().filter(|member| set.add(member, limits)).count()
        },
    )?;
    ctx.data.wrote_many(Classes::SET, "sadd", args.at(1), added as u64);
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
    if removed > 0 {
        ctx.data.wrote_many(Classes::SET, "srem", args.at(1), removed as u64);
        ctx.data.tell_if_gone(args.at(1));
    }
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
    Spec::new("spop", Group::Set, "1.0.0", -2, "key [ count:int@3.2.0 ]")
        .flags(WRITE.or(FAST))
        .keys(&[KeySpec::one(1, READS_AND_DELETES)])
        .complexity("O(N) in the members taken")
        .summary("Takes random members of a set."),
    spop,
);

fn spop(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    match args.len() {
        2 => pop_one(ctx, key),
        3 => {
            let count = positive_count(args, 2)?;
            pop_many(ctx, key, count)
        }
        _ => Err(CommandError::Syntax),
    }
}

fn pop_one(ctx: &mut Context<'_>, key: &[u8]) -> Outcome {
    let start = ctx.reply.len();
    let (rng, reply) = (&mut *ctx.rng, &mut *ctx.reply);
    let popped =
        ctx.data.edit_set(key, |set, _| set.pop_with(rng, |member| reply_element(reply, member)))?.flatten();
    if popped.is_none() {
        ctx.reply.null();
        return Ok(());
    }
    ctx.data.wrote(Classes::SET, "spop", key);
    ctx.data.tell_if_gone(key);
    if ctx.data.is_logging() {
        let member = bulk_of(&ctx.reply.bytes()[start..]).to_vec();
        ctx.data.log_as(&[b"SREM", key, &member]);
    }
    Ok(())
}

/// The contents of a bulk string that was just written.
fn bulk_of(reply: &[u8]) -> &[u8] {
    let body = reply.iter().position(|b| *b == b'\n').map_or(reply.len(), |at| at + 1);
    reply[body..].strip_suffix(b"\r\n").unwrap_or_default()
}

fn pop_many(ctx: &mut Context<'_>, key: &[u8], count: usize) -> Outcome {
    let Some(len) = ctx.data.set_value(key)?.map(SetRef::len).filter(|_| count > 0) else {
        ctx.reply.set(0);
        return Ok(());
    };
    let taken = count.min(len);
    ctx.reply.set(taken);
    if taken == len {
        // All of it: no draws, and the key goes with them.
        if let Some(set) = ctx.data.set_value(key)? {
            for member in set.iter() {
                reply_element(ctx.reply, member);
            }
        }
        ctx.data.remove(key);
        ctx.data.wrote_many(Classes::SET, "spop", key, taken as u64);
        ctx.data.tell_if_gone(key);
        let is_lazy = ctx.data.db_ref().laziness().server_del;
        ctx.data.log_as(&[removal(is_lazy), key]);
        return Ok(());
    }
    let is_logging = ctx.data.is_logging();
    let mut popped: Vec<Vec<u8>> = Vec::new();
    let (rng, reply) = (&mut *ctx.rng, &mut *ctx.reply);
    ctx.data.edit_set(key, |set, limits| {
        set.pop_many(taken, rng, limits, |member| {
            reply.bulk(member);
            if is_logging {
                popped.push(member.to_vec());
            }
        });
    })?;
    ctx.data.wrote_many(Classes::SET, "spop", key, taken as u64);
    log_removed(&mut ctx.data, key, &popped);
    Ok(())
}

/// Logs that these members are removed, so many to a command.
fn log_removed(data: &mut Data<'_>, key: &[u8], members: &[Vec<u8>]) {
    const BATCH: usize = 1024;
    for batch in members.chunks(BATCH) {
        let mut words: Vec<&[u8]> = vec![b"SREM", key];
        words.extend(batch.iter().map(Vec::as_slice));
        data.log_as(&words);
    }
}

const SRANDMEMBER: DataCommand = DataCommand::new(
    Spec::new("srandmember", Group::Set, "1.0.0", -2, "key [ count:int@2.6.0 ]")
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
            let count = draws(args, 2)?;
            let Some(set) = data.set_value(key)? else {
                reply.array(0);
                return Ok(());
            };
            if count < 0 {
                let mut draws = Draws::new(reply, count, 1)?;
                while draws.is_next(reply)? {
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

/// Argument `i` as a number of random elements: if below zero, an element may come again.
///
/// # Errors
/// `NotInteger`, or a text about the least integer, which has no opposite.
pub(super) fn draws(args: Args<'_>, i: usize) -> Result<i64, CommandError> {
    match args.int(i)? {
        i64::MIN => Err(CommandError::LEAST_INTEGER),
        draws => Ok(draws),
    }
}

/// Counts draws of elements that may come again. A reply is written in one piece, so the number that
/// somebody asks for must not decide how much memory it takes: a longer one is refused. Valkey sends
/// what it has until the client's buffer is past its limit, and then disconnects.
pub(super) struct Draws {
    left: u64,
    start: usize,
}

impl Draws {
    /// The most bytes of such a reply.
    const MOST_BYTES: u64 = 256 << 20;
    /// The fewest bytes of an element in a reply.
    const LEAST_BYTES: u64 = 6;

    /// As many draws as `-count`, each of so many elements; writes the head of the array.
    ///
    /// # Errors
    /// `OutOfRange` if the reply is certainly too long.
    pub(super) fn new(reply: &mut Reply, count: i64, width: usize) -> Result<Draws, CommandError> {
        let draws = Draws { left: count.unsigned_abs(), start: reply.len() };
        if draws.left > Self::MOST_BYTES / Self::LEAST_BYTES && !reply.has_limit() {
            return Err(CommandError::OutOfRange);
        }
        reply.array((draws.left as usize).saturating_mul(width));
        Ok(draws)
    }

    /// Whether another one is due.
    ///
    /// # Errors
    /// `OutOfRange` once the reply has become too long.
    pub(super) fn is_next(&mut self, reply: &Reply) -> Result<bool, CommandError> {
        if self.left == 0 || reply.is_over_limit() {
            return Ok(false);
        }
        self.left -= 1;
        if (reply.len() - self.start) as u64 > Self::MOST_BYTES {
            return Err(CommandError::OutOfRange);
        }
        Ok(true)
    }
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
    ctx.data.wrote(Classes::SET, "srem", source);
    ctx.data.tell_if_gone(source);
    let added = ctx.data.upsert_set(
        destination,
        |limits| Set::with_hint(member, 1, limits),
        |set, limits| set.add(member, limits),
    )?;
    ctx.data.wrote_many(Classes::SET, "sadd", destination, u64::from(added));
    ctx.reply.int(1);
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
    let reply = &mut *ctx.reply;
    let mut found = Reply::new(reply.protocol());
    let mut count = 0;
    let mut text = IntText::new();
    let next = set.scan(cursor, options.count, |member| {
        let bytes = member.text(&mut text);
        if options.matches(bytes) {
            found.bulk(bytes);
            count += 1;
        }
    });
    reply.array(2);
    write_cursor(reply, next);
    reply.array(count);
    reply.raw(found.bytes());
    Ok(())
}
