//! JoinGroup: ids, pending ids, protocols. Rows E85 to E94, E97.

use super::world::*;
use crate::error::ErrorCode;
use crate::group::command::*;
use crate::group::effects::Reply;
use crate::group::{GroupOptions, State};

#[test]
fn an_empty_group_id_is_refused_in_the_group_requests() {
    let mut w = World::new();
    let mut join = w.join_of("a", "");
    join.group = n("");
    let refused = join_refused(w.ask(Command::Join(join)));
    assert_eq!(refused.code, ErrorCode::InvalidGroupId);
    let beat = w.ask(Command::Heartbeat(Heartbeat {
        group: n(""),
        member_id: n("a"),
        instance_id: None,
        generation: 0,
    }));
    assert_eq!(beat, Reply::Heartbeat(ErrorCode::InvalidGroupId));
    let leave = w.ask(Command::Leave(Leave {
        group: n(""),
        members: vec![],
    }));
    assert_eq!(leave, Reply::Leave(Err(ErrorCode::InvalidGroupId)));
    let sync = w.ask(Command::Sync(Sync {
        group: n(""),
        member_id: n("a"),
        instance_id: None,
        generation: 0,
        protocol_type: None,
        protocol_name: None,
        assignments: vec![],
    }));
    assert_eq!(sync, Reply::Sync(Err(ErrorCode::InvalidGroupId)));
}

#[test]
fn a_session_timeout_outside_the_limits_is_refused() {
    let mut w = World::new();
    for session_timeout_ms in [5_999, 1_800_001, -1] {
        let mut join = w.join_of("a", "");
        join.session_timeout_ms = session_timeout_ms;
        let refused = join_refused(w.ask(Command::Join(join)));
        assert_eq!(refused.code, ErrorCode::InvalidSessionTimeout);
    }
    assert!(w.shard.is_empty());
}

#[test]
fn a_new_dynamic_member_is_given_an_id_to_come_back_with() {
    let mut w = World::new();
    let id = w.enter("client");
    assert_eq!(&*id, "client-00000000-0000-0000-0000-000000000001");
    // The group exists although nobody is in it, and it is on record.
    assert_eq!(w.state(), State::Empty);
    assert_eq!(w.durable.len(), 1);
    let ticket = w.join(&id);
    w.advance(100);
    assert_eq!(w.joined(ticket).member_id, id);
}

#[test]
fn an_id_nobody_comes_back_with_ends_with_its_session_timeout() {
    let mut w = World::new();
    let id = w.enter("client");
    w.advance(9_999);
    assert_eq!(w.shard.soft_counts().pending, 1);
    w.advance(1);
    assert_eq!(w.shard.soft_counts().pending, 0);
    let ticket = w.join(&id);
    assert_eq!(w.join_code(ticket), ErrorCode::UnknownMemberId);
}

#[test]
fn before_v4_a_new_member_joins_at_once() {
    let mut w = World::new();
    let mut join = w.join_of("old", "");
    join.member_id_required = false;
    let ticket = w.send(Command::Join(join));
    w.advance(100);
    assert!(w.joined(ticket).member_id.starts_with("old-"));
}

#[test]
fn unknown_member_ids_are_unknown_whether_or_not_the_group_exists() {
    let mut w = World::new();
    let ticket = w.join("ghost");
    assert_eq!(w.join_code(ticket), ErrorCode::UnknownMemberId);
    assert!(w.shard.is_empty());
    w.stable(&["a"]);
    let ticket = w.join("ghost");
    assert_eq!(w.join_code(ticket), ErrorCode::UnknownMemberId);
}

#[test]
fn a_member_must_speak_what_the_group_speaks() {
    let mut w = World::new();
    let mut join = w.join_of("a", "");
    join.protocols.clear();
    let refused = join_refused(w.ask(Command::Join(join)));
    assert_eq!(refused.code, ErrorCode::InconsistentGroupProtocol);
    w.stable(&["a"]);
    let mut join = w.join_of("b", "");
    join.protocol_type = n("connect");
    let refused = join_refused(w.ask(Command::Join(join)));
    assert_eq!(refused.code, ErrorCode::InconsistentGroupProtocol);
    let mut join = w.join_of("b", "");
    join.protocols = vec![protocol("sticky", &["t"])];
    let refused = join_refused(w.ask(Command::Join(join)));
    assert_eq!(refused.code, ErrorCode::InconsistentGroupProtocol);
}

#[test]
fn the_assignor_with_most_votes_among_those_all_support_is_chosen() {
    let mut w = World::new();
    let lists = [
        vec!["sticky", "range", "robin"],
        vec!["robin", "range"],
        vec!["range", "robin"],
        vec!["range", "robin", "sticky"],
    ];
    let mut tickets = Vec::new();
    for list in lists {
        let id = w.enter("m");
        let mut join = w.join_of("m", &id);
        join.protocols = list.iter().map(|name| protocol(name, &["t"])).collect();
        tickets.push(w.send(Command::Join(join)));
    }
    w.advance(500);
    for ticket in tickets {
        assert_eq!(w.joined(ticket).protocol_name, Some(n("range")));
    }
}

