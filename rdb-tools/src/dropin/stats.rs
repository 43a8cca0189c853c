//! The figures of `valkey-check-rdb --stats`: keys, elements and sizes by database and type.
//!
//! Numbers are those of the tool, with its habits: a packed sorted set counts scores as elements, percentiles come
//! from histograms of three significant digits that leave out what is above their range.
//! Witness: valkey src/valkey-check-rdb.c (9.1), and its output.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, Write};

use cairn_engine::base::num;
use cairn_engine::codec::rdb::{Depth, Family, KeyHead, ObjectType, Sink, ValueEvent, Version, decode_value};

/// How the figures are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Format {
    Info,
    #[default]
    Table,
    Csv,
}

impl Format {
    pub(super) fn parse(text: &std::ffi::OsStr) -> Option<Self> {
        match text.to_str()? {
            "info" => Some(Self::Info),
            "table" => Some(Self::Table),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }
}

/// Types in the order in which they are printed.
const TYPES: [(Family, &str); 7] = [
    (Family::String, "string"),
    (Family::List, "list"),
    (Family::Set, "set"),
    (Family::Zset, "zset"),
    (Family::Hash, "hash"),
    (Family::Module, "module"),
    (Family::Stream, "stream"),
];

/// Counts of values, told apart by three digits.
#[derive(Debug, Default)]
struct Histogram {
    counts: BTreeMap<u64, u64>,
    total: u64,
}

impl Histogram {
    fn add(&mut self, value: u64, most: u64) {
        /// Values below this are told apart exactly.
        const EXACT: u64 = 2048;
        if value > most {
            return;
        }
        let shift = value.checked_div(EXACT).map_or(0, |over| u64::BITS - over.leading_zeros());
        // The highest value that falls into the same place.
        let place = (value >> shift << shift) + (1 << shift) - 1;
        *self.counts.entry(place).or_default() += 1;
        self.total += 1;
    }

    fn percentile(&self, percent: f64) -> u64 {
        let wanted = ((percent / 100.0 * self.total as f64 + 0.5) as u64).max(1);
        let mut seen = 0;
        for (value, count) in &self.counts {
            seen += count;
            if seen >= wanted {
                return *value;
            }
        }
        0
    }
}

/// The figures of one type in one database.
#[derive(Debug, Default)]
struct Figures {
    keys: u64,
    expires: u64,
    already_expired: u64,
    key_bytes: u64,
    elements: u64,
    element_bytes: u64,
    most_elements: u64,
    largest_element: u64,
    counts: Histogram,
    sizes: Histogram,
}

/// What the histograms reach up to.
const MOST_COUNT: u64 = 200 * 1024;
const MOST_SIZE: u64 = 1024 * 1024;

impl Figures {
    fn count(&mut self, elements: u64) {
        self.elements += elements;
        self.most_elements = self.most_elements.max(elements);
        self.counts.add(elements, MOST_COUNT);
    }

    fn element(&mut self, bytes: u64) {
        self.element_bytes += bytes;
        self.largest_element = self.largest_element.max(bytes);
        self.sizes.add(bytes, MOST_SIZE);
    }

    /// The rows by name. The first, the name of the type, is no figure.
    fn rows(&self) -> [(&'static str, String); 17] {
        let average = |sum: u64, of: u64| match of {
            0 => "0.00".to_owned(),
            of => format!("{:.2}", f64::from(sum as f32 / of as f32)),
        };
        let at = |histogram: &Histogram, percent: f64| {
            format!("{:.2}", f64::from(histogram.percentile(percent) as f32))
        };
        [
            ("keys.total", self.keys.to_string()),
            ("expire_keys.total", self.expires.to_string()),
            ("already_expired.total", self.already_expired.to_string()),
            ("keys.size", self.key_bytes.to_string()),
            ("keys.value_size", self.element_bytes.to_string()),
            ("elements.total", self.elements.to_string()),
            ("elements.size", self.element_bytes.to_string()),
            ("elements.num.max", self.most_elements.to_string()),
            ("elements.num.avg", average(self.elements, self.keys)),
            ("elements.num.p99", at(&self.counts, 99.0)),
            ("elements.num.p90", at(&self.counts, 90.0)),
            ("elements.num.p50", at(&self.counts, 50.0)),
            ("elements.size.max", self.largest_element.to_string()),
            ("elements.size.avg", average(self.element_bytes, self.elements)),
            ("elements.size.p99", at(&self.sizes, 99.0)),
            ("elements.size.p90", at(&self.sizes, 90.0)),
            ("elements.size.p50", at(&self.sizes, 50.0)),
        ]
    }
}

/// The figures of a file.
#[derive(Debug, Default)]
pub(super) struct Stats {
    dbs: BTreeMap<u64, [Figures; TYPES.len()]>,
    last_db: u64,
}

/// What is known of a key.
pub(super) struct Counted<'a> {
    pub(super) db: u64,
    pub(super) key: &'a [u8],
    pub(super) expires: bool,
    pub(super) has_expired: bool,
    pub(super) object: ObjectType,
    pub(super) version: Version,
    pub(super) payload: &'a [u8],
}

/// The elements of one value.
#[derive(Default)]
struct Elements {
    sizes: Vec<u64>,
    longest_member: u64,
    /// What a stream says that it has.
    stream_length: Option<u64>,
}

impl Sink for Elements {
    type Error = Infallible;

