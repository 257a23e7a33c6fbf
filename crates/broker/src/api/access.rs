//! Who makes a request, and what they may do: asked at once, or when the answer is ready.

use crate::api::request::{Header, Request};
use crate::base::hooks::{Context, Operation, Resource, Software};
use crate::node::{Identity, Listener, Node, Peer};
use rustka_core::error::{ErrorCode, Refusal};
use rustka_core::security::acl::ResourceType;
use rustka_core::security::authorizer::Subject;
use std::sync::Arc;

/// Operations were not asked for.
pub const OPERATIONS_UNASKED: i32 = i32::MIN;

use Operation::*;
/// Everything Kafka knows to be done to a topic, to a group and to the cluster.
const OF_TOPICS: &[Operation] = &[
    Read,
    Write,
    Create,
    Delete,
    Alter,
    Describe,
    DescribeConfigs,
    AlterConfigs,
];
const OF_GROUPS: &[Operation] = &[Read, Delete, Describe, DescribeConfigs, AlterConfigs];
const OF_THE_CLUSTER: &[Operation] = &[
    Create,
    Alter,
    Describe,
    ClusterAction,
    DescribeConfigs,
    AlterConfigs,
    IdempotentWrite,
];

/// The operations that are known for a resource and that `is_allowed` lets pass, as bits (KIP-430).
fn operations(resource: Resource<'_>, is_allowed: impl Fn(Operation) -> bool) -> i32 {
    let known = match resource {
        Resource::Topic(_) => OF_TOPICS,
        Resource::Group(_) => OF_GROUPS,
        Resource::Cluster => OF_THE_CLUSTER,
        Resource::TransactionalId(_) | Resource::DelegationToken(_) | Resource::User(_) => &[],
    };
    let allowed = known.iter().filter(|operation| is_allowed(**operation));
    allowed.fold(0, |bits, operation| bits | 1 << operation.code())
}

/// The bits of all operations on a topic, for whoever may do everything.
pub fn all_topic_operations() -> i32 {
    operations(Resource::Topic(""), |_| true)
}

/// Who makes a request, and in what form. A connection has one and sets it once for each request; copies are for those
/// who answer later.
#[derive(Clone)]
pub struct Caller {
    identity: Arc<Identity>,
    client_id: Arc<str>,
    software: Option<Arc<Software>>,
    api: i16,
    version: i16,
    /// When the request was complete and none before it held it up any more, in monotonic milliseconds.
    pub received_ms: i64,
}

impl Caller {
    /// Before the first request.
    pub fn new(identity: Arc<Identity>) -> Caller {
        Caller {
            software: identity.peer.software(),
            identity,
            client_id: "".into(),
            api: -1,
            version: -1,
            received_ms: 0,
        }
    }

    /// Begins a request. `client_id` is what its header has, as it is.
    pub fn begin(&mut self, header: &Header, client_id: &[u8], received_ms: i64) {
        if *self.client_id.as_bytes() != *client_id {
            self.client_id = std::str::from_utf8(client_id).unwrap_or("").into();
            self.identity.peer.is_called(&self.client_id);
        }
        (self.api, self.version) = (header.api, header.version);
        self.received_ms = received_ms;
    }

    /// Takes over what the client may have said about its software.
    pub fn note_software(&mut self) {
        self.software = self.identity.peer.software();
    }

    /// The connection.
    pub fn peer(&self) -> &Peer {
        &self.identity.peer
    }

    /// Where it came in.
    pub fn listener(&self) -> &Arc<Listener> {
        &self.identity.listener
    }

    /// Such as `User:alice`.
    pub fn principal(&self) -> &str {
        &self.identity.principal
    }

    /// Whether it has logged in with a delegation token.
    pub fn is_by_token(&self) -> bool {
        self.identity.by_token
    }

    /// The name in it, such as `alice`: who quotas are about.
    pub fn user(&self) -> &str {
        let principal = self.principal();
        principal
            .split_once(':')
            .map_or(principal, |(_, name)| name)
    }

