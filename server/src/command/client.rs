//! CLIENT: what a connection says about itself, and what operators see and do.
//!
//! Behaviour: valkey src/networking.c.

use cairn_engine::command::spec::{
    ADMIN, ALLOW_BUSY, Flags, Group, LOADING, NO_MULTI, NOSCRIPT, STALE, Spec,
};
use cairn_engine::command::{Args, CommandError, Outcome, help};

use super::client_filter::Filter;
use super::client_list::write_line;
use super::wait::deadline_ms;
use super::{Call, SessionCommand, SessionFn, auth, client_tracking};
use crate::clients::{Client, Closing, Replies};
use crate::pause::Paused;
use crate::waiting::Ending;

/// Every command of this file.
pub(super) const COMMANDS: &[SessionCommand] = &[CLIENT];

const CLIENT: SessionCommand = SessionCommand::new(
    Spec::new("client", Group::Connection, "2.4.0", -2, "")
        .complexity("Depends on the subcommand")
        .summary("Commands on connections."),
    |_, args| Err(help::unknown_subcommand(args)),
)
.with(&[
    sub(
        "caching",
        "6.0.0",
        3,
        "mode=< YES | NO >",
        PLAIN,
        "Says whether the keys that the next command reads are tracked.",
        client_tracking::caching,
    ),
    sub("capa", "8.0.0", -3, "capability...", PLAIN, "Tells what the connection can do.", |call, args| {
        if (2..args.len()).any(|i| args.is(i, "REDIRECT")) {
            call.session().follows_redirects = true;
        }
        call.reply.ok();
        Ok(())
    }),
    sub("getname", "2.6.9", 2, "", PLAIN, "Answers the connection's name.", |call, _| {
        let name = std::mem::take(&mut call.session().name);
        if name.is_empty() {
            call.reply.null();
        } else {
            call.reply.bulk(&name);
        }
        call.session().name = name;
        Ok(())
    }),
    sub(
        "getredir",
        "6.0.0",
        2,
        "",
        PLAIN,
        "Answers the number of the connection that is told of changed keys in place of this one.",
        client_tracking::getredir,
    ),
    sub("help", "5.0.0", 2, "", LOADING.or(STALE), "Prints this help.", |call, _| {
        help::write(call.reply, &CLIENT);
        Ok(())
    }),
    sub("id", "5.0.0", 2, "", PLAIN, "Answers the connection's number.", |call, _| {
        let id = call.session().id;
        call.reply.uint(id);
        Ok(())
    }),
    sub(
        "import-source",
        "8.1.0",
        3,
        "enabled=< ON | OFF >",
        NOSCRIPT.or(LOADING).or(STALE),
        "Marks the connection as one that imports data, if the server is in import mode.",
        |call, args| {
            let importing = call.server.config.import_mode;
            call.session().is_import_source = match () {
                () if args.is(2, "OFF") => false,
                () if !importing => return Err(CommandError::text("ERR Server is not in import mode")),
                () if args.is(2, "ON") => true,
                () => return Err(CommandError::Syntax),
            };
            call.reply.ok();
            Ok(())
        },
    ),
    sub(
        "info",
        "6.2.0",
        2,
        "",
        NOSCRIPT.or(LOADING).or(STALE),
        "Answers the connection's line of CLIENT LIST.",
        info,
    ),
    sub("kill", "2.4.0", -3, KILL_SYNTAX, OPERATOR, "Ends connections.", kill),
    sub("list", "2.4.0", -2, LIST_SYNTAX, OPERATOR, "Lists connections, one a line.", list),
    sub(
        "no-evict",
        "7.0.0",
        3,
        "enabled=< ON | OFF >",
        PLAIN.or(ADMIN),
        "Keeps the connection when clients take too much memory.",
        |call, args| {
            call.session().no_evict = on_or_off(args)?;
            call.reply.ok();
            Ok(())
        },
    ),
    sub(
        "no-touch",
        "7.2.0",
        3,
        "enabled=< ON | OFF >",
        PLAIN,
        "Has the connection's commands not count as uses of their keys.",
        |call, args| {
            call.session().no_touch = on_or_off(args)?;
            call.reply.ok();
            Ok(())
        },
    ),
    sub(
        "pause",
        "3.0.0",
        -3,
        "timeout:int mode@6.2.0=[ WRITE | ALL ]",
        OPERATOR,
        "Has commands wait for some milliseconds: all, or those that write.",
        pause,
    ),
    sub(
        "reply",
        "3.2.0",
        3,
        "action=< ON | OFF | SKIP >",
        PLAIN.or(NO_MULTI),
        "Chooses which commands are answered.",
        reply,
    ),
    sub(
        "setinfo",
        "7.2.0",
        4,
        "attr=< LIB-NAME libname | LIB-VER libver >",
        PLAIN,
        "Tells the client library's name or version.",
        setinfo,
    ),
    sub("setname", "2.6.9", 3, "connection-name", PLAIN, "Names the connection.", |call, args| {
        auth::check_name(args.at(2))?;
        call.session().name = args.at(2).to_vec();
        call.reply.ok();
        Ok(())
    }),
    SessionCommand::new(
        Spec::new("tracking", Group::Connection, "6.0.0", -3, TRACKING_SYNTAX)
            .parent("client")
            .flags(NOSCRIPT.or(LOADING).or(STALE))
            .complexity("O(1); with prefixes, O(N) in their number")
            .summary("Has the connection told of changes to the keys that it keeps copies of."),
        client_tracking::tracking,
    ),
    sub(
        "trackinginfo",
        "6.2.0",
        2,
        "",
        NOSCRIPT.or(LOADING).or(STALE),
        "Answers how the connection tracks keys.",
        client_tracking::trackinginfo,
    ),
    sub(
        "unblock",
        "5.0.0",
        -3,
        "client-id:int unblock-type=[ TIMEOUT | ERROR ]",
        OPERATOR,
        "Ends the waiting of a connection, as if its time had passed or with an error.",
        unblock,
    ),
    sub("unpause", "6.2.0", 2, "", OPERATOR, "Ends a pause.", |call, _| {
        call.server.unpause_clients();
        call.reply.ok();
        Ok(())
    }),
]);

