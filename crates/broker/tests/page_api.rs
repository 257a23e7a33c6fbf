//! The API of the dashboard, asked as a browser asks it.
#![cfg(feature = "http")]

mod common;
mod page;

use common::World;
use page::{Page, filled, logged_in};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn a_topic_is_made_written_read_emptied_and_deleted() {
    let world = World::start();
    let page = Page(&world);
    let made = json!({ "name": "t", "partitions": 2, "configs": { "retention.ms": "60000" } });
    assert_eq!(
        page.send("POST", "/api/v1/topics", made.clone())
            .await
            .status,
        201
    );
    let again = page.send("POST", "/api/v1/topics", made).await;
    assert_eq!(
        (again.status, again.json()["code"].as_str()),
        (409, Some("TOPIC_ALREADY_EXISTS"))
    );
    assert!(
        again
            .headers
            .contains("content-type: application/problem+json")
    );

    let record = json!({
        "partition": 1,
        "key": "k",
        "value": { "encoding": "base64", "data": "/wA=" },
        "headers": [{ "name": "h", "value": "x" }],
    });
    let written = page.send("POST", "/api/v1/topics/t/records", record).await;
    assert_eq!(written.json(), json!({ "partition": 1, "offset": "0" }));
    let copy = json!({ "from": { "topic": "t", "partition": 1, "offset": "0" }, "partition": 0 });
    assert_eq!(
        page.send("POST", "/api/v1/topics/t/records", copy)
            .await
            .status,
        201
    );
    let read = page
        .get("/api/v1/topics/t/records?partition=0")
        .await
        .json();
    let copied = &read["records"][0];
    assert_eq!(copied["key"]["data"], "k");
    assert_eq!(
        copied["value"],
        json!({ "encoding": "base64", "data": "/wA=", "bytes": 2, "cut": false })
    );
    assert_eq!(copied["headers"][0]["value"]["data"], "x");

    let more = page
        .send("POST", "/api/v1/topics/t/partitions", json!({ "count": 3 }))
        .await;
    assert_eq!(more.json(), json!({ "partitions": 3 }));
    let shown = page.get("/api/v1/topics/t").await.json();
    assert_eq!(
        (
            shown["partitions"].as_i64(),
            shown["rows"].as_array().unwrap().len()
        ),
        (Some(3), 3)
    );
    let emptied = page.send("POST", "/api/v1/topics/t/empty", json!({})).await;
    assert_eq!(emptied.json(), json!({ "records": "2" }));
    assert_eq!(
        page.get("/api/v1/topics/t/records").await.json()["records"],
        json!([])
    );
    assert_eq!(
        page.ask("DELETE", "/api/v1/topics/t", "", None)
            .await
            .status,
        204
    );
    assert_eq!(page.get("/api/v1/topics/t").await.status, 404);
}

#[tokio::test]
async fn configs_tell_where_they_come_from_and_go_back_to_it() {
    let world = World::start();
    let page = Page(&world);
    page.send("POST", "/api/v1/topics", json!({ "name": "t" }))
        .await;
    let set = json!({ "configs": { "retention.ms": 5 } });
    let of = |answer: Value| {
        let configs = answer["configs"].as_array().unwrap().clone();
        let found = configs
            .into_iter()
            .find(|one| one["name"] == "retention.ms")
            .unwrap();
        (
            found["value"].clone(),
            found["source"].clone(),
            found["default"].clone(),
        )
    };
    let path = "/api/v1/topics/t/configs";
    let changed = page.send("PATCH", path, set).await.json();
    assert_eq!(
        of(changed),
        (json!("5"), json!("topic"), json!("604800000"))
    );
    let back = page
        .send(
            "PATCH",
            path,
            json!({ "configs": { "retention.ms": null } }),
        )
        .await;
    assert_eq!(of(back.json()).1, json!("default"));
    let wrong = page
        .send(
            "PATCH",
            path,
            json!({ "configs": { "retention.ms": "soon" } }),
        )
        .await;
    assert_eq!(
        (wrong.status, wrong.json()["code"].as_str()),
        (422, Some("INVALID_CONFIG"))
    );
}

fn keys(answer: &Value) -> Vec<String> {
    let records = answer["records"].as_array().expect("records").iter();
    records
        .map(|record| record["key"]["data"].as_str().expect("a key").to_owned())
        .collect()
}

