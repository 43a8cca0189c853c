//! Which clients CLIENT LIST and CLIENT KILL mean.
//!
//! Each condition is given once: a later one of the same name takes its place, but for IDs, which add
//! up. Behaviour: valkey src/networking.c `parseClientFiltersOrReply`, `clientMatchesFilter`.

use cairn_engine::base::num;
use cairn_engine::command::{Args, CommandError};

use super::client_list::flags;
use crate::clients::{Class, Client};
use crate::server::Server;

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
    /// `None` for classes that have no clients yet.
    Class(Option<Class>),
    Addr(Vec<u8>),
    Laddr(Vec<u8>),
    Name(Vec<u8>),
    Ip(Vec<u8>),
    LibName(Vec<u8>),
    LibVer(Vec<u8>),
    Db(usize),
    Flags(String),
    Capa(String),
    /// The only user there is.
    DefaultUser,
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
    pub(super) fn parse(args: Args<'_>, skip_me: bool, databases: i64) -> Result<Filter, CommandError> {
        let mut filter = Filter { rules: Vec::new(), skip_me };
        let mut i = 2;
        while let Some(word) = args.get(i) {
            let word = word.to_ascii_lowercase();
            let option = word.strip_prefix(b"not-").unwrap_or(&word);
            let negated = option.len() < word.len();
            if option == b"id" {
                let ids: Vec<i64> = args.from(i + 1).iter().map_while(|arg| num::parse_i64(arg)).collect();
                i += 1 + ids.len();
                filter.add_ids(&ids, negated)?;
                continue;
            }
            let value = args.get(i + 1).ok_or(CommandError::Syntax)?;
            i += 2;
            if option == b"skipme" && !negated {
                filter.skip_me = yes_or_no(value)?;
                continue;
            }
            let what = condition(option, negated, value, databases)?;
            let is_same = |rule: &Rule| {
                rule.negated == negated && std::mem::discriminant(&rule.what) == std::mem::discriminant(&what)
            };
            filter.rules.retain(|rule| !is_same(rule));
            filter.rules.push(Rule { what, negated });
        }
        Ok(filter)
    }

    fn add_ids(&mut self, ids: &[i64], negated: bool) -> Result<(), CommandError> {
        let ids: Option<Vec<u64>> = ids.iter().copied().map(positive).collect();
        let ids = ids.ok_or(CommandError::text("ERR client-id should be greater than 0"))?;
        for rule in self.rules.iter_mut().filter(|rule| rule.negated == negated) {
            if let What::Ids(known) = &mut rule.what {
                known.extend(ids);
                return Ok(());
            }
        }
        self.rules.push(Rule { what: What::Ids(ids), negated });
        Ok(())
    }

    /// True if this client is meant.
    pub(super) fn matches(&self, client: &Client, server: &Server) -> bool {
        self.rules.iter().all(|rule| rule.what.holds(client, server) != rule.negated)
    }
}

fn text_error(text: String) -> CommandError {
    CommandError::Text(text.into())
}

/// The condition of a word and its value.
fn condition(option: &[u8], negated: bool, value: &[u8], databases: i64) -> Result<What, CommandError> {
    let only_of = |known: &str, kind: &str| {
        if value.iter().all(|letter| known.as_bytes().contains(letter)) {
            return Ok(String::from_utf8_lossy(value).into_owned());
        }
        let place =
            if negated { format!("NOT-{}", kind.to_ascii_uppercase()) } else { "provided".to_owned() };
        Err(CommandError::naming(&format!("ERR Unknown {kind} found in the {place} filter: "), value, ""))
    };
    Ok(match option {
        b"type" => What::Class(class(value)?),
        b"user" if value == b"default" => What::DefaultUser,
        b"user" => return Err(CommandError::naming("ERR No such user '", value, "'")),
        b"addr" => What::Addr(value.to_vec()),
        b"laddr" => What::Laddr(value.to_vec()),
        b"name" => What::Name(value.to_vec()),
        b"ip" => What::Ip(value.to_vec()),
        b"lib-name" => What::LibName(value.to_vec()),
        b"lib-ver" => What::LibVer(value.to_vec()),
        b"db" => What::Db(database(value, negated, databases)?),
        // The letters that `flags` of any client of Valkey may have.
        b"flags" => What::Flags(only_of("OSMPxbtRBdcuAUreTIiEN", "flags")?),
        b"capa" => What::Capa(only_of("r", "capa")?),
        b"maxage" if !negated => What::AgeSeconds(seconds(value, "maxage")?),
        b"idle" if !negated => What::IdleSeconds(seconds(value, "idle")?),
        _ => return Err(CommandError::Syntax),
    })
}

