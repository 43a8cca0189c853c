//! `rdb-tools convert`: an input in another format, or with other contents.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use cairn_engine::codec::rdb::Target;
use clap::{Args, ValueEnum};

use super::Reading;
use crate::lossy::{Losses, Lossy};
use crate::output::exit;
use crate::source::Source;
use crate::write::rdb::{Aux, Choice, Compress, Options, RdbWriter};
use crate::write::{Output, Placed, refuse_same};

/// Write what is in a file in the format of another server
///
/// What the target cannot hold is listed, and nothing is written unless --lossy says so. The output
/// appears under its name when it is whole; the input is never changed.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 if the output is there (with --lossy warn also if something was left out), 1 if the \
                        input is damaged or the target cannot hold all of it, 2 for other trouble."
)]
pub struct Convert {
    /// What to read: an RDB file; - for standard input
    pub input: OsString,

    /// What to write; - for standard output
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,

    /// Server that is to read the output [default: what wrote the input]
    #[arg(long, value_name = "NAME", value_parser = parse_target)]
    pub target: Option<Target>,

    /// What to do about what the target cannot hold
    #[arg(long, value_enum, default_value_t = Lossy::Fail)]
    pub lossy: Lossy,

    /// Write every single loss to this file, as JSON lines
    #[arg(long, value_name = "FILE")]
    pub losses: Option<PathBuf>,

    /// Compression of strings
    #[arg(long, value_enum, default_value_t = Compress::Keep)]
    pub compress: Compress,

    /// Whether the output gets a checksum; without one it is not checked when it is loaded
    #[arg(long, value_enum, default_value_t = Checksum::On)]
    pub checksum: Checksum,

    /// Replace the output if it is there
    #[arg(long)]
    pub force: bool,

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
    let mut source = Source::open(&args.input, args.reading)?;
    let output = Output::create(&args.output, args.force)?;
    let options = Options {
        target: args.target.map_or(Choice::Same, Choice::Target),
        lossy: args.lossy,
        compress: args.compress,
        no_checksum: args.checksum == Checksum::Off,
        aux: Aux::Keep,
        field_ttls_anew: false,
    };
    let mut writer = RdbWriter::new(output, options);
    if let Some(path) = &args.losses {
        let file = File::create(path).with_context(|| path.display().to_string())?;
        writer.losses_mut().report_to(Box::new(BufWriter::new(file)));
    }
    if let Err(stop) = source.read(&mut writer) {
        return stop.report("rdb-tools", source.name());
    }
    let target = writer.target().unwrap_or_default();
    let (output, losses) = writer.finish().with_context(|| args.output.display().to_string())?;
    if args.lossy == Lossy::Fail && !losses.is_empty() {
        tell(&losses, &format!("{} cannot hold all of the input:", target.name()), true)?;
        bail_softly("nothing was written; --lossy warn leaves that out")?;
        return Ok(exit::FINDINGS);
    }
    let placed = output.commit()?;
    if !losses.is_empty() {
        let place = match &placed {
            Placed::Stdout => "standard output".to_owned(),
            Placed::At(path) => path.display().to_string(),
        };
        tell(
            &losses,
            &format!("{place}: left out, as {} cannot hold it:", target.name()),
            args.lossy == Lossy::Warn,
        )?;
    }
    Ok(exit::CLEAN)
}

fn tell(losses: &Losses, head: &str, keys: bool) -> anyhow::Result<()> {
    let mut err = io::stderr().lock();
    writeln!(err, "rdb-tools: {head}")?;
    losses.list(&mut err, keys)?;
    Ok(())
}

fn bail_softly(what: &str) -> anyhow::Result<()> {
    writeln!(io::stderr(), "rdb-tools: {what}").context("writing")
}
