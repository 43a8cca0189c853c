//! Which bytes of a file have to go, so that servers load the rest. Changes nothing.
//!
//! Dropped are: what cannot be read, up to the next place where commands must start; commands that servers do
//! not know, or not with so many arguments; a MULTI whose EXEC does not come, with all of its commands; EXEC,
//! DISCARD and MULTI where none can be. A SELECT among dropped bytes is put back, or what follows would go to
//! another database.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;

use anyhow::{Context, bail};
use cairn_engine::base::num;
use cairn_engine::codec::aof::record::{MAX_ANNOTATION_BYTES, timestamp};
use rdb_tools::check::{self, Depths, Fate};
use rdb_tools::cmd::Reading;
use rdb_tools::fold::reserve::log_end;
use rdb_tools::output::Shown;
use rdb_tools::salvage;
use tempfile::NamedTempFile;

use crate::feed::InPlace;
use crate::scan::Mark;
use crate::set::{Member, Role};
use crate::vocabulary::{self, Vocabulary, Wrong, is_of_module};
use crate::walk::{Damage, Entry, Opened, Opening, Visit, Walk};

/// A file with more to drop is no log any more.
const MOST_DROPS: usize = 100_000;
/// Commands of a dropped range that are told one by one.
const TOLD_COMMANDS: usize = 8;
/// Of a longer damaged range only the end is searched for a SELECT.
const SEARCHED_BYTES: u64 = 16 << 20;

/// Bytes that have to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Drop {
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// Why.
    pub(crate) what: String,
    /// The first commands among them, as far as they can be read.
    pub(crate) commands: Vec<String>,
    /// All of those.
    pub(crate) count: u64,
    /// The database that has to be chosen in its place.
    pub(crate) select: Option<u64>,
}

/// What is to be done with a file.
#[derive(Debug)]
pub(crate) struct FilePlan {
    pub(crate) member: Member,
    pub(crate) bytes: u64,
    /// Where the log in it ends: behind that there is a reserve, if there is anything.
    pub(crate) log_end: u64,
    /// All reserves, in order: also what another server has appended something behind.
    pub(crate) reserves: Vec<(u64, u64)>,
    /// Where its commands start; all of it, if it is an RDB file.
    pub(crate) start: u64,
    /// Whether it has checked blocks.
    pub(crate) has_blocks: bool,
    /// Commands that stay.
    pub(crate) kept: u64,
    /// In order, apart from one another.
    pub(crate) drops: Vec<Drop>,
    /// From here on its blocks have to be sealed anew: one ends inside a transaction.
    pub(crate) seal_from: Option<u64>,
    /// What came out of it in its stead: it is a damaged RDB file.
    pub(crate) salvaged: Option<Salvaged>,
    /// What keeps it from being repaired here.
    pub(crate) obstacle: Option<String>,
    /// What the manifest says of it and it is not, though nothing of it has to go.
    pub(crate) differs: Option<String>,
}

/// The keys that came out of a damaged RDB file.
#[derive(Debug)]
pub(crate) struct Salvaged {
    /// An RDB file with them.
    pub(crate) file: NamedTempFile,
    pub(crate) keys: u64,
    pub(crate) lost_keys: u64,
    pub(crate) lost_bytes: u64,
    /// What did not come out: the first of them.
    pub(crate) lost: Vec<String>,
}

impl FilePlan {
    /// Bytes that go.
    pub(crate) fn lost(&self) -> u64 {
        let salvaged = self.salvaged.as_ref().map_or(0, |salvaged| salvaged.lost_bytes);
        self.drops.iter().map(|drop| drop.to - drop.from).sum::<u64>() + salvaged
    }

    /// Bytes of reserves.
    pub(crate) fn reserve(&self) -> u64 {
        self.reserves.iter().map(|(from, to)| to - from).sum()
    }

    /// What does not get into a new file: what is dropped, with the database to choose in its place, and the
    /// reserves. In order.
    pub(crate) fn gaps(&self) -> Vec<(u64, u64, Option<u64>)> {
        let drops = self.drops.iter().map(|drop| (drop.from, drop.to, drop.select));
        let reserves = self.reserves.iter().map(|(from, to)| (*from, *to, None));
        let mut gaps: Vec<_> = drops.chain(reserves).collect();
        gaps.sort_by_key(|(from, to, _)| (*from, *to));
        gaps
    }

