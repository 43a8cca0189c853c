//! INFO: the process itself, and features that have one state only.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cairn_engine::os::memory;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

use super::{field, line};
use crate::server::Server;
use crate::version::{CAIRN_VERSION, REDIS_VERSION};

/// Half a minute's worth of Redis's LRU clock: seconds in 24 bits.
const LRU_CLOCK_BITS: u32 = 24;

pub(super) fn server(server: &Server, out: &mut String) {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let uptime = server.started.elapsed().as_secs();
    let seconds = u64::try_from(server.now.secs()).unwrap_or(0);
    let system = nix::sys::utsname::uname();
    let os = system.map_or_else(
        |_| std::env::consts::OS.to_owned(),
        |u| {
            let part = |s: &std::ffi::OsStr| s.to_string_lossy().into_owned();
            format!("{} {} {}", part(u.sysname()), part(u.release()), part(u.machine()))
        },
    );
    field(out, "redis_version", REDIS_VERSION);
    field(out, "server_name", "cairn");
    field(out, "cairn_version", CAIRN_VERSION);
    field(out, "redis_git_sha1", "00000000");
    field(out, "redis_git_dirty", 0);
    field(out, "redis_build_id", "0");
    field(out, "redis_mode", "standalone");
    field(out, "server_mode", "standalone");
    field(out, "os", os);
    field(out, "arch_bits", usize::BITS);
    field(out, "monotonic_clock", "POSIX clock_gettime");
    field(out, "multiplexing_api", "epoll");
    // What a server says that another compiler has made.
    field(out, "gcc_version", "0.0.0");
    field(out, "process_id", std::process::id());
    field(out, "process_supervised", server.supervisor.name());
    field(out, "run_id", &server.run_id);
    field(out, "tcp_port", server.config.port);
    field(out, "server_time_usec", clock.as_micros());
    field(out, "uptime_in_seconds", uptime);
    field(out, "uptime_in_days", uptime / 86_400);
    field(out, "hz", server.config.hz);
    field(out, "configured_hz", server.config.hz);
    field(out, "clients_hz", server.config.hz);
    field(out, "lru_clock", seconds & ((1 << LRU_CLOCK_BITS) - 1));
    let executable = std::env::current_exe().unwrap_or_default();
    field(out, "executable", executable.display());
    let file = server.config_file.clone().unwrap_or_default();
    field(out, "config_file", file.display());
    field(out, "io_threads_active", 0);
    field(out, "availability_zone", String::from_utf8_lossy(&server.config.availability_zone));
    listeners(server, out);
}

fn listeners(server: &Server, out: &mut String) {
    let config = &server.config;
    let mut number = 0;
    if config.port != 0 {
        let binds: String = config.bind.iter().map(|address| format!(",bind={address}")).collect();
        line(out, format_args!("listener{number}:name=tcp{binds},port={}", config.port));
        number += 1;
    }
    if !config.unixsocket.is_empty() {
        let path = String::from_utf8_lossy(&config.unixsocket);
        line(out, format_args!("listener{number}:name=unix,bind={path}"));
    }
}

pub(super) fn replication(server: &Server, out: &mut String) {
    field(out, "role", "master");
    field(out, "connected_slaves", 0);
    if server.lacks_replicas() {
        field(out, "min_slaves_good_slaves", 0);
    }
    field(out, "replicas_waiting_psync", 0);
    field(out, "master_failover_state", "no-failover");
    field(out, "master_replid", &server.run_id);
    field(out, "master_replid2", "0".repeat(server.run_id.len()));
    field(out, "master_repl_offset", 0);
    field(out, "second_repl_offset", -1);
    field(out, "repl_backlog_active", 0);
    field(out, "repl_backlog_size", String::from_utf8_lossy(server.config.ignored("repl-backlog-size")));
    field(out, "repl_backlog_first_byte_offset", 0);
    field(out, "repl_backlog_histlen", 0);
}

pub(super) fn cpu(server: &Server, out: &mut String) {
    let of = |who, name: &str, out: &mut String| {
        let Ok(usage) = getrusage(who) else { return };
        let seconds = |time: TimeVal| {
            let whole = Duration::from_secs(u64::try_from(time.tv_sec()).unwrap_or(0));
            (whole + Duration::from_micros(u64::try_from(time.tv_usec()).unwrap_or(0))).as_secs_f64()
        };
        field(out, &format!("used_cpu_sys{name}"), format_args!("{:.6}", seconds(usage.system_time())));
        field(out, &format!("used_cpu_user{name}"), format_args!("{:.6}", seconds(usage.user_time())));
    };
    of(UsageWho::RUSAGE_SELF, "", out);
    of(UsageWho::RUSAGE_CHILDREN, "_children", out);
    of(UsageWho::RUSAGE_THREAD, "_main_thread", out);
    let active = server.stats.turn_us as f64 / 1_000_000.0;
    field(out, "used_active_time_main_thread", format_args!("{active:.6}"));
}

/// No certificates.
pub(super) fn tls(_: &Server, out: &mut String) {
    for whose in ["server", "client", "ca"] {
        field(out, &format!("tls_{whose}_cert_serial"), "none");
        field(out, &format!("tls_{whose}_cert_expires_in_seconds"), 0);
    }
}

pub(super) fn cluster(_: &Server, out: &mut String) {
    field(out, "cluster_enabled", 0);
}

/// Bytes of memory that the machine has.
pub(crate) fn machine_memory() -> u64 {
    let pages = nix::unistd::sysconf(nix::unistd::SysconfVar::_PHYS_PAGES).ok().flatten();
    pages.and_then(|n| u64::try_from(n).ok()).unwrap_or(0).saturating_mul(memory::page_bytes())
}
