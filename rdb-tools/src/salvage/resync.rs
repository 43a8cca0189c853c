//! Finding where records begin again behind damage.
//!
//! A place is tried by reading on from it: records must decode, values included, one behind the other, until
//! enough of them have, or the file has ended as it should. Garbage does that by chance now and then (a few zero bytes
//! are records without name and value), so names and instants must look like those of the file, too.
//! A record whose count or length is damaged may end in the wrong place without a fault of its own, and others
//! may be read out of its rest before one shows. So places are looked for from a few records before the
//! fault on, and taken only if reading from there does not lead to the fault.
//!
//! Time: each place is given a bounded amount of work, but for [`LARGE_TRIES`] of them that look good and may
//! be the beginning of something large. Memory: the heads of a few records.

use std::ops::Range;
use std::sync::Arc;

use cairn_engine::codec::rdb::{Kind, ObjectType, opcode};

use super::bytes::Bytes;
use super::unit::{Context, Key, Unit, What, read};
use crate::check::{Hasher, Inspector};

/// Records that must follow one another.
const CHAIN_KEYS: usize = 6;
/// Records that will do between two damaged places.
const WEAK_KEYS: usize = 2;
/// No more databases are believed in.
pub(crate) const MOST_DBS: u64 = 1 << 20;
/// How often a place is held against one inside of its first unit, how much of that is looked into, and how
/// many units are read for it.
const MOST_DUELS: usize = 8;
const LOOKED_INTO_BYTES: usize = 1 << 20;
const MOST_UNITS: usize = 10_000;
/// How far behind a record the last of those may end that it has swallowed.
const BEHIND_BYTES: usize = 64 << 10;
/// What a place that is none counts as work.
const FAILED_BYTES: usize = 64;
/// Units that a chain may have besides.
const CHAIN_UNITS: usize = 32;
/// Pieces of 64 KiB that a place may take.
const WINDOWS: usize = 4;
/// Places behind one fault that may take any number of pieces.
const LARGE_TRIES: usize = 16;
/// Values up to this size are looked into while a place is tried.
const INSPECTED_BYTES: usize = 64 << 10;

/// What the file's records have looked like so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Look {
    keys: u64,
    /// Keys of printable bytes.
    printable: u64,
    longest_name: usize,
    /// A name is a number. In a file without such, numbers are values where names are looked for.
    has_number: bool,
    has_idle: bool,
    has_freq: bool,
    has_meta: bool,
    has_no_evict: bool,
}

impl Look {
    /// Learns from a record that is right.
    pub(crate) fn learn(&mut self, key: &Key) {
        self.keys += 1;
        self.printable += u64::from(is_printable(&key.name));
        self.longest_name = self.longest_name.max(key.name.len());
        self.has_number |= is_number(&key.name);
        self.has_idle |= key.prefixes.idle;
        self.has_freq |= key.prefixes.freq;
        self.has_meta |= key.prefixes.meta;
        self.has_no_evict |= key.prefixes.no_evict;
    }

    /// Whether enough is known to hold it against what is new.
    fn knows(&self) -> bool {
        self.keys >= 20
    }

    /// Whether a head looks like a record's of this file.
    pub(crate) fn fits(&self, key: &Key) -> bool {
        /// From 2001 to 2200 as Unix time in ms: nobody sets another expiry but by mistake.
        const INSTANTS: Range<i64> = 978_307_200_000..7_258_118_400_000;
        const LONGEST_NAME: usize = 512;
        let is_known = |seen: bool, has: bool| !has || seen || !self.knows();
        let prefixes = key.prefixes;
        let name_fits = match &key.name[..] {
            [] => false,
            name if name.len() > (4 * self.longest_name).max(LONGEST_NAME) => false,
            name if is_printable(name) => true,
            // Names of other bytes, where the file has them.
            name => (self.knows() && self.printable * 10 < self.keys * 9) && name.iter().any(|b| *b != 0),
        };
        name_fits
            && key.object != ObjectType::ModulePreGa
            && key.expire_ms.is_none_or(|at| INSTANTS.contains(&at))
            && is_known(self.has_number, is_number(&key.name))
            && is_known(self.has_idle, prefixes.idle)
            && is_known(self.has_freq, prefixes.freq)
            && is_known(self.has_meta, prefixes.meta)
            && is_known(self.has_no_evict, prefixes.no_evict)
    }

