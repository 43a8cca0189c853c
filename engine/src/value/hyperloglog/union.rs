//! The greatest of each register of several HyperLogLogs: what PFCOUNT of several keys counts, and what
//! PFMERGE writes.
//!
//! Dense ones and sparse ones are kept apart until they are asked for: each kind is added up fastest in
//! its own form, and most unions are of one kind.

use super::dense::{self, Lanes};
use super::{Corrupt, Encoding, HllRef, PackedRegisters, REGISTERS, Registers, sparse};

/// A union of HyperLogLogs, at first of none.
#[derive(Debug, Default)]
pub struct Union {
    dense: Option<Box<Lanes>>,
    sparse: Option<Box<Registers>>,
}

impl Union {
    /// Adds one.
    ///
    /// # Errors
    /// `Corrupt`; some of its registers may have been added.
    pub fn add(&mut self, hll: HllRef<'_>) -> Result<(), Corrupt> {
        match hll.encoding() {
            Encoding::Dense => {
                self.dense.get_or_insert_with(Lanes::new).raise(hll.payload());
                Ok(())
            }
            Encoding::Sparse => {
                let registers = self.sparse.get_or_insert_with(|| Box::new([0; REGISTERS]));
                sparse::raise_registers(hll.payload(), registers)
            }
        }
    }

    /// All registers as a dense string has them, if any of those added was dense.
    pub(super) fn packed(&self) -> Option<Box<PackedRegisters>> {
        let mut payload = self.dense.as_ref()?.pack();
        if let Some(registers) = &self.sparse {
            dense::set_all(&mut payload[..], registers);
        }
        Some(payload)
    }

    /// The registers of those that were sparse.
    pub(super) fn sparse(&self) -> Option<&Registers> {
        self.sparse.as_deref()
    }
}
