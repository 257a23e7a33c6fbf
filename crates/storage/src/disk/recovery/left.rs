//! A log that was left in order: a look at its ends has to confirm it.

use super::indexed::{offset_entry, time_entry};
use super::{Failed, Found, Opening, first_timestamp, push, segment_of, untrue};
use crate::disk::files::{Listed, Mode};
use crate::disk::folder::Kind;
use crate::disk::index::{OFFSET_ENTRY_BYTES, TIME_ENTRY_BYTES};
use crate::disk::scan::look;
use crate::disk::seek::Headers;
use crate::disk::segment::Segment;
use crate::disk::side::EPOCHS;
use rustka_core::batch::BatchHeader;
use rustka_core::log::PartitionState;
use rustka_core::producers::Producers;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// A look at a tail begins so many entries of the index before the end.
const LOOK_ENTRIES: usize = 8;

impl Opening<'_> {
    /// Opens a log that was left in order: nothing is read but its ends.
    pub(super) fn as_left(&self, sequence: &mut dyn FnMut() -> u64) -> Result<Found, Failed> {
        let mut segments = Vec::with_capacity(self.logs.len());
        let last = self
            .logs
            .last_key_value()
            .map(|(base_offset, _)| *base_offset);
        let mut tail = Vec::new();
        for (base_offset, listed) in &self.logs {
            let segment = if Some(*base_offset) == last {
                self.newest_as_left(*base_offset, listed, &mut tail)?
            } else {
                let name = || Kind::Log.name(*base_offset);
                let segment = self.closed_as_left(*base_offset, listed)?;
                segment.ok_or_else(|| untrue(format!("the indexes of {} do not fit", name())))?
            };
            push(&mut segments, segment, sequence);
        }
        let end = segments
            .last()
            .map_or(0, |last: &Segment| last.info.next_offset);
        let producers = match self.snapshots.last() {
            Some(newest) if *newest == end => self.snapshot(end)?,
            None if end == 0 => Some(Producers::default()),
            _ => None,
        };
        let producers = producers.ok_or_else(|| {
            untrue(format!(
                "there is no whole snapshot of its producers at offset {end}"
            ))
        })?;
        let epochs = self.epochs.clone();
        let epochs =
            epochs.filter(|epochs| epochs.latest().is_none_or(|last| last.start_offset <= end));
        let Some(epochs) = epochs.filter(|epochs| end == 0 || epochs.latest().is_some()) else {
            return Err(untrue(format!("{EPOCHS} does not fit")));
        };
        let mut state = PartitionState::restored(end, epochs.clone(), producers);
        tail.iter().for_each(|header| state.recall(header));
        if end < self.known.synced {
            return Err(untrue(format!(
                "it ends at {end}, and was synced up to {}",
                self.known.synced
            )));
        }
        Ok(Found {
            segments,
            state,
            damaged: Vec::new(),
            snapshot: self.snapshots.last().copied(),
            epochs,
        })
    }

    /// A segment that is no longer written to, by its indexes; nothing if they do not fit.
    pub(super) fn closed_as_left(
        &self,
        base_offset: i64,
        listed: &Listed,
    ) -> io::Result<Option<Segment>> {
        let mut segment = Segment::new(0, base_offset);
        segment.indexing = None;
        segment.info.cold = true;
        segment.info.bytes = listed.bytes;
        segment.info.opened_ms = listed.written_ms;
        segment.info.written_ms = listed.written_ms;
        if listed.bytes == 0 {
            return Ok(Some(segment));
        }
        let entries = |of: &BTreeMap<i64, &Listed>, bytes| {
            let size = of.get(&base_offset)?.bytes;
            size.is_multiple_of(bytes).then_some(size / bytes)
        };
        let by_offset = entries(&self.indexes, OFFSET_ENTRY_BYTES);
        let by_time = entries(&self.time_indexes, TIME_ENTRY_BYTES);
        let (Some(by_offset), Some(by_time @ 1..)) = (by_offset, by_time) else {
            return Ok(None);
        };
        if let Some(last) = by_offset.checked_sub(1) {
            let index = self.folder.open(Kind::Index, base_offset, Mode::Read)?;
            let entry = offset_entry(&*index, last)?;
            if u64::from(entry.at) >= listed.bytes || entry.at == 0 {
                return Ok(None);
            }
        }
        let index = self.folder.open(Kind::TimeIndex, base_offset, Mode::Read)?;
        let last = time_entry(&*index, by_time - 1)?;
        let log = self.folder.open(Kind::Log, base_offset, Mode::Read)?;
        let Ok(Some((_, first))) = Headers::new(&*log, 0, listed.bytes).next() else {
            return Ok(None);
        };
        segment.info.first_timestamp = first.max_timestamp;
        segment.info.max_timestamp = last.timestamp;
        Ok(Some(segment))
    }

    /// The segment that is written to, by a look at its end; the headers there are added to `tail`.
    fn newest_as_left(
        &self,
        base_offset: i64,
        listed: &Listed,
        tail: &mut Vec<BatchHeader>,
    ) -> Result<Segment, Failed> {
        let log = self.folder.open(Kind::Log, base_offset, Mode::Read)?;
        let known = self.indexed(base_offset)?;
        let before = known.by_offset.len().saturating_sub(LOOK_ENTRIES);
        let begin = known.begin(before, self.known.synced);
        let has = |of: &BTreeMap<i64, &Listed>, kind: Kind| match of.contains_key(&base_offset) {
            true => Ok(()),
            false => Err(untrue(format!("{} is missing", kind.name(base_offset)))),
        };
        has(&self.indexes, Kind::Index)?;
        has(&self.time_indexes, Kind::TimeIndex)?;
        let interval_bytes = self.known.rules.index_interval_bytes;
        let mut places = BTreeSet::new();
        let mut found = look(&*log, base_offset, begin, interval_bytes, |at, header| {
            let last = header.last_offset().unwrap_or(header.base_offset);
            places.insert((at, last - base_offset));
            tail.push(*header);
        })?;
        if let Some(why) = found.bad {
            let offset = found.next_offset;
            return Err(untrue(format!("{}, offset {offset}: {why}", listed.name)));
        }
        let entries = known.by_offset.get(before..).unwrap_or_default();
        let same = entries == &found.by_offset[..];
        let mut each = entries.iter();
        let are_true = each
            .all(|entry| places.contains(&(u64::from(entry.at), i64::from(entry.offset_delta))));
        let is_padded = known.is_torn && self.is_padded(base_offset, &known)?;
        if !are_true || known.is_torn && !is_padded {
            return Err(untrue(format!(
                "{} does not fit",
                Kind::Index.name(base_offset)
            )));
        }
        if !same {
            // Kafka counts anew from each of its starts on, so that there are fewer of them than there are to be.
            self.write_indexes(base_offset, &found, &known, known.kept(before))?;
            let first = first_timestamp(&*log, found.bytes)?;
            return Ok(segment_of(base_offset, listed, &found, first, true));
        }
        // There may be more than there have to be: one for the end, and those that a recovery of Kafka's has added.
        let (least, there) = (found.indexing.by_time, known.by_time.len() as u64);
        match known.by_time.last() {
            Some(last) if there >= least && last.timestamp <= found.max_timestamp => {
                found.indexing.go_on_after(there, *last);
            }
            None if least == 0 => {}
            _ => {
                return Err(untrue(format!(
                    "{} does not fit",
                    Kind::TimeIndex.name(base_offset)
                )));
            }
        }
        if is_padded {
            self.cut_padding(base_offset, &known)?;
        }
        let first = first_timestamp(&*log, found.bytes)?;
        Ok(segment_of(base_offset, listed, &found, first, true))
    }
}
