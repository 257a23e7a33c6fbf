//! Records: browsing them by place or time, one as a whole.
//!
//! They are fetched as any consumer would fetch them. One call reads so many bytes at most and says where to go on.

use super::topics;
use crate::base::hooks::{Operation, Resource};
use crate::http::answer::{Answer, json, with};
use crate::http::ask::Ask;
use crate::http::filter::Filter;
use crate::http::problem::Problem;
use crate::http::reader::{Budget, Reader, Row, SHOWN_BYTES_MAX};
use crate::node::topics::TopicRef;
use hyper::StatusCode;
use rustka_client::{Isolation, Start};
use rustka_core::error::ErrorCode;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Records of one answer.
const RECORDS_MAX: usize = 500;
/// Records unless told otherwise.
const RECORDS: usize = 50;
/// Records looked at for an answer that shows the newest of many partitions.
const CANDIDATES_MAX: usize = 1_000;
/// Offsets that are looked at together when reading backwards.
const WINDOW_MAX: i64 = 10_000;

/// Records of a topic, the newest first, or from a place on.
///
/// `start` is `newest`, `oldest`, an offset, or `@` and a time in milliseconds since the Unix epoch.
pub async fn browse(ask: Ask) -> Result<Answer, Problem> {
    let topic = topics::find(&ask, ask.name(0))?;
    allowed_to_read(&ask, &topic)?;
    let query = &ask.query;
    let limit = query.number("limit", 1..=RECORDS_MAX)?.unwrap_or(RECORDS);
    let filter = Filter::parse(query.text("filter").unwrap_or("")).map_err(Problem::bad)?;
    let filter = Arc::new(filter);
    let partitions = chosen(&ask, &topic)?;
    let start = query.text("start").unwrap_or("newest");
    let cursor = query.text("cursor").map(Cursor::parse).transpose()?;
    let mut reader = Reader::new(ask.client(), &topic, &ask.node().work);
    let mut budget = Budget::new(&ask.node().clock);
    let (mut rows, next) = match start {
        "newest" => {
            let ends = match cursor {
                Some(cursor) => cursor.0,
                None => partitions
                    .iter()
                    .filter_map(|index| {
                        let partition = topic.partition(*index)?;
                        Some((*index, partition.offsets().high_watermark))
                    })
                    .collect(),
            };
            let starts = partitions
                .iter()
                .filter_map(|index| Some((*index, topic.partition(*index)?.offsets().log_start)));
            let asked = Newest {
                starts: starts.collect(),
                ends,
                limit,
                filter: &filter,
            };
            newest(&mut reader, &mut budget, asked).await?
        }
        start => {
            let from = match cursor {
                Some(cursor) => cursor.0,
                None => {
                    let start = parse_start(start)?;
                    let places = partitions.iter().map(|index| (*index, start));
                    let places: BTreeMap<i32, Start> = places.collect();
                    let isolation = Isolation::ReadUncommitted;
                    ask.client()
                        .offsets(&topic.name, &places, isolation)
                        .await?
                }
            };
            oldest(&mut reader, &mut budget, from, limit, &filter).await?
        }
    };
    let shown: Vec<Value> = rows.drain(..).map(|row| row.shown(&topic.name)).collect();
    Ok(json(&json!({
        "records": shown,
        "cursor": next.map(|cursor| cursor.text()),
        "scanned": { "records": reader.records, "bytes": reader.bytes },
    })))
}

/// Refuses those who may not read the topic.
pub fn allowed_to_read(ask: &Ask, topic: &TopicRef) -> Result<(), Problem> {
    let resource = Resource::Topic(&topic.name);
    match ask.access().may(Operation::Read, resource) {
        true => Ok(()),
        false => Err(ErrorCode::TopicAuthorizationFailed.into()),
    }
}

