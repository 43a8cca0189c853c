//! Statistics as one JSON object.

use super::histogram::Histogram;
use super::prefix::Below;
use super::spans::{IDLE_NAMES, Share, TTL_NAMES};
use super::summary::Summary;
use super::top::BigKey;
use super::{Tally, TypeStats};
use crate::json::{push_array, push_bytes, push_i64, push_name, push_text, push_u64};
use crate::output::Shown;

/// Appends the object, with everything that the other forms show.
pub fn push_json(out: &mut Vec<u8>, summary: &Summary) {
    push_json_with(out, summary, usize::MAX, usize::MAX);
}

/// The same with at most so many prefixes, and so many keys in each list.
pub fn push_json_with(out: &mut Vec<u8>, summary: &Summary, most_prefixes: usize, most_keys: usize) {
    let (origin, stats) = (&summary.origin, &summary.stats);
    out.push(b'{');
    text(out, "file", &summary.name);
    push_name(out, "version");
    match origin.version {
        Some(version) => push_bytes(out, &version.magic()),
        None => null(out),
    }
    if let Some((name, version)) = &origin.producer {
        text(out, "producer", &format!("{name} {}", Shown(version)));
    }
    if let Some(seconds) = origin.written_at_s {
        push_name(out, "written_at");
        push_i64(out, seconds);
    }
    flag(out, "complete", summary.is_complete);
    flag(out, "everything", summary.is_everything);
    text(out, "for", stats.target().server.name());
    push_name(out, "as_of_ms");
    push_i64(out, stats.now_ms());
    open(out, "total", |out| push_tally(out, &stats.total));
    open(out, "memory", |out| push_memory(out, summary));
    list(out, "types", stats.types(), |out, (family, of_type)| {
        text(out, "type", family.name());
        push_type(out, of_type);
    });
    list(out, "encodings", &stats.encodings, |out, ((family, encoding), tally)| {
        text(out, "type", family.name());
        text(out, "encoding", encoding.name());
        push_tally(out, tally);
    });
    list(out, "records", &stats.records, |out, (name, tally)| {
        text(out, "record", name);
        push_tally(out, tally);
    });
    list(out, "dbs", &stats.dbs, |out, (db, tally)| {
        number(out, "db", *db);
        push_tally(out, tally);
    });
    open(out, "key_bytes", |out| push_histogram(out, &stats.key_bytes));
    push_shares(out, "ttl", &TTL_NAMES, &stats.ttls, true);
    if summary.has_field_ttls() {
        push_shares(out, "field_ttl", &TTL_NAMES, &stats.field_ttls, false);
    }
    if summary.has_idle() {
        push_shares(out, "idle", &IDLE_NAMES, &stats.idle, true);
    }
    if summary.has_freq() {
        open(out, "freq", |out| push_histogram(out, &stats.freqs));
    }
    open(out, "prefixes", |out| push_prefixes(out, summary, most_prefixes));
    for (name, keys) in [
        ("biggest_by_memory", &summary.by_memory),
        ("biggest_by_elements", &summary.by_elements),
        ("most_used", &summary.by_freq),
    ] {
        list(out, name, keys.iter().take(most_keys), push_key);
    }
    open(out, "slots", |out| push_slots(out, summary));
    out.extend_from_slice(b"}\n");
}

fn null(out: &mut Vec<u8>) {
    out.extend_from_slice(b"null");
}

fn text(out: &mut Vec<u8>, name: &str, value: &str) {
    push_name(out, name);
    push_text(out, value);
}

fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    push_name(out, name);
    push_u64(out, value);
}

