//! SAVE, BGSAVE, LASTSAVE, SHUTDOWN.
//!
//! Behaviour: valkey src/rdb.c `bgsaveCommand`, src/db.c `shutdownCommand`.

use cairn_engine::command::spec::{
    ADMIN, ALLOW_BUSY, FAST, Group, LOADING, NO_ASYNC_LOADING, NO_MULTI, NOSCRIPT, STALE, Spec,
};
use cairn_engine::command::{Args, CommandError, Outcome};

use super::{Call, SessionCommand};
use crate::config::kind::ShutdownHow;

/// Every command of this file.
pub(super) const COMMANDS: &[SessionCommand] = &[SAVE, BGSAVE, LASTSAVE, SHUTDOWN];

const IN_PROGRESS: CommandError = CommandError::text("ERR Background save already in progress");

const SAVE: SessionCommand = SessionCommand::new(
    Spec::new("save", Group::Server, "1.0.0", 1, "")
        .flags(NO_ASYNC_LOADING.or(ADMIN).or(NOSCRIPT).or(NO_MULTI))
        .complexity("O(N) in the number of keys")
        .summary("Saves the data set; nothing else is done meanwhile."),
    |call, _| {
        if call.server.is_saving() {
            return Err(IN_PROGRESS);
        }
        let saved = call.server.save_now();
        saved.map_err(|error| CommandError::Text(format!("ERR {error}").into()))?;
        call.reply.ok();
        Ok(())
    },
);

const BGSAVE: SessionCommand = SessionCommand::new(
    Spec::new("bgsave", Group::Server, "1.0.0", -1, "[ SCHEDULE | CANCEL ]")
        .flags(NO_ASYNC_LOADING.or(ADMIN).or(NOSCRIPT))
        .summary("Saves the data set in a child process."),
    bgsave,
);

fn bgsave(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    let server = &mut *call.server;
    if args.len() == 2 && args.is(1, "CANCEL") {
        if !server.cancel_save() {
            let text = "ERR Background saving is currently not in progress or scheduled";
            return Err(CommandError::text(text));
        }
        server.log.notice(format_args!("Background saving cancelled by a client"));
        call.reply.simple("Background saving cancelled");
        return Ok(());
    }
    // Another kind of child than a saving one, for which a save would be put off, there is none.
    if args.len() > 2 || (args.len() == 2 && !args.is(1, "SCHEDULE")) {
        return Err(CommandError::Syntax);
    }
    if server.is_saving() {
        return Err(IN_PROGRESS);
    }
    server.start_save().map_err(|error| CommandError::Text(format!("ERR {error}").into()))?;
    call.reply.simple("Background saving started");
    Ok(())
}

const LASTSAVE: SessionCommand = SessionCommand::new(
    Spec::new("lastsave", Group::Server, "1.0.0", 1, "")
        .flags(LOADING.or(STALE).or(FAST))
        .categories(&["admin", "dangerous"])
        .summary("Answers when the data set was last saved, in seconds since 1970."),
    |call, _| {
        let engine = call.server.engine.as_ref();
        call.reply.int(engine.map_or(0, |engine| engine.snapshot_stats().last_save.secs()));
        Ok(())
    },
);

const SHUTDOWN: SessionCommand = SessionCommand::new(
    Spec::new(
        "shutdown",
        Group::Server,
        "1.0.0",
        -1,
        "[ NOSAVE | SAVE ] [ NOW ] [ FORCE ] [ SAFE ] [ FAILOVER ] [ ABORT ]",
    )
    .flags(ADMIN.or(NOSCRIPT).or(LOADING).or(STALE).or(NO_MULTI).or(ALLOW_BUSY))
    .complexity("O(N) in the number of keys if it saves")
    .summary("Saves if there are save rules, and ends the server."),
    shutdown,
);

fn shutdown(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    let mut how = ShutdownHow::default();
    let mut abort = false;
    for i in 1..args.len() {
        match args.at(i).to_ascii_lowercase().as_slice() {
            b"nosave" => how.nosave = true,
            b"save" => how.save = true,
            b"now" => how.now = true,
            b"force" => how.force = true,
            b"safe" => how.safe = true,
            b"failover" => how.failover = true,
            b"abort" => abort = true,
            _ => return Err(CommandError::Syntax),
        }
    }
    if (abort && args.len() > 2) || (how.save && how.nosave) {
        return Err(CommandError::Syntax);
    }
    if how.failover {
        return Err(CommandError::text("ERR SHUTDOWN FAILOVER is only supported in cluster mode."));
    }
    if abort {
        if call.server.abort_shutdown() {
            call.reply.ok();
            return Ok(());
        }
        return Err(CommandError::text("ERR No shutdown in progress."));
    }
    if call.server.shut_down(how) {
        return Ok(());
    }
    Err(CommandError::text("ERR Errors trying to SHUTDOWN. Check logs."))
}
