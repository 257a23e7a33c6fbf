//! Opening what is there of a partition: how it ends, what its producers did, and what of it is damaged.
//!
//! Where the directory was left in order a look at the tail has to confirm it. Else everything that is not known to be
//! synced is gone over: a tail that was not promised is cut, indexes and the small files are made anew where they do
//! not say what the batches do.

use super::damage;
use super::files::{Files, Listed, Mode, OpenFile, read_small, remove_if_there, replace};
use super::folder::{Folder, Kind, UNSURE};
use super::index::{Indexing, OFFSET_ENTRY_BYTES, OffsetEntry, TIME_ENTRY_BYTES, TimeEntry};
use super::load::Headers;
use super::scan::{Begin, Scan, look, scan};
use super::segment::{Segment, SegmentRules};
use super::side::{self, EPOCHS};
use super::tidy::{self, Tidied, by_base};
use crate::engine::ChunkInfo;
use rustka_core::batch::BatchHeader;
use rustka_core::epochs::Epochs;
use rustka_core::log::PartitionState;
use rustka_core::log::replay::Replay;
use rustka_core::producers::{AbortedTransaction, Producers};
use rustka_core::time::Now;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

/// No small file of a partition is larger than this: so many producers, or aborted transactions.
const SMALL_BYTES_MAX: u64 = 64 << 20;
/// A look at a tail begins so many entries of the index before the end.
const LOOK_ENTRIES: usize = 8;
/// Read of an index at once.
const INDEX_PIECE_BYTES: usize = 64 << 10;

/// What is known before the files are looked at.
#[derive(Clone)]
pub(super) struct Known {
    /// The directory was left in order.
    pub clean: bool,
    /// What lies before this was promised to be kept.
    pub synced: i64,
    /// Offsets that were found to be damaged before.
    pub damaged: Vec<Range<i64>>,
    pub rules: SegmentRules,
}

/// A partition as its files tell it. All of it is durable.
#[derive(Default)]
pub(super) struct Found {
    /// Oldest first.
    pub segments: Vec<Segment>,
    /// What all batches led to.
    pub state: PartitionState,
    /// Offsets of batches that cannot be read, in order.
    pub damaged: Vec<Range<i64>>,
    /// There is a snapshot of producers for this offset.
    pub snapshot: Option<i64>,
    /// The epochs that the file of them has.
    pub epochs: Epochs,
}

/// Is shown a batch; why it does not fit those before it.
type See<'a> = dyn FnMut(&BatchHeader, &[u8]) -> Result<(), String> + 'a;

/// Why what lies there is not as it was left in order.
struct Untrue(String);

enum Failed {
    Io(io::Error),
    Untrue(Untrue),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        Failed::Io(error)
    }
}

fn untrue(why: impl Into<String>) -> Failed {
    Failed::Untrue(Untrue(why.into()))
}

/// Opens the segments of a partition. `sequence` numbers them.
pub(super) fn recover(
    files: &dyn Files,
    folder: &Folder,
    known: Known,
    sequence: &mut dyn FnMut() -> u64,
) -> io::Result<Found> {
    let Tidied { listed, was_busy } = tidy::tidy(files, folder)?;
    let mut opening = Opening::new(files, folder, known, &listed)?;
    if opening.is_torn {
        tracing::warn!(
            target: "rustka::storage",
            "{}: an index of aborted transactions does not fit; all of it is gone over",
            folder.name()
        );
        opening.rely_on_less();
    } else if opening.known.clean && !was_busy && !opening.is_unsure {
        match opening.as_left(sequence) {
            Ok(found) => return Ok(opening.with_known_damage(found)),
            Err(Failed::Io(error)) => return Err(error),
            Err(Failed::Untrue(Untrue(why))) => tracing::warn!(
                target: "rustka::storage",
                "{} was not left in order, whatever the mark of that says: {why}; it is gone over",
                folder.name()
            ),
        }
    }
    loop {
        match opening.gone_over(sequence) {
            Ok(found) => return Ok(opening.with_known_damage(found)),
            Err(Failed::Io(error)) => return Err(error),
            // What it relied on does not hold. With less of it there is always an end.
            Err(Failed::Untrue(Untrue(why))) => {
                tracing::warn!(target: "rustka::storage", "{}: {why}; all of it is gone over", folder.name());
                opening.rely_on_less();
            }
        }
    }
}