#[test]
fn a_protocol_listed_twice_counts_once() {
    let mut w = World::new();
    let id = w.enter("m");
    let mut join = w.join_of("m", &id);
    join.protocols = vec![protocol("range", &["t"]), protocol("range", &["u"])];
    let ticket = w.send(Command::Join(join));
    w.advance(100);
    assert_eq!(w.joined(ticket).protocol_name, Some(n("range")));
    let other = w.enter("o");
    let ticket = w.join(&other);
    assert!(w.is_waiting(ticket));
}

#[test]
fn only_the_leader_is_told_who_is_in_the_group() {
    let mut w = World::new();
    let ids: Vec<Name> = ["a", "b"].map(|client| w.enter(client)).to_vec();
    let tickets: Vec<Ticket> = ids.iter().map(|id| w.join(id)).collect();
    w.advance(500);
    let leader = w.joined(tickets[0]);
    assert_eq!(leader.leader, ids[0]);
    let members: Vec<Name> = leader.members.iter().map(|m| m.member_id.clone()).collect();
    assert_eq!(members, ids);
    assert_eq!(leader.members[0].metadata, subscription(&["t"]));
    let follower = w.joined(tickets[1]);
    assert_eq!(
        (follower.leader, follower.members),
        (ids[0].clone(), vec![])
    );
}

#[test]
fn in_a_stable_group_only_leaders_and_changed_followers_cause_a_rebalance() {
    let mut w = World::new();
    let ids = w.stable(&["a", "b"]);
    let ticket = w.join(&ids[1]);
    let joined = w.joined(ticket);
    assert_eq!((joined.generation, joined.members), (1, vec![]));
    assert_eq!(w.state(), State::Stable);
    let mut join = w.join_of("b", &ids[1]);
    join.protocols = vec![protocol("range", &["t", "u"])];
    let changed = w.send(Command::Join(join));
    assert_eq!(w.state(), State::PreparingRebalance);
    let leader = w.join(&ids[0]);
    assert_eq!(w.joined(changed).generation, 2);
    assert_eq!(w.joined(leader).generation, 2);
    w.sync(&ids[0], 2, &ids);
    w.sync(&ids[1], 2, &ids);
    let ticket = w.join(&ids[0]);
    assert!(w.is_waiting(ticket), "the leader waits for the follower");
    assert_eq!(w.heartbeat(&ids[1], 2), ErrorCode::RebalanceInProgress);
}

#[test]
fn a_join_repeated_before_the_sync_gets_the_same_generation() {
    let mut w = World::new();
    let ids: Vec<Name> = ["a", "b"].map(|client| w.enter(client)).to_vec();
    for id in &ids {
        w.join(id);
    }
    w.advance(500);
    let again = w.join(&ids[0]);
    let joined = w.joined(again);
    assert_eq!((joined.generation, joined.members.len()), (1, 2));
    assert_eq!(w.state(), State::CompletingRebalance);
    let mut join = w.join_of("b", &ids[1]);
    join.protocols = vec![protocol("range", &["u"])];
    w.send(Command::Join(join));
    assert_eq!(w.state(), State::PreparingRebalance);
}

#[test]
fn a_join_asked_again_is_answered_once() {
    let mut w = World::new();
    let id = w.enter("a");
    let first = w.join(&id);
    let second = w.join(&id);
    w.advance(500);
    assert_eq!(w.joined(second).generation, 1);
    assert!(w.is_waiting(first), "as in Kafka: its client has hung up");
    assert_eq!(w.shard.soft_counts().parked, 0);
}

#[test]
fn a_full_group_takes_nobody() {
    let mut w = World::with(GroupOptions {
        group_size_max: 2,
        ..GroupOptions::default()
    });
    let ids = w.stable(&["a", "b"]);
    let join = w.join_of("c", "");
    let refused = join_refused(w.ask(Command::Join(join)));
    assert_eq!(refused.code, ErrorCode::GroupMaxSizeReached);
    assert_eq!(&*refused.member_id, "");
    let ticket = w.join(&ids[1]);
    assert_eq!(w.joined(ticket).generation, 1);
}

#[test]
fn a_group_made_smaller_lets_the_first_ones_in() {
    let mut w = World::new();
    let ids = w.stable(&["a", "b"]);
    w.shard.set_options(GroupOptions {
        group_size_max: 1,
        ..GroupOptions::default()
    });
    let leader = w.join(&ids[0]);
    let late = w.join(&ids[1]);
    assert_eq!(w.join_code(late), ErrorCode::GroupMaxSizeReached);
    w.advance(60_000);
    assert_eq!(w.joined(leader).generation, 2);
    assert_eq!(w.describe().unwrap().members.len(), 1);
}
