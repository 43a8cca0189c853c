//! The walk through a damaged file: what is taken, what is left out, and where it goes on.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_engine::codec::rdb::{Kind, ObjectType, Version};
use memmap2::Mmap;

use super::bytes::Bytes;
use super::out::{Form, Out};
use super::partial::part;
use super::repair::{SUM_BYTES, Verdict, verdict};
use super::report::{Lost, Report, Resumed, Why};
use super::resync::{Look, MOST_DBS, Search};
use super::unit::{Context, Fault, Key, Unit, What, read};
use super::version::{MAGIC_BYTES, best, stated};
use crate::check::{Fate, Filter, Hasher, Inspector};
use crate::output::clean;
use crate::parallel::wrapping_bytes;
use crate::progress::{Progress, Wanted};

/// What can be chosen.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The version to read the file as, whatever it says.
    pub version: Option<Version>,
    /// The checksum is not asked which byte is wrong.
    pub no_repair: bool,
    /// Records that may have been read wrongly come out, too.
    pub keep_doubtful: bool,
    /// Of damaged collections the elements in front of the damage come out.
    pub partial: bool,
    /// Where the lost bytes are put, a file for each piece.
    pub quarantine: Option<PathBuf>,
}

/// Records that are held back, because damage may show behind them.
const HELD_BACK: usize = 16;
/// The mark behind the end of a diskless transfer.
const MARK_BYTES: usize = 40;
/// No more bytes than these, and than so many times the file's, are read to look inside of records.
const LOOK_INSIDE_BYTES: u64 = 64 << 20;
const LOOK_INSIDE_TIMES: u64 = 32;
/// How much is walked through before its pages are given back.
const RELEASED_BYTES: usize = 4 << 20;
/// More suspicions of keys that are there twice than these are not followed.
const MOST_SUSPECTS: usize = 100_000;
/// No more files than these are put into quarantine.
const MOST_QUARANTINED: usize = 10_000;

/// Gets the readable keys out of a mapped file, twice: `open` gives the output when it is known what goes
/// there. Answers the report; the mapped file is only read.
///
/// # Errors
/// Of writing. A file in which nothing can be read is an empty output and a report.
pub fn salvage<W: Write>(
    map: Option<&Mmap>,
    options: &Options,
    form: Form,
    progress: &Progress,
    open: impl FnOnce() -> anyhow::Result<W>,
) -> anyhow::Result<(Report, W)> {
    let whole: &[u8] = map.map_or(&[], |map| &map[..]);
    let range = unwrapped(whole);
    let bytes = match map {
        Some(map) => Bytes::of_map(map, range),
        None => Bytes::of_slice(whole),
    };
    salvage_bytes(bytes, options, form, progress, open)
}

/// As [`salvage`], of a file that is in memory.
///
/// # Errors
/// Of writing.
pub fn salvage_slice<W: Write>(
    file: &[u8],
    options: &Options,
    form: Form,
    open: impl FnOnce() -> anyhow::Result<W>,
) -> anyhow::Result<(Report, W)> {
    let progress = Progress::new(Wanted::Never, String::new(), None);
    salvage_bytes(Bytes::of_slice(&file[unwrapped(file)]), options, form, &progress, open)
}

/// The file in the wrapping of a diskless transfer.
fn unwrapped(whole: &[u8]) -> Range<usize> {
    let start = wrapping_bytes(whole);
    // The mark stands there again, if the transfer came to its end.
    let mark = whole[..start].get(5..5 + MARK_BYTES).unwrap_or_default();
    let is_whole = start > 0 && whole.ends_with(mark) && whole.len() >= start + MARK_BYTES;
    start..if is_whole { whole.len() - MARK_BYTES } else { whole.len() }
}

