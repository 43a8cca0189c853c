//! A log that is being written: its end, and the next file when the server begins one.
//!
//! The folder is looked at some times a second. A server names a new increment in the manifest before it
//! writes there, and writes nothing to the one before any more; so when a later one is named, the rest of
//! the present one is read, and then that one. Where two rewrites come so close that an increment is gone
//! before it was opened, that is told, and reading goes on in the next one listed. Never ends by itself.

use std::fs::File;
use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use cairn_engine::codec::aof::manifest::Manifest;
use rdb_tools::cmd::Reading;
use rdb_tools::output::{Shown, exit};

use crate::cmd::log::Reader;
use crate::feed::{Feed, InPlace};
use crate::log::ledger::Ledger;
use crate::set::{self, Log, Member, Role};
use crate::walk::{Ended, Opened, Opening, Walk};

/// How often is looked.
const PAUSE: Duration = Duration::from_millis(100);
/// Times of files are not finer than this anywhere.
const SETTLED: Duration = Duration::from_secs(2);
/// Increments that are named at most which nobody has seen.
const MOST_TOLD: usize = 16;

/// Shows what is there, unless only what is `new` is wanted, and then what comes.
///
/// # Errors
/// What keeps it from reading or writing; it ends otherwise only when enough has been shown.
pub(crate) fn follow(log: &Log, reading: Reading, new: bool, ledger: &mut Ledger<'_>) -> anyhow::Result<u8> {
    let mut walk = Walk::new(ledger.vocabulary());
    walk.waits = true;
    let mut members = log.members()?;
    let mut is_first_round = true;
    let (mut missed, mut has_missed) = (Vec::new(), false);
    let mut done = 0;
    loop {
        for (i, member) in members.iter().enumerate() {
            let is_last = i + 1 == members.len();
            let skips = new && is_first_round;
            if skips && !is_last {
                continue;
            }
            let ended = match read(log, member, (is_last, skips), reading, &mut walk, ledger) {
                Err(error) if is_no_file(&error) && !is_named(log, member) => {
                    missed.push(member.name.clone());
                    continue;
                }
                ended => ended?,
            };
            if ended == Ended::Enough {
                ledger.flush()?;
                return Ok(if ledger.is_damaged() || has_missed { exit::FINDINGS } else { exit::CLEAN });
            }
        }
        let incrs = members.iter().filter(|member| member.role == Role::Incr);
        done = incrs.map(|member| member.seq).max().unwrap_or(done);
        members = later(log, done).unwrap_or_default();
        if let Some(next) = members.first().filter(|_| done > 0) {
            // Numbers that no manifest has named while it was looked at.
            let unnamed = (done + 1..next.seq).take(MOST_TOLD);
            missed.extend(unnamed.map(|seq| format!("increment {seq}").into_bytes()));
        }
        for name in missed.drain(..) {
            has_missed = true;
            ledger.flush()?;
            let name = Shown(&name);
            writeln!(
                io::stderr(),
                "aof-tools: {name}: the server has removed it before it was read: its commands are missing here"
            )
            .context("writing")?;
        }
        is_first_round = false;
        if members.is_empty() {
            std::thread::sleep(PAUSE);
        }
    }
}

/// Whether an error says that there is no such file.
fn is_no_file(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| cause.kind() == io::ErrorKind::NotFound)
}

/// Whether the manifest names that file now.
fn is_named(log: &Log, member: &Member) -> bool {
    log.members().is_ok_and(|members| members.iter().any(|other| other.name == member.name))
}

/// The increments that the manifest names behind the number `seq`. `None` if it cannot be read now: it is
/// being replaced, or comes back.
fn later(log: &Log, seq: i64) -> Option<Vec<Member>> {
    let Log::Manifest(path) = log else { return None };
    let manifest = Manifest::parse(&std::fs::read(path).ok()?).ok()?;
    let mut members = set::members(set::folder_of(path), &manifest);
    members.retain(|member| member.role == Role::Incr && member.seq > seq);
    Some(members)
}

/// Reads a file; the last one until the manifest names another.
fn read(
    log: &Log,
    member: &Member,
    (is_last, skips): (bool, bool),
    reading: Reading,
    walk: &mut Walk<'_>,
    ledger: &mut Ledger<'_>,
) -> anyhow::Result<Ended> {
    let shown = || member.path.display().to_string();
    let opened = match Opened::open(member, reading)? {
        Opening::Commands(opened) => opened,
        Opening::Rdb | Opening::BadRdb(_) if is_last => return wait_for_next(log, member),
        Opening::Rdb | Opening::BadRdb(_) => return Ok(Ended::AtEnd),
    };
    ledger.begin(&member.name);
    let Some((file, end)) = opened.plain() else {
        anyhow::bail!("{}: only a plain file can be followed", shown());
    };
    let mut feed = InPlace::new(file, opened.start, end);
    walk.begin_file(opened.in_blocks);
    if skips {
        // The database and the time there are known only to who has read what is before.
        let ended = walk.run(&mut feed, &mut Nobody).with_context(shown)?;
        debug_assert_ne!(ended, Ended::Enough, "nobody has seen enough");
    }
    let mut before = None;
    loop {
        // Asked before reading, so that nothing written until then is missed.
        let has_next = !is_last || later(log, member.seq).is_some_and(|later| !later.is_empty());
        let now = State::of(file).with_context(shown)?;
        if now.len < feed.at() {
            anyhow::bail!("{}: the file has become shorter", shown());
        }
        if before.replace(now) == Some(now) && now.is_settled && !has_next {
            std::thread::sleep(PAUSE);
            continue;
        }
        // What is new may stand where a reserve was.
        feed.renew(now.len);
        walk.waits = !has_next;
        let ended = walk.run(&mut feed, ledger).with_context(shown)?;
        if ended == Ended::Enough {
            return Ok(ended);
        }
        if has_next {
            return Ok(Ended::AtEnd);
        }
        ledger.flush()?;
        std::thread::sleep(PAUSE);
    }
}

/// What tells whether a file has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    len: u64,
    modified: Option<SystemTime>,
    /// Whether it was changed so long ago that its next change has another time.
    is_settled: bool,
}

impl State {
    fn of(file: &File) -> io::Result<State> {
        let metadata = file.metadata()?;
        let modified = metadata.modified().ok();
        let age = modified.and_then(|modified| modified.elapsed().ok());
        Ok(State { len: metadata.len(), modified, is_settled: age.is_some_and(|age| age > SETTLED) })
    }
}

/// The last file holds no commands, and nothing will be appended to it.
fn wait_for_next(log: &Log, member: &Member) -> anyhow::Result<Ended> {
    loop {
        if later(log, member.seq.min(0)).is_some_and(|later| !later.is_empty()) {
            return Ok(Ended::AtEnd);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Hears what is there already.
struct Nobody;

impl crate::walk::Visit for Nobody {
    fn command(&mut self, _entry: &crate::walk::Entry<'_>) -> anyhow::Result<bool> {
        Ok(true)
    }

    fn damage(&mut self, _damage: &crate::walk::Damage) -> anyhow::Result<Option<u64>> {
        Ok(None)
    }
}
