//! `aof-tools info`: what a log consists of, without reading it.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use anyhow::{Context, bail};
use cairn_engine::codec::aof::manifest::{FileKind, Manifest, Marks};
use cairn_engine::codec::aof::record::timestamp;
use cairn_engine::codec::aof::{block, starts_with_rdb};
use clap::Args;
use rdb_tools::cmd::{Reading, info};
use rdb_tools::fold::reserve::log_end;
use rdb_tools::json;
use rdb_tools::output::{Shown, exit, stdout};

use crate::set::{self, Log, Member, folder_of, name_of};
use crate::time;

/// Show what an append only file consists of, without reading it all
///
/// Files with their roles and sizes, what the head of an RDB base says, the first and the last timestamp
/// where they stand near the ends of a file, and whether there are checksums. Takes milliseconds whatever the
/// size; 'check' reads everything.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 if all files are there, 1 if something is missing or cannot be \
                        understood, 2 for other trouble.")]
pub(crate) struct Info {
    /// Manifest, its folder, a server's data folder, or a single file
    path: PathBuf,

    /// Print one JSON object a line for each log
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    reading: Reading,
}

/// How far from the ends of a file something is looked for.
const LOOKED_AT: usize = 256 << 10;

/// Runs the subcommand.
///
/// # Errors
/// What keeps it from reading or writing.
pub(crate) fn run(args: &Info) -> anyhow::Result<u8> {
    if args.path.as_os_str() == "-" {
        bail!("both ends of a file are looked at, so standard input will not do");
    }
    let mut out = stdout();
    let mut code = exit::CLEAN;
    for log in set::find(&args.path)? {
        let facts = look(&log, args.reading)?;
        if !facts.problems.is_empty() || facts.parts.iter().any(Part::is_bad) {
            code = exit::FINDINGS;
        }
        let text = if args.json { as_json(&facts) } else { as_text(&facts) };
        out.write_all(&text).and_then(|()| out.flush()).context("writing")?;
    }
    Ok(code)
}

/// What is known of a log.
struct Facts {
    path: PathBuf,
    /// `manifest`, `single` or `headless`.
    kind: &'static str,
    /// Whether the manifest has a sum that fits.
    is_checked: bool,
    /// Files that a rewrite has replaced and that are still named.
    history: usize,
    problems: Vec<String>,
    parts: Vec<Part>,
}

/// What is known of a file.
struct Part {
    name: Vec<u8>,
    role: &'static str,
    seq: i64,
    /// `None` if the file is not there.
    bytes: Option<u64>,
    /// Bytes of the reserve behind the log.
    reserve: u64,
    /// `rdb`, `rdb+commands`, `commands`, `empty`, `unknown`.
    content: &'static str,
    /// What the head of the RDB file says, as text and as a JSON object.
    rdb: Option<(Vec<u8>, Vec<u8>, bool)>,
    marks: Marks,
    has_blocks: bool,
    first_time: Option<i64>,
    last_time: Option<i64>,
}

impl Part {
    fn is_bad(&self) -> bool {
        self.bytes.is_none() || self.content == "unknown" || self.rdb.as_ref().is_some_and(|(.., bad)| *bad)
    }
}

fn look(log: &Log, reading: Reading) -> anyhow::Result<Facts> {
    let mut facts = Facts {
        path: log.path().to_owned(),
        kind: "single",
        is_checked: false,
        history: 0,
        problems: Vec::new(),
        parts: Vec::new(),
    };
    let members = match log {
        Log::Single(path) => vec![set::single_member(path)],
        Log::Headless(folder, parts) => {
            facts.kind = "headless";
            facts.problems.push(
                "there is no manifest: servers start empty and write over these files; 'aof-tools repair' can \
                 make one"
                    .to_owned(),
            );
            set::headless_members(folder, parts)
        }
        Log::Manifest(path) => {
            facts.kind = "manifest";
            match Manifest::parse(&set::read_manifest(path)?) {
                Ok(manifest) => {
                    facts.is_checked = manifest.is_checked;
                    facts.history = manifest.entries().filter(|(kind, _)| *kind == FileKind::History).count();
                    set::members(folder_of(path), &manifest)
                }
                Err(error) => {
                    facts.problems.push(format!("the manifest cannot be used: {error}"));
                    let names = set::names_in(folder_of(path))?;
                    let stem = name_of(path);
                    let stem = stem.strip_suffix(b".manifest").unwrap_or(stem);
                    let is_part =
                        |name: &&Vec<u8>| set::PartName::parse(name).is_some_and(|part| part.stem == stem);
                    let parts: Vec<_> = names.iter().filter(is_part).cloned().collect();
                    set::headless_members(folder_of(path), &parts)
                }
            }
        }
    };
    for member in &members {
        facts.parts.push(look_at(member, reading)?);
    }
    Ok(facts)
}

