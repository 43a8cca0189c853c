//! What can be wrong with a packed collection whose bytes are sound, and the search for members that
//! come twice.
//!
//! A listpack says nothing about what its elements are to each other: whether they come in pairs,
//! whether a field comes twice. That is checked here, once, when a value comes from outside.

use smallvec::SmallVec;

use crate::packed::Element;
use crate::packed::listpack::Listpack;

/// A defect of a packed collection as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// A member or field comes a second time.
    #[error("member {index} is there twice")]
    Duplicate {
        /// Index of the second occurrence, in members or in fields.
        index: usize,
    },
    /// The elements do not make whole pairs or triples.
    #[error("{elements} elements are not groups of {group}")]
    Incomplete {
        /// Elements found.
        elements: usize,
        /// Elements a member takes.
        group: usize,
    },
    /// A score is not a number.
    #[error("the score of member {index} is no number")]
    BadScore {
        /// Index of the member.
        index: usize,
    },
    /// A field's expiry is not an integer, or negative.
    #[error("the expiry of field {index} is no time")]
    BadExpiry {
        /// Index of the field.
        index: usize,
    },
}

/// Up to here every member is compared with every other.
const FEW: usize = 8;
/// Up to here a table of hashes is used; beyond it the members are sorted, which no choice of
/// members can make slow.
const MANY: usize = 4096;
/// Slots of the table that need no allocation.
const INLINE_SLOTS: usize = 64;

/// Checks that `pack` holds groups of `group` elements, the first of each distinct from all others.
/// O(n), or O(n log n) for many. Answers how many groups there are.
///
/// # Errors
/// `Incomplete`, `Duplicate`.
pub fn distinct_groups(pack: Listpack<'_>, group: usize) -> Result<usize, Malformed> {
    let elements = pack.len();
    if !elements.is_multiple_of(group) {
        return Err(Malformed::Incomplete { elements, group });
    }
    let count = elements / group;
    let members = pack.iter().step_by(group).map(normal);
    let duplicate = match count {
        0 | 1 => None,
        _ if are_marked_apart(pack, group, count) => None,
        2..=FEW => by_comparing(members),
        _ if count <= MANY => by_hashing(pack, group, count),
        _ => by_sorting(members),
    };
    duplicate.map_or(Ok(count), |index| Err(Malformed::Duplicate { index }))
}

