//! Sparse and dense against plain registers; the bytes against those of a real server.

use proptest::prelude::*;

use super::*;

const NEVER_DENSE: usize = usize::MAX;

/// What a real server had after PFADD of these words, a line each: words, then GET.
const EMPTY: &[u8] = b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\0\x7f\xff";

fn added(elements: &[Vec<u8>], max: usize) -> Vec<u8> {
    let mut bytes = empty();
    for element in elements {
        add(&mut bytes, element, max).unwrap();
    }
    bytes
}

fn union_of(all: &[&[u8]]) -> Union {
    let mut union = Union::default();
    all.iter().for_each(|bytes| union.add(view(bytes).unwrap()).unwrap());
    union
}

fn dense_of(registers: &Registers) -> Vec<u8> {
    let mut bytes = empty();
    make_dense(&mut bytes).unwrap();
    dense::set_all(&mut bytes[HEADER_BYTES..], registers);
    bytes
}

#[test]
fn nothing_is_one_run_of_zeros() {
    assert_eq!(empty(), EMPTY);
    assert_eq!(view(EMPTY).unwrap().cached(), Some(0));
    assert_eq!(view(EMPTY).unwrap().count(), Ok(0));
}

#[test]
fn bytes_are_those_of_valkey() {
    // GET after PFADD k a b c; PFCOUNT k.
    let valkey = b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80`\xf3\x80P\xb1\x84K\xfb\x80BZ";
    let bytes = added(&[b"a".to_vec(), b"b".to_vec(), b"c".to_vec()], 3000);
    assert_eq!(bytes.escape_ascii().to_string(), valkey.escape_ascii().to_string());
    assert_eq!(view(&bytes).unwrap().count(), Ok(3));
}

#[test]
fn what_is_no_hyperloglog_is_not_taken_for_one() {
    for bytes in [
        &b""[..],
        b"HYLL",
        b"HYLX\x01\0\0\0\0\0\0\0\0\0\0\0\x7f\xff",
        b"HYLL\x02\0\0\0\0\0\0\0\0\0\0\0",
        b"HYLL\x00\0\0\0\0\0\0\0\0\0\0\0",
    ] {
        assert!(view(bytes).is_none(), "{}", bytes.escape_ascii());
    }
}

#[test]
fn runs_that_do_not_add_up_are_corrupt() {
    for runs in [&b""[..], b"\x7f", b"\x7f\xfe", b"\x7f\xff\x00", b"\x7f\xff\x80", b"\x80\x7f\xff"] {
        let mut bytes = [&EMPTY[..HEADER_BYTES], runs].concat();
        assert_eq!(view(&bytes).unwrap().count(), Err(Corrupt), "{}", runs.escape_ascii());
        assert_eq!(make_dense(&mut bytes), Err(Corrupt));
        for element in [&b"a"[..], b"b", b"c", b"d"] {
            // Whatever it answers: no panic, and no register beyond the last.
            let _ = add(&mut bytes, element, 3000);
        }
    }
}

#[test]
fn registers_are_six_bits() {
    let mut payload = vec![0; DENSE_BYTES - HEADER_BYTES];
    let mut twin = [0; REGISTERS];
    for (i, register) in twin.iter_mut().enumerate() {
        *register = (i * 7 % 64) as u8;
        dense::set(&mut payload, i, *register);
    }
    let bytes = [&header(Encoding::Dense, [0; 8])[..], &payload].concat();
    assert_eq!(*view(&bytes).unwrap().registers().unwrap(), twin);
    let mut written = vec![0; DENSE_BYTES - HEADER_BYTES];
    dense::set_all(&mut written, &twin);
    assert_eq!(written, payload);
}

#[test]
fn a_union_has_the_greatest_of_each_register() {
    // Values of all sizes, of which each is the greatest somewhere.
    let some = |times: usize| -> Registers { std::array::from_fn(|i| (i * times % 64) as u8) };
    let (one, two, three) = (some(7), some(23), some(41));
    let mut few = added(&[b"a".to_vec(), b"b".to_vec(), b"c".to_vec()], NEVER_DENSE);
    let small = view(&few).unwrap().registers().unwrap();
    let twin: Registers = std::array::from_fn(|i| one[i].max(two[i]).max(three[i]).max(small[i]));
    let [one, two, three] = [one, two, three].map(|registers| dense_of(&registers));
    let union = union_of(&[&one, &few, &two, &three]);
    assert_eq!(union.count(), view(&dense_of(&twin)).unwrap().count().unwrap());
    raise_all(&mut few, &union, 3000).unwrap();
    assert_eq!(*view(&few).unwrap().registers().unwrap(), twin);
    assert_eq!(union_of(&[]).count(), 0);
}

#[test]
fn the_error_is_small() {
    for n in [10_u64, 1000, 100_000] {
        let mut dense = empty();
        make_dense(&mut dense).unwrap();
        for i in 0..n {
            add(&mut dense, &i.to_le_bytes(), 3000).unwrap();
        }
        let counted = view(&dense).unwrap().count().unwrap();
        assert!(counted.abs_diff(n) <= n / 20, "{counted} for {n}");
        assert_eq!(union_of(&[&dense]).count(), counted);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn sparse_dense_and_plain_agree(elements in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..12), 0..400)) {
        let mut twin = [0; REGISTERS];
        for element in &elements {
            let (index, count) = place(element);
            twin[index] = twin[index].max(count);
        }
        let sparse = added(&elements, NEVER_DENSE);
        let dense = added(&elements, 0);
        for bytes in [&sparse, &dense, &added(&elements, 300)] {
            let hll = view(bytes).unwrap();
            prop_assert_eq!(&*hll.registers().unwrap(), &twin);
            prop_assert_eq!(hll.count().unwrap(), union_of(&[&dense]).count());
            prop_assert_eq!(hll.count().unwrap(), union_of(&[bytes]).count());
        }
        let mut raised = empty();
        raise_all(&mut raised, &union_of(&[&sparse]), NEVER_DENSE).unwrap();
        prop_assert_eq!(&*view(&raised).unwrap().registers().unwrap(), &twin);
    }

    #[test]
    fn any_runs_end_in_an_answer(runs in proptest::collection::vec(any::<u8>(), 0..300), elements in proptest::collection::vec(any::<u64>(), 0..50)) {
        let mut bytes = [&EMPTY[..HEADER_BYTES], &runs].concat();
        for element in elements {
            let _ = add(&mut bytes, &element.to_le_bytes(), 500);
        }
        let _ = view(&bytes).unwrap().count();
        let _ = make_dense(&mut bytes);
    }
}
