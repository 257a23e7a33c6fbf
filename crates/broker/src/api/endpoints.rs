//! Where clients are told to reach a node: every address in an answer comes from here.

use crate::api::authorize::Caller;
use crate::api::request::Request;
use crate::base::hooks::Context;
use crate::node::Node;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Host and port.
pub type Endpoint<'a> = (Cow<'a, str>, i32);

impl Node {
    fn endpoint<'a>(
        &self,
        node_id: i32,
        context: impl FnOnce() -> Option<Context<'a>>,
    ) -> Option<Endpoint<'_>> {
        let (host, port) = &self.endpoint;
        let usual = (node_id == self.id).then_some((host.as_str(), *port));
        if let Some(hook) = &self.hooks.endpoints
            && let Some(context) = context()
        {
            let (host, port) = hook.endpoint(&context, node_id, usual)?;
            return Some((Cow::Owned(host), port.into()));
        }
        usual.map(|(host, port)| (Cow::Borrowed(host), port.into()))
    }
}

impl<'a> Request<'a> {
    /// Where this request's client is told to reach a node; none for a node that is not there.
    pub fn endpoint(&self, node_id: i32) -> Option<Endpoint<'a>> {
        self.node.endpoint(node_id, || Some(self.context()))
    }
}

/// Every node that leads something elsewhere, once, with where the caller is told to reach it.
pub fn nodes<'s>(
    node: &'s Node,
    caller: Option<&Caller>,
    leaders: impl Iterator<Item = (i32, i32)>,
) -> impl Iterator<Item = (i32, Endpoint<'s>)> {
    let nodes: BTreeSet<i32> = leaders.map(|(node_id, _)| node_id).collect();
    nodes.into_iter().filter_map(move |node_id| {
        let endpoint = node.endpoint(node_id, || caller.map(Caller::context))?;
        Some((node_id, endpoint))
    })
}
