//! Packed encodings: validated as a whole, then handed on as a view or taken apart.

use super::ObjectType;
use super::collection::MAX_FIELD_EXPIRY_MS;
use super::value::Room;
use crate::base::time::UnixMs;
use crate::codec::rdb::error::{Halt, Kind, Stop};
use crate::codec::rdb::event::{Sink, ValueEvent};
use crate::codec::rdb::read::Cursor;
use crate::packed::intset::Intset;
use crate::packed::listpack::Listpack;
use crate::packed::ziplist::Ziplist;
use crate::packed::zipmap::Zipmap;
use crate::packed::{Corrupt, Element, IntText};

use ObjectType as T;

/// A value that is one packed string.
pub(super) fn whole<S: Sink>(
    object: T,
    cur: &mut Cursor<'_>,
    room: &mut Room<'_>,
    sink: &mut S,
) -> Result<(), Halt<S::Error>> {
    if object == T::HashListpackEx {
        // The earliest expiry: the listpack says it again.
        cur.take(8)?;
    }
    if !room.look {
        cur.skip_str()?;
        cur.commit();
        return Ok(());
    }
    let at = cur.offset();
    let bytes = cur.str()?.bytes(&mut room.scratch.first)?;
    cur.commit();
    let mut give = |event: ValueEvent<'_>| match room.emit {
        true => sink.value(event).map_err(Halt::Sink),
        false => Ok(()),
    };
    match object {
        T::SetIntset => intset(bytes, at, room.items, &mut give),
        T::HashZipmap => zipmap(bytes, at, room.items, &mut give),
        T::ListZiplist | T::HashZiplist | T::ZsetZiplist => {
            let view = ziplist_view(bytes, at)?;
            check(object, view.iter(), at)?;
            match room.items {
                true => apart(object, view.iter(), &mut give),
                false => give(ValueEvent::Ziplist(view)),
            }
        }
        _ => {
            let view = listpack_view(bytes, at)?;
            check(object, view.iter(), at)?;
            match room.items {
                true => apart(object, view.iter(), &mut give),
                false => give(ValueEvent::Listpack(view)),
            }
        }
    }
}

fn corrupt(what: &'static str, at: u64) -> impl FnOnce(Corrupt) -> Stop {
    move |why| Stop::Bad(at, Kind::Packed { what, why })
}

pub(super) fn listpack_view(bytes: &[u8], at: u64) -> Result<Listpack<'_>, Stop> {
    Listpack::new(bytes).map_err(corrupt("listpack", at))
}

fn ziplist_view(bytes: &[u8], at: u64) -> Result<Ziplist<'_>, Stop> {
    Ziplist::new(bytes).map_err(corrupt("ziplist", at))
}

