//! Starting over from what is durable.

use super::members::Member;
use super::{Group, State};
use crate::error::ErrorCode;
use crate::group::command::{Name, Protocol};
use crate::group::desk::Desk;
use crate::group::effects::Cause;
use crate::group::records::MemberMetadata;
use crate::group::timers::Timer;

impl Group {
    /// Forgets everything that is not on record: members that wait are refused, sessions start from now.
    pub(in crate::group) fn resume(&mut self, d: &mut Desk) {
        self.clear(d, ErrorCode::NotCoordinator);
        let floor = self.generation.max(self.generation_floor);
        let Some(value) = self.durable.metadata.clone() else {
            return self.reset(d.now.wall_ms);
        };
        self.generation_floor = floor;
        self.generation = value.generation;
        self.protocol_type = (!value.protocol_type.is_empty()).then(|| value.protocol_type.clone());
        self.protocol_name = value.protocol.clone();
        self.leader = value.leader.clone();
        self.state_since_ms = (value.state_timestamp_ms >= 0).then_some(value.state_timestamp_ms);
        self.state = if value.members.is_empty() {
            State::Empty
        } else {
            State::Stable
        };
        for member in &value.members {
            if !self.members.contains(&member.member_id) {
                self.members
                    .insert(remembered(member, value.protocol.as_ref()));
                self.touch(d, &member.member_id);
            }
        }
        self.read_subscriptions();
        if self.members.len() > d.options.size_max() {
            self.prepare(d, Cause::TooLarge);
        }
    }

    /// Refuses what waits and stops every timer.
    pub(in crate::group) fn clear(&mut self, d: &mut Desk, code: ErrorCode) {
        for id in self.pending.ids() {
            self.forget_pending(d, &id);
        }
        self.end_phase(d);
        self.disarm_sync(d);
        for id in self.members.ids() {
            let Some(member) = self.members.remove(&id) else {
                continue;
            };
            if let Some(at_ms) = member.armed_ms {
                d.timers.disarm(at_ms, &self.id, Timer::Session(id));
            }
            self.answer_waiting(d, &member, code);
        }
        self.assigning = false;
    }

    /// A group that nobody has ever joined.
    pub(super) fn reset(&mut self, wall_ms: i64) {
        self.state = State::Empty;
        self.state_since_ms = Some(wall_ms);
        self.generation = 0;
        self.generation_floor = 0;
        self.protocol_type = None;
        self.protocol_name = None;
        self.leader = None;
        self.subscribed = None;
    }
}

fn remembered(member: &MemberMetadata, protocol: Option<&Name>) -> Member {
    let protocols = protocol.map(|name| Protocol {
        name: name.clone(),
        metadata: member.subscription.clone(),
    });
    Member {
        id: member.member_id.clone(),
        instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        // Records from before rebalance timeouts existed say -1.
        rebalance_timeout_ms: if member.rebalance_timeout_ms < 0 {
            member.session_timeout_ms
        } else {
            member.rebalance_timeout_ms
        },
        session_timeout_ms: member.session_timeout_ms,
        protocols: protocols.into_iter().collect(),
        assignment: member.assignment.clone(),
        ..Member::default()
    }
}
