//! Huge pages put off: memory comes in small pages while a data set is loaded, and is made huge afterwards.
//!
//! The first touch of a huge page has all of it cleared at once, and where a hypervisor gives memory when
//! it is touched, by the host as well: a third of the time of a load went there. Small pages are taken
//! from what other programs have just left. Afterwards a thread has the kernel copy them together
//! (MADV_COLLAPSE, Linux 6.1), so that a fork has few page tables to copy. Where that cannot be, huge
//! pages are not put off.
//!
//! The kernel holds the lock on the process's mappings while it copies; whoever touches that piece then
//! waits. So the thread first touches a huge page of its own and gives it back: the kernel takes that
//! one for the copy, which is in the processor's cache then and known to the hypervisor.
//!
//! The same is done after a child: the kernel copies 4 KiB of a huge page that the parent writes to, which
//! consists of small ones from then on.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::fs;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::{fork, memory};

/// Bytes of a huge page: other sizes are left to the kernel.
const HUGE_BYTES: usize = 2 << 20;
/// A piece with fewer of its pages in memory, of sixteen, is left as it is: it would only grow.
const LEAST_SIXTEENTHS: usize = 14;
/// After a load the thread rests as long as it has worked: who wants that processor has it then.
const REST_AFTER_LOAD: u32 = 1;
/// After a child it rests for so many times as long, as clients are served meanwhile: whoever touches a piece
/// that is being copied waits, and the less often that is the better.
const REST_AFTER_CHILD: u32 = 16;
/// While a child runs nothing is copied, as the child has the pages, too; it is looked for this often.
const CHILD_NAP: Duration = Duration::from_millis(100);
/// So many failures in a row, and the thread ends: the kernel has no huge pages to give.
const MOST_FAILURES: u32 = 16;

/// Small pages, as long as this lives; then huge ones for all new memory, and for what there is by a
/// thread.
#[derive(Debug)]
pub struct PutOff(());

/// Puts huge pages off for the whole process. `None` where the kernel could not make up for it, or where
/// they are off anyhow.
#[must_use]
pub fn put_off() -> Option<PutOff> {
    if !are_wanted() {
        return None;
    }
    // A range without pages: the kernel only says whether it knows the word. A huge page to try it on took up
    // to five milliseconds.
    if !collapse(0..0) || set_disabled(true).is_err() {
        return None;
    }
    Some(PutOff(()))
}

impl Drop for PutOff {
    fn drop(&mut self) {
        if set_disabled(false).is_err() {
            return;
        }
        start(REST_AFTER_LOAD);
    }
}

/// Has memory made huge again after a child, while which so many bytes were copied: what was written to
/// meanwhile consists of small pages since. That made the next fork ten times as long, and everything slower.
pub fn make_again(copied_bytes: u64) {
    /// Less is not worth a walk.
    const LEAST_BYTES: u64 = 16 << 20;
    if copied_bytes >= LEAST_BYTES && are_wanted() {
        start(REST_AFTER_CHILD);
    }
}

/// How often it was asked that memory be made huge since the thread was started; 0 if there is none.
static ASKED: AtomicU32 = AtomicU32::new(0);

/// Starts the thread, which rests for so many times as long as it has worked. The one that there is has its
/// own pace, and begins anew when it is done.
fn start(rest: u32) {
    let work = move || {
        loop {
            let asked = ASKED.load(Ordering::Acquire);
            make_huge(rest);
            if ASKED.compare_exchange(asked, 0, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                break;
            }
        }
    };
    if ASKED.fetch_add(1, Ordering::AcqRel) == 0 {
        // Without the thread the kernel does the same, over hours.
        let thread = std::thread::Builder::new().name("cairn-pages".into()).spawn(work);
        if thread.is_err() {
            ASKED.store(0, Ordering::Release);
        }
    }
}

/// Whether both the allocator and the system use huge pages.
fn are_wanted() -> bool {
    const SETTING: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
    #[cfg(feature = "jemalloc")]
    let by_allocator = super::jemalloc::wants_huge_pages();
    #[cfg(not(feature = "jemalloc"))]
    let by_allocator = false;
    by_allocator && fs::read_to_string(SETTING).is_ok_and(|choice| !choice.contains("[never]"))
}

/// Makes what has been loaded huge, piece by piece.
fn make_huge(rest: u32) {
    // Afterwards it rests instead: who holds a page that others want must get on.
    if rest == REST_AFTER_LOAD {
        step_back();
    }
    let Some(mut own) = Own::new() else { return };
    let mut failures = 0;
    for range in anonymous() {
        let mut at = range.start.next_multiple_of(HUGE_BYTES);
        while at.checked_add(HUGE_BYTES).is_some_and(|end| end <= range.end) && failures < MOST_FAILURES {
            while fork::has_children() {
                std::thread::sleep(CHILD_NAP);
            }
            let piece = at..at + HUGE_BYTES;
            at = piece.end;
            if !is_full(&piece) {
                continue;
            }
            let began = Instant::now();
            own.touch();
            own.give_back();
            failures = if collapse(piece) { 0 } else { failures + 1 };
            std::thread::sleep(began.elapsed() * rest);
        }
    }
    memory::publish_thread();
}

/// Leaves the processor to others.
fn step_back() {
    const NICE: libc::c_int = 19;
    // SAFETY: changes the priority of the calling thread, which Linux keeps for each; needs no memory of
    // ours. A refusal would only leave it as it is.
    #[cfg(target_os = "linux")]
    unsafe {
        libc::nice(NICE);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = NICE;
}

/// Where memory is mapped that is no file's, in order. What comes later is not in it.
fn anonymous() -> Vec<Range<usize>> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines().filter_map(parse_mapping).filter(|range| range.len() >= HUGE_BYTES).collect()
}

