//! `aof-tools check`: is this append only file whole, and right, and all there?

mod fate;
mod log;
mod print;

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use rdb_tools::check::Depths;
use rdb_tools::cmd::Reading;
use rdb_tools::output::{exit, stdout};
use rdb_tools::spill::Spill;

use crate::set;
use crate::vocabulary::Vocabulary;

/// Check append only files and list every fault
///
/// Give a manifest, the folder it is in, a server's data folder, or a single file. Checked are the
/// manifest, that the files it names are there and no others, RDB bases with all their values, the
/// layout of every command, and that MULTI and EXEC pair. Each fault comes with its file, its offset,
/// and what servers make of it. Nothing is changed; files need not be writable.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 if nothing is wrong, 1 if something is, 2 for other trouble.\n\n\
                        To cut a torn tail off, call this program as redis-check-aof --fix.")]
pub(crate) struct Check {
    /// Manifests, folders, or single files
    #[arg(required = true)]
    paths: Vec<PathBuf>,

    /// Check lengths and checksum only of RDB bases, and step over their values
    #[arg(long)]
    quick: bool,

    /// Run the commands, too, and list those that answer with an error
    ///
    /// A command on a key of another type is one of them. Servers log such errors and go on. Left out for a log
    /// that cannot be read to its end.
    #[arg(long)]
    replay: bool,

    #[command(flatten)]
    spill: Spill,

    /// Print one JSON object a line for each log
    #[arg(long)]
    json: bool,

    /// Threads to read a large file with; by default two, if there are as many processors
    #[arg(long, short, value_name = "N")]
    jobs: Option<usize>,

    #[command(flatten)]
    reading: Reading,
}

/// Threads that a check uses by itself: more gain little on one file.
pub(crate) fn usual_jobs() -> usize {
    const MOST: usize = 4;
    std::thread::available_parallelism().map_or(1, |n| n.get().min(MOST))
}

/// Checks a file for a fuzzer: what is said of it in both forms, and whether anything is wrong.
pub(crate) fn shown(path: &std::path::Path, threads: usize, replay: bool) -> anyhow::Result<(Vec<u8>, bool)> {
    let reading = Reading { no_mmap: threads == 1, no_progress: true };
    let replay = replay.then(Spill::default);
    let checker =
        log::Checker { depths: Depths::Deep, reading, threads, vocabulary: Vocabulary::new(), replay };
    let (mut out, mut is_wrong) = (Vec::new(), false);
    for found in set::find(path)? {
        let report = checker.check(&found)?;
        is_wrong |= !report.is_ok();
        print::text(&mut out, &report)?;
        print::json(&mut out, &report)?;
    }
    Ok((out, is_wrong))
}

/// Runs the subcommand.
///
/// # Errors
/// What keeps it from writing. What cannot be read is told, and the next path is checked.
pub(crate) fn run(args: &Check) -> anyhow::Result<u8> {
    let depths = if args.quick { Depths::Quick } else { Depths::Deep };
    let checker = log::Checker {
        depths,
        reading: args.reading,
        threads: args.jobs.unwrap_or_else(usual_jobs).max(1),
        vocabulary: Vocabulary::new(),
        replay: args.replay.then(|| args.spill.clone()),
    };
    let mut code = exit::CLEAN;
    let mut out = stdout();
    for path in &args.paths {
        let logs = match set::find(path) {
            Ok(logs) => logs,
            Err(error) => {
                writeln!(io::stderr(), "aof-tools: {error:#}").context("writing")?;
                code = exit::TROUBLE;
                continue;
            }
        };
        for found in logs {
            match checker.check(&found) {
                Ok(report) => {
                    if !report.is_ok() {
                        code = code.max(exit::FINDINGS);
                    }
                    let written = match args.json {
                        true => print::json(&mut out, &report),
                        false => print::text(&mut out, &report),
                    };
                    written.and_then(|()| out.flush()).context("writing")?;
                }
                Err(error) => {
                    writeln!(io::stderr(), "aof-tools: {error:#}").context("writing")?;
                    code = exit::TROUBLE;
                }
            }
        }
    }
    Ok(code)
}
