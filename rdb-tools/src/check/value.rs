//! What must hold inside a value whose layout is right: members once, order, ids, owners.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;

use cairn_engine::codec::rdb::{Depth, Family, KeyHead, ObjectType, Sink, StreamId, ValueEvent};
use cairn_engine::packed::listpack::Listpack;
use cairn_engine::packed::{Element, IntText};

use super::distinct::{Distinct, Hasher};
use super::fate::Fate;
use super::part_name;
use crate::output::Shown;

/// A fault of a value.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) kind: &'static str,
    pub(crate) what: String,
    pub(crate) fate: Fate,
}

/// Looks at the events of one value after another.
#[derive(Debug)]
pub(crate) struct Inspector {
    object: ObjectType,
    hasher: Hasher,
    /// Of the parts that must differ.
    parts: Distinct,
    /// Elements of any kind, or nodes with elements.
    elements: u64,
    stream: Stream,
    last_index: Option<u64>,
    pub(crate) problems: Vec<Problem>,
}

#[derive(Debug, Default)]
struct Stream {
    last: Option<StreamId>,
    groups: HashSet<Vec<u8>>,
    /// Pending entries of the current group, and whether a consumer has them.
    pending: HashMap<StreamId, bool>,
    consumers: HashSet<Vec<u8>>,
    has_group: bool,
}

impl Inspector {
    pub(crate) fn new(hasher: Hasher) -> Self {
        Self {
            object: ObjectType::String,
            hasher,
            parts: Distinct::new(),
            elements: 0,
            stream: Stream::default(),
            last_index: None,
            problems: Vec::new(),
        }
    }

    /// A value of this type follows.
    pub(crate) fn begin(&mut self, object: ObjectType) {
        self.object = object;
        self.parts.clear();
        self.elements = 0;
        self.last_index = None;
        self.problems.clear();
        if object.family() == Family::Stream {
            self.stream = Stream::default();
        }
    }

    /// The depth at which values of the current type are looked at.
    pub(crate) fn depth(&self) -> Depth {
        match self.object.family() {
            Family::Stream => Depth::Item,
            _ => Depth::Packed,
        }
    }

    /// Whether the type is looked at in the decoder's own pass. Others are when all their bytes are
    /// there, which lets the check go on behind a fault.
    pub(crate) fn is_inspected_while_read(&self, is_mapped: bool) -> bool {
        use ObjectType as T;
        match self.object {
            // They refer to what the decoder has read before.
            T::HashTemplateListpackRef | T::HashTemplateArrayRef => true,
            // Any number of plain elements: too much to keep.
            T::List
            | T::Set
            | T::ZsetText
            | T::Zset
            | T::Hash
            | T::HashMetadata
            | T::HashExpiry
            | T::Array => !is_mapped,
            _ => false,
        }
    }

    fn add(&mut self, kind: &'static str, fate: Fate, what: String) {
        self.problems.push(Problem { kind, what, fate });
    }

    fn distinct(&mut self, bytes: &[u8]) {
        self.elements += 1;
        self.parts.add(self.hasher.part(bytes));
    }

