//! Sorted set commands that put several sorted sets, and plain sets, together.
//!
//! Members are taken where they lie: nothing is copied before the result is stored or answered.
//! Scores are added up in the order in which Valkey does it, smaller sets first, because sums of
//! doubles depend on it. Behaviour: valkey src/t_zset.c, `zunionInterDiffGenericCommand`; of AGGREGATE
//! COUNT, the manual of Redis 8.8.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::codec::resp::Protocol;
use crate::value::set::{Members, SetRef};
use crate::value::zset::{self, Zset, ZsetBuilder, ZsetRef};
use crate::value::{Element, IntText, ValueRef};

use super::spec::{DENYOOM, Group, KeySpec, OVERWRITES, READONLY, READS, Spec, WRITE};
use super::zset_range::store;
use super::{Args, CommandError, Context, Data, DataCommand, Outcome, reply_element};

/// Every command of this file.
pub(super) const COMMANDS: &[DataCommand] =
    &[ZUNION, ZINTER, ZDIFF, ZUNIONSTORE, ZINTERSTORE, ZDIFFSTORE, ZINTERCARD];

/// How sets are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

/// What becomes of the scores of a member that several sets have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
    /// Sums of weights: with none given, how many of the sets have the member. Of Redis 8.8.
    Count,
}

impl Aggregate {
    /// What a set with this weight brings along for a member with this score.
    fn weighted(self, weight: f64, score: f64) -> f64 {
        if self == Aggregate::Count { weight } else { weight * score }
    }

    fn join(self, score: f64, other: f64) -> f64 {
        match self {
            Aggregate::Sum | Aggregate::Count => number_or_0(score + other),
            Aggregate::Min if other < score => other,
            Aggregate::Max if other > score => other,
            Aggregate::Min | Aggregate::Max => score,
        }
    }
}

/// Infinity less infinity, and infinity times nothing, are nothing.
fn number_or_0(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// What a command's last words may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Answers members: WITHSCORES.
    Give,
    /// Stores them.
    Store,
    /// Counts them: LIMIT only.
    Count,
}

/// The arguments of a call.
#[derive(Debug)]
struct Asked<'a> {
    keys: &'a [&'a [u8]],
    /// One for each key; all 1 if empty.
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
    /// 0 for all.
    limit: usize,
}

impl<'a> Asked<'a> {
    /// Reads the arguments from the count of keys at `i` on. The keys' types are checked before the
    /// options behind them.
    fn parse(
        data: &mut Data<'_>,
        args: Args<'a>,
        i: usize,
        name: &str,
        operation: Operation,
        form: Form,
    ) -> Result<Asked<'a>, CommandError> {
        let too_few = || format!("ERR at least 1 input key is needed for '{name}' command");
        let numkeys = args.int(i)?;
        let numkeys = usize::try_from(numkeys).ok().filter(|n| *n > 0);
        let numkeys = numkeys.ok_or_else(|| CommandError::Text(too_few().into()))?;
        let keys = args.from(i + 1).get(..numkeys).ok_or(CommandError::Syntax)?;
        for key in keys {
            if !matches!(data.view(key), None | Some(ValueRef::Zset(_) | ValueRef::Set(_))) {
                return Err(CommandError::WrongType);
            }
        }
        let aggregate = Aggregate::Sum;
        let mut asked = Asked { keys, weights: Vec::new(), aggregate, with_scores: false, limit: 0 };
        asked.parse_options(args, i + 1 + numkeys, operation, form)?;
        Ok(asked)
    }

    fn parse_options(&mut self, args: Args<'_>, mut i: usize, operation: Operation, form: Form) -> Outcome {
        let has_scores = operation != Operation::Difference && form != Form::Count;
        while i < args.len() {
            let words = args.len() - i - 1;
            if has_scores && args.is(i, "WEIGHTS") && words >= self.keys.len() {
                let bad_weight = |_| CommandError::text("ERR weight value is not a float");
                let at = i + 1..=i + self.keys.len();
                i = *at.end();
                self.weights = at.map(|i| args.float(i).map_err(bad_weight)).collect::<Result<_, _>>()?;
            } else if has_scores && args.is(i, "AGGREGATE") && words >= 1 {
                i += 1;
                self.aggregate = match () {
                    () if args.is(i, "SUM") => Aggregate::Sum,
                    () if args.is(i, "MIN") => Aggregate::Min,
                    () if args.is(i, "MAX") => Aggregate::Max,
                    () if args.is(i, "COUNT") => Aggregate::Count,
                    () => return Err(CommandError::Syntax),
                };
            } else if form == Form::Give && args.is(i, "WITHSCORES") {
                self.with_scores = true;
            } else if form == Form::Count && args.is(i, "LIMIT") && words >= 1 {
                i += 1;
                let limit = args.int(i).ok().and_then(|limit| usize::try_from(limit).ok());
                self.limit = limit.ok_or(CommandError::text("ERR LIMIT can't be negative"))?;
            } else {
                return Err(CommandError::Syntax);
            }
            i += 1;
        }
        Ok(())
    }

    /// The keys' values, each with its weight.
    fn sources<'d>(&self, data: &'d Data<'_>) -> Vec<(Source<'d>, f64)> {
        let weight = |i: usize| self.weights.get(i).copied().unwrap_or(1.0);
        let source = |key: &[u8]| match data.db_ref().get(key) {
            Some(ValueRef::Zset(zset)) => Source::Zset(zset),
            Some(ValueRef::Set(set)) => Source::Set(set),
            _ => Source::Nothing,
        };
        self.keys.iter().enumerate().map(|(i, key)| (source(key), weight(i))).collect()
    }
}

