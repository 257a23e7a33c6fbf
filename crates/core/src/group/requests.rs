//! What a shard does for each request but heartbeats, up to where one group decides.

use super::classic::{self, check_join, limited};
use super::command::{Command, Join, Leave, ListGroups, NAME_BYTES_MAX, Name, OffsetCommit};
use super::desk::Desk;
use super::durable::Durable;
use super::effects::{Deleted, Effects, Event, JoinRefused, Left, Listed, Reply};
use super::kinds::Group;
use super::offsets::{self, Within};
use super::options::GroupOptions;
use super::records::Record;
use super::room::{make_room_for_commit, make_room_for_group, make_room_for_id};
use super::{GroupShard, consumer, desk, existing};
use crate::error::{ErrorCode, Refusal};
use crate::machine::Ticket;
use crate::producers::Marker;
use crate::time::Now;

impl GroupShard {
    /// Decides a request against which `refusal` has nothing to say.
    pub(super) fn decide(&mut self, now: Now, ticket: Ticket, command: Command, out: &mut Effects) {
        match command {
            Command::Join(join) => self.join(now, ticket, join, out),
            Command::Sync(sync) => {
                let (mut d, groups) = desk(self, now, out);
                let id = sync.group.clone();
                match existing(groups, &sync.group) {
                    Some(Group::Classic(group)) => group.sync(&mut d, ticket, sync),
                    Some(Group::Consumer(group)) => {
                        let synced = group.sync(&mut d, sync);
                        d.reply(ticket, &id, Reply::Sync(synced));
                    }
                    None => {
                        d.reply(ticket, &id, Reply::Sync(Err(ErrorCode::UnknownMemberId)));
                    }
                }
            }
            Command::Heartbeat(beat) => {
                let instance_id = beat.instance_id.as_deref();
                let member = (&*beat.member_id, instance_id, beat.generation);
                self.heartbeat(now, ticket, &beat.group, member, out);
            }
            Command::Leave(leave) => self.leave(now, ticket, leave, out),
            Command::OffsetCommit(commit) => self.commit(now, ticket, commit, None, out),
            Command::TransactionCommit(commit) => {
                let within = Within {
                    producer: commit.producer,
                    since: commit.since,
                };
                self.commit(now, ticket, commit.commit, Some(within), out);
            }
            Command::EndTransaction { producer, marker } => {
                self.end_transaction(now, ticket, producer, marker, out);
            }
            Command::OffsetFetch(fetch) => {
                let (mut d, groups) = desk(self, now, out);
                let id = fetch.group.clone();
                let fetched = match existing(groups, &fetch.group) {
                    Some(group) => group.holder().fetch(fetch),
                    None => Ok(offsets::fetch_nothing(fetch.topics)),
                };
                d.reply(ticket, &id, Reply::OffsetFetch(fetched));
            }
            Command::OffsetDelete(delete) => {
                let (mut d, groups) = desk(self, now, out);
                let group = existing(groups, &delete.group);
                let result = match group {
                    Some(group) => group.holder_mut().forget(&mut d, delete.topics),
                    None => Err(ErrorCode::GroupIdNotFound),
                };
                d.reply(ticket, &delete.group, Reply::OffsetDelete(result));
                self.drop_if_gone(&delete.group);
            }
            Command::DescribeGroup { group } => {
                let (mut d, groups) = desk(self, now, out);
                let described = match existing(groups, &group) {
                    Some(Group::Classic(group)) => Some(group.describe()),
                    Some(Group::Consumer(_)) | None => None,
                };
                d.reply(ticket, &group, Reply::DescribeGroup(Ok(described)));
            }
            Command::ConsumerBeat(beat) => self.beat_consumer(now, ticket, &beat, out),
            Command::ExpressionsResolved(resolved) => {
                let (mut d, groups) = desk(self, now, out);
                let id = resolved.group.clone();
                if let Some(Group::Consumer(group)) = existing(groups, &id) {
                    group.resolved(&mut d, resolved);
                }
                d.reply(ticket, &id, Reply::ExpressionsResolved);
            }
            Command::DescribeConsumerGroup { group } => {
                let (mut d, groups) = desk(self, now, out);
                let described = match existing(groups, &group) {
                    Some(Group::Consumer(group)) => Ok(group.describe()),
                    Some(Group::Classic(_)) => Err(no_consumer_group(&group)),
                    None => Err(no_group(&group)),
                };
                d.reply(ticket, &group, Reply::DescribeConsumerGroup(described));
            }
            Command::ListGroups(filter) => {
                let listed = self.list(&filter);
                let (mut d, _) = desk(self, now, out);
                d.reply_of_all(ticket, Reply::ListGroups(listed));
            }
            Command::DeleteGroup { group: id } => {
                let (mut d, groups) = desk(self, now, out);
                let deleted = match existing(groups, &id) {
                    None => ErrorCode::GroupIdNotFound.into(),
                    Some(group) if !group.is_empty() => Deleted {
                        code: ErrorCode::NonEmptyGroup,
                        is_told_first: matches!(group, Group::Consumer(_)),
                    },
                    Some(group) => {
                        group.holder_mut().delete(&mut d);
                        ErrorCode::None.into()
                    }
                };
                d.reply(ticket, &id, Reply::DeleteGroup(deleted));
                self.drop_if_gone(&id);
            }
            Command::TopicDeleted { topic, topic_id } => {
                let (mut d, groups) = desk(self, now, out);
                for group in groups.values_mut() {
                    group.holder_mut().topic_deleted(&mut d, &topic, topic_id);
                    group.weigh();
                }
                d.reply_of_all(ticket, Reply::TopicDeleted);
                self.drop_gone();
            }
        }
    }

