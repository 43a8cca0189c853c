//! Reading a hash: the same answers from every encoding.

use crate::base::rng::Rng;
use crate::base::time::UnixMs;
use crate::packed::Element;
use crate::packed::listpack::{self, Listpack, ListpackBuf};
use crate::structure::fields::{self, FieldTable};

use super::{Hash, PAIR, TRIPLE, expiries, expiry_of, is_live};
use crate::value::set::{scan_steps, select};

/// Random picks from a table before the live fields are counted instead.
const TRIES: usize = 32;
/// Sampling walks the whole table when more than a third of it is wanted.
const WALK_FACTOR: usize = 3;

/// A hash to look at.
#[derive(Clone, Copy)]
pub enum HashRef<'a> {
    /// Field, value, field, value...
    Listpack(Listpack<'a>),
    /// Field, value, expiry, field, value, expiry...
    ListpackEx(Listpack<'a>),
    /// Anything.
    Table(&'a FieldTable),
}

/// A field of a hash.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Field<'a> {
    /// Its name.
    pub field: Element<'a>,
    /// Its value.
    pub value: Element<'a>,
    /// When it goes, if it does.
    pub expire_at: Option<UnixMs>,
}

impl Field<'_> {
    /// Whether it can be seen at `now`.
    #[must_use]
    pub fn is_live(&self, now: UnixMs) -> bool {
        self.expire_at.is_none_or(|at| !at.is_past(now))
    }
}

impl<'a> HashRef<'a> {
    /// How many fields it has, those past their expiry included: what HLEN answers.
    #[inline]
    #[must_use]
    pub fn len(self) -> usize {
        match self {
            Self::Listpack(pack) => pack.len() / PAIR,
            Self::ListpackEx(pack) => pack.len() / TRIPLE,
            Self::Table(table) => table.len(),
        }
    }

    /// How many fields can be seen at `now`. O(n) only if some may be past their expiry.
    #[must_use]
    pub fn live_len(self, now: UnixMs) -> usize {
        match self {
            Self::Listpack(_) => self.len(),
            Self::ListpackEx(pack) => self.len() - expired_prefix(pack, now),
            Self::Table(table) if table.earliest_bound().is_none_or(|at| !UnixMs(at).is_past(now)) => {
                table.len()
            }
            Self::Table(_) => self.live(now).count(),
        }
    }

