//! Keys of a server one by one: SCAN for their names, DUMP for their values, in pipelines.
//!
//! SCAN may name a key twice while its table grows, so the keys that were told are remembered by 16 bytes
//! each. A key that is gone when its turn comes is left out. Expiries are asked for as instants, of
//! servers before 7.0 as time left by their own clock; idle time or access counter are asked for where the
//! server's eviction policy keeps them, before the value, because asking for a value would count as an access.

use std::collections::HashSet;

use cairn_engine::base::num;
use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::{
    Decoder, Depth, Dialect, FIRST_REDIS_ONLY, KeyHead, Options, Sink, ValueEvent, Version, split_dump,
};
use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;

use super::client::{Client, Reply};
use super::told;
use crate::drive::{Fault, Place, Stop};
use crate::output::Shown;
use crate::source::Emitter;

/// Names asked for at once; also what is in a pipeline.
const KEYS_AT_ONCE: &[u8] = b"256";
/// A DUMP payload ends with its version and a checksum.
const FOOTER_BYTES: usize = 10;

/// What the server keeps about accesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    Nothing,
    Idle,
    Freq,
}

fn refused<T, E>(what: &str, error: &[u8]) -> Result<T, Stop<E>> {
    Err(Stop::Other(Fault::of_access(format!("{what}: {}", told(error)))))
}

fn odd<T, E>(what: &str) -> Result<T, Stop<E>> {
    Err(Stop::Other(Fault::of_access(format!("{what}: the server answers something else"))))
}

/// Reads all databases, or one.
pub(super) fn read<S: Sink>(
    client: &mut Client,
    only: Option<u64>,
    sink: &mut S,
) -> Result<(), Stop<S::Error>> {
    // Older servers do not know it.
    client.ask(&[b"CLIENT", b"NO-TOUCH", b"ON"]).map_err(Stop::Read)?;
    let info = match client.ask(&[b"INFO"]).map_err(Stop::Read)? {
        Reply::Bulk(text) => text,
        // Whoever may not ask has database 0.
        _ => Vec::new(),
    };
    let info = Info(&info);
    let policy = match info.get(b"maxmemory_policy") {
        Some(policy) if policy.ends_with(b"-lfu") => Policy::Freq,
        Some(policy) if policy.ends_with(b"-lru") => Policy::Idle,
        _ => Policy::Nothing,
    };
    let (version, libraries) = functions(client)?;
    let dbs = only.map_or_else(|| info.dbs(), |db| vec![db]);
    let mut scan = Scan {
        client,
        policy,
        has_instants: true,
        told: HashSet::new(),
        hasher: SipHasher13::new_with_keys(0x5eed, 0xf00d),
        names: Vec::new(),
    };
    let mut version = match version {
        Some(version) => version,
        // Functions came with 7.0; any key tells the version of what is older.
        None => scan.version_of_a_key(&dbs)?,
    };
    // A server may write each payload in the lowest version that holds it, as Cairn does.
    if version.number < FIRST_REDIS_ONLY && knows(scan.client, b"HPEXPIREAT")? {
        version.number = FIRST_REDIS_ONLY;
    }
    let mut emitter = Emitter::new(sink, version)?;
    for library in &libraries {
        emitter.function(library)?;
    }
    for db in dbs {
        scan.db(db, &mut emitter)?;
    }
    emitter.end()
}

/// Whether the server has that command.
fn knows<E>(client: &mut Client, command: &[u8]) -> Result<bool, Stop<E>> {
    let reply = client.ask(&[b"COMMAND", b"INFO", command]).map_err(Stop::Read)?;
    Ok(matches!(reply, Reply::Array(items) if matches!(items.first(), Some(Reply::Array(_)))))
}

/// What INFO says.
struct Info<'a>(&'a [u8]);

impl<'a> Info<'a> {
    fn lines(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        self.0.split(|b| *b == b'\n').filter_map(|line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let colon = memchr::memchr(b':', line)?;
            Some((&line[..colon], &line[colon + 1..]))
        })
    }

    fn get(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.lines().find(|(its_name, _)| *its_name == name).map(|(_, value)| value)
    }

    /// Databases with keys.
    fn dbs(&self) -> Vec<u64> {
        let number = |(name, value): (&[u8], &[u8])| {
            value.starts_with(b"keys=").then(|| num::parse_u64(name.strip_prefix(b"db")?)).flatten()
        };
        let mut dbs: Vec<u64> = self.lines().filter_map(number).collect();
        // Whoever may not ask how many there are has the first.
        if dbs.is_empty() && self.get(b"redis_version").is_none() {
            dbs.push(0);
        }
        dbs.sort_unstable();
        dbs
    }
}

/// The version of a server's payloads, if it has functions, and its libraries.
type Functions = (Option<Version>, Vec<Vec<u8>>);

