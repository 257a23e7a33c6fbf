//! Every input in `fuzz/corpus` and `fuzz/regressions` through its target, without a fuzzer.

#[path = "../../../fuzz/src/lib.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "some of it is for writing the first inputs"
)]
mod targets;

use std::fs;
use std::path::Path;

type Target = fn(&[u8]);

/// Runs a target on all inputs of both folders; how many there were.
fn replay(name: &str, target: Target) -> usize {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let mut count = 0;
    for folder in ["corpus", "regressions"] {
        // Not every target has met something.
        let Ok(entries) = fs::read_dir(fuzz.join(folder).join(name)) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("an entry").path();
            println!("{}", path.display());
            target(&fs::read(&path).expect("an input"));
            count += 1;
        }
    }
    count
}

/// One after the other, because the target of frames counts the memory of all.
#[test]
fn whatever_a_fuzzer_has_found_is_harmless_now() {
    let all: [(&str, Target); 6] = [
        ("frames", targets::frames),
        ("batch", targets::batch),
        ("gzip", targets::gzip),
        ("snappy", targets::snappy),
        ("lz4", targets::lz4),
        ("zstd", targets::zstd),
    ];
    for (name, target) in all {
        assert!(replay(name, target) > 0, "no input for {name}");
    }
}
