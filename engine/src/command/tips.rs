//! What proxies and cluster clients are told of a command: where to send it, what to make of several
//! answers, whether two answers may differ.
//!
//! One table, as most commands have none. Witness: the tips of valkey src/commands/*.json, in
//! testdata/commands/tips.tsv.

/// Two calls may answer differently.
const RANDOM: &[&str] = &["nondeterministic_output"];
/// Two calls may answer in another order.
const UNORDERED: &[&str] = &["nondeterministic_output_order"];

/// Tips, and the commands that have them.
const TIPS: &[(&[&str], &[&str])] = &[
    (
        RANDOM,
        &[
            "client|info",
            "client|list",
            "cluster|bumpepoch",
            "cluster|count-failure-reports",
            "cluster|getkeysinslot",
            "cluster|info",
            "cluster|links",
            "cluster|myshardid",
            "cluster|nodes",
            "cluster|replicas",
            "cluster|shards",
            "cluster|slaves",
            "cluster|slots",
            "dump",
            "hrandfield",
            "hscan",
            "lastsave",
            "migrate",
            "object|encoding",
            "object|freq",
            "object|idletime",
            "object|refcount",
            "pttl",
            "spop",
            "srandmember",
            "sscan",
            "time",
            "ttl",
            "xadd",
            "xautoclaim",
            "xclaim",
            "xinfo|consumers",
            "xpending",
            "xtrim",
            "zrandmember",
            "zscan",
        ],
    ),
    (
        UNORDERED,
        &[
            "command",
            "command|docs",
            "command|info",
            "command|list",
            "function|list",
            "hgetall",
            "hkeys",
            "hvals",
            "module|list",
            "sdiff",
            "sinter",
            "smembers",
            "sunion",
        ],
    ),
    (
        &["request_policy:all_nodes", "response_policy:all_succeeded"],
        &[
            "client|setinfo",
            "client|setname",
            "commandlog|reset",
            "config|resetstat",
            "config|rewrite",
            "config|set",
            "script|flush",
            "script|load",
            "slowlog|reset",
        ],
    ),
    (
        &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
        &["latency|doctor", "latency|graph", "latency|histogram", "latency|history", "latency|latest"],
    ),
    (&["request_policy:multi_shard", "response_policy:agg_sum"], &["del", "exists", "touch", "unlink"]),
    (
        &["request_policy:all_shards", "response_policy:all_succeeded"],
        &[
            "flushall",
            "flushdb",
            "function|delete",
            "function|flush",
            "function|load",
            "function|restore",
            "memory|purge",
            "ping",
        ],
    ),
    (&["request_policy:all_shards", "response_policy:one_succeeded"], &["function|kill", "script|kill"]),
    (&["request_policy:all_shards", "response_policy:agg_logical_and"], &["script|exists"]),
    (
        &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
        &["function|stats", "info", "memory|doctor", "memory|malloc-stats", "memory|stats"],
    ),
    (&["request_policy:all_nodes", "nondeterministic_output"], &["commandlog|get", "slowlog|get"]),
    (
        &["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"],
        &["commandlog|len", "slowlog|len"],
    ),
    (&["request_policy:multi_shard", "response_policy:all_succeeded"], &["mset", "msetex"]),
    (&["request_policy:all_shards", "response_policy:agg_min"], &["wait", "waitaof"]),
    (&["request_policy:all_shards", "response_policy:agg_sum"], &["dbsize"]),
    (&["request_policy:all_shards", "nondeterministic_output_order"], &["keys"]),
    (&["request_policy:all_nodes", "response_policy:agg_sum"], &["latency|reset"]),
    (&["request_policy:multi_shard"], &["mget"]),
    (&["request_policy:all_shards", "response_policy:special", "nondeterministic_output"], &["randomkey"]),
    (
        &["nondeterministic_output", "request_policy:special", "response_policy:special"],
        &["clusterscan", "scan"],
    ),
    (&["nondeterministic_output", "request_policy:all_shards"], &["cluster|slot-stats"]),
];

/// The tips of a command, given by its full name. O(commands with tips).
#[must_use]
pub fn of(full_name: &str) -> &'static [&'static str] {
    let found = TIPS.iter().find(|(_, commands)| commands.contains(&full_name));
    found.map_or(&[], |(tips, _)| tips)
}

#[cfg(test)]
mod tests {
    use super::{TIPS, of};

    #[test]
    fn tips_are_those_of_a_real_server() {
        let witness = include_str!("../../../testdata/commands/tips.tsv");
        let rows: Vec<(&str, &str)> = witness.lines().filter_map(|line| line.split_once('\t')).collect();
        for (name, tips) in &rows {
            assert_eq!(of(name).join(" "), *tips, "{name}");
        }
        let known: usize = TIPS.iter().map(|(_, commands)| commands.len()).sum();
        assert_eq!(known, rows.len());
        assert!(of("get").is_empty());
    }
}
