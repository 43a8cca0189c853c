//! A log run in memory, from its first byte to its last, and its keys told then.

use std::path::Path;

use cairn_engine::codec::rdb::{
    Decoder, Depth, Error, KeyHead, Options as DecoderOptions, Sink, Trailer, ValueEvent, Version,
};
use cairn_engine::command::{CommandError, DataCommand};
use cairn_engine::script::again::{Again, Failed};
use cairn_engine::script::{Scripts, Versions};

use super::commands::{Call, Commands};
use super::emit::{Needs, Teller};
use super::keys::{BadKey, Keys, Loader};
use super::libraries::Libraries;
use super::log::{Log, Part};
use super::walk::{Visitor, bad, fault_at, fault_of_system, settle, walk};
use super::{Edits, Options, Summary};
use crate::drive::{self, Fault, Place, Stop};
use crate::input::Input;
use crate::output::{Shown, clean};
use crate::progress::Progress;

/// Commands, and keys of a base, between two looks at how much memory there is.
const STEPS_PER_LOOK: u64 = 1024;

/// What scripts are told that ask. Those of logs come from servers that told nothing.
const VERSIONS: Versions = Versions { server_name: "cairn", redis: "7.4.2", valkey: "9.1.0" };

/// Auxiliary fields that say something about one file and not about its data.
pub(super) const OF_THE_FILE: &[&[u8]] = &[
    b"aof-base",
    b"aof-preamble",
    b"ctime",
    b"ctime-ms",
    b"used-mem",
    b"mvcc-tstamp",
    b"keydb-subexpire-key",
    b"keydb-subexpire-when",
];

/// Why a log is not in memory.
pub(super) enum Halt {
    /// It is wrong.
    Fault(Fault),
    /// Its keys take more than they may.
    TooLarge,
}

/// Reads a log into memory. `None` if its keys take more bytes than `most`.
///
/// # Errors
/// A file is wrong.
pub(super) fn in_memory<'o>(
    log: &Log,
    options: &'o Options,
    most: Option<u64>,
) -> Result<Option<Run<'o>>, Fault> {
    let mut run = Run::new(options, most);
    for (number, part) in log.parts.iter().enumerate() {
        run.session = Session::default();
        let walked = match walk(part, None, options, &mut run) {
            Ok(walked) => walked,
            Err(Halt::Fault(fault)) => return Err(fault),
            Err(Halt::TooLarge) => return Ok(None),
        };
        let is_last = number + 1 == log.parts.len();
        settle(part, walked, run.session.open_at, is_last, options, &mut run.summary)?;
    }
    Ok(Some(run))
}

/// A log being run.
pub(super) struct Run<'o> {
    options: &'o Options,
    most: Option<u64>,
    steps: u64,
    commands: Commands,
    keys: Keys,
    session: Session,
    libraries: Libraries,
    aux: Vec<(Vec<u8>, Vec<u8>)>,
    needs: Needs,
    summary: Summary,
    scripts: Scripts,
    again: Option<Box<Again>>,
}

impl Visitor for Run<'_> {
    type Error = Halt;

    fn fault(fault: Fault) -> Halt {
        Halt::Fault(fault)
    }

    fn rdb(&mut self, part: &Part, input: &mut Input, progress: &Progress) -> Result<(), Halt> {
        let path = part.path.as_path();
        let mut base = Base {
            edits: &self.options.edits,
            most: self.most,
            steps: 0,
            loader: self.keys.loader(),
            libraries: &mut self.libraries,
            aux: &mut self.aux,
            needs: &mut self.needs,
        };
        let mut decoder = Decoder::new(DecoderOptions::default());
        drive::drive(input, &mut decoder, progress, &mut base).map_err(|stop| match stop {
            Stop::Sink(NotLoaded::Key(BadKey { at, what })) => Halt::Fault(fault_at(path, at, what)),
            Stop::Sink(NotLoaded::TooLarge) => Halt::TooLarge,
            Stop::Read(error) => Halt::Fault(fault_of_system(path, &error)),
            Stop::Format(error) => Halt::Fault(fault_of_format(path, &error)),
            Stop::Other(fault) => Halt::Fault(fault),
        })
    }

    fn command(&mut self, part: &Part, at: u64, _end: u64, argv: &[&[u8]]) -> Result<(), Halt> {
        self.steps += 1;
        if self.steps.is_multiple_of(STEPS_PER_LOOK)
            && self.most.is_some_and(|most| self.keys.memory_bytes() + self.session.queued > most)
        {
            return Err(Halt::TooLarge);
        }
        self.take(&part.path, at, argv).map_err(Halt::Fault)
    }
}

