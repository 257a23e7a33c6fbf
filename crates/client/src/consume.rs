//! Reading partitions that the caller chooses, from where the caller says, and on as they grow.
//!
//! There is one fetch under way for each broker that leads some of them, on a connection of its own, since it waits there for
//! records and everything behind it would wait too.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use rustka_core::compression::InflateLimits;
use rustka_core::error::ErrorCode;
use rustka_wire::Uuid;
use rustka_wire::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use rustka_wire::fetch_response::PartitionData;

use crate::channel::Channel;
use crate::client::{Client, Patience};
use crate::cluster::check;
use crate::dial::BoxFuture;
use crate::error::Result;
use crate::frame::Answer;
use crate::offsets::{Isolation, Start};
use crate::record::{Record, unpack};

/// How records are read.
#[derive(Clone, Debug)]
pub struct ConsumeOptions {
    /// How long a broker waits for records before it answers without any.
    pub max_wait_ms: i32,
    /// Bytes that are enough for an answer before that.
    pub min_bytes: i32,
    /// Bytes of one answer, but for one batch.
    pub max_bytes: i32,
    /// Bytes of one partition in an answer, but for one batch.
    pub partition_bytes: i32,
    /// Which records are seen.
    pub isolation: Isolation,
    /// Where to go on if the offset to be read is not there; without it that is an error.
    pub reset: Option<Start>,
    /// How far compressed batches may inflate.
    pub limits: InflateLimits,
}

impl Default for ConsumeOptions {
    fn default() -> Self {
        ConsumeOptions {
            max_wait_ms: 500,
            min_bytes: 1,
            max_bytes: 50 << 20,
            partition_bytes: 1 << 20,
            isolation: Isolation::default(),
            reset: None,
            limits: InflateLimits::default(),
        }
    }
}

/// Records of one partition, in order.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The records.
    pub records: Vec<Record>,
    /// Behind the last record that any reader may see.
    pub high_watermark: i64,
}

/// A topic and a partition of it.
pub type Place = (Arc<str>, i32);

type FetchAnswer = Answer<FetchRequest<'static>>;

/// A partition to be fetched: where, under which id, from which offset.
type Wanted = (Place, Uuid, i64);

/// A fetch that is under way: what it asked for, and its answer to come.
struct InFlight {
    asked: BTreeMap<Place, i64>,
    names: BTreeMap<Uuid, Arc<str>>,
    /// Behind a lock that nobody takes, so that a consumer may be looked at from any thread.
    answer: Mutex<BoxFuture<'static, Result<FetchAnswer>>>,
}

/// Reads partitions.
pub struct Consumer {
    client: Client,
    options: ConsumeOptions,
    positions: BTreeMap<Place, i64>,
    channels: BTreeMap<i32, Channel>,
    in_flight: BTreeMap<i32, InFlight>,
    /// What has come and was not handed out yet.
    ready: VecDeque<Fetched>,
    /// Partitions whose offset is not there, until it is known where to go on instead.
    astray: Vec<Place>,
    patience: Option<Patience>,
}

impl Consumer {
    /// A consumer of this client's, which reads nothing yet.
    pub fn new(client: &Client, options: ConsumeOptions) -> Consumer {
        Consumer {
            client: client.clone(),
            options,
            positions: BTreeMap::new(),
            channels: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            ready: VecDeque::new(),
            astray: Vec::new(),
            patience: None,
        }
    }

    /// Reads these partitions of a topic too, each from where it says.
    pub async fn assign(&mut self, topic: &str, places: &BTreeMap<i32, Start>) -> Result<()> {
        let isolation = self.options.isolation;
        let offsets = self.client.offsets(topic, places, isolation).await?;
        let topic: Arc<str> = topic.into();
        for (partition, offset) in offsets {
            self.seek(&(topic.clone(), partition), offset);
        }
        Ok(())
    }

    /// Reads all partitions of a topic too.
    pub async fn assign_all(&mut self, topic: &str, start: Start) -> Result<()> {
        let known = self.client.topic(topic).await?;
        let places = known.partitions.keys().map(|partition| (*partition, start));
        self.assign(topic, &places.collect()).await
    }

