//! `kafka-console-consumer`.

mod journals;
mod print;

use std::collections::BTreeMap;

use rustka_client::{
    Client, ConsumeOptions, Consumer, Fetched, GroupConsumer, GroupOptions, GroupProtocol,
    Isolation, Start,
};

use self::print::{Format, Printer};
use super::options::Takes::{Many, Nothing, One};
use super::tool::{Call, Failed, Outcome, Tool, message, pattern};
use crate::cli::connect::Reach;

pub const TOOL: Tool = Tool {
    options: &[
        ("bootstrap-server", One),
        ("command-config", One),
        ("consumer.config", One),
        ("command-property", Many),
        ("consumer-property", Many),
        ("topic", One),
        ("include", One),
        ("partition", One),
        ("offset", One),
        ("from-beginning", Nothing),
        ("group", One),
        ("max-messages", One),
        ("timeout-ms", One),
        ("isolation-level", One),
        ("formatter", One),
        ("formatter-property", Many),
        ("property", Many),
        ("formatter-config", One),
        ("key-deserializer", One),
        ("value-deserializer", One),
        ("skip-message-on-error", Nothing),
        ("enable-systest-events", Nothing),
        ("help", Nothing),
        ("version", Nothing),
    ],
    not_here: &[],
    config_options: &["command-config", "consumer.config"],
    client_id: Some("console-consumer"),
    mistake: Failed::Usage,
};

/// A group that nobody named is called so, with a number behind.
const GROUP_PREFIX: &str = "console-consumer-";

pub async fn run(call: &mut Call) -> Outcome {
    check(call).map_err(Failed::Usage)?;
    super::tool::renamed(
        &call.given,
        &[
            ("property", "formatter-property"),
            ("consumer-property", "command-property"),
            ("consumer.config", "command-config"),
        ],
    )?;
    let mut reach = call.reach(&["consumer-property", "command-property"])?;
    if let Some(level) = call.given.one("isolation-level") {
        reach.set("isolation.level", level);
    }
    let reading = Reading::of(call, &reach)?;
    let client = reach.client().await?;
    let mut printer = Printer {
        format: Format::of(call)?,
        left: call.given.number("max-messages").map_err(Failed::Usage)?,
        printed: 0,
        output: &mut call.output,
    };
    // A negative number is no limit.
    printer.left = printer.left.filter(|left| *left >= 0);
    let outcome = match &reading.place {
        Some((partition, start)) => {
            alone(&client, &reading, (*partition, *start), &mut printer).await
        }
        None => as_member(&client, &reading, &mut printer).await,
    };
    let printed = printer.printed;
    match outcome {
        Err(Failed::Asked(error)) => eprintln!(
            "ERROR Error processing message, terminating consumer process: {}",
            message(&error)
        ),
        other => other?,
    }
    eprintln!("Processed a total of {printed} messages");
    Ok(())
}

fn check(call: &Call) -> Result<(), String> {
    let given = &call.given;
    given.required("bootstrap-server")?;
    if given.among(&["topic", "include"]).len() != 1 {
        return Err("Exactly one of --include/--topic is required.".to_owned());
    }
    if given.has("offset") && !given.has("partition") {
        return Err("The partition is required when offset is specified.".to_owned());
    }
    given.excludes("from-beginning", &["offset"])?;
    given.excludes("group", &["partition"])?;
    given.excludes("include", &["partition"])
}

/// What is read, and how.
struct Reading {
    topic: Option<String>,
    include: Option<regex_lite::Regex>,
    /// The only partition, and where to begin there.
    place: Option<(i32, Start)>,
    group: Option<String>,
    start: Start,
    isolation: Isolation,
    protocol: GroupProtocol,
    /// How long no record may come.
    timeout_ms: Option<i64>,
}

