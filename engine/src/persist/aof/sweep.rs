//! Removal of what dead processes left in the folder of a log.

use std::path::PathBuf;

use super::settings::AofSettings;
use crate::codec::aof::manifest::{SUFFIX, TEMP_PREFIX, temp_incr_name};
use crate::os::fork;
use crate::persist::storage::Storage;

/// What the name of a base starts with while process `pid` writes it.
const TEMP_BASE_PREFIX: &str = "temp-rewriteaof-";
const TEMP_BASE_SUFFIX: &str = ".aof";

/// The name that a base has while process `pid` writes it.
pub(super) fn temp_base_name(pid: u32) -> String {
    format!("{TEMP_BASE_PREFIX}bg-{pid}{TEMP_BASE_SUFFIX}")
}

/// Removes unfinished bases of processes that are gone, and an unfinished manifest and increment. The
/// folder must belong to this process, and nothing may be under way. Returns what was removed.
pub fn sweep(storage: &dyn Storage, settings: &AofSettings) -> Vec<PathBuf> {
    let Ok(entries) = storage.list(&settings.dir) else { return Vec::new() };
    let temp_manifest = format!("{TEMP_PREFIX}{}{SUFFIX}", settings.filename);
    let temp_incr = temp_incr_name(&settings.filename);
    let is_left = |path: &PathBuf| {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
        name == temp_manifest
            || name == temp_incr
            || temp_base_pid(name).is_some_and(|pid| !fork::is_alive(pid))
    };
    entries.into_iter().filter(is_left).filter(|path| storage.remove(path).is_ok()).collect()
}

/// The process in the name of an unfinished base.
fn temp_base_pid(name: &str) -> Option<i32> {
    let pid = name.strip_prefix(TEMP_BASE_PREFIX)?.strip_suffix(TEMP_BASE_SUFFIX)?;
    pid.strip_prefix("bg-").unwrap_or(pid).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_unfinished_bases_tell_their_process() {
        assert_eq!(temp_base_pid(&temp_base_name(77)), Some(77));
        assert_eq!(temp_base_pid("temp-rewriteaof-8.aof"), Some(8));
        assert_eq!(temp_base_pid("temp-rewriteaof-x.aof"), None);
        assert_eq!(temp_base_pid("appendonly.aof.1.base.rdb"), None);
    }
}
