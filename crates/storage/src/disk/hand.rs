//! What is done to a log's files, step by step, by whoever holds its hand: one thread at a time.

use super::cleaned::Cleaned;
use super::files::{Mode, OpenFile, remove_if_there, replace};
use super::folder::Kind;
use super::index::{OFFSET_ENTRY_BYTES, OffsetEntry, TIME_ENTRY_BYTES, TimeEntry};
use super::side::EPOCHS;
use super::writer::Writer;
use crate::buffer::Slice;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Something to be done to a log's files.
pub(super) enum Step {
    /// Begins a segment with empty files.
    Begin {
        /// Its base offset.
        base_offset: i64,
    },
    /// Writes a batch.
    Write(Write),
    /// Writes batches for which there was no room.
    Again(Box<Run>),
    /// Nothing more is written into a segment.
    Close {
        /// Its base offset.
        base_offset: i64,
        /// The entry by time that it gets at the end, with its number.
        time: Option<(u64, TimeEntry)>,
    },
    /// Leader epochs have changed: the file that tells them.
    Epochs(String),
    /// Producers as they are now.
    Snapshot(Snapshot),
    /// Compacted segments take the place of others.
    Swap(Swap),
    /// Below this offset it is compacted, once all that came before is done.
    Cleaned(i64),
    /// Nothing more is written in this life: has all that Kafka believes after an orderly stop be true.
    Rest,
    /// A segment goes.
    Drop {
        /// Its base offset.
        base_offset: i64,
        /// After how long its files are removed.
        delay_ms: i64,
    },
    /// The partition goes.
    Clear {
        /// After how long its files are removed.
        delay_ms: i64,
    },
}

impl Step {
    /// Whether it may be done from its beginning after it has failed in the middle.
    fn may_be_repeated(&self) -> bool {
        match self {
            Step::Begin { .. }
            | Step::Write(_)
            | Step::Again(_)
            | Step::Close { .. }
            | Step::Epochs(_)
            | Step::Snapshot(_) => true,
            Step::Swap(_)
            | Step::Cleaned(_)
            | Step::Rest
            | Step::Drop { .. }
            | Step::Clear { .. } => false,
        }
    }
}

/// A batch to be written.
pub(super) struct Write {
    /// The segment's base offset.
    pub segment: i64,
    /// Where in the segment.
    pub at: u64,
    pub bytes: Slice,
    /// The offset after the batch's last one.
    pub position: i64,
    /// Entries in the indexes, with their numbers.
    pub by_offset: Option<(u64, OffsetEntry)>,
    pub by_time: Option<(u64, TimeEntry)>,
    /// Where in the index of aborted transactions, and the entry there.
    pub aborted: Option<(u64, Vec<u8>)>,
    /// It is to be synced at once.
    pub flush: bool,
}

/// Producers after all that was written so far.
pub(super) struct Snapshot {
    /// Where that ends.
    pub position: i64,
    pub bytes: Vec<u8>,
    /// An older one that nobody needs once this is there.
    pub obsolete: Option<i64>,
    /// The segment that is written to.
    pub segment: i64,
    /// The entry by time that it gets if this was all, with its number.
    pub time: Option<(u64, TimeEntry)>,
    /// A segment begins here: it stays, and is made durable.
    pub stays: bool,
}

/// Compacted segments and those that they replace.
pub(super) struct Swap {
    /// Base offsets of those that go.
    pub gone: Vec<i64>,
    /// Those that come, with their base offsets and what their indexes of aborted transactions hold.
    pub with: Vec<(i64, Arc<Cleaned>, Vec<u8>)>,
    /// Where those that go end.
    pub end: i64,
    /// Segments up to there of which something may not be synced.
    pub unsynced: Vec<i64>,
    /// Nothing is left, but the log goes on beginning there.
    pub empty: Option<i64>,
    /// After how long the files of the old ones are removed.
    pub delay_ms: i64,
}

/// What was written and is not durable.
#[derive(Default)]
pub(super) struct Dirty {
    pub files: Vec<Arc<dyn OpenFile>>,
    /// Files are new.
    pub folder: bool,
}

impl Dirty {
    pub fn is_clean(&self) -> bool {
        self.files.is_empty() && !self.folder
    }

    pub fn add(&mut self, file: &Arc<dyn OpenFile>) {
        if !self.files.iter().any(|known| Arc::ptr_eq(known, file)) {
            self.files.push(file.clone());
        }
    }
}

/// The open segment's files.
#[derive(Default)]
pub(super) struct Hand {
    is_made: bool,
    open: Option<Open>,
    /// Where everything written ends.
    end: i64,
    /// The newest snapshot of producers.
    snapshot: Option<Told>,
    /// It is among those whose files are closed when too many are open.
    is_listed: bool,
}