    /// Elements of a packed value, of which every `stride`th must differ from the others.
    fn distinct_elements<'e>(&mut self, elements: impl Iterator<Item = Element<'e>>, stride: usize) {
        let mut text = IntText::new();
        for element in elements.step_by(stride) {
            self.distinct(element.text(&mut text));
        }
    }

    pub(crate) fn event(&mut self, event: &ValueEvent<'_>) {
        match *event {
            ValueEvent::Element(member) if self.object.family() == Family::Set => self.distinct(member),
            ValueEvent::Element(_) => self.elements += 1,
            ValueEvent::Field { field, .. } => self.distinct(field),
            ValueEvent::Path { .. } => {
                // Fields are distinct within their path only.
                self.duplicates_so_far();
                self.elements += 1;
            }
            ValueEvent::Member { member, .. } => self.distinct(member),
            ValueEvent::Listpack(view) => self.listpack(view),
            ValueEvent::Intset(view) => self.elements += view.iter().count() as u64,
            ValueEvent::Ziplist(view) => match self.object.family() {
                Family::List => self.elements += view.iter().count() as u64,
                Family::Zset => self.scored(view.iter()),
                _ => self.distinct_elements(view.iter(), 2),
            },
            ValueEvent::Zipmap(view) => view.iter().for_each(|(field, _)| self.distinct(field)),
            ValueEvent::ListNode(view) => self.elements += u64::from(!view.is_empty()),
            ValueEvent::OldListNode(view) => self.elements += u64::from(view.iter().next().is_some()),
            ValueEvent::PlainListNode(_) => self.elements += 1,
            ValueEvent::ArrayElement { index, .. } => self.array_element(index),
            _ if self.object.family() == Family::Stream => self.stream_event(event),
            _ => {}
        }
    }

    fn listpack(&mut self, view: Listpack<'_>) {
        let stride = stride(self.object);
        if self.object.family() == Family::Zset {
            return self.scored(view.iter());
        }
        self.distinct_elements(view.iter(), stride);
    }

    /// Members of a packed sorted set stand in the order of scores, then of members, and once each.
    fn scored<'e>(&mut self, mut elements: impl Iterator<Item = Element<'e>>) {
        let mut text = IntText::new();
        let mut last: Option<(Element<'e>, Element<'e>, Option<Decimal>)> = None;
        let (mut index, mut is_ordered) = (0u64, true);
        while let (Some(member), Some(score)) = (elements.next(), elements.next()) {
            self.distinct(member.text(&mut text));
            let decimal = Decimal::of(score);
            is_ordered = is_ordered
                && match (&last, decimal) {
                    (Some((_, _, Some(before))), Some(decimal)) if before.is_below(decimal) => true,
                    // Of one score, as most are in sets that are sorted by names.
                    (Some((name, _, Some(before))), Some(decimal))
                        if *before == decimal
                            && decimal.is_all
                            && name.with_bytes(|a| member.with_bytes(|b| a <= b)) =>
                    {
                        true
                    }
                    (None, Some(_)) => true,
                    _ => {
                        let before = last.as_ref().map(|(name, score, _)| (*name, *score));
                        self.is_behind(before, member, score, index)
                    }
                };
            last = Some((member, score, decimal));
            index += 1;
        }
    }

    /// Whether a member stands behind the one before it; if not, that is a problem.
    #[cold]
    fn is_behind(
        &mut self,
        before: Option<(Element<'_>, Element<'_>)>,
        member: Element<'_>,
        score: Element<'_>,
        index: u64,
    ) -> bool {
        let Some(score) = score.as_f64().filter(|score| !score.is_nan()) else {
            let what = format!("the score of member {index} is no number");
            self.add("score", Fate::Accepts, what);
            return false;
        };
        let is_behind = before.is_none_or(|(name, before)| {
            let before = before.as_f64().unwrap_or(f64::NEG_INFINITY);
            before < score || (before == score && name.with_bytes(|a| member.with_bytes(|b| a <= b)))
        });
        if !is_behind {
            let what = format!("member {index} is out of order: ranges and ranks will be wrong");
            self.add("order", Fate::Accepts, what);
        }
        is_behind
    }

    fn array_element(&mut self, index: u64) {
        self.elements += 1;
        if self.last_index.is_some_and(|last| last >= index) {
            self.add("order", Fate::Refuses, format!("array index {index} is not above the one before it"));
        }
        self.last_index = Some(index);
    }

    fn stream_event(&mut self, event: &ValueEvent<'_>) {
        match *event {
            ValueEvent::StreamEntry { id, .. } => {
                self.elements += 1;
                if self.stream.last.is_some_and(|last| last >= id) {
                    let what = format!("entry {} is not above the one before it", id_text(id));
                    self.add("order", Fate::Accepts, what);
                }
                self.stream.last = Some(id);
            }
            ValueEvent::StreamTotals(totals) => {
                if totals.length != self.elements {
                    let what =
                        format!("the stream says it has {} entries, it has {}", totals.length, self.elements);
                    self.add("stream", Fate::Accepts, what);
                }
                if self.stream.last.is_some_and(|last| last > totals.last_id) {
                    let what = format!("the last id {} is below that of an entry", id_text(totals.last_id));
                    self.add("stream", Fate::Accepts, what);
                }
            }
            ValueEvent::StreamGroup { name, .. } => {
                self.end_group();
                self.stream.has_group = true;
                if !self.stream.groups.insert(name.to_vec()) {
                    self.add("duplicate", Fate::Refuses, format!("group \"{}\" is there twice", Shown(name)));
                }
            }
            ValueEvent::StreamPending { id, .. } => {
                let was_there = self.stream.pending.insert(id, false).is_some();
                if was_there {
                    self.add("duplicate", Fate::Refuses, format!("entry {} is pending twice", id_text(id)));
                }
            }
            ValueEvent::StreamConsumer { name, .. } => {
                let is_new = self.stream.consumers.insert(name.to_vec());
                if !is_new {
                    self.add(
                        "duplicate",
                        Fate::Refuses,
                        format!("consumer \"{}\" is there twice", Shown(name)),
                    );
                }
            }
            ValueEvent::StreamConsumerPending(id) | ValueEvent::StreamNacked(id) => {
                match self.stream.pending.get_mut(&id) {
                    None => {
                        let what =
                            format!("entry {} is pending for a consumer and not for its group", id_text(id));
                        self.add("stream", Fate::Refuses, what);
                    }
                    Some(true) => {
                        let what = format!("entry {} is pending for two consumers", id_text(id));
                        self.add("stream", Fate::Refuses, what);
                    }
                    Some(owned) => *owned = true,
                }
            }
            _ => {}
        }
    }

    fn end_group(&mut self) {
        let orphan = self.stream.pending.iter().filter(|(_, owned)| !**owned).map(|(id, _)| *id).min();
        if let Some(id) = orphan {
            self.add("stream", Fate::Crashes, format!("entry {} is pending for no consumer", id_text(id)));
        }
        self.stream.pending.clear();
        self.stream.consumers.clear();
    }

    fn duplicates_so_far(&mut self) {
        if self.parts.twice().is_some() {
            self.add_duplicate(None);
        }
        self.parts.clear();
    }

    /// The value has ended. The hash of a part that is there twice, if there is one: its finding is
    /// to be added with its name.
    pub(crate) fn end(&mut self) -> Option<u64> {
        use ObjectType as T;
        match self.object.family() {
            Family::Stream => self.end_group(),
            Family::List | Family::Set | Family::Zset | Family::Hash | Family::Array
                if self.elements == 0 =>
            {
                let fate = match self.object {
                    T::SetIntset | T::HashZipmap => Fate::Refuses,
                    _ => Fate::Skips,
                };
                self.add("empty", fate, format!("{} without elements", self.object.family().name()));
            }
            _ => {}
        }
        self.parts.twice()
    }

    /// What kept it from looking at all parts of a value.
    pub(crate) fn failed(&mut self) -> Option<std::io::Error> {
        self.parts.failed()
    }

    /// Adds the finding about a part that is there twice; its name where it is known.
    pub(crate) fn add_duplicate(&mut self, name: Option<&[u8]>) {
        use ObjectType as T;
        let part = part_name(self.object.family());
        let what = match name {
            Some(name) => format!("{part} \"{}\" is there twice", Shown(name)),
            None => format!("a {part} is there twice"),
        };
        let fate = match self.object {
            // Packed forms that servers take as they are, and trip over when they grow.
            T::SetListpack
            | T::ZsetListpack
            | T::HashListpack
            | T::HashListpackEx
            | T::HashListpackExPreGa => Fate::Crashes,
            _ => Fate::Refuses,
        };
        self.add("duplicate", fate, what);
    }
}

