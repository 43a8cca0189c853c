//! `rdb-tools diff`: what is different between two data sets, whatever they are stored in.

use std::ffi::OsString;
use std::io::{self, Write};

use anyhow::Context;
use clap::Args;

use super::Reading;
use crate::canon::{Keyed, Rules};
use crate::diff::Counting;
use crate::diff::details::{Opaque, Pairs, Wanted, collect};
use crate::diff::join::{Change, Class, Counts, ExpiryRules, join};
use crate::diff::patch::{Form, Patch};
use crate::diff::report::{Differing, Json, Report, Text};
use crate::diff::spool::Twice;
use crate::diff::survey::{How, Survey};
use crate::drive::Stop;
use crate::output::{exit, program, stdout};
use crate::parallel::Jobs;
use crate::select::Selection;
use crate::source::{self, Source};
use crate::spill::{Sorter, Spill};

/// Show what is different between two data sets
///
/// By content: the order of keys, encodings, versions and dialects do not matter. Each side is read once to find
/// keys that are not the same, and once more for what is in these. What is sorted on the way goes to temporary
/// files when it is more than --memory.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 if both are the same, 1 if they are not, 2 for trouble, also if one of \
                        them is damaged."
)]
pub struct Diff {
    /// What was: an RDB file, or what else keys can be read from; - for standard input
    pub a: OsString,

    /// What is
    pub b: OsString,

    /// Print one JSON object a line for each key, nothing shortened, and one with the counts
    #[arg(long, group = "form")]
    pub json: bool,

    /// Print the commands that turn A into B, as a server takes them (redis-cli --pipe)
    #[arg(long, group = "form")]
    pub resp: bool,

    /// Print these commands for people
    #[arg(long, group = "form")]
    pub commands: bool,

    /// Print nothing
    #[arg(short, long, group = "form")]
    pub quiet: bool,

    /// Name keys alone, and not what is in them
    #[arg(long, conflicts_with_all = ["resp", "commands", "quiet"])]
    pub keys_only: bool,

    /// Show so many differences of a key; 0 for all
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub limit: u64,

    /// Show so many bytes around the first difference of long values
    #[arg(long, value_name = "BYTES", default_value_t = 40)]
    pub context: usize,

    /// Expiries that are no further apart count as the same
    #[arg(long, value_name = "MS", default_value_t = 0, conflicts_with = "ignore_ttl")]
    pub ttl_tolerance: u64,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub counting: Counting,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub selection: Selection,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub jobs: Jobs,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub spill: Spill,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: Reading,
}

/// Why a diff came to no end: what is wrong with an input has been told.
enum End {
    Told,
    Trouble(anyhow::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Trouble(error.into())
    }
}

/// Tells what is wrong with an input.
fn told(stop: Stop<anyhow::Error>, name: &OsString) -> End {
    match stop.report(program(), name) {
        Ok(_) => End::Told,
        Err(error) => End::Trouble(error),
    }
}

/// Runs the subcommand.
///
/// # Errors
/// What keeps it from reading or writing.
pub fn run(args: &Diff) -> anyhow::Result<u8> {
    match compare(args) {
        Ok(counts) => Ok(if counts.is_different() { exit::FINDINGS } else { exit::CLEAN }),
        Err(End::Told) => Ok(exit::TROUBLE),
        Err(End::Trouble(error)) => Err(error),
    }
}

fn open(args: &Diff, name: &OsString) -> Result<Twice, End> {
    let source = Source::open(name, args.reading).map_err(End::Trouble)?;
    Twice::new(source, args.reading, &args.spill).map_err(|stop| told(stop, name))
}

