//! MULTI, EXEC and what belongs to them.
//!
//! A transaction is a list of commands that passed the checks when they were sent. EXEC runs them with
//! nothing between. Behaviour: valkey src/multi.c.

use cairn_engine::command::spec::{
    ALLOW_BUSY, FAST, Flags, Group, KeySpec, LOADING, LOOKS, MAY_REPLICATE, NO_MULTI, NOSCRIPT, SKIP_SLOWLOG,
    STALE, Spec, WRITE,
};
use cairn_engine::command::{Args, CommandError, Outcome};

use super::{Call, SessionCommand};
use crate::dispatch;
use crate::server::Server;
use crate::watch::Watched;

/// Every command of this file.
pub(super) const COMMANDS: &[SessionCommand] = &[MULTI, EXEC, DISCARD, WATCH, UNWATCH];

/// A part of a transaction that has so many bytes is not added to: how much is moved when it grows must not
/// hang on how long the transaction is.
const PART_BYTES: usize = 32 * 1024;

/// A command of a transaction: its number in the table, and its first argument among all of its part.
#[derive(Debug)]
struct Queued {
    number: u16,
    first_word: usize,
}

/// Commands of a transaction that follow one another.
#[derive(Debug, Default)]
struct Part {
    queued: Vec<Queued>,
    /// Ends of the words, in `bytes`.
    words: Vec<usize>,
    bytes: Vec<u8>,
}

impl Part {
    fn push(&mut self, number: u16, argv: &[&[u8]]) {
        self.queued.push(Queued { number, first_word: self.words.len() });
        for word in argv {
            self.bytes.extend_from_slice(word);
            self.words.push(self.bytes.len());
        }
    }

    fn is_full(&self) -> bool {
        self.bytes.len() + self.words.len() * size_of::<usize>() >= PART_BYTES
    }

    fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
            + self.words.capacity() * size_of::<usize>()
            + self.queued.capacity() * size_of::<Queued>()
    }

    fn commands(&self) -> impl Iterator<Item = (u16, Vec<&[u8]>)> {
        let word = |i: usize| {
            let start = i.checked_sub(1).map_or(0, |before| self.words[before]);
            &self.bytes[start..self.words[i]]
        };
        (0..self.queued.len()).map(move |i| {
            let end = self.queued.get(i + 1).map_or(self.words.len(), |next| next.first_word);
            (self.queued[i].number, (self.queued[i].first_word..end).map(word).collect())
        })
    }
}

/// A transaction under way.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    /// Those that are full.
    parts: Vec<Part>,
    /// What those have: commands, and heap bytes.
    in_parts: (usize, usize),
    last: Part,
    /// Flags that any of the commands has.
    pub(crate) flags: Flags,
    /// Any of the commands does not run while the data set loads.
    pub(crate) needs_data: bool,
    /// A command was refused: EXEC will refuse, too.
    is_failed: bool,
}

impl Transaction {
    /// Adds a command.
    pub(crate) fn push(&mut self, number: u16, flags: Flags, argv: &[&[u8]]) {
        if self.is_failed {
            return;
        }
        if self.last.is_full() {
            self.in_parts.0 += self.last.queued.len();
            self.in_parts.1 += self.last.memory_bytes();
            self.parts.push(std::mem::take(&mut self.last));
        }
        self.last.push(number, argv);
        self.flags = self.flags.or(flags);
        self.needs_data |= !flags.has(LOADING);
    }

    /// A command was refused; what is queued will not run.
    pub(crate) fn fail(&mut self) {
        *self = Transaction { is_failed: true, ..Transaction::default() };
    }

    /// How many commands wait.
    pub(crate) fn len(&self) -> usize {
        self.in_parts.0 + self.last.queued.len()
    }

    /// Heap bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.in_parts.1 + self.last.memory_bytes() + self.parts.capacity() * size_of::<Part>()
    }

    /// The commands with their arguments.
    fn commands(&self) -> impl Iterator<Item = (u16, Vec<&[u8]>)> {
        self.parts.iter().chain([&self.last]).flat_map(Part::commands)
    }
}

const OPEN: Flags = NOSCRIPT.or(LOADING).or(STALE).or(FAST).or(ALLOW_BUSY);

const MULTI: SessionCommand = SessionCommand::new(
    Spec::new("multi", Group::Transactions, "1.2.0", 1, "")
        .flags(OPEN.or(NO_MULTI))
        .summary("Begins a transaction: commands are kept until EXEC."),
    |call, _| {
        call.session().transaction = Some(Box::default());
        call.reply.ok();
        Ok(())
    },
);

const EXEC: SessionCommand = SessionCommand::new(
    Spec::new("exec", Group::Transactions, "1.2.0", 1, "")
        .flags(NOSCRIPT.or(LOADING).or(STALE).or(SKIP_SLOWLOG))
        .complexity("Depends on the commands")
        .summary("Runs the commands of the transaction with nothing between them."),
    exec,
);

