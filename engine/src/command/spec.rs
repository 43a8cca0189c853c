//! What is known of a command besides how it runs: the one source of arity, flags, keys, categories,
//! COMMAND, COMMAND DOCS and of the README's list.
//!
//! Nothing here runs anything. Witness for the facts: valkey src/commands/*.json; summaries and
//! complexities are in our own words.

use std::ops::BitOr;

use super::finders::{self, KeyFinder};

/// The group a command is listed under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the groups' names say it")]
pub enum Group {
    Bitmap,
    Cluster,
    Connection,
    Generic,
    Geo,
    Hash,
    Hyperloglog,
    List,
    Pubsub,
    Scripting,
    Server,
    Set,
    SortedSet,
    Stream,
    String,
    Transactions,
}

impl Group {
    /// The name in COMMAND DOCS.
    pub const fn name(self) -> &'static str {
        match self {
            Group::Bitmap => "bitmap",
            Group::Cluster => "cluster",
            Group::Connection => "connection",
            Group::Generic => "generic",
            Group::Geo => "geo",
            Group::Hash => "hash",
            Group::Hyperloglog => "hyperloglog",
            Group::List => "list",
            Group::Pubsub => "pubsub",
            Group::Scripting => "scripting",
            Group::Server => "server",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Stream => "stream",
            Group::String => "string",
            Group::Transactions => "transactions",
        }
    }

    /// The ACL category that every command of the group is in, if there is one.
    const fn category(self) -> Option<&'static str> {
        Some(match self {
            Group::Bitmap => "bitmap",
            Group::Connection => "connection",
            Group::Generic => "keyspace",
            Group::Geo => "geo",
            Group::Hash => "hash",
            Group::Hyperloglog => "hyperloglog",
            Group::List => "list",
            Group::Scripting => "scripting",
            // Publishing and subscribing is a flag, which PUBSUB HELP does not have.
            Group::Pubsub | Group::Server | Group::Cluster => return None,
            Group::Set => "set",
            Group::SortedSet => "sortedset",
            Group::Stream => "stream",
            Group::String => "string",
            Group::Transactions => "transaction",
        })
    }
}

/// A set of command flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(u32);

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $bit:literal, $text:literal;)*) => {
        $($(#[$doc])* pub const $name: Flags = Flags(1 << $bit);)*
        /// Every flag with its name, in the order that COMMAND INFO prints them.
        const NAMED_FLAGS: &[(Flags, &str)] = &[$(($name, $text)),*];
    };
}

flags! {
    /// May change the data set.
    WRITE = 0, "write";
    /// Never changes the data set.
    READONLY = 1, "readonly";
    /// May grow memory: refused when over maxmemory.
    DENYOOM = 2, "denyoom";
    /// For operators.
    ADMIN = 3, "admin";
    /// Publishes or subscribes.
    PUBSUB = 4, "pubsub";
    /// Not from scripts.
    NOSCRIPT = 5, "noscript";
    /// May wait for a key.
    BLOCKING = 6, "blocking";
    /// Runs while the data set loads.
    LOADING = 7, "loading";
    /// Runs on a replica with stale data.
    STALE = 8, "stale";
    /// Not shown by MONITOR.
    SKIP_MONITOR = 9, "skip_monitor";
    /// Not logged as slow.
    SKIP_SLOWLOG = 10, "skip_commandlog";
    /// Implies ASKING in a cluster.
    ASKING = 11, "asking";
    /// Constant or logarithmic time.
    FAST = 12, "fast";
    /// Allowed before AUTH.
    NO_AUTH = 13, "no_auth";
    /// Replicates without being a write.
    MAY_REPLICATE = 14, "may_replicate";
    /// Not while a replica loads beside live data.
    NO_ASYNC_LOADING = 15, "no_async_loading";
    /// Not inside MULTI.
    NO_MULTI = 16, "no_multi";
    /// Keys are optional.
    NO_MANDATORY_KEYS = 17, "no_mandatory_keys";
    /// Needs an enable- directive.
    PROTECTED = 18, "protected";
    /// Runs while a script is busy.
    ALLOW_BUSY = 19, "allow_busy";
    /// Touches keys that its arguments do not name.
    TOUCHES_ARBITRARY_KEYS = 20, "touches_arbitrary_keys";
}

/// The ACL categories, in the order in which COMMAND INFO names those of a command.
const CATEGORIES: [&str; 21] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

impl Flags {
    /// No flag.
    pub const NONE: Flags = Flags(0);

    /// Both sets.
    pub const fn or(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Those that are not in `other`.
    pub const fn without(self, other: Flags) -> Flags {
        Flags(self.0 & !other.0)
    }

    /// True if every flag of `other` is in.
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names, as COMMAND INFO gives them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMED_FLAGS.iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, name)| *name)
    }
}

