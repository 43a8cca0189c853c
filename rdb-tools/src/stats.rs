//! Statistics of a file: what takes the memory, how long keys live, how big they are. One pass, flat memory.
//!
//! [`Collector`] is a sink; it adds every key to a [`Stats`], and two of these can be [merged](Stats::merge), so
//! that several threads can share a file. What is counted by type, encoding, database and slot is
//! exact, and so are the greatest keys; percentiles are of a log-linear histogram; prefixes are exact until there are
//! more of them than the table holds ([`prefix`]). Memory is a model's ([`crate::memory`]). Knows no
//! output.

pub mod csv;
pub mod histogram;
pub mod prefix;
pub mod slots;
pub mod spans;
pub mod summary;
pub mod text;
pub mod top;

mod json;

use std::collections::BTreeMap;

use cairn_engine::base::slot::key_slot;
use cairn_engine::codec::rdb::{Depth, Family, KeyHead, ObjectType, Sink, Trailer, ValueEvent, Version};

use crate::check::producer_of;
use crate::memory::{Allocator, Encoding, Measured, Meter, Server, Target};
use crate::parallel::Worker;
use histogram::Histogram;
use prefix::{Below, Cutting, Prefixes};
use slots::Slots;
use spans::{IDLE_NAMES, Share, TTL_NAMES, idle_span, ttl_span};
use top::{BigKey, Top};

pub use json::{push_json, push_json_with};

/// What a file says about itself before its first key.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// Its version.
    pub version: Option<Version>,
    /// Server name and version.
    pub producer: Option<(&'static str, Vec<u8>)>,
    /// When it was written, Unix time in seconds.
    pub written_at_s: Option<i64>,
    /// Memory that the writer used at that time.
    pub used_memory: Option<u64>,
    /// Libraries of functions, and their bytes.
    pub functions: (u64, u64),
}

impl Origin {
    /// Takes an auxiliary field into account.
    pub fn aux(&mut self, key: &[u8], value: &[u8]) {
        let number = || std::str::from_utf8(value).ok()?.parse::<i64>().ok();
        match key {
            b"ctime" => self.written_at_s = number(),
            b"used-mem" => self.used_memory = number().and_then(|bytes| u64::try_from(bytes).ok()),
            _ => {
                if let Some(name) = producer_of(key) {
                    self.producer = Some((name, value.to_vec()));
                }
            }
        }
    }

    /// The known server that is most like the one that wrote the file.
    #[must_use]
    pub fn like(&self) -> Server {
        let producer = self.producer.as_ref().map(|(name, version)| (*name, &version[..]));
        Server::of_producer(producer, self.version)
    }
}

/// Which moment expiries are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// When the file was written; for a file that does not say so, the given time.
    WrittenOr(i64),
    /// That time, Unix time in ms.
    At(i64),
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// The server to hold the data; `None` for the one that wrote it.
    pub server: Option<Server>,
    /// Its allocator.
    pub allocator: Allocator,
    /// When expiries are looked at.
    pub moment: Moment,
    /// How many of the greatest keys are wanted.
    pub top: usize,
    /// How keys are cut into prefixes.
    pub cutting: Cutting,
}

/// Sums over some keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Keys.
    pub keys: u64,
    /// Bytes in memory.
    pub memory: u64,
    /// Bytes of their records in the file.
    pub file_bytes: u64,
    /// Elements.
    pub elements: u64,
    /// Keys that expire.
    pub expiring: u64,
    /// Keys that had expired.
    pub expired: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.keys += other.keys;
        self.memory += other.memory;
        self.file_bytes += other.file_bytes;
        self.elements += other.elements;
        self.expiring += other.expiring;
        self.expired += other.expired;
    }
}

/// How big the keys of a type are.
#[derive(Debug, Clone, Default)]
pub struct TypeStats {
    /// Sums.
    pub tally: Tally,
    /// Elements of each key.
    pub elements: Histogram,
    /// Bytes in memory of each key.
    pub memory: Histogram,
    /// Bytes of each element, field, value and member; of a stream, of each node.
    pub sizes: Histogram,
}

impl TypeStats {
    fn merge(&mut self, other: &Self) {
        self.tally.add(&other.tally);
        self.elements.merge(&other.elements);
        self.memory.merge(&other.memory);
        self.sizes.merge(&other.sizes);
    }
}

