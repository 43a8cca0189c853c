//! The first pass over a log that does not fit into memory: what is in it, which keys must be together,
//! where it can begin and where it ends.
//!
//! What stands before a FLUSHALL is over and done with, so the second pass begins behind the last one.
//! Libraries are no keys: they are complete after this pass. Runs no command on keys.

use std::collections::BTreeSet;

use cairn_engine::codec::rdb::{
    Decoder, Depth, KeyHead, Options as DecoderOptions, Sink, ValueEvent, Version,
};
use cairn_engine::command::{Args, DataCommand};

use super::commands::{Call, Commands, databases_in};
use super::emit::Needs;
use super::libraries::Libraries;
use super::links::{Filter, Links};
use super::log::{Log, Part, Place};
use super::run::{OF_THE_FILE, Session, Step, fault_of_format};
use super::walk::{Visitor, bad, fault_at, fault_of_system, settle, walk};
use super::{Options, Summary};
use crate::drive::{Fault, Stop, drive};
use crate::input::Input;
use crate::output::clean;
use crate::progress::Progress;

/// An eighth of the memory is for what ties keys together.
const LINKS_SHARE: u64 = 8;

/// What a first pass has found.
pub(super) struct Survey {
    pub(super) needs: Needs,
    pub(super) libraries: Libraries,
    pub(super) aux: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) summary: Summary,
    pub(super) links: Links,
    /// Keys that commands touch.
    pub(super) touched: Filter,
    /// Databases that are emptied.
    pub(super) flushed: BTreeSet<usize>,
    /// Whether databases change places.
    pub(super) has_swaps: bool,
    /// Whether a command reads keys that it does not name: then all keys must be together.
    pub(super) is_whole: bool,
    /// Behind the last FLUSHALL, with the database of the commands there.
    pub(super) start: Option<(Place, usize)>,
    /// Where the files end.
    pub(super) ends: Vec<u64>,
    /// Bytes of commands, and of RDB files, that count.
    pub(super) bytes: (u64, u64),
    pub(super) router: Router,
}

/// Looks through a log.
///
/// # Errors
/// A file is wrong.
pub(super) fn survey(log: &Log, options: &Options) -> Result<Survey, Fault> {
    let mut pass = Pass {
        options,
        commands: Commands::new(),
        session: Session::default(),
        part: 0,
        queued: 0,
        found: Survey {
            needs: Needs::default(),
            libraries: Libraries::default(),
            aux: Vec::new(),
            summary: Summary::default(),
            links: Links::new(options.spill.memory / LINKS_SHARE),
            touched: Filter::new(),
            flushed: BTreeSet::new(),
            has_swaps: false,
            is_whole: false,
            start: None,
            ends: Vec::new(),
            bytes: (0, 0),
            router: Router::new(),
        },
    };
    for (number, part) in log.parts.iter().enumerate() {
        pass.part = number;
        pass.session = Session::default();
        pass.queued = 0;
        let walked = walk(part, None, options, &mut pass)?;
        let is_last = number + 1 == log.parts.len();
        let open_at = pass.session.open_at;
        let end = settle(part, walked, open_at, is_last, options, &mut pass.found.summary)?;
        pass.found.ends.push(end);
    }
    pass.found.router.restart();
    Ok(pass.found)
}

struct Pass<'o> {
    options: &'o Options,
    commands: Commands,
    session: Session,
    part: usize,
    /// Commands of the transaction that is open.
    queued: u64,
    found: Survey,
}

impl Visitor for Pass<'_> {
    type Error = Fault;

    fn fault(fault: Fault) -> Fault {
        fault
    }

    fn rdb(&mut self, part: &Part, input: &mut Input, progress: &Progress) -> Result<(), Fault> {
        // The sum of a base that is used is looked at when it is read again.
        let options = DecoderOptions { verify_checksum: false, ..DecoderOptions::default() };
        let from = input.position();
        let mut sink = Heads { found: &mut self.found, has_keys: false };
        drive(input, &mut Decoder::new(options), progress, &mut sink).map_err(|stop| match stop {
            Stop::Read(error) => fault_of_system(&part.path, &error),
            Stop::Format(error) => fault_of_format(&part.path, &error),
            Stop::Sink((at, what)) => fault_at(&part.path, at, what),
            Stop::Other(fault) => fault,
        })?;
        self.found.bytes.1 += input.position() - from;
        Ok(())
    }

    fn command(&mut self, part: &Part, at: u64, end: u64, argv: &[&[u8]]) -> Result<(), Fault> {
        let call = match self.commands.call(argv) {
            Ok(call) => call,
            Err(what) => return bad(self.options, &mut self.found.summary, &part.path, at, what),
        };
        let is_run = matches!(call, Call::Data(_) | Call::Function | Call::Script);
        match self.session.step(call, at) {
            Step::Wrong(what) => {
                return bad(self.options, &mut self.found.summary, &part.path, at, what.to_owned());
            }
            Step::Run => self.found.summary.commands += u64::from(is_run),
            Step::Queue => self.queued += u64::from(is_run),
            Step::Exec => self.found.summary.commands += std::mem::take(&mut self.queued),
            Step::Nothing => {}
        }
        self.found.bytes.0 += end - at;
        match call {
            Call::Select(db) => self.session.db = db,
            Call::Function => {
                if let Err(error) = self.found.libraries.call(argv) {
                    let what = format!("function answers: {}", clean(&error));
                    return bad(self.options, &mut self.found.summary, &part.path, at, what);
                }
            }
            Call::Data(command) => self.data(command, argv, Place { part: self.part, at: end }),
            // What was to be discarded has been seen already: that is not worth another way. What a script
            // touches nobody knows.
            Call::Discard | Call::Script => self.found.is_whole = true,
            Call::Multi | Call::Exec | Call::Nothing => {}
        }
        Ok(())
    }
}

