//! `rdb-tools get`: one key out of a file.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, bail};
use clap::Args;

use super::Reading;
use super::dump::{Dump, Format, Origin, Picked, Rows, finish, write};
use super::index::{beside, is_plain};
use crate::escape;
use crate::index::{Found, Lookup, Refusal};
use crate::output::exit;
use crate::parallel::Jobs;
use crate::select::Selection;
use crate::source::Source;
use crate::spill::Spill;
use crate::write::Output;

/// Print one key of an RDB file, an AOF, JSON lines or a server
///
/// With an index beside the file (see the subcommand index) that takes milliseconds; otherwise all of the file is
/// read. A key that is in several databases, or in the file more than once, is printed as often.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 if the key is there, 1 if it is not or the file is damaged, 2 for other trouble."
)]
pub struct Get {
    /// RDB file, or whatever else dump reads; - for standard input
    pub file: OsString,

    /// The key
    pub key: OsString,

    /// Only in this database
    #[arg(long, value_name = "N")]
    pub db: Option<u64>,

    /// The key is written as dump --format keys writes it: \n, \r, \t, \\, \xHH
    #[arg(short, long)]
    pub escaped: bool,

    /// Form of the output
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    pub format: Format,

    /// With csv: what is in a line
    #[arg(long, value_enum, default_value_t = Rows::Keys)]
    pub rows: Rows,

    /// The index [default: FILE.idx, if it is there]
    #[arg(long, value_name = "FILE")]
    pub index: Option<PathBuf>,

    /// Read all of the file, even if there is an index
    #[arg(long, conflicts_with = "index")]
    pub no_index: bool,

    /// Print vector sets as the undecoded values of their module, graph and projection matrix included
    #[arg(long)]
    pub raw_modules: bool,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: Reading,
}

/// Runs the subcommand.
///
/// # Errors
/// What keeps it from reading or writing.
pub fn run(args: &Get) -> anyhow::Result<u8> {
    let key = match args.escaped {
        false => args.key.as_encoded_bytes().to_vec(),
        true => {
            escape::unescape(args.key.as_encoded_bytes()).context("KEY: a backslash that escapes nothing")?
        }
    };
    let form = Dump {
        file: args.file.clone(),
        format: args.format,
        output: PathBuf::from("-"),
        force: false,
        rows: args.rows,
        null: false,
        target: None,
        restore: false,
        limit: None,
        sample: None,
        seed: 0,
        sort: false,
        raw_modules: args.raw_modules,
        selection: Selection::default(),
        spill: Spill::default(),
        jobs: Jobs::default(),
        reading: args.reading,
    };
    let chosen = form.selection.compile()?.only(key.clone(), args.db);
    let mut source = Source::open(&args.file, args.reading)?;
    let counted = AtomicU64::new(0);
    let picked = Picked { chosen: &chosen, counter: Some(&counted) };
    let mut out = Output::create(&form.output, false)?;
    let result = match lookup(args, &key, &mut source)? {
        Some((index, mut found)) => {
            found.retain(|found| args.db.is_none_or(|db| db == found.db));
            write(&form, picked, Origin::Index { index: &index, found: &found, key: &key }, &mut out)
        }
        None => write(&form, picked, Origin::Source(&mut source), &mut out),
    };
    let code = finish(result, source.name(), out)?;
    match counted.load(Ordering::Relaxed) {
        0 if code == exit::CLEAN => {
            let db = args.db.map_or_else(String::new, |db| format!(" in database {db}"));
            let (file, key) = (crate::source::shown(&args.file), crate::output::Shown(&key));
            writeln!(io::stderr(), "rdb-tools: {file}: there is no key \"{key}\"{db}").context("writing")?;
            Ok(exit::FINDINGS)
        }
        _ => Ok(code),
    }
}

/// The index, if there is one that can be used, and where it says that the key is.
fn lookup(args: &Get, key: &[u8], source: &mut Source) -> anyhow::Result<Option<(Lookup, Vec<Found>)>> {
    if args.no_index || !is_plain(source) {
        return match &args.index {
            Some(_) => bail!(
                "{}: only an RDB file that is not packed can have an index",
                args.file.to_string_lossy()
            ),
            None => Ok(None),
        };
    }
    let path = args.index.clone().unwrap_or_else(|| beside(Path::new(&args.file)));
    let shown = || args.file.to_string_lossy().into_owned();
    let file = File::open(&args.file).with_context(shown)?;
    let opened = Lookup::open(&path, file).with_context(shown)?;
    let refusal = match opened.and_then(|index| Ok((index.find(key)?, index))) {
        Ok((found, index)) => return Ok(Some((index, found))),
        Err(refusal) => refusal,
    };
    let why = match refusal {
        Refusal::Absent if args.index.is_none() => return Ok(None),
        Refusal::Absent => "is not there".to_owned(),
        Refusal::Stale(why) | Refusal::Damaged(why) => why,
    };
    if args.index.is_some() {
        bail!("{}: {why}", path.display());
    }
    let told = format!(
        "{}: {why}; reading all of the file (rdb-tools index --force makes a new one)",
        path.display()
    );
    writeln!(io::stderr(), "rdb-tools: {}", crate::output::clean(&told)).context("writing")?;
    Ok(None)
}
