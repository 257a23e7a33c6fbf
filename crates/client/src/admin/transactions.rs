//! Transactions: listing, describing, and ending those that nobody ends (KIP-664).

use std::time::Duration;

use rustka_wire::describe_producers_request::{DescribeProducersRequest, TopicRequest};
use rustka_wire::describe_producers_response::ProducerState;
use rustka_wire::describe_transactions_request::DescribeTransactionsRequest;
use rustka_wire::describe_transactions_response::TransactionState;
use rustka_wire::init_producer_id_request::InitProducerIdRequest;
use rustka_wire::list_transactions_request::ListTransactionsRequest;
use rustka_wire::list_transactions_response::TransactionState as ListedTransaction;
use rustka_wire::write_txn_markers_request::{
    WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest,
};

use super::ANY;
use crate::client::{Client, To};
use crate::cluster::{check, missing};
use crate::error::Result;

/// What the producer that takes an id over lets its transactions take; it has none. As in Kafka's own client.
const TIMEOUT_MS: i32 = 30_000;

/// Which transactional ids are meant. All conditions hold at once.
#[derive(Clone, Debug, Default)]
pub struct TransactionFilter {
    /// In one of these states; any if there is none.
    pub states: Vec<String>,
    /// Of one of these producer ids; any if there is none.
    pub producer_ids: Vec<i64>,
    /// Open for longer than this.
    pub open_for: Option<Duration>,
    /// With an id that this pattern matches as a whole.
    pub pattern: Option<String>,
}

impl Client {
    /// The transactional ids of all brokers, each with the broker that coordinates it.
    pub async fn list_transactions(
        &self,
        filter: &TransactionFilter,
    ) -> Result<Vec<(i32, ListedTransaction<'static>)>> {
        let open_for = filter.open_for.map(|time| time.as_millis());
        let request = ListTransactionsRequest {
            state_filters: filter.states.iter().map(|it| it.as_str().into()).collect(),
            producer_id_filters: filter.producer_ids.clone(),
            duration_filter: open_for.map_or(-1, |ms| i64::try_from(ms).unwrap_or(i64::MAX)),
            transactional_id_pattern: filter.pattern.as_deref().map(Into::into),
        };
        let brokers = self.metadata(Some(&[])).await?.brokers;
        let mut listed = Vec::new();
        for broker in brokers {
            let node = broker.node_id;
            let answer = self.call_at(To::Node(node), ANY, &request).await?;
            let told = answer.body()?;
            check("ListTransactions", told.error_code, None)?;
            let states = told.transaction_states.into_iter();
            listed.extend(states.map(|state| (node, state.into_owned())));
        }
        Ok(listed)
    }

    /// Where a transactional id stands.
    pub async fn describe_transaction(&self, id: &str) -> Result<TransactionState<'static>> {
        let request = DescribeTransactionsRequest {
            transactional_ids: vec![id.into()],
        };
        let mut patience = self.patience();
        loop {
            let answer = self.call_at(To::Transaction(id), ANY, &request).await?;
            let told = answer.body()?.transaction_states.into_iter().next();
            let told = told.ok_or_else(|| missing("DescribeTransactions"))?;
            match check(&about(id), told.error_code, None) {
                Ok(()) => return Ok(told.into_owned()),
                Err(error) => patience.again(error).await?,
            }
        }
    }

    /// Aborts the open transaction of an id, if there is one, and fences its producer: whoever still writes is refused.
    pub async fn fence_transaction(&self, id: &str) -> Result<()> {
        let request = InitProducerIdRequest {
            transactional_id: Some(id.into()),
            transaction_timeout_ms: TIMEOUT_MS,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let mut patience = self.patience();
        loop {
            let answer = self.call_at(To::Transaction(id), ANY, &request).await?;
            match check(&about(id), answer.body()?.error_code, None) {
                Ok(()) => return Ok(()),
                // While it is being aborted.
                Err(error) => patience.again(error).await?,
            }
        }
    }

    /// Who has written to a partition with a producer id, and since where a transaction is open there.
    pub async fn describe_producers(
        &self,
        topic: &str,
        partition: i32,
    ) -> Result<Vec<ProducerState>> {
        let leader = self.leader_of(topic, partition).await?;
        self.describe_producers_at(leader, topic, partition).await
    }

    /// The same as this broker knows it.
    pub async fn describe_producers_at(
        &self,
        node: i32,
        topic: &str,
        partition: i32,
    ) -> Result<Vec<ProducerState>> {
        let request = DescribeProducersRequest {
            topics: vec![TopicRequest {
                name: topic.into(),
                partition_indexes: vec![partition],
            }],
        };
        let answer = self.call_at(To::Node(node), ANY, &request).await?;
        let told = answer.body()?.topics.into_iter().next();
        let told = told.and_then(|topic| topic.partitions.into_iter().next());
        let told = told.ok_or_else(|| missing("DescribeProducers"))?;
        let what = format!("{topic}-{partition}");
        check(&what, told.error_code, told.error_message.as_deref())?;
        Ok(told.active_producers)
    }

    /// Writes the marker that aborts one producer's transaction in one partition. Its coordinator does not learn of it: this
    /// is for transactions that no coordinator knows.
    pub async fn abort_in_partition(
        &self,
        topic: &str,
        partition: i32,
        producer: &ProducerState,
    ) -> Result<()> {
        let epoch = i16::try_from(producer.producer_epoch).unwrap_or(i16::MAX);
        let request = WriteTxnMarkersRequest {
            markers: vec![WritableTxnMarker {
                producer_id: producer.producer_id,
                producer_epoch: epoch,
                transaction_result: false,
                topics: vec![WritableTxnMarkerTopic {
                    name: topic.into(),
                    partition_indexes: vec![partition],
                }],
                coordinator_epoch: producer.coordinator_epoch,
                ..Default::default()
            }],
        };
        let leader = self.leader_of(topic, partition).await?;
        let answer = self.call_at(To::Node(leader), ANY, &request).await?;
        let told = answer.body()?.markers.into_iter().next();
        let told = told.and_then(|marker| marker.topics.into_iter().next());
        let told = told.and_then(|topic| topic.partitions.into_iter().next());
        let told = told.ok_or_else(|| missing("WriteTxnMarkers"))?;
        check(&format!("{topic}-{partition}"), told.error_code, None)
    }

    async fn leader_of(&self, topic: &str, partition: i32) -> Result<i32> {
        let known = self.topic(topic).await?;
        let leader = known.partitions.get(&partition).map(|it| it.leader_id);
        leader.ok_or_else(|| missing("Metadata"))
    }
}

fn about(id: &str) -> String {
    format!("transactional id {id}")
}
