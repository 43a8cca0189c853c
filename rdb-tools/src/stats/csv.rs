//! Statistics as tables of comma-separated values, one table at a time (RFC 4180, `\n` at line ends).
//!
//! Keys and prefixes are text with everything escaped that is no printable ASCII (`\xff`, `\n`, `\\`), so
//! that no reader is led astray and nothing is lost; cells are quoted where they must be. A cell that a
//! spreadsheet would take for a formula starts with its escape, too.

use std::io::{self, Write};

use clap::ValueEnum;

use super::spans::{IDLE_NAMES, TTL_NAMES};
use super::summary::Summary;
use super::top::BigKey;
use super::{Current, EachKey, Tally};
use crate::memory::Measured;

/// The tables that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Table {
    /// Keys, memory and so on by type, encoding, record, database and prefix
    Groups,
    /// A row for every key of the file
    Keys,
    /// The biggest keys
    Top,
    /// Percentiles of sizes by type
    Sizes,
    /// Times to live and idle times
    Spans,
    /// A row for every slot that has keys
    Slots,
}

/// The head of [`Table::Keys`].
pub const KEYS_HEAD: &[u8] =
    b"db,type,key,memory_bytes,encoding,elements,longest_element,file_bytes,pexpireat,idle,freq,offset\n";

fn push_text(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    let is_formula = bytes.first().is_some_and(|first| b"=+-@".contains(first));
    if is_formula {
        out.extend_from_slice(format!("\\x{:02x}", bytes[0]).as_bytes());
    }
    for &byte in &bytes[usize::from(is_formula)..] {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b' '..=b'~' => out.push(byte),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte => out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
        }
    }
    if memchr::memchr3(b',', b'"', b' ', &out[start..]).is_some() {
        let cell = out.split_off(start);
        out.push(b'"');
        for byte in cell {
            if byte == b'"' {
                out.push(b'"');
            }
            out.push(byte);
        }
        out.push(b'"');
    }
}

fn push_numbers<const N: usize>(out: &mut Vec<u8>, numbers: [u64; N]) {
    for number in numbers {
        out.push(b',');
        cairn_engine::base::num::push_u64(out, number);
    }
}

fn push_maybe(out: &mut Vec<u8>, number: Option<i128>) {
    out.push(b',');
    if let Some(number) = number {
        out.extend_from_slice(number.to_string().as_bytes());
    }
}

/// Appends the row of a key.
pub fn push_key(out: &mut Vec<u8>, key: &Current, measured: &Measured, file_bytes: u64) {
    cairn_engine::base::num::push_u64(out, key.db);
    out.push(b',');
    out.extend_from_slice(key.object.family().name().as_bytes());
    out.push(b',');
    push_text(out, &key.name);
    push_numbers(out, [measured.bytes]);
    out.push(b',');
    out.extend_from_slice(measured.encoding.name().as_bytes());
    push_numbers(out, [measured.elements, measured.longest, file_bytes]);
    push_maybe(out, key.expire_at.map(i128::from));
    push_maybe(out, key.idle_s.map(i128::from));
    push_maybe(out, key.freq.map(i128::from));
    push_numbers(out, [key.at]);
    out.push(b'\n');
}

/// Gathers rows and hands them on in chunks.
#[derive(Debug)]
pub struct Rows<F> {
    chunk: Vec<u8>,
    hand_on: F,
}

impl<F: FnMut(Vec<u8>) -> io::Result<()>> Rows<F> {
    const CHUNK_BYTES: usize = 64 << 10;

    /// Rows that `hand_on` gets.
    #[must_use]
    pub fn new(hand_on: F) -> Self {
        Self { chunk: Vec::new(), hand_on }
    }
}

impl<F: FnMut(Vec<u8>) -> io::Result<()>> EachKey for Rows<F> {
    type Error = io::Error;

    fn key(&mut self, key: &Current, measured: &Measured, file_bytes: u64) -> io::Result<()> {
        push_key(&mut self.chunk, key, measured, file_bytes);
        if self.chunk.len() >= Self::CHUNK_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() { Ok(()) } else { (self.hand_on)(std::mem::take(&mut self.chunk)) }
    }
}

/// Writes one of the tables, but for [`Table::Keys`], which is written while the file is read.
///
/// # Errors
/// Whatever writing says.
pub fn write(out: &mut dyn Write, table: Table, summary: &Summary) -> io::Result<()> {
    let mut text = Vec::new();
    match table {
        Table::Keys => {}
        Table::Groups => groups(&mut text, summary),
        Table::Top => top(&mut text, summary),
        Table::Sizes => sizes(&mut text, summary),
        Table::Spans => spans(&mut text, summary),
        Table::Slots => {
            text.extend_from_slice(b"slot,keys,memory_bytes\n");
            let all = (0u64..).zip(summary.stats.slots.all());
            for (slot, heat) in all.filter(|(_, heat)| heat.keys > 0) {
                text.extend_from_slice(slot.to_string().as_bytes());
                push_numbers(&mut text, [heat.keys, heat.memory]);
                text.push(b'\n');
            }
        }
    }
    out.write_all(&text)
}

