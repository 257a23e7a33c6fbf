use super::*;
use crate::error::ErrorCode;
use std::sync::Arc;

fn ask(partition: i32) -> RequestedPartition {
    RequestedPartition {
        topic: TopicKey::Name(Arc::from("t")),
        partition,
        fetch_offset: 0,
        max_bytes: 1,
        log_start: -1,
        leader_epoch: -1,
        last_fetched_epoch: -1,
    }
}

fn request(session_id: i32, epoch: i32) -> SessionRequest {
    SessionRequest {
        session_id,
        epoch,
        uses_ids: false,
        owner: 1,
        now_ms: 0,
    }
}

fn forgotten(partitions: &[i32]) -> Vec<(TopicKey, i32)> {
    let key = |p: &i32| (TopicKey::Name(Arc::from("t")), *p);
    partitions.iter().map(key).collect()
}

/// A broker whose partitions have a high watermark each, and bytes for those who ask.
struct Broker {
    sessions: FetchSessions<()>,
    high_watermarks: Vec<i64>,
    with_data: Vec<i32>,
    failing: Vec<i32>,
    drawn: u32,
}

type Found = (i32, PartitionOutcome);

impl Broker {
    fn new(slots: i32) -> Self {
        Broker {
            sessions: FetchSessions::new(SessionLimits::new(slots, true), Arc::default()),
            high_watermarks: vec![0; 10],
            with_data: Vec::new(),
            failing: Vec::new(),
            drawn: 0,
        }
    }

    fn read(&self, context: &mut FetchContext<()>) -> Vec<Found> {
        let mut found = Vec::new();
        let Ok(mut view) = context.view() else {
            return found;
        };
        view.for_each(|position, entry| {
            let partition = entry.requested.partition;
            let failed = self.failing.contains(&partition);
            let outcome = PartitionOutcome {
                position,
                error: match failed {
                    true => ErrorCode::OffsetOutOfRange,
                    false => ErrorCode::None,
                },
                high_watermark: match failed {
                    true => -1,
                    false => self.high_watermarks[partition as usize],
                },
                log_start: if failed { -1 } else { 0 },
                records_bytes: usize::from(self.with_data.contains(&partition)),
                is_forced: false,
            };
            found.push((partition, outcome));
        });
        found
    }

    fn answer(&mut self, mut context: FetchContext<()>, now_ms: i64) -> (Responded, Vec<i32>) {
        let mut results = self.read(&mut context);
        self.drawn += 2;
        let drawn = self.drawn;
        let responded =
            self.sessions
                .respond(context, &mut results, |r: &Found| r.1, now_ms, || drawn);
        (responded, results.into_iter().map(|r| r.0).collect())
    }

    fn fetch(
        &mut self,
        request: SessionRequest,
        partitions: &[i32],
        forget: &[i32],
    ) -> (Responded, Vec<i32>) {
        let asked = partitions.iter().map(|p| ask(*p));
        let context = self.sessions.begin(request, asked, forgotten(forget));
        self.answer(context, request.now_ms)
    }

    fn open(&mut self, partitions: &[i32]) -> i32 {
        let (responded, _) = self.fetch(request(NO_SESSION, INITIAL_EPOCH), partitions, &[]);
        responded.session_id
    }

    fn open_as(&mut self, owner: u64, now_ms: i64, partitions: &[i32]) -> i32 {
        let request = SessionRequest {
            owner,
            now_ms,
            ..request(NO_SESSION, INITIAL_EPOCH)
        };
        self.fetch(request, partitions, &[]).0.session_id
    }

    fn told(&mut self, session: i32, epoch: i32) -> Vec<i32> {
        let (responded, told) = self.fetch(request(session, epoch), &[], &[]);
        assert_eq!(responded.session_id, session);
        assert_eq!(responded.error, ErrorCode::None);
        told
    }

    fn refused(&mut self, request: SessionRequest) -> ErrorCode {
        let (responded, told) = self.fetch(request, &[], &[]);
        assert_eq!((responded.session_id, told), (NO_SESSION, vec![]));
        responded.error
    }
}

#[test]
fn a_session_tells_all_at_first_and_then_what_changed() {
    let mut b = Broker::new(10);
    let (first, told) = b.fetch(request(0, 0), &[0, 1, 2], &[]);
    assert_ne!(first.session_id, NO_SESSION);
    assert_eq!(told, [0, 1, 2]);
    let s = first.session_id;
    assert!(b.told(s, 1).is_empty());
    b.high_watermarks[1] = 5;
    assert_eq!(b.told(s, 2), [1]);
    assert!(b.told(s, 3).is_empty());
}

#[test]
fn partitions_with_data_go_to_the_end() {
    let mut b = Broker::new(10);
    let s = b.open(&[0, 1, 2, 3]);
    b.with_data = vec![0, 2];
    assert_eq!(b.told(s, 1), [0, 2]);
    b.with_data = vec![0, 1, 2, 3];
    assert_eq!(b.told(s, 2), [1, 3, 0, 2]);
    assert_eq!(b.told(s, 3), [1, 3, 0, 2]);
}

