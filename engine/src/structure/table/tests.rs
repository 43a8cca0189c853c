//! The table against a `BTreeMap`, under schedules of growth and shrinking made to hurt it, with a
//! hash that can be made to collide, and with every inner count compared with the truth.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ptr::NonNull;
use std::rc::Rc;

use proptest::prelude::*;

use super::bucket::{Bucket, Place, SLOTS};
use super::segment::home_index;
use super::{Entry, HashOf, Sweep, Table, TableEntry, Thin};
use crate::base::rng::Rng;
use crate::structure::hash::HashSeed;
use crate::structure::record::{Record, RecordRef};

/// How badly a hash is made.
#[derive(Debug, Clone, Copy)]
enum Mix {
    /// As it should be.
    Good,
    /// The same bucket and tag for every item.
    Constant,
    /// Sixteen different positions.
    FewPositions,
    /// All tags equal.
    OneTag,
    /// All items in one eighth of hash space.
    OneCorner,
}

fn hash(mix: Mix, key: &[u8]) -> u64 {
    let good = HashSeed(11, 7).hash(key);
    match mix {
        Mix::Good => good,
        Mix::Constant => 0xdead_beef_0123_4567,
        Mix::FewPositions => good & 0xf << 60 | good & 0xff,
        Mix::OneTag => good & !0xff | 9,
        Mix::OneCorner => good >> 3,
    }
}

impl HashOf<Record> for Mix {
    fn hash_of(&self, item: RecordRef<'_>) -> u64 {
        hash(*self, item.key())
    }
}

type Subject = Table<Record, Mix>;

/// What the table should hold: payload, expiry, clock.
type Twin = BTreeMap<u32, (Vec<u8>, Option<i64>, u32)>;

fn id_of(record: RecordRef<'_>) -> u32 {
    u32::from_le_bytes(record.key().try_into().expect("keys are four bytes"))
}

