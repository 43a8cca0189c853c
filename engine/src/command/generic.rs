//! Commands on keys of any type: presence, removal, names, copies, listings.
//!
//! Behaviour: valkey src/db.c.

use crate::base::glob;
use crate::keyspace::EntryRef;
use crate::keyspace::lazy::removal;
use crate::transcode::dump;
use crate::value::{IntText, ValueRef};

use super::effects::Classes;
use super::scan::{ScanOptions, cursor_argument, write_cursor};
use super::spec::{
    DENYOOM, FAST, FILLS, Group, KeySpec, LOOKS, OVERWRITES, READONLY, READS, READS_AND_DELETES,
    READS_AND_UPDATES, REMOVES, Spec, WRITE,
};
use super::{Args, CommandError, Context, DataCommand, Outcome};
use crate::base::time::UnixMs;

/// Every command of this file.
pub(super) const COMMANDS: &[DataCommand] =
    &[DEL, UNLINK, EXISTS, TYPE, RENAME, RENAMENX, COPY, MOVE, KEYS, RANDOMKEY, TOUCH, SCAN, DUMP, RESTORE];

const DEL: DataCommand = DataCommand::new(
    Spec::new("del", Group::Generic, "1.0.0", -2, "key...")
        .flags(WRITE)
        .keys(&[KeySpec::rest(1, 1, REMOVES)])
        .complexity("O(N) in the number of keys, and for each the elements of its value")
        .summary("Removes keys."),
    del,
);

const UNLINK: DataCommand = DataCommand::new(
    Spec::new("unlink", Group::Generic, "4.0.0", -2, "key...")
        .flags(WRITE.or(FAST))
        .keys(&[KeySpec::rest(1, 1, REMOVES)])
        .complexity("O(N) in the number of keys, and for each the elements of its value")
        .summary("Removes keys, and drops big values in the background."),
    |ctx, args| remove_keys(ctx, args, true),
);

fn del(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let lazily = ctx.data.db_ref().laziness().user_del;
    remove_keys(ctx, args, lazily)
}

fn remove_keys(ctx: &mut Context<'_>, args: Args<'_>, lazily: bool) -> Outcome {
    let mut removed = 0;
    for key in args.from(1) {
        if ctx.data.delete(key, lazily) {
            ctx.data.wrote(Classes::GENERIC, "del", key);
            removed += 1;
        }
    }
    ctx.reply.int(removed);
    Ok(())
}

const EXISTS: DataCommand = DataCommand::new(
    Spec::new("exists", Group::Generic, "1.0.0", -2, "key...")
        .flags(READONLY.or(FAST))
        .keys(&[KeySpec::rest(1, 1, LOOKS)])
        .complexity("O(N) in the number of keys")
        .summary("Counts those of the named keys that are there."),
    exists,
);

const TOUCH: DataCommand = DataCommand::new(
    Spec::new("touch", Group::Generic, "3.2.1", -2, "key...")
        .flags(READONLY.or(FAST))
        .keys(&[KeySpec::rest(1, 1, LOOKS)])
        .complexity("O(N) in the number of keys")
        .summary("Marks keys as just used; counts those that are there."),
    |ctx, args| {
        // Asked for in so many words, so CLIENT NO-TOUCH does not prevent it.
        ctx.data.is_no_touch = false;
        let found = args.from(1).iter().filter(|key| ctx.data.view(key).is_some()).count();
        ctx.reply.int(found as i64);
        Ok(())
    },
);

fn exists(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let found = args.from(1).iter().filter(|key| ctx.data.look(key).is_some()).count();
    ctx.reply.int(found as i64);
    Ok(())
}

const TYPE: DataCommand = DataCommand::new(
    Spec::new("type", Group::Generic, "1.0.0", 2, "key")
        .flags(READONLY.or(FAST))
        .keys(&[KeySpec::one(1, LOOKS)])
        .summary("Names the type of the value at a key."),
    type_of,
);

fn type_of(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let name = ctx.data.look(args.at(1)).map_or("none", ValueRef::type_name);
    ctx.reply.simple(name);
    Ok(())
}

const RENAME: DataCommand = DataCommand::new(
    Spec::new("rename", Group::Generic, "1.0.0", 3, "key newkey")
        .flags(WRITE)
        .keys(&[KeySpec::one(1, READS_AND_DELETES), KeySpec::one(2, OVERWRITES)])
        .summary("Gives a key another name, in place of what had it."),
    rename,
);

