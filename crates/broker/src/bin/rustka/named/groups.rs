//! `kafka-consumer-groups`, but for resetting offsets, which is [`super::reset`].

use std::collections::BTreeMap;

use rustka_client::{
    Client, Committed, GroupDescription, Isolation, MemberDescription, Start, assignor::Partitions,
};
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
        "describe" => describe(&client, call).await,
        "delete" => delete(&client, call).await,
        "delete-offsets" => delete_offsets(&client, call).await,
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

async fn describe(client: &Client, call: &mut Call) -> Outcome {
    for group in chosen(client, call).await? {
        let told = client.describe_any_group(&group).await?;
        match call.given.among(&["members", "state"])[..] {
            ["members"] => members(call, &group, &told)?,
            ["state"] => state(client, call, &group, &told).await?,
            _ => offsets(client, call, &group, &told).await?,
        }
    }
    Ok(())
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

/// Says on standard error where nobody reads.
fn without_members(group: &str, told: &GroupDescription) {
    if told.members.is_empty() {
        eprintln!("\nConsumer group '{group}' has no active members.");
    }
}

fn width<'a>(title: &str, cells: impl Iterator<Item = &'a str>) -> usize {
    let longest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
    longest.max(title.len()).max(15)
}

fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or("-".to_owned(), |value| value.to_string())
}

async fn offsets(
    client: &Client,
    call: &mut Call,
    group: &str,
    told: &GroupDescription,
) -> Outcome {
    without_members(group, told);
    let committed = client.committed(group).await?;
    let mut readers: BTreeMap<Place, &MemberDescription> = BTreeMap::new();
    for member in &told.members {
        for (topic, partitions) in &member.assigned {
            let places = partitions.iter().map(|&p| (topic.clone(), p));
            readers.extend(places.map(|place| (place, member)));
        }
    }
    let mut places: Vec<Place> = committed.keys().chain(readers.keys()).cloned().collect();
    places.sort();
    places.dedup();
    let ends = ends(client, &places).await?;
    let is_verbose = call.given.has("verbose");
    let mut rows: Vec<[String; 9]> = Vec::new();
    let mut row = |place: Option<&Place>, reader: Option<&&MemberDescription>| {
        let at = place.and_then(|place| committed.get(place));
        let end = place.and_then(|place| ends.get(place));
        let lag = at.zip(end).map(|(at, end)| end - at.offset);
        let epoch = |at: &Committed| (at.leader_epoch >= 0).then_some(at.leader_epoch);
        rows.push([
            or_dash(place.map(|place| &place.0)),
            or_dash(place.map(|place| place.1)),
            or_dash(at.and_then(epoch)),
            or_dash(at.map(|at| at.offset)),
            or_dash(end),
            or_dash(lag),
            or_dash(reader.map(|member| &member.member_id)),
            or_dash(reader.map(|member| &member.host)),
            or_dash(reader.map(|member| &member.client_id)),
        ]);
    };
    for place in &places {
        row(Some(place), readers.get(place));
    }
    let idle = told.members.iter();
    for member in idle.filter(|member| member.assigned.is_empty()) {
        row(None, Some(&member));
    }
    let (groups, topics) = (
        width("GROUP", [group].into_iter()),
        width("TOPIC", rows.iter().map(|row| row[0].as_str())),
    );
    let consumers = width("CONSUMER-ID", rows.iter().map(|row| row[6].as_str()));
    call.line("")?;
    let mut line = |group: &str, cells: [&str; 9]| {
        let [
            topic,
            partition,
            epoch,
            at,
            end,
            lag,
            consumer,
            host,
            client,
        ] = cells;
        let epoch = match is_verbose {
            true => format!("{epoch:15} "),
            false => String::new(),
        };
        call.line(&format!(
            "{group:groups$} {topic:topics$} {partition:10} {epoch}{at:15} {end:15} {lag:15} {consumer:consumers$} {host:15} {client}"
        ))
    };
    line(
        "GROUP",
        [
            "TOPIC",
            "PARTITION",
            "LEADER-EPOCH",
            "CURRENT-OFFSET",
            "LOG-END-OFFSET",
            "LAG",
            "CONSUMER-ID",
            "HOST",
            "CLIENT-ID",
        ],
    )?;
    for row in &rows {
        line(group, row.each_ref().map(String::as_str))?;
    }
    Ok(())
}