/// What lies in a folder, and what is believed of it.
struct Opening<'a> {
    files: &'a dyn Files,
    folder: &'a Folder,
    known: Known,
    /// By base offset: sizes and times.
    logs: BTreeMap<i64, &'a Listed>,
    indexes: BTreeMap<i64, &'a Listed>,
    time_indexes: BTreeMap<i64, &'a Listed>,
    /// Offsets of snapshots of producers, oldest first.
    snapshots: Vec<i64>,
    epochs: Option<Epochs>,
    /// With the segment that each lies in.
    aborted: Vec<(AbortedTransaction, i64)>,
    /// Some of those are not known.
    is_torn: bool,
    believes_snapshots: bool,
    /// The system may show bytes that are not on the disk.
    is_unsure: bool,
}

impl<'a> Opening<'a> {
    fn new(
        files: &'a dyn Files,
        folder: &'a Folder,
        known: Known,
        listed: &'a [Listed],
    ) -> io::Result<Opening<'a>> {
        let logs = by_base(listed, Kind::Log);
        for kind in [Kind::Index, Kind::TimeIndex, Kind::TransactionIndex] {
            let bases = by_base(listed, kind).into_keys();
            for orphan in bases.filter(|base_offset| !logs.contains_key(base_offset)) {
                files.remove_file(&folder.at(&kind.name(orphan)))?;
            }
        }
        let mut aborted = Vec::new();
        let mut is_torn = false;
        for base_offset in by_base(listed, Kind::TransactionIndex).into_keys() {
            let path = folder.at(&Kind::TransactionIndex.name(base_offset));
            let bytes = read_small(files, &path, SMALL_BYTES_MAX)?.unwrap_or_default();
            let entries = side::aborted_entries(&bytes);
            is_torn |= entries.is_none();
            aborted.extend(entries.into_iter().flatten());
        }
        aborted.sort_by_key(|(aborted, _)| aborted.last_offset);
        let epochs = read_small(files, &folder.at(EPOCHS), SMALL_BYTES_MAX)?;
        let epochs = epochs.and_then(|bytes| side::parse_epochs(std::str::from_utf8(&bytes).ok()?));
        Ok(Opening {
            files,
            folder,
            known,
            indexes: by_base(listed, Kind::Index),
            time_indexes: by_base(listed, Kind::TimeIndex),
            snapshots: by_base(listed, Kind::Snapshot).into_keys().collect(),
            logs,
            epochs,
            aborted,
            is_torn,
            believes_snapshots: true,
            is_unsure: listed.iter().any(|entry| entry.name == UNSURE),
        })
    }

    /// Nothing but the batches is believed.
    fn rely_on_less(&mut self) {
        self.believes_snapshots = false;
        self.epochs = None;
        self.aborted.clear();
        self.indexes.clear();
    }

    /// Not everything was looked at.
    fn with_known_damage(&self, mut found: Found) -> Found {
        let (first, end) = (self.first(), found.state.next_offset);
        for known in &self.known.damaged {
            let left = known.start.max(first)..known.end.min(end);
            if !left.is_empty() {
                damage::add(&mut found.damaged, left);
            }
        }
        found
    }

    fn first(&self) -> i64 {
        self.logs.first_key_value().map_or(0, |(first, _)| *first)
    }

    /// What a snapshot says, if it is whole: producers at that offset.
    fn snapshot(&self, offset: i64) -> io::Result<Option<Producers>> {
        let path = self.folder.at(&Kind::Snapshot.name(offset));
        let bytes = read_small(self.files, &path, SMALL_BYTES_MAX)?.unwrap_or_default();
        let by_then = self.aborted.iter().map(|(aborted, _)| *aborted);
        let by_then = by_then.filter(|aborted| aborted.last_offset < offset);
        Ok(Producers::of_snapshot(&bytes, by_then.collect(), 0))
    }

    /// Opens a log that was left in order: nothing is read but its ends.
    fn as_left(&self, sequence: &mut dyn FnMut() -> u64) -> Result<Found, Failed> {
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
    fn closed_as_left(&self, base_offset: i64, listed: &Listed) -> io::Result<Option<Segment>> {
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
        let mut found = look(&*log, base_offset, begin, interval_bytes, |header| {
            tail.push(*header)
        })?;
        if let Some(why) = found.bad {
            let offset = found.next_offset;
            return Err(untrue(format!("{}, offset {offset}: {why}", listed.name)));
        }
        let same = known.by_offset.get(before..) == Some(&found.by_offset[..]);
        if !same || known.is_torn {
            return Err(untrue(format!(
                "{} does not fit",
                Kind::Index.name(base_offset)
            )));
        }
        let mut by_time = found.indexing.by_time;
        let last = known.by_time.last().copied();
        if known.by_time.len() as u64 == by_time + 1 {
            // It got its last entry with the end.
            let closing = found.indexing.close();
            by_time += u64::from(closing.is_some() && closing == last);
        }
        if known.by_time.len() as u64 != by_time {
            return Err(untrue(format!(
                "{} does not fit",
                Kind::TimeIndex.name(base_offset)
            )));
        }
        let first = first_timestamp(&*log, found.bytes)?;
        Ok(segment_of(base_offset, listed, &found, first, true))
    }

    /// Opens a log of which nothing is believed but what was promised.
    fn gone_over(&self, sequence: &mut dyn FnMut() -> u64) -> Result<Found, Failed> {
        let first = self.first();
        let synced = self.known.synced;
        // What later ones know is found again, with the aborted transactions of which they do not tell.
        let believed = |at: &&i64| self.believes_snapshots && **at <= synced;
        let mut snapshots: Vec<i64> = self.snapshots.iter().filter(believed).copied().collect();
        let start = loop {
            let newest = match (&self.epochs, snapshots.last()) {
                (Some(_), Some(newest)) if *newest > first => *newest,
                _ => break None,
            };
            match self.snapshot(newest)? {
                Some(producers) => break Some((newest, producers)),
                None => snapshots.pop(),
            };
        };
        let from = start.as_ref().map_or(first, |(at, _)| *at);
        let known_epochs = self.epochs.clone().unwrap_or_default();
        let mut replay = match start {
            Some((at, producers)) => {
                let mut epochs = known_epochs.clone();
                epochs.truncate_from_end(at);
                Replay::resume(
                    PartitionState::restored(at, epochs, producers),
                    Now::new(0, 0),
                )
            }
            None => Replay::new(0, Now::new(0, 0)),
        };
        let begin = from.min(synced).max(first);
        let mut segments: Vec<Segment> = Vec::with_capacity(self.logs.len());
        let mut damaged: Vec<Range<i64>> = Vec::new();
        let mut aborted: Vec<(AbortedTransaction, i64)> = Vec::new();
        let mut cut = false;
        let bases: Vec<i64> = self.logs.keys().copied().collect();
        for (number, (base_offset, listed)) in self.logs.iter().enumerate() {
            if cut {
                self.set_aside(*base_offset)?;
                continue;
            }
            let next_base = bases.get(number + 1).copied();
            if next_base.is_some_and(|next| next <= begin)
                && let Some(segment) = self.closed_as_left(*base_offset, listed)?
            {
                push(&mut segments, segment, sequence);
                continue;
            }
            let mut see = |header: &BatchHeader, batch: &[u8]| match header
                .last_offset()
                .is_some_and(|last| last < from)
            {
                true => {
                    replay.recall(header);
                    Ok(())
                }
                false => {
                    let seen = replay.see_whole(header, batch);
                    seen.map_err(|why| format!("{why:?}"))?;
                    if header.is_control() {
                        aborted.extend(replay.aborted_at(header.base_offset));
                    }
                    Ok(())
                }
            };
            let promised = next_base.map_or(synced, |next| synced.min(next));
            let gone = self.go_over(*base_offset, listed, begin, promised, next_base, &mut see)?;
            damaged.extend(gone.damaged);
            push(&mut segments, gone.segment, sequence);
            cut = gone.is_cut;
        }
        let end = segments.last().map_or(first, |last| last.info.next_offset);
        if from > end {
            return Err(untrue(
                "what a snapshot of producers tells of is gone".to_owned(),
            ));
        }
        if end < synced && !segments.is_empty() {
            // No offset that was promised is given out again.
            tracing::error!(
                target: "rustka::storage",
                "{} ends at offset {end}, and what was synced up to {synced} is gone",
                self.folder.name()
            );
            damaged.push(end..synced);
            if let Some(last) = segments.last_mut() {
                last.info.next_offset = synced;
                last.indexing = None;
            }
            let log = self.folder.open(Kind::Log, synced, Mode::Anew)?;
            log.sync()?;
            self.files.sync_folder(&self.folder.path())?;
            push(&mut segments, Segment::new(0, synced), sequence);
        }
        if end > synced {
            self.files.sync_folder(&self.folder.path())?;
        }
        if self.is_unsure {
            self.files.remove_file(&self.folder.at(UNSURE))?;
        }
        let end = end.max(if segments.is_empty() { 0 } else { synced });
        let mut state = replay.finish(0);
        state.next_offset = state.next_offset.max(end);
        state.leader_epoch = state.epochs.latest().map_or(0, |latest| latest.epoch);
        let before = self
            .aborted
            .iter()
            .filter(|(aborted, _)| aborted.last_offset < from);
        let aborted: Vec<_> = before.copied().chain(aborted).collect();
        self.keep_aborted(&segments, &aborted)?;
        for offset in self
            .snapshots
            .iter()
            .filter(|offset| **offset > from || !self.believes_snapshots)
        {
            let path = self.folder.at(&Kind::Snapshot.name(*offset));
            remove_if_there(self.files, &path)?;
        }
        let epochs_there = self.epochs.clone().unwrap_or_default();
        if self.epochs.is_none() && !segments.is_empty() {
            let text = side::epochs_text(&state.epochs);
            replace(self.files, &self.folder.at(EPOCHS), text.as_bytes())?;
        }
        let epochs = match self.epochs {
            Some(_) => epochs_there,
            None => state.epochs.clone(),
        };
        Ok(Found {
            segments,
            state,
            damaged,
            snapshot: snapshots.last().copied().filter(|at| *at == end),
            epochs,
        })
    }

    /// Takes a segment away that lies behind a cut.
    fn set_aside(&self, base_offset: i64) -> io::Result<()> {
        for kind in Kind::ALL {
            let path = self.folder.at(&kind.name(base_offset));
            remove_if_there(self.files, &path)?;
        }
        self.files.sync_folder(&self.folder.path())
    }

    /// Has the indexes of aborted transactions say what the batches do.
    fn keep_aborted(
        &self,
        segments: &[Segment],
        all: &[(AbortedTransaction, i64)],
    ) -> io::Result<()> {
        if self.aborted == all {
            return Ok(());
        }
        for segment in segments {
            let (base_offset, end) = (segment.info.base_offset, segment.info.next_offset);
            let inside = all
                .iter()
                .filter(|(aborted, _)| (base_offset..end).contains(&aborted.last_offset));
            let content: Vec<u8> = inside
                .flat_map(|(aborted, stable)| side::aborted_entry(aborted, *stable))
                .collect();
            let path = self.folder.at(&Kind::TransactionIndex.name(base_offset));
            match content.is_empty() {
                true => remove_if_there(self.files, &path)?,
                false => replace(self.files, &path, &content)?,
            }
        }
        Ok(())
    }

    fn go_over(
        &self,
        base_offset: i64,
        listed: &Listed,
        from: i64,
        promised: i64,
        next_base: Option<i64>,
        see: &mut See<'_>,
    ) -> Result<GoneOver, Failed> {
        let name = format!("{} of {}", listed.name, self.folder.name());
        let log = self.folder.open(Kind::Log, base_offset, Mode::Write)?;
        let known = self.indexed(base_offset)?;
        let delta = from - base_offset;
        let before = known
            .by_offset
            .partition_point(|entry| i64::from(entry.offset_delta) < delta);
        let begin = known.begin(before, promised);
        if let Some(last) = known.by_offset[..before].last()
            && !leads_to(&*log, base_offset, *last)?
        {
            return Err(untrue(format!("the index of {name} does not fit")));
        }
        let kept = known.kept(before);
        let interval_bytes = self.known.rules.index_interval_bytes;
        let mut found = scan(&*log, base_offset, begin, interval_bytes, see)?;
        let mut damaged = Vec::new();
        for (range, at, why) in &found.damaged {
            tell_of_damage(&name, range, *at, why);
            damaged.push(range.clone());
        }
        let mut is_cut = false;
        if let Some(why) = found.bad.take() {
            let offset = found.next_offset;
            if offset < promised {
                let range = offset..next_base.unwrap_or(promised);
                tell_of_damage(&name, &range, found.bytes, &why);
                // What comes behind the newest segment has one of its own.
                damaged.extend(next_base.is_some().then_some(range));
                // What is damaged stays where it is.
                found.bytes = listed.bytes;
            } else {
                tracing::warn!(
                    target: "rustka::storage",
                    "{name}, offset {offset}: {why}; what was written there last is cut off"
                );
                log.cut(found.bytes)?;
                is_cut = next_base.is_some();
            }
        } else if found.next_offset >= self.known.synced
            && next_base.is_some_and(|next| next > found.next_offset)
        {
            // Of two segments that were not synced the later one may have got further. Offsets without records, which
            // compaction leaves, are only among what was synced.
            let offset = found.next_offset;
            tracing::warn!(
                target: "rustka::storage",
                "{name}, offset {offset}: what follows there is missing; segments behind it, which were not synced, go as well"
            );
            is_cut = true;
        }
        if self.is_unsure && found.next_offset > self.known.synced {
            write_again(&*log, found.bytes)?;
        }
        // Whoever reads it now, and acts by it, is to find it again.
        log.sync()?;
        let is_last = next_base.is_none() || is_cut;
        let closing = (!is_last).then(|| found.indexing.close()).flatten();
        found.by_time.extend(closing);
        self.write_indexes(base_offset, &found, &known, kept)?;
        let first = first_timestamp(&*log, found.bytes)?;
        let segment = segment_of(base_offset, listed, &found, first, is_last);
        Ok(GoneOver {
            segment,
            damaged,
            is_cut,
        })
    }

    /// What the indexes of a segment say, as far as they make sense.
    fn indexed(&self, base_offset: i64) -> io::Result<Indexed> {
        if !self.indexes.contains_key(&base_offset) || !self.time_indexes.contains_key(&base_offset)
        {
            return Ok(Indexed::default());
        }
        let index = self.folder.open(Kind::Index, base_offset, Mode::Read)?;
        let mut known = Indexed::default();
        let mut last = 0;
        known.is_torn |= each_entry::<8>(&*index, |bytes| {
            let entry = OffsetEntry::decode(bytes);
            let makes_sense = entry.at > last;
            last = entry.at;
            known.by_offset.extend(makes_sense.then_some(entry));
            makes_sense
        })?;
        let index = self.folder.open(Kind::TimeIndex, base_offset, Mode::Read)?;
        let mut last = None;
        let mut by_time = Vec::new();
        known.is_torn |= each_entry::<12>(&*index, |bytes| {
            let entry = TimeEntry::decode(bytes);
            let makes_sense =
                last.is_none_or(|last| entry.timestamp > last) && entry.timestamp >= 0;
            // An index that was made for more than it holds ends with zeros.
            let makes_sense = makes_sense && (entry.timestamp, entry.offset_delta) != (0, 0);
            last = Some(entry.timestamp);
            by_time.extend(makes_sense.then_some(entry));
            makes_sense
        })?;
        known.by_time = by_time;
        Ok(known)
    }

    /// Has the indexes say what the batches do, beyond the entries that are kept.
    fn write_indexes(
        &self,
        base_offset: i64,
        found: &Scan,
        known: &Indexed,
        (by_offset, by_time): (usize, usize),
    ) -> io::Result<()> {
        let first = known.by_offset[..by_offset].iter().chain(&found.by_offset);
        let wanted: Vec<u8> = first.copied().flat_map(OffsetEntry::encode).collect();
        self.write_index(Kind::Index, base_offset, &wanted)?;
        let first = known.by_time[..by_time].iter().chain(&found.by_time);
        let wanted: Vec<u8> = first.copied().flat_map(TimeEntry::encode).collect();
        self.write_index(Kind::TimeIndex, base_offset, &wanted)
    }

    fn write_index(&self, kind: Kind, base_offset: i64, wanted: &[u8]) -> io::Result<()> {
        let file = self.folder.open(kind, base_offset, Mode::Write)?;
        let mut there = vec![0; wanted.len()];
        let same = file.bytes()? == wanted.len() as u64
            && file.read_at(&mut there, 0)? == there.len()
            && there == wanted;
        if same {
            return Ok(());
        }
        file.cut(0)?;
        file.write_at(wanted, 0)?;
        file.sync()
    }
}

