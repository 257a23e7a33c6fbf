//! The fuzz targets on well-formed inputs and on their neighbours, without a fuzzer.

#[path = "../../../fuzz/src/lib.rs"]
mod targets;

use std::collections::BTreeMap;

/// Places at which a seed is changed. A broker is started for every input of `frames`, so that has fewer.
const PLACES: usize = 100;
const PLACES_OF_FRAMES: usize = 6;

/// One after the other, because the target of frames counts the memory of all.
#[test]
fn seeds_and_inputs_that_lie_by_one_are_harmless() {
    let mut inputs: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in targets::seeds() {
        let (target, places): (fn(&[u8]), usize) = match seed.target {
            "frames" => (targets::frames, PLACES_OF_FRAMES),
            "batch" => (targets::batch, PLACES),
            "gzip" => (targets::gzip, PLACES),
            "snappy" => (targets::snappy, PLACES),
            "lz4" => (targets::lz4, PLACES),
            "segment" => (targets::segment, PLACES),
            "index" => (targets::index, PLACES),
            "snapshot" => (targets::snapshot, PLACES),
            "checkpoint" => (targets::checkpoint, PLACES),
            "zstd" => (targets::zstd, PLACES),
            other => panic!("no target {other}"),
        };
        println!("{} {}", seed.target, seed.name);
        target(&seed.bytes);
        for (number, neighbour) in targets::neighbours(&seed.bytes, places).enumerate() {
            println!("neighbour {number}");
            target(&neighbour);
        }
        *inputs.entry(seed.target).or_default() += 1;
    }
    assert_eq!(inputs.len(), 10, "{inputs:?}");
}
