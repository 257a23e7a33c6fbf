//! Configs of subscriptions to client metrics (KIP-714).

use std::borrow::Cow;

use regex_lite::Regex;

use super::broker::Resolved;
use super::describe::{ConfigEntry, ConfigSource};
use super::overrides::Overrides;
use super::shorten;
use super::table::{ConfigKey, Scope, keys};
use super::value::split_list;
use crate::error::{ErrorCode, Refusal};

/// What a subscription may select clients by.
pub const SELECTORS: [&str; 6] = [
    "client_id",
    "client_instance_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];

/// Every config of a subscription to client metrics, by name.
pub fn describe_client_metrics(overrides: &Overrides) -> Vec<ConfigEntry> {
    let describe = |key: &'static ConfigKey| {
        let set = overrides.get(key.name).map(Cow::Borrowed);
        let source = match set {
            Some(_) => ConfigSource::ClientMetrics,
            None => ConfigSource::Default,
        };
        let synonyms = set.iter().map(|set| (key.name, Some(set.clone()), source));
        let resolved = Resolved {
            synonyms: synonyms.collect(),
            value: set.or_else(|| key.default_value().map(Cow::Borrowed)),
            source,
        };
        ConfigEntry::new(key, resolved, false)
    };
    keys(Scope::ClientMetrics).iter().map(describe).collect()
}

/// Which clients a subscription is for: each pattern has to match the whole of what it is about.
#[derive(Clone, Debug, Default)]
pub struct ClientMatch(Vec<(&'static str, Regex)>);

impl ClientMatch {
    /// Reads the value of `match`, a list of `selector=pattern`.
    pub fn parse(text: &str) -> Result<ClientMatch, Refusal> {
        let mut patterns = Vec::new();
        for item in split_list(text) {
            let wrong = || {
                Refusal::new(
                    ErrorCode::InvalidConfig,
                    format!(
                        "Invalid value '{}' for config 'match': expected a list of SELECTOR=REGEX, where SELECTOR is one of {}.",
                        shorten(item),
                        SELECTORS.join(", ")
                    ),
                )
            };
            let (name, pattern) = item.split_once('=').ok_or_else(wrong)?;
            let (name, pattern) = (name.trim(), pattern.trim());
            let known = SELECTORS.iter().find(|selector| **selector == name);
            let selector = known.ok_or_else(wrong)?;
            if pattern.is_empty() || pattern.contains('=') {
                return Err(wrong());
            }
            let regex = Regex::new(&format!("^(?:{pattern})$")).map_err(|_| wrong())?;
            patterns.push((*selector, regex));
        }
        Ok(ClientMatch(patterns))
    }

    /// Whether a client is meant, given what is known about it under each selector.
    pub fn matches<'a>(&self, known: impl Fn(&str) -> Cow<'a, str>) -> bool {
        let mut patterns = self.0.iter();
        patterns.all(|(selector, regex)| regex.is_match(&known(selector)))
    }
}

/// Refuses a `match` that is none.
pub(super) fn validate_client_metrics(overrides: &Overrides) -> Result<(), Refusal> {
    match overrides.get("match") {
        Some(text) => ClientMatch::parse(text).map(|_| ()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_selects_clients_by_patterns() {
        let known = |selector: &str| match selector {
            "client_id" => Cow::Borrowed("checkout-7"),
            "client_software_version" => Cow::Borrowed("1.2.3"),
            _ => Cow::Borrowed(""),
        };
        let matches = |text| ClientMatch::parse(text).unwrap().matches(known);
        assert!(matches(""));
        assert!(matches("client_id=checkout-.*"));
        assert!(matches(
            "client_id=checkout-.*,client_software_version=1[.]2.*"
        ));
        assert!(!matches("client_id=checkout"));
        assert!(!matches(
            "client_id=checkout-.*,client_software_version=2.*"
        ));
        for bad in [
            "client_id",
            "client_id=[",
            "client_id=a=b",
            "no_such=x",
            "client_id=",
        ] {
            let refusal = ClientMatch::parse(bad).unwrap_err();
            assert_eq!(refusal.code, ErrorCode::InvalidConfig, "{bad}");
        }
    }

    #[test]
    fn client_metrics_tell_what_was_set() {
        let set = [("interval.ms", Some("5000"))];
        let set = Overrides::parse(Scope::ClientMetrics, set).unwrap();
        let entries = describe_client_metrics(&set);
        let told: Vec<_> = entries
            .iter()
            .map(|e| (&*e.name, e.value.as_deref().unwrap(), e.source.code()))
            .collect();
        assert_eq!(
            told,
            [
                ("interval.ms", "5000", 7),
                ("match", "", 5),
                ("metrics", "", 5)
            ]
        );
    }
}