impl Pass<'_> {
    fn data(&mut self, command: &'static DataCommand, argv: &[&[u8]], end: Place) {
        let found = &mut self.found;
        found.needs.command(command, argv);
        match command.spec.name {
            // Inside a transaction that may not end nothing can be thrown away yet.
            "flushall" if self.session.open_at.is_none() && argv.len() <= 2 => {
                found.start = Some((end, self.session.db));
                found.links.clear();
                found.touched = Filter::new();
                found.flushed.clear();
                found.has_swaps = false;
                found.is_whole = false;
                found.bytes = (0, 0);
                found.router.restart();
                return;
            }
            "flushall" => {
                // Every database that there may be.
                found.has_swaps = true;
                return;
            }
            "flushdb" => {
                found.flushed.insert(found.router.place(self.session.db));
                return;
            }
            "swapdb" => found.has_swaps = true,
            _ => {}
        }
        match found.router.route(self.session.db, command, argv) {
            Route::Together(keys) => {
                keys.iter().for_each(|key| found.touched.add(*key));
                found.links.tie(keys);
            }
            Route::Apart(keys) => keys.iter().for_each(|(key, _)| found.touched.add(*key)),
            Route::Everywhere => {}
            Route::Whole => found.is_whole = true,
        }
    }
}

/// Where a command must be run.
pub(super) enum Route<'r> {
    /// Where all these keys are.
    Together(&'r [u64]),
    /// Its arguments can be split: keys, and where in the arguments each stands.
    Apart(&'r [(u64, usize)]),
    /// In every partition.
    Everywhere,
    /// Nobody knows which keys it reads.
    Whole,
}

/// Finds the keys of commands. Follows databases that change places, so that a key is known by one hash
/// from the beginning to the end.
#[derive(Default)]
pub(super) struct Router {
    seed: u64,
    /// By database: the one that it was in the beginning.
    places: Vec<usize>,
    keys: Vec<u64>,
    apart: Vec<(u64, usize)>,
}

impl Router {
    fn new() -> Router {
        let seed = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), 0);
        Router { seed, ..Router::default() }
    }

    /// Goes back to the beginning.
    pub(super) fn restart(&mut self) {
        self.places.clear();
    }

    fn place(&self, db: usize) -> usize {
        self.places.get(db).copied().unwrap_or(db)
    }

    /// What a key of a database is known by.
    pub(super) fn key(&self, db: usize, key: &[u8]) -> u64 {
        let seed = self.seed ^ (self.place(db) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        xxhash_rust::xxh3::xxh3_64_with_seed(key, seed)
    }

    fn swap(&mut self, one: usize, other: usize) {
        let most = one.max(other);
        let known = self.places.len();
        self.places.extend(known..=most);
        self.places.swap(one, other);
    }

    /// Where a command of a database is to be run.
    pub(super) fn route(&mut self, db: usize, command: &DataCommand, argv: &[&[u8]]) -> Route<'_> {
        let spec = &command.spec;
        match spec.name {
            "flushdb" | "flushall" => return Route::Everywhere,
            "swapdb" => {
                if let [(_, one), (_, other)] = databases_in(command, argv)[..]
                    && one.max(other) < super::commands::MOST_DATABASES
                {
                    self.swap(one, other);
                }
                return Route::Everywhere;
            }
            "sort" if has_patterns(argv) => return Route::Whole,
            _ => {}
        }
        self.keys.clear();
        // Without positions it is wrong, and will answer so wherever it is run.
        let positions = spec.key_positions(argv).unwrap_or_default();
        if matches!(spec.name, "del" | "unlink" | "mset") && positions.len() > 1 {
            self.apart.clear();
            for (at, _) in positions {
                let key = self.key(db, argv[at]);
                self.apart.push((key, at));
            }
            return Route::Apart(&self.apart);
        }
        let target = match spec.name {
            "move" | "copy" => databases_in(command, argv).first().map(|(_, db)| *db),
            _ => None,
        };
        for (at, _) in &positions {
            let key = self.key(db, argv[*at]);
            self.keys.push(key);
        }
        if let (Some(target), Some((at, _))) = (target, positions.last()) {
            let key = self.key(target, argv[*at]);
            self.keys.push(key);
        }
        Route::Together(&self.keys)
    }
}

