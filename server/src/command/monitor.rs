//! MONITOR: a connection that sees every command.
//!
//! Behaviour: valkey src/server.c `monitorCommand`.

use cairn_engine::command::spec::{ADMIN, Group, LOADING, NOSCRIPT, STALE, Spec};
use cairn_engine::command::{Args, CommandError, Outcome};

use super::{Call, SessionCommand};
use crate::server::Server;

/// Every command of this file.
pub(super) const COMMANDS: &[SessionCommand] = &[MONITOR];

const MONITOR: SessionCommand = SessionCommand::new(
    Spec::new("monitor", Group::Server, "1.0.0", 1, "")
        .flags(ADMIN.or(NOSCRIPT).or(LOADING).or(STALE))
        .summary("Shows every command that runs from now on."),
    monitor,
);

fn monitor(call: &mut Call<'_>, _: Args<'_>) -> Outcome {
    if !call.may_wait {
        return Err(CommandError::text("ERR MONITOR isn't allowed for DENY BLOCKING client"));
    }
    // Who monitors already is not answered, as in Valkey.
    if !std::mem::replace(&mut call.session().is_monitor, true) {
        call.server.monitors.insert(call.client);
        call.reply.ok();
    }
    Ok(())
}

impl Server {
    /// Has a client monitor no more.
    pub(crate) fn stop_monitoring(&mut self, index: u32) {
        if let Some(client) = self.clients.get_mut(index) {
            client.session.is_monitor = false;
        }
        self.monitors.remove(&index);
    }
}
