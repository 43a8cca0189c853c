//! What this program calls itself, and the server whose behaviour it has.

/// Our own version.
pub(crate) const CAIRN_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The Redis version that clients may take this server for.
pub(crate) const REDIS_VERSION: &str = "7.4.2";