/// A set of members with scores; those of a plain set are 1.
#[derive(Debug, Clone, Copy)]
enum Source<'d> {
    Nothing,
    Zset(ZsetRef<'d>),
    Set(SetRef<'d>),
}

/// The members of a source.
enum Pairs<'d> {
    Nothing,
    Zset(zset::Iter<'d>),
    Set(Members<'d>),
}

impl<'d> Iterator for Pairs<'d> {
    type Item = (Element<'d>, f64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Pairs::Nothing => None,
            Pairs::Zset(pairs) => pairs.next(),
            Pairs::Set(members) => members.next().map(|member| (member, 1.0)),
        }
    }
}

impl<'d> Source<'d> {
    fn len(self) -> usize {
        match self {
            Source::Nothing => 0,
            Source::Zset(zset) => zset.len(),
            Source::Set(set) => set.len(),
        }
    }

    fn pairs(self) -> Pairs<'d> {
        match self {
            Source::Nothing => Pairs::Nothing,
            Source::Zset(zset) => Pairs::Zset(zset.iter()),
            Source::Set(set) => Pairs::Set(set.iter()),
        }
    }

    fn score(self, member: &[u8]) -> Option<f64> {
        match self {
            Source::Nothing => None,
            Source::Zset(zset) => zset.score(member),
            Source::Set(set) => set.contains(member).then_some(1.0),
        }
    }
}

/// Members and scores, in no order.
type Found<'d> = Vec<(Element<'d>, f64)>;

fn combine<'d>(mut sources: Vec<(Source<'d>, f64)>, operation: Operation, aggregate: Aggregate) -> Found<'d> {
    if operation == Operation::Difference {
        return difference(&sources);
    }
    // Equal ones stay in the order of the keys.
    sources.sort_by_key(|(source, _)| source.len());
    match operation {
        Operation::Union => union(&sources, aggregate),
        _ => intersection(&sources, aggregate).collect(),
    }
}

fn union<'d>(sources: &[(Source<'d>, f64)], aggregate: Aggregate) -> Found<'d> {
    let most = sources.last().map_or(0, |(largest, _)| largest.len());
    let mut places: HashMap<Key<'d>, usize> = HashMap::with_capacity(most);
    let mut found: Found<'d> = Vec::with_capacity(most);
    for (source, weight) in sources {
        for (member, score) in source.pairs() {
            let score = number_or_0(aggregate.weighted(*weight, score));
            match places.entry(Key::of(member)) {
                Entry::Occupied(place) => {
                    let joined = &mut found[*place.get()].1;
                    *joined = aggregate.join(*joined, score);
                }
                Entry::Vacant(place) => {
                    place.insert(found.len());
                    found.push((member, score));
                }
            }
        }
    }
    found
}

