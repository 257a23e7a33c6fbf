//! Which offsets are known to be damaged: a file in the directory's root, since a look at a log's end does not meet them
//! again. There is none where nothing is damaged. Kafka passes files there over.

use super::files::{Files, read_small, remove_if_there, replace};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// The file's name.
pub(super) const NAME: &str = "rustka-damaged-offsets";
/// It is not larger than this.
const BYTES_MAX: u64 = 16 << 20;

/// Ranges of offsets that cannot be read, in order, by the name of the partition's folder.
pub(super) type Damage = BTreeMap<Arc<str>, Vec<Range<i64>>>;

/// What is known in this directory. What is no row of the file is passed over: it only spares others a look.
pub(super) fn read(files: &dyn Files, root: &Path) -> io::Result<Damage> {
    let bytes = read_small(files, &root.join(NAME), BYTES_MAX)?.unwrap_or_default();
    let mut damage = Damage::new();
    for line in String::from_utf8_lossy(&bytes).lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if let [folder, start, end] = words[..]
            && let (Ok(start), Ok(end)) = (start.parse(), end.parse())
            && start < end
        {
            let ranges = damage.entry(folder.into()).or_default();
            add(ranges, start..end);
        }
    }
    Ok(damage)
}

/// Adds a range to others, which stay in order and apart.
pub(super) fn add(ranges: &mut Vec<Range<i64>>, new: Range<i64>) {
    let from = ranges.partition_point(|range| range.end < new.start);
    let to = ranges.partition_point(|range| range.start <= new.end);
    let touched = ranges.get(from..to).unwrap_or_default();
    let start = touched.first().map_or(new.start, |first| first.start);
    let end = touched.last().map_or(new.end, |last| last.end);
    let whole = start.min(new.start)..end.max(new.end);
    ranges.splice(from..to.max(from), [whole]);
}

/// Forgets what lies before this offset; whether there was anything.
pub(super) fn forget_before(ranges: &mut Vec<Range<i64>>, offset: i64) -> bool {
    let before = ranges.first().is_some_and(|first| first.start < offset);
    if before {
        ranges.retain(|range| range.end > offset);
        if let Some(first) = ranges.first_mut() {
            first.start = first.start.max(offset);
        }
    }
    before
}

/// Writes what is known.
pub(super) fn write(files: &dyn Files, root: &Path, damage: &Damage) -> io::Result<()> {
    let path = root.join(NAME);
    if damage.is_empty() {
        return remove_if_there(files, &path);
    }
    let mut text = String::new();
    for (folder, ranges) in damage {
        for range in ranges {
            // Writing into a string cannot fail.
            let _ok = writeln!(text, "{folder} {} {}", range.start, range.end);
        }
    }
    replace(files, &path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_become_one() {
        let mut ranges = Vec::new();
        for range in [10..12, 2..3, 20..30, 3..5, 11..21] {
            add(&mut ranges, range);
        }
        assert_eq!(ranges, [2..5, 10..30]);
        add(&mut ranges, 7..8);
        assert_eq!(ranges, [2..5, 7..8, 10..30]);
        add(&mut ranges, 0..100);
        assert_eq!(ranges, std::slice::from_ref(&(0..100)));
    }
}
