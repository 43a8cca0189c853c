//! Sorted sets against a map, in both forms; the thresholds; listpacks from files.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::malformed::Malformed;
use super::*;
use crate::base::rng::Rng;

type Model = BTreeMap<Vec<u8>, f64>;

fn limits(entries: usize, value: usize) -> Limits {
    Limits { zset_max_listpack_entries: entries, zset_max_listpack_value: value, ..Limits::DEFAULT }
}

fn sorted(model: &Model) -> Vec<(Vec<u8>, f64)> {
    let mut all: Vec<_> = model.iter().map(|(m, &s)| (m.clone(), s)).collect();
    all.sort_by(|a, b| a.1.partial_cmp(&b.1).expect("no NaN").then_with(|| a.0.cmp(&b.0)));
    all
}

fn owned<'a>(entries: impl Iterator<Item = (Element<'a>, f64)>) -> Vec<(Vec<u8>, f64)> {
    entries.map(|(m, s)| (m.to_vec(), s)).collect()
}

fn pairs(entries: &[(&str, &str)]) -> ListpackBuf {
    let mut pack = ListpackBuf::new();
    for (member, score) in entries {
        pack.push_back(member.as_bytes());
        pack.push_back(score.as_bytes());
    }
    pack
}

fn member() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => (0..60u32).prop_map(|n| n.to_string().into_bytes()),
        2 => (0..20u32).prop_map(|n| format!("m{n}").into_bytes()),
        1 => (0..4usize).prop_map(|n| vec![b'y'; 18 + n]),
    ]
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (-10..10i32).prop_map(f64::from),
        2 => (-20..20i32).prop_map(|n| f64::from(n) / 3.0),
        1 => prop::sample::select(vec![f64::INFINITY, f64::NEG_INFINITY, 1e300, 4.6e18, -4.7e18, 0.1]),
    ]
}

#[derive(Debug, Clone)]
enum Op {
    Add(Vec<u8>, NewScore, Presence, Change),
    Remove(Vec<u8>),
    PopMin,
    PopMax,
    RemoveRanks(u64, u64),
}

fn op() -> impl Strategy<Value = Op> {
    let new =
        (score(), any::<bool>()).prop_map(|(s, add)| if add { NewScore::Add(s) } else { NewScore::Set(s) });
    let presence =
        prop::sample::select(vec![Presence::Any, Presence::Any, Presence::New, Presence::Existing]);
    let change = prop::sample::select(vec![Change::Any, Change::Any, Change::Up, Change::Down]);
    prop_oneof![
        12 => (member(), new, presence, change).prop_map(|(m, s, p, c)| Op::Add(m, s, p, c)),
        4 => member().prop_map(Op::Remove),
        1 => Just(Op::PopMin),
        1 => Just(Op::PopMax),
        1 => (0..40u64, 0..10u64).prop_map(|(s, n)| Op::RemoveRanks(s, s + n)),
    ]
}

/// ZADD as the manual tells it.
fn add(model: &mut Model, m: &[u8], new: NewScore, presence: Presence, change: Change) -> AddOutcome {
    let old = model.get(m).copied();
    match (presence, old) {
        (Presence::New, Some(_)) | (Presence::Existing, None) => return AddOutcome::Refused,
        _ => {}
    }
    let score = match new {
        NewScore::Set(s) => s,
        NewScore::Add(s) => old.unwrap_or(0.0) + s,
    };
    if score.is_nan() {
        return AddOutcome::NotANumber;
    }
    match old {
        Some(old) if change == Change::Up && score <= old => AddOutcome::Refused,
        Some(old) if change == Change::Down && score >= old => AddOutcome::Refused,
        Some(old) if old == score => AddOutcome::Same(score),
        _ if model.insert(m.to_vec(), score).is_some() => AddOutcome::Updated(score),
        _ => AddOutcome::Added(score),
    }
}

