//! `rdb-tools index`: where each key of a file is, for `get`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use super::Reading;
use crate::drive::Stop;
use crate::index::build;
use crate::output::exit;
use crate::source::{Kind, Source};
use crate::spill::Spill;
use crate::write::Output;

/// Write an index of an RDB file, by which get finds a key in milliseconds
///
/// The index belongs to the file as it is: when the file is written to, get says so and does without. It
/// takes 24 bytes a key.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 if the index was written, 1 if the file is damaged (there is no index then), 2 for \
                        other trouble."
)]
pub struct Index {
    /// RDB file, not packed
    pub file: PathBuf,

    /// The index [default: FILE.idx, where get looks for it]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Replace the index if it is there
    #[arg(long)]
    pub force: bool,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub spill: Spill,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: Reading,
}

/// Where the index of a file is unless somebody says otherwise.
#[must_use]
pub fn beside(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(".idx");
    name.into()
}

/// Runs the subcommand.
///
/// # Errors
/// What keeps it from reading or writing.
pub fn run(args: &Index) -> anyhow::Result<u8> {
    let shown = args.file.display();
    let mut source = Source::open(args.file.as_os_str(), args.reading)?;
    if !is_plain(&mut source) {
        bail!("{shown}: only an RDB file that is not packed can have an index");
    }
    let file = File::open(&args.file).with_context(|| shown.to_string())?;
    let goal = args.output.clone().unwrap_or_else(|| beside(&args.file));
    crate::write::refuse_same(&args.file, &goal)?;
    let mut out = Output::create(&goal, args.force)?;
    match build(&mut source, &file, &args.spill, &mut out) {
        Ok(built) => {
            out.commit()?;
            writeln!(io::stderr(), "{}: {} keys, {} bytes", goal.display(), built.keys, built.bytes)
                .context("writing")?;
            Ok(exit::CLEAN)
        }
        Err(Stop::Sink(error)) => Err(error).with_context(|| format!("writing {}", goal.display())),
        Err(stop) => stop.report("rdb-tools", source.name()),
    }
}

/// Whether the source is a file in which one can start anywhere.
pub(super) fn is_plain(source: &mut Source) -> bool {
    source.kind() == Kind::Rdb
        && source
            .rdb_input()
            .is_some_and(|input| input.form().is_none() && input.is_repeatable() && !input.is_empty())
}
