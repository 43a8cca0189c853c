//! The spine against a plain list of (node, count).

use proptest::prelude::*;

use super::Spine;

#[derive(Debug, Clone)]
enum Step {
    Front(u8),
    Back(u8),
    Insert(usize, u8),
    Remove(usize),
    RemoveNodes(usize, usize),
    Resize(usize, u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1u8..9).prop_map(Step::Front),
        3 => (1u8..9).prop_map(Step::Back),
        2 => (any::<usize>(), 1u8..9).prop_map(|(at, n)| Step::Insert(at, n)),
        1 => any::<usize>().prop_map(Step::Remove),
        1 => (any::<usize>(), 0usize..5).prop_map(|(at, n)| Step::RemoveNodes(at, n)),
        1 => (any::<usize>(), 0u8..9).prop_map(|(at, n)| Step::Resize(at, n)),
    ]
}

proptest! {
    #[test]
    fn every_element_is_found(steps in prop::collection::vec(step(), 0..300)) {
        let mut spine = Spine::new();
        let mut model: Vec<(u32, usize)> = Vec::new();
        for (id, step) in steps.into_iter().enumerate() {
            let id = id as u32;
            match step {
                Step::Front(n) => {
                    spine.push_front(id, n.into());
                    model.insert(0, (id, n.into()));
                }
                Step::Back(n) => {
                    spine.push_back(id, n.into());
                    model.push((id, n.into()));
                }
                Step::Insert(at, n) => {
                    let at = at % (model.len() + 1);
                    spine.insert(at, id, n.into());
                    model.insert(at, (id, n.into()));
                }
                Step::Remove(at) => {
                    if !model.is_empty() {
                        let at = at % model.len();
                        prop_assert_eq!(spine.remove(at), Some(model.remove(at).0));
                    }
                }
                Step::RemoveNodes(at, n) => {
                    let at = at % (model.len() + 1);
                    let end = (at + n).min(model.len());
                    spine.remove_nodes(at..end);
                    model.drain(at..end);
                }
                Step::Resize(at, n) => {
                    if !model.is_empty() {
                        let at = at % model.len();
                        spine.edit(at, n.into(), |node| *node += 1);
                        model[at] = (model[at].0 + 1, n.into());
                    }
                }
            }
        }
        let elements: Vec<(usize, usize)> =
            model.iter().enumerate().flat_map(|(at, &(_, n))| (0..n).map(move |i| (at, i))).collect();
        prop_assert_eq!(spine.len(), elements.len());
        prop_assert!(spine.nodes().copied().eq(model.iter().map(|&(id, _)| id)));
        for (index, &want) in elements.iter().enumerate() {
            prop_assert_eq!(spine.seek(index), Some(want));
        }
        prop_assert_eq!(spine.seek(elements.len()), None);
    }
}

#[test]
fn seeking_crosses_many_blocks_from_both_ends() {
    let mut spine = Spine::new();
    for i in 0..1000usize {
        spine.push_back(i, i % 7);
    }
    for i in 0..1000usize {
        spine.push_front(i, i % 3);
    }
    let mut index = 0;
    for at in 0..spine.node_count() {
        for inside in 0..spine.count(at) {
            assert_eq!(spine.seek(index), Some((at, inside)));
            index += 1;
        }
    }
    assert_eq!(spine.len(), index);
}
