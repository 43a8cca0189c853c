//! Strings, and collections whose elements stand one by one in the file.

use super::packed;
use super::value::{Room, Step};
use super::{ObjectType, Scratch};
use crate::base::num;
use crate::base::time::UnixMs;
use crate::codec::rdb::error::{Halt, Kind, Stop};
use crate::codec::rdb::event::{Sink, ValueEvent};
use crate::codec::rdb::read::Cursor;
use crate::codec::rdb::{MAX_FIELD_EXPIRY_MS, container, text_score as text};

/// A hash whose fields never expire has this as its earliest expiry.
const NO_EARLIEST: u64 = MAX_FIELD_EXPIRY_MS + 1;

pub(super) fn string<S: Sink>(
    cur: &mut Cursor<'_>,
    room: &mut Room<'_>,
    sink: &mut S,
) -> Result<(), Halt<S::Error>> {
    if !room.look {
        cur.skip_str()?;
        cur.commit();
        return Ok(());
    }
    let stored = cur.str()?;
    let bytes = stored.bytes(&mut room.scratch.first)?;
    cur.commit();
    if room.emit {
        sink.value(ValueEvent::String { bytes, form: stored.form() }).map_err(Halt::Sink)?;
    }
    Ok(())
}

/// Reads the count, and what else stands before the elements.
pub(super) fn begin<S: Sink>(
    object: ObjectType,
    cur: &mut Cursor<'_>,
    room: &mut Room<'_>,
    sink: &mut S,
) -> Result<Step, Halt<S::Error>> {
    let mut earliest = 0;
    if object == ObjectType::HashMetadata {
        earliest = cur.u64_le()?;
        if room.look && earliest > NO_EARLIEST {
            return Err(cur.bad::<()>(8, field_expiry(earliest)).unwrap_err().into());
        }
    }
    let declared = cur.len()?;
    cur.commit();
    if room.emit {
        let is_nodes =
            matches!(object, ObjectType::ListQuicklist | ObjectType::ListQuicklist2) && !room.items;
        let event =
            if is_nodes { ValueEvent::BeginNodes { declared } } else { ValueEvent::Begin { declared } };
        sink.value(event).map_err(Halt::Sink)?;
    }
    Ok(Step::Items { left: declared, earliest })
}

fn field_expiry(ms: u64) -> Kind {
    Kind::FieldExpiry(i128::from(ms.cast_signed()))
}

