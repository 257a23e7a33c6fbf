//! What a classic group decides about the offsets committed in it.

use super::{Group, State};
use crate::error::ErrorCode;
use crate::group::command::{Name, OffsetCommit};
use crate::group::desk::Desk;
use crate::group::durable::Durable;
use crate::group::offsets::{ExpiryRule, HoldsOffsets};
use crate::group::records::Record;

impl HoldsOffsets for Group {
    fn id(&self) -> &Name {
        &self.id
    }

    fn durable(&self) -> &Durable {
        &self.durable
    }

    fn write(&mut self, d: &mut Desk, records: Vec<Record>) {
        self.journal(d, records, None);
    }

    fn check_commit(&self, commit: &OffsetCommit) -> Result<(), ErrorCode> {
        // Consumers without group management, and tools.
        if commit.generation < 0 && self.state == State::Empty {
            return Ok(());
        }
        let anonymous =
            commit.generation < 0 && commit.member_id.is_empty() && commit.instance_id.is_none();
        if anonymous {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.check_member(&commit.member_id, commit.instance_id.as_deref())?;
        if commit.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        // The member knows the new generation but not its share yet.
        if self.state == State::CompletingRebalance {
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    fn check_transaction_commit(&self, commit: &OffsetCommit) -> Result<(), ErrorCode> {
        // Older clients do not say who they are.
        let anonymous =
            commit.generation < 0 && commit.member_id.is_empty() && commit.instance_id.is_none();
        if anonymous || commit.generation < 0 && self.state == State::Empty {
            return Ok(());
        }
        self.check_member(&commit.member_id, commit.instance_id.as_deref())?;
        match commit.generation == self.generation {
            true => Ok(()),
            false => Err(ErrorCode::IllegalGeneration),
        }
    }

    fn check_fetch(&self, _: &(Option<Name>, i32)) -> Result<(), ErrorCode> {
        Ok(())
    }

    fn has_committed(&mut self, d: &mut Desk, member_id: &str) {
        if matches!(self.state, State::Stable | State::PreparingRebalance) {
            // A consumer that is busy processing still commits.
            self.touch(d, member_id);
        }
    }

    fn check_forget(&self) -> Result<(), ErrorCode> {
        match self.state == State::Empty || self.is_consumer_type() {
            true => Ok(()),
            false => Err(ErrorCode::NonEmptyGroup),
        }
    }

    /// Unread subscriptions count as all topics.
    fn is_subscribed(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.is_consumer_type(),
        }
    }

    fn expiry_rule(&self) -> Option<ExpiryRule> {
        if self.protocol_type.is_none() {
            return Some(ExpiryRule::SinceCommit);
        }
        match self.state {
            State::Empty => Some(
                self.state_since_ms
                    .map_or(ExpiryRule::SinceCommit, ExpiryRule::SinceEmpty),
            ),
            State::Stable if self.is_consumer_type() && self.subscribed.is_some() => {
                Some(ExpiryRule::SinceCommit)
            }
            _ => None,
        }
    }

    fn is_unused(&self) -> bool {
        self.state == State::Empty && self.pending.is_empty() && self.durable.pending.is_empty()
    }

    fn linger(&mut self) {
        self.lingers = true;
    }

    fn delete(&mut self, d: &mut Desk) {
        let mut records = self.forget_all_records();
        // Kafka's formatter of groups tells of the end of one that had offsets only, too.
        if self.durable.metadata.is_some() || !records.is_empty() {
            records.push(Record::Group {
                group: self.id.clone(),
                value: None,
            });
        }
        self.clear(d, ErrorCode::UnknownMemberId);
        self.reset(d.now.wall_ms);
        self.lingers = false;
        if !records.is_empty() {
            self.journal(d, records, None);
        }
    }
}
