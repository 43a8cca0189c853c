//! The title of the process, as `ps` shows it.
//!
//! The kernel is told that the arguments of the process lie in memory of ours. Where it does not let us,
//! the title stays what it was.
#![allow(unsafe_code)]

use std::sync::Mutex;

/// `struct prctl_mm_map` of linux/prctl.h.
#[repr(C)]
#[derive(Default)]
struct MemoryMap {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: u64,
    auxv_size: u32,
    exe_fd: u32,
}

const PR_SET_MM: i32 = 35;
const PR_SET_MM_MAP: libc::c_ulong = 14;

/// The title that the kernel shows. It looks at it whenever it is asked, so it must stay.
static SHOWN: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Field `n` of /proc/self/stat, counted from 1 as in proc(5).
fn field(stat: &str, n: usize) -> Option<u64> {
    // The name of the program, the second field, is in parentheses and may have blanks.
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split_ascii_whitespace().nth(n.checked_sub(3)?)?.parse().ok()
}

/// Sets the title. False if the system does not let us.
pub fn set(title: &[u8]) -> bool {
    let Ok(mut shown) = SHOWN.lock() else { return false };
    let mut new = title.to_vec();
    new.push(0);
    let Some(map) = map_with(&new) else { return false };
    // SAFETY: the call reads a live struct of the layout and size that it is told. The kernel checks every
    // address in it; those of our title are in `new`, which stays where it is, as `shown` owns it from here.
    let done = unsafe {
        libc::prctl(
            PR_SET_MM,
            PR_SET_MM_MAP,
            &raw const map,
            size_of::<MemoryMap>() as libc::c_ulong,
            0 as libc::c_ulong,
        )
    };
    if done == 0 {
        // The old title goes only now that the kernel no longer looks at it. Moving a vector does not move
        // what it holds.
        *shown = new;
    }
    done == 0
}

/// The memory of the process as it is, but for the arguments.
fn map_with(title: &[u8]) -> Option<MemoryMap> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let at = |n| field(&stat, n);
    // SAFETY: with 0 the break is not moved, only told.
    let brk = unsafe { libc::sbrk(0) };
    let start = title.as_ptr() as u64;
    Some(MemoryMap {
        start_code: at(26)?,
        end_code: at(27)?,
        start_stack: at(28)?,
        start_data: at(45)?,
        end_data: at(46)?,
        start_brk: at(47)?,
        brk: brk as u64,
        arg_start: start,
        arg_end: start + title.len() as u64,
        env_start: at(50)?,
        env_end: at(51)?,
        auxv: 0,
        auxv_size: 0,
        exe_fd: u32::MAX,
    })
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn fields_behind_a_name_with_blanks() {
        let stat = "7 (a (b) c) S 1 7 7";
        assert_eq!(field(stat, 4), Some(1));
        assert_eq!(field(stat, 3), None, "the state is a letter");
        assert_eq!(field(stat, 99), None);
        assert_eq!(field("", 4), None);
    }
}
