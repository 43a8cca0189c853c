//! Micro benches of the packed encodings: what a load, a read and an edit of a small value cost.

use std::hint::black_box;
use std::time::Duration;

use cairn_engine::packed::intset::{Intset, IntsetBuf};
use cairn_engine::packed::listpack::{Listpack, ListpackBuf};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

fn pack(elements: usize) -> ListpackBuf {
    let mut pack = ListpackBuf::new();
    for i in 0..elements {
        match i % 2 {
            0 => pack.push_back(format!("field:{i}").as_bytes()),
            _ => pack.push_back_int(i as i64 * 7919),
        }
    }
    pack
}

fn listpack(c: &mut Criterion) {
    let mut group = c.benchmark_group("listpack");
    for elements in [20, 128] {
        let own = pack(elements);
        let bytes = own.as_bytes();
        group.bench_function(BenchmarkId::new("validate", elements), |b| {
            b.iter(|| Listpack::new(black_box(bytes)).is_ok());
        });
        group.bench_function(BenchmarkId::new("walk", elements), |b| {
            b.iter(|| own.view().iter().map(|element| element.len()).sum::<usize>());
        });
        group.bench_function(BenchmarkId::new("find, absent", elements), |b| {
            let view = own.view();
            b.iter(|| view.find(view.first_offset(), black_box(b"field:x"), 2));
        });
        group.bench_function(BenchmarkId::new("build", elements), |b| b.iter(|| pack(elements).byte_len()));
        group.bench_function(BenchmarkId::new("replace in the middle", elements), |b| {
            let mut own = own.clone();
            let at = own.view().seek(elements as isize / 2).expect("there is a middle");
            b.iter(|| own.replace_at(at, black_box(b"field:y")));
        });
    }
    group.finish();
}

fn intset(c: &mut Criterion) {
    let mut group = c.benchmark_group("intset");
    for elements in [50i64, 512] {
        let mut own = IntsetBuf::new();
        (0..elements).for_each(|i| {
            own.insert(i * 1_000_003);
        });
        group.bench_function(BenchmarkId::new("validate", elements), |b| {
            b.iter(|| Intset::new(black_box(own.as_bytes())).is_ok());
        });
        group.bench_function(BenchmarkId::new("contains", elements), |b| {
            let mut i = 0;
            b.iter(|| {
                i = (i + 7) % elements;
                own.view().contains(black_box(i * 1_000_003))
            });
        });
        group.bench_function(BenchmarkId::new("insert and remove", elements), |b| {
            b.iter(|| own.insert(black_box(77)) && own.remove(77));
        });
    }
    group.finish();
}

fn quick() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
}

criterion_group! { name = packed; config = quick(); targets = listpack, intset }
criterion_main!(packed);