    /// Whether a unit may begin with this byte.
    fn may_begin(&self, byte: u8, context: &Context) -> bool {
        match byte {
            opcode::IDLE => self.has_idle || !self.knows(),
            opcode::FREQ => self.has_freq || !self.knows(),
            opcode::KEY_NOEVICT => self.has_no_evict || !self.knows(),
            opcode::ENTERPRISE_RAM_LRU => false,
            242..=255 => true,
            _ => ObjectType::from_byte(byte, context.version).is_some(),
        }
    }
}

/// Whether a name is text: no control characters, and UTF-8 if it is not ASCII.
fn is_printable(name: &[u8]) -> bool {
    !name.iter().any(u8::is_ascii_control) && std::str::from_utf8(name).is_ok()
}

/// Whether a name is written as an integer is.
fn is_number(name: &[u8]) -> bool {
    let digits = name.strip_prefix(b"-").unwrap_or(name);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// What the search needs to know.
#[derive(Clone, Copy)]
pub(crate) struct Search<'a, 'm> {
    pub(crate) bytes: &'a Bytes<'m>,
    pub(crate) context: &'a Context,
    pub(crate) look: &'a Look,
    /// Where units began that led to the fault, oldest first, the faulty one last.
    pub(crate) path: &'a [usize],
    /// The file has no end: records may go on to where it was cut.
    pub(crate) is_cut: bool,
}

/// How much a place must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Evidence {
    /// As many records as a chain has, or the end of the file.
    Strong,
    /// Two records, whatever comes then: between two damaged places there may be no more.
    Weak,
    /// As many records as a chain has, or any that end here exactly.
    Until(usize),
}

impl Search<'_, '_> {
    /// The first place from `from` on where records begin. Behind the fault one that shows less will do,
    /// if it comes before a place that shows enough.
    pub(crate) fn find(&self, from: usize) -> Option<usize> {
        let find = |range, evidence| self.find_within(range, evidence, &mut { u64::MAX });
        let strong = find(from..self.bytes.len(), Evidence::Strong).map(|found| self.best(found));
        let fault = self.path.last().map_or(from, |fault| fault + 1);
        let end = strong.unwrap_or(self.bytes.len());
        if end <= fault {
            return strong;
        }
        find(fault..end, Evidence::Weak).or(strong)
    }

    /// A place whose first unit is garbage may hold, too: if that unit's length happens to lead to where a
    /// record begins. So what it steps over is looked through, and the place from which far more
    /// records are read is taken.
    fn best(&self, mut found: usize) -> usize {
        for _ in 0..MOST_DUELS {
            let Ok(unit) = read(self.bytes, self.context, found, None, usize::MAX) else { return found };
            let end = unit.end.min(found + LOOKED_INTO_BYTES);
            let other = self.find_within(found + 1..end, Evidence::Strong, &mut { u64::MAX });
            let Some(other) = other else { return found };
            if !self.gives_more(other, found) {
                return found;
            }
            found = other;
        }
        found
    }

    /// A place inside of the whole unit from `at` to `end` from which more records are read than this one, if
    /// its length was damaged so that it swallowed them: both ways lead to one place. A string that is a
    /// file of its own has an end in it, and no way out.
    ///
    /// What does not end soon behind `end` is not looked at, and nothing once `work` is used up.
    pub(crate) fn inside(&self, at: usize, end: usize, work: &mut u64) -> Option<usize> {
        let bytes = self.bytes.until(end.saturating_add(BEHIND_BYTES));
        let within = Search { bytes: &bytes, ..*self };
        let mut from = at + 1;
        for _ in 0..MOST_DUELS {
            let place = within.find_within(from..end, Evidence::Until(end), work)?;
            if let Some([one, others]) = within.keys_until_they_meet(at, place)
                && others > one
            {
                return Some(place);
            }
            from = place + 1;
        }
        None
    }

    /// Whether far more keys are read from `other`, which comes later, before both lead to one place.
    fn gives_more(&self, other: usize, first: usize) -> bool {
        let ([one, others], _) = self.race(first, other);
        others > 2 * one + 1
    }

    /// How many keys are read from `first` and from `other` until both lead to one place; `None` if they do not.
    fn keys_until_they_meet(&self, first: usize, other: usize) -> Option<[usize; 2]> {
        let (keys, do_meet) = self.race(first, other);
        do_meet.then_some(keys)
    }

