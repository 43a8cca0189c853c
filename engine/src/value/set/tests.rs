//! Sets against a `BTreeSet`, once per encoding, and Valkey's conversions as stories.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{Element, IntsetBuf, ListpackBuf, LoadedSet, Set, SetLoader};
use crate::base::num;
use crate::base::rng::Rng;
use crate::packed::listpack::Short;
use crate::value::{Limits, Malformed};

const TINY: Limits = Limits {
    set_max_intset_entries: 4,
    set_max_listpack_entries: 6,
    set_max_listpack_value: 5,
    ..Limits::DEFAULT
};

fn of(members: &[&str], limits: &Limits) -> Set {
    let mut set = Set::new();
    for member in members {
        set.add(member.as_bytes(), limits);
    }
    set
}

fn encoding(members: &[&str], limits: &Limits) -> &'static str {
    of(members, limits).view().encoding_name()
}

fn contents(set: &Set) -> BTreeSet<Vec<u8>> {
    set.view().iter().map(|member| member.to_vec()).collect()
}

#[test]
fn integers_stay_an_intset_up_to_its_limit() {
    assert_eq!(encoding(&["1", "2", "3", "4"], &TINY), "intset");
    assert_eq!(encoding(&["1", "2", "3", "4", "4"], &TINY), "intset");
    assert_eq!(encoding(&["1", "2", "3", "4", "5"], &TINY), "hashtable");
}

#[test]
fn a_text_turns_an_intset_into_a_listpack_or_a_table() {
    assert_eq!(encoding(&["1", "2", "x"], &TINY), "listpack");
    assert_eq!(encoding(&["1", "2", "longer"], &TINY), "hashtable");
    // An integer of six digits is too long for the listpack as well.
    assert_eq!(encoding(&["1", "123456", "x"], &TINY), "hashtable");
    let few = Limits { set_max_listpack_entries: 2, ..TINY };
    assert_eq!(encoding(&["1", "x"], &few), "listpack");
    assert_eq!(encoding(&["1", "2", "x"], &few), "hashtable");
}

#[test]
fn a_listpack_becomes_a_table_by_count_or_length() {
    let six = ["a", "b", "c", "d", "e", "f"];
    assert_eq!(encoding(&six, &TINY), "listpack");
    let mut set = of(&six, &TINY);
    assert!(!set.add(b"a", &TINY));
    assert_eq!(set.view().encoding_name(), "listpack");
    assert!(set.add(b"g", &TINY));
    assert_eq!(set.view().encoding_name(), "hashtable");
    assert_eq!(encoding(&["a", "12345", "123456"], &TINY), "hashtable");
    while set.pop(&mut Rng::new(1)).is_some() {}
    assert_eq!(set.view().encoding_name(), "hashtable");
}

#[test]
fn hints_choose_the_first_encoding() {
    let l = Limits::DEFAULT;
    let name = |first: &str, hint| Set::with_hint(first.as_bytes(), hint, &l).view().encoding_name();
    assert_eq!(
        [name("1", 512), name("1", 513), name("x", 128), name("x", 129)],
        ["intset", "hashtable", "listpack", "hashtable"]
    );
    let mut ints = of(&["1"], &l);
    ints.expect_members(512, &l);
    assert_eq!(ints.view().encoding_name(), "intset");
    ints.expect_members(513, &l);
    assert_eq!((ints.view().encoding_name(), ints.len()), ("hashtable", 1));
}

/// How members come to a loader.
#[derive(Debug, Clone, Copy)]
enum Come {
    OneByOne,
    AtOnce,
    InTwoParts,
}

