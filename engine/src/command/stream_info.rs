//! XINFO: what is known of a stream, its groups and their consumers.
//!
//! Behaviour: valkey src/t_stream.c, `xinfoCommand`.

use crate::base::stream_id::StreamId;
use crate::codec::resp::Reply;
use crate::value::stream::{Consumer, Direction, Group as StreamGroup, Stream};

use super::help;
use super::spec::{Group, KeySpec, LOADING, READONLY, READS, STALE, Spec};
use super::stream::{reply_entries, reply_entry, reply_id};
use super::stream_group::no_group;
use super::{Args, CommandError, Context, DataCommand, Outcome};

/// Every command of this file.
pub(super) const COMMANDS: &[DataCommand] = &[XINFO];

const XINFO: DataCommand = DataCommand::new(
    Spec::new("xinfo", Group::Stream, "5.0.0", -2, "")
        .complexity("Depends on the subcommand.")
        .summary("Tells about streams, groups and consumers."),
    |_, args| Err(help::unknown_subcommand(args)),
)
.with(&[
    DataCommand::new(
        about("consumers", 4, "key group")
            .complexity("O(N) in the consumers of the group")
            .summary("Tells about the consumers of a group."),
        consumers,
    ),
    DataCommand::new(
        about("groups", 3, "key")
            .complexity("O(N) in the groups of the stream")
            .summary("Tells about the groups of a stream."),
        groups,
    ),
    DataCommand::new(
        about("stream", -3, "key full-block=[ FULL [ COUNT count:int ] ]")
            .complexity("O(N) in the nodes of the stream")
            .summary("Tells about a stream."),
        stream,
    ),
    DataCommand::new(
        Spec::new("help", Group::Stream, "5.0.0", 2, "")
            .parent("xinfo")
            .flags(LOADING.or(STALE))
            .summary("Lists the subcommands."),
        |ctx, _| {
            help::write(ctx.reply, &XINFO);
            Ok(())
        },
    ),
]);

/// The key of every subcommand but HELP.
const KEY: &[KeySpec] = &[KeySpec::one(2, READS)];

const fn about(name: &'static str, arity: i32, syntax: &'static str) -> Spec {
    Spec::new(name, Group::Stream, "5.0.0", arity, syntax).parent("xinfo").flags(READONLY).keys(KEY)
}

fn consumers(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, name, now) = (args.at(2), args.at(3), ctx.data.now);
    let stream = ctx.data.stream(key)?.ok_or(CommandError::NoSuchKey)?;
    let group = stream.group(name).ok_or_else(|| no_group(name, key))?;
    ctx.reply.array(group.consumers_len());
    for consumer in group.consumers() {
        let reply = &mut *ctx.reply;
        reply.map(4);
        reply.bulk(b"name");
        reply.bulk(consumer.name());
        int(reply, "pending", consumer.pending_len() as i64);
        int(reply, "idle", now.ms_after(consumer.seen_at).max(0));
        int(reply, "inactive", consumer.active_at.map_or(NEVER, |at| now.ms_after(at)));
    }
    Ok(())
}

/// The time of what has not happened.
const NEVER: i64 = -1;

fn int(reply: &mut Reply, name: &str, value: i64) {
    reply.bulk(name.as_bytes());
    reply.int(value);
}

/// A counter, which users can set to anything: Valkey shows it as a signed number.
fn count(reply: &mut Reply, name: &str, value: u64) {
    int(reply, name, value as i64);
}

fn id(reply: &mut Reply, name: &str, value: StreamId) {
    reply.bulk(name.as_bytes());
    reply_id(reply, value);
}

fn groups(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let stream = ctx.data.stream(args.at(2))?.ok_or(CommandError::NoSuchKey)?;
    ctx.reply.array(stream.groups().len());
    for (name, group) in stream.groups() {
        let reply = &mut *ctx.reply;
        reply.map(6);
        reply.bulk(b"name");
        reply.bulk(name);
        int(reply, "consumers", group.consumers_len() as i64);
        int(reply, "pending", group.pending_len() as i64);
        progress(reply, stream, group);
    }
    Ok(())
}

