//! What commands log has the effect that they had: random calls of every data command, made from its own
//! grammar, on one engine, and what they log on another, whose clock and dice are different. After
//! each call both hold the same data.

use std::collections::BTreeSet;
use std::path::Path;

use cairn_engine::base::rng::Rng;
use cairn_engine::base::time::UnixMs;
use cairn_engine::codec::resp::replies::{Decoded, Node, decode};
use cairn_engine::codec::resp::{Protocol, Reply};
use cairn_engine::command::effects::{Happened, Wants};
use cairn_engine::command::grammar::{Arg, Kind, parse};
use cairn_engine::command::spec::{Group, WRITE};
use cairn_engine::command::{self, Args, DataCommand};
use cairn_engine::engine::{Caller, Engine, EngineConfig};
use cairn_engine::value::Limits;

use crate::{as_commands, fresh};

const START: UnixMs = UnixMs(1_800_000_000_000);
/// The second engine's clock, which stands still: nothing goes there by itself, and a time that was
/// logged as it was sent, counted from now, becomes another one.
const LONG_AGO: UnixMs = UnixMs(START.0 - 1_000_000);

/// An engine with small limits, so that values change their encoding now and then.
fn engine(seed: [u64; 2]) -> Engine {
    let limits = Limits { stream_node_max_entries: 3, ..Limits::DEFAULT };
    Engine::new(EngineConfig { databases: 2, seed, limits, ..fresh::config(Path::new("")) }, START)
}

/// The commands that run, subcommands by themselves, each with the words it begins with.
fn commands() -> Vec<(Vec<&'static str>, &'static DataCommand)> {
    let mut all = Vec::new();
    for command in command::all() {
        if command.subcommands.is_empty() {
            all.push((vec![command.spec.name], command));
        }
        for sub in command.subcommands {
            all.push((vec![command.spec.name, sub.spec.name], sub));
        }
    }
    // Payloads are not to be made up.
    all.retain(|(_, command)| !matches!(command.spec.name, "restore" | "restore-asking" | "debug"));
    all
}

/// Makes up arguments.
struct Maker<'a> {
    rng: &'a mut Rng,
    group: Group,
    now: UnixMs,
    words: Vec<String>,
    /// Where a count stands that is not known yet.
    count_at: Option<usize>,
}

