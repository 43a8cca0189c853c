//! `aof-tools repair`: what can be made of a damaged log.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use cairn_engine::codec::aof::manifest::{self as aof_manifest, Manifest};
use clap::Args;
use rdb_tools::cmd::Reading;
use rdb_tools::json;
use rdb_tools::output::{Shown, exit, stdout};

use crate::blocks::differs_from;
use crate::repair::holders::{self, Unseen};
use crate::repair::manifest::{Rebuilt, Told, has_blocks, manifest_of, rebuild};
use crate::repair::plan::{FilePlan, Rules, plan};
use crate::repair::write::{copy, sum_of, write};
use crate::set::{self, Log, Member, folder_of, name_of, names_in};
use crate::vocabulary::Vocabulary;

/// Make a damaged append only file one that servers load
///
/// Without -o or --in-place it only says what it would do. Any file of a log is repaired, not only the last:
/// behind damage it goes on with the next command (or the next block whose checksum fits, of logs that Cairn
/// wrote). A transaction without its end is dropped whole, and so are commands that no server could run. A
/// manifest that is lost or damaged is made anew from the files. All that is dropped is told.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 if nothing is wrong or all of it was repaired, 1 if something is wrong and was not \
                        repaired (nothing is written then), 2 for other trouble."
)]
pub(crate) struct Repair {
    /// Manifest, its folder, a server's data folder, or a single file
    path: PathBuf,

    /// Write the repaired log here: a new folder for a log in parts, a new file for one in a file
    #[arg(long, short, value_name = "NEW", conflicts_with = "in_place")]
    output: Option<PathBuf>,

    /// Change the files themselves, after a question; what is cut out is kept in FILE.cut-OFFSET
    #[arg(long)]
    in_place: bool,

    /// With --in-place: do not ask
    #[arg(long, short, requires = "in_place")]
    yes: bool,

    /// Repair nothing if more bytes than this would be dropped
    #[arg(long, value_name = "BYTES")]
    max_loss: Option<u64>,

    /// Keep commands whose names nobody knows
    #[arg(long)]
    keep_unknown: bool,

    /// Keep what can be read of blocks and files whose checksums do not fit: a value may be wrong then
    #[arg(long)]
    keep_unsure: bool,

    /// Do with the keys that can be read in a damaged RDB base
    #[arg(long)]
    salvage: bool,

    /// Without a manifest: the base
    #[arg(long, value_name = "NAME")]
    base: Option<OsString>,

    /// Without a manifest: the number of the first increment behind the base
    #[arg(long, value_name = "N")]
    first_incr: Option<i64>,

    /// Without a manifest: what the names of the log's files start with
    #[arg(long, value_name = "NAME")]
    stem: Option<OsString>,

    /// Do without files, and ends of files, that are not there: their commands are lost
    #[arg(long)]
    without_missing: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    reading: Reading,
}

/// What is to be done with a log.
struct Whole {
    path: PathBuf,
    folder: PathBuf,
    files: Vec<FilePlan>,
    manifest: ManifestPlan,
    notes: Vec<String>,
    /// What keeps the log from being repaired.
    obstacles: Vec<String>,
}

/// What is to be done with the manifest.
enum ManifestPlan {
    /// There is none, and need not be.
    None,
    /// It stays, but for what it says of files that change.
    Kept { name: Vec<u8>, text: Vec<u8>, manifest: Box<Manifest> },
    /// It is made anew.
    New { name: Vec<u8>, why: String, is_checked: bool },
}

impl Whole {
    fn lost(&self) -> u64 {
        self.files.iter().map(FilePlan::lost).sum()
    }

    /// Whether nothing has to be done.
    fn is_right(&self) -> bool {
        !matches!(self.manifest, ManifestPlan::New { .. })
            && self.obstacles.is_empty()
            && self.files.iter().all(|file| file.is_right() && file.differs.is_none())
    }
}

