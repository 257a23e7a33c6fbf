//! Rebalances from the first join to the last leave. Rows E89, E89a, E98 to E104, E112, E113.

use super::world::*;
use crate::error::ErrorCode;
use crate::group::command::*;
use crate::group::effects::*;
use crate::group::{GroupOptions, State};

#[test]
fn the_first_rebalance_waits_a_little_for_company() {
    let mut w = World::new();
    let a = w.enter("a");
    let first = w.join(&a);
    w.advance(99);
    assert!(w.is_waiting(first));
    let b = w.enter("b");
    let second = w.join(&b);
    w.advance(99);
    assert!(w.is_waiting(first), "counted from the last new member");
    w.advance(1);
    assert_eq!(w.joined(first).members.len(), 2);
    assert_eq!(w.joined(second).generation, 1);
}

#[test]
fn the_first_rebalance_does_not_wait_long_for_ever_more_company() {
    let mut w = World::new();
    let ids: Vec<Name> = (0..8).map(|_| w.enter("m")).collect();
    let first = w.join(&ids[0]);
    for id in &ids[1..6] {
        w.advance(90);
        w.join(id);
        assert!(w.is_waiting(first));
    }
    w.advance(50);
    assert_eq!(w.joined(first).members.len(), 6, "after 500 ms");
}

#[test]
fn with_kafkas_rule_the_delay_is_extended_while_members_arrive() {
    let mut w = World::with(GroupOptions {
        strict: true,
        ..GroupOptions::default()
    });
    let (a, b) = (w.enter("a"), w.enter("b"));
    let first = w.join(&a);
    w.advance(2_000);
    let second = w.join(&b);
    w.advance(3_999);
    assert!(w.is_waiting(first), "the second delay ends at 6000");
    w.advance(1);
    assert_eq!(w.joined(first).members.len(), 2);
    assert_eq!(w.joined(second).generation, 1);
}

#[test]
fn with_kafkas_rule_the_delay_never_exceeds_the_rebalance_timeout() {
    let mut w = World::with(GroupOptions {
        initial_rebalance_delay_ms: Some(3_000),
        ..GroupOptions::default()
    });
    let ids: Vec<Name> = (0..4).map(|_| w.enter("m")).collect();
    let mut first = None;
    for id in &ids {
        let mut join = w.join_of("m", id);
        join.rebalance_timeout_ms = 5_000;
        let ticket = w.send(Command::Join(join));
        first.get_or_insert(ticket);
        w.advance(1_500);
    }
    assert_eq!(w.joined(first.unwrap()).members.len(), 4);
}

#[test]
fn a_delay_of_zero_does_not_wait() {
    let mut w = World::strict();
    let a = w.enter("a");
    let ticket = w.join(&a);
    w.advance(0);
    assert_eq!(w.joined(ticket).generation, 1);
}

#[test]
fn a_rebalance_waits_until_everybody_has_joined_again() {
    let mut w = World::new();
    let ids = w.stable(&["a", "b"]);
    let c = w.enter("c");
    let newcomer = w.join(&c);
    assert_eq!(w.heartbeat(&ids[0], 1), ErrorCode::RebalanceInProgress);
    let a = w.join(&ids[0]);
    w.advance(5_000);
    assert!(w.is_waiting(newcomer) && w.is_waiting(a));
    let b = w.join(&ids[1]);
    for ticket in [newcomer, a, b] {
        assert_eq!(w.joined(ticket).generation, 2);
    }
}

#[test]
fn who_does_not_join_again_in_time_is_out() {
    let mut w = World::new();
    let ids = w.stable(&["a", "b"]);
    let again = w.join(&ids[0]);
    for _ in 0..14 {
        w.advance(4_000);
        assert_eq!(w.heartbeat(&ids[1], 1), ErrorCode::RebalanceInProgress);
    }
    assert!(w.is_waiting(again));
    w.advance(4_000);
    assert_eq!(w.joined(again).members.len(), 1);
    assert_eq!(w.heartbeat(&ids[1], 1), ErrorCode::UnknownMemberId);
}

#[test]
fn a_leader_that_does_not_join_again_is_replaced() {
    let mut w = World::new();
    let ids = w.stable(&["a", "b"]);
    let mut join = w.join_of("b", &ids[1]);
    join.protocols = vec![protocol("range", &["u"])];
    let again = w.send(Command::Join(join));
    w.advance(10_000);
    assert_eq!(w.joined(again).leader, ids[1]);
}

