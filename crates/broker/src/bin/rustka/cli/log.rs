//! `rustka log`: how much each partition takes, and where; and offline what is in a data directory.

use clap::{Args, Subcommand};
use rustka_client::Client;
use std::path::PathBuf;

use super::failure::Failure;
use super::output::{Output, Table};

/// Of what.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct LogArguments {
    #[command(subcommand)]
    pub command: Option<LogCommand>,
    /// Only this topic.
    #[arg(short, long)]
    topic: Option<String>,
}

/// What needs no broker.
#[derive(Subcommand)]
pub enum LogCommand {
    /// Tell what a start would find in a data directory, and what it would change there. Changes nothing. The exit code is
    /// 1 where something is damaged.
    Check {
        /// The data directory, which no broker may have in use.
        directory: PathBuf,
    },
    /// Tell what is in files of a data directory: segments, indexes, snapshots of producers, leader epochs, checkpoints.
    Dump {
        /// The files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The records of each batch, too.
        #[arg(short, long)]
        records: bool,
    },
}

/// Tells the size of each partition in each directory of each broker, the largest first.
pub async fn run(
    client: &Client,
    arguments: LogArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut rows = Vec::new();
    let brokers = client.metadata(Some(&[])).await?.brokers;
    for broker in brokers {
        for directory in client.describe_log_dirs(broker.node_id).await? {
            for topic in &directory.topics {
                let wanted = arguments.topic.as_deref();
                if wanted.is_some_and(|wanted| topic.name != wanted) {
                    continue;
                }
                rows.extend(topic.partitions.iter().map(|partition| {
                    let place = (topic.name.to_string(), partition.partition_index);
                    let directory = directory.log_dir.to_string();
                    (partition.partition_size, place, broker.node_id, directory)
                }));
            }
        }
    }
    rows.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let mut table = Table::new(&["topic", "partition", "bytes", "node", "directory"]);
    for (bytes, (topic, partition), node, directory) in rows {
        table.push(vec![
            topic.into(),
            partition.into(),
            bytes.into(),
            node.into(),
            directory.into(),
        ]);
    }
    output.table(table)
}
