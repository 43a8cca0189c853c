//! Sockets: the poller, listening sockets, and the bytes of a connection. Knows no commands.

pub(crate) mod connection;
pub(crate) mod held;
pub(crate) mod listener;
pub(crate) mod reactor;
pub(crate) mod stream;
pub(crate) mod unsent;
