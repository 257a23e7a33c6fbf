//! Configs of topics where many look at them: worked out once for all topics with the same values, and kept in one
//! place per topic, so that a change costs the same however many partitions obey it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use super::{BrokerConfig, Overrides, TopicConfig};

/// Below so many sets of values nobody looks for unused ones.
const SETS_BEFORE_SWEEP: usize = 64;

/// A topic's configs as they are now. The topic and all its partitions look at the same place.
#[derive(Debug)]
pub struct SharedConfig(ArcSwap<TopicConfig>);

impl SharedConfig {
    /// A place where these configs hold.
    pub fn new(config: Arc<TopicConfig>) -> SharedConfig {
        SharedConfig(ArcSwap::new(config))
    }

    /// What holds now. Takes no lock; to be let go soon, and not over an await.
    pub fn now(&self) -> Guard<Arc<TopicConfig>> {
        self.0.load()
    }

    /// Has these configs hold from now on; those that did until now.
    pub fn replace(&self, config: Arc<TopicConfig>) -> Arc<TopicConfig> {
        self.0.swap(config)
    }
}

/// What holds for topics by the values that are set for them, on one broker.
#[derive(Debug, Default)]
pub struct ResolvedConfigs {
    by_overrides: BTreeMap<Overrides, Arc<TopicConfig>>,
    /// How many there were after the last look for unused ones.
    kept: usize,
}

impl ResolvedConfigs {
    /// What holds for topics with these values, shared by them all. `broker` is the same until [`Self::clear`].
    pub fn of(&mut self, broker: &BrokerConfig, overrides: &Overrides) -> Arc<TopicConfig> {
        if let Some(config) = self.by_overrides.get(overrides) {
            return Arc::clone(config);
        }
        // Values of topics that are gone: dropped before they outnumber those in use.
        if self.by_overrides.len() > SETS_BEFORE_SWEEP + 2 * self.kept {
            self.by_overrides
                .retain(|_, config| Arc::strong_count(config) > 1);
            self.kept = self.by_overrides.len();
        }
        let config = Arc::new(TopicConfig::resolve(broker, overrides));
        self.by_overrides
            .insert(overrides.clone(), Arc::clone(&config));
        config
    }

    /// Forgets everything, since the broker's configs have changed.
    pub fn clear(&mut self) {
        *self = ResolvedConfigs::default();
    }
}

#[cfg(test)]
mod tests {
    use super::super::Scope;
    use super::*;

    fn retention(ms: usize) -> Overrides {
        let ms = ms.to_string();
        Overrides::parse(Scope::Topic, [("retention.ms", Some(&*ms))]).unwrap()
    }

    #[test]
    fn topics_with_the_same_values_share_what_follows_from_them() {
        let broker = BrokerConfig::new([("log.retention.ms", "7")], false).unwrap();
        let mut resolved = ResolvedConfigs::default();
        let first = resolved.of(&broker, &Overrides::default());
        let second = resolved.of(&broker, &Overrides::default());
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(first.retention_ms, 7);
        assert_eq!(resolved.of(&broker, &retention(9)).retention_ms, 9);
    }

    #[test]
    fn values_that_no_topic_has_any_more_are_forgotten() {
        let broker = BrokerConfig::new([], false).unwrap();
        let mut resolved = ResolvedConfigs::default();
        let in_use = resolved.of(&broker, &retention(0));
        for ms in 1..1_000 {
            resolved.of(&broker, &retention(ms));
        }
        assert!(resolved.by_overrides.len() <= SETS_BEFORE_SWEEP + 3);
        assert!(Arc::ptr_eq(&in_use, &resolved.of(&broker, &retention(0))));
    }

    #[test]
    fn whoever_shares_configs_sees_the_new_ones_at_once() {
        let broker = BrokerConfig::new([], false).unwrap();
        let mut resolved = ResolvedConfigs::default();
        let shared = SharedConfig::new(resolved.of(&broker, &retention(1)));
        let before = shared.replace(resolved.of(&broker, &retention(2)));
        assert_eq!((before.retention_ms, shared.now().retention_ms), (1, 2));
    }
}
