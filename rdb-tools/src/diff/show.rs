//! What a part says, in facts that text and JSON are made of.

use std::fmt::Write as _;

use cairn_engine::base::num;
use cairn_engine::codec::rdb::StreamId;

use crate::canon::{Section, meta, take_framed};
use crate::json;
use crate::output::Shown;

/// One thing that a part says.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact<'a> {
    /// Bytes of the data.
    Bytes(&'a [u8]),
    /// A word of ours.
    Word(&'static str),
    /// A score or another double.
    Double(f64),
    /// A number.
    Number(u64),
    /// An instant, in ms.
    At(i64),
    /// A stream id.
    Id(StreamId),
    /// Several.
    List(Vec<Fact<'a>>),
    /// Not known.
    Unknown,
}

impl Fact<'_> {
    /// For people.
    pub fn push_text(&self, out: &mut String) {
        // Writing to a string cannot fail.
        let _ = match self {
            Self::Bytes(bytes) => write!(out, "\"{}\"", Shown(bytes)),
            Self::Word(word) => write!(out, "{word}"),
            Self::Double(value) => {
                let mut text = Vec::new();
                num::push_f64_17g(&mut text, *value);
                write!(out, "{}", String::from_utf8_lossy(&text))
            }
            Self::Number(value) => write!(out, "{value}"),
            Self::At(ms) => write!(out, "{}", instant(*ms)),
            Self::Id(id) => write!(out, "{}-{}", id.ms, id.seq),
            Self::Unknown => write!(out, "unknown"),
            Self::List(facts) => {
                for (i, fact) in facts.iter().enumerate() {
                    if i > 0 {
                        out.push(' ');
                    }
                    fact.push_text(out);
                }
                Ok(())
            }
        };
    }

    /// For machines: nothing is shortened.
    pub fn push_json(&self, out: &mut Vec<u8>) {
        match self {
            Self::Bytes(bytes) => json::push_bytes(out, bytes),
            Self::Word(word) => json::push_text(out, word),
            Self::Double(value) => json::push_f64(out, *value),
            Self::Number(value) => json::push_u64(out, *value),
            Self::At(ms) => json::push_i64(out, *ms),
            Self::Id(id) => json::push_text(out, &format!("{}-{}", id.ms, id.seq)),
            Self::List(facts) => json::push_array(out, facts, |out, fact| fact.push_json(out)),
            Self::Unknown => out.extend_from_slice(b"null"),
        }
    }
}

/// What a section's parts are called.
#[must_use]
pub fn name(section: Section) -> &'static str {
    use Section as S;
    match section {
        S::Meta => "metadata",
        S::Text => "value",
        S::Element | S::BagElement | S::ArrayElement => "element",
        S::Member | S::Scored => "member",
        S::Field => "field",
        S::FieldTtl => "field-expiry",
        S::StandIn => "pending entry",
        S::Entry => "entry",
        S::Totals => "numbers",
        S::Group => "group",
        S::Consumer => "consumer",
        S::Pending => "pending",
        S::Nacked => "released",
        S::Idempotence => "idempotence",
        S::IdempotentId => "idempotent-id",
        S::Path => "path",
        S::PathField => "path-field",
        S::ArrayInsert => "insert-index",
        S::Module => "module",
        S::ModuleItem => "module-value",
        S::VectorSet => "vector-set",
        S::Vector => "vector",
        S::Raw => "bytes",
    }
}

/// A stream id of 16 bytes.
fn id(bytes: &[u8]) -> Option<StreamId> {
    let (ms, seq) = bytes.split_first_chunk()?;
    let seq = seq.first_chunk()?;
    Some(StreamId { ms: u64::from_be_bytes(*ms), seq: u64::from_be_bytes(*seq) })
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

fn at(bytes: &[u8]) -> Option<i64> {
    number(bytes).map(u64::cast_signed)
}

/// Which part of its section a part is: none, one or two facts.
#[must_use]
pub fn identity(section: Section, mut bytes: &[u8]) -> Vec<Fact<'_>> {
    use Section as S;
    let facts = match section {
        S::Text | S::Totals | S::Idempotence | S::ArrayInsert | S::Module => Some(Vec::new()),
        S::Meta => Some(vec![Fact::Word(match bytes {
            meta::KEY_META => "key metadata",
            meta::NO_EVICT => "no eviction",
            meta::IDLE => "idle seconds",
            _ => "access counter",
        })]),
        S::Element | S::ArrayElement | S::ModuleItem | S::Raw => number(bytes).map(|n| vec![Fact::Number(n)]),
        S::Entry | S::StandIn => id(bytes).map(|id| vec![Fact::Id(id)]),
        S::Pending | S::Nacked | S::Consumer | S::IdempotentId | S::PathField => take_framed(&mut bytes)
            .and_then(|outer| {
                let inner = match section {
                    S::Pending => Fact::Id(id(bytes)?),
                    S::Nacked => Fact::Number(number(bytes)?),
                    _ => Fact::Bytes(bytes),
                };
                Some(vec![Fact::Bytes(outer), inner])
            }),
        S::VectorSet => Some(vec![Fact::Word(match bytes {
            [0] => "dimension",
            [1] => "quantisation",
            [2] => "links",
            [3] => "input dimension",
            _ => "matrix",
        })]),
        _ => Some(vec![Fact::Bytes(bytes)]),
    };
    facts.unwrap_or_default()
}

