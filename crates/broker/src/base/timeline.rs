//! What happened in groups of late, so that whoever wonders afterwards can still see who caused a rebalance, how long it
//! took and who was waited for.

use rustka_core::group::effects::{Cause, Event};
use rustka_core::sync::lock;
use rustka_core::time::Now;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

/// Moments that are kept, of all groups together.
const MOMENTS_MAX: usize = 4_000;
/// Characters that are kept of a name.
const NAME_MAX: usize = 256;

/// The moments of all groups, the oldest first.
#[derive(Default)]
pub struct Timeline {
    moments: Mutex<VecDeque<Moment>>,
    causes: Mutex<BTreeMap<&'static str, u64>>,
}

/// Something that happened in a group.
#[derive(Clone, Debug)]
pub struct Moment {
    group: Arc<str>,
    wall_ms: i64,
    monotonic_ms: i64,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Joins(Client),
    Gone(Arc<str>, Cause),
    Rebalance(Cause),
    State(&'static str, i32),
}

/// A member and whom it belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// The member's id.
    pub member: Arc<str>,
    /// The client's name for itself.
    pub client_id: Arc<str>,
    /// Where it joined from.
    pub host: Arc<str>,
}

/// One rebalance of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebalance {
    /// When it began, in milliseconds since the Unix epoch.
    pub wall_ms: i64,
    /// Why.
    pub cause: Cause,
    /// Whose doing it was, if anybody's.
    pub by: Option<Client>,
    /// Until everybody had joined; none while that is not so.
    pub joined_ms: Option<i64>,
    /// Until everybody had a share; none while that is not so.
    pub took_ms: Option<i64>,
    /// The generation it has led to.
    pub generation: Option<i32>,
    /// Who joined, and how long after the beginning.
    pub joins: Vec<(Client, i64)>,
    /// Who was put out meanwhile, and why.
    pub gone: Vec<(Client, Cause)>,
    /// The state it has ended in.
    pub state: Option<&'static str>,
}

impl Timeline {
    /// Takes note of it.
    pub fn note(&self, event: &Event, now: Now) {
        let (group, what) = match event {
            Event::MemberJoins {
                group,
                member,
                client_id,
                client_host,
            } => {
                let client = Client {
                    member: short(member),
                    client_id: short(client_id),
                    host: short(client_host),
                };
                (group, What::Joins(client))
            }
            Event::MemberGone {
                group,
                member,
                cause,
            } => (group, What::Gone(short(member), *cause)),
            Event::Rebalance { group, cause } => {
                *lock(&self.causes).entry(words(*cause)).or_default() += 1;
                (group, What::Rebalance(*cause))
            }
            Event::State {
                group,
                state,
                generation,
            } => (group, What::State(state, *generation)),
            Event::Refused { .. } | Event::RolledBack { .. } => return,
        };
        let mut moments = lock(&self.moments);
        if moments.len() == MOMENTS_MAX {
            moments.pop_front();
        }
        moments.push_back(Moment {
            group: short(group),
            wall_ms: now.wall_ms,
            monotonic_ms: now.monotonic_ms,
            what,
        });
    }

    /// The rebalances of a group that are remembered, the oldest first.
    pub fn rebalances(&self, group: &str) -> Vec<Rebalance> {
        let group = short(group);
        let moments = lock(&self.moments);
        let mut story = Story::default();
        for moment in moments.iter().filter(|moment| moment.group == group) {
            story.goes_on(moment);
        }
        story.rebalances
    }

    /// How many rebalances of each cause began in the broker's life.
    pub fn causes(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.causes).clone()
    }
}

/// Moments on their way to rebalances.
#[derive(Default)]
struct Story {
    rebalances: Vec<Rebalance>,
    /// When the one that is under way began.
    began_ms: Option<i64>,
    /// Everybody who was seen.
    known: BTreeMap<Arc<str>, Client>,
    /// Who came or went last: what follows at once is their doing.
    last: Option<Client>,
}

