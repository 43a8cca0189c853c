//! Directives of Redis and Valkey that this server knows and does not act on, so that the
//! configuration files people have start it, and CONFIG GET and SET answer as they do there.
//!
//! A value other than the default is answered by a warning in the log, or, where acting otherwise
//! would break a promise about data or access, by a refusal to start. Names, types, limits and defaults
//! are those of valkey 9.1 src/config.c and, for what only Redis has, of redis 8.0 src/config.c.

use super::kind::{Kind, OneOf, Primary, SignedMemory, Words, YesNo};
use super::table::{Args, LONG, When, bytes, int};
use super::texts::{HOSTNAME, IPV4, IPV6, NODE_ADDRESS, NODE_NAME, Text, Word};

/// What a value other than the default means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ignoring {
    /// A matter of speed or comfort: a warning will do.
    Harmless,
    /// A matter of data or access: the server must not run as if it had obeyed.
    Unsafe,
}

/// Reads a directive's arguments into the one way that its value is written.
pub(crate) type ReadText = fn(&[&[u8]]) -> Result<Vec<u8>, String>;

/// A directive that is known and not acted on. Its value is kept as text.
pub(crate) struct Stock {
    /// Name.
    pub(crate) name: &'static str,
    /// Another name; empty for none.
    pub(crate) alias: &'static str,
    /// When it may be set.
    pub(crate) when: When,
    /// Arguments.
    pub(crate) args: Args,
    /// Default.
    pub(crate) default: &'static str,
    /// What a value other than the default means.
    pub(crate) ignoring: Ignoring,
    /// The value of these arguments, in the one way that it is written.
    pub(crate) read: ReadText,
    /// The arguments of each line that CONFIG REWRITE writes for these arguments.
    pub(crate) lines: fn(&[&[u8]]) -> Vec<Vec<u8>>,
}

const INT: i64 = i32::MAX as i64;
const UINT: i64 = u32::MAX as i64;
const ULONG: u64 = u64::MAX;
const SIZE: u64 = LONG as u64;

macro_rules! stock {
    ($($name:literal $(/ $alias:literal)? : $ignoring:ident, $when:ident, $args:ident, $kind:expr, $default:literal;)*) => {
        /// The directives.
        pub(crate) static STOCK: &[Stock] = &[$(Stock {
            name: $name,
            alias: concat!($($alias)?),
            when: When::$when,
            args: Args::$args,
            default: $default,
            ignoring: Ignoring::$ignoring,
            read: |args| Ok($kind.show(&$kind.parse(args)?)),
            lines: |args| $kind.parse(args).map_or_else(|_| Vec::new(), |value| $kind.lines(&value)),
        }),*];
    };
}

