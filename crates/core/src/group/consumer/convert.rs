//! A consumer group that begins with the members of a classic one, and one whose members all speak the classic protocol,
//! which ends as a classic group.

use std::sync::Arc;

use super::places::Held;
use super::records::{ConsumerRecord, Current, GroupEpoch, MemberState, TargetEpoch};
use super::{Draft, Group};
use crate::error::{ErrorCode, Refusal};
use crate::group::classic::{self, Downgraded, Upgraded};
use crate::group::command::Name;
use crate::group::desk::Desk;
use crate::group::embedded;
use crate::group::records::Record;

/// What a classic group hands over to the consumer group that it becomes.
pub(in crate::group) struct Opening {
    generation: i32,
    members: Vec<Upgraded>,
}

/// The classic group that a consumer group has become on record.
#[derive(Debug)]
pub(in crate::group) struct Successor {
    pub(in crate::group) group: classic::Group,
    /// Whether its members have to share anew.
    pub(in crate::group) rebalances: bool,
}

impl Opening {
    /// What this group hands over, if it may become a consumer group.
    pub(in crate::group) fn of(group: &classic::Group, d: &Desk) -> Result<Opening, Refusal> {
        let refuse = |why: &str| {
            let id: String = group.id.escape_debug().take(200).collect();
            let message = format!("Group {id} is not a consumer group, and {why}.");
            Refusal::new(ErrorCode::GroupIdNotFound, message)
        };
        if group.is_memberless() {
            return Ok(Opening {
                generation: group.generation(),
                members: Vec::new(),
            });
        }
        if !d.options.migration.upgrades() {
            return Err(refuse(
                "group.consumer.migration.policy keeps it a classic one",
            ));
        }
        if group.len() > d.options.consumer_size_max {
            return Err(refuse("it has more members than group.consumer.max.size"));
        }
        Ok(Opening {
            generation: group.generation(),
            members: group.upgraded(d)?,
        })
    }

    /// How many members there are.
    pub(in crate::group) fn len(&self) -> usize {
        self.members.len()
    }
}

impl Group {
    /// Begins with what a classic group hands over, in Kafka's order of records.
    pub(super) fn open(&mut self, d: &mut Desk, draft: &mut Draft, opening: Opening) {
        let Opening {
            generation,
            members,
        } = opening;
        if self.durable.metadata.is_some() {
            let group = self.id.clone();
            self.put_record(draft, Record::Group { group, value: None });
        }
        if members.is_empty() {
            return;
        }
        for one in &members {
            let value = Some(Arc::new(one.member.clone()));
            self.put(draft, ConsumerRecord::Member(one.id.clone(), value));
        }
        let epoch = GroupEpoch {
            epoch: generation,
            metadata_hash: self.metadata_hash(d.topics),
        };
        self.put(draft, ConsumerRecord::Group(Some(epoch)));
        for one in &members {
            let value = Some(Arc::new(one.places.clone()));
            self.put(draft, ConsumerRecord::Target(one.id.clone(), value));
        }
        let target = TargetEpoch {
            epoch: generation,
            computed_ms: 0,
        };
        self.put(draft, ConsumerRecord::TargetEpoch(Some(target)));
        for one in members {
            let held = one.places.iter().map(|place| Held {
                place: *place,
                since_epoch: generation,
            });
            let current = Current {
                epoch: generation,
                previous_epoch: generation,
                state: MemberState::Stable,
                assigned: held.collect(),
                revoking: Box::default(),
            };
            let value = Some(Arc::new(current));
            self.put(draft, ConsumerRecord::Current(one.id.clone(), value));
            if let Some(classic) = &one.member.classic {
                self.touch(d, &one.id, classic.session_timeout_ms);
            }
        }
    }

    /// Whether the group becomes a classic one when these members are gone.
    pub(super) fn falls_back_without(&self, d: &Desk, gone: &[Name]) -> bool {
        let roster = self.roster();
        let classic = |id: &&Name| roster.is_classic(id);
        let classic_left = roster.classic_len() - gone.iter().filter(classic).count();
        let left = roster.len() - gone.len();
        left > 0 && classic_left == left && self.may_fall_back(d, left)
    }

    /// Whether the group becomes a classic one when a classic member takes the place of this static one.
    pub(super) fn falls_back_by(&self, d: &Desk, replaced: &str) -> bool {
        let roster = self.roster();
        let is_last = !roster.is_classic(replaced) && roster.classic_len() + 1 == roster.len();
        is_last && self.may_fall_back(d, roster.len())
    }

    fn may_fall_back(&self, d: &Desk, members: usize) -> bool {
        d.options.migration.downgrades() && members <= d.options.size_max()
    }

    /// Ends, and is on record as a classic group of all members but these, who get what they were meant to have.
    pub(super) fn fall_back(
        &mut self,
        d: &mut Desk,
        mut draft: Draft,
        gone: &[Name],
        generation: i32,
        rebalances: bool,
    ) {
        let roster = self.roster();
        let members = roster.members().filter(|(id, _)| !gone.contains(id));
        let members = members.filter_map(|(id, member)| {
            Some(Downgraded {
                id,
                member,
                classic: member.classic.as_deref()?,
            })
        });
        let share = |id: &Name, subscription: &[u8]| {
            let version = embedded::version(subscription).unwrap_or(0);
            embedded::share(roster.target(id).iter().copied(), d.topics, version)
        };
        let wall_ms = d.now.wall_ms;
        let group =
            classic::Group::downgraded(&self.id, generation, members, share, wall_ms, d.account);
        let value = Some(group.as_recorded());
        self.put_end(&mut draft);
        let id = self.id.clone();
        self.put_record(&mut draft, Record::Group { group: id, value });
        self.commit(d, draft);
        self.successor = Some(Box::new(Successor { group, rebalances }));
    }

    /// The classic group that it has become on record, once.
    pub(in crate::group) fn take_successor(&mut self) -> Option<Box<Successor>> {
        self.successor.take()
    }

    /// The last records of the group and of all that is in it; its offsets stay.
    pub(super) fn put_end(&mut self, draft: &mut Draft) {
        let roster = self.roster();
        let ids: Vec<Name> = roster.ids().cloned().collect();
        let expressions: Vec<Name> = roster.expressions.keys().cloned().collect();
        for id in &ids {
            self.put(draft, ConsumerRecord::Current(id.clone(), None));
        }
        for id in &ids {
            self.put(draft, ConsumerRecord::Target(id.clone(), None));
        }
        self.put(draft, ConsumerRecord::TargetEpoch(None));
        for id in &ids {
            self.put(draft, ConsumerRecord::Member(id.clone(), None));
        }
        for expression in expressions {
            self.put(draft, ConsumerRecord::Expression(expression, None));
        }
        self.put(draft, ConsumerRecord::Metadata);
        self.put(draft, ConsumerRecord::Group(None));
    }
}
