//! `kafka-topics`.

use std::collections::BTreeSet;

use rustka_client::{Client, Resource};
use rustka_core::error::ErrorCode;
use rustka_wire::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use rustka_wire::describe_topic_partitions_response::{
    DescribeTopicPartitionsResponsePartition as Partition,
    DescribeTopicPartitionsResponseTopic as Topic,
};

use super::options::Takes::{Many, Nothing, One};
use super::tool::{Call, Failed, Outcome, Tool, exception, message, pattern};

pub const TOOL: Tool = Tool {
    options: &[
        ("bootstrap-server", One),
        ("command-config", One),
        ("list", Nothing),
        ("create", Nothing),
        ("delete", Nothing),
        ("alter", Nothing),
        ("describe", Nothing),
        ("topic", One),
        ("topic-id", One),
        ("config", Many),
        ("partitions", One),
        ("replication-factor", One),
        ("replica-assignment", One),
        ("under-replicated-partitions", Nothing),
        ("unavailable-partitions", Nothing),
        ("under-min-isr-partitions", Nothing),
        ("at-min-isr-partitions", Nothing),
        ("topics-with-overrides", Nothing),
        ("if-exists", Nothing),
        ("if-not-exists", Nothing),
        ("exclude-internal", Nothing),
        ("partition-size-limit-per-response", One),
        ("help", Nothing),
        ("version", Nothing),
    ],
    not_here: &[],
    config_options: &["command-config"],
    client_id: None,
    mistake: wrong,
};

/// Kafka's number for a config that nobody has set.
const DEFAULT: i8 = 5;
/// The options that choose partitions to be described.
const CHOOSING: [&str; 4] = [
    "under-replicated-partitions",
    "unavailable-partitions",
    "under-min-isr-partitions",
    "at-min-isr-partitions",
];

fn wrong(sentence: String) -> Failed {
    Failed::Told(format!("Error while executing topic command : {sentence}"))
}

pub async fn run(call: &mut Call) -> Outcome {
    let action = check(call).map_err(Failed::Usage)?;
    let client = call.client().await?;
    let outcome = match action {
        "create" => create(&client, call).await,
        "delete" => delete(&client, call).await,
        "list" => list(&client, call).await,
        "describe" => describe(&client, call).await,
        _ => alter(&client, call).await,
    };
    outcome.map_err(|failed| {
        failed.in_words(|error| {
            // What Kafka's tool writes to its log.
            eprintln!("ERROR {}", exception(error));
            wrong(message(error))
        })
    })
}

/// What is to be done, if the options go together for it; a sentence if not.
fn check(call: &Call) -> Result<&'static str, String> {
    let given = &call.given;
    let action = given.action(&["create", "delete", "list", "describe", "alter"])?;
    given.required("bootstrap-server")?;
    if ["create", "delete", "alter"].contains(&action) && !given.has("topic-id") {
        given.required("topic")?;
    }
    if action == "alter" {
        given.required("partitions")?;
    }
    if action != "create" && given.has("config") {
        return Err("--config is for --create only; kafka-configs changes configs".to_owned());
    }
    given.excludes(
        "replica-assignment",
        &["replication-factor", "if-not-exists"],
    )?;
    if action == "create" {
        given.excludes("replica-assignment", &["partitions"])?;
    }
    if action != "create" {
        given.excludes("if-not-exists", &[action])?;
    }
    if ["create", "list"].contains(&action) {
        given.excludes("if-exists", &[action])?;
    }
    Ok(action)
}

/// The topics that `--topic` selects, or all, sorted.
async fn selected(client: &Client, call: &Call) -> Outcome<Vec<String>> {
    let pattern = call.given.one("topic").map(pattern).transpose()?;
    let told = client.metadata(None).await?;
    let mut names: Vec<String> = told
        .topics
        .into_iter()
        .filter(|topic| !(topic.is_internal && call.given.has("exclude-internal")))
        .map(|topic| topic.name.unwrap_or_default().into_owned())
        .filter(|name| {
            pattern
                .as_ref()
                .is_none_or(|pattern| pattern.is_match(name))
        })
        .collect();
    names.sort();
    Ok(names)
}

