//! What a target format cannot hold, what becomes of it, and the account of it.
//!
//! A feature is named when a key (or the file) has it and the target does not. Hints that a server works
//! out by itself are no losses: sizes of databases and slots, auxiliary fields, how a string was
//! stored. Knows no formats: `codec/rdb/target.rs` has what each of them holds.

use std::collections::BTreeMap;
use std::io::{self, Write};

use clap::ValueEnum;

use crate::json;
use crate::output::Shown;

/// What is to happen when the target cannot hold all of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Lossy {
    /// Write nothing, and list what is in the way; of access clocks (idle times, access counters) only tell
    #[default]
    Fail,
    /// Write nothing for access clocks, too
    Strict,
    /// Leave it out, and list it
    Warn,
    /// Leave it out, and only say how much it was
    Drop,
}

impl Lossy {
    /// Whether nothing may be written that lacks this.
    #[must_use]
    pub fn refuses(self, feature: Feature) -> bool {
        match self {
            Self::Fail => !feature.is_access_clock(),
            Self::Strict => true,
            Self::Warn | Self::Drop => false,
        }
    }

    /// Whether nothing may be written that lacks all of these.
    #[must_use]
    pub fn refuses_any(self, losses: &Losses) -> bool {
        losses.totals().any(|(feature, _)| self.refuses(feature))
    }

    /// Whether keys are listed, and not only how many there are.
    #[must_use]
    pub fn lists_keys(self) -> bool {
        self != Self::Drop
    }
}

/// Something that not every target can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "`what` and `fate` say it for each")]
pub enum Feature {
    Streams,
    Arrays,
    PathHashes,
    Modules,
    ModuleVersion,
    FieldTtl,
    LateFieldTtl,
    MemberTtl,
    StreamIdmp,
    StreamNacks,
    StreamCounters,
    GroupCounters,
    ConsumerActivity,
    KeyMeta,
    NoEvict,
    IdleTime,
    AccessCounter,
    Functions,
    ModuleAux,
    SlotImport,
    Updates,
}

impl Feature {
    /// One word for it, for programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// What there is in the input.
    #[must_use]
    pub fn what(self) -> &'static str {
        self.row().1
    }

    /// What becomes of it in the output.
    #[must_use]
    pub fn fate(self) -> &'static str {
        self.row().2
    }

    /// Whether it says only how recently or how often a key was used: what a server measures anew.
    #[must_use]
    pub fn is_access_clock(self) -> bool {
        matches!(self, Self::IdleTime | Self::AccessCounter)
    }

    fn row(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Streams => ("stream", "stream", "the key is left out"),
            Self::Arrays => ("array", "array", "the key is left out"),
            Self::PathHashes => ("path-hash", "path hash", "the key is left out"),
            Self::Modules => ("module", "value of a module", "the key is left out"),
            Self::ModuleVersion => (
                "module-version",
                "value of a module in a form that the target's module does not read",
                "the key is left out",
            ),
            Self::FieldTtl => ("field-ttl", "hash fields that expire", "they stay, and do not expire"),
            Self::LateFieldTtl => (
                "late-field-ttl",
                "hash fields that expire later than the target can say",
                "they stay, and do not expire",
            ),
            Self::MemberTtl => {
                ("member-ttl", "members or fields that expire (KeyDB)", "they stay, and do not expire")
            }
            Self::StreamIdmp => {
                ("stream-idmp", "idempotent ids of a stream", "they and their settings are forgotten")
            }
            Self::StreamNacks => (
                "stream-nacks",
                "released entries of consumer groups",
                "they become pending entries of a consumer without a name",
            ),
            Self::StreamCounters => (
                "stream-counters",
                "a stream's count of entries ever added and its greatest deleted id",
                "the server counts what is there, and takes it that nothing was deleted",
            ),
            Self::GroupCounters => (
                "group-counters",
                "consumer groups' counts of entries read",
                "the server works them out where it can",
            ),
            Self::ConsumerActivity => (
                "consumer-activity",
                "when consumers last got something",
                "only when they were last seen is kept",
            ),
            Self::KeyMeta => ("key-meta", "metadata of keys", "the keys stay without them"),
            Self::NoEvict => ("no-evict", "keys that must not be evicted", "they can be evicted"),
            Self::IdleTime => ("idle-time", "idle times of keys", "the keys count as just used"),
            Self::AccessCounter => ("access-counter", "access counters of keys", "the keys count as new"),
            Self::Functions => ("function", "function libraries", "they are left out"),
            Self::ModuleAux => ("module-aux", "data of modules beside the keys", "they are left out"),
            Self::SlotImport => (
                "slot-import",
                "slots on their way into the cluster node",
                "their keys stay, as keys like others",
            ),
            Self::Updates => (
                "update",
                "commands inside the file, of clients who wrote while it was made",
                "they are left out: the keys are as they were before",
            ),
        }
    }
}

/// One key or thing that lost something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// What it had.
    pub feature: Feature,
    /// Its database; `None` of what belongs to no key.
    pub db: Option<u64>,
    /// Its key, or the name of what belongs to none.
    pub key: Vec<u8>,
    /// How many of it: fields, ids, keys.
    pub count: u64,
}