fn key(id: u32) -> ([u8; 4], impl Fn(RecordRef<'_>) -> bool) {
    (id.to_le_bytes(), move |record: RecordRef<'_>| id_of(record) == id)
}

/// Every promise of the inside: directory, depths, counts, bits, bytes.
fn check_inside(table: &Subject) {
    let (mut len, mut bytes, mut deepest, mut index) = (0, 0, 0, 0);
    assert!(table.directory.is_empty() || table.directory.len() == 1 << table.depth);
    while index < table.directory.len() {
        let entry = table.directory[index];
        let segment = entry.segment();
        let run = table.run(entry);
        assert_eq!((entry.depth(), entry.home()), (segment.depth(), segment.home()));
        assert_eq!(index % run, 0);
        assert!(table.directory[index..index + run].iter().all(|e| e.0 == entry.0));
        assert_eq!(segment.has_clocks(), table.has_clocks);
        deepest += usize::from(entry.depth() == table.depth);
        bytes += segment.heap_bytes();
        let mut counts = vec![(0usize, 0usize); segment.home()];
        let mut here = 0;
        for bucket in 0..segment.buckets() {
            for slot in segment.bucket(bucket).used() {
                // SAFETY: a used slot owns a live record, which nobody changes here.
                let item = unsafe { <Record as Thin>::view(segment.bucket(bucket).pointer(slot)) };
                let hash = table.hasher.hash_of(item);
                assert_eq!(table.index(hash) & !(run - 1), index);
                let home = home_index(hash, segment.depth(), segment.home());
                match segment.place_of(home, bucket) {
                    Place::Home => {}
                    Place::Next => {
                        assert_eq!(segment.next(home), bucket);
                        counts[home].0 += 1;
                    }
                    Place::Stash => counts[home].1 += 1,
                }
                assert!(!item.has_expiry() || segment.bucket(bucket).is_volatile() && segment.is_volatile());
                here += 1;
            }
        }
        for (home, (next, stash)) in counts.into_iter().enumerate() {
            // Exact, or stuck at the top.
            let counts = segment.bucket(home).counts();
            assert!(counts.0 == next || counts.0 == 7, "{counts:?} {next}");
            assert!(counts.1 == stash || counts.1 == 15, "{counts:?} {stash}");
        }
        assert_eq!(here, segment.len());
        len += here;
        index += run;
    }
    assert_eq!((len, bytes, deepest), (table.len, table.heap_bytes, table.deepest));
}

fn check(table: &Subject, twin: &Twin) {
    check_inside(table);
    let all: Twin =
        table.iter().map(|(r, clock)| (id_of(r), (r.payload().to_vec(), r.expiry(), clock))).collect();
    assert_eq!(table.iter().count(), twin.len());
    assert_eq!(&all, twin);
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u32, u32),
    Remove(u32, u32),
    Update(u32, usize, Option<i64>),
    Replace(u32, usize),
    Clock(u32, u32),
    Allow(bool),
    EnableClocks,
    DisableClocks,
    Tidy(usize),
    Reserve(usize),
    TakeAll,
    Scan(usize),
    Sweep(usize, i64),
}

fn steps(ids: u32) -> impl Strategy<Value = Step> {
    let id = || 0..ids;
    let many = move || prop_oneof![3 => 1..4u32, 2 => 1..ids / 4, 1 => 1..ids];
    let expiry = || prop::option::of(0..100i64);
    prop_oneof![
        8 => (id(), many()).prop_map(|(id, n)| Step::Insert(id, n)),
        8 => (id(), many()).prop_map(|(id, n)| Step::Remove(id, n)),
        4 => (id(), 0..200usize, expiry()).prop_map(|(id, len, e)| Step::Update(id, len, e)),
        2 => (id(), 0..200usize).prop_map(|(id, len)| Step::Replace(id, len)),
        2 => (id(), 1..u32::MAX).prop_map(|(id, clock)| Step::Clock(id, clock)),
        2 => any::<bool>().prop_map(Step::Allow),
        1 => Just(Step::EnableClocks),
        1 => Just(Step::DisableClocks),
        2 => (1..20usize).prop_map(Step::Tidy),
        1 => (0..3000usize).prop_map(Step::Reserve),
        1 => Just(Step::TakeAll),
        12 => (1..80usize).prop_map(Step::Scan),
        2 => (1..500usize, 0..100i64).prop_map(|(budget, now)| Step::Sweep(budget, now)),
    ]
}

/// A scan on its way: what was there at its start and hasn't gone since must be seen by its end.
#[derive(Default)]
struct Scan {
    cursor: u64,
    promised: BTreeSet<u32>,
    seen: BTreeSet<u32>,
    finished: usize,
}

impl Scan {
    fn step(&mut self, table: &Subject, twin: &Twin) {
        if self.cursor == 0 {
            self.promised = twin.keys().copied().collect();
            self.seen.clear();
        }
        let next = table.scan(self.cursor, |record| {
            assert!(twin.contains_key(&id_of(record)));
            self.seen.insert(id_of(record));
        });
        assert!(next == 0 || next > self.cursor && next < 1 << 48);
        self.cursor = next;
        if next == 0 {
            assert!(self.promised.is_subset(&self.seen), "{:?}", self.promised.difference(&self.seen));
            self.finished += 1;
        }
    }
}

fn run(mix: Mix, ids: u32, steps: Vec<Step>) {
    let (mut table, mut twin, mut scan) = (Subject::new(mix), Twin::new(), Scan::default());
    for step in steps {
        match step {
            Step::Insert(first, n) => {
                for id in (first..first + n).map(|id| id % ids) {
                    let (key, is_it) = key(id);
                    let expiry = (id % 5 == 0).then_some(i64::from(id % 97));
                    match table.entry(hash(mix, &key), is_it) {
                        TableEntry::Occupied(occupied) => {
                            assert!(twin.contains_key(&id_of(occupied.view())));
                        }
                        TableEntry::Vacant(vacant) => {
                            vacant.insert_with_clock(Record::new(0, &key, expiry, b"new"), id);
                            let clock = if table.has_clocks() { id } else { 0 };
                            assert!(twin.insert(id, (b"new".to_vec(), expiry, clock)).is_none());
                        }
                    }
                }
            }
            Step::Remove(first, n) => {
                for id in (first..first + n).map(|id| id % ids) {
                    let (key, is_it) = key(id);
                    let removed = if id % 2 == 0 {
                        table.remove(hash(mix, &key), is_it)
                    } else {
                        match table.entry(hash(mix, &key), is_it) {
                            TableEntry::Occupied(occupied) => Some(occupied.remove()),
                            TableEntry::Vacant(_) => None,
                        }
                    };
                    assert_eq!(removed.map(|r| r.payload().to_vec()), twin.remove(&id).map(|t| t.0));
                    scan.promised.remove(&id);
                }
            }
            Step::Update(id, len, expiry) => {
                let (key, is_it) = key(id);
                let there = table.update(hash(mix, &key), is_it, |r| r.replace(1, &vec![7; len], expiry));
                assert_eq!(there.is_some(), twin.contains_key(&id));
                if let Some(slot) = twin.get_mut(&id) {
                    (slot.0, slot.1) = (vec![7; len], expiry);
                }
            }
            Step::Replace(id, len) => {
                let (key, is_it) = key(id);
                let old = table.replace(hash(mix, &key), is_it, Record::new(2, &key, None, &vec![8; len]));
                let was = twin.get(&id).cloned();
                assert_eq!(old.map(|r| r.payload().to_vec()), was.as_ref().map(|slot| slot.0.clone()));
                twin.insert(id, (vec![8; len], None, was.map_or(0, |slot| slot.2)));
            }
            Step::Clock(id, to) => {
                let (key, is_it) = key(id);
                let old = table.clock(hash(mix, &key), &is_it);
                assert_eq!(old, twin.get(&id).map(|slot| slot.2));
                let to = if table.has_clocks() { to } else { 0 };
                let item = table.access(hash(mix, &key), is_it, |before, item| {
                    assert_eq!((Some(before), id_of(item)), (old, id));
                    to
                });
                assert_eq!(item.is_some(), twin.contains_key(&id));
                twin.entry(id).and_modify(|slot| slot.2 = to);
            }
            Step::Allow(allowed) => table.resize_allowed(allowed),
            Step::EnableClocks => table.enable_clocks(),
            Step::DisableClocks => {
                table.disable_clocks();
                twin.values_mut().for_each(|slot| slot.2 = 0);
            }
            Step::Tidy(times) => {
                let mut cursor = 0;
                for _ in 0..times {
                    cursor = table.tidy(cursor);
                }
            }
            Step::Reserve(items) => table.reserve(items),
            Step::TakeAll => {
                let old = table.take_all();
                check(&old, &twin);
                check(&table, &Twin::new());
                table = old;
            }
            Step::Scan(times) => (0..times).for_each(|_| scan.step(&table, &twin)),
            Step::Sweep(budget, now) => {
                let mut gone = Vec::new();
                let visit = |record: &mut Record| match record.expiry().expect("only those that expire") {
                    expiry if expiry < now => Sweep::Remove,
                    _ => Sweep::Keep,
                };
                let (mut cursor, mut rounds) = (0, 0);
                loop {
                    (cursor, _) =
                        table.sweep(cursor, budget, visit, |record| gone.push(id_of(record.view())));
                    rounds += 1;
                    if cursor == 0 || rounds == 40 {
                        break;
                    }
                }
                for id in gone {
                    assert!(twin.remove(&id).is_some_and(|slot| slot.1.is_some_and(|e| e < now)));
                    scan.promised.remove(&id);
                }
                if cursor == 0 {
                    assert!(!twin.values().any(|slot| slot.1.is_some_and(|e| e < now)));
                }
            }
        }
        check_inside(&table);
    }
    check(&table, &twin);
    for id in 0..ids {
        let (key, is_it) = key(id);
        let found = table.find(hash(mix, &key), is_it).map(|r| r.payload().to_vec());
        assert_eq!(found, twin.get(&id).map(|slot| slot.0.clone()));
    }
    while scan.finished == 0 || scan.cursor != 0 {
        scan.step(&table, &twin);
    }
}

fn mixes() -> impl Strategy<Value = Mix> {
    prop_oneof![
        6 => Just(Mix::Good),
        1 => Just(Mix::Constant),
        1 => Just(Mix::FewPositions),
        1 => Just(Mix::OneTag),
        1 => Just(Mix::OneCorner),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 3 } else { 64 }, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn a_small_table_follows_the_twin(
        mix in mixes(), steps in prop::collection::vec(steps(40), 1..if cfg!(miri) { 25 } else { 120 })
    ) {
        run(mix, 40, steps);
    }

    #[test]
    fn a_table_of_many_segments_follows_the_twin(
        mix in mixes(),
        steps in prop::collection::vec(
            steps(if cfg!(miri) { 120 } else { 6000 }), 1..if cfg!(miri) { 15 } else { 60 }
        )
    ) {
        // Hashes that collide make each step linear, so fewer items say as much.
        let ids = if matches!(mix, Mix::Constant | Mix::FewPositions) { 300 } else { 6000 };
        run(mix, if cfg!(miri) { 120 } else { ids }, steps);
    }
}

/// SCAN while the table goes from nothing to many segments and back to nothing, with a constant core
/// that every scan must give.
#[test]
fn scan_survives_full_swings() {
    let (core, swing) = if cfg!(miri) { (10, 60) } else { (500, 20_000u32) };
    let (mut table, mut twin, mut scan) = (Subject::new(Mix::Good), Twin::new(), Scan::default());
    let put = |table: &mut Subject, twin: &mut Twin, id: u32| {
        let (key, _) = key(id);
        table.insert(hash(Mix::Good, &key), Record::new(0, &key, None, b""));
        twin.insert(id, (Vec::new(), None, 0));
    };
    (0..core).for_each(|id| put(&mut table, &mut twin, id));
    for _ in 0..2 {
        for id in core..core + swing {
            put(&mut table, &mut twin, id);
            if id % 7 == 0 {
                scan.step(&table, &twin);
            }
        }
        assert!(cfg!(miri) || table.depth >= 4);
        for id in core..core + swing {
            let (key, is_it) = key(id);
            assert!(table.remove(hash(Mix::Good, &key), is_it).is_some());
            twin.remove(&id);
            scan.promised.remove(&id);
            if id % 5 == 0 {
                scan.step(&table, &twin);
            }
        }
        assert!(cfg!(miri) || table.depth <= 2, "the table shrinks with its items");
    }
    assert!(cfg!(miri) || scan.finished > 4);
    check(&table, &twin);
}

/// A sweep that takes nearly everything out shrinks the table under its own feet.
#[test]
fn a_sweep_misses_nothing_while_the_table_shrinks() {
    let counts: &[u32] = if cfg!(miri) { &[60] } else { &[9, 100, 440, 460, 900, 3000, 20_000] };
    for &items in counts {
        for budget in [1, 50, usize::MAX] {
            let mut table = Subject::new(Mix::Good);
            for id in 0..items {
                let (key, _) = key(id);
                let expiry = Some(if id % 50 == 0 { 2 } else { 1 });
                table.insert(hash(Mix::Good, &key), Record::new(0, &key, expiry, b""));
            }
            let before = table.memory_bytes();
            let (mut cursor, mut gone, mut kept) = (0, BTreeSet::new(), BTreeSet::new());
            loop {
                let visit = |record: &mut Record| {
                    if record.expiry() == Some(1) {
                        return Sweep::Remove;
                    }
                    kept.insert(id_of(record.view()));
                    Sweep::Keep
                };
                (cursor, _) = table.sweep(cursor, budget, visit, |record| {
                    assert!(gone.insert(id_of(record.view())));
                });
                check_inside(&table);
                if cursor == 0 {
                    break;
                }
            }
            assert!(items < 3000 || table.memory_bytes() * 2 < before, "{items} {budget}: no memory back");
            assert_eq!(kept.len() as u32, items.div_ceil(50), "{items} {budget}");
            assert_eq!((gone.len() + kept.len()) as u32, items, "{items} {budget}");
        }
    }
}

#[test]
fn bytes_for_each_item_stay_low_at_every_fill() {
    if cfg!(miri) {
        return;
    }
    let mut table = Subject::new(Mix::Good);
    let (mut sum, mut points, mut worst) = (0.0, 0, 0.0f64);
    let mut next = 4096.0;
    for id in 0..140_000u32 {
        let (key, _) = key(id);
        table.insert(hash(Mix::Good, &key), Record::new(0, &key, None, b""));
        if f64::from(id + 1) >= next {
            // Points at equal steps of the logarithm, over five doublings.
            next *= 1.05;
            let bytes = table.memory_bytes() as f64 / table.len() as f64;
            (sum, points, worst) = (sum + bytes, points + 1, worst.max(bytes));
        }
    }
    let average = sum / f64::from(points);
    println!("{points} points: {average:.2} bytes an item on average, {worst:.2} at worst");
    assert!(average <= 9.5 && worst <= 12.0, "{average} {worst}");
    let mut reserved = Subject::new(Mix::Good);
    for items in [1_000usize, 10_000, 13_000, 60_000, 100_000, 140_000] {
        reserved.reserve(items);
        let before = reserved.memory_bytes();
        for id in 0..items as u32 {
            let (key, _) = key(id);
            reserved.insert(hash(Mix::Good, &key), Record::new(0, &key, None, b""));
        }
        let after = reserved.memory_bytes();
        println!("{items} reserved: {:.2} bytes an item", after as f64 / items as f64);
        // A few segments of many may have had to grow, and stashes come as they are needed.
        assert!(after as f64 <= before as f64 * 1.1 && after as f64 / items as f64 <= 11.0);
        drop(reserved.take_all());
    }
}

#[test]
fn random_is_fair() {
    let (items, draws) = if cfg!(miri) { (20u32, 20) } else { (3000, 300_000) };
    let mut table = Subject::new(Mix::Good);
    let mut rng = Rng::new(9);
    assert!(table.random(&mut rng).is_none());
    for id in 0..items {
        let (key, _) = key(id);
        table.insert(hash(Mix::Good, &key), Record::new(0, &key, None, b""));
    }
    let mut seen = vec![0u32; items as usize];
    for _ in 0..draws {
        seen[id_of(table.random(&mut rng).expect("not empty")) as usize] += 1;
    }
    // A hundred draws an item, so a standard deviation of ten: five of them either way.
    assert!(cfg!(miri) || seen.iter().all(|&n| (50..160).contains(&n)), "{seen:?}");
    // Nearly empty without having been allowed to shrink.
    table.resize_allowed(false);
    for id in 1..items {
        let (key, is_it) = key(id);
        assert!(table.remove(hash(Mix::Good, &key), is_it).is_some());
    }
    assert_eq!(table.random(&mut rng).map(id_of), Some(0));
}

/// Counts its drops.
struct Counted {
    id: u32,
    drops: Rc<Cell<usize>>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.drops.set(self.drops.get() + 1);
    }
}

