//! The API of the dashboard beyond topics and records: groups, clients, the request log, users, cleaning up.
#![cfg(feature = "http")]

mod common;
mod page;

use common::{World, join_request};
use page::{Page, filled};
use rustka_wire::consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest;
use rustka_wire::join_group_request::JoinGroupRequest;
use rustka_wire::join_group_response::JoinGroupResponse;
use rustka_wire::metadata_request::MetadataRequest;
use rustka_wire::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use rustka_wire::sync_group_request::SyncGroupRequest;
use serde_json::{Value, json};

async fn commit(world: &World, group: &str, offset: i64) {
    let request = OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: 0,
                committed_offset: offset,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut client = world.connect();
    client.ask(OffsetCommitRequest::KEY, 5, &request).await;
}

#[tokio::test]
async fn a_group_shows_what_is_left_and_goes_where_it_is_sent() {
    let world = World::start();
    let page = Page(&world);
    filled(&page, "t", 1, 10).await;
    commit(&world, "g", 4).await;
    let listed = page
        .get("/api/v1/groups?topic=t&sort=lag&order=down")
        .await
        .json();
    let group = &listed["groups"][0];
    assert_eq!(
        (&group["group"], &group["lag"], &group["state"]),
        (&json!("g"), &json!("6"), &json!("Empty"))
    );
    assert_eq!(
        page.get("/api/v1/groups?topic=other").await.json()["total"],
        0
    );

    let path = "/api/v1/groups/g/offsets";
    for (to, expected) in [
        ("earliest", "0"),
        ("latest", "10"),
        ("7", "7"),
        ("-1", "3"),
        ("+100", "10"),
        ("@1008", "8"),
    ] {
        let preview = page.send("POST", path, json!({ "to": to })).await.json();
        assert_eq!(preview["partitions"][0]["to"], expected, "{to}");
        assert_eq!(preview["executed"], false);
    }
    let shown = page.get("/api/v1/groups/g").await.json();
    assert_eq!(
        shown["partitions"][0]["committed"], "4",
        "a preview moves nothing"
    );
    let metrics = page.get("/metrics?names=exporter").await.body;
    let lag = "kafka_consumergroup_lag{consumergroup=\"g\",partition=\"0\",topic=\"t\"} 6";
    assert!(metrics.contains(lag), "{metrics}");
    page.send("POST", path, json!({ "to": "-1", "execute": true }))
        .await;
    let shown = page.get("/api/v1/groups/g").await.json();
    assert_eq!(
        (&shown["partitions"][0]["committed"], &shown["lag"]),
        (&json!("3"), &json!("7"))
    );
    assert_eq!(
        page.send("POST", path, json!({ "to": "there" }))
            .await
            .status,
        400
    );
    assert_eq!(
        page.send("POST", path, json!({ "to": "1", "topic": "none" }))
            .await
            .status,
        404
    );

    // What went before it was read is told apart from what is left.
    page.send("POST", "/api/v1/topics/t/empty", json!({})).await;
    let shown = page.get("/api/v1/groups/g").await.json();
    assert_eq!((&shown["lag"], &shown["lost"]), (&json!("0"), &json!("7")));
    assert_eq!(
        page.ask("DELETE", "/api/v1/groups/g", "", None)
            .await
            .status,
        204
    );
    assert_eq!(page.get("/api/v1/groups/g").await.status, 404);
}

fn join(member: &str) -> JoinGroupRequest<'static> {
    JoinGroupRequest {
        member_id: member.to_owned().into(),
        ..join_request("g")
    }
}