/// What a snapshot was told with.
struct Told {
    position: i64,
    segment: i64,
    time: Option<(u64, TimeEntry)>,
    /// It was there when the log was opened.
    is_old: bool,
}

struct Open {
    base_offset: i64,
    log: Arc<dyn OpenFile>,
    index: Arc<dyn OpenFile>,
    time_index: Arc<dyn OpenFile>,
}

/// How far a round of writing came.
#[derive(Default)]
pub(super) struct Round {
    pub written: Option<i64>,
    pub dirty: Dirty,
    /// What was written is to be synced at once.
    pub flush: bool,
    /// How far it is synced is to be noted.
    pub notes: bool,
    /// Nothing more is to come; whether all is as Kafka believes it to be after an orderly stop.
    pub rests: Option<bool>,
    /// Why it went no further.
    pub failed: Option<io::Error>,
    /// Nothing is lost if the rest is done later.
    pub may_go_on: bool,
}

impl Hand {
    /// Of a log whose folder is there already, or not yet; that ends there, with the newest snapshot for this offset.
    pub fn new(is_made: bool, end: i64, snapshot: Option<i64>) -> Hand {
        let told = |position| Told {
            position,
            segment: 0,
            time: None,
            is_old: true,
        };
        Hand {
            is_made,
            end,
            snapshot: snapshot.map(told),
            ..Hand::default()
        }
    }

    /// Closes the files; they are opened again when they are needed.
    pub fn close(&mut self) {
        self.open = None;
        self.is_listed = false;
    }

    /// Whether it holds files that nobody counts yet; asked once, they are counted.
    pub fn has_become_open(&mut self) -> bool {
        self.open.is_some() && !std::mem::replace(&mut self.is_listed, true)
    }

    /// Does these steps, in order, until one fails; what is not done by then is left in them.
    pub fn do_each(&mut self, writer: &Writer, steps: &mut VecDeque<Step>) -> Round {
        let mut round = Round::default();
        let mut run = Run::default();
        round.may_go_on = true;
        round.failed = loop {
            let Some(step) = steps.pop_front() else {
                break self.put(writer, &mut run, &mut round).err();
            };
            let step = match step {
                Step::Again(again) => {
                    run = *again;
                    continue;
                }
                Step::Write(write) if run.takes(&write) => {
                    run.push(write);
                    continue;
                }
                step => step,
            };
            let put = self.put(writer, &mut run, &mut round);
            let (done, undone) = match (put, step) {
                (Ok(()), Step::Write(write)) => {
                    run.push(write);
                    continue;
                }
                (Ok(()), step) => {
                    let done = self.do_one(writer, &step, &mut round);
                    round.may_go_on = done.is_ok() || step.may_be_repeated();
                    (done, step)
                }
                (failed, step) => (failed, step),
            };
            if let Err(error) = done {
                steps.push_front(undone);
                break Some(error);
            }
        };
        if round.failed.is_some() && run.segment.is_some() {
            steps.push_front(Step::Again(Box::new(run)));
        }
        round
    }

    /// Lets segments go for which the steps before have no need, so that there is room for those.
    pub fn drop_early(&mut self, writer: &Writer, steps: &mut VecDeque<Step>) {
        let begun = self.open.as_ref().map(|open| open.base_offset);
        let first = steps.iter().find_map(|step| match step {
            Step::Again(run) => run.segment,
            _ => None,
        });
        let Some(newest) = begun.or(first) else {
            return;
        };
        let mut failed = false;
        steps.retain(|step| match step {
            Step::Drop { base_offset, .. } if *base_offset < newest && !failed => {
                let gone = writer
                    .shared
                    .doom_segment(&writer.folder, *base_offset, &Kind::ALL, 0);
                failed = gone.is_err();
                failed
            }
            _ => true,
        });
    }

    /// Writes batches that lie one behind the other.
    fn put(&mut self, writer: &Writer, run: &mut Run, round: &mut Round) -> io::Result<()> {
        let Some(segment) = run.segment else {
            return Ok(());
        };
        self.end = run.position;
        let open = self.open(writer, segment)?;
        let mut at = run.at;
        for bytes in &run.bytes {
            open.log.write_at(bytes, at)?;
            at += bytes.len() as u64;
        }
        writer.shared.written_bytes.fetch_add(at - run.at, Relaxed);
        round.dirty.add(&open.log);
        run.by_offset.write(&*open.index)?;
        run.by_time.write(&*open.time_index)?;
        if !run.aborted.bytes.is_empty() {
            let index = writer
                .folder
                .open(Kind::TransactionIndex, segment, Mode::Write)?;
            run.aborted.write(&*index)?;
            round.dirty.add(&index);
            round.dirty.folder = true;
        }
        round.written = Some(run.position);
        round.flush |= run.flush;
        *run = Run::default();
        Ok(())
    }