/// A box, to show that a table holds more than records.
struct Boxed(Box<Counted>);

// SAFETY: a box is one allocation behind a plain pointer; `into_raw` and `from_raw` are its own.
unsafe impl Thin for Boxed {
    type Ref<'a> = &'a Counted;

    fn into_raw(self) -> NonNull<u8> {
        NonNull::from(Box::leak(self.0)).cast()
    }

    unsafe fn from_raw(at: NonNull<u8>) -> Self {
        // SAFETY: the caller says that `at` comes from `into_raw`.
        Self(unsafe { Box::from_raw(at.cast().as_ptr()) })
    }

    unsafe fn view<'a>(at: NonNull<u8>) -> &'a Counted {
        // SAFETY: the caller says that `at` comes from `into_raw` and stays during 'a.
        unsafe { at.cast().as_ref() }
    }
}

struct ById;

impl HashOf<Boxed> for ById {
    fn hash_of(&self, item: &Counted) -> u64 {
        hash(Mix::Good, &item.id.to_le_bytes())
    }
}

#[test]
fn every_item_is_dropped_once() {
    let items = if cfg!(miri) { 40 } else { 4000u32 };
    let drops = Rc::new(Cell::new(0));
    let mut table = Table::new(ById);
    for id in 0..items {
        let item = Boxed(Box::new(Counted { id, drops: drops.clone() }));
        table.insert(hash(Mix::Good, &id.to_le_bytes()), item);
    }
    assert_eq!(drops.get(), 0);
    for id in (0..items).step_by(4) {
        drop(table.remove(hash(Mix::Good, &id.to_le_bytes()), |item| item.id == id));
    }
    assert_eq!(drops.get(), items as usize / 4);
    let left = table.iter().map(|(item, _)| item.id).collect::<BTreeSet<_>>();
    assert_eq!(left.len(), table.len());
    drop(table);
    assert_eq!(drops.get(), items as usize);
}