/// Has the system take bytes for new that it shows: after a sync that failed it takes them for written.
fn write_again(file: &dyn OpenFile, bytes: u64) -> io::Result<()> {
    const PIECE_BYTES: u64 = 1 << 20;
    let mut piece = Vec::new();
    let mut at = 0;
    while at < bytes {
        piece.resize((bytes - at).min(PIECE_BYTES) as usize, 0);
        let read = file.read_at(&mut piece, at)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.write_at(&piece[..read], at)?;
        at += read as u64;
    }
    Ok(())
}

/// A segment that was gone over.
struct GoneOver {
    segment: Segment,
    damaged: Vec<Range<i64>>,
    /// What lies behind it goes.
    is_cut: bool,
}

/// What the indexes of a segment say.
#[derive(Default)]
struct Indexed {
    by_offset: Vec<OffsetEntry>,
    by_time: Vec<TimeEntry>,
    /// There is more in one of them, which makes no sense.
    is_torn: bool,
}

impl Indexed {
    /// How many entries there are of each kind where so many by offset stay.
    fn kept(&self, by_offset: usize) -> (usize, usize) {
        let Some(last) = self.by_offset[..by_offset].last() else {
            return (0, 0);
        };
        let by_time = self
            .by_time
            .partition_point(|time| time.offset_delta <= last.offset_delta);
        (by_offset, by_time)
    }

