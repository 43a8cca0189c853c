//! Commands as conversations: what is sent and what must come back, told in `testdata/commands/*.toml`
//! and run by several drivers. `script.rs` reads the files, `expect.rs` compares replies.
//!
//! The expected replies are those of Valkey 9.1, recorded, then compared with Redis 7.0 and 8.0; with
//! `CAIRN_REFERENCE_SERVER` set to the path of a server, that server is asked again. Sessions,
//! sockets and databases to select are not the engine's: the drivers have just enough of them.

mod expect;
pub(crate) mod real;
mod script;
mod scripts;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::rdb::Options;
use cairn_engine::codec::resp::replies::{Decoded, Node, decode};
use cairn_engine::codec::resp::{Protocol, Reply};
use cairn_engine::command::effects::Wants;
use cairn_engine::command::{self, Args, DataCommand};
use cairn_engine::engine::{Caller, Engine};
use cairn_engine::keyspace::ClockKind;
use cairn_engine::script::Scripts;
use cairn_engine::value::Limits;

use crate::fresh;
use expect::Tree;
use script::{Conversation, Line, Only, Step, Variables};

/// When the conversations of the engine begin.
const START: UnixMs = UnixMs(1_800_000_000_000);

/// Who answers.
pub(crate) trait Driver {
    /// Forgets all data and begins anew.
    fn begin(&mut self);
    /// Answers one request with the bytes of a whole reply.
    fn call(&mut self, words: &[Vec<u8>]) -> Vec<u8>;
    /// Lets time pass.
    fn wait(&mut self, ms: u64);
    /// What time it is.
    fn now(&self) -> UnixMs;
    /// The protocol of the replies.
    fn protocol(&self) -> Protocol;
    /// Whether a line is for it.
    fn runs(&self, only: Only) -> bool;
    /// Whether it is not asked this, as its answer is known to differ.
    fn is_spared(&self, _words: &[Vec<u8>]) -> bool {
        false
    }
    /// What is wrong, besides the replies.
    fn check(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// The engine in this process.
struct Local {
    engine: Engine,
    db: usize,
    now: UnixMs,
    protocol: Protocol,
    /// Where to save after each change, to load again from there.
    reload_through: Option<PathBuf>,
    /// Whether after each change the data is written as commands, to go on with what these make.
    is_rewritten: bool,
    limits: Limits,
    /// An engine that runs what the first one logs.
    follower: Option<Box<Engine>>,
    scripts: Scripts,
    is_in_script: bool,
}

/// Thresholds under which no value has its small encoding, and lists have many nodes.
fn no_small_encodings() -> Limits {
    Limits {
        hash_max_listpack_entries: 0,
        set_max_intset_entries: 0,
        set_max_listpack_entries: 0,
        zset_max_listpack_entries: 0,
        list_max_listpack_size: 2,
        list_compress_depth: 1,
        ..Limits::DEFAULT
    }
}

fn engine(path: &Path) -> Engine {
    Engine::new(fresh::config(path), START)
}

/// An engine that looks after the times of access, as a server with a policy that needs them.
fn engine_with_clocks(path: &Path, now: UnixMs) -> Engine {
    let mut engine = engine(path);
    engine.keyspace_mut().set_clock_kind(ClockKind::Lru);
    engine.keyspace_mut().tick(now);
    engine
}

impl Local {
    fn new(protocol: Protocol, reload_through: Option<PathBuf>) -> Local {
        let path = reload_through.clone().unwrap_or_default();
        Local {
            engine: engine_with_clocks(&path, START),
            db: 0,
            now: START,
            protocol,
            reload_through,
            is_rewritten: false,
            limits: Limits::DEFAULT,
            follower: None,
            scripts: fresh::scripts(),
            is_in_script: false,
        }
    }

    /// With other thresholds.
    fn with_limits(mut self, limits: Limits) -> Local {
        self.engine.limits = limits.clone();
        self.limits = limits;
        self
    }

    /// With a follower that runs what this one logs.
    fn followed(mut self) -> Local {
        self.engine.set_wants(Wants { log: true, ..Wants::default() });
        self.follower = Some(Box::new(engine_with_clocks(Path::new(""), START)));
        self
    }

    /// Going on with what the data as commands makes.
    fn rewritten(mut self) -> Local {
        self.is_rewritten = true;
        self
    }

    /// Has the follower run what was logged.
    fn follow(&mut self) {
        let Some(follower) = &mut self.follower else { return };
        for (db, request) in self.engine.effects().log() {
            let Decoded::Reply(nodes, _) = decode(request) else { panic!("the log is RESP") };
            let words = nodes[1..].iter().map(|node| match node {
                Node::Bulk(word) => *word,
                other => panic!("{other:?} in the log"),
            });
            let words: Vec<&[u8]> = words.collect();
            let mut reply = Reply::new(Protocol::Resp2);
            let (command, _) = meant(&words).expect("the log has data commands that are well formed");
            follower.apply(command, Args(&words), Caller::repeating(db, self.now), &mut reply);
            assert_ne!(reply.bytes()[0], b'-', "{} in the log", request.escape_ascii());
        }
        self.engine.effects_mut().clear_log();
    }

    /// What a server does around the engine: selects databases, finds commands, counts arguments.
    fn answer(&mut self, words: &[&[u8]], reply: &mut Reply) {
        let name = String::from_utf8_lossy(words[0]).to_ascii_lowercase();
        if name == "select" {
            self.db = String::from_utf8_lossy(words[1]).parse().expect("SELECT of a conversation");
            return reply.ok();
        }
        if scripts::answer(self, words, reply) {
            return;
        }
        let command = match meant(words) {
            Ok((command, _)) => command,
            Err(name) => return reply.error(&format!("ERR wrong number of arguments for '{name}' command")),
        };
        let caller = Caller { for_script: self.is_in_script, ..Caller::new(self.db, self.now) };
        let ran = self.engine.apply(command, Args(words), caller, reply);
        self.follow();
        if ran.dirty > 0 {
            self.reload();
        }
    }

    fn reload(&mut self) {
        if self.is_rewritten {
            let mut made = engine_with_clocks(Path::new(""), self.now);
            made.limits = self.limits.clone();
            crate::as_commands::copy(&self.engine, &mut made, self.now);
            self.engine = made;
        }
        let Some(path) = &self.reload_through else { return };
        self.engine.save(self.now, 0).expect("saving into a folder of our own");
        let mut loaded = engine_with_clocks(path, self.now);
        loaded.load(self.now, Options::default(), &mut |_| {}).expect("a file of our own");
        self.engine = loaded;
    }
}

/// The command of a request, and its name; its name alone if the number of arguments is wrong.
fn meant(words: &[&[u8]]) -> Result<(&'static DataCommand, String), String> {
    let name = String::from_utf8_lossy(words[0]).to_ascii_lowercase();
    let command = command::all().find(|c| c.spec.name == name).expect("a data command");
    let meant = words.get(1).and_then(|word| command.subcommand(word)).unwrap_or(command);
    let name = meant.spec.full_name();
    if meant.spec.accepts(words.len()) { Ok((meant, name)) } else { Err(name) }
}

impl Driver for Local {
    fn begin(&mut self) {
        let new = Local::new(self.protocol, self.reload_through.take()).with_limits(self.limits.clone());
        let new = Local { is_rewritten: self.is_rewritten, ..new };
        *self = if self.follower.is_some() { new.followed() } else { new };
    }

    fn is_spared(&self, words: &[Vec<u8>]) -> bool {
        // What an encoding is called, and what follows from it.
        let spared: [&[u8]; 2] = [b"object", b"memory"];
        self.limits != Limits::DEFAULT && spared.iter().any(|name| words[0].eq_ignore_ascii_case(name))
    }

    fn check(&mut self) -> Result<(), String> {
        let Some(follower) = &self.follower else { return Ok(()) };
        if follower.digest() == self.engine.digest() {
            return Ok(());
        }
        Err("the log has brought the follower other data".into())
    }

    fn call(&mut self, words: &[Vec<u8>]) -> Vec<u8> {
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let mut reply = Reply::new(self.protocol);
        self.answer(&words, &mut reply);
        reply.take()
    }

    fn wait(&mut self, ms: u64) {
        self.now = self.now.saturating_add_ms(ms as i64);
    }

    fn now(&self) -> UnixMs {
        self.now
    }

    fn protocol(&self) -> Protocol {
        self.protocol
    }

    fn runs(&self, only: Only) -> bool {
        match only {
            Only::Redis(_) => false,
            Only::Live(_) => self.reload_through.is_none() && !self.is_rewritten,
            Only::Small(_) => self.limits == Limits::DEFAULT,
            Only::Everyone | Only::From(..) | Only::Valkey(_) | Only::Ours => true,
        }
    }
}

/// Runs every conversation; fails with all lines that were answered otherwise.
fn run(driver: &mut dyn Driver) {
    let mut wrong = Vec::new();
    for conversation in &script::all() {
        if !driver.runs(conversation.only) {
            continue;
        }
        driver.begin();
        let mut variables = Variables::default();
        for line in &conversation.lines {
            if driver.runs(line.only)
                && let Err(why) = say(driver, line, &mut variables)
                    .and_then(|()| driver.check().map_err(|why| format!("{}: {why}", line.text)))
            {
                wrong.push(format!("{}:{}: {why}", conversation.file, line.number));
            }
        }
    }
    assert!(wrong.is_empty(), "{} lines were answered otherwise:\n{}", wrong.len(), wrong.join("\n"));
}

fn say(driver: &mut dyn Driver, line: &Line, variables: &mut Variables) -> Result<(), String> {
    let (words, expected) = match &line.step {
        Step::Wait(ms) => {
            driver.wait(*ms);
            return Ok(());
        }
        Step::Ask(words, expected) => (words, expected),
    };
    let words: Vec<Vec<u8>> = words.iter().flat_map(|word| word.expand(variables, driver.now())).collect();
    if driver.is_spared(&words) {
        return Ok(());
    }
    let bytes = driver.call(&words);
    let tree = Tree::decode(&bytes).ok_or("the reply cannot be decoded")?;
    if let (Some(name), Tree::Bulk(bytes)) = (expected.capture(), &tree) {
        variables.insert(name.to_owned(), bytes.clone());
        return Ok(());
    }
    if expected.matches(&tree, driver.protocol()) && expected.null_form_fits(&bytes, driver.protocol()) {
        return Ok(());
    }
    Err(format!("{} was answered {}", line.text, bytes.escape_ascii()))
}

#[test]
fn in_process_resp2() {
    run(&mut Local::new(Protocol::Resp2, None));
}

#[test]
fn in_process_resp3() {
    run(&mut Local::new(Protocol::Resp3, None));
}

#[test]
fn without_small_encodings() {
    run(&mut Local::new(Protocol::Resp2, None).with_limits(no_small_encodings()));
}

#[test]
fn who_runs_the_log_has_the_same_data() {
    run(&mut Local::new(Protocol::Resp2, None).followed());
}

#[test]
fn saved_and_loaded_after_every_change() {
    let dir = tempfile::tempdir().unwrap();
    run(&mut Local::new(Protocol::Resp3, Some(dir.path().join("dump.rdb"))));
}

#[test]
fn written_as_commands_and_made_again_after_every_change() {
    run(&mut Local::new(Protocol::Resp3, None).rewritten());
    run(&mut Local::new(Protocol::Resp2, None).with_limits(no_small_encodings()).rewritten());
}

#[test]
fn a_real_server_agrees() {
    let Some(binary) = std::env::var_os("CAIRN_REFERENCE_SERVER") else {
        eprintln!("skipped: CAIRN_REFERENCE_SERVER does not name a redis-server or valkey-server");
        return;
    };
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        run(&mut real::Server::start(binary.as_ref(), protocol));
    }
}

#[test]
fn every_data_command_is_talked_about() {
    let said: HashSet<String> = script::all().iter().flat_map(Conversation::commands).collect();
    for command in command::all() {
        let subcommands = command.subcommands.iter();
        for spec in std::iter::once(&command.spec).chain(subcommands.map(|c| &c.spec)) {
            assert!(said.contains(&spec.full_name()), "no conversation has {}", spec.full_name());
        }
    }
}

#[test]
fn reads_count_as_hits_and_misses_and_writes_do_not() {
    let mut local = Local::new(Protocol::Resp2, None);
    let mut said = |line: &str| {
        let before = *local.engine.key_stats();
        let words: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        local.call(&words);
        let after = local.engine.key_stats();
        (after.hits - before.hits, after.misses - before.misses)
    };
    for (line, counted) in [
        ("GET k", (0, 1)),
        ("SET k 1", (0, 0)),
        ("INCR k", (0, 0)),
        ("APPEND k 2", (0, 0)),
        ("MGET k none", (1, 1)),
        ("TTL k", (1, 0)),
        ("OBJECT ENCODING none", (0, 1)),
        ("SET k 3 GET", (1, 0)),
        ("GETEX k PERSIST", (1, 0)),
        ("COPY k k2", (1, 0)),
        ("RPUSH l a b", (0, 0)),
        ("LPOP l", (0, 0)),
        ("SINTERSTORE r s t", (0, 2)),
        ("DEL k none", (0, 0)),
    ] {
        assert_eq!(said(line), counted, "{line}");
    }
}
