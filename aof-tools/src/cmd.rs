//! The subcommands: arguments in, exit code out.

pub(crate) mod compact;
pub(crate) mod convert;
pub(crate) mod info;
pub(crate) mod log;
pub(crate) mod repair;
pub(crate) mod replay;
