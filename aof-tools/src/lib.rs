//! All of `aof-tools` but its `main`: so that it can be reached by who tries to break it.
//!
//! Its library is `rdb_tools`; what is here are subcommands, and [`probe`] for fuzzing.

mod blocks;
mod check;
mod cmd;
mod dropin;
mod feed;
mod goal;
mod log;
pub mod probe;
mod repair;
mod resync;
mod scan;
mod set;
mod time;
mod transaction;
mod vocabulary;
mod walk;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use rdb_tools::cmd::shell;
use rdb_tools::dropin::basename;
use rdb_tools::output;

/// Look into append only files of every Redis and Valkey, and check them
#[derive(Debug, Parser)]
#[command(name = "aof-tools", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Info(cmd::info::Info),
    Check(check::Check),
    Compact(cmd::compact::Compact),
    Convert(cmd::convert::Convert),
    Diff(Box<rdb_tools::cmd::diff::Diff>),
    Log(Box<cmd::log::LogCommand>),
    Replay(Box<cmd::replay::Replay>),
    Repair(cmd::repair::Repair),
    Completions(shell::Completions),
    Man(shell::Man),
}

/// Runs the program with its arguments; called as `redis-check-aof` or `valkey-check-aof` it is that tool.
#[must_use]
pub fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let argv0 = args.next().unwrap_or_default().to_string_lossy().into_owned();
    if basename(&argv0).contains("check-aof") {
        let args: Vec<_> = args.collect();
        return output::finish(&argv0, dropin::main(&argv0, &args));
    }
    output::set_program("aof-tools");
    let cli = Cli::parse();
    let result = match &cli.command {
        Command::Info(args) => cmd::info::run(args),
        Command::Check(args) => check::run(args),
        Command::Compact(args) => cmd::compact::run(args),
        Command::Convert(args) => cmd::convert::run(args),
        Command::Diff(args) => rdb_tools::cmd::diff::run(args),
        Command::Log(args) => cmd::log::run(args),
        Command::Replay(args) => cmd::replay::run(args),
        Command::Repair(args) => cmd::repair::run(args),
        Command::Completions(args) => shell::completions(args, Cli::command()),
        Command::Man(args) => shell::man(args, Cli::command()),
    };
    output::finish("aof-tools", result)
}
