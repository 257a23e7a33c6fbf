//! What `--describe` prints of a group: how far it has read, its members, or its state.

use std::collections::BTreeMap;

use rustka_client::{Client, Committed, GroupDescription, MemberDescription, assignor::Partitions};

use super::{Place, chosen, ends};
use crate::named::tool::{Call, Outcome};

/// Describes the groups that the options name.
pub async fn describe(client: &Client, call: &mut Call) -> Outcome {
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
    let node = client.node_at(&address).await?;
    let coordinator = format!("{address}  ({})", node.unwrap_or(-1));
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
