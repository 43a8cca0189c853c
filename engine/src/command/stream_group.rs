//! Consumer groups: XGROUP, XACK, XPENDING, XCLAIM, XAUTOCLAIM.
//!
//! What consumers do is logged as what came of it, for a claim hangs on time: each entry that changed
//! hands as the XCLAIM that puts it there, a group's progress as XGROUP SETID. None of it touches
//! those who watch the key, except that readers who wait must hear of a group that is gone.
//! Behaviour: valkey src/t_stream.c.

use crate::base::stream_id::StreamId;
use crate::base::time::UnixMs;
use crate::codec::resp::Reply;
use crate::value::Value;
use crate::value::stream::{
    Claim, Claimed, Deliveries, Group as StreamGroup, NoGroup, Pending, Reader, Stream,
};

use super::effects::Classes;
use super::spec::{
    DELETES, DENYOOM, FAST, Group, INSERTS, KeySpec, LOADING, READONLY, READS, STALE, Spec, UPDATES, WRITE,
};
use super::stream::{
    INVALID_ID, end_argument, id_argument, id_arguments, id_word, reply_entry, reply_id, start_argument,
};
use super::stream_log::{GroupName, PendingWords};
use super::{Args, CommandError, Context, Data, DataCommand, Outcome};
use super::{error, help};

/// Every command of this file.
pub(super) const COMMANDS: &[DataCommand] = &[XGROUP, XACK, XPENDING, XCLAIM, XAUTOCLAIM];

const XGROUP: DataCommand = DataCommand::new(
    Spec::new("xgroup", Group::Stream, "5.0.0", -2, "")
        .complexity("Depends on the subcommand.")
        .summary("Makes, changes and removes groups and their consumers."),
    |_, args| Err(help::unknown_subcommand(args)),
)
.with(&[
    DataCommand::new(
        sub(
            "create",
            "5.0.0",
            -5,
            "key group id-selector=< id | new-id=$ > [ MKSTREAM ] \
         [ ENTRIESREAD entriesread~entries-read:int ]",
        )
        .flags(WRITE.or(DENYOOM))
        .keys(&[KeySpec::one(2, INSERTS)])
        .summary("Adds a group to a stream."),
        create,
    ),
    DataCommand::new(
        sub("createconsumer", "6.2.0", 5, "key group consumer")
            .flags(WRITE.or(DENYOOM))
            .keys(&[KeySpec::one(2, INSERTS)])
            .summary("Adds a consumer to a group."),
        create_consumer,
    ),
    DataCommand::new(
        sub("delconsumer", "5.0.0", 5, "key group consumer")
            .flags(WRITE)
            .keys(&[KeySpec::one(2, DELETES)])
            .summary("Removes a consumer and what is pending for it."),
        delete_consumer,
    ),
    DataCommand::new(
        sub("destroy", "5.0.0", 4, "key group")
            .flags(WRITE)
            .keys(&[KeySpec::one(2, DELETES)])
            .complexity("O(N) in the entries pending in the group")
            .summary("Removes a group."),
        destroy,
    ),
    DataCommand::new(
        sub(
            "setid",
            "5.0.0",
            -5,
            "key group id-selector=< id | new-id=$ > [ ENTRIESREAD entriesread~entries-read:int ]",
        )
        .flags(WRITE)
        .keys(&[KeySpec::one(2, UPDATES)])
        .summary("Sets how far a group has read."),
        set_id,
    ),
    DataCommand::new(
        sub("help", "5.0.0", 2, "").flags(LOADING.or(STALE)).summary("Lists the subcommands."),
        |ctx, _| {
            help::write(ctx.reply, &XGROUP);
            Ok(())
        },
    ),
]);

const fn sub(name: &'static str, since: &'static str, arity: i32, syntax: &'static str) -> Spec {
    Spec::new(name, Group::Stream, since, arity, syntax).parent("xgroup")
}

const NO_STREAM: CommandError = CommandError::text(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the \
     MKSTREAM option to create an empty stream automatically.",
);

/// One change of a stream's groups, which is none of its entries.
fn tell(data: &mut Data<'_>, key: &[u8], event: &'static str) {
    data.dirty += 1;
    data.event(Classes::STREAM, event, key);
}

