//! EVAL, EVALSHA and SCRIPT.
//!
//! What scripts are and how they run is in `script.rs` and in the engine. Behaviour: valkey src/eval.c.

use cairn_engine::command::spec::{
    ALLOW_BUSY, Flags, Group, KeySpec, LOADING, MAY_REPLICATE, NO_MANDATORY_KEYS, NOSCRIPT, READONLY, READS,
    READS_AND_UPDATES, SKIP_MONITOR, STALE, Spec,
};
use cairn_engine::command::{Args, CommandError, Outcome, help};
use cairn_engine::script::{Loaded, Origin, Sha};

use super::{Call, SessionCommand, SessionFn};
use crate::script::{Callee, NOSCRIPT_ERROR, Request};

/// Every command of this file.
pub(super) const COMMANDS: &[SessionCommand] = &[EVAL, EVAL_RO, EVALSHA, EVALSHA_RO, SCRIPT];

/// Flags of what runs scripts and functions.
pub(super) const RUNS: Flags = NOSCRIPT.or(SKIP_MONITOR).or(NO_MANDATORY_KEYS).or(STALE);

const EVAL: SessionCommand = SessionCommand::new(
    Spec::new("eval", Group::Scripting, "2.6.0", -3, "script numkeys:int [ key... ] [ arg... ]")
        .flags(RUNS.or(MAY_REPLICATE))
        .keys(&[KeySpec::counted(2, READS_AND_UPDATES)])
        .complexity("Depends on the script")
        .summary("Runs a Lua script."),
    |call, args| eval(call, args, false),
);

const EVAL_RO: SessionCommand = SessionCommand::new(
    Spec::new("eval_ro", Group::Scripting, "7.0.0", -3, "script numkeys:int [ key... ] [ arg... ]")
        .flags(RUNS.or(READONLY))
        .keys(&[KeySpec::counted(2, READS)])
        .complexity("Depends on the script")
        .summary("Runs a Lua script that only reads."),
    |call, args| eval(call, args, true),
);

const EVALSHA: SessionCommand = SessionCommand::new(
    Spec::new("evalsha", Group::Scripting, "2.6.0", -3, "sha1 numkeys:int [ key... ] [ arg... ]")
        .flags(RUNS.or(MAY_REPLICATE))
        .keys(&[KeySpec::counted(2, READS_AND_UPDATES)])
        .complexity("Depends on the script")
        .summary("Runs a Lua script that is known, by its SHA-1."),
    |call, args| evalsha(call, args, false),
);

const EVALSHA_RO: SessionCommand = SessionCommand::new(
    Spec::new("evalsha_ro", Group::Scripting, "7.0.0", -3, "sha1 numkeys:int [ key... ] [ arg... ]")
        .flags(RUNS.or(READONLY))
        .keys(&[KeySpec::counted(2, READS)])
        .complexity("Depends on the script")
        .summary("Runs a Lua script that only reads and is known, by its SHA-1."),
    |call, args| evalsha(call, args, true),
);

/// Where the keys are among the arguments, and where the others begin.
fn key_count(args: Args<'_>) -> Result<usize, CommandError> {
    const TOO_MANY: CommandError =
        CommandError::text("ERR Number of keys can't be greater than number of args");
    const NEGATIVE: CommandError = CommandError::text("ERR Number of keys can't be negative");
    let count = args.int(2)?;
    match usize::try_from(count) {
        Ok(count) if count <= args.len() - 3 => Ok(count),
        Ok(_) => Err(TOO_MANY),
        Err(_) => Err(NEGATIVE),
    }
}

/// Shows the command to those who monitor before those of its script are.
pub(super) fn show(call: &mut Call<'_>, args: Args<'_>) {
    if !call.server.monitors.is_empty() {
        call.server.feed_monitors_anyhow(call.client, args);
    }
}

fn eval(call: &mut Call<'_>, args: Args<'_>, is_read_only: bool) -> Outcome {
    show(call, args);
    let keys = key_count(args)?;
    let loaded = call.server.scripting.scripts.load(args.at(1), Origin::Eval);
    let script = loaded.map_err(|why| error_of(&why))?;
    run(call, args, script, keys, is_read_only)
}

fn evalsha(call: &mut Call<'_>, args: Args<'_>, is_read_only: bool) -> Outcome {
    show(call, args);
    let sha = Sha::read(args.at(1)).ok_or(NOSCRIPT_ERROR)?;
    let keys = key_count(args)?;
    let script = call.server.scripting.scripts.find(sha).ok_or(NOSCRIPT_ERROR)?;
    run(call, args, script, keys, is_read_only)
}

fn run(call: &mut Call<'_>, argv: Args<'_>, script: Loaded, keys: usize, is_read_only: bool) -> Outcome {
    let (keys, args) = argv.from(3).split_at(keys);
    let callee = Callee::script(&mut call.server.scripting.scripts, script);
    call.server.run_script(
        call.client,
        Request { callee, argv: argv.0, keys, args, is_read_only },
        call.reply,
    )
}

