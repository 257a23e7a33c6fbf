//! The small tools: `kafka-get-offsets`, `kafka-delete-records`, `kafka-broker-api-versions`, `kafka-log-dirs`.

use std::collections::{BTreeMap, BTreeSet};

use rustka_client::{Client, Isolation};
use rustka_wire::api::{APIS, ApiKey};
use serde_json::{Value, json};

use super::options::Takes::{Nothing, One};
use super::tool::{Call, Failed, Outcome, Tool, exception, message, pattern};

pub const GET_OFFSETS: Tool = Tool {
    options: &[
        ("bootstrap-server", One),
        ("command-config", One),
        ("topic", One),
        ("partitions", One),
        ("topic-partitions", One),
        ("time", One),
        ("exclude-internal-topics", Nothing),
        ("help", Nothing),
        ("version", Nothing),
    ],
    not_here: &[],
    config_options: &["command-config"],
    client_id: None,
    mistake: occurred,
};

pub const DELETE_RECORDS: Tool = Tool {
    options: &[
        ("bootstrap-server", One),
        ("command-config", One),
        ("offset-json-file", One),
        ("help", Nothing),
        ("version", Nothing),
    ],
    not_here: &[],
    config_options: &["command-config"],
    client_id: None,
    mistake: Failed::Usage,
};

pub const API_VERSIONS: Tool = Tool {
    options: &[
        ("bootstrap-server", One),
        ("command-config", One),
        ("help", Nothing),
        ("version", Nothing),
    ],
    not_here: &["bootstrap-controller"],
    config_options: &["command-config"],
    client_id: None,
    mistake: Failed::Usage,
};

pub const LOG_DIRS: Tool = Tool {
    options: &[
        ("bootstrap-server", One),
        ("command-config", One),
        ("describe", Nothing),
        ("topic-list", One),
        ("broker-list", One),
        ("help", Nothing),
        ("version", Nothing),
    ],
    not_here: &["bootstrap-controller"],
    config_options: &["command-config"],
    client_id: None,
    mistake: Failed::Usage,
};

fn occurred(sentence: String) -> Failed {
    Failed::Complaint(format!("Error occurred: {sentence}"))
}

/// ListOffsets' words for places, by the names that the tool takes.
const TIMES: [(&str, i64); 6] = [
    ("latest", -1),
    ("earliest", -2),
    ("max-timestamp", -3),
    ("earliest-local", -4),
    ("latest-tiered", -5),
    ("earliest-pending-upload", -6),
];

pub async fn get_offsets(call: &mut Call) -> Outcome {
    let given = &call.given;
    given.required("bootstrap-server").map_err(Failed::Usage)?;
    let text = given.one("time").unwrap_or("latest");
    let named = TIMES.iter().find(|(name, _)| *name == text);
    let time = match named {
        Some((_, time)) => *time,
        None => text.parse().map_err(|_| {
            occurred(format!(
                "Malformed time argument {text}. Please use -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or earliest-local / -5 or latest-tiered / -6 or earliest-pending-upload, or a specified long format timestamp"
            ))
        })?,
    };
    let filters = match given.one("topic-partitions") {
        Some(list) => list
            .split(',')
            .map(Filter::of)
            .collect::<Outcome<Vec<_>>>()?,
        None => vec![Filter {
            topic: given.one("topic").map(pattern).transpose()?,
            partitions: match given.one("partitions") {
                Some(list) => Some(list.split(',').map(span).collect::<Outcome<_>>()?),
                None => None,
            },
        }],
    };
    let client = call.client().await?;
    let told = client.metadata(None).await?;
    let mut topics: BTreeMap<String, BTreeMap<i32, i64>> = BTreeMap::new();
    for topic in told.topics {
        if topic.is_internal && call.given.has("exclude-internal-topics") {
            continue;
        }
        let name = topic.name.unwrap_or_default().into_owned();
        for partition in topic.partitions {
            let partition = partition.partition_index;
            if filters.iter().any(|filter| filter.fits(&name, partition)) {
                topics
                    .entry(name.clone())
                    .or_default()
                    .insert(partition, time);
            }
        }
    }
    if topics.is_empty() {
        return Err(occurred(
            "Could not match any topic-partitions with the specified filters".to_owned(),
        ));
    }
    for (topic, times) in topics {
        let found = client.list_offsets(&topic, times, Isolation::ReadUncommitted);
        let found = found.await.map_err(|error| occurred(message(&error)))?;
        // A partition without such a place is left out.
        for (partition, offset) in found.into_iter().filter(|(_, offset)| *offset >= 0) {
            call.line(&format!("{topic}:{partition}:{offset}"))?;
        }
    }
    Ok(())
}

