//! Reads a topic's records for people: so much at a time, inflated within limits, cut where they are long, and what cannot
//! be read is told as such instead of ending the reading.

use super::filter::Filter;
use super::problem::Problem;
use crate::base::clock::Clock;
use crate::base::work::Work;
use crate::node::topics::TopicRef;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustka_client::frame::RawAnswer;
use rustka_client::{Client, To};
use rustka_core::batch::{BatchHeader, Record, Records, batches, record_bytes};
use rustka_core::compression::InflateLimits;
use rustka_core::error::ErrorCode;
use rustka_wire::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use rustka_wire::fetch_response::FetchResponse;
use serde_json::{Value, json};
use std::ops::Range;
use std::sync::Arc;

/// Bytes of a key, a value or a header that are shown; the whole is to be had by itself.
pub const SHOWN_BYTES_MAX: usize = 64 << 10;
/// Bytes of one fetch, but for one batch.
const FETCH_BYTES_MAX: i32 = 1 << 20;
/// Bytes read for one window of offsets.
const WINDOW_BYTES_MAX: usize = 4 << 20;
/// Bytes read for one call, and how long that may take.
const CALL_BYTES_MAX: usize = 16 << 20;
const CALL_MS_MAX: i64 = 2_000;
/// Bytes kept to be shown by one call.
const KEPT_BYTES_MAX: usize = 4 << 20;
/// Bytes that a batch may inflate to here.
const INFLATE_BYTES_MAX: usize = 16 << 20;
/// Headers of one record that are shown.
const HEADERS_MAX: usize = 100;

/// Bytes, cut where they are long.
pub struct Data {
    /// The first of them.
    pub data: Vec<u8>,
    /// How many there are.
    pub bytes: usize,
}

/// A record, or why there is none.
pub struct Row {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// Whether the broker set the timestamp.
    pub is_append_time: bool,
    /// How its batch is compressed.
    pub codec: &'static str,
    /// Whether it is part of a transaction.
    pub is_transactional: bool,
    /// The key.
    pub key: Option<Data>,
    /// The value.
    pub value: Option<Data>,
    /// The first headers.
    pub headers: Vec<(String, Option<Data>)>,
    /// How many there are.
    pub header_count: usize,
    /// Why the batch that begins here cannot be read.
    pub unreadable: Option<String>,
}

impl Row {
    /// Bytes that it keeps.
    fn kept(&self) -> usize {
        let of = |data: &Option<Data>| data.as_ref().map_or(0, |data| data.data.len());
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + of(value));
        of(&self.key) + of(&self.value) + headers.sum::<usize>()
    }

    /// As JSON. Numbers of 64 bits are texts: a browser's numbers have 53.
    pub fn shown(&self, topic: &str) -> Value {
        let (partition, offset) = (self.partition, self.offset);
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| json!({ "name": name, "value": value.as_ref().map(Data::shown) }));
        let mut row = json!({
            "topic": topic,
            "partition": partition,
            "offset": offset.to_string(),
            "timestamp": self.timestamp.to_string(),
            "timestampType": if self.is_append_time { "append" } else { "create" },
            "codec": self.codec,
            "transactional": self.is_transactional,
            "key": self.key.as_ref().map(Data::shown),
            "value": self.value.as_ref().map(Data::shown),
            "headers": headers.collect::<Vec<_>>(),
            "headerCount": self.header_count,
        });
        if let Some(why) = &self.unreadable {
            row["unreadable"] = why.as_str().into();
        }
        row
    }
}

impl Data {
    fn cut(bytes: &[u8], max: usize) -> Data {
        let mut shown = bytes.get(..max).unwrap_or(bytes);
        if shown.len() < bytes.len()
            && let Err(error) = std::str::from_utf8(shown)
            // Within a character: the text ends in front of it.
            && error.error_len().is_none()
        {
            shown = &shown[..error.valid_up_to()];
        }
        Data {
            data: shown.to_vec(),
            bytes: bytes.len(),
        }
    }

    /// As JSON: text where it is UTF-8, else base64.
    pub fn shown(&self) -> Value {
        let (encoding, data) = match std::str::from_utf8(&self.data) {
            Ok(text) => ("utf-8", text.to_owned()),
            Err(_) => ("base64", STANDARD.encode(&self.data)),
        };
        json!({
            "encoding": encoding,
            "data": data,
            "bytes": self.bytes,
            "cut": self.data.len() < self.bytes,
        })
    }
}

/// How much one call may still read.
pub struct Budget {
    clock: Clock,
    until_ms: i64,
    bytes: usize,
    kept: usize,
}

impl Budget {
    /// All that one call may.
    pub fn new(clock: &Clock) -> Budget {
        Budget {
            until_ms: clock.monotonic_ms() + CALL_MS_MAX,
            clock: clock.clone(),
            bytes: CALL_BYTES_MAX,
            kept: KEPT_BYTES_MAX,
        }
    }

