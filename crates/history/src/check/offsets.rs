//! Rules about the offsets of groups: they are those of committed transactions, and go forward.

use super::{Found, Kind, Known, is_committed};
use crate::history::{History, OffsetRead, Outcome, Transaction};

pub(super) fn check(known: &Known<'_>, found: &mut Found) {
    for read in &known.history.offset_reads {
        uncommitted(known.history, read, found);
        back(known.history, read, found);
    }
}

fn of<'a>(
    history: &'a History,
    read: &'a OffsetRead,
) -> impl Iterator<Item = (&'a Transaction, i64)> {
    let own = history.transactions.iter();
    let own = own.filter(|it| it.id.as_deref() == Some(read.group.as_str()));
    own.flat_map(|transaction| {
        let offsets = transaction.offsets.iter();
        let offsets = offsets.filter(|offset| offset.place == read.place);
        offsets.map(move |offset| (transaction, offset.offset))
    })
}

/// Somebody may have committed it.
fn uncommitted(history: &History, read: &OffsetRead, found: &mut Found) {
    let Some(offset) = read.offset else {
        return;
    };
    let is_committed = of(history, read).any(|(transaction, committed)| {
        let asked = transaction.commit_asked;
        let may_be = transaction.outcome != Outcome::NotDone;
        committed == offset && may_be && asked.is_some_and(|asked| asked < read.ended)
    });
    if !is_committed {
        let story = format!(
            "{} goes on at {offset}, which no transaction has committed",
            read.group
        );
        found.add(Kind::OffsetUncommitted, story);
    }
}

/// Whatever was committed before it was asked for, or told before, is still there.
fn back(history: &History, read: &OffsetRead, found: &mut Found) {
    let committed = of(history, read).filter(|(transaction, _)| {
        is_committed(transaction) && transaction.ended.is_some_and(|ended| ended < read.began)
    });
    let told = history.offset_reads.iter().filter(|earlier| {
        (&earlier.group, earlier.place) == (&read.group, read.place) && earlier.ended < read.began
    });
    let told = told.filter_map(|earlier| earlier.offset);
    let Some(least) = committed.map(|(_, offset)| offset).chain(told).max() else {
        return;
    };
    if read.offset.is_none_or(|offset| offset < least) {
        let (group, offset) = (&read.group, read.offset);
        found.add(
            Kind::OffsetBack,
            format!("{group} goes on at {offset:?}, and was at {least}"),
        );
    }
}