    /// Begins at the batch of the last of so many entries by offset, or at the beginning.
    fn begin(&self, by_offset: usize, promised: i64) -> Begin {
        let (by_offset, by_time) = self.kept(by_offset);
        let last = self.by_offset[..by_offset].last();
        let at = last.map_or(0, |entry| u64::from(entry.at));
        let latest = by_time.checked_sub(1).map(|last| self.by_time[last]);
        Begin {
            at,
            indexing: Indexing::resume(by_offset as u64, by_time as u64, latest),
            max_timestamp: latest.map_or(-1, |latest| latest.timestamp),
            promised,
        }
    }
}

/// Shows the entries of an index until one makes no sense; whether there is one.
fn each_entry<const N: usize>(
    file: &dyn OpenFile,
    mut visit: impl FnMut([u8; N]) -> bool,
) -> io::Result<bool> {
    let mut piece = vec![0; INDEX_PIECE_BYTES / N * N];
    let mut at = 0;
    loop {
        let read = file.read_at(&mut piece, at)?;
        let (entries, rest) = piece[..read].as_chunks::<N>();
        if !entries.iter().all(|entry| visit(*entry)) || !rest.is_empty() {
            return Ok(true);
        }
        at += read as u64;
        if read < piece.len() {
            return Ok(false);
        }
    }
}