#[test]
fn a_waiting_member_does_not_expire_but_a_new_one_waits_five_minutes_at_most() {
    let mut w = World::new();
    let ids = w.stable(&["a", "b"]);
    let mut join = w.join_of("a", &ids[0]);
    join.rebalance_timeout_ms = 1_000_000;
    let old = w.send(Command::Join(join));
    let c = w.enter("c");
    let new = w.join(&c);
    for _ in 0..60 {
        w.advance(5_000);
        w.heartbeat(&ids[1], 1);
    }
    assert_eq!(w.join_code(new), ErrorCode::UnknownMemberId);
    assert!(w.is_waiting(old));
    let b = w.join(&ids[1]);
    assert_eq!(w.joined(old).members.len(), 2);
    assert_eq!(w.joined(b).generation, 2);
}

#[test]
fn a_pending_id_holds_a_rebalance_up_for_a_second() {
    let mut w = World::new();
    let ids = w.stable(&["a"]);
    w.enter("slow");
    let again = w.join(&ids[0]);
    w.advance(999);
    assert!(w.is_waiting(again));
    w.advance(1);
    assert_eq!(w.joined(again).generation, 2);
    // Even if ever new ids are asked for.
    w.sync(&ids[0], 2, &ids);
    w.enter("flood");
    let again = w.join(&ids[0]);
    for _ in 0..4 {
        w.advance(200);
        w.enter("flood");
        assert!(w.is_waiting(again));
    }
    w.advance(200);
    assert_eq!(w.joined(again).generation, 3);
}

#[test]
fn an_old_pending_id_holds_nothing_up() {
    let mut w = World::new();
    let ids = w.stable(&["a"]);
    w.enter("slow");
    w.advance(1_000);
    let again = w.join(&ids[0]);
    assert_eq!(w.joined(again).generation, 2);
}

#[test]
fn with_kafkas_rule_a_pending_id_holds_a_rebalance_up_until_its_own_timeout() {
    let mut w = World::strict();
    let ids = w.stable(&["a"]);
    w.enter("slow");
    let again = w.join(&ids[0]);
    w.advance(9_999);
    assert!(w.is_waiting(again));
    w.advance(1);
    assert_eq!(w.joined(again).generation, 2);
}

#[test]
fn a_pending_id_that_joins_lets_the_rebalance_complete() {
    let mut w = World::new();
    let ids = w.stable(&["a"]);
    let b = w.enter("b");
    let again = w.join(&ids[0]);
    assert!(w.is_waiting(again));
    let new = w.join(&b);
    assert_eq!(w.joined(again).members.len(), 2);
    assert_eq!(w.joined(new).generation, 2);
}

#[test]
fn sync_says_what_is_wrong() {
    let mut w = World::new();
    let ticket = w.sync("ghost", 1, &[]);
    assert_eq!(w.synced(ticket), Err(ErrorCode::UnknownMemberId));
    let ids = w.stable(&["a", "b"]);
    let ticket = w.sync("ghost", 1, &[]);
    assert_eq!(w.synced(ticket), Err(ErrorCode::UnknownMemberId));
    let ticket = w.sync(&ids[0], 7, &[]);
    assert_eq!(w.synced(ticket), Err(ErrorCode::IllegalGeneration));
    let mut sync = Sync {
        group: n("g"),
        member_id: ids[0].clone(),
        instance_id: None,
        generation: 1,
        protocol_type: Some(n("connect")),
        protocol_name: None,
        assignments: vec![],
    };
    let wrong = Reply::Sync(Err(ErrorCode::InconsistentGroupProtocol));
    assert_eq!(w.ask(Command::Sync(sync.clone())), wrong);
    sync.protocol_type = None;
    sync.protocol_name = Some(n("sticky"));
    assert_eq!(w.ask(Command::Sync(sync.clone())), wrong);
    sync.protocol_name = None;
    let Reply::Sync(Ok(share)) = w.ask(Command::Sync(sync)) else {
        panic!("a stable group tells the share again")
    };
    assert_eq!(*share.assignment, [0]);
    w.join(&ids[0]);
    let ticket = w.sync(&ids[1], 1, &[]);
    assert_eq!(w.synced(ticket), Err(ErrorCode::RebalanceInProgress));
}

#[test]
fn a_member_the_leader_forgot_gets_nothing() {
    let mut w = World::new();
    let ids: Vec<Name> = ["a", "b"].map(|client| w.enter(client)).to_vec();
    for id in &ids {
        w.join(id);
    }
    w.advance(100);
    let follower = w.sync(&ids[1], 1, &[]);
    assert!(w.is_waiting(follower));
    w.sync(&ids[0], 1, &ids[..1]);
    assert_eq!(w.synced(follower), Ok(vec![]));
}

