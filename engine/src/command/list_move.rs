//! List commands that move elements from list to list, and those of them that wait for elements.
//!
//! The push is told before the pop, as Valkey does it. What waits is logged as the command that does the
//! same without waiting. Behaviour: valkey src/t_list.c; LMOVEM and BLMOVEM: Redis 8.10, by its
//! documentation and what client libraries expect.

use smallvec::SmallVec;

use crate::value::list::{End, List, ListRef};
use crate::value::{Element, IntText};

use super::effects::Classes;
use super::list::{end_argument, pop_event, push_event};
use super::spec::{BLOCKING, DENYOOM, Group, INSERTS, KeySpec, READS_AND_DELETES, Spec, WRITE};
use super::wait::{OnTimeout, Wait, WaitFor};
use super::{Args, CommandError, Context, Data, DataCommand, Outcome};

/// Every command of this file.
pub(super) const COMMANDS: &[DataCommand] = &[LMOVE, RPOPLPUSH, BLMOVE, BRPOPLPUSH, LMOVEM, BLMOVEM];

/// Source and destination of every command here.
const KEYS: &[KeySpec] = &[KeySpec::one(1, READS_AND_DELETES), KeySpec::one(2, INSERTS)];

/// From which end to which end.
#[derive(Debug, Clone, Copy)]
struct Ends {
    from: End,
    to: End,
}

impl Ends {
    const RIGHT_TO_LEFT: Ends = Ends { from: End::Back, to: End::Front };

    /// The third and fourth argument.
    fn parse(args: Args<'_>) -> Result<Ends, CommandError> {
        Ok(Ends { from: end_argument(args, 3)?, to: end_argument(args, 4)? })
    }
}

const LMOVE: DataCommand = DataCommand::new(
    Spec::new(
        "lmove",
        Group::List,
        "6.2.0",
        5,
        "source:key destination:key wherefrom=< LEFT | RIGHT > whereto=< LEFT | RIGHT >",
    )
    .flags(WRITE.or(DENYOOM))
    .keys(KEYS)
    .summary("Takes an element off an end of a list, adds it to an end of another, and gives it."),
    |ctx, args| {
        let ends = Ends::parse(args)?;
        if !move_element(ctx, args, ends)? {
            ctx.reply.null();
        }
        Ok(())
    },
);

const RPOPLPUSH: DataCommand = DataCommand::new(
    Spec::new("rpoplpush", Group::List, "1.2.0", 3, "source:key destination:key")
        .flags(WRITE.or(DENYOOM))
        .keys(KEYS)
        .summary("Takes the last element of a list, adds it before the first of another, and gives it."),
    |ctx, args| {
        if !move_element(ctx, args, Ends::RIGHT_TO_LEFT)? {
            ctx.reply.null();
        }
        Ok(())
    },
);

const BLMOVE: DataCommand = DataCommand::new(
    Spec::new(
        "blmove",
        Group::List,
        "6.2.0",
        6,
        "source:key destination:key wherefrom=< LEFT | RIGHT > whereto=< LEFT | RIGHT > \
         timeout:double",
    )
    .flags(WRITE.or(DENYOOM).or(BLOCKING))
    .keys(KEYS)
    .summary(
        "Takes an element off an end of a list, adds it to an end of another, and gives it; waits until \
         there is one.",
    ),
    |ctx, args| {
        let ends = Ends::parse(args)?;
        blocking_move(ctx, args, ends, 5, &[b"LMOVE", args.at(1), args.at(2), args.at(3), args.at(4)])
    },
);

const BRPOPLPUSH: DataCommand = DataCommand::new(
    Spec::new("brpoplpush", Group::List, "2.2.0", 4, "source:key destination:key timeout:double")
        .flags(WRITE.or(DENYOOM).or(BLOCKING))
        .keys(KEYS)
        .summary(
            "Takes the last element of a list, adds it before the first of another, and gives it; waits \
             until there is one.",
        ),
    |ctx, args| blocking_move(ctx, args, Ends::RIGHT_TO_LEFT, 3, &[b"RPOPLPUSH", args.at(1), args.at(2)]),
);

