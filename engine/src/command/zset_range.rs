//! Sorted set commands on ranges: by rank, by score, by member bytes.
//!
//! Every range becomes a range of ranks first, so giving, counting, storing and removing are the same
//! for all three. Behaviour: valkey src/t_zset.c.

use std::ops::Range;

use crate::base::num;
use crate::codec::resp::{Protocol, Reply};
use crate::value::zset::{LexBound, LexRange, ScoreBound, ScoreRange, Zset, ZsetBuilder, ZsetRef};
use crate::value::{Element, Value};

use super::effects::Classes;
use super::spec::{DELETES, DENYOOM, FAST, Group, KeySpec, OVERWRITES, READONLY, READS, Spec, WRITE};
use super::{Args, CommandError, Context, Data, DataCommand, Outcome, reply_element};

/// Every command of this file.
pub(super) const COMMANDS: &[DataCommand] = &[
    ZRANGE,
    ZREVRANGE,
    ZRANGEBYSCORE,
    ZREVRANGEBYSCORE,
    ZRANGEBYLEX,
    ZREVRANGEBYLEX,
    ZRANGESTORE,
    ZCOUNT,
    ZLEXCOUNT,
    ZREMRANGEBYRANK,
    ZREMRANGEBYSCORE,
    ZREMRANGEBYLEX,
];

/// What the two limits of a range are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// A range as its arguments say it, low end first.
#[derive(Debug, Clone, Copy)]
enum Limits<'a> {
    Rank(i64, i64),
    Score(ScoreRange),
    Lex(LexRange<'a>),
}

impl<'a> Limits<'a> {
    /// Reads the limits at `i` and `i + 1`; the high end comes first if `reversed` and not by rank.
    fn parse(args: Args<'a>, i: usize, by: By, reversed: bool) -> Result<Limits<'a>, CommandError> {
        let (low, high) = if reversed && by != By::Rank { (i + 1, i) } else { (i, i + 1) };
        Ok(match by {
            By::Rank => Limits::Rank(args.int(low)?, args.int(high)?),
            By::Score => {
                let bound = |i| score_bound(args.at(i)).ok_or(CommandError::MinMaxNotFloat);
                Limits::Score(ScoreRange { min: bound(low)?, max: bound(high)? })
            }
            By::Lex => {
                let bound = |i| lex_bound(args.at(i)).ok_or(CommandError::MinMaxNotLex);
                Limits::Lex(LexRange { min: bound(low)?, max: bound(high)? })
            }
        })
    }

    /// The ranks, counted from the lowest score, that are meant; by rank they count from the highest
    /// if `reversed`.
    fn ranks(self, zset: ZsetRef<'_>, reversed: bool) -> Range<u64> {
        match self {
            Limits::Rank(start, stop) => {
                let len = zset.len();
                let range = crate::value::list::index_range(len, start, stop);
                let range = if reversed { len - range.end..len - range.start } else { range };
                range.start as u64..range.end as u64
            }
            Limits::Score(range) => zset.score_ranks(&range),
            Limits::Lex(range) => zset.lex_ranks(&range),
        }
    }
}

fn score_bound(text: &[u8]) -> Option<ScoreBound> {
    match text.strip_prefix(b"(") {
        Some(text) => bound_value(text).map(ScoreBound::Exclusive),
        None => bound_value(text).map(ScoreBound::Inclusive),
    }
}

/// Limits are read more liberally than scores: nothing at all is 0, what is too large is infinite.
fn bound_value(text: &[u8]) -> Option<f64> {
    if text.is_empty() {
        return Some(0.0);
    }
    let out_of_range = || {
        let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
        let is_number = matches!(digits, [b'0'..=b'9' | b'.', ..]);
        is_number.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()
    };
    num::parse_f64(text).or_else(out_of_range)
}

fn lex_bound(text: &[u8]) -> Option<LexBound<'_>> {
    match text {
        b"-" => Some(LexBound::Min),
        b"+" => Some(LexBound::Max),
        [b'(', rest @ ..] => Some(LexBound::Exclusive(rest)),
        [b'[', rest @ ..] => Some(LexBound::Inclusive(rest)),
        _ => None,
    }
}

