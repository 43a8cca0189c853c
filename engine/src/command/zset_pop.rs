//! Sorted set commands that take members from an end, and those of them that may wait for a member.
//!
//! All of them are logged as ZPOPMIN or ZPOPMAX of the one key that gave. Behaviour: valkey
//! src/t_zset.c, `genericZpopCommand` and `blockingGenericZpopCommand`.

use crate::base::num;
use crate::codec::resp::{Protocol, Reply};

use super::effects::Classes;
use super::spec::{BLOCKING, BeginSearch, FAST, FindKeys, Group, KeySpec, READS_AND_DELETES, Spec, WRITE};
use super::wait::{OnTimeout, Wait, WaitFor};
use super::zset::End;
use super::{Args, CommandError, Context, Data, DataCommand, Outcome};

/// Every command of this file.
pub(super) const COMMANDS: &[DataCommand] = &[ZPOPMIN, ZPOPMAX, ZMPOP, BZPOPMIN, BZPOPMAX, BZMPOP];

macro_rules! pop_command {
    ($const:ident, $name:literal, $end:expr, $summary:literal) => {
        const $const: DataCommand = DataCommand::new(
            Spec::new($name, Group::SortedSet, "5.0.0", -2, "key [ count:int ]")
                .flags(WRITE.or(FAST))
                .keys(&[KeySpec::one(1, READS_AND_DELETES)])
                .complexity("O(M log N), M members taken of N")
                .summary($summary),
            |ctx, args| pop(ctx, args, $end),
        );
    };
}

pop_command!(ZPOPMIN, "zpopmin", End::Lowest, "Takes the members with the lowest scores.");
pop_command!(ZPOPMAX, "zpopmax", End::Highest, "Takes the members with the highest scores.");

fn pop(ctx: &mut Context<'_>, args: Args<'_>, end: End) -> Outcome {
    let count = match args.len() {
        2 => None,
        3 => {
            let count = args.int(2).map_err(|_| CommandError::MustBePositive)?;
            Some(usize::try_from(count).map_err(|_| CommandError::MustBePositive)?)
        }
        _ => return Err(CommandError::Syntax),
    };
    let Some(zset) = ctx.data.zset(args.at(1))? else {
        ctx.reply.array(0);
        return Ok(());
    };
    let taken = count.unwrap_or(1).min(zset.len());
    // RESP3 nests each pair only if a count was given.
    let nested = count.is_some() && ctx.reply.protocol() == Protocol::Resp3;
    ctx.reply.array(if nested { taken } else { taken * 2 });
    take(&mut ctx.data, ctx.reply, args.at(1), end, taken, nested)
}

/// Takes `count` members, which must be there, and writes them as pairs.
fn take(data: &mut Data<'_>, reply: &mut Reply, key: &[u8], end: End, count: usize, nested: bool) -> Outcome {
    if count == 0 {
        return Ok(());
    }
    data.edit_zset(key, |zset, _| {
        for _ in 0..count {
            let popped = match end {
                End::Lowest => zset.pop_min(),
                End::Highest => zset.pop_max(),
            };
            let Some((member, score)) = popped else { break };
            if nested {
                reply.array(2);
            }
            reply.bulk(&member);
            reply.double(score);
        }
    })?;
    let event = match end {
        End::Lowest => "zpopmin",
        End::Highest => "zpopmax",
    };
    data.took(Classes::ZSET, event, key, count as u64);
    Ok(())
}

/// What is logged: the same pop without waiting, of this key; with a count if one was asked for.
fn log_pop(data: &mut Data<'_>, key: &[u8], end: End, count: Option<usize>) {
    if !data.is_logging() {
        return;
    }
    let name: &[u8] = match end {
        End::Lowest => b"ZPOPMIN",
        End::Highest => b"ZPOPMAX",
    };
    match count {
        Some(count) => {
            let mut text = Vec::new();
            num::push_u64(&mut text, count as u64);
            data.log_as(&[name, key, &text]);
        }
        None => data.log_as(&[name, key]),
    }
}

const ZMPOP: DataCommand = DataCommand::new(
    Spec::new(
        "zmpop",
        Group::SortedSet,
        "7.0.0",
        -4,
        "numkeys:int key... where=< MIN | MAX > [ COUNT count:int ]",
    )
    .flags(WRITE)
    .keys(&[KeySpec::counted(1, READS_AND_DELETES)])
    .complexity("O(K + M log N), K keys named, M members taken of N")
    .summary("Takes members of the first sorted set that has any."),
    |ctx, args| {
        let asked = Asked::parse(args, 1)?;
        if !pop_first(ctx, args, &asked)? {
            ctx.reply.null_array();
        }
        Ok(())
    },
);

