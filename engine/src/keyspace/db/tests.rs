//! The database against a `BTreeMap`, with every count compared with the truth after every step.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{Counts, Db, Lookup};
use crate::base::rng::Rng;
use crate::base::time::UnixMs;
use crate::keyspace::db::string::AddError;
use crate::keyspace::{ClockKind, EntryRef, Laziness};
use crate::structure::hash::HashSeed;
use crate::value::hash::{FieldTtl, Hash};
use crate::value::list::{End, List};
use crate::value::set::Set;
use crate::value::string::IncrError;
use crate::value::{InlineTag, IntText, Limits, StringValue, Value, ValueRef};

const NOW: UnixMs = UnixMs(1000);

type Act = fn(&mut Db);

/// A value as text, whatever its encoding.
#[derive(Debug, Clone, PartialEq)]
enum Plain {
    Text(Vec<u8>),
    List(Vec<Vec<u8>>),
    Hash(BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>),
}

type Twin = BTreeMap<u8, (Plain, Option<i64>)>;

fn plain(value: ValueRef<'_>) -> Plain {
    match value {
        ValueRef::String(text) => Plain::Text(text.to_vec()),
        ValueRef::List(list) => Plain::List(list.iter().map(|e| e.to_vec()).collect()),
        ValueRef::Hash(hash) => Plain::Hash(
            hash.iter().map(|f| (f.field.to_vec(), (f.value.to_vec(), f.expire_at.map(|at| at.0)))).collect(),
        ),
        other => panic!("no test makes {other:?}"),
    }
}

fn owned(plain: &Plain) -> Value {
    let limits = Limits::DEFAULT;
    match plain {
        Plain::Text(bytes) => Value::String(StringValue::new(bytes)),
        Plain::List(items) => {
            let mut list = List::new();
            items.iter().for_each(|item| list.push(End::Back, item, &limits));
            Value::List(list)
        }
        Plain::Hash(fields) => {
            let mut hash = Hash::new();
            for (field, (value, at)) in fields {
                let ttl = at.map_or(FieldTtl::Clear, |at| FieldTtl::At(UnixMs(at)));
                hash.set_with(field, value, ttl, NOW, &limits);
            }
            Value::Hash(hash)
        }
    }
}

fn key(id: u8) -> Vec<u8> {
    format!("key:{id}").into_bytes()
}

