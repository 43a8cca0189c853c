//! Where a log is to end: as people say it, and as a place.
//!
//! A place is always in front of a whole command, and never inside a transaction: a transaction that has
//! not ended there is left out as a whole. Bases cannot be cut, as what is in them has no order in time.

use std::ops::ControlFlow;

use anyhow::bail;
use rdb_tools::fold::{Exclude, Log, Options, Place, Role, Seen, What, scan};
use rdb_tools::output::Shown;

use crate::time;

/// Places that are listed where one must be chosen.
const MOST_LISTED: usize = 20;

/// Where a log is to end.
#[derive(Debug, Clone)]
pub(crate) enum Until {
    /// In front of the first command that is later than this (Unix seconds).
    Time(i64),
    /// At this offset, counted over all files.
    Whole(u64),
    /// At this offset of a file.
    InFile(Vec<u8>, u64),
    /// In front of such a command.
    Before { rule: Exclude, which: Which },
}

/// Which of several commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// There is only one.
    Only,
    /// The one with this number, from 1.
    Number(u64),
    /// The last.
    Last,
}

impl Until {
    /// Reads what `--until` says.
    ///
    /// # Errors
    /// What it must look like.
    pub(crate) fn parse(text: &str) -> Result<Until, String> {
        let text = text.trim();
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        if word.eq_ignore_ascii_case("before") {
            let (rest, which) = which(rest.trim())?;
            return Ok(Until::Before { rule: Exclude::parse(rest)?, which });
        }
        if let Some(number) = text.strip_prefix("offset:") {
            let offset = number.parse().map_err(|_| format!("'{number}' is no offset"))?;
            return Ok(Until::Whole(offset));
        }
        match (time::parse(text), text.rsplit_once(':')) {
            (Ok(time), _) => Ok(Until::Time(time)),
            (Err(_), Some((file, number))) if number.parse::<u64>().is_ok() && !file.is_empty() => {
                Ok(Until::InFile(file.as_bytes().to_vec(), number.parse().unwrap_or(u64::MAX)))
            }
            _ => Err(format!(
                "'{text}': give a time (Unix seconds, 2026-11-21T12:00:00Z, '2026-11-21 12:00:00' in UTC), a place \
                 (FILE:OFFSET, or offset:N over all files), or 'before COMMAND [KEYGLOB] [#n]'"
            )),
        }
    }
}

/// Takes `#n` or `#last` off the end.
fn which(text: &str) -> Result<(&str, Which), String> {
    let Some((rest, number)) = text.rsplit_once('#').filter(|(rest, _)| rest.ends_with(char::is_whitespace))
    else {
        return Ok((text, Which::Only));
    };
    let which = match number.trim() {
        "last" => Which::Last,
        number => match number.parse() {
            Ok(number) if number > 0 => Which::Number(number),
            _ => {
                return Err(format!(
                    "'#{number}' is no number of a command: #1 is the first, #last the last"
                ));
            }
        },
    };
    Ok((rest.trim_end(), which))
}

/// A place in front of which a log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Where.
    pub(crate) place: Place,
    /// The place that was meant, where it is inside a transaction.
    pub(crate) meant: Option<Place>,
}

/// What is found on the way.
struct Found {
    cut: Option<Cut>,
    /// The last time that was told.
    time: Option<i64>,
    /// The first.
    first_time: Option<i64>,
    /// Commands that were asked for.
    hits: Vec<(Cut, Option<i64>, String)>,
    count: u64,
    refusal: Option<String>,
}

