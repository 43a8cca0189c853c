//! A leaf: a few dozen members with their scores, in order, in one allocation.
//!
//! Layout of `data`: `tags n x u8 | lengths n x {1, 2, 4, 8} | scores n x {0, 1, 2, 4, 8} | members`,
//! little-endian. A tag is a byte of the member's hash and stands in for the member while one is
//! looked for. Scores take the fewest bytes that do: none when all are the same double; the
//! distance from the first when all are integers close enough; else they are doubles. Knows no
//! neighbours but by number, no hash function and no limits.

use std::cmp::Ordering;

use crate::structure::record::prefetch_bytes;

/// The number of no leaf and no inner node.
pub(super) const NONE: u32 = u32::MAX;

/// Doubles beyond this are not trusted to be exact integers.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// A leaf. `prev`, `next` and `parent` are the tree's business.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub(super) parent: u32,
    pub(super) prev: u32,
    pub(super) next: u32,
    count: u16,
    score_width: u8,
    len_width: u8,
    /// Width 0: the bits of the one score. Widths 1, 2, 4: the integer to count from.
    base: u64,
    member_bytes: usize,
    data: Box<[u8]>,
}

/// A leaf taken apart, for when its layout has to change.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) tags: Vec<u8>,
    pub(super) lens: Vec<usize>,
    pub(super) scores: Vec<f64>,
    pub(super) members: Vec<u8>,
    /// At least the widths that a leaf of these needs, when entries came by `push`.
    score_width: u8,
    len_width: u8,
}

impl Parts {
    pub(super) fn len(&self) -> usize {
        self.tags.len()
    }

    pub(super) fn push(&mut self, tag: u8, score: f64, member: &[u8]) {
        let low = self.scores.first().copied().unwrap_or(score);
        self.score_width = self.score_width.max(form_of(&[low.min(score), low.max(score)]).width);
        self.len_width = self.len_width.max(len_width_of(member.len()));
        self.tags.push(tag);
        self.lens.push(member.len());
        self.scores.push(score);
        self.members.extend_from_slice(member);
    }

    /// Bytes that a leaf of these and one more entry would take, near enough: integers that are
    /// not together close to each other count as doubles.
    pub(super) fn bytes_with(&self, score: f64, member: &[u8]) -> usize {
        let low = self.scores.first().copied().unwrap_or(score);
        let width = form_of(&[low.min(score), low.max(score)]).width;
        let fixed = 1
            + usize::from(len_width_of(member.len()).max(self.len_width))
            + usize::from(self.score_width.max(width));
        (self.len() + 1) * fixed + self.members.len() + member.len()
    }

    pub(super) fn append(&mut self, other: Self) {
        self.tags.extend(other.tags);
        self.lens.extend(other.lens);
        self.scores.extend(other.scores);
        self.members.extend(other.members);
    }

    pub(super) fn clear(&mut self) {
        self.tags.clear();
        self.lens.clear();
        self.scores.clear();
        self.members.clear();
        (self.score_width, self.len_width) = (0, 0);
    }

    /// Puts the entries into the opposite order.
    pub(super) fn reverse(&mut self) {
        let mut members = Vec::with_capacity(self.members.len());
        let mut end = self.members.len();
        for &len in self.lens.iter().rev() {
            members.extend_from_slice(&self.members[end - len..end]);
            end -= len;
        }
        self.members = members;
        self.tags.reverse();
        self.lens.reverse();
        self.scores.reverse();
    }
}

/// How the scores of a leaf are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ScoreForm {
    width: u8,
    base: u64,
}

/// Compares scores; 0 and -0 are the same, NaN never comes here.
#[inline]
pub(super) fn cmp_scores(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or(Ordering::Equal)
}

fn exact_int(score: f64) -> Option<i64> {
    let fits = score.abs() <= MAX_EXACT && score.trunc() == score && score.to_bits() != (-0.0f64).to_bits();
    fits.then_some(score as i64)
}

