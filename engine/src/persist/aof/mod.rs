//! The append only file while the engine runs: what is logged, written, synced, rewritten.
//!
//! Commands go to a block; before anything is acknowledged the block is in the file at the log's end.
//! Syncs, and the writes of the policy `always`, run on one thread (`lane.rs`), manifests on another. How
//! far the log is, is told in positions: bytes given to it since the process began, over all files. A
//! rewrite (`rewrite.rs`) makes a base in a child and goes on in a new increment. After a failed sync
//! nothing is believed until a rewrite to fresh files is durable.
//!
//! Decides nothing about replies: the caller asks for the positions that are safe.

mod due;
mod event;
mod gather;
mod lane;
mod lifecycle;
mod log;
mod other;
mod publish;
mod rewrite;
mod settings;
pub(super) mod store;
mod sweep;
mod tail;
mod write;

pub use due::{Backoff, Leave, rewrite_is_due};
pub use event::AofEvent;
pub use lane::Wake;
pub use lifecycle::{CloseError, Found, LastFile};
pub use log::{Aof, AofState, AofStats, LogHealth, Unit};
pub use rewrite::{RewriteRefused, Surroundings};
pub use settings::{AofSettings, Reserve, SyncPolicy};
pub use sweep::sweep;
