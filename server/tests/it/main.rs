//! The integration tests of the server: real sockets and processes.

mod aof;
mod backup;
mod client;
mod config;
mod debug;
mod differential;
mod extremes;
mod folder;
mod functions;
mod hostile;
mod ledger;
mod memory;
mod migrate;
mod observe;
mod persistence;
mod process;
mod protocol;
mod pubsub;
mod readme;
mod scripting;
mod session;
mod snapshot_faults;
mod stock;
mod supervision;
mod tracking;
mod waiting;