#[test]
fn a_change_that_unwinds_leaves_the_item_in_the_table() {
    let mut table = Subject::new(Mix::Good);
    let (bytes, is_it) = key(7);
    table.insert(hash(Mix::Good, &bytes), Record::new(0, &bytes, None, b"short"));
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        table.update(hash(Mix::Good, &bytes), &is_it, |record| {
            record.set_payload(1, &[1; 500]);
            panic!("in the middle");
        });
    }));
    assert!(caught.is_err());
    assert_eq!(table.find(hash(Mix::Good, &bytes), is_it).map(|r| r.payload().len()), Some(500));
    check_inside(&table);
}

#[test]
fn foreign_cursors_are_harmless() {
    let mut table = Subject::new(Mix::Good);
    assert_eq!(table.scan(12345, |_| unreachable!("there is nothing")), 0);
    for id in 0..200 {
        let (key, _) = key(id);
        table.insert(hash(Mix::Good, &key), Record::new(0, &key, None, b""));
    }
    for cursor in [1, (1 << 48) - 1, 1 << 48, u64::MAX, u64::MAX / 3] {
        assert!(table.scan(cursor, |_| {}) < 1 << 48);
        assert!(table.sweep(cursor, 10, |_| Sweep::Remove, |_| {}).0 < 1 << 48);
        assert!(table.tidy(cursor) < 1 << 48);
    }
}

