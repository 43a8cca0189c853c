//! `rdb-tools digest`: a line that says what is in a data set, whatever it is stored in.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::{Dialect, Version};
use cairn_engine::keyspace::digest::DIGEST_BYTES as DEBUG_BYTES;
use clap::{Args, ValueEnum};

use super::Reading;
use crate::canon::{DebugStyle, Digest as Sha};
use crate::diff::Counting;
use crate::diff::digest::{Keys, Scope, Total, Totals};
use crate::json;
use crate::output::{Shown, exit, stdout};
use crate::parallel::Jobs;
use crate::select::Selection;
use crate::source::{self, Source};
use crate::spill::Spill;
use crate::walk;

/// Print a digest of what is in a data set
///
/// Two data sets have the same digest if and only if they have the same keys with the same contents: it does not
/// matter in which order they are stored, in which encodings, by which server, in which version of the format.
/// Expiries count; idle times, access counters and the times when consumers were seen do not.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 if all inputs were read, 1 if one is damaged (it gets no digest), 2 for other \
                        trouble."
)]
pub struct Digest {
    /// RDB files, and what else keys can be read from; - for standard input
    #[arg(required = true, value_name = "FILE")]
    pub inputs: Vec<OsString>,

    /// A digest for each database too
    #[arg(long)]
    pub per_db: bool,

    /// A digest for each key too, in the order of the input
    #[arg(long)]
    pub keys: bool,

    /// The DEBUG DIGEST too that a server answers which has loaded the input now
    ///
    /// Servers differ where fields of hashes expire, and in how they write scores. Without a value: that of
    /// the servers that write the input's format. Keys and fields that have expired are left out. Not
    /// known for arrays, path hashes and values of modules other than vector sets.
    #[arg(long, value_enum, value_name = "SERVER", num_args = 0..=1, default_missing_value = "auto",
          require_equals = true)]
    pub debug: Option<Debug>,

    /// The CRC-64/XZ of the file's bytes too, as 7z h -scrcCRC64 prints it
    #[arg(long)]
    pub file: bool,

    /// One JSON object a line for each input; before it one for each key with --keys
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub counting: Counting,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub selection: Selection,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub jobs: Jobs,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub spill: Spill,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: Reading,
}

/// Whose DEBUG DIGEST.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Debug {
    /// Of the servers that write the format of the input
    Auto,
    /// Of Redis before 7.2 and KeyDB
    Old,
    /// Of Redis from 7.2 on
    Redis,
    /// Of Valkey
    Valkey,
}

/// The last version that servers before 7.2 write.
const LAST_OLD: u16 = 10;

impl Debug {
    fn style(self, version: Version) -> DebugStyle {
        match (self, version.dialect) {
            (Self::Auto, Dialect::Redis) if version.number <= LAST_OLD => DebugStyle::Old,
            (Self::Redis, _) | (Self::Auto, Dialect::Redis) => DebugStyle::Redis,
            (Self::Valkey, _) | (Self::Auto, Dialect::Valkey) => DebugStyle::Valkey,
            (Self::Old, _) => DebugStyle::Old,
        }
    }
}

/// Runs the subcommand.
///
/// # Errors
/// What keeps it from writing. An input that cannot be read is told and the next one is taken.
pub fn run(args: &Digest) -> anyhow::Result<u8> {
    let mut code = exit::CLEAN;
    let mut out = stdout();
    for name in &args.inputs {
        let result = digest_input(args, name, &mut out);
        out.flush().context("writing")?;
        match result {
            Ok(worst) => code = code.max(worst),
            Err(error) if crate::output::is_broken_pipe(&error) => return Err(error),
            Err(error) => {
                writeln!(io::stderr(), "rdb-tools: {error:#}").context("writing")?;
                code = exit::TROUBLE;
            }
        }
    }
    Ok(code)
}