impl Story {
    fn goes_on(&mut self, moment: &Moment) {
        let since_ms = self.began_ms.map(|began_ms| moment.monotonic_ms - began_ms);
        let open = self.rebalances.last_mut().zip(since_ms);
        match &moment.what {
            What::Joins(client) => {
                self.known.insert(client.member.clone(), client.clone());
                if let Some((rebalance, since_ms)) = open {
                    rebalance.joins.push((client.clone(), since_ms));
                }
                self.last = Some(client.clone());
            }
            What::Gone(member, cause) => {
                let client = self.known.get(member).cloned().unwrap_or_else(|| Client {
                    member: member.clone(),
                    ..Client::default()
                });
                if let Some((rebalance, _)) = open {
                    rebalance.gone.push((client.clone(), *cause));
                }
                self.last = Some(client);
            }
            What::Rebalance(cause) => {
                let by = self.last.take();
                let has_come = matches!(
                    cause,
                    Cause::Joined
                        | Cause::SubscriptionChanged
                        | Cause::LeaderRejoined
                        | Cause::StaticMemberReturned
                );
                let first = by.clone().filter(|_| has_come);
                self.began_ms = Some(moment.monotonic_ms);
                self.rebalances.push(Rebalance {
                    wall_ms: moment.wall_ms,
                    cause: *cause,
                    by,
                    joined_ms: None,
                    took_ms: None,
                    generation: None,
                    joins: first.into_iter().map(|client| (client, 0)).collect(),
                    gone: Vec::new(),
                    state: None,
                });
            }
            What::State(state, generation) => {
                let Some((rebalance, since_ms)) = open else {
                    return;
                };
                match *state {
                    "CompletingRebalance" => {
                        rebalance.joined_ms = Some(since_ms);
                        rebalance.generation = Some(*generation);
                    }
                    "Stable" | "Empty" | "Dead" => {
                        rebalance.took_ms = Some(since_ms);
                        rebalance.generation = Some(*generation);
                        rebalance.state = Some(state);
                        self.began_ms = None;
                    }
                    _ => {}
                }
            }
        }
    }
}

fn short(name: &str) -> Arc<str> {
    match name.char_indices().nth(NAME_MAX) {
        Some((end, _)) => name.get(..end).unwrap_or_default().into(),
        None => name.into(),
    }
}

/// A cause in words for people and for labels.
pub fn words(cause: Cause) -> &'static str {
    match cause {
        Cause::Joined => "a new member joined",
        Cause::SubscriptionChanged => "a member changed its subscription",
        Cause::LeaderRejoined => "the leader asked for a new assignment",
        Cause::StaticMemberReturned => "a static member came back",
        Cause::Left => "a member left",
        Cause::SessionExpired => "a member was silent for its session timeout",
        Cause::NotRejoined => "a member did not join again in time",
        Cause::NotSynced => "a member did not fetch its share in time",
        Cause::TooLarge => "the group is larger than it may be",
        Cause::TopicsChanged => "topics were created, deleted or enlarged",
        Cause::NotRevoked => "a member did not give partitions up in time",
        Cause::Downgraded => "its last member of the new protocol is gone",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustka_core::group::State;

    fn at(ms: i64) -> Now {
        Now {
            wall_ms: 1_000 + ms,
            monotonic_ms: ms,
            ..Now::default()
        }
    }

    fn joins(member: &str) -> Event {
        Event::MemberJoins {
            group: "g".into(),
            member: member.into(),
            client_id: format!("client of {member}").as_str().into(),
            client_host: "/127.0.0.1".into(),
        }
    }

    fn state(state: State, generation: i32) -> Event {
        Event::State {
            group: "g".into(),
            state: state.name(),
            generation,
        }
    }

    #[test]
    fn a_rebalance_tells_whose_doing_it_was_and_who_was_waited_for() {
        use State::*;
        let timeline = Timeline::default();
        let story = [
            (0, joins("a")),
            (
                0,
                Event::Rebalance {
                    group: "g".into(),
                    cause: Cause::Joined,
                },
            ),
            (0, state(PreparingRebalance, 0)),
            (100, state(CompletingRebalance, 1)),
            (110, state(Stable, 1)),
            (200, joins("b")),
            (
                200,
                Event::Rebalance {
                    group: "g".into(),
                    cause: Cause::Joined,
                },
            ),
            (200, state(PreparingRebalance, 1)),
            (900, joins("a")),
            (900, state(CompletingRebalance, 2)),
            (950, state(Stable, 2)),
        ];
        for (ms, event) in &story {
            timeline.note(event, at(*ms));
        }
        let told = timeline.rebalances("g");
        assert_eq!(told.len(), 2);
        let second = &told[1];
        assert_eq!(
            second.by.as_ref().map(|by| &*by.client_id),
            Some("client of b")
        );
        assert_eq!(
            (second.joined_ms, second.took_ms, second.generation),
            (Some(700), Some(750), Some(2))
        );
        let waited: Vec<_> = second
            .joins
            .iter()
            .map(|(client, ms)| (&*client.member, *ms))
            .collect();
        assert_eq!(waited, [("b", 0), ("a", 700)]);
        assert!(timeline.rebalances("other").is_empty());
    }
}
