//! Reports as text and as JSON.

use std::io::{self, Write};

use rdb_tools::cmd::check::{push_report, summary};
use rdb_tools::json;
use rdb_tools::output::Shown;

use super::log::{FileReport, LogReport};
use crate::time;

/// Writes a line for each finding, one for each file, and one for the log.
pub(super) fn text(out: &mut dyn Write, report: &LogReport) -> io::Result<()> {
    for finding in &report.findings {
        write!(out, "{}", Shown(&finding.file))?;
        if let Some(at) = finding.at {
            write!(out, ": offset {at}")?;
        }
        writeln!(out, ": {} [{}]", finding.what, finding.fate)?;
    }
    if report.unlisted > 0 {
        writeln!(out, "{}: {} more faults are not listed", report.path.display(), report.unlisted)?;
    }
    for file in &report.files {
        writeln!(out, "{}: {}", Shown(&file.name), file_line(file))?;
        for (name, special) in &file.special {
            let (count, at) = (special.count, special.first_at);
            let name = Shown(name);
            writeln!(
                out,
                "{}: note: {name}, first at offset {at}, {count} in all: only servers that have this command load the file",
                Shown(&file.name)
            )?;
        }
        if file.databases > USUAL_DATABASES {
            writeln!(out, "{}: note: needs 'databases {}'", Shown(&file.name), file.databases)?;
        }
    }
    if report.replayed == Some(false) {
        writeln!(out, "{}: its commands were not run: it is damaged", report.path.display())?;
    }
    let verdict = match report.findings.len() as u64 + report.unlisted {
        0 => "ok".to_owned(),
        1 => "1 fault".to_owned(),
        n => format!("{n} faults"),
    };
    writeln!(out, "{}: {verdict}", report.path.display())
}

/// Databases that servers have unless told otherwise.
const USUAL_DATABASES: u64 = 16;

fn file_line(file: &FileReport) -> String {
    let mut line = format!("{}, {} bytes", file.role, file.bytes);
    if let Some(rdb) = &file.rdb {
        line.push_str(&format!(", {}", summary(rdb)));
    }
    if file.rdb.is_none() || file.commands > 0 {
        line.push_str(&format!(", {} command{}", file.commands, if file.commands == 1 { "" } else { "s" }));
    }
    if file.blocks > 0 {
        line.push_str(&format!(
            " in {} checked block{}",
            file.blocks,
            if file.blocks == 1 { "" } else { "s" }
        ));
    }
    if file.reserve > 0 {
        line.push_str(&format!(", {} bytes of reserve", file.reserve));
    }
    if let Some((first, last)) = file.times {
        line.push_str(&format!(", from {} to {}", time::shown(first), time::shown(last)));
    }
    if file.valid_up_to < file.bytes {
        line.push_str(&format!(", good up to offset {}", file.valid_up_to));
    }
    line
}

/// Writes the whole report as one object in one line.
pub(super) fn json(out: &mut dyn Write, report: &LogReport) -> io::Result<()> {
    let mut line = b"{".to_vec();
    json::push_name(&mut line, "log");
    json::push_text(&mut line, &report.path.to_string_lossy());
    json::push_name(&mut line, "ok");
    line.extend_from_slice(report.is_ok().to_string().as_bytes());
    if let Some(replayed) = report.replayed {
        json::push_name(&mut line, "replayed");
        line.extend_from_slice(replayed.to_string().as_bytes());
    }
    json::push_name(&mut line, "files");
    json::push_array(&mut line, &report.files, |line, file| {
        line.push(b'{');
        json::push_name(line, "file");
        json::push_bytes(line, &file.name);
        json::push_name(line, "role");
        json::push_text(line, file.role);
        for (name, value) in [
            ("bytes", file.bytes),
            ("commands", file.commands),
            ("blocks", file.blocks),
            ("reserve", file.reserve),
            ("databases", file.databases),
            ("faults", file.found),
            ("valid_up_to", file.valid_up_to),
        ] {
            json::push_name(line, name);
            json::push_u64(line, value);
        }
        if let Some((first, last)) = file.times {
            for (name, time) in [("first_time", first), ("last_time", last)] {
                json::push_name(line, name);
                json::push_i64(line, time);
            }
        }
        if !file.special.is_empty() {
            json::push_name(line, "special");
            json::push_array(line, &file.special, |line, (name, special)| {
                line.push(b'{');
                json::push_name(line, "command");
                json::push_bytes(line, name);
                json::push_name(line, "count");
                json::push_u64(line, special.count);
                json::push_name(line, "first_offset");
                json::push_u64(line, special.first_at);
                line.push(b'}');
            });
        }
        if let Some(rdb) = &file.rdb {
            json::push_name(line, "rdb");
            line.push(b'{');
            push_report(line, rdb);
            line.push(b'}');
        }
        line.push(b'}');
    });
    json::push_name(&mut line, "findings");
    json::push_array(&mut line, &report.findings, |line, finding| {
        line.push(b'{');
        json::push_name(line, "file");
        json::push_bytes(line, &finding.file);
        if let Some(at) = finding.at {
            json::push_name(line, "offset");
            json::push_u64(line, at);
        }
        if let Some(at) = finding.resumed_at {
            json::push_name(line, "resumed_at");
            json::push_u64(line, at);
        }
        for (name, value) in
            [("kind", finding.kind), ("what", &finding.what), ("server", finding.fate.name())]
        {
            json::push_name(line, name);
            json::push_text(line, value);
        }
        line.push(b'}');
    });
    line.extend_from_slice(b"}\n");
    out.write_all(&line)
}