fn compare(zset: &Zset, model: &Model) {
    let all = sorted(model);
    let view = zset.view();
    assert_eq!(view.len(), all.len());
    assert_eq!(owned(view.iter()), all);
    let mut back = owned(view.iter().rev());
    back.reverse();
    assert_eq!(back, all);
    for (rank, (m, s)) in all.iter().enumerate() {
        assert_eq!(view.score(m), Some(*s));
        assert_eq!(view.rank(m), Some((rank as u64, *s)));
        assert_eq!(view.rev_rank(m), Some(((all.len() - 1 - rank) as u64, *s)));
    }
    assert_eq!(view.score(b"nobody"), None);
    for start in 0..5u64.min(all.len() as u64) {
        for end in start..all.len() as u64 {
            assert_eq!(owned(view.range(start..end)), all[start as usize..end as usize]);
        }
    }
    let mut seen = Vec::new();
    let mut cursor = 0;
    loop {
        cursor = view.scan(cursor, 3, |m, s| seen.push((m.to_vec(), s)));
        if cursor == 0 {
            break;
        }
    }
    seen.sort_by(|a, b| a.0.cmp(&b.0));
    let by_name: Vec<_> = model.iter().map(|(m, &s)| (m.clone(), s)).collect();
    assert_eq!(seen, by_name);
    assert_eq!(owned(view.to_owned().view().iter()), all);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn both_forms_match_a_map(ops in prop::collection::vec(op(), 0..150), entries in 0..40usize) {
        let limits = limits(entries, 20);
        let mut zset = Zset::new();
        let mut model = Model::new();
        for op in ops {
            match op {
                Op::Add(m, s, p, c) => {
                    assert_eq!(zset.add(&m, s, p, c, &limits), add(&mut model, &m, s, p, c));
                }
                Op::Remove(m) => assert_eq!(zset.remove(&m), model.remove(&m)),
                Op::PopMin | Op::PopMax => {
                    let all = sorted(&model);
                    let min = matches!(op, Op::PopMin);
                    let want = if min { all.first() } else { all.last() };
                    let got = if min { zset.pop_min() } else { zset.pop_max() };
                    assert_eq!(got.as_ref(), want);
                    want.map(|(m, _)| model.remove(m));
                }
                Op::RemoveRanks(start, end) => {
                    let gone: Vec<_> = sorted(&model)
                        .into_iter().skip(start as usize).take((end - start) as usize).collect();
                    assert_eq!(zset.remove_ranks(start..end), gone.len() as u64);
                    model.retain(|m, _| gone.iter().all(|(g, _)| g != m));
                }
            }
            if let Zset::Listpack(pack) = &zset {
                assert!(Listpack::new(pack.as_bytes()).is_ok());
            }
        }
        compare(&zset, &model);
        zset.settle(&limits);
        compare(&zset, &model);
    }

    #[test]
    fn ranges_match_a_filter(
        entries in prop::collection::btree_map(member(), score(), 0..60),
        bounds in prop::collection::vec((score(), any::<bool>(), score(), any::<bool>()), 1..10),
        names in prop::collection::vec((member(), 0..4u8, member(), 0..4u8), 1..10),
    ) {
        for max in [0, 1000] {
            let limits = limits(max, 1000);
            let mut zset = Zset::new();
            let mut flat = Zset::new();
            for (m, &s) in &entries {
                zset.insert(m, s, &limits);
                flat.insert(m, 3.0, &limits);
            }
            let all = sorted(&entries);
            let bound = |s: f64, with: bool| if with { ScoreBound::Inclusive(s) } else { ScoreBound::Exclusive(s) };
            for &(min, with_min, high, with_max) in &bounds {
                let range = ScoreRange { min: bound(min, with_min), max: bound(high, with_max) };
                let want: Vec<_> = all.iter().filter(|e| {
                    (e.1 > min || (with_min && e.1 == min)) && (e.1 < high || (with_max && e.1 == high))
                }).cloned().collect();
                let ranks = zset.view().score_ranks(&range);
                assert_eq!(ranks.end - ranks.start, want.len() as u64);
                assert_eq!(owned(zset.view().range(ranks)), want);
            }
            for (low, low_kind, high, high_kind) in &names {
                fn lex(s: &[u8], kind: u8) -> LexBound<'_> {
                    match kind {
                        0 => LexBound::Inclusive(s),
                        1 => LexBound::Exclusive(s),
                        2 => LexBound::Min,
                        _ => LexBound::Max,
                    }
                }
                let range = LexRange { min: lex(low, *low_kind), max: lex(high, *high_kind) };
                let want: Vec<_> = entries.keys().filter(|m| {
                    let above = match low_kind { 0 => *m >= low, 1 => *m > low, 2 => true, _ => false };
                    let below = match high_kind { 0 => *m <= high, 1 => *m < high, 2 => false, _ => true };
                    above && below
                }).cloned().collect();
                let ranks = flat.view().lex_ranks(&range);
                let got: Vec<_> = flat.view().range(ranks).map(|(m, _)| m.to_vec()).collect();
                assert_eq!(got, want);
            }
        }
    }
}

