//! `rdb-tools salvage`: what can be read of a damaged file, as a new one.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use cairn_engine::codec::rdb::{Dialect, Version};
use clap::{Args, ValueEnum};

use super::Reading;
use crate::input::Input;
use crate::json;
use crate::output::exit;
use crate::salvage::{Form, Options, Report, salvage};
use crate::write::{Output, refuse_same};

/// Get the readable keys out of a damaged RDB file
///
/// One wrong byte, or two next to each other, are found by the file's own checksum and put right. A value that is
/// damaged inside is left out. Where lengths are damaged, reading goes on at the next place where records
/// begin. What did not come out is listed with its bytes, and its key where that can be read. The input is never
/// changed; the output is a new file of the same version.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 if everything came out, 1 if something is lost or may be, 2 for other trouble.\n\n\
                  What cannot be seen: if a file's checksum is wrong and cannot be put right, or is switched off, \
                  a byte that was changed inside a string is not noticed, nor is a count that was changed so \
                  that whole records became elements of a collection. The first is told as a file that may hide \
                  damage, the second by the number of keys that the file declares."
)]
pub struct Salvage {
    /// Damaged RDB file; - for standard input
    pub file: PathBuf,

    /// File to write; - for standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,

    /// Form of the output [default: by its name, rdb or jsonl]
    #[arg(long, value_enum)]
    pub format: Option<Format>,

    /// Write a report as JSON; - for standard output
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,

    /// Put the bytes that did not come out into files of this folder
    #[arg(long, value_name = "DIR")]
    pub quarantine: Option<PathBuf>,

    /// Read the file as this version, as in its magic: REDIS0011 or VALKEY080, or the number alone
    #[arg(long, value_name = "VERSION", value_parser = parse_version)]
    pub assume_version: Option<Version>,

    /// Let records out whose length may be damaged: each directly in front of a place where reading failed
    #[arg(long)]
    pub keep_doubtful: bool,

    /// Of damaged lists, sets, hashes and sorted sets let the elements in front of the damage out
    #[arg(long)]
    pub partial: bool,

    /// Do not let the checksum find the wrong byte
    #[arg(long)]
    pub no_repair: bool,

    /// Replace the output if it is there
    #[arg(long)]
    pub force: bool,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: Reading,
}

/// The forms that an output can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// An RDB file
    Rdb,
    /// A JSON object a line for each key
    Jsonl,
}

fn parse_version(text: &str) -> Result<Version, String> {
    let (dialect, digits) = match (text.strip_prefix("REDIS"), text.strip_prefix("VALKEY")) {
        (Some(digits), _) => (Some(Dialect::Redis), digits),
        (_, Some(digits)) => (Some(Dialect::Valkey), digits),
        _ => (None, text),
    };
    let number = digits.parse().map_err(|_| format!("{text} is no version"))?;
    let version = match dialect {
        Some(dialect) => Version { dialect, number },
        None => Version::of_dump(number).ok_or_else(|| format!("version {number} is not known"))?,
    };
    if version.is_known() { Ok(version) } else { Err(format!("version {text} is not known")) }
}

