//! The names of all commands that a log may hold, how many arguments they take, and where their keys are.
//!
//! Data commands are the engine's own table; the rest is a list here: what servers log besides
//! (transactions, scripts, messages), what logs of old servers hold, and what only newer Redis knows.
//! Commands of modules are told by the dot in their names. Runs nothing.

use cairn_engine::base::num;
use cairn_engine::command::{self, DataCommand};

/// Slots of the hash table: a power of two, several times the number of commands.
const SLOTS: usize = 2048;
/// A command's name is never longer.
const LONGEST_NAME: usize = 32;

/// What a command is to a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A command on data.
    Data,
    /// Chooses the database.
    Select,
    /// Begins a transaction.
    Multi,
    /// Ends it.
    Exec,
    /// Ends it, and nothing of it counts.
    Discard,
    /// Runs a script or a function, and names its keys behind their number.
    Script,
    /// Like a data command with its key as first argument.
    Keyed,
    /// Does nothing to data, or not through keys.
    Other,
    /// Only newer Redis knows it; its key is the first argument.
    Newer,
}

/// A command that there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    /// Its name in lower case.
    pub(crate) name: &'static str,
    /// Number of arguments with the name; negative: at least so many.
    arity: i32,
    /// What it is to a log.
    pub(crate) role: Role,
    /// The engine's command, of [`Role::Data`].
    command: Option<&'static DataCommand>,
}

impl Known {
    /// Whether so many arguments, the name counted, are enough and not too many.
    #[inline]
    pub(crate) fn accepts(&self, argc: u64) -> bool {
        let least = u64::from(self.arity.unsigned_abs());
        if self.arity >= 0 { argc == least } else { argc >= least }
    }

    /// Whether only a subcommand of it is a command.
    #[inline]
    pub(crate) fn is_container(&self) -> bool {
        self.command.is_some_and(|command| !command.subcommands.is_empty())
    }

    /// What is wrong with a command of this name, its number of arguments and its subcommand looked at.
    pub(crate) fn fault(&self, argc: u64, first: Option<&[u8]>) -> Option<Wrong> {
        if !self.accepts(argc) {
            return Some(Wrong::Arity { name: self.name.to_owned(), argc });
        }
        let container = self.command.filter(|_| self.is_container())?;
        let word = first.unwrap_or_default();
        match container.subcommand(word) {
            None => Some(Wrong::Subcommand { name: self.name, word: word.to_vec() }),
            Some(sub) => (!usize::try_from(argc).is_ok_and(|argc| sub.spec.accepts(argc)))
                .then(|| Wrong::Arity { name: sub.spec.full_name(), argc }),
        }
    }

    /// Positions of the keys among the arguments; empty if there are none, or none can be found.
    pub(crate) fn keys(&self, argv: &[&[u8]]) -> Vec<usize> {
        let first = || if argv.len() > 1 { vec![1] } else { Vec::new() };
        match (self.role, self.command) {
            (Role::Data, Some(command)) => {
                let sub = argv.get(1).and_then(|word| command.subcommand(word));
                let spec = sub.map_or(&command.spec, |sub| &sub.spec);
                if !spec.accepts(argv.len()) {
                    return Vec::new();
                }
                let found = spec.key_positions(argv).unwrap_or_default();
                found.into_iter().map(|(at, _)| at).filter(|at| *at < argv.len()).collect()
            }
            (Role::Script, _) => {
                let count = argv.get(2).and_then(|count| num::parse_i64(count));
                let count = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
                (3..argv.len()).take(count).collect()
            }
            (Role::Keyed | Role::Newer, _) => first(),
            _ => Vec::new(),
        }
    }
}

/// What is wrong with a command that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// No server has a command of this name.
    Unknown {
        /// The name as it was written.
        name: Vec<u8>,
    },
    /// A container has no such subcommand.
    Subcommand {
        /// The container.
        name: &'static str,
        /// The word.
        word: Vec<u8>,
    },
    /// The number of arguments.
    Arity {
        /// The command.
        name: String,
        /// Its arguments, the name counted.
        argc: u64,
    },
}

/// Whether a name is one that modules give to their commands.
pub(crate) fn is_of_module(name: &[u8]) -> bool {
    let mut words = name.split(|b| *b == b'.');
    let is_word = |word: &[u8]| {
        !word.is_empty() && word.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    };
    name.len() <= LONGEST_NAME && name.contains(&b'.') && words.all(is_word)
}

/// All commands by name.
pub(crate) struct Vocabulary {
    slots: Box<[u16; SLOTS]>,
    known: Vec<Known>,
}

