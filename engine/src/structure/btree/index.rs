//! From a member to the leaf that holds it: a hash table of leaf numbers, 6 bytes a slot.
//!
//! The table keeps no members and no whole hashes, only 16 bits of each: a lookup yields candidate
//! leaves and the tree looks into them. It is cut into segments by the low bits of the hash, and
//! grows and shrinks by splitting or merging one segment at a time (linear hashing), so that no
//! single insertion pays for the whole table. Inside a segment slots are kept in the order of their
//! tags: home slots depend on the tag alone, so a segment is resized without hashing anything, and
//! a scan has a stable order to follow. Only a split needs one more bit of each hash, and asks the
//! leaves for it. Knows no scores and no sort order.

use crate::structure::record::prefetch_bytes;

/// Most entries a segment has on average before the table gets another one.
const SPLIT_ABOVE: u64 = 1024;
/// Fewest entries a segment has on average before the table gives one up.
const MERGE_BELOW: u64 = 384;
/// Slots of the smallest segment.
const MIN_HOMES: usize = 8;
/// Slots behind the last home, for entries that are pushed past it.
const OVERFLOW_SLOTS: usize = 8;
/// A slot without an entry.
const EMPTY: u16 = 0;

/// The part of a hash that a slot keeps: never [`EMPTY`].
#[inline]
pub(super) fn tag_of(hash: u64) -> u16 {
    ((hash >> 48) as u16).max(1)
}

/// Tells the index what a leaf holds.
pub(super) trait LeafHashes {
    /// Appends the hashes of those members of the leaf whose tag this is.
    fn hashes_with_tag(&self, leaf: u32, tag: u16, out: &mut Vec<u64>);
}

/// The table.
#[derive(Debug, Clone)]
pub(super) struct LeafIndex {
    segments: Vec<Segment>,
    entries: u64,
}

/// Entries whose hashes agree in their low bits, by tag.
#[derive(Debug, Clone, Default)]
struct Segment {
    slots: Box<[Slot]>,
    homes: u32,
    len: u32,
}

/// A tag and a leaf's number in 6 bytes, side by side, so that a lookup touches one cache line.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    tag: u16,
    leaf_low: u16,
    leaf_high: u16,
}

impl Slot {
    #[inline]
    fn new(tag: u16, leaf: u32) -> Self {
        Self { tag, leaf_low: leaf as u16, leaf_high: (leaf >> 16) as u16 }
    }

    #[inline]
    fn leaf(self) -> u32 {
        u32::from(self.leaf_low) | u32::from(self.leaf_high) << 16
    }
}

impl LeafIndex {
    pub(super) fn new() -> Self {
        Self { segments: vec![Segment::default()], entries: 0 }
    }

    /// The table of `count` entries, each segment as large as it must be. `same_tag` is told of
    /// entries that may be of one member.
    pub(super) fn build(
        count: u64,
        hashes: impl Iterator<Item = (u64, u32)>,
        mut same_tag: impl FnMut(u16, u32, u32),
    ) -> Self {
        let segments = (count / SPLIT_ABOVE + 1) as usize;
        let mut table = Self { segments: vec![Segment::default(); segments], entries: count };
        let mut slots: Vec<Vec<(u16, u32)>> = vec![Vec::new(); segments];
        for (hash, leaf) in hashes {
            slots[table.segment_of(hash)].push((tag_of(hash), leaf));
        }
        for (segment, mut slots) in table.segments.iter_mut().zip(slots) {
            // By one number: pairs are compared in two steps, which are guessed wrong.
            slots.sort_unstable_by_key(|&(tag, leaf)| u64::from(tag) << 32 | u64::from(leaf));
            for run in slots.chunk_by(|a, b| a.0 == b.0) {
                for (i, a) in run.iter().enumerate() {
                    run[..i].iter().for_each(|b| same_tag(a.0, a.1, b.1));
                }
            }
            *segment = Segment::from_sorted(&slots);
        }
        table
    }

