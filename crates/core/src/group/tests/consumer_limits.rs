//! Members of consumer groups that ask for too much are refused, and their groups unharmed.

use std::sync::Arc;

use super::consumer::{JOINS, beat, send, with_topics};
use super::world::*;
use crate::account::{Account, Share};
use crate::error::ErrorCode;
use crate::group::command::*;
use crate::group::consumer::{Beat, check_lists};
use crate::group::effects::*;
use crate::group::{GroupOptions, GroupShard};

fn code(w: &mut World, beat: Beat) -> ErrorCode {
    send(w, beat).map_or_else(|refusal| refusal.code, |_| ErrorCode::None)
}

/// The member asks for so many topics with long names.
fn wanting(beat: Beat, topics: usize) -> Beat {
    let names = (0..topics).map(|at| n(&format!("{at:0200}")));
    Beat {
        topics: Some(names.collect()),
        ..beat
    }
}

fn by(beat: Beat, expression: &str) -> Beat {
    Beat {
        expression: Some(n(expression)),
        ..beat
    }
}

// Each expression is matched against every topic, and what it matches is kept: ten members could have a gigabyte.
#[test]
fn a_group_uses_so_many_expressions_and_no_more() {
    let mut w = World::strict();
    for at in 0..50 {
        let member = format!("m{at}");
        assert_eq!(
            code(&mut w, by(beat(&member, JOINS), &member)),
            ErrorCode::None
        );
    }
    let refused = send(&mut w, by(beat("more", JOINS), "more")).unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidRequest);
    assert!(
        refused
            .message
            .is_some_and(|message| message.contains("50 different"))
    );
    // One that another member uses costs nothing, and neither does another one instead of one's own.
    let other = send(&mut w, by(beat("more", JOINS), "m7")).unwrap();
    assert_eq!(
        code(&mut w, by(beat("m8", JOINS), "other")),
        ErrorCode::None
    );
    let own = by(beat("more", other.epoch), "more");
    assert_eq!(
        code(&mut w, own),
        ErrorCode::InvalidRequest,
        "m7 is still used"
    );
    let named = by(beat("more", other.epoch), "");
    assert_eq!(code(&mut w, named), ErrorCode::None);
}

// A member joined with one topic and asked for a million bytes of names later, as often as it liked.
#[test]
fn a_member_that_asks_for_more_is_held_to_the_groups_limit() {
    let mut w = World::with(GroupOptions {
        group_bytes_max: 10_000,
        ..GroupOptions::default()
    });
    with_topics(&mut w, 1, &[("t", 1, 3)]);
    let epoch = send(&mut w, beat("a", JOINS)).unwrap().epoch;
    let refused = code(&mut w, wanting(beat("a", epoch), 100));
    assert_eq!(refused, ErrorCode::GroupMaxSizeReached);
    assert_eq!(
        code(&mut w, wanting(beat("b", JOINS), 100)),
        ErrorCode::GroupMaxSizeReached
    );
    assert_eq!(
        send(&mut w, beat("a", epoch)).unwrap().epoch,
        epoch,
        "nothing has changed"
    );
    assert_eq!(code(&mut w, wanting(beat("a", epoch), 20)), ErrorCode::None);
}

/// A world in which groups have taken all they may.
fn full(enter: impl FnOnce(&mut World)) -> World {
    let account = Arc::new(Account::new(8 * 50_000));
    let mut w = World::new();
    w.shard = GroupShard::beside(GroupOptions::default(), Arc::default(), account.clone());
    with_topics(&mut w, 1, &[("t", 1, 3)]);
    enter(&mut w);
    let left = account.told(Share::Groups).bytes_max - account.bytes(Share::Groups);
    let epoch = send(
        &mut w,
        wanting(beat("ballast", JOINS), (left - 5_000) / 240),
    )
    .unwrap();
    assert!(epoch.epoch > 0);
    w
}

#[test]
fn where_groups_have_all_they_may_members_stay_what_they_are() {
    let mut epoch = 0;
    let mut w = full(|w| epoch = send(w, beat("a", JOINS)).unwrap().epoch);
    let more = wanting(beat("a", epoch), 100);
    assert_eq!(code(&mut w, more), ErrorCode::CoordinatorLoadInProgress);
    assert!(matches!(w.events.last(), Some(Event::Refused { .. })));
    assert_eq!(
        code(&mut w, beat("a", JOINS)),
        ErrorCode::None,
        "all over again"
    );
}

#[test]
fn where_groups_have_all_they_may_classic_members_do_not_grow_either() {
    let mut w = World::new();
    let account = Arc::new(Account::new(8 * 50_000));
    w.shard = GroupShard::beside(GroupOptions::default(), Arc::default(), account);
    let ids = w.stable(&["a"]);
    let mut join = w.join_of("a", &ids[0]);
    join.protocols[0].metadata = vec![0; 60_000].into();
    let Reply::Join(Err(refused)) = w.ask(Command::Join(join)) else {
        panic!("there is no room");
    };
    assert_eq!(refused.code, ErrorCode::CoordinatorLoadInProgress);
    assert_eq!(w.heartbeat(&ids[0], 1), ErrorCode::None);
}

#[test]
fn lists_are_not_looked_through_without_end() {
    assert!(check_lists(100_000, 100_000).is_ok());
    for (topics, partitions) in [(100_001, 0), (0, 100_001)] {
        let refused = check_lists(topics, partitions).unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidRequest);
    }
}
