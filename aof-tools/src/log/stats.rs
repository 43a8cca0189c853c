//! Counts instead of lines: by time, by command, by key prefix. Memory is bounded: many seconds become
//! fewer longer spans, and prefixes beyond some thousands are counted together.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use anyhow::Context;
use rdb_tools::json;
use rdb_tools::output::Shown;

use crate::cmd::log::Reader;
use crate::log::choice::Choice;
use crate::log::ledger::tell;
use crate::time;
use crate::vocabulary::Vocabulary;
use crate::walk::{Damage, Entry, Visit};

/// Spans of time that are counted apart.
const MOST_SPANS: usize = 20_000;
/// Lines of the table of times.
const SHOWN_SPANS: usize = 60;
/// Prefixes that are counted apart.
const MOST_PREFIXES: usize = 50_000;
/// Names of commands that are counted apart: those of modules may be any.
const MOST_COMMANDS: usize = 5_000;
/// A longer prefix is cut.
const MOST_PREFIX_BYTES: usize = 256;
/// Lengths of spans, in seconds.
const SPANS: [i64; 10] = [1, 10, 60, 600, 3600, 21_600, 86_400, 604_800, 2_592_000, 31_536_000];

/// How often, and how much.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Count {
    commands: u64,
    bytes: u64,
}

impl Count {
    fn add(&mut self, other: Count) {
        self.commands += other.commands;
        self.bytes += other.bytes;
    }
}

/// Counts commands.
pub(crate) struct Stats<'a> {
    vocabulary: &'a Vocabulary,
    choice: &'a mut Choice,
    separator: &'a [u8],
    depth: usize,
    file: Vec<u8>,
    all: Count,
    transactions: u64,
    /// Seconds of a span.
    span: i64,
    /// By the start of a span.
    times: BTreeMap<i64, Count>,
    without_time: Count,
    commands: HashMap<Vec<u8>, Count>,
    prefixes: HashMap<Vec<u8>, Count>,
    other_prefixes: Count,
    is_damaged: bool,
    /// Whether damage is told only by the exit code.
    is_quiet: bool,
}

impl<'a> Stats<'a> {
    pub(crate) fn new(
        vocabulary: &'a Vocabulary,
        choice: &'a mut Choice,
        separator: &'a [u8],
        depth: usize,
    ) -> Self {
        Self {
            vocabulary,
            choice,
            separator,
            depth,
            file: Vec::new(),
            all: Count::default(),
            transactions: 0,
            span: SPANS[0],
            times: BTreeMap::new(),
            without_time: Count::default(),
            commands: HashMap::new(),
            prefixes: HashMap::new(),
            other_prefixes: Count::default(),
            is_damaged: false,
            is_quiet: false,
        }
    }

    /// Tells no damage.
    pub(crate) fn keep_quiet(&mut self) {
        self.is_quiet = true;
    }

    fn count_time(&mut self, at: Option<i64>, count: Count) {
        let Some(at) = at else { return self.without_time.add(count) };
        self.times.entry(at.div_euclid(self.span) * self.span).or_default().add(count);
        while self.times.len() > MOST_SPANS {
            let Some(longer) = SPANS.iter().find(|span| **span > self.span) else { break };
            self.span = *longer;
            self.times = widen(&self.times, self.span);
        }
    }

    fn count_command(&mut self, name: &[u8], count: Count) {
        // Nearly all names have been seen before, in the same case.
        if let Some(known) = self.commands.get_mut(name) {
            return known.add(count);
        }
        let upper = name[..name.len().min(64)].to_ascii_uppercase();
        if self.commands.len() < MOST_COMMANDS || self.commands.contains_key(&upper) {
            self.commands.entry(upper).or_default().add(count);
        }
    }

    fn count_prefix(&mut self, key: &[u8], count: Count) {
        let prefix = prefix_of(key, self.separator, self.depth);
        if let Some(known) = self.prefixes.get_mut(prefix) {
            return known.add(count);
        }
        if self.prefixes.len() < MOST_PREFIXES {
            self.prefixes.insert(prefix.to_vec(), count);
        } else {
            self.other_prefixes.add(count);
        }
    }