    /// The greatest power of two that is not above the number of segments.
    fn base(&self) -> u64 {
        1 << self.segments.len().ilog2()
    }

    #[inline]
    fn segment_of(&self, hash: u64) -> usize {
        let base = self.base();
        let wide = (hash & (2 * base - 1)) as usize;
        if wide < self.segments.len() { wide } else { (hash & (base - 1)) as usize }
    }

    /// Asks the CPU for the slots of this hash.
    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        let segment = &self.segments[self.segment_of(hash)];
        let home = segment.home(tag_of(hash));
        prefetch_bytes(segment.slots.as_ptr().wrapping_add(home).cast(), 2 * size_of::<Slot>());
    }

    /// The leaves that may hold the member with this hash; nearly always one, or none.
    #[inline]
    pub(super) fn candidates(&self, hash: u64) -> impl Iterator<Item = u32> {
        let tag = tag_of(hash);
        let segment = &self.segments[self.segment_of(hash)];
        segment.slots[segment.home(tag)..]
            .iter()
            .take_while(move |slot| slot.tag != EMPTY && slot.tag <= tag)
            .filter(move |slot| slot.tag == tag)
            .map(|slot| slot.leaf())
    }

    /// Adds an entry. The caller sees to it that the member is not there yet.
    pub(super) fn insert(&mut self, hash: u64, leaf: u32) {
        let segment = self.segment_of(hash);
        self.segments[segment].insert(tag_of(hash), leaf);
        self.entries += 1;
    }

    /// Removes the entry of a member in `leaf`.
    pub(super) fn remove(&mut self, hash: u64, leaf: u32) {
        let segment = self.segment_of(hash);
        self.segments[segment].remove(tag_of(hash), leaf);
        self.entries -= 1;
    }

    /// Says that a member has moved from one leaf to another.
    pub(super) fn relocate(&mut self, hash: u64, from: u32, to: u32) {
        let at = self.segment_of(hash);
        let segment = &mut self.segments[at];
        let slot = segment.slot_of(tag_of(hash), from).expect("each member of a leaf is in the index");
        segment.slots[slot] = Slot::new(tag_of(hash), to);
    }

    /// Splits a segment if the table has become crowded, or merges two if it has become sparse.
    ///
    /// Leaves and index must agree when this is called.
    pub(super) fn balance(&mut self, leaves: &impl LeafHashes) {
        let count = self.segments.len() as u64;
        if self.entries > count * SPLIT_ABOVE {
            self.split(leaves);
        } else if count > 1 && self.entries < count * MERGE_BELOW {
            self.merge();
        }
    }

    fn split(&mut self, leaves: &impl LeafHashes) {
        let base = self.base();
        let source = self.segments.len() - base as usize;
        let old = std::mem::take(&mut self.segments[source]);
        let (mut stay, mut go) = (Vec::with_capacity(old.len as usize), Vec::new());
        let (mut hashes, mut done) = (Vec::new(), Vec::<u32>::new());
        let mut run = EMPTY;
        for (tag, leaf) in old.entries() {
            if tag != run {
                run = tag;
                done.clear();
            }
            // A leaf with two members of one tag has two equal slots; both were dealt with at once.
            if done.contains(&leaf) {
                continue;
            }
            done.push(leaf);
            hashes.clear();
            leaves.hashes_with_tag(leaf, tag, &mut hashes);
            for hash in &hashes {
                if hash & (base - 1) == source as u64 {
                    let side = if hash & base == 0 { &mut stay } else { &mut go };
                    side.push((tag, leaf));
                }
            }
        }
        self.segments[source] = Segment::from_sorted(&stay);
        self.segments.push(Segment::from_sorted(&go));
    }

    fn merge(&mut self) {
        let last = self.segments.pop().expect("a merge needs two segments");
        let removed = self.segments.len();
        let target = removed - (1 << removed.ilog2());
        let mut all: Vec<_> = self.segments[target].entries().chain(last.entries()).collect();
        all.sort_by_key(|&(tag, _)| tag);
        self.segments[target] = Segment::from_sorted(&all);
    }

    /// Walks on from `cursor`, which is 0 at the start and at the end, until `visit` was given
    /// `count` entries or more: candidates' leaf, tag, and the low bits that tell the group.
    ///
    /// An entry that was there all the time is visited at least once, however the table changes
    /// between calls: groups of segments follow the order of their reversed bits, as in Redis's
    /// `dictScan`, and slots of a group the order of their tags, which no resize changes.
    pub(super) fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(u32, u16, GroupBits)) -> u64 {
        let base = self.base();
        let mask = base - 1;
        let mut group = (cursor >> 16) & mask;
        let mut from = (cursor & 0xffff) as u16;
        let mut left = count.max(1);
        loop {
            let bits = GroupBits { mask, group };
            let split = group as usize + base as usize;
            let sides = [Some(group as usize), (split < self.segments.len()).then_some(split)];
            let mut found: Vec<(u16, u32)> = Vec::new();
            for side in sides.into_iter().flatten() {
                found.extend(self.segments[side].since(from).take(left.saturating_add(1)));
            }
            found.sort_unstable();
            // All entries of one tag go together, so that the cursor can name the next tag.
            if let Some(&(last, _)) = found.get(left - 1) {
                let mut whole: Vec<(u16, u32)> = found.into_iter().filter(|e| e.0 < last).collect();
                for side in sides.into_iter().flatten() {
                    whole.extend(self.segments[side].since(last).take_while(|e| e.0 == last));
                }
                whole.sort_unstable();
                whole.dedup();
                whole.into_iter().for_each(|(tag, leaf)| visit(leaf, tag, bits));
                if let Some(next) = last.checked_add(1) {
                    return (group << 16) | u64::from(next);
                }
                left = 0;
            } else {
                left -= found.len();
                found.dedup();
                found.into_iter().for_each(|(tag, leaf)| visit(leaf, tag, bits));
            }
            group = next_reversed(group, mask);
            from = 0;
            if group == 0 {
                return 0;
            }
            if left == 0 {
                return group << 16;
            }
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let slots: usize = self.segments.iter().map(|s| s.slots.len()).sum();
        self.segments.capacity() * size_of::<Segment>() + slots * size_of::<Slot>()
    }

    #[cfg(test)]
    pub(super) fn check(&self, leaves: &impl LeafHashes, expected: u64) {
        assert_eq!(self.entries, expected);
        let mut seen = 0;
        for (at, segment) in self.segments.iter().enumerate() {
            let entries: Vec<_> = segment.entries().collect();
            assert_eq!(entries.len(), segment.len as usize);
            assert!(entries.is_sorted_by_key(|&(tag, _)| tag));
            for &(tag, leaf) in &entries {
                let mut hashes = Vec::new();
                leaves.hashes_with_tag(leaf, tag, &mut hashes);
                hashes.retain(|&h| self.segment_of(h) == at);
                let same = entries.iter().filter(|&&e| e == (tag, leaf)).count();
                assert_eq!(hashes.len(), same, "slots of leaf {leaf} with tag {tag}");
                assert!(self.candidates(hashes[0]).any(|l| l == leaf));
                seen += 1;
            }
        }
        assert_eq!(seen, expected);
    }
}

