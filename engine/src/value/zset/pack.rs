//! The small form: one listpack of member, score, member, score, in order.
//!
//! A score is an integer element when it is one and is below 2^62, the shortest text else; older
//! servers wrote 17 digits. Valkey src/t_zset.c, `zzlInsertAt`, and src/util.c, `double2ll`, where
//! -0 becomes 0.

use std::ops::Range;

use crate::base::num::{MAX_F64_CHARS, push_f64_shortest};
use crate::packed::Element;
use crate::packed::listpack::{Appender, Listpack, ListpackBuf, MAX_AROUND, Room};

/// Doubles up to here, either way, are written as integers when they have no fraction.
const MAX_INT_SCORE: f64 = (1u64 << 62) as f64;

fn int_score(score: f64) -> Option<i64> {
    (score.abs() <= MAX_INT_SCORE && score.trunc() == score).then_some(score as i64)
}

/// The score that an element stands for. What was checked when it was loaded is a number.
fn score_of(element: Option<Element<'_>>) -> f64 {
    element.and_then(|e| e.as_f64()).unwrap_or(0.0)
}

/// Offset of a member, and its score.
pub(super) fn find(pack: Listpack<'_>, member: &[u8]) -> Option<(usize, f64)> {
    let (offset, _) = pack.find(pack.first_offset(), member, 2)?;
    Some((offset, score_of(pack.at(pack.next(offset)?))))
}

/// Appends a pair.
pub(super) fn push(pack: &mut ListpackBuf, member: &[u8], score: f64) {
    pack.push_back(member);
    match int_score(score) {
        Some(v) => pack.push_back_int(v),
        None => pack.push_back(&text_of(score)),
    }
}

/// Appends a pair; `text` is room for the score's text.
pub(super) fn append(pack: &mut Appender<'_>, member: &[u8], score: f64, text: &mut Vec<u8>) {
    pack.push(member);
    if let Some(v) = int_score(score) {
        return pack.push_int(v);
    }
    text.clear();
    push_f64_shortest(text, score);
    if score.abs() <= MAX_INT_SCORE { pack.push_text(text) } else { pack.push(text) }
}

/// Appends a score; `text` is room for its text.
pub(super) fn push_score(pack: &mut Room, score: f64, text: &mut Vec<u8>) {
    if let Some(v) = int_score(score) {
        return pack.push_int(v);
    }
    text.clear();
    push_f64_shortest(text, score);
    pack.push(text);
}

/// Bytes that a pair takes at the most, but for members of more than some kilobytes.
pub(super) fn most_pair_bytes(member: &[u8]) -> usize {
    member.len() + MAX_F64_CHARS + 2 * MAX_AROUND
}

fn text_of(score: f64) -> Vec<u8> {
    let mut text = Vec::with_capacity(MAX_F64_CHARS);
    push_f64_shortest(&mut text, score);
    text
}

/// Whether a pair comes after all that are there: who copies a sorted set adds its pairs in order.
fn is_behind_last(view: Listpack<'_>, member: &[u8], score: f64) -> bool {
    let Some(score_at) = view.prev(view.end_offset()) else { return true };
    let last = score_of(view.at(score_at));
    last < score
        || (last == score
            && view
                .prev(score_at)
                .and_then(|at| view.at(at))
                .is_some_and(|element| element.with_bytes(|own| own < member)))
}

/// Puts a pair in where the order wants it. The member must not be there.
pub(super) fn insert(pack: &mut ListpackBuf, member: &[u8], score: f64) {
    let view = pack.view();
    if is_behind_last(view, member, score) {
        return push(pack, member, score);
    }
    let mut at = view.first_offset();
    while let Some(element) = view.at(at) {
        let Some(score_at) = view.next(at) else { break };
        let other = score_of(view.at(score_at));
        if other > score || (other == score && element.with_bytes(|own| own > member)) {
            break;
        }
        let Some(next) = view.next(score_at) else { break };
        at = next;
    }
    // Score first: both go in front of the same offset.
    match int_score(score) {
        Some(v) => pack.insert_int_at(at, v),
        None => pack.insert_at(at, &text_of(score)),
    }
    pack.insert_at(at, member);
}

/// Takes a pair out; answers the score.
pub(super) fn remove(pack: &mut ListpackBuf, member: &[u8]) -> Option<f64> {
    let (offset, score) = find(pack.view(), member)?;
    pack.remove_many_at(offset, 2);
    Some(score)
}

/// Gives a member that is there another score.
pub(super) fn update(pack: &mut ListpackBuf, member: &[u8], score: f64) {
    remove(pack, member);
    insert(pack, member, score);
}

/// Pairs between two ranks, from either end.
#[derive(Debug, Clone)]
pub(super) struct Pairs<'a> {
    pack: Listpack<'a>,
    front: usize,
    /// Behind the last pair.
    back: usize,
    left: usize,
}

impl<'a> Pairs<'a> {
    pub(super) fn new(pack: Listpack<'a>, ranks: Range<u64>) -> Self {
        let len = pack.len() as u64 / 2;
        let end = ranks.end.min(len);
        let start = ranks.start.min(end);
        let offset = |rank: u64| pack.seek(rank as isize * 2).unwrap_or(pack.end_offset());
        Self { pack, front: offset(start), back: offset(end), left: (end - start) as usize }
    }

    pub(super) fn len(&self) -> usize {
        self.left
    }

    #[inline]
    pub(super) fn next(&mut self) -> Option<(Element<'a>, f64)> {
        self.left = self.left.checked_sub(1)?;
        let member = self.pack.at(self.front)?;
        let score_at = self.pack.next(self.front)?;
        self.front = self.pack.next(score_at)?;
        Some((member, score_of(self.pack.at(score_at))))
    }

    #[inline]
    pub(super) fn next_back(&mut self) -> Option<(Element<'a>, f64)> {
        self.left = self.left.checked_sub(1)?;
        let score_at = self.pack.prev(self.back)?;
        self.back = self.pack.prev(score_at)?;
        Some((self.pack.at(self.back)?, score_of(self.pack.at(score_at))))
    }
}