#[test]
fn who_does_not_fetch_its_share_in_time_is_out() {
    let mut w = World::new();
    let ids: Vec<Name> = ["a", "b"].map(|client| w.enter(client)).to_vec();
    for id in &ids {
        w.join(id);
    }
    w.advance(100);
    let leader = w.sync(&ids[0], 1, &ids);
    assert_eq!(w.synced(leader), Ok(vec![0]));
    for _ in 0..12 {
        w.advance(5_000);
        w.heartbeat(&ids[0], 1);
        w.heartbeat(&ids[1], 1);
    }
    assert_eq!(w.heartbeat(&ids[1], 1), ErrorCode::UnknownMemberId);
    assert_eq!(w.heartbeat(&ids[0], 1), ErrorCode::RebalanceInProgress);
}

#[test]
fn a_rebalance_sends_waiting_syncs_back() {
    let mut w = World::new();
    let ids: Vec<Name> = ["a", "b"].map(|client| w.enter(client)).to_vec();
    for id in &ids {
        w.join(id);
    }
    w.advance(100);
    let follower = w.sync(&ids[1], 1, &[]);
    assert_eq!(w.leave(&ids[0]), ErrorCode::None);
    assert_eq!(w.synced(follower), Err(ErrorCode::RebalanceInProgress));
}

#[test]
fn a_heartbeat_goes_the_short_way_while_nothing_else_changes() {
    let mut w = World::new();
    let ids = w.stable(&["a"]);
    let beat = |generation| Heartbeat {
        group: n("g"),
        member_id: ids[0].clone(),
        instance_id: None,
        generation,
    };
    for _ in 0..10 {
        w.advance(8_000);
        assert_eq!(w.beat(&beat(1)), Some(ErrorCode::None));
    }
    assert_eq!(w.state(), State::Stable);
    assert_eq!(w.beat(&beat(2)), None);
    w.advance(60_000);
    assert_eq!(w.beat(&beat(1)), None);
    assert_eq!(w.state(), State::Empty);
}

#[test]
fn no_heartbeat_overtakes_a_record_whose_fate_is_open() {
    let mut w = World::new();
    let ids = w.stable(&["a"]);
    let beat = Heartbeat {
        group: n("g"),
        member_id: ids[0].clone(),
        instance_id: None,
        generation: 1,
    };
    w.journal = Journal::Later;
    let commit = w.commit_of(&ids[0], 1, 5);
    w.send(Command::OffsetCommit(commit));
    assert_eq!(w.beat(&beat), None);
    w.settle(0);
    assert_eq!(w.beat(&beat), Some(ErrorCode::None));
}

#[test]
fn heartbeats_answer_by_state() {
    let mut w = World::new();
    assert_eq!(w.heartbeat("ghost", 0), ErrorCode::UnknownMemberId);
    let a = w.enter("a");
    assert_eq!(w.heartbeat(&a, 0), ErrorCode::UnknownMemberId);
    w.join(&a);
    w.advance(100);
    assert_eq!(w.state(), State::CompletingRebalance);
    assert_eq!(w.heartbeat(&a, 1), ErrorCode::None);
    assert_eq!(w.heartbeat(&a, 0), ErrorCode::IllegalGeneration);
    w.sync(&a, 1, std::slice::from_ref(&a));
    assert_eq!(w.heartbeat(&a, 1), ErrorCode::None);
    let b = w.enter("b");
    w.join(&b);
    assert_eq!(w.heartbeat(&a, 1), ErrorCode::RebalanceInProgress);
}

#[test]
fn a_silent_member_is_removed_when_its_session_ends() {
    let mut w = World::new();
    let ids = w.stable(&["a", "b"]);
    w.advance(9_000);
    assert_eq!(w.heartbeat(&ids[0], 1), ErrorCode::None);
    w.advance(1_000);
    assert_eq!(w.heartbeat(&ids[0], 1), ErrorCode::RebalanceInProgress);
    assert_eq!(w.heartbeat(&ids[1], 1), ErrorCode::UnknownMemberId);
}

#[test]
fn commits_keep_a_busy_member_alive() {
    let mut w = World::new();
    let ids = w.stable(&["a"]);
    for offset in 0..5 {
        w.advance(9_000);
        assert_eq!(w.commit(&ids[0], 1, offset), ErrorCode::None);
    }
    assert_eq!(w.heartbeat(&ids[0], 1), ErrorCode::None);
}

#[test]
fn each_leaver_gets_its_own_answer() {
    let mut w = World::new();
    assert_eq!(w.leave("ghost"), ErrorCode::UnknownMemberId);
    let ids = w.stable(&["a", "b"]);
    let pending = w.enter("p");
    let leaver = |id: &str| Leaver {
        member_id: n(id),
        instance_id: None,
    };
    let left = w.leave_all(vec![leaver(&ids[0]), leaver("ghost"), leaver(&pending)]);
    let codes: Vec<ErrorCode> = left.iter().map(|left| left.code).collect();
    let unknown = ErrorCode::UnknownMemberId;
    assert_eq!(codes, [ErrorCode::None, unknown, ErrorCode::None]);
    assert_eq!(w.heartbeat(&ids[1], 1), ErrorCode::RebalanceInProgress);
    assert_eq!(w.shard.soft_counts().pending, 0);
}

