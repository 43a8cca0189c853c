//! Lists against a vector, conversions as stories, and the nodes that Valkey would make.

use proptest::prelude::*;

use super::{End, Limits, List, ListRef, NodeRef, Side, index_range};
use crate::packed::Element;
use crate::packed::listpack::ListpackBuf;

fn limits(size: i32) -> Limits {
    Limits { list_max_listpack_size: size, ..Limits::DEFAULT }
}

fn of(items: &[&[u8]], limits: &Limits) -> List {
    let mut list = List::new();
    for item in items {
        list.push(End::Back, item, limits);
    }
    list
}

fn contents(list: &List) -> Vec<Vec<u8>> {
    list.view().iter().map(|element| element.to_vec()).collect()
}

/// The nodes as text: `[a b]` for a packed one, `<n>` for a plain one of n bytes.
fn nodes(list: &List) -> String {
    let pack = |pack: crate::packed::listpack::Listpack<'_>| {
        let items: Vec<String> =
            pack.iter().map(|e| e.to_vec().escape_ascii().to_string().chars().take(3).collect()).collect();
        format!("[{}]", items.join(" "))
    };
    match list.view() {
        ListRef::Listpack(p) => pack(p),
        ListRef::Quicklist(quick) => quick
            .nodes()
            .map(|node| match node {
                NodeRef::Packed(p) => pack(p),
                NodeRef::Sealed(sealed) => pack(sealed.to_listpack().view()),
                NodeRef::Plain(bytes) => format!("<{}>", bytes.len()),
            })
            .collect(),
    }
}

#[test]
fn a_list_leaves_its_listpack_at_the_size_limit() {
    let l = Limits::DEFAULT;
    let mut list = List::new();
    let item = [b'x'; 61];
    while list.view().encoding_name() == "listpack" {
        list.push(End::Back, &item, &l);
    }
    // 129 elements of 63 bytes with header and end are 8134 bytes: 61 more pass 8192.
    assert_eq!(list.len(), 130);
    while list.view().encoding_name() == "quicklist" {
        assert!(list.pop(End::Back, &l).is_some());
    }
    // Back only when half of the limit holds it: 64 x 63 + 7 = 4039.
    assert_eq!(list.len(), 64);
}

#[test]
fn a_list_leaves_its_listpack_at_the_count_limit() {
    let l = limits(4);
    let mut list = of(&[b"a", b"b", b"c", b"d"], &l);
    assert_eq!(list.view().encoding_name(), "listpack");
    list.push(End::Back, b"e", &l);
    assert_eq!(nodes(&list), "[a b c d][e]");
    list.pop(End::Back, &l);
    assert_eq!(list.view().encoding_name(), "quicklist");
    list.pop(End::Back, &l);
    assert_eq!(list.view().encoding_name(), "quicklist");
    list.pop(End::Back, &l);
    assert_eq!((list.view().encoding_name(), list.len()), ("listpack", 2));
}

#[test]
fn pushing_many_decides_once_by_their_bytes() {
    let l = Limits::DEFAULT;
    let items = vec![&b"a"[..]; 3000];
    let mut at_once = List::new();
    at_once.push_all(End::Back, items.iter().copied(), &l);
    // 3000 bytes are below the limit although 3 bytes each in the listpack make 9007.
    assert_eq!(at_once.view().encoding_name(), "listpack");
    at_once.push(End::Back, b"a", &l);
    assert_eq!(at_once.view().encoding_name(), "quicklist");
}

#[test]
fn only_lists_of_many_nodes_are_pushed_to_as_such() {
    let limits = limits(4);
    for end in [End::Front, End::Back] {
        let mut list = of(&[b"1", b"2", b"3"], &limits);
        assert_eq!(list.push_to_nodes(end, &[b"4"], &limits), None);
        assert_eq!(contents(&list), [b"1", b"2", b"3"]);
        let mut list = of(&[b"1", b"2", b"3", b"4", b"5"], &limits);
        let mut twin = list.clone();
        let items: [&[u8]; 3] = [b"six", b"", b"8"];
        assert_eq!(list.push_to_nodes(end, &items, &limits), Some(8));
        twin.push_all(end, items.into_iter(), &limits);
        assert_eq!((contents(&list), nodes(&list)), (contents(&twin), nodes(&twin)));
    }
}

