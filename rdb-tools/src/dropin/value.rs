//! Values in the order in which the servers load them, with their complaints.
//!
//! The line numbers are those of 7.0.15's rdb.c, which scripts have been seen to match.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;

use cairn_engine::base::num;
use cairn_engine::codec::rdb::{
    Depth, Failure, KeyHead, Kind, ObjectType, Sink, ValueEvent, Version, container, decode_value,
    module_opcode,
};
use cairn_engine::packed::Element;
use cairn_engine::packed::intset::Intset;
use cairn_engine::packed::listpack::{self, Listpack};
use cairn_engine::packed::ziplist::Ziplist;
use cairn_engine::packed::zipmap::Zipmap;

use super::reader::{Fault, Reader, c_string};
use crate::jsonl::module_name;

/// Thresholds of a server's defaults: they decide which of two complaints about duplicates comes.
const HASH_MAX_ENTRIES: u64 = 512;
const HASH_MAX_VALUE: usize = 64;
const SET_MAX_INTSET: u64 = 512;
/// A table of so many slots is refused by every allocator. Even greater numbers overflow the size of
/// the request, which the loader notices and takes for success.
const NO_TABLE: std::ops::RangeInclusive<u64> = 1 << 44..=1 << 60;

type Checked = Result<(), Fault>;

fn internal<T>(line: u32, text: &str) -> Result<T, Fault> {
    Err(Fault::Internal(line, text.to_owned()))
}

/// Puts the loader's words in place of a read that came short.
fn or<T>(read: Result<T, Fault>, line: u32, text: &str) -> Result<T, Fault> {
    match read {
        Err(Fault::Eof) => internal(line, text),
        other => other,
    }
}

fn table(line: u32, len: u64) -> Checked {
    if NO_TABLE.contains(&len) {
        return Err(Fault::Internal(line, format!("OOM in dictTryExpand {len}")));
    }
    Ok(())
}

/// Field counts of the hash templates that the file has defined.
pub(super) type Templates = HashMap<u64, u64>;

/// Checks one value, which starts where the reader stands.
pub(super) fn value(
    reader: &mut Reader<'_>,
    object: ObjectType,
    version: Version,
    templates: &Templates,
) -> Checked {
    use ObjectType as T;
    match object {
        T::String => reader.string().map(drop),
        T::List => list(reader),
        T::Set => set(reader),
        T::ZsetText | T::Zset => zset(reader, object),
        T::Hash => hash(reader),
        T::ListQuicklist | T::ListQuicklist2 => quicklist(reader, object),
        T::HashZipmap => zipmap(&reader.string()?),
        T::ListZiplist => {
            let blob = reader.string()?;
            let Ok(view) = Ziplist::new(&blob) else {
                return internal(2189, "List ziplist integrity check failed.");
            };
            not_empty(view.iter().next().is_none())
        }
        T::SetIntset => match Intset::new(&reader.string()?) {
            Ok(view) if view.iter().next().is_some() => Ok(()),
            _ => internal(2214, "Intset integrity check failed."),
        },
        T::SetListpack => pack(&reader.string()?, 1, 2373, "Set listpack integrity check failed."),
        T::ZsetZiplist => old_pack(&reader.string()?, 2229, "Zset ziplist integrity check failed."),
        T::HashZiplist => old_pack(&reader.string()?, 2275, "Hash ziplist integrity check failed."),
        T::ZsetListpack => pack(&reader.string()?, 2, 2255, "Zset listpack integrity check failed."),
        T::HashListpack => pack(&reader.string()?, 2, 2301, "Hash listpack integrity check failed."),
        T::StreamListpacks | T::StreamListpacks2 | T::StreamListpacks3 => stream(reader, object),
        T::ModulePreGa => {
            let id = or(reader.number(), 2622, "Short read module id")?;
            let name = module_name(id);
            let name = String::from_utf8_lossy(&name);
            let text =
                format!("The RDB file contains module data I can't load: no matching module type '{name}'");
            Err(Fault::Internal(2636, text))
        }
        T::Module => {
            let id = or(reader.number(), 2622, "Short read module id")?;
            module_values(reader, id)
        }
        T::HashTemplateListpackRef => reader.string().map(drop),
        T::HashTemplateArrayRef => {
            let id = reader.len()?;
            let Some(fields) = templates.get(&id) else {
                return Err(Fault::Internal(0, format!("Hash template {id} is not defined")));
            };
            (0..*fields).try_for_each(|_| reader.string().map(drop))
        }
        _ => newer(reader, object, version),
    }
}

