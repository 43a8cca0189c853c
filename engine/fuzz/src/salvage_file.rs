//! Any bytes as a damaged RDB file: what salvage gets out of it is a file without faults.
//!
//! The last byte chooses its options, so that files of `testdata` are seeds as they are.

use std::io::Write;

use rdb_tools::check::{Depths, Fate, check};
use rdb_tools::input::{Access, Input};
use rdb_tools::progress::{Progress, Wanted};
use rdb_tools::salvage::{Form, Options, salvage_slice};

/// Runs the target.
pub fn run(data: &[u8]) {
    let Some((choice, file)) = data.split_last() else { return };
    let options = Options {
        no_repair: choice & 1 != 0,
        keep_doubtful: choice & 2 != 0,
        partial: choice & 4 != 0,
        ..Options::default()
    };
    let form = if choice & 8 == 0 { Form::Rdb } else { Form::Jsonl };
    let (report, out) = salvage_slice(file, &options, form, || Ok(Vec::new())).expect("it is in memory");
    assert!(report.lost.iter().all(|lost| lost.from <= lost.to), "{:?}", report.lost);
    assert!(report.lost.iter().all(|lost| lost.to <= file.len() as u64), "{:?}", report.lost);
    if form == Form::Jsonl {
        let lines = out.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{\"db\"")).count();
        assert!(lines as u64 >= report.keys, "{lines} lines for {} keys", report.keys);
        return;
    }
    let mut salvaged = tempfile::NamedTempFile::new().expect("a temporary file");
    salvaged.write_all(&out).expect("written");
    let mut input = Input::open(salvaged.path(), Access::Map).expect("it is there");
    let progress = Progress::new(Wanted::Never, String::new(), None);
    let checked = check(&mut input, Depths::Deep, &progress).expect("it can be read");
    assert_eq!(checked.keys, report.keys, "{:?}", checked.findings);
    let refused = checked.findings.iter().find(|found| matches!(found.fate, Fate::Refuses | Fate::Crashes));
    assert!(refused.is_none(), "{refused:?}");
}
