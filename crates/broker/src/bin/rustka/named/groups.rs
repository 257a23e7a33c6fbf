//! `kafka-consumer-groups`, but for resetting offsets, which is [`super::reset`].

mod delete;
mod describe;

use std::collections::BTreeMap;

use rustka_client::{Client, Isolation, Start};
use rustka_core::error::ErrorCode;

use super::options::Takes::{Many, Nothing, One};
use super::reset;
use super::tool::{Call, Failed, Outcome, Tool, exception, message};

pub const TOOL: Tool = Tool {
    options: &[
        ("bootstrap-server", One),
        ("command-config", One),
        ("list", Nothing),
        ("describe", Nothing),
        ("delete", Nothing),
        ("delete-offsets", Nothing),
        ("reset-offsets", Nothing),
        ("validate-regex", One),
        ("group", Many),
        ("all-groups", Nothing),
        ("topic", Many),
        ("all-topics", Nothing),
        ("offsets", Nothing),
        ("members", Nothing),
        ("state", super::options::Takes::Maybe),
        ("type", super::options::Takes::Maybe),
        ("verbose", Nothing),
        ("timeout", One),
        ("dry-run", Nothing),
        ("execute", Nothing),
        ("export", Nothing),
        ("to-earliest", Nothing),
        ("to-latest", Nothing),
        ("to-current", Nothing),
        ("to-offset", One),
        ("shift-by", One),
        ("by-duration", One),
        ("to-datetime", One),
        ("from-file", One),
        ("help", Nothing),
        ("version", Nothing),
    ],
    not_here: &[],
    config_options: &["command-config"],
    client_id: None,
    mistake: Failed::Usage,
};

const ACTIONS: [&str; 6] = [
    "list",
    "describe",
    "delete",
    "reset-offsets",
    "delete-offsets",
    "validate-regex",
];

/// A partition of a topic.
pub type Place = (String, i32);

pub async fn run(call: &mut Call) -> Outcome {
    let given = &call.given;
    let action = given.action(&ACTIONS).map_err(Failed::Usage)?;
    if action == "validate-regex" {
        return validate(call);
    }
    check(call, action).map_err(Failed::Usage)?;
    let client = call.client().await?;
    let outcome = match action {
        "list" => list(&client, call).await,
        "describe" => describe::describe(&client, call).await,
        "delete" => delete::delete(&client, call).await,
        "delete-offsets" => delete::delete_offsets(&client, call).await,
        _ => reset::run(&client, call).await,
    };
    match outcome {
        // Kafka's tool tells this so, and returns 0.
        Err(Failed::Asked(error)) => {
            let words = match error.code() {
                Some(ErrorCode::GroupIdNotFound) => exception(&error),
                _ => message(&error),
            };
            refused(call, &words)
        }
        other => other,
    }
}

/// Says that the command failed. The exit code is 0, as with Kafka's tool.
pub fn refused(call: &mut Call, words: &str) -> Outcome {
    call.line(&format!(
        "\nError: Executing consumer group command failed due to {words}"
    ))
}

fn check(call: &Call, action: &str) -> Result<(), String> {
    let given = &call.given;
    given.required("bootstrap-server")?;
    let has_groups = given.has("group") || given.has("all-groups");
    if ["describe", "delete", "reset-offsets"].contains(&action) && !has_groups {
        return Err(format!(
            "Option [{action}] takes one of these options: [all-groups], [group]"
        ));
    }
    given.excludes("all-groups", &["group"])?;
    if action == "delete-offsets" {
        given.required("group")?;
        given.required("topic")?;
    }
    if action == "describe" && given.among(&["offsets", "members", "state"]).len() > 1 {
        return Err(
            "Option [describe] takes at most one of these options: [members], [offsets], [state]"
                .to_owned(),
        );
    }
    if action == "reset-offsets" {
        reset::check(given)?;
    }
    Ok(())
}

fn validate(call: &mut Call) -> Outcome {
    let text = call.given.one("validate-regex").unwrap_or_default();
    let verdict = match regex_lite::Regex::new(text) {
        Ok(_) => format!("The regular expression `{text}` is valid."),
        Err(why) => format!("The regular expression `{text}` is invalid: {why}."),
    };
    call.line(&verdict)
}

