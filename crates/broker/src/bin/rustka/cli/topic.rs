//! `rustka topic`: what topics there are, and changing that.

use std::collections::BTreeMap;

use clap::Subcommand;
use rustka_client::{Client, Isolation, Resource, Start, Topic};
use rustka_core::config::{DAMAGED_SKIP, Skip};
use rustka_wire::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use serde_json::Value;

use super::failure::Failure;
use super::output::{Output, Table};

/// What to do with topics.
#[derive(Subcommand)]
pub enum TopicCommand {
    /// All topics with their partitions and records.
    List {
        /// Also those that the cluster keeps for itself.
        #[arg(long)]
        internal: bool,
    },
    /// The partitions of a topic.
    Describe {
        /// The topic.
        topic: String,
    },
    /// Create topics.
    Create {
        /// Their names.
        #[arg(required = true)]
        topics: Vec<String>,
        /// Partitions of each [the broker's num.partitions].
        #[arg(short, long, default_value_t = -1, hide_default_value = true)]
        partitions: i32,
        /// Replicas of each partition [the broker's default.replication.factor].
        #[arg(short, long, default_value_t = -1, hide_default_value = true)]
        replicas: i16,
        /// A config; may be given many times.
        #[arg(short, long = "config", value_name = "KEY=VALUE", value_parser = pair)]
        configs: Vec<(String, String)>,
        /// Whether topics that exist are fine.
        #[arg(long)]
        if_not_exists: bool,
    },
    /// Give a topic more partitions.
    Grow {
        /// The topic.
        topic: String,
        /// How many it is to have.
        #[arg(short, long)]
        partitions: i32,
    },
    /// Delete all records of a topic, and keep the topic.
    Empty {
        /// The topic.
        topic: String,
    },
    /// Have consumers go on behind records that are known to be damaged, and tell which these are. Nothing is deleted: the
    /// config rustka.damaged.skip of the topic lists them.
    SkipDamaged {
        /// The topic.
        topic: String,
    },
    /// Delete topics with all that is in them.
    Delete {
        /// Their names.
        #[arg(required = true)]
        topics: Vec<String>,
    },
}

/// A key and its value.
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err("a config is given as key=value".to_owned()),
    }
}

/// Does what is to be done with topics.
pub async fn run(
    client: &Client,
    command: TopicCommand,
    output: &mut Output,
) -> Result<(), Failure> {
    match command {
        TopicCommand::List { internal } => list(client, internal, output).await,
        TopicCommand::Describe { topic } => describe(client, &topic, output).await,
        TopicCommand::Create {
            topics,
            partitions,
            replicas,
            configs,
            if_not_exists,
        } => {
            let wanted = topics.iter().map(|name| CreatableTopic {
                name: name.into(),
                num_partitions: partitions,
                replication_factor: replicas,
                configs: configs
                    .iter()
                    .map(|(key, value)| CreatableTopicConfig {
                        name: key.into(),
                        value: Some(value.into()),
                    })
                    .collect(),
                ..Default::default()
            });
            let created = client.create_topics(wanted.collect(), false).await?;
            let outcomes = created.into_iter().map(|outcome| match outcome {
                Err(error) if if_not_exists && is_there(&error) => Ok(()),
                other => other.map(drop),
            });
            all(&topics, outcomes, "created", output)
        }
        TopicCommand::Grow { topic, partitions } => {
            client.add_partitions(&topic, partitions).await?;
            output.done(&format!("{topic} has {partitions} partitions"))
        }
        TopicCommand::Empty { topic } => empty(client, &topic, output).await,
        TopicCommand::SkipDamaged { topic } => skip_damaged(client, &topic, output).await,
        TopicCommand::Delete { topics } => {
            let names: Vec<&str> = topics.iter().map(String::as_str).collect();
            let outcomes = client.delete_topics(&names).await?;
            all(&topics, outcomes.into_iter(), "deleted", output)
        }
    }
}

fn is_there(error: &rustka_client::Error) -> bool {
    error.code() == Some(rustka_core::error::ErrorCode::TopicAlreadyExists)
}

/// Tells what became of each of several things. Fails if one of them did.
pub fn all(
    names: &[String],
    outcomes: impl Iterator<Item = rustka_client::Result<()>>,
    done: &str,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut refused = Vec::new();
    for (name, outcome) in names.iter().zip(outcomes) {
        match outcome {
            Ok(()) => output.done(&format!("{name} {done}"))?,
            Err(error) => refused.push(error.to_string()),
        }
    }
    match refused.is_empty() {
        true => Ok(()),
        false => Err(Failure::Refused(refused.join("\nrustka: "))),
    }
}