/// Moves an element now, logged as `log`, or waits for one.
fn blocking_move(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    ends: Ends,
    timeout_at: usize,
    log: &[&[u8]],
) -> Outcome {
    let deadline = args.deadline(timeout_at, ctx.data.now)?;
    if move_element(ctx, args, ends)? {
        ctx.data.log_as(log);
        return Ok(());
    }
    // Who may not wait gets a null string, who has waited in vain a null array.
    if !ctx.may_wait {
        ctx.reply.null();
        return Ok(());
    }
    ctx.wait_or_answer(Wait {
        keys: vec![1],
        wanted: WaitFor::List,
        deadline,
        on_timeout: OnTimeout::NullArray,
        args: None,
    })
}

/// Moves an element and replies with it; answers whether there was one, and writes nothing if not.
fn move_element(ctx: &mut Context<'_>, args: Args<'_>, ends: Ends) -> Result<bool, CommandError> {
    let (source, destination) = (args.at(1), args.at(2));
    if ctx.data.list(source)?.is_none() {
        return Ok(false);
    }
    // The destination's type is checked before anything is taken.
    ctx.data.list(destination)?;
    let copied = |element: Element<'_>| -> SmallVec<[u8; 128]> {
        SmallVec::from_slice(element.text(&mut IntText::new()))
    };
    let moved = if source == destination {
        // One edit, so that a list of one element is never left empty in between.
        ctx.data.edit_list(source, |list, limits| {
            let element = list.pop_with(ends.from, limits, copied)?;
            list.push(ends.to, &element, limits);
            Some(element)
        })?
    } else {
        ctx.data.edit_list(source, |list, limits| list.pop_with(ends.from, limits, copied))?
    };
    let Some(element) = moved.flatten() else { return Ok(false) };
    if source != destination {
        ctx.data.upsert_list(
            destination,
            |_| List::new(),
            |list, limits| list.push(ends.to, &element, limits),
        )?;
    }
    tell_moved(&mut ctx.data, source, destination, ends, 1);
    ctx.reply.bulk(&element);
    Ok(true)
}

fn tell_moved(data: &mut Data<'_>, source: &[u8], destination: &[u8], ends: Ends, moved: usize) {
    data.wrote_many(Classes::LIST, push_event(ends.to), destination, moved as u64);
    data.event(Classes::LIST, pop_event(ends.from), source);
    data.tell_if_gone(source);
    data.changed(source);
}

const LMOVEM: DataCommand = DataCommand::new(
    Spec::new(
        "lmovem",
        Group::List,
        "8.10.0",
        -5,
        "source:key destination:key < LEFT | RIGHT > < LEFT | RIGHT > \
         [ < COUNT count:int | EXACTLY exactly:int > < OBO | BULK > ]",
    )
    .flags(WRITE.or(DENYOOM))
    .keys(KEYS)
    .complexity("O(N) in the elements moved")
    .summary("Takes elements off an end of a list, adds them to an end of another, and gives them."),
    |ctx, args| {
        let ends = Ends::parse(args)?;
        let wish = HowMany::parse(args, 5)?;
        if move_many(ctx, args, ends, wish)?.is_none() {
            ctx.reply.null_array();
        }
        Ok(())
    },
);

const BLMOVEM: DataCommand = DataCommand::new(
    Spec::new(
        "blmovem",
        Group::List,
        "8.10.0",
        -6,
        "source:key destination:key < LEFT | RIGHT > < LEFT | RIGHT > timeout:double \
         [ < COUNT count:int | EXACTLY exactly:int > < OBO | BULK > ]",
    )
    .flags(WRITE.or(DENYOOM).or(BLOCKING))
    .keys(KEYS)
    .complexity("O(N) in the elements moved")
    .summary(
        "Takes elements off an end of a list, adds them to an end of another, and gives them; waits until \
         there are enough.",
    ),
    blmovem,
);