/// What ZMPOP and BZMPOP are asked for.
#[derive(Debug)]
struct Asked {
    /// Positions of the keys.
    first: usize,
    last: usize,
    end: End,
    /// How many members at most.
    count: usize,
}

impl Asked {
    /// Reads `numkeys key... MIN|MAX [COUNT n]` from `i` to the end.
    fn parse(args: Args<'_>, i: usize) -> Result<Asked, CommandError> {
        let bad_numkeys = || CommandError::text("ERR numkeys should be greater than 0");
        let numkeys = args.int(i).map_err(|_| bad_numkeys())?;
        let numkeys = usize::try_from(numkeys).ok().filter(|n| *n > 0).ok_or_else(bad_numkeys)?;
        let where_at =
            numkeys.checked_add(i + 1).filter(|at| *at < args.len()).ok_or(CommandError::Syntax)?;
        let end = if args.is(where_at, "MIN") {
            End::Lowest
        } else if args.is(where_at, "MAX") {
            End::Highest
        } else {
            return Err(CommandError::Syntax);
        };
        let count = args.count_option(where_at + 1)?;
        Ok(Asked { first: i + 1, last: where_at - 1, end, count })
    }
}

/// Takes from the first of the keys that is there; false if none is.
fn pop_first(ctx: &mut Context<'_>, args: Args<'_>, asked: &Asked) -> Result<bool, CommandError> {
    for key in &args.0[asked.first..=asked.last] {
        let Some(zset) = ctx.data.zset(key)? else { continue };
        let taken = asked.count.min(zset.len());
        ctx.reply.array(2);
        ctx.reply.bulk(key);
        ctx.reply.array(taken);
        take(&mut ctx.data, ctx.reply, key, asked.end, taken, true)?;
        log_pop(&mut ctx.data, key, asked.end, Some(taken));
        return Ok(true);
    }
    Ok(false)
}

/// The keys of BZPOPMIN and BZPOPMAX: all arguments but the last one.
const ALL_BUT_LAST: KeySpec = KeySpec {
    uses: READS_AND_DELETES,
    begin: BeginSearch::Index(1),
    find: FindKeys::Range { last: -2, step: 1, limit: 0 },
};

macro_rules! waiting_pop_command {
    ($const:ident, $name:literal, $end:expr, $summary:literal) => {
        const $const: DataCommand = DataCommand::new(
            Spec::new($name, Group::SortedSet, "5.0.0", -3, "key... timeout:double")
                .flags(WRITE.or(FAST).or(BLOCKING))
                .keys(&[ALL_BUT_LAST])
                .complexity("O(log N) in the members of the set")
                .summary($summary),
            |ctx, args| waiting_pop(ctx, args, $end),
        );
    };
}

waiting_pop_command!(
    BZPOPMIN,
    "bzpopmin",
    End::Lowest,
    "Takes the member with the lowest score of the first sorted set that has any, or waits for one."
);
waiting_pop_command!(
    BZPOPMAX,
    "bzpopmax",
    End::Highest,
    "Takes the member with the highest score of the first sorted set that has any, or waits for one."
);

fn waiting_pop(ctx: &mut Context<'_>, args: Args<'_>, end: End) -> Outcome {
    let timeout_at = args.len() - 1;
    let deadline = args.deadline(timeout_at, ctx.data.now)?;
    for key in &args.0[1..timeout_at] {
        if ctx.data.zset(key)?.is_some() {
            ctx.reply.array(3);
            ctx.reply.bulk(key);
            take(&mut ctx.data, ctx.reply, key, end, 1, false)?;
            log_pop(&mut ctx.data, key, end, None);
            return Ok(());
        }
    }
    ctx.wait_or_answer(Wait {
        keys: (1..timeout_at).collect(),
        wanted: WaitFor::Zset,
        deadline,
        on_timeout: OnTimeout::NullArray,
        args: None,
    })
}

const BZMPOP: DataCommand = DataCommand::new(
    Spec::new(
        "bzmpop",
        Group::SortedSet,
        "7.0.0",
        -5,
        "timeout:double numkeys:int key... where=< MIN | MAX > [ COUNT count:int ]",
    )
    .flags(WRITE.or(BLOCKING))
    .keys(&[KeySpec::counted(2, READS_AND_DELETES)])
    .complexity("O(K + M log N), K keys named, M members taken of N")
    .summary("Takes members of the first sorted set that has any, or waits for one."),
    |ctx, args| {
        let asked = Asked::parse(args, 2)?;
        let deadline = args.deadline(1, ctx.data.now)?;
        if pop_first(ctx, args, &asked)? {
            return Ok(());
        }
        ctx.wait_or_answer(Wait {
            keys: (asked.first..=asked.last).collect(),
            wanted: WaitFor::Zset,
            deadline,
            on_timeout: OnTimeout::NullArray,
            args: None,
        })
    },
);
