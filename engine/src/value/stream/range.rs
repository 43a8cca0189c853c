//! Walking over the live entries of a stream, in either direction, without copying them.

use crate::base::stream_id::StreamId;

use super::node::{DELETED, Entry, EntryHead, Header, NodeRef};
use super::nodes::{At, Nodes};

/// Which end a walk starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the oldest entry.
    Forward,
    /// From the newest entry.
    Backward,
}

/// The live entries between two ids, both included.
#[derive(Debug, Clone)]
pub struct Range<'a> {
    walk: Walk<'a>,
}

/// A walk over heads of entries, deleted ones too if asked for.
#[derive(Debug, Clone)]
pub(super) struct Walk<'a> {
    nodes: &'a Nodes,
    start: StreamId,
    end: StreamId,
    direction: Direction,
    with_deleted: bool,
    /// The node to open next.
    next: Option<At>,
    current: Option<Current<'a>>,
}

#[derive(Debug, Clone, Copy)]
struct Current<'a> {
    at: At,
    node: NodeRef<'a>,
    header: Header,
    /// Forward: where the next entry starts. Backward: where the next one ends.
    offset: usize,
}

/// An entry that a walk has come to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) at: At,
    pub(super) node: NodeRef<'a>,
    pub(super) header: Header,
    pub(super) head: EntryHead,
}

impl<'a> Found<'a> {
    pub(super) fn entry(&self) -> Entry<'a> {
        self.node.entry(&self.header, &self.head)
    }
}

impl<'a> Range<'a> {
    pub(super) fn new(nodes: &'a Nodes, start: StreamId, end: StreamId, direction: Direction) -> Self {
        Self { walk: Walk::new(nodes, start, end, direction) }
    }
}

impl<'a> Iterator for Range<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        self.walk.next().map(|found| found.entry())
    }
}

impl<'a> Walk<'a> {
    pub(super) fn new(nodes: &'a Nodes, start: StreamId, end: StreamId, direction: Direction) -> Self {
        let next = match direction {
            Direction::Forward => nodes.at_or_before(start).or_else(|| nodes.first()),
            Direction::Backward => nodes.at_or_before(end),
        };
        let next = next.filter(|_| start <= end);
        Self { nodes, start, end, direction, with_deleted: false, next, current: None }
    }

    /// The same walk over deleted entries as well.
    pub(super) fn with_deleted(self) -> Self {
        Self { with_deleted: true, ..self }
    }

    /// Opens the next node; `false` if there is none.
    fn open(&mut self) -> bool {
        let Some(at) = self.next else { return false };
        self.next = match self.direction {
            Direction::Forward => self.nodes.after(at),
            Direction::Backward => self.nodes.before(at),
        };
        let node = self.nodes.get(at).map(|n| n.view());
        self.current = node.and_then(|node| {
            let header = node.header()?;
            let offset = match self.direction {
                Direction::Forward => header.entries_at,
                Direction::Backward => node.end_offset(),
            };
            Some(Current { at, node, header, offset })
        });
        true
    }

    fn step(&mut self) -> Option<Found<'a>> {
        let current = self.current.as_mut()?;
        let (node, header) = (current.node, current.header);
        let head = match self.direction {
            Direction::Forward => {
                let head = node.entry_head(&header, current.offset)?;
                current.offset = node.after(&head).unwrap_or(node.end_offset());
                head
            }
            Direction::Backward => {
                let at = node.before(&header, current.offset)?;
                current.offset = at;
                node.entry_head(&header, at)?
            }
        };
        Some(Found { at: current.at, node, header, head })
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        loop {
            let Some(found) = self.step() else {
                if !self.open() {
                    return None;
                }
                continue;
            };
            let id = found.head.id;
            let (reached, passed) = match self.direction {
                Direction::Forward => (id >= self.start, id > self.end),
                Direction::Backward => (id <= self.end, id < self.start),
            };
            if passed {
                (self.next, self.current) = (None, None);
                return None;
            }
            if reached && (self.with_deleted || found.head.flags & DELETED == 0) {
                return Some(found);
            }
        }
    }
}
