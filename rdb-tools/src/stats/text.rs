//! Statistics as text for people: aligned, with bytes of keys escaped.

use std::cmp::Reverse;
use std::fmt::Write;

use cairn_engine::base::time::UnixMs;

use super::Tally;
use super::spans::{IDLE_NAMES, Share, TTL_NAMES};
use super::summary::{Summary, UNEXPLAINED};
use super::top::BigKey;
use crate::output::{Shown, clean};
use crate::when;

/// Bytes as people read them.
#[must_use]
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut unit = 0;
    let mut value = bytes as f64;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ if value < 10.0 => format!("{value:.2} {}", UNITS[unit]),
        _ if value < 100.0 => format!("{value:.1} {}", UNITS[unit]),
        _ => format!("{value:.0} {}", UNITS[unit]),
    }
}

/// A number with its thousands apart.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A share in percent.
#[must_use]
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { format!("{:.1}%", part as f64 * 100.0 / whole as f64) }
}

/// A moment as people read it.
#[must_use]
pub fn moment(unix_ms: i64) -> String {
    let text = when::show(UnixMs(unix_ms));
    match text.strip_suffix(".000Z") {
        Some(seconds) => format!("{seconds}Z"),
        None => text,
    }
}

/// Rows of cells: the first is aligned to the left, or the last if it is free text, the others to the right.
struct Table {
    rows: Vec<Vec<String>>,
    /// The last cell is text of any length.
    has_text: bool,
}

impl Table {
    fn new(head: &[&str], has_text: bool) -> Self {
        Self { rows: vec![head.iter().map(|cell| (*cell).to_owned()).collect()], has_text }
    }

    fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    fn write(&self, out: &mut String) {
        let columns = self.rows[0].len();
        let widths: Vec<usize> = (0..columns)
            .map(|at| self.rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0))
            .collect();
        for row in &self.rows {
            let mut line = String::from(" ");
            for (at, cell) in row.iter().enumerate() {
                let pad = " ".repeat(widths[at].saturating_sub(cell.chars().count()));
                line.push(' ');
                match at {
                    _ if at + 1 == columns && self.has_text => {
                        line.push(' ');
                        line.push_str(cell);
                    }
                    0 => {
                        line.push_str(cell);
                        line.push_str(&pad);
                    }
                    _ => {
                        line.push(' ');
                        line.push_str(&pad);
                        line.push_str(cell);
                    }
                }
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
    }
}

/// Everything, for a terminal or a mail.
#[must_use]
pub fn write(summary: &Summary) -> String {
    let mut out = String::new();
    head(&mut out, summary);
    memory(&mut out, summary);
    types(&mut out, summary);
    let stats = &summary.stats;
    let encodings = stats
        .encodings
        .iter()
        .map(|((family, encoding), tally)| (format!("{} {}", family.name(), encoding.name()), tally));
    tallies(&mut out, summary, "encodings, as the server would choose them", encodings);
    let records = stats.records.iter().map(|(name, tally)| ((*name).to_owned(), tally));
    tallies(&mut out, summary, "records, as the file has them", records);
    if stats.dbs.len() > 1 {
        tallies(
            &mut out,
            summary,
            "databases",
            stats.dbs.iter().map(|(db, tally)| (format!("db {db}"), tally)),
        );
    }
    sizes(&mut out, summary);
    spans(&mut out, "time to live of keys", &TTL_NAMES, &stats.ttls, true);
    if summary.has_field_ttls() {
        spans(
            &mut out,
            "time to live of hash fields (in hashes that have some)",
            &TTL_NAMES,
            &stats.field_ttls,
            false,
        );
    }
    if summary.has_idle() {
        spans(&mut out, "idle for", &IDLE_NAMES, &stats.idle, true);
    }
    prefixes(&mut out, summary);
    big_keys(&mut out, "biggest keys by memory", &summary.by_memory, false);
    big_keys(&mut out, "biggest keys by elements", &summary.by_elements, false);
    if summary.has_freq() {
        big_keys(&mut out, "most used keys", &summary.by_freq, true);
    }
    slots(&mut out, summary);
    out
}

fn title(out: &mut String, text: &str) {
    let _ = writeln!(out, "\n{text}");
}

/// Writing to a string cannot fail.
macro_rules! line {
    ($out:expr, $($arg:tt)*) => {{ let _ = writeln!($out, $($arg)*); }};
}

fn head(out: &mut String, summary: &Summary) {
    let (origin, stats) = (&summary.origin, &summary.stats);
    line!(out, "{}", clean(&summary.name));
    let mut of = Vec::new();
    if let Some(version) = origin.version {
        of.push(String::from_utf8_lossy(&version.magic()).into_owned());
    }
    if let Some((name, version)) = &origin.producer {
        of.push(format!("{name} {}", Shown(version)));
    }
    if let Some(seconds) = origin.written_at_s {
        of.push(format!("written {}", moment(seconds.saturating_mul(1000))));
    }
    line!(out, "  {}", of.join(", "));
    let total = &stats.total;
    line!(
        out,
        "  {} keys, {} of them expiring ({} expired as of {}), in {} in the file",
        grouped(total.keys),
        grouped(total.expiring),
        grouped(total.expired),
        moment(stats.now_ms()),
        human(total.file_bytes)
    );
    if !summary.is_complete {
        line!(
            out,
            "  INCOMPLETE: the file could not be read to its end; what follows is of the keys before that"
        );
    }
    if !summary.is_everything {
        line!(out, "  only the keys that were chosen");
    }
}

fn memory(out: &mut String, summary: &Summary) {
    let memory = &summary.memory;
    title(out, &format!("memory, as {} would hold it", summary.stats.target().server.name()));
    let mut table = Table::new(&["", "bytes", ""], false);
    let mut row = |name: &str, bytes: u64| table.row([name.to_owned(), grouped(bytes), human(bytes)]);
    row("keys and values", memory.keys);
    if memory.overcounted > 0 {
        row("of that, counted too much by MEMORY USAGE", memory.overcounted);
    }
    row("tables of keys", memory.tables.keys);
    row("tables of expiries", memory.tables.expires);
    if memory.functions > 0 {
        row("function libraries", memory.functions);
    }
    row("an empty server", memory.startup);
    row("sum", memory.sum());
    if let Some(used) = summary.origin.used_memory {
        row("used-mem of the writer", used);
    }
    table.write(out);
    match (summary.unexplained(), summary.why_not_compared()) {
        (Some(rest), _) => {
            let share = percent(rest.unsigned_abs() as u64, summary.origin.used_memory.unwrap_or(0));
            let size = human(rest.unsigned_abs() as u64);
            if rest >= 0 {
                line!(out, "  not explained: {size} ({share}) of used-mem: {UNEXPLAINED}");
            } else {
                line!(out, "  the estimate is {size} ({share}) above used-mem");
            }
        }
        (None, Some(why)) => line!(out, "  not compared with used-mem: {why}"),
        (None, None) => {}
    }
}

fn tally_cells(name: String, tally: &Tally, whole: u64) -> [String; 8] {
    [
        name,
        grouped(tally.keys),
        human(tally.memory),
        percent(tally.memory, whole),
        grouped(tally.memory.checked_div(tally.keys).unwrap_or(0)),
        human(tally.file_bytes),
        grouped(tally.elements),
        grouped(tally.expiring),
    ]
}

const TALLY_HEAD: [&str; 8] = ["", "keys", "memory", "share", "bytes/key", "in file", "elements", "expiring"];

fn types(out: &mut String, summary: &Summary) {
    let rows = summary.stats.types().map(|(family, stats)| (family.name().to_owned(), &stats.tally));
    tallies(out, summary, "types", rows);
}

fn tallies<'t>(
    out: &mut String,
    summary: &Summary,
    name: &str,
    rows: impl Iterator<Item = (String, &'t Tally)>,
) {
    title(out, name);
    let mut table = Table::new(&TALLY_HEAD, false);
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by_key(|(_, tally)| Reverse(tally.memory));
    for (name, tally) in rows {
        table.row(tally_cells(name, tally, summary.stats.total.memory));
    }
    table.write(out);
}

fn sizes(out: &mut String, summary: &Summary) {
    title(out, "sizes (percentiles are at most 1/32 high)");
    let mut table = Table::new(&["", "mean", "p50", "p90", "p99", "greatest"], false);
    for (family, stats) in summary.stats.types() {
        let name = family.name();
        let all =
            [("memory", &stats.memory), ("elements", &stats.elements), ("bytes of an element", &stats.sizes)];
        for (what, histogram) in all {
            if histogram.count() == 0 || (what == "elements" && histogram.greatest() <= 1) {
                continue;
            }
            let what = if name == "stream" && what.starts_with("bytes") { "bytes of a node" } else { what };
            table.row([
                format!("{name} {what}"),
                format!("{:.1}", histogram.mean()),
                grouped(histogram.percentile(50)),
                grouped(histogram.percentile(90)),
                grouped(histogram.percentile(99)),
                grouped(histogram.greatest()),
            ]);
        }
    }
    table.write(out);
}

fn spans(out: &mut String, name: &str, names: &[&str], shares: &[Share], has_memory: bool) {
    title(out, name);
    let whole: u64 = shares.iter().map(|share| share.count).sum();
    let head: &[&str] = if has_memory { &["", "count", "share", "memory"] } else { &["", "count", "share"] };
    let mut table = Table::new(head, false);
    for (name, share) in names.iter().zip(shares) {
        let cells =
            [(*name).to_owned(), grouped(share.count), percent(share.count, whole), human(share.memory)];
        table.row(cells.into_iter().take(head.len()));
    }
    table.write(out);
}

fn prefixes(out: &mut String, summary: &Summary) {
    let prefixes = summary.prefixes();
    let mut rows = prefixes.rows();
    if rows.is_empty() {
        return;
    }
    let all = rows.len();
    // A prefix of one key says nothing that the key does not.
    rows.retain(|(_, below)| below.keys > 1);
    title(out, &format!("prefixes by memory (separator \"{}\")", Shown(&prefixes.cutting().separator)));
    let mut table = Table::new(&["memory", "share", "keys", "bytes/key", "expiring", "prefix"], true);
    let whole = summary.stats.total.memory;
    let without = prefixes.without();
    let shown = rows.len().min(summary.top);
    let lines = rows[..shown].iter().map(|(prefix, below)| (Shown(prefix).to_string(), *below));
    for (name, below) in
        lines.chain((without.keys > 0).then(|| ("(keys without a prefix)".to_owned(), without)))
    {
        table.row([
            human(below.memory),
            percent(below.memory, whole),
            grouped(below.keys),
            grouped(below.memory.checked_div(below.keys).unwrap_or(0)),
            grouped(below.expiring),
            name,
        ]);
    }
    table.write(out);
    let hidden = all - shown;
    if hidden > 0 {
        line!(out, "  and {} more", grouped(hidden as u64));
    }
    match prefixes.missing() {
        0 => {}
        missing => line!(
            out,
            "  there were too many prefixes to keep: a row may lack up to {}, and rows below that may be missing",
            human(missing)
        ),
    }
}

fn big_keys(out: &mut String, name: &str, keys: &[BigKey], by_freq: bool) {
    if keys.is_empty() {
        return;
    }
    title(out, name);
    let fourth = if by_freq { "counter" } else { "longest" };
    let mut table = Table::new(&["memory", "elements", fourth, "db", "type", "encoding", "key"], true);
    for big in keys {
        table.row([
            human(big.memory),
            grouped(big.elements),
            if by_freq { big.freq.unwrap_or(0).to_string() } else { human(big.longest) },
            big.db.to_string(),
            big.family.name().to_owned(),
            big.encoding.name().to_owned(),
            Shown(&big.key).to_string(),
        ]);
    }
    table.write(out);
}

fn slots(out: &mut String, summary: &Summary) {
    let slots = &summary.stats.slots;
    let hottest = slots.hottest(summary.top.min(5));
    if hottest.is_empty() {
        return;
    }
    let spread = slots.spread(summary.nodes);
    title(
        out,
        &format!(
            "slots: {} of 16384 have keys; spread over {} nodes",
            grouped(slots.used() as u64),
            spread.len()
        ),
    );
    let whole = summary.stats.total.memory;
    let mut table = Table::new(&["", "keys", "memory", "share"], false);
    const SHOWN_NODES: usize = 16;
    for (range, heat) in spread.iter().take(SHOWN_NODES) {
        let name = format!("slots {}-{}", range.start, range.end - 1);
        table.row([name, grouped(heat.keys), human(heat.memory), percent(heat.memory, whole)]);
    }
    for (slot, heat) in hottest {
        table.row([
            format!("hot slot {slot}"),
            grouped(heat.keys),
            human(heat.memory),
            percent(heat.memory, whole),
        ]);
    }
    table.write(out);
}

#[cfg(test)]
mod tests {
    use super::{grouped, human, percent};

    #[test]
    fn numbers_are_readable() {
        assert_eq!((human(0), human(1023), human(1024)), ("0 B".into(), "1023 B".into(), "1.00 KiB".into()));
        assert_eq!((human(15 << 20), human(u64::MAX)), ("15.0 MiB".into(), "16.0 EiB".into()));
        assert_eq!(
            (grouped(0), grouped(999), grouped(1_234_567)),
            ("0".into(), "999".into(), "1,234,567".into())
        );
        assert_eq!((percent(1, 3), percent(0, 0)), ("33.3%".into(), "-".into()));
    }
}
