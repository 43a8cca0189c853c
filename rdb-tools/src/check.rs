//! Checking an RDB file: every fault in one pass, each with its place and what a server makes of it.
//!
//! The decoder tells whether lengths hold; a value is then looked at on its own, so that a fault
//! inside one does not end the check. When the lengths themselves are wrong, it goes on where records can be
//! read again (a pipe ends there). Knows no output; `cmd/check.rs` has that.

mod distinct;
mod fate;
mod filter;
mod glance;
mod keys;
mod parts;
mod resume;
mod score;
mod value;
mod worker;

use std::io;
use std::sync::Arc;

use cairn_engine::codec::rdb::{Error, Family, Kind, Templates, Trailer, Version};

use crate::drive::Stop;
use crate::input::{self, Input};
use crate::output::clean;
use crate::parallel::{self, Jobs, wrapping_bytes};
use crate::progress::Progress;

pub(crate) use distinct::Hasher;
pub use fate::{Fate, kind_name};
pub(crate) use filter::Filter;
use keys::{Hashes, Keys};
use resume::Rest;
pub(crate) use value::Inspector;
use worker::{Checker, Halt};

/// How thorough a check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depths {
    /// Lengths and checksum; values are stepped over.
    Quick,
    /// Everything.
    Deep,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Offset in the file, behind the wrapping of a diskless transfer.
    pub at: u64,
    /// The key it is in, and its database.
    pub key: Option<(u64, Vec<u8>)>,
    /// A word for its kind, for scripts.
    pub kind: &'static str,
    /// What is wrong, for people. Bytes of the file are escaped in it.
    pub what: String,
    /// What a server makes of it.
    pub fate: Fate,
}

/// What a check found out.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The file's version; `None` if it has no right magic.
    pub version: Option<Version>,
    /// Server name and version of the aux fields.
    pub producer: Option<(String, Vec<u8>)>,
    /// Keys whose records are whole.
    pub keys: u64,
    /// Those of them that expire.
    pub expires: u64,
    /// Databases with keys.
    pub dbs: u64,
    /// Their numbers; no more than [`MAX_DBS`] of them.
    db_ids: std::collections::BTreeSet<u64>,
    /// Function libraries.
    pub functions: u64,
    /// What the file says about its checksum; `None` if its end was not reached.
    pub trailer: Option<Trailer>,
    /// Bytes read.
    pub bytes: u64,
    /// The faults in the order of the file; at most [`MAX_FINDINGS`].
    pub findings: Vec<Finding>,
    /// All of them, also those that are not listed.
    pub found: u64,
}

/// No more findings than this are kept: a file of garbage could have one in every key.
pub const MAX_FINDINGS: usize = 100_000;

/// No server has more databases than it has memory for; a damaged file may name any number.
const MAX_DBS: usize = 1 << 16;

impl Report {
    /// Whether the whole file could be read, whatever is wrong in its values.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.trailer.is_some()
    }

    /// Adds a finding.
    pub fn add(&mut self, finding: Finding) {
        self.found += 1;
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        }
    }

    /// Adds what another part of the file came to.
    fn merge(&mut self, other: Self) {
        self.version = self.version.or(other.version);
        self.producer = self.producer.take().or(other.producer);
        self.keys += other.keys;
        self.expires += other.expires;
        self.functions += other.functions;
        self.trailer = self.trailer.or(other.trailer);
        self.found += other.found;
        self.findings.extend(other.findings);
        self.db_ids.extend(other.db_ids);
        self.dbs = self.db_ids.len() as u64;
        if self.findings.len() > MAX_FINDINGS {
            self.findings.sort_by_key(|finding| finding.at);
            self.findings.truncate(MAX_FINDINGS);
        }
    }

    /// Adds what the decoder says: `start` is where its offset 0 lies.
    fn add_error(&mut self, error: &Error, start: u64, key: Option<(u64, Vec<u8>)>) {
        self.add(Finding {
            at: start + error.at,
            key: key.or_else(|| error.key.clone().map(|key| (error.db, key))),
            kind: kind_name(&error.kind),
            what: clean(&error.kind.to_string()),
            fate: Fate::of(error),
        });
    }
}

