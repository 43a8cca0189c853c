//! `aof-tools compact`: a log's base and increments become one base, without a server.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use rdb_tools::fold::Edits;
use rdb_tools::output::{exit, stdout};
use rdb_tools::write::refuse_same;

use crate::goal::{self, Folding, Form, From, Writing};

/// Make one base of a log's base and increments, without a server
///
/// What a rewrite (BGREWRITEAOF) does, from the files alone: the commands are run as a server's start runs
/// them, and the data become the base of a new log with an empty increment. Keys keep their expiry, and none
/// is dropped because its time has passed. The log itself is not changed.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 if the new log is there, 1 if the log is damaged or has commands that \
                        cannot be repeated, 2 for other trouble."
)]
pub(crate) struct Compact {
    /// Manifest, the folder it is in, a server's data folder, or a single file (packed or not); - for standard input
    log: PathBuf,

    /// Folder of the new log; or a file: NAME.aof for a log in one file, NAME.rdb for an RDB file
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,

    #[command(flatten)]
    writing: Writing,

    #[command(flatten)]
    folding: Folding,
}

/// Runs the subcommand.
///
/// # Errors
/// What keeps it from reading or writing.
pub(crate) fn run(args: &Compact) -> anyhow::Result<u8> {
    let opened = goal::open(&args.log, &args.folding)?;
    let log = &opened.log;
    refuse_same(&args.log, &args.output)?;
    let options = args.folding.options(Edits::default());
    let form = Form::of(&args.output);
    goal::refuse_inputs(log, &args.output)?;
    let from = From::Log(log, &options);
    let inputs: Vec<_> = log.parts.iter().map(|part| part.path.as_path()).collect();
    let written = match goal::write(from, form, &args.output, &args.writing, &log.stem(), &inputs)? {
        Ok(written) => written,
        Err(code) => return Ok(code),
    };
    if args.output.as_os_str() != "-" {
        let mut out = stdout();
        let (keys, commands) = (written.keys, written.summary.commands);
        writeln!(
            out,
            "{}: {keys} keys in {} bytes, from {} bytes with {commands} commands",
            args.output.display(),
            written.bytes,
            log.bytes()
        )
        .and_then(|()| out.flush())
        .context("writing")?;
    }
    Ok(if written.summary.skips > 0 { exit::FINDINGS } else { exit::CLEAN })
}
