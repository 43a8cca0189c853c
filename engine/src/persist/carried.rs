//! What a file holds beside keys and this server only carries: function libraries and module
//! auxiliary data. Read at load, written back by every save.

/// Things that belong to a file and to no database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Carried {
    /// Sources of function libraries.
    pub functions: Vec<Vec<u8>>,
    /// Module auxiliary records to be written before the keys: everything after the opcode byte.
    pub module_aux_before: Vec<Vec<u8>>,
    /// The same, after the keys.
    pub module_aux_after: Vec<Vec<u8>>,
}
