//! What an observer sees, and what every hook knows of a request.

mod common;

use common::{Client, World, join_request};
use rustka::api::parts::Parts;
use rustka::hooks::{Context, Event, Observer, QuotaMeter};
use rustka_wire::api_versions_request::ApiVersionsRequest;
use rustka_wire::delete_topics_request::DeleteTopicsRequest;
use rustka_wire::join_group_request::JoinGroupRequest;
use rustka_wire::join_group_response::JoinGroupResponse;
use rustka_wire::leave_group_request::LeaveGroupRequest;
use rustka_wire::sync_group_request::SyncGroupRequest;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

/// Real time; reached only by tests that fail.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Diary(Mutex<Vec<String>>);

impl Observer for Diary {
    fn saw(&self, event: Event<'_>) {
        let line = match event {
            Event::Connected(peer) => format!("connected {peer}"),
            Event::Disconnected(peer) => format!("disconnected {peer}"),
            Event::Refused(peer, _) => format!("refused {peer}"),
            Event::TopicCreated(name) => format!("created {name}"),
            Event::TopicDeleted(name) => format!("deleted {name}"),
            Event::GroupRebalances { group, cause } => format!("{group} rebalances: {cause:?}"),
            Event::GroupState {
                group,
                state,
                generation,
            } => format!("{group} is {state} at {generation}"),
            Event::MemberGone { group, cause, .. } => format!("{group} loses one: {cause:?}"),
            Event::GroupRefused {
                group, code, limit, ..
            } => format!("{group} refused: {} by {limit}", code.name()),
            Event::Failed(what) => format!("failed: {what}"),
            other => panic!("{other:?}"),
        };
        self.0.lock().expect("diary").push(line);
    }
}

impl Diary {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("diary"))
    }
}

#[tokio::test]
async fn an_observer_sees_connections_and_topics_come_and_go() {
    let diary = Arc::new(Diary::default());
    let world = World::with(|options| options.observer(diary.clone()));
    let peer = ([10, 0, 0, 7], 9).into();
    let mut client = world.connect_from(peer);
    client.create_topic("t", 1).await;
    let request = DeleteTopicsRequest {
        topic_names: vec!["t".into()],
        ..Default::default()
    };
    client.ask(DeleteTopicsRequest::KEY, 5, &request).await;
    client.send_frame(&[0xff; 20]).await;
    assert!(client.is_closed().await);
    world.settle().await;
    assert_eq!(
        diary.take(),
        [
            "connected 10.0.0.7:9",
            "created t",
            "deleted t",
            "refused 10.0.0.7:9",
            "disconnected 10.0.0.7:9"
        ]
    );
}

/// Joins a group as its only member, up to its share.
async fn join(world: &World, client: &mut Client, group: &str, metadata: &'static [u8]) -> String {
    let mut request = join_request(group);
    request.protocols[0].metadata = metadata.into();
    client.send(JoinGroupRequest::KEY, 3, &request).await;
    world.advance_ms(1_000).await;
    let answer = client.answer(JoinGroupRequest::KEY, 3).await;
    let joined: JoinGroupResponse<'_> = answer.body();
    let member_id = joined.member_id.to_string();
    let request = SyncGroupRequest {
        group_id: group.to_owned().into(),
        generation_id: joined.generation_id,
        member_id: member_id.clone().into(),
        ..Default::default()
    };
    client.ask(SyncGroupRequest::KEY, 3, &request).await;
    member_id
}

#[tokio::test]
async fn an_observer_sees_why_a_group_rebalances_and_where_it_stands() {
    let diary = Arc::new(Diary::default());
    let world = World::with(|options| options.observer(diary.clone()));
    let mut client = world.connect();
    let member_id = join(&world, &mut client, "g", b"").await;
    let request = LeaveGroupRequest {
        group_id: "g".into(),
        member_id: member_id.into(),
        ..Default::default()
    };
    client.ask(LeaveGroupRequest::KEY, 2, &request).await;
    let seen = diary.take();
    let of_group: Vec<&str> = seen.iter().map(String::as_str).collect();
    let expected = [
        "g rebalances: Joined",
        "g is PreparingRebalance at 0",
        "g is CompletingRebalance at 1",
        "g is Stable at 1",
        "g loses one: Left",
        "g rebalances: Left",
        "g is PreparingRebalance at 1",
        "g is Empty at 2",
    ];
    assert_eq!(of_group[1..], expected);
}

/// Notes what it is told of each request.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl QuotaMeter for Notes {
    fn charge(&self, context: &Context<'_>, _: usize) -> u32 {
        let software = context.software.as_ref();
        let software = software.map(|software| format!("{} {}", software.name, software.version));
        let (listener, client) = (context.listener, context.client_id);
        let note = format!("{client} by {listener} with {software:?}");
        self.0.lock().expect("notes").push(note);
        0
    }
}

#[tokio::test]
async fn hooks_know_the_listener_and_what_software_the_client_is() {
    let notes = Arc::new(Notes::default());
    let world = World::with(|options| {
        let options = options.quota_meter(notes.clone());
        options
            .config("listeners", "OUTSIDE://127.0.0.1:0")
            .config("listener.security.protocol.map", "OUTSIDE:PLAINTEXT")
    });
    let mut client = world.connect();
    let request = ApiVersionsRequest {
        client_software_name: "some-client".into(),
        client_software_version: "1.2".into(),
        ..Default::default()
    };
    for _ in 0..2 {
        client.ask(ApiVersionsRequest::KEY, 3, &request).await;
    }
    assert_eq!(
        *notes.0.lock().expect("notes"),
        [
            "test by OUTSIDE with None",
            "test by OUTSIDE with Some(\"some-client 1.2\")"
        ]
    );
}

/// Asks the broker back whenever it is told of a group.
#[derive(Default)]
struct Curious {
    parts: OnceLock<Weak<Parts>>,
    counted: Mutex<Vec<usize>>,
}

impl Observer for Curious {
    fn saw(&self, event: Event<'_>) {
        let Event::GroupState { .. } = event else {
            return;
        };
        let parts = self.parts.get().and_then(Weak::upgrade);
        let (count, counted) = channel();
        std::thread::spawn(move || count.send(parts.map_or(0, |parts| parts.groups.counts().0)));
        let groups = counted.recv_timeout(PATIENCE).expect("no lock is held");
        self.counted.lock().expect("counted").push(groups);
    }
}

/// Observers were called under the lock of the groups: a slow one held up all groups of its shard.
#[tokio::test]
async fn observers_are_told_of_groups_under_no_lock() {
    let curious = Arc::new(Curious::default());
    let world = World::with(|options| options.observer(curious.clone()));
    let parts = Arc::downgrade(world.broker.parts());
    curious.parts.set(parts).expect("once");
    let mut client = world.connect();
    join(&world, &mut client, "g", b"").await;
    assert_eq!(*curious.counted.lock().expect("counted"), [1, 1, 1]);
}