#[test]
fn a_large_element_gets_its_own_node() {
    let l = Limits::DEFAULT;
    let big = vec![b'z'; 8193];
    let mut list = of(&[b"a", b"b", b"c"], &l);
    assert!(list.insert_beside(b"b", Side::After, &big, &l));
    assert_eq!(nodes(&list), "[a b]<8193>[c]");
    assert!(list.set(1, &big, &l));
    assert_eq!(nodes(&list), "[a]<8193><8193>[c]");
    assert!(list.set(2, b"s", &l));
    // The element behind is in a node with room.
    assert_eq!(nodes(&list), "[a]<8193>[s c]");
    assert!(list.set(0, &big, &l));
    assert_eq!(nodes(&list), "<8193><8193>[s c]");
    assert!(list.insert_beside(&big, Side::Before, b"h", &l));
    assert_eq!(nodes(&list), "[h]<8193><8193>[s c]");
    assert_eq!(list.remove_equal(&big, End::Back, 1, &l), 1);
    assert_eq!(nodes(&list), "[h]<8193>[s c]");
    assert_eq!(list.remove_equal(&big, End::Front, 0, &l), 0);
}

#[test]
fn a_full_node_is_split_and_neighbours_merge() {
    let l = limits(3);
    let mut list = of(&[b"a", b"b", b"c", b"d", b"e", b"f"], &l);
    assert_eq!(nodes(&list), "[a b c][d e f]");
    assert!(list.insert_beside(b"e", Side::Before, b"x", &l));
    // The node is split before e, x joins d, and e f cannot join them.
    assert_eq!(nodes(&list), "[a b c][d x][e f]");
    assert!(list.insert_beside(b"c", Side::After, b"y", &l));
    assert_eq!(nodes(&list), "[a b c][y d x][e f]");
    assert!(list.insert_beside(b"y", Side::Before, b"z", &l));
    assert_eq!(nodes(&list), "[a b c][z][y d x][e f]");
    assert!(!list.insert_beside(b"nope", Side::Before, b"z", &l));
}

#[test]
fn nodes_of_a_file_are_kept() {
    let l = Limits::DEFAULT;
    let pack = |items: &[&[u8]]| {
        let mut pack = ListpackBuf::new();
        items.iter().for_each(|v| pack.push_back(v));
        pack
    };
    let mut list = List::new();
    list.push_node(pack(&[b"a", b"b"]));
    list.push_node(pack(&[]));
    list.push_plain(vec![b'q'; 5]);
    list.push_node(pack(&[b"1"]));
    list.settle(&l);
    assert_eq!(nodes(&list), "[a b]<5>[1]");
    assert_eq!(list.view().encoding_name(), "quicklist");

    let mut single = List::new();
    single.push_node(pack(&[b"a", b"b"]));
    single.settle(&l);
    assert_eq!(single.view().encoding_name(), "listpack");
    single.settle(&limits(1));
    assert_eq!(single.view().encoding_name(), "quicklist");

    let mut plain = List::new();
    plain.push_plain(vec![b'q'; 5]);
    plain.settle(&l);
    assert_eq!((plain.view().encoding_name(), plain.len()), ("quicklist", 1));
}

#[test]
fn ranges_count_as_lrange_does() {
    let cases = [
        (0, -1, 0..5),
        (-2, -1, 3..5),
        (-100, 1, 0..2),
        (3, 100, 3..5),
        (2, 1, 0..0),
        (5, 9, 0..0),
        (-100, -99, 0..0),
        (i64::MIN, i64::MAX, 0..5),
        (i64::MAX, i64::MIN, 0..0),
    ];
    for (start, stop, want) in cases {
        assert_eq!(index_range(5, start, stop), want, "{start} {stop}");
    }
    assert_eq!(index_range(0, 0, -1), 0..0);
    let list = of(&[b"a", b"b", b"c"], &Limits::DEFAULT);
    let view = list.view();
    assert_eq!(
        [view.resolve(0), view.resolve(-1), view.resolve(3), view.resolve(-4)],
        [Some(0), Some(2), None, None]
    );
    assert_eq!(view.resolve(i64::MIN), None);
}

