//! `rdb-tools stats`: what takes the memory, how long keys live, how big they are.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use cairn_engine::codec::rdb::{Depth, KeyHead, Sink, ValueEvent, Version};
use clap::Args;

use super::Reading;
use crate::drive::Stop;
use crate::memory::{Allocator, Server};
use crate::output::stdout;
use crate::parallel::{self, Jobs};
use crate::report;
use crate::select::{Chosen, Halted, Selected, Selection, through};
use crate::source::Source;
use crate::stats::csv::{self, Rows};
use crate::stats::prefix::Cutting;
use crate::stats::summary::Summary;
use crate::stats::{Collector, Moment, Options, Origin, Stats as Gathered, push_json, text};
use crate::write::{Output, refuse_same};

/// Show what takes the memory, how long keys live, how big they are
///
/// By type, encoding, database and prefix; the biggest keys; times to live; hash slots. Memory is what the server that
/// `--for` names would need after it has loaded the file, as its MEMORY USAGE counts it: an estimate, whose
/// errors are in the README. One pass, and little memory whatever the file.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 if the whole file was read, 1 if it is damaged (the statistics are those of the keys \
                  before the damage), 2 for other trouble."
)]
pub struct Stats {
    /// RDB file, or another source of keys; - for standard input
    pub file: OsString,

    /// Server that would hold the data [default: the one that wrote the file]
    #[arg(long = "for", value_enum, value_name = "SERVER")]
    pub server: Option<Server>,

    /// Which jemalloc that server is built with
    #[arg(long, value_enum, default_value_t)]
    pub allocator: Allocator,

    /// Time that expiries are compared with: when the file was written, now, or an instant
    #[arg(long, default_value = "written", value_name = "written|now|INSTANT", value_parser = parse_moment)]
    pub at: At,

    /// How many of the biggest keys, prefixes and slots to show
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = parse_top)]
    pub top: usize,

    /// What ends a prefix of a key; nothing switches prefixes off
    #[arg(long, default_value = ":", value_name = "TEXT")]
    pub prefix_separator: String,

    /// How many prefixes of a key count at most
    #[arg(long, default_value_t = 4, value_name = "N")]
    pub prefix_depth: u8,

    /// Over how many nodes to spread the hash slots
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=16384))]
    pub nodes: u16,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,

    /// Print a table as comma-separated values
    #[arg(
        long,
        value_enum,
        value_name = "TABLE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "groups",
        conflicts_with = "json"
    )]
    pub csv: Option<csv::Table>,

    /// Also write a report for a browser: one file with charts, which loads nothing from elsewhere
    #[arg(long, value_name = "OUT")]
    pub html: Option<PathBuf>,

    /// Replace a report that is there already
    #[arg(long, requires = "html")]
    pub force: bool,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub selection: Selection,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub jobs: Jobs,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: Reading,
}

/// The time that expiries are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// When the file was written.
    Written,
    /// When the tool runs.
    Now,
    /// That time, Unix time in ms.
    Ms(i64),
}

fn parse_moment(text: &str) -> Result<At, String> {
    match text {
        "written" => Ok(At::Written),
        "now" => Ok(At::Now),
        _ => crate::when::instant(text).map(|at| At::Ms(at.0)).map_err(|why| format!("\"{text}\" {why}")),
    }
}

/// More rows than this would not be the greatest few, and take room.
const MOST_TOP: usize = 10_000;

fn parse_top(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(top) if top <= MOST_TOP => Ok(top),
        _ => Err(format!("not a number from 0 to {MOST_TOP}")),
    }
}

impl Stats {
    fn options(&self) -> Options {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis());
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        Options {
            server: self.server,
            allocator: self.allocator,
            moment: match self.at {
                At::Written => Moment::WrittenOr(now),
                At::Now => Moment::At(now),
                At::Ms(ms) => Moment::At(ms),
            },
            top: self.top,
            cutting: Cutting {
                separator: self.prefix_separator.clone().into_bytes(),
                depth: self.prefix_depth.into(),
            },
        }
    }
}