fn rename(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (from, to) = (args.at(1), args.at(2));
    if ctx.data.peek(from).is_none() {
        return Err(CommandError::NoSuchKey);
    }
    if from != to {
        rename_key(ctx, from, to);
    }
    ctx.reply.ok();
    Ok(())
}

fn rename_key(ctx: &mut Context<'_>, from: &[u8], to: &[u8]) {
    ctx.data.drop_if_expired(to);
    ctx.data.db_mut().rename(from, to);
    // What had the name before is gone for good, so the name is new even then.
    ctx.data.event(Classes::NEW, "new", to);
    ctx.data.changed(from);
    ctx.data.changed(to);
    ctx.data.event(Classes::GENERIC, "rename_from", from);
    ctx.data.event(Classes::GENERIC, "rename_to", to);
    ctx.data.dirty += 1;
}

const RENAMENX: DataCommand = DataCommand::new(
    Spec::new("renamenx", Group::Generic, "1.0.0", 3, "key newkey")
        .flags(WRITE.or(FAST))
        .keys(&[KeySpec::one(1, READS_AND_DELETES), KeySpec::one(2, FILLS)])
        .summary("Gives a key another name if nothing has it."),
    renamenx,
);

fn renamenx(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (from, to) = (args.at(1), args.at(2));
    if ctx.data.peek(from).is_none() {
        return Err(CommandError::NoSuchKey);
    }
    let free = ctx.data.peek(to).is_none();
    if free {
        rename_key(ctx, from, to);
    }
    ctx.reply.int(i64::from(free));
    Ok(())
}

const COPY: DataCommand = DataCommand::new(
    Spec::new(
        "copy",
        Group::Generic,
        "6.2.0",
        -3,
        "source:key destination:key [ DB destination-db:int ] [ REPLACE ]",
    )
    .flags(WRITE.or(DENYOOM))
    .keys(&[KeySpec::one(1, READS), KeySpec::one(2, OVERWRITES)])
    .complexity("O(N) in the size of the value")
    .summary("Copies the value of a key to another key."),
    copy,
);

/// A database index among the arguments.
fn db_argument(ctx: &Context<'_>, args: Args<'_>, i: usize) -> Result<usize, CommandError> {
    let db = args.int32(i)?;
    usize::try_from(db).ok().filter(|db| *db < ctx.data.keyspace.len()).ok_or(CommandError::DbIndexOutOfRange)
}

fn copy(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (from, to) = (args.at(1), args.at(2));
    let (mut db, mut replace) = (ctx.data.db, false);
    let mut i = 3;
    while i < args.len() {
        if args.is(i, "REPLACE") {
            replace = true;
        } else if args.is(i, "DB") && i + 1 < args.len() {
            db = db_argument(ctx, args, i + 1)?;
            i += 1;
        } else {
            return Err(CommandError::Syntax);
        }
        i += 1;
    }
    if db == ctx.data.db && from == to {
        return Err(CommandError::text("ERR source and destination objects are the same"));
    }
    let copied = copy_key(ctx, from, db, to, replace);
    if copied {
        ctx.data.effects.event(db, Classes::NEW, "new", to);
        ctx.data.effects.changed(db, to);
        ctx.data.effects.event(db, Classes::GENERIC, "copy_to", to);
        ctx.data.dirty += 1;
    }
    ctx.reply.int(i64::from(copied));
    Ok(())
}

fn copy_key(ctx: &mut Context<'_>, from: &[u8], to_db: usize, to: &[u8], replace: bool) -> bool {
    ctx.data.counts_reads = true;
    if ctx.data.view(from).is_none() {
        return false;
    }
    ctx.data.drop_if_expired_in(to_db, to);
    if !replace && ctx.data.keyspace.db(to_db).contains(to) {
        return false;
    }
    let source = ctx.data.db_ref();
    let expire_at = source.expire_at(from);
    let Some(value) = source.get(from).map(ValueRef::to_owned) else { return false };
    ctx.data.keyspace.db_mut(to_db).set(to, value, expire_at);
    true
}

const MOVE: DataCommand = DataCommand::new(
    Spec::new("move", Group::Generic, "1.0.0", 3, "key db:int")
        .flags(WRITE.or(FAST))
        .keys(&[KeySpec::one(1, READS_AND_UPDATES)])
        .summary("Moves a key to another database."),
    move_key,
);