/// Whether SORT reads keys that its patterns name.
fn has_patterns(argv: &[&[u8]]) -> bool {
    let args = Args(argv);
    (2..argv.len()).any(|at| {
        (args.is(at, "by") || args.is(at, "get")) && argv.get(at + 1).is_some_and(|p| p.contains(&b'*'))
    })
}

/// Takes what belongs to no key, and steps over the keys.
struct Heads<'a> {
    found: &'a mut Survey,
    has_keys: bool,
}

impl Sink for Heads<'_> {
    type Error = (u64, String);

    fn start(&mut self, version: Version) -> Result<(), Self::Error> {
        self.found.needs.base(version);
        Ok(())
    }

    fn aux(&mut self, key: &[u8], value: &[u8], _end: u64) -> Result<(), Self::Error> {
        if !OF_THE_FILE.contains(&key) && !self.has_keys {
            self.found.aux.push((key.to_vec(), value.to_vec()));
        }
        Ok(())
    }

    fn function(&mut self, _at: u64, code: &[u8]) -> Result<(), Self::Error> {
        self.found.libraries.functions.push(code.to_vec());
        Ok(())
    }

    fn module_aux(&mut self, _at: u64, id: u64, payload: &[u8]) -> Result<(), Self::Error> {
        self.found.libraries.module_aux(id, payload, self.has_keys);
        Ok(())
    }

    fn update(&mut self, at: u64, _argv: &[&[u8]]) -> Result<(), Self::Error> {
        Err((at, "a command inside the file, which only a replica may load".to_owned()))
    }

    fn key(&mut self, _head: &KeyHead<'_>) -> Result<Depth, Self::Error> {
        self.has_keys = true;
        Ok(Depth::Skip)
    }

    fn value(&mut self, _event: ValueEvent<'_>) -> Result<(), Self::Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use cairn_engine::command::spec::WRITE;
    use cairn_engine::command::{self, DataCommand};

    use super::{Route, Router};

    /// Every command that writes names all its keys, but for those that the router knows.
    #[test]
    fn commands_that_write_name_their_keys() {
        fn look(command: &'static DataCommand, nameless: &mut Vec<String>) {
            let spec = &command.spec;
            command.subcommands.iter().for_each(|sub| look(sub, nameless));
            let is_nameless = spec.keys.is_empty() && spec.finder.is_none() && !spec.is_container;
            if spec.flags.has(WRITE) && is_nameless {
                nameless.push(spec.full_name());
            }
        }
        let mut nameless = Vec::new();
        command::all().for_each(|command| look(command, &mut nameless));
        nameless.sort();
        assert_eq!(nameless, ["flushall", "flushdb", "swapdb"]);
    }

    #[test]
    fn keys_are_known_by_where_they_were_in_the_beginning() {
        let find = |name: &str| command::all().find(|c| c.spec.name == name).expect("a command");
        let mut router = Router::new();
        let words = |line: &'static str| line.split(' ').map(str::as_bytes).collect::<Vec<_>>();
        let (zero, one) = (router.key(0, b"k"), router.key(1, b"k"));
        assert_ne!(zero, one);
        assert!(matches!(router.route(0, find("swapdb"), &words("SWAPDB 0 1")), Route::Everywhere));
        assert_eq!(router.key(1, b"k"), zero);
        let Route::Together(keys) = router.route(1, find("move"), &words("MOVE k 0")) else {
            panic!("keys of two databases")
        };
        assert_eq!(keys, [zero, one]);
        let Route::Apart(keys) = router.route(1, find("mset"), &words("MSET k 1 l 2")) else {
            panic!("two keys")
        };
        assert_eq!((keys.len(), keys[0]), (2, (zero, 1)));
        let copied_to = router.key(1, b"b");
        let Route::Together(keys) = router.route(0, find("copy"), &words("COPY a b DB 1")) else {
            panic!("keys")
        };
        assert_eq!(keys[2], copied_to);
        let sort = find("sort");
        assert!(matches!(router.route(0, sort, &words("SORT l BY w_* STORE d")), Route::Whole));
        assert!(matches!(
            router.route(0, sort, &words("SORT l BY nosort GET # STORE d")),
            Route::Together(_)
        ));
        router.restart();
        assert_eq!(router.key(0, b"k"), zero);
    }
}
