//! XREAD and XREADGROUP: entries of several streams, waiting for them if asked to.
//!
//! What XREADGROUP hands out is logged as the claims and the progress that came of it; a read of what
//! is pending already is not logged at all. Behaviour: valkey src/t_stream.c, `xreadCommand`.

use crate::base::stream_id::StreamId;
use crate::base::time::UnixMs;
use crate::codec::resp::{Protocol, Reply};
use crate::value::stream::{
    Acks, Claim, Claimed, Deliveries, Direction, Entry, Idle, NoGroup, Reader, Stream,
};

use super::effects::Classes;
use super::spec::{BLOCKING, BeginSearch, FindKeys, Group, KeySpec, KeyUse, READONLY, READS, Spec, WRITE};
use super::stream::{INVALID_ID, id_word, reply_entries, reply_entry, reply_entry_parts, reply_id};
use super::stream_group::shown;
use super::stream_log::{GroupName, PendingWords};
use super::wait::{OnTimeout, Wait, WaitFor};
use super::{Args, CommandError, Context, Data, DataCommand, Outcome};

/// Every command of this file.
pub(super) const COMMANDS: &[DataCommand] = &[XREAD, XREADGROUP];

/// The first half of what follows STREAMS.
const fn keys_after_streams(from: i32, uses: KeyUse) -> KeySpec {
    let find = FindKeys::Range { last: -1, step: 1, limit: 2 };
    KeySpec { uses, begin: BeginSearch::Keyword("STREAMS", from), find }
}

const XREAD: DataCommand = DataCommand::new(
    Spec::new(
        "xread",
        Group::Stream,
        "5.0.0",
        -4,
        "[ COUNT count:int ] [ BLOCK milliseconds:int ] streams=< STREAMS: key... id... >",
    )
    .flags(READONLY.or(BLOCKING))
    .keys(&[keys_after_streams(1, READS)])
    .complexity("O(log N + M) a stream, N its nodes and M the entries given")
    .summary("Gives the entries of streams after an id each, waiting for them if asked to."),
    xread,
);

const XREADGROUP: DataCommand = DataCommand::new(
    Spec::new(
        "xreadgroup",
        Group::Stream,
        "5.0.0",
        -7,
        "group-block=< GROUP: group consumer > [ COUNT count:int ] [ BLOCK milliseconds:int ] \
         [ CLAIM min-idle-time:int@8.4.0 ] [ NOACK ] streams=< STREAMS: key... id... >",
    )
    .flags(WRITE.or(BLOCKING))
    .keys(&[keys_after_streams(4, READS)])
    .complexity("O(log N + M) a stream, N its nodes and M the entries given")
    .summary(
        "Gives a consumer the entries that its group has not delivered, or what it has yet to acknowledge.",
    ),
    xreadgroup,
);

/// What stands before the keys.
#[derive(Debug)]
struct Options<'a> {
    /// Most entries of a stream; 0 for all.
    count: u64,
    /// `None` if the caller does not want to wait.
    deadline: Option<Option<UnixMs>>,
    group: Option<(&'a [u8], &'a [u8])>,
    acks: Acks,
    /// What has been pending for so long is given first.
    min_idle_ms: Option<i64>,
    /// Where the keys begin, and how many there are.
    keys_at: usize,
    streams: usize,
}

/// Which of the two commands it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    ReadGroup,
}

