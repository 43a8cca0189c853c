//! The tree against a sorted vector, with leaves and inner nodes so small that all cases occur.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::inner::prefix_of;
use super::leaf::cmp_scores;
use super::*;
use crate::base::rng::Rng;

type Small = ScoreTree<48, 4>;
type Model = BTreeMap<Vec<u8>, f64>;

impl<const LEAF: usize, const FANOUT: usize> ScoreTree<LEAF, FANOUT> {
    /// Walks everything and compares each cached number with what it stands for.
    fn check(&self) {
        let mut chain = Vec::new();
        let (mut id, mut prev) = (self.first, NONE);
        while id != NONE {
            assert_eq!(self.leaf(id).prev, prev);
            chain.push(id);
            (prev, id) = (id, self.leaf(id).next);
        }
        assert_eq!(self.last, prev);
        let mut level: Vec<u32> = vec![self.root];
        assert_eq!(self.parent_of(self.height, self.root), NONE);
        for above in (0..self.height).rev() {
            let mut below = Vec::new();
            for &node in &level {
                let children = &self.inner(node).children;
                assert!(!children.is_empty() && children.len() <= FANOUT);
                for i in 0..children.len() {
                    let child = children.at(i);
                    assert_eq!(self.parent_of(above, child.node), node);
                    assert_eq!(child, self.summary(above, child.node));
                    below.push(child.node);
                }
            }
            level = below;
        }
        assert!(self.height == 0 || self.inner(self.root).children.len() > 1);
        assert_eq!(level, chain);
        let mut entries = 0;
        let mut last: Option<(f64, Vec<u8>)> = None;
        for &id in &chain {
            let leaf = self.leaf(id);
            assert!(leaf.len() > 0 || self.height == 0);
            for slot in 0..leaf.len() {
                let (score, member) = (leaf.score(slot), leaf.member(slot).to_vec());
                if let Some((s, m)) = &last {
                    assert!(cmp_scores(*s, score).then_with(|| m.cmp(&member)).is_lt());
                }
                assert_eq!(leaf.tag(slot), tag_of(self.seed.hash(&member)) as u8);
                last = Some((score, member));
                entries += 1;
            }
        }
        assert_eq!(self.len, entries);
        self.index.check(&self.hashed(), self.len);
    }
}

fn sorted(model: &Model) -> Vec<(Vec<u8>, f64)> {
    let mut all: Vec<_> = model.iter().map(|(m, &s)| (m.clone(), s)).collect();
    all.sort_by(|a, b| cmp_scores(a.1, b.1).then_with(|| a.0.cmp(&b.0)));
    all
}

fn owned<'a>(entries: impl Iterator<Item = (&'a [u8], f64)>) -> Vec<(Vec<u8>, f64)> {
    entries.map(|(m, s)| (m.to_vec(), s)).collect()
}

/// Equal with the sign of zero.
fn assert_same(left: &[(Vec<u8>, f64)], right: &[(Vec<u8>, f64)]) {
    assert_eq!(left, right);
    assert!(left.iter().zip(right).all(|(l, r)| l.1.to_bits() == r.1.to_bits()));
}

fn compare<const L: usize, const F: usize>(tree: &ScoreTree<L, F>, model: &Model) {
    let all = sorted(model);
    tree.check();
    assert_eq!(tree.len(), all.len() as u64);
    assert_same(&owned(tree.iter()), &all);
    let mut back = owned(tree.iter().rev());
    back.reverse();
    assert_same(&back, &all);
    for (rank, (member, score)) in all.iter().enumerate() {
        assert_eq!(tree.rank(member), Some((rank as u64, *score)));
        assert_eq!(tree.score(member), Some(*score));
        assert_eq!(tree.at(rank as u64), Some((&member[..], *score)));
    }
    assert_eq!(tree.at(all.len() as u64), None);
}

#[derive(Debug, Clone)]
enum Op {
    Insert(Vec<u8>, f64),
    Remove(Vec<u8>),
    RemoveAt(usize),
    PopFirst,
    PopLast,
    RemoveRange(usize, usize),
}

