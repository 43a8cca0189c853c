//! Data commands: one definition each, a `Command` const right above the function that runs it.
//!
//! A command sees the keyspace, the arguments, the time it is told, and a reply to write. It never
//! sees a client, a clock, a file or an encoding. Everything that lists commands (lookup, arity,
//! COMMAND, ACL categories) is derived from `Spec`.

mod args;
mod bitfield;
mod bitmap;
mod compare;
mod context;
pub mod effects;
mod error;
mod expire;
pub mod finders;
mod generic;
mod geo;
mod geo_search;
pub mod grammar;
mod hash;
mod hash_ex;
mod hash_expire;
pub mod help;
mod hyperloglog;
mod increx;
mod lcs;
mod list;
mod list_move;
mod list_pop;
mod object;
mod scan;
mod server;
mod set;
mod set_combine;
mod sort;
pub mod spec;
mod stream;
mod stream_delete;
mod stream_group;
mod stream_info;
mod stream_log;
mod stream_read;
mod string;
pub mod tips;
pub mod told;
pub mod wait;
mod zset;
mod zset_combine;
mod zset_pop;
mod zset_range;

use crate::codec::resp::Reply;
use crate::value::Element;

pub use args::Args;
pub use context::{Context, Data, Hashes, KeyStats, OnExpired, PREFETCH_KEYS};
pub use error::{CommandError, shown};
pub use spec::Spec;

/// Runs a data command.
pub type DataFn = fn(&mut Context<'_>, Args<'_>) -> Outcome;

/// A command on data.
pub type DataCommand = Command<DataFn>;

/// Every data command, family by family.
pub fn all() -> impl Iterator<Item = &'static DataCommand> {
    const FAMILIES: &[&[DataCommand]] = &[
        string::COMMANDS,
        compare::COMMANDS,
        increx::COMMANDS,
        lcs::COMMANDS,
        sort::COMMANDS,
        bitmap::COMMANDS,
        bitfield::COMMANDS,
        hyperloglog::COMMANDS,
        generic::COMMANDS,
        expire::COMMANDS,
        object::COMMANDS,
        server::COMMANDS,
        list::COMMANDS,
        list_pop::COMMANDS,
        list_move::COMMANDS,
        set::COMMANDS,
        set_combine::COMMANDS,
        zset::COMMANDS,
        zset_pop::COMMANDS,
        zset_combine::COMMANDS,
        geo::COMMANDS,
        geo_search::COMMANDS,
        zset_range::COMMANDS,
        hash::COMMANDS,
        hash_expire::COMMANDS,
        hash_ex::COMMANDS,
        stream::COMMANDS,
        stream_delete::COMMANDS,
        stream_group::COMMANDS,
        stream_info::COMMANDS,
        stream_read::COMMANDS,
    ];
    FAMILIES.iter().copied().flatten()
}

/// What a command answers to its caller: the reply is written, or this error stands for it.
pub type Outcome = Result<(), CommandError>;

/// A command: its facts and its code. `F` is what runs it: a data command gets the keyspace, a
/// session command (of the server) its client.
#[derive(Debug)]
pub struct Command<F: 'static> {
    /// Everything about it but its code.
    pub spec: Spec,
    /// Its code. A container's runs if none of its subcommands was meant.
    pub run: F,
    /// Its subcommands.
    pub subcommands: &'static [Command<F>],
}

impl<F> Command<F> {
    /// A command without subcommands.
    pub const fn new(spec: Spec, run: F) -> Command<F>
    where
        F: Copy,
    {
        Command { spec, run, subcommands: &[] }
    }

    /// Gives it subcommands.
    pub const fn with(self, subcommands: &'static [Command<F>]) -> Command<F>
    where
        F: Copy,
    {
        Command { spec: self.spec.container(), run: self.run, subcommands }
    }

    /// Sets the cost.
    pub const fn complexity(mut self, complexity: &'static str) -> Command<F>
    where
        F: Copy,
    {
        self.spec.complexity = complexity;
        self
    }

    /// The subcommand of this name, in any case.
    pub fn subcommand(&self, name: &[u8]) -> Option<&'static Command<F>> {
        self.subcommands.iter().find(|c| c.spec.name.as_bytes().eq_ignore_ascii_case(name))
    }
}

/// Writes an element of a collection as a bulk string.
fn reply_element(reply: &mut Reply, element: Element<'_>) {
    match element {
        Element::Int(n) => reply.bulk_int(n),
        Element::Bytes(bytes) => reply.bulk(bytes),
    }
}
