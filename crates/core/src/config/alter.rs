//! Changing configs: AlterConfigs and IncrementalAlterConfigs on plain maps.

use super::client_metrics::validate_client_metrics;
use super::dynamic::{check_change, check_place, is_alterable};
use super::group::validate_group;
use super::listener::is_of_listener;
use super::overrides::Overrides;
use super::table::{ConfigKey, ConfigType, Scope, find_key};
use super::topic::{effective_value, validate_topic};
use super::value::split_list;
use super::{BrokerConfig, DynamicLayer, shorten, unknown_key};
use crate::error::{ErrorCode, Refusal};

/// What IncrementalAlterConfigs does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlterOperation {
    /// Sets the value.
    Set,
    /// Goes back to what the next layer says.
    Delete,
    /// Adds items to a list.
    Append,
    /// Takes items from a list.
    Subtract,
}

impl AlterOperation {
    /// The operation with this number.
    pub fn from_code(code: i8) -> Result<AlterOperation, Refusal> {
        Ok(match code {
            0 => AlterOperation::Set,
            1 => AlterOperation::Delete,
            2 => AlterOperation::Append,
            3 => AlterOperation::Subtract,
            code => {
                return Err(Refusal::new(
                    ErrorCode::InvalidRequest,
                    format!("Unknown config operation {code}, expected 0 to 3."),
                ));
            }
        })
    }
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alteration {
    /// The key.
    pub name: String,
    /// What to do.
    pub operation: AlterOperation,
    /// The value; ignored by Delete.
    pub value: Option<String>,
}

/// The values after these changes, or why none of them is made.
pub fn alter_overrides(
    scope: Scope,
    broker: &BrokerConfig,
    current: &Overrides,
    changes: &[Alteration],
) -> Result<Overrides, Refusal> {
    check_alterations(changes)?;
    let mut next = current.clone();
    for change in changes {
        let value = change.value.as_deref().unwrap_or("");
        if scope == Scope::Broker && is_of_listener(&change.name) {
            alter_listener(&mut next, change, value)?;
            continue;
        }
        // What cannot be set is not set, so it is already as asked for.
        let is_gone = || match find_key(scope, &change.name) {
            Some(key) => scope == Scope::Broker && !is_alterable(broker, key.name),
            None => true,
        };
        if change.operation == AlterOperation::Delete && is_gone() {
            continue;
        }
        let key = alterable_key(scope, broker, &change.name)?;
        match change.operation {
            AlterOperation::Set => set(&mut next, scope, key.name, value)?,
            AlterOperation::Delete => next.remove(key.name),
            AlterOperation::Append | AlterOperation::Subtract => {
                // Kafka does not know that two keys of client metrics are lists.
                if key.kind != ConfigType::List || scope == Scope::ClientMetrics {
                    return Err(Refusal::new(
                        ErrorCode::InvalidConfig,
                        format!(
                            "Config '{}' is no list: its value can be set or deleted, not appended to or subtracted from.",
                            key.name
                        ),
                    ));
                }
                let items = list_after(scope, broker, &next, key, change.operation, value);
                set(&mut next, scope, key.name, &items)?;
            }
        }
    }
    validate(scope, broker, &next)?;
    Ok(next)
}

/// The values of legacy AlterConfigs: these, and nothing that was set before.
pub fn replace_overrides<'a>(
    scope: Scope,
    broker: &BrokerConfig,
    pairs: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
) -> Result<Overrides, Refusal> {
    let pairs: Vec<_> = pairs.into_iter().collect();
    check_replacements(&pairs)?;
    let mut next = Overrides::default();
    for (name, value) in pairs {
        let value = value.unwrap_or("");
        if scope == Scope::Broker && is_of_listener(name) {
            set(&mut next, scope, name, value)?;
            continue;
        }
        let key = alterable_key(scope, broker, name)?;
        set(&mut next, scope, key.name, value)?;
    }
    validate(scope, broker, &next)?;
    Ok(next)
}

/// The dynamic values of one layer of a broker after these changes, or why none of them is made.
pub fn alter_broker(
    broker: &BrokerConfig,
    layer: DynamicLayer,
    changes: &[Alteration],
) -> Result<Overrides, Refusal> {
    let current = broker.dynamic_values(layer);
    let next = alter_overrides(Scope::Broker, broker, current, changes)?;
    check_broker(broker, layer, next)
}

/// The dynamic values of one layer of a broker after legacy AlterConfigs.
pub fn replace_broker<'a>(
    broker: &BrokerConfig,
    layer: DynamicLayer,
    pairs: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
) -> Result<Overrides, Refusal> {
    let next = replace_overrides(Scope::Broker, broker, pairs)?;
    check_broker(broker, layer, next)
}

/// Refuses values where they are set for too few or too many, and those that do not go with what holds now.
fn check_broker(
    broker: &BrokerConfig,
    layer: DynamicLayer,
    next: Overrides,
) -> Result<Overrides, Refusal> {
    check_place(layer, &next)?;
    let mut after = broker.clone();
    after.set_dynamic_values(layer, next);
    check_change(broker, &after)?;
    Ok(after.dynamic_values(layer).clone())
}