/// A member, the same in every form: the text of an integer is one.
#[derive(PartialEq, Eq, Hash)]
enum Key<'d> {
    Int(i64),
    Bytes(&'d [u8]),
}

impl<'d> Key<'d> {
    fn of(member: Element<'d>) -> Key<'d> {
        let member = match member {
            Element::Bytes(bytes) => Element::of(bytes),
            int => int,
        };
        match member {
            Element::Int(n) => Key::Int(n),
            Element::Bytes(bytes) => Key::Bytes(bytes),
        }
    }
}

fn intersection<'s, 'd>(
    sources: &'s [(Source<'d>, f64)],
    aggregate: Aggregate,
) -> impl Iterator<Item = (Element<'d>, f64)> + 's {
    let ((smallest, weight), others) = sources.split_first().expect("there is at least one key");
    let mut text = IntText::new();
    smallest.pairs().filter_map(move |(member, score)| {
        let bytes = member.text(&mut text);
        let first = number_or_0(aggregate.weighted(*weight, score));
        let joined = others.iter().try_fold(first, |joined, (other, weight)| {
            Some(aggregate.join(joined, aggregate.weighted(*weight, other.score(bytes)?)))
        })?;
        Some((member, joined))
    })
}

fn difference<'d>(sources: &[(Source<'d>, f64)]) -> Found<'d> {
    let ((first, _), others) = sources.split_first().expect("there is at least one key");
    let mut text = IntText::new();
    first
        .pairs()
        .filter(|(member, _)| {
            let bytes = member.text(&mut text);
            others.iter().all(|(other, _)| other.score(bytes).is_none())
        })
        .collect()
}

/// The order of a sorted set.
fn in_order(a: &(Element<'_>, f64), b: &(Element<'_>, f64)) -> Ordering {
    let by_score = a.1.partial_cmp(&b.1).expect("no score is NaN");
    by_score.then_with(|| a.0.with_bytes(|a| b.0.with_bytes(|b| a.cmp(b))))
}

fn give(ctx: &mut Context<'_>, args: Args<'_>, name: &str, operation: Operation) -> Outcome {
    let asked = Asked::parse(&mut ctx.data, args, 1, name, operation, Form::Give)?;
    let mut found = combine(asked.sources(&ctx.data), operation, asked.aggregate);
    found.sort_unstable_by(in_order);
    let nested = asked.with_scores && ctx.reply.protocol() == Protocol::Resp3;
    let width = if asked.with_scores && !nested { 2 } else { 1 };
    ctx.reply.array(found.len() * width);
    for (member, score) in found {
        if nested {
            ctx.reply.array(2);
        }
        reply_element(ctx.reply, member);
        if asked.with_scores {
            ctx.reply.double(score);
        }
    }
    Ok(())
}

fn combine_and_store(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    name: &'static str,
    operation: Operation,
) -> Outcome {
    ctx.data.counts_reads = true;
    let asked = Asked::parse(&mut ctx.data, args, 2, name, operation, Form::Store)?;
    let limits = ctx.data.limits;
    let mut found = combine(asked.sources(&ctx.data), operation, asked.aggregate);
    found.sort_unstable_by(in_order);
    let count = found.len();
    let mut stored = ZsetBuilder::new(limits);
    for (member, score) in found {
        member.with_bytes(|bytes| stored.push(bytes, score)).expect("members of a result are distinct");
    }
    let zset: Zset = stored.finish(limits).expect("members of a result are distinct");
    store(&mut ctx.data, args.at(1), zset, name, 1);
    ctx.reply.int(count as i64);
    Ok(())
}