fn blmovem(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let ends = Ends::parse(args)?;
    let deadline = args.deadline(5, ctx.data.now)?;
    let wish = HowMany::parse(args, 6)?;
    if let Some(moved) = move_many(ctx, args, ends, wish)? {
        if ctx.data.is_logging() {
            let order: &[u8] = if wish.one_by_one { b"OBO" } else { b"BULK" };
            let mut text = IntText::new();
            let count = text.format(moved as i64);
            let [_, source, destination, from, to, ..] = *args.0 else { return Ok(()) };
            ctx.data.log_as(&[b"LMOVEM", source, destination, from, to, b"EXACTLY", count, order]);
        }
        return Ok(());
    }
    ctx.wait_or_answer(Wait {
        keys: vec![1],
        wanted: WaitFor::List,
        deadline,
        on_timeout: OnTimeout::NullArray,
        args: None,
    })
}

/// How many elements are moved, and in which order.
#[derive(Debug, Clone, Copy)]
struct HowMany {
    most: usize,
    /// Nothing is moved if there are fewer.
    least: Option<usize>,
    one_by_one: bool,
}

impl HowMany {
    /// The arguments from `at` on: none, or all three.
    fn parse(args: Args<'_>, at: usize) -> Result<HowMany, CommandError> {
        const BAD_COUNT: CommandError = CommandError::text("ERR count should be greater than 0");
        if args.len() == at {
            return Ok(HowMany { most: 1, least: None, one_by_one: true });
        }
        let is_exact = args.is(at, "EXACTLY");
        let one_by_one = args.is(at + 2, "OBO");
        if args.len() != at + 3
            || !(is_exact || args.is(at, "COUNT"))
            || !(one_by_one || args.is(at + 2, "BULK"))
        {
            return Err(CommandError::Syntax);
        }
        let most = args.int(at + 1).ok().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
        let most = most.ok_or(BAD_COUNT)?;
        Ok(HowMany { most, least: is_exact.then_some(most), one_by_one })
    }
}

/// Moves elements and replies with them, in the order in which they now are; answers how many. `None`
/// if there are not enough: nothing is changed or written then.
fn move_many(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    ends: Ends,
    wish: HowMany,
) -> Result<Option<usize>, CommandError> {
    let (source, destination) = (args.at(1), args.at(2));
    let len = ctx.data.list(source)?.map_or(0, ListRef::len);
    ctx.data.list(destination)?;
    if len == 0 || wish.least.is_some_and(|least| len < least) {
        return Ok(None);
    }
    let count = wish.most.min(len);
    let start = match ends.from {
        End::Front => 0,
        End::Back => len - count,
    };
    let mut block: Vec<Vec<u8>> = Vec::with_capacity(count);
    let same = source == destination;
    // One by one to the end that they came from turns their order around; all else keeps it.
    let is_turned = wish.one_by_one && ends.from == ends.to;
    let add = |list: &mut List, block: &[Vec<u8>], limits: &_| match ends.to {
        End::Front => list.push_all(End::Front, block.iter().rev().map(Vec::as_slice), limits),
        End::Back => list.push_all(End::Back, block.iter().map(Vec::as_slice), limits),
    };
    ctx.data.edit_list(source, |list, limits| {
        block.extend(list.view().range(start..start + count).map(|element| element.to_vec()));
        if is_turned {
            block.reverse();
        }
        list.remove_range(start, count, limits);
        if same {
            add(list, &block, limits);
        }
    })?;
    if !same {
        ctx.data.upsert_list(destination, |_| List::new(), |list, limits| add(list, &block, limits))?;
    }
    tell_moved(&mut ctx.data, source, destination, ends, count);
    ctx.reply.array(count);
    block.iter().for_each(|element| ctx.reply.bulk(element));
    Ok(Some(count))
}