#[test]
fn integers_are_found_by_their_text_only() {
    let list = of(&[b"1", b"01", b"1", b"x"], &Limits::DEFAULT);
    assert_eq!(list.view().positions(b"1").collect::<Vec<_>>(), [0, 2]);
    assert_eq!(list.view().positions(b"01").collect::<Vec<_>>(), [1]);
    assert_eq!(list.view().positions_back(b"1").collect::<Vec<_>>(), [2, 0]);
    assert_eq!(list.view().end(End::Back), Some(Element::Bytes(b"x")));
    assert_eq!(List::new().view().end(End::Front), None);
}

#[derive(Debug, Clone)]
enum Step {
    Push(End, Vec<Vec<u8>>),
    Pop(End),
    Set(usize, Vec<u8>),
    Insert(usize, Side, Vec<u8>),
    RemoveRange(usize, usize),
    Keep(usize, usize),
    RemoveEqual(Vec<u8>, End, usize),
}

fn item() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0u8..6).prop_map(|n| n.to_string().into_bytes()),
        4 => prop::collection::vec(b'a'..b'd', 0..4),
        1 => (0usize..3).prop_map(|n| vec![b'L'; 4090 + n * 10]),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Front), Just(End::Back)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (end(), prop::collection::vec(item(), 1..6)).prop_map(|(e, v)| Step::Push(e, v)),
        2 => end().prop_map(Step::Pop),
        3 => (any::<usize>(), item()).prop_map(|(i, v)| Step::Set(i, v)),
        3 => (any::<usize>(), prop_oneof![Just(Side::Before), Just(Side::After)], item())
            .prop_map(|(i, s, v)| Step::Insert(i, s, v)),
        1 => (any::<usize>(), 0usize..7).prop_map(|(i, n)| Step::RemoveRange(i, n)),
        1 => (0usize..6, 0usize..30).prop_map(|(a, b)| Step::Keep(a, b)),
        1 => (item(), end(), 0usize..4).prop_map(|(v, e, n)| Step::RemoveEqual(v, e, n)),
    ]
}

fn remove_equal(model: &mut Vec<Vec<u8>>, v: &[u8], from: End, most: usize) -> usize {
    let mut hits: Vec<usize> = (0..model.len()).filter(|&i| model[i] == v).collect();
    if from == End::Back {
        hits.reverse();
    }
    hits.truncate(most);
    hits.sort_unstable();
    hits.iter().rev().for_each(|&i| drop(model.remove(i)));
    hits.len()
}

fn apply(list: &mut List, model: &mut Vec<Vec<u8>>, step: Step, l: &Limits) {
    match step {
        Step::Push(end, items) => {
            list.push_all(end, items.iter().map(Vec::as_slice), l);
            for v in items {
                model.insert(if end == End::Front { 0 } else { model.len() }, v);
            }
        }
        Step::Pop(end) => {
            let want = match end {
                End::Front if model.is_empty() => None,
                End::Front => Some(model.remove(0)),
                End::Back => model.pop(),
            };
            assert_eq!(list.pop(end, l), want);
        }
        Step::Set(i, v) => {
            let i = i % (model.len() + 1);
            assert_eq!(list.set(i, &v, l), i < model.len());
            if let Some(old) = model.get_mut(i) {
                *old = v;
            }
        }
        Step::Insert(i, side, v) => {
            let i = i % (model.len() + 1);
            list.insert(i, side, &v, l);
            if i < model.len() {
                model.insert(i + usize::from(side == Side::After), v);
            }
        }
        Step::RemoveRange(i, n) => {
            let i = i % (model.len() + 1);
            let stop = (i + n).min(model.len());
            assert_eq!(list.remove_range(i, n, l), stop - i);
            model.drain(i..stop);
        }
        Step::Keep(a, b) => {
            let before = model.len();
            let (a, b) = (a.min(before), b.min(before).max(a.min(before)));
            model.truncate(b);
            model.drain(..a);
            assert_eq!(list.keep_range(a..b, l), before - model.len());
        }
        Step::RemoveEqual(v, from, most) => {
            assert_eq!(list.remove_equal(&v, from, most, l), remove_equal(model, &v, from, most));
        }
    }
}

