//! Random commands, valid and invalid, to this server and to a real one: the replies must be the same,
//! and so must the data.
//!
//! Arguments are made from each command's own grammar, over few keys, so that commands meet values of
//! every type; then some are spoilt. Runs when `CAIRN_REFERENCE_SERVER` names a server.
//! `CAIRN_DIFFERENTIAL_SEED` (an even one speaks RESP3) and `CAIRN_DIFFERENTIAL_STEPS` choose another run.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cairn_engine::base::rng::Rng;
use cairn_engine::command;
use cairn_engine::command::grammar::{self, Arg, Kind};

use crate::client::{Client, Server, free_port};

const DEFAULT_STEPS: u64 = 20_000;

/// The data of both are compared after so many commands (`CAIRN_DIFFERENTIAL_DIGEST`).
const DEFAULT_DIGEST_STEPS: u64 = 250;

/// Commands whose replies hang on chance, time, memory or the version: they are left out.
const LEFT_OUT: &[&str] = &[
    "spop",
    "srandmember",
    "hrandfield",
    "zrandmember",
    "randomkey",
    "scan",
    "sscan",
    "hscan",
    "zscan",
    "dump",
    "restore",
    "object",
    "memory",
    "xinfo",
    "xautoclaim",
    "xclaim",
    "xpending",
    "flushall",
    "pfdebug",
    "pfselftest",
    "sort",
    "sort_ro",
    "migrate",
    // MSETEX stores keys whose time has passed: each server counts them until it happens to notice.
    "dbsize",
    // Time that has passed between the two servers' answers shows in these.
    "ttl",
    "pttl",
    "httl",
    "hpttl",
    "expire",
    "pexpire",
    "setex",
    "psetex",
    "hexpire",
    "hpexpire",
    // What these find among members of different scores is not defined.
    "zrangebylex",
    "zrevrangebylex",
    "zlexcount",
    "zremrangebylex",
];

/// Commands of a session whose replies are the same on every server, with their grammars. Behind
/// COMMAND GETKEYS comes a random call.
const OF_SESSIONS: &[(&str, &str)] = &[
    ("multi", ""),
    ("exec", ""),
    ("discard", ""),
    ("watch", "key..."),
    ("unwatch", ""),
    ("ping", "[ message ]"),
    ("echo", "message"),
    ("select", "index:int"),
    ("client setname", "connection-name"),
    ("client getname", ""),
    ("client no-evict", "< ON | OFF >"),
    ("client no-touch", "< ON | OFF >"),
    ("client setinfo", "< LIB-NAME libname | LIB-VER libver >"),
    ("client trackinginfo", ""),
    ("client getredir", ""),
    ("client caching", "< YES | NO >"),
    ("client unblock", "client-id:int [ TIMEOUT | ERROR ]"),
    ("publish", "channel message"),
    ("spublish", "shardchannel message"),
    ("pubsub numsub", "[ channel ]..."),
    ("pubsub shardchannels", "[ pattern:pattern ]"),
    ("pubsub shardnumsub", "[ shardchannel ]..."),
    ("command getkeys", ""),
    ("command getkeysandflags", ""),
];

/// Replies that come in no order.
const UNORDERED: &[&str] =
    &["smembers", "sinter", "sunion", "sdiff", "keys", "hkeys", "hvals", "hgetall", "exec"];

/// Words of options that only later versions of Redis know.
const REDIS_WORDS: &[&str] =
    &["IFNE", "IFDEQ", "IFDNE", "CLAIM", "KEEPREF", "DELREF", "ACKED", "DIFF", "DIFF1", "ANDOR", "ONE"];

/// Words of options, and numbers, that Redis 7.0 does not know or takes otherwise: it keeps a key that
/// is set with a time long gone until somebody asks for it.
const NEW_WORDS: &[&str] = &[
    "EXAT",
    "PXAT",
    "0x10",
    "1e-320",
    "-9223372036854775808",
    "IFEQ",
    "FNX",
    "FXX",
    "BYPOLYGON",
    "NOVALUES",
    "NOSCORES",
    "WITHSCORE",
];

/// So many differences are told, one a command.
const MOST_DIFFERENCES: usize = 40;