fn check(db: &Db, twin: &Twin) {
    let mut counts = Counts::default();
    let mut seen = BTreeSet::new();
    for entry in db {
        counts.add(entry.marks());
        assert!(seen.insert(entry.key().to_vec()));
        assert!(entry.memory_bytes() >= entry.key().len());
    }
    assert_eq!((counts, seen.len(), db.len()), (db.counts, twin.len(), twin.len()));
    let has_ttl = |p: &Plain| matches!(p, Plain::Hash(fields) if fields.values().any(|(_, at)| at.is_some()));
    assert_eq!(db.field_ttl_len(), twin.values().filter(|(p, _)| has_ttl(p)).count());
    assert_eq!(db.expires_len(), twin.values().filter(|(_, at)| at.is_some()).count());
    for (id, (expected, at)) in twin {
        assert_eq!(db.get(&key(*id)).map(plain).as_ref(), Some(expected));
        assert_eq!(db.expire_at(&key(*id)).map(|at| at.0), *at);
        assert_eq!(plain(db.entry(&key(*id)).expect("just seen").to_value().view()), *expected);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Set(u8, Plain, Option<i64>),
    SetStr(u8, Vec<u8>, Option<i64>),
    InsertNew(u8, Plain),
    Incr(u8, i64),
    OverwriteInt(u8, i64),
    Append(u8, usize),
    EditBytes(u8, usize),
    Push(u8, usize),
    Pop(u8),
    Field(u8, u8, usize, Option<i64>),
    Expire(u8, Option<i64>),
    Remove(u8),
    Take(u8),
    Rename(u8, u8),
    Copy(u8, u8),
    MoveAway(u8),
    MoveBack,
    RemoveExpired(u8, i64),
    Clocks(ClockKind),
}

fn texts() -> impl Strategy<Value = Vec<u8>> {
    let sized = |len: usize| vec![b'x'; len];
    prop_oneof![
        any::<i64>().prop_map(|v| v.to_string().into_bytes()),
        any::<i8>().prop_map(|v| v.to_string().into_bytes()),
        Just(b"-0".to_vec()),
        Just(b"007".to_vec()),
        Just(Vec::new()),
        (0..80usize).prop_map(sized),
        prop_oneof![Just(1023usize), Just(1024), Just(1025), Just(5000)].prop_map(sized),
    ]
}

fn plains() -> impl Strategy<Value = Plain> {
    let item = || prop_oneof![4 => 1..10usize, 1 => 200..700usize].prop_map(|len| vec![b'i'; len]);
    let fields = prop::collection::btree_map(
        (0..9u8).prop_map(|f| vec![f]),
        (item(), prop::option::of(0..2000i64)),
        1..9,
    );
    prop_oneof![
        3 => texts().prop_map(Plain::Text),
        1 => prop::collection::vec(item(), 1..12).prop_map(Plain::List),
        1 => fields.prop_map(|mut fields| {
            // A field that is set with a time in the past is not set at all.
            fields.values_mut().for_each(|(_, at)| *at = at.filter(|at| *at > NOW.0));
            Plain::Hash(fields)
        }),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let id = || 0..12u8;
    let at = || prop::option::of(0..2000i64);
    prop_oneof![
        3 => (id(), plains(), at()).prop_map(|(k, v, e)| Step::Set(k, v, e)),
        4 => (id(), texts(), at()).prop_map(|(k, v, e)| Step::SetStr(k, v, e)),
        1 => (id(), plains()).prop_map(|(k, v)| Step::InsertNew(k, v)),
        2 => (id(), any::<i64>()).prop_map(|(k, by)| Step::Incr(k, by)),
        2 => (id(), -300..300i64).prop_map(|(k, by)| Step::Incr(k, by)),
        1 => (id(), any::<i64>()).prop_map(|(k, v)| Step::OverwriteInt(k, v)),
        2 => (id(), 1..600usize).prop_map(|(k, n)| Step::Append(k, n)),
        3 => (id(), 1..600usize).prop_map(|(k, n)| Step::EditBytes(k, n)),
        3 => (id(), 1..300usize).prop_map(|(k, n)| Step::Push(k, n)),
        2 => id().prop_map(Step::Pop),
        4 => (id(), 0..9u8, 1..100usize, prop::option::of(1001..2000i64))
            .prop_map(|(k, f, n, e)| Step::Field(k, f, n, e)),
        2 => (id(), at()).prop_map(|(k, e)| Step::Expire(k, e)),
        1 => id().prop_map(Step::Remove),
        1 => id().prop_map(Step::Take),
        2 => (id(), id()).prop_map(|(a, b)| Step::Rename(a, b)),
        2 => (id(), id()).prop_map(|(a, b)| Step::Copy(a, b)),
        1 => id().prop_map(Step::MoveAway),
        1 => Just(Step::MoveBack),
        1 => (id(), 0..2000i64).prop_map(|(k, now)| Step::RemoveExpired(k, now)),
        1 => prop_oneof![Just(ClockKind::Off), Just(ClockKind::Lru), Just(ClockKind::Lfu)]
            .prop_map(Step::Clocks),
    ]
}

fn apply(db: &mut Db, other: &mut Db, twin: &mut Twin, away: &mut Twin, step: Step) {
    let limits = Limits::DEFAULT;
    let ms = |at: Option<i64>| at.map(UnixMs);
    match step {
        Step::Set(k, v, at) => {
            db.set(&key(k), owned(&v), ms(at));
            twin.insert(k, (v, at));
        }
        Step::SetStr(k, v, at) => {
            db.set_str(&key(k), &v, ms(at));
            twin.insert(k, (Plain::Text(v), at));
        }
        Step::InsertNew(k, v) => {
            assert_eq!(db.insert_new(&key(k), owned(&v), None), !twin.contains_key(&k));
            twin.entry(k).or_insert((v, None));
        }
        Step::Incr(k, by) => {
            let old = match twin.get(&k) {
                None => Ok(0),
                Some((Plain::Text(text), _)) => std::str::from_utf8(text)
                    .ok()
                    .and_then(|t| t.parse::<i64>().ok().filter(|v| v.to_string() == t))
                    .ok_or(AddError::Incr(IncrError::NotInteger)),
                Some(_) => Err(AddError::WrongType),
            };
            let sum = old.and_then(|v| v.checked_add(by).ok_or(AddError::Incr(IncrError::Overflow)));
            assert_eq!(db.incr(&key(k), by), sum);
            if let Ok(sum) = sum {
                twin.entry(k).or_insert((Plain::Text(Vec::new()), None)).0 =
                    Plain::Text(sum.to_string().into_bytes());
            }
        }
        Step::OverwriteInt(k, v) => {
            assert_eq!(db.overwrite_int(&key(k), v), twin.contains_key(&k));
            twin.entry(k).and_modify(|slot| slot.0 = Plain::Text(v.to_string().into_bytes()));
        }
        Step::Append(k, n) => {
            let done = db.modify(&key(k), |value| match value {
                Value::String(text) => text.append(&vec![b'a'; n]),
                _ => 0,
            });
            assert_eq!(done.is_some(), twin.contains_key(&k));
            if let Some((Plain::Text(text), _)) = twin.get_mut(&k) {
                text.resize(text.len() + n, b'a');
            }
        }
        Step::EditBytes(k, n) => {
            // Twice as long every other time, and the last byte is changed.
            let len = |old: usize| old + n % 2 * n;
            let change = |bytes: &mut [u8], old: usize| {
                bytes.last_mut().into_iter().for_each(|byte| *byte = b'e');
                (bytes.len(), old)
            };
            let done = db.edit_string(&key(k), len, change);
            match twin.get_mut(&k) {
                None => assert_eq!(done, Ok(None)),
                Some((Plain::Text(text), _)) => {
                    let old = text.len();
                    text.resize(len(old), 0);
                    text.last_mut().into_iter().for_each(|byte| *byte = b'e');
                    assert_eq!(done, Ok(Some((text.len(), old))));
                }
                Some(_) => assert_eq!(done, Err(AddError::WrongType)),
            }
        }
        Step::Push(k, n) => {
            db.modify(&key(k), |value| {
                if let Value::List(list) = value {
                    list.push(End::Back, &vec![b'p'; n], &limits);
                }
            });
            if let Some((Plain::List(items), _)) = twin.get_mut(&k) {
                items.push(vec![b'p'; n]);
            }
        }
        Step::Pop(k) => {
            let popped = db.modify(&key(k), |value| match value {
                Value::List(list) => list.pop(End::Front, &limits),
                _ => None,
            });
            let mut expected = None;
            if let Some((Plain::List(items), _)) = twin.get_mut(&k) {
                expected = Some(items.remove(0));
                if items.is_empty() {
                    twin.remove(&k);
                }
            }
            assert_eq!(popped.flatten(), expected);
        }
        Step::Field(k, f, n, at) => {
            db.modify(&key(k), |value| {
                if let Value::Hash(hash) = value {
                    let ttl = at.map_or(FieldTtl::Clear, |at| FieldTtl::At(UnixMs(at)));
                    hash.set_with(&[f], &vec![b'v'; n], ttl, NOW, &limits);
                }
            });
            if let Some((Plain::Hash(fields), _)) = twin.get_mut(&k) {
                fields.insert(vec![f], (vec![b'v'; n], at));
            }
        }
        Step::Expire(k, at) => {
            assert_eq!(db.set_expire_at(&key(k), ms(at)), twin.contains_key(&k));
            twin.entry(k).and_modify(|slot| slot.1 = at);
        }
        Step::Remove(k) => assert_eq!(db.remove(&key(k)), twin.remove(&k).is_some()),
        Step::Take(k) => {
            let value = db.take(&key(k));
            assert_eq!(value.map(|v| plain(v.view())), twin.remove(&k).map(|slot| slot.0));
        }
        Step::Rename(a, b) => {
            assert_eq!(db.rename(&key(a), &key(b)), twin.contains_key(&a));
            if let Some(slot) = twin.remove(&a) {
                twin.insert(b, slot);
            }
        }
        Step::Copy(a, b) => {
            assert_eq!(db.copy(&key(a), &key(b)), twin.contains_key(&a));
            if let Some(slot) = twin.get(&a).cloned() {
                twin.insert(b, slot);
            }
        }
        Step::MoveAway(k) => {
            assert_eq!(db.move_to(&key(k), other), twin.contains_key(&k));
            away.extend(twin.remove(&k).map(|slot| (k, slot)));
        }
        Step::MoveBack => {
            for (k, slot) in std::mem::take(away) {
                assert!(other.move_to(&key(k), db));
                twin.insert(k, slot);
            }
        }
        Step::RemoveExpired(k, now) => {
            let is_past = twin.get(&k).is_some_and(|slot| slot.1.is_some_and(|at| now > at));
            assert_eq!(db.remove_expired(&key(k), UnixMs(now)), is_past);
            if is_past {
                twin.remove(&k);
            }
        }
        Step::Clocks(kind) => db.set_clock_kind(kind),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 4 } else { 256 }, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn a_database_follows_the_twin(
        steps in prop::collection::vec(steps(), 1..if cfg!(miri) { 30 } else { 150 })
    ) {
        let (mut db, mut other) = (Db::new(HashSeed(1, 2)), Db::new(HashSeed(3, 4)));
        let (mut twin, mut away) = (Twin::new(), Twin::new());
        for step in steps {
            apply(&mut db, &mut other, &mut twin, &mut away, step);
            check(&db, &twin);
            check(&other, &away);
        }
        let keys = db.len();
        prop_assert_eq!(db.clear(), keys);
        check(&db, &Twin::new());
    }
}

#[test]
fn an_element_left_of_a_long_list_comes_home() {
    let limits = Limits::DEFAULT;
    let mut db = Db::new(HashSeed::default());
    let mut list = List::new();
    (0..2000).for_each(|i| list.push(End::Back, format!("element {i}").as_bytes(), &limits));
    db.set(b"list", Value::List(list), None);
    let full = db.entry(b"list").map(EntryRef::memory_bytes);
    db.modify(b"list", |value| {
        let Value::List(list) = value else { panic!("a list was set") };
        (0..1999).for_each(|_| drop(list.pop(End::Front, &limits)));
    });
    let one = db.entry(b"list").map(EntryRef::memory_bytes);
    assert!(full > Some(20_000) && one < Some(200), "{full:?} {one:?}");
    let mut text = IntText::new();
    let Some(ValueRef::List(list)) = db.get(b"list") else { panic!("a list was set") };
    assert_eq!(list.iter().map(|e| e.text(&mut text).to_vec()).collect::<Vec<_>>(), [b"element 1999"]);
}

#[test]
fn scan_gives_every_key_and_about_as_many_as_asked_for() {
    let mut db = Db::new(HashSeed(5, 6));
    let keys = if cfg!(miri) { 50 } else { 5000 };
    for i in 0..keys {
        db.set_str(format!("k{i}").as_bytes(), b"v", None);
    }
    for count in [1, 10, 1000, usize::MAX] {
        let (mut cursor, mut seen, mut calls) = (0, BTreeSet::new(), 0);
        loop {
            let mut here = 0;
            cursor = db.scan(cursor, count, |entry| {
                seen.insert(entry.key().to_vec());
                here += 1;
            });
            calls += 1;
            // A bucket's worth more than asked for, where buckets are full of neighbours.
            assert!(here < count.saturating_add(100));
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(seen.len(), keys);
        assert!(count == 1 || calls <= keys / count * 2 + 2, "{calls}");
    }
}

#[test]
fn idle_time_and_frequency_are_kept() {
    let mut db = Db::new(HashSeed(5, 6));
    db.tick(UnixMs(1_000_000));
    db.set_str(b"old", b"v", None);
    assert_eq!(db.idle_s(b"old"), Some(0));
    assert_eq!(db.idle_s(b"missing"), None);
    db.tick(UnixMs(1_060_000));
    db.set_str(b"new", b"v", None);
    assert_eq!((db.idle_s(b"old"), db.idle_s(b"new"), db.freq(b"old", NOW)), (Some(60), Some(0), None));
    db.touch(b"old");
    assert_eq!(db.idle_s(b"old"), Some(0));
    db.restore_clock(b"old", Some(500), None);
    assert_eq!(db.idle_s(b"old"), Some(500));
    // Clocks move with their entries when segments split.
    for i in 0..if cfg!(miri) { 100 } else { 3000 } {
        db.set_str(format!("k{i}").as_bytes(), b"v", None);
    }
    assert_eq!((db.idle_s(b"old"), db.idle_s(b"new")), (Some(500), Some(0)));
    db.set_clock_kind(ClockKind::Lfu);
    assert_eq!(db.idle_s(b"old"), None);
    assert_eq!(db.freq(b"old", UnixMs(1_060_000)), Some(5));
    db.restore_clock(b"old", None, Some(200));
    assert_eq!(db.freq(b"old", UnixMs(1_060_000)), Some(200));
}

#[test]
fn a_large_database_keeps_clocks_once_asked_for() {
    let mut db = Db::new(HashSeed(5, 6));
    db.tick(UnixMs(1_000_000));
    let key = |i: usize| i.to_string().into_bytes();
    (0..17_000).for_each(|i| db.set_str(&key(i), b"v", None));
    assert_eq!(db.clock_kind(), ClockKind::Off);
    db.tick(UnixMs(1_090_000));
    assert_eq!(db.idle_s(&key(1)), Some(0), "nothing is known from before the first question");
    db.tick(UnixMs(1_100_000));
    db.touch(&key(2));
    assert_eq!((db.idle_s(&key(1)), db.idle_s(&key(2))), (Some(10), Some(0)));
    assert_eq!(db.clear(), 17_000);
    assert_eq!(db.clock_kind(), ClockKind::Lru);
}

#[test]
fn every_use_of_a_key_moves_its_clock_and_held_clocks_stand() {
    let mut db = Db::new(HashSeed(5, 6));
    db.tick(UnixMs(1_000_000));
    let uses: [(&str, Act); 6] = [
        ("read", |db| assert!(matches!(db.look_up(b"k", NOW, true), Lookup::There(_)))),
        ("overwrite", |db| db.set_str(b"k", b"2", None)),
        ("increment", |db| assert!(db.incr(b"k", 1).is_ok())),
        ("set", |db| db.set(b"k", Value::from_inline(InlineTag::Str, b"w"), None)),
        ("modify", |db| assert!(db.modify(b"k", |_| ()).is_some())),
        ("expire", |db| assert!(db.set_expire_at(b"k", None))),
    ];
    db.set_str(b"k", b"1", None);
    for ((name, act), step) in uses.into_iter().zip(1..) {
        db.tick(UnixMs(1_000_000 + step * 10_000));
        assert_eq!(db.idle_s(b"k"), Some(10), "before {name}");
        act(&mut db);
        assert_eq!(db.idle_s(b"k"), Some(0), "after {name}");
    }
    db.tick(UnixMs(1_090_000));
    assert!(matches!(db.look_up(b"k", NOW, false), Lookup::There(_)));
    db.hold_clocks(true);
    db.touch(b"k");
    assert_eq!(db.idle_s(b"k"), Some(30));
}

#[test]
fn big_values_go_to_the_bin_if_their_removal_is_lazy() {
    let big = |limits: &Limits| {
        let mut set = Set::new();
        for i in 0..100 {
            assert!(set.add(format!("member {i}").as_bytes(), limits));
        }
        Value::Set(set)
    };
    let limits = Limits { set_max_listpack_entries: 10, ..Limits::default() };
    let removals: [(&str, Act, bool); 6] = [
        ("delete", |db| assert!(db.delete(b"k", true)), true),
        ("delete at once", |db| assert!(db.delete(b"k", false)), false),
        ("remove", |db| assert!(db.remove(b"k")), true),
        ("overwrite", |db| db.set_str(b"k", b"v", None), true),
        ("replace", |db| db.set(b"k", Value::from_inline(InlineTag::Str, b"v"), None), true),
        ("expire", |db| assert!(matches!(db.look_up(b"k", NOW, true), Lookup::Expired)), true),
    ];
    for (name, act, is_lazy) in removals {
        for laziness in [Laziness::ALL, Laziness::NONE] {
            let mut db = Db::new(HashSeed(5, 6));
            db.set_laziness(laziness);
            db.set(b"small", Value::from_inline(InlineTag::Str, b"v"), None);
            db.set(b"k", big(&limits), (name == "expire").then_some(UnixMs(NOW.0 - 1)));
            assert!(db.delete(b"small", true) && !db.has_garbage());
            act(&mut db);
            let expected = usize::from(is_lazy && (laziness == Laziness::ALL || name == "delete"));
            assert_eq!(db.take_garbage().len(), expected, "{name} {laziness:?}");
            assert!(!db.has_garbage());
        }
    }
}

#[test]
fn random_names_keys_that_are_there() {
    let mut db = Db::new(HashSeed(5, 6));
    assert!(db.random(&mut Rng::new(1)).is_none());
    (0..50).for_each(|i| db.set_str(format!("k{i}").as_bytes(), b"v", None));
    let mut rng = Rng::new(1);
    let seen: BTreeSet<Vec<u8>> =
        (0..600).filter_map(|_| db.random(&mut rng)).map(|entry| entry.key().to_vec()).collect();
    assert!(cfg!(miri) || seen.len() == 50);
}