/// Reads `left` units, each as a whole or not at all.
fn each<E>(
    left: &mut u64,
    cur: &mut Cursor<'_>,
    mut unit: impl FnMut(&mut Cursor<'_>) -> Result<(), Halt<E>>,
) -> Result<(), Halt<E>> {
    while *left > 0 {
        unit(cur)?;
        *left -= 1;
        cur.commit();
    }
    Ok(())
}

pub(super) fn items<S: Sink>(
    object: ObjectType,
    left: &mut u64,
    earliest: u64,
    cur: &mut Cursor<'_>,
    room: &mut Room<'_>,
    sink: &mut S,
) -> Result<(), Halt<S::Error>> {
    use ObjectType as T;
    if !room.look {
        return skip(object, left, cur).map_err(Halt::from);
    }
    if room.emit && !room.items {
        match object {
            T::Set | T::List => return elements(left, cur, room.scratch, sink),
            T::Hash => return fields(left, cur, room.scratch, sink),
            _ => {}
        }
    }
    let (emit, items) = (room.emit, room.items);
    let Scratch { first, second } = &mut *room.scratch;
    let mut give = |event: ValueEvent<'_>| match emit {
        true => sink.value(event).map_err(Halt::Sink),
        false => Ok(()),
    };
    match object {
        T::Hash => each(left, cur, |cur| {
            let (field, value) = (cur.str()?, cur.str()?);
            let (field, value) = (field.bytes(first)?, value.bytes(second)?);
            give(ValueEvent::Field { field, value, expire_at: None })
        }),
        T::ZsetText => each(left, cur, |cur| {
            let (member, score) = (cur.str()?, text_score(cur)?);
            give(ValueEvent::Member { member: member.bytes(first)?, score })
        }),
        T::Zset => each(left, cur, |cur| {
            let (member, score) = (cur.str()?, cur.f64_le()?);
            if score.is_nan() {
                cur.bad(8, Kind::Score("nan".to_owned()))?;
            }
            give(ValueEvent::Member { member: member.bytes(first)?, score })
        }),
        T::HashExpiry => each(left, cur, |cur| {
            let (field, value, expiry) = (cur.str()?, cur.str()?, cur.i64_le()?);
            if expiry < -1 {
                cur.bad(8, Kind::FieldExpiry(i128::from(expiry)))?;
            }
            let (field, value) = (field.bytes(first)?, value.bytes(second)?);
            let expire_at = (expiry >= 0).then_some(UnixMs(expiry));
            give(ValueEvent::Field { field, value, expire_at })
        }),
        T::HashMetadata | T::HashMetadataPreGa => each(left, cur, |cur| {
            let at = cur.offset();
            let (expiry, field, value) = (cur.len()?, cur.str()?, cur.str()?);
            let expire_at = match object {
                T::HashMetadata => relative_expiry(earliest, expiry, at)?,
                _ => absolute_expiry(expiry, at)?,
            };
            let (field, value) = (field.bytes(first)?, value.bytes(second)?);
            give(ValueEvent::Field { field, value, expire_at })
        }),
        T::ListQuicklist => each(left, cur, |cur| {
            let at = cur.offset();
            let node = cur.str()?.bytes(first)?;
            packed::ziplist_node(node, at, items, &mut give)
        }),
        T::ListQuicklist2 => each(left, cur, |cur| {
            let start = cur.offset();
            let kind = cur.len()?;
            let at = cur.offset();
            match kind {
                container::PLAIN => {
                    let element = cur.str()?.bytes(first)?;
                    // Servers make such a node of what is too long for a packed one, and refuse others.
                    if element.is_empty() {
                        return Err(Halt::Bad(at, Kind::EmptyPlainNode));
                    }
                    give(match items {
                        true => ValueEvent::Element(element),
                        false => ValueEvent::PlainListNode(element),
                    })
                }
                container::PACKED => {
                    let node = cur.str()?.bytes(first)?;
                    packed::listpack_node(node, at, items, &mut give)
                }
                other => Err(Halt::Bad(start, Kind::Container(other))),
            }
        }),
        // List and set; the others never get here.
        _ => each(left, cur, |cur| give(ValueEvent::Element(cur.str()?.bytes(first)?))),
    }
}

/// The elements of a list or set, as many at once as can be.
fn elements<S: Sink>(
    left: &mut u64,
    cur: &mut Cursor<'_>,
    scratch: &mut Scratch,
    sink: &mut S,
) -> Result<(), Halt<S::Error>> {
    while *left > 0 {
        let run = cur.run(*left, 1);
        if run.is_empty() {
            let element = cur.str()?.bytes(&mut scratch.first)?;
            sink.value(ValueEvent::Element(element)).map_err(Halt::Sink)?;
            *left -= 1;
        } else {
            *left -= run.len() as u64;
            sink.elements(run).map_err(Halt::Sink)?;
        }
        cur.commit();
    }
    Ok(())
}

/// The pairs of a hash, as many at once as can be.
fn fields<S: Sink>(
    left: &mut u64,
    cur: &mut Cursor<'_>,
    scratch: &mut Scratch,
    sink: &mut S,
) -> Result<(), Halt<S::Error>> {
    while *left > 0 {
        let run = cur.run(*left, 2);
        if run.is_empty() {
            let (field, value) = (cur.str()?, cur.str()?);
            let (field, value) = (field.bytes(&mut scratch.first)?, value.bytes(&mut scratch.second)?);
            let event = ValueEvent::Field { field, value, expire_at: None };
            sink.value(event).map_err(Halt::Sink)?;
            *left -= 1;
        } else {
            *left -= run.len() as u64 / 2;
            sink.fields(run).map_err(Halt::Sink)?;
        }
        cur.commit();
    }
    Ok(())
}

