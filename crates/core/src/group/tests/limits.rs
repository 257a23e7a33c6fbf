//! Floods and giants: they cost their sender an error and the group nothing.

use super::world::*;
use crate::account::{Account, Share};
use crate::error::ErrorCode;
use crate::group::command::*;
use crate::group::effects::*;
use crate::group::{GroupOptions, GroupShard, MEMORY_LIMIT, State, partition_for};
use std::sync::Arc;

#[test]
fn groups_go_to_the_partition_kafka_chooses() {
    assert_eq!(partition_for("", 50), 0);
    assert_eq!(partition_for("test", 50), 3_556_498 % 50);
    // A hash below zero, one beyond ASCII, and the smallest number there is.
    assert_eq!(partition_for("hello-world-group", 50), {
        let hash = "hello-world-group"
            .bytes()
            .fold(0i32, |h, b| h.wrapping_mul(31).wrapping_add(b.into()));
        hash.unsigned_abs() % 50
    });
    assert_eq!(partition_for("é", 50), 233 % 50);
    assert_eq!(partition_for("😀", 50), (0xd83d * 31 + 0xde00) % 50);
    assert_eq!(partition_for("polygenelubricants", 50), 0);
}

#[test]
fn thousands_of_unused_ids_do_not_hold_up_the_real_members() {
    let mut w = World::new();
    for _ in 0..5_000 {
        w.enter("flood");
    }
    let ids: Vec<Name> = (0..10).map(|_| w.enter("real")).collect();
    let tickets: Vec<Ticket> = ids.iter().map(|id| w.join(id)).collect();
    w.advance(500);
    for ticket in tickets {
        assert_eq!(w.joined(ticket).generation, 1);
    }
    for id in &ids {
        w.sync(id, 1, &ids);
    }
    assert_eq!(w.state(), State::Stable);
    w.advance(9_500);
    let counts = w.shard.soft_counts();
    assert_eq!((counts.pending, counts.addresses), (0, 0));
}

/// 20,000 ids that nobody used locked everybody else of their address out of all groups until their sessions ended.
#[test]
fn where_a_group_or_an_address_has_its_limit_of_unused_ids_the_oldest_gives_way() {
    let mut w = World::with(GroupOptions {
        pending_per_group_max: 3,
        pending_per_address_max: 5,
        ..GroupOptions::default()
    });
    let ids: Vec<Name> = (0..4).map(|_| w.enter("flood")).collect();
    let late = w.join_of("flood", &ids[0]);
    let unknown = join_refused(w.ask(Command::Join(late)));
    assert_eq!(
        unknown.code,
        ErrorCode::UnknownMemberId,
        "the group's oldest"
    );
    let mut ask = |group: &str, host: &str, id: &Name| {
        let mut join = w.join_of("flood", id);
        (join.group, join.client_host) = (n(group), n(host));
        join_refused(w.ask(Command::Join(join)))
    };
    let nobody = Name::default();
    for _ in 0..3 {
        let given = ask("other", "/127.0.0.1", &nobody);
        assert_eq!(given.code, ErrorCode::MemberIdRequired);
    }
    // That was one too many, whatever group it is in: its oldest is the second of the flood.
    let unknown = ask("g", "/127.0.0.1", &ids[1]);
    assert_eq!(
        unknown.code,
        ErrorCode::UnknownMemberId,
        "the address' oldest"
    );
    let given = ask("third", "/10.0.0.1", &nobody);
    assert_eq!(
        given.code,
        ErrorCode::MemberIdRequired,
        "others have their own"
    );
    assert_eq!(w.shard.soft_counts().pending, 6);
    // Whoever uses its id within moments gets in.
    let honest = w.enter("honest");
    let ticket = w.join(&honest);
    w.advance(500);
    assert_eq!(w.joined(ticket).generation, 1);
    w.advance(10_000);
    assert_eq!(w.shard.soft_counts().pending, 0);
}

#[test]
fn where_there_are_too_many_groups_the_oldest_of_no_use_gives_way() {
    let mut w = World::with(GroupOptions {
        groups_max: 3,
        ..GroupOptions::default()
    });
    let ask = |w: &mut World, group: &str| {
        let mut join = w.join_of("flood", "");
        join.group = n(group);
        join.protocols.clear();
        w.advance(1);
        join_refused(w.ask(Command::Join(join))).code
    };
    w.stable(&["a"]);
    for group in ["a", "b", "c", "d", "e"] {
        assert_eq!(ask(&mut w, group), ErrorCode::InconsistentGroupProtocol);
        assert!(w.shard.len() <= 3);
    }
    assert_eq!(w.state(), State::Stable, "it has a member");
    assert_eq!(w.shard.len(), 3);
    w.advance(600_000);
    assert_eq!(w.shard.len(), 0);
}

