//! A transactional producer that sends what a test wants, in either protocol and in any order.

use super::{Client, START_MS, fetch_request, produce_request};
use rustka_core::batch::{BatchBuilder, NewRecord};
use rustka_wire::add_partitions_to_txn_request::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic,
};
use rustka_wire::add_partitions_to_txn_response::AddPartitionsToTxnResponse;
use rustka_wire::describe_transactions_request::DescribeTransactionsRequest;
use rustka_wire::describe_transactions_response::DescribeTransactionsResponse;
use rustka_wire::end_txn_request::EndTxnRequest;
use rustka_wire::end_txn_response::EndTxnResponse;
use rustka_wire::fetch_request::FetchRequest;
use rustka_wire::fetch_response::FetchResponse;
use rustka_wire::init_producer_id_request::InitProducerIdRequest;
use rustka_wire::init_producer_id_response::InitProducerIdResponse;
use rustka_wire::produce_request::ProduceRequest;
use rustka_wire::produce_response::ProduceResponse;

/// Versions in which a client of the older protocol (KIP-98) speaks.
pub const OLDER: Versions = Versions {
    produce: 11,
    end: 4,
};
/// Versions in which a client of the newer one (KIP-890) speaks.
pub const NEWER: Versions = Versions {
    produce: 12,
    end: 5,
};

/// See [`OLDER`] and [`NEWER`].
#[derive(Clone, Copy)]
pub struct Versions {
    /// Of Produce.
    pub produce: i16,
    /// Of EndTxn.
    pub end: i16,
}

/// Who writes under a transactional id, and with which sequence next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producer {
    pub id: String,
    pub producer_id: i64,
    pub epoch: i16,
}

impl Producer {
    /// InitProducerId, until it is not told to wait.
    pub async fn init(client: &mut Client, id: &str, timeout_ms: i32) -> Producer {
        let (code, producer) = Producer::try_init(client, id, timeout_ms).await;
        assert_eq!(code, 0);
        producer
    }

    pub async fn try_init(client: &mut Client, id: &str, timeout_ms: i32) -> (i16, Producer) {
        Producer::send_init(client, id, timeout_ms).await;
        Producer::inited(client, id).await
    }

    pub async fn send_init(client: &mut Client, id: &str, timeout_ms: i32) {
        let request = InitProducerIdRequest {
            transactional_id: Some(id.into()),
            transaction_timeout_ms: timeout_ms,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        client.send(InitProducerIdRequest::KEY, 4, &request).await;
    }

    pub async fn inited(client: &mut Client, id: &str) -> (i16, Producer) {
        let answer = client.answer(InitProducerIdRequest::KEY, 4).await;
        let body: InitProducerIdResponse = answer.body();
        let producer = Producer {
            id: id.to_owned(),
            producer_id: body.producer_id,
            epoch: body.producer_epoch,
        };
        (body.error_code, producer)
    }

    pub async fn add(&self, client: &mut Client, topic: &str, partitions: &[i32]) -> i16 {
        self.send_add(client, topic, partitions).await;
        added(client).await
    }

    pub async fn send_add(&self, client: &mut Client, topic: &str, partitions: &[i32]) {
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.id.as_str().into(),
            v3_and_below_producer_id: self.producer_id,
            v3_and_below_producer_epoch: self.epoch,
            v3_and_below_topics: vec![AddPartitionsToTxnTopic {
                name: topic.into(),
                partitions: partitions.to_vec(),
            }],
            ..Default::default()
        };
        let key = AddPartitionsToTxnRequest::KEY;
        client.send(key, 3, &request).await;
    }

    /// One record with this sequence; code and offset.
    pub async fn produce(
        &self,
        client: &mut Client,
        versions: Versions,
        (topic, partition): (&str, i32),
        sequence: i32,
    ) -> (i16, i64) {
        self.send_produce(client, versions, (topic, partition), sequence)
            .await;
        produced(client, versions).await
    }

