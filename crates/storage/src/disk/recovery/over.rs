//! A log that is gone over: nothing is believed but what was promised.

use super::indexed::leads_to;
use super::{Failed, Found, Opening, first_timestamp, push, segment_of, untrue};
use crate::disk::files::{Listed, Mode, OpenFile, remove_if_there, replace, sync};
use crate::disk::folder::{Kind, UNSURE};
use crate::disk::scan::scan;
use crate::disk::segment::Segment;
use crate::disk::side::{self, EPOCHS};
use rustka_core::batch::BatchHeader;
use rustka_core::log::PartitionState;
use rustka_core::log::replay::Replay;
use rustka_core::producers::{AbortedTransaction, Producers};
use rustka_core::time::Now;
use std::io;
use std::ops::Range;

/// Is shown a batch; why it does not fit those before it.
type See<'a> = dyn FnMut(&BatchHeader, &[u8]) -> Result<(), String> + 'a;

impl Opening<'_> {
    /// Opens a log of which nothing is believed but what was promised.
    pub(super) fn gone_over(&self, sequence: &mut dyn FnMut() -> u64) -> Result<Found, Failed> {
        let first = self.first();
        let synced = self.known.synced;
        let (snapshot, producers) = self.newest_believed()?;
        let start = snapshot.zip(producers);
        let from = start.as_ref().map_or(first, |(at, _)| *at);
        let mut replay = match start {
            Some((at, producers)) => {
                let mut epochs = self.epochs.clone().unwrap_or_default();
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
            damaged.push(end..synced);
            self.go_on_at_synced(end, &mut segments, sequence)?;
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
        self.drop_snapshots_behind(from)?;
        if self.epochs.is_none() && !segments.is_empty() {
            let text = side::epochs_text(&state.epochs);
            replace(self.files, &self.folder.at(EPOCHS), text.as_bytes())?;
        }
        let epochs = self.epochs.clone();
        let epochs = epochs.unwrap_or_else(|| state.epochs.clone());
        Ok(Found {
            segments,
            state,
            damaged,
            snapshot: snapshot.filter(|at| *at == end),
            epochs,
        })
    }

    /// Where the newest snapshot of those that are believed is, and what it says where there is anything to go on from.
    ///
    /// What later ones know is found again, with the aborted transactions of which they do not tell.
    fn newest_believed(&self) -> io::Result<(Option<i64>, Option<Producers>)> {
        let believed = |at: &&i64| self.believes_snapshots && **at <= self.known.synced;
        for at in self.snapshots.iter().rev().filter(believed).copied() {
            if self.epochs.is_none() || at <= self.first() {
                return Ok((Some(at), None));
            }
            if let Some(producers) = self.snapshot(at)? {
                return Ok((Some(at), Some(producers)));
            }
        }
        Ok((None, None))
    }

    /// Goes on behind all that was synced, though the log ends before that: no offset that was promised is given out again.
    fn go_on_at_synced(
        &self,
        end: i64,
        segments: &mut Vec<Segment>,
        sequence: &mut dyn FnMut() -> u64,
    ) -> io::Result<()> {
        let synced = self.known.synced;
        tracing::error!(
            target: "rustka::storage",
            "{} ends at offset {end}, and what was synced up to {synced} is gone",
            self.folder.name()
        );
        if let Some(last) = segments.last_mut() {
            last.info.next_offset = synced;
            last.indexing = None;
        }
        let log = self.folder.open(Kind::Log, synced, Mode::Anew)?;
        log.sync()?;
        self.files.sync_folder(&self.folder.path())?;
        push(segments, Segment::new(0, synced), sequence);
        Ok(())
    }

    /// Removes the snapshots that were not gone on from, or all where none is believed.
    fn drop_snapshots_behind(&self, from: i64) -> io::Result<()> {
        let is_gone = |at: &&i64| **at > from || !self.believes_snapshots;
        for at in self.snapshots.iter().filter(is_gone) {
            remove_if_there(self.files, &self.folder.at(&Kind::Snapshot.name(*at)))?;
        }
        Ok(())
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
        sync(&*log)?;
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

fn tell_of_damage(name: &str, range: &Range<i64>, at: u64, why: &str) {
    tracing::error!(
        target: "rustka::storage",
        "{name} is damaged at byte {at}: {why}; the offsets {} to {} cannot be read, all others are served",
        range.start,
        range.end - 1
    );
}
