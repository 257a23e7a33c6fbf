//! `kafka-transactions`: a command, with the tool's options before it and its own behind it.

mod hanging;

use std::process::ExitCode;
use std::time::Duration;

use rustka_client::{Client, Coordinated, TransactionFilter};
use rustka_wire::describe_producers_response::ProducerState;

use super::options::Takes::{Nothing, One};
use super::tool::{self, Call, Failed, Outcome, Tool, message};

const TOOL: Tool = Tool {
    options: &[
        ("bootstrap-server", One),
        ("command-config", One),
        ("help", Nothing),
        ("version", Nothing),
        ("duration-filter", One),
        ("transactional-id-pattern", One),
        ("transactional-id", One),
        ("transactionalId", One),
        ("broker-id", One),
        ("topic", One),
        ("partition", One),
        ("start-offset", One),
        ("producer-id", One),
        ("producer-epoch", One),
        ("coordinator-epoch", One),
        ("max-transaction-timeout", One),
    ],
    not_here: &[],
    config_options: &["command-config"],
    client_id: None,
    mistake: Failed::Usage,
};

/// Options that stand before the command.
const COMMON: &[&str] = &["bootstrap-server", "command-config", "help", "version"];
/// Those of them that have no value.
const BARE: [&str; 2] = ["help", "version"];

/// The commands, each with its own options.
const COMMANDS: [(&str, &[&str]); 6] = [
    (LIST, &["duration-filter", "transactional-id-pattern"]),
    (DESCRIBE, &["transactional-id"]),
    (DESCRIBE_PRODUCERS, &["broker-id", "topic", "partition"]),
    (
        ABORT,
        &[
            "topic",
            "partition",
            "start-offset",
            "producer-id",
            "producer-epoch",
            "coordinator-epoch",
        ],
    ),
    (
        FIND_HANGING,
        &["broker-id", "max-transaction-timeout", "topic", "partition"],
    ),
    (FORCE_TERMINATE, &["transactionalId"]),
];
const LIST: &str = "list";
const DESCRIBE: &str = "describe";
const DESCRIBE_PRODUCERS: &str = "describe-producers";
const ABORT: &str = "abort";
const FIND_HANGING: &str = "find-hanging";
/// Kafka's tool has it and its option in another style than the rest.
const FORCE_TERMINATE: &str = "forceTerminateTransaction";

/// What has no value.
const NONE: &str = "None";

/// Runs the tool and says how it ended.
pub fn start(name: &str, arguments: &[String]) -> ExitCode {
    match split(arguments) {
        Ok((command, arguments)) => tool::run(name, &TOOL, &arguments, async |call| {
            run(command, call).await
        }),
        Err(sentence) => {
            eprintln!("{name}: {sentence}");
            ExitCode::FAILURE
        }
    }
}

/// The command, and all options written out. Each has to stand on its own side of the command.
fn split(arguments: &[String]) -> Result<(&'static str, Vec<String>), String> {
    let mut options = Vec::new();
    let mut command: Option<(&'static str, &[&'static str])> = None;
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        let Some(flag) = word.strip_prefix('-') else {
            if command.is_some() {
                return Err(format!("unrecognized arguments: '{word}'"));
            }
            let found = COMMANDS.iter().find(|(name, _)| name == word);
            command = Some(*found.ok_or_else(|| {
                let names: Vec<&str> = COMMANDS.iter().map(|(name, _)| *name).collect();
                format!("there is no command '{word}': {}", names.join(", "))
            })?);
            continue;
        };
        let (flag, attached) = match flag.split_once('=') {
            Some((flag, value)) => (flag, Some(value)),
            None => (flag, None),
        };
        let known = match command {
            Some((_, own)) => own,
            None => COMMON,
        };
        let option = meant(flag, known).ok_or(format!("unrecognized arguments: '{word}'"))?;
        options.push(format!("--{option}"));
        if !BARE.contains(&option) {
            options.push(super::value_of(word, attached, &mut rest)?);
        }
    }
    let asks = BARE
        .iter()
        .any(|bare| options.contains(&format!("--{bare}")));
    match command {
        Some((command, _)) => Ok((command, options)),
        // Nothing is to be done then but telling.
        None if asks => Ok((LIST, options)),
        None => Err("too few arguments: there is no command".to_owned()),
    }
}