/// The same, where it is an error that there is none; with `--if-exists` it is not.
async fn existing(client: &Client, call: &Call) -> Outcome<Vec<String>> {
    let names = selected(client, call).await?;
    match call.given.one("topic") {
        Some(topic) if names.is_empty() && !call.given.has("if-exists") => {
            Err(wrong(format!("Topic '{topic}' does not exist as expected")))
        }
        _ => Ok(names),
    }
}

async fn list(client: &Client, call: &mut Call) -> Outcome {
    let names = selected(client, call).await?;
    call.line(&names.join("\n"))
}

async fn create(client: &Client, call: &mut Call) -> Outcome {
    let given = &call.given;
    let name = given.one("topic").unwrap_or_default().to_owned();
    let mut configs = Vec::new();
    for text in given.all("config") {
        let (key, value) = text.split_once('=').ok_or_else(|| {
            let why = "all configs to be added must be in the format \"key=val\".";
            wrong(format!("requirement failed: Invalid topic config: {why}"))
        })?;
        configs.push(CreatableTopicConfig {
            name: key.trim().to_owned().into(),
            value: Some(value.trim().to_owned().into()),
        });
    }
    let partitions: Option<i32> = given.number("partitions").map_err(wrong)?;
    let replicas: Option<i16> = given.number("replication-factor").map_err(wrong)?;
    if partitions.is_some_and(|count| count < 1) {
        return Err(wrong("The partitions must be greater than 0".to_owned()));
    }
    if replicas.is_some_and(|count| count < 1) {
        return Err(wrong(
            "The replication factor must be between 1 and 32767 inclusive".to_owned(),
        ));
    }
    let assignments = given.one("replica-assignment").map(assignments);
    let assignments = assignments.transpose().map_err(wrong)?;
    if name.contains(['.', '_']) {
        let text = "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could \
            collide. To avoid issues it is best to use either, but not both.";
        call.line(text)?;
    }
    let topic = CreatableTopic {
        name: name.as_str().into(),
        num_partitions: partitions.unwrap_or(-1),
        replication_factor: replicas.unwrap_or(-1),
        assignments: assignments.unwrap_or_default(),
        configs,
    };
    let created = client.create_topics(vec![topic], false).await?;
    match created.into_iter().next() {
        Some(Err(error))
            if error.code() == Some(ErrorCode::TopicAlreadyExists)
                && call.given.has("if-not-exists") =>
        {
            Ok(())
        }
        Some(Err(error)) => Err(error.into()),
        _ => call.line(&format!("Created topic {name}.")),
    }
}

/// Replicas by partition: `1:2,2:3` is two partitions on two nodes each.
fn assignments(text: &str) -> Result<Vec<CreatableReplicaAssignment>, String> {
    let of = |(partition_index, nodes): (i32, &str)| {
        let nodes = nodes.split(':').map(|node| node.trim().parse());
        let broker_ids = nodes
            .collect::<Result<_, _>>()
            .map_err(|_| format!("For input string: \"{text}\""))?;
        Ok(CreatableReplicaAssignment {
            partition_index,
            broker_ids,
        })
    };
    (0..).zip(text.split(',')).map(of).collect()
}

async fn alter(client: &Client, call: &mut Call) -> Outcome {
    let count: i32 = call
        .given
        .number("partitions")
        .map_err(wrong)?
        .unwrap_or_default();
    for name in existing(client, call).await? {
        client.add_partitions(&name, count).await?;
    }
    Ok(())
}

async fn delete(client: &Client, call: &mut Call) -> Outcome {
    let names = existing(client, call).await?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    if !names.is_empty() {
        for outcome in client.delete_topics(&names).await? {
            outcome?;
        }
    }
    Ok(())
}

