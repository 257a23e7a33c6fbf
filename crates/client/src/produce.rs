//! Writing records: into batches, to the leader of each partition, and again where that is safe.

use std::collections::{BTreeMap, VecDeque};

use rustka_core::batch::{BatchBuilder, NewRecord as Plain};
use rustka_core::compression::Codec;
use rustka_core::error::ErrorCode;
use rustka_wire::Records;
use rustka_wire::init_producer_id_request::InitProducerIdRequest;
use rustka_wire::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use rustka_wire::produce_response::PartitionProduceResponse;

use crate::client::{Client, Patience};
use crate::cluster::{Topic, check, missing};
use crate::error::{Error, Reason, Result};
use crate::partitioner::partition_of;
use crate::record::NewRecord;

/// The largest batch that a broker takes by default, less what the request needs besides.
const BATCH_BYTES_MAX: usize = 1_000_000;
/// Batches of full size in one request.
const BATCHES_MAX: usize = 8;

/// How records are written.
#[derive(Clone, Debug)]
pub struct ProduceOptions {
    /// What an answer says: -1 that the records are safe, 1 that the leader has them; with 0 there is none.
    pub acks: i16,
    /// How batches are compressed, and the codec's level if not its default.
    pub codec: (Codec, Option<i32>),
    /// Whether a batch that is sent again is written once. Without it nothing is sent again that may have been written.
    pub is_idempotent: bool,
    /// The largest batch before compression. A record that is larger makes a batch of its own.
    pub batch_bytes_max: usize,
    /// How long the broker may take to have the records safe.
    pub timeout_ms: i32,
}

impl Default for ProduceOptions {
    fn default() -> Self {
        ProduceOptions {
            acks: -1,
            codec: (Codec::None, None),
            is_idempotent: true,
            batch_bytes_max: BATCH_BYTES_MAX,
            timeout_ms: 30_000,
        }
    }
}

/// Where a record went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The partition.
    pub partition: i32,
    /// The record's offset in it; -1 where acks is 0.
    pub offset: i64,
    /// The timestamp that the broker gave it instead of its own, if it did.
    pub append_time_ms: Option<i64>,
}

/// Writes records.
pub struct Producer {
    client: Client,
    options: ProduceOptions,
    id: Option<(i64, i16)>,
    /// The next sequence of each topic and partition.
    sequences: BTreeMap<(String, i32), i32>,
    /// Where the next records without a key go.
    turn: i32,
}

/// A batch to be written, and the places of its records among those given.
struct Batch {
    bytes: Vec<u8>,
    places: Vec<usize>,
}

/// Batches to be written, in order, by partition.
type Queues = BTreeMap<i32, VecDeque<Batch>>;

impl Producer {
    /// A producer of this client's.
    pub fn new(client: &Client, options: ProduceOptions) -> Producer {
        Producer {
            client: client.clone(),
            options,
            id: None,
            sequences: BTreeMap::new(),
            turn: 0,
        }
    }

    /// Writes records to a topic, which the cluster may create for it, and tells where each of them went. Records of one
    /// partition keep their order. After an error some of them may have been written.
    pub async fn send(&mut self, topic: &str, records: &[NewRecord]) -> Result<Vec<Written>> {
        // Until all is written the sequences have gaps; whoever is dropped or fails meanwhile begins anew, with a new id.
        let (id, sequences) = (self.id.take(), std::mem::take(&mut self.sequences));
        let mut sending = Sending {
            client: &self.client,
            options: &self.options,
            id,
            sequences,
        };
        let known = self.client.topic_or_create(topic).await?;
        let count = i32::try_from(known.partitions.len()).unwrap_or(i32::MAX);
        self.turn = (self.turn + 1) % count.max(1);
        let written = sending.send(&known, records, self.turn).await?;
        (self.id, self.sequences) = (sending.id, sending.sequences);
        Ok(written)
    }
}

/// One call of a producer.
struct Sending<'a> {
    client: &'a Client,
    options: &'a ProduceOptions,
    id: Option<(i64, i16)>,
    sequences: BTreeMap<(String, i32), i32>,
}