/// The option of a flag without its first dash, which may be cut short as long as it is clear.
fn meant(flag: &str, known: &[&'static str]) -> Option<&'static str> {
    let long = match flag {
        "h" | "-help" => return Some("help"),
        "v" => return Some("version"),
        _ => flag.strip_prefix('-').filter(|long| !long.is_empty())?,
    };
    let whole = known.iter().find(|option| **option == long);
    let mut starting = known.iter().filter(|option| option.starts_with(long));
    match (whole, starting.next(), starting.next()) {
        (Some(option), _, _) | (None, Some(option), None) => Some(option),
        _ => None,
    }
}

async fn run(command: &str, call: &mut Call) -> Outcome {
    call.given
        .required("bootstrap-server")
        .map_err(Failed::Usage)?;
    match command {
        LIST => list(call).await,
        DESCRIBE => describe(call).await,
        DESCRIBE_PRODUCERS => describe_producers(call).await,
        ABORT => abort(call).await,
        FIND_HANGING => hanging::find(call).await,
        _ => force_terminate(call).await,
    }
}

async fn list(call: &mut Call) -> Outcome {
    let duration: Option<i64> = call
        .given
        .number("duration-filter")
        .map_err(Failed::Usage)?;
    let open_for = duration.and_then(|ms| u64::try_from(ms).ok());
    let pattern = call.given.one("transactional-id-pattern");
    let filter = TransactionFilter {
        open_for: open_for.map(Duration::from_millis),
        pattern: pattern.map(str::to_owned),
        ..TransactionFilter::default()
    };
    let client = call.client().await?;
    let listed = client.list_transactions(&filter).await;
    let listed = listed.map_err(|error| failed("the transactions cannot be listed", &error))?;
    let rows = listed.into_iter().map(|(node, told)| {
        [
            told.transactional_id.into_owned(),
            node.to_string(),
            told.producer_id.to_string(),
            told.transaction_state.into_owned(),
        ]
    });
    table(
        call,
        [
            "TransactionalId",
            "Coordinator",
            "ProducerId",
            "TransactionState",
        ],
        rows.collect(),
    )
}

async fn describe(call: &mut Call) -> Outcome {
    let id = required(call, "transactional-id")?.to_owned();
    let client = call.client().await?;
    let told = async {
        let told = client.describe_transaction(&id).await?;
        let coordinator = client.coordinator(Coordinated::Transaction, &id).await?;
        Ok((told, client.node_at(&coordinator).await?))
    };
    let (told, coordinator) = told.await.map_err(|error| {
        failed(
            &format!("transactional id {id} cannot be described"),
            &error,
        )
    })?;
    let is_open = told.transaction_start_time_ms >= 0;
    let (since, duration) = match is_open {
        true => {
            let since_ms = told.transaction_start_time_ms;
            let now_ms = client.clock().wall_ms();
            (since_ms.to_string(), (now_ms - since_ms).to_string())
        }
        false => (NONE.to_owned(), NONE.to_owned()),
    };
    let partitions = told.topics.iter().flat_map(|topic| {
        let numbers = topic.partitions.iter();
        numbers.map(|partition| format!("{}-{partition}", topic.topic))
    });
    let partitions: Vec<String> = partitions.collect();
    let row = [
        coordinator.unwrap_or(-1).to_string(),
        id,
        told.producer_id.to_string(),
        told.producer_epoch.to_string(),
        told.transaction_state.into_owned(),
        told.transaction_timeout_ms.to_string(),
        since,
        duration,
        partitions.join(","),
    ];
    table(
        call,
        [
            "CoordinatorId",
            "TransactionalId",
            "ProducerId",
            "ProducerEpoch",
            "TransactionState",
            "TransactionTimeoutMs",
            "CurrentTransactionStartTimeMs",
            "TransactionDurationMs",
            "TopicPartitions",
        ],
        vec![row],
    )
}

async fn describe_producers(call: &mut Call) -> Outcome {
    let (topic, partition) = place(call)?;
    let node: Option<i32> = call.given.number("broker-id").map_err(Failed::Usage)?;
    let client = call.client().await?;
    let told = match node {
        Some(node) => client.describe_producers_at(node, &topic, partition).await,
        None => client.describe_producers(&topic, partition).await,
    };
    let told = told.map_err(|error| {
        let at = node.map_or("its leader".to_owned(), |node| format!("broker {node}"));
        failed(
            &format!("the producers of {topic}-{partition} cannot be described at {at}"),
            &error,
        )
    })?;
    let rows = told.iter().map(|producer| {
        [
            producer.producer_id.to_string(),
            producer.producer_epoch.to_string(),
            producer.coordinator_epoch.to_string(),
            producer.last_sequence.to_string(),
            producer.last_timestamp.to_string(),
            begins(producer).map_or(NONE.to_owned(), |offset| offset.to_string()),
        ]
    });
    table(
        call,
        [
            "ProducerId",
            "ProducerEpoch",
            "LatestCoordinatorEpoch",
            "LastSequence",
            "LastTimestamp",
            "CurrentTransactionStartOffset",
        ],
        rows.collect(),
    )
}

/// Where the producer's open transaction begins, if it has one.
fn begins(producer: &ProducerState) -> Option<i64> {
    Some(producer.current_txn_start_offset).filter(|offset| *offset >= 0)
}

async fn abort(call: &mut Call) -> Outcome {
    let (topic, partition) = place(call)?;
    let start: Option<i64> = call.given.number("start-offset").map_err(Failed::Usage)?;
    let producer_id: Option<i64> = call.given.number("producer-id").map_err(Failed::Usage)?;
    if start.is_none() && producer_id.is_none() {
        return Err(Failed::Complaint(
            "give the transaction's --start-offset, or --producer-id, --producer-epoch and --coordinator-epoch for brokers before 3.0"
                .to_owned(),
        ));
    }
    let named = match start {
        Some(_) => None,
        None => Some(named_producer(call, producer_id.unwrap_or(-1))?),
    };
    let client = call.client().await?;
    let producer = match named {
        Some(named) => named,
        None => found_producer(&client, (&topic, partition), start.unwrap_or(-1)).await?,
    };
    let aborted = client
        .abort_in_partition(&topic, partition, &producer)
        .await;
    aborted.map_err(|error| {
        failed(
            &format!("the transaction in {topic}-{partition} cannot be aborted"),
            &error,
        )
    })
}

/// The producer of the transaction that begins there.
async fn found_producer(
    client: &Client,
    (topic, partition): (&str, i32),
    start: i64,
) -> Outcome<ProducerState> {
    let place = format!("{topic}-{partition}");
    let producers = client.describe_producers(topic, partition).await;
    let producers = producers.map_err(|error| {
        failed(
            &format!("the producers of {place} cannot be described"),
            &error,
        )
    })?;
    let found = producers.into_iter().find(|it| begins(it) == Some(start));
    let mut found = found.ok_or_else(|| {
        Failed::Complaint(format!("no open transaction of {place} begins at {start}"))
    })?;
    // One that has ended no transaction yet has seen no coordinator.
    found.coordinator_epoch = found.coordinator_epoch.max(0);
    Ok(found)
}

/// The producer as the options describe it.
fn named_producer(call: &Call, producer_id: i64) -> Outcome<ProducerState> {
    let number = |name: &str| -> Outcome<i32> {
        let number = call.given.number(name).map_err(Failed::Usage)?;
        number.ok_or_else(|| Failed::Complaint(format!("Missing required argument --{name}")))
    };
    Ok(ProducerState {
        producer_id,
        producer_epoch: number("producer-epoch")?,
        coordinator_epoch: number("coordinator-epoch")?.max(0),
        ..Default::default()
    })
}

async fn force_terminate(call: &mut Call) -> Outcome {
    let id = required(call, "transactionalId")?.to_owned();
    let client = call.client().await?;
    let ended = client.fence_transaction(&id).await;
    ended.map_err(|error| failed(&format!("the transaction of {id} cannot be ended"), &error))
}

/// The value of an option without which the command makes no sense.
fn required<'a>(call: &'a Call, name: &str) -> Outcome<&'a str> {
    let value = call.given.one(name);
    value.ok_or_else(|| Failed::Usage(format!("argument --{name} is required")))
}