#[test]
fn an_error_is_told_each_time_and_so_is_its_end() {
    let mut b = Broker::new(10);
    let s = b.open(&[0, 1]);
    b.failing = vec![1];
    assert_eq!(b.told(s, 1), [1]);
    assert_eq!(b.told(s, 2), [1]);
    b.failing.clear();
    assert_eq!(b.told(s, 3), [1]);
    assert!(b.told(s, 4).is_empty());
}

#[test]
fn partitions_are_added_changed_and_forgotten() {
    let mut b = Broker::new(10);
    let s = b.open(&[0, 1, 2]);
    let (_, told) = b.fetch(request(s, 1), &[5, 1], &[0]);
    assert_eq!(told, [5]);
    b.with_data = vec![0, 1, 2, 5];
    assert_eq!(b.told(s, 2), [1, 2, 5]);
    let (_, told) = b.fetch(request(s, 3), &[7], &[1, 2]);
    assert_eq!(told, [5, 7]);
    assert_eq!(b.sessions.counts(), (1, 2, 0));
}

#[test]
fn a_session_without_partitions_ends() {
    let mut b = Broker::new(10);
    let s = b.open(&[0, 1]);
    let (responded, told) = b.fetch(request(s, 1), &[], &[0, 1]);
    assert_eq!((responded.session_id, told), (NO_SESSION, vec![]));
    assert_eq!(responded.error, ErrorCode::None);
    assert_eq!(b.refused(request(s, 2)), ErrorCode::FetchSessionIdNotFound);
    assert_eq!(b.sessions.counts(), (0, 0, 0));
}

#[test]
fn wrong_ids_epochs_and_kinds_of_names_are_refused() {
    let mut b = Broker::new(10);
    let s = b.open(&[0]);
    let by_id = SessionRequest {
        uses_ids: true,
        ..request(s, 1)
    };
    let stranger = SessionRequest {
        owner: 2,
        ..request(s, 1)
    };
    assert_eq!(
        b.refused(request(s ^ 64, 1)),
        ErrorCode::FetchSessionIdNotFound
    );
    assert_eq!(
        b.refused(request(s, 2)),
        ErrorCode::InvalidFetchSessionEpoch
    );
    assert_eq!(b.refused(by_id), ErrorCode::FetchSessionTopicIdError);
    assert_eq!(b.refused(stranger), ErrorCode::FetchSessionIdNotFound);
    assert!(b.told(s, 1).is_empty());
    assert_eq!(
        b.refused(request(s, 1)),
        ErrorCode::InvalidFetchSessionEpoch
    );
}

#[test]
fn a_full_fetch_and_a_final_one_end_the_session_they_name() {
    let mut b = Broker::new(10);
    let s = b.open(&[0]);
    let (responded, _) = b.fetch(request(s, INITIAL_EPOCH), &[0], &[]);
    assert_ne!(responded.session_id, NO_SESSION);
    assert_eq!(b.refused(request(s, 1)), ErrorCode::FetchSessionIdNotFound);
    let s = responded.session_id;
    let (responded, told) = b.fetch(request(s, FINAL_EPOCH), &[3], &[]);
    assert_eq!((responded.session_id, told), (NO_SESSION, vec![3]));
    assert_eq!(b.sessions.counts(), (0, 0, 0));
}

#[test]
fn a_request_overtaken_by_the_next_is_answered_with_an_error() {
    let mut b = Broker::new(10);
    let s = b.open(&[0]);
    let mut slow = b.sessions.begin(request(s, 1), [], []);
    assert!(b.told(s, 2).is_empty());
    assert!(slow.view().is_err());
    let (responded, told) = b.answer(slow, 0);
    assert_eq!(responded.error, ErrorCode::InvalidFetchSessionEpoch);
    assert_eq!((responded.session_id, told), (s, vec![]));
}

#[test]
fn a_partition_named_twice_counts_once_as_named_last() {
    let b = Broker::new(10);
    for others in [0, 20] {
        let later = RequestedPartition {
            fetch_offset: 7,
            ..ask(0)
        };
        let others = (0..others).map(|p| ask(p + 100));
        let asked = [ask(0), ask(1), later].into_iter().chain(others.clone());
        let mut context = b.sessions.begin(request(0, FINAL_EPOCH), asked, []);
        let mut view = context.view().unwrap();
        assert_eq!(view.len(), 2 + others.len());
        assert_eq!(view.get(0).unwrap().requested.fetch_offset, 7);
        assert_eq!(view.get(1).unwrap().requested.partition, 1);
    }
}

#[test]
fn epochs_wrap_to_one() {
    assert_eq!(next_epoch(1), 2);
    assert_eq!(next_epoch(i32::MAX), 1);
    assert_eq!(next_epoch(FINAL_EPOCH), FINAL_EPOCH);
}

