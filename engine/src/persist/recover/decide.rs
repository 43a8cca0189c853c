//! Which of the files that are there are the data. Pure: the same look gives the same decision.
//!
//! Rules, the first that applies:
//! - With `appendonly yes` the log is loaded, if there is one: files without a manifest are refused, but a
//!   log whose making was interrupted is finished or ignored. A log that was switched off and has a newer
//!   snapshot beside it is not: the snapshot is. Without a log the snapshot is loaded.
//! - With `appendonly no` the snapshot is loaded, unless the log has newer data or there is no snapshot.
//! - Something that is there and cannot be used is never a reason to start with less.

use crate::base::time::UnixMs;
use crate::codec::aof::manifest::{FileKind, Manifest};

use super::look::{Dump, Look, Part, begun, entry, part_of, path_in};
use super::refusal::{Refusal, look_at};
use super::{Level, Log, Note, RecoverOptions, file};

/// What is loaded.
#[derive(Debug)]
pub(super) enum Plan {
    Nothing,
    Dump,
    Log(Box<Log>),
}

#[derive(Debug)]
pub(super) struct Decision {
    pub(super) plan: Plan,
    pub(super) notes: Vec<Note>,
}

/// Decides.
///
/// # Errors
/// Something is there that should be loaded and cannot be.
pub(super) fn decide(look: &Look, options: &RecoverOptions) -> Result<Decision, Refusal> {
    let mut notes = Vec::new();
    let log = find_log(look, options, &mut notes);
    let plan = match options.enabled {
        true => with_log_on(look, options, log?, &mut notes),
        false => with_log_off(look, options, log, &mut notes)?,
    };
    Ok(Decision { plan, notes })
}

fn warning(text: String) -> Note {
    Note { level: Level::Warning, text }
}

fn notice(text: String) -> Note {
    Note { level: Level::Notice, text }
}

fn with_log_on(look: &Look, options: &RecoverOptions, log: Option<Log>, notes: &mut Vec<Note>) -> Plan {
    let dump_path = options.rdb_path.display();
    match (log, &look.dump) {
        (Some(log), Some(dump)) if is_replaced(&log, dump) => {
            notes.push(warning(format!(
                "The AOF was switched off, and {dump_path} is newer: it is loaded, and a new AOF is made from it"
            )));
            Plan::Dump
        }
        (Some(log), _) => Plan::Log(Box::new(log)),
        (None, Some(_)) => {
            notes.push(notice(format!(
                "The AOF is on and there is none yet: {dump_path} is loaded, and the first base is made from it"
            )));
            Plan::Dump
        }
        (None, None) => Plan::Nothing,
    }
}

fn with_log_off(
    look: &Look,
    options: &RecoverOptions,
    log: Result<Option<Log>, Refusal>,
    notes: &mut Vec<Note>,
) -> Result<Plan, Refusal> {
    let Some(dump) = &look.dump else {
        let Some(log) = log? else { return Ok(Plan::Nothing) };
        if log.parts.iter().all(|part| part.source.bytes == 0) {
            return Ok(Plan::Nothing);
        }
        notes.push(warning(format!(
            "The AOF is off, but there is no {} and there is an AOF: IT IS LOADED. It is not written to",
            options.rdb_path.display()
        )));
        return Ok(Plan::Log(Box::new(log)));
    };
    let is_newer = match &log {
        Ok(None) => false,
        Ok(Some(log)) => match switched_off(log) {
            Some(_) => !is_replaced(log, dump),
            None => log_time(log).is_some_and(|at| at >= dump.time()),
        },
        // Nobody knows what it says: the youngest of its files counts.
        Err(_) => look.parts().filter(|p| p.meta.bytes > 0).any(|p| p.meta.modified >= dump.time()),
    };
    if !is_newer {
        if log.is_err() {
            let folder = options.aof_dir.display();
            notes.push(warning(format!(
                "The AOF in {folder} cannot be used; it is off, and older than the snapshot"
            )));
        }
        return Ok(Plan::Dump);
    }
    match log? {
        Some(log) => {
            notes.push(warning(format!(
                "The AOF is off, but it has newer data than {}: IT IS LOADED. It is not written to",
                options.rdb_path.display()
            )));
            Ok(Plan::Log(Box::new(log)))
        }
        None => Ok(Plan::Dump),
    }
}

