use super::edit::MOST_SPARE;
use super::*;
use crate::base::size_class::size_class;
use crate::packed::Element;
use proptest::prelude::*;

fn pack<S: AsRef<[u8]>>(items: &[S]) -> ListpackBuf {
    let mut lp = ListpackBuf::new();
    for item in items {
        lp.push_back(item.as_ref());
    }
    lp
}

/// Every way of looking at `lp` must tell the same story as the vector.
#[track_caller]
fn check_same(lp: &ListpackBuf, model: &[Vec<u8>]) {
    let view = Listpack::new(lp.as_bytes()).expect("an editor's bytes are valid");
    assert_eq!(view.len(), model.len());
    assert_eq!(view.is_empty(), model.is_empty());
    assert!(view.iter().map(|e| e.to_vec()).eq(model.iter().cloned()));
    assert!(view.iter().rev().map(|e| e.to_vec()).eq(model.iter().rev().cloned()));
    assert!(view.entries().all(|(at, e)| view.at(at) == Some(e)));
    assert!(view.entries().rev().all(|(at, e)| view.at(at) == Some(e)));
    assert_eq!(view.first().map(|e| e.to_vec()), model.first().cloned());
    assert_eq!(view.last().map(|e| e.to_vec()), model.last().cloned());
    // The bytes are those of a plain sequence of appends, whatever edits led here.
    assert_eq!(lp.as_bytes(), pack(model).as_bytes());
}

#[test]
fn bytes_are_those_of_redis() {
    // DUMP of a list that RPUSH made of these on Redis 7.0.15, entry by entry.
    let cases = [
        ("", "80 01"),
        ("a", "81 61 02"),
        ("0", "00 01"),
        ("127", "7f 01"),
        ("128", "c0 80 02"),
        ("-1", "df ff 02"),
        ("4095", "cf ff 02"),
        ("-4096", "d0 00 02"),
        ("4096", "f1 00 10 03"),
        ("-4097", "f1 ff ef 03"),
        ("32767", "f1 ff 7f 03"),
        ("32768", "f2 00 80 00 04"),
        ("-32769", "f2 ff 7f ff 04"),
        ("8388607", "f2 ff ff 7f 04"),
        ("8388608", "f3 00 00 80 00 05"),
        ("-2147483648", "f3 00 00 00 80 05"),
        ("2147483648", "f4 00 00 00 80 00 00 00 00 09"),
        ("-9223372036854775808", "f4 00 00 00 00 00 00 00 80 09"),
        ("01", "82 30 31 03"),
    ];
    for (item, want) in cases {
        let lp = pack(&[item]);
        let body: Vec<String> =
            lp.as_bytes()[6..lp.byte_len() - 1].iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(body.join(" "), want, "{item}");
        assert_eq!(encoded_len(item.as_bytes()), body.len(), "{item}");
    }
    let all = pack(&cases.map(|(item, _)| item));
    assert_eq!(all.as_bytes()[..6], *b"\x5b\0\0\0\x13\0", "its header");
    assert_eq!(ListpackBuf::new().as_bytes(), b"\x07\0\0\0\0\0\xff");
    assert_eq!(pack(&["a", "1"]).as_bytes(), b"\x0c\0\0\0\x02\0\x81a\x02\x01\x01\xff");
}

#[test]
fn strings_at_the_edges_of_their_forms() {
    let edges = [
        62, 63, 64, 65, 125, 126, 127, 4094, 4095, 4096, 16376, 16377, 16378, 16379, 16380, 70_000,
        2_097_145, 2_097_146, 2_097_147,
    ];
    for len in edges {
        let item = vec![b'x'; len];
        let lp = pack(&[&b"head"[..], &item, b"tail"]);
        check_same(&lp, &[b"head".to_vec(), item.clone(), b"tail".to_vec()]);
        assert_eq!(lp.byte_len(), 7 + 12 + encoded_len(&item), "{len}");
    }
    // Valkey's widths: one byte for bodies to 127, two to 16382, three to 2097150.
    assert_eq!([127, 128, 16382, 16383, 2_097_150, 2_097_151].map(back_len), [1, 2, 2, 3, 3, 4]);
    assert_eq!([268_435_454, 268_435_455].map(back_len), [4, 5]);
}

#[test]
fn seek_and_get_from_both_ends() {
    let items: Vec<Vec<u8>> = (0..50).map(|i| format!("item{i}").into_bytes()).collect();
    let lp = pack(&items);
    let view = lp.view();
    for i in 0..50isize {
        assert_eq!(view.get(i as usize).unwrap().to_vec(), items[i as usize]);
        assert_eq!(view.at(view.seek(i - 50).unwrap()).unwrap().to_vec(), items[i as usize]);
    }
    assert_eq!(view.seek(50), None);
    assert_eq!(view.seek(-51), None);
    assert_eq!(view.seek(isize::MIN), None);
    assert_eq!(view.seek(isize::MAX), None);
    assert_eq!(view.get(usize::MAX), None);
    assert_eq!(ListpackBuf::new().view().seek(0), None);
    assert_eq!(ListpackBuf::new().view().seek(-1), None);
}

