//! `rdb-tools check`: are these files whole and right?

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use cairn_engine::codec::rdb::Trailer;
use clap::Args;

use super::Reading;
use crate::check::{self, Depths, Fate, Finding, Report};
use crate::json;
use crate::output::{Shown, exit, stdout};
use crate::parallel::Jobs;

/// Check RDB files and list every fault
///
/// Looks at lengths, the checksum, and the inside of every value: packed encodings, duplicate
/// members, the order of sorted sets, stream ids and groups, empty collections, duplicate keys. A fault
/// inside a value does not end the check. Each fault comes with its offset, its key, and what servers
/// make of it.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 if nothing is wrong, 1 if something is, 2 for other trouble.\n\n\
                        Keys of a pipe are sorted to find those that are there twice, in temporary files if \
                        they are many; other files are read a second time where that may be so.")]
pub struct Check {
    /// RDB files; - for standard input
    #[arg(required = true)]
    pub files: Vec<PathBuf>,

    /// Check lengths and checksum only, and step over values
    #[arg(long)]
    pub quick: bool,

    /// Print one JSON object a line for each file
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub jobs: Jobs,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: Reading,
}

/// Runs the subcommand.
///
/// # Errors
/// What keeps it from writing. A file that cannot be read is told and the next one is checked.
pub fn run(args: &Check) -> anyhow::Result<u8> {
    let depths = if args.quick { Depths::Quick } else { Depths::Deep };
    let mut code = exit::CLEAN;
    let mut out = stdout();
    for file in &args.files {
        match check_file(file, depths, args) {
            Ok(report) => {
                if report.found > 0 {
                    code = code.max(exit::FINDINGS);
                }
                match args.json {
                    true => write_json(&mut out, file, &report).context("writing")?,
                    false => write_text(&mut out, file, &report).context("writing")?,
                }
                out.flush().context("writing")?;
            }
            Err(error) => {
                writeln!(io::stderr(), "rdb-tools: {error:#}").context("writing")?;
                code = exit::TROUBLE;
            }
        }
    }
    Ok(code)
}

/// What every file since version 5 ends with.
const CHECKSUM_BYTES: u64 = 8;

fn check_file(file: &Path, depths: Depths, args: &Check) -> anyhow::Result<Report> {
    let reading = args.reading;
    let mut input = reading.open(file)?;
    let progress = reading.progress(&input);
    let mut report = check::check_with(&mut input, depths, args.jobs, &progress)
        .with_context(|| file.display().to_string())?;
    if report.is_complete() {
        let at = input.position();
        let trailing = input.skip_rest().with_context(|| file.display().to_string())?;
        if trailing > 0 {
            let mut what = format!("{trailing} bytes follow the end of the file");
            if report.trailer == Some(Trailer::Absent) && trailing >= CHECKSUM_BYTES {
                what.push_str(", room for a checksum, which its version has not: the version may be damaged");
            }
            report.add(Finding { at, key: None, kind: "trailing", what, fate: Fate::Accepts });
        }
    }
    Ok(report)
}

/// What a report says of a checksum.
fn checksum_name(report: &Report) -> &'static str {
    match report.trailer {
        Some(Trailer::Stored(_)) => "ok",
        Some(Trailer::Disabled) => "disabled",
        Some(Trailer::Absent) => "absent",
        None if report.findings.iter().any(|f| f.kind == "checksum") => "wrong",
        None => "not-reached",
    }
}

/// Whether all of the file was read. A wrong checksum is known at its end only.
fn has_reached_end(report: &Report) -> bool {
    report.is_complete() || checksum_name(report) == "wrong"
}

