//! The threads that write and sync. They never answer a request, and no request waits for them under a lock.
//!
//! A job is a partition that has something to be written, or something written to be synced. However many batches came
//! meanwhile, they are one write and one sync: that is the group commit. What follows from a job is left to the thread that
//! has done it, so that nobody has to be woken for it.

use super::writer::Writer;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Threads, of which one never syncs: a write does not wait for the syncs of others.
const THREADS_MAX: usize = 8;

/// What is to be done.
pub(super) enum Job {
    /// Write what is queued for a partition.
    Write(Arc<Writer>),
    /// Sync what was written of it.
    Sync(Arc<Writer>),
    /// Anything else.
    Other(Box<dyn FnOnce() + Send>),
}

#[derive(Default)]
struct Jobs {
    writes: VecDeque<Job>,
    syncs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    syncing: usize,
    stopping: bool,
    abandoned: bool,
}

impl Jobs {
    /// The next job; writes come first, and are never kept waiting by syncs.
    fn next(&mut self) -> Option<Job> {
        if let Some(job) = self.writes.pop_front() {
            return Some(job);
        }
        let may_sync = self.syncing + 1 < THREADS_MAX;
        let job = self.syncs.pop_front_if(|_| may_sync)?;
        self.syncing += 1;
        Some(job)
    }

    /// Nobody is there any more who would do a job. One that was done all the same would change files that belong to
    /// whoever has opened them next.
    fn has_ended(&self) -> bool {
        self.abandoned || self.stopping && self.threads == 0
    }

    fn push(&mut self, job: Job) {
        match &job {
            Job::Sync(_) => self.syncs.push_back(job),
            Job::Write(_) | Job::Other(_) => self.writes.push_back(job),
        }
    }

    /// What this thread does next, if it is to go on with what it has just done.
    fn go_on(&mut self, done: Done, then: Option<Job>) -> Option<Job> {
        let then = then.filter(|_| !self.abandoned)?;
        // What was just written is synced before others are; what was just synced comes behind those that wait.
        let may_sync = self.syncing + 1 < THREADS_MAX && matches!(then, Job::Sync(_));
        if done == Done::Wrote && may_sync {
            self.syncing += 1;
            return Some(then);
        }
        self.push(then);
        None
    }
}

/// See the file's top.
#[derive(Default)]
pub(super) struct Pool {
    jobs: Mutex<Jobs>,
    told: Condvar,
    /// No threads: a test does the jobs, or nobody.
    by_hand: bool,
}

impl Pool {
    /// A pool without threads, whose jobs are done by [`Pool::work_by_hand`].
    pub fn by_hand() -> Pool {
        Pool {
            by_hand: true,
            ..Pool::default()
        }
    }

    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many jobs wait: to write, or for anything else but a sync, and to sync.
    pub fn waiting(&self) -> (usize, usize) {
        let jobs = self.lock();
        (jobs.writes.len(), jobs.syncs.len())
    }

    /// Has a job done soon; never, where the pool has ended.
    pub fn push(self: &Arc<Pool>, job: Job) {
        let mut jobs = self.lock();
        if jobs.has_ended() {
            // Not under the lock: what it holds may have something done when it goes.
            drop(jobs);
            drop(job);
            return;
        }
        jobs.push(job);
        if self.by_hand {
            return;
        }
        if jobs.idle == 0 && jobs.threads < THREADS_MAX {
            jobs.threads += 1;
            drop(jobs);
            self.spawn();
        } else {
            drop(jobs);
            self.told.notify_one();
        }
    }

    fn spawn(self: &Arc<Pool>) {
        let pool = self.clone();
        let spawned = std::thread::Builder::new()
            .name("rustka-disk".to_owned())
            .spawn(move || pool.work());
        if let Err(error) = spawned {
            let mut jobs = self.lock();
            jobs.threads -= 1;
            let alone = jobs.threads == 0;
            drop(jobs);
            tracing::error!(
                target: "rustka::storage",
                "a thread that writes records could not be started: {error}"
            );
            // Late is better than never.
            if alone {
                self.work_by_hand();
            }
        }
    }

