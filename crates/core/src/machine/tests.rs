//! `Release` alone: who waits for whom.

use super::*;

/// A record's key or value.
pub(crate) type Part = Option<Vec<u8>>;

/// The keys and values of what a record is in the journal.
pub(crate) fn encoded(record: &impl JournalRecord) -> Vec<(Part, Part)> {
    let mut all = Vec::new();
    record.encode(&mut |key, value| all.push((key.map(Into::into), value.map(Into::into))));
    all
}

#[derive(Clone, Debug)]
struct Nothing;

impl JournalRecord for Nothing {
    fn encode(&self, put: &mut Put<'_>) {
        put(None, None);
    }

    fn decode(_: Option<&[u8]>, _: Option<&[u8]>) -> Result<Option<Nothing>, DecodeError> {
        Ok(Some(Nothing))
    }
}

/// A machine that decides nothing: its effects are made by hand.
#[derive(Debug)]
struct Puppet;

impl Machine for Puppet {
    const RANK: Rank = Rank::Groups;
    type Command = ();
    type Reply = (&'static str, ErrorCode);
    type Record = Nothing;
    type Event = ();
    type Owner = char;

    fn handle(&mut self, _: Now, _: Ticket, (): (), _: &mut Effects<Self>) {}
    fn apply(&mut self, _: Nothing) {}
    fn loaded(&mut self, _: Now, _: &mut Effects<Self>) {}
    fn committed(&mut self, _: Now, _: u64, _: Result<(), ErrorCode>, _: &mut Effects<Self>) {}

    fn is_settled(&self) -> bool {
        true
    }

    fn live(&self) -> impl Iterator<Item = Nothing> {
        std::iter::empty()
    }

    fn refuse((name, _): Self::Reply) -> Self::Reply {
        (name, ErrorCode::NotCoordinator)
    }
}

/// Entries by position and owner, then answers by name, owner and position.
fn take(
    release: &mut Release<Puppet>,
    entries: &[(u64, char)],
    replies: &[(&'static str, Option<char>, u64)],
) {
    let entry = |(position, owner): &(u64, char)| Entry {
        position: *position,
        owner: *owner,
        records: Vec::new(),
    };
    let held = |(name, owner, position): &(&'static str, Option<char>, u64)| Held {
        ticket: Ticket(0),
        owner: *owner,
        position: *position,
        reply: (*name, ErrorCode::None),
    };
    let mut out = Effects {
        entries: entries.iter().map(entry).collect(),
        replies: replies.iter().map(held).collect(),
        ..Effects::default()
    };
    assert_eq!(release.take(&mut out).len(), entries.len());
}

fn free(release: &mut Release<Puppet>) -> Vec<(&'static str, ErrorCode)> {
    std::iter::from_fn(|| release.pop().map(|(_, reply)| reply)).collect()
}

const OK: ErrorCode = ErrorCode::None;

#[test]
fn an_answer_waits_for_its_owner_and_for_nobody_else() {
    let mut release = Release::default();
    let replies = [
        ("a", Some('a'), 1),
        ("b", Some('b'), 2),
        ("c", Some('c'), 2),
    ];
    take(&mut release, &[(1, 'a'), (2, 'b')], &replies);
    assert_eq!(free(&mut release), [("c", OK)]);
    release.durable(2, &'b');
    assert_eq!(free(&mut release), [("b", OK)]);
    release.durable(1, &'a');
    assert_eq!(free(&mut release), [("a", OK)]);
    assert!(release.is_empty());
}

#[test]
fn the_answers_of_one_owner_leave_in_order() {
    let mut release = Release::default();
    let replies = [("first", Some('a'), 1), ("second", Some('a'), 2)];
    take(&mut release, &[(1, 'a'), (2, 'a')], &replies);
    release.durable(2, &'a');
    assert_eq!(free(&mut release), []);
    release.durable(1, &'a');
    assert_eq!(free(&mut release), [("first", OK), ("second", OK)]);
}

#[test]
fn what_is_said_of_everybody_waits_for_everybody() {
    let mut release = Release::default();
    let replies = [("all", None, 2), ("nothing", None, 0)];
    take(&mut release, &[(1, 'a'), (2, 'b'), (3, 'c')], &replies);
    assert_eq!(free(&mut release), [("nothing", OK)]);
    release.durable(2, &'b');
    assert_eq!(free(&mut release), []);
    release.durable(1, &'a');
    assert_eq!(free(&mut release), [("all", OK)]);
}

#[test]
fn a_lost_entry_refuses_its_owner_from_there_on() {
    let mut release = Release::default();
    let replies = [
        ("before", Some('a'), 1),
        ("lost", Some('a'), 2),
        ("other", Some('b'), 3),
    ];
    take(&mut release, &[(1, 'a'), (2, 'a'), (3, 'b')], &replies);
    release.failed(2, &'a');
    release.durable(3, &'b');
    assert_eq!(free(&mut release), [("other", OK)]);
    release.durable(1, &'a');
    let refused = ("lost", ErrorCode::NotCoordinator);
    assert_eq!(free(&mut release), [("before", OK), refused]);
}
