//! The binary `aof-tools`; called as `redis-check-aof` or `valkey-check-aof` it is that tool.

mod dropin;

use std::process::ExitCode;

use rdb_tools::dropin::basename;
use rdb_tools::output;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let argv0 = args.next().unwrap_or_default().to_string_lossy().into_owned();
    if basename(&argv0).contains("check-aof") {
        let args: Vec<_> = args.collect();
        return output::finish(&argv0, dropin::main(&argv0, &args));
    }
    ExitCode::from(output::exit::TROUBLE)
}
