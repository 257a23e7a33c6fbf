//! What a machine must put back when an entry turns out not to be durable.

use std::collections::VecDeque;

/// A value as it was before a record replaced it.
pub trait Undo {
    /// Whether both are about the same place.
    fn is_of_same_place(&self, other: &Self) -> bool;
}

/// Entries appended and not settled, oldest first: what each replaced, and the step that waits for it.
#[derive(Debug)]
pub struct Unsettled<U, A> {
    changes: VecDeque<Change<U, A>>,
}

#[derive(Debug)]
struct Change<U, A> {
    position: u64,
    durable: bool,
    undo: Vec<U>,
    after: Option<A>,
}

impl<U, A> Default for Unsettled<U, A> {
    fn default() -> Self {
        Unsettled {
            changes: VecDeque::new(),
        }
    }
}

impl<U: Undo, A> Unsettled<U, A> {
    /// Whether every entry is settled.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Remembers an appended entry until it is settled.
    pub fn appended(&mut self, position: u64, undo: Vec<U>, after: Option<A>) {
        self.changes.push_back(Change {
            position,
            durable: false,
            undo,
            after,
        });
    }

    /// The entry is durable: hands back the step that waited for it.
    pub fn durable(&mut self, position: u64) -> Option<A> {
        let mut changes = self.changes.iter_mut();
        let change = changes.find(|change| change.position == position)?;
        change.durable = true;
        let after = change.after.take();
        self.forget_settled();
        after
    }

    /// The entry is lost: what is to be put back, in this order. What a later entry replaced too is not among it.
    pub fn lost(&mut self, position: u64) -> Vec<U> {
        let is_meant = |change: &Change<U, A>| change.position == position;
        let Some(at) = self.changes.iter().position(is_meant) else {
            return Vec::new();
        };
        let undo = self.changes.remove(at).map(|change| change.undo);
        let mut put_back = Vec::new();
        for undo in undo.into_iter().flatten().rev() {
            let mut later = self.changes.iter_mut().skip(at);
            let later = later.find_map(|change| {
                let mut same = change.undo.iter_mut();
                same.find(|later| later.is_of_same_place(&undo))
            });
            match later {
                Some(later) => *later = undo,
                None => put_back.push(undo),
            }
        }
        self.forget_settled();
        put_back
    }

    /// A durable entry behind an open one must stay: it says which values the open one no longer owns.
    fn forget_settled(&mut self) {
        while self.changes.front().is_some_and(|change| change.durable) {
            self.changes.pop_front();
        }
        // There may be very many of these that have nothing open.
        if self.changes.is_empty() {
            self.changes = VecDeque::new();
        }
    }
}
