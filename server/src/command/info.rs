//! INFO: sections of `name:value` lines, fields and order as Redis has them.
//!
//! A field that Redis has and that would be a guess here is left out, or is the number that a server
//! without the feature shows. Behaviour: valkey src/server.c `genValkeyInfoString`.

mod memory;
mod persistence;
mod process;
mod traffic;

use std::fmt::Write;

use cairn_engine::command::spec::{Group, LOADING, STALE, Spec};
use cairn_engine::command::{Args, Outcome};

use super::{Call, SessionCommand};
use crate::server::Server;

pub(crate) use process::machine_memory;

/// Every command of this file.
pub(super) const COMMANDS: &[SessionCommand] = &[INFO];

const INFO: SessionCommand = SessionCommand::new(
    Spec::new("info", Group::Server, "1.0.0", -1, "[ section ]...")
        .flags(LOADING.or(STALE))
        .categories(&["dangerous"])
        .summary("Answers what the server knows about itself."),
    info,
);

/// Who gets to see a section.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// Everybody.
    Always,
    /// Those who ask for all, or for it.
    InAll,
    /// Those who ask for it.
    ByName,
}

/// A section: its name, who gets to see it, and what writes its lines.
struct Section {
    name: &'static str,
    title: &'static str,
    shown: Shown,
    write: fn(&Server, &mut String),
}

const SECTIONS: &[Section] = &[
    Section { name: "server", title: "Server", shown: Shown::Always, write: process::server },
    Section { name: "tls", title: "TLS", shown: Shown::InAll, write: process::tls },
    Section { name: "clients", title: "Clients", shown: Shown::Always, write: traffic::clients },
    Section { name: "memory", title: "Memory", shown: Shown::Always, write: memory::memory },
    Section {
        name: "persistence",
        title: "Persistence",
        shown: Shown::Always,
        write: persistence::persistence,
    },
    Section { name: "stats", title: "Stats", shown: Shown::Always, write: traffic::stats },
    Section { name: "replication", title: "Replication", shown: Shown::Always, write: process::replication },
    Section { name: "cpu", title: "CPU", shown: Shown::Always, write: process::cpu },
    Section { name: "modules", title: "Modules", shown: Shown::Always, write: |_, _| {} },
    Section {
        name: "commandstats",
        title: "Commandstats",
        shown: Shown::InAll,
        write: traffic::commandstats,
    },
    Section { name: "errorstats", title: "Errorstats", shown: Shown::Always, write: traffic::errorstats },
    Section {
        name: "latencystats",
        title: "Latencystats",
        shown: Shown::InAll,
        write: traffic::latencystats,
    },
    Section { name: "cluster", title: "Cluster", shown: Shown::Always, write: process::cluster },
    Section { name: "cluster_info", title: "Cluster Info", shown: Shown::InAll, write: |_, _| {} },
    Section {
        name: "scriptingengines",
        title: "Scripting Engines",
        shown: Shown::InAll,
        write: memory::scripting_engines,
    },
    Section { name: "keyspace", title: "Keyspace", shown: Shown::Always, write: persistence::keyspace },
    Section { name: "debug", title: "Debug", shown: Shown::ByName, write: traffic::debug },
];

fn info(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    let text = write(call.server, args.from(1));
    call.reply.verbatim(text.as_bytes());
    Ok(())
}

fn write(server: &Server, wanted: &[&[u8]]) -> String {
    let is_wanted = |section: &Section| {
        let named = |word: &[u8]| {
            let is_list = section.name == "modules" && word.eq_ignore_ascii_case(b"module_list");
            is_list || word.eq_ignore_ascii_case(section.name.as_bytes())
        };
        let is_in_all = section.shown != Shown::ByName;
        let all = |word: &[u8]| {
            is_in_all && (word.eq_ignore_ascii_case(b"all") || word.eq_ignore_ascii_case(b"everything"))
        };
        let is_default = section.shown == Shown::Always;
        let default = |word: &[u8]| is_default && word.eq_ignore_ascii_case(b"default");
        match wanted {
            [] => is_default,
            words => words.iter().any(|word| named(word) || all(word) || default(word)),
        }
    };
    let mut out = String::new();
    for section in SECTIONS.iter().filter(|section| is_wanted(section)) {
        if !out.is_empty() {
            out.push_str("\r\n");
        }
        line(&mut out, format_args!("# {}", section.title));
        (section.write)(server, &mut out);
    }
    out
}

/// Writes one line.
fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing into memory does not fail.
    let _ = write!(out, "{text}\r\n");
}

/// Writes one field.
fn field(out: &mut String, name: &str, value: impl std::fmt::Display) {
    line(out, format_args!("{name}:{value}"));
}

/// Bytes as people read them: `1.50M`.
fn human(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    match UNITS.iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => format!("{:.2}{unit}", bytes as f64 / *size as f64),
        None => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn bytes_for_people() {
        assert_eq!(human(0), "0B");
        assert_eq!(human(1023), "1023B");
        assert_eq!(human(1024), "1.00K");
        assert_eq!(human(916_232), "894.76K");
        assert_eq!(human(25_276_502_016), "23.54G");
    }
}
