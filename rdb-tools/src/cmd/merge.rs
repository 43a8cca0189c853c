//! `rdb-tools merge`: the keys of several data sets in one file.

use std::cmp::Ordering;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use cairn_engine::codec::rdb::{Depth, KeyHead, Sink, Target, Trailer, ValueEvent, Version};
use clap::{Args, ValueEnum};

use super::Reading;
use super::convert::parse_target;
use crate::canon::{SubExpiry, expiry, library_name};
use crate::diff::digest::Scope;
use crate::diff::spool::Twice;
use crate::drive::Stop;
use crate::lossy::Lossy;
use crate::output::{Shown, exit};
use crate::select::{Chosen, Selected, Selection, through};
use crate::source::{self, Source};
use crate::spill::{Sorted, Sorter, Spill};
use crate::write::rdb::{Aux, Choice, Options, RdbWriter};
use crate::write::{Output, refuse_same};

/// Write the keys of several data sets into one RDB file
///
/// A key that is there more than once is written once, by a rule; libraries of functions and data of
/// modules follow the same rule. Each input is read twice: for the names of its keys, then for the keys that are
/// to be written. These come in the order of the inputs.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 if the output is there, 1 if an input is damaged, if --on-duplicate fail met a \
                        duplicate, or if the target cannot hold all of it, 2 for other trouble."
)]
pub struct Merge {
    /// RDB files, and what else keys can be read from; - for standard input
    #[arg(required = true, value_name = "INPUT")]
    pub inputs: Vec<OsString>,

    /// The RDB file to write; - for standard output
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,

    /// Which one of the keys of one name is written
    #[arg(long, value_enum, default_value_t = Rule::Fail)]
    pub on_duplicate: Rule,

    /// Server that is to read the output [default: what wrote the first input]
    #[arg(long, value_name = "NAME", value_parser = parse_target)]
    pub target: Option<Target>,

    /// What to do about what the target cannot hold
    #[arg(long, value_enum, default_value_t = Lossy::Fail)]
    pub lossy: Lossy,

    /// Replace the output if it is there
    #[arg(long)]
    pub force: bool,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub selection: Selection,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub spill: Spill,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: Reading,
}

/// Which one of several keys of one name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Rule {
    /// That of the first input that has it
    First,
    /// That of the last one
    Last,
    /// The one that expires last; of those that never do, and of equal ones, the first
    #[value(alias = "newest")]
    NewestTtl,
    /// None: list them, and write nothing
    Fail,
}

/// No more duplicates than this are listed one by one.
const MOST_LISTED: u64 = 100;

/// Runs the subcommand.
///
/// # Errors
/// What keeps it from reading or writing.
pub fn run(args: &Merge) -> anyhow::Result<u8> {
    for input in &args.inputs {
        refuse_same(Path::new(input), &args.output)?;
    }
    anyhow::ensure!(
        args.inputs.iter().filter(|input| *input == "-").count() < 2,
        "standard input can be read only once"
    );
    let chosen = args.selection.compile()?;
    let mut inputs = Vec::new();
    let mut names = Sorter::new(&args.spill.part(3));
    for (i, name) in args.inputs.iter().enumerate() {
        let read = Source::open(name, args.reading).map_err(Stop::Sink).and_then(|source| {
            let mut input = Twice::new(source, args.reading, &args.spill)?;
            let mut sink = Names { input: i as u32, names: &mut names, key: Vec::new() };
            let mut source = input.open().map_err(Stop::Sink)?;
            let read = source.read(&mut Selected::new(&chosen, &mut sink)).map_err(through);
            read.map_err(|stop| stop.map_sink(anyhow::Error::from))?;
            Ok(input)
        });
        match read {
            Ok(input) => inputs.push(input),
            Err(stop) => return stop.report("rdb-tools", name),
        }
    }
    let mut losers = Sorter::new(&args.spill.part(3));
    let duplicates = find_losers(args, names.finish()?, &mut losers).context("sorting")?;
    if args.on_duplicate == Rule::Fail && duplicates > 0 {
        writeln!(
            io::stderr(),
            "rdb-tools: {duplicates} duplicates; nothing was written; --on-duplicate says what to take"
        )
        .context("writing")?;
        return Ok(exit::FINDINGS);
    }
    write(args, &chosen, &mut inputs, losers.finish().context("sorting")?)
}

