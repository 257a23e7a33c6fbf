//! A producer's transaction of one record, by the protocol that librdkafka speaks too, so that epochs are those of the recording.

use rustka_client::{Client, To};
use rustka_core::batch::{BatchBuilder, NewRecord};
use rustka_wire::add_partitions_to_txn_request::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic,
};
use rustka_wire::end_txn_request::EndTxnRequest;
use rustka_wire::init_producer_id_request::InitProducerIdRequest;
use rustka_wire::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use serde_json::Value;

const CONCURRENT_TRANSACTIONS: i16 = 51;
const TIMEOUT_MS: i32 = 60_000;
const PATIENCE_MS: i64 = 30_000;

/// Does what the step's `transact` says.
pub fn run(address: &str, wanted: &Value) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(transact(address, wanted));
}

async fn transact(address: &str, wanted: &Value) {
    let text = |name: &str| wanted[name].as_str().expect("text");
    let (id, topic) = (text("id"), text("topic"));
    let partition = wanted["partition"].as_i64().expect("a number") as i32;
    let client = Client::at(address).expect("an address");
    let begin = InitProducerIdRequest {
        transactional_id: Some(id.into()),
        transaction_timeout_ms: TIMEOUT_MS,
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    let give_up_ms = client.clock().monotonic_ms() + PATIENCE_MS;
    let (producer_id, epoch) = loop {
        let answer = client.call_at(To::Transaction(id), (0, 4), &begin).await;
        let answer = answer.expect("an answer");
        let told = answer.body().expect("an answer");
        match told.error_code {
            0 => break (told.producer_id, told.producer_epoch),
            // The transaction before is still ending.
            CONCURRENT_TRANSACTIONS => {
                let now_ms = client.clock().monotonic_ms();
                assert!(now_ms < give_up_ms, "{id} goes on ending");
                tokio::task::yield_now().await;
            }
            code => panic!("{id} begins: {code}"),
        }
    };
    let add = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: id.into(),
        v3_and_below_producer_id: producer_id,
        v3_and_below_producer_epoch: epoch,
        v3_and_below_topics: vec![AddPartitionsToTxnTopic {
            name: topic.into(),
            partitions: vec![partition],
        }],
        ..Default::default()
    };
    let answer = client.call_at(To::Transaction(id), (0, 3), &add).await;
    let answer = answer.expect("an answer");
    let told = answer.body().expect("an answer");
    let added = &told.results_by_topic_v3_and_below[0].results_by_partition[0];
    assert_eq!(
        added.partition_error_code, 0,
        "{id} adds {topic}-{partition}"
    );
    let mut batch = BatchBuilder::new()
        .producer(producer_id, epoch, 0)
        .transactional();
    batch.push(&NewRecord {
        timestamp: client.clock().wall_ms(),
        value: Some(b"v"),
        ..NewRecord::default()
    });
    let write = ProduceRequest {
        transactional_id: Some(id.into()),
        acks: -1,
        timeout_ms: TIMEOUT_MS,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            partition_data: vec![PartitionProduceData {
                index: partition,
                records: Some(batch.build().expect("a batch").into()),
            }],
            ..Default::default()
        }],
    };
    let answer = client.call_at(To::Any, (3, 11), &write).await;
    let answer = answer.expect("an answer");
    let told = answer.body().expect("an answer");
    assert_eq!(
        told.responses[0].partition_responses[0].error_code, 0,
        "{id} writes"
    );
    if text("end") == "leave" {
        return;
    }
    let end = EndTxnRequest {
        transactional_id: id.into(),
        producer_id,
        producer_epoch: epoch,
        committed: text("end") == "commit",
    };
    let answer = client.call_at(To::Transaction(id), (0, 4), &end).await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.body().expect("an answer").error_code, 0, "{id} ends");
}
