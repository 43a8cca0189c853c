//! A server as a source: its data as a replica would get them, or key by key where it gives no transfer.
//!
//! A transfer (SYNC) is a snapshot and an RDB file like any other. Managed services refuse it, and then,
//! or when the address asks for it, keys are listed with SCAN and fetched with DUMP: no snapshot, but every key that
//! is there from the first to the last moment. Nothing is ever written to the server, and keys are not
//! touched where it knows CLIENT NO-TOUCH.

mod address;
mod client;
mod scan;

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::Context;
use cairn_engine::codec::rdb::{Decoder, Depth, KeyHead, Options, Sink, Trailer, ValueEvent, Version};

use crate::cmd::Reading;
use crate::drive::{Fault, Stop, drive};
use crate::input::Input;
use crate::output::{clean, program};

pub(super) use address::Address;
use client::{Client, Reply};

/// Valkey writes a transfer in the version that a replica of this version reads, and breaks off at a key that an
/// older one cannot hold; to whom says nothing it sends version 11. Witness: valkey src/replication.c.
const NEWEST_REPLICA: &str = "9.2.0";

/// A server that answers.
#[derive(Debug)]
pub(super) struct Live {
    address: Address,
    client: Option<Client>,
}

impl Live {
    /// Connects, and tells who we are.
    pub(super) fn open(name: &OsStr) -> anyhow::Result<(Self, String)> {
        let text = name.to_str().context("an address of a server is text")?;
        let address = Address::parse(text).map_err(|what| anyhow::anyhow!("{what}"))?;
        let shown = address.to_string();
        let client = Self::connect(&address).with_context(|| shown.clone())?;
        Ok((Self { address, client: Some(client) }, shown))
    }

    fn connect(address: &Address) -> anyhow::Result<Client> {
        let mut client = Client::connect(address).context("connecting")?;
        // As redis-cli has it, so that no password has to stand where every user of the computer sees it.
        let password = address.password.clone().or_else(|| std::env::var("REDISCLI_AUTH").ok());
        if let Some(password) = password.filter(|password| !password.is_empty()) {
            let user = address.user.iter().map(String::as_bytes);
            let words: Vec<&[u8]> =
                [&b"AUTH"[..]].into_iter().chain(user).chain([password.as_bytes()]).collect();
            if let Reply::Error(error) = client.ask(&words)? {
                anyhow::bail!("{}", told(&error));
            }
        }
        // A server that wants a password, or is loading, says so now.
        match client.ask(&[b"PING"])? {
            Reply::Error(error) if !error.starts_with(b"NOPERM") => anyhow::bail!("{}", told(&error)),
            _ => Ok(client),
        }
    }

    /// Reads everything, or the database that the address names.
    pub(super) fn read<S: Sink>(&mut self, reading: Reading, sink: &mut S) -> Result<(), Stop<S::Error>> {
        let Some(mut client) = self.client.take() else { return Ok(()) };
        if !self.address.scans {
            match self.transfer(&mut client).map_err(Stop::Read)? {
                Ok(mut input) => {
                    let progress = reading.progress(&input);
                    let mut decoder = Decoder::new(Options::default());
                    let mut only = OnlyDb { sink, db: self.address.db, is_left_out: false };
                    return drive(&mut input, &mut decoder, &progress, &mut only).map_err(in_time);
                }
                Err(refused) => {
                    let line = format!(
                        "{}: {}: no transfer ({refused}); reading key by key, which is no snapshot",
                        program(),
                        self.address
                    );
                    // Keys matter more than whether this can be told.
                    let _ = writeln!(io::stderr(), "{}", clean(&line));
                    // The connection may be half a replica's by now.
                    client = Self::connect(&self.address)
                        .map_err(|error| Stop::Other(Fault::of_access(format!("{error:#}"))))?;
                }
            }
        }
        scan::read(&mut client, self.address.db, sink).map_err(in_time)
    }