#[test]
fn groups_with_offsets_or_members_do_not_give_way() {
    let mut w = World::with(GroupOptions {
        groups_max: 1,
        ..GroupOptions::default()
    });
    w.stable(&["a"]);
    let mut join = w.join_of("flood", "");
    join.group = n("other");
    let refused = join_refused(w.ask(Command::Join(join)));
    assert_eq!(refused.code, ErrorCode::CoordinatorLoadInProgress);
    assert!(matches!(w.events.last(), Some(Event::Refused { limit, .. })
        if *limit == "rustka.groups.count.max"));
}

/// A world whose groups may take so much.
fn limited(bytes: usize) -> (World, Arc<Account>) {
    let account = Arc::new(Account::new(8 * bytes));
    let mut w = World::new();
    w.shard = GroupShard::beside(GroupOptions::default(), Arc::default(), account.clone());
    (w, account)
}

/// A commit of ten offsets by somebody who is no member.
fn commit_ten(w: &mut World, group: &str) -> ErrorCode {
    let mut commit = w.commit_of("", -1, 1);
    commit.group = n(group);
    let one = commit.topics[0].partitions[0].clone();
    commit.topics[0].partitions = (0..10)
        .map(|partition| CommitPartition {
            partition,
            metadata: "".into(),
            ..one.clone()
        })
        .collect();
    first_code(w.ask(Command::OffsetCommit(commit)))
}

/// A group with ten offsets took 2.5 kB that nothing bounded: half a gigabyte for those that one client may make.
#[test]
fn a_flood_of_groups_is_refused_at_its_share_of_memory_and_taken_again_once_there_is_room() {
    let (mut w, account) = limited(1 << 20);
    let group = |at: usize| format!("flood-{at:06}");
    let made = (0..10_000).find(|at| commit_ten(&mut w, &group(*at)) != ErrorCode::None);
    let made = made.expect("a limit");
    let bytes = account.bytes(Share::Groups);
    assert!(bytes <= 1 << 20, "{bytes}");
    assert!(bytes / made <= 1_228, "{} bytes a group", bytes / made);
    let refused = commit_ten(&mut w, &group(made));
    assert_eq!(refused, ErrorCode::CoordinatorLoadInProgress);
    assert!(
        matches!(w.events.last(), Some(Event::Refused { limit, .. }) if *limit == MEMORY_LIMIT)
    );
    // Who is there already goes on.
    for at in 0..made {
        assert_eq!(commit_ten(&mut w, &group(at)), ErrorCode::None);
    }
    let delete = Command::DeleteGroup {
        group: n(&group(0)),
    };
    assert_eq!(w.ask(delete), Reply::DeleteGroup(ErrorCode::None.into()));
    assert_eq!(commit_ten(&mut w, &group(made)), ErrorCode::None);
}

#[test]
fn members_and_ids_count_too_and_nothing_is_left_of_groups_that_are_gone() {
    let (mut w, account) = limited(64 << 10);
    let ids = w.stable(&["a", "b"]);
    let with_members = account.bytes(Share::Groups);
    let mut join = w.join_of("c", "");
    join.protocols[0].metadata = vec![0; 63 << 10].into();
    let refused = join_refused(w.ask(Command::Join(join)));
    assert_eq!(refused.code, ErrorCode::CoordinatorLoadInProgress);
    assert_eq!(account.bytes(Share::Groups), with_members);
    w.enter("d");
    assert!(account.bytes(Share::Groups) > with_members);
    assert_eq!(account.bytes(Share::Groups), w.shard.bytes());
    for id in &ids {
        w.leave(id);
    }
    w.advance(400_000);
    let delete = Command::DeleteGroup { group: n("g") };
    assert_eq!(w.ask(delete), Reply::DeleteGroup(ErrorCode::None.into()));
    assert_eq!(account.bytes(Share::Groups), 0);
}

