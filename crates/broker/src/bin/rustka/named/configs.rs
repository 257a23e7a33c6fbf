//! `kafka-configs`; what it says of quotas and users is in [`super::quotas`].

use rustka_client::{Client, Resource};
use rustka_core::error::ErrorCode;
use rustka_wire::describe_configs_response::DescribeConfigsResourceResult as Config;
use rustka_wire::list_config_resources_request::ListConfigResourcesRequest;

use super::options::Takes::{Many, Nothing, One};
use super::quotas;
use super::tool::{Call, Failed, Outcome, Tool, exception, properties_of};

pub const TOOL: Tool = Tool {
    options: &[
        ("bootstrap-server", One),
        ("command-config", One),
        ("alter", Nothing),
        ("describe", Nothing),
        ("all", Nothing),
        ("entity-type", Many),
        ("entity-name", Many),
        ("entity-default", Nothing),
        ("add-config", One),
        ("add-config-file", One),
        ("delete-config", One),
        ("force", Nothing),
        ("topic", Many),
        ("broker", Many),
        ("broker-logger", Many),
        ("client", Many),
        ("user", Many),
        ("ip", Many),
        ("group", Many),
        ("client-metrics", Many),
        ("broker-defaults", Nothing),
        ("client-defaults", Nothing),
        ("user-defaults", Nothing),
        ("ip-defaults", Nothing),
        ("help", Nothing),
        ("version", Nothing),
    ],
    not_here: &["bootstrap-controller"],
    config_options: &["command-config"],
    client_id: None,
    mistake: Failed::Usage,
};

/// Kafka's number for a value that nobody has set.
const DEFAULT: i8 = 5;
/// Where values come from, by Kafka's numbers.
const SOURCES: [&str; 8] = [
    "DYNAMIC_TOPIC_CONFIG",
    "DYNAMIC_BROKER_CONFIG",
    "DYNAMIC_DEFAULT_BROKER_CONFIG",
    "STATIC_BROKER_CONFIG",
    "DEFAULT_CONFIG",
    "DYNAMIC_BROKER_LOGGER_CONFIG",
    "DYNAMIC_CLIENT_METRICS_CONFIG",
    "DYNAMIC_GROUP_CONFIG",
];

/// Something that has configs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entity {
    /// Kafka's word for its kind, such as `topics`.
    pub kind: String,
    /// Its name; the default of its kind has none.
    pub name: Name,
}

/// Which of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// The one of this name.
    Of(String),
    /// The default.
    Default,
    /// All of them.
    All,
}

pub async fn run(call: &mut Call) -> Outcome {
    let given = &call.given;
    let action = given
        .action(&["alter", "describe"])
        .map_err(Failed::Usage)?;
    given.required("bootstrap-server").map_err(Failed::Usage)?;
    let entities = entities(call).map_err(Failed::Usage)?;
    let outcome = match action {
        "alter" => alter(call, &entities).await,
        _ => describe(call, &entities).await,
    };
    outcome.map_err(|failed| {
        failed.in_words(|error| {
            Failed::Complaint(format!(
                "Error while executing config command: {}",
                exception(error)
            ))
        })
    })
}

/// The kinds, with the short option of each.
const KINDS: [(&str, &str); 8] = [
    ("topics", "topic"),
    ("clients", "client"),
    ("users", "user"),
    ("brokers", "broker"),
    ("broker-loggers", "broker-logger"),
    ("ips", "ip"),
    ("client-metrics", "client-metrics"),
    ("groups", "group"),
];

/// What the options name: `--topic t`, or `--entity-type topics --entity-name t`. Users come before clients.
fn entities(call: &Call) -> Result<Vec<Entity>, String> {
    let given = &call.given;
    let mut entities = Vec::new();
    for (kind, short) in KINDS {
        entities.extend(given.all(short).iter().map(|name| Entity {
            kind: kind.to_owned(),
            name: Name::Of(name.clone()),
        }));
        if given.has(&format!("{short}-defaults")) {
            entities.push(Entity {
                kind: kind.to_owned(),
                name: Name::Default,
            });
        }
    }
    let types = given.all("entity-type");
    if !entities.is_empty() && !types.is_empty() {
        return Err("--entity-type can't be used with the short options of entities".to_owned());
    }
    let mut names = given.all("entity-name").iter();
    for kind in types {
        if !KINDS.iter().any(|(known, _)| known == kind) {
            let known: Vec<&str> = KINDS.iter().map(|(known, _)| *known).collect();
            return Err(format!(
                "Invalid entity type {kind}, the entity type must be one of {}",
                known.join(", ")
            ));
        }
        let name = match (names.next(), given.has("entity-default")) {
            (Some(name), _) => Name::Of(name.clone()),
            (None, true) => Name::Default,
            (None, false) => Name::All,
        };
        entities.push(Entity {
            kind: kind.clone(),
            name,
        });
    }
    entities.sort_by_key(|entity| entity.kind != "users");
    let has_default = entities.iter().any(|entity| entity.name == Name::Default);
    let [first, rest @ ..] = &entities[..] else {
        return Err("At least one entity type must be specified".to_owned());
    };
    if has_default && !["users", "clients", "ips", "brokers"].contains(&first.kind.as_str()) {
        return Err(format!("{} have no default", first.kind));
    }
    match rest {
        [] => Ok(entities),
        [second] if first.kind == "users" && second.kind == "clients" => Ok(entities),
        _ => Err("Only 'users' and 'clients' can be named together".to_owned()),
    }
}