/// A name as it stands in an error text.
pub(super) fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(error::shown(name)).into_owned()
}

/// There is a stream, but no such group.
pub(super) fn no_group(group: &[u8], key: &[u8]) -> CommandError {
    let (group, key) = (shown(group), shown(key));
    CommandError::Text(format!("NOGROUP No such consumer group '{group}' for key name '{key}'").into())
}

/// There is no such stream or no such group.
fn no_key_or_group(args: Args<'_>) -> CommandError {
    let (key, group) = (shown(args.at(1)), shown(args.at(2)));
    CommandError::Text(format!("NOGROUP No such key '{key}' or consumer group '{group}'").into())
}

/// The options of XGROUP CREATE and SETID.
#[derive(Debug, Default)]
struct GroupOptions {
    makes_stream: bool,
    entries_read: Option<u64>,
}

impl GroupOptions {
    fn parse(args: Args<'_>, may_make_stream: bool) -> Result<GroupOptions, CommandError> {
        let mut options = GroupOptions::default();
        let mut i = 5;
        while i < args.len() {
            if may_make_stream && args.is(i, "MKSTREAM") {
                options.makes_stream = true;
                i += 1;
            } else if args.is(i, "ENTRIESREAD") && i + 1 < args.len() {
                options.entries_read = match args.int(i + 1)? {
                    -1 => None,
                    n => Some(u64::try_from(n).map_err(|_| {
                        CommandError::text("ERR value for ENTRIESREAD must be positive or -1")
                    })?),
                };
                i += 2;
            } else {
                return Err(help::bad_subcommand_arguments(args));
            }
        }
        Ok(options)
    }
}

fn create(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let options = GroupOptions::parse(args, true)?;
    let (key, name) = (args.at(2), args.at(3));
    let last_id = ctx.data.edit_stream(key, |stream, _| stream.totals().last_id)?;
    if last_id.is_none() && !options.makes_stream {
        return Err(NO_STREAM);
    }
    if args.len() > 8 {
        return Err(help::bad_subcommand_arguments(args));
    }
    let id = match args.at(4) {
        b"$" => last_id.unwrap_or_default(),
        _ => id_argument(args, 4)?,
    };
    if last_id.is_none() {
        ctx.data.set(key, Value::Stream(Box::default()), None);
        ctx.data.changed(key);
    }
    let created =
        ctx.data.edit_stream(key, |stream, _| stream.create_group(name, id, options.entries_read))?;
    if created != Some(true) {
        return Err(CommandError::text("BUSYGROUP Consumer Group name already exists"));
    }
    tell(&mut ctx.data, key, "xgroup-create");
    ctx.reply.ok();
    Ok(())
}

fn set_id(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let options = GroupOptions::parse(args, false)?;
    edit_group(ctx, args, |stream, name| {
        if args.len() > 7 {
            return Err(help::bad_subcommand_arguments(args));
        }
        let id = match args.at(4) {
            b"$" => stream.totals().last_id,
            id => StreamId::parse_bound(id, 0).ok_or(INVALID_ID)?,
        };
        Ok(stream.set_group_id(name, id, options.entries_read))
    })?;
    tell(&mut ctx.data, args.at(2), "xgroup-setid");
    ctx.reply.ok();
    Ok(())
}

/// Changes a group that must be there.
fn edit_group<R>(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    change: impl FnOnce(&mut Stream, &[u8]) -> Result<Result<R, NoGroup>, CommandError>,
) -> Result<R, CommandError> {
    let (key, name) = (args.at(2), args.at(3));
    let changed = ctx.data.edit_stream(key, |stream, _| {
        if stream.group(name).is_none() {
            return Err(no_group(name, key));
        }
        change(stream, name)?.map_err(|NoGroup| no_group(name, key))
    })?;
    changed.ok_or(NO_STREAM)?
}

fn create_consumer(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let now = ctx.data.now;
    let created = edit_group(ctx, args, |stream, name| Ok(stream.create_consumer(name, args.at(4), now)))?;
    if created {
        tell(&mut ctx.data, args.at(2), "xgroup-createconsumer");
    }
    ctx.reply.int(i64::from(created));
    Ok(())
}

