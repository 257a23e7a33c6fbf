//! Faults that strike a request before anything is done, or its answer when all is done.

use super::{find, serve};
use crate::api::access::Caller;
use crate::api::refused::{self, Names};
use crate::api::reply::{Fate, Reply};
use crate::api::request::{Header, Outcome, Parked, Request, Respond};
use crate::base::fault::{Effect, Passing, Point};
use crate::node::{Node, State, reached};
use rustka_core::error::ErrorCode;
use std::sync::Arc;

/// Dispatches a request while something is armed. What is not served, or cannot be read, meets no fault.
#[cold]
pub fn dispatch(request: Request<'_>) -> Outcome {
    let Some(asked) = Asked::of(&request) else {
        return serve(request);
    };
    match asked.strike(Point::Dispatch) {
        None => answered(serve(request), asked),
        Some(Effect::Error(code)) => match asked.refused(code) {
            Some(reply) => Outcome::Reply(reply),
            None => Outcome::Close("a Produce with acks=0 met a fault".to_owned()),
        },
        Some(Effect::Delay(ms)) => Outcome::Park(later(request, asked, ms)),
        Some(Effect::Hang) => Outcome::Park(hung(request.node.clone())),
        Some(Effect::Close | Effect::Truncate(_) | Effect::Panic) => {
            Outcome::Close("a fault was armed at dispatch".to_owned())
        }
    }
}

/// Waits for so many milliseconds, or until the broker begins to stop.
async fn pause(node: &Node, ms: i64) {
    let until_ms = node.clock.monotonic_ms().saturating_add(ms);
    let mut state = node.state.subscribe();
    tokio::select! {
        biased;
        () = reached(&mut state, |state| state >= State::Stopping) => {}
        () = node.clock.sleep_until(until_ms) => {}
    }
}

/// Nothing for so long.
pub fn delayed(node: Arc<Node>, ms: i64) -> Parked {
    Box::pin(async move {
        pause(&node, ms).await;
        Outcome::Nothing(0)
    })
}

/// Nothing for as long as the client stays and the broker runs.
pub fn hung(node: Arc<Node>) -> Parked {
    Box::pin(async move {
        let mut state = node.state.subscribe();
        reached(&mut state, |state| state >= State::Stopping).await;
        Outcome::Close("a fault kept the connection waiting until the broker stopped".to_owned())
    })
}

/// Serves a request after a pause.
fn later(request: Request<'_>, asked: Asked, ms: i64) -> Parked {
    let (node, kept) = (request.node.clone(), request.keep());
    Box::pin(async move {
        pause(&node, ms).await;
        answered(kept.serve(serve), asked)
    })
}

/// Has a fault at reply strike when the answer is ready.
fn answered(outcome: Outcome, asked: Asked) -> Outcome {
    match outcome {
        Outcome::Reply(reply) => Outcome::Later(Box::pin(asked.finish(reply))),
        Outcome::Later(later) => {
            Outcome::Later(Box::pin(async move { asked.finish(later.await).await }))
        }
        Outcome::Park(parked) => Outcome::Park(Box::pin(async move {
            let parked = parked.await;
            answered(parked, asked)
        })),
        outcome @ (Outcome::Nothing(_) | Outcome::Refuse(..) | Outcome::Close(_)) => outcome,
    }
}

/// A request as faults see it.
struct Asked {
    node: Arc<Node>,
    caller: Caller,
    header: Header,
    body: Vec<u8>,
    names: Names,
}

impl Asked {
    fn of(request: &Request<'_>) -> Option<Asked> {
        let (key, version) = (request.header.api, request.header.version);
        let api = find(key)?;
        let (node, body) = (request.node, request.body());
        if !(api.min..=api.max).contains(&version) {
            return None;
        }
        let mut names = refused::names(key, version, body)?;
        let found = names.ids.iter().filter_map(|id| node.topics.by_id(*id));
        let found: Vec<String> = found.map(|topic| topic.name.to_string()).collect();
        names.topics.extend(found);
        Some(Asked {
            node: node.clone(),
            caller: request.caller.clone(),
            header: request.header.clone(),
            body: body.to_vec(),
            names,
        })
    }

    fn strike(&self, point: Point) -> Option<Effect> {
        let topics: Vec<&str> = self.names.topics.iter().map(String::as_str).collect();
        let groups: Vec<&str> = self.names.groups.iter().map(String::as_str).collect();
        let passing = Passing {
            api: Some(self.header.api),
            client: Some(self.caller.client_id()),
            topics: &topics,
            groups: &groups,
        };
        self.node.faults.strike(point, &passing)
    }

    /// The answer that says this code everywhere; none where the client waits for no answer.
    fn refused(&self, code: ErrorCode) -> Option<Reply> {
        let Header { api, version, .. } = self.header;
        let respond = Respond::to(&self.header);
        refused::answer(api, version, &self.body, code, &respond)
    }

    async fn finish(self, reply: Reply) -> Reply {
        let fate = match self.strike(Point::Reply) {
            None => Fate::Whole,
            Some(Effect::Delay(ms)) => {
                pause(&self.node, ms).await;
                Fate::Whole
            }
            Some(Effect::Error(code)) => {
                let mute_ms = reply.mute_ms;
                return match self.refused(code) {
                    Some(refused) => refused.then_mute(mute_ms),
                    None => reply,
                };
            }
            Some(Effect::Hang) => Fate::Never,
            Some(Effect::Truncate(bytes)) => Fate::Cut(bytes),
            Some(Effect::Close | Effect::Panic) => Fate::Cut(0),
        };
        Reply { fate, ..reply }
    }
}
