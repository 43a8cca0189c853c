//! Hash commands that read or set fields together with their expiry: HSETEX, HGETEX, HGETDEL.
//!
//! What hangs on the time or on what was there is logged as what it has done: HDEL, HPEXPIREAT,
//! HPERSIST, or HSETEX with the time itself and no condition. Behaviour: valkey src/t_hash.c.

use std::ops::Range;

use crate::base::time::UnixMs;
use crate::value::IntText;
use crate::value::hash::{FieldTtl, Hash, HashRef, Written};

use super::effects::Classes;
use super::expire::{Unit, absolute};
use super::hash::{tell_removed, tell_revived};
use super::hash_expire::{BAD_COUNT, fields_after_key};
use super::spec::{
    DENYOOM, FAST, Group, INSERTS, KeySpec, READS_AND_DELETES, READS_AND_UPDATES, Spec, WRITE,
};
use super::{Args, CommandError, Context, Data, DataCommand, Outcome, reply_element};

/// Every command of this file.
pub(super) const COMMANDS: &[DataCommand] = &[HSETEX, HGETEX, HGETDEL];

/// Which of the options a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    Set,
    Get,
}

/// What must be there, or must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    IfMissing,
    IfThere,
}

/// What becomes of the expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ttl<'a> {
    /// Nothing was said.
    Default,
    Keep,
    Persist,
    In(Unit, &'a [u8]),
}

/// The options before `FIELDS`.
#[derive(Debug, Clone, Copy)]
struct Options<'a> {
    key: Option<Condition>,
    fields: Option<Condition>,
    ttl: Ttl<'a>,
}