/// Checks the RDB file at the input's position; what follows it is left.
///
/// # Errors
/// Only if the input cannot be read, or temporary files cannot be had for the keys of a pipe; faults of the file are
/// findings.
pub fn check(input: &mut Input, depths: Depths, progress: &Progress) -> io::Result<Report> {
    check_with(input, depths, Jobs::default(), progress)
}

/// As [`check`], on as many threads as `jobs` says.
///
/// # Errors
/// As [`check`].
pub fn check_with(input: &mut Input, depths: Depths, jobs: Jobs, progress: &Progress) -> io::Result<Report> {
    let start = input.position();
    let len = input.len().unwrap_or(0);
    let hasher = Hasher::random();
    let mut keys = Keys::new(input.mapped().is_some(), len);
    let map = input.share();
    let origin = start as usize + map.as_ref().map_or(0, |map| wrapping_bytes(&map[start as usize..]));
    // What is stepped over is read faster by the one that steps.
    let jobs = if depths == Depths::Quick { Jobs::ONE } else { jobs };
    let outcome = parallel::run(
        input,
        jobs,
        progress,
        |outlet| Checker::new(depths, hasher, map.clone(), origin, Some(outlet)),
        |hashes: Hashes| keys.add(&hashes).map_err(Halt::Spill),
    );
    let templates = match &outcome.result {
        Err(Stop::Format(error)) => templates_before(&outcome.workers, error.at),
        _ => Arc::default(),
    };
    let mut report = Report::default();
    for worker in outcome.workers {
        report.merge(worker.report);
    }
    report.bytes = input.position() - start;
    match outcome.result {
        Ok(()) => {}
        Err(Stop::Format(error)) => match &map {
            // Only the end is wrong.
            Some(map) if !is_of_the_end(&error.kind) => {
                let rest = Rest { map, origin, depths, hasher };
                rest.check(error, templates, &mut report, |hashes| keys.add(hashes))?;
            }
            _ => report.add_error(&error, 0, None),
        },
        Err(Stop::Read(error)) if input::damage(&error).is_some() => {
            let at = report.bytes;
            let what = error.to_string();
            report.add(Finding { at, key: None, kind: "compression", what, fate: Fate::Refuses });
        }
        Err(Stop::Read(error) | Stop::Sink(Halt::Spill(error))) => return Err(error),
        Err(Stop::Other(fault)) => return Err(io::Error::other(fault)),
        Err(Stop::Sink(Halt::Again | Halt::Closed)) => {}
    }
    keys.report(map.as_deref(), origin, hasher, &mut report)?;
    report.findings.sort_by_key(|finding| finding.at);
    Ok(report)
}

/// The hash templates that were defined before a fault: what the worker knows that came to it. Others may know some
/// that come later.
fn templates_before(workers: &[Checker], fault: u64) -> Arc<Templates> {
    let before = workers.iter().filter(|worker| worker.last_at <= fault);
    let last = before.max_by_key(|worker| worker.last_at);
    last.map(|worker| Arc::clone(&worker.templates)).unwrap_or_default()
}

/// Whether a fault leaves nothing to go on with: at the end, or at the very start.
fn is_of_the_end(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Checksum { .. }
            | Kind::NoChecksum
            | Kind::EofMark
            | Kind::Signature
            | Kind::Version(_)
            | Kind::CompressedEnvelope
            | Kind::NewerThanVersion { .. }
    )
}

/// The server that an aux field with its version names.
#[must_use]
pub fn producer_of(key: &[u8]) -> Option<&'static str> {
    match key {
        b"redis-ver" => Some("redis"),
        b"valkey-ver" => Some("valkey"),
        _ => None,
    }
}

/// What a finding calls a collection's parts.
fn part_name(family: Family) -> &'static str {
    match family {
        Family::Hash | Family::PathHash => "field",
        _ => "member",
    }
}

#[cfg(test)]
mod tests;
