//! FUNCTION, FCALL and FCALL_RO.
//!
//! Libraries belong to the data set: they are in the engine, in snapshots and in the log. How a function
//! runs is in `script.rs`. Behaviour: valkey src/functions.c.

use cairn_engine::base::glob;
use cairn_engine::base::num;
use cairn_engine::codec::rdb::{Options, split_libraries};
use cairn_engine::codec::resp::Reply;
use cairn_engine::command::spec::{
    ALLOW_BUSY, DENYOOM, Flags, Group, KeySpec, LOADING, MAY_REPLICATE, NOSCRIPT, READONLY, READS,
    READS_AND_UPDATES, STALE, Spec, WRITE,
};
use cairn_engine::command::{Args, CommandError, Outcome, help};
use cairn_engine::engine::Engine;
use cairn_engine::script::{self, Functions, LOAD_PATIENCE, Library, Restore};
use cairn_engine::transcode::libraries;

use super::scripting::{RUNS, show};
use super::{Call, SessionCommand, SessionFn};
use crate::script::{Callee, Request};

/// Every command of this file.
pub(super) const COMMANDS: &[SessionCommand] = &[FCALL, FCALL_RO, FUNCTION];

const FCALL: SessionCommand = SessionCommand::new(
    Spec::new("fcall", Group::Scripting, "7.0.0", -3, "function numkeys:int [ key... ] [ arg... ]")
        .flags(RUNS.or(MAY_REPLICATE))
        .keys(&[KeySpec::counted(2, READS_AND_UPDATES)])
        .complexity("Depends on the function")
        .summary("Calls a function of a library."),
    |call, args| fcall(call, args, false),
);

const FCALL_RO: SessionCommand = SessionCommand::new(
    Spec::new("fcall_ro", Group::Scripting, "7.0.0", -3, "function numkeys:int [ key... ] [ arg... ]")
        .flags(RUNS.or(READONLY))
        .keys(&[KeySpec::counted(2, READS)])
        .complexity("Depends on the function")
        .summary("Calls a function of a library that only reads."),
    |call, args| fcall(call, args, true),
);

fn fcall(call: &mut Call<'_>, args: Args<'_>, is_read_only: bool) -> Outcome {
    const UNKNOWN: CommandError = CommandError::text("ERR Function not found");
    const BAD_COUNT: CommandError = CommandError::text("ERR Bad number of keys provided");
    const TOO_MANY: CommandError =
        CommandError::text("ERR Number of keys can't be greater than number of args");
    const NEGATIVE: CommandError = CommandError::text("ERR Number of keys can't be negative");
    show(call, args);
    let engine = call.server.engine.as_mut().ok_or(UNKNOWN)?;
    let function = engine.functions().find(args.at(1)).ok_or(UNKNOWN)?;
    let (program, flags, name) = (function.program, function.flags, function.name.clone());
    let count = num::parse_i64(args.at(2)).ok_or(BAD_COUNT)?;
    let count = usize::try_from(count).map_err(|_| NEGATIVE)?;
    if count > args.len() - 3 {
        return Err(TOO_MANY);
    }
    let (keys, rest) = args.from(3).split_at(count);
    let vm = engine.functions_mut().vm();
    let callee = Callee { vm, program, flags, name: String::from_utf8_lossy(&name).into_owned(), sha: None };
    let request = Request { callee, argv: args.0, keys, args: rest, is_read_only };
    call.server.run_script(call.client, request, call.reply)
}

const fn sub(
    name: &'static str,
    arity: i32,
    syntax: &'static str,
    flags: Flags,
    summary: &'static str,
    run: SessionFn,
) -> SessionCommand {
    SessionCommand::new(
        Spec::new(name, Group::Scripting, "7.0.0", arity, syntax)
            .flags(flags)
            .parent("function")
            .summary(summary),
        run,
    )
}

