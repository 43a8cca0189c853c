//! Which files make a log up when the manifest is lost or damaged: by their names and numbers, what they hold,
//! and when they were written.
//!
//! A server that rewrites its log begins increment n, then makes a base of what was there before it, and only
//! then removes what the base replaces. So after a crash files may be there that the base has already in it,
//! and running their commands again would count them twice. What cannot be told for sure is refused, and said.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::UNIX_EPOCH;

use cairn_engine::codec::aof::block;
use cairn_engine::codec::aof::manifest::{Entry, Manifest, Marks};
use rdb_tools::cmd::{Reading, info};
use rdb_tools::output::Shown;

use crate::set::{Member, PartName, Role, headless_members};

/// What somebody has decided who knows more.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    /// The base's name.
    pub(crate) base: Option<Vec<u8>>,
    /// The number of the first increment behind it.
    pub(crate) first_incr: Option<i64>,
    /// What the log's files are called.
    pub(crate) stem: Option<Vec<u8>>,
    /// Files that are not there are done without.
    pub(crate) without_missing: bool,
}

/// The files of a log without a manifest.
#[derive(Debug, Default)]
pub(crate) struct Rebuilt {
    /// What all names start with.
    pub(crate) stem: Vec<u8>,
    pub(crate) members: Vec<Member>,
    /// What was decided, and why.
    pub(crate) notes: Vec<String>,
    /// What cannot be decided here, and what would.
    pub(crate) doubts: Vec<String>,
}

/// Finds the files of a log in `folder` among `parts`.
pub(crate) fn rebuild(folder: &Path, parts: &[Vec<u8>], told: &Told, reading: Reading) -> Rebuilt {
    let mut rebuilt = Rebuilt::default();
    let stems: std::collections::BTreeSet<&[u8]> =
        parts.iter().filter_map(|name| PartName::parse(name)).map(|part| part.stem).collect();
    let stem = match (&told.stem, stems.len()) {
        (Some(stem), _) => stem.clone(),
        (None, 1) => stems.iter().next().map(|stem| stem.to_vec()).unwrap_or_default(),
        (None, _) => {
            let all: Vec<String> = stems.iter().map(|stem| Shown(stem).to_string()).collect();
            rebuilt.doubts.push(format!("files of several logs are here: say --stem {}", all.join(" or ")));
            return rebuilt;
        }
    };
    let of_stem: Vec<Vec<u8>> = parts
        .iter()
        .filter(|name| PartName::parse(name).is_some_and(|part| part.stem == stem))
        .cloned()
        .collect();
    rebuilt.stem = stem;
    let all = headless_members(folder, &of_stem);
    let bases: Vec<&Member> = all.iter().filter(|member| member.role == Role::Base).collect();
    let base = match (&told.base, &bases[..]) {
        (Some(name), _) => {
            let found = bases.iter().find(|base| base.name == *name).copied();
            if found.is_none() {
                rebuilt.doubts.push(format!("--base {}: there is no such base here", Shown(name)));
            }
            found
        }
        (None, []) => None,
        (None, [base]) => Some(*base),
        (None, several) => {
            let names: Vec<String> = several.iter().map(|base| Shown(&base.name).to_string()).collect();
            rebuilt.doubts.push(format!(
                "there are {} bases, and nothing tells which one counts: say --base {} (the older one counts if a \
                 rewrite did not end; then all increments from its own on must be here)",
                names.len(),
                names.join(" or --base ")
            ));
            None
        }
    };
    let incrs: Vec<&Member> = all.iter().filter(|member| member.role == Role::Incr).collect();
    rebuilt.choose(base, &incrs, told, reading);
    rebuilt
}

