//! Data commands: one definition each, a `Command` const right above the function that runs it.
//!
//! A command sees the keyspace, the arguments, the time it is told, and a reply to write. It never
//! sees a client, a clock, a file or an encoding. Everything that lists commands (lookup, arity,
//! COMMAND, ACL categories) is derived from `Spec`.

mod args;
mod error;
pub mod spec;

pub use args::Args;
pub use error::CommandError;
pub use spec::Spec;
