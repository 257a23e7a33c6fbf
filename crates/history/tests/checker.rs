//! Each rule by a history of a few lines: what it finds, and what it leaves alone.

use rustka_history::history::{
    Arrival, History, OffsetRead, OffsetWrite, Outcome, Poll, Transaction, Value, Write,
};
use rustka_history::{Kind, check};

/// A committed transaction of one record at an offset of partition 0, between two moments.
fn committed(value: Value, offset: i64, began: u64, ended: u64) -> Transaction {
    Transaction {
        id: Some("x".to_owned()),
        instance: 0,
        began,
        commit_asked: Some(began + 1),
        ended: Some(ended),
        outcome: Outcome::Done,
        writes: vec![write(value, offset)],
        reads: Vec::new(),
        offsets: Vec::new(),
    }
}

fn aborted(value: Value, offset: i64, began: u64, ended: u64) -> Transaction {
    Transaction {
        commit_asked: None,
        outcome: Outcome::NotDone,
        ..committed(value, offset, began, ended)
    }
}

fn write(value: Value, offset: i64) -> Write {
    Write {
        value,
        source: None,
        place: 0,
        outcome: Outcome::Done,
        offset: Some(offset),
    }
}

/// A reader of committed records went from the first one up to `next`.
fn read(at: u64, next: i64, records: &[(i64, Value)]) -> Poll {
    Poll {
        began: at,
        ended: at + 1,
        place: 0,
        committed: true,
        from: 0,
        next,
        stable: next,
        high: next,
        records: records.to_vec(),
    }
}

fn offset_read(at: u64, offset: Option<i64>) -> OffsetRead {
    OffsetRead {
        began: at,
        ended: at + 1,
        group: "x".to_owned(),
        place: 0,
        offset,
    }
}

fn history(transactions: Vec<Transaction>, polls: Vec<Poll>) -> History {
    History {
        transactions,
        polls,
        ..History::default()
    }
}

fn kinds(history: &History) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = check(history)
        .into_iter()
        .map(|anomaly| anomaly.kind)
        .collect();
    kinds.dedup();
    kinds
}

#[test]
fn what_is_as_it_should_be_is_left_alone() {
    let all = vec![
        committed(1, 0, 10, 20),
        aborted(2, 2, 30, 40),
        committed(3, 4, 50, 60),
    ];
    let polls = vec![read(22, 2, &[(0, 1)]), read(70, 6, &[(0, 1), (4, 3)])];
    let history = History {
        quiet_from: Some(65),
        ..history(all, polls)
    };
    assert_eq!(kinds(&history), []);
}

#[test]
fn an_outcome_that_nobody_knows_may_be_either() {
    let unknown = |seen: &[(i64, Value)]| {
        let transaction = Transaction {
            outcome: Outcome::Unknown,
            ..committed(1, 0, 10, 20)
        };
        kinds(&history(vec![transaction], vec![read(30, 2, seen)]))
    };
    assert_eq!(unknown(&[(0, 1)]), []);
    assert_eq!(unknown(&[]), []);
}

#[test]
fn a_committed_record_that_a_reader_went_over_is_lost() {
    let history = history(vec![committed(1, 0, 10, 20)], vec![read(30, 2, &[])]);
    assert_eq!(kinds(&history), [Kind::Lost]);
}

#[test]
fn an_answered_record_behind_the_end_of_its_partition_is_lost() {
    let all = vec![committed(1, 0, 10, 20)];
    let history = History {
        quiet_from: Some(25),
        ..history(all, vec![read(30, 0, &[])])
    };
    assert_eq!(kinds(&history), [Kind::Lost]);
}

#[test]
fn an_aborted_record_that_was_read_as_committed_is_found() {
    let history = history(vec![aborted(1, 0, 10, 20)], vec![read(30, 2, &[(0, 1)])]);
    assert_eq!(kinds(&history), [Kind::AbortedRead, Kind::UncommittedRead]);
}

#[test]
fn a_record_that_was_read_before_its_commit_was_asked_for_is_found() {
    let history = history(vec![committed(1, 0, 10, 20)], vec![read(5, 1, &[(0, 1)])]);
    assert_eq!(kinds(&history), [Kind::UncommittedRead]);
}

#[test]
fn a_record_that_is_there_twice_is_found() {
    let mut all = vec![committed(1, 0, 10, 20)];
    all[0].writes[0].offset = None;
    let polls = vec![read(30, 3, &[(0, 1), (1, 1)])];
    assert_eq!(kinds(&history(all, polls)), [Kind::Duplicated]);
}

#[test]
fn two_records_made_from_the_same_one_are_found() {
    let mut all = vec![committed(2, 0, 10, 20), committed(3, 2, 30, 40)];
    all.iter_mut().for_each(|it| it.writes[0].source = Some(1));
    let polls = vec![read(50, 4, &[(0, 2), (2, 3)])];
    assert_eq!(kinds(&history(all, polls)), [Kind::Duplicated]);
}