impl Rebuilt {
    fn choose(&mut self, base: Option<&Member>, incrs: &[&Member], told: &Told, reading: Reading) {
        let first = told.first_incr.unwrap_or_else(|| base.map_or(0, |base| base.seq));
        let mut chosen: Vec<&Member> = Vec::new();
        for incr in incrs {
            if incr.seq < first {
                // Each rewrite begins an increment before its base, so numbers of increments never fall behind.
                self.notes.push(format!(
                    "{}: left out: it is older than the base, which has its commands already",
                    Shown(&incr.name)
                ));
            } else {
                chosen.push(incr);
            }
        }
        for pair in chosen.windows(2) {
            if pair[1].seq != pair[0].seq + 1 {
                let what = format!("increments {} to {} are not there", pair[0].seq + 1, pair[1].seq - 1);
                self.doubt_or_note(
                    told.without_missing,
                    what,
                    "say --without-missing to do without their commands",
                );
            }
        }
        if base.is_none() && self.doubts.is_empty() && chosen.first().is_some_and(|incr| incr.seq > 1) {
            let what = "there is no base".to_owned();
            self.doubt_or_note(
                told.without_missing,
                what,
                "say --without-missing to begin with the first increment",
            );
        }
        if let (Some(base), None) = (base, told.first_incr)
            && let Some(made) = made_at(base, reading)
        {
            for incr in &chosen {
                if last_written(incr).is_some_and(|written| written < made) {
                    self.doubts.push(format!(
                        "{} was written to for the last time before the base was begun, so the base may have its commands \
                         already: say --first-incr {} to leave it out, or --first-incr {} to keep it",
                        Shown(&incr.name),
                        incr.seq + 1,
                        incr.seq
                    ));
                }
            }
        }
        self.members = base.into_iter().chain(chosen).cloned().collect();
        let count = self.members.len();
        for (i, member) in self.members.iter_mut().enumerate() {
            member.is_last = i + 1 == count;
        }
        if count == 0 && self.doubts.is_empty() {
            self.doubts.push("no file of a log is here".to_owned());
        }
    }

    fn doubt_or_note(&mut self, is_told: bool, what: String, way_out: &str) {
        if is_told {
            self.notes.push(what);
        } else {
            self.doubts.push(format!("{what}: {way_out}"));
        }
    }
}

/// When the server began to make a base, if that is an RDB file that says so. Unix seconds.
fn made_at(base: &Member, reading: Reading) -> Option<u64> {
    let mut input = reading.open(&base.path).ok()?;
    let (object, _) = info::describe(&mut input, &base.path, true).ok()?;
    let facts: serde_json::Value = serde_json::from_slice(&object).ok()?;
    let aux = facts["aux"].as_array()?;
    let ctime = aux.iter().find(|pair| pair[0] == "ctime")?;
    ctime[1].as_str()?.parse().ok()
}

/// When something was written to a file that is not empty. Unix seconds.
fn last_written(member: &Member) -> Option<u64> {
    let metadata = fs::metadata(&member.path).ok().filter(|metadata| metadata.len() > 0)?;
    Some(metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// Whether a file starts with a checked block.
pub(crate) fn has_blocks(path: &Path) -> bool {
    let mut head = [0; 4];
    fs::File::open(path).and_then(|mut file| file.read_exact(&mut head)).is_ok() && block::is_line(&head)
}

/// A manifest of these files, with sums if `is_checked`; `written` has the size and the sum of each.
pub(crate) fn manifest_of(members: &[Member], written: &[(u64, u64, bool)], is_checked: bool) -> Vec<u8> {
    let mut manifest = Manifest::default();
    for (member, (bytes, sum, has_blocks)) in members.iter().zip(written) {
        let is_open = member.is_last && member.role == Role::Incr;
        let marks = match is_checked {
            true => Marks {
                blocks: has_blocks.then_some(0),
                size: (!is_open).then_some(*bytes),
                crc64: (!is_open).then_some(*sum),
                end: is_open.then_some(*bytes),
                off_since: member.marks.off_since,
            },
            false => Marks::default(),
        };
        let entry = Entry { name: member.name.clone(), seq: member.seq, extra: Vec::new(), marks };
        match member.role {
            Role::Base => {
                manifest.base_seq = member.seq;
                manifest.base = Some(entry);
            }
            _ => {
                manifest.incr_seq = member.seq;
                manifest.incr.push(entry);
            }
        }
    }
    if is_checked { manifest.format_checked() } else { manifest.format() }
}
