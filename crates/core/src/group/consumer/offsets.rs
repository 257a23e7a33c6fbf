//! What a consumer group decides about the offsets committed in it.

use super::records::Current;
use super::{ConsumerState, Draft, Group};
use crate::error::ErrorCode;
use crate::group::command::{Name, OffsetCommit};
use crate::group::consumer::places::Place;
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
        self.durable.write(d, &self.id, records, None);
    }

    fn check_commit(&self, commit: &OffsetCommit) -> Result<(), ErrorCode> {
        let roster = self.roster();
        // Consumers without group management, and tools.
        if commit.generation < 0 && roster.has_no_members() {
            return Ok(());
        }
        let current = roster.current(&commit.member_id);
        let current = current.ok_or(ErrorCode::UnknownMemberId)?;
        let is_classic = self.roster().is_classic(&commit.member_id);
        if !commit.knows_epochs && !is_classic {
            return Err(ErrorCode::UnsupportedVersion);
        }
        match (covers(current, commit), is_classic) {
            (true, _) => Ok(()),
            (false, true) => Err(ErrorCode::IllegalGeneration),
            (false, false) => Err(ErrorCode::StaleMemberEpoch),
        }
    }

    fn check_transaction_commit(&self, commit: &OffsetCommit) -> Result<(), ErrorCode> {
        // Older clients do not say who they are.
        let is_anonymous = commit.member_id.is_empty() && commit.instance_id.is_none();
        if commit.generation < 0 && (is_anonymous || self.roster().has_no_members()) {
            return Ok(());
        }
        let current = self.roster().current(&commit.member_id);
        let current = current.ok_or(ErrorCode::UnknownMemberId)?;
        match covers(current, commit) {
            true => Ok(()),
            false => Err(ErrorCode::IllegalGeneration),
        }
    }

    fn check_fetch(&self, (member_id, epoch): &(Option<Name>, i32)) -> Result<(), ErrorCode> {
        let member_id = match member_id {
            None if *epoch < 0 => return Ok(()),
            // Kafka fails here too.
            None => return Err(ErrorCode::UnknownServerError),
            Some(member_id) => member_id,
        };
        let current = self.roster().current(member_id);
        let current = current.ok_or(ErrorCode::UnknownMemberId)?;
        match self.roster().is_classic(member_id) {
            _ if current.epoch == *epoch => Ok(()),
            true => Err(ErrorCode::IllegalGeneration),
            false => Err(ErrorCode::StaleMemberEpoch),
        }
    }

    fn has_committed(&mut self, _: &mut Desk, _: &str) {
        // Only heartbeats keep a member alive.
    }

    fn check_forget(&self) -> Result<(), ErrorCode> {
        Ok(())
    }

    fn is_subscribed(&self, topic: &str) -> bool {
        self.roster().wants(topic)
    }

    fn expiry_rule(&self) -> Option<ExpiryRule> {
        Some(ExpiryRule::SinceCommit)
    }

    fn is_unused(&self) -> bool {
        self.state() == ConsumerState::Empty && self.durable.pending.is_empty()
    }

    fn linger(&mut self) {
        // Its epoch stays on record.
    }

    fn delete(&mut self, d: &mut Desk) {
        let offsets = self.forget_all_records();
        self.clear(d);
        let mut draft = Draft::default();
        for record in offsets {
            self.put_record(&mut draft, record);
        }
        self.put_end(&mut draft);
        self.commit(d, draft);
    }
}

impl Group {
    /// Ends as a consumer group; its offsets stay.
    pub(in crate::group) fn end(&mut self, d: &mut Desk) {
        let mut draft = Draft::default();
        self.put_end(&mut draft);
        self.commit(d, draft);
    }
}

/// Whether the member may still commit all of it: now, or with an epoch from which on it has had every partition.
fn covers(current: &Current, commit: &OffsetCommit) -> bool {
    if commit.generation == current.epoch {
        return true;
    }
    if commit.generation > current.epoch || commit.generation <= 0 {
        return false;
    }
    let places = commit.topics.iter().flat_map(|topic| {
        let places = topic.partitions.iter();
        places.map(|at| Place {
            topic: topic.topic_id,
            partition: at.partition,
        })
    });
    places.into_iter().all(|place| {
        let mut held = current.all().filter(|held| held.place == place);
        held.next()
            .is_some_and(|held| held.since_epoch <= commit.generation)
    })
}
