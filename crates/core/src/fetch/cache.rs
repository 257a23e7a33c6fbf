//! All sessions: who has one, and who loses one when they are all taken.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use super::context::{
    FetchContext, Kind, Responded, advance, distinct, no_session, respond_incremental, tell_all,
};
use super::session::{Entry, PartitionOutcome, RequestedPartition, Session, TopicKey};
use super::{FINAL_EPOCH, INITIAL_EPOCH, NO_SESSION};
use crate::account::{Account, Share};
use crate::error::ErrorCode;
use crate::sync::{Guard, Rank, lock, lock_at};

/// A session may be evicted for another after this time without a request, or since its creation.
const EVICTION_MS: i64 = 120_000;

/// Partitions of one session; a request for more is answered without one.
const SESSION_PARTITIONS_MAX: usize = 100_000;

/// Random ids tried before a request is answered without a session.
const ID_TRIES_MAX: usize = 16;

/// How many sessions there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// Sessions (`max.incremental.fetch.session.cache.slots`).
    pub slots: usize,
    /// Partitions of all sessions together.
    pub partitions: usize,
    /// Whether an owner with few sessions displaces one with many when all slots are taken.
    pub fair_share: bool,
}

impl SessionLimits {
    /// These slots, and room for a million partitions.
    pub fn new(slots: i32, fair_share: bool) -> Self {
        SessionLimits {
            slots: usize::try_from(slots).unwrap_or(0),
            partitions: 1_000_000,
            fair_share,
        }
    }
}

/// The session fields of a Fetch request, and who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRequest {
    /// The session, or 0.
    pub session_id: i32,
    /// 0 asks for a new session, -1 for none.
    pub epoch: i32,
    /// Whether topics go by id (Fetch v13 on).
    pub uses_ids: bool,
    /// Whose session it is; nobody else can use or end it.
    pub owner: u64,
    /// The monotonic time.
    pub now_ms: i64,
}

/// All fetch sessions of a broker. Locks inside, never two at a time.
#[derive(Debug)]
pub struct FetchSessions<H> {
    limits: SessionLimits,
    account: Arc<Account>,
    cache: Mutex<Cache<H>>,
}

#[derive(Debug)]
struct Cache<H> {
    slots: BTreeMap<i32, Slot<H>>,
    partitions: usize,
    evictions: u64,
}

#[derive(Debug)]
struct Slot<H> {
    session: Arc<SharedSession<H>>,
    partitions: usize,
    created_ms: i64,
}

/// A session as requests hold it.
#[derive(Debug)]
pub(super) struct SharedSession<H> {
    pub(super) id: i32,
    uses_ids: bool,
    owner: u64,
    used_ms: AtomicI64,
    state: Mutex<Session<H>>,
}

impl<H> SharedSession<H> {
    /// The session, unless a panic left it half changed: then it is over, and its client begins another one.
    pub(super) fn lock(&self) -> Result<Guard<'_, Session<H>>, ErrorCode> {
        let state = lock_at(Rank::FetchSession, &self.state);
        match self.state.is_poisoned() {
            false => Ok(state),
            true => Err(ErrorCode::FetchSessionIdNotFound),
        }
    }
}

impl<H: Default> FetchSessions<H> {
    /// No sessions yet; what they take is counted in this account.
    pub fn new(limits: SessionLimits, account: Arc<Account>) -> Self {
        let cache = Mutex::new(Cache {
            slots: BTreeMap::new(),
            partitions: 0,
            evictions: 0,
        });
        FetchSessions {
            limits,
            account,
            cache,
        }
    }