impl<'a> Options<'a> {
    fn parse(args: Args<'a>, kind: Kind, now: UnixMs) -> Result<Options<'a>, CommandError> {
        let mut options = Options {
            count: 0,
            deadline: None,
            group: None,
            acks: Acks::Wanted,
            min_idle_ms: None,
            keys_at: 0,
            streams: 0,
        };
        let mut i = 1;
        while i < args.len() {
            let more = args.len() - 1 - i;
            if args.is(i, "BLOCK") && more > 0 {
                options.deadline = Some(args.deadline_ms(i + 1, now)?);
                i += 2;
            } else if args.is(i, "COUNT") && more > 0 {
                options.count = u64::try_from(args.int(i + 1)?).unwrap_or(0);
                i += 2;
            } else if args.is(i, "STREAMS") && more > 0 {
                if !more.is_multiple_of(2) {
                    return Err(unbalanced(kind));
                }
                (options.keys_at, options.streams) = (i + 1, more / 2);
                break;
            } else if args.is(i, "GROUP") && more >= 2 {
                if kind == Kind::Read {
                    return Err(CommandError::text(
                        "ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.",
                    ));
                }
                options.group = Some((args.at(i + 1), args.at(i + 2)));
                i += 3;
            } else if args.is(i, "CLAIM") && more > 0 {
                if kind == Kind::Read {
                    return Err(CommandError::text(
                        "ERR The CLAIM option is only supported by XREADGROUP. You called XREAD instead.",
                    ));
                }
                options.min_idle_ms = Some(min_idle_argument(args, i + 1)?);
                i += 2;
            } else if args.is(i, "NOACK") {
                if kind == Kind::Read {
                    return Err(CommandError::text(
                        "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.",
                    ));
                }
                options.acks = Acks::Unwanted;
                i += 1;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        if options.streams == 0 {
            return Err(CommandError::Syntax);
        }
        if kind == Kind::ReadGroup && options.group.is_none() {
            return Err(CommandError::text("ERR Missing GROUP option for XREADGROUP"));
        }
        Ok(options)
    }

    /// The positions of key and id of each stream.
    fn streams(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (from, streams) = (self.keys_at, self.streams);
        (from..from + streams).map(move |at| (at, at + streams))
    }

    /// Ends a call that found nothing to give.
    fn wait_or_answer(&self, ctx: &mut Context<'_>, wanted: WaitFor, args: Option<Vec<Vec<u8>>>) -> Outcome {
        let Some(deadline) = self.deadline else {
            ctx.reply.null_array();
            return Ok(());
        };
        let keys = (self.keys_at..self.keys_at + self.streams).collect();
        ctx.wait_or_answer(Wait { keys, wanted, deadline, on_timeout: OnTimeout::NullArray, args })
    }
}

fn min_idle_argument(args: Args<'_>, i: usize) -> Result<i64, CommandError> {
    match args.int(i) {
        Err(_) => Err(CommandError::text("ERR min-idle-time is not an integer or out of range")),
        Ok(..0) => Err(CommandError::text("ERR min-idle-time must be a positive integer")),
        Ok(ms) => Ok(ms),
    }
}

fn unbalanced(kind: Kind) -> CommandError {
    let (name, sign) = match kind {
        Kind::Read => ("xread", '$'),
        Kind::ReadGroup => ("xreadgroup", '>'),
    };
    CommandError::Text(
        format!(
            "ERR Unbalanced '{name}' list of streams: for each stream key an ID or '{sign}' must be specified."
        )
        .into(),
    )
}

/// The streams of a reply: a map in RESP3, pairs in RESP2. An array that is empty is not written.
#[derive(Debug)]
struct StreamsReply {
    begun: crate::codec::resp::Deferred,
    len: usize,
}

impl StreamsReply {
    fn begin(reply: &mut Reply) -> StreamsReply {
        StreamsReply { begun: reply.begin_array(), len: 0 }
    }

    fn key(&mut self, reply: &mut Reply, key: &[u8]) {
        if reply.protocol() == Protocol::Resp2 {
            reply.array(2);
        }
        reply.bulk(key);
        self.len += 1;
    }

    fn end(self, reply: &mut Reply) {
        match reply.protocol() {
            Protocol::Resp2 => reply.end_array(self.begun, self.len),
            Protocol::Resp3 => reply.end_map(self.begun, self.len),
        }
    }
}

fn xread(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let options = Options::parse(args, Kind::Read, ctx.data.now)?;
    let mut after = Vec::with_capacity(options.streams);
    for (key_at, id_at) in options.streams() {
        let stream = ctx.data.stream(args.at(key_at))?;
        after.push(match args.at(id_at) {
            b"$" => stream.map_or(StreamId::MIN, |stream| stream.totals().last_id),
            b"+" => match stream.filter(|stream| !stream.is_empty()) {
                Some(stream) => stream
                    .totals()
                    .last_id
                    .prev()
                    .ok_or(CommandError::text("ERR the stream last element ID is 0-0"))?,
                None => StreamId::MIN,
            },
            b">" => {
                return Err(CommandError::text(
                    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> \
                     <consumer> option.",
                ));
            }
            id => StreamId::parse(id, 0).ok_or(INVALID_ID)?,
        });
    }
    let most = if options.count == 0 { usize::MAX } else { options.count.try_into().unwrap_or(usize::MAX) };
    let start_of_reply = ctx.reply.len();
    let mut streams = StreamsReply::begin(ctx.reply);
    for ((key_at, _), after) in options.streams().zip(&after) {
        let Some(stream) = ctx.data.stream(args.at(key_at))? else { continue };
        let Some(start) = after.next() else { continue };
        if stream.last_live_id().is_some_and(|last| last >= start) {
            streams.key(ctx.reply, args.at(key_at));
            reply_entries(ctx.reply, stream.range(start, StreamId::MAX, Direction::Forward).take(most));
        }
    }
    if streams.len > 0 {
        streams.end(ctx.reply);
        return Ok(());
    }
    ctx.reply.truncate(start_of_reply);
    // What `$` stands for is settled now: it would be another id each time.
    let is_open = |id_at: usize| args.at(id_at) == b"$";
    let settled = options.deadline.is_some() && options.streams().any(|(_, id_at)| is_open(id_at));
    let settled = settled.then(|| {
        let mut words: Vec<Vec<u8>> = args.0.iter().map(|word| word.to_vec()).collect();
        for ((_, id_at), id) in options.streams().zip(&after).filter(|((_, id_at), _)| is_open(*id_at)) {
            words[id_at] = id_word(*id);
        }
        words
    });
    options.wait_or_answer(ctx, WaitFor::Stream, settled)
}

/// What XREADGROUP is asked for of one stream.
#[derive(Debug, Clone, Copy)]
enum From {
    /// `>`: what the group has not delivered yet.
    News,
    /// What the consumer has got after this id and not acknowledged.
    After(StreamId),
}

impl From {
    fn parse(id: &[u8]) -> Result<From, CommandError> {
        match id {
            b"$" => Err(CommandError::text(
                "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this \
                 consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just \
                 return an empty result set.",
            )),
            b"+" => Err(CommandError::text(
                "ERR The + ID is meaningless in the context of XREADGROUP: you want to read the history of this \
                 consumer by specifying a proper ID, or use the > ID to get new messages. The + ID would just \
                 return an empty result set.",
            )),
            b">" => Ok(From::News),
            // The greatest id is the sign for news in Valkey, however it is written.
            id => match StreamId::parse(id, 0).ok_or(INVALID_ID)? {
                StreamId::MAX => Ok(From::News),
                id => Ok(From::After(id)),
            },
        }
    }
}

fn no_group(key: &[u8], group: &[u8]) -> CommandError {
    let (key, group) = (shown(key), shown(group));
    CommandError::Text(
        format!("NOGROUP No such key '{key}' or consumer group '{group}' in XREADGROUP with GROUP option")
            .into(),
    )
}

fn xreadgroup(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let options = Options::parse(args, Kind::ReadGroup, ctx.data.now)?;
    let (group, consumer) = options.group.ok_or(CommandError::Syntax)?;
    let reader = Reader { group, consumer, now: ctx.data.now };
    ctx.data.counts_reads = true;
    let mut wanted = Vec::with_capacity(options.streams);
    for (key_at, id_at) in options.streams() {
        let key = args.at(key_at);
        let stream = ctx.data.stream(key)?;
        if stream.is_none_or(|stream| stream.group(group).is_none()) {
            return Err(no_group(key, group));
        }
        wanted.push(From::parse(args.at(id_at))?);
    }
    ctx.data.log_nothing();
    let mut next_at = None;
    let start_of_reply = ctx.reply.len();
    let mut streams = StreamsReply::begin(ctx.reply);
    for ((key_at, _), from) in options.streams().zip(wanted) {
        let key = args.at(key_at);
        ctx.data.view(key);
        let is_logging = ctx.data.is_logging();
        let reply = &mut *ctx.reply;
        let mut one = OneRead { key, reader, options: &options, is_logging, reply, streams: &mut streams };
        let done = ctx.data.edit_stream(key, |stream, _| one.run(stream, from))?;
        let Some(done) = done else { continue };
        let done = done.map_err(|NoGroup| no_group(key, group))?;
        next_at = next_at.into_iter().chain(done.next_at).min();
        tell_read(&mut ctx.data, key, reader, options.acks, &done);
    }
    if streams.len > 0 {
        streams.end(ctx.reply);
        return Ok(());
    }
    ctx.reply.truncate(start_of_reply);
    let wanted = match options.min_idle_ms {
        None => WaitFor::StreamGroup,
        Some(min_idle_ms) => WaitFor::StreamClaim(look_again_at(next_at, ctx.data.now, min_idle_ms)),
    };
    options.wait_or_answer(ctx, wanted, None)
}

/// When to look for entries to claim again: `next_at` if some wait already, else as soon as one that is
/// delivered right now could be claimed; with a minimum, because that may be at once.
fn look_again_at(next_at: Option<UnixMs>, now: UnixMs, min_idle_ms: i64) -> UnixMs {
    const LEAST_MS: i64 = 10;
    let soonest = now.saturating_add_ms(LEAST_MS);
    next_at.unwrap_or_else(|| now.saturating_add_ms(min_idle_ms)).max(soonest)
}

/// What XREADGROUP did to one stream.
#[derive(Debug, Default)]
struct ReadDone {
    is_new_consumer: bool,
    is_served: bool,
    /// The ids that were claimed, each with how often it was delivered.
    claimed: Vec<(StreamId, u64)>,
    /// The group's last id at that moment.
    last_id: StreamId,
    /// When there is more to claim, if nothing was given.
    next_at: Option<UnixMs>,
    /// The ids that are pending now, if that is to be logged.
    delivered: Vec<StreamId>,
    /// Last id and entries read of the group, if they have changed.
    progress: Option<(StreamId, Option<u64>)>,
}

/// One stream's part of the reply, and who wants what of it.
#[derive(Debug)]
struct OneRead<'a> {
    key: &'a [u8],
    reader: Reader<'a>,
    options: &'a Options<'a>,
    is_logging: bool,
    reply: &'a mut Reply,
    streams: &'a mut StreamsReply,
}

impl OneRead<'_> {
    fn run(&mut self, stream: &mut Stream, from: From) -> Result<ReadDone, NoGroup> {
        let is_new_consumer = stream.see_consumer(self.reader)?;
        let mut done = match from {
            From::News => self.news(stream)?,
            From::After(id) => self.history(stream, id)?,
        };
        done.is_new_consumer = is_new_consumer;
        Ok(done)
    }

    /// Writes what can be claimed, then what is new.
    fn news(&mut self, stream: &mut Stream) -> Result<ReadDone, NoGroup> {
        let mut done = ReadDone::default();
        let count = self.options.count;
        let idle = match self.options.min_idle_ms {
            None => Idle::default(),
            Some(min_idle_ms) => {
                stream.idle_pending(self.reader.group, self.reader.now, min_idle_ms, count)?
            }
        };
        if idle.entries.is_empty() && !stream.has_news(self.reader.group) {
            return Ok(ReadDone { next_at: idle.next_at, ..done });
        }
        done.is_served = true;
        self.streams.key(self.reply, self.key);
        let begun = self.reply.begin_array();
        done.last_id = stream.group(self.reader.group).ok_or(NoGroup)?.last_id();
        for &(id, idle_ms, deliveries) in &idle.entries {
            if let Claimed::Yes { deliveries: now_delivered } =
                stream.claim(self.reader, id, &claim_idle(self.reader.now))?
                && let Some(entry) = stream.entry(id)
            {
                write_entry(self.reply, entry, Some((idle_ms, deliveries)));
                done.claimed.push((id, now_delivered));
            }
        }
        let claimed = done.claimed.len() as u64;
        let mut given = claimed;
        if count == 0 || claimed < count {
            let more = if self.options.min_idle_ms.is_some() { Some((0, 0)) } else { None };
            let keeps_ids = self.is_logging && self.options.acks == Acks::Wanted;
            let (reply, delivered) = (&mut *self.reply, &mut done.delivered);
            let new = stream.deliver_new(
                self.reader,
                count.saturating_sub(claimed),
                self.options.acks,
                |entry| {
                    if keeps_ids {
                        delivered.push(entry.id);
                    }
                    write_entry(reply, entry, more);
                },
            )?;
            given += new;
            let group = stream.group(self.reader.group).ok_or(NoGroup)?;
            done.progress = (new > 0).then(|| (group.last_id(), group.entries_read()));
        }
        self.reply.end_array(begun, given as usize);
        Ok(done)
    }

    /// Writes what the consumer has yet to acknowledge.
    fn history(&mut self, stream: &mut Stream, after: StreamId) -> Result<ReadDone, NoGroup> {
        self.streams.key(self.reply, self.key);
        let reply = &mut *self.reply;
        let begun = reply.begin_array();
        let start = after.next().unwrap_or(StreamId::MAX);
        let delivered =
            stream.deliver_again(self.reader, start, self.options.count, |id, entry| match entry {
                Some(entry) => reply_entry(reply, entry),
                None => {
                    reply.array(2);
                    reply_id(reply, id);
                    reply.null_array();
                }
            })?;
        reply.end_array(begun, delivered as usize);
        Ok(ReadDone { is_served: true, ..ReadDone::default() })
    }
}

/// Takes an entry that is known to have been idle for long enough.
const fn claim_idle(now: UnixMs) -> Claim {
    Claim { min_idle_ms: 0, delivered_at: now, deliveries: Deliveries::Count, force: false }
}

/// Writes an entry; with CLAIM also how long ago and how often it was delivered before.
fn write_entry(reply: &mut Reply, entry: Entry<'_>, before: Option<(i64, u64)>) {
    let Some((idle_ms, deliveries)) = before else { return reply_entry(reply, entry) };
    reply.array(4);
    reply_entry_parts(reply, entry);
    reply.int(idle_ms);
    reply.int(deliveries as i64);
}

/// Counts, tells and logs what a read did to a group.
fn tell_read(data: &mut Data<'_>, key: &[u8], reader: Reader<'_>, acks: Acks, done: &ReadDone) {
    let group = GroupName { key, group: reader.group };
    data.dirty += u64::from(done.is_new_consumer) + u64::from(done.is_served);
    if done.is_new_consumer {
        data.event(Classes::STREAM, "xgroup-createconsumer", key);
        // Otherwise the claims bring the consumer along.
        if acks == Acks::Unwanted {
            group.log_consumer(data, reader.consumer);
        }
    }
    if data.is_logging() {
        for &(id, deliveries) in &done.claimed {
            let word = id_word(id);
            let pending =
                PendingWords { id: &word, consumer: reader.consumer, delivered_at: reader.now, deliveries };
            group.log_claim(data, pending, done.last_id);
        }
    }
    for &id in &done.delivered {
        let word = id_word(id);
        let pending =
            PendingWords { id: &word, consumer: reader.consumer, delivered_at: reader.now, deliveries: 1 };
        // The group's last id at that moment was the entry's own.
        group.log_claim(data, pending, id);
    }
    if let Some((last_id, entries_read)) = done.progress {
        group.log_progress(data, last_id, entries_read);
    }
}