impl Vocabulary {
    pub(crate) fn new() -> Self {
        let data = command::all().map(|command| Known {
            name: command.spec.name,
            arity: command.spec.arity,
            role: Role::Data,
            command: Some(command),
        });
        let others = OTHERS.iter().map(|(name, arity, role)| Known {
            name,
            arity: *arity,
            role: *role,
            command: None,
        });
        let known: Vec<_> = data.chain(others).collect();
        let mut slots = Box::new([u16::MAX; SLOTS]);
        for (i, known) in known.iter().enumerate() {
            let mut at = slot(known.name.as_bytes());
            while slots[at] != u16::MAX {
                at = (at + 1) % SLOTS;
            }
            slots[at] = u16::try_from(i).expect("commands are fewer than 2^16");
        }
        Self { slots, known }
    }

    /// The command of this name, in any case. O(1).
    #[inline]
    pub(crate) fn find(&self, name: &[u8]) -> Option<&Known> {
        if name.len() > LONGEST_NAME {
            return None;
        }
        let mut at = slot(name);
        loop {
            let known = self.known.get(usize::from(self.slots[at]))?;
            if known.name.as_bytes().eq_ignore_ascii_case(name) {
                return Some(known);
            }
            at = (at + 1) % SLOTS;
        }
    }

    /// Positions of the keys; of a module's command the first argument is taken for one.
    pub(crate) fn keys(&self, argv: &[&[u8]]) -> Vec<usize> {
        let name = argv.first().copied().unwrap_or_default();
        match self.find(name) {
            Some(known) => known.keys(argv),
            None if is_of_module(name) && argv.len() > 1 => vec![1],
            None => Vec::new(),
        }
    }
}

/// Where a name is looked for first. Letters of both cases count as the same.
#[inline]
fn slot(name: &[u8]) -> usize {
    let hash = name.iter().fold(name.len() as u32, |hash, byte| {
        (hash ^ u32::from(byte | 0x20)).wrapping_mul(0x9e37_79b1).rotate_left(5)
    });
    (hash >> 16) as usize % SLOTS
}

