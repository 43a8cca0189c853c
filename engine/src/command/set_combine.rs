//! Commands that put several sets together: intersections, unions, differences, and their sizes.
//!
//! A result is gathered in a set of its own, so it takes no more room than it is long. Behaviour: valkey
//! src/t_set.c; SDIFFCARD and SUNIONCARD: Redis 8.10, by its documentation.

use crate::value::set::{Set, SetRef};
use crate::value::{Element, Limits, Value, ValueRef};

use super::effects::Classes;
use super::spec::{DENYOOM, Group, KeySpec, OVERWRITES, READONLY, READS, Spec, WRITE};
use super::{Args, CommandError, Context, Data, DataCommand, Outcome, reply_element};

/// Every command of this file.
pub(super) const COMMANDS: &[DataCommand] =
    &[SINTER, SUNION, SDIFF, SINTERSTORE, SUNIONSTORE, SDIFFSTORE, SINTERCARD, SUNIONCARD, SDIFFCARD];

/// How sets are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Intersection,
    Union,
    Difference,
}

impl Operation {
    /// The event of a result that is stored.
    const fn store_event(self) -> &'static str {
        match self {
            Operation::Intersection => "sinterstore",
            Operation::Union => "sunionstore",
            Operation::Difference => "sdiffstore",
        }
    }
}

const COST: &str = "O(N * M), N sets and M members in the smallest; union and difference O(all members)";

