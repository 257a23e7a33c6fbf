//! `*` in `rustka.damaged.skip` stands for all that is known to be damaged now, and is replaced by what that is: what is
//! damaged later is not passed over unasked.

use crate::node::Node;
use rustka_core::cluster::command::ConfigChange;
use rustka_core::config::{AlterOperation, DAMAGED_SKIP, Skip};

/// So many ranges of offsets at once; the others are taken the next time.
const RANGES_MAX: usize = 1_000;
/// What stands for all.
const ALL: &str = "*";

/// Names what is damaged where a change of this topic's configs says `*`.
pub fn name_all(node: &Node, topic: &str, change: &mut ConfigChange) {
    let (value, is_added) = match change {
        ConfigChange::Replace(pairs) => {
            let mut pairs = pairs.iter_mut();
            let named = pairs.find(|(name, _)| name == DAMAGED_SKIP);
            (named.and_then(|(_, value)| value.as_mut()), false)
        }
        ConfigChange::Alter(changes) => {
            let named = changes.iter_mut().find(|one| one.name == DAMAGED_SKIP);
            let is_added = named
                .as_ref()
                .is_some_and(|one| one.operation == AlterOperation::Append);
            (named.and_then(|one| one.value.as_mut()), is_added)
        }
    };
    if let Some(value) = value.filter(|value| value.trim() == ALL) {
        *value = known(node, topic, is_added);
    }
}

/// What is damaged, as the config's value names it; only what is not yet passed over where it is added to that.
fn known(node: &Node, topic: &str, is_added: bool) -> String {
    let Some(topic) = node.topics.by_name(topic) else {
        return String::new();
    };
    let config = topic.config.now();
    let mut items: Vec<String> = Vec::new();
    for partition in &topic.partitions {
        for range in partition.damaged() {
            let mut skips = config.damaged_skip.iter();
            let is_known = skips.any(|skip| skip.covers(partition.index, &range));
            if !(is_added && is_known) && items.len() < RANGES_MAX {
                items.push(Skip::of(partition.index, &range).to_string());
            }
        }
    }
    items.join(",")
}
