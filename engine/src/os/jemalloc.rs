//! The program's allocator: jemalloc, built with size classes of 8 bytes (8, 16, 24, 32, 40, ...).
//!
//! Small records are most of a keyspace, and a class of 16 bytes wastes 8 of every second one. The
//! ready-made wrapper takes for granted that jemalloc aligns to 16 what is 16 bytes or more; that
//! holds for the default classes only, so the wrapper is here, and beside it the statistics that
//! `used_memory` is read from. The classes are a build setting, in .cargo/config.toml; what is decided
//! when the program starts is here. A program opts in by the crate's feature `jemalloc` and a
//! `#[global_allocator]`.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use tikv_jemalloc_sys as ffi;

/// What jemalloc aligns everything to without being asked, for its smallest size classes.
const NATURAL_ALIGN: usize = 8;

/// What jemalloc is told before it begins; `_RJEM_MALLOC_CONF` has the last word.
///
/// - `thp:always`: with huge pages a fork copies far smaller page tables.
/// - `dirty_decay_ms:1000`: unused pages go back to the system within one second, not ten. Growing tables
///   and sorted sets leave many behind. It costs no time that could be measured.
/// - `slab_sizes`: four pages, not one, at a time for allocations of 64 and of 128 bytes. What jemalloc
///   notes about each run of pages takes as much as one of 128 bytes does. The larger classes would gain
///   as much, but tables leave theirs half empty while they grow.
// SAFETY: under this name, which jemalloc defines weakly so that a program may define it, it reads a
// pointer to a nul-terminated text that stays.
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static SETTINGS: &u8 = &b"thp:always,dirty_decay_ms:1000,slab_sizes:64-64:4|128-128:4\0"[0];

/// jemalloc as a global allocator, right for every alignment and every size class setting.
#[derive(Debug, Clone, Copy, Default)]
pub struct Jemalloc;

fn flags(layout: Layout) -> c_int {
    if layout.align() <= NATURAL_ALIGN && layout.align() <= layout.size() {
        0
    } else {
        ffi::MALLOCX_ALIGN(layout.align())
    }
}

// SAFETY: malloc, mallocx and rallocx give memory of at least the asked size and, by `flags`, of the asked
// alignment, or null; the layouts come from `GlobalAlloc`'s callers, whose contract is that they are
// not of size zero and that a pointer comes back with the layout it was made with.
unsafe impl GlobalAlloc for Jemalloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let flags = flags(layout);
        if flags == 0 {
            // The same, but jemalloc has a short way for it.
            // SAFETY: any size will do.
            return unsafe { ffi::malloc(layout.size()).cast() };
        }
        // SAFETY: the size is not zero, by the caller's contract.
        unsafe { ffi::mallocx(layout.size(), flags).cast() }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        unsafe { ffi::mallocx(layout.size(), flags(layout) | ffi::MALLOCX_ZERO).cast() }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from here with this layout, so size and flags are those it was made with.
        unsafe { ffi::sdallocx(pointer.cast::<c_void>(), layout.size(), flags(layout)) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller keeps `new_size` rounded up to the alignment within isize.
        let new = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        // SAFETY: `pointer` came from here; the new size is not zero, by the caller's contract.
        unsafe { ffi::rallocx(pointer.cast::<c_void>(), new_size, flags(new)).cast() }
    }
}

/// What the allocator says about memory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AllocatorStats {
    /// Asked for and not given back.
    pub allocated: u64,
    /// In pages that hold any of that.
    pub active: u64,
    /// In pages that are in memory.
    pub resident: u64,
    /// Given back to the kernel, addresses kept.
    pub retained: u64,
}

/// Reads the statistics anew. Costs some microseconds: for a periodic task, not for each command.
pub fn stats() -> AllocatorStats {
    let mut epoch: u64 = 1;
    // SAFETY: "epoch" takes and gives a u64; both pointers are to live u64s of that size.
    unsafe {
        let mut len = size_of::<u64>();
        let pointer = (&raw mut epoch).cast::<c_void>();
        ffi::mallctl(c"epoch".as_ptr(), pointer, &raw mut len, pointer, size_of::<u64>());
    }
    AllocatorStats {
        allocated: read_size(c"stats.allocated"),
        active: read_size(c"stats.active"),
        resident: read_size(c"stats.resident"),
        retained: read_size(c"stats.retained"),
    }
}

/// What other threads have published, wrapping: one that only frees has taken less than nothing.
static OTHER_THREADS: AtomicU64 = AtomicU64::new(0);

/// Where jemalloc counts the bytes that a thread has taken and given back, since it began.
#[derive(Clone, Copy)]
struct Counters {
    taken: *const u64,
    given_back: *const u64,
}

thread_local! {
    static COUNTERS: Cell<Counters> =
        const { Cell::new(Counters { taken: ptr::null(), given_back: ptr::null() }) };
    static PUBLISHED: Cell<u64> = const { Cell::new(0) };
}