/// Changes a config of one listener. Kafka's controller does not know that any of them is a list.
fn alter_listener(next: &mut Overrides, change: &Alteration, value: &str) -> Result<(), Refusal> {
    match change.operation {
        AlterOperation::Set => set(next, Scope::Broker, &change.name, value),
        AlterOperation::Delete => {
            next.remove(&change.name);
            Ok(())
        }
        AlterOperation::Append | AlterOperation::Subtract => Err(Refusal::new(
            ErrorCode::InvalidConfig,
            format!(
                "Config '{}' of one listener can be set or deleted, not appended to or subtracted from.",
                shorten(&change.name)
            ),
        )),
    }
}

/// Sets a value. Kafka answers INVALID_REQUEST to values that a broker refuses and to intervals of client metrics that
/// are out of range, INVALID_CONFIG to all others.
fn set(next: &mut Overrides, scope: Scope, name: &str, value: &str) -> Result<(), Refusal> {
    next.set(scope, name, value).map_err(|refusal| {
        let is_number = || value.trim().parse::<i32>().is_ok();
        let code = match scope {
            Scope::Broker => ErrorCode::InvalidRequest,
            Scope::ClientMetrics if is_number() => ErrorCode::InvalidRequest,
            _ => refusal.code,
        };
        Refusal { code, ..refusal }
    })
}

/// With eligible leader replicas (KIP-966) this key stands for all brokers, and for no single one.
pub fn keep_min_insync_replicas(layer: DynamicLayer, next: &Overrides) -> Result<(), Refusal> {
    const NAME: &str = "min.insync.replicas";
    let why = match (layer, next.get(NAME)) {
        (DynamicLayer::Default, None) => "it must be set for all brokers",
        (DynamicLayer::Broker, Some(_)) => "it can be set for all brokers, not for a single one",
        _ => return Ok(()),
    };
    Err(Refusal::new(
        ErrorCode::InvalidConfig,
        format!("Invalid change of config '{NAME}': {why}."),
    ))
}

fn validate(scope: Scope, broker: &BrokerConfig, next: &Overrides) -> Result<(), Refusal> {
    match scope {
        Scope::Topic => validate_topic(broker, next),
        Scope::Group => validate_group(broker, next),
        Scope::ClientMetrics => validate_client_metrics(next),
        Scope::Broker => Ok(()),
    }
}

/// Refuses a key that comes twice and a null where a value is needed, before anything else is looked at.
pub fn check_alterations(changes: &[Alteration]) -> Result<(), Refusal> {
    refuse_duplicates(changes.iter().map(|change| change.name.as_str()))?;
    let needs_value = |change: &&Alteration| change.operation != AlterOperation::Delete;
    let mut setting = changes.iter().filter(needs_value);
    match setting.find(|change| change.value.is_none()) {
        Some(change) => Err(null_value(&change.name)),
        None => Ok(()),
    }
}

/// The same for what legacy AlterConfigs sets.
pub fn check_replacements(pairs: &[(&str, Option<&str>)]) -> Result<(), Refusal> {
    refuse_duplicates(pairs.iter().map(|(name, _)| *name))?;
    match pairs.iter().find(|(_, value)| value.is_none()) {
        Some((name, _)) => Err(null_value(name)),
        None => Ok(()),
    }
}

fn null_value(name: &str) -> Refusal {
    let name = shorten(name);
    Refusal::new(
        ErrorCode::InvalidRequest,
        format!("Config '{name}' has no value: null is not valid for it."),
    )
}

fn refuse_duplicates<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), Refusal> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Refusal::new(
            ErrorCode::InvalidRequest,
            format!("Config '{}' comes more than once.", shorten(pair[0])),
        )),
        None => Ok(()),
    }
}

fn alterable_key(
    scope: Scope,
    broker: &BrokerConfig,
    name: &str,
) -> Result<&'static ConfigKey, Refusal> {
    let key = find_key(scope, name).ok_or_else(|| {
        let refusal = unknown_key(scope, name);
        match scope {
            Scope::ClientMetrics => Refusal {
                code: ErrorCode::InvalidRequest,
                ..refusal
            },
            _ => refusal,
        }
    })?;
    if scope == Scope::Broker && !is_alterable(broker, key.name) {
        return Err(Refusal::new(
            ErrorCode::InvalidRequest,
            format!("Config '{name}' can only be set when the broker starts."),
        ));
    }
    Ok(key)
}

