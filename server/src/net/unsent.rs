//! Bytes that wait to be sent to one client, in blocks. Does no I/O.
//!
//! A client that reads as fast as it asks has one small block. What piles up behind it lies in further
//! ones, so that more output costs what it has bytes and nothing is moved: with one buffer that grows, all
//! output of many clients that read nothing would be copied in one turn whenever they outgrow theirs.
//!
//! A long message to many is one block for all of them: a copy for each takes longer than a turn should.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

/// An empty block that is larger than this is given back.
const KEEP_BYTES: usize = 16 * 1024;

/// The front grows to this size before blocks are put behind it.
const FRONT_BYTES: usize = 64 * 1024;

/// The least room behind a message that is shared: another such may be next.
const LEAST_ROOM_BYTES: usize = 1024;

/// Blocks are twice as large as the one before, but no larger than this, unless what is added at once is.
const MOST_BLOCK_BYTES: usize = 1024 * 1024;

/// So many blocks are sent with one call.
const MAX_SLICES: usize = 16;

/// From so many bytes on a message is worth sharing.
pub(crate) const LONG_BYTES: usize = 16 * 1024;

/// What is there of a long message besides the buffer in which it was written.
#[derive(Debug, Default)]
pub(crate) enum Copies {
    /// Nobody had to wait for it.
    #[default]
    None,
    /// One client has its own.
    One,
    /// The whole message, for all who come.
    Shared(Arc<[u8]>),
}

/// Bytes that follow one another.
#[derive(Debug)]
enum Block {
    Own(Vec<u8>),
    /// A message that other clients wait for, too, from its byte `at` on.
    Shared {
        message: Arc<[u8]>,
        at: usize,
    },
}

impl Block {
    fn bytes(&self) -> &[u8] {
        match self {
            Block::Own(bytes) => bytes,
            Block::Shared { message, at } => &message[*at..],
        }
    }

    /// Heap bytes; those of a shared one count for each client, as a limit on them is meant.
    fn capacity(&self) -> usize {
        match self {
            Block::Own(bytes) => bytes.capacity(),
            Block::Shared { message, .. } => message.len(),
        }
    }
}

impl Default for Block {
    fn default() -> Self {
        Block::Own(Vec::new())
    }
}

/// A queue of bytes.
#[derive(Debug, Default)]
pub(crate) struct Unsent {
    /// The first block, of which `sent` bytes are gone. All of them are only if nothing is behind it.
    front: Block,
    sent: usize,
    /// Most clients never have any.
    behind: Option<Box<Behind>>,
}

/// The blocks behind the first one.
#[derive(Debug, Default)]
struct Behind {
    blocks: VecDeque<Block>,
    bytes: usize,
    /// The room that they have.
    capacity: usize,
}

