//! Clients that were told an address and never come to it are named, with what to set; the others are left alone.

mod common;

use common::World;
use rustka_wire::list_groups_request::ListGroupsRequest;
use rustka_wire::metadata_request::MetadataRequest;

fn strays(world: &World) -> Vec<String> {
    let now_ms = world.clock.now().monotonic_ms;
    let strays = world.broker.node().doctor.strays(now_ms);
    strays.iter().map(|stray| stray.told.clone()).collect()
}

// Somebody ran the broker in a container, was told `kafka:9092` outside of it, and saw nothing but timeouts.
#[tokio::test]
async fn a_client_that_stays_where_it_came_in_is_named_until_it_comes() {
    let advertised = ("advertised.listeners", "PLAINTEXT://kafka:29092");
    let world = World::with(|options| options.config(advertised.0, advertised.1));
    let mut client = world.connect();
    for _ in 0..5 {
        client
            .ask(MetadataRequest::KEY, 12, &MetadataRequest::default())
            .await;
    }
    assert_eq!(strays(&world), [""; 0]);
    for _ in 0..12 {
        world.advance_ms(1_000).await;
    }
    assert_eq!(strays(&world), ["kafka:29092"]);
    let mut other = world.connect();
    other
        .ask(ListGroupsRequest::KEY, 4, &ListGroupsRequest::default())
        .await;
    assert_eq!(strays(&world), [""; 0]);
}

#[tokio::test]
async fn a_client_that_works_is_never_named() {
    let world = World::start();
    let (mut first, mut second) = (world.connect(), world.connect());
    second
        .ask(ListGroupsRequest::KEY, 4, &ListGroupsRequest::default())
        .await;
    for _ in 0..30 {
        first
            .ask(MetadataRequest::KEY, 12, &MetadataRequest::default())
            .await;
        world.advance_ms(1_000).await;
        assert_eq!(strays(&world), [""; 0]);
    }
}