macro_rules! combine_command {
    ($const:ident, $name:literal, $operation:expr, $summary:literal) => {
        const $const: DataCommand = DataCommand::new(
            Spec::new($name, Group::Set, "1.0.0", -2, "key...")
                .flags(READONLY)
                .keys(&[KeySpec::rest(1, 1, READS)])
                .complexity(COST)
                .summary($summary),
            |ctx, args| {
                let result = combine(&mut ctx.data, args.from(1), $operation)?;
                ctx.reply.set(result.len());
                result.view().iter().for_each(|member| reply_element(ctx.reply, member));
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
                .complexity(COST)
                .summary($summary),
            |ctx, args| store(ctx, args, $operation),
        );
    };
}

macro_rules! card_command {
    ($const:ident, $name:literal, $since:literal, $syntax:literal, $operation:expr, $summary:literal) => {
        const $const: DataCommand = DataCommand::new(
            Spec::new($name, Group::Set, $since, -3, $syntax)
                .flags(READONLY)
                .keys(&[KeySpec::counted(1, READS)])
                .complexity(COST)
                .summary($summary),
            |ctx, args| card(ctx, args, $operation),
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
card_command!(
    SINTERCARD,
    "sintercard",
    "7.0.0",
    "numkeys:int key... [ LIMIT limit:int ]",
    Operation::Intersection,
    "Counts the members that all of several sets have."
);
card_command!(
    SUNIONCARD,
    "sunioncard",
    "8.10.0",
    "numkeys:int key... [ APPROX ] [ LIMIT limit:int ]",
    Operation::Union,
    "Counts the members that any of several sets has."
);
card_command!(
    SDIFFCARD,
    "sdiffcard",
    "8.10.0",
    "numkeys:int key... [ LIMIT limit:int ]",
    Operation::Difference,
    "Counts the members of a set that no other of several sets has."
);

/// The sets at the keys; `None` for those that are not there.
fn sets<'d>(data: &'d mut Data<'_>, keys: &[&[u8]]) -> Result<Vec<Option<SetRef<'d>>>, CommandError> {
    for key in keys {
        // Types are checked, and expired keys removed, before anything is read.
        data.set_value(key)?;
    }
    let as_set = |value: ValueRef<'d>| match value {
        ValueRef::Set(set) => Some(set),
        _ => None,
    };
    let db = data.db_ref();
    Ok(keys.iter().map(|key| db.get(key).and_then(as_set)).collect())
}

/// The members of the combination as a set.
fn combine(data: &mut Data<'_>, keys: &[&[u8]], operation: Operation) -> Result<Set, CommandError> {
    let limits = data.limits;
    let sets = sets(data, keys)?;
    let mut result = Set::new();
    visit(sets, operation, keys, |member| {
        result.add_element(member, limits);
        true
    });
    Ok(result)
}

/// Shows the members of the combination to `take` until it answers false. Those of a union may come
/// more than once.
fn visit<'d>(
    sets: Vec<Option<SetRef<'d>>>,
    operation: Operation,
    keys: &[&[u8]],
    mut take: impl FnMut(Element<'d>) -> bool,
) {
    match operation {
        Operation::Union => {
            let mut all = sets.into_iter().flatten().flat_map(SetRef::iter);
            let _ = all.all(&mut take);
        }
        Operation::Intersection => {
            let Some(mut sets) = sets.into_iter().collect::<Option<Vec<_>>>() else { return };
            sets.sort_by_key(|set| set.len());
            let Some((smallest, others)) = sets.split_first() else { return };
            let mut common =
                smallest.iter().filter(|member| others.iter().all(|set| set.contains_element(*member)));
            let _ = common.all(&mut take);
        }
        Operation::Difference => {
            let is_own = keys.iter().skip(1).any(|key| *key == keys[0]);
            let mut sets = sets.into_iter();
            let Some(Some(first)) = sets.next().filter(|_| !is_own) else { return };
            let mut others: Vec<SetRef<'_>> = sets.flatten().collect();
            // Where most members are, a member is most likely found.
            others.sort_by_key(|set| std::cmp::Reverse(set.len()));
            let mut left =
                first.iter().filter(|member| !others.iter().any(|set| set.contains_element(*member)));
            let _ = left.all(take);
        }
    }
}

fn store(ctx: &mut Context<'_>, args: Args<'_>, operation: Operation) -> Outcome {
    let destination = args.at(1);
    ctx.data.counts_reads = true;
    let mut result = combine(&mut ctx.data, args.from(2), operation)?;
    let len = result.len();
    if len == 0 {
        if ctx.data.remove(destination) {
            ctx.data.wrote(Classes::GENERIC, "del", destination);
        }
    } else {
        if operation == Operation::Intersection {
            result.prefer_intset(ctx.data.limits);
        }
        // What has expired goes as such, before it is overwritten.
        ctx.data.drop_if_expired(destination);
        ctx.data.set(destination, Value::Set(result), None);
        ctx.data.wrote(Classes::SET, operation.store_event(), destination);
    }
    ctx.reply.int(len as i64);
    Ok(())
}

fn card(ctx: &mut Context<'_>, args: Args<'_>, operation: Operation) -> Outcome {
    const BAD_NUMKEYS: CommandError = CommandError::text("ERR numkeys should be greater than 0");
    const BAD_LIMIT: CommandError = CommandError::text("ERR LIMIT can't be negative");
    let numkeys = args.int(1).map_err(|_| BAD_NUMKEYS)?;
    let numkeys = usize::try_from(numkeys).ok().filter(|n| *n > 0).ok_or(BAD_NUMKEYS)?;
    let options_at = numkeys
        .checked_add(2)
        .filter(|at| *at <= args.len())
        .ok_or(CommandError::text("ERR Number of keys can't be greater than number of args"))?;
    let mut most = usize::MAX;
    let mut i = options_at;
    while i < args.len() {
        if operation == Operation::Union && args.is(i, "APPROX") {
            // An exact count is as good an estimate as there can be.
            i += 1;
            continue;
        }
        if !args.is(i, "LIMIT") || i + 1 >= args.len() {
            return Err(CommandError::Syntax);
        }
        let limit = args.int(i + 1).map_err(|_| BAD_LIMIT)?;
        most = match usize::try_from(limit).map_err(|_| BAD_LIMIT)? {
            0 => usize::MAX,
            limit => limit,
        };
        i += 2;
    }
    let keys = &args.0[2..options_at];
    let limits: &Limits = ctx.data.limits;
    let sets = sets(&mut ctx.data, keys)?;
    let mut count = 0;
    if operation == Operation::Union && keys.len() > 1 {
        let mut seen = Set::new();
        visit(sets, operation, keys, |member| {
            count += usize::from(seen.add_element(member, limits));
            count < most
        });
    } else {
        visit(sets, operation, keys, |_| {
            count += 1;
            count < most
        });
    }
    ctx.reply.int(count as i64);
    Ok(())
}