fn delete_consumer(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let pending = edit_group(ctx, args, |stream, name| Ok(stream.delete_consumer(name, args.at(4))))?;
    if pending.is_some() {
        tell(&mut ctx.data, args.at(2), "xgroup-delconsumer");
    }
    ctx.reply.uint(pending.unwrap_or(0));
    Ok(())
}

fn destroy(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let destroyed = ctx.data.edit_stream(args.at(2), |stream, _| stream.destroy_group(args.at(3)))?;
    let destroyed = destroyed.ok_or(NO_STREAM)?;
    if destroyed {
        tell(&mut ctx.data, args.at(2), "xgroup-destroy");
        // To those who watch the key it is as it was; those who wait to read from the group get an error.
        ctx.data.wake(args.at(2));
    }
    ctx.reply.int(i64::from(destroyed));
    Ok(())
}

const XACK: DataCommand = DataCommand::new(
    Spec::new("xack", Group::Stream, "5.0.0", -4, "key group id...")
        .flags(WRITE.or(FAST))
        .keys(&[KeySpec::one(1, UPDATES)])
        .complexity("O(N) in the ids")
        .summary("Acknowledges entries, which are not pending any more."),
    xack,
);

fn xack(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    ctx.data.counts_reads = true;
    ctx.data.stream(args.at(1))?;
    // Ids are not looked at when there is no such group.
    let acked = ctx.data.edit_stream(args.at(1), |stream, _| {
        if stream.group(args.at(2)).is_none() {
            return Ok(0);
        }
        Ok(stream.ack(args.at(2), &id_arguments(args, 3)?))
    })?;
    let acked = acked.unwrap_or(Ok(0))?;
    ctx.data.dirty += acked;
    ctx.reply.uint(acked);
    Ok(())
}

const XPENDING: DataCommand = DataCommand::new(
    Spec::new(
        "xpending",
        Group::Stream,
        "5.0.0",
        -3,
        "key group filters=[ [ IDLE min-idle-time:int@6.2.0 ] start end count:int [ consumer ] ]",
    )
    .flags(READONLY)
    .keys(&[KeySpec::one(1, READS)])
    .complexity("O(N) in the entries given, or looked at with IDLE")
    .summary("Tells which entries of a group wait for an acknowledgement."),
    xpending,
);

/// The extended form of XPENDING.
#[derive(Debug)]
struct PendingQuery<'a> {
    min_idle_ms: i64,
    start: StreamId,
    end: StreamId,
    count: u64,
    consumer: Option<&'a [u8]>,
}

impl<'a> PendingQuery<'a> {
    fn parse(args: Args<'a>) -> Result<PendingQuery<'a>, CommandError> {
        let (mut at, mut min_idle_ms) = (3, 0);
        if args.is(3, "IDLE") {
            min_idle_ms = args.int(4)?;
            if args.len() < 8 {
                return Err(CommandError::Syntax);
            }
            at = 5;
        }
        let count = u64::try_from(args.int(at + 2)?).unwrap_or(0);
        let (start, end) = (start_argument(args, at)?, end_argument(args, at + 1)?);
        Ok(PendingQuery { min_idle_ms, start, end, count, consumer: args.get(at + 3) })
    }
}

fn xpending(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let query = match args.len() {
        3 => None,
        6..=9 => Some(PendingQuery::parse(args)?),
        _ => return Err(CommandError::Syntax),
    };
    let now = ctx.data.now;
    let stream = ctx.data.stream(args.at(1))?;
    let group = stream.and_then(|stream| stream.group(args.at(2))).ok_or_else(|| no_key_or_group(args))?;
    match query {
        None => pending_summary(ctx.reply, group),
        Some(query) => pending_entries(ctx.reply, group, &query, now),
    }
    Ok(())
}

fn pending_summary(reply: &mut Reply, group: &StreamGroup) {
    reply.array(4);
    reply.int(group.pending_len() as i64);
    let Some((first, last)) = group.pending_bounds() else {
        reply.null();
        reply.null();
        reply.null_array();
        return;
    };
    reply_id(reply, first);
    reply_id(reply, last);
    let busy = || group.consumers().filter(|consumer| consumer.pending_len() > 0);
    reply.array(busy().count());
    for consumer in busy() {
        reply.array(2);
        reply.bulk(consumer.name());
        reply.bulk_int(consumer.pending_len() as i64);
    }
}

fn pending_entries(reply: &mut Reply, group: &StreamGroup, query: &PendingQuery<'_>, now: UnixMs) {
    let mut pending: Box<dyn Iterator<Item = Pending<'_>>> = match query.consumer {
        None => Box::new(group.pending(query.start, query.end)),
        Some(name) => match group.consumer(name) {
            Some(consumer) => Box::new(group.pending_of(consumer, query.start, query.end)),
            None => Box::new(std::iter::empty()),
        },
    };
    let begun = reply.begin_array();
    let mut len = 0;
    while len < query.count
        && let Some(entry) = pending.next()
    {
        let idle_ms = now.ms_after(entry.delivered_at);
        if query.min_idle_ms != 0 && idle_ms < query.min_idle_ms {
            continue;
        }
        reply.array(4);
        reply_id(reply, entry.id);
        reply.bulk(entry.consumer.unwrap_or_default());
        reply.int(idle_ms.max(0));
        reply.int(entry.deliveries as i64);
        len += 1;
    }
    reply.end_array(begun, len as usize);
}

