//! Sorted set commands: adding, removing, single members. Ranges are in `zset_range.rs`, taking from an
//! end is in `zset_pop.rs`.
//!
//! Behaviour: valkey src/t_zset.c.

use crate::base::num;
use crate::codec::resp::{Protocol, Reply};
use crate::value::Element;
use crate::value::zset::{AddOutcome, Change, NewScore, Presence, Zset, ZsetRef};

use super::context::MANY_AT_ONCE;
use super::effects::Classes;
use super::scan::{ScanOptions, cursor_argument, write_cursor};
use super::set::{Draws, draws};
use super::spec::{
    DELETES, DENYOOM, FAST, Group, KeySpec, LOOKS, READONLY, READS, READS_AND_UPDATES, Spec, UPDATES, WRITE,
};
use super::{Args, CommandError, Context, DataCommand, Outcome, reply_element};

/// Every command of this file.
pub(super) const COMMANDS: &[DataCommand] =
    &[ZADD, ZINCRBY, ZREM, ZCARD, ZSCORE, ZMSCORE, ZRANK, ZREVRANK, ZRANDMEMBER, ZSCAN];

const ZADD: DataCommand = DataCommand::new(
    Spec::new(
        "zadd",
        Group::SortedSet,
        "1.2.0",
        -4,
        "key condition@3.0.2=[ NX | XX ] comparison@6.2.0=[ GT | LT ] [ change=CH@3.0.2 ] \
         [ increment=INCR@3.0.2 ] data=< score:double member >...",
    )
    .flags(WRITE.or(DENYOOM).or(FAST))
    .keys(&[KeySpec::one(1, UPDATES)])
    .complexity("O(log N) for each member, N members in the set")
    .summary("Adds members to a sorted set, or changes their scores."),
    |ctx, args| add(ctx, args, AddOptions::default()),
);

const ZINCRBY: DataCommand = DataCommand::new(
    Spec::new("zincrby", Group::SortedSet, "1.2.0", 4, "key increment:int member")
        .flags(WRITE.or(DENYOOM).or(FAST))
        .keys(&[KeySpec::one(1, READS_AND_UPDATES)])
        .complexity("O(log N) in the members of the set")
        .summary("Adds to the score of a member."),
    |ctx, args| add(ctx, args, AddOptions { increment: true, ..AddOptions::default() }),
);

/// The options of ZADD.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct AddOptions {
    pub(super) new_only: bool,
    pub(super) existing_only: bool,
    pub(super) greater: bool,
    pub(super) less: bool,
    pub(super) count_changes: bool,
    pub(super) increment: bool,
}

impl AddOptions {
    /// True if argument `i` was an option.
    fn take(&mut self, args: Args<'_>, i: usize) -> bool {
        let flag = if args.is(i, "NX") {
            &mut self.new_only
        } else if args.is(i, "XX") {
            &mut self.existing_only
        } else if args.is(i, "GT") {
            &mut self.greater
        } else if args.is(i, "LT") {
            &mut self.less
        } else if args.is(i, "CH") {
            &mut self.count_changes
        } else if args.is(i, "INCR") {
            &mut self.increment
        } else {
            return false;
        };
        *flag = true;
        true
    }

    fn check(self) -> Outcome {
        if self.new_only && self.existing_only {
            return Err(CommandError::text("ERR XX and NX options at the same time are not compatible"));
        }
        if usize::from(self.greater) + usize::from(self.less) + usize::from(self.new_only) > 1 {
            return Err(CommandError::text(
                "ERR GT, LT, and/or NX options at the same time are not compatible",
            ));
        }
        Ok(())
    }

    fn presence(self) -> Presence {
        match (self.new_only, self.existing_only) {
            (true, _) => Presence::New,
            (_, true) => Presence::Existing,
            _ => Presence::Any,
        }
    }

    fn change(self) -> Change {
        match (self.greater, self.less) {
            (true, _) => Change::Up,
            (_, true) => Change::Down,
            _ => Change::Any,
        }
    }
}

