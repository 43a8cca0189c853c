//! INFO: clients, and what has been counted.

use super::{field, line};
use crate::config::kind::percentile_text;
use crate::pause::Paused;
use crate::pubsub::Kind;
use crate::server::Server;
use crate::stats::CommandStats;

pub(super) fn clients(server: &Server, out: &mut String) {
    field(out, "connected_clients", server.clients.len());
    field(out, "cluster_connections", 0);
    field(out, "maxclients", server.config.maxclients);
    field(out, "client_recent_max_input_buffer", server.stats.peak_input);
    field(out, "client_recent_max_output_buffer", server.stats.peak_output);
    field(out, "blocked_clients", server.blocked.len() + server.held_clients());
    field(out, "tracking_clients", server.tracking.clients);
    field(out, "pubsub_clients", server.pubsub.clients());
    field(out, "watching_clients", server.watchers.clients());
    field(out, "clients_in_timeout_table", server.blocked.timeouts());
    field(out, "total_watched_keys", server.watchers.keys());
    field(out, "total_blocking_keys", server.blocked.keys());
    field(out, "total_blocking_keys_on_nokey", server.blocked.keys_unblocked_when_gone());
    let (reason, actions) = match server.paused() {
        None => ("none", "none"),
        Some(Paused::Writes) => ("client_pause", "write"),
        Some(Paused::All) => ("client_pause", "all"),
    };
    let until = server.pause.filter(|_| server.paused().is_some()).map(|pause| pause.until);
    field(out, "paused_reason", reason);
    field(out, "paused_actions", actions);
    field(out, "paused_timeout_milliseconds", until.map_or(0, |until| until.0.saturating_sub(server.now.0)));
}

pub(super) fn stats(server: &Server, out: &mut String) {
    let stats = &server.stats;
    let kilobytes = |per_second: u64| format!("{:.2}", per_second as f64 / 1024.0);
    field(out, "total_connections_received", stats.connections);
    field(out, "total_commands_processed", stats.commands);
    field(out, "instantaneous_ops_per_sec", stats.command_rate.per_second());
    field(out, "total_net_input_bytes", stats.input_bytes);
    field(out, "total_net_output_bytes", stats.output_bytes);
    field(out, "total_net_repl_input_bytes", 0);
    field(out, "total_net_repl_output_bytes", 0);
    field(out, "total_net_cluster_slot_import_bytes", 0);
    field(out, "total_net_cluster_slot_export_bytes", 0);
    field(out, "instantaneous_input_kbps", kilobytes(stats.input_rate.per_second()));
    field(out, "instantaneous_output_kbps", kilobytes(stats.output_rate.per_second()));
    field(out, "instantaneous_input_repl_kbps", "0.00");
    field(out, "instantaneous_output_repl_kbps", "0.00");
    field(out, "rejected_connections", stats.rejected_connections);
    field(out, "sync_full", 0);
    field(out, "sync_partial_ok", 0);
    field(out, "sync_partial_err", 0);
    super::persistence::key_stats(server, out);
    field(out, "evicted_keys", server.engine.as_ref().map_or(0, |engine| engine.key_stats().evicted));
    field(out, "evicted_clients", stats.evicted_clients);
    field(out, "evicted_scripts", server.scripting.scripts.evicted());
    let (now, ever) = server.memory.short();
    field(out, "total_eviction_exceeded_time", ever.as_millis());
    field(out, "current_eviction_exceeded_time", now.as_millis());
    super::persistence::lookup_stats(server, out);
    field(out, "pubsub_channels", server.pubsub.len(Kind::Channel));
    field(out, "pubsub_patterns", server.pubsub.len(Kind::Pattern));
    field(out, "pubsubshard_channels", server.pubsub.len(Kind::Shard));
    super::persistence::fork_stats(server, out);
    field(out, "migrate_cached_sockets", server.migrations.len());
    field(out, "slave_expires_tracked_keys", 0);
    field(out, "active_defrag_hits", 0);
    field(out, "active_defrag_misses", 0);
    field(out, "active_defrag_key_hits", 0);
    field(out, "active_defrag_key_misses", 0);
    field(out, "total_active_defrag_time", 0);
    field(out, "current_active_defrag_time", 0);
    field(out, "tracking_total_keys", server.tracking.keys());
    field(out, "tracking_total_items", server.tracking.items());
    field(out, "tracking_total_prefixes", server.tracking.prefixes());
    field(out, "unexpected_error_replies", 0);
    field(out, "total_error_replies", stats.errors);
    field(out, "dump_payload_sanitizations", 0);
    field(out, "total_reads_processed", stats.reads);
    field(out, "total_writes_processed", stats.writes);
    field(out, "io_threaded_reads_processed", 0);
    field(out, "io_threaded_writes_processed", 0);
    for name in ["freed_objects", "accept_processed", "poll_processed"] {
        field(out, &format!("io_threaded_{name}"), 0);
    }
    field(out, "io_threaded_total_prefetch_batches", 0);
    field(out, "io_threaded_total_prefetch_entries", 0);
    field(out, "client_query_buffer_limit_disconnections", stats.query_buffer_disconnections);
    field(out, "client_output_buffer_limit_disconnections", stats.output_buffer_disconnections);
    field(out, "reply_buffer_shrinks", 0);
    field(out, "reply_buffer_expands", 0);
    let command_us: u64 = stats.by_command.iter().map(|c| c.nanos / 1000).sum();
    let turns = stats.turn_rate.per_second();
    field(out, "eventloop_cycles", stats.turns);
    field(out, "eventloop_duration_sum", stats.turn_us);
    field(out, "eventloop_duration_cmd_sum", command_us);
    field(out, "instantaneous_eventloop_cycles_per_sec", turns);
    field(out, "instantaneous_eventloop_duration_usec", stats.turn_us_rate.per_second() / turns.max(1));
    field(out, "acl_access_denied_auth", stats.denied_auth);
    for name in ["cmd", "key", "channel", "tls_cert", "db"] {
        field(out, &format!("acl_access_denied_{name}"), 0);
    }
}

