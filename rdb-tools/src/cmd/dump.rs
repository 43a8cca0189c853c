//! `rdb-tools dump`: the contents of whatever holds keys, in many forms.

use std::collections::BinaryHeap;
use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, bail};
use cairn_engine::codec::rdb::{Depth, KeyHead, Sink, Target, ValueEvent};
use clap::{Args, ValueEnum};

use super::Reading;
use super::convert::parse_target;
use crate::drive::Stop;
use crate::dump::array::Array;
use crate::dump::commands::CommandLines;
use crate::dump::elements::ElementRows;
use crate::dump::keys::Keys;
#[cfg(feature = "parquet")]
use crate::dump::parquet;
use crate::dump::rows::{KeyRow, KeyRows, RowError};
use crate::dump::text::RowText;
use crate::dump::{csv, sorted, table};
use crate::index::{Found, Lookup};
use crate::jsonl::{Handover, Jsonl, LeftOut, Lines, Options, function_name, write_in_parallel};
use crate::lossy::Losses;
use crate::output::exit;
use crate::parallel::{Jobs, Worker};
use crate::select::{Chosen, Halted, Selected, Selection, Share, through};
use crate::source::Source;
use crate::spill::Spill;
use crate::write::commands::{self, Commands};
use crate::write::rdb::Choice;
use crate::write::resp::Resp;
use crate::write::{Output, refuse_same};

/// Print what is in an RDB file, an AOF, JSON lines or a server
///
/// Keys come in the order of the file. As JSON nothing is left out or shortened, so the output can be
/// much larger than the file.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 if the whole file was read, 1 if the file is damaged (the keys before the \
                        damage have been printed), 2 for other trouble."
)]
pub struct Dump {
    /// RDB file; - for standard input
    pub file: OsString,

    /// Form of the output
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    pub format: Format,

    /// File to write, once it is whole; - for standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,

    /// Replace the file of --output if it is there
    #[arg(long)]
    pub force: bool,

    /// With csv and parquet: what is in a row
    #[arg(long, value_enum, default_value_t = Rows::Keys)]
    pub rows: Rows,

    /// With keys: names as they are, with a NUL behind each, as xargs -0 takes them
    #[arg(short = '0', long = "null")]
    pub null: bool,

    /// With resp and commands: the server that is to take them [default: the one that wrote the file]
    #[arg(long, value_name = "SERVER", value_parser = parse_target)]
    pub target: Option<Target>,

    /// With resp and commands: a RESTORE for each key, which keeps everything, for servers of this version and
    /// newer ones
    #[arg(long)]
    pub restore: bool,

    /// No more than so many keys
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,

    /// So many keys, or so many in a hundred (5%, 0.1%), chosen by the hashes of their names: the same seed
    /// chooses the same keys, with % in every file. N keys take a second pass over the file
    #[arg(long, value_name = "N|P%")]
    pub sample: Option<Sample>,

    /// Chooses other keys for --sample
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub seed: u64,

    /// Order the keys by database and name
    #[arg(long)]
    pub sort: bool,

    /// Print everything of modules, so that lines can be made a file again: what each value is, vector sets as the
    /// undecoded values of their module, and what modules keep beside their keys
    #[arg(long)]
    pub raw_modules: bool,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub selection: Selection,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub spill: Spill,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub jobs: Jobs,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: Reading,
}

/// The forms that a dump can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object a line for each key
    Jsonl,
    /// One JSON array of these objects
    Json,
    /// Comma-separated values with a heading, a line for each key, or with --rows elements for each element
    Csv,
    /// The names of the keys, one a line
    Keys,
    /// The commands that make the keys again, as clients send them: for redis-cli --pipe
    Resp,
    /// The same as lines that redis-cli reads
    Commands,
    /// Parquet, compressed with zstd: a row for each key, or with --rows elements for each element
    Parquet,
    /// A table of the keys for people
    Table,
}

/// What a table has rows of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Rows {
    /// A key, without its contents
    Keys,
    /// An element of a key: a field, a member, an entry's field
    Elements,
}

/// How much of the keys is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// So many keys.
    Keys(u64),
    /// So many keys of a million.
    Millionths(u32),
}