    pub async fn send_produce(
        &self,
        client: &mut Client,
        versions: Versions,
        (topic, partition): (&str, i32),
        sequence: i32,
    ) {
        let place = (topic, partition);
        self.send_records(client, versions, place, sequence, &[b"v"])
            .await;
    }

    /// A batch of records with these values.
    pub async fn send_records(
        &self,
        client: &mut Client,
        versions: Versions,
        (topic, partition): (&str, i32),
        sequence: i32,
        values: &[&[u8]],
    ) {
        let batch = BatchBuilder::new();
        let batch = batch.producer(self.producer_id, self.epoch, sequence);
        let mut batch = batch.transactional();
        for value in values {
            batch.push(&NewRecord {
                timestamp: START_MS,
                value: Some(value),
                ..NewRecord::default()
            });
        }
        let batch = batch.build().expect("a batch");
        self.send_batch(client, versions, (topic, partition), batch)
            .await;
    }

    pub async fn send_batch(
        &self,
        client: &mut Client,
        versions: Versions,
        (topic, partition): (&str, i32),
        batch: Vec<u8>,
    ) {
        let request = ProduceRequest {
            transactional_id: Some(self.id.clone().into()),
            ..produce_request(topic, partition, batch)
        };
        let version = versions.produce;
        client.send(ProduceRequest::KEY, version, &request).await;
    }

    /// EndTxn; the code, and who the producer is afterwards.
    pub async fn end(
        &self,
        client: &mut Client,
        versions: Versions,
        commit: bool,
    ) -> (i16, Producer) {
        self.send_end(client, versions, commit).await;
        self.ended(client, versions).await
    }

    pub async fn send_end(&self, client: &mut Client, versions: Versions, commit: bool) {
        let request = EndTxnRequest {
            transactional_id: self.id.as_str().into(),
            producer_id: self.producer_id,
            producer_epoch: self.epoch,
            committed: commit,
        };
        client
            .send(EndTxnRequest::KEY, versions.end, &request)
            .await;
    }

    pub async fn ended(&self, client: &mut Client, versions: Versions) -> (i16, Producer) {
        let answer = client.answer(EndTxnRequest::KEY, versions.end).await;
        let body: EndTxnResponse = answer.body();
        let next = match body.error_code == 0 && versions.end >= NEWER.end {
            true => Producer {
                producer_id: body.producer_id,
                epoch: body.producer_epoch,
                ..self.clone()
            },
            false => self.clone(),
        };
        (body.error_code, next)
    }

    /// Where the coordinator says that its transaction is.
    pub async fn state(&self, client: &mut Client) -> String {
        let request = DescribeTransactionsRequest {
            transactional_ids: vec![self.id.as_str().into()],
        };
        let key = DescribeTransactionsRequest::KEY;
        let answer = client.ask(key, 0, &request).await;
        let body: DescribeTransactionsResponse<'_> = answer.body();
        body.transaction_states[0].transaction_state.to_string()
    }
}

pub async fn added(client: &mut Client) -> i16 {
    let answer = client.answer(AddPartitionsToTxnRequest::KEY, 3).await;
    let body: AddPartitionsToTxnResponse<'_> = answer.body();
    body.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
}

/// Code and offset of the next Produce answer.
pub async fn produced(client: &mut Client, versions: Versions) -> (i16, i64) {
    let answer = client.answer(ProduceRequest::KEY, versions.produce).await;
    let body: ProduceResponse<'_> = answer.body();
    let partition = &body.responses[0].partition_responses[0];
    (partition.error_code, partition.base_offset)
}

/// High watermark and last stable offset.
pub async fn stable(client: &mut Client, topic: &str, partition: i32) -> (i64, i64) {
    let request = FetchRequest {
        isolation_level: 1,
        ..fetch_request(topic, partition, 0, 0)
    };
    let answer = client.ask(FetchRequest::KEY, 12, &request).await;
    let body: FetchResponse<'_> = answer.body();
    let partition = &body.responses[0].partitions[0];
    (partition.high_watermark, partition.last_stable_offset)
}