/// What an add did, over all of its members.
#[derive(Debug, Default)]
struct Added {
    added: usize,
    updated: usize,
    /// The score of the last member that was not refused.
    score: Option<f64>,
}

fn add(ctx: &mut Context<'_>, args: Args<'_>, mut options: AddOptions) -> Outcome {
    let mut pairs_at = 2;
    while pairs_at < args.len() && options.take(args, pairs_at) {
        pairs_at += 1;
    }
    let pairs = args.from(pairs_at);
    if pairs.is_empty() || !pairs.len().is_multiple_of(2) {
        return Err(CommandError::Syntax);
    }
    options.check()?;
    if options.increment && pairs.len() > 2 {
        return Err(CommandError::text("ERR INCR option supports a single increment-element pair"));
    }
    // Every score is read before anything is changed.
    let mut scores: smallvec::SmallVec<[f64; 4]> = smallvec::SmallVec::new();
    for i in (pairs_at..args.len()).step_by(2) {
        scores.push(args.float(i).map_err(|_| CommandError::ScoreNotFloat)?);
    }
    put_scored(ctx, args.at(1), &scores, |i| pairs[2 * i + 1], options)
}

/// Puts members with these scores in; the `i`th member is `member(i)`.
pub(super) fn put_scored<'m>(
    ctx: &mut Context<'_>,
    key: &[u8],
    scores: &[f64],
    member: impl Fn(usize) -> &'m [u8],
    options: AddOptions,
) -> Outcome {
    let members = || (0..scores.len()).map(&member);
    let (count, longest) = (scores.len(), members().map(<[u8]>::len).max().unwrap_or(0));
    let put = |zset: &mut Zset, limits: &_| {
        // What is about to come decides about the form, though some of it may be refused.
        zset.expect_members(count, longest, limits);
        put_all(zset, limits, members().zip(scores.iter().copied()), options)
    };
    let result = if options.existing_only {
        ctx.data.edit_zset(key, put)?
    } else {
        Some(ctx.data.upsert_zset(key, |_| Zset::new(), put)?)
    };
    let done = result.transpose()?.unwrap_or_default();
    let event = if options.increment { "zincr" } else { "zadd" };
    ctx.data.wrote_many(Classes::ZSET, event, key, (done.added + done.updated) as u64);
    if options.increment {
        match done.score {
            Some(score) => ctx.reply.double(score),
            None => ctx.reply.null(),
        }
    } else {
        let changed = if options.count_changes { done.updated } else { 0 };
        ctx.reply.int((done.added + changed) as i64);
    }
    Ok(())
}

fn put_all<'m>(
    zset: &mut Zset,
    limits: &crate::value::Limits,
    pairs: impl Iterator<Item = (&'m [u8], f64)> + Clone,
    options: AddOptions,
) -> Result<Added, CommandError> {
    let mut done = Added::default();
    let is_plain = !options.increment && !options.existing_only && zset.is_empty();
    if is_plain && pairs.clone().nth(MANY_AT_ONCE - 1).is_some() {
        let mut all: Vec<(&[u8], f64)> = pairs.clone().collect();
        if let Some(whole) = Zset::from_pairs(&mut all, limits) {
            *zset = whole;
            done.added = all.len();
            return Ok(done);
        }
    }
    for (member, score) in pairs {
        let score = if options.increment { NewScore::Add(score) } else { NewScore::Set(score) };
        match zset.add(member, score, options.presence(), options.change(), limits) {
            AddOutcome::Added(score) => {
                done.added += 1;
                done.score = Some(score);
            }
            AddOutcome::Updated(score) => {
                done.updated += 1;
                done.score = Some(score);
            }
            AddOutcome::Same(score) => done.score = Some(score),
            AddOutcome::Refused => {}
            AddOutcome::NotANumber => {
                return Err(CommandError::text("ERR resulting score is not a number (NaN)"));
            }
        }
    }
    Ok(done)
}

