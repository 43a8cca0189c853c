//! What came out of a file, what did not, and why.

use std::fmt;

use cairn_engine::codec::rdb::Version;

use super::repair::Verdict;
use crate::json;
use crate::output::Shown;

/// Why something did not come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// No record could be made of these bytes.
    Unreadable,
    /// The value's insides are wrong, or a server would not take them.
    BadValue,
    /// The record can be read and ends where damage shows: its own length may be what is damaged.
    Doubtful,
    /// It was read where in truth another record begins.
    Overlapped,
    /// The file ends inside of it.
    Cut,
    /// The key was there before.
    Duplicate,
}

impl Why {
    /// One word, for scripts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::BadValue => "bad-value",
            Self::Doubtful => "doubtful",
            Self::Overlapped => "overlapped",
            Self::Cut => "cut",
            Self::Duplicate => "duplicate",
        }
    }
}

/// Bytes that did not come out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Offset of the first byte.
    pub from: u64,
    /// Offset behind the last.
    pub to: u64,
    /// Why.
    pub why: Why,
    /// Database and name of the key, where they could be read. They may be damaged, too.
    pub key: Option<(u64, Vec<u8>)>,
    /// What is wrong, for people. Bytes of the file are escaped in it.
    pub what: String,
    /// Elements of the value that came out in its stead.
    pub partial: Option<u64>,
}

/// Where reading went on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumed {
    /// Offset.
    pub at: u64,
    /// Whether a change of the database may have been lost: the numbers of databases may be wrong from here on.
    pub db_is_uncertain: bool,
}

/// What a salvage came to.
#[derive(Debug, Clone)]
pub struct Report {
    /// The version that the file was read as.
    pub version: Version,
    /// Why it is that, if the file does not say so.
    pub version_is_guessed: bool,
    /// What the file's checksum tells.
    pub checksum: Verdict,
    /// Whether the bytes that it told were put right in the output.
    pub is_repaired: bool,
    /// Offset of the wrong byte, what it was, what it was taken for.
    pub repaired: Vec<(u64, u8, u8)>,
    /// Keys that came out.
    pub keys: u64,
    /// The lost bytes; at most 100,000.
    pub lost: Vec<Lost>,
    /// All of them, also those that are not listed.
    pub lost_count: u64,
    /// Keys among them, as far as names could be read.
    pub lost_keys: u64,
    /// How many bytes these are.
    pub lost_bytes: u64,
    /// Where reading went on behind them.
    pub resumed: Vec<Resumed>,
    /// Databases that declare another number of keys: database, declared, come out.
    pub declared: Vec<(u64, u64, u64)>,
    /// Whether a database declared any.
    pub(super) has_declared: bool,
    /// Bytes behind the end of the file.
    pub trailing_bytes: u64,
}

/// No more losses than these are listed.
pub(super) const MOST_LISTED: usize = 100_000;

impl Report {
    pub(super) fn new(version: Version, version_is_guessed: bool, checksum: Verdict) -> Self {
        Self {
            version,
            version_is_guessed,
            checksum,
            is_repaired: false,
            repaired: Vec::new(),
            keys: 0,
            lost: Vec::new(),
            lost_count: 0,
            lost_keys: 0,
            lost_bytes: 0,
            resumed: Vec::new(),
            declared: Vec::new(),
            has_declared: false,
            trailing_bytes: 0,
        }
    }