impl Unsent {
    /// How many bytes wait.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.front.bytes().len() - self.sent + self.behind.as_ref().map_or(0, |behind| behind.bytes)
    }

    /// True if nothing waits.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.sent == self.front.bytes().len()
    }

    /// Heap bytes, room included.
    pub(crate) fn memory_bytes(&self) -> usize {
        let behind = |behind: &Behind| {
            size_of::<Behind>() + behind.capacity + behind.blocks.capacity() * size_of::<Block>()
        };
        self.front.capacity() + self.behind.as_deref().map_or(0, behind)
    }

    /// Adds bytes.
    #[inline]
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.push_some(bytes);
        }
    }

    /// Adds what is behind the first `sent` bytes of a message that other clients may get, too.
    pub(crate) fn push_message(&mut self, message: &[u8], sent: usize, copies: &mut Copies) {
        if message.len() - sent < LONG_BYTES {
            return self.push(&message[sent..]);
        }
        let message = match copies {
            Copies::None => {
                *copies = Copies::One;
                return self.push(&message[sent..]);
            }
            Copies::One => {
                let shared = Arc::from(message);
                *copies = Copies::Shared(Arc::clone(&shared));
                shared
            }
            Copies::Shared(shared) => Arc::clone(shared),
        };
        self.push_block(Block::Shared { message, at: sent });
    }

    fn push_some(&mut self, bytes: &[u8]) {
        if let (None, Block::Own(front)) = (&self.behind, &mut self.front) {
            if self.sent > 0 && self.sent >= front.len() / 2 {
                front.drain(..self.sent);
                self.sent = 0;
            }
            if front.is_empty() || front.len() + bytes.len() <= FRONT_BYTES {
                front.extend_from_slice(bytes);
                return;
            }
        }
        let behind = self.behind.as_deref_mut().filter(|behind| !behind.blocks.is_empty());
        let (last, behind_bytes) = match behind {
            Some(Behind { blocks, bytes, .. }) => (blocks.back_mut(), Some(bytes)),
            None => (Some(&mut self.front), None),
        };
        let (mut fitting, mut room) = (0, LEAST_ROOM_BYTES);
        if let Some(Block::Own(last)) = last {
            fitting = bytes.len().min(last.capacity() - last.len());
            last.extend_from_slice(&bytes[..fitting]);
            room = (2 * last.capacity()).min(MOST_BLOCK_BYTES);
        }
        if let Some(behind_bytes) = behind_bytes {
            *behind_bytes += fitting;
        }
        let rest = &bytes[fitting..];
        if !rest.is_empty() {
            let mut block = Vec::with_capacity(room.max(rest.len()));
            block.extend_from_slice(rest);
            self.push_block(Block::Own(block));
        }
    }

    fn push_block(&mut self, block: Block) {
        if self.is_empty() {
            debug_assert!(self.behind.is_none(), "the front is empty only if all is");
            (self.front, self.sent) = (block, 0);
            return;
        }
        let behind = self.behind.get_or_insert_default();
        behind.bytes += block.bytes().len();
        behind.capacity += block.capacity();
        behind.blocks.push_back(block);
    }

    /// The first bytes, as many as one call is to send; how many slices there are.
    pub(crate) fn slices(&self) -> ([IoSlice<'_>; MAX_SLICES], usize) {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        slices[0] = IoSlice::new(&self.front.bytes()[self.sent..]);
        let mut count = 1;
        let blocks = self.behind.iter().flat_map(|behind| &behind.blocks);
        for (slice, block) in slices[1..].iter_mut().zip(blocks) {
            *slice = IoSlice::new(block.bytes());
            count += 1;
        }
        (slices, count)
    }

    /// The first `count` bytes are sent.
    pub(crate) fn advance(&mut self, mut count: usize) {
        loop {
            let first = self.front.bytes().len() - self.sent;
            if count < first {
                self.sent += count;
                return;
            }
            count -= first;
            self.sent = 0;
            let Some(behind) = &mut self.behind else { break };
            let Some(next) = behind.blocks.pop_front() else { break };
            behind.bytes -= next.bytes().len();
            behind.capacity -= next.capacity();
            self.front = next;
        }
        debug_assert_eq!(count, 0, "more is sent than there was");
        match &mut self.front {
            Block::Own(front) => {
                front.clear();
                front.shrink_to(KEEP_BYTES);
            }
            Block::Shared { .. } => self.front = Block::default(),
        }
        self.behind = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(unsent: &Unsent) -> impl Iterator<Item = &Block> {
        std::iter::once(&unsent.front).chain(unsent.behind.iter().flat_map(|behind| &behind.blocks))
    }

    /// All that waits.
    fn all(unsent: &Unsent) -> Vec<u8> {
        let mut all = unsent.front.bytes()[unsent.sent..].to_vec();
        blocks(unsent).skip(1).for_each(|block| all.extend_from_slice(block.bytes()));
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
            let are = || blocks(&unsent).map(|block| block.bytes().as_ptr());
            assert!(are().zip(&places).all(|(is, was)| is == *was), "moved by message {count}");
            places = are().collect();
        }
    }

    #[test]
    fn a_long_message_to_many_is_there_twice_at_most() {
        let message = vec![7; 200_000];
        let mut copies = Copies::default();
        let mut all_unsent: Vec<Unsent> = (0..50).map(|_| Unsent::default()).collect();
        for (unsent, sent) in all_unsent.iter_mut().zip((0..).step_by(100)) {
            unsent.push(b"before ");
            unsent.push_message(&message, sent, &mut copies);
            unsent.push(b" behind");
            assert_eq!(all(unsent), [b"before ", &message[sent..], b" behind"].concat());
            // A limit on what waits for a client does not ask who else waits for it.
            assert!(unsent.memory_bytes() >= unsent.len());
        }
        let holders = |copies: &Copies| match copies {
            Copies::Shared(message) => Arc::strong_count(message),
            _ => 0,
        };
        assert_eq!(holders(&copies), 50, "one has its own, and the last is held here");
        all_unsent.iter_mut().for_each(|unsent| unsent.advance(unsent.len()));
        assert_eq!(holders(&copies), 1);
        let mut one = Unsent::default();
        one.push_message(&message[..LONG_BYTES - 1], 0, &mut copies);
        one.push_message(&message, message.len() - 1, &mut copies);
        assert_eq!(holders(&copies), 1, "what is short is copied");
    }

    #[test]
    fn whatever_is_added_and_sent_the_bytes_are_those_of_a_plain_queue() {
        let mut random = 1_u64;
        let mut below = |limit: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from((random >> 33) % limit).expect("a small number")
        };
        let (mut unsent, mut plain) = (Unsent::default(), VecDeque::new());
        let mut copies = Copies::default();
        for step in 0..600_usize {
            if below(4) == 0 {
                // Sent to others before, or not.
                copies = if below(2) == 0 { Copies::One } else { std::mem::take(&mut copies) };
                let message: Vec<u8> = match &copies {
                    Copies::Shared(message) => message.to_vec(),
                    _ => vec![step.to_le_bytes()[0]; below(100_000)],
                };
                let sent = below(message.len() as u64 + 1);
                unsent.push_message(&message, sent, &mut copies);
                plain.extend(&message[sent..]);
            } else if below(2) == 0 {
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
            let capacity: usize = blocks(&unsent).skip(1).map(Block::capacity).sum();
            assert_eq!(unsent.behind.as_ref().map_or(0, |behind| behind.capacity), capacity);
        }
        unsent.advance(unsent.len());
        assert!(unsent.memory_bytes() <= KEEP_BYTES);
    }
}
