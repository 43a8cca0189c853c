//! The second pass over a log that does not fit into memory: commands and keys of the base go to
//! partitions, and each partition is run by itself.
//!
//! Keys that a command names together are in one partition, so it never needs another. Commands on whole
//! databases are run in all of them. Keys of the base that no command touches go straight through. While
//! one partition is told, another thread runs the next.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use cairn_engine::codec::rdb::{
    Decoder, Depth, KeyHead, ObjectType, Options as DecoderOptions, Sink, ValueEvent, Version, Writer,
    WriterOptions,
};
use cairn_engine::transcode::build::Builder;
use cairn_engine::transcode::save;
use cairn_engine::value::Limits;

use super::commands::{Call, Commands};
use super::emit::Teller;
use super::keys::Keys;
use super::log::{Log, Part};
use super::replay::{Replayed, replay};
use super::spill::Partitions;
use super::survey::{Route, Survey};
use super::tape::{self, Key};
use super::walk::{Visitor, fault_at, fault_of_system, walk};
use super::{Edits, Options, Summary};
use crate::drive::{Fault, Stop, drive};
use crate::input::Input;
use crate::progress::Progress;

/// Shares of the memory: the keys of a partition (two of them are there at a time, and tables double when
/// they grow), and what is on its way to all of them.
const PARTITION_SHARE: u64 = 8;
const BUFFERS_SHARE: u64 = 8;
/// Values of an RDB file are often compressed, so they take more in memory.
const BASE_WEIGHT: u64 = 3;
/// Less memory is taken for so much.
const LEAST_MEMORY: u64 = 4 << 10;
/// More partitions would be written in too small pieces.
const MOST_PARTITIONS: u64 = 4096;

/// Folds a log that has been looked through.
///
/// # Errors
/// `Stop`.
pub(super) fn fold<'s, S: Sink>(
    log: &Log,
    options: &'s Options,
    survey: Survey,
    sink: &'s mut S,
) -> Result<Summary, Stop<S::Error>> {
    let memory = options.spill.memory.max(LEAST_MEMORY);
    let weight = survey.bytes.0.saturating_add(survey.bytes.1.saturating_mul(BASE_WEIGHT));
    let count = (weight.saturating_mul(PARTITION_SHARE) / memory + 1).clamp(2, MOST_PARTITIONS);
    let partitions = Partitions::new(&options.spill, count as usize, memory / BUFFERS_SHARE);
    let mut second = Second {
        teller: Teller::begin(sink, survey.needs, &survey.aux, &survey.libraries)?,
        partitions: partitions.map_err(|error| of_temp(&error))?,
        commands: Commands::new(),
        survey,
        edits: &options.edits,
        part: 0,
        db: 0,
        line: Vec::new(),
    };
    let start = second.survey.start;
    for (number, part) in log.parts.iter().enumerate() {
        let from = match start {
            Some((place, _)) if number < place.part => continue,
            Some((place, db)) if number == place.part => {
                second.db = db;
                Some(place.at)
            }
            _ => {
                second.db = 0;
                None
            }
        };
        second.part = number as u64;
        let part = Part { until: Some(second.survey.ends[number]), ..part.clone() };
        let walked = walk(&part, from, options, &mut second)?;
        if let Some(broken) = walked.broken {
            let what = format!("{}; the file was right when it was read first", broken.what);
            return Err(Stop::Other(fault_at(&part.path, broken.at, what)));
        }
    }
    second.partitions.seal().map_err(|error| of_temp(&error))?;
    run(log, options, second)
}

/// Runs the partitions, one after another, and tells their keys.
fn run<S: Sink>(log: &Log, options: &Options, second: Second<'_, S>) -> Result<Summary, Stop<S::Error>> {
    let Second { mut teller, partitions, survey, .. } = second;
    let Survey { libraries, mut summary, .. } = survey;
    thread::scope(|scope| {
        let (give, take): (SyncSender<Result<Replayed, Fault>>, Receiver<_>) = sync_channel(0);
        let partitions = &partitions;
        scope.spawn(move || {
            for number in 0..partitions.len() {
                let replayed = replay(log, options, partitions.read(number));
                let is_last = replayed.is_err();
                if give.send(replayed).is_err() || is_last {
                    return;
                }
            }
        });
        for replayed in take {
            let Replayed { keys, skipped, skips } = replayed.map_err(Stop::Other)?;
            teller.all(&keys.keyspace)?;
            summary.add_skips(skipped, skips);
        }
        summary.keys = teller.end(&libraries)?;
        Ok(summary)
    })
}

