//! The nodes of a large list, and the rules about how full each gets.
//!
//! The rules are Valkey's, so that a saved list has the nodes that Valkey would have: what fits into
//! a node, when an element gets a node of its own, where a node is split and which neighbours are
//! merged after that. Behaviour: valkey src/quicklist.c. Nodes are not compressed in memory, but those
//! away from the ends are sealed (`sealed.rs`) if that makes them smaller; the rules are told the bytes of
//! the listpack then.

use crate::packed::Element;
use crate::packed::listpack::{FrontBuf, Listpack, ListpackBuf, encoded_len};
use crate::structure::quicklist::Spine;

use super::sealed::{Sealed, SealedRef};
use super::{End, Side};
use crate::value::Limits;

/// Bytes that the size classes -1 to -5 stand for.
const SIZE_CLASSES: [usize; 5] = [4096, 8192, 16384, 32768, 65536];
/// However many elements a node may hold, it is full at so many bytes.
const SAFE_BYTES: usize = 8192;
/// What an element is taken to cost in a node besides its own bytes.
const OVERHEAD: usize = 8;
/// A node as large as this is not moved for what comes or goes before its first element.
const FRONT_FROM_BYTES: usize = 256;
/// Nodes at an end that are not sealed when another one comes: who takes what was just added, and adds
/// again, at the border of two nodes must not make a listpack of the same node each time.
const AT_ENDS: usize = 2;
/// Bytes that two nodes share once they are one: a header and an end mark.
const MERGED_AWAY: usize = 7;

/// How much fits into a node: `list-max-listpack-size` made plain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fill {
    most: Most,
    /// Bytes from which on an element gets a node of its own.
    large_bytes: usize,
}

#[derive(Debug, Clone, Copy)]
enum Most {
    Bytes(usize),
    Count(usize),
}

impl Fill {
    pub(super) fn of(limits: &Limits) -> Self {
        let most = match limits.list_max_listpack_size {
            0 => Most::Count(1),
            n @ 1.. => Most::Count(n as usize),
            n => Most::Bytes(SIZE_CLASSES[(n.unsigned_abs() as usize - 1).min(SIZE_CLASSES.len() - 1)]),
        };
        let large_bytes = match (limits.list_large_bytes, most) {
            (0, Most::Bytes(most)) => most + 1,
            (0, Most::Count(_)) => SAFE_BYTES + 1,
            (bytes, _) => bytes,
        };
        Self { most, large_bytes }
    }

    /// Whether a node of so many bytes and elements is more than is allowed.
    pub(super) const fn exceeded_by(self, bytes: usize, count: usize) -> bool {
        match self.most {
            Most::Bytes(most) => bytes > most,
            Most::Count(most) => bytes > SAFE_BYTES || count > most,
        }
    }

    /// Whether a node of so many bytes and elements is within a `part`-th of what is allowed.
    pub(super) const fn holds(self, bytes: usize, count: usize, part: usize) -> bool {
        match self.most {
            Most::Bytes(most) => bytes <= most / part,
            Most::Count(most) => count <= most / part,
        }
    }

    /// Whether a node of so many bytes and elements has room for one more of `len` bytes.
    const fn has_room(self, bytes: usize, count: usize, len: usize) -> bool {
        !self.is_large(len) && !self.exceeded_by(bytes + len + OVERHEAD, count + 1)
    }

    /// Whether an element this long gets a node of its own.
    const fn is_large(self, len: usize) -> bool {
        len >= self.large_bytes
    }
}

/// A node: many elements, or a single large one.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Packed(ListpackBuf),
    /// As packed, with room before it: the node at an end that elements come to or go from.
    Front(Box<FrontBuf>),
    /// Full and away from the ends when it was sealed.
    Sealed(Sealed),
    Plain(Box<[u8]>),
}