fn check_readers(list: &List, model: &[Vec<u8>]) {
    let view = list.view();
    assert_eq!(contents(list), model);
    assert_eq!(view.len(), model.len());
    assert!(view.iter().rev().map(|e| e.to_vec()).eq(model.iter().rev().cloned()));
    for i in 0..=model.len() {
        assert_eq!(view.get(i).map(|e| e.to_vec()), model.get(i).cloned());
        assert!(view.iter_from(i).map(|e| e.to_vec()).eq(model[i..].iter().cloned()));
    }
    let mut ends = view.iter();
    let (mut lo, mut hi) = (0, model.len());
    while lo < hi {
        assert_eq!(ends.next().map(|e| e.to_vec()).as_deref(), Some(&model[lo][..]));
        lo += 1;
        if lo < hi {
            hi -= 1;
            assert_eq!(ends.next_back().map(|e| e.to_vec()).as_deref(), Some(&model[hi][..]));
        }
    }
    assert!(ends.next().is_none() && ends.next_back().is_none());
    if let ListRef::Quicklist(quick) = view {
        assert!(quick.nodes().all(|node| match node {
            NodeRef::Packed(pack) => !pack.is_empty(),
            NodeRef::Sealed(sealed) => !sealed.is_empty(),
            NodeRef::Plain(_) => true,
        }));
    }
}

proptest! {
    #[test]
    fn a_list_is_a_sequence(size in prop_oneof![Just(-1), Just(1), Just(2), Just(5)],
                            steps in prop::collection::vec(step(), 0..60)) {
        let l = limits(size);
        let mut list = List::new();
        let mut model = Vec::new();
        for step in steps {
            apply(&mut list, &mut model, step, &l);
        }
        check_readers(&list, &model);
    }
}

/// Elements that make nodes of them worth sealing, mostly.
fn alike() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![300 => "[a-c]bc", 1 => "[a-c]{4}", 1 => Just("12".to_owned())].prop_map(String::into_bytes)
}

fn numbers() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![300 => 900i64..1000, 1 => Just(-5), 1 => Just(i64::MIN)]
        .prop_map(|v| v.to_string().into_bytes())
}

fn with_items(step: Step, items: &[Vec<u8>]) -> Step {
    let item = |v: Vec<u8>| items[v.len() % items.len()].clone();
    match step {
        Step::Push(end, old) => Step::Push(end, items[..items.len().min(old.len() * 5)].to_vec()),
        Step::Set(i, v) => Step::Set(i, item(v)),
        Step::Insert(i, side, v) => Step::Insert(i, side, item(v)),
        Step::RemoveEqual(v, from, most) => Step::RemoveEqual(item(v), from, most),
        step => step,
    }
}

proptest! {
    #[test]
    fn sealed_nodes_are_nodes_like_others(
        items in prop_oneof![prop::collection::vec(alike(), 150..300), prop::collection::vec(numbers(), 150..300)],
        steps in prop::collection::vec(step(), 0..40),
    ) {
        let l = limits(20);
        let mut list = List::new();
        let mut model = Vec::new();
        for end in [End::Back, End::Front] {
            apply(&mut list, &mut model, Step::Push(end, items.clone()), &l);
        }
        let ListRef::Quicklist(quick) = list.view() else { panic!("the list is long") };
        let sealed = quick.nodes().filter(|node| matches!(node, NodeRef::Sealed(_))).count();
        prop_assert!(sealed > 0, "{}", nodes(&list));
        for step in steps {
            apply(&mut list, &mut model, with_items(step, &items), &l);
        }
        check_readers(&list, &model);
    }
}

#[test]
fn a_long_list_takes_less_than_its_listpacks() {
    for end in [End::Back, End::Front] {
        let l = Limits::DEFAULT;
        let mut list = List::new();
        for i in 100_000..200_000 {
            list.push(end, format!("element:{i}").as_bytes(), &l);
        }
        // Fourteen of sixteen bytes are text.
        assert!(list.memory_bytes() < 100_000 * 29 / 2, "{}", list.memory_bytes());
        let ListRef::Quicklist(quick) = list.view() else { panic!("the list is long") };
        assert!(quick.nodes().all(|node| match node {
            NodeRef::Packed(pack) => pack.as_bytes().len() <= 8192,
            NodeRef::Sealed(sealed) => sealed.packed_len() == 7 + 511 * 16,
            NodeRef::Plain(_) => false,
        }));
        // Popped down to the last one, nothing is lost on the way.
        for i in 100_000..200_000 {
            let other = if end == End::Back { End::Front } else { End::Back };
            assert_eq!(list.pop(other, &l), Some(format!("element:{i}").into_bytes()));
        }
        assert!(list.is_empty());
    }
}
