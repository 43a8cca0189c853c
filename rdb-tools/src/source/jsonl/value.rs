//! The values of JSON lines, walked into events in the order in which a record has them.

use std::borrow::Cow;

use cairn_engine::base::num;
use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::encode::push_len;
use cairn_engine::codec::rdb::{ObjectType, StreamId, StreamTotals, StringForm, ValueEvent, module_opcode};

use super::super::encode::push_module_value;
use super::super::text::{Bad, Text};
use super::{Give, Halt, Line};

use ObjectType as T;

/// What takes a field and its value.
type GivePair<'g, E> = &'g mut dyn FnMut(&[u8], &[u8]) -> Result<(), Halt<E>>;

/// What module values are told apart by, a letter each, where a dump has them.
const KINDS: &str = "kinds";

impl<'a> Line<'a> {
    /// About how many bytes the value has.
    pub(super) fn value_bytes(&self) -> u64 {
        self.elements
    }

    /// Gives the events of the value, as at depth `Item`.
    pub(super) fn walk<E>(&self, give: Give<'_, E>) -> Result<(), Halt<E>> {
        use cairn_engine::codec::rdb::Family as F;
        let mut at = self.value;
        match self.object.family() {
            F::String => self.string(at, give),
            F::List | F::Set => {
                give(ValueEvent::Begin { declared: self.elements })?;
                at.array(|at: &mut Text<'a>| give(ValueEvent::Element(&at.data()?)))
            }
            F::Hash => {
                give(ValueEvent::Begin { declared: self.elements })?;
                self.pairs(&mut at, &mut |field, value| {
                    let expire_at = self.field_expiries.by_field.get(field).map(|at| UnixMs(*at));
                    give(ValueEvent::Field { field, value, expire_at })
                })
            }
            F::Zset => {
                give(ValueEvent::Begin { declared: self.elements })?;
                members(&mut at, give)
            }
            F::Stream => stream(at, self.object, give),
            F::Array => array(at, give),
            F::Module => module(at, give),
            F::PathHash => at.array(|at: &mut Text<'a>| {
                at.open()?;
                let path = at.data()?;
                at.comma()?;
                let (mut fields, declared) = at.skip()?;
                at.close()?;
                if declared == 0 {
                    return Ok(fields.bad("a path has one field at least")?);
                }
                give(ValueEvent::Path { path: &path, declared })?;
                self.pairs(&mut fields, &mut |field, value| {
                    give(ValueEvent::Field { field, value, expire_at: None })
                })
            }),
        }
    }

    fn string<E>(&self, mut at: Text<'a>, give: Give<'_, E>) -> Result<(), Halt<E>> {
        let start = at;
        let bytes = at.data()?;
        let number = num::parse_i64(&bytes);
        let widest = match self.form {
            Some(StringForm::Int8) => Some(i64::from(i8::MAX)),
            Some(StringForm::Int16) => Some(i64::from(i16::MAX)),
            Some(StringForm::Int32) => Some(i64::from(i32::MAX)),
            _ => None,
        };
        if let Some(widest) = widest
            && !number.is_some_and(|n| n <= widest && n >= -widest - 1)
        {
            return Ok(start.bad("the value does not fit its string_form")?);
        }
        let form = self.form.unwrap_or(match number {
            Some(n) if i8::try_from(n).is_ok() => StringForm::Int8,
            Some(n) if i16::try_from(n).is_ok() => StringForm::Int16,
            Some(n) if i32::try_from(n).is_ok() => StringForm::Int32,
            _ => StringForm::Raw,
        });
        give(ValueEvent::String { bytes: &bytes, form })
    }

