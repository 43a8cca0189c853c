//! Any bytes as a file of a log: no panic when it is shown, and what a repair leaves can be read to its end.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // Errors are the system's, and files with more wrong in them than a repair wants to list.
    let _ = aof_tools::probe::show(data);
    let _ = aof_tools::probe::repair(data, false);
    let _ = aof_tools::probe::repair(data, true);
});
