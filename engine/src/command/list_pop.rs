//! List commands that take elements off an end, and those of them that wait until there are any.
//!
//! What waits is logged as what it does in the end: LPOP or RPOP. Behaviour: valkey src/t_list.c.

use crate::codec::resp::Reply;
use crate::value::IntText;
use crate::value::list::{End, ListRef};

use super::effects::Classes;
use super::list::{end_argument, pop_event};
use super::spec::{BLOCKING, BeginSearch, FAST, FindKeys, Group, KeySpec, READS_AND_DELETES, Spec, WRITE};
use super::wait::{OnTimeout, Wait, WaitFor};
use super::{Args, CommandError, Context, Data, DataCommand, Outcome, reply_element};

/// Every command of this file.
pub(super) const COMMANDS: &[DataCommand] = &[LPOP, RPOP, LMPOP, BLPOP, BRPOP, BLMPOP];

/// The command that takes elements off an end, as it is logged.
const fn pop_word(end: End) -> &'static [u8] {
    match end {
        End::Front => b"LPOP",
        End::Back => b"RPOP",
    }
}

macro_rules! pop_command {
    ($const:ident, $name:literal, $end:expr, $summary:literal) => {
        const $const: DataCommand = DataCommand::new(
            Spec::new($name, Group::List, "1.0.0", -2, "key [ count:int@6.2.0 ]")
                .flags(WRITE.or(FAST))
                .keys(&[KeySpec::one(1, READS_AND_DELETES)])
                .complexity("O(N) in the elements taken")
                .summary($summary),
            |ctx, args| pop(ctx, args, $end, $name),
        );
    };
}

pop_command!(LPOP, "lpop", End::Front, "Takes the first elements of a list.");
pop_command!(RPOP, "rpop", End::Back, "Takes the last elements of a list.");

fn pop(ctx: &mut Context<'_>, args: Args<'_>, end: End, name: &str) -> Outcome {
    let key = args.at(1);
    let count = match args.len() {
        2 => None,
        3 => Some(
            usize::try_from(args.int(2).map_err(|_| CommandError::MustBePositive)?)
                .map_err(|_| CommandError::MustBePositive)?,
        ),
        _ => return Err(CommandError::Arity(name.to_owned())),
    };
    let Some(count) = count else {
        let reply = &mut *ctx.reply;
        let popped = ctx.data.edit_list(key, |list, limits| {
            list.pop_with(end, limits, |element| reply_element(reply, element));
        })?;
        match popped {
            Some(()) => tell_popped(&mut ctx.data, key, end, 1),
            None => ctx.reply.null(),
        }
        return Ok(());
    };
    let Some(len) = ctx.data.list(key)?.map(ListRef::len) else {
        ctx.reply.null_array();
        return Ok(());
    };
    take(&mut ctx.data, ctx.reply, key, end, count.min(len))
}

/// Takes elements off an end of a list and writes them as an array.
fn take(data: &mut Data<'_>, reply: &mut Reply, key: &[u8], end: End, count: usize) -> Outcome {
    reply.array(count);
    if count == 0 {
        return Ok(());
    }
    data.edit_list(key, |list, limits| {
        let start = match end {
            End::Front => {
                list.view().iter().take(count).for_each(|element| reply_element(reply, element));
                0
            }
            End::Back => {
                list.view().iter().rev().take(count).for_each(|element| reply_element(reply, element));
                list.len() - count
            }
        };
        list.remove_range(start, count, limits);
    })?;
    tell_popped(data, key, end, count);
    Ok(())
}

fn tell_popped(data: &mut Data<'_>, key: &[u8], end: End, count: usize) {
    data.took(Classes::LIST, pop_event(end), key, count as u64);
}

const LMPOP: DataCommand = DataCommand::new(
    Spec::new(
        "lmpop",
        Group::List,
        "7.0.0",
        -4,
        "numkeys:int key... where=< LEFT | RIGHT > [ COUNT count:int ]",
    )
    .flags(WRITE)
    .keys(&[KeySpec::counted(1, READS_AND_DELETES)])
    .complexity("O(N + M), N keys named and M elements taken")
    .summary("Takes elements of the first list that has any."),
    |ctx, args| {
        let wish = MultiPop::parse(args, 1)?;
        if !multi_pop(ctx, &wish)? {
            ctx.reply.null_array();
        }
        Ok(())
    },
);

/// What LMPOP and BLMPOP are asked.
struct MultiPop<'a> {
    keys: &'a [&'a [u8]],
    end: End,
    count: usize,
}

