//! Consumer groups of the new protocol: one member and two, deadlines, restarts, and a journal that fails.

use std::sync::Arc;

use super::world::*;
use crate::error::{ErrorCode, Refusal};
use crate::group::GroupOptions;
use crate::group::command::*;
use crate::group::consumer::places::{Place, Places};
use crate::group::consumer::records::ConsumerRecord;
use crate::group::consumer::topics::{Topic, Topics};
use crate::group::consumer::{Beat, Beaten, ConsumerDescribed, Resolved, Settings};
use crate::group::effects::*;
use crate::group::records::Record;

pub(super) const JOINS: i32 = 0;
const SESSION_MS: i32 = 45_000;
const HEARTBEAT_MS: i32 = 5_000;
const INTERVAL_MS: i32 = 1_000;

/// The partitions of "t", whose id is all ones.
pub(super) fn places(partitions: &[i32]) -> Places {
    let place = |partition: &i32| Place {
        topic: [1; 16],
        partition: *partition,
    };
    partitions.iter().map(place).collect()
}

pub(super) fn with_topics(w: &mut World, version: u64, topics: &[(&str, u8, i32)]) {
    let topics = topics.iter().map(|(name, id, partitions)| {
        let topic = Topic {
            id: [*id; 16],
            partitions: *partitions,
        };
        (n(name), topic)
    });
    w.shard.set_topics(&Arc::new(Topics::new(version, topics)));
}

/// A world with the topic "t" of three partitions.
pub(super) fn world() -> World {
    let mut w = World::strict();
    with_topics(&mut w, 1, &[("t", 1, 3)]);
    w
}

/// A heartbeat that says no more than it must.
pub(super) fn beat(member: &str, epoch: i32) -> Beat {
    let joins = epoch == JOINS;
    Beat {
        group: n("g"),
        member_id: n(member),
        epoch,
        instance_id: None,
        rack_id: None,
        rebalance_timeout_ms: if joins { 60_000 } else { -1 },
        topics: joins.then(|| vec![n("t")]),
        expression: None,
        assignor: None,
        owned: joins.then(Places::default),
        client_id: n(member),
        client_host: n("/127.0.0.1"),
        settings: Settings {
            session_timeout_ms: SESSION_MS,
            heartbeat_interval_ms: HEARTBEAT_MS,
            assignment_interval_ms: INTERVAL_MS,
            refresh_interval_ms: 600_000,
            hurries: false,
        },
    }
}

pub(super) fn owning(member: &str, epoch: i32, partitions: &[i32]) -> Beat {
    Beat {
        owned: Some(places(partitions)),
        ..beat(member, epoch)
    }
}

pub(super) fn of_reply(reply: Reply) -> Result<Beaten, Refusal> {
    match reply {
        Reply::ConsumerBeat(result) => result,
        other => panic!("{other:?}"),
    }
}

pub(super) fn send(w: &mut World, beat: Beat) -> Result<Beaten, Refusal> {
    of_reply(w.ask(Command::ConsumerBeat(Box::new(beat))))
}

/// The epoch and what is assigned, if that is told.
fn told(w: &mut World, beat: Beat) -> (i32, Option<Places>) {
    let beaten = send(w, beat).expect("a granted heartbeat");
    (beaten.epoch, beaten.assignment)
}

fn code(w: &mut World, beat: Beat) -> ErrorCode {
    send(w, beat).map_or_else(|refusal| refusal.code, |_| ErrorCode::None)
}

fn describe(w: &mut World) -> ConsumerDescribed {
    let reply = w.ask(Command::DescribeConsumerGroup { group: n("g") });
    match reply {
        Reply::DescribeConsumerGroup(Ok(described)) => described,
        other => panic!("{other:?}"),
    }
}

/// Two members that have settled: "a" has two partitions, "b" the last one, in epoch 3.
fn settled(w: &mut World) {
    send(w, beat("a", JOINS)).unwrap();
    w.advance(1_100);
    send(w, beat("b", JOINS)).unwrap();
    send(w, beat("a", 2)).unwrap();
    send(w, owning("a", 2, &[0, 1])).unwrap();
    send(w, beat("b", 3)).unwrap();
    assert_eq!(describe(w).state.name(), "Stable");
}

#[test]
fn the_first_member_gets_everything_at_once() {
    let mut w = world();
    let got = told(&mut w, beat("a", JOINS));
    assert_eq!(got, (2, Some(places(&[0, 1, 2]))));
    assert_eq!(told(&mut w, beat("a", 2)), (2, None));
}