/// Runs the subcommand.
///
/// # Errors
/// What keeps it from reading or writing.
pub(crate) fn run(args: &Repair) -> anyhow::Result<u8> {
    let logs = set::find(&args.path)?;
    let [log] = &logs[..] else {
        bail!("{}: {} logs are there; give the manifest of one", args.path.display(), logs.len());
    };
    let mut whole = look(log, args)?;
    let lost = whole.lost();
    if let Some(most) = args.max_loss.filter(|most| lost > *most) {
        whole.obstacles.push(format!("{lost} bytes would be dropped, and --max-loss is {most}"));
    }
    let mut out = stdout();
    if !args.json {
        out.write_all(&as_text(&whole)).and_then(|()| out.flush()).context("writing")?;
    }
    let done = match () {
        () if !whole.obstacles.is_empty() => Done::No,
        () if args.output.is_some() => copy_repaired(&whole, args)?,
        () if whole.is_right() => Done::NotNeeded,
        () if args.in_place => in_place(&whole, args, &mut out)?,
        () => Done::Dry,
    };
    match args.json {
        true => out.write_all(&as_json(&whole, &done)).context("writing")?,
        false => writeln!(out, "{}", say(&whole, &done, args)).context("writing")?,
    }
    out.flush().context("writing")?;
    Ok(match done {
        Done::NotNeeded | Done::Written(_) | Done::InPlace(_) => exit::CLEAN,
        Done::Dry | Done::No | Done::Declined => exit::FINDINGS,
    })
}

/// How it ended.
enum Done {
    NotNeeded,
    Dry,
    No,
    Declined,
    Written(PathBuf),
    /// What was cut out is in these files.
    InPlace(Vec<PathBuf>),
}

fn look(log: &Log, args: &Repair) -> anyhow::Result<Whole> {
    let told = Told {
        base: args.base.as_ref().map(|name| name.as_bytes().to_vec()),
        first_incr: args.first_incr,
        stem: args.stem.as_ref().map(|name| name.as_bytes().to_vec()),
        without_missing: args.without_missing,
    };
    let path = log.path().to_owned();
    let mut whole = Whole {
        folder: folder_of(&path).to_owned(),
        path,
        files: Vec::new(),
        manifest: ManifestPlan::None,
        notes: Vec::new(),
        obstacles: Vec::new(),
    };
    let members = match log {
        Log::Single(path) => vec![set::single_member(path)],
        Log::Headless(folder, parts) => {
            whole.folder.clone_from(folder);
            take(&mut whole, rebuild(folder, parts, &told, args.reading), "there is none".to_owned(), false)
        }
        Log::Manifest(path) => {
            let text = set::read_manifest(path)?;
            match Manifest::parse(&text) {
                Ok(manifest) => of_manifest(&mut whole, path, text, manifest, &told),
                Err(error) => {
                    let name = name_of(path);
                    let stem = name.strip_suffix(aof_manifest::SUFFIX.as_bytes()).unwrap_or(name).to_vec();
                    let told = Told { stem: told.stem.clone().or(Some(stem)), ..told };
                    let rebuilt = rebuild(folder_of(path), &names_in(folder_of(path))?, &told, args.reading);
                    let is_ours = memchr::memmem::find(&text, b" cairn ").is_some();
                    take(&mut whole, rebuilt, error.to_string(), is_ours)
                }
            }
        }
    };
    let vocabulary = Vocabulary::new();
    let rules =
        Rules { keep_unknown: args.keep_unknown, keep_unsure: args.keep_unsure, salvage: args.salvage };
    for member in &members {
        let file = plan(member, args.reading, &vocabulary, rules)?;
        if let Some(what) = &file.obstacle {
            whole.obstacles.push(format!("{}: {what}", Shown(&member.name)));
        }
        whole.files.push(file);
    }
    compare(&mut whole, args)?;
    let is_ours = whole.files.iter().any(|file| file.has_blocks);
    if let ManifestPlan::New { is_checked, .. } = &mut whole.manifest {
        *is_checked |= is_ours;
    }
    Ok(whole)
}

