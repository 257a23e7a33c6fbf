//! A panic under a shard's lock leaves its machine half changed: the next request would write down what nobody has
//! decided. So the machine is made anew from its journal before anybody else is served, and whoever waited is sent away
//! to ask again. The same happens when this node leads the journal's partition again after another one did.

use super::shard::{Host, Inner, Shard};
use rustka_core::error::ErrorCode;
use rustka_core::machine::{Effects, Machine, Release};
use rustka_core::sync::{Guard, lock_at};
use rustka_core::time::Now;
use rustka_storage::partition::Fate;
use std::sync::atomic::Ordering::SeqCst;

/// After this long a shard whose journal could not be read is tried again without being asked.
const RETRY_MS: i64 = 1_000;

impl<M: Machine> Shard<M> {
    /// Locks a machine that is whole; none while it cannot be made so.
    pub(super) fn lock(&self, host: &dyn Host<M>, now: Now) -> Option<Guard<'_, Inner<M>>> {
        let mut inner = lock_at(M::RANK, &self.inner);
        if inner.is_unreadable {
            return None;
        }
        let is_wrong = self.inner.is_poisoned() || inner.has_lost_inheritance();
        if !is_wrong && !inner.is_back() {
            return Some(inner);
        }
        // Dropped, and thereby woken, after the unlock.
        let sent_away = std::mem::take(&mut inner.waiting);
        let rebuilt = inner.rebuild(host, now);
        if rebuilt.is_ok() {
            self.inner.clear_poison();
            inner.was_away = false;
            let (machine, out) = inner.machine(host);
            machine.loaded(now, out);
            let (_, ready) = inner.settle(host, now, None);
            self.unlock(host, inner, ready);
        } else {
            let retry_ms = now.monotonic_ms.saturating_add(RETRY_MS);
            self.deadline_ms.store(retry_ms, SeqCst);
            drop(inner);
            host.wake(Some(retry_ms));
        }
        drop(sent_away);
        if is_wrong {
            host.rebuilt(rebuilt);
        }
        rebuilt.ok()?;
        let inner = lock_at(M::RANK, &self.inner);
        (!self.inner.is_poisoned()).then_some(inner)
    }
}

impl<M: Machine> Inner<M> {
    /// Whether another node led the journal's partition until now, and may have written there.
    fn is_back(&self) -> bool {
        self.was_away && self.is_led_here()
    }

    /// Whether the machine was made from a journal that has turned out to have lost something since.
    fn has_lost_inheritance(&mut self) -> bool {
        let Some(journal) = &self.journal else {
            return false;
        };
        self.inherited
            .retain(|at| journal.fate(*at) != Fate::Durable);
        let mut inherited = self.inherited.iter();
        inherited.any(|at| journal.fate(*at) == Fate::Failed)
    }

    fn rebuild(&mut self, host: &dyn Host<M>, now: Now) -> Result<(), ErrorCode> {
        let mut machine = host.blank();
        if let Some(journal) = &mut self.journal {
            journal.replay(now, &mut |record| machine.apply(record))?;
            // What was on its way is in the journal and no longer in any machine's hands.
            self.inherited
                .extend(self.open.drain(..).map(|open| open.at));
            self.inherited
                .retain(|at| journal.fate(*at) == Fate::Pending);
        }
        self.machine = machine;
        self.unwritten.clear();
        self.out = Effects::default();
        self.release = Release::default();
        Ok(())
    }
}