fn list_after(
    scope: Scope,
    broker: &BrokerConfig,
    current: &Overrides,
    key: &ConfigKey,
    operation: AlterOperation,
    value: &str,
) -> String {
    let before = match (current.get(key.name), scope) {
        (Some(value), _) => Some(value.to_owned()),
        (None, Scope::Topic) => effective_value(broker, current, key).map(|v| v.into_owned()),
        (None, Scope::Broker) => broker.value(key.name).map(str::to_owned),
        (None, _) => key.default_value().map(str::to_owned),
    };
    let mut items = split_list(before.as_deref().unwrap_or(""));
    if operation == AlterOperation::Subtract {
        // As in Kafka, what is taken away has to be named without spaces around it.
        items.retain(|old| value.split(',').all(|item| item != *old));
        return items.join(",");
    }
    for item in split_list(value) {
        if !items.contains(&item) {
            items.push(item);
        }
    }
    items.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(name: &str, operation: AlterOperation, value: Option<&str>) -> Alteration {
        Alteration {
            name: name.to_owned(),
            operation,
            value: value.map(str::to_owned),
        }
    }

    fn alter(current: &Overrides, changes: &[Alteration]) -> Result<Overrides, ErrorCode> {
        let broker = BrokerConfig::new([], false).unwrap();
        alter_overrides(Scope::Topic, &broker, current, changes).map_err(|refusal| refusal.code)
    }

    #[test]
    fn lists_are_appended_to_and_subtracted_from() {
        use AlterOperation::{Append, Delete, Subtract};
        let none = Overrides::default();
        let both = alter(&none, &[change("cleanup.policy", Append, Some("compact"))]).unwrap();
        assert_eq!(both.get("cleanup.policy"), Some("delete,compact"));
        let again = alter(&both, &[change("cleanup.policy", Append, Some("compact"))]).unwrap();
        assert_eq!(again, both);
        let one = alter(&both, &[change("cleanup.policy", Subtract, Some("delete"))]).unwrap();
        assert_eq!(one.get("cleanup.policy"), Some("compact"));
        let reset = alter(&one, &[change("cleanup.policy", Delete, None)]).unwrap();
        assert_eq!(reset, none);
        assert_eq!(alter(&none, &[change("no.such", Delete, None)]), Ok(none));
    }

    #[test]
    fn wrong_changes_change_nothing() {
        use AlterOperation::{Append, Set};
        let none = Overrides::default();
        let good = change("retention.ms", Set, Some("1"));
        let refused = |changes: &[Alteration]| alter(&none, changes).unwrap_err();
        assert_eq!(
            refused(&[change("retention.ms", Append, Some("1"))]),
            ErrorCode::InvalidConfig
        );
        assert_eq!(
            refused(&[good.clone(), good.clone()]),
            ErrorCode::InvalidRequest
        );
        assert_eq!(
            refused(&[good.clone(), change("retention.mz", Set, Some("1"))]),
            ErrorCode::InvalidConfig
        );
        assert_eq!(
            refused(&[change("retention.ms", Set, None)]),
            ErrorCode::InvalidRequest
        );
        assert!(AlterOperation::from_code(4).is_err());
    }

    #[test]
    fn legacy_alter_resets_what_it_does_not_name() {
        let broker = BrokerConfig::new([], false).unwrap();
        let pairs = [("segment.ms", Some("5"))];
        let next = replace_overrides(Scope::Topic, &broker, pairs).unwrap();
        assert_eq!(next.iter().collect::<Vec<_>>(), [("segment.ms", "5")]);
    }

    #[test]
    fn broker_keys_that_need_a_restart_are_refused() {
        let broker = BrokerConfig::new([], false).unwrap();
        let none = Overrides::default();
        let set = |name| {
            let changes = [change(name, AlterOperation::Set, Some("7"))];
            alter_overrides(Scope::Broker, &broker, &none, &changes).map_err(|r| r.code)
        };
        assert_eq!(
            set("num.partitions").unwrap_err(),
            ErrorCode::InvalidRequest
        );
        assert!(set("log.retention.ms").is_ok());
        assert!(set("log.retention.hours").is_err());
    }

    #[test]
    fn a_broker_refuses_values_with_its_own_code() {
        use AlterOperation::{Delete, Set};
        let broker = BrokerConfig::new([], false).unwrap();
        let alter = |layer, change| {
            let next = alter_broker(&broker, layer, &[change]);
            let next = next.and_then(|next| keep_min_insync_replicas(layer, &next).map(|()| next));
            next.map(|next| next.len()).map_err(|refusal| refusal.code)
        };
        let (one, all) = (DynamicLayer::Broker, DynamicLayer::Default);
        use ErrorCode::{InvalidConfig, InvalidRequest};
        assert_eq!(
            alter(one, change("log.retention.ms", Set, Some("abc"))),
            Err(InvalidRequest)
        );
        assert_eq!(
            alter(one, change("no.such", Set, Some("1"))),
            Err(InvalidConfig)
        );
        assert_eq!(
            alter(one, change("min.insync.replicas", Set, Some("2"))),
            Err(InvalidConfig)
        );
        assert_eq!(
            alter(all, change("min.insync.replicas", Delete, None)),
            Err(InvalidConfig)
        );
        assert_eq!(
            alter(all, change("min.insync.replicas", Set, Some("2"))),
            Ok(1)
        );
        assert_eq!(
            alter(one, change("log.retention.ms", Set, Some("5"))),
            Ok(1)
        );
    }
}
