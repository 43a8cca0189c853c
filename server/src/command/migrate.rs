//! MIGRATE: keys go to another server, by DUMP here, RESTORE there and DEL here once it has said yes.
//!
//! Everything waits meanwhile, as in Valkey: that is what makes the move atomic for both sides.
//! Behaviour: valkey src/cluster.c `migrateCommand`.

use std::time::Duration;

use cairn_engine::codec::resp::{Protocol, Reply};
use cairn_engine::command::finders;
use cairn_engine::command::spec::{
    BeginSearch, FindKeys, Group, KeySpec, KeyUse, READS_AND_DELETES, Spec, WRITE,
};
use cairn_engine::command::{Args, CommandError, Outcome};
use cairn_engine::engine::Caller;
use cairn_engine::transcode::dump;

use super::table::Run;
use super::{Call, SessionCommand};
use crate::dispatch::LOADING_ERROR;
use crate::migrations::{Failure, Peer};

/// Every command of this file.
pub(super) const COMMANDS: &[SessionCommand] = &[MIGRATE];

const SYNTAX: &str = "host port:int key-selector=< key | empty-string= > destination-db:int timeout:int \
         [ COPY@3.0.0 ] [ REPLACE@3.0.0 ] \
         authentication=[ AUTH auth~password@4.0.7 | auth2@6.0.0=< AUTH2: username password > ] \
         [ KEYS keys~key:key@3.0.6... ]";

const MAYBE_MORE: KeyUse = KeyUse { mode: "RW", effects: &["access", "delete", "incomplete"] };

const MIGRATE: SessionCommand = SessionCommand::new(
    Spec::new("migrate", Group::Generic, "2.6.0", -6, SYNTAX)
        .flags(WRITE)
        .keys(&[
            KeySpec::one(3, READS_AND_DELETES),
            KeySpec {
                uses: MAYBE_MORE,
                begin: BeginSearch::Keyword("KEYS", -2),
                find: FindKeys::Range { last: -1, step: 1, limit: 0 },
            },
        ])
        .finder(finders::migrate)
        .categories(&["dangerous"])
        .complexity("O(N) in the bytes of the values, and the time the other server takes")
        .summary("Moves keys to another server."),
    migrate,
);

/// Without a timeout that makes sense.
const DEFAULT_TIMEOUT_MS: i64 = 1000;

/// What stands behind the five arguments that are always there.
#[derive(Default)]
struct Options<'a> {
    copy: bool,
    replace: bool,
    /// AUTH and what follows it.
    auth: Vec<&'a [u8]>,
    /// Position of the first key.
    keys_from: Option<usize>,
}

impl<'a> Options<'a> {
    fn parse(args: Args<'a>) -> Result<Options<'a>, CommandError> {
        let mut options = Options::default();
        let mut at = 6;
        while at < args.len() {
            let word = args.at(at).to_ascii_lowercase();
            let words = match word.as_slice() {
                b"copy" => {
                    options.copy = true;
                    0
                }
                b"replace" => {
                    options.replace = true;
                    0
                }
                b"auth" => 1,
                b"auth2" => 2,
                b"keys" if !args.at(3).is_empty() => {
                    let text = "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string";
                    return Err(CommandError::text(text));
                }
                b"keys" => {
                    options.keys_from = Some(at + 1);
                    break;
                }
                _ => return Err(CommandError::Syntax),
            };
            if at + words >= args.len() {
                return Err(CommandError::Syntax);
            }
            if words > 0 {
                options.auth =
                    std::iter::once(&b"AUTH"[..]).chain((1..=words).map(|i| args.at(at + i))).collect();
            }
            at += 1 + words;
        }
        Ok(options)
    }
}

/// A key on its way.
struct Parcel<'a> {
    key: &'a [u8],
    ttl_ms: i64,
    dump: Vec<u8>,
}

fn migrate(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    let options = Options::parse(args)?;
    let timeout_ms = args.int(5)?;
    let db = args.int(4)?;
    let timeout_ms = if timeout_ms <= 0 { DEFAULT_TIMEOUT_MS } else { timeout_ms };
    let timeout = Duration::from_millis(timeout_ms.unsigned_abs());
    let keys = options
        .keys_from
        .map_or_else(|| vec![args.at(3)], |from| (from..args.len()).map(|i| args.at(i)).collect());
    let parcels = pack(call, &keys)?;
    if parcels.is_empty() {
        call.reply.simple("NOKEY");
        return Ok(());
    }
    let address = [args.at(1), b":", args.at(2)].concat();
    let mut may_retry = true;
    loop {
        let peer = call.server.migrations.take(&address, args.at(1), args.at(2), timeout);
        let Some(mut peer) = peer else {
            return Err(CommandError::text("IOERR error or timeout connecting to the client"));
        };
        let sent = send(&mut peer, &options, db, &parcels, timeout);
        let mut moved: Vec<&[u8]> = Vec::new();
        let outcome = sent.and_then(|selects| {
            receive(&mut peer, &options, selects, &parcels, timeout, |key| moved.push(key))
        });
        let processed = moved.len();
        if !options.copy && !moved.is_empty() {
            forget(call, &moved);
        }
        match outcome {
            Ok(None) => {
                peer.db = Some(db);
                call.server.migrations.give_back(address, peer, call.server.now_instant);
                call.reply.ok();
                return Ok(());
            }
            Ok(Some(refusal)) => {
                peer.db = None;
                call.server.migrations.give_back(address, peer, call.server.now_instant);
                let mut text = b"ERR Target instance replied with error: ".to_vec();
                text.extend_from_slice(&refusal);
                call.reply.error_bytes(&text);
                return Ok(());
            }
            // A connection that was kept may have been closed by the other side since.
            Err(failure) if may_retry && processed == 0 && !failure.is_timeout => may_retry = false,
            Err(failure) => {
                let doing = if failure.while_writing { "writing" } else { "reading" };
                let text = format!("IOERR error or timeout {doing} to target instance");
                return Err(CommandError::Text(text.into()));
            }
        }
    }
}

