//! Commands about when a key expires.
//!
//! Behaviour: valkey src/expire.c. An expiry is kept as absolute Unix milliseconds, whatever form it
//! was given in.

use std::ops::Range;

use crate::base::time::UnixMs;
use crate::value::IntText;

use super::effects::Classes;
use super::spec::{FAST, Group, KeySpec, READONLY, READS, Spec, UPDATES, WRITE};
use super::{Args, CommandError, Context, DataCommand, Outcome};

/// Every command of this file.
pub(super) const COMMANDS: &[DataCommand] =
    &[EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT, TTL, PTTL, EXPIRETIME, PEXPIRETIME, PERSIST];

/// How a time is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// From now, in seconds.
    Seconds,
    /// From now, in milliseconds.
    Milliseconds,
    /// Unix time in seconds.
    UnixSeconds,
    /// Unix time in milliseconds.
    UnixMilliseconds,
}

impl Unit {
    /// The unit that an option word names: `EX`, `PX`, `EXAT`, `PXAT`.
    pub(super) fn from_option(args: Args<'_>, i: usize) -> Option<Unit> {
        const WORDS: [(&str, Unit); 4] = [
            ("EX", Unit::Seconds),
            ("PX", Unit::Milliseconds),
            ("EXAT", Unit::UnixSeconds),
            ("PXAT", Unit::UnixMilliseconds),
        ];
        WORDS.into_iter().find(|(word, _)| args.is(i, word)).map(|(_, unit)| unit)
    }
}

/// The absolute time that `amount` means.
///
/// # Errors
/// `InvalidExpire` with the command's name if it does not fit 63 bits of milliseconds.
pub(super) fn absolute(amount: i64, unit: Unit, now: UnixMs, name: &str) -> Result<UnixMs, CommandError> {
    let invalid = || CommandError::InvalidExpire(name.to_owned());
    let in_ms = match unit {
        Unit::Seconds | Unit::UnixSeconds => amount.checked_mul(1000).ok_or_else(invalid)?,
        Unit::Milliseconds | Unit::UnixMilliseconds => amount,
    };
    let at = match unit {
        Unit::Seconds | Unit::Milliseconds => in_ms.checked_add(now.0).ok_or_else(invalid)?,
        Unit::UnixSeconds | Unit::UnixMilliseconds => in_ms,
    };
    Ok(UnixMs(at))
}

macro_rules! expire_command {
    ($const:ident, $name:literal, $since:literal, $syntax:literal, $unit:expr, $summary:literal) => {
        const $const: DataCommand = DataCommand::new(
            Spec::new($name, Group::Generic, $since, -3, $syntax)
                .flags(WRITE.or(FAST))
                .keys(&[KeySpec::one(1, UPDATES)])
                .summary($summary),
            |ctx, args| expire(ctx, args, $unit, $name),
        );
    };
}

expire_command!(
    EXPIRE,
    "expire",
    "1.0.0",
    "key seconds:int condition@7.0.0=[ NX | XX | GT | LT ]",
    Unit::Seconds,
    "Makes a key expire after some seconds."
);
expire_command!(
    PEXPIRE,
    "pexpire",
    "2.6.0",
    "key milliseconds:int condition@7.0.0=[ NX | XX | GT | LT ]",
    Unit::Milliseconds,
    "Makes a key expire after some milliseconds."
);
expire_command!(
    EXPIREAT,
    "expireat",
    "1.2.0",
    "key unix-time-seconds:unix-time condition@7.0.0=[ NX | XX | GT | LT ]",
    Unit::UnixSeconds,
    "Makes a key expire at a Unix time in seconds."
);
expire_command!(
    PEXPIREAT,
    "pexpireat",
    "2.6.0",
    "key unix-time-milliseconds:unix-time condition@7.0.0=[ NX | XX | GT | LT ]",
    Unit::UnixMilliseconds,
    "Makes a key expire at a Unix time in milliseconds."
);

/// Which expiries an EXPIRE may replace.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Conditions {
    if_none: bool,
    if_any: bool,
    if_greater: bool,
    if_less: bool,
}