    /// Tables for people.
    pub(crate) fn as_text(&self, top: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let all = self.all;
        push(
            &mut out,
            &format!("{} commands, {} bytes, {} transactions", all.commands, all.bytes, self.transactions),
        );
        if !self.times.is_empty() {
            let fits = |span: &&i64| **span >= self.span && widen(&self.times, **span).len() <= SHOWN_SPANS;
            let span = SPANS.iter().find(fits).copied().unwrap_or(SPANS[SPANS.len() - 1]);
            push(
                &mut out,
                &format!(
                    "\n{:<22}{:>12}{:>12}{:>14}",
                    format!("every {span} s"),
                    "commands",
                    "a second",
                    "bytes"
                ),
            );
            for (start, count) in widen(&self.times, span) {
                let rate = count.commands as f64 / span as f64;
                let start = time::shown(start);
                push(&mut out, &format!("{start:<22}{:>12}{rate:>12.1}{:>14}", count.commands, count.bytes));
            }
            if self.without_time.commands > 0 {
                let Count { commands, bytes } = self.without_time;
                push(&mut out, &format!("{:<22}{commands:>12}{:>12}{bytes:>14}", "no time", ""));
            }
        }
        self.push_table(&mut out, "command", &self.commands, Count::default(), top);
        self.push_table(&mut out, "prefix", &self.prefixes, self.other_prefixes, top);
        out
    }

    fn push_table(
        &self,
        out: &mut Vec<u8>,
        what: &str,
        counts: &HashMap<Vec<u8>, Count>,
        others: Count,
        top: usize,
    ) {
        let rows = sorted(counts);
        if rows.is_empty() {
            return;
        }
        push(out, &format!("\n{what:<32}{:>12}{:>7}{:>14}", "commands", "%", "bytes"));
        let mut row = |name: String, count: Count| {
            let percent = 100.0 * count.commands as f64 / (self.all.commands.max(1)) as f64;
            push(out, &format!("{name:<32}{:>12}{percent:>7.1}{:>14}", count.commands, count.bytes));
        };
        let mut rest = others;
        for (i, (name, count)) in rows.iter().enumerate() {
            if i < top {
                let is_empty = name.is_empty();
                row(if is_empty { "(none)".to_owned() } else { Shown(name).to_string() }, *count);
            } else {
                rest.add(*count);
            }
        }
        if rest.commands > 0 {
            row("(others)".to_owned(), rest);
        }
    }

    /// One object.
    pub(crate) fn as_json(&self) -> Vec<u8> {
        let mut out = b"{".to_vec();
        let numbers = [
            ("commands", self.all.commands),
            ("bytes", self.all.bytes),
            ("transactions", self.transactions),
            ("without_time", self.without_time.commands),
        ];
        for (name, value) in numbers {
            json::push_name(&mut out, name);
            json::push_u64(&mut out, value);
        }
        json::push_name(&mut out, "span_seconds");
        json::push_i64(&mut out, self.span);
        json::push_name(&mut out, "times");
        json::push_array(&mut out, &self.times, |out, (start, count)| {
            out.push(b'{');
            json::push_name(out, "time");
            json::push_i64(out, *start);
            push_count(out, *count);
        });
        for (what, name, counts) in
            [("by_command", "command", &self.commands), ("by_prefix", "prefix", &self.prefixes)]
        {
            json::push_name(&mut out, what);
            json::push_array(&mut out, sorted(counts), |out, (word, count)| {
                out.push(b'{');
                json::push_name(out, name);
                json::push_bytes(out, word);
                push_count(out, count);
            });
        }
        if self.other_prefixes.commands > 0 {
            json::push_name(&mut out, "other_prefixes");
            out.push(b'{');
            json::push_name(&mut out, "counted");
            out.extend_from_slice(b"true");
            push_count(&mut out, self.other_prefixes);
        }
        out.extend_from_slice(b"}\n");
        out
    }
}