    /// Field and value: `[[field, value], ...]`, or by hand `{"field": value, ...}`.
    fn pairs<E>(&self, at: &mut Text<'a>, give: GivePair<'_, E>) -> Result<(), Halt<E>> {
        if at.peek() == Some(b'{') {
            return at.object(|at: &mut Text<'a>, field: &[u8]| give(field, &at.data()?));
        }
        at.array(|at: &mut Text<'a>| {
            at.open()?;
            let field = at.data()?;
            at.comma()?;
            let value = at.data()?;
            at.close()?;
            give(&field, &value)
        })
    }

    /// The fields of a hash, in order.
    pub(super) fn fields(&self) -> Result<Vec<Vec<u8>>, Bad> {
        let mut fields = Vec::new();
        let mut at = self.value;
        let walked: Result<(), Halt<std::convert::Infallible>> = self.pairs(&mut at, &mut |field, _| {
            fields.push(field.to_vec());
            Ok(())
        });
        match walked {
            Ok(()) if fields.is_empty() => self.value.bad("a hash of a template has one field at least"),
            Ok(()) => Ok(fields),
            Err(Halt::Bad(bad)) => Err(bad),
            Err(Halt::Stop(_)) => self.value.bad("the fields cannot be read"),
        }
    }
}

/// Member and score: `[[member, score], ...]`, or by hand `{"member": score, ...}`.
fn members<E>(at: &mut Text<'_>, give: Give<'_, E>) -> Result<(), Halt<E>> {
    if at.peek() == Some(b'{') {
        return at.object(|at, member| give(ValueEvent::Member { member, score: at.double()? }));
    }
    at.array(|at| {
        at.open()?;
        let member = at.data()?;
        at.comma()?;
        let score = at.double()?;
        at.close()?;
        give(ValueEvent::Member { member: &member, score })
    })
}

fn array<E>(mut at: Text<'_>, give: Give<'_, E>) -> Result<(), Halt<E>> {
    let start = at;
    let (mut elements, mut count, mut declared, mut next) = (None, 0, None, 0);
    at.object(|at, name| -> Result<(), Bad> {
        match name {
            b"count" => declared = Some(at.unsigned()?),
            // It follows from the indexes.
            b"len" => drop(at.unsigned()?),
            b"next_insert_index" => next = at.unsigned()?,
            b"elements" => {
                let (place, number) = at.skip()?;
                (elements, count) = (Some(place), number);
            }
            _ => return at.bad("an array has no such member"),
        }
        Ok(())
    })?;
    let Some(mut elements) = elements else { return Ok(start.bad("an array has elements")?) };
    if declared.is_some_and(|declared| declared != count) {
        return Ok(start.bad("an array's count is not that of its elements")?);
    }
    give(ValueEvent::BeginArray { declared: count, insert_index: next.checked_sub(1) })?;
    elements.array(|at| {
        at.open()?;
        let index = at.unsigned()?;
        at.comma()?;
        let value = at.data()?;
        at.close()?;
        give(ValueEvent::ArrayElement { index, value: &value })
    })
}

/// One value of a module, and its kind: u, s, f, d, b as [`module`] has them.
fn module_values<E>(mut at: Text<'_>, kinds: Option<&[u8]>, give: Give<'_, E>) -> Result<(), Halt<E>> {
    let start = at;
    let mut letters = kinds.map(|kinds| kinds.iter());
    at.array(|at| {
        let is_string = matches!(at.peek(), Some(b'"' | b'{'));
        let kind = match &mut letters {
            Some(letters) => letters.next().copied(),
            None if is_string => Some(b'b'),
            None => Some(b'u'),
        };
        let here = *at;
        match kind {
            Some(b'u') => give(ValueEvent::ModuleUnsigned(at.unsigned()?)),
            Some(b's') => give(ValueEvent::ModuleSigned(at.unsigned()?.cast_signed())),
            Some(b'f') => {
                let value = at.double()?;
                // Nine digits give the same float back, whichever way they are rounded to a double first.
                give(ValueEvent::ModuleFloat(value as f32))
            }
            Some(b'd') => give(ValueEvent::ModuleDouble(at.double()?)),
            Some(b'b') => give(ValueEvent::ModuleString(&at.data()?)),
            _ => Ok(here.bad("\"kinds\" has one letter (u, s, f, d or b) for each value")?),
        }
    })?;
    match letters.and_then(|mut letters| letters.next()) {
        Some(_) => Ok(start.bad("\"kinds\" has more letters than there are values")?),
        None => Ok(()),
    }
}