fn offset_entry(index: &dyn OpenFile, number: u64) -> io::Result<OffsetEntry> {
    let mut bytes = [0; OFFSET_ENTRY_BYTES as usize];
    index.read_at(&mut bytes, number * OFFSET_ENTRY_BYTES)?;
    Ok(OffsetEntry::decode(bytes))
}

fn time_entry(index: &dyn OpenFile, number: u64) -> io::Result<TimeEntry> {
    let mut bytes = [0; TIME_ENTRY_BYTES as usize];
    index.read_at(&mut bytes, number * TIME_ENTRY_BYTES)?;
    Ok(TimeEntry::decode(bytes))
}

/// Whether an entry by offset leads to its batch.
pub(super) fn leads_to(
    log: &dyn OpenFile,
    base_offset: i64,
    entry: OffsetEntry,
) -> io::Result<bool> {
    let at = u64::from(entry.at);
    let end = log.bytes()?;
    let offset = base_offset.saturating_add(i64::from(entry.offset_delta));
    Ok(match Headers::new(log, at, end).next() {
        Ok(Some((_, header))) => header.last_offset() == Some(offset),
        Ok(None) => false,
        Err(error) if error.raw_os_error().is_some() => return Err(error),
        Err(_) => false,
    })
}

fn first_timestamp(log: &dyn OpenFile, bytes: u64) -> io::Result<i64> {
    match Headers::new(log, 0, bytes).next() {
        Ok(Some((_, header))) => Ok(header.max_timestamp),
        Err(error) if error.raw_os_error().is_some() => Err(error),
        _ => Ok(-1),
    }
}