async fn list(client: &Client, internal: bool, output: &mut Output) -> Result<(), Failure> {
    let told = client.metadata(None).await?;
    let mut topics: Vec<_> = told
        .topics
        .into_iter()
        .filter(|topic| internal || !topic.is_internal)
        .collect();
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    let mut table = Table::new(&["topic", "partitions", "replicas", "id"]);
    for topic in topics {
        let replicas = topic
            .partitions
            .first()
            .map_or(0, |p| p.replica_nodes.len());
        table.push(vec![
            topic.name.unwrap_or_default().into_owned().into(),
            topic.partitions.len().into(),
            replicas.into(),
            topic.topic_id.to_string().into(),
        ]);
    }
    output.table(table)
}

/// The first offset of each partition, and the one behind the last that such a reader sees.
pub async fn ends(
    client: &Client,
    topic: &Topic,
    isolation: Isolation,
) -> rustka_client::Result<BTreeMap<i32, (i64, i64)>> {
    let at = |start: Start| topic.partitions.keys().map(move |&p| (p, start)).collect();
    let begins = client
        .offsets(&topic.name, &at(Start::Earliest), isolation)
        .await?;
    let ends = client
        .offsets(&topic.name, &at(Start::Latest), isolation)
        .await?;
    let both = begins
        .into_iter()
        .filter_map(|(partition, begin)| Some((partition, (begin, *ends.get(&partition)?))));
    Ok(both.collect())
}

async fn describe(client: &Client, name: &str, output: &mut Output) -> Result<(), Failure> {
    let topic = client.topic(name).await?;
    let ends = ends(client, &topic, Isolation::ReadUncommitted).await?;
    let mut table = Table::new(&[
        "partition",
        "leader",
        "epoch",
        "replicas",
        "in sync",
        "first",
        "end",
        "offsets",
    ]);
    for (index, partition) in &topic.partitions {
        let (begin, end) = ends.get(index).copied().unwrap_or((-1, -1));
        table.push(vec![
            (*index).into(),
            partition.leader_id.into(),
            partition.leader_epoch.into(),
            Value::from(partition.replica_nodes.clone()),
            Value::from(partition.isr_nodes.clone()),
            begin.into(),
            end.into(),
            end.saturating_sub(begin).into(),
        ]);
    }
    output.table(table)
}

async fn empty(client: &Client, name: &str, output: &mut Output) -> Result<(), Failure> {
    /// DeleteRecords' word for the end of a partition.
    const ALL: i64 = -1;
    let topic = client.topic(name).await?;
    let places = topic.partitions.keys().map(|&partition| (partition, ALL));
    let begins = client.delete_records(name, &places.collect()).await?;
    let partitions: Vec<String> = begins.keys().map(|p| format!("{name}-{p}")).collect();
    let outcomes = begins.into_values().map(|begin| begin.map(drop));
    all(&partitions, outcomes, "emptied", output)
}

async fn skip_damaged(client: &Client, name: &str, output: &mut Output) -> Result<(), Failure> {
    let before = skipped(client, name).await?;
    let all = (DAMAGED_SKIP, "*");
    client.append_to_config(Resource::Topic, name, all).await?;
    let after = skipped(client, name).await?;
    let new: Vec<Skip> = after
        .into_iter()
        .filter(|skip| !before.contains(skip))
        .collect();
    if new.is_empty() {
        return output.done(&format!("{name} has no other damage that is known"));
    }
    let mut table = Table::new(&["partition", "first", "last", "offsets"]);
    for skip in new {
        table.push(vec![
            skip.partition.into(),
            skip.first.into(),
            skip.last.into(),
            skip.offsets().into(),
        ]);
    }
    output.table(table)
}

/// What readers of a topic pass over.
async fn skipped(client: &Client, name: &str) -> rustka_client::Result<Vec<Skip>> {
    let configs = client.describe_configs(Resource::Topic, name).await?;
    let list = configs
        .into_iter()
        .find(|config| config.name == DAMAGED_SKIP);
    let list = list.and_then(|config| config.value).unwrap_or_default();
    Ok(list.split(',').filter_map(Skip::parse).collect())
}