/// The words of an option such as `--state Stable,Empty`, in Kafka's own writing.
fn wanted(call: &Call, option: &str, known: &[&'static str]) -> Outcome<Option<Vec<&'static str>>> {
    let Some(text) = call.given.one(option) else {
        return Ok(None);
    };
    let bare = |word: &str| word.replace(['_', ' '], "").to_lowercase();
    let words = text.split(',').map(str::trim).map(|word| {
        let found = known.iter().find(|known| bare(known) == bare(word));
        found.copied().ok_or_else(|| {
            Failed::Usage(format!(
                "Invalid {option} list '{text}'. Valid {option}s are: {}",
                known.join(", ")
            ))
        })
    });
    words.collect::<Outcome<_>>().map(Some)
}

async fn list(client: &Client, call: &mut Call) -> Outcome {
    const STATES: [&str; 7] = [
        "PreparingRebalance",
        "CompletingRebalance",
        "Stable",
        "Dead",
        "Empty",
        "Assigning",
        "Reconciling",
    ];
    let states = wanted(call, "state", &STATES)?;
    let types = wanted(call, "type", &["Classic", "Consumer"])?;
    let mut groups = client.list_groups().await?;
    groups.retain(|group| {
        // Share groups and those of streams have tools of their own; Connect's are no consumers.
        let is_consumers = match &*group.group_type {
            "consumer" | "Consumer" => true,
            "classic" | "Classic" | "" => {
                group.protocol_type.is_empty() || group.protocol_type == "consumer"
            }
            _ => false,
        };
        is_consumers
            && states
                .as_ref()
                .is_none_or(|states| states.iter().any(|state| same(state, &group.group_state)))
            && types
                .as_ref()
                .is_none_or(|types| types.iter().any(|kind| same(kind, &group.group_type)))
    });
    let (has_state, has_type) = (call.given.has("state"), call.given.has("type"));
    if !has_state && !has_type {
        for group in groups {
            call.line(&group.group_id)?;
        }
        return Ok(());
    }
    let longest = groups.iter().map(|group| group.group_id.chars().count());
    let width = longest.max().unwrap_or(0).max(15) + 10;
    let line = |group: &str, kind: &str, state: &str| {
        let mut cells = vec![format!("{group:width$}")];
        cells.extend(has_type.then(|| format!("{kind:20}")));
        cells.extend(has_state.then(|| format!("{state:20}")));
        cells.join(" ")
    };
    call.line(&line("GROUP", "TYPE", "STATE"))?;
    for group in groups {
        let kind = capital(&group.group_type);
        call.line(&line(&group.group_id, &kind, &group.group_state))?;
    }
    Ok(())
}

fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// The groups that the options name.
pub async fn chosen(client: &Client, call: &Call) -> Outcome<Vec<String>> {
    if !call.given.has("all-groups") {
        let mut groups = call.given.all("group").to_vec();
        groups.sort();
        groups.dedup();
        return Ok(groups);
    }
    let groups = client.list_groups().await?.into_iter();
    let groups =
        groups.filter(|group| group.protocol_type.is_empty() || group.protocol_type == "consumer");
    let mut groups: Vec<String> = groups.map(|group| group.group_id.into_owned()).collect();
    groups.sort();
    Ok(groups)
}

/// Where these partitions end; those of topics that are gone are left out.
pub async fn ends(client: &Client, places: &[Place]) -> Outcome<BTreeMap<Place, i64>> {
    let mut by_topic: BTreeMap<&str, BTreeMap<i32, Start>> = BTreeMap::new();
    for (topic, partition) in places {
        let partitions = by_topic.entry(topic).or_default();
        partitions.insert(*partition, Start::Latest);
    }
    let mut ends = BTreeMap::new();
    for (topic, wanted) in by_topic {
        let found = client.offsets(topic, &wanted, Isolation::ReadUncommitted);
        match found.await {
            Ok(found) => ends.extend(
                found
                    .into_iter()
                    .map(|(partition, end)| ((topic.to_owned(), partition), end)),
            ),
            Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(ends)
}
