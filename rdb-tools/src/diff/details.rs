//! The second pass: the parts of the keys that are not the same, from both sides, in one order.
//!
//! Keys that are not the same have ranks, in the order in which they are told. Each side is read again from
//! front to back; the parts of wanted keys go to a sorter under rank, section and identity. So both
//! sides come back in the same order, however large a value is, and what differs is seen by merging.

use std::cmp::Ordering;
use std::io;

use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::{Depth, Family, KeyHead, ObjectType, ValueEvent, Version};

use super::spool::Twice;
use crate::canon::{Canon, Parts, Rules, Section};
use crate::drive::Stop;
use crate::spill::{Sorted, Sorter, Spill};
use crate::walk::{Visit, Walker};

/// Where the keys are whose parts are wanted, and their ranks.
#[derive(Debug)]
pub struct Wanted {
    sorter: Sorter,
}

impl Wanted {
    /// None yet.
    #[must_use]
    pub fn new(spill: &Spill) -> Self {
        Self { sorter: Sorter::new(spill) }
    }

    /// One more: the record at offset `at`.
    ///
    /// # Errors
    /// Of temporary files.
    pub fn push(&mut self, at: u64, rank: u64) -> io::Result<()> {
        self.sorter.push(&at.to_be_bytes(), &rank.to_be_bytes())
    }
}

/// How values that commands cannot make are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opaque {
    /// By their parts, as others.
    AsParts,
    /// As their undecoded bytes, behind [`RAW_HEAD`].
    AsBytes,
}

/// Identity of the [`Section::Raw`] part that has version and type: two bytes and one.
pub const RAW_HEAD: &[u8] = b"";

/// Whether only RESTORE can make a value.
#[must_use]
pub fn is_opaque(object: ObjectType) -> bool {
    match object.family() {
        Family::Module | Family::Array | Family::PathHash => true,
        _ => matches!(object, ObjectType::StreamListpacks4 | ObjectType::StreamListpacks5),
    }
}

struct Collector {
    canon: Canon,
    opaque: Opaque,
    version: Option<Version>,
    wanted: Sorted,
    parts: PartSorter,
    is_open: bool,
}

/// Puts parts of one key after the other into a sorter.
struct PartSorter {
    sorter: Sorter,
    key: Vec<u8>,
    /// What can stand in for pending entries is told too.
    has_stand_ins: bool,
}

/// Bytes of a rank at the front of a key.
const RANK_BYTES: usize = 8;

impl Parts for PartSorter {
    type Error = io::Error;

    fn part(&mut self, section: Section, identity: &[u8], content: &[u8]) -> io::Result<()> {
        self.key.truncate(RANK_BYTES);
        self.key.push(section as u8);
        self.key.extend_from_slice(identity);
        self.sorter.push(&self.key, content)?;
        const ID_BYTES: usize = 16;
        match identity.last_chunk::<ID_BYTES>() {
            Some(id) if self.has_stand_ins && section == Section::Pending && content.starts_with(&[0]) => {
                self.key.truncate(RANK_BYTES);
                self.key.push(Section::StandIn as u8);
                self.key.extend_from_slice(id);
                self.sorter.push(&self.key, b"")
            }
            _ => Ok(()),
        }
    }
}