    /// Asks for a transfer; the input of it, or why the server gives none.
    fn transfer(&self, client: &mut Client) -> io::Result<Result<Input, String>> {
        // What a server does not know of these it refuses, and that is fine.
        for (name, value) in [("capa", "eof"), ("rdb-only", "1"), ("version", NEWEST_REPLICA)] {
            client.ask(&[b"REPLCONF", name.as_bytes(), value.as_bytes()])?;
        }
        client.send(&[b"SYNC"])?;
        let line = loop {
            // While it saves, a server sends empty lines so that nobody thinks it dead.
            let line = client.line()?;
            if !line.is_empty() {
                break line;
            }
        };
        let input = |reader: Box<dyn Read + Send>| Input::from_reader(Path::new("transfer"), reader);
        if line.starts_with(b"$EOF:") {
            let start = io::Cursor::new([&line[..], b"\r\n"].concat());
            return input(Box::new(start.chain(client.reader()?))).map(Ok);
        }
        if let Some(len) = line.strip_prefix(b"$").and_then(cairn_engine::base::num::parse_u64) {
            return input(Box::new(client.reader()?.take(len))).map(Ok);
        }
        Ok(Err(match line.strip_prefix(b"-") {
            Some(error) => told(error),
            None => format!("it answers \"{}\" to SYNC", told(&line)),
        }))
    }
}

/// A server's words as a person may see them.
fn told(bytes: &[u8]) -> String {
    clean(&String::from_utf8_lossy(bytes))
}

/// Says what a time that has run out means.
fn in_time<E>(stop: Stop<E>) -> Stop<E> {
    match stop {
        Stop::Read(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            Stop::Other(Fault::of_access(
                "the server has not answered in time (?timeout=SECONDS allows more)",
            ))
        }
        stop => stop,
    }
}

/// Lets through the keys of one database.
struct OnlyDb<'s, S> {
    sink: &'s mut S,
    db: Option<u64>,
    is_left_out: bool,
}

impl<S: Sink> Sink for OnlyDb<'_, S> {
    type Error = S::Error;

    fn start(&mut self, version: Version) -> Result<(), S::Error> {
        self.sink.start(version)
    }

    fn aux(&mut self, key: &[u8], value: &[u8], end: u64) -> Result<(), S::Error> {
        // Fields among the keys of another database belong to them.
        if self.is_left_out { Ok(()) } else { self.sink.aux(key, value, end) }
    }

    fn select_db(&mut self, db: u64, end: u64) -> Result<(), S::Error> {
        self.is_left_out = self.db.is_some_and(|only| only != db);
        if self.is_left_out { Ok(()) } else { self.sink.select_db(db, end) }
    }

    fn resize_db(&mut self, keys: u64, expires: u64) -> Result<(), S::Error> {
        if self.is_left_out { Ok(()) } else { self.sink.resize_db(keys, expires) }
    }

    fn slot_info(&mut self, slot: u64, keys: u64, expires: u64) -> Result<(), S::Error> {
        if self.is_left_out { Ok(()) } else { self.sink.slot_info(slot, keys, expires) }
    }

    fn slot_import(&mut self, job: &[u8], ranges: &[(u64, u64)]) -> Result<(), S::Error> {
        self.sink.slot_import(job, ranges)
    }

    fn function(&mut self, at: u64, code: &[u8]) -> Result<(), S::Error> {
        self.sink.function(at, code)
    }

    fn module_aux(&mut self, at: u64, id: u64, payload: &[u8]) -> Result<(), S::Error> {
        self.sink.module_aux(at, id, payload)
    }

    fn template(&mut self, id: u64, fields: &[Vec<u8>]) -> Result<(), S::Error> {
        self.sink.template(id, fields)
    }

    fn update(&mut self, at: u64, argv: &[&[u8]]) -> Result<(), S::Error> {
        self.sink.update(at, argv)
    }

    fn key(&mut self, head: &KeyHead<'_>) -> Result<Depth, S::Error> {
        self.is_left_out = self.db.is_some_and(|only| only != head.db);
        if self.is_left_out { Ok(Depth::Skip) } else { self.sink.key(head) }
    }

    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), S::Error> {
        self.sink.value(event)
    }

    fn end_key(&mut self, end: u64) -> Result<(), S::Error> {
        if self.is_left_out { Ok(()) } else { self.sink.end_key(end) }
    }

    fn end(&mut self, trailer: Trailer) -> Result<(), S::Error> {
        self.sink.end(trailer)
    }
}
