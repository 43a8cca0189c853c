//! The clients: one slot each, found by the number that the poller gives back.
//!
//! A client that is to go is marked and taken out at the end of the turn, so that numbers stay good
//! within one.

use std::os::fd::AsFd;
use std::time::Instant;

use cairn_engine::codec::resp::Protocol;

use crate::command::transaction::Transaction;
use crate::net::connection::Connection;
use crate::net::reactor::Interest;
use crate::net::stream::Stream;
use crate::queue::Weight;
use crate::tracking::Caching;
use crate::watch::Watched;

/// When a client is to be disconnected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    /// Not at all.
    No,
    /// Once everything written is sent; nothing more is read or run.
    AfterReplies,
    /// At the end of this turn.
    Now,
}

/// Which replies a client wants (CLIENT REPLY).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replies {
    /// All.
    On,
    /// None.
    Off,
    /// Not that of the next command.
    SkipNext,
}

/// Why nothing is run that a client sends; it is kept until it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// It runs.
    No,
    /// It waits for a key or a time.
    Blocked,
    /// CLIENT PAUSE.
    Paused,
}

/// Classes of clients, as `client-output-buffer-limit` and CLIENT LIST tell them apart. There are no
/// replicas yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// All others.
    Normal = 0,
    /// Those that listen to channels or patterns.
    Pubsub = 2,
}

/// What a client has told about itself, and what it may do.
#[derive(Debug)]
pub(crate) struct Session {
    /// Unique in this process, ever growing.
    pub(crate) id: u64,
    /// Selected database.
    pub(crate) db: usize,
    /// Protocol of replies.
    pub(crate) protocol: Protocol,
    /// CLIENT SETNAME.
    pub(crate) name: Vec<u8>,
    /// CLIENT SETINFO.
    pub(crate) lib_name: Vec<u8>,
    /// CLIENT SETINFO.
    pub(crate) lib_ver: Vec<u8>,
    /// Has given the password, or came when there was none.
    pub(crate) is_authenticated: bool,
    /// Has been authenticated once: no stranger, whatever it is now.
    pub(crate) was_authenticated: bool,
    /// CLIENT REPLY.
    pub(crate) replies: Replies,
    /// CLIENT NO-EVICT.
    pub(crate) no_evict: bool,
    /// CLIENT NO-TOUCH.
    pub(crate) no_touch: bool,
    /// Number of the last command in the table.
    pub(crate) last_command: Option<u16>,
    /// Why it has to wait.
    pub(crate) hold: Hold,
    /// Between MULTI and EXEC: the commands so far.
    pub(crate) transaction: Option<Box<Transaction>>,
    /// WATCH.
    pub(crate) watched: Vec<Watched>,
    /// A watched key has changed.
    pub(crate) is_watch_broken: bool,
    /// Listens to a channel or a pattern.
    pub(crate) is_subscriber: bool,
    /// MONITOR.
    pub(crate) is_monitor: bool,
    /// CLIENT TRACKING.
    pub(crate) caching: Option<Box<Caching>>,
    /// CLIENT IMPORT-SOURCE.
    pub(crate) is_import_source: bool,
    /// READONLY.
    pub(crate) is_read_only: bool,
    /// CLIENT CAPA REDIRECT.
    pub(crate) follows_redirects: bool,
    /// Up to where it has written to the log.
    pub(crate) written_to: u64,
}

/// A client.
#[derive(Debug)]
pub(crate) struct Client {
    /// Its socket.
    pub(crate) stream: Stream,
    /// Its bytes.
    pub(crate) connection: Connection,
    /// Its state.
    pub(crate) session: Session,
    /// What the poller watches it for.
    pub(crate) interest: Interest,
    /// When it goes.
    pub(crate) closing: Closing,
    /// The other side, as text.
    pub(crate) addr: String,
    /// Our side, as text.
    pub(crate) laddr: String,
    /// When it came.
    pub(crate) since: Instant,
    /// When it last sent something.
    pub(crate) active: Instant,
    /// When its output passed the soft limit, in seconds since 1970.
    pub(crate) soft_limit_since: Option<i64>,
    /// Bytes read.
    pub(crate) read_bytes: u64,
    /// Bytes written.
    pub(crate) written_bytes: u64,
    /// Commands run.
    pub(crate) commands: u64,
    /// Bytes of its own that it has sent and that are being run.
    pub(crate) in_flight: usize,
    /// What it takes, as of when it was last counted.
    pub(crate) counted: u64,
    /// How much work it causes.
    pub(crate) weight: Weight,
    /// There are commands in its input that are to run before more is read.
    pub(crate) is_cut_short: bool,
}

