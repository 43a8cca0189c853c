//! COMMAND: what is known of every command, from the specs and, for what has changed, `history.rs`.
//!
//! Behaviour: valkey src/server.c `addReplyCommandInfo`, `addReplyCommandDocs`.

use cairn_engine::base::glob;
use cairn_engine::codec::resp::Reply;
use cairn_engine::command::grammar::{self, Arg, Kind};
use cairn_engine::command::spec::{
    BeginSearch, CHANNELS, FindKeys, Group, HINTS, KeySpec, LOADING, NO_MANDATORY_KEYS, STALE, Spec,
};
use cairn_engine::command::{Args, CommandError, Outcome, help};

use super::history;
use super::table::{CommandTable, Entry};
use super::{Call, SessionCommand, SessionFn};

/// Every command of this file.
pub(super) const COMMANDS: &[SessionCommand] = &[COMMAND];

const COMMAND: SessionCommand = SessionCommand::new(
    Spec::new("command", Group::Server, "2.8.13", -1, "")
        .flags(LOADING.or(STALE))
        .categories(&["connection"])
        .complexity("O(N) in the number of commands")
        .summary("Answers what is known of every command."),
    |call, _| {
        let table = &call.server.commands;
        let all: Vec<u16> = table.top_level().collect();
        call.reply.array(all.len());
        for number in all {
            write_info(call.reply, table, number);
        }
        Ok(())
    },
)
.with(&[
    sub("count", "2.8.13", 2, "", "Answers the number of commands.", |call, _| {
        call.reply.int(call.server.commands.top_level().count() as i64);
        Ok(())
    }),
    sub("docs", "7.0.0", -2, "[ command-name ]...", "Answers summaries and arguments of commands.", docs),
    sub(
        "getkeys",
        "2.8.13",
        -3,
        "command [ arg ]...",
        "Answers the keys among a command's arguments.",
        |call, args| write_keys(call, args, false),
    ),
    sub(
        "getkeysandflags",
        "7.0.0",
        -3,
        "command [ arg ]...",
        "Answers the keys of a command and what is done with them.",
        |call, args| write_keys(call, args, true),
    ),
    sub("help", "5.0.0", 2, "", "Prints this help.", |call, _| {
        help::write(call.reply, &COMMAND);
        Ok(())
    }),
    sub("info", "2.8.13", -2, "[ command-name ]...", "Answers what is known of some commands.", info),
    sub(
        "list",
        "7.0.0",
        -2,
        "filterby=[ FILTERBY: < MODULE module-name | ACLCAT category | PATTERN pattern:pattern > ]",
        "Answers names of commands.",
        list,
    ),
]);

const fn sub(
    name: &'static str,
    since: &'static str,
    arity: i32,
    syntax: &'static str,
    summary: &'static str,
    run: SessionFn,
) -> SessionCommand {
    let spec = Spec::new(name, Group::Server, since, arity, syntax).parent("command");
    let spec = spec
        .flags(LOADING.or(STALE))
        .categories(&["connection"])
        .complexity("O(N) in the number of commands");
    SessionCommand::new(spec.summary(summary), run)
}

fn info(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    let table = &call.server.commands;
    let all: Vec<Option<u16>> = match args.len() {
        2 => table.top_level().map(Some).collect(),
        _ => args.from(2).iter().map(|name| table.by_full_name(name)).collect(),
    };
    call.reply.array(all.len());
    for number in all {
        match number {
            Some(number) => write_info(call.reply, table, number),
            None => call.reply.null_array(),
        }
    }
    Ok(())
}