/// Since when a log is switched off; `None` if it is not, or has been used by another server since.
fn switched_off(log: &Log) -> Option<UnixMs> {
    let since = log.manifest.live().find_map(|(_, entry)| entry.marks.off_since)?;
    let is_used = log.parts.iter().any(|part| {
        let marks = &part.source.marks;
        marks.end.is_some_and(|end| part.source.bytes > end)
    });
    (!is_used).then_some(since)
}

/// Whether a log was switched off and the snapshot is not older than that.
fn is_replaced(log: &Log, dump: &Dump) -> bool {
    let Some(off) = switched_off(log) else { return false };
    if let Some(stamp) = dump.stamp {
        return stamp > off;
    }
    match dump.created_s {
        // Snapshots of other servers tell their time in seconds: within the same one it decides when the file was begun. A
        // save that was under way when the log was switched off has not what the log had last.
        Some(seconds) if seconds == off.0.div_euclid(1000) => dump.begun >= off,
        _ => dump.time() >= off,
    }
}

/// When something was written to a log for the last time.
fn log_time(log: &Log) -> Option<UnixMs> {
    log.parts.iter().filter(|part| part.source.bytes > 0).map(|part| part.time).max()
}

/// The log that is there, if there is one.
fn find_log(look: &Look, options: &RecoverOptions, notes: &mut Vec<Note>) -> Result<Option<Log>, Refusal> {
    let Some(manifest) = &look.manifest else {
        return match look.parts().any(|part| part.meta.bytes > 0) {
            true => headless(look, options, notes),
            false => Ok(single(look)),
        };
    };
    let manifest = manifest.as_ref().map_err(Clone::clone)?;
    if manifest.live().next().is_none() {
        return Ok(single(look));
    }
    if let (Some(base), true) = (&manifest.base, manifest.incr.is_empty())
        && base.name == options.filename.as_bytes()
        && look.file(&base.name).is_none()
        && look.single.is_some()
    {
        // Another start was interrupted when it had written the manifest and not yet moved the file.
        return Ok(single(look));
    }
    tell_orphans(look, manifest, notes);
    of_manifest(look, options, manifest.clone()).map(Some)
}

/// The log of one file as a log whose only part it is.
fn single(look: &Look) -> Option<Log> {
    let meta = look.single?;
    let name = look.single_path.file_name()?.as_encoded_bytes().to_vec();
    let mut manifest = look.retired();
    manifest.base_seq = 1;
    manifest.base = Some(entry(&name, 1));
    manifest.history.clear();
    let part = Part {
        source: file::Source { path: look.single_path.clone(), marks: Default::default(), bytes: meta.bytes },
        name,
        manifest_path: look.single_path.clone(),
        is_base: true,
        is_single: true,
        time: meta.modified,
    };
    Some(Log { manifest, parts: vec![part], is_single: true })
}

