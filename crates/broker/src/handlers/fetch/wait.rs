//! Waits until there is enough, or the time is over.

use super::answer::answer;
use super::read::{Pass, read};
use super::{Plan, failed};
use crate::api::parts::{Parts, SessionPartition};
use crate::api::request::Outcome;
use crate::base::budget::Charge;
use crate::node::{State, reached};
use rustka_core::error::ErrorCode;
use rustka_core::fetch::FetchContext;
use rustka_storage::Partition;
use rustka_storage::waiters::Waiter;
use std::future::poll_fn;
use std::sync::Arc;

/// A waiting fetch's places on its partitions, given up when it ends in whatever way.
struct Places {
    waiter: Arc<Waiter>,
    partitions: Vec<Arc<Partition>>,
}

impl Places {
    fn take(
        plan: &Plan,
        context: &mut FetchContext<SessionPartition>,
    ) -> Result<Places, ErrorCode> {
        let mut partitions = Vec::new();
        context
            .view()?
            .for_each(|_, entry| match &entry.handle.found {
                Some(Ok(partition)) if !plan.denied.contains(&entry.requested.topic) => {
                    partitions.push(partition.clone());
                }
                _ => {}
            });
        let waiter = Waiter::new(i64::MAX);
        for partition in &partitions {
            partition.register(&waiter);
        }
        Ok(Places { waiter, partitions })
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        for partition in &self.partitions {
            partition.unregister(&self.waiter);
        }
    }
}

/// Answers a request that is not answered at once.
pub async fn wait(
    parts: Arc<Parts>,
    plan: Plan,
    mut context: FetchContext<SessionPartition>,
    _place: Charge,
) -> Outcome {
    let places = match Places::take(&plan, &mut context) {
        Ok(places) => places,
        Err(code) => return failed(&plan.respond, code),
    };
    let mut state = parts.node.state.subscribe();
    let mut last = false;
    loop {
        // Armed before the read, so that what is appended in between is not missed.
        places.waiter.rearm();
        let missing = {
            let read = match read(&parts.node, &plan, &mut context, Pass::Later) {
                Ok(read) => read,
                Err(code) => return failed(&plan.respond, code),
            };
            if read.is_enough(&plan) || last {
                return Outcome::Reply(answer(&parts, &plan, context, read));
            }
            plan.min_bytes - read.counted
        };
        places
            .waiter
            .want(i64::try_from(missing).unwrap_or(i64::MAX));
        last = tokio::select! {
            () = poll_fn(|cx| places.waiter.poll_fired(cx)) => false,
            () = parts.node.clock.sleep_until(plan.deadline_ms) => true,
            () = reached(&mut state, |state| state >= State::Stopping) => true,
        };
    }
}