/// Compares files of which nothing has to go with what a checked manifest says of them: bytes may be gone
/// where a block ends, or have changed where there are no blocks.
fn compare(whole: &mut Whole, args: &Repair) -> anyhow::Result<()> {
    let Whole { files, manifest, notes, obstacles, .. } = whole;
    if !matches!(manifest, ManifestPlan::Kept { manifest, .. } if manifest.is_checked) {
        return Ok(());
    }
    for file in files.iter_mut().filter(|file| file.is_right() && file.obstacle.is_none()) {
        let marks = &file.member.marks;
        let at = || file.member.path.display().to_string();
        let sum = match marks.crc64.filter(|_| marks.size == Some(file.bytes)) {
            Some(_) => {
                Some(sum_of(&File::open(&file.member.path).with_context(at)?, file.bytes).with_context(at)?)
            }
            None => None,
        };
        let Some(what) = differs_from(marks, file.bytes, file.bytes - file.log_end, sum) else { continue };
        let (is_allowed, way_out) = match marks.whole_to() {
            Some(size) if size > if marks.size.is_some() { file.bytes } else { file.log_end } => {
                (args.without_missing, "get them back, or say --without-missing")
            }
            Some(size) if size < file.bytes => (true, ""),
            _ => (args.keep_unsure, "a value may be wrong; say --keep-unsure to keep it so"),
        };
        let told = format!("{}: {what}", Shown(&file.member.name));
        match is_allowed {
            true => notes.push(format!("{told}; the manifest is put right")),
            false => obstacles.push(format!("{told}: {way_out}")),
        }
        file.differs = Some(what);
    }
    Ok(())
}

/// Takes the files of a log without a manifest.
fn take(whole: &mut Whole, rebuilt: Rebuilt, why: String, is_checked: bool) -> Vec<Member> {
    let name = [&rebuilt.stem[..], aof_manifest::SUFFIX.as_bytes()].concat();
    whole.manifest = ManifestPlan::New { name, why, is_checked };
    whole.notes.extend(rebuilt.notes);
    whole.obstacles.extend(rebuilt.doubts);
    rebuilt.members
}

/// Takes the files that a manifest names.
fn of_manifest(
    whole: &mut Whole,
    path: &Path,
    text: Vec<u8>,
    manifest: Manifest,
    told: &Told,
) -> Vec<Member> {
    let mut members = set::members(folder_of(path), &manifest);
    let missing: Vec<Vec<u8>> =
        members.iter().filter(|m| !m.path.is_file()).map(|member| member.name.clone()).collect();
    let name = name_of(path).to_vec();
    if missing.is_empty() {
        whole.manifest = ManifestPlan::Kept { name, text, manifest: Box::new(manifest) };
        return members;
    }
    let names: Vec<String> = missing.iter().map(|name| Shown(name).to_string()).collect();
    let what = format!("the manifest names files that are not there: {}", names.join(", "));
    if told.without_missing {
        whole.notes.push(what.clone());
    } else {
        whole
            .obstacles
            .push(format!("{what}: put them back, or say --without-missing to do without their commands"));
    }
    members.retain(|member| !missing.contains(&member.name));
    if let Some(last) = members.last_mut() {
        last.is_last = true;
    }
    whole.manifest = ManifestPlan::New { name, why: what, is_checked: manifest.is_checked };
    members
}

/// The manifest's name and text after the files have been written as `written` says.
fn new_manifest(whole: &Whole, written: &[(u64, u64, bool)]) -> Option<(Vec<u8>, Vec<u8>)> {
    let members: Vec<Member> = whole.files.iter().map(|file| file.member.clone()).collect();
    match &whole.manifest {
        ManifestPlan::None => None,
        ManifestPlan::New { name, is_checked, .. } => {
            Some((name.clone(), manifest_of(&members, written, *is_checked)))
        }
        ManifestPlan::Kept { name, text, manifest } => {
            let mut manifest = manifest.clone();
            if !manifest.is_checked {
                return Some((name.clone(), text.clone()));
            }
            let entries = manifest.base.iter_mut().chain(&mut manifest.incr);
            for (entry, (file, (bytes, sum, _))) in entries.zip(whole.files.iter().zip(written)) {
                if file.is_right() && file.differs.is_none() && *bytes == file.bytes {
                    continue;
                }
                entry.marks.size = entry.marks.size.map(|_| *bytes);
                entry.marks.crc64 = entry.marks.crc64.map(|_| *sum);
                entry.marks.end = entry.marks.end.map(|_| *bytes);
            }
            Some((name.clone(), manifest.format_checked()))
        }
    }
}