/// The partition that the options name.
fn place(call: &Call) -> Outcome<(String, i32)> {
    let topic = required(call, "topic")?.to_owned();
    required(call, "partition")?;
    let partition = call.given.number("partition").map_err(Failed::Usage)?;
    Ok((topic, partition.unwrap_or(0)))
}

fn failed(what: &str, error: &rustka_client::Error) -> Failed {
    Failed::Complaint(format!("{what}: {}", message(error)))
}

/// Prints columns, each as wide as its widest cell, with a tab behind each.
fn table<const N: usize>(call: &mut Call, titles: [&str; N], rows: Vec<[String; N]>) -> Outcome {
    let mut lines = vec![titles.map(str::to_owned)];
    lines.extend(rows);
    let widths: [usize; N] = std::array::from_fn(|column| {
        let lengths = lines.iter().map(|row| row[column].chars().count());
        lengths.max().unwrap_or(0)
    });
    for row in &lines {
        let cells = row.iter().zip(widths);
        let text: String = cells
            .map(|(cell, width)| format!("{cell:width$}\t"))
            .collect();
        call.line(&text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<(&'static str, String), String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        split(&words).map(|(command, options)| (command, options.join(" ")))
    }

    #[test]
    fn options_stand_on_their_own_side_of_the_command_and_may_be_cut_short() {
        let found = of("--boot b:1 find-hanging --max=3 --topic t").unwrap();
        assert_eq!(
            found,
            (
                FIND_HANGING,
                "--bootstrap-server b:1 --max-transaction-timeout 3 --topic t".to_owned()
            )
        );
        // The whole word is meant, though another one begins with it.
        let found = of("--bootstrap-server b:1 list --transactional-id-pattern x").unwrap();
        assert_eq!(found.0, LIST);
        assert_eq!(of("-v").unwrap().1, "--version");
        for (wrong, told) in [
            ("--bootstrap-server b:1", "no command"),
            ("--bootstrap-server", "needs a value"),
            ("list --bootstrap-server b:1", "unrecognized"),
            ("--topic t abort", "unrecognized"),
            ("--bootstrap-server b:1 abort --producer 3", "unrecognized"),
            ("--bootstrap-server b:1 lsit", "find-hanging"),
        ] {
            let error = of(wrong).unwrap_err();
            assert!(error.contains(told), "{wrong}: {error}");
        }
    }
}