fn not_empty(is_empty: bool) -> Checked {
    if is_empty { Err(Fault::Eof) } else { Ok(()) }
}

fn count(reader: &mut Reader<'_>) -> Result<u64, Fault> {
    let len = reader.len()?;
    not_empty(len == 0)?;
    Ok(len)
}

fn list(reader: &mut Reader<'_>) -> Checked {
    for _ in 0..count(reader)? {
        reader.string()?;
    }
    Ok(())
}

fn set(reader: &mut Reader<'_>) -> Checked {
    const DUPLICATE: &str = "Duplicate set members detected";
    let len = count(reader)?;
    let mut all_integers = len <= SET_MAX_INTSET;
    if !all_integers {
        table(1785, len)?;
    }
    let mut members = HashSet::new();
    for _ in 0..len {
        let member = reader.string()?;
        all_integers = all_integers && num::parse_i64(&member).is_some();
        if !members.insert(member) {
            return internal(if all_integers { 1809 } else { 1829 }, DUPLICATE);
        }
    }
    Ok(())
}

fn zset(reader: &mut Reader<'_>, object: ObjectType) -> Checked {
    let len = count(reader)?;
    table(1851, len)?;
    let mut members = HashSet::new();
    for _ in 0..len {
        let member = reader.string()?;
        let score = match object {
            ObjectType::Zset => f64::from_le_bytes(reader.array()?),
            _ => text_score(reader)?,
        };
        if score.is_nan() {
            return internal(1882, "Zset with NAN score detected");
        }
        if !members.insert(member) {
            return internal(1894, "Duplicate zset fields detected");
        }
    }
    Ok(())
}

/// A score of the oldest files: a length byte and text, or one of three codes.
fn text_score(reader: &mut Reader<'_>) -> Result<f64, Fault> {
    match reader.byte()? {
        255 => Ok(f64::NEG_INFINITY),
        254 => Ok(f64::INFINITY),
        253 => Ok(f64::NAN),
        len => {
            let text = c_string(reader.take(u64::from(len))?).trim_ascii_start();
            if text.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(b"nan")) {
                return Ok(f64::NAN);
            }
            // As sscanf does: the longest start that is a number.
            let number = (1..=text.len()).rev().find_map(|end| num::parse_f64(&text[..end]));
            number.ok_or(Fault::Eof)
        }
    }
}

fn hash(reader: &mut Reader<'_>) -> Checked {
    let len = count(reader)?;
    let mut left = len;
    let mut is_small = len <= HASH_MAX_ENTRIES;
    if !is_small {
        table(1996, len)?;
    }
    let mut fields = HashSet::new();
    while left > 0 {
        left -= 1;
        let (field, value) = (reader.string()?, reader.string()?);
        let is_long = field.len() > HASH_MAX_VALUE || value.len() > HASH_MAX_VALUE;
        if !fields.insert(field) {
            return match is_small {
                true => internal(1951, "Hash with dup elements"),
                false => internal(2019, "Duplicate hash fields detected"),
            };
        }
        is_small = is_small && !is_long;
    }
    Ok(())
}

fn quicklist(reader: &mut Reader<'_>, object: ObjectType) -> Checked {
    let mut is_empty = true;
    for _ in 0..count(reader)? {
        let kind = match object {
            ObjectType::ListQuicklist2 => reader.len()?,
            _ => container::PACKED,
        };
        if kind != container::PACKED && kind != container::PLAIN {
            return internal(2048, "Quicklist integrity check failed.");
        }
        let node = reader.string()?;
        not_empty(node.is_empty())?;
        if kind == container::PLAIN {
            is_empty = false;
        } else if object == ObjectType::ListQuicklist2 {
            let Ok(view) = Listpack::new(&node) else {
                return internal(2071, "Listpack integrity check failed.");
            };
            is_empty &= view.is_empty();
        } else {
            let Ok(view) = Ziplist::new(&node) else {
                return internal(2081, "Ziplist integrity check failed.");
            };
            is_empty &= view.iter().next().is_none();
        }
    }
    not_empty(is_empty)
}

fn zipmap(blob: &[u8]) -> Checked {
    let Ok(view) = Zipmap::new(blob) else { return internal(2130, "Zipmap integrity check failed.") };
    let mut fields = HashSet::new();
    for (field, _) in &view {
        if !fields.insert(field) {
            let text = format!("Hash zipmap with dup elements, or big length ({})", field.len());
            return Err(Fault::Internal(2154, text));
        }
    }
    if fields.is_empty() {
        return internal(2130, "Zipmap integrity check failed.");
    }
    Ok(())
}

