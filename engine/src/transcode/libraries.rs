//! FUNCTION DUMP: the sources of libraries as one payload, with the version and the checksum that belong
//! to it. Knows nothing about what is in a library. Behaviour: valkey src/functions.c.

use crate::codec::rdb::{Target, Writer, WriterOptions, dump_footer};

use super::save::{self, Fault};

/// The payload that FUNCTION RESTORE takes.
pub fn dump<'a>(sources: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let target = Target::default();
    let mut w = Writer::new(Vec::new(), WriterOptions { compress: true, checksum: false });
    match save::functions(&mut w, target, sources) {
        Ok(()) => {}
        Err(Fault::Inexpressible(_)) => unreachable!("the default target has functions"),
        Err(Fault::Drain(never)) => match never {},
    }
    let Ok(mut payload) = w.into_drain();
    dump_footer(target, &mut payload);
    payload
}