struct Reference {
    child: Child,
    _dir: tempfile::TempDir,
    port: u16,
}

impl Drop for Reference {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Reference {
    fn start(binary: &std::ffi::OsStr) -> Reference {
        let dir = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let child = Command::new(binary)
            .current_dir(dir.path())
            .args([
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--enable-debug-command",
                "yes",
                "--port",
                &port.to_string(),
            ])
            .stdout(Stdio::null())
            .spawn()
            .expect("CAIRN_REFERENCE_SERVER can be run");
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "the reference server does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Reference { child, _dir: dir, port }
    }
}

/// Makes arguments.
struct Maker {
    rng: Rng,
    /// Only what Redis 7.0 knows.
    is_old: bool,
}

impl Maker {
    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.rng.below(n as u64)).expect("below a small number")
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn value(&mut self, kind: &str, name: &str) -> String {
        match kind {
            "key" => self.pick(&["a", "b", "c", "d", "e", "f", "g{h}"]).into(),
            "integer" if name == "numkeys" => self.pick(&["1", "2", "2", "3", "0"]).into(),
            "integer" if self.one_in(6) => self
                .pick(&[
                    "-9223372036854775808",
                    "9223372036854775807",
                    "4294967296",
                    "-1",
                    "9223372036854775808",
                ])
                .into(),
            "integer" if name.contains("offset") || name.contains("bit") => self.below(70).to_string(),
            "integer" => (self.below(12) as i64 - 3).to_string(),
            "double" if self.one_in(8) => {
                self.pick(&["inf", "-inf", "nan", "1e308", "-0", "1e-320", "0x10"]).into()
            }
            "double" => format!("{}", (self.below(200) as f64 - 100.0) / 8.0),
            "pattern" => self.pick(&["*", "a*", "[a-c]", "?", "\\*", "x"]).into(),
            // Far ahead, or long gone: never now.
            "unix-time" if self.one_in(3) => "1".into(),
            "unix-time" => "99999999999".into(),
            _ if name.contains("min") && self.one_in(2) => self.pick(&["-", "(1", "[a", "-inf", "(a"]).into(),
            _ if name.contains("max") && self.one_in(2) => self.pick(&["+", "(5", "[z", "+inf", "(c"]).into(),
            _ if name.contains("id") || name == "start" || name == "end" => {
                self.pick(&["1-1", "2-1", "3-7", "0", "5", "-", "+", "9-*"]).into()
            }
            _ => match self.below(8) {
                0 => String::new(),
                1 => "x".repeat(self.below(90)),
                2 => (self.below(2000) as i64 - 1000).to_string(),
                3 => "3.5".into(),
                _ => self.pick(&["one", "two", "three", "four", "1", "2", "foo bar"]).into(),
            },
        }
    }

    fn arg(&mut self, arg: &Arg, out: &mut Vec<String>) {
        if arg.optional && self.one_in(2) {
            return;
        }
        let times = if arg.multiple { 1 + self.below(3) } else { 1 };
        for i in 0..times {
            if let Some(token) = arg.token.filter(|_| i == 0 || arg.repeats_token) {
                out.push(token.to_owned());
            }
            match &arg.kind {
                Kind::PureToken => {}
                Kind::Value(kind) => out.push(self.value(kind, &arg.name)),
                Kind::OneOf(of) => {
                    let chosen = &of[self.below(of.len())];
                    self.arg(chosen, out);
                }
                Kind::Block(of) => of.iter().for_each(|arg| self.arg(arg, out)),
            }
        }
    }

    /// A call of a command.
    fn call(&mut self, known: &[Known]) -> Vec<String> {
        let Known { name, args } = &known[self.below(known.len())];
        let mut words: Vec<String> = name.split(' ').map(str::to_owned).collect();
        if words[0] == "command" {
            let behind = &known[self.below(known.len())];
            words.extend(behind.name.split(' ').map(str::to_owned));
            behind.args.iter().for_each(|arg| self.arg(arg, &mut words));
        }
        args.iter().for_each(|arg| self.arg(arg, &mut words));
        if words.len() > 1 && self.one_in(8) {
            let at = 1 + self.below(words.len() - 1);
            match self.below(4) {
                0 => drop(words.remove(at)),
                1 => words.insert(at, words[at].clone()),
                2 => words[at] = self.value("integer", ""),
                _ => words[at] = self.value("string", ""),
            }
        }
        words
    }