/// Whether every `stride`th element is there once, and the number of elements is a multiple of it.
fn are_distinct<'a>(elements: impl Iterator<Item = Element<'a>>, stride: usize) -> bool {
    let mut seen = HashSet::new();
    let mut len = 0;
    for (i, element) in elements.enumerate() {
        len = i + 1;
        if i % stride == 0 && !seen.insert(element.to_vec()) {
            return false;
        }
    }
    len % stride == 0
}

fn pack(blob: &[u8], stride: usize, line: u32, text: &str) -> Checked {
    match Listpack::new(blob) {
        Ok(view) if are_distinct(view.iter(), stride) => not_empty(view.is_empty()),
        _ => internal(line, text),
    }
}

fn old_pack(blob: &[u8], line: u32, text: &str) -> Checked {
    match Ziplist::new(blob) {
        Ok(view) if are_distinct(view.iter(), 2) => not_empty(view.iter().next().is_none()),
        _ => internal(line, text),
    }
}

/// The values of a module, up to their end mark. What is no known kind of value is stepped over.
pub(super) fn module_values(reader: &mut Reader<'_>, id: u64) -> Checked {
    let name = module_name(id);
    let name = String::from_utf8_lossy(&name);
    let failed = |line, what| {
        move |fault| match fault {
            Fault::Eof => Fault::Internal(line, format!("Error reading {what} from module {name} value")),
            other => other,
        }
    };
    loop {
        match reader.number() {
            Ok(module_opcode::EOF) => return Ok(()),
            Ok(module_opcode::SIGNED | module_opcode::UNSIGNED) => {
                reader.number().map_err(failed.clone()(1540, "integer"))?;
            }
            Ok(module_opcode::STRING) => drop(reader.string().map_err(failed.clone()(1546, "string"))?),
            Ok(module_opcode::FLOAT) => drop(reader.array::<4>().map_err(failed.clone()(1553, "float"))?),
            Ok(module_opcode::DOUBLE) => drop(reader.array::<8>().map_err(failed.clone()(1559, "double"))?),
            Ok(_) => {}
            // The loader would go round for ever here.
            Err(fault) => return Err(fault),
        }
    }
}

/// Whether a listpack is laid out as a node of a stream.
fn is_stream_node(blob: &[u8]) -> bool {
    Listpack::new(blob).is_ok_and(|view| NodeWalk(view.iter()).walk().is_some())
}

/// The elements of a stream's node; each step answers `None` where the layout is another.
struct NodeWalk<'a>(listpack::Iter<'a>);

impl NodeWalk<'_> {
    fn int(&mut self) -> Option<i64> {
        self.0.next()?.as_i64()
    }

    fn skip(&mut self, n: i64) -> Option<()> {
        (0..n).try_for_each(|_| self.0.next().map(drop))
    }

    fn walk(mut self) -> Option<()> {
        let (live, deleted, names) = (self.int()?, self.int()?, self.int()?);
        self.skip(names)?;
        if self.int()? != 0 {
            return None;
        }
        for _ in 0..live.checked_add(deleted)? {
            self.entry(names)?;
        }
        self.0.next().is_none().then_some(())
    }

    fn entry(&mut self, names: i64) -> Option<()> {
        const SAME_FIELDS: i64 = 2;
        let (flags, _ms, _seq) = (self.int()?, self.int()?, self.int()?);
        let elements = match flags & SAME_FIELDS {
            0 => {
                let fields = self.int()?;
                self.skip(fields)?;
                self.skip(fields)?;
                fields.checked_mul(2)?.checked_add(4)?
            }
            _ => {
                self.skip(names)?;
                names.checked_add(3)?
            }
        };
        (self.int()? == elements).then_some(())
    }
}