/// Writes how far a group has come: three pairs.
fn progress(reply: &mut Reply, stream: &Stream, group: &StreamGroup) {
    id(reply, "last-delivered-id", group.last_id());
    reply.bulk(b"entries-read");
    match group.entries_read() {
        Some(n) => reply.int(n as i64),
        None => reply.null(),
    }
    reply.bulk(b"lag");
    match stream.lag(group) {
        Some(lag) => reply.int(lag),
        None => reply.null(),
    }
}

fn stream(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    const DEFAULT_COUNT: usize = 10;
    let stream = ctx.data.stream(args.at(2))?.ok_or(CommandError::NoSuchKey)?;
    let most = match args.len() {
        3 => None,
        4 if args.is(3, "FULL") => Some(DEFAULT_COUNT),
        6 if args.is(3, "FULL") && args.is(4, "COUNT") => {
            Some(usize::try_from(args.int(5)?).unwrap_or(DEFAULT_COUNT))
        }
        _ => return Err(help::bad_subcommand_arguments(args)),
    };
    let reply = &mut *ctx.reply;
    reply.map(if most.is_some() { 9 } else { 10 });
    let totals = stream.totals();
    count(reply, "length", totals.length);
    count(reply, "radix-tree-keys", stream.nodes_len() as u64);
    count(reply, "radix-tree-nodes", stream.radix_nodes());
    id(reply, "last-generated-id", totals.last_id);
    id(reply, "max-deleted-entry-id", totals.max_deleted_id);
    count(reply, "entries-added", totals.entries_added);
    id(reply, "recorded-first-entry-id", totals.first_id);
    match most {
        None => ends(reply, stream),
        // A count of 0 means all.
        Some(0) => everything(reply, stream, usize::MAX),
        Some(most) => everything(reply, stream, most),
    }
    Ok(())
}

/// Writes the rest of the short form.
fn ends(reply: &mut Reply, stream: &Stream) {
    int(reply, "groups", stream.groups().len() as i64);
    for (name, direction) in [("first-entry", Direction::Forward), ("last-entry", Direction::Backward)] {
        reply.bulk(name.as_bytes());
        match stream.range(StreamId::MIN, StreamId::MAX, direction).next() {
            Some(entry) => reply_entry(reply, entry),
            None => reply.null(),
        }
    }
}

/// Writes the rest of the long form: of entries and of what is pending, `most` at most.
fn everything(reply: &mut Reply, stream: &Stream, most: usize) {
    reply.bulk(b"entries");
    reply_entries(reply, stream.range(StreamId::MIN, StreamId::MAX, Direction::Forward).take(most));
    reply.bulk(b"groups");
    reply.array(stream.groups().len());
    for (name, group) in stream.groups() {
        reply.map(7);
        reply.bulk(b"name");
        reply.bulk(name);
        progress(reply, stream, group);
        int(reply, "pel-count", group.pending_len() as i64);
        reply.bulk(b"pending");
        reply.array(group.pending_len().min(most));
        for pending in group.pending(StreamId::MIN, StreamId::MAX).take(most) {
            reply.array(4);
            reply_id(reply, pending.id);
            reply.bulk(pending.consumer.unwrap_or_default());
            reply.int(pending.delivered_at.0);
            reply.int(pending.deliveries as i64);
        }
        reply.bulk(b"consumers");
        reply.array(group.consumers_len());
        for consumer in group.consumers() {
            one_consumer(reply, group, consumer, most);
        }
    }
}

fn one_consumer(reply: &mut Reply, group: &StreamGroup, consumer: &Consumer, most: usize) {
    reply.map(5);
    reply.bulk(b"name");
    reply.bulk(consumer.name());
    int(reply, "seen-time", consumer.seen_at.0);
    int(reply, "active-time", consumer.active_at.map_or(NEVER, |at| at.0));
    int(reply, "pel-count", consumer.pending_len() as i64);
    reply.bulk(b"pending");
    reply.array(consumer.pending_len().min(most));
    for pending in group.pending_of(consumer, StreamId::MIN, StreamId::MAX).take(most) {
        reply.array(3);
        reply_id(reply, pending.id);
        reply.int(pending.delivered_at.0);
        reply.int(pending.deliveries as i64);
    }
}
