//! What a crash may leave: which parts of what was not synced survive, between any two operations.
//!
//! A file's unsynced changes may be there or not; up to any byte, with zeros from any byte on, or by
//! sectors, each new or old. A folder's unsynced names may be there in any subset. Files and folders
//! are independent of each other. Where there are more combinations than the dose allows, it takes some.

use std::fmt;
use std::ops::Range;

use cairn_engine::base::rng::Rng;

use super::model::{Change, DirNode, FileNode, Model, Names, Node, NodeId, Note, Op, written};
use super::{FAULTS, Plan, Simulated};

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;
/// Up to so many sectors or names, all subsets are tried; of more, some.
const ALL_SUBSETS_OF: usize = 4;
/// Subsets and cuts that are tried where not all are.
const SOME: usize = 4;

/// How many images a test looks at, and which.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dose {
    pub(crate) images: usize,
    pub(crate) seed: u64,
}

impl Dose {
    /// So many images, unless `CAIRN_IMAGES` says another number; chosen by `CAIRN_SEED`. Both are
    /// printed, so that a failure can be repeated.
    pub(crate) fn of(images: usize) -> Dose {
        let from = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        let images = from("CAIRN_IMAGES").and_then(|n| usize::try_from(n).ok()).unwrap_or(images).max(1);
        let dose = Dose { images, seed: from("CAIRN_SEED").unwrap_or(1) };
        println!("CAIRN_IMAGES={} CAIRN_SEED={}", dose.images, dose.seed);
        dose
    }
}

/// What has crashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The process: what it has written is there.
    Kill,
    /// The machine: what it has synced is there.
    PowerCut,
}

/// A crash and what survived it.
#[derive(Debug, Clone)]
pub(crate) struct Crash {
    pub(crate) kind: Kind,
    /// Operations that were done.
    pub(crate) after: usize,
    /// What would have come next.
    pub(crate) next: String,
    /// What the workload has noted before.
    pub(crate) notes: Vec<Note>,
    survived: String,
}

impl Crash {
    /// The last number that was noted of `what`.
    pub(crate) fn last(&self, what: &str) -> Option<u64> {
        self.notes.iter().rev().find(|note| note.what == what).map(|note| note.number)
    }
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Crash { kind, after, next, notes, survived } = self;
        write!(f, "{kind:?} after {after} operations, before {next}; survived: {survived}; noted: ")?;
        let few = &notes[notes.len().saturating_sub(4)..];
        few.iter().try_for_each(|note| write!(f, "{} {}, ", note.what, note.number))
    }
}

/// Says what happened if the check panics.
struct Tells<'a>(&'a dyn fmt::Display);

impl Drop for Tells<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.0);
        }
    }
}

/// One node in one image: in words, and what it is.
struct Survival {
    words: String,
    node: Node,
}

/// The ways in which one node may survive.
struct Choices {
    id: NodeId,
    of: Vec<Survival>,
}

/// Calls `check` with disks as crashes at any moment since `begin` may leave them. How many there were.
pub(crate) fn crash_everywhere(
    dose: &Dose,
    disk: &Simulated,
    mut check: impl FnMut(&Crash, Simulated),
) -> usize {
    let (mut model, log) = {
        let state = disk.state();
        (state.base.clone(), state.log.clone())
    };
    let mut rng = Rng::new(dose.seed);
    let points = log.iter().filter(|op| is_a_point(op)).count() + 1;
    let each = dose.images.div_ceil(points);
    // Of more points than images every so many is looked at, another set for each seed.
    let stride = points.div_ceil(dose.images).max(1);
    let offset = rng.index(stride);
    let (mut notes, mut point, mut looked_at) = (Vec::new(), 0, 0);
    for (after, op) in log.iter().map(Some).chain([None]).enumerate() {
        if op.is_none_or(is_a_point) {
            if point % stride == offset {
                let next = op.map_or("the end".to_owned(), brief);
                let about = Crash { kind: Kind::Kill, after, next, notes, survived: String::new() };
                looked_at += crash_at(&model, op, about.clone(), each, &mut rng, &mut check);
                notes = about.notes;
            }
            point += 1;
        }
        match op {
            Some(Op::Note(note)) => notes.push(*note),
            Some(op) => {
                model.apply(op).expect("it was done before");
            }
            None => {}
        }
    }
    looked_at
}

