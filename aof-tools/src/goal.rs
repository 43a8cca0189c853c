//! Where data go that were read from a log or a file: a new log in parts, a log of one file, an RDB file.
//!
//! Which it is follows from the name, or from what was asked for. The data are written by `rdb_tools`.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::Context;
use cairn_engine::codec::rdb::{Sink, Target};
use clap::{Args, ValueEnum};
use rdb_tools::cmd::Reading;
use rdb_tools::cmd::convert::parse_target;
use rdb_tools::drive::{Blame, Fault, Stop};
use rdb_tools::fold::{self, Edits, Log, OnBad, Summary};
use rdb_tools::lossy::{Losses, Lossy};
use rdb_tools::output::exit;
use rdb_tools::source::{Kind, Source};
use rdb_tools::spill::Spill;
use rdb_tools::write::aof_set::NewSet;
use rdb_tools::write::commands::{self, Commands};
use rdb_tools::write::rdb::{Aux, Choice, Options, RdbWriter};
use rdb_tools::write::resp::Resp;
use rdb_tools::write::{Output, refuse_same};
use tempfile::NamedTempFile;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// A folder with a manifest, a base and an increment
    Set,
    /// A log in one file, as servers before Redis 7.0 have it
    Single,
    /// An RDB file
    Rdb,
}

impl Form {
    /// The form of an output by its name.
    pub(crate) fn of(output: &Path) -> Form {
        match output.extension().and_then(|extension| extension.to_str()) {
            Some("rdb") => Form::Rdb,
            Some("aof") => Form::Single,
            _ if output.as_os_str() == "-" => Form::Rdb,
            _ => Form::Set,
        }
    }
}

/// What a log begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BaseFormat {
    /// An RDB file
    Rdb,
    /// Commands
    Commands,
}

/// How data are written.
#[derive(Debug, Args)]
pub(crate) struct Writing {
    /// What a new log begins with
    #[arg(long, value_enum, default_value_t = BaseFormat::Rdb)]
    pub(crate) base_format: BaseFormat,

    /// Server that is to read the output [default: what wrote the input]
    #[arg(long, value_name = "NAME", value_parser = parse_target)]
    pub(crate) target: Option<Target>,

    /// What to do about what the target cannot hold
    #[arg(long, value_enum, default_value_t = Lossy::Fail)]
    pub(crate) lossy: Lossy,

    /// Replace the output if it is there
    #[arg(long)]
    pub(crate) force: bool,
}

/// How a log is run.
#[derive(Debug, Args)]
pub(crate) struct Folding {
    /// Leave commands out that cannot be repeated or answer with an error, and list them
    #[arg(long)]
    pub(crate) skip_bad: bool,

    #[command(flatten)]
    pub(crate) spill: Spill,

    #[command(flatten)]
    pub(crate) reading: Reading,
}

impl Folding {
    /// The same for the library.
    pub(crate) fn options(&self, edits: Edits) -> fold::Options {
        let on_bad = if self.skip_bad { OnBad::Skip } else { OnBad::Fail };
        fold::Options { on_bad, edits, spill: self.spill.clone(), ..fold::Options::new(self.reading) }
    }
}

/// What data are read from.
pub(crate) enum From<'a> {
    /// A log.
    Log(&'a Log, &'a fold::Options),
    /// Anything else that `rdb_tools` reads.
    Source(&'a mut Source),
}

impl From<'_> {
    /// Tells all of it to a sink. `Err` with the exit code if it is damaged, which has been told then.
    fn tell<S>(&mut self, sink: &mut S) -> anyhow::Result<Result<Summary, u8>>
    where
        S: Sink<Error: Into<anyhow::Error>>,
    {
        match self {
            From::Log(log, options) => match fold::fold(log, options, sink) {
                Ok(summary) => {
                    tell_summary(&summary)?;
                    Ok(Ok(summary))
                }
                Err(stop) => told(stop, log.path.as_os_str()).map(Err),
            },
            From::Source(source) => match source.read(sink) {
                Ok(()) => Ok(Ok(Summary::default())),
                Err(stop) => told(stop, source.name()).map(Err),
            },
        }
    }
}