stock! {
    // Replication.
    "rdb-del-sync-files": Harmless, Always, One, YesNo, "no";
    "repl-disable-tcp-nodelay": Harmless, Always, One, YesNo, "no";
    "repl-mptcp": Harmless, Start, One, YesNo, "no";
    "repl-diskless-sync": Harmless, Always, One, YesNo, "yes";
    "dual-channel-replication-enabled": Harmless, Always, One, YesNo, "no";
    "replica-lazy-flush" / "slave-lazy-flush": Harmless, Always, One, YesNo, "yes";
    "replica-serve-stale-data" / "slave-serve-stale-data": Harmless, Always, One, YesNo, "yes";
    "replica-read-only" / "slave-read-only": Harmless, Always, One, YesNo, "yes";
    "replica-ignore-maxmemory" / "slave-ignore-maxmemory": Harmless, Always, One, YesNo, "yes";
    "replica-announced": Harmless, Always, One, YesNo, "yes";
    "replica-ignore-disk-write-errors": Harmless, Always, One, YesNo, "no";
    "replica-announce-ip" / "slave-announce-ip": Harmless, Always, One, Text, "";
    "primaryuser" / "masteruser": Harmless, Always, One, Text, "";
    "primaryauth" / "masterauth": Harmless, Always, One, Text, "";
    "repl-diskless-load": Harmless, Always, One, OneOf(&["disabled", "on-empty-db", "swapdb", "flush-before-load"]), "disabled";
    "replica-priority" / "slave-priority": Harmless, Always, One, int(0, INT), "100";
    "repl-diskless-sync-delay": Harmless, Always, One, int(0, INT), "5";
    "replica-announce-port" / "slave-announce-port": Harmless, Always, One, int(0, 65535), "0";
    "repl-timeout": Harmless, Always, One, int(1, INT), "60";
    "repl-ping-replica-period" / "repl-ping-slave-period": Harmless, Always, One, int(1, INT), "10";
    "repl-diskless-sync-max-replicas": Harmless, Always, One, int(0, INT), "0";
    "repl-backlog-size": Harmless, Always, One, bytes(1, SIZE), "10485760";
    "slot-migration-max-failover-repl-bytes": Harmless, Always, One, SignedMemory { min: -1 }, "0";
    "repl-backlog-ttl": Harmless, Always, One, int(0, LONG), "3600";
    "replicaof" / "slaveof": Unsafe, Start, Many, Primary, "";
    "repl-rdb-channel": Harmless, Always, One, YesNo, "yes";
    "replica-full-sync-buffer-limit": Harmless, Always, One, bytes(0, SIZE), "0";
    // Cluster.
    "cluster-require-full-coverage": Harmless, Always, One, YesNo, "yes";
    "cluster-replica-no-failover" / "cluster-slave-no-failover": Harmless, Always, One, YesNo, "no";
    "cluster-enabled": Unsafe, Start, One, YesNo, "no";
    "cluster-allow-reads-when-down": Harmless, Always, One, YesNo, "no";
    "cluster-allow-pubsubshard-when-down": Harmless, Always, One, YesNo, "yes";
    "cluster-allow-replica-migration": Harmless, Always, One, YesNo, "yes";
    "cluster-slot-stats-enabled": Harmless, Always, One, YesNo, "no";
    "cluster-announce-ip": Harmless, Always, One, NODE_ADDRESS, "";
    "cluster-announce-client-ipv4": Harmless, Always, One, IPV4, "";
    "cluster-announce-client-ipv6": Harmless, Always, One, IPV6, "";
    "cluster-config-file": Harmless, Start, One, Word, "nodes.conf";
    "cluster-announce-hostname": Harmless, Always, One, HOSTNAME, "";
    "cluster-announce-human-nodename": Harmless, Always, One, NODE_NAME, "";
    "cluster-preferred-endpoint-type": Harmless, Always, One, OneOf(&["ip", "hostname", "unknown-endpoint"]), "ip";
    "cluster-config-save-behavior": Harmless, Always, One, OneOf(&["sync", "best-effort"]), "sync";
    "cluster-databases": Harmless, Start, One, int(1, INT), "1";
    "cluster-replica-validity-factor" / "cluster-slave-validity-factor": Harmless, Always, One, int(0, INT), "10";
    "cluster-migration-barrier": Harmless, Always, One, int(0, INT), "1";
    "cluster-port": Harmless, Start, One, int(0, 65535), "0";
    "cluster-announce-bus-port": Harmless, Always, One, int(0, 65535), "0";
    "cluster-announce-port": Harmless, Always, One, int(0, 65535), "0";
    "cluster-announce-tls-port": Harmless, Always, One, int(0, 65535), "0";
    "cluster-announce-client-port": Harmless, Always, One, int(0, 65535), "0";
    "cluster-announce-client-tls-port": Harmless, Always, One, int(0, 65535), "0";
    "cluster-message-gossip-perc": Harmless, Always, One, int(1, 100), "10";
    "cluster-blacklist-ttl": Harmless, Always, One, int(0, LONG), "60";
    "cluster-slot-migration-log-max-len": Harmless, Always, One, int(0, LONG), "1000";
    "cluster-node-timeout": Harmless, Always, One, int(0, LONG), "15000";
    "cluster-ping-interval": Harmless, Always, One, int(0, LONG), "0";
    "cluster-manual-failover-timeout": Harmless, Always, One, int(1, INT), "5000";
    "cluster-link-sendbuf-limit": Harmless, Always, One, bytes(0, ULONG), "0";
    "cluster-compatibility-sample-ratio": Harmless, Always, One, int(0, 100), "0";
    // Access.
    "enable-debug-assert": Harmless, Start, One, YesNo, "no";
    "lua-enable-insecure-api" / "lua-enable-deprecated-api": Harmless, Protected, One, YesNo, "no";
    "aclfile": Unsafe, Start, One, Word, "";
    "bind-source-addr": Harmless, Always, One, Text, "";
    "acl-pubsub-default": Harmless, Always, One, OneOf(&["allchannels", "resetchannels"]), "resetchannels";
    "enable-module-command": Harmless, Start, One, OneOf(&["no", "yes", "local"]), "no";
    "mptcp": Harmless, Start, One, YesNo, "no";
    "rdma-port": Harmless, Always, One, int(0, 65535), "0";
    "rdma-rx-size": Harmless, Start, One, int(65536, 16777216), "1048576";
    "rdma-completion-vector": Harmless, Start, One, int(-1, 1024), "-1";
    "socket-mark-id": Harmless, Start, One, int(0, UINT), "0";
    "acllog-max-len": Harmless, Always, One, int(0, LONG), "128";
    "tls-port": Unsafe, Always, One, int(0, 65535), "0";
    "tls-session-cache-size": Harmless, Always, One, int(0, INT), "20480";
    "tls-session-cache-timeout": Harmless, Always, One, int(0, INT), "300";
    "tls-auto-reload-interval": Harmless, Always, One, int(0, INT), "0";
    "tls-cluster": Harmless, Always, One, YesNo, "no";
    "tls-replication": Harmless, Always, One, YesNo, "no";
    "tls-auth-clients": Harmless, Always, One, OneOf(&["no", "yes", "optional"]), "yes";
    "tls-auth-clients-user": Harmless, Always, One, OneOf(&["CN", "URI", "off"]), "off";
    "tls-prefer-server-ciphers": Harmless, Always, One, YesNo, "no";
    "tls-session-caching": Harmless, Always, One, YesNo, "yes";
    "tls-cert-file": Harmless, Always, One, Text, "";
    "tls-key-file": Harmless, Always, One, Text, "";
    "tls-key-file-pass": Harmless, Always, One, Text, "";
    "tls-client-cert-file": Harmless, Always, One, Text, "";
    "tls-client-key-file": Harmless, Always, One, Text, "";
    "tls-client-key-file-pass": Harmless, Always, One, Text, "";
    "tls-dh-params-file": Harmless, Always, One, Text, "";
    "tls-ca-cert-file": Harmless, Always, One, Text, "";
    "tls-ca-cert-dir": Harmless, Always, One, Text, "";
    "tls-protocols": Harmless, Always, One, Text, "";
    "tls-ciphers": Harmless, Always, One, Text, "";
    "tls-ciphersuites": Harmless, Always, One, Text, "";
    "rdma-bind": Harmless, Always, Many, Words { max: 16 }, "";
    // Memory.
    "activerehashing": Harmless, Always, One, YesNo, "yes";
    "jemalloc-bg-thread": Harmless, Always, One, YesNo, "yes";
    "activedefrag": Harmless, Always, One, YesNo, "no";
    "disable-thp": Harmless, Start, One, YesNo, "yes";
    "active-defrag-cycle-min": Harmless, Always, One, int(1, 99), "1";
    "active-defrag-cycle-max": Harmless, Always, One, int(1, 99), "25";
    "active-defrag-threshold-lower": Harmless, Always, One, int(0, 1000), "10";
    "active-defrag-threshold-upper": Harmless, Always, One, int(0, 1000), "100";
    "active-defrag-cycle-us": Harmless, Always, One, int(0, 100000), "500";
    "active-defrag-max-scan-fields": Harmless, Always, One, int(1, LONG), "1000";
    "active-defrag-ignore-bytes": Harmless, Always, One, bytes(1, SIZE), "104857600";
    // Observing.
    "crash-log-enabled": Harmless, Always, One, YesNo, "yes";
    "crash-memcheck-enabled": Harmless, Always, One, YesNo, "yes";
    "debug-context": Harmless, Always, One, Word, "";
    "watchdog-period": Harmless, Always, One, int(0, INT), "0";
    // The rest.
    "always-show-logo": Harmless, Start, One, YesNo, "no";
    "use-exit-on-panic": Harmless, Always, One, YesNo, "no";
    "extended-redis-compatibility": Harmless, Always, One, YesNo, "no";
    "io-threads-always-active": Harmless, Always, One, YesNo, "no";
    "server-cpulist" / "server_cpulist": Harmless, Start, One, Text, "";
    "bio-cpulist" / "bio_cpulist": Harmless, Start, One, Text, "";
    "aof-rewrite-cpulist" / "aof_rewrite_cpulist": Harmless, Start, One, Text, "";
    "bgsave-cpulist" / "bgsave_cpulist": Harmless, Start, One, Text, "";
    "ignore-warnings": Harmless, Always, One, Word, "";
    "locale-collate": Harmless, Always, One, Word, "";
    "hash-seed": Harmless, Start, One, Text, "";
    "propagation-error-behavior": Harmless, Always, One, OneOf(&["ignore", "panic", "panic-on-replicas"]), "ignore";
    "io-threads": Harmless, Always, One, int(1, 256), "1";
    "min-io-threads-avoid-copy-reply": Harmless, Always, One, int(0, INT), "7";
    "min-string-size-avoid-copy-reply": Harmless, Always, One, int(0, INT), "16384";
    "min-string-size-avoid-copy-reply-threaded": Harmless, Always, One, int(0, INT), "65536";
    "prefetch-batch-max-size": Harmless, Always, One, int(0, 128), "16";
    "max-new-connections-per-cycle": Harmless, Always, One, int(1, 1000), "10";
    "max-new-tls-connections-per-cycle": Harmless, Always, One, int(1, 1000), "1";
    "loading-process-events-interval-bytes": Harmless, Always, One, int(1024, INT), "2097152";
    "dynamic-hz": Harmless, Always, One, YesNo, "yes";
    "sanitize-dump-payload": Harmless, Always, One, OneOf(&["no", "yes", "clients"]), "no";
}
