//! A log run from its first byte to its last, and the keys told then.

use std::path::Path;

use cairn_engine::codec::aof::{MAGIC_BYTES, starts_with_rdb};
use cairn_engine::codec::rdb::{
    Decoder, Depth, KeyHead, Options as DecoderOptions, Sink, Trailer, ValueEvent, Version,
};

use super::commands::{Call, Commands};
use super::emit::{Needs, Teller};
use super::keys::{BadKey, Keys, Loader};
use super::libraries::Libraries;
use super::log::{Log, Part};
use super::read::{Broken, Failed, Kind, Records};
use super::{OnBad, OnTorn, Options, Skipped, Summary, Torn};
use crate::drive::{self, Fault, Place, Stop};
use crate::input::Input;
use crate::output::clean;

/// Commands that were left out and are named; more are only counted.
const NAMED_SKIPS: usize = 100;
/// The bar need not know of each command.
const COMMANDS_PER_STEP: u64 = 1024;

/// Auxiliary fields that say something about one file and not about its data.
const OF_THE_FILE: &[&[u8]] = &[
    b"aof-base",
    b"aof-preamble",
    b"ctime",
    b"used-mem",
    b"mvcc-tstamp",
    b"keydb-subexpire-key",
    b"keydb-subexpire-when",
];

/// Reads a log into memory, then tells its keys.
pub(super) fn in_memory<S: Sink>(
    log: &Log,
    options: &Options,
    sink: &mut S,
) -> Result<Summary, Stop<S::Error>> {
    let mut run = Run::new(options);
    for (number, part) in log.parts.iter().enumerate() {
        let is_last = number + 1 == log.parts.len();
        run.part(part, is_last).map_err(Stop::Other)?;
    }
    run.tell(sink)
}

/// A log being run.
struct Run<'o> {
    options: &'o Options,
    commands: Commands,
    keys: Keys,
    libraries: Libraries,
    aux: Vec<(Vec<u8>, Vec<u8>)>,
    needs: Needs,
    summary: Summary,
}

/// A fault at an offset of a file.
fn fault_at(path: &Path, at: u64, what: impl Into<String>) -> Fault {
    Fault::of_input(Place::Offset(at), what).in_file(path.display().to_string())
}

fn fault_of_system(path: &Path, error: &std::io::Error) -> Fault {
    Fault::of_access(error.to_string()).in_file(path.display().to_string())
}