/// The count of a LIMIT that leaves all.
const NO_COUNT: i64 = -1;

/// What comes after the limits.
#[derive(Debug, Clone, Copy)]
struct Options {
    by: By,
    reversed: bool,
    with_scores: bool,
    /// Offset and count; a negative count means all.
    limit: Option<(i64, i64)>,
}

impl Options {
    /// Reads the options from `i` on; a command that is one kind of range takes only those that fit.
    fn parse(
        args: Args<'_>,
        mut i: usize,
        fixed: Option<(By, bool)>,
        gives: bool,
    ) -> Result<Options, CommandError> {
        let (by, reversed) = fixed.unwrap_or((By::Rank, false));
        let mut options = Options { by, reversed, with_scores: false, limit: None };
        let (mut may_choose, mut may_reverse) = (fixed.is_none(), fixed.is_none());
        while i < args.len() {
            if gives && args.is(i, "WITHSCORES") {
                options.with_scores = true;
            } else if args.is(i, "LIMIT") && i + 2 < args.len() {
                options.limit = Some((args.int(i + 1)?, args.int(i + 2)?));
                i += 2;
            } else if may_choose && args.is(i, "BYSCORE") {
                (options.by, may_choose) = (By::Score, false);
            } else if may_choose && args.is(i, "BYLEX") {
                (options.by, may_choose) = (By::Lex, false);
            } else if may_reverse && args.is(i, "REV") {
                (options.reversed, may_reverse) = (true, false);
            } else {
                return Err(CommandError::Syntax);
            }
            i += 1;
        }
        if options.by == By::Rank
            && let Some((_, count)) = options.limit.take()
            && count != NO_COUNT
        {
            return Err(CommandError::text(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if options.with_scores && options.by == By::Lex {
            return Err(CommandError::text(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        Ok(options)
    }

    /// The part of a range that LIMIT leaves.
    fn limited(self, zset: ZsetRef<'_>, ranks: Range<u64>) -> Range<u64> {
        let Some((offset, count)) = self.limit else { return ranks };
        let len = ranks.end - ranks.start;
        let skipped = match u64::try_from(offset) {
            Ok(offset) => offset.min(len),
            // An offset below zero counts from the far end, but only in Valkey's large form.
            Err(_) if zset.is_packed() => len,
            Err(_) => len.checked_sub(offset.unsigned_abs()).unwrap_or(len),
        };
        let taken = u64::try_from(count).unwrap_or(u64::MAX).min(len - skipped);
        if self.reversed {
            let end = ranks.end - skipped;
            end - taken..end
        } else {
            let start = ranks.start + skipped;
            start..start + taken
        }
    }
}

macro_rules! range_command {
    ($const:ident, $name:literal, $since:literal, $syntax:literal, $fixed:expr, $summary:literal) => {
        const $const: DataCommand = DataCommand::new(
            Spec::new($name, Group::SortedSet, $since, -4, $syntax)
                .flags(READONLY)
                .keys(&[KeySpec::one(1, READS)])
                .complexity("O(log N + M), M members given of N")
                .summary($summary),
            |ctx, args| {
                let options = Options::parse(args, 4, $fixed, true)?;
                give(ctx, args, options)
            },
        );
    };
}

range_command!(
    ZRANGE,
    "zrange",
    "1.2.0",
    "key start stop sortby@6.2.0=[ BYSCORE | BYLEX ] [ REV@6.2.0 ] \
         limit@6.2.0=[ LIMIT: offset:int count:int ] [ WITHSCORES ]",
    None,
    "Gives a range of members."
);
range_command!(
    ZREVRANGE,
    "zrevrange",
    "1.2.0",
    "key start:int stop:int [ WITHSCORES ]",
    Some((By::Rank, true)),
    "Gives a range of members by rank, the highest score first."
);
range_command!(
    ZRANGEBYSCORE,
    "zrangebyscore",
    "1.0.5",
    "key min:double max:double [ WITHSCORES@2.0.0 ] limit=[ LIMIT: offset:int count:int ]",
    Some((By::Score, false)),
    "Gives the members with scores in a range."
);
range_command!(
    ZREVRANGEBYSCORE,
    "zrevrangebyscore",
    "2.2.0",
    "key max:double min:double [ WITHSCORES ] limit=[ LIMIT: offset:int count:int ]",
    Some((By::Score, true)),
    "Gives the members with scores in a range, the highest score first."
);
range_command!(
    ZRANGEBYLEX,
    "zrangebylex",
    "2.8.9",
    "key min max limit=[ LIMIT: offset:int count:int ]",
    Some((By::Lex, false)),
    "Gives the members in a range of bytes, if all scores are the same."
);
range_command!(
    ZREVRANGEBYLEX,
    "zrevrangebylex",
    "2.8.9",
    "key max min limit=[ LIMIT: offset:int count:int ]",
    Some((By::Lex, true)),
    "Gives the members in a range of bytes, the last first, if all scores are the same."
);

fn give(ctx: &mut Context<'_>, args: Args<'_>, options: Options) -> Outcome {
    let limits = Limits::parse(args, 2, options.by, options.reversed)?;
    let Some(zset) = ctx.data.zset(args.at(1))? else {
        ctx.reply.array(0);
        return Ok(());
    };
    let ranks = options.limited(zset, limits.ranks(zset, options.reversed));
    let count = (ranks.end - ranks.start) as usize;
    let nested = options.with_scores && ctx.reply.protocol() == Protocol::Resp3;
    ctx.reply.array(if options.with_scores && !nested { count * 2 } else { count });
    let write = |reply: &mut Reply, (member, score)| {
        if nested {
            reply.array(2);
        }
        reply_element(reply, member);
        if options.with_scores {
            reply.double(score);
        }
    };
    let members = zset.range(ranks);
    if options.reversed {
        members.rev().for_each(|pair| write(ctx.reply, pair));
    } else {
        members.for_each(|pair| write(ctx.reply, pair));
    }
    Ok(())
}

const ZRANGESTORE: DataCommand = DataCommand::new(
    Spec::new(
        "zrangestore",
        Group::SortedSet,
        "6.2.0",
        -5,
        "dst:key src:key min max sortby=[ BYSCORE | BYLEX ] [ REV ] \
         limit=[ LIMIT: offset:int count:int ]",
    )
    .flags(WRITE.or(DENYOOM))
    .keys(&[KeySpec::one(1, OVERWRITES), KeySpec::one(2, READS)])
    .complexity("O(log N + M), M members stored of N")
    .summary("Stores a range of members in another key."),
    zrangestore,
);

fn zrangestore(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let options = Options::parse(args, 5, None, false)?;
    let limits = Limits::parse(args, 3, options.by, options.reversed)?;
    let (destination, source) = (args.at(1), args.at(2));
    ctx.data.counts_reads = true;
    let value_limits = ctx.data.limits;
    let mut stored = ZsetBuilder::new(value_limits);
    let mut count = 0;
    if let Some(zset) = ctx.data.zset(source)? {
        let ranks = options.limited(zset, limits.ranks(zset, options.reversed));
        let most = value_limits.zset_max_listpack_entries as u64;
        // Valkey begins with the small form, where -0 becomes 0, unless it knows that it will not do.
        let mut is_small = options.by != By::Rank || ranks.end - ranks.start <= most;
        let mut push = |(member, score): (Element<'_>, f64)| {
            member.with_bytes(|bytes| {
                is_small &= count < most && bytes.len() <= value_limits.zset_max_listpack_value;
                let score = if is_small { score + 0.0 } else { score };
                stored.push(bytes, score).expect("members of a sorted set are distinct");
            });
            count += 1;
        };
        let members = zset.range(ranks);
        if options.reversed {
            members.rev().for_each(&mut push);
        } else {
            members.for_each(&mut push);
        }
    }
    let zset = stored.finish(value_limits).expect("members of a sorted set are distinct");
    store(&mut ctx.data, destination, zset, "zrangestore", 1);
    ctx.reply.int(count as i64);
    Ok(())
}

/// Puts a result in a key in place of what was there, which counts as so many changes; an empty one
/// takes the key away.
pub(super) fn store(data: &mut Data<'_>, destination: &[u8], zset: Zset, event: &'static str, changes: u64) {
    if !zset.is_empty() {
        data.drop_if_expired(destination);
        data.set(destination, Value::Zset(zset), None);
        data.wrote_many(Classes::ZSET, event, destination, changes);
    } else if data.remove(destination) {
        data.wrote(Classes::GENERIC, "del", destination);
    }
}

macro_rules! count_command {
    ($const:ident, $name:literal, $since:literal, $syntax:literal, $by:expr, $summary:literal) => {
        const $const: DataCommand = DataCommand::new(
            Spec::new($name, Group::SortedSet, $since, 4, $syntax)
                .flags(READONLY.or(FAST))
                .keys(&[KeySpec::one(1, READS)])
                .complexity("O(log N) in the members of the set")
                .summary($summary),
            |ctx, args| {
                let limits = Limits::parse(args, 2, $by, false)?;
                let ranks = ctx.data.zset(args.at(1))?.map_or(0..0, |zset| limits.ranks(zset, false));
                ctx.reply.int((ranks.end - ranks.start) as i64);
                Ok(())
            },
        );
    };
}

count_command!(
    ZCOUNT,
    "zcount",
    "2.0.0",
    "key min:double max:double",
    By::Score,
    "Counts the members with scores in a range."
);
count_command!(
    ZLEXCOUNT,
    "zlexcount",
    "2.8.9",
    "key min max",
    By::Lex,
    "Counts the members in a range of bytes, if all scores are the same."
);

macro_rules! remove_command {
    ($const:ident, $name:literal, $since:literal, $syntax:literal, $by:expr, $summary:literal) => {
        const $const: DataCommand = DataCommand::new(
            Spec::new($name, Group::SortedSet, $since, 4, $syntax)
                .flags(WRITE)
                .keys(&[KeySpec::one(1, DELETES)])
                .complexity("O(log N + M), M members removed of N")
                .summary($summary),
            |ctx, args| {
                let limits = Limits::parse(args, 2, $by, false)?;
                let removed = ctx.data.edit_zset(args.at(1), |zset, _| {
                    let ranks = limits.ranks(zset.view(), false);
                    zset.remove_ranks(ranks)
                })?;
                let removed = removed.unwrap_or(0);
                if removed > 0 {
                    ctx.data.wrote_many(Classes::ZSET, $name, args.at(1), removed);
                    ctx.data.tell_if_gone(args.at(1));
                }
                ctx.reply.int(removed as i64);
                Ok(())
            },
        );
    };
}

remove_command!(
    ZREMRANGEBYRANK,
    "zremrangebyrank",
    "2.0.0",
    "key start:int stop:int",
    By::Rank,
    "Removes the members in a range of ranks."
);
remove_command!(
    ZREMRANGEBYSCORE,
    "zremrangebyscore",
    "1.2.0",
    "key min:double max:double",
    By::Score,
    "Removes the members with scores in a range."
);
remove_command!(
    ZREMRANGEBYLEX,
    "zremrangebylex",
    "2.8.9",
    "key min max",
    By::Lex,
    "Removes the members in a range of bytes, if all scores are the same."
);
