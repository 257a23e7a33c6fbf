//! The table of config keys, read once from the data files.

use std::borrow::Cow;
use std::sync::OnceLock;

/// What a config belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// One broker, or all of them.
    Broker,
    /// One topic.
    Topic,
    /// One group.
    Group,
    /// A subscription to clients' metrics.
    ClientMetrics,
}

impl Scope {
    /// The word used in messages and in the data files.
    pub const fn name(self) -> &'static str {
        match self {
            Scope::Broker => "broker",
            Scope::Topic => "topic",
            Scope::Group => "group",
            Scope::ClientMetrics => "client-metrics",
        }
    }
}

/// The type of a config's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum ConfigType {
    Boolean,
    String,
    Int,
    Short,
    Long,
    Double,
    List,
    Class,
    Password,
}

impl ConfigType {
    /// The number in DescribeConfigs.
    pub const fn code(self) -> i8 {
        match self {
            ConfigType::Boolean => 1,
            ConfigType::String => 2,
            ConfigType::Int => 3,
            ConfigType::Short => 4,
            ConfigType::Long => 5,
            ConfigType::Double => 6,
            ConfigType::List => 7,
            ConfigType::Class => 8,
            ConfigType::Password => 9,
        }
    }

    /// Kafka's name of the type.
    pub const fn name(self) -> &'static str {
        match self {
            ConfigType::Boolean => "BOOLEAN",
            ConfigType::String => "STRING",
            ConfigType::Int => "INT",
            ConfigType::Short => "SHORT",
            ConfigType::Long => "LONG",
            ConfigType::Double => "DOUBLE",
            ConfigType::List => "LIST",
            ConfigType::Class => "CLASS",
            ConfigType::Password => "PASSWORD",
        }
    }

    fn from_name(name: &str) -> Option<ConfigType> {
        Some(match name {
            "BOOLEAN" => ConfigType::Boolean,
            "STRING" => ConfigType::String,
            "INT" => ConfigType::Int,
            "SHORT" => ConfigType::Short,
            "LONG" => ConfigType::Long,
            "DOUBLE" => ConfigType::Double,
            "LIST" => ConfigType::List,
            "CLASS" => ConfigType::Class,
            "PASSWORD" => ConfigType::Password,
            _ => return None,
        })
    }
}

/// What holds when nobody set the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigDefault {
    /// This value, lists joined by commas.
    Value(Cow<'static, str>),
    /// No value.
    Null,
    /// Kafka wants it set; the broker sets it itself.
    Required,
}

/// One config key.
#[derive(Clone, Debug)]
pub struct ConfigKey {
    /// What it belongs to.
    pub scope: Scope,
    /// Its name.
    pub name: &'static str,
    /// The type of its values.
    pub kind: ConfigType,
    /// What holds when it is not set.
    pub default: ConfigDefault,
    /// What values are valid, as the data file writes it; empty when all are.
    pub valid: &'static str,
    /// Whether DescribeConfigs leaves it out.
    pub internal: bool,
}

impl ConfigKey {
    /// The default, where there is one.
    pub fn default_value(&self) -> Option<&str> {
        match &self.default {
            ConfigDefault::Value(value) => Some(value),
            ConfigDefault::Null | ConfigDefault::Required => None,
        }
    }

    /// Whether its value is never shown.
    pub fn is_sensitive(&self) -> bool {
        self.kind == ConfigType::Password
    }
}

/// All keys of a scope, by name.
pub fn keys(scope: Scope) -> &'static [ConfigKey] {
    let table = table();
    match scope {
        Scope::Broker => &table[0],
        Scope::Topic => &table[1],
        Scope::Group => &table[2],
        Scope::ClientMetrics => &table[3],
    }
}

/// The key with this name.
pub fn find_key(scope: Scope, name: &str) -> Option<&'static ConfigKey> {
    let keys = keys(scope);
    let at = keys.binary_search_by(|key| key.name.cmp(name)).ok()?;
    keys.get(at)
}

fn table() -> &'static [Box<[ConfigKey]>; 4] {
    static TABLE: OnceLock<[Box<[ConfigKey]>; 4]> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table: [Vec<ConfigKey>; 4] = Default::default();
        let files = [
            include_str!("../../data/kafka-configs.tsv"),
            include_str!("../../data/rustka-configs.tsv"),
        ];
        for line in files.iter().flat_map(|file| file.lines()) {
            if line.starts_with('#') || line.is_empty() {
                continue;
            }
            let key = parse_line(line).unwrap_or_else(|| panic!("not a config: {line}"));
            table[key.scope as usize].push(key);
        }
        for keys in &mut table {
            keys.sort_unstable_by_key(|key| key.name);
        }
        table.map(Vec::into_boxed_slice)
    })
}

fn parse_line(line: &'static str) -> Option<ConfigKey> {
    let mut fields = line.split('\t');
    let scope = match fields.next()? {
        "broker" => Scope::Broker,
        "topic" => Scope::Topic,
        "group" => Scope::Group,
        "client-metrics" => Scope::ClientMetrics,
        _ => return None,
    };
    let name = fields.next()?;
    let kind = ConfigType::from_name(fields.next()?)?;
    let default = parse_default(kind, fields.next().unwrap_or(""));
    let valid = fields.next().unwrap_or("").trim();
    let internal = fields.next().unwrap_or("").trim() == "internal";
    Some(ConfigKey {
        scope,
        name,
        kind,
        default,
        valid,
        internal,
    })
}

fn parse_default(kind: ConfigType, text: &'static str) -> ConfigDefault {
    match (kind, text) {
        (_, "null") => ConfigDefault::Null,
        (_, "<required>") => ConfigDefault::Required,
        (ConfigType::List, list) => {
            let inner = list
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
                .unwrap_or(list);
            ConfigDefault::Value(match inner.contains(", ") {
                true => Cow::Owned(inner.replace(", ", ",")),
                false => Cow::Borrowed(inner),
            })
        }
        (ConfigType::Class, class) => {
            ConfigDefault::Value(Cow::Borrowed(class.strip_prefix("class ").unwrap_or(class)))
        }
        (_, value) => ConfigDefault::Value(Cow::Borrowed(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::value::check_value;
    use super::*;

    #[test]
    fn every_line_is_a_key_and_every_default_is_valid() {
        let scopes = [
            Scope::Broker,
            Scope::Topic,
            Scope::Group,
            Scope::ClientMetrics,
        ];
        let mut count = 0;
        for key in scopes.iter().flat_map(|scope| keys(*scope)) {
            count += 1;
            assert_eq!(find_key(key.scope, key.name).unwrap().name, key.name);
            if let Some(value) = key.default_value() {
                // Kafka's own check does not look at the defaults of two keys with empty ones.
                let empty = value.is_empty();
                assert!(empty || check_value(key, value).is_ok(), "{key:?}");
            }
        }
        assert!(count > 440, "{count}");
    }

    #[test]
    fn lists_and_classes_are_written_as_kafka_tells_them() {
        let list = find_key(Scope::Broker, "group.consumer.assignors").unwrap();
        assert_eq!(list.default_value(), Some("uniform,range"));
        let class = find_key(Scope::Broker, "principal.builder.class").unwrap();
        assert!(class.default_value().unwrap().starts_with("org.apache"));
        let required = find_key(Scope::Broker, "node.id").unwrap();
        assert_eq!(required.default, ConfigDefault::Required);
    }
}