/// As [`items`], stepping over the elements by their lengths.
fn skip(object: ObjectType, left: &mut u64, cur: &mut Cursor<'_>) -> Result<(), Stop> {
    use ObjectType as T;
    while *left > 0 {
        match object {
            T::Hash => {
                cur.skip_str()?;
                cur.skip_str()?;
            }
            T::ZsetText => {
                cur.skip_str()?;
                skip_text_score(cur)?;
            }
            T::Zset => {
                cur.skip_str()?;
                cur.take(8)?;
            }
            T::HashExpiry => {
                cur.skip_str()?;
                cur.skip_str()?;
                cur.take(8)?;
            }
            T::HashMetadata | T::HashMetadataPreGa => {
                cur.len()?;
                cur.skip_str()?;
                cur.skip_str()?;
            }
            T::ListQuicklist2 => {
                cur.len()?;
                cur.skip_str()?;
            }
            _ => cur.skip_str()?,
        }
        *left -= 1;
        cur.commit();
    }
    Ok(())
}

/// Paths of a path hash, each with its fields; only counted and stepped over unless events are
/// wanted. A path has one field at least.
pub(super) fn paths<S: Sink>(
    paths: u64,
    paths_left: &mut u64,
    fields_left: &mut u64,
    cur: &mut Cursor<'_>,
    room: &mut Room<'_>,
    sink: &mut S,
) -> Result<(), Halt<S::Error>> {
    let Scratch { first, second } = &mut *room.scratch;
    loop {
        while *fields_left > 0 {
            let (field, value) = (cur.str()?, cur.str()?);
            if room.look {
                let (field, value) = (field.bytes(first)?, value.bytes(second)?);
                if room.emit {
                    let event = ValueEvent::Field { field, value, expire_at: None };
                    sink.value(event).map_err(Halt::Sink)?;
                }
            }
            *fields_left -= 1;
            cur.commit();
        }
        if *paths_left == 0 {
            return Ok(());
        }
        let at = cur.offset();
        let (path, fields) = (cur.str()?, cur.len()?);
        if fields == 0 {
            return Err(Halt::Bad(at, Kind::EmptyPath { path: paths - *paths_left }));
        }
        if room.look {
            let path = path.bytes(first)?;
            if room.emit {
                let event = ValueEvent::Path { path, declared: fields };
                sink.value(event).map_err(Halt::Sink)?;
            }
        }
        *paths_left -= 1;
        *fields_left = fields;
        cur.commit();
    }
}

fn relative_expiry(earliest: u64, expiry: u64, at: u64) -> Result<Option<UnixMs>, Stop> {
    if expiry == 0 {
        return Ok(None);
    }
    match earliest.checked_add(expiry - 1) {
        Some(ms) if ms <= MAX_FIELD_EXPIRY_MS => Ok(Some(UnixMs(ms.cast_signed()))),
        _ => Err(Stop::Bad(at, Kind::FieldExpiry(i128::from(earliest) + i128::from(expiry) - 1))),
    }
}

fn absolute_expiry(expiry: u64, at: u64) -> Result<Option<UnixMs>, Stop> {
    match expiry {
        0 => Ok(None),
        1..=MAX_FIELD_EXPIRY_MS => Ok(Some(UnixMs(expiry.cast_signed()))),
        _ => Err(Stop::Bad(at, Kind::FieldExpiry(i128::from(expiry)))),
    }
}

fn text_score(cur: &mut Cursor<'_>) -> Result<f64, Stop> {
    let at = cur.offset();
    let text = match cur.byte()? {
        text::NAN => b"nan",
        text::PLUS_INF => return Ok(f64::INFINITY),
        text::MINUS_INF => return Ok(f64::NEG_INFINITY),
        len => cur.take(u64::from(len))?,
    };
    match num::parse_f64(text) {
        Some(score) => Ok(score),
        None => Err(Stop::Bad(at, Kind::Score(text.escape_ascii().to_string()))),
    }
}

fn skip_text_score(cur: &mut Cursor<'_>) -> Result<(), Stop> {
    match cur.byte()? {
        text::NAN..=text::MINUS_INF => Ok(()),
        len => cur.take(u64::from(len)).map(|_| ()),
    }
}
