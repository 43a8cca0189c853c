//! Drives one or more RESP servers in turn and compares what they cost. See benches/README.md.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use cairn_benches::process::{Server, Spec};
use cairn_benches::report::Report;
use cairn_benches::{ops, persist};
use clap::{Args, Parser, Subcommand};

/// Drives RESP servers, several in one run, and says what they cost.
///
/// A server is NAME=COMMAND, with {port} and {dir} in the command, or NAME=HOST:PORT if it runs already.
#[derive(Parser)]
#[command(name = "cairn-load", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Loading a data set, resident memory, SAVE, BGSAVE, restart from the RDB file.
    Persist {
        /// A file of RESP commands, sent through one connection.
        #[arg(long, value_name = "FILE")]
        resp: Option<PathBuf>,
        /// An RDB file that servers start with.
        #[arg(long, value_name = "FILE")]
        rdb: Option<PathBuf>,
        /// Times that SAVE and restart are done on a server in each round.
        #[arg(long, default_value_t = 1)]
        repeats: usize,
        #[command(flatten)]
        common: Common,
    },
    /// Pipelined SET and GET on random keys.
    Ops {
        /// Kinds and pipeline depths.
        #[arg(long, value_delimiter = ',', default_value = "set_p1,get_p1,set_p16,get_p16,set_p64,get_p64")]
        only: Vec<ops::Scenario>,
        /// Connections.
        #[arg(long, default_value_t = 50)]
        clients: usize,
        /// Keys.
        #[arg(long, default_value_t = 1_000_000)]
        keys: u64,
        /// Bytes of a value.
        #[arg(long, default_value_t = 100)]
        value_bytes: usize,
        /// Seconds that each measurement takes.
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Args)]
struct Common {
    /// Times that everything is done, the servers taking turns.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The CPU that started servers are kept on (by taskset); run this program on another.
    #[arg(long, value_name = "CPU")]
    core: Option<usize>,
    /// Writes all values as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// NAME=COMMAND or NAME=HOST:PORT; the first is what the others are compared with.
    #[arg(required = true, value_name = "NAME=SERVER")]
    servers: Vec<Spec>,
}

impl Common {
    fn report(&self) -> Report {
        Report::new(self.servers.iter().map(|spec| spec.name.clone()).collect())
    }

    fn finish(&self, report: &Report) -> io::Result<()> {
        print!("{}", report.table());
        match &self.json {
            Some(path) => std::fs::write(path, serde_json::to_string_pretty(&report.json())?),
            None => Ok(()),
        }
    }
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().what {
        What::Persist { resp, rdb, repeats, common } => {
            let plan = persist::Plan { resp, rdb, repeats, core: common.core };
            run_persist(&plan, &common)
        }
        What::Ops { only, clients, keys, value_bytes, seconds, common } => {
            let time = Duration::from_secs_f64(seconds.clamp(0.01, 3600.0));
            let plan = ops::Plan { clients: clients.max(1), keys: keys.max(1), value_bytes, time };
            run_ops(&plan, &only, &common)
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cairn-load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_persist(plan: &persist::Plan, common: &Common) -> io::Result<()> {
    let mut report = common.report();
    for round in 0..common.rounds {
        for (index, spec) in common.servers.iter().enumerate() {
            eprintln!("round {} of {}: {}", round + 1, common.rounds, spec.name);
            let dir = tempfile::Builder::new().prefix("cairn-load.").tempdir()?;
            persist::measure(plan, spec, dir.path(), |row, value| report.add(row, index, value))?;
        }
    }
    common.finish(&report)
}

fn run_ops(plan: &ops::Plan, scenarios: &[ops::Scenario], common: &Common) -> io::Result<()> {
    let mut report = common.report();
    let mut running = Vec::new();
    for spec in &common.servers {
        let dir = tempfile::Builder::new().prefix("cairn-load.").tempdir()?;
        let server = Server::start(spec, dir.path(), common.core)?;
        ops::fill(&server, plan)?;
        running.push((server, dir));
    }
    for scenario in scenarios {
        for _ in 0..common.rounds {
            for (index, (server, _)) in running.iter().enumerate() {
                let figures = ops::run(server, *scenario, plan)?;
                report.add(&format!("{scenario} ops/s"), index, figures.ops_per_s);
                report.add(&format!("{scenario} server ns/op"), index, figures.server_ns_per_op);
                report.add(&format!("{scenario} batch p50 us"), index, figures.p50_us);
                report.add(&format!("{scenario} batch p99 us"), index, figures.p99_us);
            }
        }
        eprintln!("{scenario}: done");
    }
    common.finish(&report)
}