#[test]
fn a_taken_slot_is_freed_by_two_minutes_of_silence() {
    let mut b = Broker::new(1);
    let old = b.open_as(1, 0, &[0]);
    assert_eq!(b.open_as(1, 120_000, &[0]), NO_SESSION);
    let new = b.open_as(1, 120_001, &[0]);
    assert_ne!(new, NO_SESSION);
    assert_eq!(
        b.refused(request(old, 1)),
        ErrorCode::FetchSessionIdNotFound
    );
    assert_eq!(b.sessions.counts(), (1, 1, 1));
}

#[test]
fn a_larger_session_displaces_a_smaller_one_after_two_minutes() {
    let mut b = Broker::new(1);
    let s = b.open_as(1, 0, &[0, 1]);
    let used = SessionRequest {
        now_ms: 120_001,
        ..request(s, 1)
    };
    b.fetch(used, &[], &[]);
    assert_eq!(b.open_as(1, 120_002, &[0, 1]), NO_SESSION);
    assert_ne!(b.open_as(1, 120_002, &[0, 1, 2]), NO_SESSION);
}

/// Attacks, row 39: someone opens sessions until all are taken.
#[test]
fn who_takes_all_sessions_gives_some_up_to_others() {
    let mut b = Broker::new(4);
    let greedy: Vec<i32> = (0..6).map(|n| b.open_as(1, n, &[0])).collect();
    assert_eq!(greedy.iter().filter(|id| **id != NO_SESSION).count(), 4);
    assert_ne!(b.open_as(2, 10, &[0]), NO_SESSION);
    assert_ne!(b.open_as(2, 11, &[0]), NO_SESSION);
    assert_eq!(b.open_as(2, 12, &[0]), NO_SESSION);
    let oldest = request(greedy[0], 1);
    assert_eq!(b.refused(oldest), ErrorCode::FetchSessionIdNotFound);
    assert!(b.told(greedy[3], 1).is_empty());
}

#[test]
fn sessions_share_one_budget_of_partitions() {
    let mut b = Broker::new(10);
    let limits = SessionLimits {
        slots: 10,
        partitions: 3,
        fair_share: false,
    };
    b.sessions = FetchSessions::new(limits, Arc::default());
    let s = b.open(&[0, 1]);
    assert_ne!(s, NO_SESSION);
    assert_eq!(b.open(&[0, 1]), NO_SESSION);
    // Growing beyond it is answered, and the session is gone afterwards.
    let (responded, told) = b.fetch(request(s, 1), &[2, 3], &[]);
    assert_eq!((responded.session_id, told), (s, vec![2, 3]));
    assert_eq!(b.refused(request(s, 2)), ErrorCode::FetchSessionIdNotFound);
    assert_eq!(b.sessions.counts().1, 0);
}

#[test]
fn no_slots_means_no_sessions() {
    let mut b = Broker::new(0);
    let (responded, told) = b.fetch(request(0, 0), &[0, 1], &[]);
    assert_eq!((responded.session_id, told), (NO_SESSION, vec![0, 1]));
}

fn panics(f: impl FnOnce()) {
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
    assert!(caught.is_err());
}

/// A panic in the middle of a fetch left its session with half of what its client was told, and the next answer left
/// out what that client had never seen.
#[test]
fn a_session_that_a_panic_left_half_changed_is_over_and_its_client_begins_anew() {
    let mut broker = Broker::new(10);
    let id = broker.open(&[0, 1]);
    let other = broker.open(&[2]);
    let mut context = broker.sessions.begin(request(id, 1), [], []);
    panics(|| {
        let mut view = context.view().expect("its session");
        view.for_each(|_, _| panic!("on purpose"));
    });
    let gone = Some(ErrorCode::FetchSessionIdNotFound);
    assert_eq!(context.view().err(), gone);
    let answered =
        broker
            .sessions
            .respond(context, &mut Vec::<Found>::new(), |found| found.1, 0, || 7);
    assert_eq!(Some(answered.error), gone);
    assert_eq!(broker.sessions.begin(request(id, 2), [], []).error(), gone);
    assert_eq!(broker.sessions.counts().0, 1, "its slot is free");
    assert_eq!(
        broker.sessions.begin(request(other, 1), [], []).error(),
        None
    );
    assert_ne!(broker.open(&[0, 1]), NO_SESSION);
}

#[test]
fn a_panic_among_all_sessions_ends_them_all_and_clients_begin_anew() {
    let mut broker = Broker::new(10);
    let id = broker.open(&[0, 1]);
    let context = broker.sessions.begin(request(0, 0), [ask(3)], []);
    panics(|| {
        let mut nothing = Vec::<Found>::new();
        let outcome = |found: &Found| found.1;
        broker
            .sessions
            .respond(context, &mut nothing, outcome, 0, || panic!("on purpose"));
    });
    let gone = Some(ErrorCode::FetchSessionIdNotFound);
    assert_eq!(broker.sessions.begin(request(id, 1), [], []).error(), gone);
    let id = broker.open(&[0, 1]);
    let (sessions, partitions, _) = broker.sessions.counts();
    assert_eq!((sessions, partitions), (1, 2));
    assert_eq!(broker.sessions.begin(request(id, 1), [], []).error(), None);
}