/// What the system says of the temporary file.
pub(super) fn of_temp<E>(error: &io::Error) -> Stop<E> {
    Stop::Other(Fault::of_access(format!("temporary file: {error}")))
}

/// The second pass.
struct Second<'s, S: Sink> {
    teller: Teller<'s, S>,
    partitions: Partitions,
    commands: Commands,
    survey: Survey,
    edits: &'s Edits,
    part: u64,
    db: usize,
    line: Vec<u8>,
}

impl<S: Sink> Second<'_, S> {
    fn partition(&self, key: u64) -> usize {
        // Roots are hashes; their upper bits are as good as the lower ones, and used for filters.
        let root = self.survey.links.root(key).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((u128::from(root) * self.partitions.len() as u128) >> 64) as usize
    }

    /// Sends the line to a partition.
    fn send(&mut self, partition: usize) -> Result<(), Stop<S::Error>> {
        self.partitions.push(partition, &self.line).map_err(|error| of_temp(&error))
    }

    fn send_to_all(&mut self) -> Result<(), Stop<S::Error>> {
        (0..self.partitions.len()).try_for_each(|partition| self.send(partition))
    }
}

impl<S: Sink> Visitor for Second<'_, S> {
    type Error = Stop<S::Error>;

    fn fault(fault: Fault) -> Stop<S::Error> {
        Stop::Other(fault)
    }

    fn rdb(&mut self, part: &Part, input: &mut Input, progress: &Progress) -> Result<(), Stop<S::Error>> {
        let mut decoder = Decoder::new(DecoderOptions::default());
        let mut base = Base { second: self, way: Way::Through, current: None, member: None };
        drive(input, &mut decoder, progress, &mut base).map_err(|stop| match stop {
            Stop::Sink(stop) => stop,
            Stop::Read(error) => Stop::Other(fault_of_system(&part.path, &error)),
            Stop::Format(error) => Stop::Other(super::run::fault_of_format(&part.path, &error)),
            Stop::Other(fault) => Stop::Other(fault),
        })
    }

    fn command(&mut self, _part: &Part, at: u64, _end: u64, argv: &[&[u8]]) -> Result<(), Stop<S::Error>> {
        let command = match self.commands.call(argv) {
            Ok(Call::Data(command)) => command,
            Ok(Call::Select(db)) => {
                self.db = db;
                return Ok(());
            }
            // Libraries are complete, and what is wrong has been told.
            _ => return Ok(()),
        };
        let (part, db) = (self.part, self.db);
        // What is known of the keys is needed while the partitions are written to.
        let mut router = std::mem::take(&mut self.survey.router);
        let sent = match router.route(db, command, argv) {
            Route::Together(keys) => {
                tape::command(&mut self.line, (part, at), db, argv.iter().copied());
                let partition = keys.first().map_or(0, |key| self.partition(*key));
                self.send(partition)
            }
            Route::Apart(keys) => keys.iter().try_for_each(|(key, place)| {
                let until = if command.spec.name == "mset" { place + 2 } else { place + 1 };
                let words = argv[*place..until.min(argv.len())].iter().copied();
                let words: Vec<&[u8]> = std::iter::once(argv[0]).chain(words).collect();
                tape::command(&mut self.line, (part, at), db, words.into_iter());
                let partition = self.partition(*key);
                self.send(partition)
            }),
            Route::Everywhere | Route::Whole => {
                tape::command(&mut self.line, (part, at), db, argv.iter().copied());
                self.send_to_all()
            }
        };
        self.survey.router = router;
        sent
    }
}

/// Where the key goes whose events come.
enum Way {
    /// To the sink.
    Through,
    /// To a partition, as the bytes that it is.
    Spilled(usize),
    /// To a partition, written anew: its bytes refer to something that is elsewhere in the file.
    Anew(usize, Box<Builder>),
}

/// The keys of a base.
struct Base<'b, 's, S: Sink> {
    second: &'b mut Second<'s, S>,
    way: Way,
    current: Option<Key>,
    /// KeyDB names a member in one auxiliary field and gives its expiry in the next.
    member: Option<Vec<u8>>,
}

impl<S: Sink> Base<'_, '_, S> {
    fn send_key(&mut self, key: &Key, partition: usize) -> Result<(), Stop<S::Error>> {
        tape::key(&mut self.second.line, key);
        self.second.send(partition)
    }

