//! HELP subcommands and the answer to an unknown one: derived from the specs.

use crate::codec::resp::Reply;

use super::grammar::{self, Arg, Kind};
use super::{Args, Command, CommandError};

/// The error for a container called with a word that none of its subcommands has.
pub fn unknown_subcommand(args: Args<'_>) -> CommandError {
    let word = args.get(1).unwrap_or_default();
    CommandError::naming("ERR unknown subcommand '", word, &format!("'. Try {} HELP.", container(args)))
}

/// The error for a subcommand whose arguments cannot be understood.
pub fn bad_subcommand_arguments(args: Args<'_>) -> CommandError {
    let word = args.get(1).unwrap_or_default();
    let end = format!("'. Try {} HELP.", container(args));
    CommandError::naming("ERR unknown subcommand or wrong number of arguments for '", word, &end)
}

fn container(args: Args<'_>) -> String {
    String::from_utf8_lossy(args.at(0)).to_ascii_uppercase()
}

/// Writes a container's HELP: each subcommand with its arguments, and below it what it does.
pub fn write<F>(reply: &mut Reply, container: &Command<F>) {
    let name = container.spec.name.to_ascii_uppercase();
    let mut lines = vec![format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")];
    for sub in container.subcommands.iter().filter(|sub| sub.spec.name != "help") {
        let word = sub.spec.name.to_ascii_uppercase();
        let args = grammar::parse(sub.spec.syntax).unwrap_or_default();
        lines.push(format!("{word} {}", usage(&args)).trim_end().to_owned());
        lines.push(format!("    {}", sub.spec.summary));
    }
    lines.extend(["HELP".to_owned(), "    Print this help.".to_owned()]);
    reply.array(lines.len());
    for line in &lines {
        reply.simple(line);
    }
}

/// Arguments as people are shown them: `<name>` for what they choose, words as they are, `(A|B)` for one of
/// these, `[...]` for what may be left out.
fn usage(args: &[Arg]) -> String {
    args.iter().map(argument).collect::<Vec<_>>().join(" ")
}

fn argument(arg: &Arg) -> String {
    let value = match &arg.kind {
        Kind::PureToken => String::new(),
        Kind::Value(_) => format!("<{}>", arg.shown()),
        Kind::OneOf(of) => {
            let all: Vec<String> = of.iter().map(argument).collect();
            let is_plain = arg.optional && !arg.multiple && arg.token.is_none();
            if is_plain { all.join("|") } else { format!("({})", all.join("|")) }
        }
        Kind::Block(of) => usage(of),
    };
    let one = match arg.token {
        Some(token) => format!("{token} {value}").trim_end().to_owned(),
        None if value.is_empty() => arg.name.clone(),
        None => value,
    };
    // What comes again is without the token, unless that comes again, too.
    let again = match &arg.kind {
        Kind::Value(_) if !arg.repeats_token => format!("<{}>", arg.shown()),
        _ => one.clone(),
    };
    match (arg.optional, arg.multiple) {
        (false, false) => one,
        (true, false) => format!("[{one}]"),
        (true, true) if one == again => format!("[{one} ...]"),
        (true, true) => format!("[{one} [{again} ...]]"),
        (false, true) => format!("{one} [{again} ...]"),
    }
}

#[cfg(test)]
mod tests {
    use super::{grammar, usage};

    #[test]
    fn arguments_are_shown_as_people_write_them() {
        let shown = |syntax| usage(&grammar::parse(syntax).expect("a grammar"));
        assert_eq!(
            shown("key group < id | $ > [ ENTRIESREAD entries-read:int ]"),
            "<key> <group> (<id>|$) [ENTRIESREAD <entries-read>]"
        );
        assert_eq!(shown("pattern:pattern..."), "<pattern> [<pattern> ...]");
        assert_eq!(shown("timeout:int [ WRITE | ALL ]"), "<timeout> [WRITE|ALL]");
        assert_eq!(shown("[ command-name ]..."), "[<command-name> ...]");
        assert_eq!(shown("[ TYPE: < NORMAL | PUBSUB > ]"), "[TYPE (NORMAL|PUBSUB)]");
        assert_eq!(shown("[ ID client-id~id:int... ]"), "[ID <id> [<id> ...]]");
        assert_eq!(shown("condition@7.0.0=[ NX | XX ]"), "[NX|XX]");
        assert_eq!(shown("< parameter value >..."), "<parameter> <value> [<parameter> <value> ...]");
    }
}
