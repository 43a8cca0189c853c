//! Bytes that wait to be sent to one client, in blocks. Does no I/O.
//!
//! A client that reads as fast as it asks has one small block. What piles up behind it lies in further
//! ones, so that more output costs what it has bytes and nothing is moved: with one buffer that grows, all
//! output of many clients that read nothing would be copied in one turn whenever they outgrow theirs.

use std::collections::VecDeque;
use std::io::IoSlice;

/// An empty block that is larger than this is given back.
const KEEP_BYTES: usize = 16 * 1024;

/// The front grows to this size before blocks are put behind it, and these are at least as large.
const LEAST_BLOCK_BYTES: usize = 64 * 1024;

/// Blocks are no larger than this, unless what is added at once is.
const MOST_BLOCK_BYTES: usize = 1024 * 1024;

/// So many blocks are sent with one call.
const MAX_SLICES: usize = 16;

/// A queue of bytes.
#[derive(Debug, Default)]
pub(crate) struct Unsent {
    /// The first block, of which `sent` bytes are gone. All of them are only if nothing is behind it.
    front: Vec<u8>,
    sent: usize,
    /// Most clients never have any.
    behind: Option<Box<Behind>>,
}

/// The blocks behind the first one.
#[derive(Debug, Default)]
struct Behind {
    blocks: VecDeque<Vec<u8>>,
    bytes: usize,
    /// The room that they have.
    capacity: usize,
}

impl Unsent {
    /// How many bytes wait.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.front.len() - self.sent + self.behind.as_ref().map_or(0, |behind| behind.bytes)
    }

    /// True if nothing waits.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.sent == self.front.len()
    }

    /// Heap bytes, room included.
    pub(crate) fn memory_bytes(&self) -> usize {
        let behind = |behind: &Behind| {
            size_of::<Behind>() + behind.capacity + behind.blocks.capacity() * size_of::<Vec<u8>>()
        };
        self.front.capacity() + self.behind.as_deref().map_or(0, behind)
    }

    /// Adds bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.behind.is_none() {
            if self.sent > 0 && self.sent >= self.front.len() / 2 {
                self.front.drain(..self.sent);
                self.sent = 0;
            }
            if self.front.is_empty() || self.front.len() + bytes.len() <= LEAST_BLOCK_BYTES {
                self.front.extend_from_slice(bytes);
                return;
            }
        }
        let waiting = self.len();
        let behind = self.behind.get_or_insert_default();
        let last = behind.blocks.back_mut();
        let is_front = last.is_none();
        let last = last.unwrap_or(&mut self.front);
        let (fitting, rest) = bytes.split_at(bytes.len().min(last.capacity() - last.len()));
        last.extend_from_slice(fitting);
        if !is_front {
            behind.bytes += fitting.len();
        }
        if !rest.is_empty() {
            let room = waiting.clamp(LEAST_BLOCK_BYTES, MOST_BLOCK_BYTES).max(rest.len());
            let mut block = Vec::with_capacity(room);
            block.extend_from_slice(rest);
            behind.bytes += rest.len();
            behind.capacity += block.capacity();
            behind.blocks.push_back(block);
        }
    }

    /// The first bytes, as many as one call is to send; how many slices there are.
    pub(crate) fn slices(&self) -> ([IoSlice<'_>; MAX_SLICES], usize) {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        slices[0] = IoSlice::new(&self.front[self.sent..]);
        let mut count = 1;
        let blocks = self.behind.iter().flat_map(|behind| &behind.blocks);
        for (slice, block) in slices[1..].iter_mut().zip(blocks) {
            *slice = IoSlice::new(block);
            count += 1;
        }
        (slices, count)
    }

    /// The first `count` bytes are sent.
    pub(crate) fn advance(&mut self, mut count: usize) {
        loop {
            let first = self.front.len() - self.sent;
            if count < first {
                self.sent += count;
                return;
            }
            count -= first;
            self.sent = 0;
            let Some(behind) = &mut self.behind else { break };
            let Some(next) = behind.blocks.pop_front() else { break };
            behind.bytes -= next.len();
            behind.capacity -= next.capacity();
            self.front = next;
        }
        debug_assert_eq!(count, 0, "more is sent than there was");
        self.front.clear();
        self.front.shrink_to(KEEP_BYTES);
        self.behind = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(unsent: &Unsent) -> impl Iterator<Item = &Vec<u8>> {
        std::iter::once(&unsent.front).chain(unsent.behind.iter().flat_map(|behind| &behind.blocks))
    }

    /// All that waits.
    fn all(unsent: &Unsent) -> Vec<u8> {
        let mut all = unsent.front[unsent.sent..].to_vec();
        blocks(unsent).skip(1).for_each(|block| all.extend_from_slice(block));
        all
    }

    #[test]
    fn it_is_a_queue() {
        let mut unsent = Unsent::default();
        unsent.push(b"abcdef");
        unsent.advance(4);
        unsent.push(b"gh");
        assert_eq!(all(&unsent), b"efgh");
        unsent.advance(4);
        assert!(unsent.is_empty());
        assert_eq!(all(&unsent), b"");
    }

    #[test]
    fn output_of_those_who_never_read_is_not_copied_when_it_grows() {
        let message = [7; 200_000];
        let mut unsent = Unsent::default();
        let mut places: Vec<*const u8> = Vec::new();
        for count in 1..=170 {
            unsent.push(&message);
            assert_eq!(unsent.len(), count * message.len());
            assert!(unsent.memory_bytes() < unsent.len() + MOST_BLOCK_BYTES + 64 * 1024);
            let are = || blocks(&unsent).map(Vec::as_ptr);
            assert!(are().zip(&places).all(|(is, was)| is == *was), "moved by message {count}");
            places = are().collect();
        }
    }

    #[test]
    fn whatever_is_added_and_sent_the_bytes_are_those_of_a_plain_queue() {
        let mut random = 1_u64;
        let mut below = |limit: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from((random >> 33) % limit).expect("a small number")
        };
        let (mut unsent, mut plain) = (Unsent::default(), VecDeque::new());
        for step in 0..300_usize {
            if below(2) == 0 {
                let most = [10, 5000, 100_000, 1_500_000][below(4)];
                let size = below(most);
                let bytes: Vec<u8> = (0..size).map(|i| (i + step).to_le_bytes()[0]).collect();
                unsent.push(&bytes);
                plain.extend(bytes);
            } else {
                let (slices, count) = unsent.slices();
                let offered: usize = slices[..count].iter().map(|slice| slice.len()).sum();
                assert_eq!(offered == 0, plain.is_empty());
                let taken = match below(3) {
                    0 => offered,
                    _ => below(offered as u64 + 1),
                };
                let mut left = taken;
                for slice in &slices[..count] {
                    let part = slice.len().min(left);
                    assert!(slice[..part].iter().eq(plain.range(..part)), "step {step}");
                    plain.drain(..part);
                    left -= part;
                }
                unsent.advance(taken);
            }
            assert_eq!((unsent.len(), unsent.is_empty()), (plain.len(), plain.is_empty()));
            let capacity: usize = blocks(&unsent).skip(1).map(Vec::capacity).sum();
            assert_eq!(unsent.behind.as_ref().map_or(0, |behind| behind.capacity), capacity);
        }
        unsent.advance(unsent.len());
        assert!(unsent.memory_bytes() <= KEEP_BYTES);
    }
}