/// Loads members, after others by the same loader.
fn loaded_as(come: Come, members: &[Vec<u8>], l: &Limits) -> Option<Set> {
    let mut loader = SetLoader::default();
    for others in [&["x", "1"][..], &["7"]] {
        loader.begin(others.len(), l);
        assert!(others.iter().all(|other| loader.push(other.as_bytes(), l)));
        assert_eq!(loader.finish(l).expect("distinct").into_set().len(), others.len());
    }
    loader.begin(members.len(), l);
    // Who gives many at once takes none that are long.
    let is_long = |member: &Vec<u8>| member.len() > 63;
    let mut at_once = |members: &[Vec<u8>]| {
        members.chunk_by(|a, b| is_long(a) == is_long(b)).all(|part| {
            if is_long(&part[0]) {
                return part.iter().all(|member| loader.push(member, l));
            }
            let bytes = part.iter().map(|member| member.len() + 1).sum();
            let short = part.iter().map(|member| match num::parse_i64(member) {
                Some(v) if v % 2 == 0 => Short::Int(v),
                _ => Short::Text { from: member, len: member.len() },
            });
            loader.push_all(short, part.len(), bytes, l).is_ok()
        })
    };
    let are_new = match come {
        Come::AtOnce => at_once(members),
        Come::InTwoParts => {
            let (first, second) = members.split_at(members.len() / 3);
            at_once(first) && at_once(second)
        }
        Come::OneByOne => members.iter().all(|member| loader.push(member, l)),
    };
    if are_new { loader.finish(l).ok().map(LoadedSet::into_set) } else { None }
}

/// As `loaded_as`; however they come, the set is the same.
fn loaded(members: &[Vec<u8>], l: &Limits) -> Option<Set> {
    let [set, others @ ..] =
        [Come::OneByOne, Come::AtOnce, Come::InTwoParts].map(|come| loaded_as(come, members, l));
    let form = |set: &Option<Set>| set.as_ref().map(|set| format!("{set:?}"));
    others.iter().for_each(|other| assert_eq!(form(other), form(&set)));
    set
}

#[test]
fn members_of_a_file_get_the_encoding_that_they_call_for() {
    let l = Limits::DEFAULT;
    let name = |count: usize, of: fn(usize) -> String| {
        let members: Vec<_> = (0..count).map(|i| of(i).into_bytes()).collect();
        loaded(&members, &l).expect("distinct").view().encoding_name()
    };
    let int = |i: usize| (i * 7919 % 1_000_003).to_string();
    assert_eq!([name(512, int), name(513, int)], ["intset", "hashtable"]);
    let text = |i: usize| format!("m{i}");
    assert_eq!([name(128, text), name(129, text)], ["listpack", "hashtable"]);
    let late = |i: usize| if i == 127 { "last".to_owned() } else { i.to_string() };
    assert_eq!([name(128, late), name(129, late)], ["listpack", "hashtable"]);
    let long = |i: usize| "y".repeat(63 + i);
    assert_eq!([name(2, long), name(3, long)], ["listpack", "hashtable"]);
    let few_ints = Limits { set_max_intset_entries: 0, ..l };
    let members: Vec<_> = (0..100).map(|i| format!("m{i}").into_bytes()).collect();
    assert_eq!(loaded(&members, &few_ints).expect("distinct").view().encoding_name(), "listpack");
    assert_eq!(loaded(&[b"7".to_vec()], &few_ints).expect("one").view().encoding_name(), "hashtable");
    let short = Limits { set_max_listpack_value: 2, ..l };
    let members = [&b"1000"[..], b"a"].map(<[u8]>::to_vec);
    assert_eq!(loaded(&members, &short).expect("distinct").view().encoding_name(), "hashtable");
}

proptest! {
    #[test]
    fn members_of_a_file_are_those_that_were_added(
        members in proptest::collection::vec(prop_oneof![
            (-40i64..40).prop_map(|v| v.to_string().into_bytes()),
            "[a-c]{0,3}".prop_map(String::into_bytes),
            any::<i64>().prop_map(|v| v.to_string().into_bytes()),
        ], 0..24),
        is_tiny in any::<bool>(),
    ) {
        let l = if is_tiny { TINY } else { Limits::DEFAULT };
        let mut model = BTreeSet::new();
        let are_distinct = members.iter().all(|member| model.insert(member.clone()));
        let got = loaded(&members, &l);
        prop_assert_eq!(got.is_some(), are_distinct);
        if let Some(set) = got {
            let got: BTreeSet<Vec<u8>> = set.view().iter().map(|member| member.to_vec()).collect();
            prop_assert_eq!(set.len(), members.len());
            prop_assert_eq!(got, model);
        }
    }
}

