//! What the engines of these tests are made with.

use std::path::Path;

use cairn_engine::codec::rdb::Dialect;
use cairn_engine::engine::EngineConfig;
use cairn_engine::persist::apart::Apart;
use cairn_engine::persist::snapshot::{Settings, TargetChoice};
use cairn_engine::script::{Scripts, Versions};
use cairn_engine::value::Limits;

/// Sixteen databases, the default limits, snapshots at `path` in the version that the data needs.
pub(crate) fn config(path: &Path) -> EngineConfig {
    EngineConfig {
        databases: 16,
        seed: [5, 6],
        limits: Limits::DEFAULT,
        rdb_path: path.to_owned(),
        settings: Settings {
            target: TargetChoice::Auto(Dialect::Redis),
            compress: true,
            checksum: true,
            incremental_sync: true,
            key_delay_us: 0,
        },
        redis_version: "7.4.2",
        apart: Apart::ForkAndThreads,
    }
}

/// No scripts.
pub(crate) fn scripts() -> Scripts {
    Scripts::new(Versions { server_name: "cairn", redis: "7.4.2", valkey: "9.1.0" })
}
