//! The binary `rdb-tools`; called as `redis-check-rdb` or `valkey-check-rdb` it is that tool.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use rdb_tools::{cmd, dropin, output};

/// Check, read, compare, convert and repair RDB files of every Redis and Valkey
#[derive(Debug, Parser)]
#[command(name = "rdb-tools", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Info(cmd::info::Info),
    Check(cmd::check::Check),
    Stats(Box<cmd::stats::Stats>),
    Dump(Box<cmd::dump::Dump>),
    Get(cmd::get::Get),
    Index(cmd::index::Index),
    Diff(cmd::diff::Diff),
    Digest(cmd::digest::Digest),
    Convert(Box<cmd::convert::Convert>),
    Merge(cmd::merge::Merge),
    Split(cmd::split::Split),
    Sort(cmd::sort::Sort),
    Salvage(cmd::salvage::Salvage),
    Completions(cmd::shell::Completions),
    Man(cmd::shell::Man),
}

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let argv0 = args.next().unwrap_or_default().to_string_lossy().into_owned();
    if dropin::basename(&argv0).contains("check-rdb") {
        let args: Vec<_> = args.collect();
        return output::finish(&argv0, dropin::check_rdb::main(&argv0, &args));
    }
    let cli = Cli::parse();
    let result = match &cli.command {
        Command::Info(args) => cmd::info::run(args),
        Command::Check(args) => cmd::check::run(args),
        Command::Stats(args) => cmd::stats::run(args),
        Command::Dump(args) => cmd::dump::run(args),
        Command::Get(args) => cmd::get::run(args),
        Command::Index(args) => cmd::index::run(args),
        Command::Diff(args) => cmd::diff::run(args),
        Command::Digest(args) => cmd::digest::run(args),
        Command::Convert(args) => cmd::convert::run(args),
        Command::Merge(args) => cmd::merge::run(args),
        Command::Split(args) => cmd::split::run(args),
        Command::Sort(args) => cmd::sort::run(args),
        Command::Salvage(args) => cmd::salvage::run(args),
        Command::Completions(args) => cmd::shell::completions(args, Cli::command()),
        Command::Man(args) => cmd::shell::man(args, Cli::command()),
    };
    output::finish("rdb-tools", result)
}