    fn key(&mut self, _head: &KeyHead<'_>) -> Result<Depth, Infallible> {
        Ok(Depth::Item)
    }

    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), Infallible> {
        match event {
            ValueEvent::String { bytes, .. } | ValueEvent::Element(bytes) => {
                self.sizes.push(bytes.len() as u64);
            }
            ValueEvent::Field { field, value, .. } => self.sizes.push((field.len() + value.len()) as u64),
            ValueEvent::Member { member, score } => {
                self.longest_member = self.longest_member.max(member.len() as u64);
                self.sizes.push((member.len() + score_chars(score)) as u64);
            }
            ValueEvent::StreamEntry { fields, .. } => {
                let (pairs, _) = fields.as_chunks::<2>();
                self.sizes.extend(pairs.iter().map(|[field, value]| (field.len() + value.len()) as u64));
            }
            ValueEvent::StreamTotals(totals) => self.stream_length = Some(totals.length),
            _ => {}
        }
        Ok(())
    }
}

/// How long a score is as the tool prints it: in exponents also where commands answer integers.
fn score_chars(score: f64) -> usize {
    /// Zeros at the end that are still printed.
    const MOST_ZEROS: usize = 7;
    let mut text = Vec::new();
    num::push_f64_shortest(&mut text, score);
    let digits = text.strip_prefix(b"-").unwrap_or(&text);
    let zeros = digits.iter().rev().take_while(|c| **c == b'0').count();
    if zeros <= MOST_ZEROS || !digits.iter().all(u8::is_ascii_digit) {
        return text.len();
    }
    let significant = digits.len() - zeros;
    let exponent = (digits.len() - 1).to_string().len();
    let point = usize::from(significant > 1);
    text.len() - digits.len() + significant + point + "e+".len() + exponent
}

impl Stats {
    /// The database of the keys that follow.
    pub(super) fn select(&mut self, db: u64) {
        self.last_db = self.last_db.max(db);
    }

    /// Adds a key whose value is right.
    pub(super) fn add(&mut self, key: &Counted<'_>) {
        /// Thresholds of a server's defaults, by which a sorted set is packed.
        const MOST_PACKED: u64 = 128;
        const LONGEST_PACKED: u64 = 64;
        /// The tool reads a module's value as a string of its own of this length, and counts that.
        const MODULE_BYTES: u64 = 18;
        let is_module = key.object.family() == Family::Module;
        let family = if is_module { Family::String } else { key.object.family() };
        let Some(at) = TYPES.iter().position(|(of, _)| *of == family) else { return };
        let figures = &mut self.dbs.entry(key.db).or_default()[at];
        figures.keys += 1;
        figures.expires += u64::from(key.expires);
        figures.already_expired += u64::from(key.has_expired);
        figures.key_bytes += key.key.len() as u64;
        if is_module {
            figures.element(MODULE_BYTES);
            return figures.count(1);
        }
        let mut elements = Elements::default();
        // It was read before, and was right.
        let _ = decode_value(key.version, key.object.byte(), key.payload, Depth::Item, &mut elements);
        let count = elements.sizes.len() as u64;
        let is_packed = match key.object {
            ObjectType::ZsetListpack | ObjectType::ZsetZiplist => count <= MOST_PACKED,
            _ => count <= MOST_PACKED && elements.longest_member <= LONGEST_PACKED,
        };
        elements.sizes.iter().for_each(|bytes| figures.element(*bytes));
        figures.count(match key.object.family() {
            Family::Zset if is_packed => 2 * count,
            Family::Stream => elements.stream_length.unwrap_or(0),
            _ => count,
        });
    }

    /// Prints them all, also those of databases without keys up to the last.
    pub(super) fn print(&self, format: Format, out: &mut dyn Write) -> io::Result<()> {
        /// A damaged file can name any database; each takes 18 lines.
        const MOST_DBS: u64 = 1 << 16;
        let none = <[Figures; TYPES.len()]>::default();
        for db in 0..=self.last_db.min(MOST_DBS) {
            let rows: Vec<_> = self.dbs.get(&db).unwrap_or(&none).iter().map(Figures::rows).collect();
            if format != Format::Info {
                self.line(format, db, "type.name", TYPES.iter().map(|(_, name)| *name), out)?;
            }
            for (i, (name, _)) in rows[0].iter().enumerate() {
                let values = rows.iter().map(|row| row[i].1.as_str());
                match format {
                    Format::Info => {
                        for ((_, of), value) in TYPES.iter().zip(values) {
                            writeln!(out, "[info] db.{db}.type.{of}.{name}:{value}")?;
                        }
                    }
                    _ => self.line(format, db, name, values, out)?,
                }
            }
        }
        Ok(())
    }

    fn line<'v>(
        &self,
        format: Format,
        db: u64,
        name: &str,
        values: impl Iterator<Item = &'v str>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let name = format!("db.{db}.{name}");
        match format {
            Format::Table => write!(out, "{name:<30}")?,
            _ => write!(out, "{name}")?,
        }
        for value in values {
            match format {
                Format::Table => write!(out, "\t{value:<5}")?,
                _ => write!(out, ",{value}")?,
            }
        }
        writeln!(out)
    }
}
