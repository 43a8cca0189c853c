//! What changed in a command since it came: the `history` of COMMAND DOCS.
//!
//! Knows names, versions and what came with them, nothing of the commands themselves. Which version brought
//! what: valkey src/commands/*.json (versions up to 7.2 are Redis's, too).

/// A version, and what it changed.
type Change = (&'static str, &'static str);

const MANY_FIELDS: &[Change] = &[("2.4.0", "Several fields in one call.")];
const MANY_ELEMENTS: &[Change] = &[("2.4.0", "Several elements in one call.")];
const MANY_ELEMENTS_LATER: &[Change] = &[("4.0.0", "Several elements in one call.")];
const MANY_MEMBERS: &[Change] = &[("2.4.0", "Several members in one call.")];
const FRACTIONS: &[Change] = &[("6.0.0", "The timeout may be a fraction of seconds.")];
const CONDITIONS: &[Change] = &[("7.0.0", "Options NX, XX, GT and LT.")];
const FLUSH_MODES: &[Change] = &[("4.0.0", "Mode ASYNC."), ("6.2.0", "Mode SYNC.")];
const UNITS: Change = ("7.0.0", "Units may be written in capitals.");
const RADIUS: &[Change] = &[("6.2.0", "COUNT may be followed by ANY."), UNITS];
const SEARCH: &[Change] = &[UNITS, ("9.0.0", "Option BYPOLYGON.")];
const POP_COUNT: &[Change] = &[("6.2.0", "Argument count.")];
const NO_KEY: &[Change] = &[("2.8.0", "A key that is not there is told from one without expiry: -2.")];
const OPEN_ENDS: &[Change] = &[("6.2.0", "Ranges may exclude their ends.")];
const RESTORED: &[Change] =
    &[("3.0.0", "Option REPLACE."), ("5.0.0", "Option ABSTTL."), ("5.0.0", "Options IDLETIME and FREQ.")];
const WITH_SCORE: &[Change] = &[("7.2.0", "Option WITHSCORE.")];
const MORE_FILTERS: &str = "Filters NAME, IDLE, FLAGS, LIB-NAME, LIB-VER, DB, CAPA and IP, and NOT- in front of these \
                            and of older ones.";

/// Commands that servers send each other, or that tests of a server send.
const INTERNAL: &[&str] = &["cluster|syncslots", "debug", "pfdebug", "pfselftest"];

/// True for a command that is not for clients.
pub(super) fn is_internal(full_name: &str) -> bool {
    INTERNAL.contains(&full_name)
}

/// Since when another command is to be used in place of one, and which.
pub(super) fn replaced(full_name: &str) -> Option<(&'static str, &'static str)> {
    (full_name == "cluster|slaves").then_some(("5.0.0", "`CLUSTER REPLICAS`"))
}

