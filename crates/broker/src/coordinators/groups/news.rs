//! What happens in groups, told to observers and to the log: in its order, and after the shard was unlocked.

use super::Groups;
use crate::base::hooks;
use crate::base::metrics::printable;
use rustka_core::account::Share;
use rustka_core::error::ErrorCode;
use rustka_core::group::MEMORY_LIMIT;
use rustka_core::group::effects::Event;
use rustka_core::sync::lock;
use rustka_core::time::Now;
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// So much waits to be told at most, while an observer is slow; what comes then is left out.
const WAITING_MAX: usize = 10_000;

/// News of all shards that have not been told yet.
#[derive(Default)]
pub struct News {
    count: AtomicUsize,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(Event, Now)>,
    /// Somebody is telling them.
    telling: bool,
}

impl News {
    /// Takes note of it; may be called under the shard's lock.
    pub fn add(&self, event: Event, now: Now) {
        let mut queue = lock(&self.queue);
        if queue.waiting.len() < WAITING_MAX {
            queue.waiting.push_back((event, now));
            self.count.store(queue.waiting.len(), SeqCst);
        }
    }

    /// Tells all there is, unless somebody else is about it, who then tells these as well. Under no lock.
    pub fn tell(&self, tell: impl Fn(&Event, Now)) {
        if self.count.load(SeqCst) == 0 {
            return;
        }
        let Some(turn) = Turn::take(self) else {
            return;
        };
        while let Some((event, now)) = turn.next() {
            tell(&event, now);
        }
    }
}

/// The turn of whoever tells news, given back also by a panic.
struct Turn<'a> {
    news: &'a News,
    is_over: Cell<bool>,
}

impl Turn<'_> {
    fn take(news: &News) -> Option<Turn<'_>> {
        let mut queue = lock(&news.queue);
        if std::mem::replace(&mut queue.telling, true) {
            return None;
        }
        Some(Turn {
            news,
            is_over: Cell::new(false),
        })
    }

    /// The next one. The turn ends in the moment in which there is none.
    fn next(&self) -> Option<(Event, Now)> {
        let mut queue = lock(&self.news.queue);
        let next = queue.waiting.pop_front();
        queue.telling = next.is_some();
        self.is_over.set(next.is_none());
        self.news.count.store(queue.waiting.len(), SeqCst);
        next
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.is_over.get() {
            lock(&self.news.queue).telling = false;
        }
    }
}

/// Tells it.
pub fn tell(groups: &Groups, event: &Event, now: Now) {
    log(groups, event, now);
    groups.node.timeline.note(event, now);
    if let Some(told) = for_observers(event) {
        groups.node.hooks.saw(|| told);
    }
}

/// The event as observers are told it, if they are.
fn for_observers(event: &Event) -> Option<hooks::Event<'_>> {
    Some(match event {
        Event::Rebalance { group, cause } => hooks::Event::GroupRebalances {
            group,
            cause: *cause,
        },
        Event::State {
            group,
            state,
            generation,
        } => hooks::Event::GroupState {
            group,
            state,
            generation: *generation,
        },
        Event::MemberGone {
            group,
            member,
            cause,
        } => hooks::Event::MemberGone {
            group,
            member,
            cause: *cause,
        },
        Event::Refused {
            group,
            client_host,
            code,
            limit,
        } => hooks::Event::GroupRefused {
            group,
            client_host,
            code: *code,
            limit,
        },
        Event::RolledBack { .. } => hooks::Event::Failed(ROLLED_BACK),
        Event::MemberJoins { .. } => return None,
    })
}

/// Tells that a panic left a shard half changed, and whether it was made anew from its journal.
pub fn rebuilt(groups: &Groups, result: Result<(), ErrorCode>) {
    let what = match result {
        Ok(()) => "groups were read again from their journal after a mistake of ours",
        Err(_) => "groups cannot be read again from their journal after a mistake of ours",
    };
    groups.failed(groups.node.clock.now(), || what.to_owned());
    groups.node.hooks.saw(|| hooks::Event::Failed(what));
}

const ROLLED_BACK: &str = "a record of a group could not be written";

fn log(groups: &Groups, event: &Event, now: Now) {
    match event {
        Event::Refused {
            group,
            client_host,
            code,
            limit,
        } => groups.refused(now, || {
            let (group, code) = (printable(group), code.name());
            let why = match *limit {
                MEMORY_LIMIT => groups.node.memory.account.told(Share::Groups).to_string(),
                option => format!("see {option}"),
            };
            format!("group {group}: {code} for {client_host}: {why}")
        }),
        Event::RolledBack { group } => {
            groups.failed(now, || format!("group {}: {ROLLED_BACK}", printable(group)));
        }
        Event::Rebalance { group, cause } => {
            tracing::debug!(target: "rustka::groups", "group {group:?} rebalances: {cause:?}");
        }
        Event::State {
            group,
            state,
            generation,
        } => {
            tracing::debug!(target: "rustka::groups", "group {group:?} is {state} at {generation}")
        }
        Event::MemberJoins { group, member, .. } => {
            tracing::debug!(target: "rustka::groups", "group {group:?}: {member} joins")
        }
        Event::MemberGone {
            group,
            member,
            cause,
        } => {
            tracing::debug!(target: "rustka::groups", "group {group:?}: {member} is gone: {cause:?}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, mpsc};
    use std::time::Duration;

    fn news_of(group: &str) -> Event {
        Event::RolledBack {
            group: group.into(),
        }
    }

    // Whoever came to tell news while another did held up the queue, itself and soon every thread of the broker: nobody
    // was served any more, and nothing but SIGKILL ended it.
    #[test]
    fn whoever_comes_while_news_are_told_goes_on_and_leaves_its_own_to_be_told() {
        let news = Arc::new(News::default());
        let now = Now::new(0, 0);
        let (sender, told) = mpsc::channel();
        let teller = news.clone();
        let telling = std::thread::spawn(move || {
            teller.add(news_of("first"), now);
            teller.tell(|event, now| {
                if matches!(event, Event::RolledBack { group } if &**group == "first") {
                    teller.add(news_of("second"), now);
                    teller.tell(|_, _| panic!("it is not this one's turn"));
                }
                sender.send(format!("{event:?}")).expect("the test listens");
            });
        });
        for group in ["first", "second"] {
            let event = told
                .recv_timeout(Duration::from_secs(10))
                .expect("it is told");
            assert!(event.contains(group), "{event}");
        }
        telling.join().expect("the teller ends");
        news.add(news_of("third"), now);
        let after = Cell::new(0);
        news.tell(|_, _| after.set(after.get() + 1));
        assert_eq!(after.get(), 1);
    }
}
