//! OBJECT: what is known about a key besides its value.
//!
//! Behaviour: valkey src/object.c.

use super::help;
use super::spec::{Group, KeySpec, LOADING, LOOKS, READONLY, STALE, Spec};
use super::{Args, CommandError, Context, DataCommand, Outcome};

/// Every command of this file.
pub(super) const COMMANDS: &[DataCommand] = &[OBJECT];

const OBJECT: DataCommand = DataCommand::new(
    Spec::new("object", Group::Generic, "2.2.3", -2, "")
        .complexity("Depends on the subcommand.")
        .summary("Tells about a key besides its value."),
    |_, args| Err(help::unknown_subcommand(args)),
)
.with(&[
    DataCommand::new(
        about("encoding", "2.2.3").summary("Names the encoding of the value at a key."),
        encoding,
    ),
    DataCommand::new(about("freq", "4.0.0").summary("Gives how often a key is used, as a logarithm."), freq),
    DataCommand::new(
        about("idletime", "2.2.3").summary("Gives the seconds since a key was last used."),
        idletime,
    ),
    DataCommand::new(
        about("refcount", "2.2.3").summary("Gives how many references the value at a key has."),
        refcount,
    ),
    DataCommand::new(
        Spec::new("help", Group::Generic, "6.2.0", 2, "")
            .parent("object")
            .flags(LOADING.or(STALE))
            .summary("Lists the subcommands."),
        |ctx, _| {
            help::write(ctx.reply, &OBJECT);
            Ok(())
        },
    ),
]);

/// The key of every subcommand.
const KEY: &[KeySpec] = &[KeySpec::one(2, LOOKS)];

const fn about(name: &'static str, since: &'static str) -> Spec {
    Spec::new(name, Group::Generic, since, 3, "key").parent("object").flags(READONLY).keys(KEY)
}

fn encoding(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(2);
    let expires = ctx.data.db_ref().expire_at(key).is_some();
    match ctx.data.inspect(key) {
        Some(value) => ctx.reply.bulk(value.encoding_name(key.len(), expires).as_bytes()),
        None => ctx.reply.null(),
    }
    Ok(())
}

fn refcount(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    match ctx.data.inspect(args.at(2)) {
        // Values are owned by their key alone: nothing is shared, so nothing is counted.
        Some(_) => ctx.reply.int(1),
        None => ctx.reply.null(),
    }
    Ok(())
}

fn freq(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if ctx.data.inspect(args.at(2)).is_none() {
        ctx.reply.null();
        return Ok(());
    }
    let freq = ctx.data.db_ref().freq(args.at(2), ctx.data.now).ok_or(CommandError::text(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
         switching between policies at runtime LRU and LFU data will take some time to adjust.",
    ))?;
    ctx.reply.int(i64::from(freq));
    Ok(())
}

fn idletime(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if ctx.data.inspect(args.at(2)).is_none() {
        ctx.reply.null();
        return Ok(());
    }
    let idle = ctx.data.db_mut().idle_s(args.at(2)).ok_or(CommandError::text(
        "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching \
         between policies at runtime LRU and LFU data will take some time to adjust.",
    ))?;
    ctx.reply.int(idle as i64);
    Ok(())
}
