//! The table of all commands, data and session, and the way from a name to a number in it.
//!
//! Lookup folds the first eight bytes and the length into one number, which is all there is to compare of
//! most names.

use cairn_engine::command::spec::{BLOCKING, BeginSearch, FAST, Group};
use cairn_engine::command::{Command, DataCommand, Spec};

use super::SessionCommand;

/// What runs a command.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Run {
    /// The engine.
    Data(&'static DataCommand),
    /// The server.
    Session(&'static SessionCommand),
}

/// A command in the table.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its facts.
    pub(crate) spec: &'static Spec,
    /// What runs it.
    pub(crate) run: Run,
    /// `name` or `container|name`.
    pub(crate) full_name: String,
    /// Position of its first key, for a data command that has keys at a known place.
    pub(crate) first_key: Option<usize>,
    /// Its time need not be measured alone: a few of them in a row share theirs.
    pub(crate) is_quick: bool,
    /// Its code, if it is quick, a data command, and nothing follows from it but its effects.
    quick: Option<&'static DataCommand>,
    /// Its arity: how many arguments it takes.
    least_args: usize,
    most_args: usize,
    /// How far behind its key the argument is that is looked up in there, as a field or a member; 0 if there
    /// is none, or not always at that place.
    pub(crate) member_at: usize,
    /// It runs scripts.
    pub(crate) runs_scripts: bool,
    /// Others may be answered while it runs, so it is run apart from the buffers of its batch: it runs
    /// scripts or loads data, or it is EXEC.
    pub(crate) is_apart: bool,
    /// Numbers of its subcommands.
    pub(crate) subcommands: std::ops::Range<u16>,
}

/// Slots of the hash table: a power of two, several times the number of commands.
const SLOTS: usize = 2048;

/// No command.
const EMPTY: u16 = u16::MAX;

/// A command that was found, of those whose name the digest tells.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Recent {
    digest: u64,
    len: usize,
    number: u16,
}

/// What commands of one name and as many arguments have in common.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Kind {
    /// Its number, if there is such a command.
    pub(crate) found: Option<u16>,
    /// Its code, if it is a quick data command that takes so many arguments.
    pub(crate) quick: Option<&'static DataCommand>,
    /// Its first key's position among the arguments; 0 if none is known.
    pub(crate) key_at: usize,
    /// It looks up a field or a member.
    pub(crate) has_member: bool,
}

/// Every command.
#[derive(Debug)]
pub(crate) struct CommandTable {
    entries: Vec<Entry>,
    slots: Vec<u16>,
    /// Names by which commands are called: as many as there are top-level commands that can be called.
    names: Vec<(Vec<u8>, u16)>,
    /// What `digest` makes of each name, if that is all there is to compare.
    digests: Vec<Option<u64>>,
}

/// Where the first field or member is behind the key. ZADD may have options before the first score; a
/// member looked for in vain costs little.
fn member_at(spec: &Spec) -> usize {
    match spec.name {
        "zadd" | "zincrby" => 2,
        "zscore" | "zmscore" | "zrank" | "zrevrank" | "zrem" => 1,
        _ => usize::from(matches!(spec.group, Group::Hash | Group::Set)),
    }
}

fn add<F>(
    entries: &mut Vec<Entry>,
    command: &'static Command<F>,
    run: fn(&'static Command<F>) -> Run,
) -> u16 {
    let number = u16::try_from(entries.len()).expect("commands are fewer than 2^16");
    let runs_scripts = |spec: &Spec| {
        spec.group == Group::Scripting && ["eval", "fcall"].iter().any(|start| spec.name.starts_with(start))
    };
    let entry = |command: &'static Command<F>| Entry {
        spec: &command.spec,
        run: run(command),
        quick: None,
        least_args: command.spec.arity.unsigned_abs() as usize,
        most_args: usize::try_from(command.spec.arity).unwrap_or(usize::MAX),
        member_at: member_at(&command.spec),
        full_name: command.spec.full_name(),
        first_key: command.spec.keys.first().and_then(|key| match key.begin {
            BeginSearch::Index(at) => Some(at),
            BeginSearch::Keyword(..) | BeginSearch::Unknown => None,
        }),
        // SET and MSET are not among the commands that Redis calls fast, but they take no longer than
        // GET and MGET do. However many keys there are, a command of many arguments is measured alone.
        is_quick: !command.spec.flags.has(BLOCKING)
            && (command.spec.flags.has(FAST)
                || (command.spec.group == Group::String
                    && ["O(1)", "O(N) in the number of keys"].contains(&command.spec.complexity))),
        runs_scripts: runs_scripts(&command.spec),
        is_apart: runs_scripts(&command.spec) || ["exec", "debug"].contains(&command.spec.name),
        subcommands: 0..0,
    };
    let mut top = entry(command);
    top.quick = match top.run {
        Run::Data(data) if top.is_quick && command.subcommands.is_empty() => Some(data),
        _ => None,
    };
    entries.push(top);
    let first = number + 1;
    entries.extend(command.subcommands.iter().map(entry));
    entries[usize::from(number)].subcommands =
        first..first + u16::try_from(command.subcommands.len()).expect("as above");
    number
}