/// A node to look at.
#[derive(Debug, Clone, Copy)]
pub enum NodeRef<'a> {
    /// Elements in a listpack.
    Packed(Listpack<'a>),
    /// Elements that are all alike.
    Sealed(SealedRef<'a>),
    /// One large element.
    Plain(&'a [u8]),
}

impl Node {
    fn packed(v: &[u8]) -> Self {
        let mut pack = ListpackBuf::with_capacity(encoded_len(v) + MERGED_AWAY);
        pack.push_back(v);
        Self::Packed(pack)
    }

    fn view(&self) -> NodeRef<'_> {
        match self {
            Self::Packed(pack) => NodeRef::Packed(pack.view()),
            Self::Front(pack) => NodeRef::Packed(pack.view()),
            Self::Sealed(sealed) => NodeRef::Sealed(sealed.view()),
            Self::Plain(bytes) => NodeRef::Plain(bytes),
        }
    }

    /// The listpack of a node that is known not to be plain, with no room before it.
    fn pack(&mut self) -> &mut ListpackBuf {
        if let Self::Front(_) | Self::Sealed(_) = self {
            let node = std::mem::replace(self, Self::Packed(ListpackBuf::new()));
            *self = node.into_pack().map_or_else(|node| node, Self::Packed);
        }
        match self {
            Self::Packed(pack) => pack,
            _ => unreachable!("only nodes of many elements are edited in place"),
        }
    }

    /// The node's listpack, or the node again if it is plain.
    fn into_pack(self) -> Result<ListpackBuf, Self> {
        match self {
            Self::Packed(pack) => Ok(pack),
            Self::Front(pack) => Ok(pack.into_listpack()),
            Self::Sealed(sealed) => Ok(sealed.view().to_listpack()),
            Self::Plain(_) => Err(self),
        }
    }

    /// The bytes of the listpack, unless the node is plain.
    fn packed_bytes(&self) -> Option<usize> {
        match self {
            Self::Packed(pack) => Some(pack.byte_len()),
            Self::Front(pack) => Some(pack.byte_len()),
            Self::Sealed(sealed) => Some(sealed.view().packed_len()),
            Self::Plain(_) => None,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Packed(pack) => pack.byte_len(),
            Self::Front(pack) => size_of::<FrontBuf>() + pack.memory_bytes(),
            Self::Sealed(sealed) => sealed.memory_bytes(),
            Self::Plain(bytes) => bytes.len(),
        }
    }

    /// Gives spare room back.
    fn shrink(&mut self) {
        if let Self::Packed(_) | Self::Front(_) = self {
            self.pack().shrink_to_fit();
        }
    }

    /// Seals the node of `count` elements, if it is packed and becomes smaller by it.
    fn seal(&mut self, count: usize) {
        if let NodeRef::Packed(pack) = self.view()
            && let Some(sealed) = Sealed::of(pack, count)
        {
            *self = Self::Sealed(sealed);
        }
    }

    /// Adds an element at an end of a node that is not plain.
    fn push(&mut self, end: End, v: &[u8]) {
        if end == End::Front && matches!(self, Self::Packed(pack) if pack.byte_len() >= FRONT_FROM_BYTES) {
            self.use_front();
        }
        match (self, end) {
            (Self::Front(pack), End::Front) => pack.push_front(v),
            (Self::Front(pack), End::Back) => pack.push_back(v),
            (node, End::Front) => node.pack().push_front(v),
            (node, End::Back) => node.pack().push_back(v),
        }
    }

    /// Removes the first element of a node that is not plain.
    fn pop_front(&mut self) {
        if let Self::Sealed(sealed) = self {
            return sealed.pop_front(1);
        }
        if matches!(self, Self::Packed(pack) if pack.byte_len() >= FRONT_FROM_BYTES) {
            self.use_front();
        }
        let is_done = match self {
            Self::Front(pack) => pack.pop_front(),
            _ => false,
        };
        if !is_done {
            self.pack().remove_range(0, 1);
        }
    }

    fn use_front(&mut self) {
        if let Self::Packed(pack) = self {
            *self = Self::Front(Box::new(FrontBuf::from(std::mem::take(pack))));
        }
    }
}

/// A list of many nodes.
#[derive(Debug, Clone, Default)]
pub struct Quicklist {
    spine: Spine<Node>,
}

impl Quicklist {
    /// How many elements it has.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.spine.len()
    }

    /// Whether it has no elements.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.spine.is_empty()
    }

    /// How many nodes it has.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.spine.node_count()
    }

    /// The nodes in order, as a snapshot writes them.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = NodeRef<'_>> + ExactSizeIterator {
        self.spine.nodes().map(Node::view)
    }

    /// Heap bytes of the nodes and what leads to them. O(nodes).
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.spine.memory_bytes() + self.spine.nodes().map(Node::bytes).sum::<usize>()
    }

    pub(super) fn node(&self, at: usize) -> Option<NodeRef<'_>> {
        self.spine.node(at).map(Node::view)
    }

    /// The node of element `index` and its index in there.
    pub(super) fn seek(&self, index: usize) -> Option<(usize, usize)> {
        self.spine.seek(index)
    }

    /// Appends a node as it is; an empty one is left out.
    pub(super) fn push_node(&mut self, pack: ListpackBuf) {
        let count = pack.len();
        if count > 0 {
            self.seal_behind(End::Back);
            self.spine.push_back(Node::Packed(pack), count);
        }
    }

    /// Appends a node of one element.
    pub(super) fn push_plain(&mut self, bytes: Vec<u8>) {
        self.spine.push_back(Node::Plain(bytes.into_boxed_slice()), 1);
    }

    /// The only node's listpack, if there is a single node, packed and within a `part`-th of `fill`.
    pub(super) fn take_single(&mut self, fill: Fill, part: usize) -> Option<ListpackBuf> {
        if self.node_count() != 1 {
            return None;
        }
        let bytes = self.spine.node(0)?.packed_bytes()?;
        if !fill.holds(bytes, self.len(), part) {
            return None;
        }
        self.spine.remove(0)?.into_pack().ok()
    }

    /// Adds an element at an end.
    #[inline]
    pub(super) fn push(&mut self, end: End, v: &[u8], fill: Fill) {
        let is_added = self.spine.add_at_end(end == End::Front, |node, count| {
            let has_room = node.packed_bytes().is_some_and(|bytes| fill.has_room(bytes, count, v.len()));
            if has_room {
                node.push(end, v);
            }
            has_room
        });
        if !is_added {
            self.push_node_of(end, v, fill);
        }
    }

    /// Adds a node of one element at an end.
    #[cold]
    fn push_node_of(&mut self, end: End, v: &[u8], fill: Fill) {
        let (at, new_at) = match end {
            End::Front => (0, 0),
            End::Back => (self.node_count().saturating_sub(1), self.node_count()),
        };
        // The node that was filled so far will hardly grow again.
        if let Some(count) = self.spine.node(at).map(|_| self.spine.count(at)) {
            self.spine.edit(at, count, Node::shrink);
        }
        self.seal_behind(end);
        self.insert_node(new_at, v, fill);
    }

    /// Before a node comes at an end: seals the last one that will no longer be near it.
    fn seal_behind(&mut self, end: End) {
        let nodes = self.node_count();
        if nodes <= AT_ENDS {
            return;
        }
        let at = if end == End::Front { AT_ENDS - 1 } else { nodes - AT_ENDS };
        let count = self.spine.count(at);
        self.spine.edit(at, count, |node| node.seal(count));
    }

    /// Takes an element from an end, handing it to `with` first.
    pub(super) fn pop<R>(&mut self, end: End, with: impl FnOnce(Element<'_>) -> R) -> Option<R> {
        let at = match end {
            End::Front => 0,
            End::Back => self.node_count().checked_sub(1)?,
        };
        let (answer, offset) = match self.node(at)? {
            NodeRef::Plain(bytes) => (with(Element::Bytes(bytes)), None),
            NodeRef::Sealed(sealed) => {
                let index = if end == End::Front { 0 } else { sealed.len().checked_sub(1)? };
                (with(sealed.get(index)?), Some(index))
            }
            NodeRef::Packed(pack) => {
                let offset = match end {
                    End::Front => pack.first_offset(),
                    End::Back => pack.last_offset()?,
                };
                (with(pack.at(offset)?), Some(offset))
            }
        };
        match offset {
            Some(_) if end == End::Front && self.spine.count(at) > 1 => {
                let left = self.spine.count(at) - 1;
                self.spine.edit(at, left, Node::pop_front);
            }
            Some(offset) if self.spine.count(at) > 1 => {
                let left = self.spine.count(at) - 1;
                self.spine.edit(at, left, |node| match node {
                    Node::Sealed(sealed) => sealed.pop_back(1),
                    node => {
                        node.pack().remove_many_at(offset, 1);
                    }
                });
            }
            _ => {
                self.spine.remove(at);
            }
        }
        Some(answer)
    }

    /// Puts an element beside element `index`, which exists.
    pub(super) fn insert(&mut self, index: usize, side: Side, v: &[u8], fill: Fill) {
        let Some((at, inside)) = self.seek(index) else { return };
        let cut = inside + usize::from(side == Side::After);
        let is_edge = cut == 0 || cut == self.spine.count(at);
        let beside = if side == Side::After { at + 1 } else { at };
        if self.has_room(at, v.len(), fill) {
            let count = self.spine.count(at);
            return self.spine.edit(at, count + 1, |node| insert_into(node.pack(), cut, v));
        }
        if fill.is_large(v.len()) {
            if !is_edge {
                self.split(at, cut);
            }
            return self.insert_node(if is_edge { beside } else { at + 1 }, v, fill);
        }
        if is_edge {
            let neighbour = if side == Side::After { Some(at + 1) } else { at.checked_sub(1) };
            return match neighbour.filter(|&n| self.has_room(n, v.len(), fill)) {
                Some(n) => self.push_into(n, if side == Side::After { End::Front } else { End::Back }, v),
                None => self.insert_node(beside, v, fill),
            };
        }
        self.split(at, cut);
        match side {
            Side::After => self.push_into(at + 1, End::Front, v),
            Side::Before => self.push_into(at, End::Back, v),
        }
        self.merge_around(if side == Side::After { at } else { at + 1 }, fill);
    }

    /// Puts an element in place of element `index`, which exists.
    pub(super) fn replace(&mut self, index: usize, v: &[u8], fill: Fill) {
        let Some((at, inside)) = self.seek(index) else { return };
        let count = self.spine.count(at);
        let is_large = fill.is_large(v.len());
        self.unseal(at);
        match self.node(at) {
            Some(NodeRef::Packed(pack)) if !is_large => {
                if let Some(offset) = pack.seek(inside as isize) {
                    self.spine.edit(at, count, |node| node.pack().replace_at(offset, v));
                }
            }
            Some(NodeRef::Plain(_)) if is_large => {
                self.spine.edit(at, 1, |node| *node = Node::Plain(Box::from(v)));
            }
            Some(NodeRef::Plain(_)) => {
                self.insert(index, Side::After, v, fill);
                self.spine.remove(at);
            }
            Some(NodeRef::Packed(_)) => self.replace_by_large(at, inside, v, fill),
            Some(NodeRef::Sealed(_)) | None => {}
        }
    }

    fn replace_by_large(&mut self, at: usize, inside: usize, v: &[u8], fill: Fill) {
        let cut = inside + 1;
        if cut < self.spine.count(at) {
            self.split(at, cut);
        }
        self.insert_node(at + 1, v, fill);
        match self.node(at) {
            Some(NodeRef::Packed(pack)) if inside > 0 => {
                if let Some(offset) = pack.last_offset() {
                    self.remove_in(at, offset, 1);
                }
                self.merge_around(at + 1, fill);
            }
            _ => {
                self.spine.remove(at);
            }
        }
    }

    /// Removes up to `count` elements from element `start` on; answers how many.
    pub(super) fn remove_range(&mut self, start: usize, count: usize) -> usize {
        let Some((mut at, inside)) = self.seek(start) else { return 0 };
        let removed = count.min(self.len() - start);
        let mut left = removed;
        if inside > 0 {
            let here = left.min(self.spine.count(at) - inside);
            self.remove_inside(at, inside, here);
            left -= here;
            at += 1;
        }
        let first = at;
        while at < self.node_count() && left >= self.spine.count(at) {
            left -= self.spine.count(at);
            at += 1;
        }
        self.spine.remove_nodes(first..at);
        if left > 0 {
            self.remove_inside(first, 0, left);
        }
        removed
    }

    /// Removes up to `count` elements equal to `v`, from the given end on; answers how many.
    pub(super) fn remove_equal(&mut self, v: &[u8], from: End, count: usize) -> usize {
        let mut removed = 0;
        let mut steps = self.node_count();
        let mut at = if from == End::Front { 0 } else { steps.saturating_sub(1) };
        while steps > 0 && removed < count {
            steps -= 1;
            removed += self.remove_equal_in(at, v, from, count - removed);
            let is_gone = self.spine.count(at) == 0;
            if is_gone {
                self.spine.remove(at);
            }
            match from {
                End::Front => at += usize::from(!is_gone),
                End::Back => at = at.saturating_sub(1),
            }
        }
        removed
    }

    /// As `remove_equal`, in one node, which may be left with no elements.
    fn remove_equal_in(&mut self, at: usize, v: &[u8], from: End, most: usize) -> usize {
        let before = self.spine.count(at);
        let removed = match self.node(at) {
            Some(NodeRef::Plain(bytes)) => usize::from(bytes == v),
            Some(NodeRef::Sealed(sealed)) if sealed.iter().any(|element| element.eq_bytes(v)) => {
                self.spine.edit(at, before, |node| remove_equal(node.pack(), v, from, most))
            }
            Some(NodeRef::Packed(pack)) if pack.find(pack.first_offset(), v, 1).is_some() => {
                self.spine.edit(at, before, |node| remove_equal(node.pack(), v, from, most))
            }
            _ => 0,
        };
        if removed > 0 {
            self.spine.set_count(at, before - removed);
        }
        removed
    }

    /// Whether node `at` takes another element of `len` bytes.
    fn has_room(&self, at: usize, len: usize, fill: Fill) -> bool {
        let bytes = self.spine.node(at).and_then(Node::packed_bytes);
        bytes.is_some_and(|bytes| fill.has_room(bytes, self.spine.count(at), len))
    }

    fn push_into(&mut self, at: usize, end: End, v: &[u8]) {
        let count = self.spine.count(at);
        self.spine.edit(at, count + 1, |node| node.push(end, v));
    }

    fn insert_node(&mut self, at: usize, v: &[u8], fill: Fill) {
        let node = if fill.is_large(v.len()) { Node::Plain(Box::from(v)) } else { Node::packed(v) };
        self.spine.insert(at, node, 1);
    }

    /// Makes two nodes of node `at`: the elements before `cut`, and those from there on.
    fn split(&mut self, at: usize, cut: usize) {
        let count = self.spine.count(at);
        let tail = self.spine.edit(at, cut, |node| node.pack().split_off(cut));
        self.spine.insert(at + 1, Node::Packed(tail), count - cut);
    }

    /// After a split: merges what fits together among the two nodes on either side of `center`, and
    /// `center` with its neighbours.
    fn merge_around(&mut self, center: usize, fill: Fill) {
        let mut center = center;
        if center >= 2 && self.merge(center - 2, fill) {
            center -= 1;
        }
        self.merge(center + 1, fill);
        if center >= 1 && self.merge(center - 1, fill) {
            center -= 1;
        }
        self.merge(center, fill);
    }

    /// Merges node `at` and the one behind it if both are packed and fit into one.
    fn merge(&mut self, at: usize, fill: Fill) -> bool {
        let bytes = |at| self.spine.node(at).and_then(Node::packed_bytes);
        let (Some(a), Some(b)) = (bytes(at), bytes(at + 1)) else { return false };
        let bytes = a + b - MERGED_AWAY;
        let count = self.spine.count(at) + self.spine.count(at + 1);
        if fill.exceeded_by(bytes, count) {
            return false;
        }
        if let Some(Ok(b)) = self.spine.remove(at + 1).map(Node::into_pack) {
            self.spine.edit(at, count, |node| node.pack().append(b.view()));
        }
        true
    }

    /// Makes a listpack of node `at` again, if it is sealed.
    fn unseal(&mut self, at: usize) {
        if let Some(Node::Sealed(_)) = self.spine.node(at) {
            let count = self.spine.count(at);
            self.spine.edit(at, count, |node| {
                node.pack();
            });
        }
    }

    fn remove_inside(&mut self, at: usize, inside: usize, count: usize) {
        let before = self.spine.count(at);
        if let Some(Node::Sealed(_)) = self.spine.node(at)
            && (inside == 0 || inside + count == before)
        {
            return self.spine.edit(at, before - count, |node| match node {
                Node::Sealed(sealed) if inside == 0 => sealed.pop_front(count),
                Node::Sealed(sealed) => sealed.pop_back(count),
                _ => {}
            });
        }
        self.unseal(at);
        if let Some(NodeRef::Packed(pack)) = self.node(at)
            && let Some(offset) = pack.seek(inside as isize)
        {
            self.remove_in(at, offset, count);
        }
    }

    fn remove_in(&mut self, at: usize, offset: usize, count: usize) {
        let left = self.spine.count(at) - count;
        self.spine.edit(at, left, |node| node.pack().remove_many_at(offset, count));
    }
}

/// Puts an element before element `cut`, or last if `cut` is the number of elements.
pub(super) fn insert_into(pack: &mut ListpackBuf, cut: usize, v: &[u8]) {
    match pack.view().seek(cut as isize) {
        Some(offset) => pack.insert_at(offset, v),
        None => pack.push_back(v),
    }
}

/// Removes up to `most` elements equal to `v`, from the given end on; answers how many.
pub(super) fn remove_equal(pack: &mut ListpackBuf, v: &[u8], from: End, most: usize) -> usize {
    let mut removed = 0;
    match from {
        End::Front => {
            let mut at = pack.view().first_offset();
            while removed < most
                && let Some((found, _)) = pack.view().find(at, v, 1)
            {
                at = pack.remove_at(found);
                removed += 1;
            }
        }
        End::Back => {
            let mut at = pack.view().end_offset();
            while removed < most
                && let Some(before) = pack.view().prev(at)
            {
                if pack.view().at(before).is_some_and(|element| element.eq_bytes(v)) {
                    pack.remove_at(before);
                    removed += 1;
                }
                at = before;
            }
        }
    }
    removed
}