fn exec(call: &mut Call<'_>, _: Args<'_>) -> Outcome {
    let is_broken = call.session().is_watch_broken || call.server.has_expired_watch(call.client);
    let Some(transaction) = call.session().transaction.take() else {
        return Err(CommandError::text("ERR EXEC without MULTI"));
    };
    call.server.unwatch(call.client);
    if transaction.is_failed {
        return Err(CommandError::text("EXECABORT Transaction discarded because of previous errors."));
    }
    if is_broken {
        call.reply.null_array();
        return Ok(());
    }
    call.server.aof.exec_writes = transaction.flags.has(WRITE) || transaction.flags.has(MAY_REPLICATE);
    call.server.aof.is_in_exec = true;
    call.reply.array(transaction.len());
    let own = call.session().last_command;
    for (number, argv) in transaction.commands() {
        let protocol = call.session().protocol;
        call.reply.set_protocol(protocol);
        dispatch::run_inside(call.server, call.client, number, &argv, true, call.reply);
    }
    call.server.aof.is_in_exec = false;
    // CLIENT LIST tells what was sent last, not what ran last.
    call.session().last_command = own;
    Ok(())
}

const DISCARD: SessionCommand = SessionCommand::new(
    Spec::new("discard", Group::Transactions, "2.0.0", 1, "")
        .flags(OPEN)
        .complexity("O(N) in the number of commands that wait")
        .summary("Forgets the transaction."),
    |call, _| {
        if call.session().transaction.take().is_none() {
            return Err(CommandError::text("ERR DISCARD without MULTI"));
        }
        call.server.unwatch(call.client);
        call.reply.ok();
        Ok(())
    },
);

const WATCH: SessionCommand = SessionCommand::new(
    Spec::new("watch", Group::Transactions, "2.2.0", -2, "key...")
        .flags(OPEN.or(NO_MULTI))
        .keys(&[KeySpec::rest(1, 1, LOOKS)])
        .complexity("O(1) a key")
        .summary("Has EXEC run nothing if one of these keys changes before it."),
    |call, args| {
        if !call.session().is_watch_broken {
            args.from(1).iter().for_each(|key| call.server.watch(call.client, key));
        }
        call.reply.ok();
        Ok(())
    },
);

const UNWATCH: SessionCommand = SessionCommand::new(
    Spec::new("unwatch", Group::Transactions, "2.2.0", 1, "")
        .flags(OPEN)
        .summary("Forgets which keys are watched."),
    |call, _| {
        call.server.unwatch(call.client);
        call.reply.ok();
        Ok(())
    },
);

impl Server {
    /// Has a client watch a key of its database.
    fn watch(&mut self, index: u32, key: &[u8]) {
        let Some(client) = self.clients.get_mut(index) else { return };
        let session = &mut client.session;
        let key = (session.db, key.to_vec());
        // Not looked for among the client's own keys: there may be many.
        if self.watchers.has(&key, index) {
            return;
        }
        let entry = self.engine.as_ref().and_then(|engine| engine.keyspace().db(key.0).entry(&key.1));
        let was_expired = entry.is_some_and(|entry| entry.is_expired(self.now));
        let was_there = entry.is_some() && !was_expired;
        let is_first = session.watched.is_empty();
        session.watched.push(Watched { key: key.clone(), was_there, was_expired });
        self.watchers.add(key, index, is_first);
        self.update_wants();
    }

    /// Has a client watch nothing.
    pub(crate) fn unwatch(&mut self, index: u32) {
        let Some(client) = self.clients.get_mut(index) else { return };
        client.session.is_watch_broken = false;
        let watched = std::mem::take(&mut client.session.watched);
        if !watched.is_empty() {
            self.watchers.remove(index, &watched);
            self.update_wants();
        }
    }

    /// True if a key that a client watches has expired meanwhile, whether or not it is removed yet.
    fn has_expired_watch(&self, index: u32) -> bool {
        let (Some(client), Some(engine)) = (self.clients.get(index), &self.engine) else { return false };
        client.session.watched.iter().any(|watched| {
            let entry = engine.keyspace().db(watched.key.0).entry(&watched.key.1);
            !watched.was_expired && entry.is_some_and(|entry| entry.is_expired(self.now))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_transaction_grows_in_parts_and_keeps_its_order() {
        const LONGEST: usize = 3000;
        let mut transaction = Transaction::default();
        let commands: Vec<(u16, Vec<Vec<u8>>)> = (0..5000u16)
            .map(|n| {
                (
                    n,
                    (0..n % 4)
                        .map(|word| vec![n as u8; (usize::from(n) * 37 + usize::from(word)) % LONGEST])
                        .collect(),
                )
            })
            .collect();
        for (number, words) in &commands {
            let argv: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            transaction.push(*number, Flags::default(), &argv);
        }
        assert_eq!(transaction.len(), commands.len());
        assert!(
            transaction.commands().eq(commands
                .iter()
                .map(|(number, words)| (*number, words.iter().map(Vec::as_slice).collect::<Vec<_>>())))
        );
        let most = 2 * (PART_BYTES + 4 * LONGEST);
        assert!(transaction.parts.iter().all(|part| part.bytes.capacity() <= most));
        let counted: usize = transaction.parts.iter().map(Part::memory_bytes).sum();
        assert_eq!(transaction.in_parts.1, counted);
        assert!(
            transaction.memory_bytes() > commands.iter().flat_map(|(_, words)| words).map(Vec::len).sum()
        );
        transaction.fail();
        assert_eq!((transaction.len(), transaction.memory_bytes()), (0, 0));
    }
}