fn compare(args: &Diff) -> Result<Counts, End> {
    if args.a == "-" && args.b == "-" {
        return Err(End::Trouble(anyhow::anyhow!("standard input can be read only once")));
    }
    let expiry = ExpiryRules { ignore: args.counting.ignore_ttl, tolerance_ms: args.ttl_tolerance };
    let differing = Differing { expiry, ignore_order: args.counting.ignore_order };
    let rules = args.counting.rules();
    let (mut a, mut b) = (open(args, &args.a)?, open(args, &args.b)?);
    let chosen = args.selection.compile().map_err(End::Trouble)?;
    let how = How { chosen: &chosen, rules, keyed: Keyed::new(), jobs: args.jobs };
    let third = args.spill.part(3);
    let survey = |source: &mut Twice, name| Survey::of(source, &how, &third).map_err(|stop| told(stop, name));
    let (mut survey_a, mut survey_b) = (survey(&mut a, &args.a)?, survey(&mut b, &args.b)?);
    let mut counts = Counts { a: survey_a.keys, b: survey_b.keys, ..Counts::default() };

    let form = if args.resp { Form::Resp } else { Form::Readable };
    let mut report: Box<dyn Report> = match (args.json, args.resp || args.commands, args.quiet) {
        (true, ..) => Box::new(Json::new(stdout(), differing)),
        (_, true, _) => {
            let is_for_old = a.target().is_some_and(|target| target.hash_with_field_ttl().is_none());
            Box::new(Patch::new(stdout(), form, differing).for_old(is_for_old))
        }
        (.., true) => Box::new(Text::new(io::sink(), differing, Some(0), 0)),
        _ if args.keys_only => Box::new(Text::new(stdout(), differing, None, 0)),
        _ => {
            let limit = if args.limit == 0 { u64::MAX } else { args.limit };
            Box::new(Text::new(stdout(), differing, Some(limit), args.context))
        }
    };
    let is_patch = args.resp || args.commands;
    let plan = Plan { is_patch, is_shallow: (args.keys_only || args.quiet) && args.ttl_tolerance == 0 };

    let small = args.spill.part(9);
    let mut later = Sorter::new(&small);
    let (mut wanted_a, mut wanted_b) = (Wanted::new(&small), Wanted::new(&small));
    let mut record = Vec::new();
    let mut none = Pairs::none()?;
    counts.same = join(&mut survey_a, &mut survey_b, &expiry, |change: Change| {
        if plan.is_shallow {
            counts.add(change.class);
            if args.keys_only {
                report.change(&change, 0, &mut none)?;
            }
            return Ok::<_, End>(!args.quiet);
        }
        let rank = later.len();
        if let Some(facts) = change.a.as_ref().filter(|_| plan.wants_a(&change)) {
            wanted_a.push(facts.at, rank)?;
        }
        if let Some(facts) = change.b.as_ref().filter(|_| plan.wants_b(&change)) {
            wanted_b.push(facts.at, rank)?;
        }
        record.clear();
        change.push(&mut record);
        later.push(&rank.to_be_bytes(), &record)?;
        Ok(true)
    })?;
    warn_of_doubles(args, survey_a.twice, survey_b.twice).map_err(End::Trouble)?;
    drop((survey_a, survey_b));

    // Where a member is set anyway, it is set to the very zero.
    let rules = Rules { keep_zeros: is_patch, ..rules };
    let opaque = if is_patch { Opaque::AsBytes } else { Opaque::AsParts };
    let parts_a = collect(&mut a, wanted_a, rules, Opaque::AsParts, &third).map_err(|s| told(s, &args.a))?;
    let parts_b = collect(&mut b, wanted_b, rules, opaque, &third).map_err(|s| told(s, &args.b))?;
    let mut pairs = Pairs::new(parts_a, parts_b);
    let mut later = later.finish()?;
    let mut rank = 0;
    while let Some(change) = later.current().and_then(|record| Change::read(record.payload)) {
        match report.change(&change, rank, &mut pairs)? {
            Some(class) => counts.add(class),
            None => counts.same += 1,
        }
        pairs.skip(rank)?;
        rank += 1;
        later.advance()?;
    }
    report.end(&counts)?;
    Ok(counts)
}

/// Of which keys parts are wanted.
struct Plan {
    is_patch: bool,
    is_shallow: bool,
}

impl Plan {
    fn wants_a(&self, change: &Change) -> bool {
        matches!(change.class, Class::Changed | Class::Unsure)
    }

    fn wants_b(&self, change: &Change) -> bool {
        self.wants_a(change) || (self.is_patch && change.class == Class::Added)
    }
}

fn warn_of_doubles(args: &Diff, a: u64, b: u64) -> anyhow::Result<()> {
    for (name, twice) in [(&args.a, a), (&args.b, b)] {
        if twice > 0 {
            let name = source::shown(name);
            writeln!(
                io::stderr(),
                "{}: {name}: {twice} keys are there twice; the last one counts",
                program()
            )
            .context("writing")?;
        }
    }
    Ok(())
}
