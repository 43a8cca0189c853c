//! What TYPE answers for a value that is only carried.

use crate::codec::rdb::{ObjectType, module_name};

/// First byte of a length that takes eight more, big-endian. A module's id always does: its name
/// fills the upper 54 bits.
const LEN_64: u8 = 0x81;

/// The name: of a module's type, that in its id; else that of the format.
pub(super) fn type_name(object: ObjectType, payload: &[u8]) -> String {
    match (object, payload) {
        (ObjectType::Module, [LEN_64, id @ ..]) if id.len() >= 8 => {
            let id = u64::from_be_bytes(id[..8].try_into().expect("eight bytes were asked for"));
            let (name, _) = module_name(id);
            String::from_utf8_lossy(&name).into_owned()
        }
        (other, _) => other.family().name().to_owned(),
    }
}
