//! Committed offsets. Rows E35, E85, E104a to E111.

use super::world::*;
use crate::error::ErrorCode;
use crate::group::command::*;
use crate::group::effects::*;
use crate::group::{GroupOptions, State};

const WEEK_MS: i64 = 7 * 24 * 3_600_000;

#[test]
fn a_commit_without_group_management_creates_a_simple_group() {
    let mut w = World::new();
    assert_eq!(w.commit("", -1, 42), ErrorCode::None);
    assert_eq!(w.fetch(), 42);
    let group = w.describe().unwrap();
    assert_eq!((group.state, &*group.protocol_type), (State::Empty, ""));
}

#[test]
fn the_empty_group_id_holds_offsets_like_any_other() {
    let mut w = World::new();
    let mut commit = w.commit_of("", -1, 9);
    commit.group = n("");
    assert_eq!(
        first_code(w.ask(Command::OffsetCommit(commit))),
        ErrorCode::None
    );
    let fetch = OffsetFetch {
        group: n(""),
        topics: None,
        member: (None, -1),
        require_stable: false,
    };
    assert_eq!(fetched(w.ask(Command::OffsetFetch(fetch))), 9);
    let delete = OffsetDelete {
        group: n(""),
        topics: vec![],
    };
    let reply = w.ask(Command::OffsetDelete(delete));
    assert_eq!(reply, Reply::OffsetDelete(Err(ErrorCode::InvalidGroupId)));
}

#[test]
fn a_member_commits_to_an_absent_group() {
    let mut w = World::new();
    assert_eq!(w.commit("m", 1, 0), ErrorCode::GroupIdNotFound);
    let mut commit = w.commit_of("m", 1, 0);
    commit.knows_epochs = false;
    let code = first_code(w.ask(Command::OffsetCommit(commit)));
    assert_eq!(code, ErrorCode::IllegalGeneration);
    assert!(w.shard.is_empty());
}

#[test]
fn only_members_of_the_generation_commit_to_a_group_with_members() {
    let mut w = World::new();
    let ids = w.stable(&["a"]);
    assert_eq!(w.commit("", -1, 1), ErrorCode::UnknownMemberId);
    assert_eq!(w.commit("ghost", 1, 1), ErrorCode::UnknownMemberId);
    assert_eq!(w.commit(&ids[0], -1, 1), ErrorCode::IllegalGeneration);
    assert_eq!(w.commit(&ids[0], 2, 1), ErrorCode::IllegalGeneration);
    assert_eq!(w.commit(&ids[0], 1, 1), ErrorCode::None);
}

#[test]
fn a_commit_between_join_and_sync_has_to_wait() {
    let mut w = World::new();
    let a = w.enter("a");
    w.join(&a);
    w.advance(100);
    assert_eq!(w.commit(&a, 1, 1), ErrorCode::RebalanceInProgress);
}

#[test]
fn a_commit_from_the_revoke_callback_is_taken_while_the_rebalance_prepares() {
    let mut w = World::new();
    let ids = w.stable(&["a"]);
    let b = w.enter("b");
    w.join(&b);
    assert_eq!(w.state(), State::PreparingRebalance);
    assert_eq!(w.commit(&ids[0], 1, 8), ErrorCode::None);
    assert_eq!(w.fetch(), 8);
}

#[test]
fn an_empty_group_takes_commits_without_a_generation_from_anybody() {
    let mut w = World::new();
    let ids = w.stable(&["a"]);
    w.leave(&ids[0]);
    assert_eq!(w.commit("whoever", -1, 5), ErrorCode::None);
    assert_eq!(w.commit("whoever", 2, 5), ErrorCode::UnknownMemberId);
}

#[test]
fn a_note_that_is_too_long_is_refused_for_its_partition_alone() {
    let mut w = World::new();
    let mut commit = w.commit_of("", -1, 1);
    let partitions = &mut commit.topics[0].partitions;
    partitions.push(CommitPartition {
        partition: 1,
        // Java counts UTF-16 units: 4096 of them are allowed, in more bytes.
        metadata: "é".repeat(4_096).into(),
        ..partitions[0].clone()
    });
    partitions.push(CommitPartition {
        partition: 2,
        metadata: "x".repeat(4_097).into(),
        ..partitions[0].clone()
    });
    let Reply::OffsetCommit(topics) = w.ask(Command::OffsetCommit(commit)) else {
        panic!()
    };
    let codes: Vec<ErrorCode> = topics[0].partitions.iter().map(|at| at.1).collect();
    let too_large = ErrorCode::OffsetMetadataTooLarge;
    assert_eq!(codes, [ErrorCode::None, ErrorCode::None, too_large]);
}

