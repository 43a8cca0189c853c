//! A log copied up to a place, without some of its commands.
//!
//! Files that stay as they are, and the front of the one that is cut, are copied byte by byte; a cut inside
//! a checked block makes a shorter block of its own. Where commands are left out, or commands come to stand
//! at another offset than the sums of their blocks say, they are written anew as plain records.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::Context;
use cairn_engine::codec::aof::{MAGIC_BYTES, starts_with_rdb};
use cairn_engine::codec::aof::{block, record};
use rdb_tools::fold::read::Records;
use rdb_tools::fold::{Edits, Log, Options, Part, Role, What, scan};
use rdb_tools::write::Output;
use rdb_tools::write::aof_set::NewSet;

use super::plan::Plan;

/// Copies a log into a new one in parts. `plan` tells where the files that stay end.
///
/// # Errors
/// What keeps it from reading or writing.
pub(crate) fn to_set(
    log: &Log,
    plan: &Plan,
    options: &Options,
    edits: &Edits,
    mut set: NewSet,
) -> anyhow::Result<()> {
    let entry = |number: usize| {
        let manifest = log.manifest.as_ref()?;
        manifest.live().nth(number).map(|(_, entry)| entry)
    };
    let ends = &plan.ends;
    for (number, (part, end)) in log.parts.iter().zip(ends).enumerate() {
        let at = || part.path.display().to_string();
        match part.role {
            Role::Base => {
                let extension = part.name.rsplit(|b| *b == b'.').next().unwrap_or_default();
                let mut file = set.base(entry(number), &String::from_utf8_lossy(extension))?;
                copy_range(&part.path, 0, *end, &mut file).with_context(at)?;
                file.close()?;
            }
            Role::Incr => {
                let mut file = set.incr(entry(number))?;
                let gap = plan.gaps.get(number).cloned().flatten().filter(|gap| gap.start < *end);
                match (edits.exclude.is_empty(), gap) {
                    (true, None) => copy_front(part, *end, options, &mut file).with_context(at)?,
                    (true, Some(gap)) => {
                        copy_range(&part.path, 0, gap.start, &mut file).with_context(at)?;
                        rewrite(log, number, gap.end, *end, options, edits, &mut file)?;
                    }
                    (false, _) => rewrite(log, number, 0, *end, options, edits, &mut file)?,
                }
                file.close()?;
            }
            Role::Single => {
                let front = rdb_bytes(log, number, options)?;
                if front > 0 {
                    let mut file = set.base(None, "rdb")?;
                    copy_range(&part.path, 0, front, &mut file).with_context(at)?;
                    file.close()?;
                }
                let mut file = set.incr(None)?;
                rewrite(log, number, front, *end, options, edits, &mut file)?;
                file.close()?;
            }
        }
    }
    if !log.parts.iter().take(ends.len()).any(|part| part.role != Role::Base) {
        // Servers append to the last increment; without one they make it themselves, but not all check first.
        set.incr(None)?.close()?;
    }
    set.commit().map(drop)
}

/// Copies a log into one file.
///
/// # Errors
/// What keeps it from reading or writing.
pub(crate) fn to_single(
    log: &Log,
    ends: &[u64],
    options: &Options,
    edits: &Edits,
    mut out: Output,
) -> anyhow::Result<()> {
    for (number, (part, end)) in log.parts.iter().zip(ends).enumerate() {
        let front = rdb_bytes(log, number, options)?;
        copy_range(&part.path, 0, front, &mut out).with_context(|| part.path.display().to_string())?;
        if number > 0 {
            // Each file begins in the first database.
            let mut select = Vec::new();
            record::push_command(&mut select, [&b"SELECT"[..], b"0"]);
            out.write_all(&select).context("writing")?;
        }
        let none = Edits::default();
        let edits = if part.role == Role::Base { &none } else { edits };
        rewrite(log, number, front, *end, options, edits, &mut out)?;
    }
    out.commit().map(drop)
}

/// Copies bytes of a file.
fn copy_range(path: &Path, from: u64, to: u64, out: &mut dyn Write) -> io::Result<()> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let wanted = to.saturating_sub(from);
    let copied = io::copy(&mut file.take(wanted), out)?;
    if copied == wanted { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Copies a file up to `end`, where a record ends or starts.
fn copy_front(part: &Part, end: u64, options: &Options, out: &mut dyn Write) -> anyhow::Result<()> {
    if end == part.bytes {
        return Ok(copy_range(&part.path, 0, end, out)?);
    }
    let mut input = options.reading.open(&part.path)?;
    let mut records = Records::new(&mut input, part.marks, Some(end));
    // Up to there it was right when it was looked through.
    while let Ok(Some(_)) = records.advance() {}
    let Some((at, _)) = records.block().filter(|(_, block_end)| *block_end > end) else {
        return Ok(copy_range(&part.path, 0, end, out)?);
    };
    copy_range(&part.path, 0, at, out)?;
    let mut rest = Vec::new();
    copy_range(&part.path, at, end, &mut rest)?;
    let line = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |newline| newline + 1);
    let body = &rest[line..];
    if !body.is_empty() {
        let mut head = Vec::new();
        block::push_line(&mut head, at, None, body);
        out.write_all(&head)?;
        out.write_all(body)?;
    }
    Ok(())
}

/// Writes the commands of a file between two offsets anew, without those that are to be left out.
fn rewrite(
    log: &Log,
    number: usize,
    from: u64,
    end: u64,
    options: &Options,
    edits: &Edits,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    const BUFFER_BYTES: usize = 64 << 10;
    let mut buffer = Vec::new();
    let mut failed = None;
    let mut one = log.clone();
    one.parts = vec![Part { until: Some(end), ..log.parts[number].clone() }];
    let scanned = scan(&one, options, &mut |seen| {
        if seen.place.at < from {
            return ControlFlow::Continue(());
        }
        match seen.what {
            What::Command(argv, data) if !edits.excludes(argv, data) => {
                record::push_command(&mut buffer, argv.iter().copied());
            }
            What::Time(time) => record::push_timestamp(&mut buffer, time),
            What::Command(..) | What::Rdb(_) => {}
        }
        if buffer.len() < BUFFER_BYTES {
            return ControlFlow::Continue(());
        }
        let written = out.write_all(&buffer);
        buffer.clear();
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    });
    scanned.map_err(|fault| anyhow::anyhow!("{fault}"))?;
    match failed {
        Some(error) => Err(error).context("writing"),
        None => out.write_all(&buffer).context("writing"),
    }
}

/// Bytes of the RDB file that a file of a log starts with.
fn rdb_bytes(log: &Log, number: usize, options: &Options) -> anyhow::Result<u64> {
    let path = &log.parts[number].path;
    let mut head = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAGIC_BYTES as u64).read_to_end(&mut head))
        .with_context(|| path.display().to_string())?;
    if !starts_with_rdb(&head) {
        return Ok(0);
    }
    let mut one = log.clone();
    one.parts = vec![log.parts[number].clone()];
    let mut bytes = 0;
    let scanned = scan(&one, options, &mut |seen| {
        if let What::Rdb(_) = seen.what {
            bytes = seen.end;
        }
        ControlFlow::Break(())
    });
    scanned.map_err(|fault| anyhow::anyhow!("{fault}"))?;
    Ok(bytes)
}
