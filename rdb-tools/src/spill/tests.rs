//! Sorting against a sort in memory, and disks that lie.

use std::os::unix::fs::FileExt;

use proptest::prelude::*;

use super::{Sorted, Sorter, Spill};

fn collect(mut sorted: Sorted) -> std::io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut all = Vec::new();
    while let Some(record) = sorted.current() {
        all.push((record.key.to_vec(), record.payload.to_vec()));
        sorted.advance()?;
    }
    assert!(sorted.advance().is_ok() && sorted.current().is_none(), "the end stays the end");
    Ok(all)
}

fn with_memory(memory: usize) -> Sorter {
    let mut sorter = Sorter::new(&Spill::default());
    sorter.memory = memory;
    sorter
}

fn records(n: u32, len: usize) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    (0..n).map(move |i| {
        let key = i.wrapping_mul(2_654_435_761).to_be_bytes().to_vec();
        (key, vec![i as u8; (i as usize * 7) % len])
    })
}

proptest! {
    #[test]
    fn it_sorts_as_a_stable_sort_does(
        records in proptest::collection::vec(
            (proptest::collection::vec(0u8..3, 0..12), proptest::collection::vec(any::<u8>(), 0..9)), 0..300),
        memory in 1usize..20_000,
    ) {
        let mut sorter = with_memory(memory);
        for (key, payload) in &records {
            sorter.push(key, payload).expect("push");
        }
        prop_assert_eq!(sorter.len(), records.len() as u64);
        let sorted = sorter.finish().expect("sort");
        let mut expected = records;
        expected.sort_by(|a, b| a.0.cmp(&b.0));
        prop_assert_eq!(collect(sorted).expect("read"), expected);
    }
}

#[test]
fn records_without_bytes_keep_their_place() {
    let mut sorter = with_memory(20_000);
    let payloads: Vec<&[u8]> = (0..60u8).map(|i| if i % 3 == 0 { &b"full"[..] } else { b"" }).collect();
    for payload in &payloads {
        sorter.push(b"", payload).expect("push");
    }
    let found = collect(sorter.finish().expect("sort")).expect("read");
    assert!(found.iter().map(|(_, payload)| &payload[..]).eq(payloads));
}

#[test]
fn many_runs_are_merged_in_several_rounds() {
    // A few records a run: more runs than are merged at a time, more than once.
    let mut sorter = with_memory(3_000);
    let mut expected: Vec<_> = records(20_000, 90).collect();
    for (key, payload) in &expected {
        sorter.push(key, payload).expect("push");
    }
    assert!(sorter.runs.len() > 100, "{}", sorter.runs.len());
    expected.sort();
    assert!(collect(sorter.finish().expect("sort")).expect("read") == expected);
}

#[test]
fn records_larger_than_the_budget_and_empty_ones() {
    let mut sorter = with_memory(1000);
    let large = vec![7; 300_000];
    sorter.push(b"b", &large).expect("push");
    sorter.push(&large, b"x").expect("push");
    sorter.push(b"", b"").expect("push");
    sorter.push(b"b", b"").expect("push");
    let all = collect(sorter.finish().expect("sort")).expect("read");
    let expected =
        [(vec![], vec![]), (large.clone(), b"x".to_vec()), (b"b".to_vec(), large), (b"b".to_vec(), vec![])];
    assert!(all == expected);
    assert!(collect(with_memory(1000).finish().expect("sort")).expect("read").is_empty());
}

#[test]
fn a_flipped_bit_anywhere_is_an_error_and_no_answer() {
    let make = || {
        let mut sorter = with_memory(4_000);
        for (key, payload) in records(600, 30) {
            sorter.push(&key, &payload).expect("push");
        }
        sorter.write_run().expect("write");
        let file = sorter.file.as_ref().expect("was spilled").file();
        (sorter, file)
    };
    let (sorter, file) = make();
    let len = file.metadata().expect("metadata").len();
    assert!(sorter.runs.len() > 4);
    let mut expected: Vec<_> = records(600, 30).collect();
    expected.sort();
    assert!(collect(sorter.finish().expect("sort")).expect("read") == expected);
    for at in (0..len).step_by(37) {
        let (sorter, file) = make();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).expect("read");
        file.write_all_at(&[byte[0] ^ (1 << (at % 8))], at).expect("write");
        let result = sorter.finish().and_then(collect);
        let error = result.expect_err("a damaged run").to_string();
        assert!(error.contains("not what was written there") && error.contains("--tmp-dir"), "{error}");
    }
    // And a file that lost its end.
    let (sorter, file) = make();
    file.set_len(len - 1).expect("truncate");
    assert!(sorter.finish().and_then(collect).is_err());
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let spill = Spill { memory: 0, tmp_dir: Some("/no/such folder".into()) };
    let mut sorter = Sorter::new(&spill);
    sorter.memory = 10;
    sorter.push(b"a", b"0123456789").expect("fits by itself");
    let error = sorter.push(b"a", b"").expect_err("no folder").to_string();
    assert!(error.contains("/no/such folder"), "{error}");
}