#[test]
fn packed_sets_of_a_file_are_checked_and_converted() {
    let pack = |members: &[&str]| {
        let mut pack = ListpackBuf::new();
        members.iter().for_each(|member| pack.push_back(member.as_bytes()));
        pack
    };
    let kept = Set::from_listpack(pack(&["a", "far too long", "1"]), &TINY).expect("distinct members");
    assert_eq!((kept.view().encoding_name(), kept.len()), ("listpack", 3));
    let many =
        Set::from_listpack(pack(&["1", "2", "3", "4", "5", "6", "7"]), &TINY).expect("distinct members");
    assert_eq!((many.view().encoding_name(), many.len()), ("hashtable", 7));
    assert!(many.view().contains(b"7"));
    let twice = Set::from_listpack(pack(&["a", "b", "a"]), &TINY);
    assert_eq!(twice.err(), Some(Malformed::Duplicate { index: 2 }));
    let ints = Set::from_intset((0..5).collect::<IntsetBuf>(), &TINY);
    assert_eq!((ints.view().encoding_name(), ints.len()), ("hashtable", 5));
}

#[test]
fn a_result_of_integers_prefers_the_intset() {
    let mut set = of(&["1", "x"], &TINY);
    set.prefer_intset(&TINY);
    assert_eq!(set.view().encoding_name(), "listpack");
    set.remove(b"x");
    set.prefer_intset(&TINY);
    assert_eq!(set.view().encoding_name(), "intset");
    assert!(set.view().contains(b"1"));
}

#[test]
fn popping_nearly_all_moves_what_stays() {
    let members: Vec<String> = (0..20).map(|i| format!("m{i}")).collect();
    let names: Vec<&str> = members.iter().map(String::as_str).collect();
    let mut set = of(&names, &TINY);
    assert_eq!(set.view().encoding_name(), "hashtable");
    let mut popped = BTreeSet::new();
    set.pop_many(17, &mut Rng::new(5), &TINY, |member| assert!(popped.insert(member.to_vec())));
    assert_eq!((popped.len(), set.len(), set.view().encoding_name()), (17, 3, "listpack"));
    assert!(contents(&set).is_disjoint(&popped));
    set.pop_many(9, &mut Rng::new(5), &TINY, |member| assert!(popped.insert(member.to_vec())));
    assert_eq!((popped.len(), set.len()), (20, 0));
}

#[test]
fn random_members_are_evenly_likely() {
    let sets = [
        of(&["1", "2", "3", "4"], &TINY),
        of(&["a", "b", "c", "d"], &TINY),
        of(&["long-a", "long-b", "long-c", "long-d"], &TINY),
    ];
    let mut rng = Rng::new(9);
    for set in sets {
        let mut seen = std::collections::BTreeMap::new();
        for _ in 0..4000 {
            let member = set.view().random(&mut rng).map(|m| m.to_vec());
            *seen.entry(member).or_insert(0) += 1;
        }
        assert_eq!(seen.len(), 4);
        assert!(seen.values().all(|&n| (800..1200).contains(&n)), "{seen:?}");
    }
    assert!(Set::new().view().random(&mut rng).is_none());
}

#[test]
fn a_sample_has_distinct_members() {
    let members: Vec<String> = (0..40).map(|i| format!("member-{i}")).collect();
    let names: Vec<&str> = members.iter().map(String::as_str).collect();
    for set in [of(&names, &Limits::DEFAULT), of(&names, &TINY)] {
        for count in [0, 1, 7, 20, 39, 40, 100] {
            let mut seen = BTreeSet::new();
            set.view().sample(count, &mut Rng::new(count as u64), |m| assert!(seen.insert(m.to_vec())));
            assert_eq!(seen.len(), count.min(40));
            assert!(seen.is_subset(&contents(&set)));
        }
    }
}