    /// Whether it has no fields.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The value of a field that can be seen at `now`.
    #[inline]
    #[must_use]
    pub fn get(self, field: &[u8], now: UnixMs) -> Option<Element<'a>> {
        let (value, expire_at) = self.lookup(field)?;
        is_live(expire_at.map(|at| at.0), now).then_some(value)
    }

    /// Whether a field can be seen at `now`.
    #[must_use]
    pub fn contains(self, field: &[u8], now: UnixMs) -> bool {
        self.get(field, now).is_some()
    }

    /// The expiry of a field that can be seen at `now`; `None` if there is no such field.
    #[must_use]
    pub fn expiry(self, field: &[u8], now: UnixMs) -> Option<Option<UnixMs>> {
        let (_, expire_at) = self.lookup(field)?;
        is_live(expire_at.map(|at| at.0), now).then_some(expire_at)
    }

    /// Value and expiry of a field, even if it is past that.
    #[must_use]
    pub fn lookup(self, field: &[u8]) -> Option<(Element<'a>, Option<UnixMs>)> {
        let (pack, group) = match self {
            Self::Listpack(pack) => (pack, PAIR),
            Self::ListpackEx(pack) => (pack, TRIPLE),
            Self::Table(table) => {
                let (value, expiry) = table.get_with_expiry(field)?;
                return Some((Element::Bytes(value), expiry.map(UnixMs)));
            }
        };
        let (at, _) = pack.find(pack.first_offset(), field, group)?;
        let expiry = if group == TRIPLE { expiry_of(pack, at) } else { None };
        Some((pack.at(pack.next(at)?)?, expiry.map(UnixMs)))
    }

    /// All fields in the order of the encoding, those past their expiry included.
    #[must_use]
    pub fn iter(self) -> Fields<'a> {
        Fields(match self {
            Self::Listpack(pack) => Walk::Pairs(pack.iter()),
            Self::ListpackEx(pack) => Walk::Triples(pack.iter()),
            Self::Table(table) => Walk::Table(table.iter()),
        })
    }

    /// The fields that can be seen at `now`.
    pub fn live(self, now: UnixMs) -> impl Iterator<Item = Field<'a>> {
        self.iter().filter(move |field| field.is_live(now))
    }

    /// Whether any field has an expiry. O(1).
    #[must_use]
    pub fn has_expiries(self) -> bool {
        match self {
            Self::Listpack(_) => false,
            Self::ListpackEx(pack) => expiry_of(pack, pack.first_offset()).is_some(),
            Self::Table(table) => table.expiring() > 0,
        }
    }

    /// The earliest expiry. O(1) for the small encodings, O(n) for a table with expiries.
    #[must_use]
    pub fn next_expiry(self) -> Option<UnixMs> {
        match self {
            Self::Table(table) => table.min_expiry().map(UnixMs),
            _ => self.next_expiry_bound(),
        }
    }

    /// A time that no expiry lies before: when it is worth to look for expired fields. O(1).
    #[must_use]
    pub fn next_expiry_bound(self) -> Option<UnixMs> {
        match self {
            Self::Listpack(_) => None,
            Self::ListpackEx(pack) => expiry_of(pack, pack.first_offset()).map(UnixMs),
            Self::Table(table) => table.earliest_bound().map(UnixMs),
        }
    }

    /// A random field among those that can be seen at `now`, each as likely as any other.
    #[must_use]
    pub fn random(self, rng: &mut Rng, now: UnixMs) -> Option<Field<'a>> {
        let (pack, group, hidden) = match self {
            Self::Listpack(pack) => (pack, PAIR, 0),
            Self::ListpackEx(pack) => (pack, TRIPLE, expired_prefix(pack, now)),
            Self::Table(table) => return random_of_table(table, rng, now),
        };
        let live = self.len() - hidden;
        let index = hidden + rng.index(live);
        if live == 0 {
            return None;
        }
        let at = pack.seek((index * group) as isize)?;
        let expiry = if group == TRIPLE { expiry_of(pack, at) } else { None };
        Some(Field { field: pack.at(at)?, value: pack.at(pack.next(at)?)?, expire_at: expiry.map(UnixMs) })
    }

    /// Shows `count` distinct random fields to `visit`, or all if there are no more, among those that
    /// can be seen at `now`.
    pub fn sample(self, count: usize, rng: &mut Rng, now: UnixMs, mut visit: impl FnMut(Field<'a>)) {
        let live = self.live_len(now);
        if let Self::Table(table) = self
            && count.saturating_mul(WALK_FACTOR) < live
            && live >= table.len() / 2
        {
            let mut seen = std::collections::BTreeSet::new();
            while seen.len() < count {
                let Some((name, value, expiry)) = table.random(rng) else { return };
                if is_live(expiry, now) && seen.insert(name) {
                    visit(table_field(name, value, expiry));
                }
            }
            return;
        }
        select(self.live(now), live, count, rng, visit);
    }

    /// Visits some fields that can be seen at `now` from `cursor` on, about `count`, and answers the
    /// next cursor, 0 at the end. A field that is there from the first call to the last is shown at
    /// least once. Small encodings are shown whole at once.
    pub fn scan(self, cursor: u64, count: usize, now: UnixMs, mut visit: impl FnMut(Field<'_>)) -> u64 {
        let Self::Table(table) = self else {
            self.live(now).for_each(visit);
            return 0;
        };
        scan_steps(cursor, count, |cursor, seen| {
            table.scan(cursor, |name, value, expiry| {
                *seen += 1;
                if is_live(expiry, now) {
                    visit(table_field(name, value, expiry));
                }
            })
        })
    }

    /// What OBJECT ENCODING answers. Valkey has no small encoding with expiries, so its clients and
    /// tests expect a table; Redis 7.4 says `listpackex`.
    #[must_use]
    pub const fn encoding_name(self) -> &'static str {
        match self {
            Self::Listpack(_) => "listpack",
            Self::ListpackEx(_) => "hashtable",
            Self::Table(_) => "hashtable",
        }
    }

    /// An owned copy in the same encoding.
    #[must_use]
    pub fn to_owned(self) -> Hash {
        let copy = |pack: Listpack<'_>| ListpackBuf::from_trusted(pack.as_bytes().to_vec());
        match self {
            Self::Listpack(pack) => Hash::Listpack(copy(pack)),
            Self::ListpackEx(pack) => Hash::ListpackEx(copy(pack)),
            Self::Table(table) => Hash::Table(Box::new(table.clone())),
        }
    }
}

/// How many triples at the start are past their expiry.
pub(super) fn expired_prefix(pack: Listpack<'_>, now: UnixMs) -> usize {
    let is_expired = |at: &Option<i64>| at.is_some_and(|at| at > 0 && UnixMs(at).is_past(now));
    expiries(pack).take_while(is_expired).count()
}

fn table_field<'a>(name: &'a [u8], value: &'a [u8], expiry: Option<i64>) -> Field<'a> {
    Field { field: Element::Bytes(name), value: Element::Bytes(value), expire_at: expiry.map(UnixMs) }
}

fn random_of_table<'a>(table: &'a FieldTable, rng: &mut Rng, now: UnixMs) -> Option<Field<'a>> {
    for _ in 0..TRIES {
        let (name, value, expiry) = table.random(rng)?;
        if is_live(expiry, now) {
            return Some(table_field(name, value, expiry));
        }
    }
    let view = HashRef::Table(table);
    let live = view.live_len(now);
    view.live(now).nth(rng.index(live))
}

/// The fields of a hash.
pub struct Fields<'a>(Walk<'a>);

enum Walk<'a> {
    Pairs(listpack::Iter<'a>),
    Triples(listpack::Iter<'a>),
    Table(fields::Fields<'a>),
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    #[inline]
    fn next(&mut self) -> Option<Field<'a>> {
        match &mut self.0 {
            Walk::Pairs(iter) => Some(Field { field: iter.next()?, value: iter.next()?, expire_at: None }),
            Walk::Triples(iter) => {
                let (field, value, expiry) = (iter.next()?, iter.next()?, iter.next()?.as_i64());
                Some(Field { field, value, expire_at: expiry.filter(|&at| at > 0).map(UnixMs) })
            }
            Walk::Table(iter) => iter.next().map(|(name, value, expiry)| table_field(name, value, expiry)),
        }
    }
}

impl std::fmt::Debug for HashRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ", self.encoding_name())?;
        f.debug_list().entries(self.iter()).finish()
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.view().fmt(f)
    }
}