/// Tells what kept a log from being read. What names its file already is not named twice.
fn told<E: Into<anyhow::Error>>(stop: Stop<E>, name: &std::ffi::OsStr) -> anyhow::Result<u8> {
    match stop {
        Stop::Other(fault) if !fault.file.is_empty() => told_fault(&fault),
        stop => stop.report("aof-tools", name),
    }
}

/// Tells a fault that names its file; answers the exit code.
///
/// # Errors
/// What keeps it from writing.
pub(crate) fn told_fault(fault: &Fault) -> anyhow::Result<u8> {
    writeln!(io::stderr(), "aof-tools: {fault}").context("writing")?;
    Ok(if fault.blame == Blame::Access { exit::TROUBLE } else { exit::FINDINGS })
}

/// Tells what of a log was not run.
pub(crate) fn tell_summary(summary: &Summary) -> anyhow::Result<()> {
    let mut err = io::stderr().lock();
    let mut tell = || -> io::Result<()> {
        if let Some(torn) = &summary.torn {
            let (file, at) = (torn.file.display(), torn.at);
            let (bytes, what) = (torn.bytes, &torn.what);
            writeln!(err, "aof-tools: {file}: offset {at}: the last {bytes} bytes are left out: {what}")?;
        }
        for skipped in &summary.skipped {
            let (file, at, what) = (skipped.file.display(), skipped.at, &skipped.what);
            writeln!(err, "aof-tools: {file}: offset {at}: left out: {what}")?;
        }
        let named = summary.skipped.len() as u64;
        if summary.skips > named {
            writeln!(err, "aof-tools: and {} more commands", summary.skips - named)?;
        }
        Ok(())
    };
    tell().context("writing")
}

/// What was written.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) keys: u64,
    pub(crate) bytes: u64,
    pub(crate) summary: Summary,
}

/// Writes data to an output of this form. `Err` with the exit code if the input is damaged or the target
/// cannot hold it; nothing is at the output then.
///
/// # Errors
/// What keeps it from writing.
pub(crate) fn write(
    mut from: From<'_>,
    form: Form,
    output: &Path,
    writing: &Writing,
    stem: &str,
    inputs: &[&Path],
) -> anyhow::Result<Result<Written, u8>> {
    let is_rdb = form == Form::Rdb || writing.base_format == BaseFormat::Rdb;
    if form == Form::Set {
        let mut set = NewSet::begin(output, stem, writing.force, inputs)?;
        let file = set.base(None, if is_rdb { "rdb" } else { "aof" })?;
        let (written, file) = match write_base(&mut from, file, writing, is_rdb)? {
            Ok(done) => done,
            Err(code) => return Ok(Err(code)),
        };
        file.close()?;
        set.incr(None)?.close()?;
        set.commit()?;
        return Ok(Ok(written));
    }
    // An RDB file is a log of one file as well, whose commands are still to come.
    let out = Output::create(output, writing.force)?;
    let (written, out) = match write_base(&mut from, out, writing, is_rdb)? {
        Ok(done) => done,
        Err(code) => return Ok(Err(code)),
    };
    out.commit()?;
    Ok(Ok(written))
}

fn write_base<W: Write>(
    from: &mut From<'_>,
    out: W,
    writing: &Writing,
    is_rdb: bool,
) -> anyhow::Result<Result<(Written, W), u8>> {
    if is_rdb { write_rdb(from, out, writing) } else { write_commands(from, out, writing) }
}

/// Writes data as commands.
fn write_commands<W: Write>(
    from: &mut From<'_>,
    out: W,
    writing: &Writing,
) -> anyhow::Result<Result<(Written, W), u8>> {
    const BUFFER_BYTES: usize = 256 << 10;
    let target = writing.target.map_or(Choice::Same, Choice::Target);
    let options = commands::Options { target, ..commands::Options::default() };
    let out = Resp::new(BufWriter::with_capacity(BUFFER_BYTES, out));
    let mut writer = Commands::new(out, options);
    let summary = match from.tell(&mut writer)? {
        Ok(summary) => summary,
        Err(code) => return Ok(Err(code)),
    };
    let (keys, target) = (writer.keys(), writer.target().unwrap_or_default());
    let (out, losses) = writer.finish().context("writing")?;
    if let Some(code) = lost(&losses, target, writing.lossy)? {
        return Ok(Err(code));
    }
    let bytes = out.bytes();
    let out = out.into_inner().into_inner().map_err(io::IntoInnerError::into_error).context("writing")?;
    Ok(Ok((Written { keys, bytes, summary }, out)))
}

