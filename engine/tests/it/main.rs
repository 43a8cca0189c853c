//! The integration tests of the engine.

mod accesses;
mod aof_crash;
mod aof_disk;
mod as_commands;
mod backup;
mod conversations;
mod extremes;
mod formats;
mod fresh;
mod recovery;
mod replay;
mod samples;
mod scenarios;
mod simulated;
mod snapshot;
mod snapshot_crash;
mod snapshot_damage;
mod snapshot_version;
mod specs;
mod stream_effects;
mod string_effects;
mod tidy;
mod zset_effects;
