//! Reading what has lain in files for long, so that bytes that have changed by themselves are told of before anybody
//! wants them.
//!
//! A round goes over all logs in the order of their names, at a pace that does not disturb others and past the system's
//! cache, whose copy would hide what the disk has become. It keeps no lock while it reads. What it finds wrong is looked
//! at twice, and belongs to the log only if that still has the very segment it was found in.

use super::Shared;
use super::files::OpenFile;
use super::folder::Kind;
use super::scan::{Position, verify};
use super::seek::is_to_be_there;
use super::writer::Writer;
use crate::engine::{ChunkInfo, ScrubPace};
use crate::partition::Partition;
use rustka_core::sync::lock;
use rustka_core::time::Now;
use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// What opening a file counts as, in bytes, so that many small ones keep to the pace as well.
const FILE_BYTES: u64 = 4 << 10;

/// How far the round has come.
#[derive(Default)]
pub(super) struct Scrub {
    place: Option<Place>,
    /// When it began, on the monotonic clock; a new one begins a good while after.
    began_ms: Option<i64>,
    /// When bytes were allowed last.
    allowed_ms: Option<i64>,
    /// Bytes that may be read; less than none after a batch that was larger than what was allowed.
    allowed_bytes: i64,
    is_running: bool,
}

/// What is read next.
struct Place {
    /// The log's name.
    log: Box<str>,
    /// Nothing of it before this is to be read any more.
    offset: i64,
    /// Where that is, in the segment of this number.
    within: Option<(u64, Position)>,
}

impl Place {
    fn begin(log: &str) -> Place {
        Place {
            log: log.into(),
            offset: 0,
            within: None,
        }
    }
}

impl Scrub {
    /// Whether anything is to be read now. Then it runs.
    fn begins(&mut self, now_ms: i64, pace: ScrubPace) -> bool {
        let since_ms = self.allowed_ms.replace(now_ms).unwrap_or(now_ms);
        let passed_ms = now_ms.saturating_sub(since_ms).clamp(0, 1_000);
        let per_second = i64::try_from(pace.bytes_per_second).unwrap_or(i64::MAX);
        let more = per_second.saturating_mul(passed_ms) / 1_000;
        self.allowed_bytes = self.allowed_bytes.saturating_add(more).min(per_second);
        if self.is_running || self.allowed_bytes <= 0 {
            return false;
        }
        if self.place.is_none() {
            let rests_until = self
                .began_ms
                .map(|began_ms| began_ms.saturating_add(pace.interval_ms));
            if rests_until.is_some_and(|until_ms| until_ms > now_ms) {
                return false;
            }
            self.began_ms = Some(now_ms);
            self.place = Some(Place::begin(""));
        }
        self.is_running = true;
        true
    }
}

impl Shared {
    /// Whether [`Shared::scrub`] is to be called.
    pub(super) fn scrub_begins(&self, now: Now, pace: ScrubPace) -> bool {
        lock(&self.scrub).begins(now.monotonic_ms, pace)
    }

    /// Reads on, as much as is allowed.
    pub(super) fn scrub(self: &Arc<Shared>) {
        let (mut place, mut allowed) = {
            let mut scrub = lock(&self.scrub);
            (scrub.place.take(), scrub.allowed_bytes)
        };
        while let Some(at) = place.take_if(|_| allowed > 0 && !self.is_closed.load(Relaxed)) {
            let (next, bytes) = self.scrub_one(at, allowed.unsigned_abs());
            allowed = allowed.saturating_sub_unsigned(bytes);
            self.counted.scrubbed_bytes.fetch_add(bytes, Relaxed);
            place = next;
        }
        let mut scrub = lock(&self.scrub);
        scrub.place = place;
        scrub.allowed_bytes = allowed;
        scrub.is_running = false;
    }

    /// Reads about so much of one segment; where it goes on, and how much that was.
    fn scrub_one(self: &Arc<Shared>, at: Place, bytes: u64) -> (Option<Place>, u64) {
        let Some(writer) = self.log_from(&at.log) else {
            return (None, 0);
        };
        let name = writer.folder.name();
        let at = match *at.log == **name {
            true => at,
            false => Place::begin(name),
        };
        let found = writer.partition().and_then(|home| {
            let (chunk, durable) = home.at_rest(at.offset)?;
            (chunk.base_offset < durable).then_some((home, chunk, durable))
        });
        let Some((home, chunk, durable)) = found else {
            // The next name that there can be.
            return (Some(Place::begin(&format!("{name}\0"))), 0);
        };
        let from = at
            .within
            .filter(|(sequence, _)| *sequence == chunk.sequence);
        let from = from.map_or(Position::at_start_of(chunk.base_offset), |(_, position)| {
            position
        });
        let upper = durable.min(chunk.next_offset);
        let read = self.scrub_segment(&writer, &home, &chunk, upper, from, bytes);
        let then = read.unwrap_or_else(|error| {
            // Whoever was faster has taken it away.
            let is_gone = error.kind() == io::ErrorKind::NotFound
                && !is_to_be_there(&writer, chunk.base_offset, chunk.sequence);
            let file = Kind::Log.name(chunk.base_offset);
            if !is_gone && self.is_news(format!("scrub {name}/{file}")) {
                tracing::error!(target: "rustka::storage", "{name}/{file} cannot be read: {error}");
            }
            None
        });
        let read = then
            .map_or(chunk.bytes, |then| then.at)
            .saturating_sub(from.at);
        let next = match then {
            Some(then) => Place {
                offset: chunk.base_offset,
                within: Some((chunk.sequence, then)),
                ..at
            },
            None => Place {
                offset: chunk.next_offset,
                within: None,
                ..at
            },
        };
        (Some(next), read.saturating_add(FILE_BYTES))
    }

    /// Where it goes on within the segment; nothing if it is at its end.
    fn scrub_segment(
        self: &Arc<Shared>,
        writer: &Writer,
        home: &Partition,
        chunk: &ChunkInfo,
        upper: i64,
        from: Position,
        bytes: u64,
    ) -> io::Result<Option<Position>> {
        let path = writer.folder.at(&Kind::Log.name(chunk.base_offset));
        let file = self.files.open_uncached(&path)?;
        let read = |file: &dyn OpenFile| verify(file, from, chunk.bytes, upper, bytes);
        let mut found = read(&*file)?;
        if !found.damaged.is_empty() {
            let again = self.files.open_uncached(&path)?;
            found = read(&*again)?;
        }
        for (range, at, why) in &found.damaged {
            if !home.found_damage(chunk.sequence, range) {
                continue;
            }
            tracing::error!(
                target: "rustka::storage",
                "{}/{}, byte {at}: the records with the offsets {} to {} cannot be read any more: {why}",
                writer.folder.name(),
                Kind::Log.name(chunk.base_offset),
                range.start,
                range.end - 1
            );
        }
        Ok((!found.is_over).then_some(found.then))
    }

    /// The first log that is called so, or whose name comes later.
    fn log_from(&self, name: &str) -> Option<Arc<Writer>> {
        let writers = lock(&self.writers);
        let from = (Bound::Included(name), Bound::Unbounded);
        let mut later = writers.range::<str, _>(from);
        later.find_map(|(_, writer)| writer.upgrade())
    }
}
