//! `aof-tools log`: what has happened, command by command.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use cairn_engine::base::glob;
use clap::Args;
use rdb_tools::cmd::Reading;
use rdb_tools::output::{Shown, exit, stdout};
use regex::bytes::Regex;

use crate::log::choice::{Choice, KeyTest};
use crate::log::follow::follow;
use crate::log::ledger::{Form, Ledger};
use crate::log::stats::Stats;
use crate::set::{self, Log as OnDisk};
use crate::time;
use crate::vocabulary::Vocabulary;
use crate::walk::{Ended, Opened, Opening, Walk};

/// Show what an append only file says has happened
///
/// One line a command: file and offset, time (of logs with timestamps), database, the command and its
/// arguments, shortened and escaped. Commands of a transaction stand between MULTI and EXEC and are marked.
/// RDB bases are no commands and are left out. Damage is told and stepped over.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 if all of it could be read, 1 if some could not, 2 for other trouble.\n\n\
                        TIME is Unix seconds, 2026-11-21T12:00:00Z, '2026-11-21 12:00:00' (UTC), or now. Only logs \
                        written with aof-timestamp-enabled have times; commands without one are left out when you \
                        ask for times."
)]
pub(crate) struct LogCommand {
    /// Manifest, its folder, a server's data folder, or a single file
    path: PathBuf,

    /// Only what happened at this time or later
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<i64>,

    /// Only what happened at this time or before
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Option<i64>,

    /// Only of the file of this name
    #[arg(long, value_name = "NAME")]
    file: Option<OsString>,

    /// Only what starts at this offset of a file or behind it
    #[arg(long, value_name = "BYTES")]
    from_offset: Option<u64>,

    /// Only what starts before this offset of a file
    #[arg(long, value_name = "BYTES")]
    to_offset: Option<u64>,

    /// Only commands with a key that matches a pattern as KEYS has it
    ///
    /// FLUSHALL, FLUSHDB and SWAPDB have no keys, touch all of them, and are shown, too.
    #[arg(long, short, value_name = "GLOB")]
    key: Vec<OsString>,

    /// Only commands with a key that matches a regular expression
    #[arg(long, value_name = "RE")]
    key_regex: Vec<String>,

    /// Only commands in these databases
    #[arg(long, value_name = "N", value_delimiter = ',')]
    db: Vec<u64>,

    /// Only these commands
    #[arg(long, short, value_name = "NAME", value_delimiter = ',')]
    command: Vec<String>,

    /// Not these commands
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    not_command: Vec<String>,

    /// End after so many commands
    #[arg(long, short = 'n', value_name = "N")]
    limit: Option<u64>,

    /// Show all arguments in their full length
    #[arg(long)]
    full: bool,

    /// Print JSON: one object a line for each command, or one for all with --stats
    #[arg(long)]
    json: bool,

    /// Wait for more, as tail -f does; goes on in the next file when the server begins one
    #[arg(long, short, conflicts_with = "stats")]
    follow: bool,

    /// With --follow: leave out what is there already
    #[arg(long, requires = "follow")]
    new: bool,

    /// Count instead of showing: by time, by command, and by key prefix
    #[arg(long)]
    stats: bool,

    /// With --stats: what ends a key's prefix
    #[arg(long, value_name = "TEXT", default_value = ":")]
    separator: OsString,

    /// With --stats: parts of a prefix
    #[arg(long, value_name = "N", default_value_t = 1)]
    depth: usize,

    /// With --stats: rows of a table
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,

    #[command(flatten)]
    reading: Reading,
}

fn moment(text: &str) -> Result<i64, String> {
    if text == "now" {
        return Ok(rdb_tools::dropin::now_ms().div_euclid(1000));
    }
    time::parse(text)
}