    /// The cache. After a panic under its lock all sessions are over: nothing is lost by that, as clients begin others.
    fn lock(&self) -> Guard<'_, Cache<H>> {
        let mut cache = lock(&self.cache);
        if self.cache.is_poisoned() {
            (cache.slots, cache.partitions) = (BTreeMap::new(), 0);
            self.account.set(Share::Sessions, 0);
            self.cache.clear_poison();
        }
        cache
    }

    /// How many sessions there are, how many partitions they have, and how many sessions had to go for others.
    pub fn counts(&self) -> (usize, usize, u64) {
        let cache = self.lock();
        (cache.slots.len(), cache.partitions, cache.evictions)
    }

    /// What a Fetch request is about.
    pub fn begin(
        &self,
        request: SessionRequest,
        partitions: impl IntoIterator<Item = RequestedPartition>,
        forgotten: impl IntoIterator<Item = (TopicKey, i32)>,
    ) -> FetchContext<H> {
        let requested: Vec<RequestedPartition> = partitions.into_iter().collect();
        let kind = match request.epoch {
            INITIAL_EPOCH | FINAL_EPOCH => {
                if request.session_id != NO_SESSION {
                    self.end(request.session_id, request.owner);
                }
                match request.epoch {
                    INITIAL_EPOCH => Kind::Full {
                        entries: distinct(requested),
                        owner: request.owner,
                        uses_ids: request.uses_ids,
                    },
                    _ => Kind::Sessionless(distinct(requested)),
                }
            }
            _ => self.begin_incremental(request, requested, forgotten),
        };
        FetchContext { kind }
    }

    fn begin_incremental(
        &self,
        request: SessionRequest,
        requested: Vec<RequestedPartition>,
        forgotten: impl IntoIterator<Item = (TopicKey, i32)>,
    ) -> Kind<H> {
        let found = self
            .lock()
            .slots
            .get(&request.session_id)
            .map(|slot| Arc::clone(&slot.session));
        let Some(session) = found.filter(|session| session.owner == request.owner) else {
            return Kind::Error(ErrorCode::FetchSessionIdNotFound);
        };
        let mut state = match session.lock() {
            Ok(state) => state,
            Err(code) => {
                self.end(session.id, session.owner);
                return Kind::Error(code);
            }
        };
        if state.epoch != request.epoch {
            return Kind::Error(ErrorCode::InvalidFetchSessionEpoch);
        }
        if session.uses_ids != request.uses_ids {
            return Kind::Error(ErrorCode::FetchSessionTopicIdError);
        }
        let before = state.len();
        if before.saturating_add(requested.len()) > SESSION_PARTITIONS_MAX {
            state.epoch = FINAL_EPOCH;
            drop(state);
            self.end(session.id, session.owner);
            return Kind::Error(ErrorCode::FetchSessionIdNotFound);
        }
        state.add(&requested);
        state.forget(forgotten);
        let after = state.len();
        if after == 0 {
            state.epoch = FINAL_EPOCH;
            drop(state);
            self.end(session.id, session.owner);
            return Kind::Sessionless(distinct(requested));
        }
        session.used_ms.store(request.now_ms, Ordering::Relaxed);
        let epoch = advance(&mut state);
        drop(state);
        if before != after && !self.resize(session.id, after) {
            self.end(session.id, session.owner);
        }
        Kind::Incremental { session, epoch }
    }

    /// Finishes a request: leaves in `results` what the answer must name, and says which session it belongs to.
    ///
    /// Results are in fetch order, each with its place. A first answer needs all of them; an incremental one may leave
    /// out those for which [`Entry::is_news`] said no. `random` draws session ids.
    pub fn respond<R>(
        &self,
        context: FetchContext<H>,
        results: &mut Vec<R>,
        outcome: impl Fn(&R) -> PartitionOutcome,
        now_ms: i64,
        random: impl FnMut() -> u32,
    ) -> Responded {
        match context.kind {
            Kind::Sessionless(_) => no_session(ErrorCode::None),
            Kind::Incremental { session, epoch } => {
                respond_incremental(&session, epoch, results, outcome)
            }
            Kind::Error(code) => {
                results.clear();
                no_session(code)
            }
            Kind::Full {
                mut entries,
                owner,
                uses_ids,
            } => {
                tell_all(&mut entries, results, outcome);
                let session_id = self.create(entries, owner, uses_ids, now_ms, random);
                Responded {
                    session_id,
                    error: ErrorCode::None,
                }
            }
        }
    }

    fn create(
        &self,
        entries: Vec<Entry<H>>,
        owner: u64,
        uses_ids: bool,
        now_ms: i64,
        mut random: impl FnMut() -> u32,
    ) -> i32 {
        let partitions = entries.len();
        if partitions > SESSION_PARTITIONS_MAX {
            return NO_SESSION;
        }
        let mut cache = self.lock();
        let is_full = cache.slots.len() >= self.limits.slots;
        if is_full && !cache.evict_for(partitions, owner, now_ms, self.limits.fair_share) {
            return NO_SESSION;
        }
        let bytes = bytes_of::<H>(1, partitions);
        if cache.partitions.saturating_add(partitions) > self.limits.partitions
            || self.account.check(Share::Sessions, bytes).is_err()
        {
            self.weigh(&cache);
            return NO_SESSION;
        }
        let mut ids = std::iter::repeat_with(|| (random() >> 1) as i32).take(ID_TRIES_MAX);
        let unused = |id: &i32| *id != NO_SESSION && !cache.slots.contains_key(id);
        let Some(id) = ids.find(unused) else {
            return NO_SESSION;
        };
        let session = Arc::new(SharedSession {
            id,
            uses_ids,
            owner,
            used_ms: AtomicI64::new(now_ms),
            state: Mutex::new(Session::new(entries)),
        });
        cache.partitions += partitions;
        cache.slots.insert(
            id,
            Slot {
                session,
                partitions,
                created_ms: now_ms,
            },
        );
        self.weigh(&cache);
        id
    }

    fn end(&self, id: i32, owner: u64) {
        let mut cache = self.lock();
        let is_theirs = |slot: &Slot<H>| slot.session.owner == owner;
        if cache.slots.get(&id).is_some_and(is_theirs) {
            cache.remove(id);
            self.weigh(&cache);
        }
    }

    fn weigh(&self, cache: &Cache<H>) {
        let bytes = bytes_of::<H>(cache.slots.len(), cache.partitions);
        self.account.set(Share::Sessions, bytes);
    }

    /// Whether there is room for the session's new size.
    fn resize(&self, id: i32, partitions: usize) -> bool {
        let mut cache = self.lock();
        let Some(slot) = cache.slots.get_mut(&id) else {
            return true;
        };
        let before = std::mem::replace(&mut slot.partitions, partitions);
        cache.partitions = cache.partitions - before + partitions;
        self.weigh(&cache);
        let has_memory = partitions <= before || self.account.check(Share::Sessions, 0).is_ok();
        cache.partitions <= self.limits.partitions && has_memory
    }
}