    fn join(&mut self, now: Now, ticket: Ticket, join: Join, out: &mut Effects) {
        let (mut d, groups) = desk(self, now, out);
        if let Some(group) = existing(groups, &join.group) {
            if matches!(group, Group::Consumer(_)) && !group.is_empty() {
                return join_consumers(&mut d, ticket, group, join);
            }
            let Some(group) = group.as_classic(&mut d) else {
                return;
            };
            let wants_id = match group.check_join(&d, &join) {
                Ok(wants_id) => wants_id,
                Err(refused) => return group.refuse_join(&mut d, ticket, join, refused),
            };
            // A group that only holds offsets becomes one with members.
            if group.durable.metadata.is_none() {
                group.create(&mut d);
            }
            if wants_id {
                make_room_for_id(&mut d, groups, &join);
            }
            if let Some(Group::Classic(group)) = existing(groups, &join.group) {
                group.join(&mut d, ticket, join, wants_id);
            }
            return;
        }
        if !join.member_id.is_empty() {
            let refused = refuse_join(&join, ErrorCode::UnknownMemberId);
            return d.reply(ticket, &join.group, refused);
        }
        let mut fresh = classic::Group::new(
            join.group.clone(),
            Durable::default(),
            now.wall_ms,
            d.account,
        );
        if let Err(limit) = make_room_for_group(&mut d, groups, 0) {
            let refused = limited(ErrorCode::CoordinatorLoadInProgress, limit);
            return fresh.refuse_join(&mut d, ticket, join, refused);
        }
        let checked = match fresh.check_join(&d, &join) {
            Err(refused) if refused.limit.is_some() => {
                return fresh.refuse_join(&mut d, ticket, join, refused);
            }
            checked => checked,
        };
        // A deleted group may still be waiting for its tombstone: then it lives again.
        let group = groups
            .entry(join.group.clone())
            .or_insert_with(|| Box::new(Group::new(join.group.clone(), now.wall_ms, d.account)));
        if let Some(group) = group.as_classic(&mut d) {
            group.create(&mut d);
        }
        if let Ok(true) = checked {
            make_room_for_id(&mut d, groups, &join);
        }
        let Some(Group::Classic(group)) = existing(groups, &join.group) else {
            return;
        };
        match checked {
            Ok(wants_id) => group.join(&mut d, ticket, join, wants_id),
            // Kafka makes the group even so (E90).
            Err(refused) => group.refuse_join(&mut d, ticket, join, refused),
        }
        self.arm_offsets(now);
    }

    fn leave(&mut self, now: Now, ticket: Ticket, leave: Leave, out: &mut Effects) {
        let (mut d, groups) = desk(self, now, out);
        let left = match existing(groups, &leave.group) {
            Some(group) => {
                let left = match group {
                    Group::Classic(group) => group.leave(&mut d, leave.members),
                    Group::Consumer(group) => group.leave_all(&mut d, leave.members),
                };
                group.succeed(&mut d);
                left
            }
            None => {
                let unknown = leave.members.into_iter().map(|leaver| Left {
                    member_id: leaver.member_id,
                    instance_id: leaver.instance_id,
                    code: ErrorCode::UnknownMemberId,
                });
                unknown.collect()
            }
        };
        d.reply(ticket, &leave.group, Reply::Leave(Ok(left)));
    }