/// Runs the subcommand.
///
/// # Errors
/// What keeps it from reading or writing.
pub fn run(args: &Salvage) -> anyhow::Result<u8> {
    refuse_same(&args.file, &args.output)?;
    if args.report.as_deref() == Some(Path::new("-")) && args.output == Path::new("-") {
        bail!("the report and the output cannot both go to standard output");
    }
    if let Some(folder) = &args.quarantine {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let mut input = args.reading.open(&args.file)?;
    let mut spool = None;
    if input.mapped().is_none() {
        // Places must be looked at more than once: what cannot be mapped is put where it can.
        let file = spooled(&mut input).with_context(|| args.file.display().to_string())?;
        input = Reading { no_mmap: false, ..args.reading }.open(file.path())?;
        spool = Some(file);
    }
    let progress = args.reading.progress(&input);
    let options = Options {
        version: args.assume_version,
        no_repair: args.no_repair,
        keep_doubtful: args.keep_doubtful,
        partial: args.partial,
        quarantine: args.quarantine.clone(),
    };
    let form = match args.format {
        Some(Format::Jsonl) => Form::Jsonl,
        Some(Format::Rdb) => Form::Rdb,
        None if args.output.extension().is_some_and(|e| e == "jsonl") => Form::Jsonl,
        None => Form::Rdb,
    };
    let map = input.share();
    let open = || Output::create(&args.output, args.force);
    let (report, output) = salvage(map.as_deref(), &options, form, &progress, open)?;
    output.commit()?;
    drop(progress);
    drop(spool);
    if let Some(path) = &args.report {
        write_report(path, args, &report).with_context(|| path.display().to_string())?;
    }
    tell(&mut io::stderr().lock(), args, &report).context("writing")?;
    Ok(if report.is_whole() { exit::CLEAN } else { exit::FINDINGS })
}

/// A pipe or packed file as a file. What comes before damage of its packing is all there is.
fn spooled(input: &mut Input) -> io::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::NamedTempFile::new()?;
    loop {
        match input.fill(1) {
            Ok(()) => {}
            Err(error) if crate::input::damage(&error).is_some() => break,
            Err(error) => return Err(error),
        }
        let bytes = input.bytes();
        if bytes.is_empty() {
            break;
        }
        file.write_all(bytes)?;
        let n = bytes.len();
        input.consume(n);
    }
    Ok(file)
}

fn write_report(path: &Path, args: &Salvage, report: &Report) -> anyhow::Result<()> {
    let mut text = b"{".to_vec();
    json::push_name(&mut text, "file");
    json::push_text(&mut text, &args.file.to_string_lossy());
    report.push_json(&mut text);
    text.extend_from_slice(b"}\n");
    let mut output = Output::create(path, true)?;
    output.write_all(&text)?;
    output.commit()?;
    Ok(())
}

/// Losses that are told on standard error; a report lists all.
const TOLD: usize = 20;

fn tell(out: &mut dyn Write, args: &Salvage, report: &Report) -> io::Result<()> {
    let name = args.file.display();
    let magic = String::from_utf8_lossy(&report.version.magic()).into_owned();
    if report.version_is_guessed {
        writeln!(out, "{name}: read as {magic}, which it does not say")?;
    }
    for (at, was, is) in &report.repaired {
        writeln!(
            out,
            "{name}: byte {at} is {was:#04x}; the checksum tells that it was {is:#04x}, and so it came out"
        )?;
    }
    for lost in report.lost.iter().take(TOLD) {
        writeln!(out, "{name}: {lost}")?;
    }
    let untold = report.lost_count.saturating_sub(TOLD as u64);
    if untold > 0 {
        writeln!(out, "{name}: and {untold} more; --report lists them")?;
    }
    for resumed in report.resumed.iter().filter(|resumed| resumed.db_is_uncertain).take(TOLD) {
        writeln!(out, "{name}: the database of what follows byte {} is not certain", resumed.at)?;
    }
    for (db, declared, keys) in &report.declared {
        writeln!(out, "{name}: database {db} declares {declared} keys, {keys} came out")?;
    }
    if report.trailing_bytes > 0 {
        writeln!(out, "{name}: {} bytes follow the end of the file", report.trailing_bytes)?;
    }
    if report.may_hide_damage() {
        writeln!(
            out,
            "{name}: the checksum is wrong, and what is lost need not be all: bytes inside of strings may have \
             changed, which nothing shows"
        )?;
    }
    writeln!(
        out,
        "{name}: {} keys came out; lost: {} bytes in {} pieces, with {} keys that have names; checksum {}",
        report.keys,
        report.lost_bytes,
        report.lost_count,
        report.lost_keys,
        report.checksum_name()
    )
}