impl What {
    fn holds(&self, client: &Client, server: &Server) -> bool {
        let seconds = |since| server.now_instant.saturating_duration_since(since).as_secs();
        let session = &client.session;
        match self {
            What::Ids(ids) => ids.contains(&session.id),
            What::Class(class) => *class == Some(client.class()),
            What::DefaultUser => true,
            What::Addr(addr) => addr == client.addr.as_bytes(),
            What::Laddr(addr) => addr == client.laddr.as_bytes(),
            What::Name(name) => !session.name.is_empty() && *name == session.name,
            What::Ip(ip) => is_from(&client.addr, ip),
            What::LibName(name) => !session.lib_name.is_empty() && *name == session.lib_name,
            What::LibVer(version) => !session.lib_ver.is_empty() && *version == session.lib_ver,
            What::Db(db) => session.db == *db,
            What::Flags(wanted) => {
                let set = flags(client);
                // Valkey keeps those that monitor among replicas.
                wanted.chars().all(|flag| set.contains(flag) || (flag == 'S' && session.is_monitor))
            }
            What::Capa(wanted) => wanted.is_empty() || session.follows_redirects,
            What::AgeSeconds(least) => seconds(client.since) >= *least,
            What::IdleSeconds(least) => seconds(client.active) >= *least,
        }
    }
}

/// True if an address is one of TCP and of this host; an IPv6 one is named without its brackets.
fn is_from(addr: &str, ip: &[u8]) -> bool {
    let Some((host, port)) = addr.rsplit_once(':') else { return false };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.as_bytes() == ip && !port.starts_with('0')
}

fn yes_or_no(word: &[u8]) -> Result<bool, CommandError> {
    match word.to_ascii_lowercase().as_slice() {
        b"yes" => Ok(true),
        b"no" => Ok(false),
        _ => Err(CommandError::Syntax),
    }
}

fn class(word: &[u8]) -> Result<Option<Class>, CommandError> {
    match word.to_ascii_lowercase().as_slice() {
        b"normal" => Ok(Some(Class::Normal)),
        b"pubsub" => Ok(Some(Class::Pubsub)),
        b"master" | b"primary" | b"slave" | b"replica" => Ok(None),
        _ => Err(CommandError::naming("ERR Unknown client type '", word, "'")),
    }
}

fn database(value: &[u8], negated: bool, databases: i64) -> Result<usize, CommandError> {
    let name = if negated { "NOT-DB" } else { "DB" };
    let number = num::parse_i64(value).filter(|number| i32::try_from(*number).is_ok());
    let number = number.ok_or_else(|| text_error(format!("ERR {name} is not an integer or out of range")))?;
    match usize::try_from(number) {
        Ok(db) if number < databases => Ok(db),
        _ => Err(text_error(format!("ERR {name} number should be between 0 and {}", databases - 1))),
    }
}

fn seconds(value: &[u8], name: &str) -> Result<u64, CommandError> {
    let number = num::parse_i64(value);
    let number = number.ok_or_else(|| text_error(format!("ERR {name} is not an integer or out of range")))?;
    positive(number).ok_or_else(|| text_error(format!("ERR {name} should be greater than 0")))
}

fn positive(value: i64) -> Option<u64> {
    u64::try_from(value).ok().filter(|value| *value > 0)
}
