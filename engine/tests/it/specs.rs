//! What commands say of themselves, compared with what real servers say: `testdata/commands/specs.tsv`
//! (written by `specs.py` beside it).

use std::collections::{BTreeMap, HashSet};

use cairn_engine::command::grammar;
use cairn_engine::command::spec::{BeginSearch, FindKeys, HINTS, KeySpec, Spec};
use cairn_engine::command::{self};

const WITNESS: &str = include_str!("../../../testdata/commands/specs.tsv");

/// What the names of those commands of the witness start with that are no data commands.
const OF_SESSIONS: [&str; 4] = ["eval", "fcall", "function", "script"];

/// Every spec, subcommands too.
fn specs() -> Vec<&'static Spec> {
    let with_subcommands = |c: &'static command::DataCommand| {
        std::iter::once(&c.spec).chain(c.subcommands.iter().map(|s| &s.spec))
    };
    command::all().flat_map(with_subcommands).collect()
}

fn listed(mut words: Vec<&str>) -> String {
    words.sort_unstable();
    if words.is_empty() { "-".to_owned() } else { words.join(",") }
}

/// A group of keys in the witness's form.
fn shown(key: &KeySpec) -> String {
    let uses: Vec<&str> = std::iter::once(key.uses.mode)
        .chain(key.uses.effects.iter().copied())
        .filter(|word| !HINTS.contains(word))
        .collect();
    let begin = match key.begin {
        BeginSearch::Index(at) => format!("index:{at}"),
        BeginSearch::Keyword(word, from) => format!("keyword:{word}:{from}"),
        BeginSearch::Unknown => "unknown:".to_owned(),
    };
    let find = match key.find {
        FindKeys::Range { last, step, limit } => format!("range:{last}:{step}:{limit}"),
        FindKeys::KeyNum { count_at, first, step } => format!("keynum:{count_at}:{first}:{step}"),
        FindKeys::Unknown => "unknown:".to_owned(),
    };
    format!("{}@{begin}@{find}", uses.join("+"))
}

fn row(spec: &Spec) -> String {
    let keys: Vec<String> = spec.keys.iter().map(shown).collect();
    let keys = if keys.is_empty() { "-".to_owned() } else { keys.join(" ") };
    let flags = listed(spec.flags.names().collect());
    let categories = listed(spec.acl_categories());
    format!("{}\t{}\t{}\t{flags}\t{categories}\t{keys}", spec.full_name(), spec.since, spec.arity)
}

#[test]
fn facts_are_those_of_real_servers() {
    let witness: BTreeMap<&str, &str> = WITNESS
        .lines()
        .filter(|line| !line.starts_with('#'))
        // Those are the server's, and compared there.
        .filter(|line| !OF_SESSIONS.iter().any(|name| line.starts_with(name)))
        .map(|line| (line.split('\t').next().unwrap_or_default(), line))
        .collect();
    let wrong: Vec<String> = specs()
        .into_iter()
        .filter_map(|spec| match witness.get(spec.full_name().as_str()) {
            None => Some(format!("{} has no witness", spec.full_name())),
            Some(line) => (*line != row(spec)).then(|| format!("is   {}\nmust {line}", row(spec))),
        })
        .collect();
    assert!(wrong.is_empty(), "{} specs:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(witness.len(), specs().len(), "the witness has commands that are not there");
}

#[test]
fn every_spec_is_complete() {
    let mut names = HashSet::new();
    for spec in specs() {
        let name = spec.full_name();
        assert!(names.insert(name.clone()), "{name} is there twice");
        assert_eq!(name, name.to_ascii_lowercase());
        assert!(!spec.summary.is_empty() && spec.summary.ends_with('.'), "{name}: a summary is a sentence");
        assert!(!spec.complexity.is_empty(), "{name}: what does it cost?");
        let grammar = grammar::parse(spec.syntax).unwrap_or_else(|why| panic!("{name}: {why}"));
        let words = if spec.parent.is_some() { 2 } else { 1 };
        let least = spec.arity.unsigned_abs() as usize - words;
        let required: usize = grammar.iter().filter(|arg| !arg.optional).map(least_words).sum();
        let is_container = spec.syntax.is_empty() && spec.arity < 0 && spec.parent.is_none();
        // A polygon needs no middle, so the middle is optional, and the shapes that need one are shorter.
        let has_middle = name.starts_with("geosearch") && required < least;
        assert!(
            required == least || is_container || has_middle,
            "{name}: {required} words by the grammar, {least} by the arity"
        );
    }
}

/// The fewest words that an argument takes.
fn least_words(arg: &grammar::Arg) -> usize {
    let required =
        |args: &[grammar::Arg]| args.iter().filter(|a| !a.optional).map(least_words).sum::<usize>();
    let of_itself = match &arg.kind {
        grammar::Kind::PureToken => 0,
        grammar::Kind::Value(_) => 1,
        grammar::Kind::OneOf(of) => of.iter().map(least_words).min().unwrap_or(0),
        grammar::Kind::Block(of) => required(of),
    };
    of_itself + usize::from(arg.token.is_some())
}
