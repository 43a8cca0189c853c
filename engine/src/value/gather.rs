//! Short elements that come many at once, put into a listpack and compared in one pass.

use crate::packed::Element;
use crate::packed::listpack::{Room, Short};

use super::MAX_LISTPACK_BYTES;
use super::malformed::{MARKED, MARKS, Marks};

/// The longest of the elements that come many at once.
pub(super) const LONGEST_SHORT: usize = 63;

/// What was seen of the elements that groups begin with.
pub(super) struct Seen {
    /// Whether all are clearly distinct; if not, they may be all the same.
    pub(super) are_apart: bool,
    /// Whether all are integers.
    pub(super) are_ints: bool,
}

/// Whether `room` has room for so many elements that have `bytes` bytes in a file, whatever they are.
#[inline]
pub(super) fn has_room(room: &Room, count: usize, bytes: usize) -> bool {
    room.byte_len() + bytes + count <= MAX_LISTPACK_BYTES
}

/// Appends groups of `GROUP` elements, of which about `groups` come.
#[inline]
pub(super) fn gather<'a, const GROUP: usize>(
    room: &mut Room,
    elements: impl Iterator<Item = Short<'a>>,
    groups: usize,
) -> Seen {
    if groups <= MARKED.0 {
        marking::<GROUP, { MARKS.0 }>(room, elements)
    } else if groups <= MARKED.1 {
        marking::<GROUP, { MARKS.1 }>(room, elements)
    } else {
        marking::<GROUP, 1>(room, elements)
    }
}

#[inline(always)]
fn marking<'a, const GROUP: usize, const WORDS: usize>(
    room: &mut Room,
    mut elements: impl Iterator<Item = Short<'a>>,
) -> Seen {
    let mut marks = Marks::<WORDS>::new();
    let mut are_ints = true;
    while let Some(first) = elements.next() {
        let first = room.push_short(first);
        are_ints &= matches!(first, Element::Int(_));
        marks.add(first);
        elements.by_ref().take(GROUP - 1).for_each(|other| {
            room.push_short(other);
        });
    }
    Seen { are_apart: !marks.have_met(), are_ints }
}
