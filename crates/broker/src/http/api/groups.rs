//! Consumer groups: who is in them, what they have read and what is left, what made them rebalance.

use super::groups_lag::{Lag, Lags, offsets};
use crate::base::hooks::{Operation, Resource};
use crate::base::timeline::{self, Client, Rebalance};
use crate::http::answer::{Answer, done, json};
use crate::http::ask::Ask;
use crate::http::problem::Problem;
use crate::http::tracks::Subject;
use rustka_client::To;
use rustka_core::error::ErrorCode;
use rustka_wire::Reader;
use rustka_wire::consumer_group_describe_request::ConsumerGroupDescribeRequest;
use rustka_wire::consumer_group_describe_response::{
    Assignment, DescribedGroup as ConsumerGroup, Member,
};
use rustka_wire::consumer_protocol_assignment::ConsumerProtocolAssignment;
use rustka_wire::delete_groups_request::DeleteGroupsRequest;
use rustka_wire::describe_groups_request::DescribeGroupsRequest;
use rustka_wire::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use rustka_wire::list_groups_request::ListGroupsRequest;
use rustka_wire::list_groups_response::ListedGroup;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Rows of one answer, and rows unless told otherwise.
const ROWS_MAX: usize = 500;
const ROWS: usize = 100;
/// Partitions of a group that are told one by one.
const PARTITIONS_MAX: usize = 1_000;
/// Whatever version both sides know.
const ANY: (i16, i16) = (0, i16::MAX);

/// The groups in sight, with what they have left to read, of one topic or of all.
pub async fn list(ask: Ask) -> Result<Answer, Problem> {
    let query = &ask.query;
    let search = query.text("search").unwrap_or("").to_lowercase();
    let sort = query.word("sort", &["name", "state", "lag"])?;
    let is_down = query.word("order", &["up", "down"])? == "down";
    let from = query.number("from", 0..=usize::MAX)?.unwrap_or(0);
    let limit = query.number("limit", 1..=ROWS_MAX)?.unwrap_or(ROWS);
    let topic = query.text("topic");
    let listed = listed(&ask).await?;
    let names: Vec<&str> = listed.iter().map(|group| &*group.group_id).collect();
    let lags = offsets(&ask, &names).await?;
    let mut rows: Vec<(&ListedGroup<'_>, Lags<'_>)> = listed
        .iter()
        .filter(|group| search.is_empty() || group.group_id.to_lowercase().contains(&search))
        .map(|group| (group, lags.of(&group.group_id, topic)))
        .filter(|(_, lags)| topic.is_none() || lags.partitions > 0)
        .collect();
    rows.sort_by(|(one, lag), (other, other_lag)| {
        let order = match sort {
            "state" => one.group_state.cmp(&other.group_state),
            "lag" => lag.records.cmp(&other_lag.records),
            _ => std::cmp::Ordering::Equal,
        };
        let order = order.then_with(|| one.group_id.cmp(&other.group_id));
        match is_down {
            true => order.reverse(),
            false => order,
        }
    });
    let total = rows.len();
    let rows: Vec<_> = rows.into_iter().skip(from).take(limit).collect();
    let names: Vec<&str> = rows.iter().map(|(group, _)| &*group.group_id).collect();
    let described = described(&ask, &names).await?;
    let members: BTreeMap<&str, usize> = described
        .iter()
        .map(|one| (&*one.group.group_id, one.group.members.len()))
        .collect();
    let rows = rows.iter().map(|(group, lags)| {
        json!({
            "group": group.group_id,
            "state": group.group_state,
            "protocol": group.protocol_type,
            "members": members.get(&*group.group_id),
            "lag": lags.records.to_string(),
            "lost": lags.lost.to_string(),
            "partitions": lags.partitions,
            "topics": lags.topics.iter().take(20).collect::<Vec<_>>(),
        })
    });
    let rows: Vec<Value> = rows.collect();
    Ok(json(
        &json!({ "total": total, "from": from, "groups": rows }),
    ))
}

