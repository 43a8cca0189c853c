//! Lists: one listpack while they are small, a quicklist of nodes beyond that.
//!
//! A list becomes a quicklist before an edit that would take it past `list-max-listpack-size`, and a
//! listpack again once it has shrunk to a single node of half that size, so that it doesn't flip at
//! the limit. Behaviour: valkey src/t_list.c. Indexes of the editors count from the head.

mod loading;
mod quicklist;
mod sealed;

use std::ops::Range;

use crate::packed::Element;
use crate::packed::listpack::{self, Listpack, ListpackBuf};

use super::Limits;
pub use loading::{ListLoader, LoadedList};
use quicklist::Fill;
pub use quicklist::{NodeRef, Quicklist};
pub use sealed::SealedRef;

/// An end of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The head, where LPUSH pushes.
    Front,
    /// The tail, where RPUSH pushes.
    Back,
}

/// Where a new element goes, seen from another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Towards the head.
    Before,
    /// Towards the tail.
    After,
}

/// An owned list.
#[derive(Debug, Clone)]
pub enum List {
    /// A single listpack.
    Listpack(ListpackBuf),
    /// Many nodes.
    Quicklist(Box<Quicklist>),
}

/// A list to look at.
#[derive(Debug, Clone, Copy)]
pub enum ListRef<'a> {
    /// A single listpack.
    Listpack(Listpack<'a>),
    /// Many nodes.
    Quicklist(&'a Quicklist),
}

impl Default for List {
    fn default() -> Self {
        Self::new()
    }
}

impl List {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::Listpack(ListpackBuf::new())
    }

    /// The list to look at.
    #[inline]
    #[must_use]
    pub fn view(&self) -> ListRef<'_> {
        match self {
            Self::Listpack(pack) => ListRef::Listpack(pack.view()),
            Self::Quicklist(quick) => ListRef::Quicklist(quick),
        }
    }

    /// How many elements it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.view().len()
    }

    /// Whether it has no elements: its key must go.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.view().is_empty()
    }

    /// Appends a node of a file as it is. [`List::settle`] must follow the last one.
    pub fn push_node(&mut self, pack: ListpackBuf) {
        match self {
            Self::Listpack(own) if own.is_empty() => *own = pack,
            _ => self.as_quicklist().push_node(pack),
        }
    }

    /// Appends a node of one element as a file has it. [`List::settle`] must follow the last one.
    pub fn push_plain(&mut self, bytes: Vec<u8>) {
        self.as_quicklist().push_plain(bytes);
    }

    /// Picks the encoding that the limits ask for, after nodes were appended.
    pub fn settle(&mut self, limits: &Limits) {
        self.grow(0, 0, limits);
        self.contract(Fill::of(limits), 1);
    }

    /// Pushes an element.
    pub fn push(&mut self, end: End, v: &[u8], limits: &Limits) {
        self.push_all(end, std::iter::once(v), limits);
    }

    /// Pushes elements one after the other, deciding about the encoding once for all of them.
    pub fn push_all<'v>(&mut self, end: End, items: impl Iterator<Item = &'v [u8]> + Clone, limits: &Limits) {
        if matches!(self, Self::Listpack(_)) {
            let (count, bytes) = items.clone().fold((0, 0), |(n, bytes), v| (n + 1, bytes + v.len()));
            self.grow(count, bytes, limits);
        }
        match self {
            Self::Listpack(pack) => items.for_each(|v| match end {
                End::Front => pack.push_front(v),
                End::Back => pack.push_back(v),
            }),
            Self::Quicklist(quick) => {
                let fill = Fill::of(limits);
                items.for_each(|v| quick.push(end, v, fill));
            }
        }
    }

    /// Pushes elements one after the other onto a list of many nodes. Its length then; `None` for any other
    /// list, which is as before.
    #[inline]
    pub fn push_to_nodes(&mut self, end: End, items: &[&[u8]], limits: &Limits) -> Option<usize> {
        let Self::Quicklist(quick) = self else { return None };
        let fill = Fill::of(limits);
        items.iter().for_each(|v| quick.push(end, v, fill));
        Some(quick.len())
    }

    /// Takes the element at an end and gives it to `with`, which answers for it.
    pub fn pop_with<R>(
        &mut self,
        end: End,
        limits: &Limits,
        with: impl FnOnce(Element<'_>) -> R,
    ) -> Option<R> {
        let answer = match self {
            Self::Listpack(pack) => {
                let view = pack.view();
                let offset = match end {
                    End::Front => view.first_offset(),
                    End::Back => view.last_offset()?,
                };
                let answer = with(view.at(offset)?);
                pack.remove_at(offset);
                answer
            }
            Self::Quicklist(quick) => quick.pop(end, with)?,
        };
        self.contract(Fill::of(limits), 2);
        Some(answer)
    }

    /// Takes the element at an end.
    pub fn pop(&mut self, end: End, limits: &Limits) -> Option<Vec<u8>> {
        self.pop_with(end, limits, |element| element.to_vec())
    }

    /// Puts an element in place of another; answers false if there is none at `index`.
    pub fn set(&mut self, index: usize, v: &[u8], limits: &Limits) -> bool {
        if index >= self.len() {
            return false;
        }
        self.grow(1, v.len(), limits);
        match self {
            Self::Listpack(pack) => {
                if let Some(offset) = pack.view().seek(index as isize) {
                    pack.replace_at(offset, v);
                }
            }
            Self::Quicklist(quick) => quick.replace(index, v, Fill::of(limits)),
        }
        self.contract(Fill::of(limits), 2);
        true
    }

    /// Puts an element beside the first one equal to `pivot`; answers false if there is none.
    pub fn insert_beside(&mut self, pivot: &[u8], side: Side, v: &[u8], limits: &Limits) -> bool {
        let Some(index) = self.view().index_of(pivot) else { return false };
        self.insert(index, side, v, limits);
        true
    }

    /// Puts an element beside element `index`; nothing happens if there is none.
    pub fn insert(&mut self, index: usize, side: Side, v: &[u8], limits: &Limits) {
        if index >= self.len() {
            return;
        }
        self.grow(1, v.len(), limits);
        match self {
            Self::Listpack(pack) => {
                quicklist::insert_into(pack, index + usize::from(side == Side::After), v);
            }
            Self::Quicklist(quick) => quick.insert(index, side, v, Fill::of(limits)),
        }
    }

    /// Removes up to `count` elements from element `start` on; answers how many.
    pub fn remove_range(&mut self, start: usize, count: usize, limits: &Limits) -> usize {
        let removed = match self {
            Self::Listpack(pack) => pack.remove_range(start, count),
            Self::Quicklist(quick) => quick.remove_range(start, count),
        };
        self.contract(Fill::of(limits), 2);
        removed
    }

    /// Removes all elements but those of the range; answers how many went.
    pub fn keep_range(&mut self, keep: Range<usize>, limits: &Limits) -> usize {
        let len = self.len();
        let start = keep.start.min(len);
        let end = keep.end.clamp(start, len);
        self.remove_range(end, len - end, limits) + self.remove_range(0, start, limits)
    }

    /// Removes up to `most` elements equal to `v`, from the given end on; answers how many.
    pub fn remove_equal(&mut self, v: &[u8], from: End, most: usize, limits: &Limits) -> usize {
        let removed = match self {
            Self::Listpack(pack) => quicklist::remove_equal(pack, v, from, most),
            Self::Quicklist(quick) => quick.remove_equal(v, from, most),
        };
        if removed > 0 {
            self.contract(Fill::of(limits), 2);
        }
        removed
    }

    /// Heap bytes it owns. O(nodes).
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Listpack(pack) => pack.byte_len(),
            Self::Quicklist(quick) => size_of::<Quicklist>() + quick.memory_bytes(),
        }
    }

    /// Becomes a quicklist if so much more would not fit into one node.
    fn grow(&mut self, count: usize, bytes: usize, limits: &Limits) {
        if let Self::Listpack(pack) = self
            && Fill::of(limits).exceeded_by(pack.byte_len() + bytes, pack.len() + count)
        {
            self.as_quicklist();
        }
    }

    /// Becomes a listpack if it is a single node within a `part`-th of what fits into one.
    fn contract(&mut self, fill: Fill, part: usize) {
        if let Self::Quicklist(quick) = self
            && let Some(mut pack) = quick.take_single(fill, part)
        {
            pack.shrink_to_fit();
            *self = Self::Listpack(pack);
        }
    }

    fn as_quicklist(&mut self) -> &mut Quicklist {
        if let Self::Listpack(pack) = self {
            let mut quick = Box::<Quicklist>::default();
            quick.push_node(std::mem::take(pack));
            *self = Self::Quicklist(quick);
        }
        match self {
            Self::Quicklist(quick) => quick,
            Self::Listpack(_) => unreachable!("it was made a quicklist just above"),
        }
    }
}

