//! Sets: an intset while all members are integers, a listpack while they are few and short, a hash
//! table beyond that.
//!
//! An intset that gets a text becomes a listpack if it is small enough, else a table; a table never
//! goes back, but for the cases in which Valkey builds a new set. Behaviour: valkey src/t_set.c.

use smallvec::SmallVec;

use crate::base::num;
use crate::base::rng::Rng;
use crate::packed::intset::{self, Intset, IntsetBuf};
use crate::packed::listpack::{self, Listpack, ListpackBuf, MAX_AROUND};
use crate::packed::{Element, IntText};
use crate::structure::members::{self, MemberTable};

use super::malformed::{Malformed, distinct_groups};
use super::{Limits, MAX_LISTPACK_BYTES};

pub use loading::{LoadedSet, SetLoader};

mod loading;

/// However high the limit, an intset does not get more members.
const MAX_INTSET_MEMBERS: usize = 1 << 30;
/// SPOP builds a new set of what stays when that is less than a fifth of what goes.
const MOVE_FACTOR: usize = 5;
/// Sampling walks the whole table when more than a third of it is wanted.
const WALK_FACTOR: usize = 3;
/// A scan visits at most so many buckets for each member it was asked for.
const SCAN_STEPS: usize = 10;

/// An owned set.
#[derive(Clone)]
pub enum Set {
    /// Integers.
    Intset(IntsetBuf),
    /// Few and short members, in the order they came.
    Listpack(ListpackBuf),
    /// Anything.
    Table(Box<MemberTable>),
}

