//! The program's allocator: jemalloc, built with size classes of 8 bytes (8, 16, 24, 32, 40, ...).
//!
//! Small records are most of a keyspace, and a class of 16 bytes wastes 8 of every second one. The
//! ready-made wrapper takes for granted that jemalloc aligns to 16 what is 16 bytes or more; that
//! holds for the default classes only, so the wrapper is here, and beside it the statistics that
//! `used_memory` is read from. The build setting is in .cargo/config.toml. A program opts in by the
//! crate's feature `jemalloc` and a `#[global_allocator]`.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::{c_int, c_void};

use tikv_jemalloc_sys as ffi;

/// What jemalloc aligns everything to without being asked, for its smallest size classes.
const NATURAL_ALIGN: usize = 8;

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

// SAFETY: mallocx and rallocx give memory of at least the asked size and, by `flags`, of the asked
// alignment, or null; the layouts come from `GlobalAlloc`'s callers, whose contract is that they are
// not of size zero and that a pointer comes back with the layout it was made with.
unsafe impl GlobalAlloc for Jemalloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the size is not zero, by the caller's contract.
        unsafe { ffi::mallocx(layout.size(), flags(layout)).cast() }
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

/// The version of jemalloc.
pub fn version() -> String {
    let mut text: *const std::ffi::c_char = std::ptr::null();
    let mut len = size_of::<*const std::ffi::c_char>();
    let pointer = (&raw mut text).cast::<c_void>();
    // SAFETY: "version" gives a pointer to a static, nul-terminated text.
    let said = unsafe { ffi::mallctl(c"version".as_ptr(), pointer, &raw mut len, std::ptr::null_mut(), 0) };
    if said != 0 || text.is_null() {
        return String::from("unknown");
    }
    // SAFETY: as above; checked not to be null.
    let text = unsafe { std::ffi::CStr::from_ptr(text) }.to_string_lossy();
    text.split('-').next().unwrap_or_default().to_owned()
}

fn read_size(name: &std::ffi::CStr) -> u64 {
    let mut value: usize = 0;
    let mut len = size_of::<usize>();
    let pointer = (&raw mut value).cast::<c_void>();
    // SAFETY: every statistic read here is a size_t; the pointers are to live values of that size.
    let said = unsafe { ffi::mallctl(name.as_ptr(), pointer, &raw mut len, std::ptr::null_mut(), 0) };
    if said == 0 { value as u64 } else { 0 }
}
