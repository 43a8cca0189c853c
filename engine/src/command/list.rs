//! List commands. Those that take elements off are in `list_pop.rs`, those that move them from list to
//! list in `list_move.rs`.
//!
//! Behaviour: valkey src/t_list.c.

use crate::value::list::{End, List, ListRef, Side, index_range};

use super::effects::Classes;
use super::spec::{
    DELETES, DENYOOM, FAST, Group, INSERTS, KeySpec, LOOKS, READONLY, READS, Spec, UPDATES, WRITE,
};
use super::{Args, CommandError, Context, DataCommand, Outcome, reply_element};

/// Every command of this file.
pub(super) const COMMANDS: &[DataCommand] =
    &[LPUSH, RPUSH, LPUSHX, RPUSHX, LLEN, LINDEX, LSET, LRANGE, LTRIM, LREM, LINSERT, LPOS];

/// The event of elements added at an end.
pub(super) const fn push_event(end: End) -> &'static str {
    match end {
        End::Front => "lpush",
        End::Back => "rpush",
    }
}

/// The event of elements taken off an end.
pub(super) const fn pop_event(end: End) -> &'static str {
    match end {
        End::Front => "lpop",
        End::Back => "rpop",
    }
}

/// Argument `i` as an end of a list.
///
/// # Errors
/// `Syntax` if it is none.
pub(super) fn end_argument(args: Args<'_>, i: usize) -> Result<End, CommandError> {
    if args.is(i, "LEFT") {
        Ok(End::Front)
    } else if args.is(i, "RIGHT") {
        Ok(End::Back)
    } else {
        Err(CommandError::Syntax)
    }
}

macro_rules! push_command {
    ($const:ident, $name:literal, $since:literal, $end:expr, $existing_only:literal, $summary:literal) => {
        const $const: DataCommand = DataCommand::new(
            Spec::new($name, Group::List, $since, -3, "key element...")
                .flags(WRITE.or(DENYOOM).or(FAST))
                .keys(&[KeySpec::one(1, INSERTS)])
                .complexity("O(N) in the elements added")
                .summary($summary),
            |ctx, args| push(ctx, args, $end, $existing_only),
        );
    };
}

push_command!(LPUSH, "lpush", "1.0.0", End::Front, false, "Adds elements before the first of a list.");
push_command!(RPUSH, "rpush", "1.0.0", End::Back, false, "Adds elements after the last of a list.");
push_command!(
    LPUSHX,
    "lpushx",
    "2.2.0",
    End::Front,
    true,
    "Adds elements before the first of a list that is there."
);
push_command!(
    RPUSHX,
    "rpushx",
    "2.2.0",
    End::Back,
    true,
    "Adds elements after the last of a list that is there."
);

fn push(ctx: &mut Context<'_>, args: Args<'_>, end: End, existing_only: bool) -> Outcome {
    let (key, items) = (args.at(1), args.from(2));
    let add = |list: &mut List, limits: &_| {
        list.push_all(end, items.iter().copied(), limits);
        list.len()
    };
    let len = if let Some(len) = ctx.data.push_to_nodes(key, end, items) {
        Some(len)
    } else if existing_only {
        ctx.data.edit_list(key, add)?
    } else {
        Some(ctx.data.upsert_list(key, |_| List::new(), add)?)
    };
    if len.is_some() {
        ctx.data.wrote_many(Classes::LIST, push_event(end), key, items.len() as u64);
    }
    ctx.reply.int(len.unwrap_or(0) as i64);
    Ok(())
}

const LLEN: DataCommand = DataCommand::new(
    Spec::new("llen", Group::List, "1.0.0", 2, "key")
        .flags(READONLY.or(FAST))
        .keys(&[KeySpec::one(1, LOOKS)])
        .summary("Counts the elements of a list."),
    |ctx, args| {
        let len = ctx.data.list(args.at(1))?.map_or(0, ListRef::len);
        ctx.reply.int(len as i64);
        Ok(())
    },
);

const LINDEX: DataCommand = DataCommand::new(
    Spec::new("lindex", Group::List, "1.0.0", 3, "key index:int")
        .flags(READONLY)
        .keys(&[KeySpec::one(1, READS)])
        .complexity("O(log N) in the nodes of the list, O(N) in the elements of one")
        .summary("Gives the element at an index of a list."),
    lindex,
);

