//! INFO: snapshots, loading, and what the engine counts.

use cairn_engine::command::KeyStats;
use cairn_engine::engine::SnapshotStats;

use super::{field, line};
use crate::server::Server;

fn snapshots(server: &Server) -> SnapshotStats {
    server.engine.as_ref().map(|engine| engine.snapshot_stats().clone()).unwrap_or_default()
}

fn keys(server: &Server) -> KeyStats {
    server.engine.as_ref().map(|engine| *engine.key_stats()).unwrap_or_default()
}

pub(super) fn persistence(server: &Server, out: &mut String) {
    let stats = snapshots(server);
    let running = server.engine.as_ref().and_then(cairn_engine::engine::Engine::running);
    let (progress, since) = match running {
        Some((started, progress)) => (progress, (server.now.0 - started.0).max(0) / 1000),
        None => (cairn_engine::persist::snapshot::Progress::default(), -1),
    };
    let percent = 100.0 * progress.keys as f64 / progress.keys_total.max(1) as f64;
    field(out, "loading", u8::from(server.is_loading()));
    field(out, "async_loading", 0);
    field(out, "current_cow_peak", progress.cow_peak_bytes);
    field(out, "current_cow_size", progress.cow_bytes);
    field(out, "current_cow_size_age", if running.is_some() { since } else { 0 });
    field(out, "current_fork_perc", format_args!("{percent:.2}"));
    field(out, "current_save_keys_processed", progress.keys);
    field(out, "current_save_keys_total", progress.keys_total);
    field(out, "rdb_changes_since_last_save", stats.dirty);
    field(out, "rdb_bgsave_in_progress", u8::from(running.is_some()));
    field(out, "rdb_last_save_time", stats.last_save.secs());
    field(out, "rdb_last_bgsave_status", if stats.failed { "err" } else { "ok" });
    field(out, "rdb_last_bgsave_time_sec", stats.last_duration.map_or(-1, |d| d.as_secs() as i64));
    field(out, "rdb_current_bgsave_time_sec", since);
    field(out, "rdb_saves", stats.saves);
    field(out, "rdb_last_cow_size", stats.last_cow_bytes);
    field(out, "rdb_last_load_keys_expired", server.last_load.expired);
    field(out, "rdb_last_load_keys_loaded", server.last_load.keys);
    field(out, "aof_enabled", 0);
    field(out, "aof_rewrite_in_progress", 0);
    field(out, "aof_rewrite_scheduled", 0);
    field(out, "aof_last_rewrite_time_sec", -1);
    field(out, "aof_current_rewrite_time_sec", -1);
    field(out, "aof_last_bgrewrite_status", "ok");
    field(out, "aof_rewrites", 0);
    field(out, "aof_rewrites_consecutive_failures", 0);
    field(out, "aof_last_write_status", "ok");
    field(out, "aof_last_cow_size", 0);
    field(out, "module_fork_in_progress", 0);
    field(out, "module_fork_last_cow_size", 0);
    field(out, "slot_migration_fork_in_progress", 0);
    if let Some(loading) = &server.loading {
        let progress = loading.progress;
        let elapsed = loading.since.elapsed().as_secs_f64();
        let done = progress.bytes as f64 / progress.total_bytes.max(1) as f64;
        let left = if done > 0.0 { elapsed / done - elapsed } else { 0.0 };
        field(out, "loading_start_time", loading.start_seconds);
        field(out, "loading_total_bytes", progress.total_bytes);
        field(out, "loading_rdb_used_mem", 0);
        field(out, "loading_loaded_bytes", progress.bytes);
        field(out, "loading_loaded_perc", format_args!("{:.2}", done * 100.0));
        field(out, "loading_eta_seconds", left as u64);
    }
}

pub(super) fn keyspace(server: &Server, out: &mut String) {
    let Some(engine) = &server.engine else { return };
    for (index, db) in engine.keyspace().iter().enumerate().filter(|(_, db)| !db.is_empty()) {
        let (keys, expires, fields) = (db.len(), db.expires_len(), db.field_ttl_len());
        let avg_ttl = if expires > 0 { db.avg_ttl_ms() } else { 0 };
        line(
            out,
            format_args!(
                "db{index}:keys={keys},expires={expires},avg_ttl={avg_ttl},keys_with_volatile_items={fields},\
                 subexpiry={fields}"
            ),
        );
    }
}

pub(super) fn key_stats(server: &Server, out: &mut String) {
    let keys = keys(server);
    field(out, "expired_keys", keys.expired);
    // The one name is Valkey's, the other Redis's.
    field(out, "expired_fields", keys.expired_fields);
    field(out, "expired_subkeys", keys.expired_fields);
    field(out, "expired_stale_perc", format_args!("{:.2}", server.expiry.stale_percent));
    field(out, "expired_keys_with_volatile_items_stale_perc", "0.00");
    field(out, "expired_time_cap_reached_count", server.expire_time_caps);
    field(out, "expire_cycle_cpu_milliseconds", server.expire_time.as_millis());
}

pub(super) fn lookup_stats(server: &Server, out: &mut String) {
    let keys = keys(server);
    field(out, "keyspace_hits", keys.hits);
    field(out, "keyspace_misses", keys.misses);
}

pub(super) fn fork_stats(server: &Server, out: &mut String) {
    let stats = snapshots(server);
    field(out, "latest_fork_usec", stats.last_fork_us);
    field(out, "total_forks", stats.forks);
}
