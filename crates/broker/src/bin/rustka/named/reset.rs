//! `kafka-consumer-groups --reset-offsets`.

use std::collections::BTreeMap;

use rustka_client::{Client, Committed, Isolation};
use rustka_core::error::ErrorCode;

use super::groups::{Place, chosen, ends, refused};
use super::options::Given;
use super::time;
use super::tool::{Call, Failed, Outcome};

/// Where offsets can be set to.
const FORMS: [&str; 8] = [
    "to-offset",
    "shift-by",
    "to-datetime",
    "by-duration",
    "to-earliest",
    "to-latest",
    "from-file",
    "to-current",
];
/// ListOffsets' words for the ends of a partition.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

/// Whether the options go together; a sentence if not.
pub fn check(given: &Given) -> Result<(), String> {
    given.excludes("execute", &["dry-run"])?;
    let is_export = given.has("export") && !given.has("execute");
    if given.among(&FORMS).len() != 1 && !(is_export && given.among(&FORMS).is_empty()) {
        return Err(format!(
            "Option [reset-offsets] takes exactly one of these options: [{}]",
            FORMS.join("], [")
        ));
    }
    if given
        .among(&["topic", "all-topics", "from-file"])
        .is_empty()
    {
        return Err(
            "Option [reset-offsets] takes one of these options: [all-topics], [topic]".to_owned(),
        );
    }
    given.excludes("all-topics", &["topic"])
}

/// A topic as `orders` or `orders:0,2`.
pub fn topic_and_partitions(text: &str) -> Result<(&str, Option<Vec<i32>>), String> {
    let Some((topic, list)) = text.split_once(':') else {
        return Ok((text, None));
    };
    let partitions = list.split(',').map(|number| number.trim().parse());
    let partitions: Result<Vec<i32>, _> = partitions.collect();
    let partitions = partitions.map_err(|_| format!("{list} are no partitions of {topic}"))?;
    Ok((topic, Some(partitions)))
}

/// New offsets, by group.
type Plan = Vec<(String, BTreeMap<Place, i64>)>;

pub async fn run(client: &Client, call: &mut Call) -> Outcome {
    let is_execute = call.given.has("execute");
    if !is_execute && !call.given.has("dry-run") && !call.given.has("export") {
        eprintln!(
            "WARN: nothing is changed without --execute; say --dry-run to be silent about it"
        );
    }
    let from_file = match call.given.one("from-file").map(str::to_owned) {
        None => None,
        Some(file) => match std::fs::read_to_string(&file) {
            Ok(text) => Some(text),
            Err(_) => {
                return refused(
                    call,
                    &format!("java.io.IOException: Unable to read file {file}"),
                );
            }
        },
    };
    let mut plan: Plan = Vec::new();
    for group in chosen(client, call).await? {
        if let Some(state) = active_state(client, &group).await? {
            call.line(&format!(
                "\nError: Assignments can only be reset if the group '{group}' is inactive, but the current state is {state}."
            ))?;
            plan.push((group, BTreeMap::new()));
            continue;
        }
        let wanted = match &from_file {
            Some(text) => of_file(text, &group, call.given.has("all-groups"))?,
            None => match wanted(client, call, &group).await? {
                Some(wanted) => wanted,
                None => return Ok(()),
            },
        };
        let offsets = within_ends(client, wanted).await?;
        if is_execute && !offsets.is_empty() {
            client.reset_offsets(&group, &offsets).await?;
        }
        plan.push((group, offsets));
    }
    match call.given.has("export") {
        true => export(call, &plan),
        false => show(call, &plan),
    }
}