impl Sending<'_> {
    async fn send(
        &mut self,
        topic: &Topic,
        records: &[NewRecord],
        turn: i32,
    ) -> Result<Vec<Written>> {
        if self.options.is_idempotent && self.id.is_none() {
            self.id = Some(self.producer_id().await?);
        }
        let mut queues = self.batches(topic, records, turn)?;
        let nowhere = Written {
            partition: -1,
            offset: -1,
            append_time_ms: None,
        };
        let mut written = vec![nowhere; records.len()];
        let mut patience = self.client.patience();
        while !queues.is_empty() {
            let round = self.round(&topic.name, &mut queues, &mut written);
            if let Err(error) = round.await {
                self.try_again(&topic.name, error, &mut patience).await?;
            }
        }
        Ok(written)
    }

    async fn producer_id(&self) -> Result<(i64, i16)> {
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: i32::MAX,
            ..Default::default()
        };
        let mut patience = self.client.patience();
        loop {
            let answer = self.client.call(&request).await?;
            let told = answer.body()?;
            match check("InitProducerId", told.error_code, None) {
                Ok(()) => return Ok((told.producer_id, told.producer_epoch)),
                Err(error) => patience.again(error).await?,
            }
        }
    }

    fn batches(&mut self, topic: &Topic, records: &[NewRecord], turn: i32) -> Result<Queues> {
        let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        let mut places: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
        for (place, record) in records.iter().enumerate() {
            let partition = match (record.partition, &record.key) {
                (Some(partition), _) => partition,
                (None, Some(key)) => partition_of(key, count),
                // Records of one call stay together, which makes fewer and larger batches.
                (None, None) => turn,
            };
            places.entry(partition).or_default().push(place);
        }
        let of = |(partition, places): (i32, Vec<usize>)| {
            let queue = self.batches_of(&topic.name, partition, &places, records)?;
            Ok((partition, queue))
        };
        places.into_iter().map(of).collect()
    }

    fn batches_of(
        &mut self,
        topic: &str,
        partition: i32,
        places: &[usize],
        records: &[NewRecord],
    ) -> Result<VecDeque<Batch>> {
        let now_ms = self.client.clock().wall_ms();
        let sequence = self.sequences.entry((topic.to_owned(), partition));
        let sequence = sequence.or_insert(0);
        let (codec, level) = self.options.codec;
        let mut queue = VecDeque::new();
        let mut rest = places
            .iter()
            .filter_map(|place| Some((*place, records.get(*place)?)));
        let mut next = rest.next();
        while next.is_some() {
            let mut builder = BatchBuilder::new().compression(codec, level);
            if let Some((id, epoch)) = self.id {
                builder = builder.producer(id, epoch, *sequence);
            }
            let mut taken = Vec::new();
            while let Some((place, record)) = next {
                let bytes = builder.bytes().saturating_add(size_of(record));
                if !taken.is_empty() && bytes > self.options.batch_bytes_max {
                    break;
                }
                push(&mut builder, record, now_ms);
                taken.push(place);
                next = rest.next();
            }
            // After the largest sequence comes 0.
            let after = i64::from(*sequence) + taken.len() as i64;
            *sequence = i32::try_from(after % (1 << 31)).unwrap_or(0);
            queue.push_back(Batch {
                bytes: builder.build()?,
                places: taken,
            });
        }
        Ok(queue)
    }

    /// Sends the next batch of each partition that one broker leads, and takes away what has been written.
    async fn round(&self, name: &str, queues: &mut Queues, written: &mut [Written]) -> Result<()> {
        let topic = self.client.topic_or_create(name).await?;
        let Some((&first, _)) = queues.first_key_value() else {
            return Ok(());
        };
        let leader = self.client.leader(&topic, first)?;
        let data = self.data_for(&topic, leader, queues);
        let sent: Vec<i32> = data.iter().map(|data| data.index).collect();
        let request = ProduceRequest {
            acks: self.options.acks,
            timeout_ms: self.options.timeout_ms,
            topic_data: vec![TopicProduceData {
                name: name.into(),
                topic_id: topic.id,
                partition_data: data,
            }],
            ..Default::default()
        };
        let channel = self.client.node(leader).await?;
        // From version 13 on the topic goes by its id.
        let version_max = if topic.id.is_zero() { 12 } else { i16::MAX };
        let version = channel.pick::<ProduceRequest<'_>>(3, version_max)?;
        if self.options.acks == 0 {
            channel.tell(version, &request).await?;
            for partition in sent {
                take(queues, partition, -1, None, written);
            }
            return Ok(());
        }
        let limit_ms = i64::from(self.options.timeout_ms).saturating_add(self.client.request_ms());
        let answer = channel.call_in(version, &request, limit_ms).await?;
        let mut outcomes = Vec::new();
        {
            let told = answer.body()?;
            let of = || {
                told.responses
                    .iter()
                    .flat_map(|topic| &topic.partition_responses)
            };
            for index in sent {
                let partition = of().find(|partition| partition.index == index);
                outcomes.push((
                    index,
                    outcome(name, partition.ok_or_else(|| missing("Produce"))?),
                ));
            }
        }
        let mut refused = Ok(());
        for (index, outcome) in outcomes {
            match outcome {
                Ok((offset, time)) => take(queues, index, offset, time, written),
                Err(error) => refused = Err(error),
            }
        }
        refused
    }

    /// The first batch of each partition that this broker leads, as many as one request has room for.
    fn data_for<'q>(
        &self,
        topic: &Topic,
        leader: i32,
        queues: &'q Queues,
    ) -> Vec<PartitionProduceData<'q>> {
        let room = self.options.batch_bytes_max.saturating_mul(BATCHES_MAX);
        let (mut data, mut bytes) = (Vec::new(), 0_usize);
        for (&index, queue) in queues {
            let is_led = topic
                .partitions
                .get(&index)
                .is_some_and(|known| known.leader_id == leader);
            let Some(batch) = queue.front().filter(|_| is_led) else {
                continue;
            };
            bytes = bytes.saturating_add(batch.bytes.len());
            if !data.is_empty() && bytes > room {
                break;
            }
            data.push(PartitionProduceData {
                index,
                records: Some(Records::from(&batch.bytes[..])),
            });
        }
        data
    }

    /// Pauses before the next try, if there may be one.
    async fn try_again(&self, topic: &str, error: Error, patience: &mut Patience) -> Result<()> {
        let may_be_written = !matches!(error.reason, Reason::Refused { .. } | Reason::Dial(_));
        if may_be_written && !self.options.is_idempotent {
            return Err(error);
        }
        self.client.forget_topic(topic);
        patience.again(error).await
    }
}

