//! What is done to a log's files, step by step, by whoever holds its hand: one thread at a time.

use super::files::{Mode, OpenFile};
use super::folder::Kind;
use super::index::{OFFSET_ENTRY_BYTES, OffsetEntry, TIME_ENTRY_BYTES, TimeEntry};
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
    /// Nothing more is written into a segment.
    Close {
        /// Its base offset.
        base_offset: i64,
        /// The entry by time that it gets at the end, with its number.
        time: Option<(u64, TimeEntry)>,
    },
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
    /// It is among those whose files are closed when too many are open.
    is_listed: bool,
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
    /// Why it went no further.
    pub failed: Option<io::Error>,
}

impl Hand {
    /// Of a log whose folder is there already, or not yet.
    pub fn new(is_made: bool) -> Hand {
        Hand {
            is_made,
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

    /// Does these steps, in order, until one fails.
    pub fn do_each(&mut self, writer: &Writer, steps: VecDeque<Step>) -> Round {
        let mut round = Round::default();
        let mut run = Run::default();
        for step in steps {
            let done = match step {
                Step::Write(write) if run.takes(&write) => {
                    run.push(write);
                    Ok(())
                }
                Step::Write(write) => {
                    let done = self.put(writer, &mut run, &mut round);
                    run.push(write);
                    done
                }
                step => self
                    .put(writer, &mut run, &mut round)
                    .and_then(|()| self.do_one(writer, step, &mut round)),
            };
            if let Err(error) = done {
                round.failed = Some(error);
                return round;
            }
        }
        round.failed = self.put(writer, &mut run, &mut round).err();
        round
    }

    /// Writes batches that lie one behind the other.
    fn put(&mut self, writer: &Writer, run: &mut Run, round: &mut Round) -> io::Result<()> {
        let run = std::mem::take(run);
        let Some(segment) = run.segment else {
            return Ok(());
        };
        let open = self.open(writer, segment)?;
        let mut at = run.at;
        for bytes in &run.bytes {
            open.log.write_at(bytes, at)?;
            at += bytes.len() as u64;
        }
        writer.shared.written_bytes.fetch_add(at - run.at, Relaxed);
        round.dirty.add(&open.log);
        round.written = Some(run.position);
        run.by_offset.write(&*open.index)?;
        run.by_time.write(&*open.time_index)
    }

    fn do_one(&mut self, writer: &Writer, step: Step, round: &mut Round) -> io::Result<()> {
        match step {
            Step::Write(_) => Ok(()),
            Step::Begin { base_offset } => {
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
                round.dirty.folder = true;
                Ok(())
            }
            Step::Close { base_offset, time } => {
                if let Some((number, entry)) = time {
                    let open = self.open(writer, base_offset)?;
                    open.time_index
                        .write_at(&entry.encode(), number * TIME_ENTRY_BYTES)?;
                }
                self.open = None;
                Ok(())
            }
            Step::Drop {
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
                    .doom_segment(&writer.folder, base_offset, delay_ms)
            }
            Step::Clear { delay_ms } => {
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
struct Run {
    segment: Option<i64>,
    at: u64,
    length: u64,
    bytes: Vec<Slice>,
    position: i64,
    by_offset: IndexRun,
    by_time: IndexRun,
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
        if let Some((number, entry)) = write.by_offset {
            let at = number * OFFSET_ENTRY_BYTES;
            self.by_offset.push(at, &entry.encode());
        }
        if let Some((number, entry)) = write.by_time {
            self.by_time
                .push(number * TIME_ENTRY_BYTES, &entry.encode());
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