fn lindex(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    // The index is not looked at when there is no list.
    let Some(list) = ctx.data.list(args.at(1))? else {
        ctx.reply.null();
        return Ok(());
    };
    let index = args.int(2)?;
    match list.resolve(index).and_then(|at| list.get(at)) {
        Some(element) => reply_element(ctx.reply, element),
        None => ctx.reply.null(),
    }
    Ok(())
}

const LSET: DataCommand = DataCommand::new(
    Spec::new("lset", Group::List, "1.0.0", 4, "key index:int element")
        .flags(WRITE.or(DENYOOM))
        .keys(&[KeySpec::one(1, UPDATES)])
        .complexity("O(log N) in the nodes of the list, O(N) in the elements of one")
        .summary("Replaces the element at an index of a list."),
    lset,
);

fn lset(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, element) = (args.at(1), args.at(3));
    let len_known = ctx.data.list(key)?.is_some();
    if !len_known {
        return Err(CommandError::NoSuchKey);
    }
    let index = args.int(2)?;
    let set = ctx.data.edit_list(key, |list, limits| {
        let index = list.view().resolve(index)?;
        list.set(index, element, limits).then_some(())
    })?;
    set.flatten().ok_or(CommandError::IndexOutOfRange)?;
    ctx.data.wrote(Classes::LIST, "lset", key);
    ctx.reply.ok();
    Ok(())
}

const LRANGE: DataCommand = DataCommand::new(
    Spec::new("lrange", Group::List, "1.0.0", 4, "key start:int stop:int")
        .flags(READONLY)
        .keys(&[KeySpec::one(1, READS)])
        .complexity("O(log S + N), S nodes before the start and N elements given")
        .summary("Gives a range of a list's elements."),
    lrange,
);

fn lrange(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (start, stop) = (args.int(2)?, args.int(3)?);
    let Some(list) = ctx.data.list(args.at(1))? else {
        ctx.reply.array(0);
        return Ok(());
    };
    let range = index_range(list.len(), start, stop);
    ctx.reply.array(range.len());
    for element in list.range(range) {
        reply_element(ctx.reply, element);
    }
    Ok(())
}

const LTRIM: DataCommand = DataCommand::new(
    Spec::new("ltrim", Group::List, "1.0.0", 4, "key start:int stop:int")
        .flags(WRITE)
        .keys(&[KeySpec::one(1, DELETES)])
        .complexity("O(N) in the elements removed")
        .summary("Removes all elements of a list but a range."),
    ltrim,
);

fn ltrim(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (start, stop) = (args.int(2)?, args.int(3)?);
    let key = args.at(1);
    let removed = ctx.data.edit_list(key, |list, limits| {
        let keep = index_range(list.len(), start, stop);
        list.keep_range(keep, limits)
    })?;
    if let Some(removed) = removed {
        // The event comes even if nothing went.
        ctx.data.event(Classes::LIST, "ltrim", key);
        if removed > 0 {
            ctx.data.tell_if_gone(key);
            ctx.data.changed(key);
            ctx.data.dirty += removed as u64;
        }
    }
    ctx.reply.ok();
    Ok(())
}

const LREM: DataCommand = DataCommand::new(
    Spec::new("lrem", Group::List, "1.0.0", 4, "key count:int element")
        .flags(WRITE)
        .keys(&[KeySpec::one(1, DELETES)])
        .complexity("O(N) in the elements of the list")
        .summary("Removes elements that are equal to one, counted from an end."),
    lrem,
);

fn lrem(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let count = args.int(2)?;
    if count == i64::MIN {
        return Err(CommandError::LEAST_INTEGER);
    }
    let from = if count < 0 { End::Back } else { End::Front };
    let most =
        if count == 0 { usize::MAX } else { usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX) };
    let key = args.at(1);
    let removed =
        ctx.data.edit_list(key, |list, limits| list.remove_equal(args.at(3), from, most, limits))?;
    let removed = removed.unwrap_or(0);
    ctx.data.took(Classes::LIST, "lrem", key, removed as u64);
    ctx.reply.int(removed as i64);
    Ok(())
}