#[test]
fn find_by_stride() {
    let lp = pack(&["f1", "v", "7", "f1", "v", "v7"]);
    let view = lp.view();
    let find =
        |needle: &str, stride| view.find(view.first_offset(), needle.as_bytes(), stride).map(|(_, i)| i);
    assert_eq!(find("f1", 2), Some(0));
    assert_eq!(find("v", 2), Some(4));
    assert_eq!(find("v", 1), Some(1));
    assert_eq!(find("7", 2), Some(2));
    assert_eq!(find("07", 1), None);
    assert_eq!(find("v7", 2), None);
    assert_eq!(find("v7", 1), Some(5));
    assert_eq!(find("v7", 5), Some(5));
    let (at, _) = view.find(view.first_offset(), b"7", 1).unwrap();
    assert_eq!(view.find(at, b"f1", 1).map(|(_, i)| i), Some(1));
    assert_eq!(view.find(view.end_offset(), b"f1", 1), None);
}

#[test]
fn a_text_stored_as_string_is_still_found_as_number() {
    // Valid, though no server writes it: "12" as a string.
    let bytes = b"\x0b\0\0\0\x01\0\x8212\x03\xff";
    let view = Listpack::new(bytes).unwrap();
    assert_eq!(view.first(), Some(Element::Bytes(b"12")));
    assert_eq!(view.find(6, b"12", 1), Some((6, 0)));
}

#[test]
fn counts_beyond_the_header() {
    let mut lp = ListpackBuf::new();
    for i in 0..65_534 {
        lp.push_back_int(i % 100);
    }
    assert_eq!(&lp.as_bytes()[4..6], [0xfe, 0xff]);
    lp.push_back_int(1);
    lp.push_back_int(2);
    assert_eq!(&lp.as_bytes()[4..6], [0xff, 0xff]);
    assert_eq!(lp.len(), 65_536);
    let view = Listpack::new(lp.as_bytes()).unwrap();
    assert_eq!(view.get(65_535), Some(Element::Int(2)));
    assert_eq!(view.get(65_536), None);
    assert_eq!(view.seek(-65_536), Some(6));
    assert_eq!(view.seek(-65_537), None);
    lp.remove_at(lp.view().last_offset().unwrap());
    assert_eq!(lp.len(), 65_535);
    lp.remove_at(6);
    assert_eq!(lp.len(), 65_534);
    assert_eq!(&lp.as_bytes()[4..6], [0xfe, 0xff]);
    Listpack::new(lp.as_bytes()).unwrap();
}

#[test]
fn what_is_wrong_is_said_exactly() {
    #[track_caller]
    fn check(bytes: &[u8], at: usize, text: &str) {
        let e = Listpack::new(bytes).expect_err(text);
        assert_eq!((e.at, e.to_string().as_str()), (at, text));
    }
    check(b"", 0, "0 bytes are too few, the header and the end alone take 7");
    check(b"\x06\0\0\0\0\0", 0, "6 bytes are too few, the header and the end alone take 7");
    check(b"\x08\0\0\0\0\0\xff", 0, "the header declares 8 bytes, there are 7");
    check(b"\x07\0\0\0\0\0\x00", 6, "the last byte is 0x00, not the end mark 0xff");
    check(b"\x07\0\0\0\x01\0\xff", 4, "the header counts 1 entries, there are 0");
    check(b"\x09\0\0\0\x01\0\x81a\xff", 6, "entry 0 runs past its 2-byte body");
    check(b"\x0a\0\0\0\x01\0\x81a\x03\xff", 8, "entry 0 does not agree with its back length");
    check(b"\x0c\0\0\0\x02\0\x81a\x02\xf5\x01\xff", 9, "entry 1 has the unknown encoding 0xf5");
    check(b"\x0a\0\0\0\x01\0\xff\x01\x01\xff", 6, "the end mark comes 3 bytes early");
    check(b"\x0c\0\0\0\x01\0\xf0\xff\xff\xff\xff\xff", 6, "entry 0 runs past its 5-byte body");
    check(b"\x0a\0\0\0\x01\0\xe0\x01\x61\xff", 6, "entry 0 runs past its 3-byte body");
    // Two bytes where one does: it can be read backwards, but nobody writes it.
    check(b"\x09\0\0\0\x01\0\x00\x81\xff", 7, "entry 0 does not agree with its back length");
}