/// Writes a repaired copy.
fn copy_repaired(whole: &Whole, args: &Repair) -> anyhow::Result<Done> {
    let Some(goal) = args.output.clone() else { return Ok(Done::No) };
    let at = || goal.display().to_string();
    if matches!(whole.manifest, ManifestPlan::None) {
        if goal.exists() {
            bail!("{}: is there already", at());
        }
        let Some(file) = whole.files.first() else { return Ok(Done::No) };
        let mut temp =
            tempfile::Builder::new().prefix(".aof-tools.").tempfile_in(folder_of(&goal)).with_context(at)?;
        write(file, temp.as_file_mut()).with_context(at)?;
        temp.as_file().sync_all().with_context(at)?;
        set_mode(temp.path(), &file.member.path).with_context(at)?;
        temp.persist_noclobber(&goal).map_err(|error| error.error).with_context(at)?;
        sync_folder(folder_of(&goal)).with_context(at)?;
        return Ok(Done::Written(goal));
    }
    let is_free = match fs::read_dir(&goal) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(error).with_context(at),
    };
    if !is_free {
        bail!("{}: is there already and not empty", at());
    }
    let folder =
        tempfile::Builder::new().prefix(".aof-tools.").tempdir_in(folder_of(&goal)).with_context(at)?;
    let mut written = Vec::new();
    for file in &whole.files {
        let path = folder.path().join(OsString::from_vec(file.member.name.clone()));
        let mut out = File::create_new(&path).with_context(|| path.display().to_string())?;
        let done = write(file, &mut out).with_context(|| file.member.path.display().to_string())?;
        out.sync_all().with_context(|| path.display().to_string())?;
        set_mode(&path, &file.member.path).with_context(at)?;
        written.push((done.bytes, done.sum, has_blocks(&path)));
    }
    if let Some((name, text)) = new_manifest(whole, &written) {
        write_file(&folder.path().join(OsString::from_vec(name)), &text).with_context(at)?;
    }
    set_mode(folder.path(), &whole.folder).with_context(at)?;
    sync_folder(folder.path()).with_context(at)?;
    fs::rename(folder.path(), &goal).with_context(at)?;
    // It has its name now, and nothing is there to be removed.
    let _ = folder.keep();
    sync_folder(folder_of(&goal)).with_context(at)?;
    Ok(Done::Written(goal))
}

/// The same permissions as another file has.
fn set_mode(path: &Path, like: &Path) -> io::Result<()> {
    fs::set_permissions(path, fs::metadata(like)?.permissions())
}

fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Changes the files themselves.
fn in_place(whole: &Whole, args: &Repair, out: &mut dyn Write) -> anyhow::Result<Done> {
    let _locks = lock(&whole.folder)?;
    refuse_held(whole)?;
    if !args.yes {
        write!(out, "Change these files? [y/N]: ").and_then(|()| out.flush()).context("writing")?;
        let mut answer = [0];
        let answered = io::stdin().read(&mut answer).unwrap_or(0);
        if answered == 0 || !answer[0].eq_ignore_ascii_case(&b'y') {
            return Ok(Done::Declined);
        }
    }
    // What is cut out is safe before anything changes.
    let mut saved = Vec::new();
    for file in &whole.files {
        for drop in &file.drops {
            saved.push(save(file, drop.from, drop.to, &format!(".cut-{}", drop.from))?);
        }
        if file.salvaged.is_some() {
            saved.push(save(file, 0, file.bytes, ".damaged")?);
        }
    }
    sync_folder(&whole.folder).with_context(|| whole.folder.display().to_string())?;
    // Then everything is written beside, and then each file gets its name.
    let (mut temps, mut cuts) = (Vec::new(), Vec::new());
    let mut written = Vec::new();
    let needs_sum = match &whole.manifest {
        ManifestPlan::New { is_checked, .. } => *is_checked,
        ManifestPlan::Kept { manifest, .. } => manifest.is_checked,
        ManifestPlan::None => false,
    };
    for file in &whole.files {
        let path = &file.member.path;
        let at = || path.display().to_string();
        if let Some(len) = file.cut_at().filter(|_| !needs_sum) {
            written.push((len, 0, false));
            cuts.push((path, len));
            continue;
        }
        if file.is_right() {
            // What is told of it anew is told without a reserve.
            let is_told = matches!(whole.manifest, ManifestPlan::New { .. }) || file.differs.is_some();
            let bytes = if is_told { file.log_end } else { file.bytes };
            let sum = if needs_sum {
                sum_of(&File::open(path).with_context(at)?, bytes).with_context(at)?
            } else {
                0
            };
            written.push((bytes, sum, has_blocks(path)));
            if bytes < file.bytes {
                cuts.push((path, bytes));
            }
            continue;
        }
        let mut temp =
            tempfile::Builder::new().prefix("temp-repair-").tempfile_in(folder_of(path)).with_context(at)?;
        let done = write(file, temp.as_file_mut()).with_context(at)?;
        temp.as_file().sync_all().with_context(at)?;
        set_mode(temp.path(), path).with_context(at)?;
        written.push((done.bytes, done.sum, has_blocks(temp.path())));
        temps.push((temp, path));
    }
    let manifest = new_manifest(whole, &written);
    for (path, len) in cuts {
        let at = || path.display().to_string();
        let file = File::options().write(true).open(path).with_context(at)?;
        file.set_len(len).and_then(|()| file.sync_all()).with_context(at)?;
    }
    for (temp, path) in temps {
        temp.persist(path).map_err(|error| error.error).with_context(|| path.display().to_string())?;
    }
    if let Some((name, text)) = manifest {
        replace_manifest(whole, &name, &text)?;
    }
    sync_folder(&whole.folder).with_context(|| whole.folder.display().to_string())?;
    Ok(Done::InPlace(saved))
}

fn replace_manifest(whole: &Whole, name: &[u8], text: &[u8]) -> anyhow::Result<()> {
    let path = whole.folder.join(OsString::from_vec(name.to_vec()));
    let at = || path.display().to_string();
    let old = fs::read(&path).ok();
    if old.as_deref() == Some(text) {
        return Ok(());
    }
    if let (Some(old), ManifestPlan::New { .. }) = (&old, &whole.manifest) {
        let beside = free_name(&path, ".damaged");
        write_file(&beside, old).with_context(|| beside.display().to_string())?;
    }
    let mut temp =
        tempfile::Builder::new().prefix("temp-repair-").tempfile_in(&whole.folder).with_context(at)?;
    temp.write_all(text).with_context(at)?;
    temp.as_file().sync_all().with_context(at)?;
    if let Some(file) = whole.files.first() {
        set_mode(temp.path(), &file.member.path).with_context(at)?;
    }
    temp.persist(&path).map_err(|error| error.error).with_context(at)?;
    Ok(())
}

/// Keeps bytes that are cut out of a file beside it.
fn save(file: &FilePlan, from: u64, to: u64, suffix: &str) -> anyhow::Result<PathBuf> {
    let path = free_name(&file.member.path, suffix);
    let at = || path.display().to_string();
    let source = File::open(&file.member.path).with_context(at)?;
    let mut out = File::create_new(&path).with_context(at)?;
    copy(&source, from, to, &mut out).with_context(at)?;
    out.sync_all().with_context(at)?;
    Ok(path)
}

/// A name that nobody has: with a number behind it if there has to be one.
fn free_name(path: &Path, suffix: &str) -> PathBuf {
    let with = |more: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        name.push(more);
        PathBuf::from(name)
    };
    let first = with("");
    if !first.exists() {
        return first;
    }
    (2..).map(|i| with(&format!(".{i}"))).find(|path| !path.exists()).unwrap_or(first)
}