impl Conditions {
    /// Reads the conditions that these arguments are.
    ///
    /// # Errors
    /// That one is none, or that they exclude one another.
    pub(super) fn parse(args: Args<'_>, at: Range<usize>) -> Result<Conditions, CommandError> {
        let mut found = Conditions::default();
        for i in at {
            if args.is(i, "NX") {
                found.if_none = true;
            } else if args.is(i, "XX") {
                found.if_any = true;
            } else if args.is(i, "GT") {
                found.if_greater = true;
            } else if args.is(i, "LT") {
                found.if_less = true;
            } else {
                return Err(CommandError::naming("ERR Unsupported option ", args.at(i), ""));
            }
        }
        if found.if_none && (found.if_any || found.if_greater || found.if_less) {
            return Err(CommandError::text(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if found.if_greater && found.if_less {
            return Err(CommandError::text("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(found)
    }

    /// A key without expiry counts as one that expires last of all.
    pub(super) fn allow(self, old: Option<UnixMs>, new: UnixMs) -> bool {
        !(self.if_none && old.is_some()
            || self.if_any && old.is_none()
            || self.if_greater && old.is_none_or(|old| new <= old)
            || self.if_less && old.is_some_and(|old| new >= old))
    }
}

fn expire(ctx: &mut Context<'_>, args: Args<'_>, unit: Unit, name: &str) -> Outcome {
    let key = args.at(1);
    let conditions = Conditions::parse(args, 3..args.len())?;
    let at = absolute(args.int(2)?, unit, ctx.data.now, name)?.max(UnixMs(0));
    if ctx.data.peek(key).is_none() {
        ctx.reply.int(0);
        return Ok(());
    }
    if !conditions.allow(ctx.data.db_ref().expire_at(key), at) {
        ctx.data.is_in_the_way(key);
        ctx.reply.int(0);
        return Ok(());
    }
    if ctx.data.has_passed(at) {
        ctx.data.expire_at_once(key);
    } else {
        set_expiry(ctx, key, at, args.from(3));
    }
    ctx.reply.int(1);
    Ok(())
}

/// Gives a key that is there a time that has not passed; `conditions` are words to log with it.
pub(super) fn set_expiry(ctx: &mut Context<'_>, key: &[u8], at: UnixMs, conditions: &[&[u8]]) {
    ctx.data.db_mut().set_expire_at(key, Some(at));
    ctx.data.wrote(Classes::GENERIC, "expire", key);
    if ctx.data.is_logging() {
        let mut text = IntText::new();
        let mut words: Vec<&[u8]> = vec![b"PEXPIREAT", key, text.format(at.0)];
        words.extend_from_slice(conditions);
        ctx.data.log_as(&words);
    }
}

/// Takes its time from a key that is there. True if it had one.
pub(super) fn remove_expiry(ctx: &mut Context<'_>, key: &[u8]) -> bool {
    let had_one = ctx.data.db_ref().expire_at(key).is_some();
    if had_one {
        ctx.data.db_mut().set_expire_at(key, None);
        ctx.data.wrote(Classes::GENERIC, "persist", key);
    }
    had_one
}

macro_rules! ttl_command {
    ($const:ident, $name:literal, $since:literal, $unit:expr, $summary:literal) => {
        const $const: DataCommand = DataCommand::new(
            Spec::new($name, Group::Generic, $since, 2, "key")
                .flags(READONLY.or(FAST))
                .keys(&[KeySpec::one(1, READS)])
                .summary($summary),
            |ctx, args| ttl(ctx, args, $unit),
        );
    };
}

ttl_command!(TTL, "ttl", "1.0.0", Unit::Seconds, "Gives the seconds a key has left.");
ttl_command!(PTTL, "pttl", "2.6.0", Unit::Milliseconds, "Gives the milliseconds a key has left.");
ttl_command!(
    EXPIRETIME,
    "expiretime",
    "7.0.0",
    Unit::UnixSeconds,
    "Gives the Unix time in seconds at which a key expires."
);
ttl_command!(
    PEXPIRETIME,
    "pexpiretime",
    "7.0.0",
    Unit::UnixMilliseconds,
    "Gives the Unix time in milliseconds at which a key expires."
);

/// -2 for no key, -1 for no expiry; seconds are rounded to the nearest.
fn ttl(ctx: &mut Context<'_>, args: Args<'_>, unit: Unit) -> Outcome {
    let key = args.at(1);
    let answer = if ctx.data.look(key).is_none() {
        -2
    } else {
        match ctx.data.db_ref().expire_at(key) {
            None => -1,
            Some(at) => {
                let left = at.0.saturating_sub(ctx.data.now.0).max(0);
                match unit {
                    Unit::Seconds => left.saturating_add(500) / 1000,
                    Unit::Milliseconds => left,
                    Unit::UnixSeconds => at.0.saturating_add(500) / 1000,
                    Unit::UnixMilliseconds => at.0,
                }
            }
        }
    };
    ctx.reply.int(answer);
    Ok(())
}

const PERSIST: DataCommand = DataCommand::new(
    Spec::new("persist", Group::Generic, "2.2.0", 2, "key")
        .flags(WRITE.or(FAST))
        .keys(&[KeySpec::one(1, UPDATES)])
        .summary("Makes a key stay for good."),
    persist,
);

fn persist(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    let changed = ctx.data.is_in_the_way(key) && remove_expiry(ctx, key);
    ctx.reply.int(i64::from(changed));
    Ok(())
}