const XCLAIM: DataCommand = DataCommand::new(
    Spec::new(
        "xclaim",
        Group::Stream,
        "5.0.0",
        -6,
        "key group consumer min-idle-time id... [ IDLE ms:int ] [ TIME \
         unix-time-milliseconds:unix-time ] [ RETRYCOUNT count:int ] [ FORCE ] [ JUSTID ] [ \
         LASTID lastid ]",
    )
    .flags(WRITE.or(FAST))
    .keys(&[KeySpec::one(1, UPDATES)])
    .complexity("O(log N) an id, N entries pending in the group")
    .summary("Makes pending entries those of another consumer."),
    xclaim,
);

/// Argument `i` as an integer, with a text of its own if it is none.
fn int_or(args: Args<'_>, i: usize, text: &'static str) -> Result<i64, CommandError> {
    args.int(i).map_err(|_| CommandError::text(text))
}

/// What XCLAIM is told after its ids.
#[derive(Debug)]
struct ClaimOptions {
    delivered_at: Option<UnixMs>,
    retry_count: Option<u64>,
    force: bool,
    ids_only: bool,
    last_id: StreamId,
}

impl ClaimOptions {
    fn parse(args: Args<'_>, from: usize, now: UnixMs) -> Result<ClaimOptions, CommandError> {
        let mut options = ClaimOptions {
            delivered_at: None,
            retry_count: None,
            force: false,
            ids_only: false,
            last_id: StreamId::MIN,
        };
        let mut i = from;
        while i < args.len() {
            let value = i + 1;
            let takes = |word| value < args.len() && args.is(i, word);
            if args.is(i, "FORCE") {
                options.force = true;
                i += 1;
                continue;
            } else if args.is(i, "JUSTID") {
                options.ids_only = true;
                i += 1;
                continue;
            } else if takes("IDLE") {
                let idle_ms = int_or(args, value, "ERR Invalid IDLE option argument for XCLAIM")?;
                options.delivered_at = Some(UnixMs(now.0.wrapping_sub(idle_ms)));
            } else if takes("TIME") {
                let at = int_or(args, value, "ERR Invalid TIME option argument for XCLAIM")?;
                options.delivered_at = Some(UnixMs(at));
            } else if takes("RETRYCOUNT") {
                let count = int_or(args, value, "ERR Invalid RETRYCOUNT option argument for XCLAIM")?;
                options.retry_count = u64::try_from(count).ok();
            } else if takes("LASTID") {
                options.last_id = id_argument(args, value)?;
            } else {
                let word = shown(args.at(i));
                return Err(CommandError::Text(format!("ERR Unrecognized XCLAIM option '{word}'").into()));
            }
            i += 2;
        }
        Ok(options)
    }

    /// What to note for each entry. A time before the epoch or in the future is taken as `now`.
    fn claim(&self, min_idle_ms: i64, now: UnixMs) -> Claim {
        let delivered_at = self.delivered_at.filter(|at| *at >= UnixMs(0) && *at <= now).unwrap_or(now);
        let deliveries = match self.retry_count {
            Some(count) => Deliveries::Set(count),
            None if self.ids_only => Deliveries::Keep,
            None => Deliveries::Count,
        };
        Claim { min_idle_ms, delivered_at, deliveries, force: self.force }
    }
}

