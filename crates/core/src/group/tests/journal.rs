//! The journal answers at once, later, out of step, or not at all: nobody hears of what is not durable.

use super::world::*;
use crate::error::ErrorCode;
use crate::group::command::*;
use crate::group::effects::*;
use crate::group::{GroupOptions, State};

#[test]
fn no_answer_leaves_before_its_record_is_durable() {
    let mut w = World::new();
    let ids = w.stable(&["a"]);
    w.journal = Journal::Later;
    let commit = w.send(Command::OffsetCommit(w.commit_of(&ids[0], 1, 7)));
    let fetch = w.send(World::fetch_command());
    let beat = w.send(Command::Heartbeat(Heartbeat {
        group: n("g"),
        member_id: ids[0].clone(),
        instance_id: None,
        generation: 1,
    }));
    for ticket in [commit, fetch, beat] {
        assert!(w.is_waiting(ticket), "not even a fetch");
    }
    w.settle(0);
    assert_eq!(first_code(w.answer(commit)), ErrorCode::None);
    assert_eq!(fetched(w.answer(fetch)), 7);
    assert_eq!(w.answer(beat), Reply::Heartbeat(ErrorCode::None));
}

#[test]
fn answers_wait_for_every_earlier_entry_of_their_group() {
    let mut w = World::new();
    w.journal = Journal::Later;
    let first = w.send(Command::OffsetCommit(w.commit_of("", -1, 1)));
    let second = w.send(Command::OffsetCommit(w.commit_of("", -1, 2)));
    w.settle(1);
    assert!(w.is_waiting(first) && w.is_waiting(second));
    w.settle(0);
    assert_eq!(w.sent[0].0, first);
    assert_eq!(w.sent[1].0, second);
    assert_eq!(w.fetch(), 2);
}

#[test]
fn nobody_waits_for_the_records_of_another_group() {
    let mut w = World::new();
    let ids = w.stable(&["a"]);
    w.journal = Journal::Later;
    let mut other = w.commit_of("", -1, 1);
    other.group = n("other");
    let other = w.send(Command::OffsetCommit(other));
    let absent = w.send(Command::Heartbeat(Heartbeat {
        group: n("absent"),
        member_id: ids[0].clone(),
        instance_id: None,
        generation: 1,
    }));
    assert_eq!(w.heartbeat(&ids[0], 1), ErrorCode::None);
    assert_eq!(
        w.answer(absent),
        Reply::Heartbeat(ErrorCode::UnknownMemberId)
    );
    // What is said of all groups waits for all of them.
    let listed = w.send(Command::ListGroups(ListGroups::default()));
    assert!(w.is_waiting(other) && w.is_waiting(listed));
    w.settle(0);
    assert!(!w.is_waiting(other) && !w.is_waiting(listed));
}

#[test]
fn shares_are_given_out_when_the_assignment_is_durable() {
    let mut w = World::new();
    let ids: Vec<Name> = ["a", "b"].map(|client| w.enter(client)).to_vec();
    for id in &ids {
        w.join(id);
    }
    w.advance(100);
    w.journal = Journal::Later;
    let syncs: Vec<Ticket> = ids.iter().map(|id| w.sync(id, 1, &ids)).collect();
    let describe = w.send(Command::DescribeGroup { group: n("g") });
    assert!(syncs.iter().all(|ticket| w.is_waiting(*ticket)));
    w.settle(0);
    for (at, ticket) in syncs.iter().enumerate() {
        assert_eq!(w.synced(*ticket), Ok(vec![at as u8]));
    }
    let Reply::DescribeGroup(Ok(Some(group))) = w.answer(describe) else {
        panic!()
    };
    assert_eq!(group.state, State::CompletingRebalance, "when it was asked");
    assert_eq!(w.state(), State::Stable);
}

