//! SUBSCRIBE, PUBLISH and what belongs to them.
//!
//! Each name of a subscription is confirmed by a message of its own, in the order of the names.
//! Behaviour: valkey src/pubsub.c.

use cairn_engine::codec::resp::Reply;
use cairn_engine::command::spec::{
    CHANNELS, FAST, Flags, Group, KeySpec, LOADING, MAY_REPLICATE, NOSCRIPT, PUBSUB, STALE, Spec,
};
use cairn_engine::command::{Args, CommandError, Outcome, help};

use super::{Call, SessionCommand, SessionFn};
use crate::pubsub::Kind;
use crate::server::Server;

/// Every command of this file.
pub(super) const COMMANDS: &[SessionCommand] =
    &[SUBSCRIBE, UNSUBSCRIBE, PSUBSCRIBE, PUNSUBSCRIBE, SSUBSCRIBE, SUNSUBSCRIBE, PUBLISH, SPUBLISH, PUBSUB_];

const SUBSCRIBER: Flags = PUBSUB.or(NOSCRIPT).or(LOADING).or(STALE);
const PUBLISHER: Flags = PUBSUB.or(LOADING).or(STALE).or(FAST).or(MAY_REPLICATE);

const fn plain(
    name: &'static str,
    since: &'static str,
    arity: i32,
    syntax: &'static str,
    summary: &'static str,
) -> Spec {
    Spec::new(name, Group::Pubsub, since, arity, syntax).flags(SUBSCRIBER).summary(summary)
}

const SUBSCRIBE: SessionCommand = SessionCommand::new(
    plain("subscribe", "2.0.0", -2, "channel...", "Listens to channels.")
        .complexity("O(N) in the number of channels"),
    |call, args| subscribe(call, args, Kind::Channel),
);

const UNSUBSCRIBE: SessionCommand = SessionCommand::new(
    plain(
        "unsubscribe",
        "2.0.0",
        -1,
        "[ channel ]...",
        "Listens to channels no more: to those named, or to any.",
    )
    .complexity("O(N) in the number of channels"),
    |call, args| unsubscribe(call, args, Kind::Channel),
);

const PSUBSCRIBE: SessionCommand = SessionCommand::new(
    plain("psubscribe", "2.0.0", -2, "pattern:pattern...", "Listens to all channels that match patterns.")
        .complexity("O(N) in the number of patterns"),
    |call, args| subscribe(call, args, Kind::Pattern),
);

const PUNSUBSCRIBE: SessionCommand = SessionCommand::new(
    plain(
        "punsubscribe",
        "2.0.0",
        -1,
        "[ pattern:pattern ]...",
        "Listens to patterns no more: to those named, or to any.",
    )
    .complexity("O(N) in the number of patterns"),
    |call, args| unsubscribe(call, args, Kind::Pattern),
);

const SSUBSCRIBE: SessionCommand = SessionCommand::new(
    plain("ssubscribe", "7.0.0", -2, "shardchannel...", "Listens to channels of the shard.")
        .keys(&[KeySpec::rest(1, 1, CHANNELS)])
        .complexity("O(N) in the number of channels"),
    |call, args| subscribe(call, args, Kind::Shard),
);

const SUNSUBSCRIBE: SessionCommand = SessionCommand::new(
    plain(
        "sunsubscribe",
        "7.0.0",
        -1,
        "[ shardchannel ]...",
        "Listens to channels of the shard no more: to those named, or to any.",
    )
    .keys(&[KeySpec::rest(1, 1, CHANNELS)])
    .complexity("O(N) in the number of channels"),
    |call, args| unsubscribe(call, args, Kind::Shard),
);

const PUBLISH: SessionCommand = SessionCommand::new(
    Spec::new("publish", Group::Pubsub, "2.0.0", 3, "channel message")
        .flags(PUBLISHER)
        .complexity("O(N+M) in those who listen to the channel and in all patterns")
        .summary("Sends a message to all who listen to a channel."),
    |call, args| publish(call, args, Kind::Channel),
);

const SPUBLISH: SessionCommand = SessionCommand::new(
    Spec::new("spublish", Group::Pubsub, "7.0.0", 3, "shardchannel message")
        .flags(PUBLISHER)
        .keys(&[KeySpec::one(1, CHANNELS)])
        .complexity("O(N) in those who listen to the channel")
        .summary("Sends a message to all who listen to a channel of the shard."),
    |call, args| publish(call, args, Kind::Shard),
);

fn publish(call: &mut Call<'_>, args: Args<'_>, kind: Kind) -> Outcome {
    let received = call.server.publish(kind, args.at(1), args.at(2));
    call.reply.int(received as i64);
    Ok(())
}

fn words(kind: Kind) -> (&'static [u8], &'static [u8]) {
    match kind {
        Kind::Channel => (b"subscribe", b"unsubscribe"),
        Kind::Pattern => (b"psubscribe", b"punsubscribe"),
        Kind::Shard => (b"ssubscribe", b"sunsubscribe"),
    }
}

