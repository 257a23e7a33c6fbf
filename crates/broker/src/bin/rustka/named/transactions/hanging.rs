//! `find-hanging`: transactions that are open in a partition for longer than any may be, and that no coordinator will end.

use std::collections::{BTreeMap, BTreeSet};

use rustka_client::{Client, TransactionFilter};
use rustka_core::error::ErrorCode;
use rustka_wire::describe_producers_response::ProducerState;

use super::{begins, failed, table};
use crate::named::tool::{Call, Failed, Outcome};

/// The longest that a transaction may be open where nobody has configured anything else, in minutes.
const TIMEOUT_MINUTES: i64 = 15;
const MINUTE_MS: i64 = 60_000;

/// A transaction that is open in a partition.
struct Open {
    topic: String,
    partition: i32,
    producer: ProducerState,
}

pub async fn find(call: &mut Call) -> Outcome {
    let number = |name: &str| call.given.number::<i32>(name).map_err(Failed::Usage);
    let (node, partition) = (number("broker-id")?, number("partition")?);
    let minutes: Option<i64> = call
        .given
        .number("max-transaction-timeout")
        .map_err(Failed::Usage)?;
    let topic = call.given.one("topic").map(str::to_owned);
    match (&topic, node, partition) {
        (None, None, _) => {
            return Err(Failed::Complaint(
                "say where to look: --topic or --broker-id".to_owned(),
            ));
        }
        (None, _, Some(_)) => {
            return Err(Failed::Complaint(
                "--partition makes no sense without --topic".to_owned(),
            ));
        }
        _ => {}
    }
    let age_ms = minutes.unwrap_or(TIMEOUT_MINUTES).saturating_mul(MINUTE_MS);
    let client = call.client().await?;
    let hanging = async {
        let places = places(&client, topic.as_deref(), partition, node).await?;
        let old = old(&client, &places, age_ms).await?;
        known_to_nobody(&client, old).await
    };
    let hanging = hanging
        .await
        .map_err(|error| failed("hanging transactions cannot be looked for", &error))?;
    let now_ms = client.clock().wall_ms();
    let rows = hanging.iter().map(|open| {
        let producer = &open.producer;
        [
            open.topic.clone(),
            open.partition.to_string(),
            producer.producer_id.to_string(),
            producer.producer_epoch.to_string(),
            producer.coordinator_epoch.to_string(),
            producer.current_txn_start_offset.to_string(),
            producer.last_timestamp.to_string(),
            ((now_ms - producer.last_timestamp) / MINUTE_MS).to_string(),
        ]
    });
    table(
        call,
        [
            "Topic",
            "Partition",
            "ProducerId",
            "ProducerEpoch",
            "CoordinatorEpoch",
            "StartOffset",
            "LastTimestamp",
            "Duration(min)",
        ],
        rows.collect(),
    )
}

/// The partitions to look into, each with the broker that is asked.
async fn places(
    client: &Client,
    topic: Option<&str>,
    partition: Option<i32>,
    node: Option<i32>,
) -> rustka_client::Result<Vec<(String, i32, i32)>> {
    if let Some(topic) = topic {
        // One that is not there is told of.
        client.topic(topic).await?;
    }
    let only = topic.map(|topic| [topic]);
    let told = client.metadata(only.as_ref().map(|only| &only[..])).await?;
    let mut places = Vec::new();
    for topic in told.topics {
        let name = topic.name.unwrap_or_default().into_owned();
        let known = topic.partitions.into_iter();
        let wanted = known.filter(|it| partition.is_none_or(|only| only == it.partition_index));
        for it in wanted {
            match node {
                Some(node) if it.replica_nodes.contains(&node) => {
                    places.push((name.clone(), it.partition_index, node));
                }
                Some(_) => {}
                None => places.push((name.clone(), it.partition_index, it.leader_id)),
            }
        }
    }
    Ok(places)
}

/// Transactions there to which nothing was added for so long.
async fn old(
    client: &Client,
    places: &[(String, i32, i32)],
    age_ms: i64,
) -> rustka_client::Result<Vec<Open>> {
    let mut old = Vec::new();
    for (topic, partition, node) in places {
        let producers = client
            .describe_producers_at(*node, topic, *partition)
            .await?;
        let now_ms = client.clock().wall_ms();
        let producers = producers.into_iter().filter(|producer| {
            begins(producer).is_some() && now_ms - producer.last_timestamp > age_ms
        });
        old.extend(producers.map(|producer| Open {
            topic: topic.clone(),
            partition: *partition,
            producer,
        }));
    }
    Ok(old)
}

/// Those of them whose coordinator, if they have one, does not count the partition among those in which it has still to end them.
async fn known_to_nobody(client: &Client, mut old: Vec<Open>) -> rustka_client::Result<Vec<Open>> {
    if old.is_empty() {
        return Ok(old);
    }
    let producers: BTreeSet<i64> = old.iter().map(|open| open.producer.producer_id).collect();
    let filter = TransactionFilter {
        producer_ids: producers.into_iter().collect(),
        ..TransactionFilter::default()
    };
    let mut expected: BTreeMap<i64, BTreeSet<(String, i32)>> = BTreeMap::new();
    for (_, listed) in client.list_transactions(&filter).await? {
        let told = match client.describe_transaction(&listed.transactional_id).await {
            Ok(told) => told,
            Err(error) if error.code() == Some(ErrorCode::TransactionalIdNotFound) => continue,
            Err(error) => return Err(error),
        };
        let places = told.topics.iter().flat_map(|topic| {
            let partitions = topic.partitions.iter();
            partitions.map(|partition| (topic.topic.to_string(), *partition))
        });
        expected
            .entry(listed.producer_id)
            .or_default()
            .extend(places);
    }
    old.retain(|open| {
        let place = (open.topic.clone(), open.partition);
        let places = expected.get(&open.producer.producer_id);
        places.is_none_or(|places| !places.contains(&place))
    });
    Ok(old)
}
