//! CONFIG.

use cairn_engine::command::spec::{ADMIN, Flags, Group, LOADING, NOSCRIPT, STALE, Spec};
use cairn_engine::command::{Args, CommandError, Outcome, help};

use super::{Call, SessionCommand, SessionFn};
use crate::config::{Enable, Rights, SetError};

/// Every command of this file.
pub(super) const COMMANDS: &[SessionCommand] = &[CONFIG];

const CONFIG: SessionCommand = SessionCommand::new(
    Spec::new("config", Group::Server, "2.0.0", -2, "")
        .complexity("Depends on the subcommand")
        .summary("Commands on the configuration."),
    |_, args| Err(help::unknown_subcommand(args)),
)
.with(&[
    sub("get", "2.0.0", -3, "parameter...", OPERATOR, "Answers directives and their values.", get),
    sub("help", "5.0.0", 2, "", LOADING.or(STALE), "Prints this help.", |call, _| {
        help::write(call.reply, &CONFIG);
        Ok(())
    }),
    sub("resetstat", "2.0.0", 2, "", OPERATOR, "Sets the counters of INFO to zero.", |call, _| {
        call.server.reset_stats();
        call.reply.ok();
        Ok(())
    }),
    sub("rewrite", "2.8.0", 2, "", OPERATOR, "Writes the configuration to its file.", |call, _| {
        let written = call.server.rewrite_config(false);
        written.map_err(|why| CommandError::Text(format!("ERR {why}").into()))?;
        call.reply.ok();
        Ok(())
    }),
    sub(
        "set",
        "2.0.0",
        -4,
        "data=< parameter value >...",
        OPERATOR,
        "Sets directives: all of them, or none.",
        set,
    ),
]);

const OPERATOR: Flags = ADMIN.or(NOSCRIPT).or(LOADING).or(STALE);

const fn sub(
    name: &'static str,
    since: &'static str,
    arity: i32,
    syntax: &'static str,
    flags: Flags,
    summary: &'static str,
    run: SessionFn,
) -> SessionCommand {
    let spec = Spec::new(name, Group::Server, since, arity, syntax).parent("config");
    SessionCommand::new(spec.flags(flags).summary(summary), run)
}

fn get(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    let found = call.server.config.get(args.from(2));
    call.reply.map(found.len());
    for (name, value) in &found {
        call.reply.bulk(name);
        call.reply.bulk(value);
    }
    Ok(())
}

fn set(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    if !args.len().is_multiple_of(2) {
        return Err(CommandError::Syntax);
    }
    let pairs: Vec<(&[u8], &[u8])> = args.from(2).chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    let server = &mut *call.server;
    let who: Enable = server.config.enable_protected_configs;
    let rights = Rights { protected: server.is_allowed(who, call.client), is_loaded: !server.is_loading() };
    let before = server.config.clone();
    let refused = |error: SetError| CommandError::Text(error.message().into());
    let names = server.config.set_all(&pairs, rights).map_err(refused)?;
    if let Err(error) = server.apply_config(&names, &before) {
        // What was followed before the one that could not be is taken back.
        let failed = std::mem::replace(&mut server.config, before);
        let _ = server.apply_config(&names, &failed);
        return Err(refused(error));
    }
    call.reply.ok();
    Ok(())
}