#[test]
fn one_member_too_many_makes_a_tree() {
    let limits = Limits::DEFAULT;
    let mut zset = Zset::new();
    for n in 0..128u32 {
        zset.insert(n.to_string().as_bytes(), f64::from(n), &limits);
    }
    assert_eq!(zset.view().encoding_name(), "listpack");
    zset.insert(b"5", 1e9, &limits);
    assert_eq!(zset.view().encoding_name(), "listpack", "an update adds nothing");
    zset.insert(b"128", 1.0, &limits);
    assert_eq!(zset.view().encoding_name(), "skiplist");
    zset.remove_ranks(0..100);
    assert_eq!(zset.view().encoding_name(), "skiplist", "removal never converts back");
    zset.settle(&limits);
    assert_eq!(zset.view().encoding_name(), "listpack");
}

#[test]
fn one_byte_too_long_makes_a_tree() {
    let limits = Limits::DEFAULT;
    let mut zset = Zset::new();
    zset.insert(&[b'a'; 64], 1.0, &limits);
    assert_eq!(zset.view().encoding_name(), "listpack");
    zset.insert(&[b'b'; 65], 1.0, &limits);
    assert_eq!(zset.view().encoding_name(), "skiplist");
    zset.settle(&limits);
    assert_eq!(zset.view().encoding_name(), "skiplist");
}

#[test]
fn hints_choose_the_form() {
    assert_eq!(Zset::with_hint(128, 64, &Limits::DEFAULT).view().encoding_name(), "listpack");
    assert_eq!(Zset::with_hint(129, 1, &Limits::DEFAULT).view().encoding_name(), "skiplist");
    assert_eq!(Zset::with_hint(1, 65, &Limits::DEFAULT).view().encoding_name(), "skiplist");
}

#[test]
fn scores_are_written_as_valkey_writes_them() {
    for (score, element) in [
        (3.0, Element::Int(3)),
        (-0.0, Element::Int(0)),
        (4_611_686_018_427_387_904.0, Element::Int(1 << 62)),
        (9_223_372_036_854_775_808.0, Element::Bytes(b"9223372036854776000")),
        (0.1, Element::Bytes(b"0.1")),
        (f64::INFINITY, Element::Bytes(b"inf")),
        (f64::NEG_INFINITY, Element::Bytes(b"-inf")),
        (1e300, Element::Bytes(b"1e+300")),
    ] {
        let mut zset = Zset::new();
        zset.insert(b"m", score, &Limits::DEFAULT);
        let Zset::Listpack(pack) = &zset else { panic!("one member is small") };
        assert_eq!(pack.view().get(1), Some(element), "{score}");
        assert_eq!(zset.view().score(b"m"), Some(score));
    }
}

