//! Commands by their names, in any case, for whoever looks up one after another.

use crate::command::spec::BeginSearch;
use crate::command::{self, Args, DataCommand};

use super::batch::{Ahead, Call};
use super::build::ahead;

/// Slots: a power of two, some times the number of commands.
const SLOTS: usize = 1024;
/// A command's name is never longer.
const LONGEST_NAME: usize = 32;

/// A command and where its first key is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) command: &'static DataCommand,
    /// Position of its first key; 0 if only the command knows.
    key_at: usize,
    /// Whether it has no subcommands.
    pub(super) is_plain: bool,
    ahead: Ahead,
}

impl Known {
    fn new(command: &'static DataCommand) -> Known {
        let key_at = match command.spec.keys.first().map(|spec| spec.begin) {
            Some(BeginSearch::Index(at)) => at,
            _ => 0,
        };
        let spec = &command.spec;
        let ahead = if key_at == 1 && spec.parent.is_none() { ahead(spec.name) } else { Ahead::Never };
        Known { command, key_at, is_plain: command.subcommands.is_empty(), ahead }
    }

    /// A call of it.
    #[inline]
    pub(super) fn call(self) -> Call {
        Call::Data { command: self.command, key_at: self.key_at, ahead: self.ahead }
    }

    /// The subcommand that is meant, if it is a container and has one of that name.
    pub(super) fn meant(self, args: Args<'_>) -> Option<Known> {
        if self.is_plain {
            return Some(self);
        }
        args.get(1).and_then(|word| self.command.subcommand(word)).map(Known::new)
    }
}

/// All data commands.
pub(super) struct Table(Box<[Option<Known>; SLOTS]>);

impl Table {
    pub(super) fn new() -> Table {
        let mut slots = Box::new([None; SLOTS]);
        for command in command::all() {
            let name = command.spec.name.as_bytes();
            let mut at = slot(name);
            while slots[at].is_some() {
                at = (at + 1) % SLOTS;
            }
            slots[at] = Some(Known::new(command));
        }
        Table(slots)
    }

    /// The command of this name, in any case.
    #[inline]
    pub(super) fn find(&self, name: &[u8]) -> Option<Known> {
        if name.len() > LONGEST_NAME {
            return None;
        }
        let mut at = slot(name);
        while let Some(known) = self.0[at] {
            if known.command.spec.name.as_bytes().eq_ignore_ascii_case(name) {
                return Some(known);
            }
            at = (at + 1) % SLOTS;
        }
        None
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

#[cfg(test)]
mod tests {
    use super::super::build::BUILDERS;
    use super::*;

    #[test]
    fn every_command_is_found_in_any_case_and_others_are_not() {
        let table = Table::new();
        for command in command::all() {
            let name = command.spec.name;
            for name in [name.to_owned(), name.to_ascii_uppercase()] {
                let found = table.find(name.as_bytes()).expect("a command");
                assert_eq!(found.command.spec.name, command.spec.name);
            }
            assert!(table.find(format!("{name}?").as_bytes()).is_none());
        }
        assert!(table.find(b"").is_none() && table.find(&[b'x'; 100]).is_none());
        assert_eq!(table.find(b"set").expect("a command").key_at, 1);
        for name in BUILDERS {
            let found = table.find(name.as_bytes()).expect("a command");
            assert_ne!(found.ahead, Ahead::Never, "{name}");
        }
    }
}