fn digest_input(args: &Digest, name: &OsString, out: &mut impl Write) -> anyhow::Result<u8> {
    let chosen = args.selection.compile()?;
    let mut source = Source::open(name, args.reading)?;
    let checksum = if args.file { Some(file_sum(Path::new(name))?) } else { None };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = UnixMs(i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
    let style_of = |debug: Debug| move |version| debug.style(version);
    let mut total = Total::new(&args.spill.part(2));
    let visitor = || {
        let keys = Keys::new(args.counting.rules(), args.counting.ignore_ttl, &args.spill.part(4));
        match args.debug {
            Some(debug) => keys.with_debug(Box::new(style_of(debug)), now),
            None => keys,
        }
    };
    let read = walk::read(&mut source, &chosen, args.jobs, visitor, |mut batch| {
        total.debug = match (total.debug.take(), batch.debug.take()) {
            (Some(mut all), Some(more)) => {
                all.merge(more);
                Some(all)
            }
            (all, more) => all.or(more),
        };
        for (scope, name, digest) in batch.keys() {
            total.add(scope, digest)?;
            if args.keys {
                write_key(out, args.json, scope, name, digest)?;
            }
        }
        Ok(())
    });
    if let Err(stop) = read {
        return stop.report("rdb-tools", name);
    }
    let debug = total.debug.take().map(|debug| (debug.style_name(), debug.finish(), debug.expired()));
    let report = Report { total: total.finish().context("sorting")?, debug, checksum };
    match args.json {
        true => report.write_json(out, name, args.per_db),
        false => report.write_text(out, name, args.per_db),
    }
    .context("writing")?;
    Ok(exit::CLEAN)
}

fn write_key(out: &mut impl Write, as_json: bool, scope: Scope, name: &[u8], digest: &Sha) -> io::Result<()> {
    if !as_json {
        return writeln!(out, "{}  {} \"{}\"", hex(digest), scope.shown(), Shown(name));
    }
    let mut line = b"{".to_vec();
    scope.push_json(&mut line);
    json::push_name(&mut line, "key");
    json::push_bytes(&mut line, name);
    json::push_name(&mut line, "digest");
    json::push_text(&mut line, &hex(digest));
    line.extend_from_slice(b"}\n");
    out.write_all(&line)
}

/// Whose DEBUG DIGEST, what it is or how many keys keep it from being known, and how many have expired.
type Debugged = (&'static str, Result<[u8; DEBUG_BYTES], u64>, u64);

/// Everything about one input.
struct Report {
    total: Totals,
    debug: Option<Debugged>,
    checksum: Option<u64>,
}

impl Report {
    fn write_text(&self, out: &mut impl Write, name: &OsString, per_db: bool) -> io::Result<()> {
        // Bytes of a file's name that are no text are shown as such.
        let shown = match name.to_str() {
            Some(_) => Shown(source::shown(name).as_bytes()).to_string(),
            None => Shown(name.as_encoded_bytes()).to_string(),
        };
        writeln!(out, "{}  {shown}", hex(&self.total.digest))?;
        for part in self.total.scopes.iter().filter(|_| per_db) {
            let keys = part.keys;
            writeln!(out, "{}  {shown} ({}, {keys} keys)", hex(&part.digest), part.scope.shown())?;
        }
        if let Some((style, digest, expired)) = &self.debug {
            match digest {
                Ok(digest) => {
                    write!(out, "{}  {shown} (DEBUG DIGEST of {style}", hex(digest))?;
                    match expired {
                        0 => writeln!(out, ")")?,
                        _ => writeln!(out, ", without {expired} expired keys)")?,
                    }
                }
                Err(keys) => {
                    let what = "of modules, arrays or path hashes";
                    writeln!(out, "unknown  {shown} (DEBUG DIGEST of {style}: {keys} values are {what})")?;
                }
            }
        }
        if let Some(sum) = self.checksum {
            writeln!(out, "{sum:016X}  {shown} (CRC64)")?;
        }
        Ok(())
    }

    fn write_json(&self, out: &mut impl Write, name: &OsString, per_db: bool) -> io::Result<()> {
        let mut line = b"{".to_vec();
        json::push_name(&mut line, "file");
        json::push_text(&mut line, &source::shown(name));
        json::push_name(&mut line, "digest");
        json::push_text(&mut line, &hex(&self.total.digest));
        json::push_name(&mut line, "keys");
        json::push_u64(&mut line, self.total.keys());
        if per_db {
            json::push_name(&mut line, "parts");
            json::push_array(&mut line, &self.total.scopes, |line, part| {
                line.push(b'{');
                part.scope.push_json(line);
                json::push_name(line, "keys");
                json::push_u64(line, part.keys);
                json::push_name(line, "digest");
                json::push_text(line, &hex(&part.digest));
                line.push(b'}');
            });
        }
        if let Some((style, digest, expired)) = &self.debug {
            json::push_name(&mut line, "debug_digest");
            match digest {
                Ok(digest) => json::push_text(&mut line, &hex(digest)),
                Err(_) => line.extend_from_slice(b"null"),
            }
            json::push_name(&mut line, "debug_digest_of");
            json::push_text(&mut line, style);
            json::push_name(&mut line, "expired_keys_left_out");
            json::push_u64(&mut line, *expired);
        }
        if let Some(sum) = self.checksum {
            json::push_name(&mut line, "crc64_xz");
            json::push_text(&mut line, &format!("{sum:016X}"));
        }
        line.extend_from_slice(b"}\n");
        out.write_all(&line)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The CRC-64/XZ of a file's bytes.
fn file_sum(path: &Path) -> anyhow::Result<u64> {
    let told = || path.display().to_string();
    anyhow::ensure!(path.as_os_str() != "-", "--file: standard input can be read only once");
    let mut file = File::open(path).with_context(told)?;
    let mut sum = crc64fast::Digest::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).with_context(told)? {
            0 => return Ok(sum.sum64()),
            n => sum.write(&buffer[..n]),
        }
    }
}