impl BitOr for Flags {
    type Output = Flags;
    fn bitor(self, other: Flags) -> Flags {
        self.or(other)
    }
}

/// What a command does with a key, as COMMAND INFO names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyUse {
    /// `RO`, `RW`, `OW` or `RM`.
    pub mode: &'static str,
    /// `access`, `update`, `insert`, `delete`: any of them.
    pub effects: &'static [&'static str],
}

/// Reads and returns user data.
pub const READS: KeyUse = KeyUse { mode: "RO", effects: &["access"] };
/// Reads only what is known about the value (type, length, existence).
pub const LOOKS: KeyUse = KeyUse { mode: "RO", effects: &[] };
/// Reads and changes.
pub const UPDATES: KeyUse = KeyUse { mode: "RW", effects: &["update"] };
/// Reads, returns and changes.
pub const READS_AND_UPDATES: KeyUse = KeyUse { mode: "RW", effects: &["access", "update"] };
/// Adds without looking at what is there.
pub const INSERTS: KeyUse = KeyUse { mode: "RW", effects: &["insert"] };
/// Makes a key that was not there.
pub const FILLS: KeyUse = KeyUse { mode: "OW", effects: &["insert"] };
/// Takes away from the value.
pub const DELETES: KeyUse = KeyUse { mode: "RW", effects: &["delete"] };
/// Reads, returns and takes away.
pub const READS_AND_DELETES: KeyUse = KeyUse { mode: "RW", effects: &["access", "delete"] };
/// Overwrites.
pub const OVERWRITES: KeyUse = KeyUse { mode: "OW", effects: &["update"] };
/// Removes the key.
pub const REMOVES: KeyUse = KeyUse { mode: "RM", effects: &["delete"] };

/// Words among a key's effects that say something about the group itself.
pub const HINTS: [&str; 2] = ["variable_flags", "incomplete"];

/// Reads and changes, or less: the options decide.
pub const READS_AND_MAY_UPDATE: KeyUse =
    KeyUse { mode: "RW", effects: &["access", "update", "variable_flags"] };
/// Overwrites if its option is there.
pub const MAY_OVERWRITE: KeyUse = KeyUse { mode: "OW", effects: &["update", "variable_flags"] };
/// No keys but channels of a shard, which have a slot as keys do.
pub const CHANNELS: KeyUse = KeyUse { mode: "not_key", effects: &[] };

/// Nothing is known but that it is a key.
pub const UNKNOWN: KeyUse = KeyUse { mode: "", effects: &[] };

/// Where a group of keys begins among the arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeginSearch {
    /// At this position.
    Index(usize),
    /// After this word, looked for from a position (negative: from the end, backwards).
    Keyword(&'static str, i32),
    /// Only the command's own finder knows.
    Unknown,
}

/// How the keys go on from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindKeys {
    /// Up to `last` (relative; negative counts from the end of argv), every `step`; with a `limit` of
    /// n only the first n-th part of what is left.
    Range {
        /// Last key relative to the first.
        last: i32,
        /// Distance from key to key.
        step: usize,
        /// 0 and 1 mean no limit.
        limit: usize,
    },
    /// A count, and keys after it; both relative to the beginning.
    KeyNum {
        /// Where the count is.
        count_at: usize,
        /// Where the first key is.
        first: usize,
        /// Distance from key to key.
        step: usize,
    },
    /// Only the command's own finder knows.
    Unknown,
}

/// One group of keys among a command's arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySpec {
    /// What the command does with them.
    pub uses: KeyUse,
    /// Where they begin.
    pub begin: BeginSearch,
    /// How they go on.
    pub find: FindKeys,
}

impl KeySpec {
    /// One key at this position.
    pub const fn one(at: usize, uses: KeyUse) -> KeySpec {
        KeySpec { uses, begin: BeginSearch::Index(at), find: FindKeys::Range { last: 0, step: 1, limit: 0 } }
    }

