//! A stream as commands: its entries, its numbers, its groups with their consumers and what these have
//! yet to acknowledge.
//!
//! XCLAIM takes no entry that is not there, but consumers may have entries that were deleted since. The
//! servers drop them in a rewrite; here something stands for them in the stream until they are
//! claimed, and goes then. Behaviour: valkey src/aof.c, `rewriteStreamObject`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::iter::Peekable;

use crate::base::stream_id::StreamId;
use crate::value::stream::{Consumer, Direction, Entry, Group, Idempotence, Range, Stream};

use super::{Out, Pieces, Word, word};

/// How the commands of a stream go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Pending entries that are gone, from before the first one that is there.
    gone_before: u64,
    /// The same, from between those that are there.
    gone_between: u64,
}

impl Plan {
    /// `None` if commands cannot make this stream. O(groups), and O(entries) if any are pending.
    pub(super) fn of(stream: &Stream) -> Option<Plan> {
        let is_number = |n: u64| i64::try_from(n).is_ok();
        let totals = stream.totals();
        let says_enough = stream.idempotence().is_none_or(Idempotence::is_unused)
            && stream
                .groups()
                .all(|(_, group)| group.nacked().is_empty() && group.entries_read().is_none_or(is_number))
            && is_number(totals.entries_added)
            && totals.entries_added >= totals.length
            && totals.max_deleted_id <= totals.last_id
            && stream.last_live_id().is_none_or(|top| top <= totals.last_id);
        if !says_enough {
            return None;
        }
        let mut plan = Plan::default();
        if stream.groups().all(|(_, group)| group.pending_len() == 0) {
            return Some(plan);
        }
        let mut is_before = true;
        for met in Merged::new(stream) {
            match met {
                Met::Live(_) => is_before = false,
                Met::Gone(id) if id == StreamId::MIN || id > totals.last_id => return None,
                Met::Gone(_) if is_before => plan.gone_before += 1,
                Met::Gone(_) => plan.gone_between += 1,
            }
        }
        Some(plan)
    }

    fn any_gone(self) -> bool {
        self.gone_before + self.gone_between > 0
    }
}

/// Writes a stream; `false` if it turned out on the way that commands cannot make it.
pub(super) fn write<E>(out: &mut Out<'_, E>, key: &[u8], stream: &Stream, plan: Plan) -> Result<bool, E> {
    let mut words: Vec<Word<'_>> = Vec::new();
    if plan.any_gone() {
        for met in Merged::new(stream) {
            match met {
                Met::Live(entry) if !can_be_added(&entry) => return Ok(false),
                Met::Live(entry) => add(out, &mut words, key, &entry)?,
                Met::Gone(id) => {
                    out(&[word(b"XADD"), Word::Bytes(key), Word::Id(id), word(b"x"), word(b"y")])?;
                }
            }
        }
    } else {
        for entry in stream.range(StreamId::MIN, StreamId::MAX, Direction::Forward) {
            if !can_be_added(&entry) {
                return Ok(false);
            }
            add(out, &mut words, key, &entry)?;
        }
    }
    if stream.is_empty() && !plan.any_gone() {
        let first = Word::Id(StreamId::new(0, 1));
        let [maxlen, none] = [word(b"MAXLEN"), Word::Int(0)];
        out(&[word(b"XADD"), Word::Bytes(key), maxlen, none, first, word(b"x"), word(b"y")])?;
    }
    if !plan.any_gone() {
        numbers(out, key, stream)?;
    }
    for (name, group) in stream.groups() {
        self::group(out, key, name, group)?;
    }
    if plan.any_gone() {
        remove_gone(out, key, stream, plan)?;
        numbers(out, key, stream)?;
    }
    Ok(true)
}

/// False of entries that only a damaged file can have brought.
fn can_be_added(entry: &Entry<'_>) -> bool {
    entry.id != StreamId::MIN && !entry.fields.is_empty()
}

fn add<'a, E>(
    out: &mut Out<'_, E>,
    words: &mut Vec<Word<'a>>,
    key: &'a [u8],
    entry: &Entry<'a>,
) -> Result<(), E> {
    words.clear();
    words.extend([word(b"XADD"), Word::Bytes(key), Word::Id(entry.id)]);
    for (field, value) in entry.fields.clone() {
        words.extend([Word::from(field), Word::from(value)]);
    }
    out(words)
}

fn numbers<E>(out: &mut Out<'_, E>, key: &[u8], stream: &Stream) -> Result<(), E> {
    let totals = stream.totals();
    out(&[
        word(b"XSETID"),
        Word::Bytes(key),
        Word::Id(totals.last_id),
        word(b"ENTRIESADDED"),
        Word::Int(totals.entries_added as i64),
        word(b"MAXDELETEDID"),
        Word::Id(totals.max_deleted_id),
    ])
}

