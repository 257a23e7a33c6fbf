//! Rules about single records: that they are there, once, where they belong, and nobody reads what was not committed.

use super::{Found, Kind, Known, is_committed};
use crate::history::{History, Outcome, Place, Poll, Value};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(known: &Known<'_>, found: &mut Found) {
    each_record(known, found);
    missing(known, found);
    duplicated(known, found);
    torn(known, found);
    rewritten(known.history, found);
    stale(known.history, found);
    hanging(known.history, found);
}

/// Every record that was told to anybody.
fn each_record(known: &Known<'_>, found: &mut Found) {
    for poll in &known.history.polls {
        for (offset, value) in &poll.records {
            let Some((_, transaction, write)) = known.write(*value) else {
                found.add(
                    Kind::Misplaced,
                    format!("nobody sent {value}, read at {offset}"),
                );
                continue;
            };
            let is_elsewhere = write.offset.is_some_and(|told| told != *offset);
            if write.place != poll.place || is_elsewhere {
                let (told, place) = (write.offset, write.place);
                let story = format!(
                    "{value} was read in {} at {offset}, and was sent to {place} at {told:?}",
                    poll.place
                );
                found.add(Kind::Misplaced, story);
            }
            if !poll.committed {
                continue;
            }
            let is_refused = write.outcome == Outcome::NotDone;
            if transaction.outcome == Outcome::NotDone || is_refused {
                let story = format!(
                    "{value} at {offset} of {:?} was read as committed",
                    transaction.id
                );
                found.add(Kind::AbortedRead, story);
            }
            let is_early = match transaction.commit_asked {
                Some(asked) => poll.ended < asked,
                None => true,
            };
            if transaction.id.is_some() && is_early {
                let story = format!("{value} at {offset} was read before its commit was asked for");
                found.add(Kind::UncommittedRead, story);
            }
        }
    }
}

/// Records that a reader went over without being told of them.
fn missing(known: &Known<'_>, found: &mut Found) {
    let told = told(known.history);
    for transaction in &known.history.transactions {
        for write in &transaction.writes {
            let Some(offset) = write.offset.filter(|_| write.outcome == Outcome::Done) else {
                continue;
            };
            for poll in &known.history.polls {
                if poll.place != write.place || offset < poll.from || offset >= poll.next {
                    continue;
                }
                if poll.committed && !is_committed(transaction) {
                    continue;
                }
                let is_told = told.contains(&(poll.ended, poll.place, poll.committed, write.value));
                if !is_told {
                    let (value, from, next) = (write.value, poll.from, poll.next);
                    let story = format!("{value} at {offset} is not among {from}..{next}");
                    found.add(Kind::Lost, story);
                    break;
                }
            }
            // Somebody has read up to the end, and the end is in front of it.
            let is_cut_off = known.history.polls.iter().any(|poll| {
                let is_quiet = known
                    .history
                    .quiet_from
                    .is_some_and(|from| poll.began >= from);
                is_quiet && poll.place == write.place && poll.high <= offset
            });
            if is_cut_off {
                let story = format!(
                    "{} at {offset} is behind the end of its partition",
                    write.value
                );
                found.add(Kind::Lost, story);
            }
        }
    }
}

/// By when its reader was told, where and how.
fn told(history: &History) -> BTreeSet<(u64, Place, bool, Value)> {
    let each = history.polls.iter().flat_map(|poll| {
        let records = poll.records.iter();
        records.map(|(_, value)| (poll.ended, poll.place, poll.committed, *value))
    });
    each.collect()
}