    /// Whether there is something left.
    pub fn is_left(&self) -> bool {
        self.bytes > 0 && self.kept > 0 && self.clock.monotonic_ms() < self.until_ms
    }
}

/// What was read of a range of offsets.
pub struct Found {
    /// The records that pass the filter.
    pub rows: Vec<Row>,
    /// Everything in front of this was looked at.
    pub next: i64,
    /// Behind the last record that there is.
    pub high_watermark: i64,
}

/// Reads the records of one topic.
pub struct Reader {
    client: Client,
    topic: TopicRef,
    work: Work,
    /// Bytes that are kept of a key or a value.
    pub shown_bytes_max: usize,
    /// Headers that are kept of a record.
    pub headers_max: usize,
    /// Records looked at so far.
    pub records: u64,
    /// Bytes of batches looked at so far.
    pub bytes: u64,
}

/// What one fetch came to.
#[derive(Default)]
struct Fetched {
    rows: Vec<Row>,
    next: Option<i64>,
    records: u64,
    bytes: usize,
}

impl Reader {
    /// A reader of this topic with the client's rights.
    pub fn new(client: Client, topic: &TopicRef, work: &Work) -> Reader {
        Reader {
            client,
            topic: topic.clone(),
            work: work.clone(),
            shown_bytes_max: SHOWN_BYTES_MAX,
            headers_max: HEADERS_MAX,
            records: 0,
            bytes: 0,
        }
    }

    /// Reads offsets of a partition until they end, `limit` records were found, or it is enough for one window.
    pub async fn read(
        &mut self,
        partition: i32,
        offsets: Range<i64>,
        limit: usize,
        filter: &Arc<Filter>,
        budget: &mut Budget,
    ) -> Result<Found, Problem> {
        let mut found = Found {
            rows: Vec::new(),
            next: offsets.start,
            high_watermark: offsets.end,
        };
        let (mut bytes, mut kept) = (0, 0);
        while found.next < offsets.end && bytes < WINDOW_BYTES_MAX && kept < KEPT_BYTES_MAX {
            let answer = self.fetch(partition, found.next).await?;
            let (from, upper) = (found.next, offsets.end);
            let before = found.rows.last().map_or(-1, |row: &Row| row.timestamp);
            let damaged = self.damaged_at(partition, from, before);
            let (shown_max, headers_max) = (self.shown_bytes_max, self.headers_max);
            let filter = filter.clone();
            let room = limit - found.rows.len();
            let looked = self.work.run(move || {
                let mut look = Look {
                    partition,
                    from,
                    upper,
                    room,
                    filter,
                    shown_max,
                    headers_max,
                    damaged,
                };
                look.at(&answer)
            });
            let looked = looked.await;
            let (mut fetched, high_watermark) = looked.ok_or(ErrorCode::UnknownServerError)??;
            found.high_watermark = high_watermark;
            self.records += fetched.records;
            self.bytes += fetched.bytes as u64;
            bytes += fetched.bytes;
            kept += fetched.rows.iter().map(Row::kept).sum::<usize>();
            found.rows.append(&mut fetched.rows);
            match fetched.next {
                Some(next) => found.next = next,
                // Nothing further is to be seen here now.
                None => {
                    found.next = offsets.end.min(high_watermark.max(found.next));
                    break;
                }
            }
            if found.rows.len() >= limit {
                break;
            }
        }
        budget.bytes = budget.bytes.saturating_sub(bytes);
        budget.kept = budget.kept.saturating_sub(kept);
        Ok(found)
    }

    /// What is known to be damaged of a partition and lies at this offset, to be shown with this time.
    fn damaged_at(&self, partition: i32, offset: i64, timestamp: i64) -> Option<Damaged> {
        let partition = self.topic.partition(partition)?;
        let mut ranges = partition.damaged().into_iter();
        Some(Damaged {
            offsets: ranges.find(|range| range.contains(&offset))?,
            timestamp,
            high_watermark: partition.offsets().high_watermark,
        })
    }