#[tokio::test]
async fn a_rebalance_tells_who_caused_it_and_a_group_with_members_keeps_its_offsets() {
    let world = World::start();
    let page = Page(&world);
    filled(&page, "t", 1, 3).await;
    commit(&world, "g", 1).await;
    let mut client = world.connect();
    client.client_id = "billing".to_owned();
    client.send(JoinGroupRequest::KEY, 2, &join("")).await;
    world.advance_ms(500).await;
    let answer = client.answer(JoinGroupRequest::KEY, 2).await;
    let joined: JoinGroupResponse<'_> = answer.body();
    let sync = SyncGroupRequest {
        group_id: "g".into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        ..Default::default()
    };
    client.ask(SyncGroupRequest::KEY, 1, &sync).await;
    let told = page.get("/api/v1/groups/g/timeline").await.json();
    let first = &told["rebalances"][0];
    assert_eq!(first["cause"], "a new member joined");
    assert_eq!(
        (&first["by"]["clientId"], &first["state"]),
        (&json!("billing"), &json!("Stable"))
    );
    let shown = page.get("/api/v1/groups/g").await.json();
    assert_eq!(
        (&shown["state"], &shown["members"][0]["clientId"]),
        (&json!("Stable"), &json!("billing"))
    );

    let moved = json!({ "to": "earliest", "execute": true });
    let refused = page.send("POST", "/api/v1/groups/g/offsets", moved).await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert!(refused.body.contains("stop its consumers first"));
    assert_eq!(
        page.ask("DELETE", "/api/v1/groups/g", "", None)
            .await
            .status,
        409
    );
}

