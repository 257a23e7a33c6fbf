//! Committed offsets of one group of any kind: who may commit, what is kept, and for how long.

use std::collections::BTreeSet;

use crate::error::ErrorCode;
use crate::producers::Verification;

use super::command::{
    CommitPartition, CommitTopic, NAME_BYTES_MAX, NO_TOPIC_ID, Name, OffsetCommit, OffsetFetch,
    TopicId, TopicPartitions,
};
use super::desk::Desk;
use super::durable::Durable;
use super::effects::{FetchedPartition, FetchedTopic, TopicResults};
use super::records::{CommittedOffset, Record};

/// A group that holds committed offsets: what each kind of group decides for itself, and what is the same for all.
pub(super) trait HoldsOffsets {
    fn id(&self) -> &Name;
    fn durable(&self) -> &Durable;
    /// Writes records of this group and applies them.
    fn write(&mut self, d: &mut Desk, records: Vec<Record>);
    /// Whether this client may commit now.
    fn check_commit(&self, commit: &OffsetCommit) -> Result<(), ErrorCode>;
    /// The same within a transaction, whose client need not say that it is a member.
    fn check_transaction_commit(&self, commit: &OffsetCommit) -> Result<(), ErrorCode>;
    /// A member that may commit has done so, which shows that it lives.
    fn has_committed(&mut self, d: &mut Desk, member_id: &str);
    /// Whether an administrator may delete offsets now.
    fn check_forget(&self) -> Result<(), ErrorCode>;
    /// Whether deleting this topic's offsets would surprise a member.
    fn is_subscribed(&self, topic: &str) -> bool;
    /// From when retention counts; `None` while nothing ends.
    fn expiry_rule(&self) -> Option<ExpiryRule>;
    /// Whether nobody uses the group, so that it may go with its last offset.
    fn is_unused(&self) -> bool;
    /// Offsets are deleted: the group is seen until offsets are looked through, although nothing may be left (E35).
    fn linger(&mut self);
    /// Deletes the group and all it remembers.
    fn delete(&mut self, d: &mut Desk);