fn xclaim(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let now = ctx.data.now;
    let reader = Reader { group: args.at(2), consumer: args.at(3), now };
    ctx.data.counts_reads = true;
    let known = ctx.data.stream(args.at(1))?.is_some_and(|stream| stream.group(reader.group).is_some());
    if !known {
        return Err(no_key_or_group(args));
    }
    let min_idle_ms = int_or(args, 4, "ERR Invalid min-idle-time argument for XCLAIM")?.max(0);
    let ids: Vec<StreamId> = (FIRST_ID..args.len()).map_while(|i| id_argument(args, i).ok()).collect();
    let options = ClaimOptions::parse(args, FIRST_ID + ids.len(), now)?;
    let claim = options.claim(min_idle_ms, now);
    let reply = &mut *ctx.reply;
    let done = ctx
        .data
        .edit_stream(args.at(1), |stream, _| claim_all(stream, reader, &ids, &claim, &options, reply))?;
    let done = done.ok_or_else(|| no_key_or_group(args))?.map_err(|NoGroup| no_key_or_group(args))?;
    tell_consumer(&mut ctx.data, args.at(1), done.is_new_consumer);
    ctx.data.dirty += done.found.len() as u64 + u64::from(done.advanced);
    ctx.data.log_nothing();
    if ctx.data.is_logging() {
        let words = ClaimWords { args, reader, delivered_at: claim.delivered_at, last_id: done.last_id };
        for (at, became) in &done.found {
            words.log(&mut ctx.data, args.at(FIRST_ID + at), became);
        }
        if done.advanced {
            let group = GroupName { key: args.at(1), group: reader.group };
            group.log_progress(&mut ctx.data, done.last_id, done.entries_read);
        }
    }
    Ok(())
}

/// Where the ids of XCLAIM begin.
const FIRST_ID: usize = 5;

/// A consumer that a reader's name has made, if it has.
fn tell_consumer(data: &mut Data<'_>, key: &[u8], is_new: bool) {
    if is_new {
        tell(data, key, "xgroup-createconsumer");
    }
}

/// What claims have in common when they are logged.
#[derive(Debug)]
struct ClaimWords<'a> {
    args: Args<'a>,
    reader: Reader<'a>,
    delivered_at: UnixMs,
    last_id: StreamId,
}

impl ClaimWords<'_> {
    fn log(&self, data: &mut Data<'_>, id: &[u8], became: &Claimed) {
        let (consumer, delivered_at, deliveries) = match became {
            Claimed::Yes { deliveries } => (self.reader.consumer, self.delivered_at, *deliveries),
            Claimed::Gone(Some(gone)) => {
                let consumer = gone.consumer.as_deref().unwrap_or(self.reader.consumer);
                (consumer, gone.delivered_at, gone.deliveries)
            }
            Claimed::No | Claimed::Gone(None) => return,
        };
        let group = GroupName { key: self.args.at(1), group: self.reader.group };
        group.log_claim(data, PendingWords { id, consumer, delivered_at, deliveries }, self.last_id);
    }
}

/// What XCLAIM did to the group.
#[derive(Debug)]
struct ClaimsDone {
    /// What became of each id (its place among the ids) that was claimed or gone.
    found: Vec<(usize, Claimed)>,
    is_new_consumer: bool,
    /// The group's progress, if that is all that there is to log.
    advanced: bool,
    /// The group's progress now.
    last_id: StreamId,
    entries_read: Option<u64>,
}

