//! Waits until there is enough, or the time is over.

use super::answer::answer;
use super::read::read;
use super::{Handle, Plan, failed};
use crate::api::request::Outcome;
use crate::base::budget::Charge;
use crate::broker::{Shared, State, reached};
use crate::storage::Partition;
use crate::storage::waiters::Waiter;
use rustka_core::error::ErrorCode;
use rustka_core::fetch::FetchContext;
use std::future::poll_fn;
use std::sync::Arc;

/// A waiting fetch's places on its partitions, given up when it ends in whatever way.
struct Places {
    waiter: Arc<Waiter>,
    partitions: Vec<Arc<Partition>>,
}

impl Places {
    fn take(context: &mut FetchContext<Handle>) -> Result<Places, ErrorCode> {
        let mut partitions = Vec::new();
        context.view()?.for_each(|_, entry| {
            if let Some(Ok(partition)) = &entry.handle.found {
                partitions.push(partition.clone());
            }
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
    shared: Arc<Shared>,
    plan: Plan,
    mut context: FetchContext<Handle>,
    _place: Charge,
) -> Outcome {
    let places = match Places::take(&mut context) {
        Ok(places) => places,
        Err(code) => return failed(&plan.respond, code),
    };
    let mut state = shared.state.subscribe();
    let mut last = false;
    loop {
        // Armed before the read, so that what is appended in between is not missed.
        places.waiter.rearm();
        let missing = {
            let mut read = match read(&shared, &plan, &mut context) {
                Ok(read) => read,
                Err(code) => return failed(&plan.respond, code),
            };
            read.waited = true;
            if read.is_enough(&plan) || last {
                return Outcome::Reply(answer(&shared, &plan, context, read));
            }
            plan.min_bytes - read.counted
        };
        places
            .waiter
            .want(i64::try_from(missing).unwrap_or(i64::MAX));
        last = tokio::select! {
            () = poll_fn(|cx| places.waiter.poll_fired(cx)) => false,
            () = shared.clock.sleep_until(plan.deadline_ms) => true,
            () = reached(&mut state, |state| state >= State::Stopping) => true,
        };
    }
}
