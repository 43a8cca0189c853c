//! What a file holds beside keys: function libraries, which can be run, and module auxiliary data, which
//! this server only carries. Read at load, written back by every save.

use crate::script::{Functions, Versions};

/// Things that belong to a file and to no database.
#[derive(Debug, PartialEq, Eq)]
pub struct Carried {
    /// Function libraries.
    pub functions: Functions,
    /// Module auxiliary records to be written before the keys: everything after the opcode byte.
    pub module_aux_before: Vec<Vec<u8>>,
    /// The same, after the keys.
    pub module_aux_after: Vec<Vec<u8>>,
}

impl Carried {
    /// Nothing. Libraries are told that they run on these versions.
    #[must_use]
    pub fn new(versions: Versions) -> Carried {
        Carried {
            functions: Functions::new(versions),
            module_aux_before: Vec::new(),
            module_aux_after: Vec::new(),
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.functions.flush();
        self.module_aux_before.clear();
        self.module_aux_after.clear();
    }
}