    fn work(&self) {
        let mut jobs = self.lock();
        let mut at_hand = None;
        loop {
            match at_hand.take().or_else(|| jobs.next()) {
                Some(job) => {
                    drop(jobs);
                    let done = Done::of(&job);
                    let then = do_one(job);
                    jobs = self.lock();
                    jobs.syncing -= usize::from(done == Done::Synced);
                    at_hand = jobs.go_on(done, then);
                }
                None if jobs.stopping => {
                    jobs.threads -= 1;
                    self.told.notify_all();
                    return;
                }
                None => {
                    jobs.idle += 1;
                    jobs = self.told.wait(jobs).unwrap_or_else(PoisonError::into_inner);
                    jobs.idle -= 1;
                }
            }
        }
    }

    /// Does everything that is to be done, in this thread.
    pub fn work_by_hand(&self) {
        while self.work_one_by_hand(|_| true) {}
    }

    /// Does the next job that `wanted` wants; whether there was one.
    pub fn work_one_by_hand(&self, wanted: impl Fn(&Job) -> bool) -> bool {
        let mut jobs = self.lock();
        let queue = |queue: &mut VecDeque<Job>| {
            let at = queue.iter().position(&wanted)?;
            queue.remove(at)
        };
        let Jobs { writes, syncs, .. } = &mut *jobs;
        let Some(job) = queue(writes).or_else(|| queue(syncs)) else {
            return false;
        };
        drop(jobs);
        if let Some(then) = do_one(job) {
            self.lock().push(then);
        }
        true
    }

    /// Does what is queued and ends the threads. What comes later is not done.
    pub fn finish(self: &Arc<Pool>) {
        if self.by_hand {
            self.work_by_hand();
            return;
        }
        let mut jobs = self.lock();
        jobs.stopping = true;
        self.told.notify_all();
        while jobs.threads > 0 {
            jobs = self.told.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends the threads once they have done what they are about.
    pub fn abandon(&self) {
        let mut jobs = self.lock();
        jobs.writes.clear();
        jobs.syncs.clear();
        jobs.stopping = true;
        jobs.abandoned = true;
        drop(jobs);
        self.told.notify_all();
    }
}

/// What a thread has just done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Done {
    Wrote,
    Synced,
    Other,
}

impl Done {
    fn of(job: &Job) -> Done {
        match job {
            Job::Write(_) => Done::Wrote,
            Job::Sync(_) => Done::Synced,
            Job::Other(_) => Done::Other,
        }
    }
}

/// Does a job; what follows from it. A panic, which is a mistake of ours, concerns the partition whose job it was and no
/// other.
fn do_one(job: Job) -> Option<Job> {
    let (writer, done) = match job {
        Job::Write(writer) => {
            let done = catch_unwind(AssertUnwindSafe(|| writer.write()));
            (writer, done)
        }
        Job::Sync(writer) => {
            let done = catch_unwind(AssertUnwindSafe(|| writer.sync()));
            (writer, done)
        }
        Job::Other(work) => {
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                tracing::error!(target: "rustka::storage", "work on the data directory failed unexpectedly");
            }
            return None;
        }
    };
    done.unwrap_or_else(|_| {
        writer.give_up();
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// A job that tells that it is done; if it is not done, nobody tells anything.
    fn telling() -> (Job, mpsc::Receiver<()>) {
        let (teller, told) = mpsc::channel();
        let tell = move || teller.send(()).expect("it is awaited");
        (Job::Other(Box::new(tell)), told)
    }

    /// A thread began for whatever came after an orderly end, and wrote into a directory that was given back.
    #[test]
    fn what_comes_after_the_end_is_not_done() {
        for in_order in [true, false] {
            let pool = Arc::new(Pool::default());
            let (job, told) = telling();
            pool.push(job);
            assert_eq!(told.recv(), Ok(()));
            match in_order {
                true => pool.finish(),
                false => pool.abandon(),
            }
            let (late, told) = telling();
            pool.push(late);
            assert!(told.recv().is_err());
        }
    }

    #[test]
    fn what_follows_from_what_is_queued_at_the_end_is_done_before_it() {
        let pool = Arc::new(Pool::default());
        let (last, told) = telling();
        let pushing = pool.clone();
        pool.push(Job::Other(Box::new(move || pushing.push(last))));
        pool.finish();
        assert_eq!(told.try_recv(), Ok(()));
    }
}