/// The best form for ascending scores.
fn form_of(scores: &[f64]) -> ScoreForm {
    let (Some(&first), Some(&last)) = (scores.first(), scores.last()) else {
        return ScoreForm { width: 0, base: 0 };
    };
    if scores.iter().all(|s| s.to_bits() == first.to_bits()) {
        return ScoreForm { width: 0, base: first.to_bits() };
    }
    let doubles = ScoreForm { width: 8, base: 0 };
    let (Some(low), Some(high)) = (exact_int(first), exact_int(last)) else {
        return doubles;
    };
    if scores.iter().any(|&s| exact_int(s).is_none()) {
        return doubles;
    }
    let width = match high - low {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 4,
        _ => return doubles,
    };
    ScoreForm { width, base: low as u64 }
}

fn len_width_of(longest: usize) -> u8 {
    match longest {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 4,
        _ => 8,
    }
}

#[inline(always)]
fn read_uint(data: &[u8], at: usize, width: u8) -> u64 {
    match width {
        1 => u64::from(data[at]),
        2 => u64::from(u16::from_le_bytes([data[at], data[at + 1]])),
        4 => u64::from(u32::from_le_bytes(*data[at..].first_chunk().expect("the section is whole"))),
        _ => u64::from_le_bytes(*data[at..].first_chunk().expect("the section is whole")),
    }
}

#[inline]
fn write_uint(data: &mut [u8], at: usize, width: u8, v: u64) {
    match width {
        1 => data[at] = v as u8,
        2 => data[at..at + 2].copy_from_slice(&(v as u16).to_le_bytes()),
        4 => data[at..at + 4].copy_from_slice(&(v as u32).to_le_bytes()),
        _ => data[at..at + 8].copy_from_slice(&v.to_le_bytes()),
    }
}

/// How many of these ascending scores are below `score`, and how many are the same. No branch depends
/// on a score: there are few of them, and guessing wrong costs more than looking at all.
#[inline]
pub(super) fn count_below(scores: &[f64], score: f64) -> (usize, usize) {
    let mut counts = (0u64, 0u64);
    for &s in scores {
        // Wrapping, because checked additions are not vectorised.
        counts.0 = counts.0.wrapping_add(u64::from(s < score));
        counts.1 = counts.1.wrapping_add(u64::from(s == score));
    }
    (counts.0 as usize, counts.1 as usize)
}

/// How many of these distances are below one end and how many below another.
#[inline(always)]
fn count_distances<const N: usize>(
    distances: &[u8],
    read: impl Fn([u8; N]) -> u64,
    ends: (u64, u64),
) -> (usize, usize) {
    let mut counts = (0u16, 0u16);
    for distance in distances.as_chunks::<N>().0 {
        let distance = read(*distance);
        // Wrapping, because checked additions are not vectorised; a leaf has fewer entries.
        counts.0 = counts.0.wrapping_add(u16::from(distance < ends.0));
        counts.1 = counts.1.wrapping_add(u16::from(distance < ends.1));
    }
    (usize::from(counts.0), usize::from(counts.1))
}

/// What an allocation of `bytes` really takes, four steps to a doubling as jemalloc has them.
fn size_class(bytes: usize) -> usize {
    const SMALLEST_STEP: usize = 16;
    let step = (bytes.next_power_of_two() / 8).max(SMALLEST_STEP);
    bytes.div_ceil(step).max(1) * step
}

impl Leaf {
    /// Asks the CPU for the first `most` bytes of the entries.
    #[inline]
    pub(super) fn prefetch(&self, most: usize) {
        prefetch_bytes(self.data.as_ptr(), self.data.len().min(most));
    }

    pub(super) fn from_parts(parts: &Parts) -> Self {
        let mut leaf = Self {
            parent: NONE,
            prev: NONE,
            next: NONE,
            count: 0,
            score_width: 0,
            len_width: 1,
            base: 0,
            member_bytes: 0,
            data: Box::default(),
        };
        leaf.fill(&parts.tags, &parts.lens, &parts.scores, &parts.members);
        leaf
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Bytes in use.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.members_at() + self.member_bytes
    }

    /// Bytes allocated.
    pub(super) fn memory_bytes(&self) -> usize {
        self.data.len()
    }

    #[inline]
    fn lens_at(&self) -> usize {
        self.len()
    }

    #[inline]
    fn scores_at(&self) -> usize {
        self.len() * (1 + usize::from(self.len_width))
    }