async fn describe(client: &Client, call: &mut Call) -> Outcome {
    let names = existing(client, call).await?;
    let mut topics = client.describe_topics(&names).await?;
    if let Some(id) = call.given.one("topic-id") {
        // The id of no topic stands for all of them.
        let all = rustka_wire::Uuid([0; 16]).to_string();
        topics.retain(|topic| id == all || topic.topic_id.to_string() == id);
        if topics.is_empty() && !call.given.has("if-exists") {
            return Err(wrong(format!("TopicId '{id}' does not exist as expected")));
        }
    }
    let choosing = call.given.among(&CHOOSING);
    let alive: BTreeSet<i32> = match choosing.is_empty() {
        true => BTreeSet::new(),
        false => {
            let brokers = client.metadata(Some(&[])).await?.brokers;
            brokers.iter().map(|broker| broker.node_id).collect()
        }
    };
    for topic in &topics {
        let configs = configs(client, topic).await?;
        let is_chosen = |partition: &&Partition| {
            let mut reasons = choosing.iter();
            reasons.any(|reason| holds(reason, partition, &alive, configs.min_isr))
        };
        if choosing.is_empty() {
            let has_overrides = !configs.text.is_empty();
            if !call.given.has("topics-with-overrides") || has_overrides {
                call.line(&heading(topic, &configs.text))?;
            }
            if call.given.has("topics-with-overrides") {
                continue;
            }
        }
        let mut partitions: Vec<&Partition> = topic.partitions.iter().collect();
        partitions.sort_by_key(|partition| partition.partition_index);
        partitions.retain(|partition| choosing.is_empty() || is_chosen(partition));
        for partition in partitions {
            call.line(&row(topic, partition))?;
        }
    }
    Ok(())
}

/// What a topic's configs come to.
struct Configs {
    text: String,
    min_isr: usize,
}

async fn configs(client: &Client, topic: &Topic<'_>) -> Outcome<Configs> {
    let name = topic.name.as_deref().unwrap_or_default();
    let told = match client.describe_configs(Resource::Topic, name).await {
        Ok(told) => told,
        // Whoever may see a topic may be kept from its configs.
        Err(error) if error.code() == Some(ErrorCode::TopicAuthorizationFailed) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let value = |config: &rustka_wire::describe_configs_response::DescribeConfigsResourceResult<
        '_,
    >| { config.value.as_deref().unwrap_or("null").to_owned() };
    let min_isr = told
        .iter()
        .find(|config| config.name == "min.insync.replicas");
    let min_isr = min_isr.and_then(|config| value(config).parse().ok());
    let set = told
        .iter()
        .filter(|config| config.config_source != DEFAULT)
        .map(|config| format!("{}={}", config.name, value(config)));
    Ok(Configs {
        text: set.collect::<Vec<_>>().join(","),
        min_isr: min_isr.unwrap_or(1),
    })
}

fn holds(reason: &str, partition: &Partition, alive: &BTreeSet<i32>, min_isr: usize) -> bool {
    let in_sync = partition.isr_nodes.len();
    match reason {
        "under-replicated-partitions" => in_sync < partition.replica_nodes.len(),
        "unavailable-partitions" => !alive.contains(&partition.leader_id),
        "under-min-isr-partitions" => in_sync < min_isr,
        _ => in_sync == min_isr,
    }
}

fn heading(topic: &Topic<'_>, configs: &str) -> String {
    let replicas = topic
        .partitions
        .first()
        .map_or(0, |p| p.replica_nodes.len());
    format!(
        "Topic: {}\tTopicId: {}\tPartitionCount: {}\tReplicationFactor: {replicas}\tConfigs: {configs}",
        topic.name.as_deref().unwrap_or_default(),
        topic.topic_id,
        topic.partitions.len(),
    )
}

fn row(topic: &Topic<'_>, partition: &Partition) -> String {
    let joined = |nodes: &[i32]| {
        let nodes = nodes.iter().map(i32::to_string);
        nodes.collect::<Vec<_>>().join(",")
    };
    let maybe = |nodes: &Option<Vec<i32>>| nodes.as_deref().map_or("N/A".to_owned(), joined);
    let leader = match partition.leader_id {
        -1 => "none".to_owned(),
        node => node.to_string(),
    };
    format!(
        "\tTopic: {}\tPartition: {}\tLeader: {leader}\tReplicas: {}\tIsr: {}\tElr: {}\tLastKnownElr: {}",
        topic.name.as_deref().unwrap_or_default(),
        partition.partition_index,
        joined(&partition.replica_nodes),
        joined(&partition.isr_nodes),
        maybe(&partition.eligible_leader_replicas),
        maybe(&partition.last_known_elr),
    )
}
