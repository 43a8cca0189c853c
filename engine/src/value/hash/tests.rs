//! Hashes against a map, once per encoding, with fields that expire; conversions as stories.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{FieldTtl, Hash, HashRef, ListpackBuf, UnixMs, Written};
use crate::base::rng::Rng;
use crate::value::{Limits, Malformed};

const TINY: Limits = Limits { hash_max_listpack_entries: 4, hash_max_listpack_value: 5, ..Limits::DEFAULT };
const NOW: UnixMs = UnixMs(1000);

fn of(pairs: &[(&str, &str)]) -> Hash {
    let mut hash = Hash::new();
    for (field, value) in pairs {
        hash.set(field.as_bytes(), value.as_bytes(), NOW, &TINY);
    }
    hash
}

fn pack(elements: &[&str]) -> ListpackBuf {
    let mut pack = ListpackBuf::new();
    elements.iter().for_each(|element| pack.push_back(element.as_bytes()));
    pack
}

fn at(ms: i64) -> FieldTtl {
    FieldTtl::At(UnixMs(ms))
}

/// The fields as text, in order: `a=1 b=2@1500`.
fn text(hash: &Hash) -> String {
    let words: Vec<String> = hash
        .view()
        .iter()
        .map(|f| {
            let ttl = f.expire_at.map_or(String::new(), |at| format!("@{}", at.0));
            format!("{}={}{ttl}", f.field.to_vec().escape_ascii(), f.value.to_vec().escape_ascii())
        })
        .collect();
    words.join(" ")
}

#[test]
fn a_listpack_becomes_a_table_by_count_or_length() {
    let mut hash = of(&[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]);
    assert_eq!(hash.view().encoding_name(), "listpack");
    assert!(!hash.set(b"a", b"9", NOW, &TINY));
    assert_eq!(hash.view().encoding_name(), "listpack");
    assert!(hash.set(b"e", b"5", NOW, &TINY));
    assert_eq!((hash.view().encoding_name(), hash.len()), ("hashtable", 5));
    assert_eq!(of(&[("field6", "1")]).view().encoding_name(), "hashtable");
    assert_eq!(of(&[("f", "value6")]).view().encoding_name(), "hashtable");
    assert_eq!(of(&[("field", "value")]).view().encoding_name(), "listpack");
    hash.remove(b"e", NOW);
    assert_eq!(hash.view().encoding_name(), "hashtable");
}

#[test]
fn hints_choose_the_first_encoding() {
    assert_eq!(Hash::with_hint(4, &TINY).view().encoding_name(), "listpack");
    assert_eq!(Hash::with_hint(5, &TINY).view().encoding_name(), "hashtable");
}

#[test]
fn an_expiry_makes_triples_sorted_by_it() {
    let mut hash = of(&[("a", "1"), ("b", "2"), ("c", "3")]);
    assert_eq!(hash.set_expiry(b"b", Some(UnixMs(2000)), NOW), Some(None));
    assert_eq!(hash.view().encoding_name(), "hashtable");
    assert!(matches!(hash, Hash::ListpackEx(_)));
    assert_eq!(text(&hash), "b=2@2000 a=1 c=3");
    hash.set_with(b"d", b"4", at(1500), NOW, &TINY);
    hash.set_expiry(b"c", Some(UnixMs(2000)), NOW);
    assert_eq!(text(&hash), "d=4@1500 c=3@2000 b=2@2000 a=1");
    assert_eq!(hash.view().next_expiry(), Some(UnixMs(1500)));
    // A plain set takes the expiry away.
    assert!(!hash.set(b"b", b"x", NOW, &TINY));
    assert_eq!(text(&hash), "d=4@1500 c=3@2000 a=1 b=x");
    assert_eq!(hash.set_with(b"c", b"y", FieldTtl::Keep, NOW, &TINY), Written::Updated);
    assert_eq!(text(&hash), "d=4@1500 c=y@2000 a=1 b=x");
    assert_eq!(hash.set_expiry(b"d", None, NOW), Some(Some(UnixMs(1500))));
    assert_eq!(hash.set_expiry(b"none", None, NOW), None);
    assert_eq!(text(&hash), "c=y@2000 a=1 b=x d=4");
    assert!(hash.set(b"e", b"5", NOW, &TINY));
    assert_eq!(hash.view().encoding_name(), "hashtable");
    assert_eq!(hash.view().expiry(b"c", NOW), Some(Some(UnixMs(2000))));
    assert!(hash.view().has_expiries());
}