#[test]
fn what_was_never_committed_is_minus_one() {
    let mut w = World::new();
    let nothing = FetchedPartition {
        partition: 0,
        offset: -1,
        leader_epoch: -1,
        metadata: "".into(),
        code: ErrorCode::None,
    };
    for _ in 0..2 {
        let Reply::OffsetFetch(Ok(topics)) = w.ask(World::fetch_command()) else {
            panic!()
        };
        assert_eq!(topics[0].partitions, std::slice::from_ref(&nothing));
        w.enter("the group exists now");
    }
}

#[test]
fn fetching_everything_returns_everything_with_epoch_and_note() {
    let mut w = World::new();
    w.commit("", -1, 3);
    let fetch = OffsetFetch {
        group: n("g"),
        topics: None,
        member: (None, -1),
        require_stable: false,
    };
    let Reply::OffsetFetch(Ok(topics)) = w.ask(Command::OffsetFetch(fetch)) else {
        panic!()
    };
    let known = FetchedPartition {
        partition: 0,
        offset: 3,
        leader_epoch: 5,
        metadata: "note".into(),
        code: ErrorCode::None,
    };
    assert_eq!((&*topics[0].topic, topics[0].topic_id), ("t", [1; 16]));
    assert_eq!(topics[0].partitions, [known]);
}

#[test]
fn an_offset_of_another_topic_with_the_same_name_is_not_returned() {
    let mut w = World::new();
    w.commit("", -1, 3);
    let mut fetch = |topic_id| {
        let fetch = OffsetFetch {
            group: n("g"),
            topics: Some(vec![TopicPartitions {
                topic: n("t"),
                topic_id,
                partitions: vec![0],
            }]),
            member: (None, -1),
            require_stable: false,
        };
        fetched(w.ask(Command::OffsetFetch(fetch)))
    };
    assert_eq!((fetch([1; 16]), fetch([2; 16]), fetch([0; 16])), (3, -1, 3));
}

#[test]
fn a_deleted_topic_takes_its_offsets_along() {
    let mut w = World::new();
    w.commit("", -1, 3);
    let deleted = |topic_id| Command::TopicDeleted {
        topic: n("t"),
        topic_id,
    };
    w.ask(deleted([2; 16]));
    assert_eq!(w.fetch(), 3, "a later topic of that name was meant");
    w.ask(deleted([1; 16]));
    assert_eq!(w.fetch(), -1);
    w.restart(GroupOptions::default());
    assert_eq!(w.fetch(), -1);
}

#[test]
fn only_empty_groups_are_deleted() {
    let mut w = World::new();
    let delete = || Command::DeleteGroup { group: n("g") };
    assert_eq!(
        w.ask(delete()),
        Reply::DeleteGroup(ErrorCode::GroupIdNotFound.into())
    );
    let ids = w.stable(&["a"]);
    w.commit(&ids[0], 1, 3);
    assert_eq!(
        w.ask(delete()),
        Reply::DeleteGroup(ErrorCode::NonEmptyGroup.into())
    );
    w.leave(&ids[0]);
    w.enter("pending");
    assert_eq!(w.ask(delete()), Reply::DeleteGroup(ErrorCode::None.into()));
    assert_eq!((w.describe(), w.fetch()), (None, -1));
    assert_eq!(w.shard.soft_counts().timers, 0);
    w.restart(GroupOptions::default());
    assert!(w.shard.is_empty());
}

fn delete_offset(topic: &str) -> Command {
    Command::OffsetDelete(OffsetDelete {
        group: n("g"),
        topics: vec![TopicPartitions {
            topic: n(topic),
            topic_id: NO_TOPIC_ID,
            partitions: vec![0],
        }],
    })
}

#[test]
fn offsets_of_a_topic_in_use_are_not_deleted() {
    let mut w = World::new();
    let absent = first_code(w.ask(delete_offset("t")));
    assert_eq!(absent, ErrorCode::GroupIdNotFound);
    let ids = w.stable(&["a"]);
    let mut commit = w.commit_of(&ids[0], 1, 3);
    commit.topics.push(CommitTopic {
        topic: n("unused"),
        ..commit.topics[0].clone()
    });
    w.ask(Command::OffsetCommit(commit));
    let used = first_code(w.ask(delete_offset("t")));
    assert_eq!(used, ErrorCode::GroupSubscribedToTopic);
    assert_eq!(first_code(w.ask(delete_offset("unused"))), ErrorCode::None);
    assert_eq!(w.fetch(), 3);
    w.leave(&ids[0]);
    assert_eq!(first_code(w.ask(delete_offset("t"))), ErrorCode::None);
    assert_eq!(w.fetch(), -1);
}