/// Finds the place. `None` if nothing of the log is behind it.
///
/// # Errors
/// There is no such place, or the log cannot be read.
pub(crate) fn find(log: &Log, options: &Options, until: &Until) -> anyhow::Result<Option<Cut>> {
    let until = &in_one_file(log, until)?;
    let mut found =
        Found { cut: None, time: None, first_time: None, hits: Vec::new(), count: 0, refusal: None };
    let ends = scan(log, options, &mut |seen| {
        let part = &log.parts[seen.place.part];
        let flow = look(&mut found, seen, until, log);
        // What is in a base is not in the order in which it came to be.
        if flow.is_break() && part.role == Role::Base && found.cut.is_some() {
            found.refusal = Some(format!("{}: a base cannot be cut", part.path.display()));
        }
        flow
    })
    .map_err(|fault| anyhow::anyhow!("{fault}"))?;
    if let Some(refusal) = found.refusal {
        bail!("{refusal}");
    }
    match until {
        Until::Time(_) if found.first_time.is_none() && found.cut.is_none() => bail!(
            "{}: the log has no timestamps (aof-timestamp-enabled was off when it was written); give a place, or \
             'before COMMAND'. 'aof-tools log' shows what is where",
            log.path.display()
        ),
        Until::InFile(name, at) if found.cut.is_none() => {
            let number = log.parts.iter().position(|part| part.name == *name);
            let Some(number) = number else { bail!("{}: no file \"{}\"", log.path.display(), Shown(name)) };
            let end = ends.files.get(number).copied().unwrap_or_default();
            if *at > log.parts[number].bytes {
                bail!("{}: has only {} bytes", log.parts[number].path.display(), log.parts[number].bytes);
            }
            let is_last = number + 1 == log.parts.len();
            let place = Place { part: number, at: end };
            Ok((!is_last).then_some(Cut { place, meant: None }))
        }
        Until::Before { which, .. } => chosen(&found, *which, log),
        _ => Ok(found.cut),
    }
}

/// An offset over all files as one in a file.
fn in_one_file(log: &Log, until: &Until) -> anyhow::Result<Until> {
    let Until::Whole(offset) = until else { return Ok(until.clone()) };
    let mut left = *offset;
    for part in &log.parts {
        if left < part.bytes {
            return Ok(Until::InFile(part.name.clone(), left));
        }
        left -= part.bytes;
    }
    match log.parts.last() {
        Some(last) if left == 0 => Ok(Until::InFile(last.name.clone(), last.bytes)),
        _ => bail!("{}: all files together have only {} bytes", log.path.display(), log.bytes()),
    }
}

fn cut_at(seen: &Seen<'_>) -> Cut {
    match seen.open_at {
        Some(at) if at != seen.place.at => Cut { place: Place { at, ..seen.place }, meant: Some(seen.place) },
        _ => Cut { place: seen.place, meant: None },
    }
}

fn look(found: &mut Found, seen: &Seen<'_>, until: &Until, log: &Log) -> ControlFlow<()> {
    if let What::Time(time) = seen.what {
        found.first_time.get_or_insert(time);
        found.time = Some(time);
    }
    match (until, &seen.what) {
        (Until::Time(limit), What::Rdb(Some(made))) if made > limit => {
            let path = log.parts[seen.place.part].path.display();
            let when = time::shown(*made);
            found.refusal = Some(format!(
                "{path}: was made at {when}, after that time: what was before is not in this log"
            ));
            return ControlFlow::Break(());
        }
        (Until::Time(limit), What::Time(time))
            if time > limit && log.parts[seen.place.part].role == Role::Base =>
        {
            let path = log.parts[seen.place.part].path.display();
            let when = time::shown(*time);
            found.refusal = Some(format!(
                "{path}: was made at {when}, after that time: what was before is not in this log"
            ));
            return ControlFlow::Break(());
        }
        (Until::Time(limit), What::Time(time)) if time > limit => {
            found.cut = Some(cut_at(seen));
            return ControlFlow::Break(());
        }
        (Until::InFile(name, at), _) if log.parts[seen.place.part].name == *name && seen.end > *at => {
            if matches!(seen.what, What::Rdb(_)) {
                let path = log.parts[seen.place.part].path.display();
                found.refusal =
                    Some(format!("{path}: an RDB file reaches to offset {}: it cannot be cut", seen.end));
                return ControlFlow::Break(());
            }
            found.cut = Some(cut_at(seen));
            return ControlFlow::Break(());
        }
        (Until::Before { rule, which }, What::Command(argv, data)) => {
            // A base is what was there; nobody asks for its commands.
            let is_hit = log.parts[seen.place.part].role != Role::Base && rule.is_meant(argv, *data);
            if !is_hit {
                return ControlFlow::Continue(());
            }
            found.count += 1;
            let is_wanted = match which {
                Which::Number(number) => found.count == *number,
                Which::Last => {
                    found.hits.clear();
                    true
                }
                Which::Only => found.hits.len() < MOST_LISTED,
            };
            if is_wanted {
                let words: Vec<String> = argv.iter().take(4).map(|word| Shown(word).to_string()).collect();
                found.hits.push((cut_at(seen), found.time, words.join(" ")));
            }
            if matches!(which, Which::Number(_)) && is_wanted {
                return ControlFlow::Break(());
            }
        }
        _ => {}
    }
    ControlFlow::Continue(())
}