fn stream(reader: &mut Reader<'_>, object: ObjectType) -> Checked {
    let nodes = or(reader.len(), 2327, "Stream listpacks len loading failed.")?;
    let mut masters = HashSet::new();
    for _ in 0..nodes {
        let master =
            or(reader.string(), 2338, "Stream master ID loading failed: invalid encoding or I/O error.")?;
        let Ok(master) = <[u8; 16]>::try_from(&*master) else {
            return internal(2343, "Stream node key entry is not the size of a stream ID");
        };
        let node = or(reader.string(), 2355, "Stream listpacks loading failed.")?;
        if !is_stream_node(&node) {
            return internal(2362, "Stream listpack integrity check failed.");
        }
        if !masters.insert(master) {
            return internal(2386, "Listpack re-added with existing key");
        }
    }
    let has_totals = object != ObjectType::StreamListpacks;
    let numbers = if has_totals { 8 } else { 3 };
    let mut length = 0;
    for i in 0..numbers {
        let number = or(reader.number(), 2424, "Stream object metadata loading failed.")?;
        if i == 0 {
            length = number;
        }
    }
    if length > 0 && masters.is_empty() {
        return internal(2430, "Stream length inconsistent with rax entries");
    }
    let groups = or(reader.len(), 2438, "Stream cgroup count loading failed.")?;
    let mut names = HashSet::new();
    for _ in 0..groups {
        let name = or(reader.string(), 2449, "Error reading the consumer group name from Stream")?;
        for _ in 0..2 {
            or(reader.number(), 2458, "Stream cgroup ID loading failed.")?;
        }
        if has_totals {
            or(reader.number(), 2469, "Stream cgroup offset loading failed.")?;
        }
        if !names.insert(name.clone()) {
            let name = String::from_utf8_lossy(c_string(&name)).into_owned();
            return Err(Fault::Internal(2480, format!("Duplicated consumer group name {name}")));
        }
        group(reader, object)?;
    }
    Ok(())
}

/// What follows a group's head: its pending entries, its consumers and theirs.
fn group(reader: &mut Reader<'_>, object: ObjectType) -> Checked {
    let mut is_owned: HashMap<[u8; 16], bool> = HashMap::new();
    for _ in 0..or(reader.len(), 2495, "Stream PEL size loading failed.")? {
        let id = or(reader.array(), 2502, "Stream PEL ID loading failed.")?;
        or(reader.i64_le(), 2510, "Stream PEL NACK loading failed.")?;
        or(reader.number(), 2510, "Stream PEL NACK loading failed.")?;
        if is_owned.insert(id, false).is_some() {
            return internal(2516, "Duplicated global PEL entry loading stream consumer group");
        }
    }
    let mut names: HashSet<Cow<'_, [u8]>> = HashSet::new();
    for _ in 0..or(reader.len(), 2527, "Stream consumers num loading failed.")? {
        let name = or(reader.string(), 2534, "Error reading the consumer name from Stream group.")?;
        if !names.insert(name) {
            return internal(2543, "Duplicate stream consumer detected.");
        }
        or(reader.i64_le(), 2549, "Stream short read reading seen time.")?;
        if object == ObjectType::StreamListpacks3 {
            or(reader.i64_le(), 2715, "Stream short read reading active time.")?;
        }
        for _ in 0..or(reader.len(), 2558, "Stream consumer PEL num loading failed.")? {
            let id: [u8; 16] = or(reader.array(), 2566, "Stream short read reading PEL streamID.")?;
            match is_owned.get_mut(&id) {
                None => return internal(2573, "Consumer entry not found in group global PEL"),
                Some(true) => {
                    return internal(2583, "Stream consumer PEL entry already has a consumer assigned");
                }
                Some(owned) => *owned = true,
            }
        }
    }
    if is_owned.values().any(|owned| !owned) {
        return internal(2611, "Stream CG PEL entry without consumer");
    }
    Ok(())
}

/// Types that came after 7.0.15: whatever our decoder says about them.
fn newer(reader: &mut Reader<'_>, object: ObjectType, version: Version) -> Checked {
    match decode_value(version, object.byte(), reader.rest(), Depth::Packed, &mut Quiet) {
        Ok(used) => reader.take(used as u64).map(drop),
        Err(Failure::Format(error)) if error.kind == Kind::UnexpectedEof => Err(Fault::Eof),
        Err(Failure::Format(error)) => Err(Fault::Internal(0, error.kind.to_string())),
        Err(Failure::Sink(never)) => match never {},
    }
}

/// A sink that listens to nothing.
struct Quiet;

impl Sink for Quiet {
    type Error = Infallible;

    fn key(&mut self, _head: &KeyHead<'_>) -> Result<Depth, Infallible> {
        Ok(Depth::Packed)
    }

    fn value(&mut self, _event: ValueEvent<'_>) -> Result<(), Infallible> {
        Ok(())
    }
}
