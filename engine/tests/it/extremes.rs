//! Every number that a data command takes at its extremes, on small values and on large ones: an answer or
//! an error, soon, and of bounded size.
//!
//! What can be asked comes from the grammars of the commands. What the answers are is told elsewhere.

use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::resp::{Protocol, Reply};
use cairn_engine::command::grammar::{self, Arg, Kind};
use cairn_engine::command::spec::{Group, Spec};
use cairn_engine::command::{self, Args, DataCommand};
use cairn_engine::engine::{Caller, Engine, EngineConfig};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::fresh;

const NOW: UnixMs = UnixMs(1_900_000_000_000);

/// Elements of a small value and of a large one.
const SIZES: [(&str, usize); 2] = [("small", 3), ("large", 2000)];

/// What a client may be sent at once; the server's limit is of the same kind.
const REPLY_BYTES: usize = 8 << 20;

/// Processor time, much more than anything takes without optimization.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is written in a number's place.
static EXTREMES: LazyLock<Vec<&str>> = LazyLock::new(|| listed("value"));

/// Strings that are numbers, by the names that grammars give them.
static NUMBERS: LazyLock<Vec<&str>> = LazyLock::new(|| listed("name"));

/// The lines of one kind in the list that the tests of extremes share.
fn listed(kind: &str) -> Vec<&'static str> {
    let lines = include_str!("../../../testdata/commands/extremes.tsv").lines();
    let facts = lines.map(|line| line.split_once('\t').expect("two columns"));
    facts.filter(|(of, _)| *of == kind).map(|(_, fact)| fact).collect()
}

/// Chooses, the same way in each run.
struct Choice(u64);

impl Choice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n.max(1)
    }
}

/// A command's words; those of numbers are marked.
type Words = Vec<(String, bool)>;

struct Shape<'a> {
    group: Group,
    size: &'a str,
    /// Of four optional arguments so many are there.
    optional: usize,
    choice: Choice,
}

impl Shape<'_> {
    fn write(&mut self, args: &[Arg], words: &mut Words) {
        for arg in args {
            if !arg.optional || self.choice.below(4) < self.optional {
                self.write_one(arg, words);
            }
        }
    }

    fn write_one(&mut self, arg: &Arg, words: &mut Words) {
        if let Some(token) = arg.token {
            words.push((token.to_owned(), false));
        }
        match &arg.kind {
            Kind::PureToken => {}
            Kind::OneOf(of) => {
                let one = self.choice.below(of.len());
                self.write_one(&of[one], words);
            }
            Kind::Block(of) => self.write(of, words),
            Kind::Value("key") => words.push((self.key(), false)),
            Kind::Value("integer" | "double" | "unix-time") => words.push(("1".to_owned(), true)),
            Kind::Value(_) if NUMBERS.contains(&arg.name.as_str()) => words.push(("1".to_owned(), true)),
            Kind::Value(_) => {
                let word = match arg.name.as_str() {
                    "group" => "group",
                    "field" => "1",
                    _ => "2",
                };
                words.push((word.to_owned(), false));
            }
        }
    }

    fn key(&mut self) -> String {
        const ALL: [&str; 6] = ["string", "list", "set", "hash", "zset", "stream"];
        let kind = match self.group {
            Group::List => "list",
            Group::Set => "set",
            Group::Hash => "hash",
            Group::SortedSet | Group::Geo => "zset",
            Group::Stream => "stream",
            Group::Hyperloglog => "hll",
            Group::Generic => ALL[self.choice.below(ALL.len())],
            _ => "string",
        };
        format!("{kind}:{}", self.size)
    }
}

fn run(engine: &mut Engine, command: &DataCommand, words: &[&[u8]]) -> Reply {
    let mut reply = Reply::new(Protocol::Resp3);
    reply.limit_to(REPLY_BYTES);
    engine.apply(command, Args(words), Caller { may_wait: true, ..Caller::new(0, NOW) }, &mut reply);
    reply
}

