//! What stays of a log and what goes, told before anything is written.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::{ControlFlow, Range};

use rdb_tools::drive::Fault;
use rdb_tools::fold::{Edits, Log, Options, Role, Torn, What, scan};
use rdb_tools::json;
use rdb_tools::output::Shown;

use super::until::Cut;
use crate::time;

/// Commands that are named in the account of what goes.
const MOST_NAMES: usize = 8;

/// A file's share.
#[derive(Debug, Default, Clone)]
struct Share {
    kept: u64,
    dropped: u64,
}

/// The account.
#[derive(Debug)]
pub(crate) struct Plan {
    shares: Vec<Share>,
    /// Where each file ends: at the cut, or where what was torn off begins.
    pub(crate) ends: Vec<u64>,
    /// The reserve in each file that something follows, if there is one.
    pub(crate) gaps: Vec<Option<Range<u64>>>,
    cut: Option<Cut>,
    torn: Option<Torn>,
    /// Commands that go, by name.
    names: BTreeMap<String, u64>,
    /// The first and the last time of what goes, and the last of what stays.
    dropped_times: Option<(i64, i64)>,
    kept_time: Option<i64>,
    excluded: BTreeMap<String, u64>,
}

/// Looks at all of a log. `edits` only count: nothing is left out here.
///
/// # Errors
/// The log cannot be read.
pub(crate) fn plan(log: &Log, options: &Options, cut: Option<Cut>, edits: &Edits) -> Result<Plan, Fault> {
    let mut plan = Plan {
        shares: vec![Share::default(); log.parts.len()],
        ends: Vec::new(),
        gaps: Vec::new(),
        cut,
        torn: None,
        names: BTreeMap::new(),
        dropped_times: None,
        kept_time: None,
        excluded: BTreeMap::new(),
    };
    let ends = scan(log, options, &mut |seen| {
        let goes = cut.is_some_and(|cut| seen.place >= cut.place);
        match &seen.what {
            What::Rdb(_) => {}
            What::Time(time) if goes => {
                let (first, last) = plan.dropped_times.unwrap_or((*time, *time));
                plan.dropped_times = Some((first.min(*time), last.max(*time)));
            }
            What::Time(time) => plan.kept_time = Some(*time),
            What::Command(argv, data) => {
                let share = &mut plan.shares[seen.place.part];
                let name = || match data {
                    Some(command) => command.spec.full_name().replace('|', " ").to_ascii_uppercase(),
                    None => Shown(argv.first().copied().unwrap_or_default()).to_string().to_ascii_uppercase(),
                };
                if goes {
                    share.dropped += 1;
                    *plan.names.entry(name()).or_default() += 1;
                } else {
                    share.kept += 1;
                    let is_base = log.parts[seen.place.part].role == Role::Base;
                    if !is_base && edits.excludes(argv, *data) {
                        *plan.excluded.entry(name()).or_default() += 1;
                    }
                }
            }
        }
        ControlFlow::Continue(())
    })?;
    plan.ends = ends.files;
    plan.gaps = ends.gaps;
    plan.torn = ends.torn;
    if let Some(cut) = cut {
        plan.ends.truncate(cut.place.part + 1);
        if let Some(end) = plan.ends.last_mut() {
            *end = (*end).min(cut.place.at);
        }
    }
    Ok(plan)
}

