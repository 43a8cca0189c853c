//! The version of a snapshot: the lowest that holds what turns up among the data.
//!
//! What is in the data is known only when it has been written, and a pass over all keys before would cost
//! as much as half the save. So a file begins in the lowest version and goes on in a higher one when
//! something asks for it: what an older version says, the newer one of its family says alike. Its first
//! bytes name the version, and are written anew at the end.

use std::io;

use crate::codec::rdb::{Dialect, Target};
use crate::transcode::save::{self, Fault, Feature};
use crate::value::ValueRef;

/// Which version a snapshot is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetChoice {
    /// `LOWEST`, and higher only if the data cannot be expressed in it; then of this family if it can.
    Auto(Dialect),
    /// This one: what it cannot hold makes the save fail.
    Named(Target),
}

/// Where `TargetChoice::Auto` begins. Version 10 has all that is common, and an older one would not have
/// the listpacks that values are kept in.
pub const LOWEST: Target = Target::Redis70;

/// Why a file does not get to its end.
pub(super) enum Stop {
    /// The disk said no.
    Disk(io::Error),
    /// There is something that the choice does not allow to be written.
    Refused(String),
    /// What is written does not fit to what comes: the file is to be begun anew.
    Again,
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Disk(error)
    }
}

impl Stop {
    /// For what was admitted before.
    pub(super) fn unforeseen(fault: Fault<io::Error>) -> Stop {
        match fault {
            Fault::Drain(error) => Stop::Disk(error),
            Fault::Inexpressible(feature) => Stop::Refused(format!("{feature} can't be written")),
        }
    }
}

/// Follows the data through a file.
#[derive(Debug)]
pub(super) struct Fit {
    choice: TargetChoice,
    target: Target,
    needed: Vec<Feature>,
}

impl Fit {
    pub(super) fn new(choice: TargetChoice) -> Fit {
        let target = match choice {
            TargetChoice::Auto(_) => LOWEST,
            TargetChoice::Named(target) => target,
        };
        Fit { choice, target, needed: Vec::new() }
    }

    /// The version that holds all that was admitted.
    pub(super) fn target(&self) -> Target {
        self.target
    }

    /// Makes the target one that can express the value of a key.
    pub(super) fn admit(&mut self, db: usize, key: &[u8], value: ValueRef<'_>) -> Result<(), Stop> {
        while let Some(feature) = self.missing(value) {
            self.meet(feature, || format!("db {db}, key \"{}\"", key.escape_ascii()))?;
        }
        Ok(())
    }

    /// Makes the target one that can express function libraries, if there are any.
    pub(super) fn admit_functions(&mut self, are_there: bool) -> Result<(), Stop> {
        if are_there && !Feature::Functions.held_by(self.target) {
            self.meet(Feature::Functions, || "function libraries".to_owned())?;
        }
        Ok(())
    }

    #[inline]
    fn missing(&self, value: ValueRef<'_>) -> Option<Feature> {
        save::lacking(self.target, value).or_else(|| match self.choice {
            TargetChoice::Auto(_) => save::left_out(self.target, value),
            // Who asks for an old version gets what it has words for.
            TargetChoice::Named(_) => None,
        })
    }

    #[cold]
    fn meet(&mut self, feature: Feature, at: impl FnOnce() -> String) -> Result<(), Stop> {
        self.needed.push(feature);
        let next = self.first_holding();
        let (TargetChoice::Auto(_), Some(next)) = (self.choice, next) else {
            return Err(Stop::Refused(self.refusal(&at(), feature, next)));
        };
        let last = std::mem::replace(&mut self.target, next);
        let is_same_family = last.version().dialect == next.version().dialect;
        if last.is_common() || is_same_family { Ok(()) } else { Err(Stop::Again) }
    }

    /// The lowest target that holds all that is needed: one that everybody reads, or else one of the
    /// preferred family.
    fn first_holding(&self) -> Option<Target> {
        let preferred = match self.choice {
            TargetChoice::Auto(dialect) => dialect,
            TargetChoice::Named(target) => target.version().dialect,
        };
        let holds = |target: &Target| self.needed.iter().all(|feature| feature.held_by(*target));
        let candidates = || Target::all().filter(|t| *t >= LOWEST).filter(holds);
        let suits = |target: &Target| target.is_common() || target.version().dialect == preferred;
        candidates().find(suits).or_else(|| candidates().next())
    }

    fn refusal(&self, at: &str, feature: Feature, holder: Option<Target>) -> String {
        let remedy = match holder {
            Some(holder) => format!("rdb-target {} can", holder.name()),
            None => "no single target can hold all of this data set".to_owned(),
        };
        format!("{at}: rdb-target {} can't hold {feature}; {remedy}", self.target.name())
    }
}