#[test]
fn a_scan_shows_small_sets_at_once_and_tables_in_steps() {
    let small = of(&["a", "b", "1"], &TINY);
    let mut seen = 0;
    assert_eq!(small.view().scan(0, 1, |_| seen += 1), 0);
    assert_eq!(seen, 3);
    let mut big = Set::new();
    for i in 0..1000 {
        big.add(format!("m{i}").as_bytes(), &TINY);
    }
    let (mut cursor, mut calls, mut all) = (0, 0, BTreeSet::new());
    loop {
        cursor = big.view().scan(cursor, 10, |m| {
            all.insert(m.to_vec());
        });
        calls += 1;
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(all, contents(&big));
    assert!(calls > 10, "{calls}");
}

#[derive(Debug, Clone)]
enum Step {
    Add(String),
    AddElement(i64),
    Remove(String),
    Pop(u64),
    PopMany(usize),
}

fn member() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[0-9]{1,2}", 1 => "-?[0-9]{5,19}", 2 => "[a-c]{0,2}", 1 => "[a-c]{6}"]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => member().prop_map(Step::Add),
        1 => any::<i64>().prop_map(Step::AddElement),
        3 => member().prop_map(Step::Remove),
        1 => any::<u64>().prop_map(Step::Pop),
        1 => (0usize..6).prop_map(Step::PopMany),
    ]
}

proptest! {
    #[test]
    fn a_set_is_a_set(ints in 0usize..8, packed in 0usize..8, steps in prop::collection::vec(step(), 0..80)) {
        let l = Limits { set_max_intset_entries: ints, set_max_listpack_entries: packed, ..TINY };
        let mut set = Set::new();
        let mut model = BTreeSet::new();
        for step in steps {
            match step {
                Step::Add(m) => prop_assert_eq!(set.add(m.as_bytes(), &l), model.insert(m.into_bytes())),
                Step::AddElement(v) => {
                    prop_assert_eq!(set.add_element(Element::Int(v), &l), model.insert(v.to_string().into_bytes()));
                }
                Step::Remove(m) => prop_assert_eq!(set.remove(m.as_bytes()), model.remove(m.as_bytes())),
                Step::Pop(seed) => match set.pop(&mut Rng::new(seed)) {
                    Some(m) => prop_assert!(model.remove(&m)),
                    None => prop_assert!(model.is_empty()),
                },
                Step::PopMany(count) => {
                    let before = model.len();
                    set.pop_many(count, &mut Rng::new(1), &l, |m| assert!(model.remove(m)));
                    prop_assert_eq!(before - model.len(), count.min(before));
                }
            }
            prop_assert_eq!(set.len(), model.len());
        }
        prop_assert_eq!(&contents(&set), &model);
        prop_assert_eq!(&contents(&set.view().to_owned()), &model);
        for m in &model {
            prop_assert!(set.view().contains(m) && set.view().contains_element(Element::of(m)));
        }
        prop_assert!(!set.view().contains(b"never"));
        prop_assert!(!set.view().contains_element(Element::Int(77_777)) || model.contains(&b"77777"[..]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn filling_is_adding_one_by_one(members in proptest::collection::vec("[a-c0-9]{0,6}", 0..9)) {
        let members: Vec<&[u8]> = members.iter().map(String::as_bytes).collect();
        let mut one_by_one = Set::Listpack(ListpackBuf::new());
        let all_new = members.iter().all(|member| one_by_one.add(member, &TINY));
        let mut filled = Set::Listpack(ListpackBuf::new());
        if filled.fill(&members, &TINY) {
            prop_assert!(all_new && matches!(one_by_one, Set::Listpack(_)));
            prop_assert_eq!(contents(&filled), contents(&one_by_one));
            prop_assert!(members.is_empty() || !filled.fill(&[b"other"], &TINY), "only an empty one is filled");
        } else {
            prop_assert!(filled.is_empty() && (!all_new || matches!(one_by_one, Set::Table(_))));
        }
    }
}