/// The groups of this broker that whoever asks may know of.
async fn listed(ask: &Ask) -> Result<Vec<ListedGroup<'static>>, Problem> {
    let answer = ask
        .client()
        .call_at(To::Any, ANY, &ListGroupsRequest::default())
        .await?;
    let told = answer.body()?;
    refuse(told.error_code)?;
    Ok(told
        .groups
        .into_iter()
        .map(ListedGroup::into_owned)
        .collect())
}

/// A group of either protocol.
struct Described {
    /// In the words of a classic one, so that both are shown alike. What members hold stands in it only if it is one.
    group: DescribedGroup<'static>,
    /// What it says itself, if it is a consumer group of the new protocol.
    consumer: Option<ConsumerGroup<'static>>,
}

async fn described(ask: &Ask, names: &[&str]) -> Result<Vec<Described>, Problem> {
    let request = DescribeGroupsRequest {
        groups: names.iter().map(|name| (*name).into()).collect(),
        ..Default::default()
    };
    let answer = ask.client().call_at(To::Any, ANY, &request).await?;
    let groups = answer.body()?.groups;
    let is_other =
        |group: &DescribedGroup<'_>| group.error_code == ErrorCode::GroupIdNotFound.code();
    let others = groups.iter().filter(|group| is_other(group));
    let others: Vec<&str> = others.map(|group| &*group.group_id).collect();
    let mut consumers = consumers(ask, &others).await?;
    let described = groups.into_iter().map(|group| {
        let at = consumers
            .iter()
            .position(|consumer| is_other(&group) && consumer.group_id == group.group_id);
        let consumer = at.map(|at| consumers.swap_remove(at));
        Described {
            group: consumer
                .as_ref()
                .map_or_else(|| group.into_owned(), as_classic),
            consumer,
        }
    });
    Ok(described.collect())
}

/// Those of these groups that are consumer groups of the new protocol.
async fn consumers(ask: &Ask, names: &[&str]) -> Result<Vec<ConsumerGroup<'static>>, Problem> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let request = ConsumerGroupDescribeRequest {
        group_ids: names.iter().map(|name| (*name).into()).collect(),
        ..Default::default()
    };
    let answer = ask.client().call_at(To::Any, ANY, &request).await?;
    let groups = answer.body()?.groups.into_iter();
    let found = groups.filter(|group| group.error_code == 0);
    Ok(found.map(ConsumerGroup::into_owned).collect())
}

/// A consumer group in the words of a classic one, but for what its members hold.
fn as_classic(group: &ConsumerGroup<'_>) -> DescribedGroup<'static> {
    let members = group.members.iter().map(|member| {
        let member = DescribedGroupMember {
            member_id: member.member_id.clone(),
            group_instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            ..Default::default()
        };
        member.into_owned()
    });
    DescribedGroup {
        group_id: group.group_id.to_string().into(),
        group_state: group.group_state.to_string().into(),
        protocol_type: "consumer".into(),
        protocol_data: group.assignor_name.to_string().into(),
        members: members.collect(),
        ..Default::default()
    }
}

/// What a consumer group says beside that: its epochs, and of each member what it still has to give up or waits for.
fn epochs(group: &ConsumerGroup<'_>) -> Value {
    let members = group.members.iter().map(|member| {
        let held = places(&member.assignment);
        let target = places(&member.target_assignment);
        json!({
            "member": member.member_id,
            "epoch": member.member_epoch,
            "isClassic": member.member_type == 0,
            "givesUp": rest(&held, &target),
            "waitsFor": rest(&target, &held),
        })
    });
    json!({
        "epoch": group.group_epoch,
        "assignmentEpoch": group.assignment_epoch,
        "members": members.collect::<Vec<_>>(),
    })
}

/// What is in one and not in the other.
fn rest<'a>(some: &BTreeSet<(&'a str, i32)>, others: &BTreeSet<(&'a str, i32)>) -> Vec<Value> {
    let rest = some.difference(others);
    rest.map(|(topic, partition)| json!({ "topic": topic, "partition": partition }))
        .collect()
}