fn write_info(reply: &mut Reply, table: &CommandTable, number: u16) {
    let Entry { spec, full_name, subcommands, .. } = table.entry(number);
    reply.array(10);
    reply.bulk(full_name.as_bytes());
    reply.int(i64::from(spec.arity));
    // Valkey does not show these.
    let is_shown = |flag: &&str| !["may_replicate", "protected"].contains(flag);
    let mut flags: Vec<&str> = spec.flags.names().filter(is_shown).collect();
    let legacy = legacy_range(spec.keys);
    if legacy.is_none_or(|range| range.hides_keys) {
        flags.push("movablekeys");
    }
    reply.set(flags.len());
    for flag in flags {
        reply.simple(flag);
    }
    let LegacyRange { first, last, step, .. } = legacy.unwrap_or_default();
    for n in [first, last, step] {
        reply.int(n);
    }
    let categories = spec.acl_categories();
    reply.set(categories.len());
    for category in categories {
        reply.simple(&format!("@{category}"));
    }
    let tips = spec.tips();
    reply.set(tips.len());
    for tip in tips {
        reply.bulk(tip.as_bytes());
    }
    reply.set(spec.keys.len());
    for key in spec.keys {
        write_key_spec(reply, key);
    }
    reply.array(subcommands.len());
    for sub in subcommands.clone() {
        write_info(reply, table, sub);
    }
}

/// Keys as old clients understand them: from a first to a last argument by steps.
#[derive(Debug, Clone, Copy, Default)]
struct LegacyRange {
    first: i64,
    last: i64,
    step: i64,
    /// There are keys that the range does not tell.
    hides_keys: bool,
}

/// `None` if there are keys and none of them fits.
fn legacy_range(keys: &[KeySpec]) -> Option<LegacyRange> {
    let mut found: Option<LegacyRange> = None;
    let mut hides_keys = false;
    for key in keys {
        match (key.begin, key.find) {
            (BeginSearch::Index(at), FindKeys::Range { last, step, limit: 0 | 1 }) => {
                let (at, step) = (at as i64, step as i64);
                let last = if last >= 0 { at + i64::from(last) } else { i64::from(last) };
                match &mut found {
                    None => found = Some(LegacyRange { first: at, last, step, hides_keys: false }),
                    // One key behind the other is still a range.
                    Some(range) if range.last >= 0 && at == range.last + range.step => range.last = last,
                    Some(_) => hides_keys = true,
                }
            }
            _ => hides_keys = true,
        }
    }
    match found {
        Some(range) => Some(LegacyRange { hides_keys, ..range }),
        None if keys.is_empty() => Some(LegacyRange::default()),
        None => None,
    }
}

fn write_key_spec(reply: &mut Reply, key: &KeySpec) {
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(1 + key.uses.effects.len());
    reply.simple(key.uses.mode);
    for effect in key.uses.effects {
        reply.simple(effect);
    }
    let write = |reply: &mut Reply, name: &str, kind: &str, facts: &[(&str, Fact)]| {
        reply.bulk(name.as_bytes());
        reply.map(2);
        reply.bulk(b"type");
        reply.bulk(kind.as_bytes());
        reply.bulk(b"spec");
        reply.map(facts.len());
        for (name, fact) in facts {
            reply.bulk(name.as_bytes());
            match fact {
                Fact::Number(n) => reply.int(*n),
                Fact::Word(word) => reply.bulk(word.as_bytes()),
            }
        }
    };
    match key.begin {
        BeginSearch::Index(at) => {
            write(reply, "begin_search", "index", &[("index", Fact::Number(at as i64))]);
        }
        BeginSearch::Keyword(word, from) => {
            let facts = [("keyword", Fact::Word(word)), ("startfrom", Fact::Number(i64::from(from)))];
            write(reply, "begin_search", "keyword", &facts);
        }
        BeginSearch::Unknown => write(reply, "begin_search", "unknown", &[]),
    }
    match key.find {
        FindKeys::Range { last, step, limit } => {
            let facts = [
                ("lastkey", Fact::Number(i64::from(last))),
                ("keystep", Fact::Number(step as i64)),
                ("limit", Fact::Number(limit as i64)),
            ];
            write(reply, "find_keys", "range", &facts);
        }
        FindKeys::KeyNum { count_at, first, step } => {
            let facts = [
                ("keynumidx", Fact::Number(count_at as i64)),
                ("firstkey", Fact::Number(first as i64)),
                ("keystep", Fact::Number(step as i64)),
            ];
            write(reply, "find_keys", "keynum", &facts);
        }
        FindKeys::Unknown => write(reply, "find_keys", "unknown", &[]),
    }
}