/// What so many sessions take that have so many partitions in all.
fn bytes_of<H>(sessions: usize, partitions: usize) -> usize {
    // With the way from a partition to its place.
    let partition = size_of::<Entry<H>>() + 2 * size_of::<(TopicKey, i32, usize)>();
    sessions * (size_of::<Session<H>>() + 200) + partitions * partition
}

impl<H> Cache<H> {
    fn remove(&mut self, id: i32) {
        if let Some(slot) = self.slots.remove(&id) {
            self.partitions -= slot.partitions;
        }
    }

    /// Makes room for a session of this size, if one may go for it. Looks at all slots, but only when they are taken.
    fn evict_for(&mut self, partitions: usize, owner: u64, now_ms: i64, fair: bool) -> bool {
        let victim = self
            .stale(now_ms)
            .or_else(|| self.smaller(partitions))
            .or_else(|| match fair {
                true => self.of_the_greediest(owner),
                false => None,
            });
        let Some(id) = victim else {
            return false;
        };
        self.remove(id);
        self.evictions += 1;
        true
    }

    fn stale(&self, now_ms: i64) -> Option<i32> {
        let (used_ms, id) = self.slots.iter().map(|(id, s)| (s.used_ms(), *id)).min()?;
        (now_ms.saturating_sub(used_ms) > EVICTION_MS).then_some(id)
    }

    /// The smallest session that was still used after its protected time, if it is smaller than the new one.
    fn smaller(&self, partitions: usize) -> Option<i32> {
        let slots = self.slots.iter();
        let (size, id) = slots
            .filter(|(_, slot)| slot.used_ms().saturating_sub(slot.created_ms) > EVICTION_MS)
            .map(|(id, slot)| (slot.partitions, *id))
            .min()?;
        (size < partitions).then_some(id)
    }

    /// The longest unused session of the owner with the most, if this one has clearly fewer.
    fn of_the_greediest(&self, owner: u64) -> Option<i32> {
        let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
        for slot in self.slots.values() {
            *counts.entry(slot.session.owner).or_default() += 1;
        }
        let own = counts.get(&owner).copied().unwrap_or(0);
        let (greediest, most) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        if most <= own + 1 {
            return None;
        }
        let theirs = self.slots.iter();
        theirs
            .filter(|(_, slot)| slot.session.owner == greediest)
            .map(|(id, slot)| (slot.used_ms(), *id))
            .min()
            .map(|(_, id)| id)
    }
}

impl<H> Slot<H> {
    fn used_ms(&self) -> i64 {
        self.session.used_ms.load(Ordering::Relaxed)
    }
}