/// Tells whether a hash belongs to the group of segments that a scan is at.
#[derive(Debug, Clone, Copy)]
pub(super) struct GroupBits {
    mask: u64,
    group: u64,
}

impl GroupBits {
    pub(super) fn has(self, hash: u64) -> bool {
        hash & self.mask == self.group
    }
}

/// The next number below `mask + 1` when bits are read from the low end as the high one.
fn next_reversed(v: u64, mask: u64) -> u64 {
    ((v | !mask).reverse_bits().wrapping_add(1)).reverse_bits() & mask
}

impl Segment {
    /// The first slot where an entry of this tag may be; 0 in a segment without slots.
    #[inline]
    fn home(&self, tag: u16) -> usize {
        home(tag, self.homes)
    }

    fn entries(&self) -> impl Iterator<Item = (u16, u32)> {
        self.since(0)
    }

    /// The entries of this tag and greater ones, in order.
    fn since(&self, tag: u16) -> impl Iterator<Item = (u16, u32)> {
        let slots = self.slots[self.home(tag)..].iter();
        slots.filter(move |slot| slot.tag != EMPTY && slot.tag >= tag).map(|slot| (slot.tag, slot.leaf()))
    }

    fn slot_of(&self, tag: u16, leaf: u32) -> Option<usize> {
        let start = self.home(tag);
        let mut slots = self.slots[start..].iter().take_while(|slot| slot.tag != EMPTY && slot.tag <= tag);
        Some(start + slots.position(|slot| slot.tag == tag && slot.leaf() == leaf)?)
    }