/// Of one feature, all that was lost.
#[derive(Debug, Clone, Default)]
pub struct Total {
    /// Keys (or libraries, ...) that had it.
    pub keys: u64,
    /// How many of it they had together.
    pub count: u64,
    /// The first few.
    pub first: Vec<Loss>,
}

/// The account of everything that was lost. Memory: a few keys for each feature.
#[derive(Default)]
pub struct Losses {
    totals: BTreeMap<Feature, Total>,
    /// Where every single one is told, if anywhere.
    report: Option<Box<dyn Write>>,
}

impl std::fmt::Debug for Losses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Losses").field("totals", &self.totals).finish_non_exhaustive()
    }
}

/// Keys that are listed of each feature.
const LISTED: usize = 10;

impl Losses {
    /// Has every loss told to `report` too, as a line of JSON each.
    pub fn report_to(&mut self, report: Box<dyn Write>) {
        self.report = Some(report);
    }

    /// Takes down a loss.
    ///
    /// # Errors
    /// Those of the report.
    pub fn add(&mut self, loss: Loss) -> io::Result<()> {
        if let Some(report) = &mut self.report {
            let mut line = b"{".to_vec();
            push_loss(&mut line, &loss);
            line.extend_from_slice(b"}\n");
            report.write_all(&line)?;
        }
        let total = self.totals.entry(loss.feature).or_default();
        total.keys += 1;
        total.count = total.count.saturating_add(loss.count);
        if total.first.len() < LISTED {
            total.first.push(loss);
        }
        Ok(())
    }

    /// Whether nothing was lost.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.totals.is_empty()
    }

    /// What was lost, by feature.
    pub fn totals(&self) -> impl Iterator<Item = (Feature, &Total)> {
        self.totals.iter().map(|(feature, total)| (*feature, total))
    }

    /// Ends the report.
    ///
    /// # Errors
    /// Those of the report.
    pub fn finish(&mut self) -> io::Result<()> {
        self.report.as_mut().map_or(Ok(()), Write::flush)
    }

    /// Lists what was lost, for a person; of each feature its first keys if `keys` says so.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn list(&self, out: &mut dyn Write, keys: bool) -> io::Result<()> {
        for (feature, total) in self.totals() {
            let Total { keys: n, count, first } = total;
            let (name, what, fate) = (feature.name(), feature.what(), feature.fate());
            let of = match n == count {
                true => format!("{n}"),
                false => format!("{count} in {n} keys"),
            };
            writeln!(out, "  {name}: {of}: {what}; {fate}")?;
            for loss in first.iter().filter(|_| keys) {
                let times = if loss.count == 1 { String::new() } else { format!(" ({})", loss.count) };
                match loss.db {
                    Some(db) => writeln!(out, "    db {db} \"{}\"{times}", Shown(&loss.key))?,
                    None => writeln!(out, "    \"{}\"{times}", Shown(&loss.key))?,
                }
            }
            if keys && *n > first.len() as u64 {
                writeln!(out, "    and {} more", n - first.len() as u64)?;
            }
        }
        Ok(())
    }
}

fn push_loss(out: &mut Vec<u8>, loss: &Loss) {
    json::push_name(out, "feature");
    json::push_text(out, loss.feature.name());
    if let Some(db) = loss.db {
        json::push_name(out, "db");
        json::push_u64(out, db);
    }
    json::push_name(out, "key");
    json::push_bytes(out, &loss.key);
    json::push_name(out, "count");
    json::push_u64(out, loss.count);
}

#[cfg(test)]
mod tests {
    use super::{Feature, Loss, Losses, Lossy};

    #[test]
    fn access_clocks_alone_do_not_keep_a_file_from_being_written() {
        let mut losses = Losses::default();
        let mut lose = |feature| {
            losses.add(Loss { feature, db: Some(0), key: b"k".to_vec(), count: 1 }).expect("no report");
            [Lossy::Fail, Lossy::Strict, Lossy::Warn, Lossy::Drop].map(|lossy| lossy.refuses_any(&losses))
        };
        assert_eq!(lose(Feature::IdleTime), [false, true, false, false]);
        assert_eq!(lose(Feature::AccessCounter), [false, true, false, false]);
        assert_eq!(lose(Feature::NoEvict), [true, true, false, false]);
    }

    #[test]
    fn losses_are_counted_and_the_first_are_listed() {
        let mut losses = Losses::default();
        for i in 0..12_u8 {
            let key = vec![b'k', i];
            losses.add(Loss { feature: Feature::FieldTtl, db: Some(1), key, count: 2 }).expect("no report");
        }
        let key = b"lib\x1b".to_vec();
        losses.add(Loss { feature: Feature::Functions, db: None, key, count: 1 }).expect("no report");
        let mut text = Vec::new();
        losses.list(&mut text, true).expect("memory");
        let text = String::from_utf8(text).expect("text");
        assert!(text.contains("field-ttl: 24 in 12 keys: hash fields"), "{text}");
        assert!(text.contains(r#"db 1 "k\x00" (2)"#) && text.contains("and 2 more"), "{text}");
        assert!(text.contains(r#"function: 1: function libraries"#) && text.contains(r"lib\x1b"), "{text}");
    }
}
