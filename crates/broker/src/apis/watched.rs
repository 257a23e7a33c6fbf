//! Records requests and their answers while somebody watches, and tells what they say.

use crate::api::reply::Reply;
use crate::api::request::{Outcome, Request};
use crate::base::request_log::{Message, Noted};
use crate::node::Node;
use std::sync::Arc;

/// A request that is recorded, until its answer is known.
pub struct Asked {
    node: Arc<Node>,
    began_us: u64,
    noted: Noted,
}

impl Asked {
    /// Takes down a request; nothing while nobody watches.
    pub fn of(request: &Request<'_>) -> Option<Box<Asked>> {
        let node = request.node;
        if !node.requests.is_on() || request.peer().is_own {
            return None;
        }
        let caller = request.caller;
        Some(Box::new(Asked {
            node: node.clone(),
            began_us: node.clock.monotonic_us(),
            noted: Noted {
                wall_ms: node.clock.now().wall_ms,
                took_us: 0,
                connection: caller.peer().id,
                address: caller.peer().address,
                principal: caller.principal().into(),
                client_id: caller.client_id().into(),
                api: (request.header.api, request.header.version),
                request: Message::of(request.body()),
                answer: Err(String::new()),
            },
        }))
    }

    /// Has the answer recorded once it is there.
    pub fn answered(self: Box<Self>, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Park(parked) => {
                Outcome::Park(Box::pin(async move { self.answered(parked.await) }))
            }
            Outcome::Later(later) => Outcome::Later(Box::pin(async move {
                let reply = later.await;
                self.note(Ok(&reply));
                reply
            })),
            outcome => {
                let answer = match &outcome {
                    Outcome::Reply(reply) | Outcome::Refuse(Some(reply), _) => Ok(reply),
                    Outcome::Close(reason) | Outcome::Refuse(None, reason) => Err(reason.as_str()),
                    Outcome::Nothing(_) | Outcome::Park(_) | Outcome::Later(_) => {
                        Err("no answer is due")
                    }
                };
                self.note(answer);
                outcome
            }
        }
    }

    fn note(mut self, answer: Result<&Reply, &str>) {
        let clock = &self.node.clock;
        self.noted.took_us = clock.monotonic_us().saturating_sub(self.began_us);
        self.noted.answer = match answer {
            Ok(reply) => Ok(body(reply, self.noted.api)),
            Err(reason) => Err(reason.to_owned()),
        };
        self.node.requests.note(self.noted, clock.monotonic_ms());
    }
}

/// An answer without its length and header. The records of a large one are not looked at.
fn body(reply: &Reply, (api, version): (i16, i16)) -> Message {
    /// Length and number; behind them there may be an empty list of tagged fields.
    const HEAD: usize = 8;
    let tags = usize::from(rustka_wire::api::response_header_version(api, version) >= 1);
    let bytes = reply.bytes().saturating_sub(HEAD + tags);
    let is_small = bytes <= crate::base::request_log::MESSAGE_BYTES_MAX;
    match is_small.then(|| reply.to_vec()).flatten() {
        Some(whole) => Message::of(whole.get(HEAD + tags..).unwrap_or_default()),
        None => Message {
            kept: Box::default(),
            bytes,
        },
    }
}