impl Client {
    /// A client that has just connected.
    pub(crate) fn new(
        stream: Stream,
        id: u64,
        is_authenticated: bool,
        unix_path: &str,
        now: Instant,
    ) -> Client {
        let (addr, laddr) = stream.addresses(unix_path);
        let session = Session {
            id,
            db: 0,
            protocol: Protocol::Resp2,
            name: Vec::new(),
            lib_name: Vec::new(),
            lib_ver: Vec::new(),
            is_authenticated,
            was_authenticated: is_authenticated,
            replies: Replies::On,
            no_evict: false,
            no_touch: false,
            last_command: None,
            hold: Hold::No,
            transaction: None,
            watched: Vec::new(),
            is_watch_broken: false,
            is_subscriber: false,
            is_monitor: false,
            caching: None,
            is_import_source: false,
            is_read_only: false,
            follows_redirects: false,
            written_to: 0,
        };
        Client {
            stream,
            connection: Connection::default(),
            session,
            interest: Interest::Read,
            closing: Closing::No,
            addr,
            laddr,
            since: now,
            active: now,
            soft_limit_since: None,
            read_bytes: 0,
            written_bytes: 0,
            commands: 0,
            in_flight: 0,
            counted: 0,
            weight: Weight::unknown(),
            is_cut_short: false,
        }
    }

    /// Its class.
    pub(crate) fn class(&self) -> Class {
        // Also of those that monitor, which Valkey keeps among replicas.
        if self.session.is_subscriber { Class::Pubsub } else { Class::Normal }
    }

    /// Marks the client to be disconnected; what is sooner wins.
    pub(crate) fn close(&mut self, when: Closing) {
        if self.closing != Closing::Now {
            self.closing = when;
        }
    }
}

#[derive(Debug)]
struct Slot {
    /// How many clients have had this slot; tells a late event from one that is meant.
    generation: u32,
    client: Option<Box<Client>>,
}

/// Every client.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    slots: Vec<Slot>,
    free: Vec<u32>,
    next_id: u64,
    /// What clients take, as of when each was last counted.
    counted: u64,
}

/// Numbers below this belong to other descriptors of the poller.
pub(crate) const FIRST_CLIENT_TOKEN: u64 = 1 << 8;

impl Clients {
    /// A number that no client has had.
    pub(crate) fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Number of clients.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Gives a client a slot: its index, and the token for the poller.
    pub(crate) fn insert(&mut self, client: Client) -> (u32, u64) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, client: None });
            u32::try_from(self.slots.len() - 1).expect("descriptors are fewer than 2^32")
        });
        self.slots[index as usize].client = Some(Box::new(client));
        (index, self.token(index))
    }

    /// The poller's number of a slot's client.
    pub(crate) fn token(&self, index: u32) -> u64 {
        let generation = u64::from(self.slots[index as usize].generation);
        (generation << 32) | (u64::from(index) + FIRST_CLIENT_TOKEN)
    }

    /// The slot that a token stands for, if its client is still there.
    pub(crate) fn by_token(&self, token: u64) -> Option<u32> {
        let index = u32::try_from((token & u64::from(u32::MAX)).checked_sub(FIRST_CLIENT_TOKEN)?).ok()?;
        let slot = self.slots.get(index as usize)?;
        (slot.client.is_some() && u64::from(slot.generation) == token >> 32).then_some(index)
    }

    /// The client in a slot.
    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&Client> {
        self.slots.get(index as usize)?.client.as_deref()
    }

    /// The client in a slot.
    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut Client> {
        self.slots.get_mut(index as usize)?.client.as_deref_mut()
    }

    /// Takes a client out of its slot.
    pub(crate) fn remove(&mut self, index: u32) -> Option<Box<Client>> {
        let slot = self.slots.get_mut(index as usize)?;
        let client = slot.client.take()?;
        self.counted -= client.counted;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(index);
        Some(client)
    }

    /// Notes what a client takes.
    pub(crate) fn count(&mut self, index: u32, bytes: u64) {
        if let Some(client) = self.get_mut(index) {
            let before = std::mem::replace(&mut client.counted, bytes);
            self.counted = self.counted - before + bytes;
        }
    }

    /// What all clients take, as of when each was last counted.
    pub(crate) fn counted(&self) -> u64 {
        self.counted
    }

    /// Every client with its slot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Client)> {
        (0..).zip(&self.slots).filter_map(|(i, slot)| Some((i, slot.client.as_deref()?)))
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