/// The libraries of a server, and the version of its payloads.
fn functions<E>(client: &mut Client) -> Result<Functions, Stop<E>> {
    let payload = match client.ask(&[b"FUNCTION", b"DUMP"]).map_err(Stop::Read)? {
        Reply::Bulk(payload) if payload.len() >= FOOTER_BYTES => payload,
        _ => return Ok((None, listed_functions(client)?)),
    };
    let (body, footer) = payload.split_at(payload.len() - FOOTER_BYTES);
    let number = u16::from_le_bytes([footer[0], footer[1]]);
    let Some(version) = Version::of_dump(number) else {
        let what = format!("its payloads have version {number}, which is newer than this tool");
        return Err(Stop::Other(Fault::of_access(what)));
    };
    // What is in it are records of a file.
    let file = [&version.magic()[..], body, &[0xff], &[0; 8]].concat();
    let mut libraries = Libraries(Vec::new());
    let options = Options { verify_checksum: false, ..Options::default() };
    match Decoder::new(options).advance(&file, true, &mut libraries) {
        Ok(_) => Ok((Some(version), libraries.0)),
        Err(_) => odd("FUNCTION DUMP"),
    }
}

/// The libraries of a server that does not dump them; none before 7.0, or if they are not for us.
fn listed_functions<E>(client: &mut Client) -> Result<Vec<Vec<u8>>, Stop<E>> {
    let Reply::Array(items) = client.ask(&[b"FUNCTION", b"LIST", b"WITHCODE"]).map_err(Stop::Read)? else {
        return Ok(Vec::new());
    };
    let code_of = |library: Reply| {
        let Reply::Array(members) = library else { return None };
        let mut members = members.into_iter();
        while let (Some(name), Some(value)) = (members.next(), members.next()) {
            if let (Reply::Bulk(name), Reply::Bulk(code)) = (name, value)
                && name == b"library_code"
            {
                return Some(code);
            }
        }
        None
    };
    Ok(items.into_iter().filter_map(code_of).collect())
}

struct Libraries(Vec<Vec<u8>>);

impl Sink for Libraries {
    type Error = ();

    fn function(&mut self, _at: u64, code: &[u8]) -> Result<(), ()> {
        self.0.push(code.to_vec());
        Ok(())
    }

    fn key(&mut self, _head: &KeyHead<'_>) -> Result<Depth, ()> {
        Err(())
    }

    fn value(&mut self, _event: ValueEvent<'_>) -> Result<(), ()> {
        Err(())
    }
}

struct Scan<'c> {
    client: &'c mut Client,
    policy: Policy,
    /// Whether the server knows PEXPIRETIME.
    has_instants: bool,
    /// Hashes of the keys of this database that have had their turn.
    told: HashSet<u128>,
    hasher: SipHasher13,
    /// Of the batch at hand.
    names: Vec<Vec<u8>>,
}