impl<'a> ListRef<'a> {
    /// How many elements it has.
    #[inline]
    #[must_use]
    pub fn len(self) -> usize {
        match self {
            Self::Listpack(pack) => pack.len(),
            Self::Quicklist(quick) => quick.len(),
        }
    }

    /// Its nodes, first to last, as a file has them.
    pub fn nodes(self) -> impl Iterator<Item = NodeRef<'a>> {
        let (one, many) = match self {
            Self::Listpack(pack) => (Some(NodeRef::Packed(pack)), None),
            Self::Quicklist(quick) => (None, Some(quick.nodes())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// Whether it has no elements.
    #[must_use]
    pub fn is_empty(self) -> bool {
        match self {
            Self::Listpack(pack) => pack.is_empty(),
            Self::Quicklist(quick) => quick.is_empty(),
        }
    }

    /// The index that a command means: negative numbers count from the end, -1 is the last.
    #[must_use]
    pub fn resolve(self, index: i64) -> Option<usize> {
        let len = self.len();
        let index = if index < 0 {
            len.checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?
        } else {
            usize::try_from(index).ok()?
        };
        (index < len).then_some(index)
    }

    /// Element `index`. O(nodes), then O(elements of one).
    #[must_use]
    pub fn get(self, index: usize) -> Option<Element<'a>> {
        match self {
            Self::Listpack(pack) => pack.get(index),
            Self::Quicklist(quick) => {
                let (at, inside) = quick.seek(index)?;
                match quick.node(at)? {
                    NodeRef::Packed(pack) => pack.get(inside),
                    NodeRef::Sealed(sealed) => sealed.get(inside),
                    NodeRef::Plain(bytes) => Some(Element::Bytes(bytes)),
                }
            }
        }
    }

    /// The element at an end. O(1).
    #[must_use]
    pub fn end(self, end: End) -> Option<Element<'a>> {
        match end {
            End::Front => self.iter().next(),
            End::Back => self.iter().next_back(),
        }
    }

