//! Commands of a log on their way from the reader to the keys, some hundred together, with the bytes that
//! they stand in.

use std::ops::Range;

use smallvec::SmallVec;

use crate::command::DataCommand;
use crate::keyspace::Entry;

/// What is to be done for a command of a log.
#[derive(Debug, Clone, Copy)]
pub(super) enum Call {
    /// A data command.
    Data {
        command: &'static DataCommand,
        /// Position of its first key; 0 if only the command knows.
        key_at: usize,
        /// Whether its effect on a key that is not there can be had ahead, and how.
        ahead: Ahead,
    },
    Select(usize),
    Function,
    /// A script is run or made known.
    Script,
    /// Not a data command: whoever keeps sessions knows.
    Outside,
    /// Sessions answer to it with this error.
    Wrong {
        command: &'static str,
        error: &'static str,
    },
}

/// How the effect of a command on a key that is not there is had ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ahead {
    /// Not at all: it hangs on other keys, too, or on chance.
    Never,
    /// It is run.
    Run,
    /// It is one of those that rewritten logs consist of.
    Plain(Plain),
}

/// What a plain command gives a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plain {
    /// SET
    String,
    /// RPUSH
    List,
    /// SADD
    Set,
    /// HSET
    Hash,
    /// ZADD
    Zset,
    /// PEXPIREAT
    Expiry,
}

/// A command.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    pub(super) call: Call,
    /// Its first word and the number of its words, in [`Batch::words`].
    pub(super) first: usize,
    pub(super) len: usize,
    /// Its offset in the file.
    pub(super) at: u64,
}

/// What some commands in a row, all on one key, make of a key that is not there.
#[derive(Debug)]
pub(super) struct Run {
    /// The commands, in [`Batch::items`].
    pub(super) items: Range<usize>,
    /// The key's hash.
    pub(super) hash: u64,
    pub(super) entry: Entry,
    /// Whether it is the same if the key is there: the first command writes over it.
    pub(super) replaces: bool,
}

/// Commands that may be run.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    /// Places in `bytes`.
    pub(super) words: Vec<Range<usize>>,
    pub(super) items: Vec<Item>,
    /// What was made ahead, in order.
    pub(super) runs: Vec<Run>,
    /// Offset in the file after it.
    pub(super) end: u64,
}

/// Words of a command; few of them need no allocation.
pub(super) type Argv<'a> = SmallVec<[&'a [u8]; 32]>;

/// The words of a batch. Looked up where they are needed: a list of all of them would be a fresh piece of
/// memory for each batch, which the system clears.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words<'a> {
    bytes: &'a [u8],
    places: &'a [Range<usize>],
}

impl<'a> Words<'a> {
    /// The words at `places` in `bytes`.
    pub(super) fn new(bytes: &'a [u8], places: &'a [Range<usize>]) -> Words<'a> {
        Words { bytes, places }
    }

    /// One word.
    #[inline]
    pub(super) fn get(self, i: usize) -> &'a [u8] {
        &self.bytes[self.places[i].clone()]
    }

    /// Some of them.
    #[inline]
    pub(super) fn range(self, range: Range<usize>) -> impl Iterator<Item = &'a [u8]> + Clone {
        self.places[range].iter().map(move |place| &self.bytes[place.clone()])
    }

    /// Those of a command.
    #[inline]
    pub(super) fn of(self, item: &Item) -> Argv<'a> {
        self.places[item.first..item.first + item.len]
            .iter()
            .map(|place| &self.bytes[place.clone()])
            .collect()
    }
}