const FUNCTION: SessionCommand = SessionCommand::new(
    Spec::new("function", Group::Scripting, "7.0.0", -2, "")
        .complexity("Depends on the subcommand")
        .summary("Libraries of functions."),
    |_, args| Err(help::unknown_subcommand(args)),
)
.with(&[
    sub("delete", 3, "library-name", NOSCRIPT.or(WRITE), "Deletes a library and its functions.", delete)
        .complexity("O(1)"),
    sub("dump", 2, "", NOSCRIPT, "Answers all libraries as one payload.", dump)
        .complexity("O(N) in the number of functions"),
    sub("flush", -2, "flush-type=[ ASYNC | SYNC ]", NOSCRIPT.or(WRITE), "Deletes all libraries.", flush)
        .complexity("O(N) in the number of functions"),
    sub("help", 2, "", LOADING.or(STALE), "Prints this help.", |call, _| {
        help::write(call.reply, &FUNCTION);
        Ok(())
    })
    .complexity("O(1)"),
    sub(
        "kill",
        2,
        "",
        NOSCRIPT.or(ALLOW_BUSY),
        "Ends the function that runs, if it has changed nothing.",
        |call, _| {
            call.server.scripting.kill(false)?;
            call.reply.ok();
            Ok(())
        },
    )
    .complexity("O(1)"),
    sub(
        "list",
        -2,
        "[ LIBRARYNAME library-name-pattern ] [ WITHCODE ]",
        NOSCRIPT,
        "Answers what libraries there are, and their functions.",
        list,
    )
    .complexity("O(N) in the number of functions"),
    sub(
        "load",
        -3,
        "[ REPLACE ] function-code",
        NOSCRIPT.or(WRITE).or(DENYOOM),
        "Loads a library and answers its name.",
        load,
    )
    .complexity("O(N) in the length of the library"),
    sub(
        "restore",
        -3,
        "serialized-value policy=[ FLUSH | APPEND | REPLACE ]",
        NOSCRIPT.or(WRITE).or(DENYOOM),
        "Loads the libraries of a payload.",
        restore,
    )
    .complexity("O(N) in the number of functions in the payload"),
    sub(
        "stats",
        2,
        "",
        NOSCRIPT.or(ALLOW_BUSY),
        "Answers which function runs, and how many functions and libraries there are.",
        stats,
    )
    .complexity("O(1)"),
]);

fn error_of(why: &[u8]) -> CommandError {
    CommandError::Bytes([b"ERR ", why].concat())
}

/// The engine; there is one wherever the command may run.
fn engine_of<'a>(call: &'a mut Call<'_>) -> Result<&'a mut Engine, CommandError> {
    const NONE: CommandError = CommandError::text("ERR There are no data yet");
    call.server.engine.as_mut().ok_or(NONE)
}

/// Changes the libraries, and logs the command as it was sent.
fn change<T>(
    call: &mut Call<'_>,
    args: Args<'_>,
    change: impl FnOnce(&mut Functions) -> Result<T, CommandError>,
) -> Result<T, CommandError> {
    let engine = engine_of(call)?;
    let changed = change(engine.functions_mut());
    let lines = engine.functions_mut().take_lines();
    for (level, text) in lines {
        call.server.log_for_script(level, &text);
    }
    let done = changed?;
    let db = call.server.clients.get(call.client).map_or(0, |client| client.session.db);
    engine_of(call)?.changed_functions(db, args.0);
    Ok(done)
}

fn delete(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    const UNKNOWN: CommandError = CommandError::text("ERR Library not found");
    change(call, args, |functions| if functions.delete(args.at(2)) { Ok(()) } else { Err(UNKNOWN) })?;
    call.reply.ok();
    Ok(())
}

fn dump(call: &mut Call<'_>, _: Args<'_>) -> Outcome {
    let payload = libraries::dump(engine_of(call)?.functions().sources());
    call.reply.bulk(&payload);
    Ok(())
}

