//! A layer of set values: names from the table, values checked.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::listener;
use super::table::{Scope, find_key};
use super::unknown_key;
use super::value::check_value;
use crate::error::{ErrorCode, Refusal};

/// Values that somebody set, by name; every name is known, or one listener's, and every value valid.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Overrides {
    values: BTreeMap<Cow<'static, str>, Box<str>>,
}

impl Overrides {
    /// Checks and collects pairs; of a name that comes twice the last value holds.
    pub fn parse<'a>(
        scope: Scope,
        pairs: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<Overrides, Refusal> {
        let mut overrides = Overrides::default();
        for (name, value) in pairs {
            let Some(value) = value else {
                let name = super::shorten(name);
                return Err(Refusal::new(
                    ErrorCode::InvalidConfig,
                    format!("Config '{name}' has no value: null is not valid for it."),
                ));
            };
            overrides.set(scope, name, value)?;
        }
        Ok(overrides)
    }

    /// Checks and sets one value.
    pub fn set(&mut self, scope: Scope, name: &str, value: &str) -> Result<(), Refusal> {
        if scope == Scope::Broker && listener::is_of_listener(name) {
            let value = listener::check(name, value)?;
            self.values.insert(Cow::Owned(name.to_owned()), value);
            return Ok(());
        }
        let key = find_key(scope, name).ok_or_else(|| unknown_key(scope, name))?;
        let value = check_value(key, value)?;
        self.values.insert(Cow::Borrowed(key.name), value);
        Ok(())
    }

    /// Takes a value away, so that the next layer shows.
    pub fn remove(&mut self, name: &str) {
        self.values.remove(name);
    }

    /// The value set under this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|value| &**value)
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// How many values are set.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// The names under which others have another value, or none, or alone have one.
    pub(super) fn differing<'a>(&'a self, other: &'a Overrides) -> impl Iterator<Item = &'a str> {
        let here = self
            .iter()
            .filter(|(name, value)| other.get(name) != Some(value));
        let there = other.iter().filter(|(name, _)| self.get(name).is_none());
        here.chain(there).map(|(name, _)| name)
    }

    /// All values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (&**name, &**value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_and_nulls_are_refused_by_name() {
        let parse = |name, value| Overrides::parse(Scope::Topic, [(name, value)]);
        let unknown = parse("retention.mss", Some("1")).unwrap_err();
        assert_eq!(unknown.code, ErrorCode::InvalidConfig);
        assert_eq!(
            unknown.message.as_deref(),
            Some("Unknown topic config 'retention.mss', did you mean 'retention.ms'?")
        );
        assert!(parse("message.format.version", Some("3.0")).is_err());
        assert!(parse("retention.ms", None).is_err());
        assert_eq!(
            parse("retention.ms", Some("1"))
                .unwrap()
                .get("retention.ms"),
            Some("1")
        );
    }
}
