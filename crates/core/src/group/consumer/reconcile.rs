//! One member's way to what it shall have: it gives up first, and gets what nobody else holds.

use super::places::{Held, Place, has, holds};
use super::records::{Current, MemberState};

/// What a step depends on.
pub(super) struct Step<'a> {
    /// Of which group epoch the target is.
    pub(super) target_epoch: i32,
    /// What the member shall have, in order.
    pub(super) target: &'a [Place],
    /// What the member says it works on, in order; `None` if it does not say.
    pub(super) owned: Option<&'a [Place]>,
    /// Whether the member wants the topic of a partition.
    pub(super) wants: &'a dyn Fn(Place) -> bool,
    /// Whether it wants no topic that exists.
    pub(super) wants_nothing: bool,
    /// Whether another member holds a partition.
    pub(super) is_taken: &'a dyn Fn(Place) -> bool,
    /// Whether what it holds of topics that it does not want goes at once, also where no new target says so.
    pub(super) drops_unwanted: bool,
}

impl Step<'_> {
    /// The member after this step; as it is where it cannot go on.
    pub(super) fn of(&self, now: &Current) -> Current {
        match now.state {
            MemberState::Stable if now.epoch != self.target_epoch => self.approach(now),
            MemberState::Stable if self.drops_unwanted => self.drop_unwanted(now),
            MemberState::Stable => now.clone(),
            MemberState::Unrevoked if self.still_owns(&now.revoking) => match self.drops_unwanted {
                true => self.drop_unwanted(now),
                false => now.clone(),
            },
            // One of a state from the future starts anew, which the caller has seen to.
            MemberState::Unrevoked | MemberState::Unreleased | MemberState::Unknown(_) => {
                self.approach(now)
            }
        }
    }

    /// Who does not say what it works on may work on all of it.
    fn still_owns(&self, held: &[Held]) -> bool {
        match self.owned {
            None => true,
            Some(owned) => owned.iter().any(|place| holds(held, *place)),
        }
    }

    fn drop_unwanted(&self, now: &Current) -> Current {
        let (kept, dropped): (Vec<Held>, Vec<Held>) = now
            .assigned
            .iter()
            .partition(|held| (self.wants)(held.place));
        // Kafka writes it down again where a member wants nothing any more, also if it had nothing.
        if dropped.is_empty() && !(self.wants_nothing && now.revoking.is_empty()) {
            return now.clone();
        }
        let mut revoking = [&*now.revoking, &dropped].concat();
        revoking.sort_unstable();
        revoking.dedup_by_key(|held| held.place);
        let is_over = revoking.is_empty() || !self.still_owns(&revoking);
        Current {
            epoch: now.epoch,
            previous_epoch: now.epoch,
            state: match is_over {
                true => now.state,
                false => MemberState::Unrevoked,
            },
            assigned: kept.into(),
            revoking: match is_over {
                true => now.revoking.clone(),
                false => revoking.into(),
            },
        }
    }

    fn approach(&self, now: &Current) -> Current {
        let target = || {
            self.target
                .iter()
                .copied()
                .filter(|place| (self.wants)(*place))
        };
        let stays = |held: &Held| has(self.target, held.place) && (self.wants)(held.place);
        let (mut assigned, revoking): (Vec<Held>, Vec<Held>) =
            now.assigned.iter().partition(|held| stays(held));
        if !revoking.is_empty() && self.still_owns(&revoking) {
            return Current {
                epoch: now.epoch,
                previous_epoch: now.epoch,
                state: MemberState::Unrevoked,
                assigned: assigned.into(),
                revoking: revoking.into(),
            };
        }
        let mut waits = false;
        let kept = assigned.len();
        for place in target() {
            if holds(&assigned[..kept], place) {
                continue;
            }
            // What the member itself is about to give up is free for it.
            if (self.is_taken)(place) && !holds(&now.revoking, place) {
                waits = true;
                continue;
            }
            assigned.push(Held {
                place,
                since_epoch: self.target_epoch,
            });
        }
        assigned.sort_unstable();
        Current {
            epoch: self.target_epoch,
            previous_epoch: now.epoch,
            state: match waits {
                true => MemberState::Unreleased,
                false => MemberState::Stable,
            },
            assigned: assigned.into(),
            revoking: Box::default(),
        }
    }
}