fn places<'a>(assignment: &'a Assignment<'_>) -> BTreeSet<(&'a str, i32)> {
    let topics = assignment.topic_partitions.iter();
    topics
        .flat_map(|topic| topic.partitions.iter().map(|at| (&*topic.topic_name, *at)))
        .collect()
}

/// Refuses with this code, unless it is none.
pub fn refuse(code: i16) -> Result<(), Problem> {
    match ErrorCode::from_code(code) {
        Some(ErrorCode::None) => Ok(()),
        Some(code) => Err(code.into()),
        None => Err(ErrorCode::UnknownServerError.into()),
    }
}

/// The group of this name, if there is one that whoever asks may know of.
async fn find(ask: &Ask, name: &str) -> Result<Described, Problem> {
    let found = described(ask, &[name]).await?.into_iter().next();
    let found = found.ok_or(ErrorCode::GroupIdNotFound)?;
    let group = &found.group;
    match ErrorCode::from_code(group.error_code) {
        Some(ErrorCode::None) if &*group.group_state != "Dead" => {}
        Some(ErrorCode::None | ErrorCode::GroupIdNotFound) => {
            return Err(Problem {
                detail: format!("there is no group {name:?}"),
                ..ErrorCode::GroupIdNotFound.into()
            });
        }
        _ => refuse(group.error_code)?,
    }
    Ok(found)
}

/// What the group did since somebody has it in view.
pub async fn history(ask: Ask) -> Result<Answer, Problem> {
    let since = ask.query.number("since", 0..=u64::MAX)?;
    let group = find(&ask, ask.name(0)).await?.group;
    let now_ms = ask.node().clock.monotonic_ms();
    let subject = Subject::Group(group.group_id.into());
    Ok(json(&ask.http.tracks.shown(subject, now_ms, since)))
}

/// A group's members with what each holds, and every partition it has read.
pub async fn show(ask: Ask) -> Result<Answer, Problem> {
    let name = ask.name(0);
    let Described { group, consumer } = find(&ask, name).await?;
    let shares: Vec<Vec<(String, Vec<i32>)>> = match &consumer {
        Some(consumer) => consumer.members.iter().map(held).collect(),
        None if &*group.protocol_type == "consumer" => group.members.iter().map(share).collect(),
        None => vec![Vec::new(); group.members.len()],
    };
    let mut holders: BTreeMap<(&str, i32), &str> = BTreeMap::new();
    for (member, share) in group.members.iter().zip(&shares) {
        for (topic, partitions) in share {
            let held = partitions
                .iter()
                .map(|at| ((&**topic, *at), &*member.member_id));
            holders.extend(held);
        }
    }
    let read = offsets(&ask, &[name]).await?;
    let lags = read.of(name, None);
    let mut rows = read.rows(name);
    // What is held but was not committed yet is read from where the consumer says.
    for (topic, partition) in holders.keys() {
        let known = |row: &Lag| row.topic == *topic && row.partition == *partition;
        if !rows.iter().any(known) {
            rows.push(read.uncommitted(topic, *partition));
        }
    }
    rows.sort_by(|one, other| (&one.topic, one.partition).cmp(&(&other.topic, other.partition)));
    let total = rows.len();
    let partitions = rows.iter().take(PARTITIONS_MAX).map(|row| {
        let holder = holders.get(&(row.topic.as_str(), row.partition));
        row.shown(holder.copied())
    });
    let members = group.members.iter().zip(&shares).map(|(member, share)| {
        let share = share
            .iter()
            .map(|(topic, partitions)| json!({ "topic": topic, "partitions": partitions }));
        json!({
            "member": member.member_id,
            "instance": member.group_instance_id,
            "clientId": member.client_id,
            "host": member.client_host,
            "share": share.collect::<Vec<_>>(),
        })
    });
    Ok(json(&json!({
        "group": name,
        "state": group.group_state,
        "protocol": group.protocol_type,
        "assignor": group.protocol_data,
        "members": members.collect::<Vec<_>>(),
        "lag": lags.records.to_string(),
        "lost": lags.lost.to_string(),
        "epochs": consumer.as_ref().map(epochs),
        "partitionCount": total,
        "partitions": partitions.collect::<Vec<_>>(),
    })))
}