/// The keys that are there, as their RESTORE will want them.
fn pack<'a>(call: &mut Call<'_>, keys: &[&'a [u8]]) -> Result<Vec<Parcel<'a>>, CommandError> {
    let (index, now, no_touch) = (call.session().db, call.server.now, call.session().no_touch);
    let exists = call.server.commands.find(b"exists");
    let exists = exists.map(|number| call.server.commands.entry(number).run);
    let Some(Run::Data(exists)) = exists else { return Ok(Vec::new()) };
    let caller = Caller { is_no_touch: no_touch, ..Caller::new(index, now) };
    let mut parcels = Vec::new();
    for key in keys {
        // A lookup as any other: it counts, and what has expired is gone.
        let mut answer = Reply::new(Protocol::Resp2);
        call.server.apply(exists, Args(&[b"exists", key]), caller, &mut answer);
        let engine = call.server.engine.as_ref().ok_or(CommandError::text(LOADING_ERROR))?;
        let db = engine.keyspace().db(index);
        let Some(value) = db.get(key).filter(|_| answer.bytes() == b":1\r\n") else { continue };
        let ttl_ms = db.expire_at(key).map_or(0, |at| at.0.saturating_sub(now.0).max(1));
        parcels.push(Parcel { key, ttl_ms, dump: dump::dump(value) });
    }
    Ok(parcels)
}

/// Sends everything in one go; answers whether a SELECT was among it.
fn send(
    peer: &mut Peer,
    options: &Options<'_>,
    db: i64,
    parcels: &[Parcel<'_>],
    timeout: Duration,
) -> Result<bool, Failure> {
    let mut out = Vec::new();
    if !options.auth.is_empty() {
        request(&mut out, &options.auth);
    }
    let selects = peer.db != Some(db);
    if selects {
        request(&mut out, &[b"SELECT", db.to_string().as_bytes()]);
    }
    for parcel in parcels {
        let ttl = parcel.ttl_ms.to_string();
        let words: [&[u8]; 5] = [b"RESTORE", parcel.key, ttl.as_bytes(), &parcel.dump, b"REPLACE"];
        request(&mut out, if options.replace { &words } else { &words[..4] });
    }
    peer.write(&out, timeout)?;
    Ok(selects)
}

fn request(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// Reads the replies and says which keys have arrived; the first error, if the other side had one.
fn receive<'a>(
    peer: &mut Peer,
    options: &Options<'_>,
    selects: bool,
    parcels: &[Parcel<'a>],
    timeout: Duration,
    mut arrived: impl FnMut(&'a [u8]),
) -> Result<Option<Vec<u8>>, Failure> {
    let mut refusal: Option<Vec<u8>> = None;
    let error_of = |line: Vec<u8>| line.strip_prefix(b"-").map(<[u8]>::to_vec);
    let before = usize::from(!options.auth.is_empty()) + usize::from(selects);
    let mut refused_before = None;
    for _ in 0..before {
        let line = peer.read_line(timeout)?;
        refused_before = refused_before.or(error_of(line));
    }
    for parcel in parcels {
        let line = match peer.read_line(timeout) {
            Ok(line) => line,
            // What it has refused says more than that the rest did not come.
            Err(_) if refusal.is_some() => break,
            Err(failure) => return Err(failure),
        };
        match refused_before.clone().or(error_of(line)) {
            Some(error) => refusal = refusal.or(Some(error)),
            None => arrived(parcel.key),
        }
    }
    Ok(refusal)
}

/// Removes what has arrived elsewhere, as DEL does, so that logs and listeners hear of a DEL.
fn forget(call: &mut Call<'_>, keys: &[&[u8]]) {
    let (index, now) = (call.session().db, call.server.now);
    let del = call.server.commands.find(b"del").map(|number| call.server.commands.entry(number).run);
    let Some(Run::Data(del)) = del else { return };
    let words: Vec<&[u8]> = std::iter::once(&b"DEL"[..]).chain(keys.iter().copied()).collect();
    let mut answer = Reply::new(Protocol::Resp2);
    call.server.apply(del, Args(&words), Caller::new(index, now), &mut answer);
}