#[tokio::test]
async fn a_consumer_group_shows_what_its_members_hold_and_its_epochs() {
    let world = World::start();
    let page = Page(&world);
    filled(&page, "t", 2, 3).await;
    let mut client = world.connect();
    client.client_id = "billing".to_owned();
    let heartbeat = ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: "one".into(),
        rebalance_timeout_ms: 10_000,
        subscribed_topic_names: Some(vec!["t".into()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    };
    client
        .ask(ConsumerGroupHeartbeatRequest::KEY, 1, &heartbeat)
        .await;
    let shown = page.get("/api/v1/groups/g").await.json();
    let member = &shown["members"][0];
    assert_eq!(
        (&member["member"], &member["clientId"]),
        (&json!("one"), &json!("billing"))
    );
    assert_eq!(
        member["share"],
        json!([{ "topic": "t", "partitions": [0, 1] }])
    );
    let told = &shown["epochs"];
    assert_eq!(told["epoch"], told["assignmentEpoch"]);
    assert_eq!(told["members"][0]["member"], "one");
    assert_eq!(told["members"][0]["givesUp"], json!([]));
    assert_eq!(told["members"][0]["waitsFor"], json!([]));
    assert_eq!(shown["partitionCount"], 2);
    let listed = page.get("/api/v1/groups").await.json();
    assert_eq!(listed["groups"][0]["members"], 1);
}

#[tokio::test]
async fn clients_are_listed_with_what_they_asked_and_can_be_closed() {
    let world = World::start();
    let page = Page(&world);
    let mut client = world.connect();
    client.client_id = "shop".to_owned();
    client.create_topic("t", 1).await;
    let listed = page.get("/api/v1/clients").await.json();
    let row = &listed["clients"][0];
    assert_eq!(
        (&listed["total"], &row["clientId"], &row["principal"]),
        (&json!(1), &json!("shop"), &json!("User:ANONYMOUS"))
    );
    assert_eq!(
        (&row["requests"], &row["lastApi"]),
        (&json!("1"), &json!("CreateTopics"))
    );
    assert!(row["largestBytes"].as_i64() > Some(20));
    assert_eq!(
        page.get("/api/v1/clients?search=nobody").await.json()["total"],
        0
    );
    let path = format!("/api/v1/clients/{}", row["id"].as_str().unwrap());
    assert_eq!(page.ask("DELETE", &path, "", None).await.status, 204);
    world.settle().await;
    assert_eq!(world.connections(), 0);
    assert_eq!(page.ask("DELETE", &path, "", None).await.status, 404);
}

#[tokio::test]
async fn clients_that_never_came_are_told_as_the_description_of_the_api_has_them() {
    let world = World::with(|options| options.config("advertised.listeners", "PLAINTEXT://box:1"));
    let page = Page(&world);
    let mut client = world.connect();
    client.client_id = "lost".to_owned();
    for _ in 0..12 {
        client
            .ask(MetadataRequest::KEY, 12, &MetadataRequest::default())
            .await;
        world.advance_ms(1_000).await;
    }
    let listed = page.get("/api/v1/clients").await.json();
    let stray = &listed["strays"][0];
    assert_eq!(
        (&stray["clientId"], &stray["told"], &stray["listener"]),
        (&json!("lost"), &json!("box:1"), &json!("PLAINTEXT"))
    );
    let described = page.get("/api/v1/openapi.json").await.json();
    let responses = &described["paths"]["/api/v1/clients"]["get"]["responses"];
    let schema = &responses["200"]["content"]["application/json"]["schema"];
    let strays = &schema["properties"]["strays"]["items"];
    for (told, schema) in [(&listed, schema), (stray, strays)] {
        let keys = |value: &Value| {
            let object = value.as_object().expect("an object");
            object.keys().cloned().collect::<Vec<_>>()
        };
        assert_eq!(keys(told), keys(&schema["properties"]));
    }
}

#[tokio::test]
async fn requests_are_recorded_only_while_somebody_watches() {
    let world = World::start();
    let page = Page(&world);
    let mut client = world.connect();
    client.client_id = "shop".to_owned();
    client.create_topic("before", 1).await;
    let nothing = page.get("/api/v1/requests").await.json();
    assert_eq!(nothing["requests"], json!([]));
    client.create_topic("t", 1).await;
    client
        .ask(MetadataRequest::KEY, 12, &MetadataRequest::default())
        .await;
    let listed = page.get("/api/v1/requests?client=shop").await.json();
    let apis: Vec<&Value> = listed["requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["api"])
        .collect();
    assert_eq!(apis, ["Metadata", "CreateTopics"]);
    let number = listed["requests"][1]["number"].as_str().unwrap();
    let whole = page.get(&format!("/api/v1/requests/{number}")).await.json();
    assert_eq!(whole["request"]["topics"][0]["name"], "t");
    assert_eq!(whole["answer"]["topics"][0]["errorCode"], 0);
    let lines = page.get("/api/v1/requests/export?api=create").await;
    assert_eq!(lines.body.lines().count(), 1);
    for _ in 0..150 {
        let all = MetadataRequest::default();
        client.ask(MetadataRequest::KEY, 12, &all).await;
    }
    let lines = page.get("/api/v1/requests/export?api=metadata").await;
    assert_eq!(lines.body.lines().count(), 151, "all of them, in pieces");

    // Nobody has asked for long enough: what comes is nobody's business.
    world.advance_ms(11_000).await;
    client.create_topic("later", 1).await;
    client.create_topic("later-still", 1).await;
    let listed = page.get("/api/v1/requests").await.json();
    assert_eq!(listed["total"], 152);
    assert_eq!(
        page.send("POST", "/api/v1/requests/recording", json!({ "on": true }))
            .await
            .status,
        200
    );
    world.advance_ms(100_000).await;
    let mut other = world.connect();
    other.create_topic("recorded", 1).await;
    let listed = page.get("/api/v1/requests").await.json();
    assert_eq!(
        (&listed["recording"], &listed["total"]),
        (&json!(true), &json!(153))
    );
}

#[tokio::test]
async fn users_and_acls_are_added_and_removed() {
    let world = World::with(|options| {
        let options = options.config("super.users", "User:ANONYMOUS");
        options.config("authorizer.class.name", "x")
    });
    let page = Page(&world);
    let body = json!({ "user": "alice", "password": "alice-secret" });
    assert_eq!(page.send("POST", "/api/v1/users", body).await.status, 201);
    let listed = page.get("/api/v1/users").await.json();
    assert_eq!(
        (
            &listed["users"][0]["user"],
            listed["users"][0]["credentials"].as_array().unwrap().len()
        ),
        (&json!("alice"), 2)
    );
    assert_eq!(
        page.ask("DELETE", "/api/v1/users/alice", "", None)
            .await
            .status,
        204
    );
    assert_eq!(
        page.ask("DELETE", "/api/v1/users/alice", "", None)
            .await
            .status,
        404
    );

    let acl = json!({
        "type": "topic", "name": "shop-", "pattern": "prefixed",
        "principal": "User:alice", "operation": "read",
    });
    let added = page.send("POST", "/api/v1/acls", acl.clone()).await;
    assert_eq!(added.status, 201, "{}", added.body);
    let listed = page.get("/api/v1/acls").await.json();
    let expected = json!({
        "type": "topic", "name": "shop-", "pattern": "prefixed", "host": "*",
        "principal": "User:alice", "operation": "read", "permission": "allow",
    });
    assert_eq!(listed["acls"], json!([expected]));
    let wrong = page
        .send(
            "POST",
            "/api/v1/acls",
            json!({ "type": "table", "principal": "User:a", "operation": "read" }),
        )
        .await;
    assert_eq!(wrong.status, 400);
    assert_eq!(
        page.send("POST", "/api/v1/acls/delete", acl.clone())
            .await
            .status,
        204
    );
    assert_eq!(
        page.send("POST", "/api/v1/acls/delete", acl).await.status,
        404
    );
}

#[tokio::test]
async fn quotas_are_set_and_taken_away() {
    let world = World::start();
    let page = Page(&world);
    let entity = json!([{ "type": "client-id", "name": "shop" }]);
    let set = json!({ "entity": entity, "quotas": { "producer_byte_rate": 1000 } });
    let answer = page.send("POST", "/api/v1/quotas", set).await;
    assert_eq!(answer.status, 204, "{}", answer.body);
    let listed = page.get("/api/v1/quotas").await.json();
    let row = json!({ "entity": entity, "quotas": { "producer_byte_rate": 1000.0 } });
    assert_eq!(listed["quotas"], json!([row]));
    let wrong = json!({ "entity": entity, "quotas": { "speed": 1 } });
    assert_eq!(page.send("POST", "/api/v1/quotas", wrong).await.status, 422);
    let gone = json!({ "entity": entity, "quotas": { "producer_byte_rate": null } });
    assert_eq!(page.send("POST", "/api/v1/quotas", gone).await.status, 204);
    assert_eq!(page.get("/api/v1/quotas").await.json()["quotas"], json!([]));
}

#[tokio::test]
async fn without_an_authorizer_there_are_no_acls_and_that_is_said() {
    let world = World::start();
    let answer = Page(&world).get("/api/v1/acls").await.json();
    assert_eq!(answer, json!({ "acls": [], "hasAuthorizer": false }));
}

#[tokio::test]
async fn cleaning_up_takes_what_was_shown_and_nothing_internal() {
    let world = World::start();
    let page = Page(&world);
    filled(&page, "full", 2, 7).await;
    filled(&page, "t", 1, 1).await;
    commit(&world, "g", 1).await;
    let compacted = json!({ "name": "keys", "configs": { "cleanup.policy": "compact" } });
    page.send("POST", "/api/v1/topics", compacted).await;
    page.send(
        "POST",
        "/api/v1/topics/keys/records",
        json!({ "key": "k", "value": "v" }),
    )
    .await;
    page.send("POST", "/api/v1/topics", json!({ "name": "empty" }))
        .await;
    let shown = page.get("/api/v1/cleanup").await.json();
    assert_eq!(
        (
            &shown["emptyTopics"],
            &shown["records"],
            &shown["topicCount"]
        ),
        (&json!(["empty"]), &json!("8"), &json!(2))
    );
    let grown = page
        .send(
            "POST",
            "/api/v1/cleanup/all-messages",
            json!({ "records": "9" }),
        )
        .await;
    assert_eq!(grown.status, 409);
    // The routes of the first Rustka.
    let removed = page
        .ask("POST", "/api/cleanup/empty-topics", "", None)
        .await
        .json();
    assert_eq!(
        (&removed["success"], &removed["removedCount"]),
        (&json!(true), &json!(1))
    );
    let cleared = page
        .ask("POST", "/api/cleanup/all-messages", "", None)
        .await
        .json();
    assert_eq!(
        (&cleared["success"], &cleared["records"]),
        (&json!(true), &json!("8"))
    );
    let kept = page.get("/api/v1/topics/keys").await.json();
    assert_eq!(kept["records"], "1");
    assert_eq!(
        page.get("/api/v1/groups/g").await.json()["partitions"][0]["committed"],
        "1"
    );
    for path in ["/api/metrics", "/api/memory-stats"] {
        assert_eq!(page.get(path).await.json()["records"], "1", "{path}");
    }
}
