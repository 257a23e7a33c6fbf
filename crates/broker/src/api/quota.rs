//! What a request costs its client: asked of the quota meter of the library's user before it is served, and of that and
//! of the quotas that are set before its answer is encoded.

use crate::api::access::Caller;
use crate::api::request::Request;
use crate::node::Node;
use rustka_core::cluster::command::Command;
use rustka_core::security::quota::mutation::Allowance;
use rustka_wire::fetch_request::FetchRequest;
use rustka_wire::produce_request::ProduceRequest;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The request's time still runs.
const RUNNING: u64 = u64::MAX;

/// What one request has to wait for after its answer. There is none while there are no quotas.
pub struct Bill {
    node: Arc<Node>,
    caller: Caller,
    bytes: usize,
    began_us: u64,
    used_us: AtomicU64,
    before_ms: u32,
    /// What it may create and delete.
    allowance: OnceLock<Arc<Allowance>>,
    total_ms: OnceLock<u32>,
}

/// What is being charged.
#[derive(Clone, Copy)]
enum Charge {
    /// An answer.
    Answer,
    /// The answer to a fetch, of so many bytes.
    Fetched(usize),
    /// There is no answer.
    Nothing,
}

impl Bill {
    /// Opens one for a request of `bytes`, if there is anybody to charge it.
    pub fn open(node: &Arc<Node>, caller: &Caller, bytes: usize) -> Option<Arc<Bill>> {
        let meter = node.hooks.quota.as_ref();
        let is_free = meter.is_none() && !node.quotas.limits_requests();
        if is_free || caller.peer().is_own {
            return None;
        }
        Some(Arc::new(Bill {
            before_ms: meter.map_or(0, |meter| meter.charge(&caller.context(), bytes)),
            node: node.clone(),
            caller: caller.clone(),
            bytes,
            began_us: node.clock.monotonic_us(),
            used_us: AtomicU64::new(RUNNING),
            allowance: OnceLock::new(),
            total_ms: OnceLock::new(),
        }))
    }

    /// The request waits for something from here on, which costs nothing.
    pub fn pause(&self) {
        self.used_us.store(self.running_us(), Relaxed);
    }

    fn running_us(&self) -> u64 {
        let now_us = self.node.clock.monotonic_us();
        now_us.saturating_sub(self.began_us)
    }

    /// Charges the answer, and the time used until now; the first call does. What comes back is the wait in milliseconds.
    pub fn settle(&self) -> u32 {
        self.charge(0, Charge::Answer)
    }

    /// The same for a request that is not answered.
    pub fn settle_unanswered(&self) -> u32 {
        self.charge(0, Charge::Nothing)
    }

    /// The same for a fetch whose answer has so many bytes, so many of them of records. Where its client is over a quota
    /// the answer must be empty instead: then nothing comes back but the wait.
    pub fn settle_fetch(&self, bytes: usize, records_bytes: usize) -> Result<u32, u32> {
        let before = self.own_wait_ms(Charge::Fetched(bytes));
        if before > 0 {
            let total_ms = *self.total_ms.get_or_init(|| self.told(before, 0));
            return Err(total_ms);
        }
        Ok(*self.total_ms.get_or_init(|| self.told(0, records_bytes)))
    }

    fn charge(&self, records_bytes: usize, charge: Charge) -> u32 {
        *self
            .total_ms
            .get_or_init(|| self.told(self.own_wait_ms(charge), records_bytes))
    }

    /// The longest of all waits, once the meter of the library's user has had its say.
    fn told(&self, own_ms: u32, records_bytes: usize) -> u32 {
        let after_ms = self.node.hooks.quota.as_ref().map_or(0, |meter| {
            let used = Duration::from_micros(self.used_us());
            meter.charge_answer(&self.caller.context(), records_bytes, used)
        });
        self.before_ms.max(after_ms).max(own_ms)
    }

    fn used_us(&self) -> u64 {
        match self.used_us.load(Relaxed) {
            RUNNING => self.running_us(),
            paused => paused,
        }
    }

    /// The wait by the quotas that are set.
    fn own_wait_ms(&self, charge: Charge) -> u32 {
        let node = &self.node;
        if !node.quotas.limits_requests() {
            return 0;
        }
        let (now_ms, used_us) = (node.clock.monotonic_ms(), self.used_us());
        let who = (self.caller.user(), self.caller.client_id());
        let mut meters = node.quotas.meters();
        let time_ms = match charge {
            Charge::Nothing => 0,
            // No request takes no time at all.
            _ => meters.worked(who, used_us.max(1), now_ms),
        };
        let bytes_ms = match charge {
            Charge::Fetched(bytes) => {
                let wait_ms = meters.fetched(who, bytes, now_ms);
                if wait_ms == 0 && time_ms > 0 {
                    meters.unfetched(who, bytes, now_ms);
                }
                wait_ms
            }
            _ if self.caller.api() == ProduceRequest::KEY => {
                meters.produced(who, self.bytes, now_ms)
            }
            _ => 0,
        };
        drop(meters);
        let mutations_ms = self.allowance.get().map_or(0, |one| one.wait_ms());
        let metrics = &node.metrics;
        let counted = [
            (time_ms, &metrics.throttled_by_time),
            (mutations_ms, &metrics.throttled_by_mutations),
            (
                bytes_ms,
                match self.caller.api() {
                    FetchRequest::KEY => &metrics.throttled_by_fetched_bytes,
                    _ => &metrics.throttled_by_produced_bytes,
                },
            ),
        ];
        let longest_ms = time_ms.max(bytes_ms).max(mutations_ms);
        for (wait_ms, counter) in counted {
            if wait_ms > 0 {
                counter.fetch_add(1, Relaxed);
            }
        }
        metrics
            .throttled_ms
            .fetch_add(u64::from(longest_ms), Relaxed);
        longest_ms
    }
}

impl Request<'_> {
    /// A command that creates or deletes partitions, by somebody who may perhaps do so only at some rate (KIP-599). From
    /// version `strict_from` on clients understand a refusal; older ones are only made to wait.
    pub fn limited(&self, command: Command, strict_from: i16) -> Command {
        let Some(bill) = &self.bill else {
            return command;
        };
        let who = (self.caller.user(), self.caller.client_id());
        let now_ms = self.node.clock.monotonic_ms();
        let strict = self.header.version >= strict_from;
        let allowance = self.node.quotas.meters().allowance(who, strict, now_ms);
        match allowance.map(Arc::new) {
            Some(allowance) => {
                let allowance = bill.allowance.get_or_init(|| allowance);
                Command::Limited(Box::new(command), allowance.clone())
            }
            None => command,
        }
    }

    /// Bytes that the client may fetch with one request, where there is a quota.
    pub fn fetch_bytes_max(&self) -> Option<usize> {
        self.bill.as_ref()?;
        let who = (self.caller.user(), self.caller.client_id());
        self.node.quotas.meters().fetch_bytes_max(who)
    }
}