#[test]
fn an_assignment_that_becomes_durable_too_late_is_not_given_out() {
    let mut w = World::new();
    let ids: Vec<Name> = ["a", "b"].map(|client| w.enter(client)).to_vec();
    for id in &ids {
        w.join(id);
    }
    w.advance(100);
    w.journal = Journal::Later;
    let sync = w.sync(&ids[0], 1, &ids);
    let leaver = Leaver {
        member_id: ids[1].clone(),
        instance_id: None,
    };
    w.send(Command::Leave(Leave {
        group: n("g"),
        members: vec![leaver],
    }));
    w.settle_all();
    assert_eq!(w.synced(sync), Err(ErrorCode::RebalanceInProgress));
    assert_eq!(w.state_now(), State::PreparingRebalance);
}

#[test]
fn a_lost_commit_is_refused_and_forgotten() {
    let mut w = World::new();
    w.commit("", -1, 5);
    w.journal = Journal::Later;
    let lost = w.send(Command::OffsetCommit(w.commit_of("", -1, 6)));
    let fetch = w.send(World::fetch_command());
    w.failing.insert(w.open[0].position);
    w.settle(0);
    assert_eq!(first_code(w.answer(lost)), ErrorCode::NotCoordinator);
    let reply = w.answer(fetch);
    assert_eq!(reply, Reply::OffsetFetch(Err(ErrorCode::NotCoordinator)));
    assert_eq!(w.fetch(), 5);
}

#[test]
fn a_lost_commit_does_not_undo_a_later_one() {
    for order in [[0, 0], [1, 0]] {
        let mut w = World::new();
        w.commit("", -1, 5);
        w.journal = Journal::Later;
        w.send(Command::OffsetCommit(w.commit_of("", -1, 6)));
        w.send(Command::OffsetCommit(w.commit_of("", -1, 7)));
        w.failing.insert(w.open[0].position);
        for at in order {
            w.settle(at);
        }
        assert_eq!(w.fetch(), 7);
    }
}

#[test]
fn two_lost_commits_lead_back_to_what_was_durable() {
    for order in [[0, 0], [1, 0]] {
        let mut w = World::new();
        w.commit("", -1, 5);
        w.journal = Journal::Later;
        w.send(Command::OffsetCommit(w.commit_of("", -1, 6)));
        w.send(Command::OffsetCommit(w.commit_of("", -1, 7)));
        w.failing.extend(w.open.iter().map(|entry| entry.position));
        for at in order {
            w.settle(at);
        }
        assert_eq!(w.fetch(), 5);
    }
}

#[test]
fn a_lost_assignment_sends_its_group_back_and_no_other() {
    let mut w = World::new();
    let ids: Vec<Name> = ["a", "b"].map(|client| w.enter(client)).to_vec();
    for id in &ids {
        w.join(id);
    }
    w.advance(100);
    w.journal = Journal::Later;
    let syncs: Vec<Ticket> = ids.iter().map(|id| w.sync(id, 1, &ids)).collect();
    let mut other = w.commit_of("", -1, 9);
    other.group = n("other");
    let other = w.send(Command::OffsetCommit(other));
    w.failing.insert(w.open[0].position);
    w.settle_all();
    for ticket in syncs {
        assert_eq!(w.synced(ticket), Err(ErrorCode::NotCoordinator));
    }
    assert_eq!(first_code(w.answer(other)), ErrorCode::None);
    // Nobody was a member on record; both start over, in a generation never seen.
    assert_eq!(w.heartbeat(&ids[0], 1), ErrorCode::UnknownMemberId);
    assert!(w.events.contains(&Event::RolledBack { group: n("g") }));
    w.journal = Journal::AtOnce;
    let again = w.enter("a");
    let ticket = w.join(&again);
    w.advance(100);
    assert_eq!(w.joined(ticket).generation, 2);
}

#[test]
fn a_group_that_could_not_be_created_does_not_exist() {
    let mut w = World::new();
    w.failing.insert(1);
    let join = w.join_of("a", "");
    let refused = join_refused(w.ask(Command::Join(join)));
    assert_eq!(refused.code, ErrorCode::NotCoordinator);
    assert!(w.shard.is_empty());
    assert_eq!(w.shard.soft_counts().timers, 0);
}

