//! Sealed nodes against the listpacks they are made of.

use proptest::prelude::*;

use super::*;

fn pack<S: AsRef<[u8]>>(items: impl IntoIterator<Item = S>) -> ListpackBuf {
    let mut pack = ListpackBuf::new();
    items.into_iter().for_each(|item| pack.push_back(item.as_ref()));
    pack
}

fn check(own: &Sealed, pack: &ListpackBuf) {
    let (sealed, plain) = (own.view(), pack.view());
    assert_eq!(sealed.len(), plain.len());
    assert!(sealed.iter().eq(plain.iter()));
    assert!(sealed.iter().rev().eq(plain.iter().rev()));
    assert!(sealed.iter_from(1).eq(plain.iter().skip(1)));
    assert_eq!(sealed.get(plain.len() / 2), plain.get(plain.len() / 2));
    assert_eq!(sealed.get(plain.len()), None);
    assert_eq!(sealed.packed_len(), pack.byte_len());
    assert_eq!(sealed.to_listpack(), *pack);
}

#[test]
fn short_strings_of_one_length_are_sealed() {
    let items = pack((100_000..100_511).map(|i| format!("element:{i}")));
    let own = Sealed::of(items.view(), 511).expect("fourteen of sixteen bytes are text");
    assert_eq!(size_class(own.memory_bytes()), 7168);
    check(&own, &items);
}

#[test]
fn what_gains_nothing_stays_a_listpack() {
    for items in [
        pack((0..100).map(|i| format!("{i:070}x"))),
        pack((0..100).map(|i| format!("e{i}"))),
        pack((0..100).map(|i| if i == 50 { "x".to_owned() } else { i.to_string() })),
        pack((0..100).map(|i| if i == 50 { "500".to_owned() } else { "abc".to_owned() })),
        pack([""; 100]),
        pack([] as [&str; 0]),
    ] {
        assert!(Sealed::of(items.view(), items.len()).is_none());
    }
}

#[test]
fn integers_at_the_ends_of_their_range() {
    let items = pack((0..300).map(|i| if i % 2 == 0 { i64::MIN + i } else { i64::MAX - i }.to_string()));
    check(&Sealed::of(items.view(), 300).expect("eight of ten bytes count"), &items);
    let same = pack(["-5"; 300]);
    check(&Sealed::of(same.view(), 300).expect("one of three bytes counts"), &same);
}

proptest! {
    #[test]
    fn popping_leaves_the_same_elements(
        ints in any::<bool>(), bits in 0u32..64, count in 64usize..400,
        pops in prop::collection::vec((any::<bool>(), 0usize..40), 0..12),
    ) {
        let text = |i: usize| if ints { ((i as i64) << bits).wrapping_sub(1 << bits).to_string() } else { format!("x{i:05}") };
        let mut items = pack((0..count).map(text));
        if let Some(mut own) = Sealed::of(items.view(), count) {
            for (front, n) in pops {
                let len = items.len();
                if front { own.pop_front(n) } else { own.pop_back(n) }
                items.remove_range(if front { 0 } else { len.saturating_sub(n) }, n);
                prop_assert_eq!(own.view().is_empty(), items.is_empty());
                if items.is_empty() {
                    break;
                }
                check(&own, &items);
            }
        }
    }
}
