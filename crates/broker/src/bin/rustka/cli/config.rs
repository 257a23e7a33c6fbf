//! `rustka config`: what holds for topics, brokers and groups, and changing it.

use clap::{Subcommand, ValueEnum};
use rustka_client::{Client, Resource};

use super::explain::{self, ExplainArguments};
use super::failure::Failure;
use super::output::{Output, Table};
use super::topic::pair;

/// What has configs.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Kind {
    /// A topic.
    Topic,
    /// A broker by its id, or all with an empty name.
    Broker,
    /// The log levels of a broker.
    Logger,
    /// A group.
    Group,
    /// Metrics that clients send (KIP-714).
    ClientMetrics,
}

impl From<Kind> for Resource {
    fn from(kind: Kind) -> Resource {
        match kind {
            Kind::Topic => Resource::Topic,
            Kind::Broker => Resource::Broker,
            Kind::Logger => Resource::BrokerLogger,
            Kind::Group => Resource::Group,
            Kind::ClientMetrics => Resource::ClientMetrics,
        }
    }
}

/// What to do with configs.
#[derive(Subcommand)]
pub enum ConfigCommand {
    /// What holds, and where it comes from.
    Describe {
        /// What it is.
        kind: Kind,
        /// Its name.
        name: String,
        /// Also what nobody has set.
        #[arg(short, long)]
        all: bool,
    },
    /// What holds for a broker that would be started here with these flags, and where each value comes from. Asks nobody.
    Explain(ExplainArguments),
    /// Set values.
    Set {
        /// What it is.
        kind: Kind,
        /// Its name.
        name: String,
        /// The values.
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = pair)]
        values: Vec<(String, String)>,
    },
    /// Go back to the defaults.
    Unset {
        /// What it is.
        kind: Kind,
        /// Its name.
        name: String,
        /// The keys.
        #[arg(required = true)]
        keys: Vec<String>,
    },
}

/// Does what is to be done with configs.
pub async fn run(
    client: &Client,
    command: ConfigCommand,
    output: &mut Output,
) -> Result<(), Failure> {
    match command {
        ConfigCommand::Describe { kind, name, all } => {
            describe(client, kind.into(), &name, all, output).await
        }
        ConfigCommand::Explain(arguments) => explain::run(arguments, output),
        ConfigCommand::Set { kind, name, values } => {
            let changes = values
                .iter()
                .map(|(key, value)| (key.as_str(), Some(value.as_str())));
            let changes: Vec<_> = changes.collect();
            client.alter_configs(kind.into(), &name, &changes).await?;
            output.done(&format!("{} set", count(values.len())))
        }
        ConfigCommand::Unset { kind, name, keys } => {
            let changes: Vec<_> = keys.iter().map(|key| (key.as_str(), None)).collect();
            client.alter_configs(kind.into(), &name, &changes).await?;
            output.done(&format!("{} unset", count(keys.len())))
        }
    }
}

fn count(configs: usize) -> String {
    match configs {
        1 => "1 config".to_owned(),
        many => format!("{many} configs"),
    }
}

/// Kafka's number for a value that nobody has set.
const DEFAULT: i8 = 5;

async fn describe(
    client: &Client,
    resource: Resource,
    name: &str,
    all: bool,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut configs = client.describe_configs(resource, name).await?;
    configs.retain(|config| all || config.config_source != DEFAULT);
    configs.sort_by(|a, b| a.name.cmp(&b.name));
    let mut table = Table::new(&["key", "value", "source", "read only"]);
    for config in configs {
        let value = match config.is_sensitive {
            true => Some("(secret)".into()),
            false => config.value,
        };
        table.push(vec![
            config.name.into_owned().into(),
            value.map(|value| value.into_owned()).into(),
            source(config.config_source).into(),
            config.read_only.into(),
        ]);
    }
    output.table(table)
}

/// Where a value comes from, by Kafka's number for it.
fn source(number: i8) -> &'static str {
    match number {
        1 => "topic",
        2 => "this broker, while running",
        3 => "all brokers, while running",
        4 => "start of the broker",
        DEFAULT => "default",
        6 => "logger",
        7 => "client metrics",
        8 => "group",
        _ => "unknown",
    }
}