#[test]
fn a_tree_keeps_the_sign_of_zero() {
    let limits = limits(0, 64);
    let mut zset = Zset::new();
    zset.insert(b"m", -0.0, &limits);
    assert!(zset.view().score(b"m").expect("there").is_sign_negative());
    let same = zset.add(b"m", NewScore::Set(0.0), Presence::Any, Change::Any, &limits);
    assert_eq!(same, AddOutcome::Same(0.0));
    assert!(zset.view().score(b"m").expect("there").is_sign_negative());
}

#[test]
fn a_listpack_from_a_file_stays_as_it_is() {
    let pack = pairs(&[("b", "-inf"), ("a", "0.10000000000000001"), ("a0", "0.1"), ("7", "3")]);
    let zset = Zset::from_pack(pack.clone(), &Limits::DEFAULT).expect("in order");
    let Zset::Listpack(kept) = &zset else { panic!("four members are small") };
    assert_eq!(kept.as_bytes(), pack.as_bytes());
    assert_eq!(zset.view().score(b"a"), Some(0.1));
}

#[test]
fn a_listpack_out_of_order_is_put_in_order() {
    let zset =
        Zset::from_pack(pairs(&[("b", "2"), ("a", "2"), ("c", "-1")]), &Limits::DEFAULT).expect("a set");
    assert_eq!(
        owned(zset.view().iter()),
        [(b"c".to_vec(), -1.0), (b"a".to_vec(), 2.0), (b"b".to_vec(), 2.0)]
    );
    let zset = Zset::from_pack(pairs(&[("a", "1"), ("b", "2")]), &limits(1, 64)).expect("a set");
    assert_eq!(zset.view().encoding_name(), "skiplist");
}

#[test]
fn bad_listpacks_are_told_apart() {
    let check = |pack: ListpackBuf, want: Malformed| {
        assert_eq!(Zset::from_pack(pack, &Limits::DEFAULT).map(|_| ()), Err(want));
    };
    let mut odd = pairs(&[("a", "1")]);
    odd.push_back(b"b");
    check(odd, Malformed::Incomplete { elements: 3, group: 2 });
    check(pairs(&[("a", "1"), ("b", "nan")]), Malformed::BadScore { index: 1 });
    check(pairs(&[("a", "x")]), Malformed::BadScore { index: 0 });
    check(pairs(&[("a", "1"), ("b", "2"), ("a", "3")]), Malformed::Duplicate { index: 2 });
}

#[test]
fn trusted_bytes_that_name_a_member_twice_do_no_harm() {
    let twice = pairs(&[("a", "1"), ("b", "2"), ("a", "3")]);
    let mut zset = Zset::Listpack(twice);
    zset.expect_members(1000, 1, &Limits::DEFAULT);
    assert_eq!(zset.view().score(b"a"), Some(3.0));
    assert_eq!(zset.len(), 2);
}

#[test]
fn a_builder_picks_the_form() {
    let build = |n: u32, longest: usize| {
        let mut builder = ZsetBuilder::new(&Limits::DEFAULT);
        for i in (0..n).rev() {
            builder.push(format!("{i:0longest$}").as_bytes(), f64::from(i)).expect("all differ");
        }
        builder.finish(&Limits::DEFAULT).expect("all differ")
    };
    assert_eq!(build(128, 64).view().encoding_name(), "listpack");
    assert_eq!(build(129, 3).view().encoding_name(), "skiplist");
    assert_eq!(build(2, 65).view().encoding_name(), "skiplist");
    assert_eq!(build(1000, 3).view().rank(b"010"), Some((10, 10.0)));
    assert!(build(0, 1).is_empty());
}

#[test]
fn random_members_are_all_met() {
    for entries in [0, 100] {
        let mut zset = Zset::new();
        for n in 0..10u32 {
            zset.insert(n.to_string().as_bytes(), 0.0, &limits(entries, 64));
        }
        let mut rng = Rng::new(7);
        let met: std::collections::HashSet<_> =
            (0..300).map(|_| zset.view().random(&mut rng).expect("there are some").0.to_vec()).collect();
        assert_eq!(met.len(), 10);
    }
}