fn error_of(why: &[u8]) -> CommandError {
    CommandError::Bytes([b"ERR ", why].concat())
}

const fn sub(
    name: &'static str,
    since: &'static str,
    arity: i32,
    syntax: &'static str,
    flags: Flags,
    summary: &'static str,
    run: SessionFn,
) -> SessionCommand {
    SessionCommand::new(
        Spec::new(name, Group::Scripting, since, arity, syntax)
            .flags(flags)
            .parent("script")
            .summary(summary),
        run,
    )
}

const SCRIPT: SessionCommand = SessionCommand::new(
    Spec::new("script", Group::Scripting, "2.6.0", -2, "")
        .complexity("Depends on the subcommand")
        .summary("Scripts that are known."),
    |_, args| Err(help::unknown_subcommand(args)),
)
.with(&[
    sub(
        "exists",
        "2.6.0",
        -3,
        "sha1...",
        NOSCRIPT.or(STALE),
        "Answers for each name whether there is a script of it.",
        |call, args| {
            call.reply.array(args.len() - 2);
            for word in args.from(2) {
                let found = Sha::read(word).and_then(|sha| call.server.scripting.scripts.find(sha));
                call.reply.int(i64::from(found.is_some()));
            }
            Ok(())
        },
    )
    .complexity("O(N) in the number of names"),
    sub(
        "flush",
        "2.6.0",
        -2,
        "flush-type@6.2.0=[ ASYNC | SYNC ]",
        NOSCRIPT.or(STALE),
        "Forgets every script.",
        |call, args| {
            const WRONG: CommandError = CommandError::text("ERR SCRIPT FLUSH only support SYNC|ASYNC option");
            // Both are done at once: the interpreter belongs to this thread.
            if args.len() > 3 || (args.len() == 3 && !args.is(2, "sync") && !args.is(2, "async")) {
                return Err(WRONG);
            }
            call.server.scripting.scripts.flush();
            call.reply.ok();
            Ok(())
        },
    )
    .complexity("O(N) in the number of scripts"),
    sub("help", "5.0.0", 2, "", LOADING.or(STALE), "Prints this help.", |call, _| {
        help::write(call.reply, &SCRIPT);
        Ok(())
    }),
    sub(
        "kill",
        "2.6.0",
        2,
        "",
        NOSCRIPT.or(ALLOW_BUSY),
        "Ends the script that runs, if it has changed nothing.",
        |call, _| {
            call.server.scripting.kill(true)?;
            call.reply.ok();
            Ok(())
        },
    ),
    sub(
        "load",
        "2.6.0",
        3,
        "script",
        NOSCRIPT.or(STALE),
        "Makes a script known without running it, and answers its name.",
        |call, args| {
            let loaded = call.server.scripting.scripts.load(args.at(2), Origin::Load);
            let script = loaded.map_err(|why| error_of(&why))?;
            call.reply.bulk(script.sha.as_bytes());
            Ok(())
        },
    )
    .complexity("O(N) in the length of the script"),
    sub("show", "8.0.0", 3, "sha1", NOSCRIPT.or(STALE), "Answers the text of a script.", |call, args| {
        let scripts = &call.server.scripting.scripts;
        let body = Sha::read(args.at(2)).and_then(|sha| scripts.body(sha)).ok_or(NOSCRIPT_ERROR)?;
        call.reply.bulk(body);
        Ok(())
    }),
]);

#[cfg(test)]
mod tests {
    use super::*;

    const WITNESS: &str = include_str!("../../../testdata/commands/specs.tsv");

    #[test]
    fn facts_are_those_of_real_servers() {
        let listed = |mut words: Vec<&str>| {
            words.sort_unstable();
            if words.is_empty() { "-".to_owned() } else { words.join(",") }
        };
        let mut seen = 0;
        for command in COMMANDS {
            for spec in std::iter::once(&command.spec).chain(command.subcommands.iter().map(|sub| &sub.spec))
            {
                let name = spec.full_name();
                // Servers do not show it.
                let flags = listed(spec.flags.names().filter(|flag| *flag != "may_replicate").collect());
                let categories = listed(spec.acl_categories());
                let is = format!("{name}\t{}\t{}\t{flags}\t{categories}\t", spec.since, spec.arity);
                let Some(must) = WITNESS.lines().find(|line| line.starts_with(&format!("{name}\t"))) else {
                    assert_eq!(name, "script|show", "a command without a witness");
                    continue;
                };
                assert!(must.starts_with(&is), "is   {is}\nmust {must}");
                seen += 1;
            }
        }
        let of_scripts = |line: &&str| line.starts_with("eval") || line.starts_with("script");
        assert_eq!(seen, WITNESS.lines().filter(of_scripts).count());
    }
}
