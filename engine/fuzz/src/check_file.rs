//! Any bytes as an RDB file that is checked, mapped and through a buffer, on one thread and on two, quickly and
//! deeply: no panic, and the same findings.

use std::io::Write;

use rdb_tools::check::{Depths, Report, check_with};
use rdb_tools::dropin::check_rdb;
use rdb_tools::input::{Access, Input};
use rdb_tools::parallel::Jobs;
use rdb_tools::progress::{Progress, Wanted};

/// Runs the target.
pub fn run(data: &[u8]) {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(data).expect("written");
    let check = |access, depths, jobs| -> Option<Report> {
        let mut input = Input::open(file.path(), access).ok()?;
        let progress = Progress::new(Wanted::Never, String::new(), None);
        Some(check_with(&mut input, depths, Jobs { jobs: Some(jobs) }, &progress).expect("it can be read"))
    };
    let one = check(Access::Map, Depths::Deep, 1);
    let two = check(Access::Map, Depths::Deep, 2);
    let buffered = check(Access::Buffer, Depths::Deep, 1);
    let quick = check(Access::Map, Depths::Quick, 1);
    if let (Some(one), Some(two)) = (&one, &two) {
        assert_eq!((one.keys, &one.findings), (two.keys, &two.findings), "threads");
    }
    if let (Some(deep), Some(quick)) = (&one, &quick) {
        // It reads on behind fewer faults, but none of its own.
        assert!(deep.found > 0 || quick.found == 0, "{:?}", quick.findings);
        assert_eq!(deep.found == 0, deep.findings.is_empty());
    }
    if let (Some(mapped), Some(buffered)) = (&one, &buffered) {
        assert_eq!(mapped.found > 0, buffered.found > 0, "{:?} {:?}", mapped.findings, buffered.findings);
    }
    // As the servers' own tool, whose output is its own.
    check_rdb::check(data, b"dump.rdb", &mut std::io::sink()).expect("nothing is written");
}