fn move_key(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    let db = db_argument(ctx, args, 2)?;
    if db == ctx.data.db {
        return Err(CommandError::text("ERR source and destination objects are the same"));
    }
    let found = ctx.data.peek(key).is_some();
    ctx.data.drop_if_expired_in(db, key);
    let movable = found && !ctx.data.keyspace.db(db).contains(key);
    if movable {
        let expire_at = ctx.data.db_ref().expire_at(key);
        if let Some(value) = ctx.data.db_mut().take(key) {
            ctx.data.keyspace.db_mut(db).set(key, value, expire_at);
        }
        ctx.data.effects.event(db, Classes::NEW, "new", key);
        ctx.data.changed(key);
        ctx.data.effects.changed(db, key);
        ctx.data.event(Classes::GENERIC, "move_from", key);
        ctx.data.effects.event(db, Classes::GENERIC, "move_to", key);
        ctx.data.dirty += 1;
    }
    ctx.reply.int(i64::from(movable));
    Ok(())
}

const KEYS: DataCommand = DataCommand::new(
    Spec::new("keys", Group::Generic, "1.0.0", 2, "pattern:pattern")
        .flags(READONLY)
        .categories(&["dangerous"])
        .complexity("O(N) in the number of keys")
        .summary("Lists the keys whose names match a glob."),
    keys,
);

fn keys(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (pattern, now) = (args.at(1), ctx.data.expiry_time());
    let all = pattern == b"*";
    let matching = ctx
        .data
        .db_ref()
        .iter()
        .filter(|entry| !entry.is_expired(now))
        .filter(|entry| all || glob::matches(pattern, entry.key(), false))
        .map(EntryRef::key);
    let deferred = ctx.reply.begin_array();
    let mut count = 0;
    for key in matching {
        ctx.reply.bulk(key);
        count += 1;
        if ctx.reply.is_over_limit() {
            break;
        }
    }
    ctx.reply.end_array(deferred, count);
    Ok(())
}

const RANDOMKEY: DataCommand = DataCommand::new(
    Spec::new("randomkey", Group::Generic, "1.0.0", 1, "").flags(READONLY).summary("Names any key."),
    randomkey,
);

fn randomkey(ctx: &mut Context<'_>, _args: Args<'_>) -> Outcome {
    // A database full of expired keys must not hold the caller: after some draws any name will do.
    const DRAWS: usize = 100;
    let now = ctx.data.expiry_time();
    for draw in 0..=DRAWS {
        let Some(entry) = ctx.data.keyspace.db(ctx.data.db).random(ctx.rng) else { break };
        if draw == DRAWS || !entry.is_expired(now) {
            ctx.reply.bulk(entry.key());
            return Ok(());
        }
        let key = entry.key().to_vec();
        ctx.data.drop_if_expired(&key);
    }
    ctx.reply.null();
    Ok(())
}

const SCAN: DataCommand = DataCommand::new(
    Spec::new(
        "scan",
        Group::Generic,
        "2.8.0",
        -2,
        "cursor:int [ MATCH pattern:pattern ] [ COUNT count:int ] [ TYPE type@6.0.0 ]",
    )
    .flags(READONLY)
    .complexity("O(1) a call, O(N) for all keys")
    .summary("Lists keys, some at each call."),
    scan,
);

fn scan(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let cursor = cursor_argument(args, 1)?;
    let options = ScanOptions::parse(args, 2, &["TYPE"])?;
    let now = ctx.data.expiry_time();
    let type_name = options.type_name;
    let (mut found, mut expired): (Vec<Vec<u8>>, Vec<Vec<u8>>) = Default::default();
    let next = ctx.data.db_ref().scan(cursor, options.count, |entry| {
        let of_type =
            || type_name.is_none_or(|name| entry.view().type_name().as_bytes().eq_ignore_ascii_case(name));
        if options.matches(entry.key()) && of_type() {
            let list = if entry.is_expired(now) { &mut expired } else { &mut found };
            list.push(entry.key().to_vec());
        }
    });
    for key in &expired {
        ctx.data.drop_if_expired(key);
    }
    ctx.reply.array(2);
    write_cursor(ctx.reply, next);
    ctx.reply.array(found.len());
    for key in &found {
        ctx.reply.bulk(key);
    }
    Ok(())
}

const DUMP: DataCommand = DataCommand::new(
    Spec::new("dump", Group::Generic, "2.6.0", 2, "key")
        .flags(READONLY)
        .keys(&[KeySpec::one(1, READS)])
        .complexity("O(N) in the size of the value")
        .summary("Gives the value of a key as RESTORE takes it."),
    dump_key,
);

fn dump_key(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    match ctx.data.view(args.at(1)) {
        Some(value) => ctx.reply.bulk(&dump::dump(value)),
        None => ctx.reply.null(),
    }
    Ok(())
}