#[test]
fn a_pending_id_that_leaves_disturbs_nobody() {
    let mut w = World::new();
    w.stable(&["a"]);
    let pending = w.enter("p");
    assert_eq!(w.leave(&pending), ErrorCode::None);
    assert_eq!(w.state(), State::Stable);
}

#[test]
fn when_the_last_member_leaves_the_group_is_empty_in_a_new_generation() {
    let mut w = World::new();
    let ids = w.stable(&["a"]);
    w.commit(&ids[0], 1, 7);
    w.leave(&ids[0]);
    assert_eq!(w.state(), State::Empty);
    assert_eq!(w.fetch(), 7);
    let b = w.enter("b");
    let ticket = w.join(&b);
    w.advance(100);
    assert_eq!(w.joined(ticket).generation, 3, "being empty was one too");
}

#[test]
fn members_that_leave_before_the_first_generation_leave_an_empty_group() {
    let mut w = World::new();
    let a = w.enter("a");
    let ticket = w.join(&a);
    w.leave(&a);
    assert_eq!(w.join_code(ticket), ErrorCode::UnknownMemberId);
    w.advance(100);
    assert_eq!(w.state(), State::Empty);
}

#[test]
fn who_hangs_up_while_waiting_stays_a_member_until_its_session_ends() {
    let mut w = World::new();
    let ids: Vec<Name> = ["a", "b"].map(|client| w.enter(client)).to_vec();
    let a = w.join(&ids[0]);
    let b = w.join(&ids[1]);
    w.disconnect(b);
    w.advance(100);
    assert_eq!(w.joined(a).members.len(), 2);
    assert!(w.is_waiting(b));
    w.sync(&ids[0], 1, &ids);
    w.advance(9_000);
    w.heartbeat(&ids[0], 1);
    w.advance(1_000);
    assert_eq!(w.heartbeat(&ids[0], 1), ErrorCode::RebalanceInProgress);
    assert_eq!(w.shard.soft_counts().parked, 0);
}

#[test]
fn describing_shows_bytes_only_while_stable() {
    let mut w = World::new();
    assert_eq!(w.describe(), None);
    let ids = w.stable(&["a"]);
    let group = w.describe().unwrap();
    assert_eq!(
        (&*group.protocol_type, &*group.protocol_data),
        ("consumer", "range")
    );
    assert_eq!(group.members[0].metadata, subscription(&["t"]));
    assert_eq!(*group.members[0].assignment, [0]);
    let b = w.enter("b");
    w.join(&b);
    let group = w.describe().unwrap();
    assert_eq!(group.state, State::PreparingRebalance);
    assert_eq!((&*group.protocol_data, group.members.len()), ("", 2));
    assert!(group.members.iter().all(|m| m.metadata.is_empty()));
    let shares: Vec<_> = group.members.iter().map(|m| m.assignment.len()).collect();
    assert_eq!(
        shares,
        [1, 0],
        "the old share is told until there is a new one"
    );
    assert_eq!(group.members[0].member_id, ids[0]);
}

#[test]
fn listing_filters_by_state_and_type_in_any_case() {
    let mut w = World::new();
    w.stable(&["a"]);
    let mut commit = w.commit_of("", -1, 3);
    commit.group = n("simple");
    w.ask(Command::OffsetCommit(commit));
    let mut list = |states: &[&str], types: &[&str]| {
        let names = |list: &[&str]| list.iter().map(|name| n(name)).collect();
        let reply = w.ask(Command::ListGroups(ListGroups {
            states: names(states),
            types: names(types),
        }));
        let Reply::ListGroups(listed) = reply else {
            panic!("{reply:?}")
        };
        listed
            .iter()
            .map(|group| group.group.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(list(&[], &[]), ["g", "simple"]);
    assert_eq!(list(&["stable"], &[]), ["g"]);
    assert_eq!(list(&["EMPTY", "dead"], &["Classic"]), ["simple"]);
    assert!(list(&[], &["consumer"]).is_empty());
}

#[test]
fn an_event_says_why_a_rebalance_began() {
    let mut w = World::new();
    let ids = w.stable(&["a"]);
    w.events.clear();
    w.leave(&ids[0]);
    let group = n("g");
    let gone = Event::MemberGone {
        group: group.clone(),
        member: ids[0].clone(),
        cause: Cause::Left,
    };
    let cause = Cause::Left;
    assert_eq!(w.events[..2], [gone, Event::Rebalance { group, cause }]);
}
