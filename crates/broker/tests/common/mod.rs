//! A broker without sockets on a clock that stands still, and a client of it that sends whatever a test wants. Any test of behaviour can use this:
//!
//! ```ignore
//! let world = World::start();
//! let mut client = world.connect();
//! let answer = client.ask(MetadataRequest::KEY, 12, &MetadataRequest::default()).await;
//! let metadata: MetadataResponse<'_> = answer.body();
//! ```
//! Tests run on one thread (`#[tokio::test]`), so that [`World::settle`] can let everything run that can; `crowds.rs` alone runs on several.
#![allow(
    dead_code,
    reason = "each test file includes this one and uses its own part of it"
)]

pub mod producer;

use rustka::coordinators::cluster::Answer as Answered;
use rustka::net::transport::MemoryStream;
use rustka::{Broker, Clock, Options};
use rustka_client::frame::{Frame, Head};
use rustka_client::{Connection, RawAnswer};
use rustka_core::batch::{BatchBuilder, BatchHeader, NewRecord};
use rustka_core::cluster::command::{Command, Reply};
use rustka_core::group::partition_for;
use rustka_wire::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use rustka_wire::create_topics_response::CreateTopicsResponse;
use rustka_wire::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use rustka_wire::delete_topics_response::DeleteTopicsResponse;
use rustka_wire::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use rustka_wire::fetch_response::FetchResponse;
use rustka_wire::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use rustka_wire::metadata_request::{MetadataRequest, MetadataRequestTopic};
use rustka_wire::metadata_response::{MetadataResponse, MetadataResponsePartition};
use rustka_wire::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use rustka_wire::offset_commit_response::OffsetCommitResponse;
use rustka_wire::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestTopic};
use rustka_wire::offset_fetch_response::OffsetFetchResponse;
use rustka_wire::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use rustka_wire::{Decode, Encode, Records, Uuid};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the clock begins: some day in 2025.
pub const START_MS: i64 = 1_760_000_000_000;
/// An answer that takes longer will not come. Real time; reached only by tests that fail.
const PATIENCE: Duration = Duration::from_secs(60);

/// `offsets.topic.num.partitions` as long as nobody says otherwise.
const OFFSETS_PARTITIONS: u32 = 50;
/// So often it is asked whether there is a coordinator.
const TRIES: usize = 10_000;
/// What whoever asks for a group or a transaction is told where it is not known.
pub const NOT_COORDINATOR: i16 = 16;

/// A broker and its clock.
pub struct World {
    pub broker: Broker,
    pub clock: Clock,
}

impl World {
    /// A broker with the defaults.
    pub fn start() -> World {
        World::with(|options| options)
    }

    /// A broker with other options.
    pub fn with(change: impl FnOnce(Options) -> Options) -> World {
        let clock = Clock::manual(START_MS);
        let options = Broker::builder().sockets(false).clock(clock.clone());
        let broker = change(options).start().expect("a broker");
        World { broker, clock }
    }

    /// A client on the loopback address.
    pub fn connect(&self) -> Client {
        Client::over(self.broker.connect())
    }

    /// A client with another address.
    pub fn connect_from(&self, address: SocketAddr) -> Client {
        Client::over(self.broker.connect_from(address))
    }

    /// Lets everything run that can without time passing, until no task can.
    pub async fn settle(&self) {
        // The runtime's own clock, which nothing of the broker goes by: while it is held, it moves to the next timer
        // only once there is nothing else to do.
        tokio::time::pause();
        let nothing = tokio::time::timeout(Duration::from_nanos(1), std::future::pending::<()>());
        nothing.await.expect_err("only time ends it");
        tokio::time::resume();
    }

    /// Lets everything end that has begun, work on other threads included.
    pub async fn done(&self) {
        self.settle().await;
        self.broker.node().work.finished().await;
        self.broker.node().loads.finished().await;
        self.settle().await;
    }

    /// Lets time pass from one deadline to the next: what is due at one is done, and whom it concerns is answered, before
    /// time goes on, and what it wants to happen later happens in its turn.
    pub async fn pass_ms(&self, ms: u64) {
        self.done().await;
        let end_ms = self.clock.monotonic_ms() + i64::try_from(ms).expect("a short time");
        loop {
            let now_ms = self.clock.monotonic_ms();
            let next_ms = self.clock.next_deadline_ms().unwrap_or(end_ms);
            let step_ms = next_ms.clamp(now_ms, end_ms) - now_ms;
            self.clock
                .advance(Duration::from_millis(step_ms.unsigned_abs()));
            self.done().await;
            if next_ms > end_ms || now_ms == end_ms {
                return;
            }
        }
    }

    /// Lets time jump on the broker's clock, as it does where the machine was asleep, and what has become due happen.
    pub async fn advance_ms(&self, ms: u64) {
        self.settle().await;
        self.clock.advance(Duration::from_millis(ms));
        self.settle().await;
    }