/// The parts that a manifest names.
fn of_manifest(look: &Look, options: &RecoverOptions, manifest: Manifest) -> Result<Log, Refusal> {
    let mut parts = Vec::new();
    let mut wrong = Vec::new();
    for (kind, entry) in manifest.live() {
        let shown = String::from_utf8_lossy(&entry.name);
        let Some(present) = look.file(&entry.name) else {
            wrong.push(format!(
                "Unable to obtain the AOF file {shown} length. stat: No such file or directory"
            ));
            continue;
        };
        let bytes = present.meta.bytes;
        let path = path_in(&options.aof_dir, &entry.name);
        match (entry.marks.size, entry.marks.end) {
            (Some(size), _) if size != bytes => {
                wrong.push(format!("{}: {bytes} bytes, and the manifest says {size}", path.display()));
            }
            (None, Some(end)) if bytes < end => {
                wrong
                    .push(format!("{}: {bytes} bytes, and the manifest says at least {end}", path.display()));
            }
            _ => {}
        }
        parts.push(Part {
            source: file::Source { path, marks: entry.marks, bytes },
            name: entry.name.clone(),
            manifest_path: look.manifest_path.clone(),
            is_base: kind == FileKind::Base,
            is_single: false,
            time: if kind == FileKind::Base { begun(&present.meta) } else { present.meta.modified },
        });
    }
    if !wrong.is_empty() {
        return Err(Refusal { lines: wrong, advice: look_at(&look.manifest_path) });
    }
    Ok(Log { manifest, parts, is_single: false })
}

/// Files of a log that no manifest names.
fn headless(look: &Look, options: &RecoverOptions, notes: &mut Vec<Note>) -> Result<Option<Log>, Refusal> {
    let is_filled = |name: &[u8]| look.file(name).is_some_and(|file| file.meta.bytes > 0);
    if let Some(unfinished) = &look.unfinished {
        let names: Vec<&[u8]> = unfinished.live().map(|(_, entry)| entry.name.as_slice()).collect();
        let is_of_it = look.parts().all(|part| names.contains(&part.name.as_slice()));
        if is_of_it && names.iter().all(|name| look.file(name).is_some()) {
            notes.push(warning(
                "The making of the AOF was interrupted when its files were there: it is finished".into(),
            ));
            return of_manifest(look, options, unfinished.clone()).map(Some);
        }
        if is_of_it {
            notes.push(warning(
                "The making of the AOF was interrupted: what there is of it is not used".into(),
            ));
            return Ok(single(look));
        }
    }
    let (mut bases, mut incrs) = (Vec::new(), Vec::new());
    for part in look.parts() {
        match part_of(&part.name) {
            Some((FileKind::Base, seq)) => bases.push(entry(&part.name, seq)),
            Some((_, seq)) => incrs.push(entry(&part.name, seq)),
            None => bases.push(entry(&part.name, 1)),
        }
    }
    let has_commands = incrs.iter().any(|incr| is_filled(&incr.name));
    if let (1, false, None) = (bases.len(), has_commands, &look.single) {
        incrs.sort_by_key(|incr| incr.seq);
        let mut manifest = Manifest { base: bases.pop(), incr: incrs, ..Manifest::default() };
        manifest.base_seq = manifest.base.as_ref().map_or(0, |base| base.seq);
        manifest.incr_seq = manifest.incr.last().map_or(0, |incr| incr.seq);
        notes.push(warning(format!(
            "There is no manifest in {}, but a base and nothing after it: it is loaded",
            options.aof_dir.display()
        )));
        return of_manifest(look, options, manifest).map(Some);
    }
    let names: Vec<_> = look.parts().map(|part| String::from_utf8_lossy(&part.name)).collect();
    let line = format!(
        "Fatal error: {} AOF files but no manifest in {}: {}",
        names.len(),
        options.aof_dir.display(),
        names.join(", ")
    );
    let (manifest, folder) = (look.manifest_path.display(), options.aof_dir.display());
    let advice = format!(
        "No file was changed. Put {manifest} back, or have it made anew from the files: 'aof-tools repair {folder}' \
         tells how, with --in-place it does so. 'aof-tools check {folder}' looks at the files."
    );
    Err(Refusal::new(line, advice))
}

fn tell_orphans(look: &Look, manifest: &Manifest, notes: &mut Vec<Note>) {
    for part in look.parts() {
        if !manifest.entries().any(|(_, entry)| entry.name == part.name) {
            let name = String::from_utf8_lossy(&part.name);
            notes.push(notice(format!("The AOF file {name} is not in the manifest and is not read")));
        }
    }
}