#[test]
fn layout_is_what_the_figures_say() {
    assert_eq!((size_of::<Bucket>(), SLOTS, size_of::<Entry>()), (64, 9, 8));
    assert!(size_of::<Table<Record, HashSeed>>() <= 80);
}

#[test]
fn items_away_from_home_are_looked_for_where_they_lie() {
    let items = if cfg!(miri) { 600u32 } else { 200_000 };
    let mut table = Subject::new(Mix::Good);
    for id in 0..items {
        let (key, _) = key(id);
        table.insert(hash(Mix::Good, &key), Record::new(0, &key, None, b""));
    }
    let (mut away, mut stopped_early) = (0, 0);
    for id in 0..items {
        let (key, eq) = key(id);
        let hash = hash(Mix::Good, &key);
        let found = table.locate(hash, eq).expect("it is there");
        let place = found.segment.place_of(found.home, found.at.bucket);
        let (mut last, mut next) = (Place::Home, Some(Place::Home));
        while let Some(place) = next {
            (last, next) = (place, table.prefetch_item(hash, place, 8));
        }
        away += u32::from(place != Place::Home);
        match (place, last) {
            (Place::Home, Place::Home) | (Place::Next, Place::Next) | (Place::Stash, Place::Stash) => {}
            // Another item that lies nearer may have its tag.
            (Place::Next, Place::Home) | (Place::Stash, Place::Home | Place::Next) => stopped_early += 1,
            other => panic!("looked for too far away: {other:?}"),
        }
    }
    println!("of {items} {away} away from home, {stopped_early} of them not found");
    assert!(away > items / 50 && away < items / 3 && stopped_early < away / 10);
}