/// Runs the subcommand.
///
/// # Errors
/// What keeps it from reading or writing.
pub fn run(args: &Stats) -> anyhow::Result<u8> {
    let chosen = args.selection.compile()?;
    let mut source = Source::open(&args.file, args.reading)?;
    let mut page = None;
    if let Some(path) = &args.html {
        refuse_same(args.file.as_ref(), path)?;
        page = Some(Output::create(path, args.force)?);
    }
    let mut out = stdout();
    if args.csv == Some(csv::Table::Keys) {
        out.write_all(csv::KEYS_HEAD).context("writing")?;
    }
    let gathered = gather(args, &chosen, &mut source, &mut out)?;
    let (stats, origin, result) = gathered;
    let mut summary =
        Summary::new(crate::source::shown(&args.file), stats, origin, args.nodes.into(), args.top);
    summary.is_complete = result.is_ok();
    summary.is_everything = chosen.is_everything();
    if let Some(mut page) = page {
        page.write_all(&report::html(&summary)).context("writing the report")?;
        page.commit()?;
    }
    match (args.csv, args.json) {
        (Some(table), _) => csv::write(&mut out, table, &summary).context("writing")?,
        (None, true) => {
            let mut object = Vec::new();
            push_json(&mut object, &summary);
            out.write_all(&object).context("writing")?;
        }
        (None, false) => out.write_all(text::write(&summary).as_bytes()).context("writing")?,
    }
    out.flush().context("writing")?;
    match result {
        Ok(()) => Ok(crate::output::exit::CLEAN),
        Err(stop) => stop.report("rdb-tools", source.name()),
    }
}

type Result3 = (Gathered, Origin, Result<(), Stop<io::Error>>);

/// Reads the source to its end, with several threads where that can be.
fn gather(
    args: &Stats,
    chosen: &Chosen,
    source: &mut Source,
    out: &mut impl Write,
) -> anyhow::Result<Result3> {
    let options = args.options();
    let has_rows = args.csv == Some(csv::Table::Keys);
    let head = match source.reopen()? {
        Some(again) => head_of(again),
        None => Origin::default(),
    };
    let reading = args.reading;
    if let Some(input) = source.rdb_input() {
        let progress = reading.progress(input);
        let make = |outlet: parallel::Outlet<Vec<u8>>| {
            let rows = has_rows.then(|| Rows::new(move |chunk| Ok(outlet.send(chunk)?)));
            Selected::new(chosen, Collector::of_part(options.clone(), head.clone(), rows))
        };
        let take = |chunk: Vec<u8>| out.write_all(&chunk).map_err(Halted::Sink);
        let outcome = parallel::run(input, args.jobs, &progress, make, take);
        let mut parts = outcome.workers.into_iter().map(|worker| worker.into_inner().into_stats());
        let (mut stats, mut origin) = parts.next().expect("there is always a worker");
        for (more, its_origin) in parts {
            stats.merge(more);
            origin.functions.0 += its_origin.functions.0;
            origin.functions.1 += its_origin.functions.1;
        }
        return Ok((stats, origin, outcome.result.map_err(through)));
    }
    let rows = has_rows.then(|| Rows::new(|chunk: Vec<u8>| out.write_all(&chunk)));
    let mut worker = Selected::new(chosen, Collector::new(options, rows));
    let result = source.read(&mut worker);
    let flushed = parallel::Worker::finish(&mut worker).map_err(Stop::Sink);
    let (stats, origin) = worker.into_inner().into_stats();
    Ok((stats, origin, result.and(flushed).map_err(through)))
}

/// What a file says before its first key.
fn head_of(mut source: Source) -> Origin {
    let mut head = Head(Origin::default());
    if source.rdb_input().is_some() {
        // Whatever is wrong with the file will be found again.
        let _ = source.read(&mut head);
    }
    head.0
}

struct Head(Origin);

/// The first key was reached.
struct Reached;

impl Sink for Head {
    type Error = Reached;

    fn start(&mut self, version: Version) -> Result<(), Reached> {
        self.0.version = Some(version);
        Ok(())
    }

    fn aux(&mut self, key: &[u8], value: &[u8], _end: u64) -> Result<(), Reached> {
        self.0.aux(key, value);
        Ok(())
    }

    fn key(&mut self, _head: &KeyHead<'_>) -> Result<Depth, Reached> {
        Err(Reached)
    }

    fn value(&mut self, _event: ValueEvent<'_>) -> Result<(), Reached> {
        Ok(())
    }
}