#[test]
fn half_a_transaction_is_found_also_if_nobody_knows_how_it_ended() {
    let mut half = committed(1, 0, 10, 20);
    half.outcome = Outcome::Unknown;
    half.writes.push(write(2, 1));
    let history = History {
        quiet_from: Some(25),
        ..history(vec![half], vec![read(30, 3, &[(0, 1)])])
    };
    assert_eq!(kinds(&history), [Kind::Torn]);
}

#[test]
fn records_out_of_order_nowhere_or_elsewhere_are_found() {
    let mut two = committed(1, 0, 10, 20);
    two.writes.push(write(2, 1));
    two.writes.iter_mut().for_each(|write| write.offset = None);
    let swapped = history(vec![two.clone()], vec![read(30, 3, &[(0, 2), (1, 1)])]);
    assert_eq!(kinds(&swapped), [Kind::Reordered]);
    let moved = history(
        vec![committed(1, 0, 10, 20)],
        vec![read(30, 3, &[(0, 1), (1, 9)])],
    );
    assert_eq!(kinds(&moved), [Kind::Misplaced]);
}

#[test]
fn what_can_be_read_never_becomes_less_and_stays_what_it_is() {
    let all = vec![committed(1, 0, 10, 20), committed(2, 0, 10, 20)];
    let polls = vec![read(30, 2, &[(0, 1)]), read(40, 1, &[(0, 2)])];
    assert_eq!(
        kinds(&history(all, polls)),
        [Kind::Lost, Kind::Rewritten, Kind::Stale]
    );
    // What is under way at the same time may come back in either order.
    let polls = vec![read(30, 2, &[]), read(31, 1, &[])];
    assert_eq!(kinds(&history(Vec::new(), polls)), []);
}

#[test]
fn a_partition_that_stays_closed_when_nobody_writes_is_found() {
    let poll = Poll {
        high: 5,
        ..read(30, 0, &[])
    };
    let history = History {
        quiet_from: Some(25),
        ..history(Vec::new(), vec![poll])
    };
    assert_eq!(kinds(&history), [Kind::Hanging]);
}

#[test]
fn transactions_that_have_read_each_others_records_are_found() {
    let mut all = vec![committed(1, 0, 10, 20), committed(2, 1, 11, 21)];
    (all[0].reads, all[1].reads) = (vec![2], vec![1]);
    assert_eq!(kinds(&history(all.clone(), Vec::new())), [Kind::Cycle]);
    all[1].reads.clear();
    assert_eq!(kinds(&history(all.clone(), Vec::new())), []);
    all[1].began = 25;
    assert_eq!(
        kinds(&history(all, Vec::new())),
        [Kind::Cycle],
        "a record of the future"
    );
}

#[test]
fn a_producer_that_commits_after_its_successor_came_is_found() {
    let arrival = Arrival {
        id: "x".to_owned(),
        instance: 1,
        at: 5,
    };
    let all = vec![committed(1, 0, 10, 20)];
    let zombie = History {
        arrivals: vec![arrival],
        ..history(all, Vec::new())
    };
    assert_eq!(kinds(&zombie), [Kind::Zombie]);
    let mut all = vec![committed(2, 0, 10, 20), committed(1, 2, 11, 21)];
    all[0].instance = 1;
    let polls = vec![read(30, 4, &[(0, 2), (2, 1)])];
    assert_eq!(kinds(&history(all, polls)), [Kind::Zombie]);
}

#[test]
fn a_groups_offset_goes_forward_with_committed_transactions_only() {
    let commits = |offset, began, outcome| Transaction {
        outcome,
        offsets: vec![OffsetWrite { place: 0, offset }],
        ..committed(began, began as i64, began, began + 5)
    };
    let told = |reads: &[(u64, Option<i64>)]| {
        let all = vec![
            commits(3, 10, Outcome::Done),
            commits(7, 20, Outcome::NotDone),
            commits(9, 40, Outcome::Unknown),
        ];
        kinds(&History {
            offset_reads: reads
                .iter()
                .map(|(at, offset)| offset_read(*at, *offset))
                .collect(),
            ..history(all, Vec::new())
        })
    };
    assert_eq!(
        told(&[(5, None), (30, Some(3)), (50, Some(9)), (60, Some(9))]),
        []
    );
    assert_eq!(told(&[(30, Some(7))]), [Kind::OffsetUncommitted]);
    assert_eq!(told(&[(30, None)]), [Kind::OffsetBack]);
    assert_eq!(told(&[(50, Some(9)), (60, Some(3))]), [Kind::OffsetBack]);
}