    fn commit(
        &mut self,
        now: Now,
        ticket: Ticket,
        commit: OffsetCommit,
        within: Option<Within>,
        out: &mut Effects,
    ) {
        let reply = match within {
            Some(_) => Reply::TransactionCommit,
            None => Reply::OffsetCommit,
        };
        let (mut d, groups) = desk(self, now, out);
        let id = commit.group.clone();
        let fits = |name: &Name| name.len() <= NAME_BYTES_MAX;
        if !fits(&id) || !commit.topics.iter().all(|topic| fits(&topic.topic)) {
            let results = offsets::refuse_all(&commit.topics, ErrorCode::InvalidGroupId);
            return d.reply_at_once(ticket, reply(results));
        }
        if existing(groups, &id).is_none() && commit.generation >= 0 {
            let code = if commit.knows_epochs {
                ErrorCode::GroupIdNotFound
            } else {
                ErrorCode::IllegalGeneration
            };
            let results = offsets::refuse_all(&commit.topics, code);
            return d.reply(ticket, &id, reply(results));
        }
        if let Err(limit) = make_room_for_commit(&mut d, groups, &commit) {
            let code = ErrorCode::CoordinatorLoadInProgress;
            d.warn(Event::Refused {
                group: id.clone(),
                client_host: Name::default(),
                code,
                limit,
            });
            let results = offsets::refuse_all(&commit.topics, code);
            return d.reply(ticket, &id, reply(results));
        }
        let group = groups
            .entry(id.clone())
            .or_insert_with(|| Box::new(Group::new(id.clone(), now.wall_ms, d.account)));
        let results = group.holder_mut().commit(&mut d, commit, within);
        d.reply(ticket, &id, reply(results));
        self.drop_if_gone(&id);
        self.arm_offsets(now);
    }

    /// Writes the marker; what it ends counts once it is durable.
    fn end_transaction(
        &mut self,
        now: Now,
        ticket: Ticket,
        producer: (i64, i16),
        marker: Marker,
        out: &mut Effects,
    ) {
        let (mut d, _) = desk(self, now, out);
        let nobody = Name::default();
        let position = d.append(&nobody, vec![Record::End { producer, marker }]);
        d.reply(ticket, &nobody, Reply::Ended(Ok(())));
        self.ending.insert(position, (producer.0, marker.commit));
    }

    fn list(&self, filter: &ListGroups) -> Vec<Listed> {
        let passes = |names: &[Name], name: &str| {
            names.is_empty() || names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
        };
        self.groups
            .values()
            .filter(|group| group.exists() && passes(&filter.types, group.kind()))
            .filter(|group| passes(&filter.states, group.state()))
            .map(|group| Listed {
                group: group.id().clone(),
                protocol_type: group.protocol_type(),
                state: group.state(),
                kind: group.kind(),
            })
            .collect()
    }
}

/// What can be said against a request without knowing its group.
pub fn refusal(command: &Command, options: &GroupOptions) -> Option<Reply> {
    let nameless = ErrorCode::InvalidGroupId;
    match command {
        Command::Join(join) => {
            let code = check_join(join, options).err()?;
            Some(refuse_join(join, code))
        }
        Command::Sync(sync) if sync.group.is_empty() => Some(Reply::Sync(Err(nameless))),
        Command::Heartbeat(beat) if beat.group.is_empty() => Some(Reply::Heartbeat(nameless)),
        Command::Leave(leave) if leave.group.is_empty() => Some(Reply::Leave(Err(nameless))),
        Command::OffsetDelete(delete) if delete.group.is_empty() => {
            Some(Reply::OffsetDelete(Err(nameless)))
        }
        Command::ConsumerBeat(beat) => {
            let refused = consumer::check_beat(beat, options).err()?;
            Some(Reply::ConsumerBeat(Err(refused)))
        }
        _ => None,
    }
}

/// A member of the classic protocol joins a consumer group with members.
fn join_consumers(d: &mut Desk, ticket: Ticket, group: &mut Group, mut join: Join) {
    let Group::Consumer(consumer) = group else {
        return;
    };
    if let Err(refused) = consumer.check_join(d, &join) {
        // Such a group does not say whom it refuses.
        join.member_id = Name::default();
        return classic::refuse_join(d, ticket, join, refused);
    }
    let id = join.group.clone();
    if join.wants_pending_id() {
        let code = ErrorCode::MemberIdRequired;
        let member_id = consumer::new_member_id(&join);
        let refused = JoinRefused { code, member_id };
        return d.reply(ticket, &id, Reply::Join(Err(refused)));
    }
    let joined = consumer.join(d, join).map_err(|code| JoinRefused {
        code,
        member_id: Name::default(),
    });
    d.reply(ticket, &id, Reply::Join(joined));
    group.succeed(d);
}

fn refuse_join(join: &Join, code: ErrorCode) -> Reply {
    let member_id = join.member_id.clone();
    Reply::Join(Err(JoinRefused { code, member_id }))
}

pub(super) fn no_group(id: &str) -> Refusal {
    let id: String = id.escape_debug().take(200).collect();
    Refusal::new(
        ErrorCode::GroupIdNotFound,
        format!("Group {id} was not found."),
    )
}

pub(super) fn no_consumer_group(id: &str) -> Refusal {
    let id: String = id.escape_debug().take(200).collect();
    let message = format!("Group {id} is not a consumer group.");
    Refusal::new(ErrorCode::GroupIdNotFound, message)
}
