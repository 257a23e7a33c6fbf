//! `rustka transaction`: which transactions are open, who holds readers back, and ending what nobody ends.

use std::time::Duration;

use clap::Subcommand;
use rustka_client::{Client, TransactionFilter};
use serde_json::Value;

use super::failure::Failure;
use super::output::{Output, Table};

/// What to do with transactions.
#[derive(Subcommand)]
pub enum TransactionCommand {
    /// Transactional ids, and where each stands.
    List {
        /// Only those in this state, such as Ongoing; may be given many times.
        #[arg(short, long = "state")]
        states: Vec<String>,
        /// Only those open for longer than so many seconds.
        #[arg(short, long, value_name = "SECONDS")]
        open_for: Option<u64>,
        /// Only those that this regular expression matches as a whole.
        #[arg(short, long)]
        pattern: Option<String>,
    },
    /// The partitions of a transaction, and where each is held back.
    Describe {
        /// The transactional id.
        id: String,
    },
    /// Abort an open transaction. Its producer is fenced, and has to begin anew.
    Abort {
        /// The transactional id.
        #[arg(required_unless_present = "topic")]
        id: Option<String>,
        /// A partition in which a transaction hangs that no coordinator knows: its topic ...
        #[arg(long, requires_all = ["partition", "start_offset"], conflicts_with = "id")]
        topic: Option<String>,
        /// ... its number ...
        #[arg(long, requires = "topic")]
        partition: Option<i32>,
        /// ... and where that transaction begins.
        #[arg(long, requires = "topic")]
        start_offset: Option<i64>,
    },
}

/// Does what is to be done with transactions.
pub async fn run(
    client: &Client,
    command: TransactionCommand,
    output: &mut Output,
) -> Result<(), Failure> {
    match command {
        TransactionCommand::List {
            states,
            open_for,
            pattern,
        } => {
            let filter = TransactionFilter {
                states,
                open_for: open_for.map(Duration::from_secs),
                pattern,
                ..TransactionFilter::default()
            };
            list(client, &filter, output).await
        }
        TransactionCommand::Describe { id } => describe(client, &id, output).await,
        TransactionCommand::Abort {
            topic: Some(topic),
            partition: Some(partition),
            start_offset: Some(start),
            ..
        } => abort_hanging(client, (&topic, partition), start, output).await,
        TransactionCommand::Abort { id, .. } => {
            let id = id.unwrap_or_default();
            // An id that nobody uses is not made only to be fenced.
            client.describe_transaction(&id).await?;
            client.fence_transaction(&id).await?;
            output.done(&format!(
                "{id} has no open transaction, and its producer is fenced"
            ))
        }
    }
}

async fn list(
    client: &Client,
    filter: &TransactionFilter,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut listed = client.list_transactions(filter).await?;
    listed.sort_by(|a, b| a.1.transactional_id.cmp(&b.1.transactional_id));
    let mut table = Table::new(&["id", "state", "producer", "coordinator"]);
    for (node, state) in listed {
        table.push(vec![
            state.transactional_id.into_owned().into(),
            state.transaction_state.into_owned().into(),
            state.producer_id.into(),
            node.into(),
        ]);
    }
    output.table(table)
}

async fn describe(client: &Client, id: &str, output: &mut Output) -> Result<(), Failure> {
    let told = client.describe_transaction(id).await?;
    let is_open = told.transaction_start_time_ms >= 0;
    let began_ms = is_open.then_some(told.transaction_start_time_ms);
    let mut table = Table::new(&[
        "id",
        "state",
        "producer",
        "epoch",
        "timeout ms",
        "began ms",
        "topic",
        "partition",
        "open since",
    ]);
    let row = |place: [Value; 3]| {
        let mut row: Vec<Value> = vec![
            id.into(),
            told.transaction_state.as_ref().into(),
            told.producer_id.into(),
            told.producer_epoch.into(),
            told.transaction_timeout_ms.into(),
            began_ms.into(),
        ];
        row.extend(place);
        row
    };
    for topic in &told.topics {
        for partition in &topic.partitions {
            let producers = client.describe_producers(&topic.topic, *partition).await?;
            let own = producers
                .iter()
                .find(|it| it.producer_id == told.producer_id);
            let since = own
                .map(|it| it.current_txn_start_offset)
                .filter(|at| *at >= 0);
            table.push(row([
                topic.topic.as_ref().into(),
                (*partition).into(),
                since.into(),
            ]));
        }
    }
    if told.topics.is_empty() {
        table.push(row([Value::Null, Value::Null, Value::Null]));
    }
    output.table(table)
}

async fn abort_hanging(
    client: &Client,
    (topic, partition): (&str, i32),
    start: i64,
    output: &mut Output,
) -> Result<(), Failure> {
    let producers = client.describe_producers(topic, partition).await?;
    let found = producers
        .iter()
        .find(|it| it.current_txn_start_offset == start);
    let Some(found) = found else {
        let sentence = format!("no transaction of {topic}-{partition} begins at {start}");
        return Err(Failure::Refused(sentence));
    };
    client.abort_in_partition(topic, partition, found).await?;
    let producer = found.producer_id;
    output.done(&format!(
        "the transaction of producer {producer} in {topic}-{partition} is aborted"
    ))
}
