//! `rdb-tools convert`: an input in another format, or with other contents.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use cairn_engine::codec::rdb::{Options as Decoding, Sink, Target};
use clap::{Args, ValueEnum};

use super::Reading;
use crate::diff::spool::Twice;
use crate::drive::Stop;
use crate::edit::{Collisions, Edited, Edits, Named, OnCollision, Resolver};
use crate::jsonl::{self, Jsonl};
use crate::lossy::{Losses, Lossy};
use crate::output::{Shown, exit, stdout};
use crate::select::{Chosen, Selected, Selection, through};
use crate::source::{Kind, Source};
use crate::spill::Spill;
use crate::write::aof_set::NewSet;
use crate::write::commands::{self, Commands};
use crate::write::rdb::{Aux, Choice, Compress, Options, RdbWriter};
use crate::write::resp::Resp;
use crate::write::{Output, refuse_same};

/// What the files of a log are called that has no name yet, as servers call them.
const DEFAULT_STEM: &str = "appendonly.aof";
/// What is written at once.
const BUFFER_BYTES: usize = 256 << 10;

/// Write what is in a file for another server, in another form, or with other keys
///
/// What the target cannot hold is listed, and nothing is written unless --lossy says so. The output
/// appears under its name when it is whole; the input is never changed.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 if the output is there (with --lossy warn also if something was left out), 1 if the \
                  input is damaged, the target cannot hold all of it, or keys would get one name, 2 for other trouble."
)]
pub struct Convert {
    /// What to read: an RDB file, a log in any form, JSON lines, commands, a server; - for standard input
    pub input: OsString,

    /// What to write; - for standard output
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,

    /// Server that is to read the output [default: what wrote the input]
    #[arg(long, value_name = "NAME", value_parser = parse_target)]
    pub target: Option<Target>,

    /// What is written [default: what the name of OUT says: .rdb .aof .jsonl .resp, or NAME/ for a log in a folder]
    #[arg(long, value_enum)]
    pub to: Option<Form>,

    /// What to do about what the target cannot hold
    #[arg(long, value_enum, default_value_t = Lossy::Fail)]
    pub lossy: Lossy,

    /// Write every single loss to this file, as JSON lines
    #[arg(long, value_name = "FILE")]
    pub losses: Option<PathBuf>,

    /// Compression of strings in RDB files
    #[arg(long, value_enum, default_value_t = Compress::Keep)]
    pub compress: Compress,

    /// Whether an RDB file gets a checksum; without one it is not checked when it is loaded
    #[arg(long, value_enum, default_value_t = Checksum::On)]
    pub checksum: Checksum,

    /// Make the base of a log of commands, not of an RDB file
    #[arg(long)]
    pub commands: bool,

    /// Say every key as a RESTORE of its payload, where commands are written
    #[arg(long)]
    pub restore: bool,

    /// Copy values without looking inside them: faster, but what is damaged inside goes on
    #[arg(long)]
    pub trust: bool,

    /// Replace the output if it is there
    #[arg(long)]
    pub force: bool,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub selection: Selection,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub edits: Edits,

    #[command(flatten, next_help_heading = "Reading")]
    #[allow(missing_docs)]
    pub spill: Spill,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: Reading,
}

/// Whether something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Checksum {
    /// Compute it
    On,
    /// Say that there is none
    Off,
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// An RDB file
    Rdb,
    /// A log in parts, in a folder with a manifest, as servers from 7.0 on have it
    Aof,
    /// A log in one file, as servers before 7.0 have it
    AofFile,
    /// JSON lines, as dump writes them
    Jsonl,
    /// Commands, as clients send them
    Resp,
}

impl Form {
    fn of(output: &Path) -> anyhow::Result<Self> {
        if output.as_os_str().as_encoded_bytes().ends_with(b"/") || output.is_dir() {
            return Ok(Self::Aof);
        }
        Ok(match output.extension().and_then(|extension| extension.to_str()) {
            Some("aof") => Self::AofFile,
            Some("jsonl" | "ndjson") => Self::Jsonl,
            Some("resp") => Self::Resp,
            Some("rdb") => Self::Rdb,
            _ if output.as_os_str() == "-" => Self::Rdb,
            _ => bail!("{}: --to must say what this is to be", output.display()),
        })
    }
}

/// The target of a name as users write it.
///
/// # Errors
/// The names that there are.
pub fn parse_target(name: &str) -> Result<Target, String> {
    Target::parse(&name.to_ascii_lowercase()).ok_or_else(|| {
        let names: Vec<_> = Target::all()
            .flat_map(|target| std::iter::once(target.name()).chain(target.other_names().iter().copied()))
            .collect();
        format!("must be one of {}", names.join(", "))
    })
}