#[test]
fn offsets_of_a_live_group_of_another_kind_are_not_deleted() {
    let mut w = World::new();
    let id = w.enter("a");
    let mut join = w.join_of("a", &id);
    join.protocol_type = n("connect");
    w.send(Command::Join(join));
    w.advance(100);
    assert_eq!(
        first_code(w.ask(delete_offset("t"))),
        ErrorCode::NonEmptyGroup
    );
}

#[test]
fn a_subscription_nobody_can_read_counts_as_every_topic() {
    let unreadable: [&[u8]; 8] = [
        &[],
        &[0, 0, 0, 0, 0],
        // Version -1.
        &[0xff, 0xff, 0, 0, 0, 0],
        // -1 topics; one topic more than there is; a name of -1 bytes; of one byte more than there are; no UTF-8.
        &[0, 0, 0xff, 0xff, 0xff, 0xff],
        &[0, 0, 0, 0, 0, 2, 0, 1, b't'],
        &[0, 0, 0, 0, 0, 1, 0xff, 0xff],
        &[0, 0, 0, 0, 0, 1, 0, 2, b't'],
        &[0, 0, 0, 0, 0, 1, 0, 1, 0xff],
    ];
    for metadata in unreadable {
        let mut w = World::new();
        let id = w.enter("a");
        let mut join = w.join_of("a", &id);
        join.protocols[0].metadata = Bytes::from(metadata);
        w.send(Command::Join(join));
        w.advance(100);
        let code = first_code(w.ask(delete_offset("whatever")));
        assert_eq!(code, ErrorCode::GroupSubscribedToTopic, "{metadata:?}");
    }
}

#[test]
fn offsets_of_an_empty_group_end_a_week_after_it_became_empty() {
    let mut w = World::new();
    let ids = w.stable(&["a"]);
    w.commit(&ids[0], 1, 3);
    for _ in 0..WEEK_MS / 9_000 {
        w.advance(9_000);
        w.heartbeat(&ids[0], 1);
    }
    assert_eq!(w.fetch(), 3, "in use");
    w.leave(&ids[0]);
    w.advance(WEEK_MS - 1);
    assert_eq!(w.fetch(), 3);
    w.advance(600_000);
    assert_eq!((w.fetch(), w.describe()), (-1, None));
    w.restart(GroupOptions::default());
    assert!(w.shard.is_empty());
}

#[test]
fn offsets_of_topics_a_stable_group_left_behind_end_a_week_after_the_commit() {
    let mut w = World::new();
    let ids = w.stable(&["a"]);
    let mut commit = w.commit_of(&ids[0], 1, 3);
    commit.topics.push(CommitTopic {
        topic: n("left behind"),
        ..commit.topics[0].clone()
    });
    w.ask(Command::OffsetCommit(commit));
    for _ in 0..WEEK_MS / 9_000 + 100 {
        w.advance(9_000);
        w.heartbeat(&ids[0], 1);
    }
    let fetch = OffsetFetch {
        group: n("g"),
        topics: None,
        member: (None, -1),
        require_stable: false,
    };
    let Reply::OffsetFetch(Ok(topics)) = w.ask(Command::OffsetFetch(fetch)) else {
        panic!()
    };
    assert_eq!(topics.len(), 1);
    assert_eq!(&*topics[0].topic, "t");
}

#[test]
fn offsets_of_a_simple_group_end_a_week_after_each_commit() {
    let mut w = World::new();
    w.commit("", -1, 3);
    w.advance(WEEK_MS - 1);
    assert_eq!(w.fetch(), 3);
    w.commit("", -1, 4);
    w.advance(WEEK_MS - 1);
    assert_eq!(w.fetch(), 4);
    w.advance(600_000);
    assert_eq!((w.fetch(), w.describe()), (-1, None));
}

#[test]
fn an_old_client_says_itself_how_long_its_offset_is_kept() {
    let mut w = World::new();
    let mut commit = w.commit_of("", -1, 3);
    commit.retention_ms = Some(60_000);
    w.ask(Command::OffsetCommit(commit));
    w.restart(GroupOptions::default());
    w.advance(599_999);
    assert_eq!(w.fetch(), 3);
    w.advance(1);
    assert_eq!(w.fetch(), -1);
}