    /// Whether everything came out, and nothing hints at what did not.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.lost_count == 0 && self.declared.is_empty() && !self.may_hide_damage()
    }

    /// Whether a record may have swallowed others without a fault: the file is damaged in some way that its
    /// checksum does not put right, or has none, and the numbers of keys that it declares do not prove that all
    /// are there.
    pub(super) fn may_have_swallowed(&self) -> bool {
        let is_proven = self.is_repaired || matches!(self.checksum, Verdict::Right | Verdict::SumDamaged);
        !is_proven && (!self.declared.is_empty() || !self.has_declared)
    }

    /// Whether the checksum is wrong for no reason that was found.
    #[must_use]
    pub fn may_hide_damage(&self) -> bool {
        !self.is_repaired && matches!(self.checksum, Verdict::Wrong | Verdict::Located { .. })
    }

    pub(super) fn lose(&mut self, lost: Lost) {
        self.lost_count += 1;
        self.lost_keys += u64::from(lost.key.is_some());
        // The bytes of what was overlapped were read anew.
        if lost.why != Why::Overlapped {
            self.lost_bytes += lost.to.saturating_sub(lost.from);
        }
        if self.lost.len() < MOST_LISTED {
            self.lost.push(lost);
        }
    }

    /// What the checksum tells, in one word.
    #[must_use]
    pub fn checksum_name(&self) -> &'static str {
        match self.checksum {
            Verdict::None => "none",
            Verdict::Right => "ok",
            Verdict::SumDamaged => "damaged",
            Verdict::Located { .. } if self.is_repaired => "repaired",
            Verdict::Wrong | Verdict::Located { .. } => "wrong",
        }
    }

    /// Appends the fields of the report to an open object.
    pub fn push_json(&self, out: &mut Vec<u8>) {
        json::push_name(out, "version");
        json::push_bytes(out, &self.version.magic());
        if self.version_is_guessed {
            json::push_name(out, "version_guessed");
            out.extend_from_slice(b"true");
        }
        json::push_name(out, "checksum");
        json::push_text(out, self.checksum_name());
        json::push_name(out, "repaired");
        json::push_array(out, &self.repaired, |out, (at, was, is)| {
            out.push(b'{');
            for (name, value) in [("offset", *at), ("was", u64::from(*was)), ("is", u64::from(*is))] {
                json::push_name(out, name);
                json::push_u64(out, value);
            }
            out.push(b'}');
        });
        for (name, value) in [
            ("keys", self.keys),
            ("lost", self.lost_count),
            ("lost_keys", self.lost_keys),
            ("lost_bytes", self.lost_bytes),
            ("trailing_bytes", self.trailing_bytes),
        ] {
            json::push_name(out, name);
            json::push_u64(out, value);
        }
        json::push_name(out, "whole");
        out.extend_from_slice(self.is_whole().to_string().as_bytes());
        json::push_name(out, "may_hide_damage");
        out.extend_from_slice(self.may_hide_damage().to_string().as_bytes());
        json::push_name(out, "losses");
        json::push_array(out, &self.lost, push_lost);
        json::push_name(out, "resumed");
        json::push_array(out, &self.resumed, |out, resumed| {
            out.push(b'{');
            json::push_name(out, "offset");
            json::push_u64(out, resumed.at);
            json::push_name(out, "db_uncertain");
            out.extend_from_slice(resumed.db_is_uncertain.to_string().as_bytes());
            out.push(b'}');
        });
        json::push_name(out, "declared");
        json::push_array(out, &self.declared, |out, (db, declared, found)| {
            out.push(b'{');
            for (name, value) in [("db", *db), ("declared", *declared), ("keys", *found)] {
                json::push_name(out, name);
                json::push_u64(out, value);
            }
            out.push(b'}');
        });
    }
}

fn push_lost(out: &mut Vec<u8>, lost: &Lost) {
    out.push(b'{');
    for (name, value) in [("from", lost.from), ("to", lost.to)] {
        json::push_name(out, name);
        json::push_u64(out, value);
    }
    json::push_name(out, "why");
    json::push_text(out, lost.why.name());
    if let Some((db, key)) = &lost.key {
        json::push_name(out, "db");
        json::push_u64(out, *db);
        json::push_name(out, "key");
        json::push_bytes(out, key);
    }
    json::push_name(out, "what");
    json::push_text(out, &lost.what);
    if let Some(elements) = lost.partial {
        json::push_name(out, "partial_elements");
        json::push_u64(out, elements);
    }
    out.push(b'}');
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {} to {}", self.from, self.to)?;
        if let Some((db, key)) = &self.key {
            write!(f, ", db {db}, key \"{}\"", Shown(key))?;
        }
        write!(f, ": {}: {}", self.why.name(), self.what)?;
        if let Some(elements) = self.partial {
            write!(f, "; {elements} of its elements came out")?;
        }
        Ok(())
    }
}
