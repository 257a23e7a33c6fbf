//! Answers without an end, or with one that is far: a live tail of a topic, and exports.

use super::records::{allowed_to_read, chosen, parse_start};
use super::topics;
use crate::http::answer::{Answer, set, with};
use crate::http::ask::{Ask, Viewer};
use crate::http::body::{Body, Pieces};
use crate::http::filter::Filter;
use crate::http::problem::Problem;
use crate::http::reader::{Budget, Reader, Row};
use crate::node::topics::TopicRef;
use crate::node::{Node, State, reached};
use hyper::StatusCode;
use rustka_client::Isolation;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A tail looks for new records so often.
const TAIL_MS: i64 = 250;
/// Records that a tail shows at once, and without a filter looks at; the others are only counted: nobody reads faster.
const TAIL_RECORDS_MAX: usize = 50;
/// Bytes of a key, a value or a header that a tail shows: who opens a record asks for it.
const TAIL_SHOWN_BYTES_MAX: usize = 2 << 10;
/// A tail that has nothing to say says so after this long, so that both ends know of each other.
const QUIET_MS: i64 = 5_000;

/// New records as server-sent events, as they come.
pub async fn tail(ask: Ask) -> Result<Answer, Problem> {
    let topic = topics::find(&ask, ask.name(0))?;
    allowed_to_read(&ask, &topic)?;
    let filter = filter(&ask)?;
    let ends = chosen(&ask, &topic)?.into_iter().filter_map(|index| {
        let partition = topic.partition(index)?;
        Some((index, partition.offsets().high_watermark))
    });
    let mut reader = Reader::new(ask.client(), &topic, &ask.node().work);
    reader.shown_bytes_max = TAIL_SHOWN_BYTES_MAX;
    let tail = Tail {
        reader,
        node: ask.node().clone(),
        viewer: ask.viewer(),
        places: ends.collect(),
        topic,
        filter,
    };
    let (body, pieces) = Body::stream();
    tokio::spawn(tail.run(pieces));
    Ok(with(StatusCode::OK, "text/event-stream", body))
}

struct Tail {
    reader: Reader,
    node: Arc<Node>,
    viewer: Viewer,
    topic: TopicRef,
    places: BTreeMap<i32, i64>,
    filter: Arc<Filter>,
}

impl Tail {
    async fn run(mut self, pieces: Pieces) {
        let node = self.node.clone();
        let mut stopping = node.state.subscribe();
        let mut said_ms = node.clock.monotonic_ms();
        let mut piece = Some(": records follow\n\n".to_owned());
        loop {
            if let Some(piece) = piece.take() {
                said_ms = node.clock.monotonic_ms();
                if !pieces.send(piece).await {
                    return;
                }
            }
            let next_ms = node.clock.monotonic_ms() + TAIL_MS;
            tokio::select! {
                biased;
                () = pieces.closed() => return,
                () = reached(&mut stopping, |state| state >= State::Stopping) => return,
                () = node.clock.sleep_until(next_ms) => {}
            }
            piece = match self.look().await {
                Ok(piece) => piece,
                Err(problem) => {
                    let told = json!({ "detail": problem.detail });
                    // The topic is gone, or may not be read any more, or whoever looks has been logged out.
                    pieces
                        .send(format!("event: problem\ndata: {told}\n\n"))
                        .await;
                    return;
                }
            };
            if piece.is_none() && node.clock.monotonic_ms() - said_ms >= QUIET_MS {
                piece = Some(": nothing new\n\n".to_owned());
            }
        }
    }

    /// What has come since the last look.
    async fn look(&mut self) -> Result<Option<String>, Problem> {
        self.viewer.who()?;
        let mut budget = Budget::new(&self.node.clock);
        let mut rows: Vec<Row> = Vec::new();
        let mut skipped = 0;
        let news = self.places.iter().filter_map(|(index, place)| {
            let end = self.topic.partition(*index)?.offsets().high_watermark;
            (end > *place).then_some((*index, *place, end))
        });
        let news: Vec<(i32, i64, i64)> = news.collect();
        let share = (TAIL_RECORDS_MAX / news.len().max(1)).max(1);
        for (index, place, end) in news {
            let shown = i64::try_from(share).unwrap_or(i64::MAX);
            let from = match self.filter.is_empty() {
                true => place.max(end - shown),
                false => place,
            };
            let found = self
                .reader
                .read(index, from..end, share, &self.filter, &mut budget)
                .await?;
            // Whoever cannot follow is taken to the end again.
            skipped += from - place + (end - found.next).max(0);
            self.places.insert(index, end.max(found.next));
            rows.extend(found.rows);
            if !budget.is_left() {
                break;
            }
        }
        if rows.is_empty() && skipped == 0 {
            return Ok(None);
        }
        rows.sort_by_key(|row| (row.timestamp, row.partition, row.offset));
        let shown: Vec<_> = rows.iter().map(|row| row.shown(&self.topic.name)).collect();
        let told = json!({ "records": shown, "skipped": skipped.to_string() });
        Ok(Some(format!("event: records\ndata: {told}\n\n")))
    }
}