    /// Whether nothing in it has to change.
    pub(crate) fn is_right(&self) -> bool {
        self.drops.is_empty() && self.seal_from.is_none() && self.salvaged.is_none()
    }

    /// Where to cut the file, if that is all there is to do: its end goes, and it has no blocks.
    pub(crate) fn cut_at(&self) -> Option<u64> {
        match &self.drops[..] {
            [drop] if drop.to == self.bytes && drop.select.is_none() && !self.has_blocks => Some(drop.from),
            _ => None,
        }
    }
}

/// What may be kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Commands that no server is known to have.
    pub(crate) keep_unknown: bool,
    /// What can be read in blocks whose sums do not fit.
    pub(crate) keep_unsure: bool,
    /// The readable keys of a damaged RDB base are enough.
    pub(crate) salvage: bool,
}

/// Looks what has to go of a file.
///
/// # Errors
/// What the system says, or that nearly all has to go.
pub(crate) fn plan(
    member: &Member,
    reading: Reading,
    vocabulary: &Vocabulary,
    rules: Rules,
) -> anyhow::Result<FilePlan> {
    let bytes = std::fs::metadata(&member.path).with_context(|| member.path.display().to_string())?.len();
    let mut plan = FilePlan {
        member: member.clone(),
        bytes,
        log_end: bytes,
        reserves: Vec::new(),
        start: 0,
        has_blocks: member.marks.blocks.is_some(),
        kept: 0,
        drops: Vec::new(),
        seal_from: None,
        salvaged: None,
        obstacle: None,
        differs: None,
    };
    let mut opened = match Opened::open(member, reading)? {
        Opening::Commands(opened) => opened,
        Opening::Rdb => {
            plan.start = bytes;
            plan.obstacle = rdb_fault(member, reading, &mut plan.drops)?;
            if plan.obstacle.is_some() && rules.salvage {
                match salvage_base(member, reading)? {
                    Some(salvaged) => (plan.salvaged, plan.obstacle) = (Some(salvaged), None),
                    None => plan.obstacle = Some("no key can be read in its RDB file".to_owned()),
                }
            }
            return Ok(plan);
        }
        Opening::BadRdb(what) => {
            plan.start = bytes;
            plan.obstacle =
                Some(format!("its RDB file is damaged: {what}; 'rdb-tools salvage' gets keys out of one"));
            return Ok(plan);
        }
    };
    plan.start = opened.start;
    if opened.start > 0 {
        plan.obstacle = rdb_fault(member, reading, &mut Vec::new())?;
    }
    let Some((file, _)) = opened.plain() else {
        plan.obstacle = Some("it is packed: unpack it first".to_owned());
        return Ok(plan);
    };
    let file = file.try_clone().with_context(|| member.path.display().to_string())?;
    let mut planner = Planner {
        vocabulary,
        rules,
        file,
        drops: Vec::new(),
        reserves: Vec::new(),
        kept: 0,
        open: None,
        written_db: Some(0),
        pending: false,
    };
    let mut walk = Walk::new(vocabulary);
    opened.walk(&mut walk, &mut planner).with_context(|| member.path.display().to_string())?;
    plan.has_blocks |= walk.has_blocks;
    // A reserve alone is a file of blocks as well, and only the manifest knows.
    plan.log_end =
        log_end(&planner.file, bytes, plan.has_blocks).with_context(|| member.path.display().to_string())?;
    plan.seal_from = walk.cut_transaction;
    planner.end();
    plan.kept = planner.kept;
    plan.drops = joined(planner.drops);
    plan.reserves = planner.reserves;
    if plan.reserves.is_empty() && plan.log_end < bytes {
        plan.reserves.push((plan.log_end, bytes));
    }
    Ok(plan)
}

/// What keeps a server from loading the RDB file in front, if anything does. What lies behind an RDB file that
/// is a whole base has to go.
fn rdb_fault(member: &Member, reading: Reading, drops: &mut Vec<Drop>) -> anyhow::Result<Option<String>> {
    let shown = || member.path.display().to_string();
    let mut input = reading.open(&member.path)?;
    let progress = reading.progress(&input);
    let report = check::check(&mut input, Depths::Deep, &progress).with_context(shown)?;
    let bad = |fate: Fate| matches!(fate, Fate::Refuses | Fate::Crashes);
    let Some(finding) = report.findings.iter().find(|finding| bad(finding.fate)) else {
        if report.is_complete() && member.role == Role::Base {
            let from = input.position();
            let behind = input.skip_rest().with_context(shown)?;
            let what = "they follow the end of the RDB file".to_owned();
            let all = Drop { from, to: from + behind, what, commands: Vec::new(), count: 0, select: None };
            drops.extend((behind > 0).then_some(all));
        }
        return Ok(None);
    };
    Ok(Some(format!(
        "its RDB file is damaged at offset {}: {}. Say --salvage to do with its readable keys ('rdb-tools salvage {} -o \
         NEW.rdb' tells more of them)",
        finding.at,
        finding.what,
        shown()
    )))
}

