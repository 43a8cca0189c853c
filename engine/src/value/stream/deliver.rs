//! What consumers do: read, acknowledge, claim.
//!
//! The stream knows which entries exist, the group who has them; here they meet. Replies and what is
//! propagated are the callers' business, who are told of each id. Behaviour: valkey src/t_stream.c,
//! `streamReplyWithRange`, `xclaimCommand`, `xautoclaimCommand`.

use crate::base::stream_id::StreamId;
use crate::base::time::UnixMs;

use super::Stream;
use super::group::{Group, Idle};
use super::node::Entry;
use super::range::{Direction, Walk};

/// A stream has no group of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such consumer group")]
pub struct NoGroup;

/// Whether delivered entries wait for an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// They do.
    Wanted,
    /// They do not (NOACK).
    Unwanted,
}

/// Who reads from a group.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    /// The group's name.
    pub group: &'a [u8],
    /// The consumer's name.
    pub consumer: &'a [u8],
    /// The time of the command.
    pub now: UnixMs,
}

/// What a claim asks for and sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Entries delivered less than this long ago are left alone; 0 takes all.
    pub min_idle_ms: i64,
    /// The delivery time that is noted.
    pub delivered_at: UnixMs,
    /// What becomes of the number of deliveries.
    pub deliveries: Deliveries,
    /// Entries that are not pending become so (FORCE).
    pub force: bool,
}

/// What a claim does to the number of deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deliveries {
    /// One more.
    Count,
    /// Stays (JUSTID).
    Keep,
    /// Becomes this (RETRYCOUNT).
    Set(u64),
}

/// What became of an id that was claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// It is the consumer's now.
    Yes {
        /// How often it was delivered.
        deliveries: u64,
    },
    /// It is not pending, or was delivered too recently.
    No,
    /// The entry is gone from the stream, and was taken off the pending ones if it was there: this is
    /// what was known of it then.
    Gone(Option<Unclaimed>),
}

/// What was known of a pending entry that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unclaimed {
    /// Whose it was; `None` if it was given back.
    pub consumer: Option<Box<[u8]>>,
    /// When it was last delivered.
    pub delivered_at: UnixMs,
    /// How often it was delivered.
    pub deliveries: u64,
}

/// What XAUTOCLAIM did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AutoClaimed {
    /// Where the next call should go on, 0-0 at the end.
    pub next: StreamId,
    /// What became of the ids that it took or found gone, in the order of ids.
    pub found: Vec<(StreamId, Claimed)>,
}

impl AutoClaimed {
    /// The ids that are the consumer's now.
    pub fn claimed(&self) -> impl Iterator<Item = StreamId> {
        self.found.iter().filter(|(_, became)| matches!(became, Claimed::Yes { .. })).map(|(id, _)| *id)
    }

    /// The ids whose entries are gone; they are not pending any more.
    pub fn gone(&self) -> impl Iterator<Item = StreamId> {
        self.found.iter().filter(|(_, became)| matches!(became, Claimed::Gone(_))).map(|(id, _)| *id)
    }
}

impl Stream {
    /// Notes that a consumer has come, and adds it if it is new; answers whether it is.
    ///
    /// # Errors
    /// [`NoGroup`].
    pub fn see_consumer(&mut self, reader: Reader<'_>) -> Result<bool, NoGroup> {
        let group = self.groups.get_mut(reader.group).ok_or(NoGroup)?;
        if let Some(id) = group.find_consumer(reader.consumer) {
            group.consumer_mut(id).seen_at = reader.now;
            return Ok(false);
        }
        group.add_consumer(reader.consumer, reader.now);
        Ok(true)
    }

    /// Whether there are entries that the group has not delivered.
    #[must_use]
    pub fn has_news(&self, group: &[u8]) -> bool {
        let last_id = self.groups.get(group).map(Group::last_id);
        last_id.is_some_and(|last| self.last_live_id().is_some_and(|id| id > last))
    }