#[test]
fn persisting_a_field_without_expiry_keeps_the_pairs() {
    let mut hash = of(&[("a", "1")]);
    assert_eq!(hash.set_expiry(b"a", None, NOW), Some(None));
    assert_eq!(hash.view().encoding_name(), "listpack");
    assert!(!hash.view().has_expiries());
    assert_eq!(hash.view().next_expiry_bound(), None);
}

fn expired_story(hash: &mut Hash) {
    hash.set_with(b"old", b"1", at(500), UnixMs(0), &TINY);
    hash.set_with(b"new", b"2", at(5000), UnixMs(0), &TINY);
    hash.set(b"a", b"3", UnixMs(0), &TINY);
    let live = hash.view().live_len(NOW);
    assert_eq!(hash.len(), live + 1);
    assert!(hash.view().get(b"old", NOW).is_none());
    assert!(hash.view().get(b"old", UnixMs(500)).is_some(), "at its very millisecond a field lives");
    assert!(hash.view().expiry(b"old", NOW).is_none());
    assert!(hash.view().live(NOW).all(|field| !field.field.eq_bytes(b"old")));
    let mut scanned = 0;
    hash.view().scan(0, 100, NOW, |field| scanned += usize::from(!field.field.eq_bytes(b"old")));
    assert_eq!(scanned, live);
    for seed in 0..50 {
        let picked = hash.view().random(&mut Rng::new(seed), NOW).expect("there are live fields");
        assert!(!picked.field.eq_bytes(b"old"));
    }
    assert_eq!(hash.set_expiry(b"old", Some(UnixMs(9000)), NOW), None);
    // A set of an expired field makes a new one, and nothing of the old expiry stays.
    let mut set = hash.clone();
    assert_eq!(set.set_with(b"old", b"z", FieldTtl::Keep, NOW, &TINY), Written::Revived);
    assert_eq!(set.view().expiry(b"old", NOW), Some(None));
    // A removal does not see it, unless it is to go whatever it is.
    let mut removed = hash.clone();
    assert!(!removed.remove(b"old", NOW));
    assert_eq!(removed.len(), live + 1);
    assert!(removed.discard(b"old"));
    assert_eq!(removed.len(), live);
    let mut gone = Vec::new();
    assert_eq!(hash.remove_expired(NOW, 10, |field| gone.push(field.to_vec())), 1);
    assert_eq!((gone, hash.len()), (vec![b"old".to_vec()], live));
    assert_eq!(hash.remove_expired(NOW, 10, |_| ()), 0);
    assert_eq!(hash.remove_expired(UnixMs(6000), 0, |_| ()), 0);
    assert_eq!(hash.view().next_expiry(), Some(UnixMs(5000)));
}

#[test]
fn a_field_past_its_expiry_cannot_be_seen() {
    expired_story(&mut Hash::new());
    let mut table = of(&[("longer-than-that", "x")]);
    expired_story(&mut table);
    assert_eq!(table.view().encoding_name(), "hashtable");
}

#[test]
fn a_hash_of_expired_fields_has_no_random_field() {
    let mut hash = Hash::new();
    hash.set_with(b"f", b"1", at(5), UnixMs(0), &TINY);
    let mut table = hash.clone();
    table.set_with(b"longer", b"1", at(5), UnixMs(0), &TINY);
    for hash in [hash, table] {
        assert!(hash.view().random(&mut Rng::new(0), NOW).is_none());
        hash.view().sample(3, &mut Rng::new(0), NOW, |_| panic!("nothing to see"));
        assert_eq!(hash.view().live_len(NOW), 0);
    }
}

#[test]
fn packed_hashes_of_a_file_are_checked_and_converted() {
    let pairs = Hash::from_listpack(pack(&["a", "1", "b", "far too long"]), &TINY).expect("sound pairs");
    assert_eq!(text(&pairs), "a=1 b=far too long");
    assert_eq!(pairs.view().encoding_name(), "listpack");
    let many = pack(&["a", "1", "b", "1", "c", "1", "d", "1", "e", "1"]);
    assert_eq!(Hash::from_listpack(many, &TINY).expect("sound pairs").view().encoding_name(), "hashtable");
    let odd = Hash::from_listpack(pack(&["a", "1", "b"]), &TINY).err();
    assert_eq!(odd, Some(Malformed::Incomplete { elements: 3, group: 2 }));
    let twice = Hash::from_listpack(pack(&["a", "1", "a", "2"]), &TINY).err();
    assert_eq!(twice, Some(Malformed::Duplicate { index: 1 }));
}