fn duplicated(known: &Known<'_>, found: &mut Found) {
    let mut places: BTreeMap<Value, (Place, i64)> = BTreeMap::new();
    let mut made: BTreeMap<Value, Value> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for poll in &known.history.polls {
        for (offset, value) in &poll.records {
            let at = (poll.place, *offset);
            let first = *places.entry(*value).or_insert(at);
            if first != at && seen.insert(at) {
                found.add(
                    Kind::Duplicated,
                    format!("{value} is at {first:?} and at {at:?}"),
                );
            }
            let source = known.write(*value).and_then(|(_, _, write)| write.source);
            let Some(source) = source.filter(|_| poll.committed) else {
                continue;
            };
            let made = *made.entry(source).or_insert(*value);
            if made != *value {
                let story = format!("{made} and {value} were both made from {source}");
                found.add(Kind::Duplicated, story);
            }
        }
    }
}

/// What was read as committed in the end, and is all or nothing.
fn torn(known: &Known<'_>, found: &mut Found) {
    let Some(quiet_from) = known.history.quiet_from else {
        return;
    };
    let polls = known.history.polls.iter();
    let last: Vec<&Poll> = polls
        .filter(|poll| poll.committed && poll.began >= quiet_from)
        .collect();
    let is_seen = |value: Value| {
        let mut records = last.iter().flat_map(|poll| &poll.records);
        records.any(|(_, told)| *told == value)
    };
    let covers = |place: Place, offset: i64| {
        let mut polls = last.iter();
        polls.any(|poll| poll.place == place && poll.from <= offset && offset < poll.next)
    };
    for transaction in &known.history.transactions {
        let writes = transaction.writes.iter();
        let sure = writes.filter(|write| {
            let offset = write.offset.filter(|_| write.outcome == Outcome::Done);
            offset.is_some_and(|offset| covers(write.place, offset))
        });
        let (seen, unseen): (Vec<Value>, Vec<Value>) = sure
            .map(|write| write.value)
            .partition(|value| is_seen(*value));
        if !seen.is_empty() && !unseen.is_empty() {
            found.add(
                Kind::Torn,
                format!("{seen:?} of one transaction are there, {unseen:?} are not"),
            );
        }
    }
}

fn rewritten(history: &History, found: &mut Found) {
    let mut at: BTreeMap<(Place, i64), Value> = BTreeMap::new();
    for poll in &history.polls {
        for (offset, value) in &poll.records {
            let first = *at.entry((poll.place, *offset)).or_insert(*value);
            if first != *value {
                let place = poll.place;
                let story = format!("{first}, and later {value}, was read in {place} at {offset}");
                found.add(Kind::Rewritten, story);
            }
        }
    }
}

/// How far one can read never goes back.
fn stale(history: &History, found: &mut Found) {
    let mut polls: Vec<&Poll> = history.polls.iter().collect();
    polls.sort_by_key(|poll| poll.ended);
    let mut begun: Vec<&Poll> = polls.clone();
    begun.sort_by_key(|poll| poll.began);
    let mut ends = polls.into_iter().peekable();
    // What was known by the moment in which a poll began.
    let mut seen: BTreeMap<Place, (i64, i64)> = BTreeMap::new();
    for poll in begun {
        while let Some(ended) = ends.next_if(|ended| ended.ended < poll.began) {
            let known = seen.entry(ended.place).or_default();
            *known = (known.0.max(ended.stable), known.1.max(ended.high));
        }
        let Some((stable, high)) = seen.get(&poll.place) else {
            continue;
        };
        if poll.stable < *stable || poll.high < *high {
            let now = (poll.stable, poll.high);
            let story = format!(
                "{} went back from {:?} to {now:?}",
                poll.place,
                (stable, high)
            );
            found.add(Kind::Stale, story);
        }
    }
}

fn hanging(history: &History, found: &mut Found) {
    let Some(quiet_from) = history.quiet_from else {
        return;
    };
    for poll in history.polls.iter().filter(|poll| poll.began >= quiet_from) {
        if poll.stable < poll.high {
            let (place, stable, high) = (poll.place, poll.stable, poll.high);
            let story =
                format!("{place} can be read up to {stable} of {high}, although nobody writes");
            found.add(Kind::Hanging, story);
        }
    }
}
