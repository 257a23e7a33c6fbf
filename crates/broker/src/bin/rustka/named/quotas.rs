//! `kafka-configs` for users, clients and addresses: their quotas, and how users log in.

use rustka_client::{Client, NewPassword, QuotaEntity, QuotaMatch, ScramChange};
use rustka_core::security::scram::Strength;

use super::configs::{Changes, Entity, Name, pairs};
use super::tool::{Call, Failed, Outcome};

/// How often a password is hashed unless somebody says otherwise, as in Kafka's tool.
const ITERATIONS: u32 = 4096;
/// Bytes of a salt.
const SALT_BYTES: usize = 24;
const SCRAM: [Strength; 2] = [Strength::Sha256, Strength::Sha512];

/// The kind's word in quotas.
fn part_of(kind: &str) -> &'static str {
    match kind {
        "users" => "user",
        "clients" => "client-id",
        _ => "ip",
    }
}

/// Sets quotas, or changes how a user logs in.
pub async fn alter(client: &Client, entities: &[Entity], changes: &Changes) -> Outcome {
    let of_scram = |key: &str| {
        SCRAM
            .into_iter()
            .find(|strength| strength.mechanism() == key)
    };
    let has_scram = changes.iter().any(|(key, _)| of_scram(key).is_some());
    if has_scram {
        let [
            Entity {
                kind,
                name: Name::Of(user),
            },
        ] = entities
        else {
            return Err(Failed::Usage(
                "a SCRAM credential is of one user: --user NAME".to_owned(),
            ));
        };
        if kind != "users" || changes.iter().any(|(key, _)| of_scram(key).is_none()) {
            return Err(Failed::Usage(
                "SCRAM credentials are of users, and are not changed together with quotas"
                    .to_owned(),
            ));
        }
        return alter_user(client, user, changes, of_scram).await;
    }
    let entity: Vec<(&str, Option<&str>)> = entities
        .iter()
        .map(|entity| {
            let name = match &entity.name {
                Name::Of(name) => Some(name.as_str()),
                _ => None,
            };
            (part_of(&entity.kind), name)
        })
        .collect();
    let mut ops = Vec::new();
    for (key, value) in changes {
        let value = match value {
            None => None,
            Some(text) => Some(text.parse::<f64>().map_err(|_| {
                Failed::Complaint(format!(
                    "Cannot parse quota configuration value for {key}: {text}"
                ))
            })?),
        };
        ops.push((key.as_str(), value));
    }
    Ok(client.alter_quotas(&entity, &ops).await?)
}

async fn alter_user(
    client: &Client,
    user: &str,
    changes: &Changes,
    of_scram: impl Fn(&str) -> Option<Strength>,
) -> Outcome {
    let mut wanted = Vec::new();
    for (key, value) in changes {
        let Some(strength) = of_scram(key) else {
            continue;
        };
        let Some(text) = value else {
            wanted.push((strength, None));
            continue;
        };
        let parts = pairs(text).map_err(Failed::Complaint)?;
        let part = |name: &str| {
            let found = parts.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.clone())
        };
        let iterations = part("iterations").map_or(Ok(ITERATIONS), |text| {
            text.parse().map_err(|_| {
                Failed::Complaint(format!("iterations={text} is no number of iterations"))
            })
        })?;
        let password = part("password").ok_or_else(|| {
            Failed::Complaint(format!(
                "You must specify a password for {key}: [password=...]"
            ))
        })?;
        let mut salt = vec![0; SALT_BYTES];
        getrandom::fill(&mut salt)
            .map_err(|error| Failed::Complaint(format!("no random numbers: {error}")))?;
        wanted.push((strength, Some((password, salt, iterations))));
    }
    let changes: Vec<ScramChange<'_>> = wanted
        .iter()
        .map(|(strength, new)| ScramChange {
            strength: *strength,
            password: new
                .as_ref()
                .map(|(password, salt, iterations)| NewPassword {
                    password,
                    salt,
                    iterations: *iterations,
                }),
        })
        .collect();
    Ok(client.alter_user(user, &changes).await?)
}

/// Tells quotas, and after those of users how these log in.
pub async fn describe(client: &Client, call: &mut Call, entities: &[Entity]) -> Outcome {
    let parts: Vec<(&str, QuotaMatch<'_>)> = entities
        .iter()
        .map(|entity| {
            let wanted = match &entity.name {
                Name::Of(name) => QuotaMatch::Name(name),
                Name::Default => QuotaMatch::Default,
                Name::All => QuotaMatch::Any,
            };
            (part_of(&entity.kind), wanted)
        })
        .collect();
    for (entity, mut values) in client.describe_quotas(&parts).await? {
        values.sort_by(|a, b| a.0.cmp(&b.0));
        let values: Vec<String> = values
            .into_iter()
            .map(|(key, value)| format!("{key}={value:?}"))
            .collect();
        call.line(&format!(
            "Quota configs for {} are {}",
            shown(&entity),
            values.join(", ")
        ))?;
    }
    let names = match entities {
        [Entity { kind, name }] if kind == "users" => match name {
            Name::Of(name) => Some(vec![name.as_str()]),
            Name::All => None,
            Name::Default => return Ok(()),
        },
        _ => return Ok(()),
    };
    for (user, known) in client.describe_users(names.as_deref()).await? {
        let known: Vec<String> = known
            .iter()
            .map(|(strength, iterations)| {
                format!("{}=iterations={iterations}", strength.mechanism())
            })
            .collect();
        call.line(&format!(
            "SCRAM credential configs for user-principal '{user}' are {}",
            known.join(", ")
        ))?;
    }
    Ok(())
}

fn shown(entity: &QuotaEntity) -> String {
    let mut parts = Vec::new();
    // Users come first, however the broker has them.
    for (kind, word) in [
        ("user", "user-principal"),
        ("client-id", "client-id"),
        ("ip", "ip"),
    ] {
        for (_, name) in entity.iter().filter(|(known, _)| known == kind) {
            parts.push(match name {
                Some(name) => format!("{word} '{name}'"),
                None => format!("the default {word}"),
            });
        }
    }
    parts.join(", ")
}
