//! One row a directive: name, other name, what may be done with it, kind, type, default.
//!
//! From these rows come the configuration's fields, the reading of redis.conf, CONFIG GET and CONFIG
//! SET. Names, ranges and defaults are those of valkey src/config.c; where ours differ on purpose a
//! comment says why.

use cairn_engine::codec::rdb::Target;
use cairn_engine::keyspace::evict::Policy;
use cairn_engine::persist::aof::SyncPolicy;

use super::events::{EventLetters, Notify};
use super::kind::{
    Choice, DEFAULT_OUTPUT_LIMITS, Hz, Int, Kind, Memory, MemoryOrPercent, Octal, OomHow, OomScores,
    OutputLimit, OutputLimits, Percentiles, RdbTarget, SaveRule, SaveRules, ShutdownHow, ShutdownWords,
    Words, YesNo,
};
use super::texts::{FileName, Folder, PRELOAD, Text, TitleTemplate, Word};

/// What may be done with a directive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// CONFIG SET may change it.
    Always,
    /// CONFIG SET may, if `enable-protected-configs` allows.
    Protected,
    /// Only the configuration file and the command line may.
    Start,
}

/// Directives for tests: CONFIG GET shows them to those who ask by name, not by a pattern.
pub(crate) const HIDDEN: &[&str] = &[
    "aof-disable-auto-gc",
    "cluster-message-gossip-perc",
    "cluster-ping-interval",
    "debug-context",
    "enable-debug-assert",
    "io-threads-always-active",
    "key-load-delay",
    "loading-process-events-interval-bytes",
    "lua-enable-deprecated-api",
    "lua-enable-insecure-api",
    "min-io-threads-avoid-copy-reply",
    "min-string-size-avoid-copy-reply",
    "min-string-size-avoid-copy-reply-threaded",
    "rdb-key-save-delay",
    "repl-rdb-channel",
    "use-exit-on-panic",
    "watchdog-period",
];

/// Directives whose values are secrets: they are not shown to those who look at what others do.
pub(crate) const SECRET: &[&str] = &[
    "requirepass",
    "primaryuser",
    "masteruser",
    "primaryauth",
    "masterauth",
    "tls-key-file-pass",
    "tls-client-key-file-pass",
];

/// Directives that stay as they are while the data set loads.
pub(crate) const NOT_WHILE_LOADING: &[&str] = &["dir", "appendonly", "repl-diskless-load"];

/// How many arguments a directive takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Args {
    /// One.
    One,
    /// Several, or several in one quoted word.
    Many,
}

/// A directive.
pub(crate) struct Row {
    /// Name.
    pub(crate) name: &'static str,
    /// Another name, from before it was renamed; empty for none.
    pub(crate) alias: &'static str,
    /// When it may be set.
    pub(crate) when: When,
    /// Arguments.
    pub(crate) args: Args,
    /// Its value as text.
    pub(crate) show: fn(&Config) -> Vec<u8>,
    /// Sets it from its arguments; on an error it keeps its value.
    pub(crate) set: fn(&mut Config, &[&[u8]]) -> Result<(), String>,
    /// The arguments of each line that CONFIG REWRITE writes for it.
    pub(crate) lines: fn(&Config) -> Vec<Vec<u8>>,
}

/// Who may use a kind of command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Enable {
    /// Nobody.
    No,
    /// Everybody.
    Yes,
    /// Clients of this machine.
    Local,
}

/// Least level of a log line that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LogLevel {
    /// Everything.
    Debug,
    /// Much.
    Verbose,
    /// What an operator wants to know.
    Notice,
    /// What an operator must know.
    Warning,
    /// Nothing.
    Nothing,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// `PID:M time * message`.
    Legacy,
    /// `name=value` pairs.
    Logfmt,
    /// A JSON object.
    Json,
}

/// How a log line tells the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogTime {
    /// `21 Nov 2026 12:00:00.123`.
    Legacy,
    /// `2026-11-21T12:00:00.123+01:00`.
    Iso8601,
    /// Milliseconds since 1970.
    Millis,
}

/// Who started the process and wants to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Supervised {
    /// Upstart: by a stop signal.
    Upstart,
    /// Systemd: through a socket.
    Systemd,
    /// Whichever of them has left its variable in the environment.
    Auto,
    /// Nobody.
    No,
}

