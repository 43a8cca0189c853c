//! A list from its elements or nodes, as files have them.

use super::quicklist::Fill;
use super::{End, Limits, List};
use crate::packed::IntText;
use crate::packed::listpack::{Listpack, ListpackBuf, Room, Short};
use crate::packed::ziplist::Ziplist;

/// A node of more bytes gets an allocation of its own at once.
const MOST_GATHERED_BYTES: usize = 1024;

/// Makes one list after the other. What fits into one node is gathered, and nothing allocated for it.
#[derive(Debug, Default)]
pub struct ListLoader {
    /// All elements so far, unless there is a list.
    gathered: Room,
    list: Option<List>,
}

/// A list from its elements.
#[derive(Debug)]
pub enum LoadedList<'a> {
    /// A listpack that it consists of, to be copied.
    Listpack(Listpack<'a>),
    /// Any other.
    Own(List),
}

impl LoadedList<'_> {
    /// The list.
    #[must_use]
    pub fn into_list(self) -> List {
        match self {
            LoadedList::Listpack(pack) => List::Listpack(ListpackBuf::from_trusted(pack.as_bytes().to_vec())),
            LoadedList::Own(list) => list,
        }
    }
}

impl ListLoader {
    /// Begins a list.
    pub fn begin(&mut self) {
        self.gathered.clear();
        self.list = None;
    }

    /// Appends an element.
    pub fn push(&mut self, element: &[u8], limits: &Limits) {
        if self.list.is_none() && self.has_room(1, element.len(), limits) {
            self.gathered.push(element);
        } else {
            self.list().push(End::Back, element, limits);
        }
    }

    /// Appends `count` short elements, which have `bytes` bytes in the file.
    pub fn push_all<'a>(
        &mut self,
        elements: impl Iterator<Item = Short<'a>>,
        count: usize,
        bytes: usize,
        limits: &Limits,
    ) {
        // In a listpack each takes one byte more at the most.
        if self.list.is_none() && self.has_room(count, bytes + count, limits) {
            elements.for_each(|element| {
                self.gathered.push_short(element);
            });
        } else {
            let mut text = IntText::new();
            elements.for_each(|element| self.push(element.text(&mut text), limits));
        }
    }

    /// Appends a node as it is.
    pub fn push_node(&mut self, node: Listpack<'_>) {
        if self.is_first_and_small(node.as_bytes().len()) {
            self.gathered.copy(node);
        } else {
            self.list().push_node(ListpackBuf::from_trusted(node.as_bytes().to_vec()));
        }
    }

    /// Appends a node of an old server.
    pub fn push_old_node(&mut self, node: &Ziplist<'_>) {
        if self.is_first_and_small(node.byte_len()) {
            node.into_iter().for_each(|element| self.gathered.push_element(element));
        } else {
            self.list().push_node(node.to_listpack());
        }
    }

    /// Appends a node of one element.
    pub fn push_plain(&mut self, element: &[u8]) {
        self.list().push_plain(element.to_vec());
    }

    fn is_first_and_small(&self, bytes: usize) -> bool {
        self.list.is_none() && self.gathered.is_empty() && bytes <= MOST_GATHERED_BYTES
    }

    /// Whether what is gathered stays one node with so much more.
    fn has_room(&self, count: usize, bytes: usize, limits: &Limits) -> bool {
        let (len, byte_len) = (self.gathered.len() + count, self.gathered.byte_len() + bytes);
        !Fill::of(limits).exceeded_by(byte_len, len)
    }

    /// The list, which has all elements so far.
    fn list(&mut self) -> &mut List {
        let gathered = &mut self.gathered;
        self.list.get_or_insert_with(|| LoadedList::Listpack(gathered.view()).into_list())
    }

    /// The list, in the encoding that the limits ask for.
    pub fn finish(&mut self, limits: &Limits) -> LoadedList<'_> {
        if self.list.is_none() && !self.has_room(0, 0, limits) {
            self.list();
        }
        match self.list.take() {
            Some(mut list) => {
                list.settle(limits);
                LoadedList::Own(list)
            }
            None => LoadedList::Listpack(self.gathered.view()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::{InlineTag, Value};

    #[derive(Debug, Clone)]
    enum Come {
        One(Vec<u8>),
        Many(Vec<Vec<u8>>),
        Node(Vec<Vec<u8>>),
        Plain(Vec<u8>),
    }

    fn come() -> impl Strategy<Value = Come> {
        let short = || prop_oneof!["[a-c]{0,63}", "-?[0-9]{1,6}"].prop_map(String::into_bytes);
        prop_oneof![
            4 => prop_oneof![4 => short(), 1 => (64usize..5000).prop_map(|n| vec![b'x'; n])].prop_map(Come::One),
            4 => prop::collection::vec(short(), 0..60).prop_map(Come::Many),
            3 => prop::collection::vec(short(), 1..60).prop_map(Come::Node),
            1 => short().prop_map(Come::Plain),
        ]
    }

    proptest! {
        #[test]
        fn a_list_of_a_file_is_the_one_that_was_pushed(
            lists in prop::collection::vec(prop::collection::vec(come(), 0..6), 1..4),
            size in prop_oneof![Just(-2), Just(-1), Just(0), Just(3), Just(100)],
        ) {
            let l = Limits { list_max_listpack_size: size, ..Limits::DEFAULT };
            let mut loader = ListLoader::default();
            for coming in lists {
                let mut expected = List::new();
                loader.begin();
                for come in coming {
                    match come {
                        Come::One(element) => {
                            expected.push(End::Back, &element, &l);
                            loader.push(&element, &l);
                        }
                        Come::Many(elements) => {
                            elements.iter().for_each(|element| expected.push(End::Back, element, &l));
                            let bytes = elements.iter().map(|element| element.len() + 1).sum();
                            let all = elements.iter().map(|from| Short::Text { from, len: from.len() });
                            loader.push_all(all, elements.len(), bytes, &l);
                        }
                        Come::Node(elements) => {
                            let mut pack = ListpackBuf::new();
                            elements.iter().for_each(|element| pack.push_back(element));
                            loader.push_node(pack.view());
                            expected.push_node(pack);
                        }
                        Come::Plain(element) => {
                            loader.push_plain(&element);
                            expected.push_plain(element);
                        }
                    }
                }
                expected.settle(&l);
                let got = loader.finish(&l);
                if let LoadedList::Listpack(pack) = &got {
                    let value = Value::List(expected.clone());
                    let form = value.inline_form().map(|(tag, bytes)| (tag, bytes.to_vec()));
                    prop_assert_eq!(form, Some((InlineTag::ListListpack, pack.as_bytes().to_vec())));
                }
                prop_assert_eq!(format!("{:?}", got.into_list()), format!("{:?}", expected));
            }
        }
    }
}
