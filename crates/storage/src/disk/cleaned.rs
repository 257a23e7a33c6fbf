//! Compaction in files: old segments are read piece by piece, what is left goes into a file of its own, which takes
//! their place under the names that Kafka gives on the way: `.cleaned` while it is written, `.swap` once it is whole.

use super::files::{Mode, OpenFile, remove_if_there, with_suffix};
use super::folder::Kind;
use super::index::{Appending, Indexing, OffsetEntry, TimeEntry};
use super::moving::Moving;
use super::seek::{End, Headers, Part, is_shorter, open_log, whole_batches};
use super::tidy::{CLEANED, SWAP};
use super::writer::Writer;
use crate::buffer::{Pool, Slice};
use crate::engine::{ColdContent, Content, ReadFailed, Sink, WriteFailed};
use rustka_core::batch::batches;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// What is written at once.
const BUFFER_BYTES: usize = 256 << 10;

/// A segment that is no longer written to.
pub(super) struct ClosedSegment {
    pub writer: Arc<Writer>,
    pub part: Part,
    pub pool: Arc<Pool>,
}

impl ColdContent for ClosedSegment {
    fn read(&self, at: u64, bytes: usize) -> Result<Option<Slice>, ReadFailed> {
        let read = open_log(&self.writer, &self.part).and_then(|(log, _)| {
            match End::of(&self.part, &*log)? {
                // What is missing would be taken for what there is no more of.
                End { is_short: true, .. } => Err(is_shorter()),
                End { at: end, .. } => read_piece(&*log, &self.pool, at, end, bytes),
            }
        });
        read.map_err(|_| ReadFailed)
    }
}

/// Whole batches from `at` on: at most so many bytes, but one batch in any case. None at the end.
fn read_piece(
    log: &dyn OpenFile,
    pool: &Arc<Pool>,
    at: u64,
    end: u64,
    bytes: usize,
) -> io::Result<Option<Slice>> {
    let left = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
    let mut wanted = left.min(bytes);
    while wanted > 0 {
        let mut buffer = pool.take(wanted);
        if buffer.fill(wanted, |into| log.read_at(into, at))? < wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let slice = buffer.freeze_filled();
        let whole = whole_batches(&slice, i64::MAX)?.bytes;
        if whole > 0 {
            return Ok(Some(slice.slice(0, whole)));
        }
        // One batch is larger than what was asked for.
        let length = Headers::new(log, at, end).next()?;
        let Some((_, header)) = length.filter(|(_, header)| header.total_bytes() > wanted) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        wanted = left.min(header.total_bytes());
    }
    Ok(None)
}

/// A file that goes unless it is taken into a log.
struct Loose {
    writer: Arc<Writer>,
    path: PathBuf,
    is_taken: AtomicBool,
}

impl Drop for Loose {
    fn drop(&mut self) {
        if !self.is_taken.load(Relaxed) {
            // What is left of it goes at the next start.
            let _removed = remove_if_there(&*self.writer.shared.files, &self.path);
        }
    }
}

/// What a compacted segment holds beside its batches.
#[derive(Clone, Default)]
struct Beside {
    /// Offset of the first batch, from which the entries count.
    first_offset: i64,
    by_offset: Vec<OffsetEntry>,
    by_time: Vec<TimeEntry>,
    /// Offsets of markers in it.
    markers: Vec<i64>,
    first_timestamp: i64,
}

/// A compacted segment that is being written.
pub(super) struct FileSink {
    writer: Arc<Writer>,
    pool: Arc<Pool>,
    interval_bytes: u64,
    file: Option<(Arc<dyn OpenFile>, Loose)>,
    buffer: Vec<u8>,
    bytes: u64,
    indexing: Indexing,
    beside: Beside,
}

impl FileSink {
    pub fn new(writer: &Arc<Writer>, pool: &Arc<Pool>, interval_bytes: u64) -> FileSink {
        FileSink {
            writer: writer.clone(),
            pool: pool.clone(),
            interval_bytes,
            file: None,
            buffer: Vec::new(),
            bytes: 0,
            indexing: Indexing::default(),
            beside: Beside::default(),
        }
    }

    fn file(&mut self) -> io::Result<&Arc<dyn OpenFile>> {
        if self.file.is_none() {
            let shared = &self.writer.shared;
            let number = i64::try_from(shared.next_sequence()).unwrap_or(i64::MAX);
            let path = with_suffix(&self.writer.folder.at(&Kind::Log.name(number)), CLEANED);
            let file = shared.files.open(&path, Mode::Anew)?;
            let loose = Loose {
                writer: self.writer.clone(),
                path,
                is_taken: AtomicBool::new(false),
            };
            self.file = Some((file, loose));
        }
        let file = self.file.as_ref().map(|(file, _)| file);
        file.ok_or_else(|| io::Error::other("there is no file"))
    }

    fn flush(&mut self) -> io::Result<()> {
        let at = self.bytes - self.buffer.len() as u64;
        let buffer = std::mem::take(&mut self.buffer);
        self.file()?.write_at(&buffer, at)?;
        self.buffer = buffer;
        self.buffer.clear();
        Ok(())
    }