impl FromStr for Sample {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let why = || format!("\"{text}\" is neither a number of keys nor a share like 5% or 0.01%");
        match text.strip_suffix('%') {
            None => text.parse().map(Self::Keys).map_err(|_| why()),
            Some(percent) => {
                let share: f64 = percent.parse().map_err(|_| why())?;
                match (0.0..=100.0).contains(&share) {
                    true => Ok(Self::Millionths((share * 10_000.0).round() as u32)),
                    false => Err(why()),
                }
            }
        }
    }
}

/// What can end a dump early.
#[derive(Debug)]
pub(super) enum End {
    Write(io::Error),
    Row(cairn_engine::codec::rdb::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

impl From<io::Error> for Stop<End> {
    fn from(error: io::Error) -> Self {
        Self::Sink(End::Write(error))
    }
}

impl From<RowError> for End {
    fn from(error: RowError) -> Self {
        match error {
            RowError::Write(error) => Self::Write(error),
            RowError::Format(error) => Self::Row(error),
        }
    }
}

/// Runs the subcommand.
///
/// # Errors
/// What keeps it from reading or writing.
pub fn run(args: &Dump) -> anyhow::Result<u8> {
    if args.format == Format::Parquet && args.output.as_os_str() == "-" && io::stdout().is_terminal() {
        bail!("Parquet is nothing for a terminal: give --output FILE, or a pipe");
    }
    let mut selection = args.selection.clone();
    if args.format == Format::Keys {
        // Libraries are no keys, and must not count as some.
        selection.not_types.push("function".to_owned());
    }
    let chosen = selection.compile()?;
    // A bar between the lines of the dump would help nobody.
    let no_progress = args.reading.no_progress || io::stdout().is_terminal();
    let reading = Reading { no_progress, ..args.reading };
    if args.rows == Rows::Elements && !matches!(args.format, Format::Csv | Format::Parquet) {
        bail!("--rows goes with --format csv and parquet");
    }
    if (args.restore || args.target.is_some()) && !matches!(args.format, Format::Resp | Format::Commands) {
        bail!("--target and --restore go with --format resp and commands");
    }
    if args.null && args.format != Format::Keys {
        bail!("--null goes with --format keys");
    }
    let mut source = Source::open(&args.file, reading)?;
    let chosen = match sampled(args, chosen, &source)? {
        Ok(chosen) => chosen,
        Err(stop) => return stop.report("rdb-tools", source.name()),
    };
    refuse_same(Path::new(&args.file), &args.output)?;
    let mut out = Output::create(&args.output, args.force)?;
    let picked = Picked { chosen: &chosen, counter: None };
    let result = write(args, picked, Origin::Source(&mut source), &mut out);
    finish(result, source.name(), out)
}

/// Tells how a dump ended, and puts its output in place.
pub(super) fn finish(result: Result<(), Stop<End>>, name: &OsStr, out: Output) -> anyhow::Result<u8> {
    let stop = match result {
        Ok(()) => None,
        Err(Stop::Sink(End::Write(error))) => return Err(error).context("writing"),
        Err(Stop::Sink(End::Row(error))) => Some(Stop::Format(error)),
        Err(stop) => Some(stop.map_sink(|_| io::Error::other("told above"))),
    };
    let code = match stop {
        None => exit::CLEAN,
        Some(stop) => stop.report("rdb-tools", name)?,
    };
    // Also of a damaged file: the keys before the damage are there, and the exit code tells.
    out.commit().context("writing")?;
    Ok(code)
}

/// The keys that are wanted, and what counts them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Picked<'a> {
    pub(super) chosen: &'a Chosen,
    pub(super) counter: Option<&'a AtomicU64>,
}

/// Where the keys come from.
#[derive(Debug)]
pub(super) enum Origin<'a> {
    /// From all that a source has.
    Source(&'a mut Source),
    /// From where an index says that a key is.
    Index { index: &'a Lookup, found: &'a [Found], key: &'a [u8] },
}

/// Takes in `--sample`: a number of keys is found in a pass of its own.
fn sampled(args: &Dump, chosen: Chosen, source: &Source) -> anyhow::Result<Result<Chosen, Stop<Infallible>>> {
    let keys = match args.sample {
        None => return Ok(Ok(chosen)),
        Some(Sample::Millionths(share)) => {
            return Ok(Ok(chosen.sampled(Share::of_millionths(args.seed, share))));
        }
        Some(Sample::Keys(keys)) => usize::try_from(keys).unwrap_or(usize::MAX),
    };
    let Some(mut again) = source.reopen()? else {
        bail!("--sample {keys} reads twice, which this input cannot be: give a file, or a share like 1%");
    };
    let mut lowest = Lowest { keys, seed: args.seed, hashes: BinaryHeap::new() };
    if let Err(stop) = again.read(&mut Selected::new(&chosen, &mut lowest)) {
        // What can be read of a damaged file is sampled; the second pass tells what is wrong.
        match through(stop) {
            Stop::Format(_) | Stop::Other(_) => {}
            stop => return Ok(Err(stop)),
        }
    }
    Ok(Ok(match lowest.hashes.peek() {
        Some(most) => chosen.sampled(Share { seed: args.seed, most: *most }),
        None => chosen,
    }))
}

/// Finds the lowest hashes of keys.
struct Lowest {
    keys: usize,
    seed: u64,
    hashes: BinaryHeap<u64>,
}

impl Lowest {
    fn add(&mut self, hash: u64) {
        if self.hashes.len() < self.keys {
            self.hashes.push(hash);
        } else if let Some(mut most) = self.hashes.peek_mut()
            && hash < *most
        {
            *most = hash;
        }
    }
}

impl Sink for Lowest {
    type Error = Infallible;

    fn function(&mut self, _at: u64, code: &[u8]) -> Result<(), Infallible> {
        self.add(Share::hash(self.seed, Share::LIBRARIES, function_name(code)));
        Ok(())
    }

    fn key(&mut self, head: &KeyHead<'_>) -> Result<Depth, Infallible> {
        self.add(Share::hash(self.seed, head.db, head.key));
        Ok(Depth::Skip)
    }

    fn value(&mut self, _event: ValueEvent<'_>) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Writes the dump.
pub(super) fn write(
    args: &Dump,
    picked: Picked<'_>,
    source: Origin<'_>,
    out: &mut (impl Write + Send),
) -> Result<(), Stop<End>> {
    let heading =
        |out: &mut dyn Write, text: &[u8]| out.write_all(text).map_err(|error| Stop::Sink(End::Write(error)));
    let json = Options { raw_modules: args.raw_modules, sorted: false };
    let left_out = Arc::new(LeftOut::default());
    let now = picked.chosen.now();
    match args.format {
        Format::Jsonl => {
            let result = text(args, picked, source, out, |to| Jsonl::new(to, json).counting(&left_out));
            tell_left_out(&left_out)?;
            result
        }
        Format::Json => {
            let mut array = Array::new(out);
            let result =
                text(args, picked, source, &mut array, |to| Jsonl::new(to, json).counting(&left_out));
            // Also of a damaged file: what is there can be read, and the exit code tells.
            array.finish()?;
            tell_left_out(&left_out)?;
            result
        }
        Format::Csv if args.rows == Rows::Elements => {
            heading(out, csv::ELEMENT_COLUMNS)?;
            text(args, picked, source, out, |to| ElementRows::new(RowText::new(to, csv::element_line)))
        }
        Format::Csv => {
            heading(out, csv::KEY_COLUMNS)?;
            text(args, picked, source, out, |to| KeyRows::new(RowText::new(to, csv::key_line)))
        }
        Format::Table => {
            heading(out, table::HEADING.as_bytes())?;
            text(args, picked, source, out, |to| {
                KeyRows::new(RowText::new(to, move |line: &mut Vec<u8>, row: &KeyRow<'_>| {
                    table::line(line, row, now);
                }))
            })
        }
        #[cfg(not(feature = "parquet"))]
        Format::Parquet => {
            Err(io::Error::other("this build writes no Parquet: its feature was left out").into())
        }
        #[cfg(feature = "parquet")]
        Format::Parquet if args.rows == Rows::Elements => {
            let begun = parquet::Elements::new(out)?;
            let mut sink = ElementRows::new(begun);
            let read = pass(args, picked, source, &mut sink);
            sink.into_inner().finish()?;
            read
        }
        #[cfg(feature = "parquet")]
        Format::Parquet => {
            let begun = parquet::Keys::new(out)?;
            let mut sink = KeyRows::new(begun);
            let read = pass(args, picked, source, &mut sink);
            sink.into_inner().finish()?;
            read
        }
        Format::Resp => {
            let mut sink = Commands::new(Resp::new(BufWriter::new(out)), said(args));
            let read = pass(args, picked, source, &mut sink);
            let (taker, losses) = sink.finish()?;
            Write::flush(&mut taker.into_inner())?;
            tell_losses(&losses)?;
            read
        }
        Format::Commands => {
            let mut sink = Commands::new(CommandLines::new(BufWriter::new(out)), said(args));
            let read = pass(args, picked, source, &mut sink);
            let (taker, losses) = sink.finish()?;
            Write::flush(&mut taker.into_inner())?;
            tell_losses(&losses)?;
            read
        }
        Format::Keys => text(args, picked, source, out, |to| Keys::new(to, args.null)),
    }
}

/// How keys are said in commands.
fn said(args: &Dump) -> commands::Options {
    commands::Options {
        target: args.target.map_or(Choice::Same, Choice::Target),
        restore: args.restore,
        ..commands::Options::default()
    }
}

/// Tells what commands could not say.
fn tell_losses(losses: &Losses) -> io::Result<()> {
    if losses.is_empty() {
        return Ok(());
    }
    let mut err = io::stderr().lock();
    writeln!(err, "rdb-tools: no command says this, so it was left out:")?;
    losses.list(&mut err, true)
}

/// Tells what the readable form of modules' values does not hold.
fn tell_left_out(left_out: &LeftOut) -> io::Result<()> {
    let number = |of: &AtomicU64| of.load(Ordering::Relaxed);
    let (of_modules, aux) = (number(&left_out.of_modules), number(&left_out.aux));
    let mut err = io::stderr().lock();
    if of_modules > 0 {
        writeln!(
            err,
            "rdb-tools: {of_modules} keys have values of modules, printed to be read by people: they cannot be made a \
             file again"
        )?;
    }
    if aux > 0 {
        writeln!(err, "rdb-tools: {aux} pieces of what modules keep beside their keys were left out")?;
    }
    match of_modules + aux {
        0 => Ok(()),
        _ => writeln!(err, "rdb-tools: --raw-modules prints all of it, and convert does"),
    }
}

/// Where the text of a sink goes.
enum To<'o> {
    /// To the thread that writes.
    Writer(Handover),
    /// Out.
    Here(&'o mut (dyn Write + Send)),
}

impl Lines for To<'_> {
    fn take(&mut self, text: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Writer(writer) => writer.take(text),
            Self::Here(out) => Lines::take(out, text),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Writer(writer) => Lines::flush(writer),
            Self::Here(out) => Lines::flush(out),
        }
    }
}

/// Writes a form that is text, on several threads where order and number leave that open.
fn text<'t, S>(
    args: &Dump,
    picked: Picked<'_>,
    origin: Origin<'_>,
    out: &'t mut (impl Write + Send),
    make: impl Fn(To<'t>) -> S,
) -> Result<(), Stop<End>>
where
    S: Worker + Send,
    S::Error: From<io::Error> + Into<End> + Send,
{
    let Picked { chosen, counter } = picked;
    let source = match origin {
        Origin::Source(source) if !args.sort => source,
        origin => return pass(args, picked, origin, &mut make(To::Here(out))),
    };
    let jobs = if args.limit.is_some() { Jobs::ONE } else { args.jobs };
    let result = write_in_parallel(source, jobs, out, |to| {
        Selected::new(chosen, make(To::Writer(to))).limited(args.limit).counted(counter)
    });
    match result {
        Ok(()) | Err(Stop::Sink(Halted::Enough)) => Ok(()),
        Err(stop) => Err(through(stop).map_sink(Into::into)),
    }
}

/// Gives a sink the keys that are wanted, on this thread.
fn pass<S>(args: &Dump, picked: Picked<'_>, origin: Origin<'_>, sink: &mut S) -> Result<(), Stop<End>>
where
    S: Worker,
    S::Error: From<io::Error> + Into<End>,
{
    let Picked { chosen, counter } = picked;
    let read = match origin {
        Origin::Source(source) if args.sort => sorted::read(source, chosen, args.limit, &args.spill, sink)
            .map_err(|stop| stop.map_sink(Halted::Sink)),
        Origin::Source(source) => {
            source.read(&mut Selected::new(chosen, &mut *sink).limited(args.limit).counted(counter))
        }
        Origin::Index { index, found, key } => {
            let mut selected = Selected::new(chosen, &mut *sink).counted(counter);
            found.iter().try_for_each(|found| index.read(*found, key, &mut selected))
        }
    };
    let finished = sink.finish().map_err(|error| Stop::Sink(error.into()));
    match read {
        Ok(()) | Err(Stop::Sink(Halted::Enough)) => finished,
        Err(stop) => Err(through(stop).map_sink(Into::into)),
    }
}
