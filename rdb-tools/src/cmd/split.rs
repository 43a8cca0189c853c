//! `rdb-tools split`: the keys of one data set in several files.

mod parts;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use cairn_engine::codec::rdb::{Depth, KeyHead, Sink, Target, Trailer, ValueEvent, Version};
use clap::{ArgGroup, Args};

use super::Reading;
use super::convert::parse_target;
use crate::canon::SubExpiry;
use crate::diff::spool::Twice;
use crate::json;
use crate::lossy::{Losses, Lossy};
use crate::output::exit;
use crate::select::{Chosen, Selected, Selection, through};
use crate::source::Source;
use crate::spill::Spill;
use crate::write::rdb::{Aux, Choice, Options, RdbWriter};
use crate::write::{Output, refuse_same};
use parts::{Cut, Part};

/// Write the keys of a data set into several RDB files
///
/// The input is read once to see which parts there are, then once for every 32 of them. Each part gets the
/// libraries of functions and the data of modules that belong to no key. Keys that belong to no part go to one
/// that is called rest. What went where is listed in a manifest.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("cut").required(true),
    after_help = "Exit status: 0 if all parts are there, 1 if the input is damaged or the target cannot hold all of it, \
                  2 for other trouble."
)]
pub struct Split {
    /// What to read: an RDB file, or what else keys can be read from; - for standard input
    pub input: OsString,

    /// Folder for the parts, or a path with {} for the part's name
    #[arg(short, long, value_name = "OUT")]
    pub output: String,

    /// A part for these hash slots, as 0-5460,5462; once for each part
    #[arg(long, value_name = "RANGES", group = "cut")]
    pub by_slots: Vec<String>,

    /// A part for each node of this nodes.conf that has slots
    #[arg(long, value_name = "FILE", group = "cut")]
    pub nodes_conf: Option<PathBuf>,

    /// A part for each database
    #[arg(long, group = "cut")]
    pub by_db: bool,

    /// A part for each prefix of keys up to this separator; keys without it go to rest
    #[arg(long, value_name = "SEPARATOR", group = "cut")]
    pub by_prefix: Option<String>,

    /// So many parts with as many keys each, in the order of the input
    #[arg(long, value_name = "N", group = "cut", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub count: Option<u64>,

    /// Where to list what went where [default: manifest.json in the folder of the parts]
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,

    /// Server that is to read the parts [default: what wrote the input]
    #[arg(long, value_name = "NAME", value_parser = parse_target)]
    pub target: Option<Target>,

    /// What to do about what the target cannot hold
    #[arg(long, value_enum, default_value_t = Lossy::Fail)]
    pub lossy: Lossy,

    /// Replace files that are there
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

/// So many files are written at a time: each has a buffer, and a descriptor.
const OPEN_FILES: usize = 32;
/// More parts than this are a mistake in the arguments.
const MOST_PARTS: usize = 20_000;

/// Runs the subcommand.
///
/// # Errors
/// What keeps it from reading or writing.
pub fn run(args: &Split) -> anyhow::Result<u8> {
    let chosen = args.selection.compile()?;
    let mut cut = Cut::of(args)?;
    let source = Source::open(&args.input, args.reading)?;
    let mut twice = match Twice::new(source, args.reading, &args.spill) {
        Ok(twice) => twice,
        Err(stop) => return stop.report("rdb-tools", &args.input),
    };
    let mut census = Census { cut: &mut cut };
    let mut first = twice.open()?;
    if let Err(stop) = first.read(&mut Selected::new(&chosen, &mut census)).map_err(through) {
        return stop.report("rdb-tools", &args.input);
    }
    cut.end_census();
    let names = cut.file_names();
    let paths: Vec<PathBuf> = names.iter().map(|name| path_of(&args.output, name)).collect();
    if let Some(folder) = paths.first().and_then(|path| path.parent()) {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    for path in &paths {
        refuse_same(Path::new(&args.input), path)?;
    }
    for from in (0..paths.len()).step_by(OPEN_FILES) {
        let to = (from + OPEN_FILES).min(paths.len());
        let code = write_some(args, &chosen, &mut twice, &mut cut, from, &paths[from..to])?;
        if code != exit::CLEAN {
            return Ok(code);
        }
    }
    write_manifest(args, &cut, &paths)?;
    Ok(exit::CLEAN)
}

/// Where a part goes.
fn path_of(output: &str, name: &str) -> PathBuf {
    match output.contains("{}") {
        true => PathBuf::from(output.replace("{}", name)),
        false => Path::new(output).join(format!("{name}.rdb")),
    }
}

/// Sees which parts there are.
struct Census<'a> {
    cut: &'a mut Cut,
}

impl Sink for Census<'_> {
    type Error = io::Error;

