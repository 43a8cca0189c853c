//! Where work runs that the engine does not wait for.

/// Where background saves, rewrites and syncs of logs run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Apart {
    /// Saves and rewrites in a fork child, syncs in a thread.
    #[default]
    ForkAndThreads,
    /// In this process, at once, and told as if it had run elsewhere: by the next poll. For tests whose
    /// files are in the memory of this process, which a child could not change.
    Here,
}