/// Gets the readable keys out of an RDB base. `None` if there are none.
fn salvage_base(member: &Member, reading: Reading) -> anyhow::Result<Option<Salvaged>> {
    const TOLD: usize = 20;
    let shown = || member.path.display().to_string();
    let input = Reading { no_mmap: false, ..reading }.open(&member.path)?;
    let progress = reading.progress(&input);
    let file = NamedTempFile::new().context("a temporary file")?;
    let Some(map) = input.share() else { return Ok(None) };
    let open = || Ok(BufWriter::new(file.reopen().context("a temporary file")?));
    let options = salvage::Options::default();
    let (report, mut out) =
        salvage::salvage(Some(&map), &options, salvage::Form::Rdb, &progress, open).with_context(shown)?;
    out.flush().context("a temporary file")?;
    let told = report.lost.iter().take(TOLD).map(ToString::to_string).collect();
    Ok((report.keys > 0 || report.is_repaired).then_some(Salvaged {
        file,
        keys: report.keys,
        lost_keys: report.lost_keys,
        lost_bytes: report.lost_bytes,
        lost: told,
    }))
}

/// Drops that touch one another as one.
fn joined(mut drops: Vec<Drop>) -> Vec<Drop> {
    drops.sort_by_key(|drop| (drop.from, drop.to));
    let mut joined: Vec<Drop> = Vec::new();
    for drop in drops {
        match joined.last_mut() {
            Some(last) if drop.from <= last.to => {
                last.to = last.to.max(drop.to);
                if last.what != drop.what {
                    last.what = format!("{}; {}", last.what, drop.what);
                }
                last.count += drop.count;
                let room = TOLD_COMMANDS.saturating_sub(last.commands.len());
                last.commands.extend(drop.commands.into_iter().take(room));
                last.select = drop.select.or(last.select);
            }
            _ => joined.push(drop),
        }
    }
    joined
}

/// A transaction whose EXEC has not come yet.
#[derive(Debug)]
struct OpenTransaction {
    at: u64,
    /// After the last command that was read.
    end: u64,
    /// How many drops there were before it.
    drops: usize,
    commands: Vec<String>,
    count: u64,
    /// Where the damage in it ends, if some of it is damaged. What is behind may be outside of it.
    damaged_to: Option<u64>,
    /// Whether it chooses a database.
    selects: bool,
}

struct Planner<'a> {
    vocabulary: &'a Vocabulary,
    rules: Rules,
    file: File,
    drops: Vec<Drop>,
    reserves: Vec<(u64, u64)>,
    kept: u64,
    open: Option<OpenTransaction>,
    /// The database after all that is kept, if that is sure.
    written_db: Option<u64>,
    /// Whether something was dropped since the last command that is kept.
    pending: bool,
}