#[test]
fn a_partition_is_given_up_before_another_member_gets_it() {
    let mut w = world();
    send(&mut w, beat("a", JOINS)).unwrap();
    w.advance(1_100);
    assert_eq!(told(&mut w, beat("b", JOINS)), (3, Some(places(&[]))));
    assert_eq!(told(&mut w, beat("a", 2)), (2, Some(places(&[0, 1]))));
    assert_eq!(told(&mut w, beat("b", 3)), (3, None));
    assert_eq!(told(&mut w, owning("a", 2, &[0, 1, 2])), (2, None));
    assert_eq!(told(&mut w, owning("a", 2, &[0, 1])), (3, None));
    assert_eq!(told(&mut w, beat("b", 3)), (3, Some(places(&[2]))));
}

#[test]
fn a_target_holds_for_its_interval_unless_that_is_nothing() {
    let mut w = world();
    send(&mut w, beat("a", JOINS)).unwrap();
    assert_eq!(told(&mut w, beat("b", JOINS)), (2, Some(places(&[]))));
    assert_eq!(describe(&mut w).state.name(), "Assigning");
    let mut hasty = beat("c", JOINS);
    hasty.settings.assignment_interval_ms = 0;
    assert_eq!(told(&mut w, hasty).0, 4);
}

#[test]
fn a_silent_member_is_given_up_and_its_partitions_go_on() {
    let mut w = world();
    settled(&mut w);
    w.advance(40_000);
    send(&mut w, beat("a", 3)).unwrap();
    w.advance(6_000);
    assert_eq!(code(&mut w, beat("b", 3)), ErrorCode::UnknownMemberId);
    assert_eq!(told(&mut w, beat("a", 3)), (4, Some(places(&[0, 1, 2]))));
}

#[test]
fn a_member_that_does_not_revoke_in_time_is_given_up_although_it_is_heard() {
    let mut w = world();
    let join = Beat {
        rebalance_timeout_ms: 7_000,
        ..beat("a", JOINS)
    };
    send(&mut w, join).unwrap();
    w.advance(1_100);
    send(&mut w, beat("b", JOINS)).unwrap();
    send(&mut w, beat("a", 2)).unwrap();
    w.advance(6_900);
    assert_eq!(code(&mut w, beat("a", 2)), ErrorCode::None);
    w.advance(200);
    assert_eq!(code(&mut w, beat("a", 2)), ErrorCode::UnknownMemberId);
    assert_eq!(told(&mut w, beat("b", 3)), (4, Some(places(&[0, 1, 2]))));
}

#[test]
fn a_member_with_a_lost_answer_goes_on_and_one_with_too_much_is_fenced() {
    let mut w = world();
    settled(&mut w);
    assert_eq!(told(&mut w, owning("a", 2, &[0])), (3, None));
    let too_much = owning("a", 2, &[0, 1, 2]);
    assert_eq!(code(&mut w, too_much), ErrorCode::FencedMemberEpoch);
    assert_eq!(code(&mut w, beat("a", 2)), ErrorCode::FencedMemberEpoch);
    assert_eq!(code(&mut w, beat("a", 4)), ErrorCode::FencedMemberEpoch);
}

#[test]
fn a_larger_topic_is_found_at_the_next_heartbeat() {
    let mut w = world();
    settled(&mut w);
    w.advance(1_100);
    with_topics(&mut w, 2, &[("other", 2, 1), ("t", 1, 3)]);
    assert_eq!(
        told(&mut w, beat("a", 3)),
        (3, None),
        "it is none of its topics"
    );
    with_topics(&mut w, 3, &[("other", 2, 1), ("t", 1, 4)]);
    assert_eq!(told(&mut w, beat("b", 3)), (4, Some(places(&[2, 3]))));
}

#[test]
fn after_a_restart_a_group_goes_on_where_its_journal_ends() {
    let mut w = world();
    send(&mut w, beat("a", JOINS)).unwrap();
    w.advance(1_100);
    send(&mut w, beat("b", JOINS)).unwrap();
    send(&mut w, beat("a", 2)).unwrap();
    let before = describe(&mut w);
    w.restart(GroupOptions::default());
    with_topics(&mut w, 1, &[("t", 1, 3)]);
    assert_eq!(describe(&mut w), before);
    assert_eq!(told(&mut w, owning("a", 2, &[0, 1])), (3, None));
    assert_eq!(told(&mut w, beat("b", 3)), (3, Some(places(&[2]))));
}