const ZREM: DataCommand = DataCommand::new(
    Spec::new("zrem", Group::SortedSet, "1.2.0", -3, "key member...")
        .flags(WRITE.or(FAST))
        .keys(&[KeySpec::one(1, DELETES)])
        .complexity("O(M log N), M members removed of N")
        .summary("Removes members from a sorted set."),
    |ctx, args| {
        let members = args.from(2);
        let removed = ctx.data.edit_zset(args.at(1), |zset, _| {
            members.iter().filter(|member| zset.remove(member).is_some()).count()
        })?;
        let removed = removed.unwrap_or(0);
        ctx.data.took(Classes::ZSET, "zrem", args.at(1), removed as u64);
        ctx.reply.int(removed as i64);
        Ok(())
    },
);

const ZCARD: DataCommand = DataCommand::new(
    Spec::new("zcard", Group::SortedSet, "1.2.0", 2, "key")
        .flags(READONLY.or(FAST))
        .keys(&[KeySpec::one(1, LOOKS)])
        .summary("Counts the members of a sorted set."),
    |ctx, args| {
        let len = ctx.data.zset(args.at(1))?.map_or(0, ZsetRef::len);
        ctx.reply.int(len as i64);
        Ok(())
    },
);

const ZSCORE: DataCommand = DataCommand::new(
    Spec::new("zscore", Group::SortedSet, "1.2.0", 3, "key member")
        .flags(READONLY.or(FAST))
        .keys(&[KeySpec::one(1, READS)])
        .complexity("O(1), O(N) in the members of a small set")
        .summary("Gives the score of a member."),
    |ctx, args| {
        match ctx.data.zset(args.at(1))?.and_then(|zset| zset.score(args.at(2))) {
            Some(score) => ctx.reply.double(score),
            None => ctx.reply.null(),
        }
        Ok(())
    },
);

const ZMSCORE: DataCommand = DataCommand::new(
    Spec::new("zmscore", Group::SortedSet, "6.2.0", -3, "key member...")
        .flags(READONLY.or(FAST))
        .keys(&[KeySpec::one(1, READS)])
        .complexity("O(M) in the members asked for")
        .summary("Gives the scores of several members."),
    |ctx, args| {
        let zset = ctx.data.zset(args.at(1))?;
        let members = args.from(2);
        ctx.reply.array(members.len());
        for member in members {
            match zset.and_then(|zset| zset.score(member)) {
                Some(score) => ctx.reply.double(score),
                None => ctx.reply.null(),
            }
        }
        Ok(())
    },
);

macro_rules! rank_command {
    ($const:ident, $name:literal, $first:expr, $summary:literal) => {
        const $const: DataCommand = DataCommand::new(
            Spec::new($name, Group::SortedSet, "2.0.0", -3, "key member [ WITHSCORE ]")
                .flags(READONLY.or(FAST))
                .keys(&[KeySpec::one(1, READS)])
                .complexity("O(log N) in the members of the set")
                .summary($summary),
            |ctx, args| rank(ctx, args, $first, $name),
        );
    };
}

rank_command!(ZRANK, "zrank", End::Lowest, "Gives the position of a member, the lowest score first.");
rank_command!(ZREVRANK, "zrevrank", End::Highest, "Gives the position of a member, the highest score first.");

/// The end that members are counted or taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Lowest,
    Highest,
}

fn rank(ctx: &mut Context<'_>, args: Args<'_>, first: End, name: &str) -> Outcome {
    let with_score = match args.len() {
        3 => false,
        4 if args.is(3, "WITHSCORE") => true,
        4 => return Err(CommandError::Syntax),
        _ => return Err(CommandError::Arity(name.to_owned())),
    };
    let find = |zset: ZsetRef<'_>| match first {
        End::Lowest => zset.rank(args.at(2)),
        End::Highest => zset.rev_rank(args.at(2)),
    };
    match ctx.data.zset(args.at(1))?.and_then(find) {
        Some((rank, score)) => {
            if with_score {
                ctx.reply.array(2);
            }
            ctx.reply.int(rank as i64);
            if with_score {
                ctx.reply.double(score);
            }
        }
        None if with_score => ctx.reply.null_array(),
        None => ctx.reply.null(),
    }
    Ok(())
}

