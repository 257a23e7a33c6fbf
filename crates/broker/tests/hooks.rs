//! Hooks, each by what a client notices.

mod common;

use common::{Client, World, batch, fetch_request, produce_request};
use rustka::hooks::{Authorizer, Context, Operation, QuotaMeter, Resource};
use rustka_wire::api_versions_request::ApiVersionsRequest;
use rustka_wire::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use rustka_wire::delete_topics_response::DeleteTopicsResponse;
use rustka_wire::fetch_request::{FetchRequest, FetchTopic};
use rustka_wire::fetch_response::FetchResponse;
use rustka_wire::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use rustka_wire::list_offsets_response::ListOffsetsResponse;
use rustka_wire::metadata_request::{MetadataRequest, MetadataRequestTopic};
use rustka_wire::metadata_response::MetadataResponse;
use rustka_wire::produce_request::ProduceRequest;
use rustka_wire::produce_response::ProduceResponse;
use std::sync::Arc;
use std::time::Duration;

const NOT_LEADER_OR_FOLLOWER: i16 = 6;
const TOPIC_AUTHORIZATION_FAILED: i16 = 29;

/// Keeps the client "guest" away from the topic "secret", and from the cluster as a whole.
struct Guarded;

impl Authorizer for Guarded {
    fn is_allowed(
        &self,
        context: &Context<'_>,
        _operation: Operation,
        resource: Resource<'_>,
    ) -> bool {
        assert_eq!(context.principal, "User:ANONYMOUS");
        let is_guarded = [Resource::Topic("secret"), Resource::Cluster].contains(&resource);
        context.client_id != "guest" || !is_guarded
    }

    fn is_allowed_for_some_topic(&self, _: &Context<'_>, _: Operation) -> bool {
        true
    }
}

async fn guarded() -> (World, Client) {
    let world = World::with(|options| options.authorizer(Arc::new(Guarded)));
    let mut owner = world.connect();
    for topic in ["open", "secret"] {
        owner.create_topic(topic, 1).await;
        owner.produce(topic, 0, batch(10)).await;
    }
    let mut guest = world.connect();
    guest.client_id = "guest".to_owned();
    (world, guest)
}

#[tokio::test]
async fn a_client_that_may_not_use_one_topic_is_served_the_others() {
    let (_world, mut guest) = guarded().await;
    let mut request = produce_request("secret", 0, batch(10));
    let open = produce_request("open", 0, batch(10));
    request.topic_data.extend(open.topic_data);
    let answer = guest.ask(ProduceRequest::KEY, 11, &request).await;
    let body: ProduceResponse<'_> = answer.body();
    let codes = |at: usize| body.responses[at].partition_responses[0].error_code;
    assert_eq!((codes(0), codes(1)), (TOPIC_AUTHORIZATION_FAILED, 0));

    let mut request = fetch_request("secret", 0, 0, 500_000);
    let open = fetch_request("open", 0, 0, 0);
    request.topics.extend(open.topics);
    let answer = guest.ask(FetchRequest::KEY, 12, &request).await;
    let body: FetchResponse<'_> = answer.body();
    // What was read comes first.
    let secret = &body.responses[1].partitions[0];
    assert_eq!(secret.error_code, TOPIC_AUTHORIZATION_FAILED);
    assert_eq!(secret.high_watermark, -1);
    let open = &body.responses[0].partitions[0];
    assert_eq!((open.error_code, open.high_watermark), (0, 2));

    let topic = |name: &'static str| ListOffsetsTopic {
        name: name.into(),
        partitions: vec![ListOffsetsPartition {
            timestamp: -1,
            current_leader_epoch: -1,
            ..Default::default()
        }],
    };
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![topic("secret"), topic("open")],
        ..Default::default()
    };
    let answer = guest.ask(ListOffsetsRequest::KEY, 7, &request).await;
    let body: ListOffsetsResponse<'_> = answer.body();
    let found = |at: usize| {
        let partition = &body.topics[at].partitions[0];
        (partition.error_code, partition.offset)
    };
    assert_eq!(
        [found(0), found(1)],
        [(TOPIC_AUTHORIZATION_FAILED, -1), (0, 2)]
    );
}