impl CommandTable {
    /// The table, with the renames of `rename-command`: old name and new, an empty new one for none.
    ///
    /// # Errors
    /// What is wrong with a rename.
    pub(crate) fn new(renames: &[(Vec<u8>, Vec<u8>)]) -> Result<CommandTable, String> {
        let mut entries = Vec::new();
        let mut names: Vec<(Vec<u8>, u16)> = Vec::new();
        for command in cairn_engine::command::all() {
            let number = add(&mut entries, command, Run::Data);
            names.push((command.spec.name.as_bytes().to_vec(), number));
        }
        for command in super::all() {
            let number = add(&mut entries, command, Run::Session);
            names.push((command.spec.name.as_bytes().to_vec(), number));
        }
        for (old, new) in renames {
            let at = names.iter().position(|(name, _)| name.eq_ignore_ascii_case(old));
            let at = at.ok_or("No such command in rename-command")?;
            let (_, number) = names.remove(at);
            if !new.is_empty() {
                if names.iter().any(|(name, _)| name.eq_ignore_ascii_case(new)) {
                    return Err("Target command name already exists".into());
                }
                names.push((new.to_ascii_lowercase(), number));
            }
        }
        let digests = names.iter().map(|(name, _)| is_told_by_digest(name).then(|| digest(name))).collect();
        let mut table = CommandTable { entries, slots: vec![EMPTY; SLOTS], names, digests };
        for i in 0..table.names.len() {
            let mut slot = slot_of(digest(&table.names[i].0));
            while table.slots[slot] != EMPTY {
                slot = (slot + 1) % SLOTS;
            }
            table.slots[slot] = u16::try_from(i).expect("commands are fewer than 2^16");
        }
        Ok(table)
    }