const ZRANDMEMBER: DataCommand = DataCommand::new(
    Spec::new("zrandmember", Group::SortedSet, "6.2.0", -2, "key options=[ count:int [ WITHSCORES ] ]")
        .flags(READONLY)
        .keys(&[KeySpec::one(1, READS)])
        .complexity("O(M log N), M members given of N")
        .summary("Gives random members of a sorted set."),
    zrandmember,
);

fn zrandmember(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let Context { data, reply, rng, .. } = ctx;
    if args.len() == 2 {
        match data.zset(args.at(1))?.and_then(|zset| zset.random(rng)) {
            Some((member, _)) => reply_element(reply, member),
            None => reply.null(),
        }
        return Ok(());
    }
    const MOST_PAIRS: u64 = i64::MAX as u64 / 2;
    let count = draws(args, 2)?;
    let with_scores = match args.len() {
        3 => false,
        4 if args.is(3, "WITHSCORES") => true,
        _ => return Err(CommandError::Syntax),
    };
    if with_scores && count.unsigned_abs() > MOST_PAIRS {
        return Err(CommandError::OutOfRange);
    }
    let Some(zset) = data.zset(args.at(1))? else {
        reply.array(0);
        return Ok(());
    };
    let nested = with_scores && reply.protocol() == Protocol::Resp3;
    let write = |reply: &mut Reply, member: Element<'_>, score: f64| {
        if nested {
            reply.array(2);
        }
        reply_element(reply, member);
        if with_scores {
            reply.double(score);
        }
    };
    let width = if with_scores && !nested { 2 } else { 1 };
    if count < 0 {
        let mut draws = Draws::new(reply, count, width)?;
        while draws.is_next(reply)? {
            if let Some((member, score)) = zset.random(rng) {
                write(reply, member, score);
            }
        }
    } else {
        let count = (count as usize).min(zset.len());
        reply.array(count * width);
        zset.sample(count, rng, |member, score| write(reply, member, score));
    }
    Ok(())
}

const ZSCAN: DataCommand = DataCommand::new(
    Spec::new(
        "zscan",
        Group::SortedSet,
        "2.8.0",
        -3,
        "key cursor:int [ MATCH pattern:pattern ] [ COUNT count:int ] [ NOSCORES ]",
    )
    .flags(READONLY)
    .keys(&[KeySpec::one(1, READS)])
    .complexity("O(1) a call, O(N) for all members")
    .summary("Lists members of a sorted set, some at each call."),
    zscan,
);

fn zscan(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let cursor = cursor_argument(args, 2)?;
    // Options are not looked at when there is no such key.
    let Some(zset) = ctx.data.zset(args.at(1))? else {
        ctx.reply.array(2);
        write_cursor(ctx.reply, 0);
        ctx.reply.array(0);
        return Ok(());
    };
    let options = ScanOptions::parse(args, 3, &["NOSCORES"])?;
    // Text in both protocols, and of the large form with all digits: that is how ZSCAN has always
    // given scores.
    let push_score = if zset.is_packed() { num::push_f64_shortest } else { num::push_f64_17g };
    let mut found: Vec<(Vec<u8>, f64)> = Vec::new();
    let next = zset.scan(cursor, options.count, |member, score| {
        member.with_bytes(|bytes| {
            if options.matches(bytes) {
                found.push((bytes.to_vec(), score));
            }
        });
    });
    ctx.reply.array(2);
    write_cursor(ctx.reply, next);
    ctx.reply.array(found.len() * if options.names_only { 1 } else { 2 });
    for (member, score) in &found {
        ctx.reply.bulk(member);
        if !options.names_only {
            ctx.reply.bulk_with(|out| push_score(out, *score));
        }
    }
    Ok(())
}
