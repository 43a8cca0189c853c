//! The ledger of a log: which commands, how they are shown, what they come to.

pub(crate) mod choice;
pub(crate) mod follow;
pub(crate) mod ledger;
pub(crate) mod stats;