/// The partition that was asked for, or all.
pub fn chosen(ask: &Ask, topic: &TopicRef) -> Result<Vec<i32>, Problem> {
    let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    Ok(match ask.query.number("partition", 0..=count - 1)? {
        Some(one) => vec![one],
        None => (0..count).collect(),
    })
}

/// Where to begin: the oldest, an offset, or a time.
pub fn parse_start(text: &str) -> Result<Start, Problem> {
    let wrong = || {
        Problem::bad(format!(
            "start is {text:?}: expected newest, oldest, an offset, or @ and milliseconds since 1970"
        ))
    };
    match (text, text.strip_prefix('@')) {
        ("oldest", _) => Ok(Start::Earliest),
        (_, Some(time)) => time.parse().map(Start::Time).map_err(|_| wrong()),
        (offset, None) => match offset.parse() {
            Ok(offset @ 0..) => Ok(Start::Offset(offset)),
            _ => Err(wrong()),
        },
    }
}

/// Where a browse goes on, by partition.
struct Cursor(BTreeMap<i32, i64>);

impl Cursor {
    fn parse(text: &str) -> Result<Cursor, Problem> {
        let pairs = text.split(',').map(|pair| {
            let (partition, offset) = pair.split_once(':')?;
            Some((partition.parse().ok()?, offset.parse().ok()?))
        });
        let pairs: Option<BTreeMap<i32, i64>> = pairs.collect();
        pairs
            .map(Cursor)
            .ok_or_else(|| Problem::bad("cursor is none that was given out here"))
    }

    fn text(&self) -> String {
        let pairs = self
            .0
            .iter()
            .map(|(partition, offset)| format!("{partition}:{offset}"));
        pairs.collect::<Vec<_>>().join(",")
    }
}

/// A look back from the ends of partitions.
struct Newest<'a> {
    starts: BTreeMap<i32, i64>,
    ends: BTreeMap<i32, i64>,
    limit: usize,
    filter: &'a Arc<Filter>,
}

/// The newest records in front of `ends`, the newest first. Each partition is read backwards, a window at a time.
async fn newest(
    reader: &mut Reader,
    budget: &mut Budget,
    asked: Newest<'_>,
) -> Result<(Vec<Row>, Option<Cursor>), Problem> {
    let Newest {
        starts,
        mut ends,
        limit,
        filter,
    } = asked;
    let start_of = |index: &i32| starts.get(index).copied().unwrap_or(0);
    ends.retain(|index, end| *end > start_of(index));
    let share = (CANDIDATES_MAX / ends.len().max(1)).clamp(1, limit);
    let mut window = i64::try_from(share).unwrap_or(i64::MAX);
    let mut rows: Vec<Row> = Vec::new();
    while rows.len() < limit && !ends.is_empty() {
        for (&index, end) in &mut ends {
            let (begin, found) = back(
                reader,
                budget,
                index,
                start_of(&index)..*end,
                window,
                filter,
            )
            .await?;
            *end = begin;
            rows.extend(found);
            if !budget.is_left() {
                break;
            }
        }
        ends.retain(|index, end| *end > start_of(index));
        if !budget.is_left() {
            break;
        }
        // With a filter, or where offsets have gaps, more has to be looked at.
        window = window.saturating_mul(4).min(WINDOW_MAX);
    }
    let (rows, left) = merge(rows, limit);
    // What is too much is looked at again by the next call, with all that stands in front of it.
    ends.extend(left);
    Ok((rows, (!ends.is_empty()).then_some(Cursor(ends))))
}

/// The latest of these records, no more than `limit`, those of each partition in their order; and behind which record of
/// a partition the others end.
fn merge(mut rows: Vec<Row>, limit: usize) -> (Vec<Row>, BTreeMap<i32, i64>) {
    rows.sort_by_key(|row| row.offset);
    let mut by_partition: BTreeMap<i32, Vec<Row>> = BTreeMap::new();
    for row in rows {
        by_partition.entry(row.partition).or_default().push(row);
    }
    let mut merged = Vec::new();
    while merged.len() < limit {
        let last = |rows: &Vec<Row>| rows.last().map(|row| row.timestamp);
        let latest = by_partition.values_mut().max_by_key(|rows| last(rows));
        let Some(row) = latest.and_then(Vec::pop) else {
            break;
        };
        merged.push(row);
    }
    let left = by_partition.iter();
    let left = left.filter_map(|(index, rows)| Some((*index, rows.last()?.offset + 1)));
    (merged, left.collect())
}