/// Makes sure that no server that locks its folder has this one, or the one around it.
fn lock(folder: &Path) -> anyhow::Result<Vec<File>> {
    let mut locks = Vec::new();
    let around = folder.canonicalize().ok().and_then(|folder| folder.parent().map(Path::to_owned));
    for (folder, is_its_own) in [(Some(folder), true), (around.as_deref(), false)] {
        let Some((folder, file)) = folder.and_then(|f| Some((f, File::open(f).ok()?))) else { continue };
        // Others may repair what lies beside it: only a server is to be kept out of the folder around.
        match if is_its_own { file.try_lock() } else { file.try_lock_shared() } {
            Ok(()) => locks.push(file),
            Err(fs::TryLockError::WouldBlock) => {
                bail!("{}: a server has this folder; stop it first", folder.display());
            }
            // Some file systems have no locks.
            Err(fs::TryLockError::Error(_)) => {}
        }
    }
    Ok(locks)
}

/// Makes sure that no process has the files open to write to them, as far as that can be known.
fn refuse_held(whole: &Whole) -> anyhow::Result<()> {
    let files: Vec<_> = whole.files.iter().map(|file| file.member.path.as_path()).collect();
    let search = holders::of(&files);
    if let Some(holder) = search.found.first() {
        let (path, pid, name) = (holder.path.display(), holder.pid, Shown(holder.name.as_bytes()));
        bail!("{path}: process {pid} ({name}) has this file open for writing; stop it first");
    }
    let unknown = match search.unseen {
        Unseen::Nothing => return Ok(()),
        Unseen::Processes(1) => "1 process does not let others see its files".to_owned(),
        Unseen::Processes(n) => format!("{n} processes do not let others see their files"),
        Unseen::Everything => "the system does not tell who has files open".to_owned(),
    };
    let at = whole.folder.display();
    writeln!(io::stderr(), "aof-tools: {at}: {unknown}: make sure that no server is running on this log")
        .context("writing")
}

/// What is wrong and what would be done, for people.
fn as_text(whole: &Whole) -> Vec<u8> {
    let mut out = String::new();
    if let ManifestPlan::New { name, why, .. } = &whole.manifest {
        out.push_str(&format!("{}: is made anew: {}\n", Shown(name), rdb_tools::output::clean(why)));
        for file in &whole.files {
            out.push_str(&format!("  {} {}\n", file.member.role.name(), Shown(&file.member.name)));
        }
    }
    for note in &whole.notes {
        out.push_str(&format!("note: {}\n", rdb_tools::output::clean(note)));
    }
    for file in &whole.files {
        if let Some(salvaged) = &file.salvaged {
            let name = Shown(&file.member.name);
            out.push_str(&format!(
                "{name}: {} keys come out of the damaged base; {} keys, {} bytes do not\n",
                salvaged.keys, salvaged.lost_keys, salvaged.lost_bytes
            ));
            for lost in &salvaged.lost {
                out.push_str(&format!("  - {lost}\n"));
            }
        }
        for drop in &file.drops {
            let bytes = drop.to - drop.from;
            out.push_str(&format!(
                "{}: offset {}: {bytes} bytes are dropped: {}\n",
                Shown(&file.member.name),
                drop.from,
                rdb_tools::output::clean(&drop.what)
            ));
            for command in &drop.commands {
                out.push_str(&format!("  - {command}\n"));
            }
            if drop.count > drop.commands.len() as u64 {
                out.push_str(&format!("  - and {} more commands\n", drop.count - drop.commands.len() as u64));
            }
            if let Some(db) = drop.select {
                out.push_str(&format!("  + SELECT {db}, for what follows\n"));
            }
        }
        if let Some(at) = file.seal_from {
            let name = Shown(&file.member.name);
            out.push_str(&format!(
                "{name}: offset {at}: a block ends inside a transaction: from here on blocks are made anew\n"
            ));
        }
        if !file.drops.is_empty() && file.start < file.bytes {
            let bytes = file.bytes - file.reserve();
            out.push_str(&format!(
                "{}: {} commands stay, {} of {bytes} bytes\n",
                Shown(&file.member.name),
                file.kept,
                bytes.saturating_sub(file.lost())
            ));
        }
    }
    for obstacle in &whole.obstacles {
        out.push_str(&format!("cannot be repaired so: {}\n", rdb_tools::output::clean(obstacle)));
    }
    out.into_bytes()
}