impl LogCommand {
    fn choice(&self) -> anyhow::Result<Choice> {
        use std::os::unix::ffi::OsStrExt;
        let mut regexes = Vec::new();
        for text in &self.key_regex {
            regexes.push(Regex::new(text).with_context(|| format!("--key-regex {text}"))?);
        }
        let globs: Vec<Vec<u8>> = self.key.iter().map(|glob| glob.as_bytes().to_vec()).collect();
        let has_keys = !globs.is_empty() || !regexes.is_empty();
        Ok(Choice {
            times: (self.from, self.to),
            offsets: (self.from_offset.unwrap_or(0), self.to_offset.unwrap_or(u64::MAX)),
            keys: has_keys.then(|| {
                let matches = move |key: &[u8]| {
                    globs.iter().any(|glob| glob::matches(glob, key, false))
                        || regexes.iter().any(|regex| regex.is_match(key))
                };
                Box::new(matches) as KeyTest
            }),
            dbs: self.db.clone(),
            commands: self.command.iter().map(|name| name.to_ascii_lowercase().into_bytes()).collect(),
            not_commands: self
                .not_command
                .iter()
                .map(|name| name.to_ascii_lowercase().into_bytes())
                .collect(),
            left: self.limit.unwrap_or(u64::MAX),
            without_time: 0,
        })
    }

    fn form(&self) -> Form {
        match (self.json, self.full) {
            (true, _) => Form::Json { full: self.full },
            (false, full) => Form::Text { full },
        }
    }
}

/// Runs the subcommand.
///
/// # Errors
/// What keeps it from reading or writing.
pub(crate) fn run(args: &LogCommand) -> anyhow::Result<u8> {
    let mut choice = args.choice()?;
    let vocabulary = Vocabulary::new();
    let mut out = stdout();
    let log = the_log(&args.path)?;
    if args.follow {
        let mut ledger = Ledger::new(&vocabulary, &mut choice, &mut out, args.form());
        return follow(&log, args.reading, args.new, &mut ledger);
    }
    let code = match args.stats {
        true => {
            use std::os::unix::ffi::OsStrExt;
            let mut stats = Stats::new(&vocabulary, &mut choice, args.separator.as_bytes(), args.depth);
            let code = read(args, &log, &vocabulary, &mut stats)?;
            let text = if args.json { stats.as_json() } else { stats.as_text(args.top) };
            out.write_all(&text).context("writing")?;
            code
        }
        false => {
            let mut ledger = Ledger::new(&vocabulary, &mut choice, &mut out, args.form());
            read(args, &log, &vocabulary, &mut ledger)?
        }
    };
    out.flush().context("writing")?;
    if choice.without_time > 0 {
        let n = choice.without_time;
        writeln!(
            io::stderr(),
            "aof-tools: {n} commands have no time and were left out: timestamps are written with \
             'aof-timestamp-enabled yes' only"
        )
        .context("writing")?;
    }
    Ok(code)
}

/// The one log that a path stands for.
fn the_log(path: &Path) -> anyhow::Result<OnDisk> {
    let mut logs = set::find(path)?;
    match (logs.pop(), logs.len()) {
        (Some(log), 0) => Ok(log),
        (_, more) => bail!("{}: {} logs are there; give the manifest of one", path.display(), more + 1),
    }
}

/// Who is told which file is read, besides what is in it.
pub(crate) trait Reader: crate::walk::Visit {
    /// A file begins.
    fn begin(&mut self, name: &[u8]);
    /// Whether some of it could not be read.
    fn is_damaged(&self) -> bool;
}

fn read(
    args: &LogCommand,
    log: &OnDisk,
    vocabulary: &Vocabulary,
    reader: &mut dyn Reader,
) -> anyhow::Result<u8> {
    let mut walk = Walk::new(vocabulary);
    let mut code = exit::CLEAN;
    for member in log.members()? {
        if args.file.as_ref().is_some_and(|name| {
            use std::os::unix::ffi::OsStrExt;
            name.as_bytes() != member.name
        }) {
            continue;
        }
        let mut opened = match Opened::open(&member, args.reading)? {
            Opening::Rdb => continue,
            Opening::BadRdb(what) => {
                let name = Shown(&member.name);
                writeln!(
                    io::stderr(),
                    "aof-tools: {name}: its RDB file is damaged, and what follows it is not found: {what}"
                )
                .context("writing")?;
                code = exit::FINDINGS;
                continue;
            }
            Opening::Commands(opened) => opened,
        };
        reader.begin(&member.name);
        let (ended, _) = opened.walk(&mut walk, reader).with_context(|| member.path.display().to_string())?;
        if ended == Ended::Enough {
            break;
        }
    }
    Ok(if reader.is_damaged() { exit::FINDINGS } else { code })
}