fn look_at(member: &Member, reading: Reading) -> anyhow::Result<Part> {
    let mut part = Part {
        name: member.name.clone(),
        role: member.role.name(),
        seq: member.seq,
        bytes: None,
        reserve: 0,
        content: "unknown",
        rdb: None,
        marks: member.marks,
        has_blocks: member.marks.blocks.is_some(),
        first_time: None,
        last_time: None,
    };
    if member.path.as_os_str() != "-" && !member.path.exists() {
        return Ok(part);
    }
    let mut input = reading.open(&member.path)?;
    input.fill(LOOKED_AT as u64).with_context(|| member.path.display().to_string())?;
    let head = &input.bytes()[..input.bytes().len().min(LOOKED_AT)];
    part.bytes = Some(input.len().unwrap_or(head.len() as u64));
    part.content = match head.first() {
        None => "empty",
        Some(_) if starts_with_rdb(head) => "rdb",
        Some(b'*' | b'#') => "commands",
        Some(_) => "unknown",
    };
    if part.content == "commands" {
        part.has_blocks = part.has_blocks || block::is_line(head);
        part.first_time = times(head).next();
    }
    let (tail, reserve) = tail_of(member, &input, part.has_blocks);
    part.reserve = reserve;
    if part.content == "commands" && part.bytes == Some(reserve) {
        part.content = "empty";
    }
    part.last_time = times(&tail).last();
    if part.content == "rdb" {
        // Commands end in CR LF, an RDB file in its checksum: an accident of one in 65,536.
        let has_commands = part.last_time.is_some() || tail.ends_with(b"\r\n");
        if has_commands && member.role == set::Role::Single {
            part.content = "rdb+commands";
        } else {
            part.last_time = None;
        }
        let text = info::describe(&mut reading.open(&member.path)?, &member.path, false)?;
        let json = info::describe(&mut reading.open(&member.path)?, &member.path, true)?;
        let mut object = json.0;
        if has_commands && let Ok(serde_json::Value::Object(mut facts)) = serde_json::from_slice(&object) {
            // What stands at the end of the file is not the end of the RDB file in it.
            facts.remove("checksum");
            facts.remove("bytes");
            object = serde_json::Value::Object(facts).to_string().into_bytes();
        }
        part.rdb = Some((text.0, object, text.1));
    }
    Ok(part)
}

/// The end of a log in a file, and the bytes of the reserve behind it; nothing if it cannot be had without reading
/// the file.
fn tail_of(member: &Member, input: &rdb_tools::input::Input, has_blocks: bool) -> (Vec<u8>, u64) {
    let read = || {
        let file = File::open(&member.path).ok()?;
        let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        if input.len() != Some(metadata.len()) {
            return None;
        }
        let end = log_end(&file, metadata.len(), has_blocks).ok()?;
        let len = end.min(LOOKED_AT as u64);
        let mut tail = vec![0; len as usize];
        file.read_exact_at(&mut tail, end - len).ok()?;
        Some((tail, metadata.len() - end))
    };
    read().unwrap_or_default()
}

/// The timestamps in these bytes, which need not start where a record does.
fn times(bytes: &[u8]) -> impl Iterator<Item = i64> + '_ {
    memchr::memmem::find_iter(bytes, b"#TS:").filter_map(|at| {
        // A record ends in CR LF, and the reserve that another server has appended something behind in "=\n".
        let before = &bytes[..at];
        let is_start = at == 0 || before.ends_with(b"\r\n") || before.ends_with(b"=\n");
        let line = &bytes[at + 1..];
        let end = memchr::memmem::find(&line[..line.len().min(64)], b"\r\n")?;
        timestamp(&line[..end]).filter(|_| is_start)
    })
}