    /// Lets compaction do all that is due now.
    pub async fn compacted(&self) {
        let compactor = &self.broker.node().compactor;
        let waiting = async {
            while !compactor.is_settled(self.clock.now().monotonic_ms) {
                tokio::task::yield_now().await;
            }
        };
        let done = tokio::time::timeout(PATIENCE, waiting);
        done.await.expect("compaction ends");
    }

    /// Has another node lead a partition, or none (-1).
    pub fn elect(&self, topic: &str, partition: i32, leader: i32) {
        let topic = self.broker.node().topics.by_name(topic).expect("there").id;
        let elect = Command::Elect {
            topic,
            partition,
            leader,
        };
        let answer = self.broker.parts().cluster.call(elect);
        assert!(matches!(answer, Answered::Now(Reply::Elect(Ok(())))));
    }

    /// Connections open now.
    pub fn connections(&self) -> usize {
        self.broker.node().peers.count()
    }
}

/// One connection to a broker.
pub struct Client {
    connection: Connection<MemoryStream>,
    correlation: i32,
    /// Sent with every request.
    pub client_id: String,
}

/// The answer of one request.
pub struct Answer(RawAnswer);

impl Answer {
    /// The decoded body; all of it is understood.
    pub fn body<'a, T: Decode<'a>>(&'a self) -> T {
        self.0.decode().expect("a well-formed answer")
    }
}

/// A request's bytes without their length.
pub fn frame(
    key: i16,
    version: i16,
    correlation: i32,
    client_id: &str,
    body: &impl Encode,
) -> Vec<u8> {
    let head = Head {
        key,
        version,
        correlation,
        client_id: Some(client_id),
    };
    rustka_client::frame::encode(&head, body).split_off(4)
}

impl Client {
    /// A client at this end of a connection.
    pub fn over(stream: MemoryStream) -> Client {
        let client_id = "test".to_owned();
        Client {
            connection: Connection::over(stream, "memory", client_id.clone()),
            correlation: 0,
            client_id,
        }
    }

    /// Sends a request and reads its answer.
    pub async fn ask(&mut self, key: i16, version: i16, body: &impl Encode) -> Answer {
        self.send(key, version, body).await;
        self.answer(key, version).await
    }

    /// Sends a request only.
    pub async fn send(&mut self, key: i16, version: i16, body: &impl Encode) {
        self.correlation += 1;
        let bytes = frame(key, version, self.correlation, &self.client_id, body);
        self.send_frame(&bytes).await;
    }

    /// Reads the answer of a request of this kind.
    pub async fn answer(&mut self, key: i16, version: i16) -> Answer {
        let frame = self.next().await.expect("an answer, not a hang-up");
        Answer(RawAnswer::read(frame, key, version, None).expect("header"))
    }

    /// Sends bytes with their length in front.
    pub async fn send_frame(&mut self, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).expect("a short frame");
        self.send_raw(&[&length.to_be_bytes(), bytes].concat())
            .await;
    }

    /// Sends bytes as they are. A broker that hangs up meanwhile is not an error here.
    pub async fn send_raw(&mut self, bytes: &[u8]) {
        let sent = tokio::time::timeout(PATIENCE, self.connection.send_bytes(bytes));
        let _closed = sent.await.expect("the broker reads");
    }

    async fn next(&mut self) -> Option<Frame> {
        let read = tokio::time::timeout(PATIENCE, self.connection.next_frame());
        let frame = read.await.expect("the broker answers or hangs up");
        frame.ok().flatten()
    }

    /// The next frame without its length; none when the broker has hung up.
    pub async fn receive(&mut self) -> Option<Vec<u8>> {
        self.next().await.map(|frame| frame.bytes().to_vec())
    }

    /// Whether something of an answer is there already.
    pub fn has_answer(&self) -> bool {
        self.connection.buffered() + self.connection.stream().readable() > 0
    }

    /// Whether the broker hangs up without a further answer.
    pub async fn is_closed(&mut self) -> bool {
        self.receive().await.is_none()
    }

    /// The error of a fetch from an offset, and where the first batch begins that it gives.
    pub async fn first_batch(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> (i16, Option<i64>) {
        let request = fetch_request(topic, partition, offset, 0);
        let answer = self.ask(FetchRequest::KEY, 12, &request).await;
        let body: FetchResponse<'_> = answer.body();
        let partition = &body.responses[0].partitions[0];
        let records = partition.records.as_ref();
        let first = records.and_then(|records| BatchHeader::parse(records.as_bytes()).ok());
        (partition.error_code, first.map(|first| first.base_offset))
    }

    /// Creates a topic with one replica and returns its id.
    pub async fn create_topic(&mut self, name: &str, partitions: i32) -> Uuid {
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: 1,
            ..Default::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![topic],
            timeout_ms: 10_000,
            ..Default::default()
        };
        let answer = self.ask(CreateTopicsRequest::KEY, 7, &request).await;
        let created: CreateTopicsResponse<'_> = answer.body();
        assert_eq!(created.topics[0].error_code, 0, "{created:?}");
        created.topics[0].topic_id
    }

    /// Deletes a topic.
    pub async fn delete_topic(&mut self, name: &str) {
        let request = delete_request(name);
        let answer = self.ask(DeleteTopicsRequest::KEY, 6, &request).await;
        let deleted: DeleteTopicsResponse<'_> = answer.body();
        assert_eq!(deleted.responses[0].error_code, 0, "{deleted:?}");
    }

    /// The topic's error and partitions in Metadata, which creates nothing.
    pub async fn metadata(&mut self, name: &'static str) -> (i16, Vec<MetadataResponsePartition>) {
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: Some(name.into()),
                ..Default::default()
            }]),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let answer = self.ask(MetadataRequest::KEY, 9, &request).await;
        let mut body: MetadataResponse<'_> = answer.body();
        let topic = body.topics.remove(0);
        (topic.error_code, topic.partitions)
    }

    /// What a group has committed for a partition, and with which code that is told.
    pub async fn committed(
        &mut self,
        group: &str,
        topic: &str,
        partition: i32,
    ) -> (i16, Option<i64>) {
        let request = OffsetFetchRequest {
            group_id: group.to_owned().into(),
            topics: Some(vec![OffsetFetchRequestTopic {
                name: topic.to_owned().into(),
                partition_indexes: vec![partition],
            }]),
            ..Default::default()
        };
        let answer = self.ask(OffsetFetchRequest::KEY, 7, &request).await;
        let body: OffsetFetchResponse<'_> = answer.body();
        let topic = body.topics.first();
        let offset = topic.map(|topic| topic.partitions[0].committed_offset);
        (body.error_code, offset)
    }

    /// A group without members goes on here, once there is a topic of offsets.
    pub async fn commit(&mut self, group: &str, topic: &str, offset: i64) {
        let mut request = commit_request(group, topic, 1);
        request.topics[0].partitions[0].committed_offset = offset;
        for _ in 0..TRIES {
            let answer = self.ask(OffsetCommitRequest::KEY, 8, &request).await;
            let committed: OffsetCommitResponse<'_> = answer.body();
            match committed.topics[0].partitions[0].error_code {
                0 => return,
                code => assert_eq!(code, NOT_COORDINATOR),
            }
        }
        panic!("{group} could not commit");
    }

    /// Produces one batch with `acks=all`, by topic name.
    pub async fn produce(&mut self, topic: &str, partition: i32, batch: Vec<u8>) -> Answer {
        self.ask(
            ProduceRequest::KEY,
            11,
            &produce_request(topic, partition, batch),
        )
        .await
    }
}

