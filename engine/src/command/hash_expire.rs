//! Hash commands about the expiry of fields.
//!
//! Each answers a number for each field: -2 no such field, -1 no expiry, 0 a condition was not met, 1
//! done, 2 removed because the time has passed. Behaviour: valkey src/t_hash.c.

use crate::base::time::UnixMs;
use crate::value::IntText;
use crate::value::hash::{Hash, HashRef};

use super::effects::Classes;
use super::expire::{Conditions, Unit, absolute};
use super::spec::{FAST, Group, KeySpec, READONLY, READS, Spec, UPDATES, WRITE};
use super::{Args, CommandError, Context, Data, DataCommand, Outcome};

/// Every command of this file.
pub(super) const COMMANDS: &[DataCommand] =
    &[HEXPIRE, HPEXPIRE, HEXPIREAT, HPEXPIREAT, HTTL, HPTTL, HEXPIRETIME, HPEXPIRETIME, HPERSIST];

const NO_FIELD: i64 = -2;
const NO_EXPIRY: i64 = -1;
const NOT_MET: i64 = 0;
const DONE: i64 = 1;
const REMOVED: i64 = 2;

/// The number of fields is not the one that was said.
pub(super) const BAD_COUNT: CommandError =
    CommandError::text("ERR numfields should be greater than 0 and match the provided number of fields");

/// The fields behind `FIELDS count`, which end the arguments; the count is at `i`.
///
/// # Errors
/// `NotInteger`, or `mismatch` if there is another number of them, or none.
fn fields_argument(args: Args<'_>, i: usize, mismatch: CommandError) -> Result<&[&[u8]], CommandError> {
    let count = args.int(i)?;
    let fields = args.from(i + 1);
    if usize::try_from(count).is_ok_and(|n| n > 0 && n == fields.len()) { Ok(fields) } else { Err(mismatch) }
}

/// As `fields_argument`, for the commands that want `FIELDS` right behind the key.
pub(super) fn fields_after_key(args: Args<'_>, mismatch: CommandError) -> Result<&[&[u8]], CommandError> {
    if !args.is(2, "FIELDS") {
        return Err(CommandError::Syntax);
    }
    fields_argument(args, 3, mismatch)
}

macro_rules! expire_command {
    ($const:ident, $name:literal, $syntax:literal, $unit:expr, $summary:literal) => {
        const $const: DataCommand = DataCommand::new(
            Spec::new($name, Group::Hash, "7.4.0", -6, $syntax)
                .flags(WRITE.or(FAST))
                .keys(&[KeySpec::one(1, UPDATES)])
                .complexity("O(N) in the fields named")
                .summary($summary),
            |ctx, args| expire(ctx, args, $unit, $name),
        );
    };
}

expire_command!(
    HEXPIRE,
    "hexpire",
    "key seconds:int condition=[ NX | XX | GT | LT ] fields=< FIELDS: numfields:int field... >",
    Unit::Seconds,
    "Makes fields expire after some seconds."
);
expire_command!(
    HPEXPIRE,
    "hpexpire",
    "key milliseconds:int condition@9.0.0=[ NX | XX | GT | LT ] \
         fields=< FIELDS: numfields:int field... >",
    Unit::Milliseconds,
    "Makes fields expire after some milliseconds."
);
expire_command!(
    HEXPIREAT,
    "hexpireat",
    "key unix-time-seconds:unix-time condition@9.0.0=[ NX | XX | GT | LT ] \
         fields=< FIELDS: numfields:int field... >",
    Unit::UnixSeconds,
    "Makes fields expire at a Unix time in seconds."
);
expire_command!(
    HPEXPIREAT,
    "hpexpireat",
    "key unix-time-milliseconds:unix-time condition@9.0.0=[ NX | XX | GT | LT ] \
         fields=< FIELDS: numfields:int field... >",
    Unit::UnixMilliseconds,
    "Makes fields expire at a Unix time in milliseconds."
);

fn expire(ctx: &mut Context<'_>, args: Args<'_>, unit: Unit, name: &str) -> Outcome {
    let now = ctx.data.expiry_time();
    // Everything between the time and the word FIELDS is a condition.
    let word_at = (3..args.len() - 1).find(|i| args.is(*i, "FIELDS")).ok_or(BAD_COUNT)?;
    let conditions = Conditions::parse(args, 3..word_at)?;
    let fields = fields_argument(args, word_at + 1, BAD_COUNT)?;
    let amount = args.int(2)?;
    if amount < 0 {
        return Err(CommandError::InvalidExpire(name.to_owned()));
    }
    let at = absolute(amount, unit, ctx.data.now, name)?;
    let has_passed = ctx.data.has_passed(at);
    let key = args.at(1);
    let change = |hash: &mut Hash, field: &[u8]| {
        let Some(old) = hash.view().expiry(field, now) else { return NO_FIELD };
        if !conditions.allow(old, at) {
            return NOT_MET;
        }
        if has_passed {
            hash.remove(field, now);
            return REMOVED;
        }
        hash.set_expiry(field, Some(at), now);
        DONE
    };
    let answers = ctx
        .data
        .edit_hash(key, |hash, _| fields.iter().map(|field| change(hash, field)).collect::<Vec<i64>>())?;
    let answers = answers.unwrap_or_else(|| vec![NO_FIELD; fields.len()]);
    // All that changed has changed alike: the time is one for all fields.
    let changes = answers.iter().filter(|answer| **answer > NOT_MET).count() as u64;
    if has_passed {
        ctx.data.stats.expired_fields += changes;
        ctx.data.wrote_late(Classes::HASH, "hexpired", key, changes);
    } else {
        ctx.data.wrote_late(Classes::HASH, "hexpire", key, changes);
    }
    if changes > 0 {
        ctx.data.tell_if_gone(key);
        log_expiry(&mut ctx.data, args, at, fields, &answers);
    }
    reply_numbers(ctx, &answers);
    Ok(())
}