/// Removes what stood for entries that are gone. XTRIM where it can: it says of no id that it was deleted.
/// XDEL does, and XSETID cannot take that back where the stream says of none; but it was.
fn remove_gone<E>(out: &mut Out<'_, E>, key: &[u8], stream: &Stream, plan: Plan) -> Result<(), E> {
    if plan.gone_between == 0 {
        let left = Word::Int(stream.len() as i64);
        return out(&[word(b"XTRIM"), Word::Bytes(key), word(b"MAXLEN"), left]);
    }
    let mut pieces = Pieces::new(out, b"XDEL", key);
    for met in Merged::new(stream) {
        if let Met::Gone(id) = met {
            pieces.add(Word::Id(id))?;
        }
    }
    pieces.end()
}

fn group<E>(out: &mut Out<'_, E>, key: &[u8], name: &[u8], group: &Group) -> Result<(), E> {
    let group_words = [Word::Bytes(key), Word::Bytes(name)];
    let read = group.entries_read().map_or(-1, |read| read as i64);
    out(&[
        word(b"XGROUP"),
        word(b"CREATE"),
        group_words[0],
        group_words[1],
        Word::Id(group.last_id()),
        word(b"ENTRIESREAD"),
        Word::Int(read),
    ])?;
    for consumer in group.consumers() {
        if consumer.pending_len() == 0 {
            let consumer = Word::Bytes(consumer.name());
            out(&[word(b"XGROUP"), word(b"CREATECONSUMER"), group_words[0], group_words[1], consumer])?;
        } else {
            pending(out, key, name, group, consumer)?;
        }
    }
    Ok(())
}

/// What a consumer has yet to acknowledge: entries that were delivered together in one command.
fn pending<E>(
    out: &mut Out<'_, E>,
    key: &[u8],
    name: &[u8],
    group: &Group,
    consumer: &Consumer,
) -> Result<(), E> {
    let mut pieces = Pieces::new(out, b"XCLAIM", key);
    pieces.begin_with(&[Word::Bytes(name), Word::Bytes(consumer.name()), Word::Int(0)]);
    let mut last = None;
    for entry in group.pending_of(consumer, StreamId::MIN, StreamId::MAX) {
        let delivered = (entry.delivered_at.0, entry.deliveries);
        if last != Some(delivered) {
            pieces.end()?;
            last = Some(delivered);
            let (at, deliveries) = delivered;
            let deliveries = Word::Int(i64::try_from(deliveries).unwrap_or(i64::MAX));
            let [time, count] = [word(b"TIME"), word(b"RETRYCOUNT")];
            pieces.tail = [time, Word::Int(at), count, deliveries, word(b"JUSTID"), word(b"FORCE")].into();
        }
        pieces.add(Word::Id(entry.id))?;
    }
    pieces.end()
}

/// What is met on a walk in the order of ids.
enum Met<'a> {
    /// An entry.
    Live(Entry<'a>),
    /// An id that is pending in some group and has no entry.
    Gone(StreamId),
}

/// The ids that a group waits for.
type Ids<'a> = Box<dyn Iterator<Item = StreamId> + 'a>;

/// Entries, and pending ids without one. Memory: a few words a group.
struct Merged<'a> {
    entries: Peekable<Range<'a>>,
    groups: Vec<Ids<'a>>,
    /// The next pending id of each group, the least on top.
    next: BinaryHeap<Reverse<(StreamId, usize)>>,
}

impl<'a> Merged<'a> {
    fn new(stream: &'a Stream) -> Self {
        let ids = |group: &'a Group| -> Ids<'a> {
            Box::new(group.pending(StreamId::MIN, StreamId::MAX).map(|pending| pending.id))
        };
        let mut groups: Vec<Ids<'a>> = stream.groups().map(|(_, group)| ids(group)).collect();
        let first = groups.iter_mut().enumerate().filter_map(|(at, ids)| Some(Reverse((ids.next()?, at))));
        let next = first.collect();
        let entries = stream.range(StreamId::MIN, StreamId::MAX, Direction::Forward).peekable();
        Merged { entries, groups, next }
    }

    /// Passes over a pending id in all groups that have it.
    fn pass(&mut self, id: StreamId) {
        while let Some(Reverse((next, at))) = self.next.peek().copied()
            && next == id
        {
            self.next.pop();
            if let Some(after) = self.groups[at].next() {
                self.next.push(Reverse((after, at)));
            }
        }
    }
}

impl<'a> Iterator for Merged<'a> {
    type Item = Met<'a>;

    fn next(&mut self) -> Option<Met<'a>> {
        let live = self.entries.peek().map(|entry| entry.id);
        let pending = self.next.peek().map(|Reverse((id, _))| *id);
        if let Some(id) = pending
            && live.is_none_or(|live| id < live)
        {
            self.pass(id);
            return Some(Met::Gone(id));
        }
        let entry = self.entries.next()?;
        self.pass(entry.id);
        Some(Met::Live(entry))
    }
}
