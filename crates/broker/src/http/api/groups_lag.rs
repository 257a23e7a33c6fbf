//! What groups have read of partitions, and what is left: committed offsets beside the ends of the logs.

use super::groups::refuse;
use crate::http::answer::{Answer, json};
use crate::http::ask::Ask;
use crate::http::problem::Problem;
use crate::node::Node;
use hyper::StatusCode;
use rustka_client::{Isolation, Start, To};
use rustka_core::error::ErrorCode;
use rustka_wire::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestGroup};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Offset and note of each partition that a group has committed.
type Places = BTreeMap<(String, i32), (i64, String)>;

/// What groups have committed.
pub struct Committed {
    node: Arc<Node>,
    groups: BTreeMap<String, Places>,
}

/// A group's sums.
#[derive(Default)]
pub struct Lags<'a> {
    /// Records that are left to be read.
    pub records: i64,
    /// Records that went before they were read.
    pub lost: i64,
    /// Partitions it has read.
    pub partitions: usize,
    /// Their topics.
    pub topics: BTreeSet<&'a str>,
}

/// One partition as a group has read it.
pub struct Lag {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Where the group goes on; none before its first commit.
    pub committed: Option<i64>,
    /// Where the log begins and ends; none when it is gone.
    pub log: Option<(i64, i64)>,
    metadata: String,
}

impl Lag {
    /// Records that are left.
    fn records(&self) -> Option<i64> {
        let (start, end) = self.log?;
        let from = self.committed?.clamp(start, end);
        Some(end - from)
    }

    /// Records that went unread.
    fn lost(&self) -> i64 {
        let committed = self.committed.zip(self.log);
        committed.map_or(0, |(committed, (start, _))| (start - committed).max(0))
    }

    /// As JSON, with the member that holds it.
    pub fn shown(&self, holder: Option<&str>) -> Value {
        json!({
            "topic": self.topic,
            "partition": self.partition,
            "committed": self.committed.map(|offset| offset.to_string()),
            "logStart": self.log.map(|log| log.0.to_string()),
            "logEnd": self.log.map(|log| log.1.to_string()),
            "lag": self.records().map(|records| records.to_string()),
            "lost": self.lost().to_string(),
            "member": holder,
            "metadata": self.metadata,
        })
    }
}

/// What these groups have committed.
pub async fn offsets(ask: &Ask, names: &[&str]) -> Result<Committed, Problem> {
    let mut groups: BTreeMap<String, Places> = BTreeMap::new();
    if !names.is_empty() {
        let asked = names.iter().map(|name| OffsetFetchRequestGroup {
            group_id: (*name).into(),
            topics: None,
            ..Default::default()
        });
        let request = OffsetFetchRequest {
            groups: asked.collect(),
            ..Default::default()
        };
        // From version 8 on many groups are asked for, from version 10 on topics go by their ids.
        let answer = ask.client().call_at(To::Any, (8, 9), &request).await?;
        for group in answer.body()?.groups {
            // One that went meanwhile, or that may not be seen, has read nothing as far as we know.
            let rows = groups.entry(group.group_id.into_owned()).or_default();
            for topic in &group.topics {
                for partition in &topic.partitions {
                    if partition.committed_offset >= 0 {
                        let place = (topic.name.to_string(), partition.partition_index);
                        let metadata = partition.metadata.as_deref().unwrap_or_default();
                        rows.insert(place, (partition.committed_offset, metadata.to_owned()));
                    }
                }
            }
        }
    }
    Ok(Committed {
        node: ask.node().clone(),
        groups,
    })
}

impl Committed {
    fn log(&self, topic: &str, partition: i32) -> Option<(i64, i64)> {
        let offsets = self.node.partition(topic, partition)?.offsets();
        Some((offsets.log_start, offsets.high_watermark))
    }

    /// Every partition of a group.
    pub fn rows(&self, group: &str) -> Vec<Lag> {
        let rows = self.groups.get(group).into_iter().flatten();
        rows.map(|((topic, partition), (committed, metadata))| Lag {
            topic: topic.clone(),
            partition: *partition,
            committed: Some(*committed),
            log: self.log(topic, *partition),
            metadata: metadata.clone(),
        })
        .collect()
    }

    /// A partition of which nothing was committed.
    pub fn uncommitted(&self, topic: &str, partition: i32) -> Lag {
        Lag {
            topic: topic.to_owned(),
            partition,
            committed: None,
            log: self.log(topic, partition),
            metadata: String::new(),
        }
    }

    /// The sums of a group, of one topic or of all.
    pub fn of(&self, group: &str, only: Option<&str>) -> Lags<'_> {
        let mut lags = Lags::default();
        let rows = self.groups.get(group).into_iter().flatten();
        for ((topic, partition), (committed, _)) in rows {
            if only.is_some_and(|only| only != topic) {
                continue;
            }
            lags.partitions += 1;
            lags.topics.insert(topic);
            if let Some((start, end)) = self.log(topic, *partition) {
                lags.records += end - (*committed).clamp(start, end);
                lags.lost += (start - committed).max(0);
            }
        }
        lags
    }
}