    fn update(&mut self, at: u64, _argv: &[&[u8]]) -> io::Result<()> {
        Err(crate::walk::refused_update(at))
    }

    fn key(&mut self, head: &KeyHead<'_>) -> io::Result<Depth> {
        self.cut.count(head);
        match self.cut.parts() {
            0..=MOST_PARTS => Ok(Depth::Skip),
            _ => Err(io::Error::other(format!("there would be more than {MOST_PARTS} parts"))),
        }
    }

    fn value(&mut self, _event: ValueEvent<'_>) -> io::Result<()> {
        Ok(())
    }
}

/// Writes the parts from number `from` on.
fn write_some(
    args: &Split,
    chosen: &Chosen,
    twice: &mut Twice,
    cut: &mut Cut,
    from: usize,
    paths: &[PathBuf],
) -> anyhow::Result<u8> {
    let options = Options {
        target: args.target.map_or(Choice::Same, Choice::Target),
        lossy: args.lossy,
        aux: Aux::Edited,
        ..Options::default()
    };
    let writer = |path: &PathBuf| Ok(RdbWriter::new(Output::create(path, args.force)?, options));
    let writers = paths.iter().map(writer).collect::<anyhow::Result<Vec<_>>>()?;
    cut.start_pass();
    let mut parts = Parts { cut, from, writers, open: None };
    let mut source = twice.open()?;
    if let Err(stop) = source.read(&mut Selected::new(chosen, &mut parts)).map_err(through) {
        return stop.report("rdb-tools", &args.input);
    }
    let mut done = Vec::new();
    for (writer, path) in parts.writers.into_iter().zip(paths) {
        let target = writer.target().unwrap_or_default();
        let (output, losses) = writer.finish()?;
        if !losses.is_empty() && tell(args, &losses, target, path)? {
            return Ok(exit::FINDINGS);
        }
        done.push(output);
    }
    for (i, (output, path)) in done.into_iter().zip(paths).enumerate() {
        output.commit()?;
        let bytes = fs::metadata(path).with_context(|| path.display().to_string())?.len();
        cut.set_bytes(from + i, bytes);
    }
    Ok(exit::CLEAN)
}

/// Tells what is lost. True if it must not be.
fn tell(args: &Split, losses: &Losses, target: Target, path: &Path) -> anyhow::Result<bool> {
    let mut err = io::stderr().lock();
    let refused = args.lossy.refuses_any(losses);
    let (path, target) = (path.display(), target.name());
    match refused {
        true => writeln!(err, "rdb-tools: {path}: {target} cannot hold all of it:"),
        false => writeln!(err, "rdb-tools: {path}: left out, as {target} cannot hold it:"),
    }?;
    losses.list(&mut err, args.lossy.lists_keys())?;
    if refused {
        writeln!(err, "rdb-tools: nothing was written; --lossy warn leaves that out")?;
    }
    Ok(refused)
}

/// Hands each key to the writer of its part.
struct Parts<'a> {
    cut: &'a mut Cut,
    from: usize,
    writers: Vec<RdbWriter<Output>>,
    open: Option<usize>,
}

impl Parts<'_> {
    fn all(&mut self, mut each: impl FnMut(&mut RdbWriter<Output>) -> io::Result<()>) -> io::Result<()> {
        self.writers.iter_mut().try_for_each(&mut each)
    }
}

