//! A log as it should have been: commands left out, databases that count as others.
//!
//! Edits are made to commands before anybody else sees them. They are meant for what was logged since a
//! base, so commands that are a base are never left out.

use std::borrow::Cow;
use std::collections::BTreeMap;

use cairn_engine::base::{glob, num};
use cairn_engine::command::{Args, DataCommand};

use super::commands::{Call, Commands, MOST_DATABASES, databases_in};
use crate::output::Shown;

/// Commands that are to be left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exclude {
    /// Lower case; of a subcommand `parent|name`.
    name: String,
    /// A glob; then only commands that name such a key, or, of no keys, have such a first argument.
    key: Option<Vec<u8>>,
}

/// Commands without which the others mean something else.
const NEVER_EXCLUDED: &[&str] = &["select", "multi", "exec", "discard"];

impl Exclude {
    /// From `CMD` or `CMD KEYGLOB`.
    ///
    /// # Errors
    /// What it must look like.
    pub fn parse(text: &str) -> Result<Exclude, String> {
        let mut words = text.trim().splitn(2, char::is_whitespace);
        let name = words.next().unwrap_or_default().to_ascii_lowercase();
        let key = words.next().map(|key| key.trim().as_bytes().to_vec()).filter(|key| !key.is_empty());
        match name.as_str() {
            "" => Err("give a command, and perhaps a glob for its keys: 'DEL user:*'".to_owned()),
            name if NEVER_EXCLUDED.contains(&name) => {
                Err(format!("without its {} the log would mean something else", name.to_uppercase()))
            }
            _ => Ok(Exclude { name, key }),
        }
    }

    /// Whether a command is meant. `data` is what it is, where it is one on data.
    #[must_use]
    pub fn is_meant(&self, argv: &[&[u8]], data: Option<&DataCommand>) -> bool {
        let name = argv.first().copied().unwrap_or_default();
        let is_named = name.eq_ignore_ascii_case(self.name.as_bytes())
            || data.is_some_and(|command| {
                command.spec.parent.is_some() && command.spec.full_name() == self.name
            });
        let Some(pattern) = &self.key else { return is_named };
        if !is_named {
            return false;
        }
        let positions = data.and_then(|command| command.spec.key_positions(argv)).unwrap_or_default();
        match positions.is_empty() {
            true => argv.get(1).is_some_and(|word| glob::matches(pattern, word, false)),
            false => positions.iter().any(|(at, _)| glob::matches(pattern, argv[*at], false)),
        }
    }
}

/// Edits of a log.
#[derive(Debug, Clone, Default)]
pub struct Edits {
    /// Commands to leave out.
    pub exclude: Vec<Exclude>,
    /// Databases that count as others.
    pub dbs: BTreeMap<u64, u64>,
}

/// What becomes of a command.
pub(super) enum Edited<'a, 'w> {
    /// It stays as it is, or with other words.
    Kept(Cow<'a, [&'w [u8]]>),
    /// It is left out.
    Excluded,
}

impl Edits {
    /// From `FROM:TO`.
    ///
    /// # Errors
    /// What it must look like.
    pub fn parse_dbs(text: &str) -> Result<(u64, u64), String> {
        let number = |text: &str| text.trim().parse::<u64>().ok().filter(|db| *db < MOST_DATABASES as u64);
        text.split_once(':')
            .and_then(|(from, to)| Some((number(from)?, number(to)?)))
            .ok_or_else(|| format!("'{text}': give two databases, as 3:0"))
    }

    /// Whether nothing is edited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exclude.is_empty() && self.dbs.is_empty()
    }

    /// Whether a command is to be left out.
    #[must_use]
    pub fn excludes(&self, argv: &[&[u8]], data: Option<&DataCommand>) -> bool {
        self.exclude.iter().any(|rule| rule.is_meant(argv, data))
    }

    /// What a database counts as.
    #[must_use]
    pub fn db(&self, db: u64) -> u64 {
        self.dbs.get(&db).copied().unwrap_or(db)
    }

    /// Whether two databases may come to be one. A database that is mapped away makes room for another.
    #[must_use]
    pub fn may_merge(&self) -> bool {
        let targets: Vec<u64> = self.dbs.values().copied().collect();
        let is_doubled = targets.iter().enumerate().any(|(i, db)| targets[..i].contains(db));
        is_doubled || targets.iter().any(|db| !self.dbs.contains_key(db))
    }

    /// Whether another database than `db` counts as what it counts as.
    fn is_shared(&self, db: u64) -> bool {
        let target = self.db(db);
        let others = self.dbs.iter().any(|(from, to)| *to == target && *from != db);
        others || (target != db && !self.dbs.contains_key(&target))
    }
}

/// Edits the commands of one file.
pub(super) struct Editor<'e> {
    edits: &'e Edits,
    commands: Commands,
    excludes: bool,
    /// The database before it is edited.
    db: u64,
    /// Words that were made, for the command at hand.
    made: Vec<Vec<u8>>,
    /// Commands left out.
    pub(super) excluded: u64,
}