impl<'o> Run<'o> {
    fn new(options: &'o Options, most: Option<u64>) -> Run<'o> {
        Run {
            options,
            most,
            steps: 0,
            commands: Commands::new(),
            keys: Keys::new(options.now),
            session: Session::default(),
            libraries: Libraries::default(),
            aux: Vec::new(),
            needs: Needs::default(),
            summary: Summary::default(),
            scripts: Scripts::new(VERSIONS),
            again: None,
        }
    }

    fn take(&mut self, path: &Path, at: u64, argv: &[&[u8]]) -> Result<(), Fault> {
        let call = match self.commands.call(argv) {
            Ok(call) => call,
            Err(what) => return bad(self.options, &mut self.summary, path, at, what),
        };
        match self.session.step(call, at) {
            Step::Run => self.call(path, at, call, argv),
            Step::Queue => {
                self.session.push(at, argv);
                Ok(())
            }
            Step::Exec => {
                let queue = self.session.take_queue();
                queue.iter().try_for_each(|(at, words)| {
                    let argv: Vec<&[u8]> = words.iter().map(|word| &**word).collect();
                    let call = self.commands.call(&argv).expect("it was right when it was queued");
                    self.call(path, *at, call, &argv)
                })
            }
            Step::Nothing => Ok(()),
            Step::Wrong(what) => bad(self.options, &mut self.summary, path, at, what.to_owned()),
        }
    }

    fn call(&mut self, path: &Path, at: u64, call: Call, argv: &[&[u8]]) -> Result<(), Fault> {
        let ran = match call {
            Call::Data(command) => {
                self.needs.command(command, argv);
                self.summary.commands += 1;
                self.keys.apply(self.session.db, command, argv).map_err(|e| answers(command, &e))
            }
            Call::Function => {
                self.summary.commands += 1;
                self.libraries.call(argv).map_err(|error| format!("function answers: {}", clean(&error)))
            }
            Call::Script => {
                self.summary.commands += 1;
                self.script(at, argv)
            }
            Call::Select(db) => {
                self.session.db = db;
                Ok(())
            }
            Call::Multi | Call::Exec | Call::Discard | Call::Nothing => Ok(()),
        };
        match ran {
            Ok(()) => Ok(()),
            Err(what) => bad(self.options, &mut self.summary, path, at, what),
        }
    }

    /// Runs a script as the server ran it that has logged it.
    fn script(&mut self, at: u64, argv: &[&[u8]]) -> Result<(), String> {
        let again = self.again.get_or_insert_default();
        if let Some((_, version)) = self.aux.iter().find(|(name, _)| name == b"redis-ver") {
            again.note_version(version);
        }
        let ran = again.run(&mut self.scripts, &mut self.keys, (self.session.db, at), argv);
        ran.map_err(|failed| match failed {
            Failed::Never(what) => what,
            Failed::Answers(error) => {
                let name = argv.first().copied().unwrap_or_default().to_ascii_lowercase();
                format!("{} answers: {}", Shown(&name), Shown(&error))
            }
        })
    }

    /// Tells the keys.
    pub(super) fn tell<S: Sink>(mut self, sink: &mut S) -> Result<Summary, Stop<S::Error>> {
        let mut teller = Teller::begin(sink, self.needs, &self.aux, &self.libraries)?;
        teller.all(&self.keys.keyspace)?;
        self.summary.keys = teller.end(&self.libraries)?;
        Ok(self.summary)
    }
}

/// What is said of a command that answers with an error.
#[cold]
pub(super) fn answers(command: &DataCommand, error: &CommandError) -> String {
    let text = match error {
        CommandError::Bytes(text) => Shown(text).to_string(),
        error => clean(&error.message()),
    };
    format!("{} answers: {text}", command.spec.full_name())
}

/// What is wrong with an RDB file.
pub(super) fn fault_of_format(path: &Path, error: &Error) -> Fault {
    Fault::of_input(Place::Nowhere, drive::told(error)).in_file(path.display().to_string())
}

/// A command that waits for its EXEC: its offset and its words.
type Queued = (u64, Vec<Box<[u8]>>);

/// What a file's commands go by: as with a new client, that is database 0 and no transaction.
#[derive(Default)]
pub(super) struct Session {
    pub(super) db: usize,
    /// Offset of the MULTI whose EXEC has not come.
    pub(super) open_at: Option<u64>,
    /// What has come since.
    queue: Vec<Queued>,
    /// Its bytes.
    queued: u64,
}

/// What is to be done for a command where it stands.
pub(super) enum Step {
    /// Run it.
    Run,
    /// Run it when EXEC comes.
    Queue,
    /// Run what waits.
    Exec,
    Nothing,
    /// It cannot stand here.
    Wrong(&'static str),
}

impl Session {
    /// Takes a command into account that stands at `at`.
    pub(super) fn step(&mut self, call: Call, at: u64) -> Step {
        match (call, self.open_at) {
            (Call::Nothing, _) => Step::Nothing,
            (Call::Multi, None) => {
                self.open_at = Some(at);
                Step::Nothing
            }
            (Call::Multi, Some(_)) => Step::Wrong("MULTI inside a transaction"),
            (Call::Exec, None) => Step::Wrong("EXEC without MULTI"),
            (Call::Discard, None) => Step::Wrong("DISCARD without MULTI"),
            (Call::Exec, Some(_)) => {
                self.open_at = None;
                Step::Exec
            }
            (Call::Discard, Some(_)) => {
                self.open_at = None;
                self.take_queue();
                Step::Nothing
            }
            (_, None) => Step::Run,
            (_, Some(_)) => Step::Queue,
        }
    }

