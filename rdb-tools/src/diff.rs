//! Comparing data sets: what counts, and the machinery behind `digest` and `diff`.

pub mod details;
pub mod digest;
pub mod join;
pub mod lists;
pub mod patch;
pub mod report;
pub mod show;
pub mod spool;
pub mod survey;

use clap::Args;

use crate::canon::Rules;

/// What counts when data are compared; options of `digest` and `diff`.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Counting {
    /// When keys and fields expire does not count
    #[arg(long)]
    pub ignore_ttl: bool,

    /// When fields of hashes expire does not count
    #[arg(long)]
    pub ignore_field_ttl: bool,

    /// The order of the elements of lists does not count
    #[arg(long)]
    pub ignore_order: bool,

    /// The times when consumers of streams were seen and active count
    ///
    /// Servers neither replicate them nor keep them in a rewritten log.
    #[arg(long)]
    pub consumer_times: bool,

    /// When pending entries of streams were delivered last does not count
    #[arg(long)]
    pub ignore_delivery_times: bool,

    /// Idle times and access counters count, where inputs have them
    #[arg(long)]
    pub access: bool,
}

impl Counting {
    /// As the rules for values.
    #[must_use]
    pub fn rules(&self) -> Rules {
        Rules {
            ignore_order: self.ignore_order,
            ignore_field_ttl: self.ignore_ttl || self.ignore_field_ttl,
            consumer_times: self.consumer_times,
            ignore_delivery_times: self.ignore_delivery_times,
            access: self.access,
            keep_zeros: false,
        }
    }
}