    /// Keys from this position to the end, every `step` arguments.
    pub const fn rest(at: usize, step: usize, uses: KeyUse) -> KeySpec {
        KeySpec { uses, begin: BeginSearch::Index(at), find: FindKeys::Range { last: -1, step, limit: 0 } }
    }

    /// Keys that only the command's own finder finds.
    pub const fn somewhere(uses: KeyUse) -> KeySpec {
        KeySpec { uses, begin: BeginSearch::Unknown, find: FindKeys::Unknown }
    }

    /// A count at this position and as many keys after it.
    pub const fn counted(at: usize, uses: KeyUse) -> KeySpec {
        let find = FindKeys::KeyNum { count_at: 0, first: 1, step: 1 };
        KeySpec { uses, begin: BeginSearch::Index(at), find }
    }
}

/// Everything about a command but its code.
///
/// `syntax` is the argument grammar, from which COMMAND DOCS and the tests derive: words in capitals
/// are tokens, lower-case words are values (`name` or `name:type` with type one of string, int, double,
/// key, pattern, unix-time; `key...` names are keys by themselves), `[ ]` optional, `< | >` or `[ | ]`
/// choices, `...` after an item means one or more. What else COMMAND DOCS tells stands in the same words:
/// `name=` before a bracket or a token names it, `TOKEN:` behind an opening bracket introduces all that is
/// in there, `@` and a version say since when there is an argument, `!` since when it is given up,
/// `name~text` what people are shown of a value, `#n` the group of keys that it belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// Lower case; a subcommand has its own word only.
    pub name: &'static str,
    /// The container command of a subcommand.
    pub parent: Option<&'static str>,
    /// Group.
    pub group: Group,
    /// First Redis version that had it.
    pub since: &'static str,
    /// Number of arguments with the command's own words; negative: at least so many.
    pub arity: i32,
    /// Argument grammar.
    pub syntax: &'static str,
    /// Flags.
    pub flags: Flags,
    /// Groups of keys.
    pub keys: &'static [KeySpec],
    /// Finds the keys where the groups do not tell everything.
    pub finder: Option<KeyFinder>,
    /// Cost.
    pub complexity: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// ACL categories beyond those that follow from group and flags.
    pub categories: &'static [&'static str],
    /// Only its subcommands do something.
    pub is_container: bool,
}

impl Spec {
    /// A command with the facts that each has.
    pub const fn new(
        name: &'static str,
        group: Group,
        since: &'static str,
        arity: i32,
        syntax: &'static str,
    ) -> Spec {
        Spec {
            name,
            parent: None,
            group,
            since,
            arity,
            syntax,
            flags: Flags::NONE,
            keys: &[],
            finder: None,
            complexity: "O(1)",
            summary: "",
            categories: &[],
            is_container: false,
        }
    }

    /// Sets the flags.
    pub const fn flags(mut self, flags: Flags) -> Spec {
        self.flags = flags;
        self
    }

    /// Sets the key groups.
    pub const fn keys(mut self, keys: &'static [KeySpec]) -> Spec {
        self.keys = keys;
        self
    }

    /// Sets what finds the keys in place of their groups.
    pub const fn finder(mut self, finder: KeyFinder) -> Spec {
        self.finder = Some(finder);
        self
    }

    /// Sets the cost.
    pub const fn complexity(mut self, complexity: &'static str) -> Spec {
        self.complexity = complexity;
        self
    }

    /// Sets the summary.
    pub const fn summary(mut self, summary: &'static str) -> Spec {
        self.summary = summary;
        self
    }