/// Where a record is: its input and its offset there.
fn place(input: u32, at: u64) -> [u8; 12] {
    let mut place = [0; 12];
    place[..4].copy_from_slice(&input.to_be_bytes());
    place[4..].copy_from_slice(&at.to_be_bytes());
    place
}

/// Collects the names of one input.
struct Names<'a> {
    input: u32,
    names: &'a mut Sorter,
    key: Vec<u8>,
}

impl Names<'_> {
    fn push(&mut self, scope: Scope, name: &[u8], at: u64, expires: i64) -> io::Result<()> {
        self.key.clear();
        scope.push(&mut self.key);
        self.key.extend_from_slice(name);
        let mut payload = [0; 20];
        payload[..12].copy_from_slice(&place(self.input, at));
        payload[12..].copy_from_slice(&expires.to_be_bytes());
        self.names.push(&self.key, &payload)
    }
}

/// The name of a module's data: its type's, and whether they come before the keys or behind them.
fn aux_name(id: u64, payload: &[u8]) -> Vec<u8> {
    let mut name = crate::jsonl::module_name(id).to_vec();
    name.extend(payload.get(10));
    name
}

impl Sink for Names<'_> {
    type Error = io::Error;

    fn function(&mut self, at: u64, code: &[u8]) -> io::Result<()> {
        self.push(Scope::Functions, library_name(code), at, i64::MAX)
    }

    fn module_aux(&mut self, at: u64, id: u64, payload: &[u8]) -> io::Result<()> {
        self.push(Scope::ModuleAux, &aux_name(id, payload), at, i64::MAX)
    }

    fn update(&mut self, at: u64, _argv: &[&[u8]]) -> io::Result<()> {
        Err(crate::walk::refused_update(at))
    }

    fn key(&mut self, head: &KeyHead<'_>) -> io::Result<Depth> {
        let expires = expiry(head).map_or(i64::MAX, |at| at.0);
        self.push(Scope::Db(head.db), head.key, head.at, expires)?;
        Ok(Depth::Skip)
    }

    fn value(&mut self, _event: ValueEvent<'_>) -> io::Result<()> {
        Ok(())
    }
}

/// Puts the places of all records but the one to be written of each name into `losers`. Answers how many.
fn find_losers(args: &Merge, mut names: Sorted, losers: &mut Sorter) -> io::Result<u64> {
    let mut duplicates = 0;
    let mut name = Vec::new();
    // The record that wins so far: its place and expiry, as they were pushed.
    let mut best = [0; 20];
    let mut has_name = false;
    while let Some(record) = names.current() {
        let this: [u8; 20] = *record.payload.first_chunk().unwrap_or(&[0; 20]);
        if !has_name || record.key != name {
            name.clear();
            name.extend_from_slice(record.key);
            (best, has_name) = (this, true);
        } else {
            duplicates += 1;
            if args.on_duplicate == Rule::Fail && duplicates <= MOST_LISTED {
                tell(args, &name, &best, &this)?;
            }
            let expires = |record: &[u8; 20]| record.last_chunk().copied().map(i64::from_be_bytes);
            let wins = match args.on_duplicate {
                Rule::First | Rule::Fail => false,
                Rule::Last => true,
                Rule::NewestTtl => expires(&this) > expires(&best),
            };
            let loser = if wins { std::mem::replace(&mut best, this) } else { this };
            losers.push(&loser[..12], b"")?;
        }
        names.advance()?;
    }
    Ok(duplicates)
}

fn tell(args: &Merge, key: &[u8], first: &[u8; 20], second: &[u8; 20]) -> io::Result<()> {
    let Some((scope, name)) = Scope::split(key) else { return Ok(()) };
    let input = |record: &[u8; 20]| {
        let i = record.first_chunk().map_or(0, |i| u32::from_be_bytes(*i));
        args.inputs.get(i as usize).map(|name| source::shown(name)).unwrap_or_default()
    };
    let (scope, name) = (scope.shown(), Shown(name));
    writeln!(io::stderr(), "rdb-tools: {scope}, \"{name}\" is in {} and in {}", input(first), input(second))
}