    fn push(&mut self, at: u64, argv: &[&[u8]]) {
        const WORD_BYTES: usize = 32;
        let words: Vec<Box<[u8]>> = argv.iter().map(|word| Box::from(*word)).collect();
        self.queued += words.iter().map(|word| (word.len() + WORD_BYTES) as u64).sum::<u64>();
        self.queue.push((at, words));
    }

    fn take_queue(&mut self) -> Vec<Queued> {
        self.queued = 0;
        std::mem::take(&mut self.queue)
    }
}

/// Why a base is not loaded.
enum NotLoaded {
    Key(BadKey),
    TooLarge,
}

impl From<BadKey> for NotLoaded {
    fn from(key: BadKey) -> NotLoaded {
        NotLoaded::Key(key)
    }
}

/// Takes an RDB file in: keys, and what belongs to none.
struct Base<'a> {
    edits: &'a Edits,
    most: Option<u64>,
    /// Keys so far.
    steps: u64,
    loader: Loader<'a>,
    libraries: &'a mut Libraries,
    aux: &'a mut Vec<(Vec<u8>, Vec<u8>)>,
    needs: &'a mut Needs,
}

impl Sink for Base<'_> {
    type Error = NotLoaded;

    fn start(&mut self, version: Version) -> Result<(), NotLoaded> {
        self.needs.base(version);
        Ok(self.loader.start(version)?)
    }

    fn aux(&mut self, key: &[u8], value: &[u8], end: u64) -> Result<(), NotLoaded> {
        if !OF_THE_FILE.contains(&key) && self.steps == 0 {
            self.aux.push((key.to_vec(), value.to_vec()));
        }
        Ok(self.loader.aux(key, value, end)?)
    }

    fn select_db(&mut self, db: u64, end: u64) -> Result<(), NotLoaded> {
        Ok(self.loader.select_db(self.edits.db(db), end)?)
    }

    fn function(&mut self, _at: u64, code: &[u8]) -> Result<(), NotLoaded> {
        self.libraries.functions.push(code.to_vec());
        Ok(())
    }

    fn module_aux(&mut self, _at: u64, id: u64, payload: &[u8]) -> Result<(), NotLoaded> {
        self.libraries.module_aux(id, payload, self.steps > 0);
        Ok(())
    }

    fn update(&mut self, at: u64, argv: &[&[u8]]) -> Result<(), NotLoaded> {
        Ok(self.loader.update(at, argv)?)
    }

    fn key(&mut self, head: &KeyHead<'_>) -> Result<Depth, NotLoaded> {
        self.steps += 1;
        if self.steps.is_multiple_of(STEPS_PER_LOOK)
            && self.most.is_some_and(|most| self.loader.memory_bytes() > most)
        {
            return Err(NotLoaded::TooLarge);
        }
        Ok(self.loader.key(head)?)
    }

    fn value(&mut self, event: ValueEvent<'_>) -> Result<(), NotLoaded> {
        Ok(self.loader.value(event)?)
    }

    fn end_key(&mut self, end: u64) -> Result<(), NotLoaded> {
        Ok(self.loader.end_key(end)?)
    }

    fn end(&mut self, trailer: Trailer) -> Result<(), NotLoaded> {
        Ok(self.loader.end(trailer)?)
    }
}