/// Commands that have changed, by full name, in the order of the names.
const CHANGED: &[(&str, &[Change])] = &[
    ("auth", &[("6.0.0", "A user name may come first.")]),
    ("bgsave", &[("3.2.2", "Option SCHEDULE."), ("8.1.0", "Option CANCEL.")]),
    (
        "bitcount",
        &[
            ("7.0.0", "The range may be in bits: option BIT, or BYTE."),
            ("8.0.0", "The end may be left out, which means the last byte."),
        ],
    ),
    ("bitpos", &[("7.0.0", "The range may be in bits: option BIT, or BYTE.")]),
    ("blpop", FRACTIONS),
    ("brpop", FRACTIONS),
    ("brpoplpush", FRACTIONS),
    ("bzpopmax", FRACTIONS),
    ("bzpopmin", FRACTIONS),
    (
        "client|kill",
        &[
            ("2.8.12", "Filters, as name and value."),
            ("2.8.12", "Filter ID."),
            ("3.2.0", "Type master for the filter TYPE."),
            ("5.0.0", "Type replica, another word for slave."),
            ("6.2.0", "Filter LADDR."),
            ("8.0.0", "Filter MAXAGE."),
            ("8.0.0", "Type primary, another word for master."),
            ("8.1.0", "Filter ID takes several."),
            ("9.0.0", MORE_FILTERS),
        ],
    ),
    (
        "client|list",
        &[
            ("2.8.12", "Field id."),
            ("5.0.0", "Filter TYPE."),
            ("6.0.0", "Field user."),
            ("6.2.0", "Fields argv-mem, tot-mem, laddr and redir; filter ID."),
            ("7.0.0", "Fields resp, multi-mem, rbs and rbp."),
            ("7.0.3", "Field ssub."),
            ("8.0.0", "Type primary, another word for master."),
            ("8.1.0", "Filters USER, ADDR, LADDR, SKIPME and MAXAGE."),
            ("9.0.0", MORE_FILTERS),
        ],
    ),
    ("client|pause", &[("6.2.0", "A mode: WRITE, or ALL.")]),
    (
        "cluster|count-failure-reports",
        &[("9.0.0", "Reports on a node that is known to have failed do not count.")],
    ),
    ("cluster|meet", &[("4.0.0", "A port of the cluster's bus.")]),
    ("cluster|replicate", &[("9.0.0", "NO ONE, in place of a node.")]),
    ("cluster|setslot", &[("8.0.0", "Option TIMEOUT.")]),
    ("cluster|shards", &[("9.1.0", "Field id of a shard, field availability-zone of a node.")]),
    (
        "cluster|slots",
        &[
            ("4.0.0", "Names of nodes."),
            ("7.0.0", "More on how a node is reached."),
            ("9.1.0", "Field availability-zone of a node."),
        ],
    ),
    ("command|info", &[("7.0.0", "Without names it tells of all commands.")]),
    ("config|get", &[("7.0.0", "Several patterns in one call.")]),
    ("config|set", &[("7.0.0", "Several directives in one call.")]),
    ("exists", &[("3.0.3", "Several keys in one call.")]),
    ("expire", CONDITIONS),
    ("expireat", CONDITIONS),
    ("flushall", FLUSH_MODES),
    ("flushdb", FLUSH_MODES),
    ("geoadd", &[("6.2.0", "Options CH, NX and XX.")]),
    ("georadius", RADIUS),
    ("georadius_ro", RADIUS),
    ("georadiusbymember", RADIUS),
    ("georadiusbymember_ro", RADIUS),
    ("geosearch", SEARCH),
    ("geosearchstore", SEARCH),
    ("hdel", MANY_FIELDS),
    (
        "hello",
        &[
            ("6.2.0", "Without a version it only tells of the connection."),
            ("8.1.0", "Field availability_zone, if the server has one."),
        ],
    ),
    ("hset", &[("4.0.0", "Several fields in one call.")]),
    ("info", &[("7.0.0", "Several sections in one call.")]),
    ("lpop", POP_COUNT),
    ("lpush", MANY_ELEMENTS),
    ("lpushx", MANY_ELEMENTS_LATER),
    (
        "migrate",
        &[
            ("3.0.0", "Options COPY and REPLACE."),
            ("3.0.6", "Option KEYS."),
            ("4.0.7", "Option AUTH."),
            ("6.0.0", "Option AUTH2."),
        ],
    ),
    ("pexpire", CONDITIONS),
    ("pexpireat", CONDITIONS),
    ("pttl", NO_KEY),
    ("renamenx", &[("3.2.0", "Both names may be the same.")]),
    ("restore", RESTORED),
    ("rpop", POP_COUNT),
    ("rpush", MANY_ELEMENTS),
    ("rpushx", MANY_ELEMENTS_LATER),
    ("sadd", MANY_MEMBERS),
    ("scan", &[("6.0.0", "Option TYPE.")]),
    ("script|flush", &[("6.2.0", "Modes ASYNC and SYNC.")]),
    (
        "set",
        &[
            ("2.6.12", "Options EX, PX, NX and XX."),
            ("6.0.0", "Option KEEPTTL."),
            ("6.2.0", "Options GET, EXAT and PXAT."),
            ("7.0.0", "NX and GET go together."),
            ("8.1.0", "Option IFEQ."),
        ],
    ),
    ("shutdown", &[("7.0.0", "Options NOW, FORCE and ABORT."), ("9.0.0", "Options SAFE and FAILOVER.")]),
    ("slowlog|get", &[("4.0.0", "Address and name of the client.")]),
    ("spop", &[("3.2.0", "Argument count.")]),
    ("srandmember", &[("2.6.0", "Argument count.")]),
    ("srem", MANY_MEMBERS),
    ("ttl", NO_KEY),
    (
        "xadd",
        &[
            ("6.2.0", "Options NOMKSTREAM, MINID and LIMIT."),
            ("7.0.0", "The number behind the time may be left open: ms-*."),
        ],
    ),
    ("xautoclaim", &[("7.0.0", "Tells as a third element which entries were deleted.")]),
    ("xgroup|create", &[("7.0.0", "Option ENTRIESREAD.")]),
    ("xgroup|setid", &[("7.0.0", "Option ENTRIESREAD.")]),
    ("xinfo|consumers", &[("7.2.0", "Field inactive; idle counts from the last try, not the last success.")]),
    ("xinfo|groups", &[("7.0.0", "Fields entries-read and lag.")]),
    (
        "xinfo|stream",
        &[
            ("6.0.0", "Option FULL."),
            (
                "7.0.0",
                "Fields max-deleted-entry-id, entries-added, recorded-first-entry-id, entries-read and lag.",
            ),
            ("7.2.0", "Field active-time; seen-time is that of the last try, not the last success."),
        ],
    ),
    ("xpending", &[("6.2.0", "Option IDLE, and ranges may exclude their ends.")]),
    ("xrange", OPEN_ENDS),
    ("xrevrange", OPEN_ENDS),
    ("xsetid", &[("7.0.0", "Options ENTRIESADDED and MAXDELETEDID.")]),
    ("xtrim", &[("6.2.0", "Options MINID and LIMIT.")]),
    (
        "zadd",
        &[
            ("2.4.0", "Several members in one call."),
            ("3.0.2", "Options XX, NX, CH and INCR."),
            ("6.2.0", "Options GT and LT."),
        ],
    ),
    ("zrange", &[("6.2.0", "Options REV, BYSCORE, BYLEX and LIMIT.")]),
    ("zrangebyscore", &[("2.0.0", "Option WITHSCORES.")]),
    ("zrank", WITH_SCORE),
    ("zrem", MANY_MEMBERS),
    ("zrevrangebyscore", &[("2.1.6", "Ranges may exclude their ends.")]),
    ("zrevrank", WITH_SCORE),
    ("zscan", &[("8.0.0", "Option NOSCORES.")]),
];

/// The changes of a command, oldest first; none of most.
pub(super) fn changes(full_name: &str) -> &'static [Change] {
    match CHANGED.binary_search_by(|(name, _)| name.cmp(&full_name)) {
        Ok(at) => CHANGED[at].1,
        Err(_) => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::{CHANGED, changes};
    use crate::command::table::CommandTable;

    #[test]
    fn what_has_changed_is_there_and_in_order() {
        assert!(CHANGED.is_sorted_by(|a, b| a.0 < b.0));
        let table = CommandTable::new(&[]).expect("nothing is renamed");
        let version = |change: &(&str, &str)| -> Vec<u32> {
            change.0.split('.').map(|part| part.parse().expect("a version has numbers")).collect()
        };
        for (name, all) in CHANGED {
            assert!(table.by_full_name(name.as_bytes()).is_some(), "{name}");
            assert!(all.is_sorted_by_key(version) && !all.is_empty(), "{name}");
            assert!(all.iter().all(|(_, text)| text.ends_with('.')), "{name}");
        }
        assert_eq!(changes("scan"), [("6.0.0", "Option TYPE.")]);
        assert_eq!(changes("get"), []);
    }
}
