//! SLOWLOG and COMMANDLOG: the commands that took long, came large, or answered at length.
//!
//! Behaviour: valkey src/commandlog.c.

use cairn_engine::codec::resp::Reply;
use cairn_engine::command::spec::{ADMIN, Flags, Group, LOADING, STALE, Spec};
use cairn_engine::command::{Args, CommandError, help};

use super::{SessionCommand, SessionFn};
use crate::observe::commandlog::{CommandLog, LogKind};

/// Every command of this file.
pub(super) const COMMANDS: &[SessionCommand] = &[SLOWLOG, COMMANDLOG];

/// Entries that SLOWLOG GET answers without a count.
const DEFAULT_COUNT: usize = 10;

const BAD_COUNT: CommandError = CommandError::text("ERR count should be greater than or equal to -1");

const SLOWLOG: SessionCommand = SessionCommand::new(
    Spec::new("slowlog", Group::Server, "2.2.12", -2, "")
        .complexity("Depends on the subcommand")
        .summary("The log of commands that took long."),
    |_, args| Err(help::unknown_subcommand(args)),
)
.with(&[
    sub("slowlog", "get", "2.2.12", -2, "[ count:int ]", LOG, "Answers the newest entries.", |call, args| {
        if args.len() > 3 {
            return Err(help::bad_subcommand_arguments(args));
        }
        let count = if args.len() == 3 { Some(count(args, 2)?) } else { None };
        let log = call.server.observer.log(LogKind::Slow);
        write_entries(call.reply, log, count.unwrap_or(DEFAULT_COUNT));
        Ok(())
    })
    .complexity("O(N) in the number of entries answered"),
    sub("slowlog", "help", "6.2.0", 2, "", OPEN, "Prints this help.", |call, _| {
        help::write(call.reply, &SLOWLOG);
        Ok(())
    }),
    sub("slowlog", "len", "2.2.12", 2, "", LOG, "Answers the number of entries.", |call, _| {
        call.reply.int(call.server.observer.log(LogKind::Slow).len() as i64);
        Ok(())
    }),
    sub("slowlog", "reset", "2.2.12", 2, "", LOG, "Forgets the entries.", |call, _| {
        call.server.observer.log(LogKind::Slow).reset();
        call.reply.ok();
        Ok(())
    })
    .complexity("O(N) in the number of entries"),
]);

const COMMANDLOG: SessionCommand = SessionCommand::new(
    Spec::new("commandlog", Group::Server, "8.1.0", -2, "")
        .complexity("Depends on the subcommand")
        .summary("The logs of commands that took long, came large, or answered at length."),
    |_, args| Err(help::unknown_subcommand(args)),
)
.with(&[
    sub(
        "commandlog",
        "get",
        "8.1.0",
        4,
        "count:int type=< SLOW | LARGE-REQUEST | LARGE-REPLY >",
        LOG,
        "Answers the newest entries of a log, all of them for -1.",
        |call, args| {
            let count = count(args, 2)?;
            let kind = kind(args, 3)?;
            write_entries(call.reply, call.server.observer.log(kind), count);
            Ok(())
        },
    )
    .complexity("O(N) in the number of entries answered"),
    sub("commandlog", "help", "8.1.0", 2, "", OPEN, "Prints this help.", |call, _| {
        help::write(call.reply, &COMMANDLOG);
        Ok(())
    }),
    sub(
        "commandlog",
        "len",
        "8.1.0",
        3,
        TYPE,
        LOG,
        "Answers the number of a log's entries.",
        |call, args| {
            let kind = kind(args, 2)?;
            call.reply.int(call.server.observer.log(kind).len() as i64);
            Ok(())
        },
    ),
    sub("commandlog", "reset", "8.1.0", 3, TYPE, LOG, "Forgets the entries of a log.", |call, args| {
        let kind = kind(args, 2)?;
        call.server.observer.log(kind).reset();
        call.reply.ok();
        Ok(())
    })
    .complexity("O(N) in the number of entries"),
]);

const LOG: Flags = ADMIN.or(LOADING).or(STALE);
const OPEN: Flags = LOADING.or(STALE);
const TYPE: &str = "type=< SLOW | LARGE-REQUEST | LARGE-REPLY >";

#[expect(clippy::too_many_arguments, reason = "the facts of a row")]
const fn sub(
    parent: &'static str,
    name: &'static str,
    since: &'static str,
    arity: i32,
    syntax: &'static str,
    flags: Flags,
    summary: &'static str,
    run: SessionFn,
) -> SessionCommand {
    let spec = Spec::new(name, Group::Server, since, arity, syntax).parent(parent);
    SessionCommand::new(spec.flags(flags).summary(summary), run)
}

/// A number of entries; -1 for all.
fn count(args: Args<'_>, at: usize) -> Result<usize, CommandError> {
    match args.int(at) {
        Ok(-1) => Ok(usize::MAX),
        Ok(count) => usize::try_from(count).map_err(|_| BAD_COUNT),
        Err(_) => Err(BAD_COUNT),
    }
}

fn kind(args: Args<'_>, at: usize) -> Result<LogKind, CommandError> {
    let text = "ERR type should be one of the following: slow, large-request, large-reply";
    LogKind::parse(args.at(at)).ok_or(CommandError::text(text))
}

fn write_entries(reply: &mut Reply, log: &CommandLog, count: usize) {
    reply.array(log.len().min(count));
    for entry in log.entries().take(count) {
        reply.array(6);
        reply.uint(entry.id);
        reply.int(entry.time);
        reply.uint(entry.value);
        reply.array(entry.args.len());
        for arg in &entry.args {
            reply.bulk(arg);
        }
        reply.bulk(entry.addr.as_bytes());
        reply.bulk(&entry.name);
    }
}