fn salvage_bytes<W: Write>(
    bytes: Bytes<'_>,
    options: &Options,
    form: Form,
    progress: &Progress,
    open: impl FnOnce() -> anyhow::Result<W>,
) -> anyhow::Result<(Report, W)> {
    let sum = verdict(&bytes, !options.no_repair);
    let says = stated(&bytes);
    let has_sum = says.is_none_or(Version::has_checksum);
    let bytes = match sum {
        Verdict::Located { at, flip } => bytes.patched(at as usize, flip),
        _ => bytes,
    };
    let (version, is_guessed) = version_of(&bytes, options.version);
    let sum = if has_sum || matches!(sum, Verdict::Located { .. }) { sum } else { Verdict::None };
    let mut report = Report::new(version, is_guessed, sum);
    if let Verdict::Located { at, flip } = sum {
        report.is_repaired = true;
        for (at, bits) in (at..).zip(flip).filter(|(_, bits)| *bits != 0) {
            let is = bytes.at(at as usize).unwrap_or(0);
            report.repaired.push((at, is ^ bits, is));
        }
    }
    let hasher = Hasher::random();
    let walk = |out: Out<'_>, keys: Keys, quarantine: Option<&Path>, looks_inside: bool| {
        let walk = Walk {
            bytes: &bytes,
            options,
            context: Context { version, db: 0, templates: Arc::default() },
            look: Look::default(),
            held: VecDeque::new(),
            report: report.clone(),
            out,
            inspector: Inspector::new(hasher),
            hasher,
            keys,
            declared: Vec::new(),
            quarantine: quarantine.map(|folder| Quarantine { folder, files: 0 }),
            progress,
            released: 0,
            floor: 0,
            looks_inside,
            work: LOOK_INSIDE_BYTES + LOOK_INSIDE_TIMES * bytes.len() as u64,
            selects: VecDeque::new(),
        };
        walk.run()
    };
    // First without an output, to see which keys may be there twice; then who they are; then for good.
    let nothing = || Out::nothing(version);
    let filter = || Keys::Filtered { filter: Filter::new(bytes.len() as u64), suspects: HashSet::new() };
    let (first, mut keys) = walk(nothing(), filter(), None, false)?;
    let looks_inside = first.may_have_swallowed();
    if looks_inside {
        // Two filters at a time would be one too many.
        drop(keys);
        (_, keys) = walk(nothing(), filter(), None, true)?;
    }
    let mut again = HashSet::new();
    if let Keys::Filtered { suspects, .. } = keys
        && !suspects.is_empty()
    {
        let places = suspects.into_iter().map(|hash| (hash, Vec::new())).collect();
        let (_, keys) = walk(nothing(), Keys::Watched(places), None, looks_inside)?;
        if let Keys::Watched(places) = keys {
            again = later_ones(places);
        }
    }
    let mut to = open()?;
    let out = Out::new(version, form, &mut to)?;
    let (report, _) = walk(out, Keys::Known(again), options.quarantine.as_deref(), looks_inside)?;
    Ok((report, to))
}

/// Which version the file is read as, and whether that is not what it says.
fn version_of(bytes: &Bytes<'_>, assumed: Option<Version>) -> (Version, bool) {
    let says = stated(bytes);
    if let Some(assumed) = assumed {
        return (assumed, says != Some(assumed));
    }
    let (best, units) = best(bytes);
    match says {
        // It may be the digits that are damaged: then another reads more than it.
        Some(version) if !version.has_checksum() => {
            let context = Context { version, db: 0, templates: Arc::default() };
            let is_readable = read(bytes, &context, MAGIC_BYTES, None, 4).is_ok();
            let differs = best.has_checksum() && units > 1 && !is_readable;
            if differs { (best, true) } else { (version, false) }
        }
        Some(version) => (version, false),
        None => (best, true),
    }
}

/// Of keys that have one name in one database: where all but the first stand.
fn later_ones(places: HashMap<u64, Vec<(usize, u64, Vec<u8>)>>) -> HashSet<usize> {
    let mut later = HashSet::new();
    for places in places.into_values() {
        for (i, (at, db, name)) in places.iter().enumerate() {
            if places[..i].iter().any(|(_, other_db, other)| other_db == db && other == name) {
                later.insert(*at);
            }
        }
    }
    later
}

/// What is done about keys that are there twice.
enum Keys {
    Filtered {
        filter: Filter,
        suspects: HashSet<u64>,
    },
    Watched(HashMap<u64, Vec<(usize, u64, Vec<u8>)>>),
    /// Places of keys that have been there before.
    Known(HashSet<usize>),
}