    /// True if both servers know all options of the call, and time plays no part in it.
    fn is_comparable(&self, words: &[String]) -> bool {
        let has = |list: &[&str]| words.iter().any(|w| list.iter().any(|l| w.eq_ignore_ascii_case(l)));
        // Valkey 9.1 takes such an index modulo 2^32.
        let is_cut_off = words[0] == "lset" && words.get(2).is_some_and(|index| index.len() > 9);
        // It stores keys whose time has passed; of one that comes twice Valkey tells twice that it is new.
        let is_stale = words[0] == "msetex" && has(&["EXAT", "PXAT"]);
        let is_blocking = words[0].starts_with('b') && words[0] != "bitcount" && !words[0].starts_with("bit");
        let is_new = has(NEW_WORDS)
            || ["bitcount", "bitpos", "getex"].contains(&words[0].as_str())
            || words[0] == "xread" && words.contains(&"+".to_owned());
        let counts_sets = words.windows(2).any(|w| w[0] == "AGGREGATE" && w[1].eq_ignore_ascii_case("count"));
        // A word may be left out of a call, so that another one stands where the command did.
        let is_of_replicas = words[0] == "command" && words.get(2).is_some_and(|name| name == "SYNC");
        !(self.is_old && is_new
            || is_of_replicas
            || has(REDIS_WORDS)
            || counts_sets
            || is_blocking
            || is_cut_off
            || is_stale
            || has(&["BYLEX", "BLOCK", "EX", "PX", "*", "ASYNC", "IDLE", "TIME"])
            || words[0].starts_with('x') && has(&["9-*"]))
    }
}

/// A reply to compare, given as text and as bytes: of lists without an order the sorted words, of errors
/// only the code with a server of another version, of all others every byte.
fn comparable(name: &str, (text, bytes): (String, String), is_old: bool) -> String {
    if UNORDERED.contains(&name) && text.starts_with(['[', '{']) {
        // Of a transaction's replies the lists have brackets of their own.
        let mut words: Vec<&str> =
            text.split(' ').map(|word| word.trim_matches(['[', ']', '{', '}'])).collect();
        words.sort_unstable();
        return words.join(" ");
    }
    match text.split_once(' ') {
        Some((code, _)) if is_old && text.starts_with('-') => code.to_owned(),
        _ => bytes,
    }
}

/// Hears the key-space events of a server.
struct Listener {
    heard: Client,
    speaker: Client,
}

impl Listener {
    /// What is told of keys whose time has passed hangs on when a server looks: it is not asked for.
    fn new(mut heard: Client, mut speaker: Client) -> Listener {
        assert_eq!(speaker.call("CONFIG SET notify-keyspace-events Kg$lshzetdmn"), "OK");
        heard.call("SUBSCRIBE end");
        heard.call("PSUBSCRIBE __key*");
        Listener { heard, speaker }
    }

    /// The events since the last call.
    fn events(&mut self) -> Vec<String> {
        self.speaker.call("PUBLISH end of");
        let messages =
            std::iter::from_fn(|| Some(self.heard.read()).filter(|m| !m.starts_with("[message end")));
        messages.map(|message| message.trim_start_matches("[pmessage __key* __").to_owned()).collect()
    }
}

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A command that both servers know.
struct Known {
    /// Its words.
    name: String,
    args: Vec<Arg>,
}

/// The commands to be tried: data commands that the reference server knows, and those of sessions unless
/// it is an old one, whose transactions are of another mind.
fn known(theirs: &mut Client, is_old: bool) -> Vec<Known> {
    let mut all: Vec<Known> = Vec::new();
    let mut add = |name: String, syntax: &'static str| {
        if !theirs.call(&format!("COMMAND INFO {}", name.replace(' ', "|"))).contains("nil") {
            all.push(Known { name, args: grammar::parse(syntax).expect("a grammar") });
        }
    };
    for command in command::all() {
        let subcommands = command.subcommands.iter().map(|sub| &sub.spec);
        for spec in subcommands.chain((!command.spec.is_container).then_some(&command.spec)) {
            let is_left_out =
                LEFT_OUT.contains(&spec.name) || spec.parent.is_some_and(|p| LEFT_OUT.contains(&p));
            if !is_left_out && spec.name != "help" {
                add(spec.full_name().replace('|', " "), spec.syntax);
            }
        }
    }
    if !is_old {
        OF_SESSIONS.iter().for_each(|(name, syntax)| add((*name).to_owned(), syntax));
    }
    all
}

