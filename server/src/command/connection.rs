//! Small commands of a connection: PING, ECHO, QUIT, SELECT, TIME, ROLE, READONLY, READWRITE.
//!
//! Behaviour: valkey src/server.c, src/db.c.

use std::time::{SystemTime, UNIX_EPOCH};

use cairn_engine::command::spec::{ALLOW_BUSY, FAST, Group, LOADING, NO_AUTH, NOSCRIPT, STALE, Spec};
use cairn_engine::command::{Args, CommandError, Outcome};

use super::{Call, SessionCommand};
use crate::clients::Closing;

/// Every command of this file.
pub(super) const COMMANDS: &[SessionCommand] = &[PING, ECHO, QUIT, SELECT, TIME, ROLE, READONLY, READWRITE];

const PING: SessionCommand = SessionCommand::new(
    Spec::new("ping", Group::Connection, "1.0.0", -1, "[ message ]")
        .flags(FAST)
        .summary("Answers PONG, or the message."),
    |call, args| {
        let is_in_channel = call.session().is_subscriber && !call.reply.is_resp3();
        match args.get(1) {
            message if is_in_channel && args.len() <= 2 => {
                call.reply.array(2);
                call.reply.bulk(b"pong");
                call.reply.bulk(message.unwrap_or_default());
            }
            None => call.reply.simple("PONG"),
            Some(message) if args.len() == 2 => call.reply.bulk(message),
            Some(_) => return Err(CommandError::Arity("ping".into())),
        }
        Ok(())
    },
);

const READONLY: SessionCommand = SessionCommand::new(
    Spec::new("readonly", Group::Cluster, "3.0.0", 1, "")
        .flags(FAST.or(LOADING).or(STALE))
        .categories(&["connection"])
        .summary("Says that a replica may answer the connection's reads."),
    |call, _| read_only(call, true),
);

const READWRITE: SessionCommand = SessionCommand::new(
    Spec::new("readwrite", Group::Cluster, "3.0.0", 1, "")
        .flags(FAST.or(LOADING).or(STALE))
        .categories(&["connection"])
        .summary("Takes READONLY back."),
    |call, _| read_only(call, false),
);

/// Without a cluster this is a flag that CLIENT LIST shows, no more.
fn read_only(call: &mut Call<'_>, is_read_only: bool) -> Outcome {
    call.session().is_read_only = is_read_only;
    call.reply.ok();
    Ok(())
}

const ECHO: SessionCommand = SessionCommand::new(
    Spec::new("echo", Group::Connection, "1.0.0", 2, "message")
        .flags(FAST.or(LOADING).or(STALE))
        .summary("Answers the message."),
    |call, args| {
        call.reply.bulk(args.at(1));
        Ok(())
    },
);

const QUIT: SessionCommand = SessionCommand::new(
    Spec::new("quit", Group::Connection, "1.0.0", -1, "")
        .flags(ALLOW_BUSY.or(NOSCRIPT).or(LOADING).or(STALE).or(FAST).or(NO_AUTH))
        .summary("Ends the connection."),
    |call, _| {
        call.reply.ok();
        call.client().close(Closing::AfterReplies);
        Ok(())
    },
);

const SELECT: SessionCommand = SessionCommand::new(
    Spec::new("select", Group::Connection, "1.0.0", 2, "index:int")
        .flags(LOADING.or(STALE).or(FAST).or(ALLOW_BUSY))
        .summary("Chooses the database that the following commands work on."),
    |call, args| {
        let databases = call.server.config.databases;
        let index = i64::from(args.int32(1)?);
        if !(0..databases).contains(&index) {
            return Err(CommandError::DbIndexOutOfRange);
        }
        call.session().db = usize::try_from(index).map_err(|_| CommandError::DbIndexOutOfRange)?;
        call.reply.ok();
        Ok(())
    },
);

const TIME: SessionCommand = SessionCommand::new(
    Spec::new("time", Group::Server, "2.6.0", 1, "")
        .flags(LOADING.or(STALE).or(FAST))
        .summary("Answers the server's clock: seconds, and microseconds of the second."),
    time,
);

fn time(call: &mut Call<'_>, _: Args<'_>) -> Outcome {
    let now = call.server.scripting.since_epoch();
    let now = now.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
    call.reply.array(2);
    call.reply.bulk_display(now.as_secs());
    call.reply.bulk_display(now.subsec_micros());
    Ok(())
}

const ROLE: SessionCommand = SessionCommand::new(
    Spec::new("role", Group::Server, "2.8.12", 1, "")
        .flags(NOSCRIPT.or(LOADING).or(STALE).or(FAST))
        .categories(&["admin", "dangerous"])
        .summary("Answers the server's place in replication."),
    |call, _| {
        call.reply.array(3);
        call.reply.bulk(b"master");
        call.reply.int(0);
        call.reply.array(0);
        Ok(())
    },
);
