//! HELP subcommands and the answer to an unknown one: derived from the specs.

use crate::codec::resp::Reply;

use super::{Args, Command, CommandError};

/// The error for a container called with a word that none of its subcommands has.
pub fn unknown_subcommand(args: Args<'_>) -> CommandError {
    let container = String::from_utf8_lossy(args.at(0)).to_ascii_uppercase();
    let word = args.get(1).map(|word| String::from_utf8_lossy(word).into_owned()).unwrap_or_default();
    CommandError::Text(format!("ERR unknown subcommand '{word}'. Try {container} HELP.").into())
}

/// The error for a subcommand whose arguments cannot be understood.
pub fn bad_subcommand_arguments(args: Args<'_>) -> CommandError {
    let container = String::from_utf8_lossy(args.at(0)).to_ascii_uppercase();
    let word = args.get(1).map(|word| String::from_utf8_lossy(word).into_owned()).unwrap_or_default();
    CommandError::Text(
        format!("ERR unknown subcommand or wrong number of arguments for '{word}'. Try {container} HELP.")
            .into(),
    )
}

/// Writes a container's HELP: each subcommand with its arguments, and below it what it does.
pub fn write<F>(reply: &mut Reply, container: &Command<F>) {
    let name = container.spec.name.to_ascii_uppercase();
    let mut lines = vec![format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")];
    for sub in container.subcommands.iter().filter(|sub| sub.spec.name != "help") {
        let word = sub.spec.name.to_ascii_uppercase();
        let syntax = sub.spec.syntax;
        lines.push(if syntax.is_empty() { word } else { format!("{word} {syntax}") });
        lines.push(format!("    {}", sub.spec.summary));
    }
    lines.extend(["HELP".to_owned(), "    Print this help.".to_owned()]);
    reply.array(lines.len());
    for line in &lines {
        reply.simple(line);
    }
}