    /// Delivers entries that the group has not delivered yet, `limit` at most (0: all); each is given
    /// to `with`. The consumer must have been seen. Answers how many there were.
    ///
    /// # Errors
    /// [`NoGroup`], also when there is no such consumer.
    pub fn deliver_new(
        &mut self,
        reader: Reader<'_>,
        limit: u64,
        acks: Acks,
        mut with: impl FnMut(Entry<'_>),
    ) -> Result<u64, NoGroup> {
        let totals = self.totals;
        let group = self.groups.get_mut(reader.group).ok_or(NoGroup)?;
        let consumer = group.find_consumer(reader.consumer).ok_or(NoGroup)?;
        let Some(start) = group.last_id.next() else { return Ok(0) };
        let mut delivered = 0;
        for found in Walk::new(&self.nodes, start, StreamId::MAX, Direction::Forward) {
            let id = found.head.id;
            if id > group.last_id {
                group.entries_read = totals.reads_after(group.entries_read, group.last_id, id);
                group.last_id = id;
            }
            if acks == Acks::Wanted {
                group.assign(id, consumer, reader.now, 1);
                group.consumer_mut(consumer).active_at = Some(reader.now);
            }
            with(found.entry());
            delivered += 1;
            if delivered == limit {
                break;
            }
        }
        Ok(delivered)
    }

    /// Delivers again what the consumer has from `start` on and has not acknowledged, `limit` at most
    /// (0: all). `with` is given each id, and its entry unless that is gone. Answers how many.
    ///
    /// # Errors
    /// [`NoGroup`], also when there is no such consumer.
    pub fn deliver_again(
        &mut self,
        reader: Reader<'_>,
        start: StreamId,
        limit: u64,
        mut with: impl FnMut(StreamId, Option<Entry<'_>>),
    ) -> Result<u64, NoGroup> {
        let group = self.groups.get_mut(reader.group).ok_or(NoGroup)?;
        let consumer = group.find_consumer(reader.consumer).ok_or(NoGroup)?;
        let mut delivered = 0;
        let mut from = Some(start);
        while (limit == 0 || delivered < limit)
            && let Some(id) = from.and_then(|from| group.pending_of_from(consumer, from))
        {
            let found = Walk::new(&self.nodes, id, id, Direction::Forward).next();
            if found.is_some() {
                group.deliver_again(id, reader.now);
            }
            with(id, found.map(|f| f.entry()));
            from = id.next();
            delivered += 1;
        }
        Ok(delivered)
    }

    /// What has been pending in a group for at least `min_idle_ms`, `limit` entries at most (0: all).
    /// Those that are gone from the stream are passed over.
    ///
    /// # Errors
    /// [`NoGroup`].
    pub fn idle_pending(
        &mut self,
        group: &[u8],
        now: UnixMs,
        min_idle_ms: i64,
        limit: u64,
    ) -> Result<Idle, NoGroup> {
        let group = self.groups.get_mut(group).ok_or(NoGroup)?;
        let limit = match limit {
            0 => usize::MAX,
            n => usize::try_from(n).unwrap_or(usize::MAX),
        };
        let nodes = &self.nodes;
        let exists = |id| Walk::new(nodes, id, id, Direction::Forward).next().is_some();
        Ok(group.idle(now, min_idle_ms, limit, exists))
    }

    /// Acknowledges entries; answers how many of them were pending.
    pub fn ack(&mut self, group: &[u8], ids: &[StreamId]) -> u64 {
        let Some(group) = self.groups.get_mut(group) else { return 0 };
        ids.iter().map(|&id| u64::from(group.remove_pending(id))).sum()
    }

    /// Makes one entry pending for a consumer, which must have been seen, if the claim allows it.
    ///
    /// # Errors
    /// [`NoGroup`], also when there is no such consumer.
    pub fn claim(&mut self, reader: Reader<'_>, id: StreamId, claim: &Claim) -> Result<Claimed, NoGroup> {
        let exists = self.contains(id);
        let group = self.groups.get_mut(reader.group).ok_or(NoGroup)?;
        let consumer = group.find_consumer(reader.consumer).ok_or(NoGroup)?;
        if !exists {
            let gone = group.pending_at(id).map(|pending| Unclaimed {
                consumer: pending.consumer.map(Into::into),
                delivered_at: pending.delivered_at,
                deliveries: pending.deliveries,
            });
            group.remove_pending(id);
            return Ok(Claimed::Gone(gone));
        }
        let had = match group.pending_at(id) {
            Some(pending) => {
                let idle = reader.now.ms_after(pending.delivered_at);
                if pending.consumer.is_some() && claim.min_idle_ms > 0 && idle < claim.min_idle_ms {
                    return Ok(Claimed::No);
                }
                pending.deliveries
            }
            // What FORCE makes pending counts as delivered once before.
            None if claim.force => 1,
            None => return Ok(Claimed::No),
        };
        let deliveries = match claim.deliveries {
            Deliveries::Count => had.wrapping_add(1),
            Deliveries::Keep => had,
            Deliveries::Set(n) => n,
        };
        group.assign(id, consumer, claim.delivered_at, deliveries);
        group.consumer_mut(consumer).active_at = Some(reader.now);
        Ok(Claimed::Yes { deliveries })
    }

    /// Claims what has been pending for `min_idle_ms` from `start` on: looks at ten times `count`
    /// entries at most and takes, or finds gone, `count` of them at most.
    ///
    /// # Errors
    /// [`NoGroup`], also when there is no such consumer.
    pub fn auto_claim(
        &mut self,
        reader: Reader<'_>,
        min_idle_ms: i64,
        start: StreamId,
        count: u64,
        deliveries: Deliveries,
    ) -> Result<AutoClaimed, NoGroup> {
        const ATTEMPTS_PER_ENTRY: u64 = 10;
        self.groups.get(reader.group).and_then(|g| g.find_consumer(reader.consumer)).ok_or(NoGroup)?;
        let claim = Claim { min_idle_ms, delivered_at: reader.now, deliveries, force: false };
        let mut done = AutoClaimed::default();
        let (mut attempts, mut left) = (count.saturating_mul(ATTEMPTS_PER_ENTRY), count);
        let mut from = Some(start);
        loop {
            let group = self.groups.get(reader.group).ok_or(NoGroup)?;
            let Some(id) = from.and_then(|from| group.pending_from(from)) else { break };
            if attempts == 0 || left == 0 {
                done.next = id;
                break;
            }
            attempts -= 1;
            from = id.next();
            match self.claim(reader, id, &claim)? {
                Claimed::No => continue,
                became => done.found.push((id, became)),
            }
            left -= 1;
        }
        Ok(done)
    }
}
