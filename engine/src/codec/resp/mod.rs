//! RESP2 and RESP3, pure: requests and inline commands (`request`), a writer of replies (`reply`), and
//! a decoder of replies for clients and tests (`replies`).
//!
//! Knows no sockets, no sessions and no commands. Nothing here recurses, and nothing sizes an
//! allocation by a length it has read. Behaviour: valkey src/networking.c; the RESP3 specification.

pub mod replies;
pub mod reply;
pub mod request;

pub use reply::{Deferred, Protocol, Reply};
pub use request::{Arg, Opening, Parsed, Parser, ProtocolError, RequestLimits};