fn members(call: &mut Call, group: &str, told: &GroupDescription) -> Outcome {
    without_members(group, told);
    let is_verbose = call.given.has("verbose");
    let rows: Vec<[String; 8]> = told
        .members
        .iter()
        .map(|member| {
            let count: usize = member.assigned.values().map(Vec::len).sum();
            let target = member.target.as_ref();
            [
                member.member_id.clone(),
                member.host.clone(),
                member.client_id.clone(),
                count.to_string(),
                or_dash(target.map(|(epoch, _)| *epoch)),
                text_of(&member.assigned),
                or_dash(target.map(|(epoch, _)| *epoch)),
                target.map_or("-".to_owned(), |(_, partitions)| text_of(partitions)),
            ]
        })
        .collect();
    let column = |title: &str, at: usize| width(title, rows.iter().map(|row| row[at].as_str()));
    let groups = width("GROUP", [group].into_iter());
    let (consumers, clients) = (column("CONSUMER-ID", 0), column("CLIENT-ID", 2));
    let (now, then) = (column("CURRENT-ASSIGNMENT", 5), column("", 7));
    let (now, then) = (now.max(20), then.max(20));
    call.line("")?;
    let mut line = |group: &str, cells: [&str; 8]| {
        let [
            member,
            host,
            client,
            count,
            epoch,
            assigned,
            target_epoch,
            target,
        ] = cells;
        let more = match is_verbose {
            true => format!("{epoch:15} {assigned:now$} {target_epoch:15} {target:then$}"),
            false => String::new(),
        };
        call.line(&format!(
            "{group:groups$} {member:consumers$} {host:15} {client:clients$} {count:15} {more}"
        ))
    };
    line(
        "GROUP",
        [
            "CONSUMER-ID",
            "HOST",
            "CLIENT-ID",
            "#PARTITIONS",
            "CURRENT-EPOCH",
            "CURRENT-ASSIGNMENT",
            "TARGET-EPOCH",
            "TARGET-ASSIGNMENT",
        ],
    )?;
    for row in &rows {
        line(group, row.each_ref().map(String::as_str))?;
    }
    Ok(())
}

/// Partitions as `a:0;b:0,1`.
fn text_of(partitions: &Partitions) -> String {
    let topics = partitions.iter().map(|(topic, partitions)| {
        let mut sorted = partitions.clone();
        sorted.sort_unstable();
        let numbers: Vec<String> = sorted.iter().map(i32::to_string).collect();
        format!("{topic}:{}", numbers.join(","))
    });
    topics.collect::<Vec<_>>().join(";")
}

async fn state(client: &Client, call: &mut Call, group: &str, told: &GroupDescription) -> Outcome {
    without_members(group, told);
    let coordinator = client.coordinator(rustka_client::Coordinated::Group, group);
    let address = coordinator.await?;
    let brokers = client.metadata(Some(&[])).await?.brokers;
    let node = brokers
        .iter()
        .find(|broker| *broker.host == *address.host && broker.port == i32::from(address.port));
    let coordinator = format!("{address}  ({})", node.map_or(-1, |broker| broker.node_id));
    let assignor = match told.assignor.as_str() {
        "" => "-",
        name => name,
    };
    let groups = width("GROUP", [group].into_iter());
    let is_verbose = call.given.has("verbose");
    call.line("")?;
    let mut line = |group: &str, cells: [&str; 6]| {
        let [coordinator, assignor, state, epoch, target, count] = cells;
        let more = match is_verbose {
            true => format!("{epoch:15} {target:25} "),
            false => String::new(),
        };
        call.line(&format!(
            "{group:groups$} {coordinator:25} {assignor:20} {state:20} {more}{count}"
        ))
    };
    line(
        "GROUP",
        [
            "COORDINATOR (ID)",
            "ASSIGNMENT-STRATEGY",
            "STATE",
            "GROUP-EPOCH",
            "TARGET-ASSIGNMENT-EPOCH",
            "#MEMBERS",
        ],
    )?;
    let row = [
        coordinator,
        assignor.to_owned(),
        told.state.clone(),
        or_dash(told.epochs.map(|epochs| epochs.0)),
        or_dash(told.epochs.map(|epochs| epochs.1)),
        told.members.len().to_string(),
    ];
    line(group, row.each_ref().map(String::as_str))
}

async fn delete(client: &Client, call: &mut Call) -> Outcome {
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

async fn delete_offsets(client: &Client, call: &mut Call) -> Outcome {
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