const PLAIN: Flags = NOSCRIPT.or(LOADING).or(STALE).or(ALLOW_BUSY);
const OPERATOR: Flags = ADMIN.or(NOSCRIPT).or(LOADING).or(STALE);
const KILL_SYNTAX: &str = "filter=< old-format~ip:port:string!2.8.12 | new-format=< [ ID client-id:int@2.8.12... ] \
         | client-type@2.8.12=[ TYPE: < NORMAL | MASTER@3.2.0 | PRIMARY@8.0.0 | SLAVE | REPLICA@5.0.0 | PUBSUB > ] \
         | [ USER username ] | [ ADDR addr~ip:port:string ] | [ LADDR laddr~ip:port:string@6.2.0 ] \
         | skipme=[ SKIPME: < YES | NO > ] | [ MAXAGE maxage:int@8.0.0 ] | [ NAME name@9.0.0 ] \
         | [ IDLE idle:int@9.0.0 ] | [ FLAGS flags@9.0.0 ] | [ LIB-NAME lib-name@9.0.0 ] \
         | [ LIB-VER lib-ver@9.0.0 ] | [ DB db:int@9.0.0 ] | [ CAPA capa@9.0.0 ] | [ IP ip@9.0.0 ] \
         | not-client-type@9.0.0=[ NOT-TYPE: < NORMAL | MASTER | PRIMARY | SLAVE | REPLICA | PUBSUB > ] \
         | [ NOT-ID not-client-id:int@9.0.0... ] | [ NOT-USER not-username@9.0.0 ] \
         | [ NOT-ADDR not-addr~ip:port:string@9.0.0 ] | [ NOT-LADDR not-laddr~ip:port:string@9.0.0 ] \
         | [ NOT-NAME not-name@9.0.0 ] | [ NOT-FLAGS not-flags@9.0.0 ] \
         | [ NOT-LIB-NAME not-lib-name@9.0.0 ] | [ NOT-LIB-VER not-lib-ver@9.0.0 ] \
         | [ NOT-DB not-db:int@9.0.0 ] | [ NOT-CAPA not-capa@9.0.0 ] | [ NOT-IP not-ip@9.0.0 ] >... >";
