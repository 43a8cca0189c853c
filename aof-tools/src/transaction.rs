//! MULTI, EXEC and DISCARD of one file: do they pair, and what is open.

use crate::scan::Mark;

/// The transaction that is open, if one is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Open(Option<u64>);

/// A mark where none can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unpaired {
    /// A MULTI inside the transaction that started at this offset.
    Multi {
        /// Offset of the MULTI that is still open.
        open_at: u64,
    },
    /// An EXEC outside any transaction.
    Exec,
    /// A DISCARD outside any transaction.
    Discard,
}

impl Open {
    /// Takes a mark at offset `at` into account.
    ///
    /// # Errors
    /// It stands where none can be.
    pub(crate) fn step(&mut self, at: u64, mark: Mark) -> Result<(), Unpaired> {
        match (mark, self.0) {
            (Mark::Multi, Some(open_at)) => return Err(Unpaired::Multi { open_at }),
            (Mark::Multi, None) => self.0 = Some(at),
            (Mark::Exec, None) => return Err(Unpaired::Exec),
            (Mark::Discard, None) => return Err(Unpaired::Discard),
            (Mark::Exec | Mark::Discard, Some(_)) => self.0 = None,
        }
        Ok(())
    }

    /// Where it starts: everything is whole up to there.
    pub(crate) fn at(&self) -> Option<u64> {
        self.0
    }

    /// Forgets it.
    pub(crate) fn take(&mut self) -> Option<u64> {
        self.0.take()
    }
}
