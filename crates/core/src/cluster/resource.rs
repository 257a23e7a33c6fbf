//! What has configs that the cluster remembers.

use std::sync::Arc;

use crate::config::Scope;

/// A kind of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceKind {
    /// A topic.
    Topic,
    /// A broker by its id; all brokers by the empty name.
    Broker,
    /// A subscription to client metrics (KIP-714).
    ClientMetrics,
    /// A group, whether it exists or not.
    Group,
}

impl ResourceKind {
    /// Kafka's number.
    pub const fn code(self) -> i8 {
        match self {
            ResourceKind::Topic => 2,
            ResourceKind::Broker => 4,
            ResourceKind::ClientMetrics => 16,
            ResourceKind::Group => 32,
        }
    }

    /// The kind with this number.
    pub const fn from_code(code: i8) -> Option<ResourceKind> {
        Some(match code {
            2 => ResourceKind::Topic,
            4 => ResourceKind::Broker,
            16 => ResourceKind::ClientMetrics,
            32 => ResourceKind::Group,
            _ => return None,
        })
    }

    /// Which keys it has.
    pub const fn scope(self) -> Scope {
        match self {
            ResourceKind::Topic => Scope::Topic,
            ResourceKind::Broker => Scope::Broker,
            ResourceKind::ClientMetrics => Scope::ClientMetrics,
            ResourceKind::Group => Scope::Group,
        }
    }
}

/// Something with configs, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    /// What it is.
    pub kind: ResourceKind,
    /// Its name.
    pub name: Arc<str>,
}

impl Resource {
    /// The resource of this kind and name.
    pub fn new(kind: ResourceKind, name: &str) -> Resource {
        Resource {
            kind,
            name: name.into(),
        }
    }
}
