//! What a shell and `man` want to know of a tool: completions and manual pages, made from its flag table.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, Command};
use clap_complete::Shell;

use crate::output::{exit, stdout};

/// Print the completions of a shell
///
/// For bash: TOOL completions bash > ~/.local/share/bash-completion/completions/TOOL. For zsh: into a file
/// _TOOL in a folder of $fpath. For fish: ~/.config/fish/completions/TOOL.fish.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Print a manual page, or write all of them to a folder
///
/// Pages are roff: TOOL man check | man -l - shows one, TOOL man --dir /usr/local/share/man/man1 installs all.
#[derive(Debug, Args)]
pub struct Man {
    /// The subcommand whose page to print; without one the page of the tool
    pub subcommand: Option<String>,

    /// Write the pages of the tool and of all subcommands to this folder, TOOL.1 and TOOL-SUBCOMMAND.1
    #[arg(long, value_name = "DIR", conflicts_with = "subcommand")]
    pub dir: Option<PathBuf>,
}

/// Prints completions for `tool`.
///
/// # Errors
/// What keeps it from writing.
pub fn completions(args: &Completions, mut tool: Command) -> anyhow::Result<u8> {
    let name = tool.get_name().to_owned();
    // The generator writes to memory, as it panics where a pipe is closed.
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut tool, name, &mut text);
    print(&text)
}

/// Prints or writes manual pages of `tool`.
///
/// # Errors
/// A subcommand that there is not, and what keeps it from writing.
pub fn man(args: &Man, mut tool: Command) -> anyhow::Result<u8> {
    tool.build();
    if let Some(dir) = &args.dir {
        let subcommands = tool.get_subcommands().filter(|command| command.get_name() != "help");
        for (name, page) in std::iter::once(page(&tool)).chain(subcommands.map(page)) {
            let path = dir.join(format!("{name}.1"));
            fs::write(&path, page?).with_context(|| path.display().to_string())?;
        }
        return Ok(exit::CLEAN);
    }
    let command = match &args.subcommand {
        None => &tool,
        Some(name) => match tool.find_subcommand(name) {
            Some(command) => command,
            None => bail!("there is no subcommand {name}; see --help"),
        },
    };
    print(&page(command).1?)
}

/// The name of a command's page, and the page.
fn page(command: &Command) -> (String, io::Result<Vec<u8>>) {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(command.clone()).render(&mut page);
    (name, rendered.map(|()| page))
}

fn print(text: &[u8]) -> anyhow::Result<u8> {
    let mut out = stdout();
    out.write_all(text).and_then(|()| out.flush()).context("writing")?;
    Ok(exit::CLEAN)
}