impl Planner<'_> {
    fn drop(&mut self, from: u64, to: u64, what: String, entry: Option<&Entry<'_>>) -> anyhow::Result<()> {
        if self.drops.len() >= MOST_DROPS {
            bail!("more than {MOST_DROPS} places are damaged: this is no log any more");
        }
        let commands: Vec<String> = entry.iter().map(|entry| shown(entry)).collect();
        let count = commands.len() as u64;
        self.drops.push(Drop { from, to, what, commands, count, select: None });
        self.pending = true;
        Ok(())
    }

    /// Why a command cannot stay.
    fn fault(&self, entry: &Entry<'_>) -> Option<String> {
        let name = entry.argv.first().copied().unwrap_or_default();
        let Some(known) = self.vocabulary.find(name) else {
            let is_kept = self.rules.keep_unknown || is_of_module(name);
            return (!is_kept).then(|| format!("no server knows the command \"{}\"", Shown(name)));
        };
        let word = entry.argv.get(1).copied();
        if known.role == vocabulary::Role::Select
            && let Some(word) = word
            && num::parse_i64(word).is_none_or(|db| db < 0)
        {
            return Some(format!("SELECT of \"{}\", which is no database", Shown(word)));
        }
        Some(match known.fault(entry.argc, word)? {
            Wrong::Unknown { name } => format!("no server knows the command \"{}\"", Shown(&name)),
            Wrong::Subcommand { name, word } => {
                format!("{} has no subcommand \"{}\"", name.to_ascii_uppercase(), Shown(&word))
            }
            Wrong::Arity { name, argc } => {
                format!("{} cannot have {argc} arguments", name.to_ascii_uppercase().replace('|', " "))
            }
        })
    }

    /// Takes a command that stays.
    fn keep(&mut self, entry: &Entry<'_>) {
        self.kept += 1;
        let is_select = entry.argv.first().is_some_and(|name| name.eq_ignore_ascii_case(b"select"));
        let is_sure = is_select || Some(entry.db) == self.written_db;
        if self.pending
            && !is_sure
            && let Some(last) = self.drops.last_mut()
        {
            last.select = Some(entry.db);
        }
        self.pending = false;
        self.written_db = Some(entry.db);
        if let Some(open) = self.open.as_mut().filter(|open| open.damaged_to.is_none()) {
            open.end = entry.end;
            open.count += 1;
            open.selects |= is_select;
            if open.commands.len() < TOLD_COMMANDS {
                open.commands.push(shown(entry));
            }
        }
    }

    /// Bytes behind the commands of the open transaction, if there is one, cannot be read.
    fn damage_open(&mut self, to: u64) {
        if let Some(open) = &mut self.open {
            open.damaged_to = Some(to);
            // Nobody knows yet whether a SELECT in it stays.
            if open.selects {
                self.written_db = None;
            }
        }
    }

    /// The open transaction has no EXEC: nothing of it stays.
    fn undo(&mut self) {
        let Some(open) = self.open.take() else { return };
        let inside = self.drops.split_off(open.drops.min(self.drops.len()));
        self.kept = self.kept.saturating_sub(open.count);
        let mut whole = Drop {
            from: open.at,
            to: open.damaged_to.unwrap_or(open.end),
            what: "a transaction without EXEC".to_owned(),
            commands: open.commands,
            count: open.count,
            select: None,
        };
        for drop in inside {
            if drop.from > whole.to {
                self.drops.push(drop);
                continue;
            }
            whole.to = whole.to.max(drop.to);
            whole.what = format!("{}; {}", whole.what, drop.what);
            whole.select = drop.select.or(whole.select);
        }
        self.drops.push(whole);
        self.pending = true;
    }

    fn end(&mut self) {
        self.undo();
    }

    /// The last SELECT in damaged bytes, if one can be read there.
    fn select_in(&self, damage: &Damage) -> anyhow::Result<Option<u64>> {
        const SELECT: &[u8] = b"\nSELECT\r\n$";
        let from = damage.from.max(damage.to.saturating_sub(SEARCHED_BYTES));
        let mut bytes = vec![0; (damage.to - from) as usize];
        self.file.read_exact_at(&mut bytes, from).context("reading damaged bytes")?;
        let db = |at: usize| {
            let rest = &bytes[at + SELECT.len()..];
            let line = memchr::memchr(b'\n', &rest[..rest.len().min(4)])?;
            let word = &rest[line + 1..];
            let end = memchr::memchr(b'\r', &word[..word.len().min(8)])?;
            num::parse_i64(&word[..end]).and_then(|db| u64::try_from(db).ok())
        };
        let places: Vec<usize> = memchr::memmem::find_iter(&bytes, SELECT).collect();
        Ok(places.into_iter().rev().find_map(db))
    }

    /// Keeps what can be read of bytes between blocks whose sums fit.
    fn keep_unsure(&mut self, damage: &Damage) -> anyhow::Result<()> {
        let mut walk = Walk::new(self.vocabulary);
        walk.begin_file(false);
        walk.choose(self.written_db.unwrap_or(0));
        let file = self.file.try_clone().context("reading again")?;
        let mut head = [0; MAX_ANNOTATION_BYTES];
        let n = usize::try_from(damage.to - damage.from).unwrap_or(usize::MAX).min(head.len());
        file.read_exact_at(&mut head[..n], damage.from).context("reading again")?;
        let line =
            memchr::memchr(b'\n', &head[..n]).filter(|_| head[0] == b'#').map_or(0, |at| at as u64 + 1);
        if line > 0 {
            let what = format!("{}; what can be read in it is kept, and may be wrong", damage.what);
            self.drop(damage.from, damage.from + line, what, None)?;
        }
        let mut feed = InPlace::new(&file, damage.from + line, damage.to);
        let mut inner = Unsure { outer: self, damage };
        walk.run_outside_blocks(&mut feed, &mut inner)?;
        self.undo();
        Ok(())
    }
}