impl Scan<'_> {
    fn select<E>(&mut self, db: u64) -> Result<(), Stop<E>> {
        match self.client.ask(&[b"SELECT", db.to_string().as_bytes()]).map_err(Stop::Read)? {
            // A node of a cluster has one database, and may not know the command.
            Reply::Error(error) if db != 0 => refused("SELECT", &error),
            _ => Ok(()),
        }
    }

    /// Fetches the next names into `names`; answers the next cursor.
    fn next_names<E>(&mut self, cursor: &[u8]) -> Result<Vec<u8>, Stop<E>> {
        let reply = self.client.ask(&[b"SCAN", cursor, b"COUNT", KEYS_AT_ONCE]).map_err(Stop::Read)?;
        let items = match reply {
            Reply::Error(error) => return refused("SCAN", &error),
            Reply::Array(items) => items,
            _ => return odd("SCAN"),
        };
        let Ok([Reply::Bulk(cursor), Reply::Array(names)]) = <[Reply; 2]>::try_from(items) else {
            return odd("SCAN");
        };
        self.names.clear();
        for name in names {
            let Reply::Bulk(name) = name else { return odd("SCAN") };
            let mut hasher = self.hasher;
            hasher.write(&name);
            if self.told.insert(hasher.finish128().as_u128()) {
                self.names.push(name);
            }
        }
        Ok(cursor)
    }

    /// The version of the first payload that can be had.
    fn version_of_a_key<E>(&mut self, dbs: &[u64]) -> Result<Version, Stop<E>> {
        // The last version that all servers without functions read.
        let mut found = Version { dialect: Dialect::Redis, number: FIRST_REDIS_ONLY - 1 };
        'all: for db in dbs {
            self.select(*db)?;
            let mut cursor = b"0".to_vec();
            loop {
                cursor = self.next_names(&cursor)?;
                for name in std::mem::take(&mut self.names) {
                    if let Reply::Bulk(payload) = self.client.ask(&[b"DUMP", &name]).map_err(Stop::Read)? {
                        if let Ok(parts) =
                            split_dump(&payload, Options { verify_checksum: false, ..Options::default() })
                        {
                            found = parts.version;
                        }
                        break 'all;
                    }
                }
                if cursor == b"0" {
                    break;
                }
            }
        }
        self.told.clear();
        Ok(found)
    }

    fn db<S: Sink>(&mut self, db: u64, emitter: &mut Emitter<'_, S>) -> Result<(), Stop<S::Error>> {
        self.select(db)?;
        self.told.clear();
        let mut cursor = b"0".to_vec();
        loop {
            cursor = self.next_names(&cursor)?;
            self.batch(db, emitter)?;
            if cursor == b"0" {
                return Ok(());
            }
        }
    }

    /// Fetches the keys of `names`.
    fn batch<S: Sink>(&mut self, db: u64, emitter: &mut Emitter<'_, S>) -> Result<(), Stop<S::Error>> {
        let names = std::mem::take(&mut self.names);
        if self.has_instants
            && let Some(name) = names.first()
            && let Reply::Error(_) = self.client.ask(&[b"PEXPIRETIME", name]).map_err(Stop::Read)?
        {
            self.has_instants = false;
        }
        for name in &names {
            match self.policy {
                Policy::Nothing => {}
                Policy::Idle => self.client.push(&[b"OBJECT", b"IDLETIME", name]),
                Policy::Freq => self.client.push(&[b"OBJECT", b"FREQ", name]),
            }
            if self.has_instants {
                self.client.push(&[b"PEXPIRETIME", name]);
            } else {
                self.client.push(&[b"TIME"]);
                self.client.push(&[b"PTTL", name]);
            }
            self.client.push(&[b"DUMP", name]);
        }
        self.client.flush().map_err(Stop::Read)?;
        for name in &names {
            self.key(db, name, emitter)?;
        }
        self.names = names;
        Ok(())
    }

    /// Takes the replies about one key.
    fn key<S: Sink>(
        &mut self,
        db: u64,
        name: &[u8],
        emitter: &mut Emitter<'_, S>,
    ) -> Result<(), Stop<S::Error>> {
        let accessed = match self.policy {
            Policy::Nothing => None,
            // An error where the policy has been changed: then there is none.
            _ => match self.client.reply().map_err(Stop::Read)? {
                Reply::Int(number) => u64::try_from(number).ok(),
                _ => None,
            },
        };
        let expire_at = self.expiry()?;
        let payload = match self.client.reply().map_err(Stop::Read)? {
            Reply::Bulk(payload) => payload,
            // It is gone.
            Reply::Null => return Ok(()),
            Reply::Error(error) => return refused("DUMP", &error),
            _ => return odd("DUMP"),
        };
        let parts = split_dump(&payload, Options::default()).map_err(|error| {
            let what = format!("key \"{}\": {error}", Shown(name));
            Stop::Other(Fault::of_input(Place::Nowhere, what))
        })?;
        let head = KeyHead {
            at: 0,
            db,
            key: name,
            object: parts.object,
            type_byte: parts.type_byte,
            expire_at,
            idle_s: accessed.filter(|_| self.policy == Policy::Idle),
            freq: accessed
                .filter(|_| self.policy == Policy::Freq)
                .map(|freq| u8::try_from(freq).unwrap_or(u8::MAX)),
            meta: parts.meta,
            no_evict: false,
        };
        emitter.key(parts.version, &head, parts.payload)
    }

    fn expiry<E>(&mut self) -> Result<Option<UnixMs>, Stop<E>> {
        if self.has_instants {
            return match self.client.reply().map_err(Stop::Read)? {
                Reply::Int(at) => Ok((at >= 0).then_some(UnixMs(at))),
                Reply::Error(error) => refused("PEXPIRETIME", &error),
                _ => odd("PEXPIRETIME"),
            };
        }
        let now_ms = match self.client.reply().map_err(Stop::Read)? {
            Reply::Array(parts) => match &parts[..] {
                [Reply::Bulk(seconds), Reply::Bulk(micros)] => num::parse_i64(seconds)
                    .zip(num::parse_i64(micros))
                    .and_then(|(seconds, micros)| seconds.checked_mul(1000)?.checked_add(micros / 1000)),
                _ => None,
            },
            Reply::Error(error) => return refused("TIME", &error),
            _ => None,
        };
        let Some(now_ms) = now_ms else { return odd("TIME") };
        match self.client.reply().map_err(Stop::Read)? {
            Reply::Int(left) => Ok((left >= 0).then(|| UnixMs(now_ms.saturating_add(left)))),
            Reply::Error(error) => refused("PTTL", &error),
            _ => odd("PTTL"),
        }
    }
}