fn resource(kind: &str) -> Option<Resource> {
    Some(match kind {
        "topics" => Resource::Topic,
        "brokers" => Resource::Broker,
        "broker-loggers" => Resource::BrokerLogger,
        "client-metrics" => Resource::ClientMetrics,
        "groups" => Resource::Group,
        _ => return None,
    })
}

/// A kind's word without its s: `client-metric`, too.
fn one_of(kind: &str) -> &str {
    kind.strip_suffix('s').unwrap_or(kind)
}

/// Configs to be set or, without a value, to be deleted.
pub type Changes = Vec<(String, Option<String>)>;

/// `k=v,k=[a,b]`: pairs, where brackets hold values with commas.
pub fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    let (mut depth, mut from) = (0_usize, 0);
    let mut parts = Vec::new();
    for (at, character) in text.char_indices() {
        match character {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    for part in parts
        .iter()
        .map(|part| part.trim())
        .filter(|part| !part.is_empty())
    {
        let (key, value) = part.split_once('=').ok_or_else(|| {
            format!("Invalid entity config: all configs to be added must be in the format \"key=val\": {part}")
        })?;
        let value = value.trim();
        let bare = value
            .strip_prefix('[')
            .and_then(|value| value.strip_suffix(']'));
        pairs.push((key.trim().to_owned(), bare.unwrap_or(value).to_owned()));
    }
    Ok(pairs)
}

fn changes(call: &Call) -> Outcome<Changes> {
    let given = &call.given;
    if given
        .among(&["add-config", "add-config-file", "delete-config"])
        .is_empty()
    {
        return Err(Failed::Usage(
            "At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter"
                .to_owned(),
        ));
    }
    given
        .excludes("add-config", &["add-config-file"])
        .map_err(Failed::Usage)?;
    let mut changes: Changes = Vec::new();
    if let Some(file) = given.one("add-config-file") {
        let read = properties_of(file)?.into_iter();
        changes.extend(read.map(|one| (one.key, Some(one.value))));
    }
    if let Some(text) = given.one("add-config") {
        let pairs = pairs(text).map_err(Failed::Complaint)?;
        changes.extend(pairs.into_iter().map(|(key, value)| (key, Some(value))));
    }
    if let Some(text) = given.one("delete-config") {
        let keys = text.split(',').map(str::trim).filter(|key| !key.is_empty());
        changes.extend(keys.map(|key| (key.to_owned(), None)));
    }
    Ok(changes)
}

async fn alter(call: &mut Call, entities: &[Entity]) -> Outcome {
    let changes = changes(call)?;
    let last = &entities[entities.len() - 1];
    if entities.iter().any(|entity| entity.name == Name::All) {
        return Err(Failed::Usage(
            "an entity name must be specified with --alter".to_owned(),
        ));
    }
    let client = call.client().await?;
    match resource(&last.kind) {
        None => quotas::alter(&client, entities, &changes).await?,
        Some(kind) => {
            let name = match &last.name {
                Name::Of(name) => name.as_str(),
                _ => "",
            };
            let changes: Vec<_> = changes
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_deref()))
                .collect();
            client.alter_configs(kind, name, &changes).await?;
        }
    }
    match &last.name {
        Name::Of(name) => call.line(&format!(
            "Completed updating config for {} {name}.",
            one_of(&last.kind)
        )),
        _ => call.line(&format!(
            "Completed updating default config for {} in the cluster.",
            last.kind
        )),
    }
}

async fn describe(call: &mut Call, entities: &[Entity]) -> Outcome {
    let client = call.client().await?;
    let entity = &entities[0];
    let Some(kind) = resource(&entity.kind) else {
        return quotas::describe(&client, call, entities).await;
    };
    let names = match &entity.name {
        Name::Of(name) => {
            if !exists(&client, kind, name).await? {
                return call.line(&format!(
                    "The {} '{name}' doesn't exist and doesn't have dynamic config.",
                    one_of(&entity.kind)
                ));
            }
            vec![name.clone()]
        }
        Name::Default => vec![String::new()],
        Name::All => all(&client, kind).await?,
    };
    for name in names {
        describe_one(&client, call, kind, &entity.kind, &name).await?;
    }
    Ok(())
}

