//! SAVE, BGSAVE, BGREWRITEAOF, LASTSAVE, SHUTDOWN.
//!
//! Behaviour: valkey src/rdb.c `bgsaveCommand`, src/aof.c `bgrewriteaofCommand`, src/db.c `shutdownCommand`.

use cairn_engine::command::spec::{
    ADMIN, ALLOW_BUSY, FAST, Group, LOADING, NO_ASYNC_LOADING, NO_MULTI, NOSCRIPT, STALE, Spec,
};
use cairn_engine::command::{Args, CommandError, Outcome};

use super::wait::block;
use super::{Call, SessionCommand};
use crate::blocked::TimeoutReply;
use crate::config::kind::ShutdownHow;

/// Every command of this file.
pub(super) const COMMANDS: &[SessionCommand] = &[SAVE, BGSAVE, BGREWRITEAOF, LASTSAVE, SHUTDOWN];

const IN_PROGRESS: CommandError = CommandError::text("ERR Background save already in progress");

const OTHER_CHILD: CommandError = CommandError::text(
    "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to schedule a \
     BGSAVE whenever possible.",
);

/// A rewrite has begun.
pub(crate) const REWRITE_STARTED: &str = "Background append only file rewriting started";
/// It could not.
pub(crate) const REWRITE_FAILED: &str =
    "ERR Can't execute an AOF background rewriting. Please check the server logs for more information.";

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
    Spec::new("bgsave", Group::Server, "1.0.0", -1, "operation=[ SCHEDULE@3.2.2 | CANCEL@8.1.0 ]")
        .flags(NO_ASYNC_LOADING.or(ADMIN).or(NOSCRIPT))
        .summary("Saves the data set in a child process."),
    bgsave,
);

fn bgsave(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    let server = &mut *call.server;
    if args.len() == 2 && args.is(1, "CANCEL") {
        if server.is_saving() {
            server.log.notice(format_args!("Background saving will be aborted due to user request"));
            server.cancel_save();
            call.reply.simple("Background saving cancelled");
        } else if std::mem::take(&mut server.children.is_save_scheduled) {
            let text = "Scheduled background saving will be cancelled due to user request";
            server.log.notice(format_args!("{text}"));
            call.reply.simple("Scheduled background saving cancelled");
        } else {
            let text = "ERR Background saving is currently not in progress or scheduled";
            return Err(CommandError::text(text));
        }
        return Ok(());
    }
    let schedules = args.len() == 2 && args.is(1, "SCHEDULE");
    if args.len() > 2 || (args.len() == 2 && !schedules) {
        return Err(CommandError::Syntax);
    }
    if server.is_saving() {
        return Err(IN_PROGRESS);
    }
    let is_in_transaction = !call.may_wait;
    if server.has_child() || is_in_transaction {
        if !schedules && !is_in_transaction {
            return Err(OTHER_CHILD);
        }
        server.children.is_save_scheduled = true;
        let when = if schedules { "due to user request" } else { "to run after transaction execution" };
        server.log.notice(format_args!("Background saving scheduled {when}"));
        call.reply.simple("Background saving scheduled");
        return Ok(());
    }
    server.start_save().map_err(|error| CommandError::Text(format!("ERR {error}").into()))?;
    call.reply.simple("Background saving started");
    Ok(())
}

const BGREWRITEAOF: SessionCommand = SessionCommand::new(
    Spec::new("bgrewriteaof", Group::Server, "1.0.0", 1, "")
        .flags(NO_ASYNC_LOADING.or(ADMIN).or(NOSCRIPT))
        .summary("Rewrites the append-only file in a child process, as short as it can be."),
    bgrewriteaof,
);

fn bgrewriteaof(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    let server = &mut *call.server;
    if server.is_rewriting() {
        let text = "ERR Background append only file rewriting already in progress";
        return Err(CommandError::text(text));
    }
    if server.has_child() || !call.may_wait {
        server.schedule_rewrite();
        server.log.notice(format_args!("Background append only file rewriting scheduled."));
        call.reply.simple("Background append only file rewriting scheduled");
        return Ok(());
    }
    if !server.start_rewrite() {
        return Err(CommandError::text(REWRITE_FAILED));
    }
    if server.is_rewrite_begun() {
        call.reply.simple(REWRITE_STARTED);
        return Ok(());
    }
    // The files have to be made ready first, for which nobody else waits.
    server.aof.has_rewrite_waiters = true;
    block(call, args, None, TimeoutReply::Rewrite)
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
        "abort-selector=[ save-selector-block=< save-selector=[ NOSAVE | SAVE ] [ NOW@7.0.0 ] \
         [ FORCE@7.0.0 ] [ SAFE@9.0.0 ] [ FAILOVER@9.0.0 ] > | ABORT@7.0.0 ]",
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
    let scripting = &call.server.scripting;
    if let Some(error) = scripting.busy_error().filter(|_| scripting.is_busy() && !how.nosave) {
        return Err(CommandError::text(error));
    }
    if call.server.shut_down(how) {
        return Ok(());
    }
    Err(CommandError::text("ERR Errors trying to SHUTDOWN. Check logs."))
}
