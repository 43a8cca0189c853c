//! Directives of Redis and Valkey that this server knows and does not act on, so that the
//! configuration files people have start it.
//!
//! A value other than the default is answered by one warning in the log, or, where acting otherwise
//! would break a promise about data or access, by a refusal to start. Names and defaults are those of
//! valkey src/config.c and redis 7.0 src/config.c.

/// What a value other than the default means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ignoring {
    /// A matter of speed or comfort: a warning will do.
    Harmless,
    /// A matter of data or access: the server must not run as if it had obeyed.
    Unsafe,
}

/// A directive that is known and not acted on.
pub(crate) struct Stock {
    /// Name.
    pub(crate) name: &'static str,
    /// Another name; empty for none.
    pub(crate) alias: &'static str,
    /// Default.
    pub(crate) default: &'static str,
    /// What a value other than the default means.
    pub(crate) ignoring: Ignoring,
}

const fn harmless(name: &'static str, alias: &'static str, default: &'static str) -> Stock {
    Stock { name, alias, default, ignoring: Ignoring::Harmless }
}

const fn needed(name: &'static str, alias: &'static str, default: &'static str) -> Stock {
    Stock { name, alias, default, ignoring: Ignoring::Unsafe }
}

/// The directives.
pub(crate) static STOCK: &[Stock] = &[
    // Append-only file.
    needed("appendonly", "", "no"),
    harmless("appendfilename", "", "appendonly.aof"),
    harmless("appenddirname", "", "appendonlydir"),
    harmless("appendfsync", "", "everysec"),
    harmless("no-appendfsync-on-rewrite", "", "no"),
    harmless("auto-aof-rewrite-percentage", "", "100"),
    harmless("auto-aof-rewrite-min-size", "", "67108864"),
    harmless("aof-load-truncated", "", "yes"),
    harmless("aof-use-rdb-preamble", "", "yes"),
    harmless("aof-timestamp-enabled", "", "no"),
    harmless("aof-rewrite-incremental-fsync", "", "yes"),
    harmless("aof-disable-auto-gc", "", "no"),
    // Replication.
    needed("replicaof", "slaveof", ""),
    harmless("primaryauth", "masterauth", ""),
    harmless("primaryuser", "masteruser", ""),
    harmless("replica-serve-stale-data", "slave-serve-stale-data", "yes"),
    harmless("replica-read-only", "slave-read-only", "yes"),
    harmless("replica-priority", "slave-priority", "100"),
    harmless("replica-announced", "", "yes"),
    harmless("replica-announce-ip", "slave-announce-ip", ""),
    harmless("replica-announce-port", "slave-announce-port", "0"),
    harmless("replica-lazy-flush", "slave-lazy-flush", "no"),
    harmless("replica-ignore-maxmemory", "slave-ignore-maxmemory", "yes"),
    harmless("replica-ignore-disk-write-errors", "", "no"),
    harmless("repl-diskless-sync", "", "yes"),
    harmless("repl-diskless-sync-delay", "", "5"),
    harmless("repl-diskless-sync-max-replicas", "", "0"),
    harmless("repl-diskless-load", "", "disabled"),
    harmless("repl-disable-tcp-nodelay", "", "no"),
    harmless("repl-backlog-size", "", "10485760"),
    harmless("repl-backlog-ttl", "", "3600"),
    harmless("repl-timeout", "", "60"),
    harmless("repl-ping-replica-period", "repl-ping-slave-period", "10"),
    harmless("dual-channel-replication-enabled", "", "no"),
    harmless("rdb-del-sync-files", "", "no"),
    needed("min-replicas-to-write", "min-slaves-to-write", "0"),
    harmless("min-replicas-max-lag", "min-slaves-max-lag", "10"),
    // Cluster.
    needed("cluster-enabled", "", "no"),
    harmless("cluster-config-file", "", "nodes.conf"),
    harmless("cluster-node-timeout", "", "15000"),
    harmless("cluster-port", "", "0"),
    harmless("cluster-require-full-coverage", "", "yes"),
    harmless("cluster-replica-validity-factor", "cluster-slave-validity-factor", "10"),
    harmless("cluster-replica-no-failover", "cluster-slave-no-failover", "no"),
    harmless("cluster-migration-barrier", "", "1"),
    harmless("cluster-allow-replica-migration", "", "yes"),
    harmless("cluster-allow-reads-when-down", "", "no"),
    harmless("cluster-allow-pubsubshard-when-down", "", "yes"),
    harmless("cluster-announce-ip", "", ""),
    harmless("cluster-announce-port", "", "0"),
    harmless("cluster-announce-tls-port", "", "0"),
    harmless("cluster-announce-bus-port", "", "0"),
    harmless("cluster-announce-hostname", "", ""),
    harmless("cluster-preferred-endpoint-type", "", "ip"),
    harmless("cluster-link-sendbuf-limit", "", "0"),
    // Access.
    needed("aclfile", "", ""),
    harmless("acllog-max-len", "", "128"),
    harmless("acl-pubsub-default", "", "resetchannels"),
    needed("tls-port", "", "0"),
    harmless("tls-cluster", "", "no"),
    harmless("tls-replication", "", "no"),
    harmless("tls-auth-clients", "", "yes"),
    harmless("tls-prefer-server-ciphers", "", "no"),
    harmless("tls-session-caching", "", "yes"),
    harmless("tls-session-cache-size", "", "20480"),
    harmless("tls-session-cache-timeout", "", "300"),
    harmless("tls-cert-file", "", ""),
    harmless("tls-key-file", "", ""),
    harmless("tls-key-file-pass", "", ""),
    harmless("tls-client-cert-file", "", ""),
    harmless("tls-client-key-file", "", ""),
    harmless("tls-client-key-file-pass", "", ""),
    harmless("tls-dh-params-file", "", ""),
    harmless("tls-ca-cert-file", "", ""),
    harmless("tls-ca-cert-dir", "", ""),
    harmless("tls-protocols", "", ""),
    harmless("tls-ciphers", "", ""),
    harmless("tls-ciphersuites", "", ""),
    harmless("enable-module-command", "", "no"),
    harmless("bind-source-addr", "", ""),
    harmless("socket-mark-id", "", "0"),
    harmless("unixsocketgroup", "", ""),
    // Memory.
    harmless("maxmemory", "", "0"),
    harmless("maxmemory-policy", "", "noeviction"),
    harmless("maxmemory-samples", "", "5"),
    harmless("maxmemory-eviction-tenacity", "", "10"),
    harmless("maxmemory-clients", "", "0"),
    harmless("lfu-log-factor", "", "10"),
    harmless("lfu-decay-time", "", "1"),
    harmless("lazyfree-lazy-eviction", "", "no"),
    harmless("lazyfree-lazy-expire", "", "no"),
    harmless("lazyfree-lazy-server-del", "", "no"),
    harmless("lazyfree-lazy-user-del", "", "no"),
    harmless("lazyfree-lazy-user-flush", "", "no"),
    harmless("activedefrag", "", "no"),
    harmless("active-defrag-ignore-bytes", "", "104857600"),
    harmless("active-defrag-threshold-lower", "", "10"),
    harmless("active-defrag-threshold-upper", "", "100"),
    harmless("active-defrag-cycle-min", "", "1"),
    harmless("active-defrag-cycle-max", "", "25"),
    harmless("active-defrag-max-scan-fields", "", "1000"),
    harmless("active-expire-effort", "", "1"),
    harmless("activerehashing", "", "yes"),
    harmless("jemalloc-bg-thread", "", "yes"),
    harmless("disable-thp", "", "yes"),
    harmless("oom-score-adj", "", "no"),
    harmless("oom-score-adj-values", "", "0 200 800"),
    // Observing.
    harmless("slowlog-log-slower-than", "commandlog-execution-slower-than", "10000"),
    harmless("slowlog-max-len", "commandlog-slow-execution-max-len", "128"),
    harmless("commandlog-request-larger-than", "", "1048576"),
    harmless("commandlog-large-request-max-len", "", "128"),
    harmless("commandlog-reply-larger-than", "", "1048576"),
    harmless("commandlog-large-reply-max-len", "", "128"),
    harmless("latency-monitor-threshold", "", "0"),
    harmless("latency-tracking", "", "yes"),
    harmless("latency-tracking-info-percentiles", "", "50 99 99.9"),
    harmless("notify-keyspace-events", "", ""),
    harmless("tracking-table-max-keys", "", "1000000"),
    harmless("crash-log-enabled", "", "yes"),
    harmless("crash-memcheck-enabled", "", "yes"),
    harmless("watchdog-period", "", "0"),
    harmless("hide-user-data-from-log", "", "yes"),
    // The rest.
    harmless("always-show-logo", "", "no"),
    harmless("set-proc-title", "", "yes"),
    harmless("proc-title-template", "", "{title} {listen-addr} {server-mode}"),
    harmless("locale-collate", "", ""),
    harmless("supervised", "", "no"),
    harmless("syslog-enabled", "", "no"),
    harmless("syslog-ident", "", "redis"),
    harmless("syslog-facility", "", "local0"),
    harmless("dynamic-hz", "", "yes"),
    harmless("io-threads", "", "1"),
    harmless("io-threads-do-reads", "", "no"),
    harmless("events-per-io-thread", "", "2"),
    harmless("server_cpulist", "server-cpulist", ""),
    harmless("bio_cpulist", "bio-cpulist", ""),
    harmless("aof_rewrite_cpulist", "aof-rewrite-cpulist", ""),
    harmless("bgsave_cpulist", "bgsave-cpulist", ""),
    harmless("ignore-warnings", "", ""),
    harmless("lua-time-limit", "busy-reply-threshold", "5000"),
    harmless("propagation-error-behavior", "", "ignore"),
    harmless("rdb-save-incremental-fsync", "", "yes"),
    harmless("rdb-version-check", "", "strict"),
    harmless("sanitize-dump-payload", "", "no"),
    harmless("loading-process-events-interval-bytes", "", "2097152"),
    harmless("use-exit-on-panic", "", "no"),
    harmless("enable-debug-assert", "", "no"),
    harmless("extended-redis-compatibility", "", "no"),
];
