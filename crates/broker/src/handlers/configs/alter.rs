//! Changing the configs of one resource: whether it exists, what may be changed, and what follows from the change.
//!
//! A change is made whole or not at all, under the lock of what it changes. Topics whose values come from the broker
//! are configured again when the broker's change.

use crate::api::access::denied;
use crate::api::request::Request;
use crate::base::config::NamedResource;
use crate::base::hooks::{self, Operation};
use crate::node::Node;
use crate::node::topics::TopicRef;
use rustka_core::config::{
    Alteration, BrokerConfig, DynamicLayer, Overrides, Scope, alter_broker, alter_overrides,
    check_alterations, check_replacements, replace_broker, replace_overrides,
};
use rustka_core::error::{ErrorCode, Refusal};
use rustka_core::names::validate_topic_name;

/// What has configs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// A topic, by name.
    Topic(&'a str),
    /// This broker, or all brokers.
    Broker(DynamicLayer),
    /// The log levels of this broker.
    Loggers,
    /// A group or a subscription to client metrics.
    Named(NamedResource, &'a str),
}

/// Kafka's numbers of the types of resources that have configs.
pub mod kind {
    #![allow(missing_docs)]
    pub const TOPIC: i8 = 2;
    pub const BROKER: i8 = 4;
    pub const BROKER_LOGGER: i8 = 8;
    pub const CLIENT_METRICS: i8 = 16;
    pub const GROUP: i8 = 32;
    pub const ALL: [i8; 5] = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];
}

impl<'a> Resource<'a> {
    /// The resource that a request names; the broker must be this one.
    pub fn named(kind: i8, name: &'a str, node_id: i32) -> Result<Resource<'a>, Refusal> {
        let invalid = |message: String| Refusal::new(ErrorCode::InvalidRequest, message);
        Ok(match kind {
            kind::TOPIC => Resource::Topic(name),
            kind::BROKER if name.is_empty() => Resource::Broker(DynamicLayer::Default),
            kind::BROKER | kind::BROKER_LOGGER => {
                let id: i32 = name.parse().map_err(|_| {
                    invalid(format!(
                        "Node id must be an integer, but it is: {}",
                        name.escape_debug()
                    ))
                })?;
                if id != node_id {
                    return Err(invalid(format!(
                        "Unexpected broker id, expected {node_id}, but received {id}"
                    )));
                }
                match kind {
                    kind::BROKER => Resource::Broker(DynamicLayer::Broker),
                    _ => Resource::Loggers,
                }
            }
            kind::CLIENT_METRICS => Resource::Named(NamedResource::ClientMetrics, name),
            kind::GROUP => Resource::Named(NamedResource::Group, name),
            other => return Err(invalid(format!("Unknown resource type {other}"))),
        })
    }
}

/// Refuses what the client may not do to the configs of a resource. Those of brokers, their loggers and of clients'
/// metrics belong to the cluster.
pub fn check(
    request: &Request<'_>,
    operation: Operation,
    kind: i8,
    name: &str,
) -> Result<(), Refusal> {
    let of = match kind {
        kind::TOPIC => hooks::Resource::Topic(name),
        kind::GROUP => hooks::Resource::Group(name),
        _ => hooks::Resource::Cluster,
    };
    let may = request.check(operation, of);
    may.map_err(|code| match (operation, kind) {
        (Operation::AlterConfigs, kind::BROKER | kind::BROKER_LOGGER) => code.into(),
        _ => denied(code),
    })
}

/// What is to become of a resource's configs.
#[derive(Clone, Debug)]
pub enum Change<'a> {
    /// These, and nothing that was set before (AlterConfigs).
    Replace(Vec<(&'a str, Option<&'a str>)>),
    /// Each as told, the others as they are (IncrementalAlterConfigs).
    Alter(Vec<Alteration>),
}

impl Change<'_> {
    /// Refuses keys that come twice and values that are missing, whatever the resource.
    pub fn check(&self) -> Result<(), Refusal> {
        match self {
            Change::Replace(pairs) => check_replacements(pairs),
            Change::Alter(changes) => check_alterations(changes),
        }
    }

    fn of_overrides(
        &self,
        scope: Scope,
        broker: &BrokerConfig,
        current: &Overrides,
    ) -> Result<Overrides, Refusal> {
        match self {
            Change::Replace(pairs) => replace_overrides(scope, broker, pairs.iter().copied()),
            Change::Alter(changes) => alter_overrides(scope, broker, current, changes),
        }
    }

    fn of_broker(&self, broker: &BrokerConfig, layer: DynamicLayer) -> Result<Overrides, Refusal> {
        match self {
            Change::Replace(pairs) => replace_broker(broker, layer, pairs.iter().copied()),
            Change::Alter(changes) => alter_broker(broker, layer, changes),
        }
    }
}

/// Makes one change, or only checks it.
pub fn alter(
    node: &Node,
    resource: Resource<'_>,
    change: &Change<'_>,
    validate_only: bool,
) -> Result<(), Refusal> {
    match resource {
        Resource::Topic(name) => alter_topic(node, name, change, validate_only),
        Resource::Broker(layer) => alter_this_broker(node, layer, change, validate_only),
        Resource::Loggers => match change {
            Change::Alter(changes) => node.loggers.alter(changes, validate_only),
            Change::Replace(_) => Err(Refusal::new(
                ErrorCode::InvalidRequest,
                "Log levels can only be altered one by one, with IncrementalAlterConfigs.",
            )),
        },
        Resource::Named(kind, name) => {
            if name.is_empty() {
                return Err(no_default(kind.scope().name()));
            }
            let scope = kind.scope();
            let broker = node.config.broker();
            node.config.alter(kind, name, validate_only, |current| {
                change.of_overrides(scope, &broker, current)
            })
        }
    }
}

/// Only brokers have configs for all of their kind.
fn no_default(kind: &str) -> Refusal {
    Refusal::new(
        ErrorCode::InvalidRequest,
        format!("Default {kind} resources are not allowed: the name is empty."),
    )
}

fn alter_topic(
    node: &Node,
    name: &str,
    change: &Change<'_>,
    validate_only: bool,
) -> Result<(), Refusal> {
    if name.is_empty() {
        return Err(no_default("topic"));
    }
    validate_topic_name(name)?;
    let mut catalog = node.topics.write();
    let broker = node.config.broker();
    // The values are looked at first, also of a topic that does not exist.
    let topic = catalog.by_name(name);
    let none = Overrides::default();
    let current = topic.map_or(&none, |topic| &topic.config.overrides);
    let next = change.of_overrides(Scope::Topic, &broker, current)?;
    if topic.is_none() {
        return Err(Refusal::new(
            ErrorCode::UnknownTopicOrPartition,
            format!("The topic '{name}' does not exist."),
        ));
    }
    if !validate_only && let Some(topic) = catalog.set_overrides(name, next, &broker) {
        configure(&topic);
    }
    Ok(())
}

fn alter_this_broker(
    node: &Node,
    layer: DynamicLayer,
    change: &Change<'_>,
    validate_only: bool,
) -> Result<(), Refusal> {
    let mut catalog = node.topics.write();
    let next = change.of_broker(&node.config.broker(), layer)?;
    if !validate_only {
        let broker = node.config.set_broker(layer, next);
        catalog.reconfigure(&broker, configure);
    }
    Ok(())
}

/// Tells a topic's partitions what its configs are now.
fn configure(topic: &TopicRef) {
    for partition in &topic.partitions {
        if topic.internal {
            partition.set_evictable(topic.config.delete);
        } else {
            partition.obey(&topic.config);
        }
    }
}