#[test]
fn an_oversized_subscription_is_refused_and_the_group_unharmed() {
    let mut w = World::new();
    let ids = w.stable(&["a"]);
    let giant: Bytes = vec![0; (1 << 20) + 1].into();
    let mut join = w.join_of("b", "");
    join.protocols[0].metadata = giant.clone();
    let refused = join_refused(w.ask(Command::Join(join)));
    assert_eq!(refused.code, ErrorCode::UnknownServerError);
    let mut join = w.join_of("a", &ids[0]);
    join.protocols[0].metadata = giant;
    let refused = join_refused(w.ask(Command::Join(join)));
    assert_eq!(refused.code, ErrorCode::UnknownServerError);
    assert_eq!(w.heartbeat(&ids[0], 1), ErrorCode::None);
    let mut join = w.join_of(&"x".repeat(40_000), "");
    join.member_id_required = false;
    let refused = join_refused(w.ask(Command::Join(join)));
    assert_eq!(refused.code, ErrorCode::UnknownServerError);
    assert_eq!(w.state(), State::Stable);
}

#[test]
fn a_group_is_limited_in_all() {
    let mut w = World::with(GroupOptions {
        group_bytes_max: 1_000,
        ..GroupOptions::default()
    });
    w.stable(&["a", "b"]);
    let mut join = w.join_of("c", "");
    join.protocols[0].metadata = vec![0; 900].into();
    let refused = join_refused(w.ask(Command::Join(join)));
    assert_eq!(refused.code, ErrorCode::GroupMaxSizeReached);
    assert_eq!(w.state(), State::Stable);
}

#[test]
fn an_oversized_assignment_sends_everybody_back() {
    let mut w = World::new();
    let ids: Vec<Name> = ["a", "b"].map(|client| w.enter(client)).to_vec();
    for id in &ids {
        w.join(id);
    }
    w.advance(100);
    let follower = w.sync(&ids[1], 1, &[]);
    let giant: Bytes = vec![0; (1 << 20) + 1].into();
    let leader = w.send(Command::Sync(Sync {
        group: n("g"),
        member_id: ids[0].clone(),
        instance_id: None,
        generation: 1,
        protocol_type: None,
        protocol_name: None,
        assignments: vec![(ids[0].clone(), giant)],
    }));
    for ticket in [leader, follower] {
        assert_eq!(w.synced(ticket), Err(ErrorCode::UnknownServerError));
    }
    let again: Vec<Ticket> = ids.iter().map(|id| w.join(id)).collect();
    assert_eq!(w.joined(again[0]).generation, 2);
}

#[test]
fn a_long_client_id_makes_a_short_member_id() {
    let mut w = World::new();
    let id = w.enter(&"é".repeat(10_000));
    assert!(id.len() <= 255 + 37);
}

#[test]
fn nothing_is_left_of_short_lived_members() {
    let mut w = World::new();
    for _ in 0..200 {
        let id = w.enter("short");
        w.join(&id);
        w.advance(100);
        w.sync(&id, 1, &[]);
        w.leave(&id);
        w.advance(100);
    }
    let counts = w.shard.soft_counts();
    assert_eq!((counts.pending, counts.timers, counts.parked), (0, 0, 0));
}

#[test]
fn a_thousand_members_settle_and_heartbeat() {
    let mut w = World::new();
    let names: Vec<String> = (0..1_000).map(|at| format!("m{at:04}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let ids = w.stable(&names);
    let timers = w.shard.soft_counts().timers;
    for _ in 0..20 {
        w.advance(3_000);
        for id in &ids {
            assert_eq!(w.heartbeat(id, 1), ErrorCode::None);
        }
    }
    assert_eq!(w.shard.soft_counts().timers, timers, "a timer per member");
}

#[test]
fn odd_timeouts_do_not_make_the_clock_spin() {
    let mut w = World::new();
    let mut tickets = Vec::new();
    for instance in ["x", "y"] {
        let mut join = w.join_of(instance, "");
        join.instance_id = Some(n(instance));
        join.rebalance_timeout_ms = if instance == "x" { i32::MIN } else { 0 };
        tickets.push(w.send(Command::Join(join)));
        w.advance(1_000);
    }
    let mut join = w.join_of("z", "");
    join.instance_id = Some(n("z"));
    join.rebalance_timeout_ms = i32::MAX;
    w.send(Command::Join(join));
    w.advance(1_000_000);
    assert!(tickets.iter().all(|ticket| !w.is_waiting(*ticket)));
}
