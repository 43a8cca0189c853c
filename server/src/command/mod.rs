//! Session commands: those that need a client, the configuration or the process, not just the data.
//!
//! They have the same `Spec` as data commands, and the same table holds both.

pub(crate) mod auth;
pub(crate) mod backup;
pub(crate) mod client;
pub(crate) mod client_filter;
pub(crate) mod client_list;
pub(crate) mod client_tracking;
mod cluster;
pub(crate) mod commands;
pub(crate) mod config;
pub(crate) mod connection;
pub(crate) mod debug;
mod functions;
mod history;
pub(crate) mod info;
pub(crate) mod latency;
pub(crate) mod lolwut;
pub(crate) mod memory;
pub(crate) mod migrate;
pub(crate) mod module;
pub(crate) mod monitor;
pub(crate) mod persistence;
pub(crate) mod pubsub;
pub(crate) mod scripting;
pub(crate) mod slowlog;
pub(crate) mod table;
pub(crate) mod transaction;
pub(crate) mod wait;

use cairn_engine::codec::resp::Reply;
use cairn_engine::command::{Args, Command, Outcome};

use crate::clients::{Client, Session};
use crate::server::Server;

/// What a session command works on.
pub(crate) struct Call<'a> {
    /// The server.
    pub(crate) server: &'a mut Server,
    /// The slot of the client that calls.
    pub(crate) client: u32,
    /// Where the reply goes.
    pub(crate) reply: &'a mut Reply,
    /// Whether the client can wait: not inside a transaction.
    pub(crate) may_wait: bool,
}

impl Call<'_> {
    /// The client that calls.
    pub(crate) fn client(&mut self) -> &mut Client {
        self.server.clients.get_mut(self.client).expect("a client stays in its slot while its command runs")
    }

    /// The calling client's state.
    pub(crate) fn session(&mut self) -> &mut Session {
        &mut self.client().session
    }
}

/// Runs a session command.
pub(crate) type SessionFn = fn(&mut Call<'_>, Args<'_>) -> Outcome;

/// A command of a session.
pub(crate) type SessionCommand = Command<SessionFn>;

/// Every session command, file by file.
pub(crate) fn all() -> impl Iterator<Item = &'static SessionCommand> {
    const FILES: &[&[SessionCommand]] = &[
        auth::COMMANDS,
        backup::COMMANDS,
        client::COMMANDS,
        cluster::COMMANDS,
        commands::COMMANDS,
        config::COMMANDS,
        connection::COMMANDS,
        debug::COMMANDS,
        info::COMMANDS,
        latency::COMMANDS,
        lolwut::COMMANDS,
        memory::COMMANDS,
        migrate::COMMANDS,
        module::COMMANDS,
        monitor::COMMANDS,
        persistence::COMMANDS,
        pubsub::COMMANDS,
        functions::COMMANDS,
        scripting::COMMANDS,
        slowlog::COMMANDS,
        transaction::COMMANDS,
        wait::COMMANDS,
    ];
    FILES.iter().copied().flatten()
}