/// A set to look at.
#[derive(Clone, Copy)]
pub enum SetRef<'a> {
    /// Integers.
    Intset(Intset<'a>),
    /// Few and short members, in the order they came.
    Listpack(Listpack<'a>),
    /// Anything.
    Table(&'a MemberTable),
}

impl Default for Set {
    fn default() -> Self {
        Self::new()
    }
}

impl Set {
    /// An empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::Intset(IntsetBuf::new())
    }

    /// An empty set for about `hint` members, of which `first` is one. The caller bounds a hint that
    /// comes from outside.
    #[must_use]
    pub fn with_hint(first: &[u8], hint: usize, limits: &Limits) -> Self {
        if hint <= limits.set_max_intset_entries && num::parse_i64(first).is_some() {
            Self::Intset(IntsetBuf::new())
        } else if hint <= limits.set_max_listpack_entries {
            Self::Listpack(ListpackBuf::new())
        } else {
            Self::Table(table(hint, limits))
        }
    }

    /// Takes over an intset of a file.
    #[must_use]
    pub fn from_intset(ints: IntsetBuf, limits: &Limits) -> Self {
        let mut set = Self::Intset(ints);
        set.convert_if_long(limits);
        set
    }

    /// Whether a listpack of a file is a set as it is, under these limits.
    ///
    /// # Errors
    /// `Duplicate` if a member comes twice.
    pub fn keeps(pack: Listpack<'_>, limits: &Limits) -> Result<bool, Malformed> {
        Ok(distinct_groups(pack, 1)? <= limits.set_max_listpack_entries)
    }

    /// Takes over a listpack of a file.
    ///
    /// # Errors
    /// `Duplicate` if a member comes twice.
    pub fn from_listpack(pack: ListpackBuf, limits: &Limits) -> Result<Self, Malformed> {
        let count = distinct_groups(pack.view(), 1)?;
        let mut set = Self::Listpack(pack);
        if count > limits.set_max_listpack_entries {
            set.as_table(count, limits);
        }
        Ok(set)
    }

    /// The set to look at.
    #[inline]
    #[must_use]
    pub fn view(&self) -> SetRef<'_> {
        match self {
            Self::Intset(ints) => SetRef::Intset(ints.view()),
            Self::Listpack(pack) => SetRef::Listpack(pack.view()),
            Self::Table(table) => SetRef::Table(table),
        }
    }

    /// How many members it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.view().len()
    }

    /// Whether it has no members: its key must go.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.view().is_empty()
    }

    /// Becomes a table right away if about `more` members, in all, will not fit otherwise.
    pub fn expect_members(&mut self, more: usize, limits: &Limits) {
        let is_too_many = match self {
            Self::Intset(_) => more > limits.set_max_intset_entries,
            Self::Listpack(_) => more > limits.set_max_listpack_entries,
            Self::Table(_) => false,
        };
        if is_too_many {
            self.as_table(more, limits);
        }
    }

    /// Puts many members into an empty small set at once, if they fit and none comes twice; answers whether
    /// it did. Not for an intset. O(n).
    pub fn fill(&mut self, members: &[&[u8]], limits: &Limits) -> bool {
        let Self::Listpack(pack) = self else { return false };
        let bytes: usize = members.iter().map(|member| member.len()).sum();
        if !pack.is_empty()
            || members.len() > limits.set_max_listpack_entries
            || bytes > MAX_LISTPACK_BYTES
            || members.iter().any(|member| member.len() > limits.set_max_listpack_value)
        {
            return false;
        }
        let mut appender = pack.appender(bytes + members.len() * MAX_AROUND);
        members.iter().for_each(|member| appender.push(member));
        drop(appender);
        let is_filled = distinct_groups(pack.view(), 1).is_ok();
        if !is_filled {
            pack.clear();
        }
        is_filled
    }

    /// A set of these members, of which there is one at least, in the form that adding all of them at once
    /// makes of them; `None` if one comes twice. O(n), for integers in order as well.
    #[must_use]
    pub fn from_members(members: &[&[u8]], limits: &Limits) -> Option<Self> {
        let mut set = Self::with_hint(members.first()?, members.len(), limits);
        if matches!(set, Self::Intset(_)) {
            let ints: Option<Vec<i64>> = members.iter().map(|member| num::parse_i64(member)).collect();
            if let Some(ints) = ints.and_then(|ints| IntsetBuf::from_ascending(&ints)) {
                return Some(Self::from_intset(ints, limits));
            }
        }
        if set.fill(members, limits) {
            return Some(set);
        }
        members.iter().all(|member| set.add(member, limits)).then_some(set)
    }

    /// Adds a member; answers whether it is new.
    pub fn add(&mut self, member: &[u8], limits: &Limits) -> bool {
        match self {
            Self::Table(table) => return table.insert(member),
            Self::Listpack(pack) => {
                let view = pack.view();
                if view.find(view.first_offset(), member, 1).is_some() {
                    return false;
                }
                let count = view.len();
                if count < limits.set_max_listpack_entries && fits(pack.byte_len(), member, limits) {
                    pack.push_back(member);
                } else {
                    self.as_table(count + 1, limits).insert(member);
                }
                return true;
            }
            Self::Intset(_) => {}
        }
        match num::parse_i64(member) {
            Some(v) => self.add_int(v, limits),
            None => {
                self.leave_intset(member, limits);
                true
            }
        }
    }

    /// Adds a member as another set holds it; answers whether it is new.
    pub fn add_element(&mut self, member: Element<'_>, limits: &Limits) -> bool {
        match member {
            Element::Int(v) if matches!(self, Self::Intset(_)) => self.add_int(v, limits),
            _ => self.add(member.text(&mut IntText::new()), limits),
        }
    }

    /// Removes a member; answers whether it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match self {
            Self::Intset(ints) => num::parse_i64(member).is_some_and(|v| ints.remove(v)),
            Self::Listpack(pack) => {
                let view = pack.view();
                let Some((at, _)) = view.find(view.first_offset(), member, 1) else { return false };
                pack.remove_at(at);
                true
            }
            Self::Table(table) => table.remove(member),
        }
    }

    /// Takes a random member out.
    pub fn pop(&mut self, rng: &mut Rng) -> Option<Vec<u8>> {
        self.pop_with(rng, |member| member.to_vec())
    }

    /// Takes a random member out and gives it to `with`, which answers for it.
    pub fn pop_with<R>(&mut self, rng: &mut Rng, with: impl FnOnce(Element<'_>) -> R) -> Option<R> {
        match self {
            Self::Intset(ints) => {
                let v = ints.view().get(rng.index(ints.len()))?;
                ints.remove(v);
                Some(with(Element::Int(v)))
            }
            Self::Listpack(pack) => {
                let at = pack.view().seek(rng.index(pack.len()) as isize)?;
                let answer = with(pack.view().at(at)?);
                pack.remove_at(at);
                Some(answer)
            }
            Self::Table(table) => {
                let member: SmallVec<[u8; 128]> = SmallVec::from_slice(table.random(rng)?);
                table.remove(&member);
                Some(with(Element::Bytes(&member)))
            }
        }
    }

    /// Takes `count` random members out, or all, and shows each to `visit`. What stays may be in a
    /// smaller encoding, when so little stays that it is moved.
    pub fn pop_many(&mut self, count: usize, rng: &mut Rng, limits: &Limits, mut visit: impl FnMut(&[u8])) {
        let len = self.len();
        let stays = len.saturating_sub(count);
        if stays * MOVE_FACTOR > count {
            for _ in 0..count {
                self.pop_with(rng, |member| visit(member.text(&mut IntText::new())));
            }
            return;
        }
        let mut kept: Option<Self> = None;
        for _ in 0..stays {
            let was_intset = matches!(self, Self::Intset(_));
            let Some(member) = self.pop(rng) else { break };
            kept.get_or_insert_with(|| {
                if was_intset { Self::new() } else { Self::Listpack(ListpackBuf::new()) }
            })
            .add(&member, limits);
        }
        let mut text = IntText::new();
        self.view().iter().for_each(|member| visit(member.text(&mut text)));
        *self = kept.unwrap_or_default();
    }

    /// Becomes an intset if all members are integers and few enough: what SINTERSTORE does to its
    /// result.
    pub fn prefer_intset(&mut self, limits: &Limits) {
        if matches!(self, Self::Intset(_)) || self.len() > max_intset(limits) {
            return;
        }
        let ints: Option<IntsetBuf> = self.view().iter().map(|member| member.as_i64()).collect::<Option<_>>();
        if let Some(ints) = ints {
            *self = Self::Intset(ints);
        }
    }

    /// Heap bytes it owns.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Intset(ints) => ints.byte_len(),
            Self::Listpack(pack) => pack.byte_len(),
            Self::Table(table) => size_of::<MemberTable>() + table.memory_bytes(),
        }
    }

    fn add_int(&mut self, v: i64, limits: &Limits) -> bool {
        let Self::Intset(ints) = self else { return false };
        let is_new = ints.insert(v);
        if is_new {
            self.convert_if_long(limits);
        }
        is_new
    }

    /// Adds the first member that is not an integer.
    fn leave_intset(&mut self, member: &[u8], limits: &Limits) {
        let Self::Intset(ints) = self else { return };
        let view = ints.view();
        let count = view.len();
        let ends = [view.first(), view.last()];
        let longest = ends.into_iter().flatten().map(num::i64_chars).max().unwrap_or(0);
        let bytes = ends.into_iter().flatten().map(listpack::encoded_int_len).max().unwrap_or(0) * count;
        if count < limits.set_max_listpack_entries
            && longest <= limits.set_max_listpack_value
            && fits(bytes, member, limits)
        {
            let mut pack = ListpackBuf::with_capacity(bytes + listpack::encoded_len(member) + 7);
            view.iter().for_each(|v| pack.push_back_int(v));
            pack.push_back(member);
            *self = Self::Listpack(pack);
        } else {
            self.as_table(count + 1, limits).insert(member);
        }
    }

    fn convert_if_long(&mut self, limits: &Limits) {
        if let Self::Intset(ints) = self
            && ints.len() > max_intset(limits)
        {
            let count = ints.len();
            self.as_table(count, limits);
        }
    }

    /// Becomes a table with room for `members`.
    fn as_table(&mut self, members: usize, limits: &Limits) -> &mut MemberTable {
        if !matches!(self, Self::Table(_)) {
            let mut table = table(members.max(self.len()), limits);
            let mut text = IntText::new();
            for member in self.view().iter() {
                table.insert(member.text(&mut text));
            }
            *self = Self::Table(table);
        }
        match self {
            Self::Table(table) => table,
            Self::Intset(_) | Self::Listpack(_) => unreachable!("it was made a table just above"),
        }
    }
}