/// What changes nothing on the disk is no moment to crash at: the check after it is the stricter one.
fn is_a_point(op: &Op) -> bool {
    !matches!(op, Op::Note(_) | Op::Clock(_))
}

fn brief(op: &Op) -> String {
    match op {
        Op::Write { file, at, bytes } => format!("Write {{ file: {file}, at: {at}, {} bytes }}", bytes.len()),
        other => format!("{other:?}"),
    }
}

fn crash_at(
    model: &Model,
    next: Option<&Op>,
    mut about: Crash,
    most: usize,
    rng: &mut Rng,
    check: &mut impl FnMut(&Crash, Simulated),
) -> usize {
    let mut look = |kind, survived, image| {
        (about.kind, about.survived) = (kind, survived);
        let tells = Tells(&about);
        check(&about, Simulated::of(image));
        drop(tells);
    };
    let kills = kills(model, next, rng);
    let choices = choices(model, rng);
    let combinations = choices.iter().try_fold(1usize, |n, dim| n.checked_mul(dim.of.len()));
    let is_all = combinations.is_some_and(|n| n.saturating_add(kills.len()) <= most);
    if is_all {
        let mut looked_at = 0;
        for (words, image) in kills {
            look(Kind::Kill, words, image);
            looked_at += 1;
        }
        for number in 0..combinations.unwrap_or(0) {
            let mut rest = number;
            let (words, image) = combine(model, &choices, |choices| {
                let at = rest % choices.of.len();
                rest /= choices.of.len();
                at
            });
            look(Kind::PowerCut, words, image);
            looked_at += 1;
        }
        return looked_at;
    }
    for _ in 0..most {
        // Every fourth or so is a kill, though there are far more ways to lose power.
        if rng.index(4) == 0 {
            let (words, image) = kills[rng.index(kills.len())].clone();
            look(Kind::Kill, words, image);
        } else {
            let (words, image) = combine(model, &choices, |choices| rng.index(choices.of.len()));
            look(Kind::PowerCut, words, image);
        }
    }
    most
}

/// What the end of the process leaves: everything, and a part of the write that it was at.
fn kills(model: &Model, next: Option<&Op>, rng: &mut Rng) -> Vec<(String, Model)> {
    let mut kills = vec![("everything".to_owned(), rested(model))];
    if let Some(Op::Write { file, at, bytes }) = next {
        let mut cuts = vec![1, bytes.len() / 2, bytes.len().saturating_sub(1), rng.index(bytes.len() + 1)];
        cuts.retain(|n| (1..bytes.len()).contains(n));
        cuts.sort_unstable();
        cuts.dedup();
        for n in cuts {
            let mut model = model.clone();
            let part = Op::Write { file: *file, at: *at, bytes: bytes[..n].into() };
            model.apply(&part).expect("the whole was written");
            kills.push((format!("everything, and {n} bytes of the write"), rested(&model)));
        }
    }
    kills
}

/// The disk as it is, with nothing left to lose: what a later power cut does to it is not the question.
fn rested(model: &Model) -> Model {
    let mut model = model.clone();
    for node in &mut model.nodes {
        match node {
            Node::File(file) => *node = file_with(file.current.clone(), file),
            Node::Dir(dir) => *node = dir_with(dir.current.clone()),
        }
    }
    model
}

fn file_with(content: Vec<u8>, old: &FileNode) -> Node {
    Node::File(FileNode {
        durable: content.clone(),
        current: content,
        modified: old.modified,
        ..FileNode::default()
    })
}

fn dir_with(names: Names) -> Node {
    Node::Dir(DirNode { durable: names.clone(), current: names, changes: Vec::new() })
}