/// Claims and writes each.
fn claim_all(
    stream: &mut Stream,
    reader: Reader<'_>,
    ids: &[StreamId],
    claim: &Claim,
    options: &ClaimOptions,
    reply: &mut Reply,
) -> Result<ClaimsDone, NoGroup> {
    let advanced = stream.advance_group(reader.group, options.last_id)?;
    let is_new_consumer = stream.see_consumer(reader)?;
    let begun = reply.begin_array();
    let mut len = 0;
    let mut found = Vec::new();
    for (at, &id) in ids.iter().enumerate() {
        match stream.claim(reader, id, claim)? {
            Claimed::No | Claimed::Gone(None) => continue,
            became @ Claimed::Gone(_) => found.push((at, became)),
            became @ Claimed::Yes { .. } => {
                reply_claimed(reply, stream, id, options.ids_only);
                len += 1;
                found.push((at, became));
            }
        }
    }
    reply.end_array(begun, len);
    let group = stream.group(reader.group).ok_or(NoGroup)?;
    // The new last id of the group travels with a claim, and by itself only when there is none.
    let advanced = advanced && found.is_empty();
    let (last_id, entries_read) = (group.last_id(), group.entries_read());
    Ok(ClaimsDone { found, is_new_consumer, advanced, last_id, entries_read })
}

fn reply_claimed(reply: &mut Reply, stream: &Stream, id: StreamId, ids_only: bool) {
    match stream.entry(id) {
        Some(entry) if !ids_only => reply_entry(reply, entry),
        _ => reply_id(reply, id),
    }
}

const XAUTOCLAIM: DataCommand = DataCommand::new(
    Spec::new(
        "xautoclaim",
        Group::Stream,
        "6.2.0",
        -6,
        "key group consumer min-idle-time start [ COUNT count:int ] [ JUSTID ]",
    )
    .flags(WRITE.or(FAST))
    .keys(&[KeySpec::one(1, DELETES)])
    .complexity("O(COUNT)")
    .summary("Makes entries that have been pending for long those of another consumer."),
    xautoclaim,
);

fn xautoclaim(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    const DEFAULT_COUNT: u64 = 100;
    const MAX_COUNT: u64 = i64::MAX as u64 / 16;
    // The key is looked up first, what is wrong with it told last.
    ctx.data.counts_reads = true;
    let group = args.at(2);
    let known = ctx.data.stream(args.at(1)).map(|s| s.is_some_and(|stream| stream.group(group).is_some()));
    let min_idle_ms = int_or(args, 4, "ERR Invalid min-idle-time argument for XAUTOCLAIM")?.max(0);
    let start = start_argument(args, 5)?;
    let (mut count, mut ids_only) = (DEFAULT_COUNT, false);
    let mut i = 6;
    while i < args.len() {
        if args.is(i, "COUNT") && i + 1 < args.len() {
            const BAD_COUNT: &str = "ERR COUNT must be > 0";
            count = u64::try_from(int_or(args, i + 1, BAD_COUNT)?)
                .ok()
                .filter(|n| (1..=MAX_COUNT).contains(n))
                .ok_or(CommandError::text(BAD_COUNT))?;
            i += 1;
        } else if args.is(i, "JUSTID") {
            ids_only = true;
        } else {
            return Err(CommandError::Syntax);
        }
        i += 1;
    }
    let reader = Reader { group, consumer: args.at(3), now: ctx.data.now };
    let deliveries = if ids_only { Deliveries::Keep } else { Deliveries::Count };
    let reply = &mut *ctx.reply;
    if !known? {
        return Err(no_key_or_group(args));
    }
    let done = ctx.data.edit_stream(args.at(1), |stream, _| {
        let is_new = stream.see_consumer(reader)?;
        let done = stream.auto_claim(reader, min_idle_ms, start, count, deliveries)?;
        reply.array(3);
        reply_id(reply, done.next);
        reply.array(done.claimed().count());
        for id in done.claimed() {
            reply_claimed(reply, stream, id, ids_only);
        }
        reply.array(done.gone().count());
        for id in done.gone() {
            reply_id(reply, id);
        }
        let last_id = stream.group(reader.group).ok_or(NoGroup)?.last_id();
        Ok((done.found, is_new, last_id))
    })?;
    let (found, is_new, last_id) =
        done.ok_or_else(|| no_key_or_group(args))?.map_err(|NoGroup| no_key_or_group(args))?;
    tell_consumer(&mut ctx.data, args.at(1), is_new);
    ctx.data.dirty += found.len() as u64;
    ctx.data.log_nothing();
    if ctx.data.is_logging() {
        let words = ClaimWords { args, reader, delivered_at: reader.now, last_id };
        for (id, became) in &found {
            words.log(&mut ctx.data, &id_word(*id), became);
        }
    }
    Ok(())
}