pub(super) fn debug(server: &Server, out: &mut String) {
    let stats = &server.stats;
    field(out, "eventloop_duration_aof_sum", 0);
    field(out, "eventloop_duration_cron_sum", stats.cron_us);
    field(out, "eventloop_duration_max", stats.max_turn_us);
    field(out, "eventloop_cmd_per_cycle_max", stats.max_turn_commands);
    field(out, "io_threaded_reads_pending", 0);
    field(out, "io_threaded_writes_pending", 0);
}

pub(super) fn commandstats(server: &Server, out: &mut String) {
    for (entry, stats) in server.commands.entries().iter().zip(&server.stats.by_command) {
        let CommandStats { calls, nanos, rejected, failed } = *stats;
        if calls == 0 && rejected == 0 && failed == 0 {
            continue;
        }
        let micros = nanos / 1000;
        let per_call = nanos as f64 / 1000.0 / calls.max(1) as f64;
        line(
            out,
            format_args!(
                "cmdstat_{}:calls={calls},usec={micros},usec_per_call={per_call:.2},rejected_calls={rejected},\
                 failed_calls={failed}",
                entry.full_name
            ),
        );
    }
}

pub(super) fn latencystats(server: &Server, out: &mut String) {
    for (number, entry) in (0..).zip(server.commands.entries()) {
        let Some(histogram) = server.observer.histogram(number) else { continue };
        let percentile = |percent: &f64| {
            let micros = histogram.percentile(*percent) as f64 / 1000.0;
            format!("p{}={micros:.3}", percentile_text(*percent))
        };
        let percentiles: Vec<String> = server.config.latency_percentiles.iter().map(percentile).collect();
        line(out, format_args!("latency_percentiles_usec_{}:{}", entry.full_name, percentiles.join(",")));
    }
}

pub(super) fn errorstats(server: &Server, out: &mut String) {
    let mut errors: Vec<&(String, u64)> = server.stats.by_error.iter().collect();
    errors.sort();
    for (code, count) in errors {
        line(out, format_args!("errorstat_{code}:count={count}"));
    }
}