    fn commit(
        &mut self,
        d: &mut Desk,
        commit: OffsetCommit,
        within: Option<Within>,
    ) -> Vec<TopicResults> {
        let checked = match within {
            Some(_) => self.check_transaction_commit(&commit),
            None => self.check_commit(&commit),
        };
        if let Err(code) = checked {
            return refuse_all(&commit.topics, code);
        }
        self.has_committed(d, &commit.member_id);
        let mut records = Vec::new();
        let mut results = Vec::with_capacity(commit.topics.len());
        let expire_timestamp_ms = commit
            .retention_ms
            .filter(|retention_ms| *retention_ms >= 0)
            .map(|retention_ms| d.now.wall_ms.saturating_add(retention_ms));
        let metadata_max = d.options.offset_metadata_bytes_max;
        for topic in commit.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for at in topic.partitions {
                if is_longer(&at.metadata, metadata_max) {
                    partitions.push((at.partition, ErrorCode::OffsetMetadataTooLarge));
                    continue;
                }
                partitions.push((at.partition, ErrorCode::None));
                let CommitPartition {
                    partition,
                    offset,
                    leader_epoch,
                    metadata,
                } = at;
                let value = CommittedOffset {
                    offset,
                    leader_epoch,
                    metadata,
                    commit_timestamp_ms: d.now.wall_ms,
                    expire_timestamp_ms,
                    topic_id: match d.keeps_topic_ids {
                        true => topic.topic_id,
                        false => NO_TOPIC_ID,
                    },
                };
                records.push(match within {
                    None => self.offset_record(&topic.topic, partition, Some(value)),
                    Some(Within { producer, since }) => Record::Pending {
                        producer,
                        since,
                        group: self.id().clone(),
                        topic: topic.topic.clone(),
                        partition,
                        value,
                    },
                });
            }
            results.push(TopicResults {
                topic: topic.topic,
                topic_id: topic.topic_id,
                partitions,
            });
        }
        if !records.is_empty() {
            self.write(d, records);
        }
        results
    }

    fn offset_record(
        &self,
        topic: &Name,
        partition: i32,
        value: Option<CommittedOffset>,
    ) -> Record {
        Record::Offset {
            group: self.id().clone(),
            topic: topic.clone(),
            partition,
            value,
        }
    }

    /// Whether this client may ask for offsets.
    fn check_fetch(&self, member: &(Option<Name>, i32)) -> Result<(), ErrorCode>;

    fn fetch(&self, fetch: OffsetFetch) -> Result<Vec<FetchedTopic>, ErrorCode> {
        self.check_fetch(&fetch.member)?;
        let require_stable = fetch.require_stable;
        let Some(topics) = fetch.topics else {
            return Ok(self.fetch_all(require_stable));
        };
        let fetch_one = |topic: TopicPartitions| {
            let (name, topic_id) = (&topic.topic, topic.topic_id);
            let partitions = topic
                .partitions
                .iter()
                .map(|at| match require_stable && self.is_unstable(name, *at) {
                    true => unstable(*at),
                    false => fetched(*at, self.durable().offset(name, topic_id, *at)),
                })
                .collect();
            FetchedTopic {
                topic_id,
                topic: topic.topic,
                partitions,
            }
        };
        Ok(topics.into_iter().map(fetch_one).collect())
    }

    fn is_unstable(&self, topic: &Name, partition: i32) -> bool {
        let durable = self.durable();
        !durable.pending.is_empty() && durable.is_unstable(&(topic.clone(), partition))
    }

    fn fetch_all(&self, require_stable: bool) -> Vec<FetchedTopic> {
        let topics = self.durable().offsets.topics().map(|(topic, partitions)| {
            let mut topic_id = NO_TOPIC_ID;
            let partitions = partitions.map(|(partition, offset)| {
                topic_id = topic_id.max(offset.topic_id);
                match require_stable && self.is_unstable(topic, partition) {
                    true => unstable(partition),
                    false => fetched(partition, Some(offset)),
                }
            });
            let partitions = partitions.collect();
            FetchedTopic {
                topic: topic.clone(),
                topic_id,
                partitions,
            }
        });
        topics.collect()
    }

    /// OffsetDelete: an administrator forgets offsets that no member uses.
    fn forget(
        &mut self,
        d: &mut Desk,
        topics: Vec<TopicPartitions>,
    ) -> Result<Vec<TopicResults>, ErrorCode> {
        self.check_forget()?;
        let mut records = Vec::new();
        let mut results = Vec::with_capacity(topics.len());
        for topic in topics {
            let is_subscribed = self.is_subscribed(&topic.topic);
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in topic.partitions {
                if is_subscribed {
                    partitions.push((partition, ErrorCode::GroupSubscribedToTopic));
                    continue;
                }
                partitions.push((partition, ErrorCode::None));
                let durable = self.durable();
                let known = durable.offset(&topic.topic, NO_TOPIC_ID, partition);
                if known.is_some() || self.is_unstable(&topic.topic, partition) {
                    records.push(self.offset_record(&topic.topic, partition, None));
                }
            }
            results.push(TopicResults {
                topic: topic.topic,
                topic_id: topic.topic_id,
                partitions,
            });
        }
        if !records.is_empty() {
            self.linger();
            self.write(d, records);
        }
        Ok(results)
    }

    /// The topic is gone, and what was committed for it.
    fn topic_deleted(&mut self, d: &mut Desk, topic: &Name, topic_id: TopicId) {
        let durable = self.durable();
        let committed = durable.offsets.of_topic(topic).into_iter();
        let committed = committed.map(|(at, _)| at);
        let committed = committed.filter(|at| durable.offset(topic, topic_id, *at).is_some());
        let pending = durable.pending_of(topic, topic_id);
        let partitions: BTreeSet<i32> = committed.chain(pending).collect();
        let records = partitions.into_iter();
        let records = records.map(|at| self.offset_record(topic, at, None));
        let records: Vec<Record> = records.collect();
        if !records.is_empty() {
            self.linger();
            self.write(d, records);
        }
    }

    /// Forgets what has outlived its retention; a group that has nothing left goes too.
    fn expire_offsets(&mut self, d: &mut Desk) {
        let (now_ms, retention_ms) = (d.now.aging_ms, d.options.offsets_retention_ms);
        let Some(rule) = self.expiry_rule() else {
            return;
        };
        let records = self.forget_records(&|topic, partition, offset| {
            // Nor does one expire that a transaction is about to replace.
            if self.is_subscribed(topic) || self.is_unstable(topic, partition) {
                return false;
            }
            if let Some(expire_ms) = offset.expire_timestamp_ms {
                return now_ms >= expire_ms;
            }
            let since_ms = match rule {
                ExpiryRule::SinceEmpty(since_ms) => since_ms,
                ExpiryRule::SinceCommit => offset.commit_timestamp_ms,
            };
            now_ms.saturating_sub(since_ms) >= retention_ms
        });
        let committed = self.durable().offsets.len();
        let nothing_left = records.len() == committed && self.durable().pending.is_empty();
        if nothing_left && self.is_unused() {
            self.delete(d);
        } else if !records.is_empty() {
            self.write(d, records);
        }
    }

    fn forget_records(&self, ended: &dyn Fn(&Name, i32, &CommittedOffset) -> bool) -> Vec<Record> {
        let mut records = Vec::new();
        for (topic, partitions) in self.durable().offsets.topics() {
            for (partition, offset) in partitions {
                if ended(topic, partition, &offset) {
                    records.push(self.offset_record(topic, partition, None));
                }
            }
        }
        records
    }

    /// Forgets everything that is committed or about to be.
    fn forget_all_records(&self) -> Vec<Record> {
        let mut records = self.forget_records(&|_, _, _| true);
        let durable = self.durable();
        let pending: BTreeSet<&(Name, i32)> = durable.pending_places().collect();
        let pending = pending.into_iter();
        let pending = pending.filter(|(topic, at)| durable.offsets.get(topic, *at).is_none());
        records.extend(pending.map(|(topic, at)| self.offset_record(topic, *at, None)));
        records
    }
}