    /// The elements from either end.
    #[must_use]
    pub fn iter(self) -> Items<'a> {
        match self {
            Self::Listpack(pack) => Items::of_pack(pack.iter()),
            Self::Quicklist(quick) => Items {
                quick: Some(quick),
                unseen: 0..quick.node_count(),
                front: NodeItems::Plain(None),
                back: NodeItems::Plain(None),
            },
        }
    }

    /// The elements from element `index` on.
    #[must_use]
    pub fn iter_from(self, index: usize) -> Items<'a> {
        match self {
            Self::Listpack(pack) => Items::of_pack(pack_iter_from(pack, index)),
            Self::Quicklist(quick) => {
                let (at, inside) = quick.seek(index).unwrap_or((quick.node_count(), 0));
                Items {
                    quick: Some(quick),
                    unseen: (at + 1).min(quick.node_count())..quick.node_count(),
                    front: match quick.node(at) {
                        Some(NodeRef::Packed(pack)) => NodeItems::Packed(pack_iter_from(pack, inside)),
                        Some(NodeRef::Sealed(sealed)) => NodeItems::Sealed(sealed.iter_from(inside)),
                        Some(NodeRef::Plain(bytes)) => NodeItems::Plain(Some(bytes)),
                        None => NodeItems::Plain(None),
                    },
                    back: NodeItems::Plain(None),
                }
            }
        }
    }

    /// The elements of a range of indexes, as [`index_range`] makes them.
    pub fn range(self, range: Range<usize>) -> impl Iterator<Item = Element<'a>> {
        self.iter_from(range.start).take(range.len())
    }

    /// The index of the first element equal to `v`. O(n).
    #[must_use]
    pub fn index_of(self, v: &[u8]) -> Option<usize> {
        self.positions(v).next()
    }

    /// The indexes of the elements equal to `v`, from the head on. O(n).
    pub fn positions(self, v: &[u8]) -> impl Iterator<Item = usize> {
        let needle = Needle::new(v);
        self.iter().enumerate().filter_map(move |(i, element)| needle.is(element).then_some(i))
    }

    /// The indexes, still counted from the head, of the elements equal to `v`, from the tail on. O(n).
    pub fn positions_back(self, v: &[u8]) -> impl Iterator<Item = usize> {
        let needle = Needle::new(v);
        let last = self.len().wrapping_sub(1);
        let from_tail = self.iter().rev().enumerate();
        from_tail.filter_map(move |(i, element)| needle.is(element).then_some(last.wrapping_sub(i)))
    }

    /// What OBJECT ENCODING answers.
    #[must_use]
    pub const fn encoding_name(self) -> &'static str {
        match self {
            Self::Listpack(_) => "listpack",
            Self::Quicklist(_) => "quicklist",
        }
    }

    /// An owned copy with the same nodes.
    #[must_use]
    pub fn to_owned(self) -> List {
        match self {
            Self::Listpack(pack) => List::Listpack(ListpackBuf::from_trusted(pack.as_bytes().to_vec())),
            Self::Quicklist(quick) => List::Quicklist(Box::new(quick.clone())),
        }
    }
}