impl Sink for Inspector {
    type Error = Infallible;

    fn key(&mut self, _head: &KeyHead<'_>) -> Result<Depth, Infallible> {
        Ok(self.depth())
    }

    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), Infallible> {
        self.event(&event);
        Ok(())
    }
}

/// Of the elements of a packed value, every how many-th must differ from the others.
fn stride(object: ObjectType) -> usize {
    use ObjectType as T;
    match object {
        T::SetListpack => 1,
        T::HashListpackEx | T::HashListpackExPreGa => 3,
        _ => 2,
    }
}

/// Finds the part of a value that has a hash, and whether it is there twice.
pub(crate) struct Finder {
    hasher: Hasher,
    hash: u64,
    is_set: bool,
    stride: usize,
    first: Option<Vec<u8>>,
    /// The part that is there twice.
    pub(crate) found: Option<Vec<u8>>,
}

impl Finder {
    pub(crate) fn new(inspector: &Inspector, hash: u64) -> Self {
        let is_set = inspector.object.family() == Family::Set;
        let stride = stride(inspector.object);
        Self { hasher: inspector.hasher, hash, is_set, stride, first: None, found: None }
    }

    fn look(&mut self, bytes: &[u8]) {
        if self.found.is_some() || self.hasher.part(bytes) != self.hash {
            return;
        }
        match &self.first {
            None => self.first = Some(bytes.to_vec()),
            Some(first) if first == bytes => self.found = self.first.take(),
            // Another part of the same hash: two names cannot be told apart by it, so the first is kept.
            Some(_) => {}
        }
    }
}