    fn do_one(&mut self, writer: &Writer, step: &Step, round: &mut Round) -> io::Result<()> {
        match step {
            Step::Write(_) | Step::Again(_) => Ok(()),
            &Step::Begin { base_offset } => {
                if self.is_made {
                    // A segment is not there without those before it, also when the power goes.
                    writer.shared.files.sync_folder(&writer.folder.path())?;
                } else {
                    let name = writer.folder.name();
                    writer.shared.clear_way(name)?;
                    if !writer.shared.forget_name(name) {
                        return Err(io::Error::other(
                            "an earlier partition of this name is still noted",
                        ));
                    }
                    writer.folder.create()?;
                    self.is_made = true;
                }
                self.open = Some(open_segment(writer, base_offset, Mode::Anew)?);
                // The one before it is closed, and may go.
                if let Some(told) = &mut self.snapshot {
                    (told.segment, told.time) = (base_offset, None);
                }
                round.dirty.folder = true;
                Ok(())
            }
            &Step::Close { base_offset, time } => {
                let open = self.open(writer, base_offset)?;
                if let Some((number, entry)) = time {
                    open.time_index
                        .write_at(&entry.encode(), number * TIME_ENTRY_BYTES)?;
                }
                // Kafka checks nothing of a segment that lies before what is synced.
                round.dirty.add(&open.log);
                round.dirty.add(&open.index);
                round.dirty.add(&open.time_index);
                round.notes = true;
                self.open = None;
                Ok(())
            }
            &Step::Drop {
                base_offset,
                delay_ms,
            } => {
                if self
                    .open
                    .as_ref()
                    .is_some_and(|open| open.base_offset == base_offset)
                {
                    self.open = None;
                }
                writer
                    .shared
                    .doom_segment(&writer.folder, base_offset, &Kind::ALL, delay_ms)
            }
            Step::Epochs(text) => replace(
                &*writer.shared.files,
                &writer.folder.at(EPOCHS),
                text.as_bytes(),
            ),
            Step::Snapshot(snapshot) => self.keep_snapshot(writer, snapshot, round),
            Step::Swap(swap) => self.swap(writer, swap),
            &Step::Cleaned(offset) => {
                writer.shared.note_cleaned(writer.folder.name(), offset);
                Ok(())
            }
            Step::Rest => self.rest(writer, round),
            &Step::Clear { delay_ms } => {
                self.open = None;
                // What is left is not found when topics are opened again: its folder tells another topic's id.
                match writer.folder.doom() {
                    Ok(doomed) => writer.shared.doom_folder(doomed, delay_ms),
                    Err(error) if writer.shared.is_news("doom") => tracing::warn!(
                        target: "rustka::storage",
                        "the files of the deleted {} could not be set aside: {error}",
                        writer.folder.name()
                    ),
                    Err(_) => {}
                }
                writer.shared.has_left(writer);
                Ok(())
            }
        }
    }

    fn keep_snapshot(
        &mut self,
        writer: &Writer,
        snapshot: &Snapshot,
        round: &mut Round,
    ) -> io::Result<()> {
        let file = writer
            .folder
            .open(Kind::Snapshot, snapshot.position, Mode::Anew)?;
        file.write_at(&snapshot.bytes, 0)?;
        if snapshot.stays {
            round.dirty.add(&file);
            round.dirty.folder = true;
        }
        if let Some(obsolete) = snapshot.obsolete {
            let path = writer.folder.at(&Kind::Snapshot.name(obsolete));
            remove_if_there(&*writer.shared.files, &path)?;
        }
        round.notes = true;
        self.snapshot = Some(Told {
            position: snapshot.position,
            segment: snapshot.segment,
            time: snapshot.time,
            is_old: false,
        });
        Ok(())
    }

