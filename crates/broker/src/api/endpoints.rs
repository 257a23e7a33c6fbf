//! Where clients are told to reach a node: every address in an answer comes from here.

use crate::api::access::Caller;
use crate::api::request::Request;
use crate::node::Node;
use std::borrow::Cow;

/// Host and port.
pub type Endpoint = (Cow<'static, str>, i32);

/// Where the caller is told to reach a node; none for a node that is not there.
fn endpoint(node: &Node, caller: &Caller, node_id: i32) -> Option<Endpoint> {
    let listener = caller.listener();
    let usual = (node_id == listener.node_id).then(|| listener.told(caller.peer()));
    if let Some(hook) = &node.hooks.endpoints {
        let usual = usual.as_ref().map(|(host, port)| (&**host, *port));
        let (host, port) = hook.endpoint(&caller.context(), node_id, usual)?;
        return Some((Cow::Owned(host), port.into()));
    }
    if let Some(told) = &usual {
        let now_ms = node.clock.monotonic_ms();
        node.doctor.told(caller.peer(), listener, told, now_ms);
    }
    usual.map(|(host, port)| (Cow::Owned(host.into()), port.into()))
}

impl Request<'_> {
    /// Where this request's client is told to reach a node; none for a node that is not there.
    pub fn endpoint(&self, node_id: i32) -> Option<Endpoint> {
        endpoint(self.node, self.caller, node_id)
    }
}

/// Every node that leads something elsewhere, once, with where the caller is told to reach it.
pub fn nodes<'s>(
    node: &'s Node,
    caller: &'s Caller,
    leaders: impl Iterator<Item = (i32, i32)>,
) -> impl Iterator<Item = (i32, Endpoint)> + 's {
    let mut nodes: Vec<i32> = leaders.map(|(node_id, _)| node_id).collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes.into_iter().filter_map(move |node_id| {
        let endpoint = endpoint(node, caller, node_id)?;
        Some((node_id, endpoint))
    })
}
