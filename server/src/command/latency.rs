//! LATENCY: slow events, and how long commands take.
//!
//! Behaviour: valkey src/latency.c. The words of DOCTOR are our own.

use std::fmt::Write;

use cairn_engine::codec::resp::Reply;
use cairn_engine::command::spec::{ADMIN, Flags, Group, LOADING, NOSCRIPT, STALE, Spec};
use cairn_engine::command::{Args, CommandError, Outcome, help};

use super::{Call, SessionCommand, SessionFn};
use crate::observe::histogram::Histogram;
use crate::server::Server;

/// Every command of this file.
pub(super) const COMMANDS: &[SessionCommand] = &[LATENCY];

const LATENCY: SessionCommand = SessionCommand::new(
    Spec::new("latency", Group::Server, "2.8.13", -2, "")
        .complexity("Depends on the subcommand")
        .summary("Slow events, and how long commands take."),
    |_, args| Err(help::unknown_subcommand(args)),
)
.with(&[
    sub("doctor", "2.8.13", 2, "", OPERATOR, "Says in words what was slow, and what may help.", |call, _| {
        let report = diagnose(call.server);
        call.reply.verbatim(report.as_bytes());
        Ok(())
    }),
    sub("graph", "2.8.13", 3, "event", OPERATOR, "Draws the samples of an event.", graph),
    sub("help", "2.8.13", 2, "", LOADING.or(STALE), "Prints this help.", |call, _| {
        help::write(call.reply, &LATENCY);
        Ok(())
    }),
    sub(
        "histogram",
        "7.0.0",
        -2,
        "[ command ]...",
        OPERATOR,
        "Answers how many calls of commands took how long.",
        histogram,
    )
    .complexity("O(N) in the number of commands that have run"),
    sub("history", "2.8.13", 3, "event", OPERATOR, "Answers the samples of an event.", |call, args| {
        let series = call.server.observer.latency.series(args.at(2));
        let samples = series.map_or(&[][..], |series| &series.samples);
        call.reply.array(samples.len());
        for sample in samples {
            call.reply.array(2);
            call.reply.int(sample.time);
            call.reply.uint(sample.ms);
        }
        Ok(())
    }),
    sub("latest", "2.8.13", 2, "", OPERATOR, "Answers the last sample of each event.", |call, _| {
        let events = call.server.observer.latency.events();
        call.reply.array(events.len());
        for series in events {
            call.reply.array(6);
            call.reply.bulk(series.event.as_bytes());
            call.reply.int(series.samples.last().map_or(0, |sample| sample.time));
            call.reply.uint(series.samples.last().map_or(0, |sample| sample.ms));
            call.reply.uint(series.max_ms);
            call.reply.uint(series.sum_ms);
            call.reply.uint(series.count);
        }
        Ok(())
    }),
    sub(
        "reset",
        "2.8.13",
        -2,
        "[ event ]...",
        OPERATOR,
        "Forgets events, all of them by default.",
        |call, args| {
            let monitor = &mut call.server.observer.latency;
            let forgotten = match args.len() {
                2 => monitor.reset(None),
                _ => args.from(2).iter().map(|event| monitor.reset(Some(event))).sum(),
            };
            call.reply.int(forgotten as i64);
            Ok(())
        },
    ),
]);

const OPERATOR: Flags = ADMIN.or(NOSCRIPT).or(LOADING).or(STALE);

const fn sub(
    name: &'static str,
    since: &'static str,
    arity: i32,
    syntax: &'static str,
    flags: Flags,
    summary: &'static str,
    run: SessionFn,
) -> SessionCommand {
    let spec = Spec::new(name, Group::Server, since, arity, syntax).parent("latency");
    SessionCommand::new(spec.flags(flags).summary(summary), run)
}

fn graph(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    let now = call.server.now.secs();
    let Some(series) = call.server.observer.latency.series(args.at(2)) else {
        return Err(CommandError::naming("ERR No samples available for event '", args.at(2), "'"));
    };
    call.reply.verbatim(series.graph(now).as_bytes());
    Ok(())
}

fn histogram(call: &mut Call<'_>, args: Args<'_>) -> Outcome {
    let server = &*call.server;
    let table = &server.commands;
    let with_subcommands =
        |number: u16| std::iter::once(number).chain(table.entry(number).subcommands.clone());
    let numbers: Vec<u16> = match args.len() {
        2 => table.top_level().flat_map(with_subcommands).collect(),
        _ => args
            .from(2)
            .iter()
            .filter_map(|name| table.by_full_name(name))
            .flat_map(with_subcommands)
            .collect(),
    };
    let found: Vec<(u16, &Histogram)> =
        numbers.iter().filter_map(|number| Some((*number, server.observer.histogram(*number)?))).collect();
    call.reply.map(found.len());
    for (number, histogram) in found {
        call.reply.bulk(table.entry(number).full_name.as_bytes());
        write_histogram(call.reply, histogram);
    }
    Ok(())
}

fn write_histogram(reply: &mut Reply, histogram: &Histogram) {
    reply.map(2);
    reply.bulk(b"calls");
    reply.uint(histogram.total());
    reply.bulk(b"histogram_usec");
    let steps = histogram.distribution();
    reply.map(steps.len());
    for (micros, calls) in steps {
        reply.uint(micros);
        reply.uint(calls);
    }
}

/// What the monitor has seen, in words.
fn diagnose(server: &Server) -> String {
    let monitor = &server.observer.latency;
    if monitor.events().is_empty() {
        return if monitor.threshold_ms == 0 {
            "The latency monitor is off. CONFIG SET latency-monitor-threshold <milliseconds> has it note every event \
             that takes so long.\n"
                .to_owned()
        } else {
            format!("Nothing has taken {} ms or more.\n", monitor.threshold_ms)
        };
    }
    let now = server.now.secs();
    let mut out = "These took longer than they should:\n\n".to_owned();
    for (i, series) in monitor.events().iter().enumerate() {
        let analysis = series.analyze(now);
        let period = analysis.period_s as f64 / series.samples.len().max(1) as f64;
        // Writing into memory does not fail.
        let _ = writeln!(
            out,
            "{}. {}: {} spikes (average {} ms, mean deviation {} ms, one in {period:.2} seconds). The longest ever \
             took {} ms.",
            i + 1,
            series.event,
            series.samples.len(),
            analysis.mean_ms,
            analysis.deviation_ms,
            series.max_ms
        );
    }
    let has = |event: &[u8]| monitor.series(event).is_some();
    let mut advice = Vec::new();
    if has(b"command") {
        advice.push("SLOWLOG GET shows which commands were slow, if slowlog-log-slower-than is low enough.");
        advice
            .push("Large values take long to read, to write and to remove: make several small ones of one.");
    }
    if has(b"fast-command") {
        advice.push(
            "Commands that do little took long: the process did not get the processor. Look at the load of the \
             machine and of its neighbours.",
        );
    }
    if has(b"fork") {
        advice.push("Forks took long: they do with much memory on a virtual machine that is slow at it.");
    }
    if has(b"expire-cycle") {
        advice.push(
            "Many keys expire at once: spread their times, or let the periodic steps run more often (hz).",
        );
    }
    if has(b"eviction-cycle") || has(b"eviction-del") {
        advice.push("Evicting keys took long: memory has to be made in large portions, or of large values.");
    }
    if !advice.is_empty() {
        out.push_str("\nWhat may help:\n\n");
        for line in advice {
            let _ = writeln!(out, "- {line}");
        }
    }
    out
}