#[test]
fn live_records_say_what_the_journal_said() {
    let mut w = world();
    settled(&mut w);
    let before = describe(&mut w);
    let mut copy = world();
    for record in w.shard.live().collect::<Vec<_>>() {
        copy.shard.apply(record);
    }
    assert_eq!(describe(&mut copy), before);
}

#[test]
fn nobody_hears_of_a_share_that_is_not_durable_and_a_lost_one_is_forgotten() {
    let mut w = world();
    settled(&mut w);
    let before = describe(&mut w);
    w.advance(1_100);
    w.journal = Journal::Later;
    let join = w.send(Command::ConsumerBeat(Box::new(beat("c", JOINS))));
    assert!(w.is_waiting(join));
    w.failing.insert(w.open[0].position);
    w.settle(0);
    let reply = of_reply(w.answer(join));
    assert_eq!(reply.unwrap_err().code, ErrorCode::NotCoordinator);
    w.journal = Journal::AtOnce;
    assert_eq!(describe(&mut w), before);
    assert_eq!(code(&mut w, beat("c", 4)), ErrorCode::UnknownMemberId);
    assert_eq!(code(&mut w, beat("a", 3)), ErrorCode::None);
}

#[test]
fn a_group_that_could_not_be_created_does_not_exist() {
    let mut w = world();
    w.failing.insert(1);
    let refused = send(&mut w, beat("a", JOINS)).unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotCoordinator);
    assert!(w.shard.is_empty());
    assert_eq!(w.shard.soft_counts().timers, 0);
}

#[test]
fn an_empty_group_becomes_one_of_the_other_protocol_and_keeps_its_offsets() {
    let mut w = world();
    w.commit("", -1, 7);
    send(&mut w, beat("a", JOINS)).unwrap();
    assert_eq!(w.fetch(), 7);
    let leaves = beat("a", -1);
    send(&mut w, leaves).unwrap();
    let ids = w.stable(&["k"]);
    assert_eq!(w.fetch(), 7);
    assert_eq!(w.heartbeat(&ids[0], 1), ErrorCode::None);
    assert_eq!(code(&mut w, beat("a", 2)), ErrorCode::GroupIdNotFound);
    w.leave(&ids[0]);
    assert_eq!(told(&mut w, beat("a", JOINS)).0, 2);
    assert_eq!(w.fetch(), 7);
}

#[test]
fn commits_are_checked_against_the_epoch_in_which_a_partition_was_given() {
    let mut w = world();
    settled(&mut w);
    let commit = |w: &mut World, member: &str, epoch: i32| w.commit(member, epoch, 9);
    assert_eq!(commit(&mut w, "a", 3), ErrorCode::None);
    assert_eq!(
        commit(&mut w, "a", 2),
        ErrorCode::None,
        "it had it in epoch 2"
    );
    assert_eq!(commit(&mut w, "a", 1), ErrorCode::StaleMemberEpoch);
    assert_eq!(commit(&mut w, "b", 2), ErrorCode::StaleMemberEpoch);
    assert_eq!(commit(&mut w, "c", 3), ErrorCode::UnknownMemberId);
}

#[test]
fn the_short_way_of_a_heartbeat_agrees_with_the_long_one() {
    let mut w = world();
    settled(&mut w);
    let settings = beat("a", 3).settings;
    let short = |w: &mut World, member: &str, epoch: i32, version: u64| {
        let client = (member, "/127.0.0.1");
        let now = w.now;
        w.shard
            .consumer_beat(now, "g", (member, epoch), client, settings, version)
    };
    let beaten = short(&mut w, "a", 3, 1).expect("nothing is to be decided");
    assert_eq!(Ok(beaten), send(&mut w, beat("a", 3)));
    assert_eq!(short(&mut w, "a", 2, 1), None);
    assert_eq!(short(&mut w, "a", 3, 2), None, "topics have changed");
    assert_eq!(short(&mut w, "x", 3, 1), None);
    // It keeps the member alive.
    for _ in 0..10 {
        w.advance(10_000);
        send(&mut w, beat("b", 3)).unwrap();
        assert!(short(&mut w, "a", 3, 1).is_some());
    }
}

/// As it is without `--strict`.
pub(super) fn hurried(mut beat: Beat) -> Beat {
    beat.settings.hurries = true;
    beat.settings.assignment_interval_ms = 0;
    beat
}