/// What is true now of a name that a client listens to, or none.
fn confirm(reply: &mut Reply, word: &[u8], name: Option<&[u8]>, count: usize) {
    reply.push(3);
    reply.bulk(word);
    match name {
        Some(name) => reply.bulk(name),
        None => reply.null(),
    }
    reply.int(count as i64);
}

fn subscribe(call: &mut Call<'_>, args: Args<'_>, kind: Kind) -> Outcome {
    let client = call.client;
    // Not in a transaction; for the other kinds Valkey makes an exception.
    if kind == Kind::Shard && !call.may_wait {
        return Err(CommandError::text("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client"));
    }
    for name in args.from(1) {
        let pubsub = &mut call.server.pubsub;
        pubsub.subscribe(client, kind, name);
        confirm(call.reply, words(kind).0, Some(name), pubsub.counts(client).shown(kind));
    }
    call.session().is_subscriber = true;
    call.server.update_wants();
    Ok(())
}

fn unsubscribe(call: &mut Call<'_>, args: Args<'_>, kind: Kind) -> Outcome {
    let client = call.client;
    let word = words(kind).1;
    let pubsub = &mut call.server.pubsub;
    let all = if args.len() == 1 { pubsub.names_of(client, kind) } else { Vec::new() };
    for name in args.from(1).iter().copied().chain(all.iter().map(|name| &**name)) {
        pubsub.unsubscribe(client, kind, name);
        confirm(call.reply, word, Some(name), pubsub.counts(client).shown(kind));
    }
    if args.len() == 1 && all.is_empty() {
        confirm(call.reply, word, None, pubsub.counts(client).shown(kind));
    }
    let is_subscriber = call.server.pubsub.counts(client).total() > 0;
    call.session().is_subscriber = is_subscriber;
    call.server.update_wants();
    Ok(())
}

const PUBSUB_: SessionCommand = SessionCommand::new(
    Spec::new("pubsub", Group::Pubsub, "2.8.0", -2, "")
        .complexity("Depends on the subcommand")
        .summary("Tells who listens to what."),
    |_, args| Err(help::unknown_subcommand(args)),
)
.with(&[
    sub(
        "channels",
        "2.8.0",
        -2,
        "[ pattern:pattern ]",
        "O(N) in the number of channels",
        "Lists the channels that somebody listens to.",
        |call, args| channels(call, args, Kind::Channel),
    ),
    SessionCommand::new(
        Spec::new("help", Group::Pubsub, "6.2.0", 2, "")
            .parent("pubsub")
            .flags(LOADING.or(STALE))
            .summary("Prints this help."),
        |call, _| {
            help::write(call.reply, &PUBSUB_);
            Ok(())
        },
    ),
    sub("numpat", "2.8.0", 2, "", "O(1)", "Counts the patterns that somebody listens to.", |call, _| {
        call.reply.int(call.server.pubsub.len(Kind::Pattern) as i64);
        Ok(())
    }),
    sub(
        "numsub",
        "2.8.0",
        -2,
        "[ channel ]...",
        "O(N) in the number of channels asked for",
        "Counts those who listen to channels; not by patterns.",
        |call, args| count(call, args, Kind::Channel),
    ),
    sub(
        "shardchannels",
        "7.0.0",
        -2,
        "[ pattern:pattern ]",
        "O(N) in the number of channels of the shard",
        "Lists the channels of the shard that somebody listens to.",
        |call, args| channels(call, args, Kind::Shard),
    ),
    sub(
        "shardnumsub",
        "7.0.0",
        -2,
        "[ shardchannel ]...",
        "O(N) in the number of channels asked for",
        "Counts those who listen to channels of the shard.",
        |call, args| count(call, args, Kind::Shard),
    ),
]);

const fn sub(
    name: &'static str,
    since: &'static str,
    arity: i32,
    syntax: &'static str,
    complexity: &'static str,
    summary: &'static str,
    run: SessionFn,
) -> SessionCommand {
    let spec = Spec::new(name, Group::Pubsub, since, arity, syntax).parent("pubsub");
    SessionCommand::new(spec.flags(PUBSUB.or(LOADING).or(STALE)).complexity(complexity).summary(summary), run)
}

fn channels(call: &mut Call<'_>, args: Args<'_>, kind: Kind) -> Outcome {
    if args.len() > 3 {
        return Err(help::bad_subcommand_arguments(args));
    }
    let begun = call.reply.begin_array();
    let mut count = 0;
    for name in call.server.pubsub.names(kind, args.get(2)) {
        call.reply.bulk(name);
        count += 1;
    }
    call.reply.end_array(begun, count);
    Ok(())
}

fn count(call: &mut Call<'_>, args: Args<'_>, kind: Kind) -> Outcome {
    let names = args.from(2);
    call.reply.array(names.len() * 2);
    for name in names {
        call.reply.bulk(name);
        call.reply.int(call.server.pubsub.count(kind, name) as i64);
    }
    Ok(())
}

impl Server {
    /// Has a client listen to nothing, without a word.
    pub(crate) fn unsubscribe_all(&mut self, index: u32) {
        let Some(client) = self.clients.get_mut(index) else { return };
        if std::mem::take(&mut client.session.is_subscriber) {
            self.pubsub.forget(index);
            self.update_wants();
        }
    }
}
