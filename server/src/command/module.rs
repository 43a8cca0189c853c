//! MODULE: there are none, and none can be loaded.

use cairn_engine::command::help;
use cairn_engine::command::spec::{ADMIN, Flags, Group, LOADING, NOSCRIPT, STALE, Spec};

use super::{SessionCommand, SessionFn};

/// Every command of this file.
pub(super) const COMMANDS: &[SessionCommand] = &[MODULE];

const MODULE: SessionCommand = SessionCommand::new(
    Spec::new("module", Group::Server, "4.0.0", -2, "")
        .complexity("Depends on the subcommand")
        .summary("Modules, of which there are none."),
    |_, args| Err(help::unknown_subcommand(args)),
)
.with(&[
    sub("help", "5.0.0", LOADING.or(STALE), "Prints this help.", |call, _| {
        help::write(call.reply, &MODULE);
        Ok(())
    }),
    sub("list", "4.0.0", ADMIN.or(NOSCRIPT), "Answers the modules that are loaded: none.", |call, _| {
        call.reply.array(0);
        Ok(())
    })
    .complexity("O(N) in the number of modules"),
]);

const fn sub(
    name: &'static str,
    since: &'static str,
    flags: Flags,
    summary: &'static str,
    run: SessionFn,
) -> SessionCommand {
    let spec = Spec::new(name, Group::Server, since, 2, "").parent("module");
    SessionCommand::new(spec.flags(flags).summary(summary), run)
}