impl Plan {
    /// Tells it.
    ///
    /// # Errors
    /// Those of `out`.
    pub(crate) fn tell(&self, out: &mut dyn Write, log: &Log) -> io::Result<()> {
        match self.cut {
            Some(Cut { place, meant }) => {
                writeln!(out, "cut at {}:{}", log.parts[place.part].shown(), place.at)?;
                if let Some(meant) = meant {
                    let at = meant.at;
                    writeln!(out, "  in front of the transaction that was not ended at offset {at}")?;
                }
            }
            None => writeln!(out, "nothing is cut")?,
        }
        for (number, part) in log.parts.iter().enumerate() {
            let (name, bytes, share) = (part.shown(), part.bytes, &self.shares[number]);
            let all = share.kept + share.dropped;
            let commands = |n: u64| format!("{n} command{}", if n == 1 { "" } else { "s" });
            match self.ends.get(number) {
                None => writeln!(out, "  {name}: dropped, {bytes} bytes, {}", commands(all))?,
                Some(end) if *end < bytes => writeln!(
                    out,
                    "  {name}: kept {end} of {bytes} bytes, {} of {}",
                    share.kept,
                    commands(all)
                )?,
                Some(_) => writeln!(out, "  {name}: kept, {bytes} bytes, {}", commands(all))?,
            }
        }
        let dropped: u64 = self.shares.iter().map(|share| share.dropped).sum();
        let kept_bytes: u64 = self.ends.iter().sum();
        let bytes = log.bytes() - kept_bytes.min(log.bytes());
        if self.cut.is_some() {
            write!(out, "dropped: {dropped} commands, {bytes} bytes")?;
            if let Some((first, last)) = self.dropped_times {
                write!(out, ", from {} to {}", time::shown(first), time::shown(last))?;
            }
            let mut names: Vec<_> = self.names.iter().collect();
            names.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), name.as_str()));
            for (i, (name, count)) in names.iter().take(MOST_NAMES).enumerate() {
                write!(out, "{} {name} {count}", if i == 0 { ":" } else { "," })?;
            }
            writeln!(out, "{}", if names.len() > MOST_NAMES { ", ..." } else { "" })?;
        }
        if let Some(time) = self.kept_time {
            writeln!(out, "the last second that is kept: {}", time::shown(time))?;
        }
        if let Some(torn) = &self.torn
            && self.cut.is_none()
        {
            writeln!(out, "  the last {} bytes from offset {} on: {}", torn.bytes, torn.at, torn.what)?;
        }
        for (name, count) in &self.excluded {
            writeln!(out, "left out: {name} {count}")?;
        }
        Ok(())
    }

    /// Appends it as one JSON object in one line.
    pub(crate) fn json(&self, out: &mut Vec<u8>, log: &Log) {
        let number = |out: &mut Vec<u8>, name: &str, value: u64| {
            json::push_name(out, name);
            json::push_u64(out, value);
        };
        let time = |out: &mut Vec<u8>, name: &str, value: i64| {
            json::push_name(out, name);
            out.extend_from_slice(value.to_string().as_bytes());
        };
        let counts = |out: &mut Vec<u8>, name: &str, counts: &BTreeMap<String, u64>| {
            json::push_name(out, name);
            out.push(b'{');
            for (name, count) in counts {
                number(out, name, *count);
            }
            out.push(b'}');
        };
        out.push(b'{');
        if let Some(Cut { place, meant }) = self.cut {
            json::push_name(out, "file");
            json::push_bytes(out, &log.parts[place.part].name);
            number(out, "offset", place.at);
            if let Some(meant) = meant {
                number(out, "transaction_of", meant.at);
            }
        }
        json::push_name(out, "files");
        let numbers: Vec<usize> = (0..log.parts.len()).collect();
        json::push_array(out, &numbers, |out, at| {
            let (part, share) = (&log.parts[*at], &self.shares[*at]);
            out.push(b'{');
            json::push_name(out, "file");
            json::push_bytes(out, &part.name);
            number(out, "bytes", part.bytes);
            number(out, "kept_bytes", self.ends.get(*at).copied().unwrap_or(0));
            number(out, "kept_commands", share.kept);
            number(out, "dropped_commands", share.dropped);
            out.push(b'}');
        });
        counts(out, "dropped", &self.names);
        if let Some((first, last)) = self.dropped_times {
            time(out, "dropped_from", first);
            time(out, "dropped_to", last);
        }
        if let Some(kept) = self.kept_time {
            time(out, "kept_to", kept);
        }
        counts(out, "excluded", &self.excluded);
        out.extend_from_slice(b"}\n");
    }
}