#[test]
fn a_group_that_could_not_be_deleted_is_back() {
    let mut w = World::new();
    w.commit("", -1, 5);
    w.journal = Journal::Later;
    let delete = w.send(Command::DeleteGroup { group: n("g") });
    let fetch = w.send(World::fetch_command());
    w.failing.insert(w.open[0].position);
    w.settle(0);
    assert_eq!(
        w.answer(delete),
        Reply::DeleteGroup(ErrorCode::NotCoordinator.into())
    );
    assert_ne!(fetched_or_refused(w.answer(fetch)), Some(-1));
    assert_eq!(w.fetch(), 5);
}

#[test]
fn a_group_deleted_and_created_again_before_either_is_durable() {
    let mut w = World::new();
    let ids = w.stable(&["a"]);
    w.leave(&ids[0]);
    w.journal = Journal::Later;
    w.send(Command::DeleteGroup { group: n("g") });
    let commit = w.send(Command::OffsetCommit(w.commit_of("", -1, 1)));
    w.settle(1);
    w.settle(0);
    assert_eq!(first_code(w.answer(commit)), ErrorCode::None);
    assert_eq!(w.fetch(), 1);
    w.restart(GroupOptions::default());
    w.journal = Journal::AtOnce;
    assert_eq!(w.fetch(), 1);
    assert_eq!(w.describe().unwrap().protocol_type, n(""));
}

#[test]
fn a_static_member_whose_return_was_lost_is_the_old_one_again() {
    let mut w = World::new();
    let first = w.join_static("x", "");
    w.advance(500);
    let old_id = w.joined(first).member_id;
    w.sync(&old_id, 1, std::slice::from_ref(&old_id));
    w.journal = Journal::Later;
    let back = w.join_static("x", "");
    assert!(w.is_waiting(back));
    w.failing.insert(w.open[0].position);
    w.settle(0);
    assert_eq!(w.join_code(back), ErrorCode::NotCoordinator);
    w.journal = Journal::AtOnce;
    assert_eq!(w.heartbeat(&old_id, 1), ErrorCode::None);
}

#[test]
fn after_a_restart_members_go_on_and_sessions_start_anew() {
    let mut w = World::new();
    let ids = w.stable(&["a", "b"]);
    w.commit(&ids[0], 1, 7);
    w.advance(9_000);
    w.restart(GroupOptions::default());
    w.advance(9_000);
    assert_eq!(w.heartbeat(&ids[0], 1), ErrorCode::None);
    let sync = w.sync(&ids[0], 1, &[]);
    assert_eq!(w.synced(sync), Ok(vec![0]));
    assert_eq!(w.fetch(), 7);
    w.advance(1_000);
    assert_eq!(w.heartbeat(&ids[1], 1), ErrorCode::UnknownMemberId);
}

#[test]
fn a_restart_in_the_middle_of_a_rebalance_goes_back_to_the_last_generation() {
    let mut w = World::new();
    let ids = w.stable(&["a"]);
    let b = w.enter("b");
    w.join(&b);
    let again = w.join(&ids[0]);
    assert_eq!(w.joined(again).generation, 2);
    w.restart(GroupOptions::default());
    assert_eq!(w.heartbeat(&ids[0], 2), ErrorCode::IllegalGeneration);
    assert_eq!(w.heartbeat(&b, 2), ErrorCode::UnknownMemberId);
    let again = w.join(&ids[0]);
    assert_eq!(w.joined(again).generation, 2);
}

#[test]
fn live_records_say_what_the_journal_said() {
    let mut w = World::new();
    let ids = w.stable(&["a", "b"]);
    for offset in 0..50 {
        w.commit(&ids[0], 1, offset);
    }
    let live: Vec<_> = w.shard.live().collect();
    assert_eq!(live.len(), 2, "one group and one offset");
    let mut copy = World::new();
    for record in live {
        copy.shard.apply(record);
    }
    assert_eq!(copy.fetch(), 49);
}

fn fetched_or_refused(reply: Reply) -> Option<i64> {
    match reply {
        Reply::OffsetFetch(Ok(_)) => Some(fetched(reply)),
        _ => None,
    }
}