/// The disk with one way to survive for each node.
fn combine(model: &Model, choices: &[Choices], mut choose: impl FnMut(&Choices) -> usize) -> (String, Model) {
    let mut image = rested(model);
    let mut words = Vec::new();
    for choices in choices {
        let chosen = &choices.of[choose(choices)];
        image.nodes[choices.id] = chosen.node.clone();
        words.push(format!("{} {}", choices.id, chosen.words));
    }
    (words.join(", "), image)
}

/// The nodes that may survive in more than one way, and these ways.
fn choices(model: &Model, rng: &mut Rng) -> Vec<Choices> {
    let mut all = Vec::new();
    for (id, node) in model.nodes.iter().enumerate() {
        let of = match node {
            Node::File(file) if is_sure(file) => continue,
            Node::Dir(dir) if dir.changes.is_empty() => continue,
            Node::File(file) => file_survivals(file, rng),
            Node::Dir(dir) => dir_survivals(dir, rng),
        };
        all.push(Choices { id, of });
    }
    all
}

fn is_sure(file: &FileNode) -> bool {
    file.changes.is_empty() && file.doubtful.is_empty() && file.durable_doubtful.is_empty()
}

fn file_survivals(file: &FileNode, rng: &mut Rng) -> Vec<Survival> {
    let mut contents: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |words: String, content: Vec<u8>| {
        for (doubt, content) in doubts(file, content) {
            if contents.iter().all(|(_, other)| *other != content) {
                contents.push((format!("{words}{doubt}"), content));
            }
        }
    };
    add("kept".into(), file.current.clone());
    add("dropped".into(), file.durable.clone());
    prefixes(file, rng, &mut add);
    let written = written(&file.changes);
    zeroed(file, &written, rng, &mut add);
    torn(file, &written, rng, &mut add);
    contents.into_iter().map(|(words, content)| Survival { words, node: file_with(content, file) }).collect()
}

/// The content as it may be without what a failed sync had lost.
fn doubts(file: &FileNode, content: Vec<u8>) -> Vec<(&'static str, Vec<u8>)> {
    let mut all = vec![("", content)];
    let doubtful = || file.doubtful.iter().chain(&file.durable_doubtful);
    let Some(first) = doubtful().map(|range| range.start).min() else { return all };
    let mut zeroed = all[0].1.clone();
    for range in doubtful() {
        let end = range.end.min(zeroed.len());
        zeroed[range.start.min(end)..end].fill(0);
    }
    let reaches_end = doubtful().any(|range| range.end >= zeroed.len());
    if reaches_end && first < zeroed.len() {
        all.push((" without the doubtful end", all[0].1[..first].to_vec()));
    }
    all.push((" with zeros for the doubtful", zeroed));
    all
}

/// The changes up to some byte.
fn prefixes(file: &FileNode, rng: &mut Rng, add: &mut impl FnMut(String, Vec<u8>)) {
    let count = file.changes.len();
    // Of many changes the last few and some others: contents add up otherwise.
    let first = count.saturating_sub(SOME);
    let mut wanted: Vec<usize> = (first..count).collect();
    wanted.extend((0..SOME).map(|_| rng.index(count.max(1))).filter(|at| *at < first));
    for at in wanted {
        let mut content = file.durable.clone();
        file.changes[..at].iter().for_each(|change| change.apply(&mut content, usize::MAX));
        if let Change::Write { at: offset, bytes } = &file.changes[at] {
            let to_sector = (SECTOR_BYTES - offset % SECTOR_BYTES).min(bytes.len());
            for n in [1, to_sector, bytes.len().saturating_sub(1), rng.index(bytes.len() + 1)] {
                let mut content = content.clone();
                file.changes[at].apply(&mut content, n);
                add(format!("up to change {at}, byte {n}"), content);
            }
        }
        add(format!("up to change {at}"), content);
    }
}

/// The new size, with zeros from some byte on.
fn zeroed(file: &FileNode, written: &[Range<usize>], rng: &mut Rng, add: &mut impl FnMut(String, Vec<u8>)) {
    let Some(first) = written.iter().map(|range| range.start).min() else { return };
    let len = written.iter().map(ExactSizeIterator::len).sum::<usize>();
    for skipped in [0, 1, len.saturating_sub(1), rng.index(len.max(1))] {
        let from = first + skipped;
        let mut content = file.current.clone();
        for range in written {
            content[range.start.max(from).min(range.end)..range.end].fill(0);
        }
        add(format!("zeros from byte {from}"), content);
    }
}