/// The first offset of what has been written, and the time it was given.
fn outcome(topic: &str, partition: &PartitionProduceResponse<'_>) -> Result<(i64, Option<i64>)> {
    let message = partition.record_errors.first();
    let message = message.and_then(|error| error.batch_index_error_message.as_deref());
    let message = message.or(partition.error_message.as_deref());
    if partition.error_code == ErrorCode::DuplicateSequenceNumber.code() {
        // It is there from an earlier try, so long ago that the broker has forgotten where.
        return Ok((-1, None));
    }
    let about = format!("partition {topic}-{}", partition.index);
    check(&about, partition.error_code, message)?;
    let time = Some(partition.log_append_time_ms).filter(|time| *time >= 0);
    Ok((partition.base_offset, time))
}

/// Takes the first batch of a partition, which has been written from this offset on.
fn take(
    queues: &mut Queues,
    partition: i32,
    base_offset: i64,
    append_time_ms: Option<i64>,
    written: &mut [Written],
) {
    let Some(queue) = queues.get_mut(&partition) else {
        return;
    };
    let places = queue.pop_front().map_or(Vec::new(), |batch| batch.places);
    if queue.is_empty() {
        queues.remove(&partition);
    }
    for (offset, place) in (base_offset..).zip(places) {
        if let Some(written) = written.get_mut(place) {
            *written = Written {
                partition,
                offset: if base_offset < 0 { -1 } else { offset },
                append_time_ms,
            };
        }
    }
}

/// Bytes of a record in a batch, at most.
fn size_of(record: &NewRecord) -> usize {
    /// Lengths, deltas and attributes of a record, and the lengths of a header.
    const OVERHEAD_BYTES: (usize, usize) = (40, 10);
    let optional = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    let headers = record.headers.iter();
    let headers = headers.map(|(key, value)| key.len() + optional(value) + OVERHEAD_BYTES.1);
    OVERHEAD_BYTES.0 + optional(&record.key) + optional(&record.value) + headers.sum::<usize>()
}

fn push(builder: &mut BatchBuilder, record: &NewRecord, now_ms: i64) {
    let headers = record.headers.iter();
    let headers: Vec<_> = headers
        .map(|(key, value)| (key.as_str(), value.as_deref()))
        .collect();
    builder.push(&Plain {
        timestamp: record.timestamp.unwrap_or(now_ms),
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers: &headers,
    });
}