impl Sink for Finder {
    type Error = Infallible;

    fn key(&mut self, _head: &KeyHead<'_>) -> Result<Depth, Infallible> {
        Ok(Depth::Packed)
    }

    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), Infallible> {
        match event {
            ValueEvent::Element(bytes) if self.is_set => self.look(bytes),
            ValueEvent::Field { field: bytes, .. } | ValueEvent::Member { member: bytes, .. } => {
                self.look(bytes);
            }
            ValueEvent::Listpack(view) => {
                view.iter().step_by(self.stride).for_each(|element| self.look(&element.to_vec()));
            }
            ValueEvent::Ziplist(view) => {
                view.iter().step_by(self.stride).for_each(|element| self.look(&element.to_vec()));
            }
            ValueEvent::Zipmap(view) => view.iter().for_each(|(field, _)| self.look(field)),
            _ => {}
        }
        Ok(())
    }
}

/// The first digits of a score that is written as a plain decimal and not negative.
///
/// Doubles tell 15 digits apart, so two scores whose first 15 digits differ are in the order of these.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Decimal {
    /// Digits before the point.
    whole_digits: usize,
    /// The first 15 digits from there on.
    first: u64,
    /// There are no more digits.
    is_all: bool,
}

impl Decimal {
    const DIGITS: usize = 15;

    /// `None` for what must be parsed to be compared.
    fn of(element: Element<'_>) -> Option<Self> {
        const POWERS: [u64; Decimal::DIGITS] = {
            let mut powers = [1; Decimal::DIGITS];
            let mut i = 1;
            while i < Decimal::DIGITS {
                powers[i] = powers[i - 1] * 10;
                i += 1;
            }
            powers
        };
        let text = match element {
            Element::Int(value) => {
                let value = u64::try_from(value).ok()?;
                let whole_digits = value.checked_ilog10().map_or(1, |log| log as usize + 1);
                let missing = Self::DIGITS.checked_sub(whole_digits)?;
                return Some(Self { whole_digits, first: value * POWERS[missing], is_all: true });
            }
            Element::Bytes(text) => text,
        };
        let whole_digits = text.iter().take_while(|c| c.is_ascii_digit()).count();
        // A zero in front would be counted as a digit.
        if whole_digits == 0 || whole_digits > Self::DIGITS || (whole_digits > 1 && text[0] == b'0') {
            return None;
        }
        let mut first = text[..whole_digits].iter().fold(0, |n, c| n * 10 + u64::from(c - b'0'));
        let mut left = Self::DIGITS - whole_digits;
        let mut is_all = true;
        match &text[whole_digits..] {
            [] => {}
            [b'.', behind @ ..] if !behind.is_empty() => {
                for c in behind {
                    if !c.is_ascii_digit() {
                        return None;
                    }
                    if left > 0 {
                        first = first * 10 + u64::from(c - b'0');
                        left -= 1;
                    } else {
                        is_all = false;
                    }
                }
            }
            _ => return None,
        }
        Some(Self { whole_digits, first: first * POWERS.get(left)?, is_all })
    }

    fn is_below(self, other: Self) -> bool {
        (self.whole_digits, self.first) < (other.whole_digits, other.first)
    }
}

fn id_text(id: StreamId) -> String {
    format!("{}-{}", id.ms, id.seq)
}
