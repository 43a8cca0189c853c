//! `cairn-server`: a server for Redis data on the Cairn engine.

mod aof;
mod aof_switch;
mod backup;
mod batch;
mod blocked;
mod children;
mod cli;
mod client_memory;
mod clients;
mod command;
mod config;
mod cron;
mod data;
mod dispatch;
mod expiry;
mod folder;
mod gather;
mod invalidate;
mod loading;
mod log;
mod memory;
mod migrations;
mod monitor;
mod net;
mod observe;
mod oom;
mod outbox;
mod output;
mod pause;
mod payload;
mod publish;
mod pubsub;
mod queue;
mod script;
mod server;
mod settings;
mod shutdown;
mod start;
mod stats;
mod supervise;
mod tracking;
mod version;
mod waiting;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use cairn_engine::os::jemalloc::{self, Jemalloc};

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    match cli::parse(&args) {
        cli::Invocation::Version => {
            println!(
                "Cairn server v={} redis={} malloc=jemalloc-{} bits={}",
                version::CAIRN_VERSION,
                version::REDIS_VERSION,
                jemalloc::version(),
                usize::BITS
            );
            ExitCode::SUCCESS
        }
        cli::Invocation::Help => {
            print!("{}", cli::HELP);
            ExitCode::SUCCESS
        }
        cli::Invocation::Serve { file, from_stdin, options } => start::serve(file, from_stdin, &options),
    }
}