/// The command that was meant, of those that were found.
fn chosen(found: &Found, which: Which, log: &Log) -> anyhow::Result<Option<Cut>> {
    let path = log.path.display();
    match (&found.hits[..], which) {
        ([], Which::Number(number)) if found.count > 0 => {
            bail!("{path}: there are only {} such commands, and not {number}", found.count)
        }
        ([], _) => bail!("{path}: there is no such command"),
        ([(cut, ..)], Which::Only) if found.count == 1 => Ok(Some(*cut)),
        (hits, Which::Only) => {
            let mut list =
                format!("{path}: there are {} such commands; add #1, #2 and so on, or #last:", found.count);
            for (number, (cut, time, words)) in hits.iter().enumerate() {
                let place = cut.meant.unwrap_or(cut.place);
                let file = log.parts[place.part].shown();
                let when = time.map_or(String::new(), |time| format!(", {}", time::shown(time)));
                list.push_str(&format!("\n  #{}  {file}:{}{when}: {words}", number + 1, place.at));
            }
            bail!("{list}")
        }
        (hits, _) => Ok(hits.last().map(|(cut, ..)| *cut)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_say_is_understood() {
        let shown = |text: &str| match Until::parse(text) {
            Ok(Until::Time(time)) => format!("time {time}"),
            Ok(Until::Whole(at)) => format!("offset {at}"),
            Ok(Until::InFile(file, at)) => format!("{} {at}", String::from_utf8_lossy(&file)),
            Ok(Until::Before { rule, which }) => format!("{rule:?} {which:?}"),
            Err(_) => "?".to_owned(),
        };
        assert_eq!(shown("1628217470"), "time 1628217470");
        assert_eq!(shown("2021-08-06 02:37:50"), "time 1628217470");
        assert_eq!(shown("2021-08-06T02:37:50Z"), "time 1628217470");
        assert_eq!(shown("offset:12"), "offset 12");
        assert_eq!(shown("appendonly.aof.1.incr.aof:120"), "appendonly.aof.1.incr.aof 120");
        assert_eq!(shown("before FLUSHALL"), "Exclude { name: \"flushall\", key: None } Only");
        assert_eq!(shown("Before flushall #2"), "Exclude { name: \"flushall\", key: None } Number(2)");
        let with_key = "Exclude { name: \"del\", key: Some([97, 35, 49]) }";
        assert_eq!(shown("before DEL a#1 #last"), format!("{with_key} Last"));
        assert_eq!(shown("before DEL a#1"), format!("{with_key} Only"));
        for wrong in ["", "before", "before DEL #0", "offset:x", "file:x", "yesterday", "before EXEC"] {
            assert_eq!(shown(wrong), "?", "{wrong}");
        }
    }
}
