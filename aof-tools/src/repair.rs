//! What can be made of a damaged log: which bytes have to go, which files make it up, and writing that.

pub(crate) mod holders;
pub(crate) mod manifest;
pub(crate) mod plan;
pub(crate) mod write;
