//! `rustka group`: who reads what, and how far.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use rustka_client::{Client, Committed, Isolation, Start};
use serde_json::Value;

use super::failure::Failure;
use super::output::{Output, Table};
use super::topic::all;

/// What to do with groups.
#[derive(Subcommand)]
pub enum GroupCommand {
    /// All groups.
    List,
    /// What a group has committed, how far it lags, and who reads.
    Describe {
        /// The group.
        group: String,
    },
    /// Set where a group goes on. Shows what would be done; --execute does it. The group must have no members.
    Reset {
        /// The group.
        group: String,
        #[command(flatten)]
        to: ResetArguments,
    },
    /// Delete groups that have no members, with their offsets.
    Delete {
        /// Their names.
        #[arg(required = true)]
        groups: Vec<String>,
    },
}

/// Where to.
#[derive(Args)]
pub struct ResetArguments {
    /// The topic; all that the group has offsets of if absent.
    #[arg(short, long)]
    topic: Option<String>,
    /// The only partition.
    #[arg(short, long, requires = "topic")]
    partition: Option<i32>,
    /// earliest, latest, an offset, or @ and milliseconds since 1970.
    #[arg(long, value_parser = super::consume::start)]
    to: Start,
    /// Do it.
    #[arg(long)]
    execute: bool,
}

/// Does what is to be done with groups.
pub async fn run(
    client: &Client,
    command: GroupCommand,
    output: &mut Output,
) -> Result<(), Failure> {
    match command {
        GroupCommand::List => {
            let mut groups = client.list_groups().await?;
            groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
            let mut table = Table::new(&["group", "type", "protocol", "state"]);
            for group in groups {
                table.push(vec![
                    group.group_id.into_owned().into(),
                    group.group_type.into_owned().into(),
                    group.protocol_type.into_owned().into(),
                    group.group_state.into_owned().into(),
                ]);
            }
            output.table(table)
        }
        GroupCommand::Describe { group } => describe(client, &group, output).await,
        GroupCommand::Reset { group, to } => reset(client, &group, &to, output).await,
        GroupCommand::Delete { groups } => {
            let mut outcomes = Vec::new();
            for group in &groups {
                outcomes.push(client.delete_group(group).await);
            }
            all(&groups, outcomes.into_iter(), "deleted", output)
        }
    }
}

type Place = (String, i32);

async fn describe(client: &Client, group: &str, output: &mut Output) -> Result<(), Failure> {
    let told = client.describe_any_group(group).await?;
    let committed = client.committed(group).await?;
    let mut readers: BTreeMap<Place, (String, String)> = BTreeMap::new();
    for member in &told.members {
        for (topic, partitions) in &member.assigned {
            for partition in partitions {
                let reader = (member.member_id.clone(), member.host.clone());
                readers.insert((topic.clone(), *partition), reader);
            }
        }
    }
    let mut places: Vec<Place> = committed.keys().chain(readers.keys()).cloned().collect();
    places.sort();
    places.dedup();
    let ends = ends(client, &places, Start::Latest).await?;
    let mut table = Table::new(&[
        "topic",
        "partition",
        "committed",
        "end",
        "lag",
        "member",
        "host",
    ]);
    for place in places {
        let at = committed
            .get(&place)
            .map(|committed: &Committed| committed.offset);
        let end = ends.get(&place).copied();
        let lag = at.zip(end).map(|(at, end)| end.saturating_sub(at));
        let reader = readers.get(&place);
        table.push(vec![
            place.0.into(),
            place.1.into(),
            at.into(),
            end.into(),
            lag.into(),
            reader.map(|reader| reader.0.as_str()).into(),
            reader.map(|reader| reader.1.as_str()).into(),
        ]);
    }
    let (state, members) = (&told.state, told.members.len());
    let epochs = told.epochs.map_or_else(String::new, |(epoch, assigned)| {
        format!(
            ", epoch {epoch}, assigned by {} in epoch {assigned}",
            told.assignor
        )
    });
    output.done(&format!("{group}: {state}, {members} members{epochs}"))?;
    output.table(table)
}

/// Where this is in these partitions; those of topics that are gone are left out.
async fn ends(
    client: &Client,
    places: &[Place],
    start: Start,
) -> Result<BTreeMap<Place, i64>, Failure> {
    let mut by_topic: BTreeMap<&str, BTreeMap<i32, Start>> = BTreeMap::new();
    for (topic, partition) in places {
        by_topic.entry(topic).or_default().insert(*partition, start);
    }
    let mut found = BTreeMap::new();
    for (topic, wanted) in by_topic {
        match client
            .offsets(topic, &wanted, Isolation::ReadUncommitted)
            .await
        {
            Ok(offsets) => found.extend(
                offsets
                    .into_iter()
                    .map(|(p, at)| ((topic.to_owned(), p), at)),
            ),
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

fn is_gone(error: &rustka_client::Error) -> bool {
    error.code() == Some(rustka_core::error::ErrorCode::UnknownTopicOrPartition)
}

async fn reset(
    client: &Client,
    group: &str,
    to: &ResetArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let committed = client.committed(group).await?;
    let places: Vec<Place> = match &to.topic {
        None => committed.keys().cloned().collect(),
        Some(topic) => {
            let known = client.topic(topic).await?;
            let partitions = known.partitions.keys().copied();
            partitions
                .filter(|&partition| to.partition.is_none_or(|wanted| wanted == partition))
                .map(|partition| (topic.clone(), partition))
                .collect()
        }
    };
    if places.is_empty() {
        return Err(Failure::Refused(format!(
            "group {group} has no offsets there; name a topic and a partition that exist"
        )));
    }
    let offsets = ends(client, &places, to.to).await?;
    if to.execute {
        client.reset_offsets(group, &offsets).await?;
    }
    let mut table = Table::new(&["topic", "partition", "before", "after", "done"]);
    for (place, after) in offsets {
        let before = committed.get(&place).map(|committed| committed.offset);
        table.push(vec![
            place.0.into(),
            place.1.into(),
            before.into(),
            after.into(),
            Value::Bool(to.execute),
        ]);
    }
    output.table(table)?;
    match to.execute {
        true => Ok(()),
        false => output.done("Nothing was changed yet: say --execute."),
    }
}