/// A Produce of one batch, for versions before 13.
pub fn produce_request(topic: &str, partition: i32, batch: Vec<u8>) -> ProduceRequest<'static> {
    let partition = PartitionProduceData {
        index: partition,
        records: Some(Records::from(batch)),
    };
    ProduceRequest {
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![TopicProduceData {
            name: topic.to_owned().into(),
            partition_data: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// A Fetch of one partition without a session, for versions before 13.
pub fn fetch_request(
    topic: &str,
    partition: i32,
    offset: i64,
    max_wait_ms: i32,
) -> FetchRequest<'static> {
    let partition = FetchPartition {
        partition,
        fetch_offset: offset,
        partition_max_bytes: 64 << 20,
        ..Default::default()
    };
    FetchRequest {
        max_wait_ms,
        min_bytes: 1,
        max_bytes: 64 << 20,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: topic.to_owned().into(),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// A DeleteTopics of one topic, for versions from 6 on.
pub fn delete_request(topic: &str) -> DeleteTopicsRequest<'static> {
    DeleteTopicsRequest {
        topics: vec![DeleteTopicState {
            name: Some(topic.to_owned().into()),
            ..Default::default()
        }],
        timeout_ms: 10_000,
        ..Default::default()
    }
}

/// A JoinGroup of a consumer without an id, which knows one protocol.
pub fn join_request(group: &str) -> JoinGroupRequest<'static> {
    JoinGroupRequest {
        group_id: group.to_owned().into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// An OffsetCommit of so many partitions for a group without members.
pub fn commit_request(group: &str, topic: &str, partitions: i32) -> OffsetCommitRequest<'static> {
    OffsetCommitRequest {
        group_id: group.to_owned().into(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: topic.to_owned().into(),
            partitions: (0..partitions)
                .map(|partition_index| OffsetCommitRequestPartition {
                    partition_index,
                    committed_offset: 1,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Changes a bit of a file, such as one of a batch's records.
pub fn flip_bit(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).expect("a file");
    bytes[at] ^= 1;
    std::fs::write(file, bytes).expect("written");
}

/// The folder of what is remembered of a group.
pub fn folder_of_group(directory: &Path, group: &str) -> PathBuf {
    let at = partition_for(group, OFFSETS_PARTITIONS);
    directory.join(format!("__consumer_offsets-{at}"))
}

/// A batch of one record with a value of this size, dated at the clock's start.
pub fn batch(value_bytes: usize) -> Vec<u8> {
    let value = vec![b'x'; value_bytes];
    let record = NewRecord {
        timestamp: START_MS,
        value: Some(&value),
        ..NewRecord::default()
    };
    BatchBuilder::new()
        .record(&record)
        .build()
        .expect("a batch")
}