impl<'o> Run<'o> {
    fn new(options: &'o Options) -> Run<'o> {
        Run {
            options,
            commands: Commands::new(),
            keys: Keys::new(options.now),
            libraries: Libraries::default(),
            aux: Vec::new(),
            needs: Needs::default(),
            summary: Summary::default(),
        }
    }

    fn part(&mut self, part: &Part, is_last: bool) -> Result<(), Fault> {
        let path = part.path.as_path();
        let opened = self.options.reading.open(path);
        let mut input = opened.map_err(|error| Fault::of_access(clean(&format!("{error:#}"))))?;
        let progress = self.options.reading.progress(&input);
        input.fill(MAGIC_BYTES as u64).map_err(|error| fault_of_system(path, &error))?;
        if starts_with_rdb(input.bytes()) {
            self.base(path, &mut input, &progress)?;
        }
        let mut records = Records::new(&mut input, part.marks, part.until);
        let mut session = Session::default();
        let mut steps = 0;
        let ended = loop {
            match records.advance() {
                Ok(Some(record)) => {
                    if let Kind::Command(words) = record.content {
                        let argv: Vec<&[u8]> = words.iter().collect();
                        self.command(&mut session, path, record.at, &argv)?;
                    }
                    let end = record.end;
                    steps += 1;
                    if steps % COMMANDS_PER_STEP == 0 {
                        progress.at(end);
                    }
                }
                Ok(None) => break None,
                Err(Failed::Io(error)) => return Err(fault_of_system(path, &error)),
                Err(Failed::Broken(broken)) => break Some(broken),
            }
        };
        let open = session.open_at.map(|at| Broken {
            at,
            what: "the transaction that starts here has no EXEC".to_owned(),
            is_torn: part.marks.whole_to().is_none_or(|end| end <= at),
        });
        match (ended, open) {
            (Some(broken), None) => self.ends_early(part, broken, is_last),
            (Some(broken), Some(open)) => {
                let what = format!("{}; offset {}: {}", open.what, broken.at, broken.what);
                self.ends_early(part, Broken { at: open.at, what, is_torn: broken.is_torn }, is_last)
            }
            // Who cuts a log by a place has been told what that drops.
            (None, Some(_)) if part.until.is_some() => Ok(()),
            (None, Some(open)) => self.ends_early(part, open, is_last),
            (None, None) => Ok(()),
        }
    }

    fn ends_early(&mut self, part: &Part, broken: Broken, is_last: bool) -> Result<(), Fault> {
        if !broken.is_torn || !is_last || self.options.on_torn == OnTorn::Fail {
            let what = match (broken.is_torn, is_last) {
                (true, false) => format!("{}; only the last file of a log may end so", broken.what),
                _ => broken.what,
            };
            return Err(fault_at(&part.path, broken.at, what));
        }
        self.summary.torn = Some(Torn {
            file: part.path.clone(),
            at: broken.at,
            bytes: part.bytes.saturating_sub(broken.at),
            what: broken.what,
        });
        Ok(())
    }

    /// Loads the RDB file that a file starts with.
    fn base(
        &mut self,
        path: &Path,
        input: &mut Input,
        progress: &crate::progress::Progress,
    ) -> Result<(), Fault> {
        let mut base = Base {
            loader: self.keys.loader(),
            libraries: &mut self.libraries,
            aux: &mut self.aux,
            needs: &mut self.needs,
            has_keys: false,
        };
        let mut decoder = Decoder::new(DecoderOptions::default());
        drive::drive(input, &mut decoder, progress, &mut base).map_err(|stop| match stop {
            Stop::Read(error) => fault_of_system(path, &error),
            Stop::Format(error) => {
                Fault::of_input(Place::Nowhere, drive::told(&error)).in_file(path.display().to_string())
            }
            Stop::Sink(BadKey { at, what }) => fault_at(path, at, what),
            Stop::Other(fault) => fault,
        })
    }

    fn command(&mut self, session: &mut Session, path: &Path, at: u64, argv: &[&[u8]]) -> Result<(), Fault> {
        let call = match self.commands.call(argv) {
            Ok(call) => call,
            Err(what) => return self.bad(path, at, what),
        };
        match (call, session.open_at) {
            (Call::Multi, None) => {
                session.open_at = Some(at);
                Ok(())
            }
            (Call::Multi, Some(_)) => self.bad(path, at, "MULTI inside a transaction".to_owned()),
            (Call::Exec, None) => self.bad(path, at, "EXEC without MULTI".to_owned()),
            (Call::Exec, Some(_)) => {
                session.open_at = None;
                let queue = std::mem::take(&mut session.queue);
                queue.iter().try_for_each(|(at, words)| {
                    let argv: Vec<&[u8]> = words.iter().map(|word| &**word).collect();
                    let call = self.commands.call(&argv).expect("it was right when it was queued");
                    self.call(session, path, *at, call, &argv)
                })
            }
            (Call::Discard, _) => {
                session.open_at = None;
                session.queue.clear();
                Ok(())
            }
            (call, None) => self.call(session, path, at, call, argv),
            (_, Some(_)) => {
                session.queue.push((at, argv.iter().map(|word| Box::from(*word)).collect()));
                Ok(())
            }
        }
    }

    fn call(
        &mut self,
        session: &mut Session,
        path: &Path,
        at: u64,
        call: Call,
        argv: &[&[u8]],
    ) -> Result<(), Fault> {
        let ran = match call {
            Call::Data(command) => {
                self.needs.command(command, argv);
                self.summary.commands += 1;
                self.keys.apply(session.db, command, argv).map_err(|error| {
                    format!("{} answers: {}", command.spec.full_name(), clean(&error.message()))
                })
            }
            Call::Function => {
                self.summary.commands += 1;
                self.libraries.call(argv).map_err(|error| format!("function answers: {}", clean(&error)))
            }
            Call::Select(db) => {
                session.db = db;
                Ok(())
            }
            Call::Multi | Call::Exec | Call::Discard | Call::Nothing => Ok(()),
        };
        match ran {
            Ok(()) => Ok(()),
            Err(what) => self.bad(path, at, what),
        }
    }

    /// A command that cannot be repeated.
    #[cold]
    fn bad(&mut self, path: &Path, at: u64, what: String) -> Result<(), Fault> {
        if self.options.on_bad == OnBad::Fail {
            return Err(fault_at(path, at, what));
        }
        self.summary.skips += 1;
        if self.summary.skipped.len() < NAMED_SKIPS {
            self.summary.skipped.push(Skipped { file: path.to_owned(), at, what });
        }
        Ok(())
    }

    fn tell<S: Sink>(mut self, sink: &mut S) -> Result<Summary, Stop<S::Error>> {
        let mut teller = Teller::begin(sink, self.needs, &self.aux, &self.libraries)?;
        for (number, db) in self.keys.keyspace.iter().enumerate() {
            for entry in db {
                teller.key(number as u64, entry)?;
            }
        }
        self.summary.keys = teller.end(&self.libraries)?;
        Ok(self.summary)
    }
}

/// What a file's commands go by: as with a new client, that is database 0 and no transaction.
#[derive(Default)]
struct Session {
    db: usize,
    /// Offset of the MULTI whose EXEC has not come.
    open_at: Option<u64>,
    /// What has come since.
    queue: Vec<(u64, Vec<Box<[u8]>>)>,
}

/// Takes an RDB file in: keys, and what belongs to none.
struct Base<'a> {
    loader: Loader<'a>,
    libraries: &'a mut Libraries,
    aux: &'a mut Vec<(Vec<u8>, Vec<u8>)>,
    needs: &'a mut Needs,
    has_keys: bool,
}

