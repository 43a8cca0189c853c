//! What a server takes to load a data set, keep it, save it, and come back with it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::process::{Server, Spec, info_field};
use crate::resp::Client;

/// Between two looks at a background save.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// Behind a load a server is left alone for so long before its memory is looked at.
const SETTLE: Duration = Duration::from_millis(500);
const MB: f64 = 1e6;

/// What is measured.
#[derive(Debug, Clone)]
pub struct Plan {
    /// A file of RESP commands to load; without one the server starts with what `rdb` brings.
    pub resp: Option<PathBuf>,
    /// An RDB file to put into the folder before the first start.
    pub rdb: Option<PathBuf>,
    /// How often SAVE and the restart are repeated on each server.
    pub repeats: usize,
    /// The CPU that servers are kept on.
    pub core: Option<usize>,
}

/// Measures one server; `tell` gets each figure by name. Seconds of wall and CPU time, megabytes.
///
/// # Errors
/// What files, sockets or the server said.
pub fn measure(plan: &Plan, spec: &Spec, dir: &Path, mut tell: impl FnMut(&str, f64)) -> io::Result<()> {
    if let Some(rdb) = &plan.rdb {
        std::fs::copy(rdb, dir.join("dump.rdb"))?;
    }
    let mut server = Server::start(spec, dir, plan.core)?;
    let started = if plan.rdb.is_some() { "restart_rdb" } else { "start_empty" };
    tell(&format!("{started}_s"), server.started_in.as_secs_f64());
    tell(&format!("{started}_cpu_s"), seconds(server.usage().cpu_ns));
    let mut client = server.connect()?;
    if let Some(resp) = &plan.resp {
        pipe(&server, &mut client, resp, &mut tell)?;
    }
    std::thread::sleep(SETTLE);
    tell("keys", client.call(&["DBSIZE"])?.parse().unwrap_or(f64::NAN));
    tell("rss_mb", server.usage().rss_bytes as f64 / MB);
    if let Some(used) = info_field(&mut client, "used_memory")?.and_then(|text| text.parse::<f64>().ok()) {
        tell("used_memory_mb", used / MB);
    }
    for _ in 0..plan.repeats {
        let (cpu, begun) = (server.usage().cpu_ns, Instant::now());
        client.call(&["SAVE"])?;
        tell("save_s", begun.elapsed().as_secs_f64());
        tell("save_cpu_s", seconds(server.usage().cpu_ns - cpu));
    }
    if let Ok(file) = dir.join("dump.rdb").metadata() {
        tell("rdb_mb", file.len() as f64 / MB);
    }
    background_save(&mut client, &mut tell)?;
    if !server.is_ours() {
        return Ok(());
    }
    for _ in 0..plan.repeats {
        drop(client);
        server.kill();
        server = Server::start(spec, dir, plan.core)?;
        tell("restart_rdb_s", server.started_in.as_secs_f64());
        tell("restart_rdb_cpu_s", seconds(server.usage().cpu_ns));
        client = server.connect()?;
        tell("keys_after_rdb", client.call(&["DBSIZE"])?.parse().unwrap_or(f64::NAN));
        tell("rss_after_rdb_mb", server.usage().rss_bytes as f64 / MB);
    }
    Ok(())
}

fn pipe(
    server: &Server,
    client: &mut Client,
    resp: &Path,
    tell: &mut impl FnMut(&str, f64),
) -> io::Result<()> {
    let (cpu, begun) = (server.usage().cpu_ns, Instant::now());
    let (replies, errors, first) = client.pipe(&mut File::open(resp)?)?;
    tell("pipe_load_s", begun.elapsed().as_secs_f64());
    tell("pipe_load_cpu_s", seconds(server.usage().cpu_ns - cpu));
    tell("pipe_load_replies", replies as f64);
    tell("pipe_load_errors", errors as f64);
    if errors > 0 {
        eprintln!("{errors} commands failed, the first with: {first}");
    }
    Ok(())
}

/// BGSAVE to its end: how long the fork took, how long the whole, and what copy-on-write cost.
fn background_save(client: &mut Client, tell: &mut impl FnMut(&str, f64)) -> io::Result<()> {
    let begun = Instant::now();
    client.call(&["BGSAVE"])?;
    while info_field(client, "rdb_bgsave_in_progress")?.is_some_and(|text| text != "0") {
        std::thread::sleep(ASK_EVERY);
    }
    tell("bgsave_s", begun.elapsed().as_secs_f64());
    for (field, name, unit) in [("latest_fork_usec", "fork_ms", 1e3), ("rdb_last_cow_size", "cow_mb", MB)] {
        if let Some(value) = info_field(client, field)?.and_then(|text| text.parse::<f64>().ok()) {
            tell(name, value / unit);
        }
    }
    match info_field(client, "rdb_last_bgsave_status")? {
        Some(status) if status != "ok" => Err(io::Error::other(format!("BGSAVE ended with {status}"))),
        _ => Ok(()),
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}
