//! Kafka's small text files with an offset for each partition.

use super::files::{Files, read_small, replace};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Where logs start that start later than their first segment.
pub(super) const LOG_START: &str = "log-start-offset-checkpoint";

/// Up to where logs are synced. Before that Kafka checks nothing again.
pub(super) const RECOVERY_POINT: &str = "recovery-point-offset-checkpoint";

/// Up to where consumers see logs.
pub(super) const HIGH_WATERMARK: &str = "replication-offset-checkpoint";

/// Up to where logs are compacted.
pub(super) const CLEANED: &str = "cleaner-offset-checkpoint";

/// None is larger than this: a row for each of very many partitions.
const BYTES_MAX: u64 = 64 << 20;

/// An offset for each partition, by the name of its folder. The folder itself has the same name, once it is open.
pub(super) type Offsets = BTreeMap<Arc<str>, i64>;

/// Reads such a file's text; why it is none.
pub(super) fn parse(text: &str) -> Result<Offsets, String> {
    // Kafka makes them empty at first.
    if text.is_empty() {
        return Ok(Offsets::new());
    }
    let mut lines = text.lines();
    let version = lines.next().unwrap_or_default();
    if version != "0" {
        return Err(format!(
            "its version is '{}' instead of 0",
            version.escape_debug()
        ));
    }
    let count = lines.next().unwrap_or_default();
    let row_of = |line: &str| {
        let mut words = line.split_whitespace();
        let row = (words.next(), words.next(), words.next(), words.next());
        let parsed = match row {
            (Some(topic), Some(index), Some(offset), None) => index
                .parse::<i32>()
                .ok()
                .zip(offset.parse::<i64>().ok())
                .map(|(index, offset)| (format!("{topic}-{index}").into(), offset)),
            _ => None,
        };
        parsed.ok_or_else(|| format!("'{}' is no row of it", line.escape_debug()))
    };
    // Made of all rows at once, such a map takes half of what it would take if they came one after the other.
    let offsets = lines.map(row_of).collect::<Result<Offsets, String>>()?;
    match count.parse() == Ok(offsets.len()) {
        true => Ok(offsets),
        false => Err(format!(
            "it is to have '{}' rows, and has {}",
            count.escape_debug(),
            offsets.len()
        )),
    }
}

/// Reads such a file, which holds nothing where it is not there; why it cannot be used.
pub(super) fn read(files: &dyn Files, path: &Path) -> Result<Offsets, String> {
    let bytes = read_small(files, path, BYTES_MAX).map_err(|error| error.to_string())?;
    parse(&String::from_utf8_lossy(&bytes.unwrap_or_default()))
}

/// Writes such a file.
pub(super) fn write(files: &dyn Files, path: &Path, offsets: &Offsets) -> io::Result<()> {
    replace(files, path, text(offsets).as_bytes())
}

fn text(offsets: &Offsets) -> String {
    let mut text = format!("0\n{}\n", offsets.len());
    for (name, offset) in offsets {
        if let Some((topic, index)) = name.rsplit_once('-') {
            // Writing into a string cannot fail.
            let _ok = writeln!(text, "{topic} {index} {offset}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let offsets = Offsets::from([("a-b-0".into(), 3), ("m-10".into(), 0)]);
        assert_eq!(text(&offsets), "0\n2\na-b 0 3\nm 10 0\n");
        assert_eq!(parse(&text(&offsets)), Ok(offsets));
        assert_eq!(parse(""), Ok(Offsets::new()));
    }

    #[test]
    fn what_is_no_such_file_is_told_with_the_reason() {
        for (bad, why) in [
            ("1\n0\n", "version"),
            ("0\n2\nm 0 3\n", "rows"),
            ("0\n1\nm 0\n", "no row"),
            ("0\n1\nm 0 x\n", "no row"),
            ("0\n1\nm 0 1 1\n", "no row"),
            ("0\nx\n", "rows"),
        ] {
            let error = parse(bad).expect_err(bad);
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}
