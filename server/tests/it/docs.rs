//! What COMMAND DOCS tells of commands but for its prose, compared with what a real server tells:
//! `testdata/commands/docs.tsv` (written by specs.py there).

use std::collections::HashMap;

use crate::client::{Server, Tree};

const WITNESS: &str = include_str!("../../../testdata/commands/docs.tsv");

/// Commands that take more than the witness' do, or tell of it better.
const DIFFERENT: &[&str] = &[
    // Other operators, conditions, ways to aggregate: Redis 8's.
    "bitop",
    "set",
    "xadd",
    "xreadgroup",
    "xtrim",
    "zinter",
    "zinterstore",
    "zunion",
    "zunionstore",
    // Types of clients by their old names, too, which both take.
    "client|list",
    // No count of fields belongs to a group of keys, and a Unix time is one.
    "hexpireat",
    "hexpiretime",
    "hgetdel",
    "hgetex",
    "hpersist",
    "hpexpire",
    "hpexpireat",
    "hpexpiretime",
    "hpttl",
    "hsetex",
    "httl",
];

/// One argument as the witness writes it: `name~text:type=TOKEN#group?*+@since!deprecated(arguments)`.
fn argument(facts: &Tree) -> String {
    let fact = |name: &str| facts.get(name).map(Tree::text);
    let name = fact("name").expect("a name");
    let mut text = name.to_owned();
    if let Some(other) = fact("display_text").filter(|shown| *shown != name) {
        text += &format!("~{other}");
    }
    text += &format!(":{}", fact("type").expect("a type"));
    for (mark, name) in [('=', "token"), ('#', "key_spec_index")] {
        if let Some(value) = fact(name) {
            text += &format!("{mark}{}", if value.is_empty() { "''" } else { value });
        }
    }
    for (mark, flag) in [("?", "optional"), ("*", "multiple"), ("+", "multiple_token")] {
        if facts.get("flags").is_some_and(|flags| flags.has(flag)) {
            text += mark;
        }
    }
    for (mark, name) in [('@', "since"), ('!', "deprecated_since")] {
        if let Some(version) = fact(name) {
            text += &format!("{mark}{version}");
        }
    }
    match facts.get("arguments") {
        Some(inner) => format!("{text}({})", arguments(inner)),
        None => text,
    }
}

fn arguments(list: &Tree) -> String {
    list.list().iter().map(argument).collect::<Vec<_>>().join(" ")
}

/// The rows of all commands, subcommands too, by name.
fn rows(docs: &Tree, out: &mut Vec<(String, String)>) {
    for (name, facts) in docs.pairs() {
        let list = |fact: &str, of: fn(&Tree) -> &str| {
            let list = facts.get(fact).map(Tree::list).unwrap_or_default();
            let mut words: Vec<&str> = list.iter().map(of).collect();
            // A set has no order.
            words.sort_unstable();
            if words.is_empty() { "-".to_owned() } else { words.join(",") }
        };
        let marks = list("doc_flags", Tree::text);
        let versions = list("history", |change| change.list()[0].text());
        let replaced = facts.get("replaced_by").map_or_else(
            || "-".to_owned(),
            |by| {
                let since = facts.get("deprecated_since").map(Tree::text).unwrap_or_default();
                format!("{since} {}", by.text())
            },
        );
        let args = facts.get("arguments").map_or_else(|| "-".to_owned(), arguments);
        out.push((name.text().to_owned(), format!("{marks}\t{replaced}\t{versions}\t{args}")));
        if let Some(subcommands) = facts.get("subcommands") {
            rows(subcommands, out);
        }
    }
}

#[test]
fn command_docs_did_not_tell_all_that_a_real_server_tells() {
    let server = Server::start(&[]);
    let mut ours = Vec::new();
    rows(&server.client().call_tree(&[b"COMMAND", b"DOCS"]), &mut ours);
    let theirs: HashMap<&str, &str> =
        WITNESS.lines().skip(1).map(|line| line.split_once('\t').expect("a name")).collect();
    let mut compared = 0;
    for (name, row) in &ours {
        let Some(expected) = theirs.get(name.as_str()) else { continue };
        compared += 1;
        let is_different = DIFFERENT.contains(&name.as_str());
        assert_eq!(row != expected, is_different, "{name}\n{row}\n{expected}");
    }
    assert!(compared > 300, "{compared}");
}
