//! The lines of CLIENT LIST, and which clients CLIENT LIST and CLIENT KILL mean.
//!
//! Behaviour: valkey src/networking.c `catClientInfoString`, `parseClientFiltersOrReply`.

use std::io::Write;

use cairn_engine::base::num;
use cairn_engine::command::{Args, CommandError};

use crate::clients::{Client, Closing};
use crate::net::reactor::Interest;
use crate::server::Server;

/// Appends a client's line.
pub(super) fn write_line(out: &mut Vec<u8>, client: &Client, server: &Server) {
    let session = &client.session;
    let age = server.now_instant.saturating_duration_since(client.since).as_secs();
    let idle = server.now_instant.saturating_duration_since(client.active).as_secs();
    let command = session.last_command.map_or("NULL", |n| server.commands.entry(n).full_name.as_str());
    let waiting = client.connection.unsent().len();
    let input = &client.connection.input;
    let memory = size_of::<Client>() + input.capacity() + client.connection.output_bytes();
    let events = match client.interest {
        Interest::Read => "r",
        Interest::ReadWrite => "rw",
        Interest::Write => "w",
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    // Writing into memory does not fail.
    let _ = writeln!(
        out,
        "id={} addr={} laddr={} fd={} name={} age={age} idle={idle} flags={} db={} sub=0 psub=0 ssub=0 multi=-1 \
         watch=0 qbuf={} qbuf-free={} argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl={waiting} oll=0 omem={} tot-mem={memory} \
         events={events} cmd={command} user=default redir=-1 resp={} lib-name={} lib-ver={} tot-net-in={} \
         tot-net-out={} tot-cmds={}",
        session.id,
        client.addr,
        client.laddr,
        client.stream.number(),
        text(&session.name),
        flags(client),
        session.db,
        input.len(),
        input.capacity() - input.len(),
        client.connection.output_bytes(),
        session.protocol.number(),
        text(&session.lib_name),
        text(&session.lib_ver),
        client.read_bytes,
        client.written_bytes,
        client.commands,
    );
}

fn flags(client: &Client) -> String {
    let all = [
        (client.closing == Closing::AfterReplies, 'c'),
        (client.closing == Closing::Now, 'A'),
        (client.stream.is_unix(), 'U'),
        (client.session.no_evict, 'e'),
        (client.session.no_touch, 'T'),
    ];
    let flags: String = all.iter().filter(|(set, _)| *set).map(|(_, letter)| *letter).collect();
    if flags.is_empty() { "N".into() } else { flags }
}

/// Which clients are meant: those for which everything that was given holds.
#[derive(Debug, Default)]
pub(super) struct Filter {
    ids: Option<Vec<u64>>,
    /// Of the classes only `normal` has clients.
    is_other_class: bool,
    addr: Option<Vec<u8>>,
    laddr: Option<Vec<u8>>,
    max_age_seconds: Option<u64>,
    /// The calling client is not meant.
    pub(super) skip_me: bool,
}

impl Filter {
    /// The client of this address.
    pub(super) fn of_address(addr: &[u8]) -> Filter {
        Filter { addr: Some(addr.to_vec()), ..Filter::default() }
    }

    /// The options of CLIENT LIST: one of them.
    pub(super) fn parse_list(args: Args<'_>) -> Result<Filter, CommandError> {
        let mut filter = Filter::default();
        if args.is(2, "TYPE") && args.len() == 4 {
            filter.class(args.at(3))?;
        } else if args.is(2, "ID") && args.len() > 3 {
            let ids: Option<Vec<u64>> = args.from(3).iter().map(|id| client_id(id)).collect();
            filter.ids = Some(ids.ok_or(CommandError::text("ERR Invalid client ID"))?);
        } else {
            return Err(CommandError::Syntax);
        }
        Ok(filter)
    }

    /// The options of CLIENT KILL: pairs.
    pub(super) fn parse_kill(args: Args<'_>) -> Result<Filter, CommandError> {
        let mut filter = Filter { skip_me: true, ..Filter::default() };
        for i in (2..args.len()).step_by(2) {
            let value = args.get(i + 1).ok_or(CommandError::Syntax)?;
            if args.is(i, "ID") {
                let error = CommandError::text("ERR client-id should be greater than 0");
                filter.ids.get_or_insert_default().push(client_id(value).ok_or(error)?);
            } else if args.is(i, "TYPE") {
                filter.class(value)?;
            } else if args.is(i, "USER") {
                if value != b"default" {
                    let user = String::from_utf8_lossy(value);
                    return Err(CommandError::Text(format!("ERR No such user '{user}'").into()));
                }
            } else if args.is(i, "ADDR") {
                filter.addr = Some(value.to_vec());
            } else if args.is(i, "LADDR") {
                filter.laddr = Some(value.to_vec());
            } else if args.is(i, "MAXAGE") {
                let error = CommandError::text("ERR maxage should be greater than 0");
                filter.max_age_seconds = Some(client_id(value).ok_or(error)?);
            } else if args.is(i, "SKIPME") {
                filter.skip_me = match () {
                    () if args.is(i + 1, "yes") => true,
                    () if args.is(i + 1, "no") => false,
                    () => return Err(CommandError::Syntax),
                };
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(filter)
    }

    fn class(&mut self, name: &[u8]) -> Result<(), CommandError> {
        match name.to_ascii_lowercase().as_slice() {
            b"normal" => {}
            b"master" | b"primary" | b"slave" | b"replica" | b"pubsub" => self.is_other_class = true,
            _ => {
                let name = String::from_utf8_lossy(name);
                return Err(CommandError::Text(format!("ERR Unknown client type '{name}'").into()));
            }
        }
        Ok(())
    }

    /// True if this client is meant.
    pub(super) fn matches(&self, client: &Client, server: &Server) -> bool {
        let age = || server.now_instant.saturating_duration_since(client.since).as_secs();
        !self.is_other_class
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&client.session.id))
            && self.addr.as_ref().is_none_or(|addr| addr == client.addr.as_bytes())
            && self.laddr.as_ref().is_none_or(|addr| addr == client.laddr.as_bytes())
            && self.max_age_seconds.is_none_or(|seconds| age() >= seconds)
    }
}

fn client_id(text: &[u8]) -> Option<u64> {
    num::parse_i64(text).and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0)
}
