//! Data commands: one definition each.
