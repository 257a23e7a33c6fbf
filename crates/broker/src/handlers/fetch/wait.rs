//! Waits until there is enough, or the time is over.

use super::answer::answer;
use super::read::{Pass, read};
use super::{FetchPlan, failed};
use crate::api::parts::{Parts, SessionPartition};
use crate::api::request::Outcome;
use crate::base::budget::Charge;
use crate::node::{State, reached};
use rustka_core::error::ErrorCode;
use rustka_core::fetch::FetchContext;
use rustka_storage::Partition;
use rustka_storage::waiters::{Fired, Waiter};
use std::future::poll_fn;
use std::sync::Arc;

/// A waiting fetch's places on its partitions, given up when it ends in whatever way.
struct Places {
    waiter: Arc<Waiter>,
    places: Vec<Place>,
    /// Bytes that were missing when the partitions were looked at last.
    missing: u64,
}

struct Place {
    partition: Arc<Partition>,
    /// What was appended to the partition when it was looked at last.
    appended: u64,
    /// Whether that was more than the time before.
    grew: bool,
}

impl Places {
    /// From here on the next byte of any partition wakes the fetch.
    fn take(
        plan: &FetchPlan,
        context: &mut FetchContext<SessionPartition>,
    ) -> Result<Places, ErrorCode> {
        let waiter = Waiter::new();
        let mut places = Vec::new();
        context.view()?.for_each(|_, entry| {
            let found = entry.handle.found.as_ref();
            let found = found.and_then(|found| found.as_ref().ok()?.upgrade());
            let may_read = !plan.denied.contains(&entry.requested.topic);
            if let Some(partition) = found.filter(|_| may_read) {
                places.push(Place {
                    appended: partition.register(&waiter),
                    partition,
                    grew: false,
                });
            }
        });
        Ok(Places {
            waiter,
            places,
            missing: 1,
        })
    }

    /// The same once more.
    fn take_again(&mut self) {
        self.waiter.rearm();
        for place in &mut self.places {
            place.appended = place.partition.want_next_byte(&self.waiter);
            place.grew = false;
        }
    }

    /// Has the fetch woken only when so many bytes have come since the places were taken.
    fn want(&mut self, missing: usize) {
        self.missing = missing as u64;
        if self.missing > 1 {
            self.share();
        }
    }

    /// Looks at how much has come, now that it was enough for one partition; whether it is for all of them.
    fn has_enough(&mut self) -> bool {
        self.waiter.rearm_for_bytes();
        for place in &mut self.places {
            let appended = place.partition.appended_bytes();
            let more = appended.saturating_sub(place.appended);
            self.missing = self.missing.saturating_sub(more);
            place.grew = more > 0;
            place.appended = appended;
        }
        if self.missing > 0 {
            self.share();
        }
        self.missing == 0
    }

    /// Each partition is to say when it has got its share of what is missing. As long as none has, all of them together
    /// have too little, so that no append has to count for a fetch of many partitions. Half of it falls to those that
    /// have grown lately: with data in a few of them alone, each further look finds at most half of it missing.
    fn share(&mut self) {
        let count = self.places.len() as u64;
        let grown = self.places.iter().filter(|place| place.grew).count() as u64;
        let share = |of_those: u64| match of_those {
            0 => 1,
            _ if of_those == count => self.missing / count,
            _ => self.missing / 2 / of_those,
        };
        let (grown, others) = (share(grown), share(count - grown));
        for place in &self.places {
            let share = if place.grew { grown } else { others };
            let wanted = place.appended.saturating_add(share.max(1));
            place.partition.want_bytes(&self.waiter, wanted);
        }
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        for place in &self.places {
            place.partition.unregister(&self.waiter);
        }
    }
}

/// Answers a request that is not answered at once.
pub async fn wait(
    parts: Arc<Parts>,
    plan: FetchPlan,
    mut context: FetchContext<SessionPartition>,
    _place: Charge,
) -> Outcome {
    let mut places = match Places::take(&plan, &mut context) {
        Ok(places) => places,
        Err(code) => return failed(&plan.respond, code),
    };
    let mut state = parts.node.state.subscribe();
    // Places are taken before the read, so that what is appended in between is not missed.
    let mut taken = true;
    let mut last = false;
    loop {
        let missing = {
            let mut read = match read(&parts.node, &plan, &mut context, Pass::Later) {
                Ok(read) => read,
                Err(code) => return failed(&plan.respond, code),
            };
            if read.is_enough(&plan) || last {
                if !read.take_at_hand(plan.form) {
                    read.load(&parts.node, plan.form).await;
                }
                return Outcome::Reply(answer(&parts, &plan, context, read));
            }
            plan.min_bytes - read.counted
        };
        if !taken {
            places.take_again();
            taken = true;
            continue;
        }
        places.want(missing);
        last = loop {
            let fired = poll_fn(|cx| places.waiter.poll_fired(cx));
            tokio::select! {
                biased;
                // What ends the wait comes first: a partition that never rests must not prolong it.
                () = reached(&mut state, |state| state >= State::Stopping) => break true,
                () = parts.node.clock.sleep_until(plan.deadline_ms) => break true,
                fired = fired => {
                    if fired == Fired::Changed || places.has_enough() {
                        break false;
                    }
                }
            }
        };
        taken = false;
    }
}