impl<'a> Options<'a> {
    /// Reads these arguments. A unit may come twice, and the last time counts.
    fn parse(args: Args<'a>, at: Range<usize>, command: For) -> Result<Options<'a>, CommandError> {
        let mut found = Options { key: None, fields: None, ttl: Ttl::Default };
        let end = at.end;
        let mut i = at.start;
        while i < end {
            let unit = Unit::from_option(args, i).filter(|_| i + 1 < end);
            let condition = |named: [&str; 2]| {
                let [missing, there] = named;
                if args.is(i, missing) {
                    Some(Condition::IfMissing)
                } else {
                    args.is(i, there).then_some(Condition::IfThere)
                }
            };
            let is_set = command == For::Set;
            if let Some(unit) = unit {
                match found.ttl {
                    Ttl::Default => {}
                    Ttl::In(before, _) if before == unit => {}
                    _ => return Err(CommandError::Syntax),
                }
                i += 1;
                found.ttl = Ttl::In(unit, args.at(i));
            } else if is_set && let Some(condition) = condition(["NX", "XX"]) {
                agree(&mut found.key, condition)?;
            } else if is_set && let Some(condition) = condition(["FNX", "FXX"]) {
                agree(&mut found.fields, condition)?;
            } else if is_set && args.is(i, "KEEPTTL") && matches!(found.ttl, Ttl::Default | Ttl::Keep) {
                found.ttl = Ttl::Keep;
            } else if !is_set && args.is(i, "PERSIST") && matches!(found.ttl, Ttl::Default | Ttl::Persist) {
                found.ttl = Ttl::Persist;
            } else {
                return Err(CommandError::Syntax);
            }
            i += 1;
        }
        Ok(found)
    }

    /// When the fields are to expire, if that was said.
    fn expire_at(&self, now: UnixMs, name: &str) -> Result<Option<UnixMs>, CommandError> {
        let Ttl::In(unit, amount) = self.ttl else { return Ok(None) };
        let amount = Args(&[amount]).int(0)?;
        if amount < 0 {
            return Err(CommandError::InvalidExpire(name.to_owned()));
        }
        absolute(amount, unit, now, name).map(Some)
    }
}

/// A condition may be said twice, but not together with its opposite.
fn agree(slot: &mut Option<Condition>, condition: Condition) -> Result<(), CommandError> {
    if slot.is_some_and(|before| before != condition) {
        return Err(CommandError::Syntax);
    }
    *slot = Some(condition);
    Ok(())
}

/// Where the word `FIELDS` is; it is looked for from the key on.
fn fields_word(args: Args<'_>) -> Result<usize, CommandError> {
    (1..args.len() - 1).find(|i| args.is(*i, "FIELDS")).ok_or(BAD_COUNT)
}

const HSETEX: DataCommand = DataCommand::new(
    Spec::new(
        "hsetex",
        Group::Hash,
        "8.0.0",
        -6,
        "key key-condition=[ NX | XX ] fields-condition=[ FNX | FXX ] expiration=[ EX seconds:int \
         | PX milliseconds:int | EXAT unix-time-seconds:unix-time \
         | PXAT unix-time-milliseconds:unix-time | KEEPTTL ] \
         fields=< FIELDS: numfields:int data=< field value >... >",
    )
    .flags(WRITE.or(DENYOOM).or(FAST))
    .keys(&[KeySpec::one(1, INSERTS)])
    .complexity("O(N) in the fields set")
    .summary("Sets fields of a hash and their expiry."),
    hsetex,
);

fn hsetex(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (now, key) = (ctx.data.expiry_time(), args.at(1));
    let word_at = fields_word(args)?;
    let options = Options::parse(args, 2..word_at, For::Set)?;
    let count = args.int(word_at + 1)?;
    let pairs = args.from(word_at + 2);
    if count < 1 || count.checked_mul(2) != i64::try_from(pairs.len()).ok() {
        return Err(BAD_COUNT);
    }
    let is_there = ctx.data.hash(key)?.is_some();
    if options.key.is_some_and(|condition| is_there != (condition == Condition::IfThere)) {
        ctx.reply.int(0);
        return Ok(());
    }
    let expire_at = options.expire_at(ctx.data.now, "hsetex")?;
    if let Some(condition) = options.fields {
        let hash = ctx.data.hash(key)?;
        let has = |field: &[u8]| hash.is_some_and(|hash| hash.contains(field, now));
        if pairs.chunks_exact(2).any(|pair| has(pair[0]) != (condition == Condition::IfThere)) {
            ctx.reply.int(0);
            return Ok(());
        }
    }
    match expire_at {
        Some(at) if ctx.data.has_passed(at) => set_expired(&mut ctx.data, key, pairs, is_there)?,
        _ => set_with_expiry(&mut ctx.data, args, word_at, options, expire_at)?,
    }
    ctx.reply.int(1);
    Ok(())
}

/// Fields that are set with a time that has passed: what is there of them goes.
fn set_expired(data: &mut Data<'_>, key: &[u8], pairs: &[&[u8]], is_there: bool) -> Outcome {
    let mut gone: Vec<&[u8]> = vec![b"HDEL", key];
    data.edit_hash(key, |hash, _| {
        let fields = pairs.chunks_exact(2).map(|pair| pair[0]);
        gone.extend(fields.filter(|field| hash.discard(field)));
    })?;
    let removed = gone.len() - 2;
    data.stats.expired_fields += (pairs.len() / 2) as u64;
    if !is_there {
        data.event(Classes::NEW, "new", key);
    }
    if removed > 0 {
        data.dirty += removed as u64;
        data.changed(key);
        data.log_as(&gone);
    }
    data.event(Classes::HASH, "hset", key);
    data.event(Classes::HASH, "hexpire", key);
    data.event(Classes::HASH, "hexpired", key);
    data.tell_if_gone(key);
    Ok(())
}

fn set_with_expiry(
    data: &mut Data<'_>,
    args: Args<'_>,
    word_at: usize,
    options: Options<'_>,
    expire_at: Option<UnixMs>,
) -> Outcome {
    let (now, key, pairs) = (data.expiry_time(), args.at(1), args.from(word_at + 2));
    let ttl = match (options.ttl, expire_at) {
        (Ttl::Keep, _) => FieldTtl::Keep,
        (_, Some(at)) => FieldTtl::At(at),
        _ => FieldTtl::Clear,
    };
    let mut revived: Vec<&[u8]> = vec![b"HDEL", key];
    data.upsert_hash(
        key,
        |_| Hash::new(),
        |hash, limits| {
            for pair in pairs.chunks_exact(2) {
                if hash.set_with(pair[0], pair[1], ttl, now, limits) == Written::Revived {
                    revived.push(pair[0]);
                }
            }
        },
    )?;
    let changes = (pairs.len() / 2) as u64;
    let revivals = revived.len() - 2;
    tell_revived(data, key, revivals as u64);
    data.wrote_many(Classes::HASH, "hset", key, changes);
    if expire_at.is_some() {
        data.event(Classes::HASH, "hexpire", key);
    }
    let is_kept = ttl == FieldTtl::Keep;
    let is_plain = options.key.is_none()
        && options.fields.is_none()
        && !(is_kept && revivals > 0)
        && !matches!(options.ttl, Ttl::In(unit, _) if unit != Unit::UnixMilliseconds);
    if is_plain || !data.is_logging() {
        return Ok(());
    }
    if is_kept && revivals > 0 {
        // A copy would keep the expiry of a field that it still sees.
        data.log_as(&revived);
    }
    let mut text = IntText::new();
    let mut words: Vec<&[u8]> = vec![b"HSETEX", key];
    match expire_at {
        Some(at) => words.extend([b"PXAT", text.format(at.0)]),
        None if is_kept => words.push(b"KEEPTTL"),
        None => {}
    }
    words.extend(args.from(word_at));
    data.log_as(&words);
    Ok(())
}

const HGETEX: DataCommand = DataCommand::new(
    Spec::new(
        "hgetex",
        Group::Hash,
        "8.0.0",
        -5,
        "key expiration=[ EX seconds:int | PX milliseconds:int | EXAT unix-time-seconds:unix-time \
         | PXAT unix-time-milliseconds:unix-time | PERSIST ] \
         fields=< FIELDS: numfields:int field... >",
    )
    .flags(WRITE.or(FAST))
    .keys(&[KeySpec::one(1, READS_AND_UPDATES)])
    .complexity("O(N) in the fields asked for")
    .summary("Gives the values of fields, and sets or removes their expiry."),
    hgetex,
);

/// What HGETEX does to each field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Nothing,
    Remove,
    Expire(UnixMs),
    Persist,
}

