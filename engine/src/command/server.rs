//! Commands on whole databases.
//!
//! Behaviour: valkey src/db.c.

use super::spec::{FAST, Group, READONLY, Spec, WRITE};
use super::{Args, CommandError, Context, DataCommand, Outcome};

/// Every command of this file.
pub(super) const COMMANDS: &[DataCommand] = &[DBSIZE, FLUSHALL, FLUSHDB, SWAPDB];

const DBSIZE: DataCommand = DataCommand::new(
    Spec::new("dbsize", Group::Server, "1.0.0", 1, "")
        .flags(READONLY.or(FAST))
        .categories(&["keyspace"])
        .summary("Counts the keys of the database."),
    |ctx, _| {
        ctx.reply.int(ctx.data.db_ref().len() as i64);
        Ok(())
    },
);

const FLUSHALL: DataCommand = DataCommand::new(
    Spec::new("flushall", Group::Server, "1.0.0", -1, "flush-type=[ ASYNC@4.0.0 | SYNC@6.2.0 ]")
        .flags(WRITE)
        .categories(&["keyspace", "dangerous"])
        .complexity("O(N) in the number of keys")
        .summary("Removes every key of every database."),
    |ctx, args| {
        let lazily = is_lazy_flush(ctx, args)?;
        let mut removed = 0;
        for db in 0..ctx.data.keyspace.len() {
            removed += ctx.data.keyspace.empty(db, lazily);
            ctx.data.effects.flushed(db);
        }
        // A flush counts as a change even of nothing, so that the next save rule is due.
        ctx.data.dirty += (removed as u64).max(1);
        ctx.data.log_as(args.0);
        ctx.reply.ok();
        Ok(())
    },
);

const FLUSHDB: DataCommand = DataCommand::new(
    Spec::new("flushdb", Group::Server, "1.0.0", -1, "flush-type=[ ASYNC@4.0.0 | SYNC@6.2.0 ]")
        .flags(WRITE)
        .categories(&["keyspace", "dangerous"])
        .complexity("O(N) in the number of keys")
        .summary("Removes every key of the database."),
    |ctx, args| {
        let lazily = is_lazy_flush(ctx, args)?;
        let removed = ctx.data.keyspace.empty(ctx.data.db, lazily);
        ctx.data.effects.flushed(ctx.data.db);
        ctx.data.dirty += removed as u64;
        // Logged even if there was nothing: a copy may have what is not here.
        ctx.data.log_as(args.0);
        ctx.reply.ok();
        Ok(())
    },
);

/// Whether a flush leaves the dropping to another thread: as it says, else as the configuration says.
fn is_lazy_flush(ctx: &Context<'_>, args: Args<'_>) -> Result<bool, CommandError> {
    match args.len() {
        1 => Ok(ctx.data.db_ref().laziness().user_flush),
        2 if args.is(1, "ASYNC") => Ok(true),
        2 if args.is(1, "SYNC") => Ok(false),
        _ => Err(CommandError::Syntax),
    }
}

const SWAPDB: DataCommand = DataCommand::new(
    Spec::new("swapdb", Group::Server, "4.0.0", 3, "index1:int index2:int")
        .flags(WRITE.or(FAST))
        .categories(&["keyspace", "dangerous"])
        .summary("Exchanges two databases."),
    swapdb,
);

fn swapdb(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let index = |i, which| {
        args.int32(i).map_err(|_| CommandError::Text(format!("ERR invalid {which} DB index").into()))
    };
    let (a, b) = (index(1, "first")?, index(2, "second")?);
    let in_range = |i: i32| {
        usize::try_from(i)
            .ok()
            .filter(|i| *i < ctx.data.keyspace.len())
            .ok_or(CommandError::DbIndexOutOfRange)
    };
    let (a, b) = (in_range(a)?, in_range(b)?);
    if a != b {
        ctx.data.keyspace.swap(a, b);
        ctx.data.effects.swapped(a, b);
    }
    ctx.data.dirty += 1;
    ctx.reply.ok();
    Ok(())
}