const RESTORE: DataCommand = DataCommand::new(
    Spec::new(
        "restore",
        Group::Generic,
        "2.6.0",
        -4,
        "key ttl:int serialized-value [ REPLACE@3.0.0 ] [ ABSTTL@5.0.0 ] \
         [ IDLETIME seconds:int@5.0.0 ] [ FREQ frequency:int@5.0.0 ]",
    )
    .flags(WRITE.or(DENYOOM))
    .keys(&[KeySpec::one(1, OVERWRITES)])
    .categories(&["dangerous"])
    .complexity("O(N) in the size of the value")
    .summary("Makes a key from what DUMP gave."),
    restore,
);

#[derive(Default)]
struct RestoreOptions {
    replace: bool,
    absolute: bool,
    idle_s: Option<u64>,
    freq: Option<u8>,
}

impl RestoreOptions {
    fn parse(args: Args<'_>) -> Result<RestoreOptions, CommandError> {
        let mut options = RestoreOptions::default();
        let mut i = 4;
        while i < args.len() {
            let has_value = i + 1 < args.len();
            if args.is(i, "REPLACE") {
                options.replace = true;
            } else if args.is(i, "ABSTTL") {
                options.absolute = true;
            } else if args.is(i, "IDLETIME") && has_value && options.freq.is_none() {
                let idle = u64::try_from(args.int(i + 1)?);
                options.idle_s =
                    Some(idle.map_err(|_| CommandError::text("ERR Invalid IDLETIME value, must be >= 0"))?);
                i += 1;
            } else if args.is(i, "FREQ") && has_value && options.idle_s.is_none() {
                let freq = u8::try_from(args.int(i + 1)?);
                options.freq =
                    Some(freq.map_err(|_| {
                        CommandError::text("ERR Invalid FREQ value, must be >= 0 and <= 255")
                    })?);
                i += 1;
            } else {
                return Err(CommandError::Syntax);
            }
            i += 1;
        }
        Ok(options)
    }
}

fn restore(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    let options = RestoreOptions::parse(args)?;
    if !options.replace && ctx.data.peek(key).is_some() {
        return Err(CommandError::text("BUSYKEY Target key name already exists."));
    }
    let ttl = args.int(2)?;
    if ttl < 0 {
        return Err(CommandError::text("ERR Invalid TTL value, must be >= 0"));
    }
    let payload = args.at(3);
    let value = dump::restore(payload, ctx.data.limits).map_err(|e| match e {
        dump::RestoreError::Footer => CommandError::text("ERR DUMP payload version or checksum are wrong"),
        dump::RestoreError::Content(_) => CommandError::text("ERR Bad data format"),
    })?;
    let now = ctx.data.now;
    let expire_at = match ttl {
        0 => None,
        ttl if options.absolute => Some(UnixMs(ttl)),
        // Wraps as in Valkey: a time beyond all times has passed.
        ttl => Some(UnixMs(ttl.wrapping_add(now.0))),
    };
    let was_there = ctx.data.remove(key);
    if expire_at.is_some_and(|at| ctx.data.has_passed(at)) {
        if was_there {
            ctx.data.wrote(Classes::GENERIC, "del", key);
            let is_lazy = ctx.data.db_ref().laziness().server_del;
            ctx.data.log_as(&[removal(is_lazy), key]);
        }
        ctx.reply.ok();
        return Ok(());
    }
    ctx.data.set(key, value, expire_at);
    ctx.data.db_mut().restore_clock(key, options.idle_s, options.freq);
    ctx.data.wrote(Classes::GENERIC, "restore", key);
    if ctx.data.is_logging() {
        let relative = expire_at.filter(|_| !options.absolute);
        // Who replays the log may take only what is usual.
        let usual = (!dump::has_plain_footer(payload)).then(|| ctx.data.peek(key).map(dump::dump)).flatten();
        log_restore(ctx, args, relative, usual.as_deref());
    }
    ctx.reply.ok();
    Ok(())
}

/// Logs a RESTORE, with an absolute time in the place of its relative one and with another payload, where
/// there are.
fn log_restore(ctx: &mut Context<'_>, args: Args<'_>, expire_at: Option<UnixMs>, payload: Option<&[u8]>) {
    if expire_at.is_none() && payload.is_none() {
        return;
    }
    let mut text = IntText::new();
    let mut words = args.0.to_vec();
    if let Some(at) = expire_at {
        words[2] = text.format(at.0);
        words.push(b"ABSTTL");
    }
    if let Some(payload) = payload {
        words[3] = payload;
    }
    ctx.data.log_as(&words);
}