/// A unit that was read and may turn out to be none.
struct Item {
    range: Range<usize>,
    /// `None` for what is no key.
    key: Option<Key>,
    /// What is wrong with the key's value.
    bad: Option<(Why, String)>,
    /// Whether the record's own bytes prove where it ends.
    is_proven: bool,
}

struct Quarantine<'a> {
    folder: &'a Path,
    files: usize,
}

struct Walk<'a, 'm, 'w> {
    bytes: &'a Bytes<'m>,
    options: &'a Options,
    context: Context,
    look: Look,
    held: VecDeque<Item>,
    report: Report,
    out: Out<'w>,
    inspector: Inspector,
    hasher: Hasher,
    keys: Keys,
    /// Database, keys declared, keys that came out.
    declared: Vec<(u64, Option<u64>, u64)>,
    quarantine: Option<Quarantine<'a>>,
    progress: &'a Progress,
    released: usize,
    /// Reading goes on at this place or behind it: always farther than the last time, so it comes to an end.
    floor: usize,
    /// Records may be in the bytes of others.
    looks_inside: bool,
    /// Bytes that may still be read for that.
    work: u64,
    /// The last changes of the database: where they are, and which it was before.
    selects: VecDeque<(Range<usize>, u64)>,
}

impl Walk<'_, '_, '_> {
    fn run(mut self) -> io::Result<(Report, Keys)> {
        let mut at = MAGIC_BYTES.min(self.bytes.len());
        loop {
            if at >= self.bytes.len() {
                let at = at as u64;
                let what = "the file has no end".to_owned();
                self.lose(Lost { from: at, to: at, why: Why::Cut, key: None, what, partial: None })?;
                break;
            }
            match self.unit(at) {
                Ok(None) => break,
                Ok(Some(next)) => at = next,
                Err(fault) => match self.resync(at, &fault)? {
                    Some(next) => at = next,
                    None => break,
                },
            }
            if at > self.released + RELEASED_BYTES {
                self.bytes.release(self.released..at);
                self.released = at;
                self.progress.at(at as u64);
            }
            while self.held.len() > HELD_BACK {
                self.let_go()?;
            }
        }
        while !self.held.is_empty() {
            self.let_go()?;
        }
        self.out.finish()?;
        for (db, declared, keys) in self.declared {
            self.report.has_declared |= declared.is_some();
            if let Some(declared) = declared.filter(|declared| *declared != keys) {
                self.report.declared.push((db, declared, keys));
            }
        }
        self.report.lost.sort_by_key(|lost| lost.from);
        Ok((self.report, self.keys))
    }

    /// Reads the unit at `at` and says where the next one is; `None` at the end.
    fn unit(&mut self, at: usize) -> Result<Option<usize>, Box<Fault>> {
        let looked = read(self.bytes, &self.context, at, Some(&mut self.inspector), usize::MAX);
        let (unit, bad) = match looked {
            Ok(unit) => {
                let bad = if let What::Key(_) = unit.what { self.what_is_wrong() } else { None };
                (unit, bad)
            }
            Err(fault) => match read(self.bytes, &self.context, at, None, usize::MAX) {
                Ok(unit) => (unit, Some(clean(&fault.kind.to_string()))),
                Err(fault) => return Err(fault),
            },
        };
        let Unit { what, end } = unit;
        let range = at..end;
        match what {
            What::End if end == self.bytes.len() => return Ok(None),
            What::End => {
                if self.is_end(end) {
                    self.report.trailing_bytes = (self.bytes.len() - end) as u64;
                    return Ok(None);
                }
                return Err(Box::new(Fault { kind: Kind::ObjectType(0xff), key: None, is_too_much: false }));
            }
            What::Key(key) => {
                let is_proven = self.proves_its_end(&key, end);
                if self.looks_inside
                    && (bad.is_some() || !is_proven || !self.look.fits(&key))
                    && let Some(next) = self.inside(at, end)
                {
                    let what = format!(
                        "records begin at offset {next}, inside of what was read here: its length or count is damaged"
                    );
                    let bad = Some((Why::Unreadable, what));
                    self.held.push_back(Item { range: at..next, key: Some(key), bad, is_proven: true });
                    return Ok(Some(next));
                }
                if bad.is_none() {
                    self.look.learn(&key);
                }
                let bad = bad.map(|what| (Why::BadValue, what));
                self.held.push_back(Item { range, key: Some(key), bad, is_proven });
            }
            What::SelectDb(db) if db > MOST_DBS => {
                return Err(Box::new(Fault { kind: Kind::Length(db), key: None, is_too_much: false }));
            }
            What::SelectDb(db) => {
                self.selects.push_back((range, self.context.db));
                if self.selects.len() > HELD_BACK {
                    self.selects.pop_front();
                }
                self.context.db = db;
                self.in_db(db);
            }
            What::ResizeDb(keys) => {
                let db = self.context.db;
                self.in_db(db).1 = Some(keys);
            }
            What::SlotInfo => {}
            What::Template(id, fields) => {
                Arc::make_mut(&mut self.context.templates).insert(id, Arc::new(fields));
                self.held.push_back(Item { range, key: None, bad: None, is_proven: false });
            }
            What::Other => self.held.push_back(Item { range, key: None, bad: None, is_proven: false }),
        }
        Ok(Some(end))
    }

    /// Where records begin inside of the record from `at` to `end`, if it has swallowed them.
    fn inside(&mut self, at: usize, end: usize) -> Option<usize> {
        let search = Search {
            bytes: self.bytes,
            context: &self.context,
            look: &self.look,
            path: &[at],
            is_cut: false,
        };
        search.inside(at, end, &mut self.work)
    }

    fn in_db(&mut self, db: u64) -> &mut (u64, Option<u64>, u64) {
        let at = match self.declared.iter().position(|row| row.0 == db) {
            Some(at) => at,
            None => {
                self.declared.push((db, None, 0));
                self.declared.len() - 1
            }
        };
        &mut self.declared[at]
    }

    /// What a server would not take of the value that was just looked at.
    fn what_is_wrong(&mut self) -> Option<String> {
        if self.inspector.end().is_some() {
            self.inspector.add_duplicate(None);
        }
        let problems = &mut self.inspector.problems;
        let bad = problems.iter().position(|problem| matches!(problem.fate, Fate::Refuses | Fate::Crashes));
        bad.map(|at| problems.swap_remove(at).what)
    }

    /// Whether the file ends here, and something else follows it.
    fn is_end(&self, end: usize) -> bool {
        if !self.context.version.has_checksum() {
            return false;
        }
        let mut sum = cairn_engine::base::crc64::Crc64::new();
        let mut at = 0;
        while at < end - SUM_BYTES {
            let until = (at + RELEASED_BYTES).min(end - SUM_BYTES);
            sum.update(&self.bytes.get(at..until));
            self.bytes.release(at..until);
            at = until;
        }
        *self.bytes.get(end - SUM_BYTES..end) == sum.value().to_le_bytes()
    }

    /// Whether a record would not have been read if its length or count were wrong.
    fn proves_its_end(&self, key: &Key, end: usize) -> bool {
        use ObjectType as T;
        match key.object {
            // Their own headers say how long they are, and compressed ones come out at their length.
            T::HashZipmap
            | T::ListZiplist
            | T::SetIntset
            | T::ZsetZiplist
            | T::HashZiplist
            | T::HashListpack
            | T::ZsetListpack
            | T::SetListpack
            | T::HashListpackEx => true,
            T::String => {
                // Behind type and name; names are rarely compressed, and then this proves nothing.
                let value = key.at + 1 + 1 + key.name.len();
                let has_short_name = key.name.len() < 64 && value < end;
                has_short_name && self.bytes.at(value).is_some_and(|first| first >= 0xc0)
            }
            _ => false,
        }
    }

    /// Finds out where to go on behind a fault; `None` if nowhere.
    fn resync(&mut self, at: usize, fault: &Fault) -> io::Result<Option<usize>> {
        let path: Vec<usize> = self.held.iter().map(|item| item.range.start).chain([at]).collect();
        let search = Search {
            bytes: self.bytes,
            context: &self.context,
            look: &self.look,
            path: &path,
            is_cut: self.is_cut(),
        };
        let next = search.find((path[0] + 1).max(self.floor));
        self.floor = next.map_or(self.floor, |next| next + 1);
        let next_at = next.unwrap_or(self.bytes.len());
        let what = clean(&fault.kind.to_string());
        let mut from = at;
        let mut key = fault.key.clone();
        // What was read where in truth something else begins.
        while let Some(item) = self.held.pop_back_if(|item| item.range.end > next_at) {
            from = item.range.start;
            key = item.key.clone();
            let why = if item.range.start > next_at { Why::Overlapped } else { Why::Unreadable };
            let to = if why == Why::Overlapped { item.range.end } else { next_at };
            self.lose(Lost {
                from: from as u64,
                to: to as u64,
                why,
                key: item.key.map(|key| (key.db, key.name)),
                what: format!("records begin at offset {next_at}, inside of what was read here; {what}"),
                partial: None,
            })?;
        }
        let mut head_fits = key.as_ref().is_some_and(|key| self.look.fits(key))
            || self.explains(from, next_at, |what| !matches!(what, What::SlotInfo | What::End));
        // Databases that were chosen behind that place, or by what was a record's type.
        while let Some((select, before)) = self.selects.back().cloned()
            && (select.start >= next_at
                || (select.end == from
                    && !head_fits
                    && self.explains(select.start, next_at, |what| matches!(what, What::Key(_)))))
        {
            head_fits |= select.end == from;
            self.context.db = before;
            self.selects.pop_back();
        }
        // A place before the fault, inside of a unit that is not held back, loses nothing: it is read anew.
        if from == at && next_at >= at {
            let is_cut = next.is_none() && fault.kind == Kind::UnexpectedEof && fault.key.is_some();
            let elements = self.salvage_part(at..next_at, fault.key.as_ref())?;
            self.lose(Lost {
                from: at as u64,
                to: next_at as u64,
                why: if is_cut { Why::Cut } else { Why::Unreadable },
                key: fault.key.clone().map(|key| (key.db, key.name)),
                what,
                partial: elements,
            })?;
        }
        // What comes directly before, and ended here: its own length may be what is damaged. If it does not
        // look like a record, it is the rest of the one before it.
        let mut is_certain = head_fits || self.options.keep_doubtful;
        while !is_certain
            && let Some(item) = self.held.pop_back_if(|item| item.key.is_some() && !item.is_proven)
        {
            is_certain = item.key.as_ref().is_some_and(|key| self.look.fits(key))
                || self.explains(item.range.start, next_at, |what| matches!(what, What::Key(_)));
            self.lose(Lost {
                from: item.range.start as u64,
                to: item.range.end as u64,
                why: Why::Doubtful,
                key: item.key.map(|key| (key.db, key.name)),
                what: "it ends where damage shows, and may have been longer; --keep-doubtful lets it out"
                    .to_owned(),
                partial: None,
            })?;
        }
        if let Some(next) = next {
            let db_is_uncertain = self.may_hold_select(from.min(next)..next);
            self.report.resumed.push(Resumed { at: next as u64, db_is_uncertain });
        }
        Ok(next)
    }

    /// Whether one wrong byte at the head of the unit at `at` explains that it is none, but should be one of these: then
    /// what comes before it ended where it should.
    fn explains(&self, at: usize, next: usize, is_one: fn(&What) -> bool) -> bool {
        const HEAD_BYTES: usize = 12;
        (at..next.min(at + HEAD_BYTES)).any(|place| {
            (1..=u8::MAX).any(|bits| {
                let changed = self.bytes.clone().patched(place, [bits, 0]);
                read(&changed, &self.context, at, None, 1).is_ok_and(|Unit { what, end }| {
                    end == next
                        && is_one(&what)
                        && match what {
                            What::Key(key) => self.look.fits(&key),
                            What::SelectDb(db) => db < 64,
                            What::Other => true,
                            // The sizes stand behind their database.
                            What::ResizeDb(_) => {
                                self.selects.back().is_some_and(|(select, _)| select.end == at)
                            }
                            _ => false,
                        }
                })
            })
        })
    }

    /// Whether the file's end is missing.
    fn is_cut(&self) -> bool {
        let sum = if self.context.version.has_checksum() { SUM_BYTES } else { 0 };
        self.bytes.len().checked_sub(sum + 1).is_none_or(|at| self.bytes.at(at) != Some(0xff))
    }

    /// Whether a lost piece may have changed the database.
    fn may_hold_select(&self, range: Range<usize>) -> bool {
        const LOOKED_AT: usize = 1 << 20;
        const SELECT_DB: u8 = 0xfe;
        let range = range.start..range.end.min(range.start + LOOKED_AT).min(self.bytes.len());
        self.bytes.get(range).windows(2).any(|pair| pair[0] == SELECT_DB && pair[1] < 64)
    }

    /// The oldest unit that is held back is certain now.
    fn let_go(&mut self) -> io::Result<()> {
        let Some(item) = self.held.pop_front() else { return Ok(()) };
        let Some(key) = item.key else {
            return self.out.unit(self.bytes, item.range, None, &self.context.templates);
        };
        let (from, to) = (item.range.start as u64, item.range.end as u64);
        if let Some((why, what)) = item.bad {
            let partial = self.salvage_part(item.range, Some(&key))?;
            let key = Some((key.db, key.name));
            return self.lose(Lost { from, to, why, key, what, partial });
        }
        if !self.is_new(&key) {
            let what = "the key is there before".to_owned();
            let key = Some((key.db, key.name));
            return self.lose(Lost { from, to, why: Why::Duplicate, key, what, partial: None });
        }
        self.report.keys += 1;
        self.in_db(key.db).2 += 1;
        self.out.unit(self.bytes, item.range, Some(key.db), &self.context.templates)
    }

    fn is_new(&mut self, key: &Key) -> bool {
        let hash = self.hasher.key(key.db, &key.name);
        match &mut self.keys {
            Keys::Filtered { filter, suspects } => {
                if filter.add(hash) && suspects.len() < MOST_SUSPECTS {
                    suspects.insert(hash);
                }
                true
            }
            Keys::Watched(places) => {
                if let Some(places) = places.get_mut(&hash) {
                    places.push((key.at, key.db, key.name.clone()));
                }
                true
            }
            Keys::Known(again) => !again.contains(&key.at),
        }
    }

    /// Writes the elements in front of the damage, if that is asked for, and says how many they are.
    fn salvage_part(&mut self, range: Range<usize>, key: Option<&Key>) -> io::Result<Option<u64>> {
        let Some(key) = key.filter(|_| self.options.partial) else { return Ok(None) };
        if !self.is_new(key) || !self.look.fits(key) {
            return Ok(None);
        }
        match part(self.bytes, &self.context, range, key) {
            Some(part) if self.would_be_taken(&part.record) => {
                self.out.made(&part.record, key.db, &self.context.templates)?;
                self.report.keys += 1;
                self.in_db(key.db).2 += 1;
                Ok(Some(part.elements))
            }
            _ => Ok(None),
        }
    }

    /// Whether a server takes a record that was made: a part may have a field twice, as the whole had.
    fn would_be_taken(&mut self, record: &[u8]) -> bool {
        let bytes = Bytes::of_slice(record);
        let looked = read(&bytes, &self.context, 0, Some(&mut self.inspector), usize::MAX);
        looked.is_ok() && self.what_is_wrong().is_none()
    }

    fn lose(&mut self, lost: Lost) -> io::Result<()> {
        if let Some(quarantine) = &mut self.quarantine
            && quarantine.files < MOST_QUARANTINED
        {
            quarantine.files += 1;
            let name = format!("{:012}-{}.bin", lost.from, lost.why.name());
            let mut file = std::fs::File::create_new(quarantine.folder.join(name))?;
            let (mut at, to) = (lost.from as usize, (lost.to as usize).min(self.bytes.len()));
            while at < to {
                let until = (at + RELEASED_BYTES).min(to);
                file.write_all(&self.bytes.get(at..until))?;
                at = until;
            }
        }
        self.report.lose(lost);
        Ok(())
    }
}