impl<'a> MultiPop<'a> {
    /// Reads the arguments from the number of keys on, which is at `numkeys_at`.
    fn parse(args: Args<'a>, numkeys_at: usize) -> Result<MultiPop<'a>, CommandError> {
        const BAD_NUMKEYS: CommandError = CommandError::text("ERR numkeys should be greater than 0");
        let numkeys = args.int(numkeys_at).map_err(|_| BAD_NUMKEYS)?;
        let numkeys = usize::try_from(numkeys).ok().filter(|n| *n > 0).ok_or(BAD_NUMKEYS)?;
        let first = numkeys_at + 1;
        let where_at = numkeys.checked_add(first).filter(|at| *at < args.len());
        let where_at = where_at.ok_or(CommandError::Syntax)?;
        let end = end_argument(args, where_at)?;
        let count = args.count_option(where_at + 1)?;
        Ok(MultiPop { keys: &args.0[first..where_at], end, count })
    }
}

/// Takes from the first list that is there; answers whether there is one.
fn multi_pop(ctx: &mut Context<'_>, wish: &MultiPop<'_>) -> Result<bool, CommandError> {
    for key in wish.keys {
        let Some(len) = ctx.data.list(key)?.map(ListRef::len) else { continue };
        let taken = wish.count.min(len);
        ctx.reply.array(2);
        ctx.reply.bulk(key);
        take(&mut ctx.data, ctx.reply, key, wish.end, taken)?;
        if ctx.data.is_logging() {
            ctx.data.log_as(&[pop_word(wish.end), key, IntText::new().format(taken as i64)]);
        }
        return Ok(true);
    }
    Ok(false)
}

macro_rules! blocking_pop_command {
    ($const:ident, $name:literal, $end:expr, $summary:literal) => {
        const $const: DataCommand = DataCommand::new(
            Spec::new($name, Group::List, "2.0.0", -3, "key... timeout:double")
                .flags(WRITE.or(BLOCKING))
                .keys(&[KeySpec {
                    uses: READS_AND_DELETES,
                    begin: BeginSearch::Index(1),
                    find: FindKeys::Range { last: -2, step: 1, limit: 0 },
                }])
                .complexity("O(N) in the keys named")
                .summary($summary),
            |ctx, args| blocking_pop(ctx, args, $end),
        );
    };
}

blocking_pop_command!(
    BLPOP,
    "blpop",
    End::Front,
    "Takes the first element of the first list that has any; waits until there is one."
);
blocking_pop_command!(
    BRPOP,
    "brpop",
    End::Back,
    "Takes the last element of the first list that has any; waits until there is one."
);

fn blocking_pop(ctx: &mut Context<'_>, args: Args<'_>, end: End) -> Outcome {
    let timeout_at = args.len() - 1;
    let deadline = args.deadline(timeout_at, ctx.data.now)?;
    for key in &args.0[1..timeout_at] {
        if ctx.data.list(key)?.is_none() {
            continue;
        }
        ctx.reply.array(2);
        ctx.reply.bulk(key);
        let reply = &mut *ctx.reply;
        ctx.data.edit_list(key, |list, limits| {
            list.pop_with(end, limits, |element| reply_element(reply, element));
        })?;
        tell_popped(&mut ctx.data, key, end, 1);
        ctx.data.log_as(&[pop_word(end), key]);
        return Ok(());
    }
    ctx.wait_or_answer(Wait {
        keys: (1..timeout_at).collect(),
        wanted: WaitFor::List,
        deadline,
        on_timeout: OnTimeout::NullArray,
        args: None,
    })
}

const BLMPOP: DataCommand = DataCommand::new(
    Spec::new(
        "blmpop",
        Group::List,
        "7.0.0",
        -5,
        "timeout:double numkeys:int key... where=< LEFT | RIGHT > [ COUNT count:int ]",
    )
    .flags(WRITE.or(BLOCKING))
    .keys(&[KeySpec::counted(2, READS_AND_DELETES)])
    .complexity("O(N + M), N keys named and M elements taken")
    .summary("Takes elements of the first list that has any; waits until there is one."),
    |ctx, args| {
        let wish = MultiPop::parse(args, 2)?;
        let deadline = args.deadline(1, ctx.data.now)?;
        if multi_pop(ctx, &wish)? {
            return Ok(());
        }
        ctx.wait_or_answer(Wait {
            keys: (3..3 + wish.keys.len()).collect(),
            wanted: WaitFor::List,
            deadline,
            on_timeout: OnTimeout::NullArray,
            args: None,
        })
    },
);