    /// Reads on from two places, keys and all, until one has an end or both are at one place.
    fn race(&self, first: usize, other: usize) -> ([usize; 2], bool) {
        let (mut contexts, mut at, mut keys) =
            ([self.context.clone(), self.context.clone()], [first, other], [0, 0]);
        for _ in 0..MOST_UNITS {
            if at[0] == at[1] {
                return (keys, true);
            }
            let side = usize::from(at[1] < at[0]);
            let Ok(unit) = read(self.bytes, &contexts[side], at[side], None, WINDOWS) else { break };
            match unit.what {
                What::Key(_) => keys[side] += 1,
                What::Template(id, fields) => {
                    Arc::make_mut(&mut contexts[side].templates).insert(id, Arc::new(fields));
                }
                What::End => break,
                _ => {}
            }
            at[side] = unit.end;
        }
        (keys, at[0] == at[1])
    }

    fn find_within(&self, range: Range<usize>, evidence: Evidence, work: &mut u64) -> Option<usize> {
        const PIECE_BYTES: usize = 1 << 20;
        let mut inspector = None;
        let mut large_tries = if let Evidence::Until(_) = evidence { 0 } else { LARGE_TRIES };
        let mut at = range.start;
        while at < range.end {
            let until = (at + PIECE_BYTES).min(range.end);
            let piece = self.bytes.get(at..until);
            for (place, byte) in (at..until).zip(piece.iter()) {
                if self.look.may_begin(*byte, self.context)
                    && !self.path.contains(&place)
                    && self.holds(
                        place,
                        evidence,
                        inspector.get_or_insert_with(|| Inspector::new(Hasher::random())),
                        &mut large_tries,
                        work,
                    )
                {
                    return Some(place);
                }
            }
            // Little is looked at again soon.
            if until - at == PIECE_BYTES {
                self.bytes.release(at..until);
            }
            at = until;
        }
        None
    }

    /// Whether reading from `place` gives records.
    fn holds(
        &self,
        place: usize,
        evidence: Evidence,
        inspector: &mut Inspector,
        large_tries: &mut usize,
        work: &mut u64,
    ) -> bool {
        if *work == 0 {
            return false;
        }
        let mut context = self.context.clone();
        let (mut at, mut keys) = (place, 0);
        let enough = if evidence == Evidence::Weak { WEAK_KEYS } else { CHAIN_KEYS };
        for units in 0..CHAIN_UNITS {
            let tried = self.try_unit(&context, at, inspector, large_tries);
            let bytes = tried.as_ref().map_or(FAILED_BYTES, |unit| unit.end - at);
            *work = work.saturating_sub(bytes as u64);
            let unit = match tried {
                Ok(unit) => unit,
                // Cut in the middle of a record: what comes before it was right.
                Err(kind) => return self.is_cut && kind == Some(Kind::UnexpectedEof) && keys >= WEAK_KEYS,
            };
            match unit.what {
                What::Key(key) => {
                    if !self.look.fits(&key) {
                        return false;
                    }
                    keys += 1;
                }
                What::End => return unit.end == self.bytes.len() && (keys > 0 || units == 0),
                What::SelectDb(db) if db > MOST_DBS => return false,
                What::Template(id, fields) => {
                    Arc::make_mut(&mut context.templates).insert(id, Arc::new(fields));
                }
                _ => {}
            }
            at = unit.end;
            if self.path.contains(&at) {
                // From here on it is known, and ends at the fault.
                return false;
            }
            if keys >= enough || (keys > 0 && evidence == Evidence::Until(at)) {
                return true;
            }
        }
        false
    }

    /// Reads a unit; `Err(None)` if it cannot be one, for another reason than its bytes.
    fn try_unit(
        &self,
        context: &Context,
        at: usize,
        inspector: &mut Inspector,
        large_tries: &mut usize,
    ) -> Result<Unit, Option<Kind>> {
        let unit = match read(self.bytes, context, at, None, WINDOWS) {
            Ok(unit) => unit,
            Err(fault) if fault.is_too_much => {
                if *large_tries == 0 || !fault.key.as_ref().is_some_and(|key| self.look.fits(key)) {
                    return Err(None);
                }
                *large_tries -= 1;
                read(self.bytes, context, at, None, usize::MAX).map_err(|fault| Some(fault.kind))?
            }
            Err(fault) => return Err(Some(fault.kind)),
        };
        if let What::Key(key) = &unit.what {
            if !self.look.fits(key) {
                return Err(None);
            }
            if unit.end - at <= INSPECTED_BYTES {
                read(self.bytes, context, at, Some(inspector), WINDOWS).map_err(|fault| Some(fault.kind))?;
            }
        }
        Ok(unit)
    }
}