const OOM_HOW: Choice<OomHow> = Choice(&[
    ("no", OomHow::No),
    ("yes", OomHow::Relative),
    ("relative", OomHow::Relative),
    ("absolute", OomHow::Absolute),
]);
const LOG_FORMAT: Choice<LogFormat> =
    Choice(&[("legacy", LogFormat::Legacy), ("logfmt", LogFormat::Logfmt), ("json", LogFormat::Json)]);
const LOG_TIME: Choice<LogTime> =
    Choice(&[("legacy", LogTime::Legacy), ("iso8601", LogTime::Iso8601), ("milliseconds", LogTime::Millis)]);
const SUPERVISED: Choice<Supervised> = Choice(&[
    ("upstart", Supervised::Upstart),
    ("systemd", Supervised::Systemd),
    ("auto", Supervised::Auto),
    ("no", Supervised::No),
]);
/// Numbers of syslog's facilities.
const FACILITY: Choice<u8> = Choice(&[
    ("user", 1),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
]);
const ENABLE: Choice<Enable> = Choice(&[("no", Enable::No), ("yes", Enable::Yes), ("local", Enable::Local)]);
const LOG_LEVEL: Choice<LogLevel> = Choice(&[
    ("debug", LogLevel::Debug),
    ("verbose", LogLevel::Verbose),
    ("notice", LogLevel::Notice),
    ("warning", LogLevel::Warning),
    ("nothing", LogLevel::Nothing),
]);

const FSYNC: Choice<SyncPolicy> =
    Choice(&[("everysec", SyncPolicy::EverySec), ("always", SyncPolicy::Always), ("no", SyncPolicy::No)]);

/// Whether versions of RDB files that nobody has defined yet are read.
const VERSIONS: Choice<bool> = Choice(&[("strict", false), ("relaxed", true)]);

const POLICY: Choice<Policy> = Choice(&[
    ("volatile-lru", Policy::VolatileLru),
    ("volatile-lfu", Policy::VolatileLfu),
    ("volatile-random", Policy::VolatileRandom),
    ("volatile-ttl", Policy::VolatileTtl),
    ("allkeys-lru", Policy::AllkeysLru),
    ("allkeys-lfu", Policy::AllkeysLfu),
    ("allkeys-random", Policy::AllkeysRandom),
    ("noeviction", Policy::NoEviction),
]);

/// An integer of a range, ends included.
pub(super) const fn int(min: i64, max: i64) -> Int {
    Int { min, max }
}

/// Bytes of a range, ends included.
pub(super) const fn bytes(min: u64, max: u64) -> Memory {
    Memory { min, max }
}

/// The greatest integer.
pub(super) const LONG: i64 = i64::MAX;
const SIZE: u64 = i64::MAX as u64;
const MIB: u64 = 1 << 20;