/// All types, in the order of [`Family`].
const FAMILIES: [Family; 9] = [
    Family::String,
    Family::List,
    Family::Set,
    Family::Zset,
    Family::Hash,
    Family::Stream,
    Family::Module,
    Family::Array,
    Family::PathHash,
];

/// The statistics of some keys.
#[derive(Debug, Clone)]
pub struct Stats {
    target: Target,
    now_ms: i64,
    /// Of all keys.
    pub total: Tally,
    /// Bytes in that which the server's `MEMORY USAGE` counts though nobody has allocated them.
    pub overcounted: u64,
    types: [TypeStats; FAMILIES.len()],
    /// By type and by how the server would hold them.
    pub encodings: BTreeMap<(Family, Encoding), Tally>,
    /// By the type of the record in the file.
    pub records: BTreeMap<&'static str, Tally>,
    /// What is not in those two yet: sums by the type of the record and by encoding.
    recent: Vec<(ObjectType, Encoding, Tally)>,
    /// By database.
    pub dbs: BTreeMap<u64, Tally>,
    /// By how long they have to live, in the order of [`TTL_NAMES`].
    pub ttls: [Share; TTL_NAMES.len()],
    /// The same of hash fields; those without an expiry are only counted of hashes that have others.
    pub field_ttls: [Share; TTL_NAMES.len()],
    /// By how long they have been idle, where the file says so.
    pub idle: [Share; IDLE_NAMES.len()],
    /// By access counter, where the file says so.
    pub freqs: Histogram,
    /// By slot.
    pub slots: Slots,
    /// By prefix.
    pub prefixes: Prefixes,
    /// Lengths of the keys' names.
    pub key_bytes: Histogram,
    /// The greatest by memory.
    pub by_memory: Top,
    /// The greatest by elements, strings left out.
    pub by_elements: Top,
    /// The most used, where the file says so.
    pub by_freq: Top,
}

impl Stats {
    /// No keys yet.
    #[must_use]
    pub fn new(options: &Options, origin: &Origin) -> Self {
        let server = options.server.unwrap_or_else(|| origin.like());
        let now_ms = match options.moment {
            Moment::At(ms) => ms,
            Moment::WrittenOr(ms) => origin.written_at_s.map_or(ms, |seconds| seconds.saturating_mul(1000)),
        };
        Self {
            target: Target { server, allocator: options.allocator },
            now_ms,
            total: Tally::default(),
            overcounted: 0,
            types: Default::default(),
            encodings: BTreeMap::new(),
            records: BTreeMap::new(),
            recent: Vec::new(),
            dbs: BTreeMap::new(),
            ttls: Default::default(),
            field_ttls: Default::default(),
            idle: Default::default(),
            freqs: Histogram::default(),
            slots: Slots::default(),
            prefixes: Prefixes::new(options.cutting.clone()),
            key_bytes: Histogram::default(),
            by_memory: Top::new(options.top),
            by_elements: Top::new(options.top),
            by_freq: Top::new(options.top),
        }
    }

    /// The server that the memory is that of.
    #[must_use]
    pub fn target(&self) -> Target {
        self.target
    }

    /// The moment that expiries are compared with, Unix time in ms.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// The types that have keys.
    pub fn types(&self) -> impl Iterator<Item = (Family, &TypeStats)> {
        FAMILIES.into_iter().zip(&self.types).filter(|(_, stats)| stats.tally.keys > 0)
    }

    /// Puts what was counted together into the tables by encoding and by record.
    fn settle(&mut self) {
        for (object, encoding, tally) in self.recent.drain(..) {
            self.encodings.entry((object.family(), encoding)).or_default().add(&tally);
            self.records.entry(object.name()).or_default().add(&tally);
        }
    }

    /// Adds the keys of another one, which was made with the same options and origin.
    pub fn merge(&mut self, other: Self) {
        self.total.add(&other.total);
        self.overcounted += other.overcounted;
        self.types.iter_mut().zip(&other.types).for_each(|(own, more)| own.merge(more));
        merge_tallies(&mut self.encodings, other.encodings);
        merge_tallies(&mut self.records, other.records);
        merge_tallies(&mut self.dbs, other.dbs);
        for (own, more) in [(&mut self.ttls, other.ttls), (&mut self.field_ttls, other.field_ttls)] {
            own.iter_mut().zip(more).for_each(|(own, more)| own.merge(more));
        }
        self.idle.iter_mut().zip(other.idle).for_each(|(own, more)| own.merge(more));
        self.freqs.merge(&other.freqs);
        self.slots.merge(&other.slots);
        self.prefixes.merge(other.prefixes);
        self.key_bytes.merge(&other.key_bytes);
        self.by_memory.merge(other.by_memory);
        self.by_elements.merge(other.by_elements);
        self.by_freq.merge(other.by_freq);
    }