/// Walks every way there is; what it finds does not matter.
fn walk(view: Listpack<'_>) {
    let forward = view.iter().count();
    let backward = view.iter().rev().count();
    let _ = view.entries().rev().count() + view.len() + forward + backward;
    let _ = (view.first(), view.last(), view.get(3), view.seek(-2), view.is_empty());
    for at in (0..view.as_bytes().len() + 3).step_by(3) {
        let _ = (view.at(at), view.next(at), view.prev(at), view.find(at, b"v7", 2));
    }
}

fn samples() -> Vec<ListpackBuf> {
    vec![
        ListpackBuf::new(),
        pack(&["a"]),
        pack(&["field", "1", "other", "-70000", "x", "123456789012"]),
        pack(&[&b"x".repeat(70)[..], b"300", b"-5", b"9000000", &b"y".repeat(130)]),
    ]
}

#[test]
fn every_damaged_byte_is_refused_or_walks_fine() {
    for lp in samples() {
        let good = lp.as_bytes();
        for at in 0..good.len() {
            for byte in 0..=255u8 {
                let mut bytes = good.to_vec();
                bytes[at] = byte;
                walk(Listpack::trusted(&bytes));
                if let Ok(view) = Listpack::new(&bytes) {
                    assert_eq!(view.iter().count(), view.walk_len());
                    assert_eq!(view.iter().rev().count(), view.walk_len());
                    assert_eq!(view.len(), view.walk_len());
                }
            }
        }
        for len in 0..good.len() {
            assert!(Listpack::new(&good[..len]).is_err());
            walk(Listpack::trusted(&good[..len]));
            let mut resized = good[..len].to_vec();
            if let Some(size) = resized.get_mut(..4) {
                size.copy_from_slice(&(len as u32).to_le_bytes());
                if let Ok(view) = Listpack::new(&resized) {
                    walk(view);
                }
            }
        }
    }
}

#[test]
fn every_body_of_up_to_three_bytes() {
    let mut accepted = 0;
    for body_len in 0..=3u32 {
        for body in 0..1u32 << (8 * body_len) {
            let mut bytes = vec![(7 + body_len) as u8, 0, 0, 0, 0xff, 0xff];
            bytes.extend_from_slice(&body.to_le_bytes()[..body_len as usize]);
            bytes.push(END);
            let Ok(view) = Listpack::new(&bytes) else { continue };
            accepted += 1;
            assert_eq!(view.iter().count(), view.iter().rev().count());
            // Bytes of elements in their canonical form come back as they were.
            let again = pack(&view.iter().map(|e| e.to_vec()).collect::<Vec<_>>());
            let canonical = view.iter().all(|e| e == Element::of(&e.to_vec()));
            if canonical && !body.to_le_bytes().contains(&0xe0) && !(0xc0..0xe0).contains(&(body as u8)) {
                assert_eq!(&again.as_bytes()[6..], &bytes[6..]);
            }
        }
    }
    // Nothing; 128 small integers and the empty string; 256 strings of one byte, 32 x 256 integers
    // of 13 bits and the empty string in the long form of 12 bits.
    assert_eq!(accepted, 1 + 129 + 256 + 32 * 256 + 1);
}

#[test]
fn appending_and_splitting() {
    let items: Vec<Vec<u8>> = (0..9).map(|i| i.to_string().repeat(i).into_bytes()).collect();
    for cut in 0..=10 {
        let mut lp = pack(&items);
        let tail = lp.split_off(cut);
        let cut = cut.min(items.len());
        check_same(&lp, &items[..cut]);
        check_same(&tail, &items[cut..]);
        lp.append(tail.view());
        check_same(&lp, &items);
    }
}

#[derive(Debug, Clone)]
enum Edit {
    PushBack(Vec<u8>),
    PushFront(Vec<u8>),
    PushBackInt(i64),
    PushFrontInt(i64),
    Insert(usize, Vec<u8>),
    InsertInt(usize, i64),
    Replace(usize, Vec<u8>),
    ReplaceInt(usize, i64),
    Remove(usize),
    RemoveRange(usize, usize),
    Clear,
}

fn item() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..12),
        3 => any::<i64>().prop_map(|v| v.to_string().into_bytes()),
        3 => (-5000i64..5000).prop_map(|v| v.to_string().into_bytes()),
        1 => (50usize..140).prop_map(|n| vec![b'x'; n]),
        1 => (4000usize..4200).prop_map(|n| vec![b'y'; n]),
    ]
}

