//! A listpack with spare room before it, for nodes that grow or shrink at their first element.
//!
//! A listpack begins with its header, so whatever comes first moves all the rest. Here the header moves
//! instead: six bytes. What is behind the spare room is a listpack like any other.

use super::super::grow;
use super::edit::New;
use super::{COUNT_UNKNOWN, END, HEADER, Listpack, ListpackBuf};

/// The least spare room that is made at once.
const LEAST_ROOM: usize = 64;
/// More room is made as a part of what is there.
const ROOM_PART: usize = 8;

/// A listpack that is pushed to and popped from at its front in O(1).
#[derive(Clone, Debug)]
pub struct FrontBuf {
    bytes: Vec<u8>,
    /// Where the listpack begins.
    head: usize,
}

impl From<ListpackBuf> for FrontBuf {
    fn from(pack: ListpackBuf) -> Self {
        Self { bytes: pack.into_bytes(), head: 0 }
    }
}

impl FrontBuf {
    /// The listpack without the room before it. O(n).
    #[must_use]
    pub fn into_listpack(mut self) -> ListpackBuf {
        self.bytes.drain(..self.head);
        ListpackBuf::from_trusted(self.bytes)
    }

    /// The view of it.
    #[inline]
    #[must_use]
    pub fn view(&self) -> Listpack<'_> {
        Listpack::trusted(&self.bytes[self.head..])
    }

    /// How many bytes the listpack takes.
    #[inline]
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.bytes.len() - self.head
    }

    /// Heap bytes, those of the spare room included.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Puts `s` before all others. O(1) but for growing.
    pub fn push_front(&mut self, s: &[u8]) {
        let new = New::of(s);
        let len = new.len();
        if self.head < len {
            self.make_room(len);
        }
        self.head -= len;
        let size = self.byte_len();
        // The header where it is now lies where the entry ends.
        let (header, entry) = self.bytes[self.head..][..HEADER + len].split_at_mut(HEADER);
        let count = entry.last_chunk().expect("an entry has two bytes at least");
        let count = usize::from(u16::from_le_bytes(*count));
        new.write(entry);
        write_header(header, size, if count == COUNT_UNKNOWN { count } else { count + 1 });
    }

    /// Appends `s`. O(1) but for growing.
    pub fn push_back(&mut self, s: &[u8]) {
        let new = New::of(s);
        let (len, count) = (new.len(), self.count());
        // What is popped in front makes room behind, or a queue would grow for ever.
        if self.bytes.len() + len > self.bytes.capacity() && self.head > self.byte_len() / ROOM_PART {
            self.bytes.drain(..self.head);
            self.head = 0;
        }
        let at = self.bytes.len() - 1;
        grow(&mut self.bytes, at + 1 + len);
        new.write(&mut self.bytes[at..at + len]);
        self.bytes[at + len] = END;
        self.set_header(if count == COUNT_UNKNOWN { count } else { count + 1 });
    }

    /// Removes the first element; answers whether it could: not if there is none, nor from a listpack
    /// that has lost count of its elements.
    pub fn pop_front(&mut self) -> bool {
        let count = self.count();
        let Some(next) = self.view().next(HEADER) else { return false };
        if count == COUNT_UNKNOWN {
            return false;
        }
        self.head += next - HEADER;
        self.set_header(count - 1);
        true
    }

    fn count(&self) -> usize {
        let at = self.head + 4;
        usize::from(u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]]))
    }

    /// Writes the header where the listpack now begins.
    fn set_header(&mut self, count: usize) {
        let size = self.byte_len();
        write_header(&mut self.bytes[self.head..self.head + HEADER], size, count);
    }

    #[cold]
    fn make_room(&mut self, least: usize) {
        let room = least + (self.byte_len() / ROOM_PART).max(LEAST_ROOM);
        let mut bytes = Vec::with_capacity(room + self.byte_len());
        bytes.resize(room, 0);
        bytes.extend_from_slice(&self.bytes[self.head..]);
        self.bytes = bytes;
        self.head = room;
    }
}

/// Writes the header of a listpack of so many bytes and elements.
#[inline]
fn write_header(header: &mut [u8], size: usize, count: usize) {
    let size = u32::try_from(size).expect("a listpack stays below 4 GiB, by contract");
    header[..4].copy_from_slice(&size.to_le_bytes());
    header[4..].copy_from_slice(&(count.min(COUNT_UNKNOWN) as u16).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Front(Vec<u8>),
        Back(Vec<u8>),
        Pop,
    }

    fn step() -> impl Strategy<Value = Step> {
        let bytes = || prop_oneof![2 => "[a-c]{0,90}", 2 => "-?[0-9]{1,6}"].prop_map(String::into_bytes);
        prop_oneof![4 => bytes().prop_map(Step::Front), 2 => bytes().prop_map(Step::Back), 3 => Just(Step::Pop)]
    }

    proptest! {
        #[test]
        fn it_is_the_listpack_that_the_editor_makes(steps in prop::collection::vec(step(), 0..80)) {
            let mut plain = ListpackBuf::new();
            let mut front = FrontBuf::from(ListpackBuf::new());
            for step in steps {
                match step {
                    Step::Front(s) => {
                        plain.push_front(&s);
                        front.push_front(&s);
                    }
                    Step::Back(s) => {
                        plain.push_back(&s);
                        front.push_back(&s);
                    }
                    Step::Pop => {
                        let popped = plain.remove_range(0, 1) == 1;
                        prop_assert_eq!(front.pop_front(), popped);
                    }
                }
                prop_assert_eq!(front.view().as_bytes(), plain.as_bytes());
                prop_assert_eq!(front.byte_len(), plain.byte_len());
            }
            prop_assert_eq!(front.into_listpack(), plain);
        }
    }

    #[test]
    fn a_queue_does_not_grow() {
        let mut front = FrontBuf::from(ListpackBuf::new());
        (0..100).for_each(|_| front.push_back(b"element"));
        let bytes = front.byte_len();
        for _ in 0..10_000 {
            front.push_back(b"element");
            assert!(front.pop_front());
        }
        assert_eq!(front.byte_len(), bytes);
        assert!(front.memory_bytes() < bytes * 3 / 2, "{}", front.memory_bytes());
    }

    #[test]
    fn a_count_that_says_nothing_stays_so() {
        let mut pack = ListpackBuf::new();
        (0..COUNT_UNKNOWN).for_each(|_| pack.push_back(b"1"));
        let mut front = FrontBuf::from(pack);
        front.push_front(b"0");
        assert_eq!(front.view().len(), COUNT_UNKNOWN + 1);
        assert!(!front.pop_front());
        assert_eq!(front.into_listpack().len(), COUNT_UNKNOWN + 1);
    }
}