/// Records as a file, from a place on until where the topic ends now.
pub async fn export(ask: Ask) -> Result<Answer, Problem> {
    let topic = topics::find(&ask, ask.name(0))?;
    allowed_to_read(&ask, &topic)?;
    let format = ask.query.word("format", &["jsonl", "csv"])?;
    let limit = ask
        .query
        .number("limit", 1..=usize::MAX)?
        .unwrap_or(usize::MAX);
    let start = parse_start(ask.query.text("start").unwrap_or("oldest"))?;
    let places = chosen(&ask, &topic)?
        .into_iter()
        .map(|index| (index, start));
    let client = ask.client();
    let isolation = Isolation::ReadUncommitted;
    let from = client
        .offsets(&topic.name, &places.collect(), isolation)
        .await?;
    let mut reader = Reader::new(client, &topic, &ask.node().work);
    reader.shown_bytes_max = usize::MAX;
    reader.headers_max = usize::MAX;
    let export = Export {
        reader,
        node: ask.node().clone(),
        viewer: ask.viewer(),
        filter: filter(&ask)?,
        is_csv: format == "csv",
        topic,
        limit,
    };
    let kind = match export.is_csv {
        true => "text/csv; charset=utf-8",
        false => "application/jsonl",
    };
    let (body, pieces) = Body::stream();
    tokio::spawn(export.run(from, pieces));
    let mut answer = with(StatusCode::OK, kind, body);
    // A topic's name is fit for a file's.
    let disposition = format!("attachment; filename=\"{}.{format}\"", ask.name(0));
    match disposition.parse() {
        Ok(value) => drop(answer.headers_mut().insert("content-disposition", value)),
        Err(_) => set(answer.headers_mut(), "content-disposition", "attachment"),
    }
    Ok(answer)
}

struct Export {
    reader: Reader,
    node: Arc<Node>,
    viewer: Viewer,
    topic: TopicRef,
    filter: Arc<Filter>,
    is_csv: bool,
    limit: usize,
}

impl Export {
    async fn run(mut self, from: BTreeMap<i32, i64>, pieces: Pieces) {
        if self.is_csv && !pieces.send(CSV_HEAD).await {
            return;
        }
        for (index, from) in from {
            match self.partition(index, from, &pieces).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(problem) => return pieces.fail(&problem.detail).await,
            }
        }
    }

    /// Whether anybody wants more.
    async fn partition(
        &mut self,
        index: i32,
        mut from: i64,
        pieces: &Pieces,
    ) -> Result<bool, Problem> {
        let Some(partition) = self.topic.partition(index) else {
            return Ok(true);
        };
        let end = partition.offsets().high_watermark;
        while from < end && self.limit > 0 {
            self.viewer.who()?;
            let mut budget = Budget::new(&self.node.clock);
            let read = self
                .reader
                .read(index, from..end, self.limit, &self.filter, &mut budget);
            let found = read.await?;
            self.limit -= found.rows.len().min(self.limit);
            let mut text = String::new();
            for row in &found.rows {
                match self.is_csv {
                    true => csv(row, &mut text),
                    false => {
                        text.push_str(&row.shown(&self.topic.name).to_string());
                        text.push('\n');
                    }
                }
            }
            if !text.is_empty() && !pieces.send(text).await {
                return Ok(false);
            }
            if found.next <= from {
                break;
            }
            from = found.next;
        }
        Ok(self.limit > 0)
    }
}

const CSV_HEAD: &str =
    "partition,offset,timestamp,key_encoding,key,value_encoding,value,headers\r\n";

fn csv(row: &Row, into: &mut String) {
    let mut fields = vec![
        row.partition.to_string(),
        row.offset.to_string(),
        row.timestamp.to_string(),
    ];
    for data in [&row.key, &row.value] {
        let shown = data.as_ref().map(|data| data.shown());
        let of = |name: &str| {
            let text = shown.as_ref().and_then(|shown| shown[name].as_str());
            text.unwrap_or("null").to_owned()
        };
        fields.push(of("encoding"));
        fields.push(match &shown {
            Some(_) => of("data"),
            None => String::new(),
        });
    }
    let headers = row.headers.iter().map(
        |(name, value)| json!({ "name": name, "value": value.as_ref().map(|value| value.shown()) }),
    );
    fields.push(serde_json::Value::from_iter(headers).to_string());
    let cells: Vec<String> = fields.iter().map(|field| cell(field)).collect();
    into.push_str(&cells.join(","));
    into.push_str("\r\n");
}

/// A cell of a table. Programs that show tables take some beginnings for formulas and compute them: they get an
/// apostrophe, which the exact form, JSON lines, does not have.
fn cell(text: &str) -> String {
    let is_number = text.parse::<i64>().is_ok();
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_number;
    let quoted = text.replace('"', "\"\"");
    match is_formula {
        true => format!("\"'{quoted}\""),
        false if text.contains(['"', ',', '\n', '\r']) => format!("\"{quoted}\""),
        false => quoted,
    }
}

fn filter(ask: &Ask) -> Result<Arc<Filter>, Problem> {
    let text = ask.query.text("filter").unwrap_or("");
    Filter::parse(text).map(Arc::new).map_err(Problem::bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_no_formula_and_ends_where_it_should() {
        assert_eq!(cell("=1+1"), "\"'=1+1\"");
        assert_eq!(cell("-5"), "-5");
        assert_eq!(cell("a,\"b\"\n"), "\"a,\"\"b\"\"\n\"");
        assert_eq!(cell("plain"), "plain");
    }
}