/// The bytes that this thread has taken less those that it has given back; wraps below zero.
#[inline]
fn net_of_thread() -> u64 {
    let mut counters = COUNTERS.get();
    if counters.taken.is_null() {
        counters = Counters {
            taken: read_pointer(c"thread.allocatedp"),
            given_back: read_pointer(c"thread.deallocatedp"),
        };
        COUNTERS.set(counters);
    }
    if counters.taken.is_null() || counters.given_back.is_null() {
        return 0;
    }
    // SAFETY: jemalloc gave both for this thread; they are live as long as the thread is, and nobody
    // else writes to them.
    unsafe { counters.taken.read().wrapping_sub(counters.given_back.read()) }
}

/// Bytes in use, their size classes' rounding included: exact for the calling thread, and for the others
/// as of when they last told (`publish_thread`). Costs a few loads, so it may be asked before each command.
#[inline]
#[must_use]
pub fn used_bytes() -> u64 {
    let used = net_of_thread().wrapping_add(OTHER_THREADS.load(Ordering::Relaxed));
    // A thread that has freed and not told yet makes this too much, one that has taken too little.
    if used > u64::MAX / 2 { 0 } else { used }
}

/// Tells the others what this thread has taken and given back.
pub(super) fn publish_thread() {
    let net = net_of_thread();
    let before = PUBLISHED.replace(net);
    OTHER_THREADS.fetch_add(net.wrapping_sub(before), Ordering::Relaxed);
}

/// Gives unused pages of all arenas back to the kernel.
pub fn purge() {
    // Index 4096 stands for all arenas (MALLCTL_ARENAS_ALL); the call takes and gives nothing.
    const ALL: &std::ffi::CStr = c"arena.4096.purge";
    flush_thread_cache();
    // SAFETY: purging takes no argument and gives no value.
    unsafe { ffi::mallctl(ALL.as_ptr(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), 0) };
}

/// Gives those unused pages back to the kernel whose time has come: jemalloc lets them go over ten
/// seconds, but looks at the clock only when somebody allocates. For a periodic task.
pub fn decay() {
    // Index 4096 stands for all arenas, as in `purge`.
    const ALL: &std::ffi::CStr = c"arena.4096.decay";
    // SAFETY: decaying takes no argument and gives no value.
    unsafe { ffi::mallctl(ALL.as_ptr(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), 0) };
}

/// Gives back what the calling thread keeps for its next allocations.
pub fn flush_thread_cache() {
    let name = c"thread.tcache.flush";
    // SAFETY: flushing takes no argument and gives no value.
    unsafe { ffi::mallctl(name.as_ptr(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), 0) };
}

/// What jemalloc says of itself, at length.
pub fn report() -> String {
    extern "C" fn append(text: *mut c_void, piece: *const std::ffi::c_char) {
        // SAFETY: jemalloc passes on the pointer it was given below, to a live vector that nobody else uses
        // meanwhile, and a nul-terminated piece of its text.
        let (text, piece) = unsafe { (&mut *text.cast::<Vec<u8>>(), std::ffi::CStr::from_ptr(piece)) };
        text.extend_from_slice(piece.to_bytes());
    }
    let mut text: Vec<u8> = Vec::new();
    // SAFETY: the callback takes the vector that is passed along; null means every part of the report.
    unsafe { ffi::malloc_stats_print(Some(append), (&raw mut text).cast::<c_void>(), ptr::null()) };
    String::from_utf8_lossy(&text).into_owned()
}

/// Whether it asks the system for huge pages.
pub(super) fn wants_huge_pages() -> bool {
    read_text(c"opt.thp").is_some_and(|choice| choice == "always")
}

/// The version of jemalloc.
pub fn version() -> String {
    let text = read_text(c"version").unwrap_or("unknown");
    text.split('-').next().unwrap_or_default().to_owned()
}

/// A text that jemalloc has; not every one is UTF-8.
fn read_text(name: &std::ffi::CStr) -> Option<&'static str> {
    let mut text: *const std::ffi::c_char = ptr::null();
    let mut len = size_of::<*const std::ffi::c_char>();
    let pointer = (&raw mut text).cast::<c_void>();
    // SAFETY: the names read here give a pointer to a static, nul-terminated text.
    let said = unsafe { ffi::mallctl(name.as_ptr(), pointer, &raw mut len, ptr::null_mut(), 0) };
    if said != 0 || text.is_null() {
        return None;
    }
    // SAFETY: as above; checked not to be null.
    unsafe { std::ffi::CStr::from_ptr(text) }.to_str().ok()
}

fn read_pointer(name: &std::ffi::CStr) -> *const u64 {
    let mut value: *const u64 = ptr::null();
    let mut len = size_of::<*const u64>();
    let pointer = (&raw mut value).cast::<c_void>();
    // SAFETY: both names read here give a pointer to a u64; the pointers are to live values of that size.
    let said = unsafe { ffi::mallctl(name.as_ptr(), pointer, &raw mut len, ptr::null_mut(), 0) };
    if said == 0 { value } else { ptr::null() }
}

fn read_size(name: &std::ffi::CStr) -> u64 {
    let mut value: usize = 0;
    let mut len = size_of::<usize>();
    let pointer = (&raw mut value).cast::<c_void>();
    // SAFETY: every statistic read here is a size_t; the pointers are to live values of that size.
    let said = unsafe { ffi::mallctl(name.as_ptr(), pointer, &raw mut len, ptr::null_mut(), 0) };
    if said == 0 { value as u64 } else { 0 }
}