/// Which partitions: of topics whose names fit, those within one of the spans.
struct Filter {
    topic: Option<regex_lite::Regex>,
    partitions: Option<Vec<(i32, i32)>>,
}

impl Filter {
    /// `orders:0-2`, `orders`, `:0`. The end of a span is not in it.
    fn of(text: &str) -> Outcome<Filter> {
        let (topic, partitions) = match text.rsplit_once(':') {
            Some((topic, "")) => (topic, None),
            Some((topic, partitions)) => (topic, Some(vec![span(partitions)?])),
            None => (text, None),
        };
        let topic = match topic {
            "" => None,
            topic => Some(pattern(topic)?),
        };
        Ok(Filter { topic, partitions })
    }

    fn fits(&self, topic: &str, partition: i32) -> bool {
        self.topic
            .as_ref()
            .is_none_or(|pattern| pattern.is_match(topic))
            && self.partitions.as_ref().is_none_or(|spans| {
                let mut spans = spans.iter();
                spans.any(|(from, to)| (*from..*to).contains(&partition))
            })
    }
}

/// `3`, `0-2`, `2-`, `-2`: from the first to before the second.
fn span(text: &str) -> Outcome<(i32, i32)> {
    let number = |text: &str| {
        let parsed = text.trim().parse();
        parsed.map_err(|_| occurred(format!("{text} is no partition or range of partitions")))
    };
    match text.split_once('-') {
        None => number(text).map(|at: i32| (at, at.saturating_add(1))),
        Some((from, to)) => Ok((
            if from.is_empty() { 0 } else { number(from)? },
            if to.is_empty() { i32::MAX } else { number(to)? },
        )),
    }
}

pub async fn delete_records(call: &mut Call) -> Outcome {
    let given = &call.given;
    given.required("bootstrap-server").map_err(Failed::Usage)?;
    let file = given.required("offset-json-file").map_err(Failed::Usage)?;
    let cannot = |why: String| Failed::Complaint(format!("{file}: {why}"));
    let text = std::fs::read_to_string(file).map_err(|error| cannot(error.to_string()))?;
    let wanted = places(&text).map_err(cannot)?;
    let client = call.client().await?;
    call.line("Executing records delete operation")?;
    let mut lines = Vec::new();
    for (topic, before) in &wanted {
        match client.delete_records(topic, before).await {
            Ok(outcomes) => lines.extend(outcomes.into_iter().map(|(partition, outcome)| {
                let told = match outcome {
                    Ok(begin) => format!("low_watermark: {begin}"),
                    Err(error) => format!("error: {}", exception(&error)),
                };
                format!("partition: {topic}-{partition}\t{told}")
            })),
            Err(error) => lines.extend(before.keys().map(|partition| {
                format!(
                    "partition: {topic}-{partition}\terror: {}",
                    exception(&error)
                )
            })),
        }
    }
    call.line("Records delete operation completed:")?;
    lines.iter().try_for_each(|line| call.line(line))
}

/// Offsets by topic and partition, of `{"partitions":[{"topic":"t","partition":0,"offset":1}],"version":1}`.
fn places(text: &str) -> Result<BTreeMap<String, BTreeMap<i32, i64>>, String> {
    let read: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let version = read.get("version").map_or(Some(1), Value::as_i64);
    if version != Some(1) {
        return Err("not a version that is known; there is 1".to_owned());
    }
    let partitions = read["partitions"].as_array();
    let partitions = partitions.ok_or("Missing partitions field")?;
    let mut wanted: BTreeMap<String, BTreeMap<i32, i64>> = BTreeMap::new();
    for one in partitions {
        let topic = one["topic"].as_str();
        let partition = one["partition"]
            .as_i64()
            .and_then(|p| i32::try_from(p).ok());
        let (Some(topic), Some(partition), Some(offset)) =
            (topic, partition, one["offset"].as_i64())
        else {
            return Err(format!("{one} has no topic, partition and offset"));
        };
        let before = wanted.entry(topic.to_owned()).or_default();
        if before.insert(partition, offset).is_some() {
            return Err(format!(
                "Offset json file contains duplicate topic partitions: {topic}-{partition}"
            ));
        }
    }
    Ok(wanted)
}

