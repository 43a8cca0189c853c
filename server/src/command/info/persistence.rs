//! INFO: snapshots, loading, and what the engine counts.

use std::time::Duration;

use cairn_engine::command::KeyStats;
use cairn_engine::engine::{Engine, SnapshotStats};
use cairn_engine::persist::aof::AofStats;

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
    let running = server.engine.as_ref().and_then(Engine::running);
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
    log(server, out);
    field(out, "backup_in_progress", u8::from(server.backup_state().is_in_progress()));
    field(out, "module_fork_in_progress", 0);
    field(out, "module_fork_last_cow_size", 0);
    field(out, "slot_migration_fork_in_progress", 0);
    if server.config.appendonly {
        log_sizes(server, out);
    }
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

/// What is known of the log, on or off.
fn log(server: &Server, out: &mut String) {
    let stats = aof(server);
    let seconds = |time: Option<Duration>| time.map_or(-1, |time| time.as_secs() as i64);
    let since = stats.rewrite_since.filter(|_| server.is_rewriting());
    let status = |is_ok: bool| if is_ok { "ok" } else { "err" };
    field(out, "aof_enabled", u8::from(server.aof.is_on));
    field(out, "aof_rewrite_in_progress", u8::from(server.is_rewriting_or_tidying()));
    field(out, "aof_rewrite_scheduled", u8::from(server.is_rewrite_scheduled()));
    field(out, "aof_last_rewrite_time_sec", seconds(stats.last_rewrite));
    field(
        out,
        "aof_current_rewrite_time_sec",
        seconds(since.map(|since| server.now_instant.saturating_duration_since(since))),
    );
    field(out, "aof_last_bgrewrite_status", status(stats.last_rewrite_ok));
    field(out, "aof_rewrites", stats.rewrites);
    field(out, "aof_rewrites_consecutive_failures", stats.failures);
    field(out, "aof_last_write_status", status(server.aof.error().is_none()));
    field(out, "aof_last_cow_size", stats.last_cow_bytes);
}

/// What is known of a log that is wanted. The last fields are ours: what is wrong, when a rewrite that
/// failed again and again is tried next, and whether damage to the files would show.
fn log_sizes(server: &Server, out: &mut String) {
    let stats = aof(server);
    field(out, "aof_current_size", stats.bytes);
    field(out, "aof_base_size", stats.base_bytes);
    field(out, "aof_pending_rewrite", u8::from(server.is_rewrite_scheduled()));
    field(out, "aof_buffer_length", stats.pending_bytes);
    field(out, "aof_pending_bio_fsync", stats.pending_syncs);
    field(out, "aof_delayed_fsync", stats.delayed_syncs);
    field(out, "aof_last_error", server.aof.last_error());
    field(out, "aof_next_retry_sec", stats.retry_in.map_or(-1, |left| left.as_secs() as i64));
    field(out, "aof_last_load_torn_bytes", server.last_load.torn_bytes);
    field(out, "aof_last_load_errors", server.last_load.errors);
    let is_checked = server.engine.as_ref().is_some_and(Engine::aof_is_checked);
    field(out, "aof_checked", u8::from(is_checked));
}

fn aof(server: &Server) -> AofStats {
    server.engine.as_ref().map(|engine| engine.aof_stats(server.now_instant)).unwrap_or_default()
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
