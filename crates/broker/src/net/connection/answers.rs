//! Answers out, in the order of their requests.

use super::Connection;
use crate::api::reply::{Fate, Reply};
use crate::api::request::{Later, Outcome};
use crate::apis::faulty;
use crate::base::hooks::Event;
use crate::net::transport::Transport;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll};

/// Writes of one connection that wait for durability before its socket is not read any more.
pub const IN_FLIGHT_WRITES_MAX: usize = 64;
/// Bytes of answers that wait, for such a write or for the socket, before the next request may begin.
const UNSENT_BYTES_MAX: usize = 1 << 20;

/// An answer in the queue behind a write.
pub enum Behind {
    /// Waits itself.
    Waiting(Later),
    /// Waits for its turn.
    Complete(Reply),
}

impl<T: Transport> Connection<T> {
    pub(super) fn outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Reply(reply) => self.reply(reply),
            Outcome::Nothing(mute_ms) => self.mute(mute_ms),
            Outcome::Later(later) => self.later.push_back(Behind::Waiting(later)),
            Outcome::Park(parked) => self.parked = Some(parked),
            Outcome::Close(reason) => self.close(&reason),
            Outcome::Refuse(reply, reason) => {
                if let Some(reply) = reply {
                    self.reply(reply);
                }
                self.close(&reason);
            }
        }
    }

    /// Answers leave in the order of their requests.
    pub(super) fn reply(&mut self, reply: Reply) {
        if self.later.is_empty() {
            self.send(reply);
        } else {
            self.later_bytes += reply.bytes();
            self.later.push_back(Behind::Complete(reply));
        }
    }

    pub(super) fn send(&mut self, reply: Reply) {
        match reply.fate {
            Fate::Whole => {
                self.mute(reply.mute_ms);
                self.out.push(reply);
            }
            Fate::Cut(bytes) => {
                if bytes > 0 {
                    self.out.push(reply.cut(bytes));
                }
                self.break_off("a fault was armed at reply");
            }
            Fate::Never => {
                self.forget_later();
                self.parked = Some(faulty::hung(self.parts.node.clone()));
            }
        }
    }

    /// Closes the connection at an answer that will not come: those behind it would be taken for it.
    fn break_off(&mut self, reason: &str) {
        self.forget_later();
        self.close(reason);
    }

    fn forget_later(&mut self) {
        self.later.clear();
        self.later_bytes = 0;
    }

    /// Whether so much is unanswered that nothing more is read.
    pub(super) fn is_full(&self) -> bool {
        self.later.len() >= IN_FLIGHT_WRITES_MAX || self.later_bytes >= UNSENT_BYTES_MAX
    }

    /// Whether the next request may begin.
    pub(super) fn may_begin(&self) -> bool {
        let has_room = self.out.unsent() < UNSENT_BYTES_MAX && !self.is_full();
        let serves = !self.closing && !self.parts.node.peers.reading_has_ended();
        has_room && serves && self.parked.is_none() && self.muted.is_none()
    }

    /// Sends what has become durable, in order.
    pub(super) fn poll_later(&mut self, cx: &mut Context<'_>) {
        while let Some(front) = self.later.front_mut() {
            if let Behind::Waiting(later) = front {
                match catch_unwind(AssertUnwindSafe(|| later.as_mut().poll(cx))) {
                    Ok(Poll::Pending) => return,
                    Ok(Poll::Ready(reply)) => {
                        self.later.pop_front();
                        self.send(reply);
                    }
                    Err(_) => {
                        let reason = "a write failed unexpectedly; this is a bug in Rustka";
                        self.break_off(reason);
                        self.parts.node.hooks.saw(|| Event::Failed(reason));
                    }
                }
            } else if let Some(Behind::Complete(reply)) = self.later.pop_front() {
                self.later_bytes -= reply.bytes();
                self.send(reply);
            }
        }
        // An idle connection holds no memory for answers.
        if self.later.capacity() > 0 {
            self.later.shrink_to(0);
        }
    }
}