/// The form that is the same for the same text, whoever wrote the listpack.
// Inlined by force: handed over in memory, the element cost a quarter of a search.
#[inline(always)]
fn normal(element: Element<'_>) -> Element<'_> {
    match element {
        Element::Bytes(bytes @ [b'0'..=b'9' | b'-', ..]) => Element::of(bytes),
        _ => element,
    }
}

fn by_comparing<'a>(members: impl Iterator<Item = Element<'a>>) -> Option<usize> {
    let mut seen: SmallVec<[Element<'a>; FEW]> = SmallVec::new();
    for (index, member) in members.enumerate() {
        if seen.contains(&member) {
            return Some(index);
        }
        seen.push(member);
    }
    None
}

/// Words of marks for few members, and for more of them. The second are cleared in a tenth of the time that
/// the members take.
pub(super) const MARKS: (usize, usize) = (64, 1024);
/// So many members have different marks with a chance that makes it worth a try.
pub(super) const MARKED: (usize, usize) = (24, 160);

/// Whether the members are clearly distinct, as their hashes have different marks; if not, they may be distinct
/// all the same. There is nothing to guess here for the CPU, which makes it some times faster than a table.
fn are_marked_apart(pack: Listpack<'_>, group: usize, count: usize) -> bool {
    if count <= MARKED.0 {
        mark::<{ MARKS.0 }>(pack, group) == Some(false)
    } else {
        count <= MARKED.1 && mark::<{ MARKS.1 }>(pack, group) == Some(false)
    }
}

/// Marks of members among those of `WORDS` words.
pub(super) struct Marks<const WORDS: usize> {
    words: [u64; WORDS],
    met: u64,
}

impl<const WORDS: usize> Marks<WORDS> {
    #[inline]
    pub(super) fn new() -> Self {
        Marks { words: [0; WORDS], met: 0 }
    }

    /// Marks a member, which is an integer if it is the text of one.
    #[inline(always)]
    pub(super) fn add(&mut self, member: Element<'_>) {
        let hash = hash(member);
        let word = &mut self.words[(hash >> 32) as usize % WORDS];
        self.met |= *word >> (hash % 64);
        *word |= 1 << (hash % 64);
    }

    /// Whether two members have the same mark.
    #[inline]
    pub(super) fn have_met(&self) -> bool {
        self.met & 1 != 0
    }
}

/// Whether two members have the same mark among those of `WORDS` words; `None` if the groups are not whole.
#[inline]
fn mark<const WORDS: usize>(pack: Listpack<'_>, group: usize) -> Option<bool> {
    let mut marks = Marks::<WORDS>::new();
    let mut offset = pack.first_offset();
    while let Some((member, mut next)) = pack.read(offset) {
        marks.add(normal(member));
        for _ in 1..group {
            next = pack.next(next)?;
        }
        offset = next;
    }
    Some(marks.have_met())
}

/// Open addressing; a slot is the upper half of a hash and the member's offset plus one.
fn by_hashing(pack: Listpack<'_>, group: usize, count: usize) -> Option<usize> {
    let slots = (2 * count).next_power_of_two();
    let mut few = [0; INLINE_SLOTS];
    let mut many = Vec::new();
    let table = if slots <= INLINE_SLOTS {
        &mut few[..slots]
    } else {
        many.resize(slots, 0);
        &mut many[..]
    };
    let mut offset = pack.first_offset();
    for index in 0..count {
        let member = normal(pack.at(offset)?);
        let hash = hash(member);
        let entry = (hash & !u64::from(u32::MAX)) | (offset as u64 + 1);
        let mut at = hash as usize & (slots - 1);
        while table[at] != 0 {
            let same_hash = (table[at] ^ entry) >> 32 == 0;
            let other = (table[at] as u32 - 1) as usize;
            if same_hash && pack.at(other).map(normal) == Some(member) {
                return Some(index);
            }
            at = (at + 1) & (slots - 1);
        }
        table[at] = entry;
        for _ in 0..group {
            offset = pack.next(offset)?;
        }
    }
    None
}

fn by_sorting<'a>(members: impl Iterator<Item = Element<'a>>) -> Option<usize> {
    let mut sorted: Vec<(Element<'a>, usize)> =
        members.enumerate().map(|(index, member)| (member, index)).collect();
    sorted.sort_unstable_by_key(|&(member, index)| match member {
        Element::Int(v) => (0, v, &[][..], index),
        Element::Bytes(bytes) => (1, 0, bytes, index),
    });
    sorted.windows(2).filter(|pair| pair[0].0 == pair[1].0).map(|pair| pair[1].1).min()
}

/// A quick hash; who can choose members to collide gains a walk over at most `MANY` slots.
#[inline]
fn hash(member: Element<'_>) -> u64 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let step = |hash: u64, word: u64| (hash ^ word).wrapping_mul(MIX).rotate_left(29);
    let mixed = match member {
        Element::Int(v) => step(1, v as u64),
        Element::Bytes(bytes) => {
            let (words, _) = bytes.as_chunks::<8>();
            let hash =
                words.iter().fold(bytes.len() as u64, |hash, &word| step(hash, u64::from_le_bytes(word)));
            step(hash, last_word(bytes))
        }
    };
    mixed.wrapping_mul(MIX) ^ (mixed >> 32)
}

/// The last eight bytes, or all there are; some may count twice.
#[inline]
fn last_word(bytes: &[u8]) -> u64 {
    if let Some(last) = bytes.last_chunk::<8>() {
        return u64::from_le_bytes(*last);
    }
    match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        (Some(first), Some(last)) => {
            u64::from(u32::from_le_bytes(*first)) | (u64::from(u32::from_le_bytes(*last)) << 32)
        }
        _ => bytes.iter().fold(0, |word, &byte| (word << 8) | u64::from(byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::{FEW, MANY, MARKED, Malformed, are_marked_apart, distinct_groups};
    use crate::packed::listpack::ListpackBuf;

    fn pack(members: usize, twice: Option<(usize, usize)>, group: usize) -> ListpackBuf {
        let mut pack = ListpackBuf::new();
        for i in 0..members {
            let named = twice.filter(|&(_, second)| second == i).map_or(i, |(first, _)| first);
            pack.push_back(
                if named.is_multiple_of(2) { format!("{named}") } else { format!("m{named}") }.as_bytes(),
            );
            (1..group).for_each(|_| pack.push_back(b"same"));
        }
        pack
    }

    #[test]
    fn a_second_occurrence_is_found_at_every_size() {
        let marked = [MARKED.0, MARKED.0 + 1, MARKED.1, MARKED.1 + 1];
        for count in [0, 1, 2, FEW, FEW + 1, 300, MANY, MANY + 1].into_iter().chain(marked) {
            for group in [1, 2, 3] {
                assert_eq!(distinct_groups(pack(count, None, group).view(), group), Ok(count));
                if count >= 2 {
                    for twice in [(0, count - 1), (count - 2, count - 1), (0, 1)] {
                        let found = distinct_groups(pack(count, Some(twice), group).view(), group);
                        assert_eq!(found, Err(Malformed::Duplicate { index: twice.1 }), "{count} {group}");
                    }
                }
            }
        }
    }

    #[test]
    fn marks_mostly_tell_distinct_members_apart_and_never_equal_ones() {
        let mut apart = 0;
        for count in 2..=MARKED.1 {
            apart += usize::from(are_marked_apart(pack(count, None, 2).view(), 2, count));
            let twice = Some((count / 3, count - 1));
            assert!(!are_marked_apart(pack(count, twice, 2).view(), 2, count), "{count}");
        }
        assert!(apart * 10 > MARKED.1 * 8, "{apart} of {}", MARKED.1);
    }

    #[test]
    fn groups_must_be_whole() {
        let odd = pack(3, None, 1);
        assert_eq!(distinct_groups(odd.view(), 2), Err(Malformed::Incomplete { elements: 3, group: 2 }));
    }

    #[test]
    fn an_integer_and_its_text_are_one_member() {
        // Made by hand: the string "5", which no writer of ours stores as a string.
        let bytes = vec![12, 0, 0, 0, 2, 0, 5, 1, 0x81, b'5', 2, 0xff];
        let pack = ListpackBuf::from_bytes(bytes).expect("a sound listpack");
        assert_eq!(distinct_groups(pack.view(), 1), Err(Malformed::Duplicate { index: 1 }));
    }
}