fn pack_iter_from(pack: Listpack<'_>, index: usize) -> listpack::Iter<'_> {
    pack.iter_from(pack.seek(index as isize).unwrap_or(pack.end_offset()))
}

/// Bytes to compare elements with, parsed once.
#[derive(Debug, Clone, Copy)]
struct Needle<'v> {
    bytes: &'v [u8],
    form: Element<'v>,
}

impl<'v> Needle<'v> {
    fn new(bytes: &'v [u8]) -> Self {
        Self { bytes, form: Element::of(bytes) }
    }

    #[inline]
    fn is(&self, element: Element<'_>) -> bool {
        match element {
            Element::Bytes(bytes) => bytes == self.bytes,
            Element::Int(_) => element == self.form,
        }
    }
}

/// The elements of a list.
#[derive(Debug, Clone)]
pub struct Items<'a> {
    quick: Option<&'a Quicklist>,
    /// Nodes that neither end has opened yet.
    unseen: Range<usize>,
    front: NodeItems<'a>,
    back: NodeItems<'a>,
}

#[derive(Debug, Clone)]
enum NodeItems<'a> {
    Packed(listpack::Iter<'a>),
    Sealed(sealed::Iter<'a>),
    Plain(Option<&'a [u8]>),
}

impl<'a> NodeItems<'a> {
    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        match self {
            Self::Packed(iter) => iter.next(),
            Self::Sealed(iter) => iter.next(),
            Self::Plain(bytes) => bytes.take().map(Element::Bytes),
        }
    }

    #[inline]
    fn next_back(&mut self) -> Option<Element<'a>> {
        match self {
            Self::Packed(iter) => iter.next_back(),
            Self::Sealed(iter) => iter.next_back(),
            Self::Plain(bytes) => bytes.take().map(Element::Bytes),
        }
    }
}

impl<'a> Items<'a> {
    const fn of_pack(iter: listpack::Iter<'a>) -> Self {
        Self { quick: None, unseen: 0..0, front: NodeItems::Packed(iter), back: NodeItems::Plain(None) }
    }

    fn open(&self, at: usize) -> NodeItems<'a> {
        match self.quick.and_then(|quick| quick.node(at)) {
            Some(NodeRef::Packed(pack)) => NodeItems::Packed(pack.iter()),
            Some(NodeRef::Sealed(sealed)) => NodeItems::Sealed(sealed.iter()),
            Some(NodeRef::Plain(bytes)) => NodeItems::Plain(Some(bytes)),
            None => NodeItems::Plain(None),
        }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        loop {
            if let Some(element) = self.front.next() {
                return Some(element);
            }
            match self.unseen.next() {
                Some(at) => self.front = self.open(at),
                None => return self.back.next(),
            }
        }
    }
}

impl DoubleEndedIterator for Items<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(element) = self.back.next_back() {
                return Some(element);
            }
            match self.unseen.next_back() {
                Some(at) => self.back = self.open(at),
                None => return self.front.next_back(),
            }
        }
    }
}

impl std::iter::FusedIterator for Items<'_> {}

/// The indexes from `start` to `stop`, both included, as LRANGE and LTRIM count: negative numbers
/// from the end, empty when they cross or lie outside.
#[must_use]
pub fn index_range(len: usize, start: i64, stop: i64) -> Range<usize> {
    let signed = i64::try_from(len).unwrap_or(i64::MAX);
    let from_end = |i: i64| if i < 0 { i.saturating_add(signed) } else { i };
    let (first, last) = (from_end(start).max(0), from_end(stop).min(signed - 1));
    if first > last { 0..0 } else { first as usize..last as usize + 1 }
}

#[cfg(test)]
mod tests;