/// The names of all that are of a kind; brokers end with their default, which is empty.
async fn all(client: &Client, kind: Resource) -> Outcome<Vec<String>> {
    let mut names: Vec<String> = match kind {
        Resource::Topic => {
            let told = client.metadata(None).await?.topics.into_iter();
            told.map(|topic| topic.name.unwrap_or_default().into_owned())
                .collect()
        }
        Resource::Broker | Resource::BrokerLogger => {
            let told = client.metadata(Some(&[])).await?.brokers;
            told.iter()
                .map(|broker| broker.node_id.to_string())
                .collect()
        }
        _ => configured(client, kind).await?,
    };
    names.sort();
    if kind == Resource::Broker {
        names.push(String::new());
    }
    Ok(names)
}

/// The names of a kind that have configs.
async fn configured(client: &Client, kind: Resource) -> Outcome<Vec<String>> {
    let request = ListConfigResourcesRequest {
        resource_types: vec![kind as i8],
    };
    let answer = client.call(&request).await?;
    let told = answer.body()?.config_resources.into_iter();
    Ok(told
        .filter(|one| one.resource_type == kind as i8)
        .map(|one| one.resource_name.into_owned())
        .collect())
}

async fn exists(client: &Client, kind: Resource, name: &str) -> Outcome<bool> {
    Ok(match kind {
        Resource::Topic => match client.topic(name).await {
            Ok(_) => true,
            Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => false,
            Err(error) => return Err(error.into()),
        },
        Resource::Broker | Resource::BrokerLogger => all(client, Resource::BrokerLogger)
            .await?
            .iter()
            .any(|known| known == name),
        _ => {
            let has_configs = configured(client, kind)
                .await?
                .iter()
                .any(|known| known == name);
            let is_group = kind == Resource::Group && {
                let groups = client.list_groups().await?;
                groups.iter().any(|group| group.group_id == name)
            };
            has_configs || is_group
        }
    })
}

async fn describe_one(
    client: &Client,
    call: &mut Call,
    kind: Resource,
    word: &str,
    name: &str,
) -> Outcome {
    let is_all = call.given.has("all");
    let heading = match (name.is_empty(), is_all) {
        (true, _) => format!("Default configs for {word} in the cluster are:"),
        (false, true) => format!("All configs for {} {name} are:", one_of(word)),
        (false, false) => format!("Dynamic configs for {} {name} are:", one_of(word)),
    };
    let mut configs = client.describe_configs(kind, name).await?;
    let own = match kind {
        Resource::Topic => 1,
        Resource::Broker if name.is_empty() => 3,
        Resource::Broker => 2,
        Resource::BrokerLogger => 6,
        Resource::ClientMetrics => 7,
        Resource::Group => 8,
    };
    let is_default = |config: &Config<'_>| config.config_source == DEFAULT;
    configs.retain(|config| {
        is_all
            || config.config_source == own
            || (kind == Resource::BrokerLogger && !is_default(config))
    });
    configs.sort_by(|a, b| a.name.cmp(&b.name));
    call.line(&heading)?;
    for config in &configs {
        call.line(&row(config))?;
    }
    Ok(())
}

fn row(config: &Config<'_>) -> String {
    let value = |value: Option<&str>| value.unwrap_or("null").to_owned();
    let synonyms = config.synonyms.iter().map(|synonym| {
        let source = usize::try_from(synonym.source - 1).ok();
        let source = source.and_then(|at| SOURCES.get(at)).copied();
        format!(
            "{}:{}={}",
            source.unwrap_or("UNKNOWN"),
            synonym.name,
            value(synonym.value.as_deref())
        )
    });
    format!(
        "  {}={} sensitive={} synonyms={{{}}}",
        config.name,
        value(config.value.as_deref()),
        config.is_sensitive,
        synonyms.collect::<Vec<_>>().join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_hold_values_with_commas() {
        let read = pairs("a=1, b=[x,y],SCRAM-SHA-256=[iterations=8192,password=p]").unwrap();
        let read: Vec<(&str, &str)> = read.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(
            read,
            [
                ("a", "1"),
                ("b", "x,y"),
                ("SCRAM-SHA-256", "iterations=8192,password=p")
            ]
        );
        assert!(pairs("retention.ms").unwrap_err().contains("retention.ms"));
    }
}
