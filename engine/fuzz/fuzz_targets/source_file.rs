//! Any bytes as a file that keys are read from (an RDB file, JSON lines, commands, packed or not), printed and
//! checked: an error or an end, and no panic.
#![no_main]

use std::io::{self, Write};

use libfuzzer_sys::fuzz_target;
use rdb_tools::check::{Depths, check};
use rdb_tools::cmd::Reading;
use rdb_tools::input::{Access, Input};
use rdb_tools::jsonl::{Jsonl, Options};
use rdb_tools::progress::{Progress, Wanted};
use rdb_tools::source::Source;

fuzz_target!(|data: &[u8]| {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(data).expect("written");
    for no_mmap in [false, true] {
        let reading = Reading { no_mmap, no_progress: true };
        if let Ok(mut source) = Source::open(file.path().as_os_str(), reading) {
            let _ = source.read(&mut Jsonl::new(io::sink(), Options::default()));
        }
    }
    if let Ok(mut input) = Input::open(file.path(), Access::Map) {
        let _ = check(&mut input, Depths::Deep, &Progress::new(Wanted::Never, String::new(), None));
    }
});
