//! A data set as commands: what an append only file begins with when it has no RDB in front, and what
//! tools write for other servers.
//!
//! Which commands make a key is said in `transcode/commands.rs`. Here is the walk over the databases.
//! Opens no file: batches of whole commands go to the caller, who puts them where they belong.

use crate::transcode::commands::{self, BatchOut, Batches};

use super::carried::Carried;
use super::snapshot::{Contents, sleep_after};

/// Progress is told after this many keys.
const KEYS_PER_STEP: u64 = 1 << 10;

/// What no command can make, if there is any of it: who has that must put an RDB in front.
#[must_use]
pub fn unsayable(carried: &Carried) -> Option<&'static str> {
    let has_aux = !(carried.module_aux_before.is_empty() && carried.module_aux_after.is_empty());
    has_aux.then_some("module auxiliary data")
}

/// Writes the libraries and every key of every database as commands; answers the number of keys.
///
/// `out` takes batches: whole commands as RESP, in pieces that follow one another, mostly a single piece
/// of 128 KiB. `progress` hears the number of keys written, now and then. `key_delay_us` is that of
/// snapshots. Memory is flat but for what `commands::entry` says.
///
/// # Errors
/// Those of `out`.
pub fn write_commands<E>(
    contents: Contents<'_>,
    key_delay_us: i64,
    progress: &mut dyn FnMut(u64),
    out: &mut BatchOut<'_, E>,
) -> Result<u64, E> {
    let mut batches = Batches::new(out);
    let mut keys = 0;
    commands::functions(&mut |words| batches.command(words), contents.carried.functions.sources())?;
    for (index, db) in contents.keyspace.iter().enumerate().filter(|(_, db)| !db.is_empty()) {
        commands::select(&mut |words| batches.command(words), index)?;
        for entry in db {
            commands::entry(
                &mut |words| batches.command(words),
                entry.key(),
                entry.expire_at(),
                entry.view(),
            )?;
            keys += 1;
            if keys % KEYS_PER_STEP == 0 || key_delay_us > 0 {
                progress(keys);
            }
            if key_delay_us != 0 {
                sleep_after(keys, key_delay_us);
            }
        }
    }
    batches.end()?;
    progress(keys);
    Ok(keys)
}