#[tokio::test]
async fn a_fetch_by_id_and_in_a_session_is_checked_each_time() {
    let (world, mut guest) = guarded().await;
    let topics = ["secret", "open"].map(|name| {
        let topic = world.broker.node().topics.by_name(name).expect("a topic");
        let by_name = fetch_request(name, 0, 0, 0).topics.remove(0);
        FetchTopic {
            topic: Default::default(),
            topic_id: topic.id,
            ..by_name
        }
    });
    let mut request = FetchRequest {
        session_epoch: 0,
        topics: topics.to_vec(),
        ..fetch_request("", 0, 0, 0)
    };
    for epoch in 0..3 {
        let answer = guest.ask(FetchRequest::KEY, 13, &request).await;
        let body: FetchResponse<'_> = answer.body();
        let secret = &body.responses.last().expect("a topic").partitions[0];
        assert_eq!(secret.error_code, TOPIC_AUTHORIZATION_FAILED);
        request.session_id = body.session_id;
        request.session_epoch = epoch + 1;
        request.topics = Vec::new();
    }
}

#[tokio::test]
async fn metadata_tells_nothing_of_a_topic_that_the_client_may_not_know() {
    let (world, mut guest) = guarded().await;
    let all = MetadataRequest {
        topics: None,
        ..Default::default()
    };
    let answer = guest.ask(MetadataRequest::KEY, 12, &all).await;
    let body: MetadataResponse<'_> = answer.body();
    let names: Vec<_> = body
        .topics
        .iter()
        .filter_map(|topic| topic.name.as_deref())
        .collect();
    assert_eq!(names, ["open"]);
    let secret = world.broker.node().topics.by_name("secret");
    let by_name = MetadataRequestTopic {
        name: Some("secret".into()),
        ..Default::default()
    };
    let by_id = MetadataRequestTopic {
        topic_id: secret.expect("a topic").id,
        name: None,
    };
    // An id is no secret, but it does not tell the name.
    for topic in [by_name, by_id] {
        let is_by_name = topic.name.is_some();
        let request = MetadataRequest {
            topics: Some(vec![topic]),
            ..Default::default()
        };
        let answer = guest.ask(MetadataRequest::KEY, 12, &request).await;
        let body: MetadataResponse<'_> = answer.body();
        let told = &body.topics[0];
        let expected = (TOPIC_AUTHORIZATION_FAILED, 0);
        assert_eq!((told.error_code, told.partitions.len()), expected);
        assert_eq!(told.topic_id.is_zero(), is_by_name);
        assert_eq!(told.name.is_some(), is_by_name);
    }
}

#[tokio::test]
async fn topics_are_deleted_only_by_those_who_may() {
    let (world, mut guest) = guarded().await;
    let state = |name: &'static str| DeleteTopicState {
        name: Some(name.into()),
        ..Default::default()
    };
    let request = DeleteTopicsRequest {
        topics: vec![state("secret"), state("open")],
        ..Default::default()
    };
    let answer = guest.ask(DeleteTopicsRequest::KEY, 6, &request).await;
    let body: DeleteTopicsResponse<'_> = answer.body();
    let mut results: Vec<_> = body
        .responses
        .iter()
        .map(|result| (result.name.as_deref().unwrap_or(""), result.error_code))
        .collect();
    results.sort_unstable();
    assert_eq!(
        results,
        [("open", 0), ("secret", TOPIC_AUTHORIZATION_FAILED)]
    );
    assert!(world.broker.node().topics.by_name("secret").is_some());
}

/// Every request of a client named "greedy" costs it three seconds.
struct Metered;

impl QuotaMeter for Metered {
    fn charge(&self, context: &Context<'_>, bytes: usize) -> u32 {
        assert!(bytes > 0);
        if context.client_id == "greedy" {
            3_000
        } else {
            0
        }
    }
}