/// What a content says, each fact with its name.
#[must_use]
pub fn content<'a>(section: Section, identity: &[u8], bytes: &'a [u8]) -> Vec<(&'static str, Fact<'a>)> {
    facts(section, identity, bytes).unwrap_or_else(|| vec![("value", Fact::Bytes(bytes))])
}

fn facts<'a>(section: Section, identity: &[u8], bytes: &'a [u8]) -> Option<Vec<(&'static str, Fact<'a>)>> {
    use Section as S;
    Some(match section {
        S::Member | S::BagElement | S::Path | S::StandIn => Vec::new(),
        S::Meta if identity == meta::IDLE => vec![("value", Fact::Number(number(bytes)?))],
        S::Meta if identity == meta::FREQ => vec![("value", Fact::Number(u64::from(*bytes.first()?)))],
        S::Meta if identity == meta::NO_EVICT => Vec::new(),
        S::FieldTtl => vec![("pexpireat", Fact::At(at(bytes)?))],
        S::Scored => vec![("score", Fact::Double(f64::from_bits(number(bytes)?)))],
        S::Entry => {
            let mut rest = bytes;
            let mut fields = Vec::new();
            while let Some(field) = take_framed(&mut rest) {
                fields.push(Fact::Bytes(field));
            }
            vec![("fields", Fact::List(fields))]
        }
        S::Totals => vec![
            ("last_id", Fact::Id(id(bytes)?)),
            ("max_deleted_id", Fact::Id(id(bytes.get(16..)?)?)),
            ("first_id", Fact::Id(id(bytes.get(32..)?)?)),
            ("entries_added", Fact::Number(number(bytes.get(48..)?)?)),
        ],
        S::Group => {
            let read = match bytes.get(16)? {
                0 => Fact::Unknown,
                _ => Fact::Number(number(&bytes[17..])?),
            };
            vec![("last_id", Fact::Id(id(bytes)?)), ("entries_read", read)]
        }
        S::Consumer if bytes.is_empty() => Vec::new(),
        S::Consumer => {
            vec![("seen_time", Fact::At(at(bytes)?)), ("active_time", Fact::At(at(bytes.get(8..)?)?))]
        }
        S::Pending => match bytes.split_first()? {
            (0, rest) => vec![
                ("delivered", Fact::At(at(rest)?)),
                ("deliveries", Fact::Number(number(rest.get(8..)?)?)),
            ],
            (_, owner) => vec![("consumer", Fact::Bytes(owner))],
        },
        S::Nacked | S::IdempotentId => vec![("id", Fact::Id(id(bytes)?))],
        S::Idempotence => vec![
            ("duration", Fact::Number(number(bytes)?)),
            ("maxsize", Fact::Number(number(bytes.get(8..)?)?)),
            ("added", Fact::Number(number(bytes.get(16..)?)?)),
            ("duplicates", Fact::Number(number(bytes.get(24..)?)?)),
        ],
        S::ArrayInsert => vec![("index", Fact::Number(number(bytes)?))],
        S::Module => vec![("type_id", Fact::Number(number(bytes)?))],
        S::ModuleItem => match bytes.split_first()? {
            (b'i', rest) => vec![("value", Fact::Number(number(rest)?))],
            (b'd', rest) => vec![("value", Fact::Double(f64::from_bits(number(rest)?)))],
            (b'f', rest) => {
                let bits = u32::from_be_bytes(*rest.first_chunk()?);
                vec![("value", Fact::Double(f64::from(f32::from_bits(bits))))]
            }
            (_, rest) => vec![("value", Fact::Bytes(rest))],
        },
        S::VectorSet if identity != [4] => vec![("value", Fact::Number(number(bytes)?))],
        S::Vector => {
            let float = |from: usize| {
                let bits = u32::from_be_bytes(*bytes.get(from..)?.first_chunk()?);
                Some(Fact::Double(f64::from(f32::from_bits(bits))))
            };
            let mut rest = bytes.get(8..)?;
            let attributes = take_framed(&mut rest)?;
            vec![
                ("norm", float(0)?),
                ("range", float(4)?),
                ("attributes", Fact::Bytes(attributes)),
                ("vector", Fact::Bytes(rest)),
            ]
        }
        _ => vec![("value", Fact::Bytes(bytes))],
    })
}

/// An instant for people: `2026-11-21T20:46:00.000Z`; its number where no calendar goes.
#[must_use]
pub fn instant(ms: i64) -> String {
    const DAY_MS: i64 = 86_400_000;
    /// The last instant of the year 9999.
    const LAST: i64 = 253_402_300_799_999;
    if !(0..=LAST).contains(&ms) {
        return format!("{ms} ms");
    }
    // Days count from a 1 March, so that the odd day of a leap year is the last of its year.
    let days = ms / DAY_MS + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let of_day = ms % DAY_MS;
    let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
    let (second, milli) = (of_day / 1000 % 60, of_day % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

#[cfg(test)]
mod tests {
    use super::instant;

    #[test]
    fn instants_are_of_the_calendar() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_799_999, "2000-02-29T23:59:59.999Z"),
            (1_795_294_799_001, "2026-11-21T20:59:59.001Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (-5, "-5 ms"),
            (i64::MAX, "9223372036854775807 ms"),
        ] {
            assert_eq!(instant(ms), text);
        }
    }
}