impl<'e> Editor<'e> {
    /// `None` if nothing is to be edited.
    pub(super) fn new(edits: &'e Edits, is_base: bool) -> Option<Editor<'e>> {
        let excludes = !is_base && !edits.exclude.is_empty();
        let commands = Commands::new();
        (excludes || !edits.dbs.is_empty()).then(|| Editor {
            edits,
            commands,
            excludes,
            db: 0,
            made: Vec::new(),
            excluded: 0,
        })
    }

    /// Edits a command.
    ///
    /// # Errors
    /// It would mean something else then.
    pub(super) fn edit<'a, 'w>(&'w mut self, argv: &'a [&'w [u8]]) -> Result<Edited<'a, 'w>, String> {
        // What is no command is told by whoever would run it.
        let Ok(call) = self.commands.call(argv) else { return Ok(Edited::Kept(Cow::Borrowed(argv))) };
        let data = match call {
            Call::Data(command) => Some(command),
            _ => None,
        };
        if self.excludes && self.edits.excludes(argv, data) {
            self.excluded += 1;
            return Ok(Edited::Excluded);
        }
        if self.edits.dbs.is_empty() {
            return Ok(Edited::Kept(Cow::Borrowed(argv)));
        }
        let places = match call {
            Call::Select(db) => {
                self.db = db as u64;
                vec![(1, db)]
            }
            Call::Data(command) => {
                self.refuse(command, argv)?;
                databases_in(command, argv)
            }
            _ => Vec::new(),
        };
        self.made.clear();
        for (_, db) in &places {
            let mut word = Vec::new();
            num::push_u64(&mut word, self.edits.db(*db as u64));
            self.made.push(word);
        }
        let made: &'w [Vec<u8>] = &self.made;
        let mut edited = Cow::Borrowed(argv);
        for ((at, _), word) in places.iter().zip(made) {
            edited.to_mut()[*at] = word;
        }
        Ok(Edited::Kept(edited))
    }

    /// Commands on whole databases have no meaning any more when two databases are one.
    fn refuse(&self, command: &DataCommand, argv: &[&[u8]]) -> Result<(), String> {
        let is_shared = match command.spec.name {
            "flushdb" => self.edits.is_shared(self.db),
            "swapdb" => (1..3).any(|at| {
                let db = Args(argv).int(at).ok().and_then(|db| u64::try_from(db).ok());
                db.is_some_and(|db| self.edits.is_shared(db))
            }),
            _ => false,
        };
        match is_shared {
            false => Ok(()),
            true => Err(format!(
                "{} of a database that is to be one with another",
                Shown(argv.first().copied().unwrap_or_default())
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(edits: &Edits, line: &str) -> String {
        let mut editor = Editor::new(edits, false).expect("something to edit");
        let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        match editor.edit(&argv) {
            Ok(Edited::Kept(argv)) => {
                argv.iter().map(|w| String::from_utf8_lossy(w)).collect::<Vec<_>>().join(" ")
            }
            Ok(Edited::Excluded) => "-".to_owned(),
            Err(what) => what,
        }
    }

    #[test]
    fn commands_are_left_out_by_name_and_key() {
        let exclude = ["flushall", "DEL user:*", "xgroup|create", "PUBLISH news*"];
        let exclude = exclude.iter().map(|text| Exclude::parse(text).expect("a rule")).collect();
        let edits = Edits { exclude, ..Edits::default() };
        for (line, expected) in [
            ("FLUSHALL ASYNC", "-"),
            ("del a user:1", "-"),
            ("del a b", "del a b"),
            ("XGROUP CREATE s g $", "-"),
            ("XGROUP SETID s g $", "XGROUP SETID s g $"),
            ("publish news:1 x", "-"),
            ("publish x news", "publish x news"),
        ] {
            assert_eq!(edited(&edits, line), expected);
        }
        assert!(Exclude::parse("select").is_err() && Exclude::parse(" ").is_err());
    }

    #[test]
    fn databases_count_as_others() {
        let dbs = ["3:0", "1:5", "5:1"].map(|text| Edits::parse_dbs(text).expect("two databases"));
        let edits = Edits { dbs: dbs.into_iter().collect(), ..Edits::default() };
        for (line, expected) in [
            ("SELECT 3", "SELECT 0"),
            ("SELECT 1", "SELECT 5"),
            ("SELECT 2", "SELECT 2"),
            ("MOVE k 3", "MOVE k 0"),
            ("COPY a b REPLACE DB 5", "COPY a b REPLACE DB 1"),
            ("SWAPDB 1 2", "SWAPDB 5 2"),
            ("SWAPDB 1 3", "SWAPDB of a database that is to be one with another"),
            ("FLUSHDB", "FLUSHDB of a database that is to be one with another"),
            ("SET 3 3", "SET 3 3"),
        ] {
            assert_eq!(edited(&edits, line), expected);
        }
        assert!(edits.may_merge());
        assert!(Edits::parse_dbs("3").is_err() && Edits::parse_dbs("a:b").is_err());
    }
}