/// Writes data as an RDB file.
fn write_rdb<W: Write>(
    from: &mut From<'_>,
    out: W,
    writing: &Writing,
) -> anyhow::Result<Result<(Written, W), u8>> {
    let options = Options {
        target: writing.target.map_or(Choice::Same, Choice::Target),
        lossy: writing.lossy,
        aux: Aux::Edited,
        members_may_expire: matches!(from, From::Source(source) if source.kind() == Kind::Jsonl),
        ..Options::default()
    };
    let mut writer = RdbWriter::new(out, options);
    let summary = match from.tell(&mut writer)? {
        Ok(summary) => summary,
        Err(code) => return Ok(Err(code)),
    };
    let target = writer.target().unwrap_or_default();
    let keys = writer.keys();
    let bytes = writer.bytes();
    let (out, losses) = writer.finish().context("writing")?;
    if let Some(code) = lost(&losses, target, writing.lossy)? {
        return Ok(Err(code));
    }
    Ok(Ok((Written { keys, bytes, summary }, out)))
}

/// Tells what a target cannot hold; answers the exit code if that keeps it from being written.
fn lost(losses: &Losses, target: Target, lossy: Lossy) -> anyhow::Result<Option<u8>> {
    if losses.is_empty() {
        return Ok(None);
    }
    let mut err = io::stderr().lock();
    let name = target.name();
    let refused = lossy.refuses_any(losses);
    match refused {
        true => writeln!(err, "aof-tools: {name} cannot hold all of it:"),
        false => writeln!(err, "aof-tools: left out, as {name} cannot hold it:"),
    }
    .context("writing")?;
    losses.list(&mut err, lossy.lists_keys()).context("writing")?;
    if refused {
        writeln!(err, "aof-tools: nothing was written; --lossy warn leaves that out").context("writing")?;
    }
    Ok(refused.then_some(exit::FINDINGS))
}

/// A log that is at hand.
pub(crate) struct Opened {
    pub(crate) log: Log,
    /// Where it was put for as long as this lives, if it was no file, or was packed.
    _spool: Option<NamedTempFile>,
}

/// Opens a log; `-` is standard input. What comes through a pipe or is packed goes to a temporary file first:
/// a log's end must be known before its middle counts.
///
/// # Errors
/// There is no such log.
pub(crate) fn open(path: &Path, folding: &Folding) -> anyhow::Result<Opened> {
    if Log::is_set(path) {
        return Ok(Opened { log: Log::open(path)?, _spool: None });
    }
    let mut input = folding.reading.open(path)?;
    if path.is_file() && input.form().is_none() {
        return Ok(Opened { log: Log::open(path)?, _spool: None });
    }
    let at = || format!("{}: a copy of it", path.display());
    let folder = folding.spill.folder();
    let mut spool = NamedTempFile::new_in(&folder).with_context(|| folder.display().to_string())?;
    loop {
        input.fill(1).with_context(|| path.display().to_string())?;
        let len = input.bytes().len();
        if len == 0 {
            break;
        }
        spool.write_all(input.bytes()).with_context(at)?;
        input.consume(len);
    }
    let mut log = Log::open(spool.path())?;
    for part in &mut log.parts {
        part.name = path.file_name().unwrap_or(path.as_os_str()).as_encoded_bytes().to_vec();
    }
    Ok(Opened { log, _spool: Some(spool) })
}

/// Refuses to write over a file that is read.
///
/// # Errors
/// Says so.
pub(crate) fn refuse_inputs(log: &Log, output: &Path) -> anyhow::Result<()> {
    refuse_same(&log.path, output)?;
    log.parts.iter().try_for_each(|part| refuse_same(&part.path, output))
}