#[test]
fn triples_of_a_file_are_checked_and_sorted() {
    let load = |elements: &[&str]| Hash::from_listpack_ex(pack(elements), &TINY);
    let sorted = load(&["a", "1", "50", "b", "2", "60", "c", "3", "0"]).expect("sound triples");
    assert_eq!(text(&sorted), "a=1@50 b=2@60 c=3");
    let unsorted = load(&["c", "3", "0", "b", "2", "60", "a", "1", "50"]).expect("sound triples");
    assert_eq!(text(&unsorted), "a=1@50 b=2@60 c=3");
    assert_eq!(load(&["a", "1", "x"]).err(), Some(Malformed::BadExpiry { index: 0 }));
    assert_eq!(load(&["a", "1", "0", "b", "1", "-7"]).err(), Some(Malformed::BadExpiry { index: 1 }));
    assert_eq!(load(&["a", "1"]).err(), Some(Malformed::Incomplete { elements: 2, group: 3 }));
    let table = load(&["a", "1", "5", "b", "1", "0", "c", "1", "0", "d", "1", "0", "e", "1", "0"]);
    let table = table.expect("sound triples");
    assert_eq!(table.view().encoding_name(), "hashtable");
    assert_eq!(table.view().next_expiry(), Some(UnixMs(5)));
}

#[test]
fn loading_field_by_field_refuses_a_second_one() {
    let mut hash = Hash::for_test_loading();
    assert!(hash.add_loaded(b"a", b"1", Some(UnixMs(-5)), &TINY));
    assert!(hash.add_loaded(b"b", b"2", None, &TINY));
    assert!(!hash.add_loaded(b"a", b"3", None, &TINY));
    assert_eq!(text(&hash), "a=1@1 b=2");
}

impl Hash {
    fn for_test_loading() -> Self {
        Self::with_hint(2, &TINY)
    }
}