/// Writes a report for people: a line for each finding, then one for the file.
///
/// # Errors
/// Whatever writing says.
pub fn write_text(out: &mut dyn Write, file: &Path, report: &Report) -> io::Result<()> {
    let name = file.display();
    for finding in &report.findings {
        write!(out, "{name}: offset {}", finding.at)?;
        if let Some((db, key)) = &finding.key {
            write!(out, ", db {db}, key \"{}\"", Shown(key))?;
        }
        writeln!(out, ": {} [{}]", finding.what, finding.fate)?;
    }
    let unlisted = report.found - report.findings.len() as u64;
    if unlisted > 0 {
        writeln!(out, "{name}: and {unlisted} more")?;
    }
    let verdict = match (report.found, has_reached_end(report)) {
        (0, _) => "ok".to_owned(),
        (n, true) => format!("{n} {}", plural(n, "fault")),
        (n, false) => format!("{n} {}, not readable to its end", plural(n, "fault")),
    };
    writeln!(out, "{name}: {verdict}: {}", summary(report))
}

/// A report in a few words.
#[must_use]
pub fn summary(report: &Report) -> String {
    let mut parts = Vec::new();
    if let Some(version) = report.version {
        parts.push(String::from_utf8_lossy(&version.magic()).into_owned());
    }
    if let Some((name, version)) = &report.producer {
        parts.push(format!("{name} {}", Shown(version)));
    }
    let (keys, dbs) = (report.keys, report.dbs);
    parts.push(format!(
        "{keys} {}, {} of them expiring, in {dbs} {}",
        plural(keys, "key"),
        report.expires,
        plural(dbs, "database")
    ));
    if report.functions > 0 {
        parts.push(format!(
            "{} function {}",
            report.functions,
            if report.functions == 1 { "library" } else { "libraries" }
        ));
    }
    parts.push(format!("checksum {}", checksum_name(report).replace('-', " ")));
    parts.join(", ")
}

fn plural(n: u64, word: &str) -> String {
    if n == 1 { word.to_owned() } else { format!("{word}s") }
}

fn write_json(out: &mut dyn Write, file: &Path, report: &Report) -> io::Result<()> {
    let mut line = b"{".to_vec();
    json::push_name(&mut line, "file");
    json::push_text(&mut line, &file.to_string_lossy());
    push_report(&mut line, report);
    line.extend_from_slice(b"}\n");
    out.write_all(&line)
}

/// Appends the fields of a report to an open object.
pub fn push_report(line: &mut Vec<u8>, report: &Report) {
    for (name, value) in [("ok", report.found == 0), ("complete", has_reached_end(report))] {
        json::push_name(line, name);
        line.extend_from_slice(value.to_string().as_bytes());
    }
    json::push_name(line, "version");
    match report.version {
        Some(version) => json::push_bytes(line, &version.magic()),
        None => line.extend_from_slice(b"null"),
    }
    if let Some((name, version)) = &report.producer {
        json::push_name(line, "producer");
        json::push_text(line, &format!("{name} {}", Shown(version)));
    }
    let counts = [
        ("keys", report.keys),
        ("expires", report.expires),
        ("dbs", report.dbs),
        ("functions", report.functions),
        ("bytes", report.bytes),
    ];
    for (name, value) in counts {
        json::push_name(line, name);
        json::push_u64(line, value);
    }
    json::push_name(line, "checksum");
    json::push_text(line, checksum_name(report));
    json::push_name(line, "faults");
    json::push_u64(line, report.found);
    json::push_name(line, "findings");
    json::push_array(line, &report.findings, push_finding);
}

fn push_finding(line: &mut Vec<u8>, finding: &Finding) {
    line.push(b'{');
    json::push_name(line, "offset");
    json::push_u64(line, finding.at);
    if let Some((db, key)) = &finding.key {
        json::push_name(line, "db");
        json::push_u64(line, *db);
        json::push_name(line, "key");
        json::push_bytes(line, key);
    }
    for (name, value) in [("kind", finding.kind), ("what", &finding.what), ("server", finding.fate.name())] {
        json::push_name(line, name);
        json::push_text(line, value);
    }
    line.push(b'}');
}