#[tokio::test]
async fn whoever_pages_back_meets_every_record_once_and_the_newest_first() {
    let world = World::start();
    let page = Page(&world);
    filled(&page, "t", 3, 20).await;
    let (mut met, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/topics/t/records?limit=7{cursor}");
        let answer = page.get(&path).await.json();
        met.extend(keys(&answer));
        match answer["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let expected: Vec<String> = (0..20).rev().map(|n| format!("k{n}")).collect();
    assert_eq!(met, expected);
}

#[tokio::test]
async fn records_are_found_by_offset_by_time_and_by_what_is_in_them() {
    let world = World::start();
    let page = Page(&world);
    filled(&page, "t", 1, 10).await;
    for (query, expected) in [
        ("start=8", vec!["k8", "k9"]),
        ("start=@1007", vec!["k7", "k8", "k9"]),
        ("start=oldest&limit=2", vec!["k0", "k1"]),
        ("filter=key%3Dk3", vec!["k3"]),
        ("filter=.n%3D4", vec!["k4"]),
        ("start=oldest&filter=-k", vec![]),
        ("start=100", vec![]),
    ] {
        let answer = page.get(&format!("/api/v1/topics/t/records?{query}")).await;
        assert_eq!(keys(&answer.json()), expected, "{query}");
    }
    for (query, status) in [
        ("start=x", 400),
        ("start=-1", 400),
        ("partition=1", 400),
        ("limit=0", 400),
        ("limit=501", 400),
        ("cursor=x", 400),
        ("filter=%22", 400),
        ("offset=1", 400),
    ] {
        let answer = page.get(&format!("/api/v1/topics/t/records?{query}")).await;
        assert_eq!(answer.status, status, "{query}: {}", answer.body);
    }
}

#[tokio::test]
async fn an_export_has_all_records_and_its_end() {
    let world = World::start();
    let page = Page(&world);
    filled(&page, "t", 2, 9).await;
    let lines = page.get("/api/v1/topics/t/export").await;
    assert_eq!(lines.body.lines().count(), 9);
    assert!(lines.headers.contains("filename=\"t.jsonl\""));
    let table = page
        .get("/api/v1/topics/t/export?format=csv&filter=k7")
        .await;
    let expected = "partition,offset,timestamp,key_encoding,key,value_encoding,value,headers\r\n1,3,1007,utf-8,k7,utf-8,\"{\"\"n\"\":7}\",[]\r\n";
    assert_eq!(table.body, expected);
}

#[tokio::test]
async fn a_tail_shows_what_comes_after_it_began() {
    let world = World::start();
    let page = Page(&world);
    filled(&page, "t", 1, 3).await;
    let mut stream = world.broker.connect_http();
    let request = b"GET /api/v1/topics/t/tail HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    world.settle().await;
    let record = json!({ "key": "new", "value": "v" });
    page.send("POST", "/api/v1/topics/t/records", record).await;
    world.advance_ms(250).await;
    let mut text = String::new();
    while !text.contains("\"new\"") {
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).await.unwrap();
        assert!(count > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    assert!(
        text.contains("text/event-stream") && !text.contains("\"k2\""),
        "{text}"
    );
}

/// Attacks, row 30: a page from elsewhere has its visitor's browser send something here.
#[tokio::test]
async fn what_comes_from_pages_elsewhere_changes_nothing() {
    let world = World::start();
    let page = Page(&world);
    let body = || Some(json!({ "name": "t" }).to_string());
    for (more, status) in [
        ("origin: http://evil.example\r\n", 403),
        ("origin: null\r\n", 403),
        ("sec-fetch-site: cross-site\r\n", 403),
        ("sec-fetch-site: same-site\r\n", 403),
        ("content-type: text/plain\r\n", 415),
        ("x-forwarded-for: 192.0.2.1\r\n", 403),
        ("host: rebound.example\r\n", 421),
        (
            "host: localhost:8080\r\norigin: http://localhost:8081\r\n",
            403,
        ),
    ] {
        let answer = page.ask("POST", "/api/v1/topics", more, body()).await;
        assert_eq!(answer.status, status, "{more}");
    }
    assert_eq!(page.get("/api/v1/topics/t").await.status, 404);
    let own =
        "origin: http://localhost:8080\r\nhost: localhost:8080\r\nsec-fetch-site: same-origin\r\n";
    assert_eq!(
        page.ask("POST", "/api/v1/topics", own, body()).await.status,
        201
    );
}

#[tokio::test]
async fn with_a_token_one_may_change_things_from_anywhere() {
    let world = World::with(|options| {
        options
            .http_token("secret")
            .http_allowed_host("rustka.example")
    });
    let page = Page(&world);
    let body = || Some(json!({ "name": "t" }).to_string());
    let afar = "host: rustka.example\r\nx-forwarded-for: 192.0.2.1\r\n";
    assert_eq!(
        page.ask("POST", "/api/v1/topics", afar, body())
            .await
            .status,
        403
    );
    let wrong = format!("{afar}authorization: Bearer guess\r\n");
    assert_eq!(
        page.ask("POST", "/api/v1/topics", &wrong, body())
            .await
            .status,
        403
    );
    let right = format!("{afar}authorization: Bearer secret\r\n");
    assert_eq!(
        page.ask("POST", "/api/v1/topics", &right, body())
            .await
            .status,
        201
    );
    let session = page
        .send("POST", "/api/v1/session", json!({ "token": "secret" }))
        .await;
    assert_eq!(session.status, 204);
    let cookie = session
        .headers
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: "));
    let cookie = cookie.expect("a cookie");
    assert!(cookie.contains("httponly") && cookie.contains("samesite=strict"));
    let with_cookie = format!("{afar}cookie: {}\r\n", cookie.split(';').next().unwrap());
    let gone = page
        .ask("DELETE", "/api/v1/topics/t", &with_cookie, None)
        .await;
    assert_eq!(gone.status, 204, "{}", gone.body);
}

/// What the page asks the broker is nobody's request: it would hide what clients do.
#[tokio::test]
async fn whoever_looks_is_in_no_list_and_in_no_counter() {
    let world = World::start();
    let page = Page(&world);
    filled(&page, "t", 1, 3).await;
    page.get("/api/v1/topics/t/records").await;
    page.get("/api/v1/topics/t/configs").await;
    let metrics = &world.broker.node().metrics;
    assert_eq!(metrics.all_requests().count(), 0);
    let read =
        |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(
        (
            read(&metrics.connections_accepted),
            read(&metrics.bytes_out)
        ),
        (0, 0)
    );
    assert_eq!(world.connections(), 0);
}

#[tokio::test]
async fn every_answer_forbids_what_is_not_ours() {
    let world = World::start();
    let page = Page(&world);
    for path in [
        "/",
        "/app.js",
        "/none",
        "/api/v1/overview",
        "/api/v1/none",
        "/healthz",
    ] {
        let answer = page.get(path).await;
        for header in [
            "content-security-policy: default-src 'none'; script-src 'self'",
            "x-content-type-options: nosniff",
            "x-frame-options: deny",
        ] {
            assert!(
                answer.headers.contains(header),
                "{path}: {}",
                answer.headers
            );
        }
    }
    let home = page.get("/").await;
    assert!(home.headers.contains("text/html") && home.body.contains("<title>Rustka</title>"));
    let tag = home
        .headers
        .lines()
        .find_map(|line| line.strip_prefix("etag: "))
        .unwrap();
    let known = page
        .ask("GET", "/", &format!("if-none-match: {tag}\r\n"), None)
        .await;
    assert_eq!((known.status, known.body.as_str()), (304, ""));
    assert_eq!(
        page.send("PUT", "/api/v1/topics", json!({})).await.status,
        405
    );
}

/// What the issue allows for the page is what its users download.
#[tokio::test]
async fn the_page_is_small() {
    let world = World::start();
    let page = Page(&world);
    let html = page.get("/").await.body;
    assert!(!html.contains("http://") && !html.contains("https://"));
    let mut bytes = 0;
    for path in rustka::http::page_files() {
        let answer = page
            .ask("GET", path, "accept-encoding: gzip\r\n", None)
            .await;
        let length = answer
            .headers
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        bytes += length.expect("a length").parse::<usize>().unwrap();
    }
    assert!((10_000..100_000).contains(&bytes), "{bytes}");
}

#[tokio::test]
async fn one_logs_in_with_a_user_of_the_broker_and_has_its_rights() {
    let world = World::with(|options| {
        options
            .user("admin", "admin-secret")
            .user("alice", "alice-secret")
            .config("super.users", "User:admin")
            .config("authorizer.class.name", "x")
    });
    let page = Page(&world);
    assert_eq!(page.get("/api/v1/topics").await.status, 401);
    assert_eq!(page.get("/metrics").await.status, 401);
    let wrong = tokio::spawn({
        let mut stream = world.broker.connect_http();
        async move {
            let body = r#"{"user":"alice","password":"guess"}"#;
            let head = format!(
                "POST /api/v1/session HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all((head + body).as_bytes()).await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            text
        }
    });
    // The answer waits, so that guessing takes long.
    let failed = &world.broker.node().metrics.logins_failed;
    while failed.load(std::sync::atomic::Ordering::Relaxed) == 0 {
        world.settle().await;
    }
    assert!(!wrong.is_finished());
    world.advance_ms(1_000).await;
    assert!(wrong.await.unwrap().starts_with("HTTP/1.1 401"));
    let mut cookies = Vec::new();
    for user in ["admin", "alice"] {
        cookies.push(logged_in(&page, user, &format!("{user}-secret")).await);
    }
    let body = || Some(json!({ "name": "t" }).to_string());
    let denied = page
        .ask("POST", "/api/v1/topics", &cookies[1], body())
        .await;
    assert_eq!(denied.status, 403, "{}", denied.body);
    assert_eq!(
        page.ask("POST", "/api/v1/topics", &cookies[0], body())
            .await
            .status,
        201
    );
    let seen = page
        .ask("GET", "/api/v1/topics", &cookies[1], None)
        .await
        .json();
    assert_eq!(seen["total"], 0, "what one may not see is not there");
    assert_eq!(
        page.ask("GET", "/api/v1/topics/t/records", &cookies[1], None)
            .await
            .status,
        404
    );
    assert_eq!(
        page.ask("DELETE", "/api/v1/session", &cookies[0], None)
            .await
            .status,
        204
    );
    assert_eq!(
        page.ask("GET", "/api/v1/topics", &cookies[0], None)
            .await
            .status,
        401
    );
}

#[test]
fn what_was_made_elsewhere_is_as_its_makers_ship_it() {
    use sha2::{Digest, Sha256};
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/ui/vendor/");
    let list = std::fs::read_to_string(format!("{folder}README.md")).unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name == "README.md" {
            continue;
        }
        let sum = Sha256::digest(std::fs::read(format!("{folder}{name}")).unwrap());
        let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(
            list.contains(&format!("`{name}`")) && list.contains(&sum),
            "{name} {sum}"
        );
    }
}

/// The file is written by hand, and what programs are made from.
#[tokio::test]
async fn the_description_of_the_api_says_what_is_served() {
    let world = World::start();
    let told = Page(&world).get("/api/v1/openapi.json").await.json();
    let mut described = Vec::new();
    for (path, methods) in told["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            assert!(operation["summary"].is_string() && operation["responses"].is_object());
            let parameters = operation["parameters"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let of = |place: &str| {
                let found = parameters.iter().filter(|one| one["in"] == place);
                let names = found.map(|one| one["name"].as_str().expect("a name").to_owned());
                names.collect::<Vec<_>>()
            };
            let in_path: Vec<String> = path
                .split(['{', '}'])
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect();
            assert_eq!(of("path"), in_path, "{path}");
            described.push((path.clone(), method.to_uppercase(), of("query")));
        }
    }
    let served = rustka::http::ROUTES.iter().map(|route| {
        let query = route.query.iter().map(|name| (*name).to_owned());
        (
            route.path.to_owned(),
            route.method.to_string(),
            query.collect::<Vec<_>>(),
        )
    });
    let mut served: Vec<_> = served.collect();
    described.sort();
    served.sort();
    assert_eq!(described, served);
}

#[tokio::test]
async fn metrics_go_by_the_names_that_dashboards_for_kafka_ask_for() {
    let world = World::start();
    let page = Page(&world);
    filled(&page, "t", 2, 9).await;
    let told = page.get("/metrics").await.body;
    for line in [
        "kafka_brokers 1",
        "kafka_topic_partitions{topic=\"t\"} 2",
        "kafka_topic_partition_current_offset{partition=\"0\",topic=\"t\"} 5",
        "kafka_topic_partition_oldest_offset{partition=\"1\",topic=\"t\"} 0",
        "rustka_records_in_total 9",
    ] {
        assert!(told.lines().any(|one| one == line), "{line}\n{told}");
    }
    assert!(!told.contains("kafka_log_log_size"));
    let told = page.get("/metrics?names=jmx,redpanda").await.body;
    for line in [
        "kafka_server_replicamanager_partitioncount 2",
        "kafka_log_log_logendoffset{partition=\"1\",topic=\"t\"} 4",
        "redpanda_kafka_max_offset{redpanda_partition=\"0\",redpanda_topic=\"t\"} 5",
    ] {
        assert!(told.lines().any(|one| one == line), "{line}\n{told}");
    }
    assert_eq!(page.get("/metrics?names=other").await.status, 400);
    // Each family's name comes once, as Prometheus demands.
    let told = page
        .get("/metrics?names=native,exporter,jmx,redpanda")
        .await
        .body;
    let families: Vec<&str> = told
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .collect();
    let once: std::collections::BTreeSet<&str> = families.iter().copied().collect();
    assert_eq!(families.len(), once.len());
}

#[tokio::test]
async fn the_dashboard_for_grafana_asks_for_what_is_told() {
    let world = World::start();
    let page = Page(&world);
    filled(&page, "t", 1, 1).await;
    let told = page.get("/metrics").await.body;
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/grafana.json");
    let file = std::fs::read_to_string(file).unwrap();
    let words = file.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let names = words.filter(|word| word.starts_with("rustka_") || word.starts_with("kafka_"));
    let mut count = 0;
    for name in names {
        let family = format!("# TYPE {} ", name.trim_end_matches("_bucket"));
        assert!(told.contains(&family), "{name}");
        count += 1;
    }
    assert!(count > 10, "{count}");
}