#[test]
fn members_are_heard_more_often_until_they_have_settled() {
    let mut w = world();
    let interval = |w: &mut World, beat: Beat| {
        let ticket = w.send(Command::ConsumerBeat(Box::new(hurried(beat))));
        // A member that waits is answered a little later.
        w.advance(20);
        of_reply(w.answer(ticket)).unwrap().heartbeat_interval_ms
    };
    assert_eq!(
        interval(&mut w, beat("a", JOINS)),
        100,
        "others may be starting too"
    );
    w.advance(1_000);
    assert_eq!(interval(&mut w, beat("a", 2)), HEARTBEAT_MS);
    assert_eq!(interval(&mut w, beat("b", JOINS)), 100);
    w.advance(2_000);
    assert_eq!(
        interval(&mut w, beat("b", 3)),
        100,
        "it waits for a partition"
    );
    assert_eq!(interval(&mut w, beat("a", 2)), 100, "it has to give one up");
    assert_eq!(interval(&mut w, owning("a", 2, &[0, 1])), HEARTBEAT_MS);
    assert_eq!(interval(&mut w, beat("b", 3)), HEARTBEAT_MS);
}

/// A join by an expression alone.
fn by_expression(member: &str, expression: &str) -> Beat {
    Beat {
        topics: None,
        expression: Some(n(expression)),
        ..beat(member, JOINS)
    }
}

/// Somebody has looked which topics the expression matches.
fn resolved(w: &mut World, expression: &str, topics: &[&str], version: u64) {
    let topics = topics.iter().map(|topic| n(topic)).collect();
    let reply = w.ask(Command::ExpressionsResolved(Resolved {
        group: n("g"),
        matches: vec![(n(expression), topics)],
        version,
    }));
    assert_eq!(reply, Reply::ExpressionsResolved);
}

#[test]
fn topics_of_an_expression_come_with_the_heartbeat_after_somebody_has_looked() {
    let mut w = world();
    let joined = send(&mut w, by_expression("a", "t.*")).unwrap();
    assert_eq!((joined.epoch, joined.assignment), (1, Some(places(&[]))));
    assert_eq!(joined.unresolved, [n("t.*")]);
    let meanwhile = send(&mut w, beat("a", 1)).unwrap();
    assert!(meanwhile.unresolved.is_empty(), "somebody is looking");
    resolved(&mut w, "t.*", &["t"], 1);
    assert_eq!(told(&mut w, beat("a", 1)), (2, Some(places(&[0, 1, 2]))));
    assert_eq!(told(&mut w, by_expression("b", "t.*")).0, 2, "it is known");
}

#[test]
fn expressions_are_looked_at_again_when_topics_have_changed_but_not_all_the_time() {
    let mut w = world();
    send(&mut w, by_expression("a", "t.*")).unwrap();
    resolved(&mut w, "t.*", &["t"], 1);
    send(&mut w, beat("a", 1)).unwrap();
    with_topics(&mut w, 2, &[("t", 1, 3), ("tt", 2, 1)]);
    assert!(send(&mut w, beat("a", 2)).unwrap().unresolved.is_empty());
    w.advance(10_100);
    assert_eq!(send(&mut w, beat("a", 2)).unwrap().unresolved, [n("t.*")]);
    resolved(&mut w, "t.*", &["t", "tt"], 2);
    let (epoch, got) = told(&mut w, beat("a", 2));
    assert_eq!((epoch, got.map(|places| places.len())), (3, Some(4)));
    w.advance(11_000);
    assert!(send(&mut w, beat("a", 3)).unwrap().unresolved.is_empty());
}

#[test]
fn what_nobody_asks_for_any_more_is_not_kept() {
    let mut w = world();
    send(&mut w, by_expression("a", "t.*")).unwrap();
    resolved(&mut w, "other", &["t"], 1);
    assert_eq!(told(&mut w, beat("a", 1)).0, 1);
    resolved(&mut w, "t.*", &["t"], 1);
    send(&mut w, beat("a", 1)).unwrap();
    w.advance(1_100);
    let drops = Beat {
        expression: Some(n("")),
        ..beat("a", 2)
    };
    assert_eq!(
        told(&mut w, drops),
        (2, Some(places(&[]))),
        "it has to give up all"
    );
    let expressions = w.shard.live().filter(|record| {
        let Record::Consumer { value, .. } = record else {
            return false;
        };
        matches!(value, ConsumerRecord::Expression(..))
    });
    assert_eq!(expressions.count(), 0);
}
