//! Every function against its naive twin, bit by bit.

use proptest::prelude::*;

use super::*;

fn bits_of(bytes: &[u8]) -> Vec<bool> {
    bytes.iter().flat_map(|byte| (0..8).map(move |i| byte & (0x80 >> i) != 0)).collect()
}

/// Mostly dull bytes, so that searches go far.
fn dull_bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![8 => Just(0_u8), 8 => Just(0xff_u8), 1 => any::<u8>()];
    prop_oneof![proptest::collection::vec(any::<u8>(), 1..1500), proptest::collection::vec(byte, 1..200)]
}

fn naive(how: Combine, bits: &[bool]) -> bool {
    let others = bits[1..].iter().any(|bit| *bit);
    let set = bits.iter().filter(|bit| **bit).count();
    match how {
        Combine::And => set == bits.len(),
        Combine::Or => set > 0,
        Combine::Xor => set % 2 == 1,
        Combine::Not => !bits[0],
        Combine::Diff => bits[0] && !others,
        Combine::Diff1 => !bits[0] && others,
        Combine::AndOr => bits[0] && others,
        Combine::One => set == 1,
    }
}

proptest! {
    #[test]
    fn counts_and_finds_as_its_twin(bytes in dull_bytes(), a: prop::sample::Index, b: prop::sample::Index) {
        let bits = bits_of(&bytes);
        let (a, b) = (a.index(bits.len()), b.index(bits.len()));
        let (a, b) = (a.min(b), a.max(b));
        let range = a as u64..=b as u64;
        prop_assert_eq!(count(&bytes), bits.iter().filter(|bit| **bit).count() as u64);
        let within = bits[a..=b].iter().filter(|bit| **bit).count() as u64;
        prop_assert_eq!(count_within(&bytes, range.clone()), within);
        for wanted in [false, true] {
            let twin = bits[a..=b].iter().position(|bit| *bit == wanted).map(|at| (a + at) as u64);
            prop_assert_eq!(first(&bytes, wanted, range.clone()), twin);
        }
    }

    #[test]
    fn combines_as_its_twin(sources in proptest::collection::vec(dull_bytes(), 1..5)) {
        let slices: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
        let all = [Combine::And, Combine::Or, Combine::Xor, Combine::Diff, Combine::Diff1, Combine::AndOr,
            Combine::One];
        for how in all {
            let twin: Vec<bool> = (0..slices.iter().map(|s| s.len()).max().unwrap() * 8)
                .map(|at| naive(how, &slices.iter().map(|s| bit(s, at as u64)).collect::<Vec<_>>()))
                .collect();
            prop_assert_eq!(bits_of(&combine(how, &slices)), twin, "{:?}", how);
        }
        let not: Vec<bool> = bits_of(slices[0]).into_iter().map(|bit| !bit).collect();
        prop_assert_eq!(bits_of(&combine(Combine::Not, &slices[..1])), not);
    }

    #[test]
    fn fields_are_written_and_read(offset in 0..200_u64, bits in 1..=64_u32, value: u64, fill: u8) {
        let mut bytes = vec![fill; 40];
        let before = bits_of(&bytes);
        set_field(&mut bytes, offset, bits, value);
        prop_assert_eq!(field(&bytes, offset, bits), value & mask(bits));
        let inside = offset as usize..offset as usize + bits as usize;
        for (at, (old, new)) in before.into_iter().zip(bits_of(&bytes)).enumerate() {
            prop_assert!(inside.contains(&at) || old == new, "bit {} is not the field's", at);
        }
    }
}

#[test]
fn blocks_join() {
    let long = vec![0b1010_0000_u8; 2 * BLOCK + 5];
    let short = vec![0b1100_0000_u8; BLOCK + 3];
    let out = combine(Combine::And, &[&long, &short]);
    assert!(out[..BLOCK + 3].iter().all(|byte| *byte == 0b1000_0000));
    assert!(out[BLOCK + 3..].iter().all(|byte| *byte == 0));
    let out = combine(Combine::One, &[&short, &long, &short]);
    assert!(out[..BLOCK + 3].iter().all(|byte| *byte == 0b0010_0000));
    assert!(out[BLOCK + 3..].iter().all(|byte| *byte == 0b1010_0000));
}

#[test]
fn bits_beyond_the_end_are_clear() {
    assert!(bit(&[0xff], 7));
    assert!(!bit(&[0xff], 8));
    assert!(!bit(&[0xff], u64::MAX));
    assert_eq!(field(&[0xff], 4, 8), 0xf0);
    assert_eq!(field(&[0xff], u64::MAX - 70, 64), 0);
}

#[test]
fn numbers_that_do_not_fit() {
    let u8_ = FieldType { is_signed: false, bits: 8 };
    assert_eq!(u8_.fit(255, Overflow::Fail), Some(255));
    assert_eq!(u8_.fit(256, Overflow::Fail), None);
    assert_eq!(u8_.fit(257, Overflow::Wrap), Some(1));
    assert_eq!(u8_.fit(-1, Overflow::Wrap), Some(255));
    assert_eq!(u8_.fit(-1, Overflow::Saturate), Some(0));
    let i8_ = FieldType { is_signed: true, bits: 8 };
    assert_eq!(i8_.fit(128, Overflow::Wrap), Some(-128));
    assert_eq!(i8_.fit(-129, Overflow::Wrap), Some(127));
    assert_eq!(i8_.fit(-129, Overflow::Saturate), Some(-128));
    let i64_ = FieldType { is_signed: true, bits: 64 };
    assert_eq!(i64_.fit(i128::from(i64::MAX) + 1, Overflow::Wrap), Some(i64::MIN));
    assert_eq!(i64_.fit(i128::from(i64::MIN) * 2, Overflow::Saturate), Some(i64::MIN));
    let u63 = FieldType { is_signed: false, bits: 63 };
    assert_eq!(u63.fit(i128::from(i64::MAX) + 1, Overflow::Saturate), Some(i64::MAX));
    assert_eq!(FieldType { is_signed: true, bits: 1 }.number(1), -1);
}