/// Logs fields that have got an expiry with the time itself, those that have gone as removed.
fn log_expiry(data: &mut Data<'_>, args: Args<'_>, at: UnixMs, fields: &[&[u8]], answers: &[i64]) {
    if !data.is_logging() {
        return;
    }
    let mut text = IntText::new();
    let mut words: Vec<&[u8]> = Vec::with_capacity(args.len());
    if data.has_passed(at) {
        words.extend([b"HDEL", args.at(1)]);
        let gone = fields.iter().zip(answers).filter(|(_, answer)| **answer == REMOVED);
        words.extend(gone.map(|(field, _)| *field));
    } else {
        words.extend([b"HPEXPIREAT", args.at(1), text.format(at.0)]);
        words.extend(args.from(3));
    }
    data.log_as(&words);
}

fn reply_numbers(ctx: &mut Context<'_>, answers: &[i64]) {
    ctx.reply.array(answers.len());
    for answer in answers {
        ctx.reply.int(*answer);
    }
}

macro_rules! ttl_command {
    ($const:ident, $name:literal, $unit:expr, $summary:literal) => {
        const $const: DataCommand = DataCommand::new(
            Spec::new($name, Group::Hash, "7.4.0", -5, "key fields=< FIELDS: numfields:int field... >")
                .flags(READONLY.or(FAST))
                .keys(&[KeySpec::one(1, READS)])
                .complexity("O(N) in the fields named")
                .summary($summary),
            |ctx, args| ttl(ctx, args, $unit),
        );
    };
}

ttl_command!(HTTL, "httl", Unit::Seconds, "Gives the seconds that fields have left.");
ttl_command!(HPTTL, "hpttl", Unit::Milliseconds, "Gives the milliseconds that fields have left.");
ttl_command!(
    HEXPIRETIME,
    "hexpiretime",
    Unit::UnixSeconds,
    "Gives the Unix times in seconds at which fields expire."
);
ttl_command!(
    HPEXPIRETIME,
    "hpexpiretime",
    Unit::UnixMilliseconds,
    "Gives the Unix times in milliseconds at which fields expire."
);

fn ttl(ctx: &mut Context<'_>, args: Args<'_>, unit: Unit) -> Outcome {
    let fields = fields_after_key(args, CommandError::Syntax)?;
    let (now, seen) = (ctx.data.now, ctx.data.expiry_time());
    let hash = ctx.data.hash(args.at(1))?;
    let answer = |hash: HashRef<'_>, field: &[u8]| match hash.expiry(field, seen) {
        None => NO_FIELD,
        Some(None) => NO_EXPIRY,
        Some(Some(at)) => remaining(at, now, unit),
    };
    let answers: Vec<i64> =
        fields.iter().map(|field| hash.map_or(NO_FIELD, |hash| answer(hash, field))).collect();
    reply_numbers(ctx, &answers);
    Ok(())
}

/// Seconds are rounded to the nearest, as those of keys.
fn remaining(at: UnixMs, now: UnixMs, unit: Unit) -> i64 {
    let left = at.0.saturating_sub(now.0).max(0);
    match unit {
        Unit::Seconds => left.saturating_add(500) / 1000,
        Unit::Milliseconds => left,
        Unit::UnixSeconds => at.0.saturating_add(500) / 1000,
        Unit::UnixMilliseconds => at.0,
    }
}

const HPERSIST: DataCommand = DataCommand::new(
    Spec::new("hpersist", Group::Hash, "7.4.0", -5, "key fields=< FIELDS: numfields:int field... >")
        .flags(WRITE.or(FAST))
        .keys(&[KeySpec::one(1, UPDATES)])
        .complexity("O(N) in the fields named")
        .summary("Makes fields stay for good."),
    hpersist,
);

fn hpersist(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let fields = fields_after_key(args, BAD_COUNT)?;
    let (now, key) = (ctx.data.expiry_time(), args.at(1));
    let change = |hash: &mut Hash, field: &[u8]| match hash.set_expiry(field, None, now) {
        None => NO_FIELD,
        Some(None) => NO_EXPIRY,
        Some(Some(_)) => DONE,
    };
    let answers = ctx
        .data
        .edit_hash(key, |hash, _| fields.iter().map(|field| change(hash, field)).collect::<Vec<i64>>())?;
    let answers = answers.unwrap_or_else(|| vec![NO_FIELD; fields.len()]);
    let changes = answers.iter().filter(|answer| **answer == DONE).count() as u64;
    ctx.data.wrote_late(Classes::HASH, "hpersist", key, changes);
    reply_numbers(ctx, &answers);
    Ok(())
}
