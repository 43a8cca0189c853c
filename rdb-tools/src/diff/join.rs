//! Two surveys side by side: which keys are in one, in the other, in both and not the same.

use std::cmp::Ordering;
use std::io;

use super::digest::Scope;
use super::survey::{Facts, Survey};

/// What became of a key between A and B.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// In A alone.
    Removed,
    /// In B alone.
    Added,
    /// In both, with other contents.
    Changed,
    /// In both with the same contents, but fields expire at other times: how far apart is to be looked at.
    Unsure,
    /// In both with the same contents; it expires at another time.
    Expiry,
}

impl Class {
    const ALL: [Self; 5] = [Self::Removed, Self::Added, Self::Changed, Self::Unsure, Self::Expiry];
}

/// A key that is not the same.
#[derive(Debug, Clone)]
pub struct Change {
    /// What became of it.
    pub class: Class,
    /// What it is one of.
    pub scope: Scope,
    /// Its name.
    pub name: Vec<u8>,
    /// What it is in A.
    pub a: Option<Facts>,
    /// What it is in B.
    pub b: Option<Facts>,
}

impl Change {
    /// Whether it expires at another time in B, whatever else is different.
    #[must_use]
    pub fn moves_expiry(&self, rules: &ExpiryRules) -> bool {
        matches!((&self.a, &self.b), (Some(a), Some(b)) if !rules.are_same(a, b))
    }

    /// Bytes that [`Change::read`] takes back.
    pub fn push(&self, out: &mut Vec<u8>) {
        out.push(self.class as u8);
        for facts in [&self.a, &self.b] {
            out.push(u8::from(facts.is_some()));
            if let Some(facts) = facts {
                facts.push(out);
            }
        }
        self.scope.push(out);
        out.extend_from_slice(&self.name);
    }

    /// Takes them back.
    #[must_use]
    pub fn read(mut bytes: &[u8]) -> Option<Self> {
        let (class, rest) = bytes.split_first()?;
        bytes = rest;
        let mut side = || {
            let (is_there, rest) = bytes.split_first()?;
            bytes = rest;
            if *is_there == 0 { Some(None) } else { Facts::read(&mut bytes).map(Some) }
        };
        let (a, b) = (side()?, side()?);
        let (scope, name) = Scope::split(bytes)?;
        Some(Self { class: *Class::ALL.get(usize::from(*class))?, scope, name: name.to_vec(), a, b })
    }
}

/// What of expiries counts.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExpiryRules {
    /// Nothing.
    pub ignore: bool,
    /// Nothing up to this difference, in ms.
    pub tolerance_ms: u64,
}

impl ExpiryRules {
    fn are_same(&self, a: &Facts, b: &Facts) -> bool {
        match (a.expires, b.expires) {
            _ if self.ignore => true,
            (Some(a), Some(b)) => a.0.abs_diff(b.0) <= self.tolerance_ms,
            (a, b) => a == b,
        }
    }
}

/// How many keys are what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// In A.
    pub a: u64,
    /// In B.
    pub b: u64,
    /// In A alone.
    pub removed: u64,
    /// In B alone.
    pub added: u64,
    /// In both, with other contents.
    pub changed: u64,
    /// In both, with another expiry alone.
    pub expiry: u64,
    /// In both, and the same.
    pub same: u64,
}

impl Counts {
    /// Whether any key is not the same.
    #[must_use]
    pub fn is_different(&self) -> bool {
        self.removed + self.added + self.changed + self.expiry > 0
    }

    /// Counts a change.
    pub fn add(&mut self, class: Class) {
        match class {
            Class::Removed => self.removed += 1,
            Class::Added => self.added += 1,
            Class::Changed => self.changed += 1,
            Class::Expiry => self.expiry += 1,
            Class::Unsure => {}
        }
    }
}

/// Walks through both surveys and hands on the keys that are not the same, in order. `Ok(false)` from `change` ends
/// it. Answers how many keys were the same.
///
/// # Errors
/// Of temporary files, and those of `change`.
pub fn join<E: From<io::Error>>(
    a: &mut Survey,
    b: &mut Survey,
    rules: &ExpiryRules,
    mut change: impl FnMut(Change) -> Result<bool, E>,
) -> Result<u64, E> {
    let mut same = 0;
    loop {
        let side = match (a.key(), b.key()) {
            (None, None) => return Ok(same),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => a.cmp(b),
        };
        let key = if side == Ordering::Greater { b.key() } else { a.key() };
        let key = key.unwrap_or_default();
        // Keys that are the same are most of all: nothing is copied for them but this.
        let key = key.to_vec();
        let facts_a = if side == Ordering::Greater { None } else { Some(a.take()?) };
        let facts_b = if side == Ordering::Less { None } else { Some(b.take()?) };
        let class = match (&facts_a, &facts_b) {
            (Some(a), Some(b)) => match class_of(a, b, rules) {
                Some(class) => class,
                None => {
                    same += 1;
                    continue;
                }
            },
            (Some(_), None) => Class::Removed,
            _ => Class::Added,
        };
        let Some((scope, name)) = Scope::split(&key) else { continue };
        if !change(Change { class, scope, name: name.to_vec(), a: facts_a, b: facts_b })? {
            return Ok(same);
        }
    }
}

fn class_of(a: &Facts, b: &Facts, rules: &ExpiryRules) -> Option<Class> {
    if a.content.sum != b.content.sum || a.family != b.family {
        return Some(Class::Changed);
    }
    if a.content.ttl_sum != b.content.ttl_sum {
        return Some(if rules.tolerance_ms == 0 { Class::Changed } else { Class::Unsure });
    }
    (!rules.are_same(a, b)).then_some(Class::Expiry)
}