/// The last line.
fn say(whole: &Whole, done: &Done, args: &Repair) -> String {
    let path = whole.path.display();
    match done {
        Done::NotNeeded => format!("{path}: nothing has to be repaired"),
        Done::Dry => format!(
            "{path}: nothing was changed; {} bytes would be dropped. Write a repaired copy with -o NEW, or repair the \
             files themselves with --in-place",
            whole.lost()
        ),
        Done::No => format!("{path}: nothing was changed"),
        Done::Declined => "Nothing was changed".to_owned(),
        Done::Written(goal) => {
            let what = if args.output.is_some() && whole.is_right() {
                "nothing had to be repaired; the copy is"
            } else {
                "repaired"
            };
            format!("{path}: {what} in {}", goal.display())
        }
        Done::InPlace(saved) => {
            let names: Vec<String> = saved.iter().map(|path| path.display().to_string()).collect();
            match names.is_empty() {
                true => format!("{path}: repaired"),
                false => format!("{path}: repaired; what was cut out is in {}", names.join(", ")),
            }
        }
    }
}

fn as_json(whole: &Whole, done: &Done) -> Vec<u8> {
    let mut out = b"{".to_vec();
    json::push_name(&mut out, "log");
    json::push_text(&mut out, &whole.path.to_string_lossy());
    json::push_name(&mut out, "ok");
    out.extend_from_slice(whole.is_right().to_string().as_bytes());
    json::push_name(&mut out, "done");
    let (word, places): (&str, &[PathBuf]) = match done {
        Done::NotNeeded => ("not-needed", &[]),
        Done::Dry => ("dry-run", &[]),
        Done::No => ("refused", &[]),
        Done::Declined => ("declined", &[]),
        Done::Written(goal) => ("written", std::slice::from_ref(goal)),
        Done::InPlace(saved) => ("in-place", saved),
    };
    json::push_text(&mut out, word);
    json::push_name(&mut out, "paths");
    json::push_array(&mut out, places, |out, path| json::push_text(out, &path.to_string_lossy()));
    json::push_name(&mut out, "dropped_bytes");
    json::push_u64(&mut out, whole.lost());
    json::push_name(&mut out, "manifest");
    match &whole.manifest {
        ManifestPlan::New { why, .. } => {
            out.push(b'{');
            json::push_name(&mut out, "rebuilt");
            json::push_text(&mut out, why);
            out.push(b'}');
        }
        _ => out.extend_from_slice(b"null"),
    }
    for (name, texts) in [("notes", &whole.notes), ("obstacles", &whole.obstacles)] {
        json::push_name(&mut out, name);
        json::push_array(&mut out, texts, |out, text| json::push_text(out, text));
    }
    json::push_name(&mut out, "files");
    json::push_array(&mut out, &whole.files, |out, file| {
        out.push(b'{');
        json::push_name(out, "file");
        json::push_bytes(out, &file.member.name);
        json::push_name(out, "role");
        json::push_text(out, file.member.role.name());
        for (name, value) in [
            ("bytes", file.bytes),
            ("reserve", file.reserve()),
            ("commands", file.kept),
            ("dropped_bytes", file.lost()),
        ] {
            json::push_name(out, name);
            json::push_u64(out, value);
        }
        if let Some(salvaged) = &file.salvaged {
            for (name, value) in [("salvaged_keys", salvaged.keys), ("lost_keys", salvaged.lost_keys)] {
                json::push_name(out, name);
                json::push_u64(out, value);
            }
        }
        json::push_name(out, "drops");
        json::push_array(out, &file.drops, |out, drop| {
            out.push(b'{');
            for (name, value) in [("from", drop.from), ("to", drop.to), ("commands", drop.count)] {
                json::push_name(out, name);
                json::push_u64(out, value);
            }
            json::push_name(out, "what");
            json::push_text(out, &drop.what);
            if let Some(db) = drop.select {
                json::push_name(out, "select");
                json::push_u64(out, db);
            }
            out.push(b'}');
        });
        out.push(b'}');
    });
    out.extend_from_slice(b"}\n");
    out
}