fn int() -> impl Strategy<Value = i64> {
    (any::<i64>(), 0u32..64).prop_map(|(v, shift)| v >> shift)
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = 0usize..30;
    prop_oneof![
        4 => item().prop_map(Edit::PushBack),
        2 => item().prop_map(Edit::PushFront),
        1 => int().prop_map(Edit::PushBackInt),
        1 => int().prop_map(Edit::PushFrontInt),
        2 => (at.clone(), item()).prop_map(|(i, s)| Edit::Insert(i, s)),
        1 => (at.clone(), int()).prop_map(|(i, v)| Edit::InsertInt(i, v)),
        2 => (at.clone(), item()).prop_map(|(i, s)| Edit::Replace(i, s)),
        1 => (at.clone(), int()).prop_map(|(i, v)| Edit::ReplaceInt(i, v)),
        2 => at.clone().prop_map(Edit::Remove),
        1 => (at, 0usize..5).prop_map(|(i, n)| Edit::RemoveRange(i, n)),
        1 => Just(Edit::Clear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn edits_agree_with_a_vector(edits in proptest::collection::vec(edit(), 0..40)) {
        let mut lp = ListpackBuf::new();
        let mut model: Vec<Vec<u8>> = Vec::new();
        let text = |v: i64| v.to_string().into_bytes();
        for edit in edits {
            let offset = |lp: &ListpackBuf, i: usize| lp.view().seek(i as isize).unwrap_or(lp.view().end_offset());
            match edit {
                Edit::PushBack(s) => { lp.push_back(&s); model.push(s); }
                Edit::PushFront(s) => { lp.push_front(&s); model.insert(0, s); }
                Edit::PushBackInt(v) => { lp.push_back_int(v); model.push(text(v)); }
                Edit::PushFrontInt(v) => { lp.push_front_int(v); model.insert(0, text(v)); }
                Edit::Insert(i, s) => {
                    let i = i.min(model.len());
                    lp.insert_at(offset(&lp, i), &s);
                    model.insert(i, s);
                }
                Edit::InsertInt(i, v) => {
                    let i = i.min(model.len());
                    lp.insert_int_at(offset(&lp, i), v);
                    model.insert(i, text(v));
                }
                Edit::Replace(i, s) if i < model.len() => { lp.replace_at(offset(&lp, i), &s); model[i] = s; }
                Edit::ReplaceInt(i, v) if i < model.len() => { lp.replace_int_at(offset(&lp, i), v); model[i] = text(v); }
                Edit::Remove(i) if i < model.len() => {
                    let at = offset(&lp, i);
                    prop_assert_eq!(lp.remove_at(at), at);
                    model.remove(i);
                }
                Edit::RemoveRange(i, n) => {
                    let i = i.min(model.len());
                    let end = (i + n).min(model.len());
                    prop_assert_eq!(lp.remove_range(i, n), end - i);
                    model.drain(i..end);
                }
                Edit::Clear if model.len() > 10 => { lp.clear(); model.clear(); }
                Edit::Replace(..) | Edit::ReplaceInt(..) | Edit::Remove(_) | Edit::Clear => {}
            }
            check_same(&lp, &model);
        }
    }

    #[test]
    fn any_bytes_are_safe_to_walk(bytes in proptest::collection::vec(prop_oneof![any::<u8>(), 0xe0u8..=0xff], 0..60)) {
        walk(Listpack::trusted(&bytes));
        let mut framed = (bytes.len() as u32 + 7).to_le_bytes().to_vec();
        framed.extend_from_slice(&[0xff, 0xff]);
        framed.extend_from_slice(&bytes);
        framed.push(END);
        walk(Listpack::trusted(&framed));
        if let Ok(view) = Listpack::new(&framed) {
            prop_assert_eq!(view.iter().count(), view.iter().rev().count());
        }
    }
}

proptest! {
    #[test]
    fn an_appender_appends_as_one_does_by_one(
        before in proptest::collection::vec("[a-z]{0,3}|[0-9]{1,5}", 0..4),
        more in proptest::collection::vec("[a-z]{0,90}|-?[0-9]{1,19}", 0..40),
        room in 0usize..500,
    ) {
        let mut at_once = pack(&before);
        let mut appender = at_once.appender(room);
        for text in &more {
            match num::parse_i64(text.as_bytes()) {
                Some(v) if v % 2 == 0 => appender.push_int(v),
                None if text.len() % 2 == 0 => appender.push_text(text.as_bytes()),
                _ => appender.push(text.as_bytes()),
            }
        }
        drop(appender);
        let all: Vec<Vec<u8>> = before.iter().chain(&more).map(|text| text.clone().into_bytes()).collect();
        check_same(&at_once, &all);
        let bytes = at_once.into_bytes();
        let needed = size_class(bytes.len());
        let (capacity, most) = (bytes.capacity(), needed + needed / MOST_SPARE);
        prop_assert!(capacity <= most, "{} bytes of {capacity}", bytes.len());
    }
}
