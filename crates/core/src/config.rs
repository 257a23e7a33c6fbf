//! Configs: every key that Kafka 4.4 knows, what its values may be, and which layer wins.
//!
//! A topic's value is its own override, else the broker's dynamic value, the cluster's dynamic default, the static
//! value from start-up, or the default, each under the topic key's broker synonyms.
mod alter;
mod broker;
mod client_metrics;
mod danger;
mod describe;
mod documentation;
mod dynamic;
mod group;
mod listener;
mod overrides;
#[cfg(test)]
mod recorded;
mod shared;
mod skips;
mod suggest;
mod table;
mod topic;
mod value;

pub use alter::{
    AlterOperation, Alteration, alter_broker, alter_overrides, check_alterations,
    check_replacements, keep_min_insync_replicas, replace_broker, replace_overrides,
};
pub use broker::{BrokerConfig, BrokerSettings, DynamicLayer, Resolved};
pub use client_metrics::{ClientMatch, describe_client_metrics};
pub use danger::danger;
pub use describe::{ConfigEntry, ConfigSource, Synonym, describe_broker, describe_topic};
pub use documentation::{documentation, is_honoured};
pub use dynamic::{contradictions, is_dynamic, listener_address};
pub use group::{describe_group, group_value};
pub use overrides::Overrides;
pub use shared::{ResolvedConfigs, SharedConfig};
pub use skips::{DAMAGED_SKIP, Skip};
pub use suggest::{distance, nearest_name};
pub use table::{ConfigDefault, ConfigKey, ConfigType, Scope, find_key, keys};
pub(crate) use topic::validate_topic;
pub use topic::{CompressionType, ConsumerRetention, TopicConfig};
pub use value::check_value;

use crate::error::{ErrorCode, Refusal};

/// The refusal for a key that Kafka does not know, with the nearest one it does.
pub fn unknown_key(scope: Scope, name: &str) -> Refusal {
    let shown = shorten(name);
    let known = keys(scope).iter().map(|key| key.name);
    let message = match nearest_name(name, known) {
        Some(nearest) => format!(
            "Unknown {} config '{shown}', did you mean '{nearest}'?",
            scope.name()
        ),
        None => format!("Unknown {} config '{shown}'.", scope.name()),
    };
    Refusal::new(ErrorCode::InvalidConfig, message)
}

/// A value from outside as it may stand in a message: printable and short.
fn shorten(text: &str) -> String {
    const SHOWN_MAX: usize = 200;
    let mut shown: String = text.escape_debug().take(SHOWN_MAX).collect();
    if text.chars().nth(SHOWN_MAX).is_some() {
        shown.push('…');
    }
    shown
}