impl Change {
    /// Does it; answers whether the field has changed.
    fn apply(self, hash: &mut Hash, field: &[u8], now: UnixMs) -> bool {
        match self {
            Change::Nothing => false,
            Change::Remove => hash.remove(field, now),
            Change::Expire(at) => hash.set_expiry(field, Some(at), now).is_some(),
            Change::Persist => matches!(hash.set_expiry(field, None, now), Some(Some(_))),
        }
    }
}

fn hgetex(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (now, key) = (ctx.data.expiry_time(), args.at(1));
    let word_at = fields_word(args)?;
    let options = Options::parse(args, 2..word_at, For::Get)?;
    let count = args.int(word_at + 1)?;
    let fields = args.from(word_at + 2);
    if !usize::try_from(count).is_ok_and(|count| count > 0 && count == fields.len()) {
        return Err(BAD_COUNT);
    }
    ctx.data.counts_reads = true;
    let is_there = ctx.data.hash(key)?.is_some();
    let change = match (options.ttl, options.expire_at(ctx.data.now, "hgetex")?) {
        (Ttl::Persist, _) => Change::Persist,
        (_, Some(at)) if ctx.data.has_passed(at) => Change::Remove,
        (_, Some(at)) => Change::Expire(at),
        _ => Change::Nothing,
    };
    ctx.reply.array(fields.len());
    if !is_there {
        fields.iter().for_each(|_| ctx.reply.null());
        return Ok(());
    }
    ctx.data.counts_reads = false;
    let reply = &mut *ctx.reply;
    let mut write = |hash: HashRef<'_>, field: &[u8]| match hash.get(field, now) {
        Some(value) => reply_element(reply, value),
        None => reply.null(),
    };
    if change == Change::Nothing {
        if let Some(hash) = ctx.data.hash(key)? {
            fields.iter().for_each(|field| write(hash, field));
        }
        return Ok(());
    }
    let mut changed: Vec<&[u8]> = Vec::with_capacity(fields.len());
    ctx.data.edit_hash(key, |hash, _| {
        for field in fields {
            write(hash.view(), field);
            if change.apply(hash, field, now) {
                changed.push(field);
            }
        }
    })?;
    if !changed.is_empty() {
        tell_got(&mut ctx.data, key, change, &changed);
    }
    Ok(())
}

/// Tells what HGETEX has done to these fields.
fn tell_got(data: &mut Data<'_>, key: &[u8], change: Change, fields: &[&[u8]]) {
    let changes = fields.len() as u64;
    let event = match change {
        Change::Remove => {
            data.stats.expired_fields += changes;
            "hexpired"
        }
        Change::Expire(_) => "hexpire",
        Change::Persist | Change::Nothing => "hpersist",
    };
    data.wrote_late(Classes::HASH, event, key, changes);
    data.tell_if_gone(key);
    if !data.is_logging() {
        return;
    }
    let (mut at_text, mut count_text) = (IntText::new(), IntText::new());
    let count = count_text.format(fields.len() as i64);
    let mut words: Vec<&[u8]> = match change {
        Change::Remove => vec![b"HDEL", key],
        Change::Expire(at) => vec![b"HPEXPIREAT", key, at_text.format(at.0), b"FIELDS", count],
        Change::Persist | Change::Nothing => vec![b"HPERSIST", key, b"FIELDS", count],
    };
    words.extend(fields);
    data.log_as(&words);
}

const HGETDEL: DataCommand = DataCommand::new(
    Spec::new("hgetdel", Group::Hash, "8.0.0", -5, "key fields=< FIELDS: numfields:int field... >")
        .flags(WRITE.or(FAST))
        .keys(&[KeySpec::one(1, READS_AND_DELETES)])
        .complexity("O(N) in the fields asked for")
        .summary("Gives the values of fields and removes them."),
    |ctx, args| {
        let (now, key) = (ctx.data.expiry_time(), args.at(1));
        let fields = fields_after_key(args, BAD_COUNT)?;
        let is_there = ctx.data.hash(key)?.is_some();
        ctx.reply.array(fields.len());
        if !is_there {
            fields.iter().for_each(|_| ctx.reply.null());
            return Ok(());
        }
        let reply = &mut *ctx.reply;
        let removed = ctx.data.edit_hash(key, |hash, _| {
            let mut removed = 0;
            for field in fields {
                match hash.view().get(field, now) {
                    Some(value) => reply_element(reply, value),
                    None => reply.null(),
                }
                removed += u64::from(hash.remove(field, now));
            }
            removed
        })?;
        tell_removed(&mut ctx.data, key, removed.unwrap_or(0));
        Ok(())
    },
);