    /// A crash between any two steps leaves the old segments, or the new ones with perhaps some of the old that are to
    /// go: what is left is the same.
    fn swap(&mut self, writer: &Writer, swap: &Swap) -> io::Result<()> {
        let files = &*writer.shared.files;
        // Whoever finds offsets without records has to know that all there was synced: else something is missing.
        for base_offset in &swap.unsynced {
            writer
                .folder
                .open(Kind::Log, *base_offset, Mode::Write)?
                .sync()?;
        }
        if !writer.shared.promise(writer.folder.name(), swap.end) {
            return Err(io::Error::other("how far it is synced could not be noted"));
        }
        for (base_offset, cleaned, aborted) in &swap.with {
            cleaned.prepare(*base_offset, aborted)?;
        }
        files.sync_folder(&writer.folder.path())?;
        let stay = swap.with.iter().map(|(base_offset, ..)| *base_offset);
        let stay: Vec<i64> = stay.chain(swap.empty).collect();
        for base_offset in &swap.gone {
            // What producers did before is the same.
            let kinds = match stay.contains(base_offset) {
                true => Kind::ALL
                    .as_slice()
                    .split_last()
                    .map_or(&[][..], |(_, kinds)| kinds),
                false => &Kind::ALL,
            };
            writer
                .shared
                .doom_segment(&writer.folder, *base_offset, kinds, swap.delay_ms)?;
        }
        for (base_offset, cleaned, _) in &swap.with {
            cleaned.put_in_place(*base_offset)?;
        }
        if let Some(base_offset) = swap.empty {
            open_segment(writer, base_offset, Mode::Anew)?;
        }
        files.sync_folder(&writer.folder.path())
    }

    fn rest(&mut self, writer: &Writer, round: &mut Round) -> io::Result<()> {
        let is_empty = self.end == 0 && self.snapshot.is_none();
        let told = self
            .snapshot
            .as_ref()
            .filter(|told| told.position == self.end);
        round.rests = Some(!self.is_made || is_empty || told.is_some());
        round.notes = true;
        let Some(Told {
            position,
            segment,
            time,
            is_old: false,
        }) = told
        else {
            return Ok(());
        };
        let (position, segment, time) = (*position, *segment, *time);
        let open = self.open(writer, segment)?;
        if let Some((number, entry)) = time {
            open.time_index
                .write_at(&entry.encode(), number * TIME_ENTRY_BYTES)?;
        }
        let files = [&open.log, &open.index, &open.time_index];
        files.into_iter().for_each(|file| round.dirty.add(file));
        let snapshot = writer.folder.open(Kind::Snapshot, position, Mode::Read)?;
        round.dirty.add(&snapshot);
        round.dirty.folder = true;
        self.close();
        Ok(())
    }

    fn open(&mut self, writer: &Writer, base_offset: i64) -> io::Result<&Open> {
        if self
            .open
            .as_ref()
            .is_none_or(|open| open.base_offset != base_offset)
        {
            self.open = Some(open_segment(writer, base_offset, Mode::Write)?);
        }
        self.open
            .as_ref()
            .ok_or_else(|| io::Error::other("no segment is open"))
    }
}

fn open_segment(writer: &Writer, base_offset: i64, mode: Mode) -> io::Result<Open> {
    let open = |kind| writer.folder.open(kind, base_offset, mode);
    Ok(Open {
        base_offset,
        log: open(Kind::Log)?,
        index: open(Kind::Index)?,
        time_index: open(Kind::TimeIndex)?,
    })
}

/// Batches that are written at once.
#[derive(Default)]
pub(super) struct Run {
    segment: Option<i64>,
    at: u64,
    length: u64,
    bytes: Vec<Slice>,
    position: i64,
    by_offset: IndexRun,
    by_time: IndexRun,
    aborted: IndexRun,
    flush: bool,
}

impl Run {
    /// Whether the batch lies right behind the others.
    fn takes(&self, write: &Write) -> bool {
        self.segment == Some(write.segment) && self.at + self.length == write.at
    }

    fn push(&mut self, write: Write) {
        if self.segment.is_none() {
            self.segment = Some(write.segment);
            self.at = write.at;
        }
        self.length += write.bytes.len() as u64;
        self.position = write.position;
        self.flush |= write.flush;
        if let Some((number, entry)) = write.by_offset {
            let at = number * OFFSET_ENTRY_BYTES;
            self.by_offset.push(at, &entry.encode());
        }
        if let Some((number, entry)) = write.by_time {
            self.by_time
                .push(number * TIME_ENTRY_BYTES, &entry.encode());
        }
        if let Some((at, entry)) = &write.aborted {
            self.aborted.push(*at, entry);
        }
        let last = self.bytes.last_mut();
        if !last.is_some_and(|last| last.join(&write.bytes)) {
            self.bytes.push(write.bytes);
        }
    }
}

/// Entries of an index, one behind the other.
#[derive(Default)]
struct IndexRun {
    at: u64,
    bytes: Vec<u8>,
}

impl IndexRun {
    fn push(&mut self, at: u64, entry: &[u8]) {
        if self.bytes.is_empty() {
            self.at = at;
        }
        self.bytes.extend_from_slice(entry);
    }

    fn write(&self, file: &dyn OpenFile) -> io::Result<()> {
        match self.bytes.is_empty() {
            true => Ok(()),
            false => file.write_at(&self.bytes, self.at),
        }
    }
}