fn table(members: usize, limits: &Limits) -> Box<MemberTable> {
    let mut table = Box::new(MemberTable::new(limits.seed));
    table.reserve(members);
    table
}

fn max_intset(limits: &Limits) -> usize {
    limits.set_max_intset_entries.min(MAX_INTSET_MEMBERS)
}

/// Whether a member may join a listpack of so many bytes.
fn fits(bytes: usize, member: &[u8], limits: &Limits) -> bool {
    member.len() <= limits.set_max_listpack_value && bytes + member.len() <= MAX_LISTPACK_BYTES
}

impl<'a> SetRef<'a> {
    /// How many members it has.
    #[inline]
    #[must_use]
    pub fn len(self) -> usize {
        match self {
            Self::Intset(ints) => ints.len(),
            Self::Listpack(pack) => pack.len(),
            Self::Table(table) => table.len(),
        }
    }

    /// Whether it has no members.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether this is a member.
    #[must_use]
    pub fn contains(self, member: &[u8]) -> bool {
        match self {
            Self::Intset(ints) => num::parse_i64(member).is_some_and(|v| ints.contains(v)),
            Self::Listpack(pack) => pack.find(pack.first_offset(), member, 1).is_some(),
            Self::Table(table) => table.contains(member),
        }
    }

    /// As [`SetRef::contains`], for a member as another set holds it.
    #[must_use]
    pub fn contains_element(self, member: Element<'_>) -> bool {
        match (self, member) {
            (Self::Intset(ints), Element::Int(v)) => ints.contains(v),
            _ => self.contains(member.text(&mut IntText::new())),
        }
    }

