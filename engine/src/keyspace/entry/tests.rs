//! Where values live, and that the owned ones go with their entry exactly once.

use super::{Entry, INLINE_STRING_MAX_BYTES};
use crate::base::time::UnixMs;
use crate::value::hash::{FieldTtl, Hash};
use crate::value::list::{End, List};
use crate::value::{Limits, StrRef, StringValue, Value, ValueRef};

fn text(entry: &Entry) -> Vec<u8> {
    match entry.view().view() {
        ValueRef::String(text) => text.to_vec(),
        other => panic!("not a string: {other:?}"),
    }
}

#[test]
fn an_entry_is_a_pointer() {
    assert_eq!((size_of::<Entry>(), size_of::<Option<Entry>>()), (8, 8));
    let small = Entry::string(&[b'k'; 16], &[b'v'; 32], None);
    assert_eq!(small.view().memory_bytes(), 56);
    assert_eq!(Entry::string(b"counter", b"12345", None).view().memory_bytes(), 16);
}

#[test]
fn strings_are_what_set_makes_of_them() {
    for bytes in ["", "0", "-1", "12", "-0", "01", "1.5", "-", "9223372036854775807", "9223372036854775808"] {
        let entry = Entry::string(b"k", bytes.as_bytes(), None);
        assert_eq!(text(&entry), bytes.as_bytes());
        let is_int = bytes.parse::<i64>().is_ok_and(|v| v.to_string() == bytes);
        let is_kept_as_int = matches!(entry.view().view(), ValueRef::String(StrRef::Int(_)));
        assert_eq!(is_kept_as_int, is_int, "{bytes}");
    }
}

#[test]
fn a_string_moves_between_record_and_box() {
    let long = vec![b'x'; INLINE_STRING_MAX_BYTES * 3];
    let mut entry = Entry::string(b"k", b"short", Some(UnixMs(5)));
    for bytes in [&long[..], &long[..1024], &long[..1025], b"77", &long, b""] {
        entry.replace_string(bytes, Some(UnixMs(6)));
        assert_eq!(text(&entry), bytes);
        assert_eq!(entry.view().expire_at(), Some(UnixMs(6)));
    }
    entry.replace(Value::String(StringValue::new(&long)), None);
    entry.store_int(-5);
    assert_eq!((text(&entry), entry.view().expire_at()), (b"-5".to_vec(), None));
    entry.replace_string(&long, None);
    let entry = entry.renamed(b"a longer key than before");
    assert_eq!((entry.view().key(), text(&entry)), (&b"a longer key than before"[..], long.clone()));
    let Value::String(value) = entry.into_value() else { panic!("it was a string") };
    assert_eq!(value.view().to_vec(), long);
}

#[test]
fn an_append_that_outgrows_the_record_stays_in_its_box() {
    let mut entry = Entry::string(b"k", b"", None);
    let mut expected = Vec::new();
    for round in 0..60u8 {
        expected.extend_from_slice(&[round; 50]);
        entry.modify(|value| match value {
            Value::String(text) => text.append(&[round; 50]),
            _ => 0,
        });
        assert_eq!(text(&entry), expected);
    }
    entry.set_expire_at(Some(UnixMs(1)));
    entry.set_expire_at(None);
    assert_eq!(text(&entry), expected);
}

#[test]
fn fields_that_expire_show_at_the_entry_in_every_encoding() {
    let (limits, now) = (Limits::DEFAULT, UnixMs(0));
    let set = |entry: &mut Entry, field: &[u8], len: usize, ttl: FieldTtl| {
        entry.modify(|value| match value {
            Value::Hash(hash) => hash.set_with(field, &vec![b'v'; len], ttl, now, &limits).is_new(),
            _ => false,
        })
    };
    let mut hash = Hash::new();
    hash.set(b"f", b"v", now, &limits);
    let mut entry = Entry::new(b"k", Value::Hash(hash), None);
    assert!(!entry.view().has_field_ttl());
    set(&mut entry, b"f", 3, FieldTtl::At(UnixMs(9)));
    assert!(entry.view().has_field_ttl());
    // Long enough for a table, which lives in a box.
    set(&mut entry, b"long", 3000, FieldTtl::Clear);
    assert!(entry.view().has_field_ttl());
    set(&mut entry, b"f", 3, FieldTtl::Clear);
    assert!(!entry.view().has_field_ttl());
    set(&mut entry, b"g", 3, FieldTtl::At(UnixMs(9)));
    assert!(entry.view().has_field_ttl() && entry.view().marks().has_field_ttl);
    assert!(entry.renamed(b"other").view().has_field_ttl());
}

#[test]
fn a_collection_is_edited_in_the_room_that_is_lent() {
    let limits = Limits::DEFAULT;
    let mut list = List::new();
    list.push(End::Back, b"0", &limits);
    let mut entry = Entry::new(b"k", Value::List(list), Some(UnixMs(5)));
    let mut room = Vec::with_capacity(1024);
    let at = room.as_ptr();
    let push = |value: &mut Value, item: &[u8]| match value {
        Value::List(list) => list.push(End::Back, item, &limits),
        _ => panic!("it is a list"),
    };
    for i in 1..40 {
        let (_, is_empty) = entry.modify_or_empty(&mut room, |value| push(value, i.to_string().as_bytes()));
        assert!(!is_empty);
        assert_eq!(room.as_ptr(), at, "the room came back");
    }
    let ValueRef::List(list) = entry.view().view() else { panic!("it is a list") };
    assert!(list.iter().map(|e| e.to_vec()).eq((0..40).map(|i: i32| i.to_string().into_bytes())));
    // Grown out of the record: the box does not keep the room.
    entry.modify_or_empty(&mut room, |value| push(value, &[b'x'; 600]));
    let Some(Value::List(List::Listpack(pack))) = entry.boxed().cloned() else { panic!("it is too long") };
    assert_eq!(pack.len(), 41);
    assert_eq!(entry.view().expire_at(), Some(UnixMs(5)));
    let mut pop = |most: usize| {
        entry.modify_or_empty(&mut room, |value| match value {
            Value::List(list) => list.remove_range(0, most, &limits),
            _ => 0,
        })
    };
    assert_eq!(pop(30), (30, false));
    assert_eq!(pop(30), (11, true));
}