    #[inline]
    fn members_at(&self) -> usize {
        self.len() * (1 + usize::from(self.len_width) + usize::from(self.score_width))
    }

    #[inline]
    pub(super) fn score(&self, i: usize) -> f64 {
        let width = usize::from(self.score_width);
        match self.score_width {
            0 => f64::from_bits(self.base),
            8 => f64::from_bits(read_uint(&self.data, self.scores_at() + i * width, 8)),
            w => {
                let distance = read_uint(&self.data, self.scores_at() + i * width, w);
                (self.base as i64 + distance as i64) as f64
            }
        }
    }

    #[cfg(test)]
    pub(super) fn tag(&self, i: usize) -> u8 {
        self.data[i]
    }

    #[inline]
    pub(super) fn member_len(&self, i: usize) -> usize {
        read_uint(&self.data, self.lens_at() + i * usize::from(self.len_width), self.len_width) as usize
    }

    /// Where member `i` starts, counted from the first member. O(i), but a vector loop.
    #[inline]
    pub(super) fn member_start(&self, i: usize) -> usize {
        let at = self.lens_at();
        if self.len_width == 1 {
            // Wrapping, because checked additions are not vectorised; the sum is below the leaf's size.
            self.data[at..at + i].iter().fold(0, |sum: usize, &len| sum.wrapping_add(usize::from(len)))
        } else {
            (0..i).map(|j| self.member_len(j)).sum()
        }
    }

    /// Member `i`, which starts at `start`.
    #[inline]
    pub(super) fn member_at(&self, i: usize, start: usize) -> &[u8] {
        let at = self.members_at() + start;
        &self.data[at..at + self.member_len(i)]
    }

    #[inline]
    pub(super) fn member(&self, i: usize) -> &[u8] {
        self.member_at(i, self.member_start(i))
    }

    /// All members' bytes together.
    pub(super) fn member_total(&self) -> usize {
        self.member_bytes
    }

    /// The slots whose tag this is.
    pub(super) fn slots_with_tag(&self, tag: u8) -> impl Iterator<Item = usize> {
        memchr::memchr_iter(tag, &self.data[..self.len()])
    }

    /// The slot of a member.
    #[inline]
    pub(super) fn find(&self, tag: u8, member: &[u8]) -> Option<usize> {
        /// Every byte's lowest bit, and its highest.
        const LOW: u64 = 0x0101_0101_0101_0101;
        const HIGH: u64 = LOW << 7;
        let is_it = |i: usize| self.member_len(i) == member.len() && self.member(i) == member;
        // Eight tags at a time. A borrow may mark a byte behind a true match; the member decides.
        let (words, rest) = self.data[..self.len()].as_chunks::<8>();
        for (at, word) in words.iter().enumerate() {
            let differs = u64::from_le_bytes(*word) ^ u64::from(tag).wrapping_mul(LOW);
            let mut same = differs.wrapping_sub(LOW) & !differs & HIGH;
            while same != 0 {
                let slot = at * 8 + same.trailing_zeros() as usize / 8;
                if is_it(slot) {
                    return Some(slot);
                }
                same &= same - 1;
            }
        }
        let first = words.len() * 8;
        (0..rest.len()).find(|&i| rest[i] == tag && is_it(first + i)).map(|i| first + i)
    }