impl Sink for Base<'_> {
    type Error = BadKey;

    fn start(&mut self, version: Version) -> Result<(), BadKey> {
        self.needs.base(version);
        self.loader.start(version)
    }

    fn aux(&mut self, key: &[u8], value: &[u8], end: u64) -> Result<(), BadKey> {
        if !OF_THE_FILE.contains(&key) && !self.has_keys {
            self.aux.push((key.to_vec(), value.to_vec()));
        }
        self.loader.aux(key, value, end)
    }

    fn select_db(&mut self, db: u64, end: u64) -> Result<(), BadKey> {
        self.loader.select_db(db, end)
    }

    fn function(&mut self, _at: u64, code: &[u8]) -> Result<(), BadKey> {
        self.libraries.functions.push(code.to_vec());
        Ok(())
    }

    fn module_aux(&mut self, _at: u64, id: u64, payload: &[u8]) -> Result<(), BadKey> {
        let list = match self.has_keys {
            false => &mut self.libraries.aux_before,
            true => &mut self.libraries.aux_after,
        };
        list.push((id, payload.to_vec()));
        Ok(())
    }

    fn update(&mut self, at: u64, argv: &[&[u8]]) -> Result<(), BadKey> {
        self.loader.update(at, argv)
    }

    fn key(&mut self, head: &KeyHead<'_>) -> Result<Depth, BadKey> {
        self.has_keys = true;
        self.loader.key(head)
    }

    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), BadKey> {
        self.loader.value(event)
    }

    fn end_key(&mut self, end: u64) -> Result<(), BadKey> {
        self.loader.end_key(end)
    }

    fn end(&mut self, trailer: Trailer) -> Result<(), BadKey> {
        self.loader.end(trailer)
    }
}
