//! The field table against a `BTreeMap`.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::FieldTable;
use crate::base::rng::Rng;
use crate::structure::hash::HashSeed;

type Twin = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

fn check(table: &FieldTable, twin: &Twin) {
    let all: Twin = table.iter().map(|(f, v, e)| (f.to_vec(), (v.to_vec(), e))).collect();
    assert_eq!(&all, twin);
    assert_eq!(table.len(), twin.len());
    let expiries = || twin.values().filter_map(|(_, expiry)| *expiry);
    assert_eq!(table.expiring(), expiries().count());
    assert_eq!(table.min_expiry(), expiries().min());
    assert!(table.earliest_bound() <= expiries().min());
    let mut scanned = Twin::new();
    let mut cursor = 0;
    loop {
        cursor = table.scan(cursor, |f, v, e| {
            scanned.insert(f.to_vec(), (v.to_vec(), e));
        });
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(&scanned, twin);
    let mut bytes = 0;
    table.iter().for_each(|(f, v, e)| bytes += super::Record::new(0, f, e, v).alloc_bytes());
    assert_eq!(table.record_bytes, bytes);
    match table.random(&mut Rng::new(5)) {
        None => assert!(twin.is_empty()),
        Some((f, v, e)) => assert_eq!(twin[f], (v.to_vec(), e)),
    }
}

#[derive(Debug, Clone)]
enum Step {
    Set(u8, usize, Option<i64>),
    Value(u8, usize),
    Expiry(u8, Option<i64>),
    Remove(u8),
    Expire(i64, usize),
    Clone,
}

fn steps() -> impl Strategy<Value = Step> {
    let expiry = || prop::option::of(0..50i64);
    prop_oneof![
        6 => (any::<u8>(), 0..200usize, expiry()).prop_map(|(f, len, e)| Step::Set(f, len, e)),
        2 => (any::<u8>(), 0..200usize).prop_map(|(f, len)| Step::Value(f, len)),
        3 => (any::<u8>(), expiry()).prop_map(|(f, e)| Step::Expiry(f, e)),
        3 => any::<u8>().prop_map(Step::Remove),
        1 => (0..60i64, prop_oneof![Just(usize::MAX), 0..4usize]).prop_map(|(n, l)| Step::Expire(n, l)),
        1 => Just(Step::Clone),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 3 } else { 128 }, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn fields_follow_the_twin(
        steps in prop::collection::vec(steps(), 1..if cfg!(miri) { 40 } else { 250 })
    ) {
        let (mut table, mut twin) = (FieldTable::new(HashSeed(1, 1)), Twin::new());
        for step in steps {
            match step {
                Step::Set(f, len, expiry) => {
                    let was = twin.insert(vec![f; 3], (vec![f; len], expiry)).is_some();
                    prop_assert_eq!(table.set(&[f; 3], &vec![f; len], expiry), was);
                }
                Step::Value(f, len) => {
                    let slot = twin.entry(vec![f; 3]).or_default();
                    slot.0 = vec![f; len];
                    table.set_value(&[f; 3], &vec![f; len]);
                }
                Step::Expiry(f, expiry) => {
                    let there = twin.get_mut(&vec![f; 3]).map(|slot| slot.1 = expiry).is_some();
                    prop_assert_eq!(table.set_expiry(&[f; 3], expiry), there);
                }
                Step::Remove(f) => {
                    let was = twin.remove(&vec![f; 3]).is_some();
                    prop_assert_eq!(table.remove(&[f; 3]), was);
                }
                Step::Expire(now, limit) => {
                    let due = twin.values().filter(|slot| slot.1.is_some_and(|e| e < now)).count();
                    let mut gone = Vec::new();
                    let count = table.remove_expired(now, limit, |f, _| gone.push(f.to_vec()));
                    prop_assert_eq!(count, due.min(limit));
                    prop_assert_eq!(gone.len(), count);
                    for field in gone {
                        let slot = twin.remove(&field).expect("only fields that are there go");
                        prop_assert!(slot.1.is_some_and(|e| e < now));
                    }
                }
                Step::Clone => table = table.clone(),
            }
        }
        check(&table, &twin);
        for field in twin.keys() {
            prop_assert_eq!(table.get(field), Some(&twin[field].0[..]));
        }
    }
}
