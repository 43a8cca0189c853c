//! Micro benches of the keyspace's table and records: lookups that hit and miss, in cache and out of
//! it, one by one and as a batch; insertion; a whole scan.

use std::hint::black_box;
use std::time::Duration;

use cairn_engine::base::rng::Rng;
use cairn_engine::keyspace::{Db, Entry};
use cairn_engine::structure::hash::HashSeed;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Keys that one round asks for.
const ASKED: usize = 1024;
/// Lookups of a batch: what a server has parsed of one read.
const BATCH: usize = 32;

fn key(i: usize) -> Vec<u8> {
    format!("key:{i:012}").into_bytes()
}

fn filled(keys: usize) -> Db {
    let mut db = Db::new(HashSeed(1, 2));
    (0..keys).for_each(|i| db.set_str(&key(i), &[b'v'; 32], None));
    db
}

fn lookups(c: &mut Criterion) {
    let mut group = c.benchmark_group("table");
    group.throughput(Throughput::Elements(ASKED as u64));
    for (size, keys) in [("1k", 1000), ("1M", 1_000_000)] {
        let db = filled(keys);
        let mut rng = Rng::new(7);
        let present: Vec<Vec<u8>> = (0..ASKED).map(|_| key(rng.index(keys))).collect();
        let absent: Vec<Vec<u8>> = (0..ASKED).map(|_| key(keys + rng.index(keys))).collect();
        // With many keys each round takes others, or they would be in the cache.
        let rounds: Vec<Vec<Vec<u8>>> =
            (0..64).map(|_| (0..ASKED).map(|_| key(rng.index(keys))).collect()).collect();
        group.bench_function(BenchmarkId::new("find, hit", size), |b| {
            let mut round = 0;
            b.iter(|| {
                round = (round + 1) % rounds.len();
                rounds[round].iter().filter(|key| db.get(black_box(key)).is_some()).count()
            });
        });
        group.bench_function(BenchmarkId::new("find, hit, batches of 32", size), |b| {
            let mut round = 0;
            let mut hashes = [0u64; BATCH];
            b.iter(|| {
                round = (round + 1) % rounds.len();
                let mut hits = 0;
                for batch in rounds[round].chunks(BATCH) {
                    for (hash, key) in hashes.iter_mut().zip(batch) {
                        *hash = db.hash_key(key);
                        db.prefetch(*hash);
                    }
                    hashes[..batch.len()].iter().for_each(|hash| db.prefetch_entry(*hash));
                    hits += batch
                        .iter()
                        .zip(&hashes)
                        .filter(|(key, hash)| db.entry_hashed(**hash, key).is_some())
                        .count();
                }
                hits
            });
        });
        group.bench_function(BenchmarkId::new("find, hit, same keys", size), |b| {
            b.iter(|| present.iter().filter(|key| db.get(black_box(key)).is_some()).count());
        });
        group.bench_function(BenchmarkId::new("find, miss", size), |b| {
            b.iter(|| absent.iter().filter(|key| db.get(black_box(key)).is_some()).count());
        });
    }
    group.finish();
}

fn growth(c: &mut Criterion) {
    const KEYS: usize = 100_000;
    let mut group = c.benchmark_group("table of 100k");
    group.sample_size(10);
    group.throughput(Throughput::Elements(KEYS as u64));
    let keys: Vec<Vec<u8>> = (0..KEYS).map(key).collect();
    let insert = |db: &mut Db| {
        for key in &keys {
            let entry = Entry::string(key, &[b'v'; 32], None);
            let hash = db.hash_key(key);
            assert!(db.insert_hashed(hash, entry).is_ok());
        }
    };
    group.bench_function("insert, growing", |b| {
        b.iter_batched_ref(|| Db::new(HashSeed(1, 2)), insert, BatchSize::PerIteration);
    });
    group.bench_function("insert, reserved", |b| {
        let reserved = || {
            let mut db = Db::new(HashSeed(1, 2));
            db.reserve(KEYS);
            db
        };
        b.iter_batched_ref(reserved, insert, BatchSize::PerIteration);
    });
    let db = filled(KEYS);
    group.bench_function("scan", |b| {
        b.iter(|| {
            let (mut cursor, mut seen) = (0, 0);
            loop {
                cursor = db.scan(cursor, 100, |_| seen += 1);
                if cursor == 0 {
                    break seen;
                }
            }
        });
    });
    group.finish();
}

fn quick() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
}

criterion_group! { name = table; config = quick(); targets = lookups, growth }
criterion_main!(table);
