//! Kafka's small files beside the segments: what they say, in its own bytes.

use rustka_core::epochs::Epochs;
use rustka_core::producers::AbortedTransaction;
use std::fmt::Write;

/// Leader epochs of a partition and where they begin.
pub(super) const EPOCHS: &str = "leader-epoch-checkpoint";
/// Size of an entry in the index of aborted transactions.
pub(super) const ABORTED_ENTRY_BYTES: usize = 34;
/// The version of such an entry.
const ABORTED_VERSION: i16 = 0;

/// An entry of the index of aborted transactions, with the last stable offset once that transaction is over.
pub(super) fn aborted_entry(aborted: &AbortedTransaction, last_stable: i64) -> Vec<u8> {
    let mut entry = Vec::with_capacity(ABORTED_ENTRY_BYTES);
    entry.extend_from_slice(&ABORTED_VERSION.to_be_bytes());
    for field in [
        aborted.producer_id,
        aborted.first_offset,
        aborted.last_offset,
        last_stable,
    ] {
        entry.extend_from_slice(&field.to_be_bytes());
    }
    entry
}

/// The transactions in such an index; nothing if it is none.
pub(super) fn aborted_entries(bytes: &[u8]) -> Option<Vec<(AbortedTransaction, i64)>> {
    let (entries, rest) = bytes.as_chunks::<ABORTED_ENTRY_BYTES>();
    if !rest.is_empty() {
        return None;
    }
    let each = entries.iter().map(|entry| {
        let (version, fields) = entry.split_first_chunk::<2>()?;
        let (fields, _) = fields.as_chunks::<8>();
        let &[producer_id, first, last, stable] = fields else {
            return None;
        };
        let aborted = AbortedTransaction {
            producer_id: i64::from_be_bytes(producer_id),
            first_offset: i64::from_be_bytes(first),
            last_offset: i64::from_be_bytes(last),
        };
        let is_one = i16::from_be_bytes(*version) == ABORTED_VERSION
            && aborted.first_offset <= aborted.last_offset;
        is_one.then(|| (aborted, i64::from_be_bytes(stable)))
    });
    each.collect()
}

/// The file of leader epochs.
pub(super) fn epochs_text(epochs: &Epochs) -> String {
    let mut text = format!("0\n{}\n", epochs.entries().len());
    for entry in epochs.entries() {
        // Writing into a string cannot fail.
        let _ok = writeln!(text, "{} {}", entry.epoch, entry.start_offset);
    }
    text
}

/// What such a file says; nothing if it is none.
pub(super) fn parse_epochs(text: &str) -> Option<Epochs> {
    let mut epochs = Epochs::default();
    if text.is_empty() {
        return Some(epochs);
    }
    let mut lines = text.lines();
    if lines.next() != Some("0") {
        return None;
    }
    let count: usize = lines.next()?.parse().ok()?;
    for line in lines {
        let (epoch, start_offset) = line.split_once(' ')?;
        epochs.assign(epoch.parse().ok()?, start_offset.parse().ok()?);
    }
    // Those that contradict each other are fewer by now.
    (epochs.entries().len() == count).then_some(epochs)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Measured on Kafka 4.4: data at 4 and 5, the marker at 6.
    #[test]
    fn an_aborted_transaction_is_noted_as_kafka_notes_it() {
        let aborted = AbortedTransaction {
            producer_id: 1,
            first_offset: 4,
            last_offset: 6,
        };
        let entry = aborted_entry(&aborted, 7);
        let fields: [i64; 4] = [1, 4, 6, 7];
        let expected: Vec<u8> = [0, 0]
            .into_iter()
            .chain(fields.map(i64::to_be_bytes).concat())
            .collect();
        assert_eq!(entry, expected);
        assert_eq!(aborted_entries(&entry), Some(vec![(aborted, 7)]));
        assert_eq!(aborted_entries(&entry[1..]), None);
        assert_eq!(aborted_entries(&[]), Some(Vec::new()));
        let mut newer = entry.clone();
        newer[1] = 1;
        assert_eq!(aborted_entries(&newer), None);
    }

    #[test]
    fn epochs_are_read_as_they_were_written() {
        let mut epochs = Epochs::default();
        epochs.assign(0, 0);
        epochs.assign(2, 286);
        assert_eq!(epochs_text(&epochs), "0\n2\n0 0\n2 286\n");
        assert_eq!(parse_epochs("0\n2\n0 0\n2 286\n"), Some(epochs));
        assert_eq!(parse_epochs("0\n0\n"), Some(Epochs::default()));
        for bad in [
            "1\n0\n",
            "0\n1\n",
            "0\n1\n0\n",
            "0\n2\n2 286\n0 0\n",
            "0\n1\n0 x\n",
        ] {
            assert_eq!(parse_epochs(bad), None, "{bad:?}");
        }
    }
}
