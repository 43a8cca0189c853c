//! `rdb-tools dump`: the contents of an RDB file as text.

use std::ffi::OsString;
use std::io::{self, IsTerminal};

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::Reading;
use crate::drive::Stop;
use crate::jsonl::{self, Options};
use crate::output::{exit, shared_stdout};
use crate::parallel::Jobs;
use crate::source::Source;

/// Print what is in an RDB file
///
/// Every key becomes one line, in the order of the file. Nothing is left out or shortened, so
/// the output can be much larger than the file.
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

    /// Order the lines by database and key; keeps all of them in memory
    #[arg(long)]
    pub sort: bool,

    /// Print vector sets as the undecoded values of their module, graph and projection matrix included
    #[arg(long)]
    pub raw_modules: bool,

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
}

/// Runs the subcommand.
///
/// # Errors
/// What keeps it from reading or writing.
pub fn run(args: &Dump) -> anyhow::Result<u8> {
    // A bar between the lines of the dump would help nobody.
    let no_progress = args.reading.no_progress || io::stdout().is_terminal();
    let mut source = Source::open(&args.file, Reading { no_progress, ..args.reading })?;
    let Format::Jsonl = args.format;
    let options = Options { raw_modules: args.raw_modules, sorted: args.sort };
    match jsonl::in_parallel(&mut source, options, args.jobs, &mut shared_stdout()) {
        Ok(()) => Ok(exit::CLEAN),
        Err(Stop::Sink(error)) => Err(error).context("writing"),
        Err(stop) => stop.report("rdb-tools", source.name()),
    }
}