fn flag(out: &mut Vec<u8>, name: &str, value: bool) {
    push_name(out, name);
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

fn open(out: &mut Vec<u8>, name: &str, fill: impl FnOnce(&mut Vec<u8>)) {
    push_name(out, name);
    out.push(b'{');
    fill(out);
    out.push(b'}');
}

fn list<T>(
    out: &mut Vec<u8>,
    name: &str,
    items: impl IntoIterator<Item = T>,
    mut fill: impl FnMut(&mut Vec<u8>, T),
) {
    push_name(out, name);
    push_array(out, items, |out, item| {
        out.push(b'{');
        fill(out, item);
        out.push(b'}');
    });
}

fn push_tally(out: &mut Vec<u8>, tally: &Tally) {
    number(out, "keys", tally.keys);
    number(out, "memory", tally.memory);
    number(out, "file_bytes", tally.file_bytes);
    number(out, "elements", tally.elements);
    number(out, "expiring", tally.expiring);
    number(out, "expired", tally.expired);
}

fn push_memory(out: &mut Vec<u8>, summary: &Summary) {
    let memory = &summary.memory;
    number(out, "keys_and_values", memory.keys);
    number(out, "overcounted", memory.overcounted);
    number(out, "key_tables", memory.tables.keys);
    number(out, "expiry_tables", memory.tables.expires);
    number(out, "functions", memory.functions);
    number(out, "startup", memory.startup);
    number(out, "sum", memory.sum());
    push_name(out, "used_mem");
    match summary.origin.used_memory {
        Some(used) => push_u64(out, used),
        None => null(out),
    }
    push_name(out, "unexplained");
    match summary.unexplained() {
        // It is a difference of two numbers of 64 bits, and those are bytes of memory.
        Some(rest) => push_i64(out, i64::try_from(rest).unwrap_or(i64::MAX)),
        None => null(out),
    }
    if let Some(why) = summary.why_not_compared() {
        text(out, "not_compared", why);
    }
}

fn push_histogram(out: &mut Vec<u8>, histogram: &Histogram) {
    number(out, "count", histogram.count());
    number(out, "sum", u64::try_from(histogram.sum()).unwrap_or(u64::MAX));
    number(out, "least", histogram.least());
    for percent in [50, 90, 99] {
        number(out, &format!("p{percent}"), histogram.percentile(percent));
    }
    number(out, "greatest", histogram.greatest());
    push_name(out, "doublings");
    push_array(out, histogram.doublings(), push_u64);
}

fn push_type(out: &mut Vec<u8>, of_type: &TypeStats) {
    push_tally(out, &of_type.tally);
    open(out, "memory_of_key", |out| push_histogram(out, &of_type.memory));
    open(out, "elements_of_key", |out| push_histogram(out, &of_type.elements));
    open(out, "bytes_of_element", |out| push_histogram(out, &of_type.sizes));
}

fn push_shares(out: &mut Vec<u8>, name: &str, names: &[&str], shares: &[Share], has_memory: bool) {
    list(out, name, names.iter().zip(shares), |out, (span, share)| {
        text(out, "span", span);
        number(out, "count", share.count);
        if has_memory {
            number(out, "memory", share.memory);
        }
    });
}

fn push_below(out: &mut Vec<u8>, below: &Below) {
    number(out, "keys", below.keys);
    number(out, "memory", below.memory);
    number(out, "elements", below.elements);
    number(out, "expiring", below.expiring);
}

fn push_prefixes(out: &mut Vec<u8>, summary: &Summary, most: usize) {
    let prefixes = summary.prefixes();
    push_name(out, "separator");
    push_bytes(out, &prefixes.cutting().separator);
    number(out, "depth", prefixes.cutting().depth as u64);
    flag(out, "exact", prefixes.missing() == 0);
    number(out, "may_lack", prefixes.missing());
    open(out, "without", |out| push_below(out, &prefixes.without()));
    list(out, "rows", prefixes.rows().into_iter().take(most), |out, (prefix, below)| {
        push_name(out, "prefix");
        push_bytes(out, prefix);
        number(out, "level", prefixes.depth_of(prefix) as u64);
        push_below(out, &below);
    });
}

fn push_key(out: &mut Vec<u8>, big: &BigKey) {
    push_name(out, "key");
    push_bytes(out, &big.key);
    if big.key_bytes > big.key.len() as u64 {
        number(out, "key_bytes", big.key_bytes);
    }
    number(out, "db", big.db);
    text(out, "type", big.family.name());
    text(out, "encoding", big.encoding.name());
    number(out, "memory", big.memory);
    number(out, "file_bytes", big.file_bytes);
    number(out, "elements", big.elements);
    number(out, "longest", big.longest);
    if let Some(at) = big.expire_at {
        push_name(out, "pexpireat");
        push_i64(out, at);
    }
    if let Some(idle_s) = big.idle_s {
        number(out, "idle", idle_s);
    }
    if let Some(freq) = big.freq {
        number(out, "freq", freq.into());
    }
    number(out, "offset", big.at);
}

fn push_slots(out: &mut Vec<u8>, summary: &Summary) {
    let slots = &summary.stats.slots;
    number(out, "used", slots.used() as u64);
    list(out, "nodes", slots.spread(summary.nodes), |out, (range, heat)| {
        number(out, "first", range.start as u64);
        number(out, "last", range.end as u64 - 1);
        number(out, "keys", heat.keys);
        number(out, "memory", heat.memory);
    });
    list(out, "hottest", slots.hottest(summary.top), |out, (slot, heat)| {
        number(out, "slot", slot.into());
        number(out, "keys", heat.keys);
        number(out, "memory", heat.memory);
    });
}