impl Reading {
    fn of(call: &Call, reach: &Reach) -> Outcome<Reading> {
        let given = &call.given;
        let reset = match reach.property("auto.offset.reset") {
            Some("earliest") => Start::Earliest,
            _ if given.has("from-beginning") => Start::Earliest,
            _ => Start::Latest,
        };
        let start = match given.one("offset").map(str::to_lowercase).as_deref() {
            None => reset,
            Some("earliest") => Start::Earliest,
            Some("latest") => Start::Latest,
            Some(text) => match text.parse() {
                Ok(offset) if offset >= 0 => Start::Offset(offset),
                _ => {
                    return Err(Failed::Usage(format!(
                        "The provided offset value '{text}' is incorrect. Valid values are 'earliest', 'latest', or a non-negative long."
                    )));
                }
            },
        };
        let partition: Option<i32> = given.number("partition").map_err(Failed::Usage)?;
        let timeout: Option<i64> = given.number("timeout-ms").map_err(Failed::Usage)?;
        let isolation = match reach.property("isolation.level") {
            None | Some("read_uncommitted") => Isolation::ReadUncommitted,
            Some("read_committed") => Isolation::ReadCommitted,
            Some(other) => {
                return Err(Failed::Usage(format!(
                    "{other} is no isolation level: read_uncommitted, read_committed"
                )));
            }
        };
        let protocol = match reach
            .property("group.protocol")
            .map(str::to_lowercase)
            .as_deref()
        {
            None | Some("classic") => GroupProtocol::Classic,
            Some("consumer") => GroupProtocol::Consumer,
            Some(other) => {
                return Err(Failed::Usage(format!(
                    "{other} is no group.protocol: classic, consumer"
                )));
            }
        };
        Ok(Reading {
            topic: given.one("topic").map(str::to_owned),
            include: given.one("include").map(pattern).transpose()?,
            place: partition.map(|partition| (partition, start)),
            group: given
                .one("group")
                .or(reach.property("group.id"))
                .map(str::to_owned),
            start: reset,
            isolation,
            protocol,
            timeout_ms: timeout.filter(|ms| *ms >= 0),
        })
    }

    fn options(&self) -> ConsumeOptions {
        ConsumeOptions {
            isolation: self.isolation,
            ..ConsumeOptions::default()
        }
    }

    /// The topics to be read. One that is named may be created for it.
    async fn topics(&self, client: &Client) -> Outcome<Vec<String>> {
        if let Some(topic) = &self.topic {
            // What cannot be created is waited for.
            if let Err(error) = client.topic_or_create(topic).await {
                eprintln!("WARN: {}", message(&error));
            }
            return Ok(vec![topic.clone()]);
        }
        let told = client.metadata(None).await?;
        let names = told.topics.into_iter().filter(|topic| !topic.is_internal);
        let names = names.map(|topic| topic.name.unwrap_or_default().into_owned());
        Ok(names
            .filter(|name| {
                self.include
                    .as_ref()
                    .is_some_and(|include| include.is_match(name))
            })
            .collect())
    }
}

/// Waits for records, but not longer than is asked for, and until somebody presses Ctrl-C. Nothing at the end.
async fn next(
    client: &Client,
    reading: &Reading,
    poll: impl Future<Output = rustka_client::Result<Option<Fetched>>>,
    quiet_since_ms: i64,
) -> Outcome<Option<Option<Fetched>>> {
    let late = async {
        match reading.timeout_ms {
            Some(timeout_ms) => {
                let due_ms = quiet_since_ms.saturating_add(timeout_ms);
                client.clock().sleep_until(due_ms).await;
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => Ok(None),
        polled = poll => Ok(Some(polled?)),
        () = late => {
            eprintln!("ERROR Error processing message, terminating consumer process: no message within --timeout-ms");
            Ok(None)
        }
    }
}

async fn alone(
    client: &Client,
    reading: &Reading,
    (partition, start): (i32, Start),
    printer: &mut Printer<'_>,
) -> Outcome {
    let topic = reading.topic.as_deref().unwrap_or_default();
    client.topic_or_create(topic).await?;
    let mut consumer = Consumer::new(client, reading.options());
    consumer
        .assign(topic, &BTreeMap::from([(partition, start)]))
        .await?;
    let mut quiet_since_ms = client.clock().monotonic_ms();
    while printer.wants_more() {
        match next(client, reading, consumer.poll(), quiet_since_ms).await? {
            None => break,
            Some(None) => {}
            Some(Some(fetched)) => {
                printer.print(&fetched)?;
                quiet_since_ms = client.clock().monotonic_ms();
            }
        }
    }
    Ok(())
}

async fn as_member(client: &Client, reading: &Reading, printer: &mut Printer<'_>) -> Outcome {
    if !printer.wants_more() {
        return Ok(());
    }
    let topics = reading.topics(client).await?;
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let group = match &reading.group {
        Some(group) => group.clone(),
        None => format!("{GROUP_PREFIX}{}", std::process::id()),
    };
    let options = GroupOptions {
        protocol: reading.protocol,
        start: reading.start,
        // Nobody comes back to a group that nobody named.
        is_committing: reading.group.is_some(),
        consume: reading.options(),
        ..GroupOptions::default()
    };
    let mut member = GroupConsumer::new(client, &group, &topics, options);
    let mut quiet_since_ms = client.clock().monotonic_ms();
    while printer.wants_more() {
        match next(client, reading, member.poll(), quiet_since_ms).await? {
            None => break,
            Some(None) => {}
            Some(Some(fetched)) => {
                if let Some(rest) = printer.print(&fetched)? {
                    // Whoever comes next in this group gets what was not printed.
                    member.seek(&(fetched.topic, fetched.partition), rest);
                }
                quiet_since_ms = client.clock().monotonic_ms();
            }
        }
    }
    Ok(member.leave().await?)
}
