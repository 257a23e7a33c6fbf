//! Where the open transactions of a partition begin, in order. New ones begin at the log's end and old ones are over
//! first, mostly: it is a row, in which one that is over keeps its place until those before it are over as well, or half
//! of the row is.

use std::collections::VecDeque;

/// A row without transactions keeps room for so many.
const ROOM_KEPT: usize = 32;
/// A row up to this long is left as it is, however many in it are over.
const SWEPT_FROM: usize = 32;

/// See above.
#[derive(Clone, Debug, Default)]
pub(super) struct Open {
    /// First offsets in order; of one that is over, the complement. The first one is open.
    row: VecDeque<i64>,
    over: usize,
}

/// The offset that stands in a place.
fn offset(place: i64) -> i64 {
    if is_over(place) { !place } else { place }
}

/// Offsets are never negative, and their complements always.
fn is_over(place: i64) -> bool {
    place < 0
}

impl Open {
    /// A transaction begins at this offset.
    pub fn begin(&mut self, first_offset: i64) {
        let is_last = self
            .row
            .back()
            .is_none_or(|last| offset(*last) < first_offset);
        match is_last {
            true => self.row.push_back(first_offset),
            false => {
                let at = self.row.partition_point(|it| offset(*it) < first_offset);
                if self.row.get(at) != Some(&first_offset) {
                    self.row.insert(at, first_offset);
                }
            }
        }
    }

    /// The transaction that began there is over.
    pub fn end(&mut self, first_offset: i64) {
        let at = self.row.partition_point(|it| offset(*it) < first_offset);
        let Some(place) = self.row.get_mut(at).filter(|it| **it == first_offset) else {
            return;
        };
        *place = !first_offset;
        self.over += 1;
        while self.row.pop_front_if(|first| is_over(*first)).is_some() {
            self.over -= 1;
        }
        if self.over > self.row.len() / 2 && self.row.len() > SWEPT_FROM {
            self.row.retain(|it| !is_over(*it));
            self.over = 0;
        }
        if self.row.capacity() > (self.row.len() * 4).max(ROOM_KEPT) {
            self.row.shrink_to((self.row.len() * 2).max(ROOM_KEPT));
        }
    }

    /// Where the oldest one begins.
    pub fn first(&self) -> Option<i64> {
        self.row.front().copied()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.row.len() - self.over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_oldest_one_that_is_open_comes_first() {
        let mut open = Open::default();
        assert_eq!((open.first(), open.len()), (None, 0));
        [0, 5, 9].into_iter().for_each(|at| open.begin(at));
        open.end(5);
        assert_eq!((open.first(), open.len()), (Some(0), 2));
        open.end(5);
        open.end(7);
        assert_eq!((open.first(), open.len()), (Some(0), 2));
        open.end(0);
        assert_eq!((open.first(), open.len()), (Some(9), 1));
        // A snapshot tells of them in the order of their producers.
        open.begin(3);
        assert_eq!((open.first(), open.len()), (Some(3), 2));
        open.end(3);
        open.end(9);
        assert_eq!((open.first(), open.len()), (None, 0));
    }

    #[test]
    fn whatever_begins_and_ends_it_is_told_as_a_set_tells_it() {
        let (mut open, mut set) = (Open::default(), BTreeSet::new());
        let (mut dice, mut next) = (7_u64, 0_i64);
        for round in 0..40_000 {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let number = (dice >> 33) as usize;
            // First there come to be many, then few.
            let begins = number % 10 < if round < 20_000 { 6 } else { 4 };
            if begins {
                next += 1 + (number % 3) as i64;
                open.begin(next);
                set.insert(next);
            } else if let Some(at) = set.iter().nth(number % set.len().max(1)).copied() {
                open.end(at);
                set.remove(&at);
            }
            assert_eq!(
                (open.first(), open.len()),
                (set.first().copied(), set.len())
            );
        }
    }

    #[test]
    fn one_that_stays_open_does_not_keep_room_for_all_that_came_after_it() {
        let mut open = Open::default();
        (0..100_000).for_each(|at| open.begin(at));
        (1..100_000).for_each(|at| open.end(at));
        assert_eq!((open.first(), open.len()), (Some(0), 1));
        assert!(
            open.row.capacity() <= 4 * ROOM_KEPT,
            "{}",
            open.row.capacity()
        );
        open.end(0);
        assert!(open.row.capacity() <= ROOM_KEPT, "{}", open.row.capacity());
    }
}