/// Runs the subcommand.
///
/// # Errors
/// What keeps it from reading or writing.
pub fn run(args: &Convert) -> anyhow::Result<u8> {
    refuse_same(Path::new(&args.input), &args.output)?;
    let form = args.to.map_or_else(|| Form::of(&args.output), Ok)?;
    refuse_contradictions(args, form)?;
    let chosen = args.selection.compile()?;
    let mut source = Source::open(&args.input, args.reading)?;
    let mut twice = None;
    if args.edits.may_collide() {
        // What can be read only once is copied to a temporary file.
        match Twice::new(source, args.reading, &args.spill) {
            Ok(mut opened) => {
                source = opened.open()?;
                twice = Some(opened);
            }
            Err(stop) => return stop.report("rdb-tools", &args.input),
        }
    }
    let mut reader = Reader { args, chosen: &chosen, source, twice, resolver: None };
    if args.edits.may_collide()
        && let Some(code) = reader.find_collisions()?
    {
        return Ok(code);
    }
    match form {
        Form::Rdb => write_rdb(reader, Output::create(&args.output, args.force)?, false, commit),
        Form::AofFile if args.has_rdb_base() => {
            write_rdb(reader, Output::create(&args.output, args.force)?, true, commit)
        }
        Form::AofFile | Form::Resp => {
            let output = Output::create(&args.output, args.force)?;
            let is_revocable = output.is_revocable();
            write_commands(reader, output, is_revocable, commit)
        }
        Form::Jsonl => write_jsonl(reader),
        Form::Aof => {
            let inputs = [Path::new(&args.input)];
            let mut set = NewSet::begin(&args.output, DEFAULT_STEM, args.force, &inputs)?;
            let extension = if args.has_rdb_base() { "rdb" } else { "aof" };
            let file = set.base(None, extension)?;
            let commit = |file: crate::write::aof_set::NewFile| {
                file.close()?;
                set.incr(None)?.close()?;
                set.commit().map(|_| ())
            };
            if args.has_rdb_base() {
                write_rdb(reader, file, true, commit)
            } else {
                write_commands(reader, file, true, commit)
            }
        }
    }
}

impl Convert {
    /// Whether a log begins with an RDB file: servers from 4.0 on read that.
    fn has_rdb_base(&self) -> bool {
        !self.commands && !self.restore && self.target.is_none_or(|target| target >= Target::Redis40)
    }

    fn choice(&self) -> Choice {
        self.target.map_or(Choice::Same, Choice::Target)
    }
}

fn refuse_contradictions(args: &Convert, form: Form) -> anyhow::Result<()> {
    if form == Form::Aof && args.target.is_some_and(|target| target < Target::Redis70) {
        bail!("{} has its log in one file: --to aof-file", args.target.unwrap_or_default().name());
    }
    if form == Form::Jsonl && args.target.is_some() {
        bail!("JSON lines hold everything: --target has no meaning for them");
    }
    if matches!(form, Form::Rdb | Form::Jsonl) && (args.restore || args.commands) {
        bail!("--restore and --commands are about logs and commands");
    }
    Ok(())
}

/// What is read, and how.
struct Reader<'a> {
    args: &'a Convert,
    chosen: &'a Chosen,
    source: Source,
    /// What opens the source again.
    twice: Option<Twice>,
    resolver: Option<Resolver>,
}

impl Reader<'_> {
    /// Looks for keys that would get one name; the exit code if that must not be.
    fn find_collisions(&mut self) -> anyhow::Result<Option<u8>> {
        let edits = &self.args.edits;
        let mut collisions = Collisions::new(edits, &self.args.spill);
        let read = self.source.read(&mut Selected::new(self.chosen, &mut collisions)).map_err(through);
        if let Err(stop) = read {
            return stop.report("rdb-tools", &self.args.input).map(Some);
        }
        let resolver = collisions.resolve()?;
        self.again()?;
        if resolver.names() > 0 && edits.on_collision == OnCollision::Fail {
            let mut named = Named::new(edits, &resolver);
            if let Err(stop) = self.source.read(&mut Selected::new(self.chosen, &mut named)).map_err(through)
            {
                return stop.report("rdb-tools", &self.args.input).map(Some);
            }
            let mut err = io::stderr().lock();
            let names = resolver.names();
            writeln!(err, "rdb-tools: {names} names would be those of two keys or more:")?;
            for one in named.listed() {
                let (db, to) = (one.db, edits.db(one.db));
                writeln!(err, "  db {db} \"{}\" -> db {to} \"{}\"", Shown(&one.key), Shown(&one.name))?;
            }
            writeln!(err, "rdb-tools: nothing was written; --on-collision first or last keeps one of each")?;
            return Ok(Some(exit::FINDINGS));
        }
        self.resolver = Some(resolver);
        Ok(None)
    }

    fn again(&mut self) -> anyhow::Result<()> {
        if let Some(twice) = &mut self.twice {
            self.source = twice.open()?;
        }
        Ok(())
    }

    /// Whether the output has other keys than the input.
    fn is_edited(&self) -> bool {
        !self.args.edits.is_nothing() || !self.chosen.is_everything() || self.source.kind() != Kind::Rdb
    }

    /// Sends everything to a sink; answers how many keys.
    fn read<S: Sink>(&mut self, sink: &mut S) -> Result<u64, Stop<S::Error>> {
        let mut edited = Edited::new(&self.args.edits, self.chosen.now(), self.resolver.take(), sink);
        // What is copied as it is must be sound inside too.
        let options = Decoding { deep: !self.args.trust, ..Decoding::default() };
        self.source.read_with(options, &mut Selected::new(self.chosen, &mut edited)).map_err(through)?;
        Ok(edited.passed())
    }

    fn report_to(&self, losses: &mut Losses) -> anyhow::Result<()> {
        if let Some(path) = &self.args.losses {
            let file = File::create(path).with_context(|| path.display().to_string())?;
            losses.report_to(Box::new(BufWriter::new(file)));
        }
        Ok(())
    }
}