    fn insert(&mut self, tag: u16, leaf: u32) {
        // Seven eighths full is where probes stay short and the memory is still well used.
        if (self.len as usize + 1) * 8 > self.homes as usize * 7 {
            let more = (self.homes as usize / 8).max(MIN_HOMES);
            self.resize(self.homes as usize + more);
        }
        loop {
            let start = self.home(tag);
            let before = |slot: &Slot| slot.tag != EMPTY && slot.tag <= tag;
            let at = start + self.slots[start..].iter().take_while(|slot| before(slot)).count();
            if let Some(run) = self.slots[at..].iter().position(|slot| slot.tag == EMPTY) {
                self.slots.copy_within(at..at + run, at + 1);
                self.slots[at] = Slot::new(tag, leaf);
                self.len += 1;
                return;
            }
            // The run reaches the last slot; a resize to the same size appends spare ones.
            self.resize(self.homes as usize);
        }
    }

    fn remove(&mut self, tag: u16, leaf: u32) {
        let at = self.slot_of(tag, leaf).expect("each member of a leaf is in the index");
        let mut end = at + 1;
        while self.slots.get(end).is_some_and(|slot| slot.tag != EMPTY && self.home(slot.tag) < end) {
            end += 1;
        }
        self.slots.copy_within(at + 1..end, at);
        self.slots[end - 1] = Slot::default();
        self.len -= 1;
        let homes = self.homes as usize;
        if homes > 2 * MIN_HOMES && (self.len as usize) * 2 < homes {
            self.resize(self.len as usize * 4 / 3 + 1);
        }
    }

    fn resize(&mut self, homes: usize) {
        let entries: Vec<_> = self.entries().collect();
        *self = Self::with_homes(&entries, homes.max(MIN_HOMES));
    }

    fn from_sorted(entries: &[(u16, u32)]) -> Self {
        Self::with_homes(entries, (entries.len() * 5 / 4).max(MIN_HOMES))
    }

    fn with_homes(entries: &[(u16, u32)], homes: usize) -> Self {
        let homes = homes as u32;
        let mut end = 0;
        for &(tag, _) in entries {
            end = home(tag, homes).max(end) + 1;
        }
        let mut slots = vec![Slot::default(); (homes as usize).max(end) + OVERFLOW_SLOTS].into_boxed_slice();
        let mut next = 0;
        for &(tag, leaf) in entries {
            let at = home(tag, homes).max(next);
            slots[at] = Slot::new(tag, leaf);
            next = at + 1;
        }
        Self { slots, homes, len: entries.len() as u32 }
    }
}

/// Tags spread evenly over the homes, in order.
#[inline]
fn home(tag: u16, homes: u32) -> usize {
    ((u64::from(tag) * u64::from(homes)) >> 16) as usize
}