macro_rules! directives {
    ($($name:literal $(/ $alias:literal)? : $field:ident, $when:ident, $args:ident, $kind:expr, $ty:ty = $default:expr;)*) => {
        /// Every directive that this server acts on.
        #[derive(Debug, Clone)]
        pub(crate) struct Config {
            $(#[doc = concat!("`", $name, "`")] pub(crate) $field: $ty,)*
            /// Values of the directives in `stock.rs`, in its order; `None` for the default.
            pub(crate) stock: Vec<Option<Vec<u8>>>,
            /// `rename-command`: old and new names.
            pub(crate) renames: Vec<(Vec<u8>, Vec<u8>)>,
        }

        impl Default for Config {
            fn default() -> Self {
                Config {
                    $($field: $default,)*
                    stock: vec![None; super::stock::STOCK.len()],
                    renames: Vec::new(),
                }
            }
        }

        /// The rows.
        pub(crate) static ROWS: &[Row] = &[$(Row {
            name: $name,
            alias: concat!($($alias)?),
            when: When::$when,
            args: Args::$args,
            show: |config| $kind.show(&config.$field),
            set: |config, args| {
                config.$field = $kind.parse(args)?;
                Ok(())
            },
            lines: |config| $kind.lines(&config.$field),
        }),*];
    };
}

directives! {
    // Network. Redis itself binds every interface unless its file says otherwise; we never do.
    "bind": bind, Always, Many, Words { max: 16 }, Vec<String> = vec!["127.0.0.1".into(), "-::1".into()];
    "port": port, Always, One, int(0, 65_535), i64 = 6379;
    "tcp-backlog": tcp_backlog, Start, One, int(0, i32::MAX as i64), i64 = 511;
    "unixsocket": unixsocket, Start, One, Text, Vec<u8> = Vec::new();
    "unixsocketperm": unixsocketperm, Start, One, Octal, u32 = 0;
    "unixsocketgroup": unixsocketgroup, Start, One, Text, Vec<u8> = Vec::new();
    "timeout": timeout_seconds, Always, One, int(0, i32::MAX as i64), i64 = 0;
    "tcp-keepalive": tcp_keepalive_seconds, Always, One, int(0, i32::MAX as i64), i64 = 300;
    "protected-mode": protected_mode, Always, One, YesNo, bool = true;
    "maxclients": maxclients, Always, One, int(1, u32::MAX as i64), i64 = 10_000;
    "client-query-buffer-limit": query_buffer_limit, Always, One, bytes(MIB, SIZE), u64 = 1 << 30;
    "client-output-buffer-limit": output_limits, Always, Many, OutputLimits,
        [OutputLimit; 3] = DEFAULT_OUTPUT_LIMITS;
    "proto-max-bulk-len": proto_max_bulk_len, Always, One, bytes(MIB, SIZE), u64 = 512 * MIB;

    // The process.
    "daemonize": daemonize, Start, One, YesNo, bool = false;
    "pidfile": pidfile, Start, One, Text, Vec<u8> = Vec::new();
    "loglevel": loglevel, Always, One, LOG_LEVEL, LogLevel = LogLevel::Notice;
    "logfile": logfile, Start, One, Word, Vec<u8> = Vec::new();
    "log-format": log_format, Always, One, LOG_FORMAT, LogFormat = LogFormat::Legacy;
    "log-timestamp-format": log_time, Always, One, LOG_TIME, LogTime = LogTime::Legacy;
    "syslog-enabled": syslog_enabled, Start, One, YesNo, bool = false;
    "syslog-ident": syslog_ident, Start, One, Word, Vec<u8> = b"redis".to_vec();
    "syslog-facility": syslog_facility, Start, One, FACILITY, u8 = 16;
    "supervised": supervised, Start, One, SUPERVISED, Supervised = Supervised::No;
    "set-proc-title": set_proc_title, Start, One, YesNo, bool = true;
    "proc-title-template": proc_title_template, Always, One, TitleTemplate,
        Vec<u8> = b"{title} {listen-addr} {server-mode}".to_vec();
    "oom-score-adj": oom_score_adj, Always, One, OOM_HOW, OomHow = OomHow::No;
    "oom-score-adj-values": oom_score_adj_values, Always, Many, OomScores, [i64; 3] = [0, 200, 800];
    "hz": hz, Always, One, Hz, i64 = 10;
    "shutdown-timeout": shutdown_timeout_seconds, Always, One, int(0, i32::MAX as i64), i64 = 10;
    "shutdown-on-sigint": shutdown_on_sigint, Always, Many, ShutdownWords, ShutdownHow = ShutdownHow::default();
    "shutdown-on-sigterm": shutdown_on_sigterm, Always, Many, ShutdownWords, ShutdownHow = ShutdownHow::default();

    // Who may do what.
    "requirepass": requirepass, Always, One, Text, Vec<u8> = Vec::new();
    "enable-protected-configs": enable_protected_configs, Start, One, ENABLE, Enable = Enable::No;
    "enable-debug-command": enable_debug_command, Start, One, ENABLE, Enable = Enable::No;

    // Who is told what.
    "hide-user-data-from-log": hide_user_data_from_log, Always, One, YesNo, bool = true;
    "notify-keyspace-events": notify, Always, One, EventLetters, Notify = Notify::default();
    "tracking-table-max-keys": tracking_table_max_keys, Always, One, int(0, LONG), i64 = 1_000_000;

    // What clients are told.
    "availability-zone": availability_zone, Always, One, Word, Vec<u8> = Vec::new();

    // Snapshots.
    "save": save, Always, Many, SaveRules, Vec<SaveRule> = vec![
        SaveRule { seconds: 3600, changes: 1 },
        SaveRule { seconds: 300, changes: 100 },
        SaveRule { seconds: 60, changes: 10_000 },
    ];
    "dir": dir, Protected, One, Folder, Vec<u8> = b".".to_vec();
    // Ours: no other server may use the folder meanwhile.
    "dir-lock": dir_lock, Start, One, YesNo, bool = true;
    "dbfilename": dbfilename, Protected, One, FileName { directive: "dbfilename", what: "filename" }, Vec<u8> = b"dump.rdb".to_vec();
    "rdbcompression": rdbcompression, Always, One, YesNo, bool = true;
    "rdbchecksum": rdbchecksum, Start, One, YesNo, bool = true;
    "rdb-target": rdb_target, Always, One, RdbTarget, Option<Target> = None;
    "rdb-key-save-delay": rdb_key_save_delay_us, Always, One, int(i32::MIN as i64, i32::MAX as i64), i64 = 0;
    "key-load-delay": key_load_delay_us, Always, One, int(i32::MIN as i64, i32::MAX as i64), i64 = 0;
    "stop-writes-on-bgsave-error": stop_writes_on_bgsave_error, Always, One, YesNo, bool = true;
    "rdb-save-incremental-fsync": rdb_incremental_fsync, Always, One, YesNo, bool = true;
    // Ours: a snapshot whose checksum was switched off is refused.
    "rdb-require-checksum": rdb_require_checksum, Always, One, YesNo, bool = false;

    "rdb-version-check": rdb_relaxed_version, Always, One, VERSIONS, bool = false;

    // The append-only file.
    "appendonly": appendonly, Always, One, YesNo, bool = false;
    "appendfsync": appendfsync, Always, One, FSYNC, SyncPolicy = SyncPolicy::EverySec;
    "appendfilename": appendfilename, Start, One, FileName { directive: "appendfilename", what: "filename" }, Vec<u8> = b"appendonly.aof".to_vec();
    "appenddirname": appenddirname, Start, One, FileName { directive: "appenddirname", what: "dirname" }, Vec<u8> = b"appendonlydir".to_vec();
    "no-appendfsync-on-rewrite": no_fsync_on_rewrite, Always, One, YesNo, bool = false;
    "auto-aof-rewrite-percentage": aof_rewrite_percentage, Always, One, int(0, i32::MAX as i64), i64 = 100;
    "auto-aof-rewrite-min-size": aof_rewrite_min_bytes, Always, One, bytes(0, SIZE), u64 = 64 * MIB;
    "aof-load-truncated": aof_load_truncated, Always, One, YesNo, bool = true;
    // Of Redis 8.4: a tail that cannot be read is cut if it has so many bytes at the most.
    "aof-load-corrupt-tail-max-size": aof_corrupt_tail_max_bytes, Always, One, bytes(0, SIZE), u64 = 0;
    "aof-use-rdb-preamble": aof_use_preamble, Always, One, YesNo, bool = true;
    "aof-timestamp-enabled": aof_timestamps, Always, One, YesNo, bool = false;
    "aof-rewrite-incremental-fsync": aof_incremental_fsync, Always, One, YesNo, bool = true;
    "aof-disable-auto-gc": aof_disable_auto_gc, Always, One, YesNo, bool = false;
    // Ours: checksums in the log and its manifest, in lines that other servers skip; from the next file on.
    "aof-checksum": aof_checksum, Always, One, YesNo, bool = true;
    // Ours: under `always` a file with checksums is longer than its log, so that syncs need not make it longer.
    "aof-preallocate": aof_preallocate, Always, One, YesNo, bool = true;

    // Backups, as Redis 8.10 has them.
    "backupdirname": backupdirname, Start, One, FileName { directive: "backupdirname", what: "dirname" }, Vec<u8> = b"backupdir".to_vec();
    "backup-sealed-ttl": backup_sealed_ttl_s, Always, One, int(0, LONG), i64 = 0;
    // What a start loads in the place of what its folder has.
    "preload-file": preload_file, Start, One, PRELOAD, Vec<u8> = Vec::new();

    // Scripts.
    "busy-reply-threshold" / "lua-time-limit": busy_reply_threshold_ms, Always, One, int(0, LONG), i64 = 5000;

    // Observing.
    // Keys that have expired stay until who imports them says otherwise.
    "import-mode": import_mode, Always, One, YesNo, bool = false;
    // There are no replicas yet, so any number of them is too few.
    "min-replicas-to-write" / "min-slaves-to-write": min_replicas_to_write, Always, One, int(0, i64::from(i32::MAX)), i64 = 0;
    "min-replicas-max-lag" / "min-slaves-max-lag": min_replicas_max_lag, Always, One, int(0, i64::from(i32::MAX)), i64 = 10;
    "commandlog-execution-slower-than" / "slowlog-log-slower-than": slower_than_us, Always, One, int(-1, LONG), i64 = 10_000;
    "commandlog-slow-execution-max-len" / "slowlog-max-len": slow_max_len, Always, One, int(0, LONG), i64 = 128;
    "commandlog-request-larger-than": request_larger_than, Always, One, int(-1, LONG), i64 = 1 << 20;
    "commandlog-large-request-max-len": large_request_max_len, Always, One, int(0, LONG), i64 = 128;
    "commandlog-reply-larger-than": reply_larger_than, Always, One, int(-1, LONG), i64 = 1 << 20;
    "commandlog-large-reply-max-len": large_reply_max_len, Always, One, int(0, LONG), i64 = 128;
    "latency-monitor-threshold": latency_threshold_ms, Always, One, int(0, LONG), i64 = 0;
    "latency-tracking": latency_tracking, Always, One, YesNo, bool = true;
    "latency-tracking-info-percentiles": latency_percentiles, Always, Many, Percentiles, Vec<f64> = vec![50.0, 99.0, 99.9];

    // The data set.
    "databases": databases, Start, One, int(1, i32::MAX as i64), i64 = 16;
    "hash-max-listpack-entries" / "hash-max-ziplist-entries": hash_max_listpack_entries, Always, One, int(0, LONG), i64 = 512;
    "hash-max-listpack-value" / "hash-max-ziplist-value": hash_max_listpack_value, Always, One, bytes(0, SIZE), u64 = 64;
    "set-max-intset-entries": set_max_intset_entries, Always, One, int(0, LONG), i64 = 512;
    "set-max-listpack-entries": set_max_listpack_entries, Always, One, int(0, LONG), i64 = 128;
    "set-max-listpack-value": set_max_listpack_value, Always, One, int(0, LONG), i64 = 64;
    "zset-max-listpack-entries" / "zset-max-ziplist-entries": zset_max_listpack_entries, Always, One, int(0, LONG), i64 = 128;
    "zset-max-listpack-value" / "zset-max-ziplist-value": zset_max_listpack_value, Always, One, bytes(0, SIZE), u64 = 64;
    "list-max-listpack-size" / "list-max-ziplist-size": list_max_listpack_size, Always, One, int(i32::MIN as i64, i32::MAX as i64), i64 = -2;
    "list-compress-depth": list_compress_depth, Always, One, int(0, i32::MAX as i64), i64 = 0;
    "stream-node-max-bytes": stream_node_max_bytes, Always, One, bytes(0, SIZE), u64 = 4096;
    "stream-node-max-entries": stream_node_max_entries, Always, One, int(0, LONG), i64 = 100;
    "hll-sparse-max-bytes": hll_sparse_max_bytes, Always, One, bytes(0, SIZE), u64 = 3000;

    // Memory: how much, who goes when it is full, and what is freed on a thread of its own.
    "maxmemory": maxmemory, Always, One, bytes(0, u64::MAX), u64 = 0;
    "maxmemory-policy": maxmemory_policy, Always, One, POLICY, Policy = Policy::NoEviction;
    "maxmemory-samples": maxmemory_samples, Always, One, int(1, 64), i64 = 5;
    "maxmemory-eviction-tenacity": maxmemory_eviction_tenacity, Always, One, int(0, 100), i64 = 10;
    "maxmemory-clients": maxmemory_clients, Always, One, MemoryOrPercent, i64 = 0;
    "lfu-log-factor": lfu_log_factor, Always, One, int(0, i32::MAX as i64), i64 = 10;
    "lfu-decay-time": lfu_decay_time, Always, One, int(0, i32::MAX as i64), i64 = 1;
    "lazyfree-lazy-eviction": lazyfree_lazy_eviction, Always, One, YesNo, bool = true;
    "lazyfree-lazy-expire": lazyfree_lazy_expire, Always, One, YesNo, bool = true;
    "lazyfree-lazy-server-del": lazyfree_lazy_server_del, Always, One, YesNo, bool = true;
    "lazyfree-lazy-user-del": lazyfree_lazy_user_del, Always, One, YesNo, bool = true;
    "lazyfree-lazy-user-flush": lazyfree_lazy_user_flush, Always, One, YesNo, bool = true;
    "active-expire-effort": active_expire_effort, Always, One, int(1, 10), i64 = 1;
}
