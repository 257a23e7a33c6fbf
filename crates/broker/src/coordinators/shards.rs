//! All shards of one kind: one for each partition of the topic that their journals stand in, and when something in them
//! is due next.

use super::answer::Answer;
use super::shard::{Host, NEVER_MS, Shard};
use crate::node::Node;
use crate::node::topics::TopicRef;
use rustka_core::machine::Machine;
use rustka_storage::Opener;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use tokio::sync::Notify;

/// The shards of one kind, and what the task that drives them sleeps until.
pub struct Shards<M: Machine> {
    made: OnceLock<Box<[Shard<M>]>>,
    armed_ms: AtomicI64,
    earlier: Notify,
}

impl<M: Machine> Default for Shards<M> {
    fn default() -> Shards<M> {
        Shards {
            made: OnceLock::new(),
            armed_ms: AtomicI64::new(NEVER_MS),
            earlier: Notify::new(),
        }
    }
}

impl<M: Machine> Shards<M> {
    /// Those that there are: none before the first of them is needed.
    pub fn made(&self) -> &[Shard<M>] {
        self.made.get().map_or(&[], |shards| shards)
    }

    /// The shards, made now if there are none: so many, each with a machine of one of so many.
    pub fn get_or_make(
        &self,
        count: impl FnOnce() -> usize,
        machine: impl Fn(usize) -> M,
    ) -> &[Shard<M>] {
        self.made.get_or_init(|| {
            let count = count();
            (0..count).map(|_| Shard::new(machine(count))).collect()
        })
    }

    /// A topic's journals are gone. Without them the shards remember nothing of what `clear` forgets.
    pub fn detach(&self, clear: impl Fn(&mut M)) {
        for shard in self.made() {
            shard.detach(&clear);
        }
    }

    /// The leaders of their topic's partitions may have changed.
    pub fn led(&self, host: &dyn Host<M>) {
        self.made().iter().for_each(|shard| shard.led(host));
    }

    /// Writes the journals down anew that hold much more than their machines do.
    pub fn shorten(&self, host: &dyn Host<M>) {
        self.made().iter().for_each(|shard| shard.shorten(host));
    }

    /// The sums of two counts over all machines.
    pub fn counts(&self, count: impl Fn(&M) -> (usize, usize)) -> (usize, usize) {
        let counts = self.made().iter().map(|shard| shard.look(&count));
        counts.fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1))
    }

    /// The broker stops: whoever waits is sent away.
    pub fn close(&self) {
        self.made().iter().for_each(Shard::close);
    }

    /// A shard has this deadline now; it wakes the task if that is earlier than what it sleeps until.
    pub fn set(&self, deadline_ms: Option<i64>) {
        if deadline_ms.is_some_and(|at_ms| at_ms < self.armed_ms.load(SeqCst)) {
            self.wake();
        }
    }

    /// Wakes the task, which has something else to do.
    pub fn wake(&self) {
        self.earlier.notify_one();
    }

    /// Calls every shard in which something is due; the next deadline of them all.
    pub fn expire(&self, host: &dyn Host<M>) -> i64 {
        // Until the scan is over every new deadline wakes the task again: none is lost.
        self.armed_ms.store(NEVER_MS, SeqCst);
        let now = host.now();
        let mut next_ms = NEVER_MS;
        for shard in self.made() {
            if shard.is_due(now) {
                shard.expire(host, now);
            }
            next_ms = next_ms.min(shard.deadline_ms());
        }
        self.armed_ms.store(next_ms, SeqCst);
        next_ms
    }

    /// Waits until this deadline, or until the task is woken.
    pub async fn wait(&self, node: &Node, next_ms: i64) {
        let due = async {
            match next_ms {
                NEVER_MS => std::future::pending().await,
                at_ms => node.clock.sleep_until(at_ms).await,
            }
        };
        tokio::select! {
            biased;
            () = self.earlier.notified() => {}
            () = due => {}
        }
    }
}

impl<M: Machine + 'static> Shards<M> {
    /// Reads what the journals in this topic's partitions have. It holds the thread up. Where one is damaged, nobody is
    /// served who belongs there, and everybody else is.
    pub fn load<H>(&self, host: &Arc<H>, topic: &TopicRef, opener: &Opener)
    where
        H: Host<M> + 'static,
    {
        let partitions = &topic.partitions;
        partitions.iter().for_each(|partition| partition.hurry());
        for (at, (shard, partition)) in self.made().iter().zip(partitions).enumerate() {
            opener.wait_for(partition);
            let offsets = partition.offsets();
            if offsets.log_start == offsets.log_end {
                continue;
            }
            shard.attach(host, at);
            if let Err(code) = shard.load(&**host) {
                let (name, code) = (&topic.name, code.name());
                tracing::error!(
                    target: "rustka::journal",
                    "{name}-{at} cannot be read: {code}; whoever has something on record there is not served. `rustka log check` tells what of it is damaged: stop, put a copy of that folder in its place and take its lines out of rustka-damaged-offsets, or move it away to go on without all that it tells"
                );
                shard.give_up(&**host);
            }
        }
    }

    /// Whether all of them know what was on record.
    pub fn are_readable(&self) -> bool {
        self.made().iter().all(Shard::is_readable)
    }

    /// Asks every shard there is, in their order.
    pub fn call_all<H>(&self, host: &Arc<H>, command: &M::Command) -> Vec<Answer<M>>
    where
        H: Host<M> + 'static,
        M::Command: Clone,
    {
        let shards = self.made().iter().enumerate();
        shards
            .map(|(at, shard)| shard.call(host, at, command.clone()))
            .collect()
    }
}
