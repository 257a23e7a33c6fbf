//! Members of consumer groups that wait for what another is giving up: their answers are held back for moments.

use super::consumer::{JOINS, beat, hurried, of_reply, owning, places, send, with_topics, world};
use super::world::*;
use crate::error::ErrorCode;
use crate::group::command::*;
use crate::group::consumer::places::Places;
use crate::group::consumer::{Beat, Beaten};

fn ask(w: &mut World, beat: Beat) -> Ticket {
    w.send(Command::ConsumerBeat(Box::new(hurried(beat))))
}

fn told(w: &mut World, ticket: Ticket) -> (i32, Option<Places>) {
    let Beaten {
        epoch, assignment, ..
    } = of_reply(w.answer(ticket)).expect("a granted heartbeat");
    (epoch, assignment)
}

/// "a" has everything and has been told to give some up; "b" waits for it, in epoch 3.
fn waiting() -> World {
    let mut w = world();
    send(&mut w, hurried(beat("a", JOINS))).unwrap();
    send(&mut w, hurried(beat("b", JOINS))).unwrap();
    send(&mut w, hurried(beat("a", 2))).unwrap();
    w
}

#[test]
fn a_member_that_waits_hears_of_its_share_as_soon_as_it_is_free() {
    let mut w = waiting();
    let (short, full) = (beat("b", 3), owning("b", 3, &[]));
    for waits in [short, full] {
        let mut w2 = waiting();
        let ticket = ask(&mut w2, waits);
        w2.advance(7);
        assert!(w2.is_waiting(ticket));
        ask(&mut w2, owning("a", 2, &[0, 1]));
        assert_eq!(told(&mut w2, ticket), (3, Some(places(&[2]))));
        assert_eq!(w2.shard.soft_counts().parked, 0);
    }
    // A member that leaves sets its partitions free as well.
    let ticket = ask(&mut w, beat("b", 3));
    send(&mut w, hurried(beat("a", -1))).unwrap();
    assert_eq!(told(&mut w, ticket), (4, Some(places(&[0, 1, 2]))));
}

#[test]
fn what_does_not_come_is_not_waited_for() {
    let mut w = waiting();
    let ticket = ask(&mut w, beat("b", 3));
    w.advance(19);
    assert!(w.is_waiting(ticket));
    w.advance(1);
    assert_eq!(told(&mut w, ticket), (3, None));
    assert_eq!(w.shard.soft_counts().parked, 0);
    assert_eq!(
        w.shard.soft_counts().timers,
        3,
        "two sessions, a revocation"
    );
}

#[test]
fn who_has_nothing_to_wait_for_is_answered_at_once() {
    let mut w = waiting();
    // Kafka's ways.
    send(&mut w, beat("b", 3)).unwrap();
    // It has to give something up itself.
    send(&mut w, hurried(beat("a", 2))).unwrap();
    // There is news: its epoch has risen.
    with_topics(&mut w, 2, &[("t", 1, 4)]);
    send(&mut w, hurried(beat("b", 3))).unwrap();
}

#[test]
fn in_a_large_group_nobody_waits() {
    let last_waits = |members: i32| {
        let mut w = world();
        with_topics(&mut w, 2, &[("t", 1, 300)]);
        let name = |at: i32| format!("m{at:03}");
        let joins = (0..members).map(|at| send(&mut w, hurried(beat(&name(at), JOINS))).unwrap());
        let epoch = joins.last().expect("a member").epoch;
        let ticket = ask(&mut w, beat(&name(members - 1), epoch));
        w.is_waiting(ticket)
    };
    assert!(last_waits(100));
    assert!(!last_waits(101));
}

#[test]
fn a_member_that_is_heard_of_again_has_its_first_answer_before() {
    let mut w = waiting();
    let first = ask(&mut w, beat("b", 3));
    let second = ask(&mut w, beat("b", 3));
    assert_eq!(told(&mut w, first), (3, None));
    assert!(w.is_waiting(second));
    send(&mut w, hurried(beat("b", -1))).unwrap();
    assert_eq!(told(&mut w, second), (3, None));
    assert_eq!(w.shard.soft_counts().parked, 0);
}

#[test]
fn who_hangs_up_while_it_waits_is_not_answered_and_still_a_member() {
    let mut w = waiting();
    let gone = ask(&mut w, beat("b", 3));
    w.disconnect(gone);
    w.advance(50);
    assert!(w.is_waiting(gone));
    assert_eq!(w.shard.soft_counts().parked, 0);
    ask(&mut w, owning("a", 2, &[0, 1]));
    let again = ask(&mut w, beat("b", 3));
    assert_eq!(told(&mut w, again), (3, Some(places(&[2]))));
}

#[test]
fn a_member_that_is_taken_out_while_it_waits_is_told_so() {
    let mut w = waiting();
    let mut joins = hurried(beat("c", JOINS));
    joins.instance_id = Some(n("i"));
    send(&mut w, joins).unwrap();
    let waits = ask(&mut w, beat("c", 4));
    assert!(w.is_waiting(waits));
    let leave = Leave {
        group: n("g"),
        members: vec![Leaver {
            member_id: n(""),
            instance_id: Some(n("i")),
        }],
    };
    w.ask(Command::Leave(leave));
    let refused = of_reply(w.answer(waits)).unwrap_err();
    assert_eq!(refused.code, ErrorCode::UnknownMemberId);
}

#[test]
fn a_share_is_not_told_before_it_is_durable_and_a_lost_one_sends_away_who_waits() {
    let mut w = waiting();
    w.journal = Journal::Later;
    let waits = ask(&mut w, beat("b", 3));
    ask(&mut w, owning("a", 2, &[0, 1]));
    assert!(w.is_waiting(waits));
    w.settle_all();
    assert_eq!(told(&mut w, waits), (3, Some(places(&[2]))));

    let mut w = waiting();
    w.journal = Journal::Later;
    let waits = ask(&mut w, beat("b", 3));
    ask(&mut w, owning("a", 2, &[0, 1]));
    w.failing.extend(w.open.iter().map(|entry| entry.position));
    w.settle_all();
    let refused = of_reply(w.answer(waits)).unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotCoordinator);
}