fn member() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        20 => (0..400u32).prop_map(|n| n.to_string().into_bytes()),
        3 => (0..40u32).prop_map(|n| format!("a long common prefix {n}").into_bytes()),
        1 => (0..10u32).prop_map(|n| vec![b'x'; 30 + n as usize * 40]),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ]
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => (-20..20i32).prop_map(f64::from),
        4 => (0..100_000i32).prop_map(f64::from),
        2 => any::<i64>().prop_map(|n| n as f64),
        2 => (-20..20i32).prop_map(|n| f64::from(n) / 4.0),
        1 => prop::sample::select(vec![0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, 9_007_199_254_740_993.0]),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (member(), score()).prop_map(|(m, s)| Op::Insert(m, s)),
        2 => member().prop_map(Op::Remove),
        4 => any::<usize>().prop_map(Op::RemoveAt),
        1 => Just(Op::PopFirst),
        1 => Just(Op::PopLast),
        1 => (any::<usize>(), 0..40usize).prop_map(|(at, n)| Op::RemoveRange(at, n)),
    ]
}

fn apply<const L: usize, const F: usize>(tree: &mut ScoreTree<L, F>, model: &mut Model, op: Op) {
    match op {
        Op::Insert(m, s) => assert_eq!(tree.insert(&m, s), model.insert(m, s)),
        Op::Remove(m) => assert_eq!(tree.remove(&m), model.remove(&m)),
        Op::RemoveAt(n) if !model.is_empty() => {
            let m = model.keys().nth(n % model.len()).cloned().expect("in range");
            assert_eq!(tree.remove(&m), model.remove(&m));
        }
        Op::RemoveAt(_) => {}
        Op::PopFirst | Op::PopLast => {
            let all = sorted(model);
            let (want, got) = match op {
                Op::PopFirst => (all.first(), tree.pop_first()),
                _ => (all.last(), tree.pop_last()),
            };
            assert_eq!(want, got.as_ref());
            want.map(|(m, _)| model.remove(m));
        }
        Op::RemoveRange(at, n) => {
            let all = sorted(model);
            let at = at % (all.len() + 1);
            let end = (at + n).min(all.len());
            assert_eq!(tree.remove_range(at as u64, (at + n) as u64), (end - at) as u64);
            for (m, _) in &all[at..end] {
                model.remove(m);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn edits_match_a_sorted_vector(ops in prop::collection::vec(op(), 0..600)) {
        let mut tree = Small::new(HashSeed(1, 2));
        let mut model = Model::new();
        for (i, op) in ops.into_iter().enumerate() {
            apply(&mut tree, &mut model, op);
            if i % 97 == 0 {
                compare(&tree, &model);
            }
        }
        compare(&tree, &model);
        while let Some((m, s)) = tree.pop_last() {
            assert_eq!(model.remove(&m), Some(s));
        }
        compare(&tree, &model);
    }

    #[test]
    fn bounds_match_a_sorted_vector(
        entries in prop::collection::btree_map(member(), score(), 0..200),
        bounds in prop::collection::vec(score(), 1..20),
        names in prop::collection::vec(member(), 1..20),
    ) {
        let mut tree = Small::new(HashSeed(1, 2));
        for (m, &s) in &entries {
            tree.insert(m, s);
        }
        let all = sorted(&entries);
        for bound in bounds {
            let below = all.iter().filter(|e| e.1 < bound).count() as u64;
            assert_eq!(tree.count_scores(|s| s < bound), below);
            let upto = all.iter().filter(|e| e.1 <= bound).count() as u64;
            assert_eq!(tree.count_scores(|s| s <= bound), upto);
            assert_same(&owned(tree.range(below, upto)), &all[below as usize..upto as usize]);
            let mut back = owned(tree.range(below, upto).rev());
            back.reverse();
            assert_same(&back, &all[below as usize..upto as usize]);
        }
        let mut flat = Small::new(HashSeed(1, 2));
        for m in entries.keys() {
            flat.insert(m, 7.0);
        }
        for name in names {
            let below = entries.keys().filter(|m| **m < name).count() as u64;
            assert_eq!(flat.count_members(|m| m < &name[..]), below);
        }
    }

    #[test]
    fn built_in_any_order_it_is_the_same_tree(
        entries in prop::collection::btree_map(member(), score(), 0..300),
        order in 0..3u8,
        swaps in prop::collection::vec((any::<usize>(), any::<usize>()), 0..3),
    ) {
        let mut list = sorted(&entries);
        if order == 1 {
            list.reverse();
        }
        if order == 2 && !list.is_empty() {
            for (a, b) in swaps {
                let n = list.len();
                list.swap(a % n, b % n);
            }
        }
        let mut builder = Builder::<48, 4>::new(HashSeed(3, 4));
        for (m, s) in &list {
            builder.push(m, *s).unwrap();
        }
        let mut tree = builder.finish().unwrap();
        let mut model = entries;
        compare(&tree, &model);
        for n in 0..50 {
            apply(&mut tree, &mut model, Op::Insert(n.to_string().into_bytes(), f64::from(n)));
            apply(&mut tree, &mut model, Op::PopFirst);
        }
        compare(&tree, &model);
    }

    #[test]
    fn a_builder_finds_what_comes_twice(n in 1..200usize, again in any::<usize>(), down in any::<bool>()) {
        let mut builder = Builder::<48, 4>::new(HashSeed(3, 4));
        let again = again % n;
        let mut outcome = Ok(());
        for i in 0..n {
            let score = if down { -(i as f64) } else { i as f64 };
            outcome = outcome.and(builder.push(i.to_string().as_bytes(), score));
        }
        assert_eq!(outcome, Ok(()));
        let twice = builder.push(again.to_string().as_bytes(), if down { -1e6 } else { 1e6 });
        prop_assert!(twice.and_then(|()| builder.finish().map(|_| ())).is_err());
    }
}

/// Whatever happens between the calls of a scan, members that stay are seen.
#[test]
fn a_scan_misses_nobody_who_stays() {
    for seed in 0..6u64 {
        let mut rng = Rng::new(seed);
        let mut tree = ScoreTree::<256, 16>::new(HashSeed(seed, 1));
        for n in 0..3000u32 {
            tree.insert(format!("stays {n}").as_bytes(), f64::from(n % 7));
        }
        let noise: Vec<Vec<u8>> = (0..9000u32).map(|n| format!("noise {n}").into_bytes()).collect();
        let mut seen = std::collections::HashSet::new();
        let mut cursor = 0;
        let mut growing = seed % 2 == 0;
        let mut at = if growing { 0 } else { noise.len() };
        if !growing {
            for m in &noise {
                tree.insert(m, 1.0);
            }
        }
        loop {
            cursor = tree.scan(cursor, 10, |m, _| {
                seen.insert(m.to_vec());
            });
            for _ in 0..rng.below(60) {
                if growing && at < noise.len() {
                    tree.insert(&noise[at], 2.0);
                    at += 1;
                } else if !growing && at > 0 {
                    at -= 1;
                    tree.remove(&noise[at]);
                }
            }
            if rng.below(40) == 0 {
                growing = !growing;
            }
            if cursor == 0 {
                break;
            }
        }
        tree.check();
        for n in 0..3000u32 {
            assert!(seen.contains(format!("stays {n}").as_bytes()), "member {n} was missed, seed {seed}");
        }
    }
}

#[test]
fn a_scan_of_a_quiet_tree_sees_each_once() {
    let mut tree = ScoreTree::<1024, 32>::new(HashSeed(5, 6));
    for n in 0..5000u32 {
        tree.insert(n.to_string().as_bytes(), f64::from(n));
    }
    let (mut seen, mut cursor, mut calls) = (Vec::new(), 0, 0);
    loop {
        cursor = tree.scan(cursor, 100, |m, _| seen.push(m.to_vec()));
        calls += 1;
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(seen.len(), 5000);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 5000);
    assert!((50..=60).contains(&calls), "{calls} calls");
}

#[test]
fn ordered_input_fills_the_leaves() {
    let mut up = ScoreTree::<1024, 32>::new(HashSeed(0, 0));
    let mut down = up.clone();
    for n in 0..20_000u32 {
        up.insert(n.to_string().as_bytes(), f64::from(n));
        down.insert(n.to_string().as_bytes(), -f64::from(n));
    }
    up.check();
    down.check();
    for tree in [&up, &down] {
        let each = tree.memory_bytes() as f64 / tree.len() as f64;
        assert!(each < 20.0, "{each} bytes a member");
    }
}

#[test]
fn a_built_tree_finds_its_members_whether_their_hashes_were_kept_or_not() {
    for count in [1, 99, 100, 101, 250u32] {
        for sign in [1.0, -1.0] {
            let mut builder = Builder::<48, 4>::new(HashSeed(3, 4));
            (0..count).for_each(|n| builder.push(n.to_string().as_bytes(), sign * f64::from(n)).unwrap());
            let tree = builder.finish().unwrap();
            tree.check();
            for n in 0..count {
                assert_eq!(tree.score(n.to_string().as_bytes()), Some(sign * f64::from(n)), "{n} of {count}");
            }
        }
    }
}

#[test]
fn large_trees_shrink_back() {
    let mut tree = ScoreTree::<1024, 32>::new(HashSeed(0, 0));
    let mut rng = Rng::new(1);
    for n in 0..60_000u32 {
        tree.insert(n.to_string().as_bytes(), rng.below(1000) as f64);
    }
    tree.check();
    let full = tree.memory_bytes();
    for n in 0..59_000u32 {
        assert!(tree.remove(n.to_string().as_bytes()).is_some());
    }
    tree.check();
    assert!(tree.memory_bytes() < full / 4);
    assert_eq!(tree.remove_range(0, u64::MAX), 1000);
    assert!(tree.is_empty());
    tree.check();
    assert_eq!(tree.insert(b"again", 1.0), None);
    assert_eq!(tree.pop_first(), Some((b"again".to_vec(), 1.0)));
    assert_eq!(tree.pop_first(), None);
}

#[test]
fn prefixes_order_as_their_strings() {
    assert!(prefix_of(b"a") < prefix_of(b"b"));
    assert!(prefix_of(b"") < prefix_of(b"\x01"));
    assert_eq!(prefix_of(b"a"), prefix_of(b"a\0"));
    assert!(prefix_of(b"12345678") < prefix_of(b"12345679"));
    assert_eq!(prefix_of(b"123456781"), prefix_of(b"123456782"));
}

#[test]
fn slots_of_a_score_are_found_in_every_form() {
    let forms: [&[f64]; 7] = [
        &[5.0, 5.0, 5.0],
        &[-3.0, 0.0, 0.0, 1.0, 200.0],
        &[-300.0, 0.0, 17.0, 17.0, 40_000.0],
        &[0.0, 1e5, 1e5, 4e9],
        &[-1.5, -0.0, 0.0, 0.5, 1e300, f64::INFINITY],
        &[f64::NEG_INFINITY, -9_007_199_254_740_992.0, 3.0],
        &[9_007_199_254_740_990.0, 9_007_199_254_740_991.0, 9_007_199_254_740_992.0],
    ];
    let asked = [0.0, -0.0, 0.5, 1.0, 5.0, 16.9, 17.0, 17.1, 199.0, 200.0, 1e5, 4e9, 4.5e9, 1e19, 1e300];
    let edges = [9_007_199_254_740_990.0, 9_007_199_254_740_991.0, 9_007_199_254_740_993.0, f64::INFINITY];
    for scores in forms {
        let mut parts = leaf::Parts::default();
        for (i, &score) in scores.iter().enumerate() {
            parts.push(0, score, &[i as u8]);
        }
        let leaf = Leaf::from_parts(&parts);
        for score in asked.iter().chain(&edges).flat_map(|s| [*s, -*s]) {
            let low = scores.iter().filter(|s| **s < score).count();
            let high = scores.iter().filter(|s| **s <= score).count();
            assert_eq!(leaf.lower_bound(score, b""), low, "{score} in {scores:?}");
            assert_eq!(leaf.lower_bound(score, b"\xff"), high, "{score} in {scores:?}");
        }
    }
}