impl Maker<'_> {
    fn below(&mut self, n: usize) -> usize {
        self.rng.index(n)
    }

    fn pick(&mut self, words: &[&str]) -> String {
        let at = self.below(words.len());
        words[at].to_owned()
    }

    fn sequence(&mut self, args: &[Arg]) {
        for arg in args {
            if arg.optional && self.below(5) < 3 {
                continue;
            }
            let times = if arg.multiple { 1 + self.below(3) } else { 1 };
            if arg.multiple
                && let Some(at) = self.count_at.take()
            {
                self.words[at] = times.to_string();
            }
            for i in 0..times {
                if i == 0 || arg.repeats_token {
                    self.words.extend(arg.token.map(str::to_owned));
                }
                self.one(arg);
            }
        }
    }

    fn one(&mut self, arg: &Arg) {
        match &arg.kind {
            Kind::PureToken => {}
            Kind::OneOf(choices) => {
                let at = self.below(choices.len());
                self.words.extend(choices[at].token.map(str::to_owned));
                self.one(&choices[at]);
            }
            Kind::Block(args) => self.sequence(args),
            Kind::Value(kind) => {
                if arg.name.starts_with("num") {
                    self.count_at = Some(self.words.len());
                }
                let word = self.value(kind, &arg.name);
                self.words.push(word);
            }
        }
    }

    fn key(&mut self) -> String {
        let own = match self.group {
            Group::List => "l",
            Group::Set => "t",
            Group::Hash => "h",
            Group::SortedSet | Group::Geo => "z",
            Group::Stream => "x",
            Group::Hyperloglog => "p",
            _ => "s",
        };
        let of = if self.below(8) > 0 && !matches!(self.group, Group::Generic) {
            own.to_owned()
        } else {
            self.pick(&["s", "l", "t", "h", "z", "x", "p"])
        };
        let n = self.below(3);
        format!("{of}{n}")
    }

    fn value(&mut self, kind: &str, name: &str) -> String {
        match kind {
            "key" => self.key(),
            "integer" => self.pick(&["0", "1", "2", "3", "1", "2", "-1", "7", "40", "-40", "100"]),
            "double" => self.pick(&["0", "1.5", "-2", "3", "10", "0.1"]),
            "unix-time" => {
                let delta_ms = [-5000, 20_000, 1_000_000][self.below(3)];
                let at = self.now.0 + delta_ms;
                if name.contains("millisecond") { at.to_string() } else { (at / 1000).to_string() }
            }
            "pattern" => self.pick(&["*", "s*", "?1"]),
            _ => self.string(name),
        }
    }

    fn string(&mut self, name: &str) -> String {
        match self.group {
            Group::Stream if name.contains("id") || name.contains("threshold") => {
                let (ms, seq) = (self.below(9), self.below(3));
                let own = [format!("{ms}-{seq}"), format!("{ms}-{seq}"), format!("{ms}"), format!("{ms}-*")];
                let special = ["*", "*", "$", ">", "0", "+", "-"];
                let at = self.below(own.len() + special.len());
                own.get(at).cloned().unwrap_or_else(|| special[at - own.len()].to_owned())
            }
            Group::Stream if name.contains("group") => "g".to_owned(),
            Group::Stream if name.contains("consumer") => self.pick(&["a", "b"]),
            Group::SortedSet | Group::Geo if matches!(name, "min" | "max" | "start" | "stop") => {
                self.pick(&["-inf", "+inf", "(1", "1", "2", "-", "+", "[a", "(m2", "0", "-1"])
            }
            Group::Bitmap if name.contains("encoding") => self.pick(&["u8", "i16", "u1", "i64"]),
            _ if name.contains("cursor") => "0".to_owned(),
            _ if name.contains("field") => self.pick(&["f1", "f2", "f3", "7"]),
            _ if name.contains("member") || name.contains("element") => {
                self.pick(&["m1", "m2", "m3", "1", "2", "3", "a much longer member than the others are"])
            }
            _ => self.pick(&["v", "1", "2", "10", "-3", "1.5", "m1", "f1", "w", "", "long long long value"]),
        }
    }
}

/// One engine, and the one that runs what the first one logs.
struct Pair {
    first: Engine,
    second: Engine,
    now: UnixMs,
}

impl Pair {
    fn new(seed: u64) -> Pair {
        let mut first = engine([seed, 1]);
        first.set_wants(Wants { log: true, ..Wants::default() });
        Pair { first, second: engine([!seed, 2]), now: START }
    }

    /// Runs a command on the first engine; answers its changes and what it logged.
    fn run(&mut self, command: &DataCommand, words: &[String]) -> (u64, Vec<String>) {
        let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
        let mut reply = Reply::new(Protocol::Resp2);
        let ran = self.first.apply(command, Args(&words), Caller::new(0, self.now), &mut reply);
        (ran.dirty, self.replay())
    }

    /// Runs what the first engine has logged on the second.
    fn replay(&mut self) -> Vec<String> {
        let logged: Vec<(usize, Vec<u8>)> =
            self.first.effects().log().map(|(db, bytes)| (db, bytes.to_vec())).collect();
        self.first.effects_mut().clear_log();
        drop(self.first.effects_mut().take_happened(Happened::default()));
        let mut shown = Vec::new();
        for (db, bytes) in logged {
            let words = words_of(&bytes);
            let name = String::from_utf8_lossy(words[0]).to_ascii_lowercase();
            let text: Vec<_> = words.iter().map(|w| String::from_utf8_lossy(w).into_owned()).collect();
            shown.push(text.join(" "));
            let found = command::all().find(|c| c.spec.name == name).expect("logs have data commands only");
            let meant = words.get(1).and_then(|word| found.subcommand(word)).unwrap_or(found);
            let caller = Caller::repeating(db, LONG_AGO);
            let mut reply = Reply::new(Protocol::Resp2);
            self.second.apply(meant, Args(&words), caller, &mut reply);
            if reply.bytes().first() == Some(&b'-') {
                shown.push(format!("  was refused: {}", String::from_utf8_lossy(reply.bytes())));
            }
        }
        shown
    }

