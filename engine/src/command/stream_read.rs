//! XREAD and XREADGROUP: entries of several streams, waiting for them if asked to.
//!
//! What XREADGROUP hands out is logged as the claims and the progress that came of it; a read of what
//! is pending already is not logged at all. Behaviour: valkey src/t_stream.c, `xreadCommand`.

use crate::base::stream_id::StreamId;
use crate::base::time::UnixMs;
use crate::codec::resp::{Protocol, Reply};
use crate::value::stream::{Acks, Direction, NoGroup, Reader, Stream};

use super::effects::Classes;
use super::spec::{BLOCKING, BeginSearch, FindKeys, Group, KeySpec, KeyUse, READONLY, READS, Spec, WRITE};
use super::stream::{INVALID_ID, id_word, reply_entries, reply_entry, reply_id};
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
        "[ COUNT count:int ] [ BLOCK milliseconds:int ] STREAMS key... id...",
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
        "GROUP group consumer [ COUNT count:int ] [ BLOCK milliseconds:int ] [ NOACK ] \
         STREAMS key... id...",
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
        let mut options =
            Options { count: 0, deadline: None, group: None, acks: Acks::Wanted, keys_at: 0, streams: 0 };
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
    let start_of_reply = ctx.reply.len();
    let mut streams = StreamsReply::begin(ctx.reply);
    for ((key_at, _), from) in options.streams().zip(wanted) {
        let key = args.at(key_at);
        ctx.data.view(key);
        let is_logging = ctx.data.is_logging();
        let reply = &mut *ctx.reply;
        let done = ctx.data.edit_stream(key, |stream, _| {
            let write = (&mut *reply, &mut streams);
            read_one(stream, reader, from, &options, (key, is_logging), write)
        })?;
        let Some(done) = done else { continue };
        let done = done.map_err(|NoGroup| no_group(key, group))?;
        tell_read(&mut ctx.data, key, reader, options.acks, &done);
    }
    if streams.len > 0 {
        streams.end(ctx.reply);
        return Ok(());
    }
    ctx.reply.truncate(start_of_reply);
    options.wait_or_answer(ctx, WaitFor::StreamGroup, None)
}

/// What XREADGROUP did to one stream.
#[derive(Debug, Default)]
struct ReadDone {
    is_new_consumer: bool,
    is_served: bool,
    /// The ids that are pending now, if that is to be logged.
    delivered: Vec<StreamId>,
    /// Last id and entries read of the group, if they have changed.
    progress: Option<(StreamId, Option<u64>)>,
}

fn read_one(
    stream: &mut Stream,
    reader: Reader<'_>,
    from: From,
    options: &Options<'_>,
    (key, is_logging): (&[u8], bool),
    (reply, streams): (&mut Reply, &mut StreamsReply),
) -> Result<ReadDone, NoGroup> {
    let mut done = ReadDone { is_new_consumer: stream.see_consumer(reader)?, ..ReadDone::default() };
    match from {
        From::News if !stream.has_news(reader.group) => {}
        From::News => {
            done.is_served = true;
            streams.key(reply, key);
            let begun = reply.begin_array();
            let delivered = stream.deliver_new(reader, options.count, options.acks, |entry| {
                if is_logging && options.acks == Acks::Wanted {
                    done.delivered.push(entry.id);
                }
                reply_entry(reply, entry);
            })?;
            reply.end_array(begun, delivered as usize);
            let group = stream.group(reader.group).ok_or(NoGroup)?;
            done.progress = (delivered > 0).then(|| (group.last_id(), group.entries_read()));
        }
        From::After(id) => {
            done.is_served = true;
            streams.key(reply, key);
            let begun = reply.begin_array();
            let start = id.next().unwrap_or(StreamId::MAX);
            let delivered = stream.deliver_again(reader, start, options.count, |id, entry| match entry {
                Some(entry) => reply_entry(reply, entry),
                None => {
                    reply.array(2);
                    reply_id(reply, id);
                    reply.null_array();
                }
            })?;
            reply.end_array(begun, delivered as usize);
        }
    }
    Ok(done)
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