fn segment_of(
    base_offset: i64,
    listed: &Listed,
    found: &Scan,
    first_timestamp: i64,
    is_last: bool,
) -> Segment {
    Segment {
        info: ChunkInfo {
            sequence: 0,
            base_offset,
            next_offset: found.next_offset,
            max_timestamp: found.max_timestamp,
            first_timestamp,
            opened_ms: listed.written_ms,
            written_ms: listed.written_ms,
            bytes: found.bytes,
            cold: true,
        },
        latest_so_far: found.max_timestamp,
        indexing: is_last.then(|| Box::new(found.indexing.clone())),
        moving: None,
    }
}

/// Adds a segment behind the others. Gaps belong to the one before them, so that together they cover all offsets.
fn push(segments: &mut Vec<Segment>, mut segment: Segment, sequence: &mut dyn FnMut() -> u64) {
    segment.info.sequence = sequence();
    if let Some(before) = segments.last_mut() {
        before.info.next_offset = segment.info.base_offset;
        segment.latest_so_far = before.latest_so_far.max(segment.info.max_timestamp);
    }
    segments.push(segment);
}

fn tell_of_damage(name: &str, range: &Range<i64>, at: u64, why: &str) {
    tracing::error!(
        target: "rustka::storage",
        "{name} is damaged at byte {at}: {why}; the offsets {} to {} cannot be read, all others are served",
        range.start,
        range.end - 1
    );
}