macro_rules! give_command {
    ($const:ident, $name:literal, $operation:expr, $syntax:literal, $complexity:literal, $summary:literal) => {
        const $const: DataCommand = DataCommand::new(
            Spec::new($name, Group::SortedSet, "6.2.0", -3, $syntax)
                .flags(READONLY)
                .keys(&[KeySpec::counted(1, READS)])
                .complexity($complexity)
                .summary($summary),
            |ctx, args| give(ctx, args, $name, $operation),
        );
    };
}

macro_rules! store_command {
    ($const:ident, $name:literal, $since:literal, $operation:expr, $syntax:literal, $complexity:literal,
     $summary:literal) => {
        const $const: DataCommand = DataCommand::new(
            Spec::new($name, Group::SortedSet, $since, -4, $syntax)
                .flags(WRITE.or(DENYOOM))
                .keys(&[KeySpec::one(1, OVERWRITES), KeySpec::counted(2, READS)])
                .complexity($complexity)
                .summary($summary),
            |ctx, args| combine_and_store(ctx, args, $name, $operation),
        );
    };
}

give_command!(
    ZUNION,
    "zunion",
    Operation::Union,
    "numkeys:int key... [ WEIGHTS weight:int... ] \
         aggregate=[ AGGREGATE: < SUM | MIN | MAX | COUNT > ] [ WITHSCORES ]",
    "O(N + M log M), N members of all sets, M of the result",
    "Gives the members that any of several sorted sets has."
);
give_command!(
    ZINTER,
    "zinter",
    Operation::Intersection,
    "numkeys:int key... [ WEIGHTS weight:int... ] \
         aggregate=[ AGGREGATE: < SUM | MIN | MAX | COUNT > ] [ WITHSCORES ]",
    "O(N K + M log M), N members in the smallest of K sets, M of the result",
    "Gives the members that all of several sorted sets have."
);
give_command!(
    ZDIFF,
    "zdiff",
    Operation::Difference,
    "numkeys:int key... [ WITHSCORES ]",
    "O(N K + M log M), N members in the first of K sets, M of the result",
    "Gives the members of a sorted set that no other of several has."
);
store_command!(
    ZUNIONSTORE,
    "zunionstore",
    "2.0.0",
    Operation::Union,
    "destination:key numkeys:int key... [ WEIGHTS weight:int... ] \
         aggregate=[ AGGREGATE: < SUM | MIN | MAX | COUNT > ]",
    "O(N + M log M), N members of all sets, M of the result",
    "Stores the members that any of several sorted sets has."
);
store_command!(
    ZINTERSTORE,
    "zinterstore",
    "2.0.0",
    Operation::Intersection,
    "destination:key numkeys:int key... [ WEIGHTS weight:int... ] \
         aggregate=[ AGGREGATE: < SUM | MIN | MAX | COUNT > ]",
    "O(N K + M log M), N members in the smallest of K sets, M of the result",
    "Stores the members that all of several sorted sets have."
);
store_command!(
    ZDIFFSTORE,
    "zdiffstore",
    "6.2.0",
    Operation::Difference,
    "destination:key numkeys:int key...",
    "O(N K + M log M), N members in the first of K sets, M of the result",
    "Stores the members of a sorted set that no other of several has."
);

const ZINTERCARD: DataCommand = DataCommand::new(
    Spec::new("zintercard", Group::SortedSet, "7.0.0", -3, "numkeys:int key... [ LIMIT limit:int ]")
        .flags(READONLY)
        .keys(&[KeySpec::counted(1, READS)])
        .complexity("O(N K), N members in the smallest of K sets")
        .summary("Counts the members that all of several sorted sets have."),
    |ctx, args| {
        let operation = Operation::Intersection;
        let asked = Asked::parse(&mut ctx.data, args, 1, "zintercard", operation, Form::Count)?;
        let mut sources = asked.sources(&ctx.data);
        sources.sort_by_key(|(source, _)| source.len());
        let most = if asked.limit == 0 { usize::MAX } else { asked.limit };
        let count = intersection(&sources, asked.aggregate).take(most).count();
        ctx.reply.int(count as i64);
        Ok(())
    },
);
