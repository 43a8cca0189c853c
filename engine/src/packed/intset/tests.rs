use super::{Intset, IntsetBuf, Width};
use proptest::prelude::*;
use std::collections::BTreeSet;

#[track_caller]
fn check_same(set: &IntsetBuf, model: &BTreeSet<i64>) {
    let view = Intset::new(set.as_bytes()).expect("an editor's bytes are valid");
    assert_eq!(view.len(), model.len());
    assert!(view.iter().eq(model.iter().copied()));
    assert!(view.iter().rev().eq(model.iter().rev().copied()));
    assert_eq!(view.first(), model.first().copied());
    assert_eq!(view.last(), model.last().copied());
    assert!(model.iter().enumerate().all(|(i, &v)| view.position(v) == Ok(i) && view.get(i) == Some(v)));
}

#[test]
fn bytes_are_those_of_redis() {
    let mut set = IntsetBuf::new();
    assert_eq!(set.as_bytes(), b"\x02\0\0\0\0\0\0\0");
    assert!(set.insert(3));
    assert!(set.insert(-2));
    assert!(!set.insert(3));
    assert_eq!(set.as_bytes(), b"\x02\0\0\0\x02\0\0\0\xfe\xff\x03\0");
    assert!(set.insert(65_536));
    assert_eq!(set.as_bytes(), b"\x04\0\0\0\x03\0\0\0\xfe\xff\xff\xff\x03\0\0\0\0\0\x01\0");
    assert!(set.insert(i64::MIN));
    assert_eq!(set.view().width(), Width::I64);
    assert!(set.remove(i64::MIN));
    assert!(!set.remove(i64::MIN));
    assert_eq!(set.view().width(), Width::I64, "the width never shrinks");
    assert_eq!(set.view().iter().collect::<Vec<_>>(), [-2, 3, 65_536]);
    assert!(!set.view().contains(4));
    assert_eq!(set.view().position(4), Err(2));
}

#[test]
fn widths_at_their_edges() {
    for (v, width) in [
        (32_767, Width::I16),
        (-32_768, Width::I16),
        (32_768, Width::I32),
        (-32_769, Width::I32),
        (2_147_483_647, Width::I32),
        (-2_147_483_648, Width::I32),
        (2_147_483_648, Width::I64),
        (-2_147_483_649, Width::I64),
    ] {
        assert_eq!(IntsetBuf::from_iter([0, v, 1]).view().width(), width, "{v}");
    }
}

#[test]
fn what_is_wrong_is_said_exactly() {
    #[track_caller]
    fn check(bytes: &[u8], at: usize, text: &str) {
        let e = Intset::new(bytes).expect_err(text);
        assert_eq!((e.at, e.to_string().as_str()), (at, text));
    }
    check(b"\x02\0\0", 0, "3 bytes are too few, the header and the end alone take 8");
    check(b"\x03\0\0\0\0\0\0\0", 0, "integers cannot be 3 bytes wide");
    check(b"\x02\0\0\0\x02\0\0\0\x01\0", 4, "the header declares 12 bytes, there are 10");
    check(b"\x08\0\0\0\xff\xff\xff\xff", 4, "the header declares 34359738368 bytes, there are 8");
    check(b"\x02\0\0\0\x02\0\0\0\x01\0\x01\0", 10, "member 1 is not greater than the one before it");
    check(b"\x02\0\0\0\x02\0\0\0\x01\0\xff\xff", 10, "member 1 is not greater than the one before it");
}

fn walk(set: Intset<'_>) {
    let count = set.iter().count();
    assert_eq!(set.iter().rev().count(), count);
    assert_eq!(set.len(), count);
    let _ = (set.first(), set.last(), set.contains(7), set.get(usize::MAX));
}

#[test]
fn every_damaged_byte_is_refused_or_walks_fine() {
    let samples = [vec![], vec![1, 2, 3], vec![-70_000, 5, 70_000], vec![i64::MIN, -1, i64::MAX]];
    for members in samples {
        let good = members.into_iter().collect::<IntsetBuf>().into_bytes();
        for at in 0..good.len() {
            for byte in 0..=255 {
                let mut bytes = good.clone();
                bytes[at] = byte;
                walk(Intset::trusted(&bytes));
                if let Ok(set) = Intset::new(&bytes) {
                    walk(set);
                    assert!(set.iter().is_sorted_by(|a, b| a < b));
                }
            }
        }
        for len in 0..good.len() {
            assert!(Intset::new(&good[..len]).is_err());
            walk(Intset::trusted(&good[..len]));
        }
    }
}

proptest! {
    #[test]
    fn edits_agree_with_a_tree(edits in proptest::collection::vec((any::<bool>(), any::<i64>(), 0u32..64), 0..80)) {
        let mut set = IntsetBuf::new();
        let mut model = BTreeSet::new();
        for (add, v, shift) in edits {
            let v = v >> shift;
            if add || shift > 60 {
                prop_assert_eq!(set.insert(v), model.insert(v));
            } else {
                let v = model.range(v..).next().copied().unwrap_or(v);
                prop_assert_eq!(set.remove(v), model.remove(&v));
            }
            check_same(&set, &model);
        }
    }

    #[test]
    fn what_ascends_is_a_set_at_once(members in proptest::collection::vec((any::<i64>(), 0u32..64), 0..20)) {
        let members: Vec<i64> = members.into_iter().map(|(v, shift)| v >> shift).collect();
        let model: BTreeSet<i64> = members.iter().copied().collect();
        let in_order: Vec<i64> = model.iter().copied().collect();
        let set = IntsetBuf::from_ascending(&in_order);
        check_same(&set.expect("they ascend"), &model);
        prop_assert!(members == in_order || members.len() < 2 || IntsetBuf::from_ascending(&members).is_none());
    }

    #[test]
    fn any_bytes_are_safe_to_walk(bytes in proptest::collection::vec(0u8..10, 0..40)) {
        walk(Intset::trusted(&bytes));
        if let Ok(set) = Intset::new(&bytes) {
            walk(set);
        }
    }
}
