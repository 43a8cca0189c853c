//! What a meter remembers of a value that has gone by: sums and extremes, whatever its length.

use cairn_engine::base::num;
use cairn_engine::packed::Element;
use cairn_engine::packed::listpack::{encoded_int_len, encoded_len};

use super::{Allocator, limits};

/// Bytes of a listpack that has no entries.
const EMPTY_LISTPACK: u64 = 7;

/// Sums over the elements of a value.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// Elements; pairs of a hash or a sorted set.
    pub(super) elements: u64,
    /// Length of the longest element, field, value or member.
    pub(super) longest: u64,
    /// Length of all of them.
    pub(super) content: u64,
    /// Which element was the first that is too long for a small encoding, counted from 1.
    pub(super) long_at: Option<u64>,
    /// Bytes of the entries if they were a listpack's; only meant while there are few.
    pub(super) entries: u64,
    /// Bytes of the elements if each had allocations of its own.
    pub(super) apart: u64,
    /// Bytes of the one packed string that the value is in the file, if it is one.
    pub(super) packed: Option<u64>,
    /// The packed string is to be rewritten, as it is of an old form.
    pub(super) is_old: bool,
    /// Whether all elements are integers so far, and the extremes of these.
    pub(super) ints: Option<(i64, i64)>,
    pub(super) is_mixed: bool,
    /// The extremes of the scores that are integers, and whether others are not.
    scores: Option<(i64, i64)>,
    has_fractions: bool,
    /// Fields with an expiry of their own.
    pub(super) expiring: u64,
    /// The earliest and the latest of these expiries.
    pub(super) times: Option<(i64, i64)>,
    pub(super) list: ListSeen,
}

impl Seen {
    fn int(&mut self, value: i64) {
        widen(&mut self.ints, value);
    }

    /// Takes a member of a set into account that may have to become an intset's.
    pub(super) fn member(&mut self, element: &Element<'_>) {
        if !self.is_mixed {
            match element.as_i64() {
                Some(value) => self.int(value),
                None => self.is_mixed = true,
            }
        }
    }

    /// Takes a score into account.
    pub(super) fn score(&mut self, score: f64) {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if score.fract() == 0.0 && score.abs() < EXACT {
            widen(&mut self.scores, score as i64);
        } else {
            self.has_fractions = true;
        }
    }

    /// The extremes of the scores, if all are integers.
    pub(super) fn scores(&self) -> Option<(i64, i64)> {
        self.scores.filter(|_| !self.has_fractions)
    }

    /// The bytes of the value as a listpack.
    pub(super) fn listpack_bytes(&self) -> u64 {
        match self.packed {
            Some(bytes) if !self.is_old => bytes,
            _ => EMPTY_LISTPACK + self.entries,
        }
    }

    /// The bytes of the members as an intset.
    pub(super) fn intset_bytes(&self) -> u64 {
        const HEADER: u64 = 8;
        let width = match self.ints {
            Some((low, high)) if low < i64::from(i32::MIN) || high > i64::from(i32::MAX) => 8,
            Some((low, high)) if low < i64::from(i16::MIN) || high > i64::from(i16::MAX) => 4,
            _ => 2,
        };
        HEADER + width * self.elements
    }

    pub(super) fn is_small(&self, most_elements: u64) -> bool {
        self.elements <= most_elements && self.longest <= limits::ELEMENT
    }
}

/// Makes a range hold a number.
pub(super) fn widen(range: &mut Option<(i64, i64)>, number: i64) {
    *range = Some(range.map_or((number, number), |(low, high)| (low.min(number), high.max(number))));
}

/// The bytes of an element as an entry of a listpack.
pub(super) fn entry_bytes(element: &Element<'_>) -> u64 {
    match *element {
        Element::Int(value) => encoded_int_len(value) as u64,
        Element::Bytes(bytes) => encoded_len(bytes) as u64,
    }
}

/// The bytes of a score as an entry of a listpack: an integer where it is one, else its shortest text.
pub(super) fn score_bytes(score: f64) -> u64 {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if score.fract() == 0.0 && score.abs() < EXACT {
        return encoded_int_len(score as i64) as u64;
    }
    let mut text = Vec::with_capacity(32);
    num::push_f64_17g(&mut text, score);
    encoded_len(&text) as u64
}

/// The nodes of a list.
#[derive(Debug, Clone, Default)]
pub(super) struct ListSeen {
    pub(super) nodes: u64,
    /// Allocations of the nodes' contents.
    pub(super) bytes: u64,
    /// Bytes of the nodes but for the last in the form that Cairn gives to full ones.
    pub(super) sealed: u64,
    /// The same of the last node.
    last_sealed: u64,
    /// Whether the last node is one large element by itself.
    pub(super) is_plain: bool,
    /// Bytes and allocation of the last node.
    pub(super) last: (u64, u64),
    /// Whether the last node is one that grows by elements.
    is_open: bool,
}

impl ListSeen {
    /// A node that is taken over as it is.
    pub(super) fn node(&mut self, bytes: u64, is_plain: bool, allocator: Allocator) {
        let class = allocator.class(bytes);
        self.nodes += 1;
        self.bytes += class;
        self.sealed += self.last_sealed;
        (self.last, self.is_plain, self.is_open) = ((bytes, class), is_plain, false);
        self.last_sealed = bytes;
    }

    /// The last node has these elements: Cairn keeps those of one length, and integers, without headers.
    pub(super) fn seal<'e>(&mut self, elements: impl Iterator<Item = Element<'e>>) {
        const HEADER: u64 = 6;
        const LEAST: u64 = 8;
        if self.nodes == 1 {
            // Both ends stay as they are, for they are edited.
            return;
        }
        let (mut count, mut ints, mut all_ints, mut len, mut same) = (0u64, None, true, None, true);
        for element in elements {
            count += 1;
            match element {
                Element::Int(value) => widen(&mut ints, value),
                Element::Bytes(_) => all_ints = false,
            }
            same &= *len.get_or_insert(element.len()) == element.len();
        }
        let rows = match (all_ints, ints, len.filter(|_| same && ints.is_none())) {
            (true, Some((low, high)), _) => {
                let bits = u64::from(64 - low.abs_diff(high).leading_zeros());
                LEAST + bits.div_ceil(8).max(1) * count
            }
            (_, _, Some(len)) => len as u64 * count,
            _ => return,
        };
        self.last_sealed = self.last_sealed.min(HEADER + rows);
    }

    /// An element that a server appends. `has_plain` says whether elements that are too long for a node
    /// get one by themselves, not packed.
    pub(super) fn append(&mut self, element: &Element<'_>, has_plain: bool, allocator: Allocator) {
        let (entry, len) = (entry_bytes(element), element.len() as u64);
        if has_plain && len > limits::LIST_NODE {
            self.node(len, true, allocator);
            return;
        }
        if self.is_open && self.last.0 + entry <= limits::LIST_NODE {
            let bytes = self.last.0 + entry;
            let class = allocator.class(bytes);
            self.bytes += class - self.last.1;
            self.last = (bytes, class);
            return;
        }
        self.node(EMPTY_LISTPACK + entry, false, allocator);
        self.is_open = true;
    }
}