pub async fn api_versions(call: &mut Call) -> Outcome {
    let client = call.client().await?;
    let cluster = client.describe_cluster().await?;
    let mut brokers = cluster.brokers;
    brokers.sort_by_key(|broker| broker.broker_id);
    for broker in brokers {
        let channel = client.node(broker.broker_id).await?;
        let rack = broker.rack.as_deref().unwrap_or("null").to_owned();
        call.line(&format!(
            "{}:{} (id: {} rack: {rack} isFenced: {}) -> (",
            broker.host, broker.port, broker.broker_id, broker.is_fenced
        ))?;
        let told: BTreeMap<i16, (i16, i16)> = channel.versions().iter().collect();
        let ours = APIS
            .iter()
            .filter(|api| api.on_broker && api.max_version >= api.min_version);
        let ours = ours.map(|api| api.key);
        let keys: BTreeSet<i16> = told.keys().copied().chain(ours).collect();
        let lines: Vec<String> = keys
            .into_iter()
            .map(|key| match told.get(&key) {
                Some(range) => versions(key, *range),
                None => format!("\t{}({key}): UNSUPPORTED", name(key)),
            })
            .collect();
        call.line(&lines.join(",\n"))?;
        call.line(")")?;
    }
    Ok(())
}

fn name(key: i16) -> String {
    ApiKey::find(key).map_or("UNKNOWN".to_owned(), |api| api.name.to_owned())
}

fn versions(key: i16, (from, to): (i16, i16)) -> String {
    let range = match from == to {
        true => from.to_string(),
        false => format!("{from} to {to}"),
    };
    let usable = match ApiKey::find(key) {
        Some(api) if to.min(api.max_version) >= from.max(api.min_version) => {
            format!("usable: {}", to.min(api.max_version))
        }
        Some(api) if to < api.min_version => "unusable: node too old".to_owned(),
        _ => "unusable: node too new".to_owned(),
    };
    format!("\t{}({key}): {range} [{usable}]", name(key))
}

pub async fn log_dirs(call: &mut Call) -> Outcome {
    let given = &call.given;
    given.action(&["describe"]).map_err(Failed::Usage)?;
    let topics: Option<BTreeSet<String>> = list(call, "topic-list");
    let wanted = list(call, "broker-list");
    let client = call.client().await?;
    let known: BTreeSet<i32> = brokers(&client).await?;
    let nodes: BTreeSet<i32> = match wanted {
        None => known.clone(),
        Some(list) => {
            let numbers = list.iter().map(|text| text.parse());
            let numbers: Result<BTreeSet<i32>, _> = numbers.collect();
            numbers.map_err(|_| Failed::Usage("--broker-list takes ids of brokers".to_owned()))?
        }
    };
    let joined = |nodes: &mut dyn Iterator<Item = &i32>| {
        nodes.map(i32::to_string).collect::<Vec<_>>().join(",")
    };
    let missing = joined(&mut nodes.difference(&known));
    if !missing.is_empty() {
        return Err(Failed::Complaint(format!(
            "ERROR: The given brokers do not exist from --broker-list: {missing}. Current existent brokers: {}",
            joined(&mut known.iter())
        )));
    }
    call.line("Querying brokers for log directories information")?;
    let mut told = Vec::new();
    for &node in &nodes {
        told.push(describe(&client, node, topics.as_ref()).await?);
    }
    call.line(&format!(
        "Received log directory information from brokers {}",
        joined(&mut nodes.iter())
    ))?;
    call.line(&format!(
        "{{\"brokers\":[{}],\"version\":1}}",
        told.join(",")
    ))
}

fn list(call: &Call, option: &str) -> Option<BTreeSet<String>> {
    let words = call.given.one(option)?.split(',').map(str::trim);
    let words = words.filter(|word| !word.is_empty()).map(str::to_owned);
    Some(words.collect())
}

async fn brokers(client: &Client) -> Outcome<BTreeSet<i32>> {
    let told = client.metadata(Some(&[])).await?;
    Ok(told.brokers.iter().map(|broker| broker.node_id).collect())
}

/// A broker's directories as JSON whose fields stand as in Kafka's tool.
async fn describe(
    client: &Client,
    node: i32,
    topics: Option<&BTreeSet<String>>,
) -> Outcome<String> {
    let mut directories = Vec::new();
    for directory in client.describe_log_dirs(node).await? {
        let mut partitions = Vec::new();
        for topic in &directory.topics {
            if topics.is_some_and(|topics| !topics.contains(&*topic.name)) {
                continue;
            }
            partitions.extend(topic.partitions.iter().map(|partition| {
                let place = json!(format!("{}-{}", topic.name, partition.partition_index));
                format!(
                    "{{\"partition\":{place},\"size\":{},\"offsetLag\":{},\"isFuture\":{}}}",
                    partition.partition_size, partition.offset_lag, partition.is_future_key
                )
            }));
        }
        directories.push(format!(
            "{{\"partitions\":[{}],\"error\":null,\"logDir\":{}}}",
            partitions.join(","),
            json!(directory.log_dir)
        ));
    }
    Ok(format!(
        "{{\"broker\":{node},\"logDirs\":[{}]}}",
        directories.join(",")
    ))
}