fn commit(output: Output) -> anyhow::Result<()> {
    output.commit().map(|_| ())
}

fn write_rdb<W: Write>(
    mut reader: Reader<'_>,
    out: W,
    is_aof_base: bool,
    commit: impl FnOnce(W) -> anyhow::Result<()>,
) -> anyhow::Result<u8> {
    let args = reader.args;
    let options = Options {
        target: args.choice(),
        lossy: args.lossy,
        compress: args.compress,
        no_checksum: args.checksum == Checksum::Off,
        aux: if reader.is_edited() { Aux::Edited } else { Aux::Keep },
        is_aof_base,
        field_ttls_anew: args.edits.changes_field_ttl(),
        members_may_expire: reader.source.kind() == Kind::Jsonl,
    };
    let mut writer = RdbWriter::new(out, options);
    reader.report_to(writer.losses_mut())?;
    if let Err(stop) = reader.read(&mut writer) {
        return stop.report("rdb-tools", &args.input);
    }
    let (target, keys) = (writer.target().unwrap_or_default(), writer.keys());
    let (out, losses) = writer.finish()?;
    if !judge(args, &losses, target.name())? {
        return Ok(exit::FINDINGS);
    }
    commit(out)?;
    told(args, keys)
}

fn write_commands<W: Write>(
    mut reader: Reader<'_>,
    out: W,
    is_revocable: bool,
    commit: impl FnOnce(W) -> anyhow::Result<()>,
) -> anyhow::Result<u8> {
    let args = reader.args;
    // Commands that are out may have been carried out: the first loss is then the end.
    let stops_at_loss = (!is_revocable).then_some(args.lossy);
    let options = commands::Options { target: args.choice(), restore: args.restore, stops_at_loss };
    let mut sink = Commands::new(Resp::new(BufWriter::with_capacity(BUFFER_BYTES, out)), options);
    reader.report_to(sink.losses_mut())?;
    match reader.read(&mut sink) {
        Err(Stop::Sink(_)) if stops_at_loss.is_some_and(|lossy| lossy.refuses_any(sink.losses())) => {}
        Err(stop) => return stop.report("rdb-tools", &args.input),
        Ok(_) => {}
    }
    let (target, keys) = (sink.target().unwrap_or_default(), sink.keys());
    let (resp, losses) = sink.finish()?;
    if !judge(args, &losses, &format!("commands for {}", target.name()))? {
        return Ok(exit::FINDINGS);
    }
    commit(resp.into_inner().into_inner().map_err(io::IntoInnerError::into_error)?)?;
    told(args, keys)
}

fn write_jsonl(mut reader: Reader<'_>) -> anyhow::Result<u8> {
    let args = reader.args;
    let out = Output::create(&args.output, args.force)?;
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
    // Values of modules as they are, so that nothing is lost on the way back.
    let options = jsonl::Options { raw_modules: true, ..Default::default() };
    let mut sink = Jsonl::new(&mut out, options);
    let keys = match reader.read(&mut sink) {
        Ok(keys) => keys,
        Err(stop) => return stop.report("rdb-tools", &args.input),
    };
    drop(sink);
    out.into_inner().map_err(io::IntoInnerError::into_error)?.commit()?;
    told(args, keys)
}

/// Tells what was lost; whether the output may be there all the same.
fn judge(args: &Convert, losses: &Losses, holder: &str) -> anyhow::Result<bool> {
    if losses.is_empty() {
        return Ok(true);
    }
    let mut err = io::stderr().lock();
    let out = args.output.display();
    let refused = args.lossy.refuses_any(losses);
    match refused {
        true => writeln!(err, "rdb-tools: {holder} cannot hold all of the input:"),
        false => writeln!(err, "rdb-tools: {out}: left out, as {holder} cannot hold it:"),
    }?;
    losses.list(&mut err, args.lossy.lists_keys())?;
    if refused {
        writeln!(err, "rdb-tools: nothing was written; --lossy warn leaves that out")?;
    }
    Ok(!refused)
}

fn told(args: &Convert, keys: u64) -> anyhow::Result<u8> {
    if args.output.as_os_str() != "-" {
        let mut out = stdout();
        let told = writeln!(out, "{}: {keys} keys", args.output.display()).and_then(|()| out.flush());
        told.context("writing")?;
    }
    Ok(exit::CLEAN)
}