fn groups(out: &mut Vec<u8>, summary: &Summary) {
    let stats = &summary.stats;
    out.extend_from_slice(b"group,name,keys,memory_bytes,file_bytes,elements,expiring,expired\n");
    let mut row = |group: &str, name: &[u8], tally: &Tally| {
        out.extend_from_slice(group.as_bytes());
        out.push(b',');
        push_text(out, name);
        let Tally { keys, memory, file_bytes, elements, expiring, expired } = *tally;
        push_numbers(out, [keys, memory, file_bytes, elements, expiring, expired]);
        out.push(b'\n');
    };
    row("total", b"", &stats.total);
    stats.types().for_each(|(family, of_type)| row("type", family.name().as_bytes(), &of_type.tally));
    for ((family, encoding), tally) in &stats.encodings {
        row("encoding", format!("{} {}", family.name(), encoding.name()).as_bytes(), tally);
    }
    stats.records.iter().for_each(|(name, tally)| row("record", name.as_bytes(), tally));
    stats.dbs.iter().for_each(|(db, tally)| row("db", db.to_string().as_bytes(), tally));
    // What is below a prefix is not known in bytes of the file, nor how much of it had expired.
    for (prefix, below) in summary.prefixes().rows() {
        out.extend_from_slice(b"prefix,");
        push_text(out, prefix);
        push_numbers(out, [below.keys, below.memory]);
        out.push(b',');
        push_numbers(out, [below.elements, below.expiring]);
        out.extend_from_slice(b",\n");
    }
}

fn top(out: &mut Vec<u8>, summary: &Summary) {
    out.extend_from_slice(
        b"by,rank,db,type,key,memory_bytes,encoding,elements,longest_element,file_bytes,offset\n",
    );
    let lists: [(&str, &[BigKey]); 3] =
        [("memory", &summary.by_memory), ("elements", &summary.by_elements), ("freq", &summary.by_freq)];
    for (by, keys) in lists {
        for (rank, big) in keys.iter().enumerate() {
            out.extend_from_slice(format!("{by},{},{},{},", rank + 1, big.db, big.family.name()).as_bytes());
            push_text(out, &big.key);
            push_numbers(out, [big.memory]);
            out.extend_from_slice(format!(",{}", big.encoding.name()).as_bytes());
            push_numbers(out, [big.elements, big.longest, big.file_bytes, big.at]);
            out.push(b'\n');
        }
    }
}

fn sizes(out: &mut Vec<u8>, summary: &Summary) {
    out.extend_from_slice(b"type,what,count,mean,p50,p90,p99,greatest\n");
    for (family, of_type) in summary.stats.types() {
        let all =
            [("memory", &of_type.memory), ("elements", &of_type.elements), ("element_bytes", &of_type.sizes)];
        for (what, histogram) in all {
            let (count, mean) = (histogram.count(), histogram.mean());
            out.extend_from_slice(format!("{},{what},{count},{mean:.1}", family.name()).as_bytes());
            push_numbers(out, [50, 90, 99].map(|percent| histogram.percentile(percent)));
            push_numbers(out, [histogram.greatest()]);
            out.push(b'\n');
        }
    }
}

fn spans(out: &mut Vec<u8>, summary: &Summary) {
    let stats = &summary.stats;
    out.extend_from_slice(b"of,span,count,memory_bytes\n");
    let of_keys = TTL_NAMES.iter().zip(&stats.ttls).map(|row| ("key ttl", row));
    let of_fields = TTL_NAMES.iter().zip(&stats.field_ttls).map(|row| ("field ttl", row));
    let idle = IDLE_NAMES.iter().zip(&stats.idle).map(|row| ("key idle", row));
    for (of, (span, share)) in of_keys.chain(of_fields).chain(idle) {
        out.extend_from_slice(format!("{of},{span}").as_bytes());
        push_numbers(out, [share.count, share.memory]);
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::push_text;

    #[test]
    fn cells_hold_any_bytes_and_no_formula() {
        let cell = |bytes: &[u8]| {
            let mut out = Vec::new();
            push_text(&mut out, bytes);
            String::from_utf8(out).expect("is ASCII")
        };
        assert_eq!(cell(b"user:1"), "user:1");
        assert_eq!(cell(b"a,\"b\"\n"), "\"a,\"\"b\"\"\\n\"");
        assert_eq!(cell(b"=1+1"), "\\x3d1+1");
        assert_eq!(cell(b"\\\xff\r"), "\\\\\\xff\\r");
        assert_eq!(cell(b""), "");
    }
}