fn module<E>(mut at: Text<'_>, give: Give<'_, E>) -> Result<(), Halt<E>> {
    let start = at;
    let (mut id, mut values, mut kinds) = (None, None, None);
    at.object(|at, name| -> Result<(), Bad> {
        match name {
            b"module_id" => id = Some(at.unsigned()?),
            b"values" => values = Some(at.skip()?.0),
            name if name == KINDS.as_bytes() => kinds = Some(at.string()?),
            b"quant_type" => {
                return start.bad(
                    "a vector set cannot be made of its elements alone: its graph is missing; dump it with \
                     --raw-modules",
                );
            }
            _ => return at.bad("a module value has no such member"),
        }
        Ok(())
    })?;
    let (Some(id), Some(values)) = (id, values) else {
        return Ok(start.bad("a module value has module_id and values")?);
    };
    let Some(kinds) = kinds else {
        return Ok(start.bad(
            "it is not told which of a module's values are numbers and which are text; dump it with --raw-modules",
        )?);
    };
    give(ValueEvent::BeginModule { id })?;
    module_values(values, Some(&kinds), give)
}

/// Key metadata as it stands behind its opcode.
pub(super) fn key_meta(mut at: Text<'_>) -> Result<Vec<u8>, Bad> {
    let mut out = Vec::new();
    let (mut counted, count) = at.skip()?;
    push_len(&mut out, count);
    counted.array(|at| -> Result<(), Bad> {
        at.open()?;
        let start = *at;
        let class = at.string()?;
        for pair in class.chunks(2) {
            let byte = std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
            let Some(byte) = byte.filter(|_| class.len() == 8) else {
                return start.bad("a class is four bytes in hex");
            };
            out.push(byte);
        }
        at.comma()?;
        let (values, _) = at.skip()?;
        let kinds = match at.has_more() {
            true => at.string()?,
            false => return start.bad("it is not told which values are numbers; dump it with --raw-modules"),
        };
        at.close()?;
        let walked = module_values::<std::convert::Infallible>(values, Some(&kinds), &mut |event| {
            push_module_value(&mut out, &event);
            Ok(())
        });
        push_len(&mut out, module_opcode::EOF);
        match walked {
            Err(Halt::Bad(bad)) => Err(bad),
            _ => Ok(()),
        }
    })?;
    Ok(out)
}

fn id(at: &mut Text<'_>) -> Result<StreamId, Bad> {
    let start = *at;
    let text = at.string()?;
    let parts = text.iter().position(|b| *b == b'-').map(|dash| (&text[..dash], &text[dash + 1..]));
    let id = parts.and_then(|(ms, seq)| Some(StreamId::new(num::parse_u64(ms)?, num::parse_u64(seq)?)));
    id.map_or_else(|| start.bad("this is no stream id"), Ok)
}

/// The oldest current type that has what a stream by hand has.
pub(super) fn stream_type(mut at: Text<'_>) -> Result<T, Bad> {
    let mut object = T::StreamListpacks3;
    at.object(|at, name| {
        if name == b"idmp" {
            object = T::StreamListpacks4;
        }
        at.skip().map(|_| ())
    })?;
    Ok(object)
}