    fn note(&mut self, batch: &[u8]) -> Result<(), WriteFailed> {
        for batch in batches(batch) {
            let (header, range) = batch.map_err(|_| WriteFailed)?;
            if self.bytes == 0 {
                self.beside.first_offset = header.base_offset;
                self.beside.first_timestamp = header.max_timestamp;
            }
            let last_offset = header.last_offset().ok_or(WriteFailed)?;
            let appending = Appending {
                at: self.bytes,
                bytes: range.len() as u64,
                offset_delta: last_offset - self.beside.first_offset,
                max_timestamp: header.max_timestamp,
            };
            let entries = self.indexing.append(&appending, self.interval_bytes);
            self.beside.by_offset.extend(entries.by_offset);
            self.beside.by_time.extend(entries.by_time);
            self.beside
                .markers
                .extend(header.is_control().then_some(last_offset));
            self.bytes += range.len() as u64;
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<Cleaned> {
        self.flush()?;
        self.file()?.sync()?;
        self.beside.by_time.extend(self.indexing.close());
        let (file, loose) = self.file.take().ok_or(io::ErrorKind::NotFound)?;
        Ok(Cleaned {
            moving: Arc::new(Moving::new(loose.path.clone())),
            loose,
            file,
            pool: self.pool.clone(),
            bytes: self.bytes,
            beside: std::mem::take(&mut self.beside),
        })
    }

    fn failed(&self, error: &io::Error) -> WriteFailed {
        let name = self.writer.folder.name();
        if self.writer.shared.is_news(format!("{name}/cleaned")) {
            tracing::warn!(
                target: "rustka::storage",
                "{name} is not compacted: {error}"
            );
        }
        WriteFailed
    }
}

impl Sink for FileSink {
    /// As much as positions in a segment's index may say.
    fn room(&self) -> usize {
        let most = i32::MAX as u64;
        usize::try_from(most.saturating_sub(self.bytes)).unwrap_or(0)
    }

    fn push(&mut self, batch: &[u8]) -> Result<(), WriteFailed> {
        self.note(batch)?;
        self.buffer.extend_from_slice(batch);
        match self.buffer.len() >= BUFFER_BYTES {
            true => self.flush().map_err(|error| self.failed(&error)),
            false => Ok(()),
        }
    }

    fn content(&mut self) -> Result<Content, WriteFailed> {
        let cleaned = self.finish().map_err(|error| self.failed(&error))?;
        Ok(Content::Cold(Arc::new(cleaned)))
    }
}

/// A compacted segment that is whole and durable, and not in a log yet.
pub(super) struct Cleaned {
    pub moving: Arc<Moving>,
    loose: Loose,
    file: Arc<dyn OpenFile>,
    pool: Arc<Pool>,
    pub bytes: u64,
    beside: Beside,
}

impl Cleaned {
    /// The largest timestamp of its first batch.
    pub fn first_timestamp(&self) -> i64 {
        self.beside.first_timestamp
    }

    /// Whether this marker is in it.
    pub fn has_marker(&self, offset: i64) -> bool {
        self.beside.markers.contains(&offset)
    }

    /// The log relies on it from now on.
    pub fn take(&self) {
        self.loose.is_taken.store(true, Relaxed);
    }

    /// Writes what belongs beside it, and names it as one that takes the place of others.
    pub fn prepare(&self, base_offset: i64, aborted: &[u8]) -> io::Result<()> {
        let writer = &self.loose.writer;
        let shift = u32::try_from(self.beside.first_offset - base_offset);
        let shift = shift.map_err(|_| io::Error::other("a segment spans too many offsets"))?;
        let by_offset = self.beside.by_offset.iter().map(|entry| OffsetEntry {
            offset_delta: entry.offset_delta.saturating_add(shift),
            ..*entry
        });
        let by_time = self.beside.by_time.iter().map(|entry| TimeEntry {
            offset_delta: entry.offset_delta.saturating_add(shift),
            ..*entry
        });
        let by_offset: Vec<u8> = by_offset.flat_map(OffsetEntry::encode).collect();
        let by_time: Vec<u8> = by_time.flat_map(TimeEntry::encode).collect();
        let each = [
            (Kind::Index, &*by_offset),
            (Kind::TimeIndex, &*by_time),
            (Kind::TransactionIndex, aborted),
        ];
        for (kind, content) in each {
            if kind == Kind::TransactionIndex && content.is_empty() {
                continue;
            }
            let path = with_suffix(&writer.folder.at(&kind.name(base_offset)), CLEANED);
            let file = writer.shared.files.open(&path, Mode::Anew)?;
            file.write_at(content, 0)?;
            file.sync()?;
        }
        let swap = with_suffix(&writer.folder.at(&Kind::Log.name(base_offset)), SWAP);
        self.moving.rename(&*writer.shared.files, &swap)
    }

    /// Gives everything the names that it keeps; those that had them are out of the way.
    pub fn put_in_place(&self, base_offset: i64) -> io::Result<()> {
        let writer = &self.loose.writer;
        let files = &*writer.shared.files;
        for kind in [Kind::Index, Kind::TimeIndex, Kind::TransactionIndex] {
            let path = writer.folder.at(&kind.name(base_offset));
            match files.rename(&with_suffix(&path, CLEANED), &path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                done => done?,
            }
        }
        let path = writer.folder.at(&Kind::Log.name(base_offset));
        self.moving.arrive(files, &path)
    }
}

impl ColdContent for Cleaned {
    fn read(&self, at: u64, bytes: usize) -> Result<Option<Slice>, ReadFailed> {
        let read = read_piece(&*self.file, &self.pool, at, self.bytes, bytes);
        read.map_err(|_| ReadFailed)
    }
}