    /// The members, in the order of the encoding.
    #[must_use]
    pub fn iter(self) -> Members<'a> {
        Members(match self {
            Self::Intset(ints) => Walk::Intset(ints.iter()),
            Self::Listpack(pack) => Walk::Listpack(pack.iter()),
            Self::Table(table) => Walk::Table(table.iter()),
        })
    }

    /// A random member, each as likely as any other.
    #[must_use]
    pub fn random(self, rng: &mut Rng) -> Option<Element<'a>> {
        match self {
            Self::Intset(ints) => ints.get(rng.index(ints.len())).map(Element::Int),
            Self::Listpack(pack) => pack.get(rng.index(pack.len())),
            Self::Table(table) => table.random(rng).map(Element::Bytes),
        }
    }

    /// Shows `count` distinct random members to `visit`, or all if there are no more.
    pub fn sample(self, count: usize, rng: &mut Rng, mut visit: impl FnMut(Element<'a>)) {
        let len = self.len();
        if let Self::Table(table) = self
            && count.saturating_mul(WALK_FACTOR) < len
        {
            let mut seen = std::collections::BTreeSet::new();
            while seen.len() < count {
                let Some(member) = table.random(rng) else { return };
                if seen.insert(member) {
                    visit(Element::Bytes(member));
                }
            }
            return;
        }
        select(self.iter(), len, count, rng, visit);
    }

    /// Visits some members from `cursor` on, about `count`, and answers the next cursor, 0 at the
    /// end. A member that is there from the first call to the last is shown at least once. Small
    /// encodings are shown whole at once.
    pub fn scan(self, cursor: u64, count: usize, mut visit: impl FnMut(Element<'_>)) -> u64 {
        let Self::Table(table) = self else {
            self.iter().for_each(visit);
            return 0;
        };
        scan_steps(cursor, count, |cursor, seen| {
            table.scan(cursor, |member| {
                *seen += 1;
                visit(Element::Bytes(member));
            })
        })
    }

    /// What OBJECT ENCODING answers.
    #[must_use]
    pub const fn encoding_name(self) -> &'static str {
        match self {
            Self::Intset(_) => "intset",
            Self::Listpack(_) => "listpack",
            Self::Table(_) => "hashtable",
        }
    }

    /// An owned copy in the same encoding.
    #[must_use]
    pub fn to_owned(self) -> Set {
        match self {
            Self::Intset(ints) => Set::Intset(IntsetBuf::from_trusted(ints.as_bytes().to_vec())),
            Self::Listpack(pack) => Set::Listpack(ListpackBuf::from_trusted(pack.as_bytes().to_vec())),
            Self::Table(table) => Set::Table(Box::new(table.clone())),
        }
    }
}

/// Shows `count` of the `len` items to `visit`, every choice of them as likely as any other, in the
/// order in which they come (Knuth's selection sampling).
pub(super) fn select<T>(
    items: impl Iterator<Item = T>,
    len: usize,
    count: usize,
    rng: &mut Rng,
    mut visit: impl FnMut(T),
) {
    let mut wanted = count.min(len);
    for (i, item) in items.enumerate() {
        if wanted == 0 {
            return;
        }
        if rng.index(len.saturating_sub(i)) < wanted {
            visit(item);
            wanted -= 1;
        }
    }
}

/// Calls `step(cursor, seen)` until the cursor is 0, `count` things were seen, or so many steps were
/// made that the table must be nearly empty.
pub(super) fn scan_steps(cursor: u64, count: usize, mut step: impl FnMut(u64, &mut usize) -> u64) -> u64 {
    let mut cursor = cursor;
    let mut seen = 0;
    for _ in 0..count.saturating_mul(SCAN_STEPS).max(1) {
        cursor = step(cursor, &mut seen);
        if cursor == 0 || seen >= count {
            break;
        }
    }
    cursor
}

/// The members of a set.
pub struct Members<'a>(Walk<'a>);

enum Walk<'a> {
    Intset(intset::Iter<'a>),
    Listpack(listpack::Iter<'a>),
    Table(members::Members<'a>),
}

impl<'a> Iterator for Members<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        match &mut self.0 {
            Walk::Intset(iter) => iter.next().map(Element::Int),
            Walk::Listpack(iter) => iter.next(),
            Walk::Table(iter) => iter.next().map(Element::Bytes),
        }
    }
}

impl std::fmt::Debug for Set {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.view().fmt(f)
    }
}

impl std::fmt::Debug for SetRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ", self.encoding_name())?;
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests;