/// The range of a line of /proc/self/maps that tells of private, writable memory without a name.
fn parse_mapping(line: &str) -> Option<Range<usize>> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let (access, name) = (fields.next()?, fields.nth(3));
    let hex = |text| usize::from_str_radix(text, 16).ok();
    (access == "rw-p" && name.is_none()).then_some(hex(start)?..hex(end)?)
}

/// Whether most of the pages of a piece are in memory. Whatever the range is, nothing is touched.
fn is_full(piece: &Range<usize>) -> bool {
    const MOST_PAGES: usize = HUGE_BYTES / 4096;
    let mut pages = [0u8; MOST_PAGES];
    let page_bytes = usize::try_from(memory::page_bytes()).unwrap_or(HUGE_BYTES).max(4096);
    let count = piece.len() / page_bytes;
    // SAFETY: the kernel writes a byte for each page of the range, no more than there is room for; of the
    // range itself it only tells.
    let said = unsafe { libc::mincore(piece.start as *mut c_void, piece.len(), pages.as_mut_ptr()) };
    let there = pages[..count.min(MOST_PAGES)].iter().filter(|page| **page & 1 == 1).count();
    said == 0 && there * 16 >= count * LEAST_SIXTEENTHS
}

/// Has the kernel make a range one huge page. False if it would not.
fn collapse(piece: Range<usize>) -> bool {
    #[cfg(target_os = "linux")]
    {
        const MADV_COLLAPSE: libc::c_int = 25;
        // SAFETY: moves pages under the same addresses and changes nothing that a program can see; a range
        // that is not mapped any more is an error.
        unsafe { libc::madvise(piece.start as *mut c_void, piece.len(), MADV_COLLAPSE) == 0 }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = piece;
        false
    }
}

/// Switches huge pages off or on for the process.
fn set_disabled(is_disabled: bool) -> Result<(), nix::errno::Errno> {
    #[cfg(target_os = "linux")]
    return nix::sys::prctl::set_thp_disable(is_disabled);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = is_disabled;
        Err(nix::errno::Errno::ENOSYS)
    }
}

/// A huge page's worth of addresses.
#[derive(Debug)]
struct Own {
    mapped: *mut c_void,
    start: usize,
}

impl Own {
    const MAPPED_BYTES: usize = 2 * HUGE_BYTES;

    fn new() -> Option<Own> {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: asks for fresh memory at no address in particular.
        let mapped = unsafe { libc::mmap(ptr::null_mut(), Own::MAPPED_BYTES, access, kind, -1, 0) };
        if mapped == libc::MAP_FAILED {
            return None;
        }
        let own = Own { mapped, start: (mapped as usize).next_multiple_of(HUGE_BYTES) };
        #[cfg(target_os = "linux")]
        // SAFETY: advice on memory that is `own`'s.
        unsafe {
            libc::madvise(own.start as *mut c_void, HUGE_BYTES, libc::MADV_HUGEPAGE);
        }
        Some(own)
    }

    #[cfg(test)]
    fn range(&self) -> Range<usize> {
        self.start..self.start + HUGE_BYTES
    }

    /// Has the kernel put memory there.
    fn touch(&mut self) {
        // SAFETY: `start` is within what was mapped, which is writable and nobody else's.
        unsafe { (self.start as *mut u8).write_volatile(1) }
    }

    fn give_back(&mut self) {
        // SAFETY: what is there is nobody's: it is never read.
        unsafe { libc::madvise(self.start as *mut c_void, HUGE_BYTES, libc::MADV_DONTNEED) };
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and no pointer into it is left.
        unsafe { libc::munmap(self.mapped, Own::MAPPED_BYTES) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_mappings_are_told_apart() {
        let parse = parse_mapping;
        assert_eq!(
            parse("7f0000200000-7f0000600000 rw-p 00000000 00:00 0 "),
            Some(0x7f00_0020_0000..0x7f00_0060_0000)
        );
        assert_eq!(parse("7f0000200000-7f0000600000 r--p 00000000 00:00 0 "), None);
        assert_eq!(parse("7ffc00000000-7ffc00600000 rw-p 00000000 00:00 0      [stack]"), None);
        assert_eq!(parse("7f0000200000-7f0000600000 rw-s 00000000 00:01 2048 /dev/zero (deleted)"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn a_kernel_says_whether_it_can_make_pages_huge() {
        let mut own = Own::new().expect("memory");
        own.touch();
        let does = collapse(own.range());
        assert!(collapse(0..0) || !does);
    }

    #[test]
    fn what_is_in_memory_is_known_and_stays_what_it_was() {
        let mut own = Own::new().expect("memory");
        assert!(!is_full(&own.range()), "nothing has been touched");
        let bytes = own.start as *mut u8;
        // SAFETY: within what `own` has mapped.
        (0..HUGE_BYTES).step_by(512).for_each(|i| unsafe { bytes.add(i).write((i >> 9) as u8) });
        assert!(is_full(&own.range()));
        // The kernel may have none, but it must not change a byte.
        collapse(own.range());
        // SAFETY: as above.
        assert!((0..HUGE_BYTES).step_by(512).all(|i| unsafe { bytes.add(i).read() } == (i >> 9) as u8));
        own.give_back();
        assert!(!collapse(0..HUGE_BYTES), "nobody has memory there");
    }

    #[test]
    fn whoever_asks_while_the_thread_works_has_it_begin_anew_and_it_ends() {
        (0..3).for_each(|_| start(REST_AFTER_CHILD));
        let begun = Instant::now();
        while ASKED.load(Ordering::Acquire) > 0 {
            assert!(begun.elapsed() < Duration::from_secs(60), "it does not end");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
