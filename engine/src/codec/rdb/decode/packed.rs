//! Packed encodings: validated as a whole, then handed on as a view or taken apart.

use super::ObjectType;
use super::value::Room;
use crate::base::time::UnixMs;
use crate::codec::rdb::MAX_FIELD_EXPIRY_MS;
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
    let checks_scores = room.emit && sink.checks_scores();
    let mut give = |event: ValueEvent<'_>| match room.emit {
        true => sink.value(event).map_err(Halt::Sink),
        false => Ok(()),
    };
    match object {
        T::SetIntset => intset(bytes, at, room.items, &mut give),
        T::HashZipmap => zipmap(bytes, at, room.items, &mut give),
        T::ListZiplist | T::HashZiplist | T::ZsetZiplist => {
            let view = ziplist_view(bytes, at)?;
            let shape = Shape::of(object, view.iter().count(), at)?;
            match room.items {
                true => shape.apart(view.iter(), &mut give),
                false => {
                    shape.check_numbers(view.iter(), checks_scores)?;
                    give(ValueEvent::Ziplist(view))
                }
            }
        }
        _ => {
            let view = listpack_view(bytes, at)?;
            let shape = Shape::of(object, view.len(), at)?;
            match room.items {
                true => shape.apart(view.iter(), &mut give),
                false => {
                    shape.check_numbers(view.iter(), checks_scores)?;
                    give(ValueEvent::Listpack(view))
                }
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

/// What the entries of a value mean, of which there are as many as that takes.
struct Shape {
    entries: Meaning,
    count: usize,
    /// Offset of the packed string in the file.
    at: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Elements,
    Pairs,
    Scored,
    Expiring,
}

impl Meaning {
    fn of(object: T) -> Self {
        match object {
            T::ListZiplist | T::SetListpack => Self::Elements,
            T::ZsetZiplist | T::ZsetListpack => Self::Scored,
            T::HashListpackEx | T::HashListpackExPreGa => Self::Expiring,
            _ => Self::Pairs,
        }
    }

    fn unit(self) -> usize {
        match self {
            Self::Elements => 1,
            Self::Pairs | Self::Scored => 2,
            Self::Expiring => 3,
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Elements => "collection",
            Self::Pairs => "hash",
            Self::Scored => "sorted set",
            Self::Expiring => "hash with field expiries",
        }
    }
}

impl Shape {
    fn of(object: T, count: usize, at: u64) -> Result<Self, Stop> {
        let entries = Meaning::of(object);
        let unit = entries.unit();
        if !count.is_multiple_of(unit) {
            let what = entries.what();
            return Err(Stop::Bad(at, Kind::EntryCount { what, entries: count, unit }));
        }
        Ok(Self { entries, count, at })
    }

    /// Checks that there are numbers where numbers must be; scores only if nobody else does.
    fn check_numbers<'a>(
        &self,
        mut entries: impl Iterator<Item = Element<'a>>,
        are_scores_checked: bool,
    ) -> Result<(), Stop> {
        match self.entries {
            Meaning::Elements | Meaning::Pairs => {}
            Meaning::Scored if are_scores_checked => {}
            Meaning::Scored => {
                while let Some(element) = entries.nth(1) {
                    if element.near_f64().is_none() {
                        score(element, self.at)?;
                    }
                }
            }
            Meaning::Expiring => {
                while let Some(element) = entries.nth(2) {
                    field_expiry(element, self.at)?;
                }
            }
        }
        Ok(())
    }

    /// Gives the entries one by one.
    fn apart<'a, E>(
        &self,
        mut entries: impl Iterator<Item = Element<'a>>,
        give: &mut impl FnMut(ValueEvent<'_>) -> Result<(), Halt<E>>,
    ) -> Result<(), Halt<E>> {
        let declared = (self.count / self.entries.unit()) as u64;
        give(ValueEvent::Begin { declared })?;
        if self.entries == Meaning::Elements {
            return elements(entries, give);
        }
        let (mut first, mut second) = (IntText::new(), IntText::new());
        while let (Some(field), Some(value)) = (entries.next(), entries.next()) {
            if self.entries == Meaning::Scored {
                let score = score(value, self.at)?;
                give(ValueEvent::Member { member: field.text(&mut first), score })?;
                continue;
            }
            let expire_at = match self.entries {
                Meaning::Expiring => match entries.next() {
                    Some(expiry) => field_expiry(expiry, self.at)?,
                    None => None,
                },
                _ => None,
            };
            let (field, value) = (field.text(&mut first), value.text(&mut second));
            give(ValueEvent::Field { field, value, expire_at })?;
        }
        Ok(())
    }
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
