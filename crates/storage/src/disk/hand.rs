//! What is done to a log's files, step by step, by whoever holds its hand: one thread at a time.

use super::files::{Mode, OpenFile, remove_if_there, replace, sync};
use super::folder::Kind;
use super::index::{TIME_ENTRY_BYTES, TimeEntry};
use super::run::Run;
use super::side::EPOCHS;
use super::step::{Snapshot, Step, Swap};
use super::writer::Writer;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

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
    open: Option<Box<Open>>,
    /// Where everything written ends.
    end: i64,
    /// The newest snapshot of producers.
    snapshot: Option<Told>,
    /// It is among those whose files are closed when too many are open.
    is_listed: bool,
    /// Its name may be another log's by now: nothing is done any more.
    has_ended: bool,
}

/// A snapshot.
struct Told {
    position: i64,
    /// What it was told with; nothing if it was there when the log was opened.
    with: Option<Box<ToldWith>>,
}

/// What a snapshot was told with.
#[derive(Clone, Copy)]
struct ToldWith {
    segment: i64,
    time: Option<(u64, TimeEntry)>,
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
            with: None,
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

    /// Does nothing from now on.
    pub fn end(&mut self) {
        self.has_ended = true;
        self.close();
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
        if self.has_ended {
            steps.clear();
        }
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
        if round.failed.is_some() && run.segment().is_some() {
            steps.push_front(Step::Again(Box::new(run)));
        }
        round
    }

    /// Lets segments go for which the steps before have no need, so that there is room for those.
    pub fn drop_early(&mut self, writer: &Writer, steps: &mut VecDeque<Step>) {
        let begun = self.open.as_ref().map(|open| open.base_offset);
        let first = steps.iter().find_map(|step| match step {
            Step::Again(run) => run.segment(),
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
        let Some(segment) = run.segment() else {
            return Ok(());
        };
        self.end = run.position();
        let open = self.open(writer, segment)?;
        run.write(&*open.log)?;
        writer.shared.written_bytes.fetch_add(run.length(), Relaxed);
        round.dirty.add(&open.log);
        run.write_entries(&*open.index, &*open.time_index)?;
        if run.has_aborted() {
            let index = writer
                .folder
                .open(Kind::TransactionIndex, segment, Mode::Write)?;
            run.write_aborted(&*index)?;
            round.dirty.add(&index);
            round.dirty.folder = true;
        }
        round.written = Some(run.position());
        round.flush |= run.flush();
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
                    writer.shared.clear_way(writer)?;
                    if !writer.shared.forget_name(writer.folder.name()) {
                        return Err(io::Error::other(
                            "an earlier partition of this name is still noted",
                        ));
                    }
                    writer.folder.create()?;
                    self.is_made = true;
                }
                self.open = Some(Box::new(open_segment(writer, base_offset, Mode::Anew)?));
                // The one before it is closed, and may go.
                let with = self.snapshot.as_mut().and_then(|told| told.with.as_mut());
                if let Some(with) = with {
                    **with = ToldWith {
                        segment: base_offset,
                        time: None,
                    };
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
                writer.shared.note_cleaned(writer, offset);
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
            with: Some(Box::new(ToldWith {
                segment: snapshot.segment,
                time: snapshot.time,
            })),
        });
        Ok(())
    }

    /// A crash between any two steps leaves the old segments, or the new ones with perhaps some of the old that are to
    /// go: what is left is the same.
    fn swap(&mut self, writer: &Writer, swap: &Swap) -> io::Result<()> {
        let files = &*writer.shared.files;
        // Whoever finds offsets without records has to know that all there was synced: else something is missing.
        for base_offset in &swap.unsynced {
            sync(&*writer.folder.open(Kind::Log, *base_offset, Mode::Write)?)?;
        }
        if !writer.shared.promise(writer, swap.end) {
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
        let Some((position, with)) =
            told.and_then(|told| Some((told.position, told.with.as_deref()?)))
        else {
            return Ok(());
        };
        let ToldWith { segment, time } = *with;
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
            let open = open_segment(writer, base_offset, Mode::Write)?;
            self.open = Some(Box::new(open));
        }
        self.open
            .as_deref()
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