    /// Goes on at this offset of a partition.
    pub fn seek(&mut self, place: &Place, offset: i64) {
        self.ready
            .retain(|fetched| (&fetched.topic, fetched.partition) != (&place.0, place.1));
        self.astray.retain(|astray| astray != place);
        self.positions.insert(place.clone(), offset);
    }

    /// Reads nothing any more.
    pub fn clear(&mut self) {
        self.positions.clear();
        self.ready.clear();
        self.astray.clear();
    }

    /// Where reading goes on, behind what [`Consumer::poll`] has handed out.
    pub fn positions(&self) -> BTreeMap<Place, i64> {
        let mut positions = self.positions.clone();
        for fetched in self.ready.iter().rev() {
            if let Some(first) = fetched.records.first() {
                positions.insert((fetched.topic.clone(), fetched.partition), first.offset);
            }
        }
        positions
    }

    /// The next records of some partition; none if a fetch came back without any. Dropping the future loses nothing.
    pub async fn poll(&mut self) -> Result<Option<Fetched>> {
        if let Some(fetched) = self.ready.pop_front() {
            return Ok(Some(fetched));
        }
        match self.fetch().await {
            Ok(()) => self.patience = None,
            Err(error) => {
                let patience = self.patience.get_or_insert_with(|| self.client.patience());
                patience.again(error).await?;
            }
        }
        Ok(self.ready.pop_front())
    }

    /// Sends what can be sent, and takes the first answer that comes.
    async fn fetch(&mut self) -> Result<()> {
        self.reset().await?;
        self.send().await?;
        if self.in_flight.is_empty() {
            let clock = self.client.clock();
            let due_ms = clock.monotonic_ms() + i64::from(self.options.max_wait_ms);
            clock.sleep_until(due_ms).await;
            return Ok(());
        }
        // From here on nothing is waited for: what has come is taken, even if the caller loses patience.
        let (leader, outcome) = poll_fn(|cx| self.poll_answers(cx)).await;
        let Some(fetch) = self.in_flight.remove(&leader) else {
            return Ok(());
        };
        let taken = outcome.and_then(|answer| self.take(&fetch, &answer));
        if let Err(error) = &taken {
            // Whatever it is, the leader may be another by now.
            let topics = fetch.asked.keys().map(|(topic, _)| topic);
            topics.for_each(|topic| self.client.forget_topic(topic));
            if error.code().is_none() {
                self.channels.remove(&leader);
                self.client.forget_node(leader);
            }
        }
        taken
    }

    fn poll_answers(&mut self, cx: &mut Context<'_>) -> Poll<(i32, Result<FetchAnswer>)> {
        for (&leader, fetch) in &mut self.in_flight {
            let answer = fetch.answer.get_mut();
            let answer = answer.unwrap_or_else(PoisonError::into_inner);
            if let Poll::Ready(outcome) = answer.as_mut().poll(cx) {
                return Poll::Ready((leader, outcome));
            }
        }
        Poll::Pending
    }

    /// Sends a fetch to every leader that has none under way.
    async fn send(&mut self) -> Result<()> {
        let mut by_leader: BTreeMap<i32, Vec<Wanted>> = BTreeMap::new();
        for (place, offset) in &self.positions {
            let topic = self.client.topic(&place.0).await?;
            let leader = self.client.leader(&topic, place.1)?;
            if !self.in_flight.contains_key(&leader) {
                let wanted = (place.clone(), topic.id, *offset);
                by_leader.entry(leader).or_default().push(wanted);
            }
        }
        for (leader, wanted) in by_leader {
            let known = self.channels.get(&leader);
            let channel = match known.filter(|known| !known.has_ended()) {
                Some(channel) => channel.clone(),
                None => {
                    let address = self.client.address(leader).await?;
                    let opened = self.client.open(&address).await;
                    let channel = opened.inspect_err(|_| self.client.forget_node(leader))?;
                    self.channels.insert(leader, channel.clone());
                    channel
                }
            };
            self.send_to(leader, channel, wanted)?;
        }
        Ok(())
    }