/// Each sector new or old, at the new size, and at the old one if that was larger.
fn torn(file: &FileNode, written: &[Range<usize>], rng: &mut Rng, add: &mut impl FnMut(String, Vec<u8>)) {
    let mut sectors: Vec<usize> = written
        .iter()
        .filter(|range| !range.is_empty())
        .flat_map(|range| range.start / SECTOR_BYTES..=(range.end - 1) / SECTOR_BYTES)
        .collect();
    sectors.sort_unstable();
    sectors.dedup();
    let mut sizes = vec![file.current.len()];
    sizes.extend(Some(file.durable.len()).filter(|size| *size > file.current.len()));
    for size in sizes {
        for mask in subsets(sectors.len(), rng) {
            let mut content = file.durable.clone();
            content.resize(size, 0);
            let new = sectors.iter().zip(&mask).filter(|(_, is_new)| **is_new).map(|(sector, _)| *sector);
            for sector in new {
                let end = ((sector + 1) * SECTOR_BYTES).min(file.current.len());
                let range = sector * SECTOR_BYTES..end;
                content[range.clone()].copy_from_slice(&file.current[range]);
            }
            let new = mask.iter().filter(|is_new| **is_new).count();
            add(format!("{new} of {} sectors, {size} bytes", sectors.len()), content);
        }
    }
}

fn dir_survivals(dir: &DirNode, rng: &mut Rng) -> Vec<Survival> {
    let mut all: Vec<(String, Names)> = Vec::new();
    for mask in subsets(dir.changes.len(), rng) {
        let mut names = dir.durable.clone();
        let kept = dir.changes.iter().zip(&mask).filter(|(_, is_kept)| **is_kept);
        kept.for_each(|(change, _)| change.apply(&mut names));
        if all.iter().all(|(_, other)| *other != names) {
            all.push((format!("has {:?}", names.keys().collect::<Vec<_>>()), names));
        }
    }
    all.into_iter().map(|(words, names)| Survival { words, node: dir_with(names) }).collect()
}

/// All subsets of few things; of many none, all, some beginnings, and some by chance.
fn subsets(len: usize, rng: &mut Rng) -> Vec<Vec<bool>> {
    if len <= ALL_SUBSETS_OF {
        return (0..1usize << len).map(|bits| (0..len).map(|i| bits >> i & 1 == 1).collect()).collect();
    }
    let mut all = vec![vec![true; len], vec![false; len]];
    for _ in 0..SOME {
        let kept = rng.index(len);
        all.push((0..len).map(|i| i < kept).collect());
        all.push((0..len).map(|_| rng.index(2) == 1).collect());
    }
    all
}

/// Runs `run` on a new disk of `make` once for each call that fails, in each way of `FAULTS`, once and
/// for good; fewer if the dose is smaller. `run` must also do without any failure. How many runs.
pub(crate) fn fail_everywhere(
    dose: &Dose,
    make: impl Fn() -> Simulated,
    mut run: impl FnMut(&Simulated, &Plan),
) -> usize {
    let never = Plan { after: usize::MAX, fault: FAULTS[0], lasts: false, only: None };
    let disk = make();
    disk.fail(Some(never));
    run(&disk, &never);
    let calls = disk.calls();
    let mut plans: Vec<Plan> = Vec::new();
    for after in 0..calls {
        for fault in FAULTS {
            plans.extend([false, true].map(|lasts| Plan { after, fault: *fault, lasts, only: None }));
        }
    }
    let mut rng = Rng::new(dose.seed);
    while plans.len() > dose.images {
        plans.swap_remove(rng.index(plans.len()));
    }
    for plan in &plans {
        let disk = make();
        disk.fail(Some(*plan));
        let tells = Tells(plan);
        run(&disk, plan);
        drop(tells);
        assert!(disk.faults_hit() > 0, "{plan}: the run made no such call");
    }
    plans.len()
}
