//! A stream from the events of an RDB, in file order; nothing is believed that can be checked.
//!
//! Behaviour: valkey src/rdb.c, `rdbLoadObject`.

use crate::base::stream_id::StreamId;
use crate::base::time::UnixMs;
use crate::packed::listpack::Listpack;

use super::group::{ConsumerId, Group};
use super::node::Node;
use super::{Idempotence, Stream};

/// Why a record is no stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadStream {
    /// A node's listpack does not hold entries.
    #[error("the entries of node {master} do not have the layout of stream entries")]
    Node {
        /// The node's id.
        master: StreamId,
    },
    /// Two nodes have the same id.
    #[error("node {master} comes twice")]
    DuplicateNode {
        /// The id.
        master: StreamId,
    },
    /// The nodes hold another number of live entries.
    #[error("the stream declares {declared} entries, its nodes hold {counted}")]
    Length {
        /// What the record says.
        declared: u64,
        /// Live entries in the nodes.
        counted: u64,
    },
    /// Two groups have the same name.
    #[error("a consumer group comes twice")]
    DuplicateGroup,
    /// Two consumers of a group have the same name.
    #[error("a consumer comes twice")]
    DuplicateConsumer,
    /// An id is twice among a group's pending ones.
    #[error("entry {id} is pending twice")]
    DuplicatePending {
        /// The id.
        id: StreamId,
    },
    /// A consumer's pending id is not pending in the group, or belongs to another consumer.
    #[error("entry {id} of a consumer is not pending in its group, or is another consumer's")]
    NotPending {
        /// The id.
        id: StreamId,
    },
    /// A group has pending entries of no consumer.
    #[error("a consumer group has a pending entry without a consumer")]
    NoOwner,
    /// Something came before what it belongs to.
    #[error("the parts of the stream come in the wrong order")]
    Order,
}

/// Which fields the record has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StreamForm {
    /// Type 15: no first id, deleted id, counters.
    First,
    /// Type 19: these.
    Counters,
    /// Type 21 and above: consumers' active times too.
    ActiveTimes,
}

/// The numbers after the nodes, as the record has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoadTotals {
    /// Live entries.
    pub length: u64,
    /// The last id ever added.
    pub last_id: StreamId,
    /// First live id.
    pub first_id: Option<StreamId>,
    /// Greatest deleted id.
    pub max_deleted_id: Option<StreamId>,
    /// Entries ever added.
    pub entries_added: Option<u64>,
}

/// Puts a stream together. Calls follow the order of the record.
#[derive(Debug)]
pub struct StreamLoader {
    stream: Stream,
    form: StreamForm,
    live: u64,
    group: Option<(Box<[u8]>, Group)>,
    consumer: Option<ConsumerId>,
}

impl StreamLoader {
    /// A loader of a record of this form.
    #[must_use]
    pub fn new(form: StreamForm) -> Self {
        Self { stream: Stream::new(), form, live: 0, group: None, consumer: None }
    }

    /// Takes a node, whose bytes must be a sound listpack.
    ///
    /// # Errors
    /// `Node`, `DuplicateNode`.
    pub fn node(&mut self, master: StreamId, pack: Listpack<'_>) -> Result<(), BadStream> {
        let node = Node::from_listpack(master, pack).ok_or(BadStream::Node { master })?;
        self.live = self.live.saturating_add(node.view().live());
        if self.stream.nodes.insert(node) { Ok(()) } else { Err(BadStream::DuplicateNode { master }) }
    }

    /// Takes the numbers that follow the nodes.
    ///
    /// # Errors
    /// `Length`.
    pub fn totals(&mut self, loaded: &LoadTotals) -> Result<(), BadStream> {
        // Old servers have miscounted when they trimmed, and every server loads their files. The nodes
        // are what is there, so their count is taken; only entries of which none is there cannot be.
        if loaded.length > 0 && self.live == 0 {
            return Err(BadStream::Length { declared: loaded.length, counted: self.live });
        }
        let totals = &mut self.stream.totals;
        totals.length = self.live;
        totals.last_id = loaded.last_id;
        totals.max_deleted_id = loaded.max_deleted_id.unwrap_or(StreamId::MIN);
        totals.entries_added = loaded.entries_added.unwrap_or(self.live);
        match loaded.first_id {
            Some(id) => totals.first_id = id,
            None => self.stream.find_first(),
        }
        Ok(())
    }