const TRACKING_SYNTAX: &str = "status=< ON | OFF > [ REDIRECT client-id:int ] [ PREFIX prefix ]... [ BCAST ] [ OPTIN ] \
         [ OPTOUT ] [ NOLOOP ]";
const LIST_SYNTAX: &str = "client-type@5.0.0=[ TYPE: < NORMAL | MASTER | PRIMARY | SLAVE | REPLICA | PUBSUB > ] \
         [ ID client-id:int@6.2.0... ] [ USER username@8.1.0 ] [ ADDR addr~ip:port:string@8.1.0 ] \
         [ LADDR laddr~ip:port:string@8.1.0 ] skipme@8.1.0=[ SKIPME: < YES | NO > ] \
         [ MAXAGE maxage:int@8.1.0 ] [ NAME name@9.0.0 ] [ IDLE idle:int@9.0.0 ] \
         [ FLAGS flags@9.0.0 ] [ LIB-NAME lib-name@9.0.0 ] [ LIB-VER lib-ver@9.0.0 ] \
         [ DB db:int@9.0.0 ] [ CAPA capa@9.0.0 ] [ IP ip@9.0.0 ] \
         not-client-type@9.0.0=[ NOT-TYPE: < NORMAL | MASTER | PRIMARY | SLAVE | REPLICA | PUBSUB > ] \
         [ NOT-ID not-client-id:int@9.0.0... ] [ NOT-USER not-username@9.0.0 ] \
         [ NOT-ADDR not-addr~ip:port:string@9.0.0 ] [ NOT-LADDR not-laddr~ip:port:string@9.0.0 ] \
         [ NOT-NAME not-name@9.0.0 ] [ NOT-FLAGS not-flags@9.0.0 ] \
         [ NOT-LIB-NAME not-lib-name@9.0.0 ] [ NOT-LIB-VER not-lib-ver@9.0.0 ] \
         [ NOT-DB not-db:int@9.0.0 ] [ NOT-CAPA not-capa@9.0.0 ] [ NOT-IP not-ip@9.0.0 ]";

const fn sub(
    name: &'static str,
    since: &'static str,
    arity: i32,
    syntax: &'static str,
    flags: Flags,
    summary: &'static str,
    run: SessionFn,
) -> SessionCommand {
    let spec = Spec::new(name, Group::Connection, since, arity, syntax).parent("client");
    SessionCommand::new(spec.flags(flags).summary(summary), run)
}

fn on_or_off(args: Args<'_>) -> Result<bool, CommandError> {
    match (args.is(2, "ON"), args.is(2, "OFF")) {
        (true, _) => Ok(true),
        (_, true) => Ok(false),
        _ => Err(CommandError::Syntax),
    }
}

fn info(call: &mut Call<'_>, _: Args<'_>) -> Outcome {
    let mut text = Vec::new();
    if let Some(client) = call.server.clients.get(call.client) {
        write_line(&mut text, call.client, client, call.server);
    }
    call.reply.verbatim(&text);
    Ok(())
}

fn list(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    if args.len() == 3 {
        return Err(CommandError::Syntax);
    }
    let filter = Filter::parse(args, false, call.server.config.databases)?;
    let caller = call.client;
    let mut text = Vec::new();
    let is_meant = |&(index, client): &(u32, &Client)| {
        filter.matches(client, call.server) && !(filter.skip_me && index == caller)
    };
    // A new connection takes the place of one that has gone, but it is the youngest.
    let mut listed: Vec<(u32, &Client)> = call.server.clients.iter().filter(is_meant).collect();
    listed.sort_unstable_by_key(|(_, client)| client.session.id);
    for (index, client) in listed {
        write_line(&mut text, index, client, call.server);
    }
    call.reply.verbatim(&text);
    Ok(())
}