#[test]
fn a_sample_has_distinct_fields() {
    for count in [4u32, 60] {
        let mut hash = Hash::new();
        for i in 0..count {
            hash.set(format!("f{i}").as_bytes(), b"v", NOW, &TINY);
        }
        for wanted in [0, 1, 3, 10, 59, 100] {
            let mut seen = std::collections::BTreeSet::new();
            let visit = |f: super::Field<'_>| assert!(seen.insert(f.field.to_vec()));
            hash.view().sample(wanted, &mut Rng::new(3), NOW, visit);
            assert_eq!(seen.len(), wanted.min(count as usize));
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Set(String, String, FieldTtl),
    Remove(String),
    Expire(String, Option<i64>),
    Wait(i64),
    RemoveExpired(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let field = || prop_oneof![4 => "[a-d0-3]", 1 => "[a-c]{6}"];
    let value = prop_oneof![3 => "[0-9]{0,3}", 2 => "[x-z]{0,4}", 1 => "[x-z]{6}"];
    let ttl = prop_oneof![
        2 => Just(FieldTtl::Clear),
        1 => Just(FieldTtl::Keep),
        2 => (1000i64..1060).prop_map(|ms| FieldTtl::At(UnixMs(ms))),
    ];
    prop_oneof![
        6 => (field(), value, ttl).prop_map(|(f, v, t)| Step::Set(f, v, t)),
        2 => field().prop_map(Step::Remove),
        3 => (field(), prop::option::of(1000i64..1060)).prop_map(|(f, t)| Step::Expire(f, t)),
        2 => (0i64..20).prop_map(Step::Wait),
        1 => (0usize..3).prop_map(Step::RemoveExpired),
    ]
}

/// Value and expiry by field; those past their expiry are taken out by `see`.
type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

fn see(model: &mut Model, now: i64) {
    model.retain(|_, (_, expiry)| expiry.is_none_or(|at| at >= now));
}

fn apply(hash: &mut Hash, model: &mut Model, now: &mut i64, step: Step, l: &Limits) {
    see(model, *now);
    match step {
        Step::Set(field, value, ttl) => {
            let old = model.get(field.as_bytes());
            let expiry = match ttl {
                FieldTtl::Clear => None,
                FieldTtl::Keep => old.and_then(|(_, expiry)| *expiry),
                FieldTtl::At(at) => Some(at.0),
            };
            let is_new = old.is_none();
            let got = hash.set_with(field.as_bytes(), value.as_bytes(), ttl, UnixMs(*now), l);
            assert_eq!(got.is_new(), is_new);
            model.insert(field.into_bytes(), (value.into_bytes(), expiry));
        }
        Step::Remove(field) => {
            assert_eq!(hash.remove(field.as_bytes(), UnixMs(*now)), model.remove(field.as_bytes()).is_some());
        }
        Step::Expire(field, expiry) => {
            let entry = model.get_mut(field.as_bytes());
            let want = entry.map(|(_, old)| std::mem::replace(old, expiry));
            let got = hash.set_expiry(field.as_bytes(), expiry.map(UnixMs), UnixMs(*now));
            assert_eq!(got, want.map(|old| old.map(UnixMs)));
        }
        Step::Wait(ms) => *now += ms,
        Step::RemoveExpired(most) => {
            assert!(hash.remove_expired(UnixMs(*now), most, |_| ()) <= most);
        }
    }
}

proptest! {
    #[test]
    fn a_hash_is_a_map(entries in 0usize..10, steps in prop::collection::vec(step(), 0..60)) {
        let l = Limits { hash_max_listpack_entries: entries, ..TINY };
        let mut hash = Hash::new();
        let mut model = Model::new();
        let mut now = 1000;
        for step in steps {
            apply(&mut hash, &mut model, &mut now, step, &l);
        }
        see(&mut model, now);
        let now = UnixMs(now);
        let view = hash.view();
        let seen: Model = view
            .live(now)
            .map(|f| (f.field.to_vec(), (f.value.to_vec(), f.expire_at.map(|at| at.0))))
            .collect();
        prop_assert_eq!(&seen, &model);
        prop_assert_eq!(view.live_len(now), model.len());
        for (field, (value, expiry)) in &model {
            prop_assert!(view.get(field, now).is_some_and(|v| v.eq_bytes(value)));
            prop_assert_eq!(view.expiry(field, now), Some(expiry.map(UnixMs)));
        }
        let earliest = view.iter().filter_map(|f| f.expire_at).min();
        prop_assert_eq!(view.next_expiry(), earliest);
        prop_assert!(view.next_expiry_bound() <= earliest);
        if let HashRef::ListpackEx(pack) = view {
            let again = Hash::from_listpack_ex(ListpackBuf::from_trusted(pack.as_bytes().to_vec()), &Limits::DEFAULT);
            let again = again.expect("sound triples");
            prop_assert_eq!(again.view().iter().count(), view.len());
            prop_assert_eq!(text(&again), text(&hash), "triples are kept sorted");
        }
        let mut hash = hash;
        hash.remove_expired(now, usize::MAX, |_| ());
        prop_assert_eq!(hash.len(), model.len());
        prop_assert_eq!(text(&hash.view().to_owned()).len(), text(&hash).len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn filling_is_setting_one_by_one(texts in proptest::collection::vec("[a-c0-9]{0,6}", 0..14)) {
        let pairs: Vec<&[u8]> = texts.iter().map(String::as_bytes).take(texts.len() / 2 * 2).collect();
        let limits = Limits { hash_max_listpack_entries: 5, hash_max_listpack_value: 5, ..Limits::DEFAULT };
        let mut one_by_one = Hash::new();
        let mut all_new = true;
        for pair in pairs.chunks_exact(2) {
            all_new &= one_by_one.set(pair[0], pair[1], UnixMs(0), &limits);
        }
        let mut filled = Hash::new();
        let (first, rest) = pairs.split_at(pairs.len() / 4 * 2);
        for pair in first.chunks_exact(2) {
            filled.set(pair[0], pair[1], UnixMs(0), &limits);
        }
        let before = filled.len();
        if filled.fill(rest, &limits) {
            prop_assert!(all_new || before < first.len() / 2);
            match (&filled, &one_by_one) {
                (Hash::Listpack(a), Hash::Listpack(b)) => prop_assert_eq!(a.as_bytes(), b.as_bytes()),
                _ => prop_assert!(false, "both are small"),
            }
        } else {
            prop_assert!(filled.len() == before);
            prop_assert!(!all_new || rest.is_empty() || matches!(one_by_one, Hash::Table(_)));
        }
    }
}
