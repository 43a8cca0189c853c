//! `aof-tools replay`: a log up to a point in time, or without some of its commands.

mod copy;
mod plan;
mod until;

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use rdb_tools::fold::{Edits, Exclude};
use rdb_tools::output::{exit, stdout};
use rdb_tools::write::Output;
use rdb_tools::write::aof_set::NewSet;
use rdb_tools::write::refuse_same;

use crate::goal::{self, Folding, Form, From, Writing};
use until::Until;

/// Restore a log up to a point in time, or without some of its commands, without a server
///
/// Says first what it will cut: commands, bytes, times, files. The result is a new log in a folder of its own
/// (or a file: NAME.aof, or NAME.rdb for the data alone); the log itself is not changed. The cut may be in any
/// increment; those behind it are dropped. A cut inside a transaction drops all of it.
///
/// The new log has the commands of the old one, copied; with --rewrite-db they are run, and their result is
/// its base.
#[derive(Debug, Args)]
#[command(after_help = "UNTIL is one of\n  \
        1795000000, 2026-11-21T12:00:00Z, '2026-11-21 12:00:00'   a time (UTC): what was logged up to and with that second\n  \
        FILE:OFFSET, offset:N                                     a place in a file, or over all files in their order\n  \
        'before FLUSHALL', 'before DEL user:* #2'                 a command; #2 is the second of them, #last the last\n\n\
        Exit status: 0 if the output is there (or was only planned), 1 if the log is damaged or has commands that \
        cannot be repeated, 2 for other trouble.")]
pub(crate) struct Replay {
    /// Manifest, the folder it is in, a server's data folder, or a single file (packed or not); - for standard input
    log: PathBuf,

    /// Where to stop
    #[arg(long, value_name = "UNTIL", value_parser = Until::parse)]
    until: Option<Until>,

    /// Leave out commands of this name, or only those that name a key like the glob: 'DEL user:*'
    ///
    /// Commands of a base stay: they are what was there, and not what was done.
    #[arg(long, value_name = "CMD [KEYGLOB]", value_parser = Exclude::parse)]
    exclude: Vec<Exclude>,

    /// Count one database as another: 3:0
    #[arg(long, value_name = "FROM:TO", value_parser = Edits::parse_dbs)]
    rewrite_db: Vec<(u64, u64)>,

    /// Folder of the new log; or a file, NAME.aof or NAME.rdb
    #[arg(short, long, value_name = "OUT", required_unless_present = "dry_run")]
    output: Option<PathBuf>,

    /// What is written, where the name of OUT does not tell
    #[arg(long, value_enum)]
    to: Option<Form>,

    /// Only say what would be cut
    #[arg(long)]
    dry_run: bool,

    /// Say it as one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    writing: Writing,

    #[command(flatten)]
    folding: Folding,
}

/// Runs the subcommand.
///
/// # Errors
/// What keeps it from reading or writing.
pub(crate) fn run(args: &Replay) -> anyhow::Result<u8> {
    let opened = goal::open(&args.log, &args.folding)?;
    let mut log = opened.log.clone();
    let edits = Edits { exclude: args.exclude.clone(), dbs: args.rewrite_db.iter().copied().collect() };
    let options = args.folding.options(edits.clone());
    let cut = match &args.until {
        Some(until) => until::find(&log, &options, until)?,
        None => None,
    };
    let plan = match plan::plan(&log, &options, cut, &edits) {
        Ok(plan) => plan,
        Err(fault) => return goal::told_fault(&fault),
    };
    let is_piped = args.output.as_ref().is_some_and(|output| output.as_os_str() == "-");
    let mut account = Vec::new();
    match args.json {
        true => plan.json(&mut account, &log),
        false => plan.tell(&mut account, &log).context("writing")?,
    }
    let told = match is_piped {
        true => std::io::stderr().write_all(&account),
        false => {
            let mut out = stdout();
            out.write_all(&account).and_then(|()| out.flush())
        }
    };
    told.context("writing")?;
    let (Some(output), false) = (&args.output, args.dry_run) else { return Ok(exit::CLEAN) };
    refuse_same(&args.log, output)?;
    goal::refuse_inputs(&log, output)?;
    let form = args.to.unwrap_or_else(|| Form::of(output));
    let inputs: Vec<PathBuf> = log.parts.iter().map(|part| part.path.clone()).collect();
    let inputs: Vec<_> = inputs.iter().map(PathBuf::as_path).collect();
    let stem = log.stem();
    if let Some(cut) = cut {
        log.cut(cut.place);
    }
    if form == Form::Rdb || !edits.dbs.is_empty() {
        let from = From::Log(&log, &options);
        return Ok(match goal::write(from, form, output, &args.writing, &stem, &inputs)? {
            Ok(written) if written.summary.skips > 0 => exit::FINDINGS,
            Ok(_) => exit::CLEAN,
            Err(code) => code,
        });
    }
    match form {
        Form::Set => {
            let set = NewSet::begin(output, &stem, args.writing.force, &inputs)?;
            copy::to_set(&log, &plan, &options, &edits, set)?;
        }
        _ => {
            let out = Output::create(output, args.writing.force)?;
            copy::to_single(&log, &plan.ends, &options, &edits, out)?;
        }
    }
    Ok(exit::CLEAN)
}