    /// Starts a group. Its counter is estimated if the form has none.
    ///
    /// # Errors
    /// `DuplicateGroup`, and what was wrong with the group before.
    pub fn group(
        &mut self,
        name: &[u8],
        last_id: StreamId,
        entries_read: Option<u64>,
    ) -> Result<(), BadStream> {
        self.end_group()?;
        if self.stream.groups.contains_key(name) {
            return Err(BadStream::DuplicateGroup);
        }
        let reads = match self.form {
            StreamForm::First => self.stream.totals.entries_up_to(last_id),
            _ => entries_read,
        };
        self.group = Some((name.into(), Group::new(last_id, reads)));
        Ok(())
    }

    /// Takes a pending entry of the group.
    ///
    /// # Errors
    /// `DuplicatePending`, `Order`.
    pub fn pending(&mut self, id: StreamId, delivered_at: UnixMs, deliveries: u64) -> Result<(), BadStream> {
        let (_, group) = self.group.as_mut().ok_or(BadStream::Order)?;
        if group.load_pending(id, delivered_at, deliveries) {
            Ok(())
        } else {
            Err(BadStream::DuplicatePending { id })
        }
    }

    /// Takes the id of a pending entry that was given back.
    ///
    /// # Errors
    /// `NotPending`, `Order`.
    pub fn nacked(&mut self, id: StreamId) -> Result<(), BadStream> {
        let (_, group) = self.group.as_mut().ok_or(BadStream::Order)?;
        if group.load_nacked(id) { Ok(()) } else { Err(BadStream::NotPending { id }) }
    }

    /// Starts a consumer of the group. Forms without active times take the seen time for it.
    ///
    /// # Errors
    /// `DuplicateConsumer`, `Order`.
    pub fn consumer(
        &mut self,
        name: &[u8],
        seen_at: UnixMs,
        active_at: Option<UnixMs>,
    ) -> Result<(), BadStream> {
        let (_, group) = self.group.as_mut().ok_or(BadStream::Order)?;
        let id = group.add_consumer(name, seen_at).ok_or(BadStream::DuplicateConsumer)?;
        group.consumer_mut(id).active_at =
            if self.form < StreamForm::ActiveTimes { Some(seen_at) } else { active_at };
        self.consumer = Some(id);
        Ok(())
    }

    /// Takes the id of a pending entry of the consumer.
    ///
    /// # Errors
    /// `NotPending`, `Order`.
    pub fn consumer_pending(&mut self, id: StreamId) -> Result<(), BadStream> {
        let (_, group) = self.group.as_mut().ok_or(BadStream::Order)?;
        let consumer = self.consumer.ok_or(BadStream::Order)?;
        if group.load_owner(id, consumer) { Ok(()) } else { Err(BadStream::NotPending { id }) }
    }

    /// Takes the settings and counters of idempotent production.
    pub fn idempotence(&mut self, duration_s: u64, max_entries: u64, added: u64, duplicates: u64) {
        let own = self.stream.idempotence.get_or_insert_default();
        (own.duration_s, own.max_entries) = (duration_s, max_entries);
        (own.added, own.duplicates) = (added, duplicates);
    }

    /// Takes an idempotent id of a producer.
    pub fn idempotent_id(&mut self, producer: &[u8], iid: &[u8], id: StreamId) {
        let own = self.stream.idempotence.get_or_insert_with(|| Box::new(Idempotence::default()));
        own.producers.entry(producer.into()).or_default().push((iid.into(), id));
    }

    fn end_group(&mut self) -> Result<(), BadStream> {
        self.consumer = None;
        if let Some((name, group)) = self.group.take() {
            if !group.is_complete() {
                return Err(BadStream::NoOwner);
            }
            self.stream.groups.insert(name, group);
        }
        Ok(())
    }

    /// The stream.
    ///
    /// # Errors
    /// What was wrong with the last group; `Length` if there were nodes but no totals.
    pub fn finish(mut self) -> Result<Stream, BadStream> {
        self.end_group()?;
        let declared = self.stream.totals.length;
        if declared != self.live {
            return Err(BadStream::Length { declared, counted: self.live });
        }
        Ok(self.stream)
    }
}