#[test]
fn samples_are_distinct_and_meet_everybody() {
    for (entries, count) in [(0, 2), (0, 5), (100, 5), (0, 40), (0, 100), (100, 0), (0, 0)] {
        let mut zset = Zset::new();
        for n in 0..40u32 {
            zset.insert(n.to_string().as_bytes(), f64::from(n), &limits(entries, 64));
        }
        let mut rng = Rng::new(7);
        let mut met = std::collections::HashSet::new();
        for _ in 0..300 {
            let mut sample = Vec::new();
            zset.view().sample(count, &mut rng, |member, score| {
                assert_eq!(member.to_vec(), score.to_string().into_bytes());
                sample.push(member.to_vec());
            });
            assert_eq!(sample.len(), count.min(40));
            let distinct: std::collections::HashSet<_> = sample.iter().cloned().collect();
            assert_eq!(distinct.len(), sample.len());
            met.extend(distinct);
        }
        assert_eq!(met.len(), if count == 0 { 0 } else { 40 });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn filling_is_adding_one_by_one(
        members in proptest::collection::vec(("[a-c0-9]{0,6}", prop_oneof![Just(-0.0), Just(0.0), -2.0..2.0f64]), 0..9)
    ) {
        let limits = Limits { zset_max_listpack_entries: 6, zset_max_listpack_value: 5, ..Limits::DEFAULT };
        let mut pairs: Vec<(&[u8], f64)> = members.iter().map(|(member, score)| (member.as_bytes(), *score)).collect();
        let mut one_by_one = Zset::new();
        let is_new = |done: AddOutcome| matches!(done, AddOutcome::Added(_));
        let all_new = members.iter().all(|(member, score)| {
            is_new(one_by_one.add(member.as_bytes(), NewScore::Set(*score), Presence::Any, Change::Any, &limits))
        });
        let mut filled = Zset::new();
        if filled.fill(&mut pairs, &limits) {
            prop_assert!(all_new);
            match (&filled, &one_by_one) {
                (Zset::Listpack(a), Zset::Listpack(b)) => prop_assert_eq!(a.as_bytes(), b.as_bytes()),
                _ => prop_assert!(false, "both are small"),
            }
        } else {
            prop_assert!(filled.is_empty() && (!all_new || matches!(one_by_one, Zset::Tree(_))));
        }
    }
}

proptest! {
    #[test]
    fn pairs_of_a_file_are_the_sorted_set_that_a_tree_makes_of_them(
        sets in prop::collection::vec(prop::collection::vec((member(), score()), 0..20), 1..4),
        order in 0..3,
        entries in 0usize..20,
        value in 0usize..24,
    ) {
        let l = limits(entries, value);
        let mut loader = ZsetLoader::default();
        for mut pairs in sets {
            if order > 0 {
                pairs.sort_by(|a, b| a.1.partial_cmp(&b.1).expect("no NaN").then_with(|| a.0.cmp(&b.0)));
            }
            if order > 1 {
                pairs.reverse();
            }
            let mut tree = ZsetBuilder::new(&l);
            let built = pairs.iter().try_for_each(|(member, score)| tree.push(member, *score));
            let expected = built.and_then(|()| tree.finish(&l)).ok();
            loader.begin(pairs.len(), &l);
            let pushed = pairs.iter().try_for_each(|(member, score)| loader.push(member, *score, &l));
            let got = pushed.and_then(|()| loader.finish(&l).map(LoadedZset::into_zset)).ok();
            prop_assert_eq!(got.is_some(), expected.is_some());
            let (Some(got), Some(expected)) = (got, expected) else { continue };
            prop_assert_eq!(got.view().encoding_name(), expected.view().encoding_name());
            prop_assert_eq!(owned(got.view().iter()), owned(expected.view().iter()));
            if let (Zset::Listpack(got), Zset::Listpack(expected)) = (&got, &expected) {
                prop_assert_eq!(got.as_bytes(), expected.as_bytes());
            }
        }
    }
}
