//! What is to be there when a broker has started: topics, users and ACLs. It only adds and raises.

mod common;

use rustka::init::{Init, InitTopic, InitUser};
use rustka::{Broker, StartError};
use std::process::Command;

fn topic(name: &str, partitions: u32, configs: &[(&str, &str)]) -> InitTopic {
    let configs = configs.iter();
    InitTopic {
        name: name.to_owned(),
        partitions: Some(partitions),
        configs: configs
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect(),
    }
}

fn user(name: &str, password: &str) -> InitUser {
    InitUser {
        name: name.to_owned(),
        password: password.to_owned(),
    }
}

fn init(topics: Vec<InitTopic>, users: Vec<InitUser>) -> Init {
    Init {
        topics,
        users,
        acls: Vec::new(),
    }
}

fn start(init: &Init) -> Result<Broker, StartError> {
    Broker::builder().sockets(false).init(init.clone()).start()
}

/// Asks a running broker for more, as a start does that finds a log.
fn again(broker: &Broker, init: &Init) -> Result<(), StartError> {
    broker.parts().cluster.complete(init)
}

fn partitions(broker: &Broker, name: &str) -> usize {
    let topic = broker.node().topics.by_name(name);
    topic.map_or(0, |topic| topic.partitions.len())
}

fn retention_ms(broker: &Broker, name: &str) -> i64 {
    let topic = broker.node().topics.by_name(name).expect(name);
    topic.config.now().retention_ms
}

#[test]
fn what_is_missing_is_made_and_what_is_small_grows() {
    let first = init(vec![topic("orders", 2, &[])], vec![user("alice", "secret")]);
    let broker = start(&first).expect("a start");
    assert_eq!(partitions(&broker, "orders"), 2);
    let more = [
        topic("orders", 5, &[("retention.ms", "1000")]),
        topic("new", 1, &[]),
    ];
    again(&broker, &init(more.to_vec(), vec![user("bob", "other")])).expect("more");
    assert_eq!(partitions(&broker, "orders"), 5);
    assert_eq!(partitions(&broker, "new"), 1);
    assert_eq!(retention_ms(&broker, "orders"), 1000);
    // The same once more changes nothing, and what has grown is not made smaller.
    again(&broker, &first).expect("the same");
    assert_eq!(partitions(&broker, "orders"), 5);
    assert_eq!(broker.node().security.users().count(), 2);
}

#[test]
fn what_contradicts_what_is_there_is_told_before_anything_is_done() {
    let topics = vec![topic("orders", 1, &[("retention.ms", "1000")])];
    let broker = start(&init(topics, vec![user("alice", "secret")])).expect("a start");
    let new = topic("new", 1, &[]);
    for (topics, users, told) in [
        (
            vec![new.clone(), topic("orders", 1, &[("retention.ms", "2000")])],
            vec![],
            "topic orders cannot be as asked for: its retention.ms is '1000', and not '2000'",
        ),
        (
            vec![new.clone()],
            vec![user("alice", "changed")],
            "user alice is there with another password",
        ),
        (
            vec![new.clone()],
            vec![user("bob", "one"), user("bob", "two")],
            "user bob is there with two passwords",
        ),
        (
            vec![
                new.clone(),
                topic("a", 1, &[("retention.ms", "1")]),
                topic("a", 1, &[("retention.ms", "2")]),
            ],
            vec![],
            "topic a cannot be as asked for: it is there twice, with two values of retention.ms",
        ),
        (
            vec![new.clone(), topic("not a name", 1, &[])],
            vec![],
            "topic not a name cannot be as asked for",
        ),
    ] {
        let error = again(&broker, &init(topics, users)).expect_err(told);
        assert!(error.is_contradiction());
        assert!(error.to_string().starts_with(told), "{error}");
        assert!(!error.to_string().contains("changed"));
        assert_eq!(partitions(&broker, "new"), 0, "{told}");
    }
    assert_eq!(retention_ms(&broker, "orders"), 1000);
}

#[test]
fn more_topics_than_one_request_may_make_are_made() {
    let topics = (0..1_500).map(|at| topic(&format!("t{at}"), 10, &[]));
    let broker = start(&init(topics.collect(), vec![])).expect("a start");
    assert_eq!(broker.node().topics.all().len(), 1_500);
}

#[test]
fn a_file_that_contradicts_itself_or_cannot_be_read_ends_the_start_with_2() {
    let run = |text: &str, more: &[&str]| {
        let name = format!("rustka-init-{}.yaml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_rustka"));
        command
            .env_clear()
            .env("RUSTKA_CONFIG", "")
            .arg("--init-file")
            .arg(&path);
        let output = command
            .args(["--port", "0", "--http-port", "0"])
            .args(more)
            .output()
            .expect("rustka");
        std::fs::remove_file(&path).expect("the file");
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        (
            output.status.code(),
            log.lines().last().unwrap_or("").to_owned(),
        )
    };
    let rule = "acls: [{ principal: 'User:a', allow: [read], topic: t }]";
    for (text, told) in [
        ("topics: [{ name: 'a b' }]", "topic a b cannot be"),
        (
            "topics: [{ name: a, configs: { retention.ms: soon } }]",
            "Invalid value 'soon'",
        ),
        (
            "topic: []",
            "topics, users and acls as docs/init-file.md has them",
        ),
        (rule, "set authorizer.class.name="),
    ] {
        let (code, line) = run(text, &[]);
        assert_eq!(code, Some(2), "{line}");
        assert!(line.contains(told), "{line}");
    }
}

/// The lesson for people, with its users and ACLs: `shop` writes what `billing` may only read.
#[tokio::test]
async fn users_and_acls_hold_from_the_first_request_on() {
    use rustka_core::security::acl::{Operation, Resource};
    use rustka_core::security::authorizer::Subject;
    let acl = rustka_core::security::acl::RawAcl {
        kind: 2,
        pattern: 3,
        name: "orders",
        principal: "User:shop",
        host: "*",
        operation: Operation::Write.code(),
        permission: 3,
    };
    let init = Init {
        acls: vec![acl.check().expect("an ACL")],
        ..init(vec![topic("orders", 1, &[])], vec![user("shop", "secret")])
    };
    let broker = Broker::builder().sockets(false).init(init).config(
        "authorizer.class.name",
        "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    );
    let broker = broker.start().expect("a start");
    let security = &broker.node().security;
    let may = |principal: &str, operation| {
        let subject = Subject {
            principal,
            address: [127, 0, 0, 1].into(),
        };
        security.allow(subject, operation, Resource::Topic("orders"))
    };
    assert!(may("User:shop", Operation::Write));
    assert!(!may("User:shop", Operation::Read) && !may("User:billing", Operation::Write));
    assert!(broker.node().listeners[0].login.is_some());
}