    /// The number of the top-level command of this name, in any case. O(1).
    #[inline]
    pub(crate) fn find(&self, name: &[u8]) -> Option<u16> {
        let sought = digest(name);
        let mut slot = slot_of(sought);
        loop {
            let at = usize::from(self.slots[slot]);
            let (known, number) = self.names.get(at)?;
            let is_it = match self.digests[at] {
                Some(digest) => digest == sought && known.len() == name.len(),
                None => known.eq_ignore_ascii_case(name),
            };
            if is_it {
                return Some(*number);
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    /// As `find`, for names of which most are the one that was sought before.
    #[inline]
    pub(crate) fn find_like(&self, name: &[u8], recent: &mut Recent) -> Option<u16> {
        let sought = digest(name);
        if recent.digest == sought && recent.len == name.len() {
            return Some(recent.number);
        }
        let number = self.find(name)?;
        if is_told_by_digest(name) {
            *recent = Recent { digest: sought, len: name.len(), number };
        }
        Some(number)
    }

    /// What is known of a command by its name and the number of its arguments, the name included.
    pub(crate) fn kind_of(&self, name: &[u8], args: usize, recent: &mut Recent) -> Kind {
        let Some(number) = self.find_like(name, recent) else { return Kind::default() };
        let entry = self.entry(number);
        let takes_these = entry.least_args <= args && args <= entry.most_args;
        Kind {
            found: Some(number),
            quick: entry.quick.filter(|_| takes_these),
            key_at: entry.first_key.filter(|at| *at < args).unwrap_or(0),
            has_member: entry.member_at > 0,
        }
    }

    /// The number of a top-level command by the name that it was made with, however it is called now.
    pub(crate) fn number_of(&self, name: &str) -> Option<u16> {
        let at = self.entries.iter().position(|e| e.spec.name == name && e.spec.parent.is_none())?;
        u16::try_from(at).ok()
    }

    /// The command of a number that `find` gave.
    #[inline]
    pub(crate) fn entry(&self, number: u16) -> &Entry {
        &self.entries[usize::from(number)]
    }

    /// The subcommand of a container by its word, in any case.
    pub(crate) fn subcommand(&self, container: u16, word: &[u8]) -> Option<u16> {
        let range = self.entry(container).subcommands.clone();
        range.into_iter().find(|n| self.entry(*n).spec.name.as_bytes().eq_ignore_ascii_case(word))
    }

    /// The command of a name, `container|subcommand` included, in any case.
    pub(crate) fn by_full_name(&self, name: &[u8]) -> Option<u16> {
        let mut parts = name.splitn(2, |b| *b == b'|');
        let number = self.find(parts.next()?)?;
        parts.next().map_or(Some(number), |word| self.subcommand(number, word))
    }

    /// Every command and subcommand, by number.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Numbers of the commands that can be called, subcommands aside.
    pub(crate) fn top_level(&self) -> impl Iterator<Item = u16> {
        self.names.iter().map(|(_, number)| *number)
    }
}

/// All letters of a short name in one number, case folded; of a long one, its beginning.
#[inline]
fn digest(name: &[u8]) -> u64 {
    const LETTER_CASE: u64 = 0x2020_2020_2020_2020;
    let half = |bytes: &[u8; 4]| u64::from(u32::from_le_bytes(*bytes));
    let head = match (name.first_chunk::<8>(), name.first_chunk::<4>(), name.last_chunk::<4>()) {
        (Some(head), ..) => u64::from_le_bytes(*head),
        // The halves overlap: with the length known, they hold every letter at its place.
        (_, Some(first), Some(last)) => half(first) | half(last) << 32,
        _ => match *name {
            [a, b, c] => u64::from(a) << 16 | u64::from(b) << 8 | u64::from(c),
            _ => name.iter().fold(0u64, |word, byte| (word << 8) | u64::from(*byte)),
        },
    };
    (head | LETTER_CASE) ^ ((name.len() as u64) << 56)
}

/// True if no other name of this length has the same digest: short, and of letters only, since only
/// with letters does the folded bit tell nothing but the case.
fn is_told_by_digest(name: &[u8]) -> bool {
    (1..=8).contains(&name.len()) && name.iter().all(u8::is_ascii_alphabetic)
}

/// Where the search for a name begins.
#[inline]
fn slot_of(digest: u64) -> usize {
    // An odd number with well mixed bits; the product's high bits depend on all of the name's.
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    (digest.wrapping_mul(MIX) >> 48) as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use cairn_engine::command::grammar;

    use super::*;

    #[test]
    fn every_command_is_found_in_any_case() {
        let table = CommandTable::new(&[]).expect("no renames");
        for number in table.top_level() {
            let name = table.entry(number).spec.name;
            assert_eq!(table.find(name.as_bytes()), Some(number), "{name}");
            assert_eq!(table.find(name.to_ascii_uppercase().as_bytes()), Some(number), "{name}");
            assert_eq!(table.find(format!("{name}!").as_bytes()), None, "{name}");
            for i in 0..name.len() {
                let mut near = name.as_bytes().to_vec();
                for other in (0..=255u8).filter(|b| !b.eq_ignore_ascii_case(&name.as_bytes()[i])) {
                    near[i] = other;
                    assert_ne!(table.find(&near), Some(number), "{near:?}");
                }
            }
        }
        assert_eq!(table.find(b""), None);
        assert_eq!(table.find(&[0xff; 300]), None);
        let client = table.find(b"client").expect("it is there");
        let id = table.subcommand(client, b"ID").expect("it is there");
        assert_eq!(table.entry(id).full_name, "client|id");
    }

    #[test]
    fn every_syntax_is_a_grammar() {
        let table = CommandTable::new(&[]).expect("no renames");
        for entry in table.entries() {
            assert!(grammar::parse(entry.spec.syntax).is_ok(), "{}: {}", entry.full_name, entry.spec.syntax);
        }
    }

    #[test]
    fn quick_commands_are_those_that_only_touch_their_keys() {
        let table = CommandTable::new(&[]).expect("no renames");
        let quick =
            |name: &str, args| table.kind_of(name.as_bytes(), args, &mut Recent::default()).quick.is_some();
        for name in ["set", "mset", "hset", "lpush", "zadd", "xadd"] {
            assert!(quick(name, 5), "{name}");
        }
        for name in
            ["del", "keys", "blpop", "bzpopmin", "flushall", "object", "client", "publish", "getrange"]
        {
            assert!((0..8).all(|args| !quick(name, args)), "{name}");
        }
        assert!(quick("get", 2) && !quick("get", 1) && !quick("get", 3) && !quick("mset", 2));
    }

    #[test]
    fn names_are_not_given_twice() {
        let table = CommandTable::new(&[]).expect("no renames");
        let mut names: Vec<&str> = table.top_level().map(|n| table.entry(n).spec.name).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn renamed_commands_have_their_new_name_only() {
        let rename = |old: &str, new: &str| (old.as_bytes().to_vec(), new.as_bytes().to_vec());
        let table =
            CommandTable::new(&[rename("CONFIG", "secret"), rename("echo", "")]).expect("sound renames");
        assert!(table.find(b"config").is_none() && table.find(b"echo").is_none());
        let number = table.find(b"SECRET").expect("the new name");
        assert_eq!(table.entry(number).spec.name, "config");
        assert!(CommandTable::new(&[rename("nope", "x")]).is_err());
        assert!(CommandTable::new(&[rename("echo", "ping")]).is_err());
    }
}
