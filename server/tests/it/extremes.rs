//! Every number that any command takes at its extremes, over sockets: an answer or an error, soon, and in
//! bounded memory, whatever others do meanwhile.
//!
//! What can be asked is what COMMAND DOCS tells, so no command is forgotten. What the answers are is told
//! elsewhere; what values of all types and sizes make of it, in the engine's test of the same name.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::client::{Client, Server, Tree};

/// Much more than anything takes, on a machine that is busy and without optimization.
const PATIENCE: Duration = Duration::from_secs(30);

/// Commands that end the server or a connection, have it say something forever, or hold everybody up as
/// long as they are told to: CLIENT UNPAUSE waits for the end of a pause, too, as in Valkey.
const LEFT_OUT: &[&str] = &["shutdown", "quit", "monitor", "debug", "client|pause"];

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

/// A command as COMMAND DOCS tells it: its words and its arguments.
struct Documented {
    words: Vec<String>,
    args: Vec<Tree>,
}

fn documented(docs: &Tree, out: &mut Vec<Documented>) {
    for (name, facts) in docs.pairs() {
        if LEFT_OUT.contains(&name.text()) {
            continue;
        }
        let words: Vec<String> = name.text().split('|').map(str::to_owned).collect();
        if let Some(subcommands) = facts.get("subcommands") {
            documented(subcommands, out);
        } else {
            let args = facts.get("arguments").map(|args| args.list().to_vec()).unwrap_or_default();
            out.push(Documented { words, args });
        }
    }
}

/// A command's words; those of numbers are marked.
type Words = Vec<(String, bool)>;

/// Writes arguments, of those that are optional the ones whose place is in `chosen`, and the alternative
/// of that number.
fn write(args: &[Tree], chosen: usize, words: &mut Words) {
    for (at, arg) in args.iter().enumerate() {
        let is_optional = arg.get("flags").is_some_and(|flags| flags.has("optional"));
        if !is_optional || chosen > 0 && (chosen >> (at % 3)) & 1 == 1 {
            write_one(arg, chosen, words);
        }
    }
}

fn write_one(arg: &Tree, chosen: usize, words: &mut Words) {
    let fact = |name: &str| arg.get(name).map(|fact| fact.text().to_owned()).unwrap_or_default();
    let (name, token) = (fact("name"), fact("token"));
    if !token.is_empty() {
        words.push((token, false));
    }
    let inner = arg.get("arguments").map(Tree::list).unwrap_or_default();
    match fact("type").as_str() {
        "pure-token" => {}
        "oneof" => write_one(&inner[chosen % inner.len()], chosen, words),
        "block" => write(inner, chosen, words),
        "key" => words.push((format!("key:{}", chosen % 6), false)),
        "integer" | "double" | "unix-time" => words.push(("1".to_owned(), true)),
        _ if NUMBERS.contains(&name.as_str()) => words.push(("1".to_owned(), true)),
        _ => words.push(("2".to_owned(), false)),
    }
}

fn fill(client: &mut Client) {
    for line in [
        "FLUSHALL",
        "SET key:0 5",
        "RPUSH key:1 a b c",
        "SADD key:2 1 2 x",
        "HSET key:3 2 1 f 2",
        "ZADD key:4 1 2 3 b",
        "XADD key:5 1-1 f v",
        "XGROUP CREATE key:5 2 0",
        "XREADGROUP GROUP 2 2 STREAMS key:5 >",
    ] {
        let reply = client.call(line);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
    }
}

fn peak_kb(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).expect("its status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a line for memory");
    line.split_ascii_whitespace().nth(1).and_then(|kb| kb.parse().ok()).expect("a number")
}

#[test]
fn numbers_of_all_commands_at_their_extremes() {
    const MOST_KB: u64 = 1 << 20;
    let server = Server::start(&[
        "--proto-max-bulk-len",
        "32mb",
        "--client-output-buffer-limit",
        "normal",
        "8mb",
        "0",
        "0",
    ]);
    let mut control = server.client();
    let mut commands = Vec::new();
    documented(&control.call_tree(&[b"COMMAND", b"DOCS"]), &mut commands);
    assert!(commands.len() > 300, "{}", commands.len());
    let mut client = server.client();
    let mut asked = 0;
    for Documented { words: name, args } in &commands {
        fill(&mut control);
        for chosen in 0..8 {
            let mut words: Words = name.iter().map(|word| (word.clone(), false)).collect();
            write(args, chosen, &mut words);
            for at in (0..words.len()).filter(|at| words[*at].1) {
                for extreme in EXTREMES.iter() {
                    let mut line: Vec<&[u8]> = words.iter().map(|(word, _)| word.as_bytes()).collect();
                    line[at] = extreme.as_bytes();
                    let shown = line.join(&b" "[..]).escape_ascii().to_string();
                    asked += 1;
                    let begun = Instant::now();
                    let waits = !client.answers(&line);
                    // Who waits for something is let go by going; nobody else may notice.
                    assert_eq!(control.call("PING"), "PONG", "{shown}");
                    assert!(begun.elapsed() < PATIENCE, "{shown}: {:?}", begun.elapsed());
                    if waits || ["client", "hello", "select", "reset"].contains(&name[0].as_str()) {
                        client = server.client();
                    }
                }
            }
        }
        assert!(peak_kb(&server) < MOST_KB, "{} kB after {name:?}", peak_kb(&server));
    }
    assert!(asked > 10_000, "only {asked}");
    assert_eq!(control.call("PING"), "PONG");
}
