//! `aof-tools convert`: a log as an RDB file or in another form, and RDB files as logs.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use rdb_tools::fold::{DEFAULT_STEM, Edits, Log};
use rdb_tools::output::{exit, stdout};
use rdb_tools::source::Source;
use rdb_tools::write::refuse_same;

use crate::goal::{self, Folding, Form, From, Writing};

/// Make an RDB file of a log, or a log of an RDB file
///
/// IN is a log in any form, an RDB file, or whatever else rdb-tools reads. What comes out follows from the
/// name of OUT: NAME.rdb is an RDB file, NAME.aof a log in one file (an RDB file in front, as servers from
/// 4.0 on read it), anything else the folder of a log in parts, with a manifest, a base and an empty
/// increment. The data are those that a server would have after loading IN; keys keep their expiry.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 if the output is there, 1 if the input is damaged or the target cannot hold all \
                        of it, 2 for other trouble."
)]
pub(crate) struct Convert {
    /// What to read
    input: OsString,

    /// What to write
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,

    /// What is written, where the name of OUT does not tell
    #[arg(long, value_enum)]
    to: Option<Form>,

    #[command(flatten)]
    writing: Writing,

    #[command(flatten)]
    folding: Folding,
}

/// Runs the subcommand.
///
/// # Errors
/// What keeps it from reading or writing.
pub(crate) fn run(args: &Convert) -> anyhow::Result<u8> {
    let form = args.to.unwrap_or_else(|| Form::of(&args.output));
    let path = Path::new(&args.input);
    let written = if is_log(path)? {
        let opened = goal::open(path, &args.folding)?;
        let log = &opened.log;
        goal::refuse_inputs(log, &args.output)?;
        let options = args.folding.options(Edits::default());
        let inputs: Vec<_> = log.parts.iter().map(|part| part.path.as_path()).collect();
        let from = From::Log(log, &options);
        goal::write(from, form, &args.output, &args.writing, &log.stem(), &inputs)?
    } else {
        refuse_same(path, &args.output)?;
        let mut source = Source::open(&args.input, args.folding.reading)?;
        let from = From::Source(&mut source);
        goal::write(from, form, &args.output, &args.writing, DEFAULT_STEM, &[path])?
    };
    let written = match written {
        Ok(written) => written,
        Err(code) => return Ok(code),
    };
    if args.output.as_os_str() != "-" {
        let mut out = stdout();
        let (keys, bytes) = (written.keys, written.bytes);
        writeln!(out, "{}: {keys} keys in {bytes} bytes", args.output.display())
            .and_then(|()| out.flush())
            .context("writing")?;
    }
    Ok(if written.summary.skips > 0 { exit::FINDINGS } else { exit::CLEAN })
}

/// Whether a path is a log: a folder, a manifest, commands, or named as one.
fn is_log(path: &Path) -> anyhow::Result<bool> {
    const HEAD_BYTES: u64 = 5;
    if Log::is_set(path) {
        return Ok(true);
    }
    if !path.is_file() {
        return Ok(false);
    }
    let mut head = Vec::new();
    File::open(path)
        .and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head))
        .with_context(|| path.display().to_string())?;
    let is_named = path.extension().is_some_and(|extension| extension == "aof");
    // A file without a byte is a log without a command.
    Ok(is_named
        || head.is_empty()
        || head.starts_with(b"*")
        || head.starts_with(b"#TS:")
        || head.starts_with(b"#CK:"))
}
