//! Lua: scripts that clients send and functions of libraries, run on the data with nothing between their
//! commands.
//!
//! The interpreter is PUC Lua 5.1, bound by mlua. What a script may not do is kept from it here, without a
//! change to the interpreter: tables that all scripts share stand behind others that refuse writes
//! (`prelude.lua`), only text is compiled, and the collector rests meanwhile, memory and time are bounded
//! (`vm.rs`). Who runs a script's commands, checks them and logs what they did is a [`Host`]; this folder
//! knows no clients and no configuration. Behaviour: valkey src/eval.c, src/functions.c, src/script.c,
//! src/modules/lua/.

pub mod again;
mod api;
mod bit;
mod cache;
mod cjson;
mod cmsgpack;
mod flags;
mod from_reply;
mod functions;
mod library;
mod lrand;
mod register;
mod structs;
mod to_reply;
mod vm;

#[cfg(test)]
mod tests;

use crate::codec::resp::Reply;

pub use cache::{Loaded, Origin, Scripts, Sha};
pub use flags::Flags;
pub use functions::{Function, Functions, LOAD_PATIENCE, Library, RELOAD_PATIENCE, Restore};
pub use vm::{Ended, Program, Versions, Vm};

/// What becomes of changes that a command of a script makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replicate {
    /// They are logged.
    pub log: bool,
    /// Replicas get them.
    pub replicas: bool,
}

impl Replicate {
    /// The state in which each script begins.
    pub const ALL: Replicate = Replicate { log: true, replicas: true };
}

/// What a script is told about a command that it asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum May {
    /// There is no such command.
    Unknown,
    /// The caller may run it.
    Yes,
    /// It may not.
    No,
}

/// Runs what a script asks for.
pub trait Host {
    /// Runs a command and writes its reply, in the reply's protocol; if it is refused, the refusal is the
    /// reply. There is at least one word.
    fn call(&mut self, argv: &[&[u8]], replicate: Replicate, reply: &mut Reply);

    /// Writes a line to the server's log; levels go from 0 (debug) to 3 (warning).
    fn log(&mut self, level: u8, text: &[u8]);

    /// Whether the caller may run a command.
    fn may(&mut self, argv: &[&[u8]]) -> May;

    /// The script has run for a while: called about each millisecond from [`Host::patience`] on. True if it
    /// is to end.
    fn interrupt(&mut self) -> bool;

    /// How long a script runs before `interrupt` is called; `None` for any time.
    fn patience(&self) -> Option<std::time::Duration>;

    /// Whether a server before Redis 7.0 has logged the script as it was sent, and it runs again to the same
    /// effect: it finds what scripts found there.
    fn is_verbatim(&self) -> bool {
        false
    }
}
