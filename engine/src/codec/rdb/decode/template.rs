//! Hashes whose field names stand elsewhere (Redis 8.10): in the file's templates, or, in DUMP
//! payloads, before the values. Given as plain fields.

use std::sync::Arc;

use super::ObjectType;
use super::packed::listpack_view;
use super::value::Room;
use crate::codec::rdb::error::{Halt, Kind, Stop};
use crate::codec::rdb::event::{Sink, ValueEvent};
use crate::codec::rdb::read::Cursor;
use crate::packed::IntText;

/// Forms in which field names precede values.
const FIELDS_LISTPACK: u64 = 0;
const FIELDS_STRINGS: u64 = 1;

/// Where in such a hash the next unit stands.
#[derive(Debug)]
pub(super) enum TemplateState {
    /// Field names as strings; a listpack of values follows if `packed`, else as many strings.
    Fields { left: u64, fields: Vec<Vec<u8>>, packed: bool },
    /// A listpack of a template id, which means nothing here, and the values.
    Packed(Arc<Vec<Vec<u8>>>),
    /// Values as strings, of which `next` comes next.
    Values { fields: Arc<Vec<Vec<u8>>>, next: usize },
}

impl TemplateState {
    /// Reads what comes before the fields or values; `None` if that was the whole value.
    pub(super) fn begin<S: Sink>(
        object: ObjectType,
        cur: &mut Cursor<'_>,
        room: &mut Room<'_>,
        sink: &mut S,
    ) -> Result<Option<Self>, Halt<S::Error>> {
        let packed = object == ObjectType::HashTemplateListpack;
        match object {
            ObjectType::HashTemplateListpackRef => {
                if !room.look {
                    cur.skip_str()?;
                    cur.commit();
                    return Ok(None);
                }
                packed_values(None, cur, room, sink).map(|()| None)
            }
            ObjectType::HashTemplateArrayRef => {
                let at = cur.offset();
                let id = cur.len()?;
                let Some(fields) = room.templates.get(&id) else {
                    return Err(Halt::Bad(at, Kind::UnknownTemplate(id)));
                };
                let fields = Arc::clone(fields);
                cur.commit();
                begin_event(fields.len(), room, sink)?;
                Ok(Some(Self::Values { fields, next: 0 }))
            }
            _ => {
                let at = cur.offset();
                let state = match cur.len()? {
                    FIELDS_LISTPACK => {
                        let at = cur.offset();
                        let bytes = cur.str()?.bytes(&mut room.scratch.first)?;
                        let view = listpack_view(bytes, at)?;
                        let fields = view.iter().map(|field| field.to_vec()).collect();
                        Self::Fields { left: 0, fields, packed }
                    }
                    FIELDS_STRINGS => Self::Fields { left: cur.len()?, fields: Vec::new(), packed },
                    other => return Err(Halt::Bad(at, Kind::TemplateFormat(other))),
                };
                cur.commit();
                Ok(Some(state))
            }
        }
    }

    pub(super) fn read<S: Sink>(
        &mut self,
        cur: &mut Cursor<'_>,
        room: &mut Room<'_>,
        sink: &mut S,
    ) -> Result<(), Halt<S::Error>> {
        if let Self::Fields { left, fields, packed } = self {
            while *left > 0 {
                let field = cur.str()?;
                fields.push(field.bytes(&mut room.scratch.first)?.to_vec());
                cur.commit();
                *left -= 1;
            }
            if fields.is_empty() {
                return Err(Halt::Bad(cur.offset(), Kind::EmptyTemplate));
            }
            let (fields, packed) = (Arc::new(std::mem::take(fields)), *packed);
            *self = match packed {
                true => Self::Packed(fields),
                false => {
                    begin_event(fields.len(), room, sink)?;
                    Self::Values { fields, next: 0 }
                }
            };
        }
        match self {
            Self::Fields { .. } => Ok(()),
            Self::Packed(fields) => packed_values(Some(fields), cur, room, sink),
            Self::Values { fields, next } => {
                while let Some(field) = fields.get(*next) {
                    let value = cur.str()?;
                    if room.look {
                        let value = value.bytes(&mut room.scratch.first)?;
                        if room.emit {
                            let event = ValueEvent::Field { field, value, expire_at: None };
                            sink.value(event).map_err(Halt::Sink)?;
                        }
                    }
                    *next += 1;
                    cur.commit();
                }
                Ok(())
            }
        }
    }
}

fn begin_event<S: Sink>(fields: usize, room: &Room<'_>, sink: &mut S) -> Result<(), Halt<S::Error>> {
    if room.emit {
        let event = ValueEvent::Begin { declared: fields as u64 };
        sink.value(event).map_err(Halt::Sink)?;
    }
    Ok(())
}

/// Reads a listpack of an id and values; the fields are given, or the id's template has them.
fn packed_values<S: Sink>(
    fields: Option<&[Vec<u8>]>,
    cur: &mut Cursor<'_>,
    room: &mut Room<'_>,
    sink: &mut S,
) -> Result<(), Halt<S::Error>> {
    let at = cur.offset();
    let bytes = cur.str()?.bytes(&mut room.scratch.first)?;
    let view = listpack_view(bytes, at)?;
    let id = view.first().and_then(|id| id.as_i64()).map(i64::cast_unsigned);
    let fields = match (fields, id) {
        (Some(fields), Some(_)) => fields,
        (None, Some(id)) => match room.templates.get(&id) {
            Some(fields) => fields,
            None => return Err(Halt::Bad(at, Kind::UnknownTemplate(id))),
        },
        (_, None) => return Err(Halt::Bad(at, Kind::UnknownTemplate(0))),
    };
    let values = view.len() - 1;
    if values != fields.len() {
        return Err(Stop::Bad(at, Kind::TemplateValues { fields: fields.len(), values }).into());
    }
    cur.commit();
    if !room.emit {
        return Ok(());
    }
    let event = ValueEvent::Begin { declared: fields.len() as u64 };
    sink.value(event).map_err(Halt::Sink)?;
    let mut text = IntText::new();
    for (field, value) in fields.iter().zip(view.iter().skip(1)) {
        let value = value.text(&mut text);
        sink.value(ValueEvent::Field { field, value, expire_at: None }).map_err(Halt::Sink)?;
    }
    Ok(())
}