fn flush(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    const WRONG: CommandError = CommandError::text("ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
    if args.len() > 3 {
        return Err(help::bad_subcommand_arguments(args));
    }
    if args.len() == 3 && !args.is(2, "sync") && !args.is(2, "async") {
        return Err(WRONG);
    }
    // Both are done at once: the interpreter belongs to this thread.
    change(call, args, |functions| {
        functions.flush();
        Ok(())
    })?;
    call.reply.ok();
    Ok(())
}

fn load(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    let last = args.len() - 1;
    if let Some(word) = (2..last).map(|i| args.at(i)).find(|word| !word.eq_ignore_ascii_case(b"replace")) {
        return Err(error_of(&[b"Unknown option given: ", word].concat()));
    }
    let replaces = last > 2;
    let name = change(call, args, |functions| {
        functions.load(args.at(last), replaces, LOAD_PATIENCE).map_err(|why| error_of(&why))
    })?;
    call.reply.bulk(&name);
    Ok(())
}

fn restore(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    const WRONG: CommandError = CommandError::text(
        "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.",
    );
    if args.len() > 4 {
        return Err(help::bad_subcommand_arguments(args));
    }
    let policy = match args.get(3) {
        None => Restore::Append,
        Some(word) => Restore::of_word(word).ok_or(WRONG)?,
    };
    let limits = &engine_of(call)?.limits;
    let options = Options {
        verify_checksum: !limits.trusts_dumps,
        relaxed_version: limits.takes_future_dumps,
        ..Options::default()
    };
    let codes = split_libraries(args.at(2), options);
    let codes = codes.map_err(|why| error_of(why.to_string().as_bytes()))?;
    change(call, args, |functions| functions.restore(&codes, policy).map_err(|why| error_of(&why)))?;
    call.reply.ok();
    Ok(())
}

fn list(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    const NO_PATTERN: CommandError = CommandError::text("ERR library name argument was not given");
    let (mut pattern, mut with_code, mut i) = (None, false, 2);
    while i < args.len() {
        if !with_code && args.is(i, "withcode") {
            with_code = true;
        } else if pattern.is_none() && args.is(i, "libraryname") {
            i += 1;
            pattern = Some(args.get(i).ok_or(NO_PATTERN)?);
        } else {
            return Err(error_of(&[b"Unknown argument ", args.at(i)].concat()));
        }
        i += 1;
    }
    let Some(engine) = &call.server.engine else { return Ok(()) };
    let is_wanted = |name: &[u8]| pattern.is_none_or(|pattern| glob::matches(pattern, name, true));
    let wanted: Vec<(&[u8], &Library)> =
        engine.functions().libraries().filter(|(name, _)| is_wanted(name)).collect();
    call.reply.array(wanted.len());
    for (name, library) in wanted {
        write_library(call.reply, name, library, with_code);
    }
    Ok(())
}

fn write_library(reply: &mut Reply, name: &[u8], library: &Library, with_code: bool) {
    reply.map(if with_code { 4 } else { 3 });
    reply.bulk(b"library_name");
    reply.bulk(name);
    reply.bulk(b"engine");
    reply.bulk(ENGINE);
    reply.bulk(b"functions");
    reply.array(library.functions.len());
    for function in &library.functions {
        reply.map(3);
        reply.bulk(b"name");
        reply.bulk(&function.name);
        reply.bulk(b"description");
        match &function.description {
            Some(text) => reply.bulk(text),
            None => reply.null(),
        }
        reply.bulk(b"flags");
        let names = script::Flags::NAMES.iter().filter(|(flag, _)| function.flags.has(*flag));
        reply.set(names.clone().count());
        names.for_each(|(_, name)| reply.simple(name));
    }
    if with_code {
        reply.bulk(b"library_code");
        reply.bulk(&library.code);
    }
}

/// The name of the one engine.
const ENGINE: &[u8] = b"LUA";

fn stats(call: &mut Call<'_>, _: Args<'_>) -> Outcome {
    let scripting = &call.server.scripting;
    if let Some(error) = scripting.busy_error().filter(|_| scripting.runs_eval()) {
        return Err(CommandError::text(error));
    }
    let reply = &mut *call.reply;
    reply.map(2);
    reply.bulk(b"running_script");
    match &scripting.running {
        None => reply.null(),
        Some(running) => {
            reply.map(3);
            reply.bulk(b"name");
            reply.bulk(running.name().as_bytes());
            reply.bulk(b"command");
            reply.array(running.argv().len());
            running.argv().iter().for_each(|word| reply.bulk(word));
            reply.bulk(b"duration_ms");
            reply.int(running.duration_ms());
        }
    }
    let functions = call.server.engine.as_ref().map(Engine::functions);
    let count = |count: fn(&Functions) -> usize| functions.map_or(0, count) as i64;
    reply.bulk(b"engines");
    reply.map(1);
    reply.bulk(ENGINE);
    reply.map(2);
    reply.bulk(b"libraries_count");
    reply.int(count(Functions::len));
    reply.bulk(b"functions_count");
    reply.int(count(Functions::function_count));
    Ok(())
}