fn push(out: &mut Vec<u8>, line: &str) {
    out.extend_from_slice(line.trim_end().as_bytes());
    out.push(b'\n');
}

fn push_count(out: &mut Vec<u8>, count: Count) {
    for (name, value) in [("commands", count.commands), ("bytes", count.bytes)] {
        json::push_name(out, name);
        json::push_u64(out, value);
    }
    out.push(b'}');
}

fn sorted(counts: &HashMap<Vec<u8>, Count>) -> Vec<(&Vec<u8>, Count)> {
    let mut rows: Vec<_> = counts.iter().map(|(name, count)| (name, *count)).collect();
    rows.sort_by(|a, b| b.1.commands.cmp(&a.1.commands).then_with(|| a.0.cmp(b.0)));
    rows
}

fn widen(times: &BTreeMap<i64, Count>, span: i64) -> BTreeMap<i64, Count> {
    let mut wider: BTreeMap<i64, Count> = BTreeMap::new();
    for (start, count) in times {
        wider.entry(start.div_euclid(span) * span).or_default().add(*count);
    }
    wider
}

/// The key up to and with its `depth`th separator; all of a key that has fewer stands under the whole of
/// what it has, and a key without any under nothing.
fn prefix_of<'k>(key: &'k [u8], separator: &[u8], depth: usize) -> &'k [u8] {
    let mut end = 0;
    for _ in 0..depth {
        let Some(at) = memchr::memmem::find(&key[end..], separator) else { break };
        if separator.is_empty() {
            break;
        }
        end += at + separator.len();
    }
    &key[..end.min(MOST_PREFIX_BYTES)]
}

impl Visit for Stats<'_> {
    fn command(&mut self, entry: &Entry<'_>) -> anyhow::Result<bool> {
        if matches!(entry.mark, Some(Ok(crate::scan::Mark::Exec))) {
            self.transactions += 1;
        }
        if !self.choice.has(entry, self.vocabulary) {
            return Ok(true);
        }
        if self.choice.left == 0 {
            return Ok(false);
        }
        self.choice.left -= 1;
        let count = Count { commands: 1, bytes: entry.end - entry.at };
        self.all.add(count);
        self.count_time(entry.time, count);
        self.count_command(entry.argv.first().copied().unwrap_or_default(), count);
        // A command is counted under its first key, so that the table adds up.
        if let Some(at) = self.vocabulary.keys(entry.argv).first() {
            self.count_prefix(entry.argv[*at], count);
        }
        Ok(true)
    }

    fn damage(&mut self, damage: &Damage) -> anyhow::Result<Option<u64>> {
        self.is_damaged = true;
        if self.is_quiet {
            return Ok(None);
        }
        writeln!(io::stderr(), "aof-tools: {}: {}", Shown(&self.file), tell(damage)).context("writing")?;
        Ok(None)
    }
}

impl Reader for Stats<'_> {
    fn begin(&mut self, name: &[u8]) {
        self.file = name.to_vec();
    }

    fn is_damaged(&self) -> bool {
        self.is_damaged
    }
}

#[cfg(test)]
mod tests {
    use super::prefix_of;

    #[test]
    fn prefixes_end_with_their_separator() {
        let check = |key: &str, depth, prefix: &str| {
            assert_eq!(prefix_of(key.as_bytes(), b":", depth), prefix.as_bytes(), "{key} {depth}");
        };
        check("a:b:c", 1, "a:");
        check("a:b:c", 2, "a:b:");
        check("a:b:c", 9, "a:b:");
        check("abc", 1, "");
        check(":x", 1, ":");
        check("a:b", 0, "");
        assert_eq!(prefix_of(b"a::b::c", b"::", 2), b"a::b::");
        assert_eq!(prefix_of(b"abc", b"", 3), b"");
    }
}