    /// The first slot for which `before` is false; it must be true for all slots before.
    #[inline]
    pub(super) fn partition(&self, mut before: impl FnMut(usize) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = (low + high) / 2;
            if before(middle) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The first slot not below (score, member).
    #[inline]
    pub(super) fn lower_bound(&self, score: f64, member: &[u8]) -> usize {
        let (mut low, mut high) = self.slots_of_score(score);
        while low < high {
            let middle = (low + high) / 2;
            if self.member(middle) < member {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The slots with this score: from the first one, or where it would be, to behind the last one.
    #[inline]
    fn slots_of_score(&self, score: f64) -> (usize, usize) {
        let width = usize::from(self.score_width);
        let at = self.scores_at();
        let bytes = &self.data[at..at + self.len() * width];
        // Distances below the first end belong to lower scores, those below the second to no higher
        // ones. Far away, an end is outside of what a leaf can hold, however it is rounded.
        let end = |score: f64, more: i64| {
            let distance = (score as i64).saturating_sub(self.base as i64).saturating_add(more);
            u64::try_from(distance).unwrap_or(0)
        };
        let ends = || (end(score.ceil(), 0), end(score.floor(), 1));
        match self.score_width {
            0 => {
                let own = f64::from_bits(self.base);
                (if own < score { self.len() } else { 0 }, if own <= score { self.len() } else { 0 })
            }
            1 => count_distances(bytes, |[b]: [u8; 1]| u64::from(b), ends()),
            2 => count_distances(bytes, |b| u64::from(u16::from_le_bytes(b)), ends()),
            4 => count_distances(bytes, |b| u64::from(u32::from_le_bytes(b)), ends()),
            _ => {
                let mut counts = (0u64, 0u64);
                for s in bytes.as_chunks::<8>().0 {
                    let s = f64::from_le_bytes(*s);
                    counts.0 = counts.0.wrapping_add(u64::from(s < score));
                    counts.1 = counts.1.wrapping_add(u64::from(s <= score));
                }
                (counts.0 as usize, counts.1 as usize)
            }
        }
    }

    /// Bytes in use after one more entry, if the layout stays.
    pub(super) fn bytes_with(&self, member: &[u8]) -> usize {
        self.bytes() + 1 + usize::from(self.len_width) + usize::from(self.score_width) + member.len()
    }

    /// How this leaf would write `score`; `None` if its form does not hold it.
    fn encode(&self, score: f64) -> Option<u64> {
        match self.score_width {
            0 => (score.to_bits() == self.base).then_some(0),
            8 => Some(score.to_bits()),
            width => {
                let distance = exact_int(score)?.checked_sub(self.base as i64)?;
                let distance = u64::try_from(distance).ok()?;
                (distance >> (8 * u32::from(width)) == 0).then_some(distance)
            }
        }
    }

    /// Puts an entry before slot `i`.
    pub(super) fn insert(&mut self, i: usize, tag: u8, score: f64, member: &[u8]) {
        let fits_len = len_width_of(member.len()) <= self.len_width;
        match self.encode(score) {
            Some(coded) if fits_len && self.count > 0 => self.insert_coded(i, tag, coded, member),
            _ => {
                let mut parts = self.parts();
                let start = self.member_start(i);
                parts.tags.insert(i, tag);
                parts.lens.insert(i, member.len());
                parts.scores.insert(i, score);
                parts.members.splice(start..start, member.iter().copied());
                self.fill(&parts.tags, &parts.lens, &parts.scores, &parts.members);
            }
        }
    }

    fn insert_coded(&mut self, i: usize, tag: u8, coded: u64, member: &[u8]) {
        let old = self.bytes();
        let new = self.bytes_with(member);
        if new > self.data.len() {
            let mut grown = vec![0; size_class(new)].into_boxed_slice();
            grown[..old].copy_from_slice(&self.data[..old]);
            self.data = grown;
        }
        let start = self.member_start(i);
        let (lens, scores, members) = (self.lens_at(), self.scores_at(), self.members_at());
        let (lw, sw) = (usize::from(self.len_width), usize::from(self.score_width));
        let data = &mut self.data;
        // From the back, each section moves by what the sections before it grow.
        data.copy_within(members + start..old, members + start + 1 + lw + sw + member.len());
        data.copy_within(scores + i * sw..members + start, scores + i * sw + 1 + lw + sw);
        data.copy_within(lens + i * lw..scores + i * sw, lens + i * lw + 1 + lw);
        data.copy_within(i..lens + i * lw, i + 1);
        data[i] = tag;
        self.count += 1;
        let (lens, scores, members) = (self.lens_at(), self.scores_at(), self.members_at());
        write_uint(&mut self.data, lens + i * lw, self.len_width, member.len() as u64);
        if sw > 0 {
            write_uint(&mut self.data, scores + i * sw, self.score_width, coded);
        }
        let at = members + start;
        self.data[at..at + member.len()].copy_from_slice(member);
        self.member_bytes += member.len();
    }

    /// Takes slot `i` out.
    pub(super) fn remove(&mut self, i: usize) {
        let old = self.bytes();
        let start = self.member_start(i);
        let len = self.member_len(i);
        let (lens, scores, members) = (self.lens_at(), self.scores_at(), self.members_at());
        let (lw, sw) = (usize::from(self.len_width), usize::from(self.score_width));
        let data = &mut self.data;
        data.copy_within(i + 1..lens + i * lw, i);
        data.copy_within(lens + (i + 1) * lw..scores + i * sw, lens + i * lw - 1);
        data.copy_within(scores + (i + 1) * sw..members + start, scores + i * sw - 1 - lw);
        data.copy_within(members + start + len..old, members + start - 1 - lw - sw);
        self.count -= 1;
        self.member_bytes -= len;
        // Two classes of slack before memory is given back, so that a leaf does not flutter.
        let fitting = size_class(self.bytes());
        if self.data.len() > fitting + fitting / 2 {
            let mut shrunk = vec![0; fitting].into_boxed_slice();
            shrunk[..self.bytes()].copy_from_slice(&self.data[..self.bytes()]);
            self.data = shrunk;
        }
    }

    /// Writes another score into slot `i`, whose place in the order stays the same.
    pub(super) fn set_score(&mut self, i: usize, score: f64) {
        if let Some(coded) = self.encode(score) {
            if self.score_width > 0 {
                let at = self.scores_at() + i * usize::from(self.score_width);
                write_uint(&mut self.data, at, self.score_width, coded);
            }
        } else {
            let mut parts = self.parts();
            parts.scores[i] = score;
            self.fill(&parts.tags, &parts.lens, &parts.scores, &parts.members);
        }
    }

    /// Takes the entries apart.
    pub(super) fn parts(&self) -> Parts {
        let n = self.len();
        Parts {
            tags: self.data[..n].to_vec(),
            lens: (0..n).map(|i| self.member_len(i)).collect(),
            scores: (0..n).map(|i| self.score(i)).collect(),
            members: self.data[self.members_at()..self.bytes()].to_vec(),
            ..Parts::default()
        }
    }

    /// Replaces all entries.
    pub(super) fn set_parts(&mut self, parts: &Parts) {
        self.fill(&parts.tags, &parts.lens, &parts.scores, &parts.members);
    }

    /// Keeps the slots before `at`; answers a leaf of the others. Links are left to the tree.
    pub(super) fn split_off(&mut self, at: usize) -> Self {
        let parts = self.parts();
        let start = self.member_start(at);
        let mut right = Self { data: Box::default(), ..*self };
        right.fill(&parts.tags[at..], &parts.lens[at..], &parts.scores[at..], &parts.members[start..]);
        self.fill(&parts.tags[..at], &parts.lens[..at], &parts.scores[..at], &parts.members[..start]);
        right
    }

    fn fill(&mut self, tags: &[u8], lens: &[usize], scores: &[f64], members: &[u8]) {
        let n = tags.len();
        let form = form_of(scores);
        self.count = u16::try_from(n).expect("leaves are split long before 65535 entries");
        self.score_width = form.width;
        self.base = form.base;
        self.len_width = len_width_of(lens.iter().copied().max().unwrap_or(0));
        self.member_bytes = members.len();
        let bytes = self.bytes();
        let capacity = size_class(bytes);
        if self.data.len() < bytes || self.data.len() > capacity + capacity / 2 {
            self.data = vec![0; capacity].into_boxed_slice();
        }
        self.data[..n].copy_from_slice(tags);
        let (lens_at, scores_at, members_at) = (self.lens_at(), self.scores_at(), self.members_at());
        for (i, &len) in lens.iter().enumerate() {
            let at = lens_at + i * usize::from(self.len_width);
            write_uint(&mut self.data, at, self.len_width, len as u64);
        }
        if self.score_width > 0 {
            for (i, &score) in scores.iter().enumerate() {
                let coded = match self.score_width {
                    8 => score.to_bits(),
                    _ => (score as i64 - self.base as i64) as u64,
                };
                let at = scores_at + i * usize::from(self.score_width);
                write_uint(&mut self.data, at, self.score_width, coded);
            }
        }
        self.data[members_at..members_at + members.len()].copy_from_slice(members);
    }
}
