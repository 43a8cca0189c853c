//! The inputs that fuzzers have found interesting, through every fuzz target: without a fuzzer.

use std::fs;
use std::path::Path;

#[path = "../../../engine/fuzz/src/lib.rs"]
#[allow(unreachable_pub)]
mod fuzz;

#[test]
fn no_target_panics_on_any_input_of_the_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/corpus");
    let mut inputs = 0;
    for entry in fs::read_dir(&corpus).expect("a folder for each target") {
        let folder = entry.expect("it can be read").path();
        let name = folder.file_name().expect("it has a name").to_string_lossy().into_owned();
        assert!(fuzz::TARGETS.iter().any(|(target, _)| *target == name), "{name} is no target");
        for entry in fs::read_dir(&folder).expect("inputs") {
            let path = entry.expect("it can be read").path();
            let bytes = fs::read(&path).expect("it can be read");
            inputs += 1;
            // Of each target's own inputs every other one may be something else to the others, too.
            for (target, run) in fuzz::TARGETS {
                let result = std::panic::catch_unwind(|| run(&bytes));
                assert!(result.is_ok(), "{target} on {}", path.display());
            }
        }
    }
    assert!(inputs > 0, "the corpus is empty");
}
