//! Deleting groups, and offsets that they have committed.

use rustka_client::Client;

use super::chosen;
use crate::named::reset;
use crate::named::tool::{Call, Failed, Outcome, exception, message};

/// Deletes the groups that the options name.
pub async fn delete(client: &Client, call: &mut Call) -> Outcome {
    let (mut gone, mut failed) = (Vec::new(), Vec::new());
    for group in chosen(client, call).await? {
        match client.delete_group(&group).await {
            Ok(()) => gone.push(format!("'{group}'")),
            Err(error) => failed.push(format!(
                "* Group '{group}' could not be deleted due to: {}",
                exception(&error)
            )),
        }
    }
    let gone = gone.join(", ");
    if failed.is_empty() {
        return call.line(&format!(
            "Deletion of requested consumer groups ({gone}) was successful."
        ));
    }
    call.line("\nError: Deletion of some consumer groups failed:")?;
    call.line(&failed.join("\n"))?;
    match gone.is_empty() {
        true => Ok(()),
        false => call.line(&format!(
            "\nThese consumer groups were deleted successfully: {gone}"
        )),
    }
}

/// Deletes what one group has committed for the topics that the options name.
pub async fn delete_offsets(client: &Client, call: &mut Call) -> Outcome {
    let group = call.given.one("group").unwrap_or_default().to_owned();
    let mut rows = Vec::new();
    let mut whole = None;
    for text in call.given.all("topic") {
        let (topic, partitions) = reset::topic_and_partitions(text).map_err(Failed::Usage)?;
        let partitions = match (partitions, client.topic(topic).await) {
            (Some(partitions), _) => partitions,
            (None, Ok(known)) => known.partitions.keys().copied().collect(),
            (None, Err(error)) => {
                rows.push((topic, "-".to_owned(), status(&Err(error))));
                continue;
            }
        };
        match client.delete_offsets(&group, topic, &partitions).await {
            Ok(outcomes) => rows.extend(
                outcomes
                    .iter()
                    .map(|(partition, outcome)| (topic, partition.to_string(), status(outcome))),
            ),
            Err(error) => {
                let outcome = Err(error);
                rows.extend(
                    partitions
                        .iter()
                        .map(|partition| (topic, partition.to_string(), status(&outcome))),
                );
                whole = outcome.err();
            }
        }
    }
    let rows: Vec<String> = rows
        .into_iter()
        .map(|(topic, partition, status)| format!("{topic:15} {partition:10} {status:15}"))
        .collect();
    let verdict = match &whole {
        None => format!("Request succeeded for deleting offsets from group {group}."),
        Some(error) => format!("\nError: {}", message(error)),
    };
    call.line(&verdict)?;
    call.line(&format!(
        "\n{:15} {:10} {:15}",
        "TOPIC", "PARTITION", "STATUS"
    ))?;
    rows.iter().try_for_each(|row| call.line(row))
}

fn status(outcome: &rustka_client::Result<()>) -> String {
    match outcome {
        Ok(()) => "Successful".to_owned(),
        Err(error) => format!("Error: {}", exception(error)),
    }
}
