//! Members with an instance id. Rows E87, E89, E95, E95a, E96, E102.

use super::world::*;
use crate::error::ErrorCode;
use crate::group::State;
use crate::group::command::*;
use crate::group::effects::*;

/// Static members "x" (the leader) and "y" in a stable generation 1.
fn stable_pair(w: &mut World) -> Vec<Name> {
    let tickets = ["x", "y"].map(|instance| w.join_static(instance, ""));
    w.advance(500);
    let ids = tickets.map(|ticket| w.joined(ticket).member_id).to_vec();
    for id in &ids {
        w.sync(id, 1, &ids);
    }
    assert_eq!(w.state(), State::Stable);
    ids
}

#[test]
fn a_static_member_joins_at_once_and_its_id_starts_with_its_instance() {
    let mut w = World::new();
    let ids = stable_pair(&mut w);
    assert!(ids[0].starts_with("x-"));
}

#[test]
fn a_static_member_that_comes_back_keeps_its_share_without_a_rebalance() {
    let mut w = World::new();
    let ids = stable_pair(&mut w);
    let ticket = w.join_static("y", "");
    let joined = w.joined(ticket);
    assert_ne!(joined.member_id, ids[1]);
    assert_eq!((joined.generation, &joined.leader), (1, &ids[0]));
    assert_eq!((joined.skip_assignment, joined.members.len()), (false, 0));
    assert_eq!(w.state(), State::Stable);
    let sync = w.sync(&joined.member_id, 1, &[]);
    assert_eq!(w.synced(sync), Ok(vec![1]));
}

#[test]
fn a_leader_that_comes_back_is_told_to_skip_the_assignment() {
    let mut w = World::new();
    stable_pair(&mut w);
    let ticket = w.join_static("x", "");
    let joined = w.joined(ticket);
    assert_eq!(joined.leader, joined.member_id);
    assert_eq!((joined.skip_assignment, joined.members.len()), (true, 2));
}

#[test]
fn before_v9_a_leader_that_comes_back_does_not_think_it_leads() {
    let mut w = World::new();
    let ids = stable_pair(&mut w);
    let mut join = w.join_of("x", "");
    join.instance_id = Some(n("x"));
    join.skip_assignment = false;
    let ticket = w.send(Command::Join(join));
    let joined = w.joined(ticket);
    assert_eq!(joined.leader, ids[0]);
    assert_eq!((joined.skip_assignment, joined.members.len()), (false, 0));
}

#[test]
fn a_static_member_that_comes_back_during_the_assignment_causes_a_rebalance() {
    let mut w = World::new();
    let tickets = ["x", "y"].map(|instance| w.join_static(instance, ""));
    w.advance(500);
    let ids = tickets.map(|ticket| w.joined(ticket).member_id);
    let waiting = w.sync(&ids[1], 1, &[]);
    let back = w.join_static("y", "");
    assert_eq!(w.synced(waiting), Err(ErrorCode::FencedInstanceId));
    assert!(w.is_waiting(back));
    assert_eq!(w.state(), State::PreparingRebalance);
}

#[test]
fn a_static_member_that_comes_back_with_another_assignor_causes_a_rebalance() {
    let mut w = World::new();
    let mut tickets = Vec::new();
    for (instance, list) in [("x", ["range", "robin"]), ("y", ["range", "robin"])] {
        let mut join = w.join_of(instance, "");
        join.instance_id = Some(n(instance));
        join.protocols = list.map(|name| protocol(name, &["t"])).to_vec();
        tickets.push(w.send(Command::Join(join)));
    }
    w.advance(500);
    let ids: Vec<Name> = tickets.iter().map(|t| w.joined(*t).member_id).collect();
    for id in &ids {
        w.sync(id, 1, &ids);
    }
    let mut join = w.join_of("y", "");
    join.instance_id = Some(n("y"));
    join.protocols = vec![protocol("robin", &["t"])];
    let ticket = w.send(Command::Join(join));
    assert!(w.is_waiting(ticket));
    assert_eq!(w.state(), State::PreparingRebalance);
}

#[test]
fn the_old_member_id_of_an_instance_is_fenced_everywhere() {
    let mut w = World::new();
    let ids = stable_pair(&mut w);
    let back = w.join_static("y", "");
    let new_id = w.joined(back).member_id;
    let fenced = ErrorCode::FencedInstanceId;
    let instance_id = Some(n("y"));
    let ticket = w.join_static("y", &ids[1]);
    assert_eq!(w.join_code(ticket), fenced);
    let beat = Heartbeat {
        group: n("g"),
        member_id: ids[1].clone(),
        instance_id: instance_id.clone(),
        generation: 1,
    };
    let reply = w.ask(Command::Heartbeat(beat.clone()));
    assert_eq!(reply, Reply::Heartbeat(fenced));
    let mut commit = w.commit_of(&ids[1], 1, 1);
    commit.instance_id = instance_id.clone();
    assert_eq!(first_code(w.ask(Command::OffsetCommit(commit))), fenced);
    let leaver = Leaver {
        member_id: ids[1].clone(),
        instance_id,
    };
    assert_eq!(w.leave_all(vec![leaver])[0].code, fenced);
    let stranger = Heartbeat {
        member_id: new_id,
        instance_id: Some(n("z")),
        ..beat
    };
    let reply = w.ask(Command::Heartbeat(stranger));
    assert_eq!(reply, Reply::Heartbeat(ErrorCode::UnknownMemberId));
}

#[test]
fn a_static_member_that_does_not_join_again_keeps_its_place() {
    let mut w = World::new();
    let ids = stable_pair(&mut w);
    let leader = w.join_static("x", &ids[0]);
    for _ in 0..12 {
        w.advance(5_000);
        w.heartbeat(&ids[1], 1);
    }
    assert_eq!(w.joined(leader).members.len(), 2);
}

#[test]
fn when_no_static_member_joins_again_the_rebalance_waits_for_their_sessions() {
    let mut w = World::new();
    let ids = stable_pair(&mut w);
    let id = w.enter("d");
    let dynamic = w.join(&id);
    w.leave(&id);
    assert_eq!(w.join_code(dynamic), ErrorCode::UnknownMemberId);
    for _ in 0..13 {
        w.advance(5_000);
        assert_eq!(w.heartbeat(&ids[0], 1), ErrorCode::RebalanceInProgress);
        assert_eq!(w.heartbeat(&ids[1], 1), ErrorCode::RebalanceInProgress);
    }
    let back = w.join_static("x", &ids[0]);
    w.advance(60_000);
    assert!(w.joined(back).generation > 1);
}

#[test]
fn an_administrator_removes_a_static_member_by_its_instance_id() {
    let mut w = World::new();
    stable_pair(&mut w);
    let leaver = |instance: &str| Leaver {
        member_id: n(""),
        instance_id: Some(n(instance)),
    };
    let left = w.leave_all(vec![leaver("y"), leaver("nobody")]);
    let codes: Vec<ErrorCode> = left.iter().map(|left| left.code).collect();
    assert_eq!(codes, [ErrorCode::None, ErrorCode::UnknownMemberId]);
    assert_eq!(w.describe().unwrap().members.len(), 1);
}

#[test]
fn the_new_id_of_a_static_member_survives_a_restart() {
    let mut w = World::new();
    let ids = stable_pair(&mut w);
    let back = w.join_static("y", "");
    let new_id = w.joined(back).member_id;
    w.restart(Default::default());
    assert_eq!(w.heartbeat(&new_id, 1), ErrorCode::None);
    assert_eq!(w.heartbeat(&ids[1], 1), ErrorCode::UnknownMemberId);
}
