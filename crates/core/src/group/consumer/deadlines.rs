//! What members have to do by when: be heard, give partitions up, and for those of the classic protocol join again and
//! fetch their share.

use super::Group;
use super::records::MemberState;
use crate::group::command::Name;
use crate::group::desk::Desk;
use crate::group::effects::Cause;
use crate::group::timers::Timer;

/// What deadlines take with their timers.
pub(super) const DEADLINES_BYTES: usize = 250;

/// What others wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Giving partitions up, although heartbeats come.
    Revoke,
    /// Joining again, for a classic member that was told to.
    Rejoin,
    /// Fetching its share, for a classic member that has joined.
    Fetch,
}

impl Task {
    const ALL: [Task; 3] = [Task::Revoke, Task::Rejoin, Task::Fetch];

    fn timer(self, id: Name) -> Timer {
        match self {
            Task::Revoke => Timer::Revocation(id),
            Task::Rejoin => Timer::Rejoin(id),
            Task::Fetch => Timer::Fetch(id),
        }
    }

    fn neglected(self) -> Cause {
        match self {
            Task::Revoke => Cause::NotRevoked,
            Task::Rejoin => Cause::NotRejoined,
            Task::Fetch => Cause::NotSynced,
        }
    }
}

/// Of one member, on the monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    /// The end of its session.
    pub(super) session_ms: i64,
    /// When a timer looks at the session; earlier, never later.
    pub(super) armed_ms: Option<i64>,
    /// When each task must be done.
    tasks_ms: [Option<i64>; Task::ALL.len()],
}

impl Group {
    /// The member lives: its session starts anew.
    pub(super) fn touch(&mut self, d: &mut Desk, id: &Name, session_timeout_ms: i32) {
        let deadlines = self.deadlines.entry(id.clone()).or_default();
        let end_ms = d.now.monotonic_ms.saturating_add(session_timeout_ms.into());
        deadlines.session_ms = end_ms;
        if deadlines.armed_ms.is_some_and(|at_ms| at_ms <= end_ms) {
            return;
        }
        if let Some(at_ms) = deadlines.armed_ms.replace(end_ms) {
            d.timers.disarm(at_ms, &self.id, Timer::Session(id.clone()));
        }
        d.timers.arm(end_ms, &self.id, Timer::Session(id.clone()));
    }

    /// The member has so long from now on, whatever it had before.
    pub(super) fn await_task(&mut self, d: &mut Desk, id: &Name, task: Task, timeout_ms: i32) {
        let at_ms = d.now.monotonic_ms.saturating_add(timeout_ms.max(0).into());
        self.set_task(d, id, task, Some(at_ms));
    }

    /// The member has done it, or need not any more.
    pub(super) fn forgive(&mut self, d: &mut Desk, id: &Name, task: Task) {
        if self.is_awaited(id, task) {
            self.set_task(d, id, task, None);
        }
    }

    pub(super) fn is_awaited(&self, id: &str, task: Task) -> bool {
        let deadlines = self.deadlines.get(id);
        deadlines.is_some_and(|deadlines| deadlines.tasks_ms[task as usize].is_some())
    }

    fn set_task(&mut self, d: &mut Desk, id: &Name, task: Task, at_ms: Option<i64>) {
        let deadlines = self.deadlines.entry(id.clone()).or_default();
        let old_ms = std::mem::replace(&mut deadlines.tasks_ms[task as usize], at_ms);
        if let Some(old_ms) = old_ms {
            d.timers.disarm(old_ms, &self.id, task.timer(id.clone()));
        }
        if let Some(at_ms) = at_ms {
            d.timers.arm(at_ms, &self.id, task.timer(id.clone()));
        }
    }

    pub(super) fn forget_deadlines(&mut self, d: &mut Desk, id: &Name) {
        let Some(deadlines) = self.deadlines.remove(id) else {
            return;
        };
        if let Some(at_ms) = deadlines.armed_ms {
            d.timers.disarm(at_ms, &self.id, Timer::Session(id.clone()));
        }
        for task in Task::ALL {
            if let Some(at_ms) = deadlines.tasks_ms[task as usize] {
                d.timers.disarm(at_ms, &self.id, task.timer(id.clone()));
            }
        }
    }

    pub(in crate::group) fn session_timer(&mut self, d: &mut Desk, id: &Name) {
        let Some(deadlines) = self.deadlines.get_mut(id) else {
            return;
        };
        deadlines.armed_ms = None;
        let end_ms = deadlines.session_ms;
        if end_ms > d.now.monotonic_ms {
            deadlines.armed_ms = Some(end_ms);
            d.timers.arm(end_ms, &self.id, Timer::Session(id.clone()));
            return;
        }
        self.remove(d, std::slice::from_ref(id), Cause::SessionExpired);
    }

    /// The member did not give up in time what others wait for, although it may well have sent heartbeats.
    pub(in crate::group) fn revocation_timer(&mut self, d: &mut Desk, id: &Name) {
        let current = self.roster().current(id);
        let is_due = current.is_some_and(|current| current.state == MemberState::Unrevoked);
        self.task_timer(d, id, Task::Revoke, is_due);
    }

    /// A classic member did not join again in time.
    pub(in crate::group) fn rejoin_timer(&mut self, d: &mut Desk, id: &Name) {
        self.task_timer(d, id, Task::Rejoin, true);
    }

    /// A classic member did not fetch its share in time.
    pub(in crate::group) fn fetch_timer(&mut self, d: &mut Desk, id: &Name) {
        self.task_timer(d, id, Task::Fetch, true);
    }

    fn task_timer(&mut self, d: &mut Desk, id: &Name, task: Task, is_due: bool) {
        let Some(deadlines) = self.deadlines.get_mut(id) else {
            return;
        };
        deadlines.tasks_ms[task as usize] = None;
        if is_due {
            self.remove(d, std::slice::from_ref(id), task.neglected());
        }
    }

    /// Goes on from what is on record: sessions start from now.
    pub(in crate::group) fn resume(&mut self, d: &mut Desk) {
        self.clear(d);
        let members = self.roster().members();
        let members = members.map(|(id, member)| (id.clone(), member.rebalance_timeout_ms));
        let members: Vec<(Name, i32)> = members.collect();
        for (id, rebalance_timeout_ms) in members {
            self.touch(d, &id, d.options.consumer_session_timeout_ms);
            let current = self.roster().current(&id);
            if current.is_some_and(|current| current.state == MemberState::Unrevoked) {
                self.await_task(d, &id, Task::Revoke, rebalance_timeout_ms);
            }
        }
        self.told = self.state();
    }
}
