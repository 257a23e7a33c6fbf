//! Locks whose data stays usable after a panic elsewhere, and the one order in which a thread may hold several of them.
//!
//! | | lock | taken under |
//! |---|---|---|
//! | 1 | the machine of the cluster's metadata | |
//! | 2 | the topics that requests see | 1, to publish a change |
//! | 3 | the configs of groups and of client metrics | 2, to check who subscribes to what |
//! | 4 | the broker's configs, and what follows from others | 2, to show them; 3, whose values rest on them |
//! | 5 | one fetch session | 2, to find the session's partitions |
//! | 6 | the machine of one shard of groups | |
//! | 7 | clients that push metrics | |
//! | 8 | one partition | 1 and 6, which write there; 5, to read |
//! | 9 | what clients have used of their quotas | 1, to publish a change |
//! | 10 | the files of one partition, while they are written | |
//! | 11 | the files with an offset for each partition, while they are written | 10, to forget a name |
//! | 12 | whatever takes no further lock: counters, queues, the order of eviction | any |
//!
//! Of each kind a thread holds one at a time. Debug builds check it at every lock; release builds do nothing for it.
//! Wakers, observers and whatever else is foreign are called after the unlock.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A kind of lock by its rank in the order; locks of the kinds behind it may be taken while it is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// The machine of the cluster's metadata.
    Cluster,
    /// The topics that requests see.
    Topics,
    /// The configs of groups and of client metrics.
    NamedConfigs,
    /// The broker's configs, and what follows from those of client metrics.
    Configs,
    /// One fetch session.
    FetchSession,
    /// The machine of one shard of transactional ids.
    Transactions,
    /// The machine of one shard of groups.
    Groups,
    /// Clients that push metrics.
    Telemetry,
    /// One partition.
    Partition,
    /// What clients have used of their quotas.
    Quotas,
    /// The files of one partition, while they are written.
    Files,
    /// The files with an offset for each partition, while they are written.
    Notes,
    /// Whatever takes no further lock.
    Leaf,
}

/// A lock that is held.
#[derive(Debug)]
pub struct Held<G> {
    guard: G,
    _turn: Turn,
}

/// A mutex that is held.
pub type Guard<'a, T> = Held<MutexGuard<'a, T>>;

impl<G: Deref> Deref for Held<G> {
    type Target = G::Target;

    fn deref(&self) -> &G::Target {
        &self.guard
    }
}

impl<G: DerefMut> DerefMut for Held<G> {
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.guard
    }
}

/// Locks a leaf. A panic under it left plain values behind, each of them whole, so it is not passed on.
pub fn lock<T>(mutex: &Mutex<T>) -> Guard<'_, T> {
    lock_at(Rank::Leaf, mutex)
}

/// Locks a mutex with this rank in the order. Who must not see what a panic left behind asks whether it is poisoned.
pub fn lock_at<T>(rank: Rank, mutex: &Mutex<T>) -> Guard<'_, T> {
    let turn = Turn::take(rank);
    Held {
        guard: mutex.lock().unwrap_or_else(PoisonError::into_inner),
        _turn: turn,
    }
}

/// Locks for reading.
pub fn read_at<T>(rank: Rank, lock: &RwLock<T>) -> Held<RwLockReadGuard<'_, T>> {
    let turn = Turn::take(rank);
    Held {
        guard: lock.read().unwrap_or_else(PoisonError::into_inner),
        _turn: turn,
    }
}

/// Locks for writing.
pub fn write_at<T>(rank: Rank, lock: &RwLock<T>) -> Held<RwLockWriteGuard<'_, T>> {
    let turn = Turn::take(rank);
    Held {
        guard: lock.write().unwrap_or_else(PoisonError::into_inner),
        _turn: turn,
    }
}

#[cfg(debug_assertions)]
pub use checked::Turn;
#[cfg(not(debug_assertions))]
pub use unchecked::Turn;

#[cfg(debug_assertions)]
mod checked {
    use super::Rank;
    use std::cell::RefCell;
    use std::marker::PhantomData;

    thread_local! {
        static HELD: RefCell<Vec<Rank>> = const { RefCell::new(Vec::new()) };
    }

    /// A thread's turn at a lock with some rank in the order, taken before the lock itself is.
    #[derive(Debug)]
    pub struct Turn {
        rank: Rank,
        /// It belongs to its thread.
        _here: PhantomData<*const ()>,
    }

    impl Turn {
        /// Takes it.
        ///
        /// # Panics
        /// In debug builds, if the thread holds a lock of this or a later rank.
        pub fn take(rank: Rank) -> Turn {
            HELD.with_borrow_mut(|held| {
                let last = held.iter().max();
                let in_order = last.is_none_or(|last| *last < rank);
                assert!(
                    in_order || std::thread::panicking(),
                    "a lock of {rank:?} is taken while one of {last:?} is held"
                );
                held.push(rank);
            });
            Turn {
                rank,
                _here: PhantomData,
            }
        }
    }

    impl Drop for Turn {
        fn drop(&mut self) {
            HELD.with_borrow_mut(|held| {
                if let Some(at) = held.iter().rposition(|rank| *rank == self.rank) {
                    held.remove(at);
                }
            });
        }
    }
}

#[cfg(not(debug_assertions))]
mod unchecked {
    use super::Rank;

    /// A thread's turn at a lock; checked in debug builds alone.
    #[derive(Debug)]
    pub struct Turn;

    impl Turn {
        /// Takes it.
        pub fn take(_: Rank) -> Turn {
            Turn
        }
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn is_refused(f: impl FnOnce()) -> bool {
        catch_unwind(AssertUnwindSafe(f)).is_err()
    }

    /// With an authorizer, Fetch took a session and then the topics on one path and the other way round on another: a
    /// writer that waited between them stopped the broker.
    #[test]
    fn locks_are_taken_in_their_order_and_one_of_each_kind() {
        let topics = RwLock::new(());
        let (session, other) = (Mutex::new(()), Mutex::new(()));
        let in_order = || {
            let _topics = read_at(Rank::Topics, &topics);
            let _session = lock_at(Rank::FetchSession, &session);
            let _leaf = lock(&other);
        };
        assert!(!is_refused(in_order));
        assert!(is_refused(|| {
            let _session = lock_at(Rank::FetchSession, &session);
            let _topics = read_at(Rank::Topics, &topics);
        }));
        // Two readers on one thread wait for each other as soon as a writer waits between them.
        assert!(is_refused(|| {
            let _topics = read_at(Rank::Topics, &topics);
            let _again = read_at(Rank::Topics, &topics);
        }));
        assert!(is_refused(|| {
            let _leaf = lock(&session);
            let _other = lock(&other);
        }));
        assert!(!is_refused(in_order), "whatever was held is given back");
    }

    #[test]
    fn locks_may_be_let_go_in_any_order() {
        let (first, second) = (Mutex::new(()), Mutex::new(()));
        let held = lock_at(Rank::Groups, &first);
        let leaf = lock(&second);
        drop(held);
        drop(leaf);
        drop(lock_at(Rank::Topics, &first));
    }
}