fn call(engine: &mut Engine, line: &str) {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let name = line.split(' ').next().expect("a name").to_ascii_lowercase();
    let command = command::all().find(|c| c.spec.name == name).expect("a data command");
    let command = words.get(1).and_then(|word| command.subcommand(word)).unwrap_or(command);
    run(engine, command, &words);
}

/// An engine with a value of each type in each size.
fn filled() -> Engine {
    let mut config: EngineConfig = fresh::config(Path::new(""));
    config.limits.max_string_bytes = 64 << 20;
    let mut engine = Engine::new(config, NOW);
    for (size, elements) in SIZES {
        call(&mut engine, &format!("SET string:{size} {}", "7".repeat(elements)));
        for i in 0..elements {
            for line in [
                format!("RPUSH list:{size} {i}"),
                format!("SADD set:{size} m{i}"),
                format!("HSET hash:{size} {i} {i}"),
                format!("ZADD zset:{size} {i} {i}"),
                format!("XADD stream:{size} {}-1 f v", i + 1),
                format!("PFADD hll:{size} {i}"),
            ] {
                call(&mut engine, &line);
            }
        }
        call(&mut engine, &format!("XGROUP CREATE stream:{size} group 0"));
        let half = elements / 2;
        call(&mut engine, &format!("XREADGROUP GROUP group 2 COUNT {half} STREAMS stream:{size} >"));
    }
    engine
}

/// The time that this thread has run, whatever else the machine does.
fn worked() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("one's own usage");
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(micros.try_into().expect("time that went by"))
}

fn is_full(engine: &Engine) -> bool {
    engine.keyspace().db(0).len() >= SIZES.len() * 7
}

fn path(spec: &Spec) -> Vec<&str> {
    spec.parent.into_iter().chain([spec.name]).collect()
}

#[test]
fn numbers_at_their_extremes() {
    let mut engine = filled();
    let mut asked = 0;
    let commands = command::all().flat_map(|c| std::iter::once(c).chain(c.subcommands));
    for command in commands {
        let spec = &command.spec;
        let grammar = grammar::parse(spec.syntax).expect("another test parses them all");
        // These leave nothing for the others, or are about nothing but time.
        if ["flushall", "flushdb", "swapdb", "select", "pfselftest"].contains(&spec.name) {
            continue;
        }
        for (size, _) in SIZES {
            for (optional, seed) in [(0, 1), (4, 2), (2, 3)] {
                let mut shape = Shape { group: spec.group, size, optional, choice: Choice(seed) };
                let mut words: Words = path(spec).iter().map(|word| ((*word).to_owned(), false)).collect();
                shape.write(&grammar, &mut words);
                for at in (0..words.len()).filter(|at| words[*at].1) {
                    for extreme in EXTREMES.iter() {
                        let mut line: Vec<&[u8]> = words.iter().map(|(word, _)| word.as_bytes()).collect();
                        line[at] = extreme.as_bytes();
                        if !spec.accepts(line.len()) {
                            continue;
                        }
                        asked += 1;
                        let begun = worked();
                        let reply = run(&mut engine, command, &line);
                        let shown = || line.join(&b" "[..]).escape_ascii().to_string();
                        let took = worked() - begun;
                        assert!(took < PATIENCE, "{}: {took:?}", shown());
                        assert!(reply.len() <= REPLY_BYTES + (1 << 20), "{}: {} bytes", shown(), reply.len());
                    }
                }
            }
        }
        if !is_full(&engine) {
            engine = filled();
        }
    }
    assert!(asked > 5000, "only {asked}");
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let most_kb = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .map(|kb| kb.trim().trim_end_matches(" kB").parse::<u64>().expect("a number"));
    assert!(most_kb.is_none_or(|kb| kb < 3 << 20), "{most_kb:?} kB at the most");
}
