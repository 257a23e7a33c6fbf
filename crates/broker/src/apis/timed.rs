//! Times one request in some of each connection, from its dispatch to its answer.

use crate::api::request::{Outcome, Request};
use crate::base::metrics::TIMED_OF;
use crate::node::Node;
use std::sync::Arc;

/// A request that is timed.
pub struct Timed {
    node: Arc<Node>,
    api: i16,
    began_us: u64,
}

impl Timed {
    /// Begins, if it is this request's turn: that of the first one of a connection, and of every so many after it.
    pub fn of(request: &Request<'_>) -> Option<Timed> {
        let peer = request.peer();
        let is_due = peer.requests() % TIMED_OF == 1 && !peer.is_own;
        is_due.then(|| Timed {
            node: request.node.clone(),
            api: request.header.api,
            began_us: request.node.clock.monotonic_us(),
        })
    }

    /// Ends when the answer is there. A request without one counts as long as it kept its connection.
    pub fn answered(self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Park(parked) => {
                Outcome::Park(Box::pin(async move { self.answered(parked.await) }))
            }
            Outcome::Later(later) => Outcome::Later(Box::pin(async move {
                let reply = later.await;
                self.end();
                reply
            })),
            // Whoever asks for what there is not is not timed.
            Outcome::Close(_) => outcome,
            outcome => {
                self.end();
                outcome
            }
        }
    }

    fn end(self) {
        let us = self.node.clock.monotonic_us().saturating_sub(self.began_us);
        self.node.metrics.took(self.api, us);
    }
}