fn as_text(facts: &Facts) -> Vec<u8> {
    let mut out = format!("{}\n", facts.path.display());
    let kind = match facts.kind {
        "manifest" if facts.is_checked => "in parts, by a manifest with a checksum",
        "manifest" => "in parts, by a manifest",
        "headless" => "in parts, without a manifest",
        _ => "in one file",
    };
    out.push_str(&format!("  log: {kind}\n"));
    for problem in &facts.problems {
        out.push_str(&format!("  problem: {}\n", rdb_tools::output::clean(problem)));
    }
    let known: Vec<u64> = facts.parts.iter().filter_map(|part| part.bytes).collect();
    out.push_str(&format!("  bytes: {} in {} files\n", known.iter().sum::<u64>(), known.len()));
    if facts.history > 0 {
        out.push_str(&format!("  replaced files still named: {}\n", facts.history));
    }
    for part in &facts.parts {
        out.push_str(&format!("{}\n  role: {}", Shown(&part.name), part.role));
        if part.seq > 0 {
            out.push_str(&format!(", number {}", part.seq));
        }
        out.push('\n');
        let Some(bytes) = part.bytes else {
            out.push_str("  problem: it is not there\n");
            continue;
        };
        out.push_str(&format!("  bytes: {bytes}\n"));
        if part.reserve > 0 {
            out.push_str(&format!("  reserve: {}\n", part.reserve));
        }
        out.push_str(&format!("  content: {}\n", part.content));
        for (name, time) in [("first timestamp", part.first_time), ("last timestamp", part.last_time)] {
            if let Some(time) = time {
                out.push_str(&format!("  {name}: {} ({time})\n", time::shown(time)));
            }
        }
        let checks = checks(part);
        if !checks.is_empty() {
            out.push_str(&format!("  checksums: {}\n", checks.join(", ")));
        }
        if let Some((text, ..)) = &part.rdb {
            let text = String::from_utf8_lossy(text);
            // The first line is the path, and the size has been told.
            let is_whole = part.content == "rdb";
            let is_of_file = |line: &&str| line.starts_with("  bytes:") || line.starts_with("  checksum:");
            for line in text
                .lines()
                .skip(1)
                .filter(|line| !line.starts_with("  bytes:") && (is_whole || !is_of_file(line)))
            {
                out.push_str(&format!("  rdb {}\n", line.trim_start()));
            }
        }
    }
    out.into_bytes()
}

/// What checksums there are for a file, in words.
fn checks(part: &Part) -> Vec<&'static str> {
    let all = [
        (part.has_blocks, "of each block"),
        (part.marks.crc64.is_some(), "of the closed file, in the manifest"),
        (part.marks.end.is_some(), "its length at the last shutdown, in the manifest"),
    ];
    all.into_iter().filter(|(is_there, _)| *is_there).map(|(_, words)| words).collect()
}

fn as_json(facts: &Facts) -> Vec<u8> {
    let mut out = b"{".to_vec();
    json::push_name(&mut out, "log");
    json::push_text(&mut out, &facts.path.to_string_lossy());
    json::push_name(&mut out, "kind");
    json::push_text(&mut out, facts.kind);
    json::push_name(&mut out, "checked_manifest");
    out.extend_from_slice(facts.is_checked.to_string().as_bytes());
    json::push_name(&mut out, "history");
    json::push_u64(&mut out, facts.history as u64);
    json::push_name(&mut out, "problems");
    json::push_array(&mut out, &facts.problems, |out, problem| json::push_text(out, problem));
    json::push_name(&mut out, "files");
    json::push_array(&mut out, &facts.parts, |out, part| {
        out.push(b'{');
        json::push_name(out, "file");
        json::push_bytes(out, &part.name);
        json::push_name(out, "role");
        json::push_text(out, part.role);
        if part.seq > 0 {
            json::push_name(out, "seq");
            json::push_i64(out, part.seq);
        }
        json::push_name(out, "missing");
        out.extend_from_slice(part.bytes.is_none().to_string().as_bytes());
        if let Some(bytes) = part.bytes {
            json::push_name(out, "bytes");
            json::push_u64(out, bytes);
            json::push_name(out, "reserve");
            json::push_u64(out, part.reserve);
            json::push_name(out, "content");
            json::push_text(out, part.content);
        }
        for (name, time) in [("first_time", part.first_time), ("last_time", part.last_time)] {
            if let Some(time) = time {
                json::push_name(out, name);
                json::push_i64(out, time);
            }
        }
        json::push_name(out, "blocks");
        out.extend_from_slice(part.has_blocks.to_string().as_bytes());
        for (name, value) in [("size", part.marks.size), ("end", part.marks.end)] {
            if let Some(value) = value {
                json::push_name(out, name);
                json::push_u64(out, value);
            }
        }
        if let Some(sum) = part.marks.crc64 {
            json::push_name(out, "crc64");
            json::push_text(out, &format!("{sum:016x}"));
        }
        if let Some((_, object, _)) = &part.rdb {
            json::push_name(out, "rdb");
            out.extend_from_slice(object.trim_ascii_end());
        }
        out.push(b'}');
    });
    out.extend_from_slice(b"}\n");
    out
}