    fn send_piece(&mut self, piece: &[u8], partition: usize) -> Result<(), Stop<S::Error>> {
        tape::piece(&mut self.second.line, piece);
        self.second.send(partition)
    }
}

impl<S: Sink> Sink for Base<'_, '_, S> {
    type Error = Stop<S::Error>;

    fn start(&mut self, version: Version) -> Result<(), Self::Error> {
        tape::version(&mut self.second.line, version);
        self.second.send_to_all()
    }

    fn aux(&mut self, key: &[u8], value: &[u8], _end: u64) -> Result<(), Self::Error> {
        match (key, &self.way) {
            (b"keydb-subexpire-key" | b"keydb-subexpire-when", Way::Through) => {
                self.second.teller.aux(key, value)
            }
            (b"keydb-subexpire-key", _) => {
                self.member = Some(value.to_vec());
                Ok(())
            }
            (b"keydb-subexpire-when", Way::Spilled(partition) | Way::Anew(partition, _)) => {
                let partition = *partition;
                let Some(member) = self.member.take() else { return Ok(()) };
                tape::member(&mut self.second.line, &member, value);
                self.second.send(partition)
            }
            _ => Ok(()),
        }
    }

    fn template(&mut self, id: u64, fields: &[Vec<u8>]) -> Result<(), Self::Error> {
        self.second.teller.template(id, fields)
    }

    fn key(&mut self, head: &KeyHead<'_>) -> Result<Depth, Self::Error> {
        let second = &mut *self.second;
        let head = &KeyHead { db: second.edits.db(head.db), ..*head };
        let db = usize::try_from(head.db).unwrap_or(usize::MAX);
        let hash = second.survey.router.key(db, head.key);
        let survey = &second.survey;
        // Databases that become one may have a key twice, which only a partition sees.
        let is_edited = second.edits.may_merge();
        if !is_edited && !survey.has_swaps && !survey.flushed.contains(&db) && !survey.touched.has(hash) {
            self.way = Way::Through;
            return second.teller.pass(head);
        }
        let partition = second.partition(hash);
        let key = Key::of(head);
        use ObjectType as T;
        if matches!(head.object, T::HashTemplateListpackRef | T::HashTemplateArrayRef) {
            let mut builder = Box::new(Builder::new(Limits::DEFAULT));
            let depth = builder.begin(head.object, head.type_byte, None);
            self.way = Way::Anew(partition, builder);
            self.current = Some(key);
            return Ok(depth);
        }
        self.way = Way::Spilled(partition);
        self.send_key(&key, partition)?;
        Ok(Depth::Raw)
    }

    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), Self::Error> {
        match (&mut self.way, event) {
            (Way::Through, event) => self.second.teller.pass_value(event),
            (Way::Spilled(partition), ValueEvent::Raw(piece)) => {
                let partition = *partition;
                self.send_piece(piece, partition)
            }
            (Way::Spilled(_), _) => Ok(()),
            (Way::Anew(_, builder), event) => builder.event(event).map_err(|error| {
                Stop::Other(Fault::of_input(crate::drive::Place::Nowhere, error.to_string()))
            }),
        }
    }

    fn end_key(&mut self, end: u64) -> Result<(), Self::Error> {
        match &mut self.way {
            Way::Through => self.second.teller.pass_end(end),
            Way::Spilled(partition) => {
                let partition = *partition;
                tape::end(&mut self.second.line);
                self.second.send(partition)
            }
            Way::Anew(partition, builder) => {
                let partition = *partition;
                let value = builder.finish().ok().flatten();
                let (Some(mut key), Some(value)) = (self.current.take(), value) else { return Ok(()) };
                let mut w = Writer::new(Vec::new(), WriterOptions { compress: false, checksum: false });
                let target = self.second.teller.target();
                if save::record(&mut w, target, None, value.view()).is_err() {
                    return Err(self.second.teller.cannot_hold(&key.key));
                }
                let Ok(record) = w.into_drain();
                let Some((type_byte, payload)) = record.split_first() else { return Ok(()) };
                key.type_byte = *type_byte;
                self.send_key(&key, partition)?;
                self.send_piece(payload, partition)?;
                tape::end(&mut self.second.line);
                self.second.send(partition)
            }
        }
    }
}

/// Keys go from one thread to another.
const _: fn() = || {
    fn may_go_to_another_thread<T: Send>() {}
    may_go_to_another_thread::<Keys>();
};
