//! Expiry over databases, keys and fields, in steps of every size.

use super::{Gone, Sweep};
use crate::base::time::UnixMs;
use crate::keyspace::{Db, Keyspace};
use crate::value::hash::{FieldTtl, Hash};
use crate::value::{Limits, Value};

const KEYS: usize = if cfg!(miri) { 60 } else { 3000 };

fn hash(fields: usize, at: i64, limits: &Limits) -> Value {
    let mut hash = Hash::new();
    for field in 0..fields {
        hash.set_with(format!("f{field}").as_bytes(), b"v", FieldTtl::At(UnixMs(at)), UnixMs(0), limits);
    }
    Value::Hash(hash)
}

#[test]
fn everything_that_is_past_goes_in_steps_of_any_size() {
    let limits = Limits::DEFAULT;
    for budget in [1, 7, 100, usize::MAX] {
        let mut keyspace = Keyspace::new(4, [1, 2]);
        for i in 0..KEYS {
            let at = [None, Some(UnixMs(10)), Some(UnixMs(20)), Some(UnixMs(1000))][i % 4];
            keyspace.db_mut(i % 3).set_str(format!("k{i}").as_bytes(), b"v", at);
        }
        keyspace.db_mut(3).set(b"gone", hash(3, 15, &limits), None);
        keyspace.db_mut(3).set(b"gone too", hash(900, 15, &limits), None);
        let mut mixed = hash(5, 15, &limits);
        if let Value::Hash(hash) = &mut mixed {
            hash.set(b"stays", b"v", UnixMs(0), &limits);
        }
        keyspace.db_mut(3).set(b"stays", mixed, Some(UnixMs(500)));
        let (mut sweep, mut keys, mut fields, mut emptied) = (Sweep::default(), Vec::new(), 0, 0);
        let (mut expired, mut expired_fields, mut rounds) = (0, 0, 0);
        loop {
            let step = sweep.step_with(&mut keyspace, UnixMs(20), budget, |gone| match gone {
                Gone::Key { db, key } => keys.push((db, key.to_vec())),
                Gone::Field { db, key, .. } => {
                    assert_eq!((db, key.is_empty()), (3, false));
                    fields += 1;
                }
                Gone::Emptied { db, .. } => emptied += db / 3,
            });
            expired += step.expired;
            expired_fields += step.expired_fields;
            rounds += 1;
            if step.wrapped {
                break;
            }
            assert!(rounds < KEYS * 4);
        }
        // Those at 20 live through the whole millisecond 20.
        let past = (0..KEYS).filter(|i| i % 4 == 1).count();
        assert_eq!((keys.len(), expired), (past, past as u64));
        assert_eq!((fields, expired_fields, emptied), (908, 908, 2));
        for (db, key) in keys {
            assert!(!keyspace.db(db).contains(&key));
        }
        assert_eq!(keyspace.keys(), KEYS - past + 1);
        let soon = (0..KEYS).filter(|i| i % 4 >= 2).count();
        let left: usize = keyspace.iter().map(Db::expires_len).sum();
        assert_eq!((left, keyspace.db(3).field_ttl_len()), (soon + 1, 0));
        // The second round passes over what cannot expire.
        let step = sweep.step(&mut keyspace, UnixMs(20), usize::MAX);
        assert_eq!((step.visited, step.expired, step.wrapped), (soon + 1, 0, true));
    }
}

#[test]
fn a_keyspace_without_expiries_costs_nothing() {
    let mut keyspace = Keyspace::new(16, [1, 2]);
    (0..100).for_each(|i| keyspace.db_mut(0).set_str(format!("k{i}").as_bytes(), b"v", None));
    let step = Sweep::default().step(&mut keyspace, UnixMs(20), 100);
    assert_eq!((step.visited, step.expired, step.wrapped), (0, 0, true));
    assert!(!Sweep::default().step(&mut Keyspace::new(0, [1, 2]), UnixMs(20), 100).wrapped);
}