/// The last records of a range of offsets, and where they begin. A window that is too much for one look is made smaller.
async fn back(
    reader: &mut Reader,
    budget: &mut Budget,
    index: i32,
    offsets: Range<i64>,
    mut window: i64,
    filter: &Arc<Filter>,
) -> Result<(i64, Vec<Row>), Problem> {
    loop {
        let begin = offsets.end.saturating_sub(window).max(offsets.start);
        let range = begin..offsets.end;
        let found = reader
            .read(index, range, usize::MAX, filter, budget)
            .await?;
        if found.next >= offsets.end || window == 1 {
            return Ok((begin, found.rows));
        }
        window = (window / 4).max(1);
    }
}

/// Records from these places on, partition by partition, each in its order.
async fn oldest(
    reader: &mut Reader,
    budget: &mut Budget,
    mut from: BTreeMap<i32, i64>,
    limit: usize,
    filter: &Arc<Filter>,
) -> Result<(Vec<Row>, Option<Cursor>), Problem> {
    let mut rows: Vec<Row> = Vec::new();
    let mut left = from.len();
    let mut is_end = true;
    for (&index, next) in &mut from {
        if rows.len() >= limit || !budget.is_left() {
            is_end = false;
            break;
        }
        // What is left is shared by those that were not read yet.
        let share = ((limit - rows.len()) / left).max(1);
        left -= 1;
        let range = *next..i64::MAX;
        let found = reader.read(index, range, share, filter, budget).await?;
        *next = found.next.min(found.high_watermark);
        is_end &= *next >= found.high_watermark;
        rows.extend(found.rows);
    }
    rows.sort_by_key(|row| (row.timestamp, row.partition, row.offset));
    Ok((rows, (!is_end).then_some(Cursor(from))))
}

/// A record's key or value as a whole, as it is.
pub async fn one(ask: Ask) -> Result<Answer, Problem> {
    let topic = topics::find(&ask, ask.name(0))?;
    let wrong = || Problem::missing("there is no such record");
    let partition: i32 = ask.name(1).parse().map_err(|_| wrong())?;
    let offset: i64 = ask.name(2).parse().map_err(|_| wrong())?;
    let part = ask.query.word("part", &["record", "value", "key"])?;
    if offset < 0 || topic.partition(partition).is_none() {
        return Err(wrong());
    }
    let mut reader = Reader::new(ask.client(), &topic, &ask.node().work);
    reader.shown_bytes_max = match part {
        "record" => SHOWN_BYTES_MAX,
        _ => usize::MAX,
    };
    let mut budget = Budget::new(&ask.node().clock);
    let filter = Arc::default();
    let range = offset..offset.saturating_add(1);
    let found = reader
        .read(partition, range, 1, &filter, &mut budget)
        .await?;
    let row = found
        .rows
        .into_iter()
        .find(|row| row.offset == offset)
        .ok_or_else(wrong)?;
    let bytes = match part {
        "record" => return Ok(json(&row.shown(&topic.name))),
        "key" => row.key,
        _ => row.value,
    };
    let bytes = bytes.ok_or_else(|| Problem::missing(format!("the record's {part} is null")))?;
    let mut answer = with(StatusCode::OK, "application/octet-stream", bytes.data);
    let name = format!("attachment; filename=\"{partition}-{offset}-{part}.bin\"");
    if let Ok(name) = name.parse() {
        answer.headers_mut().insert("content-disposition", name);
    }
    Ok(answer)
}
