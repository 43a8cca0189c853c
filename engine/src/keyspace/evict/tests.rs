use super::{Evictor, POOL, Policy, keep};
use crate::base::rng::Rng;
use crate::base::time::UnixMs;
use crate::keyspace::{Keyspace, LfuTuning};

const START: i64 = 1_800_000_000_000;

fn keyspace(policy: Policy) -> Keyspace {
    let mut keyspace = Keyspace::new(4, crate::structure::hash::HashSeed(1, 2));
    keyspace.set_clock_kind(policy.clock());
    keyspace.tick(UnixMs(START));
    keyspace
}

fn evict(keyspace: &mut Keyspace, evictor: &mut Evictor, policy: Policy, rng: &mut Rng) -> Option<String> {
    let victim = evictor.choose(keyspace, policy, 5, rng)?;
    assert!(keyspace.db_mut(victim.db).remove(&victim.key));
    Some(String::from_utf8(victim.key).expect("names of the tests are text"))
}

#[test]
fn without_a_policy_nobody_goes() {
    let mut keyspace = keyspace(Policy::NoEviction);
    keyspace.db_mut(0).set_str(b"k", b"v", None);
    assert_eq!(Evictor::default().choose(&keyspace, Policy::NoEviction, 5, &mut Rng::new(1)), None);
}

#[test]
fn every_policy_empties_the_databases_and_then_stops() {
    let all = [
        Policy::AllkeysLru,
        Policy::VolatileLru,
        Policy::AllkeysLfu,
        Policy::VolatileLfu,
        Policy::AllkeysRandom,
        Policy::VolatileRandom,
        Policy::VolatileTtl,
    ];
    for policy in all {
        let (mut keyspace, mut evictor, mut rng) = (keyspace(policy), Evictor::default(), Rng::new(7));
        for i in 0..300 {
            let expire_at = (i % 3 == 0).then_some(UnixMs(START + 1000 + i));
            keyspace.db_mut(i as usize % 4).set_str(format!("k{i}").as_bytes(), b"v", expire_at);
        }
        let mut gone = 0;
        while evict(&mut keyspace, &mut evictor, policy, &mut rng).is_some() {
            gone += 1;
        }
        let (left, expected) = (keyspace.keys(), if policy.spares_persistent() { 200 } else { 0 });
        assert_eq!((left, gone), (expected, 300 - expected), "{policy:?}");
    }
}

#[test]
fn the_next_to_expire_goes_first() {
    let policy = Policy::VolatileTtl;
    let (mut keyspace, mut evictor, mut rng) = (keyspace(policy), Evictor::default(), Rng::new(3));
    for i in 0..1000i64 {
        let at = UnixMs(if i == 500 { -5 } else { START + i });
        keyspace.db_mut(0).set_str(i.to_string().as_bytes(), b"v", Some(at));
    }
    keyspace.db_mut(0).set_str(b"stays", b"v", None);
    let early: Vec<i64> =
        (0..300).filter_map(|_| evict(&mut keyspace, &mut evictor, policy, &mut rng)?.parse().ok()).collect();
    let mean = early.iter().sum::<i64>() / early.len() as i64;
    assert!(mean < 200, "of 0..1000 the first 300 would have a mean of 150, by chance 500: {mean}");
    assert!(keyspace.db(0).contains(b"stays"));
}

/// Keys used in rounds, `used` of them again and again; how many of those are left when half is gone.
fn survivors(policy: Policy, step_ms: i64) -> usize {
    let (mut keyspace, mut evictor, mut rng) = (keyspace(policy), Evictor::default(), Rng::new(11));
    keyspace.set_lfu_tuning(LfuTuning { log_factor: 1, decay_minutes: 1 });
    let name = |i: usize| format!("{i:04}");
    for i in 0..2000 {
        keyspace.db_mut(0).set_str(name(i).as_bytes(), b"v", None);
    }
    for round in 1..=20 {
        keyspace.tick(UnixMs(START + round * step_ms));
        for i in 0..500 {
            keyspace.db_mut(0).touch(name(i).as_bytes());
        }
    }
    (0..1000).for_each(|_| drop(evict(&mut keyspace, &mut evictor, policy, &mut rng)));
    (0..500).filter(|&i| keyspace.db(0).contains(name(i).as_bytes())).count()
}

#[test]
fn what_is_used_stays() {
    assert!(survivors(Policy::AllkeysLru, 100) >= 495, "ticks are shorter than a second");
    assert!(survivors(Policy::AllkeysLfu, 100) >= 495);
    let by_chance = survivors(Policy::AllkeysRandom, 100);
    assert!((200..300).contains(&by_chance), "{by_chance}");
}

#[test]
fn a_candidate_that_is_used_again_is_passed_over() {
    let policy = Policy::AllkeysLru;
    let (mut keyspace, mut evictor, mut rng) = (keyspace(policy), Evictor::default(), Rng::new(5));
    for i in 0..8 {
        keyspace.db_mut(0).set_str(format!("k{i}").as_bytes(), b"v", None);
    }
    // All eight are in the pool now, and none is better than another.
    assert!(evictor.choose(&keyspace, policy, 64, &mut rng).is_some());
    keyspace.tick(UnixMs(START + 10_000));
    (0..7).for_each(|i| keyspace.db_mut(0).touch(format!("k{i}").as_bytes()));
    let victim = evictor.choose(&keyspace, policy, 1, &mut rng).expect("there are keys");
    keyspace.db_mut(0).touch(b"k7");
    let again = evictor.choose(&keyspace, policy, 64, &mut rng);
    assert_eq!(victim.key, b"k7");
    assert!(again.is_some(), "some key is always found");
}

#[test]
fn rare_keys_with_an_expiry_are_found() {
    let policy = Policy::VolatileLru;
    let (mut keyspace, mut evictor, mut rng) = (keyspace(policy), Evictor::default(), Rng::new(9));
    for i in 0..40_000 {
        keyspace.db_mut(0).set_str(format!("k{i}").as_bytes(), b"v", None);
    }
    for i in 0..20 {
        keyspace.db_mut(0).set_str(format!("e{i}").as_bytes(), b"v", Some(UnixMs(START + 100)));
    }
    for _ in 0..20 {
        assert!(evict(&mut keyspace, &mut evictor, policy, &mut rng).is_some_and(|key| key.starts_with('e')));
    }
    assert_eq!(evict(&mut keyspace, &mut evictor, policy, &mut rng), None);
    assert_eq!(keyspace.keys(), 40_000);
}

#[test]
fn the_pool_keeps_the_best_in_order() {
    let mut pool = Vec::new();
    for score in (0..100).map(|i| i * 37 % 101) {
        keep(&mut pool, super::Candidate { score, db: 0, hash: score });
    }
    keep(&mut pool, super::Candidate { score: 3, db: 0, hash: 100 });
    let scores: Vec<u64> = pool.iter().map(|candidate| candidate.score).collect();
    assert_eq!(scores.len(), POOL);
    assert!(
        scores.is_sorted() && scores[0] == 3 && scores[1] == 85,
        "a new score replaces the old: {scores:?}"
    );
}
