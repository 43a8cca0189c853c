//! The lines of CLIENT LIST.
//!
//! There are no blocks of output here: what waits is told as Valkey would keep it, the first part in a
//! buffer of fixed size and the rest in blocks. Behaviour: valkey src/networking.c `catClientInfoString`.

use std::io::Write;

use super::client_tracking::redirect_number;
use super::transaction::Transaction;
use crate::blocked::Waiting;
use crate::clients::{Client, Closing, Hold};
use crate::net::connection::OUTPUT_BLOCK_BYTES;
use crate::net::reactor::Interest;
use crate::server::Server;
use crate::tracking::Mode;

/// What stands in place of what a log must not show.
const REDACTED: &str = "*redacted*";

/// Appends a client's line.
pub(crate) fn write_line(out: &mut Vec<u8>, index: u32, client: &Client, server: &Server) {
    write_fields(out, index, client, server, false);
    out.push(b'\n');
}

/// A client's line for the log, without names if `hide-user-data-from-log` is set.
pub(crate) fn log_line(index: u32, client: &Client, server: &Server) -> String {
    let mut line = Vec::new();
    write_fields(&mut line, index, client, server, server.config.hide_user_data_from_log);
    String::from_utf8_lossy(&line).into_owned()
}

fn write_fields(out: &mut Vec<u8>, index: u32, client: &Client, server: &Server, is_hidden: bool) {
    let session = &client.session;
    let age = server.now_instant.saturating_duration_since(client.since).as_secs();
    let idle = server.now_instant.saturating_duration_since(client.active).as_secs();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let name = if is_hidden { REDACTED.to_owned() } else { text(&session.name) };
    let subscriptions = server.pubsub.counts(index);
    // Writing into memory does not fail.
    let _ = write!(
        out,
        "id={} addr={} laddr={} fd={} name={name} age={age} idle={idle} flags={} capa={} db={} sub={} psub={} ssub={}",
        session.id,
        client.addr,
        client.laddr,
        client.stream.number(),
        flags(client),
        if session.follows_redirects { "r" } else { "" },
        session.db,
        subscriptions.channels,
        subscriptions.patterns,
        subscriptions.shards,
    );
    let transaction = session.transaction.as_deref();
    let queued = match transaction {
        Some(transaction) => i64::try_from(transaction.len()).unwrap_or(i64::MAX),
        None if session.watched.is_empty() => -1,
        None => 0,
    };
    let input = &client.connection.input;
    let waiting = client.connection.unsent.len();
    let in_buffer = waiting.min(OUTPUT_BLOCK_BYTES);
    let _ = write!(
        out,
        " multi={queued} watch={} qbuf={} qbuf-free={} argv-mem={} multi-mem={} rbs={OUTPUT_BLOCK_BYTES} \
         rbp={in_buffer} obl={in_buffer} oll={} omem={} tot-mem={}",
        session.watched.len(),
        input.len().saturating_sub(client.connection.parser.parsed_bytes()),
        input.capacity() - input.len(),
        server.blocked.get(index).map_or(0, Waiting::memory_bytes),
        transaction.map_or(0, Transaction::memory_bytes),
        (waiting - in_buffer).div_ceil(OUTPUT_BLOCK_BYTES),
        client.connection.counted_output(),
        server.client_bytes(index, client),
    );
    let events = match client.interest {
        Interest::Read => "r",
        Interest::ReadWrite => "rw",
        Interest::Write => "w",
        Interest::Nothing => "",
    };
    let command = session.last_command.map_or("NULL", |n| server.commands.entry(n).full_name.as_str());
    let _ = write!(
        out,
        " events={events} cmd={command} user={} redir={} resp={} lib-name={} lib-ver={} tot-net-in={} \
         tot-net-out={} tot-cmds={}",
        if is_hidden { REDACTED } else { "default" },
        redirect_number(session.caching.as_deref()),
        session.protocol.number(),
        text(&session.lib_name),
        text(&session.lib_ver),
        client.read_bytes,
        client.written_bytes,
        // The command that asks is not done yet.
        client.commands.saturating_sub(u64::from(server.caller == Some(index))),
    );
}

/// The letters of what a client is and does; `N` for nothing special.
pub(super) fn flags(client: &Client) -> String {
    let session = &client.session;
    let caching = session.caching.as_deref();
    let all = [
        (session.is_monitor, 'O'),
        (session.is_subscriber, 'P'),
        (session.transaction.is_some(), 'x'),
        (session.hold != Hold::No, 'b'),
        (caching.is_some(), 't'),
        (caching.is_some_and(|caching| caching.is_broken), 'R'),
        (caching.is_some_and(|caching| caching.mode == Mode::Broadcast), 'B'),
        (session.is_watch_broken, 'd'),
        (client.closing == Closing::AfterReplies, 'c'),
        (client.closing == Closing::Now, 'A'),
        (client.stream.is_unix(), 'U'),
        (session.is_read_only, 'r'),
        (session.no_evict, 'e'),
        (session.no_touch, 'T'),
        (session.is_import_source, 'I'),
    ];
    let flags: String = all.iter().filter(|(set, _)| *set).map(|(_, letter)| *letter).collect();
    if flags.is_empty() { "N".into() } else { flags }
}