#[tokio::test]
async fn a_client_over_quota_is_answered_first_and_then_not_read_for_a_while() {
    let world = World::with(|options| options.quota_meter(Arc::new(Metered)));
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    let mut greedy = world.connect();
    greedy.client_id = "greedy".to_owned();
    let answer = greedy.produce("t", 0, batch(10)).await;
    let body: ProduceResponse<'_> = answer.body();
    assert_eq!(body.throttle_time_ms, 3_000);
    assert_eq!(body.responses[0].partition_responses[0].error_code, 0);
    let request = produce_request("t", 0, batch(10));
    greedy.send(ProduceRequest::KEY, 11, &request).await;
    world.advance_ms(2_999).await;
    assert!(!greedy.has_answer());
    let partition = world.broker.node().partition("t", 0).expect("there");
    assert_eq!(partition.offsets().high_watermark, 1, "not even read");
    // Others are not slowed down.
    let answer = client.produce("t", 0, batch(10)).await;
    assert_eq!(answer.body::<ProduceResponse<'_>>().throttle_time_ms, 0);
    world.advance_ms(1).await;
    let answer = greedy.answer(ProduceRequest::KEY, 11).await;
    let body: ProduceResponse<'_> = answer.body();
    assert_eq!(body.responses[0].partition_responses[0].base_offset, 2);
}

#[tokio::test]
async fn a_throttled_client_that_hangs_up_is_forgotten_at_once() {
    let world = World::with(|options| options.quota_meter(Arc::new(Metered)));
    let mut greedy = world.connect();
    greedy.client_id = "greedy".to_owned();
    let request = ApiVersionsRequest::default();
    greedy.ask(ApiVersionsRequest::KEY, 0, &request).await;
    drop(greedy);
    world.settle().await;
    assert_eq!(world.connections(), 0);
}

#[tokio::test]
async fn a_partition_that_another_node_leads_sends_its_clients_there() {
    let world = World::start();
    let mut client = world.connect();
    client.create_topic("t", 2).await;
    let mut reader = world.connect();
    let request = fetch_request("t", 0, 0, 500_000);
    reader.send(FetchRequest::KEY, 12, &request).await;
    world.settle().await;
    world.elect("t", 0, 2);
    // Who waits there hears of it at once.
    let answer = reader.answer(FetchRequest::KEY, 12).await;
    let body: FetchResponse<'_> = answer.body();
    let code = body.responses[0].partitions[0].error_code;
    assert_eq!(code, NOT_LEADER_OR_FOLLOWER);
    for (index, expected) in [(0, NOT_LEADER_OR_FOLLOWER), (1, 0)] {
        let answer = client.produce("t", index, batch(10)).await;
        let body: ProduceResponse<'_> = answer.body();
        let code = body.responses[0].partition_responses[0].error_code;
        assert_eq!(code, expected);
    }
}

/// A reader that is sent more than 100 bytes of records at once waits a second, and so does who asks for ApiVersions.
struct Counting;

impl QuotaMeter for Counting {
    fn charge(&self, context: &Context<'_>, _: usize) -> u32 {
        if context.api == ApiVersionsRequest::KEY {
            1_000
        } else {
            0
        }
    }

    fn charge_answer(&self, _: &Context<'_>, bytes: usize, used: Duration) -> u32 {
        assert_eq!(used, Duration::ZERO, "the clock stands still");
        if bytes > 100 { 700 } else { 0 }
    }
}

#[tokio::test]
async fn an_answer_is_charged_for_what_it_carries_before_it_tells_the_wait() {
    let world = World::with(|options| options.quota_meter(Arc::new(Counting)));
    let mut client = world.connect();
    client.create_topic("t", 1).await;
    client.produce("t", 0, batch(10)).await;
    let request = fetch_request("t", 0, 0, 0);
    let answer = client.ask(FetchRequest::KEY, 12, &request).await;
    assert_eq!(answer.body::<FetchResponse<'_>>().throttle_time_ms, 0);
    client.produce("t", 0, batch(200)).await;
    let answer = client.ask(FetchRequest::KEY, 12, &request).await;
    assert_eq!(answer.body::<FetchResponse<'_>>().throttle_time_ms, 700);
    client.send(FetchRequest::KEY, 12, &request).await;
    world.advance_ms(699).await;
    assert!(!client.has_answer());
    world.advance_ms(1).await;
    client.answer(FetchRequest::KEY, 12).await;
    // The first wait stands if it is the longer one.
    let request = ApiVersionsRequest::default();
    world.advance_ms(700).await;
    client.ask(ApiVersionsRequest::KEY, 0, &request).await;
    client.send(ApiVersionsRequest::KEY, 0, &request).await;
    world.advance_ms(999).await;
    assert!(!client.has_answer());
    world.advance_ms(1).await;
    client.answer(ApiVersionsRequest::KEY, 0).await;
}