    fn send_to(&mut self, leader: i32, channel: Channel, wanted: Vec<Wanted>) -> Result<()> {
        // From version 13 on topics go by their ids.
        let has_ids = wanted.iter().all(|(_, id, _)| !id.is_zero());
        let version_max = if has_ids { i16::MAX } else { 12 };
        let version = channel.pick::<FetchRequest<'_>>(4, version_max)?;
        let request = FetchRequest {
            max_wait_ms: self.options.max_wait_ms,
            min_bytes: self.options.min_bytes,
            max_bytes: self.options.max_bytes,
            isolation_level: self.options.isolation.id(),
            session_epoch: -1,
            topics: topics(&wanted, self.options.partition_bytes),
            ..Default::default()
        };
        let limit_ms = i64::from(self.options.max_wait_ms).saturating_add(self.client.request_ms());
        let names = wanted
            .iter()
            .map(|((topic, _), id, _)| (*id, topic.clone()));
        let fetch = InFlight {
            names: names.collect(),
            asked: wanted
                .iter()
                .map(|(place, _, offset)| (place.clone(), *offset))
                .collect(),
            answer: Mutex::new(Box::pin(async move {
                channel.call_in(version, &request, limit_ms).await
            })),
        };
        self.in_flight.insert(leader, fetch);
        Ok(())
    }

    /// Takes the records of an answer, of partitions that are still read from where they were asked for.
    fn take(&mut self, fetch: &InFlight, answer: &FetchAnswer) -> Result<()> {
        let told = answer.body()?;
        check("Fetch", told.error_code, None)?;
        let mut outcome = Ok(());
        for topic in &told.responses {
            let name = match fetch.names.get(&topic.topic_id) {
                Some(name) if topic.topic.is_empty() => name.clone(),
                _ => (&*topic.topic).into(),
            };
            for partition in &topic.partitions {
                let place = (name.clone(), partition.partition_index);
                let asked = fetch.asked.get(&place);
                let asked = asked.filter(|asked| self.positions.get(&place) == Some(asked));
                if let Some(&offset) = asked
                    && let Err(error) = self.take_partition(&place, offset, partition)
                {
                    outcome = Err(error);
                }
            }
        }
        outcome
    }

    fn take_partition(
        &mut self,
        place: &Place,
        offset: i64,
        partition: &PartitionData<'_>,
    ) -> Result<()> {
        let code = partition.error_code;
        if code == ErrorCode::OffsetOutOfRange.code() && self.options.reset.is_some() {
            self.astray.push(place.clone());
            return Ok(());
        }
        if code != 0 {
            return check(&format!("partition {}-{}", place.0, place.1), code, None);
        }
        let records = partition.records.as_ref();
        let bytes = records.map_or(&[][..], |records| records.as_bytes());
        let aborted = partition.aborted_transactions.as_deref();
        let unpacked = unpack(bytes, offset, aborted, self.options.limits)?;
        self.positions.insert(place.clone(), unpacked.next_offset);
        if !unpacked.records.is_empty() {
            self.ready.push_back(Fetched {
                topic: place.0.clone(),
                partition: place.1,
                records: unpacked.records,
                high_watermark: partition.high_watermark,
            });
        }
        Ok(())
    }

    /// Finds out where to go on in partitions that have not what was to be read.
    async fn reset(&mut self) -> Result<()> {
        while let (Some(place), Some(start)) = (self.astray.last().cloned(), self.options.reset) {
            let places = BTreeMap::from([(place.1, start)]);
            let isolation = self.options.isolation;
            let found = self.client.offsets(&place.0, &places, isolation).await?;
            self.astray.pop();
            if let Some(offset) = found.get(&place.1) {
                self.positions.insert(place, *offset);
            }
        }
        Ok(())
    }
}

/// What is wanted, by topic; one topic's partitions stand together.
fn topics(wanted: &[Wanted], partition_max_bytes: i32) -> Vec<FetchTopic<'static>> {
    let mut topics: Vec<FetchTopic<'static>> = Vec::new();
    for ((topic, partition), topic_id, fetch_offset) in wanted {
        if topics.last().is_none_or(|last| *last.topic != **topic) {
            topics.push(FetchTopic {
                topic: topic.to_string().into(),
                topic_id: *topic_id,
                partitions: Vec::new(),
            });
        }
        if let Some(last) = topics.last_mut() {
            last.partitions.push(FetchPartition {
                partition: *partition,
                fetch_offset: *fetch_offset,
                partition_max_bytes,
                ..Default::default()
            });
        }
    }
    topics
}