const LINSERT: DataCommand = DataCommand::new(
    Spec::new("linsert", Group::List, "2.2.0", 5, "key where=< BEFORE | AFTER > pivot element")
        .flags(WRITE.or(DENYOOM))
        .keys(&[KeySpec::one(1, INSERTS)])
        .complexity("O(N) in the elements before the pivot")
        .summary("Adds an element beside one that is equal to a pivot."),
    linsert,
);

fn linsert(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let side = if args.is(2, "AFTER") {
        Side::After
    } else if args.is(2, "BEFORE") {
        Side::Before
    } else {
        return Err(CommandError::Syntax);
    };
    let answer = ctx.data.edit_list(args.at(1), |list, limits| {
        list.insert_beside(args.at(3), side, args.at(4), limits).then(|| list.len())
    })?;
    let answer = match answer {
        None => 0,
        Some(None) => -1,
        Some(Some(len)) => {
            ctx.data.wrote(Classes::LIST, "linsert", args.at(1));
            len as i64
        }
    };
    ctx.reply.int(answer);
    Ok(())
}

const LPOS: DataCommand = DataCommand::new(
    Spec::new(
        "lpos",
        Group::List,
        "6.0.6",
        -3,
        "key element [ RANK rank:int ] [ COUNT num-matches:int ] [ MAXLEN len:int ]",
    )
    .flags(READONLY)
    .keys(&[KeySpec::one(1, READS)])
    .complexity("O(N) in the elements of the list")
    .summary("Finds the indexes of elements that are equal to one."),
    lpos,
);

/// Argument `i` as a number that is not negative; `text` refuses everything else.
fn not_negative(args: Args<'_>, i: usize, text: &'static str) -> Result<usize, CommandError> {
    args.int(i).ok().and_then(|n| usize::try_from(n).ok()).ok_or(CommandError::text(text))
}

fn lpos(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (mut rank, mut count, mut most_looked_at) = (1, None, 0);
    let mut i = 3;
    while i < args.len() {
        if i + 1 >= args.len() {
            return Err(CommandError::Syntax);
        }
        if args.is(i, "RANK") {
            rank = args.int(i + 1)?;
            if rank == i64::MIN {
                return Err(CommandError::LEAST_INTEGER);
            }
            if rank == 0 {
                return Err(CommandError::text(
                    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use \
                     negative to start from the end of the list",
                ));
            }
        } else if args.is(i, "COUNT") {
            count = Some(not_negative(args, i + 1, "ERR COUNT can't be negative")?);
        } else if args.is(i, "MAXLEN") {
            most_looked_at = not_negative(args, i + 1, "ERR MAXLEN can't be negative")?;
        } else {
            return Err(CommandError::Syntax);
        }
        i += 2;
    }
    let found = match ctx.data.list(args.at(1))? {
        Some(list) => positions(list, args.at(2), rank, count, most_looked_at),
        None => Vec::new(),
    };
    if count.is_some() {
        ctx.reply.array(found.len());
        for index in found {
            ctx.reply.int(index as i64);
        }
    } else {
        match found.first() {
            Some(index) => ctx.reply.int(*index as i64),
            None => ctx.reply.null(),
        }
    }
    Ok(())
}

/// A count of 0 means all, of `None` one; `most_looked_at` of 0 means the whole list.
fn positions(
    list: ListRef<'_>,
    element: &[u8],
    rank: i64,
    count: Option<usize>,
    most_looked_at: usize,
) -> Vec<usize> {
    let len = list.len();
    let reach = if most_looked_at == 0 { len } else { most_looked_at.min(len) };
    let wanted = match count {
        None => 1,
        Some(0) => usize::MAX,
        Some(n) => n,
    };
    let skip = usize::try_from(rank.unsigned_abs() - 1).unwrap_or(usize::MAX);
    if rank > 0 {
        list.positions(element).take_while(|i| *i < reach).skip(skip).take(wanted).collect()
    } else {
        list.positions_back(element).take_while(|i| *i >= len - reach).skip(skip).take(wanted).collect()
    }
}
