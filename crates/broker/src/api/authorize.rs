//! Asks the authorizer on behalf of a request, at once or when its answer is ready.

use crate::api::request::{Header, Request};
use crate::base::hooks::{Authorizer, Context, Operation, Resource};
use crate::node::Node;
use crate::node::Peer;
use rustka_core::error::{ErrorCode, Refusal};
use std::sync::Arc;

/// Whoever has not logged in.
const ANONYMOUS: &str = "User:ANONYMOUS";

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
        Resource::TransactionalId(_) => &[],
    };
    let allowed = known.iter().filter(|operation| is_allowed(**operation));
    allowed.fold(0, |bits, operation| bits | 1 << operation.code())
}

/// The bits of all operations on a topic, for whoever may do everything.
pub fn all_topic_operations() -> i32 {
    operations(Resource::Topic(""), |_| true)
}

impl Request<'_> {
    /// What hooks are told about it.
    pub fn context(&self) -> Context<'_> {
        context(
            self.node,
            self.peer,
            &self.header,
            self.client_id(),
            self.received_ms,
        )
    }

    fn authorizer(&self) -> Option<&Arc<dyn Authorizer>> {
        self.node.hooks.authorizer.as_ref()
    }

    /// Whether there is nobody to be asked.
    pub fn may_do_everything(&self) -> bool {
        self.authorizer().is_none()
    }

    /// Whether the client may do this to that.
    pub fn may(&self, operation: Operation, resource: Resource<'_>) -> bool {
        self.authorizer()
            .is_none_or(|authorizer| authorizer.is_allowed(&self.context(), operation, resource))
    }

    /// Whether the client may do this to some topic.
    pub fn may_for_some_topic(&self, operation: Operation) -> bool {
        self.authorizer().is_none_or(|authorizer| {
            authorizer.is_allowed_for_some_topic(&self.context(), operation)
        })
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

    /// Who asks, for a hook that is asked when the request is gone; nobody where there is no such hook.
    pub fn caller(&self) -> Option<Caller> {
        let hooks = &self.node.hooks;
        let wants = hooks.authorizer.is_some() || hooks.endpoints.is_some();
        wants.then(|| Caller {
            node: self.node.clone(),
            peer: self.peer.clone(),
            header: self.header.clone(),
            client_id: self.client_id().into(),
            received_ms: self.received_ms,
        })
    }
}

/// Who made a request that is no longer at hand.
pub struct Caller {
    node: Arc<Node>,
    peer: Arc<Peer>,
    header: Header,
    client_id: Box<str>,
    received_ms: i64,
}

impl Caller {
    /// What hooks are told about it.
    pub fn context(&self) -> Context<'_> {
        context(
            &self.node,
            &self.peer,
            &self.header,
            &self.client_id,
            self.received_ms,
        )
    }
}

/// Whether the caller may do this to that; without a caller there is nobody to be asked.
pub fn may(caller: Option<&Caller>, operation: Operation, resource: Resource<'_>) -> bool {
    caller.is_none_or(|caller| match &caller.node.hooks.authorizer {
        Some(authorizer) => authorizer.is_allowed(&caller.context(), operation, resource),
        None => true,
    })
}

/// What the caller may do to a resource, as bits.
pub fn operations_of(caller: Option<&Caller>, resource: Resource<'_>) -> i32 {
    operations(resource, |operation| may(caller, operation, resource))
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

fn context<'c>(
    node: &'c Node,
    peer: &Peer,
    header: &Header,
    client_id: &'c str,
    received_ms: i64,
) -> Context<'c> {
    Context {
        principal: ANONYMOUS,
        listener: &node.listener,
        peer: peer.address,
        connection: peer.id,
        client_id,
        software: peer.software(),
        api: header.api,
        version: header.version,
        received_ms,
    }
}
