//! Much data in files: whether there is room for it, and how it comes there.

use super::peer::Peer;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// What is written beside the records that are asked for, at most: other topics, and what comes while a broker is killed.
const BESIDE: u64 = 3_000_000_000;
/// Values of a GB take so much more room with their batches' headers, and indexes.
const OVER_VALUES: f64 = 1.1;
/// Of what is free, so much stays so.
const LEFT: u64 = 1_000_000_000;
/// How long filling may take.
const FILL: Duration = Duration::from_secs(900);
/// Bytes of one value.
const VALUE: f64 = 1024.0;

/// An error unless so many GB of values have room below a folder.
pub fn is_there(folder: &Path, gb: f64) -> Result<(), String> {
    let needed = (gb * 1e9 * OVER_VALUES) as u64 + BESIDE + LEFT;
    let output = Command::new("df").arg("-Pk").arg(folder).output();
    let output = output.map_err(|e| format!("df: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let free = free_of(&text).ok_or_else(|| format!("df {}: {text}", folder.display()))?;
    match free >= needed {
        true => Ok(()),
        false => Err(format!(
            "{gb} GB need {} MB of room below {}, and {} MB are free; --gb takes less",
            needed / 1_000_000,
            folder.display(),
            free / 1_000_000
        )),
    }
}

/// The free bytes that `df -Pk` tells.
fn free_of(text: &str) -> Option<u64> {
    let kib = text.lines().nth(1)?.split_whitespace().nth(3)?;
    Some(kib.parse::<u64>().ok()? * 1024)
}

/// Records of 1 KiB that make so many GB, at least one for each partition.
fn messages(gb: f64, partitions: u32) -> u64 {
    ((gb * 1e9 / VALUE) as u64).max(64 * u64::from(partitions))
}

/// Writes so many GB into a topic, a GB at a time.
pub fn fill(p: &Peer, topic: &str, partitions: u32, gb: f64) -> Result<(), String> {
    is_there(p.folder(), gb)?;
    let begun = Instant::now();
    let conns = partitions.min(8);
    let load =
        format!("produce --topic {topic} --partitions {partitions} --conns {conns} --secs 240");
    let mut left = messages(gb, partitions);
    while left > 0 {
        if begun.elapsed() > FILL {
            return Err(format!("not filled in {} s", FILL.as_secs()));
        }
        let now = left.min(messages(1.0, partitions));
        p.load(&format!("{load} --msgs {now}"))?;
        left -= now;
    }
    Ok(())
}

/// Reads every file below a folder as far as the disk has something of it, so that the system has them in its cache as far
/// as it has memory. Kafka makes its indexes as large as they may become.
pub fn warm(folder: &Path) -> Result<u64, String> {
    let wrong = |e: io::Error| format!("{}: {e}", folder.display());
    let mut bytes = 0;
    for entry in fs::read_dir(folder).map_err(wrong)? {
        let entry = entry.map_err(wrong)?;
        let kind = entry.file_type().map_err(wrong)?;
        bytes += match kind.is_dir() {
            true => warm(&entry.path())?,
            false => {
                let file = File::open(entry.path()).map_err(wrong)?;
                let there = file.metadata().map_err(wrong)?.blocks() * 512;
                io::copy(&mut file.take(there), &mut io::sink()).map_err(wrong)?
            }
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_free_stands_in_the_fourth_column() {
        let text =
            "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/a 100 60 40 60% /\n";
        assert_eq!(free_of(text), Some(40 * 1024));
        assert_eq!(free_of("df: no such file"), None);
    }

    #[test]
    fn what_has_no_room_is_told_with_what_it_would_take() {
        let folder = std::env::temp_dir();
        is_there(&folder, 1e9)
            .unwrap_err()
            .find("MB are free")
            .unwrap();
    }
}