    fn add(&mut self, key: &Current, measured: &Measured, file_bytes: u64) {
        let memory = measured.bytes;
        let span = ttl_span(key.expire_at, self.now_ms);
        let one = Tally {
            keys: 1,
            memory,
            file_bytes,
            elements: measured.elements,
            expiring: u64::from(span > 0),
            expired: u64::from(span == 1),
        };
        self.total.add(&one);
        self.overcounted += measured.overcounted;
        let family = key.object.family();
        let of_type = &mut self.types[family as usize];
        of_type.tally.add(&one);
        of_type.elements.add(measured.elements);
        of_type.memory.add(memory);
        let is_it =
            |row: &&mut (ObjectType, Encoding, Tally)| (row.0, row.1) == (key.object, measured.encoding);
        match self.recent.iter_mut().find(is_it) {
            Some((_, _, tally)) => tally.add(&one),
            None => self.recent.push((key.object, measured.encoding, one)),
        }
        self.dbs.entry(key.db).or_default().add(&one);
        self.ttls[span].add(memory);
        if measured.expiring_fields > 0 {
            self.field_ttls[0].count += measured.elements - measured.expiring_fields;
        }
        if let Some(idle_s) = key.idle_s {
            self.idle[idle_span(idle_s)].add(memory);
        }
        self.slots.add(key_slot(&key.name), memory);
        let below = Below { keys: 1, memory, expiring: one.expiring, elements: measured.elements };
        self.prefixes.add(&key.name, below);
        self.key_bytes.add(key.name.len() as u64);
        self.offer(key, measured, file_bytes);
    }

    fn offer(&mut self, key: &Current, measured: &Measured, file_bytes: u64) {
        let big = || BigKey {
            key: Vec::new(),
            key_bytes: 0,
            db: key.db,
            family: key.object.family(),
            encoding: measured.encoding,
            memory: measured.bytes,
            file_bytes,
            elements: measured.elements,
            longest: measured.longest,
            expire_at: key.expire_at,
            freq: key.freq,
            idle_s: key.idle_s,
            at: key.at,
        };
        if self.by_memory.wants(measured.bytes, key.at) {
            self.by_memory.offer(measured.bytes, &key.name, big());
        }
        if key.object != ObjectType::String && self.by_elements.wants(measured.elements, key.at) {
            self.by_elements.offer(measured.elements, &key.name, big());
        }
        if let Some(freq) = key.freq {
            self.freqs.add(freq.into());
            if self.by_freq.wants(freq.into(), key.at) {
                self.by_freq.offer(freq.into(), &key.name, big());
            }
        }
    }
}

fn merge_tallies<K: Ord>(own: &mut BTreeMap<K, Tally>, other: BTreeMap<K, Tally>) {
    for (name, tally) in other {
        own.entry(name).or_default().add(&tally);
    }
}

/// The key being read.
#[derive(Debug, Clone)]
pub struct Current {
    /// Its name.
    pub name: Vec<u8>,
    /// Offset of its record.
    pub at: u64,
    /// Its database.
    pub db: u64,
    /// The type of its record.
    pub object: ObjectType,
    /// When it expires, Unix time in ms.
    pub expire_at: Option<i64>,
    /// Idle seconds.
    pub idle_s: Option<u64>,
    /// Access counter.
    pub freq: Option<u8>,
}

/// Gets every key when it is complete, for whoever wants a row a key.
pub trait EachKey {
    /// What can go wrong.
    type Error;

    /// A key, what it takes in memory, and the bytes of its record.
    ///
    /// # Errors
    /// As the implementation says.
    fn key(&mut self, key: &Current, measured: &Measured, file_bytes: u64) -> Result<(), Self::Error>;

    /// Some keys were the last for a while.
    ///
    /// # Errors
    /// As the implementation says.
    fn flush(&mut self) -> Result<(), Self::Error>;
}

/// Some want a row a key, others do not.
impl<E: EachKey> EachKey for Option<E> {
    type Error = E::Error;

