//! The binary `rdb-tools`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rdb_tools::{cmd, output};

/// Look into RDB files of every Redis and Valkey, and check them
#[derive(Debug, Parser)]
#[command(name = "rdb-tools", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Dump(cmd::dump::Dump),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        Command::Dump(args) => cmd::dump::run(args),
    };
    output::finish("rdb-tools", result)
}
