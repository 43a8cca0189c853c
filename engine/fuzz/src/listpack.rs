//! Any bytes as a packed value: a view is refused or can be walked both ways; what is edited agrees
//! with a plain vector, and is a valid listpack again.
//!
//! The last byte chooses the kind, the sixteen before it the edits, so that samples of `testdata` are
//! seeds as they are.

use cairn_engine::packed::intset::{Intset, IntsetBuf};
use cairn_engine::packed::listpack::{Listpack, ListpackBuf};
use cairn_engine::packed::ziplist::Ziplist;
use cairn_engine::packed::zipmap::Zipmap;

fn texts(view: Listpack<'_>) -> Vec<Vec<u8>> {
    view.iter().map(|element| element.to_vec()).collect()
}

/// The same, from the end.
fn texts_backwards(view: Listpack<'_>) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let mut at = view.last_offset();
    while let Some(offset) = at {
        out.push(view.at(offset).expect("an element stands where `prev` points").to_vec());
        at = view.prev(offset);
    }
    out.reverse();
    out
}

fn check(list: &ListpackBuf, model: &[Vec<u8>]) {
    let view = Listpack::new(list.as_bytes()).expect("an edited listpack is valid");
    assert_eq!(texts(view), model);
    assert_eq!(view.len(), model.len());
    assert_eq!(view.is_empty(), model.is_empty());
}

fn edit(list: &mut ListpackBuf, model: &mut Vec<Vec<u8>>, op: u8, bytes: &[u8]) {
    let at = if model.is_empty() { 0 } else { usize::from(op >> 3) % model.len() };
    let offset = list.view().seek(at as isize);
    match (op & 7, offset) {
        (0, _) => {
            list.push_back(bytes);
            model.push(bytes.to_vec());
        }
        (1, _) => {
            list.push_front(bytes);
            model.insert(0, bytes.to_vec());
        }
        (2, Some(offset)) => {
            list.insert_at(offset, bytes);
            model.insert(at, bytes.to_vec());
        }
        (3, Some(offset)) => {
            list.replace_at(offset, bytes);
            model[at] = bytes.to_vec();
        }
        (4, Some(offset)) => {
            list.remove_at(offset);
            model.remove(at);
        }
        (5, _) => {
            let count = bytes.len() % 5;
            let removed = list.remove_range(at, count);
            let end = (at + count).min(model.len());
            assert_eq!(removed, model.drain(at.min(end)..end).count());
        }
        (6, _) => {
            let tail = list.split_off(at);
            let rest = model.split_off(at.min(model.len()));
            check(&tail, &rest);
            list.append(tail.view());
            model.extend(rest);
        }
        _ => {
            let found = list.view().find(list.view().first_offset(), bytes, 0);
            assert_eq!(found.is_some(), model.iter().any(|element| element == bytes));
        }
    }
}

fn listpack(data: &[u8], ops: &[u8; 16]) {
    let Ok(view) = Listpack::new(data) else { return };
    let mut model = texts(view);
    assert_eq!(texts_backwards(view), model);
    assert_eq!(view.len(), model.len());
    let mut list = ListpackBuf::from_bytes(data.to_vec()).expect("the view was valid");
    for (i, op) in ops.iter().enumerate() {
        let cut = usize::from(*op) * 3 % (data.len() + 1);
        let number = (i64::from(*op) << (i * 4)).to_string();
        let bytes = if op & 0x80 == 0 { &data[..cut] } else { number.as_bytes() };
        edit(&mut list, &mut model, *op, bytes);
        check(&list, &model);
    }
}

fn intset(data: &[u8], ops: &[u8; 16]) {
    let Ok(view) = Intset::new(data) else { return };
    let mut model: std::collections::BTreeSet<i64> = view.iter().collect();
    assert_eq!(model.len(), view.len(), "distinct");
    assert!(view.iter().is_sorted());
    let mut set = IntsetBuf::from_bytes(data.to_vec()).expect("the view was valid");
    for (i, op) in ops.iter().enumerate() {
        let value = i64::from(*op as i8) << ((i * 4) as u32);
        let picked = model.iter().nth(usize::from(*op) % (model.len() + 1)).copied().unwrap_or(value);
        if op & 1 == 0 {
            assert_eq!(set.insert(value), model.insert(value));
        } else {
            assert_eq!(set.remove(picked), model.remove(&picked));
        }
        assert_eq!(set.view().contains(value), model.contains(&value));
        if !model.is_empty() {
            let view = Intset::new(set.as_bytes()).expect("an edited intset is valid");
            assert!(view.iter().eq(model.iter().copied()));
        }
    }
}

/// Runs the target.
pub fn run(data: &[u8]) {
    let Some((data, [ops @ .., kind])) = data.split_last_chunk::<17>() else { return };
    let ops: &[u8; 16] = ops;
    match kind % 8 {
        0..5 => listpack(data, ops),
        5 => intset(data, ops),
        6 => {
            let Ok(view) = Ziplist::new(data) else { return };
            let texts: Vec<Vec<u8>> = view.iter().map(|element| element.to_vec()).collect();
            check(&view.to_listpack(), &texts);
        }
        _ => {
            let Ok(view) = Zipmap::new(data) else { return };
            let texts: Vec<Vec<u8>> = view.iter().flat_map(|(k, v)| [k.to_vec(), v.to_vec()]).collect();
            check(&view.to_listpack(), &texts);
        }
    }
}