/// A node of an old quicklist.
pub(super) fn ziplist_node<E>(
    bytes: &[u8],
    at: u64,
    items: bool,
    give: &mut impl FnMut(ValueEvent<'_>) -> Result<(), Halt<E>>,
) -> Result<(), Halt<E>> {
    let view = ziplist_view(bytes, at)?;
    match items {
        true => elements(view.iter(), give),
        false => give(ValueEvent::OldListNode(view)),
    }
}

/// A node of a current quicklist.
pub(super) fn listpack_node<E>(
    bytes: &[u8],
    at: u64,
    items: bool,
    give: &mut impl FnMut(ValueEvent<'_>) -> Result<(), Halt<E>>,
) -> Result<(), Halt<E>> {
    let view = listpack_view(bytes, at)?;
    match items {
        true => elements(view.iter(), give),
        false => give(ValueEvent::ListNode(view)),
    }
}

fn intset<E>(
    bytes: &[u8],
    at: u64,
    items: bool,
    give: &mut impl FnMut(ValueEvent<'_>) -> Result<(), Halt<E>>,
) -> Result<(), Halt<E>> {
    let view = Intset::new(bytes).map_err(corrupt("intset", at))?;
    if !items {
        return give(ValueEvent::Intset(view));
    }
    give(ValueEvent::Begin { declared: view.len() as u64 })?;
    elements(view.iter().map(Element::Int), give)
}

fn zipmap<E>(
    bytes: &[u8],
    at: u64,
    items: bool,
    give: &mut impl FnMut(ValueEvent<'_>) -> Result<(), Halt<E>>,
) -> Result<(), Halt<E>> {
    let view = Zipmap::new(bytes).map_err(corrupt("zipmap", at))?;
    if !items {
        return give(ValueEvent::Zipmap(view));
    }
    give(ValueEvent::Begin { declared: view.iter().count() as u64 })?;
    for (field, value) in &view {
        give(ValueEvent::Field { field, value, expire_at: None })?;
    }
    Ok(())
}

/// What the type wants of the entries beyond the layout: their number, and numbers where numbers
/// must be.
fn check<'a>(object: T, entries: impl Iterator<Item = Element<'a>>, at: u64) -> Result<(), Stop> {
    let (unit, what) = match object {
        T::ListZiplist | T::SetListpack => return Ok(()),
        T::HashListpackEx | T::HashListpackExPreGa => (3, "hash with field expiries"),
        T::ZsetZiplist | T::ZsetListpack => (2, "sorted set"),
        _ => (2, "hash"),
    };
    let mut count = 0;
    for (index, element) in entries.enumerate() {
        count = index + 1;
        if count % unit == 0 {
            match unit {
                3 => {
                    field_expiry(element, at)?;
                }
                _ if what == "sorted set" => {
                    score(element, at)?;
                }
                _ => {}
            }
        }
    }
    if count % unit != 0 {
        return Err(Stop::Bad(at, Kind::EntryCount { what, entries: count, unit }));
    }
    Ok(())
}

fn score(element: Element<'_>, at: u64) -> Result<f64, Stop> {
    match element.as_f64() {
        Some(score) if !score.is_nan() => Ok(score),
        _ => {
            let text = element.to_vec().escape_ascii().to_string();
            Err(Stop::Bad(at, Kind::Score(text)))
        }
    }
}

fn field_expiry(element: Element<'_>, at: u64) -> Result<Option<UnixMs>, Stop> {
    match element.as_i64() {
        Some(0) => Ok(None),
        Some(ms) if ms > 0 && ms.cast_unsigned() <= MAX_FIELD_EXPIRY_MS => Ok(Some(UnixMs(ms))),
        other => Err(Stop::Bad(at, Kind::FieldExpiry(i128::from(other.unwrap_or(-1))))),
    }
}

fn elements<'a, E>(
    entries: impl Iterator<Item = Element<'a>>,
    give: &mut impl FnMut(ValueEvent<'_>) -> Result<(), Halt<E>>,
) -> Result<(), Halt<E>> {
    let mut text = IntText::new();
    for element in entries {
        give(ValueEvent::Element(element.text(&mut text)))?;
    }
    Ok(())
}

/// Gives the entries, which [`check`] has passed, one by one.
fn apart<'a, E>(
    object: T,
    mut entries: impl Iterator<Item = Element<'a>> + Clone,
    give: &mut impl FnMut(ValueEvent<'_>) -> Result<(), Halt<E>>,
) -> Result<(), Halt<E>> {
    let unit = match object {
        T::ListZiplist | T::SetListpack => 1,
        T::HashListpackEx | T::HashListpackExPreGa => 3,
        _ => 2,
    };
    let declared = (entries.clone().count() / unit) as u64;
    give(ValueEvent::Begin { declared })?;
    if unit == 1 {
        return elements(entries, give);
    }
    let (mut first, mut second) = (IntText::new(), IntText::new());
    while let (Some(field), Some(value)) = (entries.next(), entries.next()) {
        let event = match object {
            T::ZsetZiplist | T::ZsetListpack => {
                ValueEvent::Member { member: field.text(&mut first), score: score(value, 0)? }
            }
            _ => ValueEvent::Field {
                field: field.text(&mut first),
                value: value.text(&mut second),
                expire_at: match (unit, entries_third(unit, &mut entries)) {
                    (3, Some(expiry)) => field_expiry(expiry, 0)?,
                    _ => None,
                },
            },
        };
        give(event)?;
    }
    Ok(())
}

/// The third entry of a triple.
fn entries_third<'a>(unit: usize, entries: &mut impl Iterator<Item = Element<'a>>) -> Option<Element<'a>> {
    if unit == 3 { entries.next() } else { None }
}