impl Sink for Parts<'_> {
    type Error = io::Error;

    fn start(&mut self, version: Version) -> io::Result<()> {
        self.all(|writer| writer.start(version))
    }

    fn aux(&mut self, key: &[u8], value: &[u8], end: u64) -> io::Result<()> {
        if !SubExpiry::is_one(key) {
            return self.all(|writer| writer.aux(key, value, end));
        }
        match self.open {
            Some(open) => self.writers[open].aux(key, value, end),
            None => Ok(()),
        }
    }

    fn function(&mut self, at: u64, code: &[u8]) -> io::Result<()> {
        self.all(|writer| writer.function(at, code))
    }

    fn module_aux(&mut self, at: u64, id: u64, payload: &[u8]) -> io::Result<()> {
        self.all(|writer| writer.module_aux(at, id, payload))
    }

    fn template(&mut self, id: u64, fields: &[Vec<u8>]) -> io::Result<()> {
        self.all(|writer| writer.template(id, fields))
    }

    fn update(&mut self, at: u64, _argv: &[&[u8]]) -> io::Result<()> {
        Err(crate::walk::refused_update(at))
    }

    fn key(&mut self, head: &KeyHead<'_>) -> io::Result<Depth> {
        let part = self.cut.part_of(head);
        self.open = part.checked_sub(self.from).filter(|open| *open < self.writers.len());
        match self.open {
            Some(open) => self.writers[open].key(head),
            None => Ok(Depth::Skip),
        }
    }

    fn value(&mut self, event: ValueEvent<'_>) -> io::Result<()> {
        match self.open {
            Some(open) => self.writers[open].value(event),
            None => Ok(()),
        }
    }

    fn end_key(&mut self, end: u64) -> io::Result<()> {
        match self.open {
            Some(open) => self.writers[open].end_key(end),
            None => Ok(()),
        }
    }

    fn end(&mut self, trailer: Trailer) -> io::Result<()> {
        self.all(|writer| writer.end(trailer))
    }
}

/// Lists what went where.
fn write_manifest(args: &Split, cut: &Cut, paths: &[PathBuf]) -> anyhow::Result<()> {
    let mut text = b"{".to_vec();
    json::push_name(&mut text, "input");
    json::push_text(&mut text, &crate::source::shown(&args.input));
    json::push_name(&mut text, "parts");
    text.extend_from_slice(b"[\n");
    for (i, (part, path)) in cut.list().iter().zip(paths).enumerate() {
        if i > 0 {
            text.extend_from_slice(b",\n");
        }
        push_part(&mut text, part, path);
    }
    text.extend_from_slice(b"\n]}\n");
    let goal = match &args.manifest {
        Some(path) => path.clone(),
        None if args.output.contains("{}") => {
            Path::new(&args.output).parent().unwrap_or(Path::new("")).join("manifest.json")
        }
        None => Path::new(&args.output).join("manifest.json"),
    };
    let mut output = Output::create(&goal, args.force)?;
    output.write_all(&text)?;
    output.commit()?;
    Ok(())
}

fn push_part(text: &mut Vec<u8>, part: &Part, path: &Path) {
    text.push(b'{');
    json::push_name(text, "file");
    json::push_text(text, &path.to_string_lossy());
    json::push_name(text, "part");
    json::push_bytes(text, part.what());
    json::push_name(text, "keys");
    json::push_u64(text, part.keys());
    json::push_name(text, "bytes");
    json::push_u64(text, part.bytes());
    text.push(b'}');
}

fn no_slots(text: &str) -> anyhow::Error {
    anyhow::anyhow!("{text:?} names no slots; write them as 0-5460,5462")
}

/// Slots as `0-5460,5462`.
fn parse_slots(text: &str) -> anyhow::Result<Vec<(u16, u16)>> {
    const LAST_SLOT: u16 = 16_383;
    let mut ranges = Vec::new();
    for range in text.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| text.trim().parse::<u16>().ok().filter(|slot| *slot <= LAST_SLOT);
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => ranges.push((first, last)),
            _ => bail!(no_slots(text)),
        }
    }
    Ok(ranges)
}
