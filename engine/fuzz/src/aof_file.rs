//! Any bytes as a file of a log: no panic when it is shown, checked, repaired and folded, and what a repair
//! leaves can be read again.

use std::io;

use aof_tools::probe;
use rdb_tools::cmd::Reading;
use rdb_tools::fold::{Log, OnBad, OnTorn, Options, fold};
use rdb_tools::jsonl::{self, Jsonl};

/// Runs the target.
pub fn run(data: &[u8]) {
    // Errors are the system's, and files with more wrong in them than a repair wants to list.
    let _ = probe::show(data);
    let _ = probe::check(data);
    let _ = probe::repair(data, false);
    let _ = probe::repair(data, true);
    let file = probe::file(data).expect("a temporary file");
    let Ok(log) = Log::open(file.path()) else { return };
    let reading = Reading { no_mmap: true, no_progress: true };
    for (on_bad, on_torn) in [(OnBad::Skip, OnTorn::Drop), (OnBad::Fail, OnTorn::Fail)] {
        let options = Options { on_bad, on_torn, ..Options::new(reading) };
        // What is wrong with the log.
        let _ = fold(&log, &options, &mut Jsonl::new(io::sink(), jsonl::Options::default()));
    }
}
