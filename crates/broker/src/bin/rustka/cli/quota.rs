//! `rustka quota`: how much users, clients and addresses may use.

use clap::{Args, Subcommand};
use rustka_client::{Client, QuotaMatch};

use super::failure::Failure;
use super::output::{Output, Table};
use super::topic::pair;

/// What to do with quotas.
#[derive(Subcommand)]
pub enum QuotaCommand {
    /// All quotas.
    List,
    /// Set quotas: producer_byte_rate, consumer_byte_rate, request_percentage, controller_mutation_rate, connection_creation_rate.
    Set {
        #[command(flatten)]
        whose: Whose,
        /// The values.
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = pair)]
        values: Vec<(String, String)>,
    },
    /// Take quotas away again.
    Unset {
        #[command(flatten)]
        whose: Whose,
        /// The keys.
        #[arg(required = true)]
        keys: Vec<String>,
    },
}

/// Whom a quota is for. A user and a client together are that user with that client.
#[derive(Args)]
pub struct Whose {
    /// A user; an empty name is the default of users.
    #[arg(short, long)]
    user: Option<String>,
    /// A client by its id; an empty name is the default of clients.
    #[arg(short, long)]
    client: Option<String>,
    /// An address; an empty one is the default of addresses.
    #[arg(long, conflicts_with_all = ["user", "client"])]
    ip: Option<String>,
}

/// The kinds of entities, in Kafka's words, that quotas are listed for.
const LISTED: [&[&str]; 4] = [&["user"], &["client-id"], &["user", "client-id"], &["ip"]];

impl Whose {
    fn entity(&self) -> Result<Vec<(&str, Option<&str>)>, Failure> {
        let named = [
            ("user", &self.user),
            ("client-id", &self.client),
            ("ip", &self.ip),
        ];
        let entity: Vec<(&str, Option<&str>)> = named
            .into_iter()
            .filter_map(|(kind, name)| {
                let name = name.as_deref()?;
                Some((kind, (!name.is_empty()).then_some(name)))
            })
            .collect();
        match entity.is_empty() {
            true => Err(Failure::Usage(
                "say whose: --user, --client, both, or --ip".to_owned(),
            )),
            false => Ok(entity),
        }
    }
}

/// Does what is to be done with quotas.
pub async fn run(
    client: &Client,
    command: QuotaCommand,
    output: &mut Output,
) -> Result<(), Failure> {
    match command {
        QuotaCommand::List => list(client, output).await,
        QuotaCommand::Set { whose, values } => {
            let mut changes = Vec::new();
            for (key, value) in &values {
                let number: f64 = value
                    .parse()
                    .map_err(|_| Failure::Usage(format!("{key}={value} is no number")))?;
                changes.push((key.as_str(), Some(number)));
            }
            client.alter_quotas(&whose.entity()?, &changes).await?;
            output.done(&format!("{} quotas set", changes.len()))
        }
        QuotaCommand::Unset { whose, keys } => {
            let changes: Vec<_> = keys.iter().map(|key| (key.as_str(), None)).collect();
            client.alter_quotas(&whose.entity()?, &changes).await?;
            output.done(&format!("{} quotas unset", changes.len()))
        }
    }
}

async fn list(client: &Client, output: &mut Output) -> Result<(), Failure> {
    let mut table = Table::new(&["user", "client", "ip", "key", "value"]);
    for kinds in LISTED {
        let parts: Vec<_> = kinds.iter().map(|kind| (*kind, QuotaMatch::Any)).collect();
        for (entity, values) in client.describe_quotas(&parts).await? {
            let named = |wanted: &str| {
                let part = entity.iter().find(|(kind, _)| kind == wanted);
                part.map(|(_, name)| name.clone().unwrap_or_else(|| "(default)".to_owned()))
            };
            for (key, value) in values {
                table.push(vec![
                    named("user").into(),
                    named("client-id").into(),
                    named("ip").into(),
                    key.into(),
                    value.into(),
                ]);
            }
        }
    }
    output.table(table)
}