#[test]
fn random_commands_are_answered_as_by_a_real_server() {
    let Some(binary) = std::env::var_os("CAIRN_REFERENCE_SERVER") else {
        eprintln!("skipped: CAIRN_REFERENCE_SERVER does not name a redis-server or valkey-server");
        return;
    };
    let seed = from_env("CAIRN_DIFFERENTIAL_SEED", 1);
    let reference = Reference::start(&binary);
    let mut theirs = Client::connect(reference.port);
    let facts = theirs.call("INFO server");
    // The digests of the two families differ for hash fields that expire.
    let target = if facts.contains("valkey_version") { "valkey-9" } else { "auto" };
    let server = Server::start(&["--enable-debug-command", "yes", "--rdb-target", target]);
    let mut ours = server.client();
    let is_old = !facts.contains("valkey_version:9");
    let mut their_listener = Listener::new(Client::connect(reference.port), Client::connect(reference.port));
    let mut our_listener = Listener::new(server.client(), server.client());
    if seed.is_multiple_of(2) {
        theirs.call("HELLO 3");
        ours.call("HELLO 3");
    }
    let mut maker = Maker { rng: Rng::new(seed), is_old };
    let known = known(&mut theirs, is_old);
    let digest_steps = from_env("CAIRN_DIFFERENTIAL_DIGEST", DEFAULT_DIGEST_STEPS).max(1);
    let (mut tried, mut differences) = (BTreeSet::new(), BTreeSet::new());
    let mut history: Vec<Vec<String>> = Vec::new();
    let mut is_in_transaction = false;
    for step in 0..from_env("CAIRN_DIFFERENTIAL_STEPS", DEFAULT_STEPS) {
        let words =
            if is_in_transaction && maker.one_in(8) { vec!["exec".to_owned()] } else { maker.call(&known) };
        if !maker.is_comparable(&words) {
            continue;
        }
        let name = words[0].clone();
        is_in_transaction = (is_in_transaction || name == "multi") && name != "exec" && name != "discard";
        tried.insert(name.clone());
        let bytes: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
        let told = [theirs.call_both(&bytes), ours.call_both(&bytes)];
        history.push(words);
        let [expected, got] = told.map(|reply| comparable(&name, reply, is_old));
        let about = || {
            history[history.len().saturating_sub(12)..]
                .iter()
                .map(|w| w.join(" "))
                .collect::<Vec<_>>()
                .join("\n")
        };
        let (their_events, our_events) = (their_listener.events(), our_listener.events());
        if !is_old && our_events != their_events && differences.insert(format!("events of {name}")) {
            eprintln!(
                "seed {seed}, step {step}: told {our_events:?}, not {their_events:?}, after\n{}\n",
                about()
            );
        }
        if got != expected && differences.insert(name) {
            eprintln!("seed {seed}, step {step}: answered {got}, not {expected}, after\n{}\n", about());
        }
        if step % digest_steps == 0 {
            let [expected, got] = [theirs.call("DEBUG DIGEST"), ours.call("DEBUG DIGEST")];
            if got != expected {
                differences.insert(format!("data at step {step}"));
                eprintln!("seed {seed}, step {step}: the data differ, after\n{}\n", about());
            }
        }
        if differences.len() >= MOST_DIFFERENCES {
            break;
        }
        // Now and then all is emptied, so that small values of every kind are met again, and so that a
        // difference is not found twice.
        if got != expected || maker.one_in(400) {
            theirs.call("FLUSHALL");
            ours.call("FLUSHALL");
        }
    }
    assert!(differences.is_empty(), "differences in {differences:?}");
    assert!(tried.len() > known.len() / 2, "hardly any command was tried");
}
