//! Rules about what comes before what.

use super::{Found, Kind, Known, is_committed};
use crate::history::{Outcome, Value};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(known: &Known<'_>, found: &mut Found) {
    reordered(known, found);
    cycles(known, found);
    zombies(known, found);
}

/// Records of one producer stand in a partition as it sent them.
fn reordered(known: &Known<'_>, found: &mut Found) {
    let mut order: BTreeMap<Value, usize> = BTreeMap::new();
    let transactions = &known.history.transactions;
    let writes = transactions
        .iter()
        .flat_map(|transaction| &transaction.writes);
    for (at, write) in writes.enumerate() {
        order.insert(write.value, at);
    }
    for poll in &known.history.polls {
        let mut last: BTreeMap<(Option<&str>, u64), (usize, Value)> = BTreeMap::new();
        for (_, value) in &poll.records {
            let Some((_, transaction, _)) = known.write(*value) else {
                continue;
            };
            let who = (transaction.id.as_deref(), transaction.instance);
            let at = order.get(value).copied().unwrap_or_default();
            let before = last.insert(who, (at, *value));
            if let Some((before, first)) = before.filter(|(before, _)| *before > at) {
                let story =
                    format!("{first} was sent as {before} and stands before {value}, sent as {at}");
                found.add(Kind::Reordered, story);
            }
        }
    }
}

/// Transactions in the order in which they must have been: one that read what another one wrote comes behind it, and so
/// does one that began when the other was over.
fn cycles(known: &Known<'_>, found: &mut Found) {
    let transactions = &known.history.transactions;
    let mut after: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (reader, transaction) in transactions.iter().enumerate() {
        if transaction.outcome == Outcome::NotDone {
            continue;
        }
        for value in &transaction.reads {
            let Some((writer, written, _)) = known.write(*value) else {
                continue;
            };
            after.entry(writer).or_default().insert(reader);
            // What has ended cannot have read what began later.
            if transaction.ended.is_some_and(|ended| ended < written.began) {
                found.add(
                    Kind::Cycle,
                    format!("{value} was read before its transaction began"),
                );
            }
        }
    }
    let mut state: BTreeMap<usize, bool> = BTreeMap::new();
    for start in after.keys().copied().collect::<Vec<_>>() {
        if let Some(circle) = circle_from(start, &after, &mut state) {
            let ids = circle
                .iter()
                .filter_map(|at| transactions.get(*at)?.id.clone());
            let ids: Vec<String> = ids.collect();
            found.add(
                Kind::Cycle,
                format!("transactions of {ids:?} have read each other's records"),
            );
            return;
        }
    }
}

/// A circle that can be reached from here; `state` is true for what is on the way, false for what leads to none.
fn circle_from(
    start: usize,
    after: &BTreeMap<usize, BTreeSet<usize>>,
    state: &mut BTreeMap<usize, bool>,
) -> Option<Vec<usize>> {
    let next = |at: usize| {
        after
            .get(&at)
            .into_iter()
            .flatten()
            .copied()
            .collect::<Vec<_>>()
    };
    if state.contains_key(&start) {
        return None;
    }
    let mut way = vec![(start, next(start))];
    state.insert(start, true);
    while let Some((at, left)) = way.last_mut() {
        let Some(to) = left.pop() else {
            state.insert(*at, false);
            way.pop();
            continue;
        };
        match state.get(&to) {
            Some(true) => return Some(way.iter().map(|(at, _)| *at).collect()),
            Some(false) => {}
            None => {
                state.insert(to, true);
                way.push((to, next(to)));
            }
        }
    }
    None
}

/// Who asks for a commit after a newer producer of the same id was let in does not get it.
fn zombies(known: &Known<'_>, found: &mut Found) {
    for transaction in known
        .history
        .transactions
        .iter()
        .filter(|it| is_committed(it))
    {
        let (Some(id), Some(asked)) = (&transaction.id, transaction.commit_asked) else {
            continue;
        };
        let newer = known.history.arrivals.iter().find(|arrival| {
            arrival.id == *id && arrival.instance > transaction.instance && arrival.at < asked
        });
        if let Some(newer) = newer {
            let (old, new) = (transaction.instance, newer.instance);
            found.add(
                Kind::Zombie,
                format!("producer {old} of {id} has committed after {new} came"),
            );
        }
    }
    // The same for what it wrote: behind the first record of a newer producer nothing of an older one was committed.
    for poll in known.history.polls.iter().filter(|poll| poll.committed) {
        let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
        for (_, value) in &poll.records {
            let Some((_, transaction, _)) = known.write(*value) else {
                continue;
            };
            let Some(id) = transaction.id.as_deref() else {
                continue;
            };
            let newest = newest.entry(id).or_insert(transaction.instance);
            if *newest > transaction.instance {
                let story =
                    format!("{value} of a former producer of {id} stands behind its successor's");
                found.add(Kind::Zombie, story);
            }
            *newest = transaction.instance.max(*newest);
        }
    }
}