fn stream<E>(mut at: Text<'_>, object: T, give: Give<'_, E>) -> Result<(), Halt<E>> {
    let start = at;
    let has_totals = object != T::StreamListpacks;
    let (mut entries, mut groups, mut idmp) = (None, None, None);
    let (mut length, mut last_id) = (None, None);
    let (mut first_id, mut max_deleted_id, mut entries_added) = (None, None, None);
    at.object(|at, name| -> Result<(), Bad> {
        match name {
            b"entries" => entries = Some(at.skip()?),
            b"length" => length = Some(at.unsigned()?),
            b"last_id" => last_id = Some(id(at)?),
            b"first_id" => first_id = Some(id(at)?),
            b"max_deleted_id" => max_deleted_id = Some(id(at)?),
            b"entries_added" => entries_added = Some(at.unsigned()?),
            b"groups" => groups = Some(at.skip()?.0),
            b"idmp" => idmp = Some(at.skip()?.0),
            _ => return at.bad("a stream has no such member"),
        }
        Ok(())
    })?;
    let Some((mut entries, count)) = entries else { return Ok(start.bad("a stream has entries")?) };
    give(ValueEvent::Begin { declared: count })?;
    let (mut first, mut last) = (None, None);
    entries.array(|at| {
        at.open()?;
        let here = *at;
        let entry = id(at)?;
        if last.is_some_and(|last| last >= entry) {
            return Ok(here.bad("entries of a stream are in the order of their ids")?);
        }
        first = first.or(Some(entry));
        last = Some(entry);
        at.comma()?;
        let mut fields: Vec<Cow<'_, [u8]>> = Vec::new();
        at.array(|at| -> Result<(), Bad> {
            fields.push(at.data()?);
            Ok(())
        })?;
        at.close()?;
        if !fields.len().is_multiple_of(2) {
            return Ok(here.bad("an entry has a value for every field")?);
        }
        let fields: Vec<&[u8]> = fields.iter().map(|field| &**field).collect();
        give(ValueEvent::StreamEntry { id: entry, fields: &fields })
    })?;
    let zero = StreamId::new(0, 0);
    if !has_totals && (first_id.is_some() || max_deleted_id.is_some() || entries_added.is_some()) {
        return Ok(start.bad("record type 15 has no first_id, max_deleted_id and entries_added")?);
    }
    give(ValueEvent::StreamTotals(StreamTotals {
        length: length.unwrap_or(count),
        last_id: last_id.or(last).unwrap_or(zero),
        first_id: has_totals.then(|| first_id.or(first).unwrap_or(zero)),
        max_deleted_id: has_totals.then(|| max_deleted_id.unwrap_or(zero)),
        entries_added: has_totals.then(|| entries_added.unwrap_or(count)),
    }))?;
    if let Some(mut groups) = groups {
        groups.array(|at| group(at, object, give))?;
    }
    let has_idmp = matches!(object, T::StreamListpacks4 | T::StreamListpacks5);
    match idmp {
        Some(at) if !has_idmp => Ok(at.bad("this record type has no idmp")?),
        Some(at) => idempotence(at, give),
        // What the server has for streams that never used it.
        None if has_idmp => {
            give(ValueEvent::StreamIdmp { duration_s: 100, max_entries: 100, added: 0, duplicates: 0 })
        }
        None => Ok(()),
    }
}

