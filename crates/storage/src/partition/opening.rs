//! A partition that is there before it is opened: it tells nothing of what it holds, and has whoever asks come again.

use super::recovery::{NoLog, Recovered, recover};
use super::{Cleaning, Inner, Partition, Safety, pack, tell_offline};
use crate::engine::{Engine, Garbage, PartitionName};
use crate::opener::Claim;
use crate::waiters::Waiter;
use rustka_core::config::SharedConfig;
use rustka_core::log::PartitionState;
use rustka_core::time::Now;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// What is to be known once it is opened.
pub(crate) struct Opening {
    claim: Arc<Claim>,
    /// The configs of its topic.
    pub(super) config: Option<Arc<SharedConfig>>,
    /// It was told who leads it.
    pub(super) is_led: bool,
}

impl Opening {
    /// Somebody asks for it.
    pub(super) fn hurry(&self) {
        self.claim.hurry();
    }
}

impl Partition {
    /// One that is opened later, see [`Partition::bring`].
    pub(crate) fn unopened(
        engine: &dyn Engine,
        name: &PartitionName<'_>,
        evictable: bool,
        claim: Arc<Claim>,
    ) -> Arc<Partition> {
        let state = PartitionState::new(0);
        let opening = Opening {
            claim,
            config: None,
            is_led: false,
        };
        Arc::new(Partition {
            topic_id: name.topic_id,
            index: name.index,
            leader: AtomicU64::new(pack(None, state.leader_epoch)),
            inner: Mutex::new(Inner {
                opening: Some(Box::new(opening)),
                ..Inner::new(Box::new(NoLog), state, evictable, &engine.memory().account)
            }),
        })
    }

    /// Opens it, which may take long, and serves it from then on. It is offline if that fails.
    pub(crate) fn bring(self: &Arc<Self>, engine: &dyn Engine, name: &PartitionName<'_>, now: Now) {
        let home = Arc::downgrade(self);
        let recovered = catch_unwind(AssertUnwindSafe(|| recover(engine, &home, name, now)));
        let recovered = recovered.unwrap_or_else(|_| Err("it could not be opened".to_owned()));
        let (cleared, woken, told) = {
            let mut inner = self.lock();
            let Some(opening) = inner.opening.take() else {
                return;
            };
            match recovered {
                Ok(recovered) => {
                    inner.begin(recovered, &opening);
                    let leader = pack(inner.leader, inner.state.leader_epoch);
                    self.leader.store(leader, Relaxed);
                }
                Err(why) => {
                    (inner.offline, inner.lost) = (true, true);
                    tell_offline(name, &why);
                }
            }
            // Its topic was deleted meanwhile.
            let cleared = match inner.deleted {
                true => inner.clear(),
                false => Ok(Garbage::Nothing),
            };
            let told = inner.tell(Safety::Durable);
            (cleared, inner.waiters.all(), told)
        };
        self.tell_left(&cleared);
        woken.iter().for_each(|waiter| waiter.fire());
        told.call();
    }

    /// What its opener knows it by, if it is still to be opened.
    pub(crate) fn claim(&self) -> Option<Arc<Claim>> {
        let inner = self.lock();
        inner.opening.as_ref().map(|opening| opening.claim.clone())
    }

    /// Whether it is still to be opened.
    pub fn is_opening(&self) -> bool {
        self.lock().opening.is_some()
    }

    /// Has it opened before others, if it is still to be opened.
    pub fn hurry(&self) {
        if let Some(opening) = &self.lock().opening {
            opening.hurry();
        }
    }

    /// Registers one who is woken once it is open, or gone; whether it is still to be opened.
    pub fn await_opening(&self, waiter: &Arc<Waiter>) -> bool {
        let mut inner = self.lock();
        let waits = inner.opening.is_some() && !inner.deleted;
        if waits {
            inner.waiters.add(waiter);
        }
        waits
    }

    /// Waits until it is open, or gone.
    pub async fn opened(&self) {
        let waiter = Waiter::new();
        while self.await_opening(&waiter) {
            let place = Place(self, &waiter);
            poll_fn(|cx| waiter.poll_fired(cx)).await;
            drop(place);
            waiter.rearm();
        }
    }
}

impl Inner {
    /// It is open, and what it was told meanwhile holds.
    fn begin(&mut self, recovered: Recovered, opening: &Opening) {
        let leader_epoch = self.state.leader_epoch;
        let Recovered {
            log,
            state,
            cleaned,
        } = recovered;
        self.log = log;
        self.durable = state.log_end();
        self.state = state;
        self.cleaning = Cleaning::since(cleaned);
        if opening.is_led {
            self.lead(leader_epoch);
        }
        if let Some(config) = &opening.config {
            self.log.configure(config);
        }
        if let Some(config) = self.config.clone() {
            self.count_dirty(config.now().compact);
        }
        self.keep_evictable();
        self.weigh_producers();
    }
}

/// A place among those who wait, given up in whatever way the waiting ends.
struct Place<'a>(&'a Partition, &'a Arc<Waiter>);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.unregister(self.1);
    }
}