/// Where a group is to go on.
enum Target {
    Place(Start),
    /// So many records on, or back.
    Shift(i64),
}

/// Moves what a group has committed; without `execute` it only says what would come of that.
pub async fn reset(ask: Ask) -> Result<Answer, Problem> {
    let group = ask.name(0);
    let mut fields = ask.fields()?;
    let to = fields.required("to")?;
    let topic = fields.text("topic")?;
    let partition = fields.number("partition", 0..=i32::MAX)?;
    let execute = fields.flag("execute")?;
    fields.end()?;
    let target = target(&to)?;
    let committed = offsets(&ask, &[group]).await?;
    let mut rows = committed.rows(group);
    if let Some(topic) = &topic {
        rows.retain(|row| row.topic == *topic);
        // A topic that the group has not read yet may be given places, too.
        if rows.is_empty() {
            let known = super::topics::find(&ask, topic)?;
            let count = i32::try_from(known.partitions.len()).unwrap_or(i32::MAX);
            rows.extend((0..count).map(|index| committed.uncommitted(topic, index)));
        }
    }
    rows.retain(|row| row.log.is_some() && partition.is_none_or(|one| one == row.partition));
    if rows.is_empty() {
        return Err(Problem::missing("the group has read no such partition"));
    }
    let moves = moves(&ask, &rows, &target).await?;
    if execute {
        let client = ask.client();
        let done = client.reset_offsets(group, &moves).await;
        done.map_err(|error| match error.code() {
            Some(ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration) => Problem {
                detail: "the group has members: stop its consumers first".to_owned(),
                status: StatusCode::CONFLICT,
                code: error.code().map(ErrorCode::name),
            },
            _ => error.into(),
        })?;
    }
    let shown = rows.iter().filter_map(|row| {
        let to = moves.get(&(row.topic.clone(), row.partition))?;
        let mut shown = row.shown(None);
        shown["to"] = to.to_string().into();
        Some(shown)
    });
    let shown: Vec<Value> = shown.collect();
    Ok(json(&json!({ "executed": execute, "partitions": shown })))
}

fn target(text: &str) -> Result<Target, Problem> {
    let wrong = || {
        Problem::bad(format!(
            "to is {text:?}: expected earliest, latest, an offset, @ and milliseconds since 1970, or +N or -N records"
        ))
    };
    let shift = text
        .strip_prefix('+')
        .or_else(|| text.starts_with('-').then_some(text));
    Ok(match (text, text.strip_prefix('@'), shift) {
        ("earliest", ..) => Target::Place(Start::Earliest),
        ("latest", ..) => Target::Place(Start::Latest),
        (_, Some(time), _) => Target::Place(Start::Time(time.parse().map_err(|_| wrong())?)),
        (.., Some(by)) => Target::Shift(by.parse().map_err(|_| wrong())?),
        _ => match text.parse() {
            Ok(offset @ 0..) => Target::Place(Start::Offset(offset)),
            _ => return Err(wrong()),
        },
    })
}

/// The new offset of each of these partitions, within its log.
async fn moves(
    ask: &Ask,
    rows: &[Lag],
    target: &Target,
) -> Result<BTreeMap<(String, i32), i64>, Problem> {
    let mut by_topic: BTreeMap<&str, BTreeMap<i32, Start>> = BTreeMap::new();
    let mut moves = BTreeMap::new();
    for row in rows {
        let (start, end) = row.log.unwrap_or_default();
        match target {
            Target::Place(place) => {
                let places = by_topic.entry(&row.topic).or_default();
                places.insert(row.partition, *place);
            }
            Target::Shift(by) => {
                let from = row.committed.unwrap_or(start);
                let to = from.saturating_add(*by).clamp(start, end);
                moves.insert((row.topic.clone(), row.partition), to);
            }
        }
    }
    let client = ask.client();
    for (topic, places) in by_topic {
        let isolation = Isolation::ReadUncommitted;
        let found = client.offsets(topic, &places, isolation).await?;
        for (partition, offset) in found {
            let row = rows
                .iter()
                .find(|row| row.topic == topic && row.partition == partition);
            let (start, end) = row.and_then(|row| row.log).unwrap_or_default();
            moves.insert((topic.to_owned(), partition), offset.clamp(start, end));
        }
    }
    Ok(moves)
}

/// Forgets what a group has committed of a topic.
pub async fn forget(ask: Ask) -> Result<Answer, Problem> {
    let group = ask.name(0);
    let topic = ask.query.text("topic");
    let topic = topic.ok_or_else(|| Problem::bad("topic is missing"))?;
    let committed = offsets(&ask, &[group]).await?;
    let rows = committed.rows(group).into_iter();
    let partitions: Vec<i32> = rows
        .filter(|row| row.topic == topic)
        .map(|row| row.partition)
        .collect();
    if partitions.is_empty() {
        refuse(ErrorCode::UnknownTopicOrPartition.code())?;
    }
    let client = ask.client();
    let outcomes = client.delete_offsets(group, topic, &partitions).await?;
    for outcome in outcomes.into_values() {
        outcome?;
    }
    Ok(crate::http::answer::done())
}