/// The transaction within which offsets are committed.
#[derive(Clone, Copy)]
pub(super) struct Within {
    pub(super) producer: (i64, i16),
    pub(super) since: Option<Verification>,
}

/// From when an offset's retention counts.
#[derive(Clone, Copy)]
pub(super) enum ExpiryRule {
    SinceEmpty(i64),
    SinceCommit,
}

/// Every partition with the same result.
pub(super) fn refuse_all(topics: &[CommitTopic], code: ErrorCode) -> Vec<TopicResults> {
    let refuse = |topic: &CommitTopic| TopicResults {
        topic: topic.topic.clone(),
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .map(|at| (at.partition, code))
            .collect(),
    };
    topics.iter().map(refuse).collect()
}

/// What a group that does not exist has committed.
pub(super) fn fetch_nothing(topics: Option<Vec<TopicPartitions>>) -> Vec<FetchedTopic> {
    let fetch_one = |topic: TopicPartitions| FetchedTopic {
        topic: topic.topic,
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .into_iter()
            .map(|at| fetched(at, None))
            .collect(),
    };
    topics
        .unwrap_or_default()
        .into_iter()
        .map(fetch_one)
        .collect()
}

/// What a transaction is about to replace.
fn unstable(partition: i32) -> FetchedPartition {
    FetchedPartition {
        code: ErrorCode::UnstableOffsetCommit,
        ..fetched(partition, None)
    }
}

fn fetched(partition: i32, offset: Option<CommittedOffset>) -> FetchedPartition {
    match offset {
        Some(known) => FetchedPartition {
            partition,
            offset: known.offset,
            leader_epoch: known.leader_epoch,
            metadata: known.metadata,
            code: ErrorCode::None,
        },
        None => FetchedPartition {
            partition,
            offset: -1,
            leader_epoch: -1,
            metadata: "".into(),
            code: ErrorCode::None,
        },
    }
}

/// Java counts UTF-16 units; bytes are never fewer. What does not fit into a record is too long in any case.
fn is_longer(text: &str, limit: usize) -> bool {
    text.len() > NAME_BYTES_MAX || text.len() > limit && text.encode_utf16().count() > limit
}