/// Writes what has not lost.
fn write(args: &Merge, chosen: &Chosen, inputs: &mut [Twice], losers: Sorted) -> anyhow::Result<u8> {
    let output = Output::create(&args.output, args.force)?;
    let options = Options {
        target: args.target.map_or(Choice::Same, Choice::Target),
        lossy: args.lossy,
        aux: Aux::Edited,
        ..Options::default()
    };
    let mut winners =
        Winners { writer: RdbWriter::new(output, options), losers, input: 0, lost: false, is_first: true };
    for (i, input) in inputs.iter_mut().enumerate() {
        (winners.input, winners.is_first) = (i as u32, i == 0);
        let mut source = input.open()?;
        if let Err(stop) = source.read(&mut Selected::new(chosen, &mut winners)).map_err(through) {
            return stop.report("rdb-tools", input.name());
        }
    }
    let target = winners.writer.target().unwrap_or_default();
    let (output, losses) = winners.writer.finish()?;
    if !losses.is_empty() {
        let mut err = io::stderr().lock();
        let (refused, target) = (args.lossy.refuses_any(&losses), target.name());
        match refused {
            true => writeln!(err, "rdb-tools: {target} cannot hold all of it:"),
            false => writeln!(err, "rdb-tools: left out, as {target} cannot hold it:"),
        }
        .context("writing")?;
        losses.list(&mut err, args.lossy.lists_keys()).context("writing")?;
        if refused {
            writeln!(err, "rdb-tools: nothing was written; --lossy warn leaves that out")
                .context("writing")?;
            return Ok(exit::FINDINGS);
        }
    }
    output.commit()?;
    Ok(exit::CLEAN)
}

/// Lets through what has not lost.
struct Winners {
    writer: RdbWriter<Output>,
    losers: Sorted,
    input: u32,
    /// The key that is open has lost.
    lost: bool,
    is_first: bool,
}

impl Winners {
    fn has_lost(&mut self, at: u64) -> io::Result<bool> {
        let place = place(self.input, at);
        while let Some(record) = self.losers.current() {
            match record.key.cmp(&place) {
                Ordering::Less => self.losers.advance()?,
                Ordering::Equal => return Ok(true),
                Ordering::Greater => return Ok(false),
            }
        }
        Ok(false)
    }
}

impl Sink for Winners {
    type Error = io::Error;

    fn start(&mut self, version: Version) -> io::Result<()> {
        self.writer.start(version)
    }

    fn aux(&mut self, key: &[u8], value: &[u8], end: u64) -> io::Result<()> {
        let is_kept = if SubExpiry::is_one(key) { !self.lost } else { self.is_first };
        if is_kept { self.writer.aux(key, value, end) } else { Ok(()) }
    }

    fn function(&mut self, at: u64, code: &[u8]) -> io::Result<()> {
        if self.has_lost(at)? { Ok(()) } else { self.writer.function(at, code) }
    }

    fn module_aux(&mut self, at: u64, id: u64, payload: &[u8]) -> io::Result<()> {
        if self.has_lost(at)? { Ok(()) } else { self.writer.module_aux(at, id, payload) }
    }

    fn slot_import(&mut self, job: &[u8], ranges: &[(u64, u64)]) -> io::Result<()> {
        self.writer.slot_import(job, ranges)
    }

    fn template(&mut self, id: u64, fields: &[Vec<u8>]) -> io::Result<()> {
        self.writer.template(id, fields)
    }

    fn update(&mut self, at: u64, _argv: &[&[u8]]) -> io::Result<()> {
        Err(crate::walk::refused_update(at))
    }

    fn key(&mut self, head: &KeyHead<'_>) -> io::Result<Depth> {
        self.lost = self.has_lost(head.at)?;
        if self.lost { Ok(Depth::Skip) } else { self.writer.key(head) }
    }

    fn value(&mut self, event: ValueEvent<'_>) -> io::Result<()> {
        if self.lost { Ok(()) } else { self.writer.value(event) }
    }

    fn end_key(&mut self, end: u64) -> io::Result<()> {
        if self.lost { Ok(()) } else { self.writer.end_key(end) }
    }

    fn end(&mut self, trailer: Trailer) -> io::Result<()> {
        self.writer.end(trailer)
    }
}