/// Commands that are not the engine's. Witness: COMMAND of Redis 8.8 and Valkey 9.1.
const OTHERS: &[(&str, i32, Role)] = &[
    ("acl", -2, Role::Other),
    ("arcount", 2, Role::Newer),
    ("ardel", -3, Role::Newer),
    ("ardelrange", -4, Role::Newer),
    ("arget", 3, Role::Newer),
    ("argetrange", 4, Role::Newer),
    ("argrep", -6, Role::Newer),
    ("arinfo", -2, Role::Newer),
    ("arinsert", -3, Role::Newer),
    ("arlastitems", -3, Role::Newer),
    ("arlen", 2, Role::Newer),
    ("armget", -3, Role::Newer),
    ("armset", -4, Role::Newer),
    ("arnext", 2, Role::Newer),
    ("arop", -5, Role::Newer),
    ("arring", -4, Role::Newer),
    ("arscan", -4, Role::Newer),
    ("arseek", 3, Role::Newer),
    ("arset", -4, Role::Newer),
    ("asking", 1, Role::Other),
    ("auth", -2, Role::Other),
    ("backup", 2, Role::Newer),
    ("bgrewriteaof", 1, Role::Other),
    ("bgsave", -1, Role::Other),
    ("client", -2, Role::Other),
    ("cluster", -2, Role::Other),
    ("clusterscan", -2, Role::Other),
    ("command", -1, Role::Other),
    ("commandlog", -2, Role::Other),
    ("config", -2, Role::Other),
    ("debug", -2, Role::Other),
    ("discard", 1, Role::Discard),
    ("echo", 2, Role::Other),
    ("eval", -3, Role::Script),
    ("eval_ro", -3, Role::Script),
    ("evalsha", -3, Role::Script),
    ("evalsha_ro", -3, Role::Script),
    ("exec", 1, Role::Exec),
    ("failover", -1, Role::Other),
    ("fcall", -3, Role::Script),
    ("fcall_ro", -3, Role::Script),
    ("function", -2, Role::Other),
    ("hello", -1, Role::Other),
    ("himport", -2, Role::Newer),
    ("hotkeys", -2, Role::Newer),
    ("info", -1, Role::Other),
    ("lastsave", 1, Role::Other),
    ("latency", -2, Role::Other),
    ("lolwut", -1, Role::Other),
    ("memory", -2, Role::Other),
    ("migrate", -6, Role::Other),
    ("module", -2, Role::Other),
    ("monitor", 1, Role::Other),
    ("multi", 1, Role::Multi),
    ("ping", -1, Role::Other),
    ("psubscribe", -2, Role::Other),
    ("psync", -3, Role::Other),
    ("publish", 3, Role::Other),
    ("pubsub", -2, Role::Other),
    ("punsubscribe", -1, Role::Other),
    ("quit", -1, Role::Other),
    ("readonly", 1, Role::Other),
    ("readwrite", 1, Role::Other),
    ("replconf", -1, Role::Other),
    ("replicaof", 3, Role::Other),
    ("reset", 1, Role::Other),
    ("restore-asking", -4, Role::Keyed),
    ("role", 1, Role::Other),
    ("save", 1, Role::Other),
    ("script", -2, Role::Other),
    ("select", 2, Role::Select),
    ("sentinel", -2, Role::Other),
    ("shutdown", -1, Role::Other),
    ("slaveof", 3, Role::Other),
    ("slowlog", -2, Role::Other),
    ("spublish", 3, Role::Other),
    ("ssubscribe", -2, Role::Other),
    ("subscribe", -2, Role::Other),
    ("sunsubscribe", -1, Role::Other),
    ("sync", 1, Role::Other),
    ("time", 1, Role::Other),
    ("trimslots", -5, Role::Newer),
    ("unsubscribe", -1, Role::Other),
    ("unwatch", 1, Role::Other),
    ("vadd", -5, Role::Newer),
    ("vcard", 2, Role::Newer),
    ("vdim", 2, Role::Newer),
    ("vemb", -3, Role::Newer),
    ("vgetattr", 3, Role::Newer),
    ("vinfo", 2, Role::Newer),
    ("vismember", 3, Role::Newer),
    ("vlinks", -3, Role::Newer),
    ("vrandmember", -2, Role::Newer),
    ("vrange", -4, Role::Newer),
    ("vrem", 3, Role::Newer),
    ("vsetattr", 4, Role::Newer),
    ("vsim", -4, Role::Newer),
    ("wait", 3, Role::Other),
    ("waitaof", 4, Role::Other),
    ("watch", -2, Role::Other),
    ("xcfgset", -2, Role::Newer),
    ("xidmprecord", 5, Role::Newer),
    ("xnack", -7, Role::Newer),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_in_any_case_and_listed_once() {
        let vocabulary = Vocabulary::new();
        for (i, known) in vocabulary.known.iter().enumerate() {
            for name in [known.name.to_owned(), known.name.to_ascii_uppercase()] {
                let found = vocabulary.find(name.as_bytes()).expect("a command");
                assert_eq!((found.name, found.role), (known.name, known.role));
            }
            assert!(vocabulary.known[..i].iter().all(|other| other.name != known.name), "{}", known.name);
        }
        for name in [&b""[..], b"nothing", &[b'x'; 100], b"se", b"SETT"] {
            assert!(vocabulary.find(name).is_none());
        }
    }

    #[track_caller]
    fn check_keys(line: &str, positions: &[usize]) {
        let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        assert_eq!(Vocabulary::new().keys(&argv), positions, "{line}");
    }

    #[test]
    fn keys_are_where_the_specs_say() {
        check_keys("SET k v", &[1]);
        check_keys("mset a 1 b 2", &[1, 3]);
        check_keys("XGROUP CREATE k g 0", &[2]);
        check_keys("EVAL script 2 a b c", &[3, 4]);
        check_keys("EVAL script 9999 a", &[3]);
        check_keys("ZUNIONSTORE d 2 a b", &[1, 3, 4]);
        check_keys("SELECT 1", &[]);
        check_keys("GET", &[]);
        check_keys("JSON.SET k . 1", &[1]);
        check_keys("VADD k VALUES 1 1 e", &[1]);
    }

    #[test]
    fn wrong_commands_are_told() {
        let vocabulary = Vocabulary::new();
        let fault = |name: &str, argc, first: &str| {
            vocabulary.find(name.as_bytes()).expect("known").fault(argc, Some(first.as_bytes()))
        };
        assert_eq!(fault("get", 2, "k"), None);
        assert_eq!(fault("get", 3, "k"), Some(Wrong::Arity { name: "get".into(), argc: 3 }));
        assert_eq!(fault("xgroup", 5, "Create"), None);
        assert_eq!(
            fault("xgroup", 3, "create"),
            Some(Wrong::Arity { name: "xgroup|create".into(), argc: 3 })
        );
        let word = b"x".to_vec();
        assert_eq!(fault("xgroup", 3, "x"), Some(Wrong::Subcommand { name: "xgroup", word }));
        assert!(is_of_module(b"JSON.SET") && !is_of_module(b".x") && !is_of_module(b"a.\x01"));
    }
}