    async fn fetch(&self, partition: i32, offset: i64) -> Result<RawAnswer, Problem> {
        let request = FetchRequest {
            replica_id: -1,
            min_bytes: 0,
            max_wait_ms: 0,
            max_bytes: FETCH_BYTES_MAX,
            session_epoch: -1,
            topics: vec![FetchTopic {
                topic: (&*self.topic.name).into(),
                partitions: vec![FetchPartition {
                    partition,
                    fetch_offset: offset,
                    partition_max_bytes: FETCH_BYTES_MAX,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        // From version 13 on topics go by their ids.
        let answer = self.client.call_at(To::Any, (4, 12), &request).await?;
        Ok(answer.raw().clone())
    }
}

/// Offsets that cannot be read any more.
struct Damaged {
    offsets: Range<i64>,
    /// Of what stands before them.
    timestamp: i64,
    high_watermark: i64,
}

/// A look at the batches of one answer.
struct Look {
    partition: i32,
    from: i64,
    upper: i64,
    room: usize,
    filter: Arc<Filter>,
    shown_max: usize,
    headers_max: usize,
    /// What is known to be damaged where the look begins.
    damaged: Option<Damaged>,
}

impl Look {
    fn at(&mut self, answer: &RawAnswer) -> Result<(Fetched, i64), Problem> {
        let told: FetchResponse<'_> = answer.decode()?;
        let mut partitions = told.responses.iter().flat_map(|topic| &topic.partitions);
        let partition = partitions.next();
        let partition = partition.ok_or(ErrorCode::UnknownTopicOrPartition)?;
        if let Some(code) = ErrorCode::from_code(partition.error_code)
            && code != ErrorCode::None
        {
            return match (code, &self.damaged) {
                // It went while we were reading: what is left begins later.
                (ErrorCode::OffsetOutOfRange, _) => {
                    let begin = partition.log_start_offset;
                    let next = (begin > self.from).then_some(begin);
                    let fetched = Fetched {
                        next,
                        ..Fetched::default()
                    };
                    Ok((fetched, partition.high_watermark))
                }
                // It is told in its place, and reading goes on behind it.
                (ErrorCode::KafkaStorageError, Some(damaged)) => {
                    let fetched = Fetched {
                        rows: vec![self.gone(damaged)],
                        next: Some(damaged.offsets.end),
                        ..Fetched::default()
                    };
                    Ok((fetched, damaged.high_watermark))
                }
                (code, _) => Err(code.into()),
            };
        }
        let records = partition.records.as_ref();
        let bytes = records.map_or(&[][..], |records| records.as_bytes());
        let mut fetched = Fetched::default();
        for batch in batches(bytes) {
            // The last one may be cut off.
            let Ok((header, range)) = batch else { break };
            if self.room <= fetched.rows.len() || header.base_offset >= self.upper {
                break;
            }
            let Some(last) = header.last_offset().filter(|last| *last >= self.from) else {
                continue;
            };
            fetched.bytes += range.len();
            fetched.next = Some(last.saturating_add(1));
            if !header.is_control() {
                self.batch(&header, bytes.get(range).unwrap_or_default(), &mut fetched);
            }
        }
        Ok((fetched, partition.high_watermark))
    }

    fn batch(&mut self, header: &BatchHeader, batch: &[u8], into: &mut Fetched) {
        let limits = InflateLimits {
            batch_bytes_max: INFLATE_BYTES_MAX,
            ..InflateLimits::default()
        };
        let bytes = match record_bytes(batch, header, limits.batch_bytes_max) {
            Ok(bytes) => bytes,
            Err(error) => return into.rows.push(self.unreadable(header, error.to_string())),
        };
        for record in Records::of(header, &bytes, limits) {
            let record = match record {
                Ok(record) => record,
                Err(error) => return into.rows.push(self.unreadable(header, error.to_string())),
            };
            let Some(offset) = header.offset_of(&record) else {
                continue;
            };
            if offset < self.from || offset >= self.upper {
                continue;
            }
            into.records += 1;
            if self.filter.passes(&record) {
                into.rows.push(self.row(header, offset, &record));
            }
            if into.rows.len() >= self.room {
                into.next = Some(offset + 1);
                return;
            }
        }
    }

    fn row(&self, header: &BatchHeader, offset: i64, record: &Record<'_>) -> Row {
        let cut = |bytes: &[u8]| Data::cut(bytes, self.shown_max);
        let headers = record.headers.into_iter().take(self.headers_max);
        let headers = headers.map(|(name, value)| {
            let name = String::from_utf8_lossy(name.get(..1_024).unwrap_or(name));
            (name.into_owned(), value.map(cut))
        });
        Row {
            key: record.key.map(cut),
            value: record.value.map(cut),
            headers: headers.collect(),
            header_count: record.headers.len(),
            timestamp: header.timestamp_of(record).unwrap_or(-1),
            ..self.blank(header, offset)
        }
    }

    fn unreadable(&self, header: &BatchHeader, why: String) -> Row {
        Row {
            unreadable: Some(why),
            timestamp: header.max_timestamp,
            ..self.blank(header, header.base_offset)
        }
    }

    fn gone(&self, damaged: &Damaged) -> Row {
        let last = damaged.offsets.end - 1;
        Row {
            partition: self.partition,
            offset: self.from,
            timestamp: damaged.timestamp,
            is_append_time: false,
            codec: "unknown",
            is_transactional: false,
            key: None,
            value: None,
            headers: Vec::new(),
            header_count: 0,
            unreadable: Some(format!(
                "damaged in its file, and cannot be read any more up to offset {last}"
            )),
        }
    }

    fn blank(&self, header: &BatchHeader, offset: i64) -> Row {
        Row {
            partition: self.partition,
            offset,
            timestamp: -1,
            is_append_time: header.log_append_time(),
            codec: header.compression().map_or("unknown", |codec| codec.name()),
            is_transactional: header.is_transactional(),
            key: None,
            value: None,
            headers: Vec::new(),
            header_count: 0,
            unreadable: None,
        }
    }
}