    fn agree(&self) -> bool {
        self.first.digest() == self.second.digest()
    }
}

fn words_of(bytes: &[u8]) -> Vec<&[u8]> {
    let Decoded::Reply(nodes, _) = decode(bytes) else { panic!("a log line is an array") };
    let word = |node| match node {
        Node::Bulk(word) => word,
        _ => panic!("a log line has words only"),
    };
    nodes.into_iter().skip(1).map(word).collect()
}

#[test]
fn logs_repeat_what_was_done() {
    const SEEDS: u64 = 6;
    const CALLS: usize = 1500;
    let commands = commands();
    let mut wrote = BTreeSet::new();
    let mut wrong = Vec::new();
    for seed in 0..SEEDS {
        let mut pair = Pair::new(seed);
        let mut rng = Rng::new(seed + 1);
        for _ in 0..CALLS {
            let at = rng.index(commands.len());
            let (begin, command) = &commands[at];
            // Rarely, or nothing would ever be there.
            if command.spec.name.starts_with("flush") && rng.below(20) > 0 {
                continue;
            }
            let words = begin.iter().map(|word| (*word).to_owned()).collect();
            let group = command.spec.group;
            let mut maker = Maker { rng: &mut rng, group, now: pair.now, words, count_at: None };
            maker.sequence(&parse(command.spec.syntax).expect("every grammar parses"));
            let words = maker.words;
            if !command.spec.accepts(words.len()) {
                continue;
            }
            let (dirty, logged) = pair.run(command, &words);
            if dirty > 0 {
                wrote.insert(command.spec.full_name());
            }
            if !pair.agree() {
                wrong.push(format!("seed {seed}: {} was logged as {logged:?}", words.join(" ")));
                break;
            }
            if rng.below(100) == 0 {
                // All of it at once, as a rewrite has it, makes the same data as well.
                let mut made = engine([seed, 3]);
                as_commands::copy(&pair.first, &mut made, pair.now);
                if let Some(what) = as_commands::differ(&pair.first, &made) {
                    wrong.push(format!("seed {seed}: as commands, after {}: {what}", words.join(" ")));
                    break;
                }
            }
            if rng.below(50) == 0 {
                pair.now = pair.now.saturating_add_ms(5000);
                pair.first.expire_step(pair.now, 100);
                let logged = pair.replay();
                if !pair.agree() {
                    wrong.push(format!("seed {seed}: expiring by itself was logged as {logged:?}"));
                    break;
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let writers = commands.iter().filter(|(_, command)| command.spec.flags.has(WRITE)).count();
    let silent: Vec<String> = commands
        .iter()
        .filter(|(_, command)| command.spec.flags.has(WRITE))
        .map(|(_, command)| command.spec.full_name())
        .filter(|name| !wrote.contains(name))
        .collect();
    assert!(silent.len() * 5 < writers, "these never wrote anything: {silent:?}");
}

#[test]
fn msetex_of_a_key_twice_with_a_time_that_has_passed_is_repeated() {
    let commands = commands();
    let mut pair = Pair::new(1);
    for line in ["set k v", "msetex 2 k a k b XX EXAT 1000"] {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let (_, command) = commands.iter().find(|(begin, _)| begin[0] == words[0]).expect("a data command");
        let (_, logged) = pair.run(command, &words);
        assert!(pair.agree(), "{line} was logged as {logged:?}");
    }
}