impl Collector {
    /// Whether the record at `at` is wanted; then its rank is in front of the parts that come.
    fn wants(&mut self, at: u64) -> io::Result<bool> {
        let at = at.to_be_bytes();
        while let Some(record) = self.wanted.current() {
            match record.key.cmp(&at) {
                Ordering::Less => self.wanted.advance()?,
                Ordering::Greater => return Ok(false),
                Ordering::Equal => {
                    self.parts.key.clear();
                    self.parts.key.extend_from_slice(record.payload);
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

impl Visit for Collector {
    type Item = ();

    fn start(&mut self, version: Version) {
        self.version = Some(version);
    }

    fn key(&mut self, head: &KeyHead<'_>) -> io::Result<Depth> {
        self.is_open = self.wants(head.at)?;
        if !self.is_open {
            return Ok(Depth::Skip);
        }
        self.canon.begin(head, &mut self.parts)?;
        if self.opaque == Opaque::AsBytes && is_opaque(head.object) {
            let number = self.version.map_or(0, |version| version.number).to_le_bytes();
            self.parts.part(Section::Raw, RAW_HEAD, &[number[0], number[1], head.type_byte])?;
            return Ok(Depth::Raw);
        }
        Ok(Depth::Item)
    }

    fn value(&mut self, event: &ValueEvent<'_>) -> io::Result<()> {
        self.canon.event(event, &mut self.parts)
    }

    fn member_expiry(&mut self, member: &[u8], at: UnixMs) -> io::Result<()> {
        if self.is_open { self.canon.member_expiry(member, at, &mut self.parts) } else { Ok(()) }
    }

    fn end_key(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn library(&mut self, at: u64, _name: &[u8], code: &[u8]) -> io::Result<()> {
        if self.wants(at)? { self.parts.part(Section::Text, b"", code) } else { Ok(()) }
    }

    fn module_aux(&mut self, at: u64, _id: u64, payload: &[u8]) -> io::Result<()> {
        if self.wants(at)? { self.parts.part(Section::Text, b"", payload) } else { Ok(()) }
    }

    fn take(&mut self, _all: bool) -> Option<()> {
        None
    }
}

/// Reads the wanted keys of a source.
///
/// # Errors
/// What is wrong with the source, or with temporary files.
pub fn collect(
    source: &mut Twice,
    wanted: Wanted,
    rules: Rules,
    opaque: Opaque,
    spill: &Spill,
) -> Result<Sorted, Stop<anyhow::Error>> {
    let sorter = Sorter::new(spill);
    let spilled = |error: io::Error| Stop::Sink(error.into());
    if wanted.sorter.is_empty() {
        return sorter.finish().map_err(spilled);
    }
    let mut opened = source.open().map_err(Stop::Sink)?;
    let collector = Collector {
        canon: Canon::new(rules),
        opaque,
        version: None,
        wanted: wanted.sorter.finish().map_err(spilled)?,
        parts: PartSorter { sorter, key: Vec::new(), has_stand_ins: opaque == Opaque::AsBytes },
        is_open: false,
    };
    let mut walker = Walker::new(collector, |()| Ok(()));
    opened.read(&mut walker).map_err(|stop| stop.map_sink(Into::into))?;
    walker.finish().map_err(spilled)?;
    walker.into_visit().parts.sorter.finish().map_err(spilled)
}

/// A part of one key on both sides. A side has no content if it does not have the part, and several
/// if it has it several times, as bags and pending entries do.
#[derive(Debug, Default)]
pub struct Pair {
    key: Vec<u8>,
    /// Its contents in A.
    pub a: Vec<Vec<u8>>,
    /// Its contents in B.
    pub b: Vec<Vec<u8>>,
}

impl Pair {
    /// What kind of part it is.
    #[must_use]
    pub fn section(&self) -> Section {
        self.key.get(RANK_BYTES).and_then(|byte| Section::from_byte(*byte)).unwrap_or(Section::Raw)
    }

    /// Which one.
    #[must_use]
    pub fn identity(&self) -> &[u8] {
        self.key.get(RANK_BYTES + 1..).unwrap_or_default()
    }

    /// Whether both sides have the same.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.a == self.b
    }
}

/// Both sides, part by part.
#[derive(Debug)]
pub struct Pairs {
    a: Sorted,
    b: Sorted,
}

impl Pairs {
    /// Of what [`collect`] answered for each side.
    #[must_use]
    pub fn new(a: Sorted, b: Sorted) -> Self {
        Self { a, b }
    }

    /// Of no keys.
    ///
    /// # Errors
    /// None that can happen.
    pub fn none() -> io::Result<Self> {
        let nothing = || Sorter::new(&Spill::default()).finish();
        Ok(Self { a: nothing()?, b: nothing()? })
    }

    /// The next part of the key with that rank, in `pair`; false if it has no more.
    ///
    /// # Errors
    /// Of temporary files.
    pub fn next(&mut self, rank: u64, pair: &mut Pair) -> io::Result<bool> {
        let rank = rank.to_be_bytes();
        let of_rank = |sorted: &Sorted| {
            let key = sorted.current()?.key;
            key.starts_with(&rank).then(|| key.to_vec())
        };
        let key = match (of_rank(&self.a), of_rank(&self.b)) {
            (None, None) => return Ok(false),
            (Some(a), Some(b)) => a.min(b),
            (a, b) => a.or(b).unwrap_or_default(),
        };
        for (sorted, contents) in [(&mut self.a, &mut pair.a), (&mut self.b, &mut pair.b)] {
            contents.clear();
            while let Some(record) = sorted.current_of(&key) {
                contents.push(record.payload.to_vec());
                sorted.advance()?;
            }
        }
        pair.key = key;
        Ok(true)
    }

    /// Steps over what is left of the key with that rank, and of those before it.
    ///
    /// # Errors
    /// Of temporary files.
    pub fn skip(&mut self, rank: u64) -> io::Result<()> {
        let Some(next) = rank.checked_add(1) else { return Ok(()) };
        let next = next.to_be_bytes();
        for sorted in [&mut self.a, &mut self.b] {
            while sorted.current().is_some_and(|record| record.key < &next[..]) {
                sorted.advance()?;
            }
        }
        Ok(())
    }
}