    /// The key of its request.
    pub fn api(&self) -> i16 {
        self.api
    }

    /// The client id as text, "" when there is none.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Who ACLs are about.
    pub fn subject(&self) -> Subject<'_> {
        Subject {
            principal: &self.identity.principal,
            address: self.identity.peer.address.ip(),
        }
    }

    /// What hooks are told about it.
    pub fn context(&self) -> Context<'_> {
        Context {
            principal: &self.identity.principal,
            listener: &self.identity.listener.name,
            peer: self.identity.peer.address,
            connection: self.identity.peer.id,
            client_id: &self.client_id,
            software: self.software.as_deref(),
            api: self.api,
            version: self.version,
            received_ms: self.received_ms,
        }
    }
}

impl Request<'_> {
    /// What hooks are told about it.
    pub fn context(&self) -> Context<'_> {
        self.caller.context()
    }

    /// Whether there is nobody to be asked.
    pub fn may_do_everything(&self) -> bool {
        !is_guarded(self.node)
    }

    /// Whether the client may do this to that.
    pub fn may(&self, operation: Operation, resource: Resource<'_>) -> bool {
        may(self.node, self.caller, operation, resource)
    }

    /// Whether the client may do this to some topic.
    pub fn may_for_some_topic(&self, operation: Operation) -> bool {
        match &self.node.hooks.authorizer {
            Some(own) => own.is_allowed_for_some_topic(&self.context(), operation),
            None => {
                let subject = self.caller.subject();
                let security = &self.node.security;
                security.allow_for_some(subject, operation, ResourceType::Topic)
            }
        }
    }

    /// Refuses what the client may not do, with the code of the resource's kind.
    pub fn check(&self, operation: Operation, resource: Resource<'_>) -> Result<(), ErrorCode> {
        match self.may(operation, resource) {
            true => Ok(()),
            false => Err(resource.denial()),
        }
    }

    /// What the client may do to a resource, as bits.
    pub fn operations(&self, resource: Resource<'_>) -> i32 {
        operations(resource, |operation| self.may(operation, resource))
    }

    /// What the client may do, to be asked later.
    pub fn access(&self) -> Access {
        Access {
            node: self.node.clone(),
            caller: self.caller.clone(),
        }
    }
}

/// What a caller may do, for an answer that comes when the request is gone.
pub struct Access {
    node: Arc<Node>,
    caller: Caller,
}

impl Access {
    /// What somebody may do apart from any request.
    pub fn of(node: Arc<Node>, identity: Identity) -> Access {
        let caller = Caller::new(Arc::new(identity));
        Access { node, caller }
    }

    /// Whether the caller may do this to that.
    pub fn may(&self, operation: Operation, resource: Resource<'_>) -> bool {
        may(&self.node, &self.caller, operation, resource)
    }

    /// What the caller may do to a resource, as bits.
    pub fn operations(&self, resource: Resource<'_>) -> i32 {
        operations(resource, |operation| self.may(operation, resource))
    }
}

/// Whether anybody is to be asked.
fn is_guarded(node: &Node) -> bool {
    node.hooks.authorizer.is_some() || node.security.authorizer.is_some()
}

/// The authorizer of the library's user decides alone; without one, the ACLs do.
fn may(node: &Node, caller: &Caller, operation: Operation, resource: Resource<'_>) -> bool {
    match &node.hooks.authorizer {
        Some(own) => own.is_allowed(&caller.context(), operation, resource),
        None => node.security.allow(caller.subject(), operation, resource),
    }
}

/// A denial in Kafka's words.
pub fn denied(code: ErrorCode) -> Refusal {
    let words = match code {
        ErrorCode::TopicAuthorizationFailed => "Topic authorization failed.",
        ErrorCode::GroupAuthorizationFailed => "Group authorization failed.",
        ErrorCode::TransactionalIdAuthorizationFailed => "Transactional Id authorization failed.",
        _ => "Cluster authorization failed.",
    };
    Refusal::new(code, words)
}