/// A command as it is told.
fn shown(entry: &Entry<'_>) -> String {
    const MOST_ARGS: usize = 3;
    let words: Vec<String> = entry
        .argv
        .iter()
        .take(MOST_ARGS)
        .map(|word| {
            let word = &word[..word.len().min(40)];
            if word.iter().all(u8::is_ascii_graphic) {
                String::from_utf8_lossy(word).into_owned()
            } else {
                format!("\"{}\"", Shown(word))
            }
        })
        .collect();
    let more = if entry.argc > MOST_ARGS as u64 { " ..." } else { "" };
    format!("{}: {}{more}", entry.at, words.join(" "))
}

impl Visit for Planner<'_> {
    fn command(&mut self, entry: &Entry<'_>) -> anyhow::Result<bool> {
        if let Some(what) = self.fault(entry) {
            self.drop(entry.at, entry.end, what, Some(entry))?;
            return Ok(true);
        }
        match entry.mark {
            Some(Ok(Mark::Multi)) => {
                // The transaction before was damaged, and no EXEC has come for it.
                self.undo();
                self.open = Some(OpenTransaction {
                    at: entry.at,
                    end: entry.end,
                    drops: self.drops.len(),
                    commands: Vec::new(),
                    count: 0,
                    damaged_to: None,
                    selects: false,
                });
                self.keep(entry);
            }
            Some(Ok(Mark::Exec | Mark::Discard)) => {
                self.keep(entry);
                self.open = None;
            }
            Some(Err(_))
                if matches!(&self.open, Some(open) if open.damaged_to.is_some()) && !is_multi(entry) =>
            {
                // It ends a transaction that is damaged: what can be read of that has been carried out.
                self.keep(entry);
                self.open = None;
            }
            Some(Err(_)) => {
                let name = String::from_utf8_lossy(entry.argv[0]).to_ascii_uppercase();
                let what = format!("{name} where none can be");
                self.drop(entry.at, entry.end, what, Some(entry))?;
            }
            None => self.keep(entry),
        }
        Ok(true)
    }

    fn annotation(&mut self, at: u64, end: u64, text: &[u8]) -> anyhow::Result<()> {
        if text.starts_with(b"TS:") && timestamp(text).is_none() {
            self.drop(at, end, "a timestamp that is no number".to_owned(), None)?;
        }
        Ok(())
    }

    fn reserve(&mut self, from: u64, to: u64) {
        self.reserves.push((from, to));
    }

    fn damage(&mut self, damage: &Damage) -> anyhow::Result<Option<u64>> {
        if damage.is_block && self.rules.keep_unsure {
            self.keep_unsure(damage)?;
            return Ok(self.written_db);
        }
        self.damage_open(damage.to);
        let what = match damage.at == damage.from {
            true => damage.what.clone(),
            false => format!("{} (at offset {})", damage.what, damage.at),
        };
        self.drop(damage.from, damage.to, what, None)?;
        if !damage.goes_on {
            self.undo();
            return Ok(None);
        }
        self.select_in(damage)
    }
}

fn is_multi(entry: &Entry<'_>) -> bool {
    entry.argv.first().is_some_and(|name| name.eq_ignore_ascii_case(b"multi"))
}

/// Hears what is in a block whose sum does not fit.
struct Unsure<'p, 'a, 'd> {
    outer: &'p mut Planner<'a>,
    damage: &'d Damage,
}

impl Visit for Unsure<'_, '_, '_> {
    fn command(&mut self, entry: &Entry<'_>) -> anyhow::Result<bool> {
        self.outer.command(entry)
    }

    fn annotation(&mut self, at: u64, end: u64, text: &[u8]) -> anyhow::Result<()> {
        self.outer.annotation(at, end, text)
    }

    fn damage(&mut self, damage: &Damage) -> anyhow::Result<Option<u64>> {
        self.outer.damage_open(damage.to);
        let what = format!("{}; {}", self.damage.what, damage.what);
        self.outer.drop(damage.from, damage.to, what, None)?;
        self.outer.select_in(damage)
    }
}