/// What a member of a consumer group of the new protocol holds.
fn held(member: &Member<'_>) -> Vec<(String, Vec<i32>)> {
    let topics = member.assignment.topic_partitions.iter();
    topics
        .map(|topic| (topic.topic_name.to_string(), topic.partitions.clone()))
        .collect()
}

/// What a member of a classic group of consumers holds; nothing where its bytes are of another kind.
fn share(member: &DescribedGroupMember<'_>) -> Vec<(String, Vec<i32>)> {
    let mut reader = Reader::new(&member.member_assignment);
    let Ok(version) = reader.i16() else {
        return Vec::new();
    };
    // Newer versions only add fields behind those that are read here.
    let assignment = ConsumerProtocolAssignment::decode(&mut reader, version.clamp(0, 3));
    let topics = assignment.map(|assignment| assignment.assigned_partitions);
    let topics = topics.unwrap_or_default().into_iter();
    topics
        .map(|topic| (topic.topic.into_owned(), topic.partitions))
        .collect()
}

/// The rebalances of a group that are remembered, the newest first.
pub async fn timeline(ask: Ask) -> Result<Answer, Problem> {
    let name = ask.name(0);
    if !ask.access().may(Operation::Describe, Resource::Group(name)) {
        return Err(ErrorCode::GroupAuthorizationFailed.into());
    }
    let rebalances = ask.node().timeline.rebalances(name);
    let shown: Vec<Value> = rebalances.iter().rev().map(rebalance).collect();
    Ok(json(&json!({ "rebalances": shown })))
}

fn rebalance(told: &Rebalance) -> Value {
    let waited = told.joins.iter().map(|(client, after_ms)| {
        let mut shown = shown(client);
        shown["afterMs"] = after_ms.to_string().into();
        shown
    });
    let gone = told.gone.iter().map(|(client, cause)| {
        let mut shown = shown(client);
        shown["cause"] = timeline::words(*cause).into();
        shown
    });
    json!({
        "atMs": told.wall_ms.to_string(),
        "cause": timeline::words(told.cause),
        "by": told.by.as_ref().map(shown),
        "joinedMs": told.joined_ms.map(|ms| ms.to_string()),
        "tookMs": told.took_ms.map(|ms| ms.to_string()),
        "generation": told.generation,
        "state": told.state,
        "joins": waited.collect::<Vec<_>>(),
        "gone": gone.collect::<Vec<_>>(),
    })
}

fn shown(client: &Client) -> Value {
    json!({ "member": &*client.member, "clientId": &*client.client_id, "host": &*client.host })
}

/// Deletes a group without members, and with it its offsets.
pub async fn delete(ask: Ask) -> Result<Answer, Problem> {
    let request = DeleteGroupsRequest {
        groups_names: vec![ask.name(0).into()],
    };
    let answer = ask.client().call_at(To::Any, ANY, &request).await?;
    let told = answer.body()?;
    let code = told.results.first().map(|result| result.error_code);
    match code.and_then(ErrorCode::from_code) {
        Some(ErrorCode::None) => Ok(done()),
        Some(ErrorCode::NonEmptyGroup) => Err(Problem {
            detail: "the group has members: stop its consumers first".to_owned(),
            ..ErrorCode::NonEmptyGroup.into()
        }),
        other => Err(other.unwrap_or(ErrorCode::UnknownServerError).into()),
    }
}