/// The state of a group that has members, which keeps offsets from being set.
async fn active_state(client: &Client, group: &str) -> Outcome<Option<String>> {
    match client.describe_any_group(group).await {
        Ok(told) if told.state == "Empty" || told.state == "Dead" => Ok(None),
        Ok(told) => Ok(Some(told.state)),
        Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The partitions that the options name; nothing where that was refused.
async fn places(
    client: &Client,
    call: &mut Call,
    committed: &BTreeMap<Place, Committed>,
) -> Outcome<Option<Vec<Place>>> {
    if call.given.has("all-topics") {
        return Ok(Some(committed.keys().cloned().collect()));
    }
    let mut places = Vec::new();
    for text in call.given.all("topic").to_vec() {
        let (topic, partitions) = topic_and_partitions(&text).map_err(Failed::Usage)?;
        let known = client.topic(topic).await?;
        let known: Vec<i32> = known.partitions.keys().copied().collect();
        let asked = partitions.unwrap_or_else(|| known.clone());
        let missing: Vec<String> = asked
            .iter()
            .filter(|partition| !known.contains(partition))
            .map(|partition| format!("{topic}-{partition}"))
            .collect();
        if !missing.is_empty() {
            let missing = missing.join(", ");
            refused(call, &format!("The partitions \"{missing}\" do not exist"))?;
            return Ok(None);
        }
        places.extend(
            asked
                .into_iter()
                .map(|partition| (topic.to_owned(), partition)),
        );
    }
    Ok(Some(places))
}

/// Where the options send a group, wherever its partitions end; nothing where that was refused.
async fn wanted(
    client: &Client,
    call: &mut Call,
    group: &str,
) -> Outcome<Option<BTreeMap<Place, i64>>> {
    let committed = client.committed(group).await?;
    let Some(places) = places(client, call, &committed).await? else {
        return Ok(None);
    };
    let form = call.given.among(&FORMS).first().copied();
    let form = form.unwrap_or("to-current");
    let value = call.given.one(form).unwrap_or_default().to_owned();
    let number = || {
        let parsed: Result<i64, _> = value.parse();
        parsed
            .map_err(|_| Failed::Usage(format!("Cannot parse argument '{value}' of option {form}")))
    };
    let time = match form {
        "to-earliest" => Some(EARLIEST),
        "to-latest" => Some(LATEST),
        "to-datetime" => match time::of_date(&value) {
            Some(time) => Some(time.max(0)),
            None => {
                let why = format!("java.text.ParseException: Unparseable date: \"{value}\"");
                refused(call, &why)?;
                return Ok(None);
            }
        },
        "by-duration" => match time::of_duration(&value) {
            Some(back) => Some(client.clock().wall_ms().saturating_sub(back).max(0)),
            None => {
                refused(call, "Text cannot be parsed to a Duration")?;
                return Ok(None);
            }
        },
        _ => None,
    };
    if let Some(time) = time {
        return at_time(client, call, &places, time).await.map(Some);
    }
    let mut wanted = BTreeMap::new();
    let ends = ends(client, &places).await?;
    for place in places {
        let at = committed.get(&place).map(|at| at.offset);
        let offset = match (form, at) {
            ("to-offset", _) => number()?,
            ("shift-by", Some(at)) => at.saturating_add(number()?),
            ("shift-by", None) => {
                let why = format!(
                    "Cannot shift offset for partition {}-{} since there is no current committed offset",
                    place.0, place.1
                );
                refused(call, &why)?;
                return Ok(None);
            }
            (_, Some(at)) => at,
            (_, None) => ends.get(&place).copied().unwrap_or(0),
        };
        wanted.insert(place, offset);
    }
    Ok(Some(wanted))
}

/// Where these partitions are at a time, or at an end.
async fn at_time(
    client: &Client,
    call: &mut Call,
    places: &[Place],
    time: i64,
) -> Outcome<BTreeMap<Place, i64>> {
    let ends = ends(client, places).await?;
    let mut found = listed(client, places, time).await?;
    for (place, offset) in &mut found {
        if *offset < 0 {
            let (topic, partition) = place;
            call.line(&format!(
                "\nWarn: Partition {partition} from topic {topic} is empty. Falling back to latest known offset."
            ))?;
            *offset = ends.get(place).copied().unwrap_or(0);
        }
    }
    Ok(found)
}

/// What the brokers list for a time or an end of these partitions: below zero where there is no record.
async fn listed(client: &Client, places: &[Place], time: i64) -> Outcome<BTreeMap<Place, i64>> {
    let mut by_topic: BTreeMap<&str, BTreeMap<i32, i64>> = BTreeMap::new();
    for (topic, partition) in places {
        by_topic.entry(topic).or_default().insert(*partition, time);
    }
    let mut listed = BTreeMap::new();
    for (topic, times) in by_topic {
        let offsets = client.list_offsets(topic, times, Isolation::ReadUncommitted);
        let offsets = offsets.await?.into_iter();
        listed.extend(offsets.map(|(partition, offset)| ((topic.to_owned(), partition), offset)));
    }
    Ok(listed)
}

/// The offsets of a group in a file of lines `topic,partition,offset`, with the group in front where there are several.
fn of_file(text: &str, group: &str, is_several: bool) -> Outcome<BTreeMap<Place, i64>> {
    let mut wanted = BTreeMap::new();
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let (of, fields) = match fields[..] {
            [of, ref rest @ ..] if is_several || fields.len() == 4 => (of, rest),
            _ => (group, &fields[..]),
        };
        let read = || match fields {
            [topic, partition, offset] => Some((
                ((*topic).to_owned(), partition.parse().ok()?),
                offset.parse().ok()?,
            )),
            _ => None,
        };
        // Kafka's tool takes a missing offset for 0, which nobody means.
        let (place, offset) = read().ok_or_else(|| {
            Failed::Complaint(format!(
                "line {} is not topic,partition,offset: {line}; nothing was changed",
                at + 1
            ))
        })?;
        if of == group {
            wanted.insert(place, offset);
        }
    }
    Ok(wanted)
}

/// The same offsets, but none before or behind its partition.
async fn within_ends(
    client: &Client,
    wanted: BTreeMap<Place, i64>,
) -> Outcome<BTreeMap<Place, i64>> {
    let places: Vec<Place> = wanted.keys().cloned().collect();
    let ends = ends(client, &places).await?;
    let begins = listed(client, &places, EARLIEST).await?;
    let mut within = BTreeMap::new();
    for (place, offset) in wanted {
        let begin = begins.get(&place).copied().unwrap_or(0);
        let end = ends.get(&place).copied().unwrap_or(begin);
        if !(begin..=end).contains(&offset) {
            eprintln!(
                "WARN: offset {offset} of {}-{} is not between {begin} and {end}, and is set to the nearer one",
                place.0, place.1
            );
        }
        within.insert(place, offset.clamp(begin, end.max(begin)));
    }
    Ok(within)
}

fn export(call: &mut Call, plan: &Plan) -> Outcome {
    let is_single = call.given.all("group").len() == 1;
    for (group, offsets) in plan {
        for ((topic, partition), offset) in offsets {
            let row = format!("{topic},{partition},{offset}");
            match is_single {
                true => call.line(&row)?,
                false => call.line(&format!("{group},{row}"))?,
            }
        }
    }
    call.line("")
}

fn show(call: &mut Call, plan: &Plan) -> Outcome {
    let width = |cells: &mut dyn Iterator<Item = &str>| {
        let longest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        longest.max(15)
    };
    let rows = || {
        plan.iter()
            .flat_map(|(group, offsets)| offsets.iter().map(move |row| (group, row)))
    };
    let groups = width(&mut rows().map(|(group, _)| group.as_str()));
    let topics = width(&mut rows().map(|(_, ((topic, _), _))| topic.as_str()));
    call.line(&format!(
        "\n{:groups$} {:topics$} {:10} NEW-OFFSET",
        "GROUP", "TOPIC", "PARTITION"
    ))?;
    for (group, ((topic, partition), offset)) in rows() {
        call.line(&format!(
            "{group:groups$} {topic:topics$} {partition:<10} {offset}"
        ))?;
    }
    Ok(())
}
