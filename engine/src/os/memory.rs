//! What the kernel says about memory.

use std::fs;

/// Bytes that this process alone has written to: in a fork child, what copy-on-write has cost so far.
/// Zero where the kernel does not tell. Costs a walk of the page tables: milliseconds a GiB.
pub fn private_dirty_bytes() -> u64 {
    rollup("Private_Dirty:")
}

/// Resident bytes of this process. Zero where the kernel does not tell.
pub fn resident_bytes() -> u64 {
    const FIELD: usize = 1;
    let pages = fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_ascii_whitespace().nth(FIELD)?.parse::<u64>().ok())
        .unwrap_or(0);
    pages.saturating_mul(page_bytes())
}

/// Bytes of a page.
pub fn page_bytes() -> u64 {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|n| u64::try_from(n).ok())
        .unwrap_or(4096)
}

/// Tells the others how much memory this thread has taken and given back, for `used_bytes`: to be called
/// by every thread but the main one, after it has done something.
pub fn publish_thread() {
    #[cfg(feature = "jemalloc")]
    super::jemalloc::publish_thread();
}

/// Gives back what this thread keeps for its next allocations: for a thread that has nothing to do.
pub fn rest_thread() {
    #[cfg(feature = "jemalloc")]
    super::jemalloc::flush_thread_cache();
}

fn rollup(field: &str) -> u64 {
    let Ok(text) = fs::read_to_string("/proc/self/smaps_rollup") else { return 0 };
    text.lines()
        .filter_map(|line| line.strip_prefix(field))
        .filter_map(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        .map(|kib| kib.saturating_mul(1024))
        .sum()
}