    /// Adds ACL categories.
    pub const fn categories(mut self, categories: &'static [&'static str]) -> Spec {
        self.categories = categories;
        self
    }

    /// Makes it a container: of a container's categories Valkey knows only the cost.
    pub const fn container(mut self) -> Spec {
        self.is_container = true;
        self
    }

    /// Makes it a subcommand.
    pub const fn parent(mut self, parent: &'static str) -> Spec {
        self.parent = Some(parent);
        self
    }

    /// What proxies and cluster clients are told.
    pub fn tips(&self) -> &'static [&'static str] {
        super::tips::of(&self.full_name())
    }

    /// `name`, or `parent|name`.
    pub fn full_name(&self) -> String {
        match self.parent {
            Some(parent) => format!("{parent}|{}", self.name),
            None => self.name.to_owned(),
        }
    }

    /// True if `argc` arguments (the command's own words counted) are enough and not too many.
    pub const fn accepts(&self, argc: usize) -> bool {
        if self.arity >= 0 {
            argc == self.arity.unsigned_abs() as usize
        } else {
            argc >= self.arity.unsigned_abs() as usize
        }
    }

    /// True for commands that listen to channels or stop doing so: each name is confirmed by a message.
    pub const fn is_subscription(&self) -> bool {
        self.flags.has(PUBSUB) && self.flags.has(NOSCRIPT)
    }

    /// Every ACL category, without the `@`: those of the group, those that follow from the flags, its own.
    /// In the order in which Redis names them.
    pub fn acl_categories(&self) -> Vec<&'static str> {
        let mut all: Vec<&'static str> = Vec::new();
        let has = |flag| self.flags.has(flag);
        if has(WRITE) {
            all.push("write");
        }
        let is_script = self.group == Group::Scripting || self.categories.contains(&"scripting");
        if has(READONLY) && !is_script {
            all.push("read");
        }
        // SORT is listed with the types that it sorts, WAIT with what is about connections, and both not with
        // what works on keys of any type.
        let is_elsewhere = matches!(self.group, Group::Generic)
            && ["sortedset", "connection"].iter().any(|category| self.categories.contains(category));
        if !self.is_container && !is_elsewhere {
            all.extend(self.group.category());
        }
        if has(ADMIN) {
            all.extend(["admin", "dangerous"]);
        }
        if has(PUBSUB) {
            all.push("pubsub");
        }
        all.push(if has(FAST) { "fast" } else { "slow" });
        if has(BLOCKING) {
            all.push("blocking");
        }
        for category in self.categories {
            all.push(category);
        }
        all.sort_unstable_by_key(|name| CATEGORIES.iter().position(|category| category == name));
        all.dedup();
        all
    }

    /// Positions of the keys among `argv`, each with its use.
    ///
    /// # Errors
    /// `None` if a count of keys is none, is zero, or says more than there are.
    pub fn key_positions(&self, argv: &[&[u8]]) -> Option<Vec<(usize, KeyUse)>> {
        if let Some(finder) = self.finder {
            return finder(argv);
        }
        self.positions_by_specs(argv).or_else(|| finders::in_doubt(&self.full_name(), argv))
    }

    fn positions_by_specs(&self, argv: &[&[u8]]) -> Option<Vec<(usize, KeyUse)>> {
        let mut found = Vec::new();
        for spec in self.keys.iter().filter(|spec| spec.uses != CHANNELS) {
            let begin = match spec.begin {
                // A place that is not there is an error, as in Valkey; a word that is not there is none.
                BeginSearch::Index(at) if at >= argv.len() => return None,
                begin => begin.position(argv),
            };
            let Some(begin) = begin else { continue };
            match spec.find {
                FindKeys::Range { last, step, limit } => {
                    let mut end = if last >= 0 {
                        begin.checked_add(last as usize)?
                    } else {
                        argv.len().checked_sub(last.unsigned_abs() as usize)?
                    };
                    if limit > 1 {
                        end = begin + (argv.len().saturating_sub(begin) / limit).checked_sub(1)?;
                    }
                    if end >= argv.len() {
                        return None;
                    }
                    let mut at = begin;
                    while at <= end {
                        found.push((at, spec.uses));
                        at += step;
                    }
                }
                FindKeys::KeyNum { count_at, first, step } => {
                    let count = argv.get(begin + count_at)?;
                    let count = usize::try_from(crate::base::num::parse_i64(count)?).ok()?;
                    let first = begin + first;
                    if count == 0 || count > argv.len().saturating_sub(first).div_ceil(step) {
                        return None;
                    }
                    found.extend((0..count).map(|i| (first + i * step, spec.uses)));
                }
                FindKeys::Unknown => {}
            }
        }
        Some(found)
    }
}

impl BeginSearch {
    fn position(self, argv: &[&[u8]]) -> Option<usize> {
        match self {
            BeginSearch::Unknown => None,
            BeginSearch::Index(at) => (at < argv.len()).then_some(at),
            BeginSearch::Keyword(word, from) if from >= 0 => (from as usize..argv.len())
                .find(|&i| argv[i].eq_ignore_ascii_case(word.as_bytes()))
                .map(|i| i + 1),
            BeginSearch::Keyword(word, from) => {
                let start = argv.len().checked_sub(from.unsigned_abs() as usize)?;
                (1..=start).rev().find(|&i| argv[i].eq_ignore_ascii_case(word.as_bytes())).map(|i| i + 1)
            }
        }
    }
}