fn group<E>(at: &mut Text<'_>, object: T, give: Give<'_, E>) -> Result<(), Halt<E>> {
    let start = *at;
    let (mut name, mut last_id, mut read) = (None, None, None);
    let (mut pel, mut consumers, mut nacked, mut nacked_count) = (None, None, None, None);
    at.object(|at, member| -> Result<(), Bad> {
        match member {
            b"name" => name = Some(at.data()?.into_owned()),
            b"last_id" => last_id = Some(id(at)?),
            b"entries_read" => read = if at.null()? { None } else { Some(at.unsigned()?) },
            b"pel" => pel = Some(at.skip()?.0),
            b"consumers" => consumers = Some(at.skip()?.0),
            b"nacked" => nacked = Some(at.skip()?),
            b"nacked_count" => nacked_count = Some(at.unsigned()?),
            _ => return at.bad("a group has no such member"),
        }
        Ok(())
    })?;
    let (Some(name), Some(last_id)) = (name, last_id) else {
        return Ok(start.bad("a group has a name and a last_id")?);
    };
    give(ValueEvent::StreamGroup { name: &name, last_id, entries_read: read })?;
    if let Some(mut pel) = pel {
        pel.array(|at| {
            at.open()?;
            let id = id(at)?;
            at.comma()?;
            // Whose it is, is told again with the consumers.
            at.data()?;
            at.comma()?;
            let delivered_at = UnixMs(at.signed()?);
            at.comma()?;
            let deliveries = at.unsigned()?;
            at.close()?;
            give(ValueEvent::StreamPending { id, delivered_at, deliveries })
        })?;
    }
    if let Some(mut consumers) = consumers {
        consumers.array(|at| consumer(at, object, give))?;
    }
    let released = nacked.map_or(0, |(_, count)| count);
    if nacked_count.is_some_and(|count| count != released) {
        return Ok(start.bad("nacked_count is not the number of nacked ids")?);
    }
    let Some((mut nacked, _)) = nacked else { return Ok(()) };
    if object != T::StreamListpacks5 {
        return Ok(nacked.bad("only record type 27 has released entries")?);
    }
    nacked.array(|at| give(ValueEvent::StreamNacked(id(at)?)))
}

fn consumer<E>(at: &mut Text<'_>, object: T, give: Give<'_, E>) -> Result<(), Halt<E>> {
    let start = *at;
    let (mut name, mut seen_at, mut active_at, mut pel) = (None, UnixMs(0), None, None);
    at.object(|at, member| -> Result<(), Bad> {
        match member {
            b"name" => name = Some(at.data()?.into_owned()),
            b"seen_time" => seen_at = UnixMs(at.signed()?),
            b"active_time" => active_at = Some(at.signed()?).filter(|at| *at != -1).map(UnixMs),
            b"pel" => pel = Some(at.skip()?.0),
            _ => return at.bad("a consumer has no such member"),
        }
        Ok(())
    })?;
    let Some(name) = name else { return Ok(start.bad("a consumer has a name")?) };
    if active_at.is_some() && matches!(object, T::StreamListpacks | T::StreamListpacks2) {
        return Ok(start.bad("this record type has no active_time")?);
    }
    give(ValueEvent::StreamConsumer { name: &name, seen_at, active_at })?;
    match pel {
        Some(mut pel) => pel.array(|at| give(ValueEvent::StreamConsumerPending(id(at)?))),
        None => Ok(()),
    }
}

fn idempotence<E>(mut at: Text<'_>, give: Give<'_, E>) -> Result<(), Halt<E>> {
    let (mut duration_s, mut max_entries, mut added, mut duplicates) = (100, 100, 0, 0);
    let mut producers = None;
    at.object(|at, name| -> Result<(), Bad> {
        match name {
            b"duration" => duration_s = at.unsigned()?,
            b"maxsize" => max_entries = at.unsigned()?,
            b"added" => added = at.unsigned()?,
            b"duplicates" => duplicates = at.unsigned()?,
            b"producers" => producers = Some(at.skip()?.0),
            _ => return at.bad("idmp has no such member"),
        }
        Ok(())
    })?;
    if let Some(mut producers) = producers {
        producers.array(|at| -> Result<(), Halt<E>> {
            at.open()?;
            let producer = at.data()?;
            at.comma()?;
            at.array(|at| {
                at.open()?;
                let iid = at.data()?;
                at.comma()?;
                let id = id(at)?;
                at.close()?;
                give(ValueEvent::StreamIdmpEntry { producer: &producer, iid: &iid, id })
            })?;
            Ok(at.close()?)
        })?;
    }
    give(ValueEvent::StreamIdmp { duration_s, max_entries, added, duplicates })
}