    #[inline]
    fn key(&mut self, key: &Current, measured: &Measured, file_bytes: u64) -> Result<(), E::Error> {
        match self {
            Some(each) => each.key(key, measured, file_bytes),
            None => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<(), E::Error> {
        self.as_mut().map_or(Ok(()), E::flush)
    }
}

/// The sink that makes statistics of all keys that it gets.
#[derive(Debug)]
pub struct Collector<E> {
    options: Options,
    /// What the file said.
    pub origin: Origin,
    /// There from the first key on.
    gathered: Option<Box<(Stats, Meter)>>,
    current: Current,
    /// Gets every key.
    pub each: E,
    /// Whether the end of the file was seen.
    pub has_ended: bool,
}

impl<E> Collector<E> {
    /// A collector that knows nothing of the file yet.
    pub fn new(options: Options, each: E) -> Self {
        let current = Current {
            name: Vec::new(),
            at: 0,
            db: 0,
            object: ObjectType::String,
            expire_at: None,
            idle_s: None,
            freq: None,
        };
        Self { options, origin: Origin::default(), gathered: None, current, each, has_ended: false }
    }

    /// A collector of a part of a file that has said so much.
    pub fn of_part(options: Options, origin: Origin, each: E) -> Self {
        Self { origin, ..Self::new(options, each) }
    }

    fn gathered(&mut self) -> &mut (Stats, Meter) {
        self.gathered.get_or_insert_with(|| {
            let stats = Stats::new(&self.options, &self.origin);
            let meter = Meter::new(stats.target());
            Box::new((stats, meter))
        })
    }

    /// What was gathered.
    pub fn into_stats(mut self) -> (Stats, Origin) {
        self.gathered();
        let Self { gathered, origin, .. } = self;
        let mut stats = gathered.expect("was just made").0;
        stats.settle();
        (stats, origin)
    }
}

impl<E: EachKey> Sink for Collector<E> {
    type Error = E::Error;

    fn start(&mut self, version: Version) -> Result<(), E::Error> {
        self.origin.version = Some(version);
        Ok(())
    }

    fn aux(&mut self, key: &[u8], value: &[u8], _end: u64) -> Result<(), E::Error> {
        // What comes among the keys is about keys.
        if self.gathered.is_none() {
            self.origin.aux(key, value);
        }
        Ok(())
    }

    fn function(&mut self, _at: u64, code: &[u8]) -> Result<(), E::Error> {
        self.origin.functions.0 += 1;
        self.origin.functions.1 += code.len() as u64;
        Ok(())
    }

    fn key(&mut self, head: &KeyHead<'_>) -> Result<Depth, E::Error> {
        let current = &mut self.current;
        current.name.clear();
        current.name.extend_from_slice(head.key);
        current.at = head.at;
        current.db = head.db;
        current.object = head.object;
        // Servers take -1 for none.
        current.expire_at = head.expire_at.map(|at| at.0).filter(|at| *at != -1);
        current.idle_s = head.idle_s;
        current.freq = head.freq;
        self.gathered().1.begin(head);
        Ok(match head.object.family() {
            Family::Module => Depth::Skip,
            // How long a string is can be read without unpacking it.
            Family::String => Depth::Raw,
            _ => Depth::Packed,
        })
    }

    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), E::Error> {
        let family = self.current.object.family();
        let Some(gathered) = &mut self.gathered else { return Ok(()) };
        let (stats, meter) = &mut **gathered;
        let sizes = &mut stats.types[family as usize].sizes;
        let (ttls, now) = (&mut stats.field_ttls, stats.now_ms);
        meter.event(&event, |len| sizes.add(len), |at| ttls[ttl_span(Some(at), now)].add(0));
        Ok(())
    }

    fn end_key(&mut self, end: u64) -> Result<(), E::Error> {
        let file_bytes = end.saturating_sub(self.current.at);
        let Some(gathered) = &mut self.gathered else { return Ok(()) };
        let (stats, meter) = &mut **gathered;
        let measured = meter.end(file_bytes);
        stats.add(&self.current, &measured, file_bytes);
        self.each.key(&self.current, &measured, file_bytes)
    }

    fn end(&mut self, _trailer: Trailer) -> Result<(), E::Error> {
        self.has_ended = true;
        Ok(())
    }
}

impl<E: EachKey> Worker for Collector<E> {
    fn finish(&mut self) -> Result<(), E::Error> {
        self.each.flush()
    }
}