enum Fact {
    Number(i64),
    Word(&'static str),
}

fn docs(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    let table = &call.server.commands;
    let all: Vec<u16> = match args.len() {
        2 => table.top_level().collect(),
        _ => args.from(2).iter().filter_map(|name| table.by_full_name(name)).collect(),
    };
    call.reply.map(all.len());
    for number in all {
        write_docs(call.reply, table, number);
    }
    Ok(())
}

fn write_docs(reply: &mut Reply, table: &CommandTable, number: u16) {
    let Entry { spec, full_name, subcommands, .. } = table.entry(number);
    let arguments = grammar::parse(spec.syntax).unwrap_or_default();
    reply.bulk(full_name.as_bytes());
    let changes = history::changes(full_name);
    let (is_internal, replaced) = (history::is_internal(full_name), history::replaced(full_name));
    let has_flags = is_internal || replaced.is_some();
    let mut parts = vec![has_flags, !changes.is_empty(), !arguments.is_empty(), !subcommands.is_empty()];
    parts.extend([replaced.is_some(); 2]);
    reply.map(4 + parts.iter().filter(|is_there| **is_there).count());
    let facts = [
        ("summary", spec.summary),
        ("since", spec.since),
        ("group", spec.group.name()),
        ("complexity", spec.complexity),
    ];
    for (name, value) in facts {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    if has_flags {
        reply.bulk(b"doc_flags");
        reply.set(1);
        reply.simple(if is_internal { "syscmd" } else { "deprecated" });
    }
    if let Some((since, by)) = replaced {
        reply.bulk(b"deprecated_since");
        reply.bulk(since.as_bytes());
        reply.bulk(b"replaced_by");
        reply.bulk(by.as_bytes());
    }
    if !changes.is_empty() {
        reply.bulk(b"history");
        reply.set(changes.len());
        for (version, text) in changes {
            reply.array(2);
            reply.bulk(version.as_bytes());
            reply.bulk(text.as_bytes());
        }
    }
    if !arguments.is_empty() {
        reply.bulk(b"arguments");
        let mut keys = KeyGroups { next: 0, last: spec.keys.len().saturating_sub(1) };
        write_arguments(reply, &arguments, &mut keys);
    }
    if !subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(subcommands.len());
        for sub in subcommands.clone() {
            write_docs(reply, table, sub);
        }
    }
}

/// Which group of keys the next key argument belongs to: they stand in the same order.
struct KeyGroups {
    next: usize,
    last: usize,
}

impl KeyGroups {
    fn take(&mut self) -> usize {
        let group = self.next.min(self.last);
        self.next += 1;
        group
    }
}

/// Recurses as deep as our own grammars nest.
fn write_arguments(reply: &mut Reply, arguments: &[Arg], keys: &mut KeyGroups) {
    reply.array(arguments.len());
    for argument in arguments {
        let Arg { name, kind, token, optional, multiple, repeats_token, .. } = argument;
        let inner = match kind {
            Kind::OneOf(inner) | Kind::Block(inner) => Some(inner),
            Kind::PureToken | Kind::Value(_) => None,
        };
        let flags: Vec<&str> =
            [(*optional, "optional"), (*multiple, "multiple"), (*repeats_token, "multiple_token")]
                .iter()
                .filter(|(set, _)| *set)
                .map(|(_, f)| *f)
                .collect();
        let is_key = matches!(kind, Kind::Value("key"));
        let group = argument.key_group.or_else(|| is_key.then(|| keys.take()));
        let is_leaf = inner.is_none();
        let versions = [("since", argument.since), ("deprecated_since", argument.deprecated_since)];
        let mut facts = vec![is_leaf, group.is_some(), token.is_some(), !flags.is_empty(), inner.is_some()];
        facts.extend(versions.iter().map(|(_, version)| version.is_some()));
        reply.map(2 + facts.iter().filter(|is_there| **is_there).count());
        reply.bulk(b"name");
        reply.bulk(name.as_bytes());
        reply.bulk(b"type");
        reply.bulk(kind.name().as_bytes());
        if is_leaf {
            reply.bulk(b"display_text");
            reply.bulk(argument.shown().as_bytes());
        }
        if let Some(group) = group {
            reply.bulk(b"key_spec_index");
            reply.int(group as i64);
        }
        if let Some(token) = token {
            reply.bulk(b"token");
            reply.bulk(token.as_bytes());
        }
        for (fact, version) in versions {
            if let Some(version) = version {
                reply.bulk(fact.as_bytes());
                reply.bulk(version.as_bytes());
            }
        }
        if !flags.is_empty() {
            reply.bulk(b"flags");
            reply.set(flags.len());
            for flag in flags {
                reply.simple(flag);
            }
        }
        if let Some(inner) = inner {
            reply.bulk(b"arguments");
            write_arguments(reply, inner, keys);
        }
    }
}

fn list(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    let table = &call.server.commands;
    let keep: Box<dyn Fn(&Entry) -> bool> = match args.len() {
        2 => Box::new(|_| true),
        5 if args.is(2, "FILTERBY") && args.is(3, "MODULE") => Box::new(|_| false),
        5 if args.is(2, "FILTERBY") && args.is(3, "ACLCAT") => {
            let category = String::from_utf8_lossy(args.at(4)).to_ascii_lowercase();
            Box::new(move |entry| entry.spec.acl_categories().contains(&category.as_str()))
        }
        5 if args.is(2, "FILTERBY") && args.is(3, "PATTERN") => {
            let pattern = args.at(4).to_vec();
            Box::new(move |entry| glob::matches(&pattern, entry.full_name.as_bytes(), true))
        }
        _ => return Err(CommandError::Syntax),
    };
    let mut names = Vec::new();
    for number in table.top_level() {
        for number in std::iter::once(number).chain(table.entry(number).subcommands.clone()) {
            let entry = table.entry(number);
            if keep(entry) {
                names.push(entry.full_name.as_str());
            }
        }
    }
    call.reply.array(names.len());
    for name in names {
        call.reply.bulk(name.as_bytes());
    }
    Ok(())
}

fn write_keys(call: &mut Call<'_>, args: Args<'_>, with_flags: bool) -> Outcome {
    let table = &call.server.commands;
    let argv = args.from(2);
    let number = argv.first().and_then(|name| table.find(name));
    let mut number = number.ok_or(CommandError::text("ERR Invalid command specified"))?;
    if let Some(word) = argv.get(1).filter(|_| !table.entry(number).subcommands.is_empty()) {
        let sub = table.subcommand(number, word);
        number = sub.ok_or(CommandError::text("ERR Invalid command specified"))?;
    }
    let spec: &Spec = table.entry(number).spec;
    if spec.keys.iter().all(|key| key.uses == CHANNELS) {
        return Err(CommandError::text("ERR The command has no key arguments"));
    }
    if !spec.accepts(argv.len()) {
        return Err(CommandError::text("ERR Invalid number of arguments specified for command"));
    }
    let none = spec.flags.has(NO_MANDATORY_KEYS).then(Vec::new);
    let keys = spec
        .key_positions(argv)
        .filter(|keys| !keys.is_empty())
        .or(none)
        .ok_or(CommandError::text("ERR Invalid arguments specified for command"))?;
    call.reply.array(keys.len());
    for (at, uses) in keys {
        if with_flags {
            call.reply.array(2);
        }
        call.reply.bulk(argv[at]);
        if with_flags {
            let known = std::iter::once(&uses.mode).filter(|mode| !mode.is_empty()).chain(uses.effects);
            let known: Vec<&str> = known.copied().filter(|word| !HINTS.contains(word)).collect();
            call.reply.set(known.len());
            known.iter().for_each(|word| call.reply.simple(word));
        }
    }
    Ok(())
}
