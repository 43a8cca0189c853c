//! The lines of CLIENT LIST, and which clients CLIENT LIST and CLIENT KILL mean.
//!
//! Behaviour: valkey src/networking.c `catClientInfoString`, `parseClientFiltersOrReply`.

use std::io::Write;

use cairn_engine::base::num;
use cairn_engine::command::{Args, CommandError};

use super::transaction::Transaction;
use crate::blocked::Waiting;
use crate::clients::{Client, Closing, Hold};
use crate::net::reactor::Interest;
use crate::server::Server;

/// Appends a client's line.
pub(crate) fn write_line(out: &mut Vec<u8>, index: u32, client: &Client, server: &Server) {
    let session = &client.session;
    let transaction = session.transaction.as_deref();
    let waiting_bytes = server.blocked.get(index).map_or(0, Waiting::memory_bytes);
    let age = server.now_instant.saturating_duration_since(client.since).as_secs();
    let idle = server.now_instant.saturating_duration_since(client.active).as_secs();
    let command = session.last_command.map_or("NULL", |n| server.commands.entry(n).full_name.as_str());
    let waiting = client.connection.unsent().len();
    let input = &client.connection.input;
    let memory = server.client_bytes(index, client);
    let events = match client.interest {
        Interest::Read => "r",
        Interest::ReadWrite => "rw",
        Interest::Write => "w",
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    // Writing into memory does not fail.
    let _ = writeln!(
        out,
        "id={} addr={} laddr={} fd={} name={} age={age} idle={idle} flags={} db={} sub=0 psub=0 ssub=0 multi={} \
         watch={} qbuf={} qbuf-free={} argv-mem={} multi-mem={} rbs=0 rbp=0 obl={waiting} oll=0 omem={} tot-mem={memory} \
         events={events} cmd={command} user=default redir=-1 resp={} lib-name={} lib-ver={} tot-net-in={} \
         tot-net-out={} tot-cmds={}",
        session.id,
        client.addr,
        client.laddr,
        client.stream.number(),
        text(&session.name),
        flags(client),
        session.db,
        transaction.map_or(-1, |transaction| i64::try_from(transaction.len()).unwrap_or(i64::MAX)),
        session.watched.len(),
        input.len().saturating_sub(client.connection.parser.parsed_bytes()),
        input.capacity() - input.len(),
        waiting_bytes,
        transaction.map_or(0, Transaction::memory_bytes),
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
        (client.session.transaction.is_some(), 'x'),
        (client.session.hold != Hold::No, 'b'),
        (client.session.is_watch_broken, 'd'),
        (client.closing == Closing::AfterReplies, 'c'),
        (client.closing == Closing::Now, 'A'),
        (client.stream.is_unix(), 'U'),
        (client.session.no_evict, 'e'),
        (client.session.no_touch, 'T'),
    ];
    let flags: String = all.iter().filter(|(set, _)| *set).map(|(_, letter)| *letter).collect();
    if flags.is_empty() { "N".into() } else { flags }
}

/// A condition on clients, and whether those are meant for which it holds or all others.
#[derive(Debug)]
struct Rule {
    what: What,
    negated: bool,
}

/// What a condition looks at.
#[derive(Debug)]
enum What {
    Ids(Vec<u64>),
    /// True for the only class that has clients so far.
    IsNormal(bool),
    Addr(Vec<u8>),
    Laddr(Vec<u8>),
    Name(Vec<u8>),
    Ip(Vec<u8>),
    LibName(Vec<u8>),
    LibVer(Vec<u8>),
    Db(i64),
    Flags(String),
    /// True for the only user.
    IsDefault(bool),
    AgeSeconds(u64),
    IdleSeconds(u64),
}

/// Which clients are meant: those that every rule means.
#[derive(Debug, Default)]
pub(super) struct Filter {
    rules: Vec<Rule>,
    /// The calling client is not meant.
    pub(super) skip_me: bool,
}

impl Filter {
    /// The client of this address.
    pub(super) fn of_address(addr: &[u8]) -> Filter {
        Filter { rules: vec![Rule { what: What::Addr(addr.to_vec()), negated: false }], skip_me: false }
    }

    /// Reads the options of CLIENT LIST or CLIENT KILL. `skip_me` is what holds if they do not say.
    pub(super) fn parse(args: Args<'_>, skip_me: bool) -> Result<Filter, CommandError> {
        let mut filter = Filter { rules: Vec::new(), skip_me };
        let mut i = 2;
        while i < args.len() {
            let option = args.at(i).to_ascii_lowercase();
            let (option, negated) =
                option.strip_prefix(b"not-").map_or((&option[..], false), |rest| (rest, true));
            let value = args.get(i + 1).ok_or(CommandError::Syntax)?;
            i += 2;
            let what = match option {
                b"id" => {
                    let ids = args.from(i - 1).iter().map_while(|arg| num::parse_i64(arg));
                    let ids: Vec<i64> = ids.collect();
                    i += ids.len().checked_sub(1).ok_or(CommandError::Syntax)?;
                    let ids: Option<Vec<u64>> = ids.into_iter().map(positive).collect();
                    What::Ids(ids.ok_or(CommandError::text("ERR client-id should be greater than 0"))?)
                }
                b"skipme" if !negated => {
                    filter.skip_me = yes_or_no(value)?;
                    continue;
                }
                b"type" => What::IsNormal(is_normal(value)?),
                b"user" if value == b"default" => What::IsDefault(true),
                b"user" => {
                    let user = String::from_utf8_lossy(value);
                    return Err(CommandError::Text(format!("ERR No such user '{user}'").into()));
                }
                b"addr" => What::Addr(value.to_vec()),
                b"laddr" => What::Laddr(value.to_vec()),
                b"name" => What::Name(value.to_vec()),
                b"ip" => What::Ip(value.to_vec()),
                b"lib-name" => What::LibName(value.to_vec()),
                b"lib-ver" => What::LibVer(value.to_vec()),
                b"db" => What::Db(args.int(i - 1)?),
                b"flags" => What::Flags(known_flags(value)?),
                b"maxage" if !negated => What::AgeSeconds(seconds(args, i - 1, "maxage")?),
                b"idle" if !negated => What::IdleSeconds(seconds(args, i - 1, "idle")?),
                _ => return Err(CommandError::Syntax),
            };
            filter.rules.push(Rule { what, negated });
        }
        Ok(filter)
    }

    /// True if this client is meant.
    pub(super) fn matches(&self, client: &Client, server: &Server) -> bool {
        self.rules.iter().all(|rule| rule.what.holds(client, server) != rule.negated)
    }
}

impl What {
    fn holds(&self, client: &Client, server: &Server) -> bool {
        let seconds = |since| server.now_instant.saturating_duration_since(since).as_secs();
        let session = &client.session;
        match self {
            What::Ids(ids) => ids.contains(&session.id),
            What::IsNormal(holds) | What::IsDefault(holds) => *holds,
            What::Addr(addr) => addr == client.addr.as_bytes(),
            What::Laddr(addr) => addr == client.laddr.as_bytes(),
            What::Name(name) => *name == session.name,
            What::Ip(ip) => host(&client.addr).as_bytes() == ip,
            What::LibName(name) => *name == session.lib_name,
            What::LibVer(version) => *version == session.lib_ver,
            What::Db(db) => i64::try_from(session.db) == Ok(*db),
            What::Flags(wanted) => {
                let set = flags(client);
                wanted.chars().all(|flag| set.contains(flag))
            }
            What::AgeSeconds(least) => seconds(client.since) >= *least,
            What::IdleSeconds(least) => seconds(client.active) >= *least,
        }
    }
}

/// An address without its port, and an IPv6 one without its brackets.
fn host(addr: &str) -> &str {
    let host = addr.rsplit_once(':').map_or(addr, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

fn yes_or_no(word: &[u8]) -> Result<bool, CommandError> {
    match word.to_ascii_lowercase().as_slice() {
        b"yes" => Ok(true),
        b"no" => Ok(false),
        _ => Err(CommandError::Syntax),
    }
}

fn is_normal(class: &[u8]) -> Result<bool, CommandError> {
    match class.to_ascii_lowercase().as_slice() {
        b"normal" => Ok(true),
        b"master" | b"primary" | b"slave" | b"replica" | b"pubsub" => Ok(false),
        _ => {
            let class = String::from_utf8_lossy(class);
            Err(CommandError::Text(format!("ERR Unknown client type '{class}'").into()))
        }
    }
}

/// The letters that `flags` of any client of Redis or Valkey may have.
fn known_flags(text: &[u8]) -> Result<String, CommandError> {
    const KNOWN: &[u8] = b"OSMPxbtRBdcuAUreTINiE";
    let text_lossy = String::from_utf8_lossy(text).into_owned();
    // N says that there is no other.
    let is_known = text.iter().all(|flag| KNOWN.contains(flag)) && (text == b"N" || !text.contains(&b'N'));
    if is_known {
        return Ok(text_lossy);
    }
    Err(CommandError::Text(format!("ERR Unknown flags found in the provided filter: {text_lossy}").into()))
}

fn seconds(args: Args<'_>, at: usize, name: &str) -> Result<u64, CommandError> {
    let error = || CommandError::Text(format!("ERR {name} should be greater than 0").into());
    positive(args.int(at)?).ok_or_else(error)
}

fn positive(value: i64) -> Option<u64> {
    u64::try_from(value).ok().filter(|value| *value > 0)
}