fn kill(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    // The old form names an address, and may end the connection it came through.
    let is_old_form = args.len() == 3;
    let filter = if is_old_form {
        Filter::of_address(args.at(2))
    } else {
        Filter::parse(args, true, call.server.config.databases)?
    };
    let caller = call.client;
    let doomed: Vec<u32> = call
        .server
        .clients
        .iter()
        .filter(|(index, client)| {
            filter.matches(client, call.server)
                && !(filter.skip_me && *index == caller)
                && client.closing != Closing::Now
        })
        .map(|(index, _)| index)
        .collect();
    for &index in &doomed {
        let Some(client) = call.server.clients.get_mut(index) else { continue };
        client.close(if index == caller { Closing::AfterReplies } else { Closing::Now });
        call.server.mark_closing(index);
    }
    match (is_old_form, doomed.is_empty()) {
        (true, true) => return Err(CommandError::text("ERR No such client")),
        (true, false) => call.reply.ok(),
        (false, _) => call.reply.int(doomed.len() as i64),
    }
    Ok(())
}

fn reply(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    let session = call.session();
    if args.is(2, "ON") {
        session.replies = Replies::On;
        call.reply.ok();
    } else if args.is(2, "OFF") {
        session.replies = Replies::Off;
    } else if args.is(2, "SKIP") {
        if session.replies == Replies::On {
            session.replies = Replies::SkipNext;
        }
    } else {
        return Err(CommandError::Syntax);
    }
    Ok(())
}

fn pause(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    let what = match args.get(3) {
        None => Paused::All,
        // Words too many are as good as none, here and below.
        Some(_) if args.len() > 4 => Paused::All,
        Some(_) if args.is(3, "WRITE") => Paused::Writes,
        Some(_) if args.is(3, "ALL") => Paused::All,
        Some(_) => return Err(CommandError::text("ERR CLIENT PAUSE mode must be WRITE or ALL")),
    };
    let now = call.server.now;
    let until = deadline_ms(args, 2, now)?.unwrap_or(now);
    call.server.pause_clients(what, until);
    call.reply.ok();
    Ok(())
}

fn unblock(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    const BAD_REASON: CommandError =
        CommandError::text("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
    let ending = match args.get(3) {
        None => Ending::Timeout,
        Some(_) if args.len() > 4 => Ending::Timeout,
        Some(_) if args.is(3, "TIMEOUT") => Ending::Timeout,
        Some(_) if args.is(3, "ERROR") => Ending::Error,
        Some(_) => return Err(BAD_REASON),
    };
    let id = args.int(2)?;
    let found = call.server.clients.iter().find(|(_, client)| u64::try_from(id) == Ok(client.session.id));
    let found = found.map(|(index, _)| index);
    let is_unblocked = found.is_some_and(|index| call.server.stop_waiting(index, ending));
    call.reply.int(i64::from(is_unblocked));
    Ok(())
}

fn setinfo(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    let (is_name, is_version) = (args.is(2, "LIB-NAME"), args.is(2, "LIB-VER"));
    if !is_name && !is_version {
        return Err(CommandError::naming("ERR Unrecognized option '", args.at(2), "'"));
    }
    if !auth::is_printable_word(args.at(3)) {
        let attribute = String::from_utf8_lossy(args.at(2));
        let text = format!("ERR {attribute} cannot contain spaces, newlines or special characters.");
        return Err(CommandError::Text(text.into()));
    }
    let value = args.at(3).to_vec();
    let session = call.session();
    if is_name {
        session.lib_name = value;
    } else {
        session.lib_ver = value;
    }
    call.reply.ok();
    Ok(())
}
